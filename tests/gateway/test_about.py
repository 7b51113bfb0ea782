"""What is kept of a request after its turn."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight.record import About
from holdfast.gateway.about import about, last_call
from holdfast.gateway.about import request_key as key_of
from holdfast.gateway.sameness import HeadKey
from holdfast.gateway.streamlog import MemoryBudget, StreamLog
from tests.cli.viewed import call, event, stream, text

BODY = json.dumps(
    {
        "model": "m",
        "stream": True,
        "tools": [{"name": "Write"}, {"name": "Bash"}],
        "messages": [{"role": "user"}] * 7,
    }
).encode()


def head(**other: str | None) -> HeadKey:
    """A request's head."""
    given_: dict[str, str | None] = {"tenant": "run:1", "session": "s", "agent": None} | other
    return HeadKey(
        str(given_["tenant"]),
        b"POST",
        b"/v1/messages",
        "https://a",
        "",
        "",
        given_["session"],
        given_["agent"],
    )


def log_of(data: bytes, *, memory: int = 1 << 20, directory: Path | None = None) -> StreamLog:
    """A stream log that holds these bytes."""
    log = StreamLog(MemoryBudget(1 << 30), memory, directory)
    for at in range(0, len(data), 50_000):
        log.append(data[at : at + 50_000])
    return log


def test_a_broken_write_names_its_file() -> None:
    """Counts from the request, tool and file from the answer; the content is not part of it."""
    data = stream(text("I write."), cut='{"file_path": "/src/world_data.py", "content": "COUNTRIES = {\\n')
    known = about(BODY, log_of(data), model="claude", request_bytes=len(BODY))
    assert known == About("claude", 7, len(BODY), 2, "Write", "/src/world_data.py")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", (None, None)),
        (stream(text("only text")), (None, None)),
        (stream(call("Bash", command="ls")), ("Bash", None)),
        (stream(call("Read", file_path="/a"), call("Edit", file_path="/b", new_string="x"), text("done")), ("Edit", "/b")),
        (stream(cut='{"file_path": "/half/pa'), ("Write", None)),
        (stream(cut=""), ("Write", None)),
        (stream(cut=json.dumps({"file_path": "/one/delta", "content": "x" * 500_000})[:-3]), ("Write", "/one/delta")),
        (b'event: content_block_start\ndata: {"content_block": [}\n\n', (None, None)),
        (event("content_block_start", index=0, content_block={"type": "tool_use", "name": 3}), ("tool", None)),
    ],
)  # fmt: skip
def test_the_last_call_is_found_in_whatever_there_is(
    data: bytes, found: tuple[str | None, str | None]
) -> None:
    """Half a path is none: it would name another file."""
    assert last_call(log_of(data)) == found


@pytest.mark.parametrize("memory", [1000, 100_000, 1 << 30])
@pytest.mark.parametrize("before", [0, 65_500, 65_530, 65_536, 65_560, 131_000, 3_000_000])
def test_the_last_call_is_found_wherever_the_log_lies(before: int, memory: int, tmp_path: Path) -> None:
    """It is looked for from the end, piece by piece, in the file and in memory."""
    data = stream(text("I write."), cut='{"file_path": "/src/a.py", "content": "' + "x" * before)
    assert last_call(log_of(data, memory=memory, directory=tmp_path)) == ("Write", "/src/a.py")


def test_a_call_that_began_too_long_ago_is_not_looked_for() -> None:
    """An answer of gigabytes costs no more than a large one."""
    data = stream(cut='{"file_path": "/src/a.py", "content": "' + "x" * 9_000_000)
    assert last_call(log_of(data, memory=1 << 30)) == (None, None)


def test_a_body_that_cannot_be_read_leaves_its_counts_open() -> None:
    """Not known is not none."""
    assert about(b"{", None, model=None, request_bytes=1) == About(request_bytes=1)
    assert about(None, log_of(b""), model=None, request_bytes=9).tools is None
    assert about(b'{"messages": []}', None, model=None, request_bytes=9) == About(None, 0, 9, 0)


def test_an_answer_that_came_whole_names_its_file_too() -> None:
    """Without streaming the message is one object; the last of its calls counts, as in a stream."""
    said = [
        {"type": "tool_use", "name": "Read", "input": {"file_path": "/a"}},
        {"type": "tool_use", "name": "Write", "input": {"file_path": "hello.py", "content": "x"}},
        {"type": "text", "text": "done"},
    ]
    known = about(
        BODY, log_of(json.dumps({"content": said}).encode()), model="m", request_bytes=9, streams=False
    )
    assert (known.tool, known.path) == ("Write", "hello.py")
    for other in (b"", b"[]", b'{"content": 3}', b'{"content": [3]}', b'{"error": {}}', b'{"content": ['):
        assert about(BODY, log_of(other), model="m", request_bytes=9, streams=False).tool is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Answers come from anywhere."""
    last_call(log_of(b"event: content_block_start\ndata: " + data))
    about(data, log_of(data), model=None, request_bytes=0)


def test_the_key_of_a_request_is_its_retry_s_too_and_means_nothing_elsewhere() -> None:
    """The same under another process's tenant and as a fallback; other by session, words or salt."""
    salt = bytes(32)
    request_key = partial(key_of, falls_back=True)
    key = request_key(head(), BODY, salt)
    assert key == request_key(head(tenant="run:2"), BODY, salt) and len(key) == 24
    assert key == request_key(head(), BODY.replace(b'"stream": true, ', b""), salt)
    others = (head(session="t"), head(session=None), head(agent="a"))
    assert len({key, *(request_key(other, BODY, salt) for other in others)}) == 4
    assert key != request_key(head(), BODY.replace(b"Bash", b"Bush"), salt)
    assert key != request_key(head(), BODY, b"\x01" * 32)


def test_with_and_without_streaming_are_two_requests_of_a_client_that_does_not_fall_back() -> None:
    """A program may ask both ways on purpose; its own retries ask as before."""
    whole = BODY.replace(b'"stream": true, ', b"")
    keys = [key_of(head(), one, bytes(32), falls_back=False) for one in (BODY, whole)]
    assert whole != BODY and keys[0] != keys[1]
    assert keys[1] == key_of(head(tenant="run:2"), whole, bytes(32), falls_back=False)
