"""The long score can be interrupted, goes on where it was, and is never put together from two programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.diagnosis.homes import Home
from tests.diagnosis.plots import home
from tests.diagnosis.score import Judged, Marks, Told
from tests.diagnosis.score_long import calibration, code, judged

SMALL = range(2, 23, 10)
"Homes of a few failures."


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged is read, the torn last line is judged again, and both runs say the same."""
    kept = tmp_path / "score.jsonl"
    whole = list(judged(SMALL, kept))
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    asked: list[int] = []

    def noted(seed: int) -> Home:
        asked.append(seed)
        return home(seed)

    monkeypatch.setattr("tests.diagnosis.score_long.home", noted)

    assert list(judged(SMALL, kept)) == whole
    assert asked == [SMALL[2]]
    assert list(judged(SMALL, kept)) == whole and asked == [SMALL[2]]


def test_other_code_is_another_score() -> None:
    """The sum of everything that a verdict may depend on names the file."""
    assert code() == code() and len(code()) == 12


def test_calibration_is_told_by_how_many_bits() -> None:
    """Of findings that bear as much, how many were true; those that name several causes are no matter of bits."""
    told = [Told("a", "strong", 12.0, 5, 5, True), Told("b", "suspected", 6.0, 5, 0, False)]
    told.append(Told("a or b", "either", 300.0, 5, 5, True))
    said = list(calibration(Marks([Judged(1, "one", {"a": 5}, told, [], True, [])])))

    assert said[0].startswith("5 bits and more: 0 of 1 ") and said[2].startswith("10 bits and more: 1 of 1 ")
    assert said[-1] == "50 bits and more: 0 of 0 true"
