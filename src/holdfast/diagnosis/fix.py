"""The one fix that would have helped most: what to change or to type, by what was found. Values in, values out.

The first advice of a diagnosis is the one that would have saved most turns. What can be done about it here depends on
the machine: whether a gateway runs that the client's settings could name, and whether a setting of the client's was
measured to move the limit that ended its turns. Where neither is so, no setting is the fix, and there is a line to type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.flight.endings import Side
from holdfast.flight.flights import code_sentence, counted
from holdfast.sessions.stalls import BROKEN, OWN_WORDS

SETTING, LINE, NOTHING = "setting", "line", "nothing"

OWN_LIMIT = frozenset(("client-limit", "seen-client"))
"Findings that a longer patience of the client's would have spared."

TO_TYPE: Mapping[str, str] = {
    "edge-timeout": "/compact",
    "large-request": "/compact",
    "upload-loss": "/compact",
    "ipv6-path": "holdfast run --ip 4 -- claude",
    "http2": "holdfast run --no-http2 -- claude",
    "mtu-black-hole": "holdfast probe mtu",
    "resolver": "holdfast probe resolve",
    "tls-interception": "holdfast probe handshake",
    "seen-gateway": "holdfast flight --last",
    "refused": "holdfast run --check -- claude",
}
"Findings that another line than the gateway's helps. Those whose remedy names the gateway need no row."
TO_NOTE: Mapping[str, str] = {
    "rate-limit": "fewer at a time",
    "machine-overload": "fewer at a time",
    "many-sessions": "fewer sessions at a time",
    "subagents": "fewer subagents at a time",
    "seen-path": "on another network",
    "machine-sleep": "kept awake",
    "seen-machine": "kept awake",
}
"Findings that nothing that is typed helps: what is to be noted once it is changed."
NOTE = "Once it is changed, note when, so that the next report compares before and after:"
ASLEEP = frozenset(("machine-sleep", "seen-machine"))
AWAKE: Mapping[str, str] = {"linux": "systemd-inhibit --what=sleep claude", "darwin": "caffeinate -i claude"}
RUN = "holdfast run -- claude"
LONG_S = 300.0
"As long a silence the shortest limit that a measured client has by default takes for a break."


@dataclass(frozen=True, slots=True)
class Setting:
    """Variables for the client's settings, and why they are believed to work."""

    env: Mapping[str, str]
    says: str
    "What they do, as a sentence."
    measured: str
    "On which versions that was measured."
    upstream: str = ""
    "Where the key goes then, of a setting that moves the client's address."


@dataclass(frozen=True, slots=True)
class Made:
    """The gateway is in the client's way already."""

    says: str
    line: str
    "To see what came of it."


