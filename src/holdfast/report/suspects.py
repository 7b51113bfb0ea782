"""Who could have done it, and whom the evidence lets go. Not measured is never ruled out."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Side
from holdfast.flight.flights import duration, size
from holdfast.flight.record import TurnRecord
from holdfast.report.breaks import (
    CLIENT,
    OUTAGE,
    UPSTREAM,
    Break,
    Clocks,
    asleep_s,
    breaks,
    last_word_s,
    next_word_s,
    told,
)
from holdfast.report.claims import Added, Grade, Suspect, short

FRESH_S = 1.0
"An acknowledgement so shortly before the break shows that the path still worked; an older one only that it had."
NEARBY_MS = 1.0
"A round trip so short stays in the house."
FAR = "loss of packets between gateway and upstream"
CLOCKS_AGREE_S = 2.0
"The two clocks may drift apart by this much without a sleep (`flights.SLEEP_S`)."


def suspects(
    record: TurnRecord, main: Break, clock: Clocks, added: Sequence[Added] = ()
) -> tuple[Suspect, ...]:
    """Everybody who could have done it, each with what the evidence says."""
    return tuple(
        one
        for one in (
            _unasked(record, "the provider") or _provider(record, main, clock),
            _client_suspect(record, main),
            _network(main, clock, near=True) if main.met == CLIENT else None,
            _unasked(record, FAR) or _far(record, main, clock),
            _between(main, added),
            _gateway(record, main),
            _machine(record),
        )
        if one is not None
    )


def _unasked(record: TurnRecord, who: str) -> Suspect | None:
    """Of those beyond the gateway, where it asked nobody in this turn."""
    local = any(isinstance(one, m.AnsweredLocally) for _, one in record.moments)
    if not local or any(isinstance(one, m.AttemptStarted) for _, one in record.moments):
        return None
    why = "The gateway answered by itself: in this turn nothing was sent to upstream."
    return Suspect(who, "ruled out", Grade.CERTAIN, (why,))


def _far(record: TurnRecord, main: Break, clock: Clocks) -> Suspect:
    return _far_network(record, main) if main.met == CLIENT else _network(main, clock, near=False)


def _provider(record: TurnRecord, main: Break, clock: Clocks) -> Suspect:
    who = "the provider"
    status = next((one.status for _, one in record.moments if isinstance(one, m.HeadersArrived)), None)
    if main.met != CLIENT:
        if main.ending is not None and main.ending.mechanism in (
            Mechanism.STREAM_ERROR,
            Mechanism.HTTP_ERROR,
        ):
            return Suspect(
                who, "did it", Grade.LIKELY, ("It, or its edge, said so itself.", *_witnessed(record))
            )
        if main.ending is not None and main.ending.side is Side.PROVIDER:
            return Suspect(
                who, "not ruled out", Grade.LIKELY,
                ("The break came in from upstream's side: from the provider, its edge, or a box in its name.",
                 *((f"It had answered with {status} before.",) if status is not None else ()),
                 *_witnessed(record)),
            )  # fmt: skip
        if main.ending is None:
            after = f"; it answered with {status} afterwards" if status is not None else ""
            return Suspect(
                who, "not ruled out", Grade.CANNOT_TELL, (f"It could not be reached: {main.why}{after}.",)
            )
        answered = (_unanswered(record),)
        if status is not None:
            answered = (f"It had answered with {status} on this turn.",)
        return Suspect(who, "not ruled out" if status is None else "ruled out", Grade.LIKELY, answered)
    why = []
    if status is not None:
        why.append(f"It had answered with {status}, {_before(record, m.HeadersArrived, main.at_s)}.")
    spoke, later = last_word_s(record, main.at_s), next_word_s(record, main.at_s)
    if clock.upstream_s is not None and clock.upstream_s >= 5:
        why.append(
            f"It had said nothing for {duration(clock.upstream_s)}: it did not close anything, but its silence is what "
            "the client waited through."
        )
    elif spoke is not None:
        why.append(f"It had last begun something new {duration(main.at_s - spoke)} before.")
    if later is not None:
        why.append(f"It was alive: it went on {duration(later - main.at_s)} later, on the same connection.")
        return Suspect(who, "ruled out", Grade.CERTAIN, tuple(why))
    stopped = next((one for _, one in record.moments if isinstance(one, m.UpstreamStopped)), None)
    if stopped is not None:
        why.append("Its connection was still open when the gateway closed it afterwards.")
        return Suspect(who, "ruled out", Grade.CERTAIN, tuple(why))
    if any(one.met == UPSTREAM and one.at_s <= main.at_s for one in breaks(record)):
        return Suspect(
            who, "not ruled out", Grade.LIKELY, (*why, "Its connection had broken before the client left.")
        )
    return Suspect(
        who, "ruled out" if why else "not measured", Grade.LIKELY, tuple(why) or (_unanswered(record),)
    )


def _unanswered(record: TurnRecord) -> str:
    if any(isinstance(one, m.RequestSent) for _, one in record.moments):
        return "It had been sent the request, and had not answered."
    return "It was not reached."


def _before(record: TurnRecord, kind: type[m.HeadersArrived], at_s: float) -> str:
    for at, moment in reversed(record.moments):
        then_s = at.mono_s - record.started.mono_s
        if isinstance(moment, kind) and then_s <= at_s:
            return f"{duration(at_s - then_s)} before"
    return "afterwards"


def _client_suspect(record: TurnRecord, main: Break) -> Suspect:
    who = "the client"
    if main.met == CLIENT:
        if main.ending is not None and main.ending.side is Side.CLIENT:
            return Suspect(
                who, "did it", Grade.CERTAIN, ("Its side of the connection closed, nobody else's.",)
            )
        return Suspect(who, "not ruled out", Grade.CANNOT_TELL, ("Its connection died without a word.",))
    left = [one for one in breaks(record) if one.met == CLIENT and one.at_s <= main.at_s]
    if left:
        return Suspect(
            who, "not ruled out", Grade.LIKELY,
            (f"A connection of its own had ended {duration(main.at_s - left[-1].at_s)} before.",),
        )  # fmt: skip
    joined = any(isinstance(one, m.ReaderJoined) for _, one in record.moments)
    return Suspect(
        who, "ruled out", Grade.CERTAIN if joined else Grade.LIKELY,
        ("Its connection to the gateway was open throughout." if joined else "It still waited for an answer.",),
    )  # fmt: skip


def _network(main: Break, clock: Clocks, *, near: bool) -> Suspect:
    """The path to the peer whose connection broke."""
    who = "loss of packets between client and gateway" if near else FAR
    facts = main.ending.evidence if main.ending else {}
    dead = main.ending is not None and main.ending.mechanism.rule is Mechanism.KEEPALIVE_UNANSWERED
    refused = main.ending is not None and main.ending.mechanism is Mechanism.REFUSED
    if refused or "refuses" in main.why or "resets" in main.why:
        return Suspect(
            who, "ruled out", Grade.CERTAIN, ("An answer came, if only a refusal: packets went both ways.",)
        )
    if main.ending is None or main.ending.side is Side.PATH or dead:
        return Suspect(
            who,
            "did it",
            Grade.LIKELY,
            (f"What went wrong is the path itself: {main.why or 'no sign of life'}.",),
        )
    measured = [
        name
        for name in ("last_ack_recv_ms", "unacked_bytes", "retransmits", "probes")
        if facts.get(name) is not None
    ]
    if not measured:
        return Suspect(
            who, "not measured", Grade.CANNOT_TELL, ("The kernel's view of this connection was not read.",)
        )
    lost = [name for name in ("retransmits", "probes") if facts.get(name)]
    why = []
    if clock.ack_s is not None:
        why.append(f"The other end's kernel had acknowledged {short(clock.ack_s)} before.")
    if facts.get("unacked_bytes") == 0:
        why.append("Nothing that had been sent was unacknowledged.")
    if facts.get("retransmits") == 0:
        why.append("No packet was being sent again.")
    if main.ending.mechanism in (Mechanism.RST, Mechanism.FIN, Mechanism.FIN_THEN_RST):
        why.append("The close itself came through: packets still crossed the path.")
    if lost or facts.get("unacked_bytes"):
        unconfirmed = facts.get("unacked_bytes")
        what = size(unconfirmed) if isinstance(unconfirmed, int) and unconfirmed else "something"
        why.append(f"But {what} was waiting for an acknowledgement at that moment.")
        return Suspect(who, "not ruled out", Grade.LIKELY, tuple(why))
    fresh = clock.ack_s is not None and clock.ack_s <= FRESH_S
    return Suspect(who, "ruled out", Grade.CERTAIN if fresh else Grade.LIKELY, tuple(why))


def _witnessed(record: TurnRecord) -> tuple[str, ...]:
    """What was answered by the same address right afterwards, where it was asked."""
    return tuple(flights.sentence(one) for _, one in record.moments if isinstance(one, m.EdgeWitnessed))


_PROXIES = (
    "nginx",
    "openresty",
    "haproxy",
    "envoy",
    "caddy",
    "traefik",
    "squid",
    "varnish",
    "apache",
    "litellm",
)
"Programs that mostly stand before others, as they name themselves in `server`."


def _between(main: Break, added: Sequence[Added]) -> Suspect | None:
    """A box on the path that closed in somebody's name: an added log may show it, one end can hardly exclude it."""
    box = "a box between (NAT, firewall, proxy, antivirus)"
    did = [one for one in added if one.own_limit and one.verdict != "contradicts"]
    if did:
        return Suspect(box, "did it", Grade.LIKELY, tuple(one.sentence() for one in did[:3]))
    other = [one for one in added if one.capture and "the path made this reset" in one.says]
    other += [one for one in added if one.capture and "injected by something on the path" in one.says]
    if other:
        return Suspect(box, "not ruled out", Grade.LIKELY, tuple(one.sentence() for one in other[:3]))
    there = [f"One stands there: {one.sentence()}" for one in added if one.between][:3]
    server = main.ending.evidence.get("server") if main.ending and main.met != CLIENT else None
    if isinstance(server, str) and server.lower().startswith(_PROXIES):
        there.append(f"One stands there, or before the provider: the answer's head names {server}.")
    if there and main.ending is not None and main.ending.side in (Side.CLIENT, Side.PROVIDER):
        return Suspect(box, "not ruled out", Grade.LIKELY, tuple(there))
    own = [
        one
        for one in added
        if one.capture and "itself made this reset" in one.says and "suspected:" not in one.says
    ]
    if own:
        return Suspect(box, "ruled out", Grade.LIKELY, tuple(one.sentence() for one in own[:3]))
    return _unseen_between(main)


