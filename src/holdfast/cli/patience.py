"""The setting that moves the limit which a client's turns met, by the kind of that limit and by the age at which it was met.

A client has several limits, and another variable moves each: what makes it wait longer in a silent stream moves nothing of
the time that it gives a request. Which version has which is measured (`gateway/profiles.toml`); where that does not tell
which was met, or that a variable moves it, nothing is changed, and the reason is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import claude, settings_file
from holdfast.cli.viewing import local_time
from holdfast.flight.redact import clean
from holdfast.flight.state import state_path

if TYPE_CHECKING:
    from holdfast.diagnosis.fix import Setting
    from holdfast.gateway.profiles import Limit, Profile

LONGER_S = 900.0
"""The patience that is proposed, where the age that was met is not longer itself. 420000 and 900000 were measured to be
followed; the client's own cap is twice as much."""
TOLERANCE_S = 5.0
TOLERANCE = 0.03
"What an age may lie off a limit and still be that limit's: hooks and clocks."
WHAT_ELSE = "what the client was started with may differ from its settings: env | grep TIMEOUT"


@dataclass(frozen=True, slots=True)
class _Moved:
    """What one version needs."""

    env: Mapping[str, str]
    name: str
    before_s: float
    after_s: float
    next: str
    "A sentence on the limit that ends it then, where that is another one; empty, or begins with a blank."
    measured: tuple[str, ...]
    "Of each limit that is moved, the version and what was measured."
    untried: tuple[str, ...]
    "Variables of which no value beyond a limit's default was measured to be followed, with the version."


class NoSetting(Exception):
    """Nothing to propose; the text says why."""


def by_patience(
    met: Sequence[Mapping[str, Any]],
    versions: Sequence[str],
    mine: claude.Source,
    managed: list[claude.Source],
    environment: Mapping[str, str],
    path: Path,
) -> Setting:
    """A longer limit for the `versions` in use, of those that were `met`: rows of the table `client limits`.

    Raises `NoSetting`.
    """
    from holdfast.cli.doctor_now import profile_of
    from holdfast.diagnosis.fix import Setting

    if not versions:
        raise NoSetting("which versions of the client are in use is not known")
    if not met:
        raise NoSetting(
            "the client has no word of these ends, so which of its limits was met is not known: holdfast flights"
        )
    rows = [row for row in met if row["version"] in versions]
    if not rows:
        then = ", ".join(sorted({row["version"] for row in met}))
        raise NoSetting(f"only versions that are no longer in use met their limit ({clean(then)})")
    sources = [mine, *managed]
    if claude.look_up(claude.BASE_URL, environment, sources) is None:
        raise NoSetting(
            "the client's limits were measured behind a base URL only, and yours has none: straight at the API another "
            "one may end first"
        )
    kind = Counter(row["limit"] for row in rows).most_common(1)[0][0]
    ages: dict[str, list[float]] = {}
    for row in rows:
        if row["limit"] == kind:
            ages.setdefault(row["version"], []).extend([] if row["age_s"] is None else [row["age_s"]])
    seen = {**environment, **claude.timer_variables(environment, sources)}
    fixed = frozenset(name for source in managed for name in source.env)
    moved = []
    for version in sorted(ages):
        try:
            moved.append(_moved(profile_of(version), kind, max(ages[version], default=None), seen, fixed))
        except _Already as already:
            found = claude.look_up(already.variable, environment, sources)
            raise NoSetting(_waits_already(already.variable, found, path)) from None
    env = {name: value for one in moved for name, value in one.env.items()}
    shortest = min(moved, key=lambda one: one.after_s)
    what = "in a silent stream" if kind == _silence() else f"for an answer ({shortest.name})"
    says = (
        f"let the client wait longer {what}, {shortest.after_s:.0f} s instead of {shortest.before_s:.0f} s "
        f"({', '.join(env)}). A connection that is dead is then noticed as much later.{shortest.next}"
    )
    if (mine_of := sum(row["limit"] == kind for row in rows)) < len(met):
        says += f" It is the limit of {mine_of} of these {len(met)} failures."
    if untried := list(dict.fromkeys(one for each in moved for one in each.untried)):
        says += f" That it lengthens the time was not measured of {' and '.join(untried)}: only shorter times were tried."
    told = "; ".join(dict.fromkeys(one for each in moved for one in each.measured))
    told = f"behind a base URL as yours: {told}. Other values were not tried."
    return Setting(env, says, told)


class _Already(Exception):
    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable


def _silence() -> str:
    from holdfast.diagnosis.own_limits import SILENCE

    return SILENCE


