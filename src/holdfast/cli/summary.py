"""The one line that `run` leaves behind."""

from __future__ import annotations

from holdfast.cli.control import Counts


def summary_line(counts: Counts, *, why_nothing: str, restarts: int = 0, log: str = "") -> str:
    """What was carried and saved, and where to look. `why_nothing` is told where nothing was carried."""
    if counts.carried == 0:
        parts = [f"0 requests carried: {why_nothing}"]
        if counts.opaque:
            failed = f", {counts.opaque_failed} of them failed" if counts.opaque_failed else ""
            parts.append(f"{_many(counts.opaque, 'other request')} relayed{failed}")
    else:
        parts = [f"{_many(counts.carried, 'request')} carried"]
        if counts.cut_lost:
            parts.append(_lost(counts))
        if counts.saved or not (counts.unfinished or counts.healed or counts.stopped or counts.cut_lost):
            parts.append(_saved(counts))
        if counts.healed:
            parts.append(
                f"{_many(counts.healed, 'break')} healed ({_by_number(counts.healed_by, '{1} by {0}')})"
            )
    if counts.unfinished:
        parts.append(f"{counts.unfinished} failed or not heard to the end")
    if counts.refused:
        parts.append(f"{_many(counts.refused, 'request')} refused by the gateway (see {log})")
    if counts.stopped:
        parts.append(f"{counts.stopped} stopped before the end")
    if counts.spared + counts.held:
        parts.append(f"{_many(counts.spared + counts.held, 'generation')} not started twice")
    if counts.wasted_tokens:
        parts.append(f"{counts.wasted_tokens:,} tokens of answers that nobody fetched")
    if restarts:
        parts.append(f"the gateway crashed and was started again {_times(restarts)} (see {log})")
    if counts.carried or counts.opaque:
        attic = " and holdfast attic list" if counts.kept else ""
        parts.append(f"details: holdfast flights{attic}")
    return "holdfast: " + "; ".join(parts)


def _lost(counts: Counts) -> str:
    """An answer that was cut ended well each time, and the client had nothing of it."""
    one = counts.cut_lost == 1
    said = f"{_many(counts.cut_lost, 'turn')} lost: {'its answer was' if one else 'their answers were'} cut "
    said += f"{_times(counts.cut)} and never became whole"
    if counts.cut_used_up:
        said += " (the client's message about an output token maximum came from this, not from the model)"
    return said


def _saved(counts: Counts) -> str:
    if not counts.saved:
        return "none needed saving"
    told = _by_number(counts.saved_from, "{1} from {0}")
    return f"{counts.saved} saved" + (f" ({told})" if told else "")


def _by_number(counted: dict[str, int], form: str) -> str:
    return ", ".join(form.format(*item) for item in sorted(counted.items(), key=lambda item: -item[1]))


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
