"""The provider, or the edge in front of it, failed and said so."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Providers
from holdfast.diagnosis.hypotheses._words import outcomes
from holdfast.diagnosis.hypotheses.edge_timeout import STATUSES as WAITED
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.flights import counted


class ProviderError(Providers):
    """The answer was an error status of the server's: 500 and above, overload (529) and an edge's patience (504) apart.

    It predicts: such a status. 500 is the provider's own; 502, 503, 520 and 521 are mostly said by an edge whose
    origin failed it. The request itself arrived, so this machine's network was whole.
    """

    name = "provider-error"
    title = "The provider, or the edge in front of it, failed"
    remedy = "Send the request ids to the provider; behind holdfast run a failed request is asked again with the turn kept."
    falsifier = "the same status from a proxy of one's own: its Server header names it"

    def names(self, failure: Failure) -> bool:
        return bool(_errors(failure))

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        codes = sorted({status for one in mine for status in _errors(one)})
        listed = ", ".join(map(str, codes))
        said = f"{counted(len(mine), 'request')} got a server's error ({listed}): {outcomes(mine)}."
        return Brief(
            pro=(Evidence(said, "transcripts"),),
            settle="holdfast probe status: what the provider published of those days; holdfast probe edge: which edge "
            "stands there; holdfast diagnose --format issue --out issue.md: the "
            "request ids, to ask the provider's support by; where there is none, the edge said it alone",
        )


def _errors(failure: Failure) -> set[int]:
    return {status for status in failure.statuses if status >= 500 and status != 529} - WAITED
