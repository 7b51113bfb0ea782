"""A client's settings file, changed as a careful person would: a few entries put in, all else left to the byte.

`with_env` decides what the file shall say. `Change` is what there is to do; `apply` and `undo` do it: atomically, never
through a link that leads out of the home, never over somebody else's change. What is kept to undo it is the change
itself, the fingerprints of the file before and after, and a picture of it without its secrets: a settings file may
hold keys, and they are written nowhere else.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecodeError
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import msgspec

from holdfast.flight.plain_files import read_plain
from holdfast.flight.redact import REMOVED, clean, masked_url, scrub
from holdfast.flight.state import PRIVATE_FILE, SETTINGS, make_private

LONGEST_FILE = 4 * 1024 * 1024
"Bytes. A larger one is no settings file."
MARK = "\ufeff"
LINES = 100
"Of a difference that are shown."


class Refused(Exception):
    """The file was left as it is; the text says why, and what to do."""


class NotJson(Refused):
    """The file is there and is no JSON object."""


# ----- what it shall say


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in a text: `removed`, which is at character `at`, by `added`."""

    at: int
    removed: str
    added: str

    def on(self, text: str) -> str:
        return text[: self.at] + self.added + text[self.at + len(self.removed) :]

    def off(self, text: str) -> str:
        return text[: self.at] + self.removed + text[self.at + len(self.added) :]


def with_env(text: str, entries: Mapping[str, str], name: str = "settings.json") -> str:
    """`text` with these entries in its `env`; everything else stays as it is, and where it is.

    An entry that is there with another value gets the new one, in its place. A text of nothing but white space counts
    as an empty object; a byte order mark stays, which the client passes over. Raises `NotJson` with line and column.
    """
    if text.startswith(MARK):
        return MARK + with_env(text[1:], entries, name)
    if not text.strip():
        text = "{}\n"
    content = _parsed(text, name)
    env = content.get("env", {})
    if not isinstance(env, dict):
        raise NotJson(
            f"`env` in {name} is no object, and the client takes no variables from it; make it one first: "
            '"env": {}'
        )
    wanted = {key: value for key, value in entries.items() if env.get(key) != value}
    for key in wanted:
        text = _put(text, key, wanted[key])
    expected = dict(content) | {"env": dict(env) | dict(entries)} if entries else content
    if json.loads(text) != expected:
        raise Refused(f"{name} is written in a way that cannot be changed safely; change it by hand")
    return text


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except JSONDecodeError as error:
        raise NotJson(
            f"{name} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}. "
            "The client ignores all of it as it is; repair that place, and try again"
        ) from None
    except ValueError as error:
        raise NotJson(f"{name} cannot be read ({error}); change it by hand") from None
    except RecursionError:
        raise NotJson(f"{name} is nested too deeply to be a settings file") from None
    if not isinstance(content, dict):
        raise NotJson(f"{name} holds {type(content).__name__}, not an object; the client ignores it")
    return content


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    begins: int
    value: int
    ends: int


