"""The provider's HTTP/2 front, asked by a client that is not ours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from holdfast.lab import script as s
from holdfast.lab.provider import Provider

ASKED = {"model": "claude-lab-1", "max_tokens": 10, "stream": True, "messages": []}


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_stream_is_the_same_over_http2(framing: str) -> None:
    """Status, headers and every byte."""
    told = s.answer(s.text("Hello there"), s.flood(3_000_000), framing=framing)
    with Provider(told, http2=True).running() as provider, client() as asking:
        heard = asking.post(f"{provider.url}/v1/messages", json=ASKED)

        assert (heard.http_version, heard.status_code) == ("HTTP/2", 200)
        assert heard.headers["content-type"].startswith("text/event-stream")
        assert heard.content == bytes(provider.answers[0].sent)
        provider.wait_until(lambda seen: seen.answers[0].finished)


def test_several_streams_of_one_connection_are_answered_in_turn() -> None:
    """None is lost, and none gets another's bytes."""
    with (
        Provider([s.answer(s.flood(200_000))] * 8, http2=True).running() as provider,
        client() as asking,
        ThreadPoolExecutor(8) as threads,
    ):
        heard = list(threads.map(lambda _: asking.post(f"{provider.url}/v1/messages", json=ASKED), range(8)))

        sent = sorted(bytes(seen.sent) for seen in provider.answers)
        assert sorted(answer.content for answer in heard) == sent and len(sent) == 8


def test_other_paths_answer_too() -> None:
    """HEAD has no body, an unknown path is the API's 404."""
    with Provider([], http2=True).running() as provider, client() as asking:
        assert asking.head(f"{provider.url}/").status_code == 200
        assert asking.get(f"{provider.url}/v1/models").json()["data"]
        assert asking.get(f"{provider.url}/nothing").status_code == 404


def client() -> httpx2.Client:
    """A client that speaks HTTP/2 by prior knowledge, and nothing of the environment's."""
    return httpx2.Client(http1=False, http2=True, trust_env=False, timeout=10)
