"""What goes wrong in homes, one mechanism each: what it strikes, when, and what the client and the desktop app see of it."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from tests.diagnosis.homes import MINUTE, Ask, Blow, Cause, Life, Strike, Window, moments

RESETS = ("ECONNRESET", "ECONNRESET", "ECONNRESET", "EPIPE", None)
SAME_AGES = frozenset({"fixed-limit", "silence-limit", "nat-timeout"})
"A limit on the whole time and one on silence, at an edge or in a middlebox, cut silent requests at the same age."

NO_BOX = {"probes": frozenset({frozenset({"fixed-limit", "silence-limit"})})}
"And where probes found that silent connections live, it is no box that forgets them."
FROM_AFAR = {
    **NO_BOX,
    "capture": frozenset({frozenset({"fixed-limit", "silence-limit"}), frozenset({"silence-limit"})}),
}
"And where a capture has the far end's own reset or farewell, neither."

Maker = Callable[[Life, float, random.Random], Cause]
"A life, how hard the cause strikes (1 is usual), and chance -> the cause."


def _in(windows: list[Window], at_ms: int) -> Window | None:
    place = bisect_right(windows, (at_ms, math.inf)) - 1
    return windows[place] if place >= 0 and at_ms < windows[place][1] else None


def _breaking(ask: Ask, windows: list[Window]) -> Window | None:
    """A window that begins while the try is under way."""
    place = bisect_right(windows, (ask.at_ms, math.inf))
    return windows[place] if place < len(windows) and windows[place][0] <= ask.end_ms else None


def _any_age(ask: Ask, draw: random.Random) -> float:
    return draw.uniform(0.02, 1.0) * ask.work_s if draw.random() < 0.8 else draw.uniform(0.05, 8.0)


# ----- told by their name


def overload(life: Life, force: float, draw: random.Random) -> Cause:
    """Minutes in which the provider has no room."""
    windows = moments(life, "overload", max(1, round(6 * force)), 300, 2400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if _in(windows, ask.at_ms) and draw.random() < 0.6:
            return Blow(draw.uniform(0.3, 6), status=529)
        return None

    return Cause("overload", strike, frozenset({"provider-overload"}), windows)


def server_error(life: Life, force: float, draw: random.Random) -> Cause:
    """Now and then the server fails, and says so."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if draw.random() < 0.03 * force:
            return Blow(draw.uniform(0.3, 30), status=draw.choice((500, 500, 502, 503)))
        return None

    return Cause("server error", strike, frozenset({"provider-error"}))


def rate_limited(life: Life, force: float, draw: random.Random) -> Cause:
    """More than the account may have, while several are at work."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.together + ask.helpers >= 2 and draw.random() < 0.1 * force:
            return Blow(draw.uniform(0.2, 1.5), status=429)
        return None

    return Cause("rate limit", strike, frozenset({"rate-limit"}))


def edge_gives_up(life: Life, force: float, draw: random.Random) -> Cause:
    """The edge waits so long for the origin's first byte, and says that it gave up."""
    limit, status = draw.choice(((100.0, 524), (60.0, 504), (120.0, 504)))

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.silent_s > limit and draw.random() < min(force, 1.0):
            return Blow(limit + draw.uniform(0, 0.4), status=status)
        return None

    return Cause("edge gives up", strike, frozenset({"edge-timeout"}))


def no_names(life: Life, force: float, draw: random.Random) -> Cause:
    """The resolver does not answer for minutes."""
    windows = moments(life, "no names", max(1, round(10 * force)), 60, 600)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if _in(windows, ask.at_ms):
            return Blow(draw.uniform(0.02, 5), draw.choice(("ENOTFOUND", "EAI_AGAIN")))
        return None

    return Cause("no names", strike, frozenset({"name-resolution"}), windows, shows="names")


