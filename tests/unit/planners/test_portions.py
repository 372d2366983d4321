"""How much of the picture, of how many of a hundred, how wide: what such questions come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fo1agent.agent import Agent
from fo1agent.regions.regions import Region, Regions
from tests.labelled_scene import LabelledScene, Thing
from tests.scenes import street
from tests.segmenting import COLORS, ByColor, drawn, model

SCENE = LabelledScene(
    [
        Thing("cat", (0, 0, 320, 240)),
        Thing("dog", (160, 0, 480, 240), adjectives=("red",)),
        Thing("dog", (0, 240, 64, 288), adjectives=("red",)),
        Thing("dog", (500, 300, 564, 348)),
    ]
)  # of 640 x 480 pixels


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("How much of the picture does the cat fill?", 25),
        ("How much of the picture is covered by the cat?", 25),
        ("What share of this photo is the cat?", 25),
        ("What percentage of the screen is taken up by the cat?", 25),
        ("What fraction of the frame does the cat occupy?", 25),
        ("What area of the picture does the cat cover?", 25),
        ("How large is the cat compared to the picture?", 25),
        ("How much of the picture do the dogs take up?", 27),
        ("Does the cat fill more than half of the picture?", False),
        ("Does the cat cover at least a quarter of the picture?", True),
        ("Does the cat take up more than 20 % of the picture?", True),
        ("Does the cat fill the whole picture?", False),
        ("What percentage of the dogs are red?", 66.7),
        ("What fraction of the dogs are not red?", 33.3),
        ("What proportion of the animals are cats?", 25),
        ("How wide is the cat?", 320),
        ("What is the height of the cat?", 240),
        ("How tall is the cat in pixels?", 240),
    ],
)
def test_a_portion_has_the_right_value(question: str, value: Any) -> None:
    assert Agent().ask(SCENE, question).value == value


def test_what_overlaps_counts_once() -> None:
    boxes = Regions.from_list([Region(f"r{k}", thing.box, 1.0) for k, thing in enumerate(SCENE.things)])
    assert boxes[:2].covered() == 480 * 240
    assert Regions.empty().covered() == 0


def test_with_a_segmenter_it_is_pixels_that_are_counted() -> None:
    scene = model(ByColor()).open(drawn())
    answer = Agent().ask(scene, "How much of the picture does the frisbee fill?")
    pixels = int((np.asarray(drawn()) == COLORS["frisbee"]).all(axis=2).sum())
    assert answer.value == round(100 * pixels / (scene.width * scene.height), 1)
    assert answer.text.startswith("The frisbee fills ")
    boxed = replace(scene.model, segmenter=None).open(drawn())
    (box,) = boxed.ground("frisbee").boxes
    by_box: Any = Agent().ask(boxed, "How much of the picture does the frisbee fill?").value
    assert by_box == round(100 * (box[2] - box[0]) * (box[3] - box[1]) / (scene.width * scene.height), 1)


def test_a_portion_that_hangs_on_words_that_were_not_judged_has_bounds() -> None:
    answer = Agent().ask(SCENE, "What percentage of the dogs are sleepy?")
    assert (answer.value, answer.bounds) == (None, {"at_least": 0, "at_most": 100})
    assert answer.text == "There are 3 dogs; which of the dogs are sleepy I can't tell."
    answer = Agent().ask(SCENE, "What percentage of the zebras are red?")
    assert answer.abstained


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("Is there any text?", True),
        ("Any writing on the bus?", True),
        ("Is there any text on the dog?", False),
        ("Is there any text on the zebra?", None),
        ("Read everything.", "CITY CENTRE 12 STOP"),
        ("Read it all.", "CITY CENTRE 12 STOP"),
    ],
)
def test_whether_there_is_text_is_told_of_what_is_there(question: str, value: Any) -> None:
    assert Agent().ask(street(), question).value == value


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Select the bus.", "Click at (300, 215) for the bus (r4)."),
        ("Choose the largest vehicle.", "Click at (300, 215) for the largest vehicle (r4)."),
        ("Circle the stop sign.", "The stop sign is at the top right of the picture (r8)."),
        (
            "Give me the bounding boxes of the cars.",
            "The boxes of the cars are (410, 250, 480, 320) and (10, 260, 18, 300) (r5 and r6).",
        ),
        ("Is the car on the left red?", "Yes, the car on the left is red."),
        ("Is the car on the left blue?", "No, the car on the left is not blue."),
        (
            "Is the person with the handbag right of the bus?",
            "No, the person with the handbag is not to the right of the bus.",
        ),
        ("Compare the number of cars and people.", "There are 2 cars. There are 4 people."),
        ("What is the main color of the bus?", "The bus is red."),
        ("What is the rarest animal?", "Dogs: there are the fewest of them."),
    ],
)
def test_ordinary_phrasings_are_read_rightly(question: str, said: str) -> None:
    assert Agent().ask(street(), question).text == said


@pytest.mark.parametrize(
    "question", ["Pick up the dog.", "Choose between the dog and the bus.", "Find the box of apples."]
)
def test_what_only_begins_like_it_is_something_else(question: str) -> None:
    assert Agent().ask(street(), question).abstained


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("How far is the dog from the nearest person?", 5),
        ("How far is the dog from the closest car?", 117),
        ("How far apart are the nearest person and the dog?", 5),
        ("How far is the dog from the bus?", 35),
    ],
)
def test_a_distance_is_the_gap_between_boxes_and_the_nearest_is_nearest_to_the_other_thing(
    question: str, value: float
) -> None:
    assert Agent().ask(street(), question).value == value


@pytest.mark.parametrize(
    "question",
    [
        "Where do I click to select the bus?",
        "What is the bounding box of the bus?",
        "What share of the picture does the bus fill?",
        "How wide is the bus?",
        "How far is the dog from the bus?",
        "Where is the bus?",
        "Where is the leftmost bus?",
    ],
)
def test_no_place_is_told_of_a_thing_that_is_said_to_be_absent(question: str) -> None:
    scene = LabelledScene([Thing("bus", (0, 0, 64, 48), 0.03), Thing("dog", (100, 0, 164, 48))])
    assert Agent().ask(scene, "Is there a bus?").value is False
    answer = Agent().ask(scene, question)
    assert (answer.text, len(answer.evidence)) == ("I can't tell: no region looks like “bus” (best 0.03).", 0)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Read the text on the left.", "The text on the left of the picture reads “EXIT NORTH”."),
        ("What does the text on the right say?", "The text on the right of the picture reads “WEST SOUTH”."),
        ("Read the text at the top.", "The text at the top of the picture reads “EXIT WEST”."),
        ("What is written at the top of the picture?", "The text at the top of the picture reads “EXIT WEST”."),
        ("What does the text at the bottom say?", "The text at the bottom of the picture reads “NORTH SOUTH”."),
        ("What is written in the top right?", "The text at the top and on the right of the picture reads “WEST”."),
        ("Read the text on the far left.", "The text on the far left of the picture reads “NORTH”."),
        ("Is there any text in the middle?", "Yes, the text in the middle of the picture reads “EXIT”."),
        ("Does the text on the left say west?", "No, the text on the left of the picture reads “EXIT NORTH”."),
        (
            "What does the sign on the right say?",
            "The text on the right of the picture reads “WEST SOUTH”; whether that is what “sign” means I can't tell.",
        ),
        ("Read the text.", "The text in the picture reads “EXIT WEST NORTH SOUTH”."),
    ],
)
def test_of_text_on_a_side_only_that_is_read(question: str, said: str) -> None:
    places = {"EXIT": (250, 10), "WEST": (500, 20), "NORTH": (10, 400), "SOUTH": (550, 420)}
    scene = LabelledScene([Thing("kite", (x, y, x + 60, y + 30), text=text) for text, (x, y) in places.items()])
    assert Agent().ask(scene, question).text == said
