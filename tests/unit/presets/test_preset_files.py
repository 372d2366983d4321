"""What is here of a model's files, and how the rest comes: by the hub's real client, from a server that plays it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

import fo1agent
from fo1agent.cli import doctor, main
from fo1agent.errors import CheckpointError, ProposalError, SegmentationError
from fo1agent.model.finding import CONFIG, find_folder
from fo1agent.presets import PARTS
from fo1agent.presets.files import fetch, folder_of, kept, nothing_fetched
from fo1agent.presets.machine import Machine
from fo1agent.proposals import resolve_finder, resolve_proposer
from fo1agent.segmenters import resolve_segmenter
from tests.hub import Hub, playing_hub

OWL, DINO = "google/owlv2-base-patch16-ensemble", "IDEA-Research/grounding-dino-tiny"
OF_3B = "omlab/VLM-FO1_Qwen2.5-VL-3B-v01"
WEIGHTS = bytes(range(256)) * 2000
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "vocab.txt": b"a",
    "pytorch_model.bin": WEIGHTS,
    "onnx/model.json": b"{}",
    "README.md": b"about",
}
OF_SHARDS = {
    "config.json": b"{}",
    "model.safetensors.index.json": INDEX.encode(),
    "model-00001-of-00002.safetensors": b"1",
    "model-00002-of-00002.safetensors": b"2",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on loopback, and an empty cache of its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with playing_hub({OWL: FILES, DINO: FILES, OF_3B: OF_SHARDS}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def models(*words: str) -> Result:
    return CliRunner().invoke(main, ["models", *words])


def here(name: str) -> Any:
    listed = json.loads(models("--json").stdout)
    return next(preset for preset in listed["presets"] if preset["name"] == name)["here"]


def test_get_fetches_the_files_that_are_needed_once(hub: Hub) -> None:
    assert here("nano+owlv2-base") == "none"
    done = models("get", "nano+owlv2-base")
    assert done.exit_code == 0, done.output
    nano, owl = done.stdout.splitlines()
    assert nano.startswith("fo1-nano  ")
    folder = Path(owl.removeprefix("owlv2-base  "))
    assert sorted(path.name for path in folder.rglob("*")) == ["config.json", "model.safetensors", "vocab.txt"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (here("nano+owlv2-base"), here("nano"), here("nano+grounding-dino-tiny")) == ("all", "all", "none")
    hub.asked.clear()
    assert models("get", "nano+owlv2-base").exit_code == 0
    assert hub.fetched() == []


def test_a_detector_is_fetched_alone_too(hub: Hub) -> None:
    assert models("get", "grounding-dino-tiny").exit_code == 0
    assert kept([PARTS["grounding-dino-tiny"]]) == "all"


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.broken_after, hub.breaks = 300_000, 1
    folder = fetch(OWL, nested=False)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    starts = [asked for method, path, asked in hub.asked if method == "GET" and path.endswith("model.safetensors")]
    assert (starts[0], starts[1:]) == (None, [f"bytes={300_000 // 2**16 * 2**16}-"])


def test_what_is_not_there_whole_is_not_there_and_comes_with_the_next_command(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.broken_after, hub.breaks = 300_000, 1000
    failed = models("get", "nano+owlv2-base")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].startswith(f"error: {OWL} is no folder here and could not be fetched")
    assert not list(Path(constants.HF_HUB_CACHE).rglob("model.safetensors"))
    assert here("nano+owlv2-base") == "part"
    hub.breaks = 0
    hub.asked.clear()
    assert models("get", "nano+owlv2-base").exit_code == 0
    assert hub.fetched() == ["model.safetensors"]  # the others were there
    assert here("nano+owlv2-base") == "all"


def test_shards_are_all_needed(hub: Hub) -> None:
    find_folder("vlm-fo1-3b", fetched=[CONFIG, "*.index.json", "model-00001*"])
    assert kept([PARTS["vlm-fo1-3b"]]) == "part"
    found, name = find_folder("vlm-fo1-3b")
    assert (kept([PARTS["vlm-fo1-3b"]]), name) == ("all", "VLM-FO1_Qwen2.5-VL-3B-v01")
    assert kept([PARTS["nano"], PARTS["vlm-fo1-3b"], PARTS["owlv2-base"]]) == "part"
    (found / "model.safetensors.index.json").unlink()
    (found / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
    assert kept([PARTS["vlm-fo1-3b"]]) == "part"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("absent", "there is no such repository, or it is private. Check the name, or log in with `hf auth login`."),
        ("gated", "its owners ask for consent first. Give it at {url}/" + OWL + ", then log in with"),
        (
            "offline",
            "HF_HUB_OFFLINE keeps it from the network. Unset that for `fo1agent models get owlv2-base`, or copy",
        ),
        ("unreachable", "{url} cannot be reached ("),
    ],
)
def test_what_cannot_be_fetched_ends_in_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, trouble: str, said: str
) -> None:
    if trouble == "absent":
        del hub.repositories[OWL]
    if trouble == "gated":
        hub.gated.add(OWL)
    if trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if trouble == "unreachable":
        hub.url = "http://127.0.0.1:9"  # where nobody listens
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    done = models("get", "nano+owlv2-base")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert said.format(url=hub.url) in done.stderr
    with pytest.raises(CheckpointError, match="could not be fetched from the Hugging Face hub"):
        find_folder(OWL)


NAMED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: resolve_proposer("owlv2-base"), ProposalError, "owlv2-base"),
    (lambda: resolve_finder(f"transformers:{DINO}"), ProposalError, "grounding-dino-tiny"),
    (lambda: resolve_segmenter("sam2.1-tiny"), SegmentationError, "sam2.1-tiny"),
    (lambda: resolve_segmenter("transformers:owner/sam"), SegmentationError, "owner/sam"),
    (lambda: fo1agent.load("vlm-fo1-3b", engine="torch"), CheckpointError, "vlm-fo1-3b"),
]


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(("loading", "error", "name"), NAMED)
def test_what_is_not_here_and_cannot_be_fetched_is_told_at_once_with_what_fetches_it(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    loading: Callable[[], Any],
    error: type[Exception],
    name: str,
    offline: bool,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: pytest.fail("tried again"))
    with pytest.raises(error) as raised:
        loading()
    said = str(raised.value)
    assert "\n" not in said
    assert f"`fo1agent models get {name}`" in said
    assert ("HF_HUB_OFFLINE" if offline else "http://127.0.0.1:9 cannot be reached") in said


def test_a_file_that_is_missing_of_what_is_here_is_told_as_such(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch(OWL, nested=False)
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ProposalError, match=r"could not be fetched.*`fo1agent models get owlv2-base`"):
        resolve_finder("owlv2-base")


@pytest.mark.parametrize("path", ["/no/such/folder", "./sam", "../sam", "runs/old/sam", "sam"])
def test_a_folder_that_does_not_exist_is_told_without_asking_the_hub(hub: Hub, path: str) -> None:
    with pytest.raises(ProposalError, match=f"cannot be loaded: there is no folder '{path}'"):
        resolve_proposer(f"transformers:{path}")
    with pytest.raises(SegmentationError, match=f"cannot be loaded: there is no folder '{path}'"):
        resolve_segmenter(f"transformers:{path}")
    with pytest.raises(CheckpointError, match=f"{path} is neither a folder nor a Hugging Face name"):
        fo1agent.load(path, engine="torch")
    assert hub.asked == []


def test_an_old_repository_has_its_weights_in_another_format(hub: Hub) -> None:
    hub.repositories[OWL] = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    assert sorted(path.name for path in folder_of(OWL).iterdir()) == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert not (folder_of(DINO) / "pytorch_model.bin").exists()
    hub.asked.clear()
    with nothing_fetched():
        assert (folder_of(OWL) / "pytorch_model.bin").read_bytes() == WEIGHTS
        with pytest.raises(
            CheckpointError, match=r"it is not kept here, or not whole\. `fo1agent models get vlm-fo1-3b`"
        ):
            find_folder("vlm-fo1-3b")
    assert hub.asked == []


def test_what_was_fetched_works_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models("get", "owlv2-base").exit_code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert models("get", "nano+owlv2-base").exit_code == 0
    assert hub.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: pytest.fail("tried again"))
    assert (folder_of(OWL) / "model.safetensors").read_bytes() == WEIGHTS


def test_released_weights_are_looked_for_where_ultralytics_keeps_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    yolo = [PARTS["nano"], PARTS["yolo11n"]]
    assert kept(yolo) == "none"
    (tmp_path / "settings/Ultralytics").mkdir(parents=True)
    settings = tmp_path / "settings/Ultralytics/settings.json"
    settings.write_text("[]", encoding="utf-8")
    assert kept(yolo) == "none"
    settings.write_text(json.dumps({"weights_dir": str(tmp_path / "kept")}), encoding="utf-8")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/yolo11n.pt").write_bytes(b"")
    assert kept(yolo) == "all"


@pytest.fixture
def weights_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where ultralytics keeps weights; the current folder is another one."""
    from ultralytics.utils import SETTINGS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SETTINGS, "weights_dir", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_released_weights_are_fetched_into_ultralytics_own_folder(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def downloaded(url: str, file: Path, **_: Any) -> None:
        assert url.endswith("/yolo11n.pt")
        file.parent.mkdir()
        file.write_bytes(b"weights")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", downloaded)
    done = models("get", "nano+yolo11n")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == f"yolo11n  {weights_dir / 'yolo11n.pt'}"


def test_released_weights_that_cannot_be_fetched_end_in_one_line(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(**_: Any) -> None:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", failed)
    done = models("get", "nano+yolo11n")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: yolo11n.pt could not be fetched from ultralytics' releases: no network at all. "
        "When there is a network, `fo1agent models get yolo11n` fetches it.\n"
    )
    with pytest.raises(ProposalError, match=r"no network at all.*models get yolo11n`"):
        resolve_proposer("yolo11n")
    with pytest.raises(SegmentationError, match=r"no network at all.*models get yolo11n-seg`"):
        resolve_segmenter("yolo11n-seg")
    assert not weights_dir.exists()


def test_a_missing_package_is_told_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    done = models("get", "nano+owlv2-base+yolo11n-seg")
    assert done.exit_code == 1
    assert "AGPL-3.0" in done.stderr
    assert "pip install" in done.stderr
    assert hub.asked == []


def test_the_doctor_advises_a_preset_and_says_how_to_have_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "machine", lambda: Machine(8000, None, True))
    monkeypatch.setenv("FO1AGENT_MODEL", "vlm-fo1-3b")
    for name in ("_requirements", "_light", "_torch", "_weights", "_reading", "_asking"):
        monkeypatch.setattr(doctor, name, lambda: doctor.Check("other", True, False, ""))
    *_, said = doctor.examine()
    assert (said.name, said.ok, said.needed) == ("advice", True, False)
    assert said.detail == (
        "--model nano+grounding-dino-tiny: there is no GPU for the 3B, and 8.0 GB of memory hold a detector that knows "
        "any words; fetch it with `fo1agent models get nano+grounding-dino-tiny`; FO1AGENT_MODEL names vlm-fo1-3b"
    )
    assert models("get", "nano+grounding-dino-tiny").exit_code == 0
    *_, said = doctor.examine()
    assert "any words; it is here; FO1AGENT_MODEL" in said.detail


