"""`--add FILE`: other people's logs, traces and captures beside our own turns. The piece that the viewing commands share.

A command takes the options by `adds`, calls `look` with the turns that it shows or knows to be near, and prints what
`lines`, `page`, `seen_by` and `notes` give. Packet captures are told by their first bytes and read by the captures room.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar, cast

import click

from holdfast.cli.errors import Failed
from holdfast.flight import plain_files
from holdfast.flight.endings import Mechanism, Side
from holdfast.flight.flights import Line, counted
from holdfast.flight.reading import Library, StoredTurn
from holdfast.flight.redact import clean
from holdfast.records import reading
from holdfast.records.legs import Kind, Leg, legs_of
from holdfast.records.match import Match, lines_of, merged, table
from holdfast.records.reading import NotReadable, Source
from holdfast.records.sighting import Sighting, Vantage
from holdfast.records.verdict import Verdict
from holdfast.report.claims import Added

NEAR_MS = 6 * 3_600_000
"Turns so near to the one that is asked for help to find the clocks of others."
MOST_NEAR = 300
LARGEST_PASTE = 256 * 1024 * 1024
"Bytes of standard input that are looked at."
PIECE = 1 << 20
READS = (
    "--add reads logs of proxies and servers, HAR files, mitmproxy flows, pasted traces and packet captures"
)

Row = tuple[str, str, str, str]
"Who, when (`+300.1 s`, or `-`), what they say, what that does to our record (`agrees`, or empty)."


class CaptureBeside(Protocol):
    """A capture file beside turns, as the captures room tells it. All texts are safe to print."""

    @property
    def name(self) -> str:
        """`capture client.pcap`."""

    @property
    def clock(self) -> str:
        """A clause that follows the name: how its clock compares with ours and how that was found."""

    def lines(self, turn: StoredTurn, /) -> Sequence[Line]:
        """What it saw of this turn, for the timeline; `by` is the name."""

    def rows(self, turn: StoredTurn, /) -> Sequence[Row]:
        """The same for the table of who saw what; none where it saw nothing of this turn."""

    def notes(self) -> Sequence[str]:
        """Sentences about the file as a whole: cut off, connections that fit no turn."""


ReadCapture = Callable[[Path, Sequence[StoredTurn]], CaptureBeside]
"`holdfast.captures.match.beside`; raises `ValueError` with a sentence where the file cannot be read."


@dataclass(slots=True)
class Beside:
    """All that was added."""

    sources: list[Source] = field(default_factory=list)
    captures: list[CaptureBeside] = field(default_factory=list)

    def matches(self, turn: StoredTurn) -> list[Match]:
        """What is of this turn, from all files."""
        return [
            one
            for source in self.sources
            for one in source.matched.matches
            if one.leg.turn_id == turn.record.turn_id
        ]


# ----- options

_OFFSET = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<h>\d{1,3})h)?(?:(?P<m>\d{1,3})m)?(?:(?P<s>\d{1,5}(?:\.\d{1,6})?)s)?"
)


def offset(value: str) -> float:
    """Seconds, from `+8h`, `5h45m` or `-3.2s`. For click: `type=offset`."""
    found = _OFFSET.fullmatch(value.strip().lower())
    if not found or not any(found[name] for name in "hms"):
        raise click.BadParameter(
            f"{clean(value)!r} is no difference of clocks; write it like 8h, 5h45m or -3.2s"
        )
    seconds = float(found["h"] or 0) * 3600 + float(found["m"] or 0) * 60 + float(found["s"] or 0)
    return -seconds if found["sign"] == "-" else seconds


_Command = TypeVar("_Command", bound=Callable[..., Any])


def adds(command: _Command) -> _Command:
    """Give a command `--add` and `--clock`; it gets `add: tuple[Path, ...]` and `clock: float | None`."""

    @wraps(command)
    def checked(*args: Any, add: tuple[Path, ...], clock: float | None, **rest: Any) -> Any:
        if clock is not None and not add:
            raise click.UsageError("--clock is for the files of --add: name one, or leave --clock out")
        return command(*args, add=add, clock=clock, **rest)

    checked = click.option(
        "--clock",
        type=offset,
        metavar="OFFSET",
        help="How far the clock of the added files is ahead of ours (8h, 5h45m, -3.2s), if it cannot be found out.",
    )(checked)
    return cast(
        _Command,
        click.option(
            "--add",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Put what others wrote down beside it, clocks aligned: logs of nginx, HAProxy, Envoy, Caddy, Traefik or "
            "as JSON, HAR files, mitmproxy flows, pasted curl, tcpdump and log lines, captures; plain or gzip; "
            "- is standard input. May be given several times.",
        )(checked),
    )


# ----- looking


def near(library: Library, turn: StoredTurn) -> list[StoredTurn]:
    """The turns around one, itself included: a clock is better found by many."""
    record = turn.record
    start = record.started.wall_ms
    end = record.ended.wall_ms if record.ended else start
    found = [
        one
        for one in library.recent(5000, start - NEAR_MS)
        if one.record.started.wall_ms <= end + NEAR_MS and one.record.turn_id != record.turn_id
    ]
    found.sort(key=lambda one: abs(one.record.started.wall_ms - start))
    return sorted([turn, *found[: MOST_NEAR - 1]], key=lambda one: one.record.started.wall_ms)


def look(paths: Sequence[Path], turns: Sequence[StoredTurn], clock: float | None) -> Beside:
    """Read the files and put what they saw to the turns. Raises `Failed` with what to try next."""
    found = Beside()
    legs = [leg for turn in turns for leg in legs_of(turn)]
    try:
        with spooled(paths) as files:
            return _look(found, files, turns, legs, clock)
    except (NotReadable, ValueError) as error:
        raise Failed(f"{clean(str(error))}; {READS}") from None


def _pieces(path: Path) -> Iterator[bytes]:
    """What comes out of standard input or a named pipe. Raises `NotReadable` where nobody writes to that pipe."""
    if str(path) == "-":
        yield from iter(partial(sys.stdin.buffer.read, PIECE), b"")
        return
    try:
        with plain_files.open_once(path) as pipe:
            yield from iter(partial(pipe.read, PIECE), b"")
    except OSError as error:
        raise NotReadable(f"{clean(str(path))} cannot be read: {error.strerror}") from None


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except OSError:  # whoever opens it says why
        return False


@contextmanager
def spooled(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The files; what can be read only once (`-`, a pipe as `<(zcat access.log.gz)`) is kept in a private file meanwhile.

    Raises `NotReadable` for a pipe that nobody writes to.
    """
    with ExitStack() as stack:
        files = []
        for path in paths:
            if str(path) != "-" and not _is_pipe(path):
                files.append(path)
                continue
            paste = Path(stack.enter_context(TemporaryDirectory(prefix="holdfast-"))) / "paste"
            with paste.open("xb") as out:
                paste.chmod(0o600)
                left = LARGEST_PASTE
                for piece in _pieces(path):
                    out.write(piece[:left])
                    left -= len(piece)
                    if left <= 0:
                        break
            files.append(paste)
        yield files


