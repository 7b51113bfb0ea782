"""What heads of columns mean, in lists and in the tables of a diagnosis, and the words before a report's lines.

The sentences are data (columns.toml); `holdfast explain` prints each, and `make docs` puts all into the reference.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_SAID: Final = tomllib.loads(files("holdfast.flight").joinpath("columns.toml").read_text(encoding="utf-8"))

LISTS: Final[Mapping[str, str]] = _SAID["lists"]
"Heads of lists, in capitals as they are printed."
TABLES: Final[Mapping[str, str]] = _SAID["tables"]
"Heads of tables as `holdfast diagnose` prints them."
BEFORE_LINES: Final[Mapping[str, str]] = _SAID["before_lines"]
"Words that stand before a line of a report: what speaks for a finding and against it, and what was looked at."

JSON_NAMES: Final[Mapping[str, str]] = {"failed per 1000": "per_1000", "of broken answers": "of_answers"}
"Heads that are called otherwise in --format json; of all others the name is the same, with underscores."
