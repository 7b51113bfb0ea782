"""Rows of the journal as they may leave this machine: every field under its policy, texts through the text pass.

The policies are those of `flight.deidentify`, said here of the journal's columns. Rows stay rows: nothing is decoded
into records, because there may be a hundred thousand. Moments, evidence and fields without a policy are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from holdfast.flight import deidentify, marks
from holdfast.flight.deidentify import EVIDENCE, MOMENTS, RECORD, Names, Policy
from holdfast.telemetry.tables import Source

REMEMBERED = 100_000
"Values whose public form is kept, so that the same text is not read again and again."

_K, _T = Policy.KEEP, Policy.TEXT
_OURS: Final[Mapping[str, Policy]] = {
    "instance_id": Policy.TURN_ID,
    "started_mono_s": _K,
    "started_wall_ms": _K,
    "ended_mono_s": _K,
    "ended_wall_ms": _K,
    "ending_code": _T,
    "request_key": Policy.ID,
}

FIELDS: Final[Mapping[str, Mapping[str, Policy]]] = {
    "turn": {**RECORD, **_OURS},
    "answer": {
        "turn_id": Policy.TURN_ID,
        "size": _K,
        "complete": _K,
        "content_type": _T,
        "kept_wall_ms": _K,
        "handed_over": _K,
        "model": Policy.MODEL,
        "messages": _K,
        "request_bytes": _K,
        "tools": _K,
        "tool": Policy.TOOL,
        "path": Policy.PATH,
    },
    "note": {"id": _K, "instance_id": Policy.TURN_ID, "wall_ms": _K, "name": _T, "text": _T},
}
"Table of the journal -> field -> policy. A field that is not here leaves as NULL."


class _ManyNames(Names):
    """Names for a whole journal.

    A story's text pass looks for every session's name in every text. Here there are thousands of both, and the pass
    replaces what is no plain word in any case; only which session it was is not told by it.
    """

    def known(self) -> list[tuple[str, str]]:
        return []


class Deidentifier:
    """Changes rows for `loading.fill`. One for a whole export, so that a pseudonym means the same in all its files."""

    def __init__(self) -> None:
        self.names = _ManyNames()
        self._told: dict[tuple[Policy, str], Any] = {}

    def __call__(self, source: Source, rows: list[Sequence[Any]]) -> list[Sequence[Any]]:
        """The same rows, fit to be shown to strangers."""
        policies = FIELDS[source.name]
        taken = [(name, policies.get(name, Policy.DROP)) for name in source.names]
        return [
            [self._field(name, policy, value) for (name, policy), value in zip(taken, row, strict=True)]
            for row in rows
        ]

    def _field(self, name: str, policy: Policy, value: Any) -> Any:
        if value is None or policy is Policy.DROP:
            return None
        if name == "name" and value == marks.NAME:
            return (
                value  # of a note: the kind, which is a word of ours and, to the text pass, a person's name
            )
        if name == "moments":
            return _encode(self._moments(_decode(value)))
        if name == "ending":
            return _encode(self._ending(_decode(value)))
        return self._value(policy, value)

    def _value(self, policy: Policy, value: Any) -> Any:
        if isinstance(value, int | float):
            return None if policy is Policy.DROP else value
        if not isinstance(value, str):
            return None
        key = (policy, value)
        if key not in self._told:
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told[key] = deidentify.value(policy, value, self.names)
        return self._told[key]

    def _moments(self, moments: list[Any]) -> list[Any]:
        told = []
        for moment in moments:
            match moment:
                case [int() | float() as mono_s, int() as wall_ms, str() as name, dict() as data] if (
                    name in MOMENTS
                ):
                    told.append([mono_s, wall_ms, name, self._data(MOMENTS[name], data)])
                case _:
                    self.names.left_out["moment of another version"] += 1
        return told

    def _data(self, policies: Mapping[str, Policy], data: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self._ending(value) if name == "ending" else self._value(policies[name], value)
            for name, value in data.items()
            if name in policies
        }

    def _ending(self, ending: Any) -> dict[str, Any]:
        if not isinstance(ending, dict):
            return {}
        evidence = ending.get("evidence")
        facts = evidence.items() if isinstance(evidence, dict) else ()
        told = {name: self._value(_T, ending.get(name)) for name in ("side", "mechanism", "phase", "detail")}
        return {
            **told,
            "evidence": {name: self._value(EVIDENCE[name], fact) for name, fact in facts if name in EVIDENCE},
        }


def _decode(value: Any) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, TypeError):
        return []


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
