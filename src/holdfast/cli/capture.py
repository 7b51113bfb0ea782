"""`holdfast capture`: the packets around a running gateway, secrets overwritten before anything is written."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import RawIOBase
from pathlib import Path
from queue import Empty, Queue
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import click

from holdfast.cli.errors import Failed, Unavailable
from holdfast.cli.viewing import opened_library, span, the_turn
from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.instances import living_instances
from holdfast.flight.reading import StoredTurn
from holdfast.flight.redact import clean
from holdfast.flight.state import CAPTURES, StateError, make_private, state_dir

if TYPE_CHECKING:
    from holdfast.captures.files import Packet
    from holdfast.captures.owners import Address, Sockets, Wanted
    from holdfast.captures.ring import Kept, Ring

KEPT_DAYS = 7
"Captures in the state directory are erased after that: they hold answers."
AFTER_S = 2.0
"How long after a turn's end its connections are watched on: resets come late."
SETTLE_S = 1.2
"The kernel hands packets on after up to a second; what was captured must come out before the tool is stopped."
STOP_S = 4.0
START_S = 5.0
"Both tools say that they listen; one that says nothing for so long is believed to."
LOOK_S = 1.0
"How often it is looked whether the gateway has connected to another address."

INSTALL = """\
tcpdump or dumpcap is needed, and neither is here. Install one:
  Debian, Ubuntu   sudo apt-get install tcpdump
  Fedora           sudo dnf install tcpdump
  Alpine           sudo apk add tcpdump
  macOS            tcpdump is part of it: /usr/sbin/tcpdump
