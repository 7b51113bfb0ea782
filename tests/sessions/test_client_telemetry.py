"""The client's telemetry that could not be sent: what is read of it, what is kept, and what dirt it survives."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from holdfast.sessions import client_telemetry, store
from holdfast.sessions.client_telemetry import Event, files, notes, read
from holdfast.sessions.corpus import update_unsent
from holdfast.sessions.store import Store
from tests.sessions.unsent import DEVICE, Unsent
from tests.sessions.written import MORNING_MS


def kept(unsent: Unsent, home: Path) -> list[Event]:
    return read(unsent.saved(home)).events


def test_a_try_is_told_by_number_status_wait_and_request(tmp_path: Path) -> None:
    """2.1.86 quotes the provider's answer: its request id is all that is kept of the words."""
    [asked, failed, answered] = kept(
        Unsent().noise(3).asks().after(7).fails(1, status=529).after(2).answers("req_good", 2), tmp_path
    )

    assert (failed.kind, failed.attempt, failed.failed_code, failed.wait_ms) == (
        "retry",
        1,
        "HTTP 529",
        512.25,
    )
    assert (failed.request_id, failed.version, failed.took_ms) == ("req_1of529", "2.1.86", None)
    assert (asked.asker, answered.asker, answered.whole_ms) == ("main", "main", 9_000)


def test_what_the_clients_say_of_a_try_without_an_answer_is_a_code(tmp_path: Path) -> None:
    """Its own time limit has a name; a connection error has none in transcripts either; a broken stream has the system's."""
    events = kept(
        Unsent().fails(1).fails(1, said="Request timed out.").breaks(1).fails(1, said="x y z"), tmp_path
    )

    assert [one.failed_code for one in events] == ["unknown", "client's time limit", "ECONNRESET", "unknown"]


def test_nothing_else_of_an_event_is_kept(tmp_path: Path) -> None:
    """No device, address, path, setting or text, whatever stands in fields that are read."""
    secret = "sk-ant-api03-" + "x" * 40
    unsent = (
        Unsent()
        .noise()
        .asks()
        .after(1)
        .fails(1, said=f"Connection error. {secret} /home/me")
        .answers("req_1")
    )
    unsent.event(
        "tengu_api_error", {"status": secret, "errorType": secret, "requestId": secret, "error_code": "/x"}
    )
    unsent.event(
        "tengu_api_error", {"errorType": "Mr X", "querySource": "/home/me", "model": "a b"}, model="me@x.org"
    )
    said = json.dumps([asdict(one) for one in kept(unsent, tmp_path)])

    assert len(json.loads(said)) == 5
    for private in (secret, "sk-ant", "/home", "me@", "Mr X", DEVICE, "127.0.0.1", "betas", "xterm"):
        assert private not in said


def test_dirt_of_every_kind_is_counted_and_survived(tmp_path: Path) -> None:
    """Lines torn, no JSON, of other shapes, without a time, and details that are no base64; the rest is read."""
    unsent = Unsent().asks().after(1).fails(1, status=500)
    whole = unsent.lines[0]
    unsent.scribbles(whole[:200]).scribbles("no json").scribbles("[1]").scribbles('{"event_data":{"x":1}}')
    unsent.scribbles("").scribbles(whole.replace("2026-", "long ago")).scribbles(whole.replace('"sdk"', "7"))
    unsent.event("tengu_api_retry", None).event("tengu_api_retry", None, additional_metadata="%%%")
    unsent.event("tengu_api_retry", {"attempt": True, "delayMs": -4, "status": 99_999, "error": ["x"]})
    unsent.event("of_another_version", {"attempt": 1}).answers("req_1", 2)
    found = read(unsent.saved(tmp_path))

    assert found.dirt == {
        "torn": 1,
        "not JSON": 1,
        "of no known shape": 3,
        "with details that could not be read": 2,
    }
    assert [one.kind for one in found.events] == ["asked", "retry", "asked", "retry", "answered"]
    strange = found.events[3]
    assert (strange.attempt, strange.wait_ms, strange.status, strange.failed_code) == (
        None,
        None,
        None,
        "unknown",
    )
    assert (found.lines, found.first_ms, found.last_ms) == (8, MORNING_MS, MORNING_MS + 1_000)


