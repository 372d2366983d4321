from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import BoxError, InputError, ToolFailed
from fo1agent.pictures.image import load_image
from fo1agent.pictures.ocr import TextLine
from fo1agent.regions.regions import Region, Regions
from fo1agent.scene import Model, Scene
from fo1agent.untrusted import UntrustedText
from tests.fakes import FakePredictor

BUS, LEFT, RIGHT, CAR = (300.0, 100.0, 500.0, 300.0), (50.0, 150.0, 90.0, 280.0), (560.0, 150.0, 600.0, 280.0), (
    120.0,
    200.0,
    250.0,
    290.0,
)  # fmt: skip
OBJECTS = [
    (BUS, "bus", 0.94),
    (LEFT, "person", 0.9),
    (RIGHT, "person", 0.8),
    (CAR, "car", 0.6),
    ((52.0, 152.0, 91.0, 281.0), "person", 0.7),  # the left person, proposed twice
]
PICTURE = Image.new("RGB", (640, 400), "gray")


def read_two_lines(image: Image.Image, *, min_score: float) -> list[TextLine]:
    lines = [("CITY", 0.9, (2.0, 3.0, 12.0, 9.0)), ("12", 0.6, (14.0, 3.0, 20.0, 9.0))]
    return [TextLine(UntrustedText(text), box, score) for text, score, box in lines if score >= min_score]


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor(OBJECTS)


@pytest.fixture
def scene(predictor: FakePredictor) -> Scene:
    return Model(predictor, ocr=read_two_lines).open(PICTURE)


def names(regions: Regions) -> list[str]:
    return [region.name for region in regions]


# ---- regions and ids ----


def test_regions_have_names_and_stable_ids(scene: Scene) -> None:
    assert scene.regions.labels == ("bus", "person", "person", "car", "person")
    assert scene.regions.ids[0] == f"{scene.id}/r0"
    assert scene.id == load_image(PICTURE).id


@pytest.mark.parametrize("vocabulary", [("bus", "person", "car"), None])
def test_a_phrase_that_is_an_id_is_that_region_whatever_the_model_sees_there(vocabulary: Any) -> None:
    scene = Model(FakePredictor(OBJECTS, vocabulary=vocabulary)).open(PICTURE)
    found = scene.ground_many(["r3", "bus", f"{scene.id}/r0", "b1_2_30_40"], threshold=0.99)
    assert [names(one) for one in found.values()] == [["r3"], [], ["r0"], ["b1_2_30_40"]]
    assert scene.count("r3").value == 1
    assert names(scene.ground("r0", within=RIGHT)) == []
    with pytest.raises(InputError, match=r"No region r9. There are r0 to r4."):
        scene.ground("r9")


def test_an_open_model_gives_objectness_and_no_names() -> None:
    scene = Model(FakePredictor(OBJECTS, vocabulary=None)).open(PICTURE)
    assert set(scene.regions.labels) == {None}
    assert scene.regions.scores.tolist() == [0.5] * 5
    assert len(scene.named()) == 0


def test_named_lists_each_thing_once(scene: Scene) -> None:
    assert names(scene.named()) == ["r0", "r1", "r2", "r3"]


def test_what_is_named_is_what_is_counted() -> None:
    things = [
        ((100.0, 100.0, 300.0, 300.0), "horse", 0.9),
        ((160.0, 60.0, 240.0, 220.0), "person", 0.8),  # its rider
        ((102.0, 101.0, 299.0, 300.0), "cow", 0.4),  # the horse by another name
        ((110.0, 200.0, 180.0, 295.0), "horse", 0.3),  # its legs
        ((400.0, 100.0, 600.0, 300.0), "horse", 0.7),
    ]
    scene = Model(FakePredictor(things, vocabulary=("horse", "person", "cow"))).open(PICTURE)
    assert names(scene.named()) == ["r0", "r1", "r4"]
    assert scene.count("horse").value == 2
    assert scene.describe().text == "2 horses, 1 person"


