"""The public report of a diagnosis: in the tracker's own fields, of use to the vendor, and of nobody."""

from __future__ import annotations

import ipaddress
import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.cli.reporting import hosts
from holdfast.diagnosis import prior
from holdfast.diagnosis.around import Around, with_egress
from holdfast.diagnosis.case import Case, Coverage, Span, Trip, Try
from holdfast.diagnosis.diagnosis import Diagnosis, diagnose
from holdfast.diagnosis.engine import Engine
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypothesis import Evidence, Hypothesis
from holdfast.diagnosis.since import Since
from holdfast.diagnosis.witnessed import BOTH_SAW, FROM_WHERE
from holdfast.flight.deidentify import Names
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.plainwords import PLAIN
from holdfast.probes.result import Grade, Result
from holdfast.report.diagnosis_issue import KNOWN_KEYS, _Public, issue, private
from holdfast.report.issue import LONGEST
from holdfast.report.lookalikes import lookalikes
from holdfast.sessions.corpus import update
from holdfast.sessions.environment import Environment, Fact, Skipped
from holdfast.sessions.frames import frames
from holdfast.sessions.logs_what import table
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.diagnosis.test_lines_to_type import CASE, EVERY
from tests.diagnosis.test_prior import Weeks
from tests.report.test_public import UNSHRUNK, texts
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000
FIELDS = (
    "What's wrong?", "What should happen?", "Error messages/logs", "Steps to reproduce", "Claude model",
    "Is this a regression?", "Last working version", "Claude Code version", "Platform", "Operating System",
    "Terminal/Shell", "Additional information",
)  # fmt: skip
"Those of the tracker's form for bugs, in its order."

MACHINE = Environment(
    [
        Fact("operating system", "macOS 26.3"), Fact("kernel", "Darwin 25.3.0 arm64"), Fact("shell", "zsh"),
        Fact("terminal", "iTerm.app 3.5.1"), Fact("node", "24.13.1"), Fact("interface", "Wi-Fi"),
        Fact("settings, user", "env, hooks"), Fact("hooks", "0 managed, 2 user, 0 project"),
    ],
    [Skipped("vpn", "it is not installed", "scutil --nc list")],
)  # fmt: skip


@cache
def _month() -> tuple[Diagnosis, frozenset[str]]:
    """Twelve days; on each a request is cut after five minutes, and one is overloaded."""
    with TemporaryDirectory() as place:
        home = Path(place)
        for day in range(12):
            pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS).asks()
            for number in range(10):
                pen.after(20).answers(f"msg_{day}_{number}")
            pen.after(300.4).fails(1).after(302).fails(2).gives_up()
            pen.asks().after(2).is_refused(1).after(4).answers(f"msg_{day}_last").saved(home)
        store = Store(None, now_ms=MORNING_MS)
        update(store, transcripts(roots(home))[0])
    reach = Coverage("transcripts", "12 sessions and 0 subagents, 40 kB", MORNING_MS, MORNING_MS + DAY_MS)
    none = Coverage("desktop log", "none")
    return diagnose(Engine(frames(store)), coverage=[reach, none]), hosts(store)


def a_month() -> tuple[Diagnosis, frozenset[str]]:
    return _month()


def test_it_has_the_trackers_own_fields() -> None:
    """All of them, in the order of the form."""
    page = issue(*_with(Around(MACHINE)), Names())
    assert [line[4:] for line in page.splitlines() if line.startswith("### ")] == list(FIELDS)
    assert page.startswith("# [BUG] ")


def _with(around: Around) -> tuple[Diagnosis, Around, frozenset[str]]:
    diagnosis, found = a_month()
    return diagnosis, around, found


def field(page: str, name: str) -> str:
    return page.split(f"### {name}\n\n")[1].split("\n### ")[0].strip()


