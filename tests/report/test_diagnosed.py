"""A diagnosis in a terminal: nothing is wider than it, and what has one reason is said once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.diagnosis import prior
from holdfast.diagnosis.around import Around
from holdfast.diagnosis.case import Case, Coverage, Failure, Try
from holdfast.diagnosis.diagnosis import Advice, Diagnosis
from holdfast.diagnosis.examine import Examination, Finding
from holdfast.diagnosis.fix import Ways, choose
from holdfast.diagnosis.hypothesis import Brief
from holdfast.diagnosis.intervals import Interval
from holdfast.diagnosis.titles import TITLES
from holdfast.flight.flights import code_sentence
from holdfast.report import diagnosed
from holdfast.sessions.environment import Environment, Fact, Skipped

EMPTY = Diagnosis(
    30, 90, 0, Examination((), (), (), ()), (), {}, (Coverage("transcripts", "none"),), (), case=Case(())
)
ROWS = [
    {
        "model": "m" * number,
        "version": "v" * 50,
        "failures": number,
        "requests": 1_000_000,
        "project": "p" * 55,
    }
    for number in range(5, 60, 9)
]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long names give way to their numbers, and the last columns to the first; nothing wraps."""
    machine = Environment(
        [Fact("settings, user", ", ".join(["permissions"] * 40))], [Skipped("x" * 30, "why " * 40, "y")]
    )
    page = diagnosed.text(replace(EMPTY, tables={"by model": ROWS}), width, Around(machine))
    assert max(len(line) for line in page) <= width
    assert any(line.strip().startswith("mmmm") for line in page)


def test_there_is_always_a_next_step() -> None:
    """Resets of which no log tells who, and no turn died: what finds out is said, and so beside advice that does not."""
    faint = Advice("Use a wired link for a week.", "local-link", 0, 2)
    held = Advice("Run the client behind holdfast run: it carries turns.", "fixed-limit", 0, 2)
    for found in (EMPTY, replace(EMPTY, advice=(faint,))):
        for page in (diagnosed.text(found, None), diagnosed.as_markdown(found)):
            assert any("holdfast run -- claude" in line and "who ended a connection" in line for line in page)
    assert diagnosed.next_step(replace(EMPTY, advice=(held,))) == ""
    assert diagnosed.next_step(replace(EMPTY, failures=0)) == ""


def test_what_makes_another_sum_says_what_it_counts() -> None:
    """A failure of several codes is in several rows, and one whose prompt is not known in a row of its own."""
    tries = (Try(0, 1.0, "ECONNRESET"), Try(9, 1.0, "EPIPE"))
    failures = [Failure(f"f{n}", tries, "died", 0, 9, "s", "2.1.104") for n in range(29)]
    failures.append(replace(failures[0], id="bare", tries=()))
    tables: dict[str, list[dict[str, object]]] = {
        "by code": [{"code": code, "errors": 29, "failures": 29} for code in ("ECONNRESET", "EPIPE")],
        "by context": [
            {"from_tokens": 0, "to_tokens": 50_000, "failures": 26, "requests": 60},
            {"from_tokens": None, "to_tokens": None, "failures": 4, "requests": 0},
        ],
    }
    found = replace(EMPTY, tables=tables, case=Case(failures))
    page = "\n".join(diagnosed.as_markdown(found))

    assert (
        "## What failed, by code (a failure is in the row of each code that its tries had; 1 more failure had no try on "
        "record)\n"
    ) in page
    assert "## By the true size of the prompt\n" in page and "| not known | - | 4 |" in page
    assert diagnosed.head("by code", replace(found, case=Case(failures * 2))).count("each code") == 0
    assert max(map(len, diagnosed.text(found, 60))) <= 60


RECORD = Coverage("transcripts", "87 sessions", 1_776_124_800_000, 1_795_132_800_000)
FLOWN = Coverage("flights", "4 turns, 1 of them broke", 1_795_132_800_000, 1_795_132_900_000)


