"""Who closed a connection, how, when and after which silence. Values in, values out.

TCP alone is judged: a FIN in the middle of an answer is an orderly end here, and a cut one only to who reads what
was inside. The mechanisms are those of `flight.endings`, so that a capture and the gateway's own record can be laid
side by side; where a capture shows no end at all, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from holdfast.captures.sides import MASK, Connection, Finish, Recent, Reset, Side
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import counted, duration

DARK_AFTER_NS = 5_000_000_000
"One unanswered retransmission is lost or late; none answered for so long, and the path is suspected."

QUIET_NS = 1_000_000_000
"A silence that is worth telling."

AT_ONCE_NS = 3_000_000_000
"An answer to a packet comes within a round trip; the slowest path that people bear has 3 s."

PROMPT_NS = 200_000_000
"A kernel answers without waiting; so long, or ten round trips, a queue may hold its answer up."

UNREAD_WITHIN_NS = 2_000_000_000
"What came longer ago, a program that still lives has read."

AS_AN_ANSWER_NS = 10_000_000
"A program that resets because of what it was just told needs no longer, besides the round trip."


class How(Enum):
    """How a connection ended, as far as its packets tell; the worst first."""

    RESET = "reset"
    "One side reset it, and neither had closed before."
    UNANSWERED = "unanswered"
    "One side sent again and again, and nothing came back."
    SYN_RESET = "reset while opening"
    "It was reset between SYN+ACK and the first payload."
    SYN_UNANSWERED = "no answer to SYN"
    REFUSED = "refused"
    "A reset answered the SYN."
    FIN_THEN_RST = "closed, then reset"
    "A side closed its half and then reset: it had stopped listening while the other still spoke."
    FIN_MET_RST = "close answered by reset"
    "One side closed in order, and the other reset instead of closing too."
    STALLED = "stalled at the capture's end"
    "It was open, and waited: for an acknowledgement, or behind a window that was closed."
    HALF_CLOSED = "half closed"
    "One side closed; the other had not when the capture ended."
    REUSED = "ports reused"
    "No end was captured before a new connection took its ports."
    OPEN = "open at the capture's end"
    CLOSED_UNSEEN = "closed, as far as one side shows"
    "The only side that was captured closed; who was first, and whether the other did, is not in the capture."
    RESET_AFTER_END = "closed in order, a reset behind"
    "Both had closed; a late packet met no socket any more. Nothing was lost."
    CLOSED = "closed in order"
    "Both sides closed and acknowledged it."

    @property
    def proper(self) -> bool:
        """Whether there is nothing to explain."""
        return self in (How.CLOSED, How.CLOSED_UNSEEN, How.RESET_AFTER_END)


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of one connection."""

    how: How
    mechanism: Mechanism | None
    "None where no end was captured."
    by: Side | None
    "Who closed first, reset, or went on asking without an answer; None where nobody did."
    at_ns: int
    "When: of the FIN, of the reset, of the first packet without an answer; of the last packet where it stayed open."
    silence_ns: int | None
    "From the last payload of either side to that; None where there was no payload."
    client_silence_ns: int | None
    server_silence_ns: int | None
    "The same for each side's own payload."
    reset: Reset | None = None
    "The one that ended it."
    trigger: Recent | None = None
    "The other side's packet that the reset answers, where it answers one."
    quiet_before_trigger_ns: int | None = None
    "How long nothing had been sent before that packet."
    notes: tuple[str, ...] = ()
    "What came before and what else is to know, in sentences without a full stop."

    @property
    def role(self) -> str:
        """`client`, `server`, or nothing."""
        return role(self.by) if self.by else ""


def role(side: Side) -> str:
    """`client` or `server`."""
    return "client" if side is side.connection.client else "server"


