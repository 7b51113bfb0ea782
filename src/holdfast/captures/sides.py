"""What is known of a TCP connection: its two sides, its resets, why it was let go. Filled in by `connections.follow`.

All times are wall time in ns since 1970, as the capture has them; 0 or None where there was nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from holdfast.captures.layers import NO_OPTIONS, Options, endpoints

MASK = 0xFFFFFFFF
HALF = 0x80000000
"Of two sequence numbers, the one ahead by less than this is the later."

Recent: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"(at_ns, seq, ack, flags, window, length, ip_id, hops, view) of a packet that was seen lately."

KEPT = 16
"Packets of each direction that are remembered: enough to know one that was captured twice, and to judge a reset by."

RESETS_KEPT = 8


class Direction(Enum):
    """Which way bytes went."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Stream(Protocol):
    """Hears what one connection carried, in order in each direction. Times are those of the packets, in ns of wall time."""

    def data(self, direction: Direction, at_ns: int, payload: bytes) -> None:
        """The next bytes; those that waited for a hole to fill have the time at which it was filled."""

    def gap(self, direction: Direction, at_ns: int, missing: int) -> None:
        """So many bytes that the capture does not hold come next."""

    def closed(self, connection: Connection) -> None:
        """Nothing more comes. The connection is complete."""


Listen: TypeAlias = Callable[["Connection"], Stream | None]
"Asked at a connection's first payload, when its sides are known: who wants to hear it? None: nobody."


@dataclass(slots=True)
class Waiting:
    """A segment behind a hole."""

    seq: int
    length: int
    at_ns: int
    payload: bytes | None
    "None where nobody listens."
    fin: bool
    ip_id: int


class Finish(Enum):
    """Why the follower let a connection go."""

    CLOSED = "closed"
    "It had ended, and nothing more of it came for a while."
    CAPTURE_ENDED = "capture ended"
    "The capture's last packet was reached."
    REUSED = "ports reused"
    "A new connection with the same addresses and ports began."
    CROWDED = "crowded out"
    "Too many connections were open; this one was quiet for longest."


class KnownBy(Enum):
    """How it is known which side is the client."""

    SYN = "its SYN"
    SYN_ACK = "the server's SYN+ACK"
    PAYLOAD = "what was said first"
    ASKED = "the port that was asked for"
    PORT = "the port numbers"
    GUESS = "a guess: the lower port serves"


@dataclass(slots=True, eq=False)
class Reset:
    """A RST as it was seen, with what is needed to judge who made it."""

    side: Side
    "Whose name it bears: its source address and port."
    at_ns: int
    seq: int
    ack: int | None
    "None where the ACK flag is not set: then the number means nothing."
    window: int
    hops: int
    "TTL or hop limit as it arrived."
    ip_id: int
    timestamp: bool
    "Whether it carries TCP's timestamp option."
    length: int
    "Bytes of payload: some stacks say why."
    offset: int
    "Its sequence number less the next one that was expected of this side: 0 is exact."
    view: int
    own: tuple[Recent, ...]
    "This side's last packets before it, oldest first."
    others: tuple[Recent, ...]
    "The other side's last packets before it, oldest first."
    own_fin: bool
    other_fin: bool
    own_fin_acked: bool
    other_fin_acked: bool
    "What had been closed in order before it."
    unread: int
    "Bytes of the other side since this side last sent any payload of its own."
    unanswered: int
    "Retransmissions and probes of this side since the other last said anything, and when the first was."
    unanswered_since_ns: int
    probing: bool
    "Whether the last of these was a keepalive probe."
    packets_after: int = 0
    "Packets of this side after it that are no resets."
    data_after: int = 0
    "Of these, how many carried new payload."
    first_after_ns: int | None = None
    last_ack_after: int = -1
    "The last acknowledgement number of these; -1 is none."
    others_after: int = 0
    "Packets of the other side after it."
    captured_twice: int = 0


