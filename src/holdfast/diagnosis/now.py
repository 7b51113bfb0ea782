"""A freeze that is happening: what its values say, and what to do. Values in, verdict out; durations in seconds.

    verdict   what it means                                             what to do
    wait      the path is alive, and the API says nothing               nothing: it comes, or the client asks again
    retry     the path is dead, or the client waits for nothing         Esc, and ask again
    kept      the answer is finished, and its client has not heard it   ask again, or take it from the attic
    local     the client waits for a tool, or for its user              look at the tool, or at the question
    away      this machine has no network                               bring it back
    unclear   what there is does not tell                               what would tell

Reading the signals (reference D.2): data long ago while acknowledgements are fresh is a peer whose stack lives and
whose application is silent. Bytes in flight that are sent again and again are vanishing; keepalive probes without an
answer tell the same of a connection on which nothing is in flight. Where nobody asked the path anything, a thinking API
and a dead path look the same, and that is what is said. Acknowledgements prove only the nearest TCP end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.flight.flights import counted, duration, size
from holdfast.sessions.live_sockets import LiveSocket
from holdfast.sessions.tail import ANSWERED, ASKED, CALLED, FAILED, NOTHING, OVER, RETRYING, Tail

WAIT, RETRY, KEPT, LOCAL, AWAY, UNCLEAR = "wait", "retry", "kept", "local", "away", "unclear"
VERDICTS = {
    WAIT: "Wait",
    RETRY: "Ask again",
    KEPT: "The answer is there",
    LOCAL: "It waits for this machine, or for you",
    AWAY: "The network is away",
    UNCLEAR: "It cannot be told",
}
"Verdict -> how a person reads it."
STRONG, SUSPECTED = "strong", "suspected"

FRESH_S = 10.0
"""An acknowledgement younger than this is life. A path that died 20 s ago has acknowledged something 20 s ago and looks
no other: probes of a silent connection come every 15 to 30 s at best."""
AT_ONCE_S = 2.0
"One that is younger than this is of now."
LATE_S = 60.0
"One that is older than this says nothing at all: boxes on a path are known that forget a connection then."
VANISHING = 2
"Sent again as often without an acknowledgement: one loss is an accident."
UNANSWERED = 2
"Keepalive probes in a row, likewise."
ADOPTABLE_S = 300.0
"So long a retry is handed an answer that finished unheard."
SAME_S = 5.0
"Records are written, and bytes arrive, within so much of each other."


@dataclass(frozen=True, slots=True)
class Clock:
    """One limit of the client's own."""

    name: str
    clock: str
    "`headers`: while nothing of the answer came. `bytes`: since the last byte. `events`: since the last event."
    seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long this client waits."""

    client: str
    "Such as `claude-code 2.1.114`."
    clocks: tuple[Clock, ...]
    measured: bool
    "Whether this very version was measured."
    direct: bool
    "Whether it asks the vendor's own address, where other limits may hold than those that were measured."
    hangs: str = ""
    "What it does where none of its limits ends a silence."


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The turn of this session that a gateway of ours carries now, by its flight."""

    turn_id: str
    phase: str
    age_s: float
    silent_s: float | None
    "As the gateway noticed it; None where it speaks, or nothing was noticed yet."
    keepalives: int
    away: str = ""
    "Why upstream cannot be reached at the moment; empty where it can."
    quiet_limit_s: float | None = None
    "After which silence of upstream the gateway itself ends the turn, unless it was told otherwise."
    measured: bool = True
    "Whether somebody measured what its client does. Of one that nobody did, going is taken for a cancel."
    cancel_s: float | None = None
    "How long after a cancel the gateway ends the request upstream, unless it was told otherwise."


