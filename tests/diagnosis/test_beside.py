"""What others saw of failures: flights, captures, logs, sleeps. Who ended it is a fact; it excludes causes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.diagnosis import added
from holdfast.diagnosis.beside import Beside, Joined, Seen, joined
from holdfast.diagnosis.case import Answer, Case, Failure, Span, Try, Witness
from holdfast.diagnosis.closers import cannot_be, fits
from holdfast.diagnosis.examine import Examination
from holdfast.diagnosis.flown import flown, matched
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.trips import trips
from holdfast.diagnosis.witnessed import examined
from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.records.align import Clock
from holdfast.records.match import Matched
from holdfast.records.reading import Pile, Source
from holdfast.records.sighting import Sighting
from tests.diagnosis.hypotheses.story import said
from tests.flight.telling import NOON, end, tell, turn

AT = NOON.wall_ms
RESET = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TOOL_USE, "Connection reset", {"silence_s": 61.5})
SESSION = "5c0ffee0-1111"


def stored(record: TurnRecord) -> StoredTurn:
    return StoredTurn(record, "instance", record.ending.code if record.ending else None, None)


def broken(seconds: float = 100, ending: Ending = RESET) -> StoredTurn:
    """A turn of this session that ended so many seconds after noon."""
    record = tell(
        turn(),
        (0.1, m.AttemptStarted(1)),
        (0.8, m.HeadersArrived(1, 200, "req_a", "text/event-stream", "ray")),
    )
    tell(record, (seconds, m.AttemptEnded(1, ending)))
    record.longest_quiet_s = 61.5
    record.breaks = f"{ending.code}!"
    return stored(end(record, seconds, ending))


def healed() -> StoredTurn:
    """One that broke, was restarted, and came to its end: the client noted nothing."""
    record = tell(turn(), (50, m.AttemptEnded(1, RESET)), (50.1, m.Healed("restart", RESET.code)))
    record.breaks = "P.rst.tool+restart"
    return stored(end(record, 90))


def failure(seconds: float = 100, **changes: object) -> Failure:
    """What the client noted so many seconds after noon."""
    at_ms = AT + round(seconds * 1000)
    one = Try(at_ms, age_s=seconds, code="ECONNRESET")
    made = Failure("f1", (one,), "recovered", at_ms, at_ms + 900, SESSION, "2.1.114")
    return replace(made, **changes)  # type: ignore[arg-type]


def case(*failures: Failure) -> Case:
    answers = [Answer(AT + number * 30_000, SESSION, "2.1.114", 50_000) for number in range(40)]
    return Case(failures, answers)


def witness(seconds: float, source: str = "nginx access.log:14", side: Side = Side.PROVIDER) -> Witness:
    return Witness(
        AT + round(seconds * 1000), side, Mechanism.RST, source, "its upstream reset the connection"
    )


def weighed(found: Joined) -> Examination:
    return examined(found.case, catalogue())


def test_a_failure_that_a_flight_saw_is_explained_by_it() -> None:
    """Side and mechanism are known; the finding says who saw it, after which silence, and the request's id."""
    found = joined(case(failure()), Beside(flights=flown([broken()])))
    (finding,) = weighed(found).findings

    assert (finding.hypothesis, finding.explains) == ("seen-provider", ("f1",))
    said = finding.brief.pro[0]
    assert said.source == "flights" and said.text.startswith("Seen by the gateway: 1 failure, P.rst.tool 1")
    assert "61" in said.text or "62 s" in said.text
    assert "req_a" in said.text


def test_what_only_flights_know_is_counted_apart() -> None:
    """A healed break is no failure of the client's; one that it noted nothing of is one that only the flight knows."""
    elsewhere = broken(500)
    elsewhere.record.turn_id = "zzz"
    found = joined(case(failure()), Beside(flights=flown([broken(), healed(), elsewhere])))
    (row,) = found.tables["flights"]

    assert row["ending"] == "P.rst.tool"
    assert (row["turns"], row["healed"], row["noted_by_client"], row["only_flights"]) == (3, 1, 1, 1)
    assert [one["request_id"] for one in found.tables["reset requests"]] == ["req_a", None, "req_a"]