@pytest.mark.parametrize("form", ["r1", "long", "b50_150_90_280"])
def test_a_region_is_found_by_every_form_of_its_id(scene: Scene, form: str) -> None:
    assert scene.region(f"{scene.id}/r1" if form == "long" else form).name == "r1"


@pytest.mark.parametrize("bad", ["r5", "r99", "x", "", "r-1", "img_00000000/r1", "b1_2_3"])
def test_an_unknown_id_names_those_there_are(scene: Scene, bad: str) -> None:
    with pytest.raises(InputError, match="r0 to r4"):
        scene.region(bad)


def test_a_box_id_beyond_the_picture_is_refused(scene: Scene) -> None:
    with pytest.raises(InputError, match="640x400"):
        scene.region("b700_10_800_20")


def test_a_region_of_another_picture_is_refused(scene: Scene) -> None:
    with pytest.raises(InputError, match="another picture"):
        scene.describe(Region("img_00000000/r0", BUS, 0.5))


def test_a_region_of_the_same_picture_opened_with_other_boxes_means_its_box(predictor: FakePredictor) -> None:
    elsewhere = Model(predictor).open(PICTURE, boxes=[CAR])
    scene = Model(predictor).open(PICTURE)
    assert elsewhere.regions[0].name == "r0"
    assert names(scene.describe(elsewhere.regions[0]).regions) == ["r3"]


@pytest.mark.parametrize("box", [(1, 2, 3), "nonsense", (10, 10, 5, 5), (float("nan"), 0, 1, 1), 7, (900, 0, 950, 9)])
def test_a_bad_box_is_refused(scene: Scene, box: object) -> None:
    with pytest.raises(InputError):
        scene.describe(box)  # pyright: ignore[reportArgumentType]


# ---- opening ----


def test_boxes_given_become_the_regions(predictor: FakePredictor) -> None:
    scene = Model(predictor).open(PICTURE, boxes=[CAR, (600, 380, 900, 900)])
    assert scene.regions.boxes.tolist() == [list(CAR), [600, 380, 640, 400]]
    assert scene.regions.source == "given"


def test_no_boxes_given_is_an_ordinary_scene(predictor: FakePredictor) -> None:
    scene = Model(predictor, ocr=read_two_lines).open(PICTURE, boxes=np.zeros((0, 4)))
    assert len(scene.regions) == len(scene.named()) == 0
    assert len(scene.ground("bus")) == 0
    assert scene.ground("bus").none_score == 1.0
    assert scene.count("bus").value == 0
    assert scene.read().text == "CITY 12"
    assert scene.describe().text == ""
    assert len(scene.relate("bus", "near", "dog").regions) == 0
    assert len(scene.relate([], "near", "bus").regions) == len(scene.relate("bus", "near", []).regions) == 0
    with pytest.raises(InputError, match="no regions"):
        scene.region("r0")


def test_boxes_outside_the_picture_are_refused(predictor: FakePredictor) -> None:
    with pytest.raises(BoxError, match=r"boxes\[1\]"):
        Model(predictor).open(PICTURE, boxes=[CAR, (700, 0, 800, 10)])


def test_a_proposer_makes_the_regions(predictor: FakePredictor) -> None:
    def propose(image: object) -> Regions:
        return Regions(np.array([CAR]), np.array([0.7]), (None,), ("x",), "mine")

    scene = Model(predictor, propose).open(PICTURE)
    assert names(scene.regions) == ["r0"]
    assert scene.regions.source == "mine"


def test_regions_of_another_scene_can_be_given(predictor: FakePredictor) -> None:
    found = Model(predictor).open(PICTURE).ground("person")
    scene = Model(predictor).open(PICTURE, boxes=found)
    assert scene.regions.boxes.tolist() == found.boxes.tolist()


def test_too_many_boxes_are_told() -> None:
    scene = Model(FakePredictor(OBJECTS, max_regions=2)).open(PICTURE, boxes=[CAR, BUS, LEFT])
    assert len(scene.regions) == 2
    assert scene.note == scene.regions.note == "3 boxes given, 2 kept"