@pytest.mark.parametrize(
    ("coverage", "since_ms", "says"),
    [
        ((RECORD, FLOWN), 1_900_000_000_000, "in this time; the record goes from 2026-04-14 to 2026-11-20."),
        ((Coverage("transcripts", "none"), FLOWN), None, "The gateway carried 4 turns, 1 of them broke: holdfast flights"),
        ((Coverage("transcripts", "none"),), None, "There is nothing to diagnose: no request is on record."),
    ],
)  # fmt: skip
def test_an_empty_part_is_no_empty_record(
    coverage: tuple[Coverage, ...], since_ms: int | None, says: str
) -> None:
    """A time in which nothing was asked, a gateway without transcripts, and nothing at all are three things."""
    found = replace(EMPTY, failures=0, requests=0, coverage=coverage, since_ms=since_ms)
    assert says in diagnosed.verdict(found)


def test_a_part_of_the_record_says_which() -> None:
    """By the local clock; the sources below it are told as a whole."""
    part = replace(EMPTY, since_ms=1_795_132_800_000, offsets=((0, 3_600_000),))
    said = "Of the record from 2026-11-20 01:00 to its end only"
    assert diagnosed.text(part, None)[1].startswith(said)
    assert any(line.startswith(said) for line in diagnosed.as_markdown(part))
    assert diagnosed.period(EMPTY) == ""


def test_a_page_has_one_clock_and_says_which() -> None:
    """07:03 in Chicago was 12:03 UTC, and 01:00 UTC on the 20th was the evening before: tables, coverage and the part."""
    bursts = [{"begun_ms": 1_776_341_000_000, "errors": 2}]
    chicago = ((0, -6 * 3_600_000), (1_773_000_000_000, -5 * 3_600_000))
    seen = Coverage("transcripts", "2 sessions", 1_768_870_800_000, 1_776_341_000_000)
    there = replace(
        EMPTY, tables={"bursts": bursts}, coverage=(seen,), offsets=chicago, zone="America/Chicago"
    )
    for page in (diagnosed.text(there, None), diagnosed.as_markdown(there)):
        whole = "\n".join(page)
        assert "2026-04-16 07:03:20" in whole and "12:03:20" not in whole
        assert "2 sessions, 2026-01-19 to 2026-04-16" in whole
        assert [line for line in page if "Times are" in line] == [
            "Times are of America/Chicago (UTC-6 to UTC-5)."
        ]
    assert diagnosed.clock(replace(there, offsets=((0, 0),), zone="Etc/UTC")) == "Times are UTC."
    assert (
        diagnosed.clock(replace(there, offsets=((0, 19_800_000),), zone="")) == "Times are local (UTC+5:30)."
    )
    assert diagnosed.clock(EMPTY) == ""


def test_of_a_long_table_in_time_the_newest_rows_are_shown() -> None:
    """Forty bursts over two years: the last twelve, with their year; of another table the first."""
    day_ms = 86_400_000
    bursts = [{"begun_ms": 1_730_000_000_000 + day * 20 * day_ms, "errors": 2} for day in range(40)]
    models = [{"model": f"m{number:02}", "errors": 40 - number} for number in range(40)]
    page = diagnosed.text(replace(EMPTY, tables={"bursts": bursts, "by model": models}), None)

    assert "  ... 28 earlier: --format json" in page and "  ... 28 more: --format json" in page
    assert any("2026-12-" in line for line in page) and not any("2024-10-" in line for line in page)
    assert any("m00" in line for line in page) and not any("m39" in line for line in page)


def test_the_largest_row_is_never_left_out() -> None:
    """The version that fails most is the first of twenty; the worst of forty days is long ago, and is shown all the same."""
    versions = [{"version": f"2.1.{112 - number}", "failures": 93 - number} for number in range(20)]
    days = [{"day": 20_500 + number, "failures": 99 if number == 9 else 1} for number in range(40)]
    logs = [{"version": f"2.1.{number}", "answered": 7 if number else 900} for number in range(20)]
    tables: dict[str, list[dict[str, Any]]] = {"by version": versions, "per day": days, "client logs": logs}
    page = diagnosed.text(replace(EMPTY, tables=tables), None)
    start = page.index(TITLES["per day"]) + 2

    assert any(line.split() == ["2.1.112", "93"] for line in page) and "  ... 8 more: --format json" in page
    assert page[start] == "  ... 9 earlier: --format json" and page[start + 1].split()[-1] == "99"
    assert page[start + 2] == "  ... 19 earlier: --format json" and len(page[start:]) >= 14
    assert any(line.split() == ["2.1.0", "900"] for line in page)


