"""Looks a data set over before anything is trained on it: what is in it, what is wrong with it, what may be a slip.

Bad records are counted as reading counts them, but never end the check. Notes are about what is allowed and yet seldom
meant: the same pictures in two sources, labels that differ by a letter, names without a single box.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from fo1agent.errors import DataError
from fo1agent.trainers.data.formats import guess_format, open_source
from fo1agent.trainers.data.formats.shards import encoded
from fo1agent.trainers.data.formats.source import Remark, SourceRecipe, Tolerance
from fo1agent.trainers.data.records import Example, open_picture

QUANTILES = (5, 25, 50, 75, 95)
_RARE = 20  # of two spellings that differ by a letter, one is likely a slip when the other is this much more frequent


@dataclass
class SourceReport:
    """What one source holds.

    Attributes:
        name, format: of the source.
        good, bad, passed: records read, left out as wrong, and passed over as not for us.
        tolerated: there are no more bad ones than its tolerance allows.
        reasons: "where: reason" of the first bad ones.
        pictures, ids: how many different ones.
        boxes, crowd, unlabelled: boxes, and how many of them are crowds, or have no label.
        labels: boxes by label, most frequent first.
        unused: names of the vocabulary without a box.
        short_sides: quantiles of the boxes' shorter sides, pixels, by percent.
        captions, phrases, empty_phrases, texts, turns: how many there are; phrases that name nothing; texts known.
        absent: names that a picture is known not to show, on average.
        remarks: what was read otherwise than it stands there, or not at all, with how often and where first.
        doubts: what all records together say against how they were read.
        notes: what else is to be known of the source, as that it has another split.
    """

    name: str
    format: str
    good: int = 0
    bad: int = 0
    passed: int = 0
    tolerated: bool = True
    reasons: list[str] = field(default_factory=list)
    pictures: int = 0
    ids: int = 0
    boxes: int = 0
    crowd: int = 0
    unlabelled: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    short_sides: dict[str, float] = field(default_factory=dict)
    captions: int = 0
    phrases: int = 0
    empty_phrases: int = 0
    texts: int = 0
    turns: int = 0
    absent: float = 0.0
    remarks: list[Remark] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CheckReport:
    """The reports of all sources, and notes about them together."""

    sources: tuple[SourceReport, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Every source has good records, and no more bad ones than its tolerance allows."""
        return all(source.tolerated and source.good > 0 for source in self.sources)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "sources": [asdict(source) for source in self.sources], "notes": list(self.notes)}


def check(
    recipes: Sequence[SourceRecipe], pictures: bool = False, on_example: Callable[[int], None] | None = None
) -> CheckReport:
    """Read whole sources and report on them.

    Args:
        recipes: the sources.
        pictures: decode every picture too; one that is missing, broken or of another size makes its record bad.
        on_example: called with the number of examples looked at so far, over all sources.

    Raises:
        DataError: a source cannot be opened at all.
    """
    reports, keys = [], []
    count = 0

    def counted(examples: Iterable[Example]) -> Iterable[Example]:
        nonlocal count
        for example in examples:
            yield example
            count += 1
            if on_example:
                on_example(count)

    for recipe in recipes:
        report, of_source = _check_source(recipe, pictures, counted)
        reports.append(report)
        keys.append(of_source)
    notes = [*_shared(reports, keys), *_alike(reports)]
    notes += [f"{r.name}: no box is called {_listed(r.unused)}" for r in reports if r.unused]
    return CheckReport(tuple(reports), tuple(notes))


@dataclass
class _Keys:
    """Hashes of what names an example, to find it again elsewhere."""

    ids: set[int] = field(default_factory=set)
    paths: set[int] = field(default_factory=set)
    contents: dict[int, int] = field(default_factory=dict)  # by content, the path; of decoded pictures only
    twice: int = 0  # pictures whose content another path of the same source has too


