"""What a detector beside the model is worth, with no detector at hand: the nano's own stands in for an external one.

    .venv/bin/python benchmarks/finders.py DATA/coco-natural QA [--limit N]

DATA/coco-natural holds instances_{train,dev}.json and images/{train,dev}, QA natural-dev.jsonl and clear-dev.jsonl. The
detector in fo1-nano's tower is asked through the external path: as a closed detector of eighty names, as one whose
labels are shuffled, and as a finder of any words beside a nano that knows every second of its names. Each is calibrated
on pictures of train first; then AP on dev and the share of questions answered are printed for each, with the nano alone
beside them, as one JSON object.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import fo1agent
from fo1agent.evaluate import coco, qa, trusting
from fo1agent.evaluate.coco import Matches, Row
from fo1agent.evaluate.progress import track
from fo1agent.model import onnx_arrays as arrays
from fo1agent.model.joined import JoinedPredictor
from fo1agent.pictures.image import LoadedImage
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.kept import Kept
from fo1agent.proposals.trust import Trust
from fo1agent.regions.regions import Regions
from fo1agent.scene import Model
from fo1agent.words import lexicon

_BOXES = 300  # of the detector
_LEAST = 0.003  # score that it tells
_VIEWS = 3


class OwnDetector:
    """The detector in the nano's tower, as a finder.

    Args:
        nano: an `OnnxPredictor`.
        names: its classes, in their order; another order makes a bad detector.
        open_: it takes any words, and looks for those of its names that they mean.
    """

    def __init__(self, nano: Any, names: Sequence[str], open_: bool = False, name: str = "detector") -> None:
        self._nano, self._classes, self._kept = nano, {one: k for k, one in enumerate(names)}, Kept()
        self.name, self.names = name, None if open_ else tuple(names)
        self.trust = Trust(lowers=False)  # as of any detector that is not calibrated

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
        """See `proposals.base.Finder`."""
        boxes, scores = self._kept.get_or_make(image.sha256, lambda: self._look(image))
        return [self._of(image, boxes, scores, phrase) for phrase in phrases]

    def _of(self, image: LoadedImage, boxes: np.ndarray, scores: np.ndarray, phrase: str) -> Regions:
        meant = [self._classes[one] for one in lexicon.resolve(phrase, tuple(self._classes)).names]
        score = scores[:, meant].max(axis=1, initial=0.0)
        said = np.flatnonzero(score > _LEAST)
        return to_regions(image, boxes[said], score[said], [phrase] * len(said), self.name)

    def _look(self, image: LoadedImage) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] and scores [N, 80]: of each class the mean over the views."""
        features = self._nano.encode(image).features
        seen, size_wh = features.candidates, features.sizes.original_wh
        found = np.concatenate(seen.boxes), np.concatenate(seen.logits)
        boxes, _ = arrays.detector_proposals(*found, size_wh, _BOXES)
        pairs = list(zip(seen.boxes, seen.logits, strict=True))
        said = arrays.evidence(pairs, features.sizes.to_fractions(boxes)).reshape(len(boxes), _VIEWS, -1)
        overlap = said[..., -1:]
        scores = (arrays.sigmoid(said[..., :-1] * arrays.SCALE + arrays.FLOOR) * overlap).mean(axis=1)
        return boxes.astype(np.float64), scores


