"""The short road: a user's COCO folder to a better model, measured before and after, on what is new and on what is old.

    find the files → check them → measure → boxes → features of the frozen towers → looks → measure → save

It starts from a model with a closed vocabulary and a proposal head, as fo1-nano is. What the data labels becomes a
lesson (`fo1agent.model.lesson`), which stands beside the model: no number of the model changes, so of the names that it
had, those that the data does not label are found as before on any picture. That is measured all the same, every time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from fo1agent.errors import InputError
from fo1agent.evaluate import coco as coco_files
from fo1agent.evaluate.detection import DetectionReport, Run, detect, report
from fo1agent.loading import load
from fo1agent.model import weights
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1
from fo1agent.model.lesson import Lesson
from fo1agent.model.processing import FO1Processor
from fo1agent.scene import Model, Scene
from fo1agent.trainers import card
from fo1agent.trainers.data.features import fingerprint, open_or_build
from fo1agent.trainers.keeping import (
    Answers,
    Checked,
    Kept,
    NameChecked,
    answers,
    checked,
    compare,
    packaged_pictures,
    precisions,
)
from fo1agent.trainers.kept import file_mark
from fo1agent.trainers.lesson import FinderStage, calibrate_lesson, fit_looks, new_lesson
from fo1agent.trainers.lock import locked
from fo1agent.trainers.splits import Part, Parts, open_parts, pictures_of
from fo1agent.trainers.step import TrainSettings, train
from fo1agent.trainers.tuning import check_out
from fo1agent.whole import whole

log = logging.getLogger(__name__)

BATCH = 8  # pictures a step
RATE = 2e-3
LEAST, MOST = 30, 3000  # steps
MAPS_KEPT = 3000  # pictures up to which the tower's maps are kept, 3 MB each
REMEMBERED = 40  # pictures on which former answers are compared, at most

Say = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneReport:
    """What came of it.

    Attributes:
        folder: of the model.
        before, after: figures on the held-out pictures, over the names that were taught.
        names: average precision of each of them there.
        new_names: those that the model lacked.
        taught_again: those that it had; no other name that it had can have changed.
        kept: its former answers for the names that it had.
        checked: the same by labels, on the file that was given for it.
        steps: of training, `BATCH` pictures each.
        seconds: wall time of the whole.
    """

    folder: Path
    before: DetectionReport
    after: DetectionReport
    names: tuple[NameChecked, ...]
    new_names: tuple[str, ...]
    taught_again: tuple[str, ...]
    kept: Kept
    checked: Checked | None
    steps: int
    seconds: float

    def losses(self) -> list[str]:
        """What names that it had have lost, a sentence for each; [] when nothing was lost."""
        lost = [
            f"{row.name}: {row.before - row.same} of {row.before} things found before are not found any more"
            for row in self.kept.changed
            if row.same < row.before
        ]
        if self.checked is not None:
            lost += [
                f"{row.name}: AP {row.before:.1f} before, {row.after:.1f} after"
                for row in self.checked.changed
                if row.after < row.before
            ]
        return lost

    def to_dict(self) -> dict[str, Any]:
        """For `--json`, and for the model's own record, `finetune.json`."""
        return {
            "new_names": list(self.new_names),
            "taught_again": list(self.taught_again),
            "steps": self.steps,
            "pictures_a_step": BATCH,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "names": {
                row.name: {"AP_before": round(row.before, 2), "AP_after": round(row.after, 2)} for row in self.names
            },
            "old_names": {
                "former_answers": self.kept.to_dict(),
                "checked_on": None if self.checked is None else self.checked.to_dict(),
            },
            "seconds": round(self.seconds, 1),
        }