def _unseen_between(main: Break) -> Suspect | None:
    """The same from our own end alone."""
    ending = main.ending
    if ending is None or ending.side not in (Side.CLIENT, Side.PROVIDER):
        return None
    who = "a box between (NAT, firewall, proxy, antivirus)"
    if ending.mechanism in _INSIDE_TLS:
        why = "It was said inside TLS where TLS was used, which a box can only do that breaks TLS open."
        return Suspect(who, "ruled out", Grade.LIKELY, (why,))
    if ending.mechanism not in (Mechanism.RST, Mechanism.FIN, Mechanism.FIN_THEN_RST, Mechanism.TORN):
        return None
    rtt = ending.evidence.get("rtt_ms")
    if ending.evidence.get("close_notify") is True:
        why = "TLS's close_notify came, which only the end of TLS can write; a box that breaks TLS open is such an end."
        return Suspect(who, "ruled out", Grade.LIKELY, (why,))
    if isinstance(rtt, int | float) and rtt < NEARBY_MS:
        why = f"The round trip is under {duration(NEARBY_MS / 1000)}: the other end is on this machine or next to it."
        return Suspect(who, "ruled out", Grade.LIKELY, (why,))
    why = "It can send the same packet in the other side's name, and nothing at this end tells them apart."
    vpn = (
        ("The packets left by a tunnel (VPN), whose far end is such a box.",)
        if ending.evidence.get("vpn")
        else ()
    )
    return Suspect(who, "not ruled out", Grade.CANNOT_TELL, (why, *vpn))


