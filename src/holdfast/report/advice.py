"""What to do now, by what broke."""

from __future__ import annotations

from holdfast.flight import moments as m
from holdfast.flight.endings import Mechanism, Phase
from holdfast.flight.reading import StoredTurn
from holdfast.flight.record import TurnRecord
from holdfast.report.breaks import CLIENT, HERE, UPSTREAM, Break, back_after_s
from holdfast.report.claims import Advice


def advice(turn: StoredTurn, main: Break) -> tuple[Advice, ...]:
    record, said = turn.record, list[Advice]()
    if turn.kept_bytes is not None:
        said.append(
            Advice(
                "The answer is kept for some days: save it before it expires.",
                f"holdfast attic save {record.turn_id}",
            )
        )
    said += _by_what_broke(record, main)
    if record.request_id and main.met == UPSTREAM:
        said.append(
            Advice(
                "Report it to the provider with the request ids below; the report is de-identified.",
                f"holdfast flight {record.turn_id} --format issue",
            )
        )
    if main.ending is not None:
        said.append(Advice("What this ending means:", f"holdfast explain {main.ending.code}"))
    return tuple(said)


def _by_what_broke(record: TurnRecord, main: Break) -> list[Advice]:
    if main.ending is None:
        return [
            Advice(
                "Nothing: it was waited out. How long that may take is a setting.",
                "holdfast run --outage-patience 30m -- claude",
            )
        ]
    ending = main.ending
    if main.met == CLIENT and main.verdict in ("gave_up", "cancelled", "lost"):
        said = []
        if main.verdict == "gave_up" or (
            main.verdict == "cancelled" and back_after_s(record, main) is not None
        ):
            if not record.keepalives:
                said.append(
                    Advice(
                        "Let the gateway hold the client in silences: none was held in this turn. The default, a keepalive "
                        "after 10 s, does it for every client that was measured.",
                        "holdfast run --keepalive 10s -- claude",
                    )
                )
            edits = {one.edit for _, one in record.moments if isinstance(one, m.RequestEdited)}
            if ending.phase is Phase.IN_TOOL_USE and "unbuffer" not in edits:
                said.append(
                    Advice(
                        "Ask for tool arguments as they are written, so that a giant one is not a silence.",
                        "holdfast run --unbuffer -- claude",
                    )
                )
        return said
    match ending.mechanism:
        case Mechanism.REFUSED | Mechanism.UNREACHABLE | Mechanism.DNS | Mechanism.TLS | Mechanism.PROXY:
            return [
                Advice(
                    f"See what the settings are, and whether upstream ({record.upstream}) is right.",
                    "holdfast serve --check",
                )
            ]
        case Mechanism.HTTP_ERROR | Mechanism.STREAM_ERROR:
            return [
                Advice("The provider said so itself: its status page, and its request id below, lead on.")
            ]
        case Mechanism.DEADLINE:
            return [
                Advice(
                    "It is a limit of this gateway's; its setting is in the reference.",
                    "holdfast serve --help",
                )
            ]
        case Mechanism.DOOMED:
            return [
                Advice(
                    "Change the request: it is too large, or takes too long, for something on its way. "
                    "Compact the conversation."
                )
            ]
        case _ if main.met == UPSTREAM and not record.healed:
            more = "Let it be asked again more often, within the client's own patience."
            return [Advice(more, "holdfast run --retries 5 -- claude")]
        case _ if main.met == HERE:
            return [Advice("Read the gateway's own log at that time.")]
        case _:
            return []
