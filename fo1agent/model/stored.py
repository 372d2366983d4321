"""What config.json of a folder saved by fo1agent may say: the JSON side of `FO1Config`, with bounds for every number.

Sizes of parts that must agree are compared here, so that a model that is built can also run. The public checkpoint's
layout is `public.py`'s; both share the parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from operator import mul
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, PlainValidator, Tag, model_validator

from fo1agent.errors import CheckpointError, InputError
from fo1agent.model.bases.qwen2_5_vl_stored import Base
from fo1agent.model.bases.stored import OtherBase
from fo1agent.model.folder import Stored, TokenId, Width, checked, integer, number, one_line, shown, wanted
from fo1agent.model.stored_towers import MAX_SIDE, Backbone, DaViT, MobileNet, Strides
from fo1agent.model.views import LEVELS, NUM_CLASSES, PIXELS

# `model_type` of the layouts of VLM-FO1's public checkpoint (`public.py`) and of VLX-Seek's (`vlx_seek.py`).
PUBLIC_TYPES = ("omchat_qwen2_5_vl", "vlx_seek_1_5")

MAX_PIXELS = MAX_SIDE * MAX_SIDE
MAX_REGIONS = 1000
MAX_NAMES, LONGEST_NAME = 65_536, 256
MAX_LESSONS = 64  # each looks at every picture

Probability = Annotated[float, number(0, 1)]


def _factor(value: Any) -> float:
    if value not in (0.25, 0.5, 1, 2, 4, 8, 16) or isinstance(value, bool):
        raise wanted("a power of two from 0.25 to 16")
    return float(value)


Factor = Annotated[float, PlainValidator(_factor)]


# --- regions, heads, processing ----------------------------------------------------------------------------------


class Pool(Stored):
    """A read of one level; see `region_encoder.PoolSpec`."""

    level: Annotated[int, integer(0, 7)]
    bins: Annotated[int, integer(1, 16)] = 1
    context: Annotated[float, number(0, 16, above=True)] = 1.0


class Region(Stored):
    """See `region_encoder.RegionConfig`."""

    pools: Annotated[list[Pool], Field(max_length=32)] = Field(default=[])
    roi_size: Annotated[int, integer(1, 64)] = 7
    primary_channels: Annotated[int, integer(0, 65_536)] = 1280
    fpn_channels: Width = 512
    fpn_strides: Strides = Field(default=[3.5, 7.0, 14.0, 28.0])
    fpn_factors: Annotated[list[Factor], Field(min_length=4, max_length=4)] = Field(default=[4.0, 2.0, 1.0, 0.5])
    of_tokens: bool = False
    aux_fpn_channels: Annotated[int, integer(0, 65_536)] = 0
    aligned: bool = False
    evidence_size: Annotated[int, integer(0, 65_536)] = 0


class Projector(Stored):
    """See `fo1.build_projector`."""

    layers: Annotated[int, integer(0, 16)] = 2
    hidden_size: Width | None = None


class Match(Stored):
    """See `heads.MatchHead`."""

    width: Width = 128
    classes: Annotated[int, integer(0, 65_536)] = 0
    views: Annotated[int, integer(1, 8)] = 1
    extra: Annotated[int, integer(0, MAX_NAMES)] = 0


class Iou(Stored):
    """See `heads.IoUHead`."""

    width: Width = 64


class Proposal(Stored):
    """See `proposal_head.ProposalHeadConfig`; `levels` are those of the auxiliary tower that the head reads."""

    levels: Annotated[list[Annotated[int, integer(0, 7)]], Field(min_length=1, max_length=8)]
    width: Width = 96
    extra_levels: Annotated[int, integer(0, 8)] = 1
    blocks: Annotated[int, integer(0, 16)] = 2

    @model_validator(mode="after")
    def _in_groups(self) -> Proposal:
        if self.width % 8:
            raise wanted("a multiple of 8", "width", str(self.width))
        return self


class Heads(Stored):
    """The optional heads."""

    match: Match | None = None
    iou: Iou | None = None
    proposal: Proposal | None = None

    @model_validator(mode="after")
    def _none_is_null(self) -> Heads:
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise wanted("an object, or no such key", name, "null")
        return self


class Processing(Stored):
    """See `prompting.ProcessingConfig`."""

    min_side: Annotated[int, integer(1, MAX_SIDE)] = 28
    max_side: Annotated[int, integer(1, MAX_SIDE)] = 2048
    min_pixels: Annotated[int, integer(1, MAX_PIXELS)] = 56 * 56
    max_pixels: Annotated[int, integer(1, MAX_PIXELS)] = 2048 * 2048
    aux_aspect: Literal["dynamic", "squash", "dynamic_square"] = "dynamic"
    max_regions: Annotated[int, integer(1, MAX_REGIONS)] = 100
    box_order: Literal["given", "raster", "area_asc", "area_desc"] = "given"
    closing: Annotated[str, Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _least_below_most(self) -> Processing:
        for name in ("side", "pixels"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least > most:
                raise wanted(f"at most max_{name}, {most}", f"min_{name}", str(least))
        return self


class Thresholds(Stored):
    """Default score thresholds per tool."""

    ground: Probability = 0.25
    count: Probability = 0.25
    exists: Probability = 0.15


class Scores(Stored):
    """See `predicting.Calibration`."""

    scale: Annotated[float, number(0, 1e6, above=True)] = 1.0
    bias: Annotated[float, number(-1e6, 1e6)] = 0.0


def _names(value: object) -> list[str]:
    if not isinstance(value, list):
        raise wanted("a list of names")
    if not 1 <= len(value) <= MAX_NAMES:
        raise wanted(f"1 to {MAX_NAMES} names")
    seen: set[str] = set()
    for place, name in enumerate(value):
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= len(name) <= LONGEST_NAME:
            raise wanted(f"a string of 1 to {LONGEST_NAME} characters", str(place), shown(name))
        if name in seen:
            raise wanted("each name once", str(place), f"{shown(name)} for the second time")
        seen.add(name)
    return value


Names = Annotated[list[str], PlainValidator(_names)]


class Lesson(Stored):
    """Names taught beside the model; see `lesson.Lesson`."""

    names: Names
    finder: Proposal


# --- the file ----------------------------------------------------------------------------------------------------


def _schema(base: object) -> str:
    """Which schema a base is held against, or was."""
    if isinstance(base, dict):
        return "qwen2_5_vl" if base.get("model_type", "qwen2_5_vl") == "qwen2_5_vl" else "other"
    return "other" if isinstance(base, OtherBase) else "qwen2_5_vl"


AnyBase = Annotated[Annotated[Base, Tag("qwen2_5_vl")] | Annotated[OtherBase, Tag("other")], Discriminator(_schema)]


class Parts(Stored):
    """All of `FO1Config` but the base."""

    aux: Annotated[DaViT | MobileNet | Backbone, Field(discriminator="type")] | None = None
    region: Region | None = None
    image_projector: Projector | None = None
    region_projector: Projector | None = None
    first_mention: TokenId | None = None
    heads: Heads | None = None
    lessons: Annotated[list[Lesson], Field(max_length=MAX_LESSONS)] | None = None
    processing: Processing | None = None
    vocabulary: Names | None = None
    thresholds: Thresholds | None = None
    calibration: Scores | None = None

    @model_validator(mode="after")
    def _fit_each_other(self) -> Parts:
        aux, region = self.aux or DaViT(), self.region or Region()
        levels = _levels(aux)
        self._check_pools([(0.0, region.aux_fpn_channels)] * 4 if region.aux_fpn_channels else levels, region)
        self._check_detector(aux, region)
        if self.heads and self.heads.proposal:
            _check_read(levels, self.heads.proposal, "heads.proposal")
        for place, lesson in enumerate(self.lessons or ()):
            _check_read(levels, lesson.finder, f"lessons.{place}.finder")
        if self.lessons and self.vocabulary is None:
            raise wanted("names beside which the lessons stand", "vocabulary", "none")
        return self

    @property
    def proposes(self) -> bool:
        """Whether the model finds boxes by itself."""
        return isinstance(self.aux, MobileNet) or bool(self.heads and self.heads.proposal)

    def _check_pools(self, levels: Sequence[tuple[float, int]], region: Region) -> None:
        for place, pool in enumerate(region.pools):
            if pool.level >= len(levels):
                raise wanted(f"one of the tower's {len(levels)} levels", f"region.pools.{place}.level", str(pool.level))
        size = sum(levels[pool.level][1] * pool.bins**2 for pool in region.pools) or sum(width for _, width in levels)
        if size % 4:
            raise wanted(
                "a multiple of 4, to carry a box's place", "region.pools" if region.pools else "aux", f"{size} numbers"
            )

    def _check_detector(self, aux: DaViT | MobileNet | Backbone, region: Region) -> None:
        """What regions and the match head take from a detector must be what the tower's views give."""
        views = len(aux.views) if isinstance(aux, MobileNet) else 0
        evidence = views * (NUM_CLASSES + 1)
        if region.evidence_size not in (0, evidence):
            choice = (
                f"0 or {evidence}, the tower's {views} views x {NUM_CLASSES + 1}" if views else "0 without a detector"
            )
            raise wanted(choice, "region.evidence_size", str(region.evidence_size))
        match = self.heads and self.heads.match
        if not match or not match.classes:
            return
        if not region.evidence_size:
            raise wanted("0 where regions have no evidence", "heads.match.classes", str(match.classes))
        for name, right in {"classes": NUM_CLASSES, "views": views}.items():
            if getattr(match, name) != right:
                raise wanted(f"{right}, as the tower has", f"heads.match.{name}", str(getattr(match, name)))


