"""What can be seen of a TLS connection without its keys: names, versions, plain alerts, records and silences.

What is encrypted is not guessed at, with one exception that is named as such: a last record of exactly an alert's
size is probably `close_notify`. RFC 8446, RFC 5246; memory is bounded whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from holdfast.captures.pieces import Piece
from holdfast.flight.redact import safe

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
LARGEST_RECORD: Final = 16384 + 2048
"TLS 1.2 allows that much; 1.3 allows 256 above 16,384."
LONGEST_HELLO: Final = 64 * 1024
"A ClientHello with post-quantum key shares has some 2 kB."
MOST_ALERTS: Final = 20

VERSIONS: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}
ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
    30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
    86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 112: "unrecognized_name", 113: "bad_certificate_status_response",
    115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip
_ALERT_13: Final = (2 + 1 + 8, 2 + 1 + 16)
"An encrypted alert of TLS 1.3: two bytes, the inner type, the tag (8 bytes with CCM_8, else 16)."


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert record that said its reason in plain text, or one that is encrypted."""

    at_s: float
    name: str
    "Empty where it is encrypted."
    fatal: bool | None = None
    "None where it is encrypted. TLS 1.3 has no warnings but close_notify and user_canceled."


@dataclass(slots=True)
class Side:
    """One direction's records."""

    records: int = 0
    application_records: int = 0
    application_bytes: int = 0
    "As encrypted: with tags and padding."
    bytes: int = 0
    alerts: list[Alert] = field(default_factory=list)
    first_at_s: float | None = None
    last_at_s: float | None = None
    longest_silence_s: float = 0.0
    "Between two application records."
    silence_began_s: float | None = None
    last_type: int | None = None
    last_length: int = 0
    missing: int = 0
    "Bytes that are not in the capture."
    found_again: int = 0
    "How often the records' boundaries had to be found again, behind a hole or at the capture's start."
    unfinished_bytes: int = 0
    "Of a record that was cut by the end."
    encrypted: bool = False
    "Whether this side had begun to encrypt."


@dataclass(slots=True)
class Tls:
    """What a TLS connection shows."""

    sni: str | None = None
    offered: tuple[str, ...] = ()
    "ALPN as the client offered it."
    selected: str | None = None
    "ALPN as the server chose; None where it did not, or said it encrypted (TLS 1.3)."
    version: str | None = None
    "As the server chose; None where its hello is not in the capture."
    offered_versions: tuple[str, ...] = ()
    client: Side = field(default_factory=Side)
    server: Side = field(default_factory=Side)
    hello_at_s: float | None = None
    server_hello_at_s: float | None = None
    retried: bool = False
    "The server asked for another hello (HelloRetryRequest)."

    @property
    def established(self) -> bool:
        """Whether both sides sent application data."""
        return bool(self.client.application_records and self.server.application_records)


