"""Which limits of the client's own its failures met: of which kind, and at which age. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.diagnosis.case import Case, Failure
from holdfast.sessions.client_telemetry import OWN_LIMIT

TABLE = "client limits"
REQUEST, SILENCE = "time of a request", "silence in a stream"
"""What the client says: that a request had no headers, or without streaming no whole answer, in its time; or that a stream
that had begun was silent for too long. Other variables move the one than the other."""
_SILENT = re.compile(r"stopped arriving|stalled|idle[- ]timeout", re.IGNORECASE)
_LATE = re.compile(r"timed out", re.IGNORECASE)


def met(case: Case) -> list[Mapping[str, Any]]:
    """A row for each failure at which the client itself says that its time was up.

    Columns: at_ms, version, limit (the kind), age_s (of its oldest such try; None: not measured), failure (its id).
    """
    rows: list[Mapping[str, Any]] = []
    for failure in case.failures:
        if kind := _kind(failure):
            told = [one for one in failure.tries if one.code == OWN_LIMIT]
            if not told and kind == REQUEST:
                told = list(failure.tries[-1:])
            known = [one.age_s for one in told if one.age_s is not None]
            rows.append(
                {
                    "at_ms": failure.at_ms,
                    "version": failure.version,
                    "limit": kind,
                    "age_s": round(max(known), 1) if known else None,
                    "failure": failure.id,
                }
            )
    return rows


def _kind(failure: Failure) -> str:
    if OWN_LIMIT in failure.codes:
        return REQUEST
    if failure.statuses:
        return ""
    if _SILENT.search(failure.text):
        return SILENCE
    return REQUEST if _LATE.search(failure.text) else ""


def of_the_first_advice(diagnosis: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The rows of those failures that the first advice is about; `diagnosis` as `diagnosis.as_json` tells it."""
    if not diagnosis["advice"]:
        return []
    first = diagnosis["advice"][0]
    named = {first["hypothesis"], *first["also"]}
    mine = {key for one in diagnosis["findings"] if one["hypothesis"] in named for key in one["explains"]}
    return [row for row in diagnosis["tables"].get(TABLE, ()) if row["failure"] in mine]
