"""A capture beside a turn: which connection is whose, by what, and what it adds to the story."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.captures.match import beside, legs_of
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from tests.captures import awkward
from tests.flight.telling import HUNG_UP, NOON, end, frozen_turn, tell, turn

START_S = NOON.wall_ms / 1000
ASK = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
CLIENT, GATEWAY, API = ("127.0.0.1", 50000), ("127.0.0.1", 8377), ("203.0.113.7", 443)
MINE = ("192.0.2.9", 40000)


def head(*lines: bytes) -> bytes:
    return (
        b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", *lines, b"", b""))
        + b"event: ping\ndata: {}\n\n"
    )


class Talk:
    """One TCP connection, packet by packet, at seconds after the turn's start."""

    def __init__(self, client: tuple[str, int], server: tuple[str, int], ahead_s: float = 0.0) -> None:
        self.ends = {True: client, False: server}
        self.seq = {True: 1000, False: 9000}
        self.ahead_s = ahead_s
        self.frames: list[awkward.Frame] = []

    def packet(self, at_s: float, to_server: bool, flags: int, data: bytes = b"") -> None:
        (source, sport), (target, tport) = self.ends[to_server], self.ends[not to_server]
        addresses = bytes(map(int, source.split("."))) + bytes(map(int, target.split(".")))
        tcp = struct.pack(
            "!HHIIBBHHH", sport, tport, self.seq[to_server], self.seq[not to_server], 5 << 4, flags, 500, 0, 0
        )
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(data), len(self.frames) + 1, 0, 64, 6, 0) + addresses
        self.frames.append(
            (round((START_S + self.ahead_s + at_s) * 1e9), b"\2" * 12 + b"\x08\0" + ip + tcp + data)
        )
        self.seq[to_server] += len(data) + (1 if flags & 3 else 0)

    def opens(self, at_s: float) -> None:
        self.packet(at_s, True, 2)
        self.packet(at_s + 0.001, False, 18)
        self.packet(at_s + 0.002, True, 16)

    def says(self, at_s: float, to_server: bool, data: bytes) -> None:
        self.packet(at_s, to_server, 24, data)
        self.packet(at_s + 0.001, not to_server, 16)


def file(path: Path, *talks: Talk) -> Path:
    frames = sorted((frame for talk in talks for frame in talk.frames), key=lambda pair: pair[0])
    return awkward.write(path, frames)


def stored(*records: TurnRecord) -> Sequence[StoredTurn]:
    return [
        StoredTurn(record, "gateway", record.ending.code if record.ending else None, None)
        for record in records
    ]


def gave_up() -> TurnRecord:
    """A client that resets its connection in the middle of a tool call, 300 s after the answer's last event."""
    record = tell(
        turn(turn_id="abc1"),
        (0.0, m.ReaderJoined(1, "first", 0)),
        (0.001, m.AttemptStarted(1)),
        (0.042, m.Connected(1, "203.0.113.7:443", 0.041, False, "TLSv1.3")),
        (0.8, m.HeadersArrived(1, 200, "req_1", "text/event-stream")),
        (301.0, m.ReaderLeft(1, "gave_up", "idle", 300.0, HUNG_UP)),
        (303.0, m.UpstreamStopped(1, "nobody is left")),
    )
    return end(record, 303, HUNG_UP)


def client_side(ahead_s: float = 0.0) -> Talk:
    talk = Talk(CLIENT, GATEWAY, ahead_s)
    talk.opens(-0.01)
    talk.says(0.0, True, ASK)
    talk.says(1.0, False, head(b"holdfast-turn: abc1", b"request-id: req_1"))
    talk.packet(301.0, True, 20)
    return talk


def upstream_side(ahead_s: float = 0.0, *, port: int = 40000, begins: float = 0.001) -> Talk:
    talk = Talk((MINE[0], port), API, ahead_s)
    talk.opens(begins)
    talk.says(begins + 0.1, True, b"\x17\x03\x03\x00\x05hello")
    talk.packet(303.0, True, 17)
    talk.packet(303.001, False, 17)
    return talk


