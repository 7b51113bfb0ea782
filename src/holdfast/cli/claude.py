"""What `run` knows of Claude Code: which base URL it would use and from where, and how to make ours win.

Pure: values in, values out; `read_settings` alone reads files.

Measured on 2.1.86, 2.1.114 and 2.1.329 (print mode, user, project and local settings also interactively):
`env` in settings beats the process environment, and among settings `--settings` beats
.claude/settings.local.json, which beats .claude/settings.json of the working directory (not of its parents),
which beats the user's own. `--setting-sources` leaves sources out. Of two `--settings` or two `--setting-sources`
2.1.329 takes the last and the older two the first, so there must be one. A `--settings` file that is not there ends all
three with an error; one that they cannot read they pass over. All three read one from a memory file system; 2.1.114
cannot read one from /dev/fd. How they read a file's text: `settings_text`. Managed settings were not measured: by the
vendor's documentation they beat everything, and nothing that we pass could change that.

A base URL says where the user's key is sent. A cloned repository brings its own .claude folder, so a base URL
from there is never taken without being asked for by name.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from holdfast.cli import settings_text
from holdfast.flight.plain_files import read_plain

BASE_URL = "ANTHROPIC_BASE_URL"
TIMERS = (
    "API_TIMEOUT_MS",
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS",
    "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS",
    "CLAUDE_ENABLE_STREAM_WATCHDOG",
    "CLAUDE_ENABLE_BYTE_WATCHDOG",
    "API_FORCE_IDLE_TIMEOUT",
    "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS",
)
"The variables that set the client's own limits; the gateway is told these and nothing else of the environment."

FEATURES = {"ENABLE_TOOL_SEARCH": "true", "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1"}
"What the client has with the vendor's own base URL and leaves off with any other (measured)."

MODES = {
    "CLAUDE_CODE_USE_BEDROCK": "Bedrock",
    "CLAUDE_CODE_USE_VERTEX": "Vertex",
    "CLAUDE_CODE_USE_FOUNDRY": "Foundry",
}
"Variables that send it to another cloud, past any base URL."

NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")
PROXY_NAMES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
MANAGED_FILES = {
    "linux": Path("/etc/claude-code/managed-settings.json"),
    "darwin": Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
}
TRUSTED = ("environment", "user", "managed", "--settings")
_PACKAGE = "@anthropic-ai/claude-code"
_NODE_VALUED = ("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions")
"Node's options that take the next word."


# -- the command -------------------------------------------------------------------------------------------


def program_at(command: Sequence[str]) -> int | None:
    """Where in a command line Claude Code's own arguments begin; None if it is another program.

    Known: `claude`, `node .../@anthropic-ai/claude-code/cli.js`. What starts it in its turn: `launchers`.
    """
    if not command:
        return None
    name = PurePath(command[0]).name
    if name in ("claude", "claude.exe"):
        return 1
    if name in ("node", "nodejs", "bun"):
        for at, word in enumerate(command[1:], start=1):
            if f"{_PACKAGE}/cli.js" in word or PurePath(word).name == "claude":
                return at + 1
            if not word.startswith("-") and command[at - 1] not in _NODE_VALUED:
                return None
    return None


def is_package(word: str) -> bool:
    """Whether a word names the package that Claude Code comes in, in whatever version."""
    return re.fullmatch(re.escape(_PACKAGE) + r"(@.+)?", word) is not None


def option_values(arguments: Sequence[str], name: str) -> list[str]:
    """The values of all `--name VALUE` and `--name=VALUE` among a program's arguments, up to `--`."""
    found, rest = [], iter(arguments)
    for word in rest:
        if word == "--":
            break
        if word == name:
            found += [value for value in (next(rest, None),) if value is not None]
        elif word.startswith(name + "="):
            found.append(word.partition("=")[2])
    return found


def option_value(arguments: Sequence[str], name: str) -> str | None:
    """The first value of an option; None where it is not given."""
    return next(iter(option_values(arguments, name)), None)


def with_option(command: Sequence[str], at: int, name: str, value: str) -> list[str]:
    """The command line with `name value` as its only such option, put at `at`. One that lacks its value stays, to be
    refused by the program."""
    head, kept, rest = list(command[:at]), [], list(command[at:])
    while rest:
        word = rest.pop(0)
        if word == "--":
            kept += [word, *rest]
            break
        if word == name and rest:
            del rest[:1]
        elif not word.startswith(name + "="):
            kept.append(word)
    return [*head, name, value, *kept]


