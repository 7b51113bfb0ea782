"""What failed, how often, where and when: every count of a diagnosis, as Ibis expressions over one small schema.

The same expressions run on DuckDB over one person's logs and on a cluster over the exported files of thousands.
Therefore: times are integer milliseconds, days and hours are integer arithmetic, quantiles are exact, nothing
is counted distinct beside a quantile, and a window's order has no ties (reference sessions.md, section 3).

The unit is the *failure*: one request that failed, with all its tries. Records count the client's persistence,
failures count the user's trouble; both are shown, and rates are failures per request. Requests that were answered
without a failed try on record are counted as `answered`; with the failed ones they are all. One that failed and was answered
by a later try is one request, and a failed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import reduce

import ibis
from ibis import Table, _
from ibis.expr.types import IntegerValue

from holdfast.sessions.tools import KINDS, MEANS, NETWORK, OF_ANSWERS

KNOWN_CODES = (
    "ECONNRESET", "ETIMEDOUT", "EPIPE", "ConnectionRefused", "FailedToOpenSocket", "EAI_AGAIN",
    "HTTP 429", "HTTP 500", "HTTP 502", "HTTP 503", "HTTP 529", "unknown",
)  # fmt: skip
"Shown with a zero where there was none: that something never happened is worth a line."

TOOL_KINDS, TOOL_KINDS_MEAN = KINDS, MEANS
"What errors of tools are told by, besides `HTTP 404` and its like: words of ours, which say nothing of anybody."

BURST_MS = 60_000
"Errors no further apart than this are one burst."

AGES_S = ((0, 1), (1, 10), (10, 60), (60, 300), (300, 1800), (1800, None))
CONTEXTS = ((0, 50_000), (50_000, 100_000), (100_000, 150_000), (150_000, 200_000), (200_000, None))
"Tokens of the whole prompt. Beyond 200,000 only the large context tier answers."
STANDARD_TOKENS = 200_000
STANDARD, LARGE = "up to 200,000 tokens", "beyond 200,000 tokens (1M)"
"Context tiers as far as logs tell: a larger prompt was the 1M tier's, a smaller one may have been either's."
SIZES = ((0, 25), (25, 100), (100, 400), (400, 1_600), (1_600, None))
"Answers that a session had had: each span is four times as wide as the one before."

DAY_MS, HOUR_MS = 86_400_000, 3_600_000

SPREAD = ("machine", "region", "network", "system")
"Columns that rows of many machines have, and one home's have not."

Offsets = Sequence[tuple[int, int]]
"From when (ms, UTC) the local clock is how far ahead of UTC (ms), in order; the first holds before it too."


@dataclass(frozen=True)
class Sources:
    """The tables that everything here is made of, as `sessions.facts` describes their rows."""

    error: Table
    chain: Table
    dead: Table
    request: Table
    turn_time: Table
    compaction: Table
    ever: Table
    "Answered requests of all times, of which `request` may be a part: a session is as large as it has become."
    tool_error: Table | None = None
    "Errors of tools, which stay on the machine that they were on: None where many machines' rows are put together."

    @classmethod
    def of(cls, tables: Mapping[str, Table]) -> Sources:
        """From tables by name; those that are not needed here may be among them."""
        own = {
            field.name: tables[field.name]
            for field in fields(cls)
            if field.default is MISSING and field.name != "ever"
        }
        return cls(**own, ever=tables["request"], tool_error=tables.get("tool_error"))

    def between(self, since_ms: int | None, until_ms: int | None) -> Sources:
        """What happened from the one time to before the other; a chain of tries belongs to its first try."""
        if since_ms is None and until_ms is None:
            return self

        def cut(table: Table) -> Table:
            if since_ms is not None:
                table = table.filter(table.at_ms >= since_ms)
            return table if until_ms is None else table.filter(table.at_ms < until_ms)

        first = cut(self.error.filter(_.uuid == _.chain)).select(kept=_.chain)
        return replace(
            self,
            error=self.error.semi_join(first, self.error.chain == first.kept),
            chain=self.chain.semi_join(first, self.chain.chain == first.kept),
            dead=cut(self.dead),
            request=cut(self.request),
            turn_time=cut(self.turn_time),
            compaction=cut(self.compaction),
            tool_error=None if self.tool_error is None else cut(self.tool_error),
        )

    def compared(self) -> Sources:
        """Without the failures that telemetry alone tells, which have no part in rates: their rows have no file, or say so
        where files do not leave the machine.
        """

        def kept(table: Table) -> Table:
            return table.filter(table.on_record if "on_record" in table.columns else table.file.notnull())

        return replace(self, error=kept(self.error), chain=kept(self.chain))


# ----- the unit


def failures(sources: Sources) -> Table:
    """One row per request that failed: its first error, how many tries it took, and what became of it.

    A turn that died without a failed try on record (older versions, breaks in mid-answer) is one too, with no try.

    Columns: failure, at_ms, begun_ms, ended_ms, session, agent, version, project, model, context_tokens, code,
    tries, outcome, and those of `SPREAD` that there are.
    """
    spread = [name for name in SPREAD if name in sources.error.columns]
    first = sources.error.filter(_.uuid == _.chain)
    tried = sources.chain.join(first, sources.chain.chain == first.uuid).select(
        failure=sources.chain.chain,
        at_ms=first.at_ms,
        begun_ms=first.before_ms,
        ended_ms=sources.chain.ended_ms,
        session=first.session,
        agent=first.agent,
        version=first.version,
        project=first.project,
        model=first.model,
        context_tokens=first.context_tokens,
        code=first.code,
        tries=sources.chain.tries,
        outcome=sources.chain.outcome,
        **{name: first[name] for name in spread},
    )
    ends = sources.chain.filter(_.outcome == "died").select(ended_session=_.session, ended_at=_.ended_ms)
    dead = sources.dead
    alone = dead.anti_join(ends, (dead.session == ends.ended_session) & (dead.at_ms == ends.ended_at)).select(
        failure=_.uuid,
        at_ms=_.at_ms,
        begun_ms=_.before_ms,
        ended_ms=_.at_ms,
        session=_.session,
        agent=_.agent,
        version=_.version,
        project=_.project,
        model=_.model,
        context_tokens=_.context_tokens,
        code=_.code,
        tries=ibis.literal(0, "int64"),
        outcome=ibis.literal("died"),
        **{name: _[name] for name in spread},
    )
    return tried.union(alone)


def requests(sources: Sources) -> Table:
    """Every answer, and whether it came `at_once`: without a failed try on record. That of a failure is of one request with
    it, and known by its conversation and time, for it is what ended the tries.

    Columns: those of `request`, at_once.
    """
    came = (
        sources.chain.filter((_.outcome == "recovered") & _.ended_ms.notnull())
        .select(in_session=_.session, by_agent=_.agent.fill_null(""), came_ms=_.ended_ms)
        .distinct()
    )
    request = sources.request
    return request.left_join(
        came,
        (request.session == came.in_session)
        & (request.agent.fill_null("") == came.by_agent)
        & (request.at_ms == came.came_ms),
    ).select(*(request[name] for name in request.columns), at_once=came.came_ms.isnull())


def answered(sources: Sources) -> Table:
    """Those that were answered at once: with `failures` they are all requests."""
    return requests(sources).filter(_.at_once)


# ----- what failed


def inventory(sources: Sources) -> Table:
    """Per code: errors, failures, sessions, first and last; and apart from all that, how many of that code tools had.

    Columns: code, errors, failures, sessions, first_ms, last_ms, at_tools (where errors of tools are known). A code that
    only tools had is a row without errors.
    """
    counted = _of_requests(sources)
    if sources.tool_error is None:
        return counted.order_by(ibis.desc("errors"), "code")
    same = _.kind.isin(NETWORK) | _.kind.startswith("HTTP ")
    theirs = sources.tool_error.filter(same).group_by(at_tool=_.kind).agg(at_tools=_.count())
    both = counted.outer_join(theirs, counted.code == theirs.at_tool)
    return both.select(
        code=ibis.coalesce(counted.code, theirs.at_tool),
        errors=counted.errors.fill_null(0),
        failures=counted.failures.fill_null(0),
        sessions=counted.sessions.fill_null(0),
        first_ms=counted.first_ms,
        last_ms=counted.last_ms,
        at_tools=theirs.at_tools.fill_null(0),
    ).order_by(ibis.desc("errors"), ibis.desc("at_tools"), "code")


def _of_requests(sources: Sources) -> Table:
    """Codes of failed tries, those of `KNOWN_CODES` also where there was none."""
    seen = sources.error.group_by("code").agg(
        errors=_.count(),
        failures=_.chain.nunique(),
        sessions=_.session.nunique(),
        first_ms=_.at_ms.min(),
        last_ms=_.at_ms.max(),
    )
    codes = ibis.memtable([{"code": code} for code in KNOWN_CODES]).union(seen.select("code"), distinct=True)
    joined = codes.left_join(seen, codes.code == seen.code)
    return joined.select(
        code=codes.code,
        errors=seen.errors.fill_null(0),
        failures=seen.failures.fill_null(0),
        sessions=seen.sessions.fill_null(0),
        first_ms=seen.first_ms,
        last_ms=seen.last_ms,
    )


def tool_errors(tool_error: Table) -> Table:
    """Per tool: its results that are errors. None of them is a request that failed.

    Columns: tool, errors, network (of them, those with a code of the network's), of_answers (those that the client wrote
    because the answer broke), sessions, first_ms, last_ms. How often a tool was called is not read: no rates.
    """
    return (
        tool_error.group_by(_tool(tool_error))
        .agg(
            errors=_.count(),
            network=_.kind.isin(NETWORK).sum(),
            of_answers=_.kind.isin(OF_ANSWERS).sum(),
            sessions=_.session.nunique(),
            first_ms=_.at_ms.min(),
            last_ms=_.at_ms.max(),
        )
        .order_by(ibis.desc("errors"), "tool")
    )


def tool_error_kinds(tool_error: Table) -> Table:
    """Per kind and tool. Columns: kind (as `sessions.tools` has them), tool, errors, sessions, first_ms, last_ms."""
    return (
        tool_error.group_by("kind", _tool(tool_error))
        .agg(errors=_.count(), sessions=_.session.nunique(), first_ms=_.at_ms.min(), last_ms=_.at_ms.max())
        .order_by(ibis.desc("errors"), "kind", "tool")
    )


def _tool(tool_error: Table) -> ibis.Value:
    return ibis.ifelse(tool_error.tool == "", "not known", tool_error.tool).name("tool")


def dead_turns(sources: Sources) -> Table:
    """Turns that the client gave up, by its own words; where it left none, by their first failed try.

    Columns: code, turns, sessions, without_tries.
    """
    failed = failures(sources).filter(_.outcome == "died")
    ends = sources.dead.group_by(ended_session=_.session, ended_agent=_.agent.fill_null(""), ended_at=_.at_ms)
    words = ends.agg(words=_.code.min())
    told = failed.left_join(
        words,
        (failed.session == words.ended_session)
        & (failed.agent.fill_null("") == words.ended_agent)
        & (failed.ended_ms == words.ended_at),
    ).select(code=ibis.coalesce(words.words, failed.code), session=failed.session, tries=failed.tries)
    return (
        told.group_by("code")
        .agg(turns=_.count(), sessions=_.session.nunique(), without_tries=(_.tries == 0).sum())
        .order_by(ibis.desc("turns"), "code")
    )


def ladder(sources: Sources) -> Table:
    """The retries, step by step. A chain reaches step n if its n-th try failed.

    Columns: step, reached, recovered, died, abandoned, unknown; then, of chains whose end is known:
    still_failing, the share that had not recovered after this step.
    """
    chain = sources.chain
    steps = sources.error.filter(_.attempt.notnull()).select(step=_.attempt).distinct()
    pairs = steps.join(chain, chain.tries >= steps.step)
    at_end = pairs.tries == pairs.step
    counted = pairs.group_by("step").agg(
        reached=_.count(),
        recovered=(at_end & (_.outcome == "recovered")).sum(),
        died=(at_end & (_.outcome == "died")).sum(),
        abandoned=(at_end & (_.outcome == "abandoned")).sum(),
        unknown=(at_end & (_.outcome == "unknown")).sum(),
    )
    known = chain.filter(_.outcome != "unknown").agg(known=_.count())
    upto = ibis.window(order_by="step", preceding=None, following=0)
    told = counted.cross_join(known)
    return (
        told.mutate(
            still_failing=ibis.ifelse(
                _.known > 0,
                1.0 - _.recovered.sum().over(upto).cast("float64") / _.known,
                ibis.null("float64"),
            )
        )
        .drop("known")
        .order_by("step")
    )


def ages(sources: Sources) -> Table:
    """How old each failed try was, the wait before it taken off. Columns: from_s, to_s, errors.

    The record before a later try is the failed one before it, so the time since includes the client's own pause.
    A try whose record has no predecessor is in a row without bounds, behind the others.
    """
    aged = _aged(sources)
    return _without_nobody(
        _histogram(aged, aged.age_ms.cast("float64") / 1000.0, AGES_S, "errors"), AGES_S, "errors"
    )


def _aged(sources: Sources) -> Table:
    """Errors with `age_ms`: from the record before to the failure, less the wait that the try before announced."""
    in_chain = ibis.window(group_by="chain", order_by=["attempt", "at_ms", "uuid"])
    error = sources.error.mutate(waited_ms=_.wait_ms.lag().over(in_chain).fill_null(0.0))
    since = (_.at_ms - _.before_ms).cast("float64") - _.waited_ms
    # GREATEST passes over NULL: by it alone, what has no record before it would be no second old.
    return error.mutate(
        age_ms=ibis.ifelse(_.before_ms.isnull(), ibis.null("float64"), ibis.greatest(since, 0.0))
    )


def _histogram(
    table: Table, value: ibis.Value, spans: Sequence[tuple[float, float | None]], name: str
) -> Table:
    """How many lie in each span, those too in which none does. What has no value is a last row without bounds, where there
    is any: all rows together are the whole. Columns: span (its number), from_s, to_s, `name`; in the spans' order.
    """
    unknown = len(spans)
    rows = ibis.memtable(
        [{"span": number, "from_s": float(low), "to_s": None if high is None else float(high)}
         for number, (low, high) in enumerate(spans)] + [{"span": unknown, "from_s": None, "to_s": None}],
        schema={"span": "int64", "from_s": "float64", "to_s": "float64"},
    )  # fmt: skip
    cases = [
        ((value >= low) if high is None else (value >= low) & (value < high), number)
        for number, (low, high) in enumerate(spans)
    ]
    found = table.mutate(span=ibis.cases(*cases, else_=unknown)).group_by("span").agg(found=_.count())
    joined = rows.left_join(found, rows.span == found.span)
    return joined.select(
        span=rows.span, from_s=rows.from_s, to_s=rows.to_s, **{name: found.found.fill_null(0)}
    ).order_by("span")


def _without_nobody(counted: Table, spans: Sequence[object], *names: str) -> Table:
    """The rows of spans, and the one of what has no value only where it counts any; without the spans' numbers."""
    any_of_it = reduce(lambda one, other: one | other, (counted[name] > 0 for name in names))
    return counted.filter((_.span < len(spans)) | any_of_it).order_by("span").drop("span")


