"""Small models for tests: the golden tensors' checkpoint, and one built like fo1-nano. Both load in a blink."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from fo1agent.model import weights
from fo1agent.model.config import FO1Config
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor

FIXTURES = Path(__file__).parent / "parity" / "fixtures"
CHECKPOINT = FIXTURES / "checkpoint"
VOCABULARY = ("person", "dog", "red car")


@cache
def reference() -> tuple[FO1, FO1Processor]:
    """The tiny checkpoint of the golden tensors: DaViT, SimpleFP, no heads. Do not change its weights."""
    with torch.inference_mode(False):  # whoever asks first may be in it; the weights are shared
        return weights.load(CHECKPOINT)


@cache
def nano() -> tuple[FO1, FO1Processor]:
    """Random weights in fo1-nano's shape: MobileNet tower, evidence, all heads, and a vocabulary."""
    tokenizer = reference()[1].tokenizer
    tokens = tokenizer.get_vocab()
    torch.manual_seed(0)
    config = FO1Config(
        base_config={
            "model_type": "qwen2_5_vl",
            "text_config": {
                "vocab_size": 560,
                "hidden_size": 64,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
            },
            "vision_config": {
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 64,
                "fullatt_block_indexes": [1],
            },
            "tie_word_embeddings": True,
            "image_token_id": tokens["<|image_pad|>"],
            "video_token_id": tokens["<|video_pad|>"],
            "vision_start_token_id": tokens["<|vision_start|>"],
            "vision_end_token_id": tokens["<|vision_end|>"],
        },
        aux={"type": "mobilenet_v2_ssd", "views": [{"side": 428}, {"side": 300, "square": True}]},
        region={
            "pools": [{"level": 1, "bins": 2}, {"level": 2}, {"level": 3}, {"level": 2, "context": 2.0}],
            "primary_channels": 0,
            "evidence_size": 162,
        },
        region_projector={"layers": 2, "hidden_size": 32},
        heads={
            "match": {"width": 16, "classes": 80, "views": 2},
            "iou": {},
            "proposal": {"levels": [1, 2, 3], "width": 16},
        },
        processing={"max_pixels": 112 * 112},
        vocabulary=VOCABULARY,
        thresholds={"count": 0.4},
    )
    with torch.inference_mode(False):
        return FO1(config).eval(), FO1Processor(tokenizer, config)
