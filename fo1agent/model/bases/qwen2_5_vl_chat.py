"""How a chat with Qwen2.5-VL looks; read without torch."""

from __future__ import annotations

# One user turn is OPENING, then per image IMAGE_OPENING, its tokens, IMAGE_CLOSING; then the text and CLOSING.
OPENING = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
IMAGE_OPENING, IMAGE_CLOSING = "<|vision_start|>", "<|vision_end|>\n"
CLOSING = "<|im_end|>\n<|im_start|>assistant\n"
STOP = "<|im_end|>"
TOKENIZERS = ("Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
NEXT_TURN = "\n<|im_start|>user\n"  # between an answer's STOP and the user's next words
