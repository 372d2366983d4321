"""`fo1agent segment` and `fo1agent point`: what they print and write."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fo1agent import loading
from fo1agent.cli import main
from fo1agent.pictures.drawing import region_color
from tests.segmenting import COLORS, ByColor, drawn, model

coco: Any = importlib.import_module("pycocotools.mask")
Run = Callable[..., Result]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    drawn().save(tmp_path / "drawn.png")
    return tmp_path / "drawn.png"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, with the model of `tests.segmenting`; without --segmenter it has none."""

    def load(name: Any, *, segmenter: Any, **options: Any) -> Any:
        made = model(ByColor())
        return made if segmenter == "folder" else made.__class__(made.predictor)

    monkeypatch.setattr(loading, "load", load)
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments])


def _true(name: str) -> np.ndarray:
    return (np.asarray(drawn()) == COLORS[name]).all(axis=2)


def test_a_thing_is_segmented_in_a_line_and_drawn(run: Run, picture: Path, tmp_path: Path) -> None:
    ended = run("segment", picture, "frisbee", "--segmenter", "folder", "--draw", tmp_path / "out.png")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"r0  {_true('frisbee').sum()} pixels  78% of its box  quality 0.90\n"
    assert Image.open(tmp_path / "out.png").getpixel((80, 80)) != (220, 20, 20)  # under a film


def test_the_mask_is_written_as_a_picture(run: Run, picture: Path, tmp_path: Path) -> None:
    ended = run("segment", picture, "tie", "--segmenter", "folder", "--out", tmp_path / "mask.PNG")
    assert ended.exit_code == 0, ended.output
    written = Image.open(tmp_path / "mask.PNG")
    assert written.mode == "L"
    assert (np.asarray(written) == _true("tie") * 255).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_masks_are_written_as_annotations_that_coco_reads(run: Run, picture: Path, tmp_path: Path) -> None:
    run("segment", picture, "r2", "--segmenter", "folder", "--out", tmp_path / "masks.json")
    (told,) = json.loads((tmp_path / "masks.json").read_text())
    assert (coco.decode(told["segmentation"]).astype(bool) == _true("apple")).all()
    assert (told["name"], told["region"], told["area"]) == ("apple", "r2", _true("apple").sum())
    assert told["bbox"] == list(coco.toBbox(told["segmentation"]))


def test_json_has_all_of_a_result(run: Run, picture: Path) -> None:
    told = json.loads(run("segment", picture, "tie", "--segmenter", "folder", "--json").stdout)
    assert told["phrase"] == "tie"
    assert told["regions"][0]["id"] == told["masks"][0]["region"] == "r1"
    assert set(told["masks"][0]) == {"region", "area", "share", "quality", "rle", "polygons"}


def test_several_pictures_are_a_line_each_and_write_no_one_file(run: Run, picture: Path, tmp_path: Path) -> None:
    ended = run("segment", picture, picture, "frisbee", "--segmenter", "folder")
    assert ended.stdout.count("78% of its box") == 2
    refused = run("segment", picture, picture, "frisbee", "--segmenter", "folder", "--out", tmp_path / "m.png")
    assert refused.exit_code == 2
    assert "--out writes one file" in refused.stderr


def test_without_a_segmenter_one_line_says_how_to_have_one(run: Run, picture: Path) -> None:
    ended = run("segment", picture, "frisbee")
    assert ended.exit_code == 1
    assert ended.stderr.count("\n") == 1
    assert "--segmenter sam2.1-tiny" in ended.stderr


@pytest.mark.parametrize("name", ["mask.gif", "mask"])
def test_a_file_of_another_ending_is_wrong_usage(run: Run, picture: Path, tmp_path: Path, name: str) -> None:
    ended = run("segment", picture, "frisbee", "--segmenter", "folder", "--out", tmp_path / name)
    assert ended.exit_code == 2
    assert "must end in .png or .json" in ended.stderr


def test_nothing_found_writes_nothing_and_says_so(run: Run, picture: Path, tmp_path: Path) -> None:
    assert run("segment", picture, "zebra", "--segmenter", "folder").stderr == "nothing found\n"
    ended = run("segment", picture, "zebra", "--segmenter", "folder", "--out", tmp_path / "m.png")
    assert ended.exit_code == 1
    assert "so there is no mask to write" in ended.stderr
    assert not (tmp_path / "m.png").exists()


def test_a_point_is_printed_in_pixels_and_told_in_json_in_all_its_forms(run: Run, picture: Path) -> None:
    ended = run("point", picture, "frisbee")
    assert (ended.exit_code, ended.stdout) == (0, "r0  80 80\n")
    (told,) = json.loads(run("point", picture, "frisbee", "--json").stdout)["points"]
    assert told == {"region": "r0", "x": 80, "y": 80, "share": [0.2, 0.4], "thousandths": [200, 400], "by": "middle"}


def test_a_point_is_drawn_as_a_dot(run: Run, picture: Path, tmp_path: Path) -> None:
    ended = run("point", picture, "frisbee", "--draw", tmp_path / "point.png")
    assert ended.stdout == "r0  80 80\n"
    dot = bytes.fromhex(region_color("r0")[1:])
    assert Image.open(tmp_path / "point.png").convert("RGB").getpixel((80, 80)) == tuple(dot)
    asked = run("ask", picture, "Where do I click to select the frisbee and the apple?", "--draw", tmp_path / "ask.png")
    assert "Click at (80, 80)" in asked.stdout
    shown = Image.open(tmp_path / "ask.png").convert("RGB")
    scale = shown.width / 400
    assert shown.getpixel((round(80 * scale), round(80 * scale))) == tuple(dot)
    apple = shown.getpixel((round(315 * scale), round(55 * scale)))
    assert apple == tuple(bytes.fromhex(region_color("r2")[1:]))


def test_with_a_segmenter_a_point_lies_in_the_mask(run: Run, picture: Path) -> None:
    """The middle of its box is beside the tie."""
    (told,) = json.loads(run("point", picture, "tie", "--segmenter", "folder", "--json").stdout)["points"]
    assert told["by"] == "mask"
    assert _true("tie")[int(told["y"]), int(told["x"])]
