"""Many machines diagnosed together: their exported files, an engine, and the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import tzinfo

from holdfast.cli.errors import Misused
from holdfast.cli.homes import weighing
from holdfast.cli.viewing import page_width
from holdfast.cli.zones import offsets, zone_name


def fleet_page(
    place: str,
    backend: str | None,
    zone: tzinfo | None,
    since_ms: int | None,
    until_ms: int | None,
    form: str,
    shown: bool,
) -> str:
    """The report over the files in `place`; `zone` None is UTC. Raises `Misused`."""
    with weighing():
        from holdfast.diagnosis import backends, fleet
    from holdfast.report import fleet as report

    try:
        backends.pattern(place)  # before an engine is started for nothing
        engine = backends.read(backends.connect(backend or backends.DUCKDB), place)
    except (backends.BackendError, backends.PlaceError) as error:
        raise Misused(str(error)) from error
    with _progress() as progress:
        found = fleet.look(
            engine,
            since_ms=since_ms,
            until_ms=until_ms,
            offsets=offsets(zone) if zone is not None else (),
            zone=zone_name(zone) if zone is not None else "UTC",
            progress=progress,
        )
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: json.dumps(fleet.as_json(found), ensure_ascii=True, indent=1),
        "markdown": lambda: "\n".join(report.as_markdown(found)),
        "text": lambda: "\n".join(report.text(found, page_width() if shown else None)),
    }
    return forms[form]()


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """On a terminal the table that is being counted; a cluster may take minutes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("counting") as status:
        yield lambda name: status.update(f"counting: {name}")
