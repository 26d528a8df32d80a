"""Numbers for integer coordinates, in the order in which they come: where what belongs to them is kept, in arrays."""

from __future__ import annotations

import numpy as np
import open3d.core as o3c

from s3d_ros.types import I32, I64

_AT_ONCE = 1 << 13  # Python's lock is held meanwhile


class Numbering:
    """Coordinates (x, y, z) -> 0, 1, 2, ...: a hash. It grows in parts, so that no thread waits long for another."""

    def __init__(self, capacity: int) -> None:
        self._hash = _new_hash(capacity)
        self._keys = np.zeros((capacity, 3), np.int32)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def keys(self) -> I32:
        """Coordinates (N, 3) by number."""
        return self._keys[: self._size]

    def find(self, keys: I32) -> I64:
        """Return the number of each of some coordinates (N, 3), (N,), -1 where there is none."""
        if not len(keys):  # Open3D refuses to look for nothing
            return np.zeros(0, np.int64)
        rows, found = self._hash.find(o3c.Tensor.from_numpy(np.ascontiguousarray(keys, dtype=np.int32)))
        values = self._hash.value_tensor().numpy()[:, 0]
        return np.where(found.numpy(), values[rows.numpy().astype(np.int64)], -1).astype(np.int64)

    def add(self, keys: I32) -> I64:
        """Number coordinates (N, 3), none of which has a number yet and no two of which are the same; return these."""
        size = self._size + len(keys)
        if size > int(self._hash.capacity()):
            # Open3D would grow by itself, but that takes ten times as long, and holds Python's lock all the while.
            self._hash = _new_hash(2 * size)
            self._enter(self.keys, 0)
        if size > len(self._keys):
            more = max(size, 2 * len(self._keys)) - len(self._keys)
            self._keys = np.concatenate([self._keys, np.zeros((more, 3), np.int32)])
        self._keys[self._size : size] = keys
        self._enter(self._keys[self._size : size], self._size)
        numbers, self._size = np.arange(self._size, size), size
        return numbers

    def _enter(self, keys: I32, first: int) -> None:
        # Open3D's own slots change whenever the hash grows: the value is a number of our own that doesn't.
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            rows, _ = self._hash.activate(o3c.Tensor.from_numpy(part))
            numbers = np.arange(first + start, first + start + len(part))
            self._hash.value_tensor().numpy()[rows.numpy().astype(np.int64), 0] = numbers


def _new_hash(capacity: int) -> o3c.HashMap:
    # Keys of three int32: Open3D hashes single int64 keys so badly that a look-up takes seconds.
    return o3c.HashMap(capacity, o3c.int32, o3c.SizeVector((3,)), o3c.int32, o3c.SizeVector((1,)), o3c.Device("CPU:0"))
