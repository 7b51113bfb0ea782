"""Parts that need packages of their own: which, and the line that puts them beside this very installation.

What an extra consists of stands in the metadata of the installed distribution, so the line names packages that exist
wherever this one came from: a checkout, a wheel, pipx or uv. It never names this distribution, which an index may not have,
or may have from somebody else.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata

_OF_EXTRA = re.compile(
    r"\s*(?:\band\b\s*)?\(?\bextra\s*==\s*['\"](?P<name>[\w.-]+)['\"]\s*\)?\s*(?:\band\b\s*)?"
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def install_line(extra: str) -> str:
    """The shell line that installs what an extra lacks, with this interpreter: `PYTHON -m pip install ...`."""
    packages = missing(extra)
    return line_for(packages) if packages else f"{line_for([f'.[{extra}]'])} (in the checkout)"


def line_for(packages: Sequence[str]) -> str:
    """The same for requirements by name."""
    named = shlex.join(packages)
    python = shlex.quote(sys.executable or "python3")
    if importlib.util.find_spec("pip") is not None:
        return f"{python} -m pip install {named}"
    if shutil.which("uv") is not None:
        return f"uv pip install --python {python} {named}"
    return f"{python} -m ensurepip && {python} -m pip install {named}"


def missing(extra: str) -> list[str]:
    """The requirements of an extra that are not installed; all of them where that cannot be told."""
    wanted = of_extra(extra, requirements())
    return [one for one in wanted if "[" in one or not _installed(one)] or wanted


def requirements() -> list[str]:
    """All that the installed distribution may need, with markers; none where it runs without being installed."""
    try:
        return metadata.requires("holdfast") or []
    except metadata.PackageNotFoundError:
        return []


def of_extra(extra: str, requires: Sequence[str]) -> list[str]:
    """What of a distribution's requirements belongs to an extra, without the marker that says so."""
    found = []
    for requirement in requires:
        what, _, marker = requirement.partition(";")
        told = _OF_EXTRA.search(marker)
        if told is None or told["name"] != extra:
            continue
        rest = (marker[: told.start()].strip() + " " + marker[told.end() :].strip()).strip()
        found.append(f"{what.strip()}; {rest}" if rest else what.strip())
    return found


def _installed(requirement: str) -> bool:
    """Whether a distribution of that name is here. What it was asked for by itself, as in `name[more]`, is not looked at."""
    named = _NAME.match(requirement)
    try:
        return named is not None and bool(metadata.version(named[0]))
    except metadata.PackageNotFoundError:
        return False
