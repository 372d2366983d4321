"""fo1-nano from its ingredients: initial tower weights, a tokenizer, a random tiny base, and four stages of training.

    python -m fo1agent.trainers.nano nano data.root=DIR tower=FILE work=DIR out=DIR

Each step leaves its result in `work` and is skipped when it is there, so the command may be stopped and run again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1, build_heads
from fo1agent.model.mobilenet import NUM_CLASSES, convert_tensorflow
from fo1agent.model.processing import Processor
from fo1agent.trainers import alignment, base, instruction
from fo1agent.trainers.calibration import calibrate
from fo1agent.trainers.data.coco import CocoData, load_coco
from fo1agent.trainers.data.features import open_or_build
from fo1agent.trainers.data.tasks import TaskMaker, unknown_words
from fo1agent.trainers.data.tokenizer import build_tokenizer
from fo1agent.trainers.language import LanguageStage
from fo1agent.trainers.naming import NamingStage
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import TrainSettings, train

log = logging.getLogger(__name__)

VIEWS = 2  # of the tower's detector
PROPOSAL_HEAD = {"levels": [1, 2, 3], "width": 96, "extra_levels": 1, "blocks": 2}  # as in recipes/proposals.yaml
HELD_BACK = 12  # every so manieth training picture only calibrates the scores
REGION = {
    "pools": [
        {"level": 0, "bins": 1},
        {"level": 1, "bins": 2},
        {"level": 2, "bins": 2},
        {"level": 3, "bins": 1},
        {"level": 2, "bins": 1, "context": 2.0},
    ],
    "primary_channels": 0,
    "evidence_size": VIEWS * (NUM_CLASSES + 1),
}


@dataclass(frozen=True)
class DataRecipe:
    """Where the pictures are; paths are relative to `root`."""

    root: Path
    train: str = "instances_train.json"
    images: str = "images/train"
    captions: str = "captions_train.jsonl"
    limit: int | None = None  # only the first so many pictures


@dataclass(frozen=True)
class StageRecipe:
    """One stage's batches and settings."""

    batch_size: int
    train: TrainSettings


@dataclass(frozen=True)
class NanoRecipe:
    """The whole recipe.

    Attributes:
        tower: the TensorFlow detection zoo's SSDLite-MobileNetV2, safetensors.
        proposal_head: `weights.safetensors` of a run of the proposals recipe; None for the detector's boxes alone.
        work: folder of the run; out: folder of the finished model.
        vocab_size: learned tokens, bytes included.
        hidden_size, layers: of the language model.
    """

    data: DataRecipe
    tower: Path
    work: Path
    out: Path
    naming: StageRecipe
    base: StageRecipe
    alignment: StageRecipe
    instruction: StageRecipe
    proposal_head: Path | None = None
    vocab_size: int = 4096
    hidden_size: int = 256
    layers: int = 4