def closing(connection: Connection) -> Closing:
    """The end of a connection that the follower has let go."""
    reset = deciding_reset(connection)
    if reset is not None:
        return _by_reset(connection, reset)
    client, server = connection.sides
    finned = [side for side in connection.sides if side.fin_ns is not None]
    if len(finned) == 2:
        first = min(finned, key=lambda side: side.fin_ns or 0)
        return _told(connection, How.CLOSED, Mechanism.FIN, first, first.fin_ns or 0)
    dark = _dark_side(connection)
    if client.syns and not server.packets:
        waited = max(connection.capture_ends_ns, client.last_ns) - connection.began_ns
        # If it went on, there was an answer that the capture lacks; if it asked once just now, one may come.
        if client.acked < 0 and not client.data_packets and (client.syns > 1 or waited > AT_ONCE_NS):
            return _told(
                connection, How.SYN_UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, client, client.syn_ns or 0
            )
    if dark is not None:
        return _told(
            connection, How.UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, dark, dark.unanswered_since_ns
        )
    if finned and connection.one_sided is not None:
        return _told(connection, How.CLOSED_UNSEEN, Mechanism.FIN, finned[0], finned[0].fin_ns or 0)
    if finned:
        return _told(connection, How.HALF_CLOSED, Mechanism.FIN, finned[0], finned[0].fin_ns or 0)
    if connection.finish is Finish.REUSED:
        return _told(connection, How.REUSED, None, None, connection.last_ns)
    if connection.one_sided is None and _stalled(connection):
        return _told(connection, How.STALLED, None, None, connection.last_ns)
    return _told(connection, How.OPEN, None, None, connection.last_ns)


def deciding_reset(connection: Connection) -> Reset | None:
    """The reset that ended a connection: the first, unless the connection went on after it and a later one did.

    None where there was none, or where one had no effect and nothing else ended the connection by force.
    """
    for reset in connection.resets:
        if not survived(reset):
            return reset
    if connection.resets and not all(side.fin_ns for side in connection.sides):
        return connection.resets[-1]
    return None


def survived(reset: Reset) -> bool:
    """Whether both sides went on talking after a reset: it was ignored by whom it was for."""
    return reset.others_after > 1 and reset.packets_after > 1 and reset.data_after > 0


def _dark_side(connection: Connection) -> Side | None:
    """Who sent again and heard nothing, to the end of the capture or of the connection."""
    for side in connection.sides:
        if not side.unanswered or side is connection.one_sided:
            continue
        waited = max(connection.last_ns, connection.capture_ends_ns) - side.unanswered_since_ns
        if side.unanswered >= 2 and waited > DARK_AFTER_NS and side.other.last_ns <= side.unanswered_since_ns:
            return side
    return None


def _stalled(connection: Connection) -> bool:
    waited = connection.capture_ends_ns - connection.last_ns
    return any(
        side.zero_since_ns
        or side.unanswered
        or (side.in_flight and side.other.packets and waited > DARK_AFTER_NS)
        for side in connection.sides
    )


def _by_reset(connection: Connection, reset: Reset) -> Closing:
    side, other = reset.side, reset.side.other
    trigger = trigger_of(reset)
    waited = reset.at_ns - reset.unanswered_since_ns
    last_heard = reset.others[-1][0] if reset.others else 0
    if reset.own_fin and reset.other_fin:
        how, mechanism = How.RESET_AFTER_END, Mechanism.FIN
        first = min(connection.sides, key=lambda one: one.fin_ns or 0)
        return _told(connection, how, mechanism, first, first.fin_ns or 0, reset=reset, trigger=trigger)
    if (
        reset.unanswered
        and other.packets
        and last_heard <= reset.unanswered_since_ns
        and (waited > DARK_AFTER_NS or (reset.unanswered >= 2 and waited > QUIET_NS))
    ):
        at = reset.unanswered_since_ns
        return _told(
            connection, How.UNANSWERED, Mechanism.KEEPALIVE_UNANSWERED, side, at, reset=reset, trigger=None
        )
    if _refuses(connection, reset):
        how, mechanism = How.REFUSED, Mechanism.REFUSED
    elif connection.server.isn is not None and connection.fresh and not (reset.own_fin or reset.other_fin):
        how, mechanism = How.SYN_RESET, Mechanism.RST
    elif reset.own_fin:
        how, mechanism = How.FIN_THEN_RST, Mechanism.FIN_THEN_RST
        return _told(connection, how, mechanism, side, side.fin_ns or 0, reset=reset, trigger=trigger)
    elif reset.other_fin:
        how, mechanism = How.FIN_MET_RST, Mechanism.FIN
        return _told(connection, how, mechanism, other, other.fin_ns or 0, reset=reset, trigger=trigger)
    else:
        how, mechanism = How.RESET, Mechanism.RST
    return _told(connection, how, mechanism, side, reset.at_ns, reset=reset, trigger=trigger)


