"""Text from elsewhere: no power over a terminal, no credential."""

from __future__ import annotations

import base64
import string
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight.redact import (
    LONGEST_SCRUBBED,
    REMOVED,
    clean,
    looks_random,
    masked_url,
    scrub,
    scrub_error_event,
)

JOINERS = {"\u200c", "\u200d", "\u00ad"}
ARABIC_SIGNS = set("\u0600\u0601\u0602\u0603\u0604\u0605\u0890\u0891\u08e2")
"Format characters by category, but visible signs that enclose or mark a number."


@given(st.text(st.characters(codec=None)))
def test_nothing_that_commands_a_terminal_passes(text: str) -> None:
    """Whatever comes in, what is printed has no control, format or direction character, and can be encoded."""
    safe = clean(text, limit=None)
    categories = {unicodedata.category(c) for c in safe if c not in JOINERS | ARABIC_SIGNS}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    safe.encode()


@pytest.mark.parametrize("size", [1, 7, 4000, 8000, 70_000])
def test_an_error_event_at_an_answers_end_is_scrubbed_wherever_it_is_cut(size: int) -> None:
    """Some providers repeat the key that they refuse; the answer before it stays to the byte, key-like or not."""
    key = "sk-ant-api03-" + "A1b2C3d4" * 8
    before = f"event: content_block_delta\ndata: {key}\n\n".encode() * 300
    data = before + f'event: error\ndata: {{"message": "invalid x-api-key: {key}"}}\n\n'.encode()
    kept = b"".join(scrub_error_event(data[at : at + size] for at in range(0, len(data), size)))

    assert kept.startswith(before + b"event: error\n")
    assert key.encode() not in kept[len(before) :]


def test_of_a_long_answer_only_its_end_is_held() -> None:
    """What is certainly before an error event goes on at once."""
    given_, taken, most = 0, 0, 0

    def pieces() -> Iterator[bytes]:
        nonlocal given_, most
        for _ in range(1000):
            given_ += 1000
            most = max(most, given_ - taken)
            yield b"x" * 1000

    for piece in scrub_error_event(pieces()):
        taken += len(piece)
    assert taken == 1_000_000 and most <= LONGEST_SCRUBBED + 2000


@given(st.text(st.characters(codec=None)), st.integers(0, 50))
def test_no_text_is_longer_than_its_limit(text: str, limit: int) -> None:
    """A cut is marked, and is never in excess of the limit."""
    safe = clean(text, limit=limit)
    assert len(safe) <= limit
    assert safe == clean(text, limit=None) or limit == 0 or safe.endswith("…")


@given(st.text(st.characters(codec=None)))
def test_lines_keep_their_newlines_and_tabs(text: str) -> None:
    """Text of several lines stays in lines; nothing else gets through."""
    safe = clean(text, limit=None, lines=True)
    assert safe.count("\n") == text.count("\n") and safe.count("\t") == text.count("\t")
    assert not {unicodedata.category(c) for c in safe if c not in "\n\t"} & {"Cc", "Cs"}


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_plain_text_is_left_alone(text: str) -> None:
    """Letters, digits, signs and emoji of any language are printed as they are."""
    assert clean(text, limit=None) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b31m", r"\x1b[2J\x9b31m"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("\U000e0041", r"\U000e0041"),
        ("x" * 10, "xxxx…"),
    ],
)
def test_what_is_escaped_can_be_read(text: str, shown: str) -> None:
    """An escape says which character was there."""
    assert clean(text, limit=5 if text == "x" * 10 else None) == shown


