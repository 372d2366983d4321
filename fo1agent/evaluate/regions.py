"""Naming boxes that a person drew: what the model calls every annotated box of a COCO file, by its scores and in words.

A scene is opened with the true boxes of its picture (crowds left out), so nothing here depends on proposals. Names by
score are `Scene.regions`' labels; an open model, which has none, gets the likeliest of the file's categories. Words are
the language model's own reply to the brief-caption prompt, decoded greedily; they are exact when nothing but the name
is left after case, articles, punctuation and plural are taken away, and right in their first words when the reply
begins with the name. A picture that cannot be opened leaves its boxes unnamed, which is wrong, and is reported.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent import prompts
from fo1agent.agent.sharing import looks
from fo1agent.errors import DataError, FO1AgentError
from fo1agent.evaluate import coco
from fo1agent.evaluate.progress import track
from fo1agent.evaluate.qa import normalise
from fo1agent.regions.boxes import areas, clip, visible, xywh_to_xyxy
from fo1agent.scene import Model, Scene

LARGE = 0.02  # share of the picture above which a box is large
REPLY_TOKENS = 24  # of the words for a box; names are shorter
TOP = 20  # confusions that a report lists


@dataclass(frozen=True)
class Named:
    """One annotated box and what it was called.

    Attributes:
        image: the picture's file name.
        box: (x1, y1, x2, y2), pixels.
        share: of the picture's area.
        name: what it is.
        label: the model's name by its scores; None where it gave none.
        words: the language model's own; "" where it gave none.
    """

    image: str
    box: tuple[float, float, float, float]
    share: float
    name: str
    label: str | None
    words: str

    @property
    def large(self) -> bool:
        """Whether the box is more than `LARGE` of its picture."""
        return self.share > LARGE

    @property
    def labelled(self) -> bool:
        """Whether the scores' name is the right one."""
        return self.label is not None and normalise(self.label) == normalise(self.name)

    @property
    def worded(self) -> bool:
        """Whether the words are the name and nothing else."""
        return normalise(self.words) == normalise(self.name)

    @property
    def begun(self) -> bool:
        """Whether the words begin with the name, as "a dog on a couch" does."""
        words = normalise(self.words).split()
        return normalise(" ".join(words[: len(self.name.split())])) == normalise(self.name)

    def to_dict(self) -> dict[str, Any]:
        """One line of `--details`."""
        verdicts = {"label_right": self.labelled, "words_exact": self.worded, "first_words_right": self.begun}
        return {**vars(self), "box": [round(v, 1) for v in self.box], "share": round(self.share, 5), **verdicts}


JUDGES: dict[str, Callable[[Named], bool]] = {
    "labels": lambda box: box.labelled,
    "words": lambda box: box.worded,
    "first_words": lambda box: box.begun,
}
"""By what a box's name is judged: the scores, the words as a whole, the words' beginning."""


