"""A diagnosis as text for a terminal and as Markdown: the verdict and what to do first, then why, then the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

from holdfast.diagnosis import prior
from holdfast.diagnosis.around import NOTHING, Around
from holdfast.diagnosis.case import Coverage
from holdfast.diagnosis.clock import ahead_ms, by_clock, local
from holdfast.diagnosis.diagnosis import Advice, Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.fix import flights_alone, silences
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.intervals import Interval
from holdfast.diagnosis.tables import TOOL_KINDS_MEAN, Offsets
from holdfast.diagnosis.titles import TITLES
from holdfast.diagnosis.witnessed import witnesses
from holdfast.flight.flights import code_sentence, counted, percent, rate
from holdfast.flight.pages import CODES
from holdfast.flight.redact import clean
from holdfast.report import lookalikes, markdown
from holdfast.report.lookalikes import alike
from holdfast.report.rows import laid
from holdfast.report.text import paragraph

ROWS = 12
"Of a table on the terminal; the whole is in --format json."
TO_FIND_OUT = (
    "To find out: holdfast run -- claude, for the next failures (its flights tell who ended a connection, and after which "
    "silence); holdfast probe: what the network does now; then again: holdfast diagnose."
)
TO_LOOK_UP = (
    "What the flights know, with who ended each and what to do: holdfast flights; holdfast flight --last; whether upstream "
    "can be reached now: holdfast probe connect; then again: holdfast diagnose."
)
TO_WATCH = (
    "To find out which side was silent: holdfast run -- claude, for the next stalls (its flights tell what came and when); "
    "while one goes on: holdfast doctor --now; what the network does to a silence: holdfast probe idle; then again: "
    "holdfast diagnose."
)
TOLD_ENDINGS = 3
PRIOR = "Prior hypotheses: a hand-made report's H1 to H8"
WHOSE = (
    "Not yours: a report on failing sessions that many have read suspected these, by these numbers. They stand here for "
    "whoever comes with one of them, each with what this record alone says of it."
)
ALIKE = ", or something that looks like it"
"Of a cause that is told from its rivals by nothing here: no title may claim it."
NAMED: Mapping[str, str] = {"per_1000": "failed per 1000", "of_answers": "of broken answers"}
"Columns that are called otherwise here."
IN_TIME = frozenset(
    {
        "client logs",
        "per day",
        "bursts",
        "stalls",
        "told by telemetry",
        "client limits",
        "overlap",
        "between marks",
        "reset requests",
        "seen by others",
    }
)
"Tables whose rows go on with the time or the versions: of these the last are shown, of all others the first."
LARGEST = ("failures", "errors", "turns", "silent s", "answered")
"Heads of columns by which the largest row of a table is told, the first that it has: that row is always shown."
ROUND_S = 1000.0
"From here on a time has no decimals."
SHARES = frozenset({"still_failing", "share"})
"Columns that hold a part of a whole."
RATES = frozenset({"per_1000", "least", "p25", "median", "p75", "p90", "most"})
"Columns that hold a rate per thousand."
COUNTS = (
    "errors",
    "failures",
    "answered",
    "sessions",
    "turns",
    "turns_least",
    "turns_most",
    "minutes",
    "tokens",
    "outages",
    "machines",
)
"Columns by which a row counts something: one in which all of those that it has are 0 is left out."
WITH_ZEROS = frozenset({"by code", "between marks"})
"Tables that tell what never happened, too."
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

BOUNDS = ("from_tokens", "from_answers", "from_s")
"Columns with the lower bound of a row's span; without one it is of those of which the size or age is not known."


def head(name: str, diagnosis: Diagnosis) -> str:
    """A table's title, and what it counts where its rows make another sum than there are failures."""
    notes = "; ".join(_counts(name, diagnosis))
    title = TITLES.get(name, name.capitalize())
    return f"{title} ({notes})" if notes else title


def _counts(name: str, diagnosis: Diagnosis) -> Iterator[str]:
    total = sum(row.get("failures") or 0 for row in diagnosis.tables[name])
    if name == "by code":
        tried = sum(bool(one.tries) for one in diagnosis.case.failures)
        if total > tried:
            yield "a failure is in the row of each code that its tries had"
        if left := len(diagnosis.case.failures) - tried:
            yield f"{counted(left, 'more failure')} had no try on record"
        if any(row.get("at_tools") for row in diagnosis.tables[name]):
            yield "at tools: errors that tools reported, none of them the API's"


