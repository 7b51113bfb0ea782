"""A small agent on the anthropic Python SDK, run as a program: one prompt, one tool (`Write`), to its end.

Reads its orders from stdin and writes what became of them to stdout, both JSON (see `sdk.py`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anthropic

WRITE: dict[str, Any] = {
    "name": "Write",
    "description": "Write a file.",
    "input_schema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"],
    },
}


def main() -> None:
    """Ask, run tools, ask again, until the model ends its turn or the SDK raises."""
    orders = json.load(sys.stdin)
    told: dict[str, Any] = {"text": "", "tool_runs": 0, "requests": 0, "stop_reason": None, "error": None}
    try:
        _converse(orders, told)
    except Exception as error:
        told["error"] = f"{type(error).__module__}.{type(error).__name__}: {error}"
    json.dump(told, sys.stdout)


def _converse(orders: dict[str, Any], told: dict[str, Any]) -> None:
    client = anthropic.Anthropic(
        base_url=orders["base_url"],
        api_key=orders.get("api_key"),
        auth_token=orders.get("auth_token"),
        timeout=orders["timeout_s"],
        max_retries=orders["max_retries"],
    )
    messages: list[Any] = [{"role": "user", "content": orders["prompt"]}]
    while told["requests"] < 8:
        told["requests"] += 1
        ask: dict[str, Any] = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 4096,
            "messages": messages,
            "tools": [WRITE],
        }
        if orders["streaming"]:
            with client.messages.stream(**ask) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**ask)
        told["stop_reason"] = message.stop_reason
        told["text"] = "".join(block.text for block in message.content if block.type == "text")
        results = []
        for block in message.content:
            if block.type == "tool_use":
                given: Any = block.input
                Path(given["file_path"]).write_text(given["content"])
                told["tool_runs"] += 1
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": "written"})
        if not results:
            return
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


if __name__ == "__main__":
    main()
