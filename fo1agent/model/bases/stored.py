"""What `base_config` of a folder may say of a family that has no schema of its own.

The keys are transformers' to judge. Here only bounds that hold for any model are held, so that a wrong number cannot
take memory or time without end, and keys that decide what code runs, or that no part of FO1 reads, are left out.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import ConfigDict, PlainValidator, model_validator

from fo1agent.model.bases import FAMILIES, adapter, families
from fo1agent.model.folder import Stored, TokenId, Width, integer, shown, wanted

_LARGEST, _LONGEST, _MOST = 2**24, 1000, 65_536
_DEEPEST = 512
_LAYERS = ("num_hidden_layers", "depth")
_LISTS_LAYERS = ("deepstack_visual_indexes", "fullatt_block_indexes")  # each entry is a layer of the tower
# Of a number of labels transformers makes tables of names, as long as it says; no part of FO1 is a classifier.
_DROPPED = ("auto_map", "quantization_config", "num_labels", "id2label", "label2id")
# Sizes of pictures and their parts, and of contexts, are above 0, whoever's they are; the most that each may be.
_SIZES = {
    **dict.fromkeys(("image_size", "patch_size", "tile_size"), 8192),
    **dict.fromkeys(("pooling_kernel_size", "downsample_factor", "scale_factor", "spatial_merge_size"), 64),
    **{"num_patches": _MOST, "downsample_ratio": 1, "temporal_patch_size": 64, "max_position_embeddings": _LARGEST},
}


def _family(name: Any) -> str:
    if not isinstance(name, str) or (name not in FAMILIES and name not in families()):
        raise wanted(f"one of {', '.join(families())}")
    if name not in FAMILIES:
        adapter(name)  # whoever publishes a family may bring its configuration too, and has that known when loaded
    return name


def _bounded(value: Any, key: str, name: str = "") -> None:
    """Hold a value against the bounds of its name, which is also that of each part of a list."""
    if isinstance(value, dict):
        for part, one in value.items():
            _bounded(one, f"{key}.{part}" if key else part, part)
    elif isinstance(value, list):
        if len(value) > _MOST:
            raise wanted(f"at most {_MOST} of them", key, shown(value))
        for place, one in enumerate(value):
            _bounded(one, f"{key}.{place}", name)
    elif isinstance(value, str):
        if len(value) > _LONGEST:
            raise wanted(f"at most {_LONGEST} characters", key, shown(value))
    elif isinstance(value, (int, float)):
        most = _DEEPEST if name in _LAYERS else 1e12 if isinstance(value, float) else _LARGEST
        if name in _SIZES and not 0 < value <= _SIZES[name]:
            raise wanted(f"a number above 0, at most {_SIZES[name]}", key, shown(value))
        if not math.isfinite(value) or abs(value) > most:
            raise wanted(f"a number of at most {most:g}", key, shown(value))


def _without_code(value: Any) -> Any:
    """An object without the keys that choose implementations, or bring their own."""
    if not isinstance(value, dict):
        return value
    kept = {key: one for key, one in value.items() if not key.startswith("_") and key not in _DROPPED}
    return {key: _without_code(one) for key, one in kept.items() if not key.endswith("implementation")}


class OtherText(Stored):
    """`text_config`."""

    model_config = ConfigDict(extra="allow")

    vocab_size: Annotated[int, integer(1, 2**22)]
    hidden_size: Width
    num_hidden_layers: Annotated[int, integer(1, _DEEPEST)]
    eos_token_id: TokenId | list[TokenId] | None = None


class OtherVision(Stored):
    """`vision_config`."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _layers_once(self) -> OtherVision:
        said = self.model_extra or {}
        depth = said.get("depth", _DEEPEST)
        if type(depth) is not int:
            raise wanted("an integer", "depth", shown(depth))
        for key in _LISTS_LAYERS:
            listed = said.get(key) or []
            known = isinstance(listed, list) and all(type(one) is int and 0 <= one < depth for one in listed)
            if not known or len(set(listed)) != len(listed):
                raise wanted(f"different layers below the depth {depth}", key, shown(listed))
        return self


class OtherBase(Stored):
    """`base_config` of our own folders."""

    model_config = ConfigDict(extra="allow")

    model_type: Annotated[str, PlainValidator(_family)]
    text_config: OtherText
    vision_config: OtherVision

    @model_validator(mode="before")
    @classmethod
    def _check_bounds(cls, tree: Any) -> Any:
        tree = _without_code(tree)
        _bounded(tree, "")
        return tree