def knows(model: Model, names: Sequence[str]) -> Any:
    """The model's predictor, cut down to some of its names."""
    cut = copy.copy(model.predictor)
    cut.vocabulary = tuple(names)
    return cut


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("questions", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", type=int, help="Only so many pictures of dev.")
@click.option("--fitted-to", type=int, default=120, show_default=True, help="Pictures of train that calibrate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffled labels.")
def main(data: Path, questions: Path, limit: int | None, fitted_to: int, seed: int) -> None:
    """Print one JSON object."""
    start = time.process_time()
    nano = fo1agent.load(engine="onnx")
    names = nano.predictor.vocabulary
    shuffled = list(names)
    random.Random(seed).shuffle(shuffled)
    finders = {
        "good": OwnDetector(nano.predictor, names),
        "shuffled": OwnDetector(nano.predictor, shuffled, name="shuffled"),
        "open": OwnDetector(nano.predictor, names, open_=True, name="open"),
    }
    train = data / "instances_train.json", data / "images" / "train"
    fitted = {name: trusting.calibrate(nano, finders[name], *train, limit=fitted_to) for name in ("good", "shuffled")}
    trust: dict[str, Trust] = {"open": fitted["good"].trust, **{name: one.trust for name, one in fitted.items()}}

    def beside(own: Any, name: str) -> Model:
        finder = finders[name]
        return Model(JoinedPredictor(own, [finder], {finder.name: trust[name]}))

    every_second = names[::2]
    models = {
        "nano": nano,
        "detector alone": beside(trusting.Mute(nano.predictor), "good"),
        "nano + detector": beside(nano.predictor, "good"),
        "nano + shuffled": beside(nano.predictor, "shuffled"),
        "half a nano": Model(knows(nano, every_second)),
        "half a nano + open": beside(knows(nano, every_second), "open"),
    }
    told: dict[str, Any] = {"calibration": {name: one.to_dict() for name, one in fitted.items()}}

    def some(*wanted: str) -> dict[str, Model]:
        return {name: models[name] for name in wanted}

    told["detection"] = detection(some("nano", "detector alone", "nano + detector"), data, limit)
    beside_both = "nano", "nano + detector", "nano + shuffled"
    sets = {"natural": some(*beside_both, "half a nano", "half a nano + open"), "clear": some(*beside_both)}
    for kind, asked in sets.items():
        click.echo(json.dumps(told), err=True)  # what is known so far: the whole takes an hour of a busy machine
        told[kind] = answers(asked, questions / f"{kind}-dev.jsonl", data / "images" / "dev", set(every_second), limit)
    told["cpu_seconds"] = round(time.process_time() - start)
    click.echo(json.dumps(told, indent=1))


def detection(models: Mapping[str, Model], data: Path, limit: int | None) -> dict[str, Any]:
    """AP and AP50 of each model, and of the detector as `eval scores` ranks by it, and what each is more than the
    nano, with the standard error over pictures."""
    truth = coco.read_instances(data / "instances_dev.json")
    records = truth["images"][:limit]
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    inner: Any = models["nano"].predictor
    rows: dict[str, list[Row]] = {name: [] for name in (*models, "detector's term")}
    for record in track(records, len(records), "detecting"):
        for name, model in models.items():
            scene = model.open(data / "images" / "dev" / record["file_name"])
            found = scene.ground_many(list(ids), threshold=0.0)
            rows[name] += coco.best_rows(row for one in found.values() for row in one.to_coco(record["id"], ids))
            if name == "nano":
                rows["detector's term"] += by_term(inner, scene, record["id"], ids)
    seen = [record["id"] for record in records]
    runs = {name: Matches.of(coco.match(truth, own, seen, areas=False)) for name, own in rows.items()}
    draws = coco.bootstrap(list(runs.values()), 300)
    places = list(runs)
    told = {}
    for name, run in runs.items():
        ap, ap50 = run.average_precision()
        gain = coco.difference(list(runs.values()), draws, places.index(name), places.index("nano"))
        told[name] = {
            "AP": round(ap, 2),
            "AP50": round(ap50, 2),
            "more": round(gain.ap, 2),
            "±": round(gain.ap_error, 2),
        }
    return told


def by_term(predictor: Any, scene: Any, image_id: int, ids: Mapping[str, int]) -> list[Row]:
    """Rows of the scene's regions by the detector's term of the match head alone, as `eval scores` makes them."""
    from fo1agent.evaluate.scores import SILENCED, suppress

    (scores,) = predictor.match_without(scene.encoding, list(ids), [SILENCED["the detector alone"]])
    kept, boxes = suppress(scene.encoding.boxes, scores), scene.encoding.boxes
    category = list(ids.values())
    return coco.best_rows(
        coco.result(image_id, category[k], boxes[n].tolist(), float(kept[k, n])) for k, n in np.argwhere(kept > 0)
    )


def answers(
    models: Mapping[str, Model], file: Path, images: Path, known: set[str], limit: int | None
) -> dict[str, dict[str, Any]]:
    """Of each model the percentage of questions answered right: all, and those about things that half a nano does not
    know; and how many changed from right to wrong, and from wrong to right, against the nano."""
    questions = qa.read_questions(file)
    if limit:
        some = set(list(dict.fromkeys(one.image for one in questions))[:limit])
        questions = [one for one in questions if one.image in some]
    by_image: dict[str, list[qa.Question]] = {}
    for question in questions:
        by_image.setdefault(question.image, []).append(question)
    agents = {name: fo1agent.Agent(model) for name, model in models.items()}
    right: dict[str, dict[Any, bool]] = {name: {} for name in models}
    for image, asked in track(by_image.items(), len(by_image), file.stem):
        for name, model in models.items():
            scene = model.open(images / image)
            for question in asked:
                right[name][question.line] = qa.answer(agents[name].ask, scene, question).correct
    inner: Any = models["nano"].predictor
    unknown = [one.line for one in questions if not set(mentioned(one.question, inner.vocabulary)) <= known]
    told = {}
    for name, own in right.items():
        better = sum(own[line] and not right["nano"][line] for line in own)
        worse = sum(right["nano"][line] and not own[line] for line in own)
        told[name] = {
            "right": round(100 * float(np.mean(list(own.values()))), 1),
            "of unknown things": round(100 * float(np.mean([own[line] for line in unknown])), 1) if unknown else None,
            "better": better,
            "worse": worse,
        }
    return {"questions": {"all": len(questions), "of unknown things": len(unknown)}, **told}


def mentioned(question: str, vocabulary: Sequence[str]) -> list[str]:
    """The names that a question speaks of."""
    from fo1agent.words.phrases import mentions

    return mentions(question, tuple(vocabulary))


if __name__ == "__main__":
    main()
