"""fo1-nano from its ingredients: initial tower weights, a tokenizer, a random tiny base, and eight stages of training.

    python -m fo1agent.trainers.nano nano data.root=DIR tower=FILE work=DIR out=DIR [composites=DIR]

Each step leaves its result in `work` and is skipped when it is there, so the command may be stopped and run again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from fo1agent.errors import DataError
from fo1agent.foreign import log_to_stderr
from fo1agent.model import weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.mobilenet import NUM_CLASSES, VIEWS, View
from fo1agent.model.processing import FO1Processor
from fo1agent.trainers import alignment, base, instruction, likeness
from fo1agent.trainers.calibration import calibrate
from fo1agent.trainers.data.coco import CocoData, load_coco
from fo1agent.trainers.data.features import JoinedStores, PictureStore, open_or_build
from fo1agent.trainers.data.formats.examples import read_examples
from fo1agent.trainers.data.tasks import TaskMaker, unknown_words
from fo1agent.trainers.data.tokenizer import build_tokenizer
from fo1agent.trainers.language import LanguageStage, StageTable
from fo1agent.trainers.lock import locked
from fo1agent.trainers.naming import NamingStage
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.proposals import DataRecipe as ProposalData
from fo1agent.trainers.proposals import HeadRecipe, ProposalRecipe, ProposalStage, TowerRecipe, load_tower
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.stage import Stage
from fo1agent.trainers.step import TrainSettings, train
from fo1agent.whole import whole

log = logging.getLogger(__name__)

PROPOSAL_HEAD = HeadRecipe(levels=(1, 2, 3))
# The head learns on this view and works on the tower's larger main one: it finds small things better for it (recall@100
# of the head alone on half of coco-natural dev: 66.0 on 492, 69.1 on 748).
PROPOSAL_VIEW = View(492)
# The last stage: the language model learns to say what it has learned to match.
WORDS = replace(instruction.TABLE, name="words", parts=("language", "match_head"))
TABLES = (base.PHRASES, base.TABLE, alignment.TABLE, instruction.TABLE, WORDS)
HELD_BACK = 12  # every so manieth training picture only calibrates the scores
REGION = {
    "pools": [
        {"level": 0, "bins": 1},
        {"level": 1, "bins": 2},
        {"level": 2, "bins": 2},
        {"level": 3, "bins": 1},
        {"level": 2, "bins": 1, "context": 2.0},
        {"level": 4, "bins": 4},
    ],
    "primary_channels": 0,
    "evidence_size": len(VIEWS) * (NUM_CLASSES + 1),
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
    """One stage's batches and settings.

    Attributes:
        batch_size: pictures per step.
        train: steps, rates, checkpoints.
        mix: what differs from the stage's table; for stages of the language model.
    """

    batch_size: int
    train: TrainSettings
    mix: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NanoRecipe:
    """The whole recipe.

    Attributes:
        tower: the TensorFlow detection zoo's SSDLite-MobileNetV2, safetensors.
        work: folder of the run; out: folder of the finished model.
        mirror: pictures are learned from mirrored too.
        composites: folder that `fo1agent data synth` made, for colours; None to do without.
        composites_limit: scenes of it that are used.
        vocab_size: learned tokens, bytes included.
        hidden_size, layers: of the language model.
    """

    data: DataRecipe
    tower: Path
    work: Path
    out: Path
    proposals: StageRecipe
    naming: StageRecipe
    phrases: StageRecipe
    base: StageRecipe
    alignment: StageRecipe
    instruction: StageRecipe
    heads: StageRecipe
    words: StageRecipe
    mirror: bool = True
    composites: Path | None = None
    composites_limit: int = 1200
    vocab_size: int = 4096
    hidden_size: int = 256
    layers: int = 4


def main(arguments: Sequence[str]) -> None:
    """Run the recipe named by the first argument with the `key=value` overrides after it."""
    log_to_stderr()
    recipe = load_recipe(NanoRecipe, arguments[0], arguments[1:])
    run(recipe)


def run(recipe: NanoRecipe) -> Path:
    """All stages; returns the folder of the finished model.

    Raises:
        TrainingError: another process works in `recipe.work`; see also `train`.
    """
    tables = [table.mixed(getattr(recipe, table.name).mix, f"{table.name}.mix") for table in TABLES]
    recipe.work.mkdir(parents=True, exist_ok=True)
    with locked(recipe.work) if find_processes().first else nullcontext():
        return _run(recipe, tables)


def _run(recipe: NanoRecipe, all_tables: Sequence[StageTable]) -> Path:
    *tables, words = all_tables
    root = recipe.data.root
    data = load_coco(root / recipe.data.train, root / recipe.data.images, root / recipe.data.captions)
    if recipe.data.limit:
        data = replace(data, images=data.images[: recipe.data.limit])
    torch.manual_seed(0)
    tokenizer = build_tokenizer(training_words(data), recipe.vocab_size)
    tower = load_tower(TowerRecipe({"type": "mobilenet_v2_ssd"}, recipe.tower))
    model = new_model(tokenizer, data.categories, tower, recipe.hidden_size, recipe.layers)
    model.proposal_head.load_state_dict(load_file(train_proposals(recipe)))
    processor = FO1Processor(tokenizer, model.config)
    store = open_or_build(recipe.work / "features", model, processor, data, recipe.mirror, _progress)
    held_back = range(0, len(data.images), HELD_BACK)
    # Their mirror images are held back too.
    learned = [entry for entry in range(len(store)) if entry % len(data.images) not in held_back]

    captions = [caption for image in data.images for caption in image.captions]
    tasks = TaskMaker(data.categories, unknown_words(captions, data.categories))
    photographs = tuple(learned)

    def learn(stage: Stage, settings: TrainSettings, folder: str, recorded: Any) -> None:
        result = train(stage, settings, recipe.work / folder, recorded, on_log=_log_step)
        model.load_state_dict(load_file(result.weights), strict=False)

    def name(settings: StageRecipe, folder: str, tokens: bool) -> None:
        size, seed = settings.batch_size, settings.train.seed
        learn(NamingStage(model, store, tasks.index, photographs, size, seed, tokens), settings.train, folder, {})

    name(recipe.naming, "naming", tokens=True)
    pictures: PictureStore = store
    if recipe.composites is not None:
        painted = load_composites(recipe.composites, recipe.composites_limit, data.categories)
        folder = recipe.work / "composite_features"
        added = open_or_build(folder, model, processor, painted, False, _progress)
        pictures = JoinedStores((store, added))
        learned += range(len(store), len(pictures))

    def speak(table: StageTable) -> None:
        settings: StageRecipe = getattr(recipe, table.name)
        size, seed = settings.batch_size, settings.train.seed
        stage = LanguageStage(table, model, processor, pictures, tasks, learned, size, seed)
        learn(stage, settings.train, table.name, table)

    for table in tables:
        speak(table)
    name(recipe.heads, "heads", tokens=False)
    speak(words)
    log.info(
        "calibration on %d pictures: %s", len(held_back), calibrate(model.eval(), processor, store, tasks, held_back)
    )
    model.half()
    with whole(recipe.out, replace=True) as folder:
        weights.save(model, processor, folder)
        compare(recipe.data, folder)
    return recipe.out


def compare(data: DataRecipe, folder: Path) -> None:
    """Fit by what the finished model compares regions of several pictures, to those that only calibrate."""
    held_back = likeness.DataRecipe(data.root, data.train, data.images, HELD_BACK, data.limit)
    try:
        likeness.write(folder, held_back)
    except DataError as exc:
        log.warning("no likeness: %s", exc)


def train_proposals(recipe: NanoRecipe) -> Path:
    """Stage proposals; returns the head's weights."""
    settings = recipe.proposals
    whole = ProposalRecipe(
        data=ProposalData(recipe.data.root, recipe.data.train, recipe.data.images, dev=None, limit=recipe.data.limit),
        tower=TowerRecipe({"type": "mobilenet_v2_ssd", "views": [asdict(PROPOSAL_VIEW)]}, recipe.tower),
        head=PROPOSAL_HEAD,
        train=settings.train,
        run=recipe.work / "proposals",
        batch_size=settings.batch_size,
        cache=recipe.work / "maps",
    )
    return train(ProposalStage(whole), settings.train, whole.run, whole, on_log=_log_step).weights


