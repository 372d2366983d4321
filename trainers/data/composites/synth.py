"""Write composites as training data: pictures, lines, the pairs that are held out, and where the cut-outs come from."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.trainers.data.composites.backgrounds import Backgrounds
from fo1agent.trainers.data.composites.phrases import absent_names, phrases_of
from fo1agent.trainers.data.composites.scenes import SceneSettings, draw_scene
from fo1agent.trainers.data.composites.stock import Stock
from fo1agent.trainers.data.files import whole
from fo1agent.trainers.data.formats.examples import write_examples
from fo1agent.trainers.data.records import Example
from fo1agent.words.colors import COLORS

_SPLITS = ("train", "dev")


@dataclass(frozen=True)
class SynthReport:
    """What was written.

    Attributes:
        scenes: by split.
        boxes: by split.
        phrases: by split; `colored` of them name a colour.
        colored: by split.
        labels: categories of the stock.
        pairs: (category, colour) pairs that can be painted; `held_out` of them only dev shows.
        held_out: see there.
        seconds: wall time of drawing and writing.
    """

    scenes: dict[str, int]
    boxes: dict[str, int]
    phrases: dict[str, int]
    colored: dict[str, int]
    labels: int
    pairs: int
    held_out: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """One object for `--json`."""
        return {**asdict(self), "seconds": round(self.seconds, 1)}


def synthesize(
    out: Path,
    stock: Stock,
    backgrounds: Backgrounds,
    settings: SceneSettings,
    counts: Mapping[str, int],
    seed: int,
    licences: Sequence[str],
) -> SynthReport:
    """Draw scenes into a new folder: `images/`, `train.jsonl`, `dev.jsonl`, `held_out.json`, `LICENCES.txt`.

    Args:
        out: the folder; it must not exist, or be empty.
        stock, backgrounds, settings: what scenes are made of, and how.
        counts: scenes per split, "train" and "dev".
        seed: the same seed gives the same scenes.
        licences: one line per source of cut-outs or photographs.

    Raises:
        DataError: the folder is not empty or cannot be written.
    """
    start = time.perf_counter()
    made: dict[str, Counter[str]] = {split: Counter() for split in _SPLITS}
    with whole(out) as folder:
        (folder / "images").mkdir(parents=True)
        for split in _SPLITS:
            if counts.get(split):
                examples = _examples(folder, split, counts[split], stock, backgrounds, settings, seed, made[split])
                write_examples(folder / f"{split}.jsonl", examples)
        pairs = [list(pair) for pair in sorted(stock.held_out)]
        (folder / "held_out.json").write_text(json.dumps(pairs, indent=1) + "\n", encoding="utf-8")
        (folder / "LICENCES.txt").write_text("".join(f"{line}\n" for line in licences), encoding="utf-8")
    return SynthReport(
        *({split: made[split][what] for split in _SPLITS} for what in ("scenes", "boxes", "phrases", "colored")),
        labels=len(stock.labels),
        pairs=len(stock.painted),
        held_out=len(stock.held_out),
        seconds=time.perf_counter() - start,
    )


def _examples(
    folder: Path,
    split: str,
    count: int,
    stock: Stock,
    backgrounds: Backgrounds,
    settings: SceneSettings,
    seed: int,
    made: Counter[str],
) -> Iterator[Example]:
    """Draw, save and describe the scenes of a split; adds to `made` as it goes."""
    held_out = split == "dev"
    backgrounds = backgrounds.part(dev=held_out)
    for k in range(count):
        rng = np.random.default_rng([seed, _SPLITS.index(split), k])
        scene = draw_scene(stock, backgrounds, settings, rng, held_out)
        path = folder / "images" / f"{split}-{k:06d}.jpg"
        scene.image.save(path, quality=int(rng.integers(72, 95)))
        phrases = phrases_of(scene.things, stock, held_out, rng)
        made["scenes"] += 1
        made["boxes"] += len(scene.things)
        made["phrases"] += len(phrases)
        made["colored"] += sum(p.text.split()[0] in COLORS for p in phrases)
        yield Example(
            f"{split}-{k:06d}",
            path,
            settings.size,
            settings.size,
            np.array([thing.box for thing in scene.things], dtype=np.float32).reshape(-1, 4),
            tuple(thing.label for thing in scene.things),
            np.zeros(len(scene.things), dtype=bool),
            absent=tuple(absent_names(scene.things, stock, rng)),
            phrases=tuple(phrases),
        )
