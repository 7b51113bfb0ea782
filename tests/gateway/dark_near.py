"""Played by `test_dark_paths` on the near machine: a gateway, and Claude Code's request to it.

`dark_near URL KEEPALIVE [CA]` says `ready` when the answer is silent, then, as JSON, what the client heard and what
the flight says of it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from holdfast.flight import moments as m
from holdfast.gateway.settings import Keepalive, Settings, Sockets, Timeouts, Tls, Upstream
from tests.gateway.hosted import Call, hosted


def main(url: str, keepalive: str, ca_file: str | None = None) -> None:
    settings = Settings(
        Upstream.parse(url),
        timeouts=Timeouts(keepalive_s=0.5, connect_s=2),
        sockets=Sockets(keepalive=Keepalive.parse(keepalive)),
        tls=Tls(ca_files=(Path(ca_file),) if ca_file else ()),
    )
    with hosted(settings) as gateway:
        Call(gateway.port).hear_all()
        call = Call(gateway.port)
        call.hear_until(b"file_pa")
        print("ready", flush=True)
        started = time.monotonic()
        heard = call.hear_all()
        gateway.kept.wait_for(m.TurnEnded, 2)
        record = list(gateway.kept.records.values())[-1]
        at = {type(moment).__name__: instant.mono_s - started for instant, moment in record.moments}
        first = next(moment for _, moment in record.moments if isinstance(moment, m.AttemptEnded))
        told = {
            "heard": heard.decode(),
            "attempts": record.attempts,
            "healed": record.healed,
            "broke": first.ending.code,
            "moments": [type(moment).__name__ for _, moment in record.moments],
            "back_s": at.get("NetworkBack"),
            "broke_s": next(
                i.mono_s - started for i, moment in record.moments if isinstance(moment, m.AttemptEnded)
            ),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
