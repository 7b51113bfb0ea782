"""Splice: ask for the rest of a text that broke off, and put it into the block that is open at the client.

The API resumes nothing; a model can only be asked to go on, and how it is asked depends on the model:

- *prefill*, up to the 4.5 models: the text so far is the beginning of the assistant's turn, and the model
  goes on right behind it. The API refuses a prefill that ends in white space, so that is cut off, and taken
  out of the continuation's beginning where it comes again.
- *request*, from the 4.6 models on, which refuse a prefill, and for models that nobody knows: the text so far
  is an assistant's turn of its own, and a user's turn asks to go on. A model may then repeat some words, or
  begin with a new word where the text broke off inside one. So it is asked to repeat the last words (the
  *anchor*), which are compared with what was told and left out.

Tool calls and thinking are never continued: the API can do neither, and half a tool call may not be guessed.
Thinking inside a continuation is not handed on. It cannot stand inside an open text; behind one, the client
would send it back in a message that begins with text, which the API refuses ("the first block must be
thinking"); and its signature belongs to a conversation that the client never had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from holdfast.gateway.dialects.anthropic import (
    BlockStarted,
    BlockStopped,
    EventReader,
    MessageChanged,
    MessageStarted,
    MessageStopped,
    event_name,
    fold_partial,
)
from holdfast.gateway.dialects.mending import THINKING, Told, block_stop, events_of, said
from holdfast.gateway.rawjson import Slice, entries, members

# -- how a model is asked ---------------------------------------------------------------------------


class Form(Enum):
    """How the rest is asked for."""

    AGAIN = "again"
    "The same body: what was told of the text is blank, and nothing can be quoted."
    PREFILL = "prefill"
    REQUEST = "request"


_STREAMING = "platform.claude.com/docs/en/build-with-claude/streaming (error recovery), 2026-08-22"
_OLDER = "the same; models before 4 by their age"

PREFILLED: Final[tuple[tuple[str, str], ...]] = (
    (r"claude-(?:instant-1|2|3)(?:[-.]\d)?(?!\d)", _OLDER),
    (r"claude-(?:opus|sonnet|haiku)-4(?:[-.][0-5](?!\d))?(?![-.]?\d{1,2}(?!\d))", _STREAMING),
)
"Models that go on behind a prefill: a pattern of their names, and the source. All others are asked."

_PREFILLED = re.compile("|".join(f"(?:{pattern})" for pattern, _ in PREFILLED))


def form_for(model: str) -> Form:
    """How a model is asked to go on, by its name, whatever a platform puts around it."""
    return Form.PREFILL if _PREFILLED.search(model.lower()) else Form.REQUEST


# -- what was told, as text -------------------------------------------------------------------------


def texts_told(data: bytes) -> tuple[str, ...] | None:
    """The texts in a stream that was told: completed blocks in order, the open one last.

    None where there is anything else in it (a tool call, thinking, a block of a kind not known) or no block
    at all, where two blocks are open, or where a text holds half a surrogate pair, which JSON in UTF-8
    cannot say. Decodes every delta: about 15 ms per megabyte of stream.
    """
    folded = fold_partial(data)
    content: list[dict[str, Any]] = folded.message.get("content", [])
    if len(folded.unfinished) > 1 or not (content or folded.unfinished):
        return None
    if any(block.get("type") != "text" for block in content):
        return None
    if any(block.kind != "text" for block in folded.unfinished):
        return None
    texts = [block.get("text") for block in content]
    texts += [block.partial for block in folded.unfinished]
    found = []
    for text in texts:
        paired = _paired(text) if isinstance(text, str) else None
        if paired is None:
            return None
        found.append(paired)
    return tuple(found)


def estimated_tokens(texts: Iterable[str]) -> int:
    """How many tokens a text was, estimated: 3.5 bytes each, between English (4) and code (3)."""
    return round(sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 3.5)


def _paired(text: str) -> str | None:
    """A text with its surrogate pairs joined; None where half a pair is left."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


# -- the request ------------------------------------------------------------------------------------

_ANCHOR = 80
"Characters. Long enough to be found only once, short enough to be repeated without fault."