SECRET = "S3cr3tValue0123456789abcdef"
PLACES = [
    "sk-ant-api03-{}",
    "Authorization: Bearer {}",
    "authorization: {}",
    '{{"authorization": "Bearer {}", "x": 1}}',
    '{{\\"x-api-key\\": \\"{}\\"}}',
    "x-api-key: {}",
    "X-Api-Key={}",
    "ANTHROPIC_API_KEY={}",
    "ANTHROPIC_AUTH_TOKEN: {}",
    "Proxy-Authorization: Basic {}",
    "Cookie: a=1; session={}; b=2",
    "set-cookie: sid={}; Path=/",
    "https://user:{}@proxy.example:3128/",
    "http://{}@host",
    "GET /v1/messages?beta=true&key={}&x=1",
    "/path?api_key={}",
    "/path?access_token={}",
    "token={}",
    "password: {}",
    "aws_secret_access_key = {}",
    "holdfast-token: {}",
    "failed with bearer {} in it",
    "eyJhbGciOiJIUzI1NiJ9.{}.sig",
    "ghp_{}",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_credential_is_taken_out_wherever_it_stands(place: str) -> None:
    """Headers, JSON, queries, cookies, URLs, environment listings, tokens with a known beginning."""
    scrubbed = scrub(place.format(SECRET))
    assert SECRET not in scrubbed and REMOVED in scrubbed


@given(
    st.sampled_from(PLACES),
    st.text(string.ascii_letters + string.digits + "-_", min_size=24, max_size=100),
    st.text(string.ascii_lowercase + " ", max_size=20),
    st.text(string.ascii_lowercase + " ", max_size=20),
)
def test_no_credential_survives_between_other_words(place: str, secret: str, before: str, after: str) -> None:
    """The same for any secret and any text around it."""
    assert secret not in scrub(f"{before} {place.format(secret)} {after}")


@given(
    st.binary(min_size=24, max_size=48)
    .map(lambda drawn: base64.urlsafe_b64encode(drawn).decode())
    .filter(looks_random)
)
def test_a_long_random_value_behind_any_name_is_taken_for_a_credential(secret: str) -> None:
    """A header that we have never heard of may carry one; ids that help to find a turn are left."""
    assert secret not in scrub(f"x-custom: {secret}")
    assert secret not in scrub(f'{{"x-custom": "{secret}"}}')
    assert scrub(f"request-id: req_{secret}") == f"request-id: req_{secret}"


@given(st.text(st.characters(codec=None)))
def test_scrubbing_never_fails_and_is_done_once(text: str) -> None:
    """Any text can be scrubbed, and scrubbing what was scrubbed changes nothing more."""
    once = scrub(text)
    assert scrub(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 104] Connection reset by peer",
        "request-id: req_011CSHoEeqs5C35K2UUqR7FyZm9xKq",
        "input_tokens: 1200, output_tokens: 40",
        "/v1/messages",
        "claude-cli/2.1.114 (external, cli)",
        "certificate verify failed: self-signed certificate (_ssl.c:1006)",
        "203.0.113.7:443",
        "file: /home/user/projects/holdfast/src/holdfast/flight/journal.py",
    ],
)
def test_what_an_error_says_stays_readable(text: str) -> None:
    """Ids, counts, addresses and paths that a person needs are left alone."""
    assert scrub(text) == text


def test_a_long_hostile_text_is_scrubbed_in_little_time() -> None:
    """No pattern can be made to search for ever."""
    import time

    began = time.perf_counter()
    for piece in ("https://", "a", "key=", 'cookie: \\"', "eyJa", "a.", "bearer ", "x-api-key"):
        scrub(piece * (50_000 // len(piece)) + "=")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://gate.example:8443/llm/v1", "https://gate.example:8443/llm/v1"),
        ("https://gate.example/hunter2hunter2hunter2/v1", "https://gate.example/…/v1"),
        ("https://me:hunter2@gate.example/v1", "https://***@gate.example/v1"),
        ("me:hunter2@gate.example:3128", "***@gate.example:3128"),
        ("http://me:hun/ter2@gate.example:3128", "http://***@gate.example:3128"),
        ("http://me:hun@ter2@gate.example", "http://***@gate.example"),
        ("https://gate.example/v1?key=hunter2", "https://gate.example/v1?…"),
        ("http://[::1]:9/x", "http://[::1]:9/x"),
        ("http://me:hunter2", "***"),
        ("", "***"),
    ],
)
def test_an_address_is_shown_without_what_could_be_a_token(url: str, shown: str) -> None:
    """Login, query and long path segments: some gateways take a token in any of them."""
    assert masked_url(url) == shown
