"""Played by `test_dark_path` in a network namespace of its own: the loopback device goes down mid-answer.

Prints one JSON line per connection: the ending's code and its evidence. The timers are set to seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys

import uvloop

from holdfast.gateway.fields import render
from holdfast.gateway.settings import Keepalive
from holdfast.gateway.sockets import set_keepalive, set_user_timeout
from tests.gateway.upstream.stage import GET, Heard, pool_to


async def story() -> None:
    loopback("up")
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent, sending = [await opened(server) for _ in range(2)]
        loopback("down")
        sending[0].send_body(b"y" * 5)
        for _, heard, peer in (silent, sending):
            async with asyncio.timeout(20):
                await heard.over.wait()
            assert heard.ending is not None and heard.body == b"a"
            print(json.dumps([heard.code, heard.ending.evidence]))
            peer.close()


def loopback(state: str) -> None:
    """Switch this namespace's only device."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


async def opened(server: socket.socket):  # type: ignore[no-untyped-def]
    """A connection in the middle of an answer, its listener, and the other end."""
    connection = await pool_to(server.getsockname()[1]).connect()
    set_keepalive(connection._sock, Keepalive(1, 1, 2))
    set_user_timeout(connection._sock, 2500)
    peer, _ = server.accept()
    heard = Heard()
    connection.start(heard, b"POST", b"/", render([*GET, (b"Content-Length", b"10")]))
    connection.send_body(b"x" * 5)
    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    await heard.something.wait()
    await asyncio.sleep(0.1)  # the acknowledgements too
    return connection, heard, peer


if __name__ == "__main__":
    factory = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}[sys.argv[1]]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(story())
