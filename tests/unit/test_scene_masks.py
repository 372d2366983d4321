"""`Scene.segment` and `Scene.point`: right pixels, once asked for, and what then goes by them."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import InputError, SegmentationError, ToolFailed
from fo1agent.regions.masks import Mask
from fo1agent.regions.regions import Regions
from fo1agent.results import SegmentResult
from fo1agent.scene import Scene
from fo1agent.tools.registry import registry
from fo1agent.tools.telling import as_json, told
from tests.segmenting import BALL, COLORS, DISC, ByColor, drawn, model

coco: Any = importlib.import_module("pycocotools.mask")


@pytest.fixture
def segmenter() -> ByColor:
    return ByColor()


@pytest.fixture
def scene(segmenter: ByColor) -> Scene:
    return model(segmenter).open(drawn())


def _true(name: str) -> np.ndarray:
    return (np.asarray(drawn()) == COLORS[name]).all(axis=2)


@pytest.mark.parametrize("name", COLORS)
def test_a_phrase_is_segmented_to_the_pixels_of_the_thing(scene: Scene, name: str) -> None:
    result = scene.segment(name)
    (mask,) = result.masks
    assert mask.region == result.regions.ids[0]
    assert mask.area == _true(name).sum()
    assert mask.quality == 0.9
    (mine,) = result.regions.masks
    assert mine is not None
    assert (mine.pixels() == _true(name)).all()
    x1, y1, x2, y2 = result.regions[0].box
    assert mask.share == pytest.approx(_true(name).sum() / ((x2 - x1) * (y2 - y1)), abs=1e-3)
    assert result.as_line(list(result.regions)).endswith("of its box")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_json_of_a_mask_is_read_by_pycocotools(scene: Scene) -> None:
    (told_mask,) = scene.segment("frisbee").model_dump(mode="json")["masks"]
    assert (coco.decode(told_mask["rle"]).astype(bool) == _true("frisbee")).all()
    again = SegmentResult.model_validate_json(scene.segment("frisbee").model_dump_json())
    assert (again.masks[0].mask().pixels() == _true("frisbee")).all()


@pytest.mark.parametrize("what", ["r0", ["r0"], DISC, [DISC], list(DISC)])
def test_a_region_is_named_in_every_form(scene: Scene, what: Any) -> None:
    assert scene.segment(what).regions.ids == (f"{scene.id}/r0",)
    assert scene.point(what).regions.ids == (f"{scene.id}/r0",)


def test_several_things_take_one_pass_and_none_is_asked_for_twice(scene: Scene, segmenter: ByColor) -> None:
    assert [mask.region for mask in scene.segment().masks] == [f"{scene.id}/r{k}" for k in range(3)]
    assert segmenter.calls == [3]
    assert len(scene.segment(["frisbee", "r2", scene.regions[0]]).masks) == 2
    assert len(scene.segment(scene.regions).masks) == 3
    assert segmenter.calls == [3]


def test_a_region_has_its_mask_wherever_it_is_met_again(scene: Scene) -> None:
    before = scene.regions[0]
    assert before.mask is None
    scene.segment("r0")
    mask = scene.regions[0].mask
    assert mask is not None
    assert scene.region("r0").mask is scene.ground("frisbee")[0].mask is scene.named().by_id("r0").mask is mask
    assert scene.count("frisbee").regions[0].mask is mask
    assert scene.regions[1].mask is None


def test_a_box_of_ones_own_has_its_mask_by_its_id_too(scene: Scene, segmenter: ByColor) -> None:
    made = scene.segment((100.4, 60.2, 260.6, 150.3)).regions[0]
    assert made.mask is not None
    assert scene.region(made.name).mask is made.mask
    scene.segment(made.name)
    assert segmenter.calls == [1]


def test_relations_colors_and_areas_go_by_masks(scene: Scene) -> None:
    def stands(relation: str) -> int:
        return len(scene.relate("apple", relation, "tie").regions)

    def color() -> str:
        return scene.inspect("r1", "What color is it?").text

    assert (stands("overlaps"), stands("inside")) == (1, 1)
    by_box, box_area = color(), scene.regions[1].area
    scene.segment(["tie", "apple"])
    assert (stands("overlaps"), stands("inside")) == (0, 0)
    assert color() == "blue"
    assert by_box != "blue"
    assert scene.regions[1].area == _true("tie").sum() < box_area / 8


def test_nothing_found_and_a_word_that_is_not_known_are_no_masks(scene: Scene, segmenter: ByColor) -> None:
    nothing = scene.segment("zebra")
    assert (len(nothing.regions), nothing.masks, nothing.note) == (0, (), "")
    unknown = scene.segment("ostrich egg cup")
    assert unknown.masks == ()
    assert unknown.note
    assert unknown.not_judged == ("ostrich egg cup",)
    assert segmenter.calls == []


def test_a_region_without_a_mask_is_told_as_such_and_keeps_its_box() -> None:
    scene = model(lambda image, boxes: [None] * len(boxes)).open(drawn())
    result = scene.segment("frisbee")
    assert (len(result.regions), result.masks) == (1, ())
    assert result.note == "The segmenter has no mask for r0."
    assert result.as_line([]) == result.note


def test_without_a_segmenter_it_is_said_how_to_have_one() -> None:
    scene = replace(model(), segmenter=None).open(drawn())
    assert not scene.segments
    with pytest.raises(ToolFailed, match=r"a box is no mask.*--segmenter sam2.1-tiny"):
        scene.segment("frisbee")
    outcome = registry()["segment"].call(scene, {"phrase": "frisbee"})
    assert not outcome.ok
    assert not outcome.retry
    assert scene.point("frisbee").points[0].by == "middle"


def test_a_segmenter_that_fails_is_a_failed_tool() -> None:
    scene = model(lambda image, boxes: 7).open(drawn())
    with pytest.raises(SegmentationError, match="holds no masks"):
        scene.segment("frisbee")
    assert "holds no masks" in registry()["segment"].call(scene, {}).error


def test_a_language_model_is_told_polygons_and_areas_but_no_runs(scene: Scene) -> None:
    outcome = registry()["segment"].call(scene, {"phrase": "frisbee"})
    text, _ = told(outcome)
    assert '"polygons"' in text
    assert '"rle"' not in text
    assert as_json(outcome.result)["masks"][0]["rle"]["size"] == [200, 400]


@pytest.mark.parametrize("tool", ["segment", "point"])
def test_tools_take_a_phrase_or_regions(scene: Scene, tool: str) -> None:
    run = registry()[tool].call
    assert run(scene, {"regions": ["r2", list(DISC)]}).result.regions.ids == (f"{scene.id}/r2", f"{scene.id}/r0")
    assert len(run(scene, {}).result.regions) == 3
    both = run(scene, {"phrase": "tie", "regions": ["r0"]})
    assert (both.error, both.retry) == ("Pass phrase or regions, not both.", True)


def test_the_point_of_a_masked_thing_lies_in_it_and_is_told_three_times(scene: Scene) -> None:
    scene.segment()
    for name in COLORS:
        (point,) = scene.point(name).points
        assert point.by == "mask"
        assert _true(name)[int(point.y), int(point.x)]
    (point,) = scene.point("frisbee").points
    assert (point.x, point.y) == pytest.approx((80, 80), abs=1.5)
    assert point.share == pytest.approx((0.2, 0.4), abs=0.01)
    assert point.thousandths == pytest.approx((200, 400), abs=8)


def test_with_a_segmenter_a_thing_is_segmented_before_it_is_pointed_at(scene: Scene, segmenter: ByColor) -> None:
    (point,) = scene.point("tie").points
    assert point.by == "mask"
    assert _true("tie")[int(point.y), int(point.x)]
    told = registry()["point"].call(scene, {"phrase": "tie"}).result
    assert told.points == (point,)
    assert told.regions[0].mask is not None
    assert scene.segment("tie").masks[0].area == _true("tie").sum()
    assert segmenter.calls == [1]
    assert {point.by for point in scene.point().points} == {"mask"}
    assert segmenter.calls == [1, 2]


def test_a_thing_without_a_mask_is_pointed_at_in_the_middle_and_a_failing_segmenter_is_told() -> None:
    bare = model(lambda image, boxes: [None] * len(boxes)).open(drawn())
    assert [point.by for point in bare.point("frisbee").points] == ["middle"]
    failing = model(lambda image, boxes: 7).open(drawn())
    with pytest.raises(SegmentationError, match="holds no masks"):
        failing.point("frisbee")
    assert "holds no masks" in registry()["point"].call(failing, {}).error


@pytest.fixture
def boxed() -> Scene:
    """The picture, of a model without a segmenter."""
    return replace(model(), segmenter=None).open(drawn())


def test_without_a_mask_it_is_the_middle_or_a_point_that_nothing_hides(boxed: Scene) -> None:
    scene = boxed
    middle = scene.point("r1").points[0]
    assert (middle.x, middle.y, middle.by) == (280, 100, "middle")
    # A box whose middle the ball covers.
    x1, y1, x2, y2 = BALL
    free = scene.point((x1 - 20, y1 - 22, x2 + 20, y2 + 22)).points[0]
    assert free.by == "free"
    assert x1 - 20 < free.x < x2 + 20
    assert y1 - 22 < free.y < y2 + 22
    assert not (x1 < free.x < x2 and y1 < free.y < y2)


def test_the_middle_is_taken_where_all_of_a_box_is_covered(boxed: Scene) -> None:
    assert boxed.point((305, 45, 325, 65)).points[0].by == "middle"  # the ball is larger, and not on it


def test_what_is_no_region_is_refused(scene: Scene) -> None:
    for ask in (scene.segment, scene.point):
        with pytest.raises(InputError, match="No region r9"):
            ask("r9")
        assert len(ask("zebra").regions) == 0
        with pytest.raises(InputError, match="holds None, and no phrase, region or box"):
            ask(["r0", None])
        assert ask([]).note == "No phrase, region or box was given."
        assert len(ask(()).regions) == len(ask(Regions.empty()).regions) == 0
    assert scene.point("zebra").as_line([]) == "nothing"


def test_of_several_things_none_is_dropped_unsaid(scene: Scene) -> None:
    for ask in (scene.segment, scene.point):
        found = ask(["r0", "zyzzyva"])
        assert found.regions.ids == (f"{scene.id}/r0",)
        assert found.not_judged == ("zyzzyva",)
        assert found.note == ask("zyzzyva").note != ""


@pytest.mark.parametrize("tool", ["segment", "point"])
def test_the_regions_of_a_tool_are_regions_and_no_phrases(scene: Scene, tool: str) -> None:
    run = registry()[tool]
    for regions, wrong in (("frisbee", "'frisbee'"), (["r0", "frisbee"], "'frisbee'"), ("r0, r1", "'r0, r1'")):
        error = run.call(scene, {"regions": regions}).error
        assert error.startswith(f"{wrong} is no region id, such as r3, nor a box, [x1, y1, x2, y2]. There are r0 to r")
    assert run.call(scene, {"regions": []}).result.note == "No phrase, region or box was given."


def test_the_masks_of_a_part_do_not_come_along_with_its_boxes(scene: Scene) -> None:
    part = scene.zoom("r0")
    found = part.segment((10, 10, 60, 60)).regions
    assert isinstance(found.masks[0], Mask)
    assert part.to_parent(found).masks == (None,)
