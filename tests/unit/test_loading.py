"""`fo1agent.load` says what is missing before any weight is read; `FO1Config` says which call reads other layouts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import fo1agent
from fo1agent.cli import main
from fo1agent.errors import CheckpointError, InputError
from fo1agent.model import weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from tests.tiny_models import CHECKPOINT, nano

NONE_OF_ITS_OWN = (
    "m makes no proposals of its own. Give boxes with the picture (at a shell --boxes FILE.json), or load the model "
    "with a proposer, such as rt-detr-r18 (at a shell --proposer NAME)."
)


@pytest.fixture
def unread(tmp_path: Path) -> Path:
    """A public folder without its weights: whoever reads further than config.json fails in other words."""
    (tmp_path / "m").mkdir()
    shutil.copy(CHECKPOINT / "config.json", tmp_path / "m")
    return tmp_path / "m"


def test_a_missing_proposer_is_told_before_weights_are_read(unread: Path) -> None:
    with pytest.raises(InputError) as error:
        fo1agent.load(unread, needs_boxes=True)
    assert str(error.value) == NONE_OF_ITS_OWN
    with pytest.raises(CheckpointError, match="no safetensors file"):  # boxes may yet be given
        fo1agent.load(unread)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        fo1agent.load(unread, needs_boxes=True, proposer="given")


def test_an_unknown_proposer_is_told_before_weights_are_read(unread: Path) -> None:
    with pytest.raises(InputError, match="No proposer 'nosuch'"):
        fo1agent.load(unread, proposer="nosuch")


def test_the_shell_tells_it_too_unless_boxes_are_given(unread: Path, tmp_path: Path) -> None:
    picture, boxes = tmp_path / "a.png", tmp_path / "boxes.json"
    Image.new("RGB", (64, 64)).save(picture)
    boxes.write_text("[[1, 1, 30, 30]]", encoding="utf-8")
    asked = ["ground", str(picture), "dog", "--model", str(unread)]
    result = CliRunner().invoke(main, asked)
    told = "error: m makes no proposals of its own. Add --boxes FILE.json, or --proposer NAME, such as rt-detr-r18."
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, told)
    result = CliRunner().invoke(main, [*asked, "--boxes", str(boxes)])
    assert "no safetensors file" in result.stderr


def test_a_model_with_a_detector_or_a_proposal_head_needs_no_proposer(tmp_path: Path) -> None:
    weights.save(*nano(), tmp_path)
    assert fo1agent.load(tmp_path, needs_boxes=True, engine="torch").name == tmp_path.name
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert said["heads"].pop("proposal")
    (tmp_path / "config.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(CheckpointError, match="unexpected"):  # the tower still detects; the weights no longer fit
        fo1agent.load(tmp_path, needs_boxes=True, engine="torch")


def test_a_configuration_of_the_public_layout_says_what_reads_it() -> None:
    told = r"got 'omchat_qwen2_5_vl'.*FO1\.from_pretrained\(name_or_folder\)\.config"
    with pytest.raises(CheckpointError, match=told):
        FO1Config.from_pretrained(CHECKPOINT)
    with pytest.raises(CheckpointError, match=told):
        FO1Config.from_dict(json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8")))
    config = FO1.from_pretrained(CHECKPOINT).config
    assert (config.model_type, config.aux["type"]) == ("fo1", "davit")
    assert FO1Config.from_dict(config.to_dict()).to_dict() == config.to_dict()
