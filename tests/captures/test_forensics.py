"""Who made a reset: one conversation per sign, and what it must not be taken for."""

from __future__ import annotations

import pytest

from holdfast.captures.connections import follow
from holdfast.captures.forensics import Grade, Verdict, hops_away, initial_hops, judge
from tests.captures.packets import Host, Made, Talk, as_packets, stamps


def begun(**how: float) -> Talk:
    talk = Talk(**how)  # type: ignore[arg-type]
    talk.handshake()
    talk.ask_and_answer()
    talk.ask_and_answer()
    return talk


def judged(packets: list[Made]) -> Verdict:
    (connection,) = follow(as_packets(packets))
    return judge(connection, connection.resets[0])


def grade(talk: Talk) -> Grade:
    return judged(talk.packets).grade


def kernel_reset(talk: Talk, **how: object) -> None:
    """As a kernel answers that has no such socket."""
    defaults: dict[str, object] = {"seq": talk.server_host.seq, "window": 0, "ip_id": 0, "after": 0.021}
    talk.server(flags="R", **(defaults | how))  # type: ignore[arg-type]


def test_a_process_that_aborts() -> None:
    """Its reset is a segment of its own socket: timestamps, IP id, distance, sequence."""
    talk = begun()
    talk.client(b"question", after=1)
    talk.server(after=0.02)
    talk.server(flags="RA", stamp=True, after=5)

    verdict = judged(talk.packets)

    assert (verdict.grade, verdict.certain, verdict.against) == (Grade.PEER, True, ())
    assert any("timestamps" in sign for sign in verdict.for_it)
    assert any("continues the server's count" in sign for sign in verdict.for_it)


def test_a_far_kernel_that_has_forgotten_the_connection() -> None:
    """One round trip after the first packet in seven minutes, from as far away as ever."""
    talk = begun()
    talk.client(b"question", after=420)
    kernel_reset(talk)

    verdict = judged(talk.packets)

    assert verdict.grade is Grade.PEER
    assert "keepalive below 7m 00s" in verdict.settle or "keepalive below 420 s" in verdict.settle


def test_a_translating_router_that_has_forgotten_the_connection() -> None:
    """Too quick for the server, and from nearby: only the addresses are the server's."""
    talk = begun()
    talk.client(b"question", after=350)
    kernel_reset(talk, ttl=62, after=0.002)

    verdict = judged(talk.packets)

    assert (verdict.grade, verdict.certain) == (Grade.LOST_STATE, True)
    assert any("2 hops away, the server is 12 away" in sign for sign in verdict.for_it)
    assert any("whoever made it is nearer" in sign for sign in verdict.for_it)
    assert "keepalive well below 350 s" in verdict.settle


def test_a_reset_that_is_injected_behind_a_request() -> None:
    """The server answers the very request that was reset, in its name but not by it."""
    talk = begun()
    talk.client(b"GET /forbidden", after=1)
    talk.server(flags="RA", ttl=47, ip_id=4242, stamp=False, after=0.005)
    talk.server(after=0.015)
    talk.server(b"HTTP/1.1 200 OK", after=0.1)

    verdict = judged(talk.packets)

    assert (verdict.grade, verdict.certain) == (Grade.INJECTED, True)
    assert any("had received the very packet that was reset" in sign for sign in verdict.for_it)
    assert any("IP id 4242 does not continue" in sign for sign in verdict.for_it)


def test_an_injected_reset_at_the_right_distance_is_known_by_its_timing() -> None:
    """A forger can set the TTL, but not wait for an answer that it does not have."""
    talk = begun()
    talk.client(b"GET /forbidden", after=1)
    talk.server(flags="RA", ip_id=4242, stamp=False, after=0.003)
    talk.server(after=0.017)
    talk.server(b"HTTP/1.1 200 OK", after=0.1)

    assert grade(talk) is Grade.INJECTED


def test_resets_with_guessed_numbers() -> None:
    """A salvo, each a window further: whoever knew the number would need one."""
    talk = begun()
    talk.client(b"GET /forbidden", after=1)
    for guess in range(3):
        talk.server(
            flags="R", seq=talk.server_host.seq + guess * 4380, ttl=49, ip_id=0, window=0, after=0.003
        )

    verdict = judged(talk.packets)

    assert verdict.grade is Grade.INJECTED
    assert any("nobody asked for" in sign for sign in verdict.for_it)


def test_resets_to_both_sides_at_once() -> None:
    """Neither can have heard of the other's."""
    talk = begun()
    talk.client(b"GET /forbidden", after=1)
    talk.server(flags="RA", ttl=47, stamp=False, ip_id=1, after=0.002)
    talk.client(flags="RA", ttl=47, stamp=False, ip_id=1, after=0.0001)

    verdict = judged(talk.packets)

    assert verdict.grade is Grade.INJECTED
    assert any("neither can know of the other's" in sign for sign in verdict.for_it)


