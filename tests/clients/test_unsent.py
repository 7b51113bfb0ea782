"""The telemetry that real clients leave behind where they cannot send it is told as failures, each once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.sessions.client_telemetry import files, notes, read
from holdfast.sessions.corpus import update, update_unsent
from holdfast.sessions.frames import told_together
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.clients.cells import limit_s
from tests.clients.install import CLAUDE_VERSIONS, claude_command
from tests.netns import ROOT, needs_namespaces

pytestmark = [pytest.mark.client, pytest.mark.timeout(400), needs_namespaces]


@pytest.mark.parametrize("version", CLAUDE_VERSIONS)
def test_two_refusals_are_one_failure_whatever_the_transcript_says(version: str, tmp_path: Path) -> None:
    """2.1.86 and 2.1.114 log none of them in print mode, 2.1.329 both; and none of them the silence after it."""
    claude_command(version)  # there is no installing without a way out
    command = ["unshare", "-rn", sys.executable, "-m", "tests.clients.unsent_alone", version, str(tmp_path)]
    environment = {name: os.environ[name] for name in ("PATH", "HOLDFAST_CLIENT_CACHE") if name in os.environ}
    played = subprocess.run(
        command,
        cwd=ROOT,
        env={
            **environment,
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT))),
        },
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert played.returncode == 0, played.stderr[-3000:]
    places = roots(tmp_path / "machine" / "home")
    found = [read(path) for path in files(places)]
    store = Store(None, now_ms=0)
    update(store, transcripts(places)[0])
    assert update_unsent(store, files(places)) == []
    both = told_together(store)

    assert sum((one.dirt for one in found), type(found[0].dirt)()) == {}
    assert both is not None
    [chain] = both.chain
    assert (chain["tries"], chain["outcome"], both.aside) == (2, "recovered", 0)
    assert [row["code"] for row in both.error] == ["HTTP 529", "HTTP 529"]
    assert all(row["at_ms"] - row["before_ms"] >= 0 for row in both.error)
    assert len(both.alone) == (version != "2.1.329")
    [silence] = [note for note in notes(store.telemetry()) if note.kind == "silent"]
    assert silence.gap_s == limit_s(version, "text")
    assert silence.request_id is not None
