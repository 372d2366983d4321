"""Which pixels are a thing's: masks of regions by a promptable segmenter, or by a model that finds masks by itself.

`resolve_segmenter` turns what a person writes into a segmenter. Models are imported only when they are named.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fo1agent.errors import InputError
from fo1agent.presets import is_path, meant, source
from fo1agent.segmenters.base import NO_SEGMENTER, SUGGESTED, Segmenter, segmented

__all__ = ["NO_SEGMENTER", "SUGGESTED", "Segmenter", "resolve_segmenter", "segmented"]

_FORMS = (
    f"'{SUGGESTED}' or another short name (fo1agent models), 'transformers:facebook/sam2.1-hiera-tiny', "
    "'ultralytics:sam2_t.pt', the folder of a Hugging Face segmenter, or a function"
)


def resolve_segmenter(spec: str | os.PathLike[str] | Callable[..., Any], *, device: str = "cpu") -> Callable[..., Any]:
    """The segmenter that `spec` means.

    Args:
        spec: a segmenter, or a plain function (see `Segmenter`); the short name of one, such as
            `sam2.1-tiny`; `transformers:` and a hub name or folder, of a SAM, or
            of a model for instance segmentation; `ultralytics:` and weights, of a SAM, FastSAM or a `-seg` model; or
            just the folder of a Hugging Face model.
        device: where it runs, as torch names it.

    Raises:
        InputError: `spec` has none of these forms.
        MissingExtraError: its package is not installed.
        SegmentationError: it cannot be loaded, or makes no masks.
    """
    if not isinstance(spec, (str, os.PathLike)):
        if callable(spec):
            return spec
        raise InputError(f"A {type(spec).__name__} is no segmenter. Pass {_FORMS}.")
    text = source(os.fspath(spec), "segmenter")
    kind, colon, name = text.partition(":")
    if kind == "ultralytics" and colon and name:
        from fo1agent.segmenters.ultralytics import load_ultralytics

        return load_ultralytics(name, device=device)
    folder = text if os.path.isdir(text) else name if kind == "transformers" and colon else ""
    if folder:
        from fo1agent.segmenters.transformers import load_transformers

        return load_transformers(folder, device=device)
    why = ": there is no folder of that name." if is_path(text) else f".{meant(text, ['segmenter'])}"
    raise InputError(f"No segmenter {text[:80]!r}{why} Pass {_FORMS}.")
