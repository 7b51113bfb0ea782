"""The catalogue of endings: each way in which something can end, as a play with three parts and a truth.

A row says what upstream does, what the client does, what happens to the gateway between them, and what the
flight must say of it afterwards: the ending's code, and what the evidence must show. Tests play every row through a
real gateway on real sockets, plain and over TLS; `holdfast lab play NAME` plays one for whoever wants to see it.
The gateway's settings are written as the flags of `holdfast serve`, so that a row can be repeated by hand. Nothing is
asked again and nothing healed here: an ending is told as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.lab import script as s
from holdfast.lab.scenarios import SAID, WELL
from holdfast.lab.script import Answer, Ends, Part


class Of(Enum):
    """Whose ending the row is about."""

    ATTEMPT = "attempt"
    "The exchange with upstream."
    READER = "client's connection"
    TURN = "turn"


class Place(Enum):
    """Who stands where upstream should be."""

    PROVIDER = "the lab's provider"
    NO_NAME = "a name that nobody has"
    NO_ROUTE = "an address to which no way leads"
    CLOSED_PORT = "a port on which nobody listens"
    DEAF_PORT = "a port that swallows every packet"
    MUTE = "a server that takes the connection and says nothing"
    SLAMS = "a server that resets the connection at the first byte"
    HANGS_UP = "a server that closes the connection at the first byte"
    STRANGER = "the lab's provider, with a certificate that nobody vouches for"
    NO_TLS = "a server that answers TLS in plain text"
    TAKES_A_LITTLE_AND_RESETS = "a server that reads the request's beginning and resets the connection"
    TAKES_A_LITTLE_AND_CLOSES = "a server that reads the request's beginning and closes the connection"
    TAKES_A_LITTLE_AND_GOES_DARK = "a server that is cut off while the request is being sent"
    PROXY_THAT_REFUSES = "an HTTP proxy that opens no tunnel"


class Leaves(Enum):
    """How the client goes, once it has heard what it waits for."""

    FIN = "closes its connection"
    RST = "resets its connection"
    FIN_THEN_RST = "closes its connection and resets it right after"
    KILLED = "is killed"
    DARK = "is cut off without a word"
    GARBAGE = "sends what is no HTTP while it is being answered"
    COMES_BACK = "is cut off, and asks the same again on another connection"


class Fate(Enum):
    """What happens to the gateway, once the client has heard what it waits for."""

    STOPPED = "is told to stop"
    COMMAND_ENDED = "hears that the command which it was started for has ended"
    KILLED = "is killed"
    NO_ROOM = "has no room left on its disk"


class Over(Enum):
    """What the connections are protected by."""

    PLAIN = "plain"
    TLS = "TLS"


BOTH: Final = (Over.PLAIN, Over.TLS)
ONLY_TLS: Final = (Over.TLS,)


@dataclass(frozen=True, slots=True)
class Shows:
    """One thing that an ending's evidence must show. Units are in the names."""

    name: str
    equal: str | int | float | bool | None = None
    "None: that there is no such evidence."
    at_least: float | None = None

    def met_by(self, evidence: Mapping[str, object]) -> bool:
        """Whether it is so. What was not measured shows nothing."""
        value = evidence.get(self.name)
        if self.at_least is None and self.equal is None:
            return value is None
        if self.at_least is not None:
            return isinstance(value, int | float) and value >= self.at_least
        return value is not None and value == self.equal

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"{self.name} {self.at_least:g} or more"
        return f"no {self.name}" if self.equal is None else f"{self.name} {self.equal}"


