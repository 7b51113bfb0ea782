"""Flights: the story of a turn, as a person reads it."""

from __future__ import annotations

import itertools

import pytest

from holdfast.flight import flights
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.flights import counted, percent, rate
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.reading import KINDS, StoredTurn, UnknownMoment
from tests.flight.telling import HUNG_UP, at, end, frozen_turn, short_turn, tell, turn


def texts(*moments: tuple[float, Moment]) -> list[str]:
    """The sentences of these moments."""
    return [line.text for line in flights.story(tell(turn(), *moments))][1:]


def test_a_freeze_is_told_so_that_one_sees_what_held() -> None:
    """The silence, where it was, and what the client heard meanwhile stand in one sentence."""
    lines = {round(line.at_s, 3): line.text for line in flights.story(frozen_turn())}
    assert lines[14.0] == "Upstream had been silent for 10.0 s inside tool_use Write."
    assert (
        lines[308.0]
        == "Upstream had been silent for 304 s inside tool_use Write; 30 keepalives held the client."
    )
    assert lines[310.6] == (
        "The client came back with the same request and took up this answer (connection 2); "
        "48 kB of the answer were there already."
    )


def test_a_client_that_leaves_is_told_with_its_limit_and_its_ending() -> None:
    """Why we think it left, and what was seen on the wire, are both said."""
    assert texts((310, m.ReaderLeft(1, "gave_up", "events", 300.0, HUNG_UP))) == [
        "The client gave up waiting at its events limit of 300 s (connection 1): the client reset the connection "
        "inside a tool call (C.rst.tool): [Errno 104] Connection reset by peer."
    ]


def test_nobody_is_said_to_be_held_when_nobody_is_there() -> None:
    """Keepalives to a reader that has left held nobody."""
    told = texts(
        (0, m.ReaderJoined(1, "first", 0)),
        (10, m.QuietNoticed("headers")),
        (15, m.ReaderLeft(1, "cancelled", None, None, HUNG_UP)),
        (20, m.QuietEnded(20.0, 1)),
        (30, m.QuietNoticed("text")),
        (40, m.QuietEnded(20.0, 0)),
    )
    assert (
        told[3] == "Upstream had been silent for 20.0 s before the headers; 1 keepalive went to the client."
    )
    assert told[4:] == [
        "Upstream had been silent for 10.0 s inside text.",
        "Upstream had been silent for 20.0 s inside text.",
    ]


def test_keepalives_are_told_only_where_they_were_sent() -> None:
    """A client that takes none (no streaming, no headers yet) is not said to have been given some."""
    told = texts(
        (0, m.ReaderJoined(1, "first", 0)), (10, m.QuietNoticed("headers")), (60, m.QuietEnded(60.0, 0))
    )
    assert told[1:] == [
        "Upstream had been silent for 10.0 s before the headers.",
        "Upstream had been silent for 60.0 s before the headers.",
    ]


def test_a_sleep_of_the_machine_is_an_event_of_its_own() -> None:
    """An hour with the lid closed is told, and the time since the start is not changed by it."""
    record = short_turn()
    record.moments[6:] = [
        (Instant(a.mono_s, a.wall_ms + 3_600_000), moment) for a, moment in record.moments[6:]
    ]
    lines = flights.story(record)
    [slept] = [line for line in lines if line.name == "Slept"]
    assert slept.text == "The machine slept for about 60m 00s before this, or its clock was set forward."
    assert lines[-1].at_s == pytest.approx(1.8)


def test_a_sleep_that_the_gateway_noted_is_not_told_twice() -> None:
    """Its own moment may come a few seconds after others that saw the clocks apart."""
    record = short_turn()
    asleep = [(Instant(a.mono_s, a.wall_ms + 3_600_000), moment) for a, moment in record.moments[6:]]
    noted = (Instant(asleep[0][0].mono_s + 0.01, asleep[0][0].wall_ms + 10), m.MachineSlept(3599.2))
    record.moments[6:] = [asleep[0], noted, *asleep[1:]]
    told = [line.text for line in flights.story(record) if "slept" in line.text]
    assert told == ["This machine slept for 59m 59s."]


