"""Stage 0: the proposal head, on the frozen maps of any auxiliary tower.

    part   trains   losses (weight)                                    rate
    head   yes      objectness (1), overlap (1), sides (0.25)          train.lr
    tower  no

The tower is run once per picture and flip; its maps can be kept on disk, so that every later epoch costs only the
head. Start it, or go on with it, by

    python -m fo1agent.trainers.proposals proposals run=DIR data.root=DIR tower.weights=FILE cache=DIR

where the second `proposals` is a recipe: a file, or the name of one that comes with the package.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, DataError, InputError
from fo1agent.foreign import log_to_stderr
from fo1agent.model.aux_encoder import build_aux, prepare_aux
from fo1agent.model.folder import one_line
from fo1agent.model.mobilenet import LEVELS, convert_tensorflow
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.proposal_head import ProposalHead, ProposalHeadConfig, assign, proposal_losses
from fo1agent.model.tensors import check_weights, misfits, read_safetensors
from fo1agent.regions.boxes import claims, iou
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.features import mirror_boxes
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.trainers.kept import KeptViews, weights_hash
from fo1agent.trainers.processes import find_processes
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.step import TrainResult, TrainSettings, share, train

log = logging.getLogger(__name__)

LOSS_WEIGHTS = {"objectness": 1.0, "overlap": 1.0, "sides": 0.25}


@dataclass(frozen=True)
class DataRecipe:
    """Where the pictures are; paths are relative to `root`. Without `dev` nothing is measured."""

    root: Path
    train: str = "instances_train.json"
    train_images: str = "images/train"
    dev: str | None = "instances_dev.json"
    dev_images: str = "images/dev"
    limit: int | None = None  # only the first so many pictures of each file


@dataclass(frozen=True)
class TowerRecipe:
    """The tower: its configuration as in `FO1Config.aux`, and a safetensors file with its weights.

    `weights` is either the tower's own state dict or, for mobilenet_v2_ssd, the TensorFlow detection zoo's tensors.
    """

    config: Mapping[str, Any]
    weights: Path
    aspect: str = "squash"  # DaViT's input, see `ProcessingConfig.aux_aspect`


@dataclass(frozen=True)
class HeadRecipe:
    """The head: which of the tower's maps it reads, and `ProposalHeadConfig`'s sizes."""

    levels: tuple[int, ...]
    width: int = 96
    extra_levels: int = 1
    blocks: int = 2


@dataclass(frozen=True)
class ProposalRecipe:
    """All that decides what comes out.

    Attributes:
        run: folder of the run; its `weights.safetensors` is the result.
        batch_size: pictures per step.
        flip: share of the pictures that are seen mirrored, drawn anew every epoch.
        cache: folder that keeps the tower's maps as float16 (1.5 MB a picture and flip for mobilenet_v2_ssd); None
            runs the tower every time.
    """

    data: DataRecipe
    tower: TowerRecipe
    head: HeadRecipe
    train: TrainSettings
    run: Path = Path("runs/proposals")
    batch_size: int = 4
    flip: float = 0.5
    cache: Path | None = None
    loss_weights: Mapping[str, float] = field(default_factory=lambda: dict(LOSS_WEIGHTS))

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.flip <= 1:
            raise InputError(f"batch_size is at least 1 and flip in [0, 1]; got {self.batch_size} and {self.flip}.")


def main(arguments: Sequence[str]) -> TrainResult:
    """Run the recipe named by the first argument, with the `key=value` overrides after it."""
    if not arguments:
        raise InputError(
            "Name a recipe, then key=value: python -m fo1agent.trainers.proposals proposals data.root=DIR …"
        )
    log_to_stderr()
    recipe = load_recipe(ProposalRecipe, arguments[0], arguments[1:])
    stage = ProposalStage(recipe)
    return train(stage, recipe.train, recipe.run, recipe, on_log=lambda record: log.info("%s", record))


@dataclass(frozen=True)
class Seen:
    """One picture as the head sees it: the maps it reads, and boxes in pixels of the tower's input with their kinds."""

    name: str
    maps: list[Tensor]
    size_hw: tuple[int, int]
    boxes: Tensor
    ignored: Tensor
    kinds: Tensor


