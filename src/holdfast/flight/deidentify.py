"""What leaves this machine, without what says whose it is. Values in, values out.

Two layers. *Structured*: every field of a record, of a moment and of an ending's evidence has a policy in one of
the closed tables `RECORD`, `MOMENTS` and `EVIDENCE`; what is not in them is left out. *Text*: free text (`text`)
loses credentials, addresses, paths, host names and ids by their form, and then every word that is not one of
`plainwords`, because no form tells a branch, a title, a prompt or a name from other words.

What is taken out gets a pseudonym that is the same all through one report (`host-1`, `ip4-private-2`, `path-3`);
one `Names` makes them and keeps the private table that leads back. Ids that the provider gave are kept, since
they are for the provider: `req_...`, a UUID where its request id stands, a `cf-ray`.
"""

from __future__ import annotations

import builtins
import errno
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from holdfast.flight.endings import Ending, Mechanism, Phase, Side, taken_apart
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.plainwords import PLAIN
from holdfast.flight.record import TurnRecord
from holdfast.flight.redact import REMOVED, clean, scrub

# ----- pseudonyms

KINDS: Final[Mapping[str, str]] = {
    "agent": "agent name",
    "branch": "branch",
    "edge": "edge id of an unknown form",
    "host": "host name",
    "id": "id",
    "ip4": "IPv4 address",
    "ip6": "IPv6 address",
    "issuer": "certificate issuer",
    "link": "network interface",
    "mac": "MAC address",
    "mail": "e-mail address",
    "mcp": "MCP server name",
    "model": "model name of an unknown form",
    "name": "name or unknown word",
    "path": "path",
    "request": "request id of an unknown form",
    "session": "session id",
    "text": "free text",
    "title": "title",
    "tool": "tool name",
    "turn": "turn id of an unknown form",
    "user": "user name",
}
"Kinds of pseudonyms, and what each stands for, in the singular."


@dataclass(slots=True)
class Names:
    """The pseudonyms of one report, and the private table that leads back from them."""

    _given: dict[tuple[str, str], str] = field(default_factory=dict)
    _originals: dict[str, str] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)
    _counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    "What was left out without a pseudonym: `credential`, `fact without a policy`, `moment of another version`."

    def name(self, kind: str, original: str, sort: str = "") -> str:
        """The pseudonym of `original`: `host-1`, or with a `sort`, `ip4-private-1`. The same for the same text."""
        assert kind in KINDS, kind
        if original in self._originals or not original:
            return original
        folded = (kind, original.casefold())
        if folded not in self._given:
            stem = f"{kind}-{sort}" if sort else kind
            self._numbers[stem] += 1
            self._counts[kind] += 1
            self._given[folded] = f"{stem}-{self._numbers[stem]}"
            self._originals[self._given[folded]] = original
        return self._given[folded]

    def known(self) -> list[tuple[str, str]]:
        """Originals that were named by a field of their own, with their pseudonyms, the longest first."""
        pairs = [
            (original, pseudonym)
            for pseudonym, original in self._originals.items()
            if pseudonym.partition("-")[0] in _TOLD_BY_FIELDS and len(original) >= 4
        ]
        return sorted(pairs, key=lambda pair: -len(pair[0]))

    def key(self) -> dict[str, str]:
        """Pseudonym -> original. Private: it undoes everything. Credentials are not in it."""
        return dict(self._originals)

    def counts(self) -> dict[str, int]:
        """How many different things of each kind were taken out, by their names in `KINDS` or `left_out`."""
        found = {KINDS[kind]: number for kind, number in self._counts.items()}
        return dict(sorted((found | dict(self.left_out)).items()))

    def in_words(self) -> str:
        """The same for a line: `1 path, 25 turn ids of an unknown form`; empty where there was none."""
        return ", ".join(f"{number} {_spoken(kind, number)}" for kind, number in self.counts().items())


def _spoken(kind: str, number: int) -> str:
    """A kind's name for so many of it."""
    if number == 1:
        return kind
    head, of, rest = kind.partition(" of ")
    return (
        " or ".join(f"{word}{'es' if word.endswith('s') else 's'}" for word in head.split(" or ")) + of + rest
    )


_TOLD_BY_FIELDS = frozenset({"agent", "branch", "mcp", "session", "title", "user"})


# ----- free text

