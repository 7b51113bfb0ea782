"""The page of a diagnosis: one file that fetches and runs nothing, says the most important first, and draws its evidence."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from holdfast.diagnosis.case import Case, Coverage, Span
from holdfast.diagnosis.diagnosis import Diagnosis, diagnose
from holdfast.diagnosis.engine import Engine
from holdfast.report import (
    diagnosis_html,
    drawing,
    pictures,
    pictures_away,
    pictures_rates,
    pictures_tries,
    pictures_when,
    plots,
    sheet,
)
from holdfast.report.diagnosed import titled
from holdfast.report.lookalikes import lookalikes
from holdfast.report.plots import Figure
from holdfast.sessions.corpus import update
from holdfast.sessions.desktop import Outage
from holdfast.sessions.frames import frames
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000


def diagnosed(home: Path) -> Diagnosis:
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0])
    reach = Coverage("transcripts", "12 sessions", MORNING_MS, MORNING_MS + 12 * DAY_MS)
    return diagnose(Engine(frames(store)), coverage=[reach, Coverage("desktop log", "none")])


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


def svg(figure: Figure, width: int = plots.WIDE) -> ElementTree.Element:
    """As it stands in the page."""
    return ElementTree.fromstring(drawing.svg(figure.draws(width), "wide", "p1w", figure.title, figure.says))


def said(picture: ElementTree.Element, tag: str, colour: str = "") -> list[str]:
    """What the shapes of a kind, or of one colour, say when pointed at."""
    return [
        told.text or ""
        for shape in picture.iter(tag)
        for told in shape.findall("title")
        if not colour or shape.get("fill") == f"var(--{colour})"
    ]


def words(picture: ElementTree.Element) -> list[str]:
    """What is written in it."""
    return [(one.text or "") + "".join(told.tail or "" for told in one) for one in picture.iter("text")]


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    home = tmp_path_factory.mktemp("home")
    a_fortnight(home)
    return diagnosed(home)


@pytest.fixture(scope="module")
def page(fortnight: Diagnosis) -> str:
    return diagnosis_html.page(fortnight)


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    """One style sheet, allowed by its hash; no script, no inline style, no event handler; the only addresses are those of
    listed reports of others, to be followed by whoever wants to."""
    seen = Seen(page)

    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}" in page.replace("'", "&#39;")
    assert not {"script", "link", "img", "image", "use", "iframe", "object", "base", "form"} & {
        tag for tag, _ in seen.tags
    }
    for _, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
    led = [attributes["href"] for tag, attributes in seen.tags if "href" in attributes and tag == "a"]
    assert not [tag for tag, attributes in seen.tags for name in attributes if "href" in name and tag != "a"]
    assert led and set(led) <= {one.url for one in lookalikes()}
    assert "url(" not in page and "http:" not in page and page.count("https:") == len(led)


def test_the_most_important_comes_first(page: str, fortnight: Diagnosis) -> None:
    """Verdict, what to do, how sure, why; then the pictures and counts; then what was looked at and what was left open."""
    headings = Seen(page).headings

    assert headings[0].startswith("24 of 144 requests failed (17%)")
    order = ["What to do", "How sure", "Why", "When, where, and what retries did", "Every count",
             "What was looked at", "What was not concluded"]  # fmt: skip
    assert [one for one in headings if one in order] == order
    why = headings.index("Why") + 1
    assert headings[why : why + len(fortnight.findings)] == [
        titled(finding) for finding in fortnight.findings
    ]


def test_every_picture_can_be_read_without_seeing_it(page: str) -> None:
    """Title, description, a sentence below it, and the table of its numbers; each name is there once."""
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(figures) >= 10
    for figure in figures:
        for kind in ("wide", "narrow"):
            assert figure.count(f'<svg class="{kind}"') == 1
        assert figure.count('role="img"') == 2
        for name, title in re.findall(r'<title id="([^"]+)">([^<]+)</title>', figure):
            assert title and f'aria-labelledby="{name}"' in figure
        for name, told in re.findall(r'<desc id="([^"]+)">([^<]+)</desc>', figure):
            assert told.endswith(".") and f'aria-describedby="{name}"' in figure
            assert f"<p>{told}</p>" in figure
        behind = figure[figure.index("<summary>The numbers") :]
        assert behind.count("<tr>") >= 2 and "<th" in behind
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names)) == 4 * len(figures)


def test_letters_stay_letters(page: str) -> None:
    """Words in pictures are text in the page's own font, and colours are names that the style sheet knows."""
    style, body = page.split("</style>")
    known = set(re.findall(r"(--[a-z0-9]+):", style))
    pictures_of = re.findall(r"<svg .*?</svg>", body, re.DOTALL)
    for picture in pictures_of:
        assert "<text" in picture and "font-family" not in picture
        colours = re.findall(r' (?:fill|stroke)="([^"]+)"', picture)
        assert {one for one in colours if one != "none"} <= {f"var({name})" for name in known}
    for kind in re.findall(r'class="swatch ([a-z0-9]+)"', body):
        assert f".swatch.{kind} {{" in style


