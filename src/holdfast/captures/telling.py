"""A connection told to a person and to a program: its opening, what it carried, its end, and who made a reset.

Nothing here comes out of a packet as text: addresses and numbers are made anew, so all of it is safe to print.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.captures.closing import DARK_AFTER_NS, Closing, How, closing, role, span
from holdfast.captures.forensics import Grade, Verdict, judge
from holdfast.captures.sides import Connection, Finish, Reset, Side
from holdfast.flight.flights import Line, counted, size

LABEL = 11
"Columns of the label before each line of a block."


@dataclass(frozen=True, slots=True)
class Report:
    """A connection with what was concluded of it."""

    connection: Connection
    closing: Closing
    verdict: Verdict | None
    "Of the reset that ended it, or of the first that came; None where there was none, or only behind a proper end."
    same_as: int | None = None
    "The number of a connection that is this one, seen on another side of an address translation."

    @property
    def proper(self) -> bool:
        """Whether it needs no explanation."""
        if self.closing.how.proper:
            return True
        return self.closing.how is How.OPEN and not self.connection.resets

    @property
    def rank(self) -> tuple[int, int, int]:
        """For sorting: what explains most of a broken answer first, then in the order of time."""
        forged = self.verdict is not None and self.verdict.grade in (
            Grade.INJECTED,
            Grade.LOST_STATE,
            Grade.FIREWALL,
        )
        order = list(How).index(self.closing.how)
        return (order if not forged else -1, self.closing.at_ns, self.connection.number)


def conclude(connection: Connection, same_as: int | None = None) -> Report:
    """Closing and verdict of a finished connection."""
    end = closing(connection)
    reset = end.reset if end.reset is not None else next(iter(connection.resets), None)
    verdict = judge(connection, reset) if reset is not None and end.how is not How.RESET_AFTER_END else None
    return Report(connection, end, verdict, same_as)


class Twins:
    """Finds the same connection seen twice with different addresses: sequence numbers survive a translation.

    Both sides' initial sequence numbers are 64 bits of chance; of a connection whose begin was not captured, the first
    numbers of both sides are, since both views begin with the same packet. The last few thousand are remembered.
    """

    REMEMBERED = 8192

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[int, int, int]] = {}

    def of(self, connection: Connection) -> int | None:
        """The number of its twin that was asked about before."""
        client, server = connection.sides
        if client.first_seq is None or server.first_seq is None:
            return None
        identity = client.first_seq, server.first_seq
        known = self._known.get(identity)
        if known is not None:
            number, began, ended = known
            if connection.began_ns <= ended and began <= connection.last_ns:
                return number
        if len(self._known) >= self.REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[identity] = connection.number, connection.began_ns, connection.last_ns
        return None


# ----- words


def clock(at_ns: int) -> str:
    """A packet's time as the user's clock shows it, to the millisecond."""
    try:
        return (
            f"{datetime.fromtimestamp(at_ns // 1_000_000_000):%m-%d %H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}"
        )
    except (ValueError, OverflowError, OSError):
        return "?"


def where(side: Side) -> str:
    """`192.0.2.10:443`, `[2001:db8::1]:443`."""
    address, port = side.endpoint
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


_ENDED = {
    How.RESET: "reset by the {who}",
    How.UNANSWERED: "the {peer} answered no more",
    How.SYN_RESET: "reset by the {who} while it was being opened",
    How.SYN_UNANSWERED: "never opened: no answer to the SYN",
    How.REFUSED: "refused by the {who}",
    How.FIN_THEN_RST: "closed and then reset by the {who}",
    How.FIN_MET_RST: "closed by the {who}, reset by the {peer}",
    How.STALLED: "stalled when the capture ended",
    How.HALF_CLOSED: "closed by the {who} alone",
    How.REUSED: "its ports were taken by another connection; no end was captured",
    How.OPEN: "still open when the capture ended",
    How.CLOSED_UNSEEN: "closed by the {who}; the {peer}'s packets are not in the capture",
    How.RESET_AFTER_END: "closed in order, first by the {who}; a late packet was reset",
    How.CLOSED: "closed in order, first by the {who}",
}


def ended(report: Report) -> str:
    """How it ended, in a few words: `reset by the server after 60.0 s of silence`."""
    end = report.closing
    said = ended_kind(report)
    quiet = _told_silence(end)
    return f"{said} after {span(quiet)} of silence" if quiet is not None and quiet >= 1_000_000_000 else said


def ended_kind(report: Report) -> str:
    """The same without figures, so that it can be counted: `reset by the server`."""
    end = report.closing
    who = end.role or "client"
    if end.how is How.OPEN and report.connection.finish is Finish.CROWDED:
        return "let go: too many connections were open at once"
    return _ENDED[end.how].format(who=who, peer="server" if who == "client" else "client")


def _told_silence(end: Closing) -> int | None:
    """The silence that belongs into the first line: before the packet that was reset, else before the end."""
    if end.how in (
        How.CLOSED,
        How.CLOSED_UNSEEN,
        How.RESET_AFTER_END,
        How.REUSED,
        How.REFUSED,
        How.SYN_UNANSWERED,
    ):
        return None
    return max((ns for ns in (end.silence_ns, end.quiet_before_trigger_ns) if ns is not None), default=None)


def opened(connection: Connection) -> str:
    """How it began, and what is known of who is who."""
    client, server = connection.sides
    at = clock(connection.began_ns)
    if connection.joined_in_the_middle:
        said = f"{at} or before: its begin is not in the capture; client and server by {connection.known_by.value}"
    elif connection.whole_handshake:
        said = f"{at} by a handshake"
    elif client.isn is None:
        said = f"{at} by the server's SYN+ACK (the client's SYN is not in the capture)"
    elif server.isn is None:
        said = f"{at} by {counted(client.syns, 'SYN')}" + (
            ", its answer is not in the capture" if connection.one_sided else ""
        )
    else:
        said = f"{at} by SYN and SYN+ACK, with nothing behind them"
    if connection.whole_handshake and client.syns > 1:
        said += f" with {client.syns} SYNs"
    trips = [
        f"{span(side.rtt_ns)} to the {role(side)}" for side in connection.sides if side.rtt_ns is not None
    ]
    return said + (f"; round trip at least {' and '.join(trips)}" if trips else "")


def carried(connection: Connection) -> str:
    """Bytes each way and how long."""
    client, server = connection.sides
    lasted = connection.last_ns - connection.began_ns
    if connection.one_sided is not None:
        one = connection.one_sided
        said = f"{size(one.bytes)} of the {role(one)} in {span(lasted)}; the other way was not captured"
    else:
        said = f"{size(client.bytes)} to the server, {size(server.bytes)} to the client in {span(lasted)}"
    longest = max(connection.sides, key=lambda side: side.silence_ns)
    if longest.silence_ns >= 10_000_000_000:
        said += f"; the {role(longest)}'s longest silence was {span(longest.silence_ns)} from {clock(longest.silence_at_ns)}"
    return said


def before(side: Side) -> str:
    """What went not smoothly on the packets of one side; empty where all did."""
    said: list[str] = []
    if side.retransmits:
        detail = [f"{side.fast_retransmits} fast"] if side.fast_retransmits else []
        detail += [f"{side.spurious} needlessly"] if side.spurious else []
        said.append(
            counted(side.retransmits, "retransmission") + (f" ({', '.join(detail)})" if detail else "")
        )
    if side.reordered:
        said.append(f"{counted(side.reordered, 'packet')} overtaken")
    if side.zero_windows:
        said.append(f"{counted(side.zero_windows, 'closed window')} ({span(side.zero_ns)} altogether)")
    if side.window_probes:
        said.append(counted(side.window_probes, "window probe"))
    if side.probes:
        answered = "all" if side.probes_answered >= side.probes else str(side.probes_answered or "none")
        seen = f" ({answered} answered)" if side.other.packets else ""
        said.append(counted(side.probes, "keepalive probe") + seen)
    if side.fins > 1:
        said.append(f"FIN sent {side.fins} times")
    return f"{role(side)}: {', '.join(said)}" if said else ""


def remarks(report: Report) -> list[str]:
    """What limits these conclusions."""
    connection = report.connection
    said: list[str] = []
    one = connection.one_sided
    if one is not None:
        said.append(
            f"only the {role(one)}'s packets were captured: the other way takes another path, or the filter left it out"
        )
    for side in connection.sides:
        if side.missing:
            said.append(
                f"the capture lacks {size(side.missing)} of the {role(side)} in {counted(side.holes, 'place')}"
            )
    if connection.captured_twice:
        said.append(f"{counted(connection.captured_twice, 'packet')} captured twice, counted once")
    if report.same_as is not None:
        said.append(f"this is #{report.same_as} again, seen with other addresses (translated on the way)")
    if connection.finish is Finish.CROWDED:
        said.append("later packets of it would be told as another connection")
    if (
        report.closing.how in (How.OPEN, How.STALLED, How.HALF_CLOSED)
        and connection.finish is Finish.CAPTURE_ENDED
    ):
        quiet = connection.capture_ends_ns - connection.last_ns
        if quiet > DARK_AFTER_NS:
            said.append(f"nothing of it was captured in the last {span(quiet)}")
    return said


def block(report: Report, width: int = 100) -> list[str]:
    """The connection in a few lines, the first one flush left."""
    connection, end, verdict = report.connection, report.closing, report.verdict
    pairs: list[tuple[str, str]] = [("opened", opened(connection)), ("carried", carried(connection))]
    pairs += [("noticed", said) for side in connection.sides if (said := before(side))]
    if end.how not in (How.OPEN, How.STALLED, How.REUSED):
        pairs.append(("ended", f"{clock(end.at_ns)}{_last_payloads(end)}"))
    pairs += [("", note) for note in end.notes]
    pairs += [("note", said) for said in remarks(report)]
    if verdict is not None and not (end.how is How.REFUSED and verdict.grade is Grade.UNKNOWN):
        head = made_by(verdict, end.reset or connection.resets[0])
        pairs.append(
            (
                "likely" if verdict.certain else "suspected" if verdict.grade is not Grade.UNKNOWN else "?",
                head,
            )
        )
        pairs += [("  for", text) for text in verdict.for_it]
        pairs += [
            ("  against" if verdict.grade is not Grade.UNKNOWN else "  but", text) for text in verdict.against
        ]
        pairs.append(("  settle", verdict.settle))
    title = f"#{connection.number} {where(connection.client)} > {where(connection.server)}  {ended(report)}"
    lines = textwrap.wrap(
        title, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    for label, text in pairs:
        lines += _labelled(label, text, width)
    return lines


def _labelled(label: str, text: str, width: int) -> list[str]:
    head = f"  {label.ljust(LABEL)}"
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def _last_payloads(end: Closing) -> str:
    said = [
        f"{span(ns)} after the {who}'s"
        for who, ns in (("client", end.client_silence_ns), ("server", end.server_silence_ns))
        if ns is not None
    ]
    return f", {' and '.join(said)} last payload" if said else ", before any payload"


_MADE = {
    Grade.PEER: "the {who} itself made this reset",
    Grade.LOST_STATE: "a box on the path made this reset, one that forgot the connection or refuses it; not the {who}",
    Grade.INJECTED: "this reset was injected by something on the path; not by the {who}",
    Grade.FIREWALL: "a firewall made this reset, on the {who}'s machine or where this was captured",
    Grade.UNKNOWN: "whether the {who} made this reset cannot be told from this capture",
}


def made_by(verdict: Verdict, reset: Reset) -> str:
    """Who made a reset, in a sentence."""
    return _MADE[verdict.grade].format(who=role(reset.side))


def story(report: Report, by: str, started_ns: int) -> list[Line]:
    """The connection as lines of a story that began at `started_ns` of wall time, to be merged with others' by time.

    `by`: who saw it, for example `capture client.pcap`; must be safe to print.
    """
    connection, end = report.connection, report.closing
    name = f"{where(connection.client)} > {where(connection.server)}"
    told = [(connection.began_ns, "Opened", f"{name}: opened {opened(connection)}.")]
    for side in connection.sides:
        who = f"{name}: the {role(side)}"
        if side.silence_ns >= 10_000_000_000:
            text = f"{who} began a silence of {span(side.silence_ns)}."
            told.append((side.silence_at_ns, "Silence", text))
        if side.retransmits or side.probes or side.zero_windows:
            told.append((side.last_ns, "Noticed", f"{name}: by here, {before(side)}."))
    if end.how is not How.OPEN:
        notes = f": {'; '.join(end.notes)}" if end.notes else ""
        told.append((end.at_ns, "Ended", f"{name}: {ended(report)}{notes}."))
    if report.verdict is not None:
        reset = end.reset or connection.resets[0]
        why = f" ({report.verdict.for_it[0]})" if report.verdict.for_it else ""
        word = "" if report.verdict.certain or report.verdict.grade is Grade.UNKNOWN else "Suspected: "
        told.append((reset.at_ns, "Reset", f"{name}: {word}{made_by(report.verdict, reset)}{why}."))
    return [Line((at - started_ns) / 1e9, kind, text, by) for at, kind, text in sorted(told)]


# ----- for programs


def as_json(report: Report, file: str) -> dict[str, Any]:
    """The connection as plain values; docs/captures.md says what each field is."""
    connection, end, verdict = report.connection, report.closing, report.verdict
    return {
        "file": file,
        "number": connection.number,
        "client": _side_json(connection.client),
        "server": _side_json(connection.server),
        "client_known_by": connection.known_by.name.lower(),
        "began_ns": connection.began_ns,
        "last_ns": connection.last_ns,
        "handshake": "whole"
        if connection.whole_handshake
        else "none"
        if connection.joined_in_the_middle
        else "part",
        "one_sided": role(connection.one_sided) if connection.one_sided else None,
        "let_go": connection.finish.value if connection.finish else None,
        "same_as": report.same_as,
        "proper": report.proper,
        "ended": {
            "how": end.how.name.lower(),
            "mechanism": end.mechanism.value if end.mechanism else None,
            "by": end.role or None,
            "at_ns": end.at_ns,
            "silence_s": _json_s(end.silence_ns),
            "client_silence_s": _json_s(end.client_silence_ns),
            "server_silence_s": _json_s(end.server_silence_ns),
            "quiet_before_trigger_s": _json_s(end.quiet_before_trigger_ns),
            "sentence": ended(report),
            "notes": list(end.notes),
        },
        "resets": [_reset_json(connection, reset) for reset in connection.resets],
        "reset_count": connection.reset_count,
        "verdict": None
        if verdict is None
        else {
            "grade": verdict.grade.name.lower(),
            "certain": verdict.certain,
            "for": list(verdict.for_it),
            "against": list(verdict.against),
            "settle": verdict.settle,
        },
        "remarks": remarks(report),
    }


def _json_s(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e9, 9)


def _side_json(side: Side) -> dict[str, Any]:
    address, port = side.endpoint
    return {
        "address": address,
        "port": port,
        "packets": side.packets,
        "bytes": side.bytes,
        "missing_bytes": side.missing,
        "holes": side.holes,
        "captured_twice": side.duplicates,
        "hops": side.hops if side.hops >= 0 else None,
        "rtt_s": _json_s(side.rtt_ns),
        "retransmits": side.retransmits,
        "retransmitted_bytes": side.retransmitted_bytes,
        "fast_retransmits": side.fast_retransmits,
        "spurious_retransmits": side.spurious,
        "reordered": side.reordered,
        "duplicate_acks": side.dup_acks,
        "zero_windows": side.zero_windows,
        "zero_window_s": _json_s(side.zero_ns),
        "window_probes": side.window_probes,
        "window_updates": side.window_updates,
        "keepalive_probes": side.probes,
        "keepalive_probes_answered": side.probes_answered,
        "longest_silence_s": _json_s(side.silence_ns),
        "longest_silence_at_ns": side.silence_at_ns or None,
        "last_payload_ns": side.last_data_ns or None,
        "syns": side.syns,
        "fin_ns": side.fin_ns,
        "fin_acked_ns": side.fin_acked_ns,
        "unacked_bytes": side.in_flight,
    }


def _reset_json(connection: Connection, reset: Reset) -> dict[str, Any]:
    return {
        "by": role(reset.side),
        "at_ns": reset.at_ns,
        "seq": reset.seq,
        "seq_offset": reset.offset,
        "ack": reset.ack,
        "window": reset.window,
        "hops": reset.hops,
        "ip_id": reset.ip_id if reset.ip_id >= 0 else None,
        "timestamp": reset.timestamp,
        "packets_after": reset.packets_after,
        "payload_after": reset.data_after,
    }
