"""Text from elsewhere, made safe to print and to keep.

`clean` takes its power over a terminal; `scrub` takes out what could be a credential.
Order: `clean(scrub(text))`, because `clean` shortens and half a key is still half a key.
Both would rather change too much than too little. Neither raises, whatever the text.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import urlsplit

REMOVED = "[removed]"

LONGEST_SCRUBBED = 8000
"Characters that are looked at; the rest is dropped. Whoever keeps or prints such text shortens it further."

LONGEST = 500
"Characters of one line that was not ours: enough for any error text, too short to flood a screen."

# Everything that a terminal or a reader's eye could take for something else: C0 and C1 controls, line and
# paragraph separators, surrogates (they cannot even be printed), and format characters, among them the
# overrides of writing direction. The two joiners stay: Persian, Hindi and many emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u06dd\u070f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\ufff0-\ufff8\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def clean(text: str, *, limit: int | None = LONGEST, lines: bool = False) -> str:
    """`text` without control, format and direction characters: each is shown as an escape (`\\x1b`).

    At most `limit` characters, an ellipsis included where something was cut; None for no limit.
    With `lines`, newlines and tabs are kept (for text of several lines).
    """
    if not text.isprintable():
        text = _UNSAFE.sub(_escape_outside_lines if lines else _escape, text)
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 1, 0)] + "…" if limit > 0 else ""
    return text


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_outside_lines(found: re.Match[str]) -> str:
    return found.group() if found.group() in "\n\t" else _escape(found)


@lru_cache(maxsize=512)
def safe(text: str) -> str:
    """A name or id that comes from a client or provider: no credential, no control character, not long.

    The same few come with every turn, so the answers are kept.
    """
    return clean(scrub(text))


# Names whose value is a secret, in headers, queries, JSON and environment listings; the end of a name is enough.
_SECRET_NAME = (
    r"(?:api[_-]?key|auth[_-]?token|holdfast-token|secret|passwd|password|passphrase|credentials?"
    r"|access[_-]?key(?:[_-]?id)?|(?<![a-z0-9])(?:token|key|auth|sig|signature|pwd))"
)

# No pattern may search on and on from every place of a hostile text: what repeats without a bound here is
# consumed by its match, and what can fail after a long search has a bound.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # https://user:password@host: all between the scheme and the last @ of the authority.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/\"'<>]*@"), rf"\1{REMOVED}@"),
    # authorization: ..., cookie: ...: such a header's whole value, to the end of its line or quotes.
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?)(\\?[\"']?\s*[:=]\s*)(\\?[\"'])?"
            r"(?(3)(?:(?!\3).)*|[^\r\n\"']*)"
        ),
        rf"\1\2\3{REMOVED}",
    ),
    # api_key=..., "token": "...", password: ...
    (
        re.compile(rf"(?i)({_SECRET_NAME})(\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[removed\])[^\s&;,\"'<>\\]+"),
        rf"\1\2{REMOVED}",
    ),
    # Authorization schemes wherever they stand.
    (
        re.compile(r"(?i)\b(bearer|basic|digest|negotiate)([ \t]+)(?!\[removed\])[\w.~+/=-]{6,}"),
        rf"\1\2{REMOVED}",
    ),
    # Keys that can be told by their first letters.
    (
        re.compile(
            r"(?:sk-ant-|\bsk-|\bsk_live_|\brk_live_|\bgh[pousr]_|\bgithub_pat_|\bglpat-|\bxox[abeprs]-|\bhf_|\bAIza"
            r"|\bAKIA|\bASIA|\bya29\.|\bnpm_|\bpypi-)[\w.-]{6,}"
        ),
        REMOVED,
    ),
    # JSON Web Tokens.
    (re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]+(?:\.[\w-]*)?"), REMOVED),
)

_NAMED_TOKEN = re.compile(
    r"(?P<name>[\w.-]{1,64})(?P<gap>\\?[\"']?\s*[:=]\s*\\?[\"']?)(?P<value>[\w~+/.=-]{32,})"
)

_HARMLESS_NAME = re.compile(
    r"(?i)(?:request|ray|trace|message|session|turn|instance|etag|sha256|digest|path|file|model|host)"
)


# Every rule needs one of these; most texts have none, and this look costs a tenth of the rules.
_HINT = re.compile(
    r"(?i)[:=@]|bearer|basic|digest|negotiate|sk[-_]|rk_|gh[pousr]_|_pat_|glpat-|xox|hf_|aiza|akia|asia|ya29|npm_|pypi-|eyj"
)


def scrub(text: str) -> str:
    """`text` with everything that looks like a credential replaced by `[removed]`; cut after `LONGEST_SCRUBBED`."""
    if not _HINT.search(text):
        return text
    if len(text) > LONGEST_SCRUBBED:
        text = text[: LONGEST_SCRUBBED - 1] + "…"
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _NAMED_TOKEN.sub(_without_token, text)


def _without_token(found: re.Match[str]) -> str:
    """A long value of much chance behind `name:` or `name=` is taken for a credential, ids that we need excepted."""
    if _HARMLESS_NAME.search(found["name"]) or not looks_random(found["value"]):
        return found.group()
    return f"{found['name']}{found['gap']}{REMOVED}"


def scrub_error_event(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """An answer's pieces, its error event scrubbed where it ends in one: some providers repeat the key they refuse.

    All else in an answer is what the model said, and stays to the byte. No more than its end is held.
    """
    held: deque[bytes] = deque()
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        while size - len(held[0]) >= LONGEST_SCRUBBED:
            size -= len(held[0])
            yield held.popleft()
    tail = b"".join(held)
    at = tail.rfind(b"event: error")
    if at < 0:
        yield tail
        return
    yield tail[:at]
    yield scrub(tail[at:].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


ORDINARY_SEGMENT = 12
"Characters of a path segment that is shown; a token that serves is longer."


def masked_url(url: str) -> str:
    """A base URL or proxy to show: no login, no query, and of its path only what is too short for a token.

    `https://***@gate.example/v1/…/anthropic`. What cannot be read as a URL is `***` as a whole.
    """
    head, login, rest = url.rpartition("@")
    scheme, slashes, bare = head.partition("://") if login else url.partition("://")
    if not slashes:
        scheme, bare = "", head if login else url
    try:
        parts = urlsplit(f"//{rest if login else bare}")
        if not parts.hostname or (parts.port is None and parts.netloc.endswith(":")):
            return "***"
    except ValueError:  # what stands for a port may be a password
        return "***"
    path = "/".join(
        "…" if len(part) > ORDINARY_SEGMENT or looks_random(part) else part for part in parts.path.split("/")
    )
    tail = "?…" if parts.query or parts.fragment else ""
    return clean(f"{scheme}{slashes}{'***@' if login else ''}{parts.netloc}{path}{tail}")


def looks_random(value: str) -> bool:
    """Whether a long word is more likely drawn than written: letters and digits, and over 3.5 bits per character.

    English words joined by dots or dashes have about 3.2 to 3.6 but no digits; hexadecimal reaches 4.0 at most,
    base64 of 32 characters about 4.5.
    """
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values()) > 3.5
