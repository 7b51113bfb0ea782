"""The AS of public hops: the names that are asked, what their records say, and a name server on loopback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.probes import dns, icmp, lookup, networks, path
from holdfast.probes.icmp import Hop
from holdfast.probes.net import now_s
from holdfast.probes.result import Grade
from holdfast.probes.target import Target
from tests.probes.stage import QUICK, go_on, resolver, said

NEAR, FAR, SIX = "9.9.9.1", "8.8.4.7", "2620:fe::9"
TEXTS = {
    "1.9.9.9.origin.asn.cymru.com": ("64500 | 9.9.9.0/24 | US | arin | 2010-01-01",),
    "7.4.8.8.origin.asn.cymru.com": (
        "64501 64502 | 8.8.4.0/24 | US | arin | ",
        "64509 | 8.8.0.0/16 | US | arin | ",
    ),
}


def test_an_address_is_asked_backwards() -> None:
    """By octets, and IPv6 by nibbles under a name of its own."""
    assert networks.name_of(NEAR) == "1.9.9.9.origin.asn.cymru.com"
    six = networks.name_of(SIX)
    assert six.startswith("9.0.0.0.") and six.endswith(".e.f.0.0.0.2.6.2.origin6.asn.cymru.com")
    assert six.count(".") == 32 + 3


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (TEXTS["1.9.9.9.origin.asn.cymru.com"], "AS64500"),
        (TEXTS["7.4.8.8.origin.asn.cymru.com"], "AS64501 AS64502"),
        (("64500 | 2620:fe::/48 | US | arin | ",), "AS64500"),
        ((), None),
        (("NA | 9.9.9.0/24 | ",), None),
        (("64500",), None),
        (("0 | 9.9.9.0/24", "99999999999999999999999 | 9.9.9.0/24", "٣ | 9.9.9.0/24", "x|y|z"), None),
    ],
)
def test_the_narrowest_prefix_tells(texts: tuple[str, ...], told: str | None) -> None:
    """And what is no number of a network tells nothing."""
    assert networks.read(texts) == told


def test_a_text_comes_in_pieces() -> None:
    """Each with its length; one that is longer than its record is refused."""
    asked = dns.query(7, "x.example", "TXT")
    whole = said(b"\0\x07", asked[12:], 16, ("a text of more than one piece",), 0)
    assert dns.reply(whole, 7, "TXT").values == ("a text of more than one piece",)
    torn = whole.replace(b"\x0aa text of ", b"\xffa text of ")
    with pytest.raises(ValueError, match="text"):
        dns.reply(torn, 7, "TXT")


def test_hops_are_asked_for_side_by_side() -> None:
    """The one without an answer stays without, and nobody waits for it more than once."""
    ips = [NEAR, FAR, SIX, *(f"9.9.8.{number}" for number in range(1, 6))]
    with resolver(texts=TEXTS) as place:
        began = now_s()
        found = networks.of([*ips, NEAR], place, 0.3, go_on)
        took_s = now_s() - began

    assert found == {NEAR: "AS64500", FAR: "AS64501 AS64502"}
    assert took_s < 6 * 0.3  # each by itself: six without an answer


def test_nothing_more_is_asked_once_it_is_stopped() -> None:
    """What was not asked is marked so."""
    answers = lookup.ask_all(("127.0.0.1", 9), [("x.example", "TXT")] * 9, 1.0, lambda: True)
    assert [one.error for one in answers] == ["stopped"] * 9


def test_the_way_is_told_by_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Public hops alone are asked for, and only on wish; the rest of the verdict is as before."""
    way = [
        Hop(1, "192.168.1.1", 0.001),
        Hop(2, NEAR, 0.01),
        Hop(3, None, None),
        Hop(4, FAR, 0.02, reached=True),
    ]
    monkeypatch.setattr(icmp, "hop", lambda ip, ttl, *_: way[ttl - 1])
    monkeypatch.setattr(icmp, "LINUX", True)
    asked: list[str] = []
    name_of = networks.name_of

    def noted(ip: str) -> str:
        asked.append(ip)
        return name_of(ip)

    monkeypatch.setattr(networks, "name_of", noted)
    with resolver(texts=TEXTS) as place:
        options = replace(QUICK, resolvers=(place,), networks=True)
        found = path.ask(Target("127.0.0.1", 80, tls=False), options, go_on)
        plain = path.ask(Target("127.0.0.1", 80, tls=False), replace(options, networks=False), go_on)

    assert asked == [NEAR, FAR]
    assert "through AS64500, then AS64501 AS64502" in found.verdict and found.grade is Grade.FINE
    assert [one["as"] for one in found.facts["hops"]] == [None, "AS64500", None, "AS64501 AS64502"]
    assert all("as" not in one for one in plain.facts["hops"]) and "AS6" not in plain.verdict


def test_where_no_as_is_told_that_is_said() -> None:
    """Asked, and nobody knew: the hops are what they were."""
    found = path.verdict(FAR, [Hop(1, FAR, 0.01, reached=True)], {})
    assert "of no hop an AS was told" in found.verdict and found.grade is Grade.FINE
