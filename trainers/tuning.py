"""Stages 1 and 2 as a command runs them: a model folder, data and a recipe in, a better model folder out.

    load → new heads → what trains beside the base (token rows, LoRA) → data → train → fold in → save

What a stage trains stands in `alignment.py` and `instruction.py`; this file only puts a recipe's parts together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fo1agent.errors import InputError
from fo1agent.foreign import log_to_stderr
from fo1agent.model import weights
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1
from fo1agent.model.predictor import load_predictor
from fo1agent.model.processing import FO1Processor
from fo1agent.model.tensors import dtype_name
from fo1agent.trainers import lora, rows
from fo1agent.trainers.attached import BaseRecipe, attached
from fo1agent.trainers.data.augment import AugmentRecipe
from fo1agent.trainers.data.formats import SourceRecipe
from fo1agent.trainers.data.mixture import Mixture
from fo1agent.trainers.data.tasks import OpenTasks, TaskMaker, read_confusable
from fo1agent.trainers.heads import add_heads, add_names
from fo1agent.trainers.language import PARTS, LanguageStage, StageTable, part_parameters
from fo1agent.trainers.lora import LoraRecipe
from fo1agent.trainers.pictures import Boxes, FrozenViews, Live, OwnBoxes, ProposerBoxes, given_boxes
from fo1agent.trainers.precision import resolve
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import TrainSettings, train
from fo1agent.whole import whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneRecipe:
    """All that decides what comes out.

    Attributes:
        model: folder or hub name of the model to start from; a base to put FO1 around (`BaseRecipe`); None for the
            packaged fo1-nano.
        sources: what to learn from, a weighted mixture (see `SourceRecipe`).
        out: folder of the finished model; run: folder of the run, which may be stopped and resumed.
        train: how long and how fast.
        batch_size: pictures per step.
        boxes: whose proposals are learned from: `own`, `nano`, `given` (the annotated boxes, some of them shaken), or a
            detector as `fo1agent.load(proposer=…)` names it; `auto` is the model's own if it makes any, else nano's.
        heads: heads to add if the model lacks them, with their constructor arguments.
        mix, loss_weights: changes to the stage's table.
        lora: adapters instead of all of the language model; instruction only.
        augment: how pictures are changed; None leaves them as they are.
        negatives: file of easily confused names, see `read_confusable`.
        workers: threads that read ahead.
        cache: folder that keeps what frozen towers see; only without augmentation, and where no tower trains.
    """

    sources: tuple[SourceRecipe, ...]
    train: TrainSettings
    out: Path
    run: Path
    model: str | BaseRecipe | None = None
    batch_size: int = 8
    boxes: str = "auto"
    heads: Mapping[str, Any] = field(default_factory=dict)
    mix: Mapping[str, Any] = field(default_factory=dict)
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    lora: LoraRecipe | None = None
    augment: AugmentRecipe | None = None
    negatives: Path | None = None
    workers: int = 2
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError(
                "sources is empty. Say what to learn from: sources='[{path: instances.json, images: DIR}]'."
            )
        if self.batch_size < 1 or self.workers < 0:
            raise InputError(f"batch_size is at least 1, workers at least 0; got {self.batch_size}, {self.workers}.")


def run(table: StageTable, arguments: Sequence[str]) -> Path:
    """Run a stage by a recipe's name or file and its `key=value` overrides; returns the finished model's folder."""
    if not arguments:
        raise InputError(f"Name a recipe, then key=value: {table.name} needs sources, out and run.")
    log_to_stderr()
    recipe = load_recipe(TuneRecipe, arguments[0], arguments[1:])
    return tune(recipe, table, on_log=lambda record: log.info("%s", record))


def tune(recipe: TuneRecipe, table: StageTable, on_log: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Run one stage; returns the folder of the finished model.

    Raises:
        InputError, DataError, CheckpointError, TrainingError: see the parts; the message names the key or file.
    """
    check_out(recipe.out)
    table, processes = adjusted(table, recipe), find_processes()
    mixture = Mixture.of(recipe.sources, recipe.train.seed)
    for warning in mixture.warnings() if processes.first else ():
        log.warning("%s", warning)
    model, processor, stored = prepare(recipe, table, mixture)
    stage = make_stage(recipe, table, model, processor, mixture)
    # A recipe may give a rate for a part that this model lacks, or that LoRA stands for.
    trained, rates = stage.trainable(), recipe.train.part_lr
    rates = {part: rate for part, rate in rates.items() if part in trained or part not in PARTS}
    try:
        result = train(stage, replace(recipe.train, part_lr=rates), recipe.run, recipe, on_log=on_log)
    finally:
        stage.close()
    if processes.first:
        if result.split:  # its parts are spread over the processes for good
            model, processor, stored = prepare(recipe, table, mixture)
        learned = load_file(result.weights)
        model.load_state_dict(learned, strict=False)
        finish(model, processor, stored, recipe, learned)
    processes.wait()
    return recipe.out


