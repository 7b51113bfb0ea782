"""`holdfast attic`: answers whose client had gone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.kept import read_answer, safe_name, strings_so_far
from tests.cli.viewed import call, recorded, stream, text, typed
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


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.integers())), st.integers(0, 400))
def test_half_a_json_object_gives_what_is_sure(given_object: dict[str, object], cut: int) -> None:
    """Complete members are exact, the last string is a beginning of the true one, and nothing raises."""
    whole = json.dumps(given_object)
    found = strings_so_far(whole[:cut])
    for key, value in found.items():
        true = given_object[key]
        if isinstance(value, str) and isinstance(true, str):
            # json.dumps writes a character beyond U+FFFF as two escapes; a cut between them leaves the first.
            assert true.startswith(value[:-1] if value[-1:] and "\ud800" <= value[-1] <= "\udfff" else value)
        elif cut >= len(whole):
            assert value == true


@given(st.binary(max_size=300), st.sampled_from(["text/event-stream", "application/json", ""]))
def test_any_bytes_can_be_shown(data: bytes, content_type: str) -> None:
    """Garbage in the attic is shown as text, never an error."""
    assert read_answer(data, content_type).parts is not None


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
