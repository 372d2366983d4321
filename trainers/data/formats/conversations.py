"""Conversations about a picture: VLM-FO1's lines with boxes, and LLaVA's JSON without.

    {"id": "1", "image": "a.jpg", "bbox_list": [[x1, y1, x2, y2], …],
     "conversations": [{"from": "human", "value": "<image>\\nWhat is <region0>?"}, {"from": "gpt", "value": "A cup."}]}

A file is one object a line, or one array of them. `<regionK>` is box K of `bbox_list`, from 0. `<image>` is where the
picture goes; our prompts place it themselves, so it is taken out. Records without a picture, which LLaVA's mixture has
many of, are passed over unless they are asked for; those with several are bad. `{"role": "user", "content": …}` in
`messages` is read as well, also where the content is a list of parts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fo1agent.errors import DataError
from fo1agent.trainers.data.formats import fields
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.source import Source, SourceRecipe, first_record, record_source
from fo1agent.trainers.data.records import Example, Turn

IMAGE = "<image>"
_ASKS, _REPLIES, _SYSTEM = ("human", "user"), ("gpt", "assistant", "model"), ("system",)


def looks_like(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".jsonl", ".json"):
        return False
    record = first_record(path)
    return isinstance(record.get("conversations", record.get("messages")), list)


def open_source(recipe: SourceRecipe) -> Source:
    """Pictures with what was said about them, from lines or from an array of such objects."""
    return record_source(recipe, partial(_example, words_alone=recipe.words_alone), "xyxy")


def turns_of(messages: Any, count: int) -> tuple[Turn, ...]:
    """Questions and replies of a list of messages about a picture with `count` boxes.

    Raises:
        DataError: they do not alternate, are not text, or name a region that is not there.
    """
    if not fields.objects(messages, "conversations"):
        raise DataError("conversations is empty; wanted a list of messages")
    said: list[str] = []
    for message in messages:
        who = message["from"] if "from" in message else message["role"]
        what = message["value"] if "value" in message else message["content"]
        if who in _SYSTEM:
            continue
        if isinstance(what, list):  # of parts; the picture's needs no sign
            what = "\n".join(part["text"] for part in fields.objects(what, "value") if part["type"] == "text")
        if not isinstance(what, str):
            raise DataError(f"a message of {who!r} is {what!r:.60}; wanted text")
        if who not in (_REPLIES if len(said) % 2 else _ASKS):
            raise DataError(f"message {len(said)} is from {who!r}; wanted human and gpt in turn")
        fields.check_regions(what, count)
        said.append(what.replace(IMAGE, "").strip())
    if len(said) % 2 or not said:
        raise DataError(f"{len(said)} messages; wanted a reply to each question")
    if not all(said[1::2]):
        raise DataError("a reply is empty")
    return tuple(Turn(said[k], said[k + 1]) for k in range(0, len(said), 2))


def _example(record: dict[str, Any], source: str, images: Path, words_alone: bool, reader: BoxReader) -> Example | None:
    name = record.get("image", record.get("images"))
    if isinstance(name, list):
        if len(name) > 1:
            raise DataError(f"has {len(name)} pictures; wanted one")
        name = name[0] if name else None
    if name is None and not words_alone:
        return None
    path = None if name is None else fields.picture_path(images, name)
    width, height = (0, 0) if path is None else fields.size_of(record, path)
    rows = record.get("bbox_list") or []
    boxes = reader.read(rows, width, height, "bbox_list[{}]".format)
    if len(boxes.kept) < len(rows):
        k = next(k for k in range(len(rows)) if k not in boxes.kept)
        raise DataError(f"bbox_list[{k}] = {rows[k]!r:.60} has no area inside {width} x {height} pixels")
    messages = record["conversations"] if "conversations" in record else record["messages"]
    key = fields.identity(record.get("id", name or source))
    return boxes.example(key, path, (width, height), source, turns=turns_of(messages, len(rows)))
