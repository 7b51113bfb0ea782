"""What is taken out of transcripts: rows of one small schema, the same for every source and every engine.

Times are integer milliseconds since 1970, UTC; None is "not written down", never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


@dataclass(slots=True)
class ApiError:
    """A try that failed and that the client was going to repeat (`system`/`api_error`)."""

    uuid: str
    "The client's own; copies of a resumed session keep it. Made up from place and line where it is missing."
    at_ms: int
    before_ms: int | None
    "The record before it in the same conversation."
    session: str
    agent: str | None
    "The subagent's id."
    version: str
    project: str
    "The working directory."
    entrypoint: str | None
    code: str
    "`ECONNRESET`, `ConnectionRefused`, ... or `HTTP 529`; `unknown` where the record holds neither."
    status: int | None
    error_type: str | None
    "Of HTTP errors: `overloaded_error`, ..."
    request_id: str | None
    edge_id: str | None
    path: str | None
    "The URL that failed, without its query; None where the record has none."
    attempt: int | None
    max_attempts: int | None
    wait_ms: float | None
    "Until the next try."
    model: str | None
    "Of the conversation's last answer before."
    context_tokens: int | None
    "Whole prompt of the conversation's last answer before: the nearest thing to the failed request's own."
    file: int
    line: int

    @property
    def transport(self) -> bool:
        """Whether the connection failed, as opposed to an HTTP error."""
        return self.status is None


@dataclass(slots=True)
class DeadTurn:
    """The message that the client puts in the model's place when it gives up (`<synthetic>`)."""

    uuid: str
    at_ms: int
    before_ms: int | None
    session: str
    agent: str | None
    version: str
    project: str
    entrypoint: str | None
    text: str
    "Its first 300 characters."
    status: int | None
    reason: str | None
    "`apiError` of later versions: `connection_failed`, `stream_idle_timeout`."
    cut_cause: str | None
    request_id: str | None
    model: str | None
    context_tokens: int | None
    file: int
    line: int


class Request(msgspec.Struct, gc=False):
    """An answer that came: one per message, however many records it was written in.

    A struct and no dataclass: these are most of what is made, and so they take half the time.
    """

    message_id: str
    request_id: str | None
    at_ms: int
    "Of its first record, which is written when the first block is whole."
    before_ms: int | None
    "When it was asked for: the prompt or the tool's result right before it. Only where gaps were asked for."
    session: str
    agent: str | None
    version: str
    project: str
    model: str
    stop_reason: str | None
    context_tokens: int
    output_tokens: int
    tier: str | None
    sidechain: bool
    file: int


@dataclass(slots=True)
class TurnTime:
    """How long a turn took, where the client says so (interactive sessions)."""

    at_ms: int
    session: str
    version: str
    duration_ms: float
    file: int


@dataclass(slots=True)
class Compacted:
    """A conversation was compacted."""

    at_ms: int
    session: str
    trigger: str | None
    before_tokens: int | None
    after_tokens: int | None
    file: int


@dataclass(slots=True)
class ToolError:
    """A tool's result that is an error: the tool's own, and no request's."""

    uuid: str
    "The record's own; of its further errors with their place behind it. Copies of a resumed session keep it."
    at_ms: int
    session: str
    agent: str | None
    version: str
    tool: str
    "Its name, as the answer that called it has it; empty where that answer was not found."
    kind: str
    "Of the closed list in `sessions.tools`; the tool's words are not kept."
    file: int


@dataclass(slots=True)
class FileFacts:
    """One transcript, read."""

    errors: list[ApiError] = field(default_factory=list)
    dead: list[DeadTurn] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    durations: list[TurnTime] = field(default_factory=list)
    compactions: list[Compacted] = field(default_factory=list)
    tool_errors: list[ToolError] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    entrypoints: set[tuple[str, str]] = field(default_factory=set)
    "Session and how it was begun: `cli`, `sdk-cli`, ..."
    organizations: set[str] = field(default_factory=set)
    "Ids of the account's organization, as the provider names it beside its refusals."
    lines: int = 0
    loose: int = 0
    "Lines that had a field of an unexpected type, and were used as far as they made sense."
    dirt: int = 0
    dirt_kinds: dict[str, int] = field(default_factory=dict)
    "How many of these lines are of which kind."
    first_dirt: tuple[int, str] | None = None
    "Line number, and what is wrong with it."
    first_ms: int | None = None
    last_ms: int | None = None
    "Of the lines that were decoded."
    end: int = 0
    "Bytes up to the end of what was read."
    unfinished_bytes: int = 0
    "Of a last line without an end."


@dataclass(slots=True)
class Chain:
    """Tries of one request, in order, and what became of it."""

    session: str
    agent: str | None
    errors: list[ApiError]
    outcome: str = "unknown"
    "`recovered`, `died` (the client gave up), `abandoned` (the user went on), `unknown` (the file ends)."
    ended_ms: int | None = None
    "When that was known."
