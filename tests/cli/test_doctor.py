"""`holdfast doctor`: the one fix that would have helped most, shown, made on yes, and taken back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.cli import doctor
from holdfast.diagnosis.fix import NOTE, Setting, Ways, choose
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.witnessed import witnesses
from tests.sessions.unsent import Unsent
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and a state directory of its own."""
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(home: Path, *options: str, code: int = 0) -> Result:
    result = CliRunner().invoke(doctor.command, ["--home", str(home), *options])
    assert result.exit_code == code, result.output
    return result


def a_month_of_giving_up(home: Path, version: str) -> None:
    """Twelve days; on each the client hangs up on one answer by its own limit, and the turn dies."""
    for day in range(12):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", version=version, at_ms=MORNING_MS + day * DAY_MS)
        pen.asks()
        for number in range(10):
            pen.after(20).answers(f"msg_{day}_{number}")
        pen.after(301).gives_up("API Error: The response stopped arriving.").saved(home)


def settings(home: Path) -> Path:
    path = home / ".claude" / "settings.json"
    path.parent.mkdir(exist_ok=True)
    return path


BEHIND_A_GATEWAY = """\
{
  "model": "opus",
  "env": {
    "ANTHROPIC_BASE_URL": "https://gate.example",
    "MY_KEY": "hunter2"
  }
}
"""


def test_a_limit_that_a_setting_moves_is_moved(home: Path) -> None:
    """Shown as a difference, made on yes, and undone to the byte; a second time there is nothing to change."""
    a_month_of_giving_up(home, "2.1.329")
    settings(home).write_text(BEHIND_A_GATEWAY)
    before = settings(home).read_text()

    shown = run(home, code=1).stdout
    assert shown.startswith("strong: The client gave up waiting, by its own limit. It cost 12 turns.")
    assert '+    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"' in shown
    assert "900 s instead of 300 s" in " ".join(shown.split()) and "hunter2" not in shown
    assert '     "MY_KEY": "(hidden)"' in shown.replace("-    ", "     ")
    assert "(hidden) stands for a value that may be a key" in shown and " characters, " not in shown
    assert "holdfast doctor --yes" in shown and settings(home).read_text() == before

    assert "holdfast doctor --undo" in run(home, "--yes").stdout
    assert json.loads(settings(home).read_text())["env"] == {
        "ANTHROPIC_BASE_URL": "https://gate.example",
        "MY_KEY": "hunter2",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000",
    }
    again = " ".join(run(home).stdout.split())
    assert "the longer patience is set already: CLAUDE_STREAM_IDLE_TIMEOUT_MS=900000" in again
    assert re.search(
        r"by the doctor, on .* what failed since: holdfast diagnose --since \d{4}-\d\d-\d\dT", again
    )
    assert "no setting was measured" not in again and "+++" not in again, "it is not proposed twice"

    assert "as it was before" in run(home, "--undo").stdout
    assert settings(home).read_text() == before
    assert "no change of the doctor's" in run(home, "--undo", code=1).stderr


@pytest.mark.parametrize("version", ["2.1.86", "2.1.114", "2.1.200", "2.1.400"])
def test_a_version_that_was_not_measured_to_follow_gets_a_line_instead(home: Path, version: str) -> None:
    """No setting is proposed on a guess; the reason is said, and nothing is made."""
    a_month_of_giving_up(home, version)
    settings(home).write_text(BEHIND_A_GATEWAY)
    said = run(home, "--yes").stdout

    assert "\n  holdfast run -- claude\n" in said
    assert f"no setting was measured to lengthen the patience of the versions in use ({version})" in " ".join(
        said.split()
    )
    assert settings(home).read_text() == BEHIND_A_GATEWAY


def test_a_limit_that_was_measured_elsewhere_is_not_moved(home: Path) -> None:
    """Straight at the API another limit may end first, so no setting is proposed."""
    a_month_of_giving_up(home, "2.1.329")

    assert "measured behind a base URL only" in " ".join(run(home, "--yes").stdout.split())
    assert not settings(home).exists()


