"""What is made to be sent on: nothing in it says whose it is, whatever stood in the record."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st

from holdfast.cli.flight import _public, _public_line
from holdfast.flight import moments as vocabulary
from holdfast.flight.deidentify import Names
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.evidence import EVIDENCE
from holdfast.flight.flights import Line
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.reading import KINDS, StoredTurn, UnknownMoment
from holdfast.flight.record import TurnRecord
from holdfast.report import html, text
from holdfast.report.incident import as_plain, examine
from holdfast.report.issue import LONGEST, issue
from tests.flight.telling import at
from tests.report.turns import ALIVE, cancelled, frozen, outage, refused, reset_and_healed

word = st.text("bcdfgkmprstvz", min_size=7, max_size=10)
"Drawn of consonants: a word like that stands in no dictionary, and is found wherever it is left."
hexadecimal = st.text("0123456789abcdef", min_size=12, max_size=12)


@st.composite
def private(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Something private as it may stand in a text, and what of it must not be found anywhere."""
    one, two, three = draw(word), draw(word), draw(word)
    hex12 = draw(hexadecimal)
    four = str(draw(st.ip_addresses(v=4).filter(lambda ip: ip.packed[0] > 9 and ip.packed[3] > 9)))
    six = str(draw(st.ip_addresses(v=6).filter(lambda ip: len(ip.compressed) > 12)))
    mac = ":".join(hex12[i : i + 2] for i in range(0, 12, 2))
    uuid = f"{hex12[:8]}-{hex12[8:]}-4{hex12[:3]}-8{hex12[3:6]}-{hex12[::-1]}"
    return draw(
        st.sampled_from(
            [
                (f"sk-ant-api03-{one}{hex12}", [one, hex12]),
                (f"authorization: Bearer {one}{hex12}", [one, hex12]),
                (f"{one}.{two}@{three}.example", [one, two, three]),
                (four, [four]),
                (f"[{six}]:443", [six]),
                (mac, [mac]),
                (f"/home/{one}/{two}/{three}.py", [one, two, three]),
                (f"~{one}/{two}", [one, two]),
                (rf"C:\Users\{one}\{two}.txt", [one, two]),
                (rf"\\{one}\{two}", [one, two]),
                (f"{one}.{two}.example", [one, two]),
                (f"https://{one}:{two}@{three}.internal:8443/v1/messages?{one}={two}", [one, two, three]),
                (one.upper(), [one]),
                (f"feature/{one}-{two}", [one, two]),
                (f"{one.title()} {two} for the {three} of next week", [one, two, three]),
                (f"mcp__{one}-{two}__{three}", [one, two, three]),
                (f"{one}-{two}", [one, two]),
                (f"org {uuid}", [uuid]),
                (f"C=US, O={one.title()} {two.title()}, CN={three} CA 1", [one, two, three]),
                (f"Please tell {one} that {two} leaves, then delete {three}", [one, two, three]),
                (f"<b>@{one}</b> ](http://{two}.example) #{three}", [one, two, three]),
            ]
        )
    )


texts = st.tuples(
    private(),
    st.sampled_from(["{}", "the connection to {} was reset", "error: {}: no such host", '{{"x": "{}"}}']),
).map(lambda pair: (pair[1].format(pair[0][0]), pair[0][1]))


UNSHRUNK = [Step.explicit, Step.reuse, Step.generate]
"What is found can be read as it is; to make it smaller takes minutes."


class Stained:
    """Puts something private into every string that it is given."""

    def __init__(self, drawn: list[tuple[str, list[str]]]) -> None:
        self._drawn, self._next = drawn, 0
        self.forbidden: set[str] = set()

    def text(self) -> str:
        """The next one, which from now on must not be found."""
        told, needles = self._drawn[self._next % len(self._drawn)]
        self._next += 1
        self.forbidden.update(needles)
        return told

    def ending(self, ending: Ending) -> Ending:
        """Its detail, and every text in its evidence; also a fact that nobody knows."""
        evidence = {
            name: self.text() if isinstance(fact, str) else fact for name, fact in ending.evidence.items()
        } | {name: self.text() for name in EVIDENCE if name not in ending.evidence}
        return replace(ending, detail=self.text(), evidence=evidence | {"another": self.text()})

    def moment(self, moment: Moment) -> Moment:
        """Every text in it."""
        if isinstance(moment, UnknownMoment):
            return UnknownMoment(self.text(), {self.text(): self.text()})
        changed: dict[str, Any] = {}
        for name, annotation in type(moment).__annotations__.items():
            if "str" in str(annotation):
                changed[name] = self.text()
            elif "Ending" in str(annotation):
                changed[name] = self.ending(getattr(moment, name))
        return msgspec.structs.replace(moment, **changed)

    def record(self, record: TurnRecord) -> TurnRecord:
        """Every text in it, moments and ending included."""
        changed: dict[str, Any] = {
            name: self.text()
            for name, told in TurnRecord.__annotations__.items()
            if "str" in told and name not in ("moments",)
        }
        moments = [(when, self.moment(one)) for when, one in record.moments]
        ending = self.ending(record.ending) if record.ending else None
        return msgspec.structs.replace(record, **changed, ending=ending, moments=moments)