def test_a_scene_is_encoded_once(scene: Scene, predictor: FakePredictor) -> None:
    scene.ground("bus")
    scene.count("person")
    scene.describe("r1")
    scene.describe((5, 5, 60, 60))
    scene.ground(like="r1")
    scene.read("r0")
    assert predictor.passes["towers"] == 1


# ---- ground, count ----


def test_ground_gives_each_thing_once_best_first(scene: Scene) -> None:
    people = scene.ground("person")
    assert names(people) == ["r1", "r2"]
    assert people.labels == ("person", "person")
    assert people.scores.tolist() == [0.9, 0.8]
    assert people.none_score == pytest.approx(0.1 * 0.2 * 0.99**2)


def test_what_is_not_there_gives_no_region_and_a_high_none_score(scene: Scene) -> None:
    found = scene.ground("dog")
    assert len(found) == 0
    assert found.none_score is not None
    assert found.none_score > 0.9
    assert found.note == ""


def test_an_unknown_word_gives_no_region_and_a_note(scene: Scene, predictor: FakePredictor) -> None:
    found = scene.ground("ostrich")
    assert len(found) == 0
    assert found.none_score == 1.0
    assert found.note.startswith("fake does not know “ostrich”.")
    assert predictor.passes["match"] == 0


def test_a_general_word_takes_the_best_of_its_kinds(scene: Scene) -> None:
    assert names(scene.ground("vehicles")) == ["r0", "r3"]


def test_a_closed_vocabulary_is_asked_for_names_and_the_pixels_for_colors(predictor: FakePredictor) -> None:
    picture = PICTURE.copy()
    bus = predictor.objects[0][0]
    picture.paste((200, 20, 25), (round(bus[0]), round(bus[1]), round(bus[2]), round(bus[3])))
    scene = Model(predictor).open(picture)
    red, blue = scene.ground("red bus"), scene.ground("blue bus")
    assert set(predictor.asked) == {"bus"}
    assert red.labels == ("red bus",)
    assert red.scores.tolist() == [pytest.approx(0.94)]
    assert len(blue) == 0
    assert blue.none_score == 1


def test_an_open_model_is_asked_the_phrase_itself() -> None:
    predictor = FakePredictor(OBJECTS, vocabulary=None)
    Model(predictor).open(PICTURE).ground("the shiny ostrich")
    assert predictor.asked == ["the shiny ostrich"]


def test_many_phrases_cost_one_pass(scene: Scene, predictor: FakePredictor) -> None:
    found = scene.ground_many(["bus", "person", "ostrich", "bus"])
    assert {phrase: names(regions) for phrase, regions in found.items()} == {
        "bus": ["r0"],
        "person": ["r1", "r2"],
        "ostrich": [],
    }
    assert predictor.passes["match"] == 1
    assert scene.ground_many([]) == {}


def test_threshold_zero_gives_every_region_and_one_none(scene: Scene) -> None:
    assert len(scene.ground("bus", threshold=0)) == 4
    assert len(scene.ground("bus", threshold=1)) == 0
    assert len(scene.ground("person", limit=1)) == 1


@pytest.mark.parametrize("place", ["r0", (0, 0, 200, 400)])
def test_within_keeps_what_lies_at_least_half_inside(scene: Scene, place: object) -> None:
    found = scene.ground("person", within=place)  # pyright: ignore[reportArgumentType]
    assert names(found) == ([] if place == "r0" else ["r1"])


def test_a_region_is_not_within_itself(scene: Scene) -> None:
    assert names(scene.ground("bus", within="r0")) == []
    assert names(scene.ground("bus", within=BUS)) == ["r0"]


def test_ground_like_a_region_finds_the_others(scene: Scene) -> None:
    assert names(scene.ground(like="r2")) == ["r1"]
    assert scene.ground(like="r2").labels == ("person",)


