"""The tutorial, played: its questions asked of its scenarios through a gateway, and its lines compared with what comes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from holdfast.flight.journal import Journal
from holdfast.gateway.server import Gateway
from holdfast.gateway.settings import Settings, Timeouts, Upstream
from holdfast.lab.provider import Provider
from holdfast.lab.scenarios import CATALOGUE
from tests.cli.viewed import typed

PAGE = (Path(__file__).parents[1] / "docs" / "first-stall.md").read_text(encoding="utf-8")
LIMIT_S, CANCEL_S = 0.6, 0.1
TIMEOUTS = Timeouts(keepalive_s=0.05, cancel_grace_s=0.1, limit_tolerance_s=0.3)


def question(name: str) -> bytes:
    """A question of the page, as curl sends it: without the line breaks."""
    found = re.search(rf"^cat > {name} <<'END'\n(.*?)^END$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1].replace("\n", "").encode()


def plain(text: str) -> str:
    """Without what differs from one day to the next: ids, times, figures of seconds, the columns' widths."""
    text = re.sub(r"\b1m[0-9a-z]{12}\b", "ID", text)
    text = re.sub(r"\d\d-\d\d \d\d:\d\d:\d\d", "WHEN", text)
    return re.sub(r"[ ─]+", " ", re.sub(r"\b[\d.]+ m?s\b", "SPAN", text))


async def ask(port: int, body: bytes, patience_s: float = 10.0) -> None:
    """What the page's curl does: one connection, and it hangs up when its patience is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    told = f"x-stainless-timeout: {LIMIT_S}\r\n" if b'"stream"' not in body else ""
    writer.write(
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nuser-agent: curl/7.88.1\r\nconnection: close\r\n{told}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(), patience_s)
    writer.close()


async def play(state: Path) -> None:
    """All of the page's questions, at other speeds than a reader's."""
    stream, whole = question("ask.json"), question("whole.json")
    in_tool, in_headers = (CATALOGUE[name] for name in ("silence-in-tool", "silence-before-headers"))
    journal = Journal(state)
    async with Provider(in_tool.rule(serve_anyone=True), speed=2000) as provider:
        port_of_api = provider.port
        gateway = Gateway(
            Settings(upstream=Upstream.parse(provider.url), timeouts=TIMEOUTS, state_dir=state), journal
        )
        port = await gateway.listen()
        await ask(port, stream)
    async with Provider(in_headers.rule(serve_anyone=True), speed=300, port=port_of_api):
        await ask(port, whole, LIMIT_S)
        await ask(port, whole)
        await ask(port, whole, LIMIT_S)
        await asyncio.sleep(1.1)  # the answer comes to its end, and nobody hears it
        await ask(port, stream, CANCEL_S)
        await asyncio.sleep(0.4)
        await gateway.close()
    assert await asyncio.to_thread(journal.close, 10)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of somebody who followed the page."""
    directory = tmp_path_factory.mktemp("stall")
    asyncio.run(asyncio.wait_for(play(directory), 20))
    return directory


def test_the_list_of_turns_is_the_page_s(state: Path) -> None:
    """Finished, joined, cancelled: each row as it is shown."""
    page = plain(PAGE)
    finished, joined, _, cancelled = plain(typed(state, "flights").stdout).splitlines()[1:5]

    assert f"\n{joined.strip()}\n" in page, joined
    for row in (finished, cancelled):  # their silence is too short here for the list
        assert row.endswith("SPAN -") and f"\n{row.strip(' -')} SPAN\n" in page, row


def test_the_attic_is_the_page_s(state: Path) -> None:
    """The answer that nobody heard: its row with the file that it wrote, and all that it says."""
    page = plain(PAGE)
    _, row = plain(typed(state, "attic", "list").stdout).splitlines()
    shown = plain(typed(state, "attic", "show", "1m").stdout)

    assert "Write hello.py" in row and f"\n{row.strip()}\n" in page, row
    assert f"\n{shown.strip()}\n\n" in page, shown
