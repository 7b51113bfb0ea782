"""Where the client runs: the machine, its network in outline, the client's install and what it was told by settings.

Values of settings and variables may be secrets, so that only their names are read out, with three exceptions that
are words of a closed vocabulary: the permission mode, the shell's and the terminal's name. Nothing here needs root, and
nothing asks for it: what a command could not tell is listed with why, and with the line to type.

Facts on places (the client's documentation of settings): user `~/.claude/settings.json`, project
`.claude/settings.json` and `settings.local.json`, managed `/etc/claude-code/managed-settings.json` or
`/Library/Application Support/ClaudeCode/managed-settings.json`; MCP servers in `~/.claude.json`, also per project, and in
a project's `.mcp.json`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from holdfast.flight.plain_files import only_files
from holdfast.flight.redact import clean, scrub

TIMEOUT_S = 5.0
LONGEST = 65_536
"Characters of a command's output that are looked at."
LARGEST = 32_000_000
"Bytes of a settings file; the client keeps its history in one of them."
MOST_PROJECTS = 300
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
MANAGED = (
    "/etc/claude-code/managed-settings.json",
    "/Library/Application Support/ClaudeCode/managed-settings.json",
)
ANOTHERS = "it would tell of this machine, not of the one that these logs come from"
NO_CAUSE = "no cause is weighed by it, so that it could not change the ranking"
ADVICE = "it could change what is advised or told against a cause, and not the ranking"
HELD = "suspicions of settings are held against it (H8e, H8f), and it could not change the ranking"
RANKING = {"interface": ADVICE, "proxy settings": ADVICE}
"By the name of a fact; of all others no cause is weighed by them."
_TUNNEL = re.compile(r"(?:tun|tap|wg|utun|ppp|ipsec|tailscale|zt|nordlynx|proton|gpd)\w*")
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){1,3}[\w.+-]{0,20}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of the machine or the client."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One thing that is not known."""

    name: str
    why: str
    line: str
    "What to type to find out."
    ranking: str = NO_CAUSE
    "Whether to know it could change the ranking of the causes."


@dataclass(slots=True)
class Environment:
    """What was found out, and what was not."""

    facts: list[Fact] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def told(self, name: str) -> str:
        """A fact by its name; empty where it is not known."""
        return next((fact.value for fact in self.facts if fact.name == name), "")


class NotTold(Exception):
    """A command or a file told nothing; the text says why."""


Run = Callable[[Sequence[str]], str]
"A command -> its output; raises `NotTold`."