def test_an_attempt_is_named_by_its_own_answer_alone() -> None:
    """The first attempt was answered and reset, the second reset before an answer: it has no id, and borrows none."""
    cut, unanswered = RESET, Ending(Side.PROVIDER, Mechanism.RST, Phase.AWAITING_HEADERS)
    record = tell(
        turn(),
        (0.1, m.AttemptStarted(1)),
        (0.8, m.HeadersArrived(1, 200, "req_a", "text/event-stream", "ray_a")),
        (60, m.AttemptEnded(1, cut)),
        (61, m.AttemptStarted(2)),
        (100, m.AttemptEnded(2, unanswered)),
    )
    record.request_id, record.edge_id = "req_a", "ray_a"
    (one,) = flown([stored(end(record, 100, unanswered))])
    found = joined(case(failure()), Beside(flights=[one], trips=trips([stored(record)])))

    told = [(row["ending"], row["request_id"], row["edge_id"]) for row in found.tables["reset requests"]]
    assert told == [("P.rst.tool", "req_a", "ray_a"), ("P.rst.headers", None, None)]
    assert [row["at_ms"] for row in found.tables["reset requests"]] == [AT + 60_000, AT + 100_000]
    assert [each.request_id for each in found.case.seen["f1"]] == [None]
    assert [(each.request_id, each.edge_id) for each in found.case.trips_of["f1"]] == [
        ("req_a", "ray_a"),
        (None, None),
    ]


def test_a_turn_is_told_by_its_session_and_its_time() -> None:
    """Not by another session's, not a minute later; by the request's id alone whatever the time."""
    turns = flown([broken()])

    assert list(matched([failure()], turns)) == ["f1"]
    assert not matched([failure(session="another")], turns)
    assert not matched([failure(seconds=160)], turns)
    late = failure(seconds=900, tries=(Try(AT + 900_000, 1.0, "ECONNRESET", request_id="req_a"),))
    assert matched([late], turns)["f1"][0][0].turn_id == turns[0].turn_id


def test_subagents_are_not_taken_for_their_parent() -> None:
    """Both speak in one session, and at the same time."""
    assert not matched([failure(agent="a1")], flown([broken()]))


def test_what_ended_well_is_no_break() -> None:
    """And a client that left a turn which others went on with is no failure of the turn's."""
    assert flown([stored(end(turn(), 3))]) == []


def test_a_cause_cannot_be_what_was_seen_to_be_otherwise() -> None:
    """The client says that it waited too long; the flight saw the provider reset. Without the flight it is believed."""
    tired = failure(tries=(), outcome="died", text="Request timed out", ended_ms=AT + 100_000)
    alone = examined(case(tired), catalogue())
    seen = weighed(joined(case(tired), Beside(flights=flown([broken()]))))

    assert [one.hypothesis for one in alone.findings] == ["client-limit"]
    assert [one.hypothesis for one in seen.findings] == ["seen-provider"]


def test_a_cause_bears_what_was_seen_of_its_own() -> None:
    """The client's limit, and a flight in which the client left: one finding, with both in its favour."""
    left = Ending(Side.CLIENT, Mechanism.FIN, Phase.IN_TOOL_USE)
    tired = failure(tries=(), outcome="died", text="Request timed out", ended_ms=AT + 100_000)
    (finding,) = weighed(joined(case(tired), Beside(flights=flown([broken(ending=left)])))).findings

    assert finding.hypothesis == "client-limit"
    assert [one.source for one in finding.brief.pro] == ["transcripts", "flights"]


def cut_at_300_s(*seen: Witness) -> Examination:
    """Forty requests of forty days, each cut at one age; the first of them seen by a proxy."""
    day_ms = 86_400_000
    cut = [
        replace(failure(300, id=f"f{number}"), at_ms=at, tries=(Try(at, 300.0, "ECONNRESET"),))
        for number in range(40)
        if (at := AT + number * day_ms)
    ]
    others = [
        replace(failure(9, id=f"g{number}"), at_ms=at, tries=(Try(at, 20.0 + 23 * number, "ECONNRESET"),))
        for number in range(9)
        if (at := AT + number * day_ms + 40_000_000)
    ]
    answers = [Answer(AT + number * 3_000_000, SESSION, "2.1.114", 50_000) for number in range(1200)]
    told = {f"f{number}": (one,) for number, one in enumerate(seen)}
    return examined(replace(Case((*cut, *others), answers), seen=told), catalogue())


