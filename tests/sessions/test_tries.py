"""Failed tries by transcripts and telemetry together: each failure once, whichever of the two tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.sessions.client_telemetry import files
from holdfast.sessions.corpus import update, update_unsent
from holdfast.sessions.frames import told_together
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from holdfast.sessions.tries import Together
from tests.sessions.unsent import AGENT, TITLE, Unsent
from tests.sessions.written import MORNING_MS, Pen


def joined(home: Path) -> Together:
    store = Store(None, now_ms=MORNING_MS)
    places = roots(home)
    update(store, transcripts(places)[0], gaps=True)
    update_unsent(store, files(places))
    both = told_together(store)
    assert both is not None
    return both


def ages_s(both: Together) -> list[float | None]:
    """Of each try, as the tables and the case make them: the wait before it taken off."""
    waited: dict[str, float] = {}
    found: list[float | None] = []
    for row in both.error:
        before = row["before_ms"]
        age = None if before is None else row["at_ms"] - before - waited.get(row["chain"], 0.0)
        found.append(None if age is None else round(age / 1000, 1))
        waited[row["chain"]] = row["wait_ms"] or 0.0
    return found


def ends(both: Together) -> list[tuple[Any, ...]]:
    return [(row["tries"], row["outcome"]) for row in both.chain]


def test_what_print_mode_hides_is_a_failure_by_its_telemetry(tmp_path: Path) -> None:
    """2.1.86 logs the answer alone. Two tries before it took 7 and 3 s, and its transcript knows where that was."""
    pen = Pen(version="2.1.86").asks().after(2).answers("msg_0", context=80_000).after(30).tool_says()
    pen.after(12).answers("msg_1").saved(tmp_path)
    unsent = (
        Unsent()
        .after(32)
        .asks()
        .after(7)
        .fails(1, status=529, wait_ms=500)
        .after(3.5)
        .fails(2, status=529, wait_ms=1000)
    )
    unsent.after(1.5).answers("req_msg_1", 3).saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(2, "recovered")] and ages_s(both) == [7.0, 3.0]
    first = both.error[0]
    assert (first["code"], first["request_id"], first["project"]) == ("HTTP 529", "req_1of529", "/work/atlas")
    assert (first["context_tokens"], first["agent"]) == (80_000, None)
    [alone] = both.alone
    assert (alone.tries, alone.longest_s, alone.request_id, both.sharper) == (2, 7.0, "req_2of529", 0)


def test_a_death_on_record_is_no_failure_of_telemetry_alone(tmp_path: Path) -> None:
    """Print mode logs that it gave up: its tries are telemetry's, and that it failed is on record whatever was sent."""
    Pen(version="2.1.86").asks().after(20).gives_up("API Error: Connection error.").saved(tmp_path)
    unsent = Unsent().asks().after(7).fails(1, wait_ms=500).after(12.9).gives_up(2).saved(tmp_path)
    both = joined(tmp_path)

    assert unsent.exists() and ends(both) == [(1, "died")] and both.alone == ()
    assert both.error[0]["file"] is not None and both.chain[0]["file"] is not None


@pytest.mark.parametrize("how", ["died", "recovered", "abandoned"])
def test_telemetry_closes_a_chain_that_the_transcript_left_open(tmp_path: Path, how: str) -> None:
    """A copy was made after the first try. The second one's failure and the end are telemetry's, and it is one failure."""
    Pen(version="2.1.114").asks().after(60).fails(1, wait_ms=503.1).saved(tmp_path)
    unsent = Unsent(version="2.1.114").asks().after(60).fails(1, wait_ms=503.1, took_ms=60_000)
    unsent.after(60).fails(2, wait_ms=1000, took_ms=59_000).after(60)
    match how:
        case "died":
            unsent.gives_up(3, took_ms=59_000)
        case "recovered":
            unsent.answers("req_1", 3, took_ms=59_000)
        case _:
            unsent.is_stopped()
    unsent.saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(2, how)] and (both.alone, both.sharper) == ((), 1)
    assert both.chain[0]["ended_ms"] == MORNING_MS + 180_000


