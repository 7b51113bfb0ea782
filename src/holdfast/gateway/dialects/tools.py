"""What a request says of the tools it offers."""

from __future__ import annotations

import msgspec

from holdfast.gateway.rawjson import array_values, members


class _Schema(msgspec.Struct):
    required: list[str] = []


class _Tool(msgspec.Struct):
    name: str = ""
    input_schema: _Schema | None = None


_TOOL = msgspec.json.Decoder(_Tool)


def needs_input(body: bytes, name: str | None) -> bool:
    """Whether the tool of that name demands some input, so that a call cut short is refused and not run.

    A call whose arguments cannot be read is made with `{}` by Claude Code up to 2.1.114 (measured on loopback,
    2026-11-21): a tool that demands nothing would be run. On any doubt: no.
    """
    found = members(body)
    tools = array_values(found["tools"].raw) if found is not None and "tools" in found else None
    for raw in tools or ():
        try:
            tool = _TOOL.decode(raw)
        except msgspec.MsgspecError:
            continue
        if tool.name == name:
            return tool.input_schema is not None and bool(tool.input_schema.required)
    return False
