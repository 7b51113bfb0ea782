"""The note that lets a client go on with what was cut off, instead of writing it all again. Values in, text out.

A client that asks again for a file of ten thousand lines meets the same limit at the same place. The part that came is
worth keeping: it is on disk, and the model is told where it ends. All text is the model's, and is cleaned and quoted.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from holdfast.cli.kept import Contents, End, File, files_of, safe_name
from holdfast.flight import flights
from holdfast.flight.redact import clean


def cut_off(contents: Contents) -> File | None:
    """What the client is to go on with: the last file that was cut off, or the text."""
    cut = [file for file in files_of(contents) if file.end is not None]
    readable = [file for file in cut if not file.name.endswith(".partial.json")]
    return readable[-1] if readable else None


def why_nothing(contents: Contents, turn_id: str) -> str:
    """Why `cut_off` found nothing, and what to do."""
    if contents.complete and not contents.cut:
        return f"the answer is whole, there is nothing to go on with; save it with: holdfast attic save {turn_id}"
    if not contents.parts and contents.thinking:
        return f"{thinking_only(contents)}; there is nothing to go on with: ask again"
    return f"nothing in this answer was cut off inside a text; look at it with: holdfast attic show {turn_id}"


def thinking_only(contents: Contents) -> str:
    """What to say of an answer that broke before its first word."""
    count = flights.counted(contents.thinking, "character")
    return f"the model had written {count} of thinking, which is not shown, and no text and no tool call yet"


def note(file: File, path: Path) -> list[str]:
    """What to tell the client, so that it goes on and does not begin again. Safe to print; paths are quoted for a shell.

    `path` is where `file`, which was cut off, has been saved.
    """
    end, disk = file.end, shlex.quote(clean(str(path), limit=None))
    if end is None:
        raise ValueError(f"{file.name} was not cut off")
    lines = [
        f"{_what(file)} was cut off by a broken connection. {_came(file, end)} on disk at {disk}, as you wrote it."
    ]
    if end.lines:
        last = clean(end.last_line, limit=300)
        lines += [f"The last whole line is line {end.lines}:", "", f"    {last}", ""]
    if end.lines and end.column:
        cut = flights.counted(end.column, "character")
        lines.append(f"Line {end.lines + 1} was cut off after {cut}: write it anew.")
    if end.lines and _is_file(file):
        place = shlex.quote(clean(file.wanted))
        lines += [
            f"Put the part that is there in its place: head -n {end.lines} {disk} > {place}",
            f"Then append the rest from line {end.lines + 1} on, in several steps of at most 200 lines each. "
            "Do not write again what is there.",
        ]
    else:
        lines.append("Go on from there, in several smaller steps. Do not write again what is there.")
    return lines


def _came(file: File, end: End) -> str:
    if not end.lines:
        return f"Its first {flights.counted(end.column, 'character')} {'is' if end.column == 1 else 'are'}"
    name = clean(safe_name(file.wanted)) if _is_file(file) else "its text"
    return f"The first {end.lines} lines of {name} are" if end.lines > 1 else f"The first line of {name} is"


def _is_file(file: File) -> bool:
    """Whether it is the beginning of the file itself, and not of an edit's new text or of a command."""
    return bool(file.wanted) and file.name == f"{safe_name(file.wanted)}.partial"


def _what(file: File) -> str:
    if file.of is None:
        return "Your answer"
    tool = clean(file.of.tool, limit=60)
    return f"Your {tool} call for {shlex.quote(clean(file.wanted))}" if file.wanted else f"Your {tool} call"
