"""Played by `test_watch` on a machine of its own: says what changes there. `network_watcher LOOP`."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from holdfast.gateway.upstream.watch import NetworkWatch


async def story() -> None:
    def tell(what: str) -> None:
        print(what if watch.way_out else f"{what} (no way out)", flush=True)

    watch = NetworkWatch(asyncio.get_running_loop(), tell)
    assert watch.start()
    await asyncio.sleep(0.5)  # until it knows what there is
    assert "1 links, 2 addresses, 2 routes" in repr(watch), repr(watch)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    watch.close()
    assert repr(watch) == "<NetworkWatch deaf>"


if __name__ == "__main__":
    factory = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}[sys.argv[1]]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(story())
