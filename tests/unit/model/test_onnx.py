"""ONNX Runtime computes what torch computes, on pictures of every shape, and needs neither torch nor transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.errors import CheckpointError, InputError
from fo1agent.loading import load
from fo1agent.model import onnx_arrays, region_encoder
from fo1agent.model.finding import find_folder
from fo1agent.model.onnx_graphs import FOLDER, MANIFEST, has_graphs
from fo1agent.model.onnx_predictor import OnnxPredictor
from fo1agent.scene import Model
from tests.tiny_models import CHECKPOINT

NANO = find_folder(None)[0]
DEMO = NANO.parent / "demo"


@pytest.fixture(scope="module")
def onnx() -> Model:
    return load(engine="onnx")


@pytest.fixture(scope="module")
def torch() -> Model:
    return load(engine="torch")


def pictures() -> list[Image.Image]:
    """Landscape, portrait, and one so long that the vision tower has several windows."""
    cat, bus = (Image.open(DEMO / name).convert("RGB") for name in ("cat.jpg", "bus.jpg"))
    return [cat, bus.transpose(Image.Transpose.ROTATE_90), cat.crop((0, 100, 640, 190))]


@pytest.mark.parametrize("number", range(3))
def test_both_engines_see_the_same_regions_and_say_the_same(onnx: Model, torch: Model, number: int) -> None:
    picture = pictures()[number]
    ours, theirs = onnx.open(picture), torch.open(picture)
    assert ours.regions.ids == theirs.regions.ids
    assert ours.regions.labels == theirs.regions.labels
    np.testing.assert_allclose(ours.regions.boxes, theirs.regions.boxes, atol=0.05)
    np.testing.assert_allclose(ours.regions.scores, theirs.regions.scores, atol=1e-3)
    phrases = ["cat", "red bus", "the remote on the couch", "zyzzyva"]
    found, wanted = (model.predictor.match(scene.encoding, phrases) for model, scene in ((onnx, ours), (torch, theirs)))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert ours.describe().text == theirs.describe().text
    for question in ("Describe the picture.", "What is <region0>?"):
        assert onnx.predictor.generate(ours.encoding, question) == torch.predictor.generate(theirs.encoding, question)


def test_boxes_drawn_by_hand_are_read_alike_and_there_may_be_none(onnx: Model, torch: Model) -> None:
    picture = pictures()[0]
    boxes = np.array([[10.0, 20.0, 300.0, 380.0], [0.0, 0.0, 1.0, 1.0], [600.0, 400.0, 640.0, 407.0]])
    ours, theirs = (model.open(picture, boxes=boxes) for model in (onnx, torch))
    assert ours.regions.labels == theirs.regions.labels
    np.testing.assert_allclose(ours.regions.scores, theirs.regions.scores, atol=1e-3)
    assert len(onnx.open(picture, boxes=[]).regions) == 0
    assert onnx.open(picture, boxes=[]).count("cat").value == 0


def test_one_question_about_several_pictures_or_none_gets_one_answer(onnx: Model, torch: Model) -> None:
    first, second, _ = pictures()
    told = []
    for model in (onnx, torch):
        encodings = [model.open(first).encoding, model.open(second).encoding]
        encodings = [model.predictor.with_boxes(one, one.boxes[:30]) for one in encodings]
        predictor: object = model.predictor
        told.append(
            [
                model.predictor.generate(encodings, "What is <region31>?", 24),
                model.predictor.generate([], "Say what a bus is.", 24),
                predictor.generate_many(encodings[0], ["What is <region0>?", "Describe the picture."], 24),  # pyright: ignore[reportAttributeAccessIssue]
            ]
        )
    assert told[0] == told[1]


def test_a_text_that_grows_is_read_alike(onnx: Model, torch: Model) -> None:
    readers = [model.predictor.reader() for model in (onnx, torch)]  # pyright: ignore[reportAttributeAccessIssue]
    for ids in ([5, 700, 33], [12]):
        ours, theirs = (read(ids) for read in readers)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_terms_of_the_match_can_be_left_out_alike(onnx: Model, torch: Model) -> None:
    silenced = [(), ("detector",), ("language", "name")]
    ours, theirs = (
        model.predictor.match_without(model.open(pictures()[0]).encoding, ["cat", "couch"], silenced)  # pyright: ignore[reportAttributeAccessIssue]
        for model in (onnx, torch)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_cells_on_the_border_count_as_in_torch() -> None:
    import torch

    random = np.random.default_rng(0)
    start = np.concatenate([random.uniform(-3, 20, 200), [-1, 19, 0, 7]]).astype(np.float32)
    end = np.concatenate([start[:200] + random.uniform(0, 30, 200), [0, 19, 19, 7]]).astype(np.float32)
    ours = onnx_arrays.axis_weights(start, end, 19, 2)
    theirs = region_encoder.axis_weights(torch.from_numpy(start), torch.from_numpy(end), 19, 2, least_samples=2)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


LIGHT = """
import sys
{code}
heavy = sorted({{name.split(".")[0] for name in sys.modules}} & {{"torch", "torchvision", "transformers", "rapidocr"}})
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "code",
    [
        'import fo1agent; assert fo1agent.load().open("{picture}").count("remote").value == 2',
        "from fo1agent.cli.command import main\n"
        'main(["ask", "{picture}", "How many remotes are there?"], standalone_mode=False)',
        'from fo1agent.cli.command import main\nmain(["describe", "{picture}", "--json"], standalone_mode=False)',
        'import fo1agent\nfo1agent.Agent(fo1agent.load(), planner="fo1").ask("{picture}", "Is there a cat?")',
    ],
    ids=["load", "ask", "describe", "planner"],
)
def test_a_question_needs_neither_torch_nor_transformers(code: str) -> None:
    script = LIGHT.format(code=code.format(picture=DEMO / "cat.jpg"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


# --- which engine ------------------------------------------------------------------------------------------------


def test_auto_takes_onnx_for_the_nano_on_a_cpu_alone() -> None:
    assert isinstance(load().predictor, OnnxPredictor)
    assert not isinstance(load(NANO).predictor, OnnxPredictor)
    assert not isinstance(load(dtype="bfloat16").predictor, OnnxPredictor)
    assert not isinstance(load(attn="eager").predictor, OnnxPredictor)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "torch", "device": "meta"}, "Cannot compute on device 'meta': Cannot copy out of meta tensor"),
        ({"device": None}, "device must be a name such as cpu or cuda, got None."),
        ({"compile": "no"}, "compile must be True or False, got 'no'."),
        ({"name_or_folder": 3}, "A model is named by a folder or a repository, or left out for fo1-nano; got 3."),
        ({"name_or_folder": ""}, "left out for fo1-nano; got ''."),
        ({"engine": "tensorrt"}, "engine must be auto, torch, onnx or vllm, or the address of a vLLM server"),
        ({"engine": "onnx", "device": "cuda"}, "Engine onnx computes on the cpu in float32 and takes no device cuda."),
        (
            {"engine": "onnx", "dtype": "float16", "attn": "eager"},
            "takes no dtype float16 and no attn eager. Use engine torch.",
        ),
        ({"engine": "onnx", "quantize": "int8", "compile": True}, "takes no quantize int8 and no compile. Use engine"),
    ],
)
def test_an_engine_that_cannot_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(**options)


