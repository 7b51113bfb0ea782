"""Played by `test_dark_paths` on the far machine: a provider whose first answer falls silent in a tool call.

`dark_far HOST [CERTIFICATE]` prints its port, then the number of generations at the end of each exchange.
"""

from __future__ import annotations

import ssl
import sys
import threading

from holdfast.lab import script as s
from holdfast.lab.provider import Provider

SILENT = s.answer(s.open_tool("Write"), s.argues('{"file_pa'), s.pause(600))
WHOLE = s.answer(s.tool("Write", {"file_path": "a", "content": "whole"}), s.stop("tool_use"))


def main(host: str, certificate: str | None = None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with Provider([s.answer(s.text("warm")), SILENT, WHOLE], host=host, ssl=context).running() as provider:
        print(provider.url, flush=True)
        threading.Thread(target=sys.stdin.read, daemon=True).start()
        sys.stdin.readline()
        print(len(provider.exchanges), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
