"""Engines by their URL, and the files of many machines as their tables. What is wrong with either is said here.

duckdb://            this process
spark://local[4]     Spark in this process's own Java; spark://HOST:PORT a standalone cluster
sc://HOST:PORT       Spark Connect
pyspark://           the Spark session that the surroundings configure: spark-submit, SPARK_CONF_DIR, a notebook
any other            as `ibis.connect` reads it, if that backend reads Parquet files
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.diagnosis.engine import Engine
from holdfast.flight.extras import line_for, missing
from holdfast.flight.redact import clean
from holdfast.sessions.exported import COLUMNS, SCHEMA
from holdfast.sessions.partition import FOLDER

if TYPE_CHECKING:
    import ibis

DUCKDB = "duckdb://"
_HERE: Mapping[str, str] = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}
"Of a Spark that runs on this machine alone: nobody else is to reach it."
_QUIET: Mapping[str, str] = {"spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false"}


class BackendError(Exception):
    """There is no such engine here, or it does not run; the text says what to install or to try."""


class PlaceError(Exception):
    """There are no files that can be read together; the text says why, and the next thing to try."""


def connect(url: str) -> Any:
    """The Ibis backend of a URL. Raises `BackendError`."""
    scheme, mark, rest = url.partition("://")
    if not mark or not scheme:
        raise BackendError(
            f"{clean(url)!r} is no URL of an engine; write it like duckdb://, spark://local[4], spark://HOST:7077 or "
            "sc://HOST:15002"
        )
    try:
        import ibis

        if scheme == "duckdb":
            return ibis.duckdb.connect(rest or ":memory:")
        if scheme in ("spark", "sc", "pyspark"):
            return _spark(scheme, rest)
        backend = ibis.connect(url)
    except ImportError as error:
        engine = "pyspark" if scheme in ("spark", "sc", "pyspark") else clean(scheme)
        raise BackendError(
            f"{clean(url)} needs {error.name or error}, which is not installed"
            f"{' (it is of the extra spark)' if engine == 'pyspark' else ''}; install it with: "
            f"{line_for([*missing('diagnose'), f'ibis-framework[{engine}]'])}"
        ) from error
    except Exception as error:
        raise BackendError(_why(url, scheme, error)) from error
    if not hasattr(backend, "read_parquet"):
        raise BackendError(
            f"{clean(scheme)} cannot read Parquet files by itself; take duckdb:// or a Spark, or load them there and "
            "ask with SQL"
        )
    return backend


def _spark(scheme: str, rest: str) -> Any:
    import ibis
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("holdfast")
    settings = dict(_QUIET)
    if scheme == "sc":
        builder = builder.remote(f"sc://{rest}")
        settings = {}
    elif scheme == "spark":
        here = rest.startswith("local")
        builder = builder.master(rest if here or rest == "yarn" else f"spark://{rest}")
        if here:
            settings |= _HERE
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            os.environ.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    # So NULL stays NULL in the small tables that are sent to it: without Arrow a missing float arrives as NaN.
    session.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
    return ibis.pyspark.connect(session)


def _why(url: str, scheme: str, error: Exception) -> str:
    told = clean((str(error).strip().splitlines() or [type(error).__name__])[0], limit=200)
    if "JAVA_GATEWAY" in told:
        return (
            f"Spark found no Java that it runs on ({told}); install Java 17 or newer, or set JAVA_HOME to one"
        )
    hint = "is it running, and does this machine reach it?" if scheme != "duckdb" else "look at its path"
    return f"{clean(url)} does not answer ({told}); {hint}"


# ----- files


def pattern(place: str) -> str:
    """Where the machines' folders are, as a pattern of paths: `DIR/machine=*`. Raises `PlaceError`.

    A local directory is looked into; of a place behind a URL it is the engine that finds out.
    """
    if "://" in place:
        return place.rstrip("/") if "*" in place else f"{place.rstrip('/')}/{FOLDER}*"
    directory = Path(place)
    if directory.is_dir():
        inside = glob.escape(str(directory.absolute()))
        folders = inside if (directory / "machine.parquet").exists() else f"{inside}/{FOLDER}*"
    else:
        folders = str(Path(place).absolute())
    found = [Path(one) for one in sorted(glob.glob(folders)) if Path(one).is_dir()]  # noqa: PTH207 (an absolute pattern)
    if not found:
        raise PlaceError(
            f"no exported sessions are in {clean(place)}: no folder {FOLDER}... is there; make one on each machine with: "
            "holdfast export --parquet DIR"
        )
    for folder in found:
        missing = [name for name in COLUMNS if not (folder / f"{name}.parquet").is_file()]
        if missing:
            raise PlaceError(
                f"{clean(str(folder))} is not whole: {missing[0]}.parquet is missing; copy the folder again, or take "
                "it away"
            )
    return folders


def read(backend: Any, place: str) -> Engine:
    """The exported sessions there, all machines' together. Raises `PlaceError`."""
    folders = pattern(place)
    try:
        machine = _table(backend, folders, "machine")
        _one_schema(backend, machine, place)
        return Engine.over(
            backend,
            {name: machine if name == "machine" else _table(backend, folders, name) for name in COLUMNS},
        )
    except PlaceError:
        raise
    except Exception as error:
        told = clean((str(error).strip().splitlines() or [type(error).__name__])[0], limit=200)
        raise PlaceError(
            f"the files in {clean(place)} cannot be read ({told}); does this engine reach that place, and are its files "
            "those of holdfast export?"
        ) from error


def _table(backend: Any, folders: str, name: str) -> ibis.Table:
    # Paths may look like partitions; rows say their machine themselves.
    more = {"hive_partitioning": False} if backend.name == "duckdb" else {}
    return backend.read_parquet(f"{folders}/{name}.parquet", table_name=f"holdfast_{name}", **more)


def _one_schema(backend: Any, machine: ibis.Table, place: str) -> None:
    rows = backend.to_pyarrow(
        machine.group_by(["schema", "holdfast"]).agg(
            machines=machine.count(), unlike=machine.machine.nunique()
        )
    ).to_pylist()
    if not rows:
        raise PlaceError(f"no machine has exported anything to {clean(place)}")
    others = [row for row in rows if row["schema"] != SCHEMA]
    if others:
        count, total = sum(row["machines"] for row in others), sum(row["machines"] for row in rows)
        versions = ", ".join(
            sorted({clean(f"{row['schema']} (holdfast {row['holdfast']})") for row in others})
        )
        newer = any(row["schema"] > SCHEMA for row in others)
        raise PlaceError(
            f"{count} of {total} machines exported another schema: {versions}, and this holdfast reads {SCHEMA}; "
            + ("update it here" if newer else "export again on those machines")
            + ", or name only the folders that fit"
        )
    twice = [row for row in rows if row["machines"] != row["unlike"]]
    if twice:
        raise PlaceError(
            f"a machine is in {clean(place)} twice, and would be counted twice; take one of its folders away"
        )