@dataclass(frozen=True, slots=True)
class KeptNow:
    """An answer of this session in the attic that nobody heard."""

    turn_id: str
    complete: bool
    kept_ago_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that could be seen. None is "could not be looked at"; the times of `tail` are wall times in ms."""

    now_ms: int
    tail: Tail | None
    helper: bool = False
    "Whether `tail` is a subagent's, for which the conversation waits."
    socket: LiveSocket | None = None
    "The connection that the answer should come on; None where there is none."
    sockets_seen: bool = False
    "Whether the client's connections could be looked at."
    times_seen: bool = True
    "Whether their times could (not from /proc/net/tcp)."
    local_address_gone: bool = False
    "Whether the connection's own address is this machine's no more."
    upstream: LiveSocket | None = None
    "Behind a gateway of ours: its own connection to the provider."
    gateway: bool = False
    "Whether the client's connection goes to a gateway of ours."
    relay: bool = False
    "Whether it goes to a proxy or gateway of somebody else's: what that knows of the path behind it is not known."
    turn: OpenTurn | None = None
    kept: KeptNow | None = None
    patience: Patience | None = None
    network: bool | None = None
    "Whether there is a way out of this machine; None where it is not needed, or not known."
    helpers_running: int | None = None
    "Processes that the client has started."
    sessions: int = 1
    "How many conversations may be this client's; with several, `tail` is the likeliest, or None."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is going on, and what to do."""

    verdict: str
    grade: str
    "`strong`, `suspected`; empty where it is unclear."
    says: str
    do: str
    pro: tuple[str, ...] = ()
    con: tuple[str, ...] = ()
    settle: str = ""
    "What would tell, or tell more surely."
    gone_s: float | None = None
    "Of the client's own limit."
    limit_s: float | None = None
    limit: str = ""

    @property
    def left_s(self) -> float | None:
        """Until the client hangs up by itself; None where no limit is known to run."""
        if self.gone_s is None or self.limit_s is None:
            return None
        return max(0.0, self.limit_s - self.gone_s)


def judge(scene: Scene) -> Verdict:
    """What is going on. The first of these that holds: a kept answer, no network, work here, a dead path, silence."""
    for look in (_kept, _away, _here, _dead, _silent):
        verdict = look(scene)
        if verdict is not None:
            return _not_surely_its(scene, verdict) if scene.sessions > 1 else verdict
    return _unclear(scene)


def _not_surely_its(scene: Scene, verdict: Verdict) -> Verdict:
    """Never strong: what is said of a conversation holds for this client only if the conversation is its."""
    doubt = f"{scene.sessions} sessions of this folder may be its: another client wrote there, too"
    return replace(
        verdict,
        grade=SUSPECTED,
        con=(*verdict.con, doubt),
        settle=verdict.settle or "look at its terminal: whether it is this conversation",
    )


# ----- one by one, in the order in which they are asked


def _kept(scene: Scene) -> Verdict | None:
    kept, tail = scene.kept, scene.tail
    if kept is None or scene.turn is not None or (tail is not None and tail.at in (OVER, CALLED)):
        return None
    if not kept.complete:
        return None
    pro = [
        f"turn {kept.turn_id} was finished and kept {duration(kept.kept_ago_s)} ago, and nobody heard its end"
    ]
    shown = f"holdfast attic show {kept.turn_id}"
    if scene.socket is None and scene.sockets_seen:
        pro.append("the client has no connection on which an answer could come")
    return Verdict(
        KEPT,
        SUSPECTED if scene.socket else STRONG,
        "The API has answered; the client did not hear it to the end, and the answer is in the attic.",
        f"Press Esc and ask again: the retry is given it. Or: {shown}"
        if kept.kept_ago_s < ADOPTABLE_S
        else f"Read it: {shown}",
        tuple(pro),
        ("the client has a connection open, on which it may be asking again",) if scene.socket else (),
    )