def test_an_outage_is_told_with_its_reason_and_its_length() -> None:
    """Why the turn waited, what was heard of the network meanwhile, and how long it took."""
    assert texts(
        (1.0, m.NetworkGone("its name is not resolved")),
        (95.0, m.NetworkChanged("wlan0 is up, the default route by wlan0 is there")),
        (95.2, m.NetworkBack(94.2)),
    ) == [
        "Upstream was away (its name is not resolved): the turn waited for it.",
        "This machine's network changed: wlan0 is up, the default route by wlan0 is there.",
        "Upstream could be reached again after 94.2 s.",
    ]


def test_what_was_asked_again_and_what_was_not_is_told_with_its_reason() -> None:
    """When, what was different, and why no more."""
    assert texts(
        (9, m.AttemptPlanned(2, 0.0, "fresh connection", "retry 1 of 3")),
        (12, m.AttemptPlanned(3, 0.5, "another address", "retry 2 of 3")),
        (15, m.NotAskedAgain("its 3 retries are used up")),
    ) == [
        "Upstream is to be asked again at once, attempt 2, with a change: fresh connection (retry 1 of 3).",
        "Upstream is to be asked again in 0.50 s, attempt 3, with a change: another address (retry 2 of 3).",
        "Upstream was not asked again: its 3 retries are used up.",
    ]


def test_a_doomed_request_is_told_with_what_was_seen_and_how_sure_that_is() -> None:
    """The place and the chance of an accident; then what the client was answered instead."""
    assert texts(
        (60, m.RequestDoomed(3, "age", 60.2, None, 0.0004)),
        (60, m.RequestDoomed(4, "answer size", None, 1_048_576, 1e-9)),
        (60, m.RequestDoomed(4, "request size", 0.3, 6_200_000, 0.008)),
        (61, m.AnsweredLocally(403, "it has broken at the same age 3 times in a row")),
    ) == [
        "This request broke 3 times in a row at the same place, after 60.2 s; "
        "accidents would agree like this in at most 0.04% of such cases.",
        "This request broke 4 times in a row at the same place, after 1.0 MB of answer; "
        "accidents would agree like this in at most 0.01% of such cases.",
        "This request broke 4 times in a row while smaller ones than its 6.2 MB went through; "
        "accidents would agree like this in at most 0.80% of such cases.",
        "The gateway answered by itself with status 403: it has broken at the same age 3 times in a row.",
    ]


def test_what_the_socket_told_is_said_once_and_in_words() -> None:
    """A break is written down where it was met and again as the turn's end; a reader is spared the second time."""
    facts: dict[str, str | int | float | bool | None] = {
        "errno": 104, "so_error": 0, "tcp_state": "CLOSE", "rtt_ms": 23.0, "retransmits": 0, "probes": 0,
        "last_ack_recv_ms": 40, "unacked_bytes": 0, "silence_s": 304.2, "age_s": 310.0, "peer_closed": False,
        "slept_s": 7, "window": 7, "reused": None,
    }  # fmt: skip
    broke = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "[Errno 104] Connection reset by peer", facts)
    told = texts((310, m.AttemptEnded(1, broke)), (310, m.TurnEnded(broke)))
    assert told == [
        "Attempt 1 ended: upstream reset the connection inside text (P.rst.text): [Errno 104] Connection reset by "
        "peer [TCP state CLOSE, silent for 304 s, last acknowledgement 40 ms before, round trip 23 ms, "
        "connection 310 s old, slept_s 7].",
        "The turn was over, by what is told above (P.rst.text).",
    ]


def test_an_end_that_nothing_above_told_is_told_in_full() -> None:
    """The gateway's own end after a client had left is another fact than the leaving."""
    stopped = Ending(Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_TEXT, "nobody wants the answer any more")
    told = texts((4, m.ReaderLeft(1, "cancelled", None, None, HUNG_UP)), (6, m.TurnEnded(stopped)))
    assert told[-1] == (
        "The turn was over: the gateway ended it as asked inside text (G.cancel.text): "
        "nobody wants the answer any more."
    )