def test_a_file_is_read_in_pieces_and_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond it is counted; a last line without an end is read like any other."""
    monkeypatch.setattr(client_telemetry, "MOST_EVENTS", 2)
    place = Unsent().noise(20).asks().fails(1).after(1).fails(2).noise(20).answers("req_1", 3).saved(tmp_path)
    place.write_text(place.read_text().rstrip("\n"))
    found = read(place, block=256)

    assert (len(found.events), found.left_out, found.lines) == (2, 2, 44)


def test_a_second_reading_reads_only_what_changed(tmp_path: Path) -> None:
    """The client writes a batch anew, with another name or in place: an event is one, by its id."""
    store_ = Store(None, now_ms=MORNING_MS)
    unsent = Unsent().asks().after(1).fails(1)
    unsent.saved(tmp_path, "a")
    unsent.saved(tmp_path, "b")
    roots = [tmp_path / ".claude"]

    assert update_unsent(store_, files(roots)) == []
    changes = store_.connection.total_changes
    assert update_unsent(store_, files(roots)) == [] and store_.connection.total_changes == changes
    assert [one.kind for one in store_.telemetry()] == ["asked", "retry"]

    unsent.answers("req_1", 2).saved(tmp_path, "a").with_suffix(".tmp").touch()
    update_unsent(store_, files(roots))
    assert [one.kind for one in store_.telemetry()] == ["asked", "retry", "answered"]
    assert sum(one.lines for one in store_.unsent()) == 5


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """A pipe, a directory, a link that leads nowhere, in the place of a file."""
    place = Unsent().asks().saved(tmp_path).parent
    os.mkfifo(place / "1p_failed_events.a.b.json")
    (place / "1p_failed_events.c.d.json").mkdir()
    (place / "1p_failed_events.e.f.json").symlink_to("/nonexistent")
    store_ = Store(None, now_ms=MORNING_MS)
    unread = update_unsent(store_, files([tmp_path / ".claude", tmp_path / ".config"]))

    assert [why for _, why in unread] == [
        "a named pipe, not a regular file",
        "a directory, not a regular file",
        "No such file or directory",
    ]
    assert len(store_.telemetry()) == 1


def test_a_store_of_before_gets_the_tables_and_forgets_them_with_the_rest(tmp_path: Path) -> None:
    """Nothing that was read of transcripts is given up for it."""
    path = tmp_path / "state" / "sessions-x.sqlite"
    with_events = Store(path, now_ms=MORNING_MS)
    for table in ("telemetry", "unsent"):
        with_events.connection.execute(f"DROP TABLE {table}")
    with_events.connection.execute("INSERT INTO organization VALUES ('o1')")
    with_events.close()
    again = Store(path, now_ms=MORNING_MS)
    update_unsent(again, [Unsent().asks().after(9).fails(1).saved(tmp_path)])

    assert again.organizations() == ["o1"] and len(again.telemetry()) == 2
    again.close()
    store.forget(path.parent, MORNING_MS + 5_000)
    assert [one.kind for one in Store(path, now_ms=MORNING_MS).telemetry()] == ["retry"]


def test_what_telemetry_says_of_streams_are_notes_with_their_request(tmp_path: Path) -> None:
    """A stall, a silence that was given up, a fallback; what follows the user's Esc is none."""
    unsent = Unsent().stalls(54.4).after(60).is_silent(300).after(60).falls_back()
    unsent.after(60).is_stopped().falls_back()
    found = notes(kept(unsent, tmp_path))

    assert [(one.kind, one.gap_s, one.request_id) for one in found] == [
        ("stall", 54.4, "req_stalled"),
        ("silent", 300.0, "req_silent"),
        ("fallback", None, "req_silent"),
        ("fallback", None, "req_broken"),
    ]
    assert {one.source for one in found} == {"client telemetry"}
