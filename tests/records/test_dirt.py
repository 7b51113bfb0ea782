"""Whatever the text: no reader raises, none keeps a secret, none lets a control character through."""

from __future__ import annotations

import io
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.records import har, mitmproxy
from holdfast.records.formats import read_lines
from holdfast.records.sighting import Sighting
from tests.records.test_files import document, entry, flow, tnet
from tests.records.test_haproxy_envoy import ENVOY, HTTP, TCP
from tests.records.test_jsonlog import CADDY, PINO, TRAEFIK
from tests.records.test_nginx import COMBINED, ERROR
from tests.records.test_pasted import CURL, DUMP
from tests.records.told import NOON_S

SECRET = "sk-ant-api03-Zq81vXc0LmN4pT6wRy2B-7dFgHjK"
SAMPLES = [
    COMBINED,
    ERROR.format("upstream prematurely closed connection while reading upstream,"),
    HTTP.format(tr=1, ta=2, status=200, state="CD--"),
    TCP.format(state="SD"),
    ENVOY.format(flags="UC", status=503),
    *(json.dumps(one) for one in (CADDY, TRAEFIK, PINO)),
    *CURL.splitlines(),
    *DUMP.splitlines(),
    "ESTAB 0 812 127.0.0.1:54321 127.0.0.1:8000 timer:(on,1.2sec,3)",
    "2026-03-28 18:23:17 onAbort received, abort stream",
    "API Error (Connection error.) · Retrying in 1 seconds… (attempt 1/10)",
]
FEW = settings(max_examples=120, derandomize=True)


def safe(found: list[Sighting | None]) -> None:
    """Nothing that was hidden in the text is in what was kept."""
    told = repr(found)
    assert SECRET not in told and SECRET[8:] not in told and SECRET[13:30] not in told
    for one in found:
        if one is not None:
            assert one.says.isprintable() and len(one.says) < 600, one.says
            assert all(text.isprintable() for text in (one.path, one.host, one.method, one.program, *one.ids))
            assert one.took_s is None or one.took_s >= 0


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A line of some format, cut, doubled, with bytes changed, and a secret put into it somewhere."""
    line = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(0, 3))):
        at, to = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
        put = draw(
            st.sampled_from(["", "\x1b[2J", "\u202e", '"', "[", "-1", "9" * 25, " ", "\0", "{", SECRET, line])
        )
        line = (line[:at] + put + line[to:])[:20_000]
    return line


@FEW
@given(st.lists(spoiled(), max_size=6))
@example([f"ESTAB 0 812 {SECRET}.example:54321 127.0.0.1:8000 timer:(on,1.2sec,3)"])
@example(["ESTAB 0 812 \x1b[2J127.0.0.1:54321 127.0.0.1:8000 timer:(on,1.2sec,3)"])
@example([f"10:18:21.0 IP {SECRET}.54321 > 127.0.0.1.8000: Flags [R], seq 1, win 0, length 0"])
def test_spoiled_lines_are_survived(lines: list[str]) -> None:
    """Cut lines, foreign bytes, numbers without end."""
    safe(list(read_lines(lines, NOON_S)[0]))


@FEW
@given(st.lists(st.text(max_size=200), max_size=6))
@example(["31/Foo/9999:99:99:99 +9999", "[99/Mar/2026:10:00:00 +0000]", "9999999999.999999999 reset"])
def test_any_text_is_survived(lines: list[str]) -> None:
    """Also what never was a log."""
    safe(list(read_lines(lines, NOON_S)[0]))


@FEW
@given(st.sampled_from(SAMPLES), st.integers(0, 60))
def test_a_secret_in_any_word_is_not_kept(line: str, word: int) -> None:
    """Put in the place of any word of any line: user, path, query, agent, host, message."""
    words = line.split(" ")
    words[word % len(words)] = SECRET
    safe(list(read_lines([" ".join(words)], NOON_S)[0]))
    safe(
        list(
            read_lines(
                [line.replace("/v1/", f"/{SECRET}/v1/"), line.replace("beta=true", f"key={SECRET}")], NOON_S
            )[0]
        )
    )


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just(SECRET)
    | st.text(max_size=20)
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["time", "ts", "status", "request", "uri", "method", "duration", "error", "host", "start_time"]),
    inner, max_size=5), max_leaves=12)  # fmt: skip


@FEW
@given(TREES)
def test_any_json_is_survived(tree: object) -> None:
    """Names that we know with values of any kind, nested in any way; as a log line and as a HAR entry."""
    safe(list(read_lines([json.dumps(tree)], NOON_S)[0]))
    safe(list(har.sightings(document(tree, entry()))))


@FEW
@given(st.binary(max_size=40), st.integers(0, 3000), st.integers(0, 3000))
def test_any_flow_file_is_survived(put: bytes, first: int, second: int) -> None:
    """Lengths that lie, types that are none, files that are cut off."""
    whole = tnet(flow(error={"msg": f"Client disconnected. {SECRET}", "timestamp": NOON_S + 9}))
    at, to = sorted((first % len(whole), second % len(whole)))
    stream = io.BytesIO(whole[:at] + put + whole[to:])
    found = []
    try:
        for number, payload in enumerate(mitmproxy.flows(stream.read), 1):
            found.append(mitmproxy.sighting(payload, number))
    except mitmproxy.NotAFlow:
        pass
    safe(found)