def _away(scene: Scene) -> Verdict | None:
    do = "Bring the network back (link, VPN, router). "
    if scene.turn is not None and scene.turn.away:
        said = f"The gateway cannot reach upstream: {scene.turn.away}. It waits, and goes on by itself."
        pro = [f"the flight of turn {scene.turn.turn_id} says so"]
        if scene.network is False:
            pro.append("there is no route to it")
        return Verdict(
            AWAY, STRONG, said, f"{do}Leave the client alone: its {_meanwhile(scene.turn)}", tuple(pro)
        )
    if scene.network is not False or _works_here(scene):
        return None
    con = []
    if scene.socket is not None and _fresh(scene.socket, LATE_S):
        con.append(_acknowledged(scene.socket))
    return Verdict(
        AWAY,
        SUSPECTED if con else STRONG,
        "This machine has no way out: there is no route to the API.",
        f"{do}Then press Esc and ask again.",
        ("neither IPv4 nor IPv6 has a default route, or one to where it asks",),
        tuple(con),
        "holdfast doctor --now, once the network is back" if con else "",
    )


def _works_here(scene: Scene) -> bool:
    return scene.tail is not None and scene.tail.at in (OVER, CALLED, FAILED)


def _here(scene: Scene) -> Verdict | None:
    tail = scene.tail
    if tail is None:
        return None
    ago = _since(scene)
    if tail.at == OVER:
        pro = (f"the last record, {_ago(ago)}, ends the turn",)
        return _if_quiet(
            scene,
            Verdict(LOCAL, STRONG, "Nothing is being asked: the turn is over.", "Type the next prompt.", pro),
        )
    if tail.at == FAILED:
        return Verdict(
            RETRY,
            STRONG,
            "The client has given up this turn and waits for you.",
            "Ask again: type `continue`. To lose none next time: holdfast run -- claude",
            (f"its own error is the last record, {_ago(ago)}",),
        )
    if tail.at == RETRYING:
        return _between_tries(scene, tail, ago)
    if tail.at != CALLED or scene.turn is not None:
        return None  # the same message may hold another call, which is still being written
    tools = ", ".join(tail.open_tools[:3]) or "a tool"
    why = [f"the last record, {_ago(ago)}, calls {tools}, and there is no result"]
    if scene.helpers_running:
        why.append(f"the client has {counted(scene.helpers_running, 'process of its own')} running")
        says, do = (
            f"A tool runs on this machine: {tools}.",
            "Let it work, or look at what it does; Esc stops it.",
        )
    elif scene.helpers_running == 0:
        why.append("it has no process running")
        says = f"{tools} was called, and nothing runs: the client most likely waits for your permission."
        do = "Look at its terminal: a question is open there, or the tool works inside the client."
    else:
        says = f"The client waits for {tools}, or for your permission to run it."
        do = "Look at its terminal, and at what the tool does."
    return _if_quiet(scene, Verdict(LOCAL, STRONG, says, do, tuple(why)))


def _if_quiet(scene: Scene, verdict: Verdict) -> Verdict:
    """The verdict as it is, or weaker where bytes of an answer came after the record that it rests on."""
    ago, socket = _since(scene), scene.socket
    con = []
    if scene.turn is not None:
        con.append(f"turn {scene.turn.turn_id} of this session is still under way ({scene.turn.phase})")
    if socket is not None and ago is not None:
        if socket.received_ago_s is not None and socket.received_ago_s < ago - SAME_S:
            con.append(
                f"bytes came on its connection to {socket.there} {_ago(socket.received_ago_s)}, after that"
            )
        if socket.unacked_bytes and (socket.retransmits or 0) >= VANISHING:
            con.append(f"{size(socket.unacked_bytes)} to {socket.there} are not acknowledged: it is sending")
    if not con:
        return verdict
    settle = "holdfast doctor --now --watch 5: whether records or bytes come"
    return replace(verdict, grade=SUSPECTED, con=tuple(con), settle=settle)


def _between_tries(scene: Scene, tail: Tail, ago: float | None) -> Verdict | None:
    wait = tail.retry_in_s
    if wait is None or ago is None or ago > wait + SAME_S:
        return None  # the next try has begun
    number = f"try {tail.retry[0]} of {tail.retry[1]} failed" if tail.retry else "a try failed"
    left = max(0.0, wait - ago)
    return Verdict(
        WAIT,
        STRONG,
        f"The client is between two tries: the next begins in {duration(left)}.",
        "Wait: it asks again by itself.",
        (f"the last record, {_ago(ago)}, says that {number}, and announces a wait of {duration(wait)}",),
    )


