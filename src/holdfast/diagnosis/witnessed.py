"""Hypotheses weighed under what somebody else saw of the same failures.

Who ended a connection excludes causes: what the provider closed in order, this machine's Wi-Fi did not break. It makes
none likelier by itself, for the provider's reset says nothing of why. So each cause loses the failures that were seen to
be otherwise, and bears what was seen of its own as evidence; what then no cause explains is left to who was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace

from holdfast.diagnosis.case import Case, Failure, Witness
from holdfast.diagnosis.examine import Examination, examine
from holdfast.diagnosis.hypotheses.seen import (
    Seen,
    SeenClient,
    SeenGateway,
    SeenMachine,
    SeenPath,
    SeenProvider,
    told,
)
from holdfast.diagnosis.hypothesis import Brief, Hypothesis
from holdfast.flight.endings import Mechanism, Phase, Side

_SAID = frozenset(
    {
        Mechanism.HTTP_ERROR,
        Mechanism.STREAM_ERROR,
        Mechanism.TRUNCATED,
        Mechanism.GOAWAY,
        Mechanism.STREAM_RESET,
    }
)
"What only the far end can say: a box on the way has no words of that protocol."
_ANSWERING = frozenset(
    {
        Phase.BETWEEN_BLOCKS,
        Phase.IN_TEXT,
        Phase.IN_THINKING,
        Phase.IN_TOOL_USE,
        Phase.IN_BODY,
        Phase.AFTER_END,
    }
)


_IN_ORDER = frozenset({Mechanism.FIN, Mechanism.FIN_THEN_RST, Mechanism.TORN, Mechanism.TLS_ALERT})
"What a box that has forgotten a connection cannot say: it drops what comes, or resets it."


_NOT_SILENT = frozenset({Phase.RESOLVING, Phase.CONNECTING, Phase.TLS, Phase.SENDING})
"Where this machine was itself still speaking, or nobody had begun to."


def _not_the_link(one: Witness) -> bool:
    return one.side is Side.CLIENT or one.mechanism in _SAID


def _not_their_patience(one: Witness) -> bool:
    return one.side in (Side.MACHINE, Side.CLIENT)


def _made_on_the_way(one: Witness) -> bool:
    """A capture shows a reset that neither end made: a box did, and a limit at an end would have been the end's."""
    return one.side is Side.PATH and one.mechanism is Mechanism.RST and one.source.startswith("capture ")


EXCLUDED: Mapping[str, Callable[[Witness], bool]] = {
    "local-link": _not_the_link,
    "link-flap": _not_the_link,
    "isp-outage": _not_the_link,
    "nat-timeout": lambda one: _not_the_link(one) or one.mechanism in _IN_ORDER or one.phase in _NOT_SILENT,
    "client-limit": lambda one: one.side is not Side.CLIENT,
    "idle-socket": lambda one: one.phase in _ANSWERING or one.side is Side.CLIENT,
    "fixed-limit": lambda one: (
        one.side is Side.MACHINE or one.mechanism is Mechanism.HTTP_ERROR or _made_on_the_way(one)
    ),
    "silence-limit": lambda one: _made_on_the_way(one) or one.phase in _NOT_SILENT,
    "edge-timeout": _not_their_patience,
    "large-request": _not_their_patience,
}
"Hypothesis -> whether it cannot be, where this was seen. A hypothesis that is not named is excluded by nothing."


def witnesses() -> list[Seen]:
    """The sides that may have been seen, new: weighed after the causes, for what those leave unexplained."""
    return [SeenProvider(), SeenPath(), SeenMachine(), SeenClient(), SeenGateway()]


def _by_nothing(_: Witness) -> bool:
    return False


class _Under(Hypothesis):
    """Mixed into a hypothesis: the same under what was seen."""

    def ratios(self, case: Case) -> Sequence[float]:
        ratios = super().ratios(case)  # type: ignore[safe-super]
        excluded = EXCLUDED.get(self.name)
        if excluded is None:
            return ratios
        return [
            0.0 if (seen := case.seen.get(failure.id)) and all(excluded(one) for one in seen) else ratio
            for failure, ratio in zip(case.failures, ratios, strict=True)
        ]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        brief = super().brief(case, mine)  # type: ignore[safe-super]
        excluded = EXCLUDED.get(self.name, _by_nothing)
        seen = [one for failure in mine for one in list(case.seen.get(failure.id, ()))[:1]]
        fits = [one for one in seen if not excluded(one)]
        return replace(brief, pro=(*brief.pro, *told(fits))) if fits else brief


def under(one: Hypothesis) -> Hypothesis:
    """This hypothesis, weighed under what was seen; in all else the same."""
    made: Hypothesis = copy(one)
    kind: type[Hypothesis] = type(f"Seen{type(one).__name__}", (_Under, type(one)), {"__doc__": one.__doc__})
    object.__setattr__(made, "__class__", kind)
    return made


def examined(case: Case, hypotheses: Sequence[Hypothesis]) -> Examination:
    """As `examine`; what no cause explains then goes to the side that was seen to have ended it."""
    if not case.seen:
        return examine(case, hypotheses)
    causes = [under(one) for one in hypotheses]
    first = examine(case, causes)
    left = {key: case.seen[key] for key in first.unexplained if key in case.seen}
    if not left:
        return first
    sides = witnesses()
    for side in sides:
        side.left = frozenset(left)
    return examine(case, [*causes, *sides])
