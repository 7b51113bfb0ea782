"""By which network a machine leaves: what services answer, and that the address stays out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from holdfast.probes import egress
from holdfast.probes.asking import carry_out
from holdfast.probes.result import Grade, Result, as_dict
from tests.probes.stage import QUICK, Server, go_on

EXAMPLE = "AS64500 Example Net"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"ip": "203.0.113.7", "hostname": "203-0-113-7.example", "city": "Berlin", "region": "BE", "country": "DE",
          "org": EXAMPLE}, "AS64500 Example Net, Berlin, DE"),
        ({"ip": "203.0.113.7", "country": "Germany", "country_iso": "DE", "city": "Berlin", "asn": "AS64500",
          "asn_org": "Example Net"}, "AS64500 Example Net, Berlin, Germany"),
        ({"query": "203.0.113.7", "as": EXAMPLE, "country": "Germany", "countryCode": "DE", "city": "Berlin",
          "isp": "Example", "org": ""}, "AS64500 Example Net, Berlin, Germany"),
        ({"asn": {"asn": "AS64500", "name": "Example Net"}, "country_code": "DE"}, "AS64500 Example Net, DE"),
        ({"asn": 64500, "org": "1und1 Example"}, "AS64500 1und1 Example"),
        ({"country": "DE"}, "DE"),
    ],
)  # fmt: skip
def test_services_name_it_differently(said: dict[str, Any], words: str) -> None:
    """The usual names of the fields, whichever service it is."""
    found = egress.verdict("service.example", said)

    assert found.grade is Grade.FINE and egress.in_words(found.facts) == words
    assert found.verdict == f"this machine leaves by {words}, as service.example sees it"


@pytest.mark.parametrize(
    "said",
    [
        {
            "ip": "203.0.113.7",
            "org": "AS64500 pool 203.0.113.7",
            "city": "203-0-113-7",
            "country": "(203.0.113.7)",
        },
        {
            "ip": "2001:db8::7",
            "org": "AS64500 x2001:db8::7",
            "city": "at 2001:db8::8",
            "country": "[2001:db8::7]",
        },
        {"address": "198.51.100.9", "asn": "AS64500", "as_name": "dsl-198-51-100-9.example"},
    ],
)
def test_the_address_is_kept_nowhere(said: dict[str, Any]) -> None:
    """Whatever field a service puts it in."""
    found = egress.verdict("service.example", said)
    kept = json.dumps(
        as_dict(Result("egress", "x", 0, 1.0, found.grade, found.verdict, "s", "n", found.facts))
    )

    assert egress.in_words(found.facts) == "AS64500"
    assert not any(part in kept for part in ("203.0", "203-0", "db8", "198.51", "198-51"))


@pytest.mark.parametrize(
    "said", [None, [], {}, {"asn": True}, {"asn": "AS0"}, {"org": 3, "city": "  "}, {"asn": "x"}]
)
def test_an_answer_that_names_nothing_measures_nothing(said: Any) -> None:
    """And no part of it is guessed."""
    assert egress.verdict("service.example", said).grade is Grade.NOT_MEASURED


def test_a_service_is_asked_once_and_without_a_name() -> None:
    """One GET of the path that was named."""
    body = json.dumps({"ip": "203.0.113.7", "city": "Berlin", "country": "DE", "org": EXAMPLE}).encode()
    with Server(pages={"/json": body}, packed=True) as server:
        found = carry_out(egress, replace(server.target(), prefix="/json"), QUICK, go_on)
        away = carry_out(egress, server.target(), QUICK, go_on)

    assert "AS64500 Example Net, Berlin, DE" in found.verdict and "203.0.113.7" not in json.dumps(
        as_dict(found)
    )
    assert [one.partition(" HTTP")[0] for one in server.heard] == ["GET /json", "GET /"]
    assert away.grade is Grade.NOT_MEASURED and "could not be read" in away.verdict


def test_the_newest_answer_counts() -> None:
    """A machine moves; and what could not be asked is no answer."""
    old, new = (
        Result("egress", "x", at, 1.0, Grade.FINE, "v", "s", "n", {"asn": f"AS{at}"}) for at in (1, 2)
    )
    nothing = Result("egress", "x", 3, 1.0, Grade.NOT_MEASURED, "v", "s", "n", {})

    assert egress.latest([new, old, nothing]) is new and egress.latest([nothing]) is None
