"""Traces, sent to a real collector on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli import config, serve
from holdfast.cli.errors import Misused, Unavailable
from holdfast.lab.provider import Provider
from holdfast.lab.script import answer, text
from holdfast.telemetry import traces
from holdfast.telemetry.traces import Destination, Traces
from tests.flight.telling import at, frozen_turn, short_turn
from tests.telemetry.collector import Collector, collecting, plain
from tests.telemetry.told import ended

ROOT = Path(__file__).parents[2]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [name for name in os.environ if name.startswith("OTEL_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(traces, "GATHER_S", 0.01)
    with collecting() as found:
        yield found


def to(collector: Collector) -> Traces:
    return Traces(Destination(f"{collector.url}/v1/traces", "gw-1"))


def test_a_turn_arrives_as_it_was(collector: Collector, tmp_path: Path) -> None:
    """Ids, times, kinds, attributes, events and status survive the protocol; the resource says who tells."""
    sender = to(collector)
    sender.take(ended(tmp_path, frozen_turn(turn_id="bbb")))
    assert sender.close(5) and sender.spans["sent"] == 5

    assert collector.paths == ["/v1/traces"]
    assert collector.resource["service.name"] == "holdfast"
    assert collector.resource["service.instance.id"] == "gw-1" and "service.version" in collector.resource
    (whole,) = collector.named("POST /v1/messages")
    assert whole.kind == whole.SPAN_KIND_SERVER and whole.parent_span_id == b""
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 330_100_000_000
    assert plain(whole.attributes)["holdfast.turn_id"] == "bbb"
    assert plain(whole.attributes)["http.response.status_code"] == 200
    attempts = collector.named("chat claude-sonnet-4-5")
    assert [span.status.code for span in attempts] == [2, 0]  # error, unset
    assert {span.parent_span_id for span in attempts} == {whole.span_id}
    assert attempts[1].events[1].name == "Connected"
    assert plain(attempts[1].events[1].attributes)["holdfast.took_s"] == 0.08


def test_the_standard_variables_are_heeded(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers, compression, names; not their endpoint, and neither proxies nor .netrc."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=for-the-collector")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "team-gateway")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sender = to(collector)
    sender.take(ended(tmp_path, short_turn(turn_id="aaa")))
    assert sender.close(5)

    (headers,) = collector.headers
    assert (headers["x-key"], headers["content-encoding"]) == ("for-the-collector", "gzip")
    assert "authorization" not in headers
    assert collector.resource["service.name"] == "team-gateway"
    assert collector.resource["deployment.environment.name"] == "test"


def test_a_collector_that_is_not_there_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Turns are handed over at once, the end is not held up, and what was lost is counted and said."""
    monkeypatch.setattr(traces, "GATHER_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    turns = ended(tmp_path, short_turn(turn_id="aaa"))
    sender = Traces(Destination(f"http://127.0.0.1:{port}/v1/traces"))
    began = time.monotonic()
    sender.take(turns)
    handed_over_s = time.monotonic() - began
    sender.close(1.0)
    closed_s = time.monotonic() - began

    assert handed_over_s < 0.5 and closed_s < 2.0
    assert sender.spans["sent"] == 0
    assert "0 spans were sent" in caplog.text


def test_a_collector_that_never_answers_holds_up_nobody(collector: Collector, tmp_path: Path) -> None:
    """The process ends when it wants to."""
    collector.hang.set()
    sender = to(collector)
    sender.take(ended(tmp_path, short_turn(turn_id="aaa")))
    assert collector.heard.wait(0) is False
    began = time.monotonic()
    assert sender.close(0.5) is False

    assert time.monotonic() - began < 1.5


def test_what_does_not_fit_is_dropped_and_counted(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole turns; those that wait are sent."""
    monkeypatch.setattr(traces, "GATHER_S", 0.5)
    monkeypatch.setattr(traces, "WAITING_SPANS", 7)
    sender = to(collector)
    sender.take(ended(tmp_path, *(short_turn(at(n), turn_id=f"t{n}") for n in range(4))))
    assert sender.close(5)

    assert (sender.spans["sent"], sender.spans["dropped"]) == (6, 6)


def test_a_refusal_is_counted_and_the_next_is_tried(
    collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once when it begins, and once when it is over."""
    sender = to(collector)
    collector.status = 400
    one, two = ended(tmp_path, short_turn(turn_id="aaa"), short_turn(at(1), turn_id="bbb"))
    sender.take([one])
    for _ in range(100):
        if sender.spans["refused"]:
            break
        time.sleep(0.05)
    collector.status = 200
    sender.take([two])
    sender.close(5)

    assert (sender.spans["refused"], sender.spans["sent"]) == (3, 3)
    said = [record.message for record in caplog.records if record.name == "holdfast.traces"]
    assert (
        sum("takes no traces" in line for line in said)
        == sum("takes traces again" in line for line in said)
        == 1
    )


def test_without_the_extra_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started; without the setting nobody asks for them."""
    monkeypatch.setattr(traces, "available", lambda: False)
    with pytest.raises(Unavailable, match=r"install .*opentelemetry-sdk"):
        planned(otel_endpoint="http://127.0.0.1:4318")
    assert planned().otel is None


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ({"otel_endpoint": "http://127.0.0.1:4318"}, "http://127.0.0.1:4318/v1/traces"),
        ({"otel_endpoint": "http://localhost:4318/"}, "http://localhost:4318/v1/traces"),
        ({"otel_endpoint": "https://otel.example/x/v1/traces"}, "https://otel.example/x/v1/traces"),
        ({"otel_endpoint": "http://otel.example:4318", "allow_plain_otel": True}, "http://otel.example:4318/v1/traces"),
    ],
)  # fmt: skip
def test_where_traces_go(flags: dict[str, str | bool], url: str) -> None:
    """A base URL gets the protocol's path; one with a path is taken as it is."""
    assert planned(**flags).otel == url


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://otel.example:4318", "--allow-plain-otel"),
        ("https://me:hunter22@otel.example", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("https://otel.example/?key=hunter22", "no query"),
        ("otel.example:4318", "http://127.0.0.1:4318"),
    ],
)
def test_an_endpoint_that_will_not_do_is_refused(endpoint: str, said: str) -> None:
    """With what to do instead, and without the password."""
    with pytest.raises(Misused, match=said) as raised:
        planned(otel_endpoint=endpoint)
    assert "hunter22" not in str(raised.value)


def planned(**flags: str | bool) -> serve.Plan:
    seen = {"HOME": "/nonexistent"}
    return serve.make_plan(config.gather("serve", flags, seen, None), seen)


# -- whole programs ------------------------------------------------------------------------------------------

ASK = """
import os, urllib.request
request = urllib.request.Request(
    os.environ["ANTHROPIC_BASE_URL"].rstrip("/") + "/v1/messages",
    b'{"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": true, "messages": []}',
    {"content-type": "application/json"},
)
assert b"Hello" in urllib.request.urlopen(request, timeout=10).read()
"""


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    (tmp_path / "home").mkdir(exist_ok=True)
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "HOLDFAST_STATE_DIR": str(tmp_path / "state"),
    }
    return clean | more


