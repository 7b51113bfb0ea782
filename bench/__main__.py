"""Measure relays side by side: `python -m bench`. README.md beside this file says what and how."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import sys
import time
from pathlib import Path

import uvloop
from rich.console import Console

from bench import machine, relays, report
from bench.measure import QUICK, Bench, Figures, Sizes, Target

SCENARIOS = ("first", "short", "json", "large", "sparse", "paced", "flood", "silent")
RESULTS = Path(__file__).parent / "results"


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="CPU per event and per request, added first-byte latency and memory of relays, in paired rounds.",
        epilog="example: python -m bench --quick --only nginx,holdfast --scenarios paced,short",
    )
    parser.add_argument(
        "--quick", action="store_true", help="two short rounds: to see that it works, not to judge"
    )
    parser.add_argument("--rounds", type=int, help="how often every relay is visited (default 7, quick 2)")
    parser.add_argument("--only", help="relays, comma-separated, of nginx, holdfast, haproxy, litellm")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help=f"of {','.join(SCENARIOS)}")
    parser.add_argument(
        "--relay",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure this too; {port}, {origin} (the origin's port on 127.0.0.1) and {dir} are filled in",
    )
    parser.add_argument(
        "--judge", default="holdfast", metavar="NAME", help="the relay that the gates are for"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where figures go (default: bench/results/TIME.json)"
    )
    chosen = parser.parse_args(argv)
    chosen.scenarios = frozenset(chosen.scenarios.split(","))
    if unknown := chosen.scenarios.difference(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    known = {relay.name: relay for relay in relays.KNOWN}
    names = chosen.only.split(",") if chosen.only else list(known)
    if strange := set(names).difference(known):
        parser.error(f"no relay {', '.join(sorted(strange))}; there are {', '.join(known)}, and --relay")
    try:
        chosen.relays = [known[name] for name in names] + [relays.custom(text) for text in chosen.relay]
    except ValueError as error:
        parser.error(str(error))
    return chosen


async def measure(
    chosen: list[relays.Relay], sizes: Sizes, scenarios: frozenset[str], cpu: int | None, console: Console
) -> report.Results:
    """All rounds, then memory. Relays run through all rounds and are visited in alternating order."""
    bench = Bench(sizes)
    await bench.origin.listen()
    results = report.Results({}, {}, [], {})
    running: list[relays.Running] = []
    try:
        if scenarios - {"silent"}:
            for relay in chosen:
                if one := start(relay, bench.origin.port, cpu, results, console):
                    running.append(one)
                    results.rounds[relay.name] = []
            await rounds(bench, running, scenarios, results, console)
    finally:
        for one in running:
            one.stop()
    if "silent" in scenarios:
        for relay in chosen:
            if relay.name in results.missing or not (
                one := start(relay, bench.origin.port, cpu, results, console)
            ):
                continue
            try:
                console.print(f"memory: {relay.name}", style="dim")
                results.rounds.setdefault(relay.name, [])
                figures = results.silent[relay.name] = await bench.silent(Target.of(one))
                if one.died:
                    figures.wrong["process"] = one.died
            finally:
                one.stop()
    await bench.origin.close()
    return results


async def rounds(
    bench: Bench,
    running: list[relays.Running],
    scenarios: frozenset[str],
    results: report.Results,
    console: Console,
) -> None:
    """Scenario by scenario, each relay after the other, so that what is compared is seconds apart.

    Requests come before streams: a hundred parallel streams leave pools and heaps behind.
    """
    for number in range(bench.sizes.rounds):
        order = running if number % 2 == 0 else running[::-1]
        direct, direct_figures = Target("direct", bench.origin.port), Figures()
        visits = [(Target.of(one), Figures()) for one in order]
        for target, figures in visits:
            await bench.idle(target, figures)
        for scenario in SCENARIOS:
            if scenario not in scenarios or scenario == "silent":
                continue
            # Direct gives the latency that is taken off; once, all of it, to see that the rig itself keeps pace.
            if scenario == "first" or number == 0:
                await bench.run(scenario, direct, direct_figures)
            for target, figures in visits:
                await bench.run(scenario, target, figures)
        results.direct.append(direct_figures)
        for one, (target, figures) in zip(order, visits, strict=True):
            if one.died:
                figures.wrong["process"] = one.died
            results.rounds[target.name].append(figures)
            console.print(
                f"round {number + 1}: {target.name}: {brief(figures)}", style="dim", highlight=False
            )


def start(
    relay: relays.Relay, origin: int, cpu: int | None, results: report.Results, console: Console
) -> relays.Running | None:
    """Start a relay, or note why it cannot be measured."""
    try:
        return relays.Running(relay, origin, cpu, RESULTS)
    except relays.Missing as why:
        results.missing[relay.name] = str(why)
        console.print(f"{relay.name} is not measured: {why}", highlight=False, markup=False)
        return None


def brief(figures: Figures) -> str:
    """The figures of one visit on one line."""
    shown = [f"{name} {figures.values[name]:.4g}" for name in figures.values if not name.endswith("percent")]
    return ", ".join(shown + [f"{name} WRONG" for name in figures.wrong])


def main(argv: list[str]) -> int:
    if sys.platform != "linux":
        print(
            "bench needs Linux: it reads /proc and other processes' CPU clocks; try a container",
            file=sys.stderr,
        )
        return 1
    chosen = arguments(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    sizes = QUICK if chosen.quick else Sizes()
    if chosen.rounds:
        sizes = dataclasses.replace(sizes, rounds=chosen.rounds)
    cpus = machine.two_cpus()
    if cpus:
        machine.pin(cpus[0])
    else:
        console.print(
            "only one CPU: load and relays disturb each other; do not trust the figures", style="red"
        )
    machine.raise_file_limit()
    gc.disable()
    began = time.time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(
            measure(chosen.relays, sizes, chosen.scenarios, cpus[1] if cpus else None, console)
        )
    about: dict[str, object] = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "took_s": round(time.time() - began, 1),
        "machine": machine.describe(),
        "sizes": dataclasses.asdict(sizes),
    }
    path = chosen.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime(began))
    console.print()
    good = report.show(results, chosen.judge, console)
    report.write(results, about, chosen.judge, path)
    console.print(
        f"{about['took_s']} s; every figure of every round is in {path}", highlight=False, soft_wrap=True
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