def test_ground_like_a_drawn_box(scene: Scene) -> None:
    assert names(scene.ground(like=(555, 140, 605, 290), threshold=0.2)) == ["r1"]


def test_ground_like_a_drawn_box_when_there_is_no_room_for_one_more() -> None:
    scene = Model(FakePredictor(OBJECTS, max_regions=5)).open(PICTURE)
    assert names(scene.ground(like=(555, 140, 605, 290), threshold=0.2)) == ["r1"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"phrase": "bus", "like": "r1"},
        {"phrase": " "},
        {"phrase": "bus", "threshold": 1.5},
        {"phrase": "bus", "threshold": -1},
        {"phrase": "bus", "limit": 0},
        {"phrase": "bus", "within": "r44"},
        {"like": "r44"},
    ],
)
def test_bad_arguments_are_refused(scene: Scene, arguments: dict) -> None:
    with pytest.raises(InputError):
        scene.ground(**arguments)


def test_ground_many_refuses_a_string(scene: Scene) -> None:
    with pytest.raises(InputError, match="list of phrases"):
        scene.ground_many("bus")


def test_count(scene: Scene) -> None:
    counted = scene.count("people")
    assert counted.value == 2
    assert names(counted.regions) == ["r1", "r2"]
    assert scene.count("people", within=(0, 0, 200, 400)).value == 1
    assert scene.count("ostrich").regions.note


# ---- relate, zoom ----


def test_relate_phrases(scene: Scene) -> None:
    related = scene.relate("person", "left_of", "bus")
    assert names(related.regions) == ["r1"]
    assert related.pairs == ((f"{scene.id}/r1", f"{scene.id}/r0"),)


def test_relate_to_the_picture_itself(scene: Scene) -> None:
    assert names(scene.relate("person", "right_of").regions) == ["r2"]
    for ask in (scene.ground, scene.count, scene.describe, scene.region):
        with pytest.raises(InputError, match="'r00' is no region's id; it is written r0"):
            ask("r00")


def test_relate_takes_regions_ids_and_boxes(scene: Scene) -> None:
    assert names(scene.relate(scene.ground("person"), "left_of", "r0").regions) == ["r1"]
    assert names(scene.relate(["r1", "r2"], "left_of", BUS).regions) == ["r1"]
    assert names(scene.relate(scene.regions[1], "left_of", scene.regions[0]).regions) == ["r1"]
    assert names(scene.relate("r0", "near", "r0").regions) == []


def test_relate_between_two_others_and_on_seen_from_what_carries() -> None:
    things = [
        ((10.0, 40.0, 50.0, 80.0), "bus", 0.9),
        ((100.0, 40.0, 140.0, 80.0), "car", 0.9),
        ((200.0, 40.0, 240.0, 80.0), "truck", 0.9),
        ((300.0, 40.0, 340.0, 80.0), "car", 0.8),
        ((205.0, 10.0, 235.0, 60.0), "person", 0.8),
    ]
    scene = Model(FakePredictor(things)).open(PICTURE)
    related = scene.relate("car", "between", "bus", "truck")
    assert names(related.regions) == ["r1"]
    assert related.pairs == ((f"{scene.id}/r1", f"{scene.id}/r0"),)
    assert names(scene.relate("bus", "between", "bus", "truck").regions) == []
    assert names(scene.relate("truck", "has_on", "person").regions) == ["r2"]
    assert "stolen" in scene.relate("car", "between", "bus", "stolen truck").not_judged


@pytest.mark.parametrize("others", [("bus",), (), ("bus", "car", "left_of"), (None, "car", "between")])
def test_between_takes_two_others_and_nothing_else_does(scene: Scene, others: tuple[str, ...]) -> None:
    b, and_b, relation = (*others, *(None, None, "between")[len(others) :])
    with pytest.raises(InputError, match="two others"):
        scene.relate("person", str(relation), b, and_b)


def test_an_unknown_relation_is_refused(scene: Scene) -> None:
    with pytest.raises(InputError):
        scene.relate("person", "beneath", "bus")


