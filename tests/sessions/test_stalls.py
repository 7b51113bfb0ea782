"""Stalls that leave no error record: inferred, with what they cannot tell; and what each version logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sessions import debug, stalls
from holdfast.sessions.corpus import update
from holdfast.sessions.logs_what import alike, logs_what, mode_of, sentences, table, told
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from holdfast.sessions.transcript import read
from tests.sessions.written import MORNING_MS, Pen


def scanned(home: Path) -> Store:
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0], gaps=True)
    return store


def waits(home: Path) -> list[stalls.Stall]:
    return stalls.of_waits(scanned(home).waits(120_000))


def test_a_long_wait_that_writing_does_not_explain_is_a_stall(tmp_path: Path) -> None:
    """304 s for 300 tokens: at least 289 s of silence, as a client has it that falls back after 300 s."""
    Pen().asks().after(304).answers("msg_1", output=300).saved(tmp_path)
    (stall,) = waits(tmp_path)

    assert (stall.kind, stall.silent_s, stall.fits) == ("silent wait", 289.0, "a fallback after 300 s")
    assert "whether bytes came meanwhile" in stall.cannot_tell


def test_a_large_answer_takes_its_time(tmp_path: Path) -> None:
    """304 s for 6,000 tokens is a slow model's pace."""
    Pen().asks().after(304).answers("msg_1", output=6_000).saved(tmp_path)

    assert waits(tmp_path) == []


def test_tries_that_failed_meanwhile_are_no_silence() -> None:
    """Six minutes for an answer, or until a turn died: what failed in them is told as failures. A subagent's are its own."""
    at_ms = MORNING_MS + 360_000
    wait = stalls.Waited(at_ms, MORNING_MS, "s1", "2.1.86", 100)
    end = stalls.Ended(at_ms, "s1", "2.1.86", 360_000, None)
    tries = {("s1", False): [MORNING_MS - 5_000, MORNING_MS + 150_000, MORNING_MS + 300_000]}

    assert (stalls.of_waits([wait], tries), stalls.of_ends([end], tries)) == ([], [])
    assert [one.silent_s for one in stalls.of_waits([wait], {("s1", False): [MORNING_MS + 60_000]})] == [
        295.0
    ]
    assert [one.silent_s for one in stalls.of_ends([end], {("s1", True): [MORNING_MS + 300_000]})] == [360.0]


def test_a_tools_time_is_nobodys_silence(tmp_path: Path) -> None:
    """The build ran for ten minutes; its result was answered at once."""
    Pen().asks().after(5).answers("msg_1").after(600).tool_says().after(4).answers("msg_2").saved(tmp_path)

    assert waits(tmp_path) == []


def test_what_an_answer_does_not_answer_tells_no_wait(tmp_path: Path) -> None:
    """An answer right behind another one: what was asked is not on record, and the user may have been away."""
    place = Pen().asks().after(5).answers("msg_1").after(900).answers("msg_2").saved(tmp_path)

    assert [one.before_ms is None for one in read(place, gaps=True)[0].requests] == [False, True]
    assert waits(tmp_path) == []


def test_a_failed_try_is_what_the_next_one_waits_from(tmp_path: Path) -> None:
    """Five minutes until the try failed are a failure's; the seven seconds after it are the answer's."""
    Pen().asks().after(300).fails(1).after(7).answers("msg_1").saved(tmp_path)

    assert waits(tmp_path) == []


def test_a_turn_that_went_on_unheard_has_lost_an_answer(tmp_path: Path) -> None:
    """2.1.86 after a fallback: the turn took 320 s, and its last 310 s left no record."""
    Pen().asks().after(10).answers("msg_1", output=20).after(310).took(320).saved(tmp_path)
    (stall,) = stalls.of_ends(scanned(tmp_path).ends(120_000))

    assert (stall.kind, stall.silent_s, stall.fits) == ("unheard end", 309.0, "an answer that was withdrawn")


