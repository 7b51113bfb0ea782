"""What is seen of a TLS connection without its keys."""

from __future__ import annotations

import itertools
import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from holdfast.captures import tls
from holdfast.captures.pieces import Piece

CA = trustme.CA()
CERTIFICATE = CA.issue_cert("api.test")


class Ends:
    """A client and a server of the ssl module, joined in memory; all that they say is noted."""

    def __init__(
        self,
        version: ssl.TLSVersion,
        *,
        trusting: bool = True,
        wanting_certificate: bool = False,
        alpn: tuple[str, ...] = ("http/1.1",),
    ) -> None:
        near, far = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if trusting:
            CA.configure_trust(near)
        CERTIFICATE.configure_cert(far)
        if wanting_certificate:
            far.verify_mode = ssl.CERT_REQUIRED
        near.maximum_version = version
        near.set_alpn_protocols(["h2", "http/1.1"])
        far.set_alpn_protocols(["http/1.1"])
        self.said: list[tuple[bool, Piece]] = []
        self.at_s = 0.0
        self._bios = [ssl.MemoryBIO() for _ in range(4)]
        self.client = near.wrap_bio(self._bios[0], self._bios[1], server_hostname="api.test")
        self.server = far.wrap_bio(self._bios[2], self._bios[3], server_side=True)

    def carry(self) -> None:
        for from_client, out, into in (
            (True, self._bios[1], self._bios[2]),
            (False, self._bios[3], self._bios[0]),
        ):
            if data := out.read():
                self.said.append((from_client, Piece(self.at_s, data)))
                into.write(data)

    def shake_hands(self) -> bool:
        for _ in range(4):
            for end in (self.client, self.server):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    self.carry()
                    return False
                self.carry()
        return True

    def speak(self, at_s: float, *, client: bool = False, data: bytes = b"x" * 100) -> None:
        self.at_s = at_s
        end, other = (self.client, self.server) if client else (self.server, self.client)
        end.write(data)
        self.carry()
        other.read(len(data))

    def part(self, at_s: float) -> None:
        self.at_s = at_s
        with pytest.raises(ssl.SSLWantReadError):
            self.server.unwrap()
        self.carry()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_names_versions_silences_and_farewells(version: ssl.TLSVersion) -> None:
    """SNI, ALPN, the version agreed on, the longest silence, and who took leave in order."""
    ends = Ends(version)
    assert ends.shake_hands()
    ends.speak(1, client=True)
    ends.speak(2)
    ends.speak(302)
    ends.speak(303)
    ends.part(304)
    told = tls.read(ends.said)
    newer = version is ssl.TLSVersion.TLSv1_3

    assert (told.sni, told.offered, told.established) == ("api.test", ("h2", "http/1.1"), True)
    assert told.version == ("TLS 1.3" if newer else "TLS 1.2")
    assert told.selected == (None if newer else "http/1.1")
    assert (told.server.longest_silence_s, told.server.silence_began_s) == (300, 2)
    assert tls.farewell(told, told.server) == "likely"
    assert tls.farewell(told, told.client) == "not likely"
    assert told.server.bytes == sum(len(piece.data) for client, piece in ends.said if not client)
    assert not told.server.unfinished_bytes and not told.client.unfinished_bytes


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_alert_in_plain_text_is_named(version: ssl.TLSVersion) -> None:
    """A client that does not trust the certificate says so before it has begun to encrypt, and everybody may read it."""
    ends = Ends(version, trusting=False)
    assert not ends.shake_hands()
    told = tls.read(ends.said)
    assert [(alert.name, alert.fatal) for alert in told.client.alerts] == [("unknown_ca", True)]
    assert tls.farewell(told, told.client) == "unknown" and not told.established


def test_an_encrypted_alert_is_not_named() -> None:
    """A server that misses the client's certificate says so encrypted: a record of that size is all there is to see."""
    ends = Ends(ssl.TLSVersion.TLSv1_3, wanting_certificate=True)
    assert not ends.shake_hands()
    told = tls.read(ends.said)
    assert not told.server.alerts and told.server.last_length == 19


def test_a_capture_with_holes_finds_the_records_again() -> None:
    """Behind a hole, and where the capture begins inside a record, counting goes on at the next boundary."""
    ends = Ends(ssl.TLSVersion.TLSv1_3)
    ends.shake_hands()
    for at in range(1, 9):
        ends.speak(at, data=b"y" * 5000)
    stream = [piece for client, piece in ends.said if not client]
    records = [piece for piece in stream if len(piece.data) > 5000]
    cut = [
        Piece(0, records[0].data[100:]),
        *records[1:4],
        Piece(5, records[5].data[50:], missing=5072),
        *records[6:],
    ]
    told = tls.read((False, piece) for piece in cut)
    assert told.server.application_records == 5 and told.server.missing == 5072
    assert told.server.found_again == 2 and told.version is None


def _short_story() -> list[tuple[bool, Piece]]:
    ends = Ends(ssl.TLSVersion.TLSv1_3)
    ends.shake_hands()
    ends.speak(0)
    return ends.said


SAID = _short_story()


@given(st.data())
def test_however_packets_cut_it_the_counts_are_the_same(data: st.DataObject) -> None:
    """Boundaries of packets mean nothing to what is told."""
    whole = tls.read(SAID)
    pieces = []
    for client, piece in SAID:
        cuts = data.draw(st.sets(st.integers(1, max(len(piece.data) - 1, 1)), max_size=3))
        edges = sorted({0, *cuts, len(piece.data)})
        pieces += [(client, Piece(0, piece.data[a:b])) for a, b in itertools.pairwise(edges)]
    assert tls.read(pieces) == whole


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=80), st.integers(0, 40)), max_size=12))
def test_nothing_that_arrives_makes_it_fail(pieces: list[tuple[bool, bytes, int]]) -> None:
    """Captures hold whatever was on the wire."""
    start = (True, Piece(0, b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c\x03\x03"))
    told = tls.read([start, *((side, Piece(1, data, missing)) for side, data, missing in pieces)])
    assert told.client.bytes == 11 + sum(len(data) for side, data, _ in pieces if side)