def test_both_legs_are_found_and_told_as_one_story(tmp_path: Path) -> None:
    """The client's by the turn's own header, upstream's by address and times; the reset is in its place."""
    (turn,) = stored(gave_up())
    found = beside(file(tmp_path / "c.pcap", client_side(), upstream_side()), [turn])
    assert [(one.leg.name, one.why) for one in found.matches] == [
        ("the client's connection", "its answer names the turn (holdfast-turn)"),
        ("attempt 1", "its address and times are those of attempt 1"),
    ]
    told = [(round(line.at_s), line.name) for line in found.lines(turn)]
    assert (0, "Asked") in told and (1, "Answered") in told and (301, "Ended") in told
    assert {line.by for line in found.lines(turn)} == {"capture c.pcap"}
    (first, second) = found.rows(turn)
    assert first[:2] == ("capture c.pcap #1", "+301.0 s") and "reset by the client" in first[2]
    assert (first[3], second[3]) == ("agrees", "")
    assert not found.notes()


@pytest.mark.parametrize("ahead_s", [-3600.0, 8 * 3600.0, 3.25])
def test_the_clock_is_found_by_the_turns_id(tmp_path: Path, ahead_s: float) -> None:
    """Hours off or seconds: the request is on the wire when it arrived here, and all else follows."""
    (turn,) = stored(gave_up())
    found = beside(file(tmp_path / "c.pcap", client_side(ahead_s), upstream_side(ahead_s)), [turn])
    assert found.ahead_s == pytest.approx(ahead_s, abs=0.01) and len(found.matches) == 2
    assert "by 1 request with an id of ours" in found.clock
    assert (301, "Ended") in [(round(line.at_s), line.name) for line in found.lines(turn)]


def test_connections_that_were_open_before_the_capture_are_found(tmp_path: Path) -> None:
    """A capture that was begun while the turn ran: upstream by its address, the client by the end that both saw."""
    (turn,) = stored(gave_up())
    far = upstream_side()
    pings = Talk(CLIENT, GATEWAY)
    for second in (200.0, 300.9):
        pings.says(second, False, b"16\r\nevent: ping\ndata: {}\n\n\r\n")
    pings.packet(301.0, True, 20)
    far.frames = far.frames[5:]
    found = beside(file(tmp_path / "c.pcap", pings, far), [turn])
    assert sorted(one.leg.name for one in found.matches) == ["attempt 1", "the client's connection"]
    assert "taken for ours" in found.clock
    told = " ".join(line.text for line in found.lines(turn))
    assert "reset by the client" in told


def test_a_far_clock_is_not_guessed_from_one_connection(tmp_path: Path) -> None:
    """One upstream connection an hour away is somebody else's as well as ours."""
    (turn,) = stored(gave_up())
    found = beside(file(tmp_path / "c.pcap", upstream_side(3600.0)), [turn])
    assert found.ahead_s is None and not found.matches and "cannot be compared" in found.clock
    assert found.lines(turn) == [] and "1 of its 1 connection fit none" in " ".join(found.notes())


def test_two_that_fit_alike_are_put_to_nobody(tmp_path: Path) -> None:
    """Two connections to upstream, opened in the same 10 ms: which is ours cannot be told, and is not."""
    (turn,) = stored(gave_up())
    talks = [client_side(), upstream_side(), upstream_side(port=40001, begins=0.011)]
    found = beside(file(tmp_path / "c.pcap", *talks), [turn])
    assert [one.leg.client for one in found.matches] == [True]
    assert "2 of them because they fit several equally" in " ".join(found.notes())


def with_ports(*, client: int | None = CLIENT[1], upstream: int | None = MINE[1]) -> TurnRecord:
    """The same turn, of a gateway that tells its ports."""
    record = gave_up()
    record.moments[:] = [(when, _with_ports(moment, client, upstream)) for when, moment in record.moments]
    return record


def _with_ports(moment: m.Moment, client: int | None, upstream: int | None) -> m.Moment:
    match moment:
        case m.ReaderJoined():
            return m.ReaderJoined(moment.reader, moment.how, 0, client, GATEWAY[1])
        case m.Connected():
            return m.Connected(1, moment.address, moment.took_s, False, moment.tls, moment.http, upstream)
        case _:
            return moment


def encrypted_client_side(port: int, *, begins: float = -0.01) -> Talk:
    """A client's connection over TLS: no head names the turn."""
    talk = Talk((CLIENT[0], port), GATEWAY)
    talk.opens(begins)
    talk.says(begins + 0.01, True, b"\x17\x03\x03\x00\x05hello")
    talk.packet(301.0, True, 20)
    return talk


