"""How CPU time and memory of a question grow with its boxes, its picture's side and the number of questions.

    python benchmarks/growth.py [--json] [--layers 2] [--blocks 8] [--davit 1] [--size 640x480] [--boxes 100]
                                [--tokens 12] [--dtype bfloat16] [--most-side 4096] [--quick]

The model is that of full_size.py, with fewer layers: those of the language model add time, and memory only by what is
kept of a picture. "plain" and "ours" are as told there. Every point is a forked process of one thread, which answers
once: its CPU seconds, and its peak above the memory that it starts with. The exponent is the slope of the line through
the logarithms of the larger half of the points; 1 is linear. Sides are measured in pixels of the picture, which is
shrunk to a side of 2048 as the 3B does, so that exponent leaves out larger ones.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from full_size import MOST_BOXES, QUESTIONS, made, options_of, photo, plain_answer, some_boxes
from measuring import in_child, peak_mb, processor
from PIL import Image

from fo1agent.model.predictor import Predictor
from fo1agent.regions.regions import Regions

BOXES = (1, 10, 100, 300, MOST_BOXES)
SIDES = (256, 512, 1024, 2048, 4096)
QUESTIONS_AT_ONCE = (1, 2, 4, 8, 16, 32, 64)
KEPT = ((640, 480), (1024, 1024), (2048, 1536))
LAYERS, MOST_SIDE = 36, 2048  # of the 3B

Point = dict[str, float]


def main() -> None:
    parser = options_of(__doc__, layers=2, blocks=8, rounds=1, davit=1)
    parser.add_argument("--most-side", type=int, default=SIDES[-1], help="leave out larger pictures: 2048 takes 12 GB")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # processes are forked
    torch.set_num_threads(1)
    predictor, image, boxes = made(options)
    resting = round(peak_mb(), 1)
    counts, sides, questions, kept = BOXES, SIDES, QUESTIONS_AT_ONCE, KEPT
    if options.quick:
        counts, sides, questions, kept = (1, MOST_BOXES), (32, 64), (1, 8), ((64, 48),)
    sides = [side for side in sides if side <= options.most_side]
    kept = [size for size in kept if max(size) <= options.most_side]
    grown = {
        "boxes": by_boxes(predictor, image, counts, options.tokens),
        "pixels": by_side(predictor, sides, options.boxes, options.tokens),
        "questions": by_questions(predictor, image, boxes, questions, options.tokens),
    }
    found: dict[str, Any] = {
        "options": vars(options),
        "resting_mb": resting,
        **grown,
        "kept": {f"{width}x{height}": bytes_kept(predictor, width, height, options.boxes) for width, height in kept},
        "exponents": {name: {way: exponents(points) for way, points in ways.items()} for name, ways in grown.items()},
    }
    if options.json:
        print(json.dumps(found))
    else:
        print(f"{processor()}, 1 thread, torch {torch.__version__}, {options.dtype}; CPU seconds, MB above resting")
        show(found)


def show(found: Mapping[str, Any]) -> None:
    for name, ways in found["exponents"].items():
        for way, slopes in ways.items():
            for point in found[name][way]:
                print(f"  {way:<6}{point['at']:>10.0f} {name:<10}{point['seconds']:>9.2f} s{point['mb']:>9.0f} MB")
            print(
                f"  {way:<6}grows in {name} as " + ", ".join(f"{what} ^{slope:.2f}" for what, slope in slopes.items())
            )
    for size, parts in found["kept"].items():
        print(f"  kept of {size:<10} {sum(parts.values()):8.1f} MB: {parts}")


# --- what grows --------------------------------------------------------------------------------------------------


def by_boxes(predictor: Predictor, image: Image.Image, counts: Sequence[int], tokens: int) -> dict[str, list[Point]]:
    """A first question, with so many boxes in its picture."""
    some = {count: some_boxes(count, *image.size) for count in counts}
    return {
        "ours": [point(count, lambda b=b: answer(predictor, image, b, 1, tokens)) for count, b in some.items()],
        "plain": [point(count, lambda b=b: plainly(predictor, image, b, tokens)) for count, b in some.items()],
    }


def by_side(predictor: Predictor, sides: Sequence[int], count: int, tokens: int) -> dict[str, list[Point]]:
    """A first question about square pictures; plainly only about those that are not shrunk."""

    def asked(side: int, way: Callable[..., Any]) -> Point:
        picture, boxes = photo(side, side), some_boxes(count, side, side)
        return point(side**2, lambda: way(predictor, picture, boxes, tokens=tokens))

    return {
        "ours": [asked(side, answer) for side in sides],
        "plain": [asked(side, plainly) for side in sides if side <= MOST_SIDE],
    }


def by_questions(
    predictor: Predictor, image: Image.Image, boxes: np.ndarray, questions: Sequence[int], tokens: int
) -> dict[str, list[Point]]:
    """So many questions at once, about a picture that was read before."""

    def all_points() -> list[Point]:
        encoding = read(predictor, image, boxes)
        return [point(n, lambda n=n: write(predictor, encoding, n, tokens)) for n in questions]

    return {"ours": in_child(all_points)[0]}


def bytes_kept(predictor: Predictor, width: int, height: int, count: int) -> dict[str, float]:
    """Megabytes that are kept of a picture at the 3B's depth; every layer of its language model keeps as much."""

    def measure() -> dict[str, float]:
        encoding = read(predictor, photo(width, height), some_boxes(count, width, height))
        state = sum(tensor.nbytes for tensor in encoding.prefix.tensors())
        layer = state / predictor.model.config.get_text_config().num_hidden_layers
        return {"keys and values": LAYERS * layer / 1e6, "all else": (encoding.nbytes - state) / 1e6}

    return in_child(measure)[0]