def test_a_turn_without_any_answer_is_one(tmp_path: Path) -> None:
    """The answer before was another turn's, an hour ago."""
    Pen().asks().after(9).answers("msg_1").after(3600).asks().after(304.8).took(304.8).saved(tmp_path)
    (stall,) = stalls.of_ends(scanned(tmp_path).ends(120_000))

    assert stall.silent_s == 304.8 and "without any answer" in stall.fits


def test_no_stop_reason_counts_where_it_is_odd(tmp_path: Path) -> None:
    """One of thirty answers has none: it broke off. Where all have none, that says nothing, and it is said."""
    pen = Pen(version="2.1.86")
    for number in range(30):
        pen.asks().after(5).answers(f"msg_{number}", stop=None if number == 7 else "end_turn")
    pen.saved(tmp_path)
    rows = scanned(tmp_path).unfinished()
    found, usual = stalls.of_unfinished(rows, {"2.1.86": 30})
    none, unusable = stalls.of_unfinished(rows * 20, {"2.1.86": 30})

    assert [one.kind for one in found] == ["unfinished answer"] and usual == []
    assert none == [] and unusable == ["2.1.86"]


DEBUG = """\
2026-04-14T07:00:01.000Z [DEBUG] starting
2026-04-14T07:05:01.500Z [DEBUG] Streaming stall detected: 54.4s gap between events (stall #1)
a line that goes on
2026-04-14T07:06:00.000Z [WARN] Stale connection - disabling keep-alive for retry
[2026-04-14T07:06:10.000Z] Stream connection error (ECONNRESET) - retrying streaming (10/15)
"""


def test_the_debug_log_has_words_for_it() -> None:
    """A stall with its length, a stale connection, a stream that is asked for again with its code."""
    log = debug.read(DEBUG.splitlines(), "s1")
    found = stalls.of_debug(log.notes, {"s1": "2.1.114"})

    assert [(note.kind, note.gap_s, note.code) for note in log.notes] == [
        ("stall", 54.4, None),
        ("stale", None, None),
        ("again", None, "ECONNRESET"),
    ]
    assert log.lines == 4 and log.last_ms == MORNING_MS + 370_000
    assert found[0].version == "2.1.114" and found[0].silent_s == 54.4


@pytest.mark.parametrize(
    ("text", "kind", "gap_s", "code"),
    [
        ("[WARN] Stream connection error (ECONNRESET) \u2014 retrying streaming (1/10)", "again", None, "ECONNRESET"),
        ("[WARN] Stream connection error (ECONNRESET) -- retrying streaming (1/10)", "again", None, "ECONNRESET"),
        ("[WARN] Stream idle timeout before first event \u2014 retrying streaming (1/1)", "again", None, None),
        ("[WARN] Stream idle timeout after thinking-only yield \u2013 retrying streaming (1/2)", "again", None, None),
        ("[WARN] Stale connection \u2014 disabling keep-alive for retry", "stale", None, None),
        ("[ERROR] Streaming idle timeout: no chunks received for 300s, aborting stream", "silent", 300.0, None),
        ("[WARN] Stream connection closed (ECONNRESET) after 1 block(s) yielded \u2014 finalizing partial response",
         "cut", None, "ECONNRESET"),
        ("[WARN] Stream idle timeout after 2 block(s) yielded \u2014 finalizing partial response", "cut", None, None),
        ("[WARN] Mid-stream server error after 3 block(s) yielded -- finalizing partial response", "cut", None, None),
        ("[ERROR] Error streaming, falling back to non-streaming mode: Request timed out.", "fallback", None, None),
        ("[ERROR] Stream completed without receiving message_start event - triggering non-streaming fallback",
         "fallback", None, None),
    ],
)  # fmt: skip
def test_lines_of_the_debug_log_as_clients_write_them(
    text: str, kind: str, gap_s: float | None, code: str | None
) -> None:
    """Public reports hold them with dashes of several kinds; each is a row with the client's own word."""
    log = debug.read([f"2026-04-14T07:00:01.000Z {text}"], "s1")
    [row] = stalls.rows(stalls.of_debug(log.notes, {}))

    assert [(note.kind, note.gap_s, note.code) for note in log.notes] == [(kind, gap_s, code)]
    assert row["silent_s"] == gap_s and str(row["fits"]).startswith("the client's own word: ")


