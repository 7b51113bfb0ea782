"""`holdfast doctor`: the one fix that would have helped most, shown and made; `--now`: what a freeze is that goes on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import claude, settings_file
from holdfast.cli.add import adds
from holdfast.cli.catalogue import DEFAULT_LISTEN, DEFAULT_UPSTREAM
from holdfast.cli.errors import FAILED, Failed, Misused
from holdfast.cli.homes import asked_of
from holdfast.cli.viewing import json_line, local_time
from holdfast.flight.flights import counted, duration
from holdfast.flight.instant import now
from holdfast.flight.redact import clean
from holdfast.flight.state import StateError, state_path

if TYPE_CHECKING:
    from holdfast.cli.doctor_now import Looked
    from holdfast.diagnosis.fix import Fix, Made, Setting, Ways
    from holdfast.diagnosis.now import Verdict
    from holdfast.flight.instances import Serving
    from holdfast.flight.reading import Library
    from holdfast.gateway.settings import Upstream
    from holdfast.sessions.clients import Client

SCHEMA = 1
"Of --json; raised when a name in it changes its meaning or goes."
IN_USE = 20
"Sessions, the latest ones, whose versions count as in use."
IN_USE_DAYS = 14
WIDEST = 110
SAME_START_MS = 2000


@click.command("doctor")
@click.option(
    "--home",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Diagnose this home's logs, and change its settings, instead of yours.",
)
@click.option("--since", metavar="TIME", help="Weigh only failures since then: 7d, 24h, 2026-03-01.")
@click.option("--until", metavar="TIME", help="Weigh only failures before then.")
@click.option(
    "--timezone", metavar="NAME", help="The clock of that machine, such as Europe/Paris [this one's]."
)
@click.option("--yes", is_flag=True, help="Make the change without asking.")
@click.option("--undo", is_flag=True, help="Take the last change back, exactly.")
@click.option(
    "--now", "right_now", is_flag=True, help="Look at a client that is frozen now; nothing is changed."
)
@click.option("--pid", type=click.IntRange(min=1), help="With --now: which client, where several run.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.2, max=3600),
    metavar="SECONDS",
    help="With --now: look again, so often, until the client ends or you press Ctrl-C.",
)
@click.option("--json", "as_json", is_flag=True, help="For a program; asks nothing.")
@adds
def command(
    home: Path | None,
    since: str | None,
    until: str | None,
    timezone: str | None,
    yes: bool,
    undo: bool,
    right_now: bool,
    pid: int | None,
    watch: float | None,
    as_json: bool,
    add: tuple[Path, ...],
    clock: float | None,
) -> None:
    """Name the one fix that would have helped most, show it, and make it if you say yes.

    It weighs what `holdfast diagnose` finds. Where the fix is a setting of Claude Code's that was measured to work for
    the versions in use, it is put into the user's settings file, and the rest of that file stays as it is, to the byte.
    Where it is none, the line to type is shown. With nothing wrong nothing is changed.

    It needs what diagnose needs, the packages of the extra `diagnose`; --now needs none of them.

    With --now it looks at a freeze that goes on: at the client's process, its connections, the end of its transcript
    (kinds and times of records, never what they say), and the flight of a gateway of yours. It sends nothing.

    \b
    Examples:
      holdfast doctor                    what to change, and whether to
      holdfast doctor --undo             as it was before
      holdfast doctor --now              it is frozen: wait, ask again, or look elsewhere?
      holdfast doctor --now --watch 5    again and again

    \b
    Exit codes: 0 nothing to change, changed, or (--now) told; 1 not changed: declined, no answer to the question, or
    refused; or (--now) no client, or several; 2 it could not look, or the settings file is not valid JSON.
    """
    asked = asked_of(None, timezone, since, until, add, clock)
    if right_now:
        if yes or undo:
            raise click.UsageError("--now changes nothing; use --yes and --undo without it")
        if home is not None:
            raise click.UsageError(
                "--home has somebody's logs, and a frozen client runs here: --now finds its home by itself; leave "
                "--home out"
            )
        if asked:
            raise click.UsageError(
                "--now looks at this moment, and weighs no logs: leave the other options out"
            )
        _now(Path.home(), pid, watch, as_json)
        return
    if pid is not None or watch is not None:
        raise click.UsageError("--pid and --watch belong to --now; write: holdfast doctor --now")
    with _refusals():
        if undo:
            _undo(as_json)
        else:
            _fix(home, asked, yes, as_json)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except settings_file.NotJson as error:
        raise Misused(clean(str(error), limit=2000, lines=True)) from None
    except settings_file.Refused as error:
        raise Failed(clean(str(error), limit=20_000, lines=True)) from None
    except StateError as error:
        raise Misused(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failed(
            f"{clean(str(error.filename or 'the settings'))} cannot be written ({error.strerror}); nothing was changed"
        ) from error


# ----- the fix


def _fix(home: Path | None, asked: list[str], yes: bool, as_json: bool) -> None:
    from holdfast.diagnosis.fix import NOTHING, SETTING, choose
    from holdfast.diagnosis.own_limits import of_the_first_advice

    diagnosis = _diagnosis(home, asked)
    where = home or Path.home()
    path, chosen = _settings_path(where, home is None)
    place = settings_file.find(path, where, chosen=chosen)
    # Whatever the fix is: a settings file that the client cannot read is found out here.
    settings_file.with_env(place.text or "", {}, str(path))
    fix = choose(
        diagnosis, _ways(where, home is None, path, place, of_the_first_advice(diagnosis)), sys.platform
    )
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": fix.kind,
        "title": fix.title,
        "says": fix.says,
        "hypothesis": fix.hypothesis,
        "grade": fix.grade,
        "turns_least": fix.least,
        "turns_most": fix.most,
        "env": dict(fix.env or {}),
        "measured": fix.measured,
        "upstream": fix.upstream or None,
        "line": fix.line,
        "instead": list(fix.instead),
        "path": str(path) if fix.kind == SETTING else None,
        "diff": [],
        "applied": False,
        "clock": _clock(diagnosis, assumed=home is not None and "--timezone" not in asked) or None,
    }
    by = ["", told["clock"]] if told["clock"] else []
    if fix.kind != SETTING:
        _say(told, as_json, [*(_lines(fix) if fix.kind != NOTHING else [fix.says]), *by])
        return
    text = settings_file.with_env(place.text or "", fix.env or {}, str(path))
    if text == place.text:
        told |= {"kind": NOTHING}
        said = (
            f"{path} says so already; nothing was changed. What failed of late: holdfast diagnose --since 1d"
        )
        _say(told, as_json, [f"{_headline(fix)}", "", said])
        return
    told["diff"] = _difference(place, text)
    if not as_json:
        hidden = any(settings_file.HIDDEN in line for line in told["diff"])
        note = ["", f"{settings_file.HIDDEN} stands for a value that may be a key; none of them changes."]
        _say(told, False, [*_lines(fix), *by, "", *told["diff"], *(note if hidden else [])])
    if not (
        yes
        or (
            not as_json
            and sys.stdin.isatty()
            and click.confirm(f"\nChange {clean(str(path))} so?", default=False)
        )
    ):
        if as_json:
            click.echo(json_line(told))
        elif not sys.stdin.isatty():
            click.echo("\nNothing was changed. To change it: holdfast doctor --yes")
        else:
            click.echo("Nothing was changed.")
        raise click.exceptions.Exit(FAILED)
    settings_file.apply(place, text, state_path(), why=fix.hypothesis, now_ms=now().wall_ms)
    told["applied"] = True
    if as_json:
        click.echo(json_line(told))
    else:
        click.echo(f"\nChanged {clean(str(path))}. Clients that are started from now on take it.")
        click.echo("To take it back: holdfast doctor --undo")


def _undo(as_json: bool) -> None:
    kept = settings_file.changes(state_path())
    if not kept:
        raise Failed(
            "there is no change of the doctor's to take back; see what there is to fix: holdfast doctor"
        )
    change = settings_file.undo(kept[0])
    if as_json:
        click.echo(json_line({"schema": SCHEMA, "kind": "undone", "path": change.path, "why": change.why}))
        return
    how = "removed, as it was not there before" if change.created else "as it was before"
    click.echo(f"{clean(change.path)} is {how} ({local_time(change.at_ms)}).")


def _difference(place: settings_file.Place, text: str) -> list[str]:
    before, after = settings_file.picture(place.text or ""), settings_file.picture(text)
    return settings_file.difference(before, after, place.named.name)


def _headline(fix: Fix) -> str:
    if not fix.title:
        return "There were failures, and no cause explains enough of them to be named."
    if not fix.hypothesis:
        return f"{fix.title}."
    if not fix.most:
        return f"{fix.grade or 'found'}: {fix.title}. No turn is known to have been lost to it."
    turns = counted(fix.most, "turn")
    saved = turns if fix.least == fix.most else f"{fix.least} to {turns}" if fix.least else f"up to {turns}"
    return f"{fix.grade or 'found'}: {fix.title}. It cost {saved}."


def _lines(fix: Fix) -> list[str]:
    page = [
        _headline(fix),
        "",
        f"{'What would have helped most' if fix.most else 'What helps, and finds out'}: {fix.says}",
    ]
    if fix.upstream:
        page.append(f"Upstream: {fix.upstream}")
    if fix.measured:
        page.append(f"Measured: {fix.measured}")
    if fix.env is None and fix.line:
        page += ["", f"  {fix.line}"]
    elif fix.line:
        page.append(f"Without any setting, and with broken answers healed as well: {fix.line}")
    page += [f"Why no setting: {one}" for one in fix.instead]
    return page


def _say(told: Mapping[str, Any], as_json: bool, page: list[str]) -> None:
    if as_json:
        click.echo(json_line(told))
        return
    for line in page:
        if len(line) <= _width() or line.startswith(("+", "-", " ")):
            click.echo(clean(line, limit=2000))
        else:
            click.echo("\n".join(textwrap.wrap(clean(line, limit=4000), _width(), break_on_hyphens=False)))


def _width() -> int:
    return min(WIDEST, max(60, shutil.get_terminal_size((WIDEST, 24)).columns))


def _diagnosis(home: Path | None, asked: list[str]) -> dict[str, Any]:
    """What `holdfast diagnose --format json` says, with these options beside the home."""
    from holdfast.cli import diagnose

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        diagnose.command.main(
            [*(["--home", str(home)] if home else []), *asked, "--format", "json"],
            prog_name="holdfast diagnose",
            standalone_mode=False,
        )
    told: dict[str, Any] = json.loads(said.getvalue())
    return told


def _clock(diagnosis: Mapping[str, Any], *, assumed: bool) -> str:
    """By which clock the desktop app's log was read, where nobody said it and there is one; else empty."""
    from holdfast.cli.homes import read_as

    logs = [
        one for one in diagnosis.get("coverage", ()) if one["source"] == "desktop log" and one["first_ms"]
    ]
    return f"Desktop log: {read_as(diagnosis['zone'], assumed=True)}." if logs and assumed else ""