def test_it_helps_the_vendor() -> None:
    """Request ids, ranked causes, what would prove them wrong, questions with this person's own ages, reports alike."""
    diagnosis, around, found = _with(Around(MACHINE))
    page = issue(diagnosis, around, found, Names())
    either = replace(diagnosis.examination, findings=diagnosis.findings[::-1])
    title = issue(replace(diagnosis, examination=either), around, found, Names()).splitlines()[0]
    assert "Requests were cut at a fixed age (300 s), or something that looks like it:" in title
    wrong = field(page, "What's wrong?")
    assert wrong.startswith("24 of 144 requests failed (17%), and 12 turns died of it.")
    assert "(days of UTC, as all times here that do not say local), in use on " in wrong
    assert "1. **" in wrong and "2. **" in wrong
    ids = {one.request_id for failure in diagnosis.case.failures for one in failure.tries if one.request_id}
    assert ids and all(one in page for one in ids) and "9ddf33cfda64f790-ORD" in page
    for finding in diagnosis.findings:
        assert f"- refutes: {finding.falsifier.split(';')[0][:20]}" in page
    assert "near 300.4 s? 12 of these 12 requests were 300.4 to 300.4 s old." in page
    address = "https://github.com/anthropics/claude-code/issues"
    assert f"| [anthropics/claude-code#67091]({address}/67091) |" in page and f"{address}/89608" not in page
    assert (field(page, "Platform"), field(page, "Operating System")) == ("Anthropic API", "macOS 26.3")
    assert field(page, "Terminal/Shell") == "iTerm.app 3.5.1, zsh"
    assert field(page, "Claude Code version") == "- 2.1.104: 24 of 144 requests failed"
    assert field(page, "Is this a regression?") == "I don't know: one version is on record (2.1.104)."


def overloaded(number: int, request_id: str | None, edge_id: str | None) -> Try:
    """The `number`-th try of a request, twenty seconds after the one before."""
    return Try(MORNING_MS + number * 20_000, 19.5, "HTTP 529", 529, request_id, edge_id)


def rows_of_ids(page: str) -> list[list[str]]:
    """The rows of the table for the provider: time of the day, how, request id, edge id, by whom."""
    told = field(page, "Error messages/logs")
    cells = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in told.splitlines() if "| 20" in line
    ]
    return [[row[0][11:19], *row[1:]] for row in cells]


def one_failure(case: Case, **changes: Any) -> Diagnosis:
    """A diagnosis of a single request that failed, all else as in the month."""
    first = replace(a_month()[0].case.failures[0], **changes)
    examination = replace(a_month()[0].examination, findings=(), unexplained=(first.id,))
    return replace(a_month()[0], failures=1, case=replace(case, failures=[first]), examination=examination)


def test_no_try_bears_another_ones_ids() -> None:
    """Each row is one try: its own time, and the two ids of its own answer, though others bear no edge id."""
    tries = (
        overloaded(0, "req_011CbFvtMSTLZ7dWV3KFiQ01", None),
        overloaded(1, "req_011CbFvtMSTLZ7dWV3KFiQ02", "9ff48517ce9402d2-CWB"),
        overloaded(2, None, "9ff48517ce9402d3-CWB"),
        overloaded(3, "req_011CbFvtMSTLZ7dWV3KFiQ04", "9ff48517ce9402d4-CWB"),
    )
    diagnosis = one_failure(Case(()), tries=tries)
    page, begin = issue(diagnosis, Around(), (), Names()), MORNING_MS // 1000 % 60

    assert [row[2:4] for row in rows_of_ids(page)] == [
        ["req_011CbFvtMSTLZ7dWV3KFiQ04", "9ff48517ce9402d4-CWB"],
        ["", "9ff48517ce9402d3-CWB"],
        ["req_011CbFvtMSTLZ7dWV3KFiQ02", "9ff48517ce9402d2-CWB"],
        ["req_011CbFvtMSTLZ7dWV3KFiQ01", ""],
    ]
    assert [(int(row[0][-2:]) - begin) % 60 for row in rows_of_ids(page)] == [0, 40, 20, 0]
    assert {(row[1], row[4]) for row in rows_of_ids(page)} == {("HTTP 529", "client")}
    sheet = private(diagnosis, Names(), [])
    assert "| `req_011CbFvtMSTLZ7dWV3KFiQ01` |   | client |" in sheet
    assert "| `req_011CbFvtMSTLZ7dWV3KFiQ02` | `9ff48517ce9402d2-CWB` | client |" in sheet


