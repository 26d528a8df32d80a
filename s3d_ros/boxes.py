"""The oriented box of an object from the points that were seen of it."""

from __future__ import annotations

import numpy as np

from s3d_ros.geometry import box_of_points
from s3d_ros.types import F64, OrientedBox

_MOST_POINTS = 3000


def fit_box(positions: F64, counts: F64, voxel_m: float, up: F64) -> OrientedBox:
    """Fit a box that stands along ``up`` (3,) to voxels' mean points (N, 3), N >= 3, each seen ``counts`` (N,) times.

    Voxels seen far more rarely than the rest are left out: they come from ragged masks and depth noise. The mean point
    of a border voxel lies inside the thing by about a quarter of the voxel: the box is grown by that.
    """
    keep = counts >= 0.05 * np.median(counts)
    points = positions[keep]
    if len(points) > _MOST_POINTS:
        points = points[:: len(points) // _MOST_POINTS + 1]
    box = box_of_points(points, up)
    return OrientedBox(box.center, box.size + 0.5 * voxel_m, box.axes)
