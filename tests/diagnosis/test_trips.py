"""The ways of requests, from turns of the journal, from logs and from captures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.captures.connections import follow
from holdfast.captures.telling import conclude
from holdfast.diagnosis.added import of_capture, trips_of_capture, trips_of_log
from holdfast.diagnosis.beside import Beside, Seen, joined
from holdfast.diagnosis.case import Trip
from holdfast.diagnosis.flown import flown
from holdfast.diagnosis.trips import address_of, family_of, location_of, trips
from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.records.align import Clock
from holdfast.records.match import Matched
from holdfast.records.reading import Pile, Source
from holdfast.records.sighting import Sighting
from tests.captures.packets import Talk, as_packets
from tests.diagnosis.test_beside import AT, RESET, SESSION, broken, case, failure, stored, witness
from tests.flight.telling import NOON, end, short_turn, tell, turn

RAY = "9a1b2c3d4e5f6071-DFW"
TORN = Ending(
    Side.PATH,
    Mechanism.UNACKNOWLEDGED,
    Phase.SENDING,
    "",
    {
        "address": "[2001:db8::7]:443", "family": "6", "http": "1.1", "acked_bytes": 1700, "unacked_bytes": 28000,
        "total_retrans": 6, "silence_s": 30.5, "network": "a1b2", "vpn": False, "pings": None,
    },
)  # fmt: skip


def test_each_attempt_is_one_with_what_its_ending_knew() -> None:
    """The first was lost on its way out by IPv6, the second went well by IPv4, at another place."""
    record = tell(
        turn(),
        (0.0, m.AttemptStarted(1)),
        (0.1, m.Connected(1, "[2001:db8::7]:443", 0.1, False, "TLSv1.3")),
        (31.0, m.AttemptEnded(1, TORN)),
        (31.5, m.AttemptStarted(2)),
        (31.6, m.Connected(2, "203.0.113.7:443", 0.1, False, "TLSv1.3", "2")),
        (33.0, m.HeadersArrived(2, 200, "req_b", "text/event-stream", RAY)),
        (33.1, m.FirstEventArrived(2, "claude-sonnet-4-5", 900)),
        (40.1, m.AnswerFinished("end_turn", 420)),
        (40.1, m.AttemptEnded(2, COMPLETED)),
    )
    record.request_bytes = 180_000
    lost, well = trips([stored(end(record, 40.2))])

    assert (lost.broke, lost.side, lost.mechanism, lost.phase) == (
        True,
        Side.PATH,
        Mechanism.UNACKNOWLEDGED,
        Phase.SENDING,
    )
    assert (lost.edge, lost.family, lost.network, lost.vpn) == ("2001:db8::7", "6", "a1b2", False)
    assert (lost.acked_bytes, lost.unacked_bytes, lost.sent_again, lost.request_bytes) == (
        1700,
        28000,
        6,
        180_000,
    )
    assert lost.pings_answered is None and lost.age_s == 31.0
    assert (well.broke, well.location, well.edge, well.family, well.http) == (
        False,
        "DFW",
        "203.0.113.7",
        "4",
        "2",
    )
    assert well.output_tokens == 420 and round(well.spread_s or 0, 3) == 7.0 and well.turn == lost.turn


def test_what_nobody_broke_is_no_break() -> None:
    """A client that left broke nothing, and nothing went well; the gateway's own patience that ran out is a break."""
    left = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_TEXT)
    waited = Ending(Side.GATEWAY, Mechanism.DEADLINE, Phase.CONNECTING, "", {"family": "6"})
    for ending, told in ((left, []), (waited, [True]), (COMPLETED, [False])):
        record = tell(turn(), (0.0, m.AttemptStarted(1)), (9.0, m.AttemptEnded(1, ending)))
        assert [one.broke for one in trips([stored(end(record, 9.1, ending))])] == told


def test_the_witness_of_a_broken_attempt_knows_the_place() -> None:
    """No header came; the same address, asked a moment later, said where it stands."""
    record = tell(
        turn(),
        (0.0, m.AttemptStarted(1)),
        (9.0, m.AttemptEnded(1, RESET)),
        (9.2, m.EdgeWitnessed(1, 200, RAY, "DFW")),
    )

    assert trips([stored(end(record, 9.4, RESET))])[0].location == "DFW"


def test_places_addresses_and_families_are_read_or_left_out() -> None:
    """Ids without a place name none."""
    assert (location_of(RAY), location_of("ray-FRA"), location_of("abc"), location_of(None)) == (
        "DFW",
        None,
        None,
        None,
    )
    assert (
        address_of("[::1]:443") == "::1"
        and address_of("192.0.2.1:443") == "192.0.2.1"
        and address_of(None) is None
    )
    assert (family_of("::1"), family_of("192.0.2.1"), family_of(None)) == ("6", "4", None)


def test_a_trip_is_put_to_the_failure_that_its_turn_was() -> None:
    """By the turn of the journal; what went well is nobody's, and stays for comparison."""
    lost, well = broken(100), stored(short_turn(turn_id="well"))
    found = joined(case(failure()), Beside(flights=flown([lost]), trips=trips([lost, well]))).case

    assert [(one.broke, one.failure) for one in found.trips] == [(True, "f1"), (False, None)]
    assert [one.turn for one in found.trips_of["f1"]] == [lost.record.turn_id]


