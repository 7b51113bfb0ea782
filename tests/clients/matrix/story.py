"""What the provider does in a cell: a model that works through a task and is broken off on the way.

It answers by what the conversation holds, as a model does: what was done is not done again, what was said is not
said again. Every generation's tool calls have ids of their own, so that a call that ran twice shows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.lab.provider import Request
from holdfast.lab.script import (
    Answer,
    End,
    Fault,
    Part,
    Step,
    answer,
    cut_short,
    fault,
    fin,
    headers_only,
    http_error,
    open_text,
    open_thinking,
    pause,
    reset,
    says,
    start,
    text,
    thinking,
    thinks,
    tool,
    unanswered,
)
from tests.clients.matrix.cell import MIXED, STATUSES, Cell

PROMPT: Final = "Write the files."
TEXTS: Final = (
    "I will write the first of them.",
    "Now comes what is left of it.",
    "Here is the remaining part.",
    "This should be the very last one.",
    "One more, and that is all.",
    *(f"It goes on with part number {number}, which is short." for number in range(6, 60)),
)
"What the model says before its calls: the first that the conversation does not have yet."
DONE: Final = "Everything is written."
THOUGHT: Final = "The files are short, so this is quickly done."
SETTLE_S: Final = 0.1
"Before a break, so that what was said has been heard."
ENDS: Final[Mapping[str, End]] = {"rst": reset(), "fin": fin(), "cut": cut_short()}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request's messages hold of the story."""

    texts: Counter[str]
    "How often the model's texts stand in it, the closing one included."
    results: Mapping[str, bool]
    "Ids of the calls that were answered, and whether the tool did what it was called for."
    refused: int
    "Calls that the client did not hand to the tool, because half their input was missing."
    begun: str = ""
    "Text of the model with which the messages end: it is to go on right behind."

    def runs(self) -> int:
        """How often a tool ran, well or not."""
        return len(self.results) - self.refused

    def done(self, name: str) -> bool:
        """Whether the model takes this file for written. What was refused twice it does not try again."""
        answers = [ok for call, ok in self.results.items() if call.startswith(f"toolu_{name}_")]
        return any(answers) or len(answers) > 1


_REFUSALS: Final = ("InputValidationError", "could not be parsed", "JSON")
"Words with which clients answer half a call themselves."


def conversation(body: Mapping[str, Any]) -> Conversation:
    """Read a request's messages."""
    messages = [message for message in body.get("messages") or () if isinstance(message, dict)]
    texts: Counter[str] = Counter()
    results: dict[str, bool] = {}
    refused = 0
    for message in messages:
        for block in blocks(message):
            if message.get("role") == "assistant" and block.get("type") == "text":
                texts.update(spoken(str(block.get("text"))))
            elif block.get("type") == "tool_result":
                results[str(block.get("tool_use_id"))] = not block.get("is_error")
                refused += is_refusal(block)
    last = [message for message in messages if message.get("role") in ("user", "assistant")][-1:]
    begun = ""
    if last and last[0].get("role") == "assistant":
        begun = "".join(str(block.get("text", "")) for block in blocks(last[0]))
    return Conversation(texts, results, refused, begun)


def blocks(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A message's content blocks; a bare string is a text."""
    content = message.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def spoken(said: str) -> Iterator[str]:
    """The model's texts in a piece of text, as often as they stand there."""
    for words in (*TEXTS, DONE):
        yield from [words] * said.count(words)


def is_refusal(block: Mapping[str, Any]) -> bool:
    """Whether a tool result says that the client refused the call."""
    return bool(block.get("is_error")) and any(word in str(block.get("content")) for word in _REFUSALS)


def content_of(number: int) -> str:
    """What is to stand in a file."""
    return f"This is file number {number}.\nIt has two lines.\n"


class Story:
    """The provider's rule for one run of a cell."""

    def __init__(self, cell: Cell, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.cell = cell
        self.files = {f"file{number}": content_of(number) for number in range(1, cell.calls + 1)}
        self.broken = 0
        "How often it has been broken off."
        self._directory = directory
        self._generation = 0
        self._clock = clock
        self._first_break: float | None = None

    def path(self, name: str) -> Path:
        """Where a file is to be."""
        return self._directory / f"{name}.txt"

    def __call__(self, request: Request) -> Answer:
        body = request.json
        if not body.get("tools"):
            return answer(text("A title"), label="side")
        known = conversation(body)
        missing = [name for name in self.files if not known.done(name)]
        self._generation += 1
        if not missing:
            return answer(text(DONE), label="then")
        words = next((words for words in TEXTS if not known.texts[words]), TEXTS[-1])
        calls = [self._call(name) for name in missing]
        if self._breaks():
            self.broken += 1
            return self._break(words, calls, known.begun).labelled("first")
        return answer(*self._before(words, known.begun), *calls, label="first")

    def _breaks(self) -> bool:
        """Whether this answer breaks, too."""
        if not self.cell.lasts_s:
            return self.broken < self.cell.times
        now = self._clock()
        if self._first_break is None:
            self._first_break = now
        return now - self._first_break < self.cell.lasts_s

    def _call(self, name: str) -> list[Step]:
        arguments = {"file_path": str(self.path(name)), "content": self.files[name]}
        return tool("Write", arguments, tool_id=f"toolu_{name}_{self._generation}")

    def _before(self, words: str, begun: str) -> list[Part]:
        """What stands before the calls in the whole answer."""
        match self.cell.place:
            case "text" | "tool after text":
                return [text(_rest(words, begun))]
            case "thinking" | "tool after thinking":
                return [thinking(THOUGHT)]
        return []

    def _break(self, words: str, calls: list[list[Step]], begun: str) -> Answer:
        """The answer as far as it comes."""
        how, place = self.cell.how, self.cell.place
        if how == MIXED:
            how = "rst" if self.broken == 1 else "529"
        if how in STATUSES:
            return http_error(int(how))
        if place == "headers":
            if how == "error":
                return Answer(steps=(_fault(),))
            return headers_only(ENDS[how]) if how == "cut" else unanswered(ENDS[how])
        half = [*calls[0][:-2]]  # all but the argument's last piece and the block's end
        said: list[Part]
        match place:
            case "start":
                said = [start()]
            case "thinking":
                said = [open_thinking(), thinks(THOUGHT[: len(THOUGHT) // 2])]
            case "text":
                rest = _rest(words, begun)
                said = [open_text(), says(rest[: max(8, len(rest) // 2)])]
            case "tool" | "tool after thinking" | "tool after text":
                said = [*self._before(words, begun), half]
            case "second tool":
                said = [calls[0], calls[1][:-2]]
            case "after a tool":
                said = [calls[0]]
            case _:
                raise ValueError(f"no such place: {place}")
        end = _fault() if how == "error" else ENDS[how]
        return answer(*said, pause(SETTLE_S), end)


def _rest(words: str, begun: str) -> str:
    """What is left to say of a text that the messages end with."""
    return words[len(begun) :] if begun and words.startswith(begun) else words


def _fault() -> Fault:
    return fault("overloaded_error", "Overloaded")