def test_zoom_gives_a_scene_whose_regions_map_back(scene: Scene) -> None:
    part = scene.zoom("r0", margin=0.1)
    assert (part.width, part.height) == (240, 240)
    assert part.parent is scene
    assert part.id != scene.id
    inner = Regions(np.array([[10.0, 20.0, 30.0, 40.0]]), np.array([0.4]), ("dog",), (f"{part.id}/r0",))
    back = part.to_parent(inner)
    assert back.boxes.tolist() == [[290, 100, 310, 120]]
    assert back.ids == (f"{scene.id}/b290_100_310_120",)
    assert scene.region(back.ids[0]).box == (290, 100, 310, 120)


def test_a_whole_picture_has_no_parent(scene: Scene) -> None:
    with pytest.raises(InputError, match="whole picture"):
        scene.to_parent(scene.regions)


def test_zoom_on_a_sliver_gives_at_least_a_pixel(scene: Scene) -> None:
    assert scene.zoom((10, 10, 10.2, 10.2), margin=0).width == 1


# ---- read, describe, inspect ----


def test_reading_maps_lines_back(scene: Scene) -> None:
    read = scene.read("r0")
    assert read.text == "CITY 12"
    assert isinstance(read.text, UntrustedText)
    assert read.lines[0].box == (302, 103, 312, 109)
    assert read.regions.ids[0] == f"{scene.id}/b302_103_312_109"
    assert scene.read("r0", min_score=0.7).text == "CITY"


def test_an_open_model_can_read_too() -> None:
    predictor = FakePredictor(OBJECTS, vocabulary=None)
    scene = Model(predictor).open(PICTURE)
    predictor.replies["ocr results of <region0>"] = "CITY CENTRE 12"
    read = scene.read("r0", source="model")
    assert (read.text, read.source, read.lines) == ("CITY CENTRE 12", "model", ())
    with pytest.raises(InputError, match="source"):
        scene.read("r0", source="crystal ball")  # pyright: ignore[reportArgumentType]


def test_a_model_that_only_has_names_does_not_read(scene: Scene, predictor: FakePredictor) -> None:
    with pytest.raises(ToolFailed, match='fake can name things but not read; the source "ocr" can'):
        scene.read("r0", source="model")
    assert predictor.passes["generate"] == 0


@pytest.mark.parametrize(("score", "text"), [(0.0099, ""), (0.01, "dog")])
def test_a_name_that_is_said_of_anything_is_not_said(score: float, text: str) -> None:
    scene = Model(FakePredictor([(BUS, "dog", score)])).open(PICTURE)
    said = scene.describe("r0")
    assert (said.text, said.label, said.score, said.source) == (text, "dog", score, "labels")
    assert [(region.label, region.score) for region in said.regions] == [("dog", score)]


def test_describe_gives_label_score_and_the_models_words(scene: Scene, predictor: FakePredictor) -> None:
    predictor.replies["<region1>"] = "a man with a hat"
    said = scene.describe("r1")
    assert (said.text, said.label, said.score, said.source) == ("a man with a hat", "person", 0.9, "model")
    assert isinstance(said.text, UntrustedText)


@pytest.mark.parametrize("reply", ["", "<region1>", "!!! 7", "the the the the", "<ground></ground>"])
def test_useless_words_give_way_to_the_label(scene: Scene, predictor: FakePredictor, reply: str) -> None:
    predictor.replies["<region1>"] = reply
    said = scene.describe("r1")
    assert (said.text, said.source) == ("person", "labels")


def test_words_that_the_scores_do_not_bear_out_give_way(scene: Scene, predictor: FakePredictor) -> None:
    predictor.replies["<region1>"] = "a dog on a sofa"
    assert scene.describe("r1").text == "person"
    predictor.replies["Briefly describe"] = "<ground>A bus</ground><objects><region0></objects> full of dogs"
    assert scene.describe().source == "labels"
    predictor.replies["Briefly describe"] = "<ground>A bus</ground><objects><region1></objects> in the rain"
    assert scene.describe().source == "labels"
    predictor.replies["Briefly describe"] = "<ground>A bus</ground><objects><region0></objects> in the rain"
    assert scene.describe().text == "A bus in the rain"