def _dead(scene: Scene) -> Verdict | None:
    path = _path(scene)
    ours = scene.gateway and path is scene.upstream
    if path is None:
        return _nothing_open(scene)
    pro: list[str] = []
    strong = False
    if scene.local_address_gone:
        strong = True
        pro.append(f"the connection was made from {path.local}, which is no address of this machine any more")
    again = max(path.retransmits or 0, path.backoff or 0)
    if path.unacked_bytes and again >= VANISHING:
        strong = strong or not _fresh(path, 10.0)
        pro.append(
            f"{size(path.unacked_bytes)} are not acknowledged, and were sent again {counted(again, 'time')} in vain"
        )
    if path.probes is not None and path.probes >= UNANSWERED:
        strong = strong or path.probes > UNANSWERED
        pro.append(f"{counted(path.probes, 'keepalive probe')} in a row got no answer")
    if path.state == "SYN-SENT" and again >= VANISHING:
        strong = True
        pro.append(f"the connection to {path.there} is not made: {counted(again, 'try')} unanswered")
    if path.state == "CLOSE-WAIT" and not path.unread_bytes:
        strong = True
        pro.append(f"{path.there} has closed the connection, and the client has not noticed")
    if not pro:
        return None
    if path.acked_ago_s is not None:
        pro.append(_acknowledged(path))
    con = [_acknowledged(path)] if _fresh(path, 10.0) and path.state != "CLOSE-WAIT" else []
    if con and path.acked_ago_s is not None:
        pro.pop()
    if ours:
        return Verdict(
            WAIT,
            STRONG if strong else SUSPECTED,
            "The path from the gateway to the API is dead; the gateway is about to notice, and asks again by itself.",
            f"Wait about 90 seconds: the client's {_meanwhile(scene.turn)}",
            tuple(pro),
            tuple(con),
            f"holdfast flight {scene.turn.turn_id}" if scene.turn else "",
        )
    return Verdict(
        RETRY,
        STRONG if strong and not con else SUSPECTED,
        f"The path to {path.there} is dead: no answer can come on this connection.",
        "Press Esc and ask again; no later word of this answer can reach the client.",
        tuple(pro),
        tuple(con),
        "" if strong and not con else "holdfast doctor --now --watch 5: whether it is sent again and again",
    )


def _nothing_open(scene: Scene) -> Verdict | None:
    """The client waits for an answer, and there is no connection on which it could come."""
    ago = _since(scene)
    waits = scene.tail is not None and scene.tail.at in (ASKED, ANSWERED)
    if not waits or not scene.sockets_seen or ago is None or ago < SAME_S or scene.turn is not None:
        return None
    return Verdict(
        RETRY,
        SUSPECTED,
        "The client waits for an answer, and has no connection on which it could come.",
        "Press Esc and ask again.",
        ("it has no connection to an API or a gateway", f"the last record, {_ago(ago)}, awaits an answer"),
        ("it may be between two tries of which it keeps no record",),
        "holdfast doctor --now --watch 5: whether a connection appears",
    )


