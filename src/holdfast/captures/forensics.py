"""Who made a reset: the peer whose name it bears, or something between. Values in, values out.

A RST is believed by its addresses alone, so anything on the path can make one. But whoever does not hold the
connection gives itself away: it is nearer (TTL), too quick (faster than the least round trip), does not know the
sender's IP ids, timestamps and next sequence number, and cannot keep the true sender from speaking on. This follows
Weaver, Sommer and Paxson, "Detecting Forged TCP Reset Packets" (NDSS 2009), and what Linux does:

- an abort by a process is a segment of its socket: RST+ACK, the next sequence number, its timestamps and IP ids;
- a kernel without such a socket answers: no ACK, the sequence number that was asked for, no window, no timestamp;
- so does a firewall's `reject with tcp reset`, and many a NAT that has forgotten a connection.

Each sign speaks for or against the five answers with a weight. No sign alone decides but where a true stack could not
have done it. Weights are judgements, and tested against what kernels do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from holdfast.captures.closing import end_of, quiet_before, role, span, trigger_of, triggers_of
from holdfast.captures.layers import endpoints
from holdfast.captures.sides import HALF, MASK, Connection, Recent, Reset, Side
from holdfast.flight.flights import counted

FAR_NS = 2_000_000
"A round trip below this is too short to be compared with: capture and sender are on one machine or cable."

IDLE_NS = 10_000_000_000
"Boxes forget connections after some time; none was met that forgets sooner than this."

REORDERED_NS = 5_000_000
"What follows a reset within this may have been overtaken by it."


class Grade(Enum):
    """Who made it."""

    PEER = "peer"
    "The machine whose address it bears."
    LOST_STATE = "middlebox"
    "A box on the path that has forgotten the connection, or refuses it: NAT, firewall, load balancer."
    INJECTED = "injected"
    "Something beside the path that made it up while both ends still talked."
    FIREWALL = "local firewall"
    "A firewall on the machine whose address it bears, or on the one that captured."
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who made a reset, with the reasons on both sides."""

    grade: Grade
    certain: bool
    "Whether a true stack of the other kind could not have done what was seen; else it is suspected."
    for_it: tuple[str, ...]
    against: tuple[str, ...]
    settle: str
    "What would settle it."


@dataclass(frozen=True, slots=True)
class _Sign:
    """One observation, and how much it speaks for (or against) each answer."""

    text: str
    peer: int = 0
    lost: int = 0
    injected: int = 0
    firewall: int = 0

    def weight(self, grade: Grade) -> int:
        return {
            Grade.PEER: self.peer,
            Grade.LOST_STATE: self.lost,
            Grade.INJECTED: self.injected,
            Grade.FIREWALL: self.firewall,
        }.get(grade, 0)


CERTAIN = 4
"The weight of what the other answers cannot explain."

LEAST = 2
"Less than this altogether, or no more than the next answer has, is `cannot tell`."


def judge(connection: Connection, reset: Reset) -> Verdict:
    """Who made `reset`, one of the connection's."""
    trigger = trigger_of(reset)
    signs = [
        *_distance(reset, trigger),
        *_socket(reset, trigger),
        *_ids(reset),
        *_timing(reset, trigger),
        *_sequence(reset, trigger),
        *_afterwards(reset, trigger),
        *_company(connection, reset),
    ]
    totals = {
        grade: sum(sign.weight(grade) for sign in signs) for grade in Grade if grade is not Grade.UNKNOWN
    }
    ranked = sorted(totals, key=lambda grade: -totals[grade])
    best, second = ranked[0], ranked[1]
    if totals[best] < LEAST or totals[best] <= totals[second]:
        return Verdict(
            Grade.UNKNOWN,
            False,
            tuple(sign.text for sign in signs if sign.peer > 0),
            tuple(sign.text for sign in signs if sign.peer <= 0),
            f"the same connection captured on the {role(reset.side)}'s own machine: did this reset leave it?",
        )
    certain = totals[best] - totals[second] >= CERTAIN
    return Verdict(
        best,
        certain,
        tuple(sign.text for sign in signs if sign.weight(best) > 0),
        tuple(
            sign.text
            for sign in signs
            if sign.weight(best) < 0 or (not sign.weight(best) and _other(sign, best))
        ),
        _settle(best, reset, trigger),
    )


