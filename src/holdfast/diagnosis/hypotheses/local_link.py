"""This machine's own network was away."""

from __future__ import annotations

from holdfast.diagnosis.hypotheses._away import Away


class LocalLink(Away):
    """The link or the router was away for longer than a moment, so that every connection of this machine broke.

    It predicts: failures at the very seconds in which other programs on this machine had no network either, whatever
    was asked, in all sessions at once, and none of them at other times. What it is that failed (Wi-Fi, cable, router)
    the client's logs do not tell; that it was this side of the line they do: the system itself said that it was offline.
    """

    name = "local-link"
    title = "This machine had no network"
    remedy = (
        "Use a wired link for a week, or look at the router; behind holdfast run turns wait for the network, and no "
        "try is burnt."
    )
    falsifier = "failures stay as frequent on another network, or lie outside the outages"
    face = "away"
    after_ms = 5_000

    def settle(self) -> str:
        return (
            "holdfast probe link; holdfast probe ping --rounds 100: what is lost on the way; "
            "holdfast mark 'moved to Ethernet', and a week later: holdfast diagnose"
        )
