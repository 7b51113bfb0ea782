"""What a broken answer still holds: every cut, every tool, and where the text ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.kept import End, ToolCall, as_json, files_of, here_documents, read_answer
from holdfast.flight import halfjson
from tests.cli.viewed import call, event, stream, text

SSE = "text/event-stream"
EDITS = [{"old_string": "x", "new_string": "one"}, {"old_string": "y", "new_string": "two"}]
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def saved(data: bytes, content_type: str = SSE) -> dict[str, str]:
    """What would be saved, by name."""
    return {file.name: file.text for file in files_of(read_answer(data, content_type))}


def broken(tool: str, arguments: dict[str, Any] | str, *, after: str = "") -> bytes:
    """An answer that broke inside this call: behind `after` in its arguments, or at their end."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    if after:
        written = written[: written.index(after) + len(after)]
    return stream(cut=written).replace(b'"Write"', json.dumps(tool).encode())


@given(WORDS, st.integers(0, 5000), st.booleans())
def test_wherever_a_stream_is_cut_a_beginning_of_the_file_is_saved(
    words: str, cut: int, ascii_only: bool
) -> None:
    """Byte by byte: between events, inside one, inside an escape within an escape, inside a character."""
    written = json.dumps({"file_path": "/x/a.py", "content": words}, ensure_ascii=ascii_only)
    shell = event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "Write"}
    )
    deltas = [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": piece},
        }
        for piece in (written[at : at + 7] for at in range(0, len(written), 7))
    ]
    events = [
        b"event: content_block_delta\ndata: " + json.dumps(one, ensure_ascii=ascii_only).encode() + b"\n\n"
        for one in deltas
    ]
    data = event("message_start", message={"role": "assistant", "content": []}) + shell + b"".join(events)
    start = len(data) - len(b"".join(events))
    at = start + cut % (len(data) - start + 1)
    files = saved(data[:at])
    found = next((said for name, said in files.items() if name == "a.py.partial"), "")
    assert words.startswith(found)
    if at == len(data):
        assert found == words


@given(WORDS, st.integers(0, 2000))
def test_a_whole_message_that_was_cut_is_read_as_well(words: str, cut: int) -> None:
    """An answer without streaming is one JSON body; its last block is open."""
    blocks = [text("first"), call("Write", file_path="/x/a.py", content=words)]
    data = json.dumps({"type": "message", "content": blocks}, ensure_ascii=False).encode()
    files = saved(data[: cut % len(data)], "application/json")
    assert words.startswith(files.get("a.py.partial", "")) and "a.py" not in files
    assert saved(data, "application/json") == {"answer.txt": "first", "a.py": words}


@pytest.mark.parametrize(
    ("tool", "arguments", "after", "name", "content"),
    [
        ("Write", {"file_path": "/s/a.py", "content": "one\ntwo\nthree"}, "two\\nth", "a.py.partial", "one\ntwo\nth"),
        ("Edit", {"file_path": "/s/a.py", "new_string": "new text"}, "new t", "a.py.new.partial", "new t"),
        ("MultiEdit", {"file_path": "a.py", "edits": EDITS}, "tw", "a.py.new-2.partial", "tw"),
        ("NotebookEdit", {"notebook_path": "b.nb", "new_source": "x\ny"}, "x\\n", "b.nb.cell.partial", "x\n"),
        ("Bash", {"command": "make all && make test"}, "make t", "call-1-Bash.sh.partial", "make all && make t"),
        ("Bash", {"command": "cat > out/c.py <<'EOF'\nx = 1\ny = 2\nEOF"}, "y =", "c.py.partial", "x = 1\ny ="),
        ("db", {"limit": 3, "sql": "SELECT a, b FROM t"}, "SELECT a", "call-1-db.sql.partial", "SELECT a"),
        ("Odd", {"deep": [{"er": "value"}]}, "val", "call-1-Odd.er.partial", "val"),
    ],
)  # fmt: skip
def test_the_readable_part_of_every_tool_is_a_file(
    tool: str, arguments: dict[str, Any], after: str, name: str, content: str
) -> None:
    """The text under a name that says it is not whole; what else had come is kept beside it."""
    files = saved(broken(tool, arguments, after=after))
    assert files[name] == content
    assert tool == "Write" or any(other.endswith(".partial.json") for other in files)