def test_an_end_on_record_is_not_told_anew(tmp_path: Path) -> None:
    """The transcript knows that it was answered; that telemetry has another end at a later time changes nothing of it."""
    Pen(version="2.1.114").asks().after(60).fails(1, wait_ms=503.1).after(5).answers("msg_1").saved(tmp_path)
    unsent = Unsent(version="2.1.114").asks().after(60).fails(1, wait_ms=503.1, took_ms=60_000)
    unsent.after(60).gives_up(2, took_ms=59_000).saved(tmp_path)

    assert ends(joined(tmp_path)) == [(1, "recovered")]


def test_a_failure_of_both_is_one(tmp_path: Path) -> None:
    """The same waits, to the millisecond, at the same time: the transcript's record, by its own id."""
    pen = Pen().asks().after(300).fails(1, wait_ms=503.1).after(300).fails(2, wait_ms=1012.7)
    pen.after(5).answers("msg_1").saved(tmp_path)
    unsent = Unsent().asks().after(300).fails(1, wait_ms=503.1).after(300).fails(2, wait_ms=1012.7)
    unsent.after(5).answers("req_msg_1", 3).saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(2, "recovered")]
    assert [row["code"] for row in both.error] == ["ECONNRESET", "ECONNRESET"]
    assert (both.alone, both.sharper) == ((), 0)


def test_telemetry_knows_the_age_that_a_hook_hides(tmp_path: Path) -> None:
    """Forty seconds went by before the request was sent; the try itself was cut after five minutes."""
    Pen().asks().after(340).fails(1, wait_ms=503.1).after(2).answers("msg_1").saved(tmp_path)
    Unsent(version="2.1.114").after(340).fails(1, wait_ms=503.1, took_ms=300_000).saved(tmp_path)
    both = joined(tmp_path)

    assert ages_s(both) == [300.0] and both.sharper == 1


def test_a_code_that_the_transcript_lacks_is_told(tmp_path: Path) -> None:
    """`{}` in the transcript; the client had waited as long as it was told to."""
    Pen().asks().after(600).fails(1, code=None, wait_ms=503.1).after(2).answers("msg_1").saved(tmp_path)
    Unsent().asks().after(600).fails(1, said="Request timed out.", wait_ms=503.1).saved(tmp_path)
    both = joined(tmp_path)

    assert [row["code"] for row in both.error] == ["client's time limit"] and both.sharper == 1


def test_tries_that_the_transcript_lacks_go_to_their_failure(tmp_path: Path) -> None:
    """It was copied when the second was not written yet."""
    Pen().asks().after(9).fails(1, wait_ms=503.1).saved(tmp_path)
    Unsent().asks().after(9).fails(1, wait_ms=503.1).after(8.5).fails(2, wait_ms=1000).saved(tmp_path)
    both = joined(tmp_path)

    assert [row["tries"] for row in both.chain] == [2] and both.alone == ()
    assert len({row["chain"] for row in both.error}) == 1


def test_a_turn_that_died_gets_its_tries_and_stays_one(tmp_path: Path) -> None:
    """Print mode notes the giving up alone; telemetry its tries, its status and its request."""
    Pen(version="2.1.86").asks().after(20).gives_up("API Error: 500").saved(tmp_path)
    unsent = Unsent().asks().after(9).fails(1, status=500, wait_ms=500).after(11)
    unsent.gives_up(2, status="500", kind="server_error", request_id="req_last").saved(tmp_path)
    both = joined(tmp_path)
    [dead], [chain] = both.dead, both.chain

    assert (chain["chain"], chain["outcome"], chain["ended_ms"]) == (dead["uuid"], "died", dead["at_ms"])
    assert (dead["status"], dead["request_id"]) == (500, "req_last")
    assert (ends(both), both.alone, both.sharper) == ([(1, "died")], (), 1)


