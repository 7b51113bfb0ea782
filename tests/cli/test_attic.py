"""`holdfast attic`: answers whose client had gone."""

from __future__ import annotations

import json
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.kept import read_answer, safe_name
from holdfast.flight.journal import Journal
from holdfast.flight.record import About, InMemory
from tests.cli.viewed import call, event, recorded, stream, text, typed
from tests.flight.telling import HUNG_UP, end, turn


def kept(state: Path, data: bytes, turn_id: str = "abc123") -> None:
    """A turn whose client had gone, with this answer."""
    recorded(state, end(turn(turn_id=turn_id), 9, HUNG_UP), answers={turn_id: data})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def everything_below(directory: Path) -> dict[str, str]:
    """Files by name."""
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_kept_answers_are_listed(tmp_path: Path) -> None:
    """Whose they are, how large, whether whole; JSON for programs; an empty attic is exit code 1."""
    recorded(tmp_path, end(turn(), 1))
    assert typed(tmp_path, "attic", "list").exit_code == 1
    kept(tmp_path, b"x" * 1234)
    assert "abc123" in (said := typed(tmp_path, "attic", "list").stdout)
    assert "1.2 kB" in said and "unfinished" in said and "claude-code 2.1.114" in said
    assert json.loads(typed(tmp_path, "attic", "list", "--json").stdout)["bytes"] == 1234


def test_a_call_that_was_cut_off_makes_no_whole_answer(tmp_path: Path, here: Path) -> None:
    """A message that the gateway ended early has an end, and half a call: it is shown as cut off, and gone on with."""
    early = event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 9})
    data = stream(text("I will."), cut='{"file_path": "a.py", "content": "one\\ntwo') + early
    kept(tmp_path, data + event("message_stop"))
    assert "(the answer was cut off here)" in typed(tmp_path, "attic", "show", "abc").stdout
    assert "a.py was cut off" in typed(tmp_path, "attic", "show", "abc", "--continue").stdout
    kept(tmp_path, stream(text("I will."), cut='{"file_pa') + early + event("message_stop"), "def456")
    said = typed(tmp_path, "attic", "show", "def", "--continue").stderr
    assert "whole" not in said and "holdfast attic show def456" in said


def test_text_and_arguments_are_shown_and_thinking_is_not(tmp_path: Path) -> None:
    """A person reads what the client would have got; control characters are escaped."""
    thought = {"type": "thinking", "thinking": "hidden"}
    kept(tmp_path, stream(thought, text("Hello\x1b[2J\nworld"), call("Bash\x07", command="ls\nls", n=3)))
    said = typed(tmp_path, "attic", "show", "abc").stdout
    assert (
        "Hello\\x1b[2J\nworld\n" in said and "== tool call: Bash\\x07\n-- command:\nls\nls\n-- n: 3" in said
    )
    assert "hidden" not in said and not {"\x1b", "\x07"} & set(said)


def test_what_was_cut_off_says_so(tmp_path: Path) -> None:
    """Half a call is shown as far as it came, and marked."""
    kept(tmp_path, stream(text("I write."), cut='{"file_path": "/x/report.md", "content": "# Half\\nof i'))
    said = typed(tmp_path, "attic", "show", "abc").stdout
    assert "== tool call: Write (cut off)\n-- file_path: /x/report.md\n-- content:\n# Half\nof i\n" in said
    assert said.endswith("(the answer was cut off here)\n")


