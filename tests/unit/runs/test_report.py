from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.pictures.drawing import region_color
from fo1agent.regions.masks import Mask
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs import report

PICTURE = Image.new("RGB", (640, 400), "gray")
ATTACK = '<script>alert("1")</script><img src=x onerror=alert(2)>'


@dataclass
class Record:
    tool: str
    asked: str
    gave: str
    regions: Regions = field(default_factory=Regions.empty)
    error: str = ""
    seconds: float = 0.25


@dataclass
class Found:
    question: str = "How many people?"
    text: str = "2 people."
    abstained: bool = False
    evidence: Regions = field(default_factory=Regions.empty)
    candidates: Regions = field(default_factory=Regions.empty)
    trace: tuple[Any, ...] = ()
    seconds: float = 0.5
    points: dict[str, tuple[float, float]] = field(default_factory=dict)


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._quiet = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def regions(*names: str, label: str = "person") -> Regions:
    return Regions.from_list(
        [Region(f"img_00000000/{name}", (10.0 * k, 10, 10 * k + 50, 90), 0.9, label) for k, name in enumerate(names)]
    )


@pytest.fixture
def answer() -> Found:
    people = regions("r1", "r2")
    return Found(
        evidence=people,
        candidates=regions("r5", label="dog"),
        trace=(
            Record("find", "“person”", "r1 0.90  r2 0.90", people),
            Record("count", "", "2", regions("r1", "r2", "r8")),
        ),
    )


def test_the_page_shows_question_answer_steps_and_regions(answer: Found) -> None:
    page = Page(report.html(answer, PICTURE))
    for piece in ("How many people?", "2 people.", "“person”", "0.25 s", "Evidence", "Also looked at", "dog", "0.90"):
        assert piece in page.text
    assert [g["data-region"] for g in page.named("g")] != []
    assert {g["data-region"]: g["class"] for g in page.named("g")} == {
        "img_00000000/r1": "evidence",
        "img_00000000/r2": "evidence",
        "img_00000000/r5": "candidate",
        "img_00000000/r8": "hidden",
    }
    rows = [row["data-regions"] for row in page.named("li")]
    assert rows[0] == "img_00000000/r1 img_00000000/r2"


def test_what_could_not_be_judged_is_shown_with_its_bounds(answer: Found) -> None:
    assert "Not judged" not in Page(report.html(answer, PICTURE)).text
    bounds = {"at_least": 0, "at_most": 2}
    answer.not_judged, answer.bounds = ("sleepy", "on a <b>bench</b>"), bounds  # pyright: ignore
    people = regions("r1", "r2")
    answer.trace = (Record("find", "“sleepy people”", "r1 0.90  r2 0.90  not judged: sleepy", people), *answer.trace)
    page = Page(report.html(answer, PICTURE))
    assert "Not judged: “sleepy”, “on a <b>bench</b>” · 0 to 2" in page.text
    assert page.named("b") == []
    assert "not judged: sleepy" in page.text
    assert "r1 0.90  r2 0.90" not in page.text, "the chips say it"
    answer.bounds = [None, bounds, {"at_least": 1, "at_most": None}]  # pyright: ignore
    assert "· 0 to 2 · 1 or more" in Page(report.html(answer, PICTURE)).text


def test_the_page_needs_no_other_file(answer: Found) -> None:
    page = Page(report.html(answer, PICTURE))
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    (picture,) = page.named("img")
    assert base64.b64decode((picture["src"] or "").partition(",")[2])[:2] == b"\xff\xd8"  # a JPEG


def test_text_from_anywhere_is_shown_and_never_run(answer: Found) -> None:
    hostile = Found(
        question=ATTACK,
        text=ATTACK,
        evidence=regions("r1", label=ATTACK),
        candidates=regions('b1"><script>', label='" onmouseover="alert(3)'),
        trace=(Record(ATTACK, ATTACK, ATTACK, regions("r1", label=ATTACK), error=ATTACK),),
    )
    rendered = report.html(hostile, PICTURE, title="</title>" + ATTACK)
    page = Page(rendered)
    assert len(page.named("script")) == 1
    assert len(page.named("img")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert ATTACK in page.text


def test_only_our_own_script_may_run(answer: Found) -> None:
    rendered = report.html(answer, PICTURE)
    (policy,) = [m["content"] for m in Page(rendered).named("meta") if "http-equiv" in m]
    assert policy is not None
    assert re.search(r"default-src 'none'; .*script-src 'sha256-[\w+/]{43}='", policy)
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_an_abstention_without_regions_or_steps_is_a_page_too() -> None:
    page = Page(report.html(Found(text="I can't tell.", abstained=True), PICTURE))
    assert "I can't tell." in page.text
    assert "Steps" not in page.text
    assert any("abstained" in (p.get("class") or "") for p in page.named("p"))


def test_a_step_shows_how_likely_it_found_a_region_itself(answer: Found) -> None:
    doubtful = Regions.from_list([Region("img_00000000/r1", (10, 10, 60, 90), 0.31, "child")])
    step = Record("find", "“child”", "r1 0.31", doubtful)
    page = Page(report.html(Found(evidence=answer.evidence, trace=(step,)), PICTURE))
    assert "r1 0.31" in page.text
    assert "r1 0.90" not in page.text.replace("r1 person .90", "")


def test_a_large_picture_is_made_smaller() -> None:
    big = Image.effect_noise((4000, 3000), 50)
    rendered = report.html(Found(), big)
    assert len(rendered) < 4_000_000
    assert 'viewBox="0 0 4000 3000"' in rendered
    assert big.size == (4000, 3000)


def test_the_mask_of_evidence_is_drawn_as_its_outline() -> None:
    pixels = np.zeros((400, 640), dtype=bool)
    pixels[100:200, 50:150] = True
    masked = Region("img_0/r0", (40.0, 90.0, 160.0, 210.0), 0.9, "dog", mask=Mask.of(pixels))
    page = report.html(Found(evidence=Regions.from_list([masked])), PICTURE)
    (path,) = [attributes for tag, attributes in Page(page).tags if tag == "path" and attributes.get("class") == "mask"]
    corners = {tuple(map(float, one.split())) for one in (path["d"] or "").strip("MZ").split("L")}
    assert corners == {(50, 100), (150, 100), (150, 200), (50, 200)}


def test_a_point_is_a_dot_on_its_region() -> None:
    found = regions("r1", "r2")
    pointed = Found(evidence=found, trace=(Record("point", "r1 r2", "(20, 30) and (35, 40)", found),))
    pointed.points = dict(zip(found.ids, [(20.5, 30.0), (35.0, 40.0)], strict=True))
    page = Page(report.html(pointed, PICTURE))
    dots = [(one["cx"], one["cy"], one["fill"]) for one in page.named("circle")]
    assert {(x, y) for x, y, _ in dots} == {("20.5", "30.0"), ("35.0", "40.0")}
    assert len(dots) == 6, "a dark ring, a white one, and the colour"
    assert {fill for *_, fill in dots} == {"#111", "#fff", region_color("r1"), region_color("r2")}
