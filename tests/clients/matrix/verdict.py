"""What a run came to, and how that is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERDICTS: Final = {
    "done": "the turn finished as intended: every file written by one call, nothing shown twice",
    "fails": "the client ends with an error, and says so",
    "silent loss": "the client reports success, and the work is not done",
    "tool twice": "the turn finished, and a tool ran more often than it was meant to",
    "shown twice": "the turn finished, and a text was shown or kept twice",
    "hangs": "the client was still busy when it was stopped",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of one run, on both sides."""

    finished: bool
    "It ended well in the client's own eyes."
    closing: bool
    "The closing words were shown."
    written: bool
    "Every file has its content."
    runs: int
    "How often tools ran."
    calls: int
    "How often they were meant to."
    shown: int
    "How often the text was shown or kept that was so most often."
    generations: int
    "Answers that upstream began to produce, side requests left out."
    requests: int
    "How often upstream was asked, refusals included, side requests left out."
    seconds: float
    hung: bool = False
    refused: int = 0
    "Half calls that the client did not hand to the tool."
    broken: int = 0
    "How often upstream broke off."
    detail: str = ""
    "What the client said of a failure."


def verdict(facts: Facts) -> str:
    """One of `VERDICTS`."""
    if facts.hung:
        return "hangs"
    if not facts.finished:
        return "fails"
    if not (facts.closing and facts.written):
        return "silent loss"
    if facts.runs > facts.calls:
        return "tool twice"
    if facts.shown > 1:
        return "shown twice"
    return "done"
