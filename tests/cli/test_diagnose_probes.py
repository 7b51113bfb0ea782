"""`holdfast diagnose` with what was asked of the network before: stated, weighed, and left out of another's home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli import diagnose
from holdfast.probes import kept
from holdfast.probes.result import Grade, Result
from tests.sessions.written import MORNING_MS, Pen

DAY_S = 86_400


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which a request a day heard nothing more after four minutes, and went through when it was asked again."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    for day in range(8):
        pen = Pen(session=f"{day}1111111-0000-4000-8000-000000000001", at_ms=MORNING_MS + day * DAY_S * 1000)
        pen.asks().after(8).answers(f"msg_{day}").tool_says()
        pen.after(240.1 + day / 20).fails(1, code="ETIMEDOUT").after(3).answers(f"msg_{day}_again")
        for number in range(6):
            pen.tool_says().after(9).answers(f"msg_{day}_{number}")
        pen.saved(tmp_path / "home")
    return tmp_path / "home"


def held(network: str | None = None) -> Result:
    """Of connections that were left silent, those of five minutes were forgotten, and not with TCP keepalive."""
    kinds = {
        name: {
            "connections": [
                {
                    "hold_s": one,
                    "idle_s": one,
                    "how": None,
                    "outcome": "dead on send" if dead and one > 200 else "alive",
                }
                for one in (60.0, 180.0, 300.0)
            ]
        }
        for name, dead in (("without_keepalive", True), ("with_keepalive", False))
    }
    return Result(
        "idle", "api.anthropic.com:443", MORNING_MS + 6 * DAY_S * 1000, 300.0, Grade.SUSPECTED, "verdict", "says",
        "does not say", {**kinds, "fresh_connection_works": True}, network=network,
    )  # fmt: skip


def found(*options: str) -> dict[str, Any]:
    done = CliRunner().invoke(diagnose.command, ["--timezone", "UTC", "--format", "json", *options])
    assert done.exit_code == 0, done.output
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def coverage(read: dict[str, Any]) -> dict[str, Any]:
    (one,) = [one for one in read["coverage"] if one["source"] == "probes"]
    return dict(one)


def test_what_was_asked_of_the_network_weighs_and_is_stated(home: Path, tmp_path: Path) -> None:
    """One result, of `idle`: from when, on which network; and in the finding with its bits. A torn line is counted."""
    before = found()
    kept.keep(tmp_path / "state", [held()])
    with (tmp_path / "state" / "probes.jsonl").open("a") as file:
        file.write('{"probe": "idle", "torn\n')
    read = found()

    (finding,) = read["findings"]
    (said,) = [one["text"] for one in finding["for"] if one["source"] == "probes"]
    assert finding["hypothesis"] == "nat-timeout"
    assert finding["bits"] > before["findings"][0]["bits"] + 4
    assert "silent connections were forgotten between 180 s and 300 s, and lived with TCP keepalive" in said
    assert "whether it was the failures' network is not known" in said and "bits)" in said
    told = coverage(read)
    assert told["count"] == "1 result of idle, on what network is not known"
    assert told["first_ms"] == told["last_ms"] == MORNING_MS + 6 * DAY_S * 1000
    assert told["unreadable"] == ["1 line that could not be read"]


def test_where_nothing_was_asked_that_is_said(home: Path) -> None:
    """With what asks."""
    assert coverage(found())["count"] == "none: nothing was asked of the network (holdfast probe)"


def test_what_was_asked_here_says_nothing_of_another_machine(home: Path, tmp_path: Path) -> None:
    """A copied home was on other networks."""
    kept.keep(tmp_path / "state", [held()])
    copy = tmp_path / "copy"
    home.rename(copy)
    read = found("--home", str(copy))

    assert "another machine's network" in coverage(read)["count"]
    assert all(one["source"] != "probes" for finding in read["findings"] for one in finding["for"])


def test_ones_own_network_is_looked_at_and_nobody_is_asked(home: Path) -> None:
    """What the link's probe knows without a question stands under where it ran: told, or with what to type."""
    told = found()["environment"]
    named = {one["name"] for one in (*told["facts"], *told["skipped"])}

    assert {"IPv6", "Wi-Fi", "filter programs"} <= named
    assert all(one["line"] and one["ranking"] for one in told["skipped"])


def test_where_it_leaves_stands_in_ones_own_report_and_not_in_the_public_one(
    home: Path, tmp_path: Path
) -> None:
    """Asked on consent, told to whoever agreed; others read that it was asked. Before, it is what to type."""
    (gap,) = [one for one in found()["environment"]["skipped"] if one["name"] == "egress"]
    facts = {"asn": "AS64500", "as_name": "Acme", "city": "Berlin", "region": None, "country": "DE"}
    verdict = "this machine leaves by AS64500 Acme, Berlin, DE, as service.example sees it"
    kept.keep(
        tmp_path / "state",
        [Result("egress", "service.example:443", MORNING_MS, 1.0, Grade.FINE, verdict, "s", "n", facts)],
    )
    known = {one["name"]: one["value"] for one in found()["environment"]["facts"]}
    out = tmp_path / "issue.md"
    done = CliRunner().invoke(diagnose.command, ["--timezone", "UTC", "--format", "issue", "--out", str(out)])

    assert gap["line"] == "holdfast probe egress" and "could not change the ranking" in gap["ranking"]
    assert known["egress"].startswith("AS64500 Acme, Berlin, DE; asked on 2026-")
    assert done.exit_code == 0 and not any(word in out.read_text() for word in ("64500", "Acme", "Berlin"))
    assert "AS64500 Acme, Berlin, DE" in (tmp_path / "issue.md.private.md").read_text()
