"""Laws of scenes, whatever the boxes are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fo1agent.regions.boxes import iou
from fo1agent.scene import REPEATED_IOU, SAME_THING_IOU, Model
from tests.fakes import FakePredictor

PICTURE = Image.new("RGB", (200, 120))
side = st.integers(1, 80)
objects = st.lists(
    st.builds(
        lambda x, y, w, h, name, p: ((x, y, min(200.0, x + w), min(120.0, y + h)), name, p),
        st.integers(0, 190).map(float),
        st.integers(0, 110).map(float),
        side,
        side,
        st.sampled_from(["person", "bus", "car"]),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=12,
)


@given(objects)
def test_grounded_regions_are_sorted_distinct_and_above_the_threshold(known: list) -> None:
    found = Model(FakePredictor(known)).open(PICTURE).ground("person", threshold=0.3)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= 0.3).all()
    overlap = iou(found.boxes, found.boxes)
    # What is likely the same thing keeps so little that this threshold leaves it out.
    assert (overlap[~np.eye(len(found), dtype=bool)] <= SAME_THING_IOU).all()
    doubted = Model(FakePredictor(known)).open(PICTURE).ground("person", threshold=0.0)
    overlap = iou(doubted.boxes, doubted.boxes)
    assert (overlap[~np.eye(len(doubted), dtype=bool)] <= REPEATED_IOU).all()
    assert found.none_score is not None
    assert 0 <= found.none_score <= 1
    assert found.none_score <= 1 - (found.scores.max() if len(found) else 0) + 1e-9


@given(objects)
def test_many_phrases_give_what_each_alone_gives(known: list) -> None:
    scene = Model(FakePredictor(known)).open(PICTURE)
    together = scene.ground_many(["person", "vehicle", "dog"])
    for phrase, found in together.items():
        alone = scene.ground(phrase)
        assert alone.ids == found.ids
        assert alone.none_score == found.none_score


@given(objects)
def test_a_long_id_leads_back_to_its_region_in_a_scene_opened_anew(known: list) -> None:
    model = Model(FakePredictor(known))
    for region in model.open(PICTURE).regions:
        assert model.open(PICTURE).region(region.id).box == region.box


@given(objects, st.floats(0, 0.5))
def test_a_part_and_back_again_keeps_boxes(known: list, margin: float) -> None:
    scene = Model(FakePredictor(known)).open(PICTURE)
    part = scene.zoom(scene.regions[0], margin)
    left, top = part.offset_xy
    assert left <= scene.regions.boxes[0, 0]
    assert top <= scene.regions.boxes[0, 1]
    back = part.to_parent(part.regions)
    np.testing.assert_allclose(back.boxes - [left, top, left, top], part.regions.boxes)