def finetune(
    coco: Path,
    out: Path,
    model: str | Path | None = None,
    minutes: float = 10.0,
    steps: int | None = None,
    limit: int | None = None,
    say: Say = log.info,
    check_on: Path | None = None,
    overwrite: bool = False,
) -> FinetuneReport:
    """Teach a model what the pictures in `coco` label.

    Args:
        coco: folder with COCO annotations and pictures, or one file of them; see `splits.find_splits`.
        out: folder of the new model; what it takes to go on after an interruption lies beside it, in `<out>.work`.
        model: what to start from; None for the packaged fo1-nano.
        minutes: of training, after the pictures were looked at once.
        steps: of training, in place of `minutes`; each is `BATCH` pictures.
        limit: only the first so many pictures to train on.
        say: is told what happens, a line at a time.
        check_on: a COCO file that labels names the model had, to measure those by as well; its pictures are looked for
            around it.
        overwrite: put the new model in the place of one that `out` holds.

    Raises:
        DataError: no annotations or pictures where COCO has them, or none to train on.
        InputError: the model is of a kind that is trained by `fo1agent train`, `out` holds something, or `check_on`
            shows none of the names that the model had.
        TrainingError: another process makes the same `out`.
    """
    started = time.perf_counter()
    _check_free(out, overwrite)
    torch.manual_seed(0)
    folder, name = find_folder(model)
    fo1, processor = weights.load(folder, torch.float32)
    _check_kind(fo1, name)
    before = load(folder)
    known = before.predictor.vocabulary or ()
    check = None if check_on is None else checkable(check_on, known)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    with locked(work):  # for the whole call: the parts, the features and the new model lie there as well
        _check_free(out, overwrite)  # another call may have ended meanwhile
        parts = open_parts(coco, work, limit, known, say)
        new, again = (tuple(n for n in parts.names if (n in known) == old) for old in (False, True))
        say(f"new names: {', '.join(new) or 'none'}")
        if again:
            say(f"taught again, the only names it had that may change: {', '.join(again)}")

        was = measure(before, parts, known, check, "before", say)
        say(f"before: {was.report.ap:.1f} AP")
        lesson, taken = teach(fo1, processor, parts, work, minutes, steps, say)
        save_taught(folder, lesson, work / "model")
        now = measure(load(work / "model"), parts, known, check, "after", say)
        say(f"after: {now.report.ap:.1f} AP")

        then, since = precisions(was.run), precisions(now.run)
        done = FinetuneReport(
            out, was.report, now.report, tuple(NameChecked(n, then[n], since[n]) for n in parts.names if n in then),
            new, again, compare(was.answers, now.answers, known),
            checked(check_on, was.check, now.check, known), taken, time.perf_counter() - started,
        )  # fmt: skip

        with whole(out, replace=True) as target:
            shutil.move(work / "model", target)
            card.write(target, name, done.to_dict())
        return done


def _check_kind(model: FO1, name: str) -> None:
    if model.config.vocabulary is None or model.proposal_head is None:
        raise InputError(
            f"finetune starts from models like fo1-nano, which know names and make boxes; {name} does not. Train it by "
            "`fo1agent train instruct`."
        )


def _check_free(out: Path, overwrite: bool) -> None:
    check_out(out)
    if not overwrite and (out / "config.json").exists():
        raise InputError(f"{out} holds a model already. Name another folder, or replace that model by --overwrite.")


# --- measuring ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One model: its run on the held-out pictures and the figures, its answers for old names, the run on `check_on`."""

    run: Run
    report: DetectionReport
    answers: list[Answers]
    check: Run | None


def measure(
    model: Model, parts: Parts, names: Sequence[str], check: tuple[Path, Path] | None, when: str, say: Say
) -> Measured:
    """Look at the held-out pictures, the packaged ones, some of those to train on, and those of the file to check on.

    Args:
        model: before or after.
        parts: the user's pictures.
        names: that the model had before.
        check: COCO file and folder of its pictures, or None.
        when: "before" or "after".
        say: is told how far it is.
    """
    start = time.perf_counter()
    found: list[Answers] = []

    def remember(record: Mapping[str, Any], scene: Scene, _: Any) -> None:
        if len(found) < REMEMBERED:
            found.append(answers(scene, names))

    left = Left(f"measuring {when}", say)
    run = detect(model, parts.held_out.file, parts.held_out.images, also=remember, on_progress=left)
    figures = report(run, start)
    own = [image.path for image in parts.training.data if image.path is not None]
    for picture in [*packaged_pictures(), *own][: max(2, REMEMBERED - len(found))]:
        found.append(answers(model.open(picture), names))
    if check is None:
        return Measured(run, figures, found, None)
    return Measured(run, figures, found, detect(model, *check, on_progress=Left(f"checking {when}", say)))


