"""Played by `test_doctor_now` on the far machine: a provider whose every answer falls silent in a tool call."""

from __future__ import annotations

import sys

from holdfast.lab.provider import Provider
from tests.gateway.dark_far import SILENT


def main(host: str) -> None:
    with Provider([SILENT], host=host).running() as provider:
        print(provider.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
