"""Defects that are known and not mended yet, by the kind of violation that they show. To be empty.

Each has its story in `test_stories.py`, expected to fail. What is named here is passed over elsewhere.
"""

from __future__ import annotations

from typing import Final

KNOWN: Final[frozenset[str]] = frozenset()
