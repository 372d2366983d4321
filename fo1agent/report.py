"""An answer as one HTML file: question, answer, picture with its regions, steps, evidence. No other file is needed.

Pointing at a step or a region lights up its boxes, and the other way round. All text is escaped, and the page's own
policy lets no script run but ours: text read from a picture, or a question, is shown and never executed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment
from markupsafe import Markup
from PIL import Image

from fo1agent.drawing import Style, place_tags, region_color, text_color
from fo1agent.types import Region, Regions

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONLY_REGIONS = re.compile(r"(?:r\d+(?: \d\.\d+)?\s*)+(?:… \d+ in all)?")
PICTURE_SIDE = 1600  # longer side of the picture in the file, pixels; a larger one is made smaller


class AnswerLike(Protocol):
    """What a report shows; `fo1agent.Answer` is one. Each step has tool, text, error, regions and seconds."""

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
    evidence = {region.id for region in strong}
    faint = [region for region in _distinct(answer.candidates) if region.id not in evidence]
    known = evidence | {region.id for region in faint}
    # What a step came upon on its way is not drawn, but lights up with its step.
    passing = [r for r in _distinct(r for record in answer.trace for r in record.regions) if r.id not in known]

    style = Style.of(image.size, len(strong))
    tags = {tag.region_id: tag for tag in place_tags(strong, faint, 1.0, style, image.size)}
    shown = {
        region.id: _shown(region, kind, tags.get(region.id))
        for kind, regions in (("hidden", passing), ("candidate", faint), ("evidence", strong))
        for region in regions
    }
    script = (files("fo1agent") / "data" / "report" / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        title=title or answer.question,
        question=answer.question,
        text=answer.text,
        abstained=answer.abstained,
        picture=_data_url(image),
        width=image.width,
        height=image.height,
        style=style,
        # Small boxes last: what is drawn later lies on top and can be pointed at.
        regions=sorted(shown.values(), key=lambda region: -region["width"] * region["height"]),
        steps=[_step(record, shown) for record in answer.trace],
        lists=[
            ("Evidence", [shown[region.id] for region in strong]),
            ("Also looked at", [shown[region.id] for region in faint]),
        ],
        footer=f"{image.width} × {image.height} pixels · {answer.seconds:.2f} s · fo1agent",
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
    )


def _template() -> Any:
    source = (files("fo1agent") / "data" / "report" / "report.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, keep_trailing_newline=True).from_string(source)


def _distinct(regions: Iterable[Region]) -> list[Region]:
    return list({region.id: region for region in regions}.values())


def _shown(region: Region, kind: str, tag: Any) -> dict[str, Any]:
    """A region as the template wants it."""
    x1, y1, x2, y2 = region.box
    return {
        "id": region.id,
        "name": region.name if region.name.startswith("r") else "box",
        "label": region.label or "",
        "score": f"{region.score:.2f}",
        "corners": ", ".join(f"{value:.0f}" for value in region.box),
        "kind": kind,
        "tag": tag,
        "x": round(x1, 1),
        "y": round(y1, 1),
        "width": round(x2 - x1, 1),
        "height": round(y2 - y1, 1),
        **_colors(region.name),
    }


def _colors(name: str) -> dict[str, str]:
    color = region_color(name)
    ink = text_color((int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)))
    return {"color": color, "text_color": "#{:02x}{:02x}{:02x}".format(*ink)}


def _step(record: Any, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A finished step as the template wants it. Two blanks in its text part what was asked from what was found."""
    asked, _, found = record.text.partition("  ")
    asked, found = (asked, found) if found else ("", asked)
    if _ONLY_REGIONS.fullmatch(found):
        found = ""  # the chips say it
    regions = _distinct(record.regions)
    return {
        "tool": record.tool,
        "asked": asked,
        "found": found,
        "error": record.error,
        "seconds": f"{record.seconds:.2f} s",
        "regions": [region.id for region in regions],
        "chips": [shown[region.id] for region in regions],
    }


def _data_url(image: Image.Image) -> str:
    picture = image.convert("RGB")
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
