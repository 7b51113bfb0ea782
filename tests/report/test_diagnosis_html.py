"""The page of a diagnosis: one file that fetches and runs nothing, says the most important first, and draws its evidence."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from holdfast.diagnosis.case import Case, Coverage
from holdfast.diagnosis.diagnosis import Diagnosis, diagnose
from holdfast.diagnosis.engine import Engine
from holdfast.report import diagnosis_html, pictures, plots
from holdfast.sessions.corpus import update
from holdfast.sessions.desktop import DesktopLog, Note
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000


def diagnosed(home: Path, desktop: tuple[DesktopLog, ...] = ()) -> Diagnosis:
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0])
    reach = Coverage("transcripts", "12 sessions", MORNING_MS, MORNING_MS + 12 * DAY_MS)
    return diagnose(Engine(frames(store)), desktop=desktop, coverage=[reach, Coverage("desktop log", "none")])


def a_fortnight(home: Path, project: str = "/work/atlas") -> None:
    """Twelve days; on each a request is cut after five minutes, and one is overloaded."""
    for day in range(12):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", cwd=project, at_ms=MORNING_MS + day * DAY_MS)
        pen.asks()
        for number in range(10):
            pen.after(20).answers(f"msg_{day}_{number}", context=40_000 + 9_000 * number)
        pen.after(300.4).fails(1).after(302).fails(2).gives_up()
        pen.asks().after(2).is_refused(1).after(4).answers(f"msg_{day}_last").saved(home)


class Seen(HTMLParser):
    """What is in a page: its tags, their attributes, and its headings in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3"):
            self._inside = tag
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.headings[-1] += data


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    """One style sheet, allowed by its hash; no script, no link, no inline style, and no event handler."""
    a_fortnight(tmp_path)
    page = diagnosis_html.page(diagnosed(tmp_path))
    seen = Seen(page)

    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}" in page.replace("'", "&#39;")
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in seen.tags}
    for _, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "href")]


def test_the_most_important_comes_first(tmp_path: Path) -> None:
    """Verdict, what to do, how sure, why; then the counts; then what was looked at and what was left open."""
    a_fortnight(tmp_path)
    told = diagnosed(tmp_path)
    page = diagnosis_html.page(told)
    headings = Seen(page).headings

    assert headings[0].startswith("24 of 156 requests failed (15%)")
    order = ["What to do", "How sure", "Why", "When, where, and what retries did", "Every count",
             "What was looked at", "What was not concluded"]  # fmt: skip
    assert [one for one in headings if one in order] == order
    why = headings.index("Why") + 1
    assert headings[why : why + len(told.findings)] == [finding.title for finding in told.findings]


def test_each_cause_shows_its_evidence(tmp_path: Path) -> None:
    """A limit is drawn at its age among all ages; what the provider said, over days and hours."""
    a_fortnight(tmp_path)
    told = diagnosed(tmp_path)
    by_name = {finding.hypothesis: pictures.evidence(finding, told) for finding in told.findings}

    limit = next(drawn for name, drawn in by_name.items() if name in ("fixed-limit", "silence-limit"))
    assert limit is not None
    assert [one.text for one in limit.wide.words if one.kind == "limit"] == ["300 s"]
    [mine] = [one for one in limit.wide.rects if one.kind == "mine"]
    [mark] = [one for one in limit.wide.rules if one.kind == "limit"]
    assert mine.x - 3 <= mark.x1 <= mine.x + mine.width + 3
    overload = by_name["provider-overload"]
    assert overload is not None
    assert sum(one.kind == "mine" for one in overload.wide.dots) == 12
    assert sum(one.kind == "other" for one in overload.wide.dots) == 12


def test_what_nobody_watched_is_shaded(tmp_path: Path) -> None:
    """Times without network are drawn where they were, and times of which nothing is known are not left white."""
    a_fortnight(tmp_path)
    notes = [Note(MORNING_MS + 3_600_000 + second * 1000, "offline", "bridge") for second in range(0, 90, 15)]
    log = DesktopLog(notes, lines=50, first_ms=MORNING_MS, last_ms=MORNING_MS + 5 * DAY_MS)
    told = diagnosed(tmp_path, (log,))
    drawn = pictures.calendar(told, set(), outages=True)

    assert drawn is not None and "1 time without network" in drawn.says
    kinds = [one.kind for one in drawn.wide.rects]
    assert kinds.count("outage") == 1 and kinds.count("unwatched") >= 6
    assert ("unwatched", "not watched") in drawn.key


def test_what_logs_hold_stays_text(tmp_path: Path) -> None:
    """A directory may have any name, and a terminal's control characters are no page's."""
    a_fortnight(tmp_path, project="/work/<script>alert(1)</script>\x1b[31m&\"'")
    page = diagnosis_html.page(diagnosed(tmp_path))
    assert "<script" not in page and "\x1b" not in page
    assert "&lt;script&gt;" in page


