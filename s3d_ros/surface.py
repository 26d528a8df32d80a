"""The surface's points, kept block by block: only blocks that changed are extracted again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from s3d_ros.fusion import Fusion
from s3d_ros.tiles import block_keys
from s3d_ros.types import F32, I32, I64, U8, Bools

_NEWS_VOXELS = 4  # of the 512 of a block
# A block and its neighbours towards +z, +y, +x: as the axes of the arrays come
_UPPER = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]], np.int32)
_CHUNK = 256  # blocks extracted at once: bounds the memory, and the time that Python's lock is held


class Surface:
    """Points (k, 3) float32 in the map and colours (k, 3) uint8 of every block that holds surface."""

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion
        self._extracted: dict[int, tuple[int, int]] = {}  # voxels inside of things, and known ones, back then
        self._points: dict[int, F32] = {}
        self._colors: dict[int, U8] = {}
        self._count = 0  # points in all
        self._waiting: I32 = np.zeros((0, 3), np.int32)

    def update(self) -> list[int]:
        """Extract what fusion changed since the last call; return the keys of the blocks that were looked at."""
        self.collect()
        keys: list[int] = []
        while len(self._waiting):
            keys += self.step()
        return keys

    def collect(self) -> None:
        """Note which blocks are to be extracted again; ``step`` does it.

        A block owns the crossings between its voxels and those towards its +x, +y, +z neighbours, so the -x, -y, -z
        neighbours of a changed block are looked at, too.
        """
        changed = self._fusion.take_dirty()
        if len(changed):
            changed = changed[self._really_changed(changed)]
        waiting = np.concatenate([self._waiting, (changed[:, None] - _UPPER).reshape(-1, 3)])
        self._waiting = waiting[np.unique(block_keys(waiting), return_index=True)[1]]

    @property
    def has_work(self) -> bool:
        """Whether a ``step`` has anything to do."""
        return len(self._waiting) > 0

    @property
    def size_bytes(self) -> int:
        """Of points and colours."""
        return self._count * (3 * 4 + 3)

    def step(self) -> list[int]:
        """Extract some of the waiting blocks, a few milliseconds' work; return their keys."""
        part, self._waiting = self._waiting[:_CHUNK], self._waiting[_CHUNK:]
        keys: list[int] = block_keys(part).tolist()
        if keys:
            self._extract(part, keys)
        return keys

    def _really_changed(self, coords: I32) -> Bools:
        """Return which blocks (N,) lie differently inside or outside of things than when they were last extracted.

        A surface that is seen again moves by fractions of a voxel: not worth drawing it anew.
        """
        out = np.zeros(len(coords), bool)
        for start in range(0, len(coords), _CHUNK):
            part = slice(start, start + _CHUNK)
            inside, known = self._fusion.inside_counts(coords[part])
            for i, key in enumerate(block_keys(coords[part]).tolist()):
                was = self._extracted.get(key, (-1, -1))
                now = (int(inside[i]), int(known[i]))
                if now[1] < 0:  # it is no more
                    self._extracted.pop(key, None)
                    out[start + i] = True
                elif abs(now[0] - was[0]) >= _NEWS_VOXELS or abs(now[1] - was[1]) >= _NEWS_VOXELS:
                    self._extracted[key] = now
                    out[start + i] = True
        return out

    def get(self, keys: Iterable[int]) -> tuple[F32, U8]:
        """Return the points and colours of these blocks together."""
        there = [k for k in keys if k in self._points]
        if not there:
            return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
        points = np.concatenate([self._points[k] for k in there])
        return points, np.concatenate([self._colors[k] for k in there])

    def holding(self, keys: set[int]) -> set[int]:
        """Return those of these blocks that hold surface."""
        return self._points.keys() & keys

    def keys(self) -> list[int]:
        """Return the keys of all blocks that hold surface."""
        return list(self._points)

    def all(self) -> tuple[F32, U8]:
        """Return all points and colours."""
        return self.get(self.keys())

    def _extract(self, coords: I32, keys: list[int]) -> None:
        """Find the zero crossings of the signed distance along the three axes and put them where they cross."""
        config = self._fusion.config
        b, voxel_m = config.block_voxels, np.float32(config.voxel_size_m)
        slots = self._fusion.slots((coords[:, None] + _UPPER).reshape(-1, 3)).reshape(-1, 4)  # own, +z, +y, +x
        tsdf, weight = self._with_border(slots)
        seen = weight > self._fusion.weight_threshold
        inside = tsdf < 0
        rows, points, colors = [], [], []
        here = (slice(None), slice(0, b), slice(0, b), slice(0, b))
        for axis in range(3):  # of the arrays: z, y, x
            there = tuple(slice(1, b + 1) if i == axis + 1 else s for i, s in enumerate(here))
            crossing = (inside[here] != inside[there]) & seen[here] & seen[there]
            n, *zyx = np.unravel_index(np.flatnonzero(crossing), crossing.shape)
            step = np.eye(3, dtype=np.int64)[axis]
            beyond = [place + d for place, d in zip(zyx, step, strict=True)]
            da, dc = tsdf[n, *zyx], tsdf[n, *beyond]
            share = da / np.where(da == dc, 1, da - dc)
            local = np.stack(zyx[::-1], axis=1).astype(np.float32)
            local[:, 2 - axis] += share
            rows.append(n)
            points.append((coords[n] * np.float32(b) + local) * voxel_m)
            far = share > 0.5  # the colour is that of the nearer voxel, which may be a neighbour's
            z, y, x = (np.where(far, q, p) for p, q in zip(zyx, beyond, strict=True))
            over = far & (beyond[axis] == b)
            colors.append(self._fusion.colors(slots[n, np.where(over, axis + 1, 0)], ((z % b) * b + y % b) * b + x % b))
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        split = np.searchsorted(row[order], np.arange(len(keys) + 1))
        all_points = np.concatenate(points)[order]
        all_colors = np.clip(np.concatenate(colors)[order] + 0.5, 0, 255).astype(np.uint8)
        for key, (start, end) in zip(keys, itertools.pairwise(split.tolist()), strict=True):
            self._count += end - start - len(self._points.get(key, ()))
            if start == end:
                self._points.pop(key, None)
                self._colors.pop(key, None)
            else:
                self._points[key] = all_points[start:end].copy()  # a view would keep the whole chunk alive
                self._colors[key] = all_colors[start:end].copy()

    def _with_border(self, slots: I64) -> tuple[F32, F32]:
        """Return tsdf and weight (N, B+1, B+1, B+1) with the first layers of the neighbours: slots (N, 4)."""
        b = self._fusion.config.block_voxels
        shape = (len(slots), b + 1, b + 1, b + 1)
        tsdf, weight = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        inner = (slice(None), slice(0, b), slice(0, b), slice(0, b))
        tsdf[inner], weight[inner] = self._fusion.blocks(slots[:, 0])
        for axis in range(3):
            t, w = self._fusion.blocks(slots[:, axis + 1])
            layer = tuple(b if i == axis + 1 else s for i, s in enumerate(inner))
            first = tuple(0 if i == axis + 1 else slice(None) for i in range(4))
            tsdf[layer], weight[layer] = t[first], w[first]
        return tsdf, weight
