"""An incident as text for a terminal. Every string is cleaned; `width` None is one line per sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from holdfast.flight.redact import clean
from holdfast.report.claims import Claim
from holdfast.report.incident import Incident


def render(incident: Incident, width: int | None) -> list[str]:
    """Everything but what was asked and the story, which stand above it."""
    if incident.well:
        return paragraph(f"{incident.title}.", width)
    page = ["What happened", *paragraph(f"{incident.title}.", width, "  ")]
    page += [line for one in incident.also for line in paragraph(f"Also {one}", width, "  ")]
    if any(one.request_id or one.edge_id for one in incident.requests):
        page += ["", "Requests to upstream, by the provider's ids"]
        for one in incident.requests[:MOST_REQUESTS]:
            ids = ", ".join(part for part in (one.request_id, one.edge_id and f"edge {one.edge_id}") if part)
            status = f"answered {one.status}" if one.status is not None else "no answer"
            ended = f", ended as {one.ended}" if one.ended else ""
            page += paragraph(
                f"{one.at_utc}: {status}{ended}. {ids}", width, f"  {one.attempt:>2}. ", "      "
            )
        if len(incident.requests) > MOST_REQUESTS:
            page.append(f"      and {len(incident.requests) - MOST_REQUESTS} more, all in --json")
    page += ["", "Who closed it, and how we know", *_claim(incident.closer, width)]
    if incident.seen:
        page += _table([(one.name, one.value, one.says) for one in incident.seen], width)
    if incident.reason:
        page += ["", "Why it left", *_claim(incident.reason, width)]
    if incident.timer:
        page += ["", "Which timer is behind it", *_claim(incident.timer, width)]
        for other in incident.others[:MOST_OTHERS]:
            page += paragraph(other, width, "  not      ", "           ")
        if len(incident.others) > MOST_OTHERS:
            more = len(incident.others) - MOST_OTHERS
            page += paragraph(
                f"and {more} more with the number; all in --json.", width, "  not      ", "           "
            )
    page += ["", "Who else could have, and what lets them go"]
    for suspect in incident.suspects:
        state = (
            suspect.state
            if suspect.state in ("did it", "not measured")
            else f"{suspect.state}, {suspect.grade.value}"
        )
        page += paragraph(f"{suspect.who}: {state}. {' '.join(suspect.why)}", width, "  - ", "    ")
    page += ["", "Is it a circle?", *_claim(incident.loop, width)]
    page += ["", "What the gateway did", *_items(incident.done, width)]
    page += ["", "What it cost"]
    page += _table([(one.name, one.value, "") for one in incident.cost], width)
    if incident.falsifiers:
        page += ["", "What would prove this wrong", *_items(incident.falsifiers, width)]
    page += ["", "What to do now"]
    for advice in incident.advice:
        page += paragraph(advice.text, width, "  - ", "    ")
        if advice.command:
            page.append(f"      {clean(advice.command)}")
    return page


MOST_REQUESTS = 10
MOST_OTHERS = 3
"Timers that cannot be it are many where the number is a round one."


def _claim(claim: Claim | None, width: int | None) -> Iterator[str]:
    if claim is None:
        return
    yield from paragraph(f"{claim.grade.value}: {claim.text}", width, "  ")
    for word, sentences in (("for", claim.speaks_for), ("against", claim.speaks_against)):
        for sentence in sentences:
            yield from paragraph(sentence, width, f"  {word:<8} ", "           ")


def _items(sentences: tuple[str, ...], width: int | None) -> Iterator[str]:
    for sentence in sentences:
        yield from paragraph(sentence, width, "  - ", "    ")


def _table(rows: list[tuple[str, str, str]], width: int | None) -> Iterator[str]:
    names = max(len(clean(name)) for name, _, _ in rows)
    values = (
        max(len(clean(value)) for _, value, says in rows if says) if any(says for *_, says in rows) else 0
    )
    for name, value, says in rows:
        head = f"  {clean(name):<{names}}  "
        told = f"{clean(value):<{values}}  {says}" if says else value
        yield from paragraph(told, width, head, " " * (len(head) + (values + 2 if says else 0)))


def paragraph(text: str, width: int | None, first: str = "", rest: str | None = None) -> list[str]:
    """A sentence as lines; those after its first begin with `rest`, or like the first. `width` None is one line."""
    told = clean(text, limit=2000)
    if width is None:
        return [f"{first}{told}".rstrip()]
    lines = textwrap.wrap(
        told, width, initial_indent=first, subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip
    return lines or [first.rstrip()]