def test_earlier_edits_of_a_call_are_whole() -> None:
    """Only the one that was being written is partial."""
    files = saved(broken("MultiEdit", {"file_path": "a.py", "edits": EDITS}, after='"tw'))
    assert set(files) == {"a.py.new-1", "a.py.new-2.partial", "call-1-MultiEdit.partial.json"}


def test_a_text_that_came_whole_in_a_call_that_did_not_is_marked_without_an_end() -> None:
    """The content's closing quote had come; the call's brace had not, so nobody has run it."""
    [file] = files_of(read_answer(broken("Write", '{"content": "all\\n", "file_path": "/a.py"'), SSE))
    assert (file.name, file.text, file.end) == ("a.py.partial", "all\n", None)


@pytest.mark.parametrize(
    ("said", "end", "sentence"),
    [
        ("", End(0, 0, ""), "cut off before its first character"),
        ("abc", End(0, 3, ""), "cut off in line 1, after 3 characters"),
        ("one\n", End(1, 0, "one"), "cut off after line 1"),
        ("one\ntwo\nt", End(2, 1, "two"), "cut off in line 3, after 1 character"),
        ("one\r\n\r\nx", End(2, 1, ""), "cut off in line 3, after 1 character"),
        ("a\u2028b\x0cc\nd", End(1, 1, "a\u2028b\x0cc"), "cut off in line 2, after 1 character"),
    ],
)
def test_lines_are_counted_as_head_and_editors_count_them(said: str, end: End, sentence: str) -> None:
    """A line separator that is none to `head` moves no number."""
    assert End.of(said) == end and End.of(said).sentence() == sentence


def test_here_documents_with_a_named_file_are_found() -> None:
    """Several in one command, quoted or not; one that goes to a program is text only."""
    command = (
        "cat > a.txt <<EOF\nA\nEOF\ncat <<'END' | tee -a 'dir/b.txt'\nB1\nB2\nEND\npython3 - <<PY\nprint(1)\nPY\n"
        'cat >> "c.txt" <<-X\n\tC'
    )
    found = [(one.path, one.text, one.complete) for one in here_documents(command)]
    assert found == [("a.txt", "A\n", True), ("dir/b.txt", "B1\nB2\n", True), ("c.txt", "\tC", False)]


@given(st.text("<>'\" EOFcat-\n", max_size=80))
def test_no_command_makes_it_raise(command: str) -> None:
    """Half a command is a command of any form."""
    here_documents(command)
    files_of(read_answer(broken("Bash", json.dumps({"command": command})[:-2]), SSE))


def test_a_long_line_of_shifts_costs_no_more_than_its_length() -> None:
    """A loop may write `1<<2` a hundred thousand times before the connection breaks."""
    began = time.process_time()
    assert here_documents("a<<b " * 200_000) == here_documents("a<<b " * 200_000 + "\n") == []
    assert time.process_time() - began < 2


@pytest.mark.parametrize("bracket", ['{"a": ', "["])
def test_arguments_may_be_nested_deeper_than_python_writes(bracket: str) -> None:
    """They are written all the same, as they came."""
    deep = bracket * 20_000 + '"x'
    said = f'{{"content": [{{"type": "tool_use", "name": "Odd", "input": {deep}'
    assert saved(said.encode(), "application/json")["call-1-Odd.partial.json"] == deep
    assert as_json(halfjson.read(deep + '"').value).startswith(deep + '"')


def test_thinking_is_counted_and_not_kept() -> None:
    """An answer that broke in its thinking has nothing to show, which is not the same as nothing."""
    start = event("message_start", message={"role": "assistant", "content": []})
    shell = event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
    thought = event(
        "content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hidden words"}
    )
    contents = read_answer(start + shell + thought, SSE)
    assert (contents.parts, contents.thinking, contents.complete) == ([], 12, False)
    done = read_answer(stream({"type": "thinking", "thinking": "hidden"}, text("said")), SSE)
    assert done.thinking == 6 and len(done.parts) == 1


@given(st.binary(max_size=200))
def test_no_arguments_make_it_raise(data: bytes) -> None:
    """Whatever a model writes into a call."""
    partial = data.decode("utf-8", "replace")
    for tool in ("Write", "Bash"):
        assert ToolCall(tool, None, partial).given is not None
        files_of(read_answer(broken(tool, partial), SSE))
        files_of(read_answer(broken(tool, '{"edits": [' + partial), SSE))
