"""Which masks of a frame touch like the parts of one: along a long border over which the surface goes on.

A detector splits a mask along a line through the thing, and both parts lie on one surface there. Two things side by
side touch along a short border, or with a step in depth: twins in a row do for one in twenty sights, parts of a split
mask for nine in ten.
"""

from __future__ import annotations

import numpy as np

from s3d_ros.lifting import LiftedPoints
from s3d_ros.types import F64, I64

_STEP_M, _STEP_SHARE = 0.02, 0.01  # points nearer than this, plus a share of their distance, are on one surface
_LEAST_BORDER = 0.6  # of the edge of a square as large as the smaller mask
_LEAST_STEPS = 3


def continuous(points: LiftedPoints, row_of_point: I64, labels: list[str]) -> set[tuple[int, int]]:
    """Return the pairs of rows (i < j), of one label, that touch like the parts of a split mask.

    row_of_point: (N,), -1 under no mask. labels: of each row; "" is like none.
    """
    names = [n for n in labels if n]
    if len(set(names)) == len(names):
        return set()
    kind = {name: k for k, name in enumerate(dict.fromkeys(names))}
    kinds = np.array([kind.get(n, -1 - k) for k, n in enumerate(labels)], np.int64)
    stride = points.stride
    shape = (points.shape[0] // stride + 1, points.shape[1] // stride + 1)
    place = np.full(shape, -1, np.int64)
    inside = np.flatnonzero(row_of_point >= 0)
    place[points.pixels[inside, 1] // stride, points.pixels[inside, 0] // stride] = inside
    border = np.zeros((len(labels), len(labels)), np.int64)
    for here, there in ((place[:, :-1], place[:, 1:]), (place[:-1], place[1:])):
        both = (here >= 0) & (there >= 0)
        a, b = here[both], there[both]
        i, j = row_of_point[a], row_of_point[b]
        alike = (i != j) & (kinds[i] == kinds[j])
        a, b, i, j = a[alike], b[alike], i[alike], j[alike]
        near, far = (_range(points, p) for p in (a, b))
        goes_on = np.abs(near - far) < _STEP_M + _STEP_SHARE * near
        np.add.at(border, (np.minimum(i, j)[goes_on], np.maximum(i, j)[goes_on]), 1)
    if not border.any():
        return set()
    sizes = np.bincount(row_of_point[inside], minlength=len(labels))
    least = np.maximum(_LEAST_BORDER * np.sqrt(np.minimum(sizes[:, None], sizes[None])), _LEAST_STEPS)
    return {(int(i), int(j)) for i, j in np.argwhere(border >= least)}


def _range(points: LiftedPoints, which: I64) -> F64:
    """Return how far points (N,) are from the camera."""
    return np.asarray(np.linalg.norm(points.xyz[which] - points.camera, axis=1))
