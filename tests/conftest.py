"""Which tests may run beside others.

Most only compute, and run two at a time. Those that play with sockets, clocks, terminals or the whole machine are
marked `alone`: they are right beside others too, but what they measure is time, memory or the order of packets.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALONE = (
    "gateway",
    "endings",
    "probes",
    "simulation",
    "lab",
    "captures/test_kernels.py",
    "captures/test_pairs.py",
    "captures/test_ring.py",
    "cli/test_run.py",
    "cli/test_serve.py",
    "cli/test_capture.py",
    "cli/test_doctor.py",
    "cli/test_doctor_now.py",
    "telemetry",
    "records/test_real_proxies.py",
    "test_three_gateways.py",
    "test_secrets.py",
)
"Folders and files below `tests/`."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them by their place."""
    places = tuple(HERE / place for place in ALONE)
    for item in items:
        if any(item.path == place or place in item.path.parents for place in places):
            item.add_marker(pytest.mark.alone)
