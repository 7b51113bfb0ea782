"""One HTML file that stands alone: nothing is fetched, nothing runs.

Jinja2 escapes every value; the policy in the page's head allows its one style sheet by hash and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
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


_TYPED = re.compile(r"(?:^|(?<=: ))holdfast (?:'[^']*'|[^;:,'])+")


def steps(told: str) -> list[list[tuple[bool, str]]]:
    """What is to be done, one thing after the other, each in pieces: whether it is to be typed, and the text.

    `holdfast probe ping: loss; the router's log` -> typed `holdfast probe ping`, then `: loss`; `the router's log`.
    """
    found = []
    for one in told.split("; "):
        pieces, at = [], 0
        for line in _TYPED.finditer(one):
            pieces += [(False, one[at : line.start()]), (True, line[0])]
            at = line.end()
        found.append([piece for piece in (*pieces, (False, one[at:])) if piece[1]])
    return found