def test_a_connection_that_broke_is_no_stall() -> None:
    """A reset in mid-answer and a stale connection tell of no silence; a silence that a reset ended is still one."""
    told = (("07:01:00", "Stream connection closed (ECONNRESET) after 1 block(s) yielded"),
            ("07:03:00", "Stale connection - disabling keep-alive for retry"),
            ("07:09:00", "Streaming stall detected: 61.0s gap"),
            ("07:09:01", "Stream connection error (ECONNRESET) - retrying streaming (1/10)"),
            ("07:12:00", "Stream idle timeout before first event - retrying streaming (1/1)"))  # fmt: skip
    log = debug.read([f"2026-04-14T{at}.000Z [WARN] {text}" for at, text in told], "s1")
    found = stalls.of_debug(log.notes, {})

    assert [(one.kind, one.silent_s) for one in found] == [
        ("broken stream", None), ("broken stream", None), ("debug log", 61.0), ("debug log", None),
    ]  # fmt: skip
    assert found[0].cannot_tell == "who ended the connection" and "(ECONNRESET)" in found[0].fits


def test_what_the_client_does_about_a_silence_is_no_other_one() -> None:
    """It gives the stream up, and a second later it asks again; a minute later that is another end."""
    told = (("07:05:00", "Streaming idle timeout: no chunks received for 300s, aborting stream"),
            ("07:05:01", "Stream idle timeout before first event - retrying streaming (1/1)"),
            ("07:06:02", "Stream connection error (ECONNRESET) - retrying streaming (1/10)"))  # fmt: skip
    log = debug.read([f"2026-04-14T{at}.000Z [WARN] {text}" for at, text in told], "s1")

    assert [one.silent_s for one in stalls.of_debug(log.notes, {})] == [300.0, None]


@pytest.mark.parametrize(
    ("told", "silences"),
    [
        # the length of the second line says that it began where the first one did
        ((("07:01:30", "no chunks received for 90s"), ("07:02:10", "stall detected: 130.0s gap")), [130.0]),
        ((("07:01:30", "no chunks received for 90s"), ("07:02:10", "stall detected: 39.0s gap")), [90.0, 39.0]),
        # what is done about a silence comes late, and once
        ((("07:05:00", "no chunks received for 300s"), ("07:05:40", "retrying"), ("07:06:20", "retrying")), [300.0, None]),
        # a stream that stalled went on: what breaks it half a minute later is something else
        ((("07:01:30", "stall detected: 60.0s gap"), ("07:02:00", "retrying")), [60.0, None]),
        # written twice
        ((("07:01:30", "stall detected: 60.0s gap"),) * 2, [60.0]),
    ],
)  # fmt: skip
def test_a_silence_has_one_begin_and_one_end(
    told: tuple[tuple[str, str], ...], silences: list[float | None]
) -> None:
    """By the lengths that the lines tell, however far behind each other they stand."""
    words = {
        "no": "Streaming idle timeout: {}, aborting stream",
        "stall": "Streaming {} between events (stall #1)",
    }
    again = "Stream idle timeout before first event - retrying streaming (1/1)"
    lines = [
        f"2026-04-14T{at}.000Z [WARN] {words.get(text.split()[0], again).format(text)}" for at, text in told
    ]

    assert [one.silent_s for one in stalls.of_debug(debug.read(lines, "s1").notes, {})] == silences


def test_the_debug_log_and_the_telemetry_tell_one_stall() -> None:
    """Both are written in the same millisecond; the telemetry knows the request."""
    log = debug.DebugNote(MORNING_MS + 90_001, "stall", "s1", 54.4)
    sent = debug.DebugNote(MORNING_MS + 90_000, "stall", "s1", 54.4, None, "client telemetry", "req_1")
    other = debug.DebugNote(MORNING_MS + 90_000, "stall", "s2", 60.0)
    found = stalls.rows(stalls.merged(stalls.of_debug([log, other, sent], {})))

    assert [(row["session"], row["kind"], row["request_id"]) for row in found] == [
        ("s2", "debug log", None),
        ("s1", "client telemetry", "req_1"),
    ]


