"""What colours a thing has: a small histogram, told by hue where there is one, so that shade matters little."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from s3d_ros.types import F64, I64, U8

_HUES, _SATURATIONS, _GREYS = 12, 2, 4
BINS = _HUES * _SATURATIONS + _GREYS
_LEAST_SATURATION, _STRONG, _LEAST_VALUE = 45, 120, 35  # of 255: below, a colour has no hue to speak of
_STEP = 8  # colours are told apart in steps of this much
_SPREAD = 0.2  # goes to each neighbouring bin: a colour beside a border is in both


def bins_of(colors: U8) -> I64:
    """Return the bin (N,) of each colour (N, 3) RGB."""
    r, g, b = (colors[:, k].astype(np.int64) // _STEP for k in range(3))
    n = 256 // _STEP
    return np.asarray(_table()[(r * n + g) * n + b])


def likeness(a: F64, b: F64) -> F64:
    """Return how alike histograms (N, BINS) and (M, BINS) are, (N, M) from 0 to 1 (Bhattacharyya's coefficient).

    0 where one is empty.
    """
    p, q = (h / np.maximum(h.sum(axis=1, keepdims=True), 1e-9) @ _smoothing() for h in (a, b))
    return np.asarray(np.sqrt(p) @ np.sqrt(q).T)


@functools.cache
def _table() -> I64:
    n = 256 // _STEP
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    hsv = cv2.cvtColor((grid * _STEP + _STEP // 2).astype(np.uint8), cv2.COLOR_RGB2HSV)[0].astype(np.int64)
    hue, saturation, value = hsv.T
    colored = (hue * _HUES // 180) * _SATURATIONS + (saturation >= _STRONG)
    grey = _HUES * _SATURATIONS + value * _GREYS // 256
    return np.asarray(np.where((saturation < _LEAST_SATURATION) | (value < _LEAST_VALUE), grey, colored))


@functools.cache
def _smoothing() -> F64:
    S = np.eye(BINS)
    for hue in range(_HUES):
        for s in range(_SATURATIONS):
            here = hue * _SATURATIONS + s
            for other in ((hue + 1) % _HUES * _SATURATIONS + s, (hue - 1) % _HUES * _SATURATIONS + s,
                          hue * _SATURATIONS + 1 - s):  # fmt: skip
                S[here, other] += _SPREAD
    for grey in range(_GREYS):
        for other_grey in (grey - 1, grey + 1):
            if 0 <= other_grey < _GREYS:
                S[_HUES * _SATURATIONS + grey, _HUES * _SATURATIONS + other_grey] += _SPREAD
    return np.asarray(S / S.sum(axis=1, keepdims=True))
