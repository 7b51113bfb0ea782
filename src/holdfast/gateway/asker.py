"""Who asks: what a request's head tells of its client, and what follows from that.

It is the same from turn to turn of a session. So it is worked out for the first of them, and looked up for the others.
Nothing that is kept here is a credential: whose request it is comes in as the tenant, a keyed hash.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.flight import moments as m
from holdfast.flight.redact import safe
from holdfast.gateway import profiles, sameness
from holdfast.gateway.deadlines import keepalive_interval
from holdfast.gateway.fields import Lines
from holdfast.gateway.guard import Head, Said
from holdfast.gateway.profiles import Profile, Timers
from holdfast.gateway.settings import Settings

KNOWN_MOST: Final = 256
"Of askers; then all are forgotten, and each is worked out once more."
_TELLING: Final = (
    b"user-agent",
    b"x-stainless-runtime",
    b"anthropic-version",
    b"anthropic-beta",
    b"x-claude-code-session-id",
    b"x-claude-code-agent-id",
)
"The headers that it all follows from, beside the tenant's and those that move a limit."


class Asker(NamedTuple):
    """A client in one of its sessions, as it asks for one kind of turn."""

    key: sameness.HeadKey
    profile: Profile
    timers: Timers
    arrived: m.RequestArrived
    session: str | None
    "Fit to be shown, as the next."
    subagent: str | None


class Plan(NamedTuple):
    """What becomes of a request that was let in. It follows from its head, so it is the same whenever that comes."""

    target: bytes
    "The request's own, without our prefix."
    asker: Asker | None
    "None where the request is no turn."
    lines: Lines
    "Its headers for upstream, without framing."


class Askers:
    """Everybody who asked lately."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        """`secret` is what tenants are hashed with."""
        self._settings = settings
        self._secret = secret
        self._origin = settings.upstream.origin
        self._telling = (*_TELLING, *sorted(name.encode() for name in profiles.limit_headers()))
        self._known: dict[tuple[str | bytes | None, ...], Asker] = {}
        self._timers: dict[tuple[str | None, ...], Timers] = {}
        "The same few for all sessions: a turn keeps its own as long as it lives."

    def __repr__(self) -> str:
        return f"<Askers {len(self._known)} known>"

    def of(self, head: Head, target: bytes) -> Asker:
        """Who asks for this turn. `target` is the request's own, without our prefix."""
        settings = self._settings
        shown = head.values(sameness.CREDENTIALS)
        tenant = sameness.tenant_of(
            shown, run_tenant=settings.tenant, token=settings.token, secret=self._secret
        )
        told = (tenant, head.method, target, *head.values(self._telling))
        found = self._known.get(told)
        if found is None:
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            found = self._known[told] = self._work_out(tenant, head, target)
        return found

    def _work_out(self, tenant: str, head: Head, target: bytes) -> Asker:
        said = Said(head)
        profile = profiles.choose(said.get("user-agent", ""), said)
        key = sameness.head_key(tenant, head.method, target, said, upstream=self._origin)
        session, subagent = ids(head)
        return Asker(
            key,
            profile,
            self._timers_of(profile, said),
            arrived(head, target, profile.name),
            key.session if session == key.session else session,  # one text for both: each turn keeps them
            key.agent if subagent == key.agent else subagent,
        )

    def _timers_of(self, profile: Profile, said: Said) -> Timers:
        key = (profile.name, *[said.get(name) for name in profile.limit_headers])
        found = self._timers.get(key)
        if found is None:
            if len(self._timers) >= KNOWN_MOST:
                self._timers.clear()
            limits = profiles.limits_for(profile, said, self._settings.client_env, None)
            found = self._timers[key] = Timers(
                limits,
                profiles.header_patience(profile, limits, streaming=True),
                profiles.header_patience(profile, limits, streaming=False),
                keepalive_interval(self._settings.timeouts.keepalive_s, limits),
            )
        return found


def arrived(head: Head, target: bytes, profile: str = "") -> m.RequestArrived:
    """The moment in which this request came."""
    path = target.partition(b"?")[0]
    return m.RequestArrived(
        safe(head.method.decode("latin-1")),
        safe(path.decode("latin-1"))[:200],
        safe(head.text(b"user-agent"))[:120],
        profile,
    )


def ids(head: Head) -> tuple[str | None, str | None]:
    """The client's own ids of its session and of the agent in it, fit to be shown."""
    return _id(head, b"x-claude-code-session-id"), _id(head, b"x-claude-code-agent-id")


def _id(head: Head, name: bytes) -> str | None:
    value = head.text(name)
    return safe(value)[:80] if value else None
