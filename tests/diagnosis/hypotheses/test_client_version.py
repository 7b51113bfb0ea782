"""One version that fails more than another on the same days."""

from __future__ import annotations

from dataclasses import replace

from tests.diagnosis.hypotheses.story import Story, said

OLD, NEW = "2.1.104", "2.1.107"


def tried(days: range, *, bad: str, elsewhere: int) -> Story:
    """On these days one session of three had the new version; `bad` fails on them, the old one on others."""
    story = Story()
    story.answers = [
        one._replace(version=NEW)
        if one.session.endswith("-1") and any(one.session == f"s{day}-1" for day in days)
        else one
        for one in story.answers
    ]
    for day in days:
        for number in range(4):
            story.fails(day, 125 + 20 * number, age_s=5.0 + 3.1 * number + day, session=f"s{day}-1")
            story.failures[-1] = replace(story.failures[-1], version=bad)
    others = [day for day in range(story.days) if day not in days]
    for number in range(elsewhere):
        day = others[number % len(others)]
        story.fails(day, 10 + 17 * number, age_s=4.0 + 2.3 * number)
    return story


def test_days_on_which_nobody_used_it_are_no_evidence_for_a_version() -> None:
    """It broke twenty times on five days beside the old one; that the old one failed in other weeks says nothing of it."""
    found = tried(range(4, 9), bad=NEW, elsewhere=12).finding("client-version")

    assert (found.grade, len(found.explains)) == ("strong", 20)
    assert "On 5 days with several versions 20 of 20 failures came with 2.1.107" in said(found)


def test_what_was_to_be_expected_anyway_is_told_beside_what_is_put_to_it() -> None:
    """Its excess is smaller than the failures that are likeliest its own, and both numbers stand in one sentence."""
    found = tried(range(4, 9), bad=NEW, elsewhere=12).finding("client-version")
    (told,) = [one.text for one in found.brief.con]

    assert told == (
        "20 failures are put to it, but of its 20 on those days 7 were to be expected without any fault: about 13 came "
        "beyond that, and which of them cannot be told one by one."
    )


def test_failures_of_both_versions_are_neithers_fault() -> None:
    """On the same days the old one failed as often for each of its requests."""
    story = tried(range(4, 9), bad=NEW, elsewhere=0)
    for number in range(40):
        day = 4 + number % 5
        story.fails(day, 5 + 8 * (number // 5), age_s=6.0 + 1.7 * number, session=f"s{day}-{number % 2 * 2}")

    assert "client-version" not in story.names()


def test_versions_of_different_days_are_never_compared() -> None:
    """All of one week with the one, all of the next with the other, and only the second failed: so did the week."""
    story = tried(range(0), bad=NEW, elsewhere=0)
    story.answers = [
        one._replace(version=NEW) if one.at_ms >= story.at(7, 0) else one for one in story.answers
    ]
    for number in range(28):
        story.fails(7 + number % 7, 9 + 11 * number, age_s=4.0 + 2.1 * number, session=f"s{7 + number % 7}-2")
        story.failures[-1] = replace(story.failures[-1], version=NEW)

    assert "client-version" not in story.names()


def test_what_fails_is_no_part_of_what_a_version_is_used() -> None:
    """A third of each day's answers is the new one's, and all of its failures come on top of them."""
    found = tried(range(4, 9), bad=NEW, elsewhere=0).finding("client-version")

    assert "by its part of each day's requests 6.7 were to be expected" in said(found)


def test_failures_that_telemetry_alone_tells_compare_no_versions() -> None:
    """Two versions fail alike, and the telemetry of one could not be sent: of the other's failures nothing is on record."""
    story = tried(range(4, 14), bad=NEW, elsewhere=0)
    story.failures = [replace(one, on_record=False) for one in story.failures]

    assert story.names() == [] and len(story.found().unexplained) == 40
    story.failures = [replace(one, on_record=True) for one in story.failures]
    assert story.names() == ["client-version"]


def test_failures_of_a_telemetry_do_not_thin_out_what_is_compared() -> None:
    """The newer version's failures are on record whatever happened; the older one's by telemetry stand beside them."""
    story = tried(range(4, 9), bad=NEW, elsewhere=0)
    for number in range(40):
        day = 4 + number % 5
        story.fails(day, 5 + 8 * (number // 5), age_s=6.0 + 1.7 * number, session=f"s{day}-{number % 2 * 2}")
        story.failures[-1] = replace(story.failures[-1], on_record=False)
    found = story.finding("client-version")

    assert len(found.explains) == 20
    assert "20 of 20 failures came with 2.1.107" in said(found)


def test_a_version_that_logs_no_failed_try_is_no_better_for_it() -> None:
    """What failed and recovered is on record of the new one alone; of what died both tell."""
    story = tried(range(4, 9), bad=NEW, elsewhere=0)
    story.logs = {
        (one.session, one.version): "logged" if one.version == NEW else "not logged" for one in story.answers
    }
    assert "client-version" not in story.names()

    story.failures = [replace(one, outcome="died") for one in story.failures]
    assert len(story.finding("client-version").explains) == 20


def test_what_would_not_be_on_record_of_each_version_is_told() -> None:
    """It stands against the version, and is no failure of another day."""
    story = tried(range(4, 9), bad=NEW, elsewhere=0)
    story.failures[:-3] = [replace(one, outcome="died") for one in story.failures[:-3]]
    story.logs = {(one.session, one.version): one.version for one in story.answers}
    found = story.finding("client-version")

    assert "17 of 17 failures came with 2.1.107" in said(found)
    assert "3 failures of these days would not be on record of each version that was used" in said(found)
