"""`holdfast atlas`: every timer known, and which of them a silence may have met."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from holdfast.cli.errors import Failed
from holdfast.cli.viewing import columns, json_line, reading_width, span
from holdfast.diagnosis import atlas, timers
from holdfast.diagnosis.atlas import Timer
from holdfast.diagnosis.timers import Ranking, Seen
from holdfast.flight.endings import Mechanism, Phase, Side
from holdfast.flight.redact import clean

_SIDES = {"client": Side.CLIENT, "provider": Side.PROVIDER, "path": Side.PATH, "gateway": Side.GATEWAY}
_ON_CLOCK: dict[str, tuple[str, ...]] = {
    "idle": ("idle_s",), "events": ("event_s",), "wall": ("wall_s",), "headers": ("wall_s",), "connect": ("wall_s",),
    "pool_idle": ("idle_s",), "conn_age": ("age_s",), "unacked": ("unacked_s",),
}  # fmt: skip
_PHASE_OF_CLOCK = {
    "headers": Phase.AWAITING_HEADERS,
    "connect": Phase.CONNECTING,
    "pool_idle": Phase.POOLED_IDLE,
}
_NUMBER = re.compile(r"\d{1,7}(?:\.\d+)?\s*[smhdw]?", re.IGNORECASE)


class _Seconds(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else _seconds(str(value))


HEAD = ("TIMER", "CLOCK", "AFTER", "HELD BY", "WHAT IT IS")


@click.command("atlas")
@click.argument("what", required=False)
@click.option("--clock", type=click.Choice(sorted(_ON_CLOCK)), help="What the time was measured from.")
@click.option("--side", type=click.Choice(sorted(_SIDES)), help="Who ended it.")
@click.option(
    "--mechanism",
    type=click.Choice([one.value for one in Mechanism]),
    metavar="HOW",
    help="How: rst, fin, ...",
)
@click.option(
    "--phase",
    type=click.Choice([one.value for one in Phase]),
    metavar="PHASE",
    help="What was under way: tool, headers, ...",
)
@click.option("--status", type=click.IntRange(100, 599), help="The HTTP status, for --mechanism http.")
@click.option("--client", "agent", default="", metavar="NAME", help="The client: 'claude-code 2.1.329'.")
@click.option(
    "--again",
    type=_Seconds(),
    multiple=True,
    metavar="TIME",
    help="A further ending like it, after this long. Can be given again.",
)
@click.option("--layer", type=click.Choice(sorted(atlas.LAYERS)), help="List the timers of one layer only.")
@click.option("--json", "as_json", is_flag=True, help="JSON: one object, or one per line for a list.")
def command(
    what: str | None,
    clock: str | None,
    side: str | None,
    mechanism: str | None,
    phase: str | None,
    status: int | None,
    agent: str,
    again: tuple[float, ...],
    layer: str | None,
    as_json: bool,
) -> None:
    """Look up the timers between a client and its provider, or ask which one a time belongs to.

    Without WHAT, list all. WHAT is a time (300, 90s, 5m) or a timer's name or a part of it. A time is
    compared with every timer; say what you know of the ending, and what cannot be it is left out with
    its reason. A timer is named only by side and mechanism, or by a time that came again and again.

    \b
    Examples:
      holdfast atlas
      holdfast atlas 300
      holdfast atlas 300 --side client --mechanism rst --clock idle
      holdfast atlas 350 --again 349.6 --again 350.2 --json
      holdfast atlas nginx_read
      holdfast atlas cloudflare

    \b
    Exit codes: 0 done, 1 not known, 2 wrong usage.
    """
    if what is not None and _NUMBER.fullmatch(what.strip()):
        if layer:
            raise click.UsageError("--layer chooses from the list; a time is compared with every layer")
        asked = (clock, side, mechanism, phase, status, clean(agent))
        ranking = timers.candidates(_seen(_seconds(what), *asked), [_seen(one, *asked) for one in again])
        if as_json:
            click.echo(json_line(ranking.as_dict()))
        else:
            click.echo("\n".join(_ranked(ranking, reading_width())))
        return
    if side or mechanism or phase or status or agent or again:
        raise click.UsageError(
            "--side, --mechanism and the like weigh a time; give one: holdfast atlas 300 ..."
        )
    rows = [
        timer
        for timer in (atlas.timers() if what is None else atlas.find(what))
        if layer in (None, timer.layer) and clock in (None, timer.clock)
    ]
    if not rows:
        sought = f" called {clean(what)!r}" if what is not None else " like that"
        raise Failed(f"there is no timer{sought} in the atlas; holdfast atlas lists them all")
    if as_json:
        for timer in rows:
            click.echo(json_line(asdict(timer)))
    elif len(rows) == 1:
        click.echo("\n".join(_page(rows[0], reading_width())))
    else:
        click.echo(
            "\n".join(_list(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
        )


def _seconds(value: str) -> float:
    text = value.strip()
    seconds = float(text) if re.fullmatch(r"\d{1,7}(?:\.\d+)?", text) else span(text)
    if not seconds:
        raise click.BadParameter("a time of 0 s was ended by no timer; give one like 300, 90s or 5m")
    return seconds


def _seen(
    seconds: float,
    clock: str | None,
    side: str | None,
    mechanism: str | None,
    phase: str | None,
    status: int | None,
    agent: str,
) -> Seen:
    """What the options say. Without a clock the time is tried on every one."""
    names = (
        _ON_CLOCK[clock]
        if clock
        else sorted({name for names in _ON_CLOCK.values() for name in names} - {"event_s"})
    )
    known: dict[str, Any] = dict.fromkeys(names, seconds)
    return Seen(
        _SIDES[side] if side else None,
        Mechanism(mechanism) if mechanism else None,
        Phase(phase) if phase else _PHASE_OF_CLOCK.get(clock or ""),
        status=status,
        agent=agent,
        **known,
    )


def _list(rows: Iterable[Timer], width: int | None) -> list[str]:
    """One line each, cut at `width`; None where nobody looks at a terminal, and nothing is cut."""
    table = [HEAD]
    table += [(timer.id, timer.clock, spoken(timer), _held_by(timer), timer.name) for timer in rows]
    lines = [clean(line, limit=width) for line in columns(table)]
    return [
        *lines,
        "",
        *textwrap.wrap(
            "HELD BY: what holds it off, pings in the stream or TCP's own probes. One timer with its source: "
            "holdfast atlas TIMER. Which has a number: holdfast atlas 300.",
            max(min(width or 100, 100), 60),
        ),
    ]


def _held_by(timer: Timer) -> str:
    """`pings`, `probes`, `both` or `-`."""
    pings, probes = timer.ping in ("yes", "partly"), timer.keepalive == "yes"
    return "both" if pings and probes else "pings" if pings else "probes" if probes else "-"


def spoken(timer: Timer) -> str:
    """`300 s`, `240-300 s`, or `none`."""
    if timer.seconds is None:
        return "none"
    if timer.from_s is not None and timer.to_s != timer.from_s:
        return f"{timer.from_s:g}-{timer.to_s:g} s"
    return f"{timer.seconds:.0f} s" if timer.seconds >= 1000 else f"{timer.seconds:g} s"


def _page(timer: Timer, width: int) -> list[str]:
    """Everything that is known of one timer."""
    can_be = ""
    if timer.least_s is not None or timer.most_s is not None:
        least = f"from {timer.least_s:g} s" if timer.least_s is not None else ""
        most = f"to {timer.most_s:.0f} s" if timer.most_s is not None else ""
        can_be = ", " + " ".join(part for part in (least, most) if part)
    shown = [
        f"{' or '.join(how)} {when} the headers"
        for how, when in ((timer.before, "before"), (timer.after, "after"))
        if how
    ]
    facts = [
        ("what", timer.name),
        ("where", atlas.LAYERS[timer.layer]),
        ("clock", f"{timer.clock} ({atlas.CLOCKS[timer.clock]})"),
        ("after", f"{spoken(timer)} ({timer.applies})"),
        ("can be set", timer.configurable + can_be + (f", by {timer.set_by}" if timer.set_by else "")),
        ("fires when", timer.fires),
        ("reset by", timer.reset_by or "not said"),
        ("keepalive", f"TCP's own probes: {atlas.HELPS[timer.keepalive]}"),
        ("ping", f"a ping or comment in the stream: {atlas.HELPS[timer.ping]}"),
        ("shows as", "; ".join(shown) + (f" ({', '.join(map(str, timer.status))})" if timer.status else "")),
        ("is seen", timer.wire),
        ("clue", timer.clue),
        ("whose", ", ".join(timer.programs)),
        ("also in", ", ".join(f"client profile {place}" for place in timer.profiles)),
        ("how sure", f"{timer.grade}: {atlas.GRADES[timer.grade]}"),
        ("source", timer.source + (f" ({timer.as_of})" if timer.as_of else "")),
    ]
    return [timer.id, "", *_facts([(name, value) for name, value in facts if value], width)]


def _facts(facts: list[tuple[str, str]], width: int) -> list[str]:
    lines = []
    for name, value in facts:
        lines += textwrap.wrap(
            value, width, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_on_hyphens=False
        )
    return lines


def _ranked(ranking: Ranking, width: int) -> list[str]:
    lines = textwrap.wrap(ranking.sentence(), width)
    for title, sentences in (
        ("Named:", [(one.timer.id, one.sentence()) for one in ranking.named]),
        ("Fits:", [(one.timer.id, one.sentence()) for one in ranking.candidates if not one.named]),
        ("Cannot be it:", [(one.timer.id, one.sentence()) for one in ranking.excluded]),
    ):
        if sentences:
            lines += ["", title]
            for name, sentence in sentences:
                lines += textwrap.wrap(
                    f"{name}  {sentence}",
                    width,
                    initial_indent="  ",
                    subsequent_indent="      ",
                    break_on_hyphens=False,
                )
    if ranking.later:
        names = ", ".join(timer.id for timer in ranking.later)
        text = f"May have forgotten the connection earlier, which shows at the next packet only: {names}."
        lines += ["", *textwrap.wrap(text, width, break_on_hyphens=False)]
    return [*lines, "", *textwrap.wrap(ranking.chance_sentence(), width)]
