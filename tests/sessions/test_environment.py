"""Where the client runs: names and counts, never values; and what could not be found out, with the line to type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.sessions.environment import ADVICE, ANOTHERS, HELD, RANKING, Environment, NotTold, look

SECRET = "sk-ant-planted-0123456789"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def linux(root: Path, *, wifi: bool = True, tunnel: bool = False) -> None:
    """The files of a Linux machine that are looked at."""
    put(root / "etc/os-release", 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 26.04 LTS"\n')
    put(root / "etc/resolv.conf", "# a comment\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example\n")
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    put(root / "proc/net/route", head + "wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n")
    put(root / "sys/class/net/wlan0/operstate", "up\n")
    (root / "sys/class/net/wlan0" / ("wireless" if wifi else "device")).mkdir()
    if tunnel:
        put(root / "sys/class/net/wg0/operstate", "unknown\n")


def answering(**answers: str) -> Any:
    def runs(words: Sequence[str]) -> str:
        if words[0] not in answers:
            raise NotTold("it is not installed")
        return answers[words[0]]

    return runs


def looked(tmp_path: Path, **changes: Any) -> Environment:
    told: dict[str, Any] = {
        "variables": {"SHELL": "/bin/zsh", "TERM": "xterm-256color", "HTTPS_PROXY": f"http://u:{SECRET}@proxy.example"},
        "system": "Linux",
        "runs": answering(uname="Linux 6.18.1 x86_64\n", node="v24.13.1\n", claude="2.1.114 (Claude Code)\n"),
        "root": tmp_path / "root",
    }  # fmt: skip
    return look(tmp_path / "home", **(told | changes))


def test_a_linux_machine_is_described_in_a_dozen_lines(tmp_path: Path) -> None:
    """System, client and the outline of the network; proxies by the names of their settings only."""
    linux(tmp_path / "root", tunnel=True)
    found = looked(tmp_path)
    told = {fact.name: fact.value for fact in found.facts}

    assert told["operating system"] == "Ubuntu 26.04 LTS" and told["kernel"] == "Linux 6.18.1 x86_64"
    assert (told["shell"], told["terminal"], told["node"]) == ("zsh", "xterm-256color", "24.13.1")
    assert told["client"] == "2.1.114"
    assert (told["interface"], told["vpn"], told["resolvers"]) == ("Wi-Fi", "1 tunnel interface up", "2")
    assert told["proxy settings"] == "HTTPS_PROXY"
    assert SECRET not in repr(found) and "proxy.example" not in repr(found)


def test_a_mac_is_asked_by_its_own_tools(tmp_path: Path) -> None:
    """No root is asked for: what needs it is named with the line that tells."""
    answers = {
        "sw_vers": "26.3\n", "uname": "Darwin 25.3.0 arm64\n", "route": "   interface: en1\n",
        "networksetup": "Hardware Port: Wi-Fi\nDevice: en1\nEthernet Address: 00:00:5e:00:53:01\n",
        "scutil": "nameserver[0] : 192.0.2.1\nnameserver[1] : 192.0.2.1\n* (Connected) 1 VPN\n",
    }  # fmt: skip
    found = looked(tmp_path, system="Darwin", runs=answering(**answers))
    told = {fact.name: fact.value for fact in found.facts}
    assert (told["operating system"], told["interface"]) == ("macOS 26.3", "Wi-Fi")
    assert (told["vpn"], told["resolvers"]) == ("1 connected", "1")
    assert "00:00:5e" not in repr(found)
    assert ("sudo wdutil info", True) in {(one.line, "never asks" in one.why) for one in found.skipped}


def test_what_fails_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    """A machine without any of it still yields a description, and each gap has its reason and its line."""
    found = looked(tmp_path, variables={}, runs=answering())
    gaps = {one.name: one for one in found.skipped}
    assert gaps["node"].why == "it is not installed" and gaps["node"].line == "type -a node", (
        "typing its own line would say the same; a shell may know it by another path"
    )
    assert gaps["interface"].why == "No such file or directory"
    assert gaps["shell"].why == "SHELL is not set" and "SHELL" not in gaps["shell"].line
    assert found.told("hooks") == "0 managed, 0 user, 0 project"


def test_settings_are_told_by_name_and_counted_by_level(tmp_path: Path) -> None:
    """Keys and counts; a value, a server's name or a hook's command never."""
    home, project = tmp_path / "home", tmp_path / "work" / "atlas"
    hooks = {"PreToolUse": [{"hooks": [{"command": SECRET}, {"command": "b"}]}], "Stop": [{"hooks": [{}]}]}
    put(
        home / ".claude/settings.json",
        json.dumps(
            {
                "hooks": hooks, "env": {"API_TIMEOUT_MS": SECRET}, "permissions": {"defaultMode": "acceptEdits"},
                "enabledPlugins": {f"{SECRET}@market": True, "off@market": False}, "apiKeyHelper": SECRET,
                f"{SECRET} is no key": 1,
            }
        ),
    )  # fmt: skip
    put(
        home / ".claude.json",
        json.dumps({"mcpServers": {"one": {}}, "projects": {"/p": {"mcpServers": {"a": 1, "b": 2}}}}),
    )
    put(project / ".claude/settings.json", json.dumps({"model": SECRET}))
    put(project / ".mcp.json", json.dumps({"mcpServers": {SECRET: {}}}))
    found = looked(tmp_path, projects=[str(project), str(project), "relative"])
    told = {fact.name: fact.value for fact in found.facts}

    assert told["settings, user"] == "apiKeyHelper, enabledPlugins, env, hooks, permissions"
    assert told["settings, project"] == "model"
    assert told["variables set by settings, user"] == "API_TIMEOUT_MS"
    assert told["permission mode, user"] == "acceptEdits"
    assert told["hooks"] == "0 managed, 3 user, 0 project"
    assert told["MCP servers"] == "0 managed, 1 user, 3 project"
    assert told["plugins"] == "0 managed, 1 user, 0 project"
    assert SECRET not in repr(found)


def test_every_gap_says_what_it_could_change_and_what_to_type(tmp_path: Path) -> None:
    """Whether a ranking could wait for it, and a line that is never empty, a settings file's with its place."""
    put(tmp_path / "home/.claude/settings.json", "{")
    put(tmp_path / "home/.claude.json", "[]")
    gaps = {one.name: one for one in looked(tmp_path, variables={}, runs=answering()).skipped}

    assert all(one.line.strip() for one in gaps.values())
    assert all(
        "could not change the ranking" in one.ranking for name, one in gaps.items() if name not in RANKING
    )
    assert gaps["interface"].ranking == ADVICE and "and not the ranking" in ADVICE
    assert gaps["client"].line == gaps["client's install"].line == "type -a claude"
    assert gaps["settings.json"].line == f"python3 -m json.tool {tmp_path}/home/.claude/settings.json"
    assert gaps["settings.json"].ranking == gaps[".claude.json"].ranking == HELD


@pytest.mark.parametrize(
    "text", ["{", "[]", "\xff", '{"hooks": 3, "env": [], "permissions": "x", "mcpServers": 1}']
)
def test_settings_may_hold_anything(tmp_path: Path, text: str) -> None:
    """A broken file is a gap, and a key of an unexpected type counts for nothing."""
    put(tmp_path / "home/.claude/settings.json", text)
    found = looked(tmp_path)
    assert found.told("hooks") == "0 managed, 0 user, 0 project"
    assert ("settings.json" in {one.name for one in found.skipped}) == (not text.startswith('{"'))


def test_a_copied_home_says_nothing_of_this_machine(tmp_path: Path) -> None:
    """Whoever looks at somebody else's logs gets their settings, and the lines that they have to type."""
    put(tmp_path / "home/.claude/settings.json", json.dumps({"model": "x"}))
    linux(tmp_path / "root")
    found = looked(tmp_path, variables=None)
    assert found.told("settings, user") == "model"
    assert not found.told("kernel") and not found.told("interface")
    assert {one.why for one in found.skipped} == {ANOTHERS}
    assert all(one.line for one in found.skipped)
