"""A small byte-level BPE tokenizer with FO1's special tokens, for a base that is trained from nothing.

Same class, pre-tokenisation and special tokens as Qwen2.5-VL's, so prompts and code paths are the same; only the
learned merges are fewer. A pretrained base brings its own tokenizer and never comes here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

CHAT_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
REGION_TOKENS = tuple(f"<region{k}>" for k in range(100))
ANSWER_TOKENS = (
    "<ground>", "</ground>", "<objects>", "</objects>", "<think>", "</think>", "<answer>", "</answer>",
)  # fmt: skip


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """Learn merges from `texts`; `vocab_size` includes the 256 bytes but not the special tokens, which come after."""
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.NFC()
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    learned.train_from_iterator(texts, trainer)
    model = json.loads(learned.to_str())["model"]
    # The class takes merges as pairs, whatever its annotation says.
    merges: Any = [tuple(pair) for pair in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [*CHAT_TOKENS, *REGION_TOKENS, *ANSWER_TOKENS]})
    return tokenizer
