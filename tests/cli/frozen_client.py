"""A stand-in for Claude Code that is frozen: a process of that name, which asks a provider and waits for ever.

`frozen_client URL DIRECTORY [--send-on]` works in DIRECTORY, prints its process id once the answer has begun and fallen
silent, and, with `--send-on`, sends one byte more for each line on its stdin. Knows nothing of who looks at it.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import urlsplit

BODY = b'{"model":"lab","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"x"}]}'


def start(url: str, directory: str) -> None:
    """Become a process called `claude`, with the variables that a client has."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}
    environment |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "sk-ant-api03-neverlookedat"}
    os.execve(sys.executable, ["claude", __file__, url, directory, "as claude"], environment)


def wait_for_ever(url: str, directory: str) -> None:
    os.chdir(directory)
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            asked.setsockopt(socket.IPPROTO_TCP, option, 1)
        asked.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 100)
        head = f"POST {place.path}/v1/messages HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        head += "user-agent: claude-cli/2.1.329 (external, cli)\r\nanthropic-version: 2023-06-01\r\nx-api-key: k\r\n"
        head += f"x-claude-code-session-id: {SESSION}\r\ncontent-length: {len(BODY)}\r\n\r\n"
        asked.sendall(head.encode() + BODY)
        heard = b""
        while b"file_pa" not in heard:
            heard += asked.recv(65536)
        print(os.getpid(), flush=True)
        while sys.stdin.readline():
            asked.sendall(b"x")


SESSION = "11111111-0000-4000-8000-000000000001"

if __name__ == "__main__":
    (start if len(sys.argv) == 3 else wait_for_ever)(sys.argv[1], sys.argv[2])