def test_an_outage_that_was_waited_out_is_noted_in_the_list() -> None:
    """Seven seconds more than usual have a reason, and it was not the provider's silence."""
    record = tell(turn(), (1, m.NetworkGone("it refuses connections")))
    assert flights.saved(record) == "upstream is away"
    tell(
        record,
        (8, m.NetworkBack(7.0)),
        (9, m.NetworkGone("it refuses connections")),
        (14, m.NetworkBack(5.0)),
    )
    assert flights.saved(end(record, 15)) == "12.0 s of outage waited out"
    assert flights.saved(end(tell(turn(), (1, m.NetworkGone("gone"))), 900, HUNG_UP)) == ""


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_moment_has_a_sentence(kind: type[Moment]) -> None:
    """No kind of moment is told by its bare name, and each sentence is one."""
    values = {"str": "word", "int": 3, "float": 4.5, "bool": True, "Ending": HUNG_UP}
    moment = kind(**{name: values[told.split(" ")[0]] for name, told in kind.__annotations__.items()})
    said = flights.sentence(moment)
    assert said[0].isupper() and said.endswith(".") and kind.__name__ not in said


def test_every_ending_has_a_sentence() -> None:
    """Any side, mechanism and phase can be said, with the code to look it up."""
    for side, mechanism, phase in itertools.product(Side, Mechanism, Phase):
        ending = Ending(side, mechanism, phase, evidence={"silence_s": 3.25, "unacked_bytes": None})
        said = flights.ending_sentence(ending)
        assert (
            said == "it ran to its proper end"
            if ending.completed
            else f"({ending.code}) [silent for 3.25 s]" in said
        )


def test_hostile_names_have_no_power() -> None:
    """A tool name with escape sequences, from a model or another version, is shown as escapes."""
    told = texts(
        (1, m.BlockOpened(0, "tool_use", "\x1b]0;owned\x07")), (2, UnknownMoment("\x9bx", {"a": "\x1b"}))
    )
    assert told[0] == r"The model began a tool call, \x1b]0;owned\x07 (block 0)."
    assert "\x1b" not in told[1] and "\x9b" not in told[1]


def test_one_line_says_how_it_ended() -> None:
    """Done, running, finished but unheard, interrupted, a code; with the status where it is not 200."""
    running = turn()
    assert flights.outcome(running) == "running"
    finished = tell(turn(), (9, m.AnswerFinished("end_turn", 7)))
    assert flights.outcome(finished) == "waiting for its client"
    assert flights.outcome(short_turn()) == "done"
    assert flights.outcome(end(turn(), 3, HUNG_UP)) == "C.rst.tool"
    killed = end(turn(), 3, Ending(Side.MACHINE, Mechanism.PROCESS_ENDED, Phase.IN_TEXT))
    killed.status = 529
    assert flights.outcome(killed) == "529 interrupted M.died.text"
    assert flights.took_s(running) is None and flights.took_s(running, at(12)) == 12


def test_how_long_a_killed_turn_took_is_not_known() -> None:
    """Only the last sign of life is on record: the turn took at least as long, and no number is made of that."""
    killed = end(turn(), 3, Ending(Side.MACHINE, Mechanism.PROCESS_ENDED, Phase.IN_TEXT))
    stored = StoredTurn(killed, "i", "M.died.text", None)

    assert flights.took_s(killed, at(12)) is None
    assert flights.as_json(stored)["took_s"] is None
    assert flights.summary(killed).startswith("interrupted M.died.text after at least 3.00 s, ")


def test_the_summary_of_a_saved_turn() -> None:
    """What Holdfast did is said in few words."""
    assert flights.summary(frozen_turn()) == (
        "done after 330 s, 2 attempts upstream, 2 client connections, 91 kB of answer, 30 keepalives, "
        "longest quiet 304 s, saved from silence past 300 s, 1 not generated again"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0421, "42 ms"),
        (1.8, "1.80 s"),
        (12.34, "12.3 s"),
        (304, "304 s"),
        (964, "16m 04s"),
        (7500, "2h 05m"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    """Short ones finely, long ones roughly."""
    assert flights.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 byte"), (3_100, "3.1 kB"), (48_211, "48 kB"), (2_500_000, "2.5 MB")],
)
def test_sizes_read_as_a_person_says_them(count: int, text: str) -> None:
    """Decimal units."""
    assert flights.size(count) == text


