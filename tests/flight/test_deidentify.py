"""What leaves the machine: nothing in it says whose it is, and what helps a vendor stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight import deidentify, evidence
from holdfast.flight.deidentify import EVIDENCE, MOMENTS, RECORD, Names, Policy
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.reading import KINDS, UnknownMoment
from holdfast.flight.record import TurnRecord
from tests.flight.telling import frozen_turn


def said(text: str) -> str:
    """The text pass, with names of its own."""
    return deidentify.text(text, Names())


# ----- text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("sent to alice.b@corp.example now", "sent to mail-1 now"),
        ("from 10.1.2.3:443 to 203.0.113.9", "from ip4-private-1:443 to ip4-public-1"),
        ("at 127.0.0.1, 100.64.3.1 and 169.254.1.1", "at ip4-loopback-1, ip4-shared-1 and ip4-link-local-1"),
        ("at [2001:db8::7]:443, fe80::1%eth0", "at [ip6-public-1]:443, ip6-link-local-1"),
        ("at fd00::1 or ::1", "at ip6-private-1 or ip6-loopback-1"),
        ("peer aa:bb:cc:dd:ee:ff and 00-11-22-33-44-55", "peer mac-1 and mac-2"),
        ("error: 99:32:9d:8b:43:01: no such host", "error: mac-1: no such host"),
        ("at:2001:db8::7 and peer:aa:bb:cc:dd:ee:ff", "at:ip6-public-1 and peer:mac-1"),
        ("half of one, 99:32:9d:8b, is one", "half of one, id-1, is one"),
        ("at 13:04:52.120 on 2026-11-21", "at 13:04:52.120 on 2026-11-21"),
        ("open /home/alice/x.py: no such file", "open path-1: no such file"),
        (r"open C:\Users\alice\x.py failed", "open path-1 failed"),
        ("read ~/work/x and \\\\fileserver\\share", "read path-2 and path-1"),
        ("the name build7.corp.example could not be resolved", "the name host-1 could not be resolved"),
        ("https://gate.corp.example:8443/v1/messages?beta=1", "https://host-1:8443/v1/messages?…"),
        ("https://alice:hunter2@gate.corp.example/x", "https://[removed]@host-1/path-1"),
        ("org 0e5b8c36-9d0e-4b6b-8f70-2f1f2b0a2a11 has none", "org id-1 has none"),
        ("tool mcp__acme-crm__find_customer failed", "tool mcp__mcp-1__tool-1 failed"),
        ("refused on feature/umbrella-merger again", "refused on name-1 again"),
    ],
)
def test_each_kind_of_thing_gets_its_pseudonym(text: str, left: str) -> None:
    """An address keeps its family and whether it is public, a URL its scheme and port; nothing else is kept."""
    assert said(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 104] Connection reset by peer",
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
        "prompt is too long: 213000 tokens > 200000 maximum",
        "no answer from api.anthropic.com:443 within 5 s",
        "the body ended before the answer did",
        "overloaded_error: Overloaded",
        "C.rst.tool after 304.2 s, request req_011CSHoEeqs5C35K2UUqR7Fy at 9eea680afe7cbd1f-ORD",
        "claude-cli/2.1.114 (external, cli)",
        "text/event-stream; charset=utf-8",
        "POST /v1/messages HTTP/1.1",
        "saved from silence past 300 s",
    ],
)
def test_what_helps_to_understand_a_break_is_left_alone(text: str) -> None:
    """Errors of systems and providers, our own sentences, numbers, codes and the provider's ids."""
    assert said(text) == text


def test_what_gateways_and_stories_say_is_left_alone() -> None:
    """The words of our own texts are all plain: a reader of a public report misses none of them."""
    missing = {word for text in _our_sentences() for word in _words_lost(text)}
    assert not missing, f"add to flight/plainwords.py what can be no name: {' '.join(sorted(missing))}"


def _our_sentences() -> Iterator[str]:
    """What is noted as a reason (`why`, `detail`, `change`, ...) in constant texts of the tables below."""
    from holdfast.flight import flights
    from holdfast.gateway import outage

    yield from flights._DEED.values()
    yield from flights._PHASE.values()
    yield from flights._HEALED.values()
    yield from flights._EXPIRED.values()
    yield from outage.ABSENCE.values()


def _words_lost(text: str) -> list[str]:
    names = Names()
    deidentify.text(text, names)
    return list(names.key().values())


def test_the_same_thing_has_the_same_pseudonym_all_through_a_report() -> None:
    """So that a reader can follow it, and the owner of the key can say who it was."""
    names = Names()
    first = deidentify.text("at 203.0.113.9 and Build7.corp.example", names)
    again = deidentify.text("203.0.113.9 again, then build7.corp.example", names)
    assert first == "at ip4-public-1 and host-1" and again == "ip4-public-1 again, then host-1"
    assert names.key() == {"ip4-public-1": "203.0.113.9", "host-1": "Build7.corp.example"}
    assert names.counts() == {"IPv4 address": 1, "host name": 1}


def test_a_text_of_somebodys_own_words_is_replaced_as_a_whole() -> None:
    """Its shape, with every second word left, would still tell what it was about."""
    assert said("Refactor billing pipeline: Falcon merger, Umbrella subsidiary, invoices overdue") == "text-1"


def test_credentials_are_counted_and_are_not_in_the_key() -> None:
    """Nobody needs the way back to a credential."""
    names = Names()
    told = deidentify.text("x-api-key: sk-ant-api03-abcdefgh12345 refused", names)
    assert "[removed]" in told and "abcdefgh" not in told + str(names.key())
    assert names.counts()["credential"] == 1


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_to_do_it_twice_changes_nothing(text: str) -> None:
    """Whatever the text: a second pass by the same names finds nothing more to take out."""
    names = Names()
    once = deidentify.text(text, names)
    assert deidentify.text(once, names) == once