def test_the_giving_up_is_looked_up_as_well() -> None:
    """Where the client noted an id of the last answer alone, at the time at which it gave up."""
    diagnosis = one_failure(
        Case(()), tries=(), ended_ms=MORNING_MS + 9_000, request_id="req_011CbFvtMSTLZ7dWV3KFiQ09"
    )
    (row,) = rows_of_ids(issue(diagnosis, Around(), (), Names()))
    assert row[1:] == ["gave up", "req_011CbFvtMSTLZ7dWV3KFiQ09", "", "client"]


def flew(failure: str | None, number: int, request_id: str | None, edge_id: str | None) -> Trip:
    """An attempt that a flight saw reset in mid-text."""
    return Trip(
        MORNING_MS + number * 20_000, "flights", True, failure=failure, side=Side.PROVIDER, mechanism=Mechanism.RST,
        phase=Phase.IN_TEXT, request_id=request_id, edge_id=edge_id,
    )  # fmt: skip


def test_ids_that_a_flight_noted_are_ids_on_record() -> None:
    """The client logs none of a broken stream: a flight's stand for the provider, and nothing says that there are none."""
    tries = (replace(overloaded(0, None, None), code="ECONNRESET", status=None),)
    key = a_month()[0].case.failures[0].id
    trips = [flew(key, 0, "req_011CbFvtMSTLZ7dWV3KFiQ11", "9ff48517ce9402d1-ORD"), flew(key, 1, None, None)]
    seen = issue(one_failure(Case((), trips=trips), tries=tries), Around(), (), Names())
    blind = issue(one_failure(Case(()), tries=tries), Around(), (), Names())

    (row,) = rows_of_ids(seen)
    assert row[1:] == [
        "upstream reset the connection inside text (P.rst.text)", "req_011CbFvtMSTLZ7dWV3KFiQ11", "9ff48517ce9402d1-ORD",
        "flight",
    ]  # fmt: skip
    assert "No failed try has a request id" not in seen and "cannot be looked up" not in seen
    assert (
        "1 of 1 broken request here came without one in the client's logs; 1 can be looked up only because"
        in seen
    )
    assert "end on your side (req\\_011CbFvtMSTLZ7dWV3KFiQ11)?" in seen
    assert "No failed try has a request id on record, and none was answered by an HTTP error." in blind
    assert "without one in the client's logs, so they cannot be looked up." in blind


def test_no_id_is_asked_of_tries_that_reached_nobody() -> None:
    """A local proxy that does not run, or a name that is not resolved: no server could have named them."""
    for code, asked in (("ConnectionRefused", False), ("EAI_AGAIN", False), ("ECONNRESET", True)):
        tries = (replace(overloaded(0, None, None), code=code, status=None),)
        page = issue(one_failure(Case(()), tries=tries), Around(), (), Names())
        assert ("Log the request id and the edge id of a try" in page) is asked
        assert "How did 1 unexplained request end on your side" in page


def test_an_id_that_both_noted_stands_once() -> None:
    """With the edge id, whoever knew it."""
    key, tries = a_month()[0].case.failures[0].id, (overloaded(0, "req_011CbFvtMSTLZ7dWV3KFiQ01", None),)
    trips = [flew(key, 0, "req_011CbFvtMSTLZ7dWV3KFiQ01", "9ff48517ce9402d1-ORD")]
    (row,) = rows_of_ids(issue(one_failure(Case((), trips=trips), tries=tries), Around(), (), Names()))
    assert row[1:] == ["HTTP 529", "req_011CbFvtMSTLZ7dWV3KFiQ01", "9ff48517ce9402d1-ORD", "client"]


