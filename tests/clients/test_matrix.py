"""The matrix itself: its cells, its story and its verdicts, without any client."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.lab.provider import Request
from holdfast.lab.script import Answer, End
from tests.clients.matrix import page, results
from tests.clients.matrix.cell import ALWAYS, BREAKS, CLIENTS, MIXED, PLACES, STATUSES, Cell, all_cells, plain
from tests.clients.matrix.results import Result, as_expected
from tests.clients.matrix.story import DONE, TEXTS, Story, conversation
from tests.clients.matrix.verdict import Facts, verdict

WELL = Facts(
    finished=True,
    closing=True,
    written=True,
    runs=1,
    calls=1,
    shown=1,
    generations=3,
    requests=3,
    seconds=1.0,
)
RST_IN_TOOL = Cell("2.1.114", "rst", "tool after text")


# -- cells ------------------------------------------------------------------------------------------------


def test_every_client_meets_every_break_at_every_place() -> None:
    """Five clients, nine places, four breaks and two statuses, once and three times; each cell once."""
    cells = list(plain())
    streams = [how for how in BREAKS if how not in (*STATUSES, MIXED)]

    assert len(cells) == len(CLIENTS) * 2 * (len(PLACES) * len(streams) + len(STATUSES))
    assert len({cell.key for cell in all_cells()}) == len(all_cells())


@pytest.mark.parametrize(
    ("cell", "calls", "least"),
    [
        (RST_IN_TOOL, 1, 3),
        (Cell("2.1.114", "rst", "tool", 3), 1, 5),
        (Cell("2.1.114", "rst", "after a tool"), 1, 2),
        (Cell("2.1.114", "rst", "after a tool", 3), 3, 4),
        (Cell("2.1.114", "rst", "second tool", 3), 4, 5),
        (Cell("2.1.114", "529", "headers", 3), 1, 2),
        (Cell("2.1.114", MIXED, "tool", 3), 1, 3),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_the_fewest_generations_follow_from_the_breaks(cell: Cell, calls: int, least: int) -> None:
    """The unbroken task takes two; a break costs one more, unless the answer lacked but its end."""
    assert (cell.calls, cell.least_generations) == (calls, least)


# -- verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (WELL, "done"),
        (replace(WELL, finished=False), "fails"),
        (replace(WELL, finished=False, hung=True), "hangs"),
        (replace(WELL, closing=False), "silent loss"),
        (replace(WELL, written=False), "silent loss"),
        (replace(WELL, runs=2), "tool twice"),
        (replace(WELL, shown=2), "shown twice"),
        (replace(WELL, shown=0), "done"),
    ],
)
def test_a_run_comes_to_one_word(facts: Facts, word: str) -> None:
    """What a client claims counts only with what it did."""
    assert verdict(facts) == word


def test_one_generation_too_many_is_not_as_expected() -> None:
    """Nor is a loss; where an error is the only honest end, the error is."""
    assert as_expected(RST_IN_TOOL, WELL)
    assert not as_expected(RST_IN_TOOL, replace(WELL, generations=4))
    assert not as_expected(RST_IN_TOOL, replace(WELL, closing=False))
    assert as_expected(replace(RST_IN_TOOL, client="python"), replace(WELL, finished=False))
    assert not as_expected(replace(RST_IN_TOOL, client="python"), replace(WELL, closing=False))


# -- the story --------------------------------------------------------------------------------------------


def ask(story: Story, *messages: dict[str, Any]) -> Answer:
    """What the model answers to this conversation."""
    body = {"tools": [{"name": "Write"}], "stream": True, "messages": [user("Write."), *messages]}
    return story(Request(1, 1, "POST", "/v1/messages", {}, json.dumps(body).encode()))


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*content]}


def model(*texts: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text} for text in texts]}


def result(call: str, *, error: str = "") -> dict[str, Any]:
    return {
        "type": "tool_result",
        "tool_use_id": call,
        "is_error": bool(error),
        "content": error or "written",
    }


def texts(told: Answer) -> str:
    """The text in an answer."""
    return "".join(str(getattr(step, "delta", {}).get("text", "")) for step in told.steps)


def test_the_model_is_broken_off_and_then_goes_on(tmp_path: Path) -> None:
    """Once; what it had said is not said again, each call has an id of its own, and after its result it is done."""
    story = Story(RST_IN_TOOL, tmp_path)

    broken = ask(story)
    assert (broken.end, texts(broken), broken.tool_ids) == (End.RST, TEXTS[0], ("toolu_file1_1",))
    resumed = ask(story, model(TEXTS[0]), user({"type": "text", "text": "Go on."}))
    assert (resumed.end, texts(resumed), resumed.tool_ids) == (End.PROPER, TEXTS[1], ("toolu_file1_2",))
    assert texts(ask(story, model(TEXTS[0]), user(result("toolu_file1_2")))) == DONE


def test_a_reset_can_be_followed_by_refusals(tmp_path: Path) -> None:
    """The answer breaks, and the next two requests are refused."""
    story = Story(Cell("python", MIXED, "tool", 3), tmp_path)

    assert [(told.status, told.end) for told in (ask(story) for _ in range(4))] == [
        (200, End.RST),
        (529, End.PROPER),
        (529, End.PROPER),
        (200, End.PROPER),
    ]


def test_breaks_can_go_on_for_a_while(tmp_path: Path) -> None:
    """However often it is asked within ten seconds of the first; then never again."""
    now = iter((100.0, 105.0, 109.9, 110.0))
    story = Story(Cell("python", "rst", "tool", ALWAYS, lasts_s=10), tmp_path, clock=lambda: next(now))

    assert [ask(story).end for _ in range(4)] == [End.RST, End.RST, End.RST, End.PROPER]


def test_what_was_refused_is_called_again(tmp_path: Path) -> None:
    """Half a call whose client says so is no call that was carried out."""
    story = Story(Cell("2.1.86", "rst", "second tool"), tmp_path)

    assert ask(story).tool_ids == ("toolu_file1_1", "toolu_file2_1")
    refused = result("toolu_file2_1", error="InputValidationError: content is missing")
    left = ask(story, user(result("toolu_file1_1"), refused))
    assert left.tool_ids == ("toolu_file2_2",)
    known = conversation({"messages": [user(result("toolu_file1_1"), refused)]})
    assert (known.runs(), known.refused) == (1, 1)


def test_a_text_to_be_continued_goes_on_right_behind(tmp_path: Path) -> None:
    """The messages end with the model's own words: a prefill."""
    story = Story(Cell("python", "rst", "text", times=0), tmp_path)

    assert TEXTS[0][:9] + texts(ask(story, model(TEXTS[0][:9]))) == TEXTS[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", [how for how in BREAKS if how not in STATUSES])
def test_no_broken_answer_is_whole(how: str, place: str, tmp_path: Path) -> None:
    """Whatever the break, the message's last event is missing."""
    told = ask(Story(Cell("python", how, place, ALWAYS), tmp_path))

    assert "MessageStop" not in [type(step).__name__ for step in told.steps]


# -- results and page -------------------------------------------------------------------------------------


def test_the_last_result_of_a_cell_counts(tmp_path: Path) -> None:
    """A cell that is played again replaces what was seen before."""
    file = tmp_path / "results.jsonl"
    results.add(Result(RST_IN_TOOL.key, True, replace(WELL, finished=False), "2026-11-21"), file)
    results.add(Result(RST_IN_TOOL.key, True, WELL, "2026-11-22"), file)

    assert results.load(file) == {(RST_IN_TOOL.key, True): Result(RST_IN_TOOL.key, True, WELL, "2026-11-22")}


def test_a_cell_can_be_forgotten(tmp_path: Path) -> None:
    """Then it is played again; the others are kept."""
    file = tmp_path / "results.jsonl"
    for gateway in (True, False):
        results.add(Result(RST_IN_TOOL.key, gateway, WELL, "2026-11-21"), file)
    results.forget({(RST_IN_TOOL.key, True)}, file)

    assert list(results.load(file)) == [(RST_IN_TOOL.key, False)]


def test_the_page_says_what_came_of_a_cell() -> None:
    """Without the gateway, then with it; and what nothing explains is listed as such."""
    loss = replace(WELL, closing=False)
    seen = {
        (RST_IN_TOOL.key, False): Result(RST_IN_TOOL.key, False, loss, "2026-11-21"),
        (RST_IN_TOOL.key, True): Result(RST_IN_TOOL.key, True, WELL, "2026-11-21"),
    }
    row = "| in a tool call behind a completed text | connection reset | 3 | **silent loss** → 3 |"
    assert row in page.render(seen)
    assert "Not as expected" not in page.render(seen)

    seen[RST_IN_TOOL.key, True] = Result(RST_IN_TOOL.key, True, loss, "2026-11-21")
    assert f"- `{RST_IN_TOOL.key}`: **silent loss**" in page.render(seen)