@dataclass(frozen=True, slots=True)
class Continuation:
    """A request for the rest."""

    body: bytes
    form: Form
    text: str
    "All that was told, as one text."
    said_tokens: int
    "What the text so far is counted as."
    anchor: str = ""
    "The last words, which the model was asked to repeat."

    @property
    def trimmed(self) -> str:
        """The white space at the text's end, which the model was not shown."""
        return self.text[len(self.text.rstrip()) :]


def continuation(body: bytes, texts: Sequence[str], *, model: str, said_tokens: int) -> Continuation | None:
    """The request body that asks for the rest of `texts` (see `texts_told`); None where that cannot be done.

    `body` is the request that was answered with them, and stays as it is but for two places: the turns that
    are put behind its `messages`, and `max_tokens`, which is less by `said_tokens` (at least 1, and more than
    a thinking budget, which the API demands). `stream`, thinking and `cache_control` stay: a changed thinking
    setting would cost the prompt cache. A model that thinks refuses a prefill that does not begin with its
    thinking, so it is asked instead.

    None: JSON that leaves a doubt, a conversation that ends with the assistant already, structured output
    (the model would begin its document again).
    """
    found = members(body)
    if found is None or "messages" not in found or _structured(found):
        return None
    where = found["messages"]
    turns = entries(body[where.start : where.end])
    if not turns or _role(turns[-1]) in (None, "assistant"):
        return None
    text = "".join(texts)
    if not text.strip():
        return Continuation(body, Form.AGAIN, text, said_tokens)
    form = Form.REQUEST if _thinks(found) else form_for(model)
    behind = where.start + turns[-1].end
    quoted = [{"type": "text", "text": one} for one in texts if one.strip()]
    quoted[-1]["text"] = quoted[-1]["text"].rstrip()
    more = b"," + _json({"role": "assistant", "content": quoted})
    anchor = ""
    if form is Form.REQUEST:
        anchor = _anchor(text)
        more += b"," + _json({"role": "user", "content": [{"type": "text", "text": _ASK.format(anchor)}]})
    edits = [(behind, behind, more), *_less_tokens(found, said_tokens)]
    for start, end, new in sorted(edits, reverse=True):
        body = body[:start] + new + body[end:]
    return Continuation(body, form, text, said_tokens, anchor)


_ASK = """\
Your response above was cut off in transit. Continue it from exactly where it stopped. The parts will be \
joined by a program: begin with the last words of your response, repeated exactly as they stand between the \
tags and without the tags, then go on. No remark, no apology, no summary.

<last_words>{}</last_words>"""


def _anchor(text: str) -> str:
    """The last words of a text: whole words, where there is a blank to begin behind."""
    text = text.rstrip()
    last = text[-_ANCHOR:]
    if len(last) == len(text):
        return last.lstrip()
    _, _, words = last.partition(" ")
    return words.lstrip() if len(words.strip()) >= _ANCHOR // 2 else last.lstrip()


def _structured(found: dict[str, Slice]) -> bool:
    if "output_format" in found:
        return bytes(found["output_format"].raw) != b"null"
    config = _value(found, "output_config")
    return isinstance(config, dict) and config.get("format") is not None


def _role(turn: Slice) -> str | None:
    found = members(bytes(turn.raw))
    role = None if found is None else _value(found, "role")
    return role if isinstance(role, str) else None


def _thinks(found: dict[str, Slice]) -> bool:
    thinking = _value(found, "thinking")
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


def _less_tokens(found: dict[str, Slice], said_tokens: int) -> list[tuple[int, int, bytes]]:
    most, thinking = _value(found, "max_tokens"), _value(found, "thinking")
    if not isinstance(most, int) or isinstance(most, bool):
        return []
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    least = budget + 1 if isinstance(budget, int) else 1
    place = found["max_tokens"]
    return [(place.start, place.end, b"%d" % min(most, max(least, most - said_tokens)))]


def _value(found: dict[str, Slice], key: str) -> Any:
    try:
        return msgspec.json.decode(found[key].raw) if key in found else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# -- the seam ---------------------------------------------------------------------------------------

