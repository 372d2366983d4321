"""Lessons: what is taught stands beside the model, and of what it knew not a bit is another one."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fo1agent.errors import InputError
from fo1agent.model import reading, weights
from fo1agent.model.lesson import Found, Lesson, own_boxes
from fo1agent.model.predictor import Predictor
from fo1agent.pictures.image import load_image
from fo1agent.prompts import render
from fo1agent.regions.regions import Regions
from fo1agent.scene import Model
from fo1agent.trainers.finetune import save_taught
from fo1agent.trainers.lesson import new_lesson
from tests.tiny_models import FIXTURES, VOCABULARY, nano

IMAGE = load_image(Image.open(FIXTURES / "images" / "d_97x65_3.png"))
BOXES = np.array([[24.0, 3.88, 91.35, 48.7], [32.22, 17.12, 45.79, 61.6]])


def taught(*names: str, look: float = 0.0) -> Predictor:
    """The tiny nano with a lesson whose finder and looks are random, but for the mean of the looks."""
    model, processor = copy.deepcopy(nano()[0]), nano()[1]
    torch.manual_seed(1)
    lesson = new_lesson(model, names)
    torch.nn.init.normal_(lesson.finder.score.weight, std=2.0)
    torch.nn.init.constant_(lesson.looks.bias, look)
    model.lessons.append(lesson.requires_grad_(False))
    return Predictor(model, processor, name="taught", fingerprint="c")


@pytest.fixture
def before() -> Predictor:
    return Predictor(*nano(), name="nano", fingerprint="b")


@pytest.fixture
def after() -> Predictor:
    return taught("yield sign", "cone")


def test_names_that_it_had_are_scored_as_before_bit_for_bit(before: Predictor, after: Predictor) -> None:
    old, new = before.encode(IMAGE), after.encode(IMAGE)
    assert len(new) > len(old)  # the lesson finds boxes that the model does not
    np.testing.assert_array_equal(new.boxes[: len(old)], old.boxes)
    assert new.read == len(old)
    phrases = [*VOCABULARY, "a brown dog"]
    was, now = before.match(old, phrases), after.match(new, phrases)
    np.testing.assert_array_equal(now[:, : len(old)], was)
    assert not now[:, len(old) :].any()  # boxes of the lesson are none of the old names


def test_names_asked_for_together_do_not_change_each_other(before: Predictor) -> None:
    old, new = before.encode(IMAGE), (model := taught("yield sign")).encode(IMAGE)
    together = model.match(new, ["yield sign", *VOCABULARY])
    np.testing.assert_array_equal(together[1:, : len(old)], before.match(old, VOCABULARY))
    np.testing.assert_array_equal(together[0], new.taught["yield sign"])


def test_what_the_model_says_is_as_before(before: Predictor, after: Predictor) -> None:
    old, new = before.encode(IMAGE), after.encode(IMAGE)
    for question in (render("grounding"), render("brief_region_caption", "<region0>")):
        assert after.generate(new, question, 8) == before.generate(old, question, 8)


def test_the_new_names_come_last_in_the_vocabulary_and_are_regions_best_names(after: Predictor) -> None:
    assert after.vocabulary == (*VOCABULARY, "yield sign", "cone")
    assert after.taught == {"yield sign", "cone"}
    encoding = after.encode(IMAGE)
    labels, scores = after.labels(encoding)
    assert set(labels[encoding.read :]) <= after.taught
    assert scores[encoding.read] == max(encoding.taught[name][encoding.read] for name in after.taught)


def test_a_name_taught_again_loses_nothing_that_was_found(before: Predictor) -> None:
    model = taught("dog", look=2.0)
    old, new = before.encode(IMAGE), model.encode(IMAGE)
    assert model.vocabulary == VOCABULARY
    assert model.taught == set()
    was, now = before.match(old, VOCABULARY), model.match(new, VOCABULARY)
    own = np.pad(was[1], (0, len(new) - len(old)))
    np.testing.assert_allclose(now[1], 1 - (1 - own) * (1 - new.taught["dog"]), rtol=1e-12)
    assert (now[1] >= own).all()
    assert (now[1] > own).any()
    np.testing.assert_array_equal(now[[0, 2], : len(old)], was[[0, 2]])


def test_boxes_from_outside_are_judged_and_none_are_added(after: Predictor) -> None:
    given = after.encode(IMAGE, Regions(BOXES, np.ones(2), (None, None), ("img_0/r0", "img_0/r1")))
    drawn = after.with_boxes(after.encode(IMAGE), BOXES)
    for encoding in (given, drawn):
        np.testing.assert_array_equal(encoding.boxes, BOXES)
        assert after.match(encoding, ["cone", "dog"]).shape == (2, 2)


def test_questions_about_boxes_of_a_lesson_are_read_with_them(after: Predictor) -> None:
    encoding = after.encode(IMAGE)
    last = len(encoding) - 1
    asked = render("brief_region_caption", f"<region{last}>")
    assert encoding.read == after.max_regions  # so the last box makes place
    shown = after.with_boxes(encoding, np.concatenate([encoding.boxes[: encoding.read - 1], encoding.boxes[[last]]]))
    expected = after.generate(shown, render("brief_region_caption", f"<region{encoding.read - 1}>"), 8)
    assert after.generate(encoding, asked, 8) == expected
    assert after.generate_many(encoding, [asked, render("grounding")], 8) == [
        expected,
        after.generate(encoding, render("grounding"), 8),
    ]
    after.max_regions = 0
    with pytest.raises(InputError, match="speaks of 1 regions; taught reads 0"):
        after.generate(encoding, asked, 8)


def test_a_region_called_by_a_taught_name_is_described_by_it() -> None:
    scene = Model(taught("cone", look=20.0)).open(IMAGE)
    described = scene.describe(scene.regions[0])
    assert (described.text, described.label, described.source) == ("cone", "cone", "labels")


def test_a_second_lesson_stands_beside_the_first(before: Predictor) -> None:
    model = taught("cone")
    alone = model.encode(IMAGE)
    torch.manual_seed(2)
    model.model.lessons.append(new_lesson(model.model, ["cone", "kite"]).requires_grad_(False))
    both = Predictor(model.model, model.processor, name="twice", fingerprint="d")
    assert both.vocabulary == (*VOCABULARY, "cone", "kite")
    encoding = both.encode(IMAGE)
    np.testing.assert_array_equal(encoding.boxes[: len(alone)], alone.boxes)
    assert (encoding.taught["cone"][: len(alone)] >= alone.taught["cone"]).all()
    old = before.encode(IMAGE)
    np.testing.assert_array_equal(both.match(encoding, VOCABULARY)[:, : len(old)], before.match(old, VOCABULARY))


def test_a_taught_model_is_an_ordinary_folder_whose_old_numbers_are_untouched(tmp_path: Path) -> None:
    model, processor = copy.deepcopy(nano()[0]).half(), nano()[1]
    weights.save(model, processor, tmp_path / "before")
    lesson = new_lesson(model.float(), ["cone"])
    save_taught(tmp_path / "before", lesson, tmp_path / "after")
    old, new = (reading.read_tensors(tmp_path / name) for name in ("before", "after"))
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    assert {name.split(".")[0] for name in new.keys() - old.keys()} == {"lessons"}
    loaded, _ = weights.load(tmp_path / "after")
    assert loaded.config.vocabulary == list(VOCABULARY)
    assert [one.names for one in loaded.lessons] == [("cone",)]
    assert loaded.lessons[0].looks.weight.dtype == torch.float16


def test_own_boxes_are_the_finders_best_where_the_model_has_none() -> None:
    there = torch.tensor([[0.0, 0, 10, 10]])
    found = Found(
        (torch.tensor([[0.0, 0, 10, 11], [20, 20, 30, 30]]), torch.tensor([[20.0, 20, 30, 31], [50, 50, 60, 60]])),
        (torch.tensor([0.9, 0.5]), torch.tensor([0.6, 0.1])),
    )
    boxes, scores = own_boxes(found, there)
    assert boxes.tolist() == [[20, 20, 30, 31], [50, 50, 60, 60]]
    assert scores.tolist() == pytest.approx([0.6, 0.1])
    nothing = Found((torch.zeros(0, 4),), (torch.zeros(0),))
    assert own_boxes(nothing, there)[0].shape == (0, 4)


def test_a_box_takes_the_score_of_the_found_box_it_is_times_their_overlap(before: Predictor) -> None:
    model = before.model
    lesson = Lesson(["cone"], model.config.heads["proposal"], model.aux.levels, model.region_encoder.size)
    torch.nn.init.zeros_(lesson.looks.weight)
    torch.nn.init.zeros_(lesson.looks.bias)
    found = Found((torch.tensor([[0.0, 0, 10, 10]]),), (torch.tensor([0.8]),))
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5.0], [0, 0, 10, 4], [50, 50, 60, 60]])
    finder, look = lesson.terms(found, boxes, torch.zeros(4, model.region_encoder.size))
    assert finder[0].sigmoid().tolist() == pytest.approx([0.8, 0.4, 0.001, 0.001], rel=1e-4)
    assert look.tolist() == [[0, 0, 0, 0]]
    assert lesson(found, boxes, torch.zeros(4, model.region_encoder.size)).tolist() == [
        pytest.approx((lesson.weights[0] * finder[0] + lesson.bias).tolist())
    ]
