"""Connections followed through packets: every rule on a conversation of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import pytest

from holdfast.captures.connections import Connection, Direction, Finish, KnownBy, Limits, follow
from holdfast.captures.layers import Seen
from tests.captures.packets import Host, Made, Talk, as_packets, stamps

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


@dataclass
class Heard:
    """What one connection's listener was told."""

    said: dict[Direction, bytes] = field(default_factory=lambda: {TO_SERVER: b"", TO_CLIENT: b""})
    gaps: list[tuple[Direction, int]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    end: Connection | None = None

    def data(self, direction: Direction, at_ns: int, payload: bytes) -> None:
        assert self.end is None
        self.said[direction] += payload
        self.times.append(at_ns)

    def gap(self, direction: Direction, at_ns: int, missing: int) -> None:
        assert self.end is None
        assert missing > 0
        self.said[direction] += b"~"
        self.gaps.append((direction, missing))

    def closed(self, connection: Connection) -> None:
        self.end = connection


def followed(
    packets: Iterable[Made], limits: Limits | None = None, port: int | None = None
) -> list[Connection]:
    return sorted(follow(as_packets(packets), limits=limits, port=port), key=lambda one: one.number)


def the_one(talk: Talk) -> Connection:
    found = followed(talk.packets)
    assert len(found) == 1
    return found[0]


def heard(packets: Iterable[Made], limits: Limits | None = None) -> list[Heard]:
    ears: list[Heard] = []

    def listen(connection: Connection) -> Heard:
        ears.append(Heard())
        return ears[-1]

    list(follow(as_packets(packets), listen=listen, limits=limits))
    return ears


def begun() -> Talk:
    """A connection after its first request and answer."""
    talk = Talk()
    talk.handshake()
    talk.ask_and_answer()
    return talk


# ----- who, and how much


def test_a_whole_connection() -> None:
    """Sides, bytes, round trips and ends."""
    talk = begun()
    talk.close()

    one = the_one(talk)

    assert one.client.endpoint == ("10.0.0.2", 40000)
    assert one.server.endpoint == ("192.0.2.10", 443)
    assert (one.known_by, one.whole_handshake, one.joined_in_the_middle) == (KnownBy.SYN, True, False)
    assert (one.client.bytes, one.server.bytes, one.packets) == (30, 24, 10)
    assert (one.server.rtt_ns, one.client.rtt_ns) == (20_000_000, 100_000)
    assert one.client.fin_acked_ns is not None
    assert one.server.fin_acked_ns is not None
    assert (one.finish, one.resets) == (Finish.CAPTURE_ENDED, [])


def test_payload_is_handed_on_in_order_with_its_direction() -> None:
    """What the views of HTTP and TLS are built on."""
    talk = begun()
    talk.close()

    (ear,) = heard(talk.packets)

    assert ear.said == {
        TO_SERVER: b"POST /v1/messages HTTP/1.1\r\n\r\n",
        TO_CLIENT: b"HTTP/1.1 200 OK\r\n\r\nhello",
    }
    assert ear.gaps == []
    assert ear.times == [made.at_ns for made in talk.packets if len(made.ip) > 70]
    assert ear.end is not None


def test_nobody_need_listen() -> None:
    """A listener that declines costs nothing and hears nothing."""
    talk = begun()
    asked: list[tuple[str, int]] = []

    def listen(connection: Connection) -> None:
        asked.append(connection.server.endpoint)

    list(follow(as_packets(talk.packets), listen=listen))

    assert asked == [("192.0.2.10", 443)]


@pytest.mark.parametrize(
    ("first", "known_by"),
    [
        (b"POST /v1/messages HTTP/1.1\r\n", KnownBy.PAYLOAD),
        (b"\x16\x03\x01\x02\x00\x01", KnownBy.PAYLOAD),
        (b"?", KnownBy.PORT),
    ],
)
def test_without_a_handshake_the_sides_are_told_by_what_is_said(first: bytes, known_by: KnownBy) -> None:
    """A capture that was started late."""
    talk = Talk()
    talk.server_host.port = 30001 if known_by is KnownBy.PAYLOAD else 443
    talk.client_host.port = 4000 if known_by is KnownBy.PAYLOAD else 40000
    talk.server()
    talk.client(first)
    talk.server(b"answer")

    one = the_one(talk)

    assert (one.client.endpoint[0], one.known_by, one.joined_in_the_middle) == ("10.0.0.2", known_by, True)
    assert [ear.said[TO_SERVER] for ear in heard(talk.packets)] == [first]


def test_the_port_that_is_asked_for_is_the_servers() -> None:
    """`--port 50000` says what no heuristic could."""
    talk = Talk(server_host=Host("192.0.2.10", 50000, 1))
    talk.server(b"x")
    talk.client(b"y")

    (one,) = followed(talk.packets, port=50000)

    assert (one.server.endpoint, one.known_by) == (("192.0.2.10", 50000), KnownBy.ASKED)


def test_sequence_numbers_may_wrap_around() -> None:
    """After 4 GB, or sooner: the first number is drawn."""
    talk = Talk(
        client_host=Host("10.0.0.2", 40000, 0xFFFFFFF0), server_host=Host("192.0.2.10", 443, 0xFFFFFFFE)
    )
    talk.handshake()
    for word in (b"twelve bytes", b"twelve more.", b"and the rest"):
        talk.client(word)
        talk.server(word)
    talk.close()

    (ear,) = heard(talk.packets)

    assert ear.said[TO_SERVER] == ear.said[TO_CLIENT] == b"twelve bytestwelve more.and the rest"
    assert ear.end is not None
    assert ear.end.client.bytes == 36
    assert ear.end.client.retransmits == 0


# ----- what goes wrong on the way


def test_a_retransmission_is_counted_and_told_once() -> None:
    """The first copy was captured, and lost behind the capture."""
    talk = begun()
    talk.client(b"lost", after=1)
    talk.client(b"lost", seq=talk.client_host.seq - 4, after=0.2)
    talk.server(after=0.02)

    one = the_one(talk)

    assert (one.client.retransmits, one.client.retransmitted_bytes, one.client.spurious) == (1, 4, 0)
    assert one.client.bytes == 34
    assert heard(talk.packets)[0].said[TO_SERVER].endswith(b"\r\nlost")


def test_a_retransmission_of_what_was_acknowledged_is_needless() -> None:
    """Its acknowledgement was late or lost."""
    talk = begun()
    talk.client(b"data", after=1)
    talk.server(after=0.3)
    talk.client(b"data", seq=talk.client_host.seq - 4, after=0.001)

    assert (the_one(talk).client.retransmits, the_one(talk).client.spurious) == (1, 1)


def test_three_duplicate_acknowledgements_make_a_fast_retransmission() -> None:
    """The hole was in the network, before the capture."""
    talk = begun()
    hole = talk.server_host.seq
    talk.server(b"one.", lost=True)
    for word in (b"two.", b"thre", b"four"):
        talk.server(word)
        talk.client(ack=hole, after=0.0001)
    talk.server(b"one.", seq=hole, after=0.02)
    talk.client(after=0.0001)

    one = the_one(talk)

    assert (one.server.retransmits, one.server.fast_retransmits, one.server.missing) == (1, 1, 0)
    assert one.client.dup_acks == 3
    assert heard(talk.packets)[0].said[TO_CLIENT].endswith(b"helloone.two.threfour")


@pytest.mark.parametrize("ids", [True, False], ids=["by IP ids", "by time"])
def test_what_was_overtaken_is_no_retransmission(ids: bool) -> None:
    """It was sent first and arrived second."""
    talk = begun()
    first = talk.server_host.seq
    talk.server(b"one.", lost=True)
    talk.server(b"two.", ip_id=701 if ids else 0)
    talk.server(b"one.", seq=first, ip_id=700 if ids else 0, after=0.5 if ids else 0.0005)

    one = the_one(talk)

    assert (one.server.reordered, one.server.retransmits) == (1, 0)
    assert heard(talk.packets)[0].said[TO_CLIENT].endswith(b"helloone.two.")


def test_what_the_capture_missed_is_a_gap() -> None:
    """The receiver acknowledged it, so it arrived: the capturing program lost it."""
    talk = begun()
    talk.server(b"12345", lost=True)
    talk.server(b"after")
    talk.client()
    talk.server(b"more", after=0.1)
    talk.client()

    one = the_one(talk)
    (ear,) = heard(talk.packets)

    assert (one.server.missing, one.server.holes, one.server.retransmits) == (5, 1, 0)
    assert ear.said[TO_CLIENT].endswith(b"hello~aftermore")
    assert ear.gaps == [(TO_CLIENT, 5)]


def test_a_packet_kept_in_part_is_a_gap_at_its_end() -> None:
    """A snap length of 80 bytes keeps the first letters of each packet."""
    talk = begun()
    shorter = [
        (at, link, ip, start, min(size, 80), size, view)
        for at, link, ip, start, size, _, view in as_packets(talk.packets)
    ]
    ears: list[Heard] = []

    def listen(connection: Connection) -> Heard:
        ears.append(Heard())
        return ears[-1]

    (one,) = follow(shorter, listen=listen)

    assert one.client.bytes == 30
    assert ears[0].said[TO_SERVER].startswith(b"POST")
    assert ears[0].gaps == [(TO_SERVER, 2)]
    assert ears[0].said[TO_CLIENT] == b"HTTP/1.1 200 OK\r\n\r\nhello"


def test_a_hole_is_not_waited_for_without_end() -> None:
    """A sender that never fills it costs a bounded number of bytes."""
    talk = begun()
    talk.server(b"never seen", lost=True)
    for _ in range(40):
        talk.server(b"x" * 100)

    (ear,) = heard(talk.packets, Limits(waiting_segments=10))

    assert ear.gaps == [(TO_CLIENT, 10)]
    assert ear.said[TO_CLIENT].endswith(b"~" + b"x" * 4000)


def test_a_packet_captured_twice_is_no_retransmission() -> None:
    """`-i any` sees a container's packet on each interface that it passes."""
    talk = Talk()
    talk.handshake()
    talk.ask_and_answer()
    talk.close()
    twice = [
        copy
        for made in talk.packets
        for copy in (made, Made(made.at_ns + 3000, made.ip, not made.outgoing, 1))
    ]

    (one,) = followed(twice)

    assert one.captured_twice == len(talk.packets)
    assert one.packets == len(talk.packets)
    assert (one.client.retransmits, one.server.retransmits, one.client.dup_acks) == (0, 0, 0)
    assert heard(twice)[0].said == heard(talk.packets)[0].said


def test_captured_twice_on_one_interface_is_known_by_ip_ids() -> None:
    """A mirror port that copies both its ports."""
    talk = begun()
    made = talk.client(b"data")
    talk.again(made, after=0.2)

    one = the_one(talk)

    assert (one.client.duplicates, one.client.retransmits) == (1, 0)


def test_keepalive_probes_and_their_answers() -> None:
    """One byte before the next one, empty; the answer says where it really stands."""
    talk = begun()
    for _ in range(3):
        talk.client(seq=talk.client_host.seq - 1, after=30)
        talk.server(after=0.02)
    talk.client(seq=talk.client_host.seq - 1, after=30)

    one = the_one(talk)

    assert (one.client.probes, one.client.probes_answered, one.client.retransmits) == (4, 3, 0)
    assert (one.server.dup_acks, one.client.unanswered) == (0, 1)


def test_probes_are_known_without_the_connections_begin() -> None:
    """A capture started while a client waits for a frozen answer sees nothing else."""
    talk = begun()
    talk.packets.clear()
    for _ in range(3):
        talk.client(seq=talk.client_host.seq - 1, after=30)
        talk.server(after=0.02)

    one = the_one(talk)

    assert (one.client.probes, one.client.probes_answered) == (3, 3)
    assert one.client.missing == 0


def test_probes_into_the_dark_are_known_without_the_begin() -> None:
    """Nothing comes back, and no stack repeats a bare acknowledgement unprompted."""
    talk = begun()
    talk.packets.clear()
    for _ in range(4):
        talk.client(seq=talk.client_host.seq - 1, after=15)

    one = the_one(talk)

    assert (one.client.probes, one.client.probes_answered, one.client.unanswered) == (4, 0, 4)
    assert one.one_sided is None


def test_zero_windows_and_their_probes() -> None:
    """The client's program did not read for two seconds."""
    talk = begun()
    talk.client(window=0)
    talk.server(seq=talk.server_host.seq - 1, after=0.5)
    talk.client(window=0, after=0.0001)
    talk.client(window=900, after=1.5)
    talk.client(window=1000, after=0.1)

    one = the_one(talk)

    assert (one.client.zero_windows, round(one.client.zero_ns / 1e9, 1)) == (1, 2.0)
    assert (one.server.window_probes, one.server.probes) == (1, 0)
    assert one.client.window_updates >= 1


def test_round_trips_are_measured_near_the_capture() -> None:
    """Data to acknowledgement; a retransmission makes the next one worthless (Karn)."""
    talk = begun()
    talk.client(b"x", after=1)
    talk.server(after=0.015)
    assert the_one(talk).server.rtt_ns == 15_000_000

    talk.client(b"y", after=1)
    talk.client(b"y", seq=talk.client_host.seq - 1, after=0.3)
    talk.server(after=0.001)
    assert the_one(talk).server.rtt_ns == 15_000_000


def test_the_longest_silence_of_each_side() -> None:
    """Between two payloads, and when it began."""
    talk = begun()
    asked_ns = talk.at_ns
    talk.server(b"ping", after=42)
    talk.client(b"x", after=1)

    one = the_one(talk)

    assert one.server.silence_ns == 42_000_100_000
    assert one.server.silence_at_ns == asked_ns - 100_000
    assert one.client.silence_ns == 43_320_100_000


# ----- where connections begin and end


def test_a_new_syn_on_the_same_ports_is_another_connection() -> None:
    """Ports are taken again soon on a busy machine."""
    first = begun()
    first.close()
    again = Talk(client_host=Host("10.0.0.2", 40000, 77_000), at_ns=first.at_ns + 1_000_000)
    again.handshake()
    again.client(b"second", after=0.001)

    one, two = followed(first.packets + again.packets)

    assert (one.finish, one.client.bytes) == (Finish.REUSED, 30)
    assert (two.finish, two.client.bytes, two.number) == (Finish.CAPTURE_ENDED, 6, 2)


def test_a_repeated_syn_is_the_same_connection() -> None:
    """The first one, or its answer, was lost."""
    talk = Talk()
    talk.client(flags="S", after=0)
    talk.client(flags="S", seq=1000, after=1)
    talk.server(flags="SA", after=0.02, ip_id=0)
    talk.client(after=0.0001)

    one = the_one(talk)

    assert (one.client.syns, one.whole_handshake) == (2, True)
    assert one.server.rtt_ns is None


def test_both_may_call_each_other_at_once() -> None:
    """A simultaneous open is one connection."""
    talk = Talk()
    talk.client(flags="S", after=0)
    talk.server(flags="S", after=0.0001)
    talk.client(flags="SA", seq=1000, after=0.02)
    talk.server(flags="SA", seq=900_000, after=0.001)

    assert the_one(talk).packets == 4


@pytest.mark.parametrize("who", ["client", "server"])
def test_one_direction_alone_is_told_as_such(who: str) -> None:
    """Routes differ each way; what is acknowledged must have been sent."""
    talk = begun()
    talk.ask_and_answer()
    talk.close()
    outgoing = who == "client"

    (one,) = followed([made for made in talk.packets if made.outgoing is outgoing])

    assert one.one_sided is not None
    assert one.one_sided is (one.client if outgoing else one.server)


def test_what_is_over_is_given_out_after_a_minute() -> None:
    """A long capture holds only what is open."""
    packets: list[Made] = []
    for number in range(5):
        talk = Talk(client_host=Host("10.0.0.2", 40000 + number, 1000))
        talk.at_ns += number * 100_000_000_000
        talk.handshake()
        talk.close()
        packets += talk.packets

    found = list(follow(as_packets(packets)))

    assert [one.number for one in found] == [1, 2, 3, 4, 5]
    assert [one.finish for one in found] == [Finish.CLOSED] * 4 + [Finish.CAPTURE_ENDED]


def test_too_many_open_connections_crowd_out_the_quietest() -> None:
    """A scan of a million ports does not fill the memory."""
    packets: list[Made] = []
    for number in range(100):
        talk = Talk(client_host=Host("10.0.0.2", 20000 + number, 1000), at_ns=Talk().at_ns + number * 1000)
        talk.client(flags="S", after=0)
        packets += talk.packets

    found = list(follow(as_packets(packets), limits=Limits(open=20)))

    assert len(found) == 100
    assert [one.number for one in found[:2]] == [1, 2]
    assert {one.finish for one in found[:80]} == {Finish.CROWDED}


def test_packets_of_other_ports_are_passed_over() -> None:
    """And counted."""
    talk, seen = begun(), Seen()

    assert list(follow(as_packets(talk.packets), port=80, seen=seen)) == []
    assert seen.passed_over == len(talk.packets)


def test_times_may_go_backwards() -> None:
    """A clock was set, or two files were joined in the wrong order."""
    talk = begun()
    talk.server(b"x", after=-50)
    talk.client(after=0.1)
    talk.close()

    one = the_one(talk)

    assert one.server.bytes == 25
    assert one.server.silence_ns >= 0


def test_timestamps_are_known_of_each_side() -> None:
    """A reset without them is compared with this."""
    with_them, without = begun(), Talk(timestamps=False)
    without.handshake()
    without.ask_and_answer()

    assert (the_one(with_them).client.timestamps, the_one(with_them).server.timestamps) == (True, True)
    assert (the_one(without).client.timestamps, the_one(without).server.timestamps) == (False, False)


def test_a_reset_holds_what_it_is_judged_by() -> None:
    """Sequence, distance, the packets before it, and what came behind."""
    talk = begun()
    talk.client(b"question", after=5)
    talk.server(flags="R", seq=talk.server_host.seq, ttl=61, ip_id=0, window=0, after=0.004)
    talk.server(b"I live", options=stamps(1, 2), after=0.1)

    (reset,) = the_one(talk).resets

    assert (reset.offset, reset.ack, reset.hops, reset.ip_id, reset.timestamp) == (0, None, 61, 0, False)
    assert (reset.packets_after, reset.data_after) == (1, 1)
    assert reset.unread == 8
    assert reset.others[-1][5] == 8


@pytest.mark.parametrize("seed", range(40))
def test_any_order_and_loss_gives_the_same_words(seed: int) -> None:
    """Shuffled, doubled and lost in the capture: what is heard is the truth, with gaps for what is not there."""
    chance = Random(seed)
    talk = begun()
    said = b"HTTP/1.1 200 OK\r\n\r\nhello"
    for number in range(60):
        word = b"<%03d>" % number * chance.randint(1, 5)
        said += word
        talk.server(word)
        if chance.random() < 0.4:
            talk.client()
    fixed, moved = talk.packets[:7], talk.packets[7:]
    moved = [made for _, made in sorted((i + chance.random() * 4, made) for i, made in enumerate(moved))]
    moved = [made for made in moved for _ in range(1 + (chance.random() < 0.1))]
    kept = [made for made in moved if chance.random() > 0.05]

    for packets, whole in ((moved, True), (kept, False)):
        (ear,) = heard(fixed + packets)
        pieces = ear.said[TO_CLIENT].split(b"~")
        at = 0
        for piece in pieces:
            found = said.find(piece, at)
            assert found >= at, (seed, piece)
            at = found + len(piece)
        if whole:
            assert ear.said[TO_CLIENT] == said
