"""Questions to one resolver, as bytes: RFC 1035, as much of it as A, AAAA, NS and TXT need. No waiting here.

The system's own call asks whichever resolver it likes and keeps what it heard. To see whether two of them agree, each
has to be asked by itself.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

KINDS: Final = {"A": 1, "NS": 2, "TXT": 16, "AAAA": 28}
CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
LARGEST: Final = 4096
"Bytes of an answer that are read."
MOST_RECORDS: Final = 64
_JUMPS: Final = 32
"A name may point into itself; nobody honest needs more."


@dataclass(frozen=True, slots=True)
class Reply:
    """What a resolver said."""

    values: tuple[str, ...]
    "Addresses, names or texts, sorted."
    error: str = ""
    "`NXDOMAIN`, `SERVFAIL`, ...; empty for none."
    truncated: bool = False
    ttl_s: int | None = None
    "The shortest of them."


def query(identity: int, name: str, kind: str) -> bytes:
    """A recursive question. Raises `ValueError` for a name that is none."""
    labels = name.rstrip(".").encode("idna").split(b".") if name.strip(".") else []
    if any(not 0 < len(label) < 64 for label in labels) or sum(len(label) + 1 for label in labels) > 254:
        raise ValueError(f"{name!r} is no name")
    asked = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack(">6H", identity, 0x0100, 1, 0, 0, 0) + asked + struct.pack(">2H", KINDS[kind], 1)


def reply(message: bytes, identity: int, kind: str) -> Reply:
    """Read an answer. Raises `ValueError` for what is none to this question."""
    try:
        return _reply(message, identity, kind)
    except (struct.error, IndexError):
        raise ValueError("the answer is cut short") from None


def _reply(message: bytes, identity: int, kind: str) -> Reply:
    number, flags, questions, answers, _, _ = struct.unpack_from(">6H", message)
    if number != identity or not flags & 0x8000:
        raise ValueError("that is no answer to this question")
    at = 12
    for _ in range(min(questions, 4)):
        _, at = _name(message, at)
        at += 4
    values, shortest = [], None
    for _ in range(min(answers, MOST_RECORDS)):
        _, at = _name(message, at)
        found, _, ttl, size = struct.unpack_from(">2HIH", message, at)
        at += 10
        if at + size > len(message):
            break
        if found == KINDS[kind]:
            values.append(_value(message, at, size, kind))
            shortest = ttl if shortest is None else min(shortest, ttl)
        at += size
    code = flags & 0x000F
    error = CODES.get(code, f"code {code}") if code else ""
    return Reply(tuple(sorted(set(values))), error, bool(flags & 0x0200), shortest)


def _value(message: bytes, at: int, size: int, kind: str) -> str:
    if kind == "NS":
        return _name(message, at)[0]
    if kind == "TXT":
        return _text(message[at : at + size])
    if size != (4 if kind == "A" else 16):
        raise ValueError("an address of the wrong size")
    return str(ipaddress.ip_address(message[at : at + size]))


def _text(record: bytes) -> str:
    """The pieces of a text, each with its length before it, as one. Raises `ValueError`."""
    pieces, at = [], 0
    while at < len(record):
        end = at + 1 + record[at]
        if end > len(record):
            raise ValueError("a text that cannot be read")
        pieces.append(record[at + 1 : end])
        at = end
    return b"".join(pieces).decode("ascii", "replace")


def _name(message: bytes, at: int) -> tuple[str, int]:
    """A name, and where what follows it begins."""
    labels: list[str] = []
    after: int | None = None
    for _ in range(_JUMPS + 128):
        size = message[at]
        if size & 0xC0 == 0xC0:
            after = at + 2 if after is None else after
            at = (size & 0x3F) << 8 | message[at + 1]
            continue
        if size & 0xC0:
            raise ValueError("a name that cannot be read")
        at += 1
        if not size:
            return ".".join(labels), at if after is None else after
        labels.append(message[at : at + size].decode("ascii", "replace"))
        at += size
    raise ValueError("a name without an end")
