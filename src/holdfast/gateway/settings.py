"""Every setting of the gateway, with its default and the reason for it. Durations are in seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from holdfast.flight.redact import masked_url


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go: scheme, host, port, and a path prefix that is put before the client's own path."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    "Without a trailing slash; empty for none."

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Read a base URL. Raises `ValueError` with advice where it cannot serve as one."""
        parts: SplitResult = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{masked_url(url)!r} is not a base URL; give one like https://api.anthropic.com"
            )
        if parts.username or parts.password:
            raise ValueError(
                "a base URL with a user name or password in it is not accepted; send the key in a header"
            )
        if parts.query or parts.fragment:
            raise ValueError("a base URL has no query and no fragment; leave out what follows '?' or '#'")
        if not re.fullmatch(r"[!-~]*", parts.path):
            raise ValueError("a base URL's path must be percent-encoded; write %20 for a blank")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def origin(self) -> str:
        """`https://host:port`, for records and logs."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What goes into the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the gateway waits for what."""

    keepalive_s: float = 10.0
    "Silence towards the reader before a keepalive; under every client's 20 s banner and every 15 s proxy."
    connect_s: float = 15.0
    "DNS, TCP and TLS together, per attempt."
    outage_s: float = 15 * 60.0
    """How long a turn waits for an upstream that cannot be reached: a router's restart takes 3 minutes, a train's
    tunnel 10. Nothing is asked meanwhile, so waiting costs nothing."""
    quiet_s: float = 45 * 60.0
    "Silence of the application upstream before an honest error: 128k tokens at 50/s take 43 min."
    orphan_s: float = 20 * 60.0
    "How long an answer goes on being generated with nobody listening."
    unheard_s: float = 5 * 60.0
    "How long a finished, unheard answer can be taken by a retry; afterwards it is in the attic only."
    cancel_grace_s: float = 2.0
    "Between a cancel and telling upstream to stop; a retry within it still finds its turn."
    twin_grace_s: float = 0.25
    "How long a request waits to see whether the connection it may be replacing is really gone."
    request_head_s: float = 30.0
    "For a client to send its request head."
    request_body_s: float = 60.0
    "Between two pieces of a client's request body."
    idle_connection_s: float = 75.0
    "A client connection with no request on it."
    limit_tolerance_s: float = 1.0
    "How near to a client's limit its hang-up must be to count as that limit (2% of the limit if that is more)."
    drain_s: float = 600.0
    "On SIGTERM, how long unfinished turns may go on."


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the gateway takes."""

    head_bytes: int = 64 * 1024
    "Request line and headers together."
    body_bytes: int = 64 * 1024 * 1024
    "A request body; the largest known API limit is 32 MB."
    connections: int = 4096
    orphan_bytes: int = 64 * 1024 * 1024
    "An orphan's answer."
    memory_bytes: int = 256 * 1024
    "Of one answer kept in memory; the rest is in an unlinked file."
    request_memory_bytes: int = 8 * 1024 * 1024
    "Of one request body kept in memory while its turn lives."
    all_memory_bytes: int = 256 * 1024 * 1024
    "Of all answers and request bodies together; beyond it they are spooled early."
    answer_bytes: int = 1024 * 1024 * 1024
    "One answer altogether."


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often upstream is asked again for what it left unfinished."""

    retries: int = 3
    """For one question, the client's own tries at it included: each may cost a whole generation. SDKs make 2,
    agents 10 in three minutes; 3 leave one each for a fresh connection, another address and bad luck. 0 for none."""
    retry_wait_s: float = 2.0
    """Before the first retry that is not made at once; four times as long before each further one. SDKs begin with
    half a second, but nobody holds their callers meanwhile."""
    retry_share: float = 0.1
    "Of this upstream's requests in a minute: a storm of failures grows by a tenth, where 3 tries each were fourfold."
    retry_floor: int = 10
    "So many in a minute whatever the share: one reset of the path breaks all of a session's agents at once."


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keepalive: when the kernel asks a silent peer for a sign of life."""

    idle_s: int = 30
    "Without a packet before the first probe; the smallest idle timer known on a path is 60 s."
    interval_s: int = 15
    "From one unanswered probe to the next."
    count: int = 4
    "Unanswered probes after which the connection is dead."

    @classmethod
    def parse(cls, text: str) -> Keepalive | None:
        """Read `30/15/4`; None for `off`. Raises `ValueError` whose message goes on after the quoted text."""
        text = text.strip().lower()
        if text == "off":
            return None
        parts = text.split("/")
        if len(parts) != 3 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
            raise ValueError("is not IDLE/INTERVAL/COUNT; write one like 30/15/4, or off")
        idle, interval, count = map(int, parts)
        # The kernel's own bounds (Linux, tcp.h: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT).
        if not (1 <= idle <= 32767 and 1 <= interval <= 32767 and 1 <= count <= 127):
            raise ValueError("is out of bounds; seconds go from 1 to 32767, the count from 1 to 127")
        return cls(idle, interval, count)

    def __str__(self) -> str:
        return f"{self.idle_s}/{self.interval_s}/{self.count}"

    @property
    def dead_after_s(self) -> int:
        """Seconds from the last sign of life to the verdict."""
        return self.idle_s + self.interval_s * self.count


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is asked of TCP."""

    keepalive: Keepalive | None = Keepalive()
    "On both sides; None for none."
    user_timeout_s: float | None = None
    """Upstream only: how long our bytes may go unacknowledged. Towards a client it would kill one that merely reads
    slowly. None for as long as the keepalive takes, because on Linux this time, not the count of probes, then ends a
    silent connection as well; 0 leaves it to the kernel (15 minutes and more)."""
    ip: str = "auto"
    "Upstream: `4`, `6`, or `auto` for both, whichever connects first."

    @property
    def upstream_user_timeout_s(self) -> float:
        """What is in force upstream; 0 for none."""
        if self.user_timeout_s is not None:
            return self.user_timeout_s
        return float((self.keepalive or Keepalive()).dead_after_s)


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards upstream."""

    ca_files: tuple[Path, ...] = ()
    "Trusted in addition to the system's store (`SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS`)."
    client_cert: Path | None = None
    client_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a gateway process is told."""

    upstream: Upstream
    prefix: str = ""
    "`/<random>` under `run`: requests without it are refused. Empty for none."
    tenant: str | None = None
    "Under `run`, the run itself is the tenant; otherwise None, and the tenant comes from each request."
    token: str | None = field(default=None, repr=False)
    "The access token that clients must show (`holdfast-token` header, or as first path segment); None for none."
    hosts: frozenset[str] = frozenset()
    "Host names accepted in the Host header; empty accepts loopback names and the listening address only."
    any_host: bool = False
    "Accept every Host header (behind a TLS proxy that checks it)."
    unbuffer: bool = False
    "Splice `eager_input_streaming` into tools that lack it."
    record: str = "lost"
    "Which answers are kept: `none`, `lost` (those whose client had gone), `all`."
    hold: frozenset[str] = frozenset()
    """Kinds of block that are told only when they are whole (`tool_use`, `thinking`), so that a break in one costs
    nothing. None by default: it would hide a tool call's arguments while they are written."""
    shorten: bool = True
    """Whether a broken answer may be ended where its client goes on by itself: after a completed tool call, which it
    runs, or as if cut by a limit, so that it asks for the rest. Nothing is generated twice then."""
    splice: bool = False
    "Whether the rest of a broken text is asked for and put behind it. Off: the model may word the seam anew."
    hedge_s: float = 0.0
    """Silence before the first event after which the question is asked a second time, in parallel; 0 for never, as it
    costs a second generation."""
    retries: RetryRules = RetryRules()
    on_doomed: str = "explain"
    """What a request is answered that breaks at the same place again and again: `explain` says what was seen;
    `compact` makes the client shorten its conversation, where it does so by itself; `strip-images` asks once
    more without the images of earlier turns. No body is changed unless it is asked for: hence the default."""
    client_env: dict[str, str] = field(default_factory=dict)
    "Under `run`: the timers that the command's environment sets, by variable name; nothing else of it."
    http2: bool = False
    """Whether HTTP/2 is offered to upstream. Off: HTTP/1.1 has less that can go wrong, and with one stream to a
    connection HTTP/2's gain is its own ending of a stream, with a reason, and a PING that reaches the other end."""
    witness: bool = False
    """Whether, after an attempt that was given no headers, the same address is asked HEAD / once, without anything of the
    client's. Off: it is a request that nobody made."""
    proxy: str | None = field(default=None, repr=False)
    "An HTTP proxy towards upstream (from `HTTPS_PROXY`, after `NO_PROXY`); may hold credentials."
    tls: Tls = Tls()
    sockets: Sockets = Sockets()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    state_dir: Path | None = None
    "Where journal, attic and spool live; None keeps nothing on disk."
