"""Training questions and their right answers, from boxes whose truth is known."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fo1agent.prompts.reply import parse
from fo1agent.trainers.data.features import ANNOTATED, PROPOSAL, Picture, jitter
from fo1agent.trainers.data.records import Example, Reference
from fo1agent.trainers.data.tasks import TaskMaker, choose_regions, find_truth, unknown_words

NAMES = ("person", "dog", "bus")
DOG, PERSON, CROWD = [10, 10, 50, 50], [60, 10, 90, 90], [0, 60, 60, 100]


def make_image(captions: tuple[str, ...] = ()) -> Example:
    return Example(
        id=1,
        path=Path("unused.jpg"),
        width=100,
        height=100,
        boxes=np.array([DOG, PERSON, CROWD], dtype=np.float32),
        labels=("dog", "person", "person"),
        crowd=np.array([False, False, True]),
        captions=captions,
    )


BOXES = np.array([PERSON, [12, 10, 50, 52], [5, 65, 30, 95], [10, 10, 50, 49], [95, 0, 100, 5]], dtype=np.float32)


@pytest.fixture
def tasks() -> TaskMaker:
    return TaskMaker(NAMES, words=("grass", "street"))


def test_truth_names_matches_and_crowds(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    assert truth.names.tolist() == [0, 1, -1, 1, -1]
    assert truth.matches[1].tolist() == [False, True, False, True, False]
    assert truth.unknown[0].tolist() == [False, False, True, False, False]
    assert truth.regions_of(1) == [3]  # one region per dog: the one that fits best
    assert truth.present == [0, 1]


def test_truth_of_no_boxes_and_of_no_objects(tasks: TaskMaker) -> None:
    assert find_truth(make_image(), BOXES[:0], tasks.index).names.shape == (0,)
    empty = Example(1, Path("x"), 100, 100, np.zeros((0, 4), np.float32), (), np.zeros(0, bool))
    assert find_truth(empty, BOXES, tasks.index).present == []


def test_phrases_cover_every_present_name_and_weigh_out_crowds(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    phrases = tasks.phrases(truth, absent=1, unknown=1, rng=np.random.default_rng(0))
    by_name = {phrase.name: phrase for phrase in phrases}
    assert set(by_name) == {0, 1, 2, -1}
    assert by_name[2].targets.sum() == 0
    assert by_name[0].weights.tolist() == [1, 1, 0, 1, 1]
    # An unknown word is only denied to regions that show something else.
    assert by_name[-1].weights.tolist() == [1, 1, 0, 1, 0]


def test_replies_parse_to_the_truth(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    everything = tasks.everything(truth)
    assert everything is not None
    reply = parse(everything.reply, count=len(BOXES))
    assert {group.label: list(group.regions) for group in reply.groups} == {"person": [0], "dog": [3]}
    for seed in range(20):
        counted = tasks.count(truth, np.random.default_rng(seed))
        assert counted is not None
        reply = parse(counted.reply, count=len(BOXES))
        assert reply.number == sum(len(group.regions) for group in reply.groups)


def test_captions_are_linked_to_the_objects_they_name(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    linked = tasks.link("A person walks her puppy, a kind of animal, on grass.", truth)
    assert linked == (
        "a <ground>person</ground><objects><region0></objects> walks her "
        "<ground>puppy</ground><objects><region3></objects>, a kind of animal, on grass."
    )


def test_describing_names_regions(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    for question in tasks.describe(truth, 10, np.random.default_rng(1)):
        region = int(question.text.split("<region")[1].split(">")[0])
        assert question.reply == (NAMES[truth.names[region]] if truth.names[region] >= 0 else "background")


def test_a_dense_reply_names_each_region_that_was_asked_for(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES, tasks.index)
    question = tasks.dense(truth, 10, np.random.default_rng(0))
    assert question is not None
    pairs = re.findall(r"<region(\d+)>([a-z]+)", question.reply)
    assert re.findall(r"<region(\d+)>", question.text) == [region for region, _ in pairs]
    clear = {"0": "person", "1": "dog", "2": "background", "3": "dog", "4": "background"}
    assert {"0", "1", "3"} <= dict(pairs).keys()
    assert all(clear[region] == name for region, name in pairs)


def test_nothing_dense_is_asked_of_a_picture_without_regions(tasks: TaskMaker) -> None:
    truth = find_truth(make_image(), BOXES[:0], tasks.index)
    assert tasks.dense(truth, 10, np.random.default_rng(0)) is None


def test_a_closed_vocabulary_learns_free_phrases_of_its_names_only(tasks: TaskMaker) -> None:
    said = (Reference("black dog", (0,)), Reference("old lamp", ()), Reference("white dog", ()))
    image = replace(make_image(), phrases=said)
    phrases = tasks.references(image, find_truth(image, BOXES, tasks.index), 8, np.random.default_rng(0))
    by_text = {phrase.text: phrase for phrase in phrases}
    assert set(by_text) == {"black dog", "white dog"}
    assert {phrase.name for phrase in phrases} == {1}  # it means a dog
    assert by_text["black dog"].targets.tolist() == [0, 1, 0, 1, 0]
    assert by_text["white dog"].targets.sum() == 0


def test_chosen_regions_are_the_best_proposals_in_order_with_drawn_ones_between() -> None:
    kind = np.array([PROPOSAL] * 30 + [ANNOTATED] * 3, dtype=np.uint8)
    picture = Picture(make_image(), np.zeros((33, 4)), kind, np.zeros((33, 2)), np.zeros((4, 3)), (2, 2))
    for seed in range(30):
        chosen = choose_regions(picture, most=20, by_hand=0.5, rng=np.random.default_rng(seed))
        proposals = chosen[kind[chosen] == PROPOSAL]
        assert proposals.tolist() == list(range(len(proposals)))
        assert len(chosen) <= 20
        assert len(set(chosen.tolist())) == len(chosen)


def test_given_boxes_stand_alone_in_their_order_and_the_needed_are_among_them() -> None:
    kind = np.array([PROPOSAL] * 30 + [ANNOTATED] * 8, dtype=np.uint8)
    picture = Picture(make_image(), np.zeros((38, 4)), kind, np.zeros((38, 2)), np.zeros((4, 3)), (2, 2))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert choose_regions(picture, most=20, by_hand=0.5, rng=rng, given=1.0).tolist() == list(range(30, 38))
        few = choose_regions(picture, most=5, by_hand=0.5, rng=rng, needed=(6, 7), given=1.0)
        assert len(few) == 5
        assert few.tolist() == sorted(few.tolist())
        assert {36, 37} <= set(few.tolist()) <= set(range(30, 38))


def test_jittered_boxes_stay_boxes_inside_the_picture() -> None:
    boxes = np.array([[0, 0, 100, 100], [40, 40, 41, 41]], dtype=np.float32)
    for seed in range(50):
        moved = jitter(boxes, (100, 100), np.random.default_rng(seed))
        assert (moved[:, 2:] >= moved[:, :2]).all()
        assert moved.min() >= 0
        assert moved.max() <= 100
    assert jitter(boxes[:0], (100, 100), np.random.default_rng(0)).shape == (0, 4)


def test_unknown_words_are_nouns_that_mean_no_name() -> None:
    sentences = ["A dog on the grass.", "Grass and a puppy", "the quickly grass"] * 3
    assert unknown_words(sentences, NAMES) == ("grass",)
