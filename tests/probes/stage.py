"""What probes are pointed at: servers on loopback with one habit each, a resolver, a proxy. All of them are ours."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.probes.asking import Options
from holdfast.probes.target import Target

QUICK = Options(
    rounds=2,
    every_s=0.01,
    patience_s=1.0,
    holds_s=(0.6, 1.2),
    keepalive_s=1,
    sizes_bytes=(10_000, 200_000),
    trickle_s=0.3,
    piece_every_s=0.1,
    hop_patience_s=0.3,
)
"Everything in a second or so."
EDGE = "HTTP/1.1 405 Method Not Allowed\r\nserver: cloudflare\r\ncf-ray: 9eea680afe7cbd1f-ORD\r\ncontent-length: 0\r\n\r\n"
REFUSED = "HTTP/1.1 401 Unauthorized\r\nrequest-id: req_011CaCn\r\ncontent-length: 2\r\n\r\n{}"


def go_on() -> bool:
    """Nobody wishes to stop."""
    return False


@dataclass
class Server:
    """An HTTP server: HEAD is answered as an edge does, a whole POST is refused for want of a key."""

    idle_s: float | None = None
    "How long a connection may be silent after an answer; None for any time."
    reset: bool = False
    "Whether it is ended by a reset then, and not in order."
    tls: ssl.SSLContext | None = None
    early: bool = False
    "Whether a POST is refused before its body was read."
    pages: dict[str, bytes] = field(default_factory=dict)
    "What a GET of these paths brings; of any other a redirection."
    packed: bool = False
    "Whether those come as gzip, in two pieces."
    host: str = "127.0.0.1"
    port: int = 0
    heard: list[str] = field(default_factory=list)
    "The heads of all requests."
    _listening: socket.socket = field(init=False)

    def __enter__(self) -> Server:
        self._listening = socket.create_server((self.host, self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() is woken by this on Linux; it is a daemon anyway.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def target(self, **changes: object) -> Target:
        return Target(self.host, self.port, self.tls is not None, **changes)  # type: ignore[arg-type]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            if self.tls is not None:
                sock.settimeout(5)
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock:
                sock.settimeout(20)
                while self._answered(sock):
                    sock.settimeout(self.idle_s or 20)

    def _answered(self, sock: socket.socket) -> bool:
        try:
            head = _head(sock)
        except TimeoutError:
            if self.reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if head is None:
            return False
        self.heard.append(head.decode())
        if head.startswith(b"HEAD"):
            sock.sendall(EDGE.encode())
            return True
        if head.startswith(b"GET"):
            sock.sendall(self._page(head.split(b" ")[1].decode()))
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        sock.settimeout(20)
        while length > 0 and not self.early and (data := sock.recv(min(length, 65536))):
            length -= len(data)
        sock.sendall(REFUSED.encode())
        return not self.early

    def _page(self, path: str) -> bytes:
        if path not in self.pages:
            return b"HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"
        body = self.pages[path]
        if not self.packed:
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        body = gzip.compress(body)
        half = len(body) // 2
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (body[:half], body[half:], b""))
        return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" + pieces


def _head(sock: socket.socket) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < 20_000:
        data = sock.recv(1)
        if not data:
            return None
        head += data
    return head


@contextlib.contextmanager
def proxy(status: int = 200) -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that opens one tunnel after another, or refuses. Yields its port and what it was asked."""
    asked: list[bytes] = []

    def one(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            head = _head(sock) or b""
            asked.append(head)
            if status != 200:
                sock.sendall(f"HTTP/1.1 {status} No\r\n\r\n".encode())
                return
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host, int(port)), timeout=5) as far:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pour, args=(far, sock), daemon=True)
                back.start()
                _pour(sock, far)
                back.join(5)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, one), daemon=True).start()
        yield listening.getsockname()[1], asked
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, one: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()


def _pour(source: socket.socket, into: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            into.sendall(data)
        into.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def resolver(
    a: tuple[str, ...] = (),
    aaaa: tuple[str, ...] = (),
    *,
    silent: tuple[int, ...] = (),
    code: int = 0,
    lie: bool = False,
    texts: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[tuple[str, int]]:
    """A name server on loopback that knows one name. `silent`: kinds of question that it does not answer; `texts`: name ->
    its TXT records, any other name's question of that kind it does not answer either.

    With `lie` a wrong answer comes first, as from somebody who guesses.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    message, whence = sock.recvfrom(4096)
                    kind = struct.unpack(">H", message[-4:-2])[0]
                    name = _asked_for(message)
                    if kind in silent or (kind == 16 and name not in (texts or {})):
                        continue
                    values = {1: a, 28: aaaa, 16: (texts or {}).get(name, ())}.get(kind, ())
                    if lie:
                        sock.sendto(said(b"\0\0", message[12:], kind, ("203.0.113.66",), 0), whence)
                    sock.sendto(said(message[:2], message[12:], kind, values, code), whence)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield sock.getsockname()
        over.set()
        thread.join(2)


def _asked_for(message: bytes) -> str:
    """The name in a question."""
    labels, at = [], 12
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels)


def said(identity: bytes, question: bytes, kind: int, values: tuple[str, ...], code: int) -> bytes:
    """A resolver's answer, its names pointing at the question's."""
    found = [_text(one) if kind == 16 else ipaddress.ip_address(one).packed for one in values]
    head = identity + struct.pack(">5H", 0x8180 | code, 1, len(found), 0, 0)
    return (
        head
        + question
        + b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(one)) + one for one in found)
    )


def _text(said: str) -> bytes:
    """In pieces of ten, as long texts come."""
    pieces = [said[at : at + 10].encode() for at in range(0, len(said), 10)]
    return b"".join(bytes([len(one)]) + one for one in pieces)


if __name__ == "__main__":  # on a machine of its own: addresses and ports to serve, until stdin closes
    with contextlib.ExitStack() as all_of_them:
        for number in sys.argv[2:]:
            all_of_them.enter_context(Server(host=sys.argv[1], port=int(number)))
        print("ready", flush=True)
        sys.stdin.read()