class _Records:
    """One direction cut into records."""

    def __init__(self, tls: Tls, side: Side, *, client: bool) -> None:
        self.side = side
        self._tls, self._client = tls, client
        self._held = bytearray()
        self._skip = 0
        self._lost = False
        self._hello = bytearray()
        self._hellos_done = False
        self._heard_s: float | None = None

    def feed(self, piece: Piece) -> None:
        if piece.missing:
            self._hole(piece.missing)
        self.side.bytes += len(piece.data)
        data = memoryview(piece.data)
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        self._held += data
        while self._one(piece.at_s):
            pass

    def _hole(self, missing: int) -> None:
        self.side.missing += missing
        self._hellos_done = True
        if not self._held and missing <= self._skip:
            self._skip -= missing
        else:
            self._held.clear()
            self._skip = 0
            self._lost = True

    def finish(self) -> None:
        self.side.unfinished_bytes = len(self._held) + (1 if self._skip else 0)

    def _one(self, at_s: float) -> bool:
        held = self._held
        if self._skip or len(held) < 5:
            return False
        if self._lost or not _plausible(held, 0):
            return self._find_again()
        kind, length = held[0], int.from_bytes(held[3:5], "big")
        whole = kind in (ALERT, HANDSHAKE)  # looked into; others are only counted
        if whole and len(held) < 5 + length:
            return False
        self._count(at_s, kind, length, bytes(held[5 : 5 + length]) if whole else b"")
        here = min(5 + length, len(held))
        del held[:here]
        self._skip = 5 + length - here
        return bool(held)

    def _find_again(self) -> bool:
        """Look for a place where one record follows another, or where one ends with what there is."""
        held = self._held
        for at in range(len(held) - 4):
            if _plausible(held, at):
                end = at + 5 + int.from_bytes(held[at + 3 : at + 5], "big")
                if end == len(held) or (end + 5 <= len(held) and _plausible(held, end)):
                    del held[:at]
                    self._lost = False
                    self.side.found_again += 1
                    return True
        if len(held) > 2 * LARGEST_RECORD:
            del held[:-LARGEST_RECORD]
        return False

    def _count(self, at_s: float, kind: int, length: int, body: bytes) -> None:
        side = self.side
        side.records += 1
        side.last_type, side.last_length = kind, length
        if kind == APPLICATION_DATA:
            side.encrypted = True
            side.application_records += 1
            side.application_bytes += length
            if side.first_at_s is None:
                side.first_at_s = at_s
            if self._heard_s is not None and at_s - self._heard_s > side.longest_silence_s:
                side.longest_silence_s = at_s - self._heard_s
                side.silence_began_s = self._heard_s
            self._heard_s = side.last_at_s = at_s
        elif kind == CHANGE_CIPHER_SPEC:
            # In TLS 1.3 it is there for old boxes' sake and says nothing; the next record tells.
            side.encrypted = side.encrypted or self._tls.version not in (None, "TLS 1.3")
        elif kind == ALERT and len(side.alerts) < MOST_ALERTS:
            if length == 2 and not side.encrypted and body[0] in (1, 2):
                name = ALERTS.get(body[1], f"alert {body[1]}")
                side.alerts.append(Alert(at_s, name, body[0] == 2))
            else:
                side.alerts.append(Alert(at_s, ""))
        elif kind == HANDSHAKE and not self._hellos_done:
            self._hello += body
            self._read_hello(at_s)

    def _read_hello(self, at_s: float) -> None:
        hello = self._hello
        if len(hello) < 4:
            return
        length = int.from_bytes(hello[1:4], "big")
        if hello[0] != (1 if self._client else 2) or length > LONGEST_HELLO:
            self._hellos_done = True
            return
        if len(hello) < 4 + length:
            return
        body = bytes(hello[4 : 4 + length])
        self._hello.clear()
        self._hellos_done = True
        if self._client:
            self._tls.hello_at_s = at_s
            _client_hello(self._tls, body)
        else:
            if body[2:34] == _RETRY:
                self._tls.retried = True
                self._hellos_done = False
            self._tls.server_hello_at_s = at_s
            _server_hello(self._tls, body)


_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"The random of a HelloRetryRequest (RFC 8446, 4.1.3)."


def _plausible(held: bytearray | bytes, at: int) -> bool:
    return (
        CHANGE_CIPHER_SPEC <= held[at] <= 24
        and held[at + 1] == 3
        and held[at + 2] <= 4
        and 0 < int.from_bytes(held[at + 3 : at + 5], "big") <= LARGEST_RECORD
    )


class _Short(Exception):
    """A hello ends before what it announces."""


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise _Short
        self.at += size
        return self.data[self.at - size : self.at]

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def extensions(self) -> dict[int, bytes]:
        if self.at == len(self.data):
            return {}
        rest, found = _Cursor(self.vector(2)), dict[int, bytes]()
        while rest.at < len(rest.data):
            kind = rest.number(2)
            found.setdefault(kind, rest.vector(2))
        return found


