"""Reading what the client wrote: every shape of record, every kind of dirt, nothing counted twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sessions.facts import FileFacts
from holdfast.sessions.transcript import read
from tests.sessions.written import MORNING_MS, Pen


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


def reading(pen: Pen, place: Path, *, gaps: bool = False, block: int = 4096) -> FileFacts:
    place.write_text(pen.text())
    return read(place, gaps=gaps, block=block)[0]


# Errors and what became of them.


def test_a_chain_of_tries_that_recovers(place: Path) -> None:
    """Three resets, then the answer: one chain; each try knows what stood before it, and how large the prompt was."""
    pen = Pen().asks().answers("msg_1", context=412_000).after(40).tool_says()
    pen.after(61).fails(1).after(0.6).fails(2, wait_ms=1018.0).after(90).fails(3, wait_ms=2100.0)
    facts = reading(pen.after(30).answers("msg_2"), place)

    first, second, third = facts.errors
    assert (first.code, first.attempt, first.max_attempts, first.wait_ms) == ("ECONNRESET", 1, 10, 503.1)
    assert (first.path, first.status, first.transport) == (
        "https://api.anthropic.com/v1/messages",
        None,
        True,
    )
    assert [error.at_ms - (error.before_ms or 0) for error in facts.errors] == [61_000, 600, 90_000]
    assert (second.context_tokens, third.model) == (412_000, "claude-opus-4-6")
    (chain,) = facts.chains
    assert (len(chain.errors), chain.outcome, chain.ended_ms) == (3, "recovered", pen.at_ms)


def test_a_chain_that_ends_with_the_clients_own_words(place: Path) -> None:
    """Ten tries, then the message that the client puts in the model's place."""
    pen = Pen().asks().answers("msg_1")
    for attempt in range(1, 11):
        pen.after(20).fails(attempt)
    facts = reading(pen.after(1).gives_up(), place)

    assert [chain.outcome for chain in facts.chains] == ["died"]
    (dead,) = facts.dead
    assert dead.text == "API Error: Unable to connect to API (ECONNRESET)"
    assert (dead.model, dead.context_tokens) == ("claude-opus-4-6", 90_000)
    assert [request.message_id for request in facts.requests] == ["msg_1"]


def test_a_user_who_goes_on_has_abandoned_the_turn(place: Path) -> None:
    """A typed prompt says so; a tool's result that comes in between does not."""
    facts = reading(Pen().asks().fails(1).tool_says().after(5).fails(2).after(9).asks("Never mind."), place)

    (chain,) = facts.chains
    assert (len(chain.errors), chain.outcome) == (2, "abandoned")


def test_what_the_file_does_not_tell_is_unknown(place: Path) -> None:
    """It ends in the middle of the tries."""
    facts = reading(Pen().asks().fails(1).after(3).fails(2), place)

    assert [(chain.outcome, chain.ended_ms) for chain in facts.chains] == [("unknown", None)]


def test_an_attempt_that_starts_over_is_another_chain(place: Path) -> None:
    """1, 2, 1: two questions failed."""
    facts = reading(Pen().fails(1).fails(2).after(60).fails(1).answers("msg_1"), place)

    assert [(len(chain.errors), chain.outcome) for chain in facts.chains] == [
        (2, "unknown"),
        (1, "recovered"),
    ]


def test_an_http_error_keeps_its_ids(place: Path) -> None:
    """An overloaded provider answers properly: status, kind, request id, edge id."""
    (error,) = reading(Pen().asks().is_refused(1), place).errors

    assert (error.code, error.status, error.error_type) == ("HTTP 529", 529, "overloaded_error")
    assert (error.request_id, error.edge_id, error.transport) == ("req_1", "9ddf33cfda64f790-ORD", False)


def test_a_record_that_says_nothing_of_why(place: Path) -> None:
    """`error: {}` has no code and no path; it is counted as what it is."""
    (error,) = reading(Pen().fails(1, code=None), place).errors

    assert (error.code, error.path) == ("unknown", None)


def test_the_error_of_later_versions(place: Path) -> None:
    """2.1.329 names the connection's code elsewhere."""
    connection = {"code": "ECONNRESET", "message": "socket hang up", "isSSLError": False}
    error = {"message": "Connection error.", "status": None, "requestId": "req_9", "connection": connection}
    body = {
        "type": "system",
        "subtype": "api_error",
        "error": error,
        "source": "request_retry",
        "retryInMs": 512,
    }
    (found,) = reading(
        Pen(version="2.1.329").record(body | {"retryAttempt": 1, "maxRetries": 10}), place
    ).errors

    assert (found.code, found.request_id, found.wait_ms) == ("ECONNRESET", "req_9", 512.0)


# Answers, turns, compactions.