def test_a_written_file_is_saved_under_its_own_name(tmp_path: Path, here: Path) -> None:
    """The text, the file itself, and other calls' arguments as JSON; half a file is named so."""
    kept(
        tmp_path / "state",
        stream(text("Two files."), call("Write", file_path="/src/a.py", content="print()\n"), call("Bash", command="ls"),
               cut='{"content": "half", "file_path": "/src/b.py"'),
    )  # fmt: skip
    result = typed(tmp_path / "state", "attic", "save", "abc")
    assert result.exit_code == 0 and everything_below(here) == {
        "holdfast-attic/abc123/a.py": "print()\n",
        "holdfast-attic/abc123/answer.txt": "Two files.",
        "holdfast-attic/abc123/b.py.partial": "half",
        "holdfast-attic/abc123/call-2-Bash.json": '{\n  "command": "ls"\n}\n',
    }
    for path in (here / "holdfast-attic" / "abc123").iterdir():
        assert str(path.relative_to(here)) in result.stdout and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path, here: Path) -> None:
    """A name that is taken gets a number; so do two calls that write the same file."""
    kept(
        tmp_path / "s",
        stream(call("Write", file_path="a.py", content="1"), call("Write", file_path="b/a.py", content="2")),
    )
    for _ in range(2):
        assert typed(tmp_path / "s", "attic", "save", "abc", "--to", "out").exit_code == 0
    assert everything_below(here) == {
        "out/a.py": "1",
        "out/a-2.py": "2",
        "out/a-3.py": "1",
        "out/a-4.py": "2",
    }


@pytest.mark.parametrize(
    "path", ["../../evil", "/etc/evil", "..\\..\\evil", "a/../../evil", "x/./evil", "evil/"]
)
def test_no_path_of_the_models_leaves_the_directory(tmp_path: Path, here: Path, path: str) -> None:
    """Only the last part of a path is used, below our own directory."""
    kept(tmp_path / "state", stream(call("Write", file_path=path, content="x")))
    assert typed(tmp_path / "state", "attic", "save", "abc").exit_code == 0
    assert everything_below(here) == {"holdfast-attic/abc123/evil": "x"}


def test_no_link_is_followed(tmp_path: Path, here: Path) -> None:
    """Neither a link in the place of our directory nor one in the place of a file."""
    kept(tmp_path / "state", stream(call("Write", file_path="a.py", content="new")))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("old")
    (here / "holdfast-attic").symlink_to(outside)
    refused = typed(tmp_path / "state", "attic", "save", "abc")
    assert refused.exit_code == 1 and "--to" in refused.stderr
    (here / "holdfast-attic").unlink()
    (here / "holdfast-attic" / "abc123").mkdir(parents=True)
    (here / "holdfast-attic" / "abc123" / "a.py").symlink_to(outside / "a.py")
    assert typed(tmp_path / "state", "attic", "save", "abc").exit_code == 0
    assert everything_below(outside) == {"a.py": "old"}
    assert (here / "holdfast-attic" / "abc123" / "a-2.py").read_text() == "new"


@given(st.text(st.characters(codec=None)))
def test_every_name_is_a_plain_file_name(path: str) -> None:
    """Whatever the model asked for: no separator, no dots alone, nothing to escape, short enough for any disk."""
    name = safe_name(path)
    assert name and name not in (".", "..") and not {"/", "\\", "\x00"} & set(name)
    assert len(name.encode()) <= 200 and name.isprintable() and not name.startswith("-")


GIANT = '{"file_path": "/src/world data.py", "content": "A = 1\\nB = 2\\nC = [1, 2'
ABOUT = About("claude-x", 14, 812_000, 12, "Write", "/src/world data.py")


def broken(state: Path, cut: str = GIANT, *before: dict[str, Any], about: About = ABOUT) -> None:
    """A turn whose client had gone in the midst of a call."""
    journal = Journal(state)
    record = end(turn(turn_id="abc123"), 9, HUNG_UP)
    journal.changed(record)
    data = stream(*before, cut=cut)
    journal.keep_answer(record, InMemory(data), complete=False, content_type="text/event-stream", about=about)
    assert journal.close(10)


