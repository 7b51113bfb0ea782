"""Pasted output: curl, tcpdump, ss, plain log lines, and Claude Code's own errors."""

from __future__ import annotations

import pytest

from holdfast.flight.endings import Mechanism, Side
from holdfast.records.sighting import Vantage
from tests.records.told import NOON_S, one, seen

CURL = """\
10:18:21.250000 *   Trying 127.0.0.1:8080...
10:18:21.251000 * Connected to 127.0.0.1 (127.0.0.1) port 8080 (#0)
10:18:21.252000 > POST /v1/messages HTTP/1.1
10:18:21.252000 > Host: 127.0.0.1:8080
10:18:21.252000 > x-api-key: sk-ant-api03-verysecretverysecret
10:18:21.252000 >
10:18:22.100000 < HTTP/1.1 200 OK
10:18:22.100000 < request-id: req_011CSHoEeqs5C35K2UUqR7Fy
event: message_start
data: {"type":"message_start"}
10:23:21.352000 * Recv failure: Connection reset by peer
10:23:21.352000 * Closing connection 0
curl: (56) Recv failure: Connection reset by peer
"""
DUMP = """\
tcpdump: verbose output suppressed, use -v[v]... for full protocol decode
10:18:21.000000 lo    In  IP 127.0.0.1.54321 > 127.0.0.1.8000: Flags [S], seq 1, win 65495, length 0
10:18:21.000030 lo    In  IP 127.0.0.1.8000 > 127.0.0.1.54321: Flags [S.], seq 9, ack 2, win 65483, length 0
10:18:21.000040 lo    In  IP 127.0.0.1.54321 > 127.0.0.1.8000: Flags [P.], seq 1:2001, ack 1, win 512, length 2000
10:18:22.000000 lo    In  IP 127.0.0.1.8000 > 127.0.0.1.54321: Flags [P.], seq 1:501, ack 2001, win 512, length 500
10:23:17.100000 lo    In  IP 127.0.0.1.54321 > 127.0.0.1.8000: Flags [R.], seq 2001, ack 501, win 512, length 0
10:23:17.100100 lo    In  IP 127.0.0.1.8000 > 127.0.0.1.54321: Flags [R], seq 501, win 0, length 0
"""


def test_a_curl_trace_is_one_exchange() -> None:
    """Request, status, id, and curl's words for its end; the answer's body in between is passed by."""
    line = one(CURL)
    assert (line.method, line.path, line.status, line.ids) == (
        "POST", "/v1/messages", 200, ("req_011CSHoEeqs5C35K2UUqR7Fy",),
    )  # fmt: skip
    assert (line.side, line.mechanism, line.vantage) == (Side.PROVIDER, Mechanism.RST, Vantage.CLIENT)
    assert (
        line.began_s == NOON_S + 0.252 and line.took_s == pytest.approx(300.1) and "sk-ant" not in repr(line)
    )


def test_a_trace_without_times_has_the_servers_date_and_its_own_limit() -> None:
    """`date` gives a beginning with a zone; error 28 names its duration and is curl's own doing."""
    text = (
        "> POST /v1/messages HTTP/2\n< HTTP/2 200\n< date: Sat, 28 Mar 2026 10:18:21 GMT\n"
        "curl: (28) Operation timed out after 300001 milliseconds with 123 bytes received"
    )
    line = one(text)
    assert (line.began_s, line.took_s, line.zone_known) == (NOON_S, 300.001, True)
    assert (line.side, line.mechanism) == (Side.CLIENT, Mechanism.DEADLINE)


def test_several_exchanges_in_one_trace_are_several() -> None:
    """A kept connection, asked twice."""
    ok = "> GET /v1/models HTTP/1.1\n< HTTP/1.1 200 OK\n* Connection #0 to host gw.example left intact\n"
    assert [line.side for line in seen(ok + ok)] == [Side.NOBODY, Side.NOBODY]


def test_tcpdumps_text_says_who_reset_first() -> None:
    """One sighting per connection; what flies after the first reset changes nothing."""
    line = one(DUMP)
    assert (line.side, line.mechanism) == (Side.CLIENT, Mechanism.RST)
    assert (
        "the client's end, 127.0.0.1.54321, reset (RST)" in line.says and "after 295 s without" in line.says
    )
    assert (line.began_s, line.sent_bytes) == (NOON_S, 500) and line.took_s == pytest.approx(296.1)
    assert not line.dated and not line.zone_known


