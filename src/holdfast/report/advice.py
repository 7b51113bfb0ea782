"""What to do now, by what broke. Nothing is advised that the flight shows to be in force or to be of no use here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.report.breaks import CLIENT, HERE, UPSTREAM, Break, back_after_s
from holdfast.report.claims import Added, Advice


def advice(
    turn: StoredTurn, main: Break, added: Sequence[Added] = (), cut: Row | None = None
) -> tuple[Advice, ...]:
    record, said = turn.record, list[Advice]()
    if turn.kept_bytes is not None:
        said.append(
            Advice(
                "The answer is kept for some days: save it before it expires.",
                f"holdfast attic save {record.turn_id}",
            )
        )
    if cut is not None and cut.lost:
        said.append(
            Advice(
                "Ask it again in smaller pieces: each answer broke, and a larger limit of tokens changes nothing."
            )
        )
        said.append(
            Advice(
                "To be told an error at the first such break, and not after the last rest:",
                _command(record, "--no-shorten"),
            )
        )
    doomed = is_doomed(record, main)
    limits = [one for one in added if one.own_limit and one.verdict != "contradicts"]
    if limits:
        said += list(dict.fromkeys(_raise_limit(one) for one in limits[:3]))
    else:
        said += _against_doom(record) if doomed else _by_what_broke(record, main)
    ids = any(
        isinstance(one, m.HeadersArrived) and (one.request_id or one.edge_id) for _, one in record.moments
    )
    providers = main.ending is not None and main.ending.side is Side.PROVIDER
    if ids and main.met == UPSTREAM and providers and not doomed and not limits:
        said.append(
            Advice(
                "Report it to the provider with the request ids above; the report is de-identified.",
                f"holdfast flight {record.turn_id} --format issue",
            )
        )
    if doomed:
        said.append(Advice("What doomed means:", "holdfast explain doomed"))
    elif main.ending is not None:
        said.append(Advice("What this ending means:", f"holdfast explain {main.ending.code}"))
    return tuple(said)


_LIMITS = {
    "nginx": "`proxy_read_timeout` (60 s unless it is set)",
    "HAProxy": "`timeout server`, and `timeout client`",
    "Envoy": "the route's `timeout` and `idle_timeout`, and `stream_idle_timeout`",
    "Caddy": "`read_timeout` of its `reverse_proxy` transport",
    "Traefik": "`responseHeaderTimeout` of its transport, `readTimeout` and `writeTimeout` of its entry point",
}
"Which setting a program's waiting is; as its manual names it."


def _raise_limit(one: Added) -> Advice:
    who = one.program or "the program between"
    setting = _LIMITS.get(one.program, "what its manual calls it")
    if one.program == "nginx" and (_CLIENTS in one.says or "408" in one.says):
        setting = "`send_timeout`, or for the request `client_body_timeout`"
    return Advice(
        f"Raise the limit of {who} that ran out, as {one.place} says: {setting}, beyond the longest silence."
    )


_CLIENTS = "for its client"


def is_doomed(record: TurnRecord, main: Break) -> bool:
    """Whether the gateway found that this request breaks at the same place each time."""
    ended_so = any(
        one is not None and one.mechanism is Mechanism.DOOMED for one in (main.ending, record.ending)
    )
    return ended_so or any(isinstance(one, m.RequestDoomed) for _, one in record.moments)


def is_dark(main: Break) -> bool:
    """Whether the path went dark: nobody closed anything, and nothing came any more."""
    return main.ending is not None and main.ending.mechanism in _DARK


_DARK = frozenset((Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED))


def _command(record: TurnRecord, options: str) -> str:
    """The command line for the way by which this turn's client came."""
    if record.profile.startswith("claude-code") or record.agent.startswith("claude-cli"):
        return f"holdfast run{_upstream(record)} {options} -- claude"
    return f"holdfast serve{_upstream(record)} {options}"


_PLAIN_ORIGIN = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-fA-F:]+\](:[0-9]+)?", re.ASCII
)


def _upstream(record: TurnRecord) -> str:
    """The option that names this turn's upstream, where it is not the usual one. Its path is not recorded."""
    if record.upstream in ("", USUAL_UPSTREAM) or not _PLAIN_ORIGIN.fullmatch(record.upstream):
        return ""
    plain = record.upstream.startswith("http:") and not _LOOPBACK.match(record.upstream)
    return f" --upstream {record.upstream}{' --allow-plain-upstream' if plain else ''}"


_LOOPBACK = re.compile(r"http://(localhost|127\.[0-9.]+|\[::1\])(:|$)")
USUAL_UPSTREAM: Final = "https://api.anthropic.com"


