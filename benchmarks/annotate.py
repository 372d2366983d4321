"""What `fo1agent annotate` costs beside the bare model, and whether its memory grows with the rows.

    python benchmarks/annotate.py PHOTOS [--rows 20000]

First fo1-nano looks for eight words in the photographs of a folder, in turn bare (opened in batches of 16,
`Album.ground_many`) and as a job, three rounds each; CPU seconds of the whole process, so that other work beside it
changes little. Then a job of many rows runs with a model that computes nothing, since memory is the question: 64
pictures of 64x64, over and over.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

import fo1agent
from fo1agent.annotate.job import Job, Progress, here, run
from fo1agent.annotate.sources import Listing, Reader, listing
from fo1agent.annotate.tasks import Task
from fo1agent.scene import Album, Model, batches

ROUNDS = 3
WORDS = ("person", "car", "dog", "chair", "bottle", "bus", "cup", "book")


class Encoding:
    """Twenty boxes, the same in each picture."""

    boxes = np.tile([4.0, 4.0, 30.0, 30.0], (20, 1)) + np.arange(20)[:, None]
    objectness = np.full(20, 0.5)
    note, source, nbytes = "", "none", 0


class Nothing:
    """A predictor that computes nothing."""

    name, fingerprint, vocabulary, taught, max_regions = "nothing", "0" * 16, None, frozenset(), 100
    thresholds = {"ground": 0.25, "count": 0.25, "exists": 0.15}  # noqa: RUF012

    def encode(self, image: Any, proposals: Any = None) -> Encoding:
        return Encoding()

    def match(self, encoding: Any, phrases: Any) -> np.ndarray:
        return np.full((len(phrases), 20), 0.6)


def bare(model: Model, items: Any) -> None:
    read = Reader()
    for batch in batches(items, lambda item: model.open(read(item))):
        Album([scene for _, scene in batch]).ground_many(WORDS, threshold=0.0)


def job(model: Model, listed: Listing, folder: Path, on_progress: Any = None) -> None:
    task = Task("detect", WORDS, threshold=0.0)
    run(Job(folder, listed, task, {}), lambda: here(model), on_progress)


def overhead(photos: Path) -> None:
    listed = listing(str(photos))
    seconds: dict[str, list[float]] = {"bare": [], "job": []}
    for _ in range(ROUNDS):
        for name in seconds:
            model = fo1agent.load()  # with nothing kept of the round before
            with tempfile.TemporaryDirectory() as folder:
                began = time.process_time()
                if name == "bare":
                    bare(model, listed.items)
                else:
                    job(model, listed, Path(folder))
                seconds[name].append(time.process_time() - began)
    each = {name: 1000 * median(took) / len(listed.items) for name, took in seconds.items()}
    print(f"{len(listed.items)} pictures, ms of CPU each: bare {each['bare']:.1f}, job {each['job']:.1f}")
    print(f"overhead {100 * (each['job'] / each['bare'] - 1):+.1f} %; rounds {seconds}")


def memory(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(64):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        items = tuple(islice(cycle(listing(name).items), rows))
        told = set()

        def tell(progress: Progress) -> None:
            tenth = 10 * progress.done // rows
            if tenth not in told:
                told.add(tenth)
                now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
                print(f"{progress.done:6} rows: {now:.0f} MiB")

        job(Model(Nothing()), Listing(items), folder / "out", tell)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    overhead(given.photos)
    memory(given.rows)
