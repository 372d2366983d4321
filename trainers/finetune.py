"""The short road: a user's COCO folder to a better model, with AP on held-out pictures before and after.

    find the files → check them → measure → boxes → features of the frozen towers → names → answers → measure → save

It starts from a model with a closed vocabulary and a detector in its tower, as fo1-nano is. Categories that it has no
name for become new names. Names that it had and the data does not label are learned along from the model's own sure
answers, so that they are not unlearned.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from fo1agent import lexicon
from fo1agent.boxes import iou, nms
from fo1agent.errors import DataError, InputError
from fo1agent.evaluate.detection import DetectionReport, evaluate
from fo1agent.model import weights
from fo1agent.model.fo1 import FO1
from fo1agent.model.predictor import find_folder
from fo1agent.model.processing import Processor
from fo1agent.scene import SAME_THING_IOU, load
from fo1agent.trainers.calibration import calibrate, score
from fo1agent.trainers.checkpoint import write_atomic
from fo1agent.trainers.data.coco import CocoData, load_coco
from fo1agent.trainers.data.features import PROPOSAL, FeatureStore, open_or_build
from fo1agent.trainers.data.records import Example, open_picture
from fo1agent.trainers.data.tasks import SAME, TaskMaker
from fo1agent.trainers.heads import add_names
from fo1agent.trainers.language import LanguageStage, Mix, StageTable, region_sample
from fo1agent.trainers.naming import NamingStage
from fo1agent.trainers.proposals import DataRecipe, HeadRecipe, ProposalRecipe, ProposalStage, TowerRecipe
from fo1agent.trainers.step import TrainSettings, train
from fo1agent.trainers.tuning import check_out, replace_folder

log = logging.getLogger(__name__)

HELD_OUT = 0.2  # share of a single file's pictures that measure
HELD_BACK, ENOUGH = 8, 80  # every so manieth training picture only calibrates, where there are enough
SURE, MISTAKEN = 0.5, 0.1  # probability from which the model's answer is believed, and from which it is unlearned
SHARES = {"proposals": 0.2, "naming": 0.3, "finetune": 0.5}  # of the minutes
FOLD = {"proposals": 2, "naming": 5, "finetune": 1}  # steps of each stage for one of `steps`
LEAST, MOST = 30, 3000  # steps of a stage
RATES = {"proposals": 1e-3, "naming": 2e-3, "finetune": 2e-4}
BATCHES = {"proposals": 4, "naming": 16, "finetune": 8}
MAPS_KEPT = 3000  # pictures up to which the tower's maps are kept, 3 MB each
SENSES_PICTURES = 8  # whose prompts the words of names are read in

TABLE = StageTable(
    name="finetune",
    parts=("language", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 0.5, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=8, unknown=0, describe=4, detect=0.5, count=0.3, everything=0.3, caption=0.0, alike=0.0),
)


@dataclass(frozen=True)
class Split:
    """One part of a user's data: the annotation file, the folder of its pictures, and which of them (None: all)."""

    file: Path
    images: Path
    keep: frozenset[int] | None = None


@dataclass(frozen=True)
class FinetuneReport:
    """What came of it: the model's folder, figures on the held-out pictures before and after, names that are new."""

    folder: Path
    before: DetectionReport
    after: DetectionReport
    new_names: tuple[str, ...]
    steps: dict[str, int]
    seconds: float


