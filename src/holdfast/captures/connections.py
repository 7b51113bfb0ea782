"""TCP connections, followed through a capture: packets in, finished `Connection`s out.

    with open_capture(path) as capture:
        for connection in follow(capture, port=443): ...

What travels inside is handed on in order, per direction, to whoever asks for it:

    def listen(connection: Connection) -> Stream | None: ...     # asked once, at the connection's first payload
    follow(capture, listen=listen)

and `Stream` has three methods, `data`, `gap` and `closed`. A gap is what the capture does not hold.

The loop in `follow` is the fast path: the next segment in order, of a connection in its prime. It costs a dictionary
lookup and a few comparisons. All else (first packets, holes, old data, zero windows, ends) goes through `_Follower.slowly`.
Sequence numbers are compared modulo 2^32, so they may wrap around.

Memory is bounded: a connection that is over is given out after `Limits.linger_s` of the capture's time, the open
ones are at most `Limits.open`, and what waits for a hole to fill is limited in bytes per direction and altogether.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from holdfast.captures.files import Packet
from holdfast.captures.layers import (
    ACK,
    FIN,
    RST,
    SYN,
    Options,
    Seen,
    Segment,
    has_timestamp,
    options_of,
    segments,
    turned,
)
from holdfast.captures.sides import (
    HALF as _HALF,
)
from holdfast.captures.sides import (
    MASK as _MASK,
)
from holdfast.captures.sides import (
    RESETS_KEPT,
    Connection,
    Direction,
    Finish,
    KnownBy,
    Listen,
    Recent,
    Reset,
    Side,
    Stream,
    Waiting,
)

__all__ = [
    "Connection",
    "Direction",
    "Finish",
    "KnownBy",
    "Limits",
    "Listen",
    "Reset",
    "Side",
    "Stream",
    "follow",
]

TWICE_NS = 1_000_000_000
"The same IP id, numbers and flags within this are one packet captured twice: a sender needs longer for 65,536 packets."

AT_ONCE_NS = 500_000
"The same packet without an IP id, captured twice on the same interface, is no further apart."

ELSEWHERE_NS = 50_000_000
"Old data on another interface within this is the same data on its way through this machine."

REORDER_NS = 3_000_000
"A hole that fills so soon was reordering and no retransmission, where IP ids do not say. Wireshark's value."

ACKED_HOLE_NS = 50_000_000
"A hole whose bytes the receiver has acknowledged is the capture's own; so long it may be two CPUs' disorder."

DISORDER_NS = 100_000_000
"How late a packet may be in the file: buffers of several CPUs are written out after some ten milliseconds."

SET_BACK_NS = 1_000_000_000
BATCH = 2048
MOST_HELD = 65_536
_AT = itemgetter(0)

PROBES_APART_NS = 900_000_000
"Keepalive probes follow each other after a second or more: TCP_KEEPINTVL counts in seconds."


@dataclass(frozen=True, slots=True)
class Limits:
    """What the follower may hold."""

    open: int = 20_000
    "Connections at once; beyond, those that were quiet for longest are given out as they are."
    linger_s: float = 60.0
    "After a connection's end, how long its late packets are waited for: Linux's TIME_WAIT."
    lingering: int = 4_000
    "So many at most: each holds some 9 kB."
    waiting_segments: int = 1024
    waiting_bytes: int = 4 << 20
    "Per direction, behind a hole."
    all_waiting_bytes: int = 64 << 20


def follow(
    packets: Iterable[Packet],
    *,
    listen: Listen | None = None,
    port: int | None = None,
    seen: Seen | None = None,
    limits: Limits | None = None,
) -> Iterator[Connection]:
    """The TCP connections in `packets`, each when it is over or the capture is, so not in the order of their begin.

    With `port`, only connections from or to it. What else was in the capture is counted into `seen`.
    """
    follower = _Follower(listen, port, limits or Limits())
    sides, ready, slowly = follower.sides, follower.ready, follower.slowly
    sweep_ns = 0
    at = 0
    found = segments(packets, seen if seen is not None else Seen(), port)
    for segment in chain.from_iterable(in_time(found)):
        at, key, seq, ack, flags, window, length, ip_id, hops, buffer, _, payload, captured, view = segment
        side = sides.get(key)
        if (
            side is None
            or side.slow
            or seq != side.next
            or (flags != 16 and flags != 24)
            or not window
            or captured != length
            or (not length and ack == side.acked)
        ):
            slowly(side, segment)
            if at > sweep_ns:
                sweep_ns = follower.sweep(at)
            if ready:
                yield from ready
                ready.clear()
            continue
        other = side.other
        side.packets += 1
        if length:
            silence = at - side.last_data_ns
            if silence > side.silence_ns and side.last_data_ns:
                side.silence_ns = silence
                side.silence_at_ns = side.last_data_ns
            side.last_data_ns = at
            side.data_packets += 1
            side.bytes += length
            side.unread += length
            other.unread = 0
            side.next = after = (seq + length) & 0xFFFFFFFF
            side.view = view
            if not side.timed_ns:
                side.timed_ns = at
                side.timed_end = after
            if side.stream is not None:
                side.stream.data(side.direction, at, buffer[payload : payload + length])
        if ack != side.acked:
            if other.timed_ns and (ack - other.timed_end) & 0xFFFFFFFF < 0x80000000:
                rtt = at - other.timed_ns
                if side.rtt_ns is None or 0 <= rtt < side.rtt_ns:
                    side.rtt_ns = rtt
                side.rtts += 1
                other.timed_ns = 0
            if (ack - side.acked) & 0xFFFFFFFF < 0x80000000 or side.acked < 0:
                side.acked = ack
            side.dup_run = 0
            if other.probe_ns:
                other.probe_ns = 0
        side.window = window
        side.last_ns = at
        if other.unanswered:
            other.unanswered = 0
        if hops != side.hops:
            side.hops_seen.add(hops)
        side.recent.append((at, seq, ack, flags, window, length, ip_id, hops, view))
    follower.end(at)
    yield from ready


def in_time(found: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Segments in the order of their times, in batches.

    Capturing on several CPUs or interfaces writes packets a little out of order, and an answer before its question would
    be told as a fault of the network. What comes more than `DISORDER_NS` late stays where it is; a clock that was
    set back, or a second capture behind the first, begins anew.
    """
    held: list[Segment] = []
    enough, latest, ordered = BATCH, 0, True
    for segment in found:
        at = segment[0]
        if at < latest:
            ordered = False
            if at < latest - SET_BACK_NS:
                held.sort(key=_AT)
                yield held
                held, latest, ordered = [], at, True
        else:
            latest = at
        held.append(segment)
        if len(held) >= enough:
            if not ordered:
                held.sort(key=_AT)
            safe = bisect_right(held, latest - DISORDER_NS, key=_AT)
            if not safe and len(held) >= MOST_HELD:
                safe = len(held) // 2
            yield held[:safe]
            held = held[safe:]
            # Not sorted from here on only if the rest was not; it has been sorted now.
            ordered = True
            enough = len(held) + BATCH
    held.sort(key=_AT)
    yield held


