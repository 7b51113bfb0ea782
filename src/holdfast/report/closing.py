"""Who ended it and how we know, what every clock and counter showed, and why a client left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.flight import flights
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.flight.flights import duration, size
from holdfast.flight.record import TurnRecord
from holdfast.report.breaks import CLIENT, Break, Clocks, back_after_s, request_id
from holdfast.report.claims import Added, Claim, Grade, Seen, bare, short

SOON_S = 5.0
"A client that asks the same again within this time does it by itself: no person is so quick, twice."


_HOW_SEEN = {
    Mechanism.RST: "a TCP RST came in on {sock}",
    Mechanism.FIN: "a TCP FIN came in on {sock} before the answer's end",
    Mechanism.FIN_THEN_RST: "a FIN and then a RST came in on {sock}: it had stopped listening as well as speaking",
    Mechanism.KEEPALIVE_UNANSWERED: "probes on {sock} went unanswered: nobody closed it, nobody was there any more",
    Mechanism.TRUNCATED: "the HTTP body ended in order on {sock}, and the answer in it had not",
    Mechanism.STREAM_ERROR: "an error event stood in the stream on {sock}",
    Mechanism.HTTP_ERROR: "an error status came on {sock}",
    Mechanism.REFUSED: "the SYN was answered with a RST: nobody listens there, or a firewall says so",
    Mechanism.UNREACHABLE: "this machine's kernel had no way to send to that address",
    Mechanism.DNS: "the resolver gave no address",
    Mechanism.TLS: "the TLS handshake failed on {sock}",
    Mechanism.PROXY: "the HTTP proxy did not open the tunnel",
    Mechanism.GOAWAY: "an HTTP/2 GOAWAY frame came in on {sock}: whoever ends TLS there said it",
    Mechanism.STREAM_RESET: "an HTTP/2 RST_STREAM frame came in on {sock}, which itself stayed open",
    Mechanism.TORN: "a FIN came in on {sock} in the midst of a chunk or before the length announced",
    Mechanism.TLS_ALERT: "a TLS alert came in on {sock}: only an end of TLS can write one",
    Mechanism.TLS_BROKEN: "a TLS record on {sock} could not be read: bytes were changed or added on the way",
    Mechanism.UNACKNOWLEDGED: "what was sent on {sock} was never acknowledged, until TCP gave up",
    Mechanism.SLEPT: "{sock} was dead when this machine woke",
    Mechanism.ABORTED: "this machine's own kernel gave {sock} up (ECONNABORTED)",
    Mechanism.MALFORMED: "what came in on {sock} could not be relayed",
}


def closer(record: TurnRecord, main: Break, added: Sequence[Added] = ()) -> Claim:
    """Who ended it, and how we know. `added`: what others say of the connection that broke."""
    claim = _closer(record, main)
    said = [one for one in added if one.verdict in ("agrees", "adds", "contradicts")]
    against = [one for one in said if one.verdict == "contradicts" or (one.between and one.verdict == "adds")]
    settle = claim.settle
    if any(one.capture for one in added):
        settle = tuple(text for text in settle if not text.startswith(NEXT_CAPTURE))
    return replace(
        claim,
        speaks_for=(*claim.speaks_for, *(one.sentence() for one in said if one not in against)),
        speaks_against=(*claim.speaks_against, *(one.sentence() for one in against)),
        settle=settle,
    )


NEXT_CAPTURE = "A capture next to the "


def _closer(record: TurnRecord, main: Break) -> Claim:
    if main.ending is None:
        return Claim(
            "closer",
            f"Nobody closed anything: upstream could not be reached ({main.why}).",
            Grade.CERTAIN,
            (f"The first attempt to connect that failed was {duration(main.at_s)} after the turn's start.",),
        )
    ending, side = main.ending, main.ending.side
    ours = "our own socket"
    sock = "the client's connection" if main.met == CLIENT else "the connection to upstream"
    text = flights.ending_sentence(bare(ending), evidence=False)
    text = f"{text[0].upper()}{text[1:]}."
    how = _HOW_SEEN.get(ending.mechanism)
    seen = [f"Seen on {ours}: {how.format(sock=sock)}."] if how else []
    seen += [f"The error underneath: {ending.detail}."] if ending.detail else []
    seen += _order(ending)
    if side in (Side.GATEWAY, Side.MACHINE, Side.NOBODY):
        if ending.mechanism is Mechanism.PROCESS_ENDED:
            return Claim(
                "closer", text, Grade.LIKELY, ("The journal has no end for it, and its gateway is gone.",), (),
                ("A line of the gateway's own log that says how it ended.",),
            )  # fmt: skip
        return Claim(
            "closer", text, Grade.CERTAIN, tuple(seen) or ("It is our own doing, noted when it was done.",)
        )
    if side is Side.PATH:
        return Claim(
            "closer", text, Grade.CERTAIN, tuple(seen), (),
            ("A capture at the other end of the path: did our packets arrive there?",),
        )  # fmt: skip
    against: list[str] = []
    asked = request_id(record, main)
    settle: list[str] = [_their_log(asked, main)] if asked else []
    if ending.mechanism in (Mechanism.RST, Mechanism.FIN_THEN_RST):
        other = "client" if side is Side.CLIENT else "provider"
        against.append(
            f"A box between may send a RST in the {other}'s name; one end of a connection cannot tell."
        )
        settle.append(
            f"{NEXT_CAPTURE}{'client' if side is Side.CLIENT else 'gateway'} of the next break: "
            "the RST's TTL and IP id beside those of the packets before it."
        )
    return Claim("closer", text, Grade.CERTAIN, tuple(seen), tuple(against), tuple(settle))


def _their_log(asked: str, main: Break) -> str:
    """What the other side could show that would overturn it."""
    if main.met == CLIENT:
        return f"The provider's log for {asked}, if it shows an end of its own before that second."
    return f"The provider's log for {asked}, if it shows no end of its own: then something between did it."


def _order(ending: Ending) -> list[str]:
    """What is known of FIN and RST and of TLS's own farewell."""
    facts, said = ending.evidence, []
    if facts.get("peer_closed") is True and ending.mechanism is not Mechanism.FIN:
        said.append("Order: a FIN had come before it.")
    elif facts.get("peer_closed") is False and ending.mechanism is Mechanism.RST:
        said.append("Order: no FIN came before the RST.")
    if facts.get("close_notify") is True:
        said.append("TLS's close_notify came: the end was meant, by whoever ends TLS.")
    elif facts.get("close_notify") is False:
        said.append("No TLS close_notify came: the program that speaks TLS did not say goodbye.")
    return said


