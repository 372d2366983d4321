"""Hugging Face detectors as proposers: real classes, tiny and untrained, saved and loaded back through the adapter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForObjectDetection,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTokenizer,
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DeformableDetrImageProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    DFineConfig,
    DFineForObjectDetection,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
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
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    SwinConfig,
)

from fo1agent.errors import InputError, ProposalError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals import Finder, Proposer, resolve_proposer
from fo1agent.proposals.labels import names_of
from fo1agent.proposals.transformers import TransformersProposer
from fo1agent.regions.boxes import cxcywh_to_xyxy
from tests.tiny_detectors import YOLOS_PROCESSOR, untrained_yolos

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
    model = untrained_yolos(NAMES)
    answer_always(model.bbox_predictor, [0.25, 0.5, 0.1, 0.4])
    return save(folder, model, YOLOS_PROCESSOR)


# Of RT-DETR and of D-FINE, which is made after it.
HYBRID: dict[str, Any] = {
    "encoder_in_channels": [8, 8, 8],
    "encoder_hidden_dim": 16,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_in_channels": [16, 16, 16],
    "d_model": 16,
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "num_queries": 20,
    "num_denoising": 0,
    "hidden_expansion": 0.5,
    "id2label": NAMES,
    "label2id": {v: k for k, v in NAMES.items()},
}


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
        decoder_layers=1,
        **HYBRID,
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


@pytest.mark.parametrize("build", [lambda f: tiny_owl(f, True), tiny_grounding_dino, tiny_omdet])
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
    regions = TransformersProposer(folder, min_score=0.0).find(wide, ["a red cat"])[0]
    processor: Any = GroundingDinoProcessor.from_pretrained(folder)
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=wide.pixels, text="a red cat.", return_tensors="pt")
    with torch.inference_mode():
        per_token = model(**inputs).logits[0].sigmoid().numpy()
    # [CLS] a red cat . [SEP]
    assert processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])[1:5] == ["a", "red", "cat", "."]
    assert regions.scores[0] == pytest.approx(per_token[:, 1:4].max(), abs=1e-5)


def tiny_sam3(folder: Path) -> Path:
    tokenizer = clip_tokenizer(folder.parent / "tokenizer")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                **small,
                "model_type": "sam3_vit_model",
                "num_hidden_layers": 1,
                "image_size": 56,
                "pretrain_image_size": 56,
                "window_size": 2,
                "global_attn_indexes": [0],
            },
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            **small,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 1,
            "max_position_embeddings": 32,
            "projection_dim": 16,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        geometry_encoder_config={**small, "num_layers": 1, "roi_size": 2},
        detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 1, "num_queries": 8},
        mask_decoder_config={"hidden_size": 16, "num_upsampling_stages": 2, "num_attention_heads": 2},
    )
    image_processor = Sam3ImageProcessor(size={"height": 56, "width": 56})
    return save(folder, Sam3Model(config), Sam3Processor(image_processor=image_processor, tokenizer=tokenizer))


def tiny_mm_grounding_dino(folder: Path) -> Path:
    made = GroundingDinoConfig.from_pretrained(tiny_grounding_dino(folder)).to_dict()
    config = MMGroundingDinoConfig(**{name: one for name, one in made.items() if name != "model_type"})
    MMGroundingDinoForObjectDetection(config).save_pretrained(folder)
    return folder


def tiny_d_fine(folder: Path) -> Path:
    backbone = {
        "model_type": "hgnet_v2",
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 8, 8, 8],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [8, 8, 8, 8],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "hidden_sizes": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "embedding_size": 8,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    config = make(
        DFineConfig,
        backbone_config=backbone,
        decoder_layers=2,
        decoder_n_points=[2, 2, 2],
        eval_idx=-1,
        **HYBRID,
    )
    return save(folder, DFineForObjectDetection(config), RTDetrImageProcessor(size={"height": 128, "width": 128}))


def tiny_deformable_detr(folder: Path) -> Path:
    config = make(
        DeformableDetrConfig,
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        backbone_config=make(
            ResNetConfig,
            embedding_size=8,
            hidden_sizes=[8, 8, 8, 8],
            depths=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
        num_queries=9,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        id2label=NAMES,
        label2id={v: k for k, v in NAMES.items()},
    )
    processor = DeformableDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 200})
    return save(folder, DeformableDetrForObjectDetection(config), processor)


@pytest.mark.parametrize("build", [tiny_detr, tiny_yolos, tiny_rt_detr, tiny_d_fine, tiny_deformable_detr])
def test_names_have_the_scores_of_the_class_s_own_post_processing(build, tmp_path, wide):
    folder = build(tmp_path / "detector")
    finder = TransformersProposer(folder, min_score=0.0, limit=10_000)
    assert finder.names == ("cat", "dog", "bus")
    processor: Any = AutoImageProcessor.from_pretrained(folder)
    model: Any = AutoModelForObjectDetection.from_pretrained(folder).eval()
    with torch.inference_mode():
        outputs = model(**processor(images=wide.pixels, return_tensors="pt"))
    own = processor.post_process_object_detection(outputs, 0.0, [wide.size_hw])[0]
    found = finder.find(wide, ["dog", "cat", "bus"])
    best = {names: one.scores.max() for names, one in zip(("dog", "cat", "bus"), found, strict=True)}
    label = NAMES[int(own["labels"][own["scores"].argmax()])]
    assert max(best.values()) == pytest.approx(best[label], abs=1e-5)
    assert best[label] == pytest.approx(float(own["scores"].max()), abs=1e-5)


def test_a_closed_detector_looks_at_a_picture_once(tmp_path, wide):
    finder = TransformersProposer(tiny_rt_detr(tmp_path / "detector"), min_score=0.0)
    own: Any = finder._classes
    looks, look = [], own.look
    own.look = lambda images: looks.extend(image.id for image in images) or look(images)
    boxes = finder(wide).boxes
    assert len(finder.find(wide, ["dog"])[0]) > 0
    assert finder(wide).boxes.tolist() == boxes.tolist()
    other = load_image(np.zeros((64, 64, 3), dtype=np.uint8))
    finder.find(other, ["cat"])
    assert looks == [wide.id, other.id]


def test_labels_are_made_plain():
    labels = {0: "N/A", 1: "traffic_light", 2: "Cabinet/shelf", 3: "Street Lights", 4: "bow_(decorative_ribbons)"}
    more = {5: "tench, Tinca tinca", 6: "background", 7: "Traffic light", 8: "StopSign", 9: "beyond"}
    assert names_of({**labels, **more}, 9) == {
        "traffic light": [1, 7],
        "cabinet": [2],
        "shelf": [2],
        "street light": [3],
        "bow": [4],
        "tench": [5],
        "tinca tinca": [5],
        "stop sign": [8],
    }


def test_makers_thresholds_are_as_good_as_the_model_s(tmp_path):
    trust = TransformersProposer(tiny_owl(tmp_path / "owl", True)).trust
    assert trust.log_odds(np.array([0.1]))[0] == pytest.approx(np.log(1 / 3))
    assert TransformersProposer(tiny_detr(tmp_path / "detr")).trust.log_odds(np.array([0.1]))[0] < -3


OPEN = [
    lambda f: tiny_owl(f, True),
    lambda f: tiny_owl(f, False),
    tiny_grounding_dino,
    tiny_mm_grounding_dino,
    tiny_omdet,
    tiny_sam3,
]


@pytest.mark.parametrize("build", OPEN)
def test_what_is_found_of_a_phrase_depends_on_no_other_and_the_picture_is_read_once(build, tmp_path, wide):
    folder = build(tmp_path / "detector")
    finder, alone = (TransformersProposer(folder, min_score=0.0) for _ in range(2))
    assert isinstance(finder, Finder)
    assert finder.names is None
    read = count_calls(finder)
    asked = ["dog", "a red cat", "cat", "a cat", "red dog", "dog cat"]
    together = finder.find(wide, asked)
    assert sum(read) == len(read) > 0
    finder.find(wide, ["red"])
    assert sum(read) == len(read)
    for phrase, found in zip(asked, together, strict=True):
        (own,) = alone.find(wide, [phrase])
        assert len(own) == len(found) > 0
        np.testing.assert_allclose(found.scores, own.scores, atol=1e-4)
        assert set(found.labels) == {phrase}
        assert found.boxes[:, 2].max() > 300  # pixels of the picture
    assert together[0].scores.tolist() != together[1].scores.tolist()


def count_calls(finder: TransformersProposer) -> list[int]:
    """How often each part that looks at the picture alone was computed."""
    reader: Any = finder._reader
    counts = [0] * len(reader._once)
    for k, part in enumerate(reader._once):

        def counted(*args, k=k, forward=part._forward, **kwargs):
            counts[k] += 1
            return forward(*args, **kwargs)

        part._forward = counted
    return counts


@pytest.mark.parametrize("build", [tiny_detr, tiny_yolos, tiny_rt_detr])
def test_several_pictures_get_what_each_gets_alone(build, tmp_path):
    rng = np.random.default_rng(1)
    shapes = [(300, 1200), (200, 100), (300, 1200), (300, 1200)]
    images = [load_image(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    proposer = TransformersProposer(build(tmp_path / "detector"), min_score=0.0)
    alone = [proposer(image) for image in images]
    proposer = TransformersProposer(tmp_path / "detector", min_score=0.0)  # one that has not seen them
    assert proposer._classes is not None
    passes: list[int] = []
    proposer._classes._model.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    together = proposer.propose_many(images)
    assert passes == ([4] if build is tiny_rt_detr else [3, 1])  # others keep the picture's sides
    for one, other in zip(together, alone, strict=True):
        # 1e-7 of a score was seen; padded for another picture, DETR's logits move by 1e-2.
        assert len(one) == len(other) > 0
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(axis=2)
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 0.05


def test_a_detector_that_reads_phrases_looks_at_one_picture_after_the_other(tmp_path):
    images = [load_image(np.full((30, 40, 3), value, dtype=np.uint8)) for value in (40, 200)]
    proposer = TransformersProposer(tiny_owl(tmp_path / "owl", second=False), phrases=PHRASES, min_score=0.0)
    alone = [proposer(image) for image in images]
    for one, other in zip(proposer.propose_many(images), alone, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        assert (one.ids, one.labels) == (other.ids, other.labels)


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


@pytest.mark.parametrize(("build", "most"), [(tiny_grounding_dino, 64), (lambda f: tiny_owl(f, True), 16)])
def test_a_phrase_longer_than_the_detector_reads_is_refused(build, most, tmp_path, wide):
    finder = TransformersProposer(build(tmp_path / "detector"))
    with pytest.raises(InputError, match=f"reads {most} tokens; “cat cat"):
        finder.find(wide, ["dog", "cat " * 80])


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
