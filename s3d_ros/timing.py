"""When something is due, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from s3d_ros.types import F32

_REMEMBERED = 20_000  # 80 kB a stage


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


class Lasted:
    """How long the last ``_REMEMBERED`` of something took, in seconds; all its memory is taken at once."""

    def __init__(self) -> None:
        self._seconds = np.full(_REMEMBERED, np.nan, np.float32)
        self.count = 0  # of all, those that are forgotten, too

    def __len__(self) -> int:
        return min(self.count, _REMEMBERED)

    def append(self, seconds: float) -> None:
        self._seconds[self.count % _REMEMBERED] = seconds
        self.count += 1

    def last(self, most: int = _REMEMBERED) -> F32:
        """Return the newest (N,), at most so many, the oldest first."""
        newest = np.arange(self.count - min(len(self), most), self.count)
        return np.asarray(self._seconds[newest % _REMEMBERED])


class StageTimes:
    """How long each stage took, in seconds; the last ``_REMEMBERED`` calls of each."""

    def __init__(self) -> None:
        self.seconds: dict[str, Lasted] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            if stage not in self.seconds:
                self.seconds[stage] = Lasted()
            self.seconds[stage].append(time.perf_counter() - start)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return stage -> {count, median_ms, p95_ms, total_s}."""
        return {
            stage: {
                "count": len(s),
                "median_ms": round(float(np.median(s)) * 1e3, 3),
                "p95_ms": round(float(np.percentile(s, 95)) * 1e3, 3),
                "total_s": round(float(np.sum(s)), 3),
            }
            for stage, s in ((stage, lasted.last()) for stage, lasted in self.seconds.items())
        }
