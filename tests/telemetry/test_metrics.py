"""Metrics: what ended turns add up to, in names and labels that Prometheus' own linter would let through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.gauges import Gauges
from holdfast.gateway.heal import Remedy
from holdfast.telemetry.ended import FIELDS, OTHER, code_of, ended_turn
from holdfast.telemetry.metrics import MODELS, REMEDIES, Health, Tally, exposition, status_label
from tests.flight.telling import HUNG_UP, at, end, frozen_turn, short_turn, tell, turn
from tests.telemetry.told import ended, page


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name by the values of their labels, in the labels' order."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in read_text(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    """A short turn, the frozen one, and one whose client hung up."""
    gone = end(turn(at(900), turn_id="ccc"), 9, HUNG_UP)
    found = Tally()
    found.add(ended(tmp_path, short_turn(turn_id="aaa"), frozen_turn(at(60), turn_id="bbb"), gone))
    return found


def test_the_story_of_three_turns_in_numbers(tally: Tally) -> None:
    """Turns, attempts, endings, silences, what was spared and saved."""
    told = page(tally)

    assert values(told, "holdfast_turns_total") == {("turn", "200"): 2, ("turn", "none"): 1}
    assert values(told, "holdfast_attempts_total") == {(): 3}
    assert values(told, "holdfast_endings_total") == {  # code, mechanism, of, side
        ("-.end.after", "end", "attempt", "nobody"): 1,
        ("P.rst.connect", "rst", "attempt", "provider"): 1,
        ("C.rst.tool", "rst", "reader", "client"): 1,
        ("-.end.after", "end", "turn", "nobody"): 2,
        ("C.rst.tool", "rst", "turn", "client"): 1,
    }
    assert values(told, "holdfast_generations_not_started_twice_total") == {("held",): 0, ("spared",): 1}
    assert values(told, "holdfast_saved_turns_total") == {(): 1}
    assert values(told, "holdfast_adopted_total") == {("retry",): 1}
    assert values(told, "holdfast_keepalives_total") == {(): 30}
    assert values(told, "holdfast_silence_seconds_sum") == {("tool",): 304.0}
    assert values(told, "holdfast_first_event_seconds_count") == {(): 2}
    buckets = values(told, "holdfast_silence_seconds_bucket")
    assert buckets["300.0", "tool"] == 0 and buckets["450.0", "tool"] == 1 == buckets["+Inf", "tool"]


@pytest.mark.parametrize("mechanism", Mechanism)
@pytest.mark.parametrize("what", ["turn", "attempt", "reader"])
def test_every_mechanism_can_appear(mechanism: Mechanism, what: str, tmp_path: Path) -> None:
    """However something ends, it is counted under its name."""
    how = Ending(Side.PATH, mechanism, Phase.IN_TEXT)
    record = turn(turn_id="aaa")
    if what == "attempt":
        tell(record, (1, m.AttemptEnded(1, how)))
    elif what == "reader":
        tell(record, (1, m.ReaderLeft(1, "lost", None, None, how)))
    tally = Tally()
    tally.add(ended(tmp_path, end(record, 2, how if what == "turn" else HUNG_UP)))

    key = (f"N.{mechanism.value}.text", mechanism.value, what, "path")
    assert values(page(tally), "holdfast_endings_total")[key] == 1


def test_every_remedy_can_appear(tmp_path: Path) -> None:
    """The healing table's words, an honest error aside, which is no healing."""
    assert {remedy.value for remedy in Remedy} - {"error"} == REMEDIES
    record = tell(
        turn(turn_id="aaa"), *((1.0, m.Healed(remedy, "P.rst.text")) for remedy in sorted(REMEDIES))
    )
    tally = Tally()
    tally.add(ended(tmp_path, end(record, 2)))

    assert {remedy for _, remedy in values(page(tally), "holdfast_healed_total")} == REMEDIES


