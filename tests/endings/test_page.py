"""docs/endings.md says of every ending what the vocabulary, the lab and the evidence say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.cli.endings_page import MARK, page
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.pages import look_up
from holdfast.flight.ways import plainly, way_of
from holdfast.lab.endings import CATALOGUE, NOT_PLAYED, Over

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "endings.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
ENDINGS = {row[0].strip("`"): row for row in ROWS if len(row) == 5}
PHASES = {row[0].strip("`"): row for row in ROWS if len(row) == 3}
KINDS = {row.code.rpartition(".")[0] for row in CATALOGUE.values()}
TLS = " --tls-cert cert.pem --tls-key key.pem"


def played(cell: str) -> str | None:
    """The scenario that a cell tells to play; None where it says that there is none."""
    found = re.fullmatch(rf"`holdfast lab play (\S+?)(?:{TLS})?`", cell)
    assert found or cell == "cannot be played", cell
    return found[1] if found else None


def test_the_tables_are_up_to_date() -> None:
    """They are generated: if this fails, run `make docs`."""
    assert page(PAGE) == PAGE, "run: make docs"


def test_what_was_written_by_hand_is_left_alone() -> None:
    """Down to the mark; a page without one is refused, with what to write."""
    assert page(f"Mine.\n\n{MARK}\nOld.").startswith(f"Mine.\n\n{MARK}\n\n## By upstream\n")
    with pytest.raises(ValueError, match="write there: <!--"):
        page("Mine.")


@pytest.mark.parametrize("kind", ENDINGS)
def test_explain_says_what_the_page_says(kind: str) -> None:
    """One source: cause, evidence and advice, in any phase, without the Markdown."""
    side, mechanism = kind.split(".")
    way = way_of(Side(side), Mechanism(mechanism))
    assert way is not None
    for code in (kind, f"{kind}.headers"):
        [told] = look_up(code)
        for text in (way.means, way.shows, way.do):
            assert plainly(text) in told.text
        assert not re.search(r"`|]\(", told.text.partition("What it means")[2])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_ending_that_is_played_has_its_row(kind: str) -> None:
    """Side and mechanism; the phase is another table."""
    assert kind in ENDINGS


@pytest.mark.parametrize("mechanism", Mechanism, ids=lambda mechanism: mechanism.value)
def test_every_mechanism_has_a_row(mechanism: Mechanism) -> None:
    """Those that cannot be played as well."""
    assert any(kind.split(".")[1] == mechanism.value for kind in ENDINGS)


@pytest.mark.parametrize("kind", ENDINGS)
def test_the_line_of_a_row_plays_that_ending(kind: str) -> None:
    """By a scenario that there is, with the certificate where it needs one."""
    side, mechanism = kind.split(".")
    name = played(ENDINGS[kind][3])
    if name is None:
        assert Mechanism(mechanism) in NOT_PLAYED or kind not in KINDS
        return
    row = CATALOGUE[name]
    assert row.side is Side(side) and row.mechanism is Mechanism(mechanism)
    assert (Over.PLAIN not in row.over) == ENDINGS[kind][3].endswith(f"{TLS}`")


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
def test_every_phase_has_a_row_and_its_line_plays_it(phase: Phase) -> None:
    """The same ending in each of them, as far as that is possible."""
    name = played(PHASES[phase.value][2])
    assert (name is None) == (phase in NOT_PLAYED)
    assert name is None or CATALOGUE[name].phase is phase


def test_every_scenario_that_is_named_is_there() -> None:
    """In prose too."""
    for name in re.findall(r"holdfast lab play (\S+?)[`\s]", PAGE):
        assert name == "NAME" or name in CATALOGUE or name in {row.code for row in CATALOGUE.values()}


def test_evidence_that_is_named_is_measured() -> None:
    """A name of evidence in the page is one that the gateway writes down."""
    written = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/holdfast/gateway").rglob("*.py")
    )
    for row in ENDINGS.values():
        for name in re.findall(r"`([a-z_]+)`(?! of)", row[2]):
            assert f'"{name}"' in written or name in ("connect", "tool", "resolve", "message_stop"), name


def test_every_flag_shown_with_a_row_is_served() -> None:
    """Advice that names a flag names one that exists."""
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for flag in set(re.findall(r"--[a-z0-9-]+", PAGE)) - {"--keep"}:
        assert f"{flag} " in reference or f"{flag}\n" in reference, flag