def test_a_firewall_of_the_capturing_machine() -> None:
    """It answers for the server over loopback, passes no router, and the server knows nothing of it."""
    talk = begun()
    made = talk.client(b"question", after=1)
    kernel_reset(talk, ttl=64, after=0.0001)
    reset = talk.packets.pop()
    talk.packets.append(Made(reset.at_ns, reset.ip, False, interface=5))
    talk.server(b"late", ack=talk.client_host.seq - 8, options=stamps(1, 2), after=2)

    verdict = judged(talk.packets)

    assert made in talk.packets
    assert (verdict.grade, verdict.certain) == (Grade.FIREWALL, True)
    assert any("another interface" in sign for sign in verdict.for_it)
    assert "nft list ruleset" in verdict.settle


def test_a_firewall_on_the_servers_machine() -> None:
    """From where the server is, but the server's socket still lives and has not received what was reset."""
    talk = begun()
    talk.client(b"question", after=1)
    kernel_reset(talk)
    talk.server(b"late", ack=talk.client_host.seq - 8, options=stamps(1, 2), after=2)

    assert grade(talk) is Grade.FIREWALL


def test_the_first_router_is_no_local_firewall() -> None:
    """It passed no router either, but came over the same wire as the server's packets."""
    talk = begun()
    talk.client(b"question", after=1)
    kernel_reset(talk, ttl=64, after=0.0005)

    assert grade(talk) is Grade.LOST_STATE


def test_on_loopback_nothing_is_between() -> None:
    """All distances and times are the same there; the peer's own stack made it."""
    talk = begun()
    local = Talk(
        client_host=Host("127.0.0.1", 40000, 1), server_host=Host("127.0.0.1", 8000, 1), rtt_s=0.00002
    )
    local.handshake()
    local.ask_and_answer()
    local.server(flags="RA", stamp=True, after=3)

    assert len(talk.packets) > 0
    assert grade(local) is Grade.PEER


def test_a_refused_syn_cannot_be_told_from_a_firewalls() -> None:
    """There is nothing to compare it with."""
    talk = Talk()
    talk.client(flags="S", after=0)
    talk.server(flags="RA", seq=0, window=0, ip_id=0, after=0.02)

    verdict = judged(talk.packets)

    assert verdict.grade is Grade.UNKNOWN
    assert "captured on the server's own machine" in verdict.settle


def test_what_was_overtaken_by_a_reset_proves_nothing() -> None:
    """An acknowledgement 1 ms behind it may have been sent before it."""
    talk = begun()
    talk.client(b"question", after=1)
    before = talk.server_host.seq
    talk.server(flags="RA", stamp=True, after=0.021, ip_id=talk.server_host.ip_id + 2)
    talk.server(seq=before, after=0.001, ip_id=talk.server_host.ip_id + 1)

    verdict = judged(talk.packets)

    assert verdict.grade is Grade.PEER
    assert any("overtaken" in sign for sign in verdict.against)


def test_a_closed_socket_that_is_asked_again_resets_each_time() -> None:
    """Each answer has the number that the question asked for: no guesses."""
    talk = begun()
    talk.server(flags="FA", after=1)
    talk.client(b"one", after=0.01)
    kernel_reset(talk)
    talk.client(b"two", ack=talk.server_host.seq - 1, after=0.01)
    kernel_reset(talk, seq=talk.server_host.seq - 1)

    assert grade(talk) is Grade.PEER


@pytest.mark.parametrize(
    ("hops", "initial", "away"), [(64, 64, 0), (52, 64, 12), (113, 128, 15), (249, 255, 6)]
)
def test_initial_hop_limits(hops: int, initial: int, away: int) -> None:
    """Stacks start with 64, 128 or 255."""
    assert (initial_hops(hops), hops_away(hops)) == (initial, away)


def test_without_timestamps_ids_and_distance_little_is_certain() -> None:
    """IPv6 on one cable, timestamps off: what fits is said, and no more."""
    talk = Talk(
        client_host=Host("2001:db8::2", 40000, 1),
        server_host=Host("2001:db8::3", 443, 1),
        rtt_s=0.0002,
        timestamps=False,
    )
    talk.handshake()
    talk.ask_and_answer()
    talk.client(b"question", after=1)
    kernel_reset(talk, after=0.0003)

    verdict = judged(talk.packets)

    assert verdict.grade in (Grade.PEER, Grade.UNKNOWN)
    assert not verdict.certain


def test_a_reset_through_an_answering_proxy_is_told_by_ttl_alone_as_suspected() -> None:
    """One sign against, with a plausible reason: not certain."""
    talk = begun()
    talk.client(b"question", after=1)
    talk.server(after=0.02)
    talk.server(flags="RA", stamp=True, ttl=54, after=3)

    assert not judged(talk.packets).certain
