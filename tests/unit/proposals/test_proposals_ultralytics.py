"""ultralytics models as proposers: real classes, tiny and untrained, built from a description and loaded back."""

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import InputError, MissingExtraError, ProposalError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals import Finder, Proposer, resolve_proposer
from fo1agent.proposals.ultralytics import UltralyticsProposer
from tests.tiny_detectors import ULTRALYTICS, ultralytics_in

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="ultralytics, an extra under AGPL-3.0, is not installed"
)


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory) -> Any:
    return ultralytics_in(tmp_path_factory.mktemp("ultralytics"))


@pytest.fixture(scope="module")
def wide() -> LoadedImage:
    """1200 x 300 pixels; the detector sees 640 x 160."""
    return load_image(np.random.default_rng(0).integers(0, 256, (300, 1200, 3), dtype=np.uint8))


def build(make: Any, folder: Path, name: str, head: str, classes: int = 3) -> Any:
    path = folder / f"{name}.yaml"
    path.write_text(ULTRALYTICS.format(head=head, classes=classes))
    return make(str(path))


@pytest.fixture
def yolo(ultralytics, tmp_path) -> Path:
    """A YOLO that sees, at every cell of its finest grid, a thing of class 1 that reaches two cells to each side."""
    import torch

    model = build(ultralytics.YOLO, tmp_path, "tiny", "Detect, [nc]")
    model.model.names = {0: "cat", 1: "dog", 2: "bus"}
    head = model.model.model[-1]
    with torch.no_grad():
        for boxes, classes in zip(head.cv2, head.cv3, strict=True):
            boxes[-1].weight.zero_()
            boxes[-1].bias.view(4, head.reg_max)[:] = torch.nn.functional.one_hot(torch.tensor(2), head.reg_max) * 50
            classes[-1].weight.zero_()
            classes[-1].bias.fill_(-20)
        head.cv3[0][-1].bias[1] = 2
    model.save(tmp_path / "tiny.pt")
    return tmp_path / "tiny.pt"


def test_known_boxes_land_in_original_pixels(yolo, wide):
    proposer = UltralyticsProposer(yolo)
    assert isinstance(proposer, Proposer)
    regions = proposer(wide)
    assert len(regions) == 100
    assert set(regions.labels) == {"dog"}
    assert (regions.source, proposer.name, regions.ids[0]) == ("ultralytics:tiny", "ultralytics:tiny", f"{wide.id}/r0")
    np.testing.assert_allclose(regions.scores, 1 / (1 + np.exp(-2)), atol=1e-3)
    boxes = UltralyticsProposer(yolo, limit=2000)(wide).boxes
    # A cell is 8 pixels of 640, so 15 of 1200: a box of four cells is 60 wide and high, and its centre at 7.5 + 15 k.
    inner = boxes[(boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < [1200, 300]).all(axis=1)]
    assert len(inner) > 100
    np.testing.assert_allclose(inner[:, 2:] - inner[:, :2], 60, atol=0.1)
    cells = ((inner[:, :2] + inner[:, 2:]) / 2 - 7.5) / 15
    np.testing.assert_allclose(cells, np.rint(cells), atol=0.01)
    np.testing.assert_allclose(boxes.max(axis=0), [1162.5, 262.5, 1200, 300], atol=0.1)


def test_limit_and_score_are_kept(yolo, wide):
    assert len(UltralyticsProposer(yolo, limit=7)(wide)) == 7
    assert len(UltralyticsProposer(yolo, min_score=0.9)(wide)) == 0


def test_rt_detr_weights_are_recognised_by_what_they_are(ultralytics, tmp_path, wide):
    import torch

    torch.manual_seed(0)
    model = build(ultralytics.RTDETR, tmp_path, "any-name", "RTDETRDecoder, [nc, 32, 20, 4, 4, 2, 64]")
    model.save(tmp_path / "any-name.pt")
    regions = UltralyticsProposer(tmp_path / "any-name.pt")(wide)
    assert 0 < len(regions) <= 20
    assert (np.diff(regions.scores) <= 0).all()
    # Untrained, its boxes are squares of its square input, so four times as wide as high in a picture of 4 : 1.
    boxes = regions.boxes
    inner = boxes[(boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < [1200, 300]).all(axis=1)]
    assert len(inner)
    np.testing.assert_allclose((inner[:, 2] - inner[:, 0]) / (inner[:, 3] - inner[:, 1]), 4, atol=0.1)


@pytest.mark.parametrize(
    ("make", "head"), [("YOLOWorld", "WorldDetect, [nc, 512, True]"), ("YOLOE", "YOLOEDetect, [nc, 512, True]")]
)
def test_text_models_take_phrases_whatever_their_file_is_called(make, head, ultralytics, tmp_path, wide, monkeypatch):
    import torch

    class Reader:
        """Stands where CLIP would: its weights are not at hand, and what it says does not matter here."""

        def tokenize(self, texts, **_):
            return torch.arange(len(texts))[:, None]

        def encode_text(self, tokens, **_):
            return torch.nn.functional.normalize(torch.randn(len(tokens), 512), dim=-1)

    monkeypatch.setitem(sys.modules, "clip", types.ModuleType("clip"))
    monkeypatch.setattr("ultralytics.nn.text_model.build_text_model", lambda *_, **__: Reader())
    build(getattr(ultralytics, make), tmp_path, "mine", head, classes=80).save(tmp_path / "mine.pt")
    regions = UltralyticsProposer(tmp_path / "mine.pt", phrases=["a red cat", "dog"], min_score=0.0)(wide)
    assert len(regions) > 0
    assert set(regions.labels) <= {"a red cat", "dog"}
    finder = UltralyticsProposer(tmp_path / "mine.pt", min_score=0.0)
    assert finder.names is None
    assert len(finder.phrases or ()) == 80
    asked: list[list[str]] = []
    together = finder.find(wide, ["dog"])
    monkeypatch.setattr(type(finder._reader), "set_classes", lambda _, classes: asked.append(classes))
    finder.find(wide, ["cat", "dog"])
    assert asked == [["cat"], ["dog"]]
    assert set(together[0].labels) == {"dog"}
    assert len(finder(wide)) > 0  # by its own classes, as before
    assert set(finder(wide).labels) <= set(finder.phrases or ())


