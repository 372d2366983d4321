"""Model folders that are not what they say end in one `CheckpointError` that names file, key, got and wanted."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Florence2VisionConfig

from fo1agent.errors import CheckpointError
from fo1agent.model import stored, stored_towers, weights
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1, build_projector
from fo1agent.model.heads import IoUHead, MatchHead
from fo1agent.model.lesson import Lesson
from fo1agent.model.mobilenet import VIEWS, View
from fo1agent.model.predicting import THRESHOLDS, Calibration
from fo1agent.model.predictor import load_predictor
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.proposal_head import ProposalHeadConfig
from fo1agent.model.region_encoder import PoolSpec, RegionConfig
from fo1agent.model.tensors import check_weights
from tests.malformed_folders import OWN, PUBLIC, SHARDS, Spoilt, fill, linked_copy, pickled, tensors
from tests.permissions import as_nobody
from tests.tiny_models import CHECKPOINT, nano


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound folder of each layout, on the disk where the spoilt ones are made."""
    made = tmp_path_factory.mktemp("sound")
    weights.save(*nano(), made / "own")
    shutil.copytree(CHECKPOINT, made / "public")
    return {"own": made / "own", "public": made / "public"}


CASES = [
    pytest.param(layout, case, id=f"{layout}: {case.what}")
    for layout, cases in {"own": OWN, "public": PUBLIC}.items()
    for case in cases
]


@pytest.mark.parametrize(("layout", "case"), CASES)
def test_a_folder_that_is_not_what_it_says_is_one_checkpoint_error(
    folders: dict[str, Path], tmp_path: Path, layout: str, case: Spoilt
) -> None:
    folder = linked_copy(folders[layout], tmp_path / "m")
    case.spoil(folder)
    with pytest.raises(CheckpointError) as error:
        weights.load(folder)
    assert type(error.value) is CheckpointError
    message = str(error.value)
    assert [said for said in case.says if said not in message] == [], message
    assert "\n" not in message
    assert len(message.replace(str(tmp_path), "")) < 500
    assert str(folder) in message


@pytest.mark.parametrize("layout", ["own", "public"])
def test_a_folder_of_links_as_the_hub_s_cache_makes_them_loads(
    folders: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "0123abcd", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    linked_copy(folders[layout], blobs)
    for number, file in enumerate(sorted(blobs.iterdir())):
        blob = file.rename(blobs / f"{number:064x}")  # a blob is named by its hash, and has no ending
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    linked, plain = load_predictor(snapshot), load_predictor(folders[layout])
    assert linked.fingerprint == plain.fingerprint
    state = plain.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in linked.model.state_dict().items())