def _other(sign: _Sign, best: Grade) -> bool:
    """Whether a sign speaks for another answer only."""
    return any(sign.weight(grade) > 0 for grade in Grade if grade is not best)


def initial_hops(hops: int) -> int:
    """With which TTL a packet probably set out: 64 (Linux, macOS), 128 (Windows) or 255 (routers, some servers)."""
    return 64 if hops <= 64 else 128 if hops <= 128 else 255


def hops_away(hops: int) -> int:
    """How many routers it probably passed."""
    return initial_hops(hops) - hops


def _loopback(side: Side) -> bool:
    """Whether the connection never left one machine."""
    address, _, peer, _ = endpoints(side.key)
    return address == peer or address.startswith("127.") or address == "::1"


# ----- signs


def _distance(reset: Reset, trigger: Recent | None) -> list[_Sign]:
    side, who = reset.side, role(reset.side)
    if side.hops < 0:
        if _loopback(side):
            return [_Sign("both ends are on one machine, and nothing is between them", peer=2)]
        if reset.hops == initial_hops(reset.hops) and side.other.hops == reset.hops:
            return [
                _Sign(
                    f"its TTL is {reset.hops}: it passed no router, as the {role(side.other)}'s packets did not",
                    peer=1,
                    firewall=1,
                )
            ]
        return [_Sign(f"no other packet of the {who} was captured to compare its TTL ({reset.hops}) with")]
    usual = {side.hops, *side.hops_seen}
    packets = side.packets - sum(one.side is side for one in side.connection.resets)
    if reset.hops in usual:
        near = hops_away(reset.hops) == 0 and hops_away(side.other.hops if side.other.hops >= 0 else 64) == 0
        if _loopback(side):
            return [_Sign("both ends are on one machine, and nothing is between them", peer=2, firewall=1)]
        if near:
            return [
                _Sign(
                    f"its TTL is {reset.hops} as that of the {who}'s other packets, but it passed no router either way",
                    peer=1,
                )
            ]
        return [
            _Sign(
                f"its TTL is {reset.hops}, as that of the {who}'s {counted(packets, 'other packet')}",
                peer=2,
                lost=-2,
                injected=-2,
                firewall=1,
            )
        ]
    here = reset.hops == initial_hops(reset.hops) and hops_away(side.hops) > 0
    text = f"its TTL is {reset.hops}, that of the {who}'s {counted(packets, 'other packet')} {_list(usual)}"
    if here and _elsewhere(reset):
        text += f" and came over another interface than the {who}'s packets: it was made on the machine that captured it"
        return [_Sign(text, peer=-4, firewall=4, lost=-3, injected=-3)]
    if here:
        text += ": it passed no router, so it was made by the first one, or by the machine that captured it"
        return [_Sign(text, peer=-4, lost=2, injected=1, firewall=1)]
    if initial_hops(reset.hops) == initial_hops(side.hops):
        text += f": it came from {hops_away(reset.hops)} hops away, the {who} is {hops_away(side.hops)} away"
    return [_Sign(text, peer=-3, lost=2, injected=2, firewall=-1)]


def _elsewhere(reset: Reset) -> bool:
    """Whether it was captured on another interface than its side's other packets; the direction is none."""
    views = {one[8] & ~3 for one in reset.own}
    return bool(views) and reset.view & ~3 not in views


def _list(numbers: set[int]) -> str:
    return " or ".join(str(number) for number in sorted(numbers)[:4])


def _answers_like_a_kernel(reset: Reset, trigger: Recent | None) -> bool:
    """Whether it looks like the answer of whoever has no such socket."""
    return reset.ack is None and trigger is not None and not reset.window and not reset.timestamp