def _silent(scene: Scene) -> Verdict | None:
    path, turn = _path(scene), scene.turn
    if path is None and turn is None:
        return None
    asking = turn is not None or scene.tail is None or scene.tail.at in (ASKED, ANSWERED, RETRYING, NOTHING)
    # Without a record that says so, only bytes in flight or a young exchange tell that an answer is awaited.
    if not asking or (turn is None and (scene.tail is None or scene.tail.at == NOTHING)):
        return None
    pro, con = [], []
    # What a gateway on this machine acknowledges says nothing of the path behind it.
    unseen = scene.gateway and scene.upstream is None
    lately = path is not None and not unseen and _fresh(path, LATE_S)
    alive = path is not None and lately and _fresh(path)
    if path is not None and alive:
        pro.append(_acknowledged(path))
    elif path is not None and lately:
        con.append(f"{_acknowledged(path)}; whether the path is alive since then is not known")
    elif turn is not None:
        con.append("whether the path behind the gateway is alive is not known here")
    if turn is not None:
        quiet = _upstreams_silence(scene)
        pro.append(
            f"turn {turn.turn_id} is under way in the gateway, for {duration(turn.age_s)}: {turn.phase}, {quiet}"
        )
    if path is not None and _flows(path):
        pro.append(f"bytes came {_ago(path.received_ago_s)}: the answer is being sent")
    elif path is not None and path.sent_ago_s is not None:
        pro.append(f"the request went out {_ago(path.sent_ago_s)}, and {_came(path)}")
    if path is not None and path.unread_bytes:
        con.append(
            f"{size(path.unread_bytes)} lie in the kernel, and the client has not read them: it may hang itself"
        )
    if not lately and turn is None:
        return None
    if scene.relay and path is not None:
        con.append(
            f"{path.there} is a proxy or gateway: whether the path behind it is alive is not known here"
        )
    if turn is not None and scene.tail is not None and scene.tail.at == CALLED:
        con.append(
            f"{', '.join(scene.tail.open_tools[:3])} was called and has no result: that may be what it waits for"
        )
    clock = _clock(scene)
    held = turn is not None and scene.gateway
    says, do = _waiting(scene, clock, held)
    if scene.patience is not None and clock is not None and not held:
        if not scene.patience.measured:
            con.append(
                f"the limits of {scene.patience.client} were not measured; an older version's are taken"
            )
        if scene.patience.direct:
            con.append(
                "its limits were measured behind a base URL; straight at the API shorter ones may hold"
            )
    sure = alive and not con
    return Verdict(
        WAIT,
        STRONG if sure else SUSPECTED,
        says,
        do,
        tuple(pro),
        tuple(con),
        ""
        if sure
        else "holdfast doctor --now --watch 10: whether acknowledgements go on, or probes stay without an answer",
        *(clock if clock is not None and not held else (None, None, "")),
    )


def _waiting(scene: Scene, clock: tuple[float, float, str] | None, held: bool) -> tuple[str, str]:
    path = _path(scene)
    if path is not None and path is not scene.upstream and scene.gateway:
        quiet = "The API says nothing" if _silence_s(scene) is not None else "The answer is awaited"
    elif path is not None and _flows(path):
        quiet = "The answer is under way"
    elif path is not None and _fresh(path, AT_ONCE_S):
        quiet = "The path is alive, and the API says nothing"
    elif path is not None and _fresh(path):
        quiet = f"The path was alive {_ago(path.acked_ago_s)}, and the API says nothing"
    elif path is not None and path.acked_ago_s is not None:
        quiet = (
            f"The API says nothing; the path was alive {_ago(path.acked_ago_s)}, and is not known to be since"
        )
    else:
        quiet = "The API says nothing, and whether the path is alive is not known"
    if held and scene.turn is not None:
        limit = scene.turn.quiet_limit_s
        ends = (
            f" The gateway itself ends a silence of {duration(limit)} (its default; `quiet`)."
            if limit
            else ""
        )
        stays = "Wait: the client will not hang up, and its turn is kept if it does."
        if not scene.turn.measured:
            stays = f"Wait; how long this client does so by itself is not known. {_if_it_goes(scene.turn)}"
        return (
            f"{quiet}. The gateway holds the client{_held(scene)}.",
            f"{stays}{ends} Follow it: holdfast flight {scene.turn.turn_id}",
        )
    if clock is not None:
        gone, limit, name = clock
        left = max(0.0, limit - gone)
        return (
            f"{quiet}: {duration(gone)} of {duration(limit)} of the client's own limit ({name}) are gone; "
            f"it will hang up in {duration(left)}.",
            "Wait: Esc throws away what the API has done so far. To be held beyond that limit next time: "
            "holdfast run -- claude",
        )
    if scene.patience is not None and scene.patience.hangs:
        return (
            f"{quiet}, and this client has no limit of its own here: it {scene.patience.hangs}.",
            "Wait as long as you think the answer may take, then press Esc and ask again.",
        )
    return f"{quiet}.", "Wait; how long this client does so by itself is not known."


