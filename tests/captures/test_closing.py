"""Who closed, how, and after which silence: one conversation per rule."""

from __future__ import annotations

from holdfast.captures.closing import Closing, How, closing, role
from holdfast.captures.connections import Connection, follow
from holdfast.flight.endings import Mechanism
from tests.captures.packets import Made, Talk, as_packets, stamps


def the_one(packets: list[Made], more: list[Made] | None = None) -> Connection:
    """The conversation followed; `more` are packets of others that make the capture last longer."""
    found = [one for one in follow(as_packets(packets + (more or []))) if one.client.key[-2:] == b"\x01\xbb"]
    assert len(found) == 1
    return found[0]


def closed(talk: Talk, more: list[Made] | None = None) -> Closing:
    return closing(the_one(talk.packets, more))


def begun() -> Talk:
    talk = Talk()
    talk.handshake()
    talk.ask_and_answer()
    return talk


def later(talk: Talk, seconds: float) -> list[Made]:
    """A packet of somebody else, so much later."""
    other = Talk(at_ns=talk.at_ns + round(seconds * 1e9))
    other.server_host.port, other.client_host.port = 80, 50000
    other.client(flags="S", after=0)
    return other.packets


def what(end: Closing) -> tuple[How, Mechanism | None, str]:
    return end.how, end.mechanism, end.role


def test_both_closed_in_order() -> None:
    """The first FIN names who closed."""
    talk = begun()
    talk.server(flags="FA", after=60)
    talk.client(flags="FA")
    talk.server(after=0.02)

    end = closed(talk)

    assert what(end) == (How.CLOSED, Mechanism.FIN, "server")
    assert end.how.proper
    assert round((end.silence_ns or 0) / 1e9) == 60
    assert end.notes == ()


def test_a_reset_out_of_silence() -> None:
    """The client waited five minutes, then its watchdog cut the connection."""
    talk = begun()
    talk.client(b"next question", after=1)
    talk.server(after=0.02)
    talk.client(flags="RA", stamp=True, after=300)

    end = closed(talk)

    assert what(end) == (How.RESET, Mechanism.RST, "client")
    assert round((end.silence_ns or 0) / 1e9) == 300
    assert (round((end.client_silence_ns or 0) / 1e9), round((end.server_silence_ns or 0) / 1e9)) == (
        300,
        301,
    )
    assert end.trigger is None


def test_a_reset_that_answers_a_packet_after_silence() -> None:
    """The far end had no such connection any more; the silence is that before the question."""
    talk = begun()
    talk.client(b"next question", after=400)
    talk.client(b"next question", seq=talk.client_host.seq - 13, after=0.2)
    talk.server(flags="R", seq=talk.server_host.seq, window=0, ip_id=0, after=0.02)

    end = closed(talk)

    assert what(end) == (How.RESET, Mechanism.RST, "server")
    assert round((end.quiet_before_trigger_ns or 0) / 1e9) == 400
    assert any("the first after 400 s of silence" in note for note in end.notes)


def test_unread_input_is_named_where_a_reset_may_come_of_it() -> None:
    """A program that closes a socket with input that it did not read resets, and says nothing else."""
    talk = begun()
    talk.client(b"a question", after=1)
    talk.server(flags="RA", stamp=True, after=0.5)

    end = closed(talk)

    assert what(end) == (How.RESET, Mechanism.RST, "server")
    assert any("had not answered the last 10 bytes" in note for note in end.notes)


def test_a_refused_connection() -> None:
    """A reset for a SYN."""
    talk = Talk()
    talk.client(flags="S", after=0)
    talk.server(flags="RA", seq=0, window=0, ip_id=0, after=0.02)

    assert what(closed(talk)) == (How.REFUSED, Mechanism.REFUSED, "server")


def test_a_syn_that_nobody_answers() -> None:
    """Dropped by a firewall, or sent to nobody."""
    talk = Talk()
    for number in range(4):
        talk.client(flags="S", seq=1000, after=2**number)

    end = closed(talk)

    assert what(end) == (How.SYN_UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, "client")
    assert "4 SYNs in 14.0 s" in end.notes


def test_a_reset_while_opening() -> None:
    """A port scan, or a load balancer without a server behind it."""
    talk = Talk()
    talk.handshake()
    talk.server(flags="R", seq=talk.server_host.seq, window=0, after=0.02)

    assert what(closed(talk)) == (How.SYN_RESET, Mechanism.RST, "server")


def test_closed_and_then_reset() -> None:
    """The server closed, the client went on sending, and met no reader."""
    talk = begun()
    talk.server(flags="FA", after=5)
    talk.client(b"more", after=0.02)
    talk.server(flags="R", seq=talk.server_host.seq, window=0, ip_id=0, after=0.02)

    end = closed(talk)

    assert what(end) == (How.FIN_THEN_RST, Mechanism.FIN_THEN_RST, "server")
    assert round((end.silence_ns or 0) / 1e9) == 5
    assert any("met no reader" in note for note in end.notes)


def test_a_close_that_is_answered_by_a_reset() -> None:
    """Proxies do so to spare themselves a state; whoever closed first closed."""
    talk = begun()
    talk.client(flags="FA", after=5)
    talk.server(flags="RA", stamp=True, after=0.02)

    end = closed(talk)

    assert what(end) == (How.FIN_MET_RST, Mechanism.FIN, "client")


