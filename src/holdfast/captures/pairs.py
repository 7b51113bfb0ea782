"""The same connection in two captures, taken at its two ends: what left one and what arrived at the other.

That is the one conclusive proof of a forged reset: it arrived, and had never been sent. Connections are matched by both
initial sequence numbers, 64 bits of chance that survive address translation; clocks need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.captures.closing import role
from holdfast.captures.sides import HALF, MASK
from holdfast.captures.telling import Report
from holdfast.flight.flights import size

WENT_ON_NS = 2_000_000_000
"A capture that went on for so long behind a connection's last packet would have seen another."

NEARER = 0.5
"The end whose round trip is at most this share of the other capture's is the one that a capture was taken at."


@dataclass(frozen=True, slots=True)
class Sighting:
    """A connection as one capture saw it, cut down to what is compared."""

    file: str
    number: int
    isns: tuple[int, int]
    "Of client and server."
    rtts_ns: tuple[int | None, int | None]
    "From the capture to client and server and back."
    reached: tuple[int, int]
    "The sequence numbers that came next of each."
    missing: bool
    "Whether the capture lacks some of it."
    resets: tuple[tuple[int, int], ...]
    "(side, sequence number): 0 is the client, 1 the server."
    went_on: bool
    "Whether the capture went on after the connection's last packet."


_NAMES = ("client", "server")


def sighting(report: Report, file: str) -> Sighting | None:
    """None where the capture does not hold both SYNs: then it cannot be matched."""
    connection = report.connection
    client, server = connection.sides
    if client.isn is None or server.isn is None:
        return None
    return Sighting(
        file=file,
        number=connection.number,
        isns=(client.isn, server.isn),
        rtts_ns=(client.rtt_ns, server.rtt_ns),
        reached=(client.next, server.next),
        missing=bool(client.missing or server.missing),
        resets=tuple((_NAMES.index(role(reset.side)), reset.seq) for reset in connection.resets),
        went_on=connection.capture_ends_ns - connection.last_ns > WENT_ON_NS,
    )


def compare(one: Sighting, other: Sighting) -> list[str]:
    """What two captures of one connection say together, in sentences without a full stop; nothing if they agree.

    Empty too where it cannot be told which was taken at which end.
    """
    ends = _ends(one, other)
    if ends is None:
        return []
    said: list[str] = []
    forged = []
    for side, name in enumerate(_NAMES):
        near, far = ends[side], ends[1 - side]
        for reset in dict.fromkeys(reset for reset in far.resets if reset[0] == side):
            spoke_on = 0 < (near.reached[side] - reset[1] & MASK) < HALF
            if reset in near.resets:
                said.append(f"the reset in the {name}'s name left the {name}'s end: it is in both captures")
            elif near.missing or not (near.went_on or spoke_on):
                said.append(
                    f"a reset in the {name}'s name is not in {near.file}, "
                    "which lacks packets or ends too soon to prove anything"
                )
            else:
                forged.append(name)
                said.append(
                    f"the {name} never sent the reset that arrived in its name: "
                    "it was made between the two captures (certain)"
                )
        lost = near.reached[side] - far.reached[side] & MASK
        if 0 < lost < HALF and far.went_on and not far.missing:
            said.append(f"the last {size(lost)} of the {name} left it and did not arrive")
        if far.went_on and any(reset[0] == side and reset not in far.resets for reset in near.resets):
            said.append(f"a reset of the {name} left it and did not arrive")
    if len(set(forged)) == 2:
        said.append("both ends were sent a reset in the other's name: something between cut the connection")
    return list(dict.fromkeys(said))


def _ends(one: Sighting, other: Sighting) -> tuple[Sighting, Sighting] | None:
    """Of two captures, the one at the client and the one at the server."""
    for client, server in ((one, other), (other, one)):
        if _nearer(client.rtts_ns[0], server.rtts_ns[0]) and _nearer(server.rtts_ns[1], client.rtts_ns[1]):
            return client, server
    return None


def _nearer(near: int | None, far: int | None) -> bool:
    return near is not None and far is not None and near <= far * NEARER


class Pairs:
    """Sightings of several files, matched."""

    REMEMBERED = 50_000

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], list[Sighting]] = {}

    def add(self, found: Sighting | None) -> None:
        """Remember a sighting; beyond the limit, only those of connections that are known."""
        if found is None:
            return
        if found.isns in self._known or len(self._known) < self.REMEMBERED:
            self._known.setdefault(found.isns, []).append(found)

    def told(self) -> tuple[int, list[tuple[str, list[str]]]]:
        """How many connections are in several files, and of each that needs a word its name in both and the words."""
        common, told = 0, []
        for seen in self._known.values():
            files = {one.file for one in seen}
            if len(files) < 2:
                continue
            common += 1
            first = seen[0]
            for second in seen[1:]:
                if second.file != first.file and (said := compare(first, second)):
                    told.append(
                        (f"#{first.number} of {first.file} is #{second.number} of {second.file}", said)
                    )
        return common, told