_INSIDE_TLS = frozenset((Mechanism.GOAWAY, Mechanism.STREAM_RESET, Mechanism.TLS_ALERT))


def _far_network(record: TurnRecord, main: Break) -> Suspect:
    """The path to upstream, where the client's connection broke."""
    who = FAR
    later = next_word_s(record, main.at_s)
    if later is not None:
        return Suspect(
            who, "ruled out", Grade.CERTAIN, (f"Upstream's next word came through {duration(later - main.at_s)} later.",)
        )  # fmt: skip
    broke = [one for one in breaks(record) if one.met in (UPSTREAM, OUTAGE)]
    if broke:
        return Suspect(who, "not ruled out", Grade.LIKELY, (f"It broke in this turn too: {told(broke[0])}",))
    return Suspect(
        who, "not measured", Grade.CANNOT_TELL,
        ("No packet of upstream's is on record near that moment; its connection was open, which says little.",),
    )  # fmt: skip


def _gateway(record: TurnRecord, main: Break) -> Suspect:
    who = "this gateway"
    ending = main.ending
    if ending is not None and ending.side is Side.GATEWAY:
        return Suspect(who, "did it", Grade.CERTAIN, (_as_sentence(ending.detail) or "It noted so itself.",))
    ours = [
        moment
        for at, moment in record.moments
        if isinstance(moment, m.UpstreamStopped | m.AnsweredLocally)
        and at.mono_s - record.started.mono_s < main.at_s - 0.001
    ]
    if ours:
        return Suspect(who, "not ruled out", Grade.LIKELY, tuple(flights.sentence(one) for one in ours[:2]))
    return Suspect(
        who, "ruled out", Grade.CERTAIN,
        ("None of its own limits had run out, and it had closed nothing before.",),
    )  # fmt: skip


def _as_sentence(clause: str) -> str:
    """A clause with a capital and a full stop."""
    text = clause.strip()
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _machine(record: TurnRecord) -> Suspect:
    who = "this machine (sleep, network changes)"
    slept = [one.slept_s for _, one in record.moments if isinstance(one, m.MachineSlept)]
    changed = [one.what for _, one in record.moments if isinstance(one, m.NetworkChanged)]
    apart = asleep_s(record)
    if slept or apart > CLOCKS_AGREE_S:
        return Suspect(
            who, "not ruled out", Grade.LIKELY,
            (f"It slept, or its clock was set: {duration(max([*slept, apart]))} during this turn.", *changed[:2]),
        )  # fmt: skip
    if changed:
        return Suspect(
            who, "not ruled out", Grade.LIKELY, tuple(f"Its network changed: {one}." for one in changed[:3])
        )
    return Suspect(
        who, "ruled out", Grade.CERTAIN,
        ("Its two clocks agree, so it did not sleep; no change of its network was noticed.",),
    )  # fmt: skip