def _settings_path(home: Path, own: bool) -> tuple[Path, bool]:
    """The user's settings file, and whether its directory was chosen by a variable."""
    named = os.environ.get("CLAUDE_CONFIG_DIR", "").strip() if own else ""
    if "," in named:
        raise Misused("CLAUDE_CONFIG_DIR names several directories; set it to one of them, and try again")
    if named:
        return Path(named).expanduser() / "settings.json", True
    return home / ".claude" / "settings.json", False


# ----- what this machine and these versions allow


def _ways(
    home: Path, own: bool, path: Path, place: settings_file.Place, met: Sequence[Mapping[str, Any]]
) -> Ways:
    from holdfast.cli.patience import NoSetting, by_patience
    from holdfast.diagnosis.fix import Ways

    text = (place.text or "").removeprefix(settings_file.MARK)
    content = json.loads(text) if text.strip() else {}
    mine = claude.Source("user", str(path), content)
    managed = claude.read_settings(("--setting-sources", ""), {"HOME": str(home)}, home, sys.platform)
    environment = dict(os.environ) if own else {}
    versions = _versions(home, environment)
    gateway, no_gateway, made = _by_gateway(mine, managed, environment, own, path)
    patience, no_patience = None, ""
    try:
        patience = by_patience(met, versions, mine, managed, environment, path)
    except NoSetting as why:
        no_patience = str(why)
    return Ways(gateway, no_gateway, patience, no_patience, made)


