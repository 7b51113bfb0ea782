"""Pages: every word of the closed vocabularies can be looked up."""

from __future__ import annotations

import itertools

import pytest

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.pages import Page, all_pages, close_to, look_up
from holdfast.flight.reading import KINDS


@pytest.mark.parametrize(
    "word", [*Side, *Mechanism, *Phase], ids=lambda word: f"{type(word).__name__}.{word.name}"
)
def test_every_word_of_an_ending_has_a_page(word: Side | Mechanism | Phase) -> None:
    """By its short code and by its name."""
    kind = type(word).__name__.lower()
    for name in (word.value, word.name):
        assert [page.text for page in look_up(name) if page.kind == kind and page.text.endswith(".")], name


@pytest.mark.parametrize("name", KINDS)
def test_every_moment_has_a_page_with_its_fields(name: str) -> None:
    """The page says what happened and what the moment holds."""
    [page] = [page for page in look_up(name) if page.kind == "moment"]
    assert page.first_line.endswith(".")
    assert all(f"  {field}: " in page.text for field in KINDS[name].__annotations__)


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: f"{page.kind} {page.name}")
def test_every_page_can_be_found_by_its_own_name(page: Page) -> None:
    """The list names nothing that cannot be opened."""
    assert page in look_up(page.name) and page.text


def test_every_code_has_a_page() -> None:
    """Any side, mechanism and phase, joined with dots."""
    for parts in itertools.product(Side, Mechanism, Phase):
        code = ".".join(part.value for part in parts)
        [page] = look_up(code)
        assert page.name == code and page.kind == "ending"
        spelled, _, means = page.text.partition("\n\n")
        assert len(spelled.split("\n")) == 4 and (
            means.startswith("What it means: ") or "no such ending" in means
        )


def test_spelling_is_forgiven() -> None:
    """Case, dashes and underscores do not matter; a near miss brings suggestions; nonsense brings none."""
    assert look_up("quiet-noticed") == look_up("QUIETNOTICED") == look_up("QuietNoticed")
    assert look_up("gave up") == look_up("gave_up")
    assert look_up("c.RST.tool")[0].name == "C.rst.tool"
    assert "orphan" in close_to("orfan") and "QuietNoticed" in close_to("quiet")
    assert close_to("zzzzqqqq") == [] and look_up("x.y.z") == [] and look_up("") == []
