"""The state directory: where it is, and that it is private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.flight.state import StateError, make_private, state_dir, state_path


def test_the_directory_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`HOLDFAST_STATE_DIR` decides; the directory is made private."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "a" / "b"))
    assert state_dir() == tmp_path / "a" / "b"
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_relative_directory_is_that_of_whoever_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway of `run` lives in another directory, and must not make its own there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", "mine")
    assert state_path() == tmp_path / "mine"


def test_the_home_of_nobody_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~x` where there is no user x."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", "~no-such-user")
    with pytest.raises(StateError, match=r"'~no-such-user'.*write the directory out"):
        state_path()


def test_asking_where_it_is_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewing command leaves no empty directory behind."""
    monkeypatch.delenv("HOLDFAST_STATE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert tmp_path in state_path().parents and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("neighbour", "mode"), [(None, 0o700), ("answers", 0o700), ("run.log", 0o700), ("letters.txt", 0o755)]
)
def test_only_a_directory_of_our_own_is_closed(tmp_path: Path, neighbour: str | None, mode: int) -> None:
    """A home directory that was named by mistake keeps its permissions."""
    tmp_path.chmod(0o755)
    if neighbour:
        (tmp_path / neighbour).write_text("")
    make_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_a_file_in_its_place_is_refused_with_advice(tmp_path: Path) -> None:
    """The error names the variable to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="set HOLDFAST_STATE_DIR"):
        make_private(tmp_path / "file")