class MapSource:
    """A frozen tower, and its maps of a picture, kept on disk if a folder is given.

    Args:
        tower: runs where its weights are, and there are the maps.
        config, aspect: see `TowerRecipe`.
        levels: which of its maps are wanted.
        cache: the folder, or None.
    """

    def __init__(
        self,
        tower: nn.Module,
        config: Mapping[str, Any],
        levels: Sequence[int],
        cache: Path | None,
        aspect: str = "squash",
    ) -> None:
        self.tower, self.device = tower, next(tower.parameters()).device
        # Of a detector's tower, the backbone's maps: `_run` does without the rest.
        self._detector = bool(tower.detects)
        known: Any = LEVELS if self._detector else tower.levels
        if not levels or not all(0 <= k < len(known) for k in levels):
            raise InputError(f"head.levels names maps 0 to {len(known) - 1} of the tower, got {list(levels)}.")
        self.levels = [known[k] for k in levels]
        self._picked, self._config, self._aspect = list(levels), config, aspect
        self._numbers = [str(k) for k in range(len(levels))]
        if cache is not None:
            mark = weights_hash(sorted(tower.state_dict().items()))
            key = f"{mark} {sorted(config.items())} {aspect} {self._picked}"
            cache /= hashlib.sha256(key.encode()).hexdigest()[:16]
        self._kept = KeptViews(cache, [*self._numbers, "size_hw"])

    def maps(self, record: Example, flip: bool) -> tuple[list[Tensor], tuple[int, int]]:
        """The chosen maps of the (mirrored) picture, [1, C, h, w] float32, and (height, width) of the tower's input."""
        kept = self._kept.get(record, lambda: self._run(record, flip), flip)
        height, width = kept["size_hw"].tolist()
        return [kept[k].to(self.device).float() for k in self._numbers], (height, width)

    @torch.no_grad()
    def _run(self, record: Example, flip: bool) -> dict[str, Tensor]:
        image = open_picture(record)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        views = prepare_aux(self._config, ProcessingConfig(aux_aspect=self._aspect), image)
        views = {name: view.to(self.device) for name, view in views.items()}
        if self._detector:
            maps = self.tower.maps(views["main"])  # pyright: ignore[reportCallIssue]  without the detector's heads
        else:
            maps, _ = self.tower(views)
        chosen = {number: maps[k] for number, k in zip(self._numbers, self._picked, strict=True)}
        return {**chosen, "size_hw": torch.tensor(views["main"].shape[-2:])}


class HeadStage:
    """Trains a `ProposalHead` on a tower's maps; see the table above.

    Args:
        head: trained in place.
        source: of the maps that it reads.
        pictures: to train on.
        batch_size, flip: see `ProposalRecipe`.
        seed: with the step's number, decides everything random.
        dev: pictures to measure on.
    """

    name = "proposals"

    def __init__(
        self,
        head: ProposalHead,
        source: MapSource,
        pictures: Sequence[Example],
        batch_size: int,
        flip: float = 0.5,
        seed: int = 0,
        dev: Sequence[Example] = (),
    ) -> None:
        self.model, self.loss_weights = head, LOSS_WEIGHTS
        self._source, self._train, self._dev = source, pictures, dev
        self._batch_size, self._flip, self._seed = batch_size, flip, seed

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        return {"head": list(self.model.parameters())}

    def batch(self, step: int, part: int = 0, parts: int = 1) -> list[Seen]:
        """Pictures `step * batch_size` onwards of an endless row of shuffled epochs."""
        first = step * self._batch_size
        return [self._draw(first + place) for place in share(self._batch_size, part, parts)]

    def counts(self, batch: list[Seen]) -> dict[str, int]:
        """Cells that are responsible for a box, for every loss."""
        count = 0
        for example in batch:
            centres, strides = self.model.cells([m.shape[-2:] for m in example.maps], example.boxes.device)
            count += int((assign(centres, strides, example.boxes) >= 0).sum())
        return dict.fromkeys(LOSS_WEIGHTS, count)

    def losses(self, batch: list[Seen]) -> dict[str, Tensor]:
        """The head's losses, summed over cells."""
        sums: dict[str, Tensor] = {}
        for group in _by_shape(batch):
            maps = [torch.cat(level) for level in zip(*(example.maps for example in group), strict=True)]
            # Channels last: a third faster through depth-wise convolutions on a CPU.
            outputs = self.model([m.contiguous(memory_format=torch.channels_last) for m in maps])
            found = proposal_losses(
                self.model, outputs, [e.boxes for e in group], [e.ignored for e in group], [e.kinds for e in group]
            )
            sums = {name: sums.get(name, 0) + found[name] for name in LOSS_WEIGHTS}
        return sums

    def kinds(self, record: Example) -> list[int]:
        """Which of the head's kinds each box of a picture is: there is one, things of any kind."""
        return [0] * len(record.labels)

    def example_names(self, batch: list[Seen]) -> list[str]:
        """The pictures of a batch, for messages."""
        return [example.name for example in batch]

    def evaluate(self) -> dict[str, float]:
        """`recall@100` at IoU .5 and .75 on the dev pictures, in percent; {} without such."""
        if not self._dev:
            return {}
        found = []
        for record in self._dev:
            maps, (height, width) = self._source.maps(record, flip=False)
            boxes, _ = self.model.decode(self.model(maps), (height, width))
            scale = [record.width / width, record.height / height] * 2
            found.append(boxes.cpu().numpy() * np.array(scale))
        truth = [record.boxes[~record.crowd] for record in self._dev]
        return {f"recall@100_{t:.2f}": round(100 * recall(found, truth, t), 2) for t in (0.5, 0.75)}

    def _draw(self, position: int) -> Seen:
        epoch, index = divmod(position, len(self._train))
        random = np.random.default_rng([self._seed, epoch])
        record = self._train[random.permutation(len(self._train))[index]]
        flip = bool(random.random(len(self._train))[index] < self._flip)
        maps, (height, width) = self._source.maps(record, flip)
        device = next(self.model.parameters()).device
        boxes = mirror_boxes(record.boxes, record.width) if flip else record.boxes
        scaled = torch.from_numpy(boxes) * torch.tensor([width / record.width, height / record.height] * 2)
        scaled, crowd = scaled.float(), torch.from_numpy(record.crowd)
        kinds = torch.tensor(self.kinds(record), dtype=torch.long)
        moved = [t.to(device) for t in (scaled[~crowd], scaled[crowd], kinds[~crowd])]
        return Seen(record.name, [m.to(device) for m in maps], (height, width), *moved)