@pytest.mark.parametrize("early", [False, True], ids=["keys as now", "keys as before"])
def test_an_answer_is_counted_once_however_many_blocks_it_has(place: Path, early: bool) -> None:
    """One record per block, each with the whole usage; the order of keys changed between versions."""
    pen = (
        Pen(early=early)
        .asks()
        .after(12)
        .answers("msg_1", blocks=3, context=50_000, output=900, stop="tool_use")
    )
    (request,) = reading(pen, place, gaps=True).requests

    assert (request.context_tokens, request.output_tokens, request.stop_reason) == (50_000, 900, "tool_use")
    assert (request.request_id, request.tier) == ("req_msg_1", "standard")
    assert request.before_ms == MORNING_MS and request.at_ms == MORNING_MS + 12_000


def test_without_gaps_nobody_looks_before_an_answer(place: Path) -> None:
    """Users' lines are most of the bytes; they are passed over, and the gap is not measured."""
    (request,) = reading(Pen().asks().after(5).answers("msg_1"), place).requests

    assert request.before_ms is None


def test_turns_and_compactions(place: Path) -> None:
    """Interactive sessions say how long a turn took; a compaction, how large it was."""
    facts = reading(Pen().asks().answers("msg_1").took(304.862).compacts(167_000, 21_000), place)

    assert [turn.duration_ms for turn in facts.durations] == [304_862]
    assert [(one.before_tokens, one.after_tokens) for one in facts.compactions] == [(167_000, 21_000)]


def test_two_conversations_in_one_file_are_told_apart(place: Path) -> None:
    """A subagent's tries are its own."""
    main, helper = Pen().asks().fails(1), Pen(agent="a7", at_ms=MORNING_MS + 1).fails(1).answers("msg_2")
    main.lines += helper.lines
    facts = reading(main, place)

    assert {(chain.agent, chain.outcome) for chain in facts.chains} == {
        (None, "unknown"),
        ("a7", "recovered"),
    }


# Dirt.


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "not json",
        '{"type":"system",',
        '"a string"',
        "[1, 2]",
        "null",
        "\x00\x00\x00",
        '{"type": 7}',
        "{}",
    ],
)
def test_dirt_is_survived_and_counted(place: Path, line: str) -> None:
    """Whatever stands between two records, both are read; what is no object is counted with its line."""
    facts = reading(Pen().fails(1).scribbles(line).after(1).fails(2), place)

    assert [error.attempt for error in facts.errors] == [1, 2]
    clean = not line.strip() or (line.startswith("{") and line.endswith("}"))
    assert facts.dirt == (0 if clean else 1)
    assert facts.first_dirt is None if clean else facts.first_dirt is not None and facts.first_dirt[0] == 2


@pytest.mark.parametrize("block", [300, 4096])
@pytest.mark.parametrize("note", ['{"type":"file-history-snapshot","snapshot":{}}', "", "   ", "{}"])
def test_an_age_begins_with_the_users_line_whatever_note_follows_it(
    place: Path, note: str, block: int
) -> None:
    """Half an hour's pause, a question, a note that bears no time, a reset: the try was two minutes old, and not thirty."""
    pen = Pen().asks().answers("msg_1").after(1_800).asks("And now?").scribbles(note).after(120).fails(1)
    (error,) = reading(pen, place, block=block).errors

    assert error.before_ms is not None and error.at_ms - error.before_ms == 120_000


@pytest.mark.parametrize(
    "torn", ['{"type":"progress","timestamp":"2026-04-1', '{"type":"user","message":{"ro']
)
def test_an_age_that_began_with_a_torn_line_is_not_known(place: Path, torn: str) -> None:
    """The line before may have been the question itself: an older one's time would make the try look older than it was."""
    pen = Pen().asks().answers("msg_1").after(1_800).asks("And now?").scribbles(torn).after(120).fails(1)
    (error,) = reading(pen, place).errors

    assert error.before_ms is None


def test_text_that_is_no_utf8_costs_the_text_only(place: Path) -> None:
    """A client that died wrote half a character."""
    pen = Pen().fails(1).gives_up("API Error: caf\u00e9")
    place.write_bytes(
        pen.text().encode().replace(b"caf\\u00e9", b"caf\xe9").replace(b"ECONNRESET", b"ECONN\xe9", 2)
    )
    facts, _ = read(place)

    assert (len(facts.dead), facts.lines) == (1, 2)


def test_a_field_of_another_type_costs_that_field_only(place: Path) -> None:
    """A duration that is a word, a version that is a number: the rest of the record is used."""
    pen = Pen().fails(1)
    odd = json.loads(pen.lines[0]) | {"version": 2, "retryInMs": "503.1", "isSidechain": None}
    facts = reading(Pen().scribbles(json.dumps(odd)), place)

    (error,) = facts.errors
    assert (error.code, error.wait_ms, error.attempt) == ("ECONNRESET", 503.1, 1)
    assert (facts.loose, facts.dirt) == (1, 0)


def test_unknown_kinds_of_records_pass(place: Path) -> None:
    """New versions add some with every month."""
    pen = Pen().record({"type": "atis-latch", "data": {"deep": [1, 2, {"message": "x"}]}}).fails(1)
    facts = reading(pen, place)

    assert (len(facts.errors), facts.lines, facts.dirt) == (1, 2, 0)


