"""A diagnosis as a bug report for the client's public tracker, in that tracker's own fields; and a private sheet beside it.

The public file names nobody: versions, codes and settings stay where they have a public form, or are of a closed list
below; projects, sessions and paths get pseudonyms; every other text goes through `flight.deidentify`. Request ids and edge
ids stay, since they are what a vendor can look up. The private sheet leads back, for the vendor's support alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from holdfast import __version__
from holdfast.diagnosis import prior
from holdfast.diagnosis.around import EGRESS, Around
from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Finding
from holdfast.diagnosis.fix import broken, silent
from holdfast.diagnosis.hypotheses import catalogue, name_resolution, refused
from holdfast.diagnosis.hypotheses._age import in_question, limit_met
from holdfast.diagnosis.tables import DAY_MS, KNOWN_CODES, TOOL_KINDS
from holdfast.diagnosis.titles import TITLES, the_table
from holdfast.diagnosis.trips import SOURCE as FLIGHTS
from holdfast.diagnosis.witnessed import witnesses
from holdfast.flight import deidentify
from holdfast.flight.deidentify import Names, Policy
from holdfast.flight.endings import Ending
from holdfast.flight.flights import code_sentence, counted, ending_sentence, percent
from holdfast.report import diagnosed, stalled
from holdfast.report.issue import LONGEST
from holdfast.report.lookalikes import HOW_ALIKE, TITLE, largest_prompt
from holdfast.report.markdown import block, code, table, words

MESSAGES = 8
_NUMBERED = re.compile(r"\b([a-z][a-z0-9]*(?:-[a-z]+)*)-\d+\b")
"Texts that differ by whose they are alone are one."
EXAMPLES = 5
"Failures shown in full."
MOST_IDS = 40
"Request ids in the public file; the private sheet has all."
KIND = "[BUG]"
"As the tracker's form of it begins a title: to be copied as it stands, so that nothing of it is escaped."
MOST_ROWS = 150
"Of one table."
NEAR = 0.05
"Of an age: what is no further from the median is told with it."
WORKED = 100
"Answered requests without a failure that a version must have to be called working."

_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){1,2}(?:-(?:alpha|beta|dev|next|rc)\.?\d{0,4})?")
"Of three parts at most: four are an address."
_KERNEL = re.compile(
    r"(Linux|Darwin) (\d{1,3}(?:\.\d{1,4}){1,3})\S* (?:.* )?(x86_64|arm64|aarch64|armv7l|i686)"
)
_SYSTEM = re.compile(
    r"(?:macOS|Ubuntu|Debian GNU/Linux|Fedora Linux|Arch Linux|Linux Mint|openSUSE \w+|Alpine Linux|NixOS|Pop!_OS|"
    r"Red Hat Enterprise Linux|Rocky Linux|AlmaLinux|CentOS Stream|Raspbian GNU/Linux|Manjaro Linux|Amazon Linux|Gentoo)"
    r"(?: v?\d{1,4}(?:\.\d{1,4}){0,2})?(?: LTS)?"
)
_SHELL_NAMES = "bash zsh fish sh dash ksh tcsh nu pwsh elvish xonsh"
_SHELLS = frozenset(_SHELL_NAMES.split())
_TERMINAL_WORDS = (
    "Apple_Terminal iTerm.app vscode tmux screen ghostty WezTerm kitty alacritty Hyper WarpTerminal xterm "
    "xterm-256color xterm-kitty xterm-ghostty screen-256color tmux-256color linux rxvt-unicode dumb TERM over SSH"
)
_TERMINALS = frozenset(_TERMINAL_WORDS.split())
_OURS = re.compile(
    r"(?:global|local only)(?:, with(?:out)? a default route)?|not in use|none seen|"
    r"Wi-Fi|wired|tunnel|virtual|none|no tunnel interface is up|none is connected|\d{1,3}|"
    r"\d{1,3} (?:tunnel interfaces? up|connected)|native installer|local, in ~/\.claude/local|Homebrew|pnpm|bun|"
    r"npm, global|Nix|of another kind|(?:(?:HTTP|HTTPS|ALL|NO)_PROXY(?:, )?)+|"
    r"\d{1,6} managed, \d{1,6} user, \d{1,6} project|default|acceptEdits|plan|bypassPermissions|dontAsk|auto"
)
"Values of `sessions.environment` that are words of a closed list there."
_KEYS = (
    "permissions hooks env model enabledPlugins mcpServers statusLine cleanupPeriodDays includeCoAuthoredBy "
    "apiKeyHelper outputStyle forceLoginMethod enableAllProjectMcpServers enabledMcpjsonServers disabledMcpjsonServers "
    "deniedMcpServers allowedMcpServers extraKnownMarketplaces voiceEnabled skipDangerousModePermissionPrompt "
    "alwaysThinkingEnabled effortLevel sandbox spinnerTipsEnabled autoUpdatesChannel awsAuthRefresh otelHeadersHelper "
    "disableAllHooks companyAnnouncements fileSuggestion language theme "
    "ANTHROPIC_BASE_URL ANTHROPIC_MODEL API_TIMEOUT_MS BASH_DEFAULT_TIMEOUT_MS BASH_MAX_TIMEOUT_MS HTTP_PROXY HTTPS_PROXY "
    "NO_PROXY MAX_THINKING_TOKENS CLAUDE_CODE_MAX_OUTPUT_TOKENS CLAUDE_CODE_USE_BEDROCK CLAUDE_CODE_USE_VERTEX "
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC CLAUDE_CODE_ENABLE_TELEMETRY DISABLE_AUTOUPDATER DISABLE_TELEMETRY "
    "NODE_EXTRA_CA_CERTS"
)
KNOWN_KEYS = frozenset(_KEYS.split())
"Names of the client's public settings; others are counted."
_COMMAND_WORDS = (
    "idle resolve upload mtu link ping path edge egress status connect handshake claude issue ID issue.md --from --to "
    "--rounds --most --format --out --since --check --no-http2 --http2 --ip --now --last --"
)
"What may follow one of our commands in a line to type, besides numbers."
_COMMANDS = (
    r"holdfast (?:atlas|captures?|diagnose|doctor|flights?|lab|mark|probe|run|serve)\b"
    rf"(?: (?:{'|'.join(re.escape(one) for one in sorted(_COMMAND_WORDS.split(), key=len, reverse=True))}|"
    r"\d{1,4}(?:\.\d{1,3})?(?:MB|KB|[smhd])?)(?![\w.@/-]))*"
)
_PLACE = re.compile(r"[A-Z]{3}")
"An edge's place, by its airport."


@dataclass(frozen=True, slots=True)
class Named:
    """One try that a vendor can look up. Both ids are of its own answer: another try's would lead to another request."""

    at_ms: int
    "When it failed."
    how: str
    request_id: str
    edge_id: str
    "Either may be empty, and not both."
    noted_by: str
    "`client`, `flight`, `added file`."