def _refuses(connection: Connection, reset: Reset) -> bool:
    """Whether a reset answers a SYN: it acknowledges it, from a sequence number of 0 under most stacks."""
    side, other = reset.side, reset.side.other
    if reset.own or other.data_packets or reset.ack is None:
        return False
    return bool(other.syns and side is connection.server) or (not other.packets and not reset.seq)


def trigger_of(reset: Reset) -> Recent | None:
    """The other side's packet that a reset answers; None if it came by itself, or that cannot be told.

    A kernel without a socket answers with a reset whose sequence number is the packet's acknowledgement number, and
    which acknowledges nothing. One that acknowledges ends exactly at the packet's end (an answer to a SYN, or an abort
    just after data came). Of several such packets, the last.
    """
    found = triggers_of(reset)
    return found[-1] if found else None


def triggers_of(reset: Reset) -> list[Recent]:
    """All packets that a reset may answer, the oldest first: those of the last seconds that fit its numbers."""
    within = AT_ONCE_NS
    if (
        reset.ack is not None and reset.own
    ):  # an abort comes when its program likes: only at once is it an answer
        within = max(AS_AN_ANSWER_NS, 3 * (reset.side.rtt_ns or 0))
    others = [one for one in reset.others if 0 <= reset.at_ns - one[0] <= within]
    if reset.ack is None:
        found = [one for one in others if one[3] & 16 and one[2] == reset.seq]
        if reset.side.rtt_ns is not None:
            prompt = max(10 * reset.side.rtt_ns, PROMPT_NS)
            found = [one for one in found if reset.at_ns - one[0] <= prompt] or found[-1:]
        return found
    return [one for one in others if (one[5] or one[3] & 3) and end_of(one) == reset.ack]


def end_of(one: Recent) -> int:
    """The sequence number behind a packet: its payload, and one each for SYN and FIN."""
    return one[1] + one[5] + (one[3] >> 1 & 1) + (one[3] & 1) & MASK


def quiet_before(reset: Reset, trigger: Recent) -> int | None:
    """How long nothing was sent before a packet; its own repetitions (retransmissions) are part of it."""
    burst = min(one[0] for one in reset.others if one[1] == trigger[1] and one[5] == trigger[5])
    before = [one[0] for one in reset.own + reset.others if one[0] < burst]
    return burst - max(before) if before else None


def _told(
    connection: Connection,
    how: How,
    mechanism: Mechanism | None,
    by: Side | None,
    at: int,
    *,
    reset: Reset | None = None,
    trigger: Recent | None = None,
) -> Closing:
    client, server = (_silence(side, at) for side in connection.sides)
    both = [one for one in (client, server) if one is not None]
    quiet = quiet_before(reset, trigger) if reset and trigger else None
    return Closing(
        how=how,
        mechanism=mechanism,
        by=by,
        at_ns=at,
        silence_ns=min(both) if both else None,
        client_silence_ns=client,
        server_silence_ns=server,
        reset=reset,
        trigger=trigger,
        quiet_before_trigger_ns=quiet,
        notes=tuple(_notes(connection, how, by, reset, trigger, quiet)),
    )


def _silence(side: Side, at: int) -> int | None:
    """From a side's last payload before a time to it."""
    if not side.last_data_ns:
        return None
    if side.last_data_ns <= at:
        return at - side.last_data_ns
    before = [one[0] for one in side.recent if one[5] and one[0] <= at]
    return at - before[-1] if before else None


def span(ns: int) -> str:
    """A length of time as `flights.duration` tells it; below a millisecond in microseconds."""
    return f"{ns // 1000} us" if 0 <= ns < 1_000_000 else duration(ns / 1e9)