def test_an_added_files_trip_goes_with_its_end() -> None:
    """The line that lies at a failure's second brings its way along; another one stays alone."""
    way = Trip(AT + 100_000, "nginx access.log:14", broke=True, location="DFW")
    near = Seen(witness(100), 2_000, trip=way)
    far = Seen(witness(900), 2_000, trip=way)
    found = joined(case(failure()), Beside(seen=[near, far])).case

    assert [one.failure for one in found.trips] == ["f1", None]
    assert found.seen["f1"][0].chance > 0


def test_a_capture_without_connections_tells_no_way() -> None:
    """Values in, values out."""
    assert trips_of_capture("capture a.pcap", [], None) == []


def carried(talk: Talk) -> Trip:
    """The way of the one connection of a capture, that came to a proper end."""
    reports = [conclude(one, None) for one in follow(as_packets(talk.packets))]
    (found,) = trips_of_capture("capture a.pcap", reports, None)
    return found


def test_a_connection_tells_how_long_its_last_request_was_under_way() -> None:
    """Two requests, of four minutes and of ten: the first one's time and the pause between them are not the second's."""
    talk = Talk()
    talk.handshake()
    for minutes in (4, 10):
        talk.client(b"q" * 900)
        for _ in range(minutes * 3):
            talk.server(b"a" * 600, after=20.0)
            talk.client(after=0.0002)
        talk.at_ns += 45_000_000_000
    talk.close()
    found = carried(talk)

    assert found.lived_s == pytest.approx(600, abs=2) and (found.age_s or 0) > 900


def test_a_farewell_to_an_idle_connection_is_no_answer() -> None:
    """The last word came five minutes after the answer: the request was not under way meanwhile."""
    talk = Talk()
    talk.handshake()
    talk.client(b"q" * 900)
    for _ in range(3):
        talk.server(b"a" * 600, after=5.0)
        talk.client(after=0.0002)
    talk.server(b"farewell", after=300.0)
    talk.client(after=0.0002)
    talk.close()

    assert carried(talk).lived_s == pytest.approx(15, abs=1)


def test_who_left_is_the_witness_of_a_turn_that_the_gateway_stopped_for_it() -> None:
    """The client reset its connection; that the gateway then cancelled upstream is only what followed."""
    reset = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TEXT)
    followed = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_TEXT)
    record = tell(
        turn(NOON),
        (50.0, m.ReaderLeft(1, "cancelled", None, None, reset)),
        (52.0, m.AttemptEnded(1, followed)),
    )
    (found,) = flown([stored(end(record, 52.0, followed))])

    assert [one.side for one in found.heard] == [Side.CLIENT] and found.code == "C.rst.text"
    assert found.session == SESSION


def test_a_connection_that_carried_requests_before_has_their_bytes_acknowledged_too() -> None:
    """So what was acknowledged of it tells nothing of this request's part."""
    used = replace(TORN, evidence={**TORN.evidence, "reused": True})
    record = tell(turn(), (0.0, m.AttemptStarted(1)), (31.0, m.AttemptEnded(1, used)))
    (lost,) = trips([stored(end(record, 31.0, used))])

    assert (lost.acked_bytes, lost.unacked_bytes) == (None, 28000)


def test_a_way_that_goes_dark_is_silent_from_the_far_ends_last_word_on() -> None:
    """Nothing came for ninety seconds, and then the request was sent again for twelve; waits double, so that it would have
    been sent again within eleven more, and whoever failed until then may have waited for it."""
    talk = Talk()
    talk.handshake()
    talk.client(b"q" * 900)
    talk.server(b"a" * 600, after=1.0)
    talk.client(after=0.0002)
    asked = talk.client(b"q" * 900, after=90.0)
    for wait in (0.4, 0.8, 1.6, 3.2, 6.4):
        talk.again(asked, after=wait)
    reports = [conclude(one, None) for one in follow(as_packets(talk.packets))]
    ((dark,), _) = of_capture("capture a.pcap", reports, None, [])

    assert dark.witness.mechanism is Mechanism.KEEPALIVE_UNANSWERED
    assert dark.witness.silence_s == pytest.approx(102.4, abs=0.5)
    assert dark.until_ms is not None
    assert dark.until_ms - dark.witness.at_ms == pytest.approx(22_400, abs=500)


def test_a_line_that_says_which_way_it_went_is_compared_with() -> None:
    """Of a browser's entry that went well: address, family, and HTTP."""
    pile = Pile()
    pile.shelves[-1].append(
        Sighting(
            "WebInspector",
            1,
            "answered 200",
            1_776_150_000.0,
            zone_known=True,
            status=200,
            edge="2001:db8::7",
            http="2",
        )
    )
    (way,) = trips_of_log(Source("a.har", Clock(0.0, "its clock is ours"), Matched(), pile))

    assert (way.broke, way.edge, way.family, way.http) == (False, "2001:db8::7", "6", "2")