def test_a_reset_behind_a_proper_end_is_harmless() -> None:
    """A late packet in TIME_WAIT meets no socket."""
    talk = begun()
    talk.close()
    talk.server(flags="FA", seq=talk.server_host.seq - 1, after=0.2)
    talk.client(flags="R", seq=talk.client_host.seq, window=0, ip_id=0, after=0.0001)

    end = closed(talk)

    assert what(end) == (How.RESET_AFTER_END, Mechanism.FIN, "client")
    assert end.how.proper


def test_retransmissions_without_an_answer() -> None:
    """The path is dead: data goes out, and nothing comes back to the end of the capture."""
    talk = begun()
    talk.client(b"anybody?", after=30)
    for number in range(6):
        talk.client(b"anybody?", seq=talk.client_host.seq - 8, after=0.2 * 2**number)

    end = closed(talk)

    assert what(end) == (How.UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, "client")
    assert any(note.startswith("6 retransmissions of the client in 12.4 s") for note in end.notes)


def test_keepalive_probes_without_an_answer_end_in_a_reset() -> None:
    """Linux resets when it gives up; the reset is not the cause."""
    talk = begun()
    for _ in range(4):
        talk.client(seq=talk.client_host.seq - 1, after=15)
    talk.client(flags="RA", stamp=True, after=15)

    end = closed(talk)

    assert what(end) == (How.UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, "client")
    assert any(
        "4 keepalive probes of the client in 60.0 s" in note and "gave up and reset" in note
        for note in end.notes
    )


def test_answered_keepalives_are_no_dead_path() -> None:
    """The far kernel lives; its program says nothing."""
    talk = begun()
    for _ in range(4):
        talk.client(seq=talk.client_host.seq - 1, after=15)
        talk.server(after=0.02)
    talk.client(flags="RA", stamp=True, after=240)

    assert what(closed(talk)) == (How.RESET, Mechanism.RST, "client")


def test_a_half_closed_connection() -> None:
    """The client said all; the server goes on, or hangs."""
    talk = begun()
    talk.client(flags="FA", after=1)
    talk.server(after=0.02)
    talk.server(b"more", after=5)
    talk.client(after=0.0001)

    end = closed(talk)

    assert what(end) == (How.HALF_CLOSED, Mechanism.FIN, "client")
    assert any("the server went on sending for 5.02 s" in note for note in end.notes)


def test_open_at_the_end_of_the_capture() -> None:
    """Nothing ended it while we looked."""
    assert what(closed(begun())) == (How.OPEN, None, "")


def test_stalled_behind_a_closed_window() -> None:
    """Somebody does not read; TCP holds the sender back."""
    talk = begun()
    talk.client(window=0, after=1)
    for number in range(3):
        talk.server(seq=talk.server_host.seq - 1, after=0.5 * 2**number)
        talk.client(window=0, after=0.0001)

    end = closed(talk, later(talk, 60))

    assert what(end) == (How.STALLED, None, "")
    assert any("the client had closed its window" in note and "did not read" in note for note in end.notes)


def test_ports_that_were_taken_again() -> None:
    """No end was captured, and a new connection shows that there was one."""
    talk = begun()
    again = Talk(at_ns=talk.at_ns + 10**10)
    again.client_host.seq = 5_000_000
    again.handshake()

    first, _ = sorted(follow(as_packets(talk.packets + again.packets)), key=lambda one: one.number)

    assert what(closing(first)) == (How.REUSED, None, "")


def test_one_direction_alone_is_no_dead_path() -> None:
    """Retransmissions whose answers take another way are not unanswered."""
    talk = begun()
    for _ in range(3):
        talk.ask_and_answer()
    talk.client(b"again", after=1)
    for number in range(4):
        talk.client(b"again", seq=talk.client_host.seq - 5, after=2.0**number)

    one = the_one([made for made in talk.packets if made.outgoing])

    assert one.one_sided is one.client
    assert closing(one).how is not How.UNANSWERED


def test_a_reset_that_was_ignored_ended_nothing() -> None:
    """Its sequence number was wrong: both talk on, and close in order."""
    talk = begun()
    talk.server(flags="R", seq=talk.server_host.seq + 5000, ttl=200, after=1)
    for _ in range(3):
        talk.client(b"still here", after=0.1)
        talk.server(b"so am I", after=0.02)
    talk.close()

    one = the_one(talk.packets)
    end = closing(one)

    assert what(end) == (How.CLOSED, Mechanism.FIN, "client")
    assert one.reset_count == 1


def test_what_arrived_before_the_reset_counts_as_silence_only_up_to_it() -> None:
    """Payload behind a reset, of whoever still lives, does not shorten the silence before it."""
    talk = begun()
    talk.client(b"question", after=20)
    talk.server(flags="R", seq=talk.server_host.seq, ttl=63, ip_id=0, window=0, after=0.001)
    talk.server(b"answer", options=stamps(1, 2), after=3)

    end = closed(talk)

    assert round((end.server_silence_ns or 0) / 1e9) == 20
    assert role(end.by) == "server" if end.by else False
