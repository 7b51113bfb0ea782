"""A disturbed turn's request can be known again; an undisturbed turn's is not even looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.diagnosis import loops
from holdfast.flight import moments as m
from holdfast.flight.record import TurnRecord
from holdfast.flight.state import SALT
from holdfast.gateway.settings import RetryRules, Settings, Upstream
from holdfast.lab.provider import Provider
from holdfast.lab.script import Answer, answer, open_text, reset, says, text
from tests.gateway.hosted import Call, Hosted, body, hosted

BREAKS = answer([open_text(), *says("Once upon")], reset())


@contextmanager
def before(told: Provider | Answer, state: Path, **settings: Any) -> Iterator[Hosted]:
    """A gateway that keeps its state here and asks nobody twice."""
    if isinstance(told, Answer):
        with Provider(told).running() as provider, before(provider, state, **settings) as gateway:
            yield gateway
        return
    chosen = Settings(
        upstream=Upstream.parse(told.url), state_dir=state, retries=RetryRules(retries=0), **settings
    )
    with hosted(chosen) as gateway:
        yield gateway


def asked(gateway: Hosted, *prompts: str) -> list[TurnRecord]:
    """The records of these requests, one after the other, heard as far as they go."""
    for number, prompt in enumerate(prompts, 1):
        call = Call(gateway.port, body(prompt), {"user-agent": "nobody-measured/1.0"})
        call.hear_all()
        call.leave()
        gateway.kept.wait_for(m.TurnEnded, number)
    return list(gateway.kept.records.values())


def test_the_same_request_that_breaks_each_time_has_the_same_key(tmp_path: Path) -> None:
    """Across turns and across gateways of one state directory: one loop; another question is none of it."""
    with Provider(BREAKS).running() as provider:
        with before(provider, tmp_path) as gateway:
            first = asked(gateway, "Say it.", "Say it.", "Say something else.")
        with before(provider, tmp_path) as gateway:
            later = asked(gateway, "Say it.")
    keys = [record.request_key for record in (*first, *later)]
    assert keys[0] is not None and keys[0] == keys[1] == keys[3] != keys[2]
    [loop] = loops.found([*first, *later])
    assert len(loop.tries) == 3 and loop.code == "P.rst.text" and loop.by == "key"


def test_asked_with_and_without_streaming_is_no_loop_of_a_client_nobody_measured(tmp_path: Path) -> None:
    """Two requests with the same content, asked both ways on purpose; each of them asked again is the same."""
    with before(BREAKS, tmp_path) as gateway:
        for number, stream in enumerate((True, None, True), 1):
            call = Call(gateway.port, body("Say it.", stream=stream), {"user-agent": "nobody-measured/1.0"})
            call.hear_all()
            call.leave()
            gateway.kept.wait_for(m.TurnEnded, number)
        records = list(gateway.kept.records.values())
    streamed, whole, again = [record.request_key for record in records]
    assert streamed == again and None not in (streamed, whole) and streamed != whole
    assert loops.found(records[:2]) == []


def test_an_undisturbed_turn_has_no_key(tmp_path: Path) -> None:
    """Nothing is hashed and no salt is made for turns that went well."""
    with before(answer(text("All is well.")), tmp_path) as gateway:
        [record] = asked(gateway, "Say it.")
    assert record.request_key is None and not (tmp_path / SALT).exists()


@pytest.mark.parametrize("how", ["nothing is recorded", "the salt cannot be read"])
def test_without_a_key_the_turn_is_told_all_the_same(tmp_path: Path, how: str) -> None:
    """`--record none` keeps none; a state directory that refuses costs the key and nothing else."""
    if how == "the salt cannot be read":
        (tmp_path / SALT).mkdir()
    with before(BREAKS, tmp_path, record="none" if how == "nothing is recorded" else "lost") as gateway:
        [record] = asked(gateway, "Say it.")
    assert record.request_key is None and record.ending is not None and record.ending.code == "P.rst.text"
