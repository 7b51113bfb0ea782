"""A client's settings file: what is put in, what stays to the byte, what is refused, and how it is taken back."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.settings_file import (
    NotJson,
    Refused,
    apply,
    changes,
    difference,
    edit_between,
    find,
    picture,
    undo,
    with_env,
)

ENTRY = {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"}
FOUR = '{\n    "model": "opus",\n    "env": {\n        "FOO": "é",\n        "BAR": "2"\n    },\n    "x": [1,2 ,  3]\n}'


def test_an_entry_goes_behind_the_last_one_in_the_files_own_manner() -> None:
    """Its indentation, its spaces, its missing newline at the end, keys that nobody knows: all as they were."""
    after = with_env(FOUR, ENTRY)

    assert after == FOUR.replace(
        '"BAR": "2"\n', '"BAR": "2",\n        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"\n'
    )


MANNERS = {
    "": '{\n  "env": {\n    "A": "1"\n  }\n}\n',
    "{}": '{\n  "env": {\n    "A": "1"\n  }\n}',
    '{"model":"opus"}': '{"model":"opus", "env": {"A": "1"}}',
    '{"env": {"B": "2"}}': '{"env": {"B": "2", "A": "1"}}',
    '{\n\t"model": "opus"\n}\n': '{\n\t"model": "opus",\n\t"env": {\n\t\t"A": "1"\n\t}\n}\n',
    '{\r\n  "env": {}\r\n}\r\n': '{\r\n  "env": {\r\n    "A": "1"\r\n  }\r\n}\r\n',
    '{\n  "env": {\n  }\n}': '{\n  "env": {\n    "A": "1"\n  }\n}',
    '{\n  "env": { "A": "0", "B": "2" }\n}': '{\n  "env": { "A": "1", "B": "2" }\n}',
    '{\n  "env": { "A": 5 }\n}': '{\n  "env": { "A": "1" }\n}',
    '{"env": {"A": "1"}}': '{"env": {"A": "1"}}',
    '{"env": {"Z": "1"}, "env": {}}': '{"env": {"Z": "1"}, "env": {"A": "1"}}',
    '{"a\\"}{": {"env": 1}}': '{"a\\"}{": {"env": 1}, "env": {"A": "1"}}',
}


@pytest.mark.parametrize("before", MANNERS)
def test_every_manner_of_writing(before: str) -> None:
    """On one line or many, with tabs, with CRLF, empty, with the key there already, with the same key twice."""
    assert with_env(before, {"A": "1"}) == MANNERS[before]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=5), _values, max_size=4),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.sampled_from([None, 0, 1, 2, 4, "\t"]),
    st.booleans(),
)
def test_whatever_the_file_holds_it_holds_afterwards(
    content: dict[str, object], env: dict[str, str], indent: int | str | None, has_env: bool
) -> None:
    """Order included; the change can be undone from itself; a second time changes nothing."""
    if has_env:
        content = {"first": 1, "env": env, **{k: v for k, v in content.items() if k != "env"}}
    else:
        content.pop("env", None)
    before = json.dumps(content, indent=indent)
    after = with_env(before, ENTRY)
    edit = edit_between(before, after)

    assert list(json.loads(after).items())[: len(content)] == [
        (k, {**env, **ENTRY} if k == "env" else v) for k, v in content.items()
    ]
    assert with_env(after, ENTRY) == after
    assert edit.on(before) == after and edit.off(after) == before


def test_a_byte_order_mark_is_kept() -> None:
    """Some editors write one, and the client passes over it (measured)."""
    after = with_env('\ufeff{"env": {"A": "1"}}', ENTRY)

    assert after.startswith('\ufeff{"env": {"A": "1", ')
    assert json.loads(after[1:])["env"] == {"A": "1", **ENTRY}


BROKEN = {
    '{"a": ' + "1" * 5000 + "}": "change it by hand",
    '{\n  "a" 1\n}': "line 2, column 7",
    '{"a": 1} // mine': "line 1, column 10",
    "[]": "list, not an object",
    '{"env": null}': "no object",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    """Line and column, and that the client ignores it as it is."""
    with pytest.raises(NotJson, match=BROKEN[text]):
        with_env(text, ENTRY)


# ----- on disk


class Home:
    """A home with a settings file, and a state directory."""

    def __init__(self, place: Path) -> None:
        self.home, self.state = place / "home", place / "state"
        self.path = self.home / ".claude" / "settings.json"
        self.path.parent.mkdir(parents=True)

    def writes(self, text: str, mode: int = 0o600) -> None:
        self.path.write_bytes(text.encode())
        self.path.chmod(mode)

    def changes_it(self) -> None:
        place = find(self.path, self.home)
        apply(place, with_env(place.text or "", ENTRY), self.state, why="client-limit", now_ms=1000)

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_change_is_undone_to_the_byte(home: Home, mode: int) -> None:
    """Contents and permissions; nothing is left behind in either directory."""
    home.writes(FOUR, mode)
    home.changes_it()
    assert json.loads(home.path.read_text())["env"]["CLAUDE_STREAM_IDLE_TIMEOUT_MS"] == "900000"
    assert home.mode == mode

    undo(changes(home.state)[0])
    assert home.path.read_bytes() == FOUR.encode() and home.mode == mode
    assert [path.name for path in home.path.parent.iterdir()] == ["settings.json"]
    assert changes(home.state) == []


def test_a_file_that_was_not_there_is_private_and_goes_again(home: Home) -> None:
    """Nobody else can read what is made anew."""
    home.changes_it()
    assert home.mode == 0o600

    undo(changes(home.state)[0])
    assert not home.path.exists()


def test_what_is_kept_holds_no_key(home: Home) -> None:
    """A settings file may hold keys, and they are written nowhere else; what is kept is private all the same."""
    key = "sk-ant-api03-verysecret"
    held = {"env": {"ANTHROPIC_API_KEY": key, "MY_PASS": "hunter2"}, "hooks": ["curl -H 'x: hunter2'"]}
    home.writes(json.dumps(held, indent=2))
    home.changes_it()
    kept = changes(home.state)[0]

    assert key not in kept.read_text() and "hunter2" not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    undo(kept)
    assert json.loads(home.path.read_text()) == held


def test_a_file_that_was_changed_since_is_left_alone(home: Home) -> None:
    """The difference is shown, without what may be a key; and it can be undone once it is taken back."""
    home.writes(FOUR)
    home.changes_it()
    changed = home.path.read_text()
    home.path.write_text(changed.replace('"900000"', '"60000"').replace('"opus"', '"haiku"'))

    with pytest.raises(Refused, match="was changed since") as refused:
        undo(changes(home.state)[0])
    said = str(refused.value)
    assert '-        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"' in said
    assert '+        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "60000"' in said
    assert "haiku" not in said and "(hidden)" in said and " characters," not in said
    assert "haiku" in home.path.read_text()

    home.path.write_text(changed)
    undo(changes(home.state)[0])
    assert home.path.read_text() == FOUR


def test_a_link_within_the_home_is_followed_and_stays(home: Home) -> None:
    """As dotfiles have it: the file behind it is changed, the link stays a link."""
    real = home.home / "dotfiles" / "claude.json"
    real.parent.mkdir()
    real.write_text("{}")
    home.path.symlink_to(real)
    home.changes_it()

    assert home.path.is_symlink() and "900000" in real.read_text()
    undo(changes(home.state)[0])
    assert home.path.is_symlink() and real.read_text() == "{}"


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_link_out_of_the_home_is_refused(home: Home, tmp_path: Path, what: str) -> None:
    """Nothing outside is changed, whether the file or its directory is the link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "settings.json").write_text("{}")
    if what == "file":
        home.path.symlink_to(outside / "settings.json")
    else:
        home.path.parent.rmdir()
        home.path.parent.symlink_to(outside)

    with pytest.raises(Refused, match="leads out of"):
        home.changes_it()
    assert (outside / "settings.json").read_text() == "{}" and changes(home.state) == []


