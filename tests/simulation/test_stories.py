"""Schedules that once failed, cut down to what they need; and a few that show what the simulation can tell."""

from __future__ import annotations

from tests.simulation.cutting import as_test, cut, story_of
from tests.simulation.schedule import Answer, Client, Fault, Outage, Schedule, Turn, draw
from tests.simulation.world import Violation


def goes_well(schedule: Schedule) -> None:
    """Every rule holds in this world; where one does not, the story is told."""
    story, violation = story_of(schedule)
    assert violation is None, f"\n{story}"


def test_a_world_repeats_itself() -> None:
    """The same schedule is told in the same words every time."""
    schedules = [draw(seed) for seed in range(20)]

    assert [story_of(schedule) for schedule in schedules] == [story_of(schedule) for schedule in schedules]


def test_an_orphan_is_adopted_in_the_nick_of_time() -> None:
    """A client gives up at its own limit, asks again, and hears the generation that went on meanwhile."""
    silent = Answer(pauses=((3, 30.0),))
    schedule = Schedule(preset="watched", clients=(Client("2.1.114", turns=(Turn(answers=(silent,)),)),))

    story, violation = story_of(schedule)

    assert violation is None
    assert story.count("is asked") == 1
    assert "ReaderJoined(reader=2, how=fallback" in story
    assert "is done: whole" in story


def test_a_failing_schedule_is_cut_down_to_what_it_needs() -> None:
    """What is left is a literal that makes the same schedule again."""
    failing = draw(1)
    violation = Violation(9, "never seen", 0.0)

    kept = cut(failing, violation, plays=50)

    assert kept == failing, "nothing fails like that, so nothing may be left out"
    names = {kind.__name__: kind for kind in (Answer, Client, Fault, Outage, Schedule, Turn)}
    text = as_test(1, kept, violation)
    assert eval(text[text.index("Schedule(") : text.rindex(")")].strip(), names) == failing


# -- found by chance ----------------------------------------------------------------------------------


def test_a_request_that_cannot_be_read_back_is_refused() -> None:
    """The spool is unreadable when the connection upstream is there: the client hears so, now."""
    goes_well(
        Schedule("small disk", clients=(Client(turns=(Turn(),)),), faults=(Fault(what="disk unreadable"),))
    )


def test_a_reader_may_leave_while_the_disk_is_unreadable() -> None:
    """Why it left can be judged without its request."""
    silent = Turn(answers=(Answer(ends="silent", at=2),))
    goes_well(
        Schedule("small disk", clients=(Client(turns=(silent,)),), faults=(Fault(10.0, "disk unreadable"),))
    )


def test_an_answer_is_opened_early_while_the_disk_is_unreadable() -> None:
    """The alarm that does so must not fail."""
    late = Client("2.1.329", turns=(Turn(answers=(Answer(headers_s=90.0),)),))
    goes_well(Schedule("small disk", clients=(late,), faults=(Fault(10.0, "disk unreadable"),)))


def test_no_error_follows_a_whole_answer_where_the_disk_is_full() -> None:
    """The last read brings the end, the disk takes no more, and the client has all of it nevertheless."""
    at_once = Turn(answers=(Answer(headers_s=11.0, per_read=100),))
    goes_well(Schedule("small disk", clients=(Client(turns=(at_once,)),), faults=(Fault(10.0),)))


def test_half_an_error_body_stays_out_of_a_stream_that_was_opened_early() -> None:
    """Upstream's late error breaks off within its body: the client hears an error event, and nothing else."""
    goes_well(
        Schedule(clients=(Client(turns=(Turn(answers=(Answer(400, headers_s=300.0, ends="rst", at=2),)),)),))
    )


def test_who_takes_over_a_broken_answer_hears_that_it_broke() -> None:
    """The first reader's path is dark and its answer breaks; its retry is not kept alive for ever."""
    broken = Answer(headers_s=10.0, pauses=((3, 60.0),), ends="rst", at=8)
    goes_well(Schedule(clients=(Client(turns=(Turn(window=200, dark_at=3.0, answers=(broken,)),)),)))


def test_the_retry_of_a_folded_request_is_folded_too() -> None:
    """A request without streaming, fetched as a stream, is cancelled and asked again within the grace."""
    whole = Turn(streaming=False, answers=(Answer(headers_s=0.0),))
    again = Turn(streaming=False, leaves_at=0.5, back="same", answers=(Answer(headers_s=9.0),))
    goes_well(Schedule(clients=(Client(turns=(whole, again)),)))


def test_nothing_is_shortened_behind_a_tool_of_the_providers() -> None:
    """A client has nothing to run there: it would take a message that ends so for the whole answer."""
    broken = Answer(blocks=(("server_tool_use", 1), ("text", 1)), ends="rst", at=5)
    goes_well(Schedule(clients=(Client(turns=(Turn(answers=(broken,)),)),)))


def test_the_providers_error_is_told_although_a_block_is_held_back() -> None:
    """A client that cannot be healed hears the error, and not a proper end without one."""
    broken = Answer(blocks=(("text", 1), ("thinking", 2)), ends="error", at=6)
    goes_well(Schedule("held", clients=(Client("python", turns=(Turn(answers=(broken,)),)),)))


def test_who_takes_over_an_answer_that_was_cut_gets_no_error_status() -> None:
    """The last attempt was refused with 500, the answer was ended well: its reader gets a 200."""
    answers = (Answer(blocks=(("tool_use", 2),), ends="early", at=2), Answer(500, headers_s=9.0))
    goes_well(Schedule(clients=(Client("2.1.200", turns=(Turn(dark_at=10.0, answers=answers),)),)))