API_HOSTS: Final = frozenset(
    {
        "api.anthropic.com",
        "api.openai.com",
        "openrouter.ai",
        "api.mistral.ai",
        "generativelanguage.googleapis.com",
        "localhost",
    }
)
"Names that say which public service was asked, and nothing about who asked."

API_PATHS: Final = frozenset(
    {
        "/",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/complete",
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/models",
        "/v1/embeddings",
    }
)

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20})://([^\s\"'<>]*)")
_MAIL = re.compile(r"[^\s@<>\"'(),;:\[\]]+(?:@[^\s@<>\"'(),;:\[\]]+)+")
_WINDOWS = re.compile(r"(?:(?<![A-Za-z0-9])[A-Za-z]:[\\/]|\\\\)[^\s\"'<>|]+")
_PATH = re.compile(r"(?<![\w/.:-])(?:~[\w.-]*|\.{1,2})?/[^\s\"'<>|:;,()\[\]{}]*")
_MAC = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4,6}(?![0-9a-z])")
_IP6 = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f:.]{2,45}(?:%[\w.-]+)?")
_PAIRS = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{1,4}(?:[:-]{1,2}[0-9a-f]{1,4}){3,}(?![0-9a-z])")
"Half an address, or one of a kind that is not known: words that are numbers by themselves."
_IP4 = re.compile(r"(?<!\d)(?<!\d\.)\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", re.ASCII)
_UUID = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])")
_MCP = re.compile(r"(?<!\w)mcp__[\w.-]+")
_LONG_ID = re.compile(r"(?<![\w-])(?:[0-9a-f]{12,}|\d{10,})(?![\w-])", re.ASCII)
_HOST = re.compile(r"(?i)(?<![\w.+-])(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+[a-z][a-z0-9-]{1,62}(?![\w+-]|\.\w)")
_FILE_ENDING = re.compile(
    r"(?i)\.(?:c|cc|cfg|conf|cpp|css|csv|db|env|go|h|html?|ini|java|jsx?|json|jsonl|lock|log|md|mjs|pcap|pdf"
    r"|pem|php|png|py|rb|rs|sh|sqlite|svg|swift|toml|tsx?|txt|xml|ya?ml|zip)$"
)

_TOKEN = re.compile(r"[^\s,;:()\[\]{}\"'`<>|=!?/\\@]+")
_JOINS_RUN = re.compile(r"[\s/\\@:.]{0,2}")
_PARTS_OF_ONE = ("/", "\\", "@")
"What stands between words of one name: `feature/umbrella` is no plain word beside an unknown one."
_NUMBER = re.compile(
    r"(?i)[-+]?\d{1,9}(?:[.,]\d{1,9}){0,2}(?:%|x|[kmg]?i?b|bits?|bytes?|[mun]?s|min|h|d|st|nd|rd|th)?",
    re.ASCII,
)
_VERSION = re.compile(r"(?i)v?\d{1,4}(?:\.\d{1,4}){1,2}(?:[-.]?(?:a|b|rc|alpha|beta)\.?\d{0,3})?", re.ASCII)
_HEX_NUMBER = re.compile(r"(?i)0x[0-9a-f]{1,8}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT?(?:\d\d)?", re.ASCII)
_PROVIDER_ID = re.compile(r"(?:req|msg)_[0-9A-Za-z]{1,40}|chatcmpl-[0-9A-Za-z]{10,40}", re.ASCII)
_EDGE_ID = re.compile(r"[0-9a-f]{16}(?:-[A-Z]{3})?", re.ASCII)
_OUR_NAME = re.compile(
    rf"(?:{'|'.join(KINDS)})(?:-(?:public|private|loopback|link-local|shared|other))?-\d{{1,6}}", re.ASCII
)
_ERRNO = frozenset(errno.errorcode.values())
_ERRORS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
MOSTLY_UNKNOWN = 0.5
"A text of which more than this share of words is unknown is not an error message: it is replaced as a whole."
FEW_WORDS = 4
"So few unknown words are replaced one by one in any case."


def text(value: str, names: Names) -> str:
    """Free text without anything that could say whose it is; what is left can be read as before.

    Credentials become `[removed]`, all else a pseudonym of `names`. Safe to call on its own result.
    """
    scrubbed = clean(scrub(value), limit=None)
    names.left_out["credential"] += max(scrubbed.count(REMOVED) - value.count(REMOVED), 0)
    if not names.left_out["credential"]:
        del names.left_out["credential"]
    for original, pseudonym in names.known():
        scrubbed = re.sub(re.escape(original), pseudonym, scrubbed, flags=re.IGNORECASE)
    for pattern, put in _FORMS:
        scrubbed = pattern.sub(partial(put, names), scrubbed)
    return _plain(scrubbed, names)


