"""`holdfast export`: the journal as Parquet files."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import json_line, opened_library, when
from holdfast.flight import instant
from holdfast.flight.flights import size


@click.command("export")
@click.option(
    "--parquet",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; made if it is missing, for your user alone.",
)
@click.option("--since", type=when, metavar="WHEN", help="Only turns since then: 2h, 7d, 2026-03-01T14:30.")
@click.option("--until", type=when, metavar="WHEN", help="Only turns before then.")
@click.option(
    "--public",
    is_flag=True,
    help="Without what says whose they are: names, paths, hosts, sessions and unknown words get pseudonyms.",
)
@click.option("--force", is_flag=True, help="Replace files of an earlier export.")
@click.option("--json", "as_json", is_flag=True, help="What was written, as one JSON object.")
def command(
    directory: Path, since: int | None, until: int | None, public: bool, force: bool, as_json: bool
) -> None:
    """Write the journal into DIR as one Parquet file per table, with _schema.json beside them.

    The tables are those of --sql: holdfast flights --schema. Neither prompts nor answers are in them. Gateways may
    go on writing meanwhile. With --public the files can be shown to others; what is kept and what gets a pseudonym
    is decided as in a public report.

    \b
    Examples:
      holdfast export --parquet turns/
      holdfast export --parquet turns/ --since 7d --force
      holdfast export --parquet for-the-provider/ --since 2026-03-01 --until 2026-03-02 --public

    \b
    Exit codes: 0 done, 1 nothing recorded or nothing written, 2 wrong usage.
    """
    from holdfast.telemetry.loading import Span
    from holdfast.telemetry.parquet import ExportError, export

    if since is not None and until is not None and until <= since:
        raise click.UsageError("--until is not after --since; exchange them")
    change = None
    if public:
        from holdfast.telemetry.public import Deidentifier

        change = Deidentifier()
    try:
        with opened_library() as library:
            done = export(
                library.connection,
                library.state_dir,
                directory,
                Span(since, until),
                now_wall_ms=instant.now().wall_ms,
                force=force,
                change=change,
            )
    except ExportError as error:
        raise Failed(str(error)) from None
    if as_json:
        removed = change.names.counts() if change is not None else None
        told = {
            "directory": str(directory),
            "rows": done.rows,
            "size_bytes": done.size_bytes,
            "removed": removed,
        }
        click.echo(json_line(told))
        return
    rows = ", ".join(f"{name} {count:,}" for name, count in done.rows.items() if count)
    click.echo(f"{directory}: {size(done.size_bytes)}; rows: {rows or 'none'}")
    if change is not None:
        told_out = ", ".join(f"{count:,} × {kind}" for kind, count in change.names.counts().items())
        click.echo(f"taken out: {told_out or 'nothing'}. Look at the files before you hand them on.")
