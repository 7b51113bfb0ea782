"""Evidence: one table says what every name means."""

from __future__ import annotations

import re

import pytest

from holdfast.flight import deidentify
from holdfast.flight.evidence import EVIDENCE, TOLD
from holdfast.flight.pages import look_up

_UNITS = ("_s", "_ms", "_bytes", "_tokens")
_NUMBERS_BY_WORDS = re.compile(r"(?i)\bsince\b|\bhow long\b|\bround trip\b")


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_name_of_evidence_has_a_page_and_a_policy(name: str) -> None:
    """It can be looked up, and it is decided whether it may leave the machine."""
    assert EVIDENCE[name].endswith(".") and re.fullmatch(r"[a-z0-9_]+", name)
    assert [page for page in look_up(name) if page.text], name
    assert name in deidentify.EVIDENCE


def test_durations_carry_their_unit_in_the_name() -> None:
    """Whoever reads a number need not look up what it counts."""
    timed = [name for name, said in EVIDENCE.items() if _NUMBERS_BY_WORDS.match(said)]
    assert len(timed) > 10 and all(name.endswith(_UNITS) for name in timed)


def test_a_sentence_shows_only_what_the_table_knows() -> None:
    """And no policy is made for a name that nobody gives."""
    assert set(EVIDENCE) >= TOLD
    assert set(deidentify.EVIDENCE) == set(EVIDENCE)
