"""What to do now: only what can help, and what is not done already."""

from __future__ import annotations

from dataclasses import replace

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.record import TurnRecord
from holdfast.report.incident import examine
from tests.flight.telling import end, tell, turn
from tests.report.turns import GAVE_UP, PROVIDER_RESET, began, frozen, outage, refused, stored

DOOM = "it broke 3 times in a row at the same age, 60.0 to 60.2 s (P.rst.tool)"


def broken(*moments: m.Moment, ending: Ending = PROVIDER_RESET) -> TurnRecord:
    """Upstream ends it after a minute, and these are noted then."""
    record = tell(began(), (61.2, m.AttemptEnded(1, ending)), *((61.2, one) for one in moments))
    return end(record, 61.3, ending)


def advised(record: TurnRecord) -> str:
    """All that is advised, in one text."""
    return "\n".join(f"{one.text} {one.command}" for one in examine(stored(record)).advice)


def refused_here() -> TurnRecord:
    """A request that the gateway answers itself, because it is doomed."""
    why = Ending(Side.GATEWAY, Mechanism.DOOMED, Phase.AWAITING_HEADERS, DOOM)
    record = tell(turn(turn_id="01m7x2abcdefgh"), (0.0, m.AnsweredLocally(424, DOOM)))
    record.status, record.readers = 424, 1
    return end(record, 0.0, why)


def test_a_doomed_request_is_to_be_changed_and_not_repeated() -> None:
    """Whether it was answered here or just found out: smaller, compacted, later; never more retries."""
    found_out = broken(m.RequestDoomed(3, "age", 60.2, None, 0.01))
    for record in (refused_here(), found_out):
        said = advised(record)
        assert "--retries" not in said and "provider" not in said
        assert "same place each time" in said and "/compact" in said and "wait a minute" in said
        assert "--on-doomed compact" in said and "--on-doomed strip-images" in said
        assert "holdfast explain doomed" in said
        loop = examine(stored(record)).loop
        assert loop is not None and loop.text.startswith("Yes") and "3 times in a row" in loop.text


def test_who_was_not_asked_did_not_do_it() -> None:
    """A request that the gateway answered itself went to nobody: not to the provider, and over no network."""
    states = {one.who: one.state for one in examine(stored(refused_here())).suspects}
    assert states["the provider"] == states["loss of packets between gateway and upstream"] == "ruled out"
    assert states["this gateway"] == "did it"


def test_only_a_budget_that_is_used_up_is_helped_by_more_retries() -> None:
    """What was not asked again because nothing fits would not be asked again by a larger one either."""
    unfit = advised(
        broken(m.NotAskedAgain("nothing fits what this client has heard and is measured to accept"))
    )
    assert "--retries" not in unfit and "had heard too much" in unfit
    assert "holdfast run --retries 5 -- claude" in advised(
        broken(m.NotAskedAgain("its 3 retries are used up"))
    )
    assert "--retries" not in advised(broken())
    why = "what arrives is not HTTP, and it was not by accident"
    other = advised(broken(m.NotAskedAgain(why)))
    assert f"not asked again because {why}." in other and "yourself" not in other


def test_a_path_that_went_dark_is_probed_sooner_and_reported_to_nobody() -> None:
    """The provider closed nothing; what forgets idle connections is on the way."""
    for mechanism in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED):
        said = advised(broken(ending=Ending(Side.PATH, mechanism, Phase.IN_TEXT)))
        assert "--tcp-keepalive 10/5/4" in said and "NAT" in said and "VPN" in said
        assert "Report it" not in said and "--retries" not in said


def test_a_request_without_streaming_is_not_advised_to_be_held() -> None:
    """There is no place for a keepalive in one whole answer."""
    left = replace(GAVE_UP, phase=Phase.IN_BODY)
    record = end(tell(began(), (60.0, m.ReaderLeft(1, "gave_up", "total", 60.0, left))), 60.0, left)
    said = advised(record)
    assert "--keepalive" not in said and "own limit on a whole request" in said
    assert "--keepalive" in advised(frozen(comes_back=False))


def test_a_keepalive_that_was_in_force_is_not_advised() -> None:
    """The flight shows that the client was held, and that tool arguments were asked for as they are written."""
    record = frozen(comes_back=False)
    record.keepalives = 30
    tell(record, (0.0, m.RequestEdited("unbuffer")))
    assert "--keepalive" not in advised(record) and "--unbuffer" not in advised(record)


def test_ids_are_sent_to_the_provider_only_where_there_are_any() -> None:
    """A report without an id is one that nobody can look up."""
    assert "request ids above" in advised(broken())
    nameless = end(
        tell(
            turn(turn_id="01m7x2abcdefgh"),
            (0.0, m.AttemptStarted(1)),
            (9.0, m.AttemptEnded(1, PROVIDER_RESET)),
        ),
        9.0,
        PROVIDER_RESET,
    )
    assert "Report it" not in advised(nameless)


def test_the_command_line_is_that_of_the_turns_client() -> None:
    """Claude Code is started by `run`; whoever else asks the gateway is served by `serve`."""
    record = outage()
    assert "holdfast run --outage-patience 30m -- claude" in advised(record)
    record.profile, record.agent = "unknown", "my-program/1.0"
    assert "holdfast serve --outage-patience 30m" in advised(record)


def test_commands_name_the_upstream_that_the_turn_had() -> None:
    """And leave it out where it is the usual one, or no plain origin."""
    record = refused()
    record.upstream = "http://127.0.0.1:18801"
    found = [one.command for one in examine(stored(record)).advice]
    assert "holdfast run --upstream http://127.0.0.1:18801 --check -- claude" in found
    record.upstream = "https://api.anthropic.com"
    assert "holdfast run --check -- claude" in [one.command for one in examine(stored(record)).advice]
    record.upstream = "https://x.example; rm -rf"
    assert "holdfast run --check -- claude" in [one.command for one in examine(stored(record)).advice]


def test_what_is_in_force_is_not_advised() -> None:
    """A gateway that answered a doomed request with 400 has `--on-doomed compact` already."""
    record = tell(
        began(), (1, m.RequestDoomed(3, "age", 7.5, None, 0.008)), (1, m.AnsweredLocally(400, "doomed"))
    )
    record = end(record, 2, Ending(Side.GATEWAY, Mechanism.DOOMED, Phase.AWAITING_HEADERS))
    said = " ".join(one.command or "" for one in examine(stored(record)).advice)
    assert "--on-doomed compact" not in said and "strip-images" in said
