"""Finding transcripts: every root, every layout, nothing twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.sessions.places import roots, transcripts
from tests.sessions.written import Pen


def test_sessions_and_subagents_of_both_layouts_are_found(tmp_path: Path) -> None:
    """Subagents beside the session, and below it; a workflow's journal is no conversation."""
    session = Pen().asks().saved(tmp_path)
    helper = Pen(agent="a7").asks().saved(tmp_path)
    before = session.with_name("agent-b2.jsonl")
    before.write_text("{}\n")
    (helper.parent / "journal.jsonl").write_text("{}\n")

    found, refused = transcripts(roots(tmp_path))

    assert {(one.path, one.subagent) for one in found} == {(session, False), (helper, True), (before, True)}
    assert refused == []


def test_the_configured_roots_replace_the_usual_ones(tmp_path: Path) -> None:
    """`CLAUDE_CONFIG_DIR` may name several."""
    Pen().asks().saved(tmp_path)
    named = {"CLAUDE_CONFIG_DIR": f"{tmp_path / 'one'}, {tmp_path / 'two'}"}

    assert roots(tmp_path, named) == [tmp_path / "one", tmp_path / "two"]
    assert transcripts(roots(tmp_path, named)) == ([], [])


def test_a_file_that_is_reachable_twice_is_read_once(tmp_path: Path) -> None:
    """A hard link, and a link to the whole directory."""
    session = Pen().asks().saved(tmp_path)
    (session.parent / "copy.jsonl").hardlink_to(session)
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "claude").symlink_to(tmp_path / ".claude")

    found, _ = transcripts(roots(tmp_path))

    assert len(found) == 1


def test_a_link_to_itself_costs_itself_alone(tmp_path: Path) -> None:
    """Beside the projects, in one of them, and in the place of a transcript: every other transcript is found."""
    session = Pen().asks().saved(tmp_path)
    loops = [session.parents[1] / "self", session.parent / "below", session.with_name("loop.jsonl")]
    for loop in loops:
        loop.symlink_to(loop.name)

    found, refused = transcripts(roots(tmp_path))

    assert [one.path for one in found] == [session]
    assert (loops[0], "a link that leads to itself") in refused
    assert loops[2] in [path for path, _ in refused]


def test_what_cannot_be_read_is_named_once_by_whichever_way(tmp_path: Path) -> None:
    """A pipe in a project's folder, to which a link leads too."""
    session = Pen().asks().saved(tmp_path)
    os.mkfifo(session.with_name("pipe.jsonl"))
    (session.parents[1] / "again").symlink_to(session.parent.name)

    found, refused = transcripts(roots(tmp_path))

    assert [one.path.name for one in found] == [session.name]
    assert [(path.name, why) for path, why in refused] == [("pipe.jsonl", "a named pipe, not a regular file")]


def test_a_root_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's `.claude` is often private; the other root is read all the same."""
    session = Pen().asks().saved(tmp_path)
    shut = tmp_path / "shut"
    stat = Path.stat

    def refusing(path: Path, **options: bool) -> os.stat_result:
        if path.is_relative_to(shut):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refusing)

    found, refused = transcripts([shut, *roots(tmp_path)])

    assert [one.path for one in found] == [session]
    assert refused == [(shut / "projects", "Permission denied")]
