"""One HTML file that stands alone: nothing is fetched, nothing runs.

Jinja2 escapes every value; the policy in the page's head allows its one style sheet by hash and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.flight.redact import clean

HERE = Path(__file__).parent


def sheet(name: str, **values: Any) -> str:
    """The page `name`.html in the style `name`.css, filled with these values."""
    style = (HERE / f"{name}.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    told: str = _environment().get_template(f"{name}.html").render(style=style, digest=digest, **values)
    return told


@cache
def _environment() -> Any:
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clean"] = lambda text: clean(text, limit=2000)
    environment.filters["steps"] = steps
    environment.filters["since"] = lambda seconds: f"{seconds:.3f} s"
    # Our own style sheet, and nothing else, goes in as it is: escaped, its hash would be another's.
    environment.globals["Style"] = markupsafe.Markup
    # And pictures, which `drawing` let through its sieve.
    environment.globals["Drawn"] = markupsafe.Markup
    return environment


def steps(told: str) -> list[tuple[str, str]]:
    """What is to be done, one thing after the other: the line to type, or nothing, and the words around it.

    `holdfast probe ping: loss; the router's log` -> `holdfast probe ping` and `: loss`, then `the router's log`.
    """
    found = []
    for one in told.split("; "):
        line, mark, means = one.partition(": ") if one.startswith("holdfast ") else ("", "", one)
        found.append((line, mark + means))
    return found
