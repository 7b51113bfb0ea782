"""The page of healing says what the healing table says: every row, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.cli.catalogue import CATALOGUE as SETTINGS
from holdfast.cli.catalogue import show_seconds
from holdfast.cli.explain import clients, heard, needs
from holdfast.flight import moments as m
from holdfast.gateway import doomed, heal, outage, retry
from holdfast.gateway.heal import TABLE, Row
from holdfast.gateway.profiles import measured_profiles
from holdfast.gateway.settings import RetryRules, Timeouts
from holdfast.lab.scenarios import CATALOGUE, Scenario
from tests.gateway.bare import between
from tests.gateway.hosted import Call

PAGE = (Path(__file__).parents[1] / "docs" / "healing.md").read_text(encoding="utf-8")
MENDED = [scenario for scenario in CATALOGUE.values() if scenario.remedy is not None]


def cells(row: Row) -> list[str]:
    """The remedy, what was heard, and for whom."""
    return [row.remedy.value, heard(row), ", ".join((clients(row), *needs(row)))]


def test_the_page_has_the_rows_of_the_table_in_their_order() -> None:
    """The first that fits is taken, so the order is part of what is said."""
    table = PAGE.partition("## The healing table")[2].partition("\n## ")[0]
    shown = [line[2:-2].split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]

    assert [row[:3] for row in shown] == [cells(row) for row in TABLE]
    assert all(len(row) == 5 and row[3] and row[4] for row in shown)


def test_every_setting_that_heals_is_on_the_page() -> None:
    """What can be switched is named where it is explained."""
    for name in (
        "retries",
        "retry-share",
        "retry-wait",
        "on-doomed",
        "outage-patience",
        "splice",
        "hold",
        "hedge",
        "http2",
    ):
        assert f"`--{name}" in PAGE
    for name in ("ip", "connect-timeout", "tcp-keepalive", "tcp-user-timeout", "quiet"):
        assert f"--{name}" in PAGE
    (choices,) = (option.choices for option in SETTINGS if option.name == "on-doomed")
    for choice in choices:
        assert f"| `{choice}`" in PAGE


@pytest.mark.parametrize(
    "sentence",
    [
        f"`--retries {RetryRules().retries}` for one question",
        f"or {retry.FORGET_S / 60:g} minutes without news",
        f"`--retry-share {RetryRules().retry_share:g}`",
        f"{RetryRules().retry_floor} in a minute are always allowed",
        f"after {retry.BREAKER_FAILURES} requests in a row, of at least {retry.BREAKER_KEYS} questions",
        f"rest for {retry.BREAKER_S:g} s, then one goes to see; up to {retry.BREAKER_LONGEST_S:g} s",
        f"then after {RetryRules().retry_wait_s:g} s, four times as long each time up to {retry.LONGEST_BACK_OFF_S:g} s",
        f"obeyed up to {retry.LONGEST_RETRY_AFTER_S:g} s",
        f"the second *cut* within {heal.CUTS_COUNT_S / 60:g} minutes is put off by {heal.CUT_WAITS_S[1]:g} s",
        f"the third by {heal.CUT_WAITS_S[2]:g} s, the next by {heal.CUT_WAITS_S[3]:g} s",
        f"`--outage-patience {show_seconds(Timeouts().outage_s)}`",
        f"at the latest {outage.LONGEST_BACK_OFF_S:g} s after its return",
        f"`--quiet {show_seconds(Timeouts().quiet_s)}`",
        f"After {doomed.ENOUGH} breaks or more",
        f"accidents would in {doomed.MOST_BOUND:.0%} of such cases",
        f"too large, {doomed.ENOUGH_REQUESTS}, and smaller",
        f"its repeats for {doomed.VALID_S:g} s",
    ],
)
def test_the_numbers_are_the_programs(sentence: str) -> None:
    """A number that changes in the code changes here."""
    assert sentence in PAGE


def test_what_clients_do_with_a_doomed_request_is_what_was_measured() -> None:
    """The status that all show, and who compacts."""
    profiles = [profile for profile in measured_profiles() if profile.version]
    (status,) = {profile.explain_status for profile in profiles}
    (compacts,) = (profile for profile in profiles if profile.compacts_on)
    (row,) = re.findall(r"^\| `compact` .*$", PAGE, flags=re.MULTILINE)

    assert f"status {status} and a text" in PAGE
    assert f'"{compacts.compacts_on}"' in row
    assert f"| Claude Code {compacts.version} |" in PAGE


def test_the_waits_between_attempts_are_on_the_page_of_timers() -> None:
    """They are timers like others, though no settings."""
    page = (Path(__file__).parents[1] / "docs" / "timeouts.md").read_text(encoding="utf-8")

    assert (
        f"### retries: at once, then {RetryRules().retry_wait_s:g} s to {retry.LONGEST_BACK_OFF_S:g} s\n"
        in page
    )
    assert f"`retry-after` of upstream is obeyed up to {retry.LONGEST_RETRY_AFTER_S:g} s" in page
    assert f"### doomed: {doomed.VALID_S:g} s\n" in page


@pytest.mark.parametrize("scenario", MENDED, ids=lambda scenario: scenario.name)
def test_a_scenario_is_healed_as_the_lab_says(scenario: Scenario) -> None:
    """A user who plays it sees this remedy, and no error."""
    with between(scenario.first) as (provider, gateway):
        heard = Call(gateway.port).hear_all()

        gateway.kept.wait_for(m.TurnEnded)
        (record,) = gateway.kept.records.values()
        assert record.healed == scenario.remedy
        assert b"event: error" not in heard and b"event: message_stop" in heard
        assert (b": holdfast: the answer broke here" in heard) == (scenario.remedy != "again")
        asked_by_the_client = 1 if scenario.remedy == "cut" else 0
        assert provider.generated + asked_by_the_client == scenario.generated
