"""A model that looks at a large picture by tiles: every tool on regions of tiles, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fo1agent
from fo1agent.agent import Agent
from fo1agent.errors import InputError
from fo1agent.model import tiled as tiling
from fo1agent.model.joined import JoinedPredictor
from fo1agent.model.predictor import Predictor
from fo1agent.model.tiled import TiledEncoding, TiledPredictor
from fo1agent.pictures.image import load_image
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.trust import Trust
from fo1agent.regions.regions import Regions
from fo1agent.regions.tiles import LEAST_SIDE, most_along, side_of
from fo1agent.scene import Model
from tests.tiny_models import nano, reference

CAT = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"
tiled: Any = tiling.tiled  # what it makes has the methods of the model inside
SIZE_WH, PLACES = (1600, 1200), ((60, 70), (860, 170), (330, 660), (1100, 770))


@pytest.fixture(scope="module")
def alone():
    return fo1agent.load()


@pytest.fixture(scope="module")
def picture():
    """Four times the photograph of a cat, of 240 x 153 pixels, on grey: each is a sixth of the picture wide."""
    canvas = Image.new("RGB", SIZE_WH, (120, 120, 120))
    photo = Image.open(CAT).convert("RGB").resize((240, 153))
    for place in PLACES:
        canvas.paste(photo, place)
    return load_image(canvas)


@pytest.fixture(scope="module")
def scene(alone, picture):
    return Model(tiled(alone.predictor, 2)).open(picture)


def where(box) -> Any:
    """The photograph in whose middle a box has its own."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return next((k for k, (left, top) in enumerate(PLACES) if left <= x <= left + 240 and top <= y <= top + 153), None)


def test_things_are_found_where_they_are_each_once(scene) -> None:
    found = scene.count("cat")
    assert (found.value, sorted(map(where, found.regions.boxes.tolist()))) == (4, [0, 1, 2, 3])
    assert scene.count("cat", within=(0, 0, 800, 600)).value == 1


def test_regions_of_the_whole_come_first_as_without_tiles(alone, picture, scene) -> None:
    plain = alone.open(picture)
    assert scene.regions.ids[:100] == plain.regions.ids
    assert np.array_equal(scene.regions.boxes[:100], plain.regions.boxes)
    assert scene.regions.scores[:100] == pytest.approx(plain.regions.scores)


def test_ids_and_scores_are_the_same_when_a_picture_is_opened_anew(picture, scene) -> None:
    again = Model(tiled(fo1agent.load().predictor, 2)).open(picture)
    assert np.array_equal(again.regions.boxes, scene.regions.boxes)
    assert again.ground("cat").ids == scene.ground("cat").ids
    assert again.ground("remote", threshold=0.0).scores == pytest.approx(scene.ground("remote", threshold=0.0).scores)


def test_every_tool_works_on_a_region_of_a_tile(scene) -> None:
    cat = next(region for region in scene.ground("cat") if region.index is not None and region.index >= 100)
    assert scene.describe(cat).label == "cat"
    assert "cat" in scene.describe(cat).text
    assert scene.inspect(cat, "What colour is it?").text
    assert {where(one.box) for one in scene.ground(like=cat)} == {0, 1, 2, 3} - {where(cat.box)}
    assert len(scene.relate("cat", "left_of").regions) == 2
    assert scene.zoom(cat).count("cat").value == 1
    assert scene.read(cat).text == ""
    assert "4 cats" in scene.describe().text
    assert scene.describe_many([cat.id, scene.regions[0]])[0].label == "cat"


def test_a_box_drawn_by_hand_is_read_in_a_tile(scene) -> None:
    x1, y1, x2, y2 = scene.ground("cat")[0].box
    box = (round(x1) - 6, round(y1) - 4, round(x2) + 4, round(y2) + 6)
    drawn = scene.describe(box)
    assert (drawn.regions[0].name, drawn.label) == (f"b{box[0]}_{box[1]}_{box[2]}_{box[3]}", "cat")
    assert drawn.score > 0.3
    alike = scene.ground(like=box, threshold=0.05)  # of a box drawn badly the model is less sure what it shows
    assert {where(one.box) for one in alike} == {0, 1, 2, 3} - {where(box)}


def test_boxes_of_a_caller_keep_their_numbers_and_are_read_in_tiles(alone, picture, scene) -> None:
    cats = [list(region.box) for region in scene.ground("cat")]
    boxes = [cats[0], [10, 10, 1590, 1190], [400, 20, 470, 60], *cats[1:]]
    opened: Any = Model(tiled(alone.predictor, 2)).open(picture, boxes=boxes)
    assert opened.regions.boxes.tolist() == boxes
    assert np.flatnonzero(opened.encoding.where[:, 0] == 0).tolist() == [1]
    assert [opened.regions.labels[k] for k in (0, 3, 4, 5)] == ["cat"] * 4
    assert opened.count("cat").value == 4
    assert len(Model(tiled(alone.predictor, 2)).open(picture, boxes=np.zeros((0, 4))).regions) == 0


def test_a_picture_that_the_model_sees_as_it_is_costs_and_gives_what_it_did(alone) -> None:
    plain = alone.predictor.encode(load_image(CAT))
    assert Model(tiled(alone.predictor, "auto")).open(CAT).encoding is plain


def test_auto_looks_pixel_by_pixel(alone, picture) -> None:
    scene: Any = Model(tiled(alone.predictor, "auto")).open(picture)
    sides = [max(part.tile.box[2] - part.tile.box[0], 0) for part in scene.encoding.parts]
    assert sides[0] == 1600
    assert min(sides) <= 748


