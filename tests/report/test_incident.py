"""One incident, explained from its flight alone: who closed, how sure, what is ruled out, what to do."""

from __future__ import annotations

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.flights import story
from holdfast.flight.instant import Instant
from holdfast.flight.reading import StoredTurn
from holdfast.report.claims import Grade, Suspect
from holdfast.report.incident import Incident, as_plain, examine
from tests.flight.telling import NOON, at, end, short_turn, tell, turn
from tests.report.turns import (
    ALIVE,
    GAVE_UP,
    PROVIDER_RESET,
    began,
    cancelled,
    frozen,
    outage,
    refused,
    reset_and_healed,
    stored,
)


def suspect(incident: Incident, who: str) -> Suspect:
    """The one whose name begins so."""
    return next(one for one in incident.suspects if one.who.startswith(who))


def test_a_turn_that_ended_well_says_so_and_stops() -> None:
    """No claim, no suspect, no advice: what was asked and what happened is all."""
    incident = examine(stored(short_turn()))
    assert incident.well and incident.title == "Nothing broke: the turn ended well after 1.80 s"
    assert not incident.closer and not incident.suspects and not incident.advice and incident.asked


def test_a_turn_that_goes_on_is_not_said_to_have_ended() -> None:
    """It is under way, and nothing has broken."""
    assert examine(stored(began())).title == "Nothing has broken: the turn goes on"


def test_the_freeze_is_explained_as_by_hand() -> None:
    """What took a proxy, a server's log and a packet capture: the client reset, at its own limit; nobody else did."""
    incident = examine(stored(frozen()))
    assert incident.title == (
        "The client reset the connection inside a tool call (Write) after 300 s of silence; "
        "it came back and got the same answer"
    )
    assert incident.closer is not None and incident.closer.grade is Grade.CERTAIN
    assert "a TCP RST came in on the client's connection" in incident.closer.speaks_for[0]
    assert incident.reason is not None and incident.reason.grade is Grade.LIKELY
    assert incident.reason.text == "The client gave up waiting: its stream idle limit of 300 s ran out."
    assert "It asked the same again by itself, 0.40 s later." in incident.reason.speaks_for
    provider = suspect(incident, "the provider")
    assert (provider.state, provider.grade) == ("ruled out", Grade.CERTAIN)
    assert "It had answered with 200, 301 s before." in provider.why
    assert "It was alive: it went on 99.9 s later, on the same connection." in provider.why
    assert suspect(incident, "the client").state == "did it"
    near = suspect(incident, "loss of packets between client")
    assert near.state == "ruled out" and "The other end's kernel had acknowledged 40 ms before." in near.why


def test_a_timer_is_never_more_than_likely() -> None:
    """The number is certain; whose it is, is a conclusion, and chance is named beside it."""
    incident = examine(stored(frozen()))
    assert incident.timer is not None and incident.timer.grade is Grade.LIKELY
    assert "300 s" in incident.timer.text and incident.timer.settle


def test_an_answer_that_nobody_fetched_is_counted_and_can_be_saved() -> None:
    """What was generated and heard by nobody stands under the cost; the attic under what to do."""
    incident = examine(stored(frozen(comes_back=False), kept_bytes=91_300))
    assert incident.title.endswith("the turn was lost, what there was of the answer is in the attic")
    assert ("generated and heard by nobody", "29,327 tokens") in [
        (one.name, one.value) for one in incident.cost
    ]
    assert incident.advice[0].command == "holdfast attic save 01m7x2abcdefgh"


def test_a_reset_by_upstream_is_not_laid_at_the_providers_door_alone() -> None:
    """The RST came in from there; a box on the way could have sent it, and one end cannot tell."""
    incident = examine(stored(reset_and_healed()))
    assert (
        "Upstream reset the connection inside text" in incident.title and "healed (restart)" in incident.title
    )
    assert suspect(incident, "the provider").state == "not ruled out"
    box = suspect(incident, "a box between")
    assert (box.state, box.grade) == ("not ruled out", Grade.CANNOT_TELL)
    assert suspect(incident, "the client").state == "ruled out"
    assert [one.request_id for one in incident.requests] == ["req_011CfrozenTurn", "req_011CsecondTry"]
    assert any("--format issue" in one.command for one in incident.advice)


def test_what_was_not_measured_is_said_and_lets_nobody_go() -> None:
    """No kernel was asked: then the path is neither guilty nor cleared."""
    bare = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE)
    record = end(tell(began(), (302.0, m.ReaderLeft(1, "cancelled", None, None, bare))), 304, bare)
    incident = examine(stored(record))
    path = suspect(incident, "loss of packets between client")
    assert (path.state, path.grade) == ("not measured", Grade.CANNOT_TELL)
    assert not any(one.name == "since the last acknowledgement" for one in incident.seen)


