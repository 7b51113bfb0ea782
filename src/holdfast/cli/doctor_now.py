"""`holdfast doctor --now`: gathers what can be seen of a freeze that is happening, for `diagnosis.now` to judge.

It looks at the client's process, at its connections, at the end of its transcript, and at the flight if a gateway of
ours carries it. It sends nothing, anywhere, needs no rights but the user's own, and reads of records only kinds and times.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from holdfast.cli import claude
from holdfast.cli.config import is_loopback
from holdfast.diagnosis.now import Clock, KeptNow, OpenTurn, Patience, Scene, asking
from holdfast.flight import moments as m
from holdfast.flight.flights import quiet_place
from holdfast.flight.instances import Serving, identity_of, living_instances, phase_after, serving_of
from holdfast.flight.instant import Instant
from holdfast.flight.plain_files import only_files
from holdfast.flight.reading import Library, StoredTurn
from holdfast.gateway.profiles import Profile, choose, limits_for, variables
from holdfast.gateway.settings import Timeouts
from holdfast.sessions import clients as processes
from holdfast.sessions.clients import Client
from holdfast.sessions.live_sockets import LiveSocket, has_way_out, own_addresses, read_proc, read_ss
from holdfast.sessions.places import roots
from holdfast.sessions.tail import CALLED, Tail, read_tail

SS_S = 5.0
RECENT_TURNS = 200
HELPER_FRESH_MS = 30 * 60_000
"A subagent that wrote nothing for longer is not what a conversation waits for now."
LONGEST_TURN_MS = 12 * 3_600_000
KEPT_FRESH_S = 3600.0
MOST_SESSIONS = 20
"Of one folder, whose ends are read."
LONGEST_NOTED = 65536
VENDOR = "api.anthropic.com"


def named_variables() -> list[str]:
    """Of a client's environment what is looked at: where it asks, how long it waits, where its files are."""
    return [
        *variables(),
        claude.BASE_URL,
        *claude.MODES,
        *claude.PROXY_NAMES,
        *claude.NO_PROXY_NAMES,
        "HOME",
        "CLAUDE_CONFIG_DIR",
    ]


def living_clients() -> list[Client]:
    """Claude Code's processes of this user, the newest first."""
    return processes.clients(lambda command: claude.program_at(command) is not None, named_variables())


@dataclass(frozen=True, slots=True)
class Looked:
    """A scene, and what of it is told beside the verdict."""

    scene: Scene
    client: Client
    transcript: Path | None
    session: str
    notes: tuple[str, ...] = field(default=())


def look(client: Client, library: Library | None, *, home: Path, now_ms: int, platform: str) -> Looked:
    """Everything that can be seen of this client now."""
    notes: list[str] = []
    where = client.environment.get("HOME")
    place = Path(where) if where else home
    settings = claude.read_settings(
        client.command, {**client.environment, "HOME": str(place)}, client.cwd, platform
    )
    table = _by_ss()
    found = _sockets(client.pid, table, notes)
    mine = found or []
    asked = _turn_on(library, mine, now_ms) if library is not None else None
    transcript, main, tail, sessions = _conversation(client, place, now_ms, asked, notes)
    base = claude.look_up(claude.BASE_URL, client.environment, settings)
    gateways = _gateways(library, table)
    candidates, to_gateway, relay = _towards_api(mine, base.value if base else "", gateways, client, settings)
    since_s = (now_ms - tail.last_ms) / 1000 if tail is not None and tail.last_ms is not None else None
    socket = asking(candidates, since_s)
    if len(candidates) > 1:
        notes.append(
            f"of {len(candidates)} connections to where it asks, the one that last sent when it asked is taken"
        )
    session = main.session if main is not None else (asked.record.session or "" if asked is not None else "")
    helper = tail is not main
    turn = _open_turn(library, session, now_ms, helper) if library is not None and session else None
    turn = turn or asked
    ours = to_gateway or turn is not None
    upstream = _upstream(turn, gateways, now_ms) if turn is not None else None
    scene = Scene(
        now_ms=now_ms,
        tail=tail,
        helper=helper,
        socket=socket,
        sockets_seen=found is not None,
        times_seen=not any(one.acked_ago_s is None and one.state == "ESTAB" for one in mine),
        local_address_gone=_address_gone(socket, client.pid),
        upstream=upstream,
        gateway=ours,
        relay=relay and not ours,
        turn=_told(turn, now_ms) if turn is not None else None,
        kept=_kept(library, session, main, now_ms) if library is not None and session else None,
        patience=_patience(tail, client, settings, direct=base is None),
        network=_network(client.pid, socket),
        helpers_running=processes.children(client.pid),
        sessions=sessions,
    )
    return Looked(scene, client, transcript, session, tuple(notes))