def _url(names: Names, found: re.Match[str]) -> str:
    scheme, (login, at, rest) = found[1], found[2].rpartition("@")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return names.name("path", found[0])
    shown = f"{REMOVED}@" if at and login else ""
    shown += _host_or_address(host, names) if host else ""
    path = parts.path
    if path.strip("/") and path.rstrip("/") not in API_PATHS:
        path = f"/{names.name('path', path[1:])}"
    scheme = scheme if scheme.lower() in ("http", "https", "ws", "wss", "file", "socks5") else "scheme"
    return f"{scheme}://{shown}{port}{path}" + ("?…" if parts.query or parts.fragment else "")


def _host_or_address(host: str, names: Names) -> str:
    if host in API_HOSTS or _OUR_NAME.fullmatch(host):
        return host
    try:
        return _address_name(host, names)
    except ValueError:
        return names.name("host", host)


def _address_name(address: str, names: Names) -> str:
    """Keeps the family, and whether the address is a public one. Raises `ValueError` where it is none."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        kind, known_as = "ip6", ipaddress.ip_address(parsed.ipv4_mapped)
    else:
        kind, known_as = f"ip{parsed.version}", parsed
    return names.name(kind, address, _reach(known_as))


_SHARED = ipaddress.ip_network("100.64.0.0/10")
_PRIVATE = [
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]


def _reach(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if any(address in net for net in _PRIVATE if net.version == address.version):
        return "private"
    if address.version == 4 and address in _SHARED:
        return "shared"
    return "other" if address.is_multicast or address.is_unspecified else "public"


def _ip6(names: Names, found: re.Match[str]) -> str:
    candidate = found[0]
    if candidate.count(":") < 2:
        return candidate
    for taken in (candidate, candidate.rstrip(":."), candidate.rpartition(":")[0]):
        try:
            return _address_name(taken, names) + candidate[len(taken) :]
        except ValueError:
            continue
    return candidate


def _ip4(names: Names, found: re.Match[str]) -> str:
    try:
        return _address_name(found[0], names)
    except ValueError:
        return names.name("id", found[0])


def _path(names: Names, found: re.Match[str]) -> str:
    path, question, _ = found[0].partition("?")
    bare = path.rstrip(".")
    if bare.rstrip("/") in API_PATHS or bare == "/":
        return path + ("?…" if question else "")
    return names.name("path", found[0])


def _host(names: Names, found: re.Match[str]) -> str:
    host = found[0]
    if host.lower() in PLAIN or host.lower() in API_HOSTS or is_ending_code(host):
        return host
    return names.name("path" if _FILE_ENDING.search(host) else "host", host)


def _id(names: Names, found: re.Match[str]) -> str:
    return names.name("id", found[0])


_FORMS: tuple[tuple[re.Pattern[str], Callable[[Names, re.Match[str]], str]], ...] = (
    (_URL, _url),
    (_MAIL, lambda names, found: found[0] if found[0].startswith(REMOVED) else names.name("mail", found[0])),
    (_WINDOWS, lambda names, found: names.name("path", found[0])),
    (_PATH, _path),
    (_MAC, lambda names, found: names.name("mac", found[0])),
    (_UUID, _id),
    (_MCP, lambda names, found: _tool(found[0], names)),
    (_IP6, _ip6),
    (_IP4, _ip4),
    (_PAIRS, lambda names, found: found[0] if _OUR_NAME.fullmatch(found[0]) else names.name("id", found[0])),
    (_HOST, _host),
    (_LONG_ID, _id),
)


def is_ending_code(word: str) -> bool:
    """Whether `word` is a code such as `C.rst.tool`."""
    side, _, rest = word.partition(".")
    mechanism, _, phase = rest.partition(".")
    return side in _SIDES and mechanism in _MECHANISMS and phase in _PHASES


_SIDES = {side.value for side in Side}
_MECHANISMS = {mechanism.value for mechanism in Mechanism}
_PHASES = {phase.value for phase in Phase}


def _is_told_code(word: str) -> bool:
    """The same with what became of it: `P.rst.tool+restart`."""
    code, remedy = taken_apart(word)
    return is_ending_code(code) and all(part in PLAIN for part in (remedy or "").split())


def _plain(scrubbed: str, names: Names) -> str:
    """Replace every word that is not a plain one; neighbours together."""
    tokens = [found for found in _TOKEN.finditer(scrubbed) if any(c.isalnum() for c in found[0])]
    lost = [not _is_plain(found[0]) for found in tokens]
    for order in (range(1, len(tokens)), range(len(tokens) - 1, 0, -1)):
        for n in order:
            if scrubbed[tokens[n - 1].end() : tokens[n].start()] in _PARTS_OF_ONE:
                lost[n] = lost[n - 1] = lost[n] or lost[n - 1]
    unknown = [found for found, gone in zip(tokens, lost, strict=True) if gone]
    if not unknown:
        return scrubbed
    if len(unknown) >= FEW_WORDS and len(unknown) > MOSTLY_UNKNOWN * len(tokens):
        return names.name("text", scrubbed)
    runs: list[tuple[int, int]] = []
    for found in unknown:
        start, end = found.span()
        if runs and _JOINS_RUN.fullmatch(scrubbed, runs[-1][1], start):
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    told, last = [], 0
    for start, end in runs:
        told += [scrubbed[last:start], names.name("name", scrubbed[start:end])]
        last = end
    return "".join([*told, scrubbed[last:]])


def _is_plain(token: str) -> bool:
    word = token.strip(".-_*…+~#$&^%") or token
    if word.lower() in PLAIN or (len(word) == 1 and word.isascii()):
        return True
    if not word.isascii():
        return False
    if any(form.fullmatch(word) for form in _PLAIN_FORMS) or _NUMBER.fullmatch(token):
        return True
    if word in _ERRNO or word in _ERRORS or _is_told_code(token) or word in API_HOSTS:
        return True
    parts = [part for part in re.split(r"[-_+]", word) if part]
    numbers = sum(part.isdigit() for part in parts)
    return (
        len(parts) > 1
        and numbers <= 2
        and all(
            part.lower() in PLAIN or len(part) == 1 or (part.isdigit() and len(part) <= 9) for part in parts
        )
    )


_PLAIN_FORMS = (
    _NUMBER,
    _VERSION,
    _HEX_NUMBER,
    _DATE,
    _PROVIDER_ID,
    _OUR_NAME,
    re.compile(r"[0-9a-f]{16}-[A-Z]{3}"),
)


# ----- fields


class Policy(Enum):
    """What is done with a field's value."""

    KEEP = "keep"
    "Numbers, yes and no; a text that stands there nevertheless goes through the text pass."
    TEXT = "text"
    "Free text, or words of a closed vocabulary of ours: through the text pass."
    API_PATH = "API path"
    "Kept where it is one of the public APIs' paths."
    MODEL = "model"
    "Kept where it has the form of a public model's name."
    REQUEST_ID = "request id"
    "Kept where it has a provider's form, UUIDs included: it is for the provider."
    EDGE_ID = "edge id"
    "Kept where it is a cf-ray."
    TRACE = "trace id"
    "Kept where it has the form of a cloud's or an edge's trace id: it is for whoever runs that."
    TURN_ID = "turn id"
    "Ours; kept where it has our form, and names nothing outside this journal."
    SESSION = "session"
    AGENT = "agent"
    TOOL = "tool"
    "Kept where it is a known program's own tool; MCP servers and their tools get pseudonyms."
    HOST = "host"
    ADDRESS = "address"
    MAC = "mac"
    LINK = "link"
    ISSUER = "issuer"
    USER = "user"
    ID = "id"
    BRANCH = "branch"
    TITLE = "title"
    PATH = "path"
    DROP = "drop"
    "Left out."


