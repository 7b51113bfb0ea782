"""Which timer is behind an ending: named only where more than a number speaks for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.diagnosis import atlas, timers
from holdfast.diagnosis.timers import Ranking, Seen, candidates, chance
from holdfast.flight.endings import Ending, Mechanism, Phase, Side

CLIENT_RESET = Seen(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, idle_s=300.2, wall_s=311.0)


def ids(ranking: Ranking) -> list[str]:
    """The candidates, the likeliest first."""
    return [candidate.timer.id for candidate in ranking.candidates]


def why_not(ranking: Ranking, name: str) -> str:
    """Why a timer with the number is none."""
    return next(one.reason for one in ranking.excluded if one.timer.id == name)


def test_a_client_that_resets_after_300_s_of_silence_is_named_by_side_and_mechanism() -> None:
    """The freeze: the client's watchdogs are it, its edge and a NAT cannot be, and the reasons are said."""
    found = candidates(replace(CLIENT_RESET, agent="claude-code 2.1.329"))

    assert [one.timer.id for one in found.named] == [
        "cc_byte_watchdog_gateway",
        "cc_event_watchdog",
        "cc_body_idle",
    ]
    assert found.sentence().startswith("Suspected: one of 3 timers that agree (cc_byte_watchdog_gateway,")
    assert why_not(found, "undici_body") == "it is no timer of claude-code 2.1.329"
    assert "sends no close from the client's side" in why_not(found, "cgnat_measured")
    assert "between requests only" in why_not(found, "caddy_idle")
    assert repr(found.candidates[0]) == "<Candidate cc_byte_watchdog_gateway named, idle 300.2 of 300 s>"


@pytest.mark.parametrize(
    ("agent", "names"), [("okhttp/4.12.0", True), ("", True), ("curl/8.5.0", False), ("teapot/1.0", False)]
)
def test_a_library_is_named_only_where_the_client_may_be_built_on_it(agent: str, names: bool) -> None:
    """Ten seconds of silence are OkHttp's; a client that is another, or that nobody knows, did not hang up by them."""
    left = Seen(Side.CLIENT, Mechanism.FIN, Phase.IN_TEXT, idle_s=10.2, wall_s=12.0, agent=agent)
    found = candidates(left)

    assert ("okhttp_read" in [one.timer.id for one in found.named]) is names
    if agent == "curl/8.5.0":
        assert why_not(found, "okhttp_read") == "it is no timer of curl 8.5.0"
    if agent == "teapot/1.0":
        assert not found.named and "which its agent does not say" in found.candidates[0].sentence()
    early = candidates(replace(left, idle_s=9.2))
    assert "okhttp_read" not in {*ids(early), *(one.timer.id for one in early.excluded)}


def test_a_number_alone_names_nobody() -> None:
    """Three hundred seconds has many owners; what is said is how many."""
    found = candidates(Seen(idle_s=300.0))
    assert not found.named and len(found.candidates) >= 7
    assert found.sentence().endswith(
        f"fits, among {len(found.candidates) - 1} others; none can be named by a number alone."
    )


def test_the_number_again_and_again_names_a_timer_too() -> None:
    """Three silences of 350 s are no accident; two may be; and three that differ name nothing."""
    seen = Seen(idle_s=350.1)
    assert not candidates(seen, [Seen(idle_s=349.8)]).named
    thrice = candidates(seen, [Seen(idle_s=349.8), Seen(idle_s=350.4)])
    assert "aws_nlb_tcp" in [one.timer.id for one in thrice.named]
    assert "3 of 3 endings have it" in thrice.candidates[0].sentence()
    scattered = candidates(seen, [Seen(idle_s=120.0), Seen(idle_s=610.0)])
    assert not scattered.named and "only 1 of 3 endings have its number" in why_not(scattered, "aws_nlb_tcp")


def test_a_clock_that_was_moved_cannot_have_run_out() -> None:
    """Pings came all the time: what counts bytes was reset by them, what counts events was not."""
    pinged = Seen(Side.CLIENT, Mechanism.RST, Phase.IN_TEXT, idle_s=9.0, event_s=750.4, wall_s=800.0)
    assert [one.timer.id for one in candidates(pinged).named] == ["cc_event_clock"]
    silent = candidates(Seen(Side.CLIENT, Mechanism.RST, Phase.IN_TEXT, idle_s=300.0, event_s=300.0))
    assert {"cc_byte_watchdog_gateway", "cc_event_watchdog"} <= set(ids(silent))


def test_headers_end_the_wait_for_headers() -> None:
    """The same 300 s: before headers one of Node's timers, after them another."""
    before = Seen(
        Side.CLIENT, Mechanism.FIN, Phase.AWAITING_HEADERS, wall_s=300.6, agent="claude-code 2.1.86"
    )
    after = Seen(
        Side.CLIENT, Mechanism.FIN, Phase.IN_TEXT, idle_s=300.6, wall_s=320.0, agent="claude-code 2.1.86"
    )
    assert candidates(before).named[0].timer.id == "undici_headers"
    assert [one.timer.id for one in candidates(after).named] == ["undici_body"]


def test_a_status_tells_the_edge_from_the_proxy() -> None:
    """524 is Cloudflare's own; with 504 after 120 s it is another's."""
    seen = Seen(
        Side.PROVIDER, Mechanism.HTTP_ERROR, Phase.AWAITING_HEADERS, wall_s=120.3, idle_s=120.3, status=524
    )
    assert [one.timer.id for one in candidates(seen).named] == ["cf_proxy_read"]
    other = candidates(replace(seen, status=504))
    assert why_not(other, "cf_proxy_read") == "it answers with 524, not with 504" and ids(other) == [
        "vercel_proxy"
    ]