def test_bytes_on_their_way_keep_the_path_under_suspicion() -> None:
    """What was not acknowledged may have been lost."""
    facts = ALIVE | {"unacked_bytes": 1400, "retransmits": 3}
    lost = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TEXT, "", facts)
    record = end(tell(began(), (30.0, m.ReaderLeft(1, "lost", None, None, lost))), 30, lost)
    path = suspect(examine(stored(record)), "loss of packets between client")
    assert path.state == "not ruled out" and "1.4 kB was waiting" in " ".join(path.why)


def test_a_cancel_is_told_from_a_program_that_comes_back_by_itself() -> None:
    """Nobody presses Esc and asks the same again within half a second."""
    pressed = examine(stored(cancelled()))
    assert pressed.reason is not None and pressed.reason.text.startswith("Taken for a cancel")
    assert pressed.title.endswith("the turn was stopped")
    record = began()
    left = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "", ALIVE | {"since_byte_s": 298.0})
    tell(
        record,
        (300.0, m.ReaderLeft(1, "cancelled", None, None, left)),
        (300.4, m.ReaderJoined(2, "retry", 9)),
    )
    by_itself = examine(stored(record))
    assert by_itself.reason is not None
    assert by_itself.reason.text == "The client's program gave up by itself; it was no person's wish."
    assert (
        "None of the limits that were measured of this client explains the time."
        in by_itself.reason.speaks_against
    )


def test_a_refusal_names_the_refusal_and_no_timer() -> None:
    """It came at once; the network carried the refusal, so it works."""
    incident = examine(stored(refused()))
    assert incident.code == "P.refused.connect" and incident.timer is None
    assert suspect(incident, "loss of packets").state == "ruled out"
    assert any(one.value == "ECONNREFUSED" for one in incident.seen)


def test_an_outage_blames_nobody_that_was_not_seen() -> None:
    """Upstream was away; whether it or the way to it failed is not known."""
    incident = examine(stored(outage()))
    assert incident.title == (
        "Upstream could not be reached for 7.00 s (its name is not resolved); the turn waited and ended well"
    )
    provider = suspect(incident, "the provider")
    assert (provider.state, provider.grade) == ("not ruled out", Grade.CANNOT_TELL)
    assert "Waited 7.00 s" in incident.done[0]


def test_a_limit_of_our_own_is_ours() -> None:
    """The gateway ended it: it did it, and its limit is certain."""
    ours = Ending(Side.GATEWAY, Mechanism.DEADLINE, Phase.IN_TOOL_USE, "upstream was silent for 45 minutes")
    record = end(tell(began(), (2702.0, m.AttemptEnded(1, ours))), 2702, ours)
    incident = examine(stored(record))
    assert suspect(incident, "this gateway").state == "did it"
    assert incident.timer is not None and incident.timer.grade is Grade.CERTAIN
    assert "silent for 45 minutes" in incident.timer.text


def test_a_sleep_of_this_machine_keeps_it_under_suspicion() -> None:
    """Two clocks that drifted apart by an hour are no detail."""
    record = frozen()
    record.moments = [
        (
            Instant(
                when.mono_s, when.wall_ms + 3_600_000 if when.mono_s > NOON.mono_s + 100 else when.wall_ms
            ),
            one,
        )
        for when, one in record.moments
    ]
    assert record.ended is not None
    record.ended = Instant(record.ended.mono_s, record.ended.wall_ms + 3_600_000)
    assert suspect(examine(stored(record)), "this machine").state == "not ruled out"


def circle(count: int, key: str | None) -> list[StoredTurn]:
    """The same request, five minutes apart, lost each time."""
    turns = []
    for number in range(count):
        record = frozen(at(310.0 * number), f"01m7x2abcdef{number:02d}", comes_back=False)
        record.request_key = key
        turns.append(stored(record))
    return turns


@pytest.mark.parametrize(("key", "grade"), [("k1", Grade.CERTAIN), (None, Grade.LIKELY)])
def test_a_circle_of_retries_is_told_as_one(key: str | None, grade: Grade) -> None:
    """By the requests' content where it is known, else by their size, and then no surer than likely."""
    first, *others = circle(4, key)
    loop = examine(first, others).loop
    assert loop is not None and loop.text.startswith("Yes: a circle of retries.") and "4 times" in loop.text
    assert loop.grade is grade
    alone = examine(first).loop
    assert alone is not None and alone.grade is Grade.CANNOT_TELL


