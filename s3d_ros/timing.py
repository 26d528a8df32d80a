"""When something is due, and how long it took."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

_REMEMBERED = 20_000


class Periodic:
    """Due once in every period of the recording's own time."""

    def __init__(self, period_s: float) -> None:
        self._period_ns = round(period_s * 1e9)
        self.last_ns: int | None = None

    def soon(self, now_ns: int) -> bool:
        """Whether ``due`` would say yes."""
        return self.last_ns is None or not 0 <= now_ns - self.last_ns < self._period_ns

    def due(self, now_ns: int) -> bool:
        """Whether it is due now; if so, the next period begins."""
        if not self.soon(now_ns):
            return False
        self.last_ns = now_ns
        return True


@dataclass(frozen=True)
class Clocks:
    """When what is done now and then in the pipeline is due."""

    carving: Periodic
    segmenting: Periodic
    looking: Periodic
    drawing: Periodic
    snapping: Periodic


class StageTimes:
    """How long each stage took, in seconds; the last ``_REMEMBERED`` calls of each."""

    def __init__(self) -> None:
        self.seconds: dict[str, deque[float]] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds.setdefault(stage, deque(maxlen=_REMEMBERED)).append(time.perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return stage -> {count, median_ms, p95_ms, total_s}."""
        return {
            stage: {
                "count": len(s),
                "median_ms": round(float(np.median(s)) * 1e3, 3),
                "p95_ms": round(float(np.percentile(s, 95)) * 1e3, 3),
                "total_s": round(float(np.sum(s)), 3),
            }
            for stage, s in self.seconds.items()
        }
