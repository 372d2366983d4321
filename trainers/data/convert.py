"""Writes a source anew in another format, whole or not at all, and says what that format has no place for.

Every target is a folder: `examples.jsonl` with its names, `instances.json` (and `captions.json`), a YOLO folder,
`conversations.jsonl`, or shards. The source is read twice, once to see what it holds, once to write, so memory stays
flat.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from fo1agent.errors import DataError, InputError
from fo1agent.prompts.loader import render
from fo1agent.prompts.reply import grounded
from fo1agent.trainers.data.files import whole
from fo1agent.trainers.data.formats.conversations import IMAGE
from fo1agent.trainers.data.formats.examples import write_examples
from fo1agent.trainers.data.formats.shards import encoded, suffix_of, write_shards
from fo1agent.trainers.data.formats.source import Source
from fo1agent.trainers.data.records import Example, Turn

TARGETS = ("examples", "coco", "yolo", "conversations", "shards")
PER_SHARD = 1000
_DESCRIBE = "Describe this image in one sentence."


@dataclass
class Converted:
    """What was written, how much of what was left out, because the format has no place for it, and what it now says
    that the source did not; `held_out` of the examples are in the part called val."""

    target: str
    out: str
    examples: int = 0
    bad: int = 0
    held_out: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    note: str = ""


def convert(source: Source, target: str, out: str | Path, copy: bool = False, val: float | None = None) -> Converted:
    """Write a source's good examples to the new folder `out`.

    Args:
        source: read as often as needed.
        target: one of `TARGETS`.
        out: the folder to make.
        copy: put the pictures into it too; otherwise files name them where they lie, by whole paths. YOLO folders and
            shards always hold them, as does any folder those that come out of archives.
        val: for `yolo`: share of the pictures to hold out, the same ones every time; at least one is, and at least one
            is not. None to name the training pictures as `val` too, for its trainers want one.

    Raises:
        InputError: no such target, or a share that is none, or of another target.
        DataError: the source has too many bad records or nothing to write, a picture is missing, or `out` cannot be
            written.
    """
    if target not in TARGETS:
        raise InputError(f"No format {target!r} to write. Known: {', '.join(TARGETS)}.")
    if val is not None and (target != "yolo" or not 0 < val < 1):
        raise InputError(f"val is a share between 0 and 1 for yolo, got {val:g} for {target}.")
    survey = _survey(source)
    if not survey.count:
        raise DataError(f"{source.name}: no examples to write. {(source.problems.first or ['It is empty.'])[0]}")
    if target == "yolo" and not survey.names:
        raise DataError(f"{source.name}: no box has a label, so a YOLO folder would have nothing to name.")
    held_out = None
    if val is not None:
        if len(survey.draws) < 2:
            raise DataError(f"{source.name}: one picture; to hold some out as val takes two.")
        # At least one on either side: the lowest draw is held out, the highest is not.
        held_out = min(max(val, min(survey.draws)), max(survey.draws - {max(survey.draws)}))
    report = Converted(target, str(out), left_out=_left_out(target, survey))
    notes = []
    if target == "yolo" and not survey.exhaustive:
        notes.append("in a YOLO folder, names without a box count as absent; the source does not say that they are")
    if target == "yolo" and val is None:
        notes.append("val is the same pictures as train; --val 0.1 would hold out a tenth of them")
    if target == "shards":
        report.examples = write_shards(out, source, PER_SHARD, survey.vocabulary)
    else:
        with whole(out) as folder:
            folder.mkdir()
            writer = {"examples": _examples, "coco": _coco, "conversations": _conversations}.get(target)
            if writer is not None:
                report.examples = writer(source, survey, folder, copy)
            else:
                report.examples, report.held_out = _yolo(source, survey, folder, held_out)
            if not report.examples:
                raise DataError(f"{source.name}: nothing to say in {target}: no turns, and no names, phrases or texts.")
    report.bad = source.problems.bad
    report.note = "; ".join(notes)
    return report


@dataclass
class _Survey:
    """What a source holds.

    Attributes:
        count: examples.
        names: of all boxes and absences, those of the source's vocabulary first.
        exhaustive: every name without a box is absent, in every picture.
        numbered: ids are whole numbers, no two the same.
        held: how much there is of each kind of thing.
        draws: a number from 0 to 1 for each picture, which its name decides.
    """

    count: int
    names: tuple[str, ...]
    exhaustive: bool
    numbered: bool
    held: Counter[str]
    draws: set[float]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names, if each may stand for absence where no box carries it, and on a line of its own."""
        lines = all(name.strip() and name.splitlines() == [name] for name in self.names)
        return self.names if self.exhaustive and lines else ()


