"""Tables on a narrow terminal: nothing is cut, and numbers stay below each other."""

from __future__ import annotations

import pytest

from holdfast.report.rows import laid

STALLS = [
    ["at", "kind", "silent s", "fits", "session"],
    ["2026-04-26 13:02:11", "silent wait", "1143.5", "a queue", "0f3c2d1e-0000-4000-8000-000000000000"],
    ["2026-04-26 17:54:24", "unheard end", "35.9", "an answer that was withdrawn", "s" * 90],
]


@pytest.mark.parametrize("width", [60, 80, 120, 400, None])
def test_nothing_is_cut(width: int | None) -> None:
    """Every letter of every cell is there, whatever the width, and no line is wider."""
    for row, lines in zip(STALLS, laid(STALLS, width), strict=True):
        told = "".join(lines).replace(" ", "")
        assert all(width is None or len(line) <= width for line in lines)
        assert sorted(told) == sorted("".join(row).replace(" ", ""))


def test_a_row_that_has_no_room_goes_on_below_it() -> None:
    """Head and rows alike; a time stays with its date, and an id, which is copied, in one piece."""
    assert laid(STALLS[:2], 60) == [
        ["  at                   kind         silent s  fits", "      session"],
        [
            "  2026-04-26 13:02:11  silent wait    1143.5  a queue",
            "      0f3c2d1e-0000-4000-8000-000000000000",
        ],
    ]


def test_texts_go_on_in_their_column_and_numbers_to_the_right() -> None:
    """The words of a head go below each other first, then a path after a step of it."""
    rows = [["project", "failed in", "per 1000"], ["/work/borealis/of/somebody", "3", "54.7 (44.0-65.5)"]]
    assert laid(rows, 48) == [
        ["  project               failed          per 1000", "                            in"],
        ["  /work/borealis/of/         3  54.7 (44.0-65.5)", "  somebody"],
    ]
