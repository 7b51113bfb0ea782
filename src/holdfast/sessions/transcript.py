"""One transcript read into facts, at the speed that a year of them needs.

Nine tenths of the bytes are what users and tools said, and nothing of that is wanted: such a line is known by
its head and passed over undecoded, unless a tool's result in it is marked as an error. All others are decoded
into a flat struct. Where a try failed, the line before it is decoded too, for the gap; and while a chain of
tries is open, users' lines are looked at, because one of them may be the user going on (reference sessions.md,
section 3: what was measured, and what was slower).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.sessions import lines, tools
from holdfast.sessions.facts import (
    ApiError,
    Chain,
    Compacted,
    DeadTurn,
    FileFacts,
    Request,
    ToolError,
    TurnTime,
)
from holdfast.sessions.records import (
    HEAD,
    REFUSED,
    TOO_LONG,
    Dirt,
    Line,
    Message,
    Prompt,
    Usage,
    cause_object,
    decode,
    error_object,
    stamp,
    strictly,
    wall_ms,
)

SYNTHETIC = "<synthetic>"
"The model's name in a message that the client wrote itself."
TEXT_KEPT = 300
_NO_USAGE = Usage()

_USER = b'"type":"user"'
_MESSAGE = b'"message":'
_FAILED = b'"is_error":true'
"""What the result of a tool that failed has, behind the tool's own words, however long these are: so the whole line is
looked through, and from behind: then a quote has to fit first, and not an `e`, which is everywhere. A line with blanks
between is not known by its head either, and is decoded anyway."""
AT_ONCE = 128
"""Lines that are told apart, then decoded, then folded: what is done over and over stays in the processor's caches, and
takes a tenth less than line by line. No more, for a piece can have a hundred thousand lines."""
MOST_IN_VAIN = 20
"Calls that are looked for far back in a file and not found: then no more are."
_ASKING = frozenset({"user", "attachment"})
"What the client writes right before it asks."
_prompt = msgspec.json.Decoder(Prompt)
_blocks = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

Key = tuple[str, str | None]
"Session and subagent: one conversation."


@dataclass(slots=True)
class Place:
    """How far a transcript was read, and what has to be known to go on there."""

    end: int = 0
    "Bytes: where the next reading begins."
    latest: str | None = None
    "The timestamp of the last line."
    open: list[Chain] = field(default_factory=list)
    "Tries whose outcome was not known."
    last: list[tuple[str, str | None, str, int]] = field(default_factory=list)
    "Session, subagent, model and context of each conversation's last answer."


def read(
    path: Path,
    *,
    file: int = 0,
    since: Place | None = None,
    gaps: bool = False,
    block: int = lines.BLOCK,
) -> tuple[FileFacts, Place]:
    """Read a transcript, from where an earlier reading ended if that is given. Raises `OSError`.

    `file` is the number that its facts bear. With `gaps` every answer knows when it was asked for, which costs
    the decoding of users' lines. A last line without an end is read if it is whole; otherwise the next reading
    begins before it. A chain of tries that is still open is among the facts, as `unknown`, and goes on in the
    next reading.
    """
    reading = _Reading(path, file, since or Place(), gaps=gaps)
    for offset, buffer, size in lines.pieces(path, reading.end, block=block):
        reading.piece(offset, buffer, size)
    return reading.close()


@dataclass(slots=True)
class _Batch:
    """Lines of a piece, told apart."""

    begins: list[int]
    "Where in the piece each of them begins, and last where they end."
    wanted: list[int]
    "The numbers of those to decode."
    texts: list[memoryview]
    "And what is in them."
    failed: set[int]
    "The numbers of users' lines with an error in them."


def _told_apart(data: bytearray, at: int, size: int) -> _Batch:
    """The next lines of a piece, `AT_ONCE` if there are so many."""
    begins, wanted, texts, failed = [at], [], [], set()
    find, find_last, view = data.find, data.rfind, memoryview(data)
    for number in range(AT_ONCE):
        if (end := find(b"\n", at, size)) < 0:
            break
        head = at + HEAD
        user = find(_USER, at, head if head < end else end)
        if user < 0 or find(_MESSAGE, at, user) >= 0:
            wanted.append(number)
            texts.append(view[at:end])
        elif find_last(_FAILED, user, end) >= 0:
            failed.add(number)
        at = end + 1
        begins.append(at)
    return _Batch(begins, wanted, texts, failed)


def _records(texts: list[memoryview]) -> list[Line | None]:
    """The lines, decoded; None for one that is not as it should be."""
    found: list[Line | None] = []
    for text in texts:
        try:
            found.append(strictly(text))
        except REFUSED:
            found.append(None)
    return found


class _Reading:
    """The fold over a file's lines."""

    def __init__(self, path: Path, file: int, since: Place, *, gaps: bool) -> None:
        self.facts = FileFacts()
        self.path = path
        self.file = file
        self.gaps = gaps
        self.end = since.end
        self.data = bytearray()
        "The piece."
        self.offset = 0
        "Of the piece in the file."
        self.begins = [0]
        "Of the lines that are looked at, as in their batch."
        self.previous: int | None = None
        "Which of them the line before is; None where it is `before`."
        self.before: bytearray | memoryview = bytearray()
        "The line before, where it is none of them."
        self.in_vain = 0
        self.first: str | None = None
        self.latest = since.latest
        "Timestamps of the first line and the last one that were decoded; made numbers of where they are needed."
        self.session: str | None = None
        self.entry: str | None = None
        "How the session of the last line was begun."
        self.open: dict[Key, Chain] = {(chain.session, chain.agent): chain for chain in since.open}
        self.last: dict[Key, tuple[str, int]] = {
            (session, agent): (model, context) for session, agent, model, context in since.last
        }
        "Model and context of each conversation's last answer."
        self.seen: dict[str, Request] = {}
        self.given_up = False
        "Whether what comes next is the rest of a line that was too long."

    def piece(self, offset: int, data: bytearray, size: int) -> None:
        """Lines, each with its end; behind them perhaps one without."""
        self.data, self.offset, end, count = data, offset, 0, AT_ONCE
        while count == AT_ONCE:
            batch = _told_apart(data, end, size)
            self._fold(batch)
            end, count = batch.begins[-1], len(batch.begins) - 1
        self.before = bytearray(self.before)
        self.end = offset + end
        if end < size:
            self._tail(data[end:size])

    def _fold(self, batch: _Batch) -> None:
        """What the lines say, in order.

        The line before is the last one that tells a time, or that ought to: what a try's age begins with is written in it,
        and where it is torn the age is not known. Notes without a time stand anywhere between.
        """
        facts, failed, lines_before, passed = self.facts, batch.failed, self.facts.lines, 0
        self.begins = batch.begins
        for number, record in zip(batch.wanted, _records(batch.texts), strict=True):
            if number > passed:
                if failed or self.open:
                    self._users(passed, number, failed)
                self.previous = number - 1
            passed = number + 1
            facts.lines = lines_before + passed
            if self._line(record, number):
                self.previous = number
        count = len(batch.begins) - 1
        if count > passed:
            if failed or self.open:
                self._users(passed, count, failed)
            self.previous = count - 1
        facts.lines = lines_before + count
        self.before, self.previous = self._before(), None

    def _tail(self, data: bytearray) -> None:
        """A last line without its end: still being written, cut, or whole and the last of a client that died."""
        try:
            decode(data)
        except Dirt:
            self.facts.unfinished_bytes = len(data)
            self.given_up = len(data) > lines.LONGEST_LINE
            return
        end = self.end + len(data)
        data += b"\n"
        self.piece(self.end, data, len(data))
        self.end = end

    def close(self) -> tuple[FileFacts, Place]:
        """What was open stays without an outcome."""
        facts = self.facts
        before = self._time_of(self.before)
        facts.first_ms, facts.last_ms, facts.end = (
            wall_ms(self.first),
            before or wall_ms(self.latest),
            self.end,
        )
        still_open = list(self.open.values())
        facts.chains += still_open
        last = [(*key, *answer) for key, answer in self.last.items()]
        return facts, Place(self.end, self.latest if before is None else stamp(before), still_open, last)

    # -- lines ---------------------------------------------------------------------------------------

    def _text(self, number: int) -> memoryview:
        """A line of the piece, without its end."""
        return memoryview(self.data)[self.begins[number] : self.begins[number + 1] - 1]

    def _before(self) -> bytearray | memoryview:
        """The line before the one that is looked at."""
        return self.before if self.previous is None else self._text(self.previous)

    def _line(self, line: Line | None, number: int) -> bool:
        """Whether it tells a time, or may have told one before it was torn. `number` is which of the piece it is."""
        if line is None:
            text = self._text(number)
            if not text:
                return False
            try:
                line, _ = decode(text)
            except Dirt as dirt:
                return self._dirt(text, dirt)
            self.facts.loose += 1
        session, timestamp, kind = line.sessionId, line.timestamp, line.type
        if session != self.session and session is not None:
            self.session = session
            self.entry = None
            self.facts.sessions.add(session)
        if line.entrypoint != self.entry and line.entrypoint is not None:
            self.entry = line.entrypoint
            self.facts.entrypoints.add((session or "", self.entry))
        if timestamp is None:
            return False
        if kind == "assistant":
            if line.message is not None:
                self._assistant(line, line.message)
        elif kind == "system":
            self._system(line)
        elif kind == "user":
            self._tool_errors(line, number)
        if not self.first:
            self.first = timestamp
        self.latest = timestamp
        return True

    def _dirt(self, data: memoryview, dirt: Dirt) -> bool:
        """Whether there is anything in the line at all."""
        if not bytes(data).strip():
            return False
        facts = self.facts
        facts.dirt += 1
        kind = TOO_LONG if self.given_up else dirt.kind
        self.given_up = False
        facts.dirt_kinds[kind] = facts.dirt_kinds.get(kind, 0) + 1
        facts.first_dirt = facts.first_dirt or (facts.lines, str(dirt)[:120])
        return True

    def _users(self, first: int, end: int, failed: set[int]) -> None:
        """Users' lines, of these numbers: in some of them a tool failed, and while tries are failing all of them matter."""
        facts, before = self.facts, self.facts.lines
        for number in range(first, end):
            facts.lines = before + number - first + 1
            if self.open:
                self._user(self._text(number))
            if number in failed:
                self._user_result(number)

    def _user(self, data: memoryview) -> None:
        """While tries are failing: did the user go on?"""
        try:
            line, _ = decode(data)
            said = _prompt.decode(data).message
        except (Dirt, msgspec.DecodeError, UnicodeError):
            return
        chain = self.open.get(_key(line))
        content = bytes((said or {}).get("content", msgspec.Raw()))
        if chain is None or line.isMeta or line.isCompactSummary or b'"tool_result"' in content:
            return
        self._end(line, "abandoned", wall_ms(line.timestamp))

    def _user_result(self, number: int) -> None:
        """A user's line in which something is marked as an error."""
        try:
            line, _ = decode(self._text(number))
        except Dirt:
            return
        self._tool_errors(line, number)

    def _tool_errors(self, line: Line, number: int) -> None:
        at = wall_ms(line.timestamp)
        if at is None:
            return
        for which, one in enumerate(tools.failed(line)):
            call = self._call(one.call, number) if one.call else None
            cut = call is not None and call.cut and one.kind == tools.INVALID
            uuid = line.uuid or one.call or self._made_up()
            self.facts.tool_errors.append(
                ToolError(
                    uuid=f"{uuid}:{which}" if which else uuid,
                    at_ms=at,
                    session=line.sessionId or "",
                    agent=line.agentId,
                    version=line.version or "",
                    tool=call.tool if call is not None else "",
                    kind=tools.CUT if cut else one.kind,
                    file=self.file,
                )
            )

    def _call(self, wanted: str, number: int) -> tools.Call | None:
        """The call that a result in that line answers: mostly it is in the line before, and always in this file."""
        told, data, place = msgspec.json.encode(wanted), self.data, self.begins[number]
        for needle in (b'"id":' + told, b'"id": ' + told):
            found = data.rfind(needle, 0, place)
            while found >= 0:
                begun = data.rfind(b"\n", 0, found) + 1
                if call := tools.call(data[begun : data.find(b"\n", found)], wanted):
                    return call
                found = data.rfind(needle, 0, begun)
        if self.in_vain >= MOST_IN_VAIN:
            return None
        try:
            line = lines.last_with(self.path, b'"id":' + told, self.offset)
        except OSError:
            line = None
        call = tools.call(line, wanted) if line is not None else None
        self.in_vain += call is None
        return call

    def _assistant(self, line: Line, message: Message) -> None:
        model, id_ = message.model, message.id
        if model == SYNTHETIC or line.isApiErrorMessage:
            at = wall_ms(line.timestamp)
            if line.isApiErrorMessage and at is not None:
                self._died(line, message, at)
                self._end(line, "died", at)
            return
        if id_ is None or model is None:
            return
        usage, stop_reason = message.usage or _NO_USAGE, message.stop_reason
        tokens = usage.output_tokens
        known = self.seen.get(id_)
        if known is not None:  # another block of the same answer; the last one has the whole count
            if stop_reason:
                known.stop_reason = stop_reason
            if tokens > known.output_tokens:
                known.output_tokens = tokens
            return
        at = wall_ms(line.timestamp)
        if at is None:
            return
        session, agent = line.sessionId or "", line.agentId
        context = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
        self.last[session, agent] = model, context
        if self.open:
            self._end(line, "recovered", at)
        asked = self._asked_ms() if self.gaps else None
        self.seen[id_] = row = Request(  # by place: most of what is made here is this, and names cost as much again
            id_, line.requestId, at, asked, session, agent, line.version or "", line.cwd or "", model,
            stop_reason, context, tokens, usage.service_tier, line.isSidechain, self.file,
        )  # fmt: skip
        self.facts.requests.append(row)

    def _died(self, line: Line, message: Message, at: int) -> None:
        model, context = self.last.get(_key(line), (None, None))
        self.facts.dead.append(
            DeadTurn(
                uuid=line.uuid or self._made_up(),
                at_ms=at,
                before_ms=wall_ms(self.latest),
                session=line.sessionId or "",
                agent=line.agentId,
                version=line.version or "",
                project=line.cwd or "",
                entrypoint=line.entrypoint,
                text=_said(message.content),
                status=line.apiErrorStatus,
                reason=line.apiError,
                cut_cause=line.streamCutCause,
                request_id=line.requestId,
                model=model,
                context_tokens=context,
                file=self.file,
                line=self.facts.lines,
            )
        )

    def _system(self, line: Line) -> None:
        at = wall_ms(line.timestamp)
        if at is None:
            return
        match line.subtype:
            case "api_error":
                self._api_error(line, at, self._before())
            case "turn_duration" if line.durationMs is not None:
                row = TurnTime(at, line.sessionId or "", line.version or "", line.durationMs, self.file)
                self.facts.durations.append(row)
            case "compact_boundary" | "microcompact_boundary":
                told = line.compactMetadata
                before, after = (told.preTokens, told.postTokens) if told else (None, None)
                trigger = told.trigger if told else None
                session = line.sessionId or ""
                self.facts.compactions.append(Compacted(at, session, trigger, before, after, self.file))
            case _:
                pass

    def _api_error(self, line: Line, at: int, previous: bytearray | memoryview) -> None:
        key = _key(line)
        error, cause = error_object(line.error), cause_object(line.cause)
        headers = (error.headers if error else None) or {}
        inner = error.error if error else None
        told = inner.error or inner if inner else None
        cause = cause or (error.cause if error else None)
        status = error.status if error else None
        code = (cause.code if cause else None) or (
            error.connection.code if error and error.connection else None
        )
        model, context = self.last.get(key, (None, None))
        row = ApiError(
            uuid=line.uuid or self._made_up(),
            at_ms=at,
            before_ms=self._time_of(previous) if previous else wall_ms(self.latest),
            session=key[0],
            agent=key[1],
            version=line.version or "",
            project=line.cwd or "",
            entrypoint=line.entrypoint,
            code=code or (f"HTTP {status}" if status is not None else "unknown"),
            status=status,
            error_type=told.type if told else None,
            request_id=_first(
                error and error.requestID,
                error and error.requestId,
                error and error.request_id,
                headers.get("request-id"),
                line.requestId,
            ),
            edge_id=_first(headers.get("cf-ray")),
            path=cause.path.partition("?")[0] if cause and cause.path else None,
            attempt=line.retryAttempt,
            max_attempts=line.maxRetries,
            wait_ms=line.retryInMs,
            model=model,
            context_tokens=context,
            file=self.file,
            line=self.facts.lines,
        )
        if organization := _first(headers.get("anthropic-organization-id")):
            self.facts.organizations.add(organization)
        chain = self.open.get(key)
        if chain is not None and chain.errors[-1].uuid == row.uuid:  # the same record, written twice
            return
        self.facts.errors.append(row)
        last = chain.errors[-1].attempt if chain is not None else None
        if chain is None or row.attempt is None or last is None or row.attempt <= last:
            self._end(line, "unknown", None)
            self.open[key] = Chain(key[0], key[1], [row])
        else:
            chain.errors.append(row)

    # -- chains --------------------------------------------------------------------------------------

    def _end(self, line: Line, outcome: str, at: int | None) -> None:
        if not self.open:
            return
        chain = self.open.pop(_key(line), None)
        if chain is not None:
            chain.outcome, chain.ended_ms = outcome, at
            self.facts.chains.append(chain)

    # -- helpers -------------------------------------------------------------------------------------

    def _asked_ms(self) -> int | None:
        """When what this line answers was written: a prompt, a tool's result, or a try that failed; None elsewhere."""
        try:
            line, _ = decode(self._before())
        except Dirt:
            return None
        asks = line.type in _ASKING or (line.type == "system" and line.subtype == "api_error")
        return wall_ms(line.timestamp) if asks else None

    def _time_of(self, previous: bytearray | memoryview) -> int | None:
        """The time of the line before; None where it cannot be read. An older line's would be another's: `latest` knows of
        no user's line."""
        if not previous:
            return None
        try:
            line, _ = decode(previous)
        except Dirt:
            return None
        return wall_ms(line.timestamp)

    def _made_up(self) -> str:
        return f"{self.file}:{self.facts.lines}"


def _key(line: Line) -> Key:
    return line.sessionId or "", line.agentId


def _first(*values: object) -> str | None:
    for value in values:
        if isinstance(value, str) and value:
            return value
    return None


def _said(content: msgspec.Raw) -> str:
    """The text of a message's first block."""
    data = bytes(content)
    try:
        if data[:1] == b'"':
            return str(msgspec.json.decode(data))[:TEXT_KEPT]
        for block in _blocks.decode(data):
            if "text" in block:
                return str(msgspec.json.decode(bytes(block["text"])))[:TEXT_KEPT]
    except (msgspec.DecodeError, UnicodeError):
        pass
    return ""