def _notes(
    connection: Connection,
    how: How,
    by: Side | None,
    reset: Reset | None,
    trigger: Recent | None,
    quiet: int | None,
) -> list[str]:
    said: list[str] = []
    if reset is not None:
        said += _of_reset(connection, how, reset, trigger, quiet)
    if how is How.SYN_UNANSWERED and connection.client.syns > 1:
        waited = span(connection.client.last_ns - connection.began_ns)
        said.append(f"{connection.client.syns} SYNs in {waited}")
    elif how is How.SYN_UNANSWERED:
        said.append(
            "one SYN and no second: it was given up within a second, or its answer is not in the capture"
        )
    if how is How.UNANSWERED and by is not None:
        said.append(_unanswered(by, reset))
    for side in connection.sides:
        who = f"the {role(side)}"
        if (
            side.fin_ns is not None
            and side.fin_acked_ns is None
            and how is not How.UNANSWERED
            and side.other.packets
        ):
            said.append(f"{who}'s FIN was never acknowledged")
        if side.zero_since_ns:
            since = max(connection.capture_ends_ns - side.zero_since_ns, 0)
            said.append(f"{who} had closed its window {span(since)} before the end: its program did not read")
    if how is How.HALF_CLOSED and by is not None:
        after = by.other.last_data_ns - (by.fin_ns or 0)
        said.append(
            f"the {role(by.other)} went on sending for {span(after)} and had not closed when the capture ended"
            if after > 0
            else f"the {role(by.other)} had not closed {span(connection.capture_ends_ns - (by.fin_ns or 0))} later"
        )
    if how is How.STALLED:
        for side in connection.sides:
            if side.unanswered or side.in_flight:
                said.append(f"{counted(side.in_flight, 'byte')} of the {role(side)} were not acknowledged")
    return said


def _unanswered(by: Side, reset: Reset | None) -> str:
    """`9 retransmissions and probes of the client in 61 s without an answer; the server was last heard ...`"""
    count = reset.unanswered if reset else by.unanswered
    since = reset.unanswered_since_ns if reset else by.unanswered_since_ns
    until = reset.at_ns if reset else by.last_ns
    probing = reset.probing if reset else bool(by.probe_ns)
    what = counted(count, "keepalive probe") if probing else counted(count, "retransmission")
    end = "then it gave up and reset" if reset else "and no reset behind them"
    return f"{what} of the {role(by)} in {span(until - since)} without an answer, {end}"


def _just_spoken_to(reset: Reset) -> bool:
    """Whether it came so soon behind payload of the other side that this may not have been read."""
    heard = [one[0] for one in reset.others if one[5]]
    return bool(reset.unread and heard and reset.at_ns - heard[-1] <= UNREAD_WITHIN_NS)


def _of_reset(
    connection: Connection, how: How, reset: Reset, trigger: Recent | None, quiet: int | None
) -> list[str]:
    side, other = reset.side, reset.side.other
    who, peer = role(side), role(other)
    said: list[str] = []
    if trigger is not None and how is not How.REFUSED:
        late = reset.at_ns - trigger[0]
        what = counted(trigger[5], "byte") if trigger[5] else "FIN" if trigger[3] & 1 else "packet"
        before = (
            f", the first after {span(quiet)} of silence" if quiet is not None and quiet >= QUIET_NS else ""
        )
        said.append(f"the reset came {span(late)} after the {peer}'s {what}{before}")
    if how is How.FIN_THEN_RST:
        said.append(
            f"the {who} had closed {span(reset.at_ns - (side.fin_ns or 0))} before: what the {peer} still sent met no reader"
        )
    elif how is How.FIN_MET_RST:
        said.append(
            f"the {who} answered the {peer}'s close with a reset {span(reset.at_ns - (other.fin_ns or 0))} later"
        )
    elif how is How.RESET_AFTER_END:
        said.append(
            f"the {who}'s reset {span(reset.at_ns - (other.fin_ns or 0))} after the close is harmless"
        )
    elif how is How.RESET and reset.ack is not None and _just_spoken_to(reset):
        said.append(
            f"the {who} had not answered the last {counted(reset.unread, 'byte')}: "
            "a program that closes with unread input resets"
        )
    if reset.data_after or reset.packets_after:
        said.append(
            f"{counted(reset.packets_after, 'packet')} in the {who}'s name came after the reset"
            + (f", {reset.data_after} with new payload" if reset.data_after else "")
        )
    if connection.reset_count > 1:
        said.append(f"{connection.reset_count} resets altogether")
    return said