@dataclass(frozen=True, slots=True)
class EndingScenario:
    """One ending, how it is brought about, and what must be said of it."""

    name: str
    story: str
    "What happens, in a sentence or two."
    code: str
    "What the flight must say."
    answers: tuple[Answer, ...] = ()
    "The provider's, by how often it is asked; the last one repeats."
    of: Of = Of.ATTEMPT
    place: Place = Place.PROVIDER
    client: Leaves | None = None
    "None: it waits for whatever comes."
    fate: Fate | None = None
    hears: bytes = b""
    "What the client waits for before anything happens to it or to the gateway; empty where the request need only arrive."
    shows: tuple[Shows, ...] = ()
    verdict: str = ""
    "Why the gateway thinks that the client went, for its connection's ending."
    turn: str = ""
    "The turn's own ending, where it is said at once and is another one."
    given: tuple[str, ...] = ()
    "Flags of `holdfast serve`."
    asks: int = 1
    "How often the client asks; the last turn is the one that is looked at."
    stream: bool = True
    request_bytes: int = 0
    "Of the prompt, where it must be large."
    slow_upload: bool = False
    "Whether the request comes in two halves."
    headers: tuple[tuple[str, str], ...] = ()
    "The client's, besides those that every client sends."
    over: tuple[Over, ...] = BOTH
    linux: bool = False
    "Whether it needs Linux."

    @property
    def side(self) -> Side:
        """Who did it."""
        return Side(self.code.split(".")[0])

    @property
    def mechanism(self) -> Mechanism:
        """How."""
        return Mechanism(self.code.split(".")[1])

    @property
    def phase(self) -> Phase:
        """What was under way."""
        return Phase(self.code.split(".")[2])

    @property
    def darkens(self) -> bool:
        """Whether a path is made dark for it: `provider.cannot_deafen` says whether that is possible."""
        return (
            any(told.end is s.End.DARK for told in self.answers)
            or self.place in (Place.DEAF_PORT, Place.TAKES_A_LITTLE_AND_GOES_DARK)
            or self.client in (Leaves.DARK, Leaves.COMES_BACK)
        )

    @property
    def served_alone(self) -> bool:
        """Whether `holdfast lab provider` can play it to any client: nothing but an answer is needed."""
        return bool(self.answers) and self.place is Place.PROVIDER and not (self.client or self.fate)


# -- where in an answer something happens ----------------------------------------------------------------

ARGUED = '{"file_path": "hel'
_PARTS: Mapping[Phase, tuple[tuple[Part, ...], bytes]] = MappingProxyType(
    {
        Phase.BETWEEN_BLOCKS: ((s.text(SAID),), b"content_block_stop"),
        Phase.IN_TEXT: ((s.open_text(), s.says("I will write")), b"write"),
        Phase.IN_THINKING: ((s.open_thinking(), s.thinks("Let me see")), b"see"),
        Phase.IN_TOOL_USE: ((s.text(SAID), s.open_tool("Write"), s.argues(ARGUED)), b"file_path"),
    }
)
"What has been said when each phase is under way, and the words by which a client knows."


def broken(phase: Phase, end: Ends, *last: Part) -> Answer:
    """An answer that ends like this, there; `last` is said just before."""
    if phase is Phase.AWAITING_HEADERS:
        return s.unanswered(end)
    if phase is Phase.AWAITING_FIRST_EVENT:
        return s.headers_only(end, after_s=0.05)
    return s.answer(*_PARTS[phase][0], *last, end)


def words(phase: Phase) -> bytes:
    """By what a client knows that the answer has come there."""
    return _PARTS[phase][1] if phase in _PARTS else b""


HALF_A_BODY: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n" + b'{"half":'
)
HALF_AN_EVENT: Final = b'event: content_block_delta\ndata: {"type":'
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
QUICK_PROBES: Final = ("--tcp-keepalive", "1/1/1")
HTTP2: Final = ("--http2",)
LARGE: Final = 24_000_000
"Bytes of a request that does not fit into any socket's buffers."
CONNECTION_RESET: Final = Shows("errno", 104)
CLOSED: Final = Shows("tcp_state", "CLOSE")
HALF_CLOSED: Final = Shows("tcp_state", "CLOSE_WAIT")
ALIVE: Final = Shows("tcp_state", "ESTABLISHED")
NO_ERRNO: Final = Shows("errno")
TIMED_OUT: Final = Shows("errno", 110)


WHERE: Final[Mapping[Phase, str]] = MappingProxyType(
    {
        Phase.AWAITING_HEADERS: "before-headers",
        Phase.AWAITING_FIRST_EVENT: "before-first-event",
        Phase.BETWEEN_BLOCKS: "between-blocks",
        Phase.IN_TEXT: "in-text",
        Phase.IN_THINKING: "in-thinking",
        Phase.IN_TOOL_USE: "in-tool",
    }
)
"As in the names of scenarios."
_TELLS: Final[Mapping[Phase, str]] = MappingProxyType(
    {
        Phase.AWAITING_HEADERS: "before its headers",
        Phase.AWAITING_FIRST_EVENT: "behind its headers, before the first event",
        Phase.BETWEEN_BLOCKS: "between two content blocks",
        Phase.IN_TEXT: "in the middle of a sentence",
        Phase.IN_THINKING: "while the model thinks",
        Phase.IN_TOOL_USE: "inside a tool call's argument",
    }
)


