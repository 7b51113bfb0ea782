"""The same incident as text, Markdown, an issue and a page: complete, safe to open, safe to paste."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.flight.flights import Line
from holdfast.flight.record import TurnRecord
from holdfast.report import html, markdown, text
from holdfast.report.breaks import breaks, quiets
from holdfast.report.incident import Incident, examine
from holdfast.report.issue import LONGEST, issue
from holdfast.report.timeline import draw
from tests.flight.telling import end, short_turn, tell
from tests.report.turns import began, cancelled, frozen, outage, refused, reset_and_healed, stored

STORIES = (frozen, reset_and_healed, refused, outage, cancelled)


def incident(record: TurnRecord | None = None) -> Incident:
    """The freeze, or another."""
    return examine(stored(record or frozen()), made_by="holdfast 9.9")


class Tags(HTMLParser):
    """Every tag, with its attributes; fails on a tag that is not closed."""

    VOID = frozenset(("meta", "link", "br", "line", "rect"))

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> Tags:
    """The page, read."""
    found = Tags()
    found.feed(page)
    assert not found.open
    return found


# ----- the page


@pytest.mark.parametrize("story", STORIES)
def test_the_page_fetches_nothing_and_runs_nothing(story: object) -> None:
    """No script, no link, no image, no style but its own, which its policy names by hash."""
    assert callable(story)
    page = html.page(incident(story()), public=False)
    found = tags(page)
    assert not {tag for tag, _ in found.seen} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "form",
        "a",
        "use",
    }
    assert not any(
        name.startswith("on") or name in ("style", "src", "href") for _, attrs in found.seen for name in attrs
    )
    policy = next(
        attrs["content"] for tag, attrs in found.seen if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None and policy is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "url(" not in style[1] and "@import" not in style[1]


def test_what_is_private_says_so_and_what_is_public_too() -> None:
    """Nobody sends on what was meant for one reader."""
    assert "Private: it names sessions" in html.page(incident(), public=False)
    assert "De-identified" in html.page(incident(), public=True)


def test_hostile_text_stays_text_in_the_page() -> None:
    """A model's name with a tag in it opens no tag."""
    record = frozen()
    record.model = "<script>alert(1)</script>\x1b[2J\u202e"
    record.upstream = '"><img src=x onerror=alert(1)>'
    page = html.page(replace(incident(record), lines=(Line(0, "x", "</style><script>"),)), public=False)
    found = tags(page)
    assert not {tag for tag, _ in found.seen} & {"script", "img"}
    assert "\x1b" not in page and "\u202e" not in page


@pytest.mark.parametrize("story", STORIES)
def test_the_pictures_are_drawn_within_their_frames(story: object) -> None:
    """At both widths every box and every word begins and ends inside; a silence has its own colour."""
    assert callable(story)
    picture = draw(story())
    for width in (html.WIDE, html.NARROW):
        drawn = html.drawing(picture, width)
        for row in drawn.rows:
            assert all(
                box.x >= 0 and box.x + box.width <= width and box.y < drawn.height for box in row.boxes
            )
            assert all(0 <= line.x <= width for line in row.lines)
        xs = [x for x, _, _ in drawn.ticks]
        assert xs == sorted(xs) and len(xs) >= 2
    for svg in re.findall(r"<svg.*?</svg>", html.page(incident(story()), public=False), re.S):
        ElementTree.fromstring(svg)


def test_the_picture_shows_the_silence_and_who_left() -> None:
    """One sees at once: upstream was silent, the first connection broke, the second took over."""
    picture = draw(frozen())
    assert [lane.name for lane in picture.lanes] == ["client 1", "client 2", "attempt 1"]
    first, second, attempt = picture.lanes
    assert first.marks[-1].label == "C.rst.tool (gave up)" and second.spans[0].from_s == pytest.approx(302.5)
    silent = [span for span in attempt.spans if span.kind == "silent"]
    assert [(round(span.from_s), round(span.to_s)) for span in silent] == [(2, 402)]


def test_keepalives_have_a_lane_of_their_own() -> None:
    """What held the client is seen between the client and the silence."""
    record = tell(began(), (12.0, m.QuietNoticed("tool", "Write")), (308.0, m.QuietEnded(306.0, 29)))
    record.keepalives = 29
    picture = draw(end(record, 320))
    lane = next(one for one in picture.lanes if one.name == "gateway")
    assert len(lane.marks) == 29 and lane.spans[0].label == "29 keepalives"
    assert [(quiet.from_s, quiet.to_s) for quiet in quiets(record)] == [(2.0, 308.0)]


