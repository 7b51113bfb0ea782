"""The page of timers says what the program does: every timer, every size, every limit of a measured client."""

from __future__ import annotations

import math
from dataclasses import Field, fields
from pathlib import Path

import pytest

from holdfast.cli.catalogue import CATALOGUE, show_bytes, show_seconds
from holdfast.gateway import engine, leaving, orphans, outage, sleep, sockets
from holdfast.gateway.deadlines import Patience
from holdfast.gateway.profiles import Limit, Profile, measured_profiles
from holdfast.gateway.settings import Limits, Sockets, Timeouts
from holdfast.gateway.upstream import connection, dial, pool, watch

PAGE = (Path(__file__).parents[1] / "docs" / "timeouts.md").read_text(encoding="utf-8")
SETTINGS = {option.field: option.name for option in CATALOGUE if option.field}

CLOCKS = {
    "headers": "the request, until headers",
    "bytes": "the last byte",
    "events": "the last event",
    "total": "the request, in all",
    "told": "the request, or the last byte",
}
APPLIES = {"any": "all", "streaming": "streaming", "whole": "not streaming"}


@pytest.mark.parametrize("field", fields(Timeouts), ids=lambda field: field.name)
def test_every_timer_has_a_section_with_its_default(field: Field[float]) -> None:
    """A timer is found under the name of its setting, or under its own where it is none."""
    default = show_seconds(getattr(Timeouts(), field.name))
    name = SETTINGS.get(field.name)
    heading = f"### `{name}`: {default}" if name else f"### {_spoken(field.name)}: {default}"

    assert f"\n{heading}\n" in PAGE


def _spoken(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


@pytest.mark.parametrize("field", fields(Limits), ids=lambda field: field.name)
def test_every_size_has_a_row_with_its_default(field: Field[int]) -> None:
    """The sizes are a table: name, default, what happens beyond."""
    default = getattr(Limits(), field.name)
    shown = str(default) if field.name == "connections" else show_bytes(default)

    assert f"\n| `{SETTINGS[field.name]}` | {shown} | " in PAGE


@pytest.mark.parametrize(
    "sentence",
    [
        f"### linger: {Patience(None, 1, 1).linger_s:g} s",
        f"### pool: {pool.IDLE_S:g} s",
        f"### reset hold: {connection.RESET_HOLD_S:g} s",
        f"### late failure: {engine.LATE_FAILURE_S:g} s",
        f"tried {dial.STAGGER_S:g} s apart",
        f"left until the others had {dial.AVOIDED_STAGGER_S:g} s",
        f"tried anew every {dial.ANEW_S:g} s",
        f"is given {dial.ANEW_S:g} s where the name was resolved before",
        f"after {outage.BACK_OFF_S:g} s, then after twice as long, and at most {outage.LONGEST_BACK_OFF_S:g} s after",
        f"### `tcp-keepalive`: {Sockets().keepalive}",
        f"acknowledgement: {Sockets().upstream_user_timeout_s:g} s by default",
        f"### fast probes: {connection.PROBED_S:g} s",
        f"a dead one shows within {sockets.SOON.dead_after_s + 1} s",
        f"compared every {watch.TICK_S:g} s: more than {sleep.LEAST_S:g} s apart is a sleep",
        f"unacknowledged for {orphans.LIFELESS_S:g} s, the new request takes over",
        f"or {leaving.SHARE_OF_LIMIT:.0%} of the limit",
        f"It is {Profile('').header_share:g} of the client's own limit",
        f"One tenant can have {orphans.ORPHANS_PER_TENANT} orphans, and more where more of its turns were lately followed",
    ],
)
def test_what_is_no_setting_is_told_with_its_number(sentence: str) -> None:
    """Numbers that nobody can change are on the page as well."""
    assert sentence in PAGE


ROWS = [(profile, limit) for profile in measured_profiles() for limit in profile.limits]


@pytest.mark.parametrize(("profile", "limit"), ROWS, ids=lambda value: value.name)
def test_every_limit_of_a_measured_client_has_its_row(profile: Profile, limit: Limit) -> None:
    """The clients' own timers, as in the data; the expected row is shown where one is missing."""
    assert row(profile, limit) in PAGE.splitlines()


def test_there_are_no_other_rows() -> None:
    """A limit that left the data leaves the page."""
    table = PAGE.partition("## Timers of the clients")[2]
    shown = [line for line in table.splitlines() if line.startswith("| ")][2:]

    assert shown == [row(profile, limit) for profile, limit in ROWS]


def row(profile: Profile, limit: Limit) -> str:
    """A limit as a row of the table."""
    seconds = "-" if limit.seconds == math.inf else f"{limit.seconds:g} s"
    switch = f"off unless `{limit.armed_by}`" if limit.armed_by else ""
    switch = f"gone if `{limit.off_by}` is false" if limit.off_by else switch
    setters = [f"`{name}`" for name in (*limit.headers, *(mover.variable for mover in limit.moved_by))]
    cells = (profile.name, limit.name, APPLIES[limit.applies], CLOCKS[limit.clock], seconds, switch)
    return " | ".join(("| " + cells[0], *cells[1:], ", ".join(setters) + " |"))