def test_a_picture_is_about_as_wide_as_its_page(page: str) -> None:
    """Nothing sticks out so far that the letters would be drawn smaller than those of the picture beside it."""
    found = re.findall(r'<svg class="(wide|narrow)" viewBox="0 0 ([\d.]+) ', page)
    assert len(found) >= 20
    for kind, told in found:
        width = plots.WIDE if kind == "wide" else plots.NARROW
        assert 0.9 * width <= float(told) <= 1.04 * width


def test_the_sizes_of_prompts_have_room_below_their_columns(fortnight: Diagnosis) -> None:
    """On a narrow page too, every one of them: each name is narrower than its column's share of the width."""
    bounds = [
        (0, 50_000),
        (50_000, 100_000),
        (100_000, 150_000),
        (150_000, 200_000),
        (200_000, None),
        (None, None),
    ]
    rows = [
        {
            "from_tokens": low,
            "to_tokens": high,
            "failures": 9,
            "answered": 60,
            "per_1000": None if low is None else 130.4,
        }
        for low, high in bounds
    ]
    figure = pictures_rates.by_context(replace(fortnight, tables={**fortnight.tables, "by context": rows}))
    assert figure is not None and "Of 9 failures the size is not known." in figure.says
    for width in (plots.WIDE, plots.NARROW):
        first, *_ = figure.draws(width)["vconcat"]
        names = first["layer"][0]["encoding"]["x"]["scale"]["domain"]
        room = plots.inner_width(width) / len(names)
        assert len(names) == 5 and max(map(len, names)) * plots.LETTER < room, names


@pytest.mark.parametrize(
    ("told", "steps"),
    [
        ("the router's log", [[(False, "the router's log")]]),
        ("holdfast probe ping: loss", [[(True, "holdfast probe ping"), (False, ": loss")]]),
        ("holdfast run -- claude; a capture", [[(True, "holdfast run -- claude")], [(False, "a capture")]]),
        (
            "holdfast mark 'wired, at home', and later: holdfast diagnose",
            [
                [
                    (True, "holdfast mark 'wired, at home'"),
                    (False, ", and later: "),
                    (True, "holdfast diagnose"),
                ]
            ],
        ),
    ],
)
def test_what_settles_it_is_a_line_to_type(told: str, steps: list[list[tuple[bool, str]]]) -> None:
    """The command stands apart from the words that say what it shows."""
    assert sheet.steps(told) == steps


def test_each_cause_shows_its_evidence(fortnight: Diagnosis) -> None:
    """A limit is drawn at its age among all ages; what the provider said, over days and hours."""
    by_name = {finding.hypothesis: pictures.evidence(finding, fortnight) for finding in fortnight.findings}

    limit = next(one for name, one in by_name.items() if name in ("fixed-limit", "silence-limit"))
    assert limit is not None
    picture = svg(limit)
    assert [text.text for text in picture.iter("text") if text.get("font-weight") == "bold"] == ["300 s"]
    assert "12 came within 6 s of their limit, 300 s" in limit.says
    assert limit.head == ("how long", "this cause", "other failures")
    assert sum(int(row[1]) for row in limit.rows) == 12

    overload = by_name["provider-overload"]
    assert overload is not None
    picture = svg(overload)
    place = [finding.hypothesis for finding in fortnight.findings].index("provider-overload")
    assert len(said(picture, "circle", plots.colour(place))) == 12
    assert len(said(picture, "circle", "rest")) == 12
    assert [row[1:] for row in overload.rows] == [("1", "1")] * 12


def test_the_year_is_told_by_code_beside_what_was_answered(fortnight: Diagnosis) -> None:
    """One column a day with its codes, the requests below it, and both in the table."""
    figure = pictures_when.timeline(fortnight)
    assert figure is not None
    assert figure.head == ("day", "ECONNRESET", "HTTP 529", "answered", "new")
    assert [row[1:] for row in figure.rows] == [("1", "1", "10", "")] * 12
    told = said(svg(figure), "path")
    assert told.count("Apr 14: 1 ECONNRESET, 1 HTTP 529; 10 answered") == 3  # two parts, and the strip below