# ----- the conversation


def _conversation(
    client: Client, home: Path, now_ms: int, asked: StoredTurn | None, notes: list[str]
) -> tuple[Path | None, Tail | None, Tail | None, int]:
    """Its transcript, what the conversation is at, what it waits for (a subagent's, where one works), and how many
    conversations may be its.

    The turn that it asks for on its own connection names the session for sure. What the client itself has written down
    of its process does, too, unless another conversation went on later: a client can begin a new one. Without either,
    only a conversation that nobody else can have written is its.
    """
    others = [
        one
        for one in living_clients()
        if one.pid != client.pid and (_same(one.cwd, client.cwd) or one.cwd == client.cwd)
    ]
    named = {one.pid: _named_session(one, home) for one in others}
    taken = {name for name in named.values() if name}
    found = [
        (path, main)
        for path in processes.written_last(roots(home, client.environment), client.cwd, client.started_ms)[
            :MOST_SESSIONS
        ]
        if path.stem not in taken and (main := _readable(path)) is not None
        if not main.cwd or _same(Path(main.cwd), client.cwd)
    ]
    sure = asked.record.session if asked is not None else None
    own = sure or _named_session(client, home)
    mine = [(path, main) for path, main in found if path.stem == own] if own else found
    if not mine:
        notes.append(
            "the transcript of its session was not written to since it began"
            if own
            else "no transcript of this folder was written to since it began"
        )
        return None, None, None, 1
    path, main = mine[0]
    if own:
        sessions = 1 if sure else 1 + [one for one, _ in found].index(path)
    else:
        sessions = len(found) + sum(not name for name in named.values())
        if sessions > 1:
            return None, None, None, sessions
    helper = _helper(path, main, now_ms)
    if helper is not None:
        notes.append("it waits for a subagent, whose transcript is looked at")
    return path, main, helper or main, sessions


def _readable(path: Path) -> Tail | None:
    with suppress(OSError):
        return read_tail(path)
    return None


class _Noted(msgspec.Struct):
    pid: int
    sessionId: str
    procStart: str = ""


def _named_session(client: Client, home: Path) -> str:
    """The session that the client says is its process's: by an option, or in the file that newer ones keep for each
    process (seen in 2.1.197: `sessions/PID.json`). Empty where it says nothing."""
    given = claude.option_value(client.command, "--session-id")
    if given:
        return given
    identity = identity_of(client.pid)
    for root in roots(Path(client.environment.get("HOME") or home), client.environment):
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            with open(root / "sessions" / f"{client.pid}.json", "rb", opener=only_files) as file:
                noted = msgspec.json.decode(file.read(LONGEST_NOTED), type=_Noted)
            if noted.pid == client.pid and identity is not None and noted.procStart == identity.process_start:
                return noted.sessionId
    return ""


def _same(one: Path, other: Path) -> bool:
    """Whether a record's folder is the process's, or below it: a client may change into a folder of the project."""
    return one == other or one.is_relative_to(other) or other.is_relative_to(one)


def _helper(transcript: Path, main: Tail, now_ms: int) -> Tail | None:
    if main.at != CALLED or not set(main.open_tools) & {"Task", "Agent"}:
        return None
    for path in processes.helpers_of(transcript, now_ms - HELPER_FRESH_MS):
        with suppress(OSError):
            return read_tail(path)
    return None


# ----- connections


def _sockets(pid: int, table: Sequence[LiveSocket], notes: list[str]) -> list[LiveSocket] | None:
    """The process's connections; None where they may not be seen."""
    inodes = processes.socket_inodes(pid)
    if inodes is None:
        return None
    mine = [one for one in table if one.inode in inodes]
    if mine or not inodes:
        return mine
    # Without ss, and for a process in a network namespace of its own, there is the kernel's shorter table.
    mine = [one for one in _by_proc(pid) if one.inode in inodes]
    if mine:
        notes.append("ss does not show its connections; /proc/net/tcp does, without times")
    return mine


