"""`holdfast explain`: the page of a word."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.cli.catalogue import CATALOGUE as SETTINGS
from holdfast.cli.catalogue import Option
from holdfast.cli.explain import remedy_pages
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypothesis import Hypothesis
from holdfast.diagnosis.witnessed import witnesses
from holdfast.flight.pages import all_pages, look_up
from holdfast.gateway.heal import TABLE, Remedy
from holdfast.lab.endings import CATALOGUE as ENDINGS
from holdfast.lab.scenarios import CATALOGUE
from tests.cli.viewed import typed


def test_a_code_is_explained_part_by_part(tmp_path: Path) -> None:
    """Who, how, and in which phase."""
    said = typed(tmp_path, "explain", "C.rst.tool").stdout
    assert said.startswith("C.rst.tool (ending)\n")
    assert "The peer reset the connection" in said and "its arguments were being written" in said


def test_a_code_without_its_phase_is_explained_too(tmp_path: Path) -> None:
    """As the page of endings writes them: who, and how."""
    for code in ("P.fin", "C.fin+rst"):
        said = typed(tmp_path, "explain", code).stdout
        assert said.startswith(f"{code} (ending)\n") and "in any phase" in said


def test_a_code_says_what_to_do_and_keeps_its_columns(tmp_path: Path) -> None:
    """What it means, how it shows, what to do; what goes on below a label stands under its text."""
    said = typed(tmp_path, "explain", "C.fin.headers").stdout
    assert "\n             " in said.partition("What it means: ")[0]
    assert "What it means: The client closed its connection" in said and "How it shows: since_byte_s" in said
    assert "What to do: Nothing, if it was cancelled." in said


def test_an_ending_that_only_others_tell_says_so(tmp_path: Path) -> None:
    """A proxy's own timeout, of its log."""
    assert "by --add" in " ".join(typed(tmp_path, "explain", "N.limit.headers").stdout.split())


def test_the_good_end_is_no_option(tmp_path: Path) -> None:
    """`-.end` begins like one."""
    assert typed(tmp_path, "explain", "-.end").stdout.startswith("-.end (ending)\n")


def test_a_word_with_two_meanings_shows_both(tmp_path: Path) -> None:
    """`tls` is a mechanism and a phase."""
    said = typed(tmp_path, "explain", "tls").stdout
    assert "tls (mechanism)" in said and "tls (phase)" in said


def test_without_a_name_everything_is_listed(tmp_path: Path) -> None:
    """Each word with its first line, within the terminal's width."""
    lines = typed(tmp_path, "explain").stdout.splitlines()
    assert all(len(line) <= 100 for line in lines)
    for name in (*(page.name for page in (*all_pages(), *remedy_pages())), *CATALOGUE):
        assert any(line.startswith(f"  {name} ") for line in lines), name


def test_an_unknown_word_brings_suggestions(tmp_path: Path) -> None:
    """Exit code 1, close matches, or the way to the list."""
    near = typed(tmp_path, "explain", "orphn")
    assert near.exit_code == 1 and "did you mean orphan" in near.stderr
    assert "did you mean giant-tool" in typed(tmp_path, "explain", "gaint-tool").stderr
    assert "holdfast explain lists them all" in typed(tmp_path, "explain", "zzzzqqq").stderr


def test_words_of_two_parts_need_no_quotes(tmp_path: Path) -> None:
    """`holdfast explain stream log` works as typed."""
    assert typed(tmp_path, "explain", "stream", "log").stdout.startswith("stream log (word)")


@pytest.mark.parametrize("cause", [*catalogue(), *witnesses()], ids=lambda cause: cause.name)
def test_a_cause_has_a_page(tmp_path: Path, cause: Hypothesis) -> None:
    """What it predicts, what to do, and what would prove it wrong."""
    said = " ".join(typed(tmp_path, "explain", cause.name).stdout.split())

    assert f"{cause.name} (cause)" in said
    for part in (cause.remedy, cause.falsifier):
        assert " ".join(part.split()) in said


@pytest.mark.parametrize("remedy", Remedy, ids=lambda remedy: remedy.name)
def test_a_remedy_has_a_page_with_its_rows_of_the_table(tmp_path: Path, remedy: Remedy) -> None:
    """What it is, for whom, and how that is known."""
    said = " ".join(typed(tmp_path, "explain", remedy.value).stdout.split())
    assert f"{remedy.value} (remedy)" in said
    for row in TABLE:
        assert (" ".join(f"source: {row.source}".split()) in said) == (row.remedy is remedy)


