"""A server on the other machine, by IPv4 and IPv6: says its port, echoes what arrives, and never answers HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading


def echo(sock: socket.socket) -> None:
    with contextlib.suppress(OSError), sock:
        while data := sock.recv(65536):
            if not data.startswith(b"GET "):
                sock.sendall(data)


def main() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
