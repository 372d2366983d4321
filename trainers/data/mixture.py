"""`Mixture`: examples of several sources in one endless, shuffled stream, which can be entered anywhere.

What stands at a position of the stream depends on the sources, their weights and the seed, and on nothing else: not on
what was drawn before, on how many processes draw, or on when. So a run that is resumed at step n goes on at the
position it had reached, and rank r of w takes positions r, r + w, r + 2w, … All that is held is where the records lie.
Any thread may ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fo1agent.errors import DataError, InputError
from fo1agent.trainers.data.files import fingerprint
from fo1agent.trainers.data.formats import open_source
from fo1agent.trainers.data.formats.source import Source, SourceRecipe
from fo1agent.trainers.data.records import Example, open_picture

_PERIOD = 1 << 10  # draws after which the weights have been kept exactly
_LONGEST = 1 << 22


class Mixture:
    """A weighted, shuffled stream of examples.

    Without weights, every example comes once in each `epoch_size` draws. With weights, each source gets its share of
    every thousand draws or so, starts anew, in another order, when it is through, and is shuffled by itself. A bad
    record's place is taken by the one that comes next in its source.

    Args:
        sources: opened sources.
        weights: one for each source, relative to the others; None for its number of examples.
        seed: of all shuffling.

    Attributes:
        epoch_size: draws in which as many examples are seen as the sources have.
        shares: of each source, in the draws.

    Raises:
        InputError: no sources, or not one weight for each.
        DataError: a source has no examples.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float | None] | None = None, seed: int = 0) -> None:
        weights = [None] * len(sources) if weights is None else list(weights)
        if not sources or len(weights) != len(sources):
            raise InputError(f"A mixture needs sources with one weight each, got {len(sources)} and {len(weights)}.")
        self.sources = tuple(sources)
        self.seed = seed
        self._sizes = np.array([len(source) for source in sources], dtype=np.int64)
        if not self._sizes.all():
            raise DataError(f"{sources[int(self._sizes.argmin())].name} has no examples.")
        self.epoch_size = int(self._sizes.sum())
        given = np.array([n if w is None else w for w, n in zip(weights, self._sizes, strict=True)], dtype=np.float64)
        exact = all(w is None for w in weights) and self.epoch_size <= _LONGEST
        self._quotas = self._sizes if exact else _quotas(given / given.sum())
        self.shares = tuple((self._quotas / self._quotas.sum()).tolist())
        self._period = int(self._quotas.sum())
        self._slots: tuple[int, np.ndarray, np.ndarray] | None = None  # of which period, source and rank of each slot
        self._recipes: tuple[SourceRecipe, ...] = ()
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # by source: of which of its epochs, the order

    @classmethod
    def of(cls, recipes: Sequence[SourceRecipe], seed: int = 0) -> Mixture:
        """Open the sources of a recipe and mix them; such a mixture can be sent to other processes."""
        mixture = cls([open_source(recipe) for recipe in recipes], [recipe.weight for recipe in recipes], seed)
        mixture._recipes = tuple(recipes)
        return mixture

    def __reduce__(self) -> Any:
        # Another process opens the files itself.
        return (Mixture.of, (self._recipes, self.seed)) if self._recipes else super().__reduce__()

    def fingerprint(self) -> str:
        """A hash of what is drawn from: the sources' files (of folders, names and sizes), and their shares.

        Raises:
            DataError: a file cannot be read any more.
        """
        parts = [f"{fingerprint(source.name)} {len(source)}" for source in self.sources]
        return hashlib.sha256("\n".join([*parts, repr(self.shares)]).encode()).hexdigest()[:16]

    def warnings(self) -> list[str]:
        """What some records of each source say of the way they are read, a sentence each; reads them."""
        return [warning for source in self.sources for warning in source.glance()]

    def place(self, position: int) -> tuple[int, int]:
        """Which source a position draws from, and the how-manieth draw from that source it is, from 0."""
        if position < 0:
            raise IndexError(position)
        period, slot = divmod(position, self._period)
        slots = self._slots  # held here, for other threads may be in another period
        if slots is None or slots[0] != period:
            slots = self._slots = (period, *self._shuffled_slots(period))
        _, of_source, ranks = slots
        source = int(of_source[slot])
        return source, period * int(self._quotas[source]) + int(ranks[slot])

    def __getitem__(self, position: int) -> Example:
        """The example at a position, from 0 without end.

        Raises:
            DataError: a source has more bad records than its tolerance allows.
        """
        return self._draw(position, opened=False)[0]

    def open(self, position: int) -> tuple[Example, Image.Image]:
        """The example at a position with its picture; one whose picture cannot be read counts as bad record.

        Where words alone stand (see `SourceRecipe.words_alone`), the next example of that source that has a picture.

        Raises:
            DataError: a source has more bad records than its tolerance allows.
        """
        example, picture = self._draw(position, opened=True)
        assert picture is not None
        return example, picture

    def stream(self, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[Example]:
        """The examples of one process, without end: of positions `start` + `rank`, and every `world`-th after it.

        Raises:
            InputError: no such rank.
        """
        if not 0 <= rank < world or start < 0:
            raise InputError(f"stream wants 0 <= rank < world and start >= 0, got rank {rank} of {world}, {start}.")
        position = start + rank
        while True:
            yield self[position]
            position += world

    def _draw(self, position: int, opened: bool) -> tuple[Example, Image.Image | None]:
        number, drawn = self.place(position)
        source, size = self.sources[number], int(self._sizes[number])
        epoch, index = divmod(drawn, size)
        order = self._order(number, epoch)
        for step in range(size):
            k = int(order[(index + step) % size])
            example = source[k]
            if example is None:
                continue
            if not opened:
                return example, None
            if example.path is None and example.data is None:
                continue  # words alone
            try:
                return example, open_picture(example)
            except DataError as exc:
                source.reject(k, str(exc))
        raise DataError(
            f"{source.name}: none of its {size} records can be used: {'; '.join(source.problems.first[:3])}"
        )

    def _shuffled_slots(self, period: int) -> tuple[np.ndarray, np.ndarray]:
        slots = np.repeat(np.arange(len(self.sources), dtype=np.int32), self._quotas)
        slots = np.random.default_rng([self.seed, period]).permutation(slots)
        ranks = np.empty(len(slots), dtype=np.int32)
        for number, quota in enumerate(self._quotas):
            ranks[slots == number] = np.arange(quota)
        return slots, ranks

    def _order(self, number: int, epoch: int) -> np.ndarray:
        kept = self._orders.get(number)
        if kept is None or kept[0] != epoch:
            order = np.random.default_rng([self.seed, number, epoch, 1]).permutation(int(self._sizes[number]))
            kept = epoch, order.astype(np.uint32 if self._sizes[number] < 1 << 32 else np.int64)
            self._orders[number] = kept
        return kept[1]


def _quotas(shares: np.ndarray) -> np.ndarray:
    """Draws of each source in a period: in proportion to the shares, at least one."""
    period = min(max(_PERIOD, int(np.ceil(1 / shares.min()))), _LONGEST)
    exact = shares * period
    quotas = np.floor(exact).astype(np.int64)
    missing = period - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    return np.maximum(quotas, 1)
