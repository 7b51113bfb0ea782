"""Nobody listened where the client connected to."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import Told
from holdfast.diagnosis.hypotheses._words import outcomes
from holdfast.diagnosis.hypothesis import Brief, Evidence
from holdfast.flight.flights import counted

CODES = frozenset({"ConnectionRefused", "ECONNREFUSED"})


class Refused(Told):
    """The connection was refused: the host was reached, and no program listened on that port.

    It predicts: a refusal at once, of every try, until that program runs again. The provider's edge does not refuse: it is
    nearly always a proxy or gateway on this machine or network, named by a base URL or a proxy variable.
    """

    name = "refused"
    title = "A proxy or gateway that the client was told to use did not run"
    remedy = (
        "Start the proxy that the settings name, or take it out of them: ANTHROPIC_BASE_URL, HTTPS_PROXY."
    )
    falsifier = "no base URL and no proxy is configured, and a refusal all the same"

    def names(self, failure: Failure) -> bool:
        return bool(failure.codes & CODES)

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        said = f"{counted(len(mine), 'request')} found nobody listening: {outcomes(mine)}."
        settle = "holdfast run --check -- claude: which upstream and proxy are named, and by what; they must be listening"
        return Brief(pro=(Evidence(said, "transcripts"),), settle=settle)
