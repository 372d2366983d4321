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
from fo1agent.model.config import ProcessingConfig
from fo1agent.model.folder import check_weights, misfits, one_line, read_safetensors
from fo1agent.model.mobilenet import LEVELS, convert_tensorflow
from fo1agent.model.proposal_head import ProposalHead, ProposalHeadConfig, assign, proposal_losses
from fo1agent.regions.boxes import iou
from fo1agent.trainers.data.coco import load_coco
from fo1agent.trainers.data.features import mirror_boxes
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.trainers.kept import keep, read_kept
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
    """A frozen tower, and its maps of a picture, kept on disk if a folder is given."""

    def __init__(
        self, recipe: TowerRecipe, levels: Sequence[int], cache: Path | None, device: torch.device | str = "cpu"
    ) -> None:
        self.tower = load_tower(recipe).to(device)
        # Of a detector's tower, the backbone's maps: `_run` does without the rest.
        known: Sequence[Any] = LEVELS if recipe.config["type"] == "mobilenet_v2_ssd" else self.tower.levels  # pyright: ignore[reportAssignmentType] (every tower has them)
        if not levels or not all(0 <= k < len(known) for k in levels):
            raise InputError(f"head.levels names maps 0 to {len(known) - 1} of the tower, got {list(levels)}.")
        self.levels = [known[k] for k in levels]
        self._picked, self._recipe, self._device = list(levels), recipe, device
        self._cache = None
        if cache is not None:
            key = f"{fingerprint(self.tower)} {sorted(recipe.config.items())} {recipe.aspect} {self._picked}"
            self._cache = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
            self._cache.mkdir(parents=True, exist_ok=True)

    def maps(self, record: Example, flip: bool) -> tuple[list[Tensor], tuple[int, int]]:
        """The chosen maps of the (mirrored) picture, [1, C, h, w] float32, and (height, width) of the tower's input."""
        file = self._cache and self._cache / f"{_file_key(record)}{'m' if flip else ''}.safetensors"
        numbers = [str(k) for k in range(len(self._picked))]
        if file and (kept := read_kept(file, [*numbers, "size_hw"])) is not None:
            height, width = kept["size_hw"].tolist()
            return [kept[k].to(self._device).float() for k in numbers], (height, width)
        maps, size_hw = self._run(record, flip)
        if file:
            tensors = {k: m.half().cpu().contiguous() for k, m in zip(numbers, maps, strict=True)}
            keep(file, {**tensors, "size_hw": torch.tensor(size_hw)})
        # Rounded as the kept ones are, so that neither the epoch nor the cache makes a difference.
        return [m.half().float() for m in maps], size_hw

    @torch.no_grad()
    def _run(self, record: Example, flip: bool) -> tuple[list[Tensor], tuple[int, int]]:
        image = open_picture(record)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        views = prepare_aux(self._recipe.config, ProcessingConfig(aux_aspect=self._recipe.aspect), image)
        views = {name: view.to(self._device) for name, view in views.items()}
        if self._recipe.config["type"] == "mobilenet_v2_ssd":
            maps = self.tower.maps(views["main"])  # pyright: ignore[reportCallIssue]  without the detector's heads
        else:
            maps, _ = self.tower(views)
        height, width = views["main"].shape[-2:]
        return [maps[k] for k in self._picked], (height, width)


class ProposalStage:
    """Trains a `ProposalHead`; see the table above."""

    name = "proposals"

    def __init__(self, recipe: ProposalRecipe) -> None:
        self.recipe, self._device = recipe, find_processes().device
        self.loss_weights = dict(recipe.loss_weights)
        root = recipe.data.root
        self._train = load_coco(root / recipe.data.train, root / recipe.data.train_images).images[: recipe.data.limit]
        self._dev: Sequence[Example] = ()
        if recipe.data.dev:
            self._dev = load_coco(root / recipe.data.dev, root / recipe.data.dev_images).images[: recipe.data.limit]
        if not self._train:
            raise DataError(f"{root / recipe.data.train} lists no pictures.")
        self._source = MapSource(recipe.tower, recipe.head.levels, recipe.cache, self._device)
        torch.manual_seed(recipe.train.seed)
        levels = self._source.levels
        self.model = ProposalHead(
            ProposalHeadConfig(
                channels=tuple(int(level.channels) for level in levels),
                strides=tuple(float(level.stride) for level in levels),
                offsets=tuple(float(level.offset) for level in levels),
                width=recipe.head.width,
                extra_levels=recipe.head.extra_levels,
                blocks=recipe.head.blocks,
            )
        ).to(self._device)

    def trainable(self) -> dict[str, list[nn.Parameter]]:
        return {"head": list(self.model.parameters())}

    def batch(self, step: int, part: int = 0, parts: int = 1) -> list[Seen]:
        """Pictures `step * batch_size` onwards of an endless row of shuffled epochs."""
        first = step * self.recipe.batch_size
        return [self._draw(first + place) for place in share(self.recipe.batch_size, part, parts)]

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
        """`recall@100` at IoU .5 and .75 on the dev pictures, in percent; {} without a dev file."""
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
        random = np.random.default_rng([self.recipe.train.seed, epoch])
        record = self._train[random.permutation(len(self._train))[index]]
        flip = bool(random.random(len(self._train))[index] < self.recipe.flip)
        maps, (height, width) = self._source.maps(record, flip)
        boxes = mirror_boxes(record.boxes, record.width) if flip else record.boxes
        scaled = torch.from_numpy(boxes) * torch.tensor([width / record.width, height / record.height] * 2)
        scaled, crowd = scaled.float().to(self._device), torch.from_numpy(record.crowd).to(self._device)
        kinds = torch.tensor(self.kinds(record), dtype=torch.long, device=self._device)
        return Seen(record.name, maps, (height, width), scaled[~crowd], scaled[crowd], kinds[~crowd])


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


def fingerprint(module: nn.Module) -> str:
    """A hash of all weights and buffers: the same exactly when the module computes the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def recall(found: Sequence[np.ndarray], truth: Sequence[np.ndarray], overlap: float) -> float:
    """Share, 0 to 1, of the true boxes that some found box covers, each found box answering for one true box.

    Args:
        found: per picture [M, 4], best first. truth: per picture [N, 4], same frame.
        overlap: least IoU. Matching is COCO's: best first, each to the free true box it overlaps most.
    """
    hits = 0
    for boxes, wanted in zip(found, truth, strict=True):
        free = iou(boxes, wanted)  # [M, N]
        for row in free:
            best = int(row.argmax()) if row.size else -1
            if best >= 0 and row[best] >= overlap:
                free[:, best] = -1
                hits += 1
    return hits / max(1, sum(map(len, truth)))


def _by_shape(batch: Sequence[Seen]) -> list[list[Seen]]:
    groups: dict[tuple[int, int], list[Seen]] = {}
    for example in batch:
        groups.setdefault(example.size_hw, []).append(example)
    return list(groups.values())


def _file_key(record: Example) -> str:
    if record.path is None:
        return hashlib.sha256(record.data or b"").hexdigest()[:20]
    stat = record.path.stat()
    return hashlib.sha256(f"{record.path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:20]


if __name__ == "__main__":
    main(sys.argv[1:])
