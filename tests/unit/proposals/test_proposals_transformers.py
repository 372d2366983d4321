"""Hugging Face detectors as proposers: real classes, tiny and untrained, saved and loaded back through the adapter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTokenizer,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    OmDetTurboProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SwinConfig,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)

from fo1agent.errors import InputError, ProposalError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals import Proposer, resolve_proposer
from fo1agent.proposals.transformers import TransformersProposer
from fo1agent.regions.boxes import cxcywh_to_xyxy

NAMES = {0: "cat", 1: "dog", 2: "bus"}
PHRASES = ["a red cat", "dog"]


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def wide() -> LoadedImage:
    """1200 x 300 pixels: no axis can be mistaken for the other, and no detector's input has that shape."""
    return load_image(np.random.default_rng(0).integers(0, 256, (300, 1200, 3), dtype=np.uint8))


def make(config: Any, **options: Any) -> Any:
    """A configuration; its parameters are more than its signature says."""
    return config(**options)


def save(folder: Path, model, processor) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def answer_always(head: torch.nn.Module, box_cxcywh: list[float]) -> None:
    """Let a box head, whatever it sees, give this box in shares of the picture."""
    last = [module for module in head.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.logit(torch.tensor(box_cxcywh)))


def tiny_detr(folder: Path) -> Path:
    backbone = make(
        ResNetConfig, embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    config = make(
        DetrConfig,
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        backbone_config=backbone,
        num_queries=5,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        id2label=NAMES,
        label2id={v: k for k, v in NAMES.items()},
    )
    model = DetrForObjectDetection(config)
    answer_always(model.bbox_predictor, [0.25, 0.5, 0.1, 0.4])
    return save(folder, model, DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 200}))


def tiny_yolos(folder: Path) -> Path:
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 64],
        patch_size=16,
        num_detection_tokens=5,
        id2label=NAMES,
        label2id={v: k for k, v in NAMES.items()},
    )
    model = YolosForObjectDetection(config)
    answer_always(model.bbox_predictor, [0.25, 0.5, 0.1, 0.4])
    return save(folder, model, YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 128}))


def tiny_rt_detr(folder: Path) -> Path:
    backbone = make(
        RTDetrResNetConfig,
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[8, 8, 8],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_in_channels=[16, 16, 16],
        d_model=16,
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_queries=20,
        num_denoising=0,
        hidden_expansion=0.5,
        id2label=NAMES,
        label2id={v: k for k, v in NAMES.items()},
    )
    model = RTDetrForObjectDetection(config)
    return save(folder, model, RTDetrImageProcessor(size={"height": 128, "width": 128}))


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz,."
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def tiny_owl(folder: Path, second: bool) -> Path:
    tokenizer = clip_tokenizer(folder.parent / "tokenizer")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    size = {"height": 64, "width": 64}
    if second:
        model = Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=16))
        processor = Owlv2Processor(image_processor=Owlv2ImageProcessor(size=size), tokenizer=tokenizer)
    else:
        model = OwlViTForObjectDetection(OwlViTConfig(text_config=text, vision_config=vision, projection_dim=16))
        image_processor = OwlViTImageProcessor(size=size, crop_size=size)
        processor = OwlViTProcessor(image_processor=image_processor, tokenizer=tokenizer)
    # Without what the head adds, a box is its cell of the grid: 4 x 4 cells of 16 pixels.
    answer_always(model.box_head, [0.5] * 4)
    return save(folder, model, processor)


def tiny_swin(out_features: list[str]) -> SwinConfig:
    return make(
        SwinConfig,
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        out_features=out_features,
    )


def tiny_grounding_dino(folder: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "red", "cat", "dog", "object"]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer.from_pretrained(folder)
    text = {
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
    }
    config = GroundingDinoConfig(
        backbone_config=tiny_swin(["stage2", "stage3", "stage4"]),
        text_config=text,
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_feature_levels=4,
        max_text_len=64,
    )
    model = GroundingDinoForObjectDetection(config)
    image_processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 200})
    return save(folder, model, GroundingDinoProcessor(image_processor=image_processor, tokenizer=tokenizer))