def _broken(
    name: str, code: str, deed: str, end: Ends, *shows: Shows, phases: tuple[Phase, ...]
) -> list[EndingScenario]:
    """One row for each phase."""
    return [
        EndingScenario(
            f"{name}-{WHERE[phase]}",
            f"Upstream {deed} {_TELLS[phase]}.",
            f"{code}.{phase.value}",
            (broken(phase, end),),
            shows=shows,
        )
        for phase in phases
    ]


def _client(
    name: str, story: str, code: str, leaves: Leaves, phase: Phase, verdict: str, *shows: Shows, **more: Any
) -> EndingScenario:
    """Upstream falls silent, and the client goes."""
    return EndingScenario(
        name,
        story,
        code,
        (broken(phase, s.silence()),),
        Of.READER,
        client=leaves,
        hears=words(phase),
        shows=shows,
        verdict=verdict,
        **more,
    )


_SILENT_IN_TOOL: Final = broken(Phase.IN_TOOL_USE, s.silence())
_TOOL_WORDS: Final = words(Phase.IN_TOOL_USE)

_ALL: tuple[EndingScenario, ...] = (
    # -- the provider, by TCP
    *_broken(
        "fin",
        "P.fin",
        "closes the connection in order",
        s.fin(),
        Shows("peer_closed", True),
        HALF_CLOSED,
        NO_ERRNO,
        phases=tuple(WHERE),
    ),
    *_broken(
        "rst", "P.rst", "resets the connection", s.reset(), CONNECTION_RESET, CLOSED, phases=tuple(WHERE)
    ),
    EndingScenario(
        "rst-in-body",
        "Upstream resets the connection inside an answer that is no stream.",
        "P.rst.body",
        (s.no_http(HALF_A_BODY, s.reset()),),
        stream=False,
        shows=(CONNECTION_RESET,),
    ),
    EndingScenario(
        "fin-then-rst-in-text",
        "Upstream closes the connection in order in the middle of a sentence and resets it right after, as a process "
        "does that closes without having read everything.",
        "P.fin+rst.text",
        (broken(Phase.IN_TEXT, s.fin_then_reset()),),
        shows=(Shows("peer_closed", True), Shows("so_error", 32)),
    ),
    EndingScenario(
        "torn-chunk",
        "Upstream closes the connection in order inside an HTTP chunk: it announced more bytes than came.",
        "P.torn.text",
        (broken(Phase.IN_TEXT, s.fin(), s.wire(b"ff\r\n" + HALF_AN_EVENT)),),
        shows=(Shows("peer_closed", True),),
    ),
    EndingScenario(
        "torn-body",
        "Upstream closes the connection in order before the length that it had announced.",
        "P.torn.body",
        (s.no_http(HALF_A_BODY, s.fin()),),
        stream=False,
        shows=(Shows("peer_closed", True),),
    ),
    EndingScenario(
        "rst-while-sending",
        "Upstream reads the beginning of a large request and resets the connection.",
        "P.rst.send",
        place=Place.TAKES_A_LITTLE_AND_RESETS,
        request_bytes=LARGE,
        shows=(CONNECTION_RESET,),
    ),
    EndingScenario(
        "fin-while-sending",
        "Upstream reads the beginning of a large request and closes its half of the connection in order.",
        "P.fin.send",
        place=Place.TAKES_A_LITTLE_AND_CLOSES,
        request_bytes=LARGE,
        shows=(Shows("peer_closed", True),),
    ),
    # -- the provider, by HTTP/2
    *(
        EndingScenario(name, story, code, (broken(phase, end),), given=HTTP2, shows=(Shows(*seen),))
        for name, story, code, phase, end, seen in (
            (
                "goaway-in-text",
                "Upstream ends the HTTP/2 connection by GOAWAY with INTERNAL_ERROR and a reason, in mid-sentence.",
                "P.goaway.text",
                Phase.IN_TEXT,
                s.go_away(2, b"upstream worker restarted"),
                ("goaway_debug", "upstream worker restarted"),
            ),
            (
                "goaway-before-headers",
                "Upstream ends the HTTP/2 connection by GOAWAY and says that it did not begin with this request.",
                "P.goaway.headers",
                Phase.AWAITING_HEADERS,
                s.go_away(0, b"max age", processed=False),
                ("not_processed", True),
            ),
            (
                "rst-stream-in-tool",
                "Upstream ends the one HTTP/2 stream by RST_STREAM with INTERNAL_ERROR, inside a tool call.",
                "P.rst_stream.tool",
                Phase.IN_TOOL_USE,
                s.reset_stream(2),
                ("stream_error", "INTERNAL_ERROR"),
            ),
            (
                "rst-stream-before-headers",
                "Upstream refuses the one HTTP/2 stream by RST_STREAM with REFUSED_STREAM: nothing was done with it.",
                "P.rst_stream.headers",
                Phase.AWAITING_HEADERS,
                s.reset_stream(7),
                ("stream_error", "REFUSED_STREAM"),
            ),
        )
    ),
    # -- the provider, by what it says
    EndingScenario(
        "body-cut-short",
        "The HTTP body ends as it should inside a tool call: to HTTP all is well, and the answer is half.",
        "P.cut.tool",
        (broken(Phase.IN_TOOL_USE, s.cut_short()),),
        shows=(ALIVE, NO_ERRNO),
    ),
    EndingScenario(
        "error-event",
        "Upstream says overloaded_error in the stream, in the middle of a sentence.",
        "P.err.text",
        (s.answer(s.open_text(), s.says("I will write"), s.fault("overloaded_error")),),
    ),
    EndingScenario("http-529", "Upstream answers 529.", "P.http.headers", (s.http_error(529, "Overloaded"),)),
    EndingScenario(
        "no-http",
        "What stands at upstream's address answers in another protocol.",
        "P.bad.headers",
        (s.no_http(b"SSH-2.0-lab\r\n"),),
    ),
    EndingScenario(
        "bad-chunk",
        "In the middle of a sentence comes what is no HTTP chunk.",
        "P.bad.text",
        (broken(Phase.IN_TEXT, s.silence(), s.wire(b"no chunk\r\n")),),
    ),
    # -- the provider, by TLS
    EndingScenario(
        "tls-alert-in-text",
        "Upstream ends the TLS session by a fatal alert in the middle of a sentence.",
        "P.alert.text",
        (broken(Phase.IN_TEXT, s.alert()),),
        over=ONLY_TLS,
    ),
    EndingScenario(
        "broken-record",
        "In the middle of a sentence comes a TLS record that no key deciphers, as where a box on the way changes bytes.",
        "N.record.text",
        (broken(Phase.IN_TEXT, s.broken_record()),),
        over=ONLY_TLS,
    ),
    EndingScenario(
        "no-goodbye",
        "TCP is closed in order in the middle of a sentence, without TLS's goodbye: whoever closed it had no key, or no "
        "manners.",
        "P.fin.text",
        (broken(Phase.IN_TEXT, s.bare_fin()),),
        over=ONLY_TLS,
        shows=(Shows("close_notify", False), Shows("peer_closed", True)),
    ),
    EndingScenario(
        "certificate-not-trusted",
        "Upstream shows a certificate that nobody vouches for.",
        "P.tls.tls",
        (WELL,),
        place=Place.STRANGER,
        over=ONLY_TLS,
        shows=(NO_ERRNO,),
    ),
    EndingScenario(
        "no-tls",
        "Upstream answers the TLS handshake in plain text: it is another port, or a proxy's.",
        "P.tls.tls",
        place=Place.NO_TLS,
        over=ONLY_TLS,
    ),
    EndingScenario(
        "rst-in-handshake",
        "Upstream, or a firewall in its name, resets the connection at the first byte of TLS.",
        "P.rst.tls",
        place=Place.SLAMS,
        over=ONLY_TLS,
        shows=(CONNECTION_RESET,),
    ),
    EndingScenario(
        "fin-in-handshake",
        "Upstream closes the connection at the first byte of TLS.",
        "P.fin.tls",
        place=Place.HANGS_UP,
        over=ONLY_TLS,
    ),
    # -- before there is a connection
    EndingScenario(
        "connection-refused",
        "Nobody listens on upstream's port.",
        "P.refused.connect",
        place=Place.CLOSED_PORT,
        shows=(Shows("errno", 111),),
    ),
    EndingScenario(
        "no-such-name",
        "Upstream's name is not resolved: the lab asks for one under .invalid, which nobody can have.",
        "N.dns.resolve",
        place=Place.NO_NAME,
    ),
    EndingScenario(
        "no-route",
        "There is no route to upstream's address: the lab asks for loopback's broadcast address, to which TCP has none.",
        "N.unreach.connect",
        place=Place.NO_ROUTE,
        shows=(Shows("errno", 101),),
        linux=True,
    ),
    EndingScenario(
        "proxy-refuses",
        "The HTTP proxy on the way answers CONNECT with 403.",
        "N.proxy.connect",
        place=Place.PROXY_THAT_REFUSES,
        over=ONLY_TLS,
        shows=(Shows("status", 403),),
    ),
    # -- the path goes dark
    *(
        EndingScenario(
            f"dark-{WHERE[phase]}",
            f"The path to upstream dies {_TELLS[phase]}: no close comes, and TCP's probes are not answered.",
            f"N.dark.{phase.value}",
            (broken(phase, s.dark()),),
            given=QUICK_PROBES,
            shows=(TIMED_OUT, Shows("unacked_bytes", 0), Shows("silence_s", at_least=1.5)),
            linux=True,
        )
        for phase in (Phase.AWAITING_HEADERS, Phase.IN_TOOL_USE)
    ),
    EndingScenario(
        "dark-http2",
        "The path to upstream dies inside a tool call that comes over HTTP/2: neither TCP's probes nor a PING is answered.",
        "N.dark.tool",
        (broken(Phase.IN_TOOL_USE, s.dark()),),
        given=(*HTTP2, *QUICK_PROBES),
        shows=(Shows("silence_s", at_least=1.5),),
        linux=True,
    ),
    EndingScenario(
        "dark-while-sending",
        "The path to upstream dies while a large request is being sent: our bytes are not acknowledged.",
        "N.unacked.send",
        place=Place.TAKES_A_LITTLE_AND_GOES_DARK,
        request_bytes=LARGE,
        given=("--tcp-user-timeout", "1s"),
        shows=(TIMED_OUT, Shows("unacked_bytes", at_least=1)),
        linux=True,
    ),
    # -- the gateway's own limits and orders
    EndingScenario(
        "quiet-patience",
        "Upstream says nothing more inside a tool call, and the path lives: the quiet patience runs out.",
        "G.limit.tool",
        (_SILENT_IN_TOOL,),
        shows=(ALIVE, Shows("silence_s", at_least=0.4)),
        given=("--quiet", "500ms"),
    ),
    EndingScenario(
        "connect-patience",
        "Nothing answers at upstream's address, not even by a refusal: the connect patience runs out.",
        "G.limit.connect",
        place=Place.DEAF_PORT,
        given=("--connect-timeout", "500ms"),
        linux=True,
    ),
    EndingScenario(
        "handshake-patience",
        "Upstream takes the connection and says nothing to TLS's first word: the connect patience runs out.",
        "G.limit.tls",
        place=Place.MUTE,
        given=("--connect-timeout", "500ms"),
        over=ONLY_TLS,
    ),
    EndingScenario(
        "request-too-large",
        "The client sends a request beyond the gateway's limit, slowly and without having said its length.",
        "G.limit.send",
        (WELL,),
        request_bytes=200_000,
        headers=(("transfer-encoding", "chunked"),),
        slow_upload=True,
        given=("--max-body", "100KB"),
    ),
    EndingScenario(
        "gateway-stopped",
        "The gateway is told to stop inside a tool call, and its drain time is over.",
        "G.cancel.tool",
        (_SILENT_IN_TOOL,),
        fate=Fate.STOPPED,
        hears=_TOOL_WORDS,
        turn="G.cancel.tool",
    ),
    EndingScenario(
        "command-ended",
        "Under `holdfast run`, the command ends inside a tool call: nobody can come back for the answer.",
        "G.cancel.tool",
        (_SILENT_IN_TOOL,),
        fate=Fate.COMMAND_ENDED,
        hears=_TOOL_WORDS,
        turn="G.cancel.tool",
    ),
    EndingScenario(
        "hedge-wins",
        "Upstream does not answer, a second attempt is made beside the first and speaks first: the first is given up.",
        "G.taken.headers",
        (s.unanswered(s.silence()), WELL),
        given=("--hedge", "300ms"),
    ),
    EndingScenario(
        "breaks-at-one-size",
        "Every answer to the same request breaks at the same size: after the third, the gateway sends it no more.",
        "G.doomed.headers",
        (s.answer(s.open_text(), s.Flood(200_000, 4096), s.reset()),),
        Of.TURN,
        asks=4,
    ),
    # -- the client
    _client(
        "client-closes",
        "The client closes its connection in order inside a tool call, at none of its limits: somebody cancelled.",
        "C.fin.tool",
        Leaves.FIN,
        Phase.IN_TOOL_USE,
        "cancelled",
    ),
    _client(
        "client-closes-then-resets",
        "The client closes its connection in order inside a tool call and resets it right after, as a process does that "
        "ends without having read everything. Under TLS the reset cannot be seen.",
        "C.fin+rst.tool",
        Leaves.FIN_THEN_RST,
        Phase.IN_TOOL_USE,
        "cancelled",
        over=(Over.PLAIN,),
    ),
    *(
        _client(
            f"client-resets-{WHERE[phase]}",
            f"The client resets its connection {_TELLS[phase]}.",
            f"C.rst.{phase.value}",
            Leaves.RST,
            phase,
            "cancelled",
            CONNECTION_RESET,
            Shows("since_byte_s", at_least=0.05),
        )
        for phase in WHERE
    ),
    _client(
        "client-killed",
        "The client's process is killed inside a tool call: the kernel closes its connection.",
        "C.fin.tool",
        Leaves.KILLED,
        Phase.IN_TOOL_USE,
        "cancelled",
    ),
    _client(
        "client-gives-up",
        "The client asks for a whole answer and hangs up at its own limit, which it had told with the request: it will come "
        "back.",
        "C.rst.headers",
        Leaves.RST,
        Phase.AWAITING_HEADERS,
        "gave_up",
        CONNECTION_RESET,
        Shows("since_request_s", at_least=0.95),
        stream=False,
        headers=(
            ("x-stainless-timeout", "1"),
            ("user-agent", "claude-cli/2.1.329 (holdfast-lab client model)"),
        ),
    ),
    _client(
        "client-talks-nonsense",
        "The client sends what is no HTTP while it is being answered.",
        "C.bad.tool",
        Leaves.GARBAGE,
        Phase.IN_TOOL_USE,
        "cancelled",
    ),
    _client(
        "client-goes-dark",
        "The path to the client dies inside a tool call: TCP's probes are not answered.",
        "N.dark.tool",
        Leaves.DARK,
        Phase.IN_TOOL_USE,
        "lost",
        TIMED_OUT,
        Shows("since_byte_s", at_least=1.5),
        given=(*QUICK_PROBES, "--keepalive", "10m"),
        linux=True,
    ),
    _client(
        "client-comes-back",
        "The path to the client dies inside a tool call, and the client asks the same again on another connection, which "
        "takes the answer over.",
        "G.taken.tool",
        Leaves.COMES_BACK,
        Phase.IN_TOOL_USE,
        "superseded",
        given=("--tcp-keepalive", "1/1/9", "--keepalive", "10m"),
        linux=True,
    ),
    # -- this machine
    EndingScenario(
        "gateway-killed",
        "The gateway's process is killed inside a tool call.",
        "M.died.tool",
        (_SILENT_IN_TOOL,),
        Of.TURN,
        fate=Fate.KILLED,
        hears=_TOOL_WORDS,
    ),
    EndingScenario(
        "disk-full",
        "The disk takes no more of a long answer while its client reads slowly.",
        "M.local.text",
        (s.answer(s.open_text(), s.says("Now"), s.pause(0.3), s.Flood(16_000_000, 4096), s.silence()),),
        fate=Fate.NO_ROOM,
        hears=b"Now",
        linux=True,
    ),
    # -- nobody
    EndingScenario("well", "Nothing goes wrong.", "-.end.after", (WELL,)),
)

CATALOGUE: Final[Mapping[str, EndingScenario]] = MappingProxyType({row.name: row for row in _ALL})
"Every ending by its name, in an order that can be read: the provider's, the path's, the gateway's, the client's."

NOT_PLAYED: Final[Mapping[Mechanism | Phase, str]] = MappingProxyType(
    {
        Mechanism.SLEPT: "A machine cannot be put to sleep by a play. Tests hand the gateway clocks that jump.",
        Mechanism.ABORTED: "The kernel gives up a connection for its administrator alone (ss -K). Tests do so in "
        "a network namespace of their own.",
        Phase.POOLED_IDLE: "A pooled connection that ends while nobody uses it is left out. That a request takes "
        "it in the very same millisecond is a race that cannot be won on purpose.",
    }
)
"What no row produces, and why not."


def shown_by(code: str) -> list[EndingScenario]:
    """The rows that show an ending: those with this very code, else of the same side and mechanism, else mechanism."""
    side, mechanism, *_ = code.split(".")
    for wanted in (code, f"{side}.{mechanism}", mechanism):
        rows = [
            row
            for row in _ALL
            if wanted in (row.code, f"{row.side.value}.{row.mechanism.value}", row.mechanism.value)
        ]
        if rows:
            return rows
    return []
