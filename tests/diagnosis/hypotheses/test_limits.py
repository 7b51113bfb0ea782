"""Limits on silence and on the whole time, by what flights and captures saw of requests that were cut and that were not."""

from __future__ import annotations

from dataclasses import replace

from holdfast.diagnosis.case import Witness
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.witnessed import examined
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.sessions.client_telemetry import OWN_LIMIT
from tests.diagnosis.hypotheses.story import Story, said

LIMIT_S = 200.0


def cut(
    *, silence_s: float, phase: Phase = Phase.AWAITING_HEADERS, older: tuple[float, float] | None = None
) -> Story:
    """Requests that end at two hundred seconds; on every day some that lived longer, and how silent those were."""
    story = Story()
    for day in range(14):
        story.went_well(day, 6, age_s=30.0, quiet_s=4.0)
        if older is not None:
            story.went_well(day, 2, age_s=older[0], quiet_s=older[1])
        story.fails(day, 60, age_s=LIMIT_S, phase=phase, silence_s=silence_s)
        one = story.failures[-1]
        aged = replace(one.tries[0], age_s=LIMIT_S + 0.05 * day)
        story.failures[-1] = replace(one, tries=(aged,))
    return story


def test_bytes_that_flowed_until_the_cut_are_a_limit_on_the_whole_time() -> None:
    """Half a second of silence before it."""
    found = cut(silence_s=0.5, phase=Phase.IN_TEXT).found().findings[0]

    assert (found.hypothesis, found.rivals) == ("fixed-limit", ())
    assert "In 14 cases an answer was already coming." in said(found)


def test_who_saw_an_answer_coming_is_named() -> None:
    """A capture is no flight."""
    story = cut(silence_s=0.5, phase=Phase.IN_TEXT)
    story.trips = [replace(one, source="capture client.pcap") for one in story.trips]
    (found,) = [one for one in story.found().findings if one.hypothesis == "fixed-limit"]
    (coming,) = [one for one in found.brief.pro if "already coming" in one.text]

    assert coming.source == "capture client.pcap"


def test_silence_alone_leaves_both_limits_where_nothing_lived_longer() -> None:
    """Both would have cut just so. A box that forgets is out: the gateway's keepalives are more often than that."""
    found = cut(silence_s=LIMIT_S).found().findings[0]

    assert {found.hypothesis, *found.rivals} == {"fixed-limit", "silence-limit"}


def test_speaking_requests_that_lived_longer_leave_the_limit_on_silence() -> None:
    """Whoever spoke lived for ten minutes; only the silent ones were cut."""
    found = cut(silence_s=LIMIT_S, older=(600.0, 8.0)).found().findings[0]

    assert (found.hypothesis, found.rivals) == ("silence-limit", ())


def test_answers_that_a_capture_saw_flow_for_longer_leave_the_limit_on_silence() -> None:
    """Each connection may have carried many requests; of its last one it tells how long it was under way."""
    story = cut(silence_s=LIMIT_S)
    for day in range(14):
        story.went_well(day, 2, source="capture client.pcap", age_s=4000.0, lived_s=600.0)
    found = story.found().findings[0]

    assert (found.hypothesis, found.rivals) == ("silence-limit", ())
    story.trips = [replace(one, lived_s=None) for one in story.trips]
    found = story.found().findings[0]
    assert {found.hypothesis, *found.rivals} == {"fixed-limit", "silence-limit"}


def test_a_reset_that_neither_end_made_is_a_boxs() -> None:
    """A capture shows it: no limit at the far end, which would have closed by itself."""
    story = cut(silence_s=LIMIT_S)
    story.trips = [one for one in story.trips if not one.broke]
    seen = {
        one.id: (
            Witness(
                one.at_ms, Side.PATH, Mechanism.RST, "capture client.pcap", "reset by something on the way"
            ),
        )
        for one in story.failures
    }
    (found,) = examined(replace(story.case(), seen=seen), catalogue()).findings

    assert (found.hypothesis, found.rivals) == ("nat-timeout", ())


def test_a_box_that_forgets_closes_nothing_in_order() -> None:
    """A FIN came from somebody who knew the connection: an end's own limit."""
    story = cut(silence_s=LIMIT_S)
    story.trips = [one for one in story.trips if not one.broke]
    seen = {
        one.id: (
            Witness(one.at_ms, Side.PROVIDER, Mechanism.FIN, "capture client.pcap", "closed by the server"),
        )
        for one in story.failures
    }
    found = examined(replace(story.case(), seen=seen), catalogue()).findings[0]

    assert {found.hypothesis, *found.rivals} == {"fixed-limit", "silence-limit"}


def test_a_request_on_its_way_out_is_not_silent() -> None:
    """It was sent for two hundred seconds and never acknowledged: no limit on silence, and no box that forgets."""
    story = cut(silence_s=LIMIT_S, phase=Phase.SENDING)
    seen = {
        one.id: (Witness(one.at_ms, Side.PATH, Mechanism.UNACKNOWLEDGED, "flights", "", phase=Phase.SENDING),)
        for one in story.failures
    }
    claimed = {
        name
        for one in examined(replace(story.case(), seen=seen), catalogue()).findings
        for name in (one.hypothesis, *one.rivals)
    }

    assert not claimed & {"nat-timeout", "silence-limit"}


def test_a_try_is_told_by_what_was_seen_of_that_try() -> None:
    """Each request is tried again after the cut, and the second try breaks while its answer flows: of the first one that
    says nothing, which was silent for as long as it lived."""
    story = cut(silence_s=LIMIT_S)
    for number, one in enumerate(story.failures):
        later = replace(one.tries[0], at_ms=one.at_ms + 60_000, age_s=9.0 + 3 * number)
        story.failures[number] = replace(one, tries=(one.tries[0], later))
        flowing = replace(story.trips[-1], at_ms=later.at_ms, failure=one.id, turn=f"again{number}")
        story.trips.insert(0, replace(flowing, phase=Phase.IN_TEXT, silence_s=0.2, broke=True))
    found = story.found().findings[0]

    assert {found.hypothesis, *found.rivals} == {"fixed-limit", "silence-limit"}


def test_a_try_that_the_client_ended_is_no_ones_limit_but_its_own() -> None:
    """Its telemetry says so of each: ten tries of 600 s are its own time, however alike they are."""
    story = Story()
    for day in range(10):
        story.fails(day, 60, code=OWN_LIMIT)
        one = story.failures[-1]
        story.failures[-1] = replace(one, tries=(replace(one.tries[0], age_s=600.0 + 0.05 * day),))
    found = story.found()

    assert [(one.hypothesis, len(one.explains)) for one in found.findings] == [("client-limit", 10)]