# -- settings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """One settings file (or the JSON of `--settings`)."""

    kind: str
    "`user`, `project`, `local`, `--settings` or `managed`."
    place: str
    "The file, as one would name it to the user."
    content: dict[str, Any] = field(repr=False)
    trouble: str = ""
    "Why it could not be read, as a clause; empty where it was. Then there is no content."
    ignored: bool = False
    "Whether every measured client passes over it for that reason, too."

    @property
    def env(self) -> dict[str, str]:
        """Its `env`, as text."""
        env = self.content.get("env")
        if not isinstance(env, dict):
            return {}
        return {name: settings_text.as_text(value) for name, value in env.items()}

    @property
    def doubtful(self) -> bool:
        """Whether a client may read in it what we could not."""
        return bool(self.trouble) and not self.ignored


def read_settings(
    arguments: Sequence[str], environ: Mapping[str, str], directory: Path, platform: str
) -> list[Source]:
    """The settings in force for a Claude Code started in `directory`, weakest first.

    What is not there is left out; what is there and cannot be read is said to be so, without content. Every
    `--settings` is a source of its own, and of several `--setting-sources` all are believed: which one counts
    depends on the version.
    """
    home = Path(environ.get("HOME") or "~").expanduser()
    config = Path(environ["CLAUDE_CONFIG_DIR"]) if environ.get("CLAUDE_CONFIG_DIR") else home / ".claude"
    chosen = option_values(arguments, "--setting-sources") or ["user,project,local"]
    allowed = {part.strip() for value in chosen for part in value.split(",")}
    files = [
        ("user", config / "settings.json"),
        ("project", directory / ".claude" / "settings.json"),
        ("local", directory / ".claude" / "settings.local.json"),
    ]
    users = files[0][1]
    sources = [_read_file(_kind(kind, path, users), path) for kind, path in files if kind in allowed]
    sources += [_read_given(given, directory) for given in option_values(arguments, "--settings") if given]
    if platform in MANAGED_FILES:
        sources.append(_read_file("managed", MANAGED_FILES[platform]))
    return [source for source in sources if source is not None]


def _kind(kind: str, path: Path, users: Path) -> str:
    """In the home directory the project's file is the user's own."""
    try:
        return "user" if path.samefile(users) else kind
    except OSError:
        return kind


