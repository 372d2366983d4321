"""ultralytics models as segmenters: real classes, tiny and untrained; and what is refused."""

import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fo1agent.errors import InputError, MissingExtraError, SegmentationError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.segmenters import resolve_segmenter, segmented
from fo1agent.segmenters.ultralytics import UltralyticsMasks, UltralyticsSam, load_ultralytics
from tests.tiny_detectors import ULTRALYTICS, ultralytics_in

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="ultralytics, an extra under AGPL-3.0, is not installed"
)

BOXES = np.array([[10.0, 20.0, 150.0, 120.0], [100.0, 30.0, 230.0, 140.0]])


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory) -> Any:
    return ultralytics_in(tmp_path_factory.mktemp("ultralytics"))


@pytest.fixture(scope="module")
def picture() -> LoadedImage:
    """240 x 160 pixels."""
    return load_image(np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8))


def _saved(ultralytics: Any, folder: Path, name: str, head: str) -> Path:
    (folder / "tiny.yaml").write_text(ULTRALYTICS.format(head=head, classes=3))
    model, path = ultralytics.YOLO(str(folder / "tiny.yaml")), folder / name
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def seg(ultralytics, tmp_path_factory) -> UltralyticsMasks:
    path = _saved(ultralytics, tmp_path_factory.mktemp("seg"), "mine-seg.pt", "Segment, [nc, 8, 16]")
    made = resolve_segmenter(f"ultralytics:{path}")
    assert isinstance(made, UltralyticsMasks)
    assert made.name == "ultralytics:mine-seg"
    return made


class _Told:
    """What a model found: two things, of which the second one is a whole 40 x 30 rectangle."""

    def __init__(self) -> None:
        import torch

        masks = torch.zeros(2, 160, 240)
        masks[0, :4, :4], masks[1, 30:60, 50:90] = 1, 1
        self.masks: Any = type("Masks", (), {"data": masks})
        self.boxes: Any = type("Boxes", (), {"conf": torch.tensor([0.9, 0.75])})


def test_masks_that_a_model_finds_itself_come_to_the_boxes_that_they_fit(
    seg: UltralyticsMasks, picture: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(seg._model, "predict", lambda *a, **k: calls.append(k) or [_Told()])
    boxes = np.array([[48.0, 30.0, 92.0, 62.0], [150.0, 100.0, 200.0, 150.0]])
    mask, nothing = segmented(seg, picture, boxes)
    assert nothing is None
    assert mask is not None
    assert (mask.box, mask.area, mask.quality) == ((50, 30, 90, 60), 1200, 0.75)
    segmented(seg, picture, boxes)
    assert len(calls) == 1  # what was found in a picture is kept
    assert calls[0]["retina_masks"] is True  # in the picture's own pixels


def test_an_untrained_model_gives_masks_of_the_pictures_size_or_none(seg: UltralyticsMasks) -> None:
    other = load_image(np.zeros((50, 70, 3), dtype=np.uint8))
    for mask in segmented(seg, other, np.array([[1.0, 1.0, 60.0, 40.0]])):
        assert mask is None or mask.size_hw == (50, 70)


@pytest.fixture(scope="module")
def sam(ultralytics) -> UltralyticsSam:
    """A SAM 2 with the real parts, as small as they can be made, which sees 128 x 128 pixels."""
    import torch
    from ultralytics.models.sam.build import _build_sam2

    torch.manual_seed(0)
    build: Any = _build_sam2
    small = build(
        encoder_embed_dim=16,
        encoder_stages=[1, 2, 1, 1],
        encoder_num_heads=1,
        encoder_global_att_blocks=[2],
        encoder_backbone_channel_list=[128, 64, 32, 16],
        encoder_window_spec=[4, 4, 4, 4],
    )
    made = ultralytics.SAM.__new__(ultralytics.SAM)
    torch.nn.Module.__init__(made)
    made.is_sam2, made.is_sam3, made.model, made.task = True, False, small, "segment"
    return UltralyticsSam("ultralytics:tiny", made, "cpu", image_size=128)


def test_a_sam_embeds_a_picture_once_and_gives_a_mask_for_each_box(
    sam: UltralyticsSam, picture: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    embed = sam._predictor.get_im_features
    monkeypatch.setattr(sam._predictor, "get_im_features", lambda im: embedded.append(1) or embed(im))
    masks, qualities = sam(picture, BOXES)
    assert [mask.shape for mask in masks] == [(160, 240)] * 2
    assert all(0 <= quality <= 1 for quality in qualities)
    again, _ = sam(picture, BOXES[1:])
    assert len(embedded) == 1
    assert (again[0] == masks[1]).all()
    sam(load_image(np.zeros((50, 70, 3), dtype=np.uint8)), BOXES[:1] / 4)
    assert len(embedded) == 2


def test_a_sam_sees_the_picture_in_its_own_colors(sam: UltralyticsSam, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    embed = sam._predictor.get_im_features
    monkeypatch.setattr(sam._predictor, "get_im_features", lambda im: seen.append(im) or embed(im))
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = 255
    sam(load_image(red), np.array([[4.0, 4.0, 40.0, 40.0]]))
    first, last = (float(seen[0][0, channel].mean()) for channel in (0, 2))
    assert first > 0 > last  # normalised RGB


def test_weights_that_would_run_code_are_not_unpickled(ultralytics, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "sam_b.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SegmentationError, match="sam_b cannot be loaded"):
        load_ultralytics(tmp_path / "sam_b.pt")
    assert not (tmp_path / "ran").exists()


def test_what_makes_no_masks_is_refused(ultralytics, tmp_path: Path) -> None:
    path = _saved(ultralytics, tmp_path, "boxes.pt", "Detect, [nc]")
    with pytest.raises(SegmentationError, match="is for the task 'detect', which makes no masks"):
        load_ultralytics(path)
    with pytest.raises(InputError, match="no file"):
        load_ultralytics("no-such.pt")


def test_without_the_extra_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(MissingExtraError, match=r"A segmenter of ultralytics needs .*AGPL-3.0.*pip install"):
        load_ultralytics("sam2_t.pt")
