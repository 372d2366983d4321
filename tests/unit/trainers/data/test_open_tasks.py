"""Tasks from phrases, texts, dialogues and names that are no fixed list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fo1agent.errors import DataError
from fo1agent.prompts.reply import parse
from fo1agent.trainers.data.features import ANNOTATED, PROPOSAL, Picture
from fo1agent.trainers.data.records import Example, Reference, Turn
from fo1agent.trainers.data.tasks import (
    NONE,
    UNSAID,
    OpenTasks,
    TaskMaker,
    choose_regions,
    find_truth,
    name_targets,
    needed_boxes,
    read_confusable,
)

BOXES = np.array([[0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90]], np.float32)


def example(**changes) -> Example:
    fields = {
        "id": 1, "path": Path("x.png"), "width": 100, "height": 100, "boxes": BOXES,
        "labels": ("mug", "mug", ""), "crowd": np.zeros(3, bool),
    }  # fmt: skip
    return Example(**{**fields, **changes})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_picture_is_asked_for_its_own_names_and_those_around_it() -> None:
    tasks = OpenTasks({"mug": ["bowl"]}, absent=3).of(example(absent=("kettle",)), {"mug", "spoon"}, rng())
    assert tasks.vocabulary == ("mug", "bowl", "spoon", "kettle")
    truth = find_truth(example(absent=("kettle",)), BOXES, tasks.index, tasks.exhaustive)
    phrases = {phrase.name: phrase for phrase in tasks.phrases(truth, absent=3, unknown=0, rng=rng())}
    assert phrases[0].targets.tolist() == [1, 1, 0]
    # Known to be absent: nothing is a kettle. Nobody looked for bowls and spoons; but a mug is none.
    assert phrases[3].weights.tolist() == [1, 1, 1]
    assert phrases[1].weights.tolist() == phrases[2].weights.tolist() == [1, 1, 0]


def test_easily_confused_names_come_first_among_the_absent() -> None:
    names = ("cat", *(f"thing {k}" for k in range(50)), "fox", "lynx")
    tasks = TaskMaker(names, confusable={"cat": ["fox", "lynx", "unheard of"]})
    truth = find_truth(example(labels=("cat", "cat", "cat")), BOXES, tasks.index)
    asked = {names[phrase.name] for phrase in tasks.phrases(truth, absent=4, unknown=0, rng=rng())}
    assert {"cat", "fox", "lynx"} <= asked
    assert len(asked) == 5


def test_free_phrases_match_their_boxes_and_some_match_none() -> None:
    image = example(phrases=(Reference("the two on top", (0, 1)), Reference("a spoon"), Reference("mug", (0, 1))))
    tasks = OpenTasks().of(image, (), rng())
    truth = find_truth(image, BOXES[[2, 1, 0]], tasks.index, tasks.exhaustive)
    made = {phrase.text: phrase for phrase in tasks.references(image, truth, most=5, rng=rng())}
    assert made["the two on top"].targets.tolist() == [0, 1, 1]
    assert made["a spoon"].targets.tolist() == [0, 0, 0]
    assert made["the two on top"].name == UNSAID
    assert made["mug"].name == 0
    for seed in range(10):
        question = tasks.refer(image, truth, rng(seed))
        assert question is not None
        groups = parse(question.reply, 3).by_label()
        assert set(groups) <= set(made)
        assert all(groups[text] == tuple(np.flatnonzero(made[text].targets)) for text in groups)


def test_dialogues_speak_of_the_prompts_regions() -> None:
    image = example(turns=(Turn("Is <region2> left of <region1>?", "<region2> is."), Turn("And <region0>?", "No.")))
    tasks = OpenTasks().of(image, (), rng())
    truth = find_truth(image, BOXES[[1, 2]], tasks.index, tasks.exhaustive)  # box 0 has no region
    turns = tasks.dialogue(image, truth)
    assert [(turn.text, turn.reply) for turn in turns] == [("Is <region1> left of <region0>?", "<region1> is.")]


def test_boxes_that_are_spoken_of_or_read_become_regions() -> None:
    image = example(turns=(Turn("<region2>?", "Yes."),), texts=(None, "EXIT", None))
    assert needed_boxes(image) == [1, 2]
    kind = np.array([PROPOSAL] * 9 + [ANNOTATED] * 3, np.uint8)
    picture = Picture(image, np.zeros((12, 4)), kind, np.zeros((12, 1)), np.zeros((4, 3)), (2, 2))
    for seed in range(20):
        chosen = choose_regions(picture, 6, 0.5, rng(seed), needed_boxes(image))
        assert {10, 11} <= set(chosen.tolist())
        assert len(chosen) <= 6
        assert len(set(chosen.tolist())) == len(chosen)


def test_words_in_boxes_are_read() -> None:
    image = example(texts=("EXIT", None, "42"))
    tasks = OpenTasks().of(image, (), rng())
    truth = find_truth(image, BOXES[[2, 0]], tasks.index, tasks.exhaustive)
    read = {question.text.split("<")[1][:7]: question.reply for question in tasks.read(image, truth, 5, rng())}
    assert read == {"region0": "42", "region1": "EXIT"}


def test_a_region_asks_for_others_like_it() -> None:
    tasks = OpenTasks().of(example(), (), rng())
    truth = find_truth(example(), BOXES, tasks.index, tasks.exhaustive)
    question = tasks.alike(truth, rng())
    assert question is not None
    assert question.reply in (
        "<ground>mug</ground><objects><region0></objects>",
        "<ground>mug</ground><objects><region1></objects>",
    )
    assert parse(question.reply, 3).regions != parse(question.text, 3).regions


def test_nothing_is_called_background_where_nobody_boxed_everything() -> None:
    box = np.array([[60, 60, 99, 99]], np.float32)
    for absent, expected in (((), -100), (("kettle",), 7)):
        tasks = OpenTasks().of(example(absent=absent), (), rng())
        truth = find_truth(example(absent=absent), box, tasks.index, tasks.exhaustive)
        assert name_targets(truth, background=7).tolist() == [expected]
        said = {q.reply for seed in range(20) for q in tasks.describe(truth, 3, rng(seed))}
        assert said == ({"background"} if absent else set())


def test_a_kind_is_linked_only_where_it_can_be_but_one() -> None:
    tasks = TaskMaker(("person", "dog"))
    one = find_truth(example(labels=("person", "dog", "")), BOXES, tasks.index)
    two = find_truth(example(labels=("person", "person", "dog")), BOXES, tasks.index)
    assert "<ground>man</ground><objects><region0></objects>" in tasks.link("A man with a dog.", one)
    assert "<ground>man" not in tasks.link("A man with a dog.", two)
    assert "<ground>people</ground><objects><region0><region1></objects>" in tasks.link("Two people.", two)


def test_words_of_no_name_mean_none() -> None:
    tasks = TaskMaker(("mug",), words=("grass",))
    truth = find_truth(example(), BOXES, tasks.index)
    assert NONE in {phrase.name for phrase in tasks.phrases(truth, 0, 1, rng())}


def test_a_negatives_file_is_read_and_a_wrong_one_named(tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text("cat: [dog, fox]\n")
    assert read_confusable(tmp_path / "near.yaml") == {"cat": ("dog", "fox")}
    (tmp_path / "wrong.yaml").write_text("cat: dog\n")
    with pytest.raises(DataError, match=r"wrong.yaml: wanted a mapping of names to lists"):
        read_confusable(tmp_path / "wrong.yaml")