# ----- where


def rates(sources: Sources, by: str) -> Table:
    """Failures against answered requests, per `version`, `model`, `project`, `session`, `agent kind`, `context tier`, or
    one of `SPREAD`.

    Columns: the key, failures, errors, died, failed_in (sessions with a failure), answered, sessions (with an answer),
    per_1000 (failures per thousand answered and failed requests; None where none was answered at once).
    """
    failed = keyed_by(failures(sources), by)
    asked = keyed_by(requests(sources), by)
    one = failed.group_by("key").agg(
        failures=_.count(),
        errors=_.tries.sum(),
        died=(_.outcome == "died").sum(),
        failed_in=_.session.nunique(),
    )
    other = asked.group_by("key").agg(answered=_.at_once.sum(), sessions=_.session.nunique())
    joined = one.outer_join(other, one.key == other.key)
    counted = joined.select(
        key=ibis.coalesce(one.key, other.key),
        failures=one.failures.fill_null(0),
        errors=one.errors.fill_null(0),
        died=one.died.fill_null(0),
        failed_in=one.failed_in.fill_null(0),
        answered=other.answered.fill_null(0),
        sessions=other.sessions.fill_null(0),
    )
    return _per_thousand(counted).rename({by: "key"}).order_by(ibis.desc("failures"), by)