def test_a_line_that_is_still_being_written(place: Path) -> None:
    """It is no dirt; the next reading begins before it."""
    pen = Pen().fails(1).after(4).fails(2)
    text = pen.text()
    place.write_text(text[:-40])
    first, where = read(place)
    assert (len(first.errors), first.dirt, where.end) == (1, 0, len(pen.lines[0]) + 1)
    assert first.unfinished_bytes > 0

    place.write_text(text)
    second, where = read(place, since=where)
    assert [error.attempt for error in second.errors] == [2]
    assert (where.end, second.unfinished_bytes) == (len(text), 0)


def test_a_last_line_without_an_end_may_be_whole(place: Path) -> None:
    """A client that died wrote it; it counts, and counts once when the file goes on."""
    pen = Pen().fails(1).after(4).fails(2)
    place.write_text(pen.text().rstrip("\n"))
    first, where = read(place)
    place.write_text(pen.after(7).answers("msg_1").text())
    second, _ = read(place, since=where)

    assert ([error.attempt for error in first.errors], second.errors) == ([1, 2], [])
    assert [(len(chain.errors), chain.outcome) for chain in second.chains] == [(2, "recovered")]


def test_a_file_read_in_two_goes_tells_the_same(place: Path) -> None:
    """Wherever the first reading ended: gaps, chains and contexts go on as if there had been one."""
    pen = Pen().asks().answers("msg_1", context=300_000).tool_says().after(50).fails(1).after(9).fails(2)
    pen.after(20).answers("msg_2").took(80).asks().after(11).fails(1).gives_up()
    text = pen.text()
    place.write_text(text)
    whole, _ = read(place)
    cuts = [0, *[at + 1 for at, character in enumerate(text) if character == "\n"]]
    for cut in cuts:
        place.write_text(text[:cut])
        first, where = read(place)
        place.write_text(text)
        second, _ = read(place, since=where)
        chains = {chain.errors[0].uuid: chain.outcome for chain in [*first.chains, *second.chains]}

        assert [*first.errors, *second.errors] == [
            replace(error, line=found.line)
            for error, found in zip(whole.errors, [*first.errors, *second.errors], strict=True)
        ]
        assert chains == {chain.errors[0].uuid: chain.outcome for chain in whole.chains}
        assert [*first.requests, *second.requests] == whole.requests


@given(cut=st.integers(0, 4000), block=st.integers(64, 900))
def test_it_does_not_matter_how_a_file_is_cut_into_pieces(
    tmp_path_factory: pytest.TempPathFactory, cut: int, block: int
) -> None:
    """Small pieces, large ones, and a file that ends anywhere: the whole lines are read, each once."""
    pen = (
        Pen()
        .asks()
        .answers("msg_1", blocks=2)
        .tool_says("x" * 700)
        .fails(1)
        .after(2)
        .fails(2)
        .answers("msg_2")
    )
    place = tmp_path_factory.mktemp("cut") / "session.jsonl"
    text = pen.took(9).text()[: -cut or None]
    place.write_text(text)
    facts, where = read(place, block=block)

    whole = text[: text.rfind("\n") + 1]
    wanted = [line for line in whole.splitlines() if '"api_error"' in line]
    rest = len(text) - where.end
    assert len(facts.errors) - len(wanted) in (0, 1) and facts.dirt == 0
    assert where.end in (len(whole), len(text)) and facts.unfinished_bytes == rest


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_it_does_not_matter_how_many_lines_are_taken_at_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """What a line means for the next ones is known beyond them, and so is its number."""
    pen = Pen().asks().answers("msg_1", blocks=2).tool_says("x").scribbles("").fails(1).scribbles("torn {")
    pen.after(2).asks("And now?").calls("Bash", "toolu_1").tool_fails("toolu_1").asks("Well?").fails(1).after(
        3
    ).fails(2).scribbles("").answers("msg_2").asks()
    whole = reading(pen, place, gaps=True)
    assert [chain.outcome for chain in whole.chains] == ["abandoned", "recovered"]
    assert [error.tool for error in whole.tool_errors] == ["Bash"]
    assert whole.first_dirt is not None and place.read_text().split("\n")[whole.first_dirt[0] - 1] == "torn {"

    monkeypatch.setattr("holdfast.sessions.transcript.AT_ONCE", at_once)

    assert reading(pen, place, gaps=True) == whole


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_nothing_in_a_file_makes_the_reader_fail(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    """Any bytes at all."""
    place = tmp_path_factory.mktemp("any") / "session.jsonl"
    place.write_bytes(b"\n".join(lines))

    facts, _ = read(place)

    assert facts.errors == []


def test_a_record_that_was_written_twice_is_one_try(tmp_path: Path) -> None:
    """It neither ends the chain that it belongs to nor begins another."""
    pen = Pen().asks().fails(1).after(1).fails(2)
    pen.scribbles(pen.lines[-1]).after(2).answers("msg_1")
    facts, _ = read(pen.saved(tmp_path))

    assert [(len(chain.errors), chain.outcome) for chain in facts.chains] == [(2, "recovered")]
