"""OpenEQA: exact matches, and the marks of a language model if there is a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from s3d_ros.benchmarks.annotations import QaItem
from s3d_ros.benchmarks.bootstrap import mean_metric
from s3d_ros.benchmarks.cleaning import clean
from s3d_ros.benchmarks.judge import describe_judge, judge
from s3d_ros.benchmarks.predictions import Prediction
from s3d_ros.benchmarks.qa import exact_scored
from s3d_ros.benchmarks.scored import Progress, Scored, ScoreSettings, by_kind

_NO_JUDGE = "name a server and a model with --judge-url and --judge-model"


def score_openeqa(
    items: Sequence[QaItem],
    predictions: Sequence[Prediction | None],
    settings: ScoreSettings,
    progress: Progress = lambda done, total: None,
) -> Scored:
    """Score OpenEQA: exact match after cleaning, containment either way, and LLM-Match, over all and by category.

    LLM-Match is the mean of (mark - 1) / 4, times 100. A missing or empty answer gets 0; so does an answer whose mark
    can't be read, and those are counted.
    """
    raw = [p.text if p else "" for p in predictions]
    kinds = sorted({item.kind for item in items if item.kind})
    rule = "SQA3D's cleaning of prediction and answers; OpenEQA itself has no exact match"
    scored = exact_scored(items, predictions, raw, [clean(text) for text in raw], ("EM", "EM-R"), kinds, rule)
    if settings.judge is None:
        return replace(scored, not_computed={"LLM-Match": _NO_JUDGE})
    judged = judge(items, raw, settings.judge, progress)
    points = np.array([0.0 if mark is None else (mark - 1) / 4 for mark in judged.marks])
    of_kind, count = by_kind("LLM-Match", 100 * points, [item.kind for item in items], kinds)
    return replace(
        scored,
        metrics={"LLM-Match": mean_metric(100 * points), **of_kind, **scored.metrics},
        count={**count, **scored.count},
        points=points,
        rules={**scored.rules, "judge": describe_judge(settings.judge)},
        details={"unreadable_marks": sum(mark is None for mark in judged.marks), "asked_now": judged.fresh},
    )
