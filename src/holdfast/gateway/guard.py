"""Who may use the gateway: checked on every request head, before anything else looks at it.

Pure: a head in, an admission or a refusal out. Why each check: a web page that the user visits can send
requests to loopback, hence Origin and Host (DNS rebinding); another user of the machine can too, hence
the random prefix under `run`; anybody can reach another address, hence the access token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.gateway.fields import Fields, Headers
from holdfast.gateway.settings import Settings

if TYPE_CHECKING:
    from holdfast.gateway.asker import Plan

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Head:
    """A request's head as it came."""

    __slots__ = ("fields", "method", "plan", "target", "version")

    def __init__(self, method: bytes, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = Fields(headers)
        self.plan: Plan | Refusal | None = None
        "What became of the first request with it, and becomes of every other."

    def __repr__(self) -> str:
        return f"<Head {self.method.decode('latin-1')}, {len(self.fields.values)} headers>"

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return self.fields.first.get(name)

    @property
    def size(self) -> int:
        """Bytes of target and headers."""
        return self.fields.size + len(self.target)

    def values(self, names: Iterable[bytes]) -> tuple[bytes | None, ...]:
        """The first value of each of several headers, by their lower-case names; None where there is none."""
        return tuple(map(self.fields.first.get, names))

    def names(self) -> Iterable[bytes]:
        """The lower-case names of all headers."""
        return self.fields.first.keys()

    def text(self, name: bytes) -> str:
        """The same as text; empty where there is none."""
        return self.fields.first.get(name, b"").decode("latin-1")


class Said(Mapping[str, str]):
    """A head's headers as text by lower-case name, decoded when asked for: few of them ever are."""

    __slots__ = ("_first",)

    def __init__(self, head: Head) -> None:
        self._first = head.fields.first

    def __getitem__(self, name: str) -> str:
        value = self._first.get(name.encode("latin-1"))
        if value is None:
            raise KeyError(name)
        return value.decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:
        """The same without the detour over an exception."""
        value = self._first.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._first)

    def __len__(self) -> int:
        return len(self._first)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error to answer with, and what to do about it."""

    status: int
    kind: str
    "The dialect's error type."
    message: str


def admit(head: Head, settings: Settings) -> bytes | Refusal:
    """The request's own target (our prefix and a token segment taken off), or why it is refused."""
    target = head.target
    if not target.startswith(b"/"):
        return Refusal(
            400, "invalid_request_error", "this is not a forward proxy; send a path, not a whole URL"
        )
    if not settings.any_host and not _host_is_ours(head.get(b"host"), settings):
        return Refusal(
            421,
            "invalid_request_error",
            "the Host header names another host; use the gateway's own address, or add the name with --host",
        )
    if settings.token is not None:
        return _with_token(head, target, settings.token)
    if head.get(b"origin") is not None:
        return Refusal(
            403, "permission_error", "requests from web pages are refused (the request has an Origin)"
        )
    if settings.prefix:
        rest = _without_segment(target, settings.prefix[1:].encode())
        if rest is None:
            return Refusal(
                403, "permission_error", "this gateway serves one command only; its address has a secret path"
            )
        return rest
    return target


def _with_token(head: Head, target: bytes, token: str) -> bytes | Refusal:
    shown = head.get(b"holdfast-token")
    if shown is not None and hmac.compare_digest(shown, token.encode()):
        return target
    rest = _without_segment(target, token.encode())
    if rest is not None:
        return rest
    return Refusal(
        401,
        "authentication_error",
        "this gateway wants its access token: send it as holdfast-token header, or as the first path segment",
    )


def _without_segment(target: bytes, segment: bytes) -> bytes | None:
    """The target after its first segment, where that is `segment`; compared in constant time."""
    end = len(target)
    for mark in (b"/", b"?"):
        at = target.find(mark, 1)
        end = min(end, at) if at != -1 else end
    if not hmac.compare_digest(target[1:end], segment):
        return None
    rest = target[end:]
    return rest if rest.startswith(b"/") else b"/" + rest


def _host_is_ours(value: bytes | None, settings: Settings) -> bool:
    if value is None:
        return True  # HTTP/1.0; 1.1 without Host was refused by the listener
    name = value.decode("latin-1").strip().lower()
    name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
    if name in LOOPBACK_NAMES or name in settings.hosts:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