def _versions(home: Path, environment: Mapping[str, str]) -> list[str]:
    """The versions in the latest sessions, each once."""
    from holdfast.sessions.places import roots, transcripts
    from holdfast.sessions.tail import read_tail

    found, _ = transcripts(roots(home, environment), anywhere=bool(environment))
    latest = sorted((one for one in found if not one.subagent), key=lambda one: -one.mtime_ms)[:IN_USE]
    versions: dict[str, None] = {}
    newest_ms: int | None = None
    for one in latest:
        with contextlib.suppress(OSError):
            tail = read_tail(one.path)
            if tail.last_ms is None or not tail.version:
                continue
            newest_ms = max(newest_ms or 0, tail.last_ms)
            if newest_ms - tail.last_ms <= IN_USE_DAYS * 86_400_000:
                versions[tail.version] = None
    return sorted(versions)


def _by_gateway(
    mine: claude.Source,
    managed: list[claude.Source],
    environment: Mapping[str, str],
    own: bool,
    path: Path,
) -> tuple[Setting | None, str, Made | None]:
    """The way through a gateway that runs here, or why there is none, or that it is gone already.

    A base URL says where the user's key is sent, so only a gateway is offered that asks whom the client asks by itself.
    """
    from holdfast.cli.doctor_now import serving
    from holdfast.diagnosis.fix import Made, Setting
    from holdfast.gateway.settings import Upstream

    if not own:
        return None, "whether a gateway runs on that home's machine is not known", None
    sources = [mine, *managed]
    with _library() as library:
        served = serving(library)
    for name, cloud in claude.MODES.items():
        mode = claude.look_up(name, environment, sources)
        if mode is not None and mode.value.lower() not in ("0", "false", "no", "off"):
            return None, f"{name} ({mode.place}) sends the client to {cloud}, past any base URL", None
    found = claude.look_up(claude.BASE_URL, environment, sources)
    try:
        goes = Upstream.parse(found.value if found is not None else DEFAULT_UPSTREAM)
    except ValueError as error:
        return None, f"the base URL that is set cannot be read: {error}", None
    if found is not None and goes.origin in {one.url for one in served}:
        return (
            None,
            "",
            _made(found, goes.origin, next(o.upstream for o in served if o.url == goes.origin), path),
        )
    where = f"{goes.origin} ({found.place})" if found is not None else f"{goes.origin}, as it does by itself"
    if found is not None and any(found.value == one for one in _ours(path)):
        nothing = (
            f"the doctor set the client's base URL to {goes.origin}, and no `holdfast serve` of yours listens there now, so "
            "that the client reaches nothing: start it again, or take the setting back"
        )
        return None, "", Made(nothing, "holdfast doctor --undo")
    if not served:
        return None, "no `holdfast serve` runs on this machine whose address could be named", None
    if found is not None and found.kind == "managed":
        return (
            None,
            f"managed settings send the client to {where}, which no setting of yours can change",
            None,
        )
    fit = [one for one in served if not _unfit(one, goes)]
    usual = [one for one in fit if one.url == f"http://{DEFAULT_LISTEN}"] or fit
    if len(usual) != 1:
        if usual:
            return None, f"several gateways would do: {', '.join(one.url for one in usual)}", None
        why = "; ".join(f"the gateway at {one.url} {_unfit(one, goes)}" for one in served)
        return None, f"{why}. The client goes to {where}", None
    [gateway] = usual
    entries = {claude.BASE_URL: gateway.url}
    if any(claude.look_up(name, environment, sources) for name in claude.PROXY_NAMES):
        list_ = claude.look_up("NO_PROXY", environment, [mine]) or claude.look_up(
            "no_proxy", environment, [mine]
        )
        entries["NO_PROXY"] = claude.with_loopback(list_.value if list_ else "")
    says = (
        f"let the client go through the gateway that runs on this machine ({gateway.url}). It asks {gateway.upstream}, "
        "where the client goes now, and the key with it. It holds the client in silences, and keeps answers. While that "
        "gateway does not run, the client reaches nothing."
    )
    # Only a client at the vendor's own address has it on now; elsewhere it would be something new.
    features = claude.feature_variables(environment, sources)
    if gateway.upstream == DEFAULT_UPSTREAM and "ENABLE_TOOL_SEARCH" in features:
        entries["ENABLE_TOOL_SEARCH"] = features["ENABLE_TOOL_SEARCH"]
        says += (
            " ENABLE_TOOL_SEARCH keeps on what the client has at the vendor's own address, and leaves off behind any "
            "other base URL."
        )
    measured = "a base URL in the user's settings is taken by 2.1.86, 2.1.114 and 2.1.329, and beats the environment."
    return Setting(entries, says, measured, gateway.upstream), "", None


