"""What `convert` writes, as the tools it is written for read it; each is asked only where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.convert import Converted, convert
from fo1agent.trainers.data.formats import SourceRecipe, open_source

COUNT = 12


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = []
    for k in range(COUNT):
        Image.new("RGB", (64, 48), (20 * k, 90, 90)).save(tmp_path / f"{k}.png")
        record = {"id": k, "file_name": f"{k}.png", "width": 64, "height": 48}
        record |= {"boxes": [[1, 2, 33, 40], [0, 0, 64, 48]], "labels": ["cup", "dog"], "captions": ["A cup."]}
        lines.append(json.dumps(record | ({"crowd": [1]} if k == 3 else {})))
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    return tmp_path / "e.jsonl"


def written(source: Path, target: str, out: Path, val: float | None = None) -> Converted:
    return convert(open_source(SourceRecipe(source)), target, out, copy=True, val=val)


# In a process of its own, for importing ultralytics changes how Pillow opens pictures.
_ASK = """
import json, sys
from pathlib import Path
from ultralytics.data import utils

utils.check_font = lambda font: None  # it would be fetched
told = []
for folder in sys.argv[1:]:
    settings = utils.check_det_dataset(folder + "/data.yaml", autodownload=False)
    parts, rows = {}, {}
    for part in ("train", "val"):
        pictures = sorted(Path(settings[part]).iterdir())
        parts[part] = [picture.stem for picture in pictures]
        for picture in pictures:
            label = Path(settings[part].replace("images", "labels")) / (picture.stem + ".txt")
            found = utils.verify_image_label((str(picture), str(label), "", False, settings["nc"], 0, 0, False))
            rows[picture.stem] = {"boxes": found[1].tolist(), "shape": found[2], "corrupt": found[8], "said": found[9]}
    told.append({"names": settings["names"], **parts, "rows": rows})
print(json.dumps(told))
"""


def test_ultralytics_takes_a_yolo_folder(source: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed, so its own checks cannot be asked")
    reports = [written(source, "yolo", tmp_path / name, val) for name, val in (("same", None), ("apart", 0.25))]
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "1"}
    asked = [sys.executable, "-c", _ASK, str(tmp_path / "same"), str(tmp_path / "apart")]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    same, apart = json.loads(done.stdout.splitlines()[-1])
    assert "val is the same pictures as train" in reports[0].note
    assert same["train"] == same["val"]
    assert reports[1].note.count("val") == 0
    assert not set(apart["train"]) & set(apart["val"])
    assert len(apart["train"] + apart["val"]) == COUNT
    assert len(apart["val"]) == reports[1].held_out > 0
    for told in (same, apart):
        assert told["names"] == {"0": "cup", "1": "dog"}
        assert len(told["rows"]) == COUNT
        for stem, row in told["rows"].items():
            assert (row["corrupt"], row["said"], row["shape"]) == (0, "", [48, 64])
            expected = [[0, 17 / 64, 21 / 48, 32 / 64, 38 / 48], [1, 0.5, 0.5, 1, 1]]
            np.testing.assert_allclose(row["boxes"], expected[:1] if stem == "3" else expected, atol=1e-6)


def test_the_same_pictures_are_held_out_every_time(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(source, "yolo", tmp_path / name, 0.25)
    one, two = (sorted(os.listdir(tmp_path / name / "images" / "val")) for name in ("one", "two"))
    assert one == two != []


@pytest.mark.parametrize("val", [1e-9, 1 - 1e-9])
def test_neither_part_is_ever_empty(source: Path, tmp_path: Path, val: float) -> None:
    report = written(source, "yolo", tmp_path / "out", val)
    assert report.held_out == (1 if val < 0.5 else COUNT - 1)
    for part in ("train", "val"):
        assert list(open_source(SourceRecipe(tmp_path / "out", split=part)))


def test_a_part_cannot_be_held_out_of_one_picture_or_for_others(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val is a share between 0 and 1 for yolo"):
        written(source, "coco", tmp_path / "out", 0.5)
    source.write_text(source.read_text().split("\n")[0])
    with pytest.raises(DataError, match="one picture; to hold some out as val takes two"):
        written(source, "yolo", tmp_path / "out", 0.5)
    assert not (tmp_path / "out").exists()


def test_pycocotools_and_torchvision_take_a_coco_folder(source: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    written(source, "coco", tmp_path / "out")
    truth = coco.COCO(str(tmp_path / "out" / "instances.json"))
    assert (len(truth.imgs), len(truth.anns), [c["name"] for c in truth.loadCats([1, 2])]) == (12, 24, ["cup", "dog"])
    rows = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in truth.anns.values()
    ]
    judged = evaluation.COCOeval(truth, truth.loadRes(rows), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1)
    captions = coco.COCO(str(tmp_path / "out" / "captions.json"))
    assert [c["caption"] for c in captions.loadAnns(captions.getAnnIds(imgIds=0))] == ["A cup."]
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    data = datasets.CocoDetection(str(tmp_path / "out"), str(tmp_path / "out" / "instances.json"))
    picture, annotations = data[0]
    assert (picture.size, annotations[0]["bbox"]) == ((64, 48), [1, 2, 32, 38])


def test_shards_are_as_webdataset_wants_them(source: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed, so it cannot be asked")
    written(source, "shards", tmp_path / "out")
    samples = [s for s in webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False)]
    assert len([s for s in samples if "png" in s and "json" in s]) == COUNT


def test_conversations_are_llava_lines(source: Path, tmp_path: Path) -> None:
    written(source, "conversations", tmp_path / "out")
    for line in (tmp_path / "out" / "conversations.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert (tmp_path / "out" / record["image"]).is_file()
        assert [m["from"] for m in record["conversations"]] == ["human", "gpt"] * (len(record["conversations"]) // 2)
        assert record["conversations"][0]["value"].startswith("<image>\n")