def test_versions_and_notes_are_on_the_timeline(tmp_path: Path) -> None:
    """What changed stands where it changed."""
    for day, version in enumerate(("2.1.87", "2.1.104")):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", version=version, at_ms=MORNING_MS + day * DAY_MS)
        pen.asks().after(20).answers(f"msg_{day}").after(9).fails(1).after(3).answers(f"late_{day}").saved(
            tmp_path
        )
    told = diagnosed(tmp_path)
    marks = [{"since_ms": 0, "mark": ""}, {"since_ms": MORNING_MS + DAY_MS // 2, "mark": "moved <b>"}]
    figure = pictures_when.timeline(replace(told, tables={**told.tables, "between marks": marks}))
    assert figure is not None and "notes of yours" in figure.says
    assert {"2.1.104", "moved <b>"} <= set(words(svg(figure)))
    assert [row[-1] for row in figure.rows] == ["moved <b>", "2.1.104"]
    assert "2.1.87" not in words(svg(figure))


def test_known_limits_stand_beside_the_ages(fortnight: Diagnosis) -> None:
    """The atlas's timers are ticks; the one that failures pile up at is named, and that this names nobody is said."""
    figure = pictures_tries.ages(fortnight)
    assert figure is not None
    assert "most at 300 s, 12, which" in figure.says and "A number alone names nobody." in figure.says
    assert "300 s" in words(svg(figure))
    assert [row[1] for row in figure.rows if row[0].startswith("within 2% of 300 s: ")] == ["12"]


def with_outages(told: Diagnosis, outages: list[Outage], watched: Span) -> Diagnosis:
    return replace(told, case=replace(told.case, outages=outages, watched=[watched]))


def test_failures_are_put_to_outages_beside_the_time_in_use(fortnight: Diagnosis) -> None:
    """What share of failures came during an outage says nothing without the share of time that outages took."""
    cut = [failure.at_ms for failure in fortnight.case.failures if failure.codes == {"ECONNRESET"}]
    away = [Outage(at - 2_000, at + 2_000) for at in cut]
    told = with_outages(fortnight, away, Span(MORNING_MS, MORNING_MS + 12 * DAY_MS))
    figure = pictures_away.outages(told)
    assert figure is not None
    [during] = [row for row in figure.rows if row[0] == "during"]
    assert during[:3] == ("during", "12", "50%")
    # 24 s around each outage, of a quarter of an hour around 500 s of work
    assert 0.008 < float(during[4].rstrip("%")) / 100 < 0.012
    assert "12 of 24 failures began to fail while this machine was seen without network" in figure.says
    assert pictures_away.outages(with_outages(fortnight, away, Span(0, 1))) is None


@pytest.mark.parametrize(
    ("at", "near"),
    [(0, -100), (99, -1), (100, 0), (150, 0), (200, 0), (201, 1), (349, 149), (351, -149), (600, 90)],
)
def test_how_far_the_nearest_outage_is(at: int, near: int) -> None:
    """Before it negative, within it nothing, after it positive."""
    assert pictures_away._to_nearest(at, [(100, 200), (500, 510)]) == near


def test_what_nobody_watched_is_shaded(fortnight: Diagnosis) -> None:
    """Times without network are drawn where they were, and times of which nothing is known are not left white."""
    away = [Outage(MORNING_MS + 3_600_000, MORNING_MS + 3_700_000)]
    told = with_outages(fortnight, away, Span(MORNING_MS, MORNING_MS + 5 * DAY_MS))
    figure = pictures_when.calendar(told, set(), outages=True)

    assert figure is not None and "1 time without network" in figure.says
    assert ("unwatched", "not watched") in figure.key and ("outage", "no network") in figure.key
    fills = [shape.get("fill") for shape in svg(figure).iter("path")]
    assert fills.count("var(--outage)") == 1 and fills.count("var(--unwatched)") >= 1


def test_what_became_of_each_try_adds_up(fortnight: Diagnosis) -> None:
    """Whoever failed a try recovered, gave up, was given up, or failed again."""
    figure = pictures_tries.ladder(fortnight)
    assert figure is not None
    for row in figure.rows:
        assert int(row[1]) == sum(int(cell) for cell in row[2:7])
    assert [row[7] for row in figure.rows] == ["50%", "50%"]


def test_what_logs_hold_stays_text(tmp_path: Path) -> None:
    """A directory may have any name, and a terminal's control characters are no page's; not in pictures either."""
    evil = "/work/<script>alert(1)</script>\x1b[31m&\"'\x00]]>--><svg onload=x>"
    a_fortnight(tmp_path, project=evil)
    told = diagnosed(tmp_path)
    page = diagnosis_html.page(told)
    assert "<script" not in page and "\x1b" not in page and "\x00" not in page and "<svg onload" not in page
    by_project = pictures_rates.by_project(told)
    assert by_project is not None
    [name] = [told for told in words(svg(by_project)) if "/work/" in told]
    assert name.startswith("/work/<script>alert(1)")


@pytest.mark.parametrize(
    "evil",
    [
        "</svg><script>x()</script>",
        "\x00\x1b[31m\u202e",
        "\ud800",
        "{{7*7}}",
        "datum.value",
        "'" * 5_000,
        "__proto__",
        "",
    ],
)
def test_codes_versions_and_notes_stay_text_in_pictures(fortnight: Diagnosis, evil: str) -> None:
    """Whatever a code, a version or a note is called: it is drawn or left out, and is never a part of the picture."""
    failures = [
        replace(one, version=evil, tries=tuple(replace(each, code=evil) for each in one.tries))
        for one in fortnight.case.failures
    ]
    marks = [{"since_ms": MORNING_MS + DAY_MS, "mark": evil}]
    told = replace(fortnight, case=replace(fortnight.case, failures=failures))
    figure = pictures_when.timeline(replace(told, tables={**told.tables, "between marks": marks}))
    assert figure is not None
    picture = svg(figure)
    assert {one.tag for one in picture.iter()} <= {"svg", "title", "desc", "g", "path", "line", "text"}
    assert float(picture.get("viewBox", "").split()[2]) < 1.04 * plots.WIDE
    assert all(len(head) <= pictures_when.LONGEST and head.isprintable() for head in figure.head)


def test_the_sieve_lets_shapes_and_words_pass_and_nothing_else() -> None:
    """Whatever a renderer may write one day: no script, style, link, address or handler reaches the page."""
    hostile = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" onload="x()">'
        "<script>x()</script><style>*{}</style><foreignObject><p>p</p></foreignObject>"
        '<image xlink:href="http://x/"/><a xlink:href="javascript:x()"><text>linked</text></a>'
        '<use href="#x"/><animate attributeName="href"/>'
        '<g transform="translate(1,2)" style="fill:red" class="c">'
        '<path d="M0,0h1v1Z" fill="url(http://x/)" stroke="var(--c1)"/>'
        '<path d="M0,0h1" fill="var(--c1)" aria-label="&lt;b&gt;" onclick="x()"/>'
        '<text fill="var(--c1);x" font-family="x">a &lt;i&gt;</text></g></svg>'
    )
    assert drawing.sieved(hostile, "wide", "p1w", "<t>", '"says"') == (
        '<svg class="wide" viewBox="0 0 9 9" role="img" aria-labelledby="p1w-t" aria-describedby="p1w-d">'
        '<title id="p1w-t">&lt;t&gt;</title><desc id="p1w-d">&quot;says&quot;</desc>'
        '<g transform="translate(1,2)"><path d="M0,0h1v1Z" stroke="var(--c1)"/>'
        '<path d="M0,0h1" fill="var(--c1)"><title>&lt;b&gt;</title></path><text>a &lt;i&gt;</text></g></svg>'
    )


_BOXED = '<svg viewBox="0 0 1 1"/>'


@pytest.mark.parametrize(
    "text", ["", "<svg", "<p/>", "<svg/>", '<!DOCTYPE x [<!ENTITY a "b">]>' + _BOXED, "<?x?>" + _BOXED]
)
def test_what_is_no_picture_is_refused(text: str) -> None:
    """Declarations and entities have no place in a picture."""
    with pytest.raises(ValueError, match=r"no SVG|declarations"):
        drawing.sieved(text, "wide", "p", "t", "s")


def test_the_same_diagnosis_is_the_same_page(fortnight: Diagnosis, page: str) -> None:
    """To the byte: nothing is drawn by chance, by the clock or in the order of a set."""
    assert diagnosis_html.page(fortnight) == page


def test_a_page_is_light(page: str) -> None:
    """With a dozen pictures in two sizes, and their tables."""
    assert len(page) < 400_000


def test_the_renderer_is_loaded_only_to_draw() -> None:
    """Text and JSON do not wait for an engine of pictures."""
    code = "import sys, holdfast.report.diagnosis_html; sys.exit('vl_convert' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_home_without_anything_has_a_page_too(tmp_path: Path) -> None:
    """Nothing to diagnose is said, and nothing is drawn."""
    page = diagnosis_html.page(diagnosed(tmp_path))
    assert "There is nothing to diagnose" in page and 'class="finding' not in page
    assert "are not drawn" not in page


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without its pictures' shapes, where only which there are matters."""
    monkeypatch.setattr(drawing, "svg", lambda *_, **__: "<svg></svg>")


@pytest.mark.usefixtures("undrawn")
def test_of_a_few_failures_no_habits_are_drawn(tmp_path: Path) -> None:
    """Three accidents have no rate by weekday; that there is no picture is said."""
    pen = Pen(at_ms=MORNING_MS).asks()
    for number in range(3):
        pen.after(5).fails(1).after(3).answers(f"msg_{number}").asks()
    pen.saved(tmp_path)
    page = diagnosis_html.page(diagnosed(tmp_path))
    assert "Rates of fewer than 10 failures are not drawn" in page
    assert "Failures over time, per day" in page and "By weekday" not in page


@pytest.mark.usefixtures("undrawn")
def test_one_picture_is_not_shown_twice(fortnight: Diagnosis) -> None:
    """Where a cause's evidence is a rate, it stands with the cause."""
    first, *rest = fortnight.examination.findings
    findings = (replace(first, hypothesis="large-request"), *rest)
    told = replace(fortnight.examination, findings=findings)
    page = diagnosis_html.page(replace(fortnight, examination=told, advice=()))
    assert page.count(">By the true size of the prompt</h") == 1


def test_a_long_time_is_counted_by_weeks_and_its_gaps_are_said(tmp_path: Path) -> None:
    """Columns stay as wide as a finger, and what the client may have deleted is no trend."""
    for day in range(0, 330, 6):
        pen = Pen(f"{day:08x}-0000-4000-8000-000000000000", at_ms=MORNING_MS + day * DAY_MS)
        pen.asks().after(9).answers(f"a{day}").after(9).fails(1).after(3).answers(f"b{day}").saved(tmp_path)
    figure = pictures_when.timeline(diagnosed(tmp_path))
    assert figure is not None and figure.title == "Failures over time, per week"
    assert ("unwatched", "not all on record") in figure.key and "no trend" in figure.says
    assert sum(int(row[1]) for row in figure.rows) == 55 and len(figure.rows) <= pictures_when.MOST_COLUMNS


def test_a_long_table_says_how_much_of_it_is_elsewhere() -> None:
    """No row is left out in silence."""
    lines = [["day", "errors"], *([f"{number}", "1"] for number in range(diagnosis_html.MOST_ROWS + 7))]
    made = diagnosis_html.table("Per day", lines, False)
    assert (len(made.rows), made.left_out) == (diagnosis_html.MOST_ROWS, 7)
    assert diagnosis_html.table("Per day", lines[:3], True).left_out == 0


def test_numbers_stand_below_each_other_and_versions_do_not() -> None:
    """A column of numbers is read from its right end, a version from its beginning."""
    lines = [
        ["version", "per 1,000", "may well be"],
        ["2.1.104", "12.5", "9.1 to 16.0"],
        ["2.1.87", "-", "-"],
    ]
    assert diagnosis_html.table("", lines, False).numbers == [False, True, True]


def test_thousands_of_failures_are_thinned_and_that_is_said(fortnight: Diagnosis) -> None:
    """A page stays light; no dot is left out in silence."""
    [first, *_] = fortnight.case.failures
    many = [replace(first, id=f"f{number}", at_ms=first.at_ms + number * 60_000) for number in range(5_000)]
    figure = pictures_when.calendar(replace(fortnight, case=Case(many)), {"f1", "f2"}, outages=False)
    assert figure is not None
    picture = svg(figure)
    assert len(said(picture, "circle", "c1")) == 2
    assert len(said(picture, "circle", "rest")) <= pictures_when.MOST_DOTS
    assert figure.says.endswith("One in 1 of this cause is drawn, and one in 5 of the others.")


def test_prior_hypotheses_are_on_the_page(fortnight: Diagnosis) -> None:
    """Each of the report's by its number, with its verdict, what speaks for and against it, and what settles it."""
    made = diagnosis_html.page(fortnight)
    for key in ("H1", "H5", "H8a", "H8g"):
        assert f"report&#39;s {key}: " in made or f"report's {key}: " in made
    assert "cannot be told here" in made and "holdfast probe connect: both families" in made
