"""The ring keeps the last of a capture within its bounds, and leaves nothing that others may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.captures.files import open_capture
from holdfast.captures.masking import Ready
from holdfast.captures.ring import Kept, Ring

S = 1_000_000_000


def times(path: Path) -> list[float]:
    with open_capture(path) as capture:
        return [packet[0] / S for packet in capture]


def ring(
    path: Path, *, most: int = 1 << 20, keep_s: float = 60.0, at_s: list[float], size: int = 100
) -> Kept:
    kept = Ring(path, most_bytes=most, keep_s=keep_s)
    for second in at_s:
        kept.write(Ready(round(second * S), 1, b"p" * size, size))
    return kept.finish()


def test_the_last_seconds_are_kept(tmp_path: Path) -> None:
    """Whatever is older than asked for, counted from the last packet, is gone."""
    kept = ring(tmp_path / "a.pcap", keep_s=60, at_s=[float(s) for s in range(300)])
    assert times(tmp_path / "a.pcap") == [float(s) for s in range(239, 300)]
    assert (kept.packets, kept.first_ns, kept.last_ns) == (61, 239 * S, 299 * S)


def test_it_never_takes_more_than_it_may(tmp_path: Path) -> None:
    """The oldest part makes room, on the disk as well, at every moment."""
    kept = Ring(tmp_path / "a.pcap", most_bytes=40_000, keep_s=1e6)
    for second in range(2000):
        kept.write(Ready(second * S, 1, b"p" * 1000, 1000))
        if second % 100 == 0:
            kept.flush()
            on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
            assert on_disk < 40_000 + 8 * 24 + 1016
    told = kept.finish()
    assert 30_000 < told.bytes <= 40_000 and times(tmp_path / "a.pcap")[-1] == 1999


def test_one_private_file_is_left(tmp_path: Path) -> None:
    """0600, no parts beside it, nanoseconds kept, the link type of the capture."""
    ring(tmp_path / "a.pcap", at_s=[1.000000001, 2.5])
    assert [path.name for path in tmp_path.iterdir()] == ["a.pcap"]
    assert (tmp_path / "a.pcap").stat().st_mode & 0o777 == 0o600
    with open_capture(tmp_path / "a.pcap") as capture:
        assert [packet[0] for packet in capture] == [1_000_000_001, 2_500_000_000]


def test_a_file_that_is_there_is_not_touched_and_a_link_not_followed(tmp_path: Path) -> None:
    """Neither an old capture nor what a link points at is overwritten."""
    (tmp_path / "a.pcap").write_text("mine")
    (tmp_path / "b.pcap").symlink_to(tmp_path / "a.pcap")
    for name in ("a.pcap", "b.pcap"):
        with pytest.raises(FileExistsError):
            Ring(tmp_path / name, most_bytes=1, keep_s=1)
    assert (tmp_path / "a.pcap").read_text() == "mine"


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    """Neither file nor parts."""
    kept = Ring(tmp_path / "a.pcap", most_bytes=1 << 20, keep_s=60)
    kept.write(Ready(1, 1, b"p", 1))
    kept.abandon()
    assert not list(tmp_path.iterdir())
