"""The salt of request keys."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from holdfast.flight.forgetting import forget_all
from holdfast.flight.salt import salt_of
from holdfast.flight.state import SALT


def test_the_salt_is_made_once_and_is_private(tmp_path: Path) -> None:
    """Every gateway of a state directory has the same; another directory has another."""
    first = salt_of(tmp_path / "one")
    assert salt_of(tmp_path / "one") == first != salt_of(tmp_path / "two") and len(first) == 32
    assert stat.S_IMODE((tmp_path / "one" / SALT).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "one").iterdir()] == [SALT]


def test_it_goes_with_everything_else(tmp_path: Path) -> None:
    """What was erased cannot be compared with what comes after."""
    first = salt_of(tmp_path)
    forget_all(tmp_path)
    assert salt_of(tmp_path) != first


def test_no_link_is_followed_and_no_half_salt_taken(tmp_path: Path) -> None:
    """A file that somebody else put there is not ours."""
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / SALT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        salt_of(tmp_path)
    (tmp_path / SALT).unlink()
    (tmp_path / SALT).write_bytes(b"short")
    with pytest.raises(OSError, match="not the salt"):
        salt_of(tmp_path)
