"""The surface's points, kept block by block: only blocks that changed are extracted again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from s3d_ros.fusion import Fusion
from s3d_ros.tiles import block_keys
from s3d_ros.types import F32, I32, U8, Bools

_NEWS_VOXELS = 4  # of the 512 of a block
_CHUNK = 512  # blocks extracted at once: bounds the memory, and the time that Python's lock is held


class Surface:
    """Points (k, 3) float32 in the map and colours (k, 3) uint8 of every block that holds surface."""

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion
        self._extracted: dict[int, tuple[int, int]] = {}  # voxels inside of things, and known ones, back then
        self._points: dict[int, F32] = {}
        self._colors: dict[int, U8] = {}

    def reset(self) -> None:
        self._extracted.clear()
        self._points.clear()
        self._colors.clear()

    def update(self) -> list[int]:
        """Extract what fusion changed since the last call; return the keys of the blocks that were looked at.

        A block owns the crossings between its voxels and those towards its +x, +y, +z neighbours, so the -x, -y, -z
        neighbours of a changed block are looked at, too.
        """
        changed = self._fusion.take_dirty()
        if not len(changed):
            return []
        changed = changed[self._really_changed(changed)]
        if not len(changed):
            return []
        steps = np.array([[0, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], np.int32)
        around = (changed[:, None] + steps).reshape(-1, 3)
        keys, first = np.unique(block_keys(around), return_index=True)
        around = around[first]
        for start in range(0, len(around), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._extract(around[part], keys[part].tolist())
        return keys.tolist()

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
                if abs(now[0] - was[0]) >= _NEWS_VOXELS or abs(now[1] - was[1]) >= _NEWS_VOXELS:
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
        tsdf, weight, color = self._with_border(coords)
        seen = weight > self._fusion.weight_threshold
        rows, points, colors = [], [], []
        here = (slice(None), slice(0, b), slice(0, b), slice(0, b))
        for axis in range(3):  # of the arrays: z, y, x
            there = tuple(slice(1, b + 1) if i == axis + 1 else s for i, s in enumerate(here))
            a, c = tsdf[here], tsdf[there]
            crossing = ((a < 0) != (c < 0)) & seen[here] & seen[there]
            n, z, y, x = np.nonzero(crossing)
            da, dc = a[n, z, y, x], c[n, z, y, x]
            share = da / np.where(da == dc, 1, da - dc)
            local = np.stack([x, y, z], axis=1).astype(np.float32)
            local[:, 2 - axis] += share
            rows.append(n)
            points.append((coords[n] * np.float32(b) + local) * voxel_m)
            far = share > 0.5
            step = np.eye(3, dtype=np.int64)[axis]
            colors.append(color[n, z + far * step[0], y + far * step[1], x + far * step[2]])
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        split = np.searchsorted(row[order], np.arange(len(keys) + 1))
        all_points = np.concatenate(points)[order]
        all_colors = np.clip(np.concatenate(colors)[order] + 0.5, 0, 255).astype(np.uint8)
        for key, (start, end) in zip(keys, itertools.pairwise(split.tolist()), strict=True):
            if start == end:
                self._points.pop(key, None)
                self._colors.pop(key, None)
            else:
                self._points[key] = all_points[start:end].copy()  # a view would keep the whole chunk alive
                self._colors[key] = all_colors[start:end].copy()

    def _with_border(self, coords: I32) -> tuple[F32, F32, F32]:
        """Return tsdf, weight (N, B+1, B+1, B+1) and colour (.., 3) with the +x, +y, +z neighbours' first layers."""
        b = self._fusion.config.block_voxels
        n = len(coords)
        shape = (n, b + 1, b + 1, b + 1)
        tsdf, weight = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        color = np.zeros((*shape, 3), np.float32)
        inner = (slice(None), slice(0, b), slice(0, b), slice(0, b))
        tsdf[inner], weight[inner], color[inner] = self._fusion.blocks(coords)
        for axis in range(3):
            step = np.zeros(3, np.int32)
            step[2 - axis] = 1
            t, w, c = self._fusion.blocks(coords + step)
            layer = tuple(b if i == axis + 1 else s for i, s in enumerate(inner))
            first = tuple(0 if i == axis + 1 else slice(None) for i in range(4))
            tsdf[layer], weight[layer], color[layer] = t[first], w[first], c[first]
        return tsdf, weight, color