def test_a_connection_met_midway_has_its_server_at_the_lower_port() -> None:
    """And no beginning that could be believed."""
    line = one("10:23:17.1 IP 127.0.0.1.8000 > 127.0.0.1.54321: Flags [F.], seq 1, ack 1, win 512, length 0")
    assert (line.side, line.mechanism, line.began_s) == (Side.PROVIDER, Mechanism.FIN, None)


def test_ss_tells_a_state() -> None:
    """Who waits for whom, without a time."""
    text = (
        "State    Recv-Q Send-Q Local Address:Port Peer Address:Port\n"
        "ESTAB    0      812    127.0.0.1:54321    127.0.0.1:8000  timer:(on,1.2sec,3)\n"
        "\t cubic wscale:7,7 rto:204 rtt:0.03/0.01 bytes_acked:2001 bytes_received:500 lastsnd:1200 lastrcv:295100 "
        "lastack:1200 unacked:1 retrans:1/3"
    )
    line = one(text)
    assert "nothing received for 295 s" in line.says and "812 bytes wait to be acknowledged" in line.says
    assert "1 segment being sent again" in line.says and line.at_s is None


@pytest.mark.parametrize(
    ("text", "side", "mechanism"),
    [
        ("2026-03-28 18:23:17 onAbort received, abort stream", Side.CLIENT, None),
        ("2026-03-28 18:23:17 Stream aborted when iterate", None, None),
        ("[2026-03-28 18:23:17,123] ERROR app: ClientDisconnect()", Side.CLIENT, None),
        ("2026-03-28 18:23:17 read ECONNRESET", None, Mechanism.RST),
        ("Mar 28 18:23:17 host app[7]: upstream timed out", Side.PATH, Mechanism.DEADLINE),
        ('time="2026-03-28T18:23:17" level=error msg="error: context canceled"', Side.CLIENT, None),
        ("level=info ts=2026-03-28T18:23:17 msg=x err=ECONNRESET", None, Mechanism.RST),
        (
            "[Sat Mar 28 18:23:17.123 2026] [proxy:error] (104)Connection reset by peer: AH01084",
            None,
            Mechanism.RST,
        ),
        ("I0328 18:23:17.123456       1 log.go:1] client disconnected", Side.CLIENT, None),
    ],
)
def test_plain_lines_count_where_they_speak_of_an_end(
    text: str, side: Side | None, mechanism: Mechanism | None
) -> None:
    """Report 1's server wrote no more than this. Who is named only where the words name somebody."""
    line = one(text)
    assert (line.side, line.mechanism) == (side, mechanism)
    assert int(line.ended_s or 0) == NOON_S + 8 * 3600 + 296 and not line.zone_known


def test_plain_lines_about_other_things_tell_nothing() -> None:
    """They are understood, and that is all."""
    assert seen("2026-03-28 18:23:17 listening on port 80\n18:23:18 model loaded in 3 s") == []


@pytest.mark.parametrize(
    ("text", "side", "mechanism"),
    [
        ("  ⎿  API Error (Connection error.) · Retrying in 1 seconds… (attempt 1/10)", Side.PROVIDER, None),
        ("API Error: Request timed out.", Side.CLIENT, Mechanism.DEADLINE),
        ("API Error: Unable to connect to API (ECONNRESET)", Side.PROVIDER, Mechanism.RST),
        ("API Error: Stream idle timeout - partial response received", Side.CLIENT, Mechanism.DEADLINE),
        (
            'API Error: 529 {"type":"error","error":{"type":"overloaded_error"}}',
            Side.NOBODY,
            Mechanism.HTTP_ERROR,
        ),
        ("2026-03-28T10:23:17Z Connection closed mid-response.", Side.PROVIDER, None),
    ],
)
def test_claude_codes_own_words(text: str, side: Side, mechanism: Mechanism | None) -> None:
    """What the client knew: `timed out` is its own limit, `reset` somebody else's deed."""
    line = one(text)
    assert (line.program, line.side, line.mechanism, line.vantage) == (
        "Claude Code", side, mechanism, Vantage.CLIENT,
    )  # fmt: skip


def test_an_error_without_a_time_is_kept_without_one() -> None:
    """It can be compared, and stands nowhere in the story; words about nothing of the kind are not understood."""
    line = one("Error: read ECONNRESET")
    assert (line.mechanism, line.at_s) == (Mechanism.RST, None)


def test_a_mixed_paste_is_read_line_by_line() -> None:
    """A trace, then the server's lines, then the client's: each in its own format."""
    text = CURL + "2026-03-28 18:23:17 onAbort received, abort stream\nAPI Error: Request timed out.\n"
    assert [line.program for line in seen(text)] == ["log", "Claude Code", "curl"]
