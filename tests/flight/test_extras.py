"""What an extra lacks is named by what it consists of, and installed beside this very installation."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys

import pytest

from holdfast.flight import extras

REQUIRES = [
    "click>=8.1",
    "uvloop>=0.21; sys_platform != 'win32'",
    "ibis-framework[duckdb]>=11; extra == 'diagnose'",
    'some-lib>=2; python_version < "3.13" and extra == "diagnose"',
    "other>=1 ; extra == 'otel'",
]


def test_the_requirements_of_an_extra_are_read_without_its_marker() -> None:
    """Conditions of another kind stay: they are the installer's to weigh."""
    assert extras.of_extra("diagnose", REQUIRES) == [
        "ibis-framework[duckdb]>=11",
        'some-lib>=2; python_version < "3.13"',
    ]
    assert extras.of_extra("none", REQUIRES) == []


def test_the_line_names_this_interpreter_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is not asked for again, but for what was itself asked for with extras: that may be the gap."""
    monkeypatch.setattr(
        extras,
        "requirements",
        lambda: [
            "click>=8.1; extra == 'x'",
            "no-such-thing>=2; extra == 'x'",
            "rich[more]>=1; extra == 'x'",
        ],
    )
    line = extras.install_line("x")
    assert shlex.split(line) == [sys.executable, "-m", "pip", "install", "no-such-thing>=2", "rich[more]>=1"]


@pytest.mark.parametrize(
    ("uv", "begins"),
    [("/bin/uv", "uv pip install --python "), (None, f"{shlex.quote(sys.executable)} -m ensurepip && ")],
)
def test_an_environment_without_pip_is_told_another_line(
    monkeypatch: pytest.MonkeyPatch, uv: str | None, begins: str
) -> None:
    """Those that uv makes have none."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: uv)
    assert extras.line_for(["a>=1"]).startswith(begins)
    assert shlex.split(extras.line_for(["a>=1"]))[-1] == "a>=1"


def test_what_runs_without_being_installed_is_sent_to_its_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no metadata nobody knows of what an extra consists."""
    monkeypatch.setattr(extras, "requirements", list)
    assert extras.install_line("diagnose").endswith(" -m pip install '.[diagnose]' (in the checkout)")


@pytest.mark.parametrize("extra", ["diagnose", "otel"])
def test_no_line_names_this_distribution(extra: str) -> None:
    """An index need not have it, or could have it from somebody else."""
    line = extras.install_line(extra)
    assert "holdfast" not in " ".join(shlex.split(line)[3:])
    assert len(shlex.split(line)) > 4