def test_the_same_question_without_a_session_may_have_been_asked_by_hand() -> None:
    """A program that was run three times is no circle; a client that names no session cannot be told from it."""
    turns = circle(3, "k1")
    for one in turns:
        one.record.session = None
    loop = examine(turns[0], turns[1:]).loop
    assert loop is not None and loop.grade is Grade.CANNOT_TELL and "circle" not in loop.text


def test_nothing_is_certain_but_what_was_seen() -> None:
    """Reasons and timers of others are conclusions, whatever the turn."""
    for record in (frozen(), frozen(comes_back=False), reset_and_healed(), refused(), outage(), cancelled()):
        incident = examine(stored(record))
        for claim in (incident.reason, incident.timer):
            assert claim is None or claim.grade is not Grade.CERTAIN
        assert incident.closer is not None and incident.closer.speaks_for


def test_every_claim_that_is_concluded_can_be_proved_wrong() -> None:
    """A conclusion without a falsifier is a belief."""
    for record in (frozen(), reset_and_healed(), cancelled()):
        incident = examine(stored(record))
        assert incident.falsifiers
        assert incident.reason is None or incident.reason.settle


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("mechanism", Mechanism)
def test_every_ending_can_be_explained(side: Side, mechanism: Mechanism) -> None:
    """Also those that no test has a story for: an attempt that ended so, and a client that left so."""
    for phase in Phase:
        broke = Ending(side, mechanism, phase, "why", GAVE_UP.evidence | PROVIDER_RESET.evidence)
        by_attempt = examine(stored(end(tell(began(), (9, m.AttemptEnded(1, broke))), 9, broke)))
        by_client = examine(
            stored(end(tell(began(), (9, m.ReaderLeft(1, "lost", None, None, broke))), 9, broke))
        )
        for incident in (by_attempt, by_client):
            assert incident.title and (incident.closer is not None) != broke.completed
            assert incident.closer is None or "{" not in "".join(incident.closer.speaks_for)
            assert as_plain(incident)["title"] == incident.title


def test_a_provider_that_was_asked_and_had_not_answered_was_reached() -> None:
    """The request had gone to its last byte; whoever broke it off then, it is no ground that nobody was asked."""
    for side, mechanism in ((Side.MACHINE, Mechanism.PROCESS_ENDED), (Side.CLIENT, Mechanism.FIN)):
        ending = Ending(side, mechanism, Phase.AWAITING_HEADERS)
        asked = tell(
            turn(NOON, turn_id="01m7x2abcdefgh"),
            (0.0, m.ReaderJoined(1, "first", 0)),
            (0.0, m.AttemptStarted(1)),
            (0.1, m.Connected(1, "203.0.113.7:443", 0.08, False, "TLSv1.3")),
            (0.2, m.RequestSent(1, 812_000)),
        )
        if side is Side.CLIENT:
            tell(asked, (2.0, m.ReaderLeft(1, "cancelled", None, None, ending)))
        incident = examine(stored(end(asked, 2.0, ending)))
        assert "It was not reached." not in suspect(incident, "the provider").why, side


def close_says(mechanism: Mechanism, side: Side = Side.PATH) -> str:
    """What the report says of TCP's state CLOSE at such an ending of upstream's."""
    ending = Ending(side, mechanism, Phase.IN_TEXT, "", {"tcp_state": "CLOSE"})
    incident = examine(stored(end(tell(began(), (90.0, m.AttemptEnded(1, ending))), 90.0, ending)))
    return next(one.says for one in incident.seen if one.name == "TCP state")


def test_the_state_close_is_told_by_what_led_to_it() -> None:
    """A reset leads there, and so does a timeout; neither is said for the other."""
    assert close_says(Mechanism.RST, Side.PROVIDER) == "a RST had closed it by then"
    assert "given it up" in close_says(Mechanism.KEEPALIVE_UNANSWERED)
    assert close_says(Mechanism.FIN, Side.PROVIDER) == "it was closed by then: by a reset or a timeout"


def test_a_remedy_that_did_not_hold_healed_nothing() -> None:
    """The first break was asked again for; the second lost the turn."""
    record = tell(
        began(),
        (9.0, m.AttemptEnded(1, PROVIDER_RESET)),
        (9.0, m.Healed("again", "P.rst.text")),
        (9.1, m.AttemptStarted(2)),
        (20.0, m.AttemptEnded(2, PROVIDER_RESET)),
    )
    record.healed, record.breaks = "again", "P.rst.text+again!, P.rst.text!"
    also = examine(stored(end(record, 20.1, PROVIDER_RESET))).also
    assert len(also) == 1 and "; not healed (again)." in also[0]


