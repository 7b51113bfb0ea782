"""What probes found is kept, privately, within bounds."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.flight.state import PROBES
from holdfast.probes import kept
from tests.probes.test_result import result


def test_results_are_kept_and_read_by_time(tmp_path: Path) -> None:
    """Oldest first; those of a span."""
    one, other = result(begun_wall_ms=2000), result(begun_wall_ms=1000, name="idle")

    kept.keep(tmp_path, [one])
    kept.keep(tmp_path, [other])

    assert kept.read(tmp_path) == [other, one]
    assert kept.read(tmp_path, since_ms=1500) == [one] and kept.read(tmp_path, until_ms=2000) == [other]
    assert stat.S_IMODE((tmp_path / PROBES).stat().st_mode) == 0o600


def test_nothing_kept_is_nothing_read(tmp_path: Path) -> None:
    """And makes no file."""
    assert kept.read(tmp_path) == [] and kept.forget(tmp_path, 1) == 0
    assert not list(tmp_path.iterdir())


def test_the_file_stays_within_its_size(tmp_path: Path) -> None:
    """The older half goes; the newest always stays."""
    for number in range(300):
        kept.keep(tmp_path, [result(begun_wall_ms=number)], most_bytes=10_000)

    found = kept.read(tmp_path)

    assert (tmp_path / PROBES).stat().st_size <= 10_000
    assert 10 < len(found) < 60 and found[-1].begun_wall_ms == 299
    assert [one.begun_wall_ms for one in found] == list(range(300 - len(found), 300))


def test_dirt_is_passed_over(tmp_path: Path) -> None:
    """A half line of a writer that was killed, somebody's edit, another version's row."""
    (tmp_path / PROBES).write_bytes(b'{"probe":"idle"}\nnull\n[]\n\xff\xfe\n{"probe": "ed')

    kept.keep(tmp_path, [result()])

    assert kept.read(tmp_path) == [result()]


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    """By its own time; dirt goes with it."""
    kept.keep(tmp_path, [result(begun_wall_ms=number) for number in (1, 2, 3)])

    assert kept.forget(tmp_path, 3) == 2
    assert kept.read(tmp_path) == [replace(result(), begun_wall_ms=3)]


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    """Nobody makes us write into another file."""
    (tmp_path / "other").write_text("mine")
    (tmp_path / PROBES).symlink_to(tmp_path / "other")

    with pytest.raises(OSError):
        kept.keep(tmp_path, [result()])
    assert (tmp_path / "other").read_text() == "mine"