def test_our_own_sentences_stay_readable() -> None:
    """None of our words is taken for a name."""
    page = issue(*_with(Around(MACHINE)), Names())
    lost = [line for line in page.splitlines() if re.search(r"\b(?:name|text|host|id)-\d", line)]
    assert not lost, f"add to flight/plainwords.py what can be no name: {lost}"


@pytest.mark.parametrize(
    "said",
    [
        BOTH_SAW,
        FROM_WHERE,
        "The user's settings have no hook and no MCP server; those of projects are not in this copy of a home.",
        "The client's logs do not tell by which HTTP it spoke, nor does a capture that saw its failures.",
        "12 of 12 failures went by IPv4, of 20 failures that a flight, a capture or an added log saw; of the other 8 the "
        "way is not told.",
        "2 records have times at which no such client ran: a clock was wrong then. What they tell is left out.",
        "This machine had no network: cannot be told (no log covers the 20 new failures; before: 12 of 24).",
        "holdfast probe status of 2026-09-20 12:00 UTC: 4 of 5 failures that Claude's page covers are in incidents that it "
        'published: 3 in "Elevated errors on Claude Opus" (2026-09-04 09:00 to 10:00 UTC), the rest in 2 more; of requests '
        "that were answered 1% are (+3.1 bits).",
    ],
)
def test_what_is_said_beside_causes_stays_readable(said: str) -> None:
    """Sentences that are made elsewhere than in a hypothesis reach the tracker too."""
    assert "-1" not in _Public(Names()).text(said), _Public(Names()).text(said)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_what_a_cause_says_stays_readable(one: Hypothesis) -> None:
    """Its evidence, its lines to type, what would prove it wrong: nothing of it is anybody's name."""
    one.ratios(CASE)
    brief, public, names = (
        one.brief(CASE, CASE.failures),
        _Public(Names(), {"AMS", "ORD"}),
        r"\b(?:name|text|host|id|path)-\d",
    )
    for said in (one.title, one.remedy, one.falsifier, *one.rivals.values(), brief.settle):
        assert not re.search(names, public.joined(said)), public.joined(said)
    for seen in (*brief.pro, *brief.con):
        assert not re.search(names, public.text(seen.text)), public.text(seen.text)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_of_prior_hypotheses_stays_readable(seed: int) -> None:
    """Whatever the verdict."""
    weeks = Weeks(seed).sometimes(9 if seed == 3 else 80)
    weeks.watched = [Span(0, 30 * DAY_MS)] if seed % 2 else []
    levels = [Fact(name, "0 managed, 1 user, 0 project") for name in ("hooks", "MCP servers")]
    public = _Public(Names())
    for one in prior.held(weeks.diagnosed(), Environment(levels) if seed else None):
        for _, told in prior.reasons(one):
            assert not re.search(r"\b(?:name|text|host|id|path)-\d", public.joined(told)), public.joined(told)


def test_it_names_nobody() -> None:
    """Sessions, projects and directories are pseudonyms, the same all through, and the private sheet leads back."""
    diagnosis, found = a_month()
    names = Names()
    page = issue(diagnosis, Around(), found, names)
    assert (
        "00000001-0000-4000" not in page
        and "/work/atlas" not in page
        and "atlas" not in page.replace("holdfast atlas", "")
    )
    assert "session-1" in page and "path-1" in page
    sheet = private(diagnosis, names, [("e-mail", "someone@mail.example")])
    for told in ("00000001-0000-4000-8000-000000000000", "/work/atlas", "someone@mail.example", "`path-1`"):
        assert told in sheet
    ids = {one.request_id for failure in diagnosis.case.failures for one in failure.tries if one.request_id}
    assert ids and all(one in sheet for one in ids)


