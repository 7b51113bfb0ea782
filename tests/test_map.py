"""The map of the house: who may import whom, and which modules may wait.

Most modules decide: values in, values out, `now` as an argument. The few that wait for sockets, threads, disks or
clocks are listed here with what they wait for. A new name in one of these lists is a decision, not a formality:
first ask whether the deciding part can be taken out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "holdfast"

KNOWS = {
    "flight": set[str](),
    "gateway": {"flight"},
    "sessions": {"flight"},
    "probes": {"flight"},
    "captures": {"flight"},
    "records": {"flight"},
    "telemetry": {"flight"},
    "diagnosis": {"flight", "sessions", "probes", "captures", "records"},
    "report": {"flight", "diagnosis"},
    "lab": {"flight", "gateway"},
    "cli": {
        "flight",
        "gateway",
        "sessions",
        "probes",
        "captures",
        "records",
        "telemetry",
        "diagnosis",
        "report",
        "lab",
    },
}
"Room -> the rooms it may import from, besides itself."

FRONT_DOOR = {"gateway.server", "gateway.settings"}
"All that the lab may know of the gateway: it plays from outside, like everybody else."

WAITING = {"asyncio", "fcntl", "multiprocessing", "select", "selectors", "signal", "socket", "sqlite3", "ssl"}
WAITING |= {"subprocess", "threading", "uvloop", "concurrent"}
"Modules whose import says that something is waited for."

CLOCKS = {"time"}
"Reading a clock is no waiting, but makes a decision depend on more than its arguments."

MAY_WAIT = {
    # what is written down
    "flight.attic": {"sqlite3"},
    "flight.forgetting": {"fcntl", "sqlite3"},
    "flight.instances": {"fcntl", "sqlite3", "subprocess"},
    "flight.journal": {"sqlite3", "threading"},
    "flight.marks": {"sqlite3"},
    "flight.plain_files": {"select"},
    "flight.reading": {"sqlite3"},
    "flight.schema": {"sqlite3"},
    "flight.state": {"fcntl"},
    # what carries
    "gateway.alarms": {"asyncio"},
    "gateway.arrival": {"asyncio"},
    "gateway.asking": {"asyncio"},
    "gateway.engine": {"asyncio"},
    "gateway.listener": {"asyncio"},
    "gateway.reaching": {"asyncio"},
    "gateway.readers": {"asyncio"},
    "gateway.relay": {"asyncio"},
    "gateway.witness": {"asyncio"},
    "gateway.server": {"asyncio", "socket", "ssl", "uvloop"},
    "gateway.sockets": {"fcntl", "socket"},
    "gateway.upstream.connection": {"asyncio", "socket", "ssl"},
    "gateway.upstream.dial": {"asyncio", "socket", "ssl"},
    "gateway.upstream.h1": {"socket"},
    "gateway.upstream.h2": {"asyncio", "socket"},
    "gateway.upstream.pool": {"asyncio"},
    "gateway.upstream.tls": {"ssl"},
    "gateway.upstream.watch": {"asyncio", "socket"},
    # what was read before
    "sessions.environment": {"subprocess"},
    "sessions.machine": {"subprocess"},
    "sessions.store": {"sqlite3"},
    # what asks the network
    "probes.icmp": {"select", "socket"},
    "probes.kept": {"fcntl"},
    "probes.lookup": {"select", "socket", "threading"},
    "probes.machine": {"subprocess"},
    "probes.net": {"select", "socket", "ssl"},
    # what leaves for other systems of observation
    "telemetry.following": {"sqlite3", "threading"},
    "telemetry.loading": {"sqlite3"},
    "telemetry.metrics": {"threading"},
    "telemetry.parquet": {"sqlite3"},
    "telemetry.query": {"concurrent", "sqlite3", "threading"},
    "telemetry.traces": {"threading"},
    # what the command line starts, follows, stops and shows
    "cli.admin": {"asyncio"},
    "cli.beside": {"sqlite3"},
    "cli.capture": {"select", "signal", "subprocess", "threading"},
    "cli.child": {"selectors", "signal", "socket", "subprocess"},
    "cli.group_witness": {"signal", "socket"},
    "cli.demo": {"asyncio"},
    "cli.doctor": {"sqlite3"},
    "cli.doctor_now": {"subprocess"},
    "cli.forget": {"sqlite3"},
    "cli.gateway_process": {"asyncio", "signal", "socket"},
    "cli.homes": {"sqlite3"},
    "cli.lab": {"asyncio", "signal"},
    "cli.observing": {"asyncio"},
    "cli.mark": {"sqlite3"},
    "cli.probe": {"signal"},
    "cli.run": {"socket"},
    "cli.serve": {"asyncio", "signal", "ssl"},
    "cli.turnlog": {"threading"},
    "cli.viewing": {"sqlite3"},
}
"Module -> what it waits with."

MAY_READ_CLOCKS = {
    "flight.instant",
    "flight.journal",
    "gateway.upstream.connection",
    "gateway.upstream.dial",
    "gateway.upstream.h1",
    "gateway.upstream.h2",
    "gateway.upstream.pool",
    "cli.capture",
    "cli.child",
    "cli.diagnose",
    "cli.doctor",
    "cli.flights",
    "cli.forget",
    "cli.group_witness",
    "cli.homes",
}
"The first is the place to read them; the others measure or label something of their own."


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its name below `holdfast`, parsed."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported, in full; not those that only the type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


MODULES = modules()


def ours(name: str) -> set[str]:
    """The modules of this package that a module imports, by their names below `holdfast`."""
    seen = {
        found.removeprefix("holdfast.") for found in imports(MODULES[name]) if found.startswith("holdfast.")
    }
    return {found for found in seen if found in MODULES}


def foreign(name: str) -> set[str]:
    """The first parts of everything else that it imports."""
    return {found.partition(".")[0] for found in imports(MODULES[name])} - {"holdfast"}


@pytest.mark.parametrize("name", MODULES)
def test_rooms_know_only_whom_they_may(name: str) -> None:
    """`flight` knows nobody, `gateway` and `diagnosis` never meet, `cli` knows all."""
    room = name.partition(".")[0]
    if room not in KNOWS:
        assert name in ("", "__main__"), f"{name} is in a room that is not on the map"
        return
    for other in ours(name):
        other_room = other.partition(".")[0]
        assert other_room == room or other_room in KNOWS[room], f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("lab.")])
def test_the_lab_uses_the_front_door(name: str) -> None:
    """What it sees, any client and any provider would see."""
    assert {other for other in ours(name) if other.startswith("gateway.")} <= FRONT_DOOR


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("lab")])
def test_only_listed_modules_wait(name: str) -> None:
    """Whatever else imports a socket or a thread has stopped being a decision. The lab is there to wait."""
    assert foreign(name) & WAITING <= MAY_WAIT.get(name, set())


def test_the_list_names_no_module_that_is_gone() -> None:
    """A list that is not kept is no list."""
    assert set(MAY_WAIT) <= set(MODULES)
    assert set(MODULES) >= MAY_READ_CLOCKS


def test_the_clock_is_read_in_few_places() -> None:
    """Elsewhere `now` is an argument."""
    readers = {name for name in MODULES if not name.startswith("lab") and foreign(name) & CLOCKS}

    assert readers <= MAY_READ_CLOCKS


def test_no_two_modules_of_a_room_need_each_other() -> None:
    """Imports form no circle: a reader can begin somewhere."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle of imports: {' -> '.join((*path, name))}"
        if name in done:
            return
        for other in ours(name) - {name}:
            visit(other, (*path, name))
        done.add(name)

    for name in MODULES:
        if name:
            visit(name, ())