def test_the_list_says_what_was_being_written(tmp_path: Path) -> None:
    """Tool and file; the whole of what is known as JSON, and no word of the request anywhere."""
    broken(tmp_path)
    head, line = typed(tmp_path, "attic", "list").stdout.splitlines()
    assert "WRITING" in head and "Write world data.py" in line
    known = json.loads(typed(tmp_path, "attic", "list", "--json").stdout)
    assert (known["messages"], known["tools"], known["request_bytes"]) == (14, 12, 812_000)
    assert known["path"] == "/src/world data.py"
    assert typed(tmp_path, "attic", "show", "abc").stdout.startswith(
        "(asked of claude-x; 14 messages, 812 kB, 12 tools offered; last call: Write /src/world data.py)\n"
    )


def test_a_name_of_the_models_is_stored_without_keys_and_controls(tmp_path: Path) -> None:
    """Tool and path are the model's words."""
    broken(tmp_path, about=About(tool="To\x1bol", path="/x/sk-ant-api03-abcdefgh1234/a.py"))
    said = typed(tmp_path, "attic", "list", "--json").stdout
    assert json.loads(said)["tool"] == "To\\x1bol" and "abcdefgh1234" not in said


def test_saving_says_where_the_text_ends_and_what_to_do_next(tmp_path: Path, here: Path) -> None:
    """Line and column, in words; and the way to go on."""
    broken(tmp_path / "s")
    result = typed(tmp_path / "s", "attic", "save", "abc")
    assert result.stdout == (
        "holdfast-attic/abc123/world data.py.partial  21 bytes  cut off in line 3, after 9 characters\n"
    )
    assert "holdfast attic show abc123 --continue" in result.stderr


def test_the_client_is_told_to_go_on(tmp_path: Path, here: Path) -> None:
    """The part is saved once; the note names lines, place and command, quoted for a shell."""
    broken(tmp_path / "s")
    first = typed(tmp_path / "s", "attic", "show", "abc", "--continue")
    disk = here / "holdfast-attic" / "abc123" / "world data.py.partial"
    assert first.stdout == (
        "Your Write call for '/src/world data.py' was cut off by a broken connection. The first 2 lines of world data.py "
        f"are on disk at '{disk}', as you wrote it.\n"
        "The last whole line is line 2:\n\n    B = 2\n\n"
        "Line 3 was cut off after 9 characters: write it anew.\n"
        f"Put the part that is there in its place: head -n 2 '{disk}' > '/src/world data.py'\n"
        "Then append the rest from line 3 on, in several steps of at most 200 lines each. Do not write again "
        "what is there.\n"
    )
    assert first.stderr.startswith("Saved holdfast-attic/abc123/world data.py.partial")
    assert disk.read_text() == "A = 1\nB = 2\nC = [1, 2"
    second = typed(tmp_path / "s", "attic", "show", "abc", "--continue")
    assert (second.stdout, second.stderr) == (first.stdout, "") and len(list(disk.parent.iterdir())) == 1
    disk.write_text("changed since")
    third = typed(tmp_path / "s", "attic", "show", "abc", "--continue").stdout
    assert "world data.py-2.partial" in third and disk.read_text() == "changed since"


def test_a_link_in_the_place_of_the_file_is_not_taken_for_it(tmp_path: Path, here: Path) -> None:
    """Even one that leads to the very same text."""
    broken(tmp_path / "s")
    (here / "holdfast-attic" / "abc123").mkdir(parents=True)
    (here / "elsewhere").write_text("A = 1\nB = 2\nC = [1, 2")
    (here / "holdfast-attic" / "abc123" / "world data.py.partial").symlink_to(here / "elsewhere")
    assert "world data.py-2.partial" in typed(tmp_path / "s", "attic", "show", "abc", "--continue").stdout


