"""Errors that tools reported: known by their marks, told by a kind, never by their words, and each counted once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.sessions import corpus, tools
from holdfast.sessions.corpus import Update, update
from holdfast.sessions.facts import ToolError
from holdfast.sessions.lines import BLOCK, last_with
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store, forget
from holdfast.sessions.transcript import MOST_IN_VAIN, read
from tests.sessions.written import MORNING_MS, Pen, stamp

OTHER = "22222222-0000-4000-8000-000000000002"
Scan = Callable[[], tuple[Update, Store]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Look at the home once more."""

    def once() -> tuple[Update, Store]:
        store = Store(tmp_path / "state" / "sessions.sqlite", now_ms=MORNING_MS)
        return update(store, transcripts(roots(tmp_path))[0]), store

    return once


def reading(pen: Pen, place: Path, block: int = 4096) -> list[ToolError]:
    place.write_text(pen.text())
    return read(place, block=block)[0].tool_errors


def told(errors: list[ToolError]) -> list[tuple[str, str]]:
    return [(one.tool, one.kind) for one in errors]


def kept(store: Store) -> list[tuple[Any, ...]]:
    return store.connection.execute(
        "SELECT session, agent, tool, kind FROM tool_error ORDER BY at_ms, uuid"
    ).fetchall()


# Kinds.


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        # as clients 2.1.86, 2.1.114 and 2.1.329 wrote them when their tools were made to fail
        ("File does not exist. Note: your current working directory is /work.", tools.MISSING),
        ("Exit code 1\ncat: nope.txt: No such file or directory", tools.EXIT),
        ("Exit code 143\nCommand timed out after 2m 0s", tools.TIME_LIMIT),
        ("Permission to use Bash with command rm -rf x has been denied.", tools.PERMISSION),
        ("This command requires approval", tools.PERMISSION),
        (
            "Claude requested permissions to write to /etc/x, but you haven't granted it yet.",
            tools.PERMISSION,
        ),
        (
            "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>",
            tools.EDIT,
        ),
        ("<tool_use_error>String to replace not found in file.\nString: ECONN</tool_use_error>", tools.EDIT),
        (
            "<tool_use_error>InputValidationError: Read failed due to the following issues: timeout</tool_use_error>",
            tools.INVALID,
        ),
        ("<tool_use_error>Error: No such tool available: Nonexistent</tool_use_error>", tools.NO_TOOL),
        ("connect ECONNREFUSED 127.0.0.1:5432", "ECONNREFUSED"),
        # as they stand in the bundle of 2.1.86
        (
            "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if",
            tools.REJECTED,
        ),
        ("The user doesn't want to take this action right now. STOP what you are doing", tools.INTERRUPTED),
        ("[Request interrupted by user for tool use]", tools.INTERRUPTED),
        (
            "<tool_use_error>Cancelled: parallel tool call Bash(x) errored</tool_use_error>",
            tools.INTERRUPTED,
        ),
        (
            "<tool_use_error>Error: Streaming fallback - tool execution discarded</tool_use_error>",
            tools.DISCARDED,
        ),
        ("Execution stopped by PreToolUse hook: ECONNRESET", tools.HOOK),
        ("File content (28375 tokens) exceeds maximum allowed tokens (25000).", tools.TOO_LARGE),
        # what commands and servers say
        (
            "Exit code 7\ncurl: (7) Failed to connect to localhost port 3000: Connection refused",
            "ECONNREFUSED",
        ),
        ("Exit code 1\nnpm ERR! code ECONNRESET", "ECONNRESET"),
        ("dial tcp: lookup db.internal: no such host", "ENOTFOUND"),
        ("Request failed with status code 404", "HTTP 404"),
        ('MCP server "x" tool "y" timed out after 60s', tools.TIME_LIMIT),
        ("EACCES: permission denied, open '/etc/shadow'", tools.PERMISSION),
        ("it did not work", tools.OTHER),
        ("", tools.OTHER),
    ],
)
def test_a_kind_is_told_by_words_that_everybody_gets(text: str, kind: str) -> None:
    """The client's own sentences by how they begin, the network's codes wherever they stand, the rest by a word."""
    assert tools.kind_of(text) == kind
    assert kind in tools.KINDS or kind.startswith("HTTP ")


# Reading.


@pytest.mark.parametrize("block", [300, 4096], ids=["a call in an earlier piece", "in the same piece"])
@pytest.mark.parametrize("early", [False, True], ids=["keys as now", "keys as before"])
def test_an_error_bears_the_name_that_the_call_has(place: Path, early: bool, block: int) -> None:
    """The result has the call's id alone, and the name is in the answer before it, however long the words between."""
    pen = Pen(early=early).asks().calls("Bash", "toolu_1").calls("mcp__db__query", "toolu_2")
    pen.after(3).tool_fails("toolu_2", "connect ECONNREFUSED 127.0.0.1:5432")
    pen.after(1).tool_fails("toolu_1", "Exit code 1\n" + 'it says \\"is_error\\":true ' * 400).answers(
        "msg_1"
    )
    first, second = reading(pen, place, block)

    assert told([first, second]) == [("mcp__db__query", "ECONNREFUSED"), ("Bash", tools.EXIT)]
    assert (first.at_ms, first.session, first.version) == (MORNING_MS + 3_000, pen.session, pen.version)
    assert "5432" not in str(first) and "it says" not in str(second)


