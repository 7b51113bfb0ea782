"""What a provider's status page says: asked of a page on loopback, and weighed by values."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.probes import document, status
from holdfast.probes.asking import carry_out
from holdfast.probes.result import Finding, Grade, Result, as_dict, from_dict
from holdfast.probes.target import Target
from tests.probes.stage import QUICK, Server, go_on

NOW = round(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
API = {"name": "Claude API (api.anthropic.com)"}
CLAUDE = status.PAGES[0].serves


def incident(
    name: str, begun: str, ended: str | None, impact: str = "major", *parts: dict[str, str]
) -> dict[str, Any]:
    return {
        "id": name, "name": name, "impact": impact, "created_at": "2026-11-20T11:59:00Z", "started_at": begun,
        "resolved_at": ended, "status": "resolved" if ended else "investigating", "components": list(parts),
    }  # fmt: skip


OLD = incident("Elevated errors", "2026-10-02T09:00:00.500Z", "2026-10-02T03:10:00-07:00", "major", API)
OPEN = incident("Slow answers", "2026-11-20T11:30:00Z", None, "minor", API)
CHAT = incident("Chat is away", "2026-11-20T11:00:00Z", None, "critical", {"name": "claude.ai"})


def page(indicator: str, *running: dict[str, Any]) -> dict[str, Any]:
    words = {"none": "All Systems Operational", "minor": "Partially Degraded Service"}
    return {
        "page": {"name": "Claude", "url": "https://status.claude.com"},
        "status": {"indicator": indicator, "description": words.get(indicator, "Outage")},
        "incidents": list(running),
    }


def weighed(indicator: str, *running: dict[str, Any], past: Any = None) -> Finding:
    listed = {"incidents": [*running, OLD]} if past is None else past
    return status.verdict("status.claude.com", CLAUDE, page(indicator, *running), listed, NOW)


def kept(finding: Finding) -> Result:
    """As it comes back from the file."""
    return from_dict(
        as_dict(Result("status", "x:443", NOW, 1.0, finding.grade, finding.verdict, "s", "n", finding.facts))
    )


@pytest.mark.parametrize(
    ("indicator", "running", "grade", "words"),
    [
        ("none", (), Grade.FINE, 'Claude says "All Systems Operational" (none); no incident is open; 1 incident published'),
        ("minor", (OPEN,), Grade.NOTED, "open: Slow answers (minor, since 2026-11-20 11:30 UTC)"),
        ("minor", (), Grade.NOTED, "no incident is open"),
        ("major", (), Grade.SUSPECTED, 'Claude says "Outage" (major)'),
        ("none", ({**OPEN, "impact": "critical"},), Grade.SUSPECTED, "Slow answers (critical"),
        ("critical", (CHAT,), Grade.NOTED, "none of them names what api.anthropic.com needs"),
    ],
)  # fmt: skip
def test_what_a_page_says_now(indicator: str, running: tuple[Any, ...], grade: Grade, words: str) -> None:
    """Trouble of a part that the upstream does not need is worth knowing, and no more."""
    found = weighed(indicator, *running)

    assert found.grade is grade and words in found.verdict, found.verdict


def test_incidents_are_kept_with_their_times() -> None:
    """The begin that the page tells, not the publishing; an open one has no end; zones are reckoned."""
    past = status.published(kept(weighed("minor", OPEN)))

    assert past is not None and past.page == "Claude"
    first, second = past.incidents
    assert (first.name, first.impact, first.ended_wall_ms, first.concerns) == (
        "Slow answers",
        "minor",
        None,
        True,
    )
    assert second.begun_wall_ms == round(datetime(2026, 10, 2, 9, tzinfo=UTC).timestamp() * 1000) + 500
    assert second.ended_wall_ms == round(datetime(2026, 10, 2, 10, 10, tzinfo=UTC).timestamp() * 1000)
    assert (
        past.since_ms == second.begun_wall_ms and not past.covers(past.since_ms - 1) and past.covers(NOW - 1)
    )


def test_a_page_without_a_past_covers_nothing() -> None:
    """What is open now is told; that nothing else is listed says nothing of any time."""
    empty: list[dict[str, Any]] = [{"incidents": 3}, {"incidents": []}]
    for past in empty:
        found = weighed("minor", OPEN, past=past)
        assert "it lists no past" in found.verdict and found.facts["covered_from_wall_ms"] is None
        assert status.published(kept(found)) is None
    assert "its past could not be read" in status.verdict("p", (), page("none"), None, NOW).verdict


def test_an_incident_that_is_over_has_an_end() -> None:
    """Some pages call it resolved, and leave the moment out: then the last word about it is the moment."""
    said = {**OPEN, "status": "resolved", "updated_at": "2026-11-20T11:45:00Z"}
    (first, *_) = weighed("none", said).facts["incidents"]

    assert first["ended_wall_ms"] == round(datetime(2026, 11, 20, 11, 45, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    "said",
    [None, [], {"status": 3}, {"status": {"indicator": None}}, {"incidents": "x", "status": {"indicator": "none"}},
     {"incidents": [3, {}, {"started_at": "never"}, {"started_at": "0001-01-01T00:00:00+14:00"}],
      "status": {"indicator": "x\x1b[31m" * 99}}],
)  # fmt: skip
def test_a_page_of_any_shape_is_survived(said: Any) -> None:
    """What comes from the network may be anything."""
    found = as_dict(kept(status.verdict("page.example", CLAUDE, said, said, NOW)))

    assert found["grade"] in ("not measured", "noted", "fine") and "\x1b" not in json.dumps(found)


def test_whose_page_it_is_is_known_with_a_source() -> None:
    """By the whole name of the host, however it is written."""
    for one in status.PAGES:
        assert one.url.startswith("https://") and "http" in one.source
    found = status.page_of("API.anthropic.com.")
    assert found is not None and found.url == "https://status.claude.com"
    assert status.page_of("gateway.example") is None and status.page_of("xapi.anthropic.com") is None


def asked(target: Target, **changes: Any) -> Result:
    return carry_out(status, target, replace(QUICK, **changes), go_on)


@pytest.mark.parametrize("packed", [False, True])
def test_a_page_is_asked_twice_and_without_a_name(packed: bool) -> None:
    """Two GETs, packed or not, and nobody's key."""
    pages = {
        status.SUMMARY: json.dumps(page("minor", OPEN)).encode(),
        status.PAST: json.dumps({"incidents": [OPEN, OLD]}).encode(),
    }
    with Server(pages=pages, packed=packed) as server:
        found = asked(Target("api.anthropic.com", 443), page=server.target())

    assert found.grade is Grade.NOTED and len(found.facts["incidents"]) == 2, found.verdict
    assert [one.split(" ")[1] for one in server.heard] == [status.SUMMARY, status.PAST]
    assert all("key" not in one.lower() and "authorization" not in one.lower() for one in server.heard)