def finetune(
    coco: Path,
    out: Path,
    model: str | Path | None = None,
    minutes: float = 10.0,
    steps: int | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = log.info,
) -> FinetuneReport:
    """Make a better model for the pictures in `coco`.

    Args:
        coco: folder with COCO annotations and pictures; see `find_splits`.
        out: folder of the new model; what it takes to go on after an interruption lies beside it, in `<out>.work`.
        model: what to start from; None for the packaged fo1-nano.
        minutes: of training, after the pictures were looked at once.
        steps: of the last stage, in place of `minutes`; those before it, which are cheaper, get two and five times as
            many.
        limit: only the first so many pictures to train on.
        say: is told what happens, a line at a time.

    Raises:
        DataError: no annotations or pictures where COCO has them, or none to train on.
        InputError: the model is of a kind that is trained by `fo1agent train`, or `out` holds something else.
    """
    started = time.perf_counter()
    check_out(out)
    torch.manual_seed(0)
    folder, name = find_folder(model)
    fo1, processor = weights.load(folder, torch.float32)
    head = fo1.match_head
    if fo1.config.vocabulary is None or head is None or not head.classes:
        raise InputError(
            f"finetune starts from models like fo1-nano; {name} has an open vocabulary. Train it by "
            "`fo1agent train instruct`."
        )
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    training, held_out = find_splits(coco)
    data = read_split(training, limit)
    held = read_split(held_out, None)
    truth = work / "held_out.json"
    write_part(held_out, held, truth)
    write_part(training, data, work / "training.json")
    for part, split in (("training", data), ("held out", held)):
        boxes = sum(len(image.boxes) for image in split.images)
        say(f"{part}: {len(split)} pictures, {boxes} boxes of {len(split.categories)} names ({split.dropped} dropped)")
    before = evaluate(load(folder), truth, held_out.images)
    say(f"before: AP {before.ap:.1f}, AP50 {before.ap50:.1f}")

    learner = Learner(work, minutes, steps, say)
    if fo1.proposal_head is not None:
        learner.boxes(fo1, work / "training.json", training.images, len(data))
    store = open_or_build(work / "features", fo1, processor, data)
    store.data, mistaken = remember(fo1, processor, store)
    new = add_names(fo1, data.categories)
    if new:
        say(f"new names: {', '.join(new)}")
        learn_senses(fo1, processor, store)
    held_back = range(0, len(data), HELD_BACK) if len(data) >= ENOUGH else range(0)
    learner.names(fo1, processor, store, [k for k in range(len(data)) if k not in held_back], mistaken)
    if held_back:
        calibrate(fo1.eval(), processor, store, TaskMaker(fo1.config.vocabulary), held_back)

    replace_folder(out, lambda target: weights.save(fo1.half(), processor, target))
    after = evaluate(load(out), truth, held_out.images)
    say(f"after: AP {after.ap:.1f}, AP50 {after.ap50:.1f}")
    return FinetuneReport(out, before, after, tuple(new), learner.taken, time.perf_counter() - started)


# --- the user's files --------------------------------------------------------------------------------------------


def find_splits(coco: Path) -> tuple[Split, Split]:
    """The training and the held-out part of a COCO folder.

    Two files whose names say `train` and `val` (or valid, dev, test), in the folder or in folders in it, which may say
    so themselves; or a single file, of which a fifth is held out, the same pictures every time.

    Raises:
        DataError: there is no such file, or no pictures; says where it was looked.
    """
    if not coco.is_dir():
        raise DataError(f"There is no folder {coco}.")
    files = sorted(file for pattern in ("*.json", "*/*.json") for file in coco.glob(pattern) if _is_instances(file))
    if not files:
        raise DataError(f"{coco} holds no COCO file (images, annotations, categories), nor do the folders in it.")
    training = [file for file in files if _says(coco, file, ("train",))]
    held_out = [file for file in files if _says(coco, file, ("val", "valid", "dev"))] or [
        file for file in files if _says(coco, file, ("test",))
    ]
    if training and held_out:
        first, second = training[0], held_out[0]
        return Split(first, _images(coco, first)), Split(second, _images(coco, second))
    if len(files) > 1 and not training:
        names = ", ".join(str(file.relative_to(coco)) for file in files)
        raise DataError(f"{coco} holds {names}. Name one after train and one after val, or leave only one.")
    file = training[0] if training else files[0]
    tree = json.loads(file.read_text(encoding="utf-8"))
    ids = sorted((record["id"] for record in tree["images"]), key=_order)
    if len(ids) < 2:
        raise DataError(f"{file} lists {len(ids)} pictures; it takes at least two, one of them held out.")
    cut = max(1, round(HELD_OUT * len(ids)))
    images = _images(coco, file)
    return Split(file, images, frozenset(ids[cut:])), Split(file, images, frozenset(ids[:cut]))


