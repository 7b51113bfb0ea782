"""What only many machines show: who failed together, how unevenly, and what was found on how many. Ibis expressions.

Over the tables of `sessions.exported`, each row with its `machine`. See `tables` for what such expressions must keep to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ibis
from ibis import Table, _

from holdfast.diagnosis import tables
from holdfast.diagnosis.tables import Sources

TOGETHER_MS = 300_000
"Failures in the same five minutes came together."
LEAST_TOGETHER = 3
"Machines; of fewer it is no news."
UNITS = 200
"Of more machines those whose names begin alike are drawn together: names are chance."
EDGE_MS = 60_000
"A failure so soon before or after a time without network belongs to it."


def placed(sources: Sources, machine: Table) -> Sources:
    """The sources with `region`, `network` and `system` of their machine."""
    where = machine.select("machine", "region", "network", "system")

    def with_place(table: Table) -> Table:
        return table.left_join(where, "machine").select(
            *(table[name] for name in table.columns), *(where[name] for name in tables.SPREAD[1:])
        )

    return replace(
        sources,
        error=with_place(sources.error),
        dead=with_place(sources.dead),
        request=with_place(sources.request),
    )


def totals(sources: Sources, machine: Table) -> Table:
    """One row: machines, persons, active (with a request or a failure), failing, failures, apart (of these, those that
    telemetry alone tells), died, answered (at once: with the failures they are all requests).
    """
    failed = tables.failures(sources)
    both = failed.select("machine").union(sources.request.select("machine"))
    found = failed.agg(
        failures=_.count(), died=(_.outcome == "died").sum(), failing=_.machine.nunique()
    ).cross_join(tables.answered(sources).agg(answered=_.count()))
    found = found.cross_join(tables.failures(sources.compared()).agg(compared=_.count()))
    known = machine.agg(machines=_.machine.nunique(), persons=_.person.nunique())
    return found.cross_join(known).cross_join(both.agg(active=_.machine.nunique())).select(
        "machines", "persons", "active", "failing", "answered", "failures", apart=_.failures - _.compared,
        died=_.died.fill_null(0),
    )  # fmt: skip


def machines(sources: Sources) -> Table:
    """How unevenly machines fail. One row: machines (with an answered request), failing, then their failures per
    thousand requests: least, p25, median, p75, p90, most; and half_on, the fewest machines that hold half of all failures.
    """
    rated = tables.rates(sources, "machine")
    spread = rated.filter(_.per_1000.notnull()).agg(
        machines=_.count(),
        failing=(_.failures > 0).sum(),
        least=_.per_1000.min(),
        p25=_.per_1000.quantile(0.25),
        median=_.per_1000.quantile(0.5),
        p75=_.per_1000.quantile(0.75),
        p90=_.per_1000.quantile(0.9),
        most=_.per_1000.max(),
    )
    order = [ibis.desc("failures"), "machine"]
    upto = ibis.window(order_by=order, preceding=None, following=0)
    all_of_them = ibis.window()
    summed = rated.select("machine", "failures").mutate(
        before=_.failures.sum().over(upto) - _.failures, all=_.failures.sum().over(all_of_them)
    )
    half = summed.filter((_.failures > 0) & (_.before * 2 < _.all)).agg(half_on=_.count())
    return spread.cross_join(half)


def together(sources: Sources) -> Table:
    """Times at which several machines failed: what is no machine's own. Five minutes of UTC each, the widest first.

    Columns: begun_ms, machines (failing), active (with a failure or an answer), share, failures, codes (different ones).
    """
    bucket = (_.at_ms.cast("float64") / TOGETHER_MS).floor().cast("int64")
    failed = tables.failures(sources).mutate(bucket=bucket)
    asked = sources.request.mutate(bucket=bucket)
    wide = (
        failed.group_by("bucket")
        .agg(machines=_.machine.nunique(), failures=_.count(), codes=_.code.nunique())
        .filter(_.machines >= LEAST_TOGETHER)
    )
    every = failed.select("bucket", "machine").union(asked.select("bucket", "machine"))
    active = every.semi_join(wide, "bucket").group_by("bucket").agg(active=_.machine.nunique())
    joined = wide.join(active, "bucket")
    return joined.select(
        begun_ms=_.bucket * TOGETHER_MS,
        machines=_.machines,
        active=_.active,
        share=_.machines.cast("float64") / _.active.cast("float64"),
        failures=_.failures,
        codes=_.codes,
    ).order_by([ibis.desc("share"), ibis.desc("machines"), "begun_ms"])


def edges(sources: Sources) -> Table:
    """Places of the provider's edge that answered with an error. Columns: edge, errors, failures, machines.

    Answers bear no such place, so there is nothing to compare with: a busy place fails more often.
    """
    found = sources.error.filter(_.edge.notnull())
    return (
        found.group_by("edge")
        .agg(errors=_.count(), failures=_.chain.nunique(), machines=_.machine.nunique())
        .order_by([ibis.desc("machines"), ibis.desc("errors"), "edge"])
    )


def without_network(sources: Sources, outage: Table, watched: Table) -> Table:
    """Failures in times without network, where a log would have told. One row: machines (with such a log), watched
    (failures that a log covers), failures (of them within a minute of a time without network).
    """
    failed = tables.failures(sources).select("failure", "machine", "at_ms")

    def near(spans: Table, slack_ms: int) -> Table:
        return failed.semi_join(
            spans,
            [
                failed.machine == spans.machine,
                failed.at_ms >= spans.begun_ms - slack_ms,
                failed.at_ms <= spans.ended_ms + slack_ms,
            ],
        )

    return (
        watched.agg(machines=_.machine.nunique())
        .cross_join(near(watched, 0).agg(watched=_.count()))
        .cross_join(near(outage, EDGE_MS).agg(failures=_.count()))
    )


def causes(finding: Table, cause: Table, machine: Table) -> Table:
    """What was found on the machines, each by its own evidence. The commonest first.

    Columns: cause, machines, strong, either (machines), failures (that it explains there), of (machines that exported).
    """
    found = finding.group_by("hypothesis").agg(
        machines=_.machine.nunique(),
        strong=(_.grade == "strong").sum(),
        either=(_.grade == "either").sum(),
    )
    # one failure may be explained by a cause and by its rival; it is one of each
    explained = cause.group_by("hypothesis").agg(failures=_.failure.nunique())
    joined = found.left_join(explained, "hypothesis").cross_join(machine.agg(of=_.machine.nunique()))
    return joined.select(
        cause=_.hypothesis,
        machines=_.machines,
        strong=_.strong,
        either=_.either,
        failures=_.failures.fill_null(0),
        of=_.of,
    ).order_by([ibis.desc("machines"), ibis.desc("failures"), "cause"])


def causes_by(sources: Sources, cause: Table, by: str) -> Table:
    """Where a cause is: its failures and machines per value of `by`. Columns: cause, key, failures, machines."""
    failed = tables.failures(sources)
    keyed = failed.select("failure", "machine", key=failed[by].fill_null("not known"))
    told = cause.select(of="failure", cause="hypothesis")
    joined = keyed.join(told, keyed.failure == told.of)
    return (
        joined.group_by(["cause", "key"])
        .agg(failures=_.failure.nunique(), machines=_.machine.nunique())
        .order_by(["cause", ibis.desc("failures"), "key"])
    )


def units(sources: Sources, by: str, number: int) -> Table:
    """The counts behind rates, per machine, or per group of machines where they are more than `UNITS`.

    `by` as for `tables.daily`. Columns: key, unit, failures, answered.
    """
    unit: Any = _.machine if number <= UNITS else _.machine.substr(0, 3)
    parts = []
    for kind, table in tables.compared(sources, by):
        keyed = tables.keyed_by(table, by)
        parts.append(keyed.select(key=_.key, unit=unit, kind=ibis.literal(kind)))
    counted = ibis.union(*parts).group_by(["key", "unit"])
    return counted.agg(failures=(_.kind == "failures").sum(), answered=(_.kind == "answered").sum()).order_by(
        ["key", "unit"]
    )
