"""`holdfast captures`: what a capture file tells of how connections ended."""

from __future__ import annotations

import gc
import heapq
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.errors import FAILED, Failed, Misused
from holdfast.cli.viewing import json_line
from holdfast.flight.redact import clean

if TYPE_CHECKING:
    from holdfast.captures.files import Capture, Packet
    from holdfast.captures.layers import Seen
    from holdfast.captures.pairs import Pairs
    from holdfast.captures.telling import Report
    from holdfast.captures.views import View

MOST_BLOCKS = 1000
"Connections that are told one by one; a port scan has a million. `--json` has them all."

GARBAGE = 20_000
"New containers before the collector looks: Python's 700 costs a third of the time where connections are short."


@click.command("captures")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per connection and line.")
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="Only connections from or to this port."
)
@click.option("--all", "every", is_flag=True, help="Tell connections that ended properly one by one, too.")
@click.option(
    "--body",
    metavar="C.E",
    help="Write what the capture holds of one answer's body: connection and exchange, as they are told.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="A new file for --body."
)
def command(
    files: tuple[str, ...], as_json: bool, port: int | None, every: bool, body: str | None, out: Path | None
) -> None:
    """Tell from packets who closed each connection, how, and after which silence.

    FILE is a capture of tcpdump, Wireshark or dumpcap: pcap or pcapng, also compressed by gzip; - reads it from
    standard input. The worst ends come first; of those that ended properly there is one line.
    For each reset it says who made it, the peer or something between, with what speaks for and against.
    Captures of both ends, given together, are compared: what arrived and had never been sent was forged.
    Of plain HTTP it tells the exchanges (credentials masked), their events and silences, and how far each answer
    came; --body gives an answer that was cut as far as it came. Of TLS it tells what can be seen without keys.

    \b
    Examples:
      sudo tcpdump -i any -s 200 -w stall.pcap 'tcp port 443'
      holdfast captures stall.pcap
      holdfast captures --port 8000 --all client.pcapng server.pcap.gz
      holdfast captures --json stall.pcap | jq 'select(.proper | not)'
      holdfast captures stall.pcap --body 3.1 --out answer.txt

    \b
    Exit codes: 0 done, 1 a file could not be read or holds no TCP connection, 2 wrong usage.
    """
    if out is not None and body is None:
        raise click.UsageError("--out is for --body; without it the answers are told here")
    if body is not None:
        if len(files) != 1:
            raise click.UsageError("--body takes one FILE: connections are counted in each anew")
        _write_body(files[0], port, _exchange_number(body), out)
        return
    from holdfast.captures.pairs import Pairs

    gc.set_threshold(GARBAGE, 5, 5)
    worked, pairs = True, Pairs()
    for number, name in enumerate(files):
        try:
            with _opened(name) as capture:
                if number and not as_json:
                    click.echo()
                worked &= _as_json(capture, port) if as_json else _told(capture, port, every, pairs)
        except Failed as error:
            if len(files) == 1:
                raise
            error.show()
            worked = False
    if len(files) > 1 and not as_json:
        _compared(pairs)
    if not worked:
        raise SystemExit(FAILED)


@contextmanager
def _opened(name: str) -> Iterator[Capture]:
    """A capture by its name, or an error that says what to do."""
    from holdfast.captures.files import NotACapture, capture_from, open_capture

    try:
        if name == "-":
            if sys.stdin.isatty():
                raise Misused(
                    "standard input is a terminal; try: tcpdump -U -w - 'tcp port 443' | holdfast captures -"
                )
            yield capture_from(sys.stdin.buffer, "-")
            return
        if Path(name).is_dir():
            raise Failed(
                f"{clean(name)} is a directory; name the files in it, for example {clean(name)}/*.pcap"
            )
        with open_capture(name) as capture:
            yield capture
    except NotACapture as error:
        raise Failed(f"{clean(name)} cannot be read as a capture: {clean(str(error))}") from error
    except FileNotFoundError as error:
        raise Failed(
            f"there is no file {clean(name)}; a capture is written with: tcpdump -w {clean(name)}"
        ) from error
    except PermissionError as error:
        raise Failed(
            f"{clean(name)} may not be read; tcpdump writes as root, so try: sudo chown $USER {clean(name)}"
        ) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Failed(
            f"{clean(name)} cannot be read: {clean(str(error))}; copy it somewhere else and try again"
        ) from error


