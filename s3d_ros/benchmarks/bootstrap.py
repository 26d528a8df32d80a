"""Confidence intervals by the bootstrap. A metric is a function of how often each item is drawn.

Every figure, be it a mean or a ratio of corpus counts, is computed by one and the same function: with each item drawn
once it is the figure, with items drawn at random it is one sample of the bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s3d_ros.types import F64, Bools

Metric = Callable[[F64], F64]  # (K, N) draws -> (K,) values
_AT_ONCE = 4_000_000  # draws held in memory, 32 MB


@dataclass(frozen=True)
class BootstrapConfig:
    """How intervals are made. by: what is drawn, single questions, or scenes with all their questions."""

    samples: int = 1000
    seed: int = 0
    confidence: float = 0.95
    by: str = "question"

    def __post_init__(self) -> None:
        if self.samples < 0 or not 0 < self.confidence < 1 or self.by not in ("question", "scene"):
            raise ValueError(f"samples >= 0, 0 < confidence < 1, by question or scene; not {self}")


@dataclass(frozen=True)
class Figure:
    """A figure, its interval (NaN without samples), and of how many items it is."""

    value: float
    low: float
    high: float
    count: int


def mean_metric(values: Sequence[float] | F64, chosen: Bools | None = None) -> Metric:
    """Return the mean of some or all items' values; NaN for draws that hold none of them."""
    numbers = np.asarray(values, np.float64)
    weights = np.ones(len(numbers)) if chosen is None else np.asarray(chosen, np.float64)

    def mean(draws: F64) -> F64:
        count = draws @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(count > 0, draws @ (numbers * weights) / count, np.nan))

    return mean


def mean_of_metrics(metrics: Sequence[Metric]) -> Metric:
    """Return the plain mean of several metrics, each counting the same; those without items are left out."""

    def mean(draws: F64) -> F64:
        values = np.stack([metric(draws) for metric in metrics])
        there = np.isfinite(values)
        count = there.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(count > 0, np.where(there, values, 0).sum(axis=0) / count, np.nan))

    return mean


def figures(
    metrics: Mapping[str, Metric], counts: Mapping[str, int], scenes: Sequence[str], config: BootstrapConfig
) -> dict[str, Figure]:
    """Compute all metrics over N items with their intervals. scenes: of each item. The same seed, the same result."""
    n = len(scenes)
    once = np.ones((1, n))
    values = {name: float(metric(once)[0]) for name, metric in metrics.items()}
    drawn: dict[str, list[F64]] = {name: [] for name in metrics}
    rng = np.random.default_rng(config.seed)
    group = np.unique(np.asarray(scenes), return_inverse=True)[1] if config.by == "scene" else np.arange(n)
    units = int(group.max()) + 1
    left = config.samples
    while left > 0:
        k = min(left, max(_AT_ONCE // n, 1))
        picks = rng.integers(units, size=(k, units)) + units * np.arange(k)[:, None]
        draws = np.bincount(picks.ravel(), minlength=k * units).reshape(k, units)[:, group].astype(np.float64)
        for name, metric in metrics.items():
            drawn[name].append(metric(draws))
        left -= k
    tail = 50 * (1 - config.confidence)
    made = {}
    for name, value in values.items():
        samples = np.concatenate(drawn[name]) if drawn[name] else np.empty(0)
        samples = samples[np.isfinite(samples)]
        low, high = np.percentile(samples, [tail, 100 - tail]) if len(samples) else (np.nan, np.nan)
        made[name] = Figure(value, float(low), float(high), counts.get(name, n))
    return made
