"""One small JSON document of a public page: asked for once, without a key, of bounded size and time."""

from __future__ import annotations

import json
import zlib
from typing import Any

from holdfast.probes import http
from holdfast.probes.asking import HANDSHAKE_BYTES, Cost, Options
from holdfast.probes.handshake import first_address
from holdfast.probes.net import Stop, pump, reach
from holdfast.probes.target import Target

MOST_BYTES = 100_000
"On the wire, packed as servers pack what is asked for so: half a megabyte of incidents comes as 30 to 60 kB."
MOST_UNPACKED = 2_000_000
COST = Cost(1, HANDSHAKE_BYTES + MOST_BYTES, 1.0)
"Of one."


class NotRead(Exception):
    """No document came; the text says why, in a clause."""


def fetch(target: Target, path: str, options: Options, stop: Stop) -> Any:
    """Ask once. Raises `NoConnection`, `NotRead`."""
    wire = reach(target, first_address(target, options, stop), options.patience_s, stop)
    try:
        wire.most_kept = http.LONGEST_HEAD + MOST_BYTES
        wire.write(http.document(target, path))
        pump(
            [wire],
            options.patience_s,
            stop,
            lambda: bool(wire.dropped_bytes) or _body(wire.received) is not None,
        )
        if wire.dropped_bytes:
            raise NotRead(f"the answer is larger than {MOST_BYTES // 1000} kB")
        return read(wire.received, ended=wire.ended is not None, stopped=stop())
    except ValueError as error:
        raise NotRead(str(error)) from None
    finally:
        wire.close()


def read(received: bytes | bytearray, *, ended: bool, stopped: bool = False) -> Any:
    """The document in an answer. Raises `NotRead`, and `ValueError` for what is not HTTP."""
    found = http.head_of(received)
    body = _body(received, ended=ended)
    if found is None or body is None:
        raise NotRead(
            "interrupted" if stopped else "the answer was cut" if ended else "no whole answer came in time"
        )
    answer, _ = found
    if answer.status != 200:
        where = answer.get("location")
        raise NotRead(f"it answered {answer.status}" + (f", and names {where}" if where else ""))
    try:
        return json.loads(_unpacked(body, answer.get("content-encoding") or ""))
    except (ValueError, RecursionError):
        raise NotRead("the answer is no JSON") from None


def _body(received: bytes | bytearray, *, ended: bool = False) -> bytes | None:
    """The body as it came over the wire; None as long as it is not whole. Raises `ValueError` for what is not HTTP."""
    found = http.head_of(received)
    if found is None:
        return None
    answer, begin = found
    rest = bytes(received[begin:])
    if "chunked" in (answer.get("transfer-encoding") or "").lower():
        return _chunks(rest)
    length = answer.get("content-length")
    if length is None:
        return rest if ended else None
    if not (length.isascii() and length.isdigit()):
        raise ValueError("the answer's length is no number")
    return rest[: int(length)] if len(rest) >= int(length) else None


def _chunks(rest: bytes) -> bytes | None:
    found, at = list[bytes](), 0
    while (end := rest.find(b"\r\n", at)) >= 0:
        word = rest[at:end].partition(b";")[0].strip()
        if not word or word.strip(b"0123456789abcdefABCDEF"):
            raise ValueError("the answer's pieces have no length")
        size, at = int(word, 16), end + 2
        if not size:
            return b"".join(found)
        if at + size + 2 > len(rest):
            return None
        found.append(rest[at : at + size])
        at += size + 2
    return None


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Raises `NotRead` for what is packed otherwise than was asked for, or grows beyond measure."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() != "gzip":
        raise NotRead("the answer is packed in a way that was not asked for")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        plain = unpacking.decompress(body, MOST_UNPACKED)
    except zlib.error:
        raise NotRead("the answer cannot be unpacked") from None
    if unpacking.unconsumed_tail:
        raise NotRead(f"the answer is larger than {MOST_UNPACKED // 1_000_000} MB")
    return plain
