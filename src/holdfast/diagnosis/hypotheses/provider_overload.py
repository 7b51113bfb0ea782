"""The provider had no room."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Providers
from holdfast.diagnosis.hypotheses._words import days, outcomes
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.flights import counted


class ProviderOverload(Providers):
    """The provider answered that it is overloaded (529), properly and with a request id.

    It predicts: status 529, headers with request ids, other users and other networks at the same time, an end by
    itself. Nothing on this machine or its network can bring it about. Retrying with growing waits is right, and the
    client does that.
    """

    name = "provider-overload"
    title = "The provider was overloaded"
    remedy = "Run the client behind holdfast run: its retries wait longer than the client's, and the turn is kept meanwhile."
    falsifier = "a 529 without the provider's own request id: then something on the way made it"

    def names(self, failure: Failure) -> bool:
        return 529 in failure.statuses

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"{counted(len(mine), 'request')} got status 529, on {counted(days(mine), 'day')}: {outcomes(mine)}."
        return Brief(
            pro=(Evidence(said, "transcripts"),),
            settle="holdfast probe status: what the provider published of those days; holdfast diagnose --format issue "
            "--out issue.md: the request ids, to ask its support by",
        )