def _unfit(gateway: Serving, goes: Upstream) -> str:
    """Why this gateway is not for a client that goes there now; empty where it is."""
    if gateway.upstream != goes.origin:
        return f"asks another upstream, {gateway.upstream}: the key would go there"
    if gateway.upstream_path or goes.prefix:
        return f"asks {gateway.upstream}, and whether under the same path is not known"
    if gateway.token:
        return "wants an access token"
    if not gateway.url.startswith("http://"):
        return "speaks TLS, and whether the client trusts its certificate is not known"
    return ""


def _ours(path: Path) -> list[str]:
    """The base URLs that the doctor has put into this file and not taken back."""
    return [
        url
        for one in settings_file.made(state_path(), path)
        for url in re.findall(rf'"{claude.BASE_URL}"\s*:\s*"([^"]*)"', one.added)
    ]


def _made(found: claude.Found, url: str, upstream: str, path: Path) -> Made:
    """That the gateway is in the way, since when, and how to see what came of it."""
    from holdfast.diagnosis.fix import Made

    says = (
        f"the client goes through the gateway at {url} already, which asks {upstream} ({clean(found.place)})"
    )
    ours = [one for one in settings_file.made(state_path(), path) if claude.BASE_URL in one.added]
    if not ours:
        return Made(f"{says}. What failed before stays in the record; what it carried:", "holdfast flights")
    at_ms = ours[0].at_ms
    return Made(
        f"{says}, by the doctor, since {local_time(at_ms, '%Y-%m-%d %H:%M')}. What failed before stays in the record; "
        "what failed since:",
        f"holdfast diagnose --since {local_time(at_ms, '%Y-%m-%dT%H:%M')}",
    )