_NAMED: Mapping[Policy, str] = {
    Policy.SESSION: "session",
    Policy.AGENT: "agent",
    Policy.LINK: "link",
    Policy.ISSUER: "issuer",
    Policy.USER: "user",
    Policy.ID: "id",
    Policy.BRANCH: "branch",
    Policy.TITLE: "title",
    Policy.MAC: "mac",
    Policy.PATH: "path",
}

_TOOLS = (
    "Agent AskUserQuestion Bash BashOutput Edit EnterPlanMode ExitPlanMode Glob Grep KillBash KillShell LS LSP "
    "ListMcpResourcesTool MultiEdit NotebookEdit NotebookRead Read ReadMcpResourceTool Skill SlashCommand Task "
    "TaskCreate TaskGet TaskList TaskOutput TaskStop TaskUpdate TodoRead TodoWrite ToolSearch WebFetch WebSearch "
    "Write apply_patch bash code_execution computer memory shell str_replace_based_edit_tool "
    "str_replace_editor text_editor web_fetch web_search"
)
KNOWN_TOOLS: Final = frozenset(_TOOLS.split())
"Tools that come with public programs and APIs."

_MODEL = re.compile(
    r"(?:anthropic[./])?claude-[a-z]{3,10}(?:-\d{1,8}){1,3}(?:-(?:latest|fast|v\d(?::\d)?))?(?:\[1m\])?"
    r"|(?:anthropic[./])?claude-\d(?:-\d)?-(?:opus|sonnet|haiku)(?:-\d{8}|-latest)?(?:-v\d(?::\d)?)?"
    r"|claude-(?:instant-)?\d(?:\.\d)?"
    r"|(?:openai/)?(?:gpt-\d[\d.]{0,4}o?|o\d|chatgpt-4o|codex)(?:-(?:mini|nano|turbo|pro|max|latest|preview|codex))*(?:-\d{4}-\d\d-\d\d)?"
)
_REQUEST = re.compile(
    r"(?:req|gen|resp|chatcmpl)[_-][0-9A-Za-z_-]{1,60}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    re.ASCII,
)
_TRACE = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d\d-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
    r"|Root=1-[0-9a-f]{8}-[0-9a-f]{24}(?:;Parent=[0-9a-f]{16})?(?:;Sampled=[01])?|[A-Za-z0-9_-]{54}=="
    r"|[0-9a-f]{32}(?:/\d{1,20})?(?:;o=\d)?|[0-9A-HJKMNP-TV-Z]{26}-[a-z]{3}|(?:[a-z]{3}\d::){1,3}[a-z0-9]{4,6}-\d{13}-[0-9a-f]{12}",
    re.ASCII,
)
_TURN = re.compile(r"[0-9a-hjkmnp-tv-z]{14}", re.ASCII)


