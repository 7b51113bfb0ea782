"""An incident as GitHub-flavoured Markdown. What came from elsewhere can start no mention, link, tag or table.

GitHub looks for mentions in the text after Markdown is rendered, so that neither a backslash nor an entity stops
`@name` or `#12`; a character without width between the sign and the name does, and so does code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from holdfast.flight.redact import clean
from holdfast.report.claims import Claim
from holdfast.report.incident import Incident

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]<>|~])")
_MENTION = re.compile(r"([@#])(?=\w)|(?<=\bGH)(-)(?=\d)")
NO_WIDTH = "\u200b"
LONGEST_SENTENCE = 1500


def words(text: str) -> str:
    """Text of a sentence: shown as it is, whatever it holds."""
    told = clean(text, limit=LONGEST_SENTENCE)
    told = _PUNCTUATION.sub(r"\\\1", told.replace("&", "&amp;"))
    return _MENTION.sub(lambda found: found[0] + NO_WIDTH, told).replace("://", f":{NO_WIDTH}//")


def code(text: str) -> str:
    """Text in a code span, also inside a table; nothing when there is none."""
    told = clean(text, limit=LONGEST_SENTENCE).replace("|", "\\|").strip()
    if not told:
        return ""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", told)), default=0) + 1)
    pad = " " if told.startswith("`") or told.endswith("`") else ""
    return f"{fence}{pad}{told}{pad}{fence}"


def block(lines: Iterable[str]) -> list[str]:
    """Lines in a fenced block that nothing in them can end."""
    told = [clean(line, limit=LONGEST_SENTENCE) for line in lines]
    longest = max((len(run) for line in told for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(longest + 1, 3)
    return [f"{fence}text", *told, fence]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; the cells are Markdown already."""
    told = [f"| {' | '.join(cell or ' ' for cell in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *told] if told else []


def link(text: str, url: str) -> str:
    """A link, of words and to an address that are ours: what came from elsewhere can be none."""
    return f"[{text}]({url})"


def claim(title: str, one: Claim | None) -> list[str]:
    """A section: the sentence with its grade, then what speaks for and against."""
    if one is None:
        return []
    page = [f"## {title}", "", f"**{one.grade.value}**: {words(one.text)}", ""]
    page += [f"- for: {words(text)}" for text in one.speaks_for]
    page += [f"- against: {words(text)}" for text in one.speaks_against]
    return [*page, ""] if one.speaks_for or one.speaks_against else page


def story(incident: Incident, most: int) -> list[str]:
    """The timeline, its middle left out where it has more than `most` lines."""
    lines = [
        f"{line.at_s:10.3f} s  {line.text}{f' ({line.by})' if line.by else ''}" for line in incident.lines
    ]
    if len(lines) > most:
        half = max(most // 2, 1)
        left = len(lines) - 2 * half
        lines = [*lines[:half], f"{'':12}  ... {left} lines left out ...", *lines[-half:]]
    return block(lines)


def render(incident: Incident, *, most_lines: int = 200) -> str:
    """The whole page."""
    page = [f"# {words(incident.title)}", ""]
    page += [
        "## What was asked",
        "",
        *table(("", ""), ((words(f.name), code(f.value)) for f in incident.asked)),
        "",
    ]
    page += ["## Requests", ""]
    page += table(
        ("attempt", "asked at", "status", "request id", "edge id", "ended as"),
        (
            (
                str(one.attempt),
                one.at_utc,
                str(one.status) if one.status is not None else "none",
                code(one.request_id or ""),
                code(one.edge_id or ""),
                code(one.ended),
            )
            for one in incident.requests
        ),
    )
    page += ["", "## What happened", "", *story(incident, most_lines), ""]
    if incident.also:
        page += ["It broke more than once:", "", *(f"- {words(one)}" for one in incident.also), ""]
    page += claim("Who closed it, and how we know", incident.closer)
    if incident.seen:
        rows = ((words(one.name), code(one.value), words(one.says)) for one in incident.seen)
        page += [*table(("measured", "", "which says"), rows), ""]
    page += claim("Why the client left", incident.reason)
    page += claim("Which timer is behind it", incident.timer)
    if incident.others:
        page += ["<details><summary>Timers with the same number that cannot be it</summary>", ""]
        page += [*(f"- {words(one)}" for one in incident.others), "", "</details>", ""]
    if incident.suspects:
        who = (
            (words(one.who), one.state, one.grade.value, words(" ".join(one.why)))
            for one in incident.suspects
        )
        page += ["## Who else could have, and what lets them go", ""]
        page += [*table(("who", "", "how sure", "because"), who), ""]
    page += claim("Is it a circle?", incident.loop)
    page += _list("What the gateway did", incident.done)
    if incident.cost:
        page += [
            "## What it cost",
            "",
            *table(("", ""), ((words(f.name), words(f.value)) for f in incident.cost)),
            "",
        ]
    page += _list("What would prove this wrong", incident.falsifiers)
    return "\n".join(page)


def page(incident: Incident) -> str:
    """The same for whoever's turn it is: with the whole story, and what to do now."""
    told = [f"- {words(one.text)}{f' {code(one.command)}' if one.command else ''}" for one in incident.advice]
    advised = ["## What to do now", "", *told, ""] if told else []
    return "\n".join([render(incident, most_lines=len(incident.lines)), *advised])


def _list(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {words(one)}" for one in sentences), ""] if sentences else []
