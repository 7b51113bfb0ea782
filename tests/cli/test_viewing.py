"""What the viewing commands share."""

from __future__ import annotations

from holdfast.cli import viewing


def test_a_list_goes_on_below_its_sentence_or_below_its_row() -> None:
    """No word is broken at the terminal's edge; what is piped stays one line each."""
    rows = [("one", "a sentence of some length that a narrow terminal cannot hold"), ("three", "short")]
    assert viewing.listed(rows, 40) == [
        "one    a sentence of some length that a",
        "       narrow terminal cannot hold",
        "three  short",
    ]
    assert viewing.listed(rows[1:], 30) == ["three", "  short"]
    assert viewing.listed(rows, None)[0].endswith("cannot hold")
