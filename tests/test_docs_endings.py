"""The page of endings says what the client profiles say."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.gateway.profiles import Profile, measured_profiles

PAGE = (Path(__file__).parents[1] / "docs" / "endings-clients-accept.md").read_text(encoding="utf-8")
MEASURED = [profile for profile in measured_profiles() if profile.version]
TOLD = ("nothing", "start", "block", "thinking", "text", "tool", "all")


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("how", ["reset", "cut", "err"])
def test_every_break_has_its_row(told: str, how: str) -> None:
    """One column for each measured client, in the order of the data."""
    cells = [profile.breaks.get(told, {}).get(how, "not measured") for profile in MEASURED]

    assert f"| {told} | {how} | {' | '.join(cells)} |" in PAGE.splitlines()


@pytest.mark.parametrize("profile", MEASURED, ids=lambda profile: profile.name)
def test_every_measured_client_is_named_with_its_version(profile: Profile) -> None:
    """A fact about a client is a fact about a version."""
    assert profile.version in PAGE
    assert f"**{profile.explain_status}**" in PAGE
    assert profile.compacts_on in PAGE