def proxy_down(life: Life, force: float, draw: random.Random) -> Cause:
    """The proxy that the settings name is not running."""
    windows = moments(life, "proxy down", max(1, round(10 * force)), 20, 400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        return Blow(0.01, "ConnectionRefused") if _in(windows, ask.at_ms) else None

    return Cause("proxy down", strike, frozenset({"refused"}), windows)


def impatient(life: Life, force: float, draw: random.Random) -> Cause:
    """The client's own limit on silence."""
    limit = draw.choice((180.0, 300.0))

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.silent_s > limit and draw.random() < min(force, 1.0):
            return Blow(limit, words="API Error: The response stopped arriving.")
        return None

    return Cause("impatient client", strike, frozenset({"client-limit"}))


# ----- the network


def link_away(life: Life, force: float, draw: random.Random) -> Cause:
    """Nothing on this machine has a network, for minutes."""
    windows = moments(life, "link away", max(2, round(14 * force)), 40, 360)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if _in(windows, ask.at_ms):
            return Blow(draw.uniform(0.01, 3), draw.choice(("FailedToOpenSocket", "ECONNRESET", None)))
        begun = _breaking(ask, windows)
        return (
            None
            if begun is None
            else Blow((begun[0] - ask.at_ms) / 1000 + draw.uniform(0, 4), "ECONNRESET", how="unacked")
        )

    return Cause("link away", strike, frozenset({"local-link"}), windows, shows="away")


def flaps(life: Life, force: float, draw: random.Random, name: str = "flaps") -> Cause:
    """The address or the access point changes, and every connection with it; seconds later all is well."""
    windows = moments(life, name, max(3, round(50 * force)), 2, 10)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        begun = _breaking(ask, windows)
        if begun is not None:
            return Blow((begun[0] - ask.at_ms) / 1000 + draw.uniform(0, 2), draw.choice(RESETS), how="abort")
        return Blow(draw.uniform(0.1, 2), "FailedToOpenSocket") if _in(windows, ask.at_ms) else None

    return Cause(name, strike, frozenset({"link-flap"}), windows, shows="flap")


def line_away(life: Life, force: float, draw: random.Random) -> Cause:
    """The router is there and the world behind it is not."""
    windows = moments(life, "line away", max(2, round(10 * force)), 180, 1500)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        window = _in(windows, ask.at_ms)
        if window is not None:
            if draw.random() < 0.3:
                return Blow(draw.uniform(2, 6), "EAI_AGAIN")
            return Blow(draw.uniform(10, 30), "ETIMEDOUT")
        begun = _breaking(ask, windows)
        if begun is None:
            return None
        return Blow(
            (begun[0] - ask.at_ms) / 1000 + draw.uniform(15, 80),
            draw.choice(("ETIMEDOUT", "ECONNRESET")),
            how="unacked",
        )

    return Cause("line away", strike, frozenset({"isp-outage"}), windows, shows="line")


def sleeps(life: Life, force: float, draw: random.Random) -> Cause:
    """The lid is closed while a request is under way."""
    windows = moments(life, "sleeps", max(3, round(45 * force)), 1200, 30_000)
    kept: list[Window] = []
    for window in windows:
        if not kept or window[0] > kept[-1][1] + 600_000:
            kept.append(window)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        begun = _breaking(ask, kept)
        if begun is None:
            return None
        return Blow(
            (begun[1] - ask.at_ms) / 1000 + draw.uniform(0.2, 4),
            draw.choice(("ECONNRESET", "ETIMEDOUT")),
            how="slept",
        )

    return Cause("sleeps", strike, frozenset({"machine-sleep"}), kept, sleeps=True)


def pool_dies(life: Life, force: float, draw: random.Random) -> Cause:
    """A connection that was idle for too long is dead when it is used again."""
    limit = draw.choice((60.0, 120.0, 300.0))

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.number == 1 and ask.idle_s > limit and draw.random() < 0.8 * min(force, 1.2):
            return Blow(draw.uniform(0.03, 0.6), "ECONNRESET")
        return None

    return Cause("pool dies", strike, frozenset({"idle-socket"}), spared=True)


def seen_together(life: Life, force: float, draw: random.Random) -> Cause:
    """The provider, or a path to it, drops everybody for seconds; this machine's network is well."""
    windows = moments(life, "seen together", max(2, round(16 * force)), 5, 50)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        begun = _breaking(ask, windows)
        if begun is not None:
            return Blow((begun[0] - ask.at_ms) / 1000 + draw.uniform(0, 1), draw.choice(RESETS))
        return Blow(draw.uniform(0.1, 6), draw.choice(RESETS)) if _in(windows, ask.at_ms) else None

    return Cause("seen together", strike, frozenset({"shared-outage"}), windows)


# ----- limits


def _drawn(draw: random.Random, most_s: float) -> float:
    """A limit. Nothing that is longer outlives it: how often it strikes is a matter of the work (`Life.long_share`)."""
    return math.exp(draw.uniform(math.log(55), math.log(most_s)))


def wall(life: Life, force: float, draw: random.Random) -> Cause:
    """An edge ends every request at one age."""
    cause = _limit("wall", life, force, draw, SAME_AGES)
    fixed = frozenset({"fixed-limit"})
    cause.seen, cause.as_well = {"flights": fixed, "capture": fixed}, NO_BOX
    return cause


def wall_seen(life: Life, force: float, draw: random.Random) -> Cause:
    """The same, and the desktop app noted that answers were already coming."""
    cause = _limit("wall, seen", life, force, draw, frozenset({"fixed-limit"}))
    cause.reports = True
    return cause


def _limit(
    name: str, life: Life, force: float, draw: random.Random, truth: frozenset[str], *, idle: bool = False
) -> Cause:
    limit = _drawn(draw, 600)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.work_s > limit:
            return Blow(limit + draw.uniform(0, 0.9), draw.choice(RESETS[:4]), answered=ask.silent_s < limit)
        return None

    return Cause(name, strike, truth, probed=limit if idle else "")


def forgets(life: Life, force: float, draw: random.Random) -> Cause:
    """A middlebox forgets a silent flow and drops what comes later: nobody ever answers."""
    limit = _drawn(draw, 400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.silent_s > limit:
            return Blow(limit + draw.uniform(0, 0.9), "ETIMEDOUT")
        return None

    return Cause("forgets", strike, frozenset({"nat-timeout"}), probed=limit, spared=True)


def forgets_and_resets(life: Life, force: float, draw: random.Random) -> Cause:
    """It answers what comes later with a reset."""
    cause = _limit("forgets and resets", life, force, draw, SAME_AGES, idle=True)
    limited = cause.strike

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        blow = limited(ask, draw)
        return None if blow is None or blow.answered else replace(blow, how="forged")

    cause.strike = strike
    cause.seen, cause.spared = {"capture": frozenset({"nat-timeout"})}, True
    cause.as_well = {
        "probes": frozenset({frozenset({"nat-timeout"}), frozenset({"silence-limit", "nat-timeout"})})
    }
    return cause


def edge_silence(life: Life, force: float, draw: random.Random) -> Cause:
    """The far end ends requests of which nothing has been answered for so long; probes of TCP do not help."""
    cause = _limit("edge silence", life, force, draw, SAME_AGES)
    limited = cause.strike

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        blow = limited(ask, draw)
        return None if blow is None or blow.answered else blow

    cause.strike = strike
    cause.seen, cause.as_well = {"flights": frozenset({"silence-limit"})}, FROM_AFAR
    return cause


# ----- told by what they have in common


def _chance(name: str, truth: str, risk: Callable[[Ask], float]) -> Cause:
    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if draw.random() < min(risk(ask), 0.6):
            return Blow(_any_age(ask, draw), draw.choice(RESETS))
        return None

    found: Strike = strike
    return Cause(name, found, frozenset({truth}) if truth else frozenset())


def large(life: Life, force: float, draw: random.Random) -> Cause:
    """The more is sent, the likelier it breaks."""
    return _chance("large", "large-request", lambda ask: 0.05 * force * (ask.context / 100_000) ** 4)


def bad_version(life: Life, force: float, draw: random.Random) -> Cause:
    """One version breaks its requests, the others do not, whatever the day."""
    version = draw.choice(("2.1.92", "2.1.104", "2.1.107"))
    return _chance("bad version", "client-version", lambda ask: 0.06 * force * (ask.version == version))


def crowded(life: Life, force: float, draw: random.Random) -> Cause:
    """Requests break when many sessions are at work."""
    return _chance("crowded", "many-sessions", lambda ask: 0.0012 * force * ask.together**3)


def many_helpers(life: Life, force: float, draw: random.Random) -> Cause:
    """Requests break when many subagents are at work."""
    return _chance("many helpers", "subagents", lambda ask: 0.003 * force * ask.helpers**3)


# ----- told by others than the client


def bad_edge(life: Life, force: float, draw: random.Random) -> Cause:
    """One place of the provider's edge breaks requests, the others do not."""
    place = draw.choice(("DFW", "IAD"))
    cause = _chance("bad edge", "", lambda ask: 0.1 * force * (ask.road.edge == place))
    cause.seen = {"flights": frozenset({"edge-location"})}
    return cause


def goes_away(life: Life, force: float, draw: random.Random) -> Cause:
    """HTTP/2 connections are given up by the far end with what is on them."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.road.http == "2" and draw.random() < 0.06 * force:
            return Blow(
                draw.uniform(0.02, 1.0) * ask.work_s,
                draw.choice(RESETS[:3]),
                how=draw.choice(("goaway", "goaway", "rst_stream")),
            )
        return None

    return Cause("goes away", strike, frozenset(), seen={"flights": frozenset({"http2"})})


def bad_six(life: Life, force: float, draw: random.Random) -> Cause:
    """The path of IPv6 loses connections, that of IPv4 does not."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.road.family == 6 and draw.random() < 0.06 * force:
            return Blow(_any_age(ask, draw), draw.choice(RESETS), how=draw.choice(("rst", "unacked")))
        return None

    seen = {source: frozenset({"ipv6-path"}) for source in ("flights", "capture")}
    return Cause("bad six", strike, frozenset(), seen=seen, probed="v6")


def black_hole(life: Life, force: float, draw: random.Random) -> Cause:
    """For minutes the way takes small packets only: all connect, and nothing that is longer than one ever arrives."""
    windows = moments(life, "black hole", max(2, round(10 * force)), 60, 400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if _in(windows, ask.at_ms):
            return Blow(draw.uniform(12, 70), "ETIMEDOUT", how="unacked", sending=True, hole=True)
        return None

    seen = {source: frozenset({"mtu-black-hole"}) for source in ("flights", "capture")}
    return Cause("black hole", strike, frozenset(), windows, seen=seen, probed="mtu")


def lossy_upload(life: Life, force: float, draw: random.Random) -> Cause:
    """The more there is to send, the likelier it does not arrive."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if draw.random() < min(0.05 * force * (ask.context / 100_000) ** 4, 0.6):
            return Blow(draw.uniform(8, 60), "ETIMEDOUT", how="unacked", sending=True)
        return None

    seen = {source: frozenset({"upload-loss"}) for source in ("flights", "capture")}
    return Cause("lossy upload", strike, frozenset({"large-request"}), seen=seen, probed="upload")


def one_resolver(life: Life, force: float, draw: random.Random) -> Cause:
    """One of two resolvers loses questions now and then; asked again, the other one answers."""

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.number == 1 and ask.road.resolver == "198.51.100.53" and draw.random() < 0.04 * force:
            return Blow(draw.uniform(4.9, 5.2), "EAI_AGAIN")
        return None

    lone = frozenset({"name-resolution"})
    return Cause(
        "one resolver",
        strike,
        lone,
        seen={"probes": frozenset({"resolver"})},
        as_well={
            "probes": frozenset({lone | {"resolver"}, lone})
        },  # that it was names is true, and says less
        probed="resolver",
    )


def intercepted(life: Life, force: float, draw: random.Random) -> Cause:
    """A program opens TLS on the way, and for minutes shows a certificate that the client does not trust."""
    windows = moments(life, "intercepted", max(1, round(10 * force)), 40, 400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        return Blow(draw.uniform(0.05, 0.4), "SELF_SIGNED_CERT_IN_CHAIN") if _in(windows, ask.at_ms) else None

    return Cause("intercepted", strike, frozenset({"tls-interception"}), windows, probed="interceptor")


def buffered(life: Life, force: float, draw: random.Random) -> Cause:
    """A box keeps each answer until it is whole; what takes longer than the box waits is cut, and nothing had come."""
    limit = _drawn(draw, 300)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.work_s > limit:
            return Blow(limit + draw.uniform(0, 0.9), draw.choice(RESETS[:4]), how="fin")
        return None

    seen = {"flights": frozenset({"buffering-proxy"})}
    return Cause("buffered", strike, SAME_AGES, seen=seen, as_well=FROM_AFAR)


def overloaded_machine(life: Life, force: float, draw: random.Random) -> Cause:
    """The machine runs out of memory and files, for minutes."""
    windows = moments(life, "overloaded machine", max(1, round(10 * force)), 40, 400)

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if _in(windows, ask.at_ms):
            return Blow(draw.uniform(0.01, 3), draw.choice(("EMFILE", "ENOBUFS")))
        return None

    def logs(window: Window) -> list[tuple[int, str]]:
        told = "Out of memory: Killed process 4711 (chrome) total-vm:8123456kB, anon-rss:4123456kB"
        return [(900, told), (30_000, "Memory cgroup out of memory: Killed process 4720 (node)")]

    return Cause("overloaded machine", strike, frozenset({"machine-overload"}), windows, logs=logs)


def vpn_changes(life: Life, force: float, draw: random.Random) -> Cause:
    """A tunnel goes up or down, and every connection with its route."""
    cause = flaps(life, force, draw, "vpn changes")

    def logs(window: Window) -> list[tuple[int, str]]:
        return [
            (0, "<info>  [1776150000.1] device (tun0): state change: activated -> deactivating"),
            (1_500, "<info>  [1776150001.6] device (tun0): state change: secondaries -> activated"),
        ]

    cause.logs, cause.in_journal = logs, False
    cause.seen = {"system log": frozenset({"vpn"})}
    return cause


def roams(life: Life, force: float, draw: random.Random) -> Cause:
    """From one access point to another, seconds later all is well."""
    cause = flaps(life, force, draw, "roams")
    cause.roams = True
    cause.seen = {"system log": frozenset({"wifi-roaming"})}
    return cause


def retry_storm(life: Life, force: float, draw: random.Random) -> Cause:
    """So many tries again, after failures of another cause, that whoever asks for the first time is refused for it."""
    again: deque[int] = deque(maxlen=200)
    refused: dict[int, int] = {}
    "Session -> when it was refused: its tries again are no reason, but what came of it."

    def strike(ask: Ask, draw: random.Random) -> Blow | None:
        if ask.number > 1:
            if ask.at_ms - refused.get(ask.session, 0) > 5 * MINUTE:
                again.append(ask.at_ms)
            return None
        if sum(ask.at_ms - MINUTE <= at_ms <= ask.at_ms for at_ms in again) < 10 or draw.random() > 0.9:
            return None
        refused[ask.session] = ask.at_ms
        return Blow(draw.uniform(0.2, 1.0), status=429)

    return Cause("retry storm", strike, frozenset({"retry-storm"}))


# ----- not in anybody's list


def one_project(life: Life, force: float, draw: random.Random) -> Cause:
    """Something about one project."""
    return _chance("one project", "", lambda ask: 0.04 * force * (ask.project == "/work/cedar"))


def bad_sessions(life: Life, force: float, draw: random.Random) -> Cause:
    """Some sessions are out of luck, all along."""
    chosen = {number for number in range(life.days * life.sessions_a_day) if draw.random() < 0.2}
    return _chance("bad sessions", "", lambda ask: 0.12 * force * (ask.session in chosen))


def accident(life: Life, force: float, draw: random.Random) -> Cause:
    """What happens anyway."""
    return _chance("accident", "", lambda ask: 0.01 * force)


LISTED: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        overload, server_error, rate_limited, edge_gives_up, no_names, proxy_down, impatient, link_away, flaps,
        line_away, sleeps, pool_dies, seen_together, wall, wall_seen, forgets, forgets_and_resets, edge_silence, large,
        bad_version, crowded, many_helpers, bad_edge, goes_away, bad_six, black_hole, lossy_upload, one_resolver,
        intercepted, buffered, overloaded_machine, vpn_changes, roams,
    )
}  # fmt: skip
APART: dict[str, Maker] = {"retry_storm": retry_storm}
"What another cause has to bring about: it has homes of its own."
UNLISTED: dict[str, Maker] = {maker.__name__: maker for maker in (one_project, bad_sessions, accident)}
STATISTICAL = frozenset(
    {
        "large", "bad_version", "crowded", "many_helpers", "seen_together", "flaps", "bad_edge", "goes_away", "bad_six",
        "lossy_upload", "vpn_changes", "roams",
    }
)  # fmt: skip
"Not to be seen in six failures by anybody, and hardly in twenty: there is no small home of them."

NEEDS = {
    "bad_edge": "flights", "goes_away": "flights", "bad_six": "flights", "black_hole": "flights",
}  # fmt: skip
"What a home has to have, for anybody to know."
TWINS = (
    ("flaps", "seen_together"), ("wall", "forgets"), ("wall", "edge_silence"), ("line_away", "no_names"),
    ("sleeps", "link_away"), ("pool_dies", "flaps"), ("large", "lossy_upload"), ("one_resolver", "no_names"),
    ("roams", "vpn_changes"), ("buffered", "impatient"), ("bad_edge", "bad_six"), ("goes_away", "seen_together"),
    ("black_hole", "line_away"), ("overloaded_machine", "link_away"), ("crowded", "many_helpers"),
    ("wall_seen", "edge_gives_up"),
)  # fmt: skip
"Pairs that look alike from afar."
