"""Average precision of point masks, by the definition of ScanNet's benchmark of semantic instances.

Of the true surface's points each belongs to at most one true and one predicted object. For each class and each IoU
threshold: a true object is found if a prediction of its class has an IoU *above* the threshold with it; of several
the surest counts, and the others are wrong. A prediction that fits no true object is wrong too, unless more than the
threshold's share of its points lie on what is to be ignored. AP is the area below the curve of precision over recall,
as the benchmark integrates it; it is averaged over 0.5 to 0.9 in steps of 0.05 (as its code does, without 0.95), and
given apart for 0.5 and 0.25; by class, then over the classes that occur in the truth.

What differs: what is ignored are the objects that were not well seen (the benchmark ignores those of fewer than 100
vertices), and a prediction without a point on the surface is wrong and not left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.types import F64, I64, Bools

THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(9))


@dataclass(frozen=True)
class PointMasks:
    """Predictions (P) against true objects (T).

    both: (P, T) points of both. predicted, true: (P,), (T,) points of each. counts: (T,) False for what is ignored.
    scores: (P,). predicted_labels, true_labels: their classes.
    """

    both: I64
    predicted: I64
    true: I64
    counts: Bools
    scores: F64
    predicted_labels: Sequence[str]
    true_labels: Sequence[str]

    def agnostic(self) -> PointMasks:
        """Return the same with one class for all."""
        same = [""] * len(self.true), [""] * len(self.predicted)
        return PointMasks(self.both, self.predicted, self.true, self.counts, self.scores, same[1], same[0])


def point_ap(masks: PointMasks) -> dict[str, Any]:
    """Return {ap, ap50, ap25, classes: {label: the same}}; None where no true object counts."""
    labels = sorted({name for name, counts in zip(masks.true_labels, masks.counts, strict=True) if counts})
    classes = {name: _averages(masks, name) for name in labels}
    mean = {
        key: round(float(np.mean([c[key] for c in classes.values()])), 4) if classes else None
        for key in ("ap", "ap50", "ap25")
    }
    return {**mean, "classes": classes}


def _averages(masks: PointMasks, label: str) -> dict[str, float]:
    at = {t: _precision(masks, label, t) for t in (*THRESHOLDS, 0.25)}
    return {
        "ap": round(float(np.mean([at[t] for t in THRESHOLDS])), 4),
        "ap50": round(at[0.5], 4),
        "ap25": round(at[0.25], 4),
    }


def _precision(masks: PointMasks, label: str, threshold: float) -> float:
    """Return the AP of one class at one threshold; there is a true object of it that counts."""
    p_mine = np.flatnonzero([name == label for name in masks.predicted_labels])
    t_mine = np.array([name == label for name in masks.true_labels], dtype=bool)
    t_counted = np.flatnonzero(t_mine & masks.counts)
    if not len(p_mine):
        return 0.0
    union = masks.predicted[:, None] + masks.true[None] - masks.both
    fits = masks.both / np.maximum(union, 1) > threshold  # above 0.5 a prediction fits one true object at most
    right: list[bool] = []
    scores: list[float] = []
    missed = 0
    used: set[int] = set()
    for t in t_counted.tolist():
        mine = [p for p in p_mine[np.argsort(-masks.scores[p_mine], kind="stable")].tolist() if fits[p, t]]
        mine = [p for p in mine if p not in used]
        if not mine:
            missed += 1
            continue
        used.add(mine[0])
        right += [True] + [False] * (len(mine) - 1)
        scores += [float(masks.scores[p]) for p in mine]
    ignored = masks.both[:, ~masks.counts].sum(axis=1) / np.maximum(masks.predicted, 1)
    for p in p_mine.tolist():
        if not fits[p, t_mine].any() and ignored[p] <= threshold:
            right.append(False)
            scores.append(float(masks.scores[p]))
    return _area(np.array(right, dtype=bool), np.array(scores), missed)


def _area(right: Bools, scores: F64, missed: int) -> float:
    """Return the area below precision over recall: right (N,) predictions of scores (N,), ``missed`` true objects."""
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    scores, right = scores[order], right[order]
    firsts = np.unique(scores, return_index=True)[1]  # everything from here on is taken, threshold by threshold
    found = right[::-1].cumsum()[::-1][firsts]
    precision = np.append(found / (len(scores) - firsts), 1.0)
    recall = np.append(found / max(right.sum() + missed, 1), 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    widths = (padded[:-2] - padded[2:]) / 2
    return float(precision @ widths)