def test_of_two_hundred_days_the_newest_are_public() -> None:
    """A table that goes on with the time is cut at its old end; the tiers' names are ours, and stay."""
    diagnosis, found = a_month()
    days = [{"day": 20_400 + number, "errors": 1, "failures": 1, "answered": 1} for number in range(200)]
    page = issue(
        replace(diagnosis, tables=dict(diagnosis.tables) | {"per day": days}), Around(), found, Names()
    )

    assert "| 2026-05-26 |" in page and "| 2025-11-08 |" not in page
    assert "50 more rows can be had" in page and "| up to 200,000 tokens |" in page


def test_a_regression_is_claimed_with_its_numbers() -> None:
    """An older version that was used enough and never failed is the last working one, with what was to be expected."""
    diagnosis, found = a_month()
    old = dict(diagnosis.tables["by version"][0], version="2.1.99", failures=0, answered=400)
    tables = dict(diagnosis.tables) | {"by version": [*diagnosis.tables["by version"], old]}
    page = issue(replace(diagnosis, tables=tables), Around(), found, Names())
    assert field(page, "Last working version") == "2.1.99 (400 requests, none failed)"
    assert "in 2.1.99 66.7 failures were to be expected at the rate of 2.1.104" in page


def test_a_size_stands_with_its_own_rate() -> None:
    """Of all requests one in seven fails here, of those of the size that is named one in three; without a rate, no size."""
    diagnosis, found = a_month()
    known = [replace(one, context_tokens=116_163) for one in diagnosis.case.failures]
    row = {"from_tokens": 100_000, "to_tokens": 150_000, "failures": 24, "answered": 48, "per_1000": 333.3}
    small = row | {"from_tokens": 0, "to_tokens": 100_000, "failures": 0, "answered": 84, "per_1000": 0.0}

    def steps(*rows: dict[str, Any]) -> str:
        tables = dict(diagnosis.tables) | {"by context": rows}
        sized = replace(diagnosis, case=replace(diagnosis.case, failures=known), tables=tables)
        return field(issue(sized, Around(), found, Names()), "Steps to reproduce")

    told = steps(small, row)
    assert (
        "with prompts of 100,000 to 150,000 tokens." in told and "Of 3 such requests about one fails;" in told
    )
    untold = steps(small, row | {"per_1000": None})
    assert "tokens" not in untold and "Of 6 requests about one fails;" in untold


@pytest.mark.parametrize(("largest", "asks", "alike"), [(150_000, 0, 0), (250_000, 1, 0), (450_000, 1, 1)])
def test_what_is_of_larger_prompts_stands_where_there_were_some(largest: int, asks: int, alike: int) -> None:
    """The question about the large tier, and the report on prompts of more than 420,000 tokens."""
    diagnosis, found = a_month()
    case = replace(diagnosis.case, failures=[replace(diagnosis.case.failures[0], context_tokens=largest)])
    cause = replace(
        diagnosis.findings[0], hypothesis="large-request", rivals=(), explains=(case.failures[0].id,)
    )
    large = replace(diagnosis, examination=replace(diagnosis.examination, findings=(cause,)), case=case)
    page = issue(large, Around(), found, Names())

    assert page.count("Does the large context tier go by") == asks
    assert page.count("prompts of more than 420,000 tokens") == alike