def daily(sources: Sources, by: str, offsets: Offsets) -> Table:
    """The counts behind rates, per local day: what intervals are resampled from.

    `by` as for `rates`, or `from_tokens` (as `by_context`), `from_answers` (as `by_session_size`), or `hour` (as
    `per_hour`). Columns: key, day (days since 1970), failures, answered.
    """
    parts = []
    for kind, table in compared(sources, by):
        keyed = keyed_by(table, by, offsets)
        day = (local_ms(keyed.at_ms, offsets) / DAY_MS).floor().cast("int64")
        parts.append(keyed.select(key=_.key, day=day, kind=ibis.literal(kind)))
    counted = ibis.union(*parts).group_by(["key", "day"])
    return counted.agg(failures=(_.kind == "failures").sum(), answered=(_.kind == "answered").sum()).order_by(
        ["key", "day"]
    )


def compared(sources: Sources, by: str) -> tuple[tuple[str, Table], tuple[str, Table]]:
    """What a rate is made of: failures and answered requests, each with what they are told apart by."""
    failed, asked = failures(sources), answered(sources)
    if by == "from_answers":
        failed, asked = grown(failed, sources.ever), grown(asked, sources.ever)
    return ("failures", failed), ("answered", asked)


def grown(table: Table, ever: Table) -> Table:
    """Failures or requests with `answers`: how many their session had had by then, those of its subagents too.

    Columns: session, at_ms, answers, and those of `SPREAD` that there are.
    """
    spread = [name for name in SPREAD if name in table.columns]
    one = table.select("session", "at_ms", *spread, answer=ibis.literal(0, "int64"))
    past = ever.select(
        "session",
        "at_ms",
        *(ibis.null("string").name(name) for name in spread),
        answer=ibis.literal(1, "int64"),
    )
    # An answer of the same millisecond comes behind: what has the same place in the order then has the same count.
    upto = ibis.window(group_by="session", order_by=["at_ms", "answer"], preceding=None, following=0)
    both = one.union(past).mutate(answers=_.answer.sum().over(upto))
    return both.filter(_.answer == 0).drop("answer")


