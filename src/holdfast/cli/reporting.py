"""What `holdfast diagnose` adds to its diagnosis: where the client runs, what came since, and a public report."""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from pathlib import Path

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import write_private
from holdfast.diagnosis.around import Around
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.since import SITTING_MS, Kept, Since, decode, encode, kept, since
from holdfast.flight.deidentify import Names
from holdfast.flight.flights import counted
from holdfast.flight.redact import clean
from holdfast.report.diagnosis_issue import Trace, issue, private
from holdfast.sessions.environment import account, look
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
    if diagnosis.since_ms is not None or diagnosis.until_ms is not None:
        return Around(environment)
    found = _since(diagnosis, store, now_ms)
    store.keep_report(encode(kept(diagnosis)))
    if found is None:
        return Around(environment)
    told = datetime.fromtimestamp(found.at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")
    return Around(environment, found, told)


def _since(diagnosis: Diagnosis, store: Store, now_ms: int) -> Since | None:
    """The comparison with the last report; with one before it, if that one is of the same sitting and nothing came since."""
    chosen: tuple[int, Kept, Added] | None = None
    for scan, at_ms, text in store.reports():
        earlier = decode(text)
        if earlier is None:
            continue
        added = store.added_since(scan)
        if chosen is None or added.failures or added.requests:
            chosen = (at_ms, earlier, added)
        if added.failures or added.requests or now_ms - at_ms > SITTING_MS:
            break
    if chosen is None:
        return None
    at_ms, earlier, added = chosen
    return since(
        diagnosis,
        earlier,
        at_ms=at_ms,
        new=added.failures,
        requests=added.requests,
        sessions=added.sessions,
        projects=added.projects,
    )


# ----- the issue and its private sheet

SHOWN = 12
"Replacements that are previewed on the terminal."


def write_issue(diagnosis: Diagnosis, beside: Around, store: Store, home: Path, out: Path) -> None:
    """Write the public report, and beside it the private sheet; say on stderr what was taken out. Raises `Failed`."""
    names, found = Names(), traces(store)
    public = issue(diagnosis, beside, found, names)
    sheet = out.with_name(f"{out.name}.private.md")
    write_private(sheet, private(diagnosis, found, names, [(one.name, one.value) for one in account(home)]))
    try:
        out.write_text(public, encoding="utf-8")
    except OSError as error:
        sheet.unlink(missing_ok=True)
        raise Failed(f"cannot write {clean(str(out))} ({error.strerror}); choose another --out") from error
    counts = ", ".join(counted(number, kind) for kind, number in names.counts().items())
    click.echo(f"De-identified; replaced or removed: {counts or 'nothing had to be'}.", err=True)
    replaced = list(names.key().items())
    for pseudonym, original in replaced[:SHOWN]:
        click.echo(f"  {pseudonym:<12} {clean(original, limit=60)}", err=True)
    if len(replaced) > SHOWN:
        click.echo(f"  ... {len(replaced) - SHOWN} more in the private sheet", err=True)
    click.echo(f"{clean(str(sheet))} leads back to all of it: keep it to yourself.", err=True)
    click.echo(
        "Read the public one before you send it: what is said of you in it is yours to judge.", err=True
    )
    click.echo(f"Written to {clean(str(out))}.")


def traces(store: Store) -> dict[str, Trace]:
    """What a vendor can look failures up by, from their failed tries: failure's id -> its request and edge ids."""
    found: dict[str, tuple[list[str], list[str], list[str]]] = {}
    rows = store.connection.execute(
        "SELECT coalesce(chain, uuid), request_id, edge_id, path FROM error "
        "UNION ALL SELECT uuid, request_id, NULL, NULL FROM dead"
    )
    for key, *told in rows:
        kept = found.setdefault(key, ([], [], []))
        for place, one in zip(kept, told, strict=True):
            if one and one not in place:
                place.append(one)
    return {
        key: Trace(tuple(requests), tuple(edges), paths[0] if paths else "")
        for key, (requests, edges, paths) in found.items()
    }
