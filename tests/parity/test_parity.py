"""Our FO1 equals the reference on golden tensors, and the comparison notices when it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fo1agent.errors import CheckpointError, DataError
from fo1agent.evaluate import parity
from fo1agent.model import weights
from tests.tiny_models import FIXTURES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the committed golden tensors that a test may spoil."""
    shutil.copytree(FIXTURES, tmp_path / "golden")
    return tmp_path / "golden"


def keep_only(folder: Path, name: str) -> Path:
    """Drop every case but one; returns that case's tensor file."""
    path = folder / "cases.json"
    cases = [case for case in json.loads(path.read_text(encoding="utf-8")) if case["name"] == name]
    path.write_text(json.dumps(cases), encoding="utf-8")
    return folder / cases[0]["tensors"]


def test_the_committed_golden_tensors_hold():
    report = parity.run(FIXTURES)
    assert report.ok, str(report)
    assert report.not_compared == []
    assert {row.case for row in report.rows} == {"d_97x65_3", "e_20x50_1", "nobox_a_320x240_7"}
    names = {row.name for row in report.rows}
    assert {"pixel_values", "aux.stage3", "fpn.level0", "region.hfre <- maps", "logits", "generated_ids"} <= names
    json.dumps(report.to_dict(), allow_nan=False)


def test_in_double_the_committed_golden_tensors_hold_too():
    report = parity.run(FIXTURES, double=True)
    assert report.ok, str(report)
    assert report.not_compared == []
    assert report.to_dict()["dtype"] == "float64"
    assert str(report).splitlines()[-1].split(", ")[2] == "float64"


def test_double_tells_rounding_from_mistakes(folder: Path):
    """Golden tensors that are exact: float32 misses them by its rounding, float64 does not; a mistake stays in both."""
    path = keep_only(folder, "d_97x65_3")
    model, processor = weights.load(folder / "checkpoint", torch.float64)
    (case,) = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    with torch.inference_mode(), Image.open(folder / case["image"]) as image:
        exact = model.encode_image(processor.image(image)).aux_maps
    stored = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("aux.")}
    stored |= {f"aux.stage{k}": one.contiguous() for k, one in enumerate(exact)}
    stored["aux.stage1"] = stored["aux.stage1"] + 0.01  # the mistake
    save_file(stored, path)
    missed = {
        double: {row.name: row.difference for row in parity.run(folder, double=double).rows} for double in (False, True)
    }
    assert missed[True]["aux.stage3"] < 1e-9 < 1e-6 < missed[False]["aux.stage3"]
    assert missed[True]["aux.stage1"] == pytest.approx(0.01)
    assert missed[False]["aux.stage1"] == pytest.approx(0.01, rel=0.1)


def test_all_open_golden_tensors_hold(shared_dir: Path):
    folder = shared_dir / "fixtures" / "fo1-tiny"
    if not folder.is_dir():
        pytest.skip(f"no golden tensors at {folder}")
    report = parity.run(folder)
    assert report.ok, str(report)
    assert report.not_compared == []
    assert any(row.name.startswith("grad.") for row in report.rows)


@pytest.mark.parametrize(
    ("tensor", "also"),
    [
        ("region.tokens", "logits <- tokens"),
        ("position_ids", None),
        ("primary.map_last", "region.hfre <- maps"),
        ("input_ids", None),
    ],
)
def test_a_wrong_golden_value_is_found_and_named(folder: Path, tensor: str, also: str | None):
    path = keep_only(folder, "d_97x65_3")
    tensors = load_file(path)
    tensors[tensor].view(-1)[7] += 1
    save_file(tensors, path)
    report = parity.run(folder)
    failed = {row.name for row in report.rows if not row.ok}
    assert not report.ok
    assert tensor in failed
    assert also is None or also in failed
    assert "DIFFERS" in str(report)


def test_numbers_that_are_not_numbers_and_other_shapes_differ(folder: Path):
    path = keep_only(folder, "e_20x50_1")
    tensors = load_file(path)
    tensors["region.hfre"][0, 0] = torch.nan
    tensors["position_ids"] = tensors["position_ids"][:, :, 1:].contiguous()
    save_file(tensors, path)
    report = parity.run(folder)
    rows = {row.name: row for row in report.rows}
    assert not rows["region.hfre"].ok
    assert rows["position_ids"].note == "shape [3, 1, 83], wanted [3, 1, 82]"
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_tensor_that_nothing_is_compared_with_is_listed(folder: Path):
    path = keep_only(folder, "nobox_a_320x240_7")
    save_file({**load_file(path), "attention.scores": torch.zeros(1)}, path)
    assert parity.run(folder).not_compared == ["nobox_a_320x240_7: attention.scores"]


def test_a_folder_that_lacks_something_is_a_typed_error(folder: Path):
    tensors = keep_only(folder, "e_20x50_1")
    tensors.unlink()
    with pytest.raises(DataError, match="Cannot read the golden tensors"):
        parity.run(folder)
    (folder / "cases.json").write_text("{}", encoding="utf-8")
    assert not parity.run(folder).ok
    (folder / "cases.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="is not JSON"):
        parity.run(folder)
    (folder / "cases.json").write_text('[{"name": "b", "members": ["a"]}]', encoding="utf-8")
    with pytest.raises(DataError, match="names the members a"):
        parity.run(folder)
    with pytest.raises(DataError, match="there is no such file"):
        parity.run(folder / "images")
    shutil.rmtree(folder / "checkpoint")
    (folder / "cases.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        parity.run(folder)
