"""Asks from a machine of a test's own: the probe's name, the target, and options as JSON. Prints the result's line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from holdfast.probes.asking import carry_out
from holdfast.probes.catalogue import QUESTIONS
from holdfast.probes.result import line
from holdfast.probes.target import parse
from tests.probes.stage import QUICK, go_on

if __name__ == "__main__":
    name, target, changes = sys.argv[1:]
    given: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in json.loads(changes).items()
    }
    print(line(carry_out(QUESTIONS[name], parse(target), replace(QUICK, **given), go_on)))