def keyed_by(table: Table, by: str, offsets: Offsets = ()) -> Table:
    """Failures or requests with their `key`: as for `daily`; those without a size have none, and are left out."""
    if by == "hour":
        hour = (local_ms(table.at_ms, offsets) % DAY_MS / HOUR_MS).floor().cast("int64")
        return table.mutate(key=hour)
    if by in ("from_tokens", "from_answers"):
        size, of = (table.context_tokens, CONTEXTS) if by == "from_tokens" else (table.answers, SIZES)
        spans = [(size >= low, ibis.literal(low, "int64")) for low, _high in reversed(of)]
        return table.mutate(key=ibis.cases(*spans)).filter(_.key.notnull())
    if by == "context tier":
        size = table.context_tokens
        tiers = [(size > STANDARD_TOKENS, LARGE), (size <= STANDARD_TOKENS, STANDARD)]
        return table.mutate(key=ibis.cases(*tiers, else_="not known"))
    if by == "agent kind":
        return table.mutate(key=ibis.ifelse(_.agent.isnull(), "main", "subagent"))
    return table.mutate(key=_[by].fill_null("not known"))


def _per_thousand(counted: Table) -> Table:
    tried = counted.answered + counted.failures
    return counted.mutate(
        per_1000=ibis.ifelse(counted.answered > 0, counted.failures * 1000.0 / tried, ibis.null("float64"))
    )


