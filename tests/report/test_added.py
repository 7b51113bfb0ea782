"""What added logs and captures say is taken into the claims: whom it lets go, whom it names, what is left to settle."""

from __future__ import annotations

from dataclasses import replace

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.report.claims import Added, Suspect
from holdfast.report.incident import Incident, examine
from tests.flight.telling import end, tell
from tests.report.turns import PROVIDER_RESET, began, stored

NGINX = Added(
    "nginx error.log:2", False, 1, "its own limit for its upstream ran out", "adds",
    "what looked like upstream from here was this program", "nginx", between=True, own_limit=True,
)  # fmt: skip
CAPTURE = Added(
    "capture a.pcap #1", False, 1, "attempt 1, x: the server itself made this reset", "agrees", capture=True
)


def explained(*added: Added, ending: Ending = PROVIDER_RESET) -> Incident:
    """A reset by upstream after a minute, with what others say of it."""
    record = end(tell(began(), (61.2, m.AttemptEnded(1, ending))), 61.3, ending)
    return examine(stored(record), added=added)


def box(incident: Incident) -> Suspect:
    """The suspect that stands between."""
    return next(one for one in incident.suspects if one.who.startswith("a box between"))


def test_a_proxy_whose_own_limit_ran_out_did_it_and_its_setting_is_named() -> None:
    """What came in as upstream's end was the proxy's; the provider is not to be bothered."""
    near = replace(PROVIDER_RESET, mechanism=Mechanism.FIN, evidence={"rtt_ms": 0.2})
    assert box(explained(ending=near)).state == "ruled out"
    incident = explained(NGINX, ending=near)
    assert box(incident).state == "did it" and "nginx error.log:2" in box(incident).why[0]
    assert incident.closer is not None and any("error.log:2" in one for one in incident.closer.speaks_against)
    said = " ".join(one.text for one in incident.advice)
    assert "`proxy_read_timeout`" in said and "Report it" not in said
    client = explained(
        replace(NGINX, says="its own limit ran out while it waited for its client"), ending=near
    )
    assert any("`send_timeout`" in one.text for one in client.advice)


def test_a_proxy_that_is_there_is_not_ruled_out() -> None:
    """Whether its log was added, or the answer's head names it."""
    near = Ending(Side.PROVIDER, Mechanism.FIN, Phase.IN_TEXT, "", {"rtt_ms": 0.2, "server": "nginx/1.22.1"})
    assert box(explained(ending=near)).state == "not ruled out"
    silent = replace(NGINX, own_limit=False, verdict="agrees")
    incident = explained(silent)
    assert box(incident).state == "not ruled out" and "One stands there" in box(incident).why[0]
    assert incident.closer is not None and any("error.log:2" in one for one in incident.closer.speaks_for)


def test_a_capture_that_was_added_is_not_asked_for() -> None:
    """It says that the server itself made the reset: a box did not, and nothing is left for a capture to settle."""
    assert any("A capture next to the gateway" in one for one in explained().falsifiers)
    incident = explained(CAPTURE)
    assert not any("A capture next to" in one for one in incident.falsifiers)
    assert box(incident).state == "ruled out" and "itself made this reset" in box(incident).why[0]
    assert incident.closer is not None and any("a.pcap" in one for one in incident.closer.speaks_for)


def test_what_is_said_of_another_connection_says_nothing_of_this_one() -> None:
    """A turn has several; only the one that broke is asked about."""
    other, clients = replace(NGINX, number=2), replace(NGINX, client=True)
    assert explained(other, clients) == explained()
