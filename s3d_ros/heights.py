"""Where floor and ceiling are, found from the heights of the surface."""

from __future__ import annotations

import numpy as np

from s3d_ros.state import State
from s3d_ros.types import F32

_BIN_M = 0.05
_LOW_M, _HIGH_M = -20.0, 60.0
_BINS = round((_HIGH_M - _LOW_M) / _BIN_M)
_MIN_CEILING_M2 = 1.0
_CEILING_SHARE = 0.1  # of the floor, where people could not stand below it
_STANDING_M = 2.1
_CEILING_GAP_M = 0.25  # lamps and beams hang below the ceiling
_HEADROOM_M = 0.3  # a ceiling is at least so far above the camera


class Heights:
    """Histogram of surface heights, kept per tile so that a changed tile replaces its own part."""

    def __init__(self) -> None:
        self.floor_m = 0.0
        self.ceiling_cut_m = float("inf")
        self._total = np.zeros(_BINS, np.int64)
        self._by_tile: dict[tuple[int, int], np.ndarray] = {}
        self._camera_m: list[float] = []

    def state(self) -> State:
        """Return what was found; the histogram is that of the surface. ceiling_cut_m: None for infinity."""
        cut = None if np.isinf(self.ceiling_cut_m) else self.ceiling_cut_m
        return {"floor_m": self.floor_m, "ceiling_cut_m": cut, "camera_m": [float(h) for h in self._camera_m]}

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        self.floor_m, self._camera_m = float(state["floor_m"]), list(state["camera_m"])
        self.ceiling_cut_m = float("inf") if state["ceiling_cut_m"] is None else float(state["ceiling_cut_m"])

    def note_camera(self, height_m: float) -> None:
        """Note how high the camera is: the floor is below, the ceiling above it."""
        if not self._camera_m:
            self._camera_m = [height_m, height_m]
        self._camera_m = [min(self._camera_m[0], height_m), max(self._camera_m[1], height_m)]

    def count(self, tile: tuple[int, int], height_m: F32) -> None:
        """Replace the heights of a tile by those of the points in it, (N,)."""
        bins = np.clip(((height_m - _LOW_M) / _BIN_M).astype(np.int64), 0, _BINS - 1)
        counts = np.bincount(bins, minlength=_BINS)
        self._total += counts - self._by_tile.get(tile, 0)
        self._by_tile[tile] = counts

    def settle(self, resolution_m: float) -> bool:
        """Find floor and ceiling anew; return whether there is enough to tell. A point stands for one cell."""
        if not self._camera_m:
            return False
        centers = _LOW_M + (np.arange(_BINS) + 0.5) * _BIN_M
        below = np.where(centers < self._camera_m[0] - 0.2, self._total, 0)
        if not below.any():
            return False
        # The floor: the lowest level that is nearly as large as the largest below the camera.
        floor_bin = int(np.flatnonzero(below >= 0.4 * below.max())[0])
        near = slice(max(floor_bin - 1, 0), floor_bin + 2)
        self.floor_m = float(np.average(centers[near], weights=self._total[near] + 1e-9))
        above = np.where(centers > self._camera_m[1] + _HEADROOM_M, self._total, 0)
        pair = above + np.concatenate([above[1:], [0]])  # a ceiling may lie across the border of two bins
        # Walls fill every level alike; a ceiling stands out from them, even when little of it was looked at. What hangs
        # low, such as kitchen cupboards, stands out, too, but is small beside the floor.
        walls = float(np.median(pair[pair > 0])) if pair.any() else 0.0
        excess = pair - walls
        least = np.where(centers > self.floor_m + _STANDING_M, 0.0, _CEILING_SHARE * below.max())
        least = np.maximum(least, max(_MIN_CEILING_M2 / resolution_m**2, 0.3 * excess.max()))
        ceiling = np.flatnonzero(excess >= least)
        self.ceiling_cut_m = float(centers[ceiling[0]] - _CEILING_GAP_M) if len(ceiling) else float("inf")
        return True