def _socket(reset: Reset, trigger: Recent | None) -> list[_Sign]:
    side, who, peer = reset.side, role(reset.side), role(reset.side.other)
    said: list[_Sign] = []
    if reset.ack is not None:
        if side.timestamps and reset.timestamp:
            said.append(
                _Sign(
                    "it carries the connection's timestamps: a socket that was still open made it",
                    peer=2,
                    lost=-2,
                    firewall=-2,
                )
            )
        elif side.timestamps and reset.own:
            said.append(
                _Sign(
                    f"it lacks the timestamp option that the {who}'s packets have",
                    peer=-1,
                    lost=1,
                    injected=1,
                )
            )
        elif side.timestamps is False and reset.window:
            said.append(
                _Sign(
                    f"it acknowledges, and has a window ({reset.window}): as a socket's own abort has",
                    peer=1,
                    firewall=-1,
                )
            )
    elif _answers_like_a_kernel(reset, trigger):
        text = f"it answers the {peer}'s packet as a kernel does that has no such socket: exact, no ACK, no window"
        said.append(_Sign(text, peer=1, lost=1, firewall=1))
    elif reset.timestamp and side.timestamps:
        said.append(_Sign("it carries the connection's timestamps", peer=1))
    return said


def _ids(reset: Reset) -> list[_Sign]:
    """IP ids: a socket counts its own; answers without a socket have 0 under Linux."""
    ids = [one[6] for one in reset.own if one[6] > 0 and not one[3] & 6]
    if reset.ip_id < 0 or len(ids) < 3:
        return []
    steps = [b - a & 0xFFFF for a, b in pairwise(ids)]
    counting = sum(0 < step < 64 for step in steps) >= len(steps) * 3 // 4
    if not counting:
        return []
    step = reset.ip_id - ids[-1] & 0xFFFF
    if 0 < step < 256:
        return [
            _Sign(
                f"its IP id {reset.ip_id} continues the {role(reset.side)}'s count ({ids[-1]} before)",
                peer=2,
                lost=-1,
                injected=-1,
                firewall=-1,
            )
        ]
    if reset.ip_id == 0 and reset.ack is None:
        return []
    return [
        _Sign(
            f"its IP id {reset.ip_id} does not continue the {role(reset.side)}'s count ({ids[-1]} before)",
            peer=-1,
            lost=1,
            injected=1,
        )
    ]


def _timing(reset: Reset, trigger: Recent | None) -> list[_Sign]:
    side = reset.side
    rtt = side.rtt_ns
    if trigger is None or rtt is None or side.rtts < 1:
        return []
    late = reset.at_ns - triggers_of(reset)[0][0]  # of several, the one that leaves most time
    told = (
        f"it came {span(late)} after the packet that it answers; the {role(side)} needs {span(rtt)} at least"
    )
    if rtt < FAR_NS:
        return []
    if late < rtt * 0.5:
        return [
            _Sign(
                f"{told}: whoever made it is nearer",
                peer=-4,
                lost=2,
                injected=2,
                firewall=1 if late < FAR_NS else -1,
            )
        ]
    if late >= rtt * 0.9:
        return [_Sign(told, peer=1, lost=-1, injected=-1)]
    return [_Sign(told)]


def _sequence(reset: Reset, trigger: Recent | None) -> list[_Sign]:
    if reset.side.next < 0 or not reset.own:
        return []
    if not reset.others and reset.ack is None:
        return []  # it answers what was not captured
    if reset.offset == 0 or (trigger is not None and reset.ack is None):
        return []
    way = "behind" if reset.offset < 0 else "ahead of"
    text = f"its sequence number is {abs(reset.offset)} {way} what came next"
    if reset.side.missing or (reset.offset > 0 and reset.side.waiting):
        return [_Sign(f"{text}; the capture lacks packets, so that may be right")]
    return [_Sign(f"{text}: a socket knows it exactly", peer=-2, injected=3, firewall=-1, lost=-1)]


