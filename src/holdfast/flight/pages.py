"""The pages of `holdfast explain`: one for each word of our closed vocabularies.

The pages are the docstrings. Python keeps those of classes, but not the strings under enum members and
dataclass fields, so these are read from the module's source. One text, where the word is defined.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache

from holdfast.flight.columns import BEFORE_LINES, JSON_NAMES, LISTS, TABLES
from holdfast.flight.endings import Mechanism, Phase, Side, shown, taken_apart
from holdfast.flight.evidence import EVIDENCE
from holdfast.flight.moments import Moment
from holdfast.flight.reading import KINDS
from holdfast.flight.ways import plainly, way_of


@dataclass(frozen=True, slots=True)
class Page:
    """One word and what it means."""

    name: str
    "As it is printed: `rst`, `QuietNoticed`, `orphan`, `C.rst.tool`."
    kind: str
    "`side`, `mechanism`, `phase`, `ending`, `evidence`, `moment`, `word`, `report`, `column`, `code` or `scenario`."
    text: str
    aliases: tuple[str, ...] = ()

    @property
    def first_line(self) -> str:
        """For a list of pages."""
        return self.text.split("\n", 1)[0]


WORDS = {
    "turn": "One request of a client, from its arrival to the last word the client hears. It may take several "
    "attempts upstream and several client connections.",
    "attempt": "One try to get the answer from upstream, on one connection.",
    "stream log": "The answer so far, as the exact bytes of its events. It only grows; each reader follows it at "
    "its own pace.",
    "committed": "The part of an answer that a client may already have heard. It is never taken back and never "
    "said twice.",
    "reader": "One client connection that follows an answer.",
    "orphan": "An unfinished turn whose last reader left. It goes on being generated for a while, so that the "
    "client's retry finds it.",
    "attic": "Answers whose client had gone before it heard the end. They are kept for 7 days and up to 1 GB: "
    "holdfast attic list.",
    "moment": "One noticed fact of a turn, with the time at which it was noticed: `QuietNoticed`, `ReaderLeft`.",
    "ending": "Why a connection, an attempt or a turn ended: which side did it, how, and in which phase. Its code "
    "joins the three with dots, as in C.rst.tool.",
    "flight": "The moments of one turn told as one story: holdfast flight ID.",
    "keepalive": "A small event that the gateway sends to a client while upstream is silent, in the form which "
    "that client was measured to accept, so that the client goes on waiting.",
    "client profile": "What one client program and version does with silence, resets and endings. Measured; "
    "clients that are not known get pings and honest errors.",
    "dialect": "The grammar of one API's stream: what opens and closes a block, what is a ping, an error, the end.",
    "fallback": "The same turn asked again without streaming. Claude Code does this after some failures; under the "
    "gateway it joins the answer that is already being generated.",
    "opaque": "A request whose inside is not read: relayed in both directions, without keepalives or healing. "
    "Shown as carried, not protected.",
    "healing": "What is done about an answer that broke upstream before its end: it is asked for again, ended where the "
    "client goes on by itself, or told as an honest error. By what the client has heard, what it was measured to "
    "accept, and the settings.",
    "remedy": "One of the ways in which a broken answer is healed: again, under the first start, restart, splice, "
    "shorten, cut, finish; or error, where there is none.",
    "output token maximum": "Claude Code's message that a response exceeded it (64000, or another number) need not mean "
    "the model's limit: where answers break again and again, Holdfast ends each with max_tokens (cut), and Claude Code asks "
    "for the rest three times, then shows this. Such a turn is lost; holdfast flights says cut, never whole.",
    "told": "Of an answer: given to the client's connection. The client may have heard it, so it cannot be taken back; "
    "healing begins with what was told.",
    "heard": "Of an answer: the client's TCP acknowledged it. Only the last byte's acknowledgement ends a turn well.",
    "hold-back": "Telling a block, such as a tool call, only when it is whole. A break inside it then costs nothing, "
    "and the client sees nothing of it meanwhile: --hold.",
    "hedge": "A second attempt in parallel to a silent one; the first to speak is the answer, the other is stopped. "
    "It may cost a second generation: --hedge.",
    "outage": "Upstream answered before and cannot be reached now. Turns wait for it, nothing is sent, and one of them "
    "tries for all: --outage-patience.",
    "doomed": "Of a request: it broke at the same place so often that accidents hardly explain it, so that another try "
    "is not worth its price. It is answered here for a minute: --on-doomed.",
    "budget": "How often the gateway asks again for one question, the client's own tries at it included: --retries.",
    "saved": "The client's profile says that this break would have lost the turn, and the turn finished.",
    "spared": "A request that was answered from a turn already running, so that nothing was generated twice.",
    "not generated again": "Of a turn in a list: so many requests were spared.",
    "carried, not protected": "Of a request in a list: it is no turn, and was relayed as it came, opaque.",
    "came encoded, not protected": "Of a turn in a list: its answer came compressed although that was not asked for, so "
    "that nothing in it could be read or healed.",
    "identity encoding": "An edit of a request: the API is asked for an answer that is not compressed, so that its events "
    "can be told apart. The client loses nothing.",
    "certain": "A grade of what a flight's page says: seen on the gateway's own socket or clock.",
    "likely": "A grade of what a flight's page says: concluded, and something that is named could still prove it wrong.",
    "cannot tell": "A grade of what a flight's page says: what was measured does not decide it.",
    "interrupted": "A turn whose gateway ended before the turn did: the process was killed, or closed in mid-turn. "
    "Its ending is M.died with the phase that was under way.",
    "gave_up": "A client's connection ended at one of the client's own limits, as far as its clock tells: it is "
    "expected to come back, and the answer goes on.",
    "lost": "A client's connection died under it: no answer to probes, or its network went away. The answer goes on.",
    "moved_on": "The client asked for something else instead, or its command exited. Upstream is stopped at once.",
    "cancelled": "The client hung up and none of its limits explains it: taken for the user's wish. Upstream is "
    "stopped after a grace of 2 seconds.",
    "superseded": "A client connection was replaced by a newer one of the same turn.",
    "atlas": "The timers that are known between a client and its provider, each with its clock, what resets it, how it "
    "shows and a source: holdfast atlas. A timer is named only by side and mechanism, or by a number that came again "
    "and again.",
    "circle": "Of a turn's story: whether the same request came again and again and broke alike each time, as told of one "
    "turn by holdfast flight. Over the list of turns it is called a retry loop.",
    "retry loop": "The same request, again and again, each time ended alike: one finding, told below the list of "
    "holdfast flights, with its tries, turns and generations counted apart.",
    "mark": "A note that somebody wrote onto the timeline (moved to Ethernet): holdfast mark.",
    "finding": "Of a diagnosis: a cause that was weighed and found, with what speaks for it and against it, what would "
    "prove it wrong, and what would settle it.",
    "failure": "Of a diagnosis: one request that failed, with all its tries. A record per try counts the client's "
    "persistence; a failure counts your trouble.",
    "grade": "How sure a finding is: strong, suspected, or either where two causes predict the same.",
    "try": "One sending of a request by the client. A failure has one or more, each of them an error in the counts.",
    "stall": "A silence that left no error: a silent wait, an unheard end, an unfinished answer, or what the client's own "
    "debug log or telemetry tells. Counted as no failure, and put to no cause.",
    "coverage": "What a source holds, from when to when, and what of it could not be read. Where nothing covers a time, "
    "nothing is said of it.",
    "strong": "A grade of a finding: what was seen is a thousand times as likely with this cause as without it. Of "
    "doctor --now: nothing that was seen speaks against it.",
    "suspected": "A grade of a finding: what was seen is thirty times as likely with this cause as without it. Of a "
    "probe: something here can break a long answer.",
    "either": "A grade of a finding: two or more causes predict the same here. The report names them all, and what "
    "would tell them apart.",
    "unexplained": "Failures that no cause which is known here explains. They are counted and put to none.",
    "recovered": "An end of a failure: a later try of the same request was answered.",
    "died": "An end of a failure: the client gave up, and the turn was lost.",
    "abandoned": "An end of a failure: the user went on before another try was answered, so nobody knows whether it would "
    "have been.",
    "silent wait": "A stall that leaves no error: an answer came two minutes later than a slow model needs for it. Bytes "
    "that came meanwhile, a queue, or a machine that slept look the same.",
    "unheard end": "A stall that leaves no error: a turn went on for two minutes after its last answer. A tool or a hook "
    "that ran so long looks the same.",
    "unfinished answer": "A stall that leaves no error: an answer without a stop reason, in a version whose answers mostly "
    "have one. A user who stopped it looks the same.",
    "broken stream": "A connection that broke, by the client's own debug log or telemetry, and left no failure: the client "
    "asked again or kept what had come. It is no stall, and counted as no failure.",
    "debug log": "A stall that the client's own debug log tells of; it is written only where it was asked for.",
    "client telemetry": "A stall that the client's own telemetry tells of, with its request id: what it could not send to "
    "its vendor lies in files. Failures that no transcript tells are read of it too.",
}
"Our glossary, as far as it is no name in the code."

CODES = {
    "ECONNRESET": "The connection was reset by what looks like the other end: by the provider, or by a box on the way in "
    "its name. The client cannot tell which; a flight (holdfast run) or a capture can.",
    "ECONNREFUSED": "Nobody listens at that address: nearly always a proxy or gateway of one's own that does not run.",
    "ECONNABORTED": "The connection was given up on this machine's side.",
    "ETIMEDOUT": "The system waited for an answer of the network and none came: to the first packet of a connection, or "
    "to bytes that were sent.",
    "ENOTFOUND": "The name was not found: the resolver said that there is none, or there was no network to ask it.",
    "EAI_AGAIN": "The resolver could not be asked now: most often there was no network.",
    "EPIPE": "The client wrote to a connection that the other end had closed.",
    "ENETUNREACH": "This machine had no route out: the link was away.",
    "EHOSTUNREACH": "No way led to that address: the router could not be reached, or said so.",
    "ENETDOWN": "The network interface was down.",
    "EADDRNOTAVAIL": "The address that a connection was to be made from is this machine's no more: the network changed.",
    "ConnectionRefused": "Nobody listens at that address, in Bun's words: what others call ECONNREFUSED.",
    "FailedToOpenSocket": "What Bun says where no connection could be begun, most often for want of a network or a name.",
    "ConnectionClosed": "What Bun says where the other end closed the connection before the answer was whole.",
    "HTTP 400": "The request was refused as it stands, such as a prompt that is too long; asked again it is refused again.",
    "HTTP 401": "The key or the login was refused: it is wrong, or has run out.",
    "HTTP 403": "The request was not allowed: to this account, or by a proxy or filter on the way.",
    "HTTP 413": "The request was too large, for the provider or for a proxy on the way.",
    "HTTP 429": "The provider refused the request for its rate: too many or too large ones in a while. Asking again helps "
    "after the time that its retry-after names.",
    "HTTP 500": "The provider answered that something went wrong on its side.",
    "HTTP 502": "An edge or a proxy before the provider had no usable answer from behind it.",
    "HTTP 503": "The provider, or an edge or a proxy before it, answered that it cannot serve now.",
    "HTTP 529": "The provider answered that it is overloaded.",
    "unknown": "The client noted a failure, and no code or status of it.",
    "client's idle limit": "The client gave an answer up in which nothing had come for as long as it waits.",
    "client's time limit": "The client gave a request up that took longer than it waits in all.",
    "closed in mid-answer": "The connection ended before the answer did, by the client's words.",
    "certificate refused": "The client did not trust the certificate of whoever answered: often a proxy that inspects "
    "traffic.",
    "prompt too long": "The prompt had more tokens than the model takes.",
    "answer too long": "The answer met the limit of tokens that the client had asked for: holdfast explain output token "
    "maximum.",
    "usage limit": "The account's limit of use, or its credit, was used up.",
    "key refused": "The provider did not take the key or the login.",
    "model not available": "The provider does not have the model that was asked for, or not for this account.",
    "connection error, not named": "The client says that the connection failed, and not how.",
}
"What a client says of a failure, in its runtime's words or ours for them. They tell what it saw, never who did it."


SHORTEST_MENTIONED = 3
"Letters of a word that is looked for in other words' pages: shorter ones are in all of them."


@cache
def _source(module: str, name: str) -> str:
    return inspect.getsource(getattr(sys.modules[module], name))


def documented_members(owner: type) -> dict[str, str]:
    """The strings that stand under the members of an enum or the fields of a dataclass, by name."""
    body = ast.parse(_source(owner.__module__, owner.__name__)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        target: ast.expr | None = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        if not isinstance(target, ast.Name):
            continue
        if (
            isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[target.id] = inspect.cleandoc(after.value.value)
    return found


def _enum_pages(owner: type[Enum], kind: str) -> list[Page]:
    texts = documented_members(owner)
    return [Page(member.value, kind, texts.get(member.name, ""), (member.name,)) for member in owner]


def _moment_page(kind: type[Moment]) -> Page:
    docs = documented_members(kind)
    text = inspect.cleandoc(kind.__doc__ or "")
    rows = []
    for name, annotation in kind.__annotations__.items():
        doc = " ".join(docs.get(name, "").split())
        rows.append(f"  {name}: {annotation}" + (f"\n      {doc}" if doc else ""))
    spelled = re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()
    return Page(
        kind.__name__, "moment", "\n".join([text, "", "It holds:", *rows] if rows else [text]), (spelled,)
    )


def _in_json(head: str) -> tuple[str, ...]:
    return (JSON_NAMES[head],) if head in JSON_NAMES else ()


@cache
def all_pages() -> tuple[Page, ...]:
    """Every page, in the order in which they are listed."""
    return (
        *(Page(name, "word", text) for name, text in WORDS.items()),
        *(Page(name, "report", text) for name, text in BEFORE_LINES.items()),
        *(Page(name, "column", text) for name, text in LISTS.items()),
        *(Page(name, "column", text, _in_json(name)) for name, text in TABLES.items()),
        *(Page(name, "code", text) for name, text in CODES.items()),
        *_enum_pages(Side, "side"),
        *_enum_pages(Mechanism, "mechanism"),
        *_enum_pages(Phase, "phase"),
        *(Page(name, "evidence", text) for name, text in EVIDENCE.items() if name not in WORDS),
        *(_moment_page(kind) for kind in KINDS.values()),
    )


def look_up(name: str) -> list[Page]:
    """The pages of a word; several where it means several things (`tls` is a mechanism and a phase)."""
    code = _code_page(name.strip())
    if code is not None:
        return [code]
    wanted = _plain(name)

    def meant(page: Page) -> bool:
        if page.kind == "code":  # `connection-refused` is a scenario, and no spelling of Bun's word
            return page.name.lower() == name.strip().lower()
        return wanted in {_plain(word) for word in (page.name, *page.aliases)}

    return [page for page in all_pages() if meant(page)]


def close_to(
    name: str, limit: int = 5, *, among: Iterable[Page] | None = None, alike: float = 0.6
) -> list[str]:
    """Words that look like `name`, the closest first; `alike` is how much of them has to be the same, at least."""
    pages = all_pages() if among is None else among
    words = {_plain(word): page.name for page in pages for word in (page.name, *page.aliases)}
    wanted = _plain(name)
    begins = [word for word in words if wanted and word.startswith(wanted)]
    found = [words[word] for word in [*begins, *difflib.get_close_matches(wanted, words, limit, alike)]]
    return list(dict.fromkeys(found))[:limit]


def mentioned_in(word: str, limit: int = 5, *, among: Iterable[Page]) -> list[str]:
    """Names of pages whose text has this word, though none is called so."""
    if len(word) < SHORTEST_MENTIONED:
        return []
    whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    return [page.name for page in among if whole.search(page.text)][:limit]


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word).lower() or word.strip()


def _code_page(code: str) -> Page | None:
    """The page of an ending's code, put together from those of its three parts, and of what became of it."""
    # Without its phase, as in P.fin+rst, a code has no remedy either.
    code, remedy = taken_apart(code) if code.count(".") > 1 else (code, None)
    parts = code.split(".")
    if len(parts) not in (2, 3):
        return None
    try:
        side, mechanism = Side(parts[0].upper()), Mechanism(parts[1].lower())
        phase = Phase(parts[2].lower()) if len(parts) == 3 else None
    except ValueError:
        return None
    lines = ["An ending: who, how, and in which phase."]
    lines += [f"  {side.value:10} {documented_members(Side)[side.name]}"]
    lines += [f"  {mechanism.value:10} {documented_members(Mechanism)[mechanism.name]}"]
    whole = f"{side.value}.{mechanism.value}"
    if phase is not None:
        lines += [f"  {phase.value:10} {documented_members(Phase)[phase.name]}"]
        whole += f".{phase.value}"
    else:
        lines.append("  in any phase of the exchange")
    if remedy:
        lines.append(f"  healed     By the remedy {remedy}: holdfast explain {remedy.replace(' ', '-')}.")
    elif remedy is not None:
        lines.append("  !          It broke the answer, and nothing could be done about it.")
    lines += ["", *_way_lines(side, mechanism)]
    return Page(whole if phase is None else shown(whole, remedy), "ending", "\n".join(lines))


def _way_lines(side: Side, mechanism: Mechanism) -> list[str]:
    """What an ending means, how it shows and what to do, a paragraph each."""
    way = way_of(side, mechanism)
    if way is None:
        return [
            "The gateway tells no such ending; the log of another program may, laid beside a turn by --add."
        ]
    told = (("What it means", way.means), ("How it shows", way.shows), ("What to do", way.do))
    return [f"{head}: {plainly(text)}" for head, text in told]