def test_several_pictures_get_what_each_gets_alone(yolo):
    rng = np.random.default_rng(1)
    shapes = [(300, 1200), (200, 100), (300, 1200), (300, 1200)]
    images = [load_image(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    proposer = UltralyticsProposer(yolo, min_score=0.0)
    alone = [proposer(image) for image in images]
    assert all(map(len, alone))
    proposer = UltralyticsProposer(yolo, min_score=0.0)  # which has looked at none
    passes, predict = [], proposer._model.predict
    proposer._model.predict = lambda pictures, **named: passes.append(len(pictures)) or predict(pictures, **named)
    for one, other in zip(proposer.propose_many(images), alone, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(axis=2)
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 0.05
    assert passes == [3, 1]


def test_phrases_for_a_model_that_reads_no_text_are_refused(yolo):
    with pytest.raises(InputError, match=r"tiny\.pt reads no text"):
        UltralyticsProposer(yolo, phrases=["cat"])


@pytest.mark.parametrize("weights", ["nope.pt", "some/folder/yolo11n.pt", "https://example.com/yolo11n.pt", "", "\0"])
def test_weights_that_are_neither_here_nor_released_are_refused(weights, ultralytics):
    with pytest.raises(InputError, match="There is no file"):
        UltralyticsProposer(weights)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04"])
def test_broken_weights_are_a_proposal_error(content, tmp_path, ultralytics):
    (tmp_path / "broken.pt").write_bytes(content)
    with pytest.raises(ProposalError, match="ultralytics:broken cannot be loaded"):
        UltralyticsProposer(tmp_path / "broken.pt")


def test_weights_that_would_run_code_are_not_unpickled(tmp_path, ultralytics):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ProposalError, match="cannot be loaded"):
        UltralyticsProposer(tmp_path / "evil.pt")
    assert not (tmp_path / "was here").exists()


def test_a_classifier_is_refused(tmp_path, ultralytics):
    path = tmp_path / "kind-cls.yaml"
    path.write_text("nc: 3\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\nhead:\n  - [-1, 1, Classify, [nc]]\n")
    ultralytics.YOLO(str(path)).save(tmp_path / "kind.pt")
    with pytest.raises(ProposalError, match="'classify', which makes no boxes"):
        UltralyticsProposer(tmp_path / "kind.pt")


def test_nothing_is_written_to_the_working_folder(yolo, wide, tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    UltralyticsProposer(yolo)(wide)
    assert list(folder.iterdir()) == []


def test_no_usage_data_is_sent_and_nothing_is_installed_or_printed(yolo, wide, tmp_path):
    program = f"""
import numpy as np
from fo1agent.pictures.image import load_image
from fo1agent.proposals import resolve_proposer
proposer = resolve_proposer("ultralytics:{yolo}")
assert len(proposer(load_image(np.zeros((300, 1200, 3), np.uint8))))
import os, ultralytics.utils, ultralytics.utils.events
assert not ultralytics.utils.AUTOINSTALL
assert not ultralytics.utils.ONLINE
assert not ultralytics.utils.events.events.enabled
assert not ultralytics.utils.events.events.events
assert "YOLO_OFFLINE" not in os.environ
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("YOLO_")}
    environment["YOLO_CONFIG_DIR"] = str(tmp_path / "settings")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_ultralytics_and_the_text_reader_share_one_opencv(ultralytics):
    # rapidocr and ultralytics ask for different wheels of one library; both must import, in either order.
    for order in ("rapidocr, ultralytics", "ultralytics, rapidocr"):
        command = [sys.executable, "-c", f"import {order}, cv2"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


def test_the_name_is_resolved(yolo):
    assert isinstance(resolve_proposer(f"ultralytics:{yolo}"), UltralyticsProposer)


def test_without_the_extra_the_install_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(MissingExtraError, match=r'AGPL-3\.0.*pip install "ultralytics>='):
        resolve_proposer("ultralytics:yolo11n.pt")


def test_names_are_found_by_the_look_that_made_the_boxes(yolo, wide, monkeypatch):
    finder = UltralyticsProposer(yolo)
    assert isinstance(finder, Finder)
    assert (finder.names, finder.phrases) == (("cat", "dog", "bus"), None)
    assert len(finder(wide)) == 100
    monkeypatch.setattr(finder._model, "predict", lambda *_, **__: pytest.fail("looked again"))
    dogs, cats = finder.find(wide, ["dog", "cat"])
    assert len(dogs) == 100
    assert set(dogs.labels) == {"dog"}
    assert len(cats) == 0
    assert finder.trust.log_odds(np.array([0.25]))[0] == pytest.approx(np.log(1 / 3))
    assert finder.identity
