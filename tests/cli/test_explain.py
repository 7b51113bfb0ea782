"""`holdfast explain`: the page of a word."""

from __future__ import annotations

from pathlib import Path

from holdfast.flight.pages import all_pages
from tests.cli.viewed import typed


def test_a_code_is_explained_part_by_part(tmp_path: Path) -> None:
    """Who, how, and in which phase."""
    said = typed(tmp_path, "explain", "C.rst.tool").stdout
    assert said.startswith("C.rst.tool (ending)\n")
    assert "The peer reset the connection." in said and "its arguments were being written" in said


def test_a_word_with_two_meanings_shows_both(tmp_path: Path) -> None:
    """`tls` is a mechanism and a phase."""
    said = typed(tmp_path, "explain", "tls").stdout
    assert "tls (mechanism)" in said and "tls (phase)" in said


def test_without_a_name_everything_is_listed(tmp_path: Path) -> None:
    """Each word with its first line, within the terminal's width."""
    lines = typed(tmp_path, "explain").stdout.splitlines()
    assert all(len(line) <= 100 for line in lines)
    for page in all_pages():
        assert any(line.startswith(f"  {page.name} ") for line in lines), page.name


def test_an_unknown_word_brings_suggestions(tmp_path: Path) -> None:
    """Exit code 1, close matches, or the way to the list."""
    near = typed(tmp_path, "explain", "orphn")
    assert near.exit_code == 1 and "did you mean orphan" in near.stderr
    assert "holdfast explain lists them all" in typed(tmp_path, "explain", "zzzzqqq").stderr


def test_words_of_two_parts_need_no_quotes(tmp_path: Path) -> None:
    """`holdfast explain stream log` works as typed."""
    assert typed(tmp_path, "explain", "stream", "log").stdout.startswith("stream log (word)")