def main(arguments: Sequence[str]) -> None:
    """Run the recipe named by the first argument with the `key=value` overrides after it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    recipe = load_recipe(NanoRecipe, arguments[0], arguments[1:])
    run(recipe)


def run(recipe: NanoRecipe) -> Path:
    """All stages; returns the folder of the finished model."""
    root = recipe.data.root
    data = load_coco(root / recipe.data.train, root / recipe.data.images, root / recipe.data.captions)
    if recipe.data.limit:
        data = replace(data, images=data.images[: recipe.data.limit])
    torch.manual_seed(0)
    tokenizer = build_tokenizer(training_words(data), recipe.vocab_size)
    model = new_model(tokenizer, data.categories, load_file(recipe.tower), recipe.hidden_size, recipe.layers)
    processor = Processor(tokenizer, model.config)
    store = open_or_build(recipe.work / "features", model, processor, data, on_progress=_progress)
    captions = [caption for image in data.images for caption in image.captions]
    tasks = TaskMaker(data.categories, unknown_words(captions, data.categories))
    held_back = range(0, len(data.images), HELD_BACK)
    learned = sorted(set(range(len(data.images))) - set(held_back))
    first = recipe.naming
    stage = NamingStage(model, store, tasks.index, learned, first.batch_size, first.train.seed)
    result = train(stage, first.train, recipe.work / "naming", recipe={}, on_log=_log_step)
    model.load_state_dict(load_file(result.weights), strict=False)
    for table in (base.TABLE, alignment.TABLE, instruction.TABLE):
        settings: StageRecipe = getattr(recipe, table.name)
        stage = LanguageStage(table, model, processor, store, tasks, learned, settings.batch_size, settings.train.seed)
        result = train(stage, settings.train, recipe.work / table.name, recipe=table, on_log=_log_step)
        model.load_state_dict(load_file(result.weights), strict=False)
    log.info(
        "calibration on %d pictures: %s", len(held_back), calibrate(model.eval(), processor, store, tasks, held_back)
    )
    if recipe.proposal_head is not None:
        add_proposal_head(model, recipe.proposal_head)
    save(model, processor, recipe.out)
    return recipe.out


def add_proposal_head(model: FO1, weights: Path) -> None:
    """Give the model the head that `trainers.proposals` trained with its packaged recipe."""
    model.config.heads = {**model.config.heads, "proposal": PROPOSAL_HEAD}
    *_, model.proposal_head = build_heads(model.config.heads, model.config.hidden_size, model.aux.levels)
    model.proposal_head.load_state_dict(load_file(weights))


def new_model(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Sequence[str],
    tower: dict[str, torch.Tensor],
    hidden_size: int,
    layers: int,
) -> FO1:
    """A nano with a random base and the given tower."""
    model = FO1(nano_config(tokenizer, vocabulary, hidden_size, layers))
    model.aux.load_state_dict(convert_tensorflow(tower))
    # The stock initial deviation (0.02) is made for widths of thousands; at this one, words start too much alike.
    torch.nn.init.normal_(model.base.get_input_embeddings().weight, std=hidden_size**-0.5)
    return model.eval()


def nano_config(
    tokenizer: PreTrainedTokenizerBase, vocabulary: Sequence[str], hidden_size: int, layers: int
) -> FO1Config:
    """Qwen2.5-VL's shape at a thousandth of its size."""
    heads, head_dim = hidden_size // 64, 64
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in _SPECIAL.items()}
    rows = -(-len(tokenizer) // 64) * 64
    return FO1Config(
        base_config={
            "model_type": "qwen2_5_vl",
            "tie_word_embeddings": True,
            **{name: ids[name] for name in ("image_token_id", "video_token_id", "vision_start_token_id")},
            "vision_end_token_id": ids["vision_end_token_id"],
            "text_config": {
                "vocab_size": rows,
                "hidden_size": hidden_size,
                "intermediate_size": hidden_size * 11 // 4,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "num_key_value_heads": max(1, heads // 2),
                "rms_norm_eps": 1e-6,
                "max_position_embeddings": 4096,
                "bos_token_id": ids["eos_token_id"],
                "eos_token_id": ids["eos_token_id"],
                "pad_token_id": ids["pad_token_id"],
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e4,
                    "mrope_section": [head_dim // 8, head_dim * 3 // 16, head_dim * 3 // 16],
                },
            },
            "vision_config": {
                "depth": 2,
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_heads": 4,
                "out_hidden_size": hidden_size,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "window_size": 112,
                "fullatt_block_indexes": [1],
                "tokens_per_second": 2,
            },
        },
        aux={"type": "mobilenet_v2_ssd"},
        region=REGION,
        region_projector={"layers": 2, "hidden_size": 640},
        heads={"match": {"width": 128, "classes": NUM_CLASSES, "views": VIEWS}, "iou": {}},
        processing={"min_pixels": 56 * 56, "max_pixels": 112 * 112},
        vocabulary=list(vocabulary),
        thresholds={"ground": 0.25, "count": 0.22, "exists": 0.1},
    )


_SPECIAL = {
    "image_token_id": "image_pad",
    "video_token_id": "video_pad",
    "vision_start_token_id": "vision_start",
    "vision_end_token_id": "vision_end",
    "eos_token_id": "im_end",
    "pad_token_id": "endoftext",
}


def training_words(data: CocoData) -> Iterable[str]:
    """What the tokenizer learns from: captions in both cases, and every name at the start and inside of a sentence."""
    for image in data.images:
        for caption in image.captions:
            yield from (caption, caption.lower())
    for name in data.categories:
        yield from [f"{name}", f" {name}", f"Please detect {name} in this image."] * 20


def save(model: FO1, processor: Processor, folder: Path) -> None:
    """Write the finished model in half precision, with its tokenizer; the folder is replaced whole."""
    partial = folder.with_name(folder.name + ".partial")
    model.half().save_pretrained(partial)
    model.float()
    processor.tokenizer.save_pretrained(partial)
    if folder.exists():
        folder.rename(folder.with_name(folder.name + ".old"))
    partial.rename(folder)


def _log_step(record: dict[str, Any]) -> None:
    log.info("%s", record)


def _progress(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        log.info("features %d/%d", done, total)


if __name__ == "__main__":
    main(sys.argv[1:])
