"""Where something could be: boxes from a detector, from FO1's own head, or from the caller.

`resolve_proposer` turns what a person writes into a proposer. Detectors are imported only when they are named.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fo1agent.errors import InputError
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import meant, source
from fo1agent.proposals.base import Finder, Function, Proposer
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
        if callable(spec):
            return spec if hasattr(spec, "name") else Function(spec)
        raise InputError(f"A {type(spec).__name__} is no proposer. Pass {_FORMS}.")
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
    raise InputError(f"No proposer {text[:80]!r}.{meant(text, ['detector'])} Pass {_FORMS}.")


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
    found: Any = resolve_proposer(spec, device=device) if isinstance(spec, (str, os.PathLike)) else spec
    if not hasattr(found, "find"):
        raise InputError(f"{shown(spec)} is no finder: it says where something is, not what. Pass it as proposer.")
    return found
