"""What a person and a program are told of the inside of captured connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.captures import views
from holdfast.captures.connections import follow
from holdfast.captures.files import open_capture
from holdfast.captures.views import Listener, View, as_json, lines_for
from tests.captures import awkward
from tests.captures.test_masking import Segment, cut, ethernet
from tests.cli.viewed import typed

ASK = b"POST /v1/messages HTTP/1.1\r\nHost: a.test\r\nx-api-key: sk-ant-0123456789abcdef\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nrequest-id: req_1\r\nTransfer-Encoding: chunked\r\n\r\n"
BLOCK = b'{"index": 0, "content_block": {"type": "tool_use", "name": "Write\\u001b[2J"}}'
TOOL = b"event: content_block_start\ndata: " + BLOCK + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def captured(path: Path, *said: tuple[float, bool, bytes], begun: bool = True) -> Path:
    """A capture file of one connection: `(seconds, whether the client speaks, bytes)`."""
    frames = [(0, ethernet(Segment(way, 0, b""), syn=True)) for way in (True, False)] if begun else []
    offset = {True: 0, False: 0}
    for at_s, to_server, data in said:
        for one in cut(data, to_server=to_server, at=range(1000, len(data), 1000)):
            moved = Segment(to_server, one.offset + offset[to_server], one.data)
            frames.append((round(at_s * 1e9), ethernet(moved)))
        offset[to_server] += len(data)
    return awkward.write(path, frames)


def viewed(path: Path, body_of: tuple[int, int] | None = None) -> View:
    listener = Listener(body_of=body_of)
    with open_capture(path) as capture:
        (connection,) = follow(capture, listen=listener)
    view = listener.take(connection)
    assert view is not None
    return view


def frozen(path: Path) -> Path:
    """The freeze: a tool call opens, then nothing, then the client is gone."""
    return captured(
        path,
        (1, True, ASK),
        (2, False, HEAD + chunk(b"event: ping\ndata: {}\n\n") + chunk(TOOL)),
        (302, False, chunk(b"event: ping\ndata: {}\n\n")),
    )


def test_a_frozen_answer_is_told_in_three_lines(tmp_path: Path) -> None:
    """Asked what, answered how, silent where and how long, and how to get at what came; nothing may move the cursor."""
    said = " ".join("\n".join(lines_for(viewed(frozen(tmp_path / "a.pcap")))).split())
    assert (
        "1.1 POST /v1/messages at" in said
        and "200 OK after 1.00 s, text/event-stream, request-id req_1" in said
    )
    assert "it stops inside tool_use Write\\x1b[2J, without the stream's own last event" in said
    assert "longest gap 300 s from" in said and "after content_block_start and before ping" in said
    assert "what came of it: --body 1.1" in said
    assert "sk-ant" not in said and "\x1b" not in said


def test_programs_get_the_same(tmp_path: Path) -> None:
    """JSON with wall times in ns, and masked headers."""
    told = as_json(viewed(frozen(tmp_path / "a.pcap")))
    (exchange,) = told["http"]["exchanges"]
    assert (exchange["id"], exchange["status"], exchange["asked_ns"]) == ("1.1", 200, 1_000_000_000)
    assert ["x-api-key", "[removed]"] in exchange["request_headers"]
    body = exchange["body"]
    assert not body["complete"] and body["last_byte_ns"] == 302_000_000_000
    assert body["events"]["counts"] == {"ping": 2, "content_block_start": 1}
    assert (body["events"]["longest_gap_s"], told["tls"]) == (300, None)


def test_only_the_body_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    """Reading a capture holds no bodies; the one that is wanted is there to the byte."""
    path = frozen(tmp_path / "a.pcap")
    assert [len(body.kept) for body in [views.body_of(viewed(path), 1)] if body] == [0]
    body = views.body_of(viewed(path, body_of=(1, 1)), 1)
    assert body is not None and bytes(body.kept).count(b"event: ping") == 2 and TOOL in body.kept


def test_tls_that_was_joined_in_the_middle_is_known(tmp_path: Path) -> None:
    """Records show themselves; nothing is said of names and versions that were not seen."""
    record = b"\x17\x03\x03\x00\x20" + b"z" * 32
    path = captured(tmp_path / "a.pcap", (1, False, b"z" * 9 + record * 2), (9, False, record), begun=False)
    view = viewed(path)
    assert view.conversation is None and view.tls is not None and view.tls.version is None
    said = " ".join("\n".join(lines_for(view)).split())
    assert (
        "TLS, its begin is not in the capture" in said
        and "3 encrypted records; longest silence 8.00 s" in said
    )


def test_a_partial_answer_is_written_to_a_new_private_file(tmp_path: Path) -> None:
    """`--body` gives what came; a file that is there already is not touched."""
    path, out = frozen(tmp_path / "a.pcap"), tmp_path / "answer.txt"
    told = typed(tmp_path, "captures", str(path), "--body", "1", "--out", str(out))
    assert told.exit_code == 0 and "cut: the answer had not ended" in told.stderr
    assert out.read_bytes().endswith(b"event: ping\ndata: {}\n\n") and out.stat().st_mode & 0o777 == 0o600
    again = typed(tmp_path, "captures", str(path), "--body", "1.1", "--out", str(out))
    assert again.exit_code == 1 and "name another file" in again.stderr
    none = typed(tmp_path, "captures", str(path), "--body", "2.1")
    assert none.exit_code == 1 and "holdfast captures --all" in none.stderr


@pytest.mark.parametrize("wrong", [["--body", "x"], ["--body", "1.x"], ["--out", "a"]])
def test_a_body_is_named_by_connection_and_exchange(tmp_path: Path, wrong: list[str]) -> None:
    """Anything else is a usage error."""
    assert typed(tmp_path, "captures", str(frozen(tmp_path / "a.pcap")), *wrong).exit_code == 2


def test_a_properly_closed_connection_with_a_torn_answer_is_told(tmp_path: Path) -> None:
    """TCP may be in order and the answer not; such a connection is not counted among the sound ones."""
    said = typed(tmp_path, "captures", str(frozen(tmp_path / "a.pcap"))).stdout
    assert "1.1 POST /v1/messages" in said


def test_the_rest_of_a_stream_is_told_without_its_head(tmp_path: Path) -> None:
    """A capture that begins in the middle of an answer has its events, its silences and where they stop."""
    ping = chunk(b"event: ping\ndata: {}\n\n")
    path = captured(tmp_path / "a.pcap", (1, False, ping), (2, False, ping), (40, False, ping), begun=False)
    said = " ".join("\n".join(lines_for(viewed(path))).split())
    assert "the rest of an answer whose head is not in the capture" in said
    assert "3 events" in said and "longest gap 38.0 s" in said
