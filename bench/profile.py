"""Where a relay's time goes: drive one scenario for a while with py-spy attached. `python -m bench.profile --help`."""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import machine, relays
from bench.__main__ import RESULTS, SCENARIOS
from bench.measure import Bench, Figures, Sizes, Target

_LINES = 25
_WAITING = "wait (threading.py"
"A thread that waits for another; py-spy takes it for busy."


def stacks(raw: str) -> tuple[collections.Counter[str], collections.Counter[str], int]:
    """From py-spy's raw form (`outer;inner COUNT` per line): samples by function, own and with callees, and all."""
    own: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    total = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if _WAITING in stack:
            continue
        frames = stack.split(";")
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    return own, whole, total


def show(raw: str, console: Console) -> None:
    """Two tables: where the samples are, and under which of the relay's own functions."""
    own, whole, total = stacks(raw)
    tables = {
        f"{total} samples, by own time": own.most_common(_LINES),
        "with callees, the relay's own functions and threads": [
            (frame, count)
            for frame, count in whole.most_common()
            if "holdfast/" in frame or frame.startswith("thread")
        ][:_LINES],
    }
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", header_style="bold")
        for column in ("own", "with callees", "function"):
            table.add_column(column, justify="left" if column == "function" else "right")
        for frame, _ in rows:
            table.add_row(f"{100 * own[frame] / total:.1f}%", f"{100 * whole[frame] / total:.1f}%", frame)
        console.print(table)


async def drive(bench: Bench, target: Target, scenario: str, spy: subprocess.Popen[bytes]) -> None:
    """Repeat the scenario until py-spy has seen enough."""
    while spy.poll() is None:
        figures = Figures()
        await bench.run(scenario, target, figures)
        for where, what in figures.wrong.items():
            print(f"WRONG  {where}: {what}", file=sys.stderr)
            if spy.poll() is None:
                spy.terminate()
                spy.wait()


def attach(pid: int, out: Path, seconds: int, native: bool) -> subprocess.Popen[bytes]:
    """Start py-spy on a process; it ends by itself."""
    argv = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--format", "raw"]
    argv += ["--rate", "500", "--duration", str(seconds), "--output", str(out)]
    argv += ["--function", "--threads"]
    argv += ["--native"] if native else []
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def profile(
    relay: relays.Relay, scenario: str, seconds: int, native: bool, cpus: tuple[int, int] | None
) -> Path:
    # A whole profile of one thing: no settling between, and enough of it per visit that little else is seen.
    sizes = dataclasses.replace(
        Sizes(),
        settle_s=0.0,
        paced_s=seconds + 2.0,
        short_requests=8000,
        json_requests=8000,
        large_requests=200,
    )
    bench = Bench(sizes)
    await bench.origin.listen()
    running = relays.Running(relay, bench.origin.port, cpus[1] if cpus else None, RESULTS)
    out = RESULTS / f"profile-{relay.name}-{scenario}.raw"
    try:
        target = Target.of(running)
        await bench.run("first", target, Figures())
        spy = attach(running.pid, out, seconds, native)
        await drive(bench, target, scenario, spy)
    finally:
        running.stop()
        await bench.origin.close()
    return out


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile",
        description="Sample a Python relay with py-spy while one scenario runs, and print where the time went.",
        epilog="example: python -m bench.profile --scenario short --seconds 10 --native",
    )
    parser.add_argument(
        "--scenario", default="paced", choices=[name for name in SCENARIOS if name != "silent"]
    )
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument(
        "--native", action="store_true", help="also C frames: uvloop, httptools, libc (slower)"
    )
    parser.add_argument(
        "--relay", metavar="NAME=COMMAND", help="another Python relay, as in `python -m bench`"
    )
    chosen = parser.parse_args(argv)
    if not shutil.which("py-spy", path=str(Path(sys.executable).parent)):
        print("py-spy is not installed here; try `.venv/bin/pip install py-spy`", file=sys.stderr)
        return 1
    cpus = machine.two_cpus()
    if cpus:
        machine.pin(cpus[0])
    machine.raise_file_limit()
    RESULTS.mkdir(parents=True, exist_ok=True)
    relay = relays.custom(chosen.relay) if chosen.relay else relays.HOLDFAST
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        out = runner.run(profile(relay, chosen.scenario, chosen.seconds, chosen.native, cpus))
    if not out.exists():
        print("py-spy wrote nothing; it needs root, or kernel.yama.ptrace_scope=0", file=sys.stderr)
        return 1
    show(out.read_text(), Console(width=None if sys.stdout.isatty() else 140))
    print(f"all stacks: {out} (for a flame graph: any tool that reads collapsed stacks)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