# ----- the first screen


def verdict(diagnosis: Diagnosis) -> str:
    """How much failed, and what explains it; and what broke of which the client's logs say nothing."""
    return " ".join(filter(None, (_of_the_logs(diagnosis), from_flights(diagnosis))))


def from_flights(diagnosis: Diagnosis) -> str:
    """The turns that broke and are known from flights alone, by ending; empty where there is none."""
    rows = flights_alone(diagnosis.tables)
    if not rows:
        return ""
    broken = sum(row["only_flights"] for row in rows)
    told = "; ".join(
        f"{row['only_flights']:,} x {code_sentence(row['ending'])}" for row in rows[:TOLD_ENDINGS]
    )
    rest = broken - sum(row["only_flights"] for row in rows[:TOLD_ENDINGS])
    more = f"; {rest} x otherwise" if rest else ""
    verb = "is" if broken == 1 else "are"
    return f"{counted(broken, 'broken turn')} {verb} known from flights alone: {told}{more}."


def _of_the_logs(diagnosis: Diagnosis) -> str:
    if not diagnosis.failures:
        if stalled := silences(diagnosis.tables):
            no = (
                f"No error is on record in {_requests(diagnosis)}"
                if diagnosis.requests
                else "No request is on record"
            )
            return f"{no}, but {stalled}."
        if not diagnosis.requests:
            return _no_request(diagnosis)
        right = (
            "The client's logs tell of no failure" if flights_alone(diagnosis.tables) else "Nothing is wrong"
        )
        if silent := without_tries(diagnosis.tables):
            return (
                f"{right} as far as it is logged: {_requests(diagnosis)} on record, and none failed; but a failed try "
                f"leaves no record in {silent}."
            )
        return f"{right}: {_requests(diagnosis)} on record, and none failed."
    of = failed(diagnosis)
    turns = "1 turn" if diagnosis.died == 1 else f"{diagnosis.died:,} turns"
    died = f", and {turns} died of it" if diagnosis.died else "; no turn died of it"
    if more := open_ends(diagnosis):
        verb = "was" if more == 1 else "were"
        out = f"{verb} left or ended out of sight: lost or not, nothing tells"
        most = f"{diagnosis.died:,} to {diagnosis.died + more:,} lost turns"
        died += f" ({more:,} more {out}, so {most})" if diagnosis.died else f", but {more:,} {out}"
    if not diagnosis.findings:
        return f"{of}{died}. No cause explains enough of them to be named."
    explained = len(diagnosis.examination.explained)
    causes = counted(len(diagnosis.findings), "cause")
    verb = "explains" if len(diagnosis.findings) == 1 else "explain"
    return f"{of}{died}. {causes} {verb} {explained:,} of the {diagnosis.failures:,}."