_ERRORS = {"errno": "the error of the call that failed", "so_error": "the error that waited on the socket"}

_SAID = frozenset(
    (
        "tcp_state", "goaway", "stream_error", "tls_alert", "underneath", "interface", "context", "server", "via",
        "x_envoy_response_flags", "retry_after", "ratelimit",
    )
)  # fmt: skip
"Facts that are words; the others are numbers, and one that is not is none."

_STATE_SAYS = {
    "CLOSE_WAIT": "the other side's FIN had come, ours had not gone",
    "ESTABLISHED": "no FIN and no RST had come",
    "FIN_WAIT2": "we had closed first",
    "LAST_ACK": "both sides had closed",
}


def _state_says(state: str, mechanism: Mechanism | None) -> str:
    """What TCP's state tells. CLOSE follows a reset as well as a timeout: which, tells how it was met."""
    if state != "CLOSE":
        return _STATE_SAYS.get(state, "the kernel's state of the connection")
    if mechanism is not None and mechanism.rule in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED):
        return "this machine's kernel had given it up by then: nothing had come back in time"
    if mechanism in (Mechanism.RST, Mechanism.FIN_THEN_RST):
        return "a RST had closed it by then"
    return "it was closed by then: by a reset or a timeout"


_SAYS: tuple[tuple[str, str, Callable[[Any], str], Callable[[Any], str]], ...] = (
    ("tcp_state", "TCP state", str, lambda v: _state_says(str(v), None)),
    ("unacked_bytes", "unacknowledged", lambda v: size(int(v)), lambda v: (
        "all that was sent had been acknowledged" if not v else "the other side had not confirmed these"
    )),
    ("retransmits", "retransmissions unanswered", str, lambda v: (
        "no packet was being sent again" if not v else "packets went out again and again without an answer"
    )),
    ("probes", "probes unanswered", str, lambda v: (
        "no probe was waiting for an answer" if not v else "the other side's kernel did not answer"
    )),
    ("total_retrans", "retransmissions in all", str, lambda v: (
        "the path lost nothing that had to be sent again" if not v else "the path lost packets at some time"
    )),
    ("rtt_ms", "round trip", lambda v: short(v / 1000), lambda v: (
        "the other end is on this machine or next to it" if v < 1 else "how far away the nearest TCP end is"
    )),
    ("close_notify", "TLS close_notify", lambda v: "came" if v else "did not come", lambda v: (
        "the end of TLS was said" if v else "TLS was cut off without a word"
    )),
    ("reused", "connection", lambda v: "kept from an earlier request" if v else "made for this request", lambda v: (
        "it may have been dead before the request was sent" if v else "it was alive when the request was sent"
    )),
    ("goaway", "HTTP/2 GOAWAY", str, lambda v: "the peer gave the connection up and said why"),
    ("stream_error", "HTTP/2 stream error", str, lambda v: "the peer ended this stream alone"),
    ("status", "HTTP status", str, lambda v: "as it was answered"),
    ("tls_alert", "TLS alert", str, lambda v: "what the peer's TLS said at the end"),
    ("snd_wnd_bytes", "room at the other side", lambda v: size(int(v)), lambda v: (
        "it did not read any more" if not v else "it was ready to take so much more"
    )),
    ("half_closed_ms", "held open after its FIN", lambda v: short(v / 1000), lambda v: "to see whether a reset followed"),
    ("slept_s", "slept", lambda v: duration(v), lambda v: "this machine, after upstream's last byte"),
    ("underneath", "as TCP told it", str, lambda v: "what explains it is told above"),
    ("interface", "packets left by", str, lambda v: "the kind of link towards upstream"),
    ("vpn", "VPN", lambda v: "yes" if v else "no", lambda v: (
        "a tunnel has timers and a size of packets of its own" if v else "no tunnel was on the way out of this machine"
    )),
    ("context", "context tier asked for", str, lambda v: "the long one may take another way through the provider"),
    ("answer_events", "events so far", str, lambda v: "how far the answer had come"),
    ("server", "written by", str, lambda v: "what names itself in the answer's head"),
    ("via", "via", str, lambda v: "proxies that named themselves"),
    ("x_envoy_response_flags", "Envoy's flags", str, lambda v: "why a proxy of the provider's ended it"),
    ("x_envoy_upstream_service_time_ms", "behind Envoy", lambda v: short(v / 1000), lambda v: "until the headers"),
    ("retry_after", "retry-after", str, lambda v: "when upstream wants to be asked again"),
    ("ratelimit", "rate limits", str, lambda v: "what upstream said of them"),
    ("session_turns", "turns of this session", str, lambda v: "under way at that moment"),
    ("open_turns", "turns of this gateway", str, lambda v: "under way at that moment"),
)  # fmt: skip