def _read_file(kind: str, path: Path) -> Source | None:
    try:
        return _source(kind, str(path), settings_text.decode(read_plain(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # What the system refuses to us it refuses to the client; a pipe or a device is refused by ourselves.
        return Source(kind, str(path), {}, error.strerror or str(error), ignored=error.errno != errno.EINVAL)


def _read_given(given: str, directory: Path) -> Source:
    place = "--settings"
    if is_json(given):
        return _source(place, place, _inline(given))
    named = f"{place} {given}"
    found = _read_file(place, directory / given)
    return (
        replace(found, place=named)
        if found is not None
        else Source(place, named, {}, "there is no such file")
    )


def is_json(given: str) -> bool:
    """Whether `--settings` was given JSON, and not a file's name."""
    return _inline(given).startswith("{")


def _inline(given: str) -> str:
    return settings_text.decode(os.fsencode(given.strip())).strip()


def _source(kind: str, place: str, text: str) -> Source:
    try:
        return Source(kind, place, settings_text.parse(text))
    except settings_text.TooDeep as error:
        return Source(kind, place, {}, str(error))
    except settings_text.Unreadable as error:
        return Source(kind, place, {}, str(error), ignored=True)


@dataclass(frozen=True, slots=True)
class Found:
    """A variable's value, and where it was found."""

    value: str
    kind: str
    place: str

    @property
    def trusted(self) -> bool:
        """Whether the user said it, and not a folder that may have come from elsewhere."""
        return self.kind in TRUSTED


def look_up(name: str, environ: Mapping[str, str], sources: Sequence[Source]) -> Found | None:
    """The value of a variable that the client will see. Empty counts as not set."""
    for source in reversed(sources):
        if source.env.get(name):
            return Found(source.env[name], source.kind, source.place)
    if environ.get(name):
        return Found(environ[name], "environment", f"{name} in the environment")
    return None


def trusted_environment(environ: Mapping[str, str], sources: Sequence[Source]) -> dict[str, str]:
    """The environment as the client sees it, without what project settings put in."""
    seen = dict(environ)
    for source in sources:
        if source.kind in TRUSTED:
            seen |= source.env
    return seen


# -- what the child is given -------------------------------------------------------------------------------


def as_base(url: str) -> str:
    """As clients write it, without the last slash: `$ANTHROPIC_BASE_URL/v1/messages` is one address in scripts, too."""
    return url.rstrip("/")


def base_variables(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What every command gets: our base URL, and loopback kept away from proxies.

    Without the latter every measured Claude Code sends loopback traffic to the proxy. Both spellings are set,
    because programs disagree about which one they read.
    """
    variables = {BASE_URL: as_base(url)}
    for name in NO_PROXY_NAMES:
        variables[name] = with_loopback(
            environ.get(name) or environ.get("NO_PROXY") or environ.get("no_proxy") or ""
        )
    return variables


def with_loopback(no_proxy: str) -> str:
    """A NO_PROXY list with this machine in it."""
    names = [name.strip() for name in no_proxy.split(",") if name.strip()]
    if "*" in names:
        return no_proxy
    return ",".join([*names, *(name for name in ("127.0.0.1", "localhost") if name not in names)])


def feature_variables(environ: Mapping[str, str], sources: Sequence[Source]) -> dict[str, str]:
    """Features to switch on again: those about which the user said nothing anywhere, not even an empty value."""
    said = set(environ).union(*(source.env for source in sources))
    return {name: value for name, value in FEATURES.items() if name not in said}


def timer_variables(environ: Mapping[str, str], sources: Sequence[Source]) -> dict[str, str]:
    """The client's limits as its environment and settings set them."""
    found = {name: look_up(name, environ, sources) for name in TIMERS}
    return {name: value.value for name, value in found.items() if value is not None}


def starts_elsewhere(arguments: Sequence[str]) -> bool:
    """Whether Claude Code is to change into a worktree of its own, where the repository may bring other settings.

    Measured on all three versions: the settings of the new worktree are in force, not those of the folder it was
    started in. Letters may stand together (`-pw`); to take too much for it does no harm.
    """
    own = itertools.takewhile(lambda word: word != "--", arguments)
    return any(re.match(r"--worktree(=|$)|-[A-Za-z]*w", word) for word in own)


def settings_to_pass(
    url: str,
    sources: Sequence[Source],
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    elsewhere: bool = False,
) -> dict[str, Any] | None:
    """The settings for one `--settings` option, so that ours win over files; None if the environment suffices.

    They are needed where a file sets the base URL, or a NO_PROXY list without loopback in it; where a file could not be
    read, lest a client read these in it; and where others will be in force than we see (`elsewhere`). What the user gave
    with `--settings` is kept: there can be only one such option. Raises `NotJoined` where that cannot be kept.
    """
    ours: dict[str, str] = {}
    setting = [source for source in sources if source.kind != "managed"]
    lists = {name: source.env[name] for source in setting for name in NO_PROXY_NAMES if name in source.env}
    if elsewhere or any(source.trouble for source in setting if source.kind != "--settings"):
        ours = base_variables(url, {**environ, **lists})
    if any(BASE_URL in source.env for source in setting):
        ours[BASE_URL] = as_base(url)
    for name, value in lists.items():
        if with_loopback(value) != value:
            ours[name] = with_loopback(value)
    if not ours:
        return None
    merged = _given_alone([source for source in setting if source.kind == "--settings"])
    env = merged.get("env")
    merged["env"] = {**(env if isinstance(env, dict) else {}), **ours}
    return merged


class NotJoined(Exception):
    """The user's `--settings` cannot be joined with ours; the text says why and what to do."""


def _given_alone(given: Sequence[Source]) -> dict[str, Any]:
    """The content of the one `--settings` option, if there is one. Raises `NotJoined`."""
    why = "a settings file would lead past the gateway, so its address has to be joined with your --settings"
    if len(given) > 1:
        raise NotJoined(
            f"{why}, and you gave {len(given)} of them, of which some versions of Claude Code take the first and some "
            "the last. Put all into one."
        )
    if given and given[0].trouble:
        raise NotJoined(
            f"{why}, and {shown_text(given[0].place)} cannot be read: {given[0].trouble}. "
            "Correct it, or give --settings as JSON text."
        )
    return dict(given[0].content) if given else {}


def may_be_shown(passed: Mapping[str, Any], arguments: Sequence[str]) -> bool:
    """Whether settings may stand in the command line, which everyone on this machine can read.

    So where they are ours alone, or where the user wrote theirs there as well.
    """
    if any(is_json(given) for given in option_values(arguments, "--settings")):
        return True
    return set(passed) == {"env"} and set(passed["env"]) <= {BASE_URL, *NO_PROXY_NAMES}


def template_variables(templates: Sequence[str], url: str, port: int) -> dict[str, str]:
    """`NAME=TEMPLATE` pairs with {url}, {host} and {port} filled in. Raises `ValueError`."""
    variables = {}
    for text in templates:
        name, equals, template = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"--env {text!r} is not NAME=TEMPLATE; write one like OPENAI_BASE_URL={{url}}v1")
        for key, value in (("url", url), ("host", "127.0.0.1"), ("port", str(port))):
            template = template.replace("{" + key + "}", value)
        variables[name] = template
    return variables


# -- the upstream ------------------------------------------------------------------------------------------


class UntrustedUpstream(Exception):
    """A base URL that came with a project folder, or that nobody can tell; the text says where from and what to do."""


def past_gateway(command: str, sources: Sequence[Source]) -> str | None:
    """What to say before a command starts in which no Claude Code was recognised, should there be one in it.

    Settings that came with the folder would send its key elsewhere, and an option of ours cannot be put in the way.
    """
    past = [s for s in sources if s.kind not in TRUSTED and (s.doubtful or s.env.get(BASE_URL))]
    if not past:
        return None
    place = shown_text(past[-1].place)
    to = (
        "may send it, with its key, past"
        if past[-1].doubtful
        else f"sends it, with its key, to {shown_url(past[-1].env[BASE_URL])} and past"
    )
    return (
        f"if {shown_text(command)} starts Claude Code, {place} of this project {to} the gateway. "
        "To prevent that, name claude itself: holdfast run -- claude ..."
    )


def upstream_from_client(
    environ: Mapping[str, str], sources: Sequence[Source], *, trust_project: bool
) -> Found | None:
    """The base URL that the client would have used without us; None for its default.

    Raises `UntrustedUpstream` where that one comes from the project's own settings and was not asked for, or where it
    may stand in a file that we could not read. (One named by `--settings` is the user's word, whatever it says.)
    """
    doubt = next((source for source in sources if source.doubtful and source.kind != "--settings"), None)
    if doubt is not None:
        raise UntrustedUpstream(
            f"{shown_text(doubt.place)} cannot be read ({doubt.trouble}), and Claude Code may read in it where to send "
            "your key. Correct that file or take it away, or say yourself where to send it: "
            "--upstream https://api.anthropic.com"
        )
    found = look_up(BASE_URL, environ, sources)
    if found is None or found.trusted or trust_project:
        return found
    raise UntrustedUpstream(
        f"{shown_text(found.place)} of this project sends Claude Code to {shown_url(found.value)}, and with it your key. "
        "A base URL that comes with a folder is not taken unasked. If you trust it, add --trust-project-upstream; "
        "otherwise give your own: --upstream https://api.anthropic.com"
    )


def shown_url(url: str) -> str:
    """A URL for a person's eyes: no user name, password or query, no control characters."""
    bare = re.sub(r"//[^/@]*@", "//***@", url).partition("?")[0]
    return shown_text(bare)[:200]


def shown_text(text: str) -> str:
    """A place's name for a person's eyes: no control characters, and nothing that could not be printed."""
    return "".join(c if c.isprintable() else "?" for c in text)


# -- afterwards --------------------------------------------------------------------------------------------


def why_nothing(
    environ: Mapping[str, str],
    sources: Sequence[Source],
    *,
    is_claude: bool,
    asked: bool,
    refused: bool = False,
    unseen: Sequence[Source] = (),
) -> str:
    """Why no turn was carried, as far as the environment and the settings tell.

    `unseen`: the settings of a Claude Code that a command unknown to us may have started; ours were not passed to it.
    """
    if asked:
        return "it sent only requests that are relayed without protection"
    if refused:
        return (
            f"what it sent was refused; {BASE_URL} ends in a slash already, and what is asked for follows it"
        )
    for name, cloud in MODES.items():
        found = look_up(name, environ, sources)
        if found is not None and found.value.lower() not in ("0", "false", "no", "off"):
            return f"{name} ({found.place}) sends it to {cloud}, past any base URL; unset it to go through holdfast"
    managed = next((s for s in sources if s.kind == "managed" and BASE_URL in s.env), None)
    if is_claude and managed is not None:
        return f"managed settings ({managed.place}) set another base URL, which nothing on the command line can change"
    past = next((s for s in reversed(unseen) if s.trouble or BASE_URL in s.env), None)
    if past is not None:
        sets = "may set" if past.trouble else "sets"
        return (
            f"if the command started Claude Code, {shown_text(past.place)} {sets} another base URL, and settings win "
            "over the environment; name claude itself (holdfast run -- claude ...), and the gateway's wins, or take it "
            "out of there"
        )
    no_proxy = next((s for s in reversed(sources) if any(n in s.env for n in NO_PROXY_NAMES)), None)
    proxy = next((f for f in (look_up(n, environ, sources) for n in PROXY_NAMES) if f is not None), None)
    if proxy is not None and (no_proxy is not None or not is_claude):
        return (
            f"a proxy is set ({proxy.place}), and the command may have sent it even what is for this machine; "
            "put 127.0.0.1 into its NO_PROXY"
        )
    if is_claude:
        return "the command never asked"
    return f"the command never asked; if it reads its address elsewhere than in {BASE_URL}, use --env NAME={{url}}"