def checkable(file: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """A file to check on and the folder of its pictures, if it shows any of the names.

    Raises:
        DataError: it is no COCO file, or its pictures are not around it.
        InputError: it shows none of them.
    """
    tree = coco_files.read_instances(file)
    shown = {row["category_id"] for row in tree["annotations"] if not row["iscrowd"]}
    if not any(row["name"] in names for row in tree["categories"] if row["id"] in shown):
        raise InputError(f"{file} shows none of the names that the model had. Pass a file that labels some of them.")
    return file, pictures_of(file.parent, file)


# --- teaching ----------------------------------------------------------------------------------------------------


def teach(
    model: FO1, processor: FO1Processor, parts: Parts, work: Path, minutes: float, steps: int | None, say: Say
) -> tuple[Lesson, int]:
    """A lesson of the training pictures, and the steps that its finder took.

    What follows from minutes is measured once and written down, so that a run that goes on after an interruption is the
    same run. Other pictures, another model or other steps are another run, in a folder of its own.
    """
    lesson = new_lesson(model, parts.names)
    pictures = parts.training.data.images
    stage = FinderStage(model, lesson, pictures, BATCH, work / "maps" if len(pictures) <= MAPS_KEPT else None)
    work /= mark(model, parts.training)
    work.mkdir(exist_ok=True)
    count = steps if steps is not None else planned(stage, work / f"steps_{minutes:g}.json", minutes)
    asked = f"--steps {steps}" if steps is not None else f"about {minutes:g} minutes"
    say(f"finding: {count} steps of {BATCH} pictures ({asked})")
    settings = TrainSettings(
        steps=count, lr=RATE, warmup=min(20, count // 4), weight_decay=0.02, clip_norm=2.0, precision="auto",
        save_every=max(25, count // 4), log_every=max(1, count // 10),
    )  # fmt: skip
    left = Left("finding", say)
    result = train(
        stage, settings, work / f"finder_{count}", {"names": parts.names}, lambda log: left(log["step"], count)
    )
    lesson.finder.load_state_dict(load_file(result.weights))
    data = parts.training.data
    store = open_or_build(work / "features", model, processor, data, on_progress=Left("looking at pictures", say))
    fit_looks(lesson, store, range(len(store)))
    if parts.held_back:
        calibrate_lesson(model, processor, lesson, parts.held_back, Left("calibrating", say))
    return lesson.requires_grad_(False), count


def mark(model: FO1, part: Part) -> str:
    """Hash of what a lesson depends on: the model, the file of the pictures to train on, and the pictures' files."""
    digest = hashlib.sha256(fingerprint(model, part.data).encode() + part.file.read_bytes())
    for image in part.data:
        if image.path is not None:
            digest.update(file_mark(image.path).encode())
    return digest.hexdigest()[:16]


def planned(stage: FinderStage, file: Path, minutes: float) -> int:
    """Steps that fit into so many minutes here, as `file` says or, the first time, as two steps tell."""
    if not file.exists():
        steps = int(60 * minutes / seconds(stage))
        with whole(file) as temporary:
            temporary.write_text(json.dumps(min(max(steps, LEAST), MOST)))
    return json.loads(file.read_text(encoding="utf-8"))


def seconds(stage: FinderStage) -> float:
    """What a step of a stage takes here, measured on its first batches without changing anything."""
    times = []
    for step in range(2):
        batch = stage.batch(step)
        start = time.perf_counter()
        torch.stack(list(stage.losses(batch).values())).sum().backward()
        times.append(time.perf_counter() - start)
    stage.model.zero_grad(set_to_none=True)
    return min(times)


def save_taught(folder: Path, lesson: Lesson, target: Path) -> None:
    """The model of a folder with a lesson more; all else is written as it was read."""
    model, processor = weights.load(folder)
    stored = next(model.base.parameters()).dtype
    settings = {"names": list(lesson.names), "finder": dict(model.config.heads["proposal"])}
    model.config.lessons = [*model.config.lessons, settings]
    model.lessons = nn.ModuleList([*model.lessons, lesson.to(stored)])
    with whole(target, replace=True) as place:
        weights.save(model, processor, place)


class Left:
    """Says ten times how far something is, and how long the rest of it takes."""

    def __init__(self, what: str, say: Say) -> None:
        self._what, self._say = what, say
        self._first: tuple[int, float] | None = None
        self._tenth = 0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` are done."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (done, now)
        first, start = self._first
        tenth = 10 * done // total
        if tenth == self._tenth:
            return
        self._tenth = tenth
        left = ""
        if first < done < total:
            rest = math.ceil((now - start) / (done - first) * (total - done))
            left = f", {rest // 60}:{rest % 60:02} left"
        self._say(f"{self._what}: {done} of {total}{left}")
