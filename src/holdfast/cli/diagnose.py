"""`holdfast diagnose`: what the client's own logs say of its failures, weighed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.add import adds
from holdfast.cli.errors import Failed, Misused
from holdfast.cli.homes import asked_of, diagnosed
from holdfast.cli.viewing import must_be_new, must_follow, page_width, when, write_private
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
@click.option("--since", metavar="TIME", help="Only failures since then: 7d, 24h, 2026-03-01.")
@click.option("--until", metavar="TIME", help="Only failures before then.")
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
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it into this new file, which only you can read, and not to the terminal.",
)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="Many machines' exported sessions instead of a home, as text, markdown or json: a directory, a pattern, or a URL "
    "that the engine reads.",
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
    since: str | None,
    until: str | None,
    timezone: str | None,
    form: str,
    out: Path | None,
    add: tuple[Path, ...],
    clock: float | None,
) -> None:
    """Diagnose what failed, from what the client and its desktop app wrote down.

    It needs no gateway to have run; where one has, its flights tell who ended what, and so does what you --add.
    Transcripts are read where they are, and only what is new since the last time; nothing that anybody said is
    kept, and nothing leaves this machine. On a terminal a long report is shown by $PAGER (PAGER=cat: at once).

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
    Exit codes: 0 whatever it finds, 1 what it found could not be written, 2 it could not look.
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
        since_ms, until_ms = period(since, until, told_zone or UTC)
        write(fleet_page(place, backend, told_zone, since_ms, until_ms, form, out is None), out)
        return
    if backend is not None:
        raise click.UsageError(
            "--backend computes over exported files: name them by --from DIR (see holdfast export)"
        )
    if form == "issue" and out is None:
        raise click.UsageError(
            "--format issue writes two files, a public and a private one: name the first by --out"
        )
    if out == Path("-"):
        if form == "issue":
            raise click.UsageError(
                "--format issue writes two files: --out takes a name for the first, and no -"
            )
        out = None
    if out is not None:
        must_be_new(out)
    clock_zone = zone(timezone)
    since_ms, until_ms = period(since, until, clock_zone)
    assumed = home is not None and timezone is None
    with diagnosed(home, clock_zone, since_ms, until_ms, add, clock, assumed=assumed) as found:
        from holdfast.cli.around import around
        from holdfast.diagnosis.around import held_against
        from holdfast.diagnosis.fix import silences

        now_ms = round(time.time() * 1000)
        where = home or Path.home()
        beside = replace(
            around(found.diagnosis, found.store, where, clock_zone, own=home is None, now_ms=now_ms),
            asked=shlex.join(asked_of(home, timezone, since, until, add, clock)),
        )
        if form == "issue" and out is not None:
            if not found.diagnosis.failures and not silences(found.diagnosis.tables):
                raise Failed(
                    "no failure and no long stall is on record, so there is nothing to report; what there is: holdfast "
                    "diagnose"
                )
            from holdfast.cli.reporting import write_issue

            write_issue(found.diagnosis, beside, found.store, where, out)
            return
        nothing = form == "text" and out is None and _nothing(found.diagnosis)
        diagnosis = held_against(found.diagnosis, beside.environment) if home is None else found.diagnosis
    if nothing:
        click.echo(_nowhere(found.diagnosis, home))
        return
    write(_page(diagnosis, beside, form, out is None), out)


def period(since: str | None, until: str | None, clock_zone: tzinfo) -> tuple[int | None, int | None]:
    """From when to when (ms), dates read by the clock of the logs. Raises `click.UsageError`."""
    found: list[int | None] = []
    for option, value in (("--since", since), ("--until", until)):
        try:
            found.append(None if value is None else when(value, clock_zone))
        except click.BadParameter as error:
            raise click.BadParameter(error.message, param_hint=f"'{option}'") from error
    since_ms, until_ms = found
    must_follow(since_ms, until_ms)
    return since_ms, until_ms


def _nothing(diagnosis: Diagnosis) -> bool:
    """Whether there was nothing to look at, of any source and any time."""
    return not diagnosis.case.failures and not any(
        one.first_ms is not None for one in diagnosis.coverage if one.source not in FOR_OTHER_QUESTIONS
    )


FOR_OTHER_QUESTIONS = frozenset({"link now", "probes", "client logs"})
"Sources that may have something where no client has ever run."


def _nowhere(diagnosis: Diagnosis, home: Path | None) -> str:
    """Where it was looked, source by source, and what to do, instead of a page of zeros."""
    where = home or Path.home()
    page = [f"There is nothing to diagnose: no client's logs are in {clean(str(where))}.", ""]
    from holdfast.report.diagnosed import covered

    page += [
        f"  {one.source:<13}{covered(one)}"
        for one in diagnosis.coverage
        if one.source not in FOR_OTHER_QUESTIONS
    ]
    page += [
        "",
        "Elsewhere: --home DIR, the home that holds .claude; yours may be named by CLAUDE_CONFIG_DIR.",
        "For the next time: holdfast run -- claude. What the network does now: holdfast probe",
    ]
    return "\n".join(page)


def write(page: str, out: Path | None) -> None:
    """Show a report, page by page where it is longer than the terminal, or put it where it was asked for. Raises `Failed`.

    It names projects, sessions and paths, so nobody else can read the file.
    """
    if out is not None:
        write_private(out, page + "\n")
        click.echo(f"Written to {clean(str(out))}, which only you can read.")
    elif to_a_person() and page.count("\n") >= shutil.get_terminal_size().lines:
        os.environ.setdefault("LESS", "FRX")
        click.echo_via_pager(page + "\n")
    else:
        click.echo(page)


def to_a_person() -> bool:
    """Whether it goes to a terminal on which somebody can turn pages."""
    return sys.stdout.isatty() and sys.stdin.isatty()


def _page(diagnosis: Diagnosis, beside: Around, form: str, shown: bool) -> str:
    from holdfast.diagnosis import prior
    from holdfast.diagnosis.diagnosis import as_json
    from holdfast.report import diagnosed, diagnosis_html

    wide = page_width() if shown else None
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(
            as_json(diagnosis)
            | {"headline": diagnosed.verdict(diagnosis)}
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