@dataclass(frozen=True, slots=True)
class Ways:
    """What this machine and this client allow. None, and why not."""

    gateway: Setting | None
    no_gateway: str
    patience: Setting | None
    no_patience: str
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do."""

    kind: str
    "`setting`, `line`, or `nothing`."
    says: str
    hypothesis: str = ""
    title: str = ""
    "The finding's; without a hypothesis, what there is to say instead of one."
    grade: str = ""
    least: int = 0
    most: int = 0
    env: Mapping[str, str] | None = None
    measured: str = ""
    upstream: str = ""
    "Where requests go then, of a setting that moves the client's address."
    line: str = ""
    "To type, where no setting is the fix; and what else would do, where one is."
    instead: tuple[str, ...] = ()
    "Why no setting."


def choose(diagnosis: Mapping[str, Any], ways: Ways, platform: str = "linux") -> Fix:
    """The fix for a diagnosis (as `diagnosis.as_json` tells it)."""
    if (alone := flights_alone(diagnosis.get("tables", {}))) and not diagnosis["advice"]:
        broken = sum(row["only_flights"] for row in alone)
        turns = "1 broken turn is" if broken == 1 else f"{broken} broken turns are"
        refused = alone[0]["ending"].split(".")[1:2] == ["refused"]
        return Fix(
            LINE,
            f"{turns} known from the gateway's flights alone; of most {code_sentence(alone[0]['ending'])}. holdfast flights "
            "lists them, and each says who ended it and what to do.",
            line=TO_TYPE["refused"] if refused else "holdfast flight --last",
        )
    if not diagnosis["failures"]:
        flown = [
            one for one in diagnosis.get("coverage", ()) if one["source"] == "flights" and one["first_ms"]
        ]
        if not diagnosis["requests"] and flown:
            carried = flown[0]["count"]
            return Fix(
                NOTHING,
                f"No client's transcript is here; the gateway carried {carried}: holdfast flights. Nothing was changed.",
            )
        if stalled := silences(diagnosis.get("tables", {})):
            return Fix(
                LINE,
                "run the client behind holdfast run: the flight of the next one tells which side was silent, or who ended "
                "it; while one goes on, holdfast doctor --now looks at it.",
                title=f"No error is on record, but {stalled}",
                line=RUN,
            )
        if diagnosis["requests"]:
            return Fix(
                NOTHING,
                "Nothing is wrong; nothing was changed. While a freeze goes on: holdfast doctor --now",
            )
        return Fix(NOTHING, f"There is nothing to diagnose; nothing was changed. For the next time: {RUN}")
    if not diagnosis["advice"]:
        # What no log can name, a flight can: there is always that next step.
        known: Mapping[str, Any] = next(iter(diagnosis["findings"]), {})
        return Fix(
            LINE,
            "run the client behind holdfast run: it carries turns through breaks, and the flight tells who ended a "
            "connection, and after which silence.",
            hypothesis=known.get("hypothesis", ""),
            title=_titled(known),
            grade=known.get("grade", ""),
            line=RUN,
        )
    first = diagnosis["advice"][0]
    name = first["hypothesis"]
    finding: Mapping[str, Any] = next((one for one in diagnosis["findings"] if one["hypothesis"] == name), {})
    told = {
        "hypothesis": name,
        "title": _titled(finding) or name,
        "grade": finding.get("grade", ""),
        "least": first["turns_least"],
        "most": first["turns_most"],
    }
    if line := AWAKE.get(platform, "") if name in ASLEEP else TO_TYPE.get(name, ""):
        return Fix(LINE, first["do"], line=line, **told)
    if name in TO_NOTE:
        return Fix(LINE, f"{first['do']} {NOTE}", line=f"holdfast mark '{TO_NOTE[name]}'", **told)
    held = "holdfast run" in first["do"]
    if held and ways.made is not None:
        return Fix(LINE, ways.made.says, line=ways.made.line, **told)
    if held and ways.gateway is not None:
        way = ways.gateway
        return Fix(
            SETTING, way.says, env=way.env, measured=way.measured, upstream=way.upstream, line=RUN, **told
        )
    if name in OWN_LIMIT and ways.patience is not None:
        way = ways.patience
        return Fix(SETTING, way.says, env=way.env, measured=way.measured, line=RUN, **told)
    if not held:
        return Fix(LINE, first["do"], line=RUN, **told)
    reasons = (ways.no_gateway, ways.no_patience if name in OWN_LIMIT else "")
    return Fix(LINE, first["do"], line=RUN, instead=tuple(one for one in reasons if one), **told)


def silences(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """`10 silent stalls are inferred, the longest of 897 s, and 3 broken streams are told by the client itself`: of the
    table of stalls; empty where nothing is wrong.

    That is so where the client has no word of them and all are short: in hundreds of answers some think for minutes.
    """
    return ", and ".join(filter(None, (_stalled(silent(tables)), _broke(broken(tables)))))


def _broke(rows: Sequence[Mapping[str, Any]]) -> str:
    verb = "is" if len(rows) == 1 else "are"
    return f"{counted(len(rows), 'broken stream')} {verb} told by the client itself" if rows else ""


def _stalled(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any(in_own_words(row) or (row["silent_s"] or 0) >= LONG_S for row in rows):
        return ""
    verb = "is" if len(rows) == 1 else "are"
    told = f"{counted(len(rows), 'silent stall')} {verb} inferred"
    lengths = [row["silent_s"] for row in rows if row["silent_s"] is not None]
    if not lengths:
        return told
    return f"{told}, {'of' if len(rows) == 1 else 'the longest of'} {max(lengths):.0f} s"


def silent(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Rows of the table of stalls in which nothing came.

    Answers without a stop reason are none: nobody knows that they were silent, and people stop answers every day. Nor are
    streams that broke.
    """
    return [row for row in tables.get("stalls", ()) if row["kind"] not in ("unfinished answer", BROKEN)]


def broke(row: Mapping[str, Any]) -> bool:
    """Whether a row of the table of stalls is a connection that broke."""
    return bool(row["kind"] == BROKEN)


def broken(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Rows of the table of stalls of connections that broke and left no failure, by the client's own words."""
    return [row for row in tables.get("stalls", ()) if broke(row)]


def in_own_words(row: Mapping[str, Any]) -> bool:
    """Whether the client itself speaks of a stall: others are inferred from times."""
    return row["kind"] in OWN_WORDS


def flights_alone(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Rows of the table of flights with turns that were lost and that no client noted (`only_flights`), most first.

    What the client itself ended is nobody's failure.
    """
    rows = [
        row
        for row in tables.get("flights", ())
        if row["only_flights"] and not row["ending"].startswith(f"{Side.CLIENT.value}.")
    ]
    return sorted(rows, key=lambda row: (-row["only_flights"], row["ending"]))


def _titled(finding: Mapping[str, Any]) -> str:
    """The finding's title, which claims no cause that may as well be another; empty without a finding."""
    alike = ", or something that looks like it" if finding.get("rivals") else ""
    return f"{finding.get('title', '')}{alike}"
