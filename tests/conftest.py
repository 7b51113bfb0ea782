"""Which tests may run beside others.

Nearly all: most only compute, and those that play with sockets, clocks and terminals mostly wait. The rest is marked
`alone`: it loads the whole machine, or measures what a loaded machine would change.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on who else is busy; a test that hangs has its own limit.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# A shell starts a job in the background with Ctrl-C ignored, and what the tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
ALONE = (
    "cli/test_run.py",
    "gateway/test_load.py",
    "gateway/test_slow_readers.py",
    "probes/test_paths.py",
    "probes/test_reaching.py",
    "simulation/test_schedules.py",
    "test_three_gateways.py",
)
"Folders and files below `tests/`."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them by their place."""
    places = tuple(HERE / place for place in ALONE)
    for item in items:
        if any(item.path == place or place in item.path.parents for place in places):
            item.add_marker(pytest.mark.alone)
        if HERE / "spark" in item.path.parents:
            item.add_marker(pytest.mark.spark)