def _look(
    found: Beside,
    paths: Sequence[Path],
    turns: Sequence[StoredTurn],
    legs: Sequence[Leg],
    clock: float | None,
) -> Beside:
    first_s = min((leg.began_s for leg in legs), default=0.0)
    zone = datetime.fromtimestamp(first_s).astimezone().utcoffset()
    for path in paths:
        if reading.is_capture(path):
            found.captures.append(_capture(path, turns))
        else:
            local_s = zone.total_seconds() if zone else 0.0
            found.sources.append(reading.beside(path, legs, local_zone_s=local_s, shift_s=clock))
    if clock is None:
        _ask_siblings(found, paths, legs)
    return found


def _ask_siblings(found: Beside, paths: Sequence[Path], legs: Sequence[Leg]) -> None:
    """Read a log of local times again, if another log of the same program told the zone and a sure clock.

    nginx writes the zone into its access log, and none into its error log.
    """
    known = {
        one.pile.program: one.zone_s for one in found.sources if one.clock.sure and one.zone_s is not None
    }
    texts = [path for path in paths if not reading.is_capture(path)]
    for place, (path, source) in enumerate(zip(texts, found.sources, strict=True)):
        zone_s = known.get(source.pile.program)
        if zone_s is not None and not source.clock.sure and not any(s.zone_known for s in source.pile.seen):
            found.sources[place] = reading.beside(path, legs, local_zone_s=zone_s)


def look_near(
    paths: Sequence[Path], library: Library, turn: StoredTurn, clock: float | None
) -> Beside | None:
    """What the files saw of one turn, its neighbours helping to find their clocks; None without files."""
    if not paths:
        if clock is not None:
            raise click.UsageError("--clock is for the files of --add")
        return None
    return look(paths, near(library, turn), clock)


def _capture(path: Path, turns: Sequence[StoredTurn]) -> CaptureBeside:
    from holdfast.captures import match  # packets are seldom added, and much code

    read: ReadCapture = match.beside
    return read(path, turns)


# ----- one turn


