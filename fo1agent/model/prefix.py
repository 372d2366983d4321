"""The beginning of a prompt that was read once, and caches that go on from it. What a cache holds is transformers' own.

Layers of attention hold `keys` and `values`, to which a cache appends; layers with a recurrent state hold `conv_states`
and `recurrent_states`, which it overwrites.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_APPENDED = ("keys", "values")
_ROOM = 64  # tokens that there is room for behind those that are kept, at least


@dataclass
class Prefix:
    """What the decoder keeps of a prompt's beginning, shared by every question that continues it.

    Attributes:
        state: the decoder's cache behind those tokens, never written to; None when nothing was read.
        length: tokens read.
        next_position: position of the token that comes next, the same on all axes.
        region_states: [N, d], last hidden state at each region slot.
        region_tokens: [N, d], what stood in those slots.
    """

    state: Cache | None
    length: int
    next_position: int
    region_states: Tensor
    region_tokens: Tensor

    @classmethod
    def empty(cls, hidden_size: int) -> Prefix:
        """The beginning of a prompt without any picture: nothing."""
        return cls(None, 0, 0, torch.zeros(0, hidden_size), torch.zeros(0, hidden_size))

    def tensors(self) -> list[Tensor]:
        """Every tensor of the state, layer by layer."""
        return [] if self.state is None else [tensor for layer in self.state.layers for tensor in _held(layer)]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in self.tensors()) + self.region_states.nbytes


class RoomyLayer(DynamicLayer):
    """A layer of a cache with room behind what it keeps, so that a new token is written there and no old one copied.

    Room is made anew, for a quarter more, when there is none left, or when somebody has put other keys in their place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rooms: tuple[Tensor, Tensor] | None = None
        self._written: Tensor | None = None

    @classmethod
    def of(cls, layer: DynamicLayer) -> RoomyLayer:
        """What goes on from a layer, which stays as it is."""
        roomy = cls()
        for name, value in vars(layer).items():
            setattr(roomy, name, value)
        roomy._rooms = None  # its own room
        return roomy

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() and key_states.requires_grad:  # what is read for a gradient is not written over
            return super().update(key_states, value_states, *args, **kwargs)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begun, new = self.get_seq_length(), key_states.shape[-2]
        end = begun + new
        if self._rooms is None or self._written is not self.keys or self._rooms[0].shape[-2] < end:
            room = end + max(end // 4, _ROOM)
            self._rooms = _moved(self.keys, begun, key_states, room), _moved(self.values, begun, value_states, room)
        keys, values = self._rooms
        keys[..., begun:end, :], values[..., begun:end, :] = key_states, value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        self._written = self.keys
        return self.keys, self.values


def _moved(old: Tensor | None, length: int, new: Tensor, room: int) -> Tensor:
    """Room for so many tokens like the new ones [B, heads, n, head], in which the old ones, `length` of them, stand."""
    roomy = new.new_empty(*new.shape[:-2], room, new.shape[-1])
    if old is not None and length:
        roomy[..., :length, :] = old
    return roomy


def roomy(cache: Cache) -> Cache:
    """The same cache, with room for more tokens in its layers of attention."""
    cache.layers = [RoomyLayer.of(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if cache.layer_class_to_replicate is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache


def forked(cache: Cache, rows: int = 1) -> Cache:
    """A cache of so many rows that go on from a cache of one row, which stays as it is."""
    twin = copy.copy(cache)
    twin.layers = [_forked(layer, rows) for layer in cache.layers]
    return twin


def cut(cache: Cache, length: int) -> Cache | None:
    """A cache of one row that goes on from the first tokens of another, which stays as it is.

    None where some layer keeps more than keys and values of every token: a recurrent state cannot be cut.
    """
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    twin = forked(cache)
    for layer in twin.layers:
        for name in _APPENDED:
            setattr(layer, name, getattr(layer, name)[:, :, :length])
    return twin


def joined(prefixes: Sequence[Prefix], empty: Cache) -> Cache:
    """A cache whose rows go on from several prefixes, which stay as they are; zeros stand behind the shorter ones.

    Args:
        prefixes: of a decoder that has attention in all layers.
        empty: what is returned when nothing was read of any.
    """
    read = {row: prefix.state for row, prefix in enumerate(prefixes) if prefix.state is not None}
    if not read:
        return empty
    cache = forked(next(iter(read.values())))
    for index, layer in enumerate(cache.layers):
        for name in _APPENDED:
            own = {row: getattr(state.layers[index], name)[0] for row, state in read.items()}  # [heads, L, head]
            first = next(iter(own.values()))
            rows = first.new_zeros(len(prefixes), len(first), max(one.shape[1] for one in own.values()), first.shape[2])
            for row, one in own.items():
                rows[row, :, : one.shape[1]] = one
            setattr(layer, name, rows)
    return cache


def _forked(layer: Any, rows: int) -> Any:
    twin = copy.copy(layer)
    for name in _APPENDED:
        if getattr(twin, name, None) is not None:
            value = getattr(twin, name)
            setattr(twin, name, value.expand(rows, *value.shape[1:]))
    for name, value in vars(layer).items():
        if isinstance(value, dict):
            setattr(twin, name, {key: _copied(one, rows) for key, one in value.items()})
    return twin


def _copied(value: Any, rows: int) -> Any:
    return value.expand(rows, *value.shape[1:]).clone() if isinstance(value, Tensor) else value


def _held(layer: Any) -> Iterator[Tensor]:
    for name in _APPENDED:
        if getattr(layer, name, None) is not None:
            yield getattr(layer, name)
    for value in vars(layer).values():
        if isinstance(value, dict):
            yield from (one for one in value.values() if isinstance(one, Tensor))