@pytest.mark.parametrize("sessions", [1_500, 20_000])
def test_it_fits_and_says_what_was_left_out(sessions: int) -> None:
    """The longest tables go first; verdict, causes, questions and limits stay."""
    diagnosis, found = a_month()
    day = diagnosis.tables["per day"][0]
    many = {"per day": [dict(day, day=day["day"] + number) for number in range(sessions)]}
    bursts = {
        "bursts": [
            {"begun_ms": MORNING_MS, "ended_ms": MORNING_MS, "errors": 2, "failures": 1, "sessions": 1}
        ]
        * sessions
        * 2
    }
    more = {f"by model {number}": list(diagnosis.tables["by model"]) * sessions for number in range(12)}
    page = issue(
        replace(diagnosis, tables={**diagnosis.tables, **many, **bursts, **more}),
        Around(MACHINE),
        found,
        Names(),
    )
    assert len(page) < LONGEST
    assert "Left out, because an issue may not be longer than 65,536 characters: the table" in page
    assert "#### What would help" in page and "#### What this cannot tell" in page and "- refutes:" in page


def test_every_lookalike_belongs_to_a_cause() -> None:
    """The list names causes that exist, and each report once."""
    known = {one.name for one in catalogue()}
    assert all(set(one.found_as) <= known and one.found_as for one in lookalikes())
    references = [one.reference for one in lookalikes()]
    assert len(references) == len(set(references)) >= 9
    assert all(one.title and one.signature for one in lookalikes())
    assert lookalikes()[0].reference == "anthropics/claude-code#89608"
    assert lookalikes()[0].url == "https://github.com/anthropics/claude-code/issues/89608"


def test_keys_of_public_settings_are_kept_and_others_counted() -> None:
    """A key may be anybody's own."""
    told = Environment(
        [
            Fact("settings, user", f"{sorted(KNOWN_KEYS)[0]}, zebrafinch"),
            Fact("kernel", "Linux 6.1.2-zebrafinch x86_64"),
        ]
    )
    page = issue(*_with(Around(told)), Names())
    assert "zebrafinch" not in page and "and 1 other" in page and "Linux 6.1.2 x86" in page


class Stained:
    """Puts something private into every string of a diagnosis that logs, files or others could have brought there."""

    def __init__(self, drawn: list[tuple[str, list[str]]]) -> None:
        self._drawn, self._next = drawn, 0
        self.forbidden: set[str] = set()

    def text(self) -> str:
        told, needles = self._drawn[self._next % len(self._drawn)]
        self._next += 1
        self.forbidden.update(needles)
        return told

    def diagnosis(self, given: Diagnosis) -> Diagnosis:
        failures = [
            replace(
                one,
                session=self.text(), project=self.text(), version=self.text(), model=self.text(), text=self.text(),
                tries=tuple(
                    replace(failed, code=self.text(), request_id=self.text(), edge_id=self.text()) for failed in one.tries
                ),
                request_id="req_011CZ9PWLnL8MKuGL9LbWm4z",
            )
            for one in given.case.failures[:8]
        ]  # fmt: skip
        trips = [
            Trip(
                one.at_ms, "flights", True, failure=one.id, side=Side.PROVIDER, mechanism=Mechanism.RST,
                phase=Phase.IN_TEXT, request_id=self.text(), edge_id=self.text(),
            )
            for one in failures
        ]  # fmt: skip
        known = {one.id for one in failures}
        findings = tuple(
            replace(
                one,
                title=self.text(), falsifier=self.text(), tell_apart=self.text(),
                explains=tuple(key for key in one.explains if key in known),
                brief=replace(
                    one.brief, pro=(Evidence(self.text(), self.text()),), con=(Evidence(self.text(), ""),),
                    settle=f"holdfast atlas 300; {self.text()}",
                ),
            )
            for one in given.findings
        )  # fmt: skip
        tables = {
            name: [
                {column: self.text() if isinstance(value, str) else value for column, value in row.items()}
                for row in rows[:4]
            ]
            for name, rows in given.tables.items()
        }
        return replace(
            given,
            case=Case(failures, trips=trips),
            examination=replace(given.examination, findings=findings, unexplained=tuple(list(known)[:2])),
            tables=tables,
            coverage=(Coverage(self.text(), self.text(), unreadable=(self.text(),)),),
            refused=(self.text(), self.text()),
        )

    def around(self) -> Around:
        names = [
            "operating system", "kernel", "shell", "terminal", "node", "client", "client's install", "versions kept",
            "interface", "vpn", "resolvers", "proxy settings", "egress", "hooks", "permission mode, user", "settings, user",
            "variables set by settings, project", "anything else",
        ]  # fmt: skip
        facts = [Fact(name, self.text()) for name in names]
        facts += [Fact("terminal", f"tmux {self.text()}"), Fact("operating system", f"Ubuntu {self.text()}")]
        gaps = [Skipped(self.text(), self.text(), self.text())]
        return Around(Environment(facts, gaps), Since(0, 1, 1, 1, 1, (), (self.text(),)), "2026-05-01 10:00")

    def hosts(self) -> list[str]:
        return [self.text(), self.text()]


