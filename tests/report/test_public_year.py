"""The public report of a year at real size: of use to the vendor, within the tracker's limit, and of nobody."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli import diagnose
from holdfast.report.issue import LONGEST
from tests.report.a_year import ACCOUNT, MAILS, ORGANIZATION, SECRETS, Year, leaks
from tests.report.test_diagnosis_issue import FIELDS, field

SIZES = [(150, 40), pytest.param((600, 100), marks=pytest.mark.long)]


@pytest.mark.parametrize("size", SIZES, ids=["a tenth", "whole"])
def test_a_year_makes_two_files(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, mails, hosts and keys stood in every field; what the vendor needs is there all the same."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    home, out = tmp_path / "home", tmp_path / "issue.md"
    home.mkdir()
    year = Year(home, *size).written()
    assert year.failures >= 50 and year.records > 6_000
    done = CliRunner().invoke(
        diagnose.command, ["--home", str(home), "--timezone", "UTC", "--format", "issue", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    page, sheet = out.read_text(), out.with_name("issue.md.private.md")

    assert leaks(page) == []
    assert len(page) < LONGEST
    assert [line[4:] for line in page.splitlines() if line.startswith("### ")] == list(FIELDS)
    wrong = field(page, "What's wrong?")
    assert "Failures came in " in wrong and "prompt tokens sent in vain" in wrong and "of 6 versions" in wrong
    assert "1. **either**: Requests were cut at a fixed age, or something that looks like it" in wrong
    for part in (
        "req_011C", "-ORD", "- refutes: ", "- settle: holdfast run", "#### What would help", "near 300.", "#67091]",
        "#### What would have helped here",
        "report's H1: ", "report's H8g: ", "in the client's logs, so they cannot be looked up", "#### What this cannot tell",
    ):  # fmt: skip
        assert part in page, part

    private = sheet.read_text()
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    assert all(one in private for one in (ORGANIZATION, ACCOUNT, MAILS[0], "`session-1`", "`path-1`"))
    assert not [one for one in SECRETS if one in private]
    assert "De-identified; replaced or removed: " in done.stderr and "e-mail addresses" in done.stderr
    assert "leads back to all of it" in done.stderr and not [one for one in SECRETS if one in done.stderr]
