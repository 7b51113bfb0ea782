"""Something cuts requests at a fixed age."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.diagnosis.hypotheses._age import Aged

TELL = "a capture, or holdfast run: do bytes flow until the cut, and does a keepalive prevent it?"


class FixedLimit(Aged):
    """A limit on a request's whole time, at the provider or at an edge in front of it.

    It predicts: failures at the same age again and again, whatever was asked, none of them before it, and answers that
    were already coming when they were cut. The cut is heard: a reset or an end, no silence. Where nothing tells whether an
    answer was coming, a limit on silence and a box that forgets predict the same.
    """

    name = "fixed-limit"
    title = "Requests were cut at a fixed age"
    falsifier = (
        "ages that spread once the same request is asked again; a capture in which bytes flow to the end"
    )
    rivals: ClassVar[Mapping[str, str]] = {"silence-limit": TELL, "nat-timeout": TELL}

    def fits(self, *, lost: bool, answered: bool | None) -> float:
        return 0.05 if lost else 1.0
