"""What a benchmark's scorer gives back, before intervals and tables are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.benchmarks.bootstrap import BootstrapConfig, Metric, mean_metric
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.judge import JudgeConfig
from s3d_ros.types import F64, Bools

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ScoreSettings:
    """What a score depends on beside the files of predictions and annotations.

    boxes: of the true objects. proposals: of the objects that answers name by ID. labels: ScanNet's table, for
    ScanRefer's unique and multiple. true_boxes: captions were made of the true boxes (Scan2Cap).
    oriented: turned boxes are compared as they are. answered_only: questions without a prediction are left out.
    """

    normalisation: Normalisation = Normalisation.official
    boxes: Path | None = None
    proposals: Path | None = None
    labels: Path | None = None
    true_boxes: bool = False
    oriented: bool = False
    answered_only: bool = False
    worst: int = 10
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    judge: JudgeConfig | None = None


@dataclass(frozen=True)
class Scored:
    """Of N items: the metrics, what was read from each answer, and how good it is.

    points: (N,) for finding the worst. unreadable: (N,) answered, but nothing could be read of it. count: of how many
    items a metric is, where that is not all. rules: how it was done, in words. not_computed: metric and the reason.
    """

    metrics: Mapping[str, Metric]
    points: F64
    unreadable: Bools
    said: Sequence[Any]
    right: Sequence[Any]
    rules: Mapping[str, str]
    count: Mapping[str, int] = field(default_factory=dict)
    not_computed: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def by_kind(
    name: str, values: Sequence[float] | F64, kinds: Sequence[str], known: Sequence[str]
) -> tuple[dict[str, Metric], dict[str, int]]:
    """Return the mean of the values for each kind that occurs, and how many items it is of."""
    of = np.asarray(kinds)
    there = [kind for kind in known if (of == kind).any()]
    metrics = {f"{name}, {kind}": mean_metric(values, of == kind) for kind in there}
    return metrics, {f"{name}, {kind}": int((of == kind).sum()) for kind in there}