def examined(name: str) -> doctor.Check:
    """What the doctor says of the model that the variable names; its other checks are left out."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FO1AGENT_MODEL", name)
        for check in ("_requirements", "_extra", "_advice"):
            patched.setattr(doctor, check, lambda *_: doctor.Check("other", True, False, ""))
        for check in ("_torch", "_weights", "_reading", "_asking"):
            patched.setattr(doctor, check, lambda: "")
        return next(check for check in doctor.examine() if check.name == "model")


def test_the_doctor_loads_the_model_that_the_variable_names_and_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    well = examined("nano")
    assert (well.ok, well.detail.partition(",")[0]) == (True, "FO1AGENT_MODEL names nano")
    (tmp_path / "broken").mkdir()
    for name, said in (
        ("/no/such/folder", "is neither a folder nor a Hugging Face name"),
        ("nano+", "a detector is missing after +"),
        ("broken", "broken"),
        ("vlm-fo1-3b", "not whole. `fo1agent models get vlm-fo1-3b` fetches it"),
        ("nano+owlv2-base", "owlv2-base is not here. Fetch it with `fo1agent models get nano+owlv2-base`"),
        ("owner/model", "`fo1agent models get owner/model` fetches it"),
    ):
        ill = examined(name)
        assert (ill.ok, ill.needed) == (False, True), name
        assert said in ill.detail
    assert hub.asked == []
