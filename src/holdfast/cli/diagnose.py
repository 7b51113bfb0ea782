"""`holdfast diagnose`: what the client's own logs say of its failures, weighed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.add import adds
from holdfast.cli.errors import Misused
from holdfast.cli.homes import diagnosed
from holdfast.cli.viewing import page_width, when
from holdfast.cli.zones import zone
from holdfast.flight.extras import install_line
from holdfast.flight.redact import clean

if TYPE_CHECKING:
    from holdfast.diagnosis.around import Around
    from holdfast.diagnosis.diagnosis import Diagnosis


@click.command("diagnose")
@click.option(
    "--home",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Look at this home's logs instead of yours, such as somebody else's, copied.",
)
@click.option("--since", type=when, metavar="TIME", help="Only failures since then: 7d, 24h, 2026-03-01.")
@click.option("--until", type=when, metavar="TIME", help="Only failures before then.")
@click.option(
    "--timezone", metavar="NAME", help="The clock of that machine, such as Europe/Paris [this one's]."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "html", "json", "issue"]),
    default="text",
    show_default=True,
    help="For the terminal, a ticket, a browser, a program, or a public tracker (needs --out).",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, and not to the terminal."
)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="Many machines' exported sessions instead of a home: a directory, a pattern, or a URL that the engine reads.",
)
@click.option(
    "--backend",
    metavar="URL",
    help="The engine for --from: duckdb://, spark://local[4], spark://HOST:7077, sc://HOST:15002 [duckdb://].",
)
@adds
def command(
    home: Path | None,
    place: str | None,
    backend: str | None,
    since: int | None,
    until: int | None,
    timezone: str | None,
    form: str,
    out: Path | None,
    add: tuple[Path, ...],
    clock: float | None,
) -> None:
    """Diagnose what failed, from what the client and its desktop app wrote down.

    It needs no gateway to have run; where one has, its flights tell who ended what, and so does what you --add.
    Transcripts are read where they are, and only what is new since the last time; nothing that anybody said is
    kept, and nothing leaves this machine.

    With --from it diagnoses many machines together, by the sessions that holdfast export wrote on each: the same
    tables, and what only a fleet shows. Days and hours are of UTC, or of --timezone.

    \b
    Examples:
      holdfast diagnose
      holdfast diagnose --since 7d --format markdown --out report.md
      holdfast diagnose --format html --out report.html
      holdfast diagnose --format issue --out issue.md
      holdfast diagnose --add /var/log/nginx/access.log --add ring.pcapng
      holdfast diagnose --home /mnt/copy/of/a/home --timezone America/Chicago --format json
      holdfast diagnose --from fleet/ --since 30d
      holdfast diagnose --from s3://bucket/fleet --backend spark://HOST:7077 --format markdown --out fleet.md

    \b
    Exit codes: 0 whatever it finds, 2 it could not look.
    """
    if place is not None:
        if home is not None or add or clock is not None:
            raise click.UsageError(
                "--from has exported files: --home, --add and --clock go with a home; leave them out"
            )
        if form in ("html", "issue"):
            raise click.UsageError(
                f"--format {form} is for one home; a fleet's report is text, markdown or json"
            )
        from holdfast.cli.fleet import fleet_page

        told_zone = zone(timezone) if timezone else None
        write(fleet_page(place, backend, told_zone, since, until, form, out is None), out)
        return
    if backend is not None:
        raise click.UsageError(
            "--backend computes over exported files: name them by --from DIR (see holdfast export)"
        )
    if form == "issue" and out is None:
        raise click.UsageError(
            "--format issue writes two files, a public and a private one: name the first by --out"
        )
    clock_zone = zone(timezone)
    with diagnosed(home, clock_zone, since, until, add, clock) as found:
        from holdfast.cli.around import around

        now_ms = round(time.time() * 1000)
        where = home or Path.home()
        beside = around(found.diagnosis, found.store, where, clock_zone, own=home is None, now_ms=now_ms)
        if form == "issue" and out is not None:
            from holdfast.cli.reporting import write_issue

            write_issue(found.diagnosis, beside, found.store, where, out)
            return
    write(_page(found.diagnosis, beside, form, out is None), out)


def write(page: str, out: Path | None) -> None:
    """Show a report, or put it where it was asked for. Raises `Misused`."""
    if out is None:
        click.echo(page)
        return
    try:
        out.write_text(page + "\n", encoding="utf-8")
    except OSError as error:
        raise Misused(
            f"{clean(str(out))} cannot be written ({error.strerror}); choose another --out"
        ) from error
    click.echo(f"Written to {clean(str(out))}.")


def _page(diagnosis: Diagnosis, beside: Around, form: str, shown: bool) -> str:
    from holdfast.diagnosis import prior
    from holdfast.diagnosis.diagnosis import as_json
    from holdfast.report import diagnosed, diagnosis_html

    wide = page_width() if shown else None
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(
            as_json(diagnosis)
            | {"prior": prior.as_json(prior.held(diagnosis, beside.environment))}
            | beside.as_json(),
            ensure_ascii=True,
            indent=1,
        ),
        "html": lambda: diagnosis_html.page(diagnosis, beside).rstrip("\n"),
        "markdown": lambda: "\n".join(diagnosed.as_markdown(diagnosis, beside)),
        "text": lambda: "\n".join(diagnosed.text(diagnosis, wide, beside)),
    }
    try:
        return forms[form]()
    except ImportError as error:
        raise Misused(
            f"the page's pictures need a package that is not installed ({error.name} is missing); every other --format "
            f"goes without it, and this installs it: {install_line('diagnose')}"
        ) from error
