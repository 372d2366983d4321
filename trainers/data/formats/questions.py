"""Questions with their answers, counts, statements and pairs of captions: one JSON object a line.

    {"file_name": "a.jpg", "question": "Is there a dog?", "answer": "yes"}          or "answers": ["yes", "yes", "no"]
    {"file_name": "a.jpg", "question": "What tells the time?", "bbox": [x, y, width, height]}
    {"file_name": "a.jpg", "category": "dog", "answer": 2, "boxes": [[x, y, width, height], …]}
    {"file_name": "a.jpg", "text": "The dog is left of the cat.", "label": true}
    {"file_name": "a.jpg", "positive": "A white dog.", "negative": "A black dog."}

Each line is an example of its own, with a turn, or, where the answer is a place, a phrase with its box. Lines of
different kinds may stand in one file. `width` and `height` are used if a line has them, or else read from the picture.
"""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, first_record, record_source
from fo1agent.trainers.data.records import Example, Reference, Turn
from fo1agent.words import lexicon


def looks_like(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".jsonl", ".json"):
        return False
    record = first_record(path)
    return fields.picture_of(record) is not None and any(
        record.keys() >= keys
        for keys in (
            {"question", "answer"},
            {"question", "answers"},
            {"question", "bbox"},
            {"category", "answer"},
            {"text", "label"},
            {"positive", "negative"},
        )
    )


def open_source(recipe: SourceRecipe) -> Source:
    """The questions of a file of lines, or of a `.json` that holds an array of such objects."""
    return record_source(recipe, _example, "xywh")


def _example(record: dict[str, Any], source: str, images: Path, reader: BoxReader) -> Example:
    path = fields.picture_path(images, fields.picture_name(record))
    width, height = fields.size_of(record, path)
    rows: list[Any] = []
    label, absent, phrases, turns = "", (), (), ()
    if "category" in record:
        label = fields.text(record["category"], "category")
        answer = record["answer"]
        rows = fields.items(record.get("boxes") or [], "boxes")
        if type(answer) is not int or answer < 0 or (rows and len(rows) != answer):
            raise DataError(f"the answer is {answer!r}, with {len(rows)} boxes; wanted their number")
        turns = (Turn(f"How many {lexicon.plural(label)} are there?", str(answer)),)
        absent = (label,) if answer == 0 else ()
    elif "bbox" in record:
        rows = [record["bbox"]]
        phrases = (Reference(fields.text(record["question"], "question"), (0,)),)
    elif "question" in record:
        answer = record["answer"] if "answer" in record else _most(record["answers"])
        turns = (Turn(fields.text(record["question"], "question"), _words(answer)),)
    elif "positive" in record:
        turns = (_choice(fields.text(record["positive"], "positive"), fields.text(record["negative"], "negative")),)
    elif "label" in record:
        if not isinstance(record["label"], bool):
            raise DataError(f"label is {record['label']!r:.60}; wanted true or false")
        turns = (
            Turn(f"True or false? {fields.text(record['text'], 'text')}", "True." if record["label"] else "False."),
        )
    else:
        raise DataError("has no question, category, label or positive")
    boxes = reader.read(rows, width, height, "bbox {}".format)
    if len(boxes.kept) < len(rows):
        raise DataError("a box lies outside the picture")
    name = fields.identity(record.get("image_id", record.get("id", path.name)))
    labels = [label] * len(rows)
    return boxes.example(name, path, (width, height), source, labels, absent=absent, phrases=phrases, turns=turns)


def _choice(right: str, wrong: str) -> Turn:
    # Which one comes first depends on the words alone, so that a run can be repeated, and on nothing that tells.
    first, second = (right, wrong) if zlib.crc32(f"{right}\n{wrong}".encode()) & 1 else (wrong, right)
    return Turn(f"Which of these sentences fits the picture?\n1. {first}\n2. {second}", right)


def _most(answers: Any) -> Any:
    """The answer that most people gave: of a list of texts, or of VQA's list of objects."""
    if not isinstance(answers, list) or not answers:
        raise DataError(f"answers is {answers!r:.60}; wanted a list")
    given = [answer["answer"] if isinstance(answer, dict) else answer for answer in answers]
    return Counter(_words(answer) for answer in given).most_common(1)[0][0]


def _words(answer: Any) -> str:
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer) if isinstance(answer, int | float) else fields.text(answer, "answer")
