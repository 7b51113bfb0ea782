"""Evidence weighed: which timer, which cause, how sure, and what would settle it. No I/O."""
