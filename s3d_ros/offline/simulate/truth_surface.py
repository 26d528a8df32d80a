"""The surface that a recording really showed: ``truth/surface.npz``, without any error of depth or pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3d_ros.timing import Periodic
from s3d_ros.types import F32, F64, I64, U16, Intrinsics

VOXEL_M = 0.05
_PERIOD_S = 0.5
_STRIDE = 4  # at 640 pixels of width
_FAR_M = 5.0  # what is further away is not taken to be seen, as by the mapper
_LEAST_PIXELS = 2


class TruthSurface:
    """Collects one point for each voxel of 5 cm and object in it, 0 being none: walls, floor."""

    def __init__(self, intrinsics: Intrinsics) -> None:
        self._k = intrinsics
        self._due = Periodic(_PERIOD_S)
        self._keys: I64 = np.zeros((0, 2), np.int64)  # voxel, object
        self._sums: F64 = np.zeros((0, 4))

    def add(self, stamp_ns: int, depth_m: F32, things: U16, T_map_camera: F64) -> None:
        """Take a frame: true depth (H, W) in metres, true ids (H, W), true camera-to-map. Twice a second is enough."""
        if not self._due.due(stamp_ns):
            return
        stride = max(1, round(_STRIDE * self._k.width / 640))
        depth = depth_m[::stride, ::stride]
        v, u = np.nonzero((depth > 0) & (depth <= _FAR_M))
        z = depth[v, u].astype(np.float64)
        x = (u * stride - self._k.cx) * z / self._k.fx
        y = (v * stride - self._k.cy) * z / self._k.fy
        points = np.stack([x, y, z], axis=1) @ T_map_camera[:3, :3].T + T_map_camera[:3, 3]
        ids = things[::stride, ::stride][v, u].astype(np.int64)
        keys = np.stack([_voxels(points), ids], axis=1)
        self._merge(keys, np.column_stack([points, np.ones(len(points))]))

    def forget(self, object_id: int) -> None:
        """Forget an object: it was taken away, or stands elsewhere."""
        kept = self._keys[:, 1] != object_id
        self._keys, self._sums = self._keys[kept], self._sums[kept]

    def write(self, path: Path) -> None:
        """Write points (N, 3) float32 in the map and ids (N,) int32."""
        kept = self._sums[:, 3] >= _LEAST_PIXELS
        points = self._sums[kept, :3] / self._sums[kept, 3:]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, points=points.astype(np.float32), ids=self._keys[kept, 1].astype(np.int32))

    def _merge(self, keys: I64, sums: F64) -> None:
        keys, sums = np.concatenate([self._keys, keys]), np.concatenate([self._sums, sums])
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        keys, sums = keys[order], sums[order]
        first = np.flatnonzero(np.append(True, (np.diff(keys, axis=0) != 0).any(axis=1)))[: len(keys)]
        self._keys = keys[first]
        self._sums = np.add.reduceat(sums, first, axis=0) if len(keys) else sums


def _voxels(points: F64) -> I64:
    voxel = np.floor(points / VOXEL_M).astype(np.int64) + (1 << 20)
    return np.asarray((voxel[:, 0] << 42) | (voxel[:, 1] << 21) | voxel[:, 2])