def test_a_name_known_from_a_field_is_found_in_texts_made_of_plain_words() -> None:
    """A title can be made of words that say nothing each; where we know it, it goes."""
    names = Names()
    names.name("title", "Connection limit of the client")
    assert deidentify.text("closed in connection limit of the client", names) == "closed in title-1"


# ----- fields


def test_every_field_of_a_record_has_a_policy() -> None:
    """A new field leaves the machine only once somebody has thought about it: add it to `RECORD`."""
    assert set(RECORD) == set(TurnRecord.__struct_fields__)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_field_of_a_moment_has_a_policy(kind: type) -> None:
    """The same for moments: add it to `MOMENTS`."""
    assert set(MOMENTS[kind.__name__]) == set(kind.__annotations__)


def test_every_moment_of_the_table_exists() -> None:
    """A table that is not kept is no table."""
    assert set(MOMENTS) == set(KINDS)


def test_every_name_in_evidence_has_a_policy() -> None:
    """The same for evidence: add it to `EVIDENCE`."""
    assert set(EVIDENCE) == set(evidence.EVIDENCE)


def test_ids_of_clouds_and_edges_are_kept_by_their_form() -> None:
    """They are for whoever runs the edge; what only stands in such a header is not kept."""
    told = deidentify.evidence(
        {
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "x_amzn_trace_id": "Root=1-67891233-abcdef012345678912345678",
            "x_azure_ref": "alice-laptop",
            "via": "1.1 proxy7.corp.example",
            "server": "cloudflare",
            "network": "n-5f2c",
        },
        Names(),
    )
    assert told == {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "x_amzn_trace_id": "Root=1-67891233-abcdef012345678912345678",
        "x_azure_ref": "request-1",
        "via": "1.1 host-1",
        "server": "cloudflare",
        "network": "id-1",
    }


def test_evidence_without_a_policy_is_left_out_and_said() -> None:
    """What another version measured may be anything."""
    names = Names()
    told = deidentify.evidence({"errno": 104, "ssid": "Alice's network", "rtt_ms": None}, names)
    assert told == {"errno": 104, "rtt_ms": None}
    assert names.counts() == {"fact without a policy": 1}


def test_a_moment_of_another_version_is_left_out_and_said() -> None:
    """We do not know what its fields mean."""
    names = Names()
    assert deidentify.moment(UnknownMoment("Dreamt", {"of": "sheep"}), names) is None
    assert names.counts() == {"moment of another version": 1}


def test_a_record_keeps_what_a_vendor_needs() -> None:
    """Sizes, model, client version, ids of the provider's, times; the session and the address are gone."""
    record, names = frozen_turn(turn_id="01m7x2abcdefgh"), Names()
    told = deidentify.record(record, names)
    assert (told.request_id, told.model, told.profile) == (record.request_id, record.model, record.profile)
    assert told.upstream == "https://api.anthropic.com" and told.turn_id == record.turn_id
    assert told.session == "session-1" and len(told.moments) == len(record.moments)
    assert names.key()["ip4-public-1"] == "203.0.113.7" and "203.0.113.7" not in repr(told)
    assert told.started == record.started and told.answer_bytes == 91_300


def test_an_id_that_has_not_the_providers_form_is_not_kept() -> None:
    """Whoever stands between may put anything there; a UUID there is the provider's."""
    names = Names()
    assert deidentify.value(Policy.REQUEST_ID, "alice-laptop", names) == "request-1"
    uuid = "0e5b8c36-9d0e-4b6b-8f70-2f1f2b0a2a11"
    assert deidentify.value(Policy.REQUEST_ID, uuid, names) == uuid
    assert deidentify.value(Policy.EDGE_ID, "9eea680afe7cbd1f-ORD", names) == "9eea680afe7cbd1f-ORD"
    assert deidentify.value(Policy.EDGE_ID, "corp-edge", names) == "edge-1"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("claude-opus-4-7", "claude-opus-4-7"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-latest"),
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/x", "model-1"),
        ("acme-private-model", "model-1"),
    ],
)
def test_public_models_keep_their_names(model: str, told: str) -> None:
    """A vendor has to know which; an account's own deployment has the account in its name."""
    assert deidentify.value(Policy.MODEL, model, Names()) == told


def test_tools_of_programs_are_named_and_those_of_mcp_servers_are_not() -> None:
    """`Write` says where the freeze was; a server's name says where somebody works."""
    names = Names()
    assert deidentify.value(Policy.TOOL, "Write", names) == "Write"
    assert deidentify.value(Policy.TOOL, "mcp__acme-crm__find", names) == "mcp__mcp-1__tool-1"
    assert deidentify.value(Policy.TOOL, "find_customer", names) == "tool-2"


def test_an_ending_keeps_its_code() -> None:
    """Side, mechanism and phase are ours; the detail is not."""
    given = Ending(Side.PROVIDER, Mechanism.DNS, Phase.RESOLVING, "the name build7.corp.example is unknown")
    told = deidentify.ending(given, Names())
    assert told.code == given.code and told.detail == "the name host-1 is unknown"


def test_what_was_replaced_is_counted_in_words() -> None:
    """In the plural where there are several, whatever the kind is called."""
    names = Names()
    for number in range(3):
        names.name("turn", f"turn {number}")
        names.name("name", f"word {number}")
        names.name("ip4", f"198.51.100.{number}")
    names.name("request", "x")
    assert names.in_words() == (
        "3 IPv4 addresses, 3 names or unknown words, 1 request id of an unknown form, 3 turn ids of an unknown form"
    )
