"""What one frame shows to be empty."""

from __future__ import annotations

import cv2
import numpy as np

from s3d_ros.geometry import invert
from s3d_ros.types import F32, Bools, Frame


class EmptySpace:
    """The space that a frame looks through: a point is empty when all that surrounds its pixel lies well behind it.

    A point at depth z is seen through where the depth of its pixel and of the eight around it are all known and
    exceed z by more than ``margin_m + noise_per_m * z^2``.
    """

    def __init__(self, frame: Frame, margin_m: float, noise_per_m: float) -> None:
        self.frame = frame
        self.margin_m = margin_m
        self.noise_per_m = noise_per_m
        self.T_camera_map = invert(frame.T_map_camera)
        self.far_m = float(frame.depth_m.max(initial=0.0))
        # Unknown depth is 0, so the minimum over 3x3 is 0, too, and nothing is seen through there.
        self._depth = cv2.erode(frame.depth_m, np.ones((3, 3), np.uint8))

    def contains(self, points: F32) -> Bools:
        """Return which of the points (N, 3) of the map are seen to be empty, (N,)."""
        z, seen = self._depth_at(points, self._depth)
        return np.asarray(seen > z + self.margin_m + self.noise_per_m * z * z)

    def shows(self, points: F32) -> Bools:
        """Return which of the points (N, 3) of the map lie on the surface that is seen, (N,)."""
        z, seen = self._depth_at(points, self.frame.depth_m)
        return np.asarray((seen > 0) & (np.abs(seen - z) <= self.margin_m + self.noise_per_m * z * z))

    def _depth_at(self, points: F32, depth: F32) -> tuple[F32, F32]:
        """Return how deep points (N, 3) lie, (N,), and the depth of their pixels, 0 outside of the image."""
        T, K = self.T_camera_map.astype(np.float32), self.frame.intrinsics
        camera = points @ T[:3, :3].T + T[:3, 3]
        z = np.maximum(camera[:, 2], 1e-3)
        u = np.rint(camera[:, 0] / z * np.float32(K.fx) + np.float32(K.cx))
        v = np.rint(camera[:, 1] / z * np.float32(K.fy) + np.float32(K.cy))
        inside = (u >= 0) & (v >= 0) & (u < K.width) & (v < K.height) & (camera[:, 2] > 0.1)
        at = np.where(inside, v * K.width + u, 0).astype(np.int64)
        return z, np.where(inside, depth.ravel()[at], 0)
