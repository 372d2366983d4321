"""What a closed detector's classes are called in plain words, so that phrases can mean them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fo1agent.words import lexicon

_NOTHING = frozenset({"", "n/a", "na", "none", "null", "background", "no object", "no-object", "__background__"})


def names_of(labels: Mapping[int, Any] | Sequence[Any], width: int) -> dict[str, list[int]]:
    """Name → the classes that it stands for, in the order of the classes.

    Names are lower case and singular, without underscores and what stands in brackets. A class with several ("Cabinet/
    shelf") has all of them; one without ("N/A", "background") has none. Two classes of one name are one.

    Args:
        labels: class → label, as a configuration's `id2label`, or labels in the order of the classes.
        width: how many classes the detector scores; others are left out.

    >>> names_of({0: "N/A", 1: "traffic_light", 2: "Cabinet/shelf"}, 3)
    {'traffic light': [1], 'cabinet': [2], 'shelf': [2]}
    """
    pairs = labels.items() if isinstance(labels, Mapping) else enumerate(labels)
    names: dict[str, list[int]] = {}
    for number, label in sorted((int(number), label) for number, label in pairs):
        for part in re.split(r"[/,;]", "" if str(label).lower() in _NOTHING else str(label)):
            name = _plain(part)
            if name not in _NOTHING and 0 <= number < width and number not in names.get(name, ()):
                names.setdefault(name, []).append(number)
    return names


def scores_of(classes: Sequence[int], scores: np.ndarray) -> np.ndarray:
    """What each box [N] has of a name: the best of its classes' scores [N, K]."""
    return scores[:, list(classes)].max(axis=1)


def _plain(label: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\(.*?\)|[_\s]+", " ", label))
    return lexicon.singular(" ".join(spaced.lower().split()))
