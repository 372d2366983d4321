"""What is described is measured without memory, and has an end."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fo1agent.model import outline
from fo1agent.model.outline import OutlineError


def test_an_outline_has_shapes_and_no_numbers() -> None:
    made = outline.outline(lambda: nn.Linear(2**20, 2**20))
    assert (made.weight.shape, made.weight.device.type) == ((2**20, 2**20), "meta")


def test_too_many_parts_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MOST_CALLS", 8)
    made: list[torch.Tensor] = []

    def vectors(count: int) -> nn.Module:
        for _ in range(count):
            made.append(torch.empty(1))
        return nn.Module()

    outline.outline(lambda: vectors(8))
    made.clear()
    with pytest.raises(OutlineError, match="more parts than any model"):
        outline.outline(lambda: vectors(1000))
    assert len(made) == 8


def test_buffers_that_are_no_weights_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(persistent: bool) -> nn.Module:
        module = nn.Module()
        module.register_buffer("index", torch.zeros(101), persistent=persistent)
        return module

    monkeypatch.setattr(outline, "MOST_UNSAVED", 100)
    outline.outline(lambda: part(persistent=True))
    with pytest.raises(OutlineError, match="101 numbers beside its weights, wanted at most 100"):
        outline.outline(lambda: part(persistent=False))
