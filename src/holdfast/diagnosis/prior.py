"""Prior hypotheses: what a widely read hand-made report suspected, H1 to H8, each held against a home's own data.

That report's suspicions come back in most reports after it, so whoever comes with one of them finds it here by its number,
with what the data of this home says: supported, contradicted, or cannot be told here, and what would settle it. They
are not weighed as causes: `ours` names the causes that are (`holdfast explain NAME`), and where one of those is claimed,
the suspicion is supported. Elsewhere failures are compared with the answered requests of the same home: a mark that
failures bear no more often than answers do has not brought them about.
Failures that telemetry alone tells are in no such comparison (`Case.compared`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.diagnosis.case import Answer, Case, Failure, Trip
from holdfast.diagnosis.clock import ahead_ms
from holdfast.diagnosis.diagnosis import Diagnosis, local_day
from holdfast.diagnosis.hypotheses._alike import by_burst
from holdfast.diagnosis.hypotheses._away import face
from holdfast.diagnosis.hypotheses.client_version import beside_newer, release, suspect, used_by_day
from holdfast.diagnosis.intervals import ratio
from holdfast.diagnosis.tables import DAY_MS, HOUR_MS
from holdfast.diagnosis.trips import SOURCE as FLIGHTS
from holdfast.flight.flights import counted, percent
from holdfast.sessions.environment import ANOTHERS, Environment

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "cannot be told here"

TWICE = 2.0
"How much more often requests that bear a mark have to fail than others do, for it to be worth a suspicion."
ENOUGH, ENOUGH_ANSWERS = 10, 50
"Failures and answers, at least, to compare."
TOO_COMMON = 0.9
"Of a mark that nearly all answers bear nothing can be told by comparing."
FEW = 0.2
"What explains fewer failures than this is not the cause of them."
YOUNG_S, OLD_S = 10.0, 60.0
"Too early for a budget of minutes; and the shortest silence that a NAT is known to forget a connection after."
VERY_LARGE = 100_000
"Tokens of a prompt: half of what the usual models take. The largest of small prompts are no very large ones."
LARGE_TIER = 200_000
"Prompts beyond so many tokens are answered by the large context tier alone."
OVERNIGHT_S = 1800.0
RUN_PAUSE_MS, DEEP_MS = 5 * 60_000, 30 * 60_000
"Work without so long a pause is one run; so far into it, it is a long one."
PEAK_HOURS = range(18, 24)
FLAP_MS = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """One suspicion, held against the data."""

    key: str
    "`H1` to `H7`, `H8a` to `H8g`."
    suspects: str
    "What it says, as a sentence without a full stop."
    verdict: str
    "`supported`, `contradicted` or `cannot be told here`."
    why: str
    "The sentence that decides, or why nothing does."
    pro: tuple[str, ...]
    con: tuple[str, ...]
    settle: str
    ours: tuple[str, ...]
    "The causes that it is weighed as, if at all."


@dataclass(frozen=True, slots=True)
class Prior:
    """One suspicion."""

    key: str
    suspects: str
    ours: tuple[str, ...]
    settle: str
    test: Callable[[_Data], _Told]


@dataclass(frozen=True, slots=True)
class _Told:
    verdict: str
    why: str
    pro: tuple[str, ...] = ()
    con: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Data:
    """What a suspicion is held against."""

    diagnosis: Diagnosis
    environment: Environment | None

    @property
    def case(self) -> Case:
        return self.diagnosis.case

    def claimed(self, *names: str) -> str | None:
        """What the diagnosis claims of these causes, as a sentence; only what cannot be told from others than these."""
        for finding in self.diagnosis.findings:
            if {finding.hypothesis, *finding.rivals} <= set(names):
                of = self.diagnosis.failures
                said = (
                    f"{finding.title}: {len(finding.explains)} of {counted(of, 'failure')}, {finding.grade}"
                )
                return f"{said} ({finding.hypothesis})."
        return None

    def alike(self, *names: str) -> str | None:
        """The same, where the claim may as well be another cause's."""
        for finding in self.diagnosis.findings:
            found = {finding.hypothesis, *finding.rivals}
            if found & set(names) and not found <= set(names):
                listed = " or ".join((finding.hypothesis, *finding.rivals))
                return f"{counted(len(finding.explains), 'failure')} may be its own, and cannot be told apart: {listed}."
        return None