LEFT = Witness(
    AT,
    Side.CLIENT,
    None,
    "nginx access.log:1",
    "499: its client closed the connection",
    between=True,
    doubt=0.05,
)


def test_a_proxy_that_saw_its_client_side_go_saw_no_limit_at_the_far_end() -> None:
    """The client heard an end and the proxy saw the client's side close: what did it stands between, or is the client."""
    (finding, *_) = cut_at_300_s(*[LEFT] * 40).findings

    assert (finding.hypothesis, finding.grade, finding.rivals) == ("nat-timeout", "either", ("seen-client",))
    said = [one.text for one in finding.brief.pro]
    assert any(text.startswith("Seen by nginx access.log: 40 failures, 499") for text in said)
    assert any("Both ends saw the other one close" in text for text in said)


def test_one_line_that_is_not_sure_overturns_nothing() -> None:
    """One 499 of forty, by a clock that is not sure: all three causes stay, and the line is told as what it is."""
    (alone, *_) = cut_at_300_s().findings
    (finding, *_) = cut_at_300_s(replace(LEFT, doubt=0.3)).findings

    three = {"fixed-limit", "silence-limit", "nat-timeout"}
    assert {alone.hypothesis, *alone.rivals} == {finding.hypothesis, *finding.rivals} == three


def test_a_far_end_that_closed_is_no_evidence_for_a_link_that_was_away() -> None:
    """A proxy's 502 excludes nothing on this side, and speaks for nothing there; a limit of its upstream may do it."""
    bad = Witness(
        AT, Side.PROVIDER, None, "nginx access.log:1", "502: its upstream gave no usable answer", between=True
    )

    for name in ("local-link", "link-flap", "wifi-roaming", "vpn", "isp-outage"):
        assert not fits(name, bad) and not cannot_be(name, bad), name
    assert fits("fixed-limit", bad)


@pytest.mark.parametrize("name", ["fixed-limit", "silence-limit", "idle-socket", "edge-timeout"])
@pytest.mark.parametrize("between", [True, False])
def test_no_limit_at_the_far_end_closes_the_client_side(name: str, *, between: bool) -> None:
    """Whoever saw it: a flight beside the client, or a proxy on the way."""
    assert cannot_be(name, replace(LEFT, between=between))


def test_who_stands_beside_the_program_knows_that_it_left() -> None:
    """A flight's client is the program; so no box and no link did it. A proxy's client may be any box in between."""
    beside = replace(LEFT, between=False, source="flights")

    for name in ("nat-timeout", "local-link", "link-flap", "vpn", "isp-outage"):
        assert cannot_be(name, beside) and not cannot_be(name, LEFT), name
    assert fits("client-limit", beside) and fits("client-limit", LEFT)


def test_a_turn_that_was_cut_in_vain_is_the_end_that_its_client_heard_of() -> None:
    """Each of its answers ended well, as told; the client gave up with a word about its maximum of tokens. The flights know
    what broke each time, and that the rest never came."""
    cut = healed()
    cut.record.healed, cut.record.breaks = "cut", "P.rst.tool+cut"
    row = Row([cut.record.turn_id], request_bytes=900, going_on=False)
    words = "API Error: Claude's response exceeded the 64000 output token maximum."
    tired = failure(91, tries=(), outcome="died", text=words, ended_ms=AT + 91_000)
    turns = flown([cut], {cut.record.turn_id: row})
    (finding,) = weighed(joined(case(tired), Beside(flights=turns))).findings

    assert [one.healed for one in turns] == [False] and [one.healed for one in flown([cut])] == [True]
    assert (finding.hypothesis, finding.explains) == ("seen-provider", ("f1",))
    assert "P.rst.tool 1" in said(finding)