def test_one_word_means_one_thing() -> None:
    """A table counts the answered ones, and calls them so; the headline's requests are those and the failed ones."""
    row = {"version": "2.1.104", "failures": 66, "answered": 2100, "per_1000": 30.5}
    lines = diagnosed.shown("by version", [row | {"per_1000_low": 30.51, "per_1000_high": 30.52}])

    assert lines == [
        ["version", "failures", "answered", "failed per 1000"],
        ["2.1.104", "66", "2,100", "30.5"],
    ]
    assert diagnosed.shown("between marks", [{"since_ms": 0, "failures": 3}])[1][0] == "the beginning"


def test_the_headline_tells_of_the_turns_whose_end_nothing_tells() -> None:
    """24 died, and of 7 it is not known: the tile says 24 to 31, and so does the sentence."""
    lost = {"turns_least": 24, "turns_most": 31, "minutes": 0.4, "tokens": None}
    found = replace(EMPTY, died=24, tables={"lost": [lost]})

    said = "24 turns died of it (7 more were left or ended out of sight: lost or not, nothing tells, so 24 to 31 lost turns)"
    assert said in diagnosed.verdict(found)
    none = replace(found, died=0, tables={"lost": [lost | {"turns_least": 0, "turns_most": 3}]})
    assert "no turn died of it, but 3 were left or ended out of sight: lost or not" in diagnosed.verdict(none)
    many = replace(found, failures=5_100, requests=31_620, died=2_004)
    assert diagnosed.verdict(many).startswith(
        "5,100 of 31,620 requests failed (16%), and 2,004 turns died of it"
    )
    assert [diagnosed.waited(minutes) for minutes in (0.4, 12, 90)] == ["under 1 min", "12 min", "1.5 h"]


def test_a_file_holds_the_whole_names() -> None:
    """Where no terminal is, nothing is cut."""
    page = diagnosed.text(replace(EMPTY, tables={"by project": ROWS}), None)
    assert any("p" * 55 in line for line in page)


def test_one_reason_is_said_once() -> None:
    """Six things that are not known for the same reason are one line."""
    gaps = [
        Skipped("shell", "another's", "echo $SHELL"),
        Skipped("node", "another's", "node --version"),
        Skipped("x", "no", "y"),
    ]
    weight = "no cause is weighed by it, so that it could not change the ranking"
    assert Around(Environment([], gaps)).gaps() == [
        f"shell, node: another's; {weight}; type: echo $SHELL; node --version",
        f"x: no; {weight}; type: y",
    ]


def test_an_interval_without_width_is_not_shown() -> None:
    """`50% to 50%` says nothing that the count does not."""

    finding = Finding("x", "It broke", "strong", 20.0, ("a", "b"), 0.5, Brief(), "", "")
    assert diagnosed.finding_line(finding, 4, Interval(0.5, 0.5)) == "It broke: 2 of 4 failures"
    told = diagnosed.finding_line(finding, 4, Interval(0.3, 0.62))
    assert told == "It broke: 2 of 4 failures, 50% (30% to 62%)"


def test_the_share_stands_with_what_of_it_is_beyond_chance() -> None:
    """What a version would have had anyway is no part of its fault, wherever the number is shown."""
    found = replace(
        EMPTY, examination=Examination((replace(LIMIT, brief=Brief(excess=1)),), ("1", "2"), (), ())
    )
    for page in (diagnosed.text(found, None), diagnosed.as_markdown(found)):
        told = [line for line in page if "about 1 of these 2 are beyond what was to be expected" in line]
        assert len(told) == 2