def held(diagnosis: Diagnosis, environment: Environment | None = None) -> list[Held]:
    """Every prior hypothesis with its verdict; none where nothing failed."""
    if not diagnosis.failures:
        return []
    data = _Data(diagnosis, environment)
    found = []
    for one in PRIORS:
        told = one.test(data)
        found.append(
            Held(one.key, one.suspects, told.verdict, told.why, told.pro, told.con, one.settle, one.ours)
        )
    return found


# ----- comparing failures with answers


@dataclass(frozen=True, slots=True)
class _Share:
    """How often failures bear a mark, and how often answers do."""

    verdict: str
    text: str
    "With its numbers."
    usual: float = 0.0
    "The share of answers that bear the mark."


def _compared(
    data: _Data,
    what: str,
    failed: Callable[[Failure], bool | None],
    answered: Callable[[Answer], bool | None],
) -> _Share:
    """Whether requests that bear a mark fail twice as often as others. `what` is the mark, as in `n came after ...`.

    None of a failure or an answer is not known.
    """
    marks = [(one, mark) for one in data.case.compared.failures if (mark := failed(one)) is not None]
    usual = [mark for one in data.case.answers if (mark := answered(one)) is not None]
    hits = sum(mark for _, mark in marks)
    if len(marks) < ENOUGH or len(usual) < ENOUGH_ANSWERS:
        return _Share(
            OPEN,
            f"Too little is known to compare: {counted(len(marks), 'failure')} and {counted(len(usual), 'answer')}."
            f"{_apart(data)}",
        )
    expected = sum(usual) / len(usual)
    if expected > TOO_COMMON:
        return _Share(
            OPEN, f"{percent(expected)} of the answered requests {what}: too common here to tell anything."
        )
    if not hits and not expected:
        said = f"None of {counted(len(marks), 'failure')} {what}, and no answered request did."
    else:
        usually = percent(expected) if expected else "none"
        said = (
            f"{hits} of {counted(len(marks), 'failure')} {what} ({percent(hits / len(marks))}), and {usually} of the "
            "answered requests did."
        )
    low, high = _range(data, marks)
    # the share that failures would have if requests with the mark failed twice as often as those without
    twice = TWICE * expected / (1 + (TWICE - 1) * expected)
    if hits and low > twice:
        return _Share(SUPPORTED, said, expected)
    if high < twice or (hits <= expected * len(marks) and high < FEW):
        return _Share(CONTRADICTED, said, expected)
    return _Share(OPEN, f"{said} That decides nothing yet.")


def _apart(data: _Data) -> str:
    """What was left out of a comparison, as a sentence behind another; empty where nothing was."""
    apart = len(data.case.failures) - len(data.case.compared.failures)
    return f" {counted(apart, 'failure')} that telemetry alone tells may not be compared." if apart else ""


def _range(data: _Data, marks: Sequence[tuple[Failure, bool]]) -> tuple[float, float]:
    """Where the share of failures that bear a mark may well lie.

    By resampled days; of a mark that none bears, by the bursts that failures came in: what fails within a minute is one
    chance to bear it.
    """
    days: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one, mark in marks:
        day = days[local_day(one.at_ms, data.diagnosis.offsets)]
        day[0] += mark
        day[1] += 1
    within = ratio([(part, whole) for part, whole in days.values()])
    if within is not None:
        return within.low, within.high
    if any(mark for _, mark in marks):
        return 0.0, 1.0
    of = {one.id for one, _ in marks}
    bursts = {
        burst for one, burst in zip(data.case.failures, by_burst(data.case), strict=True) if one.id in of
    }
    return 0.0, 1 - 0.05 ** (1 / max(len(bursts), 1))


