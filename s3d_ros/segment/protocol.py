"""What a segmenter is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from s3d_ros.types import F64, Frame, Instances


class Segmenter(Protocol):
    """Finds the things in one frame."""

    def segment(self, frame: Frame, up: F64) -> Instances:
        """Return the instances of a frame. ``up``: (3,) unit vector in the map frame."""
        ...


def no_instances(frame: Frame) -> Instances:
    """Return the empty answer for a frame."""
    return Instances(frame.stamp_ns, np.zeros(frame.depth_m.shape, np.uint16), (), (), ())
