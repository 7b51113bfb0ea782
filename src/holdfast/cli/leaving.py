"""The sessions of one home, made into files that may leave this machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import __version__
from holdfast.cli.errors import Failed
from holdfast.cli.homes import Diagnosed, diagnosed
from holdfast.cli.zones import zone
from holdfast.flight.state import StateError, state_dir

if TYPE_CHECKING:
    from holdfast.sessions.exported import KeyedNames


@dataclass(frozen=True, slots=True)
class Left:
    """What was written."""

    machine: str
    rows: dict[str, int]
    "By table; empty where this home has no session."
    size_bytes: int
    replaced: dict[str, int]
    "How many different things of each kind got a pseudonym."


def export_sessions(
    home: Path | None,
    directory: Path,
    since_ms: int | None,
    until_ms: int | None,
    *,
    timezone: str | None,
    region: str | None,
    network: str | None,
    now_ms: int,
) -> Left:
    """Diagnose a home and write what may leave of it; what was there of it is replaced. Raises `Failed`, `Misused`."""
    with diagnosed(home, zone(timezone), since_ms, until_ms) as found:
        # After it, for what they need is missing where the diagnosis could not be made.
        from holdfast.sessions import exported, partition

        try:
            me = partition.who(state_dir())
        except (partition.PartitionError, StateError) as error:
            raise Failed(str(error)) from None
        names = exported.KeyedNames(me.key)
        machine = me.machine if home is None else f"m{exported.keyed(me.key, str(home.resolve()))}"
        rows = _rows(found, names)
        if not any(rows.values()):
            return Left(machine, {}, 0, {})
        first_ms, last_ms = _span(rows)
        about = {
            "person": me.person if home is None else f"p{machine[1:]}",
            "schema": exported.SCHEMA,
            "holdfast": __version__,
            "system": platform.system() if home is None else None,
            "region": region,
            "network": network,
            "since_ms": since_ms,
            "until_ms": until_ms,
            "first_ms": first_ms,
            "last_ms": last_ms,
            "exported_ms": now_ms,
        }
        tables = exported.tables(machine, {**rows, "machine": [about]}, __version__)
    try:
        written = partition.put(tables, directory, machine)
    except partition.PartitionError as error:
        raise Failed(str(error)) from None
    return Left(machine, {name: table.num_rows for name, table in tables.items()}, written, names.counts())


def _rows(found: Diagnosed, names: KeyedNames) -> dict[str, list[dict[str, Any]]]:
    from holdfast.flight.deidentify import Policy, value
    from holdfast.sessions import exported

    diagnosis = found.diagnosis
    sources = found.engine.sources.between(diagnosis.since_ms, diagnosis.until_ms)
    rows = {
        table: exported.public_rows(table, found.engine.rows(getattr(sources, table)), names)
        for table in exported.FIELDS
    }
    if not any(rows.values()):
        return rows
    case, findings = diagnosis.case, diagnosis.findings
    rows["outage"] = [
        {"begun_ms": one.begun_ms, "ended_ms": one.ended_ms, "kind": " ".join(sorted(one.kinds)), "source": one.source}
        for one in case.outages
    ]  # fmt: skip
    watched = [(span, "desktop log") for span in case.watched] + [
        (span, "system log") for span in case.link_watched
    ]
    rows["watched"] = [
        {"begun_ms": span.begun_ms, "ended_ms": span.ended_ms, "source": source} for span, source in watched
    ]
    rows["finding"] = [
        {
            "hypothesis": one.hypothesis,
            "grade": one.grade,
            "bits": one.bits,
            "share": one.share,
            "explains": len(one.explains),
            "failures": diagnosis.failures,
        }
        for one in findings
    ]
    rows["cause"] = [
        {"failure": value(Policy.ID, key, names), "hypothesis": one.hypothesis} for one in findings for key in one.explains
    ]  # fmt: skip
    return rows


def _span(rows: Mapping[str, list[dict[str, Any]]]) -> tuple[int | None, int | None]:
    times = [row["at_ms"] for name in ("error", "dead", "request") for row in rows[name]]
    return (min(times), max(times)) if times else (None, None)