def test_what_is_not_read_may_be_anything(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = linked_copy(folders["public"], tmp_path / "m")
    for name in ("preprocessor_config.json", "generation_config.json"):
        (folder / name).unlink()
    for name in ("preprocessor_config.json", "generation_config.json", "other.safetensors", "README.md", "x.json"):
        os.mkfifo(folder / name)  # whoever opens one waits for ever
    pickle_file = folder / "pytorch_model.bin"
    pickle_file.write_bytes(b"not even a pickle")
    assert load_predictor(folder).fingerprint == load_predictor(folders["public"]).fingerprint


def test_a_pickle_is_not_opened(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = linked_copy(folders["own"], tmp_path / "m")
    pickled(folder)
    with pytest.raises(CheckpointError, match=r"only pytorch_model\.bin\. fo1agent reads no other format"):
        load_predictor(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_may_not_be_read_is_named(name: str) -> None:
    with as_nobody() as place:
        folder = place / "m"
        weights.save(*nano(), folder)
        (folder / name).chmod(0)
        with pytest.raises(CheckpointError, match=f"{name} cannot be read: Permission denied"):
            weights.load(folder)


def test_numbers_that_a_wanted_type_cannot_hold_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = linked_copy(folders["public"], tmp_path / "m")
    tensors(fill("model.norm.weight", 1e30), SHARDS[0])(folder)
    assert weights.load(folder)[0].base.model.language_model.norm.weight.max() == 1e30
    with pytest.raises(CheckpointError, match=r"norm\.weight holds numbers beyond float16; load it as float32"):
        weights.load(folder, torch.float16)


def test_a_weight_in_a_view_of_other_strides_is_looked_at_too(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, tensor in load_file(folders["public"] / SHARDS[0]).items():
        for place in {0, tensor.numel() - 1}:
            spoilt = tensor.clone()
            spoilt.view(-1)[place] = float("nan")
            with pytest.raises(CheckpointError, match="nan, wanted finite numbers"):
                check_weights({name: spoilt}, tmp_path)


def test_names_that_lead_nowhere_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("x" * 100_000, "x/" * 50_000, "a\0b", "no/such/folder", tmp_path / "file"):
        with pytest.raises(CheckpointError) as error:
            find_folder(name)
        assert type(error.value) is CheckpointError
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500


# --- the descriptions of config.json say what the code says ------------------------------------------------------


def parameters(of: object) -> dict[str, object]:
    """Names and defaults of what a class or function takes."""
    signature = inspect.signature(of)  # pyright: ignore[reportArgumentType]
    return {p.name: p.default for p in signature.parameters.values() if p.name not in ("self", "hidden_size_")}


def described(model: type[stored.Stored], without: tuple[str, ...] = ()) -> dict[str, object]:
    """Names and defaults of a description's keys."""
    return {
        name: inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if name not in without
    }


@pytest.mark.parametrize(
    ("description", "code"),
    [
        (stored.Pool, PoolSpec),
        (stored.Processing, ProcessingConfig),
        (stored.Scores, Calibration),
        (stored_towers.ViewOf, View),
    ],
)
def test_a_part_s_keys_and_defaults_are_those_of_its_class(description: type[stored.Stored], code: type) -> None:
    assert described(description) == parameters(code)


def test_regions_heads_and_projectors_are_described_as_they_are() -> None:
    regions = {name: list(v) if isinstance(v, tuple) else v for name, v in parameters(RegionConfig).items()}
    assert described(stored.Region) == regions
    assert described(stored.Match) == {k: v for k, v in parameters(MatchHead).items() if k != "hidden_size"}
    assert described(stored.Iou) == {k: v for k, v in parameters(IoUHead).items() if k != "hidden_size"}
    made = {"channels", "strides", "offsets", "classes"}  # follow from the tower's levels, and from a lesson's names
    assert described(stored.Proposal, ("levels",)) == {
        k: v for k, v in parameters(ProposalHeadConfig).items() if k not in made
    }
    given = {"levels", "region_size"}  # by the tower and the region encoder
    assert described(stored.Lesson) == {k: v for k, v in parameters(Lesson).items() if k not in given}
    projector = {k: v for k, v in parameters(build_projector).items() if k not in ("inputs", "outputs")}
    assert described(stored.Projector) == projector
    assert described(stored.Thresholds) == THRESHOLDS
    views = [(view.side, view.square, view.mirrored) for view in VIEWS]
    default = described(stored_towers.MobileNet)["views"]
    assert [(view.side, view.square, view.mirrored) for view in default] == views  # pyright: ignore[reportGeneralTypeIssues]


def test_davit_is_described_with_transformers_own_defaults() -> None:
    defaults = {field.name: field.default for field in fields(Florence2VisionConfig)}
    for name, value in described(stored_towers.DaViT, ("type",)).items():
        expected = defaults[name]
        assert value == (list(expected) if isinstance(expected, tuple) else expected), name


def test_what_a_saved_model_says_is_all_described(tmp_path: Path) -> None:
    model, processor = nano()
    weights.save(model, processor, tmp_path)
    again = weights.load(tmp_path)[0].config
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for part in ("aux", "region", "image_projector", "region_projector", "heads", "processing", "thresholds"):
        assert getattr(again, part) == said[part], part
    assert again.base_config.to_dict() == FO1(model.config).config.base_config.to_dict()