@dataclass(frozen=True)
class RegionsReport:
    """What came of every box, in the file's order of pictures, and the figures made of it."""

    boxes: tuple[Named, ...]
    images: int
    seconds: float
    failures: tuple[tuple[str, str], ...] = field(default=())

    def accuracy(self, judge: str, *, large: bool = False) -> float:
        """Share of boxes named right, in percent; NaN without boxes. `judge` is one of `JUDGES`."""
        return _percent(map(JUDGES[judge], self._chosen(large)))

    def class_mean(self, judge: str, *, large: bool = False) -> float:
        """Mean over the classes that are there of the share of their boxes named right, in percent."""
        by_class: dict[str, list[bool]] = {}
        for box in self._chosen(large):
            by_class.setdefault(box.name, []).append(JUDGES[judge](box))
        return float(np.mean([_percent(right) for right in by_class.values()])) if by_class else float("nan")

    def per_class(self) -> dict[str, dict[str, float]]:
        """By name, most boxes first: how many there are and the percentage named right by each judge."""
        counts = Counter(box.name for box in self.boxes)
        return {
            name: {
                "boxes": number,
                **{
                    judge: round(_percent(right(box) for box in self.boxes if box.name == name), 1)
                    for judge, right in JUDGES.items()
                },
            }
            for name, number in counts.most_common()
        }

    def confusions(self, by: str = "labels") -> Counter[tuple[str, str]]:
        """(true name, what was said) → boxes, of those that were named wrong; `by` is "labels" or "words"."""
        wrong = (box for box in self.boxes if not JUDGES[by](box))
        return Counter((box.name, str(box.label) if by == "labels" else normalise(box.words)) for box in wrong)

    def summary(self) -> dict[str, Any]:
        """The figures of a screen, in percent: all boxes and mean over classes, the same for large boxes."""
        return {
            **{
                judge: {
                    "all": _rounded(self.accuracy(judge)),
                    "class_mean": _rounded(self.class_mean(judge)),
                    "large": _rounded(self.accuracy(judge, large=True)),
                    "large_class_mean": _rounded(self.class_mean(judge, large=True)),
                }
                for judge in JUDGES
            },
            "boxes": len(self.boxes),
            "large_boxes": sum(box.large for box in self.boxes),
            "images": self.images,
            "failures": len(self.failures),
            "seconds": round(self.seconds, 1),
        }

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`: the summary, the commonest confusions, and the classes one by one."""
        confusions = {
            by: [{"name": name, "said": said, "boxes": n} for (name, said), n in self.confusions(by).most_common(TOP)]
            for by in ("labels", "words")
        }
        return {**self.summary(), "confusions": confusions, "per_class": self.per_class()}

    def _chosen(self, large: bool) -> Iterable[Named]:
        return (box for box in self.boxes if box.large) if large else self.boxes


def evaluate(
    model: Model, instances: Path, images: Path, *, limit: int | None = None, words: bool = True
) -> RegionsReport:
    """Let a model name every annotated box.

    Args:
        model: opens pictures; its predictor must decode many questions at once (`Predictor.generate_many`).
        instances: see `coco.read_instances`; boxes without area inside their picture are left out.
        images: the folder of the pictures.
        limit: only the first so many pictures; None for all.
        words: False leaves out the language model's own words.

    Raises:
        DataError: the instances file is not what COCO prescribes, or the folder is none.
    """
    start = time.perf_counter()
    truth = coco.read_instances(instances)
    if not images.is_dir():
        raise DataError(f"--images {images}: no such folder.")
    if unsized := [r["file_name"] for r in truth["images"] if not r.get("width") or not r.get("height")]:
        raise DataError(f"{instances}: image {unsized[0]} has no width or height.")
    pictures = _annotated(truth, truth["images"][:limit])
    most = model.predictor.max_regions
    parts = [
        (number, picture.boxes[first : first + most])
        for number, picture in enumerate(pictures)
        for first in range(0, len(picture.boxes), most)
    ]
    categories = [category["name"] for category in truth["categories"]]
    said: list[list[tuple[str | None, str]]] = [[] for _ in pictures]
    failed: dict[int, str] = {}
    looked_at = looks(
        parts,
        lambda part: model.open(images / pictures[part[0]].file_name, boxes=part[1]),
        lambda scene: _say(scene, categories, words),
    )
    for (number, _), _, got in track(looked_at, len(parts), "naming"):
        if isinstance(got, FO1AgentError):
            failed.setdefault(number, str(got))
        else:
            said[number] += got
    for number in failed:
        said[number] = [(None, "")] * len(pictures[number].boxes)
    found = [box for picture, own in zip(pictures, said, strict=True) for box in picture.named(own)]
    failures = [(pictures[number].file_name, why) for number, why in failed.items()]
    return RegionsReport(tuple(found), len(pictures), time.perf_counter() - start, tuple(failures))


@dataclass(frozen=True, eq=False)
class _Annotated:
    """A picture, and its boxes [N, 4] that show something of it."""

    file_name: str
    area: int
    boxes: np.ndarray
    names: Sequence[str]

    def named(self, said: Sequence[tuple[str | None, str]]) -> Iterable[Named]:
        shares = areas(self.boxes) / self.area
        for box, share, name, (label, text) in zip(self.boxes.tolist(), shares, self.names, said, strict=True):
            yield Named(self.file_name, tuple(box), float(share), name, label, text)


def _annotated(truth: dict[str, Any], records: Sequence[dict[str, Any]]) -> list[_Annotated]:
    names = {category["id"]: category["name"] for category in truth["categories"]}
    annotations: dict[int, list[dict[str, Any]]] = {}
    for row in truth["annotations"]:
        if not row["iscrowd"]:
            annotations.setdefault(row["image_id"], []).append(row)
    pictures = []
    for record in records:
        rows, size_hw = annotations.get(record["id"], []), (record["height"], record["width"])
        boxes = xywh_to_xyxy(np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4))
        seen = np.flatnonzero(visible(boxes, size_hw))
        own = [names[rows[k]["category_id"]] for k in seen]
        pictures.append(_Annotated(record["file_name"], size_hw[0] * size_hw[1], clip(boxes[seen], size_hw), own))
    return pictures


def _say(scene: Scene, categories: Sequence[str], words: bool) -> list[tuple[str | None, str]]:
    """Name by score and words for each region of a scene."""
    predictor: Any = scene.model.predictor
    labels: list[str | None] = list(scene.regions.labels)
    if predictor.vocabulary is None:
        best = predictor.match(scene.encoding, categories).argmax(axis=0)
        labels = [categories[int(k)] for k in best]
    texts = [""] * len(labels)
    if words:
        questions = [prompts.render("brief_region_caption", f"<region{k}>") for k in range(len(labels))]
        replies = predictor.generate_many(scene.encoding, questions, REPLY_TOKENS)
        texts = [prompts.parse(reply, len(labels)).text for reply in replies]
    return list(zip(labels, texts, strict=True))


def _percent(right: Iterable[bool]) -> float:
    verdicts = list(right)
    return 100 * sum(verdicts) / len(verdicts) if verdicts else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 2)
