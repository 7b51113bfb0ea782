"""The provider's TLS front: a connection whose every record, goodbye and alert is the lab's own to send.

Event loops have TLS of their own, which closes in good manners and keeps its alerts to itself. To what speaks HTTP
behind it, this is a transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, cast

from holdfast.lab.script import End, Ends

BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
"Application data that no key deciphers. Whoever reads it must answer with a fatal alert (RFC 8446, section 5.2)."


class Cipher(asyncio.Protocol):
    """One TLS connection, as its server."""

    def __init__(self, context: ssl.SSLContext, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready = self._over = False

    # from the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._real = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                self._flush()
                self._inner.connection_made(cast(asyncio.BaseTransport, self))
            while not self._over:
                plain = self._tls.read(65536)
                if not plain:
                    break
                self._inner.data_received(plain)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLZeroReturnError:
            self._said_goodbye()
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self._over = True
            self._real.close()
        else:
            if not self._over:
                self._said_goodbye()

    def _said_goodbye(self) -> None:
        self._flush()
        if not self._inner.eof_received():
            self._real.close()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._ready else False

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        if self._ready:
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # as a transport, from what speaks behind it

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if not self._over and data:
            self._tls.write(data)
            self._flush()

    def get_write_buffer_size(self) -> int:
        """What is not in the socket yet, encrypted."""
        return self._real.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The real transport's, and `ssl_object`."""
        return self._tls if name == "ssl_object" else self._real.get_extra_info(name, default)

    def set_protocol(self, inner: asyncio.Protocol) -> None:
        """Let another protocol speak from now on."""
        self._inner = inner

    def is_closing(self) -> bool:
        """The real transport's."""
        return self._real.is_closing()

    def close(self) -> None:
        """`close_notify`, then a FIN."""
        if not self._over and not self._real.is_closing():
            with contextlib.suppress(ssl.SSLError):  # it would like to wait for the other one's
                self._tls.unwrap()
            self._flush()
        self._over = True
        self._real.close()

    def abort(self) -> None:
        """The real transport's: a RST, where the socket is told to."""
        self._over = True
        self._real.abort()

    def end_early(self, end: Ends) -> bool:
        """TLS's own endings, by a record that cannot be deciphered: theirs, or our alert to one. True where it was one."""
        if end is End.BROKEN_RECORD:
            self._real.write(BROKEN_RECORD)
        elif end is End.ALERT:
            self._incoming.write(BROKEN_RECORD)
            with contextlib.suppress(ssl.SSLError):
                self._tls.read(1)
            self._flush()
        else:
            return False
        self._over = True
        self._real.close()
        return True

    def _flush(self) -> None:
        if self._outgoing.pending and not self._real.is_closing():
            self._real.write(self._outgoing.read())