def test_a_watchdog_that_the_user_armed_is_given_more_patience(home: Path) -> None:
    """What is in force counts, not the default: 90 s by the user's own switch."""
    a_month_of_giving_up(home, "2.1.114")
    settings(home).write_text(
        '{"env": {"CLAUDE_ENABLE_STREAM_WATCHDOG": "1", "ANTHROPIC_BASE_URL": "http://gate"}}'
    )

    assert "900 s instead of 90 s" in " ".join(run(home, code=1).stdout.split())


def a_week_of_late_answers(home: Path, version: str, age_s: int, *, whole: bool = False) -> None:
    """On each day the client's own time is up for one request, and the turn dies of it; unsent telemetry has the age."""
    for day in range(8):
        session, at_ms = f"{day:08x}-1111-4000-8000-000000000000", MORNING_MS + day * DAY_MS
        pen = Pen(session, version=version, at_ms=at_ms).asks().after(5).answers(f"msg_{day}").after(5).asks()
        pen.after(age_s + 40 * whole).gives_up("API Error: Request timed out.").saved(home)
        told = Unsent(session, version=version, at_ms=at_ms + 10_000).asks()
        told = told.after(40).falls_back() if whole else told
        told.after(age_s).gives_up(1, kind="api_timeout", took_ms=age_s * 1000).saved(home)


def test_the_clock_of_a_copied_home_is_the_one_that_is_said(home: Path) -> None:
    """As in the report itself: an assumed one is told of, and a wrong name is refused."""
    a_month_of_giving_up(home, "2.1.86")
    log = home / "Library" / "Logs" / "Claude" / "main.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-04-14 09:00:00 [info] Starting app\n")
    assumed = json.loads(run(home, "--json").stdout)
    said = json.loads(run(home, "--json", "--timezone", "America/Chicago").stdout)

    assert "for want of another" in assumed["clock"] and said["clock"] is None
    assert "say --timezone" in " ".join(run(home).stdout.split())
    run(home, "--timezone", "Nowhere/AtAll", code=2)
    assert run(home, "--until", "2020-01-01").stdout.startswith("There is nothing to diagnose")


@pytest.mark.parametrize("option", ["--timezone", "--since", "--until"])
def test_the_same_of_a_freeze_is_refused(option: str) -> None:
    """It goes on now, and no log is weighed."""
    result = CliRunner().invoke(doctor.command, ["--now", option, "UTC"])
    assert result.exit_code == 2 and "leave the other options out" in result.output


def the_fix(home: Path, **env: str) -> dict[str, Any]:
    """What is proposed behind a base URL."""
    settings(home).write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "http://gate"} | env}))
    result = CliRunner().invoke(doctor.command, ["--home", str(home), "--json"])
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_the_limit_that_was_met_is_moved_and_no_other(home: Path) -> None:
    """A request without streaming has a total time, which the patience for a silent stream does not move."""
    a_week_of_late_answers(home, "2.1.329", 300, whole=True)
    told = the_fix(home)

    assert told["env"] == {"API_TIMEOUT_MS": "900000"}
    assert "a request without streaming), 900 s instead of 300 s (API_TIMEOUT_MS)" in told["says"]
    assert "its limit of 360 s for those stays" in told["says"]
    assert "RST at 300.0 s of total time" in told["measured"]
    assert "was not measured" not in told["says"]


def test_what_was_measured_to_shorten_a_limit_alone_is_offered_with_that(home: Path) -> None:
    """2.1.114 followed API_TIMEOUT_MS downwards; whether upwards, nobody tried."""
    a_week_of_late_answers(home, "2.1.114", 600)
    told = the_fix(home)

    assert told["env"] == {"API_TIMEOUT_MS": "900000"}
    assert (
        "That it lengthens the time was not measured of API_TIMEOUT_MS on 2.1.114: only shorter times were tried."
        in told["says"]
    )
    assert "API_TIMEOUT_MS=20000 gave 20 s" in told["measured"]


