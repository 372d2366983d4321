"""Decoding held to a choice: of several continuations the model writes one, whatever its weights are.

At every place only tokens that continue one of the options are looked at, and the likeliest is taken. Knows ids, not
words; what may follow what is its callers' grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Writer:
    """A text that grows by choices.

    Args:
        read: new ids of one text → what the model says of the id that follows, [V] numbers.
        ids: what the text follows, at least one and no slots.
    """

    def __init__(self, read: Callable[[list[int]], Any], ids: Sequence[int]) -> None:
        self._read = read
        self._unread: list[int] = list(ids)  # written, and not seen by the model yet

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
            token = following[0]
            if len(following) > 1:
                said, self._unread = self._read(self._unread), []
                token = following[int(said[following].argmax())]
            self._unread.append(token)
            left = [k for k in left if options[k][depth] == token]
            depth += 1