def test_a_request_without_streaming_takes_over_while_the_next_attempt_is_silent() -> None:
    """It waits for the whole message, and is not opened as a stream by the head of the attempt that broke."""
    answers = (Answer(headers_s=0.0, ends="rst", at=2), Answer(headers_s=9.0))
    goes_well(Schedule("watched", 14.0, clients=(Client(turns=(Turn(answers=answers),)),)))


def test_a_refusal_stays_out_of_the_stream_of_who_came_back() -> None:
    """A reader joins between two attempts, and the second is refused: it hears an error event, or another answer."""
    answers = (Answer(ends="fin", at=3), Answer(503, headers_s=3.0))
    goes_well(Schedule(clients=(Client(turns=(Turn(leaves_at=1.0, back="same", answers=answers),)),)))


def test_another_document_does_not_follow_under_the_first_ones_head() -> None:
    """The head with its length was given, and then the answer broke: what comes next is another length."""
    answers = (Answer(headers_s=0.0, ends="rst"), Answer(blocks=(("text", 3), ("text", 3))))
    goes_well(Schedule(clients=(Client("python", turns=(Turn(streaming=False, answers=answers),)),)))


def test_a_plain_answer_does_not_follow_under_the_head_of_an_encoded_one() -> None:
    """The client was told that what comes is compressed."""
    answers = (Answer(ends="rst", encoded=True), Answer(headers_s=9.0))
    goes_well(Schedule(clients=(Client(turns=(Turn(answers=answers),)),)))


def test_an_encoded_stream_stays_out_of_a_document_that_was_begun() -> None:
    """White space was sent for a JSON document; an encoded stream is none."""
    late = Answer(headers_s=300.0, encoded=True)
    goes_well(Schedule(clients=(Client(turns=(Turn(answers=(late,)),)),)))


def test_a_hedge_ends_with_its_turn() -> None:
    """The client cancels and the first attempt breaks: the second is stopped, too."""
    answers = (Answer(headers_s=11.0, ends="rst"), Answer(headers_s=21.0))
    goes_well(
        Schedule("hedged", clients=(Client(turns=(Turn(leaves_at=10.0, back="same", answers=answers),)),))
    )


def test_a_client_is_kept_alive_in_its_own_form_between_two_attempts() -> None:
    """A ping is no event for it, and its watchdog counts events."""
    failing = Turn(leaves_at=5.0, back="same", answers=(Answer(headers_s=300.0, ends="error"),))
    goes_well(Schedule(clients=(Client("2.1.329", turns=(failing,)),)))


def test_who_comes_back_between_two_attempts_gets_the_second() -> None:
    """The next attempt's time came while nobody listened: it begins when somebody does."""
    broken = Answer(blocks=(("tool_use", 2),), step_s=0.3, ends="fin", at=4)
    goes_well(Schedule(clients=(Client(turns=(Turn(leaves_at=1.0, back="same", answers=(broken,)),)),)))


def test_a_slow_reader_hears_the_providers_error_to_its_end() -> None:
    """It takes a few hundred bytes at a time; the answer's end is one of them."""
    failing = Answer(
        blocks=(("thinking", 1), ("thinking", 1), ("thinking", 2)),
        step_s=0.01,
        per_read=1,
        ends="error",
        at=7,
    )
    goes_well(Schedule(clients=(Client(turns=(Turn(latency_s=0.3, window=200, answers=(failing,)),)),)))


def test_who_comes_back_after_a_refusal_is_not_given_its_length() -> None:
    """The answer broke, the next attempt was refused, a third is under way: its reader gets a stream of any length."""
    answers = (Answer(ends="rst", at=2), Answer(502, headers_s=1.0), Answer(headers_s=3.0))
    goes_well(Schedule(clients=(Client(turns=(Turn(leaves_at=10.0, back="same", answers=answers),)),)))


def test_a_pooled_connection_that_was_dead_already_costs_no_retry() -> None:
    """Nothing was sent on it, so the one retry is still there when the answer breaks."""
    first = Turn(answers=(Answer(headers_s=0.0),))
    answers = (Answer(ends="rst", stale=True), Answer())
    client = Client("curl", turns=(first, Turn(1.0, 1, answers=answers)))

    story, violation = story_of(Schedule("plain", clients=(client,)))

    assert violation is None
    assert "had closed the pooled connection" in story
    assert "client1.2 is done: whole" in story


def test_a_hedge_that_speaks_as_the_grace_ends_leaves_no_memory_behind() -> None:
    """At one instant the second attempt speaks first, takes over, and the cancelled turn's time is up."""
    cancelled = Turn(leaves_at=5.0, answers=(Answer(headers_s=11.0),))
    twin = Turn(answers=(Answer(headers_s=2.0),))
    goes_well(Schedule("hedged", clients=(Client(turns=(cancelled, twin)),)))


def test_who_reads_on_while_the_next_attempt_waits_is_told_nothing_twice() -> None:
    """A paused client had heard nothing when the answer broke; it reads on before the next attempt begins."""
    answers = (
        Answer(headers_s=89.0, step_s=0.3, ends="dark", at=11),
        Answer(headers_s=2.1, step_s=0.3, ends="fin", at=5),
    )
    slow = Turn(window=200, pauses=((0.2, 290.0),), answers=answers)
    goes_well(Schedule("doomed", clients=(Client("2.1.329", turns=(slow,)),)))


def test_an_encoded_stream_is_no_answer_for_who_asked_for_the_whole() -> None:
    """It is fetched as a stream to be folded; what cannot be folded is an error, not a stream."""
    goes_well(
        Schedule("eager", clients=(Client(turns=(Turn(streaming=False, answers=(Answer(encoded=True),)),)),))
    )
