"""Base adapters: the little that FO1 must know about a family of vision-language models.

`Adapter` is the whole contract; `adapter` finds a family's: one of ours, or of an installed package. Nothing else here
imports a family by name. docs/bases.md shows how one is added. Imported without torch.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from fo1agent.errors import CheckpointError, TrainingError
from fo1agent.foreign import one_line, stdout_to_stderr
from fo1agent.model.bases.chat import Chat
from fo1agent.model.folder import shown
from fo1agent.model.frames import TowerInput, Vision

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn
    from transformers import Cache

    from fo1agent.model.prompting import ProcessingConfig

# `model_type` of a Hugging Face configuration → the module whose `ADAPTER` knows the family.
FAMILIES = {
    "qwen2_5_vl": "fo1agent.model.bases.qwen2_5_vl",
    "qwen3_vl": "fo1agent.model.bases.qwen3_vl",
    "qwen3_5": "fo1agent.model.bases.qwen3_5",
    "gemma3": "fo1agent.model.bases.gemma3",
    "gemma4": "fo1agent.model.bases.gemma4",
    "idefics3": "fo1agent.model.bases.idefics3",
    "smolvlm": "fo1agent.model.bases.smolvlm",
    "internvl": "fo1agent.model.bases.internvl",
    "llava_onevision": "fo1agent.model.bases.llava_onevision",
    "lfm2_vl": "fo1agent.model.bases.lfm2_vl",
    "glm4v": "fo1agent.model.bases.glm4v",
}
GROUP = "fo1agent.bases"
"""The entry points of packages that publish families; each has the family's `model_type` as name and its `Adapter`."""


