"""Client profiles: what one client program and version does with silence, resets and endings.

Data, measured, never guessed: `profiles.toml` beside this file, a source on every row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """One timer of a client's, that makes it hang up."""

    name: str
    "As in the data: `headers`, `bytes`, `events`, `total`."
    clock: str
    """`headers`: since the request, while no header came. `bytes`: since the last byte.
    `events`: since the last event that it counts. `total`: since the request."""
    seconds: float
    applies: str = "any"
    "`streaming`, `whole` (not streaming), or `any`."


@dataclass(frozen=True, slots=True)
class Profile:
    """What one client does. See `profiles.toml` for the meaning and source of each field."""

    name: str
    "Such as `claude-code 2.1.114` or `unknown`."
    limits: tuple[Limit, ...] = ()
    keepalive: str = "ping"
    "`null-delta` or `ping`: what holds it while a stream is silent."
    header_share: float = 0.8
    "Which share of its header limit the gateway waits for upstream's headers."
    header_patience_s: float | None = None
    "Replaces the share where an in-stream error was measured to be recovered."
    white_space: bool = False
    "Whether white space before a JSON body holds it (and its limit is not a total time)."
    fallback: bool = False
    "Whether it asks the same turn again without streaming, and so its differences are set aside."
    fetch_as_stream: bool = False
    "Whether a request of its without streaming is fetched as a stream and folded."
    close_connections: bool = False
    "Whether its answers carry `connection: close` (its runtime re-sends by itself on a reused connection)."
    silent_loss: str | None = None
    "What it was measured to do with a silence past its limit, where the turn is lost; None where it recovers."