then run this again"""


def permit(tool: str, platform: str) -> str:
    """What to do where a tool may not capture, as lines to copy."""
    if platform == "darwin":
        return (
            f"{tool} may not capture: macOS gives /dev/bpf* to root only. Permit it, then open a new terminal:\n"
            "  brew install --cask wireshark-chmodbpf\n"
            '  sudo dseditgroup -o edit -a "$USER" -t user access_bpf\n'
            "or let root capture and read its file here: sudo tcpdump -i any -w stall.pcap tcp"
        )
    path = shutil.which(tool) or tool
    group = (
        "  sudo usermod -aG wireshark $USER    (where the package made that group; log in again)\n"
        if Path(tool).name == "dumpcap"
        else ""
    )
    return (
        f"{tool} may not capture. Permit it, once:\n"
        f"  sudo setcap cap_net_raw,cap_net_admin=eip $(readlink -f {path})\n{group}"
        "or let root capture and read its file here: sudo tcpdump -i any -w stall.pcap tcp"
    )


def _megabytes(_: click.Context, __: click.Parameter, value: int) -> int:
    return value * 1_000_000


@click.command("capture")
@click.option("--for", "turn", metavar="TURN", help="Only this turn's connections, until it is over.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Only this port, whoever serves it [default: the running gateways' ports and upstreams].",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="The new file to write."
)
@click.option(
    "--seconds",
    type=span,
    default="10m",
    metavar="SPAN",
    help="How much of the end is kept: 90s, 10m [default: 10m].",
)
@click.option(
    "--size",
    type=click.IntRange(1, 4000),
    default=64,
    metavar="MB",
    callback=_megabytes,
    help="How large it may become; older packets make room [default: 64].",
)
def command(turn: str | None, port: int | None, out: Path | None, seconds: float, size: int) -> None:
    """Capture the packets around a running gateway until Ctrl-C, and keep the last of them.

    It runs dumpcap or tcpdump where you may (never sudo) and limits them to the gateways' ports and upstream
    connections. Credentials, request bodies and whatever is not known to be harmless are overwritten in memory,
    before the first write; event streams stay. The file is yours alone (0600); in the state directory it is erased
    after 7 days, or by holdfast forget.

    \b
    Examples:
      holdfast capture
      holdfast capture --for 01m7x2 --out stall.pcap
      holdfast capture --port 8000 --seconds 90s --size 20
      holdfast captures stall.pcap; holdfast flight 01m7x2 --add stall.pcap

    \b
    Exit codes: 0 written, 1 not done or nothing came, 2 wrong usage,
    69 no tool, no permission, or no gateway runs.
    """
    if turn is not None and port is not None:
        raise click.UsageError("--for names a turn and --port a port; give one of them")
    plan = plan_of(turn, port)
    path = out if out is not None else own_path(plan.name)
    kept, overwritten, lost = _capture(plan, path, seconds, size)
    _report(plan, path, kept, overwritten, lost)


# ----- what to capture


@dataclass(frozen=True, slots=True)
class Plan:
    """What to capture, and when it is over."""

    wanted: Wanted
    what: str
    name: str
    "For the file."
    over: Callable[[], bool] = lambda: False
    turn: str | None = None
    connected: Callable[[], set[Address]] = set
    "Where the gateways are connected to now; what is new joins the capture."


def plan_of(turn: str | None, port: int | None) -> Plan:
    from holdfast.captures.owners import Wanted

    if port is not None:
        return Plan(Wanted(frozenset({port})), f"port {port}", f"port-{port}")
    with opened_library() as library:
        found = the_turn(library, turn) if turn is not None else None
        if found is not None and found.ending_code is not None:
            raise Failed(
                f"turn {found.record.turn_id} is over; a capture shows only what is to come. "
                "Capture while one runs: holdfast capture"
            )
        living = living_instances(library.connection, library.state_dir)
        if found is not None:
            living = [one for one in living if one.id == found.instance_id]
        recent = [found] if found is not None else library.recent(50)
    pids = [one.identity.pid for one in living]
    if not pids:
        raise Unavailable(
            "no gateway is running; start one (holdfast run -- claude), or name a port: --port 8000"
        )
    sockets = [sockets_of(pid) for pid in pids]
    serving = frozenset(port for one in sockets for port in one.listening)
    if not serving:
        raise Unavailable(
            f"the gateway (process {pids[0]}) has no listening port that can be seen from here: it runs as "
            "another user, or in a container; name its port: --port N"
        )
    remotes = {remote for one in sockets for _, remote in one.upstream} | set(_upstreams(recent))
    ports = ", ".join(map(str, sorted(serving)))
    what = f"{'ports' if len(serving) > 1 else 'port'} {ports}"
    if remotes:
        what += f" and {_addresses(len(remotes))}"

    def connected() -> set[Address]:
        return {remote for pid in pids for _, remote in sockets_of(pid).upstream}

    wanted = Wanted(serving, frozenset(remotes))
    if found is None:
        return Plan(wanted, what, "gateway", connected=connected)
    identity = found.record.turn_id
    over = Aftermath(lambda: _has_ended(identity))
    return Plan(wanted, f"{what} for turn {identity}", f"turn-{identity}", over, identity, connected)


def _upstreams(turns: Sequence[StoredTurn]) -> Iterator[tuple[str, int]]:
    """Where these turns were connected to, as their moments have it (`192.0.2.1:443`, `[2001:db8::1]:443`)."""
    for turn in turns:
        for _, moment in turn.record.moments:
            if isinstance(moment, m.Connected):
                host, _, port = moment.address.rpartition(":")
                with contextlib.suppress(ValueError):
                    yield str(ipaddress.ip_address(host.strip("[]"))), int(port)


class Aftermath:
    """Asks now and then whether something has ended, and says so a moment later."""

    def __init__(self, ended: Callable[[], bool], now: Callable[[], float] = time.monotonic) -> None:
        self._ended, self._now = ended, now
        self._asked_s: float | None = None
        self._ended_s: float | None = None

    def __call__(self) -> bool:
        now = self._now()
        if self._ended_s is None and (self._asked_s is None or now - self._asked_s >= 1):
            self._asked_s = now
            if self._ended():
                self._ended_s = now
        return self._ended_s is not None and now - self._ended_s >= AFTER_S


def _has_ended(identity: str) -> bool:
    """Whether a turn is over, or gone from the journal; a journal that is busy is asked again."""
    with contextlib.suppress(click.ClickException), opened_library() as library:
        found = library.find(identity)
        return not found or found[0].ending_code is not None
    return False


def sockets_of(pid: int) -> Sockets:
    """The TCP sockets of a process, as far as this user may see them."""
    from holdfast.captures import owners

    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(
                ["lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-FnT"],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            return owners.from_lsof(said.stdout)
    inodes: set[str] = set()
    tables: list[str] = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    return owners.from_proc(tables, frozenset(inodes))


# ----- where to


def own_path(name: str) -> Path:
    """A new file below the state directory; captures that are older than `KEPT_DAYS` go."""
    try:
        directory = make_private(state_dir() / CAPTURES)
    except StateError as error:
        raise Failed(str(error)) from error
    oldest = time.time() - KEPT_DAYS * 86400
    for old in directory.iterdir():
        with contextlib.suppress(OSError):
            if old.is_file() and not old.is_symlink() and old.stat().st_mtime < oldest:
                old.unlink()
    return directory / f"{name}-{datetime.now():%Y%m%d-%H%M%S}.pcap"


# ----- capturing


@contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """How often Ctrl-C (or a kind kill) came: once ends the capture in order, twice at once."""
    count = 0

    def noted(*_: object) -> None:
        nonlocal count
        count += 1

    before = {number: signal.signal(number, noted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Packets(RawIOBase):
    """What a capturing tool writes, until it is told to stop and has said the last of it."""

    def __init__(self, tool: subprocess.Popen[bytes], stop: Callable[[], int]) -> None:
        assert tool.stdout is not None
        self._tool, self._stop = tool, stop
        self._descriptor = tool.stdout.fileno()
        self._stopping_at: float | None = None
        self._told = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            ready, _, _ = select.select([self._descriptor], [], [], 0.2)
            self._consider_stopping()
            if ready:
                return os.read(self._descriptor, size if size > 0 else 1 << 16)
            if self._told and self._stopping_at is not None and time.monotonic() > self._stopping_at + STOP_S:
                self._tool.kill()

    def _consider_stopping(self) -> None:
        wish, now = self._stop(), time.monotonic()
        if wish and self._stopping_at is None:
            self._stopping_at = now
        if self._stopping_at is None or self._told:
            return
        if wish > 1 or now > self._stopping_at + SETTLE_S:
            self._told = True
            self._tool.send_signal(signal.SIGINT)


def _commands(wanted: Wanted) -> list[list[str]]:
    """The tools that are here, the one with fewer rights first."""
    found = []
    if dumpcap := shutil.which("dumpcap"):
        found.append([dumpcap, "-q", "-i", "any", "-P", "-f", wanted.filter, "-w", "-"])
    if tcpdump := shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin"):
        found.append([tcpdump, "-i", "any", "-n", "-U", "-s", "0", "-B", "8192", "-w", "-", wanted.filter])
    return found


@contextmanager
def _tool(wanted: Wanted) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A tool that captures, and what it says; or an error with what to install or to permit."""
    commands = _commands(wanted)
    if not commands:
        raise Unavailable(INSTALL)
    refused = ""
    for command in commands:
        name = Path(command[0]).name
        with tempfile.TemporaryFile() as said:
            # In a session of its own: Ctrl-C is ours, and it shall hand over what it has before it ends.
            tool = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )
            try:
                if _began(tool, said):
                    yield tool, said
                    return
                words = _words(said)
            finally:
                with contextlib.suppress(OSError):
                    tool.kill()
                tool.communicate()
        allowed = not any(word in words.lower() for word in ("permission", "permitted", "not allowed"))
        # Of several tools, the first is the one to permit.
        refused = refused or (
            f"{name} did not start: {words}" if allowed else permit(command[0], sys.platform)
        )
    raise Unavailable(refused)


