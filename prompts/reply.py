"""FO1's answers: `<ground>label</ground><objects><region3><region7></objects>`, words, a number, or thought and answer.

Parsing is total. A model's text never raises: what cannot be used is dropped and recorded. It takes time in proportion
to the text, whatever that is. It knows how many regions the picture has, and nothing else of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# No group begins within another, so that a text of nothing but beginnings is read once and not once for each.
_GROUP = re.compile(
    r"<ground>([^\n<]*(?:<(?!/?ground>)[^\n<]*)*)</ground>"
    r"<objects>([^\n<]*(?:<(?!/?objects>)[^\n<]*)*)</objects>"
)
_REGION = re.compile(r"<region(\d+)>")
_MARKUP = re.compile(r"</?(?:ground|objects|think|answer)>")
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|<answer>|$)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_MOST_DIGITS = 9  # no picture has a thousand million regions, and int() refuses very long numbers


@dataclass(frozen=True)
class Group:
    """One label and the regions that the model linked to it, in its order, each once."""

    label: str
    regions: tuple[int, ...]


@dataclass(frozen=True)
class Reply:
    """A parsed answer.

    Attributes:
        raw: what the model wrote.
        text: the answer for people: without thought, markup and region tokens; labels stay where they stood.
        thought: the reasoning before the answer; "" without.
        groups: labels with regions; a label that the model repeats has one group.
        regions: every region mentioned anywhere in the answer, in order of mention, each once.
        number: the first whole number of the answer after region tokens are removed; None without.
        dropped: what was not used, and why, one sentence each.
    """

    raw: str
    text: str
    thought: str
    groups: tuple[Group, ...]
    regions: tuple[int, ...]
    number: int | None
    dropped: tuple[str, ...]

    def by_label(self) -> dict[str, tuple[int, ...]]:
        """Regions of each label."""
        return {group.label: group.regions for group in self.groups}


def parse(raw: str, count: int) -> Reply:
    """Read an answer about a picture with `count` regions. Never raises."""
    thought = _THOUGHT.search(raw)
    inside = _ANSWER.search(raw)
    answer = inside[1] if inside else _THOUGHT.sub("", raw)
    dropped: dict[str, None] = {}
    regions = _indexes(answer, count, dropped)
    merged: dict[str, list[int]] = {}
    for label, objects in _GROUP.findall(answer):
        # Bad indexes are recorded above already.
        merged.setdefault(label.strip(), []).extend(_indexes(objects, count, {}))
    groups = tuple(Group(label, tuple(dict.fromkeys(found))) for label, found in merged.items())
    rest = _GROUP.sub("", answer)
    loose = [tag for tag in _MARKUP.findall(rest) if "ground" in tag or "objects" in tag]
    if loose:
        dropped[f"{len(loose)} tags that close no group: {' '.join(loose[:4])}"] = None
    words = _REGION.sub("", answer)
    number = re.search(r"\d+", words)
    return Reply(
        raw=raw,
        text=_tidy(_MARKUP.sub("", words)),
        thought=thought[1].strip() if thought else "",
        groups=groups,
        regions=tuple(regions),
        number=int(number[0]) if number and len(number[0]) <= _MOST_DIGITS else None,
        dropped=tuple(dropped),
    )


def grounded(label: str, regions: Iterable[int]) -> str:
    """The inverse: a label with its regions as the model writes them."""
    return f"<ground>{label}</ground><objects>{''.join(f'<region{i}>' for i in regions)}</objects>"


def _indexes(text: str, count: int, dropped: dict[str, None]) -> list[int]:
    """Region indexes in order of mention, each once; those that the picture does not have are recorded."""
    found: dict[int, None] = {}
    for digits in _REGION.findall(text):
        if len(digits) > _MOST_DIGITS or int(digits) >= count:
            dropped[f"<region{digits[:_MOST_DIGITS]}>: the picture has {count} regions"] = None
        else:
            found[int(digits)] = None
    return list(found)


def _tidy(text: str) -> str:
    return re.sub(r"(?<!\s)\s+([.,;:!?])", r"\1", re.sub(r"[ \t]+", " ", text)).strip()
