"""The catalogue of troubles: what upstream does, what the reader must hear, what must not happen.

Each scenario is a value, used by tests, by `holdfast demo` and by `holdfast lab provider --scenario NAME`.
Silences last 400 s: past the 300 s after which the measured agents hang up; whoever plays them chooses
the speed. What must be heard is said for a client behind the gateway that is held or comes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.flight.endings import Phase
from holdfast.lab.clients import Json
from holdfast.lab.script import (
    AgentStory,
    Answer,
    MessageDelta,
    Part,
    agent_story,
    answer,
    argues,
    close_block,
    cut_short,
    fault,
    fin,
    headers_only,
    http_error,
    open_text,
    open_thinking,
    open_tool,
    pause,
    reset,
    says,
    signs,
    silence,
    start,
    text,
    thinking,
    thinks,
    tool,
    unanswered,
)

CLIENT_LIMIT_S = 300.0
"After this long without a byte agents were seen and measured to hang up."
SILENCE_S = 400.0
DONE = answer(text("Done."))


@dataclass(frozen=True, slots=True)
class Heard:
    """What the reader must have got when the turn is over."""

    texts: tuple[str, ...] = ()
    "One per message heard to its end."
    tools: tuple[str, ...] = ()
    "The tool calls carried out, by name, each once."
    honest_error: bool = False
    "The turn cannot be finished: the reader must be told so, and the partial answer be kept."


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story of the lab."""

    name: str
    story: str
    "What happens, in a few sentences: the page that `explain` shows."
    phase: Phase | None
    "Where upstream fails or falls silent; None where it does not."
    first: tuple[Answer, ...]
    "Upstream's answers to the first request of the turn, by how often it is asked; the last one repeats."
    heard: Heard
    must_not: tuple[str, ...]
    generated: int = 1
    "How often the first answer is generated, behind the gateway."
    then: Answer = DONE
    "Upstream's answer once the tools have run."
    remedy: str | None = None
    """What the gateway does about it, by its name in the healing table, for the agents that were measured; None where
    it is not healed."""

    def rule(self, *, serve_anyone: bool = False) -> AgentStory:
        """A fresh rule for a provider. `serve_anyone`: requests without tools are part of the story too."""
        told = agent_story(self.first, self.then)
        if serve_anyone:
            told.is_side = _asks_for_a_title
        return told

    @property
    def upstream_s(self) -> float:
        """How long the first answer lasts at speed 1."""
        return self.first[0].pauses_s


def _asks_for_a_title(body: Json) -> bool:
    return not body.get("tools") and "haiku" in str(body.get("model"))


NOT_TWICE = "the answer is generated a second time"
NOT_CUT = "a truncated answer passes for a complete one"
NOT_LOST = "the client gives up, or is told an error"
NOT_TOOL_TWICE = "the tool runs twice"

SAID = "I will write the file."
ARGUMENT = {"file_path": "hello.py", "content": "print('hello')\n"}
CALL = tool("Write", ARGUMENT)
TOOL_TURN = Heard(texts=(SAID, "Done."), tools=("Write",))
WELL = answer(text(SAID), CALL)
QUIET = pause(SILENCE_S)


def _silent(name: str, story: str, phase: Phase, *parts: Part, before_headers_s: float = 0.0) -> Scenario:
    told = answer(*parts, before_headers_s=before_headers_s)
    return Scenario(name, story, phase, (told,), TOOL_TURN, (NOT_TWICE, NOT_LOST, NOT_TOOL_TWICE))


def world_data(countries: int = 195) -> Json:
    """The argument of the frozen tool call: one file with everything about everything, over 100 kB."""
    rows = [
        f'    "C{number:03d}": {{"name": ("国家 {number}", "Country {number}"), "capital": "Capital {number}", '
        f'"population": {number * 1_234_567}, "area_km2": {number * 4321}, "currency": "CUR{number:03d}", '
        f'"timezones": ["UTC{number % 12:+d}"], "phone": "+{number}", "borders": '
        f'["C{(number + 1) % countries:03d}", "C{(number + 2) % countries:03d}"], "cities": ['
        + ", ".join(f'("City {number}.{city}", {number / 3:.4f}, {city / 7:.4f})' for city in range(10))
        + "]},"
        for number in range(countries)
    ]
    return {"file_path": "world_data.py", "content": "\n".join(["COUNTRIES = {", *rows, "}", ""])}


GIANT_TOOL = Scenario(
    "giant-tool",
    "The freeze that coding agents know. The model writes a whole data file as one tool argument. No byte of it comes until "
    "all of it is generated, 400 s later; the client has hung up after 300 s and asks for the same again.",
    Phase.IN_TOOL_USE,
    (answer(text(SAID), tool("Write", world_data(), silent_s=SILENCE_S)),),
    Heard(texts=(SAID, "The file is written."), tools=("Write",)),
    (NOT_TWICE, NOT_LOST, NOT_TOOL_TWICE),
    then=answer(text("The file is written.")),
)

