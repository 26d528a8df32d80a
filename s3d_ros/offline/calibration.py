"""Whether a label's confidence can be taken at its word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

BINS = 10


def calibration(said: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Return the expected calibration error and the reliability table of (confidence 0..1, right or not).

    Guo et al., "On calibration of modern neural networks", ICML 2017: ten bins of equal width; the error is the mean
    gap between a bin's mean confidence and its share of right ones, weighted by how many there are. None without any.
    """
    confidence = np.array([c for c, _ in said], dtype=np.float64)
    right = np.array([r for _, r in said], dtype=bool)
    which = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    rows = []
    for k in range(BINS):
        mine = which == k
        if mine.any():
            rows.append(
                {
                    "from": round(k / BINS, 2),
                    "to": round((k + 1) / BINS, 2),
                    "count": int(mine.sum()),
                    "confidence": round(float(confidence[mine].mean()), 4),
                    "right": round(float(right[mine].mean()), 4),
                }
            )
    error = sum(r["count"] * abs(r["confidence"] - r["right"]) for r in rows) / len(said) if said else None
    return {
        "ece": None if error is None else round(float(error), 4),
        "count": len(said),
        "table": rows,
        "said": [[round(c, 4), bool(r)] for c, r in said],
    }