def test_progress_is_told_before_and_after_each_tile(alone, picture) -> None:
    told = []
    predictor = TiledPredictor(alone.predictor, 2, on_progress=lambda *done: told.append(done))
    predictor.encode(picture)
    assert told == [(k, 4) for k in range(5)]


def test_the_events_of_a_run_begin_with_the_tiles(alone, picture) -> None:
    agent = Agent(Model(tiled(alone.predictor, 2)))
    told = [event.to_dict() for event in agent.stream(picture, "How many cats are there?")]
    assert told[:5] == [{"type": "opening", "done": k, "count": 4} for k in range(5)]
    assert [one["type"] for one in told[5:]] == ["plan", *["step_start", "step_end"] * 2, "answer"]
    again = agent.stream(agent.model.open(picture), "How many cats are there?")
    assert next(again).type == "plan"  # it is open
    assert agent.ask(picture, "How many cats are there?").value == told[-1]["answer"]["value"] == 4


def test_what_there_is_no_room_for_is_made_anew_for_words_alone(alone, picture, scene) -> None:
    small: Any = fo1agent.load().predictor
    small.cache_bytes = 2 * scene.encoding.parts[0].encoding.nbytes
    passes, encode = [], small.encode
    small.encode = lambda *args: passes.append(1) or encode(*args)
    opened: Any = Model(tiled(small, 2)).open(picture)
    assert opened.encoding.nbytes < 2 * small.cache_bytes
    before = len(passes)
    assert opened.ground("cat").ids == scene.ground("cat").ids
    assert len(passes) == before
    last = [region for region in opened.ground("cat") if region.index is not None][-1]
    assert opened.describe(last).text == scene.describe(last.id).text
    assert len(passes) > before


class Toy:
    """A finder that knows where red is, if it is large enough in what it is shown."""

    name, names, trust = "toy", None, Trust(silent=0.03)

    def find(self, image, phrases):
        red = np.asarray(image.pixels)[..., 0] == 255
        ys, xs = np.nonzero(red)
        box = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if red.mean() > 0.001 else []
        found = to_regions(image, np.array(box).reshape(-1, 4), np.full(len(box), 0.9), [None] * len(box), "toy")
        return [found for _ in phrases]


class Blind:
    """A model that proposes nothing."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode_many(self, images, proposals=None):
        return self.model.encode_many(images, [Regions.empty()] * len(images))


def test_finders_look_at_tiles_too(alone) -> None:
    canvas = Image.new("RGB", SIZE_WH, (120, 120, 120))
    canvas.paste((255, 0, 0), (700, 560, 726, 580))
    model = Model(tiled(JoinedPredictor(alone.predictor, [Toy()]), 6))
    found = model.open(load_image(canvas)).ground("ostrich")
    assert [one.box for one in found if one.score > 0.5] == [pytest.approx((700, 560, 726, 580), abs=4)]
    plain = Model(JoinedPredictor(alone.predictor, [Toy()])).open(load_image(canvas)).ground("ostrich", threshold=0.5)
    assert len(plain) == 0
    assert found.by == ("toy",)
    # Also in tiles in which the model itself sees nothing.
    nothing = Model(tiled(JoinedPredictor(Blind(alone.predictor), [Toy()]), 6)).open(load_image(canvas))
    assert len(nothing.regions) == 0
    assert nothing.ground("ostrich")[0].box == pytest.approx((700, 560, 726, 580), abs=4)


@pytest.mark.parametrize("make", [reference, nano])
def test_models_of_torch_take_tiles(make) -> None:
    predictor = Predictor(*make(), name="tiny", fingerprint="a", cache_bytes=1)
    picture = load_image(np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8))
    boxes = [[10.0, 10, 30, 40], [120, 90, 160, 150], [0, 0, 200, 160]]
    opened: Any = Model(tiled(predictor, 2)).open(picture, boxes=boxes)
    assert isinstance(opened.encoding, TiledEncoding)
    assert len({*opened.encoding.where[:, 0].tolist()}) == 3
    rows = opened.model.predictor.match(opened.encoding, ["a dog", "a cat"])
    assert rows.shape == (2, 3)
    assert opened.model.predictor.recalled(opened.encoding, ["a cat"])[0] == pytest.approx(rows[1])
    assert opened.model.predictor.similar(opened.encoding, 1)[1] == 1.0
    assert isinstance(opened.model.predictor.generate(opened.encoding, "Compare <region0> and <region1>.", 4), str)
    assert isinstance(opened.model.predictor.generate([opened.encoding], "What is <region2>?", 4), str)
    with pytest.raises(InputError, match=r"^The question about 1 pictures speaks of region 0, which only a tile"):
        opened.model.predictor.generate([opened.encoding], "What is <region0>?", 4)


def test_no_tile_is_smaller_than_there_is_anything_to_see(alone) -> None:
    plain = alone.predictor.encode(load_image(np.zeros((3, 3, 3), np.uint8)))
    tiny = Model(tiled(alone.predictor, 64)).open(np.zeros((3, 3, 3), np.uint8))
    assert tiny.encoding is plain
    for long, count in ((1, 1), (112, 2), (111, 1), (500, 10), (5000, 103)):
        assert most_along(long) == count
        assert count == 1 or side_of(long, count) >= LEAST_SIDE > side_of(long, count + 1)


@pytest.mark.parametrize("tiles", [1, 65, 2.5, True, "many", 0])
def test_tiles_are_auto_or_a_whole_number(tiles) -> None:
    with pytest.raises(InputError, match=r'^tiles must be "auto" or a whole number from 2 to 64, got '):
        fo1agent.load(tiles=tiles)
