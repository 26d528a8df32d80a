"""The ceiling: every given instance, with all its errors, gets the ID of the true object that it covers most of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from s3d_ros.lifting import LiftedPoints
from s3d_ros.offline.truth import Truth
from s3d_ros.types import F64, Bools, Frame, Instances


class Oracle:
    """Knows the truth of each frame."""

    least_sights = 1

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.merged: Mapping[int, int] = {}

    def observe(self, points: LiftedPoints, instances: Instances, frame: Frame) -> dict[int, int | None]:
        """Return instance number -> true id; None for what covers more of nothing than of any object."""
        true = self._truth.instances(frame.index)
        if true is None or true.shape != instances.image.shape:
            return {}
        width = int(true.max()) + 1
        height = int(max(instances.image.max(), *instances.numbers, 0)) + 1
        pairs = instances.image.astype(np.int64) * width + true
        counts = np.bincount(pairs.ravel(), minlength=height * width).reshape(height, width)
        return {n: int(counts[n].argmax()) or None for n in instances.numbers}

    def own(self, points: F64) -> Bools:
        """Return that all points (N, 3) of an instance are its, (N,)."""
        return np.ones(len(points), bool)