def test_serve_tells_its_turns(collector: Collector, tmp_path: Path) -> None:
    """Switched on by a variable; the last turn before the end is told, too."""
    more = {"HOLDFAST_OTEL_ENDPOINT": collector.url}
    with Provider(lambda _: answer(text("Hello"))).running() as provider:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "serve", "--listen", "127.0.0.1:0", "--upstream", provider.url],
            env=environ(tmp_path, **more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split("listening on ")[1].split(",")[0]
            asked = subprocess.run(
                [sys.executable, "-c", ASK], env={"ANTHROPIC_BASE_URL": url}, timeout=20, check=False
            )
            assert asked.returncode == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.communicate()

    (whole,) = collector.named("POST /v1/messages")
    assert plain(whole.attributes)["holdfast.ending"] == "-.end.after"
    assert len(collector.named("chat claude-sonnet-4-5")) == 1


def test_run_tells_its_turns_and_ends_in_time(collector: Collector, tmp_path: Path) -> None:
    """The same under `run`, whose gateway has an environment of its own; the command's end is not held up."""
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=for-the-collector"}
    script = ASK + "\nimport time; time.sleep(1)  # for the packages to be loaded\n"
    with Provider(lambda _: answer(text("Hello"))).running() as provider:
        flags = ["--upstream", provider.url, "--otel-endpoint", collector.url]
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", "run", *flags, "--", sys.executable, "-c", script],
            env=environ(tmp_path, **headers), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "1 request carried" in done.stderr
    assert len(collector.wait_for(3)) == 3
    assert collector.headers[0]["x-key"] == "for-the-collector"


def test_nothing_is_sent_unless_switched_on(collector: Collector, tmp_path: Path) -> None:
    """The standard variables alone switch nothing on."""
    standard = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url,
    }
    with Provider(lambda _: answer(text("Hello"))).running() as provider:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", "run", "--upstream", provider.url, "--", sys.executable, "-c", ASK],
            env=environ(tmp_path, **standard), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert collector.paths == []