def value(policy: Policy, given: Any, names: Names) -> Any:
    """One field's value under its policy; None for what is dropped, or was not measured."""
    if policy is Policy.DROP or given is None:
        return None
    if isinstance(given, bool | int | float):
        return given
    if isinstance(given, Ending):
        return ending(given, names)
    said = str(given)
    if policy in _NAMED:
        return names.name(_NAMED[policy], clean(scrub(said), limit=None))
    special = _SPECIAL.get(policy)
    return text(said, names) if special is None else special(said, names)


def _kept_if(form: re.Pattern[str], kind: str) -> Callable[[str, Names], str]:
    def kept(said: str, names: Names) -> str:
        return said if form.fullmatch(said) else names.name(kind, clean(scrub(said), limit=None))

    return kept


def _tool(said: str, names: Names) -> str:
    if said in KNOWN_TOOLS or not said:
        return said
    said = clean(scrub(said), limit=None)
    mcp, _, rest = said.partition("__")
    server, two, tool = rest.partition("__")
    if mcp == "mcp" and server:
        return f"mcp__{names.name('mcp', server)}" + (f"__{names.name('tool', tool)}" if two and tool else "")
    return names.name("tool", said)


def _host_field(said: str, names: Names) -> str:
    return text(said, names) if "://" in said else _host_or_address(clean(scrub(said), limit=None), names)


_SPECIAL: Mapping[Policy, Callable[[str, Names], str]] = {
    Policy.API_PATH: lambda said, names: (
        said if said in API_PATHS else names.name("path", clean(scrub(said), limit=None))
    ),
    Policy.MODEL: _kept_if(_MODEL, "model"),
    Policy.REQUEST_ID: _kept_if(_REQUEST, "request"),
    Policy.EDGE_ID: _kept_if(_EDGE_ID, "edge"),
    Policy.TRACE: _kept_if(_TRACE, "request"),
    Policy.TURN_ID: _kept_if(_TURN, "turn"),
    Policy.TOOL: _tool,
    Policy.HOST: _host_field,
}

_K, _T = Policy.KEEP, Policy.TEXT

