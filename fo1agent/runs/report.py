"""An answer as one HTML file: question, answer, picture with its regions, steps, evidence; or two runs side by side. No
other file is needed.

Pointing at a step or a region lights up its boxes, and the other way round. All text is escaped, and the page's own
policy lets no script run but ours: text read from a picture, or a question, is shown and never executed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup
from PIL import Image

from fo1agent.pictures.drawing import Style, place_tags, region_color, text_color
from fo1agent.regions.regions import Region, Regions

_ONLY_REGIONS = re.compile(r"(?:r\d+(?: \d\.\d+)?\s*)+(?:… \d+ in all)?")
PICTURE_SIDE = 1600  # longer side of the picture in the file, pixels; a larger one is made smaller


class AnswerLike(Protocol):
    """What a report shows; `fo1agent.Answer` is one. Each step has tool, text, error, regions and seconds.

    What could not be judged is shown where there are `not_judged` and `bounds`, and points where there are `points`, as
    an `Answer` has them.
    """

    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def abstained(self) -> bool: ...
    @property
    def evidence(self) -> Regions: ...
    @property
    def candidates(self) -> Regions: ...
    @property
    def trace(self) -> Sequence[Any]: ...
    @property
    def seconds(self) -> float: ...


def html(answer: AnswerLike, image: Image.Image, title: str | None = None) -> str:
    """Render an answer.

    Args:
        answer: what was found out.
        image: the picture that was asked about, upright.
        title: of the page; None for the question.
    """
    strong = _distinct(answer.evidence)
    faint = _distinct(answer.candidates)
    # What a step came upon on its way is not drawn, but lights up with its step.
    passing = _distinct(r for record in answer.trace for r in record.regions)
    shown = _shown_regions(image.size, strong, faint, passing)
    for region, point in getattr(answer, "points", {}).items():
        shown[region]["point"] = point
    script = (files("fo1agent") / "data" / "report" / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _render(
        "report.html",
        title=title or answer.question,
        question=answer.question,
        text=answer.text,
        abstained=answer.abstained,
        open=_open(answer),
        view=_view(image.size, image, shown),
        steps=[_step(record, shown) for record in answer.trace],
        lists=[
            ("Evidence", [shown[region.id] for region in strong]),
            ("Also looked at", [shown[region.id] for region in faint if shown[region.id]["kind"] == "candidate"]),
        ],
        footer=f"{image.width} × {image.height} pixels · {answer.seconds:.2f} s · fo1agent",
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
    )


@dataclass(frozen=True)
class Side:
    """One of two runs, for `side_by_side`.

    Attributes:
        name: what the run is called.
        answer: what it found out.
        size: (width, height) of its picture, pixels.
        image: the picture, upright; None if it is not at hand.
        marked: names of the regions that the other run sees differently.
        costs: what it took: label → value, in words.
    """

    name: str
    answer: AnswerLike
    size: tuple[int, int]
    image: Image.Image | None
    marked: frozenset[str]
    costs: dict[str, str]


def side_by_side(
    a: Side,
    b: Side,
    *,
    title: str,
    verdict: str,
    same: bool,
    steps: Sequence[tuple[Any, Any, Sequence[Any]]],
    plan: Sequence[Any],
    answer: Sequence[Any],
    settings: Sequence[Any],
    notes: Sequence[str],
) -> str:
    """Render two runs beside each other, with what differs marked. The page holds no script.

    Args:
        a: the first run.
        b: the second.
        title: of the page: what was asked.
        verdict: in a sentence, whether they are the same.
        same: whether they are.
        steps: (step of `a` or None, step of `b` or None, their differences), in order. A difference has `what`, `a`
            and `b`, all three texts.
        plan: how the plans differ.
        answer: how the answers differ.
        settings: what they ran with that differs.
        notes: sentences about what could not be compared.
    """
    first, second = _side_regions(a), _side_regions(b)
    return _render(
        "compare.html",
        title=title,
        verdict=verdict,
        same=same,
        a=_side(a, first),
        b=_side(b, second),
        any_marked=bool(a.marked or b.marked),
        steps=[
            {
                "a": one and _step(one, first),
                "b": other and _step(other, second),
                "differences": differences,
            }
            for one, other, differences in steps
        ],
        plan=plan,
        answer=answer,
        settings=settings,
        notes=notes,
        costs=[
            (label, a.costs.get(label, ""), b.costs.get(label, "")) for label in dict.fromkeys((*a.costs, *b.costs))
        ],
        footer="fo1agent",
    )


def _side(side: Side, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": side.name,
        "text": side.answer.text,
        "abstained": side.answer.abstained,
        "open": _open(side.answer),
        "view": _view(side.size, side.image, shown),
    }


def _side_regions(side: Side) -> dict[str, dict[str, Any]]:
    """The regions of a run: evidence and what differs drawn strong, all else faint."""
    met = _distinct([*side.answer.candidates, *(r for record in side.answer.trace for r in record.regions)])
    marked = [region for region in met if region.name in side.marked]
    shown = _shown_regions(side.size, _distinct([*side.answer.evidence, *marked]), met)
    for region in shown.values():
        if region["name"] in side.marked:
            region["kind"] += " differs"
    return shown


def _open(answer: AnswerLike) -> str:
    """What could not be judged, and what is known of the numbers that hang on it: "Not judged: “dead” · 0 to 1"."""
    words = getattr(answer, "not_judged", ())
    bounds = getattr(answer, "bounds", None)
    known = [one for one in (bounds if isinstance(bounds, list) else [bounds]) if one]
    if not words:
        return ""
    return " · ".join([f"Not judged: {', '.join(f'“{word}”' for word in words)}", *map(_range, known)])


def _range(bounds: dict[str, Any]) -> str:
    least, most = bounds["at_least"] or 0, bounds["at_most"]
    return f"{least:g} or more" if most is None else f"{least:g} to {most:g}"


def _render(template: str, **fields: Any) -> str:
    folder = files("fo1agent") / "data" / "report"
    loader = FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    environment = Environment(autoescape=True, keep_trailing_newline=True, loader=loader)
    page = environment.get_template(template).render(**fields)
    return page.encode("utf-8", "backslashreplace").decode("utf-8")  # halves of characters, of a name that is no UTF-8


def _view(size: tuple[int, int], image: Image.Image | None, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A picture with its regions, as the templates want it."""
    return {
        "picture": None if image is None else _data_url(image),
        "width": size[0],
        "height": size[1],
        "style": Style.of(size, sum("evidence" in region["kind"] for region in shown.values())),
        # Small boxes last: what is drawn later lies on top and can be pointed at.
        "regions": sorted(shown.values(), key=lambda region: -region["width"] * region["height"]),
    }