def load_composites(folder: Path, limit: int, vocabulary: Sequence[str]) -> CocoData:
    """The first training scenes of `fo1agent data synth`."""
    return CocoData(tuple(islice(read_examples(folder / "train.jsonl"), limit)), tuple(vocabulary))


def new_model(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Sequence[str],
    tower: torch.nn.Module,
    hidden_size: int,
    layers: int,
) -> FO1:
    """A nano with a random base and the given tower."""
    model = FO1(nano_config(tokenizer, vocabulary, hidden_size, layers))
    model.aux.load_state_dict(tower.state_dict())
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
        first_mention=tokenizer.get_vocab()["<region0>"],
        heads={
            "match": {"width": 128, "classes": NUM_CLASSES, "views": len(VIEWS)},
            "iou": {},
            "proposal": {**asdict(PROPOSAL_HEAD), "levels": list(PROPOSAL_HEAD.levels)},
        },
        processing={"min_pixels": 56 * 56, "max_pixels": 112 * 112},
        vocabulary=list(vocabulary),
        thresholds={"ground": 0.18, "count": 0.18, "exists": 0.1},
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


def _log_step(record: dict[str, Any]) -> None:
    log.info("%s", record)


def _progress(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        log.info("features %d/%d", done, total)


if __name__ == "__main__":
    main(sys.argv[1:])
