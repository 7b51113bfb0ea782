"""Who is at the other end, by its certificate, and how fast do we agree?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from holdfast.probes import authorities, lookup
from holdfast.probes.asking import HANDSHAKE_BYTES, UNKNOWN, Cost, Options, not_here, unreachable
from holdfast.probes.net import NOT_TLS, Address, NoConnection, Stop, TlsFacts, connect, pause, reach
from holdfast.probes.result import Finding, Grade, among, excluded, ms, those
from holdfast.probes.target import Target

NAME = "handshake"
ASKS = "TLS: version, ALPN, who issued the certificate (an interceptor?), and how fast."
SAYS = (
    "With whom TLS was agreed just now. An issuer that is a company's or a program's own means that somebody between "
    "reads the stream, with timers and buffers of its own."
)
DOES_NOT_SAY = (
    "That nobody intercepts: an interceptor may spare this program, or this name. Nothing about streams."
)
ROUNDS = 3
MOST_ADDRESSES = 4
"That are tried before it is given up."


@dataclass(frozen=True, slots=True)
class Try:
    """One handshake; times in seconds."""

    took_s: float | None
    tls: TlsFacts | None = None
    failure: str = ""
    "`untrusted`, `timeout`, ...; empty where it was done."
    text: str = ""


def cost(target: Target, options: Options) -> Cost:
    rounds = options.rounds or ROUNDS
    return Cost(rounds, rounds * HANDSHAKE_BYTES, rounds * (options.every_s + 0.2)) if target.tls else Cost()


def ask(target: Target, options: Options, stop: Stop) -> Finding:
    if not target.tls:
        return Finding(Grade.NOT_MEASURED, not_here("the target is plain http: there is no TLS"))
    tries: list[Try] = []
    shown: TlsFacts | None = None
    for number in range(options.rounds or ROUNDS):
        if number:
            pause(options.every_s, stop)
        if stop():
            break
        address = first_address(target, options, stop)
        try:
            wire = reach(target, address, options.patience_s, stop, alpn=("h2", "http/1.1"))
        except NoConnection as error:
            if error.phase != "tls":
                return unreachable(error)
            if error.kind != "stopped":
                tries.append(Try(None, failure=error.kind, text=str(error)))
            if error.kind == "untrusted" and shown is None:
                shown = _looked_at(target, address, options, stop)
        else:
            tries.append(Try(wire.opened.tls_s, wire.tls_facts()))
            wire.close()
    return verdict(target.host, tries, shown)


def first_address(target: Target, options: Options, stop: Stop, *, connects: bool = True) -> Address:
    """The first address of the system's that TCP connects to, as a program would find it. Raises `NoConnection`.

    A family that is offered and broken is a finding of connect's; the other questions go past it, as clients do.
    """
    found = lookup.system(*target.nearest, options.patience_s, stop)
    if not found.addresses:
        kind = "stopped" if stop() else "unresolved"
        raise NoConnection("connect", kind, f"the name does not resolve: {found.error}", found.took_s)
    if not connects or len(found.addresses) == 1:
        return found.addresses[0]
    first: NoConnection | None = None
    for address in found.addresses[:MOST_ADDRESSES]:
        try:
            connect(address, min(options.patience_s, 3.0), stop).close()
        except NoConnection as error:
            first = first or error
        else:
            return address
    assert first is not None
    raise first


def _looked_at(target: Target, address: Address, options: Options, stop: Stop) -> TlsFacts | None:
    """Whose certificate it is that is not trusted. Nothing is said to whoever shows it."""
    try:
        wire = reach(target, address, options.patience_s, stop, verify=False)
    except NoConnection:
        return None
    try:
        return wire.tls_facts()
    finally:
        wire.close()


def verdict(host: str, tries: list[Try], shown: TlsFacts | None = None) -> Finding:
    """Weigh the handshakes; `shown` is whoever was not trusted."""
    if not tries:
        return Finding(Grade.NOT_MEASURED, UNKNOWN, complete=False)
    good = [one for one in tries if not one.failure]
    seen = good[-1].tls if good else shown
    kind, name = authorities.kind_of(*((seen.issuer, seen.root) if seen is not None else (None, None)))
    facts: dict[str, object] = {
        "tries": len(tries),
        "agreed": len(good),
        "ms": [ms(one.took_s) for one in good],
        "errors": sorted({one.text for one in tries if one.failure}),
        "trusted": bool(good) if seen is not None else None,
        "issuer_is": kind if seen is not None else None,
        "distinct_issuers": sorted({one.tls.issuer for one in good if one.tls and one.tls.issuer}),
        **(asdict(seen) if seen is not None else {}),
    }
    if not good:
        if all(one.failure == NOT_TLS for one in tries):
            return Finding(Grade.NOT_MEASURED, tries[0].text, {**facts, "failed_as": NOT_TLS})
        failures = those(sorted({one.text for one in tries}))
        if any(one.failure == "untrusted" for one in tries):
            who = f", issued by {seen.issuer}" if seen is not None and seen.issuer else ""
            hint = (
                f"; {name} is known to stand between and read TLS" if kind == "interceptor"
                else "; a company's gateway or a virus scanner would look like this"
            )  # fmt: skip
            return Finding(
                Grade.BROKEN,
                f"the certificate shown for {host}{who} is not trusted here: {failures}{hint}",
                facts,
            )
        return Finding(Grade.BROKEN, f"TLS failed {len(tries)} of {len(tries)} times: {failures}", facts)
    assert seen is not None or not facts["issuer_is"]
    text = _agreed(good, tries, seen)
    if kind == "interceptor":
        text += f"; {name} issued the certificate: TLS is opened and read on the way"
        return Finding(Grade.SUSPECTED, text, facts)
    if seen is not None and kind == "unknown":
        text += (
            f"; issued by {name or 'nobody that can be told'}, which is trusted here but no public authority that we "
            "know: perhaps intercepted"
        )
        return Finding(Grade.SUSPECTED if name else Grade.NOTED, text, facts)
    text += f"; issued by {seen.issuer if seen is not None else '?'}, a public authority"
    return Finding(Grade.SUSPECTED if len(good) < len(tries) else Grade.FINE, text, facts)


def _agreed(good: list[Try], tries: list[Try], seen: TlsFacts | None) -> str:
    what = f"{seen.version}, ALPN {seen.alpn or 'none'}" if seen is not None else "TLS"
    times = [one.took_s for one in good if one.took_s is not None]
    text = f"{what}: {len(good)} of {len(tries)} agreed in {among(times)}"
    if len(good) < len(tries):
        text += f", else {those(sorted({one.text for one in tries if one.failure}))}"
    return f"{text}; that {excluded(len(tries) - len(good), len(tries))}, and says nothing about streams"
