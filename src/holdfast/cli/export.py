"""`holdfast export`: the journal and the sessions as Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from holdfast.cli.errors import Failed, Misused
from holdfast.cli.viewing import json_line, must_follow, opened_library, when
from holdfast.flight import instant
from holdfast.flight.flights import size
from holdfast.flight.redact import clean
from holdfast.flight.state import JOURNAL, state_path


@click.command("export")
@click.option(
    "--parquet",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; made if it is missing, for your user alone.",
)
@click.option(
    "--tables",
    "which",
    type=click.Choice(["all", "journal", "sessions"]),
    default="all",
    show_default=True,
    help="Which: turns that a gateway carried, or what the client's own logs say, made fit to leave.",
)
@click.option(
    "--since", type=when, metavar="WHEN", help="Only what began since then: 2h, 7d, 2026-03-01T14:30."
)
@click.option("--until", type=when, metavar="WHEN", help="Only what began before then.")
@click.option(
    "--public",
    is_flag=True,
    help="The journal without what says whose it is: names, paths, hosts, sessions and unknown words get pseudonyms.",
)
@click.option("--force", is_flag=True, help="Replace the journal's files of an earlier export.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="The sessions of this home instead of yours, such as somebody else's, copied.",
)
@click.option(
    "--timezone", metavar="NAME", help="The clock that the home's desktop log was written by [this one's]."
)
@click.option(
    "--region", metavar="NAME", help="Say with the sessions in which region this machine is; not looked up."
)
@click.option(
    "--network", metavar="NAME", help="And in which network, such as its provider's name; not looked up."
)
@click.option("--json", "as_json", is_flag=True, help="What was written, as one JSON object.")
def command(
    directory: Path | None,
    which: str,
    since: int | None,
    until: int | None,
    public: bool,
    force: bool,
    home: Path | None,
    timezone: str | None,
    region: str | None,
    network: str | None,
    as_json: bool,
) -> None:
    """Write the journal and the sessions into DIR as Parquet files.

    The journal's tables are those of --sql (holdfast flights --schema), one file each, with _schema.json beside
    them. Neither prompts nor answers are in them. Gateways may go on writing meanwhile. With --public they can be
    shown to others; what is kept and what gets a pseudonym is decided as in a public report.

    The sessions' tables are for holdfast diagnose --from, over the files of many machines. They go into the folder
    machine=... of DIR, and replace what this machine wrote there before. What leaves in them: when requests were
    asked for, answered and failed, with code, status, model, client version and tokens; when this machine had no
    network; which causes were found; and --region and --network, if you say them. Sessions, projects and agents get
    pseudonyms, the same in every export, by a key that stays here. No prompt, answer, path, host name, address,
    account or request id leaves.

    Nothing is sent anywhere.

    \b
    Examples:
      holdfast export --parquet out/
      holdfast export --parquet turns/ --tables journal --since 7d --force
      holdfast export --parquet fleet/ --tables sessions --region eu-west --network office
      holdfast export --parquet for-the-provider/ --tables journal --since 2026-03-01 --until 2026-03-02 --public

    \b
    Exit codes: 0 done, 1 nothing recorded or nothing written, 2 wrong usage.
    """
    if directory is None:
        raise click.UsageError("say where to, for example: holdfast export --parquet out/")
    must_follow(since, until)
    if which == "sessions" and (public or force):
        raise click.UsageError(
            "--public and --force are the journal's: sessions are always written so that they may leave, and replace "
            "this machine's earlier ones"
        )
    if home is not None and which != "sessions":
        raise click.UsageError("--home has sessions, and the journal is yours: say --tables sessions with it")
    _check_labels(which, region=region, network=network)
    told: dict[str, Any] = {"directory": str(directory)}
    lines, missing = list[str](), None
    if which != "sessions":
        try:
            journal, said = _journal(directory, since, until, public=public, force=force)
            told |= journal
            lines += said
        except Failed as error:
            # Where no gateway has run, sessions are all there is; what else is wrong is wrong for both.
            if which == "journal" or not _no_journal():
                raise
            missing = error
    if which != "journal":
        told["sessions"], said = _sessions(
            which, directory, since, until, home=home, timezone=timezone, region=region, network=network
        )
        lines += said
        if missing is not None and told["sessions"] is None:
            raise missing
    if as_json:
        click.echo(json_line(told))
        return
    for line in lines:
        click.echo(line)


def _check_labels(which: str, **labels: str | None) -> None:
    given = {name: value for name, value in labels.items() if value is not None}
    if given and which == "journal":
        raise click.UsageError(
            f"--{next(iter(given))} is said with the sessions, which --tables journal leaves out"
        )
    if given:
        from holdfast.sessions.exported import LABEL

        for name, value in given.items():
            if not LABEL.fullmatch(value):
                raise click.UsageError(
                    f"--{name} {clean(value)!r} is no name of up to 40 letters, digits, dots and dashes, such as eu-west"
                )


# ----- the journal


def _no_journal() -> bool:
    """Whether nothing was ever recorded."""
    return not (state_path() / JOURNAL).exists()


def _journal(
    directory: Path, since: int | None, until: int | None, *, public: bool, force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Write the journal's tables; what to say of them as JSON and in lines. Raises `Failed`."""
    from holdfast.telemetry.loading import Span
    from holdfast.telemetry.parquet import ExportError, export

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
    removed = change.names.counts() if change is not None else None
    rows = ", ".join(f"{name} {count:,}" for name, count in done.rows.items() if count)
    lines = [f"{directory}: {size(done.size_bytes)}; rows: {rows or 'none'}"]
    if removed is not None:
        told_out = ", ".join(f"{count:,} × {kind}" for kind, count in removed.items())
        lines.append(f"taken out: {told_out or 'nothing'}. Look at the files before you hand them on.")
    return {"rows": done.rows, "size_bytes": done.size_bytes, "removed": removed}, lines


# ----- the sessions


def _sessions(
    which: str, directory: Path, since: int | None, until: int | None, **about: Any
) -> tuple[dict[str, Any] | None, list[str]]:
    """Write the sessions' tables; what to say of them as JSON and in lines. Raises `Failed`, `Misused`."""
    from holdfast.cli.leaving import export_sessions

    try:
        left = export_sessions(
            about.pop("home"), directory, since, until, now_ms=instant.now().wall_ms, **about
        )
    except Misused as error:
        if which == "sessions" or not isinstance(error.__cause__, ImportError):
            raise
        return None, [f"sessions are left out: {error.message}"]
    if not left.rows:
        nothing = "no session of Claude Code in this time is kept in this home"
        if which == "sessions":
            raise Failed(f"{nothing}; name another by --home, or a longer time by --since")
        return None, [f"sessions: none; {nothing}"]
    rows = ", ".join(f"{name} {count:,}" for name, count in left.rows.items() if count and name != "machine")
    replaced = ", ".join(f"{count:,} × {kind}" for kind, count in left.replaced.items())
    told = {
        "machine": left.machine,
        "rows": left.rows,
        "size_bytes": left.size_bytes,
        "removed": left.replaced,
    }
    lines = [
        f"{directory}/machine={left.machine}: {size(left.size_bytes)}; rows: {rows}",
        f"pseudonyms for: {replaced or 'nothing'}; the key to them stays here. Only this folder is made to leave.",
    ]
    return told, lines