class OwnConfig(Parts):
    """config.json of `model_type` "fo1"; keys that transformers adds (architectures, dtype, …) say nothing here."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["fo1"]
    base_config: AnyBase

    @property
    def known_base(self) -> Base:
        """The base, where it is of the family that has a schema of its own, as that of a model with graphs is."""
        assert isinstance(self.base_config, Base)
        return self.base_config

    @model_validator(mode="after")
    def _fit_the_base(self) -> OwnConfig:
        text = self.base_config.text_config
        if isinstance(self.base_config, Base):  # of other families the model looks when it is made
            self._check_base(self.base_config, self.region or Region())
        if self.first_mention is not None and self.first_mention >= text.vocab_size:
            raise wanted(f"less than the vocab_size {text.vocab_size}", "first_mention", str(self.first_mention))
        return self

    def _check_base(self, base: Base, region: Region) -> None:
        vision, width = base.vision_config, base.text_config.hidden_size
        seen = vision.out_hidden_size
        name = "out_hidden_size" if region.of_tokens else "hidden_size"
        if not (self.image_projector and self.image_projector.layers) and seen != width:
            raise wanted(
                f"the hidden_size {width} of text_config, for there is no image_projector",
                "base_config.vision_config.out_hidden_size",
                str(seen),
            )
        if region.primary_channels not in (0, getattr(vision, name)):
            raise wanted(
                f"0, or the {name} {getattr(vision, name)} of vision_config",
                "region.primary_channels",
                str(region.primary_channels),
            )
        processing = self.processing or Processing()
        if processing.max_pixels < vision.cell**2:
            raise wanted(
                f"at least the {vision.cell**2} pixels of one image token",
                "processing.max_pixels",
                str(processing.max_pixels),
            )


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse what no config.json could say of the parts of a model.

    Args:
        parts: fields of `FO1Config` beside the base; configurations of transformers may stand in it as they are.

    Raises:
        InputError: names the field, what was got and what was wanted.
    """
    try:
        tree = json.loads(json.dumps(dict(parts), default=lambda config: config.to_dict()))
    except (AttributeError, TypeError, ValueError, RecursionError) as exc:
        raise InputError(f"The parts of a model are what JSON can hold: {one_line(exc)}.") from exc
    try:
        checked(Parts, tree, Path("FO1.attach"))
    except CheckpointError as exc:
        raise InputError(str(exc)) from exc


