"""Somebody between opens TLS, and shows a certificate of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.diagnosis.case import Case, Failure
from holdfast.diagnosis.hypotheses._told import TOLD
from holdfast.diagnosis.hypotheses._words import days
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import counted
from holdfast.probes.result import Result

_FOREIGN = re.compile(
    r"SELF_SIGNED_CERT|UNABLE_TO_(?:VERIFY|GET_ISSUER)|CERT_UNTRUSTED|INVALID_CA|UNKNOWN_CA|"
    r"self[- ]signed certificate|unable to (?:verify the first|get (?:local )?issuer) certificate|unknown ca",
    re.IGNORECASE,
)
"Words for a certificate whose authority nobody here knows. An expired one, or another name's, is the server's own trouble."
CHANGED = 100.0
"Of records that arrived changed: a box that reads TLS and errs, or a broken line, which TCP's sums mostly catch."


class TlsInterception(Hypothesis):
    """A company's gateway, a virus scanner or a debugging proxy stands between, ends TLS and begins it anew, with a
    certificate that the system's store may know and this client does not, and with timers and buffers of its own.

    It predicts: failures that name a certificate's authority (self-signed, issuer not found), on that network alone and for
    every host alike; an issuer that is no public authority. Certificates that have expired or bear another name are the
    server's, or the clock's. Where it is trusted, nothing fails by its certificate, and what its timers do looks like a
    limit on the way: the issuer tells that it is there, and not that it did it.
    """

    name = "tls-interception"
    title = "Somebody on the way opens TLS, with a certificate of its own"
    remedy = (
        "Give the client that authority (NODE_EXTRA_CA_CERTS=/path/to/ca.pem), or have the provider's host exempted from "
        "inspection."
    )
    falsifier = "the certificate that is shown on this network, at such a time, comes from a public authority"

    def ratios(self, case: Case) -> Sequence[float]:
        return [_ratio(case, failure) for failure in case.failures]

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name == "link":
            programs = result.facts.get("programs")
            filters = programs.get("filter") if isinstance(programs, dict) else None
            return (
                Answered(3.0, f"a program that may read TLS was running ({', '.join(map(str, filters[:3]))})")
                if isinstance(filters, list) and filters
                else None
            )
        if result.name != "handshake":
            return None
        kind, issuer = result.facts.get("issuer_is"), result.facts.get("issuer")
        who = f"the certificate's issuer is {issuer}" if issuer else "the certificate names no issuer"
        if kind == "interceptor":
            return Answered(100.0, f"{who}, which is known to stand between")
        if kind == "unknown":
            return Answered(10.0, f"{who}, no public authority that is known")
        # It may spare this program or this host.
        return Answered(0.2, f"{who}, a public authority") if kind == "public" else None

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        where = f"a certificate of an unknown authority, on {counted(days(mine), 'day')}"
        pro = [Evidence(f"{counted(len(mine), 'request')} ended at {where}.", "transcripts")]
        changed = sum(_changed(case, failure) for failure in mine)
        if changed:
            pro.append(Evidence(f"In {counted(changed, 'case')} TLS records arrived changed.", "flights"))
        settle = (
            "holdfast probe handshake, here and on another network: who issued the certificate; holdfast probe link: "
            "which programs and proxies could"
        )
        return Brief(tuple(pro), (), settle)


def _changed(case: Case, failure: Failure) -> bool:
    return any(one.mechanism is Mechanism.TLS_BROKEN for one in case.trips_of.get(failure.id, ()))


def _ratio(case: Case, failure: Failure) -> float:
    words = [*failure.codes, failure.text]
    words += [one.text for one in case.seen.get(failure.id, ()) if one.mechanism is Mechanism.TLS]
    if any(_FOREIGN.search(word) for word in words):
        return TOLD
    if failure.statuses:
        return 0.0
    return CHANGED if _changed(case, failure) else 1.0
