"""Small words decide: a number, "each", "everything", "one of", "slightly" is judged, or it is said that it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fo1agent.agent import Agent
from fo1agent.regions.regions import Regions
from fo1agent.words.phrases import meanings
from tests.coco_names import COCO_NAMES
from tests.labelled_scene import LabelledScene, Thing
from tests.scenes import SCENES


def farm() -> LabelledScene:
    """Four cows in a row (brown, brown, black, white), two benches with one person, a dog on the far right."""
    colors = ("brown", "brown", "black", "white")
    cows = [Thing("cow", (20 + 120 * k, 200, 100 + 120 * k, 280), 0.9 - k / 100, (c,)) for k, c in enumerate(colors)]
    return LabelledScene(
        [
            *cows,
            Thing("bench", (20, 380, 140, 440), 0.9),
            Thing("bench", (300, 380, 420, 440), 0.8),
            Thing("person", (50, 310, 90, 430), 0.9),
            Thing("dog", (590, 300, 630, 340), 0.9, ("black",)),
        ]
    )


def ask(question: str) -> Any:
    return Agent().ask(farm(), question)


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("Is there a person on each bench?", False),
        ("How many people are on both benches?", 0),
        ("Are the cows to the left of the dog?", True),
        ("Is everything brown?", False),
        ("Is anything brown?", True),
        ("Is everybody on a bench?", True),
        ("Are there more brown cows than white ones?", True),
        ("How many of the three leftmost cows are brown?", 2),
        ("Are the three leftmost cows brown?", False),
        ("Are the two leftmost cows brown?", True),
        ("Is one of the two leftmost cows black?", False),
        ("What color are the two leftmost cows?", "brown"),
        ("Are all but two cows brown?", True),
        ("Are all but one of the cows brown?", False),
        ("Are several cows brown?", True),
        ("Are there half a dozen cows?", False),
        ("Are there neither two benches nor five cows?", False),
        ("Is there a black and a white cow?", True),
        ("Is there one black and one red cow?", False),
        ("Is there anything but cows?", True),
        ("How many cows are there if you leave the black and the white one out?", 2),
        ("How many brown and white cows are there?", 3),
        ("Is the dog bigger or smaller than the person?", "smaller"),
        ("How many cows are on the far left?", 2),
        ("How many cows are on the left?", 3),
        ("There's no dog, no?", False),
    ],
)
def test_a_small_word_is_judged(question: str, value: Any) -> None:
    answer = ask(question)
    assert (answer.value, type(answer.value)) == (value, type(value)), answer.text


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What color are the two dogs?", "there is only 1, not 2"),
        ("Are the three benches brown?", "there are only 2, not 3"),
        ("How many of the 5 cows are brown?", "there are only 4, not 5"),
        ("Are both cows brown?", "there are 4, not 2"),
        ("Is the dog between the dogs?", "only one dog"),
        ("If five cows leave, how many cows are left?", "there are only 4"),
        ("If two cows leave, how many dogs are left?", "can't parse"),
        ("How many cows are slightly left of the dog?", "“slightly” I can't judge"),
        ("Are many cows brown?", "how many that would be"),
        ("Are there too many cows?", "“too many”"),
        ("How many cows should there be?", "“should there be”"),
        ("Is the number of cows even?", "can't parse"),
        ("Are there -4 cows?", "can't parse"),
        ("How many half cows are there?", "can't tell how many"),
        ("Do most cows have the same color?", "I can't tell"),
        ("Are there more cows than benches plus one?", "can't parse"),
        ("Is the dog bigger than it is?", "with itself"),
        ("If I buy two cows, how many cows are left?", "can't parse"),
        ("How many cows are left?", "can't parse"),
        ("How many people can sit on the bench?", "“can sit”"),
        ("What is missing?", "“missing”"),
        ("Are the cows too brown?", "“too”"),
        ("Is there an odd number of cows?", "can't parse"),
    ],
)
def test_a_small_word_that_cannot_be_judged_is_not_passed_over(question: str, said: str) -> None:
    answer = ask(question)
    assert answer.value is None, answer.text
    assert said in answer.text


def test_of_several_the_answer_says_which_was_taken() -> None:
    assert ask("Is the cow brown?").text == "Yes, the cow is brown. (Of the 4 cows I took the likeliest, r0.)"
    assert "took" not in ask("Is the dog black?").text


@pytest.mark.parametrize("told", ["There are no cows here.", "There are 5 cows.", "The dog is white."])
def test_what_is_told_is_not_taken_for_true(told: str) -> None:
    answer = ask(f"{told} How many cows are there?")
    assert answer.value == 4
    assert answer.text.endswith(f"(Not used: “{told.lower().strip('.')}”.)")


@pytest.mark.parametrize("phrase", ["three people", "3 people", "several people", "no people", "two dozen people"])
def test_a_tool_says_that_a_number_was_not_judged(phrase: str) -> None:
    (meaning,) = meanings(phrase, COCO_NAMES, "nano")
    assert meaning.names == ("person",)
    assert meaning.not_judged


def test_people_and_things_that_are_open_are_not_compared() -> None:
    answer = Agent().ask(SCENES["street"](), "Are there more men or women?")
    assert answer.value is None
    assert answer.text == "There are 4 people; “man” and “woman” I can't judge."


class PinkOrNot(LabelledScene):
    """A scene where whether a thing is pink is open, but for the least sure one, which is not."""

    def _ground(self, phrase: str, threshold: float | None) -> Regions:
        if "pink" not in phrase:
            return super()._ground(phrase, threshold)
        found = super()._ground("umbrella", threshold)[:-1]
        return replace(found, not_judged=("pink",), judged="umbrella")


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        ("Is one of the umbrellas pink?", "There are 3 umbrellas; which of them are pink I can't tell.", None),
        (
            "Are the umbrellas pink?",
            "No, there are 3 umbrellas; I can't judge “pink”, but the answer is the same either way.",
            False,
        ),
    ],
)
def test_what_is_open_is_said_of_all_there_are_and_what_holds_anyhow_is_answered(
    question: str, text: str, value: Any
) -> None:
    scene = PinkOrNot([Thing("umbrella", (10 + 80 * k, 50, 70 + 80 * k, 120), 0.9 - k / 10) for k in range(3)])
    answer = Agent().ask(scene, question)
    assert (answer.text, answer.value) == (text, value)


@pytest.mark.parametrize(
    ("place", "said"), [("beach", "on the beach"), ("room", "in the room"), ("pier", "on the pier")]
)
def test_a_place_has_its_own_preposition(place: str, said: str) -> None:
    answer = Agent().ask(SCENES["park"](), f"How many people are {said}?")
    assert answer.text == f"3 people are {said}. (I take the whole picture for the {place}.)"


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("Is the cat on the couch?", True),
        ("Is the couch on the cat?", False),
        ("How many cats are on the couch?", 1),
        ("What is the cat lying on?", "couch"),
        ("Is the skateboard on the person?", False),
        ("Is the person on the skateboard?", True),
    ],
)
def test_where_boxes_could_be_either_way_round_furniture_and_boards_are_below(question: str, value: Any) -> None:
    scene = LabelledScene(
        [
            Thing("couch", (100, 150, 500, 400)),
            Thing("cat", (250, 300, 350, 398)),
            Thing("person", (520, 100, 620, 400)),
            Thing("skateboard", (530, 370, 610, 395)),
        ]
    )
    assert Agent().ask(scene, question).value == value
