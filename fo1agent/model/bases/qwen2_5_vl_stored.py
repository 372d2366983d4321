"""What a config.json may say of Qwen2.5-VL: every key that shapes the model, with bounds; all others are left alone.

The bounds are several times the sizes of the largest known model, and keep a wrong number from taking memory or time
without end before it is found to fit no weights.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from fo1agent.model.folder import Stored, TokenId, Width, integer, number, shown, wanted

Count = Annotated[int, integer(1, 512)]
BlockIndex = Annotated[int, integer(0, 511)]


def _activation(name: Any) -> str:
    if name != "silu":  # nearly all have that; the others are transformers' to name, which is long to load
        from transformers.activations import ACT2FN

        if not isinstance(name, str) or name not in ACT2FN:
            raise wanted("the name of an activation, such as silu")
    return name


Activation = Annotated[str, PlainValidator(_activation)]


class TextSizes(Stored):
    """The language model's sizes; in our own files they stand in an object of their own, in public ones at the top."""

    model_config = ConfigDict(extra="ignore")

    vocab_size: Annotated[int, integer(1, 2**22)]
    hidden_size: Width
    intermediate_size: Annotated[int, integer(1, 2**18)]
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    hidden_act: Activation = "silu"
    rms_norm_eps: Annotated[float, number(0, 1, above=True)] = 1e-5
    max_position_embeddings: Annotated[int, integer(1, 2**24)] = 32_768
    use_sliding_window: bool = False
    sliding_window: Annotated[int, integer(1, 2**24)] | None = None
    max_window_layers: Annotated[int, integer(0, 2**24)] = 80
    attention_dropout: Annotated[float, number(0, 1)] = 0.0
    initializer_range: Annotated[float, number(0, 10)] = 0.02
    bos_token_id: TokenId | None = None
    eos_token_id: TokenId | list[TokenId] | None = None
    pad_token_id: TokenId | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> TextSizes:
        if self.hidden_size % (2 * self.num_attention_heads):
            raise wanted(
                f"a divisor of half the hidden_size {self.hidden_size}",
                "num_attention_heads",
                str(self.num_attention_heads),
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise wanted(
                f"a divisor of the num_attention_heads {self.num_attention_heads}",
                "num_key_value_heads",
                str(self.num_key_value_heads),
            )
        several = self.eos_token_id if isinstance(self.eos_token_id, list) else [self.eos_token_id]
        for name, ids in {"bos": [self.bos_token_id], "eos": several, "pad": [self.pad_token_id]}.items():
            for one in ids:
                if one is not None and one >= self.vocab_size:
                    raise wanted(f"less than the vocab_size {self.vocab_size}", f"{name}_token_id", str(one))
        return self

    def check_sections(self, sections: list[int], key: str) -> None:
        """Of mRoPE: the three axes must share all of a head's frequencies."""
        whole = self.hidden_size // self.num_attention_heads // 2
        if sum(sections) != whole:
            raise wanted(f"three numbers that add up to {whole}", key, shown(sections))


Sections = Annotated[list[Annotated[int, integer(0, 65_536)]], Field(min_length=3, max_length=3)]
Theta = Annotated[float, number(0, 1e12, above=True)]


class TextRope(Stored):
    """Rotary positions of the language model."""

    model_config = ConfigDict(extra="ignore")

    rope_type: Literal["default"] = "default"
    rope_theta: Theta = 1e6
    mrope_section: Sections


class Text(TextSizes):
    """`base_config.text_config` of our own folders."""

    rope_parameters: TextRope
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None

    @model_validator(mode="after")
    def _layers_fit(self) -> Text:
        self.check_sections(self.rope_parameters.mrope_section, "rope_parameters.mrope_section")
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise wanted(f"one for each of {self.num_hidden_layers} layers", "layer_types", shown(self.layer_types))
        if "sliding_attention" in (self.layer_types or ()) and self.sliding_window is None:
            raise wanted("a number, for layer_types has sliding_attention", "sliding_window", "null")
        return self


class VisionRope(Stored):
    """Rotary positions of the vision tower."""

    model_config = ConfigDict(extra="ignore")

    rope_type: Literal["axial"] = "axial"
    rope_theta: Theta = 1e4


class Vision(Stored):
    """The vision tower; the defaults are transformers'."""

    model_config = ConfigDict(extra="ignore")

    depth: Count
    hidden_size: Width
    intermediate_size: Annotated[int, integer(1, 2**18)]
    num_heads: Count
    out_hidden_size: Width
    hidden_act: Activation = "silu"
    in_channels: Annotated[int, integer(3, 3)] = 3
    patch_size: Annotated[int, integer(8, 64)] = 14
    spatial_merge_size: Annotated[int, integer(1, 8)] = 2
    temporal_patch_size: Annotated[int, integer(1, 8)] = 2
    tokens_per_second: Annotated[int, integer(0, 1000)] = 4
    window_size: Annotated[int, integer(1, 4096)] = 112
    fullatt_block_indexes: Annotated[list[BlockIndex], Field(min_length=1, max_length=512)] = Field(
        default=[7, 15, 23, 31]
    )
    initializer_range: Annotated[float, number(0, 10)] = 0.02
    rope_parameters: VisionRope | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Vision:
        if self.hidden_size % (4 * self.num_heads):
            raise wanted(
                f"a divisor of a quarter of the hidden_size {self.hidden_size}", "num_heads", str(self.num_heads)
            )
        if self.window_size < self.cell:
            raise wanted(
                f"at least patch_size x spatial_merge_size = {self.cell}", "window_size", str(self.window_size)
            )
        if max(self.fullatt_block_indexes) >= self.depth:
            raise wanted(
                f"numbers below the depth {self.depth}", "fullatt_block_indexes", shown(self.fullatt_block_indexes)
            )
        return self

    @property
    def cell(self) -> int:
        """Pixels of the side of what becomes one image token."""
        return self.patch_size * self.spatial_merge_size


class Base(Stored):
    """`base_config` of our own folders."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["qwen2_5_vl"]
    text_config: Text
    vision_config: Vision
    image_token_id: TokenId
    video_token_id: TokenId
    vision_start_token_id: TokenId
    vision_end_token_id: TokenId
    tie_word_embeddings: bool = False
