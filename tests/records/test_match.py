"""Sightings put to turns, and what they do to our own account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side
from holdfast.flight.flights import story
from holdfast.records import mitmproxy
from holdfast.records.align import Clock, align
from holdfast.records.legs import Kind, Leg
from holdfast.records.match import lines_of, match, merged, table
from holdfast.records.sighting import Sighting, Vantage, span
from holdfast.records.verdict import Verdict, judged
from tests.records.test_files import tnet
from tests.records.told import BROKE, LEFT, NOON_S, legs, seen, turn

SAME = Clock(0.0, "its clock is the same as ours", True)


def sighting(began_s: float, took_s: float, side: Side | None = None, **changes: object) -> Sighting:
    """A proxy's line."""
    when = span(began_s, None, took_s)
    base = Sighting("proxy", 14, "it says so", when.began_s, when.ended_s, 0.001, side=side, took_s=took_s)
    return replace(base, source="proxy.log", **changes)  # type: ignore[arg-type]


def test_two_turns_that_fit_equally_are_never_chosen_between() -> None:
    """Two subagents that began at one instant and took as long: the line is put to neither."""
    twins = [turn("a", NOON_S, 40.0), turn("b", NOON_S + 0.05, 40.0)]
    matched = match([sighting(NOON_S, 40.0)], legs(*twins), SAME)
    assert matched.matches == [] and matched.unclear[0][1] == ("a", "b")


def test_size_or_id_tells_twins_apart() -> None:
    """What time cannot say, bytes or a request id can."""
    twins = [
        turn("a", NOON_S, 40.0, answer_bytes=9000, request_id="req_twin_a1"),
        turn("b", NOON_S, 40.0, answer_bytes=90_000),
    ]
    for changes in ({"sent_bytes": 91_000}, {"sent_bytes": None, "ids": ("req_twin_a1",)}):
        (one,) = match([sighting(NOON_S, 40.0, **changes)], legs(*twins), SAME).matches
        assert one.leg.turn_id == ("b" if changes["sent_bytes"] else "a")


def test_what_fits_no_turn_is_counted_if_it_was_seen_meanwhile() -> None:
    """A request for our path may never have reached us; another is somebody else's; last week's is neither."""
    told = turn("a", NOON_S, 40.0)
    lines = [
        sighting(NOON_S + 10, 3.0, path="/v1/messages"),
        sighting(NOON_S + 12, 0.1, path="/favicon.ico"),
        sighting(NOON_S - 7 * 86400, 0.1),
    ]
    matched = match(lines, legs(told), SAME)
    assert len(matched.strangers) == 2 and matched.never_came == 1


CLIENT, UPSTREAM = Kind.CLIENT, Kind.UPSTREAM
STOPPED = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_BODY)
DARK = Ending(Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.IN_TEXT)


@pytest.mark.parametrize(
    ("kind", "ours", "theirs", "verdict"),
    [
        (CLIENT, LEFT, Side.CLIENT, Verdict.AGREES),
        (CLIENT, LEFT, Side.PROVIDER, Verdict.CONTRADICTS),
        (CLIENT, LEFT, Side.PATH, Verdict.ADDS),
        (CLIENT, LEFT, Side.NOBODY, Verdict.CONTRADICTS),
        (CLIENT, LEFT, None, Verdict.SILENT),
        (CLIENT, BROKE, Side.PROVIDER, Verdict.AGREES),
        (CLIENT, BROKE, Side.CLIENT, Verdict.CONTRADICTS),
        (CLIENT, COMPLETED, Side.NOBODY, Verdict.AGREES),
        (CLIENT, COMPLETED, Side.CLIENT, Verdict.CONTRADICTS),
        (UPSTREAM, BROKE, Side.PROVIDER, Verdict.AGREES),
        (UPSTREAM, BROKE, Side.CLIENT, Verdict.CONTRADICTS),
        (UPSTREAM, BROKE, Side.PATH, Verdict.ADDS),
        (UPSTREAM, STOPPED, Side.CLIENT, Verdict.AGREES),
        (UPSTREAM, STOPPED, Side.PROVIDER, Verdict.CONTRADICTS),
        (UPSTREAM, DARK, Side.CLIENT, Verdict.AGREES),
        (UPSTREAM, DARK, Side.PROVIDER, Verdict.ADDS),
    ],
)
def test_agree_or_contradict(kind: Kind, ours: Ending, theirs: Side | None, verdict: Verdict) -> None:
    """In front of us its upstream is Holdfast, behind us its client is; its own limit looks like a peer from here."""
    leg = Leg("a", kind, 1, NOON_S, NOON_S + 9, "POST", "/v1/messages", "", 200, frozenset(), None, ours)
    assert judged(sighting(NOON_S, 9.0, theirs), leg)[0] is verdict


def test_agreeing_on_who_and_not_on_how_is_said() -> None:
    """A proxy that saw a FIN where we saw a reset."""
    leg = Leg("a", CLIENT, 1, NOON_S, NOON_S + 9, "POST", "/", "", 200, frozenset(), None, LEFT)
    verdict, note = judged(sighting(NOON_S, 9.0, Side.CLIENT, mechanism=Mechanism.FIN), leg)
    assert (verdict, note) == (Verdict.AGREES, "on who; we saw it reset")