def _moved(
    profile: Profile, kind: str, age_s: float | None, seen: Mapping[str, str], fixed: frozenset[str]
) -> _Moved:
    """What makes this version wait longer than it did. Raises `NoSetting`, `_Already`."""
    version = profile.name.removeprefix("claude-code ").partition(" ")[0]
    unmeasured = f"no setting was measured to lengthen the patience of the versions in use ({clean(version)})"
    if not profile.measured:
        raise NoSetting(unmeasured)
    if kind != _silence() and age_s is None:
        raise NoSetting(
            f"how old the requests were whose time was up is not on record, so which limit was met is not known: {WHAT_ELSE}"
        )
    default = {name: value for name, value in seen.items() if name not in _movers(profile)}
    found = _phase(profile, kind, age_s, seen) or _phase(profile, kind, age_s, default)
    if found is None and not any(_phases(profile, kind, seen)):
        raise NoSetting(unmeasured)
    if found is None:
        known = sorted({f"{one.seconds:.0f} s" for _, phase in _phases(profile, kind, seen) for one in phase})
        raise NoSetting(
            f"no limit of {version} was measured that ends a {kind.rpartition(' ')[2]} after {age_s:.0f} s (measured: "
            f"{', '.join(known)}); {WHAT_ELSE}"
        )
    streaming, met = found
    need = met.seconds if age_s is None else max(age_s, met.seconds if _near(met.seconds, age_s) else 0.0)
    now = _limits(profile, kind, seen, streaming)
    set_now = [one.variable for one in met.moved_by if one.variable in seen]
    longer = str(round(max(LONGER_S, 1.5 * need) * 1000))
    if set_now and (
        min((one.seconds for one in now), default=0.0) > need
        or (
            age_s is None
            and any(seen[name].isdigit() and float(seen[name]) >= LONGER_S * 1000 for name in set_now)
        )
    ):
        raise _Already(set_now[0])
    env: dict[str, str] = {}
    measured: dict[str, None] = {}
    untried: dict[str, None] = {}
    while blocked := [
        one for one in _limits(profile, kind, {**seen, **env}, streaming) if one.seconds <= need
    ]:
        left = {
            name: sum(
                one.seconds <= need
                for one in _limits(profile, kind, {**seen, **env, name: longer}, streaming)
            )
            for name in dict.fromkeys(mover.variable for one in blocked for mover in reversed(one.moved_by))
            if name not in fixed and name not in env
        }
        best = min(left, key=lambda name: left[name], default=None)
        if best is None or left[best] >= len(blocked):
            raise NoSetting(
                f"{unmeasured}: nothing was measured to move what ends a {kind.rpartition(' ')[2]} after {need:.0f} s there"
            )
        env[best] = longer
        by_best = [mover for one in blocked for mover in one.moved_by if mover.variable == best]
        untried |= {} if all(mover.lengthens for mover in by_best) else {f"{best} on {version}": None}
        measured |= {f"on {version} {one.source.partition(': ')[2] or one.source}": None for one in blocked}
    then = _limits(profile, kind, {**seen, **env}, streaming)
    first = min(then, key=lambda one: one.seconds)
    of_met = next((one.seconds for one in then if one.name == met.name), first.seconds)
    more = ""
    if kind != _silence() and first.seconds < of_met:
        more = f" Where no headers come either, its limit of {first.seconds:.0f} s for those stays."
    after = of_met if more else first.seconds
    name = "a streaming request's headers" if streaming else "a request without streaming"
    return _Moved(env, name, min(need, met.seconds), after, more, tuple(measured), tuple(untried))


def _movers(profile: Profile) -> frozenset[str]:
    return frozenset(mover.variable for limit in profile.limits for mover in limit.moved_by)


def _limits(profile: Profile, kind: str, env: Mapping[str, str], streaming: bool) -> list[Limit]:
    """The limits that a wait of this kind can meet."""
    from holdfast.gateway.profiles import limits_for

    clocks = ("bytes", "events") if kind == _silence() else ("headers", "total")
    return [one for one in limits_for(profile, {}, env, streaming) if one.clock in clocks]


def _phases(profile: Profile, kind: str, env: Mapping[str, str]) -> Iterator[tuple[bool, list[Limit]]]:
    for streaming in (True,) if kind == _silence() else (True, False):
        if phase := _limits(profile, kind, env, streaming):
            yield streaming, phase


def _phase(
    profile: Profile, kind: str, age_s: float | None, env: Mapping[str, str]
) -> tuple[bool, Limit] | None:
    """Whether the request streamed, and the limit that it met: that of its age, or of a silence without one the shortest."""
    for streaming, phase in _phases(profile, kind, env):
        near = [one for one in phase if age_s is None or _near(one.seconds, age_s)]
        if near:
            return streaming, min(near, key=lambda one: one.seconds)
    return None


def _near(seconds: float, age_s: float) -> bool:
    return abs(seconds - age_s) <= max(TOLERANCE_S, TOLERANCE * seconds)


def _waits_already(variable: str, found: claude.Found | None, path: Path) -> str:
    """Why it is not proposed again, and how to see what came of it."""
    place = f"={found.value} ({clean(found.place)})" if found is not None else ""
    said = f"the longer patience is set already: {variable}{place}"
    made = [one for one in settings_file.made(state_path(), path) if variable in one.added]
    if not made:
        return f"{said}; what failed before it was set stays in the record"
    at = local_time(made[0].at_ms, "%Y-%m-%dT%H:%M")
    return (
        f"{said}, by the doctor, on {local_time(made[0].at_ms, '%Y-%m-%d %H:%M')}. What failed before stays in the "
        f"record; what failed since: holdfast diagnose --since {at}"
    )