def named(failure: Failure, case: Case) -> list[Named]:
    """The tries of a failure that bear an id, as the client noted them and whoever else saw them; in order, each once."""
    tries = [
        Named(one.at_ms, one.code, one.request_id or "", one.edge_id or "", "client") for one in failure.tries
    ]
    if failure.request_id:
        at_ms = failure.at_ms if failure.ended_ms is None else failure.ended_ms
        tries.append(Named(at_ms, "gave up", failure.request_id, "", "client"))
    tries += [
        Named(
            one.at_ms,
            _broke(one),
            one.request_id or "",
            one.edge_id or "",
            "flight" if one.source == FLIGHTS else "added file",
        )
        for one in case.trips_of.get(failure.id, ())
    ]
    known: dict[str, Named] = {}
    for one in tries:
        if key := one.request_id or one.edge_id:
            first = known.setdefault(key, one)
            if not first.edge_id:  # of the same answer, by its request id
                known[key] = replace(first, edge_id=one.edge_id)
    return sorted(known.values(), key=lambda one: one.at_ms)


def _broke(trip: Trip) -> str:
    if trip.side is None or trip.mechanism is None:
        return "broke"
    if trip.phase is None:
        return f"{trip.side.name.lower()}, {trip.mechanism.value}"
    return ending_sentence(Ending(trip.side, trip.mechanism, trip.phase))


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the report; the higher its `rank`, the sooner it is left out."""

    lines: list[str]
    rank: int = 0
    name: str = ""


_NOT_SENT = name_resolution.CODES | refused.CODES
"Codes of tries that reached nobody: there is nothing that a server could have said of them."


class _Public:
    """Says things so that they name nobody."""

    def __init__(self, names: Names, places: Iterable[str] = ()) -> None:
        self.names = names
        self._told: dict[str, str] = {}
        known = "|".join([*KNOWN_CODES, *sorted(one for one in places if _PLACE.fullmatch(one))])
        titles = "|".join(re.escape(the_table(name)) for name in TITLES)
        self._stays = re.compile(
            rf"({_COMMANDS}|say --timezone|Etc/UTC|{titles}|(?<![\w.@/-])(?:{known})(?![\w.@/-]))"
        )
        "`places` are those of the edges that were met: their ids bear them."

    def text(self, said: str) -> str:
        """Free text; our own commands, what tables are called, and the codes that everybody has stay."""
        if said in _constants():
            return said
        if said not in self._told:
            self._told[said] = "".join(
                part if self._stays.fullmatch(part) else deidentify.text(part, self.names)
                for part in self._stays.split(said)
                if part
            )
        return self._told[said]

    def joined(self, said: str) -> str:
        """Sentences of ours that were joined by semicolons."""
        if said in _constants():
            return said
        return "; ".join(self.text(part) for part in said.split("; "))

    def code(self, said: str) -> str:
        return said if said in KNOWN_CODES else self.text(said)

    def version(self, said: str) -> str:
        return said if _VERSION.fullmatch(said) else self.names.name("name", said)

    def model(self, said: str | None) -> str:
        told = (
            deidentify.value(Policy.MODEL, said, self.names) if said and said != "not known" else "not known"
        )
        return str(told)

    def tool(self, said: str) -> str:
        return said if said == "not known" else str(deidentify.value(Policy.TOOL, said, self.names))

    def session(self, said: str) -> str:
        return self.names.name("session", said)

    def project(self, said: str) -> str:
        return "not known" if said in ("", "not known") else self.names.name("path", said)

    def request(self, said: str) -> str:
        return str(deidentify.value(Policy.REQUEST_ID, said, self.names))

    def edge(self, said: str) -> str:
        return str(deidentify.value(Policy.EDGE_ID, said, self.names))

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A table's rows: numbers stay, names get pseudonyms by their column."""
        by_column: Mapping[str, Callable[[str], str]] = {
            "version": self.version,
            "model": self.model,
            "project": self.project,
            "session": self.session,
            "code": self.code,
            "request_id": self.request,
            "tool": self.tool,
            "kind": lambda said: said if said in TOOL_KINDS else self.text(said),
            "failed_tries": lambda said: said,  # words of a closed list
            "agent kind": lambda said: said if said in ("main", "subagent") else self.text(said),
        }
        return [
            {
                column: by_column.get(column, self.text)(value) if isinstance(value, str) else value
                for column, value in row.items()
            }
            for row in rows
        ]

    def fact(self, name: str, value: str) -> str:
        """A fact of the environment, as far as it is of a public form."""
        if name == "kernel":
            found = _KERNEL.fullmatch(value)
            return " ".join(found.groups()) if found else "another"
        if name == "operating system":
            found = _SYSTEM.match(value)
            return found[0] if found else "another"
        if name in ("node", "client", "versions kept"):
            return ", ".join(one for one in value.split(", ") if _VERSION.fullmatch(one)) or "another"
        if name == EGRESS:  # a company's own network bears its name
            return "asked; in the private sheet"
        if name == "shell":
            return value if value in _SHELLS else "another"
        if name == "terminal":
            kept = [one for one in value.split() if one in _TERMINALS or _VERSION.fullmatch(one)]
            return " ".join(kept) or "another"
        if name.startswith(("settings, ", "variables set by settings, ")):
            keys = value.split(", ")
            known = [key for key in keys if key in KNOWN_KEYS]
            rest = len(keys) - len(known)
            return ", ".join([*known, *([f"and {counted(rest, 'other')}"] if rest else [])])
        return value if _OURS.fullmatch(value) else self.text(value)