def run(words: Sequence[str]) -> str:
    """Run a command without input, with nothing of this process's environment but where programs and the home are."""
    if shutil.which(words[0]) is None:
        raise NotTold(NOT_INSTALLED)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        done = subprocess.run(
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=kept | {"LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotTold(f"it took longer than {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise NotTold(error.strerror or type(error).__name__) from None
    if done.returncode:
        raise NotTold(f"it ended with code {done.returncode}")
    return done.stdout[:LONGEST].decode(errors="replace")


NOT_INSTALLED = "it is not installed"
RADIO = "radio (signal, rate, channel)"


@dataclass(slots=True)
class _Notes:
    """Collects; a source that tells nothing is a line of its own and stops nothing."""

    made: Environment = field(default_factory=Environment)

    def take(self, name: str, line: str, tell: Callable[[], str]) -> None:
        try:
            value = tell()
        except NotTold as why:
            # What is not there would only say so again; a shell knows of other paths, and of aliases.
            helps = line if str(why) != NOT_INSTALLED else f"type -a {line.split()[0]}"
            self.skip(name, str(why), helps)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            told = getattr(error, "strerror", None) or type(error).__name__
            self.skip(name, told, line)
        else:
            if value:
                self.made.facts.append(Fact(name, value))

    def skip(self, name: str, why: str, line: str) -> None:
        self.made.skipped.append(Skipped(name, why, line, RANKING.get(name, NO_CAUSE)))

    def unread(self, path: Path, why: str, line: str) -> None:
        """A settings file; `line` is what looks into it."""
        told = f"{line} {clean(shlex.quote(str(path)), limit=200)}"
        self.made.skipped.append(Skipped(path.name, why, told, HELD))


def look(
    home: Path,
    *,
    variables: Mapping[str, str] | None,
    projects: Sequence[str] = (),
    system: str | None = None,
    runs: Run = run,
    root: Path = Path("/"),
) -> Environment:
    """Look around. `variables` None: the home is a copy of another machine's, of which only its files tell.

    `system` is `Linux` or `Darwin` (None: this one's); `root` is where the system's own files are looked up.
    """
    notes = _Notes()
    if variables is None:
        for name, line in (
            ("operating system", "uname -a"), ("shell", "echo $SHELL"), ("node", "node --version"),
            ("client", "claude --version"), ("interface", "ip route get 1.1.1.1"),
            ("proxy settings", "env | cut -d= -f1 | grep -i proxy"),
        ):  # fmt: skip
            notes.skip(name, ANOTHERS, line)
    else:
        _machine(notes, system or os.uname().sysname, variables, runs, root)
        _client(notes, home, runs)
    _settings(notes, home, projects if variables is not None else (), root)
    return notes.made


_WHOSE = {
    "accountUuid": "account id",
    "organizationUuid": "organization id",
    "organizationName": "organization",
    "emailAddress": "e-mail",
}


def account(home: Path) -> list[Fact]:
    """Whose client it is, by what it keeps beside its settings: ids and names, for a private sheet; no credential."""
    kept = _dict((_file(_Notes(), home / ".claude.json") or {}).get("oauthAccount"))
    return [
        Fact(name, value)
        for key, name in _WHOSE.items()
        if isinstance(value := kept.get(key), str) and 0 < len(value) <= 200 and scrub(value) == value
    ]


# ----- the machine


def _machine(notes: _Notes, system: str, variables: Mapping[str, str], runs: Run, root: Path) -> None:
    mac = system == "Darwin"
    if mac:
        notes.take(
            "operating system", "sw_vers", lambda: f"macOS {runs(['sw_vers', '-productVersion']).strip()}"
        )
    else:
        notes.take("operating system", "cat /etc/os-release", lambda: _release(root / "etc/os-release"))
    notes.take("kernel", "uname -srm", lambda: " ".join(runs(["uname", "-srm"]).split()))
    notes.take(
        "shell", "ps -o comm= -p $$", lambda: _name(Path(variables.get("SHELL", "")).name, "SHELL is not set")
    )
    notes.take("terminal", "echo $TERM_PROGRAM $TERM", lambda: _terminal(variables))
    notes.take("node", "node --version", lambda: _version(runs(["node", "--version"])))
    if mac:
        notes.take("interface", "route -n get default", lambda: _mac_interface(runs))
        notes.take("vpn", "scutil --nc list", lambda: _mac_vpn(runs))
        notes.take("resolvers", "scutil --dns", lambda: str(_mac_resolvers(runs)))
        notes.skip(RADIO, "that needs root, which Holdfast never asks for", "sudo wdutil info")
    else:
        notes.take("interface", "ip route get 1.1.1.1", lambda: _linux_interface(root))
        notes.take("vpn", "ip -brief link", lambda: _linux_vpn(root))
        notes.take("resolvers", "cat /etc/resolv.conf", lambda: str(_resolvers(root / "etc/resolv.conf")))
    notes.take("proxy settings", "env | cut -d= -f1 | grep -i proxy", lambda: _proxies(variables))


def _name(word: str, missing: str) -> str:
    if not _WORD.fullmatch(word):
        raise NotTold(missing)
    return word


def _release(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip("\"'")[:80]
    raise NotTold("it does not say")


def _terminal(variables: Mapping[str, str]) -> str:
    program = variables.get("TERM_PROGRAM", "")
    told = variables.get("TERM_PROGRAM_VERSION", "")
    words = [program if _WORD.fullmatch(program) else "", told if _VERSION.fullmatch(told) else ""]
    if "SSH_CONNECTION" in variables:
        words.append("over SSH")
    kind = variables.get("TERM", "")
    if _WORD.fullmatch(kind):
        words.append(f"TERM {kind}" if any(words) else kind)
    return _or_not(" ".join(word for word in words if word), "neither TERM_PROGRAM nor TERM is set")


def _or_not(told: str, why: str) -> str:
    if not told:
        raise NotTold(why)
    return told


def _version(output: str) -> str:
    found = _VERSION.search(output)
    if found is None:
        raise NotTold("its answer holds no version")
    return found[0]


def _linux_interface(root: Path) -> str:
    """The kind of the interface that the default route leaves by."""
    for line in (root / "proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == "00000000" and words[7] == "00000000":
            link = root / "sys/class/net" / words[0]
            if (link / "wireless").exists() or (link / "phy80211").exists():
                return "Wi-Fi"
            if _TUNNEL.fullmatch(words[0]):
                return "tunnel"
            return "wired" if (link / "device").exists() else "virtual"
    raise NotTold("there is no default route over IPv4")


def _linux_vpn(root: Path) -> str:
    links = [path for path in (root / "sys/class/net").iterdir() if _TUNNEL.fullmatch(path.name)]
    up = [path for path in links if (path / "operstate").read_text().strip() in ("up", "unknown")]
    return f"{len(up)} tunnel interface{'s' if len(up) > 1 else ''} up" if up else "no tunnel interface is up"


def _mac_interface(runs: Run) -> str:
    found = re.search(r"interface:\s*(\w+)", runs(["route", "-n", "get", "default"]))
    if found is None:
        raise NotTold("there is no default route")
    if _TUNNEL.fullmatch(found[1]):
        return "tunnel"
    ports = runs(["networksetup", "-listallhardwareports"])
    port = re.search(rf"Hardware Port: ([^\n]+)\nDevice: {re.escape(found[1])}\b", ports)
    if port is None:
        return "virtual"
    return "Wi-Fi" if port[1].strip() in ("Wi-Fi", "AirPort") else "wired"


def _mac_vpn(runs: Run) -> str:
    up = len(re.findall(r"^\*?\s*\(Connected\)", runs(["scutil", "--nc", "list"]), re.MULTILINE))
    return f"{up} connected" if up else "none is connected"


def _mac_resolvers(runs: Run) -> int:
    return len(set(re.findall(r"nameserver\[\d+\]\s*:\s*(\S+)", runs(["scutil", "--dns"]))))


def _resolvers(path: Path) -> int:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(line.split()[:1] == ["nameserver"] for line in lines)


def _proxies(variables: Mapping[str, str]) -> str:
    found = sorted({name.upper() for name, value in variables.items() if value and name.upper() in PROXIES})
    return ", ".join(found) if found else "none"


# ----- the client


def _client(notes: _Notes, home: Path, runs: Run) -> None:
    notes.take("client", "claude --version", lambda: _version(runs(["claude", "--version"])))
    notes.take("client's install", "type -a claude", lambda: _install(home, shutil.which("claude")))
    kept = home / ".local/share/claude/versions"
    if kept.is_dir():
        notes.take("versions kept", f"ls {kept}", lambda: _kept(kept))


def _install(home: Path, found: str | None) -> str:
    if found is None:
        raise NotTold("there is no claude on the search path")
    place = str(Path(found).resolve())
    if place.startswith(str(home / ".local/share/claude")):
        return "native installer"
    if place.startswith(str(home / ".claude/local")):
        return "local, in ~/.claude/local"
    for part, kind in (
        ("/Caskroom/", "Homebrew"), ("/Cellar/", "Homebrew"), ("/pnpm/", "pnpm"), ("/.bun/", "bun"),
        ("/node_modules/", "npm, global"), ("/nix/store/", "Nix"),
    ):  # fmt: skip
        if part in place:
            return kind
    return "of another kind"


def _kept(directory: Path) -> str:
    found = sorted(path.name for path in directory.iterdir() if _VERSION.fullmatch(path.name))
    return ", ".join(found[-8:])


# ----- what it was told


@dataclass(slots=True)
class _Level:
    """Counts of one level of settings."""

    files: int = 0
    keys: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    hooks: int = 0
    servers: int = 0
    plugins: int = 0
    modes: set[str] = field(default_factory=set)


def _settings(notes: _Notes, home: Path, projects: Sequence[str], root: Path) -> None:
    levels = {
        "managed": _read(notes, [root / place.lstrip("/") for place in MANAGED], []),
        "user": _read(
            notes, [home / ".claude" / "settings.json", home / ".claude" / "settings.local.json"], []
        ),
    }
    wheres = [Path(one) for one in list(dict.fromkeys(projects))[:MOST_PROJECTS] if one.startswith("/")]
    levels["project"] = _read(
        notes,
        [
            one / ".claude" / name
            for one in wheres
            if one != home
            for name in ("settings.json", "settings.local.json")
        ],
        [one / ".mcp.json" for one in wheres if one != home],
    )
    whole = _file(notes, home / ".claude.json") or {}
    levels["user"].servers += len(_dict(whole.get("mcpServers")))
    levels["project"].servers += sum(
        len(_dict(_dict(one).get("mcpServers"))) for one in _dict(whole.get("projects")).values()
    )
    facts = notes.made.facts
    for name, level in levels.items():
        if level.keys:
            facts.append(Fact(f"settings, {name}", ", ".join(sorted(level.keys))))
        if level.variables:
            facts.append(Fact(f"variables set by settings, {name}", ", ".join(sorted(level.variables))))
        if level.modes:
            facts.append(Fact(f"permission mode, {name}", ", ".join(sorted(level.modes))))
    for name, count in (("hooks", "hooks"), ("MCP servers", "servers"), ("plugins", "plugins")):
        told = ", ".join(f"{getattr(level, count)} {where}" for where, level in levels.items())
        facts.append(Fact(name, told))


def _read(notes: _Notes, settings: Sequence[Path], servers: Sequence[Path]) -> _Level:
    level = _Level()
    for path in settings:
        told = _file(notes, path)
        if told is None:
            continue
        level.files += 1
        level.keys |= set(_names(told))
        level.variables |= set(_names(_dict(told.get("env"))))
        level.hooks += sum(_hooks(entries) for entries in _dict(told.get("hooks")).values())
        level.servers += len(_dict(told.get("mcpServers")))
        level.plugins += sum(value is True for value in _dict(told.get("enabledPlugins")).values())
        mode = _dict(told.get("permissions")).get("defaultMode")
        if isinstance(mode, str) and _WORD.fullmatch(mode):
            level.modes.add(mode)
    for path in servers:
        level.servers += len(_dict((_file(notes, path) or {}).get("mcpServers")))
    return level


def _names(told: Mapping[str, Any]) -> Iterator[str]:
    """Keys that have the form of a key."""
    yield from (key for key in told if _WORD.fullmatch(key))


def _hooks(entries: Any) -> int:
    groups = entries if isinstance(entries, list) else []
    return sum(
        len(one["hooks"]) for one in groups if isinstance(one, dict) and isinstance(one.get("hooks"), list)
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _file(notes: _Notes, path: Path) -> dict[str, Any] | None:
    """A settings file's object; None where there is none, or where it cannot be read, which is noted."""
    try:
        with open(path, "rb", opener=only_files) as file:
            told = file.read(LARGEST + 1)
        if len(told) > LARGEST:
            raise NotTold(f"it is larger than {LARGEST // 1_000_000} MB")
        told = msgspec.json.decode(told)
        if not isinstance(told, dict):
            raise NotTold("it is no JSON object")
    except NotTold as why:
        notes.unread(path, str(why), "ls -l")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        notes.unread(path, error.strerror or type(error).__name__, "ls -l")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        notes.unread(path, "it is no JSON that can be read", "python3 -m json.tool")
    else:
        return told
    return None
