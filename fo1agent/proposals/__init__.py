"""Where something could be: boxes from a detector, from FO1's own head, or from the caller.

`resolve_proposer` turns what a person writes into a proposer. Detectors are imported only when they are named.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fo1agent.errors import InputError
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import is_path, meant, source
from fo1agent.proposals.base import Finder, Function, Proposer, check_finder
from fo1agent.proposals.given import Given
from fo1agent.regions.regions import Regions, shown

__all__ = ["Finder", "Given", "Proposer", "resolve_finder", "resolve_proposer"]

_FORMS = (
    "'grounding-dino-tiny' or another short name (fo1agent models), 'ultralytics:yolo11n.pt', "
    "'transformers:IDEA-Research/grounding-dino-tiny', the folder of a Hugging Face detector, or 'given'"
)


def resolve_proposer(
    spec: str | os.PathLike[str] | Callable[[LoadedImage], Regions], *, device: str = "cpu"
) -> Callable[[LoadedImage], Regions]:
    """The proposer that `spec` means.

    Args:
        spec: a proposer, or a plain function from picture to `Regions`; `given`; a short name such as
            `grounding-dino-tiny` (`fo1agent models`); `ultralytics:` and weights; `transformers:` and a hub name or
            folder; or just the folder of a Hugging Face detector.
        device: where a detector runs, as torch names it.

    Raises:
        InputError: `spec` has none of these forms.
        MissingExtraError: the detector's package is not installed.
        ProposalError: the detector cannot be loaded.
    """
    if not isinstance(spec, (str, os.PathLike)):
        if not callable(spec):
            raise InputError(f"A {type(spec).__name__} is no proposer. Pass {_FORMS}.")
        if hasattr(spec, "find"):
            check_finder(spec)
        return spec if hasattr(spec, "name") else Function(spec)
    return _detector(spec, "proposer", device)


def _detector(spec: str | os.PathLike[str], what: str, device: str) -> Callable[[LoadedImage], Regions]:
    """The detector of a name, which is to be a proposer or a finder."""
    text = source(os.fspath(spec), "detector")
    kind, colon, name = text.partition(":")
    if text == "given":
        return Given()
    if kind == "ultralytics" and colon and name:
        from fo1agent.proposals.ultralytics import UltralyticsProposer

        return UltralyticsProposer(name, device=device)
    if kind == "transformers" and colon and name:
        from fo1agent.proposals.transformers import TransformersProposer

        return TransformersProposer(name, device=device)
    if os.path.isdir(text):
        from fo1agent.proposals.transformers import TransformersProposer

        return TransformersProposer(text, device=device)
    why = ": there is no folder of that name." if is_path(text) else f".{meant(text, ['detector'])}"
    raise InputError(f"No {what} {text[:80]!r}{why} Pass {_FORMS}.")


def resolve_finder(spec: Any, *, device: str = "cpu") -> Finder:
    """The finder that `spec` means.

    Args:
        spec: a finder, or the name of a detector, as for `resolve_proposer`.
        device: where a detector runs, as torch names it.

    Raises:
        InputError: `spec` is none of these, or what it names has neither names nor reads phrases.
        MissingExtraError: the detector's package is not installed.
        ProposalError: the detector cannot be loaded.
    """
    if isinstance(spec, (str, os.PathLike)):
        found: Any = _detector(spec, "finder", device)
        if not hasattr(found, "find"):
            raise InputError(f"{shown(spec)} is no finder: it says where something is, not what. Pass it as proposer.")
        return found
    if not hasattr(spec, "find"):
        where = "it says where something is, not what. Pass it as proposer." if callable(spec) else f"pass {_FORMS}."
        raise InputError(f"{shown(spec)} is no finder: {where}")
    return check_finder(spec)
