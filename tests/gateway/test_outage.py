"""An upstream that cannot be reached: who tries, when, and who gives up. Times are given."""

from __future__ import annotations

import random
from collections.abc import Hashable

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway import outage as o
from holdfast.gateway.outage import GiveUp, Outage, Start, Wait

NO_NAME = Ending(Side.PATH, Mechanism.DNS, Phase.RESOLVING)
NO_ROUTE = Ending(Side.PATH, Mechanism.UNREACHABLE, Phase.CONNECTING)
MINUTE = 60.0


def outage(*, ever_answered: bool = True, patience_s: float = 15 * MINUTE) -> Outage:
    """An upstream that has been reached before; nothing is left to chance."""
    return Outage(patience_s=patience_s, connect_s=15.0, chance=lambda: 0.0, ever_answered=ever_answered)


def away(*turns: Hashable, at: float = 100.0) -> Outage:
    """Upstream was found away by the first of these turns; the others wait with it."""
    found = outage()
    found.ask(turns[0], at)
    found.failed(turns[0], NO_ROUTE, at)
    for turn in turns[1:]:
        assert isinstance(found.ask(turn, at), Wait)
    return found


# -- waiting or not ----------------------------------------------------------------------------------------


def test_what_was_never_reached_is_not_waited_for() -> None:
    """A typing error in a URL is told at once; every turn may find out for itself."""
    found = outage(ever_answered=False)
    for turn in ("a", "b"):
        assert found.ask(turn, 0.0) == Start(probe=False)
        assert found.failed(turn, NO_NAME, 0.1) == GiveUp(NO_NAME, "it has never been reached")
    assert found.next_at is None and repr(found) == "<Outage: upstream never reached, 0 trying, 0 waiting>"


def test_what_was_reached_before_is_waited_for() -> None:
    """The first connection that stands makes the difference, and the flight is told why it waits, once."""
    found = outage(ever_answered=False)
    found.ask("a", 0.0)
    assert found.worked("a", 0.2) is None
    found.ask("b", 10.0)
    assert found.failed("b", NO_NAME, 10.5) == Wait("its name is not resolved", first=True)
    assert found.absent_since == 10.0
    assert found.ask("b", 10.6) == Wait("its name is not resolved", first=False)


@pytest.mark.parametrize(
    ("side", "mechanism", "phase", "evidence", "waits"),
    [
        (Side.PATH, Mechanism.DNS, Phase.RESOLVING, {}, True),
        (Side.GATEWAY, Mechanism.DEADLINE, Phase.CONNECTING, {}, True),
        (Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.CONNECTING, {}, True),
        (Side.PROVIDER, Mechanism.REFUSED, Phase.CONNECTING, {}, True),
        (Side.PROVIDER, Mechanism.RST, Phase.TLS, {}, True),
        (Side.PROVIDER, Mechanism.TLS, Phase.TLS, {}, True),
        (Side.PATH, Mechanism.PROXY, Phase.CONNECTING, {"status": 503}, True),
        (Side.PATH, Mechanism.PROXY, Phase.CONNECTING, {"status": 407}, False),
        (Side.MACHINE, Mechanism.PROXY, Phase.CONNECTING, {}, False),
        (Side.MACHINE, Mechanism.LOCAL_ERROR, Phase.CONNECTING, {}, False),
    ],
)
def test_only_what_may_pass_is_waited_for(
    side: Side, mechanism: Mechanism, phase: Phase, evidence: dict[str, object], waits: bool
) -> None:
    """A wrong password at the proxy, or too many open files, is no outage."""
    ending = Ending(side, mechanism, phase, "", evidence)  # type: ignore[arg-type]
    found = outage()
    found.ask("a", 0.0)
    assert isinstance(found.failed("a", ending, 1.0), Wait if waits else GiveUp)
    assert (found.absent_since is not None) is waits


def test_an_attempt_that_may_have_sent_something_is_not_decided_here() -> None:
    """It may have cost a generation: that is the ledger's business."""
    with pytest.raises(ValueError, match="may have sent"):
        outage().failed("a", Ending(Side.PROVIDER, Mechanism.RST, Phase.AWAITING_HEADERS), 1.0)