_ALWAYS = object()
_NO_NEWS: Mapping[str, object] = {"context": "standard", "session_turns": 1, "open_turns": 1}
"What is as always is not told."


def measured(main: Break, clock: Clocks) -> tuple[Seen, ...]:
    """Every measurement that bears on it, silences first."""
    rows: list[Seen] = []
    who = "the client" if main.met == CLIENT else "upstream"
    silences = (
        ("since the request", clock.request_s, "the whole exchange, for limits on its length"),
        ("since upstream's headers", clock.headers_s, "for limits that begin at the headers"),
        (f"silence on {who}'s connection", clock.byte_s, "since the last byte, keepalives included"),
        (
            "without an event that the client counts",
            clock.event_s,
            "what a watchdog of events would have measured",
        ),
        ("silence of upstream", clock.upstream_s, "since the provider's last byte"),
        ("age of the connection", clock.age_s, "for limits on a connection's life"),
        (
            "since the last acknowledgement",
            clock.ack_s,
            f"so lately {'the client' if main.met == CLIENT else 'the far end'}'s kernel was alive and reachable",
        ),
    )
    rows += [Seen(name, short(value), says) for name, value, says in silences if value is not None]
    facts = main.ending.evidence if main.ending else {}
    mechanism = main.ending.mechanism if main.ending else None
    for name, what in _ERRORS.items():
        number = facts.get(name)
        if isinstance(number, int) and not isinstance(number, bool) and number:
            rows.append(Seen(name, flights.error_name(number), what))
    rows += [
        Seen(
            shown,
            render(facts[name]),
            _state_says(str(facts[name]), mechanism) if name == "tcp_state" else says(facts[name]),
        )
        for name, shown, render, says in _SAYS
        if facts.get(name) != _NO_NEWS.get(name, _ALWAYS)
        and isinstance(facts.get(name), str if render is str and name in _SAID else int | float)
    ]
    return tuple(rows)


