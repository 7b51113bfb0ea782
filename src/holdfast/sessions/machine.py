"""Runs the system's own tools, each with a limit and never as another user, and has their output read.

What is not there, not permitted or too slow is a row of its own: why, the line to type, and whether it could have changed
what is found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.sessions import snapshots, systemlog
from holdfast.sessions.snapshots import Shown
from holdfast.sessions.systemlog import SystemLog

LIMIT_S = 10.0
"Of one command."
MOST_LINES = "200000"
"Of the journal, the newest: kernels can be chatty."
LARGEST = 256 * 1024 * 1024
"Bytes of its output that are looked at."

UNITS = (
    "NetworkManager",
    "wpa_supplicant",
    "iwd",
    "systemd-networkd",
    "systemd-logind",
    "systemd-suspend",
    "systemd-sleep",
)
RANKING = "yes: outages and sleeps weigh"
NOT_RANKING = "no: it tells of now"


class NotTold(Exception):
    """A command told nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Untold:
    """A command that was not run, or told nothing."""

    line: str
    "To type."
    why: str
    ranking: str
    "Whether it could have changed what is found."


@dataclass(slots=True)
class Machine:
    """What the machine told."""

    logs: list[SystemLog] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    untold: list[Untold] = field(default_factory=list)
    verified: bool = True
    "Whether its tools' output was seen on such a machine when this was written."


Run = Callable[[Sequence[str]], str]


def run(words: Sequence[str]) -> str:
    """The output of a command, run without input and with a bare environment. Raises `NotTold`."""
    program = shutil.which(words[0])
    if program is None:
        raise NotTold("it is not installed")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(Path.home())}
    try:
        done = subprocess.run(
            [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, env=environment,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotTold(f"it took longer than {LIMIT_S:.0f} s") from None
    except OSError as error:
        raise NotTold(error.strerror or type(error).__name__) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        denied = any("ermission" in line or "not permitted" in line for line in said)
        raise NotTold("it may not be used by this user" if denied else f"it ended with {done.returncode}")
    return done.stdout[:LARGEST].decode("utf-8", "replace")


def look(
    system: str,
    begun_ms: int,
    ended_ms: int,
    *,
    runs: Run = run,
    root: bool = False,
    proc: Path = Path("/proc"),
) -> Machine:
    """What this machine's tools tell of a time and of now. `system`: `Linux` or `Darwin`; `root`: whether we are."""
    made = Machine(verified=system == "Linux")
    if system == "Linux":
        _linux(made, begun_ms, ended_ms, runs, root, proc)
    elif system == "Darwin":
        _mac(made, begun_ms, ended_ms, runs, root)
    return made


def _take(made: Machine, words: Sequence[str], ranking: str, runs: Run, line: str = "") -> str | None:
    try:
        return runs(words)
    except NotTold as why:
        made.untold.append(Untold(line or _typed(words), str(why), ranking))
        return None


def _typed(words: Sequence[str]) -> str:
    return " ".join(f"'{word}'" if any(sign in word for sign in ' +"=@') else word for word in words)


def _log(
    made: Machine,
    words: Sequence[str],
    read: Callable[[Iterator[str]], SystemLog],
    runs: Run,
    hint: str = "",
    line: str = "",
) -> None:
    line = line or _typed(words)
    text = _take(made, words, RANKING, runs, line)
    if text is None:
        return
    log = read(iter(text.splitlines()))
    if log.lines:
        made.logs.append(log)
    else:
        made.untold.append(Untold(line, f"it shows no line of that time{hint}", RANKING))


def _linux(made: Machine, begun_ms: int, ended_ms: int, runs: Run, root: bool, proc: Path) -> None:
    matches = [part for unit in UNITS for part in (f"_SYSTEMD_UNIT={unit}.service", "+")]
    span = [f"--since=@{begun_ms // 1000}", f"--until=@{-(-ended_ms // 1000)}"]
    fields = "--output-fields=MESSAGE"
    words = [
        "journalctl",
        "--quiet",
        "--no-pager",
        "-o",
        "json",
        fields,
        *span,
        *matches,
        "_TRANSPORT=kernel",
    ]
    hint = "" if root else " (the system's lines are for the groups systemd-journal and adm)"
    _log(made, words, systemlog.journal, runs, hint, "journalctl -u NetworkManager -u wpa_supplicant")
    devices = _take(made, ["iw", "dev"], NOT_RANKING, runs)
    for name in snapshots.interfaces(devices or "")[:2]:
        for tail in (["link"], ["station", "dump"]):
            text = _take(made, ["iw", "dev", name, *tail], NOT_RANKING, runs)
            known = {one.name for one in made.shown}
            made.shown += [one for one in snapshots.iw(text or "") if one.name not in known]
    fields = "IN-USE,SIGNAL,RATE,CHAN"
    words = ["nmcli", "-t", "-f", fields, "dev", "wifi", "list", "--rescan", "no"]
    text = _take(made, words, NOT_RANKING, runs, "nmcli dev wifi list")
    made.shown += snapshots.nmcli_wifi(text or "")
    text = _take(made, ["ss", "-tinoeH", "dst", ":443"], NOT_RANKING, runs)
    made.shown += snapshots.ss(text) if text is not None else []
    made.shown += snapshots.conntrack(_sysctls(proc))


def _sysctls(proc: Path) -> Mapping[str, str]:
    found = {}
    for name in ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_tcp_timeout_established"):
        try:
            found[name] = (proc / "sys/net/netfilter" / name).read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
    return found


def _mac(made: Machine, begun_ms: int, ended_ms: int, runs: Run, root: bool) -> None:
    hours = max(-(-(ended_ms - begun_ms) // 3_600_000), 1)
    wifi = 'subsystem == "com.apple.wifi"'
    words = [
        "log",
        "show",
        "--style",
        "ndjson",
        "--last",
        f"{min(hours, 72)}h",
        "--info",
        "--predicate",
        wifi,
    ]
    _log(made, words, systemlog.mac_log, runs, line=f"log show --last 72h --predicate '{wifi}'")
    _log(made, ["pmset", "-g", "log"], systemlog.pmset, runs)
    if root:
        made.shown += snapshots.wdutil(_take(made, ["wdutil", "info"], NOT_RANKING, runs) or "")
    else:
        made.untold.append(
            Untold("sudo wdutil info", "it needs root, and nothing here asks for that", NOT_RANKING)
        )
