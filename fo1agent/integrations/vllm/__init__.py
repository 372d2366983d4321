"""FO1 in vLLM: a plug-in that vLLM finds by itself wherever fo1agent is installed beside it.

The towers and the region encoder are fo1agent's own and run inside vLLM's worker; the decoder is vLLM's class with its
attention, its paged cache, its batching, tensor parallelism and LoRA. One multimodal item is a picture with its boxes.
docs/vllm.md shows how it is used; `fo1agent.load(engine="vllm")` uses it.
"""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATES = {"qwen2_5_vl": "chat.jinja", "qwen3_vl": "chat_qwen3_vl.jinja"}
"""By a base's family, how vLLM writes a conversation where a tokenizer has no template of its own: a file here."""


def chat_template(name_or_folder: str) -> Path:
    """The template of a model's base."""
    from fo1agent.model.finding import find_folder
    from fo1agent.model.reading import read_config

    family = read_config(find_folder(name_or_folder)[0]).base_config.model_type
    return Path(__file__).with_name(CHAT_TEMPLATES[family])


def register() -> None:
    """Tell vLLM of FO1; the entry point `vllm.general_plugins`, called in each of its processes, perhaps twice."""
    from transformers import AutoConfig
    from vllm import ModelRegistry
    from vllm.transformers_utils.chat_templates.registry import (
        get_chat_template_fallback_path,
        register_chat_template_fallback_path,
    )

    from fo1agent.integrations.vllm.config import ARCHITECTURE, CONFIGS

    for config in CONFIGS:
        AutoConfig.register(config.model_type, config, exist_ok=True)
        if get_chat_template_fallback_path(config.model_type, "") is None:
            register_chat_template_fallback_path(config.model_type, chat_template)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        # By name, so that nothing of torch is imported before vLLM has set it up.
        ModelRegistry.register_model(ARCHITECTURE, "fo1agent.integrations.vllm.model:FO1ForVLLM")