class Adapter(ABC):
    """What FO1 knows of one family. It holds no state; `config` is the base's configuration, `base` the model.

    `base` is transformers' own class, unchanged: it has `get_input_embeddings()` and `lm_head`.

    Attributes:
        chat: the text around a user turn.
        axes: numbers of a token's position: 3 (time, row, column) where rotary positions know of pictures, else 1.
        can_branch: whether a 4-D attention mask holds in every layer, so that branches may share a row. Where it does
            not (layers with a recurrent state), branches are rows of their own.
    """

    chat: Chat
    axes: int = 1
    can_branch: bool = True

    # --- the model ---------------------------------------------------------------------------------------------

    def check(self, config: Any) -> None:  # noqa: B027 (most families have nothing to refuse)
        """Refuse what transformers builds, and fails at when it reads a picture; called when a folder is loaded.

        Raises:
            CheckpointError: by `refuse_unless`.
        """

    @abstractmethod
    def build(self, config: Any) -> Any:
        """The stock class with random weights."""

    @abstractmethod
    def vision_tower(self, base: Any) -> nn.Module:
        """The vision tower, with what makes image tokens of its output where that is a part of it."""

    @abstractmethod
    def decoder(self, base: Any) -> Any:
        """The text decoder: `inputs_embeds` in, `last_hidden_state` out; its blocks are `layers`."""

    def embedding_scale(self, base: Any) -> float:
        """What `get_input_embeddings()` multiplies rows of its matrix by as it looks them up."""
        return 1.0

    def cache(self, config: Any) -> Cache:
        """An empty cache of the decoder. It must keep all keys, also of layers with a window: the mask cuts those."""
        from transformers import DynamicCache

        return DynamicCache()

    def look_ahead(self, config: Any) -> Collection[str]:
        """Types of layers in which the tokens of a picture also see those of it that follow."""
        return ()

    def window(self, config: Any) -> int | None:
        """How far back layers of the type `sliding_attention` see, tokens; None where there are none."""
        text = config.get_text_config()
        return text.sliding_window if "sliding_attention" in (getattr(text, "layer_types", None) or ()) else None

    def word_inputs(self, base: Any, ids: Tensor) -> Mapping[str, Any]:
        """What else the decoder takes of the ids [B, L] that it reads; slots among them are negative."""
        return {}

    def logits(self, base: Any, hidden: Tensor, words: Sequence[int] | None = None) -> Tensor:
        """Last hidden states [..., d] → logits [..., V], or [..., K] of the ids `words` alone.

        A family that bounds or scales what its head gives calls this and does so with either.
        """
        head = base.lm_head
        if words is None:
            return head(hidden)
        from torch import nn

        if type(head) is nn.Linear and type(head.weight) is nn.Parameter:  # a few rows of 150,000
            return nn.functional.linear(hidden, head.weight[words], None if head.bias is None else head.bias[words])
        return head(hidden)[..., words]  # a quantised one has no rows to take

    # --- a picture ---------------------------------------------------------------------------------------------

    @abstractmethod
    def image_token_size(self, config: Any) -> int:
        """Width of the tokens that `encode_image` gives."""

    @abstractmethod
    def map_size(self, config: Any) -> int:
        """Channels of the map that `encode_image` gives."""

    def map_stride(self, config: Any) -> float:
        """Pixels of the side of that map's cells."""
        patch = config.vision_config.patch_size
        return float(patch if isinstance(patch, int) else patch[0])

    def extras(self, config: Any) -> int:
        """How many tensors `Vision.extras` holds."""
        return 0

    @abstractmethod
    def image_processor(self, config: Any, settings: ProcessingConfig) -> Any:
        """Transformers' own image processor, which `tower_input` is given. Made once."""

    @abstractmethod
    def tower_input(self, processor: Any, image: Image.Image, config: Any) -> TowerInput:
        """One RGB picture as the vision tower takes it."""

    @abstractmethod
    def encode_image(self, base: Any, seen: TowerInput, want_map: bool) -> Vision:
        """One picture through the vision tower, once; with the region map if wanted."""

    def kept_input(self, pixel_values: Tensor, grid_hw: tuple[int, int], config: Any) -> TowerInput:
        """`tower_input` again, of the two fields that a feature store keeps.

        Raises:
            TrainingError: they do not suffice in this family.
        """
        raise TrainingError(f"A feature store keeps no pictures for {config.model_type}. Train on the pictures.")

    # --- a sequence --------------------------------------------------------------------------------------------

    def positions(
        self, base: Any, image_slots: Tensor, grids: Sequence[tuple[int, int]], mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Position ids of spliced rows; a region token counts as a word. Here: one axis, counted through.

        Args:
            base: the model.
            image_slots: [B, L] bool, True where an image token stands.
            grids: `TowerInput.merged_hw` of every picture, in order over the batch.
            mask: [B, L] bool, False on padding.

        Returns:
            [axes, B, L] positions, 1 on padding; and [B], the next free position of each row.
        """
        return (mask.cumsum(1) - 1).masked_fill(~mask, 1)[None], mask.sum(1)

    def picture_inputs(self, image_slots: Tensor, extras: Sequence[Tensor]) -> Mapping[str, Any]:
        """What else the decoder takes when it reads pictures.

        Args:
            image_slots: [B, L] bool, True where an image token stands.
            extras: as of `Vision`, each [n, d], of the n tokens in the slots, row after row.
        """
        return {}


def refuse_unless(right: bool, key: str, got: Any, wanted: str) -> None:
    """Of a value in a base's configuration.

    Raises:
        CheckpointError: it is not right; names key, what was got and what was wanted.
    """
    if not right:
        raise CheckpointError(f"base_config.{key} is {shown(got)}, wanted {wanted}.")


def adapter(model_type: str) -> Adapter:
    """The adapter of a Hugging Face `model_type`.

    One that an installed package publishes is loaded when it is first asked for; the families of `FAMILIES` stay ours.

    Raises:
        CheckpointError: there is none, two packages publish one, or what one publishes is none.
    """
    if model_type in FAMILIES:
        return _of(FAMILIES[model_type])
    points = _published(tuple(sys.path)).get(model_type)
    if not points:
        raise CheckpointError(f"FO1 plugs into {', '.join(families())}, not into {model_type!r}.")
    one, *others = points
    if others:
        packages = " and ".join(_package(point) for point in points)
        raise CheckpointError(f"The packages {packages} publish the base {model_type!r}. Uninstall all but one.")
    return _loaded(one)


def families() -> list[str]:
    """Every `model_type` that FO1 plugs into, sorted: ours, and those that installed packages publish."""
    return sorted({*FAMILIES, *_published(tuple(sys.path))})


@cache  # it is asked for at every token
def _of(module: str) -> Adapter:
    return import_module(module).ADAPTER


@lru_cache(maxsize=1)
def _published(path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """`model_type` → who publishes it; `path` is where packages are looked for, so that others are found with it."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=GROUP), key=_package):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


@cache
def _loaded(point: EntryPoint) -> Adapter:
    said = f"The package {_package(point)} publishes the base {point.name!r} as {point.value}"
    try:
        with stdout_to_stderr():
            found = point.load()
    except (Exception, SystemExit) as exc:  # their code, whatever it does
        why = one_line(f"{type(exc).__name__}: {exc}", 300)
        raise CheckpointError(f"{said}, which cannot be loaded ({why}). Update or uninstall it.") from exc
    if not isinstance(found, Adapter):
        raise CheckpointError(
            f"{said}, which is no Adapter but of the type {type(found).__name__}. Update or uninstall it."
        )
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module
