"""Our own mistakes, said so that they can be mended and tell nothing else."""

from __future__ import annotations

import traceback


def defect(error: BaseException) -> str:
    """Kind and place of an unexpected exception. Not its text: that may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"{type(error).__name__} at {place}"
