"""A specification drawn: Vega-Lite rendered to SVG without a browser or a network, then let through a sieve.

The renderer is vl-convert (Vega and Vega-Lite in one wheel). What it writes is not trusted with the page: only shapes and
words pass, only attributes that place and colour them, only values of the forms below. What a shape says of itself
becomes its `<title>`, so it is shown when pointed at; colours stay names of the page's style sheet, and letters
stay letters, in the page's own font. Nothing that passes can load, link, run or style.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

from holdfast.flight.redact import clean
from holdfast.report.plots import Spec

LANGUAGE = "6.4"
"Version of Vega-Lite, of those that the renderer brings along: the same picture after an update of the renderer."
LONGEST = 160
"Letters of one text in a picture."

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?"
_VALUES = {
    "d": re.compile(r"[MLHVCSQTAZmlhvcsqtaz0-9eE+.,\s-]+"),
    "transform": re.compile(r"(?:(?:translate|rotate|scale)\([-0-9.e, ]+\)\s*)+"),
    "fill": (PAINT := re.compile(r"var\(--[a-z0-9]+\)|none|transparent|currentColor|#[0-9a-fA-F]{3,8}")),
    "stroke": PAINT,
    "text-anchor": re.compile(r"start|middle|end"),
    "font-weight": re.compile(r"bold|normal"),
    "font-size": re.compile(rf"{_NUMBER}px"),
    "stroke-dasharray": re.compile(rf"{_NUMBER}(?:[, ]{_NUMBER})*"),
} | dict.fromkeys(
    ("x", "y", "x1", "y1", "x2", "y2", "dy", "cx", "cy", "r", "width", "height", "opacity", "fill-opacity",
     "stroke-opacity", "stroke-width"),
    re.compile(_NUMBER),
)  # fmt: skip
"The attributes that pass, and what their values may be. All others stay behind."
_OF_STROKES = {"stroke", "stroke-width", "stroke-dasharray", "stroke-opacity"}
_SHAPES = frozenset({"path", "line", "rect", "circle"})
_AS_IT_IS = {("opacity", "1"), ("stroke-width", "1"), ("font-size", "12px"), ("text-anchor", "start"),
             ("font-weight", "normal"), ("x2", "0"), ("y2", "0"), ("x", "0"), ("y", "0")}  # fmt: skip
"Values that say what holds anyway."
_CIRCLE = re.compile(r"M(?P<r>[\d.]+),0A(?P=r),(?P=r),0,1,1,-(?P=r),0A(?P=r),(?P=r),0,1,1,(?P=r),0")
_MOVED = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")
_BARE = re.compile(r'<path d="(?P<d>M[^"]*Z)"(?P<look>(?: (?:fill|opacity)="[^"]*")*)/>')
_LONG = re.compile(r"-?\d+\.\d\d+(?:e-?\d+)?")


def svg(spec: Spec, kind: str, name: str, title: str, says: str, *, pointed: bool = True) -> str:
    """The picture as one `<svg class=kind>`; `name` is a word that no other picture in the page has.

    Where nothing can be `pointed` at, as on a phone, shapes do not say what they are: the table does.
    Some 40 ms of work, and a third of a second for the first. Raises ImportError where the renderer is not installed.
    """
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(
        json.dumps(_printable(spec)), vl_version=LANGUAGE, allowed_base_urls=[], show_warnings=False
    )
    return sieved(drawn, kind, name, title, says, pointed=pointed)


def _printable(value: Any) -> Any:
    """The same, with no text that holds control characters: they have no place in XML, nor on a page."""
    if isinstance(value, str):
        return clean(value, limit=None if value.startswith("http") else 400)
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value


def sieved(drawn: str, kind: str, name: str, title: str, says: str, *, pointed: bool = True) -> str:
    """What may pass of an SVG, as a figure of the page. Raises ValueError for what is no SVG."""
    if "<!" in drawn or "<?" in drawn:
        raise ValueError("a picture has no declarations")
    try:
        root = ElementTree.fromstring(drawn)
    except ElementTree.ParseError as error:
        raise ValueError(f"no SVG: {error}") from None
    box = root.get("viewBox", "")
    if _local(root.tag) != "svg" or not re.fullmatch(rf"{_NUMBER}(?: {_NUMBER}){{3}}", box):
        raise ValueError("no SVG with a view box")
    inside = "".join(_passed(child, pointed) for child in root)
    return (
        f'<svg class="{_escaped(kind)}" viewBox="{_rounded(box)}" role="img" '
        f'aria-labelledby="{name}-t" aria-describedby="{name}-d">'
        f'<title id="{name}-t">{_escaped(clean(title, limit=LONGEST))}</title>'
        f'<desc id="{name}-d">{_escaped(clean(says, limit=2000))}</desc>{inside}</svg>'
    )


def _passed(element: ElementTree.Element, pointed: bool) -> str:
    name = _local(element.tag)
    if name == "g":
        inside = "".join(_joined(_passed(child, pointed) for child in element))
        own = _attributes(element, {"transform", "opacity", "fill"})
        return (f"<g{own}>{inside}</g>" if own else inside) if inside else ""
    if name in ("text", "tspan"):
        words = _escaped(clean(element.text or "", limit=LONGEST))
        words += "".join(_passed(child, pointed) for child in element if _local(child.tag) == "tspan")
        if not words:
            return ""
        own = _attributes(element, set(_VALUES))
        told = _titled(element) if pointed else ""
        return f"<{name}{own}>{told}{words}</{name}>"
    if name in _SHAPES and element.get("display") != "none" and _shows(element):
        round_ = _circle(element) if name == "path" else None
        if round_ is not None:
            name, element = "circle", round_
        allowed = set(_VALUES) if element.get("stroke", "none") != "none" else set(_VALUES) - _OF_STROKES
        own = _attributes(element, allowed)
        told = _titled(element) if pointed else ""
        return f"<{name}{own}>{told}</{name}>" if told else f"<{name}{own}/>"
    return ""


def _joined(shapes: Iterable[str]) -> Iterator[str]:
    """Neighbours that look the same and say nothing are one path: a year has hundreds of outages."""
    for look, same in groupby(
        shapes, lambda shape: found["look"] if (found := _BARE.fullmatch(shape)) else None
    ):
        if look is None:
            yield from same
        else:
            ways = "".join(found["d"] for shape in same if (found := _BARE.fullmatch(shape)))
            yield f'<path d="{ways}"{look}/>'


def _shows(element: ElementTree.Element) -> bool:
    painted = {element.get("fill", "none"), element.get("stroke", "none")} - {"none", "transparent"}
    return bool(painted) and element.get("d", "M") != "" and element.get("opacity") != "0"


def _circle(element: ElementTree.Element) -> ElementTree.Element | None:
    """A path that is a circle, as a circle: a quarter of the letters."""
    shape, place = _CIRCLE.match(element.get("d", "")), _MOVED.fullmatch(element.get("transform", ""))
    if shape is None or place is None:
        return None
    kept = {key: value for key, value in element.items() if key not in ("d", "transform")}
    return ElementTree.Element("circle", kept | {"cx": place[1], "cy": place[2], "r": shape["r"]})


def _titled(element: ElementTree.Element) -> str:
    told = element.get("aria-label")
    return f"<title>{_escaped(clean(told, limit=2 * LONGEST))}</title>" if told else ""


def _attributes(element: ElementTree.Element, allowed: set[str]) -> str:
    told = ""
    for name, value in element.items():
        if name not in allowed or not _VALUES[name].fullmatch(value):
            continue
        value = _rounded(value)
        if (name, value) not in _AS_IT_IS and value != "translate(0,0)":
            told += f' {name}="{value}"'
    return told


def _rounded(value: str) -> str:
    """Numbers to a tenth of a unit."""
    return _LONG.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0").replace("-0.0", "0"), value)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _escaped(text: str) -> str:
    for mark, told in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(mark, told)
    return text
