"""Laws of augmentation: boxes follow their pixels, nothing stands outside, and words stay true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from fo1agent.errors import InputError
from fo1agent.regions.boxes import intersections
from fo1agent.trainers.data.augment import (
    AugmentRecipe,
    Window,
    augment,
    can_mirror,
    crop,
    free_window,
    jitter_color,
    mirror,
    object_window,
    says_side,
    scale,
)
from fo1agent.trainers.data.records import Example, Reference, Turn


@st.composite
def spans(draw, most: int) -> tuple[int, int]:
    low = draw(st.integers(0, most - 1))
    return low, draw(st.integers(low + 1, most))


@st.composite
def windows(draw, width: int, height: int) -> Window:
    (x1, x2), (y1, y2) = draw(spans(width)), draw(spans(height))
    return x1, y1, x2, y2


@st.composite
def examples(draw, most: int = 5, names: tuple[str, ...] = ("cup", "person", "")) -> Example:
    width, height = draw(st.integers(4, 60)), draw(st.integers(4, 60))
    boxes = draw(st.lists(windows(width, height), max_size=most))
    count = len(boxes)
    labels = tuple(draw(st.sampled_from(names)) for _ in boxes)
    phrases, turns = [], []
    if count:
        some = st.lists(st.integers(0, count - 1), max_size=3, unique=True)
        chosen = draw(st.lists(some, max_size=4, unique_by=lambda c: tuple(sorted(c))))
        phrases = [Reference(f"thing {sorted(c)}", tuple(c)) for c in chosen]
        turns = [Turn("What?", "".join(f"<region{k}>" for k in c)) for c in chosen]
    crowd = np.array([draw(st.booleans()) for _ in boxes], dtype=bool)
    absent = ("dog",)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Example(
        1, None, width, height, array, labels, crowd, absent=absent, phrases=tuple(phrases), turns=tuple(turns)
    )


def painted(example: Example, k: int) -> Image.Image:
    """The picture with box `k` white on black."""
    image = Image.new("RGB", (example.width, example.height))
    x1, y1, x2, y2 = (int(v) for v in example.boxes[k])
    ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), fill="white")
    return image


def assert_sound(example: Example) -> None:
    count = len(example.boxes)
    assert len(example.labels) == len(example.crowd) == count
    assert example.boxes.dtype == np.float32
    assert (example.boxes >= 0).all()
    assert (example.boxes[:, [2, 3]] <= [example.width, example.height]).all()
    assert (example.boxes[:, 2:] > example.boxes[:, :2]).all()
    for phrase in example.phrases:
        assert all(0 <= k < count for k in phrase.boxes)
    for turn in example.turns:
        assert all(f"<region{k}>" not in turn.reply for k in range(count, count + 10))


@settings(deadline=None)
@given(examples())
def test_mirroring_twice_is_nothing(example: Example) -> None:
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (example.height, example.width, 3), dtype=np.uint8)
    )
    once = mirror(image, example)
    again, back = mirror(*once)
    assert again.tobytes() == image.tobytes()
    np.testing.assert_allclose(back.boxes, example.boxes, atol=1e-4)
    assert (back.labels, back.phrases, back.turns) == (example.labels, example.phrases, example.turns)
    assert_sound(once[1])


@settings(deadline=None)
@given(examples(), st.data())
def test_boxes_follow_their_pixels(example: Example, data: st.DataObject) -> None:
    window = data.draw(windows(example.width, example.height))
    changes = (
        lambda image: mirror(image, example),
        lambda image: crop(image, example, window, keep=0),
    )
    for change in changes:
        found = []  # what is white afterwards, box by box, each painted alone
        _, after = change(Image.new("RGB", (example.width, example.height)))
        assert_sound(after)
        for k in range(len(example.boxes)):
            image, _ = change(painted(example, k))
            assert image.size == (after.width, after.height)
            if seen := image.getbbox():
                found.append(seen)
        if found:
            np.testing.assert_array_equal(np.array(found).reshape(-1, 4), after.boxes)  # in their order, none else


@settings(deadline=None)
@given(examples(), st.floats(0.3, 3))
def test_scaled_boxes_follow_their_pixels_within_one(example: Example, factor: float) -> None:
    for k in range(len(example.boxes)):
        image, after = scale(painted(example, k), example, factor)
        assert_sound(after)
        seen = image.convert("L").point([0] * 128 + [255] * 128).getbbox()
        if seen:  # a thin box may fade when it is made small
            assert np.abs(np.array(seen) - after.boxes[k]).max() <= 1.0 + 0.5 * max(1, factor)


@settings(deadline=None)
@given(examples(), st.data(), st.floats(0, 1))
def test_a_crop_keeps_what_is_left_and_the_words_about_it(example: Example, data: st.DataObject, keep: float) -> None:
    window = data.draw(windows(example.width, example.height))
    image = Image.new("RGB", (example.width, example.height))
    _, after = crop(image, example, window, keep)
    assert_sound(after)
    # Which boxes of before the boxes of after are: in order, by what is left of them.
    x1, y1, x2, y2 = window
    boxes = example.boxes.astype(np.float64)
    cut = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
    sides = np.maximum(cut[:, 2:] - cut[:, :2], 0)
    share = sides.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept = [k for k in range(len(share)) if share[k] > 0 and (example.crowd[k] or share[k] >= keep)]
    assert after.labels == tuple(example.labels[k] for k in kept)
    np.testing.assert_array_equal(after.crowd, example.crowd[kept])
    # A phrase names the same things as before, as far as they are there.
    before = {phrase.text: {k for k in phrase.boxes if k in kept} for phrase in example.phrases}
    for phrase in after.phrases:
        assert {kept[k] for k in phrase.boxes} == before.pop(phrase.text)
    assert all(not named for named in before.values())  # what went had nothing left
    # A turn stays only if all its regions did.
    wanted = [t for t in example.turns if t.reply and all(int(k) in kept for k in t.reply[7:-1].split("><region"))]
    assert len(after.turns) == len(wanted)
    for was, now in zip(wanted, after.turns, strict=True):
        assert [kept[int(k)] for k in now.reply[7:-1].split("><region")] == [
            int(k) for k in was.reply[7:-1].split("><region")
        ]


@settings(deadline=None)
@given(examples(), st.data())
def test_exhaustive_crops_know_what_they_no_longer_show(example: Example, data: st.DataObject) -> None:
    window = data.draw(windows(example.width, example.height))
    image = Image.new("RGB", (example.width, example.height))
    _, after = crop(image, example, window, keep=1, exhaustive={"cup", "person"})
    inside = (intersections(np.array([window], float), example.boxes.astype(float)) > 0)[0]
    for name in after.absent[1:]:
        assert not any(inside[k] for k, label in enumerate(example.labels) if label == name)
    assert not set(after.absent) & set(after.labels)


@settings(deadline=None)
@given(examples(most=20), st.integers(0, 100))
def test_free_windows_show_nothing_of_what_they_avoid(example: Example, seed: int) -> None:
    window = free_window(example, ("person",), np.random.default_rng(seed), margin=0)
    assume(window is not None)
    assert window is not None
    people = example.boxes[[label == "person" for label in example.labels]].astype(float)
    assert not intersections(np.array([window], float), people).any()
    _, after = crop(Image.new("RGB", (example.width, example.height)), example, window, exhaustive=("person",))
    assert "person" in after.absent


@settings(deadline=None)
@given(examples(), st.integers(0, 100))
def test_object_windows_hold_an_object_whole(example: Example, seed: int) -> None:
    window = object_window(example, np.random.default_rng(seed), least=8)
    if window is None:
        assert example.crowd.all()
        return
    x1, y1, x2, y2 = window
    assert 0 <= x1 < x2 <= example.width
    assert 0 <= y1 < y2 <= example.height
    whole = (example.boxes[:, :2] >= [x1, y1]).all(axis=1) & (example.boxes[:, 2:] <= [x2, y2]).all(axis=1)
    assert (whole & ~example.crowd).any()


@settings(deadline=None)
@given(examples(), st.integers(0, 1000))
def test_augmented_examples_are_sound_and_repeatable(example: Example, seed: int) -> None:
    recipe = AugmentRecipe(mirror=0.5, crop=0.5, free_crop=0.5, scale=(0.5, 2.0), color=0.3)
    image = Image.new("RGB", (example.width, example.height), "orange")
    first = augment(image, example, recipe, np.random.default_rng(seed))
    again = augment(image, example, recipe, np.random.default_rng(seed))
    assert first[0].size == (first[1].width, first[1].height)
    assert first[0].tobytes() == again[0].tobytes()
    np.testing.assert_array_equal(first[1].boxes, again[1].boxes)
    assert_sound(first[1])


def bare(**fields) -> Example:
    boxes = np.array([[1, 1, 5, 5], [6, 1, 9, 5]], np.float32)
    return Example(1, None, 10, 10, boxes, ("cup", "dog"), np.zeros(2, bool), **fields)


IMAGE = Image.new("RGB", (10, 10))


@pytest.mark.parametrize(
    "fields",
    [
        {"captions": ("A cup, and a dog to its right.",)},
        {"phrases": (Reference("the leftmost cup", (0,)),)},
        {"turns": (Turn("Is <region0> left of <region1>?", "Yes."),)},
        {"turns": (Turn("Which way does it turn?", "Counterclockwise."),)},
        {"turns": (Turn("Where is the cup?", "At [1, 1, 5, 5]."),)},
        {"texts": ("STOP", None)},
    ],
)
def test_what_names_a_side_or_is_to_be_read_is_not_mirrored(fields: dict) -> None:
    example = bare(**fields)
    assert not can_mirror(example)
    with pytest.raises(InputError, match="cannot be mirrored"):
        mirror(IMAGE, example)
    assert augment(IMAGE, example, AugmentRecipe(mirror=1), np.random.default_rng(0))[1] is example


@pytest.mark.parametrize("sentence", ["a bright cup", "upright", "It is lefty's", "twelve clocks"])
def test_other_words_name_no_side(sentence: str) -> None:
    assert says_side(sentence) is (sentence == "It is lefty's")  # better once too often than too rarely


def test_a_crop_leaves_out_what_it_may_have_made_false() -> None:
    example = bare(
        captions=("A cup and a dog.",),
        phrases=(Reference("the left cup", (0,)), Reference("a cup", (0,)), Reference("a cat")),
        turns=(Turn("How many cups?", "1"), Turn("What is <region1>?", "A dog.")),
        texts=("TEA", "DOG"),
    )
    _, after = crop(IMAGE, example, (2, 0, 10, 10), keep=0.5)
    assert after.captions == ()
    assert after.phrases == (Reference("a cup", (0,)), Reference("a cat"))
    assert after.turns == (Turn("What is <region1>?", "A dog."),)
    assert after.texts == (None, "DOG")  # the cut one cannot be read
    assert (after.path, after.data) == (None, None)


def test_coordinates_in_words_forbid_every_move() -> None:
    example = bare(turns=(Turn("Where is the cup?", "At (1, 1)."),))
    for change in (
        lambda: crop(IMAGE, example, (0, 0, 5, 5)),
        lambda: scale(IMAGE, example, 2),
    ):
        with pytest.raises(InputError, match="its turns write coordinates"):
            change()


def test_color_changes_leave_the_hue() -> None:
    red = Image.new("RGB", (2, 2), (200, 40, 40))
    for seed in range(20):
        r, g, b = np.asarray(jitter_color(red, 0.4, np.random.default_rng(seed)))[0, 0].tolist()
        assert r > g + 20
        assert abs(g - b) <= 1


@pytest.mark.parametrize("fields", [{"mirror": 1.5}, {"keep": -0.1}, {"scale": (0, 1)}, {"scale": (2, 1)}])
def test_a_wrong_recipe_is_refused(fields: dict) -> None:
    with pytest.raises(InputError, match=r"augment\."):
        AugmentRecipe(**fields)
