"""Paths that die without a word in the midst of a silent answer: noticed by TCP's own probes, healed on another connection.

The gateway and its client are on one machine, the provider on another; the test cuts the wire between them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.netns import Wire, needs_namespaces, two_machines

pytestmark = needs_namespaces


class Play:
    """A turn whose answer has fallen silent, in the first argument of a tool call."""

    def __init__(self, wire: Wire, near: subprocess.Popen[str], far: subprocess.Popen[str]) -> None:
        self.wire, self._near, self._far = wire, near, far

    def told(self) -> dict[str, Any]:
        """What the client heard, once its answer is over."""
        assert self._near.stdout is not None and self._near.stderr is not None
        line = self._near.stdout.readline()
        assert line, self._near.stderr.read()
        told: dict[str, Any] = json.loads(line)
        return told

    def generations(self) -> int:
        """How many answers the provider began, the first turn's aside."""
        assert self._far.stdin is not None and self._far.stdout is not None
        self._far.stdin.close()
        return int(self._far.stdout.readline()) - 1


@contextlib.contextmanager
def silent_answer(home: Path, *, tls: bool, keepalive: str = "1/1/3") -> Iterator[Play]:
    certificate, authority = [], []
    if tls:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(home / "ca.pem")
        ca.issue_cert("10.77.0.2").private_key_and_cert_chain_pem.write_to_path(home / "far.pem")
        certificate, authority = [str(home / "far.pem")], [str(home / "ca.pem")]
    with (
        two_machines(home) as wire,
        wire.there.python("tests.gateway.dark_far", wire.there.ipv4, *certificate) as far,
    ):
        assert far.stdout is not None and far.stderr is not None
        url = far.stdout.readline().strip()
        assert url, far.stderr.read()
        with wire.here.python("tests.gateway.dark_near", url, keepalive, *authority) as near:
            try:
                assert near.stdout is not None and near.stderr is not None
                assert near.stdout.readline().strip() == "ready", near.stderr.read()
                yield Play(wire, near, far)
            finally:
                near.kill()
                far.kill()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_flow_that_a_nat_forgot_is_noticed_and_healed(tmp_path: Path, tls: bool) -> None:
    """Only this connection's packets are lost, both ways: dead within the keepalive's 4 s, and asked again at once."""
    with silent_answer(tmp_path, tls=tls) as play:
        play.wire.forget_flows()
        told = play.told()

        assert told["broke"] == "N.dark.tool"
        assert 2.5 < told["broke_s"] < 8
        assert (told["attempts"], told["healed"]) == (2, "restart")
        assert '"content":' in told["heard"].replace("\\", "") and "message_stop" in told["heard"]
        assert "event: error" not in told["heard"]
        assert play.generations() == 2


@pytest.mark.parametrize(
    ("tls", "away_s"),
    [(False, 9.0), (True, 9.0), pytest.param(False, 90.0, marks=pytest.mark.long)],
    ids=["plain", "TLS", "90 s"],
)
def test_an_outage_burns_no_attempt(tmp_path: Path, tls: bool, away_s: float) -> None:
    """Everything is lost for a while: the reader is kept, the flight says so, and the next attempt is made within 2 s."""
    with silent_answer(tmp_path, tls=tls) as play:
        play.wire.cut()
        time.sleep(away_s)
        play.wire.mend()
        told = play.told()

        assert {"NetworkGone", "NetworkBack"} <= set(told["moments"])
        # until the kernel of the near machine finds its neighbour again, and a dial that is under way is repeated
        assert told["back_s"] < away_s + 4
        assert (told["attempts"], told["healed"]) == (2, "restart")
        assert "message_stop" in told["heard"] and "event: error" not in told["heard"]
        assert play.generations() == 2