def test_labels_are_bounded_whatever_the_journal_says(tmp_path: Path) -> None:
    """Strangers' models, statuses and words, and another version's codes, make no new series."""
    tally = Tally()
    records = []
    for number in range(MODELS + 30):
        record = tell(
            turn(at(number), turn_id=f"t{number:03}"),
            (0.1, m.ReaderJoined(2, f"how{number}", 0)),
            (0.2, m.QuietNoticed(f"phase{number}")),
            (0.3, m.QuietEnded(11.0, 1)),
            (0.4, m.Healed(f"remedy{number}", f"X.y.{number}")),
            (0.5, m.HeadersArrived(1, 430 + number, None, "")),
        )
        record.kind, record.status = "turn", 430 + number
        record.model, record.output_tokens = f"model-{number}", 1
        records.append(end(record, 1))
    tally.add(ended(tmp_path, *records))
    told = page(tally)

    models = values(told, "holdfast_output_tokens_total")
    assert len(models) == MODELS + 1 and models["other",] == 30
    assert set(values(told, "holdfast_adopted_total")) == {("other",)}
    assert set(values(told, "holdfast_silence_seconds_sum")) == {("other",)}
    assert set(values(told, "holdfast_healed_total")) == {("other", "other")}
    assert set(values(told, "holdfast_upstream_responses_total")) == {("4xx",)}
    assert code_of("X.rst.text") == code_of(None) == code_of("P.rst.text.more") == OTHER


def test_a_status_is_told_by_itself_or_by_its_class() -> None:
    """None is not 0."""
    assert [status_label(status) for status in (200, 529, 418, None, 0, "200")] == [
        "200", "529", "4xx", "none", "other", "other",
    ]  # fmt: skip


def test_nobody_can_be_told_apart(tmp_path: Path) -> None:
    """No id, path, session, client or address is in the page."""
    record = frozen_turn(turn_id="findme0")
    record.path, record.session, record.subagent, record.agent = "/findme1", "findme2", "findme3", "findme4"
    record.profile, record.upstream, record.request_id, record.edge_id = (
        "findme5",
        "findme6",
        "findme7",
        "findme8",
    )
    record.stop_reason, record.saved_from = "findme9", "findme10"
    tally = Tally()
    tally.add(ended(tmp_path, record))

    assert "findme" not in page(tally) and "203.0.113.7" not in page(tally)


def test_a_hostile_model_name_breaks_no_line(tmp_path: Path) -> None:
    """Quotes, newlines and control characters are escaped, by the format and by us."""
    record = end(turn(turn_id="aaa"), 1)
    record.model, record.output_tokens = 'a"} 1\nholdfast_evil 1\x1b[2J', 7
    tally = Tally()
    tally.add(ended(tmp_path, record))
    told = page(tally)

    assert list(values(told, "holdfast_output_tokens_total").values()) == [7]
    assert values(told, "holdfast_evil") == {} and "\x1b" not in told


def test_moments_of_another_version_spoil_no_count() -> None:
    """Values of other types are left out; the turn is counted."""
    row = {
        "turn_id": "a",
        "kind": "new kind",
        "ending_code": "Q.new.new",
        "started_mono_s": 0.0,
        "ended_mono_s": 1.0,
    }
    odd = '[["x", 1, "QuietEnded", {}], [1, 1, "QuietEnded", {"quiet_s": "long"}], [1, 1, "AttemptEnded", {"ending": 7}]]'
    tally = Tally()
    tally.add([ended_turn([odd if name == "moments" else row.get(name) for name in FIELDS])])
    assert values(page(tally), "holdfast_turns_total") == {("other", "none"): 1}


def test_how_the_gateway_stands() -> None:
    """Open turns by state, outage, memory, journal, traces; not measured is not there."""
    gauges = Gauges({"followed": 3, "orphaned": 1}, None, 0.0, 10, 100, 4, {413: 2}, 3)
    told = page(Tally(), gauges, Health(False, 2, 1, False, 5, {"sent": 7, "dropped": 1}))

    assert values(told, "holdfast_open_turns") == {("followed",): 3, ("orphaned",): 1}
    assert values(told, "holdfast_refused_requests_total") == {("413",): 2}
    assert values(told, "holdfast_lost_after_cuts_total") == {(): 3}
    assert values(told, "holdfast_upstream_up") == {}
    assert values(told, "holdfast_ready") == {(): 0} == values(told, "holdfast_journal_up")
    assert values(told, "holdfast_journal_dropped_total") == {("turn",): 2, ("answer",): 1}
    assert values(told, "holdfast_spans_total") == {("dropped",): 1, ("sent",): 7}
    assert values(told, "holdfast_uncounted_turns_total") == {(): 5}
    assert values(page(Tally(), Gauges({}, False, 12.5)), "holdfast_upstream_outage_seconds") == {(): 12.5}
    assert values(page(Tally(), Gauges({}, False, 12.5)), "holdfast_upstream_up") == {(): 0}