def _few(data: _Data, marks: Sequence[tuple[Failure, bool]]) -> bool:
    """Whether so few failures bear a mark that it cannot be the cause of them."""
    return len(marks) >= ENOUGH and _range(data, marks)[1] < FEW


def _decided(share: _Share) -> _Told:
    if share.verdict == SUPPORTED:
        return _Told(SUPPORTED, share.text, pro=(share.text,))
    if share.verdict == CONTRADICTED:
        return _Told(CONTRADICTED, share.text, con=(share.text,))
    return _Told(OPEN, share.text)


def _with_claim(claim: str | None, share: _Share) -> _Told:
    """What the diagnosis claims goes before a comparison of its own."""
    if claim is None:
        return _decided(share)
    return _Told(SUPPORTED, claim, pro=(claim, *([share.text] if share.verdict == SUPPORTED else [])))


# ----- the tests


def _tenth(data: _Data) -> int:
    """From how many tokens on a prompt is of the largest tenth of those answered."""
    sizes = sorted(one.context_tokens for one in data.case.answers)
    return sizes[(9 * len(sizes)) // 10] if sizes else 0


def _largest_tenth(data: _Data) -> _Share:
    cut = _tenth(data)
    return _compared(
        data,
        f"had a prompt of {cut:,} tokens or more",
        lambda one: None if one.context_tokens is None or one.statuses else one.context_tokens >= cut,
        lambda one: one.context_tokens >= cut,
    )


def _first_ages(case: Case) -> list[tuple[Failure, float]]:
    """Of each failure the age of its first try, where that is known and no status answered it."""
    return [
        (one, one.tries[0].age_s)
        for one in case.failures
        if one.tries and one.tries[0].age_s is not None and one.tries[0].status is None
    ]


def _long_and_large(data: _Data) -> _Told:
    """A limit of minutes. That large prompts fail more often is no such limit, and no more than half of what it says."""
    claim = data.claimed("fixed-limit", "silence-limit", "edge-timeout")
    size, ages = _largest_tenth(data), _first_ages(data.case)
    young = sum(age < YOUNG_S for _, age in ages)
    early = (
        f"{young} of {counted(len(ages), 'failure')} came within {YOUNG_S:.0f} s of being asked: too early for a limit of "
        "minutes."
    )
    if claim is not None:
        con = [size.text] if size.verdict == CONTRADICTED else []
        return _Told(SUPPORTED, claim, pro=(claim,), con=tuple(con))
    alike = data.alike("fixed-limit", "silence-limit", "edge-timeout")
    if alike is not None:
        return _Told(OPEN, alike, con=(size.text,) if size.verdict == CONTRADICTED else ())
    con = [size.text] if size.verdict == CONTRADICTED else []
    con += [early] if young else []
    if _few(data, [(one, age >= OLD_S) for one, age in ages]):
        old = sum(age >= OLD_S for _, age in ages)
        late = (
            f"{old} of {counted(len(ages), 'failure')} broke after a minute or more, and an answer that breaks sooner is no "
            "long one."
        )
        return _Told(CONTRADICTED, early if 2 * young > len(ages) else late, con=(late, *con))
    large = data.claimed("large-request")
    if large is not None:
        return _Told(
            OPEN, f"{large} Whether an answer had begun, and was long, nothing shows.", con=tuple(con)
        )
    if size.verdict == CONTRADICTED and len(ages) >= ENOUGH:
        none = "No age comes again and again, as a budget would have it."
        return _Told(CONTRADICTED, size.text, con=(*con, none))
    return _Told(OPEN, size.text, con=tuple(con))


def _forgetting_box(data: _Data) -> _Told:
    claim, alike = data.claimed("nat-timeout"), data.alike("nat-timeout")
    if claim is not None:
        return _Told(SUPPORTED, claim, pro=(claim,))
    if alike is not None:
        return _Told(OPEN, alike)
    kept = data.claimed("idle-socket")
    if kept is not None:
        return _Told(OPEN, f"{kept} Who closed them, an edge or a box that forgets, is not in the logs.")
    ages = _first_ages(data.case)
    old = sum(age >= OLD_S for _, age in ages)
    said = f"{old} of {counted(len(ages), 'failure')} broke after a minute or more, and such a box forgets no sooner."
    away = sum(
        len(one.explains) for one in data.diagnosis.findings if one.hypothesis in ("local-link", "link-flap")
    )
    con = [said] + (
        [f"{counted(away, 'failure')} came while this machine had no network: that is no box that forgets."]
        if away
        else []
    )
    if _few(data, [(one, age >= OLD_S) for one, age in ages]):
        return _Told(CONTRADICTED, said, con=tuple(con))
    return _Told(OPEN, said if ages else "The age of no failure is known.", con=tuple(con[1:]))


def _line_away(data: _Data) -> _Told:
    claim = data.claimed("isp-outage")
    if claim is not None:
        return _Told(SUPPORTED, claim, pro=(claim,))
    alike = data.alike("isp-outage")
    if alike is not None:
        return _Told(OPEN, alike)
    offsets = data.diagnosis.offsets

    def peak(at_ms: int) -> bool:
        return (at_ms + ahead_ms(at_ms, offsets)) % DAY_MS // HOUR_MS in PEAK_HOURS

    hours = _compared(
        data,
        f"came from {PEAK_HOURS.start} to {PEAK_HOURS.stop} o'clock",
        lambda one: peak(one.at_ms),
        lambda one: peak(one.at_ms),
    )
    con = (hours.text,) if hours.verdict == CONTRADICTED and hours.usual else ()
    spans = [one for one in data.case.outages if face(one) == "beyond"]
    covered = [one for one in data.case.failures if data.case.watched_at(one.at_ms)]
    marks = [
        (one, any(span.holds(at, slack_ms=30_000) for span in spans for at in one.times_ms))
        for one in covered
    ]
    hits = sum(mark for _, mark in marks)
    if _few(data, marks):
        said = (
            f"{hits} of {counted(len(marks), 'failure')} that the desktop app's log covers came while the line beyond "
            "the router was away."
        )
        return _Told(CONTRADICTED, said, con=(said, *con))
    return _Told(
        OPEN, _undecided("the line beyond the router was away", "The desktop app's log", hits, marks), con=con
    )


def _undecided(when: str, log: str, hits: int, marks: Sequence[tuple[Failure, bool]]) -> str:
    if len(marks) < ENOUGH:
        return f"{log} covers {counted(len(marks), 'failure')}: too few to tell."
    return f"{hits} of {counted(len(marks), 'failure')} came while {when}. That decides nothing yet."


def _ways(data: _Data, way: Callable[[Trip], str | None]) -> list[set[str]]:
    """Of each failure that somebody on the way saw: by which ways its attempts went; empty where that was not told."""
    return [
        {value for trip in trips if (value := way(trip)) is not None}
        for one in data.case.failures
        if (trips := data.case.trips_of.get(one.id))
    ]


def _on_the_way(case: Case) -> str:
    """Who saw failures, where anybody did: `a flight`, `a flight, a capture or an added log`."""
    sources = {trip.source for one in case.failures for trip in case.trips_of.get(one.id, ())}
    captures = {one for one in sources if one.startswith("capture ")}
    known = [
        name
        for name, found in (
            ("a flight", FLIGHTS in sources),
            ("a capture", captures),
            ("an added log", sources - captures - {FLIGHTS}),
        )
        if found
    ]
    return " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))


def _went(data: _Data, seen: Sequence[set[str]], value: str, what: str) -> str:
    """How many failures went by that way alone, of those of which whoever saw them tells the way; empty where of none."""
    told = [found for found in seen if found]
    if not told:
        return ""
    by_it, left = sum(found == {value} for found in told), len(seen) - len(told)
    who = _on_the_way(data.case)
    if not left:
        return f"{by_it} of {counted(len(told), 'failure')} that {who} saw went by {what}."
    return (
        f"{by_it} of {counted(len(told), 'failure')} went by {what}, of {counted(len(seen), 'failure')} that {who} saw; of "
        f"the other {left} the way is not told."
    )


def _http2(data: _Data) -> _Told:
    claim = data.claimed("http2")
    if claim is not None:
        return _Told(SUPPORTED, claim, pro=(claim,))
    seen = _ways(data, lambda trip: trip.http)
    said = _went(data, seen, "1.1", "HTTP/1.1, which has no such control")
    if len(seen) >= ENOUGH and sum(found == {"1.1"} for found in seen) > (1 - FEW) * len(seen):
        return _Told(CONTRADICTED, said, con=(said,))
    return _Told(OPEN, said or _untold(data, seen, "by which HTTP it spoke"))


def _untold(data: _Data, seen: Sequence[set[str]], what: str) -> str:
    if not seen:
        return f"The client's logs do not tell {what}."
    return f"The client's logs do not tell {what}, nor does {_on_the_way(data.case)} that saw its failures."


def _newer_version(data: _Data) -> _Told:
    """A version that is worse than newer ones beside it supports the contrary."""
    claim, share = data.claimed("client-version"), _newer_side(data)
    if claim is None:
        return _decided(share)
    version = suspect(data.case.compared) or ""
    days = beside_newer(data.case.compared, version)
    if not days:
        return _with_claim(claim, share)
    failures, newer, expected = (sum(told) for told in zip(*days, strict=True))
    said = (
        f"{version} is what fails more often than others on the same days: {newer} of {counted(int(failures), 'failure')} "
        f"on {counted(len(days), 'day')} with it and newer ones came with a newer one, where {expected:.1f} were to be "
        "expected."
    )
    within = ratio([(one.newer, one.expected) for one in days])
    if within.high < 1 if within is not None else newer * TWICE < expected:
        return _Told(CONTRADICTED, said, con=(said,))
    if share.verdict != SUPPORTED:
        return _Told(OPEN, f"{said} That decides nothing yet.")
    return _with_claim(claim, share)


def _newer_side(data: _Data) -> _Share:
    """Whether newer versions fail twice as often as older ones on the same days.

    A failure is put beside each answered request of its day that another version got: where newer versions fail no more
    often, the failure's is the newer of the two in half of these pairs, and in two of three where they fail twice as often.
    """
    offsets = data.diagnosis.offsets
    used: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for one in data.case.answers:
        used[local_day(one.at_ms, offsets)][release(one.version)] += 1
    days: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    compared, on_record = 0, used_by_day(data.case)
    for failure in data.case.compared.failures:
        day = local_day(failure.at_ms, offsets)
        versions, mine = used[day], release(failure.version)
        others = versions.total() - versions[mine]
        if others and not failure.statuses and on_record.alike(failure):
            older = sum(number for version, number in versions.items() if version < mine)
            days[day][0] += older / versions.total()
            days[day][1] += others / versions.total()
            compared += 1
    answers = sum(used[day].total() for day in days)
    if not days and all(len(versions) < 2 for versions in used.values()):
        return _Share(
            OPEN,
            "No two versions were used on the same day, and versions of different days cannot be compared.",
        )
    if compared < ENOUGH or answers < ENOUGH_ANSWERS:
        return _Share(
            OPEN,
            f"Too little is known to compare: {counted(compared, 'failure')} and {counted(answers, 'answer')}."
            f"{_apart(data)}",
        )
    newer, pairs = (sum(told) for told in zip(*days.values(), strict=True))
    said = (
        f"Of {counted(compared, 'failure')} on {counted(len(days), 'day')} with several versions, each beside the same "
        f"day's answers of other versions, the failure's version was the newer one in {percent(newer / pairs)}: by "
        f"chance it would be 50%, and {percent(TWICE / (1 + TWICE))} where newer ones fail twice as often."
    )
    within = ratio([(part, whole) for part, whole in days.values()])
    if within is not None and within.low > TWICE / (1 + TWICE):
        return _Share(SUPPORTED, said)
    if within is not None and within.high < TWICE / (1 + TWICE):
        return _Share(CONTRADICTED, said)
    return _Share(OPEN, f"{said} That decides nothing yet.")


def _roaming(data: _Data) -> _Told:
    claim = data.claimed("wifi-roaming") or data.claimed("link-flap", "wifi-roaming")
    if claim is not None:
        return _Told(SUPPORTED, claim, pro=(claim,))
    alike = data.alike("link-flap", "wifi-roaming")
    if alike is not None:
        return _Told(OPEN, alike)
    away = sum(
        len(one.explains) for one in data.diagnosis.findings if "local-link" in (one.hypothesis, *one.rivals)
    )
    if away:
        return _Told(
            OPEN,
            f"{counted(away, 'failure')} came while this machine had no network: whether its Wi-Fi had dropped the link, or "
            "the router was away, is not in the logs.",
        )
    spans = [one for one in data.case.outages if face(one) in ("flap", "roam")]
    covered = [
        one
        for one in data.case.failures
        if data.case.watched_at(one.at_ms) or any(one.at_ms in span for span in data.case.link_watched)
    ]
    marks = [
        (one, any(span.holds(at, slack_ms=FLAP_MS) for span in spans for at in one.times_ms))
        for one in covered
    ]
    hits = sum(mark for _, mark in marks)
    if _few(data, marks):
        said = f"{hits} of {counted(len(marks), 'failure')} in a log of the link came within 10 s of a change of it."
        return _Told(CONTRADICTED, said, con=(said,))
    return _Told(OPEN, _undecided("the link had just changed", "A log of the link", hits, marks))


def _ipv6(data: _Data) -> _Told:
    claim = data.claimed("ipv6-path")
    if claim is not None:
        return _Told(SUPPORTED, claim, pro=(claim,))
    seen = _ways(data, lambda trip: trip.family)
    said = _went(data, seen, "4", "IPv4")
    if len(seen) >= ENOUGH and sum(found == {"4"} for found in seen) > (1 - FEW) * len(seen):
        return _Told(CONTRADICTED, said, con=(said,))
    return _Told(OPEN, said or _untold(data, seen, "by which family of addresses it went"))


def _large_context(data: _Data) -> _Told:
    told = _with_claim(data.claimed("large-request"), _largest_tenth(data))
    if told.verdict in (SUPPORTED, CONTRADICTED) and (cut := _tenth(data)) < VERY_LARGE:
        small = f"The largest tenth of the prompts here begins at {cut:,} tokens: too small to tell of very large ones."
        return _Told(OPEN, f"{told.why} {small}")
    return told


def _large_tier(data: _Data) -> _Told:
    beyond = sum(one.context_tokens > LARGE_TIER for one in data.case.answers)
    failed = sum((one.context_tokens or 0) > LARGE_TIER for one in data.case.failures)
    if not beyond and not failed:
        return _Told(
            OPEN,
            f"No prompt beyond {LARGE_TIER:,} tokens is on record, and of smaller ones the logs do not tell the tier.",
        )
    return _decided(
        _compared(
            data,
            f"had a prompt beyond {LARGE_TIER:,} tokens, which the large tier alone takes",
            lambda one: (
                None if one.context_tokens is None or one.statuses else one.context_tokens > LARGE_TIER
            ),
            lambda one: one.context_tokens > LARGE_TIER,
        )
    )


def _at_work(case: Case) -> dict[str, list[int]]:
    """Session -> when it was at work: its answers, and the beginning and end of what failed, in order."""
    heard: dict[str, list[int]] = defaultdict(list)
    for one in case.answers:
        heard[one.session].append(one.at_ms)
    for failure in case.failures:
        heard[failure.session] += [failure.begun_ms, *failure.times_ms]
        heard[failure.session] += [failure.ended_ms] if failure.ended_ms is not None else []
    return {session: sorted(times) for session, times in heard.items()}


def _overnight(data: _Data) -> _Told:
    heard = _at_work(data.case)
    paused: dict[tuple[str, int], bool] = {}
    for session, times in heard.items():
        for before, after in pairwise(times):
            paused[session, after] = after - before >= OVERNIGHT_S * 1000
    return _decided(
        _compared(
            data,
            f"came after a pause of {OVERNIGHT_S / 60:.0f} minutes or more",
            lambda one: None if one.idle_s is None or one.statuses else one.idle_s >= OVERNIGHT_S,
            lambda one: paused.get((one.session, one.at_ms)),
        )
    )


MANY_AGENTS = 3


def _agents(data: _Data) -> _Told:
    claim = data.claimed("subagents")
    if not data.case.agents:
        said = "No subagent is on record, so none was at work when a request failed."
        return _Told(CONTRADICTED, said, con=(said,))

    def crowded(at_ms: int, session: str, agent: str | None) -> bool:
        agents = data.case.agents.get(session, {})
        others = sum(name != agent and begun <= at_ms <= ended for name, (begun, ended) in agents.items())
        return others >= MANY_AGENTS

    share = _compared(
        data,
        f"came while {MANY_AGENTS} or more other agents of the session were busy",
        lambda one: None if one.statuses else crowded(one.at_ms, one.session, one.agent),
        lambda one: crowded(one.at_ms, one.session, one.agent),
    )
    return _with_claim(claim, share)


def _wrapped(data: _Data) -> _Told:
    environment = data.environment
    known = [environment.told(name) for name in ("hooks", "MCP servers")] if environment else []
    if environment is None or not all(known):
        return _Told(OPEN, "Which hooks and MCP servers are set was not looked at.")
    none = all(part.split()[0] == "0" for told in known for part in told.split(", "))
    if none and any(one.why == ANOTHERS for one in environment.skipped):
        return _Told(
            OPEN,
            "The user's settings have no hook and no MCP server; those of projects are not in this copy of a home.",
        )
    listed = f"Hooks: {known[0]}. MCP servers: {known[1]}."
    if none:
        said = "No hook and no MCP server is set at any level."
        return _Told(CONTRADICTED, said, con=(said,))
    return _Told(
        OPEN, f"{listed} They run beside requests and not around them; which were active is not in the logs."
    )


def _bypass(data: _Data) -> _Told:
    environment = data.environment
    modes = (
        {
            word
            for fact in environment.facts
            if fact.name.startswith("permission mode")
            for word in fact.value.split(", ")
        }
        if environment
        else set()
    )
    mode = "bypassPermissions"
    said = (
        f"Settings turn {mode} on. "
        if mode in modes
        else f"No settings turn {mode} on. "
        if environment
        else ""
    )
    how = "It decides on approvals and opens no connection; which requests ran under it is not in the logs."
    return _Told(OPEN, said + how)


def _loops(data: _Data) -> _Told:
    heard = _at_work(data.case)
    begins: dict[str, list[int]] = {}
    for session, times in heard.items():
        run, found = times[0], []
        for before, at in zip([times[0], *times], times, strict=False):
            run = at if at - before >= RUN_PAUSE_MS else run
            found.append(run)
        begins[session] = found

    def deep(at_ms: int, session: str) -> bool | None:
        """Whether what came last before this time was of a run that had gone on for long."""
        times = heard.get(session, [])
        place = bisect_left(times, at_ms) - 1
        if place < 0 or at_ms - times[place] >= RUN_PAUSE_MS:
            return False if place >= 0 else None
        return at_ms - begins[session][place] >= DEEP_MS

    return _decided(
        _compared(
            data,
            f"came {DEEP_MS // 60_000} minutes or more into work without a pause",
            lambda one: None if one.statuses else deep(one.at_ms - _age_ms(one), one.session),
            lambda one: deep(one.at_ms, one.session),
        )
    )


def _age_ms(failure: Failure) -> int:
    ages = failure.ages_s
    return round(ages[0] * 1000) if ages else 0


PRIORS: tuple[Prior, ...] = (
    Prior(
        "H1",
        "An edge or a load balancer cuts long answers to large prompts",
        ("fixed-limit", "silence-limit", "edge-timeout"),
        "compact a session that fails, and ask the same again; holdfast run -- claude: its flights tell after which age and "
        "silence the answer was cut; holdfast probe upload --most 5MB: whether large bodies get through",
        _long_and_large,
    ),
    Prior(
        "H2",
        "A carrier's NAT or the router forgets connections that are silent for long",
        ("nat-timeout",),
        "holdfast probe idle --from 30s --to 15m: connections left silent, with TCP's own probes and without; "
        "holdfast probe path: whether a carrier's NAT is on the way",
        _forgetting_box,
    ),
    Prior(
        "H3",
        "The internet provider's line is unstable at peak hours",
        ("isp-outage",),
        "holdfast probe ping --rounds 100, at such an hour; another line for a week at the same hours (holdfast mark "
        "'another line'), then: holdfast diagnose",
        _line_away,
    ),
    Prior(
        "H4",
        "HTTP/2's flow control or its streams stall large requests",
        ("http2",),
        "holdfast run -- claude, which speaks HTTP/1.1, for a week (holdfast mark 'HTTP/1.1'), then: holdfast diagnose; "
        "holdfast lab play goaway-in-text: what an end by HTTP/2 looks like in a flight",
        _http2,
    ),
    Prior(
        "H5",
        "A newer version of the client breaks more requests",
        ("client-version",),
        "two versions side by side on the same days (holdfast mark 'two versions'), then: holdfast diagnose",
        _newer_version,
    ),
    Prior(
        "H6",
        "Wi-Fi roams or drops the link",
        ("link-flap", "wifi-roaming"),
        "holdfast probe link; holdfast mark 'moved to Ethernet', and a week later: holdfast diagnose",
        _roaming,
    ),
    Prior(
        "H7",
        "The way by IPv6 is bad",
        ("ipv6-path",),
        "holdfast probe connect: both families, several times; holdfast run --ip 4 -- claude, for a week",
        _ipv6,
    ),
    Prior(
        "H8a",
        "Very large contexts",
        ("large-request",),
        "compact earlier for a week (holdfast mark 'compacting at 60%'), then: holdfast diagnose",
        _large_context,
    ),
    Prior(
        "H8b",
        "The large context tier (1M tokens)",
        (),
        "a week without the large tier (holdfast mark 'standard tier'), then: holdfast diagnose",
        _large_tier,
    ),
    Prior(
        "H8c",
        "Sessions that were left open overnight",
        ("idle-socket",),
        "holdfast probe idle --from 60s --to 15m: after which pause a connection is dead",
        _overnight,
    ),
    Prior(
        "H8d",
        "Many subagents at once",
        ("subagents",),
        "two subagents at most for a week (holdfast mark 'two agents'), then: holdfast diagnose",
        _agents,
    ),
    Prior(
        "H8e",
        "Hooks or MCP servers around the API",
        (),
        "a week without hooks and servers (holdfast mark 'no hooks'), then: holdfast diagnose",
        _wrapped,
    ),
    Prior(
        "H8f",
        "The bypassPermissions mode",
        (),
        "a week in the default mode (holdfast mark 'default mode'), then: holdfast diagnose",
        _bypass,
    ),
    Prior(
        "H8g",
        "Loops and autonomous skills that work for long without a pause",
        (),
        "a week without loops (holdfast mark 'no loops'), then: holdfast diagnose",
        _loops,
    ),
)
"In the order of that report. Its H8 has seven parts, and each is a suspicion of its own."


def as_json(found: Sequence[Held]) -> list[dict[str, object]]:
    """Each with `key`, `suspects`, `verdict`, `why`, `for`, `against`, `settle`, `hypotheses`."""
    return [
        {
            "key": one.key,
            "suspects": one.suspects,
            "verdict": one.verdict,
            "why": one.why,
            "for": list(one.pro),
            "against": list(one.con),
            "settle": one.settle,
            "hypotheses": list(one.ours),
        }
        for one in found
    ]


def reasons(one: Held) -> Iterator[tuple[str, str]]:
    """Word (`why`, `for`, `against`, `settle`) and sentence; what decides is said once."""
    if one.why not in (*one.pro, *one.con):
        yield "why", one.why
    yield from (("for", text) for text in one.pro)
    yield from (("against", text) for text in one.con)
    yield "settle", one.settle
