"""Training a few rows of a word embedding, and of the output layer, while no other number of the base can change.

While attached, the rows live in a small module of their own: a hook on the embedding puts them where their tokens
stand, a hook on the output layer puts their logits where their tokens are counted. The base's matrices take no part, so
neither decay nor an optimiser's momentum can move them; `fold` then writes the trained rows to their places.

Not peft's trainable tokens: they put the rows into a copy of the whole matrix in every pass (of the 3B, 150,000 rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.errors import InputError
from fo1agent.model.fo1 import FO1
from fo1agent.model.processing import FO1Processor

NEW_TOKENS = ("<ground>", "</ground>", "<objects>", "</objects>", "<think>", "</think>", "<answer>", "</answer>")


class TokenRows(nn.Module):
    """Rows of a base's embedding, and of its output layer if that is another matrix, as parameters.

    Args:
        base: the vision-language model.
        ids: of the rows.
        scale: what the base multiplies an embedding's rows by as they are looked up.

    Attributes:
        embedding: [n, d] float32.
        output: [n, d] float32; None when the base ties the two matrices.
    """

    def __init__(self, base: Any, ids: Sequence[int], scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        words, head = base.get_input_embeddings(), base.lm_head
        if not ids or min(ids) < 0 or max(ids) >= len(words.weight):
            raise InputError(f"Rows {list(ids)[:8]} are not all in an embedding of {len(words.weight)} rows.")
        device = words.weight.device
        index = torch.tensor(sorted(set(ids)), device=device)
        place = torch.full((len(words.weight),), -1, device=device)
        place[index] = torch.arange(len(index), device=device)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("place", place, persistent=False)
        self.embedding = nn.Parameter(words.weight.detach()[index].float())
        tied = head.weight is words.weight
        self.output = None if tied else nn.Parameter(head.weight.detach()[index].float())
        self._hooks = [words.register_forward_hook(self._embed), head.register_forward_hook(self._score)]

    def fold(self, base: Any) -> None:
        """Write the rows into the base's matrices, and let go of them."""
        for hook in self._hooks:
            hook.remove()
        with torch.no_grad():
            words, head = base.get_input_embeddings().weight, base.lm_head.weight
            words[self.index] = self.embedding.to(words.dtype)
            if self.output is not None:
                head[self.index] = self.output.to(head.dtype)

    def _embed(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        place = self.place[inputs[0]]  # pyright: ignore[reportIndexIssue] (a buffer)
        rows = (F.embedding(place.clamp(min=0), self.embedding) * self.scale).to(output.dtype)
        return torch.where((place >= 0)[..., None], rows, output)

    def _score(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        rows = self.embedding if self.output is None else self.output
        logits = F.linear(inputs[0], rows.to(inputs[0].dtype)).to(output.dtype)
        return output.index_copy(-1, self.index, logits)  # pyright: ignore[reportArgumentType] (a buffer)


def attach(model: FO1, processor: FO1Processor) -> TokenRows:
    """Make the rows of the region and answer tokens trainable by themselves, as `model.token_rows`."""
    known = processor.tokenizer.get_vocab()
    regions = (f"<region{k}>" for k in range(processor.settings.max_regions))
    ids = [known[token] for token in (*regions, *NEW_TOKENS) if token in known]
    rows = TokenRows(model.base, ids, model.adapter.embedding_scale(model.base))
    model.token_rows = rows.to(model.device)  # pyright: ignore[reportAttributeAccessIssue]
    return rows


def fold(model: FO1) -> None:
    """Put trained rows, if any are attached, back into the base; the model is then an ordinary one again."""
    rows = getattr(model, "token_rows", None)
    if rows is not None:
        rows.fold(model.base)
        del model.token_rows
