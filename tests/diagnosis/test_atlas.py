"""The atlas of timers: every row whole, in our words, with a source, and at one with the gateway's client profiles."""

from __future__ import annotations

import csv
import math
import subprocess
import sys

import pytest

from holdfast.diagnosis import atlas
from holdfast.diagnosis.atlas import Timer
from holdfast.flight.endings import Mechanism
from holdfast.gateway.profiles import measured_profiles

ROWS = atlas.timers()


@pytest.mark.parametrize("timer", ROWS, ids=lambda timer: timer.id)
def test_every_row_is_whole(timer: Timer) -> None:
    """Every word is of a known list, every number makes sense, and every row says how it is known."""
    assert timer.name and timer.fires and timer.source and timer.applies
    assert timer.layer in atlas.LAYERS and timer.clock in atlas.CLOCKS and timer.counts in atlas.COUNTS
    assert timer.keepalive in atlas.HELPS and timer.ping in atlas.HELPS and timer.grade in atlas.GRADES
    assert timer.configurable in ("yes", "no", "partly") and timer.during in ("", "sending")
    assert timer.shows <= {mechanism.value for mechanism in Mechanism}
    assert bool(timer.status) == ("http" in timer.shows)
    for low, value, high in (
        (timer.least_s, timer.seconds, timer.most_s),
        (timer.from_s, timer.seconds, timer.to_s),
    ):
        assert value is None or (low or 0) <= value <= (high or math.inf)
    assert (timer.from_s is None) == (timer.to_s is None)


@pytest.mark.parametrize("timer", [timer for timer in ROWS if timer.is_limit], ids=lambda timer: timer.id)
def test_a_limit_says_how_it_shows_and_what_moves_it(timer: Timer) -> None:
    """Without a way of showing, or anything that resets it or not, a limit could neither be found nor excluded."""
    if timer.id.startswith("rfc5382"):
        return  # a rule for others' timers: nothing of its own is ever seen
    assert timer.shows and timer.wire
    assert timer.counts or timer.clock == "connect"
    if timer.clock in ("headers", "connect"):
        assert timer.before and not timer.after
    if timer.shows_late:
        assert timer.keepalive == "yes" and timer.shows <= {"dark", "rst"}
    if timer.counts == "nothing":
        assert timer.keepalive == "no" and timer.ping == "no"
    if timer.clock == "idle" and timer.counts == "events":
        assert timer.ping != "yes"


def test_every_id_is_there_once_and_the_file_has_no_other_column() -> None:
    """A row is found by its id; a column that nobody reads would be a fact that nobody sees."""
    assert len({timer.id for timer in ROWS}) == len(ROWS) >= 139
    with atlas.DATA.open(encoding="utf-8", newline="") as file:
        head = next(csv.reader(file))
    assert sorted(head) == sorted(Timer.__dataclass_fields__)


def limits() -> dict[str, tuple[str, float]]:
    """The gateway's own knowledge of its clients: clock and seconds by `profile/limit/requests`."""
    return {
        f"{profile.name}/{limit.name}/{limit.applies}": (limit.clock, limit.seconds)
        for profile in measured_profiles()
        for limit in profile.limits
        if limit.seconds != math.inf
    }


CLOCKS = {
    "headers": {("headers", "bytes"), ("idle", "bytes")},
    "bytes": {("idle", "bytes"), ("idle", "events")},
    "events": {("idle", "events")},
    "total": {("wall", "nothing")},
}


def test_the_atlas_and_the_client_profiles_agree() -> None:
    """Two places name the same timers; each measured limit is in the atlas, once, with its clock and its number."""
    said = limits()
    named = [(place, timer) for timer in ROWS for place in timer.profiles]
    assert sorted(place for place, _ in named) == sorted(said)
    for place, timer in named:
        clock, seconds = said[place]
        assert (timer.clock, timer.counts) in CLOCKS[clock], place
        window = timer.window_s(0, 0)
        assert window is not None and window[0] <= seconds <= window[1], place
        assert timer.belongs_to(place.partition("/")[0]), place


def test_a_timer_of_one_version_is_not_laid_on_another() -> None:
    """2.1.86 runs on Node and has its HTTP library's limit; later versions do not, and have watchdogs."""
    [node] = atlas.find("undici_body")
    [watchdog] = atlas.find("cc_byte_watchdog_gateway")
    assert node.belongs_to("claude-code 2.1.86") and not node.belongs_to("claude-code 2.1.114")
    assert watchdog.belongs_to("claude-code 2.1.329") and watchdog.belongs_to("claude-code 2.1.114") is False
    assert watchdog.belongs_to("unknown") is None and watchdog.belongs_to("") is None
    assert watchdog.belongs_to("teapot/1.0") is None and watchdog.belongs_to("openai-python 3.52.0") is False


@pytest.mark.parametrize(
    ("agent", "known"),
    [
        ("curl/8.5.0", "curl 8.5.0"),
        ("Python-urllib/3.11", "urllib 3.11"),
        ("Python/3.12 aiohttp/3.9.1", "aiohttp 3.9.1"),
        ("okhttp/4.12.0", "okhttp 4.12.0"),
        ("node", "node"),
        ("node-fetch/1.0", "node-fetch/1.0"),
        ("claude-code 2.1.329", "claude-code 2.1.329"),
    ],
)
def test_a_library_is_known_by_its_user_agent(agent: str, known: str) -> None:
    """Whose timer is another library's is not its own."""
    [okhttp] = atlas.find("okhttp_read")
    assert atlas.known_as(agent) == known
    if known != "node-fetch/1.0":
        assert okhttp.belongs_to(agent) is known.startswith("okhttp")


def test_no_timer_fires_before_its_time() -> None:
    """Late by up to a second, early by what two clocks differ by."""
    [okhttp] = atlas.find("okhttp_read")
    assert okhttp.window_s(0.02, 1.0) == (9.95, 11.0)
    assert okhttp.window_s(0, 0) == (10.0, 10.0)


def test_every_rule_of_a_row_can_be_read() -> None:
    """A rule that does not parse would lay a timer on nobody."""
    for timer in ROWS:
        assert all(atlas._RULE.fullmatch(rule) for rule in timer.programs), timer.id
        assert timer.role == "client" or not timer.programs, timer.id


def test_a_row_is_found_by_its_id_or_by_a_word_of_its_name() -> None:
    """An id that is whole is that row alone."""
    assert [timer.id for timer in atlas.find("nginx_read")] == ["nginx_read"]
    assert {"cf_proxy_read", "cf_connect"} <= {timer.id for timer in atlas.find("cloudflare")}
    assert atlas.find("no such thing") == [] and atlas.find(" ") == []


def test_the_atlas_is_read_only_when_it_is_asked_for() -> None:
    """Importing costs nothing; reading all rows is a matter of milliseconds."""
    code = (
        "import time; from holdfast.diagnosis import atlas\n"
        "assert atlas.timers.cache_info().currsize == 0\n"
        "best = 9.0\n"
        "for _ in range(5):\n"
        "    atlas.timers.cache_clear(); t = time.perf_counter()\n"
        "    atlas.timers(); best = min(best, time.perf_counter() - t)\n"
        "assert best < 0.02, best"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0
