"""The lab breaks things on purpose, to see whether we notice and whether the turn survives."""