def _began(tool: subprocess.Popen[bytes], said: IO[bytes]) -> bool:
    """Whether it captures; False where it ended instead."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if b"istening on" in _all(said) or b"apturing on" in _all(said):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            tool.wait(0.05)
            return False
    return True


def _all(said: IO[bytes]) -> bytes:
    return os.pread(said.fileno(), 20_000, 0)


def _words(said: IO[bytes]) -> str:
    return clean(" ".join(_all(said).decode("utf-8", "replace").split()), limit=300)


class _Tap:
    """A tool that captures, and a thread that puts its packets into a queue; None behind the last of them."""

    def __init__(
        self,
        tool: subprocess.Popen[bytes],
        said: IO[bytes],
        into: Queue[Packet | None],
        wish: Callable[[], int],
    ) -> None:
        self.tool, self._said, self._into = tool, said, into
        self._source = _Packets(tool, wish)
        self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def name(self) -> str:
        return Path(cast(list[str], self.tool.args)[0]).name

    @property
    def words(self) -> str:
        return _words(self._said)

    @property
    def lost(self) -> int:
        return dropped(_all(self._said).decode("utf-8", "replace"))

    def _read(self) -> None:
        from holdfast.captures.files import NotACapture, capture_from

        try:
            # One that ended before its first byte is no capture; what it said is told at the end.
            with contextlib.suppress(NotACapture, OSError):
                for packet in capture_from(cast(BinaryIO, self._source), "-"):
                    self._into.put(packet)
        finally:
            self.ended = True
            self._into.put(None)


def _capture(plan: Plan, path: Path, seconds: float, size: int) -> tuple[Kept, int, int]:
    """Run the tool until it is enough. Returns what was kept, and how many packets were overwritten in, and lost."""
    from holdfast.captures.masking import PacketMasker
    from holdfast.captures.owners import Wanted

    ports = set(plan.wanted.server_ports)
    masker = PacketMasker(ports.__contains__)
    packets: Queue[Packet | None] = Queue(maxsize=50_000)
    wish = [0]
    with _interrupts() as interrupts, contextlib.ExitStack() as tools:

        def tap(wanted: Wanted) -> _Tap:
            return _Tap(*tools.enter_context(_tool(wanted)), packets, lambda: wish[0])

        taps = [tap(plan.wanted)]
        ring = _ring(path, seconds, size)
        kept_for = flights.duration(seconds)
        click.echo(f"Capturing {plan.what}; Ctrl-C ends it. It keeps the last {kept_for}.", err=True)
        known, looked_s = set(plan.wanted.remotes), time.monotonic()
        try:
            while not all(one.ended for one in taps) or not packets.empty():
                wish[0] = interrupts() or int(plan.over())
                try:
                    packet = packets.get(timeout=0.2)
                except Empty:
                    ring.flush()
                else:
                    for ready in masker.take(packet) if packet is not None else ():
                        ring.write(ready)
                if wish[0] or time.monotonic() - looked_s < LOOK_S:
                    continue
                looked_s = time.monotonic()
                if more := plan.connected() - known:
                    known |= more
                    ports |= {port for _, port in more}
                    with contextlib.suppress(click.ClickException):
                        taps.append(tap(Wanted(frozenset(), frozenset(more))))
                        click.echo(f"Also {_addresses(len(more))}, connected to just now.", err=True)
            for ready in masker.finish():
                ring.write(ready)
            kept = ring.finish()
        except OSError as error:
            raise Failed(
                f"{clean(str(path))} could not be written ({error.strerror}); its parts are beside it"
            ) from error
        except BaseException:
            ring.abandon()
            raise
        for one in taps:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.tool.wait(STOP_S)
            if not wish[0]:
                click.echo(f"{one.name} ended by itself: {one.words}", err=True)
        lost = sum(one.lost for one in taps)
    if not kept.packets:
        path.unlink(missing_ok=True)
    return kept, masker.overwritten, lost


def _ring(path: Path, seconds: float, size: int) -> Ring:
    from holdfast.captures.ring import Ring

    try:
        return Ring(path, most_bytes=size, keep_s=seconds)
    except FileExistsError:
        raise Failed(f"{clean(str(path))} is there already; name another file: --out PATH") from None
    except OSError as error:
        raise Failed(
            f"{clean(str(path))} cannot be written ({error.strerror}); name another file: --out PATH"
        ) from error


def _addresses(count: int) -> str:
    return "1 upstream address" if count == 1 else f"{count} upstream addresses"


_DROPPED = re.compile(r"(?m)^\s*(\d+) packets? dropped by kernel|received/dropped on interface .*: \d+/(\d+)")


def dropped(said: str) -> int:
    """How many packets the kernel dropped, as tcpdump or dumpcap says at its end."""
    return sum(int(one or other) for one, other in _DROPPED.findall(said))


def _report(plan: Plan, path: Path, kept: Kept, overwritten: int, lost: int) -> None:
    if not kept.packets:
        raise Failed(
            f"no packet of {plan.what} came; is the gateway used, and does it run in this network namespace? "
            "Try: holdfast flights"
        )
    shown = clean(str(path))
    length = flights.duration((kept.last_ns - kept.first_ns) / 1e9)
    click.echo(
        f"{kept.packets:,} packets ({flights.size(kept.bytes)}) of {length} are in {shown}; "
        f"secrets, prompts and the like were overwritten in {overwritten:,} packets. What the answers say as event "
        "streams stays in it, and so do addresses and names: read it before you pass it on."
    )
    if lost:
        click.echo(f"The kernel dropped {lost:,} packets: the machine was too busy.", err=True)
    click.echo(f"Read it: holdfast captures {shown}")
    if plan.turn is not None:
        click.echo(f"With the turn's own story: holdfast flight {plan.turn} --add {shown}")
