"""What vLLM reads of a model's folder: FO1's configuration, whichever layout the folder has."""

from __future__ import annotations

from typing import Any

from fo1agent.errors import CheckpointError
from fo1agent.model.config import FO1Config
from fo1agent.model.finding import find_folder
from fo1agent.model.reading import read_config
from fo1agent.model.stored import PUBLIC_TYPES

ARCHITECTURE = "FO1ForVLLM"
"""The name under which vLLM knows the model's class."""
DECODERS = {"qwen2_5_vl": "Qwen2ForCausalLM", "qwen3_vl": "Qwen3ForCausalLM"}
"""Families of bases that vLLM runs for FO1, and vLLM's class of their decoder."""
_PARTS = ("base_config", "aux", "region", "image_projector", "region_projector", "processing")


class ServedConfig(FO1Config):
    """`FO1Config` of a folder, of what makes words: heads, lessons and vocabularies say nothing to vLLM."""

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration of the folder that `name_or_path` names; what vLLM read of its config.json is read anew.

        Raises:
            CheckpointError: the folder is no model's, or not one that vLLM can run.
        """
        unused = kwargs.pop("return_unused_kwargs", False)
        given = kwargs.pop("name_or_path", None) or config_dict.get("name_or_path")
        folder, name = find_folder(given)
        found = read_config(folder)
        check_served(found, name)
        text = found.base_config.get_text_config()
        text.tie_word_embeddings = found.base_config.tie_word_embeddings
        if found.base_config.model_type == "qwen3_vl":
            text.rope_parameters["mrope_interleaved"] = True  # as transformers has it, whatever is said
        config = cls(
            **{part: getattr(found, part) for part in _PARTS},
            architectures=[ARCHITECTURE],
            dtype=config_dict.get("dtype", config_dict.get("torch_dtype")),
        )
        config.name_or_path = str(given)
        return (config, kwargs) if unused else config


class OwnConfig(ServedConfig):
    """Of folders that fo1agent saved."""

    model_type = FO1Config.model_type


class PublicConfig(ServedConfig):
    """Of the public checkpoint's layout."""

    model_type = PUBLIC_TYPES[0]


CONFIGS: tuple[type[ServedConfig], ...] = (OwnConfig, PublicConfig)


def check_served(config: FO1Config, name: str) -> None:
    """Refuse a model whose words vLLM cannot write.

    Raises:
        CheckpointError: says which model, and what of it.
    """
    family = config.base_config.model_type
    if family not in DECODERS:
        raise CheckpointError(f"{name} has a base of {family}; in vLLM run {', '.join(DECODERS)}. Use engine torch.")
    if config.first_mention is not None:
        raise CheckpointError(
            f"{name} reads regions where they are named in the words (first_mention), which vLLM cannot. "
            "Use engine torch."
        )
