"""What benchmarks/counts.py says of counts is right where the answer is known."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fo1agent.scene import Model
from tests.fakes import FakePredictor

# Two people who overlap (IoU 1/3), and a bus, of which the model sees all but the second person.
PEOPLE, BUS = [(0, 0, 40, 40), (20, 0, 60, 40)], (70, 50, 110, 90)


@pytest.fixture
def counts(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    return importlib.import_module("counts")


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, Any]:
    Image.new("RGB", (120, 100)).save(tmp_path / "a.png")
    boxes = [(1, box, 0) for box in PEOPLE] + [(2, BUS, 0), (3, BUS, 1)]
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 120, "height": 100}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bus"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": kind, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": crowd}
            for k, (kind, (x1, y1, x2, y2), crowd) in enumerate(boxes)
        ],
    }


def test_counts_are_told_by_how_much_things_overlap(counts: Any, truth: dict[str, Any], tmp_path: Path) -> None:
    model = Model(FakePredictor([(PEOPLE[0], "person", 0.9), (BUS, "bus", 0.8)]))
    pictures = [(tmp_path / name, shown) for name, shown in counts.classes(truth).items()]
    rows = {one["overlap"]: one for one in counts.table(model, pictures)}
    assert json.loads(json.dumps(rows)) == rows
    assert {name: (row["counts"], row["exact"], row["off"], row["more"]) for name, row in rows.items()} == {
        "none": (1, 100.0, 0.0, 0.0),
        ".3 to .5": (1, 0.0, 1.0, -1.0),
        "all": (2, 50.0, 0.5, -0.5),
    }


def test_things_lie_on_borders_of_tiles_or_away_from_them(counts: Any, tmp_path: Path) -> None:
    Image.new("RGB", (120, 100), (200, 30, 30)).save(tmp_path / "a.png")
    things = [(tmp_path / "a.png", "bus", counts.np.array(BUS))]
    borders = [{tile.box[side] for tile in counts.tiles_of(counts.SIZE_WH, counts.TILES)} for side in range(4)]
    for cut in (True, False):
        _, laid = counts._composite(things, counts.np.random.default_rng(1), cut)
        assert laid
        for _, (x1, y1, x2, y2) in laid:
            crossed = any(x1 < x < x2 for x in borders[0] | borders[2]) or any(
                y1 < y < y2 for y in borders[1] | borders[3]
            )
            assert crossed == cut