def test_a_turn_waits_as_long_as_its_own_patience() -> None:
    """What comes in the fourteenth minute is not given up in the fifteenth; the error is of the last probe."""
    found = away("early", at=0.0)
    now = 0.0
    given_up: dict[Hashable, float] = {}
    while found.next_at is not None and now < 40 * MINUTE:
        now = found.next_at
        for turn, what in found.due(now):
            if isinstance(what, Start):
                verdict = found.failed(turn, NO_NAME, now)
                what = verdict if isinstance(verdict, GiveUp) else what
            if isinstance(what, GiveUp):
                given_up[turn] = now
                assert what == GiveUp(NO_NAME, "it could not be reached for 15 minutes")
        if now > 14 * MINUTE and "late" not in given_up:
            found.ask("late", now)
    assert given_up["early"] == pytest.approx(15 * MINUTE, abs=2)
    assert given_up["late"] == pytest.approx(29 * MINUTE, abs=4)


def test_without_patience_nobody_waits() -> None:
    """`--outage-patience 0`."""
    found = outage(patience_s=0.0)
    found.ask("a", 0.0)
    assert found.failed("a", NO_ROUTE, 1.0) == GiveUp(NO_ROUTE, "it could not be reached")
    assert found.ask("b", 1.0) == Start(probe=False)


# -- who tries ---------------------------------------------------------------------------------------------


def test_one_tries_for_all_more_and_more_seldom_but_every_two_seconds() -> None:
    """Failures at once: probes 0.25, 0.5, 1, 2, 2 s after the one before."""
    found = away("a", "b", "c", at=100.0)
    now, starts = 100.0, []
    for _ in range(6):
        assert found.next_at is not None
        now = found.next_at
        [(turn, what)] = found.due(now)
        assert what == Start(probe=True)
        assert found.due(now) == []
        starts.append((turn, now))
        found.failed(turn, NO_ROUTE, now)
    assert [at for _, at in starts] == [100.25, 100.75, 101.75, 103.75, 105.75, 107.75]
    assert [turn for turn, _ in starts] == ["a", "b", "c", "a", "b", "c"]


def test_a_probe_that_hung_is_followed_by_another_at_once() -> None:
    """Fifteen seconds in a black hole were pause enough: some attempt always starts within two seconds."""
    found = away("a", at=0.0)
    assert found.due(0.25) == [("a", Start(probe=True))]
    found.failed("a", NO_ROUTE, 15.25)
    assert found.next_at == 15.25 and found.due(15.25) == [("a", Start(probe=True))]


def test_chance_makes_waits_shorter_never_longer() -> None:
    """Two gateways that lost the same network do not knock in step."""
    found = Outage(patience_s=900, connect_s=15, chance=lambda: 1.0, ever_answered=True)
    found.ask("a", 0.0)
    found.failed("a", NO_ROUTE, 0.0)
    assert found.next_at == o.BACK_OFF_S * (1 - o.JITTER)


def test_a_probe_that_hangs_is_waited_for() -> None:
    """While it is under way nobody else tries; of one that is never reported we do not hear for ever."""
    found = away("a", "b", at=0.0)
    assert found.due(0.25) == [("a", Start(probe=True))]
    assert found.due(10.0) == [] and found.next_at == 0.25 + 15 + o.PROBE_GRACE_S
    assert found.due(0.25 + 15 + o.PROBE_GRACE_S) == [("b", Start(probe=True))]


def test_a_turn_that_leaves_takes_nothing_with_it() -> None:
    """The probe's client hung up: the next in the row tries."""
    found = away("a", "b", "c", at=0.0)
    assert found.due(0.25) == [("a", Start(probe=True))]
    found.leave("a")
    assert found.next_at == 0.5
    assert found.due(0.5) == [("b", Start(probe=True))]


def test_a_report_of_a_turn_that_has_left_is_not_counted() -> None:
    """It was over, and its dial had not heard of that: it does not wait again."""
    found = outage()
    found.ask("a", 0.0)
    found.leave("a")
    assert found.failed("a", NO_ROUTE, 1.0) == GiveUp(NO_ROUTE, "nobody waits for it any more")
    assert found.absent_since is None and found.next_at is None


def test_a_late_comer_finds_out_for_itself_when_nobody_else_tried() -> None:
    """An outage that nobody waited for any more is not believed without a try."""
    found = away("a", at=0.0)
    found.leave("a")
    assert found.next_at is None
    found.ask("b", 3600.0)
    assert found.due(3600.0) == [("b", Start(probe=True))]


