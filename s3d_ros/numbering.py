"""Numbers for integer coordinates, each the lowest that is free: where what belongs to them is kept, in arrays."""

from __future__ import annotations

import numpy as np
import open3d.core as o3c

from s3d_ros.types import I32, I64

_AT_ONCE = 1 << 13  # Python's lock is held meanwhile


class Numbering:
    """Coordinates (x, y, z) -> 0, 1, 2, ...: a hash. It grows in parts, so that no thread waits long for another.

    Numbers that are given back are given again, the lowest first: which, follows from those that are in use.
    """

    def __init__(self, capacity: int) -> None:
        self._hash = _new_hash(capacity)
        self._keys = np.zeros((capacity, 3), np.int32)
        self._end = 0
        self._free = np.zeros(0, np.int64)  # sorted, below the end

    def __len__(self) -> int:
        return self._end - len(self._free)

    @property
    def end(self) -> int:
        """All numbers that were ever given lie below."""
        return self._end

    @property
    def keys(self) -> I32:
        """Coordinates (end, 3) by number; those of numbers that are not in use mean nothing."""
        return self._keys[: self._end]

    @property
    def used(self) -> I64:
        """The numbers in use (N,), ascending."""
        is_used = np.ones(self._end, bool)
        is_used[self._free] = False
        return np.flatnonzero(is_used)

    def find(self, keys: I32) -> I64:
        """Return the number of each of some coordinates (N, 3), (N,), -1 where there is none."""
        if not len(keys):  # Open3D refuses to look for nothing
            return np.zeros(0, np.int64)
        rows, found = self._hash.find(o3c.Tensor.from_numpy(np.ascontiguousarray(keys, dtype=np.int32)))
        values = self._hash.value_tensor().numpy()[:, 0]
        return np.where(found.numpy(), values[rows.numpy().astype(np.int64)], -1).astype(np.int64)

    def add(self, keys: I32) -> I64:
        """Number coordinates (N, 3), none of which has a number yet and no two of which are the same; return these."""
        again, self._free = self._free[: len(keys)], self._free[len(keys) :]
        end = self._end + len(keys) - len(again)
        numbers = np.concatenate([again, np.arange(self._end, end)])
        if end > len(self._keys):
            more = max(end, 2 * len(self._keys)) - len(self._keys)
            self._keys = np.concatenate([self._keys, np.zeros((more, 3), np.int32)])
        self._keys[numbers], self._end = keys, end
        self._enter(numbers)
        return numbers

    def remove(self, numbers: I64) -> None:
        """Give back numbers (N,) that are in use, no two of which are the same: their coordinates have none then."""
        if not len(numbers):
            return
        for start in range(0, len(numbers), _AT_ONCE):
            part = np.ascontiguousarray(self._keys[numbers[start : start + _AT_ONCE]])
            self._hash.erase(o3c.Tensor.from_numpy(part))
        self._free = np.sort(np.concatenate([self._free, numbers]))

    def restore(self, keys: I32, is_used: np.ndarray) -> None:
        """Number coordinates (N, 3) from 0 on, in an empty numbering; those that are not used (N,) are free."""
        self._end, self._free = len(keys), np.flatnonzero(~is_used)
        if len(keys) > len(self._keys):
            self._keys = np.zeros((len(keys), 3), np.int32)
        self._keys[: len(keys)] = keys
        self._enter(np.flatnonzero(is_used))

    def _enter(self, numbers: I64) -> None:
        if len(self) > int(self._hash.capacity()):
            # Open3D would grow by itself, but that takes ten times as long, and holds Python's lock all the while.
            self._hash = _new_hash(2 * len(self))
            numbers = self.used
        # Open3D's own slots change whenever the hash grows: the value is a number of our own that doesn't.
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            rows, _ = self._hash.activate(o3c.Tensor.from_numpy(np.ascontiguousarray(self._keys[part])))
            self._hash.value_tensor().numpy()[rows.numpy().astype(np.int64), 0] = part


def _new_hash(capacity: int) -> o3c.HashMap:
    # Keys of three int32: Open3D hashes single int64 keys so badly that a look-up takes seconds.
    return o3c.HashMap(capacity, o3c.int32, o3c.SizeVector((3,)), o3c.int32, o3c.SizeVector((1,)), o3c.Device("CPU:0"))