_decoder = JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def _members(text: str, at: int) -> tuple[list[_Member], int]:
    """The members of the object that begins at `at`, and where its closing brace is. The text is known to be JSON."""
    found = []
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, colon = scanstring(text, at + 1, True)
        value = _skip(text, _skip(text, colon) + 1)
        _, end = _decoder.raw_decode(text, value)
        found.append(_Member(key, at, value, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found, at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _put(text: str, key: str, value: str) -> str:
    """The text with `env[key] = value`."""
    top = _skip(text, 0)
    members, _ = _members(text, top)
    env = next((one for one in reversed(members) if one.key == "env"), None)
    said = json.dumps(value, ensure_ascii=False)
    if env is None:
        return _insert(text, top, "env", {key: value})
    inner, _ = _members(text, env.value)
    there = next((one for one in reversed(inner) if one.key == key), None)
    if there is not None:
        return text[: there.value] + said + text[there.ends :]
    return _insert(text, env.value, key, value)


def _insert(text: str, brace: int, key: str, value: str | dict[str, str]) -> str:
    """A member put behind the last one of the object at `brace`, in the file's own manner."""
    members, closing = _members(text, brace)
    unit, newline = _manner(text)
    body = text[brace:closing]
    if not members and "\n" not in body and (not text[:brace].strip() or "\n" in text.strip()):
        depth = _depth(text, brace, unit) + 1
        said = _dumped(key, value, unit, newline, depth)
        return (
            f"{text[: brace + 1]}{newline}{unit * depth}{said}{newline}{unit * (depth - 1)}{text[closing:]}"
        )
    last = members[-1].ends if members else brace + 1
    comma = "," if members else ""
    if "\n" not in body:
        said = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        return f"{text[:last]}{comma}{' ' if members else ''}{said}{text[last:]}"
    first = members[0].begins if members else closing
    lead = text[text.rfind("\n", 0, first) + 1 : first]
    if lead.strip(" \t"):
        lead = unit * (_depth(text, brace, unit) + 1)
    elif not members:
        lead += unit
    depth_lead = _dumped(key, value, unit, newline, 0).replace(newline, newline + lead)
    return f"{text[:last]}{comma}{newline}{lead}{depth_lead}{text[last:]}"


def _dumped(key: str, value: str | dict[str, str], unit: str, newline: str, depth: int) -> str:
    if isinstance(value, str):
        return f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
    inner = f",{newline}{unit * (depth + 1)}".join(
        f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items()
    )
    return f"{json.dumps(key)}: {{{newline}{unit * (depth + 1)}{inner}{newline}{unit * depth}}}"


def _manner(text: str) -> tuple[str, str]:
    """What one step of indentation is, and what ends a line."""
    newline = "\r\n" if "\r\n" in text else "\n"
    found = re.search(r"\n([ \t]+)\S", text)
    return (found[1] if found else "  "), newline


def _depth(text: str, brace: int, unit: str) -> int:
    line = text[text.rfind("\n", 0, brace) + 1 : brace]
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return len(lead) // len(unit) if unit else 0


# ----- how it is shown

SHOWN_NAMES = frozenset(
    (
        "env",
        "ANTHROPIC_BASE_URL",
        "API_TIMEOUT_MS",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS",
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS",
        "CLAUDE_ENABLE_STREAM_WATCHDOG",
        "CLAUDE_ENABLE_BYTE_WATCHDOG",
        "NO_PROXY",
        "no_proxy",
        "ENABLE_TOOL_SEARCH",
        "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING",
    )
)
"Variables whose values are shown; those of all others may be keys."
_STRING = re.compile(r'("(?:[^"\\\n]|\\.)*")(\s*:)?')


HIDDEN = "(hidden)"
_MARK = re.compile(r'"\(\d+ characters, [0-9a-f]{4}\)"')
"What a picture has for a value that may be a key."


def picture(text: str) -> str:
    """The text for a person's eyes and for the state directory: no key in it, and the same lines.

    Whatever is text and stands behind a name that is not known to be harmless, or in a list, is replaced by its length
    and a short fingerprint, so that a change of it can still be seen.
    """
    name = ""

    def shown(found: re.Match[str]) -> str:
        nonlocal name
        if found[2] is not None:
            name = found[1][1:-1]
            return str(found[0])
        word = found[1][1:-1]
        if name == "ANTHROPIC_BASE_URL":
            return f'"{masked_url(word)}"'
        if name in SHOWN_NAMES and scrub(word) == word and REMOVED not in word:
            return str(found[0])
        mark = hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()[:4]
        return f'"({len(word)} characters, {mark})"'

    return _STRING.sub(shown, text)


def difference(before: str, after: str, name: str) -> list[str]:
    """A unified diff of two pictures, line by line, safe for a terminal; of what they hide not even how long it is."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (now)", f"{name} (then)", lineterm="", n=3
    )
    return [
        clean(line[:1] + _MARK.sub(f'"{HIDDEN}"', line[1:]).expandtabs(4))
        for _, line in zip(range(LINES), lines, strict=False)
    ]


# ----- how it is done


@dataclass(frozen=True, slots=True)
class Place:
    """A settings file, found."""

    named: Path
    "As the client names it."
    real: Path
    "Where it lies, all links followed."
    text: str | None
    "None where it is not there."
    mode: int


class Change(msgspec.Struct, frozen=True):
    """A change that was made, as it is kept to be undone. Holds nothing of the file but what was put in or replaced."""

    path: str
    real: str
    at_ms: int
    created: bool
    "Whether there was no file before."
    at: int
    removed: str
    added: str
    before: str
    "SHA-256 of the file before, and after."
    after: str
    seen: str
    "Its picture after."
    why: str


def find(path: Path, home: Path, *, chosen: bool = False) -> Place:
    """The file as it is. Raises `Refused`.

    Links inside the home are followed, as dotfiles have them. With `chosen` its directory was named by the user
    (`CLAUDE_CONFIG_DIR`), and may lie elsewhere.
    """
    try:
        real = path.resolve()
        allowed = [home.resolve(), *([path.parent.resolve()] if chosen else [])]
        if not any(real.is_relative_to(one) for one in allowed):
            raise Refused(
                f"{path} is a link that leads out of {home}, to {real}; it was left alone. Change that file by hand"
            )
        found = real.stat()
    except FileNotFoundError:
        return Place(path, path.resolve(), None, PRIVATE_FILE)
    except (OSError, RuntimeError) as error:
        raise Refused(f"{path} cannot be looked at ({error}); nothing was changed") from error
    if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_FILE:
        raise Refused(f"{path} is no settings file; nothing was changed")
    if found.st_uid != os.geteuid():
        raise Refused(f"{path} belongs to another user; change it as that user")
    try:
        text = read_plain(real).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(
            f"{path} is not UTF-8 (byte {error.start}); the client reads it with that replaced, and it was left alone. "
            "Save it as UTF-8, and try again"
        ) from None
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}); nothing was changed") from error
    return Place(path, real, text, stat.S_IMODE(found.st_mode))


def apply(place: Place, text: str, state_dir: Path, *, why: str, now_ms: int) -> Path:
    """Make the file say `text`, and keep what undoes it. Returns where that is kept. Raises `Refused`, `OSError`."""
    before = place.text if place.text is not None else ""
    edit = edit_between(before, text)
    change = Change(
        path=str(place.named),
        real=str(place.real),
        at_ms=now_ms,
        created=place.text is None,
        at=edit.at,
        removed=edit.removed,
        added=edit.added,
        before=_fingerprint(before),
        after=_fingerprint(text),
        seen=picture(text),
        why=why,
    )
    kept = make_private(make_private(state_dir) / SETTINGS) / f"{now_ms:015d}.json"
    _write(kept, msgspec.json.format(msgspec.json.encode(change), indent=1), PRIVATE_FILE)
    try:
        place.real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _unchanged(place)
        _write(place.real, text.encode(), place.mode)
    except BaseException:
        kept.unlink(missing_ok=True)
        raise
    return kept


def undo(kept: Path) -> Change:
    """Take the change back, exactly, and forget it. Raises `Refused` where the file was changed since, `OSError`."""
    change = _read_change(kept)
    real = Path(change.real)
    now = find(Path(change.path), real.parent, chosen=True)
    if now.real != real:
        raise Refused(f"{change.path} leads to another file now ({now.real}); nothing was changed")
    if now.text is None or _fingerprint(now.text) != change.after:
        told = difference(change.seen, picture(now.text or ""), real.name)
        shown = "\n".join(_turned(told)) or "the file is gone"
        raise Refused(
            f"{change.path} was changed since, so it was left alone:\n\n{shown}\n\n"
            "Take the lines that were added out by hand, or take your change back and try again"
        )
    before = Edit(change.at, change.removed, change.added).off(now.text)
    if _fingerprint(before) != change.before:
        raise Refused(f"what is kept in {kept} does not lead back to the file as it was; nothing was changed")
    _unchanged(now)
    if change.created:
        real.unlink()
    else:
        _write(real, before.encode(), now.mode)
    kept.unlink(missing_ok=True)
    return change


def _turned(lines: Sequence[str]) -> list[str]:
    return [line.replace(" (now)", " (as it was left)").replace(" (then)", " (now)") if n < 2 else line
            for n, line in enumerate(lines)]  # fmt: skip


def changes(state_dir: Path) -> list[Path]:
    """What is kept to be undone, the latest first."""
    with suppress(OSError):
        return sorted((state_dir / SETTINGS).glob("*.json"), reverse=True)
    return []


def made(state_dir: Path, path: Path) -> list[Change]:
    """The changes of this file that can be undone, the latest first; those that cannot be read left out."""
    found = []
    for kept in changes(state_dir):
        with suppress(Refused):
            change = _read_change(kept)
            if change.path == str(path):
                found.append(change)
    return found


def _read_change(kept: Path) -> Change:
    try:
        return msgspec.json.decode(kept.read_bytes(), type=Change)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{kept} cannot be read ({error}); change the settings by hand") from error


def edit_between(before: str, after: str) -> Edit:
    """The one replacement that leads from one text to the other, as short as whole characters allow."""
    head = 0
    most = min(len(before), len(after))
    while head < most and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < most - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return Edit(head, before[head : len(before) - tail], after[head : len(after) - tail])


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unchanged(place: Place) -> None:
    """Raise where the file is not what it was when it was read."""
    try:
        now: bytes | None = read_plain(place.real)
    except FileNotFoundError:
        now = None
    if now != (place.text.encode() if place.text is not None else None):
        raise Refused(f"{place.named} was changed meanwhile; nothing was changed. Try again")


def _write(path: Path, data: bytes, mode: int) -> None:
    """Another file in its place, whole or not at all, with these permissions."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, PRIVATE_FILE), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
