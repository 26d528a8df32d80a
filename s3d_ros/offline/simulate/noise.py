"""Errors that a real robot has: of its depth camera, of its localisation, of its detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from s3d_ros.offline.simulate.config import SensorNoise
from s3d_ros.offline.simulate.render import View
from s3d_ros.types import F32, F64, U8

__all__ = ["PoseJitter", "Schedule", "noisy_color", "noisy_depth"]


def noisy_depth(view: View, noise: SensorNoise, rng: np.random.Generator) -> F32:
    """Return the depth (H, W) in metres that a structured-light camera would measure, 0 where it measures nothing."""
    z = view.depth_m
    a, b = noise.axial_m
    measured = z + rng.standard_normal(z.shape, dtype=np.float32) * (a + b * (z - 0.4) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        disparity = noise.baseline_focal_m_px / measured
        disparity = np.round(disparity / noise.disparity_step_px) * noise.disparity_step_px
        measured = noise.baseline_focal_m_px / disparity
    low, high = noise.range_m
    missing = ~((measured >= low) & (measured <= high)) | (z <= 0)
    if view.facing is not None:
        missing |= view.facing < noise.grazing
    missing |= _edges(z, noise) & (_blobs(z.shape, rng) < noise.edge_share)
    missing |= rng.random(z.shape, dtype=np.float32) < noise.speckle_share
    return np.where(missing, 0, measured).astype(np.float32)


def _edges(depth_m: F32, noise: SensorNoise) -> np.ndarray:
    """Return the pixels within ``edge_px`` of a step in depth."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    step = cv2.dilate(depth_m, cross) - cv2.erode(depth_m, cross)
    jump = (step > noise.edge_jump * depth_m).astype(np.uint8)
    return np.asarray(cv2.dilate(jump, np.ones((3, 3), np.uint8), iterations=max(noise.edge_px - 1, 0)).astype(bool))


def _blobs(shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Even chance 0..1 in blobs of a few pixels, (H, W)."""
    coarse = rng.random((shape[0] // 3 + 1, shape[1] // 3 + 1), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST))


def noisy_color(color: U8, noise: SensorNoise, rng: np.random.Generator) -> U8:
    """Return the colour image with the sensor's grain."""
    grain = rng.standard_normal(color.shape[:2], dtype=np.float32)[:, :, None] * noise.color_sigma
    return np.clip(color + grain, 0, 255).astype(np.uint8)


class PoseJitter:
    """Errors of a pose that wander slowly; ``apply`` is called once a frame."""

    def __init__(self, noise: SensorNoise, fps: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self._keep = float(np.exp(-1 / (fps * noise.correlation_s)))
        self._sigma = np.array([noise.position_m] * 3 + [np.deg2rad(noise.rotation_deg)] * 3) / np.sqrt(3)
        self._error = rng.standard_normal(6) * self._sigma

    def apply(self, T_map_camera: F64) -> F64:
        """Return the pose as localisation would report it."""
        fresh = self._rng.standard_normal(6) * self._sigma
        self._error = self._keep * self._error + np.sqrt(1 - self._keep**2) * fresh
        out = T_map_camera.copy()
        out[:3, 3] += self._error[:3]
        out[:3, :3] = Rotation.from_rotvec(self._error[3:]).as_matrix() @ out[:3, :3]
        return out


class Schedule:
    """When errors of one kind are on, for each object: pieces of time that each last as long as given, on by chance.

    Two on end are never on, or an error would last longer than given; what is on more than half the time can't help it.
    """

    def __init__(
        self,
        ids: Sequence[int],
        share: float,
        lasts_s: tuple[float, float],
        duration_s: float,
        rng: np.random.Generator,
    ) -> None:
        self.pieces = count = int(np.ceil(duration_s / lasts_s[0])) + 2  # of each object
        self._ends: Mapping[int, F64] = {}
        self._on: Mapping[int, np.ndarray] = {}
        ends, on = {}, {}
        for number in ids:
            lengths = rng.uniform(*lasts_s, count)
            ends[number] = np.cumsum(lengths) - rng.uniform(0, lengths[0])
            chance = rng.random(count)
            on[number] = chance < share
            if share <= 0.5:
                for k in range(1, count):  # as often as before, though half the pieces may not be
                    on[number][k] = not on[number][k - 1] and chance[k] < share / (1 - share)
        self._ends, self._on = ends, on

    def on(self, number: int, at_s: float) -> int | None:
        """Return a number for the error that an object has at a time (the same while it lasts), None without one."""
        piece = int(np.searchsorted(self._ends[number], at_s, side="right"))
        piece = min(piece, len(self._on[number]) - 1)
        return piece if self._on[number][piece] else None


def displaced(image: np.ndarray, most_px: float, rng: np.random.Generator) -> np.ndarray:
    """Return a label image whose outlines are ragged: each pixel is taken from up to ``most_px`` away."""
    h, w = image.shape
    shifts = []
    for _ in range(2):
        coarse = gaussian_filter(rng.standard_normal((h // 4 + 2, w // 4 + 2)), 1.2)
        field = cv2.resize(coarse.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
        most = most_px / 2**0.5  # along each axis
        shifts.append(np.clip(field * (most / 2 / float(coarse.std())), -most, most))
    v, u = np.mgrid[:h, :w].astype(np.float32)
    return np.asarray(
        cv2.remap(image, u + shifts[0], v + shifts[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    )
