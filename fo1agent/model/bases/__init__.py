"""Base adapters: the little that FO1 must know about a family of vision-language models.

An adapter is a module with
    build(config) -> model                                  the unmodified Hugging Face class, random weights
    encode_image(model, pixel_values, grid_hw, want_map)    image tokens [T, d] and the pre-merger map [1, C, h, w]
    recorded(block), raster(hidden, grid_hw, config)        a vision block's output as such a map, for inspection
    image_token_size(config)                                width of what its vision tower gives
    positions(model, image_slots, grids, mask)              position ids of a spliced sequence
    decoder(model)                                          the text decoder: inputs_embeds in, hidden states out
    OPENING, IMAGE_OPENING, IMAGE_CLOSING, CLOSING, STOP    the chat template around one user turn, and where it ends
    TOKENIZERS                                              transformers' classes that its tokenizer may be of
    NEXT_TURN                                               what stands between an answer and the next user turn
Nothing else in the package imports a model family by name.
"""

from __future__ import annotations

from types import ModuleType

from fo1agent.errors import CheckpointError


def adapter(model_type: str) -> ModuleType:
    """The adapter of a Hugging Face `model_type`.

    Raises:
        CheckpointError: there is none.
    """
    if model_type == "qwen2_5_vl":
        from fo1agent.model.bases import qwen2_5_vl

        return qwen2_5_vl
    raise CheckpointError(f"FO1 plugs into qwen2_5_vl so far, not into {model_type!r}.")