@cache
def _constants() -> frozenset[str]:
    """Sentences of ours that hold no value of anybody's."""
    told = {said for one in prior.PRIORS for said in (one.suspects, one.settle)}
    for one in catalogue():
        told |= {one.title, f"{one.title} ({one.name})", one.remedy, one.falsifier, one.name}
        told |= {*one.rivals, *one.rivals.values()}
    return frozenset(told)


# ----- the public file


def issue(diagnosis: Diagnosis, around: Around, hosts: Collection[str], names: Names) -> str:
    """The whole report. Under the tracker's limit: what matters least is left out first, and named.

    `hosts` are those that failed tries went to.
    """
    case = diagnosis.case
    edges = [one.edge_id for failure in case.failures for one in named(failure, case)]
    places = {trip.location for trip in case.trips if trip.location}
    public = _Public(names, places | {one.rpartition("-")[2] for one in edges})
    for project in sorted({failure.project for failure in diagnosis.case.failures}):
        public.project(project)
    sections = list(_sections(diagnosis, around, hosts, public))
    left: list[str] = []
    while True:
        page = _joined(sections, left)
        if len(page) < LONGEST:
            return page
        worst = max(sections, key=lambda one: one.rank)
        if not worst.rank:
            cut = "\n\n(cut here: an issue may not be longer)\n"
            return page[: LONGEST - len(cut) - 1] + cut
        sections.remove(worst)
        left.append(worst.name)


