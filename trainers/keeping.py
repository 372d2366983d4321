"""What a model finds of the names that it had, before and after it was taught more.

Two measures. Without labels: the model's own former sure answers, on whatever pictures there are; each should be given
again, and no others. With a COCO file: average precision of each old name that it labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.evaluate import coco
from fo1agent.evaluate.coco import Matches
from fo1agent.evaluate.detection import Run
from fo1agent.regions.boxes import claims, iou
from fo1agent.scene import Scene

SAME = 0.5  # IoU from which two answers are about the same thing
PACKAGED = ("bus.jpg", "cat.jpg")

Answers = Mapping[str, np.ndarray]
"""Of one picture: the boxes [N, 4] that were found of each name, of which any was."""


@dataclass(frozen=True)
class NameKept:
    """One name, over all pictures: things found before and after, and those found both times."""

    name: str
    before: int
    after: int
    same: int

    @property
    def changed(self) -> bool:
        """Whether any answer is another one."""
        return not self.before == self.after == self.same


@dataclass(frozen=True)
class Kept:
    """How far a model still gives its former answers.

    Attributes:
        names: those of which anything was found.
        known: how many names were asked for.
        pictures: looked at.
    """

    names: tuple[NameKept, ...]
    known: int
    pictures: int

    @property
    def total(self) -> NameKept:
        """All names together."""
        counts = np.array([(n.before, n.after, n.same) for n in self.names], dtype=int).reshape(-1, 3).sum(axis=0)
        return NameKept("all", *counts.tolist())

    @property
    def changed(self) -> tuple[NameKept, ...]:
        """The names of which answers changed."""
        return tuple(name for name in self.names if name.changed)

    def to_dict(self) -> dict[str, Any]:
        """For `--json` and the model's own record."""
        return {
            "pictures": self.pictures,
            "names_asked": self.known,
            "names": [asdict(name) for name in (self.total, *self.names)],
        }


@dataclass(frozen=True)
class NameChecked:
    """Average precision of one name before and after, percent."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class Checked:
    """Average precision of the old names that a COCO file labels, and their mean."""

    file: str
    pictures: int
    names: tuple[NameChecked, ...]

    @property
    def mean(self) -> NameChecked:
        """Over the names."""
        before, after = np.mean([(name.before, name.after) for name in self.names], axis=0).tolist()
        return NameChecked("all", before, after)

    @property
    def changed(self) -> tuple[NameChecked, ...]:
        """The names whose figure changed."""
        return tuple(name for name in self.names if name.before != name.after)

    def to_dict(self) -> dict[str, Any]:
        """For `--json` and the model's own record."""
        rows = [
            {"name": row.name, "AP_before": round(row.before, 2), "AP_after": round(row.after, 2)}
            for row in (self.mean, *self.names)
        ]
        return {"file": self.file, "pictures": self.pictures, "names": rows}


def packaged_pictures() -> list[Path]:
    """The photographs that come with the package."""
    return [Path(str(files("fo1agent") / "data" / "demo" / name)) for name in PACKAGED]


def answers(scene: Scene, names: Sequence[str]) -> Answers:
    """What a scene takes for found of each name."""
    return {name: found.boxes for name, found in scene.ground_many(names).items() if len(found)}


def compare(before: Sequence[Answers], after: Sequence[Answers], names: Sequence[str]) -> Kept:
    """Answers on the same pictures, before and after."""
    nothing = np.zeros((0, 4))
    rows = []
    for name in names:
        pairs = [(b.get(name, nothing), a.get(name, nothing)) for b, a in zip(before, after, strict=True)]
        counts = np.array([(len(b), len(a), claims(iou(b, a), SAME).sum()) for b, a in pairs], dtype=int)
        counts = counts.reshape(-1, 3).sum(axis=0)
        if counts.any():
            rows.append(NameKept(name, *counts.tolist()))
    return Kept(tuple(rows), len(names), len(before))


def precisions(run: Run) -> dict[str, float]:
    """Average precision of each name that a run's file shows, percent."""
    names = {category["id"]: category["name"] for category in run.truth["categories"]}
    evaluator = coco.match(run.truth, run.detections, run.image_ids, areas=False)
    matches = Matches.of(evaluator)
    each = {
        names[number]: Matches((ranked,), matches.pictures).average_precision()[0]
        for number, ranked in zip(evaluator.params.catIds, matches.categories, strict=True)
    }
    return {name: value for name, value in each.items() if not np.isnan(value)}


def checked(file: Path | None, before: Run | None, after: Run | None, names: Sequence[str]) -> Checked | None:
    """Two runs on one file, if there are such, by those of the names that it shows, of which there is one."""
    if before is None or after is None:
        return None
    then, now = precisions(before), precisions(after)
    rows = tuple(NameChecked(name, then[name], now[name]) for name in names if name in then)
    return Checked(str(file), len(after.records), rows)
