"""Short names of models: what they stand for, wherever a model is named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import fo1agent
from fo1agent import loading, presets
from fo1agent.cli import main
from fo1agent.errors import CheckpointError, InputError
from fo1agent.integrations.handles import Scenes
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1
from fo1agent.presets import PARTS, PRESETS, Choice, choose
from fo1agent.presets.machine import Machine, advice, fits, memory_mb
from fo1agent.proposals import resolve_finder, resolve_proposer
from fo1agent.segmenters import SUGGESTED, resolve_segmenter
from fo1agent.words.phrases import TO_KNOW

OF_3B = "omlab/VLM-FO1_Qwen2.5-VL-3B-v01"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that holds none of the names, and no variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(presets.MODEL, raising=False)
    return tmp_path


class _Detector:
    """Stands for what a name loads: it keeps the name, and finds nothing."""

    names = None

    def __init__(self, source: str, **_: Any) -> None:
        self.name = source

    def __call__(self, image: Any) -> fo1agent.Regions:
        return fo1agent.Regions.empty(self.name)

    def find(self, image: Any, phrases: Any) -> list[fo1agent.Regions]:
        return [fo1agent.Regions.empty(self.name) for _ in phrases]


@dataclass(frozen=True)
class _Loaded:
    """Stands for the model."""

    segmenter: Any = None


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fo1agent.proposals.transformers.TransformersProposer", _Detector)
    monkeypatch.setattr("fo1agent.proposals.ultralytics.UltralyticsProposer", _Detector)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, Any, list[str]]]:
    """(folder or hub's name, proposer, finders) of each `load`, of which no weights are read."""
    calls: list[tuple[str | None, Any, list[str]]] = []

    def joined(predictor: Any, boxes: Any, finders: Any, *_: Any) -> Any:
        calls.append((predictor.folder, None if boxes is None else boxes.name, [one.name for one in finders]))
        return _Loaded()

    monkeypatch.setattr(loading, "_onnx", lambda folder, *_: SimpleNamespace(folder=folder))
    monkeypatch.setattr(loading, "_joined", joined)
    monkeypatch.setattr(loading, "_check_folder", lambda *_: None)
    return calls


GD, RT = "IDEA-Research/grounding-dino-tiny", "PekingU/rtdetr_v2_r18vd"


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize(
    ("given", "means"),
    [
        ({}, (None, None, [])),
        ({"name_or_folder": "nano"}, (None, None, [])),
        ({"name_or_folder": "nano+grounding-dino-tiny"}, (None, GD, [])),
        ({"name_or_folder": "nano+yolo11n"}, (None, "yolo11n.pt", [])),
        ({"name_or_folder": "nano+rt-detr-r18+grounding-dino-tiny"}, (None, RT, [GD])),
        ({"name_or_folder": "vlm-fo1-3b"}, (OF_3B, None, [])),
        ({"name_or_folder": "vlm-fo1-3b+grounding-dino-tiny"}, (OF_3B, GD, [])),
        ({"name_or_folder": "owner/model+grounding-dino-tiny"}, ("owner/model", GD, [])),
        ({"name_or_folder": OF_3B}, (OF_3B, None, [])),
        # What is given beside the name makes the boxes; the name's detector is asked all the same.
        ({"name_or_folder": "nano+grounding-dino-tiny", "proposer": "rt-detr-r18"}, (None, RT, [GD])),
        ({"name_or_folder": "nano+rt-detr-r18", "finder": ["grounding-dino-tiny"]}, (None, RT, [GD])),
        ({"finder": "grounding-dino-tiny"}, (None, None, [GD])),
        ({"finder": None}, (None, None, [])),
    ],
)
def test_a_name_loads_its_parts(loaded: list[Any], given: dict[str, Any], means: tuple[Any, ...]) -> None:
    fo1agent.load(**given)
    assert loaded == [means]


@pytest.mark.usefixtures("detectors")
def test_the_variable_names_the_model_where_nothing_else_does(
    loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(presets.MODEL, "vlm-fo1-3b+grounding-dino-tiny")
    fo1agent.load()
    fo1agent.load("nano")
    monkeypatch.setenv(presets.MODEL, "")
    fo1agent.load()
    assert loaded == [(OF_3B, GD, []), (None, None, []), (None, None, [])]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_s_source_is_one_that_its_place_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = PARTS[name]
    asked: list[str] = []

    def seen(source: str, **_: Any) -> _Detector:
        asked.append(source)
        return _Detector(source)

    for module in ("proposals.transformers.TransformersProposer", "proposals.ultralytics.UltralyticsProposer"):
        monkeypatch.setattr(f"fo1agent.{module}", seen)
    for module in ("segmenters.transformers.load_transformers", "segmenters.ultralytics.load_ultralytics"):
        monkeypatch.setattr(f"fo1agent.{module}", seen)
    if part.kind == "model":
        assert presets.weights(name) == part.source
    elif part.kind == "segmenter":
        resolve_segmenter(name)
        assert asked == [(part.source or "").partition(":")[2]]
    else:
        resolve_proposer(name)
        resolve_finder(name)
        assert asked == [(part.source or "").partition(":")[2]] * 2
    if part.released:
        from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

        assert part.released in GITHUB_ASSETS_NAMES


def test_a_segmenter_of_the_name_makes_the_masks_unless_another_is_given(
    loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fo1agent.segmenters.transformers.load_transformers", lambda source, **_: source)
    assert fo1agent.load("nano+sam2.1-tiny").segmenter == "facebook/sam2.1-hiera-tiny"
    assert fo1agent.load("nano+sam2.1-tiny", segmenter="sam-base").segmenter == "facebook/sam-vit-base"
    assert fo1agent.load("nano").segmenter is None
    assert loaded == [(None, None, [])] * 3


def test_every_preset_is_a_combination_that_can_be_named() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        choice = choose(preset.name)
        assert [part.kind for part in preset.parts][:1] == ["model"]
        assert len(preset.parts) == 1 + len(choice.detectors) + (choice.segmenter is not None)


def test_a_folder_wins_over_a_name(elsewhere: Path) -> None:
    for name in ("nano", "nano+yolo11n", "sam2.1-tiny", "yolo11n"):
        (elsewhere / name).mkdir()
    assert choose("nano") == Choice("nano")
    assert choose("nano+yolo11n") == Choice("nano+yolo11n")
    assert choose("nano+rt-detr-r18") == Choice("nano", (PARTS["rt-detr-r18"],))
    assert presets.source("sam2.1-tiny", "segmenter") == "sam2.1-tiny"
    assert find_folder("nano")[1] == "nano"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nnano", CheckpointError, "Did you mean 'nano'? There are nano, vlm-fo1-3b (fo1agent models)."),
        ("grounding-dino-tiny", CheckpointError, "a detector, which goes behind a model: nano+grounding-dino-tiny."),
        ("fo1-nano", CheckpointError, "Did you mean 'nano'?"),
        ("nano+grounding-dino-tyni", InputError, "Did you mean 'grounding-dino-tiny'? There are grounding-dino-tiny,"),
        ("nan+yolo11n", InputError, "is no folder, and there is no model 'nan'. Did you mean 'nano'?"),
        ("nano+nano", InputError, "nano is a model, and the first part is one already."),
        ("nano+yolo11n+yolo11n", InputError, "names a part twice"),
        ("nano+sam-base+sam2.1-tiny", InputError, "more than one segmenter"),
        ("nano+", InputError, "'nano+' is no folder, and a detector is missing after +. Wanted MODEL+DETECTOR"),
        ("nano++yolo11n", InputError, "a detector is missing after +"),
        ("+yolo11n", InputError, "a model is missing before +"),
    ],
)
def test_a_name_that_nothing_has_is_told_in_one_line_with_what_there_is(
    name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        fo1agent.load(name)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_detector_or_segmenter_that_nothing_has_is_told_with_what_was_likely_meant() -> None:
    with pytest.raises(InputError, match=r"No proposer 'yolo11'\. Did you mean 'yolo11n'\? Pass 'grounding-dino-tiny'"):
        resolve_proposer("yolo11")
    with pytest.raises(InputError, match=r"No segmenter 'sam2-tiny'\. Did you mean 'sam2.1-tiny'\? Pass"):
        resolve_segmenter("sam2-tiny")
    with pytest.raises(InputError, match=r"or load\(finder='yolo11n'\)\. Did you mean 'yolo11n-seg'\? Pass"):
        resolve_segmenter("yolo11n")


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--finder", "sam2.1-tiny", "No finder 'sam2.1-tiny'. That is a segmenter: --segmenter sam2.1-tiny, or load("),
        ("--proposer", "sam-base", "No proposer 'sam-base'. That is a segmenter: --segmenter sam-base, or load("),
        ("--finder", "nano", "No finder 'nano'. That is a model: --model nano, or load('nano')."),
        (
            "--segmenter",
            "owlv2-base",
            "No segmenter 'owlv2-base'. That is a detector: --finder or --proposer owlv2-base",
        ),
        ("--finder", "/no/such/folder", "No finder '/no/such/folder': there is no folder of that name."),
        ("--segmenter", "./sam", "No segmenter './sam': there is no folder of that name."),
    ],
)
def test_a_name_in_another_s_place_is_told_where_it_goes(option: str, name: str, said: str) -> None:
    ended = CliRunner().invoke(main, ["count", "a.jpg", "dog", option, name])
    assert (ended.exit_code, ended.stderr.count("\n")) == (1, 1)
    assert said in ended.stderr


def test_what_takes_a_model_alone_knows_its_name_and_refuses_detectors() -> None:
    assert find_folder("nano") == find_folder(None)
    with pytest.raises(CheckpointError, match=r"where a model alone is wanted. Pass 'nano'\."):
        FO1.from_pretrained("nano+grounding-dino-tiny")


def test_the_command_line_takes_names_and_the_variable(loaded: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = CliRunner().invoke(main, ["count", "a.jpg", "dog", "--model", "nano+yolo"])
    assert (wrong.exit_code, wrong.stderr[:7], wrong.stderr.count("\n")) == (1, "error: ", 1)
    assert "Did you mean 'yolo11n'?" in wrong.stderr
    by_variable = CliRunner().invoke(main, ["count", "a.jpg", "dog"], env={presets.MODEL: "nano+yolo"})
    assert by_variable.stderr == wrong.stderr
    assert loaded == []


def test_integrations_take_the_model_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(presets.MODEL, "nano+yolo11")
    with pytest.raises(InputError, match="Did you mean 'yolo11n'"):
        _ = Scenes().model


def test_messages_name_parts_that_there_are() -> None:
    assert PARTS[SUGGESTED].kind == "segmenter"
    option, name = TO_KNOW.removeprefix("With ").partition(",")[0].split()
    assert (option, PARTS[name].kind) == ("--finder", "detector")


def test_memory_is_estimated_from_parameters_and_advice_goes_by_the_machine() -> None:
    assert memory_mb([PARTS["nano"]]) == 12 * 4
    assert memory_mb([PARTS["vlm-fo1-3b"], PARTS["grounding-dino-tiny"]]) == 3950 * 2 + 172 * 4
    assert [fits([PARTS["vlm-fo1-3b"]], memory) for memory in (None, 8_000, 16_000)] == [None, False, True]
    machines = [Machine(8000, None, False), Machine(8000, None, True), Machine(1500, None, True)]
    machines += [Machine(64_000, 24_000, True), Machine(64_000, 6_000, True)]
    names = ["nano", "nano+grounding-dino-tiny", "nano", "vlm-fo1-3b+grounding-dino-tiny", "nano+grounding-dino-tiny"]
    assert [advice(one)[0].name for one in machines] == names
    assert "torch is not installed" in advice(machines[0])[1]
    assert "GPU is too small" in advice(machines[4])[1]


def test_listing_imports_no_torch_and_no_client_of_the_hub() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from fo1agent.cli import main; "
        "print(CliRunner().invoke(main, ['models', '--json']).exit_code, "
        "sorted({'torch', 'transformers', 'onnxruntime', 'huggingface_hub.file_download'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"
