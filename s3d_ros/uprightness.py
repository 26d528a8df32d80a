"""Which way is up, from what the camera sees: for recordings whose map is not z-up."""

from __future__ import annotations

import cv2
import numpy as np

from s3d_ros.geometry import backproject
from s3d_ros.keys import ConfigError
from s3d_ros.types import F32, F64, Frame

_MOST_NORMALS = 200_000
_LARGEST_TILT_DEG = 60.0  # between the camera's own up and the true one
_STRIDE = 8
_SAME_UP = np.cos(np.deg2rad(0.5))


def is_same_up(a: F64, b: F64) -> bool:
    """Whether two unit vectors (3,) are within half a degree."""
    return bool(a @ b >= _SAME_UP)


def parse_up(text: str) -> F64 | None:
    """Return up (3,) from "z", "default" or "x,y,z"; None for "auto". Raises ConfigError for anything else."""
    if text == "auto":
        return None
    if text in ("z", "default"):
        return np.array([0.0, 0.0, 1.0])
    try:
        up = np.array([float(v) for v in text.split(",")])
    except ValueError:
        up = np.zeros(0)
    if up.shape != (3,) or not np.isfinite(up).all() or np.linalg.norm(up) < 1e-6:
        raise ConfigError(f'map.up = {text!r} must be "z", "auto", "default" or three numbers like "0,0,1"')
    return up / np.linalg.norm(up)


class UpFinder:
    """Collects surface normals; the direction near the camera's up that most of them share is up."""

    def __init__(self) -> None:
        self._normals: list[F32] = []
        self._count = 0
        self._camera_up: list[F64] = []

    def add(self, frame: Frame) -> None:
        """Take the normals of one frame into account."""
        if self._count < _MOST_NORMALS:
            normals = frame_normals(frame) @ frame.T_map_camera[:3, :3].T.astype(np.float32)
            self._normals.append(normals)
            self._count += len(normals)
        self._camera_up.append(-frame.T_map_camera[:3, 1])

    def estimate(self) -> F64 | None:
        """Return up (3,), a unit vector of the map, or None when too little was seen."""
        if self._count < 500:
            return None
        normals = np.concatenate(self._normals)
        camera_up = np.mean(self._camera_up, axis=0)
        camera_up /= np.linalg.norm(camera_up)
        normals = normals[normals @ camera_up > np.cos(np.deg2rad(_LARGEST_TILT_DEG))]
        if len(normals) < 200:
            return None
        seeds = normals[:: max(1, len(normals) // 200)]
        support = (seeds @ normals.T > np.cos(np.deg2rad(8))).sum(axis=1)
        up = seeds[int(np.argmax(support))].astype(np.float64)
        for width_deg in (12.0, 8.0, 5.0, 5.0):  # mean shift
            near = normals[normals @ up > np.cos(np.deg2rad(width_deg))]
            up = near.mean(axis=0).astype(np.float64)
            up /= np.linalg.norm(up)
        return up


def frame_normals(frame: Frame) -> F32:
    """Return unit normals (N, 3) in the camera frame, facing the camera, of the smooth parts of a frame."""
    depth = cv2.medianBlur(frame.depth_m, 5)
    start = _STRIDE // 2
    points = backproject(depth, frame.intrinsics)
    a = points[start - 3 : -3 : _STRIDE, start:-start:_STRIDE]
    rows, columns = a.shape[:2]

    def at(dv: int, du: int) -> F32:
        part = points[start + dv :: _STRIDE, start + du :: _STRIDE]
        return part[:rows, :columns]

    right, left, below, above = at(0, 3), at(0, -3), at(3, 0), at(-3, 0)
    good = (right[..., 2] > 0) & (left[..., 2] > 0) & (below[..., 2] > 0) & (above[..., 2] > 0)
    step = np.maximum(abs(right[..., 2] - left[..., 2]), abs(below[..., 2] - above[..., 2]))
    good &= step < 0.05 * at(0, 0)[..., 2] + 0.02
    n = np.cross(right - left, below - above)[good]
    length = np.linalg.norm(n, axis=1, keepdims=True)
    n = n[length[:, 0] > 0] / length[length[:, 0] > 0]
    return np.where(n[:, 2:] > 0, -n, n).astype(np.float32)