def lines(beside: Beside, turn: StoredTurn) -> list[Line]:
    """What others saw of a turn, as lines of its story."""
    found = lines_of(beside.matches(turn), turn.record)
    for capture in beside.captures:
        found = merged(found, capture.lines(turn))
    return found


def said(beside: Beside, turn: StoredTurn) -> list[Added]:
    """What others say of each connection of a turn, as plain values for its explanation."""
    found = [
        Added(
            place=one.seen.place,
            client=one.leg.kind is Kind.CLIENT,
            number=one.leg.number,
            says=one.seen.says,
            verdict=one.verdict.value,
            note=one.note,
            program=one.seen.program,
            between=one.seen.vantage is Vantage.BETWEEN,
            own_limit=one.seen.side is Side.PATH and one.seen.mechanism is Mechanism.DEADLINE,
        )
        for one in beside.matches(turn)
    ]
    for capture in beside.captures:
        for place, _, says, verdict in capture.rows(turn):
            leg = _CAPTURED_LEG.match(says)
            if leg is None:
                continue
            client = says.startswith("the client")
            number = int(leg["client"] or 1) if client else int(leg["attempt"])
            word = verdict.partition(" ")[0].strip(",:;")
            found.append(Added(place, client, number, says, word, capture=True))
    return found


_CAPTURED_LEG = re.compile(r"the client's connection(?: (?P<client>\d{1,6}))?,|attempt (?P<attempt>\d{1,6}),")
"How a capture's row begins."


def page(beside: Beside, turn: StoredTurn, width: int | None) -> list[str]:
    """Who saw what of a turn, and what is to be known about each file."""
    rows = table(beside.matches(turn), turn.record)
    for capture in beside.captures:
        rows += capture.rows(turn)
    said = ["Who saw what:"]
    if rows:
        said += _rows(rows, width)
    else:
        said.append("  Nothing in what was added is of this turn, as far as can be told.")
    unplaced = [one for source in beside.sources for one in source.matched.unplaced]
    if unplaced:
        said += ["", "Said without a time or an id of ours, so it stands in no order:"]
        said += _rows([(one.place, "-", one.says, "") for one in unplaced[:10]], width)
        if len(unplaced) > 10:
            said.append(f"  ... and {len(unplaced) - 10} more")
    return [*said, "", *told_notes(beside, [turn], width)]


def told_notes(beside: Beside, turns: Sequence[StoredTurn], width: int | None = None) -> list[str]:
    """The notes as lines of a page."""
    said = ["How they were read:"]
    for note in notes(beside, turns):
        said += _wrapped(f"  {note}", width, "    ")
    return said


def _rows(rows: Sequence[Row], width: int | None) -> list[str]:
    who = min(max(len(row[0]) for row in rows), 34)
    when = max(len(row[1]) for row in rows)
    said = []
    for name, at, what, verdict in rows:
        head = f"  {_short(name, 34).ljust(who)}  {at.rjust(when)}  "
        text = f"{what}." + (f" {verdict[0].upper()}{verdict[1:]}." if verdict else "")
        said += _wrapped(head + text, width, " " * len(head))
    return said


def _short(name: str, limit: int) -> str:
    """A name cut in its middle: its end has the line."""
    return name if len(name) <= limit else f"{name[: limit // 2 - 1]}…{name[-(limit // 2) :]}"


def _wrapped(text: str, width: int | None, indent: str) -> list[str]:
    if width is None:
        return [text.rstrip()]
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
    ) or [""]


# ----- several turns

_LOUDEST = (Verdict.CONTRADICTS, Verdict.ADDS, Verdict.AGREES, Verdict.SILENT)


def seen_by(beside: Beside, turn: StoredTurn) -> str:
    """`nginx access.log:14 agrees, haproxy.log:3 contradicts`: each file once; empty where none saw it."""
    said = []
    for source in beside.sources:
        mine = [one for one in source.matched.matches if one.leg.turn_id == turn.record.turn_id]
        if mine:
            verdict = min((one.verdict for one in mine), key=_LOUDEST.index)
            many = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
            word = "" if verdict is Verdict.SILENT else f" {verdict.value}"
            said.append(f"{mine[0].seen.place}{many}{word}")
    said += [capture.name for capture in beside.captures if capture.rows(turn)]
    return ", ".join(said)


def notes(beside: Beside, turns: Sequence[StoredTurn]) -> list[str]:
    """A sentence or two per file: its clock, what fits no turn, what was not understood."""
    ids = {turn.record.turn_id for turn in turns}
    said = []
    for source in beside.sources:
        said.append(f"{source.name}: {'; '.join(_about(source, ids))}.")
    for capture in beside.captures:
        said.append(f"{capture.name}: {'; '.join([capture.clock, *capture.notes()])}.")
    return said