# ----- now


@contextlib.contextmanager
def _library() -> Iterator[Library | None]:
    """The journal, or None where there is none, or none that can be read: the rest can still be looked at."""
    from holdfast.flight.reading import open_library
    from holdfast.flight.schema import JournalError

    with contextlib.ExitStack() as stack:
        try:
            library = stack.enter_context(open_library(state_path()))
        except (JournalError, StateError, sqlite3.Error, OSError):
            library = None
        yield library


def _now(home: Path, pid: int | None, watch: float | None, as_json: bool) -> None:
    if not Path("/proc/self/fd").is_dir():
        raise Failed(
            "a freeze can be looked at on Linux only so far; here, behind holdfast run, see: holdfast flights"
        )
    client = _the_client(pid, as_json)
    before: Verdict | None = None
    while True:
        told = _look(client, home)
        if told is None:
            if as_json:
                click.echo(json_line({"schema": SCHEMA, "pid": client.pid, "verdict": "ended"}))
            else:
                click.echo(f"Process {client.pid} has ended.")
            return
        looked, verdict = told
        if as_json:
            click.echo(json_line(_as_json(looked, verdict)))
        elif watch is None:
            _say({}, False, _told(looked, verdict))
        else:
            _say({}, False, _seen_again(looked, verdict, before))
        if watch is None:
            return
        before = verdict
        time.sleep(watch)


WATCHING = "holdfast doctor --now --watch"


def _seen_again(looked: Looked, verdict: Verdict, before: Verdict | None) -> list[str]:
    """One look of several: in full where the verdict is new, else what moves, in one line."""
    at = local_time(looked.scene.now_ms, "%H:%M:%S")
    if before is not None and (before.verdict, before.grade) == (verdict.verdict, verdict.grade):
        left = f"hangs up in {duration(verdict.left_s)}" if verdict.left_s is not None else ""
        return [f"{at}  the same: {'; '.join(one for one in (left, *verdict.pro) if one)}"]
    if verdict.settle.startswith(WATCHING):
        _, colon, what = verdict.settle.partition(": ")
        verdict = replace(verdict, settle=f"watch on: {what}" if colon else "watch on")
    return [*([""] if before is not None else []), at, *_told(looked, verdict)]