def test_tokens_of_an_answer_that_broke_are_at_least_so_many() -> None:
    """A stream announces one at its start, and says how many only at its end."""
    record = tell(began(), (9.0, m.AttemptEnded(1, PROVIDER_RESET)))
    record.output_tokens = 1
    cost = {one.name: one.value for one in examine(stored(end(record, 9.1, PROVIDER_RESET))).cost}
    assert cost["generated"] == "at least 1 token; the answer broke before upstream said how many"


@pytest.mark.parametrize("agent", ["Python-urllib/3.11", "curl/8.5.0", "teapot/1.0", ""])
@pytest.mark.parametrize("silent_s", [9.2, 10.2])
def test_no_librarys_timer_is_likely_in_a_client_that_does_not_name_it(agent: str, silent_s: float) -> None:
    """A person's Ctrl-C after ten seconds is not OkHttp's limit, and no issue says so."""
    left = Ending(
        Side.CLIENT, Mechanism.FIN, Phase.IN_TEXT, "",
        {"since_request_s": 14.0, "since_byte_s": silent_s, "since_event_s": silent_s},
    )  # fmt: skip
    record = tell(began(), (14.0, m.ReaderLeft(1, "cancelled", "", None, left)))
    record.profile, record.agent = "unknown", agent
    timer = examine(stored(end(record, 14.1, left))).timer

    assert timer is not None and timer.grade is Grade.CANNOT_TELL and not timer.text.startswith("Suspected")


def test_the_limit_that_a_client_told_is_not_said_to_be_measured() -> None:
    """Of a client that nobody knows only its own word is known."""
    record = frozen(comes_back=False)
    record.profile = "unknown"
    timer = examine(stored(record)).timer
    assert timer is not None and "x-stainless-timeout" in timer.text and "as measured of" not in timer.text
    known = examine(stored(frozen())).timer
    assert known is not None and "as measured of that client" in known.text


def test_the_time_that_a_known_client_told_is_not_said_to_be_measured_either() -> None:
    """A program around a known library may have a timer of its own: only its word is known."""
    left = Ending(
        Side.CLIENT, Mechanism.RST, Phase.IN_TEXT, "", {"since_request_s": 10.0, "since_byte_s": 0.1}
    )
    record = tell(began(), (10.0, m.ReaderLeft(1, "gave_up", "told", 10.0, left)))
    record.profile = "anthropic-python 2.11.0"
    incident = examine(stored(end(record, 10.1, left)))
    assert incident.timer is not None and "as measured of" not in incident.timer.text
    assert "the client's own limit, 10.0 s: it told it" in incident.timer.text
    assert (
        incident.reason is not None
        and "the time of 10.0 s that it told with its request ran out" in incident.reason.text
    )
    (line,) = [one.text for one in story(record) if one.name == "ReaderLeft"]
    assert "gave up waiting at the 10.0 s that it told with its request" in line


def test_the_silence_before_a_close_is_without_our_own_hold() -> None:
    """The connection is held for 0.2 s after a FIN; upstream had been silent until the FIN."""
    closed = Ending(
        Side.PROVIDER, Mechanism.FIN, Phase.IN_TEXT, "", {"silence_s": 5.2, "half_closed_ms": 200.0}
    )
    incident = examine(stored(end(tell(began(), (9.0, m.AttemptEnded(1, closed))), 9.1, closed)))
    assert "after 5.00 s of silence" in incident.title


def test_the_silence_of_upstream_at_a_cancel_is_counted_from_its_last_byte() -> None:
    """Not from the moment at which the silence was noticed."""
    left = Ending(
        Side.CLIENT, Mechanism.FIN, Phase.IN_TEXT, "", ALIVE | {"silence_s": 11.0, "since_byte_s": 1.0}
    )
    record = tell(
        began(), (20.0, m.QuietNoticed("text")), (21.0, m.ReaderLeft(1, "cancelled", None, None, left))
    )
    record.keepalives = 1
    seen = {one.name: one.value for one in examine(stored(end(record, 21.0, left))).seen}
    assert seen["silence of upstream"] == "11.0 s"


def test_what_the_gateway_did_is_a_sentence() -> None:
    """Its detail is a clause, and stands behind a full stop."""
    ours = Ending(Side.GATEWAY, Mechanism.DOOMED, Phase.AWAITING_HEADERS, "it broke 3 times in a row")
    incident = examine(stored(end(tell(began(), (9.0, m.AttemptEnded(1, ours))), 9.1, ours)))
    assert suspect(incident, "this gateway").why == ("It broke 3 times in a row.",)
