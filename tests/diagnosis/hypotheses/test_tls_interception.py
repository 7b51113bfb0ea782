"""Somebody who opens TLS."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.flight.endings import Mechanism, Phase, Side
from tests.diagnosis.hypotheses.story import Story, said


def refused(code: str, **more: Any) -> Story:
    story = Story()
    for day in range(8):
        story.fails(day, 60, code=code, age_s=0.3, tries=3, outcome="died", **more)
    return story


@pytest.mark.parametrize(
    "code",
    ["SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
)
def test_a_certificate_of_an_unknown_authority_names_it(code: str) -> None:
    """The client's own code says so."""
    found = refused(code).finding("tls-interception")

    assert found.grade == "strong" and len(found.explains) == 8
    assert "NODE_EXTRA_CA_CERTS" in found.remedy


@pytest.mark.parametrize(
    "code", ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID", "ERR_TLS_CERT_ALTNAME_INVALID", "ECONNRESET"]
)
def test_other_troubles_of_certificates_are_not(code: str) -> None:
    """They are the server's or the clock's; a reset is anybody's."""
    assert "tls-interception" not in refused(code).names()


def test_the_issuer_tells() -> None:
    """A program that is known to stand between, an unknown one, or a public authority."""
    bits = []
    for kind, issuer in (
        ("public", "WE1, Google Trust Services"),
        ("unknown", "Office CA"),
        ("interceptor", "Zscaler"),
    ):
        story = refused("SELF_SIGNED_CERT_IN_CHAIN")
        story.asked("handshake", {"issuer_is": kind, "issuer": issuer}, day=7)
        found = story.finding("tls-interception")
        bits.append(found.bits)
        assert f"the certificate's issuer is {issuer}" in said(found)

    assert bits == sorted(bits) and len(set(bits)) == 3


def test_an_interceptor_that_is_there_has_not_done_everything() -> None:
    """Resets that name nobody stay unexplained, though the probe found one."""
    story = refused("ECONNRESET")
    story.asked("handshake", {"issuer_is": "interceptor", "issuer": "Zscaler"}, day=7)

    assert "tls-interception" not in story.names()


def test_records_that_arrive_changed_are_its_own() -> None:
    """TCP's sums let hardly any change of the line's through."""
    story = Story()
    for day in range(8):
        story.fails(
            day, 60, age_s=4.0 + day, side=Side.PATH, mechanism=Mechanism.TLS_BROKEN, phase=Phase.IN_TEXT
        )  # fmt: skip

    assert "In 8 cases TLS records arrived changed." in said(story.finding("tls-interception"))