def by_context(sources: Sources) -> Table:
    """Failures against answered requests by the true context: tokens of the conversation's prompt at that time.

    Of a failed request it is that of the answer before, the nearest thing on record. Not the file's size, which
    grows on through compactions. Columns: from_tokens, to_tokens, failures, answered, per_1000; those of which it is not
    known are a last row without bounds.
    """
    failed, asked = failures(sources), answered(sources)
    return _spans(failed, failed.context_tokens, asked, asked.context_tokens, CONTEXTS, "tokens")


def by_session_size(sources: Sources) -> Table:
    """Failures against answered requests by how long their session was then: in answers, which only grow in number, also
    through compactions. Columns: from_answers, to_answers, failures, answered, per_1000.
    """
    (_name, failed), (_other, asked) = compared(sources, "from_answers")
    return _spans(failed, failed.answers, asked, asked.answers, SIZES, "answers")


def _spans(
    failed: Table,
    of_failed: ibis.Value,
    asked: Table,
    of_asked: ibis.Value,
    spans: Sequence[tuple[float, float | None]],
    unit: str,
) -> Table:
    """Rates per span of a size. Columns: from_`unit`, to_`unit`, failures, answered, per_1000."""
    one = _histogram(failed, of_failed, spans, "failures")
    other = _histogram(asked, of_asked, spans, "answered")
    counted = one.join(other, one.span == other.span).select(
        span=one.span,
        **{f"from_{unit}": one.from_s.cast("int64"), f"to_{unit}": one.to_s.cast("int64")},
        failures=one.failures,
        answered=other.answered,
    )
    return _without_nobody(_per_thousand(counted), spans, "failures", "answered")