RECORD: Final[Mapping[str, Policy]] = {
    "turn_id": Policy.TURN_ID,
    "started": _K,
    "kind": _T,
    "method": _T,
    "path": Policy.API_PATH,
    "agent": _T,
    "profile": _T,
    "session": Policy.SESSION,
    "subagent": Policy.AGENT,
    "upstream": Policy.HOST,
    "model": Policy.MODEL,
    "status": _K,
    "request_id": Policy.REQUEST_ID,
    "edge_id": Policy.EDGE_ID,
    "request_bytes": _K,
    "answer_bytes": _K,
    "events": _K,
    "input_tokens": _K,
    "output_tokens": _K,
    "stop_reason": _T,
    "attempts": _K,
    "readers": _K,
    "keepalives": _K,
    "longest_quiet_s": _K,
    "spared": _K,
    "held": _K,
    "saved_from": _T,
    "healed": _T,
    "breaks": _T,
    "wasted_tokens": _K,
    "request_key": Policy.ID,
    "ended": _K,
    "ending": _K,
    "moments": _K,
}
"Field of a `TurnRecord` -> policy. Instants, endings and moments are taken apart by their own tables."

MOMENTS: Final[Mapping[str, Mapping[str, Policy]]] = {
    "RequestArrived": {"method": _T, "path": Policy.API_PATH, "agent": _T, "profile": _T},
    "RequestEdited": {"edit": _T, "detail": _T},
    "RequestHeld": {"other_turn": Policy.TURN_ID},
    "AttemptStarted": {"attempt": _K},
    "Connected": {
        "attempt": _K,
        "address": _T,
        "took_s": _K,
        "reused": _K,
        "tls": _T,
        "http": _T,
        "own_port": _K,
    },
    "RequestSent": {"attempt": _K, "body_bytes": _K},
    "HeadersArrived": {
        "attempt": _K,
        "status": _K,
        "request_id": Policy.REQUEST_ID,
        "content_type": _T,
        "edge_id": Policy.EDGE_ID,
    },
    "AnswerOpenedEarly": {"patience_s": _K},
    "FirstEventArrived": {"attempt": _K, "model": Policy.MODEL, "input_tokens": _K},
    "BlockOpened": {"index": _K, "kind": _T, "tool": Policy.TOOL},
    "QuietNoticed": {"phase": _T, "tool": Policy.TOOL, "silent_s": _K},
    "QuietEnded": {"quiet_s": _K, "keepalives": _K},
    "ReaderJoined": {"reader": _K, "how": _T, "behind_bytes": _K, "client_port": _K, "own_port": _K},
    "ReaderLeft": {"reader": _K, "verdict": _T, "limit": _T, "limit_s": _K, "ending": _K},
    "ReaderLagged": {"reader": _K, "behind_bytes": _K},
    "TurnOrphaned": {"patience_s": _K},
    "ReaderReset": {"reader": _K, "after_ms": _K, "code": _T},
    "OrphanExpired": {"limit": _T},
    "HedgeStarted": {"attempt": _K, "silent_s": _K},
    "EndingDelayed": {"remedy": _T, "in_s": _K},
    "NetworkGone": {"why": _T},
    "NetworkBack": {"absent_s": _K},
    "NetworkChanged": {"what": _T},
    "MachineSlept": {"slept_s": _K},
    "Healed": {"remedy": _T, "broke": _T},
    "UpstreamStopped": {"attempt": _K, "why": _T},
    "AttemptEnded": {"attempt": _K, "ending": _K},
    "EdgeWitnessed": {
        "attempt": _K,
        "status": _K,
        "edge_id": Policy.EDGE_ID,
        "location": _T,
        "server": _T,
        "via": _T,
        "address": Policy.ADDRESS,
        "took_s": _K,
        "broke": _T,
    },
    "AttemptPlanned": {"attempt": _K, "in_s": _K, "change": _T, "why": _T},
    "NotAskedAgain": {"why": _T},
    "RequestDoomed": {"seen": _K, "by": _T, "age_s": _K, "size": _K, "bound": _K},
    "ErrorRepeated": {"status": _K},
    "AnsweredLocally": {"status": _K, "why": _T},
    "AnswerFinished": {"stop_reason": _T, "output_tokens": _K, "estimated": _K},
    "AnswerHeard": {"reader": _K},
    "AnswerKept": {"size": _K, "complete": _K},
    "ErrorSaid": {"status": _K, "kind": _T},
    "TurnEnded": {"ending": _K},
}
"Kind of moment -> its fields -> policy. A kind that is not here is left out."

