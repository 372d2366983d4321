"""What a job found, read back by the programs that it is written for: every label, score, box and mask is there.

ultralytics is one of the tests' own. The others bring a gigabyte along and are read with where they are installed:
`make test-readers` does that. Each runs in a process of its own, which keeps its threads and warnings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.annotate.formats import write
from fo1agent.annotate.job import Job, here, run
from fo1agent.annotate.sources import listing
from fo1agent.annotate.tasks import Task
from fo1agent.regions.masks import Mask
from fo1agent.scene import Model
from tests.fakes import FakePredictor

pytest.importorskip("pyarrow", reason="the extra annotate is not installed")

OBJECTS = [
    ((10.25, 10, 60.5, 60), "bus", 0.9),
    ((70, 10, 90, 50), "person", 0.8),
    ((70, 55, 99, 95), "person", 0.7),
    ((2, 70, 40, 98), "dog", 0.6),
]
NAMES = ("bus", "person", "dog")
Told = list[tuple[str, float, list[float], int]]
"""Label, score, box xyxy, and pixels of the mask (0 without one) of each region of a picture."""


def _shapes(image: Any, boxes: np.ndarray) -> list[np.ndarray]:
    """A segmenter: of the bus a frame, of people their box in two pieces or whole, of the dog none."""
    masks = [np.zeros(image.size_hw, bool) for _ in boxes]
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().astype(int), strict=True):
        mask[y1:y2, x1:x2] = x1 != 2
        if x1 == 10:
            mask[y1 + 12 : y2 - 12, x1 + 12 : x2 - 12] = False
        elif y1 == 10:
            mask[y1:y2, x1 + 8 : x1 + 12] = False
    return masks


@pytest.fixture(scope="module", params=["boxes", "masks"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two pictures, of which one is to be turned by a quarter, and what was found in them in every format."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "photos" / "deep").mkdir(parents=True)
    Image.new("RGB", (160, 100), (90, 10, 200)).save(folder / "photos" / "a.png")
    turned = Image.Exif()
    turned[0x112] = 6
    Image.new("RGB", (160, 100), (9, 100, 20)).save(folder / "photos" / "deep" / "ünï 猫.jpg", exif=turned)
    masks = request.param == "masks"
    made = Job(folder / "out", listing(str(folder / "photos")), Task("detect", NAMES, masks=masks), {}, 2)
    run(made, lambda: here(Model(FakePredictor(OBJECTS), segmenter=_shapes if masks else None)))
    write(made, ["coco", "yolo", "label-studio"])
    shutil.copytree(folder / "photos", made.folder / "yolo" / "images")
    return made


def _told(job: Job) -> dict[str, Told]:
    """Name of a picture → what its row says, sorted."""
    return {
        row["picture"]: sorted(
            (one["phrase"], one["score"], one["box"], _mask(row, one).area if one.get("mask") else 0)
            for one in row["regions"]
        )
        for row in job.shards.rows()
    }


def _mask(row: dict[str, Any], region: dict[str, Any]) -> Mask:
    return Mask.from_coco({"size": (row["height"], row["width"]), "counts": region["mask"]})


def _read(script: str, *given: Any, **environment: str) -> Any:
    """What a script prints as JSON, run by this Python."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, given)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _needs(package: str, distribution: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{distribution} is not installed: see make test-readers")


def _alike(read: dict[str, list[list[Any]]], job: Job, box_off: float = 1e-3, area_off: float = 0) -> None:
    """What was read is what the rows say; a score or a number of pixels that is None there is not compared.

    Args:
        read: name of a picture → its regions, as in `Told`.
        job: whose rows are compared with.
        box_off: how far a side of a box may be off, in pixels.
        area_off: how far the area of a mask may be off, as a share of it.
    """
    told = _told(job)
    assert set(read) == set(told)
    for picture, wanted in told.items():
        got = sorted(read[picture], key=lambda one: (one[0], -one[2][1] if one[1] is None else one[1]))
        assert [one[0] for one in got] == [label for label, *_ in wanted]
        for (_, score, box, pixels), (_, its, corners, area) in zip(got, wanted, strict=True):
            assert score is None or score == pytest.approx(its)
            assert box == pytest.approx(corners, abs=box_off)
            assert pixels is None or pixels == pytest.approx(area, rel=area_off)