def test_a_path_of_the_models_cannot_break_out_of_the_note(tmp_path: Path, here: Path) -> None:
    """Whatever the path: one argument of a shell, no control character."""
    path = "/x/'; rm -rf ~; echo '\n\x1b[2J.py"
    broken(tmp_path / "s", json.dumps({"file_path": path, "content": "a\nb\nc"})[:-3])
    said = typed(tmp_path / "s", "attic", "show", "abc", "--continue", "--to", "out").stdout
    [command] = [line.partition("place: ")[2] for line in said.splitlines() if "head -n" in line]
    assert (
        shlex.split(command)[-1] == path.replace("\n", "\\n").replace("\x1b", "\\x1b") and "\x1b" not in said
    )


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        ('{"file_path": "/a.py", "content": "one long li', "Its first 11 characters are on disk at"),
        (
            '{"file_path": "/a.py", "old_string": "x", "new_string": "a\\nb',
            "Go on from there, in several smaller steps.",
        ),
        ('{"command": "cat > b.sh <<EOF\\nset -e\\nec', "head -n 1 "),
    ],
)
def test_what_is_no_file_of_lines_is_told_plainly(tmp_path: Path, here: Path, cut: str, says: str) -> None:
    """One long line, an edit, a script's here-document."""
    broken(tmp_path / "s", cut)
    assert says in typed(tmp_path / "s", "attic", "show", "abc", "--continue").stdout


def test_there_may_be_nothing_to_go_on_with(tmp_path: Path, here: Path) -> None:
    """A whole answer, or one that broke while the model was thinking: said, with the next thing to try."""
    kept(tmp_path / "a", stream(text("all said")))
    refused = typed(tmp_path / "a", "attic", "show", "abc", "--continue")
    assert refused.exit_code == 1 and "holdfast attic save abc123" in refused.stderr
    thought = stream({"type": "thinking", "thinking": "hidden words"}).partition(
        b"event: content_block_stop"
    )[0]
    kept(tmp_path / "b", thought)
    shown = typed(tmp_path / "b", "attic", "show", "abc").stdout
    assert "12 characters of thinking, which is not shown, and no text and no tool call yet" in shown
    for command in (["save", "abc"], ["show", "abc", "--continue"]):
        result = typed(tmp_path / "b", "attic", *command)
        assert result.exit_code == 1 and "of thinking" in result.stderr
    assert typed(tmp_path / "b", "attic", "show", "abc", "--to", "x").exit_code == 2
    assert list(here.iterdir()) == []


@given(st.binary(max_size=300), st.sampled_from(["text/event-stream", "application/json", ""]))
def test_any_bytes_can_be_shown(data: bytes, content_type: str) -> None:
    """Garbage in the attic is shown as text, never an error."""
    assert read_answer(data, content_type).parts is not None


def test_a_call_of_a_hundred_thousand_brackets_can_be_shown(tmp_path: Path) -> None:
    """As it came, on one line."""
    kept(tmp_path, stream(cut='{"rows": ' + "[" * 100_000))
    shown = typed(tmp_path, "attic", "show", "abc")
    assert shown.exit_code == 0 and "-- rows: [[[[" in shown.stdout


def test_answers_are_removed(tmp_path: Path) -> None:
    """One by its id, all after a question; the files go with the rows."""
    for name in ("aaa", "bbb", "ccc"):
        kept(tmp_path, b"x", name)
    assert typed(tmp_path, "attic", "rm", "aa").stdout == "Removed 1 kept answer, 1 byte.\n"
    assert typed(tmp_path, "attic", "rm", "--all", answer="n\n").exit_code == 1
    assert sorted(os.listdir(tmp_path / "answers")) == ["bbb.bin", "ccc.bin"]  # noqa: PTH208
    assert "Removed 2 kept answers" in typed(tmp_path, "attic", "rm", "--all", "--yes").stdout
    assert not list((tmp_path / "answers").iterdir())
    assert typed(tmp_path, "attic", "rm").exit_code == 2
    assert typed(tmp_path, "attic", "rm", "aaa").exit_code == 1


def test_an_answer_whose_file_is_gone_says_what_to_do(tmp_path: Path) -> None:
    """Somebody tidied up by hand."""
    kept(tmp_path, b"x")
    (tmp_path / "answers" / "abc123.bin").unlink()
    result = typed(tmp_path, "attic", "show", "abc")
    assert result.exit_code == 1 and "holdfast attic rm abc123" in result.stderr