def _client_hello(tls: Tls, body: bytes) -> None:
    try:
        cursor = _Cursor(body)
        legacy = cursor.number(2)
        cursor.take(32)
        for size in (1, 2, 1):  # session, ciphers, compression
            cursor.vector(size)
        extensions = cursor.extensions()
    except _Short:
        return
    versions = [legacy]
    try:
        if 0 in extensions:
            names = _Cursor(_Cursor(extensions[0]).vector(2))
            if names.number(1) == 0:
                tls.sni = safe(names.vector(2).decode("ascii", "replace"))
        if 16 in extensions:
            tls.offered = _protocols(extensions[16])
        if 43 in extensions:
            listed = _Cursor(extensions[43]).vector(1)
            versions = [int.from_bytes(listed[i : i + 2], "big") for i in range(0, len(listed) - 1, 2)]
    except _Short:
        pass
    tls.offered_versions = tuple(VERSIONS[v] for v in versions if v in VERSIONS)


def _server_hello(tls: Tls, body: bytes) -> None:
    try:
        cursor = _Cursor(body)
        version = cursor.number(2)
        cursor.take(32)
        cursor.vector(1)
        cursor.take(3)  # cipher, compression
        extensions = cursor.extensions()
        if 43 in extensions:
            version = _Cursor(extensions[43]).number(2)
        if 16 in extensions:
            tls.selected = next(iter(_protocols(extensions[16])), None)
    except _Short:
        return
    tls.version = VERSIONS.get(version, f"version {version:#06x}")


def _protocols(data: bytes) -> tuple[str, ...]:
    listed, found = _Cursor(_Cursor(data).vector(2)), list[str]()
    while listed.at < len(listed.data) and len(found) < 20:
        found.append(safe(listed.vector(1).decode("ascii", "replace")))
    return tuple(found)


class Reader:
    """Both directions of one connection, in the order of the capture. `feed`, then `finish`."""

    def __init__(self) -> None:
        self.tls = Tls()
        self._sides = (
            _Records(self.tls, self.tls.client, client=True),
            _Records(self.tls, self.tls.server, client=False),
        )

    def feed(self, piece: Piece, *, from_client: bool) -> None:
        """Take the next piece of one direction."""
        self._sides[not from_client].feed(piece)

    def finish(self) -> Tls:
        """No more comes."""
        for side in self._sides:
            side.finish()
        return self.tls


def looks_like_tls(data: bytes) -> bool:
    """Whether a direction's first bytes begin with a record, or may once more of them are there."""
    return bool(data) and (CHANGE_CIPHER_SPEC <= data[0] <= APPLICATION_DATA) and data[1:2] in (b"", b"\x03")


def read(pieces: Iterable[tuple[bool, Piece]]) -> Tls:
    """Both directions at once: `(from_client, piece)` in the order of the capture."""
    reader = Reader()
    for from_client, piece in pieces:
        reader.feed(piece, from_client=from_client)
    return reader.finish()


FAREWELLS: Final = {
    "said": "close_notify was said in plain text",
    "likely": "its last record has an alert's size, so it probably said close_notify",
    "not likely": "its last record is no alert, so it did not say close_notify",
    "unknown": "whether it said close_notify cannot be seen",
}


def farewell(tls: Tls, side: Side) -> str:
    """Whether this side ended TLS in order, as far as that can be seen: a key of `FAREWELLS`.

    An alert of TLS 1.2 has its own record type, encrypted or not. In TLS 1.3 only its size can be told, and two bytes
    of the application's own have that size as well.
    """
    if any(alert.name == "close_notify" for alert in side.alerts):
        return "said"
    if side.unfinished_bytes or not side.records:
        return "unknown"
    if side.last_type == ALERT:
        return "unknown" if side.alerts and side.alerts[-1].name else "likely"
    if side.last_type != APPLICATION_DATA:
        return "not likely"
    if tls.version == "TLS 1.3" or tls.version is None:
        return "likely" if side.last_length in _ALERT_13 else "not likely"
    return "not likely"