def _survey(source: Source) -> _Survey:
    names = dict.fromkeys(source.vocabulary)
    held: Counter[str] = Counter()
    ids: set[int] = set()
    draws: set[float] = set()
    count, numbered, sizes = 0, True, set()
    for example in source:
        draws.add(_draw(example, count))
        count += 1
        names.update(dict.fromkeys(label for label in example.labels if label))
        names.update(dict.fromkeys(example.absent))
        numbered = numbered and type(example.id) is int and example.id not in ids
        if numbered:
            ids.add(int(example.id))
        sizes.add(len({label for label in example.labels if label} | set(example.absent)))
        labelled = sum(bool(label) for label in example.labels)
        held.update(
            {
                "boxes": len(example.boxes),
                "unlabelled": len(example.boxes) - labelled,
                "crowd": int(example.crowd.sum()),
                "captions": len(example.captions),
                "absent": len(example.absent),
                "phrases": len(example.phrases),
                "texts": sum(text is not None for text in example.texts),
                "turns": len(example.turns),
            }
        )
    exhaustive = bool(names) and sizes == {len(names)}
    return _Survey(count, tuple(names), exhaustive, numbered, held, draws)


def _draw(example: Example, number: int) -> float:
    """A number from 0 to 1 by the picture's name, so that another run, or another machine, holds out the same."""
    name = example.path.name if example.path is not None else f"{example.id} {number}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def _left_out(target: str, survey: _Survey) -> dict[str, int]:
    lost = {
        "examples": (),
        "shards": (),
        "coco": ("unlabelled", "phrases", "texts", "turns"),
        "yolo": ("unlabelled", "crowd", "captions", "phrases", "texts", "turns"),
        "conversations": ("crowd", "absent"),
    }[target]
    return {what: survey.held[what] for what in lost if survey.held[what]}


class _Pictures:
    """Puts pictures into the new folder, or names them where they are; each gets a name of its own."""

    def __init__(self, folder: Path, copy: bool) -> None:
        self.folder, self.copy = folder, copy
        # By stem, for labels of a.jpg and a.png would be one file, and without case, for A.jpg and a.jpg would be one
        # on many machines: where the picture came from, and what it is called.
        self._used: dict[str, tuple[str | None, str]] = {}

    def name_of(self, example: Example, number: int, under: str = "images") -> str:
        """What a file in the folder calls the picture."""
        if example.path is not None and not self.copy:
            return str(example.path.absolute())
        data = None if example.path else encoded(example)
        name = example.path.name if example.path else f"{number:06d}{suffix_of(data or b'')}"
        origin = str(example.path) if example.path else None
        stem = Path(name).stem.casefold()
        if stem in self._used:
            before, placed = self._used[stem]
            if origin is not None and before == origin:
                return placed  # several examples of one picture
            name = f"{number:06d}_{name}"
        placed = f"{under}/{name}"
        self._used[Path(name).stem.casefold()] = origin, placed
        target = self.folder / placed
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encoded(example) if data is None else data)
        return placed


def _examples(source: Source, survey: _Survey, folder: Path, copy: bool) -> int:
    pictures = _Pictures(folder, copy)

    def placed() -> Iterator[Example]:
        for number, example in enumerate(source):
            name = pictures.name_of(example, number)
            yield replace(example, path=folder / name, data=None)

    return write_examples(folder / "examples.jsonl", placed(), vocabulary=survey.vocabulary)


def _coco(source: Source, survey: _Survey, folder: Path, copy: bool) -> int:
    pictures, number_of = _Pictures(folder, copy), {name: k for k, name in enumerate(survey.names, start=1)}
    parts = {name: folder / f".{name}" for name in ("images", "annotations", "captions")}  # records, one a line
    boxes = captions = count = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(part, "w", encoding="utf-8")) for name, part in parts.items()}
        for count, example in enumerate(source, start=1):
            identity = int(example.id) if survey.numbered else count
            record: dict[str, Any] = {
                "id": identity,
                "file_name": pictures.name_of(example, count),
                "width": example.width,
                "height": example.height,
            }
            if not survey.exhaustive:
                record["neg_category_ids"] = [number_of[name] for name in example.absent]
            _add(files["images"], record)
            for k, (x1, y1, x2, y2) in enumerate(_plain(example.boxes)):
                if example.labels[k]:
                    boxes += 1
                    w, h = round(x2 - x1, 4), round(y2 - y1, 4)
                    annotation = {
                        "id": boxes,
                        "image_id": identity,
                        "category_id": number_of[example.labels[k]],
                        "bbox": [x1, y1, w, h],
                        "area": round(w * h, 4),
                        "iscrowd": int(example.crowd[k]),
                    }
                    _add(files["annotations"], annotation)
            for sentence in example.captions:
                captions += 1
                _add(files["captions"], {"id": captions, "image_id": identity, "caption": sentence})
    categories = [json.dumps({"id": k, "name": name}, ensure_ascii=False) for name, k in number_of.items()]
    lists = {"images": parts["images"], "categories": categories, "annotations": parts["annotations"]}
    _join(folder / "instances.json", lists)
    if captions:
        _join(folder / "captions.json", {"images": parts["images"], "annotations": parts["captions"]})
    for part in parts.values():
        part.unlink()
    return count


