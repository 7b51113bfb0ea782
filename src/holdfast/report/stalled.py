"""A public report on stalls that left no error: what its fields say, from the rows of the table of stalls.

The client logs nothing of a freeze, so a report on one has no code; times and lengths are what it has, and request ids
where telemetry that could not be sent tells them.
Rows come with their names replaced, and lines go out as Markdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.diagnosis.fix import broke, in_own_words
from holdfast.flight.flights import counted
from holdfast.report.markdown import block, words

Rows = Sequence[Mapping[str, Any]]

EXAMPLES = 12
"Stalls shown one by one, the longest of them."
SHOULD = (
    "A wait for an answer in which nothing comes ends in an error that says so, or shows that it is alive.",
    "A stall is logged with its request id, its length and what the client did about it.",
)
ASKS = (
    "What happened to these requests on your side at these times? No id of them is in the client's logs.",
    "Log a stall with its request id, how long nothing came, and whether pings did: transcripts have no word for it.",
    "Does a client that hears nothing give up by itself, after which time, and which setting says so?",
)


def title(rows: Rows) -> str:
    """`Answers stall without an error: 10 times, for up to 896 s`; `Answers break without an error: 24 times`."""
    longest = max((row["silent_s"] or 0.0 for row in rows), default=0.0)
    often = "once" if len(rows) == 1 else f"{len(rows)} times"
    return f"Answers {_do(rows)} without an error: {often}" + (
        f", for up to {longest:.0f} s" if longest else ""
    )


def _do(rows: Rows) -> str:
    """What answers do there: some stall, some break, or both."""
    breaks = sum(map(broke, rows))
    return "stall" if not breaks else "break" if breaks == len(rows) else "stall or break"


def spread(rows: Rows) -> str:
    """How wide it is, and how long."""
    lengths = sorted(row["silent_s"] for row in rows if row["silent_s"] is not None)
    sessions, versions = {row["session"] for row in rows}, {row["version"] for row in rows if row["version"]}
    told = f"{'Stalls' if _do(rows) == 'stall' else 'They'} came in {counted(len(sessions), 'session')}"
    told += f" and {counted(len(versions), 'version')}." if versions else "."
    if lengths:
        told += (
            f" Half of those whose length is known were silent for {lengths[len(lengths) // 2]:.0f} s or longer, "
            f"{sum(lengths) / 3600:.1f} hours in all."
        )
    return told


def messages(rows: Rows) -> list[str]:
    """What the client's debug log and telemetry said of them, where there are any."""
    said = Counter(row["fits"] for row in rows if in_own_words(row) and row["fits"])
    return block([f"{number} x  {words_}" for words_, number in said.most_common()]) if said else []


def examples(rows: Rows, utc: Callable[[int], str]) -> list[str]:
    """The longest, in the order of time: when each was over, and how long nothing came."""
    chosen = sorted(rows, key=lambda row: -(row["silent_s"] or 0.0))[:EXAMPLES]
    lines = []
    for row in sorted(chosen, key=lambda row: row["at_ms"]):
        length = f", {row['silent_s']:.0f} s silent" if row["silent_s"] is not None else ", length not known"
        length = "" if broke(row) else length
        fits = f", {row['fits']}" if row["fits"] else ""
        fits += f", {row['request_id']}" if row["request_id"] else ""
        lines.append(
            f"{utc(row['at_ms'])}  {row['session']}, version {row['version'] or 'not known'}: {row['kind']}"
            f"{length}{fits}"
        )
    return block(lines)


def steps(rows: Rows, requests: int) -> list[str]:
    """In the order in which somebody would try it. `requests` is 0 where no transcript tells how many there were."""
    often = f"Of {requests / len(rows):,.0f} requests about one does; it" if requests else "It"
    return ["1. Work with Claude Code in the usual way.", f"2. {often} does not {_do(rows)} on demand."]


def by_version(rows: Rows, versions: Rows) -> list[str]:
    """Stalls beside the answered requests of each version, most stalls first."""
    answered = {row["version"]: row["answered"] for row in versions}
    stalls = Counter(row["version"] for row in rows if row["version"])
    noun = "stall" if _do(rows) == "stall" else "time"
    return [
        f"- {words(version)}: {counted(number, noun)}, {answered.get(version, 0):,} requests answered"
        for version, number in stalls.most_common(6)
    ] or ["Not known."]
