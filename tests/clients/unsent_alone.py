"""One client on a machine without a way out: `python -m tests.clients.unsent_alone VERSION DIRECTORY`.

It is refused twice, then answered, and cannot send its telemetry: this runs in a network namespace with loopback alone.
The home that it leaves in the directory is what is tested.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from holdfast.lab.provider import Provider
from holdfast.lab.script import agent_story, answer, close_block, http_error, open_text, pause, says, text
from tests.clients.cells import DONE, PROMPT, limits, silence_s
from tests.clients.claude import Machine, ask


def main(version: str, directory: Path) -> None:
    """One turn in print mode: two refusals, then an answer that falls silent for longer than the client waits."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    silent_s = silence_s(version, "text")
    silent = answer([open_text(), *says("Wait"), pause(silent_s), *says("."), close_block()])
    refused = http_error(529)
    machine = Machine.prepare(directory / "machine")
    with Provider(
        agent_story([refused, refused, silent, answer(text(DONE))], answer(text(DONE)))
    ).running() as provider:
        done = ask(
            version,
            machine,
            provider.url,
            PROMPT,
            env=limits(version) | {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": ""},
            within_s=90,
        )
        assert done.succeeded and done.retries == 2, f"{done}; {provider!r}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