def of_every_kind() -> list[tuple[Instant, Moment]]:
    """One moment of each kind, so that none is forgotten, and one that only another version knows."""
    broke = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "why", ALIVE | {"stream_error": "CANCEL"})
    values = {"str": "word", "int": 3, "float": 4.5, "bool": True, "Ending": broke}
    told: list[tuple[Instant, Moment]] = []
    for number, kind in enumerate(KINDS.values()):
        fields = {name: values[spec.split(" ")[0]] for name, spec in kind.__annotations__.items()}
        told.append((at(number / 10), kind(**fields)))
    return [*told, (at(5), UnknownMoment("Dreamt", {}))]


@settings(
    phases=UNSHRUNK,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.lists(texts, min_size=8, max_size=14),
    st.sampled_from([frozen, reset_and_healed, refused, outage, cancelled, of_every_kind]),
)
def test_nothing_private_is_found_in_what_is_made_to_be_sent(
    drawn: list[tuple[str, list[str]]], teller: Any
) -> None:
    """Whatever stands in whichever string of a record: not in the issue, not in the public page, not in the rest."""
    stained = Stained(drawn)
    told = teller()
    record = told if isinstance(told, TurnRecord) else msgspec.structs.replace(frozen(), moments=told)
    turn = StoredTurn(stained.record(record), stained.text(), stained.text(), 91_300)
    names = Names()
    public, beside = _public(turn, names), [_public(turn, names)]
    line = _public_line(Line(1.0, "Logged", stained.text(), stained.text()), names)
    incident = examine(public, beside)
    incident = replace(incident, lines=(*incident.lines, line))
    pages = {
        "issue": issue(incident),
        "html": html.page(incident, public=True),
        "text": "\n".join(text.render(incident, 100)),
        "json": str(as_plain(incident)),
    }
    for name, page in pages.items():
        flat = re.sub(r"[\\\u200b\s]+", "", page).lower()
        for needle in stained.forbidden:
            assert re.sub(r"[\\\s]+", "", needle).lower() not in flat, f"{needle} is in the {name}"
    assert len(pages["issue"]) < LONGEST


def test_the_key_leads_back_and_is_not_in_the_report() -> None:
    """Who has the key can answer a vendor's question; the report alone cannot."""
    names = Names()
    record = msgspec.structs.replace(
        frozen(), session="5c0ffee0-1111-4222-8333-444455556666", upstream="https://gate.corp.example"
    )
    told = issue(examine(_public(StoredTurn(record, "i", None, None), names)))
    assert names.key()["host-1"] == "gate.corp.example" and "https://host-1" in told.replace("\u200b", "")
    assert names.key()["session-1"].startswith("5c0ffee0") and "session-1" in told
    assert not any(original in told for original in names.key().values())


def test_what_a_vendor_needs_is_there() -> None:
    """Request ids, the edge's id, versions, model, times, the ending's code, and what would prove it wrong."""
    told = issue(examine(_public(StoredTurn(frozen(), "i", None, None), Names()), made_by="holdfast 9.9"))
    for needed in (
        "req_011CfrozenTurn", "9eea680afe7cbd1f-FRA", "claude-sonnet-4-5", "2.1.114", "2027-01-15 08:00:00.000 UTC",
        "C.rst.tool", "## What would prove this wrong", "holdfast 9.9", "## In short",
    ):  # fmt: skip
        assert needed in told, needed


def test_an_address_is_public_or_not_and_no_more_is_said() -> None:
    """The family and the reach help; the number does not."""
    names = Names()
    record = frozen()
    record.moments = [
        (
            when,
            msgspec.structs.replace(one, address="192.168.7.9:443")
            if isinstance(one, vocabulary.Connected)
            else one,
        )
        for when, one in record.moments
    ]
    assert "ip4-private-1:443" in issue(examine(_public(StoredTurn(record, "i", None, None), names)))
    assert ipaddress.ip_address(names.key()["ip4-private-1"]).is_private
