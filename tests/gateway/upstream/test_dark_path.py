"""A path that dies without a word, in a network namespace where we may take the network away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def own_network() -> bool:
    """Whether this machine lets us have a network namespace."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return (
        subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(
    not own_network(), reason="needs `unshare` and `ip`, and leave to make a network namespace"
)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_dead_path_is_told_from_a_silent_upstream(loop: str, tmp_path: Path) -> None:
    """Probes without an answer are `dark`, our own bytes never acknowledged are `unacked`; both on the path's side."""
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "tests.gateway.upstream.dark_path", loop],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (silent_code, silent), (sending_code, sending) = map(json.loads, done.stdout.splitlines())

    assert (silent_code, sending_code) == ("N.dark.body", "N.unacked.body")
    assert silent["probes"] >= 2 and silent["unacked_bytes"] == 0
    assert sending["unacked_bytes"] == 5 and sending["retransmits"] >= 1
    assert min(silent["last_ack_recv_ms"], sending["last_ack_recv_ms"]) > 1500
