"""The client's own patience ran out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import TOLD, TOLD_LATER
from holdfast.diagnosis.hypotheses._words import outcomes
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.flights import counted
from holdfast.sessions.client_telemetry import OWN_LIMIT

_OWN_WORDS = re.compile(r"stopped arriving|stalled|timed out|idle[- ]timeout", re.IGNORECASE)


class ClientLimit(Hypothesis):
    """The client waited for a byte, or for the answer, as long as its own limit, and hung up.

    It predicts: the client's own words ("The response stopped arriving", "Request timed out"), also those of its telemetry
    about a try that it repeats, the same age each time,
    and the same request hung up on again, because the model needs as long again. The provider was working: behind
    a gateway that sends keepalives the turn finishes. Where tries were broken before the client said so, it was the
    breaks that took the time.
    """

    name = "client-limit"
    title = "The client gave up waiting, by its own limit"
    remedy = "Run the client behind holdfast run: keepalives hold it, and the answer that it hung up on goes to its retry."
    falsifier = "with keepalives on the wire (holdfast run) the same request dies at the same age"

    def ratios(self, case: Case) -> Sequence[float]:
        return [_ratio(failure) for failure in case.failures]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"The client says so of {counted(len(mine), 'turn')}: {outcomes(mine)}."
        settle = "holdfast run -- claude: keepalives hold the client, and the flight tells the silence"
        return Brief((Evidence(said, "transcripts"),), (), settle)


def _ratio(failure: Failure) -> float:
    codes = [one.code for one in failure.tries]
    if OWN_LIMIT in codes:
        return TOLD if codes[0] == OWN_LIMIT else TOLD_LATER
    if not _OWN_WORDS.search(failure.text) or failure.statuses:
        return 0.0
    return 1.0 if failure.tries else TOLD
