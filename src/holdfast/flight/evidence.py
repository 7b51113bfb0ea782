"""What an ending's evidence is made of: every name that may stand in it, what it says, and in which unit.

This table is the one place where they are described; `holdfast explain NAME` shows a row as a page, and a test
compares it with what the gateway gathers. A value of None is "not measured": the system or the moment did not allow
it (no TCP_INFO, no connection yet). A name that is missing does not apply (HTTP/2's names over HTTP/1.1).
Units are in the names: `_s` and `_ms` are durations, `_bytes` bytes, `_tokens` tokens; what has none is a count, a word or
a yes and no.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Fact = str | int | float | bool | None
"A value of evidence."

SOCKET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "errno": "The error that the connection ended with, by the system's number; None where there was none.",
        "so_error": "The error that waited on the socket (SO_ERROR): 32 (EPIPE) behind a FIN is a reset that followed it.",
        "tcp_state": "TCP's state at the end: CLOSE_WAIT after the peer's FIN, CLOSE after a reset or a timeout.",
        "rtt_ms": "The smoothed round trip to the peer's TCP.",
        "min_rtt_ms": "The shortest round trip seen: how near the next box that speaks TCP is.",
        "rto_ms": "How long TCP waits before it sends again.",
        "retransmits": "Times the oldest unacknowledged segment was sent again, in the present episode of loss.",
        "backoff": "Doublings of that wait in the present episode.",
        "total_retrans": "Segments sent again over the connection's life.",
        "retrans_bytes": "The same in bytes.",
        "lost": "Segments held for lost at the end.",
        "probes": "Keepalive or zero-window probes without an answer.",
        "unacked": "Segments sent and not acknowledged.",
        "unacked_bytes": "Bytes given to the kernel and not acknowledged by the peer's TCP.",
        "notsent_bytes": "Bytes given to the kernel and not sent yet.",
        "last_data_sent_ms": "Since TCP last sent data.",
        "last_data_recv_ms": "Since TCP last received data.",
        "last_ack_recv_ms": "Since the peer's TCP last acknowledged anything: small beside a large last_data_recv_ms, its "
        "kernel lives and its application is silent.",
        "acked_bytes": "Bytes acknowledged over the connection's life, TLS included; the SYN counts 1.",
        "tcp_sent_bytes": "Bytes sent over the connection's life, TLS and repetitions included.",
        "tcp_received_bytes": "Bytes received over the connection's life, TLS included.",
        "busy_ms": "For how long there was something to send or to be acknowledged.",
        "rwnd_limited_ms": "Of that, waiting for the peer to read (its receive window was full).",
        "sndbuf_limited_ms": "Of that, waiting for room in our send buffer.",
        "snd_wnd_bytes": "What the peer was ready to take; 0: it does not read.",
        "pmtu_bytes": "The largest packet that the path takes, as far as TCP knows.",
    }
)
"What the kernel knows, read before the socket was gone; all None without TCP_INFO (macOS)."

CONNECTION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "address": "Where the connection went, ip:port: the proxy's where there is one.",
        "family": "4 or 6.",
        "http": "The HTTP version: 1.1 or 2.",
        "tls": "The TLS version; None where the connection was plain.",
        "tls_alert": "The peer's alert, in the standard's words.",
        "close_notify": "Whether the peer said goodbye inside TLS before its FIN; without it the line was cut below TLS.",
        "age_s": "The connection's age: the fourth clock of a silence.",
        "reused": "Whether it had carried an exchange before.",
        "exchanges": "How many exchanges it carried, this one included.",
        "sent_bytes": "HTTP's bytes given to the socket over the connection's life.",
        "received_bytes": "Bytes read from the socket over the connection's life.",
        "peer_closed": "Whether the peer had closed its half.",
        "not_processed": "Whether upstream said that it had not begun on the request: asking again costs nothing.",
        "stream_error": "The code's name of a RST_STREAM.",
        "goaway": "The code's name of a GOAWAY.",
        "goaway_last_stream": "The last stream that upstream took, by its GOAWAY.",
        "goaway_debug": "What upstream wrote into its GOAWAY.",
        "pings": "HTTP/2 PINGs sent.",
        "pings_unanswered": "Of those, without an answer at the end.",
        "ping_ms": "The last PING's round trip, to whoever ends TLS.",
        "half_closed_ms": "How long the connection was held after the FIN, to see whether a reset follows.",
    }
)

EXCHANGE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "silence_s": "Since upstream's last byte: the idle clock. Of an HTTP/2 stream: its own last frame.",
        "since_request_s": "Since the request: the wall clock of a limit on the whole exchange.",
        "since_headers_s": "Since the answer's headers.",
        "since_byte_s": "Since the last byte that was written to this client.",
        "since_event_s": "Since the last event that this client counts.",
        "slept_s": "How long this machine had slept, where that was after upstream's last byte.",
        "underneath": "The mechanism as TCP told it, where another one explains it: `rst` under `slept`.",
        "status": "The HTTP status: upstream's, or that of a proxy which refused a tunnel.",
        "request_bytes": "The request's body.",
        "answer_bytes": "The answer so far, framing excluded.",
        "answer_events": "Events of the answer so far.",
        "blocks": "Content blocks that were complete.",
        "tool": "The name of the tool whose call was open.",
        "input_tokens": "The whole prompt, as upstream counted it: the context's true size.",
        "output_tokens": "What upstream had counted of the answer.",
        "model": "The model that was asked for, its suffix included (`[1m]`).",
        "context": "The context's tier that was asked for: `1m` by the model's suffix or a beta header, else `standard`.",
        "profile": "The client profile.",
        "session": "The client's session id.",
        "agent": "The id of the client's agent within its session.",
        "session_turns": "Turns of this session that were under way, this one included.",
        "open_turns": "Turns of this gateway that were under way, this one included.",
    }
)

NETWORK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "interface": "What the packets left by: ethernet, wifi, cellular, loopback, tunnel, or other.",
        "vpn": "Whether they left by a tunnel, or the default route does.",
        "network": "Names this machine's network: a keyed hash of its default route and gateway, the same for the same "
        "network on this machine only. The key stays in the state directory.",
    }
)

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "request_id": "`request-id` or `x-request-id`: the provider's own id, to quote to its support.",
        "cf_ray": "`cf-ray`: Cloudflare's id of the request, its place behind the dash.",
        "cf_cache_status": "`cf-cache-status`.",
        "server": "`server`: what wrote the answer's head.",
        "via": "`via`: proxies that named themselves.",
        "x_served_by": "`x-served-by`: the edge's machines.",
        "x_cache": "`x-cache`.",
        "x_envoy_upstream_service_time_ms": "`x-envoy-upstream-service-time`: how long what lies behind Envoy took.",
        "x_envoy_attempt_count": "`x-envoy-attempt-count`: how often Envoy itself asked.",
        "x_envoy_response_flags": "`x-envoy-response-flags`, such as UT, UC, SI.",
        "x_envoy_overloaded": "`x-envoy-overloaded`.",
        "x_envoy_ratelimited": "`x-envoy-ratelimited`.",
        "x_envoy_degraded": "`x-envoy-degraded`.",
        "x_envoy_decorator_operation": "`x-envoy-decorator-operation`.",
        "x_envoy_immediate_health_check_fail": "`x-envoy-immediate-health-check-fail`.",
        "x_amzn_requestid": "`x-amzn-requestid`.",
        "x_amzn_trace_id": "`x-amzn-trace-id`.",
        "x_amz_cf_id": "`x-amz-cf-id`.",
        "x_amz_cf_pop": "`x-amz-cf-pop`: CloudFront's place.",
        "x_cloud_trace_context": "`x-cloud-trace-context`: Google's trace.",
        "x_google_trace": "`x-google-trace`.",
        "traceparent": "`traceparent`: the W3C's trace id.",
        "x_azure_ref": "`x-azure-ref`.",
        "apim_request_id": "`apim-request-id`.",
        "x_ms_request_id": "`x-ms-request-id`.",
        "x_vercel_id": "`x-vercel-id`.",
        "fly_request_id": "`fly-request-id`.",
        "retry_after": "`retry-after`, as it came: seconds or a date.",
        "x_should_retry": "`x-should-retry`: whether upstream wants to be asked again.",
        "ratelimit": "What `anthropic-ratelimit-*` and `x-ratelimit-*` said, as `name=value` in one text.",
    }
)
"Upstream's response headers that are kept: a closed list of ids and hints, none of them the client's or its owner's."

EVIDENCE: Final[Mapping[str, str]] = MappingProxyType(
    {**SOCKET, **CONNECTION, **EXCHANGE, **NETWORK, **HEADERS}
)
"Name -> what it says. Closed: what is not here is not kept."

TOLD: Final = frozenset(
    (
        "tool", "close_notify", "not_processed", "pings_unanswered", "ping_ms", "slept_s", "underneath", "status",
        "request_id", "cf_ray", "via", "x_envoy_response_flags", "retry_after", "ratelimit",
    )
)  # fmt: skip
"What a sentence shows as it is, beside what it tells in words; the rest is in `flight --json`, and in the journal."
