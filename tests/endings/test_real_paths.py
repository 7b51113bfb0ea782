"""Endings that the lab cannot play: a wire that is pulled, an administrator's hand on a connection, a clock that jumps."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Phase
from holdfast.gateway.settings import RetryRules, Settings, Tls, Upstream
from holdfast.gateway.upstream import watch
from holdfast.lab import script as s
from holdfast.lab.endings import broken
from holdfast.lab.provider import Provider
from holdfast.lab.stage import Certificate
from tests.gateway.hosted import Call, hosted
from tests.gateway.test_dark_paths import silent_answer
from tests.netns import needs_namespaces

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


@needs_namespaces
@BOTH
def test_a_connection_that_is_killed_from_outside_is_this_machines_doing(tmp_path: Path, tls: bool) -> None:
    """`ss -K`, as VPN clients and security agents do it. Upstream is not to blame, and is asked again."""
    with silent_answer(tmp_path, tls=tls) as play:
        said = play.wire.here.output("ss", "-K", "-Htn", "dst", play.wire.there.ipv4)
        if not said.strip():
            pytest.skip("this kernel kills no connections (CONFIG_INET_DIAG_DESTROY)")
        told = play.told()

        assert told["broke"] == "M.abort.tool"
        assert told["broke_s"] < 1
        assert (told["attempts"], told["healed"]) == (2, "restart")


@needs_namespaces
def test_a_wire_that_is_pulled_is_a_dark_path_and_is_told_beforehand(tmp_path: Path) -> None:
    """The change of the network stands before the break, and the way back before the next attempt's connection."""
    with silent_answer(tmp_path, tls=False, keepalive="1/1/1") as play:
        play.wire.here.ip("link", "set", "wire", "down")
        time.sleep(2.8)  # until the probes of the kernel, which has no other clock, have gone unanswered
        play.wire.here.ip("link", "set", "wire", "up")
        told = play.told()

        assert told["broke"] == "N.dark.tool"
        order = [
            name for name in told["moments"] if name in ("NetworkChanged", "AttemptEnded", "NetworkBack")
        ]
        assert order[:3] == ["NetworkChanged", "AttemptEnded", "NetworkChanged"]
        assert "NetworkBack" in order


@BOTH
def test_a_connection_that_did_not_survive_a_sleep_is_laid_to_the_sleep(
    tls: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock that counts sleep jumps by an hour; then upstream's reset comes, which without it would be upstream's."""
    suspended = [0.0]
    monkeypatch.setattr(watch, "suspended_s", lambda: suspended[0])
    defaults = watch.SleepWatch.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "tick_s", 0.05)
    told = broken(Phase.IN_TOOL_USE, s.reset(), s.pause(0.6))
    context: ssl.SSLContext | None = certificate.server() if tls else None
    with Provider(told, ssl=context).running() as provider:
        settings = Settings(
            Upstream.parse(provider.url),
            tls=Tls(ca_files=(certificate.authority,)),
            retries=RetryRules(retries=0),
            shorten=False,
        )
        with hosted(settings) as gateway:
            call = Call(gateway.port)
            call.hear_until(b"file_path")
            suspended[0] = 3600.0
            call.hear_all()
            (ended,) = gateway.kept.wait_for(m.AttemptEnded)

    assert ended.ending.code == "M.slept.tool"
    assert ended.ending.evidence["slept_s"] == 3600.0
    assert ended.ending.evidence["underneath"] == "rst"
    assert [moment.slept_s for moment in gateway.kept.moments(m.MachineSlept)] == [3600.0]