@pytest.mark.parametrize(
    ("env", "moves"),
    [
        ({}, {"API_TIMEOUT_MS", "CLAUDE_STREAM_IDLE_TIMEOUT_MS"}),
        ({"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"}, {"API_TIMEOUT_MS"}),
    ],
)
def test_every_limit_below_the_age_that_was_met_is_moved(
    home: Path, env: dict[str, str], moves: set[str]
) -> None:
    """At ten minutes the time of a request ended it; the shorter wait for headers would end the next one before that."""
    a_week_of_late_answers(home, "2.1.329", 600)
    told = the_fix(home, **env)

    assert set(told["env"]) == moves
    assert all(int(value) > 600_000 for value in told["env"].values())


def test_the_new_limit_is_longer_than_the_age_that_was_met(home: Path) -> None:
    """A request that had twenty minutes is not helped by fifteen."""
    a_week_of_late_answers(home, "2.1.114", 1200)
    told = the_fix(home, API_TIMEOUT_MS="1200000")

    assert told["env"] == {"API_TIMEOUT_MS": "1800000"}


@pytest.mark.parametrize(
    ("version", "age_s", "why"),
    [
        ("2.1.329", 450, "no limit of 2.1.329 was measured that ends a request after 450 s"),
        ("2.1.86", 600, "nothing was measured to move what ends a request after 600 s there"),
        ("2.1.86", 300, "nothing was measured to move what ends a request after 300 s there"),
        ("2.1.200", 600, "no setting was measured to lengthen the patience of the versions in use (2.1.200)"),
    ],
)
def test_a_limit_that_was_not_measured_is_not_guessed(home: Path, version: str, age_s: int, why: str) -> None:
    """No setting, the reason, and a line to type."""
    a_week_of_late_answers(home, version, age_s)
    told = the_fix(home)

    assert (told["kind"], told["env"], told["line"]) == ("line", {}, "holdfast run -- claude")
    assert why in " ".join(told["instead"])


def test_a_fix_that_is_no_setting_is_a_line(home: Path) -> None:
    """A limit on the way is nothing that the client's settings could move."""
    for day in range(12):
        pen = Pen(
            f"{day:08x}-0000-4000-8000-000000000000", version="2.1.329", at_ms=MORNING_MS + day * DAY_MS
        ).asks()
        for number in range(10):
            pen.after(20).answers(f"msg_{day}_{number}")
        pen.after(300.4).fails(1).after(302).fails(2).gives_up().saved(home)
    told = json.loads(run(home, "--json").stdout)

    assert (told["kind"], told["line"], told["env"], told["diff"]) == (
        "line",
        "holdfast run -- claude",
        {},
        [],
    )
    assert told["turns_least"] == 12 and not told["applied"]


@pytest.mark.parametrize("healthy", [True, False])
def test_with_nothing_wrong_nothing_is_changed(home: Path, healthy: bool) -> None:
    """Not even with --yes."""
    if healthy:
        Pen().asks().answers("msg_1").took(9).saved(home)
    said = run(home, "--yes").stdout

    assert said.startswith("Nothing is wrong" if healthy else "There is nothing to diagnose")
    assert not settings(home).exists()


def test_a_stall_without_an_error_is_something(home: Path) -> None:
    """No setting is made up for it: what finds out which side was silent is the line to type."""
    Pen().asks().after(830).answers("msg_1").took(830).saved(home)
    said, told = run(home, "--yes").stdout, json.loads(run(home, "--json").stdout)

    assert said.startswith("No error is on record, but 1 silent stall is inferred, of 815 s.\n")
    assert "\n  holdfast run -- claude\n" in said and "holdfast doctor --now" in said
    assert (told["kind"], told["line"]) == ("line", "holdfast run -- claude")
    assert told["title"] in said and not settings(home).exists()


def test_answers_that_were_stopped_are_no_stalls(home: Path) -> None:
    """People press Esc every day: an answer without a stop reason was silent for no known time."""
    pen = Pen().asks()
    for number in range(30):
        pen.after(5).answers(f"msg_{number}", stop=None if number == 12 else "end_turn")
    pen.took(9).saved(home)

    assert run(home).stdout.startswith("Nothing is wrong")


def test_settings_that_are_no_json_are_refused_with_their_place(home: Path) -> None:
    """The client ignores them as they are, which is worth knowing whatever the fix is."""
    a_month_of_giving_up(home, "2.1.329")
    settings(home).write_text('{\n  "env" {}\n}\n')
    said = run(home, "--yes", code=2).stderr

    assert "line 2, column 9" in said
    assert settings(home).read_text() == '{\n  "env" {}\n}\n'


