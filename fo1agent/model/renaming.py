"""From the names of a public layout's tensors to ours, and what the names alone tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from fo1agent.errors import CheckpointError
from fo1agent.model.folder import names

A = TypeVar("A")  # an array of whichever library
Rules = Sequence[tuple[str, str]]  # pattern and replacement, each applied in turn
# Both layouts call the projectors so; one linear layer alone has no number there.
PROJECTORS: Rules = (
    (r"^model\.mm_projector_aux\.(weight|bias)$", r"region_projector.0.\1"),
    (r"^model\.mm_projector_aux\.", "region_projector."),
    (r"^model\.mm_projector\.(weight|bias)$", r"image_projector.0.\1"),
    (r"^model\.mm_projector\.", "image_projector."),
)


def renamed(key: str, rules: Rules) -> str:
    """Our name of a tensor; a name that follows no rule comes back as it is."""
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def all_renamed(tensors: Mapping[str, A], rules: Rules) -> dict[str, A]:
    """The same tensors under our names.

    Raises:
        CheckpointError: two keys fall on one name.
    """
    ours = {key: renamed(key, rules) for key in tensors}
    if len(set(ours.values())) < len(tensors):
        twice = [name for name, count in Counter(ours.values()).items() if count > 1]
        raise CheckpointError(f"Two tensors of the checkpoint mean the same weight: {names(twice)}.")
    return {ours[key]: value for key, value in tensors.items()}


def projector_layers(tensors: Collection[str], prefix: str) -> int:
    """Linear layers stored under a projector's name: `.weight` for one, `.0.weight`, `.2.weight`, … for more."""
    if f"{prefix}.weight" in tensors:
        return 1
    return sum(re.fullmatch(re.escape(prefix) + r"\.\d+\.weight", key) is not None for key in tensors)