_OVERLAP = 24
"Characters that a repetition nobody asked for must have. Shorter ones are common in honest text and code."
_FIRST_HALVES = frozenset(map(chr, range(0xD800, 0xDC00)))
"Of surrogate pairs: the other half is in the next delta."
_REACH = 4000
"How far back in the text a repetition may begin, besides at its very beginning."


class Seam:
    """Where a continuation's text meets what was told: which of its first characters were told already.

    In this order, each compared with what was told, character by character:

    1. The anchor, which the model was asked to repeat; blanks before it are left out too.
    2. Where it is not there, and the form is a request: the longest end of the told text that the
       continuation begins with, if it has at least 24 characters and stands nowhere else in that text. What
       stands there twice may well be meant a third time (closing brackets, the rows of a table).
    3. The white space that the model was not shown: as much of it as comes again, from its beginning or at its end.

    The risks: a model that passes the anchor over and by chance goes on with just those words loses them;
    one that repeats with other words is heard twice. `proven` tells the second from a seam that was checked.
    """

    __slots__ = (
        "_anchor",
        "_begins",
        "_compared",
        "_half",
        "_heard",
        "_overlaps",
        "_told",
        "_white",
        "dropped",
        "how",
    )

    def __init__(self, asked: Continuation) -> None:
        self._told = asked.text.rstrip()
        self._white = asked.trimmed
        self._anchor = asked.anchor
        self._overlaps = asked.form is Form.REQUEST
        self._heard = ""
        self._half = ""
        "Of a surrogate pair whose other half is to come."
        self._begins: list[int] | None = None
        self._compared = 0
        self.how = asked.form.value
        "What the seam rests on: `prefill`, `again`, `anchor`, `overlap`; `request` while nothing was found."
        self.dropped: int | None = None
        "How many characters were left out; None while that is open."

    @property
    def proven(self) -> bool:
        """Whether the seam was checked against what was told, or is exact because the model went on behind it."""
        return self.dropped is not None and self.how != Form.REQUEST.value

    def hear(self, text: str, *, last: bool = False) -> str | None:
        """More of the continuation; what of all that was heard is new, or None while that is open.

        `last` says that no more will come.
        """
        text = self._half + text
        self._half = text[-1:] if text[-1:] in _FIRST_HALVES and not last else ""
        text = text[: len(text) - len(self._half)]
        self._heard += _paired(text) or text
        heard = self._heard
        cut = self._repeated(heard, last)
        white = None if cut is None else self._white_again(heard[cut:], last)
        if cut is None or white is None:
            return None
        self.dropped = cut + white
        return heard[self.dropped :] + self._half

    def _repeated(self, heard: str, last: bool) -> int | None:
        if not self._overlaps:
            return 0
        words = heard.lstrip()
        if words.startswith(self._anchor):
            self.how = "anchor"
            return len(heard) - len(words) + len(self._anchor)
        if not last and self._anchor.startswith(words):
            return None
        return self._overlap(heard, last)

    def _overlap(self, heard: str, last: bool) -> int | None:
        """How long the end of the told text is that `heard` begins with; None while a longer one is possible."""
        told = self._told
        if len(heard) < _OVERLAP:
            begins = told.find(heard, max(0, len(told) - _REACH), len(told) - _OVERLAP + len(heard)) >= 0
            possible = len(told) >= _OVERLAP and (begins or told.startswith(heard))
            return None if possible and not last else 0
        if self._begins is None:
            self._begins = [0] if told.startswith(heard[:_OVERLAP]) else []
            at = told.find(heard[:_OVERLAP], max(1, len(told) - _REACH))
            while at >= 0:
                self._begins.append(at)
                at = told.find(heard[:_OVERLAP], at + 1)
            self._compared = _OVERLAP
        compared, self._compared = self._compared, len(heard)
        self._begins = [at for at in self._begins if _goes_on(told, at, heard, compared)]
        for at in self._begins:
            size = len(told) - at
            if size > len(heard):
                if not last:
                    return None
            elif told.find(told[at:]) == at:
                self.how = "overlap"
                return size
        return 0

    def _white_again(self, fresh: str, last: bool) -> int | None:
        """How much of the white space that `fresh` begins with was told already; None while that is open."""
        white = self._white
        if not white:
            return 0
        if not last and len(fresh) <= len(white) and not fresh.strip():
            return None
        again = fresh[: len(fresh) - len(fresh.lstrip())]
        return _common(white, again) or (len(again) if white.endswith(again) else 0)


