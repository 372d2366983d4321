"""What a run costs: passes of the model, of OCR and of a language model."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from fo1agent.runs.record import STRICT, Seconds, dump

Size = Annotated[int, Field(ge=0)]


@dataclass(config=STRICT)
class Costs:
    """What was used.

    Attributes:
        calls: kind → how often: the predictor's passes (`watched.PASSES`), `propose`, `segment`, `ocr`, `llm`. A pass
            that a cache answered counts as one.
        seconds: wall-clock time in these calls.
        pixels: of pictures that were proposed on, encoded or read.
        input_tokens: that language models were sent, where they say so; None where none did.
        output_tokens: that they wrote, likewise.
    """

    calls: Counter[str] = Field(default_factory=Counter)
    seconds: Seconds = 0.0
    pixels: Size = 0
    input_tokens: Size | None = None
    output_tokens: Size | None = None

    def add(self, kind: str, seconds: float, pixels: int = 0) -> None:
        """Count one call."""
        self.calls[kind] += 1
        self.seconds += seconds
        self.pixels += pixels

    def add_tokens(self, input_tokens: int | None, output_tokens: int | None) -> None:
        """Count what a language model says that it read and wrote."""
        self.input_tokens = _sum(self.input_tokens, input_tokens)
        self.output_tokens = _sum(self.output_tokens, output_tokens)

    def __add__(self, other: Costs) -> Costs:
        return Costs(
            self.calls + other.calls,
            self.seconds + other.seconds,
            self.pixels + other.pixels,
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
        )

    def to_dict(self) -> dict[str, Any]:
        """`{calls, seconds, pixels, input_tokens, output_tokens}`."""
        return dump(self, short=True)


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b