def proposes(raw: Mapping[str, Any], path: Path) -> bool:
    """Whether the model of a config.json finds boxes by itself; True as well where its `model_type` is none of ours.

    Raises:
        CheckpointError: it says what cannot be.
    """
    kind = raw.get("model_type")
    return checked(OwnConfig, raw, path).proposes if kind == "fo1" else kind not in PUBLIC_TYPES


def judges_by_match(raw: Mapping[str, Any], path: Path) -> bool:
    """Whether the model of a config.json judges regions by a match head.

    Raises:
        CheckpointError: it says what cannot be.
    """
    if raw.get("model_type") != "fo1":
        return False
    heads = checked(OwnConfig, raw, path).heads
    return bool(heads and heads.match)


def _check_read(levels: Sequence[tuple[float, int]], head: Proposal, key: str) -> None:
    """What a proposal head reads must be levels that the tower has, finest first."""
    if any(level >= len(levels) for level in head.levels):
        raise wanted(f"numbers of the tower's {len(levels)} levels", f"{key}.levels", shown(head.levels))
    if any(levels[first][0] >= levels[second][0] for first, second in pairwise(head.levels)):
        raise wanted("levels whose strides rise", f"{key}.levels", shown(head.levels))


def _levels(aux: DaViT | MobileNet | Backbone) -> list[tuple[float, int]]:
    """Pixels per cell, and channels, of each level of a tower."""
    if isinstance(aux, Backbone):
        from fo1agent.model.aux_backbones import backbone_config, levels_of  # which take torch

        try:
            return [(level.stride, level.channels) for level in levels_of(backbone_config(aux.config))]
        except CheckpointError as exc:
            raise wanted(f"a backbone that can be built ({exc})", "aux.config", shown(aux.config)) from exc
    if isinstance(aux, MobileNet):
        return [(level.stride, level.channels) for level in (*LEVELS, PIXELS)]
    strides = list(accumulate(aux.patch_stride, mul))
    return list(zip(strides, aux.embed_dim, strict=True))
