"""`holdfast atlas`: the list, a timer's page, and whose a number is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.diagnosis import atlas
from tests.cli.viewed import typed


def test_all_timers_are_listed(tmp_path: Path) -> None:
    """One line each, whole where it is piped; JSON has every column; a layer and a clock choose."""
    said = typed(tmp_path, "atlas").stdout.splitlines()
    assert len([line for line in said if line.split(" ")[0] in {t.id for t in atlas.timers()}]) == len(
        atlas.timers()
    )
    assert any(line.endswith(timer.name) for timer in atlas.timers() for line in said if len(timer.name) > 70)
    rows = [json.loads(line) for line in typed(tmp_path, "atlas", "--json").stdout.splitlines()]
    assert len(rows) == len(atlas.timers()) and all(row["source"] for row in rows)
    chosen = typed(tmp_path, "atlas", "--layer", "cdn", "--clock", "pool_idle").stdout
    assert "cf_client_idle" in chosen and "cf_proxy_read" not in chosen and "nginx" not in chosen


def test_a_timer_has_a_page_with_its_source(tmp_path: Path) -> None:
    """Number, condition, what resets it, how it shows, and how that is known."""
    page = typed(tmp_path, "atlas", "nginx_read").stdout
    assert "60 s (as it comes)" in page and "nginx.org ngx_http_proxy_module (2026-07-22)" in page
    assert "http before the headers; fin or cut after the headers (504)" in page
    assert "client profile claude-code 2.1.86/bytes/any" in typed(tmp_path, "atlas", "undici_body").stdout


@pytest.mark.parametrize("written", ["300", "300s", "5m", "300.0"])
def test_a_number_is_looked_up_on_every_clock(tmp_path: Path, written: str) -> None:
    """What has it as a silence, as a total and as a wait for headers; nobody is named."""
    found = json.loads(typed(tmp_path, "atlas", written, "--json").stdout)
    assert {one["clock"] for one in found["candidates"]} >= {
        "idle",
        "wall",
        "headers",
        "pool_idle",
        "unacked",
    }
    assert not any(one["named"] for one in found["candidates"])


def test_what_is_known_of_the_ending_decides(tmp_path: Path) -> None:
    """The client reset it after 300 s of silence: its watchdogs are named, the rest is excluded with reasons."""
    asked = ("atlas", "300", "--side", "client", "--mechanism", "rst", "--clock", "idle")
    said = typed(tmp_path, *asked).stdout
    assert said.startswith("Suspected: one of") and "Named:\n  cc_byte_watchdog_gateway" in said
    assert (
        "Cannot be it:" in said and "it would show as fin, not as rst" in said and "By chance alone" in said
    )
    known = json.loads(typed(tmp_path, *asked, "--client", "claude-code 2.1.329", "--json").stdout)
    assert "bun_fetch_idle" in {one["id"] for one in known["excluded"]}


def test_the_number_again_and_again_is_evidence(tmp_path: Path) -> None:
    """Three endings at 350 s name its owners; one does not."""
    asked = ("atlas", "350", "--clock", "idle")
    assert "Named:" not in typed(tmp_path, *asked).stdout
    assert "Named:\n  aws_nlb_tcp" in typed(tmp_path, *asked, "--again", "349.5", "--again", "350.2").stdout


def test_what_cannot_be_meant_ends_with_advice(tmp_path: Path) -> None:
    """A name that is none is exit code 1; options that weigh nothing are exit code 2."""
    assert typed(tmp_path, "atlas", "no\x1bsuch").exit_code == 1
    assert "\x1b" not in typed(tmp_path, "atlas", "no\x1bsuch").stderr
    assert typed(tmp_path, "atlas", "--side", "client").exit_code == 2
    assert typed(tmp_path, "atlas", "0").exit_code == 2
    assert typed(tmp_path, "atlas", "300", "--layer", "nat").exit_code == 2
    assert typed(tmp_path, "atlas", "300", "--again", "soon").exit_code == 2
