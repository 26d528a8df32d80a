"""What is measured between things to answer questions about them, and to tell which cases are clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from s3d_ros.geometry import box_distance
from s3d_ros.types import F64, SceneObject

_APART_M, _CLEARER = 0.15, 1.1  # the second is further by so much, and by a tenth
_UNIT_M, _UNIT_COUNT = 4.0, 4.0
GAUGES = 6


def gauges(
    right_m: float = math.nan,
    up_m: float = math.nan,
    gap_m: float = math.nan,
    cosine: float = math.nan,
    sine: float = math.nan,
    count: float = math.nan,
) -> tuple[float, ...]:
    """Return what is measured to answer a question, (GAUGES,), about 1; NaN where it is not asked for.

    right_m, up_m: how far the first lies so of the second on the map. gap_m: between them. cosine, sine: of the angle.
    """
    told = (right_m / _UNIT_M, up_m / _UNIT_M, gap_m / _UNIT_M, cosine, sine, count / _UNIT_COUNT)
    return tuple(math.nan if math.isnan(x) else x for x in told)  # the one NaN, so that equal questions compare equal


class Measured:
    """Things, and what is measured between them, once."""

    def __init__(self, things: Sequence[SceneObject]) -> None:
        self._things = things
        self._row = {o.id: k for k, o in enumerate(things)}

    @cached_property
    def _gaps(self) -> F64:
        return gaps_m(self._things)

    def gap_m(self, a: SceneObject, b: SceneObject) -> float:
        """Return metres between the closest points of two of them."""
        return float(self._gaps[self._row[a.id], self._row[b.id]])

    def laid(self, a: SceneObject, b: SceneObject) -> tuple[float, ...]:
        """Return how a lies to b, as ``gauges``."""
        right, up = (a.box.center[:2] - b.box.center[:2]).tolist()
        return gauges(right, up, self.gap_m(a, b))

    def clear_nearest(self, target: SceneObject, rest: Sequence[SceneObject]) -> SceneObject | None:
        """Return that of the rest which is clearly nearest to the target, or None."""
        far = np.array([self.gap_m(target, o) for o in rest])
        order = np.argsort(far, kind="stable")
        if len(far) < 2 or far[order[1]] < max(far[order[0]] + _APART_M, far[order[0]] * _CLEARER):
            return None
        return rest[int(order[0])]


def gaps_m(things: Sequence[SceneObject]) -> F64:
    """Return metres between the closest points of each two boxes, (N, N)."""
    n = len(things)
    if not n:
        return np.zeros((0, 0))
    axes = things[0].box.axes
    if all(o.box.axes is axes or np.allclose(o.box.axes, axes) for o in things):
        at = np.array([o.box.center for o in things]) @ axes.T
        half = np.array([o.box.size for o in things]) / 2
        apart = np.abs(at[:, None] - at[None]) - half[:, None] - half[None]
        return np.asarray(np.linalg.norm(np.maximum(apart, 0), axis=2))
    out = np.zeros((n, n))
    for i in range(n):
        for k in range(i):
            out[i, k] = out[k, i] = box_distance(things[i].box, things[k].box)[0]
    return out