# -- the return --------------------------------------------------------------------------------------------


def test_all_start_when_one_got_through() -> None:
    """In the order of their coming, 20 ms apart; each learns how long it waited once its own connection stands."""
    found = away("a", "b", "c", at=0.0)
    [(probe, _)] = found.due(0.25)
    assert probe == "a" and found.worked("a", 0.4) == 0.4
    assert found.absent_since is None and found.why == ""
    assert found.due(0.4) == [("b", Start(probe=False))]
    assert found.next_at == pytest.approx(0.42)
    assert found.due(0.4201) == [("c", Start(probe=False))]
    assert found.next_at is None
    assert found.worked("b", 0.5) == 0.5
    assert found.worked("c", 0.5) == 0.5


def test_a_thousand_turns_start_within_a_second() -> None:
    """And of a thousand that fail at the same moment, one tries again."""
    found = outage()
    turns = [f"turn {n}" for n in range(1000)]
    for turn in turns:
        found.ask(turn, 0.0)
    for turn in turns:
        found.failed(turn, NO_ROUTE, 1.0)
    assert [what for _, what in found.due(1.25)] == [Start(probe=True)]
    found.worked("turn 0", 1.5)
    started = [turn for step in range(101) for turn, _ in found.due(1.5 + step / 100)]
    assert started == turns[1:]
    assert len(found.due(2.5)) == 0


def test_who_comes_while_the_row_starts_need_not_stand_in_it() -> None:
    """Upstream is there."""
    found = away("a", "b", at=0.0)
    found.due(0.25)
    found.worked("a", 0.4)
    assert found.ask("new", 0.4) == Start(probe=False)


def test_a_failure_that_began_before_the_last_success_is_no_news() -> None:
    """Ten seconds in a black hole, while others connect: that one tries again, and nobody else waits."""
    found = outage()
    found.ask("slow", 0.0)
    found.ask("quick", 9.0)
    found.worked("quick", 9.1)
    assert isinstance(found.failed("slow", NO_ROUTE, 15.0), Wait)
    assert found.absent_since is None
    assert found.ask("other", 15.0) == Start(probe=False)
    assert found.due(15.0) == []
    assert found.due(15.25) == [("slow", Start(probe=False))]


def test_a_network_that_goes_again_stops_the_row() -> None:
    """Whoever has not started waits on, with the patience that is left."""
    found = away("a", "b", "c", "d", at=0.0)
    found.due(0.25)
    found.worked("a", 0.4)
    [(first, _)] = found.due(0.4)
    found.failed(first, NO_ROUTE, 0.405)
    assert found.due(0.5) == []
    assert found.next_at == pytest.approx(0.65)
    assert [what for _, what in found.due(0.66)] == [Start(probe=True)]


# -- a change of the network -------------------------------------------------------------------------------


def test_a_change_of_the_network_is_tried_at_once() -> None:
    """Nobody waits for the two seconds to pass, and the back-off begins anew."""
    found = away("a", at=0.0)
    now = 0.0
    for _ in range(6):
        now = found.next_at or 0.0
        found.due(now)
        found.failed("a", NO_ROUTE, now)
    found.changed(now + 0.1)
    assert found.due(now + 0.1) == [("a", Start(probe=True))]
    found.failed("a", NO_ROUTE, now + 0.1)
    assert found.next_at == pytest.approx(now + 0.1 + o.BACK_OFF_S)


def test_a_probe_from_before_the_change_begins_anew() -> None:
    """It may hang in a resolver that is gone: its turn is named again, and its late report is not counted."""
    found = away("a", at=0.0)
    assert found.due(0.25) == [("a", Start(probe=True))]
    found.changed(8.0)
    assert found.due(8.0) == [("a", Start(probe=True))]
    found.changed(8.5)
    assert found.due(8.5) == [], "the second piece of the same news"


def test_a_change_while_upstream_is_there_changes_nothing() -> None:
    """There is nobody to wake."""
    found = outage()
    found.changed(5.0)
    assert found.due(5.0) == [] and found.ask("a", 5.0) == Start(probe=False)