def _if_it_goes(turn: OpenTurn) -> str:
    """What becomes of this turn when its client hangs up, where no limit of the client's was measured."""
    when = f"{duration(turn.cancel_s)} later (the default; `cancel-grace`)" if turn.cancel_s else "soon after"
    return (
        "If it hangs up, that is taken for a cancel, unless its request told a limit that runs out just then: "
        f"{when} the request upstream is ended, and its answer is not kept."
    )


def _meanwhile(turn: OpenTurn | None) -> str:
    """What the gateway does with the turn while it waits."""
    if turn is None or turn.measured:
        return "turn is kept meanwhile."
    return f"turn goes on while it stays. {_if_it_goes(turn)}"


def _silence_s(scene: Scene) -> float | None:
    """For how long upstream has said nothing, as far as it is known; None where it is not known to be silent.

    The flight notices a silence only when it has lasted; the gateway's own connection knows its last byte.
    """
    known = []
    if scene.turn is not None and scene.turn.silent_s is not None:
        known.append(scene.turn.silent_s)
    if scene.gateway and scene.upstream is not None:
        path = scene.upstream
        came = path.received_ago_s if _heard(path) else path.sent_ago_s
        if came is not None and came >= SAME_S:
            known.append(came)
    return max(known, default=None)


def _upstreams_silence(scene: Scene) -> str:
    silent_s = _silence_s(scene)
    if silent_s is not None:
        return f"upstream has been silent for {duration(silent_s)}"
    if scene.upstream is not None and _flows(scene.upstream):
        return "upstream speaks"
    return "no silence of upstream is known yet"


def _held(scene: Scene) -> str:
    """With what, as far as it is known: its counts are written down when a silence ends."""
    if scene.turn is not None and scene.turn.keepalives:
        return f", with {counted(scene.turn.keepalives, 'keepalive')} so far"
    came = scene.socket.received_ago_s if scene.socket is not None else None
    return f", whose last byte came {_ago(came)}" if came is not None else ""


def _clock(scene: Scene) -> tuple[float, float, str] | None:
    """What is gone of which limit, the one that ends first: seconds gone, seconds in all, its name."""
    socket, patience = scene.socket, scene.patience
    if socket is None or patience is None or socket.sent_ago_s is None or socket.received_ago_s is None:
        return None
    before_headers = not _heard(socket)
    gone = socket.sent_ago_s if before_headers else socket.received_ago_s
    running = [one for one in patience.clocks if (one.clock == "headers") == before_headers]
    if not running:
        return None
    first = min(running, key=lambda one: one.seconds)
    return gone, first.seconds, first.name