def _shown_regions(
    size: tuple[int, int], strong: list[Region], faint: list[Region], passing: Sequence[Region] = ()
) -> dict[str, dict[str, Any]]:
    """Id → region as the templates want it; one that stands in several lists is what the first of them makes it."""
    evidence = {region.id for region in strong}
    faint = [region for region in faint if region.id not in evidence]
    known = evidence | {region.id for region in faint}
    passing = [region for region in passing if region.id not in known]
    style = Style.of(size, len(strong))
    tags = {tag.region_id: tag for tag in place_tags(strong, faint, 1.0, style, size)}
    return {
        region.id: _shown(region, kind, tags.get(region.id))
        for kind, regions in (("hidden", passing), ("candidate", faint), ("evidence", strong))
        for region in regions
    }


def _distinct(regions: Iterable[Region]) -> list[Region]:
    return list({region.id: region for region in regions}.values())


def _path(polygons: Sequence[Sequence[float]]) -> str:
    """The outlines as the `d` of an SVG path."""
    corners = ([f"{x:g} {y:g}" for x, y in zip(one[::2], one[1::2], strict=True)] for one in polygons)
    return " ".join(f"M{'L'.join(one)}Z" for one in corners)


def _shown(region: Region, kind: str, tag: Any) -> dict[str, Any]:
    """A region as the template wants it."""
    x1, y1, x2, y2 = region.box
    return {
        "id": region.id,
        "name": "box" if region.index is None else region.name,
        "label": region.label or "",
        "score": f"{region.score:.2f}",
        "corners": ", ".join(f"{value:.0f}" for value in region.box),
        "kind": kind,
        "tag": tag,
        "x": round(x1, 1),
        "y": round(y1, 1),
        "outline": "" if region.mask is None else _path(region.mask.polygons()),
        "width": round(x2 - x1, 1),
        "height": round(y2 - y1, 1),
        **_colors(region.name),
    }


def _colors(name: str) -> dict[str, str]:
    color = region_color(name)
    ink = text_color((int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)))
    return {"color": color, "text_color": "#{:02x}{:02x}{:02x}".format(*ink)}


def _step(record: Any, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A finished step as the template wants it."""
    found, _, not_judged = record.gave.partition("  not judged: ")
    if _ONLY_REGIONS.fullmatch(found):
        found = ""  # the chips say it
    if not_judged:
        found = f"{found}  not judged: {not_judged}".strip()
    regions = _distinct(record.regions)
    return {
        "tool": record.tool,
        "asked": record.asked,
        "found": found,
        "error": record.error,
        "seconds": f"{record.seconds:.2f} s",
        "regions": [region.id for region in regions],
        # As likely as this step found it; another step may have looked for something else in the same place.
        "chips": [{**shown[region.id], "score": f"{region.score:.2f}"} for region in regions],
    }


def _data_url(image: Image.Image) -> str:
    picture = image.convert("RGB")
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
