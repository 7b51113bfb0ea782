"""Telling a client that there is no answer, or no more of it: honestly, and in the way that it understands.

By status where none was given yet, by an error event where a stream has begun. A JSON document that was begun
with white space has no place for an error: then the break itself says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.doomed import DO_NOT_RETRY, DoomedAnswer

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier
    from holdfast.gateway.readers import Reader


def say(
    carrier: Carrier,
    reader: Reader,
    status: int,
    kind: str,
    message: str,
    *,
    body: bytes | None = None,
    headers: bytes = b"",
) -> None:
    """Tell one error and end the answer. `body` and `headers` are what goes out where a status can be given."""
    if not reader.opened:
        carrier.note(m.ErrorSaid(status, kind))
        carrier.record.status = carrier.record.status or status
        if body is None:
            body = anthropic.error_body(kind, message, named_by(carrier))
        reader.refuse(status, body, headers)
    elif reader.speaks_events:
        carrier.note(m.ErrorSaid(None, kind))
        reader.finish_with(anthropic.error_event(kind, message, request_id=named_by(carrier)))
    else:
        reader.abort()


def named_by(carrier: Carrier) -> str:
    """What stands in an error's `request_id`: the provider's own id, to quote to it; else the turn's, for `flight`."""
    return carrier.record.request_id or carrier.record.turn_id


def say_ending(carrier: Carrier, reader: Reader, ending: Ending, advice: str) -> None:
    """Why there is no whole answer."""
    message = explanation(ending, advice, carrier.record.turn_id)
    error = carrier.events.error if ending.mechanism is Mechanism.STREAM_ERROR else None
    kind = "api_error" if error is None or reader.opened else str(error["type"])
    say(carrier, reader, 502 if error is None else anthropic.status_for_kind(kind), kind, message)


def say_doomed(carrier: Carrier, reader: Reader, answer: DoomedAnswer) -> None:
    """What was seen of a question that breaks again and again, so that the client does not ask it again."""
    say(
        carrier,
        reader,
        answer.status,
        answer.kind,
        answer.message,
        body=answer.body,
        headers=DO_NOT_RETRY,
    )


def say_status(carrier: Carrier, reader: Reader, status: int, body: bytes | None) -> None:
    """An error status of upstream's that came after the client was given a 200; `body` is as it came."""
    kind = anthropic.kind_for_status(status)
    carrier.note(m.ErrorSaid(None, kind))
    if body is None:
        reader.abort()
    else:
        reader.finish_with(anthropic.error_event(kind, f"upstream answered HTTP {status}", body=body))


def explanation(ending: Ending, advice: str, turn_id: str) -> str:
    """An ending for the client's user: what happened, what to try, where to read on."""
    # The advice of a failed connection begins with the detail; it is told once.
    told = [ending.detail] if ending.detail and not advice.startswith(ending.detail) else []
    said = "; ".join(part.rstrip(" .;:") for part in (*told, advice) if part)
    stop = "" if said.endswith(("?", "!")) else "."
    said = f": {said}" if said else ""
    return f"holdfast could not finish this answer ({ending.code}){said}{stop} See: holdfast flight {turn_id}"
