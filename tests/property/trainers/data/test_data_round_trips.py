"""Converting there and back keeps all that both formats have a place for."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fo1agent.errors import DataError
from fo1agent.trainers.data.convert import convert
from fo1agent.trainers.data.formats import SourceRecipe, open_source
from fo1agent.trainers.data.formats.examples import read_examples, write_examples
from fo1agent.trainers.data.records import Example, Reference, Turn, open_picture

WIDTH, HEIGHT = 97, 53
# Words as people write them: other scripts, signs that YAML, JSON and tables mind, a number, a truth value.
WORDS = st.sampled_from(
    ["cup", "chaise à bébé", "茶杯", "yes", "12", "a: b", "#1, 'x'", '"q"', "🍵 mug", "null", "two\nlines", "a\u2028b"]
)


@st.composite
def examples(draw) -> list[Example]:
    names = draw(st.lists(WORDS, min_size=1, max_size=4, unique=True))
    made = []
    for k in range(draw(st.integers(1, 3))):
        count = draw(st.integers(0, 3))
        corners = [
            sorted(draw(st.lists(st.floats(0, side, width=32), min_size=2, max_size=2, unique=True)))
            for _ in range(count)
            for side in (WIDTH, HEIGHT)
        ]
        rows = [(x[0], y[0], x[1], y[1]) for x, y in zip(corners[::2], corners[1::2], strict=True)]
        rows = [row for row in rows if row[2] - row[0] > 0.01 and row[3] - row[1] > 0.01]
        # Boxes within the first two pixels are taken for parts of the size, and refused.
        boxes = np.array([row for row in rows if max(row) > 2], np.float32)
        boxes, count = boxes.reshape(-1, 4), len(boxes)
        labels = tuple(draw(st.lists(st.sampled_from(names), min_size=count, max_size=count)))
        made.append(
            Example(
                draw(st.sampled_from([k, f"é {k}"])),
                Path(f"{k}.png"),
                WIDTH,
                HEIGHT,
                boxes,
                labels,
                np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool),
                tuple(draw(st.lists(WORDS, max_size=2))),
                tuple(name for name in names if name not in labels and draw(st.booleans())),
                tuple(Reference(words, tuple(range(count))) for words in draw(st.lists(WORDS, max_size=2))),
                tuple(draw(st.lists(st.none() | WORDS, min_size=count, max_size=count))),
                tuple(Turn(f"<region{k}> {words}?", words) for k, words in enumerate(labels)),
            )
        )
    return made


# What does not come back: a format has no place for it (see `convert`), or says it of every name.
LOST = {
    "examples": set(),
    "shards": set(),
    "coco": {"id", "phrases", "texts", "turns"},
    "yolo": {"id", "crowd", "captions", "absent", "phrases", "texts", "turns"},
}


@pytest.mark.parametrize("target", LOST)
@settings(deadline=None, max_examples=25)
@given(made=examples())
def test_there_and_back_keeps_what_both_can_say(target: str, made: list[Example]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for example in made:
            Image.new("RGB", (WIDTH, HEIGHT), (hash(example.id) % 256, 90, 90)).save(folder / str(example.path))
        write_examples(folder / "e.jsonl", _under(folder, made))
        if target == "yolo" and not any(example.labels or example.absent for example in made):
            with pytest.raises(DataError, match="nothing to name"):
                convert(read_examples(folder / "e.jsonl"), target, folder / "there")
            return
        convert(read_examples(folder / "e.jsonl"), target, folder / "there")
        if target == "coco":
            captions = folder / "there" / "captions.json"
            recipe = SourceRecipe(folder / "there" / "instances.json", captions=captions if captions.exists() else None)
        else:
            recipe = SourceRecipe(folder / "there" / ("examples.jsonl" if target == "examples" else ""))
        convert(open_source(recipe), "examples", folder / "back")
        back = list(read_examples(folder / "back" / "examples.jsonl"))
        assert len(back) == len(made)
        for was, now in zip(_under(folder, made), back, strict=True):
            kept = ~was.crowd if target == "yolo" else np.ones(len(was.boxes), dtype=bool)
            np.testing.assert_allclose(now.boxes, was.boxes[kept], atol=0 if target in ("examples", "shards") else 1e-4)
            assert now.labels == tuple(np.array(was.labels, dtype=object)[kept])
            assert open_picture(now).tobytes() == open_picture(was).tobytes()
            if "absent" not in LOST[target]:
                assert set(now.absent) == set(was.absent)  # which names are not there has no order
            for field in {"id", "captions", "phrases", "turns"} - LOST[target]:
                assert getattr(now, field) == getattr(was, field), field
            if "crowd" not in LOST[target]:
                np.testing.assert_array_equal(now.crowd, was.crowd)
            if "texts" not in LOST[target]:
                assert (now.texts or (None,) * len(now.boxes)) == was.texts


def _under(folder: Path, made: list[Example]) -> list[Example]:
    return [replace(example, path=folder / str(example.path)) for example in made]