def test_what_an_agent_accepts_is_told_where_its_profile_decides(tmp_path: Path) -> None:
    """A second start is for Claude Code; an end after a tool call is for SDKs too, unless it was switched off."""
    assert (
        "heard: an open block, completed thinking\n  for: claude-code\n"
        in typed(tmp_path, "explain", "restart").stdout
    )
    shorten = typed(tmp_path, "explain", "shorten").stdout
    assert "for: claude-code, unless --no-shorten\n" in shorten
    assert "where no block or a text is open" in " ".join(shorten.split())
    assert "cut (mechanism)" in (cut := typed(tmp_path, "explain", "cut").stdout) and "cut (remedy)" in cut


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_scenario_has_a_page_and_the_line_that_plays_it(tmp_path: Path, name: str) -> None:
    """What upstream does, what must be heard, and how to see it; none has the name of another word."""
    said = " ".join(typed(tmp_path, "explain", name).stdout.split())
    assert said.startswith(f"{name} (scenario)") and " ".join(CATALOGUE[name].story.split()) in said
    assert said.endswith(f"holdfast lab provider --scenario {name}")
    assert not look_up(name)


def test_a_word_is_explained_without_loading_the_lab() -> None:
    """The lab takes longer to load than the words."""
    code = (
        "import sys; from click.testing import CliRunner; from holdfast.cli.explain import command; "
        "assert CliRunner().invoke(command, ['orphan']).exit_code == 0; "
        "assert not any(name.startswith('holdfast.lab') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("P.torn.text", "In the lab:\n  holdfast lab play torn-chunk\n"),
        ("P.torn.text+restart", "In the lab:\n  holdfast lab play torn-chunk\n"),
        ("P.torn.tool", "In the lab, in another phase or by another side:\n  holdfast lab play torn-chunk\n"),
        ("P.alert.text", "holdfast lab play tls-alert-in-text --tls-cert cert.pem --tls-key key.pem\n"),
        ("M.slept.tool", "The lab cannot show it. A machine cannot be put to sleep"),
    ],
)
def test_a_code_says_how_to_see_it(tmp_path: Path, code: str, line: str) -> None:
    """The scenario of this very ending, else one in another phase, else why there is none."""
    assert line in typed(tmp_path, "explain", code).stdout


@pytest.mark.parametrize("name", [name for name in ENDINGS if name not in CATALOGUE])
def test_the_scenario_of_an_ending_has_a_page(tmp_path: Path, name: str) -> None:
    """What happens, and what the flight must say. None has the name of another word."""
    said = " ".join(typed(tmp_path, "explain", name).stdout.split())

    assert said.startswith(f"{name} (scenario)") and " ".join(ENDINGS[name].story.split()) in said
    assert ENDINGS[name].code in said and f"holdfast lab play {name}" in said
    assert not look_up(name)


@pytest.mark.parametrize(
    "name",
    ["ECONNRESET", "either", "strong", "suspected", "failure", "abandoned", "recovered", "silent wait", "unheard end",
     "unfinished answer", "FailedToOpenSocket"],
)  # fmt: skip
def test_the_words_of_a_diagnosis_are_explained(tmp_path: Path, name: str) -> None:
    """Grades, ends of failures, stalls, and the codes of clients' runtimes."""
    assert typed(tmp_path, "explain", *name.split()).exit_code == 0


def test_every_code_that_counts_as_the_networks_is_explained() -> None:
    """Those by which a diagnosis tells causes apart."""
    from holdfast.diagnosis.hypotheses import name_resolution, refused

    assert all(
        look_up(code) for code in {*refused.CODES, *name_resolution.CODES} - {"EAI_NONAME", "DNSException"}
    )


def test_a_word_is_found_with_the_comma_that_was_pasted_with_it(tmp_path: Path) -> None:
    """`fixed-limit: Requests ...` is how a report names it."""
    assert typed(tmp_path, "explain", "fixed-limit:", "whose", "timer").stdout.startswith(
        "fixed-limit (cause)"
    )


def test_a_causes_page_is_wrapped_once(tmp_path: Path) -> None:
    """At the reader's width, and not at the source's before: no line ends early within a paragraph."""
    lines = typed(tmp_path, "explain", "fixed-limit").stdout.splitlines()
    width = max(map(len, lines))
    early = [
        line for line, after in pairwise(lines)
        if line and after and len(line) + 1 + len(after.split()[0]) <= min(width, 80)
        and not after.startswith(("What to do:", "Wrong if:", " "))
    ]  # fmt: skip
    assert not early


def test_a_client_s_sentence_about_its_token_maximum_is_explained(tmp_path: Path) -> None:
    """As it was copied from the terminal: it may come from answers that were cut."""
    copied = "Claude's response exceeded the 64000 output token maximum."
    said = " ".join(typed(tmp_path, "explain", *copied.split()).stdout.split())
    assert "output token maximum" in said and "never whole" in said


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.name)
def test_a_setting_is_explained_in_the_words_of_its_help(tmp_path: Path, option: Option) -> None:
    """With and without its dashes, and where it can be written."""
    for name in (option.name, f"--{option.name}"):
        found = typed(tmp_path, "explain", name)
        said = " ".join(found.stdout.split())
        assert found.exit_code == 0 and " ".join(option.says.split()) in said and option.variable in said