# -- whatever happens --------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Turns come, leave, fail and succeed in any order; whoever drives does what it is told, in time or a bit late."""

    PATIENCE_S = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(1)
        self.outage = Outage(
            patience_s=self.PATIENCE_S, connect_s=15.0, chance=self.chance.random, ever_answered=True
        )
        self.now = 1000.0
        self.number = 0
        self.trying: dict[int, tuple[float, bool]] = {}
        self.waiting: dict[int, float] = {}
        self.probes: list[float] = []

    def carry_out(self) -> None:
        for turn, what in self.outage.due(self.now):
            assert isinstance(turn, int)
            if isinstance(what, GiveUp):
                assert turn not in self.trying
                assert self.now - self.waiting.pop(turn) >= self.PATIENCE_S - 1e-6
                continue
            self.trying.pop(turn, None)
            self.waiting.setdefault(turn, self.now)
            self.trying[turn] = (self.now, what.probe)
            if what.probe:
                self.probes.append(self.now)

    @rule()
    def comes(self) -> None:
        self.number += 1
        said = self.outage.ask(self.number, self.now)
        if isinstance(said, Start):
            self.trying[self.number] = (self.now, False)
        else:
            self.waiting[self.number] = self.now
        self.carry_out()

    @rule(pick=st.randoms(use_true_random=False), ending=st.sampled_from([NO_NAME, NO_ROUTE]))
    @precondition(lambda self: self.trying)
    def fails(self, pick: random.Random, ending: Ending) -> None:
        turn = pick.choice(sorted(self.trying))
        del self.trying[turn]
        said = self.outage.failed(turn, ending, self.now)
        if isinstance(said, GiveUp):
            assert self.now - self.waiting.pop(turn) >= self.PATIENCE_S - 1e-6
        else:
            assert said.first is (turn not in self.waiting)
            self.waiting.setdefault(turn, self.now)
        self.carry_out()

    @rule(pick=st.randoms(use_true_random=False))
    @precondition(lambda self: self.trying)
    def works(self, pick: random.Random) -> None:
        turn = pick.choice(sorted(self.trying))
        del self.trying[turn]
        waited = self.outage.worked(turn, self.now)
        since = self.waiting.pop(turn, None)
        assert waited == (None if since is None else self.now - since)
        self.carry_out()

    @rule(pick=st.randoms(use_true_random=False))
    @precondition(lambda self: self.trying or self.waiting)
    def leaves(self, pick: random.Random) -> None:
        turn = pick.choice(sorted({*self.trying, *self.waiting}))
        self.trying.pop(turn, None)
        self.waiting.pop(turn, None)
        self.outage.leave(turn)
        self.carry_out()

    @rule()
    def network_changes(self) -> None:
        # A probe from before may finish, if its turn has no patience left to begin anew.
        for turn, (at, probe) in self.trying.items():
            self.trying[turn] = (at, probe and self.now - at < o.YOUNG_S)
        self.outage.changed(self.now)
        self.carry_out()

    @rule(seconds=st.floats(0.001, 20.0))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.outage.next_at is not None and self.outage.next_at <= until:
            self.now = max(self.now, self.outage.next_at)
            self.carry_out()
        self.now = until

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Whoever waits is woken: by the next probe, by its place in the row, or by the end of patience."""
        idle = set(self.waiting) - set(self.trying)
        if not idle:
            return
        assert self.outage.next_at is not None
        if self.outage.absent_since is not None and not any(probe for _, probe in self.trying.values()):
            assert self.outage.next_at <= self.now + o.LONGEST_BACK_OFF_S
        if self.outage.absent_since is None:
            assert self.outage.next_at <= self.now + max(o.SPREAD_S, o.BACK_OFF_S)

    @invariant()
    def one_tries_for_all(self) -> None:
        """While upstream is away, attempts start one at a time: a hanging one is joined by another after its time."""
        if self.outage.absent_since is None:
            return
        patient = [at for at, probe in self.trying.values() if probe and self.now - at < 15.0]
        assert len([at for at in patient if at >= self.outage.absent_since]) <= 1 + self.replaced(patient)

    def replaced(self, probes: list[float]) -> int:
        """Probes from an earlier absence, which a success of somebody else's ended, may still be under way."""
        return sum(at <= self.outage._worked_at for at in probes)

    @invariant()
    def patience_has_an_end(self) -> None:
        """Nobody is left waiting beyond it."""
        for turn in set(self.waiting) - set(self.trying):
            assert self.now - self.waiting[turn] < self.PATIENCE_S + 20.0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=150, stateful_step_count=60)