def test_a_model_in_another_layout_has_no_graphs() -> None:
    with pytest.raises(CheckpointError, match=r"config.json: model_type is 'omchat_qwen2_5_vl', wanted 'fo1'"):
        load(CHECKPOINT, engine="onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(NANO, tmp_path / "model"))


def test_a_model_without_graphs_says_which_part_has_none(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary": None}))
    with pytest.raises(InputError, match=r"cannot run with engine onnx: it has an open vocabulary. Use engine torch."):
        load(folder, engine="onnx")


def test_graphs_of_another_configuration_are_refused(folder: Path) -> None:
    assert has_graphs(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["thresholds"]["count"] = 0.4  # says nothing of graphs
    path.write_text(json.dumps(config))
    assert load(folder, engine="onnx").predictor.thresholds["count"] == 0.4
    config["base_config"]["text_config"]["rope_parameters"]["rope_theta"] = 20_000.0
    path.write_text(json.dumps(config))
    assert not has_graphs(folder)
    with pytest.raises(CheckpointError, match="was exported from another configuration") as caught:
        load(folder, engine="onnx")
    assert f"fo1agent export {folder} --to onnx" in str(caught.value)


@pytest.mark.parametrize("name", [MANIFEST, "decoder.onnx"])
def test_a_missing_or_broken_graph_is_one_line(folder: Path, name: str) -> None:
    (folder / FOLDER / name).write_bytes(b"\x00graph")
    with pytest.raises(CheckpointError) as caught:
        load(folder, engine="onnx")
    assert name in str(caught.value)
    (folder / FOLDER / name).unlink()
    with pytest.raises(CheckpointError, match=f"There is no {name}"):
        load(folder, engine="onnx")


def test_weights_change_under_their_graphs(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["match_head.bias"] = np.array(tensors["match_head.bias"] - 3)
    save_file(tensors, folder / "model.safetensors")
    plain, colder = (load(one, engine="onnx").open(DEMO / "cat.jpg") for one in (NANO, folder))
    assert (colder.regions.scores < plain.regions.scores).all()


# --- exporting ---------------------------------------------------------------------------------------------------


def test_what_is_exported_computes_as_what_is_shipped(folder: Path, onnx: Model) -> None:
    pytest.importorskip("onnx")
    from fo1agent.model.onnx_export import export

    shutil.rmtree(folder / FOLDER)
    assert export(folder) == folder / FOLDER
    assert not list(folder.glob("**/.tmp*"))
    shipped = json.loads((NANO / FOLDER / MANIFEST).read_text())
    assert json.loads((folder / FOLDER / MANIFEST).read_text()) == shipped
    scene, wanted = (model.open(DEMO / "bus.jpg") for model in (load(folder, engine="onnx"), onnx))
    np.testing.assert_allclose(scene.regions.scores, wanted.regions.scores, atol=1e-6)


def test_a_model_whose_parts_have_no_graphs_is_not_exported(folder: Path) -> None:
    pytest.importorskip("onnx")
    from fo1agent.model.onnx_export import export

    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary": None}))
    with pytest.raises(InputError, match="cannot be exported to onnx: it has an open vocabulary"):
        export(folder)
