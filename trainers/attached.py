"""FO1 around a base that has seen no regions, as a recipe tells it: what stage 1 may start from in place of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer

from fo1agent.errors import CheckpointError, InputError
from fo1agent.model import bases
from fo1agent.model.finding import find_folder, weight_files
from fo1agent.model.fo1 import FO1
from fo1agent.model.folder import names, one_line, read_json
from fo1agent.model.processing import FO1Processor
from fo1agent.model.tokenizer_files import check_files
from fo1agent.trainers.proposals import TowerRecipe, load_tower


@dataclass(frozen=True)
class BaseRecipe:
    """A vision-language model of transformers, and what FO1 puts beside it.

    Attributes:
        base: folder or hub name of the model with its tokenizer; its family is one of docs/bases.md.
        aux: the auxiliary tower, as `FO1Config` has it; without one, fo1-nano's with its weights.
        aux_weights: a safetensors file of the tower's weights, as `TowerRecipe` has it.
        region, processing: further fields of `FO1Config`.
    """

    base: str
    aux: Mapping[str, Any] = field(default_factory=dict)
    aux_weights: Path | None = None
    region: Mapping[str, Any] = field(default_factory=dict)
    processing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.aux) != (self.aux_weights is not None):
            raise InputError(
                "model.aux and model.aux_weights go together: stage 1 leaves a tower as it is, so that one without "
                "weights would never learn to see. Leave both out for fo1-nano's tower."
            )


def attached(recipe: BaseRecipe) -> tuple[FO1, FO1Processor, str]:
    """The model, whose new parts are random, its processor, and the base's name.

    Raises:
        CheckpointError: there is no such base, FO1 does not plug into its family, its files do not make it whole, or
            the tower's weights are another's.
        InputError: a field says what no config.json may.
    """
    folder, name = find_folder(recipe.base)
    kind = read_json(folder / "config.json").get("model_type")
    adapter = bases.adapter(str(kind))
    check_files(folder, adapter.chat.tokenizers)
    weight_files(folder)  # which says what is wrong where there is none
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            stock = type(adapter.build(config))
        base, told = stock.from_pretrained(
            folder, config=config, dtype="auto", local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as exc:
        raise CheckpointError(f"No base can be made of the files in {folder}: {one_line(exc)}.") from exc
    if missing := sorted(told["missing_keys"]):
        raise CheckpointError(f"{folder} lacks {len(missing)} weights of a {kind}: {names(missing)}.")
    adapter.check(config)
    aux, region = recipe.aux, dict(recipe.region)
    if recipe.aux_weights is None:
        nano = FO1.from_folder(find_folder(None)[0])
        aux, seeing = nano.config.aux, nano.aux.state_dict()
        # What to read of its maps, which have no four levels for the reference's way.
        region = {key: nano.config.region[key] for key in ("pools", "evidence_size")} | region
    else:
        seeing = load_tower(TowerRecipe(aux, recipe.aux_weights)).state_dict()
    model = FO1.attach(base, tokenizer, aux, region=region, processing=dict(recipe.processing))
    model.aux.load_state_dict(seeing)
    return model, FO1Processor(tokenizer, model.config), name
