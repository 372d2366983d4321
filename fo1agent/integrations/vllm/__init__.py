"""FO1 in vLLM: a plug-in that vLLM finds by itself wherever fo1agent is installed beside it.

The towers and the region encoder are fo1agent's own and run inside vLLM's worker; the decoder is vLLM's class with its
attention, its paged cache, its batching, tensor parallelism and LoRA. One multimodal item is a picture with its boxes.
docs/vllm.md shows how it is used; `fo1agent.load(engine="vllm")` uses it.
"""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATE = Path(__file__).with_name("chat.jinja")
"""How vLLM writes a conversation for FO1; used by itself where a tokenizer has no template of its own."""


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
            register_chat_template_fallback_path(config.model_type, CHAT_TEMPLATE)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        # By name, so that nothing of torch is imported before vLLM has set it up.
        ModelRegistry.register_model(ARCHITECTURE, "fo1agent.integrations.vllm.model:FO1ForVLLM")