def test_an_open_model_is_taken_at_its_word() -> None:
    predictor = FakePredictor(OBJECTS, vocabulary=None, replies={"<region1>": "a dog on a sofa"})
    assert Model(predictor).open(PICTURE).describe("r1").text == "a dog on a sofa"


def test_describe_a_drawn_box_uses_one_more_region(scene: Scene, predictor: FakePredictor) -> None:
    predictor.replies["<region5>"] = "half a bus"
    said = scene.describe((300, 100, 400, 300))
    assert (said.text, said.label) == ("half a bus", "bus")
    assert said.regions.ids == (f"{scene.id}/b300_100_400_300",)


def test_the_whole_picture_is_described_with_linked_regions(scene: Scene, predictor: FakePredictor) -> None:
    predictor.replies["Briefly describe"] = (
        "<ground>A bus</ground><objects><region0></objects> and "
        "<ground>two people</ground><objects><region1><region2><region77></objects>."
    )
    said = scene.describe()
    assert (said.text, said.source, said.label) == ("A bus and two people.", "model", None)
    assert names(said.regions) == ["r0", "r1", "r2"]
    assert said.regions.labels == ("A bus", "two people", "two people")


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "A zebra",  # there is none
        "Something blue",  # names nothing that is known
        "A bus is standing on a bus",  # one bus, and nothing said of it
        "A man is standing on people",
    ],
)
def test_without_a_usable_caption_the_names_are_listed(scene: Scene, predictor: FakePredictor, caption: str) -> None:
    predictor.replies["Briefly describe"] = f"<ground>{caption}</ground><objects><region0></objects>"
    said = scene.describe()
    assert (said.text, said.source) == ("2 people, 1 bus, 1 car", "labels")
    assert names(said.regions) == ["r0", "r1", "r2", "r3"]


def test_inspect_asks_about_the_region() -> None:
    predictor = FakePredictor(OBJECTS, vocabulary=None)
    scene = Model(predictor).open(PICTURE)
    predictor.replies["Regarding <region1>: What is he doing?"] = (
        "<think>look at <region1></think><answer>waiting for <region0></answer>"
    )
    said = scene.inspect("r1", "What is he doing?")
    assert (said.text, said.thought) == ("waiting for", "look at <region1>")
    assert names(said.regions) == ["r0"]


def test_inspect_fails_when_the_model_says_nothing() -> None:
    scene = Model(FakePredictor(OBJECTS, vocabulary=None)).open(PICTURE)
    with pytest.raises(ToolFailed, match="no answer"):
        scene.inspect("r1", "What is he doing?")
    with pytest.raises(InputError):
        scene.inspect("r1", " ")


def test_of_a_closed_vocabulary_only_colors_can_be_asked(scene: Scene) -> None:
    assert scene.inspect("r0", "What colour is it?").text == "gray"
    with pytest.raises(ToolFailed, match="can name things but not answer"):
        scene.inspect("r1", "What is he doing?")


def test_no_color_of_a_person_is_told_or_judged(scene: Scene) -> None:
    with pytest.raises(ToolFailed, match=r"^r1 is a person, and a person's color can't be told"):
        scene.inspect("r1", "What colour is it?")
    with pytest.raises(ToolFailed, match="a person's color can't be told"):
        scene.inspect_many([("r0", "What colour is it?"), ("r1", "What colour is it?")])
    for phrase in ("gray people", "people that are gray", "gray women"):
        found = scene.ground(phrase)
        assert (found.ids, found.judged) == (scene.ground("people").ids, "person")
        assert "gray" in " ".join(found.not_judged)
    assert scene.count("red people").value is None
    assert scene.count("red buses").value == 0
