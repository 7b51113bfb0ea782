"""What stands around a home's diagnosis, looked up: where the client runs, and what came since the last report."""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from pathlib import Path

from holdfast.diagnosis.around import Around, with_egress, with_link
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.since import SITTING_MS, Kept, Since, decode, encode, kept, since
from holdfast.probes import link
from holdfast.sessions.environment import look
from holdfast.sessions.store import Added, Store

MOST_PROJECTS = 300


def around(diagnosis: Diagnosis, store: Store, home: Path, zone: tzinfo, *, own: bool, now_ms: int) -> Around:
    """Look, compare and keep. `own`: the home is this user's on this machine, not a copy of somebody else's.

    A report of a part of the time (`--since`, `--until`) neither compares nor is kept: it would look like a change.
    """
    rows = store.connection.execute(
        "SELECT project FROM request UNION SELECT project FROM error LIMIT ?", (MOST_PROJECTS,)
    )
    environment = look(
        home, variables=os.environ if own else None, projects=[project for (project,) in rows if project]
    )
    environment = with_link(environment, link.look(Path("/"), os.environ) if own else None)
    environment = with_egress(environment, diagnosis.case.probes, zone, own=own)
    if diagnosis.since_ms is not None or diagnosis.until_ms is not None:
        return Around(environment)
    found = _since(diagnosis, store, now_ms)
    store.keep_report(encode(kept(diagnosis)))
    if found is None:
        return Around(environment)
    told = datetime.fromtimestamp(found.at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")
    return Around(environment, found, told)


def _since(diagnosis: Diagnosis, store: Store, now_ms: int) -> Since | None:
    """The comparison with the last report; with one before it, if that one is of the same sitting and nothing came since.

    None where every earlier one is of this sitting, and nothing came: that would compare a look with itself.
    """
    chosen: tuple[int, Kept, Added] | None = None
    for scan, at_ms, text in store.reports():
        earlier = decode(text)
        if earlier is None:
            continue
        added = store.added_since(scan)
        if chosen is None or added.failures or added.requests or now_ms - chosen[0] <= SITTING_MS:
            chosen = (at_ms, earlier, added)
        if added.failures or added.requests or now_ms - at_ms > SITTING_MS:
            break
    if chosen is None:
        return None
    at_ms, earlier, added = chosen
    if now_ms - at_ms <= SITTING_MS and not (added.failures or added.requests or added.sessions):
        return None
    return since(
        diagnosis,
        earlier,
        at_ms=at_ms,
        new=added.failures,
        requests=added.requests,
        sessions=added.sessions,
        projects=added.projects,
    )
