"""A cluster counts what one process counts: every table of a fleet, over the same files, on DuckDB and on Spark.

Run by `make spark`, which brings Spark and a Java. The cluster is a real one on loopback: a master, and two workers with
a process each, so that rows are shuffled between processes and nothing is right by being in one place.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli.main import main
from holdfast.diagnosis import backends, tables
from holdfast.diagnosis.diagnosis import COUNTED
from holdfast.diagnosis.engine import Engine
from holdfast.diagnosis.fleet import NOT_HERE
from tests.diagnosis import fleets, plots
from tests.sessions.written import MORNING_MS, Pen

pytestmark = [
    pytest.mark.timeout(900),  # a cluster on a machine that others load as well
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]
CLUSTER = "spark://local-cluster[2,1,512]"
SEEDS = (3001, 3004, 3005)
"Homes with several causes and dirty files; the first has hundreds of failures over weeks."
DAY_MS, HOUR_MS = fleets.DAY_MS, 3_600_000
OFFSETS = [(0, -6 * HOUR_MS), (MORNING_MS + 10 * DAY_MS + 5, -5 * HOUR_MS)]
"A clock that is behind UTC, and is set forward in the middle."

SETTINGS = """\
spark.sql.shuffle.partitions 2
spark.sql.codegen.wholeStage false
spark.sql.adaptive.enabled false
spark.sql.sources.parallelPartitionDiscovery.threshold 1000
spark.locality.wait 0s
spark.default.parallelism 2
spark.executor.memory 512m
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.executor.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
"""
"Few rows and short lives: what Java does for long ones would take most of the time."


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight machines: lived-in homes, one with ties and gaps, one that nothing failed on, one without a row."""
    root = tmp_path_factory.mktemp("machines")
    for number, seed in enumerate(SEEDS):
        home = plots.home(seed).saved(root / f"home {seed}")
        where = {"region": "north", "network": None} if number else {"region": None, "network": "office"}
        fleets.export(
            home, root / "fleet", f"m{number:02x}", findings=["fixed-limit", "nat-timeout"], **where
        )
    ties = fleets.days(root / "ties", 9, 2)
    late = Pen("77770000-0000-4000-8000-000000000000", "2.1.87", at_ms=MORNING_MS + 10 * DAY_MS)
    late.fails(1, code=None).gives_up("API Error: Request timed out.").asks().after(30).gives_up(
        "the stream stalled"
    )
    late.asks().answers("msg_late", model="claude-haiku-4-5", stop=None).took(0.5).took(299.9).saved(ties)
    fleets.export(ties, root / "fleet", "m0a", findings=["fixed-limit"], region="south", person="p00")
    healthy = (
        Pen("88880000-0000-4000-8000-000000000000").asks().answers("msg_1").took(3).saved(root / "healthy")
    )
    assert healthy.exists()
    fleets.export(root / "healthy", root / "fleet", "m0b", since_ms=1)
    fleets.export(root / "nothing", root / "fleet", "m0c")
    for number, machine in enumerate(("m0d", "m0e"), 11):  # and two that fail when the one with ties does
        fleets.export(fleets.days(root / machine, number, 1), root / "fleet", machine)
    return root / "fleet"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster's URL, with Spark's settings as somebody's site would have them."""
    pytest.importorskip("pyspark", reason="Spark is not installed; make spark does that where it can")
    home = tmp_path_factory.mktemp("spark")
    java = os.environ.get("JAVA_HOME")
    also = f"spark.executorEnv.JAVA_HOME {java}\n" if java else ""
    (home / "spark-defaults.conf").write_text(
        f"{SETTINGS}{also}spark.local.dir {home}\nspark.sql.warehouse.dir {home}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(home))
        patch.setenv("HOLDFAST_STATE_DIR", str(home / "state"))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_HOSTNAME", "localhost")
        yield CLUSTER
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is not None:
            session.stop()


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two values differ in value or in type; floats may in their last digits."""
    if type(one) is not type(other):
        yield f"{path}: {one!r} is another type than {other!r}"
    elif isinstance(one, Mapping):
        if one.keys() != other.keys():
            yield f"{path}: {sorted(one)} != {sorted(other)}"
        for name in one.keys() & other.keys():
            yield from differences(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list):
        if len(one) != len(other):
            yield f"{path}: {len(one)} rows and {len(other)}"
        for number, (mine, theirs) in enumerate(zip(in_order(one), in_order(other), strict=False)):
            yield from differences(mine, theirs, f"{path}[{number}]")
    elif isinstance(one, float):
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{path}: {one!r} != {other!r}"
    elif one != other:
        yield f"{path}: {one!r} != {other!r}"


def in_order(rows: list[Any]) -> list[Any]:
    """By all that is no float: engines need not agree on the order of equals."""

    def key(row: Any) -> str:
        plain = (
            {k: v for k, v in row.items() if not isinstance(v, float)} if isinstance(row, Mapping) else row
        )
        return json.dumps(plain, sort_keys=True)

    return sorted(rows, key=key)


def report(place: Path, backend: str) -> dict[str, Any]:
    """What the command says, the days and hours by a clock that has summer time."""
    span = ("--since", "2026-04-15", "--timezone", "America/Chicago", "--format", "json")
    result = CliRunner().invoke(main, ["diagnose", "--from", str(place), "--backend", backend, *span])
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_the_whole_report_is_the_same(place: Path, cluster: str) -> None:
    """Tables, rates with their ranges, causes, what was covered and what was refused: by the command, to the last row."""
    here, there = report(place, backends.DUCKDB), report(place, cluster)

    assert here["machines"] == 8 and here["failures"] > 100 and len(here["tables"]) > 20
    assert list(differences(here, there)) == []


def test_what_is_hard_is_in_the_data(place: Path) -> None:
    """An equal result proves something only where engines may differ: NULLs, ties, both sides of a clock's change."""
    told = report(place, backends.DUCKDB)["tables"]

    assert {row["region"] for row in told["by region"]} == {"north", "south", "not known"}
    assert any(row["per_1000"] is None for row in told["by model"])
    assert {row["weekday"] for row in told["per weekday"]} == set(range(7))
    assert any(row["to_tokens"] is None for row in told["by context"]) and any(
        row["to_s"] is None for row in told["ages"]
    )
    assert any(row["turns"] % 2 == 0 for row in told["turn times"])
    assert {row["code"] for row in told["dead turns"]} >= {"client's idle limit", "unknown"}
    assert told["lost"][0]["minutes"] % 1 and told["without network"][0]["watched"] > 0
    assert any(row["per_1000_low"] is not None for row in told["by agent kind"]) and told["together"]


def test_the_tables_of_one_home_are_the_same(place: Path, cluster: str) -> None:
    """Those that a fleet's report leaves out, and notes on the timeline; over all the time, the clock set forward in it."""
    here = backends.read(backends.connect(backends.DUCKDB), str(place))
    there = backends.read(backends.connect(cluster), str(place))

    def asked(engine: Engine) -> dict[str, Any]:
        source = engine.sources
        wanted = {
            name: COUNTED[name](source, OFFSETS) for name in (*sorted(NOT_HERE), "per hour", "per weekday")
        }
        wanted["by session"] = tables.rates(source, "session")
        marks = [
            (MORNING_MS + DAY_MS, "a cable"),
            (MORNING_MS + DAY_MS, "twice"),
            (MORNING_MS + 5 * DAY_MS, "another"),
        ]
        wanted["between marks"] = tables.between_marks(source, marks)
        wanted["failures"] = tables.failures(source)
        return {name: engine.rows(expression) for name, expression in wanted.items()}

    one, other = asked(here), asked(there)
    assert all(one.values()) and len(one["failures"]) > 100
    assert list(differences(one, other)) == []