def _unclear(scene: Scene) -> Verdict:
    path, tail = _path(scene), scene.tail
    pro, lacks = [], []
    settle = "holdfast doctor --now --watch 10"
    if tail is None and scene.sessions > 1:
        lacks.append(
            f"{scene.sessions} sessions of this folder were written to since it began, and which is this client's is not "
            "known, nor what it waits for"
        )
    elif tail is None:
        lacks.append("no transcript of this client was found, so what it waits for is not known")
    elif tail.at == NOTHING:
        lacks.append("its transcript's end says nothing about a turn")
    elif _since(scene) is not None:
        pro.append(f"the last record, {_ago(_since(scene))}, awaits an answer")
    if not scene.sockets_seen:
        lacks.append("its connections could not be looked at")
    elif path is None:
        lacks.append("it has no connection to an API or a gateway")
    elif not scene.times_seen:
        lacks.append("ss is missing, so when something last came and went is not known")
        settle = "install iproute2 (ss), then: holdfast doctor --now"
    elif path.acked_ago_s is not None:
        pro.append(_acknowledged(path))
        if path.unacked_bytes:
            lacks.append(
                f"{size(path.unacked_bytes)} are not acknowledged yet, but were hardly sent again: too early to tell"
            )
        elif _fresh(path, LATE_S):
            pass  # the path was alive lately; what is missing is whether anything is asked on it, and was said above
        elif path.timer != "keepalive":
            lacks.append(
                "nothing has asked the path since, because the connection has no keepalive: a thinking API and a dead "
                "path look the same"
            )
            settle = (
                "behind holdfast run both ends of a connection are probed, so that a dead path shows within 90 s; here "
                "only Esc and asking again tells"
            )
        else:
            lacks.append(
                "the last acknowledgement is old, and the next keepalive probe has not been sent yet"
            )
    gone = _clock(scene)
    do = "Wait, or press Esc and ask again: what is there does not tell which is better."
    if gone is not None:
        left = max(0.0, gone[1] - gone[0])
        do = f"The client hangs up by itself in {duration(left)} ({gone[2]}); Esc and asking again is the other way."
    return Verdict(
        UNCLEAR,
        "",
        "What can be seen does not tell.",
        do,
        tuple(pro),
        tuple(lacks),
        settle,
        *(gone if gone is not None else (None, None, "")),
    )


# ----- small words


def _path(scene: Scene) -> LiveSocket | None:
    """The connection that matters: behind a gateway of ours, the gateway's own to the provider."""
    return scene.upstream if scene.gateway and scene.upstream is not None else scene.socket


def _fresh(socket: LiveSocket, within_s: float = FRESH_S) -> bool:
    return socket.state == "ESTAB" and socket.acked_ago_s is not None and socket.acked_ago_s <= within_s


def _heard(socket: LiveSocket) -> bool:
    """Whether anything came since the request went out: at least the headers.

    On this machine an answer can come within the same tick of the kernel's clock; over a wire it takes longer, and what
    came in the tick of the request was the end of the handshake.
    """
    came, sent = socket.received_ago_s, socket.sent_ago_s
    if came is None or sent is None:
        return False
    return came < sent or (came == sent and socket.loopback and bool(socket.received_bytes))


def _flows(socket: LiveSocket) -> bool:
    """Whether something of an answer has just come, some time after it was asked for."""
    came, sent = socket.received_ago_s, socket.sent_ago_s
    return came is not None and sent is not None and came < min(sent, SAME_S) and _heard(socket)


def _came(socket: LiveSocket) -> str:
    if not _heard(socket):
        return "nothing has come since"
    return f"the last byte came {_ago(socket.received_ago_s)}"


def _acknowledged(socket: LiveSocket) -> str:
    return f"{socket.there} last acknowledged something {_ago(socket.acked_ago_s)}"


def _since(scene: Scene) -> float | None:
    if scene.tail is None or scene.tail.last_ms is None:
        return None
    return max(0.0, (scene.now_ms - scene.tail.last_ms) / 1000)


def _ago(seconds: float | None) -> str:
    return "at a time that is not known" if seconds is None else f"{duration(seconds)} ago"


def asking(sockets: Sequence[LiveSocket], since_s: float | None) -> LiveSocket | None:
    """Of a client's connections to one place, the one that its question went out on, most likely.

    First those on which bytes are in flight, then the one whose last sending is nearest to the last record, which was
    `since_s` ago. A connection that only rests in a pool sent its last bytes earlier.
    """
    open_ones = [one for one in sockets if one.state in ("ESTAB", "CLOSE-WAIT", "SYN-SENT")]
    if not open_ones:
        return None

    def rank(one: LiveSocket) -> tuple[bool, float, int]:
        sent = one.sent_ago_s
        off = abs(sent - since_s) if sent is not None and since_s is not None else sent or 0.0
        return (not (one.unacked_bytes or one.state == "SYN-SENT"), off, -(one.sent_bytes or 0))

    return min(open_ones, key=rank)
