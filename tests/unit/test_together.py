"""What several ask of a model is computed together, in as few passes as there are questions that depend on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import ImageError, InputError, ToolFailed
from fo1agent.pictures.image import LoadedImage
from fo1agent.plans.language import Plan
from fo1agent.proposals import Given
from fo1agent.regions.regions import Region, Regions
from fo1agent.runs.budget import Budget, Meter
from fo1agent.runs.plan_run import Run
from fo1agent.scene import Album, Model, Scene
from fo1agent.together import Asking, Match, Words, together
from fo1agent.together import alone as by_itself
from tests.fakes import FakePredictor

OBJECTS = [((30.0, 10.0, 60.0, 40.0), "bus", 0.9), ((5.0, 5.0, 20.0, 40.0), "person", 0.8)]
PICTURE, OTHER = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (80, 48), "blue")


class Many(FakePredictor):
    """One that can do several things in one pass; it notes how many."""

    def __init__(self, **known: Any) -> None:
        super().__init__(OBJECTS, **known)
        self.made: list[tuple[str, int]] = []

    def match(self, encoding: Any, phrases: Sequence[str]) -> np.ndarray:
        self.made.append(("match", 1))
        return super().match(encoding, phrases)

    def generate(self, about: Any, text: str, max_new_tokens: int = 256) -> str:
        self.made.append(("generate", 1))
        return super().generate(about, text, max_new_tokens)

    def match_many(self, encodings: Sequence[Any], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.made.append(("match", len(encodings)))
        return [FakePredictor.match(self, *pair) for pair in zip(encodings, phrases, strict=True)]

    def generate_many(self, about: Sequence[Any], texts: Sequence[str], max_new_tokens: int = 256) -> list[str]:
        self.made.append(("generate", len(texts)))
        return [FakePredictor.generate(self, *pair) for pair in zip(about, texts, strict=True)]


@pytest.fixture
def model() -> Many:
    return Many(vocabulary=None, replies={"<region0>": "a big bus", "<region1>": "a person", "<region2>": "a corner"})


@pytest.fixture
def scene(model: Many) -> Scene:
    return Model(model).open(PICTURE)


def test_regions_are_described_in_one_pass_and_in_order(scene: Scene, model: Many) -> None:
    drawn = (1.0, 1.0, 9.0, 9.0)
    described = scene.describe_many(["r1", drawn, scene.regions[0], "r1"])
    assert [one.text for one in described] == ["a person", "a corner", "a big bus", "a person"]
    assert [one.regions[0].box for one in described][1] == drawn
    assert model.made == [("generate", 4)]
    alone = [scene.describe(target) for target in ("r1", drawn, "r0", "r1")]
    assert [one.model_dump_json() for one in described] == [one.model_dump_json() for one in alone]
    assert scene.describe_many([]) == []


def test_questions_about_regions_are_answered_in_one_pass(scene: Scene, model: Many) -> None:
    asked = [("r0", "What is it?"), ("r1", "Who is it?")]
    assert [one.text for one in scene.inspect_many(asked)] == ["a big bus", "a person"]
    assert model.made == [("generate", 2)]
    assert model.asked[0].endswith("Regarding <region0>: What is it?")


def test_one_thing_where_several_are_meant_is_told_of(scene: Scene) -> None:
    for wrong in ("r0", scene.regions[0], None, 7, {"id": "r0"}):
        with pytest.raises(InputError, match="describe_many needs a list of targets, got"):
            scene.describe_many(wrong)  # pyright: ignore[reportArgumentType]
    for wrong in (["r0"], [("r0", 1)], [("r0", "a", "b")]):
        with pytest.raises(InputError, match=r"inspect_many needs \(target, question\) pairs, got"):
            scene.inspect_many(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="open_many needs a list of pictures"):
        scene.model.open_many("street.jpg")


def test_one_that_has_no_result_fails_all_with_its_own_error(scene: Scene) -> None:
    with pytest.raises(InputError, match="No region r9"):
        scene.describe_many(["r0", "r9"])
    with pytest.raises(ToolFailed, match="has no answer to"):
        scene.inspect_many([("r0", "What?"), ((1, 1, 9, 9), "What?"), (None, "Why?")])


def test_an_album_asks_all_its_pictures_in_one_pass(model: Many) -> None:
    model.replies["Briefly describe"] = "<ground>a bus</ground><objects><region0></objects>"
    album = Model(model).open_many([PICTURE, OTHER])
    assert [scene.width for scene in album] == [64, 80]
    assert isinstance(album[1:], Album)
    found = album.ground_many(["bus", "person"])
    assert [[regions.ids for regions in one.values()] for one in found] == [
        [regions.ids for regions in scene.ground_many(["bus", "person"]).values()] for scene in album
    ]
    assert [one.value for one in album.count("bus")] == [1, 1]
    assert [len(one) for one in album.ground("bus", threshold=0.95)] == [0, 0]
    assert model.made == [("match", 2)]
    model.made.clear()
    assert [one.text for one in album.describe()] == [scene.describe().text for scene in album]
    assert model.made[0] == ("generate", 2)
    model.replies["What is it?"] = "a street"
    assert [one.text for one in album.inspect("What is it?")] == ["a street"] * 2


def test_phrases_that_are_there_once_are_all_looked_for(model: Many) -> None:
    album = Model(model).open_many([PICTURE, OTHER])
    phrases = ["bus", "person"]
    expected = [scene.ground_many(phrases) for scene in album]
    assert all(len(one["bus"]) == len(one["person"]) == 1 for one in expected)
    for scene, found in zip(album, expected, strict=True):
        assert {phrase: regions.ids for phrase, regions in scene.ground_many(iter(phrases)).items()} == {
            phrase: regions.ids for phrase, regions in found.items()
        }
    assert [[regions.ids for regions in one.values()] for one in album.ground_many(iter(phrases))] == [
        [regions.ids for regions in one.values()] for one in expected
    ]


def test_an_album_is_segmented_and_pointed_at_as_its_scenes_are(model: Many) -> None:
    asked: list[tuple[int, int]] = []

    def boxes_filled(image: LoadedImage, boxes: np.ndarray) -> np.ndarray:
        asked.append((image.width, len(boxes)))
        masks = np.zeros((len(boxes), *image.size_hw), dtype=bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
            mask[y1:y2, x1:x2] = True
        return masks

    opened = Model(model, segmenter=boxes_filled).open_many
    album, alone = opened([PICTURE, OTHER]), opened([PICTURE, OTHER])
    what = ["bus", "person", (1.0, 1.0, 9.0, 9.0)]
    found, points = album.segment(what), album.point("bus")
    assert model.made == [("match", 2)]
    assert asked == [(64, 3), (80, 3)]
    assert [len(one.masks) for one in found] == [3, 3]
    assert {point.by for one in points for point in one.points} == {"mask"}
    assert [one.model_dump_json() for one in found] == [scene.segment(what).model_dump_json() for scene in alone]
    assert [one.model_dump_json() for one in points] == [scene.point("bus").model_dump_json() for scene in alone]
    model.vocabulary = ("bus", "person")
    assert [len(one.masks) for one in opened([PICTURE, OTHER]).segment()] == [2, 2]


WRONG_ALBUM: list[tuple[Callable[[Album], Any], str]] = [
    (lambda album: album.ground_many(None), "ground_many needs a list of phrases, got None"),  # pyright: ignore[reportArgumentType]
    (lambda album: album.ground_many("bus"), "ground_many needs a list of phrases, got 'bus'"),
    (lambda album: album.ground_many(["bus", ""]), "A phrase must say what to look for"),
    (lambda album: album.count(None), "A phrase must say what to look for.* got None"),  # pyright: ignore[reportArgumentType]
    (lambda album: album.ground(7), "A phrase must say what to look for.* got 7"),  # pyright: ignore[reportArgumentType]
    (lambda album: album.ground("bus", threshold=2), "threshold must be a probability from 0 to 1, got 2"),
    (lambda album: album.ground("bus", limit=0), "limit must be 1 or more"),
    (lambda album: album.ground("b" * 1001), "A phrase may have 1000 characters, got 1001"),
    (lambda album: album.segment(" "), "A phrase must say what to look for"),
    (lambda album: album.point(["bus", ""]), "A phrase must say what to look for"),
    (lambda album: album.inspect(None), "inspect needs a question. Got None"),  # pyright: ignore[reportArgumentType]
    (lambda album: album.inspect(" "), "inspect needs a question"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG_ALBUM)
@pytest.mark.parametrize("pictures", [[], [PICTURE]])
def test_an_album_refuses_what_a_scene_refuses_also_if_it_is_empty(
    model: Many, wrong: Callable[[Album], Any], told: str, pictures: list[Image.Image]
) -> None:
    with pytest.raises(InputError, match=told):
        wrong(Model(model).open_many(pictures))
    assert model.made == []


@pytest.mark.parametrize("wrong", [None, 5, "bus", {"bus": 1}])
def test_phrases_of_a_scene_are_several(scene: Scene, wrong: Any) -> None:
    with pytest.raises(InputError, match="ground_many needs a list of phrases, got "):
        scene.ground_many(wrong)


def test_an_album_of_nothing_has_nothing_and_a_broken_picture_is_named(model: Many) -> None:
    assert Album([]).describe() == []
    with pytest.raises(ImageError, match="absent"):
        Model(model).open_many([PICTURE, "absent.jpg"])


def test_a_proposer_looks_at_the_pictures_of_an_album_together():
    asked: list[list[str]] = []

    class Finder:
        name = "finder"

        def __call__(self, image: LoadedImage) -> Regions:
            return Given([[0, 0, image.width, 10]])(image)

        def propose_many(self, images: Sequence[LoadedImage]) -> list[Regions]:
            asked.append([image.id for image in images])
            return [self(image) for image in images]

    model = Model(FakePredictor(OBJECTS), Finder())
    album = model.open_many([PICTURE, OTHER])
    assert asked == [[scene.id for scene in album]]
    assert [scene.encoding.boxes.tolist() for scene in album] == [
        model.open(one).encoding.boxes.tolist() for one in (PICTURE, OTHER)
    ]
    model.open_many([PICTURE, OTHER], boxes=[[0, 0, 5, 5]])
    assert len(asked) == 1


def test_a_model_that_can_do_one_thing_at_a_time_is_asked_one_by_one() -> None:
    plain = FakePredictor(OBJECTS, vocabulary=None, replies={"<region0>": "a big bus", "<region1>": "a person"})
    scene = Model(plain).open(PICTURE)
    assert [one.text for one in scene.describe_many(["r0", "r1"])] == ["a big bus", "a person"]
    assert plain.passes["generate"] == 2


def test_what_depends_on_an_answer_waits_for_it_and_nothing_else() -> None:
    models = [Many(vocabulary=None, replies={"first": "1", "second": "2"}) for _ in range(2)]
    encoding = models[0].encode(Model(models[0]).open(PICTURE).loaded)

    def chain(model: Many, texts: Sequence[str]) -> Asking[list[str]]:
        said = []
        for text in texts:
            said.append((yield Words(model, encoding, text)))
        yield Match(model, encoding, ["bus"])
        return said

    asked = [
        chain(models[0], ["first", "second"]),
        chain(models[0], ["second"]),
        chain(models[1], ["first"]),
        chain(models[0], []),
    ]
    assert together(asked) == [["1", "2"], ["2"], ["1"], []]
    assert models[0].made == [("match", 1), ("generate", 2), ("match", 1), ("generate", 1), ("match", 1)]
    assert models[1].made == [("generate", 1), ("match", 1)]
    assert by_itself(chain(models[0], ["first"])) == ["1"]


def test_named_regions_stay_as_they_are(scene: Scene) -> None:
    described = scene.describe_many([Region(scene.regions[0].id, scene.regions[0].box, 0.5, "bus")])
    assert described[0].text == "a big bus"


def test_the_colours_of_several_things_take_one_pass_of_a_plan() -> None:
    model = Many(vocabulary=None, replies={"<region0>": "yellow", "<region1>": "blue"})
    scene = Model(model).open(PICTURE)
    meter = Meter(Budget())
    find, colors = {"op": "find", "id": "s1", "phrase": "thing"}, {"op": "colors", "id": "s2", "of": "s1"}
    plan = Plan.parse({"question": "?", "steps": [find, colors, {"op": "answer", "id": "s3", "of": ["s2"]}]})
    model.objects = [(box, "thing", p) for box, _, p in OBJECTS]
    *_, told = Run(plan, scene, meter)
    assert told.gave == "r0 yellow and r1 blue"
    assert model.made == [("match", 1), ("generate", 2)]
    assert meter.model_calls == 2
