"""The little of HTTP/1.1 that a probe needs: a request without any credential, and the head of its answer."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.flight.redact import safe
from holdfast.probes.target import API_PATH, Target

AGENT = "holdfast-probe"
LONGEST_HEAD = 32 * 1024
TOLD = 120
"Characters of a header that are kept."


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers; the body is not looked at."""

    status: int
    old: bool
    "Whether it is HTTP/1.0, which closes after each answer unless it says otherwise."
    headers: tuple[tuple[str, str], ...]
    "Names in lower case, in their order."

    def get(self, name: str) -> str | None:
        """A header, made safe; None where it is missing."""
        said = next((value for key, value in self.headers if key == name), None)
        return safe(said)[:TOLD] if said is not None else None

    @property
    def stays_open(self) -> bool:
        """Whether the same connection may be asked again."""
        said = (self.get("connection") or "").lower()
        return "keep-alive" in said if self.old else "close" not in said


def question(target: Target, method: str = "HEAD", path: str = "/") -> bytes:
    """A request without a body. Nobody's key, nobody's name."""
    return f"{method} {path} HTTP/1.1\r\n{_common(target)}\r\n".encode()


def upload(target: Target, size: int) -> bytes:
    """The head of a request with a body of `size` bytes, to where answers are made; refused without a key."""
    path = target.prefix + API_PATH
    return (
        f"POST {path} HTTP/1.1\r\n{_common(target)}content-type: application/json\r\n"
        f"content-length: {size}\r\n\r\n"
    ).encode()


def document(target: Target, path: str) -> bytes:
    """A request for one JSON document, packed if the server can."""
    head = f"GET {path} HTTP/1.1\r\n{_common(target)}accept-encoding: gzip\r\nconnection: close\r\n\r\n"
    return head.encode()


def tunnel(target: Target) -> bytes:
    """What asks a proxy for a way to the target."""
    login = target.proxy.authorization if target.proxy is not None else None
    head = f"CONNECT {target.authority} HTTP/1.1\r\nhost: {target.authority}\r\n".encode()
    return head + (b"proxy-authorization: " + login + b"\r\n" if login else b"") + b"\r\n"


def _common(target: Target) -> str:
    return f"host: {target.host_header}\r\nuser-agent: {AGENT}\r\naccept: */*\r\n"


def answer(received: bytes | bytearray) -> Answer | None:
    """The head of the final answer; None as long as it is not whole. Raises `ValueError` for what is not HTTP."""
    found = head_of(received)
    return found[0] if found is not None else None


def head_of(received: bytes | bytearray) -> tuple[Answer, int] | None:
    """The same, and where the body begins."""
    rest = begun = bytes(received[: LONGEST_HEAD + 4])
    while True:
        head, end, rest = rest.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/"[: len(head)]):
            raise ValueError("the answer is not HTTP/1.1")
        if not end:
            if len(head) > LONGEST_HEAD:
                raise ValueError(f"the answer's head is longer than {LONGEST_HEAD} bytes")
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not (words[1].isdigit() and len(words[1]) == 3):
            raise ValueError("the answer has no status")
        if not (100 <= int(words[1]) < 200 and words[1] != "101"):
            break
    headers = []
    for one in lines[1:]:
        name, colon, value = one.partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    return Answer(int(words[1]), words[0] == "HTTP/1.0", tuple(headers)), len(begun) - len(rest)


def place(found: Answer) -> str | None:
    """Where an edge stands, as it says itself: behind a ray's dash, or in a header of its own."""
    ray = found.get("cf-ray") or ""
    if "-" in ray:
        return ray.rpartition("-")[2]
    return found.get("x-amz-cf-pop") or found.get("x-served-by")
