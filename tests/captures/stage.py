"""Played by `kernels` as root: real connections over real kernels, each ended on purpose in its own way.

`stage NEAR MID FAR DIRECTORY` (process ids that hold namespaces) plays every scene at once, each on its own port, and
prints `done` at the end. What is true of each scene is in `scenes`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.captures.scenes import FAR, FAR6, SCENES

ASK = (
    b"POST /v1/messages HTTP/1.1\r\nHost: api.test\r\nx-api-key: sk-ant-a-key-of-the-stage\r\n"
    b'Content-Length: 15\r\n\r\n{"stream":true}'
)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
TOOL = (
    b'event: content_block_start\ndata: {"type": "content_block_start", "index": 0, "content_block": '
    b'{"type": "tool_use", "id": "t", "name": "Write", "input": {}}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
_NEWNET = 0x40000000
_USER_TIMEOUT = 18
_libc = ctypes.CDLL(None, use_errno=True)
_holders: dict[str, int] = {}
_directory = Path()
_held: list[socket.socket] = []
_children: list[subprocess.Popen[bytes]] = []


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def enter(where: str) -> None:
    """Let this thread's next sockets be of that machine."""
    with Path(f"/proc/{_holders[where]}/ns/net").open() as namespace:
        if _libc.setns(namespace.fileno(), _NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def on(where: str, *command: str) -> None:
    """Run a command on that machine."""
    subprocess.run(
        ["nsenter", "-t", str(_holders[where]), "-n", *command], check=True, stdout=subprocess.DEVNULL
    )


def listening(port: int, *, v6: bool = False, here: bool = False) -> socket.socket:
    enter("near" if here else "far")
    listener = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((FAR6 if v6 else "127.0.0.1" if here else FAR, port))
    listener.listen(4)
    listener.settimeout(10)
    return listener


def joined(
    port: int, *, v6: bool = False, here: bool = False, buffer: int = 0
) -> tuple[socket.socket, socket.socket]:
    """A connection that stands: the client's socket and the server's."""
    listener = listening(port, v6=v6, here=here)
    enter("near")
    client = socket.socket(listener.family)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(10)
    client.connect(listener.getsockname()[:2])
    server, _ = listener.accept()
    server.settimeout(10)
    listener.close()
    _held.extend((client, server))  # or the end of a scene would close what it leaves open
    return client, server


def asked(port: int, *, v6: bool = False, here: bool = False) -> tuple[socket.socket, socket.socket]:
    """The same, and an answer has begun: both have read all there is."""
    client, server = joined(port, v6=v6, here=here)
    client.sendall(ASK)
    exactly(server, len(ASK))
    begun = OK + chunk(PING) + chunk(TOOL)
    server.sendall(begun)
    exactly(client, len(begun))
    settled()
    return client, server


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def settled() -> None:
    """Let what is on its way arrive: acknowledgements that are delayed wait for 40 ms."""
    time.sleep(0.08)


def with_reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def heard(sock: socket.socket) -> str:
    """Wait for the end, and how it came."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "timeout"
    return "closed"


# ----- scenes, in the order of `scenes.SCENES`


def client_fin(port: int) -> None:
    client, server = joined(port)
    client.sendall(ASK)
    exactly(server, len(ASK))
    server.sendall(WHOLE)
    exactly(client, len(WHOLE))
    settled()
    client.close()
    heard(server)
    server.close()


def client_rst(port: int) -> None:
    client, server = asked(port)
    time.sleep(0.6)
    with_reset(client)
    heard(server)
    server.close()


def client_unread(port: int) -> None:
    client, server = asked(port)
    server.sendall(chunk(PING))
    settled()
    client.close()
    heard(server)
    server.close()


def server_fin(port: int) -> None:
    client, server = asked(port)
    server.close()
    heard(client)
    client.close()


def server_rst(port: int) -> None:
    client, server = asked(port)
    with_reset(server)
    heard(client)
    client.close()


def server_fin_then_rst(port: int) -> None:
    client, server = asked(port)
    server.close()
    heard(client)
    settled()
    client.sendall(GET)
    settled()
    client.close()


GET = b"GET /next HTTP/1.1\r\nHost: api.test\r\n\r\n"


def server_killed(port: int, *, unread: bool = False) -> None:
    """The kernel closes for a process that is no more: FIN, or RST where something was not read."""
    listener = listening(port)
    code = (
        "import socket,sys,time;s=socket.socket(fileno=int(sys.argv[1]));s.settimeout(30);c,_=s.accept();d=b''\n"
        f"while len(d)<{len(ASK)}: d+=c.recv({len(ASK)}-len(d))\n"
        f"c.sendall({OK + chunk(PING)!r});print('said',flush=True);time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(listener.fileno())],
        pass_fds=[listener.fileno()],
        stdout=subprocess.PIPE,
    )
    _children.append(child)
    listener.close()
    enter("near")
    client = socket.create_connection((FAR, port), timeout=10)
    client.sendall(ASK)
    assert child.stdout is not None
    child.stdout.readline()
    exactly(client, len(OK + chunk(PING)))
    if unread:
        client.sendall(GET)
    settled()
    child.kill()
    heard(client)
    client.close()
    child.wait()


def server_killed_unread(port: int) -> None:
    server_killed(port, unread=True)


def refused(port: int) -> None:
    enter("near")
    client = socket.socket()
    try:
        client.connect((FAR, port))
    except ConnectionRefusedError:
        client.close()


def syn_dropped(port: int) -> None:
    on("mid", "nft", "add", "rule", "inet", "t", "f", "tcp", "dport", str(port), "drop")
    enter("near")
    client = socket.socket()
    client.settimeout(1.6)
    try:
        client.connect((FAR, port))
    except TimeoutError:
        client.close()


def dark(port: int) -> None:
    for way in ("dport", "sport"):
        on("mid", "nft", "insert", "rule", "inet", "t", "f", "tcp", way, str(port), "drop")


def dark_while_sending(port: int) -> None:
    client, server = asked(port)
    server.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, 8000)
    dark(port)
    server.sendall(chunk(PING))
    heard(server)
    server.close()
    time.sleep(0.3)
    client.close()


def keepalive_unanswered(port: int) -> None:
    client, _server = asked(port)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
        client.setsockopt(socket.IPPROTO_TCP, name, value)
    dark(port)
    try:
        client.recv(1)
    except TimeoutError:
        client.close()


def middle_forgot(port: int) -> None:
    """A box on the way has lost the connection's state, and answers for the server."""
    client, _server = asked(port)
    on(
        "mid",
        "nft",
        "insert",
        "rule",
        "inet",
        "t",
        "f",
        "tcp",
        "dport",
        str(port),
        "reject",
        "with",
        "tcp",
        "reset",
    )
    client.sendall(GET)
    heard(client)
    client.close()


def nat_forgot(port: int) -> None:
    """A translation that nobody used for a second is forgotten: the box itself answers what the server says next."""
    on("mid", "nft", "add table ip n; add chain ip n p { type nat hook postrouting priority 100; }")
    on("mid", "nft", "add", "rule", "ip", "n", "p", "tcp", "dport", str(port), "masquerade")
    on("mid", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_established=1")
    _client, server = asked(port)
    time.sleep(2.2)
    server.sendall(chunk(PING))
    heard(server)
    server.close()


def injected(port: int) -> None:
    """Somebody beside the path forges a reset in the server's name; the server goes on speaking."""
    client, server = asked(port)
    sniffed = _last_packet_to_client(port, server)
    enter("mid")
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    here = client.getsockname()
    raw.sendto(_reset(FAR, port, here[0], here[1], seq=sniffed, hops=200), (here[0], 0))
    raw.close()
    with contextlib.suppress(OSError):
        server.sendall(chunk(PING))
    heard(client)
    settled()
    client.close()
    heard(server)
    server.close()


def _last_packet_to_client(port: int, server: socket.socket) -> int:
    """The sequence number that comes next, as somebody on the path knows it: read off a packet that passes by."""
    enter("mid")
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    ear.settimeout(5)
    server.sendall(chunk(PING))
    while True:
        packet = ear.recv(65536)
        start = (packet[0] & 15) * 4
        source, _, seq = struct.unpack_from("!HHI", packet, start)
        length = len(packet) - start - (packet[start + 12] >> 4) * 4
        if packet[9] == 6 and source == port and length:
            ear.close()
            settled()
            return int(seq) + length


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _reset(source: str, sport: int, target: str, tport: int, *, seq: int, hops: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", sport, tport, seq & 0xFFFFFFFF, 0, 5 << 4, 4, 0, 0, 0)
    check = _sum(addresses + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 40, 4711, 0, hops, 6, 0) + addresses + tcp


def local_firewall(port: int) -> None:
    """This machine's own firewall cuts the connection: the reset never was on the wire."""
    client, _server = asked(port)
    on(
        "near",
        "nft",
        "insert",
        "rule",
        "inet",
        "t",
        "o",
        "tcp",
        "dport",
        str(port),
        "reject",
        "with",
        "tcp",
        "reset",
    )
    client.sendall(GET)
    heard(client)
    client.close()


def zero_window(port: int) -> None:
    client, server = joined(port, buffer=4096)
    client.sendall(ASK)
    exactly(server, len(ASK))
    body = b"x" * 200_000

    def speak() -> None:
        server.sendall(OK + chunk(body) + b"0\r\n\r\n")
        server.close()

    threading.Thread(target=speak).start()
    time.sleep(1.5)
    heard(client)
    client.close()


def half_close(port: int) -> None:
    client, server = joined(port)
    client.sendall(ASK)
    client.shutdown(socket.SHUT_WR)
    heard(server)
    server.sendall(OK + chunk(PING))
    time.sleep(0.2)
    server.sendall(chunk(STOP) + b"0\r\n\r\n")
    server.close()
    heard(client)
    client.close()


def reused(port: int) -> None:
    client, server = joined(port)
    for _ in range(3):
        client.sendall(ASK)
        exactly(server, len(ASK))
        server.sendall(WHOLE)
        exactly(client, len(WHOLE))
        time.sleep(0.1)
    client.close()
    heard(server)
    server.close()


def over_ipv6(port: int) -> None:
    client, server = asked(port, v6=True)
    with_reset(server)
    heard(client)
    client.close()


def _contexts(
    *, version: ssl.TLSVersion | None = None, trusting: bool = True
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    near, far = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if trusting:
        near.load_verify_locations(_directory / "ca.pem")
    far.load_cert_chain(_directory / "far.pem")
    near.set_alpn_protocols(["h2", "http/1.1"])
    far.set_alpn_protocols(["http/1.1"])
    if version is not None:
        near.maximum_version = far.maximum_version = version
    return near, far


def _secured(port: int, **how: ssl.TLSVersion | bool | None) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    client, server = joined(port)
    near, far = _contexts(**how)  # type: ignore[arg-type]
    there = far.wrap_socket(server, server_side=True, do_handshake_on_connect=False)
    here = near.wrap_socket(client, server_hostname="api.test", do_handshake_on_connect=False)
    _held.extend((here, there))

    def serve() -> None:
        with contextlib.suppress(OSError):
            there.do_handshake()

    thread = threading.Thread(target=serve)
    thread.start()
    with contextlib.suppress(OSError):
        here.do_handshake()
    thread.join()
    return here, there


def tls_refused_by_client(port: int) -> None:
    """The client does not know the certificate's authority, and says so (TLS 1.2: in plain sight)."""
    client, server = _secured(port, trusting=False, version=ssl.TLSVersion.TLSv1_2)
    settled()
    bare = socket.socket(fileno=client.detach())
    bare.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while bare.recv(65536):
            pass
    bare.close()
    settled()
    server.close()


def _tls_answered(port: int, version: ssl.TLSVersion | None = None) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    client, server = _secured(port, version=version)
    client.sendall(ASK)
    server.recv(len(ASK))
    server.sendall(OK + chunk(PING))
    client.recv(len(OK + chunk(PING)))
    time.sleep(0.4)
    server.sendall(chunk(PING))
    client.recv(len(chunk(PING)))
    settled()
    return client, server


def _say_farewell(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    """The server says close_notify and closes; the client does the same then."""

    def answer() -> None:
        heard(client)
        with contextlib.suppress(OSError):
            client.unwrap()
        settled()
        client.close()

    thread = threading.Thread(target=answer)
    thread.start()
    server.settimeout(0.02)  # it does not wait for the other's farewell
    with contextlib.suppress(OSError):
        server.unwrap()
    os.close(server.detach())
    thread.join()


def tls_with_farewell(port: int) -> None:
    client, server = _tls_answered(port)
    _say_farewell(client, server)


def tls_without_farewell(port: int) -> None:
    client, server = _tls_answered(port)
    os.close(server.detach())
    with contextlib.suppress(ssl.SSLError):
        heard(client)
    client.close()


def tls12_with_farewell(port: int) -> None:
    client, server = _tls_answered(port, ssl.TLSVersion.TLSv1_2)
    _say_farewell(client, server)


def http2_goaway(port: int) -> None:
    def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    client, server = joined(port)
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0) + frame(1, 1, b"\x82\x86\x84", 5))
    server.recv(4096)
    server.sendall(frame(4, 0) + frame(1, 1, b"\x88", 4) + frame(0, 1, PING))
    settled()
    farewell = (0).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"too_many_pings"
    server.sendall(frame(7, 0, farewell))
    server.close()
    heard(client)
    client.close()


def on_loopback(port: int) -> None:
    client, server = asked(port, here=True)
    with_reset(client)
    heard(server)
    server.close()


def main(near: str, mid: str, far: str, directory: str, *names: str) -> None:
    global _directory
    _holders.update(near=int(near), mid=int(mid), far=int(far))
    _directory = Path(directory)
    failures: list[str] = []

    def play(name: str, scene: Callable[[int], None], port: int) -> None:
        try:
            scene(port)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")

    chosen = [scene for scene in SCENES if scene.name in names]
    threads = [
        threading.Thread(target=play, args=(scene.name, globals()[scene.name], scene.port), daemon=True)
        for scene in chosen
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.01))
    failures += [
        f"{scene.name}: still playing" for scene, t in zip(chosen, threads, strict=True) if t.is_alive()
    ]
    for child in _children:
        child.kill()
    print("done" if not failures else "; ".join(failures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
