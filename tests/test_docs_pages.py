"""The hand-written pages: links lead somewhere, and command lines that are shown can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from holdfast.cli.explain import found
from holdfast.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BY_HAND = [page for page in PAGES if page.name != "reference.md"]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# -- links -------------------------------------------------------------------------------------------------


def links(text: str) -> list[str]:
    """The targets of Markdown links and pictures, those in code left out."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the tree, and a heading that is in it."""
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{link}: no such heading"


def test_every_page_is_in_the_index() -> None:
    """A page that the index does not name is not found."""
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in links(index.read_text(encoding="utf-8"))}

    assert set((ROOT / "docs").rglob("*.md")) - {index} <= named


# -- command lines -----------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[list[str]]:
    """The arguments of every `holdfast ...` in fenced shell blocks and in `code`."""
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    shell = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    for line in shell + re.findall(r"`(holdfast [^`\n]+)`", prose):
        words = shlex.split(line, comments=True)
        for end in (";", "|", "&&", ">"):
            words = words[: words.index(end)] if end in words else words
        if "holdfast" in words[:1]:
            yield words[1:]


def parse(arguments: list[str]) -> None:
    """Let click read a command line, and run nothing; one that is only named is looked up. Raises `UsageError`."""
    command: click.Command = main
    context = click.Context(main, info_name="holdfast")
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(context, rest[0])
        if child is None:
            raise click.UsageError(f"no such command: {rest[0]}")
        command = child
        context = command.context_class(
            command, info_name=rest.pop(0), parent=context, **command.context_settings
        )
    if rest and not isinstance(command, click.Group):
        command.parse_args(context, rest)


LINES = [
    pytest.param(arguments, id=f"{_name(page)}: {' '.join(arguments)}")
    for page in BY_HAND
    for arguments in command_lines(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("arguments", LINES)
def test_every_command_line_shown_can_be_typed(arguments: list[str]) -> None:
    """Its command exists, and so do its options."""
    if arguments[-1] not in ("--help", "--version"):
        parse(arguments)


def test_a_command_line_that_is_wrong_is_found() -> None:
    """The check above can fail: for an option, a command and a value that do not exist."""
    for line in ("serve --keep-alive 2s", "fly", "flights --limit many", "attic burn"):
        with pytest.raises(click.UsageError):
            parse(line.split())


@pytest.mark.parametrize("page", BY_HAND, ids=_name)
def test_every_word_that_is_explained_exists(page: Path) -> None:
    """What a page tells to `holdfast explain` has a page."""
    for arguments in command_lines(page.read_text(encoding="utf-8")):
        if arguments[:1] == ["explain"] and arguments[1:] not in ([], ["NAME"]):
            assert found(" ".join(arguments[1:])), arguments


def test_the_picture_fetches_nothing() -> None:
    """A picture in a repository names no font and no script elsewhere."""
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")

    assert set(re.findall(r"https?://[^\"' )]+", picture)) == {"http://www.w3.org/2000/svg"}
    assert "<script" not in picture
    assert "@import" not in picture
