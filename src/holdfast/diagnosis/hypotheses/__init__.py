"""The causes, one mechanism per file. `ALL` is the catalogue, in the order in which a tie is read."""

from holdfast.diagnosis.hypotheses.client_limit import ClientLimit
from holdfast.diagnosis.hypotheses.fixed_limit import FixedLimit
from holdfast.diagnosis.hypotheses.idle_socket import IdleSocket
from holdfast.diagnosis.hypotheses.large_request import LargeRequest
from holdfast.diagnosis.hypotheses.local_link import LocalLink
from holdfast.diagnosis.hypotheses.name_resolution import NameResolution
from holdfast.diagnosis.hypotheses.provider_error import ProviderError
from holdfast.diagnosis.hypotheses.provider_overload import ProviderOverload
from holdfast.diagnosis.hypotheses.rate_limit import RateLimit
from holdfast.diagnosis.hypotheses.refused import Refused
from holdfast.diagnosis.hypothesis import Hypothesis


def catalogue() -> list[Hypothesis]:
    """Every hypothesis, new: some remember between the two questions what they found."""
    return [
        ProviderOverload(),
        ProviderError(),
        RateLimit(),
        NameResolution(),
        Refused(),
        LocalLink(),
        ClientLimit(),
        IdleSocket(),
        FixedLimit(),
        LargeRequest(),
    ]


__all__ = ["catalogue"]
