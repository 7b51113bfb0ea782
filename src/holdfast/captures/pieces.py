"""Payload of one direction of a connection, in its order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Payload of one direction in its order: bytes as they arrived, or a hole where the capture has none."""

    at_s: float
    "Seconds, on the capture's clock."
    data: bytes = b""
    missing: int = 0
    "Bytes that are not in the capture, before whatever follows."
