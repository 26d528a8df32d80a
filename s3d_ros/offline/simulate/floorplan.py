"""The floor as a grid: where things stand, and how far a robot there is from the nearest one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

from s3d_ros.types import F64, Bools, OrientedBox

_FLAT_M = 0.03  # lower things are driven over


class Boxed(Protocol):
    """Anything with a box."""

    @property
    def box(self) -> OrientedBox: ...


def obstacles(things: Iterable[Boxed], floor_m: float, height_m: float) -> list[F64]:
    """Return the footprints (K, 2), in order, of what reaches between the floor and ``height_m`` above it."""
    found = []
    for thing in things:
        corners = thing.box.corners()
        if corners[:, 2].min() < floor_m + height_m and corners[:, 2].max() > floor_m + _FLAT_M:
            found.append(cv2.convexHull(corners[:, :2].astype(np.float32))[:, 0].astype(np.float64))
    return found


def footprint_mask(polygons: Iterable[F64], origin: F64, shape: tuple[int, int], cell_m: float) -> Bools:
    """Return which cells (X, Y) polygons touch; cell (i, j) has its corner at origin + (i, j) * cell_m."""
    image = np.zeros((shape[1], shape[0]), dtype=np.uint8)
    shift = 8  # fractional bits of the polygons' corners
    for polygon in polygons:
        pixels = (polygon - origin) / cell_m - 0.5
        cv2.fillPoly(image, [np.round(pixels * (1 << shift)).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=shift)
    return image.T.astype(bool)