def tiny_omdet(folder: Path) -> Path:
    tokenizer = clip_tokenizer(folder.parent / "tokenizer")
    text = make(
        CLIPTextConfig,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        projection_dim=32,
    )
    config = make(
        OmDetTurboConfig,
        text_config=text,
        backbone_config=tiny_swin(["stage2", "stage3", "stage4"]),
        use_timm_backbone=False,
        backbone=None,
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        num_queries=20,
        encoder_hidden_dim=16,
        decoder_hidden_dim=16,
        class_embed_dim=32,
        task_encoder_hidden_dim=16,
        text_projection_in_dim=32,
        text_projection_out_dim=32,
        vision_features_channels=[16, 16, 16],
        encoder_in_channels=[16, 32, 64],
        encoder_dim_feedforward=16,
        encoder_attention_heads=2,
        decoder_num_heads=2,
        decoder_num_layers=1,
        decoder_dim_feedforward=16,
        decoder_num_points=2,
    )
    model = OmDetTurboForObjectDetection(config)
    image_processor = DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    return save(folder, model, OmDetTurboProcessor(image_processor=image_processor, tokenizer=tokenizer))


@pytest.mark.parametrize("build", [tiny_detr, tiny_yolos])
def test_a_known_box_lands_in_original_pixels(build, tmp_path, wide):
    proposer = TransformersProposer(build(tmp_path / "detector"), min_score=0.0)
    regions = proposer(wide)
    # (0.25, 0.5, 0.1, 0.4) of 1200 x 300; all queries say the same, so one region is left.
    assert len(regions) == 1
    np.testing.assert_allclose(regions.boxes, [[240, 90, 360, 210]], atol=0.01)
    assert regions.labels[0] in NAMES.values()
    assert (regions.ids[0], regions.source) == (f"{wide.id}/r0", "transformers:detector")


def test_boxes_of_a_turned_photograph_are_upright(tmp_path, wide):
    # Stored lying on its side with an EXIF orientation, as phones do.
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    wide.pixels.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    upright = load_image(buffer.getvalue())
    assert upright.id == wide.id
    regions = TransformersProposer(tiny_detr(tmp_path / "detector"), min_score=0.0)(upright)
    np.testing.assert_allclose(regions.boxes, [[240, 90, 360, 210]], atol=0.01)


def test_rt_detr_boxes_are_the_models_own_in_pixels(tmp_path, wide):
    folder = tiny_rt_detr(tmp_path / "detector")
    regions = TransformersProposer(folder, min_score=0.0)(wide)
    assert len(regions) > 1
    model = RTDetrForObjectDetection.from_pretrained(folder)
    processor: Any = AutoImageProcessor.from_pretrained(folder)
    inputs = processor(images=wide.pixels, return_tensors="pt")
    with torch.inference_mode():
        raw = model.eval()(**inputs).pred_boxes[0].numpy()
    pixels = (cxcywh_to_xyxy(raw) * [1200, 300, 1200, 300]).clip(0, [1200, 300, 1200, 300])
    distance = np.abs(regions.boxes[:, None] - pixels[None]).max(axis=2).min(axis=1)
    assert distance.max() < 0.1
    assert (np.diff(regions.scores) <= 0).all()


def test_owlv2_sees_the_picture_padded_to_a_square(tmp_path, wide):
    proposer = TransformersProposer(tiny_owl(tmp_path / "owl", second=True), phrases=PHRASES, min_score=0.0)
    boxes = proposer(wide).boxes
    # A cell is a quarter of the square of 1200, and so as high as the picture; grids count from the cell's far corner.
    np.testing.assert_allclose(sorted(boxes[:, 2] - boxes[:, 0]), [150, 300, 300, 300], atol=1)
    np.testing.assert_allclose(sorted(boxes[:, 0]), [150, 450, 750, 1050], atol=1)


def test_owlvit_sees_the_picture_squeezed(tmp_path, wide):
    proposer = TransformersProposer(tiny_owl(tmp_path / "owl", second=False), phrases=PHRASES, min_score=0.0)
    boxes = proposer(wide).boxes
    assert len(boxes) == 16
    inner = boxes[(boxes[:, 2] < 1199) & (boxes[:, 3] < 299)]
    np.testing.assert_allclose(inner[:, 2] - inner[:, 0], 300, atol=1)
    np.testing.assert_allclose(inner[:, 3] - inner[:, 1], 75, atol=1)