def many(count: int, noun: str) -> str:
    """`1 packet`, `12,345 packets`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _until_interrupted(capture: Capture) -> Iterator[Packet]:
    """Its packets; Ctrl-C ends a capture that comes through a pipe, and what came is still told."""
    try:
        yield from capture
    except KeyboardInterrupt:
        capture.notes.append("the reading was ended by Ctrl-C")


def _reports(capture: Capture, port: int | None, seen: Seen) -> Iterator[tuple[Report, View | None]]:
    from holdfast.captures.connections import follow
    from holdfast.captures.telling import Twins, conclude
    from holdfast.captures.views import Listener

    packets: Iterable[Packet] = _until_interrupted(capture) if capture.name == "-" else capture
    twins, listener = Twins(), Listener()
    for connection in follow(packets, listen=listener, port=port, seen=seen):
        yield conclude(connection, twins.of(connection)), listener.take(connection)


def _exchange_number(value: str) -> tuple[int, int]:
    """Connection and exchange, from `3.1`, or `3` for its first exchange."""
    connection, dot, exchange = value.partition(".")
    if not (connection.isascii() and connection.isdigit()) or (
        dot and not (exchange.isascii() and exchange.isdigit())
    ):
        raise click.BadParameter(f"{clean(value)!r} is no exchange; write it as it is told, like 3.1")
    return int(connection[:9]), int(exchange[:9]) if dot else 1


def _write_body(name: str, port: int | None, wanted: tuple[int, int], out: Path | None) -> None:
    """What a capture holds of one answer, to a file of our own or to standard output."""
    from holdfast.captures import views
    from holdfast.captures.connections import follow

    listener = views.Listener(body_of=wanted)
    label = f"{wanted[0]}.{wanted[1]}"
    with _opened(name) as capture:
        for connection in follow(capture, listen=listener, port=port):
            view = listener.take(connection)
            if connection.number == wanted[0]:
                break
        else:
            view = None
    found = views.body_of(view, wanted[1]) if view else None
    if view is None or found is None:
        raise Failed(
            f"{clean(name)} holds no plain HTTP answer {label}"
            + (", counted among the connections of that port" if port else "")
            + f"; they are told by: holdfast captures --all {clean(name)}"
        )
    data, said = bytes(found.kept), [f"{len(found.kept):,} bytes of the body of {label}"]
    coding = views.coding_of(view, wanted[1])
    unpacked = views.unpacked(data, coding) if not found.holes else None
    if unpacked is not None:
        data = unpacked
        said.append(f"unpacked from {coding}: {len(data):,}")
    elif coding:
        said.append(f"as sent, which is {coding}")
    if found.seen > len(found.kept):
        said.append(f"the first of {found.seen:,}")
    if found.missing:
        said.append(f"{found.missing:,} more are not in the capture, in {len(found.holes)} places")
    said.append("whole" if found.complete else "cut: the answer had not ended")
    if out is None:
        if sys.stdout.isatty():
            click.echo(clean(data.decode("utf-8", "replace"), limit=None, lines=True))
        else:
            click.echo(data, nl=False)
    else:
        try:
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise Failed(f"{clean(str(out))} is there already; name another file") from None
        except OSError as error:
            raise Failed(
                f"{clean(str(out))} cannot be written ({error.strerror}); name another file"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    click.echo("; ".join(said), err=True)


def _as_json(capture: Capture, port: int | None) -> bool:
    from holdfast.captures.layers import Seen
    from holdfast.captures.telling import as_json
    from holdfast.captures.views import as_json as view_json

    seen, count = Seen(), 0
    for report, view in _reports(capture, port, seen):
        click.echo(json_line(as_json(report, capture.name) | view_json(view)))
        count += 1
    for note in (*capture.notes, *seen.sentences()):
        click.echo(f"{clean(capture.name)}: {clean(note)}", err=True)
    return _found(capture, seen, count, port)


def _told(capture: Capture, port: int | None, every: bool, pairs: Pairs) -> bool:
    from holdfast.captures.layers import Seen
    from holdfast.captures.pairs import sighting
    from holdfast.captures.telling import block, clock, ended_kind
    from holdfast.captures.views import lines_for

    seen = Seen()
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    proper: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    worst: list[tuple[tuple[int, ...], list[str]]] = []
    count = packets = 0
    first = last = 0
    for report, view in _reports(capture, port, seen):
        count += 1
        connection = report.connection
        packets += connection.packets
        pairs.add(sighting(report, capture.name))
        first = min(first or connection.began_ns, connection.began_ns)
        last = max(last, connection.last_ns)
        if report.proper and not every and not (view and view.broken):
            proper[ended_kind(report)] += 1
            continue
        rank = tuple(-part for part in report.rank)
        entry = (rank, block(report, width) + lines_for(view, width))
        if len(worst) < MOST_BLOCKS:
            heapq.heappush(worst, entry)
        else:
            heapq.heappushpop(worst, entry)
            left_out["more"] += 1
    head = f"{clean(capture.name)}: {capture.form}, {many(capture.packets, 'packet')}, {many(count, 'TCP connection')}"
    if count:
        head += f", {clock(first)} to {clock(last)}"
    click.echo(head)
    for note in (*capture.notes, *seen.sentences()):
        click.echo(f"  note: {clean(note)}")
    for _, lines in sorted(worst, reverse=True):
        click.echo("\n" + "\n".join(lines))
    if left_out["more"]:
        click.echo(
            f"\n{left_out['more']:,} more; all of them: holdfast captures --json {clean(capture.name)}"
        )
    if proper:
        kinds = "; ".join(f"{number:,} {said}" for said, number in proper.most_common(6))
        click.echo(f"\n{sum(proper.values()):,} without a broken end ({kinds}); --all tells them one by one")
    return _found(capture, seen, count, port)


def _compared(pairs: Pairs) -> None:
    """What the files say together of connections that are in more than one of them."""
    common, told = pairs.told()
    if not common:
        return
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    click.echo(
        f"\n{many(common, 'connection')} in more than one capture" + ("" if told else ", and they agree")
    )
    for name, said in told[:MOST_BLOCKS]:
        click.echo(f"\n{clean(name)}")
        for sentence in said:
            click.echo(
                textwrap.fill(
                    clean(sentence),
                    width,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_on_hyphens=False,
                )
            )


def _found(capture: Capture, seen: Seen, count: int, port: int | None) -> bool:
    """Whether there was a connection; if not, say why there may be none."""
    if count:
        return True
    if port is not None and seen.passed_over:
        why = (
            f"none from or to port {port}, {seen.passed_over:,} TCP packets of other ports; leave --port out"
        )
    elif seen.other or seen.links:
        why = (
            f"{seen.other + sum(seen.links.values()):,} packets of other kinds; capture with the filter 'tcp'"
        )
    else:
        why = "capture again while the trouble happens, for example: tcpdump -i any -w FILE 'tcp port 443'"
    click.echo(f"{clean(capture.name)} holds no TCP connection to tell of: {why}", err=True)
    return False