def test_a_turn_that_died_at_its_first_try_gets_that(tmp_path: Path) -> None:
    """How old it was when it failed is what a limit is told by."""
    Pen(version="2.1.86").asks().after(299).gives_up("API Error: Connection error.").saved(tmp_path)
    Unsent().asks().after(299).gives_up(1, took_ms=298_000).saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(1, "died")] and ages_s(both) == [298.0]
    assert both.alone == ()


def test_a_title_that_failed_is_nobodys_turn(tmp_path: Path) -> None:
    """Counted, and no failure; the main conversation's tries of the same second are its own."""
    unsent = Unsent().asks(TITLE).asks().after(1).fails(1, status=529, wait_ms=500).after(0.1)
    unsent.fails(1, status=529, wait_ms=900).after(2).answers("req_title", 2, TITLE).after(1).gives_up(
        2
    ).saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(1, "died")] and both.aside == 1


def test_subagents_fail_beside_each_other(tmp_path: Path) -> None:
    """Two at once, with two tries and one: two failures, each with the end that says how long it took in all."""
    unsent = Unsent(version="2.1.114").asks(AGENT).after(0.01)
    unsent.asks(AGENT).after(5).fails(1, status=529, wait_ms=500, took_ms=5_010).after(1)
    unsent.fails(1, status=529, wait_ms=500, took_ms=6_000).after(0.1).fails(
        2, status=529, wait_ms=900, took_ms=600
    )
    unsent.after(3).answers("req_one", 2, AGENT).after(2).answers("req_two", 3, AGENT).saved(tmp_path)
    both = joined(tmp_path)

    assert sorted(ends(both)) == [(1, "recovered"), (2, "recovered")] and both.aside == 0
    assert sorted(age or 0.0 for age in ages_s(both)) == [0.6, 5.0, 6.0]
    assert {row["agent"] for row in both.error} == {"not known"}


def test_what_the_user_stopped_did_not_die(tmp_path: Path) -> None:
    """Esc while the client waits for its next try: abandoned. Esc in an answer, which 2.1.86 calls an error: nothing."""
    unsent = Unsent().asks().after(9).fails(1).after(1).is_stopped().after(60)
    unsent.asks().after(3).is_stopped().falls_back().gives_up(1, kind="aborted").saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(1, "abandoned")] and ages_s(both) == [9.0]


def test_a_stream_that_is_asked_for_again_is_a_failed_try(tmp_path: Path) -> None:
    """2.1.329 logs it in print mode only; in a terminal, where the turn goes well, telemetry alone has it, with its id."""
    unsent = Unsent(version="2.1.329").asks().after(40).breaks(1, "req_a").after(30).breaks(2, "req_b")
    unsent.after(2).answers("req_msg_1").saved(tmp_path)
    both = joined(tmp_path)

    assert ends(both) == [(2, "recovered")]
    assert [(row["code"], row["request_id"]) for row in both.error] == [
        ("ECONNRESET", "req_a"),
        ("ECONNRESET", "req_b"),
    ]
    assert ages_s(both) == [40.0, None]  # the wait before the second is not told


def test_a_fallback_counts_its_own_tries(tmp_path: Path) -> None:
    """Refused once, then silent, then asked for without streaming, which is refused once: two failures of one turn, as
    where transcripts log them; both end with its answer, and the second's age is that of its own request."""
    unsent = (
        Unsent().asks().after(2).fails(1, status=529).after(300).is_silent(299).after(4).fails(1, status=500)
    )
    unsent.after(3).answers("req_msg_1", 2).saved(tmp_path)
    both = joined(tmp_path)

    assert sorted(ends(both)) == [(1, "recovered"), (1, "recovered")]
    assert ages_s(both) == [2.0, 4.0]