class ProposalStage(HeadStage):
    """What a `ProposalRecipe` says: a new head for a tower."""

    def __init__(self, recipe: ProposalRecipe) -> None:
        data, device, dev = recipe.data, find_processes().device, ()
        pictures = load_coco(data.root / data.train, data.root / data.train_images).images[: data.limit]
        if data.dev:
            dev = load_coco(data.root / data.dev, data.root / data.dev_images).images[: data.limit]
        if not pictures:
            raise DataError(f"{data.root / data.train} lists no pictures.")
        tower = load_tower(recipe.tower).to(device)
        source = MapSource(tower, recipe.tower.config, recipe.head.levels, recipe.cache, recipe.tower.aspect)
        torch.manual_seed(recipe.train.seed)
        head = ProposalHead(
            ProposalHeadConfig(
                channels=tuple(int(level.channels) for level in source.levels),
                strides=tuple(float(level.stride) for level in source.levels),
                offsets=tuple(float(level.offset) for level in source.levels),
                width=recipe.head.width,
                extra_levels=recipe.head.extra_levels,
                blocks=recipe.head.blocks,
            )
        ).to(device)
        super().__init__(head, source, pictures, recipe.batch_size, recipe.flip, recipe.train.seed, dev)
        self.loss_weights = dict(recipe.loss_weights)


def load_tower(recipe: TowerRecipe) -> nn.Module:
    """The frozen tower in evaluation mode.

    Raises:
        CheckpointError: unknown tower, unreadable weights, or weights of something else; names the keys.
    """
    tower = build_aux(recipe.config)
    try:
        state = read_safetensors(recipe.weights)
        check_weights(state, recipe.weights)
    except CheckpointError as exc:
        raise CheckpointError(f"Cannot read the tower's weights: {exc}") from exc
    try:
        if any(key.startswith("FeatureExtractor/") for key in state):
            state = convert_tensorflow(state)
    except (KeyError, IndexError, RuntimeError) as exc:
        raise CheckpointError(
            f"{recipe.weights} lacks a part of the detection zoo's tensors: {one_line(exc)}."
        ) from exc
    if told := misfits(state, tower.state_dict()):
        raise CheckpointError(f"{recipe.weights} does not fit {dict(recipe.config)}: {told}.")
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)


def recall(found: Sequence[np.ndarray], truth: Sequence[np.ndarray], overlap: float) -> float:
    """Share, 0 to 1, of the true boxes that some found box covers, each found box answering for one true box.

    Args:
        found: per picture [M, 4], best first. truth: per picture [N, 4], same frame.
        overlap: least IoU.
    """
    hits = sum(int(claims(iou(*pair), overlap).sum()) for pair in zip(found, truth, strict=True))
    return hits / max(1, sum(map(len, truth)))


def _by_shape(batch: Sequence[Seen]) -> list[list[Seen]]:
    groups: dict[tuple[int, int], list[Seen]] = {}
    for example in batch:
        groups.setdefault(example.size_hw, []).append(example)
    return list(groups.values())


if __name__ == "__main__":
    main(sys.argv[1:])