def test_a_silence_is_told_from_its_beginning_where_its_end_or_its_break_tells_it() -> None:
    """It is noticed at the first keepalive; until something ends it, only that it is there is known."""
    reset = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "", {"silence_s": 12.0})
    assert texts((10, m.QuietNoticed("text")))[0] == "Upstream fell silent inside text."
    told = texts((10, m.QuietNoticed("text")), (14, m.AttemptEnded(1, reset)))
    assert told[0] == "Upstream had been silent for 8.00 s inside text."


def test_who_took_over_is_told_by_what_took_over() -> None:
    """Of two attempts the one that spoke first; of two connections the client's later one."""
    why = "the second attempt spoke first"
    hedge = Ending(Side.GATEWAY, Mechanism.SUPERSEDED, Phase.AWAITING_HEADERS, why)
    reader = Ending(Side.GATEWAY, Mechanism.SUPERSEDED, Phase.IN_TEXT)
    assert texts((1, m.AttemptEnded(1, hedge)), (2, m.ReaderLeft(1, "superseded", None, None, reader))) == [
        f"Attempt 1 ended: {why} before upstream's headers came (G.taken.headers).",
        "The client came back on another connection (connection 1) inside text (G.taken.text).",
    ]


def test_what_a_deed_says_is_not_said_again_as_its_place() -> None:
    """A failed handshake was during the handshake."""
    said = flights.ending_sentence(Ending(Side.PROVIDER, Mechanism.TLS, Phase.TLS))
    assert said == "upstream failed the TLS handshake (P.tls.tls)"


def test_our_own_hold_after_a_fin_is_no_silence_of_upstreams() -> None:
    """The connection is held open for a moment, to see whether a reset follows."""
    facts: dict[str, str | int | float | bool | None] = {"silence_s": 5.2, "half_closed_ms": 200.0}
    said = flights.ending_sentence(Ending(Side.PROVIDER, Mechanism.FIN, Phase.IN_TEXT, "", facts))
    assert "silent for 5.00 s" in said


def test_an_upstream_that_never_spoke_was_waited_for_all_the_time() -> None:
    """No silence between two words is no short silence."""
    record = tell(turn(), (0.5, m.AttemptStarted(1)), (1.0, m.RequestSent(1, 10)))
    record.keepalives = 2
    late = Ending(Side.GATEWAY, Mechanism.DEADLINE, Phase.AWAITING_HEADERS)
    assert "longest quiet 29.5 s" in flights.summary(end(record, 30.0, late))


def test_a_turn_whose_last_break_was_not_mended_is_not_healed() -> None:
    """The record marks such a break by an exclamation mark."""
    record = short_turn()
    record.healed, record.breaks = "again", "P.rst.text+again, P.cut.text!"
    assert flights.saved(record).startswith("not healed (")


def test_a_running_silence_is_told_with_its_length() -> None:
    """It is noticed after the interval of keepalives, and did not begin then."""
    record = tell(turn(), (10.0, m.QuietNoticed("text", None, 9.99)))
    assert flights.story(record)[-1].text == "Upstream had been silent for 9.99 s inside text."


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, "0%"), (0.000_01, "0.01%"), (0.0047, "0.47%"), (0.005, "0.50%"), (0.009_96, "1.0%"), (0.027, "2.7%"),
     (0.0997, "10%"), (0.12, "12%"), (1.0, "100%")],
)  # fmt: skip
def test_a_share_has_the_decimals_that_its_size_asks_for(share: float, told: str) -> None:
    """One rule for sentences and columns: 0.50% stands beside 0.47%, and neither has more digits than it is known to."""
    assert percent(share) == told


@pytest.mark.parametrize(
    ("per_1000", "told"),
    [(0.0, "0"), (0.466, "0.47"), (0.996, "1.0"), (52.6, "52.6"), (99.97, "100"), (1204.3, "1,204")],
)
def test_a_rate_has_the_decimals_that_its_size_asks_for(per_1000: float, told: str) -> None:
    """A rate per thousand: three digits at most, but for the largest."""
    assert rate(per_1000) == told


def test_large_counts_have_their_thousands_apart() -> None:
    """Wherever something is counted."""
    assert (counted(1, "byte"), counted(2000, "address")) == ("1 byte", "2,000 addresses")
    assert (counted(1, "try"), counted(3, "try"), counted(2, "day")) == ("1 try", "3 tries", "2 days")