def reason(record: TurnRecord, main: Break, clock: Clocks) -> Claim | None:
    """Why a client left; for other breaks the closer and the timer say all there is."""
    if main.met != CLIENT:
        return None
    back_s = back_after_s(record, main)
    again = f"It asked the same again by itself, {duration(back_s)} later." if back_s is not None else ""
    quick = back_s is not None and back_s <= SOON_S
    silent = clock.byte_s
    match main.verdict:
        case "gave_up":
            limit = f"its {main.limit} limit" if main.limit else "one of its limits"
            after = f" of {duration(main.limit_s)}" if main.limit_s is not None else ""
            if main.limit == "told":
                limit, after = f"the time{after}", " that it told with its request"
            nearest = _nearest(main, clock)
            near = (
                f"It left when {duration(nearest)} had passed on that clock." if nearest is not None else ""
            )
            return Claim(
                "reason",
                f"The client gave up waiting: {limit}{after} ran out.",
                Grade.LIKELY,
                tuple(part for part in (near, again) if part),
                () if back_s is not None else ("It did not come back within this turn.",),
                ("The same request with that limit set to another value: the break must move with it.",),
            )
        case "cancelled" if quick:
            grace = (
                "The gateway took it for a cancel at first, and kept the answer for a moment all the same."
            )
            return Claim(
                "reason",
                "The client's program gave up by itself; it was no person's wish.",
                Grade.LIKELY,
                tuple(
                    part
                    for part in (
                        again,
                        f"It had heard nothing for {duration(silent)}."
                        if silent is not None and silent >= 5
                        else "",
                        grace,
                    )
                    if part
                ),
                ("None of the limits that were measured of this client explains the time.",),
                ("The client's own log at that second: a timeout of its own, or a key that was pressed.",),
            )
        case "cancelled":
            return Claim(
                "reason",
                "Taken for a cancel: somebody or something stopped it on purpose.",
                Grade.LIKELY,
                ("None of the client's limits that were measured was near.", again) if again else
                ("None of the client's limits that were measured was near.", "It did not ask the same again."),
                ("A limit that nobody has measured would look the same.",),
                ("The client's own log at that second.", "The same at the same age again: a timer, not a person."),
            )  # fmt: skip
        case "lost":
            return Claim(
                "reason", "The client's connection died under it; it did not choose to leave.", Grade.LIKELY,
                tuple(part for part in ("Its kernel had stopped answering.", again) if part), (),
                ("The client's machine: was it asleep, or off its network, at that second?",),
            )  # fmt: skip
        case "moved_on":
            return Claim(
                "reason", "The client had moved on: its command ended, or it asked something else instead.",
                Grade.CERTAIN, ("The gateway saw that happen at the same moment.",),
            )  # fmt: skip
        case _:
            return None


def _nearest(main: Break, clock: Clocks) -> float | None:
    """The clock that is nearest to the limit that was named."""
    shown = [
        value
        for value in (clock.byte_s, clock.event_s, clock.request_s, clock.headers_s)
        if value is not None
    ]
    if main.limit_s is None or not shown:
        return None
    limit_s = main.limit_s
    return min(shown, key=lambda value: abs(value - limit_s))
