"""The bench of transcripts measures the reading of what transcripts are like."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.transcripts import corpus, main

from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.transcript import read


def test_the_corpus_is_read_without_dirt(tmp_path: Path) -> None:
    """Every line is understood; most bytes are what users and tools said; failures are among it."""
    size = corpus(tmp_path, 3_000_000, 10)
    found = [read(one.path)[0] for one in transcripts(roots(tmp_path))[0]]

    assert len(found) == 10 and sum(one.end for one in found) == size
    assert not any(one.dirt or one.loose for one in found)
    requests = sum(len(one.requests) for one in found)
    assert 60 < requests / (size / 1e6) < 200, "a measured corpus had 114 answers per MB"
    assert sum(len(one.errors) for one in found) > 0


def test_it_prints_a_rate_per_way_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The corpus is gone afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    main(["--megabytes", "2", "--files", "5", "--unchanged", "10", "--rounds", "1"])
    said = capsys.readouterr().out

    for way in ("read only", "all fields", "all fields and gaps", "into the store", "memory", "rescan of 10"):
        assert way in said
    assert not list(tmp_path.iterdir())
