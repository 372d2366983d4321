"""Models by short names: which there are, and how names go together: `nano`, `nano+grounding-dino-tiny`.

A name is MODEL, or MODEL+DETECTOR, with as many detectors as wanted and at most one segmenter. Each part has a short
name, which is also one of `--proposer`, `--finder` and `--segmenter`. Nothing is loaded or fetched here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fo1agent.errors import CheckpointError, InputError

MODEL = "FO1AGENT_MODEL"
"""The variable that names the model where nothing else does."""
WITH_BOXES = (
    "Give boxes with the picture (at a shell --boxes FILE.json), or load the model with a proposer, such as "
    "rt-detr-r18 (at a shell --proposer NAME)."
)
"""What to do where nothing makes boxes, for messages."""
Kind = Literal["model", "detector", "segmenter"]
_PLACES: dict[Kind, str] = {
    "model": "--model {0}, or load({0!r})",
    "detector": "--finder or --proposer {0}, or load(finder={0!r})",
    "segmenter": "--segmenter {0}, or load(segmenter={0!r})",
}


@dataclass(frozen=True)
class Part:
    """One model that names are made of. All figures are its makers', rounded: "about".

    Attributes:
        source: what `load` takes in place of the name; None for fo1-nano, which is in the package.
        parameters: in millions.
        download_mb: of the files that are needed.
        bytes_each: that a parameter takes in memory.
        extra: of pyproject.toml, that it needs.
        why: what it is good at.
    """

    name: str
    kind: Kind
    source: str | None
    parameters: float
    download_mb: int
    licence: str
    why: str
    bytes_each: int = 4
    extra: str = ""

    @property
    def repository(self) -> str | None:
        """Its name on the Hugging Face hub, if it comes from there."""
        if self.kind == "model":
            return self.source
        where, _, name = (self.source or "").partition(":")
        return name if where == "transformers" else None

    @property
    def released(self) -> str | None:
        """Its file among ultralytics' released weights, if it is one."""
        where, _, name = (self.source or "").partition(":")
        return name if where == "ultralytics" else None


_APACHE, _AGPL = "Apache-2.0", "AGPL-3.0"
_PARTS = (
    Part("nano", "model", None, 12, 0, _APACHE, "80 kinds of things, at once, on any CPU and without a network"),
    Part(
        "vlm-fo1-3b",
        "model",
        "omlab/VLM-FO1_Qwen2.5-VL-3B-v01",
        3950,
        7900,
        "as its page on the hub says (its base, Qwen2.5-VL-3B: Qwen Research, not commercial)",
        "names, describes and reasons in open words; makes no boxes of its own; wants a GPU",
        bytes_each=2,
    ),
    Part(
        "grounding-dino-tiny",
        "detector",
        "transformers:IDEA-Research/grounding-dino-tiny",
        172,
        690,
        _APACHE,
        "finds any words; each phrase takes a pass",
    ),
    Part(
        "grounding-dino-base",
        "detector",
        "transformers:IDEA-Research/grounding-dino-base",
        233,
        935,
        _APACHE,
        "finds any words, better and slower than tiny",
    ),
    Part(
        "owlv2-base",
        "detector",
        "transformers:google/owlv2-base-patch16-ensemble",
        154,
        620,
        _APACHE,
        "finds any words; many phrases cost little more than one",
    ),
    Part(
        "rt-detr-r18",
        "detector",
        "transformers:PekingU/rtdetr_v2_r18vd",
        20,
        81,
        _APACHE,
        "better boxes of 80 kinds of things, fast",
    ),
    Part(
        "rt-detr-r50",
        "detector",
        "transformers:PekingU/rtdetr_v2_r50vd",
        43,
        172,
        _APACHE,
        "better boxes of 80 kinds of things",
    ),
    Part(
        "yolo11n",
        "detector",
        "ultralytics:yolo11n.pt",
        2.6,
        6,
        _AGPL,
        "boxes of 80 kinds of things, the smallest download",
        extra="ultralytics",
    ),
    Part(
        "yolo11m",
        "detector",
        "ultralytics:yolo11m.pt",
        20,
        41,
        _AGPL,
        "better boxes of 80 kinds of things",
        extra="ultralytics",
    ),
    Part(
        "sam2.1-tiny",
        "segmenter",
        "transformers:facebook/sam2.1-hiera-tiny",
        39,
        156,
        _APACHE,
        "masks of regions",
    ),
    Part("sam-base", "segmenter", "transformers:facebook/sam-vit-base", 94, 375, _APACHE, "masks of regions"),
    Part(
        "yolo11n-seg",
        "segmenter",
        "ultralytics:yolo11n-seg.pt",
        2.9,
        6,
        _AGPL,
        "masks of 80 kinds of things, small",
        extra="ultralytics",
    ),
)
PARTS = {part.name: part for part in _PARTS}


@dataclass(frozen=True)
class Choice:
    """What a name means.

    Attributes:
        model: a folder or a hub's name; None for fo1-nano. Not looked for yet.
        detectors, segmenter: what goes with it.
    """

    model: str | None
    detectors: tuple[Part, ...] = ()
    segmenter: Part | None = None


