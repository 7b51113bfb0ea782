"""What the pages say about questions, files and metrics is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.telemetry.metrics import Health, Tally
from tests.cli.viewed import recorded, typed
from tests.flight.telling import at, frozen_turn, short_turn
from tests.telemetry.told import IDLE, page
from tests.test_docs_pages import BY_HAND, command_lines

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
QUESTIONS = [
    words[words.index("--sql") + 1]
    for path in BY_HAND
    for words in command_lines(path.read_text(encoding="utf-8"))
    if "--sql" in words and words[-1] not in ("--sql", "-")
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_shown_has_an_answer(question: str, tmp_path: Path) -> None:
    """Tables and columns are those that there are, and the frozen turn is found in each that is about breaks."""
    recorded(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"))
    result = typed(tmp_path, "flights", "--sql", question)

    assert result.exit_code == 0, result.stderr


def test_three_questions_are_shown() -> None:
    """Or the test above would test nothing."""
    assert len(QUESTIONS) >= 3


def test_every_metric_that_is_named_exists() -> None:
    """In alerts and prose, with the labels that they are asked by."""
    there = set(
        re.findall(
            r"^# TYPE (holdfast_\w+)", page(Tally(), IDLE, Health(spans={"sent": 0})), flags=re.MULTILINE
        )
    )
    named = set(re.findall(r"\b(holdfast_[a-z_]+)\b", HOW_TO))

    assert len(named) >= 6
    assert named <= there


def test_every_table_and_column_is_in_the_reference() -> None:
    """With its type and its sentence."""
    from holdfast.telemetry.tables import TABLES

    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for table in TABLES:
        section = reference.partition(f"### Table {table.name}\n")[2].partition("\n### ")[0]
        for column in table.columns:
            assert f"| `{column.name}` | {column.type} | {column.says} |" in section