def test_json_asks_nothing_and_tells_what_it_did(home: Path) -> None:
    """Without --yes it shows, and says by its exit code that the change was not made."""
    a_month_of_giving_up(home, "2.1.329")
    settings(home).write_text(BEHIND_A_GATEWAY)
    settings(home).chmod(0o600)
    shown = json.loads(run(home, "--json", code=1).stdout)
    made = json.loads(run(home, "--json", "--yes").stdout)

    assert (shown["kind"], shown["applied"], made["applied"]) == ("setting", False, True)
    assert shown["diff"] == made["diff"] and shown["env"] == {"CLAUDE_STREAM_IDLE_TIMEOUT_MS": "900000"}
    assert settings(home).stat().st_mode & 0o777 == 0o600
    assert json.loads(run(home, "--json", "--undo").stdout)["kind"] == "undone"
    assert settings(home).read_text() == BEHIND_A_GATEWAY


@pytest.mark.parametrize(
    "options",
    [
        ["--now", "--yes"],
        ["--now", "--undo"],
        ["--now"],
        ["--pid", "7"],
        ["--watch", "5"],
        ["--now", "--watch", "0"],
    ],
)
def test_options_that_do_not_go_together(home: Path, options: list[str]) -> None:
    """Looking and changing are two things, and a frozen client is not in a copied home, which `run` names."""
    assert "--now" in run(home, *options, code=2).stderr or "--watch" in run(home, *options, code=2).stderr


# ----- the choice


def found(hypothesis: str, do: str) -> dict[str, Any]:
    finding = {"hypothesis": hypothesis, "title": "T", "grade": "strong"}
    advice = {"hypothesis": hypothesis, "do": do, "turns_least": 3, "turns_most": 5}
    return {"failures": 9, "requests": 99, "findings": [finding], "advice": [advice]}


GATEWAY = Setting({"ANTHROPIC_BASE_URL": "http://127.0.0.1:8484"}, "through it.", "all.")
PATIENCE = Setting({"X": "1"}, "longer.", "one.")


def test_a_gateway_that_runs_beats_a_longer_wait() -> None:
    """It holds the client and keeps the answer; a longer limit only waits."""
    advice = found("client-limit", "Run the client behind holdfast run.")

    assert choose(advice, Ways(GATEWAY, "", PATIENCE, "")).env == GATEWAY.env
    assert choose(advice, Ways(None, "none runs", PATIENCE, "")).env == PATIENCE.env
    assert choose(found("fixed-limit", "holdfast run"), Ways(None, "none runs", PATIENCE, "")).kind == "line"


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([], "no cause explains enough of them to be named"),
        (
            [{"hypothesis": "shared-outage", "title": "Several at once", "grade": "strong"}],
            "strong: Several at once.",
        ),
    ],
)
def test_failures_without_a_lost_turn_get_the_next_step_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, findings: list[dict[str, str]], says: str
) -> None:
    """Resets of unclear cause are what holdfast run helps with: it finds out who, and nothing false is said of it."""
    told = {"failures": 18, "requests": 258, "advice": [], "findings": findings}
    monkeypatch.setattr(doctor, "_diagnosis", lambda *_: told)
    said = " ".join(run(home).output.split())

    assert says in said
    assert "the flight tells who ended a connection" in said
    assert said.endswith("holdfast run -- claude")


@pytest.mark.parametrize("name", [one.name for one in (*catalogue(), *witnesses())])
def test_every_cause_has_a_fix_that_says_what_to_do(name: str) -> None:
    """With no gateway and no setting there is still a sentence and a line to type, and no setting is made up."""
    remedy = next(one.remedy for one in (*catalogue(), *witnesses()) if one.name == name)
    for platform in ("linux", "win32"):
        fix = choose(found(name, remedy), Ways(None, "none runs", None, "none was measured"), platform)
        asked = f" {NOTE}" if fix.line.startswith("holdfast mark ") else ""

        assert (fix.kind, fix.says, fix.env) == ("line", remedy + asked, None) and fix.line