def test_many_attempts_are_not_all_drawn() -> None:
    """A picture of two hundred rows is none."""
    record = began()
    for number in range(2, 40):
        tell(record, (float(number), m.AttemptStarted(number)))
    picture = draw(record)
    assert picture.left_out == 27
    assert "27 more attempts are not drawn" in html.page(replace(incident(), picture=picture), public=False)


# ----- Markdown


HOSTILE = (
    "@alice #12 GH-7 <b>x</b> [a](http://b.example) `code` | cell | _x_ *y* ~~z~~ &lt; owner/repo#3 \x1b[2J"
)


def test_no_mention_link_tag_or_cell_can_be_made_by_what_came_from_elsewhere() -> None:
    """GitHub would tell alice, link issue 12 and break the table."""
    told = markdown.words(HOSTILE)
    assert not re.search(r"(?<!\\)[<>|`\[\]*_~]", told)
    assert not re.search(r"[@#]\w|GH-\d", told) and "://" not in told and "\x1b" not in told


def test_a_code_span_cannot_be_left() -> None:
    """The fence is longer than any run of backticks in it, and a pipe does not end the cell."""
    assert markdown.code("a`b``c") == "```a`b``c```"
    assert (
        markdown.code("`x") == "`` `x ``" and markdown.code("a|b") == "`a\\|b`" and markdown.code(" ") == ""
    )
    fenced = markdown.block(["```", "````"])
    assert fenced[0] == "`````text" and fenced[-1] == "`````"


def test_hostile_text_stays_text_in_the_issue() -> None:
    """In sentences, tables and the timeline."""
    record = frozen()
    record.model = record.upstream = record.profile = HOSTILE
    told = issue(incident(record))
    outside = re.sub(r"^(`{3,}).*?^\1$", "", told, flags=re.S | re.M)
    outside = re.sub(r"(`+).*?\1", "", outside)
    assert not re.search(r"[@#]alice|\w@\w|#12", outside) and "<b>" not in outside


def test_an_issue_is_never_too_long() -> None:
    """Ten thousand moments are shortened in the middle; the claims and ids stay."""
    record = frozen()
    for number in range(10_000):
        tell(record, (2.0 + number / 100, m.BlockOpened(number, "text")))
    told = issue(incident(record))
    assert len(told) < LONGEST and "lines left out" in told
    assert "## What would prove this wrong" in told and "req_011CfrozenTurn" in told


def test_even_an_endless_detail_does_not_make_it_too_long() -> None:
    """Texts are cut before they are shown."""
    record = reset_and_healed()
    for number in range(3, 300):
        tell(record, (90.0, m.NetworkGone("w" * 5000)), (90.0 + number, m.NetworkBack(1.0)))
    assert len(breaks(record)) > 200
    assert len(issue(incident(record))) < LONGEST


# ----- text


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_text_keeps_to_the_width(story: object, width: int) -> None:
    """No line is longer than the terminal, commands excepted."""
    assert callable(story)
    for line in text.render(incident(story()), width):
        assert len(line) <= width or line.startswith("      holdfast ")


def test_a_turn_that_ended_well_is_one_line() -> None:
    """The rest would be guilt without a deed."""
    assert text.render(examine(stored(short_turn())), 80) == [
        "Nothing broke: the turn ended well after 1.80 s."
    ]
    page = html.page(examine(stored(short_turn())), public=False)
    assert "Who closed it" not in page and "What to do now" not in page


def test_every_format_tells_the_same_claims() -> None:
    """One value, four faces."""
    told = incident()
    assert told.closer and told.reason and told.timer and told.loop
    pages = (html.page(told, public=False), issue(told), "\n".join(text.render(told, None)))
    for claim in (told.closer, told.reason, told.timer, told.loop):
        for page in pages:
            plain = page.replace("&#39;", "'").replace("\\", "").replace("\u200b", "")
            assert claim.text in plain and claim.grade.value in plain


def test_a_silence_that_was_never_ended_lasts_to_the_attempts_end() -> None:
    """The client leaves in the midst of it, and upstream says nothing more until it is stopped."""
    stopped = Ending(
        Side.GATEWAY, Mechanism.CANCELLED, Phase.IN_TOOL_USE, "nobody wants it", {"silence_s": 20.0}
    )
    left = Ending(Side.CLIENT, Mechanism.RST, Phase.IN_TOOL_USE, "", {"since_byte_s": 12.0})
    told = tell(
        began(), (14.0, m.ReaderLeft(1, "cancelled", None, None, left)), (22.0, m.AttemptEnded(1, stopped))
    )
    attempt = next(lane for lane in draw(end(told, 22.0, stopped)).lanes if lane.name == "attempt 1")
    assert [(round(one.from_s), round(one.to_s)) for one in attempt.spans if one.kind == "silent"] == [
        (2, 22)
    ]