def test_what_is_no_error_of_a_tool_is_none(place: Path) -> None:
    """A good result, one that says it is no error, words that look like a mark, and a record of another type."""
    pen = Pen().asks('"is_error":true').calls("Bash", "toolu_1").tool_says('{"is_error":true}')
    block = {"tool_use_id": "toolu_1", "type": "tool_result", "content": "x", "is_error": False}
    pen.record({"type": "user", "message": {"role": "user", "content": [block]}})
    nested = {"type": "user", "message": {"content": [block | {"is_error": True}]}}
    pen.record({"type": "progress", "data": {"message": nested}})
    pen.record({"type": "user", "message": {"role": "user", "content": "typed"}, "toolUseResult": nested})

    assert reading(pen, place) == []


def test_a_record_may_hold_several_results_and_texts_of_blocks(place: Path) -> None:
    """Each error is one, also where the words are a list."""
    words = [{"type": "text", "text": "getaddrinfo ENOTFOUND"}, {"type": "image", "source": {}}]
    blocks = [
        {"tool_use_id": call, "is_error": call != "toolu_2", "type": "tool_result", "content": words}
        for call in ("toolu_1", "toolu_2", "toolu_3")
    ]
    pen = Pen().calls("WebFetch", "toolu_1").calls("Read", "toolu_2").calls("Grep", "toolu_3")
    pen.record({"type": "user", "message": {"role": "user", "content": blocks}})
    found = reading(pen, place)

    assert told(found) == [("WebFetch", "ENOTFOUND"), ("Grep", "ENOTFOUND")]
    assert len({one.uuid for one in found}) == 2


def test_lines_with_blanks_are_read_as_well(place: Path) -> None:
    """As another program writes them that passed the file through."""
    pen = Pen().calls("Bash", "toolu_1").tool_fails("toolu_1")
    pen.lines = [json.dumps(json.loads(line)) for line in pen.lines]

    assert told(reading(pen, place)) == [("Bash", tools.EXIT)]


@pytest.mark.parametrize(
    ("given", "stop", "kind"),
    [
        ({}, "max_tokens", tools.CUT),
        ({"__unparsedToolInput": {"raw": '{"file', "len": 6}}, "max_tokens", tools.CUT),
        ({"file_path": "/a"}, "max_tokens", tools.INVALID),
        ({}, "tool_use", tools.INVALID),
        ({}, None, tools.INVALID),
    ],
)
def test_a_call_that_its_answer_cut_off_is_told_from_a_wrong_one(
    place: Path, given: dict[str, Any], stop: str | None, kind: str
) -> None:
    """2.1.86 and 2.1.114 make `{}` of a cut input and 2.1.329 keeps its text; a wrong input came whole, or is not known."""
    pen = Pen().calls("Write", "toolu_1", given, stop=stop)
    words = "<tool_use_error>InputValidationError: Write failed due to the following issues</tool_use_error>"

    assert told(reading(pen.tool_fails("toolu_1", words), place)) == [("Write", kind)]


def test_what_is_odd_about_an_error_costs_that_alone(place: Path) -> None:
    """No id, no call, no text, a field of another type, a torn line: whatever can be told is."""
    pen = Pen().calls("Bash", "toolu_1")
    pen.record({"type": "user", "message": {"content": [{"type": "tool_result", "is_error": True}]}})
    pen.tool_fails("toolu_9", 7).tool_fails("toolu_1", version=2).tool_fails("toolu_1", timestamp="yesterday")
    pen.scribbles(pen.lines[-2][:-9]).scribbles(
        '{"type":"user","message":{"content":[{"is_error":true}, 3]}}'
    )
    pen.tool_fails("toolu_1")

    assert told(reading(pen, place)) == [
        ("", tools.OTHER),
        ("", tools.OTHER),
        ("Bash", tools.EXIT),
        ("Bash", tools.EXIT),
    ]