@settings(
    phases=UNSHRUNK,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(drawn=st.lists(texts, min_size=12, max_size=20))
def test_nothing_private_reaches_the_public_file(drawn: list[tuple[str, list[str]]]) -> None:
    """Secrets, e-mails, addresses, paths, hosts, branches, names, prompts: in whatever text they stood."""
    stain = Stained(drawn)
    diagnosis = stain.diagnosis(a_month()[0])
    names = Names()
    page = issue(diagnosis, stain.around(), stain.hosts(), names)
    shown = page.replace("\u200b", "").replace("\\", "").casefold()
    for needle in stain.forbidden:
        assert needle.casefold() not in shown, needle
        assert _address(needle) is None or _address(needle) not in shown
    assert "req_011CZ9PWLnL8MKuGL9LbWm4z" in page
    assert len(page) < LONGEST


def _address(needle: str) -> Any:
    try:
        return str(ipaddress.ip_address(needle))
    except ValueError:
        return None


def test_by_which_network_it_leaves_is_not_public() -> None:
    """A company's network bears its name: neither the environment nor the table of probes tells it."""
    answer = Result(
        "egress", "service.example:443", MORNING_MS, 1.0, Grade.FINE, "it leaves by AS64500 Acme, Berlin", "s", "n",
        {"asn": "AS64500", "as_name": "Acme", "city": "Berlin"},
    )  # fmt: skip
    diagnosis = a_month()[0]
    diagnosis = replace(
        diagnosis, case=replace(diagnosis.case, probes=[answer, replace(answer, name="edge", verdict="x")])
    )
    page = issue(diagnosis, Around(with_egress(MACHINE, [answer], UTC, own=True)), (), Names())

    assert "| egress | asked; in the private sheet |" in page and "| edge |" in page
    assert not any(word in page for word in ("64500", "Acme", "Berlin"))


def test_a_title_blames_no_cause_for_what_it_does_not_explain(tmp_path: Path) -> None:
    """Two overloads among ten resets of which nothing is known: what fails leads, and the cause stands with its share."""
    for day in range(10):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS).asks()
        for number in range(9):
            pen.after(20).answers(f"msg_{day}_{number}")
        pen.after(7 * day + 2).fails(1).after(4).answers(f"msg_{day}_a")
        if day < 2:
            pen.asks().after(2).is_refused(1).after(4).answers(f"msg_{day}_b")
        pen.saved(tmp_path)

    with closing(Store(None, now_ms=MORNING_MS)) as store:
        update(store, transcripts(roots(tmp_path))[0])
        diagnosis = diagnose(Engine(frames(store)))
    title = issue(diagnosis, Around(), (), Names()).splitlines()[0]

    assert title.endswith("of requests fail, no turn died; 2 of 12: The provider was overloaded")


def test_what_clients_log_is_told_in_plain_words() -> None:
    """The words of the table stay as they are where free text is looked through."""
    said = " ".join(f"{one.tries} {one.cut} {one.hides}" for one in table())
    assert set(re.findall(r"[a-z]{2,}", said.lower())) <= PLAIN
