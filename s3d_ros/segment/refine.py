"""From the working resolution back to every pixel of the depth image."""

from __future__ import annotations

import cv2
import numpy as np

from s3d_ros.segment.regions import misfit
from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, I32

AROUND = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])


def to_full(labels: I32, source: I32, surface: Surface, q: F32, factor: int) -> I32:
    """Return labels (H, W) of inverse depths q (H, W), from labels (H // factor, W // factor).

    Inside a region a pixel has its cell's label. Where labels meet it takes, of its cell and the four around, the
    one whose surface carried on to the pixel meets its depth best.
    """
    h, w = labels.shape
    mixed = np.zeros(labels.shape, bool)
    across, down = labels[:, :-1] != labels[:, 1:], labels[:-1] != labels[1:]
    mixed[:, :-1] |= across
    mixed[:, 1:] |= across
    mixed[:-1] |= down
    mixed[1:] |= down
    full = cv2.resize(labels, (w * factor, h * factor), interpolation=cv2.INTER_NEAREST)
    inner = q[: h * factor, : w * factor]
    if factor > 1:
        v, u = np.nonzero(mixed)
        cells = np.clip(v[:, None] + AROUND[:, 0], 0, h - 1) * w + np.clip(u[:, None] + AROUND[:, 1], 0, w - 1)
        candidates = source.ravel()[cells]
        names = labels.ravel()[cells]
        planes = surface.carried_on()
        pick = np.arange(v.size)
        for dv in range(factor):
            for du in range(factor):
                rows, cols = v * factor + dv, u * factor + du
                at_v = (v + ((dv + 0.5) / factor - 0.5)).astype(np.float32)
                at_u = (u + ((du + 0.5) / factor - 0.5)).astype(np.float32)
                miss = misfit(planes, candidates, inner[rows, cols], at_v, at_u)
                full[rows, cols] = names[pick, np.argmin(miss, axis=1)]
    full[inner <= 0] = 0
    if full.shape != q.shape:
        full = cv2.copyMakeBorder(
            full, 0, q.shape[0] - full.shape[0], 0, q.shape[1] - full.shape[1], cv2.BORDER_REPLICATE
        )
        full[q <= 0] = 0
    return np.asarray(full, dtype=np.int32)
