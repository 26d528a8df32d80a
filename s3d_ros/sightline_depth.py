"""Where a thing may be that has no depth: its sightline, narrowed down by every place that it is seen from.

Points along the sightline, from just beyond the depth camera's reach to the end of a large hall, each with a cost: how
badly later sights agree with the thing being there (inverse depth as in Civera, Davison and Montiel, "Inverse Depth
Parametrization for Monocular SLAM", 2008, by a histogram instead of a Gaussian). A camera that walks three metres to
the side tells a chair 6 m away from one at 9 m; the size of the mask tells when it is walked towards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from s3d_ros.state import State
from s3d_ros.types import F64

_NEAR_M, _FAR_M, _POINTS = 4.0, 20.0, 24
_DISTANCES_M = np.geomspace(_NEAR_M, _FAR_M, _POINTS)
_WOBBLE_RAD, _WOBBLE_SHARE = 0.01, 0.3  # of a mask's centre: plus a share of its radius
_SIZE_SIGMA = 0.35  # of the logarithm of a mask's radius
_LARGEST_COST = 4.0  # of one sight: a bad mask is no proof
_COUNTS_AFTER_M = 0.1  # masks of the same place err alike
_FOLLOW = 0.15  # of what the likeliest point is off: the first mask's centre was no better than this one's
_LIKELY = 3.0  # cost beyond the least, of points that may be where it is: 2.4 standard deviations
_PLACE_RAD, _PLACE_LOG = 0.04, 0.12  # of a thing that has depth now, from what was thought of it


class SightlineDepth:
    """Points (K, 3) of the map where a thing may be; ``camera``, ``direction``, ``radius`` (rad) of the last sight."""

    def __init__(self, camera: F64, direction: F64, radius: float) -> None:
        self.camera, self.direction, self.radius = camera, direction, radius
        self._points = camera + _DISTANCES_M[:, None] * direction
        self._radii_m = radius * _DISTANCES_M
        self._costs = np.zeros(_POINTS)
        self._counted_at = camera

    def see(self, camera: F64, direction: F64, radius: float) -> None:
        """Take in a sight of it from ``camera`` (3,) along ``direction`` (3,), a unit vector."""
        to = self._points - camera
        distance = np.maximum(np.linalg.norm(to, axis=1), 1e-6)
        off = np.arccos(np.clip(to @ direction / distance, -1, 1))
        sigma = _WOBBLE_RAD + _WOBBLE_SHARE * radius
        if np.linalg.norm(camera - self._counted_at) >= _COUNTS_AFTER_M:
            size = np.log(radius * distance / self._radii_m) / _SIZE_SIGMA
            self._costs += np.minimum(((off / sigma) ** 2 + size**2) / 2, _LARGEST_COST)
            self._costs -= self._costs.min()
            self._counted_at = camera
            best = int(self._costs.argmin())
            if off[best] < 2 * sigma:
                self._points += _FOLLOW * distance[:, None] * (direction - to[best] / distance[best])
        self.camera, self.direction, self.radius = camera, direction, radius

    def off(self, camera: F64, direction: F64, recent: bool) -> float:
        """Return the angle in radians that a thing seen along ``direction`` from elsewhere is off, at best.

        recent: it was seen just now: then it is on the last sightline, however well that one agrees with the others.
        """
        likely = self._costs <= _LIKELY
        points = self._points
        if recent:
            away = np.linalg.norm(points - self.camera, axis=1, keepdims=True)
            points = self.camera + away * self.direction
        to = points - camera
        both = likely[1:] & likely[:-1]
        fine = np.concatenate([to[likely], (to[1:] + to[:-1])[both] / 2])  # what is between two points counts, too
        fine /= np.maximum(np.linalg.norm(fine, axis=1, keepdims=True), 1e-6)
        return float(np.arccos(np.clip((fine @ direction).max(), -1, 1)))

    def cost_at(self, point: F64) -> float:
        """Return how badly a place (3,), now known, agrees with all sights: half the square of standard deviations."""
        to, thought = point - self.camera, self._points - self.camera
        distance, distances = np.linalg.norm(to), np.maximum(np.linalg.norm(thought, axis=1), 1e-6)
        off = np.arccos(np.clip(thought @ to / (distances * max(float(distance), 1e-6)), -1, 1))
        aside = off / (_PLACE_RAD + _WOBBLE_SHARE * self.radius)
        along = np.log(np.maximum(distance, 1e-6) / distances) / _PLACE_LOG
        return float((self._costs + (aside**2 + along**2) / 2).min())

    def state(self) -> State:
        """Return all of it as plain values."""
        arrays = {"camera": self.camera, "direction": self.direction, "points": self._points, "costs": self._costs}
        arrays |= {"radii_m": self._radii_m, "counted_at": self._counted_at}
        return {"radius": float(self.radius)} | {name: np.asarray(value).tolist() for name, value in arrays.items()}

    @classmethod
    def restored(cls, state: State | list[Any]) -> SightlineDepth:
        """Make one of what ``state`` returned; or of camera, direction and radius, as older maps have it."""
        if isinstance(state, list):
            camera, direction, radius = state
            return cls(np.array(camera, np.float64), np.array(direction, np.float64), float(radius))
        made = cls(np.array(state["camera"]), np.array(state["direction"]), float(state["radius"]))
        made._points, made._costs = np.array(state["points"]), np.array(state["costs"])
        made._radii_m, made._counted_at = np.array(state["radii_m"]), np.array(state["counted_at"])
        return made