def _add(file: TextIO, record: Any) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _join(file: Path, lists: Mapping[str, Path | Sequence[str]]) -> None:
    """One JSON object of lists, whose records stand one a line in files, or are given."""
    with ExitStack() as stack, open(file, "w", encoding="utf-8") as target:
        for sign, (key, part) in zip(chain("{", repeat(", ")), lists.items(), strict=False):
            lines = stack.enter_context(open(part, encoding="utf-8")) if isinstance(part, Path) else part
            target.write(f'{sign}"{key}": [')
            for between, line in zip(chain("\n", repeat(",\n")), lines, strict=False):
                target.write(between + line.rstrip("\n"))
            target.write("\n]")
        target.write("}\n")


def _yolo(source: Source, survey: _Survey, folder: Path, held_out: float | None) -> tuple[int, int]:
    """How many examples were written, and how many of them are held out: those whose draw is at most `held_out`."""
    pictures = _Pictures(folder, copy=True)
    number_of = {name: k for k, name in enumerate(survey.names)}
    parts = {"train": "images/train", "val": "images/train" if held_out is None else "images/val"}
    for place in set(parts.values()):
        (folder / place.replace("images", "labels")).mkdir(parents=True)
    count = away = 0
    for count, example in enumerate(source, start=1):
        part = "train" if held_out is None or _draw(example, count - 1) > held_out else "val"
        away += part == "val"
        name = pictures.name_of(example, count, parts[part])
        size = np.array([example.width, example.height] * 2)
        lines = []
        for k, (x1, y1, x2, y2) in enumerate((example.boxes.astype(np.float64) / size).tolist()):
            if example.labels[k] and not example.crowd[k]:
                row = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
                lines.append(" ".join([str(number_of[example.labels[k]]), *(f"{v:.8g}" for v in row)]))
        labels = folder / Path(name.replace("images", "labels", 1)).with_suffix(".txt")
        with open(labels, "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)  # added: several examples may share a picture
    settings = {**parts, "names": dict(enumerate(survey.names))}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return count, away


def _conversations(source: Source, survey: _Survey, folder: Path, copy: bool) -> int:
    pictures, count = _Pictures(folder, copy), 0
    with open(folder / "conversations.jsonl", "w", encoding="utf-8") as file:
        for number, example in enumerate(source, start=1):
            turns = example.turns or tuple(_made(example))
            if not turns:
                continue
            said = [(who, what) for turn in turns for who, what in (("human", turn.question), ("gpt", turn.reply))]
            said[0] = ("human", f"{IMAGE}\n{said[0][1]}")
            record = {
                "id": example.id,
                "image": pictures.name_of(example, number),
                "width": example.width,
                "height": example.height,
                "bbox_list": _plain(example.boxes),
                "conversations": [{"from": who, "value": what} for who, what in said],
            }
            _add(file, record)
            count += 1
    return count


def _made(example: Example) -> Iterator[Turn]:
    """Turns for an example that has none, from what is known of its boxes."""
    real = [k for k in range(len(example.boxes)) if not example.crowd[k]]
    names = list(dict.fromkeys(example.labels[k] for k in real if example.labels[k] and not example.texts))
    if names:
        found = "".join(grounded(name, [k for k in real if example.labels[k] == name]) for name in names)
        yield Turn(render("od", "; ".join(names)), found)
    for phrase in example.phrases:
        yield Turn(render("rec", phrase.text), grounded(phrase.text, phrase.boxes))
    for k, written in enumerate(example.texts):
        if written is not None:
            yield Turn(render("region_ocr", f"<region{k}>"), written)
    if example.captions:
        yield Turn(_DESCRIBE, example.captions[0])


def _plain(boxes: np.ndarray) -> list[list[float]]:
    # The shortest digits that give the same float32 again.
    return [[float(str(v)) for v in row] for row in np.asarray(boxes, np.float32)]
