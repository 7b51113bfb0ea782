"""What a fleet's report costs: exported files of as many machines as wanted, and how long DuckDB counts over them.

    python -m bench.fleet DIR --machines 200 --years 1

Homes are lived through as in the tests (`tests.diagnosis.homes`) and exported; their weeks are repeated until a year
is full, with new sessions in each, and machines are made of them with new names. Nothing of the files is read back.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tests.diagnosis import fleets, plots

from holdfast.sessions.exported import COLUMNS
from holdfast.sessions.partition import put

SEEDS = (3001, 3003, 3004, 3005)
WEEKS_MS = 33 * fleets.DAY_MS
"The generated lives are shorter than that."
YEAR_MS = 365 * fleets.DAY_MS
IDS = ("session", "uuid", "chain", "failure", "agent")
TIMES = ("at_ms", "before_ms", "ended_ms", "begun_ms")
ONCE = ("machine", "finding")
"Tables of what a machine says of itself, whatever time its files cover."


def renamed(table: pa.Table, salt: str, shift_ms: int, machine: str) -> pa.Table:
    """The same rows at another time, of another machine, with ids of their own."""
    made = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name in IDS:
            words = pc.dictionary_encode(column)
            fresh = [
                f"{one.partition('-')[0]}-{hashlib.sha256(f'{salt}{one}'.encode()).hexdigest()[:16]}"
                for one in words.dictionary.to_pylist()
            ]
            column = pa.DictionaryArray.from_arrays(words.indices, pa.array(fresh, pa.string())).cast(
                pa.string()
            )
        elif name in TIMES:
            column = pc.add(column, pa.scalar(shift_ms, pa.int64()))
        elif name == "machine":
            column = pa.array([machine] * len(column), pa.string())
        made[name] = column
    return pa.table(made, table.schema)


def made(directory: Path, machines: int, years: float) -> tuple[int, int]:
    """Write the machines' files; returns their bytes and rows of `request`."""
    size = rows = 0
    with tempfile.TemporaryDirectory() as scratch:
        homes = Path(scratch)
        for seed in SEEDS:
            fleets.export(
                plots.home(seed).saved(homes / str(seed)),
                homes / "fleet",
                f"m{seed}",
                findings=["fixed-limit"],
            )
        lives = [
            {
                name: pq.ParquetFile(homes / "fleet" / f"machine=m{seed}" / f"{name}.parquet").read()
                for name in COLUMNS
            }
            for seed in SEEDS
        ]
    for number in range(machines):
        life = lives[number % len(lives)]
        machine = "m" + hashlib.sha256(str(number).encode()).hexdigest()[:16]
        tables = {}
        for name, table in life.items():
            times = 1 if name in ONCE else max(1, round(years * YEAR_MS / WEEKS_MS))
            parts = [renamed(table, f"{number} {n} ", n * WEEKS_MS, machine) for n in range(times)]
            tables[name] = pa.concat_tables(parts)
        person = tables["machine"].schema.get_field_index("person")
        tables["machine"] = tables["machine"].set_column(person, "person", pa.array([f"p{machine[1:]}"]))
        size += put(tables, directory, machine)
        rows += tables["request"].num_rows
    return size, rows


def main() -> None:
    """Make the files if they are not there, and let the command count them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--years", type=float, default=1.0)
    asked = parser.parse_args()
    if not asked.directory.exists():
        size, rows = made(asked.directory, asked.machines, asked.years)
        print(f"{asked.machines} machines, {rows:,} answered requests, {size / 1e6:.1f} MB")
        print(f"a machine: {rows / asked.machines:,.0f} requests, {size / asked.machines / 1e3:.0f} kB")
    begun = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-m", "holdfast", "diagnose", "--from", str(asked.directory), "--format", "json"],
        check=True,
        capture_output=True,
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak = (
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3) / 1e3,
    )
    took_s = time.monotonic() - begun
    print(
        f"duckdb: {cpu_s:.1f} CPU s, {took_s:.1f} s, {peak:.2f} GB at most, {len(said.stdout):,} bytes of report"
    )


if __name__ == "__main__":
    main()