def test_somebody_elses_change_meanwhile_is_not_overwritten(home: Home) -> None:
    """Between looking and writing a client may have written."""
    home.writes("{}")
    place = find(home.path, home.home)
    home.writes('{"model": "opus"}')

    with pytest.raises(Refused, match="changed meanwhile"):
        apply(place, with_env("{}", ENTRY), home.state, why="x", now_ms=1)
    assert home.path.read_text() == '{"model": "opus"}' and changes(home.state) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_leaves_the_file(home: Home) -> None:
    """Whole or not at all."""
    home.writes("{}")
    home.path.parent.chmod(0o500)
    try:
        with pytest.raises(OSError):
            home.changes_it()
    finally:
        home.path.parent.chmod(0o700)
    assert home.path.read_text() == "{}" and changes(home.state) == []


def test_a_picture_shows_what_changed_and_no_value_that_may_be_a_key() -> None:
    """Lines stay lines; a base URL is shown without its login."""
    text = '{\n "env": {"ANTHROPIC_BASE_URL": "https://me:pw@gate.example/v1", "K": "abc"},\n "n": 5\n}'
    shown = picture(text)

    assert "https://***@gate.example/v1" in shown and "pw" not in shown and "abc" not in shown
    assert shown.count("\n") == text.count("\n") and '"n": 5' in shown
    assert picture(text.replace("abc", "abd")) != shown


def test_a_difference_tells_nothing_of_what_it_hides() -> None:
    """Not how long it is and no part of a fingerprint; that it is another one can be seen. Tabs are spaces."""
    text = '{\n\t"K": "abc",\n\t"n": 5\n}'
    told = difference(picture(text), picture(text.replace("abc", "abcd")), "s")

    assert told[3:] == [" {", '-    "K": "(hidden)",', '+    "K": "(hidden)",', '     "n": 5', " }"]
