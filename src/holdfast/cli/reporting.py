"""A diagnosis for others: the public report, its private sheet, and what stands on the terminal of what was taken out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import write_new, write_private
from holdfast.diagnosis.around import EGRESS, Around
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.flight.deidentify import Names
from holdfast.flight.redact import clean
from holdfast.report.diagnosis_issue import issue, private
from holdfast.sessions.environment import account
from holdfast.sessions.store import Store

SHOWN = 3
"Replacements of each kind that are previewed on the terminal."


def write_issue(diagnosis: Diagnosis, beside: Around, store: Store, home: Path, out: Path) -> None:
    """Write the public report, and beside it the private sheet; say on stderr what was taken out. Raises `Failed`."""
    names = Names()
    public = issue(diagnosis, beside, hosts(store), names)
    sheet = out.with_name(f"{out.name}.private.md")
    known = [(one.name, one.value) for one in account(home)]
    known += [
        ("organization id, as the provider named it in a refusal", one)
        for one in store.organizations()
        if one not in {value for _, value in known}
    ]
    if beside.environment is not None and (place := beside.environment.told(EGRESS)):
        known.append(("egress: by which network this machine leaves for the internet", place))
    write_private(sheet, private(diagnosis, names, known))
    try:
        write_new(out, public, 0o666)
    except Failed:
        sheet.unlink(missing_ok=True)
        raise
    click.echo(f"De-identified; replaced or removed: {names.in_words() or 'nothing had to be'}.", err=True)
    replaced = names.key()
    shown = _some_of_each(replaced)
    for pseudonym in shown:
        click.echo(f"  {pseudonym:<16} {clean(replaced[pseudonym], limit=60)}", err=True)
    if len(replaced) > len(shown):
        click.echo(f"  ... {len(replaced) - len(shown)} more in the private sheet", err=True)
    click.echo(f"{clean(str(sheet))} leads back to all of it: keep it to yourself.", err=True)
    click.echo(
        "Read the public one before you send it: what is said of you in it is yours to judge.", err=True
    )
    click.echo(f"Written to {clean(str(out))}.")


def _some_of_each(replaced: Mapping[str, str]) -> list[str]:
    """Pseudonyms to preview: the first of every kind."""
    by_kind: dict[str, list[str]] = {}
    for pseudonym in replaced:
        by_kind.setdefault(pseudonym.partition("-")[0], []).append(pseudonym)
    return [one for same in by_kind.values() for one in same[:SHOWN]]


def hosts(store: Store) -> frozenset[str]:
    """Those that failed tries went to, as far as their records name them."""
    paths = store.connection.execute("SELECT DISTINCT path FROM error WHERE path IS NOT NULL")
    return frozenset(path.partition("://")[2].partition("/")[0] for (path,) in paths) - {""}