def _the_client(pid: int | None, as_json: bool) -> Client:
    from holdfast.cli.doctor_now import living_clients

    found = living_clients()
    if pid is not None:
        chosen = [one for one in found if one.pid == pid]
        if not chosen:
            others = ", ".join(str(one.pid) for one in found) or "none"
            raise Failed(
                f"process {pid} is no Claude Code of yours (those that run: {others}); see: holdfast doctor --now"
            )
        return chosen[0]
    if not found:
        raise Failed(
            "no Claude Code of yours runs on this machine now. What went wrong earlier: holdfast diagnose, holdfast flights"
        )
    if len(found) > 1 and as_json:
        told = [{"pid": one.pid, "started_ms": one.started_ms, "cwd": str(one.cwd)} for one in found]
        click.echo(json_line({"schema": SCHEMA, "clients": told}))
        raise click.exceptions.Exit(FAILED)
    if len(found) > 1:
        lines = [f"  {_client_line(one)}" for one in found]
        raise Failed(
            "\n".join(
                [f"{len(found)} clients run; choose one: holdfast doctor --now --pid {found[0].pid}", *lines]
            )
        )
    return found[0]


def _client_line(client: Client) -> str:
    since = local_time(client.started_ms) if client.started_ms is not None else "?"
    return clean(f"{client.pid}  since {since}  {client.program}  in {client.cwd}")


def _look(client: Client, home: Path) -> tuple[Looked, Verdict] | None:
    from holdfast.cli.doctor_now import living_clients, look
    from holdfast.diagnosis.now import judge

    # Its start is reckoned from the machine's, which moves when the clock is set.
    still = [one for one in living_clients() if one.pid == client.pid]
    if not still or abs((still[0].started_ms or 0) - (client.started_ms or 0)) > SAME_START_MS:
        return None
    with _library() as library:
        try:
            looked = look(client, library, home=home, now_ms=now().wall_ms, platform=sys.platform)
        except sqlite3.Error:
            looked = look(client, None, home=home, now_ms=now().wall_ms, platform=sys.platform)
    return looked, judge(looked.scene)


def _told(looked: Looked, verdict: Verdict) -> list[str]:
    from holdfast.diagnosis.now import VERDICTS

    grade = f" ({verdict.grade})" if verdict.grade else ""
    page = [f"{VERDICTS[verdict.verdict]}{grade}: {verdict.says}", f"  do       {verdict.do}"]
    page += [f"  for      {one}" for one in verdict.pro]
    page += [f"  against  {one}" for one in verdict.con if verdict.grade]
    page += [f"  lacking  {one}" for one in verdict.con if not verdict.grade]
    if verdict.settle:
        page.append(f"  settle   {verdict.settle}")
    page.append(f"  client   {_client_line(looked.client)}")
    page += [f"  note     {one}" for one in looked.notes]
    return [
        wrapped
        for line in page
        for wrapped in textwrap.wrap(
            clean(line, limit=2000), _width(), subsequent_indent=" " * 11, break_on_hyphens=False
        )
    ]


def _as_json(looked: Looked, verdict: Verdict) -> dict[str, Any]:
    socket = looked.scene.socket
    return {
        "schema": SCHEMA,
        "at_ms": looked.scene.now_ms,
        "pid": looked.client.pid,
        "session": looked.session or None,
        "verdict": verdict.verdict,
        "grade": verdict.grade or None,
        "says": verdict.says,
        "do": verdict.do,
        "for": list(verdict.pro),
        "against": list(verdict.con),
        "settle": verdict.settle,
        "gone_s": verdict.gone_s,
        "limit_s": verdict.limit_s,
        "limit": verdict.limit or None,
        "hangs_up_in_s": verdict.left_s,
        "connection": None
        if socket is None
        else {
            "state": socket.state,
            "peer": socket.there,
            "sent_ago_s": socket.sent_ago_s,
            "received_ago_s": socket.received_ago_s,
            "acked_ago_s": socket.acked_ago_s,
            "unacked_bytes": socket.unacked_bytes,
            "retransmits": socket.retransmits,
            "probes": socket.probes,
            "timer": socket.timer or None,
        },
        "turn": looked.scene.turn.turn_id if looked.scene.turn else None,
        "waits_for": looked.scene.tail.at if looked.scene.tail else None,
        "notes": list(looked.notes),
    }