class _Follower:
    """The open connections, and all that the fast path leaves out."""

    def __init__(self, listen: Listen | None, port: int | None, limits: Limits) -> None:
        self.listen = listen
        self.port = port
        self.limits = limits
        self.sides: dict[bytes, Side] = {}
        self.ready: list[Connection] = []
        "Finished, and to be given out."
        self.open: dict[int, Connection] = {}
        self.over: deque[Connection] = deque()
        "Those that have ended and may still have late packets, in the order of their ends."
        self.waiting_bytes = 0
        self._number = 0

    # -- beginnings and ends of following

    def _begin(self, segment: Segment) -> Side:
        """A connection of which this is the first packet."""
        at, key, _, _, flags, *_ = segment
        if len(self.open) >= self.limits.open:
            self._make_room(at)
        self._number += 1
        connection = Connection(self._number, at)
        side = Side(connection, key)
        other = Side(connection, turned(key))
        side.other, other.other = other, side
        source, destination = key[-4:-2], key[-2:]
        if flags & SYN:
            client = other if flags & ACK else side
            connection.known_by = KnownBy.SYN_ACK if flags & ACK else KnownBy.SYN
        else:
            by_port, connection.known_by = _serves(
                int.from_bytes(source, "big"), int.from_bytes(destination, "big"), self.port
            )
            client = other if by_port else side
        self._cast(connection, client)
        self.sides[key] = side
        self.sides[other.key] = other
        self.open[connection.number] = connection
        return side

    @staticmethod
    def _cast(connection: Connection, client: Side) -> None:
        """Give out the parts."""
        connection.client, connection.server = client, client.other
        client.direction, client.other.direction = Direction.TO_SERVER, Direction.TO_CLIENT

    def _finish(self, connection: Connection, why: Finish, at: int) -> None:
        """Let go of a connection: nothing more is expected."""
        for side in connection.sides:
            self._give_up_holes(side, connection.last_ns)
            if side.zero_since_ns:
                side.zero_ns += max(connection.last_ns - side.zero_since_ns, 0)
            if self.sides.get(side.key) is side:
                del self.sides[side.key]
        del self.open[connection.number]
        connection.finish = why
        connection.capture_ends_ns = at
        stream = connection.client.stream
        if stream is not None:
            stream.closed(connection)
        self.ready.append(connection)

    def sweep(self, at: int) -> int:
        """Let go of connections that ended some time ago; returns when to sweep next."""
        linger = int(self.limits.linger_s * 1e9)
        while self.over and at - (self.over[0].closed_ns or 0) > linger:
            connection = self.over.popleft()
            if connection.finish is None:
                self._finish(connection, Finish.CLOSED, at)
        return at + max(linger // 4, 1)

    def _make_room(self, at: int) -> None:
        """Let go of a tenth: first those that are over, then those that were quiet for longest."""
        quiet = sorted(self.open.values(), key=lambda one: (one.closed_ns is None, one.last_ns))
        for connection in quiet[: max(self.limits.open // 10, 1)]:
            over = connection.closed_ns is not None
            self._finish(connection, Finish.CLOSED if over else Finish.CROWDED, at)

    def end(self, at: int) -> None:
        """The capture is over."""
        for connection in list(self.open.values()):
            self._finish(connection, Finish.CAPTURE_ENDED, max(at, connection.last_ns))

    # -- packets off the fast path

    def slowly(
        self,
        side: Side | None,
        segment: Segment,
    ) -> None:
        """A packet that needs a closer look."""
        at, _, seq, ack, flags, window, length, ip_id, hops, buffer, options, payload, captured, view = (
            segment
        )
        if side is not None and flags & (SYN | ACK) == SYN and self._begins_anew(side, seq):
            self._finish(side.connection, Finish.REUSED, at)
            side = None
        if side is None:
            side = self._begin(segment)
        connection, other = side.connection, side.other
        # What comes next and says something new was not seen before; the look is spared.
        odd = seq != side.next or flags & RST or (not length and not flags & FIN and ack == side.acked)
        if odd and side.recent and _seen_before(side, segment):
            side.duplicates += 1
            if flags & RST and connection.resets:
                connection.resets[-1].captured_twice += 1
            return
        packet = (at, seq, ack, flags, window, length, ip_id, hops, view)
        other.unanswered = 0
        if not side.packets:
            side.first_ns = at
            side.view = view
        side.packets += 1
        if flags & RST:
            self._reset(side, packet, has_timestamp(buffer, options, payload))
            side.last_ns = at
            return
        if side.hops < 0:
            side.hops = hops
        elif hops != side.hops and len(side.hops_seen) < 64:
            side.hops_seen.add(hops)
        if side.timestamps is None and not flags & SYN:
            side.timestamps = has_timestamp(buffer, options, payload)
        if connection.resets:
            new = length > 0 and 0 < (seq + length - side.next & _MASK) < _HALF
            _note_after_reset(side, at, ack if flags & ACK else -1, new)
        if flags & SYN:
            self._syn(side, at, seq, flags, options_of(buffer, options, payload))
            seq = seq + 1 & _MASK
        if side.next < 0:
            side.next = side.first_seq = seq
        if length and connection.fresh:
            self._first_payload(connection, side, buffer[payload : payload + captured])
        side.last_ns = at
        self._sequence(
            side, at, seq, length, flags, ip_id, buffer[payload : payload + captured] if length else b"", view
        )
        if flags & ACK:
            if ack == side.acked and not length and not flags & (SYN | FIN):
                self._same_ack(side, at, window)
            else:
                self._ack(side, at, ack)
        self._window(side, at, window, flags)
        side.recent.append(packet)
        if side.waiting:
            self._judge_holes(side, at)
        if other.waiting:
            self._judge_holes(other, at)
        for one in (side, other):
            one.slow = bool(
                connection.closing
                or connection.fresh
                or one.waiting
                or one.zero_since_ns
                or one.next < 0
                or one.timestamps is None
            )

    def _begins_anew(self, side: Side, seq: int) -> bool:
        """Whether a SYN starts another connection on the same ports, and is no repetition."""
        if side.isn is None and side.other.isn is not None and side.other.packets == side.other.syns:
            return False  # both called each other at once
        return side.isn != seq or (side.connection.closed_ns is not None and side.data_packets > 0)

    def _syn(self, side: Side, at: int, seq: int, flags: int, options: Options) -> None:
        side.syns += 1
        if side.isn is None:
            side.isn = side.first_seq = seq
            side.syn_ns = at
            side.options = options
            side.next = seq + 1 & _MASK
            side.timed_ns, side.timed_end = at, side.next
        else:
            side.timed_ns = 0
            self._unanswered(side, at)
        if (
            not flags & ACK and side is side.connection.server
        ):  # both called each other, or the first packet misled
            self._cast(side.connection, side)

    def _first_payload(self, connection: Connection, side: Side, payload: bytes) -> None:
        """Now the parts are known as well as they will be; ask who wants to listen."""
        connection.fresh = False
        if connection.known_by not in (KnownBy.SYN, KnownBy.SYN_ACK):
            speaker = _speaks_as(payload)
            if speaker:
                self._cast(connection, side if speaker == "client" else side.other)
                connection.known_by = KnownBy.PAYLOAD
        if self.listen is not None:
            stream = self.listen(connection)
            for one in connection.sides:
                one.stream = stream

    def _sequence(
        self, side: Side, at: int, seq: int, length: int, flags: int, ip_id: int, payload: bytes, view: int
    ) -> None:
        """Where a segment stands in its side's stream."""
        ahead = seq - side.next & _MASK
        fin = bool(flags & FIN)
        if ahead == 0:
            if side.waiting and length:
                self._fills(side, at, ip_id)
            if length:
                self._deliver(side, at, length, payload)
                side.view = view
            if fin:
                self._fin(side, at)
            if side.waiting:
                self._drain(side, at)
        elif ahead < _HALF:
            if length or fin or not flags & SYN:
                self._wait(side, Waiting(seq, length, at, payload if side.stream else None, fin, ip_id))
        else:
            self._old(side, at, seq, length, flags, payload)
            if side.waiting:
                self._drain(side, at)

    def _deliver(self, side: Side, at: int, length: int, payload: bytes) -> None:
        """The next bytes in order; of a packet that was not kept whole, the rest is a gap."""
        if side.last_data_ns and at - side.last_data_ns > side.silence_ns:
            side.silence_ns = at - side.last_data_ns
            side.silence_at_ns = side.last_data_ns
        side.last_data_ns = at
        side.data_packets += 1
        side.bytes += length
        side.unread += length
        side.other.unread = 0
        side.next = side.next + length & _MASK
        if not side.timed_ns:
            side.timed_ns, side.timed_end = at, side.next
        if side.stream is not None:
            if payload:
                side.stream.data(side.direction, at, payload)
            if len(payload) < length:
                side.stream.gap(side.direction, at, length - len(payload))

    def _old(self, side: Side, at: int, seq: int, length: int, flags: int, payload: bytes) -> None:
        """A segment that begins before what is expected: a probe, a retransmission, or nothing of interest."""
        behind = side.next - seq & _MASK
        fin = bool(flags & FIN)
        if behind == 1 and length <= 1 and not flags & (SYN | FIN):
            if side.other.zero_since_ns:
                side.window_probes += 1
            else:
                side.probes += 1
                side.probe_ns = at
            self._unanswered(side, at)
            return
        if fin and side.fin_ns is not None:
            side.fins += 1
            if not length:
                self._unanswered(side, at)
                return
        if not length:
            return
        new = length - behind
        again = min(length, behind)
        side.retransmits += 1
        side.retransmitted_bytes += again
        side.timed_ns = 0
        if side.other.acked >= 0 and (side.other.acked - (seq + again)) & _MASK < _HALF:
            side.spurious += 1
        elif side.other.dup_run >= 3:
            side.fast_retransmits += 1
        self._unanswered(side, at)
        if new > 0:
            self._deliver(side, at, new, payload[behind:])
        if fin and side.fin_ns is None and (new > 0 or seq + length & _MASK == side.next):
            self._fin(side, at)

    @staticmethod
    def _unanswered(side: Side, at: int) -> None:
        if not side.unanswered:
            side.unanswered_since_ns = at
        side.unanswered += 1

    # -- holes

    def _wait(self, side: Side, segment: Waiting) -> None:
        """Keep a segment that came before its time; in order of sequence, once."""
        ahead = segment.seq - side.next & _MASK
        place = len(side.waiting)
        while place and (side.waiting[place - 1].seq - side.next & _MASK) > ahead:
            place -= 1
        if (
            place
            and side.waiting[place - 1].seq == segment.seq
            and side.waiting[place - 1].length >= segment.length
        ):
            if segment.length:
                side.retransmits += 1
                side.retransmitted_bytes += segment.length
                side.timed_ns = 0
                self._unanswered(side, segment.at_ns)
            return
        side.waiting.insert(place, segment)
        held = len(segment.payload or b"") + 100
        side.waiting_bytes += held
        self.waiting_bytes += held

    def _fills(self, side: Side, at: int, ip_id: int) -> None:
        """Whether what fills a hole was sent late (a retransmission) or arrived late (reordering)."""
        first = min(side.waiting, key=lambda one: one.at_ns)
        if ip_id > 0 and first.ip_id > 0:
            late = first.ip_id - ip_id & 0xFFFF < 0x8000
        else:
            late = (
                at - first.at_ns < max(REORDER_NS, (side.other.rtt_ns or 0) // 2) and side.other.dup_run < 3
            )
        if late:
            side.reordered += 1
        else:
            side.retransmits += 1
            side.timed_ns = 0
            if side.other.dup_run >= 3:
                side.fast_retransmits += 1

    def _drain(self, side: Side, at: int) -> None:
        """Deliver what was waiting, as far as it is in order now."""
        while side.waiting:
            first = side.waiting[0]
            behind = side.next - first.seq & _MASK
            if 0 < behind < _HALF:
                new = first.length - behind
            elif behind == 0:
                new = first.length
            else:
                return
            side.waiting.pop(0)
            held = len(first.payload or b"") + 100
            side.waiting_bytes -= held
            self.waiting_bytes -= held
            if new > 0:
                self._deliver(side, at, new, (first.payload or b"")[first.length - new :])
            if first.fin and side.fin_ns is None:
                self._fin(side, first.at_ns)

    def _judge_holes(self, side: Side, at: int) -> None:
        """A hole that the receiver does not have is waited for; one that it acknowledged is the capture's."""
        first = side.waiting[0]
        acked = side.other.acked
        arrived = acked >= 0 and (acked - first.seq) & _MASK < _HALF
        if (
            (arrived and at - first.at_ns > ACKED_HOLE_NS)
            or len(side.waiting) > self.limits.waiting_segments
            or side.waiting_bytes > self.limits.waiting_bytes
            or self.waiting_bytes > self.limits.all_waiting_bytes
        ):
            self._give_up_hole(side, at)

    def _give_up_hole(self, side: Side, at: int) -> None:
        self._drain(side, at)
        if not side.waiting:
            return
        missing = side.waiting[0].seq - side.next & _MASK
        side.holes += 1
        side.missing += missing
        side.timed_ns = 0
        if side.stream is not None:
            side.stream.gap(side.direction, at, missing)
        side.next = side.waiting[0].seq
        self._drain(side, at)

    def _give_up_holes(self, side: Side, at: int) -> None:
        while side.waiting:
            self._give_up_hole(side, at)

    # -- acknowledgements and windows

    def _ack(self, side: Side, at: int, ack: int) -> None:
        """An acknowledgement that says something new."""
        other = side.other
        if side.acked >= 0 and (ack - side.acked) & _MASK >= _HALF:
            return  # older than what was acknowledged already: it was overtaken
        if (
            ack - other.next & _MASK == 1
            and other.next >= 0
            and other.isn is None
            and other.fin_ns is None
            and not (other.data_packets or other.unread or other.waiting)
        ):
            # What was taken for an acknowledgement was a probe: it stands one before what it asks about.
            other.next = ack
            other.probes += 1
            other.probes_answered += 1
        if other.timed_ns and (ack - other.timed_end) & _MASK < _HALF:
            rtt = at - other.timed_ns
            if rtt >= 0 and (side.rtt_ns is None or rtt < side.rtt_ns):
                side.rtt_ns = rtt
            side.rtts += 1
            other.timed_ns = 0
        if ack != side.acked:
            side.dup_run = 0
        if side.acked < 0:
            side.first_acked = ack
        side.acked = ack
        if other.probe_ns:
            other.probe_ns = 0
            other.probes_answered += ack == other.next
        if (
            other.fin_ns is not None
            and other.fin_acked_ns is None
            and (ack - other.fin_seq - 1) & _MASK < _HALF
        ):
            other.fin_acked_ns = at
            if side.fin_acked_ns is not None:
                self._over(side.connection, at)

    def _same_ack(self, side: Side, at: int, window: int) -> None:
        """A bare acknowledgement of what was acknowledged before: an answer, an update or a complaint."""
        other = side.other
        if side.probe_ns == at:
            return  # a probe is no answer
        if other.probe_ns:
            other.probe_ns = 0
            other.probes_answered += 1
        elif window != side.window:
            side.window_updates += 1
        elif side.isn is None and not side.data_packets and self._repeats_itself(side, at):
            pass
        elif other.waiting or (other.next >= 0 and 0 < (other.next - side.acked & _MASK) < _HALF):
            side.dup_acks += 1
            side.dup_run += 1

    def _repeats_itself(self, side: Side, at: int) -> bool:
        """Without the connection's begin, a probe looks like any acknowledgement, until it comes again unprompted."""
        before = side.recent[-1][0] if side.recent else at
        if before < side.other.last_ns or at - before < PROBES_APART_NS or side.fin_ns is not None:
            return False
        if not side.probes:
            side.next = side.next + 1 & _MASK
            side.probes = 1
            side.unanswered, side.unanswered_since_ns = 1, before
        side.probes += 1
        side.probe_ns = at
        self._unanswered(side, at)
        return True

    @staticmethod
    def _window(side: Side, at: int, window: int, flags: int) -> None:
        if window == 0 and not flags & SYN:
            if not side.zero_since_ns:
                side.zero_windows += 1
                side.zero_since_ns = at
        elif side.zero_since_ns:
            side.zero_ns += max(at - side.zero_since_ns, 0)
            side.zero_since_ns = 0
        side.window = window

    # -- ends

    def _fin(self, side: Side, at: int) -> None:
        """The side's stream ends here."""
        side.fin_ns = at
        side.fin_seq = side.next
        side.fins += 1
        side.next = side.next + 1 & _MASK
        side.connection.closing = True
        if side.other.acked >= 0 and (side.other.acked - side.next) & _MASK < _HALF:
            side.fin_acked_ns = at  # two CPUs' disorder: the acknowledgement was captured first
        if not side.timed_ns:
            side.timed_ns, side.timed_end = at, side.next

    def _over(self, connection: Connection, at: int) -> None:
        if connection.closed_ns is None:
            connection.closed_ns = at
            self.over.append(connection)
            if len(self.over) > self.limits.lingering:
                oldest = self.over.popleft()
                if oldest.finish is None:
                    self._finish(oldest, Finish.CLOSED, at)

    def _reset(self, side: Side, packet: Recent, timestamp: bool) -> None:
        connection, other = side.connection, side.other
        at, seq, ack, flags, window, length, ip_id, hops, view = packet
        connection.closing = True
        connection.reset_count += 1
        if len(connection.resets) < RESETS_KEPT:
            expected = side.next if side.next >= 0 else other.acked
            if side.waiting:
                expected = side.waiting[-1].seq + side.waiting[-1].length & _MASK
            offset = seq - expected & _MASK if expected >= 0 else 0
            for one in connection.resets:
                one.others_after += one.side is not side
            connection.resets.append(
                Reset(
                    side=side,
                    at_ns=at,
                    seq=seq,
                    ack=ack if flags & ACK else None,
                    window=window,
                    hops=hops,
                    ip_id=ip_id,
                    timestamp=timestamp,
                    length=length,
                    offset=offset if offset < _HALF else offset - (1 << 32),
                    view=view,
                    own=tuple(side.recent),
                    others=tuple(other.recent),
                    own_fin=side.fin_ns is not None,
                    other_fin=other.fin_ns is not None,
                    own_fin_acked=side.fin_acked_ns is not None,
                    other_fin_acked=other.fin_acked_ns is not None,
                    unread=other.unread,
                    unanswered=side.unanswered,
                    unanswered_since_ns=side.unanswered_since_ns,
                    probing=bool(side.probe_ns),
                )
            )
        self._over(connection, at)
        side.recent.append(packet)
        side.slow = other.slow = True


def _note_after_reset(side: Side, at: int, ack: int, new_data: bool) -> None:
    for reset in side.connection.resets:
        if reset.side is side:
            reset.packets_after += 1
            reset.data_after += new_data
            reset.last_ack_after = ack
            if reset.first_after_ns is None:
                reset.first_after_ns = at
        else:
            reset.others_after += 1


def _seen_before(side: Side, segment: Segment) -> bool:
    """Whether this very packet was captured before: on another interface, or on its way in and out."""
    at, _, seq, ack, flags, window, length, ip_id, hops, _, _, _, _, view = segment
    for then, seq_, ack_, flags_, window_, length_, ip_id_, hops_, view_ in reversed(side.recent):
        if at - then > TWICE_NS:
            break
        if (
            seq != seq_
            or ip_id != ip_id_
            or ack != ack_
            or flags != flags_
            or length != length_
            or window != window_
        ):
            continue
        if ip_id > 0 or view != view_ or hops != hops_:
            return True
        if (length or flags & (SYN | FIN)) and not flags & RST and at - then < AT_ONCE_NS:
            return True
    behind = side.next - seq & _MASK
    return (
        length > 1
        and view != side.view
        and 0 < behind < _HALF
        and length <= behind
        and 0 <= at - side.last_data_ns < ELSEWHERE_NS
    )


_SERVICES = frozenset(
    {22, 25, 53, 80, 443, 993, 3000, 3128, 5000, 5432, 6379, 8000, 8080, 8081, 8443, 8484, 8888, 9000}
)
"Ports that serve though others are lower."


def _serves(source: int, destination: int, asked: int | None) -> tuple[bool, KnownBy]:
    """Whether the source is the server, by its port, and how sure that is."""
    if asked is not None and (source == asked) != (destination == asked):
        return source == asked, KnownBy.ASKED
    rank = [
        (port >= 1024) + (port >= 1024 and port not in _SERVICES) + (port >= 32768)
        for port in (source, destination)
    ]
    if rank[0] != rank[1]:
        return rank[0] < rank[1], KnownBy.PORT
    return source < destination, KnownBy.GUESS


_ASKS = (
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"PRI * HTTP/2",
)


def _speaks_as(payload: bytes) -> str:
    """Whether a first payload is a client's or a server's, by its first bytes; empty if they do not tell."""
    if payload.startswith(_ASKS):
        return "client"
    if payload.startswith(b"HTTP/1."):
        return "server"
    if payload[:2] == b"\x16\x03" and len(payload) > 5 and payload[5] in (1, 2):
        return "client" if payload[5] == 1 else "server"
    return ""