@dataclass(slots=True, eq=False)
class Side:
    """One end of a connection, by the packets that it sent."""

    connection: Connection
    key: bytes
    "As in `layers.Segment`, with this side as the source."
    other: Side = field(init=False, repr=False)
    stream: Stream | None = None
    direction: Direction = Direction.TO_SERVER

    slow: bool = True
    "Whether the next packet needs more than the fast path."
    packets: int = 0
    data_packets: int = 0
    bytes: int = 0
    "Payload, every byte once; what the capture lacks is not in it."
    first_ns: int = 0
    last_ns: int = 0
    "Times of its first and last packet; 0 is none."
    last_data_ns: int = 0
    silence_ns: int = 0
    "The longest time between two of its packets with payload."
    silence_at_ns: int = 0
    "When that began."

    isn: int | None = None
    "Initial sequence number, from its SYN."
    first_seq: int | None = None
    next: int = -1
    "The sequence number that comes next; -1 is not known yet."
    acked: int = -1
    "The last acknowledgement number it sent; -1 is none."
    first_acked: int = -1
    "The first one."
    window: int = 0
    view: int = 0
    hops: int = -1
    "TTL or hop limit of its first packet that is no reset."
    hops_seen: set[int] = field(default_factory=set)
    "Others that its packets had (resets not counted)."
    timestamps: bool | None = None
    "Whether its packets after the SYN carry the timestamp option; None before one was seen."
    options: Options = NO_OPTIONS
    "Of its SYN."

    syn_ns: int | None = None
    syns: int = 0
    fin_ns: int | None = None
    fin_seq: int = 0
    fin_acked_ns: int | None = None
    fins: int = 0

    rtt_ns: int | None = None
    "The least time from the capture to this side and back: the other's packet to this side's acknowledgement of it."
    rtts: int = 0
    "How many times it was measured."
    timed_ns: int = 0
    "When the packet was sent whose acknowledgement is timed; 0 is none."
    timed_end: int = 0

    retransmits: int = 0
    retransmitted_bytes: int = 0
    fast_retransmits: int = 0
    "Of these, after three duplicate acknowledgements."
    spurious: int = 0
    "Of these, of bytes that had been acknowledged already."
    reordered: int = 0
    duplicates: int = 0
    "Packets that were captured twice: no event of the network."
    dup_acks: int = 0
    dup_run: int = 0
    probes: int = 0
    "Keepalive probes it sent."
    probes_answered: int = 0
    probe_ns: int = 0
    "When the probe was sent that waits for its answer; 0 is none."
    window_probes: int = 0
    zero_windows: int = 0
    "How often it said that it can take no more."
    zero_ns: int = 0
    "For how long altogether."
    zero_since_ns: int = 0
    window_updates: int = 0
    holes: int = 0
    missing: int = 0
    "Bytes that the capture does not hold, in that many holes."
    unanswered: int = 0
    "Retransmissions and probes since the other side last said anything."
    unanswered_since_ns: int = 0
    unread: int = 0
    "Payload bytes it sent since the other side last sent any."

    waiting: list[Waiting] = field(default_factory=list)
    waiting_bytes: int = 0
    recent: deque[Recent] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def endpoint(self) -> tuple[str, int]:
        """Address and port."""
        return endpoints(self.key)[:2]

    @property
    def window_shift(self) -> int | None:
        """By how many bits its window is to be shifted; None where the capture does not hold both SYNs."""
        if self.isn is None or self.other.isn is None:
            return None
        if self.options.window_shift is None or self.other.options.window_shift is None:
            return 0
        return self.options.window_shift

    @property
    def in_flight(self) -> int:
        """Bytes it sent (a FIN counts as one) that the other side has not acknowledged; 0 where that is not known."""
        if self.next < 0 or self.other.acked < 0:
            return 0
        flight = self.next - self.other.acked & MASK
        return flight if flight < HALF else 0


@dataclass(slots=True, eq=False)
class Connection:
    """A TCP connection, as far as the capture shows it."""

    number: int
    "From 1, in the order of their first packets."
    began_ns: int
    client: Side = field(init=False)
    server: Side = field(init=False)
    known_by: KnownBy = KnownBy.GUESS
    fresh: bool = True
    "Whether no payload was seen yet."
    closing: bool = False
    "Whether a FIN or RST was seen."
    closed_ns: int | None = None
    "When both sides had closed and acknowledged it, or the first reset came."
    resets: list[Reset] = field(default_factory=list)
    "The first few."
    reset_count: int = 0
    finish: Finish | None = None
    capture_ends_ns: int = 0
    "The capture's time when the follower let it go."

    @property
    def sides(self) -> tuple[Side, Side]:
        """Client and server."""
        return self.client, self.server

    @property
    def last_ns(self) -> int:
        """When its last packet was captured."""
        return max(self.client.last_ns, self.server.last_ns)

    @property
    def packets(self) -> int:
        """Of both sides."""
        return self.client.packets + self.server.packets

    @property
    def whole_handshake(self) -> bool:
        """Whether SYN, SYN+ACK and the ACK behind them are in the capture."""
        client, server = self.sides
        return client.isn is not None and server.isn is not None and client.packets > client.syns

    @property
    def joined_in_the_middle(self) -> bool:
        """Whether it was open before the capture began."""
        return self.client.isn is None and self.server.isn is None

    @property
    def one_sided(self) -> Side | None:
        """The only side of which there are packets, where the other's are missing though they must have existed.

        That is so where a side acknowledges what the capture does not show, or goes on without ever repeating itself.
        Keepalive probes into the dark do neither.
        """
        for side in self.sides:
            if side.other.packets or not side.packets or side.acked < 0:
                continue
            if (
                side.acked != side.first_acked
                or side.isn is not None
                or (side.data_packets > 1 and not side.retransmits)
            ):
                return side
        return None

    @property
    def captured_twice(self) -> int:
        """Packets that were in the capture more than once."""
        return self.client.duplicates + self.server.duplicates