def read_split(split: Split, limit: int | None) -> CocoData:
    """Its examples, each picture looked at once.

    Raises:
        DataError: the file is wrong, more than a hundredth of the pictures cannot be read, or nothing has a box.
    """
    data = load_coco(split.file, split.images)
    images = [image for image in data.images if split.keep is None or image.id in split.keep][:limit]
    good, problems = [], []
    for image in images:
        try:
            open_picture(image)
            good.append(image)
        except DataError as exc:
            problems.append(str(exc))
    if len(problems) > max(1, len(images) // 100):
        raise DataError(f"{split.file}: {len(problems)} of {len(images)} pictures cannot be used: {problems[0]}")
    if not any(len(image.boxes) for image in good):
        raise DataError(f"{split.file}: no picture with a box among the {len(good)} that can be read.")
    return replace(data, images=tuple(good))


def write_part(split: Split, data: CocoData, target: Path) -> None:
    """A part as a COCO file of its own, of the pictures that can be read."""
    tree, ids = json.loads(split.file.read_text(encoding="utf-8")), {image.id for image in data.images}
    tree["images"] = [record for record in tree["images"] if record["id"] in ids]
    tree["annotations"] = [{"iscrowd": 0, **row} for row in tree["annotations"] if row["image_id"] in ids]
    write_atomic(target, lambda file: file.write_text(json.dumps(tree), encoding="utf-8"))


def _is_instances(file: Path) -> bool:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(tree, dict) and {"images", "annotations", "categories"} <= tree.keys()


def _says(coco: Path, file: Path, words: Sequence[str]) -> bool:
    text = str(file.relative_to(coco)).lower()
    return any(word in text for word in words)


def _images(coco: Path, file: Path) -> Path:
    """The folder that the file's first picture lies in."""
    record = json.loads(file.read_text(encoding="utf-8"))["images"][:1]
    name = str(record[0].get("file_name", "")) if record else ""
    split = next((word for word in ("train", "valid", "val", "dev", "test") if _says(coco, file, (word,))), "")
    around = [file.parent, coco, coco / "images", file.parent / "images"]
    folders = [*around, *(base / f"{split}{year}" for base in around for year in ("", "2017") if split)]
    folders += [folder for pattern in ("*/", "*/*/") for folder in sorted(coco.glob(pattern))]
    for folder in folders:
        if name and (folder / name).is_file():
            return folder
    looked = ", ".join(dict.fromkeys(map(str, folders)))
    raise DataError(f"{file} lists {name!r}, which is in none of {looked}.")


def _order(image_id: Any) -> str:
    return hashlib.sha256(str(image_id).encode()).hexdigest()


# --- training ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def remember(model: FO1, processor: Processor, store: FeatureStore) -> tuple[CocoData, dict[str, list[str]]]:
    """What the model is sure of though the data has no category for it, and what it takes the data's objects for.

    Returns:
        The store's examples with boxes for the former, and for every category other names that it must now keep apart.
    """
    data = store.data
    vocabulary = tuple(model.config.vocabulary)
    others = [k for k, name in enumerate(vocabulary) if name not in data.categories]
    tasks = TaskMaker(vocabulary)
    images = []
    mistaken = {name: [other for other in data.categories if other != name] for name in data.categories}
    for position, image in enumerate(data.images):
        bare = replace(image, boxes=image.boxes[:0], labels=(), crowd=image.crowd[:0])  # its names may be new
        found = score(model, processor, replace(store[position], image=bare), tasks)
        logits = torch.einsum("t,tkn->kn", model.match_head.weights, found.terms) + model.match_head.bias
        probability = logits.sigmoid().numpy()[others]
        overlap = iou(found.boxes, image.boxes.astype(np.float64))
        boxes, labels = [], []
        for name, row in zip(others, probability, strict=True):
            for box in range(len(image.boxes)):
                if row[overlap[:, box] > SAME].max(initial=0.0) > MISTAKEN:
                    close = mistaken[image.labels[box]]
                    close += [vocabulary[name]] * (vocabulary[name] not in close)
            sure = np.flatnonzero(row > SURE)
            for n in sure[nms(found.boxes[sure], row[sure], SAME_THING_IOU)]:
                if overlap[n].max(initial=0.0) < SAME:
                    boxes.append(found.boxes[n])
                    labels.append(vocabulary[name])
        images.append(_with_boxes(image, boxes, labels))
    return replace(data, images=tuple(images)), mistaken


def _with_boxes(image: Example, boxes: Sequence[np.ndarray], labels: Sequence[str]) -> Example:
    if not boxes:
        return image
    return replace(
        image,
        boxes=np.concatenate([image.boxes, np.stack(boxes).astype(np.float32)]),
        labels=(*image.labels, *labels),
        crowd=np.concatenate([image.crowd, np.zeros(len(boxes), dtype=bool)]),
    )


def learn_senses(model: FO1, processor: Processor, store: FeatureStore) -> None:
    """Let the words of the new names mean them: the match head's `senses`, fitted to the words of all names.

    Costs a second, for the language model stays as it is; without it, the stages would need hundreds of steps for it.
    """
    names = model.config.vocabulary
    phrases = [processor.phrase_ids(phrase) for name in names for phrase in (name, lexicon.plural(name))]
    meant = torch.arange(len(names)).repeat_interleave(2)
    with torch.no_grad():
        states = []
        for position in range(0, len(store), -(-len(store) // SENSES_PICTURES)):
            picture = store[position]
            chosen = np.flatnonzero(picture.kind == PROPOSAL)
            vectors = torch.from_numpy(picture.vectors[chosen].astype(np.float32))
            prefix = model.prefill(region_sample(model, processor, picture, model.project_regions(vectors)))
            states.append(model.phrase_states(prefix, phrases))
        states, meant = torch.cat(states), meant.repeat(len(states))
    senses = model.match_head.senses
    optimizer = torch.optim.AdamW(senses.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(senses(states), meant).backward()
        optimizer.step()
    senses.zero_grad(set_to_none=True)


class Learner:
    """Runs the stages one after another; how long each may take follows from minutes or steps.

    Attributes:
        taken: steps of each stage that was run. What follows from minutes is measured once and written down, so that a
            run that goes on after an interruption is the same run.
    """

    def __init__(self, work: Path, minutes: float, steps: int | None, say: Callable[[str], None]) -> None:
        self._work, self._minutes, self._steps, self._say = work, minutes, steps, say
        self.taken: dict[str, int] = {}

    def boxes(self, model: FO1, instances: Path, images: Path, count: int) -> None:
        """The model's proposal head, from where it is, on `count` pictures."""
        tower = self._work / "tower.safetensors"
        if not tower.exists():
            write_atomic(tower, lambda file: save_file(dict(model.aux.state_dict()), file))
        head = {
            key: value for key, value in model.config.heads["proposal"].items() if key in HeadRecipe.__annotations__
        }
        recipe = ProposalRecipe(
            DataRecipe(instances.parent, instances.name, str(images.resolve()), dev=None),
            TowerRecipe(model.config.aux, tower),
            HeadRecipe(**{**head, "levels": tuple(head["levels"])}),
            TrainSettings(steps=1, lr=1.0),
            cache=self._work / "maps" if count <= MAPS_KEPT else None,
            batch_size=BATCHES["proposals"],
        )
        stage = ProposalStage(recipe)
        stage.model.load_state_dict(model.proposal_head.state_dict())
        self._run(stage, stage.model)
        model.proposal_head.load_state_dict(stage.model.state_dict())

    def names(
        self,
        model: FO1,
        processor: Processor,
        store: FeatureStore,
        pictures: Sequence[int],
        mistaken: Mapping[str, Sequence[str]],
    ) -> None:
        """What regions are, first without the language model, then with it."""
        tasks = TaskMaker(model.config.vocabulary, confusable=mistaken)
        sizes = {name: min(size, len(pictures)) for name, size in BATCHES.items()}
        self._run(NamingStage(model, store, tasks.index, pictures, sizes["naming"]), model)
        self._run(LanguageStage(TABLE, model, processor, store, tasks, pictures, sizes["finetune"]), model)

    def _run(self, stage: Any, model: nn.Module) -> None:
        steps = self._planned(stage)
        settings = TrainSettings(
            steps=steps, lr=RATES[stage.name], warmup=min(20, steps // 4), weight_decay=0.02, clip_norm=2.0,
            precision="auto", save_every=max(50, steps // 4), log_every=max(1, steps // 10),
        )  # fmt: skip
        self._say(f"{stage.name}: {steps} steps")
        result = train(stage, settings, self._work / stage.name, recipe={})
        model.load_state_dict(load_file(result.weights), strict=False)
        self.taken[stage.name] = steps

    def _planned(self, stage: Any) -> int:
        if self._steps is not None:
            return FOLD[stage.name] * self._steps
        file = self._work / f"plan_{stage.name}.json"
        if not file.exists():
            steps = int(60 * self._minutes * SHARES[stage.name] / seconds(stage))
            write_atomic(file, lambda target: target.write_text(json.dumps(min(max(steps, LEAST), MOST))))
        return json.loads(file.read_text(encoding="utf-8"))


def seconds(stage: Any) -> float:
    """What a step of a stage takes here, measured on its first batches without changing anything."""
    times = []
    for step in range(2):
        start = time.perf_counter()
        losses = stage.losses(stage.batch(step))
        torch.stack(list(losses.values())).sum().backward()
        times.append(time.perf_counter() - start)
    stage.model.zero_grad(set_to_none=True)
    return min(times)
