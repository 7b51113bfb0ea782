"""`holdfast flight ID`: the story of one turn."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from holdfast.cli.flight import told
from holdfast.cli.main import main
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.flights import Line
from holdfast.flight.journal import Journal
from holdfast.flight.reading import StoredTurn, open_library
from holdfast.report.incident import examine
from tests.cli.viewed import recorded, typed
from tests.flight.telling import HUNG_UP, NOON, at, end, frozen_turn, short_turn, tell, turn
from tests.report.turns import began, cancelled, frozen, outage, refused, reset_and_healed, stored


def test_the_story_is_told_moment_by_moment(tmp_path: Path) -> None:
    """Head, moments with the time since the start, and what came of it."""
    recorded(tmp_path, frozen_turn(turn_id="abc123"))
    lines = typed(tmp_path, "flight", "abc").stdout.splitlines()
    assert lines[0].startswith("Turn abc123, 20")
    assert (
        "  308.000 s  Upstream had been silent for 304 s inside tool_use Write; 30 keepalives held the client."
        in lines
    )
    assert any(line.startswith("In short: done after 330 s, 2 attempts upstream") for line in lines)


def test_a_turn_that_broke_says_where_to_read_on(tmp_path: Path) -> None:
    """The ending in a sentence, the command that explains it, and the attic if the answer is there."""
    record = end(turn(turn_id="abc123"), 9, HUNG_UP)
    recorded(tmp_path, record, answers={"abc123": b"event: ping\n\n"})
    said = typed(tmp_path, "flight", "abc123").stdout
    assert "It ended: the client reset the connection inside a tool call (C.rst.tool)" in said
    assert "holdfast explain C.rst.tool" in said and "holdfast attic show abc123" in said


def test_a_turn_is_found_by_the_providers_ids(tmp_path: Path) -> None:
    """The request id of a bug report or the cf-ray leads to the turn."""
    recorded(tmp_path, frozen_turn(turn_id="abc123"), short_turn(turn_id="def456"))
    assert "Turn abc123" in typed(tmp_path, "flight", "req_frozen").stdout
    assert "Turn def456" in typed(tmp_path, "flight", "ray-FRA").stdout


def test_json_holds_every_moment_with_both_times(tmp_path: Path) -> None:
    """Numbers for programs, the sentence beside them."""
    record = frozen_turn(turn_id="abc123")
    noted = len(record.moments)  # the journal takes out what it has written
    recorded(tmp_path, record)
    told = json.loads(typed(tmp_path, "flight", "abc123", "--json").stdout)
    assert len(told["moments"]) == noted and told["request_id"] == "req_frozen"
    quiet = next(moment for moment in told["moments"] if moment["name"] == "QuietEnded")
    assert quiet["data"] == {"quiet_s": 304.0, "keepalives": 30} and quiet["at_s"] == 308.0
    assert quiet["wall_ms"] == at(308).wall_ms and "304 s" in quiet["sentence"]


def test_an_unknown_or_ambiguous_id_helps_to_find_it(tmp_path: Path) -> None:
    """Exit code 1 and the next thing to type."""
    recorded(tmp_path, short_turn(turn_id="abc1"), short_turn(turn_id="abc2"))
    for name, words in (("zzz", "holdfast flights"), ("", "holdfast flights"), ("abc", "abc2, abc1")):
        result = typed(tmp_path, "flight", name)
        assert result.exit_code == 1 and words in result.stderr, name


def test_a_line_that_somebody_else_saw_names_its_witness() -> None:
    """Our own journal is not named; a log or a capture is."""
    lines = [
        Line(0.5, "RequestSent", "The request was sent."),
        Line(0.6, "Logged", "It came.", "nginx access.log"),
    ]
    page = told(StoredTurn(short_turn(), "i", None, None), lines, None)
    assert "  0.500 s  The request was sent." in page
    assert "  0.600 s  It came. (nginx access.log)" in page


RAY = "9eea680afe7cbd1f"


def test_bytes_that_are_no_text_name_no_turn(tmp_path: Path) -> None:
    """As Python has them from a command line; not a defect."""
    recorded(tmp_path, frozen_turn())

    shown = typed(tmp_path, "flight", "\udcff")

    assert shown.exit_code == 1
    assert "no turn has an id that begins with" in shown.stderr


def test_a_turn_is_found_by_its_cf_ray_however_it_was_copied(tmp_path: Path) -> None:
    """With the place of the edge, without it, with another case, and with the header's name before it."""
    recorded(tmp_path, frozen(turn_id="abc123"), short_turn(turn_id="def456"))
    for name in (
        RAY,
        f"{RAY}-FRA",
        RAY.upper(),
        f"cf-ray: {RAY}-FRA",
        f'"request-id": "{"req_011CfrozenTurn"}"',
    ):
        assert typed(tmp_path, "flight", name).stdout.startswith("Turn abc123"), name