def _goes_on(told: str, at: int, heard: str, compared: int) -> bool:
    """Whether what was not compared yet is what was told from there on."""
    end = min(len(heard), len(told) - at)
    return compared >= end or told.startswith(heard[compared:end], at + compared)


def _common(one: str, other: str) -> int:
    """How many first characters two texts share."""
    most = min(len(one), len(other))
    return next((at for at in range(most) if one[at] != other[at]), most)


# -- the continuation's events ----------------------------------------------------------------------

_HEAD = re.compile(
    rb'event: content_block_(?:delta|start|stop)\r?\ndata: \{"type": ?"content_block_(?:delta|start|stop)", ?'
    rb'"index": ?(\d+)[,}]'
)
"An event as the API writes it, as far as its index."
_DATA = re.compile(rb"(?:\A|(?<=[\r\n]))data: ?([^\r\n]*)")


class _Piece(msgspec.Struct):
    type: str
    text: str = ""


class _Delta(msgspec.Struct):
    delta: _Piece


class _BlockStart(msgspec.Struct):
    content_block: _Piece


_DELTA = msgspec.json.Decoder(_Delta)
_BLOCK_START = msgspec.json.Decoder(_BlockStart)


class Splice:
    """The events of a continuation, as they follow in the stream that broke.

    - Its `message_start` is left out; so are its blocks of thinking.
    - Its first block, if it is text, goes on in the text block that is open at the client: no start, no stop
      between them, and what `Seam` finds repeated is left out. Any other first block ends the open one.
    - Further blocks are numbered on from there.
    - `usage.output_tokens` of a `message_delta` is what it says and the estimate for the first part.

    In an event that is handed on, only those numbers are replaced, in place; the rest is as it came, but for
    the deltas that hold repeated text (one new delta says what is new of them) and for events of several
    data lines, which become one line. An event that is not whole is held.
    """

    __slots__ = (
        "_deltas",
        "_first",
        "_held",
        "_next",
        "_open",
        "_reader",
        "_said",
        "_seaming",
        "_target",
        "_text_open",
        "notable",
        "seam",
    )

    def __init__(self, known: Told, asked: Continuation) -> None:
        self._reader = EventReader()
        self._said = asked.said_tokens
        self._open = known.open.index if known.open is not None else None
        "The index of the block that is open at the client."
        self._text_open = known.open_kind == "text"
        self._next = known.next_index
        self._first = True
        "Whether the first block that is handed on is still to come."
        self._target: int | None = None
        "Where the continuation's open block goes; None where there is none, or it is left out."
        self.seam = Seam(asked)
        self._seaming = False
        self._deltas: list[bytes] = []
        "Events that wait for the seam."
        self._held = b""
        self.notable: list[bytes] = []
        "Of what the last `feed` returned: events that are neither deltas nor pings."

    def __repr__(self) -> str:
        where = "waiting" if self._first else "at the seam" if self._seaming else "past the seam"
        return f"<Splice {where}, by {self.seam.how}>"

    def edit(self, data: bytes, notable: list[bytes]) -> tuple[bytes, list[bytes]]:
        """The same for what an `EventSplitter` gave; the notable events are those of what is returned."""
        return self.feed(data), self.notable

    def feed(self, data: bytes) -> bytes:
        """Take the continuation's next bytes; return the events that follow in the client's stream."""
        self.notable = []
        data, done = self._held + data, 0
        told = []
        for event in events_of(data):
            done += len(event)
            told += self._event(event)
        self._held = data[done:]
        return b"".join(told)

    def _event(self, event: bytes) -> list[bytes]:
        name = event_name(event)
        if name == b"content_block_delta":
            return self._delta(event)
        if name == b"ping":
            return [event]
        told = self._notable(name, event)
        self.notable += [one for one in told if event_name(one) != b"content_block_delta"]
        return told

    def _notable(self, name: bytes, event: bytes) -> list[bytes]:
        match self._reader.seen(event):
            case BlockStarted(_, kind, _):
                return self._block_start(event, kind)
            case BlockStopped():
                return self._block_stop(event)
            case MessageChanged(_, reason):
                ending = [] if reason is None else self._end_block()
                return [
                    *ending,
                    _renumbered(event, ("usage", "output_tokens"), lambda count: count + self._said),
                ]
            case MessageStopped():
                return [*self._end_block(), event]
            case MessageStarted():
                return []
            case _:
                # What cannot be read cannot be numbered, and what has no number would hit another block.
                return [] if name.startswith((b"message_start", b"content_block_")) else [event]

    def _block_start(self, event: bytes, kind: str) -> list[bytes]:
        self._target = None
        if kind in THINKING:
            return []
        first, self._first = self._first, False
        if first and kind == "text" and self._text_open:
            self._target, self._seaming = self._open, True
            begun = _text_in(_BLOCK_START, event)
            if not begun:
                return []
            self._deltas.append(_text_delta(self._target, begun))
            return self._hear(begun)
        ending = self._end_block()
        self._target = self._open = self._next
        self._next += 1
        self._seaming = first and kind == "text" and not _text_in(_BLOCK_START, event)
        return [*ending, _numbered(event, self._target)]

    def _block_stop(self, event: bytes) -> list[bytes]:
        index = self._target
        if index is None:
            return []
        told = self._settle()
        self._target = self._open = None
        return [*told, _numbered(event, index)]

    def _end_block(self) -> list[bytes]:
        """The end of the block that is open at the client, if one is."""
        if self._open is None:
            return []
        told = [*self._settle(), block_stop(self._open)]
        self._target = self._open = None
        return told

    def _delta(self, event: bytes) -> list[bytes]:
        if self._target is None:
            return []
        event = _numbered(event, self._target)
        if not self._seaming:
            return [event]
        self._deltas.append(event)
        text = _text_in(_DELTA, event)
        return [] if text is None else self._hear(text)

    def _settle(self) -> list[bytes]:
        return self._hear("", last=True) if self._seaming else []

    def _hear(self, text: str, *, last: bool = False) -> list[bytes]:
        fresh = self.seam.hear(text, last=last)
        if fresh is None:
            return []
        self._seaming = False
        waited, self._deltas = self._deltas, []
        if not self.seam.dropped:
            return waited
        others = [event for event in waited if _text_in(_DELTA, event) is None]
        return [_text_delta(self._target, fresh), *others] if fresh else others