_ALL = (
    Scenario("well", "Nothing goes wrong.", None, (WELL,), TOOL_TURN, (NOT_TWICE, "a byte is added or lost")),
    # silence, and then the answer goes on
    GIANT_TOOL,
    _silent(
        "silence-before-headers",
        "Upstream takes the request and answers nothing at all for 400 s; then all is well.",
        Phase.AWAITING_HEADERS,
        text(SAID),
        CALL,
        before_headers_s=SILENCE_S,
    ),
    _silent(
        "silence-before-first-event",
        "Headers come at once, the first event 400 s later.",
        Phase.AWAITING_FIRST_EVENT,
        QUIET,
        start(),
        text(SAID),
        CALL,
    ),
    _silent(
        "silence-after-start",
        "message_start comes at once, the first block 400 s later.",
        Phase.BETWEEN_BLOCKS,
        QUIET,
        text(SAID),
        CALL,
    ),
    _silent(
        "silence-in-thinking",
        "A thinking block opens and says nothing for 400 s: normal where thinking is not displayed.",
        Phase.IN_THINKING,
        thinking("", silent_s=SILENCE_S),
        text(SAID),
        CALL,
    ),
    _silent(
        "silence-in-text",
        "The text stops in the middle of a sentence and goes on 400 s later.",
        Phase.IN_TEXT,
        open_text(),
        says("I will write"),
        QUIET,
        says(" the file."),
        close_block(),
        CALL,
    ),
    _silent(
        "silence-between-blocks",
        "A text block is complete; the tool call behind it opens 400 s later.",
        Phase.BETWEEN_BLOCKS,
        text(SAID),
        QUIET,
        CALL,
    ),
    _silent(
        "silence-in-tool",
        "A tool call opens, and its argument comes 400 s later in one piece.",
        Phase.IN_TOOL_USE,
        text(SAID),
        tool("Write", ARGUMENT, silent_s=SILENCE_S),
    ),
    # silence for ever
    Scenario(
        "silence-for-ever",
        "A tool call opens, and nothing more comes, ever; the connection stays open.",
        Phase.IN_TOOL_USE,
        (answer(text(SAID), open_tool("Write"), silence()),),
        Heard(honest_error=True),
        (NOT_CUT, "keepalives hide it for longer than the quiet patience"),
    ),
    # hang-ups before anything was heard: a silent second attempt
    Scenario(
        "reset-before-headers",
        "Upstream resets the first connection before its headers; the second attempt is well.",
        Phase.AWAITING_HEADERS,
        (unanswered(reset()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE),
        generated=2,
        remedy="again",
    ),
    Scenario(
        "fin-before-headers",
        "Upstream closes the first connection before its headers; the second attempt is well.",
        Phase.AWAITING_HEADERS,
        (unanswered(fin()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE),
        generated=2,
        remedy="again",
    ),
    Scenario(
        "fin-before-first-event",
        "Upstream answers 200 and closes the connection before its first event; the second attempt is well.",
        Phase.AWAITING_FIRST_EVENT,
        (headers_only(fin()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE),
        generated=2,
        remedy="again",
    ),
    # one hang-up in the middle: what can be healed
    Scenario(
        "reset-after-start",
        "message_start comes, then a reset; the second attempt is well.",
        Phase.BETWEEN_BLOCKS,
        (answer(start(), reset()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE, "two messages begin in one stream"),
        generated=2,
        remedy="under the first start",
    ),
    Scenario(
        "reset-once-in-text",
        "Upstream resets the first connection in the middle of a sentence; the second attempt is well.",
        Phase.IN_TEXT,
        (answer(open_text(), says("I will write"), reset()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE, "the half sentence stays"),
        generated=2,
        remedy="restart",
    ),
    Scenario(
        "cut-once-in-thinking",
        "The first answer's HTTP body ends properly while the model thinks; the second attempt is well.",
        Phase.IN_THINKING,
        (answer(open_thinking(), thinks("Let me see"), cut_short()), WELL),
        TOOL_TURN,
        (NOT_LOST, NOT_TOOL_TWICE, NOT_CUT),
        generated=2,
        remedy="restart",
    ),
    Scenario(
        "reset-once-in-tool",
        "Upstream resets the first connection inside a tool call, behind a completed text. An agent that is told of "
        "a limit asks for the rest by itself, and is given it.",
        Phase.IN_TOOL_USE,
        (
            answer(text(SAID), open_tool("Write"), argues('{"file_path": "hel'), reset()),
            answer(text("Here it is."), CALL),
        ),
        Heard(texts=(SAID, "Here it is.", "Done."), tools=("Write",)),
        (NOT_LOST, NOT_TOOL_TWICE, "the unfinished tool call is run"),
        generated=2,
        remedy="cut",
    ),
    Scenario(
        "reset-once-in-first-tool",
        "The answer begins with a tool call, and upstream resets the first connection inside it; the second attempt is "
        "well. With --hold tool_use no client notices.",
        Phase.IN_TOOL_USE,
        (answer(open_tool("Write"), argues('{"file_path": "hel'), reset()), answer(CALL)),
        Heard(texts=("", "Done."), tools=("Write",)),
        (NOT_LOST, NOT_TOOL_TWICE, "the unfinished tool call is run"),
        generated=2,
        remedy="restart",
    ),
    Scenario(
        "reset-after-tool",
        "Upstream resets the connection behind a completed tool call, before the message's end.",
        Phase.BETWEEN_BLOCKS,
        (answer(text(SAID), CALL, reset()),),
        TOOL_TURN,
        (NOT_TWICE, NOT_LOST, NOT_TOOL_TWICE),
        remedy="shorten",
    ),
    Scenario(
        "end-missing",
        "Everything comes but message_stop: the HTTP body ends before it.",
        Phase.BETWEEN_BLOCKS,
        (answer(text(SAID), CALL, MessageDelta("tool_use"), cut_short()),),
        TOOL_TURN,
        (NOT_TWICE, NOT_LOST, NOT_TOOL_TWICE),
        remedy="finish",
    ),
    # hang-ups in the middle, each time: a reader that cannot be helped hears an honest error
    Scenario(
        "reset-in-text",
        "Upstream resets the connection in the middle of a sentence, each time.",
        Phase.IN_TEXT,
        (answer(open_text(), says("I will write"), reset()),),
        Heard(honest_error=True),
        (NOT_CUT,),
    ),
    Scenario(
        "fin-in-text",
        "Upstream closes the connection in order in the middle of a sentence, without the body's end, each time.",
        Phase.IN_TEXT,
        (answer(open_text(), says("I will write"), fin()),),
        Heard(honest_error=True),
        (NOT_CUT,),
    ),
    Scenario(
        "reset-in-thinking",
        "Upstream resets the connection while the model thinks, each time.",
        Phase.IN_THINKING,
        (answer(open_thinking(), thinks("Let me see"), signs(), reset()),),
        Heard(honest_error=True),
        (NOT_CUT,),
    ),
    Scenario(
        "reset-in-tool",
        "Upstream resets the connection inside a tool call's argument, behind a completed text, each time.",
        Phase.IN_TOOL_USE,
        (answer(text(SAID), open_tool("Write"), argues('{"file_path": "hel'), reset()),),
        Heard(honest_error=True),
        (NOT_CUT, "the unfinished tool call is run"),
    ),
    Scenario(
        "cut-short",
        "The HTTP body ends properly inside a tool call, behind a completed text, each time: two versions of an agent "
        "were measured to take this for success, the tool call lost.",
        Phase.IN_TOOL_USE,
        (answer(text(SAID), open_tool("Write"), argues('{"file_path": "hel'), cut_short()),),
        Heard(honest_error=True),
        (NOT_CUT, "the unfinished tool call is run"),
    ),
    Scenario(
        "error-in-stream",
        "Upstream says overloaded_error in the stream, in the middle of a sentence, each time.",
        Phase.IN_TEXT,
        (answer(open_text(), says("I will write"), fault("overloaded_error")),),
        Heard(honest_error=True),
        (NOT_CUT,),
    ),
    Scenario(
        "age-limit",
        "Something on the way resets every connection that has lasted 60 s, and no answer comes before: a request that "
        "is doomed, however often it is asked.",
        Phase.AWAITING_HEADERS,
        (unanswered(reset(), after_s=60.0),),
        Heard(honest_error=True),
        ("the same is asked again for ever", "the reason is not told"),
    ),
    # HTTP errors: the client's own business
    Scenario(
        "overloaded",
        "Upstream answers 529 twice, then well. The client retries these by itself; each is passed on as it is.",
        Phase.AWAITING_HEADERS,
        (http_error(529, "Overloaded"), http_error(529, "Overloaded"), WELL),
        TOOL_TURN,
        (NOT_TOOL_TWICE, "the gateway's retries are added to the client's"),
    ),
    Scenario(
        "rate-limited",
        "Upstream answers 429 with retry-after, then well.",
        Phase.AWAITING_HEADERS,
        (http_error(429, "Too many requests", retry_after=1), WELL),
        TOOL_TURN,
        (NOT_TOOL_TWICE, "retry-after is lost or changed"),
    ),
)

CATALOGUE: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
"Every scenario by its name, in an order that can be read."

SILENCES: tuple[Scenario, ...] = tuple(s for s in _ALL if s.upstream_s >= SILENCE_S)
"Those in which upstream is silent past a client's patience and then goes on."
