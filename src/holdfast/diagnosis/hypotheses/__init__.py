"""The causes, one mechanism per file. `ALL` is the catalogue, in the order in which a tie is read."""

from holdfast.diagnosis.hypotheses.buffering_proxy import BufferingProxy
from holdfast.diagnosis.hypotheses.client_limit import ClientLimit
from holdfast.diagnosis.hypotheses.client_version import ClientVersion
from holdfast.diagnosis.hypotheses.edge_location import EdgeLocation
from holdfast.diagnosis.hypotheses.edge_timeout import EdgeTimeout
from holdfast.diagnosis.hypotheses.fixed_limit import FixedLimit
from holdfast.diagnosis.hypotheses.http2 import Http2
from holdfast.diagnosis.hypotheses.idle_socket import IdleSocket
from holdfast.diagnosis.hypotheses.ipv6_path import Ipv6Path
from holdfast.diagnosis.hypotheses.isp_outage import IspOutage
from holdfast.diagnosis.hypotheses.large_request import LargeRequest
from holdfast.diagnosis.hypotheses.link_flap import LinkFlap
from holdfast.diagnosis.hypotheses.local_link import LocalLink
from holdfast.diagnosis.hypotheses.machine_overload import MachineOverload
from holdfast.diagnosis.hypotheses.machine_sleep import MachineSleep
from holdfast.diagnosis.hypotheses.many_sessions import ManySessions
from holdfast.diagnosis.hypotheses.mtu_black_hole import MtuBlackHole
from holdfast.diagnosis.hypotheses.name_resolution import NameResolution
from holdfast.diagnosis.hypotheses.nat_timeout import NatTimeout
from holdfast.diagnosis.hypotheses.provider_error import ProviderError
from holdfast.diagnosis.hypotheses.provider_overload import ProviderOverload
from holdfast.diagnosis.hypotheses.rate_limit import RateLimit
from holdfast.diagnosis.hypotheses.refused import Refused
from holdfast.diagnosis.hypotheses.resolver import Resolver
from holdfast.diagnosis.hypotheses.retry_storm import RetryStorm
from holdfast.diagnosis.hypotheses.shared_outage import SharedOutage
from holdfast.diagnosis.hypotheses.silence_limit import SilenceLimit
from holdfast.diagnosis.hypotheses.subagents import Subagents
from holdfast.diagnosis.hypotheses.tls_interception import TlsInterception
from holdfast.diagnosis.hypotheses.upload_loss import UploadLoss
from holdfast.diagnosis.hypotheses.vpn import Vpn
from holdfast.diagnosis.hypotheses.wifi_roaming import WifiRoaming
from holdfast.diagnosis.hypothesis import Hypothesis


def catalogue() -> list[Hypothesis]:
    """Every hypothesis, new: some remember between the two questions what they found."""
    return [
        ProviderOverload(),
        ProviderError(),
        EdgeTimeout(),
        RateLimit(),
        RetryStorm(),
        NameResolution(),
        Resolver(),
        TlsInterception(),
        Refused(),
        LocalLink(),
        LinkFlap(),
        WifiRoaming(),
        Vpn(),
        IspOutage(),
        MachineSleep(),
        MachineOverload(),
        ClientLimit(),
        IdleSocket(),
        FixedLimit(),
        SilenceLimit(),
        NatTimeout(),
        BufferingProxy(),
        Http2(),
        LargeRequest(),
        UploadLoss(),
        MtuBlackHole(),
        EdgeLocation(),
        Ipv6Path(),
        ClientVersion(),
        Subagents(),
        ManySessions(),
        SharedOutage(),
    ]


__all__ = ["catalogue"]