@pytest.mark.parametrize(
    "build", [lambda f: tiny_owl(f, True), lambda f: tiny_owl(f, False), tiny_grounding_dino, tiny_omdet]
)
def test_phrases_become_labels(build, tmp_path, wide):
    folder = build(tmp_path / "detector")
    regions = TransformersProposer(folder, phrases=["A red  cat.", "dog"], min_score=0.0)(wide)
    assert len(regions) > 0
    assert set(regions.labels) <= set(PHRASES)
    assert ((regions.scores >= 0) & (regions.scores <= 1)).all()
    assert (regions.boxes <= [1200, 300, 1200, 300]).all()
    assert regions.boxes[:, 2].max() > 300  # pixels of the picture, not of the detector's input
    anything = TransformersProposer(folder, min_score=0.0)(wide)
    assert set(anything.labels) == {"object"}


def test_grounding_dino_scores_each_phrase_by_its_own_tokens(tmp_path, wide):
    folder = tiny_grounding_dino(tmp_path / "dino")
    proposer = TransformersProposer(folder, phrases=PHRASES, min_score=0.0)
    regions = proposer(wide)
    processor: Any = GroundingDinoProcessor.from_pretrained(folder)
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=wide.pixels, text="a red cat. dog.", return_tensors="pt")
    with torch.inference_mode():
        per_token = model(**inputs).logits[0].sigmoid().numpy()
    # [CLS] a red cat . dog . [SEP]
    assert processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])[1:6] == ["a", "red", "cat", ".", "dog"]
    by_phrase = np.stack([per_token[:, 1:4].max(axis=1), per_token[:, 5]], axis=1)
    best = by_phrase.max(axis=1).argmax()
    assert regions.scores[0] == pytest.approx(by_phrase[best].max(), abs=1e-5)
    assert regions.labels[0] == PHRASES[by_phrase[best].argmax()]


def test_a_score_below_the_threshold_is_not_proposed(tmp_path, wide):
    folder = tiny_detr(tmp_path / "detector")
    assert len(TransformersProposer(folder, min_score=1.0)(wide)) == 0


def test_the_limit_is_kept_and_told(tmp_path, wide):
    regions = TransformersProposer(tiny_rt_detr(tmp_path / "detector"), min_score=0.0, limit=2)(wide)
    assert len(regions) == 2
    assert "best 2 kept" in regions.note


def test_a_folder_or_a_name_with_prefix_is_resolved(tmp_path, wide):
    folder = tiny_detr(tmp_path / "detector")
    for spec in (folder, str(folder), f"transformers:{folder}"):
        proposer = resolve_proposer(spec)
        assert isinstance(proposer, Proposer)
        assert proposer.name == "transformers:detector"


@pytest.mark.parametrize(
    ("phrases", "message"),
    [([], "one or more words"), (["cat", " "], "one or more words"), (["."], "one or more words"), ("cat", "a list")],
)
def test_empty_phrases_are_refused(phrases, message, tmp_path):
    with pytest.raises(InputError, match=message):
        TransformersProposer(tmp_path, phrases=phrases)


def test_phrases_for_a_detector_of_classes_are_refused(tmp_path):
    with pytest.raises(InputError, match="reads no phrases"):
        TransformersProposer(tiny_detr(tmp_path / "detector"), phrases=["cat"])


def test_more_phrases_than_the_detector_reads_are_refused(tmp_path, wide):
    proposer = TransformersProposer(tiny_grounding_dino(tmp_path / "dino"), phrases=["cat"] * 60)
    with pytest.raises(InputError, match="cannot read 60 phrases"):
        proposer(wide)


def test_a_model_that_is_no_detector_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ProposalError, match="is a 'bert', which is no object detector"):
        TransformersProposer(tmp_path)


@pytest.mark.parametrize("config", ["", "{", "{}", '{"model_type": "no-such-model"}'])
def test_a_folder_that_holds_no_model_is_refused(config, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ProposalError, match="cannot be loaded"):
        TransformersProposer(tmp_path)


def test_missing_weights_are_named(tmp_path):
    folder = tiny_detr(tmp_path / "detector")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ProposalError, match="cannot be loaded"):
        TransformersProposer(folder)


def test_broken_weights_are_named(tmp_path):
    folder = tiny_detr(tmp_path / "detector")
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ProposalError, match="cannot be loaded"):
        TransformersProposer(folder)


def test_a_hub_name_that_is_not_at_hand_is_refused():
    with pytest.raises(ProposalError, match="cannot be loaded"):
        TransformersProposer("no-such-person/no-such-detector")