def _joined(sections: Sequence[_Section], left: Sequence[str]) -> str:
    lines = [line for one in sections for line in one.lines]
    if left:
        lines += [
            "",
            f"Left out, because an issue may not be longer than {LONGEST:,} characters: {', '.join(left)}.",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _sections(
    diagnosis: Diagnosis, around: Around, hosts: Collection[str], public: _Public
) -> Iterator[_Section]:
    yield from _of_failures(diagnosis, public) if diagnosis.failures else _of_stalls(diagnosis, public)
    yield _Section(_platform(around, hosts, public))
    yield _Section([*_field("Additional information"), *_about(diagnosis)])
    for place, finding in enumerate(diagnosis.findings, 1):
        yield _Section(_hypothesis(place, finding, diagnosis, public), 1 + place // 6, f"cause {place}")
    yield _Section(_asks(diagnosis, public))
    yield _Section(_helped(diagnosis, public), 3, "what would have helped here")
    yield _Section(_prior(diagnosis, around, public), 5, "the verdicts on earlier hypotheses")
    yield _Section(_probes(diagnosis, public), 4, "what probes answered")
    yield _Section(_lookalikes(diagnosis), 3, "reports that look alike")
    if around.since is not None and (around.since.failures or around.since.requests):
        lines = [f"- {words(public.text(one))}" for one in around.since_lines()]
        yield _Section(["#### Since the last report", "", *lines, ""], 4, "what came since the last report")
    if around.environment is not None:
        yield _Section(_environment(around, public), 4, "the environment")
    for place, (name, rows) in enumerate(diagnosed.worth_showing(diagnosis)):
        told = rows[-MOST_ROWS:] if name in diagnosed.IN_TIME else rows[:MOST_ROWS]
        said = public.rows(told)
        shown = diagnosed.shown(name, said)
        if shown:
            cells = [[words(cell) for cell in row] for row in shown]
            head = diagnosed.head(name, diagnosis)
            page = [f"<details><summary>{words(head)}</summary>", "", *table(cells[0], cells[1:])]
            if len(rows) > MOST_ROWS:
                page += ["", f"{len(rows) - MOST_ROWS} more rows can be had from the reporter."]
            if known := diagnosed.legend(name, said):
                page += ["", *(f"- {words(word)}: {words(meaning)}" for word, meaning in known)]
            # the longest go first
            yield _Section([*page, "", "</details>", ""], 10 + place + len(cells), f"the table “{head}”")
    yield _Section(_limits(diagnosis, public))


def _of_failures(diagnosis: Diagnosis, public: _Public) -> Iterator[_Section]:
    yield _Section(
        [
            f"# {KIND} {words(_title(diagnosis, public))}",
            "",
            *_field("What's wrong?"),
            *_wrong(diagnosis, public),
        ]
    )
    yield _Section([*_field("What should happen?"), *_should(diagnosis)])
    yield _Section([*_field("Error messages/logs"), *_messages(diagnosis, public)])
    yield _Section(_examples(diagnosis, public), 2, "examples of failures")
    yield _Section(_ids(diagnosis, public), 1, "the table of request ids")
    yield _Section([*_field("Steps to reproduce"), *_steps(diagnosis, public)])
    yield _Section([*_field("Claude model"), *_most(diagnosis, "by model", "model", public)])
    yield _Section([*_field("Is this a regression?"), *_regression(diagnosis, public)])
    yield _Section([*_field("Claude Code version"), *_most(diagnosis, "by version", "version", public)])


def _of_stalls(diagnosis: Diagnosis, public: _Public) -> Iterator[_Section]:
    """Where no error is on record, of what stalled without one."""
    rows = public.rows([*silent(diagnosis.tables), *broken(diagnosis.tables)])
    versions = public.rows(diagnosis.tables["by version"])
    wrong = [words(diagnosed.verdict(diagnosis)), "", f"{_seen(diagnosis)} {stalled.spread(rows)}", ""]
    none = ["None is on record: the client has no error for a stall.", ""]
    yield _Section([f"# {KIND} {words(stalled.title(rows))}", "", *_field("What's wrong?"), *wrong])
    yield _Section([*_field("What should happen?"), *(f"- {line}" for line in stalled.SHOULD), ""])
    yield _Section([*_field("Error messages/logs"), *(stalled.messages(rows) or none), ""])
    longest = [
        "The longest, by the time at which each was over (UTC):",
        "",
        *stalled.examples(rows, _utc),
        "",
    ]
    yield _Section(longest, 1, "the longest stalls")
    yield _Section([*_field("Steps to reproduce"), *stalled.steps(rows, diagnosis.requests), ""])
    yield _Section(
        [*_field("Claude model"), "Not known.", "", *_field("Is this a regression?"), "Not known.", ""]
    )
    yield _Section([*_field("Claude Code version"), *stalled.by_version(rows, versions), ""])


def _field(name: str) -> list[str]:
    return [f"### {name}", ""]


def _title(diagnosis: Diagnosis, public: _Public) -> str:
    """A cause leads it that explains at least half; else what fails does, for the cause is not all that there is."""
    died = "no turn died" if not diagnosis.died else counted(diagnosis.died, "turn") + " died"
    rate = diagnosis.rate
    share = counted(diagnosis.failures, "failed request")
    if rate is not None:
        share = f"{percent(rate)} of requests fail"
    if diagnosis.findings:
        first, limit = diagnosis.findings[0], _limit(diagnosis)
        at = f" ({limit:.0f} s)" if limit is not None and first.hypothesis in _OF_AGE else ""
        alike = diagnosed.ALIKE if first.rivals else ""
        title = f"{public.text(first.title)}{at}{alike}"
        if 2 * len(first.explains) >= diagnosis.failures:
            return f"{title}: {share}, {died}"
        return f"{share}, {died}; {len(first.explains):,} of {diagnosis.failures:,}: {title}"
    return f"{share}, {died}, cause unknown"


def _seen(diagnosis: Diagnosis) -> str:
    """From when to when there are records, as a sentence."""
    case = diagnosis.case
    times = [*(one.at_ms for one in case.failures), *(one.at_ms for one in case.answers)]
    times += [row["at_ms"] for row in (*silent(diagnosis.tables), *broken(diagnosis.tables))]
    days = sorted({at_ms // DAY_MS for at_ms in times})
    first, last = (
        datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d") for day in (days[0], days[-1])
    )
    return (
        f"Seen from {first} to {last} (days of UTC, as all times here that do not say local), in use on {len(days)} of "
        "them."
    )


def _wrong(diagnosis: Diagnosis, public: _Public) -> list[str]:
    page = [words(diagnosed.verdict(diagnosis)), "", f"{_seen(diagnosis)} {_spread(diagnosis)}", ""]
    for place, finding in enumerate(diagnosis.findings, 1):
        within = diagnosis.intervals.get(finding.hypothesis)
        line = diagnosed.finding_line(finding, diagnosis.failures, within).removeprefix(
            diagnosed.titled(finding)
        )
        alike = diagnosed.ALIKE if finding.rivals else ""
        page.append(f"{place}. **{finding.grade}**: {words(public.text(finding.title) + alike + line)}")
    left = len(diagnosis.examination.unexplained)
    if left:
        told = f"{counted(left, 'failure')}{diagnosed.refused(diagnosis)}."
        page.append(f"{len(diagnosis.findings) + 1}. Unexplained: {words(told)}")
    return [*page, ""]


def _spread(diagnosis: Diagnosis) -> str:
    """How wide it is, and what it cost."""
    case = diagnosis.case
    failed = {one.session for one in case.failures}
    every = failed | {one.session for one in case.answers}
    spread = [(len(failed), len(every), "session")]
    for name, what in (("by project", "project"), ("by version", "version")):
        rows = [row for row in diagnosis.tables[name] if row[what] not in ("", "not known")]
        spread.append((sum(row["failures"] > 0 for row in rows), len(rows), what))
    # Where only failures are on record, all of them have some.
    wide = [
        f"{having:,} of {counted(whole, what)}" if case.answers else counted(having, what)
        for having, whole, what in spread
        if whole
    ]
    told = f"Failures came in {', '.join(wide)}."
    if nowhere := sum(not one.project for one in case.failures):
        told += f" Of {counted(nowhere, 'failure')} the project is not known."
    lost = diagnosis.tables["lost"][0] if diagnosis.tables["lost"] else {}
    least, most = lost.get("turns_least") or 0, lost.get("turns_most") or 0
    if most:
        turns = f"{least:,} to {counted(most, 'turn')}" if least < most else counted(most, "turn")
        told += f" They cost {turns}, {(lost.get('minutes') or 0) / 60:.1f} hours of waiting"
        told += f", {lost['tokens']:,} prompt tokens sent in vain." if lost.get("tokens") else "."
    return told


_SHOULD: Mapping[str, str] = {
    "fixed-limit": "A long answer comes to its end, or ends in an HTTP or stream error that says which limit was met.",
    "silence-limit": "A silent stream is kept alive by bytes in both directions, or ends in an error that says so.",
    "nat-timeout": "The client keeps silent connections alive (TCP keepalive), so that no box on the way forgets them.",
    "client-limit": "The client says that it was its own limit, names the setting, and does not call it a server's error.",
    "idle-socket": "A connection that was idle for long is not used again without a proof of life.",
    "large-request": "A large prompt is answered, or refused with an error before it is uploaded again and again.",
    "provider-overload": "The client waits as long as the overload lasts, by retry-after, before it gives up a turn.",
    "local-link": "The client notices that there is no network and waits for it, instead of burning its tries.",
    "isp-outage": "The client notices that there is no network and waits for it, instead of burning its tries.",
    "machine-sleep": "A request that slept with the machine is asked again at once after waking.",
}
"What a person may expect where this was the cause."


def _should(diagnosis: Diagnosis) -> list[str]:
    told = dict.fromkeys(_SHOULD[one.hypothesis] for one in diagnosis.findings if one.hypothesis in _SHOULD)
    page = [f"- {line}" for line in told]
    page.append("- A request that fails is logged with its request id, its age and how the connection ended.")
    return [*page, ""]


def _messages(diagnosis: Diagnosis, public: _Public) -> list[str]:
    said: dict[str, list[str]] = {}
    for failure in diagnosis.case.failures:
        if failure.text:
            told = public.text(failure.text)
            said.setdefault(_NUMBERED.sub(r"\1-n", told), []).append(told)
    lines = [
        f"{len(same)} x  {same[0][:300]}"
        for same in sorted(said.values(), key=lambda same: -len(same))[:MESSAGES]
    ]
    codes = [row for row in diagnosis.tables["by code"] if row["errors"]]
    lines += [
        f"{row['errors']:,} x  {public.code(row['code'])}, in {counted(row['failures'], 'request')}"
        for row in codes
    ]
    return [*block(lines), ""] if lines else ["None is on record.", ""]


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _examples(diagnosis: Diagnosis, public: _Public) -> list[str]:
    """The freshest failures of the leading causes, try by try."""
    by_id = {one.id: one for one in diagnosis.case.failures}
    chosen: list[Failure] = []
    for finding in diagnosis.findings[:EXAMPLES]:
        mine = sorted((by_id[key] for key in finding.explains), key=lambda one: -one.at_ms)
        chosen += mine[: max(1, EXAMPLES // max(len(diagnosis.findings), 1))]
    lines = []
    for failure in chosen or sorted(by_id.values(), key=lambda one: -one.at_ms)[:EXAMPLES]:
        where = f"{public.session(failure.session)}, version {public.version(failure.version)}"
        where += f", {public.model(failure.model)}"
        size = f", prompt of {failure.context_tokens:,} tokens" if failure.context_tokens is not None else ""
        lines.append(f"{_utc(failure.at_ms)}  {where}{size}: {failure.outcome}")
        for number, one in enumerate(failure.tries, 1):
            age = f"{one.age_s:.1f} s old" if one.age_s is not None else "age not known"
            lines.append(f"  try {number}  {_utc(one.at_ms)}  {public.code(one.code)}  {age}")
            if one.request_id or one.edge_id:
                lines.append(f"    {_both(one.request_id or '', one.edge_id or '', public)}")
    return [*block(lines), ""] if lines else []


def _both(request_id: str, edge_id: str, public: _Public) -> str:
    asked = f"request id {public.request(request_id)}" if request_id else ""
    edge = f"edge id {public.edge(edge_id)}" if edge_id else ""
    return ", ".join(filter(None, (asked, edge)))


def _how(one: Named, public: _Public) -> str:
    """A client's code is from its log; how others saw it end is said in words of ours."""
    return public.code(one.how) if one.noted_by == "client" else one.how


def _every_id(case: Case) -> list[tuple[Failure, Named]]:
    """Every try that bears an id, with its failure; the newest first."""
    found = [(failure, one) for failure in case.failures for one in named(failure, case)]
    return sorted(found, key=lambda pair: -pair[1].at_ms)


def _ids(diagnosis: Diagnosis, public: _Public) -> list[str]:
    found = _every_id(diagnosis.case)
    page = []
    if found:
        rows = [
            (
                _utc(one.at_ms), words(_how(one, public)), code(public.request(one.request_id) if one.request_id else ""),
                code(public.edge(one.edge_id) if one.edge_id else ""), one.noted_by,
            )
            for _, one in found[:MOST_IDS]
        ]  # fmt: skip
        head = ("time (UTC)", "how it failed", "request id", "edge id", "noted by")
        page += ["For the provider, try by try, the newest first:", "", *table(head, rows), ""]
        if len(found) > MOST_IDS:
            page += [f"{len(found) - MOST_IDS} more can be had from the reporter.", ""]
    elif any(failure.statuses for failure in diagnosis.case.failures):
        page += ["No failed try has a request id on record, not even those that an HTTP error answered.", ""]
    else:
        page += ["No failed try has a request id on record, and none was answered by an HTTP error.", ""]
    if resets := diagnosis.tables.get("reset requests"):
        known = sum(bool(row["request_id"]) for row in resets)
        page += [
            f"Flights saw {counted(len(resets), 'reset')}, noted by the client or not, {known} with a request id; "
            f"{the_table('reset requests')} has them as far as it fits here.",
            "",
        ]
    return page


def _steps(diagnosis: Diagnosis, public: _Public) -> list[str]:
    size, such, rate = "", "", diagnosis.rate
    if row := _usual_size(diagnosis):
        least, most = row["from_tokens"], row["to_tokens"]
        span = f"{least:,} tokens or more" if most is None else f"{least:,} to {most:,} tokens"
        size, such = f", with prompts of {span}", "such "
        rate = row["failures"] / (row["failures"] + row["answered"])
    steps = [f"Work with Claude Code in the usual way{size}."]
    limit = _limit(diagnosis)
    if limit is not None:
        steps.append(f"Ask for something that takes longer than {limit:.0f} s to answer, or to think about.")
    often = "How often is not known"
    if rate:
        often = (
            f"Of {1 / rate:,.0f} {such}requests about one fails"
            if rate < 2 / 3
            else f"Most {such}requests fail"
        )
    steps.append(f"{often}; it does not fail on demand.")
    return [*(f"{number}. {step}" for number, step in enumerate(steps, 1)), ""]


def _usual_size(diagnosis: Diagnosis) -> Mapping[str, Any] | None:
    """The row of prompts' sizes that the median failure is in; None where that has no rate."""
    sizes = sorted(one.context_tokens for one in diagnosis.case.failures if one.context_tokens is not None)
    middle = sizes[len(sizes) // 2] if sizes else -1
    for row in diagnosis.tables.get("by context", ()):
        if row["from_tokens"] is not None and row["from_tokens"] <= middle < (row["to_tokens"] or math.inf):
            return row if row["failures"] and row["per_1000"] is not None else None
    return None


_OF_AGE = frozenset({"fixed-limit", "silence-limit", "nat-timeout", "client-limit", "edge-timeout"})


def _limit(diagnosis: Diagnosis) -> float | None:
    """The age at which requests were cut, by the first finding that has one."""
    for finding in diagnosis.findings:
        if finding.hypothesis in _OF_AGE and (ages := _ages(finding, diagnosis)):
            return _middle(finding, ages, diagnosis)
    return None


def _middle(finding: Finding, ages: Sequence[float], diagnosis: Diagnosis) -> float:
    """The limit that was found, or the median of what the cause explains."""
    limit = limit_met(finding.hypothesis, ages, diagnosis.case)
    return ages[len(ages) // 2] if limit is None else limit


def _ages(finding: Finding, diagnosis: Diagnosis) -> list[float]:
    mine = set(finding.explains)
    return sorted(
        age for one in diagnosis.case.failures if one.id in mine and (age := in_question(one)) is not None
    )


def _most(diagnosis: Diagnosis, name: str, column: str, public: _Public) -> list[str]:
    rows = public.rows([row for row in diagnosis.tables[name] if row["failures"]])[:6]
    if not rows:
        return ["Not known.", ""]
    told = [
        (
            f"- {words(str(row[column]))}: {row['failures']:,} of {row['failures'] + row['answered']:,} requests failed"
            if row["per_1000"] is not None
            else f"- {words(str(row[column]))}: {counted(row['failures'], 'request')} failed, {row['answered']:,} answered"
        )
        + (f" (failed tries: {row['failed_tries']})" if row.get("failed_tries") else "")
        for row in rows
    ]
    if len({row.get("failed_tries") for row in rows}) > 1:
        told += [
            "",
            "What is on record of failed tries differs between them: these numbers are not compared.",
        ]
    return [*told, ""]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _regression(diagnosis: Diagnosis, public: _Public) -> list[str]:
    """What the records carry: which versions failed, and whether an older one demonstrably did not."""
    rows = [row for row in diagnosis.tables["by version"] if _VERSION.fullmatch(str(row["version"]))]
    failing = sorted((row for row in rows if row["failures"]), key=lambda row: _key(row["version"]))
    if not failing:
        return ["Not known.", "", *_field("Last working version"), "Not known.", ""]
    oldest = failing[0]["version"]
    older = [row for row in rows if _key(row["version"]) < _key(oldest) and row["answered"] >= WORKED]
    worked = [row for row in older if row.get("failed_tries") == failing[0].get("failed_tries")]
    if not worked or failing[0]["per_1000"] is None:
        why = (
            "of older versions other failed tries are on record, or none"
            if older
            else "the oldest version on record that was used enough fails already"
            if len(rows) > 1
            else "one version is on record"
        )
        return [f"I don't know: {why} ({oldest}).", "", *_field("Last working version"), "Not known.", ""]
    last = max(worked, key=lambda row: _key(row["version"]))
    expected = (
        last["answered"] * failing[0]["failures"] / max(failing[0]["failures"] + failing[0]["answered"], 1)
    )
    return [
        f"Perhaps: {oldest} is the oldest version on record with failures. Each version was used at another time, and "
        f"in {last['version']} {expected:.1f} failures were to be expected at the rate of {oldest}.",
        "", *_field("Last working version"), f"{last['version']} ({last['answered']:,} requests, none failed)", "",
    ]  # fmt: skip


def _platform(around: Around, hosts: Collection[str], public: _Public) -> list[str]:
    if set(hosts) == {"api.anthropic.com"}:
        platform = "Anthropic API"
    elif hosts:
        platform = words(f"Other: {', '.join(sorted(public.text(f'https://{host}/') for host in hosts))}")
    else:
        platform = "Not known: no failed try names the host."

    def told(name: str) -> str:
        known = around.environment.told(name) if around.environment else ""
        return words(public.fact(name, known)) if known else "Not known."

    terminal = [one for one in (told("terminal"), told("shell")) if one != "Not known."]
    return [
        *_field("Platform"), platform, "", *_field("Operating System"), told("operating system"), "",
        *_field("Terminal/Shell"), ", ".join(terminal) or "Not known.", "",
    ]  # fmt: skip


def _about(diagnosis: Diagnosis) -> list[str]:
    unit = (
        "failure: one request that failed, with all its tries"
        if diagnosis.failures
        else "stall: one time in which, as far as can be told, nothing came"
    )
    return [
        f"Counted by Holdfast {__version__} from the client's own transcripts and logs. The unit is the {unit}. Names, "
        "projects, paths and sessions are replaced by pseudonyms, the same all through; no prompt and no answer was read "
        "out. Ranges resample whole days (95 in 100).",
        "",
    ]


def _hypothesis(place: int, finding: Finding, diagnosis: Diagnosis, public: _Public) -> list[str]:
    alike = diagnosed.ALIKE if finding.rivals else ""
    page = [f"#### {place}. {words(public.text(finding.title) + alike)} ({finding.grade})", ""]
    if mechanism := _mechanisms().get(finding.hypothesis):
        page += [words(mechanism), ""]
    for word, told in diagnosed.reasons(finding):
        page.append(f"- {word}: {words(public.joined(told))}")
    return [*page, ""]


@cache
def _mechanisms() -> Mapping[str, str]:
    """What each cause is, by the first paragraph of its page: a sentence of ours that holds no value of anybody's."""
    return {
        one.name: " ".join((one.__doc__ or "").partition("\n\n")[0].split())
        for one in (*catalogue(), *witnesses())
    }


def _helped(diagnosis: Diagnosis, public: _Public) -> list[str]:
    """For whoever reads the report because of the same trouble."""
    if not diagnosis.advice:
        return []
    told = [
        f"{number}. {words(public.text(one.remedy))} {diagnosed.saves(one)}"
        for number, one in enumerate(diagnosis.advice, 1)
    ]
    return ["#### What would have helped here, and how many lost turns it would have saved", "", *told, ""]


def _prior(diagnosis: Diagnosis, around: Around, public: _Public) -> list[str]:
    held = prior.held(diagnosis, around.environment)
    if not held:
        return []
    page = [
        f"<details><summary>{words(diagnosed.PRIOR)}, held against this data</summary>",
        "",
        "Each stands in other reports; here it is tested on this data alone.",
        "",
    ]
    for one in held:
        page.append(f"- report's {one.key}: {words(one.suspects)}: **{one.verdict}**")
        page += [
            f"  - {word}: {words(public.joined(told))}"
            for word, told in prior.reasons(one)
            if word != "settle"
        ]
    return [*page, "", "</details>", ""]


def _probes(diagnosis: Diagnosis, public: _Public) -> list[str]:
    """What the network answered when it was asked, the latest of each question; where this machine is stays here."""
    latest = {
        (one.name, one.target): one
        for one in sorted(diagnosis.case.probes, key=lambda one: one.begun_wall_ms)
        if one.name != EGRESS
    }
    if not latest:
        return []
    rows = [
        (_utc(one.begun_wall_ms)[:16], one.name, one.grade.value, words(public.text(one.verdict)))
        for one in latest.values()
    ]
    return [
        "#### What the network answered when it was asked",
        "",
        *table(("time (UTC)", "probe", "grade", "answer"), rows),
        "",
    ]


# ----- the asks


def _asks(diagnosis: Diagnosis, public: _Public) -> list[str]:
    asked = list(
        dict.fromkeys(one for finding in diagnosis.findings for one in _asked(finding, diagnosis, public))
    )
    refused = {one.id for one in diagnosis.case.failures if one.refused}
    if left := [key for key in diagnosis.examination.unexplained if key not in refused]:
        ids = _own_ids(left, diagnosis.case, public) or _times(diagnosis, set(left))
        asked.append(
            f"How did {counted(len(left), 'unexplained request')} end on your side{ids}? No cause that shows in the "
            "client's logs explains that."
        )
    asked += _general(diagnosis) if diagnosis.failures else stalled.ASKS
    if not asked:
        return []
    return [
        "#### What would help",
        "",
        *(f"{number}. {words(told)}" for number, told in enumerate(asked, 1)),
        "",
    ]


def _general(diagnosis: Diagnosis) -> Iterator[str]:
    """What would let the next person tell more, whatever the cause."""
    broken = [
        one
        for one in diagnosis.case.failures
        if one.tries and not one.statuses and not one.codes <= _NOT_SENT
    ]
    ids = [[one for one in named(failure, diagnosis.case) if one.request_id] for failure in broken]
    bare = [mine for mine in ids if not any(one.noted_by == "client" for one in mine)]
    if bare:
        yield (
            f"Log the request id and the edge id of a try that breaks once headers had come: {len(bare)} of "
            f"{counted(len(broken), 'broken request')} here came without one in the client's logs{_looked_up(bare)}."
        )
        yield (
            "Log how a connection ended and not the system's code alone: an end in order, a reset, a stream reset or GOAWAY "
            "with its code, and who was first."
        )
    large = sum(one.context_tokens > prior.LARGE_TIER for one in diagnosis.case.answers)
    if large:
        yield (
            f"Log which context tier a request asks for: {large:,} answered prompts here were beyond {prior.LARGE_TIER:,} "
            "tokens, and of smaller ones the tier is not on record."
        )
    beyond = largest_prompt(diagnosis.case) > prior.LARGE_TIER
    if beyond and any(one.hypothesis == "large-request" for one in diagnosis.findings):
        yield "Does the large context tier go by other limits of time, size or connections than the standard one?"


def _looked_up(bare: Sequence[Sequence[Named]]) -> str:
    """Whether requests of which the client noted no id can be looked up all the same, by what others noted."""
    seen = sum(bool(mine) for mine in bare)
    if not seen:
        return ", so they cannot be looked up"
    rest = f", and the other {len(bare) - seen} cannot" if seen < len(bare) else ""
    return f"; {seen} can be looked up only because a gateway or a log on the way noted theirs{rest}"


def _asked(finding: Finding, diagnosis: Diagnosis, public: _Public) -> Iterator[str]:
    ages = _ages(finding, diagnosis)
    ids = _own_ids(finding.explains, diagnosis.case, public)
    number = len(finding.explains)
    mine = set(finding.explains)
    if finding.hypothesis in _OF_AGE and ages:
        middle = _middle(finding, ages, diagnosis)
        near = [age for age in ages if abs(age - middle) <= max(1.0, NEAR * middle)]
        yield (
            f"Is there a limit at the edge or the server near {middle:.1f} s? {len(near)} of these {number} requests "
            f"were {near[0]:.1f} to {near[-1]:.1f} s old. On silence, or on the whole time?"
        )
        yield (
            "Log in api_error whether headers and a first event had come, and who closed: the logs do not tell an own "
            "abort from a reset."
        )
    if finding.hypothesis in ("nat-timeout", "silence-limit"):
        yield (
            "Does the client set TCP keepalive on this connection, and how long after the last byte does its first "
            "probe go out?"
        )
    if finding.hypothesis == "idle-socket":
        silent = sorted(
            one.idle_s for one in diagnosis.case.failures if one.id in mine and one.idle_s is not None
        )
        told = f" ({silent[0]:.0f} to {silent[-1]:.0f} s idle here)" if silent else ""
        yield f"For how long does the client keep idle connections, and the edge{told}?"
    if finding.hypothesis in ("provider-overload", "provider-error", "edge-timeout", "rate-limit"):
        yield f"What happened to these {number} requests on your side{ids}?"
    if finding.hypothesis == "large-request":
        sizes = sorted(
            one.context_tokens
            for one in diagnosis.case.failures
            if one.id in mine and one.context_tokens is not None
        )
        if sizes:
            yield (
                f"Is there a limit on size or time that prompts of {sizes[0]:,} to {sizes[-1]:,} tokens meet? Offer to "
                "compact before the tries are used up."
            )
    if finding.hypothesis in ("shared-outage", "many-sessions", "subagents"):
        times = ", ".join(
            _utc(one.at_ms)[:19] for one in diagnosis.case.failures if one.id in finding.explains[:5]
        )
        yield f"Were there resets at one edge location at these times (UTC): {times}?"


def _own_ids(keys: Collection[str], case: Case, public: _Public) -> str:
    """The newest of them."""
    mine = set(keys)
    found = [one.request_id for failure, one in _every_id(case) if failure.id in mine and one.request_id][:6]
    return f" ({', '.join(map(public.request, found))})" if found else ""


def _times(diagnosis: Diagnosis, keys: Collection[str]) -> str:
    found = [_utc(one.at_ms)[:19] for one in diagnosis.case.failures if one.id in keys]
    return f" (the latest at {', '.join(found[-4:])} UTC; none has a request id)" if found else ""


# ----- the rest


def _lookalikes(diagnosis: Diagnosis) -> list[str]:
    rows = diagnosed.lookalike_rows(diagnosis)
    return [f"#### {TITLE}", "", HOW_ALIKE, "", *rows, ""] if rows else []


def _environment(around: Around, public: _Public) -> list[str]:
    rows = [(words(name), words(public.fact(name, value))) for name, value in around.environment_rows()]
    gaps = around.environment.skipped if around.environment else []
    page = ["#### Environment", "", *table(("what", "which"), rows), ""]
    if gaps:
        page += [f"Not known: {words(', '.join(dict.fromkeys(public.text(one.name) for one in gaps)))}.", ""]
    return page


def _limits(diagnosis: Diagnosis, public: _Public) -> list[str]:
    page = ["#### What this cannot tell", ""]
    page += [f"- {words(public.text(told))}" for told in diagnosis.refused]
    page += [
        f"- {public.text(one.source)}: {words(public.text(diagnosed.covered(one)))}"
        for one in diagnosis.coverage
    ]
    return [*page, ""]


# ----- the private sheet


def private(diagnosis: Diagnosis, names: Names, account: Sequence[tuple[str, str]]) -> str:
    """For the vendor's support alone: whose it is, what the pseudonyms stand for, and every id."""
    known = table(("what", "which"), [(words(name), code(value)) for name, value in account])
    page = [
        "# Private: not for a public tracker",
        "",
        "It undoes what the public report replaced. Give it to the vendor's support by a private way, if they ask.",
        "",
        "## Account",
        "",
        *(known or ["None is on record."]),
        "",
        "## What the pseudonyms stand for",
        "",
    ]
    page += table(
        ("in the report", "stands for"), [(code(key), code(value)) for key, value in names.key().items()]
    )
    rows = []
    for failure in sorted(diagnosis.case.failures, key=lambda one: -one.at_ms):
        rows.append(
            (
                _utc(failure.at_ms), words(", ".join(sorted(failure.codes)) or "gave up"), failure.outcome,
                code(failure.session), code(failure.project),
            )
        )  # fmt: skip
    head = ("time (UTC)", "codes", "end", "session", "project")
    page += ["", "## Every failure", "", *table(head, rows), ""]
    ids = [
        (
            _utc(one.at_ms), words(one.how), code(one.request_id), code(one.edge_id), one.noted_by, code(failure.session),
        )
        for failure, one in _every_id(diagnosis.case)
    ]  # fmt: skip
    ids += [
        (
            _utc(row["at_ms"]), words(code_sentence(row["ending"])), code(row["request_id"] or ""),
            code(row["edge_id"] or ""), "flight", "",
        )
        for row in diagnosis.tables.get("reset requests", ())
        if row["failure"] is None and (row["request_id"] or row["edge_id"])
    ]  # fmt: skip
    if ids:
        ids_head = ("time (UTC)", "how it failed", "request id", "edge id", "noted by", "session")
        page += [
            "## Every id, try by try; last those of which the client noted no failure", "", *table(ids_head, ids), "",
        ]  # fmt: skip
    return "\n".join(page)