def test_what_forgets_in_silence_explains_every_longer_silence() -> None:
    """A NAT's limit shows at the next packet; probes of TCP's keep it from running out at all."""
    dark = Seen(Side.PATH, Mechanism.KEEPALIVE_UNANSWERED, Phase.IN_TOOL_USE, idle_s=420.0)
    found = candidates(dark)
    assert {"aws_network_firewall", "cgnat_measured"} <= {timer.id for timer in found.later}
    assert "gcp_vpc_conntrack" not in {timer.id for timer in found.later}
    assert not candidates(replace(dark, keepalive_s=30.0)).later
    held = candidates(replace(dark, idle_s=350.0, keepalive_s=30.0))
    assert (
        why_not(held, "aws_network_firewall") == "any packet resets it, and TCP's own probes went every 30 s"
    )


@pytest.mark.parametrize("side", [Side.GATEWAY, Side.MACHINE, Side.NOBODY])
def test_what_we_ended_ourselves_is_laid_on_nobody(side: Side) -> None:
    """No timer of others is looked for behind our own limits."""
    found = candidates(Seen(side, Mechanism.DEADLINE, Phase.IN_TEXT, idle_s=300.0))
    assert not found.candidates and "no timer" in found.sentence().lower()


def test_an_ending_brings_its_own_numbers() -> None:
    """The evidence in an ending is taken where the caller gives no clock."""
    left = Ending(
        Side.CLIENT, Mechanism.FIN_THEN_RST, Phase.IN_TEXT, "",
        {"since_byte_s": 600.2, "since_event_s": 600.2, "silence_s": 3.0, "unacked_bytes": None, "age_s": True},
    )  # fmt: skip
    seen = Seen.of(left, agent="anthropic-python 2.11.0")
    assert repr(seen) == "<Seen C.fin+rst.text, idle 600.2 s, event 600.2 s>"
    assert [one.timer.id for one in candidates(seen).named] == ["sdk_py_read"]
    broke = Ending(
        Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT, "", {"since_byte_s": 1.0, "silence_s": 30, "age_s": 90.5}
    )
    assert repr(Seen.of(broke, wall_s=80.0)) == "<Seen P.rst.text, idle 30 s, wall 80 s, age 90.5 s>"


def test_chance_is_reckoned_from_the_rows_and_not_quoted() -> None:
    """At 5% some three in ten silences of 30 to 900 s have some number; ours at 2% are told with every ranking."""
    numbers = [replace(timer, from_s=None, to_s=None) for timer in atlas.timers()]
    assert 0.25 <= chance(numbers, share=0.05, least_s=0) < 0.35
    assert chance(numbers) < chance(atlas.timers())  # a span that is wide matches more
    assert chance([replace(numbers[0], seconds=300.0)], share=0.05, least_s=0) == pytest.approx(16.5 / 870)
    found = candidates(CLIENT_RESET)
    assert 0 < found.chance_left < found.chance < 1
    assert f"in {found.chance:.0%} of cases (up to 2% or 1 s late)" in found.chance_sentence()
    assert chance([], share=0.05) == 0.0


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05])
def test_chance_is_the_share_of_silences_that_match(share: float) -> None:
    """Silences a tenth of a second apart from 30 to 900 s, matched one by one, give the same share."""
    rows = [timer for timer in atlas.timers() if timer.is_limit]
    silences = [30 + tenth / 10 for tenth in range(8700)]
    windows = {timer.window_s(share, 1.0) for timer in rows}
    matched = sum(any(low <= silence <= high for low, high in filter(None, windows)) for silence in silences)
    assert chance(rows, share=share) == pytest.approx(matched / 8700, abs=0.005)


@given(
    st.sampled_from([None, *Side]), st.sampled_from([None, *Mechanism]), st.sampled_from([None, *Phase]),
    st.floats(1, 8000), st.sampled_from(["", "claude-code 2.1.329", "openai-python 3.52.0", "unknown"]),
)  # fmt: skip
def test_every_row_with_the_number_is_a_candidate_or_has_a_reason(
    side: Side | None, mechanism: Mechanism | None, phase: Phase | None, seconds: float, agent: str
) -> None:
    """Nothing is dropped in silence, and nothing is named while side or mechanism is unknown."""
    seen = Seen(side, mechanism, phase, seconds, seconds, seconds, seconds, seconds, seconds, agent=agent)
    found = candidates(seen)
    have = {timer.id for timer in atlas.timers() if timer.is_limit and timers._has(timer, seconds, 0.02, 1.0)}
    assert {*ids(found), *(one.timer.id for one in found.excluded)} == have
    assert all(one.reason for one in found.excluded)
    assert not found.named or (side is not None and mechanism is not None)
    assert found.sentence().endswith(".") and found.as_dict()["chance"] == pytest.approx(
        found.chance, abs=1e-4
    )


def test_one_timer_that_is_excluded_is_spoken_of_as_one() -> None:
    """In text and in JSON."""
    ranking = candidates(CLIENT_RESET)
    alone = replace(ranking, candidates=(), excluded=ranking.excluded[:1])
    assert alone.sentence() == "No timer fits: the one that has the number is excluded."
    two = replace(alone, excluded=ranking.excluded[:2])
    assert two.sentence() == "No timer fits: all 2 that have the number are excluded."