def without_tries(counted: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """`print mode of 2.1.86, 2.1.114`: what on record logs no failed try; empty where nothing does so."""
    modes: dict[str, list[str]] = {}
    for row in counted.get("client logs", ()):
        if row["failed_tries"] == "not logged":
            modes.setdefault(row["mode"], []).append(clean(row["version"]))
    return " and ".join(f"{mode} mode of {', '.join(versions)}" for mode, versions in modes.items())


def failed(diagnosis: Diagnosis) -> str:
    """`6 of 400 requests failed (1.5%)`; where there is no share `6 requests failed (394 answered ones are on record)`;
    where there is one of some `8 requests failed: 6 of 400 (1.5%), and 2 that the client's telemetry alone tells`."""
    if diagnosis.rate is not None and diagnosis.apart:
        of = f"{diagnosis.failures - diagnosis.apart:,} of {diagnosis.requests - diagnosis.apart:,}"
        beside = f"{diagnosis.apart:,} that the client's telemetry alone tells"
        return f"{diagnosis.failures:,} requests failed: {of} ({percent(diagnosis.rate)}), and {beside}"
    if diagnosis.rate is not None:
        return f"{diagnosis.failures:,} of {_requests(diagnosis)} failed ({percent(diagnosis.rate)})"
    answered = diagnosis.requests - diagnosis.failures
    beside = (
        f"{answered:,} answered ones are"
        if answered > 1
        else f"{'one' if answered else 'no'} answered one is"
    )
    one = "1 request" if diagnosis.failures == 1 else f"{diagnosis.failures:,} requests"
    return f"{one} failed ({beside} on record)"


def open_ends(diagnosis: Diagnosis) -> int:
    """Turns that may have been lost beside those that died: abandoned, or without an end on record."""
    (row,) = diagnosis.tables.get("lost") or ({},)
    return (row.get("turns_most") or 0) - (row.get("turns_least") or 0)


def waited(minutes: float) -> str:
    """`5.2 h`, or `12 min` below an hour."""
    return (
        f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min" if minutes >= 1 else "under 1 min"
    )


def _no_request(diagnosis: Diagnosis) -> str:
    """Why there is nothing: the time that was asked for, or a record of another kind."""
    known = {one.source: one for one in diagnosis.coverage}
    whole = known.get("transcripts")
    if whole is not None and whole.first_ms is not None:
        partial = diagnosis.since_ms is not None or diagnosis.until_ms is not None
        if partial:
            return (
                f"There is nothing to diagnose: no request is on record in this time; the record goes from "
                f"{span(whole, diagnosis.offsets)}."
            )
    flights = known.get("flights")
    if flights is not None and flights.first_ms is not None:
        return (
            f"There is nothing to diagnose: no request is on record in a client's transcripts. The gateway carried "
            f"{flights.count}: holdfast flights, holdfast flight --last."
        )
    return "There is nothing to diagnose: no request is on record."


def period(diagnosis: Diagnosis) -> str:
    """Which part of the record was asked for, by the local clock; empty where all of it was."""
    since, until = diagnosis.since_ms, diagnosis.until_ms
    if since is None and until is None:
        return ""

    def told(at_ms: int) -> str:
        return local(at_ms, diagnosis.offsets).strftime("%Y-%m-%d %H:%M")

    begin = f"from {told(since)} " if since is not None else ""
    end = f"until {told(until)}" if until is not None else "to its end"
    return f"Of the record {begin}{end} only; what was looked at is told as a whole."


def clock(diagnosis: Diagnosis) -> str:
    """Whose clock a page's times are of: `Times are of America/Chicago (UTC-6 to UTC-5).`; empty where there are none."""
    times = [at for one in diagnosis.coverage for at in (one.first_ms, one.last_ms) if at is not None]
    if not times:
        return ""
    ahead = sorted({ahead_ms(at, diagnosis.offsets) for at in times})
    if ahead == [0]:
        return "Times are UTC."
    told = " to ".join(dict.fromkeys(_ahead(one) for one in (ahead[0], ahead[-1])))
    return (
        f"Times are of {clean(diagnosis.zone)} ({told})." if diagnosis.zone else f"Times are local ({told})."
    )


def _ahead(ahead_ms: int) -> str:
    """`UTC+5:30`."""
    hours, minutes = divmod(abs(ahead_ms) // 60_000, 60)
    return f"UTC{'-' if ahead_ms < 0 else '+'}{hours}" + (f":{minutes:02}" if minutes else "")


def next_step(diagnosis: Diagnosis) -> str:
    """What finds out more, where something failed or stalled and no advice leads there; empty where one does."""
    led = any("holdfast run" in one.remedy for one in diagnosis.advice)
    if flights_alone(diagnosis.tables):
        return TO_LOOK_UP
    if not diagnosis.failures:
        return TO_WATCH if diagnosis.requests and silences(diagnosis.tables) else ""
    return "" if led else TO_FIND_OUT


def _requests(diagnosis: Diagnosis) -> str:
    return "1 request" if diagnosis.requests == 1 else f"{diagnosis.requests:,} requests"


def titled(finding: Finding) -> str:
    """Its title, which asserts nothing of a cause that may as well be another."""
    return finding.title + (ALIKE if finding.rivals else "")


def finding_line(finding: Finding, of: int, within: Interval | None = None) -> str:
    """`This machine had no network: 20 of 30 failures, 67% (61% to 72%)`; the range is of resampled days."""
    told = f"{titled(finding)}: {len(finding.explains):,} of {counted(of, 'failure')}"
    if within is not None and percent(within.low) != percent(within.high):
        told += f", {percent(len(finding.explains) / of)} ({percent(within.low)} to {percent(within.high)})"
    return told + excess(finding)


def excess(finding: Finding) -> str:
    """`; about 42 of these 122 are beyond what was to be expected`; empty where all are, or nothing is to be expected."""
    if finding.brief.excess is None:
        return ""
    return f"; about {finding.brief.excess:,} of these {len(finding.explains):,} are beyond what was to be expected"


@cache
def _titles() -> Mapping[str, str]:
    return {one.name: one.title for one in (*catalogue(), *witnesses())}


def rivals(finding: Finding) -> str:
    """What it may be as well: title and name of each; empty where it is told from all others."""
    known = _titles()
    return "; ".join(f"{known.get(name, name)} ({name})" for name in finding.rivals)


GRADES: Mapping[str, str] = {
    "strong": "a thousand times as likely as without this cause",
    "suspected": "thirty times as likely as without it",
    "either": "one of several causes that look alike here",
}


def overview(diagnosis: Diagnosis) -> list[tuple[str, int, str]]:
    """Grade, failures and title of each finding, and what is unexplained."""
    rows = [
        (
            one.grade,
            len(one.explains),
            titled(one) + excess(one),
        )
        for one in diagnosis.findings
    ]
    left = len(diagnosis.examination.unexplained)
    return rows + (
        [("unexplained", left, f"no cause that is known here fits{refused(diagnosis)}")] if left else []
    )


def refused(diagnosis: Diagnosis) -> str:
    """`; of 12 the client says itself what was wrong: 8 key refused, 4 usage limit`; empty where of none.

    Of those without a cause: no network is behind such a refusal, so no cause of ours can be.
    """
    left = set(diagnosis.examination.unexplained)
    whys = Counter(one.refused for one in diagnosis.case.failures if one.id in left and one.refused)
    if not whys:
        return ""
    told = ", ".join(
        f"{count:,} {why}" for why, count in sorted(whys.items(), key=lambda it: (-it[1], it[0]))
    )
    return f"; of {whys.total():,} the client says itself what was wrong: {told}"


def span(coverage: Coverage, offsets: Offsets = ()) -> str:
    """From when to when, by the local clock."""
    if coverage.first_ms is None or coverage.last_ms is None:
        return ""
    first, last = (local(at, offsets).strftime("%Y-%m-%d") for at in (coverage.first_ms, coverage.last_ms))
    return f"{first} to {last}"


# ----- text


def text(diagnosis: Diagnosis, width: int | None, around: Around = NOTHING) -> list[str]:
    """The whole for a terminal; `width` None is one line per sentence."""
    page = paragraph(verdict(diagnosis), width)
    if part := period(diagnosis):
        page += paragraph(part, width)
    page += paragraph(clock(diagnosis), width)
    if diagnosis.findings:
        page.append("")
        for grade, count, told in overview(diagnosis):
            page += paragraph(told, width, f"  {grade:<11} {count:>5,}  ", " " * 21)
        grades = dict.fromkeys(one.grade for one in diagnosis.findings)
        page += paragraph("; ".join(f"{one}: {GRADES[one]}" for one in grades) + ".", width, "  ", "  ")
    if diagnosis.advice:
        page += ["", "What to do, and how many lost turns it would have saved"]
        for number, one in enumerate(diagnosis.advice, 1):
            page += paragraph(f"{one.remedy} {saves(one)}", width, f"  {number}. ", "     ")
        page.append(f"  The first of them, made ready: {clean(around.doctor)}")
    if step := next_step(diagnosis):
        page += ["", *([] if diagnosis.advice else ["What to do"]), *paragraph(step, width, "  ", "  ")]
    if around.since is not None:
        page += ["", "Since last time"]
        page += [line for told in around.since_lines() for line in paragraph(told, width, "  - ", "    ")]
    for finding in diagnosis.findings:
        page += [
            "",
            *paragraph(
                finding_line(finding, diagnosis.failures, diagnosis.intervals.get(finding.hypothesis)),
                width,
                f"{finding.grade:<10} ",
                " " * 11,
            ),
        ]
        for word, told in local_reasons(finding, diagnosis):
            page += paragraph(told, width, f"  {word:<8} ", " " * 11)
    if diagnosis.examination.unexplained:
        number = len(diagnosis.examination.unexplained)
        them = "it" if number == 1 else "them"
        page += [
            "",
            *paragraph(
                f"{counted(number, 'failure')}: no cause that is known here explains {them}{refused(diagnosis)}.",
                width,
                "unexplained  ",
                " " * 11,
            ),
        ]
    said: set[tuple[str, str]] = set()
    for name, rows in worth_showing(diagnosis):
        lines = shown(name, rows, diagnosis.offsets)
        if lines:
            page += ["", *paragraph(head(name, diagnosis), width, "", "  "), *shortened(name, lines, width)]
            for word, told in (known := legend(name, rows, said)):
                page += paragraph(f"{word}: {told}", width, "  ", "    ")
            said |= set(known)
    if others := alike(diagnosis):
        page += ["", lookalikes.TITLE, *paragraph(lookalikes.HOW_ALIKE, width, "  ", "  ")]
        for other in others:
            page += paragraph(f"{other.reference}: {other.title}", width, "  ", "    ")
    page += _prior(diagnosis, around, width)
    page += ["", "What was looked at"]
    page += [
        line
        for one in diagnosis.coverage
        for line in paragraph(covered(one, diagnosis.offsets), width, f"  {one.source:<13} ", " " * 16)
    ]
    if around.environment is not None:
        page += ["", "Where it ran"]
        wide = max((len(name) for name, _ in around.environment_rows()), default=0)
        for name, value in around.environment_rows():
            page += paragraph(value, width, f"  {name:<{wide}} ", " " * (wide + 3))
        page += [line for told in around.gaps() for line in paragraph(told, width, "  not known: ", " " * 13)]
    if diagnosis.refused:
        page += ["", "What was not concluded"]
        page += [line for told in diagnosis.refused for line in paragraph(told, width, "  - ", "    ")]
    return page


def _prior(diagnosis: Diagnosis, around: Around, width: int | None) -> list[str]:
    """What the record decides of another's suspicions; nothing of so few failures that nothing could be."""
    if diagnosis.failures < prior.ENOUGH:
        return []
    held = prior.held(diagnosis, around.environment)
    page = ["", PRIOR, *paragraph(WHOSE, width, "  ", "  ")]
    for one in held:
        if one.verdict != prior.OPEN:
            head = f"  {one.key:<4} {one.verdict:<13} "
            page += paragraph(one.suspects, width, head, " " * len(head))
    if left := ", ".join(one.key for one in held if one.verdict == prior.OPEN):
        page += paragraph(f"{prior.OPEN.capitalize()}: {left}.", width, "  ", "  ")
    return [*page, "  What speaks for and against each: --format markdown"]


def shortened(name: str, lines: Sequence[list[str]], width: int | None) -> list[str]:
    """A table's head and as many of its rows as are shown here, and between them how many are left out."""
    places = kept(name, lines, ROWS)
    page, *rows = laid([lines[0], *(lines[place + 1] for place in places)], width)
    left, before = "earlier" if name in IN_TIME else "more", -1
    for place, row in zip((*places, len(lines) - 1), (*rows, []), strict=True):
        if gap := place - before - 1:
            page.append(f"  ... {gap} {left}: --format json")
        page += row
        before = place
    return page


def kept(name: str, lines: Sequence[list[str]], most: int) -> list[int]:
    """Places of the rows that are shown of a table of texts: the newest, where they go on with the time, else the first.

    The one that counts most is always among them; of several the newest.
    """
    head, *rows = lines
    places = list(range(len(rows)))
    if len(rows) <= most:
        return places
    column = next((head.index(one) for one in LARGEST if one in head), None)
    largest = [] if column is None else [max(places, key=lambda place: (_number(rows[place][column]), place))]
    if name in IN_TIME:
        newest = places[-most:]
        return newest if set(largest) <= set(newest) else [*largest, *newest[1:]]
    first = places[:most]
    if column is None or _number(rows[largest[0]][column]) <= max(
        _number(rows[one][column]) for one in first
    ):
        return first
    return [*first[:-1], *largest]


def _number(cell: str) -> float:
    try:
        return float(cell.partition(" ")[0].replace(",", ""))
    except ValueError:
        return 0.0


def reasons(finding: Finding) -> Iterator[tuple[str, str]]:
    """What there is to say about a finding: word (`or`, `for`, `against`, `tell`, `refutes`, `settle`) and sentence.

    Times in it are UTC, and say so.
    """
    if finding.rivals:
        yield "or", rivals(finding)
    yield from (("for", one.text) for one in finding.brief.pro)
    yield from (("against", one.text) for one in finding.brief.con)
    if finding.tell_apart:
        yield "tell", finding.tell_apart
    yield "refutes", finding.falsifier
    if finding.brief.settle:
        yield "settle", finding.brief.settle


def local_reasons(finding: Finding, diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """The same by the page's clock."""
    return [(word, by_clock(told, diagnosis.offsets)) for word, told in reasons(finding)]


def saves(one: Advice) -> str:
    """`(12 to 24 turns)`: what following an advice would have saved, and what of it hangs on a cause that is not told."""
    least, most = one.least, one.most
    if least == most:
        told = counted(most, "turn")
    else:
        told = f"up to {counted(most, 'turn')}" if not least else f"{least:,} to {counted(most, 'turn')}"
    if one.hanging:
        part = "" if one.hanging == most else f"up to {one.hanging:,} of them "
        told += f"; {part or ('it ' if most == 1 else 'they ')}hang{'s' * (most == 1)} on an either"
    return f"({told})"


def covered(one: Coverage, offsets: Offsets = ()) -> str:
    """How much a source holds, from when to when, and what of it could not be read."""
    parts = [one.count, span(one, offsets)]
    if one.unreadable:
        more = len(one.unreadable) - MOST_UNREAD
        parts.append(
            f"not read: {'; '.join(one.unreadable[:MOST_UNREAD])}"
            + (f"; and {more} more" if more > 0 else "")
        )
    return ", ".join(part for part in parts if part)


# ----- tables


TOLD_BELOW: Mapping[str, frozenset[str]] = {
    "stalls": frozenset({"cannot_tell"}),
    "client logs": frozenset({"failed_tries", "cut_answers", "hides"}),
}
"Columns in which many rows say the same, in sentences: these stand once in the table's legend."
MOST_UNREAD = 6
"Kinds of dirt and names of files that a source's line has room for."
WITHOUT_FAILURES = ("tool errors", "tool error kinds", "stalls", "client logs", "commands", "link now")
"Tables that tell something where nothing failed; all others would be zeros."


def worth_showing(diagnosis: Diagnosis) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """The tables by name: all of them where something failed."""
    for name, rows in diagnosis.tables.items():
        if diagnosis.failures or name in WITHOUT_FAILURES:
            yield name, rows


def shown(name: str, rows: Sequence[Mapping[str, Any]], offsets: Offsets = ()) -> list[list[str]]:
    """A table's head and rows as text, times by the local clock; empty where there is nothing in it worth a look."""
    if name == "by code" and not any(row["errors"] for row in rows):
        return []  # the client gave up without a try on record: "dead turns" tells of those
    rows = [row for row in rows if name in WITH_ZEROS or _counts_any(row)]
    if not rows:
        return []
    if name == "lost":
        return [["what", "how much"], *_lost(rows[0])]
    left = TOLD_BELOW.get(name, frozenset()) | {"first_ms", "last_ms", "burst"}
    names = [column for column in rows[0] if column not in left and not column.endswith(("_low", "_high"))]
    return [
        [_named(column) for column in names],
        *[[_told(row, column, offsets) for column in names] for row in rows],
    ]


def legend(
    name: str, rows: Sequence[Mapping[str, Any]], said: Collection[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """What words of these rows mean, each that is used and was not `said` above: word and meaning."""
    told = _LEGENDS.get(name)
    return [one for one in dict.fromkeys(told(rows)) if one not in said] if told else []


def _of_codes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What a client's codes say, a sentence each; holdfast explain has the rest."""
    for row in rows:
        if (row.get("errors") or row.get("turns")) and row["code"] in CODES:
            yield row["code"], CODES[row["code"]].partition(". ")[0].rstrip(".")


def _of_endings(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for code in sorted({row["ending"] for row in rows}):
        if (said := code_sentence(code)) != code:
            yield code, said.replace(f" ({code})", "")


def _of_stalls(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    yield from ((row["kind"], f"cannot tell {row['cannot_tell']}") for row in rows)


def _of_tools(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    yield from ((row["kind"], TOOL_KINDS_MEAN[row["kind"]]) for row in rows if row["kind"] in TOOL_KINDS_MEAN)


def _of_client_logs(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    alike: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        said = [
            f"{_named(column)}: {told}"
            for column in ("failed_tries", "cut_answers", "hides")
            if (told := row.get(column)) is not None
        ]
        if said:
            alike.setdefault((row["mode"], "; ".join(said)), []).append(row["version"])
    yield from ((f"{mode} {', '.join(versions)}", said) for (mode, said), versions in alike.items())


_LEGENDS: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Iterator[tuple[str, str]]]] = {
    "by code": _of_codes,
    "dead turns": _of_codes,
    "flights": _of_endings,
    "reset requests": _of_endings,
    "tool error kinds": _of_tools,
    "stalls": _of_stalls,
    "client logs": _of_client_logs,
}


def _named(column: str) -> str:
    return NAMED.get(column, column.removesuffix("_ms").replace("_", " "))


def _told(row: Mapping[str, Any], column: str, offsets: Offsets) -> str:
    """A cell, with its interval where the column has one and days carry it: `12.1 (4.0-31.2)`, `348 (339-354)`."""
    value, low, high = row[column], row.get(f"{column}_low"), row.get(f"{column}_high")
    if column == "ended_ms" and _date(value, offsets) == _date(row["begun_ms"], offsets):
        return local(value, offsets).strftime("%H:%M:%S")
    if value is None or low is None or high is None:
        return _cell(column, value, offsets)
    told = [_number_of(column, number) for number in (value, low, high)]
    return told[0] if told[1] == told[2] else f"{told[0]} ({told[1]}-{told[2]})"


def _date(at_ms: int, offsets: Offsets) -> date:
    return local(at_ms, offsets).date()


def _number_of(column: str, value: float) -> str:
    if column in SHARES:
        return percent(value)
    if column in RATES:
        return rate(value)
    return f"{value:,.0f}" if value >= ROUND_S else f"{value:.1f}"


def _counts_any(row: Mapping[str, Any]) -> bool:
    """Whether a row counts anything: one that does not stands for a span or an hour of which there is nothing to say."""
    known = [row[name] for name in COUNTS if name in row]
    return any(known) or not known


def _lost(row: Mapping[str, Any]) -> list[list[str]]:
    least, most = row["turns_least"] or 0, row["turns_most"] or 0
    turns = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    found = [["turns", turns], ["waited", waited(row["minutes"] or 0)]]
    if row["tokens"] is not None:
        found.append(["prompt tokens sent in vain", f"{row['tokens']:,}"])
    return found


def _cell(column: str, value: Any, offsets: Offsets) -> str:
    if value is None:
        return "not known" if column in BOUNDS else "-"
    if column == "day":
        return local(value * 86_400_000).strftime("%Y-%m-%d")  # of the local clock already
    if column == "weekday":
        return _WEEKDAYS[value]
    if column == "since_ms" and not value:
        return "the beginning"
    if column.endswith("_ms"):
        return local(value, offsets).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float) and column.startswith(("from_", "to_")):
        return f"{value:,.0f}"  # bounds that were written as whole numbers
    if isinstance(value, float) or column in SHARES | RATES:
        return _number_of(column, value)
    if isinstance(value, int):
        return f"{value:,}"
    return clean(str(value), limit=markdown.LONGEST_SENTENCE)


# ----- Markdown


def as_markdown(diagnosis: Diagnosis, around: Around = NOTHING) -> list[str]:
    """The whole as GitHub-flavoured Markdown; what came from logs can start no mention, link or tag in it."""
    page = ["# Diagnosis", "", markdown.words(verdict(diagnosis)), ""]
    if part := period(diagnosis):
        page += [markdown.words(part), ""]
    if whose := clock(diagnosis):
        page += [markdown.words(whose), ""]
    if diagnosis.findings:
        causes = [(grade, f"{count:,}", markdown.words(told)) for grade, count, told in overview(diagnosis)]
        page += [*markdown.table(("how sure", "failures", "cause"), causes), ""]
    if diagnosis.advice:
        page += ["## What to do, and how many lost turns it would have saved", ""]
        page += [
            f"{number}. {markdown.words(one.remedy)} {saves(one)}"
            for number, one in enumerate(diagnosis.advice, 1)
        ]
        page += ["", f"The first of them, made ready: {markdown.code(around.doctor)}", ""]
    if step := next_step(diagnosis):
        page += [*([] if diagnosis.advice else ["## What to do", ""]), markdown.words(step), ""]
    if around.since is not None:
        page += ["## Since last time", ""]
        page += [*(f"- {markdown.words(told)}" for told in around.since_lines()), ""]
    for finding in diagnosis.findings:
        page += [f"## {markdown.words(titled(finding))}", ""]
        page += [
            f"**{finding.grade}** ({GRADES[finding.grade]}): {len(finding.explains):,} of "
            f"{counted(diagnosis.failures, 'failure')}{excess(finding)}.",
            "",
        ]
        page += [f"- {word}: {markdown.words(told)}" for word, told in local_reasons(finding, diagnosis)]
        page.append("")
    if diagnosis.examination.unexplained:
        number = len(diagnosis.examination.unexplained)
        page += [
            "## Unexplained",
            "",
            f"{counted(number, 'failure')}: no cause that is known here explains {'it' if number == 1 else 'them'}"
            f"{refused(diagnosis)}.",
            "",
        ]
    said: set[tuple[str, str]] = set()
    for name, rows in worth_showing(diagnosis):
        lines = shown(name, rows, diagnosis.offsets)
        if lines:
            cells = [[markdown.words(cell) for cell in row] for row in lines]
            page += [f"## {head(name, diagnosis)}", "", *markdown.table(cells[0], cells[1:]), ""]
            if known := legend(name, rows, said):
                page += [*(f"- {markdown.words(word)}: {markdown.words(told)}" for word, told in known), ""]
                said |= set(known)
    if others := lookalike_rows(diagnosis):
        page += [f"## {lookalikes.TITLE}", "", lookalikes.HOW_ALIKE, "", *others, ""]
    if held := prior.held(diagnosis, around.environment):
        page += [f"## {PRIOR}", "", WHOSE, ""]
        for suspicion in held:
            page.append(
                f"- report's {suspicion.key}: {markdown.words(suspicion.suspects)}: **{suspicion.verdict}**"
            )
            page += [
                f"  - {word}: {markdown.words(by_clock(told, diagnosis.offsets))}"
                for word, told in prior.reasons(suspicion)
            ]
        page.append("")
    page += ["## What was looked at", ""]
    page += [
        f"- {one.source}: {markdown.words(covered(one, diagnosis.offsets))}" for one in diagnosis.coverage
    ]
    if around.environment is not None:
        facts = [(markdown.words(name), markdown.words(value)) for name, value in around.environment_rows()]
        page += ["", "## Where it ran", "", *markdown.table(("", ""), facts), ""]
        page += [f"- not known: {markdown.words(gap)}" for gap in around.gaps()]
    if diagnosis.refused:
        page += ["", "## What was not concluded", ""]
        page += [f"- {markdown.words(told)}" for told in diagnosis.refused]
    return page


def lookalike_rows(diagnosis: Diagnosis) -> list[str]:
    """Reports of others, each with its address, as a Markdown table; empty where there is none."""
    return markdown.table(
        ("report", "about", "signature"),
        [
            (markdown.link(one.reference, one.url), markdown.words(one.title), markdown.words(one.signature))
            for one in alike(diagnosis)
        ],
    )
