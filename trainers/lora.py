"""LoRA for the language model, by peft: small matrices train beside its linear layers, and are merged in at the end.

The adapters live inside the model only while it trains. Afterwards `merge` adds them to the weights, so the result is
an ordinary FO1 folder; or `save_adapter` writes them in peft's own layout, beside the other parts that were trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor, nn

from fo1agent.errors import CheckpointError, InputError, MissingExtraError, TrainingError
from fo1agent.extras import install_line
from fo1agent.model.fo1 import FO1
from fo1agent.model.folder import (
    Stored,
    checked,
    integer,
    names,
    number,
    one_line,
    read_json,
)
from fo1agent.model.processing import FO1Processor
from fo1agent.model.stored import Heads
from fo1agent.model.tensors import check_weights, read_safetensors
from fo1agent.trainers import rows
from fo1agent.trainers.heads import add_heads

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "parts.safetensors")


@dataclass(frozen=True)
class LoraRecipe:
    """Which layers get adapters, and how large.

    Attributes:
        rank: of each pair of matrices; alpha: their sum is scaled by alpha / rank.
        targets: names of the linear layers; () all of the language model's, however its family calls them.
        save: `merged` writes an ordinary FO1 folder, `adapter` a small one for `apply_adapter`.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    save: str = "merged"

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise InputError(f"lora wants rank >= 1, alpha > 0 and dropout in [0, 1), got {self}.")
        if self.save not in ("merged", "adapter"):
            raise InputError(f"lora.save is merged or adapter, got {self.save!r}.")


class StoredLora(Stored):
    """`LoraRecipe` in adapter_config.json."""

    rank: Annotated[int, integer(1, 4096)]
    alpha: Annotated[float, number(0, 1e6, above=True)]
    dropout: Annotated[float, number(0, 0.999)]
    targets: Annotated[list[str], Field(min_length=1, max_length=64)]
    save: Literal["merged", "adapter"] = "adapter"


class OwnPart(Stored):
    """What fo1agent adds to peft's file."""

    lora: StoredLora
    heads: Heads


class AdapterFile(Stored):
    """adapter_config.json; peft's own keys say the same again."""

    model_config = ConfigDict(extra="ignore")

    fo1agent: OwnPart


def attach(model: FO1, recipe: LoraRecipe) -> None:
    """Put adapters, which do nothing yet, into the language model.

    Raises:
        MissingExtraError: peft is not installed.
        TrainingError: no layer has one of the names.
    """
    peft = _peft()
    decoder = _decoder(model)
    linear = (name for name, module in decoder.named_modules() if isinstance(module, nn.Linear))
    config = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets) or sorted({name.rpartition(".")[2] for name in linear}),
    )
    try:
        peft.inject_adapter_in_model(config, decoder)
    except ValueError as exc:
        raise TrainingError(f"lora.targets {list(recipe.targets)} names no layer of the language model: {exc}") from exc
    for module in matrices(model):
        module.float()  # the base may be in half precision; what trains is not


def matrices(model: FO1) -> list[nn.Module]:
    """The small matrices of all adapters; none without LoRA."""
    return [m for name, m in _decoder(model).named_modules() if name.rsplit(".", 1)[-1] in ("lora_A", "lora_B")]


def merge(model: FO1) -> None:
    """Add the adapters to the weights and take them out, so that the model is an ordinary one again."""
    decoder = _decoder(model)
    for name, layer in list(decoder.named_modules()):
        if hasattr(layer, "get_base_layer"):
            layer.merge(safe_merge=True)  # pyright: ignore[reportCallIssue]
            parent, _, child = name.rpartition(".")
            setattr(decoder.get_submodule(parent), child, layer.get_base_layer())  # pyright: ignore[reportCallIssue]
    if hasattr(decoder, "peft_config"):
        del decoder.peft_config


def save_adapter(model: FO1, recipe: LoraRecipe, parts: Mapping[str, Tensor], folder: Path) -> None:
    """Write the adapters in peft's layout, and `parts`, the other trained tensors by their names in the model."""
    peft = _peft()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = peft.get_peft_model_state_dict(_decoder(model), adapter_name="default")
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / ADAPTER_FILES[1])
    targets = sorted(_decoder(model).peft_config["default"].target_modules)
    settings = {**asdict(recipe), "targets": targets}
    config = {
        "peft_type": "LORA",
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
        "lora_dropout": recipe.dropout,
        "target_modules": targets,
        "inference_mode": True,
        "fo1agent": {"lora": settings, "heads": model.config.heads},
    }
    (folder / ADAPTER_FILES[0]).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save_file({name: tensor.cpu().contiguous() for name, tensor in parts.items()}, folder / ADAPTER_FILES[2])


def apply_adapter(model: FO1, processor: FO1Processor, folder: Path) -> None:
    """Merge what `save_adapter` wrote into the model that it was trained from.

    Raises:
        CheckpointError: no such folder, or it belongs to another model; names the keys.
    """
    peft = _peft()
    path, *files = (folder / name for name in ADAPTER_FILES)
    said = checked(AdapterFile, read_json(path), path).fo1agent
    tensors, parts = (read_safetensors(file) for file in files)
    for file, held in zip(files, (tensors, parts), strict=True):
        check_weights(held, file)
    recipe = LoraRecipe(**{**said.lora.model_dump(), "targets": tuple(said.lora.targets)})
    try:
        add_heads(model, said.heads.model_dump(exclude_unset=True))
        attach(model, recipe)
    except (InputError, TrainingError) as exc:
        raise CheckpointError(f"{path} asks for what this model cannot have: {exc}") from exc
    rows.attach(model, processor)
    known = model.state_dict()
    strange = [name for name, tensor in parts.items() if name not in known or known[name].shape != tensor.shape]
    try:
        found = peft.set_peft_model_state_dict(_decoder(model), tensors, adapter_name="default")
    except RuntimeError as exc:  # torch lists what is of another shape
        raise CheckpointError(f"{files[0]} belongs to another model or rank: {one_line(exc)}.") from exc
    if strange or found.unexpected_keys:
        raise CheckpointError(f"{folder} belongs to another model: {names([*strange, *found.unexpected_keys])}.")
    model.load_state_dict({name: tensor.to(known[name].dtype) for name, tensor in parts.items()}, strict=False)
    merge(model)
    rows.fold(model)


def _decoder(model: FO1) -> Any:
    return model.adapter.decoder(model.base)


def _peft() -> Any:
    try:
        import peft
    except ImportError as exc:
        raise MissingExtraError(f"LoRA needs peft: {install_line('train')}") from exc
    return peft