@dataclass(frozen=True)
class Preset:
    """A combination that makes sense.

    Attributes:
        why: what it is good at.
    """

    name: str
    why: str

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(PARTS[name] for name in self.name.split("+"))


PRESETS = (
    Preset("nano", PARTS["nano"].why),
    Preset("nano+yolo11n", "the same 80 kinds, their boxes from YOLO11; the smallest download"),
    Preset("nano+rt-detr-r18", "the same 80 kinds, their boxes from a stronger detector that a CPU can carry"),
    Preset("nano+grounding-dino-tiny", "any words, on a CPU with patience; counts, relations and plans as of the 80"),
    Preset("nano+owlv2-base", "any words, and many of them of one picture"),
    Preset("nano+grounding-dino-tiny+sam2.1-tiny", "any words, with masks"),
    Preset("vlm-fo1-3b", "open words and descriptions, where you give the boxes; wants a GPU"),
    Preset("vlm-fo1-3b+grounding-dino-tiny", "open words, descriptions and boxes for them; wants a GPU"),
)


def choose(name: str | None) -> Choice:
    """What a model's name means: a folder if there is one, else a preset or a combination, else what it says.

    Args:
        name: None for what `FO1AGENT_MODEL` names, and where it names nothing for fo1-nano.

    Raises:
        InputError: in a combination, a part is missing or not known, is of another kind than its place is for, or is
            one too many.
    """
    name = os.environ.get(MODEL) or None if name is None else name
    if name is None:
        return Choice(None)
    first, *others = name.split("+")
    if os.path.isdir(name) or not others:
        return Choice(_weights(name))
    if not all((first, *others)):
        missing = "a detector is missing after +" if first else "a model is missing before +"
        raise InputError(
            f"{name[:80]!r} is no folder, and {missing}. Wanted MODEL+DETECTOR, nano+{_names('detector')[0]}."
        )
    if first not in _names("model") and not os.path.isdir(first) and "/" not in first:
        raise InputError(f"{name[:80]!r} is no folder, and there is no model {unknown(first, ['model'])}")
    parts = [_part(name, other) for other in others]
    segmenters = [part for part in parts if part.kind == "segmenter"]
    if len(segmenters) > 1 or len(set(others)) < len(others):
        raise InputError(f"{name!r} names a part twice, or more than one segmenter. Each part once: MODEL+DETECTOR.")
    detectors = tuple(part for part in parts if part.kind == "detector")
    return Choice(_weights(first), detectors, segmenters[0] if segmenters else None)


def weights(name: str) -> str | None:
    """The folder or hub's name of a model named alone, for what takes no detectors; None for fo1-nano.

    Raises:
        CheckpointError: there are detectors in the name.
        InputError: as for `choose`.
    """
    choice = choose(name)
    if choice.detectors or choice.segmenter:
        alone = name.split("+")[0]
        raise CheckpointError(f"{name!r} names detectors as well, where a model alone is wanted. Pass {alone!r}.")
    return choice.model


def source(name: str, kind: Kind) -> str:
    """What a part's short name stands for, as `load` takes it; what is no such name stays."""
    part = PARTS.get(name)
    if part is None or part.kind != kind or os.path.isdir(name):
        return name
    return part.source or name


def unknown(name: str, kinds: Sequence[Kind]) -> str:
    """What to say behind "there is no model": the name, what was likely meant, and what there is."""
    known = ", ".join(one for kind in kinds for one in _names(kind))
    return f"{name[:80]!r}.{meant(name, kinds)} There are {known} (fo1agent models)."


def meant(name: str, kinds: Sequence[Kind]) -> str:
    """What was likely meant, in sentences with a blank before each: which name, or where else this one goes; nothing if
    no name is like it."""
    other = PARTS.get(name)
    if other is not None and other.kind != "model" and "model" in kinds:
        return f" That is a {other.kind}, which goes behind a model: nano+{name}."
    elsewhere = goes(other.kind, name) if other is not None and other.kind not in kinds else ""
    near = difflib.get_close_matches(name, [one for kind in kinds for one in _names(kind)], n=1)
    return elsewhere + (f" Did you mean {near[0]!r}?" if near else "")


def goes(kind: Kind, name: str) -> str:
    """Where a part of that kind is named, as a sentence with a blank before it."""
    return f" That is a {kind}: {_PLACES[kind].format(name)}."


def is_path(name: str) -> bool:
    """Whether a text is a way through folders, and no short name nor one with a prefix (`transformers:…`)."""
    return ":" not in name[2:] and any(sign in name for sign in ("/", os.sep))


def _part(name: str, other: str) -> Part:
    part = PARTS.get(other)
    if part is None:
        there_is_no = "is no folder, and there is no detector or segmenter"
        raise InputError(f"{name[:80]!r} {there_is_no} {unknown(other, ['detector', 'segmenter'])}")
    if part.kind == "model":
        raise InputError(f"{name!r}: {other} is a model, and the first part is one already. Wanted MODEL+DETECTOR.")
    return part


def _names(kind: Kind) -> list[str]:
    return [part.name for part in _PARTS if part.kind == kind]


def _weights(name: str) -> str | None:
    part = PARTS.get(name)
    return name if part is None or part.kind != "model" or os.path.isdir(name) else part.source
