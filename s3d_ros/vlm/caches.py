"""What a model keeps of what it has read: encoded pictures, and keys and values of prompts' beginnings."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from s3d_ros.vlm.tokens import I64, common_prefix

_ROOM = 512  # tokens; a buffer that is full grows by this, and keeps at most twice this when it is put away


class _Layer(DynamicLayer):
    """Keys and values of one layer in buffers with room at the end: a token is written, nothing is copied."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None
        self._expected = 0
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.length + key_states.shape[-2]
        if self._buffers is None or end > self._buffers[0].shape[-2]:
            self._resize(max(end + _ROOM, self._expected), key_states, value_states)
        assert self._buffers is not None
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., self.length : end, :] = states
        self._show(end)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def reserve(self, tokens: int) -> None:
        self._expected = tokens
        if self._buffers is not None and tokens > self._buffers[0].shape[-2]:
            self._resize(tokens, *self._buffers)

    def cut(self, length: int) -> None:
        if length < self.length:
            self._show(length)

    def shrink(self) -> None:
        if self._buffers is not None and self._buffers[0].shape[-2] > self.length + 2 * _ROOM:
            self._resize(self.length + _ROOM, *self._buffers)

    def copied(self, length: int) -> _Layer:
        copy = _Layer()
        if self._buffers is not None:
            copy.update(*(b[..., :length, :] for b in self._buffers))
        return copy

    @property
    def bytes(self) -> int:
        return 0 if self._buffers is None else sum(b.numel() * b.element_size() for b in self._buffers)

    def _show(self, length: int) -> None:
        assert self._buffers is not None
        self.length = length
        self.keys, self.values = (b[..., :length, :] for b in self._buffers)
        self.is_initialized = True

    def _resize(self, capacity: int, *like: torch.Tensor) -> None:
        old = self._buffers
        new = []
        for k, states in enumerate(like):
            buffer = states.new_empty((*states.shape[:-2], capacity, states.shape[-1]))
            if old is not None:
                buffer[..., : self.length, :] = old[k][..., : self.length, :]
            new.append(buffer)
        self.dtype, self.device = new[0].dtype, new[0].device
        self._buffers = (new[0], new[1])
        self._show(self.length)


class ReadCache(Cache):
    """Keys and values of all layers for one sequence; can be cut anywhere."""

    def __init__(self, layers: list[_Layer]) -> None:
        super().__init__(layers=layers)

    @property
    def length(self) -> int:
        return min((layer.length for layer in self.layers), default=0)

    @property
    def bytes(self) -> int:
        return sum(layer.bytes for layer in self.layers)

    def cut(self, length: int) -> None:
        for layer in self.layers:
            layer.cut(length)

    def reserve(self, tokens: int) -> None:
        for layer in self.layers:
            layer.reserve(tokens)

    def shrink(self) -> None:
        for layer in self.layers:
            layer.shrink()

    def copied(self, length: int) -> ReadCache:
        return ReadCache([layer.copied(length) for layer in self.layers])


def uncuttable_layers(config: Any) -> list[str]:
    """Return the kinds of the model's layers whose cache can't be cut anywhere (sliding window, state space)."""
    return sorted({type(x).__name__ for x in DynamicCache(config=config).layers if type(x) is not DynamicLayer})


@dataclass(eq=False)
class Read:
    """One sequence that was read. keys: of the tokens in the cache. shared: so many come again with other questions."""

    cache: ReadCache
    keys: I64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shared: int = 0

    def settle(self, keys: I64, shared: int) -> None:
        """Put away: keep what ``keys`` tells, drop the rest of the cache."""
        self.keys, self.shared = keys, min(shared, len(keys))
        self.cache.cut(len(keys))
        self.cache.shrink()


class ReadStore:
    """What was read of several scenes. Over the cap, or over ``most``, the least recently used goes first."""

    def __init__(self, layers: int, cap_bytes: int, most: int) -> None:
        self._layers = layers
        self._cap_bytes = cap_bytes
        self._most = most
        self._reads: list[Read] = []  # least recently used first
        self.evicted = 0

    @property
    def bytes(self) -> int:
        return sum(r.cache.bytes for r in self._reads)

    @property
    def tokens(self) -> int:
        return sum(len(r.keys) for r in self._reads)

    def __len__(self) -> int:
        return len(self._reads)

    def longest(self, keys: I64) -> int:
        """Return how many leading tokens are there already."""
        return max((common_prefix(r.keys, keys) for r in self._reads), default=0)

    def take(self, keys: I64) -> tuple[Read, int]:
        """Return what to go on from for a prompt that begins with keys, and how many of these it holds.

        It is cut to these. If that would cost another scene's shared part, and there is room, it is a copy.
        """
        newest_first = self._reads[::-1]
        best = max(newest_first, key=lambda r: common_prefix(r.keys, keys), default=None)
        known = 0 if best is None else common_prefix(best.keys, keys)
        if best is None or known == 0:
            return Read(self._new()), 0
        if known < best.shared and self._make_room(best, best.cache.bytes * known // max(1, len(best.keys))):
            return Read(best.cache.copied(known), best.keys[:known], known), known
        self._reads = [r for r in self._reads if r is not best]
        best.settle(best.keys[:known], best.shared)
        return best, known

    def put(self, read: Read) -> None:
        """Put away what was read; the caller has settled it."""
        if not len(read.keys):
            return
        self._reads = [r for r in self._reads if not _within(r, read)] + [read]
        while self._reads and (len(self._reads) > self._most or self.bytes > self._cap_bytes):
            self._reads.pop(0)
            self.evicted += 1

    def clear(self) -> None:
        self._reads.clear()

    def _make_room(self, keep: Read, more_bytes: int) -> bool:
        if self._most < 2 or keep.cache.bytes + more_bytes > self._cap_bytes:
            return False
        while len(self._reads) > self._most - 1 or self.bytes + more_bytes > self._cap_bytes:
            self._reads.remove(next(r for r in self._reads if r is not keep))
            self.evicted += 1
        return True

    def _new(self) -> ReadCache:
        return ReadCache([_Layer() for _ in range(self._layers)])


def _within(old: Read, new: Read) -> bool:
    """Whether all that is worth keeping of the old is in the new."""
    return common_prefix(old.keys, new.keys) >= max(1, old.shared)


class ImageStore:
    """Features of pictures by key; the least recently used goes first."""

    def __init__(self, cap_bytes: int) -> None:
        self._cap_bytes = cap_bytes
        self._features: OrderedDict[Any, tuple[torch.Tensor, ...]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._features)

    def get(self, key: Any) -> tuple[torch.Tensor, ...] | None:
        if key in self._features:
            self._features.move_to_end(key)
        return self._features.get(key)

    def put(self, key: Any, features: tuple[torch.Tensor, ...]) -> None:
        self._features[key] = features
        self.bytes += _size(features)
        while self._features and self.bytes > self._cap_bytes:
            _, gone = self._features.popitem(last=False)
            self.bytes -= _size(gone)

    def clear(self) -> None:
        self._features.clear()
        self.bytes = 0


def _size(features: tuple[torch.Tensor, ...]) -> int:
    return sum(f.numel() * f.element_size() for f in features)
