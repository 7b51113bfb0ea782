"""The line beyond the router."""

from __future__ import annotations

from dataclasses import replace

from holdfast.diagnosis.case import Case, Span
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.witnessed import examined
from holdfast.sessions.desktop import Outage
from tests.diagnosis.hypotheses.story import START, Story


def line_away(code: str) -> Case:
    """Six outages of eight minutes by the desktop app's log, in each of which a request fails, and others anywhere."""
    story = Story()
    for day in range(6):
        story.outages.append(
            Outage(story.at(day, 100), story.at(day, 108), {"name", "timeout"}, 9, "desktop log")
        )
        story.fails(day, 102 + 0.7 * day, code=code, age_s=12.0 + 3 * day)
    for number in range(12):
        story.fails(number, 11 + 19 * number, age_s=2.0 + 7 * number)
    whole = Span(START, story.at(story.days, 0))
    return replace(story.case(), watched=[whole], link_watched=[])


def bits(code: str) -> float:
    return dict(examined(line_away(code), catalogue()).considered)["isp-outage"]


def test_whoever_waited_in_vain_waited_for_the_line() -> None:
    """The same outages: six that timed out are the line's; six that were reset are less its, for nobody was there to."""
    assert bits("ETIMEDOUT") > bits("unknown") > bits("ECONNRESET")
    assert examined(line_away("ETIMEDOUT"), catalogue()).findings[0].hypothesis == "isp-outage"
