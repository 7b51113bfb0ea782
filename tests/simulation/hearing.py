"""What a client makes of an event stream: event by event, against the truth of what the provider said.

A stream that was not healed is one generation's events, each once and in order, and keepalives. A healed place
is marked by a comment of the gateway's. After the mark either another generation goes on, in a way that this
client was measured to accept, or the message is ended by events of the gateway's; nothing else may stand there.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.provider import Generation, Said

if TYPE_CHECKING:
    from tests.simulation.client import Call

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
KEEPALIVE: Final = b": keepalive\n\n"
NULL_DELTA: Final = re.compile(
    rb'event: message_delta\ndata: \{"type":"message_delta","delta":\{"stop_reason":null,'
    rb'"stop_sequence":null\},"usage":\{"output_tokens":\d+\}\}\n\n'
)
MARK: Final = re.compile(rb": holdfast: the answer broke here \(([A-Z-]\.[^)]*)\)(; another goes on)?\n\n")
_THINKING: Final = ("thinking", "redacted_thinking")


class Hearing:
    """One client's ear on one stream."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.world = call.world
        agent = call.talk.client.agent
        self._claude = agent.startswith("2.1.")
        self._measured = agent != "curl"
        self.generation: Generation | None = None
        "The one that is being heard."
        self.next_index = 0
        self.blocks: list[str] = []
        "Kinds of the blocks that are complete, as the client keeps them."
        self.open_block = ""
        self.open_index = 0
        self.started = False
        self.reason = ""
        "The stop reason, of the provider's or of ours."
        self.stopped = False
        self.error = ""
        self.ending = ""
        "How an answer ended that the gateway ended: `finished`, `shortened`, `cut`."
        self.marks = 0
        self._mark = ""
        "`goes on` or `ends`, between a mark and what follows it."
        self._splicing = False

    # -- events --------------------------------------------------------------------------------------

    def event(self, event: bytes) -> None:
        """The next whole event."""
        said = self.world.provider.truth.get(event)
        if self._mark == "goes on" and self._may_be_spliced(event, said):
            self._splicing, self._mark = True, ""
        if said is not None and not self._splicing:
            self._provider_said(said)
        elif event in (PING, KEEPALIVE) or NULL_DELTA.fullmatch(event):
            self._kept_alive(event)
        elif event.startswith(b": holdfast: "):
            self._marked(event)
        elif event.startswith(b"event: error\n") and said is None:
            self._error_told(event)
        elif self._splicing:
            self._spliced(event)
        elif self._mark == "ends":
            self._ended(event)
        else:
            self.world.violate(1, f"{self.call!r} heard what the provider never said: {event[:300]!r}")

    def _over(self, what: str) -> bool:
        if self.stopped or self.error:
            self.world.violate(4, f"{self.call!r} heard {what} after the answer's end")
            return True
        return False

    def _provider_said(self, said: Said) -> None:
        world, call = self.world, self.call
        if self._over(f"event {said.index}"):
            return
        generation = self.generation
        if generation is None:
            generation = self.generation = said.generation
            call.first_heard_at = world.loop.now
            world.hears(call, generation)
        elif said.generation is not generation:
            self._another_goes_on(said)
            generation = said.generation
        elif self._mark:
            world.violate(2, f"{call!r} heard {generation!r} go on behind the mark that it broke")
        if said.kind == "error" and world.settings.hold:
            self.next_index = said.index  # of a block that was held back nothing is told
        if said.index != self.next_index:
            world.violate(
                1, f"{call!r} heard event {said.index} of {generation!r}, where {self.next_index} belongs"
            )
        self.next_index = said.index + 1
        self._take(said.kind, said.block, said.place)

    def _take(self, kind: str, block: str, place: int) -> None:
        now = self.world.loop.now
        self.call.last_real_at = now
        match kind:
            case "ping":
                return
            case "start":
                self.started, self.reason = True, ""
            case "open":
                self.open_block, self.open_index = block, place
            case "stop":
                self.blocks.append(block)
                self.open_block = ""
            case "reason":
                self.reason = "the provider's"
            case "end":
                self.stopped = True
            case "error":
                self.error = "the provider's"
        self.call.last_event_at = now

    # -- healed places -------------------------------------------------------------------------------

    def _marked(self, event: bytes) -> None:
        found = MARK.fullmatch(event)
        if found is None:
            self.world.violate(1, f"{self.call!r} heard a mark that says nothing: {event!r}")
            return
        if self._over("a mark"):
            return
        self.marks += 1
        generation = self.generation
        if generation is None or generation.running or (not generation.broken and generation.whole):
            self.world.violate(2, f"{self.call!r} heard that {generation!r} broke, and it did not")
        self._mark = "ends" if found[2] is None else "goes on"
        self._splicing = False
        self.call.last_real_at = self.world.loop.now

    def _another_goes_on(self, said: Said) -> None:
        """Rule 2: what may follow in this client's stream, by what it has heard."""
        world, call, new = self.world, self.call, said.generation
        if self._mark != "goes on":
            world.violate(1, f"{call!r} heard {new!r} behind {self.generation!r}, without a mark")
        self._mark = ""
        world.hears(call, new)
        if said.kind == "error":
            self.generation, self.next_index = new, said.index  # nothing went on: that is told in its words
            return
        kept = [kind for kind in self.blocks if kind not in _THINKING]
        bare = self.started and not (self.blocks or self.open_block or self.reason)
        if said.index == 1 and bare:
            self.next_index = 1  # under the first start
        elif said.index == 0:
            if kept or not self._claude:
                world.violate(
                    2, f"{call!r} hears a second start behind {self.blocks}: it keeps or glues both"
                )
            self.blocks, self.open_block, self.next_index = [], "", 0
        else:
            world.violate(
                2, f"{call!r}: event {said.index} of {new!r} cannot follow {self.blocks} {self.open_block}"
            )
        self.generation = new

    def _may_be_spliced(self, event: bytes, said: Said | None) -> bool:
        """Whether what follows a mark is the rest of a text, and no restart, keepalive or error."""
        heard = {*self.blocks, self.open_block or "text"}
        if not self.world.settings.splice or heard != {"text"} or not (self.blocks or self.open_block):
            return False
        if said is not None:
            return said.index > 0 and said.kind != "error"
        if NULL_DELTA.fullmatch(event):
            return False
        return event.startswith((b"event: content_block_", b"event: message_"))

    def _spliced(self, event: bytes) -> None:
        """The rest of a text, as the continuation's events: renumbered, without its start and its thinking."""
        world, call, generation = self.world, self.call, self.generation
        assert generation is not None
        if self._over("more of a text"):
            return
        heard = _payload(event)
        if "g" in heard and heard["g"] != generation.number:
            generation = self.generation = world.provider.generations[heard["g"] - 1]
            self.next_index = 0
            world.hears(call, generation)
        if "g" not in heard:
            # Where the continuation does not go on with text, the open text is ended by the gateway.
            if heard == {"type": "content_block_stop", "index": self.open_index} and self.open_block:
                self._take("stop", self.open_block, self.open_index)
            else:
                world.violate(1, f"{call!r} heard what nobody said: {event[:300]!r}")
            return
        for index in range(self.next_index, generation.said):
            wanted, kind, block = generation.events[index]
            if _same(heard, _payload(wanted)):
                self.next_index = index + 1
                if kind == "open" and self.open_block:
                    world.violate(2, f"{call!r} heard a block begin inside an open one")
                if kind == "stop" and block == "text" and not self.open_block:
                    world.violate(2, f"{call!r} heard a block end that was not open")
                place = heard.get("index", self.open_index)
                if kind in ("delta", "stop") and place != self.open_index:
                    world.violate(1, f"{call!r} heard {kind} of block {place}, and {self.open_index} is open")
                self._take(kind, block, place)
                return
            first_text = kind == "open" and block == "text" and self.open_block == "text"
            if kind != "start" and block not in _THINKING and not first_text:
                break
        world.violate(
            1, f"{call!r} heard {event[:200]!r}, where event {self.next_index} of {generation!r} belongs"
        )

    def _ended(self, event: bytes) -> None:
        """Events of the gateway's that end the message."""
        world, call = self.world, self.call
        if self._over("more"):
            return
        said = _payload(event)
        self.call.last_event_at = world.loop.now
        if said == {"type": "content_block_stop", "index": self.open_index} and self.open_block:
            if self.open_block in _THINKING:
                world.violate(4, f"{call!r} heard half a thought ended, which the API refuses")
            self._take("stop", self.open_block, self.open_index)
        elif said.get("type") == "message_delta" and "g" not in said and not self.reason:
            self.reason = said["delta"]["stop_reason"]
        elif said == {"type": "message_stop"}:
            self.stopped = True
            self._judge_ending()
        else:
            world.violate(1, f"{call!r} heard an end that is none: {event[:300]!r}")

    def _judge_ending(self) -> None:
        """Rule 4: an answer that the gateway ended is one that this client goes on from, or a whole one."""
        world, call, open_block = self.world, self.call, self.open_block
        if self.reason == "the provider's":
            self.ending = "finished"
            allowed = not open_block
        elif self.reason == "tool_use":
            self.ending = "shortened"
            dropped = not open_block or self._claude or open_block == "text"
            allowed = "tool_use" in self.blocks and self._measured and dropped and world.settings.shorten
        elif self.reason == "max_tokens":
            self.ending = "cut"
            allowed = self._claude and world.settings.shorten
        else:
            allowed = False
        if not allowed:
            world.violate(
                4,
                f"{call!r}: ended by the gateway ({self.reason}) behind {self.blocks} and {open_block or 'nothing'} "
                "open: it takes that for whole",
            )

    # -- what is no part of the answer ------------------------------------------------------------------

    def _error_told(self, event: bytes) -> None:
        world, call = self.world, self.call
        said = json.loads(event.partition(b"data: ")[2])
        if said["type"] != "error" or not said["error"]["message"]:
            world.violate(4, f"{call!r} heard an error that says nothing: {event!r}")
        if self._over("an error"):
            return
        self.error = "the gateway's"
        call.last_event_at = world.loop.now
        world.error_said(call, said["error"]["message"])

    def _kept_alive(self, event: bytes) -> None:
        world, call = self.world, self.call
        form = "ping" if event == PING else "comment" if event == KEEPALIVE else "null-delta"
        wanted = call.profile.keepalive
        if form != wanted and not (wanted == "null-delta" and form == "ping" and self.reason):
            world.violate(1, f"{call!r} was kept alive by {form}, which is not its form ({wanted})")
        if form == "null-delta" and self.reason:
            world.violate(
                1, f"{call!r} heard a null delta after the stop reason, which takes the reason back"
            )
        if self.stopped or self.error:
            world.violate(1, f"{call!r} was kept alive after the answer's end")
        if form == "null-delta":
            call.last_event_at = world.loop.now
        call.kept_alive(form)


def _payload(event: bytes) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(event.partition(b"\ndata: ")[2])
    except ValueError:
        return {}
    return said


def _same(heard: dict[str, Any], said: dict[str, Any]) -> bool:
    """Whether an event is another one with other numbers."""
    numbers = ("index", "usage")
    return {k: v for k, v in heard.items() if k not in numbers} == {
        k: v for k, v in said.items() if k not in numbers
    }