def test_ports_tell_connections_apart_that_are_alike_in_all_else(tmp_path: Path) -> None:
    """Three connections to the provider and three to the gateway, begun and ended at the same times, all encrypted."""
    (turn,) = stored(with_ports())
    alike = [upstream_side(port=MINE[1] + number) for number in (-1, 0, 1)]
    alike += [encrypted_client_side(CLIENT[1] + number) for number in (-1, 0, 1)]
    found = beside(file(tmp_path / "c.pcap", *alike), [turn])

    assert sorted(
        (one.leg.name, one.report.connection.client.endpoint[1], one.why) for one in found.matches
    ) == [
        ("attempt 1", MINE[1], "both its ports are those of our connection to that address"),
        ("the client's connection", CLIENT[1], "both its ports are those of that client's connection"),
    ]
    assert found.notes() == ["4 of its 6 connections fit none of the turns"]

    without = beside(file(tmp_path / "d.pcap", *alike), stored(gave_up()))
    assert not without.matches


def test_a_connection_with_another_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    """Its times fit; the turn's own connection is seen, and has another port."""
    first, second = with_ports(), with_ports(client=None, upstream=MINE[1] + 5)
    second.turn_id = "abc2"
    found = beside(
        file(tmp_path / "c.pcap", upstream_side(), upstream_side(port=MINE[1] + 9)), stored(first, second)
    )
    assert [(one.leg.turn_id, one.report.connection.client.endpoint[1]) for one in found.matches] == [
        ("abc1", MINE[1])
    ]


def test_behind_a_nat_address_and_times_still_serve(tmp_path: Path) -> None:
    """A router's capture has other ports than ours, and none of ours."""
    (turn,) = stored(with_ports())
    found = beside(file(tmp_path / "c.pcap", upstream_side(port=61000)), [turn])
    assert [one.why for one in found.matches] == ["its address and times are those of attempt 1"]


def test_a_port_that_came_again_is_another_connection(tmp_path: Path) -> None:
    """Ports are used again: only who was there at the time counts."""
    (turn,) = stored(with_ports())
    later = Talk(MINE, API)
    later.opens(500.0)
    later.packet(501.0, True, 17)
    found = beside(file(tmp_path / "c.pcap", upstream_side(), later), [turn])
    assert [one.report.connection.number for one in found.matches] == [1]


def test_a_provider_that_did_not_do_it_is_cleared(tmp_path: Path) -> None:
    """We held a reset for upstream's; the packets show that upstream spoke on behind it."""
    record = tell(
        turn(turn_id="abc1"),
        (0.001, m.AttemptStarted(1)),
        (0.042, m.Connected(1, "203.0.113.7:443", 0.041, False, "TLSv1.3")),
        (60.0, m.AttemptEnded(1, Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT))),
    )
    (turn_,) = stored(end(record, 61))
    talk = Talk(MINE, API)
    talk.opens(0.001)
    talk.says(0.1, True, b"\x17\x03\x03\x00\x05hello")
    for second in range(1, 60):
        talk.says(second, False, b"\x17\x03\x03\x00\x05world")
    at = talk.frames[-1][0]
    talk.packet(60.0, False, 4)
    forged = bytearray(talk.frames[-1][1])
    forged[22] = 200  # its TTL
    talk.frames[-1] = (at + 1_000_000_000 - 1_000_000, bytes(forged))
    talk.packet(60.2, False, 24, b"\x17\x03\x03\x00\x05world")
    found = beside(file(tmp_path / "c.pcap", client_side(), talk), [turn_])
    (row,) = [row for row in found.rows(turn_) if "attempt 1" in row[2]]
    assert row[3].startswith("contradicts: the reset was taken for the peer's"), row


def test_each_reader_and_attempt_is_a_leg() -> None:
    """What a turn's moments say of its connections."""
    (stored_turn,) = stored(frozen_turn(turn_id="abc123"))
    legs = legs_of(stored_turn)
    assert {leg.name for leg in legs} >= {"the client's connection", "attempt 1", "attempt 2"}
    assert all(leg.ended_s is not None and leg.ended_s >= leg.began_s for leg in legs)


def test_what_is_no_capture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """The text says what the file looks like."""
    (tmp_path / "x.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + b"\xff" * 3)
    with pytest.raises(ValueError, match=r"x\.pcap"):
        beside(tmp_path / "x.pcap", [])
