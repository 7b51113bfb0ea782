"""Every ending of the catalogue, played through a real gateway on real sockets, plain and over TLS.

The truth is in the row: the code that the flight must say, what its evidence must show, and by whom nothing was done.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import uvloop

from holdfast.cli.lab import settings_from
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.lab.endings import CATALOGUE, NOT_PLAYED, Of, Over, shown_by
from holdfast.lab.provider import cannot_deafen
from holdfast.lab.scenarios import CATALOGUE as TROUBLES
from holdfast.lab.script import play as steps_of
from holdfast.lab.stage import Certificate, Play, endings_of

LINUX = sys.platform == "linux"
WRONG: dict[str, str] = {}
"Rows that the gateway does not tell as it should, and what it tells instead."


def plays() -> list[object]:
    """One for each row and each way of protecting its connections."""
    return [
        pytest.param(
            name,
            over,
            id=f"{name}-{over.value}",
            marks=[pytest.mark.xfail(strict=True, reason=WRONG[name])] if name in WRONG else [],
        )
        for name, row in CATALOGUE.items()
        for over in row.over
    ]


def missing(name: str) -> str:
    """Why a row cannot be played here; empty where it can."""
    row = CATALOGUE[name]
    if row.linux and not LINUX:
        return "needs Linux: socket filters, its routes, or limits of another process"
    return cannot_deafen() if row.darkens else ""


WAITING = [
    (name, over) for name, row in CATALOGUE.items() if "--tcp-keepalive" in row.given for over in row.over
]
"Those that wait for seconds, because the kernel's probes cannot be told to hurry: all are played at the same time."


@pytest.fixture(scope="session")
def waited(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[tuple[str, Over], Play | BaseException]:
    """The plays of `WAITING` that are asked for, when they are over."""
    asked = [
        (item.callspec.params["name"], item.callspec.params["over"])  # type: ignore[attr-defined]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_the_flight_tells_the_ending_as_it_was.__name__
    ]
    wanted = [key for key in WAITING if key in asked and not missing(key[0])]
    plays = {
        (name, over): Play(CATALOGUE[name], over, tmp_path_factory.mktemp(name), settings_from, certificate)
        for name, over in wanted
    }

    async def all_of_them() -> list[BaseException | None]:
        return await asyncio.gather(*(play.run() for play in plays.values()), return_exceptions=True)

    failed = uvloop.run(all_of_them())
    return {key: error or play for (key, play), error in zip(plays.items(), failed, strict=True)}


@pytest.mark.parametrize(("name", "over"), plays())
def test_the_flight_tells_the_ending_as_it_was(
    name: str,
    over: Over,
    certificate: Certificate,
    waited: dict[tuple[str, Over], Play | BaseException],
    tmp_path: Path,
) -> None:
    """Its code, its evidence, and nobody else's name before it."""
    row = CATALOGUE[name]
    if why := missing(name):
        pytest.skip(why)
    if (name, over) in waited:
        found = waited[name, over]
        if isinstance(found, BaseException):
            raise found
        play = found
    else:
        play = Play(row, over, tmp_path, settings_from, certificate)
        uvloop.run(play.run())

    told = play.told
    assert told is not None and play.record is not None
    assert told.code == row.code
    assert [str(shows) for shows in row.shows if not shows.met_by(told.evidence)] == [], told.evidence
    assert play.verdict == row.verdict
    if row.turn:
        assert play.record.ending is not None and play.record.ending.code == row.turn
    # The cause is told before what it led to, and is laid on no other side.
    first = endings_of(play.record)[0]
    assert (first.side, first.code) == (row.side, row.code)


# -- the catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", [*Side, *Mechanism, *Phase], ids=lambda word: f"{type(word).__name__}.{word.value}"
)
def test_every_word_of_a_code_is_played(word: Side | Mechanism | Phase) -> None:
    """A side, a mechanism or a phase that nothing produces is either no word of ours or has a reason."""
    played = any(word in (row.side, row.mechanism, row.phase) for row in CATALOGUE.values())

    assert played != (word in NOT_PLAYED), "it needs a row in lab/endings.py, or a reason there"


def test_every_reason_is_a_sentence() -> None:
    """What is not played is not passed over in silence."""
    assert all(reason.endswith(".") and len(reason) > 40 for reason in NOT_PLAYED.values())


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_row_is_whole(name: str) -> None:
    """It has a story, a code of three known words, and an ending of the kind that it says."""
    row = CATALOGUE[name]

    assert row.name == name and row.story.endswith(".")
    assert row.code == f"{row.side.value}.{row.mechanism.value}.{row.phase.value}"
    assert (row.of is Of.READER) == bool(row.verdict)
    assert row in shown_by(row.code)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name in TROUBLES])
def test_two_stories_of_one_name_are_one_story(name: str) -> None:
    """`holdfast lab provider --scenario` and `holdfast lab play` mean the same by it."""
    trouble, row = TROUBLES[name], CATALOGUE[name]

    assert trouble.phase in (row.phase, None)
    assert trouble.first[0].end is row.answers[0].end


def test_a_code_without_a_row_of_its_own_is_shown_by_its_neighbours() -> None:
    """The same side and mechanism in another phase shows what it looks like."""
    assert [row.name for row in shown_by("P.torn.thinking")] == ["torn-chunk", "torn-body"]
    assert shown_by("M.slept.tool") == []
    assert {row.code for row in shown_by("P.fin.text")} == {"P.fin.text"}
    assert list(steps_of(CATALOGUE["torn-chunk"].answers[0], message_id="m", model="m", input_tokens=1))