def test_a_ray_of_another_edge_is_another_request(tmp_path: Path) -> None:
    """The same sixteen digits from two places are not mixed up when the place was given."""
    record = frozen(turn_id="abc123")
    recorded(tmp_path, record)
    assert typed(tmp_path, "flight", f"{RAY}-ORD").exit_code == 1


def test_an_earlier_attempts_ray_leads_to_the_turn(tmp_path: Path) -> None:
    """What is in the moments only is found too, with and without its place."""
    record = frozen(turn_id="abc123")
    record.edge_id = "0000000000000000-FRA"
    recorded(tmp_path, record)
    for name in (RAY, f"{RAY}-FRA"):
        assert typed(tmp_path, "flight", name).stdout.startswith("Turn abc123"), name


def test_an_id_with_a_slip_of_the_pen_is_guessed(tmp_path: Path) -> None:
    """Exit code 1, and the ids that look like it."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    result = typed(tmp_path, "flight", "req_011CfrozenTurm")
    assert result.exit_code == 1 and "did you mean req_011CfrozenTurn?" in result.stderr


def test_the_last_that_did_not_end_well_is_at_hand(tmp_path: Path) -> None:
    """Else the latest of all; with neither, what to do first."""
    assert typed(tmp_path, "flight", "--last").exit_code == 1
    recorded(tmp_path, short_turn(turn_id="aaa1"))
    assert typed(tmp_path, "flight", "--last").stdout.startswith("Turn aaa1")
    broken = refused()
    broken.turn_id = "aaa2"
    recorded(tmp_path, broken, short_turn(at(60), turn_id="aaa3"))
    assert typed(tmp_path, "flight", "--last").stdout.startswith("Turn aaa2")


def test_one_turn_is_asked_for_in_one_way(tmp_path: Path) -> None:
    """Neither none nor two; one format; a key only to what has pseudonyms."""
    recorded(tmp_path, short_turn(turn_id="abc123"))
    for wrong in (
        (), ("abc", "--last"), ("abc", "--json", "--format", "html"), ("abc", "--key", str(tmp_path / "k")),
    ):  # fmt: skip
        assert typed(tmp_path, "flight", *wrong).exit_code == 2, wrong


def test_a_turn_that_broke_is_explained_below_its_story(tmp_path: Path) -> None:
    """Who, how sure, which timer, who else, what to do."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    said = typed(tmp_path, "flight", "abc123").stdout
    for words in (
        "certain: The client reset the connection inside a tool call (C.rst.tool).",
        "likely: The client gave up waiting: its stream idle limit of 300 s ran out.",
        "the provider: ruled out, certain.",
        "What would prove this wrong",
        "holdfast explain C.rst.tool",
    ):
        assert words in said, words


def test_a_turn_that_ended_well_says_so_and_stops(tmp_path: Path) -> None:
    """One sentence in place of an explanation."""
    recorded(tmp_path, short_turn(turn_id="abc123"))
    said = typed(tmp_path, "flight", "abc123").stdout
    assert (
        said.endswith("\n\nNothing broke: the turn ended well after 1.80 s.\n")
        and "Who closed it" not in said
    )


def test_json_holds_the_explanation(tmp_path: Path) -> None:
    """Claims with grades for programs; null where nothing broke."""
    recorded(tmp_path, frozen(turn_id="abc123"), short_turn(turn_id="def456"))
    told = json.loads(typed(tmp_path, "flight", "abc123", "--format", "json").stdout)
    assert told["incident"]["closer"]["grade"] == "certain" and told["incident"]["code"] == "C.rst.tool"
    assert json.loads(typed(tmp_path, "flight", "def456", "--json").stdout)["incident"] is None


def test_an_issue_is_de_identified_and_says_what_was_removed(tmp_path: Path) -> None:
    """The page on stdout, the counts and the advice on stderr, the way back in a file for the owner alone."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    key = tmp_path / "key.json"
    result = typed(tmp_path, "flight", "abc123", "--format", "issue", "--key", str(key))
    assert (
        "session-1" in result.stdout
        and "5c0ffee0" not in result.stdout
        and "203.0.113.7" not in result.stdout
    )
    assert "De-identified; replaced or removed: 1 IPv4 address" in result.stderr
    assert "Read it before you send it" in result.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert json.loads(key.read_text())["ip4-public-1"] == "203.0.113.7"


def test_a_page_is_private_unless_it_is_asked_to_be_public(tmp_path: Path) -> None:
    """The note on the page, the session in it or not; a file of its own that nobody else can read."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    private, public = tmp_path / "private.html", tmp_path / "public.html"
    assert typed(tmp_path, "flight", "abc123", "--format", "html", "--out", str(private)).exit_code == 0
    typed(tmp_path, "flight", "abc123", "--format", "html", "--public", "--out", str(public))
    assert "Private:" in private.read_text() and "5c0ffee0" in private.read_text()
    assert "De-identified" in public.read_text() and "5c0ffee0" not in public.read_text()
    assert private.stat().st_mode & 0o777 == 0o600