def test_a_call_is_looked_for_far_back_and_not_for_ever(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of another tool's words lies between; of calls that are nowhere, only so many are looked for there."""
    pen = Pen().calls("Task", "toolu_1").tool_says("x" * BLOCK).tool_says("y" * BLOCK).tool_fails("toolu_1")
    for number in range(3 * MOST_IN_VAIN):
        pen.tool_fails(f"toolu_gone_{number}")
    looked = []

    def look(path: Path, needle: bytes, end: int) -> bytes | None:
        looked.append(needle)
        return last_with(path, needle, end)

    monkeypatch.setattr("holdfast.sessions.lines.last_with", look)
    found = reading(pen, place, block=BLOCK)

    assert [one.tool for one in found] == ["Task", *[""] * 3 * MOST_IN_VAIN]
    assert len(looked) == MOST_IN_VAIN + 1


def test_the_last_line_with_a_needle(tmp_path: Path) -> None:
    """Of those before the place that is asked about; the first line has none before it."""
    place = tmp_path / "lines"
    place.write_bytes(b"one needle\n" + b"x" * BLOCK + b"\ntwo needle\nthree needle\n")
    end = place.read_bytes().index(b"three")

    assert last_with(place, b"needle", end) == b"two needle"
    assert last_with(place, b"one needle", end) == b"one needle"
    assert last_with(place, b"three", end) is None and last_with(place, b"one", 0) is None


# Scan after scan.


def test_copies_count_once_and_subagents_too(tmp_path: Path, scan: Scan) -> None:
    """A fork writes the history again under another session's name; the client's own ids stay."""
    pen = Pen().calls("Bash", "toolu_1").tool_fails("toolu_1")
    pen.saved(tmp_path)
    fork = Pen(session=OTHER)
    fork.lines = [line.replace(pen.session, OTHER) for line in pen.lines]
    fork.lines = [line.replace(f"{OTHER[:8]}-0", f"{pen.session[:8]}-0") for line in fork.lines]
    fork.saved(tmp_path)
    helper = Pen(agent="a7", at_ms=MORNING_MS + 9).calls("Read", "toolu_2")
    helper.tool_fails("toolu_2", "File does not exist.", uuid="of-the-helper").saved(tmp_path)
    _, store = scan()

    (first, second) = kept(store)
    assert first[1:] == (None, "Bash", tools.EXIT) and first[0] in (pen.session, OTHER)
    assert second == (pen.session, "a7", "Read", tools.MISSING)


def test_a_second_scan_finds_the_call_of_the_first(tmp_path: Path, scan: Scan) -> None:
    """The result came when the call had been read already; only what is new is read."""
    pen = Pen().asks().calls("Bash", "toolu_1")
    before = pen.saved(tmp_path).stat().st_size
    scan()
    grown = pen.after(2).tool_fails("toolu_1").saved(tmp_path).stat().st_size - before
    second, store = scan()
    third, _ = scan()

    assert (second.read_bytes, third.read_bytes) == (grown, 0)
    assert kept(store) == [(pen.session, None, "Bash", tools.EXIT)]


def test_what_was_read_before_these_were_kept_is_read_for_them_once(
    tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older store gets the table and loses nothing; transcripts that are still there are read again, but once."""
    pen = Pen().calls("Bash", "toolu_1").tool_fails("toolu_1").fails(1)
    there = pen.saved(tmp_path)
    gone = Pen(session=OTHER, at_ms=MORNING_MS + 5).calls("Read", "toolu_2").tool_fails("toolu_2").fails(1)
    gone.lines = [line.replace('"uuid":"', '"uuid":"other-') for line in gone.lines]
    gone_place = gone.saved(tmp_path)
    _, store = scan()
    store.connection.executescript("DROP TABLE tool_error; DROP TABLE tools_read")
    store.close()
    gone_place.unlink()
    opened: list[Path] = []

    def reading_of(path: Path, **more: Any) -> Any:
        opened.append(path)
        return read(path, **more)

    monkeypatch.setattr(corpus, "read", reading_of)
    done, store = scan()
    scan()

    assert opened == [there] and (done.read_files, done.copies) == (0, 0)
    assert kept(store) == [(pen.session, None, "Bash", tools.EXIT)]
    assert len(store.without_tools()) == 1
    assert store.connection.execute("SELECT count(*) FROM error").fetchone() == (2,)


def test_they_are_forgotten_with_the_rest(tmp_path: Path, scan: Scan) -> None:
    """Those before a time; and a store that never had them is no trouble."""
    pen = (
        Pen()
        .calls("Bash", "toolu_1")
        .tool_fails("toolu_1")
        .after(60)
        .calls("Read", "toolu_2")
        .tool_fails("toolu_2")
    )
    pen.saved(tmp_path)
    _, store = scan()
    store.connection.execute("PRAGMA wal_checkpoint")
    store.close()
    (tmp_path / "state" / "sessions.sqlite").rename(tmp_path / "state" / "sessions-00.sqlite")
    forget(tmp_path / "state", MORNING_MS + 30_000)
    left = Store(tmp_path / "state" / "sessions-00.sqlite", now_ms=MORNING_MS)
    assert [tool for _, _, tool, _ in kept(left)] == ["Read"]
    left.connection.execute("DROP TABLE tool_error")
    left.close()

    assert forget(tmp_path / "state", MORNING_MS + 90_000) == 0


def test_no_word_of_a_tool_is_kept(tmp_path: Path, scan: Scan) -> None:
    """Not in the store's file, and a key in a tool's name is none there either."""
    pen = Pen().calls("mcp__sk-ant-api03-abcdefghijklmnop__x", "toolu_1")
    pen.tool_fails("toolu_1", "could not read payroll of umbrella: ECONNRESET").saved(tmp_path)
    _, store = scan()
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    held = (tmp_path / "state" / "sessions.sqlite").read_bytes()

    assert b"ECONNRESET" in held and b"umbrella" not in held and b"abcdefghijklmnop" not in held
    assert (
        stamp(MORNING_MS).encode() in held
    )  # the place where the next reading begins: of times and ids alone