def test_a_page_that_is_away_breaks_nothing() -> None:
    """The upstream may be well: not measured, with what was met; and the present alone is something."""
    with Server() as server:
        found = asked(server.target(), page=server.target())
        assert (
            found.grade is Grade.NOT_MEASURED
            and "answered 302, and names https://elsewhere.example/" in found.verdict
        )
    assert asked(server.target(), page=server.target()).grade is Grade.NOT_MEASURED
    assert "holdfast probe status --page URL" in asked(server.target()).verdict
    with Server(pages={status.SUMMARY: json.dumps(page("none")).encode()}) as server:
        assert "its past could not be read" in asked(server.target(), page=server.target()).verdict


def test_a_page_is_read_no_further_than_promised() -> None:
    """Neither a large answer nor one that grows when it is unpacked."""
    with Server(pages={status.SUMMARY: b'"' + b"x" * 200_000 + b'"'}) as server:
        assert "larger than 100 kB" in asked(server.target(), page=server.target()).verdict
    bomb = zlib.compress(b" " * 3_000_000, wbits=31)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    with pytest.raises(document.NotRead, match="larger than 2 MB"):
        document.read(head + bomb, ended=True)


@pytest.mark.parametrize(
    ("received", "ended", "words"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", True, "cut"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{", False, "no whole answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n{}", True, "not asked for"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n{}", True, "cannot be unpacked"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 90_000, True, "no JSON"),
    ],
)
def test_what_is_no_document_is_told(received: bytes, ended: bool, words: str) -> None:
    """And never half a document."""
    with pytest.raises(document.NotRead, match=words):
        document.read(received, ended=ended)


@pytest.mark.parametrize("head", ["transfer-encoding: chunked\r\n\r\n-5\r\n", "content-length: -1\r\n\r\n"])
def test_a_length_that_is_none_is_refused(head: str) -> None:
    """Not taken for a number of some kind."""
    with pytest.raises(ValueError, match="length"):
        document.read(f"HTTP/1.1 200 OK\r\n{head}".encode(), ended=False)
    assert document.read(b"HTTP/1.1 200 OK\r\n\r\n[1]", ended=True) == [1]