def point(at: float, work: Callable[[], Any]) -> Point:
    _, seconds, mb = in_child(work)
    print(f"{at:>10.0f}{seconds:>9.2f} s{mb:>9.0f} MB", file=sys.stderr, flush=True)  # all together take minutes
    return {"at": at, "seconds": round(seconds, 4), "mb": round(mb, 1)}


def exponents(points: Sequence[Point]) -> dict[str, float]:
    """By which power of `at` seconds and megabytes grow, in the larger half of the points."""
    known = [one for one in points if one["at"] <= MOST_SIDE**2]
    larger = known[-max(2, (len(known) + 1) // 2) :]
    at = np.log([one["at"] for one in larger])
    return {
        what: round(float(np.polyfit(at, np.log([max(one[key], 1e-3) for one in larger]), 1)[0]), 2)
        for what, key in (("time", "seconds"), ("memory", "mb"))
    }


# --- what is asked -----------------------------------------------------------------------------------------------


def answer(predictor: Predictor, image: Image.Image, boxes: np.ndarray, questions: int = 1, tokens: int = 12) -> None:
    write(predictor, read(predictor, image, boxes), questions, tokens)


def plainly(predictor: Predictor, image: Image.Image, boxes: np.ndarray, tokens: int) -> None:
    predictor.stop_ids = frozenset()
    plain_answer(predictor, image, boxes, QUESTIONS[0], tokens)


def read(predictor: Predictor, image: Image.Image, boxes: np.ndarray) -> Any:
    ids = tuple(f"r{k}" for k in range(len(boxes)))
    return predictor.encode(image, Regions(boxes, np.ones(len(boxes)), (None,) * len(boxes), ids))


def write(predictor: Predictor, encoding: Any, questions: int, tokens: int) -> None:
    """Answers without an end, so that every way writes as many tokens."""
    predictor.stop_ids = frozenset()
    predictor.generate_many(encoding, [QUESTIONS[k % len(QUESTIONS)] for k in range(questions)], tokens)


if __name__ == "__main__":
    main()
