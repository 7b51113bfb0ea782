"""HAProxy's termination states and Envoy's response flags."""

from __future__ import annotations

import pytest

from holdfast.flight.endings import Mechanism, Side
from tests.records.told import NOON_S, one

HTTP = (
    "Mar 28 18:18:21 edge haproxy[14]: 10.0.0.7:44288 [28/Mar/2026:18:18:21.250] fe be/hold 0/0/0/{tr}/{ta} {status} "
    '48211 - - {state} 2/2/1/1/0 0/0 {{claude-cli}} {{}} "POST /v1/messages?beta=true HTTP/1.1"'
)
TCP = "10.0.0.7:44288 [28/Mar/2026:18:18:21.250] fe be/hold 0/1/300104 48211 {state} 2/2/1/1/0 0/0"
ENVOY = (
    '[2026-03-28T10:18:21.250Z] "POST /v1/messages?beta=true HTTP/2" {status} {flags} 81234 48211 300104 900 '
    '"10.0.0.7" "claude-cli/2.1.114" "5f0c2c6e-0000-4000-8000-0123456789ab" "api.example" "10.9.8.7:443"'
)


@pytest.mark.parametrize(
    ("state", "side", "mechanism", "words"),
    [
        ("----", Side.NOBODY, Mechanism.COMPLETED, "both sides ended it in order"),
        ("CD--", Side.CLIENT, None, "its client broke the connection off, while data was flowing"),
        ("cD--", Side.PATH, Mechanism.DEADLINE, "its own limit for its client ran out"),
        ("SD--", Side.PROVIDER, None, "its server broke the connection off"),
        ("sD--", Side.PATH, Mechanism.DEADLINE, "its own limit for its server ran out"),
        ("cH--", Side.PATH, Mechanism.DEADLINE, "while it waited for the answer's headers"),
        ("SC--", Side.PROVIDER, None, "while it connected to its server"),
        ("LR--", Side.PATH, None, "it answered by itself"),
    ],
)
def test_a_termination_state_in_words(
    state: str, side: Side, mechanism: Mechanism | None, words: str
) -> None:
    """The first letter is who, the second when; the sentence begins with the letters."""
    line = one(HTTP.format(tr=900, ta=300104, status=200, state=state))
    assert (line.side, line.mechanism) == (side, mechanism) and words in line.says
    assert state[:2] in line.says and line.path == "/v1/messages"


def test_haproxys_time_is_the_beginning() -> None:
    """Local time to the millisecond, no zone; the last timer is the whole."""
    line = one(HTTP.format(tr=900, ta=300104, status=200, state="CD--"))
    assert (line.began_s, line.took_s) == (NOON_S + 8 * 3600 + 0.25, 300.104)
    assert line.precision_s == 0.001 and not line.zone_known


def test_a_timer_of_minus_one_and_logasap_are_no_durations() -> None:
    """-1 was not reached; with a plus the line was written before the end."""
    cut = one(HTTP.format(tr=-1, ta=-1, status=-1, state="CR--"))
    assert cut.took_s is None and cut.status is None and cut.side is Side.CLIENT
    early = one(HTTP.format(tr=900, ta="+900", status=200, state="----"))
    assert early.side is None and early.took_s is None


def test_tcplog_has_states_and_no_request() -> None:
    """The same words for a balancer that reads no HTTP."""
    line = one(TCP.format(state="SD"))
    assert (line.side, line.took_s, line.path, line.sent_bytes) == (Side.PROVIDER, 300.104, "", 48211)


@pytest.mark.parametrize(
    ("flags", "status", "side", "mechanism"),
    [
        ("-", 200, Side.NOBODY, Mechanism.COMPLETED),
        ("DC", 0, Side.CLIENT, None),
        ("UC", 503, Side.PROVIDER, None),
        ("UF,URX", 503, Side.PROVIDER, Mechanism.REFUSED),
        ("URX,UF", 503, Side.PROVIDER, Mechanism.REFUSED),
        ("UT", 504, Side.PATH, Mechanism.DEADLINE),
        ("SI", 200, Side.PATH, Mechanism.DEADLINE),
        ("DownstreamConnectionTermination", 200, Side.CLIENT, None),
        ("-", 529, Side.NOBODY, Mechanism.HTTP_ERROR),
        ("XYZ", 200, None, None),
    ],
)
def test_response_flags_say_who(
    flags: str, status: int, side: Side | None, mechanism: Mechanism | None
) -> None:
    """Short or long, one or several: the first that names somebody counts; a new one is said to be unknown."""
    line = one(ENVOY.format(flags=flags, status=status))
    assert (line.side, line.mechanism) == (side, mechanism)
    assert (line.began_s, line.took_s, line.host) == (NOON_S + 0.25, 300.104, "api.example")


def test_istios_longer_line_is_read_too() -> None:
    """Between flags and numbers stand details, which shift nothing."""
    text = (
        '[2026-03-28T10:18:21.250Z] "POST /v1/messages HTTP/1.1" 200 DC downstream_remote_disconnect - "-" 81234 48211 '
        '300104 900 "-" "agent" "5f0c2c6e-0000-4000-8000-0123456789ab" "api.example" "10.9.8.7:443" outbound|443 - - -'
    )
    line = one(text)
    assert (line.side, line.took_s, line.sent_bytes) == (Side.CLIENT, 300.104, 48211)
