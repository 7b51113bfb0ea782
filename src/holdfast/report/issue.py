"""An incident as an issue for a vendor's tracker: Markdown, of one page, with a ranking of what it claims.

The incident must come from a de-identified turn (`flight.deidentify`); nothing here looks for secrets again.
"""

from __future__ import annotations

from holdfast.report.claims import Claim, Grade
from holdfast.report.incident import Incident
from holdfast.report.markdown import render, words

LONGEST = 65_536
"Characters that GitHub takes in one issue."
_TRIED_LINES = (200, 80, 40, 20, 8)
_ORDER = {Grade.CERTAIN: 0, Grade.LIKELY: 1, Grade.CANNOT_TELL: 2}


def issue(incident: Incident) -> str:
    """The whole issue; its timeline is shortened until it fits."""
    text = ""
    for most in _TRIED_LINES:
        text = _page(incident, most)
        if len(text) < LONGEST:
            return text
    cut = "\n\n(cut here: an issue may not be longer)\n"
    return text[: LONGEST - len(cut) - 1] + cut


def _page(incident: Incident, most_lines: int) -> str:
    title, _, rest = render(incident, most_lines=most_lines).partition("\n")
    head = [
        title,
        "",
        "Explained from the record of one turn that went through a local gateway, which saw both connections. "
        "Names, addresses, paths and sessions are replaced by pseudonyms, the same all through; no prompt and no "
        "answer was ever in the record. Times are UTC.",
        "",
        *_ranking(incident),
    ]
    versions = [
        "## Versions",
        "",
        f"- {words(incident.made_by)}",
        *(
            f"- {words(one.name)}: {words(one.value)}"
            for one in incident.asked
            if one.name in ("client", "model")
        ),
    ]
    return "\n".join([*head, rest.lstrip("\n").rstrip(), "", *versions, ""])


def _ranking(incident: Incident) -> list[str]:
    """The claims in one list, the surest first."""
    if incident.well:
        return []
    claims: list[Claim] = [
        one for one in (incident.closer, incident.reason, incident.timer, incident.loop) if one is not None
    ]
    ranked = sorted(claims, key=lambda one: _ORDER[one.grade])
    told = [f"{number}. **{one.grade.value}**: {words(one.text)}" for number, one in enumerate(ranked, 1)]
    cleared = [one.who for one in incident.suspects if one.state == "ruled out"]
    kept = [one.who for one in incident.suspects if one.state in ("not ruled out", "not measured")]
    if cleared:
        told.append(f"{len(told) + 1}. Ruled out: {words(', '.join(cleared))}.")
    if kept:
        told.append(f"{len(told) + 1}. Not ruled out, or not measured: {words(', '.join(kept))}.")
    return ["## In short", "", *told, ""]
