"""A freeze that is happening: every row of what is decided, and from what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.diagnosis.now import Clock, KeptNow, OpenTurn, Patience, Scene, asking, judge
from holdfast.flight.flights import duration
from holdfast.sessions.live_sockets import LiveSocket
from holdfast.sessions.tail import ANSWERED, ASKED, CALLED, FAILED, NOTHING, OVER, RETRYING, Tail

NOW_MS = 1_000_000_000


def tail(at: str, ago_s: float = 200.0, *tools: str, wait_s: float | None = None) -> Tail:
    return Tail(at, NOW_MS - round(ago_s * 1000), tools, wait_s, (3, 10) if wait_s else None)


def conn(**known: object) -> LiveSocket:
    """A connection that asked 200 s ago and heard nothing, kept alive by probes that are answered."""
    usual = LiveSocket(
        "ESTAB", "10.0.0.5", 50000, "192.0.2.1", 443, 7, 0, 0, 200.0, 200.0, 8.0, 0, 0, 0, 0, "keepalive", 0, 90_000, 5000
    )  # fmt: skip
    return replace(usual, **known)  # type: ignore[arg-type]


NO_KEEPALIVE = conn(acked_ago_s=200.0, timer="", probes=None)
VANISHING = conn(
    unacked_bytes=4096, unacked=3, retransmits=6, backoff=6, timer="on", probes=None, acked_ago_s=61.0
)
LIMITS = Patience(
    "claude-code 2.1.329", (Clock("headers", "headers", 360), Clock("bytes", "bytes", 300)), True, False
)
ENDLESS = replace(
    LIMITS, clocks=(Clock("request", "headers", 600),), hangs="waits for ever on a silent open connection"
)
TURN = OpenTurn("0h123", "in a tool call", 200.0, 190.0, 19)


def scene(at: Tail | None, socket: LiveSocket | None = None, **known: object) -> Scene:
    usual = Scene(
        NOW_MS, at, socket=socket, sockets_seen=True, patience=LIMITS, network=True, helpers_running=0
    )
    return replace(usual, **known)  # type: ignore[arg-type]


ROWS: dict[str, tuple[Scene, str, str, str]] = {
    # name: scene, verdict, grade, words of it
    "alive and silent before headers": (
        scene(tail(ASKED), conn()),
        "wait",
        "strong",
        "200 s of 360 s of the client's own limit (headers) are gone; it will hang up in 160 s",
    ),
    "alive and silent in the stream": (
        scene(tail(ANSWERED), conn(received_ago_s=120.0)),
        "wait",
        "strong",
        "120 s of 300 s of the client's own limit (bytes)",
    ),
    "a version without a limit there": (
        scene(tail(ASKED), conn(received_ago_s=120.0), patience=ENDLESS),
        "wait",
        "strong",
        "waits for ever",
    ),
    "the answer is being sent": (
        scene(tail(ASKED), conn(received_ago_s=0.4, acked_ago_s=0.4)),
        "wait",
        "strong",
        "The answer is under way",
    ),
    "a version that nobody measured": (
        scene(tail(ASKED), conn(), patience=replace(LIMITS, measured=False)),
        "wait",
        "suspected",
        "were not measured",
    ),
    "straight at the vendor": (
        scene(tail(ASKED), conn(), patience=replace(LIMITS, direct=True)),
        "wait",
        "suspected",
        "measured behind a base URL",
    ),
    "through somebody's proxy": (
        scene(tail(ASKED), conn(), relay=True),
        "wait",
        "suspected",
        "is a proxy or gateway",
    ),
    "bytes that the client does not read": (
        scene(tail(ASKED), conn(unread_bytes=70_000)),
        "wait",
        "suspected",
        "it may hang itself",
    ),
    "between two tries": (
        scene(tail(RETRYING, 2.0, wait_s=8.0), conn()),
        "wait",
        "strong",
        "the next begins in 6.00 s",
    ),
    "a try that has begun": (scene(tail(RETRYING, 60.0, wait_s=8.0), conn()), "wait", "strong", "hang up in"),
    "sent again and again": (
        scene(tail(ASKED), VANISHING),
        "retry",
        "strong",
        "4.1 kB are not acknowledged, and were sent again 6 times in vain",
    ),
    "probes without an answer": (
        scene(tail(ASKED), conn(probes=4, acked_ago_s=90.0)),
        "retry",
        "strong",
        "4 keepalive probes in a row got no answer",
    ),
    "two probes are not many": (
        scene(tail(ASKED), conn(probes=2, acked_ago_s=70.0)),
        "retry",
        "suspected",
        "2 keepalive probes",
    ),
    "sent again, but acknowledged just now": (
        scene(tail(ASKED), replace(VANISHING, acked_ago_s=1.0)),
        "retry",
        "suspected",
        "last acknowledged something 1.00 s ago",
    ),
    "an address that is gone": (
        scene(tail(ASKED), NO_KEEPALIVE, local_address_gone=True),
        "retry",
        "strong",
        "no address of this machine any more",
    ),
    "a connection that is not made": (
        scene(tail(ASKED), conn(state="SYN-SENT", retransmits=4, timer="on", probes=None, acked_ago_s=None)),
        "retry",
        "strong",
        "is not made",
    ),
    "closed by the other end": (
        scene(tail(ASKED), conn(state="CLOSE-WAIT")),
        "retry",
        "strong",
        "has closed the connection",
    ),
    "no connection at all": (
        scene(tail(ASKED)),
        "retry",
        "suspected",
        "no connection on which it could come",
    ),
    "it gave up": (scene(tail(FAILED)), "retry", "strong", "has given up this turn"),
    "a tool runs": (
        scene(tail(CALLED, 30, "Bash"), conn(), helpers_running=2),
        "local",
        "strong",
        "A tool runs on this machine: Bash",
    ),
    "a question is open": (scene(tail(CALLED, 30, "Bash")), "local", "strong", "waits for your permission"),
    "children not known": (
        scene(tail(CALLED, 30, "Bash"), helpers_running=None),
        "local",
        "strong",
        "or for your permission",
    ),
    "a call, and bytes after it": (
        scene(tail(CALLED, 30, "Bash"), conn(received_ago_s=3.0)),
        "local",
        "suspected",
        "bytes came on its connection",
    ),
    "a call, and the turn goes on": (
        scene(tail(CALLED, 30, "Bash"), conn(), gateway=True, turn=TURN, upstream=conn(peer="192.0.2.9")),
        "wait",
        "suspected",
        "Bash was called and has no result",
    ),
    "the turn is over": (
        scene(tail(OVER), conn(sent_ago_s=210.0, received_ago_s=201.0)),
        "local",
        "strong",
        "the turn is over",
    ),
    "no way out": (scene(tail(ASKED), NO_KEEPALIVE, network=False), "away", "strong", "no route to the API"),
    "no way out, but acknowledged": (
        scene(tail(ASKED), conn(), network=False),
        "away",
        "suspected",
        "last acknowledged",
    ),
    "no way out, and a tool runs": (
        scene(tail(CALLED, 30, "Bash"), network=False),
        "local",
        "strong",
        "permission",
    ),
    "the gateway waits for the network": (
        scene(tail(ASKED), conn(), gateway=True, turn=replace(TURN, away="its name is not resolved")),
        "away",
        "strong",
        "its name is not resolved",
    ),
    "behind our gateway, silent": (
        scene(tail(ASKED), conn(acked_ago_s=0.1), gateway=True, turn=TURN, upstream=conn(peer="192.0.2.9")),
        "wait",
        "strong",
        "The gateway holds the client, with 19 keepalives so far",
    ),
    "behind our gateway, counts not written yet": (
        scene(
            tail(ASKED),
            conn(acked_ago_s=0.1, received_ago_s=2.0),
            gateway=True,
            turn=replace(TURN, keepalives=0),
            upstream=conn(peer="192.0.2.9"),
        ),
        "wait",
        "strong",
        "whose last byte came 2.00 s ago",
    ),
    "behind our gateway, its path is dead": (
        scene(tail(ASKED), conn(acked_ago_s=0.1), gateway=True, turn=TURN, upstream=VANISHING),
        "wait",
        "strong",
        "The path from the gateway to the API is dead",
    ),
    "behind our gateway, its connection unseen": (
        scene(tail(ASKED), conn(acked_ago_s=0.1), gateway=True, turn=TURN),
        "wait",
        "suspected",
        "whether the path behind the gateway is alive is not known",
    ),
    "alive some seconds ago": (
        scene(tail(ASKED), conn()),
        "wait",
        "strong",
        "The path was alive 8.00 s ago, and the API says nothing",
    ),
    "alive now": (scene(tail(ASKED), conn(acked_ago_s=0.9)), "wait", "strong", "The path is alive"),
    "alive half a minute ago": (
        scene(tail(ASKED), conn(acked_ago_s=24.0)),
        "wait",
        "suspected",
        "the path was alive 24.0 s ago, and is not known to be since",
    ),
    "behind our gateway, alive half a minute ago": (
        scene(tail(ASKED), conn(acked_ago_s=0.1), gateway=True, turn=TURN, upstream=conn(acked_ago_s=37.2)),
        "wait",
        "suspected",
        "the path was alive 37.2 s ago, and is not known to be since",
    ),
    "behind our gateway, a silence that the flight has not noticed": (
        scene(
            tail(ASKED),
            conn(acked_ago_s=0.1),
            gateway=True,
            turn=replace(TURN, silent_s=None),
            upstream=conn(received_ago_s=9.0, acked_ago_s=9.0),
        ),
        "wait",
        "strong",
        "upstream has been silent for 9.00 s",
    ),
    "behind our gateway, the flight noticed late": (
        scene(
            tail(ASKED),
            conn(acked_ago_s=0.1),
            gateway=True,
            turn=replace(TURN, silent_s=8.5),
            upstream=conn(received_ago_s=18.5),
        ),
        "wait",
        "strong",
        "upstream has been silent for 18.5 s",
    ),
    "behind our gateway, whose own end is told": (
        scene(
            tail(ASKED),
            conn(acked_ago_s=0.1),
            gateway=True,
            turn=replace(TURN, quiet_limit_s=2700.0),
            upstream=conn(peer="192.0.2.9"),
        ),
        "wait",
        "strong",
        f"The gateway itself ends a silence of {duration(2700)}",
    ),
    "a session that is over, of several": (
        scene(tail(OVER), conn(sent_ago_s=210.0, received_ago_s=201.0), sessions=2),
        "local",
        "suspected",
        "2 sessions of this folder may be its",
    ),
    "a session of several, and nobody knows which": (
        scene(None, conn(), sessions=2),
        "unclear",
        "",
        "2 sessions of this folder were written to since it began",
    ),
    "the answer is kept": (
        scene(tail(ASKED), kept=KeptNow("0h9", True, 30.0)),
        "kept",
        "strong",
        "holdfast attic show 0h9",
    ),
    "the answer is kept, and the client asks again": (
        scene(tail(ASKED), conn(), kept=KeptNow("0h9", True, 30.0)),
        "kept",
        "suspected",
        "the retry is given it",
    ),
    "the answer was kept long ago": (
        scene(tail(FAILED), kept=KeptNow("0h9", True, 301.0)),
        "kept",
        "strong",
        "Read it: holdfast attic show 0h9",
    ),
    "half an answer is none": (
        scene(tail(ASKED), conn(), kept=KeptNow("0h9", False, 30.0)),
        "wait",
        "strong",
        "hang up in",
    ),
    "kept, and the conversation went on": (
        scene(tail(OVER), kept=KeptNow("0h9", True, 30.0)),
        "local",
        "strong",
        "the turn is over",
    ),
    "nobody asked the path": (
        scene(tail(ASKED), NO_KEEPALIVE),
        "unclear",
        "",
        "a thinking API and a dead path look the same",
    ),
    "in flight, sent again once": (
        scene(tail(ASKED), replace(VANISHING, retransmits=1, backoff=1)),
        "unclear",
        "",
        "too early to tell",
    ),
    "a probe is not due yet": (
        scene(tail(ASKED), conn(acked_ago_s=70.0)),
        "unclear",
        "",
        "next keepalive probe has not been sent",
    ),
    "without ss": (
        scene(tail(ASKED), conn(sent_ago_s=None, received_ago_s=None, acked_ago_s=None), times_seen=False),
        "unclear",
        "",
        "ss is missing",
    ),
    "without a transcript": (scene(None, conn()), "unclear", "", "no transcript of this client"),
    "a transcript that says nothing": (
        scene(tail(NOTHING), conn()),
        "unclear",
        "",
        "says nothing about a turn",
    ),
    "connections that cannot be seen": (
        scene(tail(ASKED), sockets_seen=False),
        "unclear",
        "",
        "could not be looked at",
    ),
}


@pytest.mark.parametrize("upstream", [conn(peer="192.0.2.9"), VANISHING, None])
@pytest.mark.parametrize("away", ["", "its name is not resolved"])
def test_no_patience_is_promised_for_a_client_that_nobody_measured(
    upstream: LiveSocket | None, away: str
) -> None:
    """Its limit is not known, and its going is a cancel: whoever reads "wait" learns what that may cost."""
    turn = replace(TURN, measured=False, cancel_s=2.0, away=away)
    held = scene(tail(ASKED), conn(acked_ago_s=0.1), gateway=True, turn=turn, upstream=upstream)
    told = judge(held).do

    assert "will not hang up" not in told and "kept if it does" not in told and "kept meanwhile" not in told
    assert "taken for a cancel" in told and "2.00 s later" in told and "its answer is not kept" in told
    if upstream is not VANISHING and not away:
        assert "how long this client does so by itself is not known" in told
    measured = judge(replace(held, turn=replace(turn, measured=True))).do
    assert "is kept" in measured and "cancel" not in measured


@pytest.mark.parametrize("name", ROWS)
def test_every_row(name: str) -> None:
    """Verdict, grade, and the words that carry it; whoever is told something is told what to do."""
    seen, verdict, grade, words = ROWS[name]
    told = judge(seen)
    said = " | ".join([told.says, told.do, *told.pro, *told.con, told.settle])

    assert (told.verdict, told.grade) == (verdict, grade), said
    assert words in said
    assert told.do and told.says.endswith(".")
    assert told.grade == "strong" or told.settle or told.con, "who is not sure says why"
    assert not (told.grade == "strong" and told.con)


def test_every_verdict_has_a_row() -> None:
    """Nothing is decided that is not tested."""
    assert {verdict for _, verdict, _, _ in ROWS.values()} == {
        "wait",
        "retry",
        "kept",
        "local",
        "away",
        "unclear",
    }


def test_the_limit_is_told_in_figures() -> None:
    """For a program: how much is gone, of how much, of which limit, and what is left."""
    told = judge(scene(tail(ASKED), conn()))

    assert (told.gone_s, told.limit_s, told.limit, told.left_s) == (200.0, 360.0, "headers", 160.0)
    assert judge(scene(tail(OVER))).left_s is None


def test_a_limit_that_has_passed_leaves_nothing() -> None:
    """Never less than zero."""
    assert judge(scene(tail(ASKED), conn(sent_ago_s=999.0, received_ago_s=999.0))).left_s == 0.0


def test_the_connection_that_asked_is_chosen() -> None:
    """Not one that rests in a pool, nor one that has been closed; bytes in flight come first."""
    resting, asked = conn(sent_ago_s=900.0), conn(sent_ago_s=201.0)
    closed = conn(state="TIME-WAIT", sent_ago_s=200.0)

    assert asking([resting, asked, closed], 200.0) is asked
    assert asking([asked, VANISHING], 200.0) is VANISHING
    assert asking([closed], 200.0) is None


@pytest.mark.parametrize("timer", ["keepalive", ""])
def test_a_path_that_was_just_alive_is_not_called_old(timer: str) -> None:
    """Without a transcript it is not known whether anything is asked; that is what lacks, and nothing of the path."""
    told = judge(scene(None, conn(acked_ago_s=0.91, timer=timer)))

    assert told.verdict == "unclear" and told.pro == ("192.0.2.1:443 last acknowledged something 0.91 s ago",)
    assert told.con == ("no transcript of this client was found, so what it waits for is not known",)