LIMIT = Finding(
    hypothesis="fixed-limit",
    title="Requests were cut at a fixed age",
    remedy="Run the client behind holdfast run.",
    falsifier="other ages",
    grade="either",
    share=1.0,
    explains=("1", "2"),
    bits=50.0,
    brief=Brief((), (), ""),
    rivals=("nat-timeout",),
)


def test_no_title_claims_a_cause_that_may_as_well_be_another() -> None:
    """Overview, heading and first line of a cause that is not told from its like leave it open."""
    found = replace(EMPTY, examination=Examination((LIMIT,), ("1", "2"), (), ()))
    for page in (diagnosed.text(found, None), diagnosed.as_markdown(found)):
        titles = [line for line in page if LIMIT.title in line]
        assert len(titles) == 2 and all(f"{LIMIT.title}{diagnosed.ALIKE}" in line for line in titles)
    assert diagnosed.titled(replace(LIMIT, rivals=(), grade="strong")) == LIMIT.title


@pytest.mark.parametrize(
    ("advice", "says"),
    [
        (Advice("", "", 24, 27, hanging=26), "(24 to 27 turns; up to 26 of them hang on an either)"),
        (Advice("", "", 0, 3, hanging=3), "(up to 3 turns; they hang on an either)"),
        (Advice("", "", 1, 1, hanging=1), "(1 turn; it hangs on an either)"),
        (Advice("", "", 0, 2), "(up to 2 turns)"),
    ],
)
def test_turns_that_hang_on_an_open_question_are_said_to(advice: Advice, says: str) -> None:
    """What would have been saved is known only as well as its cause."""
    assert diagnosed.saves(advice) == says


def test_anothers_suspicions_stand_behind_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the record decides is listed, with whose they are; of few failures nothing is."""
    held = [
        prior.Held(key, f"Suspects {key}", verdict, "", (), (), "", ())
        for key, verdict in (("H1", prior.OPEN), ("H6", prior.CONTRADICTED), ("H7", prior.OPEN))
    ]
    monkeypatch.setattr(prior, "held", lambda *_: held)
    page = diagnosed.text(replace(EMPTY, tables={"by model": ROWS}), None)
    at = page.index(diagnosed.PRIOR)

    assert page.index(TITLES["by model"]) < at
    assert page[at + 1].startswith("  Not yours: ") and "many have read" in page[at + 1]
    assert page[at + 2 : at + 4] == ["  H6   contradicted  Suspects H6", "  Cannot be told here: H1, H7."]
    assert diagnosed.PRIOR not in diagnosed.text(replace(EMPTY, failures=prior.ENOUGH - 1), None)


def _flown(ending: str, alone: int) -> dict[str, object]:
    told = {"ending": ending, "turns": 12, "healed": 0, "noted_by_client": 0}
    return {**told, "only_flights": alone, "longest_silence_s": 0.0}


def test_what_flights_alone_know_stands_in_the_first_line() -> None:
    """Print mode logs no failed try: what the gateway saw break is told beside what the client noted, and where to look."""
    rows = [
        _flown("C.fin.text", 4),
        _flown("P.rst.text", 1),
        _flown("P.refused.connect", 12),
        _flown("P.fin.text", 0),
    ]
    for failures, begin in (
        (30, "30 of 90 requests failed"),
        (0, "The client's logs tell of no failure: 90 requests"),
    ):
        found = replace(EMPTY, failures=failures, tables={"flights": rows})
        told = diagnosed.verdict(found)
        assert told.startswith(begin)
        assert "13 broken turns are known from flights alone: 12 x upstream refused the connection" in told
        assert "1 x upstream reset the connection inside text (P.rst.text)." in told and "C.fin" not in told
        assert diagnosed.next_step(found) == diagnosed.TO_LOOK_UP


def test_the_fix_knows_what_flights_alone_know() -> None:
    """Where the client noted nothing, the line to type is for what its gateway saw."""
    ways = Ways(None, "", None, "")
    known = {"failures": 0, "requests": 9, "advice": (), "findings": ()}
    for ending, line in (
        ("P.refused.connect", "holdfast run --check"),
        ("P.rst.text", "holdfast flight --last"),
    ):
        chosen = choose({**known, "tables": {"flights": [_flown(ending, 2)]}}, ways)
        assert chosen.line.startswith(line) and "2 broken turns" in chosen.says
    assert choose({**known, "tables": {"flights": [_flown("P.rst.text", 0)]}}, ways).says.startswith(
        "Nothing is wrong"
    )


def test_codes_stand_with_their_meaning_and_only_those_in_use() -> None:
    """Below the table that has them; what was explained above is not explained again."""
    tables: dict[str, list[dict[str, Any]]] = {
        "by code": [
            {"code": "EPIPE", "errors": 3, "failures": 2},
            {"code": "EAI_AGAIN", "errors": 0, "failures": 0},
        ],
        "dead turns": [{"code": "EPIPE", "turns": 1}],
        "reset requests": [
            {"ending": "N.unacked.send", "silence_s": 2.0},
            {"ending": "ours", "silence_s": 1.0},
        ],
    }
    for page in (
        diagnosed.text(replace(EMPTY, tables=tables), None),
        diagnosed.as_markdown(replace(EMPTY, tables=tables)),
    ):
        said = [line.lstrip("- ") for line in page]
        assert said.count("EPIPE: The client wrote to a connection that the other end had closed") == 1
        assert [line for line in said if line.startswith("N.unacked.send:")] == [
            f"N.unacked.send: {code_sentence('N.unacked.send').removesuffix(' (N.unacked.send)')}"
        ]
        assert not any(line.startswith(("EAI_AGAIN:", "ours:")) for line in said)


def test_markdown_cuts_no_cell() -> None:
    """A project's whole path, and whatever else is long; what many rows say alike stands once below them."""
    hides = "breaks in mid-answer that a fallback mended, silent stalls, watchdog hits; and more"
    logs = [
        {
            "version": version,
            "mode": "print",
            "answered": 1,
            "failed_tries": "none",
            "cut_answers": None,
            "hides": hides,
        }
        for version in ("2.1.86", "2.1.87")
    ]
    found = replace(
        EMPTY, tables={"by project": [{"project": "/p" * 90, "failures": 1}], "client logs": logs}
    )
    page = diagnosed.as_markdown(found)

    assert any("/p" * 90 in line for line in page)
    assert f"- print 2.1.86, 2.1.87: failed tries: none; hides: {hides}" in page