def test_markdown_is_for_a_ticket_of_ones_own(tmp_path: Path) -> None:
    """The whole explanation with whose turn it was, and what to do now; nothing is replaced."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    page = typed(tmp_path, "flight", "abc123", "--format", "markdown").stdout

    assert page.startswith("# ") and "## Who closed it, and how we know" in page
    assert "5c0ffee0" in page and "## What to do now\n\n- " in page


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """A report of yesterday is kept; the way out is said."""
    recorded(tmp_path, frozen(turn_id="abc123"))
    there = tmp_path / "issue.md"
    there.write_text("mine")
    result = typed(tmp_path, "flight", "abc123", "--format", "issue", "--out", str(there))
    assert result.exit_code == 1 and "is there already; choose another name" in result.stderr
    assert there.read_text() == "mine"


def test_public_json_and_text_name_nobody_either(tmp_path: Path) -> None:
    """--public holds for every format."""
    recorded(tmp_path, frozen(turn_id="abc123"), short_turn(NOON, turn_id="def456"))
    for form in ("json", "text", "markdown"):
        for turn_id in ("abc123", "def456"):
            said = typed(tmp_path, "flight", turn_id, "--format", form, "--public").stdout
            assert "5c0ffee0" not in said and "203.0.113.7" not in said and "instance-" not in said


def test_every_command_that_is_advised_can_be_typed() -> None:
    """Its name and its options exist."""
    turns = (frozen(), frozen(comes_back=False), refused(), outage(), cancelled(), reset_and_healed())
    advised = {one.command for turn in turns for one in examine(stored(turn, 9)).advice if one.command}
    assert len(advised) >= 6
    for line in advised:
        program, name, *rest = shlex.split(line)
        assert program == "holdfast"
        context = click.Context(main)
        command = main.get_command(context, name)
        while isinstance(command, click.Group):
            name, *rest = rest
            command = command.get_command(context, name)
        assert command is not None, line
        command.make_context(name, rest, resilient_parsing=False)


def test_last_takes_a_turn_that_broke_before_one_that_runs(tmp_path: Path) -> None:
    """Who closed the last turn that broke: neither one that goes on nor one that went well."""
    broke = end(turn(turn_id="aaa1"), 3)
    broke.breaks, broke.healed = "P.rst.text+restart", "restart"
    recorded(tmp_path, broke, end(turn(at(60), turn_id="aaa2"), 3))
    recorded(tmp_path, end(turn(at(90), turn_id="aaa3"), 3))
    journal = Journal(tmp_path)
    try:
        with open_library(tmp_path) as library:
            assert library is not None
            running = (
                "UPDATE turn SET ending_code = NULL, ending = NULL, instance_id = ? WHERE turn_id = 'aaa3'"
            )
            library.connection.execute(running, (journal.instance_id,))
        assert "running" in typed(tmp_path, "flights").stdout
        assert typed(tmp_path, "flight", "--last").stdout.startswith("Turn aaa1")
    finally:
        journal.close(10)


def test_a_turn_that_was_cut_until_it_was_lost_is_told_so_in_every_format(tmp_path: Path) -> None:
    """Each of its answers ended well; the client showed a message about tokens, and it is explained."""
    for number in range(4):
        record = began(at(number * 0.3), f"01m7x2abcdef0{number}")
        broke = Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TOOL_USE)
        tell(record, (0.2, m.AttemptEnded(1, broke)), (0.2, m.Healed("cut", broke.code)))
        record.healed, record.breaks = "cut", "P.rst.tool+cut"
        recorded(tmp_path, end(record, 0.2))
    listed = typed(tmp_path, "flights").stdout
    assert " done " not in listed and "cut 4 times, never whole: the turn was lost" in listed
    assert "output token maximum" in listed
    for form in ("text", "json", "issue", "html"):
        said = " ".join(typed(tmp_path, "flight", "--last", "--format", form).stdout.split())
        assert "cut 4 times, never whole: the turn was lost" in said and "token maximum" in said, form
        assert "ended well" not in said and "No circle seen" not in said
    assert json.loads(typed(tmp_path, "flight", "--last", "--json").stdout)["cut"]["lost"] is True
