"""How a chat looks to a language model: the text around a user turn. Read without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chat:
    """One user turn is `opening`, then per picture `image_opening`, its tokens, `image_closing`; the text; `closing`.

    Attributes:
        stop: the token that ends an answer.
        next_turn: what stands between an answer's `stop` and the user's next words.
        tokenizers: transformers' classes that the tokenizer may be of.
        markers: how tokens that steer the chat begin; in a user's words they are broken.
    """

    opening: str
    image_opening: str
    image_closing: str
    closing: str
    stop: str
    next_turn: str
    tokenizers: tuple[str, ...]
    markers: tuple[str, ...] = ("<|",)

    def plain(self, text: str) -> str:
        """The words with the markers in them broken, so that text read in a picture cannot end the turn."""
        for marker in self.markers:
            text = text.replace(marker, f"{marker[0]} {marker[1:]}")
        return text


QWEN = Chat(
    opening="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    image_opening="<|vision_start|>",
    image_closing="<|vision_end|>\n",
    closing="<|im_end|>\n<|im_start|>assistant\n",
    stop="<|im_end|>",
    next_turn="\n<|im_start|>user\n",
    tokenizers=("Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"),
)
