"""Names: each resolver asked by itself, over UDP, on loopback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.probes import dns, lookup, resolve
from holdfast.probes.lookup import Found
from holdfast.probes.net import Address
from holdfast.probes.resolve import Heard
from holdfast.probes.result import Grade
from holdfast.probes.target import Target
from tests.probes.stage import QUICK, go_on, resolver, said

HERE = Target("localhost", 443)


def test_a_question_and_its_answer_on_the_wire() -> None:
    """As RFC 1035 writes them: a name by its labels, an answer that points back at it."""
    asked = dns.query(0x1234, "api.example", "A")

    assert asked == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03api\x07example\x00\x00\x01\x00\x01"
    answer = said(b"\x12\x34", asked[12:], 1, ("192.0.2.7", "192.0.2.1"), 0)
    assert dns.reply(answer, 0x1234, "A") == dns.Reply(("192.0.2.1", "192.0.2.7"), ttl_s=60)
    assert dns.reply(said(b"\x12\x34", asked[12:], 1, (), 3), 0x1234, "A").error == "NXDOMAIN"


def test_hostile_answers_end() -> None:
    """A name that points at itself, an answer cut anywhere, somebody else's number: refused, and soon."""
    asked = dns.query(7, "api.example", "A")
    whole = said(b"\0\x07", asked[12:], 1, ("192.0.2.7",), 0)
    circle = whole[:12] + b"\xc0\x0c" + whole[14:]
    for message in (circle, b"", whole[:11], whole[:30]):
        with pytest.raises(ValueError):
            dns.reply(message, 7, "A")
    with pytest.raises(ValueError, match="no answer to this question"):
        dns.reply(whole, 8, "A")
    for cut in range(len(whole)):
        try:
            dns.reply(whole[:cut], 7, "A")
        except ValueError:
            continue
    for name in ("a" * 64 + ".example", ".".join(["a" * 60] * 5)):
        with pytest.raises(ValueError):
            dns.query(1, name, "A")


def test_two_resolvers_that_disagree_are_both_told() -> None:
    """Which is right is not ours to say; that they differ is."""
    with resolver(("192.0.2.1",)) as one, resolver(("192.0.2.2",)) as other:
        finding = resolve.ask(HERE, replace(QUICK, resolvers=(one, other)), go_on)

    assert finding.grade is Grade.NOTED and "resolvers disagree about A" in finding.verdict
    assert {f"127.0.0.1:{one[1]}", f"127.0.0.1:{other[1]}"} == set(finding.facts["resolvers"])
    assert finding.facts["resolvers"][f"127.0.0.1:{other[1]}"]["A"]["addresses"] == ["192.0.2.2"]


def test_a_resolver_that_is_silent_is_suspected() -> None:
    """Every name waits for it, though no address is wrong."""
    with resolver(("192.0.2.1",), silent=(28,)) as one:
        finding = resolve.ask(HERE, replace(QUICK, resolvers=(one,), patience_s=0.15), go_on)

    assert finding.grade is Grade.SUSPECTED
    assert f"127.0.0.1:{one[1]} 2 of 4 (timeout)" in finding.verdict


def test_an_answer_with_a_wrong_number_is_not_believed() -> None:
    """Somebody who guesses is passed over; the resolver's own answer counts."""
    with resolver(("192.0.2.1",), lie=True) as one:
        asked = lookup.ask(one, "api.example", "A", 1.0, go_on)

    assert asked.reply is not None and asked.reply.values == ("192.0.2.1",)


def test_the_same_addresses_turned_round_are_no_disagreement() -> None:
    """A resolver that is asked twice may answer differently, and so may another: that is drift."""
    heard = [
        Heard(who, "A", 0.01, (ip,), "")
        for ip in ("192.0.2.1", "192.0.2.2")
        for who in ("192.0.2.53", "192.0.2.54")
    ]
    system = [Found((Address("192.0.2.1", 443, "4"),), 0.01), Found((Address("192.0.2.2", 443, "4"),), 0.01)]

    finding = resolve.verdict("api.example", system, heard, [])

    assert "disagree" not in finding.verdict and "changed between two tries" in finding.verdict


def test_a_name_that_leads_nowhere_is_broken() -> None:
    """What the system could not find, no program finds."""
    finding = resolve.verdict("api.example", [Found((), 0.2, "Name or service not known")], [], [])

    assert finding.grade is Grade.BROKEN
    assert finding.verdict == "api.example does not resolve on this machine: Name or service not known"


def test_a_hosts_file_is_noticed() -> None:
    """A name pinned to an address long ago works for everybody but its owner."""
    system = [Found((Address("192.0.2.9", 443, "4"),), 0.001)]
    heard = [Heard("192.0.2.53", kind, 0.01, (), "NXDOMAIN") for kind in ("A", "AAAA")]

    finding = resolve.verdict("api.example", system, heard, [])

    assert finding.grade is Grade.NOTED and "it comes from a hosts file" in finding.verdict


def test_an_address_has_no_name_to_resolve() -> None:
    """Not measured is not fine."""
    assert resolve.ask(Target("127.0.0.1", 443), QUICK, go_on).grade is Grade.NOT_MEASURED
