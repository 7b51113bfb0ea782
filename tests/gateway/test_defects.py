"""Our own mistakes, said so that they can be mended and tell nothing else."""

from __future__ import annotations

import json

from holdfast.gateway.defects import defect


def caught(said: str) -> ValueError:
    try:
        raise ValueError(said)
    except ValueError as error:
        return error


def test_a_defect_names_its_kind_and_its_place() -> None:
    """File and line are enough to find it; no directory of the user's machine is told."""
    line = caught.__code__.co_firstlineno + 2

    assert defect(caught("x")) == f"ValueError at test_defects.py:{line}"


def test_a_defect_does_not_say_what_a_client_sent() -> None:
    """The exception's own text may hold a key or a prompt, so it stays out."""
    assert "sk-ant" not in defect(caught("sk-ant-secret"))


def test_a_defect_in_a_library_is_placed_where_it_was_raised() -> None:
    """The innermost frame counts: that is where to look first."""
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        said = defect(error)

    assert said.startswith("JSONDecodeError at decoder.py:")


def test_a_defect_that_was_never_raised_has_no_place() -> None:
    """And is told all the same."""
    assert defect(RuntimeError("x")) == "RuntimeError at an unknown place"