# -- the linter's rules --------------------------------------------------------------------------------------


def complaints(families: list[Metric], raw: str) -> list[str]:
    """What `promtool check metrics` and Prometheus' naming page would say of a page."""
    said = []
    kinds = {"counter", "gauge", "histogram", "summary", "untyped", "unknown", "info"}
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or "__" in name:
            said.append(f"{name}: not in snake case")
        if not family.documentation.strip():
            said.append(f"{name}: no help")
        if family.type not in kinds - {"untyped", "unknown"}:
            said.append(f"{name}: no type")
        if family.type != "counter" and re.search(r"_total$", name):
            said.append(f"{name}: _total is for counters")
        if re.search(r"_(count|sum|bucket)$", name):
            said.append(f"{name}: ends as the parts of a histogram do")
        if re.search(r"(^|_)(counter|gauge|histogram|summary)(_|$)", name):
            said.append(f"{name}: has its type in its name")
        if re.search(r"_(ms|milliseconds?|minutes?|hours?|kb|mb|kilobytes?|megabytes?|percent)(_|$)", name):
            said.append(f"{name}: not in base units")
        if re.search(r"_(sec|s|b|byte|second)(_total)?$", name):
            said.append(f"{name}: abbreviates its unit, or has it in the singular")
        for sample in family.samples:
            for label in sample.labels:
                if not re.fullmatch(r"[a-z][a-z0-9_]*", label) and label != "le":
                    said.append(f"{name}: label {label} not in snake case")
                if label == "quantile" or (label == "le" and family.type != "histogram"):
                    said.append(f"{name}: label {label} is taken")
                if label in name.split("_"):
                    said.append(f"{name}: label {label} is in the name")
    types = re.findall(r"^# TYPE (\S+)", raw, flags=re.MULTILINE)
    said += [f"{name}: twice" for name in set(types) if types.count(name) > 1]
    lines = [line for line in raw.splitlines() if line and not line.startswith("#")]
    keys = [line.rsplit(" ", 1)[0] for line in lines]
    said += [f"{key}: twice" for key in set(keys) if keys.count(key) > 1]
    return said


def test_names_and_labels_pass_the_linter(tally: Tally) -> None:
    """Ours; those of the process are the library's own."""
    told = page(tally, Gauges({"followed": 1}, True), Health(spans={"sent": 1}))
    families = [family for family in read_text(told) if family.name.startswith("holdfast_")]

    assert len(families) > 25
    assert complaints(families, told) == []


def test_the_linter_can_complain() -> None:
    """Each rule finds what it is for."""
    for name, kind, labels, rule in (
        ("holdfast_TurnsTotal", "counter", "", "snake case"),
        ("holdfast_turns_total", "gauge", "", "_total is for counters"),
        ("holdfast_wait_ms", "gauge", "", "base units"),
        ("holdfast_wait_second", "gauge", "", "singular"),
        ("holdfast_turn_gauge", "gauge", "", "type in its name"),
        ("holdfast_turn_count", "gauge", "", "parts of a histogram"),
        ("holdfast_x", "gauge", '{le="1"}', "is taken"),
        ("holdfast_model_x", "gauge", '{model="1"}', "is in the name"),
    ):
        raw = f"# HELP {name} Help.\n# TYPE {name} {kind}\n{name}{labels} 1\n"
        assert any(rule in line for line in complaints(list(read_text(raw)), raw)), rule


def test_openmetrics_for_who_asks_for_it(tally: Tally) -> None:
    """By the Accept header; the strict parser takes it."""
    body, content_type = exposition(tally, Gauges(), Health(), "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert "holdfast_turns" in {family.name for family in read_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert exposition(tally, Gauges(), Health(), "text/plain")[1].startswith("text/plain; version=0.0.4")