def _afterwards(reset: Reset, trigger: Recent | None) -> list[_Sign]:
    """A side that has reset says nothing more but further resets."""
    if not reset.packets_after or reset.first_after_ns is None:
        return []
    side, who = reset.side, role(reset.side)
    later = reset.first_after_ns - reset.at_ns
    text = f"{counted(reset.packets_after, 'packet')} of the {who} followed, the first {span(later)} after it"
    reordering = later < REORDERED_NS and not reset.data_after
    if reordering:
        return [_Sign(f"{text}; it may have been overtaken", peer=-1, injected=1)]
    if trigger is not None and (trigger[5] or trigger[3] & 1) and reset.last_ack_after >= 0:
        arrived = (reset.last_ack_after - end_of(trigger)) & MASK < HALF
        if arrived:
            text += ": it still lived, and had received the very packet that was reset"
            return [_Sign(text, peer=-4, injected=4, lost=-2, firewall=-2)]
        same_place = reset.hops in {side.hops, *side.hops_seen}
        text += ": it still lived, and had not received what was reset"
        return [_Sign(text, peer=-4, injected=0, lost=2, firewall=3 if same_place else 1)]
    if not reset.others:
        return [_Sign(f"{text}: it still lived", peer=-4, injected=2, lost=2, firewall=1)]
    if _answers_like_a_kernel(reset, trigger) and reset.hops in {side.hops, *side.hops_seen}:
        return [_Sign(f"{text}: its socket still lived", peer=-4, firewall=3, injected=2, lost=1)]
    return [_Sign(f"{text}: it still lived, and knew of no reset", peer=-4, injected=3, lost=1, firewall=1)]


def _company(connection: Connection, reset: Reset) -> list[_Sign]:
    """Other resets: guesses, and such in the other side's name."""
    said: list[_Sign] = []
    asked = {one[2] for one in (*reset.others, *reset.side.other.recent) if one[3] & 16}
    own = [one for one in connection.resets if one.side is reset.side]
    guesses = {one.seq for one in own if one.offset and one.seq not in asked}
    if len({one.seq for one in own}) > 1 and guesses and not reset.side.missing:
        numbers = len({one.seq for one in own})
        said.append(
            _Sign(
                f"{len(own)} resets with {numbers} sequence numbers that nobody asked for: as if the next were guessed",
                peer=-3,
                injected=3,
                lost=-1,
                firewall=-2,
            )
        )
    for one in connection.resets:
        if one.side is reset.side or reset.own_fin or reset.other_fin:
            continue
        apart = abs(one.at_ns - reset.at_ns)
        rtt = (connection.client.rtt_ns or 0) + (connection.server.rtt_ns or 0)
        if apart < max(rtt // 2, 1_000_000) and one.ack is not None and reset.ack is not None:
            said.append(
                _Sign(
                    f"a reset in the {role(one.side)}'s name came {span(apart)} apart: neither can know of the other's",
                    peer=-2,
                    injected=3,
                )
            )
            break
    idle = _idle_before(reset)
    if idle is not None and idle >= IDLE_NS and not reset.own_fin:
        said.append(
            _Sign(
                f"it answers the first packet after {span(idle)} of silence: the connection was forgotten meanwhile",
                lost=1,
                injected=-2,
            )
        )
    return said


def _idle_before(reset: Reset) -> int | None:
    trigger = trigger_of(reset)
    return quiet_before(reset, trigger) if trigger is not None else None


def _settle(grade: Grade, reset: Reset, trigger: Recent | None) -> str:
    who, peer = role(reset.side), role(reset.side.other)
    idle = _idle_before(reset)
    if grade is Grade.PEER:
        if idle is not None and idle >= IDLE_NS:
            return f"the {who}'s own timeouts and restarts at that time; a keepalive below {span(idle)} if it expires there"
        return f"the {who}'s log at that time, or a capture on its machine"
    if grade is Grade.LOST_STATE:
        if idle is not None and idle >= IDLE_NS:
            return f"a TCP keepalive well below {span(idle)}: if the resets stop, a box on the path forgets sooner than that"
        return f"a capture on the {who}'s machine: the packet that was reset did not arrive there, and this reset never left"
    if grade is Grade.INJECTED:
        return (
            f"a capture on the {who}'s machine at the same time: "
            f"it did not send this reset, and may have got one as if from the {peer}"
        )
    return "the rules and their counters on that machine: nft list ruleset, iptables-save -c, pfctl -sr"