def test_a_closing_in_a_log_is_put_to_the_failure_at_its_time() -> None:
    """It is evidence for who closed, with the place where it is written."""
    found = joined(case(failure()), Beside(seen=[Seen(witness(100.4), 1_000)]))
    (row,) = found.tables["seen by others"]

    assert (row["source"], row["side"], row["failure"], row["after_s"]) == (
        "nginx access.log:14",
        "provider",
        "f1",
        0.4,
    )
    assert weighed(found).findings[0].hypothesis == "seen-provider"
    assert "nginx access.log:14" in weighed(found).findings[0].brief.pro[0].text


def test_a_browser_that_was_reset_knows_no_more_than_the_client() -> None:
    """`net::ERR_CONNECTION_RESET` in a HAR file is its `ECONNRESET` once more: a box on the way may have sent it."""
    heard = replace(witness(100.4, "chromium.har:3"), asker=True)
    found = joined(case(failure()), Beside(seen=[Seen(heard, 1_000)]))
    (row,) = found.tables["seen by others"]

    assert weighed(found).findings == ()
    assert (row["side"], row["failure"]) == ("not known", "f1")

    told = replace(heard, mechanism=Mechanism.STREAM_ERROR)
    assert weighed(joined(case(failure()), Beside(seen=[Seen(told, 1_000)]))).findings


def test_a_busy_log_tells_nothing_by_the_time_alone() -> None:
    """A closing every ten seconds: one beside the failure is chance, and the report says that none was used."""
    busy = [Seen(witness(number * 10 + 0.2, f"proxy.log:{number}"), 2_000) for number in range(100)]
    found = joined(case(failure()), Beside(seen=busy))

    assert not found.case.seen and "seen by others" not in found.tables
    assert "proxy.log" in found.refused[0]


def test_an_id_tells_even_in_a_busy_log() -> None:
    """The provider's request id is of one request only."""
    busy = [Seen(witness(number * 10 + 0.2, f"proxy.log:{number}"), 2_000) for number in range(100)]
    named = Seen(replace(witness(20, "proxy.log:500"), doubt=0.3), 2_000, request_ids=("req_x",))
    one = failure(tries=(Try(AT + 100_000, 9.0, "HTTP 502", 502, "req_x"),))
    found = joined(case(one), Beside(seen=[*busy, named]))

    assert [(seen.source, seen.doubt) for seen in found.case.seen["f1"]] == [("proxy.log:500", 0.0)]


def test_a_sleep_in_the_middle_of_a_request_is_seen() -> None:
    """The system's log has the machine asleep from second 40 to 95; the request of second 0 failed at 100."""
    asleep = Span(AT + 40_000, AT + 95_000)
    found = joined(case(failure(), failure(30, id="f2")), Beside(sleeps=[asleep]))

    assert list(found.case.seen) == ["f1"]
    (seen,) = found.case.seen["f1"]
    assert (seen.side, seen.mechanism, seen.source) == (Side.MACHINE, Mechanism.SLEPT, "system log")
    assert "55 s" in seen.text


def test_nothing_beside_changes_nothing() -> None:
    """Each source is optional."""
    plain = case(failure())

    assert joined(plain, Beside()).case == plain


def test_times_that_are_not_written_are_not_right() -> None:
    """What is taken as right has to be there."""
    pile = Pile()
    pile.shelves[-1].append(Sighting(program="log", line=1, says="GET / 499"))
    untimed = Source("o.html", Clock(None, "no times are written in it"), Matched(), pile)
    assert "taken as right" not in added.of_log(untimed, {})[1].count


def test_a_way_that_goes_dark_is_noticed_until_it_would_have_been_tried_again() -> None:
    """The first packet without an answer came at second 60, the last at second 90: the request that had begun by then and
    failed at 100 is its, and neither the one that began later nor the one that failed later."""
    dark = replace(witness(60, "capture a.pcap", Side.PATH), mechanism=Mechanism.KEEPALIVE_UNANSWERED)
    seen = Seen(dark, 2_000, until_ms=AT + 120_000)

    assert list(joined(case(failure(100)), Beside(seen=[seen])).case.seen) == ["f1"]
    begun_later = failure(100, tries=(Try(AT + 100_000, 30.0, "ETIMEDOUT"),))
    assert not joined(case(begun_later), Beside(seen=[seen])).case.seen
    assert not joined(case(failure(130)), Beside(seen=[seen])).case.seen