def test_a_row_that_counts_nothing_is_left_out_but_of_the_inventory() -> None:
    """Of a span of sizes or an hour, wherever it begins; that a code never came is worth its line."""
    none = {"failures": 0, "answered": 0, "per_1000": None}
    spans = [{"from_tokens": at, "to_tokens": None, **none} for at in (0, 200_000)]
    some = {"from_tokens": 50_000, "to_tokens": 100_000, "failures": 0, "answered": 1_400, "per_1000": 0.0}

    assert diagnosed.shown("by context", [spans[0], some, spans[1]])[1:] == [
        ["50,000", "100,000", "0", "1,400", "0"]
    ]
    codes = [{"code": code, "errors": errors} for code, errors in (("EPIPE", 0), ("ECONNRESET", 3))]
    assert [row[0] for row in diagnosed.shown("by code", codes)[1:]] == ["EPIPE", "ECONNRESET"]


def test_the_numbers_of_a_column_are_written_alike() -> None:
    """Decimals by one rule, thousands apart in every count."""
    rows = [
        {"kind": "silent wait", "silent_s": silent, "turns": turns, "share": share}
        for silent, turns, share in ((121.0, 1200, 0.005), (213.74, 7, 0.12))
    ]
    assert diagnosed.shown("x", rows)[1:] == [
        ["silent wait", "121.0", "1,200", "0.50%"],
        ["silent wait", "213.7", "7", "12%"],
    ]


@pytest.mark.parametrize("code", ["HTTP 400", "HTTP 401", "HTTP 403", "HTTP 413", "HTTP 429", "HTTP 529"])
def test_a_status_has_a_sentence_below_its_table(code: str) -> None:
    """What it says, to somebody who has never met its number."""
    ((word, told),) = diagnosed.legend("by code", [{"code": code, "errors": 1}])

    assert word == code and len(told) > 30
