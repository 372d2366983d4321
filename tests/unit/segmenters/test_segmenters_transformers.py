"""Segmenters of transformers: real classes, tiny and untrained, saved and loaded back; and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from fo1agent.errors import InputError, SegmentationError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.regions.masks import Mask
from fo1agent.segmenters import resolve_segmenter, segmented
from fo1agent.segmenters import transformers as adapters
from fo1agent.segmenters.transformers import InstanceSegmenter, PromptedSegmenter

BOXES = np.array([[3.0, 5.0, 60.0, 40.0], [50.0, 10.0, 118.0, 55.5]])
PROMPT = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 16,
    "mlp_dim": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_depth": 2,
    "iou_head_hidden_dim": 16,
}


@pytest.fixture(scope="module")
def wide() -> LoadedImage:
    """120 x 60 pixels; a SAM sees 64 x 32 of 64 x 64, the later ones a square."""
    return load_image(np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8))


def _sam(kind: str) -> tuple[Any, Any]:
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "output_channels": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "num_pos_feats": 8,
        "mlp_dim": 16,
        "initializer_range": 0.02,
    }
    decoder = {**DECODER, "vit_dim": 16} if kind == "SamHQ" else DECODER
    config = getattr(transformers, f"{kind}Config")(
        vision_config=vision, prompt_encoder_config=PROMPT, mask_decoder_config=decoder
    )
    images = transformers.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16}
    )
    return getattr(transformers, f"{kind}Model")(config), getattr(transformers, f"{kind}Processor")(images)


def _sam2(video: bool = False) -> tuple[Any, Any]:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 2, 1, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [2],
        "window_positional_embedding_background_size": [4, 4],
    }
    config = {
        "vision_config": {
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
            "fpn_top_down_levels": [2, 3],
        },
        "prompt_encoder_config": PROMPT,
        "mask_decoder_config": DECODER,
    }
    images = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    if not video:
        return transformers.Sam2Model(transformers.Sam2Config(**config)), transformers.Sam2Processor(images)
    more = {
        "image_size": 64,
        "memory_attention_hidden_size": 16,
        "memory_attention_num_layers": 1,
        "memory_attention_num_attention_heads": 1,
        "memory_attention_feed_forward_hidden_size": 16,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 16,
        "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
        "memory_fuser_num_layers": 1,
    }
    model = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**config, **more))
    videos = transformers.Sam2VideoVideoProcessor(size={"height": 64, "width": 64})
    return model, transformers.Sam2VideoProcessor(images, videos)


def _edgetam() -> tuple[Any, Any]:
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m0_9",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "model_args": {"features_only": True, "out_indices": [0, 1, 2, 3]},
    }
    vision = {
        "model_type": "edgetam_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [384, 192, 96, 48],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 16,
        "fpn_top_down_levels": [2, 3],
    }
    config = transformers.EdgeTamConfig(vision_config=vision, prompt_encoder_config=PROMPT, mask_decoder_config=DECODER)
    images = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    return transformers.EdgeTamModel(config), transformers.Sam2Processor(images)


def _sam3() -> tuple[Any, Any]:
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "pretrain_image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 16,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    prompt = {**PROMPT, "image_size": 56, "patch_size": 14}
    config = transformers.Sam3TrackerConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=DECODER
    )
    images = transformers.Sam3ImageProcessor(size={"height": 56, "width": 56}, mask_size={"height": 16, "width": 16})
    return transformers.Sam3TrackerModel(config), transformers.Sam3TrackerProcessor(images)


MADE = {
    "sam": lambda: _sam("Sam"),
    "sam_hq": lambda: _sam("SamHQ"),
    "sam2": _sam2,
    "edgetam": _edgetam,
    "sam3_tracker": _sam3,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    made = {}
    for kind, make in MADE.items():
        model, processor = make()
        made[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(made[kind])
        processor.save_pretrained(made[kind])
    return made


def _by_transformers(folder: Path, kind: str, wide: LoadedImage) -> tuple[np.ndarray, np.ndarray]:
    """Masks [N, H, W] and IoUs [N] as the model's own documentation computes them."""
    architecture = type(MADE[kind]()[0])
    model, processor = architecture.from_pretrained(folder).eval(), type(MADE[kind]()[1]).from_pretrained(folder)
    inputs = processor(images=wide.pixels, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.inference_mode():
        said = model(
            **{k: inputs[k] for k in ("pixel_values", "input_boxes")},
            multimask_output=False,
        )
    sizes = {k: inputs[k].tolist() for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
    (masks,) = processor.post_process_masks(said.pred_masks, **sizes)
    return masks[:, 0].numpy(), said.iou_scores[0, :, 0].numpy()


@pytest.mark.parametrize("kind", MADE)
def test_masks_of_boxes_are_those_of_transformers_itself(
    kind: str, folders: dict[str, Path], wide: LoadedImage
) -> None:
    masks, ious = _by_transformers(folders[kind], kind, wide)
    segmenter = resolve_segmenter(f"transformers:{folders[kind]}")
    assert isinstance(segmenter, PromptedSegmenter)
    found = segmenter(wide, BOXES)
    assert [mask.size_hw for mask in found] == [(60, 120)] * 2
    for mask, theirs in zip(found, masks, strict=True):
        assert (mask.pixels() == theirs).all()
    assert [mask.quality for mask in found] == pytest.approx(ious.clip(0, 1), abs=1e-5)


def test_untrained_masks_are_neither_empty_nor_full(folders: dict[str, Path], wide: LoadedImage) -> None:
    """Else the comparison above would say nothing."""
    areas = [_by_transformers(folders[kind], kind, wide)[0].mean() for kind in MADE]
    assert any(0.02 < area < 0.98 for area in areas), areas


@pytest.mark.parametrize("kind", MADE)
def test_a_picture_is_embedded_once_and_boxes_are_asked_together(
    kind: str, folders: dict[str, Path], wide: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = resolve_segmenter(folders[kind])
    model, calls = segmenter._model, []  # pyright: ignore[reportFunctionMemberAccess]
    embed, ask = model.get_image_embeddings, model.forward
    monkeypatch.setattr(model, "get_image_embeddings", lambda *a, **k: calls.append("embed") or embed(*a, **k))
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append("ask") or ask(*a, **k))
    first = segmenter(wide, BOXES)
    again = segmenter(wide, BOXES[:1])
    assert calls == ["embed", "ask", "ask"]
    assert (first[0].pixels() == again[0].pixels()).all()
    for number in range(adapters.KEPT_PICTURES):
        segmenter(load_image(np.full((20, 20, 3), number, dtype=np.uint8)), np.array([[1.0, 1.0, 9.0, 9.0]]))
    segmenter(wide, BOXES)
    assert calls.count("embed") == 2 + adapters.KEPT_PICTURES  # it was no longer kept


def test_many_boxes_are_made_a_part_at_a_time_with_the_same_masks(
    folders: dict[str, Path], wide: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = resolve_segmenter(folders["sam2"])
    whole = segmenter(wide, BOXES)
    monkeypatch.setattr(adapters, "_BOXES_AT_ONCE", 1)
    monkeypatch.setattr(adapters, "at_once", lambda size: 1)
    for one, other in zip(whole, segmenter(wide, BOXES), strict=True):
        assert one.iou(other) > 0.99


def test_a_checkpoint_for_video_is_loaded_for_pictures(tmp_path: Path, wide: LoadedImage) -> None:
    """As facebook/sam2.1-hiera-tiny is saved."""
    torch.manual_seed(0)
    model, processor = _sam2(video=True)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    found = segmented(resolve_segmenter(tmp_path), wide, BOXES)
    assert len(found) == 2


def _mask2former() -> tuple[Any, Any]:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin: Any = {"image_size": 64, "embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4, "out_features": stages}
    sizes: Any = dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size"), 32)
    layers: Any = {"encoder_layers": 1, "encoder_feedforward_dim": 16, "decoder_layers": 2, "dim_feedforward": 16}
    heads: Any = {"num_attention_heads": 2, "num_queries": 5, "num_labels": 3}
    backbone = transformers.SwinConfig(window_size=2, **swin)
    config = transformers.Mask2FormerConfig(backbone_config=backbone, **sizes, **layers, **heads)
    processor = transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}, do_resize=True)
    return transformers.Mask2FormerForUniversalSegmentation(config), processor


def _rf_detr() -> tuple[Any, Any]:
    vit: Any = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "out_indices": [1, 2]}
    backbone = transformers.RfDetrDinov2Config(image_size=64, patch_size=16, num_windows=1, **vit)
    sizes: Any = {"d_model": 16, "decoder_ffn_dim": 16, "intermediate_size": 16, "num_queries": 5, "num_labels": 4}
    heads: Any = {"decoder_layers": 1, "decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2}
    config = transformers.RfDetrConfig(backbone_config=backbone, group_detr=1, **sizes, **heads)
    processor = transformers.RfDetrImageProcessor(size={"height": 64, "width": 64})
    return transformers.RfDetrForInstanceSegmentation(config), processor


@pytest.fixture(scope="module", params=[_mask2former, _rf_detr])
def instances(request: pytest.FixtureRequest, tmp_path_factory) -> InstanceSegmenter:
    torch.manual_seed(0)
    model, processor = request.param()
    folder = tmp_path_factory.mktemp("instances")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    made = resolve_segmenter(folder)
    assert isinstance(made, InstanceSegmenter)
    return made


def _told(said: Any, sure_of_the_first: bool) -> Any:
    """What a model said, changed: query 0 is of a thing on the left half, if so, and the others are of nothing."""
    classes, masks = (
        (said.class_queries_logits, said.masks_queries_logits)
        if hasattr(said, "class_queries_logits")
        else (said.logits, said.pred_masks)
    )
    nothing = 9.0 if hasattr(said, "class_queries_logits") else -9.0  # RF-DETR has no name for it
    classes[:] = torch.tensor([-9.0, -9.0, -9.0, nothing])
    masks[:] = -9.0
    if sure_of_the_first:
        classes[0, 0] = torch.tensor([9.0, -9.0, -9.0, -9.0])
        masks[0, 0, :, : masks.shape[-1] // 2] = 9.0
    return said


def test_masks_that_a_model_finds_itself_come_to_the_boxes_that_they_fit(
    instances: InstanceSegmenter, wide: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    forward = instances._model.forward

    def sure(*args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        return _told(forward(*args, **kwargs), True)

    monkeypatch.setattr(instances._model, "forward", sure)
    boxes = np.array([[0.0, 0.0, 58.0, 60.0], [80.0, 0.0, 120.0, 60.0]])
    left, right = segmented(instances, wide, boxes)
    assert right is None
    assert left is not None
    assert left.box == pytest.approx((0, 0, 60, 60), abs=2)
    assert left.quality == pytest.approx(1, abs=0.01)
    segmented(instances, wide, boxes[:1])
    assert len(asked) == 1  # what was found in a picture is kept


def test_a_model_that_finds_nothing_gives_no_mask(
    instances: InstanceSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = instances._model.forward
    monkeypatch.setattr(instances._model, "forward", lambda *a, **k: _told(forward(*a, **k), False))
    picture = load_image(Image.new("RGB", (50, 40), "red"))
    assert segmented(instances, picture, np.array([[0.0, 0.0, 50.0, 40.0]])) == [None]


def test_what_makes_no_masks_and_what_is_broken_is_told_in_one_line(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(SegmentationError, match="cannot be loaded"):
        resolve_segmenter(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SegmentationError, match="is a 'bert', which makes no masks"):
        resolve_segmenter(tmp_path)
    (tmp_path / "config.json").write_text((folders["sam"] / "config.json").read_text())
    with pytest.raises(SegmentationError, match="cannot be loaded"):
        resolve_segmenter(tmp_path)
    weights = {"shared_image_embedding.positional_embedding": torch.zeros(2, 8)}
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SegmentationError, match="its weights lack"):
        resolve_segmenter(tmp_path)


@pytest.mark.parametrize("spec", ["sam2", "ultralytics:", "transformers:", "/no/such/folder"])
def test_another_word_is_no_segmenter_and_the_forms_are_named(spec: str) -> None:
    with pytest.raises(InputError, match=r"No segmenter .*transformers:facebook/sam2.1-hiera-tiny"):
        resolve_segmenter(spec)


def test_a_number_is_no_segmenter() -> None:
    with pytest.raises(InputError, match="A int is no segmenter"):
        resolve_segmenter(7)  # pyright: ignore[reportArgumentType]


def _given(masks: Any) -> Any:
    return lambda image, boxes: masks


PICTURE = load_image(Image.new("RGB", (6, 4), "white"))
ONE_BOX = np.array([[0.0, 0.0, 3.0, 4.0]])


@pytest.mark.parametrize(
    ("given", "area", "quality"),
    [
        (np.ones((1, 4, 6), dtype=bool), 24, None),
        (np.full((1, 4, 6), 0.7), 24, None),
        ([np.eye(4, 6)], 4, None),
        ((np.ones((1, 4, 6), dtype=bool), [0.25]), 24, 0.25),
        ([Mask.of(np.ones((4, 6), dtype=bool), 0.5)], 24, 0.5),
        (np.full((1, 4, 6), 255, dtype=np.uint8), 24, None),
        (255 * np.eye(4, 6, dtype=np.uint8)[None], 4, None),
        (np.eye(4, 6, dtype=np.int64)[None], 4, None),
        (np.full((1, 4, 6), 1.0005, dtype=np.float16), 24, None),
    ],
)
def test_a_plain_function_is_a_segmenter_in_several_forms(given: Any, area: int, quality: float | None) -> None:
    (mask,) = segmented(resolve_segmenter(_given(given)), PICTURE, ONE_BOX)
    assert mask is not None
    assert (mask.area, mask.quality) == (area, quality)


def test_no_mask_and_one_without_pixels_are_none() -> None:
    assert segmented(_given([None]), PICTURE, ONE_BOX) == [None]
    assert segmented(_given(np.zeros((1, 4, 6))), PICTURE, ONE_BOX) == [None]
    assert segmented(_given("never asked"), PICTURE, np.zeros((0, 4))) == []


def test_a_mask_that_lies_wholly_outside_its_box_is_none() -> None:
    beside, around = np.zeros((4, 6), dtype=bool), np.ones((4, 6), dtype=bool)
    beside[:, 3:] = True
    around[1:3, 1:5] = False
    assert segmented(_given([beside]), PICTURE, ONE_BOX) == [None]
    assert segmented(_given([around]), PICTURE, np.array([[1.0, 1.0, 5.0, 3.0]])) == [None]
    (mask,) = segmented(_given([beside]), PICTURE, np.array([[0.0, 0.0, 3.2, 4.0]]))
    assert mask is not None
    assert mask.area == 12


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.ones((2, 4, 6)), "gave 2 masks for 1 boxes"),
        (np.ones((1, 6, 4)), "one has 4x6 pixels, the picture 6x4"),
        (7, "holds no masks"),
        ((np.ones((1, 4, 6)), [2.0]), "from 0 to 1"),
        ([["a"]], "holds no masks"),
        (torch.ones(1, 4, 6, requires_grad=True), "holds no masks: Can't call numpy"),
        (
            np.linspace(-8, 12, 24).reshape(1, 4, 6),
            "its values go from -8 to 12, wanted truth values, or probabilities",
        ),
        (np.full((1, 4, 6), -3.5, dtype=np.float32), "its values go from -3.5 to -3.5"),
        (np.full((1, 4, 6), 255.0), "its values go from 255 to 255"),
        (np.full((1, 4, 6), np.nan), "its values go from nan to nan"),
        (np.full((1, 4, 6), -1), "its values go from -1 to -1"),
        (np.arange(24, dtype=np.uint8).reshape(1, 4, 6), "its values go from 0 to 23"),
        (np.full((1, 4, 6), 7), "its values go from 7 to 7"),
        (np.full((1, 4, 6), 1j), "its values are of the type complex128, wanted truth values"),
        (np.full((1, 4, 6), "no"), "its values are of the type <U2"),
        (np.full((1, 4, 6), None), "its values are of the type object"),
    ],
)
def test_what_is_no_mask_is_an_error_of_one_line_with_the_segmenters_name(given: Any, said: str) -> None:
    def outline(image: Any, boxes: Any) -> Any:
        return given

    with pytest.raises(SegmentationError, match=said) as told:
        segmented(outline, PICTURE, ONE_BOX)
    assert str(told.value).startswith("outline ")
    assert "\n" not in str(told.value)


def test_a_segmenter_that_fails_is_told_by_name() -> None:
    def outline(image: Any, boxes: Any) -> Any:
        raise RuntimeError("no memory\nleft")

    with pytest.raises(SegmentationError, match="outline failed: no memory left"):
        segmented(outline, PICTURE, ONE_BOX)
