"""What somebody probed in a home's days, and what came of it: nothing, or what its causes make of the path.

The probes weigh their own measurements here as they do in the product; measured is what is true of the home.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.probes import connect, edge, handshake, idle, kept, mtu, ping, resolve, upload
from holdfast.probes.lookup import Found
from holdfast.probes.net import Address, TlsFacts
from holdfast.probes.result import Finding, Grade, Result
from tests.diagnosis.homes import DAY, HOUR, Home
from tests.sessions.written import MORNING_MS

HOST, FOUR, SIX = "api.anthropic.com", "203.0.113.7", "2001:db8:7::a"
GOOD, BAD = "192.0.2.53", "198.51.100.53"
HOLDS_S = (15.0, 60.0, 120.0, 300.0, 600.0)
SIZES = (10_000, 100_000, 1_000_000, 5_000_000)


def write(home: Home, state: Path, days: int) -> None:
    """Keep the results of three rounds, in a state directory."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    for day in (1, days // 2, days - 1):
        kept.keep(state, list(probed(home, MORNING_MS + day * DAY + 10 * HOUR)))


def probed(home: Home, at_ms: int) -> list[Result]:
    """One round."""
    shown = {name: cause.probed for name, cause in home.causes.items() if cause.probed}
    all_shown = [*shown.values(), *([home.distraction] if home.distraction else [])]
    limits = [limit for limit in all_shown if isinstance(limit, float)]
    words = {word for word in all_shown if isinstance(word, str)}
    found: dict[str, Finding] = {
        "resolve": _resolve("resolver" in words, "v6" in words),
        "connect": connect.verdict(
            [connect.Try(FOUR, "4", 0.021 + number / 1000) for number in range(5)]
            + [
                connect.Try(SIX, "6", 3.0, "no answer within 3 s" if number % 2 else "")
                for number in range(5)
                if "v6" in words
            ]
        ),
        "handshake": _handshake("interceptor" in words),
        "ping": ping.verdict([0.02 + number / 1000 for number in range(10)], "ICMP", FOUR, []),
        "mtu": _mtu("mtu" in words),
        "upload": _upload("upload" in words),
        "idle": _idle(min(limits, default=None)),
    }
    modules = {
        "resolve": resolve, "connect": connect, "handshake": handshake, "ping": ping, "mtu": mtu, "upload": upload,
        "idle": idle,
    }  # fmt: skip
    results = [
        Result(
            name, f"{HOST}:443", at_ms + number * 60_000, 5.0, one.grade, one.verdict, modules[name].SAYS,
            modules[name].DOES_NOT_SAY, one.facts, one.complete,
        )
        for number, (name, one) in enumerate(found.items())
    ]  # fmt: skip
    facts = {
        "address": FOUR,
        "answered_ms": 40.0,
        "status": 404,
        "place": "ORD",
        "headers": {"server": "cloudflare"},
    }
    verdict = "cloudflare at ORD answered HEAD with 404 in 40 ms"
    results.append(
        Result("edge", f"{HOST}:443", at_ms, 1.0, Grade.FINE, verdict, edge.SAYS, edge.DOES_NOT_SAY, facts)
    )
    return results


def _resolve(broken: bool, six: bool) -> Finding:
    addresses = [Address(FOUR, 443, "4"), *([Address(SIX, 443, "6")] if six else [])]
    heard = []
    for number in range(2):
        for name in (GOOD, BAD):
            for kind, value in (("A", FOUR), ("AAAA", SIX)):
                lost = broken and name == BAD and (number or kind == "A")
                took_s = 5.0 if lost else 0.02
                heard.append(
                    resolve.Heard(name, kind, took_s, () if lost else (value,), "timeout" if lost else "")
                )
    return resolve.verdict(HOST, [Found(tuple(addresses), 0.02), Found(tuple(addresses), 0.03)], heard, [])


def _handshake(intercepted: bool) -> Finding:
    issuer = "Zscaler Inc., Zscaler Intermediate Root CA" if intercepted else "Google Trust Services, WE1"
    root = "Zscaler Inc., Zscaler Root CA" if intercepted else "Google Trust Services LLC, GTS Root R4"
    tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2", issuer, root, HOST, "2026-12-01")
    return handshake.verdict(HOST, [handshake.Try(0.05, tls) for _ in range(3)])


def _mtu(hole: bool) -> Finding:
    if not hole:
        return mtu.verdict([mtu.Try(536, 536, 1500, True), mtu.Try(None, 1448, 1500, True)])
    low, high = 536, 1448
    tries = [mtu.Try(536, 536, 1500, True), mtu.Try(None, 1448, 1500, False, "upload", 4, 5.0)]
    while high - low > 16:
        middle = (low + high) // 2
        tries.append(
            mtu.Try(middle, middle, 1500, middle <= 1360, "" if middle <= 1360 else "upload", 4, 5.0)
        )
        low, high = (middle, high) if middle <= 1360 else (low, middle)
    return mtu.verdict(tries)


def _upload(lossy: bool) -> Finding:
    rungs = []
    for size in SIZES:
        segments = size // 1448 + 1
        again = segments // 12 if lossy else 0
        if lossy and size == SIZES[-1]:
            rungs.append(
                upload.Rung(
                    size,
                    size // 3,
                    None,
                    None,
                    None,
                    "no answer within 30 s",
                    size // 4,
                    again,
                    segments,
                    again * 1448,
                )
            )
            continue
        sent_s = size / 400_000
        rungs.append(
            upload.Rung(size, size, 401, sent_s + 0.1, sent_s, "", size, again, segments, again * 1448)
        )
    return upload.verdict(rungs, SIZES)


def _idle(limit_s: float | None) -> Finding:
    held = []
    for hold_s in HOLDS_S:
        gone = limit_s is not None and hold_s > limit_s
        outcome = idle.Outcome.DEAD_ON_SEND if gone else idle.Outcome.ALIVE
        held.append(idle.Held(hold_s, False, outcome, hold_s, "timeout" if gone else ""))
        held.append(idle.Held(hold_s, True, idle.Outcome.ALIVE, hold_s))
    return idle.verdict(held, fresh_works=True)
