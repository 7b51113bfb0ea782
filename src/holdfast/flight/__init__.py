"""The flight record: what was noticed, when, and how it ended. Known by every room, knows none."""
