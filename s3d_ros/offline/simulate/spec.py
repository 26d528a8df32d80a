"""What a shape is to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate.mesh import Color


@dataclass(frozen=True)
class Spec:
    """Edges of the box in metres (w to the right, d to the back, h up), colour, and where chance comes from.

    rests: share of the height below which other things rest on it; 1 when nothing does.
    """

    w: float
    d: float
    h: float
    color: Color
    rng: np.random.Generator
    rests: float = 1.0

    @property
    def half(self) -> tuple[float, float, float]:
        return self.w / 2, self.d / 2, self.h / 2

    def shade(self, factor: float) -> Color:
        """Return the colour made darker (below 1) or brighter."""
        r, g, b = (min(max(c * factor, 0.02), 1.0) for c in self.color)
        return r, g, b

    def up(self, share: float) -> float:
        """Return the z of a share of the height, 0 at the bottom."""
        return (share - 0.5) * self.h