# ----- when


def local_ms(at_ms: IntegerValue, offsets: Offsets) -> IntegerValue:
    """The local clock's milliseconds; days and hours of it are integer arithmetic."""
    if not offsets:
        return at_ms
    branches = [(at_ms >= begin, ibis.literal(ahead, "int64")) for begin, ahead in reversed(offsets[1:])]
    first = ibis.literal(offsets[0][1], "int64")
    return at_ms + (ibis.cases(*branches, else_=first) if branches else first)


def per_day(sources: Sources, offsets: Offsets) -> Table:
    """Per local day: errors, failures, answered requests. Columns: day (days since 1970), errors, failures, answered."""
    return _per(sources, offsets, lambda at: (at / DAY_MS).floor().cast("int64"), "day")


def per_hour(sources: Sources, offsets: Offsets) -> Table:
    """Per local hour of the day. Columns: hour (0 to 23), errors, failures, answered."""
    return _per(sources, offsets, lambda at: ((at % DAY_MS) / HOUR_MS).floor().cast("int64"), "hour")


def per_weekday(sources: Sources, offsets: Offsets) -> Table:
    """Per local weekday. Columns: weekday (0 is Monday), errors, failures, answered."""
    # The first day of 1970 was a Thursday.
    return _per(sources, offsets, lambda at: ((at / DAY_MS).floor().cast("int64") + 3) % 7, "weekday")


def _per(sources: Sources, offsets: Offsets, unit: object, name: str) -> Table:
    assert callable(unit)
    parts = []
    for kind, table in (
        ("errors", sources.error),
        ("failures", failures(sources)),
        ("answered", answered(sources)),
    ):
        parts.append(table.select(unit=unit(local_ms(table.at_ms, offsets)), kind=ibis.literal(kind)))
    counted = ibis.union(*parts).group_by("unit")
    return (
        counted.agg(**{kind: (_.kind == kind).sum() for kind in ("errors", "failures", "answered")})
        .rename({name: "unit"})
        .order_by(name)
    )


def between_marks(sources: Sources, marks: Sequence[tuple[int, str]]) -> Table:
    """Before, between and after the notes that somebody put on the timeline: did what they changed help?

    `marks` are times (ms, UTC) with their texts, in order; two or more of the same time count as one. Columns:
    period (0 is before the first), since_ms, mark, failures, answered, per_1000.
    """
    starts = [(0, "")] + [
        (at, text) for number, (at, text) in enumerate(marks) if not number or marks[number - 1][0] < at
    ]
    periods = ibis.memtable(
        [{"period": number, "since_ms": at, "mark": text} for number, (at, text) in enumerate(starts)],
        schema={"period": "int64", "since_ms": "int64", "mark": "string"},
    )

    def counted(table: Table, name: str) -> Table:
        cases = [(table.at_ms >= at, number) for number, (at, _) in reversed(list(enumerate(starts)))]
        return table.select(period=ibis.cases(*cases)).group_by("period").agg(**{name: _.count()})

    failed, asked = counted(failures(sources), "failures"), counted(answered(sources), "answered")
    joined = periods.left_join(failed, periods.period == failed.period)
    one = joined.select(
        period=periods.period,
        since_ms=periods.since_ms,
        mark=periods.mark,
        failures=failed.failures.fill_null(0),
    )
    both = one.left_join(asked, one.period == asked.period)
    return _per_thousand(
        both.select(
            period=one.period,
            since_ms=one.since_ms,
            mark=one.mark,
            failures=one.failures,
            answered=asked.answered.fill_null(0),
        )
    ).order_by("period")


