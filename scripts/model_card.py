"""Write the pictures and figures of a model card.

    python scripts/model_card.py OUT --instances FILE.json --images DIR [--model FOLDER] [--existence FILE.jsonl]
        [--run RUN_FOLDER]... [--resamples N] [--limit N]

Into OUT go
    figures.json, figures.md   what `fo1agent eval regions` and `eval scores` measure
    curves.png                 losses of each `--run` (a folder with log.jsonl), in the order given
    reliability.png            are scores probabilities?
    confusion.png              the classes that are most often called something else
    failure1.png, …            the worst mistakes, with failures.md, which says what they are
Each picture is under 300 kB. Of a data set only photographs under CC BY are shown (licence 4 in COCO's numbering,
`license` in the image records), three at most; where they come from stands in failures.md, which must go with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from fo1agent.agent.loop import Agent
from fo1agent.cli import console
from fo1agent.evaluate import plots, regions, scores
from fo1agent.loading import load
from fo1agent.pictures.drawing import draw
from fo1agent.regions.boxes import areas, coverage, iou
from fo1agent.regions.regions import Region
from fo1agent.scene import SAME_THING_IOU, Model

FILE_IN = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER_IN = click.Path(exists=True, file_okay=False, path_type=Path)

MOST_BYTES = 300_000  # of a picture
CC_BY = 4  # in COCO's list of licences
PHOTOGRAPHS = 3
GALLERY_SIDE = 560  # longer side of a photograph, pixels
CONFUSED = 20  # classes in the confusion picture
NOT_LOSSES = {"step", "epoch", "lr", "grad_norm", "steps_per_second", "seconds", "metrics", "time"}


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--instances", type=FILE_IN, required=True, help="COCO instances of the pictures to measure on.")
@click.option("--images", type=FOLDER_IN, required=True, help="The folder of these pictures.")
@click.option("--model", "name", default=None, help="A model's folder; the embedded fo1-nano if absent.")
@click.option("--existence", type=FILE_IN, default=None, help="Yes/no questions about these pictures, JSON lines.")
@click.option("--run", "runs", type=FOLDER_IN, multiple=True, help="A training run's folder; may be given again.")
@click.option("--resamples", default=scores.RESAMPLES, show_default=True, help="Draws for the ± figures.")
@click.option("--limit", type=int, default=None, help="Only the first N pictures.")
def main(
    out: Path,
    instances: Path,
    images: Path,
    name: str | None,
    existence: Path | None,
    runs: tuple[Path, ...],
    resamples: int,
    limit: int | None,
) -> None:
    """Write the pictures and figures of a model card into OUT."""
    out.mkdir(parents=True, exist_ok=True)
    model = load(name)
    named = regions.evaluate(model, instances, images, limit=limit)
    scored = scores.evaluate(
        model, instances, images, existence=existence, ask=Agent(model).ask, resamples=resamples, limit=limit
    )
    figures = {"model": model.name, "regions": named.to_dict(), "scores": scored.to_dict()}
    write(out / "figures.json", json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    write(out / "figures.md", table(named, scored))
    save(plots.reliability(scored.bins, scored.calibration_error), out / "reliability.png")
    save(confusion(named), out / "confusion.png")
    if runs:
        save(curves(runs), out / "curves.png")
    write(out / "failures.md", gallery(model, scored, images, out))


# --- figures -----------------------------------------------------------------------------------------------------


def table(named: regions.RegionsReport, scored: scores.ScoresReport) -> str:
    """Everything that fits in a line, as a markdown table."""
    d = scored.detection
    rows = [
        ("AP / AP50 / AP75", f"{d.ap:.1f} / {d.ap50:.1f} / {d.ap75:.1f}"),
        ("AP small / medium / large", f"{d.ap_small:.1f} / {d.ap_medium:.1f} / {d.ap_large:.1f}"),
        ("recall@100 at IoU .5 / .75", f"{d.recall50:.1f} / {d.recall75:.1f}"),
    ]
    for judge, words in (
        ("labels", "naming true boxes"),
        ("words", "the same in the language model's own words"),
        ("first_words", "its first words"),
    ):
        every, large = (
            f"{named.accuracy(judge, large=x):.1f} / {named.class_mean(judge, large=x):.1f}" for x in (False, True)
        )
        rows.append((f"{words}: all / mean over classes", f"{every} %"))
        rows.append((f"{words}, boxes over {regions.LARGE:.0%} of the picture", f"{large} %"))
    for name, ranking in scored.rankings.items():
        rows.append((f"AP ranked by {name}; what the scores gain over it", f"{ranking.ap:.1f}; {ranking.gain}"))
    if scored.existence:
        right = 100 * np.mean([outcome.correct for outcome in scored.existence])
        rows.append((f"yes/no existence ({len(scored.existence)})", f"{right:.1f} %"))
    rows.append(("false regions per absent class", f"{scored.false_per_absent:.3f}"))
    regions_counted = sum(b.regions for b in scored.bins)
    error = f"{scored.calibration_error:.3f}"
    rows.append((f"calibration error, {regions_counted} regions that score {scores.LEAST_SCORE} or more", error))
    lines = ["| | |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in rows)]
    return "\n".join(lines) + "\n"


# --- training curves ---------------------------------------------------------------------------------------------


def curves(runs: Sequence[Path]) -> Image.Image:
    """Two charts a run: its losses, and its learning rate and figures on held-back data where it logged some."""
    charts = []
    for run in runs:
        losses, metrics = read_log(run / "log.jsonl")
        charts.append(plots.curves(losses, f"{run.name}: losses"))
        if metrics:
            charts.append(plots.curves(metrics, f"{run.name}: on held-back data"))
    return plots.stack(charts, columns=2 if len(charts) > 1 else 1)


Series = dict[str, tuple[list[float], list[float]]]


def read_log(file: Path) -> tuple[Series, Series]:
    """Losses and metrics by name, each as steps and values.

    Raises:
        click.ClickException: there is no log, or a line of it is not JSON.
    """
    losses: Series = {}
    metrics: Series = {}
    try:
        records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as exc:
        raise click.ClickException(f"{file}: not a training log ({exc}).") from exc
    for record in records:
        for name, value in record.items():
            if name not in NOT_LOSSES and isinstance(value, (int, float)):
                _add(losses, name, record["step"], value)
        for name, value in record.get("metrics", {}).items():
            if isinstance(value, (int, float)):
                _add(metrics, name, record["step"], value)
    return losses, metrics


def _add(series: Series, name: str, step: float, value: float) -> None:
    steps, values = series.setdefault(name, ([], []))
    steps.append(step)
    values.append(value)


# --- confusions --------------------------------------------------------------------------------------------------


def confusion(named: regions.RegionsReport) -> Image.Image:
    """The classes with the most boxes called something else, and the names that these get; the rest as "other"."""
    wrong: dict[str, int] = {}
    said: dict[str, int] = {}
    for (name, called), number in named.confusions().items():
        wrong[name] = wrong.get(name, 0) + number
        said[called] = said.get(called, 0) + number
    rows = sorted(wrong, key=lambda name: -wrong[name])[:CONFUSED]
    # The same order across and down, so that what is right stands on the diagonal; then other frequent answers.
    columns = [*rows, *[name for name in sorted(said, key=lambda name: -said[name]) if name not in rows][:4], "other"]
    counts = np.zeros((len(rows), len(columns)))
    for box in named.boxes:
        if box.name in rows:
            called = str(box.label)
            counts[rows.index(box.name), columns.index(called) if called in columns else -1] += 1
    title = f"What boxes are called, in percent of their row: the {len(rows)} classes most often called something else"
    return plots.confusion(rows, counts, title, columns)


# --- failures ----------------------------------------------------------------------------------------------------


@dataclass
class Failures:
    """A photograph's mistakes.

    Attributes:
        record: of the instances file.
        false: regions that are found and are not there, best score first.
        missed: true boxes that are not found, largest first.
    """

    record: Mapping[str, Any]
    false: list[Region] = field(default_factory=list)
    missed: list[Region] = field(default_factory=list)

    @property
    def badness(self) -> float:
        """How bad they are: the sure ones and the large ones count most."""
        size = math.sqrt(self.record["width"] * self.record["height"])
        sides = sorted((math.sqrt(region.area) / size for region in self.missed), reverse=True)
        return sum(r.score for r in self.false[:3]) + sum(sides[:3])


def gallery(model: Model, scored: scores.ScoresReport, images: Path, out: Path) -> str:
    """Draw the worst photographs that may be shown; returns their captions and where they come from."""
    for old in out.glob("failure*.png"):
        old.unlink()
    allowed = [record for record in scored.run.records if record.get("license") == CC_BY and record.get("flickr_url")]
    found = sorted(
        (failures(record, scored, model.predictor.thresholds["ground"]) for record in allowed), key=lambda f: -f.badness
    )
    lines = ["# Failures", ""]
    for k, worst in enumerate(found[:PHOTOGRAPHS], start=1):
        false, missed = worst.false[:4], worst.missed[:4]
        with Image.open(images / worst.record["file_name"]) as picture:
            drawn = draw(picture, [*false, *missed], max_side=GALLERY_SIDE)
        save(drawn, out / f"failure{k}.png")
        lines += [
            f"![{_spoken('found', false)} {_spoken('missed', missed)}](failure{k}.png)",
            "",
            f"{_spoken('Found, and not there:', false)} {_spoken('There, and missed:', missed)}".strip(),
            "",
            f"Photograph: {worst.record['flickr_url']}, Creative Commons Attribution 2.0 "
            "(https://creativecommons.org/licenses/by/2.0/), boxes drawn on it.",
            "",
        ]
    if not found:
        lines.append("No photograph of this data may be shown.")
    return "\n".join(lines).rstrip() + "\n"


def failures(record: Mapping[str, Any], scored: scores.ScoresReport, threshold: float) -> Failures:
    """Compare what was found in a photograph with what is there, each mistake once."""
    names = {category["id"]: category["name"] for category in scored.run.truth["categories"]}
    truths = [row for row in scored.run.truth["annotations"] if row["image_id"] == record["id"]]
    answers = [r for r in scored.run.detections if r["image_id"] == record["id"] and r["score"] >= threshold]
    true_boxes, boxes = _xyxy(truths), _xyxy(answers)
    overlap = iou(boxes, true_boxes)
    same = np.array([[a["category_id"] == t["category_id"] for t in truths] for a in answers], dtype=bool)
    same = same.reshape(len(answers), len(truths))
    crowd = np.array([bool(t["iscrowd"]) for t in truths], dtype=bool)
    claimed = np.zeros(len(truths), dtype=bool)
    result = Failures(record)
    for n in np.argsort([-a["score"] for a in answers], kind="stable"):
        fits = same[n] & ~crowd & ~claimed & (overlap[n] > 0.5)
        if fits.any():
            claimed[int(np.where(fits, overlap[n], 0).argmax())] = True
            continue
        inside = coverage(boxes[n : n + 1], true_boxes)[0]
        # A box of the right thing, only drawn badly, or one of a crowd, is not what a gallery should show.
        if (same[n] & ((overlap[n] > 0.1) | (crowd & (inside > 0.5)))).any():
            continue
        result.false.append(
            Region(f"img_0/r{n}", _box(boxes[n]), answers[n]["score"], names[answers[n]["category_id"]], "fo1")
        )
    for k in np.argsort(-areas(true_boxes), kind="stable"):
        near = same[:, k] & (overlap[:, k] > SAME_THING_IOU)
        if not claimed[k] and not crowd[k] and not near.any():
            label = f"missed {names[truths[k]['category_id']]}"
            result.missed.append(Region(f"img_0/b{k}", _box(true_boxes[k]), 1.0, label, "given"))
    return result


def _xyxy(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _box(box: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2


def _spoken(what: str, found: Iterable[Region]) -> str:
    names = [
        f"{str(r.label).removeprefix('missed ')}" + (f" {r.score:.2f}" if r.source == "fo1" else "") for r in found
    ]
    return f"{what} {', '.join(names)}." if names else ""


# --- files -------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """A text file, whole."""
    with console.whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save(image: Image.Image, path: Path) -> None:
    """A PNG of less than `MOST_BYTES`: in fewer colours, then smaller, until it is."""
    for colors, scale in ((0, 1.0), (256, 1.0), (128, 1.0), (128, 0.8), (64, 0.6), (32, 0.4)):
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        made = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        made = made.quantize(colors, dither=Image.Dither.FLOYDSTEINBERG) if colors else made
        with console.whole_file(path) as temporary:
            made.save(temporary, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
    raise click.ClickException(f"{path} cannot be made smaller than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main()