ULTRALYTICS = """
import json, sys, pathlib
import numpy as np
from ultralytics.data.utils import check_det_dataset, img2label_paths, polygon2mask, verify_image_label
folder = pathlib.Path(sys.argv[1])
data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
read = {}
for path in sorted(pathlib.Path(data["train"]).rglob("*.*")):
    (label,) = img2label_paths([str(path)])
    _, rows, (height, width), segments, _, missing, found, empty, corrupt, said = verify_image_label(
        (str(path), label, "", False, len(data["names"]), 0, 0, False)
    )
    assert (missing, found, empty, corrupt, said) == (0, 1, 0, 0, ""), said
    told = []
    for number, (kind, x, y, w, h) in enumerate(rows.tolist()):
        box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        pixels = None
        if segments:
            pixels = int(polygon2mask((height * 8, width * 8), [segments[number] * [width * 8, height * 8]]).sum()) / 64
        told.append([data["names"][int(kind)], None, box, pixels])
    read[path.relative_to(data["train"]).as_posix()] = told
print(json.dumps(read))
"""


@pytest.mark.parametrize("job", ["masks"], indirect=True)
def test_ultralytics_reads_outlines_from_yolo(job: Job, tmp_path: Path) -> None:
    _needs("ultralytics", "ultralytics")
    read = _read(ULTRALYTICS, job.folder / "yolo", YOLO_CONFIG_DIR=str(tmp_path))
    for one in (one for told in read.values() for one in told if one[0] == "dog"):
        one[3] = 0  # what has no mask is drawn as its box
    # Its boxes are those around masks; filling, it sets the pixels of the line as well.
    _alike(read, job, 1, 0.04)


FIFTYONE = """
import json, sys
import fiftyone as fo
from fiftyone.utils.coco import add_coco_labels
out, photos, masks = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
field = "segmentations" if masks else "detections"

def told(found, sample):
    width, height = sample.metadata.width, sample.metadata.height
    for one in found:
        x, y, w, h = one.bounding_box
        box = [x * width, y * height, (x + w) * width, (y + h) * height]
        yield [one.label, one.confidence, box, 0 if one.mask is None else int(one.mask.sum())]

coco = fo.Dataset.from_dir(
    dataset_type=fo.types.COCODetectionDataset, data_path=photos, labels_path=f"{out}/coco_instances.json",
    label_types=["detections", *([field] if masks else [])], include_id=True, progress=False,
)
categories = json.load(open(f"{out}/coco_instances.json"))["categories"]
add_coco_labels(coco, "again", f"{out}/coco_results.json", categories, label_type=field, coco_id_field="coco_id")
yolo = fo.Dataset.from_dir(
    dataset_dir=f"{out}/yolo", yaml_path="data.yaml", dataset_type=fo.types.YOLOv5Dataset, split="train", progress=False
)
name = lambda sample, folder: sample.filepath[len(folder) + 1 :]
print(json.dumps({
    "boxes": {name(one, photos): list(told(one.detections.detections, one)) for one in coco},
    "found": {name(one, photos): list(told(one[field].detections, one)) for one in coco},
    "results": {name(one, photos): list(told(one.again.detections, one)) for one in coco},
    "yolo": {name(one, f"{out}/yolo/images"): [found.label for found in one.ground_truth.detections] for one in yolo},
}))
"""