def _by_ss() -> list[LiveSocket]:
    program = shutil.which("ss") or shutil.which("ss", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return []
    try:
        # All states: a listening socket tells which port is a gateway's.
        done = subprocess.run(
            [program, "-tainoeH"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SS_S,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return read_ss(done.stdout)


def _by_proc(pid: int) -> list[LiveSocket]:
    return [one for name in ("tcp", "tcp6") for one in read_proc(_text(Path(f"/proc/{pid}/net/{name}")))]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _towards_api(
    mine: Sequence[LiveSocket],
    base: str,
    gateways: Sequence[_Gateway],
    client: Client,
    settings: Sequence[claude.Source],
) -> tuple[list[LiveSocket], bool, bool]:
    """The client's connections to where it asks; whether that is a gateway of ours; whether it is one of another's."""
    host, port = _host_and_port(base or f"https://{VENDOR}")
    connected = [one for one in mine if one.state not in ("LISTEN", "TIME-WAIT", "CLOSED") and one.peer_port]
    if host in ("localhost", "127.0.0.1", "::1"):
        chosen = [one for one in connected if one.loopback and one.peer_port == port]
        return chosen, any(port in gateway.ports for gateway in gateways), True
    proxies = [_host_and_port(found.value) for found in _proxies(client, settings)]
    by_proxy = [one for one in connected if any(one.peer_port == its_port for _, its_port in proxies)]
    if by_proxy:
        return by_proxy, False, True
    # Which addresses the name has is not asked: that would be sent.
    return [one for one in connected if not one.loopback and one.peer_port == port], False, False


def _proxies(client: Client, settings: Sequence[claude.Source]) -> Iterable[claude.Found]:
    for name in claude.PROXY_NAMES:
        found = claude.look_up(name, client.environment, settings)
        if found is not None:
            yield found


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", 0


def _address_gone(socket: LiveSocket | None, pid: int) -> bool:
    if socket is None or socket.loopback:
        return False
    own = own_addresses(_text(Path(f"/proc/{pid}/net/fib_trie")), _text(Path(f"/proc/{pid}/net/if_inet6")))
    return bool(own) and socket.local not in own


def _network(pid: int, socket: LiveSocket | None) -> bool | None:
    """Whether there is a route to where it asks, or out of here where it asks nobody; None where none is needed."""
    route = _text(Path(f"/proc/{pid}/net/route"))
    if not route or (socket is not None and socket.loopback):
        return None
    to = socket.peer if socket is not None else ""
    return has_way_out(route, _text(Path(f"/proc/{pid}/net/ipv6_route")), to)


# ----- the gateway and its flight


@dataclass(frozen=True, slots=True)
class _Gateway:
    instance: str
    pid: int
    sockets: tuple[LiveSocket, ...]

    @property
    def ports(self) -> frozenset[int]:
        return frozenset(one.local_port for one in self.sockets if one.state == "LISTEN")


def _gateways(library: Library | None, table: Sequence[LiveSocket]) -> list[_Gateway]:
    if library is None:
        return []
    found = []
    for one in living_instances(library.connection, library.state_dir):
        found.append(_Gateway(one.id, one.identity.pid, tuple(_sockets(one.identity.pid, table, []) or ())))
    return found


def serving(library: Library | None) -> list[Serving]:
    """What each `holdfast serve` of this machine says of itself, of those that listen on this machine alone."""
    if library is None:
        return []
    found = [
        serving_of(library.state_dir, one.id)
        for one in living_instances(library.connection, library.state_dir)
        # One that shares the journal from a container lives, but its loopback is another.
        if one.kind == "serve" and identity_of(one.identity.pid) == one.identity
    ]
    return sorted(
        (one for one in found if one is not None and is_loopback(_host_and_port(one.url)[0])),
        key=lambda one: one.url,
    )


def _open_turn(library: Library, session: str, now_ms: int, helper: bool) -> StoredTurn | None:
    """The latest turn of this session that is under way: of the conversation itself, or of a subagent's."""
    for turn in library.recent(RECENT_TURNS, now_ms - LONGEST_TURN_MS):
        record = turn.record
        mine = record.session == session and (record.subagent is not None) == helper
        if turn.ending_code is None and mine and record.kind == "turn":
            return turn
    return None


def _turn_on(library: Library, mine: Sequence[LiveSocket], now_ms: int) -> StoredTurn | None:
    """The latest turn under way that is asked for on one of these connections, by the ports of both its ends."""
    ports = {(one.local_port, one.peer_port) for one in mine if one.loopback and one.state == "ESTAB"}
    living = {one.id for one in living_instances(library.connection, library.state_dir)} if ports else set()
    for turn in library.recent(RECENT_TURNS, now_ms - LONGEST_TURN_MS) if living else ():
        if turn.ending_code is not None or turn.record.kind != "turn" or turn.instance_id not in living:
            continue
        joined = [one for _, one in turn.record.moments if isinstance(one, m.ReaderJoined)]
        if joined and (joined[-1].client_port, joined[-1].own_port) in ports:
            return turn
    return None


def _upstream(turn: StoredTurn, gateways: Sequence[_Gateway], now_ms: int) -> LiveSocket | None:
    """The gateway's own connection to the provider, of this turn most likely."""
    gateway = next((one for one in gateways if one.instance == turn.instance_id), None)
    if gateway is None:
        return None
    _, port = _host_and_port(turn.record.upstream)
    out = [one for one in gateway.sockets if one.peer_port == port and one.local_port not in gateway.ports]
    sent = [at.wall_ms for at, moment in turn.record.moments if isinstance(moment, m.RequestSent)]
    return asking(out, (now_ms - sent[-1]) / 1000 if sent else None)


def _tool(moments: Sequence[tuple[Instant, m.Moment]]) -> str | None:
    """The tool whose call was written last."""
    return next((one.tool for _, one in reversed(moments) if isinstance(one, m.BlockOpened)), None)


_PHASES = (
    m.AttemptStarted,
    m.Connected,
    m.RequestSent,
    m.HeadersArrived,
    m.FirstEventArrived,
    m.BlockOpened,
    m.AnswerFinished,
)
"Moments that say what is under way."


def _told(turn: StoredTurn, now_ms: int) -> OpenTurn:
    record = turn.record
    silent_since, away = None, ""
    for at, moment in record.moments:
        match moment:
            case m.QuietNoticed(silent_s=before):
                silent_since = at.wall_ms - round((before or 0.0) * 1000)
            case m.QuietEnded():
                silent_since = None
            case m.NetworkGone():
                away = moment.why
            case m.NetworkBack():
                away = ""
    named = [
        (type(moment).__name__, msgspec.to_builtins(moment))
        for _, moment in record.moments
        if isinstance(moment, _PHASES)
    ]
    return OpenTurn(
        turn_id=record.turn_id,
        phase=quiet_place(phase_after(named).value, _tool(record.moments), "before its headers"),
        age_s=max(0.0, (now_ms - record.started.wall_ms) / 1000),
        silent_s=None if silent_since is None else max(0.0, (now_ms - silent_since) / 1000),
        keepalives=record.keepalives,
        away=away,
        quiet_limit_s=Timeouts().quiet_s,
        measured=not record.profile.startswith("unknown"),
        cancel_s=Timeouts().cancel_grace_s,
    )


def _kept(library: Library, session: str, main: Tail | None, now_ms: int) -> KeptNow | None:
    """An answer of this session that was kept since its last record, and that nobody was given."""
    if main is None or main.last_ms is None:
        return None
    answers = {answer.turn_id: answer for answer in library.attic.answers() if not answer.handed_over}
    for turn in library.recent(RECENT_TURNS, main.last_ms - 5000):
        answer = answers.get(turn.record.turn_id)
        if answer is None or turn.record.session != session:
            continue
        ago_s = (now_ms - answer.kept_wall_ms) / 1000
        if 0 <= ago_s <= KEPT_FRESH_S:
            return KeptNow(answer.turn_id, answer.complete, ago_s)
    return None


# ----- how long it waits


def profile_of(version: str, entrypoint: str = "cli") -> Profile:
    """The profile of a version of Claude Code."""
    return choose(f"claude-cli/{version} (external, {entrypoint or 'cli'})", {})


def _patience(
    tail: Tail | None, client: Client, settings: Sequence[claude.Source], *, direct: bool
) -> Patience | None:
    if tail is None or not tail.version:
        return None
    profile = profile_of(tail.version, tail.entrypoint)
    if profile.program == "unknown":
        return None
    environment = {**client.environment, **claude.timer_variables(client.environment, settings)}
    limits = limits_for(profile, {}, environment, True)
    return Patience(
        client=profile.name,
        clocks=tuple(Clock(one.name, one.clock, one.seconds) for one in limits),
        measured=profile.measured,
        direct=direct,
        hangs=profile.silent_hang or "",
    )