def _against_doom(record: TurnRecord) -> list[Advice]:
    said = [
        Advice(
            "Do not ask it again as it is: it broke at the same place each time. Compact the conversation (/compact in "
            "Claude Code), or ask for less at once, or in parts."
        ),
    ]
    # With that setting the client is answered with 400, else with 424.
    if not any(isinstance(one, m.AnsweredLocally) and one.status == 400 for _, one in record.moments):
        said.append(
            Advice(
                "Let the gateway answer so that the client compacts by itself, where it is one that does.",
                _command(record, "--on-doomed compact"),
            )
        )
    if not any(isinstance(one, m.RequestEdited) and "image" in one.edit for _, one in record.moments):
        said.append(
            Advice(
                "Or, where images make it so large, have those of earlier turns left out.",
                _command(record, "--on-doomed strip-images"),
            )
        )
    said.append(
        Advice(
            "Or wait a minute: then the same request is sent on again. Better over another network, or without VPN or "
            "proxy: something on the way seems to end it there."
        )
    )
    return said


def _by_what_broke(record: TurnRecord, main: Break) -> list[Advice]:
    if main.ending is None:
        return [
            Advice(
                "Nothing: it was waited out. How long that may take is a setting.",
                _command(record, "--outage-patience 30m"),
            )
        ]
    ending = main.ending
    if is_dark(main):
        return _against_the_dark(record, main)
    if main.met == CLIENT and main.verdict in ("gave_up", "cancelled", "lost"):
        return _for_the_client(record, main, ending.phase)
    match ending.mechanism:
        case Mechanism.REFUSED | Mechanism.UNREACHABLE | Mechanism.DNS | Mechanism.TLS | Mechanism.PROXY:
            return [
                Advice(
                    f"See what the settings are, and whether upstream ({record.upstream}) is right.",
                    _command(record, "--check"),
                )
            ]
        case Mechanism.HTTP_ERROR | Mechanism.STREAM_ERROR:
            return [
                Advice(
                    "Whoever answered said so itself: see what the provider publishes about it.",
                    "holdfast probe status",
                )
            ]
        case Mechanism.DEADLINE:
            return [
                Advice(
                    "It is a limit of this gateway's; its setting is in the reference.",
                    "holdfast serve --help",
                )
            ]
        case _ if main.met == UPSTREAM and (main.remedy is None or not main.mended):
            return _asking_again(record)
        case _ if main.met == HERE:
            return [Advice("Read the gateway's own log at that time.")]
        case _:
            return []


def _for_the_client(record: TurnRecord, main: Break, phase: Phase) -> list[Advice]:
    by_itself = main.verdict == "gave_up" or (
        main.verdict == "cancelled" and back_after_s(record, main) is not None
    )
    if not by_itself:
        return []
    if without_streaming(record):
        return [
            Advice(
                "Raise the client's own limit on a whole request, or let it stream: an answer without streaming has no "
                "place for a keepalive, so that the gateway cannot hold the client."
            )
        ]
    said = []
    if not record.keepalives:
        said.append(
            Advice(
                "Let the gateway hold the client in silences: none was held in this turn. The default, a keepalive "
                "after 10 s, does it for every client that was measured.",
                _command(record, "--keepalive 10s"),
            )
        )
    edits = {one.edit for _, one in record.moments if isinstance(one, m.RequestEdited)}
    if phase is Phase.IN_TOOL_USE and "unbuffer" not in edits:
        said.append(
            Advice(
                "Ask for tool arguments as they are written, so that a giant one is not a silence.",
                _command(record, "--unbuffer"),
            )
        )
    return said


def without_streaming(record: TurnRecord) -> bool:
    """Whether the flight shows that the client asked for one whole answer; False also where it does not show it."""
    for _, moment in record.moments:
        match moment:
            case m.ReaderJoined(how="fallback"):
                return True
            case m.ReaderLeft(ending=ending, limit=limit) if (
                ending.phase is Phase.IN_BODY or "without streaming" in (limit or "")
            ):
                return True
            case m.HeadersArrived(status=200, content_type=kind) if kind.startswith("application/json"):
                return True
            case _:
                pass
    return False


def _against_the_dark(record: TurnRecord, main: Break) -> list[Advice]:
    way = "between client and gateway" if main.met == CLIENT else "between gateway and upstream"
    return [
        Advice(
            f"Have TCP probe the way {way} sooner and more often than what forgets it: a NAT or a VPN drops connections "
            "that are quiet for some minutes or less.",
            _command(record, "--tcp-keepalive 10/5/4"),
        ),
        Advice(
            "Look at what stands on that way: the NAT's (router's, VM's) limit on idle connections, and a VPN that was "
            "re-keyed or left at that second."
        ),
    ]


USED_UP = "used up"


def _asking_again(record: TurnRecord) -> list[Advice]:
    """Only a budget that was used up is helped by a larger one."""
    why = [one.why for _, one in record.moments if isinstance(one, m.NotAskedAgain)]
    if any(USED_UP in one for one in why):
        more = "Let it be asked again more often, within the client's own patience."
        return [Advice(more, _command(record, "--retries 5"))]
    if any(one.startswith("nothing fits") for one in why):
        return [
            Advice(
                "Ask it again yourself: the client had heard too much of the answer for another to be put behind it, so "
                "that more retries of the gateway's would change nothing."
            )
        ]
    if why:
        return [
            Advice(
                f"A larger count of retries would not have helped: it was not asked again because {why[-1]}."
            )
        ]
    return []