def _check_source(
    recipe: SourceRecipe, pictures: bool, counted: Callable[[Iterable[Example]], Iterable[Example]]
) -> tuple[SourceReport, _Keys]:
    name = recipe.format or guess_format(recipe.path)
    # Everything is read, however bad; what is too much is judged at the end.
    source = open_source(replace(recipe, format=name, tolerance=Tolerance(share=1)))
    report, keys = SourceReport(source.name, name), _Keys()
    labels: Counter[str] = Counter()
    sides = array("f")
    absent = 0
    for example in counted(source):
        if pictures and not _picture_is_well(example, keys):
            try:
                open_picture(example)
            except DataError as exc:
                source.problems.good -= 1
                source.problems.skip(example.source, _without_place(str(exc), example))
                continue
        keys.ids.add(hash(example.id))
        keys.paths.add(hash(str(example.path) if example.path else example.source))
        labels.update(example.labels)
        sides.extend((example.boxes[:, 2:] - example.boxes[:, :2]).min(axis=1).tolist())
        report.crowd += int(example.crowd.sum())
        report.captions += len(example.captions)
        report.phrases += len(example.phrases)
        report.empty_phrases += sum(not phrase.boxes for phrase in example.phrases)
        report.texts += sum(text is not None for text in example.texts)
        report.turns += len(example.turns)
        absent += len(example.absent)
    problems = source.problems
    report.good, report.bad, report.passed = problems.good, problems.bad, problems.passed
    problems.tolerance = recipe.tolerance
    report.tolerated, report.reasons = not problems.exceeded(), list(problems.first)
    report.remarks, report.doubts = list(problems.remarks), list(source.doubts())
    report.notes = list(source.notes)
    report.pictures, report.ids, report.boxes = len(keys.paths), len(keys.ids), len(sides)
    report.unlabelled = labels.pop("", 0)
    report.labels = dict(labels.most_common())
    report.unused = [name for name in source.vocabulary if name not in labels]
    report.absent = round(absent / max(1, problems.good), 2)
    if sides:
        values = np.percentile(np.frombuffer(sides, np.float32), QUANTILES)
        report.short_sides = {f"{q}%": round(float(v), 1) for q, v in zip(QUANTILES, values, strict=True)}
    return report, keys


def _picture_is_well(example: Example, keys: _Keys) -> bool:
    """Remember the content of a picture; True if it was looked at before, under the same name."""
    path = hash(str(example.path) if example.path else example.source)
    if path in keys.paths:
        return True
    try:
        data = encoded(example)
    except DataError:
        return False
    content = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
    if keys.contents.setdefault(content, path) != path:
        keys.twice += 1
    return False


def _without_place(message: str, example: Example) -> str:
    return message.removeprefix(f"{example.name}: ")


def _shared(reports: Sequence[SourceReport], keys: Sequence[_Keys]) -> list[str]:
    """Pictures that are in two sources, or twice in one."""
    notes = [
        f"{report.name}: {of_source.twice} picture(s) are copies of another, under another name"
        for report, of_source in zip(reports, keys, strict=True)
        if of_source.twice
    ]
    for (one, a), (other, b) in combinations(zip(reports, keys, strict=True), 2):
        same_path, same_id = len(a.paths & b.paths), len(a.ids & b.ids)
        copies = len(a.contents.keys() & b.contents.keys()) - same_path
        if same_path:
            notes.append(f"{same_path} picture(s) are both in {one.name} and in {other.name}")
        if copies > 0:
            notes.append(f"{copies} picture(s) of {one.name} are, under another name, in {other.name} too")
        if same_id and not same_path and not copies:
            notes.append(f"{same_id} id(s) are used both in {one.name} and in {other.name}")
    return notes


def _alike(reports: Sequence[SourceReport]) -> list[str]:
    """Labels that are likely one name in two spellings: the same but for case and signs, or, rarer, by one letter."""
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.labels)
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(re.sub(r"[\W_]+", "", label).casefold().removesuffix("s"), []).append(label)
    pairs = [(group[0], other) for group in groups.values() for other in group[1:]]
    near: dict[str, list[str]] = {}
    for plain, group in groups.items():
        if len(plain) >= 6:
            for form in {plain, *(plain[:k] + plain[k + 1 :] for k in range(len(plain)))}:
                near.setdefault(form, []).append(group[0])
    for group in near.values():
        for one, other in combinations(group, 2):
            few, many = sorted((counts[one], counts[other]))
            if few * _RARE <= many:
                pairs.append((one, other))
    unique = dict.fromkeys(tuple(sorted(pair, key=lambda label: -counts[label])) for pair in pairs)
    return [f"labels {a!r} ({counts[a]}) and {b!r} ({counts[b]}) may be one" for a, b in unique]


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} names)" if len(names) > most else shown
