"""Decoding held to a choice: of several continuations the model writes one, whatever its weights are.

At every place only tokens that continue one of the options are looked at, and the likeliest is taken. Knows ids, not
words; what may follow what is its callers' grammar.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fo1agent.model.fo1 import FO1
from fo1agent.model.sequence import Prefix


class Writer:
    """A text that grows by choices.

    Args:
        model: in eval mode.
        ids: [Q] int64, what the text follows, at least one token and no slots.
    """

    def __init__(self, model: FO1, ids: Tensor) -> None:
        self._model = model
        self._prefix = Prefix.empty(model.config.hidden_size)
        self._cache = self._prefix.cache()
        self._position = 0
        self._unread: list[int] = ids.tolist()  # written, and not seen by the model yet

    def choose(self, options: Sequence[Sequence[int]]) -> int:
        """Write one of the options and give its index.

        Args:
            options: ids of each, at least one option and one id. Where one begins another, the shorter is taken.
        """
        left = list(range(len(options)))
        depth = 0
        while True:
            ended = [k for k in left if len(options[k]) == depth]
            if ended:
                return ended[0]
            following = sorted({options[k][depth] for k in left})
            # Where there is nothing to choose, nothing is computed; the next choice reads it all at once.
            token = following[0] if len(following) == 1 else following[int(self._logits()[following].argmax())]
            self._unread.append(token)
            left = [k for k in left if options[k][depth] == token]
            depth += 1

    @torch.inference_mode()
    def _logits(self) -> Tensor:
        """[V] of what comes next."""
        model = self._model
        new = torch.tensor([self._unread], device=model.device)
        positions = (self._position + torch.arange(new.shape[1], device=new.device)).expand(3, 1, -1)
        hidden = model.decode(model.embed(new, self._prefix), positions, None, self._cache)
        self._position += new.shape[1]
        self._unread = []
        return model.base.lm_head(hidden[0, -1]).cpu()
