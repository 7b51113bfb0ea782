"""Fixtures of the real-client tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.claude import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A clean home and project directory."""
    return Machine.prepare(tmp_path / "machine")
