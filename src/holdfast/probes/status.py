"""What does the provider itself publish about its troubles?

A status page is written by people, late, and of what they hold for large: what it lists happened, and what it does not
list may have happened. Pages made by Statuspage, or that answer as it does, have it as JSON for everybody
(https://www.mongodb.com/docs/api/doc/cloud-status describes the same answers): `summary.json` for now, `incidents.json`
for the last 50 incidents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard

from holdfast.flight.flights import counted
from holdfast.flight.instant import now
from holdfast.flight.redact import safe
from holdfast.probes import document
from holdfast.probes.asking import UNKNOWN, Cost, Options, not_here
from holdfast.probes.net import NoConnection, Stop
from holdfast.probes.result import Finding, Grade, Result
from holdfast.probes.target import Target

NAME = "status"
ASKS = "The provider's public status page: how it is now, and its incidents (two GETs, no key)."
SAYS = "What the provider published about itself: incidents that are open, and those of the past with their times."
DOES_NOT_SAY = (
    "That nothing is wrong where nothing is listed: pages are written by hand, late, and small troubles are left out; nor "
    "that an incident was met here. Of the time before the oldest incident that is listed it says nothing."
)
SUMMARY, PAST = "/api/v2/summary.json", "/api/v2/incidents.json"
MOST_INCIDENTS = 100
LATEST_MS = 253_402_300_800_000
"The year 10000: later times cannot be told."
LONGEST_NAME = 120
MOST_COMPONENTS = 20
SERIOUS = frozenset({"major", "critical"})
OVER = frozenset({"resolved", "postmortem"})


@dataclass(frozen=True, slots=True)
class Page:
    """Whose page it is."""

    host: str
    url: str
    serves: tuple[str, ...]
    """Parts of the names of components that a client of `host` needs: an incident of others alone is none of its. Empty
    where that is not known: then all count."""
    source: str


PAGES = (
    Page(
        "api.anthropic.com", "https://status.claude.com", ("api.anthropic.com", "Claude Code"),
        "The page's own name for the component is `Claude API (api.anthropic.com)`; it stood at status.anthropic.com "
        "before (https://github.com/todddube/vstat/releases/tag/v1.3.1, 2026-01).",
    ),
    Page(
        "api.openai.com", "https://status.openai.com", (),
        "https://community.openai.com/t/receiving-openai-api-status-update-information-through-a-webhook/523947",
    ),
)  # fmt: skip
"Knowledge of 2026, and not complete: `--page` names another."


@dataclass(frozen=True, slots=True)
class Incident:
    """One trouble as it was published; times are integer milliseconds, UTC."""

    name: str
    impact: str
    "`none`, `minor`, `major`, `critical`, `maintenance`."
    begun_wall_ms: int
    ended_wall_ms: int | None
    "None as long as it is open."
    components: tuple[str, ...] = ()
    concerns: bool | None = None
    "Whether one of its components serves the target; None where the page does not say."


@dataclass(frozen=True, slots=True)
class Published:
    """What a kept result knows of the past."""

    page: str
    since_ms: int
    "The oldest incident's begin: of the time before it nothing is known."
    until_ms: int
    "When it was asked."
    incidents: tuple[Incident, ...]

    def covers(self, at_ms: int) -> bool:
        return self.since_ms <= at_ms < self.until_ms


def page_of(host: str) -> Page | None:
    """The page of an upstream; None where none is known."""
    return next((one for one in PAGES if one.host == host.lower().rstrip(".")), None)


def cost(target: Target, options: Options) -> Cost:
    if options.page is None:
        return Cost()
    return Cost(2 * document.COST.connections, 2 * document.COST.bytes, 2 * document.COST.seconds)


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    page = options.page
    if page is None:
        name_it = f"holdfast probe status{target.typed} --page URL"
        why = f"no status page of {target.host} is known; name it, if it has one: {name_it}"
        return Finding(Grade.NOT_MEASURED, not_here(why))
    known = page_of(target.host)
    serves = known.serves if known is not None and known.url.endswith(f"//{page.host}") else ()
    try:
        summary = document.fetch(page, page.prefix + SUMMARY, options, stop)
    except (NoConnection, document.NotRead) as error:
        if stop():
            return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
        # That the page is away says nothing of the upstream: nothing is broken that a turn needs.
        return Finding(Grade.NOT_MEASURED, not_here(f"{page.authority} could not be read: {error}"))
    try:
        past = document.fetch(page, page.prefix + PAST, options, stop)
    except (NoConnection, document.NotRead):
        past = None
    return verdict(page.host_header, serves, summary, past, now().wall_ms)


def verdict(page: str, serves: Sequence[str], summary: Any, past: Any, now_ms: int) -> Finding:
    """Weigh what the page says; `past` is None where only the present could be read."""
    told = _dict(summary)
    status = _dict(told.get("status"))
    if not isinstance(status.get("indicator"), str):
        return Finding(Grade.NOT_MEASURED, not_here(f"{page} does not answer as status pages do"))
    indicator = _short(status["indicator"])
    listed = _incidents(_dict(past).get("incidents"), serves)
    incidents = {**listed, **_incidents(told.get("incidents"), serves)}
    known = sorted(incidents.values(), key=lambda one: -one.begun_wall_ms)[:MOST_INCIDENTS]
    name = _short(_dict(told.get("page")).get("name")) or page
    facts = {
        "page": page,
        "page_name": name,
        "indicator": indicator,
        "description": _short(status.get("description")),
        "covered_from_wall_ms": min((one.begun_wall_ms for one in known), default=None) if listed else None,
        "incidents": [
            {
                "name": one.name, "impact": one.impact, "begun_wall_ms": one.begun_wall_ms,
                "ended_wall_ms": one.ended_wall_ms, "components": list(one.components), "concerns": one.concerns,
            }
            for one in known
        ],
    }  # fmt: skip
    running = [one for one in known if one.ended_wall_ms is None and one.begun_wall_ms <= now_ms]
    mine = [one for one in running if one.concerns is not False]
    text = f'{name} says "{facts["description"] or indicator}" ({indicator})'
    text += f"; open: {'; '.join(_told(one) for one in running[:3])}" if running else "; no incident is open"
    if len(running) > 3:
        text += f" and {len(running) - 3} more"
    if running and not mine:
        text += f"; none of them names what {serves[0]} needs"
    if listed:
        text += f"; {counted(len(listed), 'incident')} published since {_day(facts['covered_from_wall_ms'])}"
    else:
        text += "; its past could not be read" if past is None else "; it lists no past"
    elsewhere = bool(running) and not mine
    if any(one.impact in SERIOUS for one in mine) or (indicator in SERIOUS and not elsewhere):
        return Finding(Grade.SUSPECTED, text, facts)
    return Finding(Grade.NOTED if running or indicator != "none" else Grade.FINE, text, facts)


def _incidents(rows: Any, serves: Sequence[str]) -> dict[str, Incident]:
    """By their ids; what has no begin is none."""
    found = {}
    for row in rows[:MOST_INCIDENTS] if isinstance(rows, list) else []:
        told = _dict(row)
        begun = _ms(told.get("started_at")) or _ms(told.get("created_at"))
        if begun is None:
            continue
        ended = _ms(told.get("resolved_at"))
        if ended is None and told.get("status") in OVER:
            ended = _ms(told.get("updated_at")) or begun
        parts = told.get("components")
        names = [_short(_dict(one).get("name")) for one in parts] if isinstance(parts, list) else []
        components = tuple(one for one in names if one)[:MOST_COMPONENTS]
        concerns = (
            any(part.lower() in one.lower() for part in serves for one in components)
            if serves and components
            else None
        )
        key = str(told.get("id") or f"{told.get('name')}{begun}")
        name, impact = _short(told.get("name")) or "without a name", _short(told.get("impact")) or "none"
        found[key] = Incident(name, impact, begun, ended, components, concerns)
    return found


def published(result: Result) -> Published | None:
    """What a kept result tells of the past; None of other probes, and of one that knows no past. Any shape is survived."""
    since = result.facts.get("covered_from_wall_ms")
    if result.name != NAME or not _is_ms(since):
        return None
    rows = result.facts.get("incidents")
    incidents = []
    for row in rows if isinstance(rows, list) else []:
        told = _dict(row)
        begun, ended, concerns = told.get("begun_wall_ms"), told.get("ended_wall_ms"), told.get("concerns")
        if _is_ms(begun) and (ended is None or _is_ms(ended)):
            name, impact = _short(told.get("name")), _short(told.get("impact"))
            incidents.append(
                Incident(name, impact, begun, ended, (), concerns if isinstance(concerns, bool) else None)
            )
    page = _short(result.facts.get("page_name")) or "the page"
    return Published(page, since, result.begun_wall_ms, tuple(incidents))


def _is_ms(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < LATEST_MS


def _ms(said: Any) -> int | None:
    """An ISO time as milliseconds; UTC where it names no zone."""
    if not isinstance(said, str):
        return None
    try:
        at = datetime.fromisoformat(said)
        told = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return told if _is_ms(told) else None


def _short(said: Any) -> str:
    text = safe(said) if isinstance(said, str) else ""
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _told(one: Incident) -> str:
    return f"{one.name} ({one.impact}, since {_minute(one.begun_wall_ms)} UTC)"


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _day(at_ms: Any) -> str:
    return _minute(at_ms)[:10]