def test_a_home_without_anything_has_a_page_too(tmp_path: Path) -> None:
    """Nothing to diagnose is said, and nothing is drawn."""
    page = diagnosis_html.page(diagnosed(tmp_path))
    assert "There is nothing to diagnose" in page and 'class="finding' not in page


@pytest.mark.parametrize("width", [plots.WIDE, plots.NARROW])
def test_everything_lies_within_the_picture(tmp_path: Path, width: int) -> None:
    """Whatever the counts are, no bar, dot or word is drawn outside."""
    a_fortnight(tmp_path)
    told = diagnosed(tmp_path)
    figures = [pictures.evidence(finding, told) for finding in told.findings]
    figures += [pictures.shares(told), pictures.ladder(told), pictures.per_day(told), pictures.per_hour(told)]
    figures += [pictures.per_weekday(told), pictures.by_context(told), pictures.coverage(told)]
    assert all(figures)
    for figure in figures:
        assert figure is not None
        plot = figure.wide if width == plots.WIDE else figure.narrow
        assert plot.width == width
        for rect in plot.rects:
            assert rect.x >= 0 and rect.x + rect.width <= width + 0.2
            assert rect.y >= 0 and rect.y + rect.height <= plot.height
        for dot in plot.dots:
            assert 0 <= dot.x <= width and 0 <= dot.y <= plot.height
        for word in plot.words:
            room = len(word.text) * plots.LETTER * {"start": 1, "end": 0, "middle": 0.5}[word.anchor]
            assert word.x >= 0 and word.x + room <= width + plots.LETTER, word


@pytest.mark.parametrize(
    ("most", "step"), [(1, 0.5), (4, 1), (7, 2), (60, 20), (99, 50), (1000, 500), (0, 5e-10)]
)
def test_axes_step_by_one_two_or_five(most: float, step: float) -> None:
    """As people count."""
    assert plots.nice(most) == pytest.approx(step)


def test_bars_are_as_high_as_what_they_count() -> None:
    """Half the value is half the height, parts stand on each other, and the interval is where it says."""
    rows = [
        plots.Bar("a", (("mine", 5.0), ("other", 5.0)), "a"),
        plots.Bar("b", (("mine", 5.0),), "b", 2.5, 7.5),
    ]
    plot = plots.bars(plots.WIDE, rows, "failures")
    first, second, third = plot.rects
    assert first.height == pytest.approx(second.height) == pytest.approx(third.height)
    assert second.y + second.height == pytest.approx(first.y, abs=0.2)
    [line] = [one for one in plot.rules if one.kind == "whisker" and one.x1 == one.x2]
    assert abs(line.y2 - line.y1) == pytest.approx(first.height, abs=0.3)


def test_what_came_together_stands_side_by_side() -> None:
    """Failures of one half hour do not hide each other, stay in their day's column, and a cause's own are on top."""
    points = [plots.Point(3, 9.1, "other", f"{number}") for number in range(6)] + [
        plots.Point(3, 9.2, "mine", "own")
    ]
    plot = plots.calendar(plots.WIDE, 1, 10, points, [], str)
    room = (plots.WIDE - plots.LEFT - plots.RIGHT) / 10
    assert len({dot.x for dot in plot.dots}) == 7
    assert plot.dots[-1].kind == "mine"
    assert plot.dots[-1].x == pytest.approx(plots.LEFT + 2.5 * room, abs=0.2)
    assert all(plots.LEFT + 2 * room <= dot.x <= plots.LEFT + 3 * room for dot in plot.dots)


def test_a_long_table_says_how_much_of_it_is_elsewhere() -> None:
    """No row is left out in silence."""
    lines = [["day", "errors"], *([f"{number}", "1"] for number in range(diagnosis_html.MOST_ROWS + 7))]
    made = diagnosis_html.table("Per day", lines, False)
    assert (len(made.rows), made.left_out) == (diagnosis_html.MOST_ROWS, 7)
    assert diagnosis_html.table("Per day", lines[:3], True).left_out == 0


def test_thousands_of_failures_are_thinned_and_that_is_said(tmp_path: Path) -> None:
    """A page stays light; no dot is left out in silence."""
    a_fortnight(tmp_path)
    told = diagnosed(tmp_path)
    [first, *_] = told.case.failures
    many = [replace(first, id=f"f{number}", at_ms=first.at_ms + number * 60_000) for number in range(5_000)]
    drawn = pictures.calendar(replace(told, case=Case(many)), {"f1", "f2"}, outages=False)
    assert drawn is not None
    assert sum(dot.kind == "mine" for dot in drawn.wide.dots) == 2
    assert sum(dot.kind == "other" for dot in drawn.wide.dots) <= pictures.MOST_DOTS
    assert drawn.says.endswith("One in 1 of this cause is drawn, and one in 5 of the others.")