_MEASURED = (
    "errno so_error rtt_ms min_rtt_ms rto_ms retransmits backoff total_retrans retrans_bytes lost probes unacked "
    "unacked_bytes notsent_bytes last_data_sent_ms last_data_recv_ms last_ack_recv_ms acked_bytes tcp_sent_bytes "
    "tcp_received_bytes busy_ms rwnd_limited_ms sndbuf_limited_ms snd_wnd_bytes pmtu_bytes family age_s reused exchanges "
    "sent_bytes received_bytes peer_closed close_notify not_processed goaway_last_stream pings pings_unanswered ping_ms "
    "half_closed_ms silence_s since_request_s since_headers_s since_byte_s since_event_s slept_s status request_bytes "
    "answer_bytes answer_events blocks input_tokens output_tokens session_turns open_turns vpn "
    "x_envoy_upstream_service_time_ms x_envoy_attempt_count"
)
_SAID = (
    "tcp_state http tls tls_alert stream_error goaway goaway_debug underneath context profile interface cf_cache_status "
    "server via x_served_by x_cache x_amz_cf_pop x_envoy_response_flags x_envoy_overloaded x_envoy_ratelimited "
    "x_envoy_degraded x_envoy_decorator_operation x_envoy_immediate_health_check_fail retry_after x_should_retry ratelimit"
)
_TRACES = (
    "x_amzn_requestid x_amzn_trace_id x_amz_cf_id x_cloud_trace_context x_google_trace traceparent x_azure_ref "
    "apim_request_id x_ms_request_id x_vercel_id fly_request_id"
)

EVIDENCE: Final[Mapping[str, Policy]] = {
    **dict.fromkeys(_MEASURED.split(), _K),
    **dict.fromkeys(_SAID.split(), _T),
    **dict.fromkeys(_TRACES.split(), Policy.TRACE),
    "address": Policy.ADDRESS,
    "network": Policy.ID,
    "request_id": Policy.REQUEST_ID,
    "cf_ray": Policy.EDGE_ID,
    "tool": Policy.TOOL,
    "model": Policy.MODEL,
    "session": Policy.SESSION,
    "agent": Policy.AGENT,
}
"Name in an ending's evidence -> policy. A name that is not here is left out."


def record(given: TurnRecord, names: Names) -> TurnRecord:
    """The whole turn, moments and ending included, as it may leave the machine."""
    plain = {
        name: value(policy, getattr(given, name), names)
        for name, policy in RECORD.items()
        if name not in ("started", "ended", "ending", "moments")
    }
    plain = {
        name: "" if told is None and isinstance(getattr(given, name), str) else told
        for name, told in plain.items()
    }
    return msgspec.structs.replace(
        given,
        **plain,
        ending=ending(given.ending, names) if given.ending is not None else None,
        moments=moments(given.moments, names),
    )


def moments(given: list[tuple[Instant, Moment]], names: Names) -> list[tuple[Instant, Moment]]:
    """Moments with their instants; those of a kind without a policy are left out."""
    told = []
    for at, one in given:
        known = moment(one, names)
        if known is not None:
            told.append((at, known))
    return told


def moment(given: Moment, names: Names) -> Moment | None:
    """One moment; None for a kind that has no policy (another version of Holdfast wrote it)."""
    policies = MOMENTS.get(type(given).__name__)
    if policies is None:
        names.left_out["moment of another version"] += 1
        return None
    return type(given)(
        **{name: value(policy, getattr(given, name), names) for name, policy in policies.items()}
    )


def ending(given: Ending, names: Names) -> Ending:
    """Side, mechanism and phase stay; the detail goes through the text pass, the evidence through its table."""
    return replace(given, detail=text(given.detail, names), evidence=evidence(given.evidence, names))


def evidence(
    given: Mapping[str, str | int | float | bool | None], names: Names
) -> dict[str, str | int | float | bool | None]:
    """Facts of an ending; None stays None ("not measured"), a name without a policy is left out."""
    told = {}
    for name, fact in given.items():
        if name not in EVIDENCE:
            names.left_out["fact without a policy"] += 1
        elif EVIDENCE[name] is not Policy.DROP:
            told[name] = value(EVIDENCE[name], fact, names)
    return told