def test_the_client_itself_saw_only_its_own_connection() -> None:
    """A browser's or curl's record is never put to an attempt upstream."""
    told = turn("a", NOON_S, 40.0)
    (one,) = match([sighting(NOON_S, 40.0, vantage=Vantage.CLIENT)], legs(told), SAME).matches
    assert one.leg.kind is Kind.CLIENT


def test_others_stand_in_the_story_at_our_time() -> None:
    """A clock 8 hours ahead is taken back; coarse times stand with the moment that they cannot differ from."""
    told = turn("a", NOON_S, 296.4, LEFT)
    line = sighting(NOON_S + 28_800, 296.2, Side.CLIENT, path="/v1/messages", method="POST")
    matched = match([line], legs(told), Clock(28_800.0, "8 h", True))
    lines = merged(story(told.record), lines_of(matched.matches, told.record))
    others = [(round(one.at_s, 1), one.by, one.text) for one in lines if one.by]
    assert others == [
        (0.0, "proxy.log:14", "POST /v1/messages began."),
        (296.2, "proxy.log:14", "It says so, after 296 s."),
    ]
    rows = table(matched.matches, told.record)
    assert rows[0][:2] == ("Holdfast, connection 1", "+296.4 s") and rows[1][3] == "agrees"


def test_one_log_with_both_sides_of_holdfast_has_a_line_for_each() -> None:
    """A proxy in front and behind: the line that began first and lasted longer is the client's."""
    told = turn("a", NOON_S, 40.0)
    lines = [sighting(NOON_S + 0.002, 39.99, Side.NOBODY), sighting(NOON_S, 40.0, Side.NOBODY)]
    matched = match(lines, legs(told), SAME)
    assert [one.leg.kind for one in matched.matches] == [Kind.UPSTREAM, Kind.CLIENT]


def test_where_a_program_stands_is_taken_in_its_favour() -> None:
    """It could be in front of us or behind: its own limit contradicts in one place and explains in the other."""
    told = turn("a", NOON_S, 9.0, BROKE)
    (one,) = match([sighting(NOON_S, 9.0, Side.PATH, mechanism=Mechanism.DEADLINE)], legs(told), SAME).matches
    assert (one.leg.kind, one.verdict) == (Kind.UPSTREAM, Verdict.ADDS)


def test_report_1_is_told_as_one_story() -> None:
    """The proxy's list in UTC, the server's lines eight hours ahead, packets with a time of day only: all say who left."""
    told = turn("frozen", NOON_S, 296.4, LEFT, path="/api/anthropic/v1/messages")
    flow = {
        "type": "http",
        "error": {"msg": "Client disconnected.", "timestamp": NOON_S + 296.4},
        "client_conn": {},
        "request": {"method": b"POST", "path": b"/api/anthropic/v1/messages", "timestamp_start": NOON_S},
        "response": {"status_code": 200, "content": None, "headers": []},
    }
    proxy = mitmproxy.sighting(tnet(flow)[:-1].partition(b":")[2], 1)
    server = seen(
        "2026-03-28 18:23:17 onAbort received, abort stream\n2026-03-28 18:23:17 Stream aborted when iterate"
    )
    packets = seen(
        "18:18:21.000 IP 127.0.0.1.5432 > 127.0.0.1.8000: Flags [S], seq 1, win 1, length 0\n"
        "18:23:17.400 IP 127.0.0.1.5432 > 127.0.0.1.8000: Flags [R.], seq 2, ack 9, win 1, length 0"
    )
    assert proxy is not None
    verdicts, clocks = [], []
    for file in ([proxy], server, packets):
        clock = align(file, legs(told))
        clocks.append(round(clock.ahead_s or 0.0) / 3600)
        verdicts += [(one.seen.program, one.verdict) for one in match(file, legs(told), clock).matches]
    assert [round(hours, 2) for hours in clocks] == [0, 8, 8]
    assert verdicts == [
        ("mitmproxy", Verdict.AGREES),
        ("log", Verdict.AGREES),
        ("log", Verdict.SILENT),
        ("tcpdump", Verdict.AGREES),
    ]


def test_a_time_of_day_over_midnight_is_no_day_off() -> None:
    """A turn at 20:23 UTC, packets at 04:23 of the next day there: the day was only guessed, the zone is +8."""
    told = turn("late", NOON_S + 36_000, 296.4, LEFT)
    packets = seen(
        "04:18:21.000 IP 127.0.0.1.5432 > 127.0.0.1.8000: Flags [S], seq 1, win 1, length 0\n"
        "04:23:17.400 IP 127.0.0.1.5432 > 127.0.0.1.8000: Flags [R.], seq 2, ack 9, win 1, length 0",
        NOON_S + 36_000,
    )
    clock = align(packets, legs(told))
    assert "8 h ahead of ours" in clock.words
    assert [one.verdict for one in match(packets, legs(told), clock).matches] == [Verdict.AGREES]


def test_of_several_lines_that_fit_one_turn_none_is_taken_for_it() -> None:
    """A busy server answered three requests alike in that second: which was ours only an id or a size can say."""
    told = turn("a", NOON_S, 40.0, answer_bytes=9000)
    alike = [sighting(NOON_S + n / 100, 40.0, sent_bytes=9000) for n in range(3)]
    crowd = match(alike, legs(told), SAME)
    assert crowd.matches == [] and len(crowd.crowded) == 3

    by_size = match([*alike[:1], *(replace(one, sent_bytes=50_000) for one in alike[1:])], legs(told), SAME)
    assert [one.seen.sent_bytes for one in by_size.matches] == [9000] and len(by_size.strangers) == 2