def _text_delta(index: int | None, text: str) -> bytes:
    return said("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def _text_in(
    shape: msgspec.json.Decoder[_Delta] | msgspec.json.Decoder[_BlockStart], event: bytes
) -> str | None:
    """The text of a text delta, or of a text block's start; None where there is none."""
    data = b"\n".join(line[1] for line in _DATA.finditer(event))
    try:
        read = shape.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        try:  # half a surrogate pair
            read = msgspec.convert(json.loads(data), shape.type)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
    piece = read.delta if isinstance(read, _Delta) else read.content_block
    return piece.text if piece.type in ("text_delta", "text") else None


def _numbered(event: bytes, index: int) -> bytes:
    """A block's event with another index."""
    head = _HEAD.match(event)
    if head is None:
        return _renumbered(event, ("index",), lambda _: index)
    number = b"%d" % index
    return event if head[1] == number else event[: head.start(1)] + number + event[head.end(1) :]


def _renumbered(event: bytes, path: tuple[str, ...], change: Callable[[int], int]) -> bytes:
    """An event with one number replaced in place; as it is where the number is not there."""
    lines = list(_DATA.finditer(event))
    if len(lines) > 1:
        event = b"event: %b\ndata: %b\n\n" % (event_name(event), b" ".join(line[1] for line in lines))
        lines = list(_DATA.finditer(event))
    if not lines:
        return event
    start, end = lines[0].span(1)
    for key in path:
        place = (members(event[start:end]) or {}).get(key)
        if place is None:
            return event
        start, end = start + place.start, start + place.end
    number = event[start:end]
    return event[:start] + b"%d" % change(int(number)) + event[end:] if number.isdigit() else event
