"""`holdfast forget`: erase what was recorded."""

from __future__ import annotations

from pathlib import Path

from holdfast.cli.gateway_log import LogFile
from holdfast.flight import instant
from holdfast.flight import moments as m
from holdfast.flight.instant import Instant
from holdfast.flight.journal import Journal
from holdfast.flight.record import InMemory
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, end, short_turn, tell, turn


def test_everything_goes_and_other_files_stay(tmp_path: Path) -> None:
    """Journal, answers, instances, spool and logs are removed, and it is said how much that was."""
    state = tmp_path / "state"
    recorded(
        state, short_turn(turn_id="aaa"), end(turn(turn_id="bbb"), 1, HUNG_UP), answers={"bbb": b"x" * 2000}
    )
    (state / "spool").mkdir()
    (state / "spool" / "left").write_text("x")
    LogFile(state / "run.log").write("turn aaa")
    (state / "run.log.1").write_text("turn bbb")
    (state / "letter.txt").write_text("mine")
    result = typed(state, "forget", "--yes")
    assert (result.exit_code, result.stdout) == (0, "Erased 2 turns and 1 kept answer (2.0 kB).\n")
    assert {path.name for path in state.iterdir()} == {"letter.txt", "state.lock"}


def test_captures_go_whether_a_gateway_runs_or_not(tmp_path: Path) -> None:
    """Also where nothing else was recorded, and the hidden parts that a killed capture left."""
    captures = tmp_path / "captures"
    for running in (False, True):
        captures.mkdir(exist_ok=True)
        for name in ("port-8000.pcap", ".port-8000.pcap.part3"):
            (captures / name).write_bytes(b"packets")
        journal = Journal(tmp_path, flush_every_s=60) if running else None
        result = typed(tmp_path, "forget", "--yes")
        assert result.exit_code == 0 and not list(captures.glob("*")), result.output
        assert journal is None or journal.close(10)


def test_it_asks_first(tmp_path: Path) -> None:
    """No is the default, and no answer is no."""
    recorded(tmp_path, short_turn(turn_id="aaa"))
    for answer in ("n\n", "\n", ""):
        assert typed(tmp_path, "forget", answer=answer).exit_code == 1
    assert "aaa" in typed(tmp_path, "flights").stdout


def test_beside_a_running_gateway_what_is_finished_goes(tmp_path: Path) -> None:
    """A turn under way stays and is recorded to its end; no text of the others is left in the files."""
    journal = Journal(tmp_path, flush_every_s=60)
    done, running = short_turn(turn_id="aaa"), tell(turn(turn_id="bbb"), (1, m.AttemptStarted(1)))
    done.model = "model-to-be-forgotten"
    journal.keep_answer(done, InMemory(b"x"), complete=True, content_type="text/event-stream")
    journal.changed(done)
    journal.changed(running)
    assert journal.settle()
    result = typed(tmp_path, "forget", "--yes")
    assert result.stdout.startswith(
        "Erased 1 turn and 1 kept answer (1 byte).\n1 unfinished turn of a running gateway stayed"
    )
    journal.changed(end(running, 3))
    assert journal.close(10)
    said = typed(tmp_path, "flights").stdout
    assert "bbb" in said and "done" in said and "aaa" not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"model-to-be-forgotten" in path.read_bytes() for path in files)


def test_only_what_is_older_goes(tmp_path: Path) -> None:
    """`--older-than 7d` keeps the last week."""
    now = instant.now()
    old = Instant(now.mono_s, now.wall_ms - 8 * 86_400_000)
    recorded(tmp_path, short_turn(old, turn_id="aaa"), short_turn(now, turn_id="bbb"))
    assert (
        "Erased 1 turn and 0 kept answers" in typed(tmp_path, "forget", "--older-than", "7d", "--yes").stdout
    )
    said = typed(tmp_path, "flights").stdout
    assert "bbb" in said and "aaa" not in said
    assert typed(tmp_path, "forget", "--older-than", "soon", "--yes").exit_code == 2


def test_the_log_of_run_is_shortened_in_place(tmp_path: Path) -> None:
    """What is older goes, with the lines that belong to it; a gateway that lives appends to the rest."""
    recorded(tmp_path, short_turn())
    log, before = tmp_path / "run.log", tmp_path / "run.log.1"
    before.write_text("2020-01-01T00:00:00Z [7] turn aaa\n")
    log.write_text("2020-01-02T00:00:00Z [7] turn bbb\n  its traceback\n")
    LogFile(log).write("turn ccc")
    assert typed(tmp_path, "forget", "--older-than", "7d", "--yes").exit_code == 0
    LogFile(log).write("turn ddd")

    assert before.read_text() == ""
    assert [line.split("] ")[1] for line in log.read_text().splitlines()] == ["turn ccc", "turn ddd"]


def test_the_log_of_run_goes_beside_a_running_gateway(tmp_path: Path) -> None:
    """It names turns, and they were to be forgotten."""
    journal = Journal(tmp_path, flush_every_s=60)
    LogFile(tmp_path / "run.log").write("turn aaa")
    assert typed(tmp_path, "forget", "--yes").exit_code == 0

    assert (tmp_path / "run.log").read_text() == ""
    assert journal.close(10)


def test_a_journal_that_cannot_be_read_can_still_be_erased(tmp_path: Path) -> None:
    """Damage is no reason to keep it."""
    recorded(tmp_path, short_turn())
    (tmp_path / "journal.sqlite").write_bytes(b"garbage" * 1000)
    result = typed(tmp_path, "forget", "--yes")
    assert result.exit_code == 0 and "it could not be read" in result.stdout
    assert not (tmp_path / "journal.sqlite").exists()


def test_nothing_to_forget(tmp_path: Path) -> None:
    """Exit code 1, and no directory is made."""
    result = typed(tmp_path / "none", "forget", "--yes")
    assert (
        result.exit_code == 1 and "Nothing is recorded" in result.stderr and not (tmp_path / "none").exists()
    )