def test_fiftyone_reads_coco_instances_results_and_yolo(job: Job, tmp_path: Path) -> None:
    _needs("fiftyone", "fiftyone")
    service: Any = _read(
        "import json; from fiftyone.core.service import DatabaseService as one\n"
        "try: print(json.dumps(one.find_mongod()))\nexcept Exception: print('null')",
        HOME=str(tmp_path),
    )
    if service is None and "FIFTYONE_DATABASE_URI" not in os.environ:
        pytest.skip("FiftyOne has no MongoDB: its package could not download one")
    place = {"HOME": str(tmp_path), "FIFTYONE_DATABASE_DIR": str(tmp_path / "db"), "FIFTYONE_DO_NOT_TRACK": "true"}
    read = _read(FIFTYONE, job.folder, job.folder.parent / "photos", job.task.masks, **place)
    for name in read["boxes"]:
        read["boxes"][name] = [[*one[:3], None] for one in read["boxes"][name]]
    _alike(read["boxes"], job)
    if job.task.masks:  # its segmentations are the regions that have masks
        for told in (read["found"], read["results"]):
            assert {name: sorted(map(tuple, _rounded(one))) for name, one in told.items()} == {
                name: sorted(map(tuple, _rounded(row for row in rows if row[3]))) for name, rows in _told(job).items()
            }
    else:
        _alike(read["results"], job)
    assert {name: sorted(labels) for name, labels in read["yolo"].items()} == {
        name: sorted(one[0] for one in rows) for name, rows in _told(job).items()
    }


def _rounded(rows: Any) -> list[tuple[str, float, tuple[float, ...], int]]:
    return [(label, round(score, 6), tuple(round(v, 3) for v in box), pixels) for label, score, box, pixels in rows]


DATUMARO = """
import json, logging, sys
import datumaro as dm
warned = []
logging.getLogger().addHandler(type("Kept", (logging.Handler,), {"emit": lambda self, record: warned.append(record)})())
read = {}
for item in dm.Dataset.import_from(sys.argv[1], sys.argv[2]):
    label = lambda one: ("bus", "person", "dog")[one.label]
    boxes = [one for one in item.annotations if one.type is dm.AnnotationType.bbox]
    masks = {one.id: int(one.image.sum()) for one in item.annotations if one.type is dm.AnnotationType.mask}
    read["/".join([item.subset, item.id])] = [
        [label(one), one.attributes.get("score"), [one.x, one.y, one.x + one.w, one.y + one.h], masks.get(one.id, 0)]
        for one in boxes
    ]
assert not warned, [one.getMessage() for one in warned]
print(json.dumps(read))
"""


def test_datumaro_of_which_cvat_has_a_fork_reads_coco_and_yolo(job: Job, tmp_path: Path) -> None:
    _needs("datumaro", "datumaro")
    (tmp_path / "annotations").mkdir()
    shutil.copy(job.folder / "coco_instances.json", tmp_path / "annotations" / "instances_default.json")
    shutil.copytree(job.folder.parent / "photos", tmp_path / "images" / "default")
    read = _read(DATUMARO, tmp_path, "coco")
    names = {"default/a": "a.png", "default/deep/ünï 猫": "deep/ünï 猫.jpg"}
    _alike({names[one]: told for one, told in read.items()}, job)
    if not job.task.masks:  # it takes boxes alone from YOLO
        read = _read(DATUMARO, job.folder / "yolo", "yolo")
        names = {"default/a": "a.png", "deep/ünï 猫": "deep/ünï 猫.jpg"}
        _alike({names[one]: told for one, told in read.items()}, job)


LABEL_STUDIO = """
import json, sys
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface
project = LabelInterface(open(sys.argv[1] + "/label_studio.xml").read())
read = {}
for task in json.load(open(sys.argv[1] + "/label_studio.json")):
    assert project.validate_task({"data": task["data"]})
    (prediction,) = task["predictions"]
    assert project.validate_prediction(prediction)
    told = read[task["data"]["image"]] = []
    for one in prediction["result"]:
        value, width, height = one["value"], one["original_width"], one["original_height"]
        if one["type"] == "brushlabels":
            pixels = decode_rle(value["rle"]).reshape(height, width, 4)[..., 3]
            (rows, columns) = pixels.nonzero()
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            told.append([value["brushlabels"][0], one["score"], [float(v) for v in box], int((pixels > 0).sum())])
        else:
            x, y, w, h = (value[side] / 100 for side in ("x", "y", "width", "height"))
            box = [x * width, y * height, (x + w) * width, (y + h) * height]
            told.append([value["rectanglelabels"][0], one["score"], box, 0])
print(json.dumps(read))
"""


def test_label_studios_own_library_takes_its_predictions(job: Job) -> None:
    _needs("label_studio_sdk", "label-studio-sdk")
    _alike(_read(LABEL_STUDIO, job.folder), job, 1 if job.task.masks else 1e-3)