def _about(source: Source, ids: set[str]) -> list[str]:
    matched, pile = source.matched, source.pile
    parts = [source.clock.words]
    if source.clock.ahead_s is None and any(one.at_s is not None for one in matched.unplaced):
        parts[0] += " (if you know it, say it: --clock 8h)"
    elsewhere = sum(1 for one in matched.matches if one.leg.turn_id not in ids)
    if elsewhere:
        parts.append(f"{_units(source, elsewhere)} of it {'is' if elsewhere == 1 else 'are'} of other turns")
    if matched.unclear:
        one, several = matched.unclear[0]
        parts.append(
            f"{_units(source, len(matched.unclear))} could be of several turns equally, and of none for sure "
            f"({pile.units} {one.line}: {' or '.join(several[:3])})"
        )
    if matched.crowded:
        parts.append(
            f"{_units(source, len(matched.crowded))} fit a turn as well as others do, where one can be it, and were put "
            f"to none (first: {pile.units} {matched.crowded[0].line}; a request id in the log would tell)"
        )
    if matched.strangers:
        parts.append(_strangers(matched.strangers, matched.never_came, pile.units))
    if pile.dirt:
        parts.append(
            f"{pile.dirt} of {_units(source, pile.count)} not understood, first: {pile.units} {pile.first_dirt}"
        )
    elif not pile.count:
        parts.append("it is empty")
    if pile.left_out:
        parts.append(f"{pile.left_out} more were left out, there being so many at that time")
    if pile.problem:
        parts.append(pile.problem)
    return parts


def _units(source: Source, count: int) -> str:
    """`1 line`, `3 entries`."""
    return counted(count, source.pile.units)


def _strangers(found: Sequence[Sighting], never_came: int, unit: str) -> str:
    first = found[0]
    what = " ".join(part for part in (first.method, first.path, str(first.status or "")) if part)
    head = f"{len(found)} meanwhile fit no turn (first: {unit} {first.line}{', ' + what if what else ''})"
    if never_came == len(found):
        return f"{head}: requests that never reached us, or somebody else's"
    return f"{head}: somebody else's traffic" + (
        f", or requests that never reached us ({never_came} asked for a path of ours)" if never_came else ""
    )


# ----- for programs


def turn_json(beside: Beside, turn: StoredTurn) -> list[dict[str, Any]]:
    """What others saw of a turn, as plain values."""
    found: list[dict[str, Any]] = [
        {
            "source": one.seen.source,
            "line": one.seen.line,
            "program": one.seen.program,
            "says": one.seen.says,
            "side": one.seen.side.name.lower() if one.seen.side else None,
            "mechanism": one.seen.mechanism.value if one.seen.mechanism else None,
            "status": one.seen.status,
            "took_s": one.seen.took_s,
            "sent_bytes": one.seen.sent_bytes,
            "began_wall_ms": None if one.began_s is None else round(one.began_s * 1000),
            "ended_wall_ms": None if one.ended_s is None else round(one.ended_s * 1000),
            "leg": f"{one.leg.kind.value} {one.leg.number}",
            "by_id": one.by_id,
            "verdict": one.verdict.value,
            "note": one.note,
        }
        for one in beside.matches(turn)
    ]
    for capture in beside.captures:
        found += [
            {"source": capture.name, "says": what, "verdict": verdict, "at": at}
            for _, at, what, verdict in capture.rows(turn)
        ]
    return found


def as_json(beside: Beside, turn: StoredTurn) -> dict[str, Any]:
    """What `flight --json` adds: `seen`, and `beside` with a value per file."""
    return {"seen": turn_json(beside, turn), "beside": files_json(beside)}


def files_json(beside: Beside) -> list[dict[str, Any]]:
    """What is to be known about each file, as plain values."""
    found: list[dict[str, Any]] = [
        {
            "source": one.name,
            "program": one.pile.program,
            "clock_ahead_s": one.clock.ahead_s,
            "clock": one.clock.words,
            "sure": one.clock.sure,
            "read": one.pile.count,
            "not_understood": one.pile.dirt,
            "first_not_understood": one.pile.first_dirt,
            "fit_no_turn": len(one.matched.strangers),
            "fit_several": len(one.matched.unclear),
            "fit_one_together": len(one.matched.crowded),
            "without_time_or_id": len(one.matched.unplaced),
            "problem": one.pile.problem,
        }
        for one in beside.sources
    ]
    return found + [{"source": one.name, "clock": one.clock} for one in beside.captures]