def bursts(sources: Sources) -> Table:
    """Errors that came close together, over all sessions of a machine.

    A failure whose tries are far apart is in each burst that it had tries in, and its end in that of its last try alone.
    Columns: burst, begun_ms, ended_ms, errors, failures, sessions, recovered, died, and `machine` where there are many.
    Only those with two or more.
    """
    own = [name for name in SPREAD[:1] if name in sources.error.columns]
    in_time = ibis.window(group_by=own, order_by=["at_ms", "uuid"])
    running = ibis.window(group_by=own, order_by=["at_ms", "uuid"], preceding=None, following=0)
    marked = sources.error.mutate(since=_.at_ms - _.at_ms.lag().over(in_time))
    marked = marked.mutate(first=(_.since.isnull() | (_.since > BURST_MS)).cast("int64"))
    numbered = marked.mutate(
        burst=_.first.sum().over(running), last_ms=_.at_ms.max().over(ibis.window(group_by="chain"))
    )
    ends = sources.chain.select(of=_.chain, outcome=_.outcome)
    told = numbered.left_join(ends, numbered.chain == ends.of)
    per_chain = told.group_by([*own, "burst", "chain", "outcome"]).agg(
        errors=_.count(), ends=(_.at_ms == _.last_ms).any()
    )
    spans = numbered.group_by([*own, "burst"]).agg(
        begun_ms=_.at_ms.min(), ended_ms=_.at_ms.max(), sessions=_.session.nunique()
    )
    counted = per_chain.group_by([*own, "burst"]).agg(
        errors=_.errors.sum(),
        failures=_.count(),
        recovered=(_.ends & (_.outcome == "recovered")).sum(),
        died=(_.ends & (_.outcome == "died")).sum(),
    )
    joined = spans.join(counted, [*own, "burst"]).filter(_.errors >= 2)
    return joined.select(
        *own, "burst", "begun_ms", "ended_ms", "errors", "failures", "sessions", "recovered", "died"
    ).order_by(["begun_ms", *own])


# ----- what it cost


def durations(sources: Sources) -> Table:
    """How long turns took, where the client says so. Columns: version, turns, median_s, p95_s, longest_s, over_5_min."""
    seconds = sources.turn_time.duration_ms.cast("float64") / 1000.0
    return (
        sources.turn_time.mutate(seconds=seconds)
        .group_by("version")
        .agg(
            turns=_.count(),
            median_s=_.seconds.quantile(0.5),
            p95_s=_.seconds.quantile(0.95),
            longest_s=_.seconds.max(),
            over_5_min=(_.seconds > 300).sum(),
        )
        .order_by(ibis.desc("turns"), "version")
    )


def lost(sources: Sources) -> Table:
    """What failures cost. One row: turns (died), turns_least and turns_most (abandoned and unknown ends counted as
    kept, and as lost), minutes (from the record before the first try to the end, where both are known), tokens
    (prompts that were sent and not answered, cached ones included; None where no context is known).
    """
    failed = failures(sources)
    open_ends = (failed.outcome == "abandoned") | (failed.outcome == "unknown")
    gone = failed.ended_ms.notnull() & failed.begun_ms.notnull()
    return failed.agg(
        turns_least=(failed.outcome == "died").sum(),
        turns_most=((failed.outcome == "died") | open_ends).sum(),
        minutes=ibis.ifelse(gone, (failed.ended_ms - failed.begun_ms).cast("float64") / 60_000.0, 0.0).sum(),
        tokens=(failed.context_tokens * ibis.greatest(failed.tries, 1)).sum(),
    )