def adjusted(table: StageTable, recipe: TuneRecipe) -> StageTable:
    """The table with the recipe's changes; with LoRA, adapters and token rows stand for the language model."""
    unknown = sorted(set(recipe.loss_weights) - set(table.loss_weights))
    if unknown:
        raise InputError(f"loss_weights names {unknown}; stage {table.name} has {sorted(table.loss_weights)}.")
    parts = table.parts
    if recipe.lora is not None:
        if "language" not in parts:
            raise InputError(f"Stage {table.name} does not train the language model, so lora has no place in it.")
        parts = ("lora", "token_rows", *(part for part in parts if part not in ("language", "output")))
    losses = {**table.loss_weights, **recipe.loss_weights}
    return replace(table.mixed(recipe.mix, "mix"), parts=parts, loss_weights=losses)


def prepare(recipe: TuneRecipe, table: StageTable, mixture: Mixture) -> tuple[FO1, FO1Processor, torch.dtype]:
    """The model to start from with all that trains, its processor, and the precision that it is stored in.

    On a GPU under bfloat16, what does not train stays in half precision; all that trains is float32.
    """
    if isinstance(recipe.model, BaseRecipe):
        torch.manual_seed(recipe.train.seed)
        model, processor, name = attached(recipe.model)
    else:
        folder, name = find_folder(recipe.model)
        model, processor = weights.load(folder)
    stored = next(model.base.parameters()).dtype
    device = find_processes().device
    half = device.type != "cpu" and resolve(recipe.train.precision, device) == dtype_name(stored)
    if not half:
        model.float()
    torch.manual_seed(recipe.train.seed)
    log.info("%s: starting from %s", table.name, name)
    if added := add_heads(model, recipe.heads):
        log.info("new heads: %s", ", ".join(added))
    if model.config.vocabulary is not None:
        new = add_names(model, [name for source in mixture.sources for name in source.vocabulary])
        if new:
            log.info("new names: %s", ", ".join(new))
    if recipe.lora is not None:
        lora.attach(model, recipe.lora)
    if "token_rows" in table.parts:
        rows.attach(model, processor)
    for parameter in (p for part in table.parts for p in part_parameters(model, part)):
        parameter.data = parameter.data.float()
    return model, processor, stored


def make_stage(
    recipe: TuneRecipe, table: StageTable, model: FO1, processor: FO1Processor, mixture: Mixture
) -> LanguageStage:
    """Tasks and feed of a recipe put together for a prepared model."""
    confusable = read_confusable(recipe.negatives) if recipe.negatives else {}
    tasks: TaskMaker | OpenTasks = OpenTasks(confusable)
    if model.config.vocabulary is not None:
        tasks = TaskMaker(model.config.vocabulary, (), confusable)
    trained = {name for name in table.parts if part_parameters(model, name)}
    cache = None
    if recipe.cache is not None:
        towers = sorted(trained & {"aux_tail", "vision", "image_projector"})
        if towers or recipe.augment is not None:
            why = f"{towers} train in this stage" if towers else "augment changes the pictures"
            raise InputError(f"cache keeps what frozen towers see, but {why}. Leave one of them out.")
        cache = FrozenViews(recipe.cache, model)
    boxes = make_boxes(recipe.boxes, model, tower_trains="aux_tail" in trained)
    return MixtureStage(
        table,
        model,
        processor,
        Live(model, processor, mixture, boxes, recipe.augment, cache),
        tasks,
        batch_size=recipe.batch_size,
        seed=recipe.train.seed,
        workers=recipe.workers,
    )


class MixtureStage(LanguageStage):
    """A language stage that can say what it learns from."""

    def data_fingerprint(self) -> str:
        """The mixture's."""
        feed: Any = self.feed
        return feed.examples.fingerprint()


def make_boxes(spec: str, model: FO1, tower_trains: bool) -> Boxes:
    """Whose boxes `TuneRecipe.boxes` means."""
    if spec == "given":
        return given_boxes
    if spec == "auto":
        spec = "own" if model.proposes else "nano"
    if spec == "own":
        return OwnBoxes(model, tower_trains)
    if spec == "nano":
        from fo1agent.proposals.head import HeadProposer

        return ProposerBoxes(HeadProposer(load_predictor()))
    from fo1agent.proposals import resolve_proposer

    return ProposerBoxes(resolve_proposer(spec))


def finish(
    model: FO1, processor: FO1Processor, stored: torch.dtype, recipe: TuneRecipe, learned: Mapping[str, torch.Tensor]
) -> None:
    """Make an ordinary model of what was trained, and write it; the folder is replaced whole."""
    model.requires_grad_(False).eval().cpu()
    recipe.out.parent.mkdir(parents=True, exist_ok=True)
    if recipe.lora is not None and recipe.lora.save == "adapter":
        parts = {name: t for name, t in learned.items() if ".lora_" not in name}
        with whole(recipe.out, replace=True) as folder:
            lora.save_adapter(model, recipe.lora, parts, folder)
        return
    if recipe.lora is not None:
        lora.merge(model)
    rows.fold(model)
    model.to(dtype=stored)  # pyright: ignore[reportCallIssue] (transformers types `to` wrongly)
    with whole(recipe.out, replace=True) as folder:
        weights.save(model, processor, folder)


def check_out(folder: Path) -> None:
    """Refuse to put a model where something else lies.

    Raises:
        InputError: the folder holds other things than a model of ours.
    """
    ours = any((folder / name).exists() for name in ("config.json", "adapter_config.json"))
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"out={folder} holds something that is no model. Name a new folder.")
