"""TLS between two byte strings: ciphertext in, plaintext out, and the other way round.

The event loops bring their own TLS, but a finished layer hides what we exist to see: whether the peer
said goodbye (`close_notify`) before its FIN, whether a RST followed, and what it had sent before our own
write failed. So the transport stays plain TCP and this object sits between it and HTTP. It does no I/O.
"""

from __future__ import annotations

import ssl
from typing import Any

_RECORD = 16384
"A TLS record's largest plaintext; `SSL_read` never returns more than one."


class TlsSession:
    """One TLS connection, client side, without a socket."""

    __slots__ = ("_incoming", "_object", "_outgoing", "closed_by_peer", "problem")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.closed_by_peer = False
        "The peer sent `close_notify`: what came before it is whole."
        self.problem: ssl.SSLError | None = None
        "A broken record or a fatal alert; nothing follows it."

    @property
    def version(self) -> str | None:
        """`TLSv1.3`."""
        return self._object.version()

    @property
    def alpn(self) -> str | None:
        """What the peer chose of the protocols that were offered: `h2`, `http/1.1`, or None where it chose none."""
        return self._object.selected_alpn_protocol()

    def handshake(self, received: bytes = b"") -> bool:
        """Go on with the handshake; True when it is done. Send `outgoing()` either way, also after an `ssl.SSLError`."""
        self._incoming.write(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, received: bytes) -> bytes:
        """Plaintext of what arrived; may be empty. What came before a `problem` or a goodbye is returned with it."""
        incoming, session = self._incoming, self._object
        incoming.write(received)
        pieces: list[bytes] = []
        try:
            # An exception at the end of every read would cost more than asking whether anything is left.
            while incoming.pending or session.pending():
                piece = session.read(_RECORD)
                if not piece:
                    self.closed_by_peer = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed_by_peer = True
        except ssl.SSLError as error:
            self.problem = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> None:
        """Encrypt; the ciphertext waits in `outgoing()`."""
        done = 0
        while done < len(data):
            done += self._object.write(data[done:] if done else data)

    def outgoing(self) -> bytes:
        """What must be sent to the peer now; may be empty."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def issuer(self) -> str | None:
        """Who issued the certificate that the peer showed, also one that was refused; None if that cannot be told."""
        try:
            # Python 3.13 has a public name for it; before, only the object underneath knows.
            inner: Any = getattr(self._object, "_sslobj", self._object)
            names = dict(
                pair for part in inner.get_unverified_chain()[0].get_info()["issuer"] for pair in part
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, ssl.SSLError):
            return None
        said = names.get("organizationName") or names.get("commonName")
        return printable(said) if said else None


def explain(
    error: ssl.SSLError, host: str, session: TlsSession | None = None, *, at: str = ""
) -> tuple[str, str]:
    """What a TLS error means, and the same with the next thing to try.

    `at` is `HOST:PORT`, where one can look oneself; without it, `host` says so already.
    """
    detail = in_one_line(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = printable(error.verify_message)
        if error.verify_code in (_HOSTNAME, _IP_ADDRESS):
            detail = f"the certificate is for another name than {host}: {why}"
            return detail, f"{detail}; check --upstream"
        if error.verify_code in (_EXPIRED, _NOT_YET):
            detail = f"the certificate of {host} is not valid now: {why}"
            return detail, f"{detail}; check this machine's clock, then ask who runs the upstream"
        issuer = (session.issuer() if session else None) or "not known"
        detail = f"the certificate of {host} is not trusted: {why}; issuer: {issuer}"
        return detail, (
            f"{detail}; if a TLS-intercepting proxy stands here, set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS to its CA"
        )
    reason = (error.reason or "").upper()
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        detail = f"{host} does not speak TLS on this port ({detail})"
        return detail, f"{detail}; check the port, or whether the upstream is http://"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason):
        return f"{host} refused us: {detail}", (
            f"{host} refused us: {detail}; if it wants a client certificate, set CLAUDE_CODE_CLIENT_CERT and "
            "CLAUDE_CODE_CLIENT_KEY"
        )
    detail = f"TLS with {host} failed: {detail}"
    return detail, f"{detail}; try `openssl s_client -connect {at or host}` to see what stands there"


def alert(error: ssl.SSLError) -> str | None:
    """The name of the alert by which the peer ended a session, `certificate required`; None for any other error.

    OpenSSL names its errors after the peer's alerts: TLSV13_ALERT_CERTIFICATE_REQUIRED, SSLV3_ALERT_BAD_RECORD_MAC.
    """
    _, found, name = (error.reason or "").upper().rpartition("ALERT_")
    return name.lower().replace("_", " ") if found else None


def in_one_line(error: Exception) -> str:
    """An error's text, printable, short. Neither the parser's nor OpenSSL's errors quote content or secrets."""
    return printable(str(error)) or type(error).__name__


def printable(text: str) -> str:
    """One line, no control characters, at most 200 characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:200]


# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET, _EXPIRED, _HOSTNAME, _IP_ADDRESS = 9, 10, 62, 64
