"""What two true boxes tell of relations that people state: "The cat is on the chair", "a man sitting on a bench".

    .venv/bin/python benchmarks/relations.py INSTANCES.json STATEMENTS.jsonl CAPTIONS.jsonl

Statements (VSR) are true or false; a name has all its boxes, and one pair of boxes in relation is enough. Captions say
what is true only. For `on`, they also tell what is rather not so: that the bench is on the man, and that he is on it
where they say that he is next to, near, before, behind or under it and none says on. Some of these are so all the same
(who sits on a bench is near it), so the false ones are counted too high, and equally so for each rule.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fo1agent.regions.regions import Region, Regions
from fo1agent.regions.relations import related
from fo1agent.trainers.data.coco import load_captions, load_coco
from fo1agent.words import lexicon

_STATED: Mapping[str, str] = {
    "on": "on",
    "on top of": "on",
    "in": "inside",
    "inside": "inside",
    "contains": "contains",
    "surrounding": "contains",
    "above": "above",
    "over": "above",
    "below": "below",
    "under": "below",
    "beneath": "below",
    "next to": "next_to",
    "beside": "next_to",
    "adjacent to": "next_to",
    "alongside": "next_to",
    "at the side of": "next_to",
    "near": "near",
    "by": "near",
    "close to": "near",
    "touching": "overlaps",
    "left of": "left_of",
    "at the left side of": "left_of",
    "right of": "right_of",
    "at the right side of": "right_of",
}
_SAID: Mapping[str, str] = {
    "on": "on top of|on|upon|onto|atop|aboard|riding|rides",
    "beside": "next to|beside|alongside|near|by|close to|in front of|behind|under|underneath|below|beneath",
    "other": "in|inside|into|above|over",
}
_BETWEEN = (
    r"(?:(?:is|are|sitting|sits|sit|seated|standing|stands|stand|laying|lays|lying|lies|lay|resting|rests|sleeping|"
    r"sleeps|asleep|curled|perched|perches|placed|posing|parked|relaxing|relaxes|leaning|together|up|down|back|out|that|"
    r"which|while|walking|walks|set|sat|riding|rides|ridden|jumping|hanging)\s+){0,4}"
)
_ARTICLE = r"(?:(?:an?|the|his|her|their|its|some|two|three|each|one|another)\s+)?"
_SENTENCE = {
    relation: re.compile(rf"\b((?:[a-z-]+ )?[a-z-]+) {_BETWEEN}(?:{words}) {_ARTICLE}((?:[a-z-]+ ){{0,2}}[a-z-]+)")
    for relation, words in _SAID.items()
}
_NAME_ENDS = re.compile(
    r"\b(?:and|with|next|near|in|at|by|while|of|on|to|for|from|behind|under|beside|that|which|who|as|an?|the|his|her|their)"
    r"\b.*"
)
# "On a cell phone", "on the person", "a field with kites": said otherwise than of what carries something.
_CARRIES_NOTHING = frozenset({"person", "kite", "cell phone", "orange"})

Found = Mapping[str, Regions]


@click.command()
@click.argument("instances", type=click.Path(exists=True, path_type=Path))
@click.argument("statements", type=click.Path(exists=True, path_type=Path))
@click.argument("captions", type=click.Path(exists=True, path_type=Path))
def main(instances: Path, statements: Path, captions: Path) -> None:
    """Print one JSON object: for each relation how many of the true and of the false statements come out as they are,
    and for `on` how many pairs that captions put on each other, the wrong way round, or beside each other, are on."""
    data = load_coco(instances, instances.parent)
    boxes = {
        example.id: {
            name: Regions.from_list(
                [
                    Region(str(k), tuple(box), 1.0, name)
                    for k, (box, label) in enumerate(zip(example.boxes.tolist(), example.labels, strict=True))
                    if label == name
                ]
            )
            for name in set(example.labels)
        }
        for example in data
    }
    stated: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for line in statements.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        relation, found = _STATED.get(record["relation"]), boxes.get(record["image_id"], {})
        names = named_in(record["text"], record["relation"])
        if relation and names and set(names) <= set(found):
            holds = bool(related(relation, found[names[0]], found[names[1]]).any())
            stated[relation]["true" if record["label"] else "false"].append(holds == record["label"])
    on: dict[str, list[bool]] = defaultdict(list)
    said = load_captions(captions)
    for identity, found in boxes.items():
        for kind, a, b in said_of(said.get(identity, ()), found, data.categories):
            on[kind].append(bool(related("on", found[a], found[b]).any()))
    report = {
        "statements": {name: {k: _share(v) for k, v in by.items()} for name, by in sorted(stated.items())},
        "captions": {f"on, said {kind}": _share(on[kind]) for kind in ("on", "the other way round", "beside")},
    }
    click.echo(json.dumps(report))


def named_in(text: str, relation: str) -> tuple[str, str] | None:
    """The two names of a statement: "The cat is on the chair." → ("cat", "chair")."""
    match = re.fullmatch(rf"The (.+?) (?:(?:is|are) )?{re.escape(relation)} the (.+?)\.", text)
    return (match[1], match[2]) if match else None


def said_of(captions: tuple[str, ...], boxes: Found, names: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """What captions say of pairs of names that have boxes: ("on", "beside" or "the other way round", a, b)."""
    pairs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for caption in captions:
        for relation, pattern in _SENTENCE.items():
            for match in pattern.finditer(caption.lower().rstrip(". ")):
                after = _NAME_ENDS.sub("", match[2]).split()
                before = match[1].split()
                a = _name([" ".join(before[k:]) for k in range(len(before))], names)
                b = _name([" ".join(after[:k]) for k in range(len(after), 0, -1)], names)
                if a in boxes and b in boxes and a != b and b not in _CARRIES_NOTHING:
                    pairs[str(a), str(b)].add(relation)
    for (a, b), said in sorted(pairs.items()):
        if "on" in said:
            yield "on", a, b
            if (b, a) not in pairs:
                yield "the other way round", b, a
        elif said == {"beside"}:
            yield "beside", a, b


def _name(phrases: list[str], names: tuple[str, ...]) -> str | None:
    """The one name that the first of some phrases to mean one means."""
    for phrase in phrases:
        meant = lexicon.resolve(phrase, names)
        if meant.exact and len(meant.names) == 1:
            return meant.names[0]
        if phrase.endswith("table") and "dining table" in names:
            return "dining table"
    return None


def _share(right: list[bool]) -> dict[str, Any]:
    return {"n": len(right), "percent": round(100 * sum(right) / len(right), 1) if right else None}


if __name__ == "__main__":
    main()