def test_what_is_a_failure_on_record_is_no_stall() -> None:
    """The debug log notes a stream that is asked for again; that try is on record. A silence before one is told."""
    again = debug.DebugNote(MORNING_MS + 40_000, "again", "s1", None, "ECONNRESET")
    silent = debug.DebugNote(MORNING_MS + 400_000, "silent", "s1", 300.0)
    failed = {("s1", True): [MORNING_MS + 40_100], ("s1", False): [MORNING_MS + 400_100]}

    assert [one.silent_s for one in stalls.of_debug([again, silent], {}, failed)] == [300.0]
    assert len(stalls.of_debug([again], {}, {("s1", False): [MORNING_MS + 60_000]})) == 1


def test_one_silence_is_told_once() -> None:
    """By the client's own word, where it has one."""
    note = debug.DebugNote(MORNING_MS + 200_000, "stall", "s1", 180.0)
    wait = stalls.Waited(MORNING_MS + 260_000, MORNING_MS, "s1", "2.1.114", 100)
    found = stalls.merged([*stalls.of_waits([wait]), *stalls.of_debug([note], {})])

    assert [one.kind for one in found] == ["debug log"]
    assert len(stalls.rows(found)) == 1


def test_each_measured_version_and_mode_has_its_row() -> None:
    """What it logs, what it hides; versions in between are read by the older neighbour, older ones by none."""
    assert {(one.version, one.mode) for one in table()} == {
        (version, mode) for version in ("2.1.86", "2.1.114", "2.1.329") for mode in ("interactive", "print")
    }
    for one in table():
        assert one.hides and one.sentence
    cell = logs_what("2.1.104", "print")
    assert cell is not None and cell.sentence == "2.1.86 print mode logs no failed try"
    assert logs_what("1.0.40", "print") is None and logs_what("odd", "print") is None


def test_the_mode_is_known_by_what_only_it_writes() -> None:
    """Turn times are interactive; so is a failed try in a version whose print mode logs none."""
    assert mode_of("2.1.86", turn_times=True, tries=False) == "interactive"
    assert mode_of("2.1.86", turn_times=False, tries=True) == "interactive"
    assert mode_of("2.1.329", turn_times=False, tries=True) == "print"
    assert mode_of("2.1.86", turn_times=False, tries=False) == "print"


def test_how_a_session_was_begun_tells_its_mode() -> None:
    """Also where no turn was long, and none failed; one that was begun in both ways may hide what print mode hides."""
    assert mode_of("2.1.86", turn_times=False, tries=False, entrypoints={"cli"}) == "interactive"
    assert mode_of("2.1.86", turn_times=False, tries=False, entrypoints={"cli", "sdk-cli"}) == "print"


@pytest.mark.parametrize(
    ("kinds", "compared"),
    [
        ({"not logged"}, {"recovered", "abandoned", "died"}),
        ({"logged", "unless recovered"}, {"abandoned", "died"}),
        ({"logged", "before the stream"}, {"died"}),
        ({"not logged", "unless recovered"}, {"died"}),
        (set(), {"recovered", "abandoned", "died"}),
    ],
)
def test_only_what_each_would_have_logged_is_alike(kinds: set[str], compared: set[str]) -> None:
    """A turn that was given up is on record in every version and mode."""
    assert {outcome for outcome in ("recovered", "abandoned", "died") if alike(kinds, outcome)} == compared


def test_coverage_says_what_is_hidden() -> None:
    """In a sentence for the versions that hide the same; one that logs every try needs none."""
    used = [("2.1.104", 3, 40), ("2.1.92", 2, 9), ("2.1.329", 1, 5), ("1.0.1", 1, 1)]
    rows = told([(version, "print", sessions, requests) for version, sessions, requests in used])

    assert [row["known"] for row in rows] == ["not measured", "as 2.1.86", "as 2.1.86", "measured"]
    assert sentences(rows) == [
        "1.0.1 print mode was not measured",
        "2.1.92, 2.1.104 print mode logs no failed try (as 2.1.86)",
    ]
