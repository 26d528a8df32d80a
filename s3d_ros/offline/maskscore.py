"""How well instance masks agree with the truth, one image or many. Class-agnostic: labels play no part.

An *image* here is a pair of integer images of one shape: predicted and true instance numbers, 0 for none, and
optionally a mask of pixels that count. Pixels that do not count are taken out of both before anything is measured
(truth that is unknown, for instance because the depth is: whoever labelled the data did not say what is there).

- IoU of two masks: shared pixels / pixels of either.
- mean IoU: over all true objects of all images, the IoU with the predicted mask that the one-to-one assignment of
  largest total IoU (Hungarian, per image) gives it; 0 for an object that gets none. Missing and merged objects count
  in full; surplus predictions do not: F1 sees those.
- precision, recall, F1 at IoU t: a pair of that same assignment is right when its IoU is at least t;
  precision = right / predicted, recall = right / true, F1 = 2 right / (predicted + true).
- AP at IoU t: predictions of all images by falling score, each takes the free true object of its image with the
  largest IoU if that is at least t (as COCO does); area under the interpolated precision-recall curve (every point,
  precision made monotone), no cap on the number of predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from s3d_ros.types import F64, Bools


@dataclass(frozen=True)
class MaskPair:
    """Predicted against true instances of one image.

    iou: (P, T) between the predicted and the true masks. scores: (P,) of the predictions. truth: (T,) true numbers.
    """

    iou: F64
    scores: F64
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class MaskScore:
    """The figures over a set of images; NaN where there is nothing to divide by. See the module's text."""

    mean_iou: float
    precision: float
    recall: float
    f1: float
    ap: float
    truth_count: int
    predicted_count: int


def compare(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    scores: dict[int, float] | None = None,
    counted: Bools | None = None,
    min_truth_pixels: int = 1,
) -> MaskPair:
    """Compare two instance images (H, W) of one frame.

    scores: of the predicted numbers, 1 where not given. counted: (H, W), True for the pixels that count (all).
    min_truth_pixels: true objects with fewer counted pixels are no objects (they become "none").
    Raises ValueError when the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted instances are {predicted.shape}, the true ones {truth.shape}; resize one")
    keep = np.ones(truth.shape, bool) if counted is None else np.asarray(counted, dtype=bool)
    if keep.shape != truth.shape:
        raise ValueError(f"the counted pixels are {keep.shape}, the images {truth.shape}")
    p_numbers, p = np.unique(predicted[keep], return_inverse=True)
    t_numbers, t = np.unique(truth[keep], return_inverse=True)
    both = np.bincount(
        p.ravel() * max(t_numbers.size, 1) + t.ravel(), minlength=p_numbers.size * t_numbers.size
    ).reshape(p_numbers.size, t_numbers.size)
    p_size, t_size = both.sum(axis=1), both.sum(axis=0)
    iou = both / np.maximum(p_size[:, None] + t_size[None, :] - both, 1)
    p_keep, t_keep = p_numbers != 0, (t_numbers != 0) & (t_size >= min_truth_pixels)
    given = scores or {}
    return MaskPair(
        np.asarray(iou[np.ix_(p_keep, t_keep)], dtype=np.float64),
        np.array([given.get(int(n), 1.0) for n in p_numbers[p_keep]], dtype=np.float64),
        t_numbers[t_keep].astype(np.int64),
    )


def assign(pair: MaskPair) -> F64:
    """Return the IoU that the one-to-one assignment of largest total gives each true object, (T,)."""
    found = np.zeros(pair.truth.size)
    rows, cols = linear_sum_assignment(pair.iou, maximize=True)
    found[cols] = pair.iou[rows, cols]
    return found


def score_masks(pairs: Iterable[MaskPair], threshold: float = 0.5) -> MaskScore:
    """Score a set of images together."""
    images = list(pairs)
    found = [assign(pair) for pair in images]
    ious = np.concatenate(found) if found else np.zeros(0)
    right = int((ious >= threshold).sum())
    n_truth, n_predicted = ious.size, sum(pair.scores.size for pair in images)
    return MaskScore(
        float(ious.mean()) if n_truth else float("nan"),
        _ratio(right, n_predicted),
        _ratio(right, n_truth),
        _ratio(2 * right, n_truth + n_predicted),
        average_precision(images, threshold),
        n_truth,
        n_predicted,
    )


def average_precision(images: Sequence[MaskPair], threshold: float = 0.5) -> float:
    """Return the average precision at an IoU threshold over a set of images; NaN without true objects."""
    n_truth = sum(pair.truth.size for pair in images)
    if n_truth == 0:
        return float("nan")
    ranked = sorted(((-s, image, k) for image, pair in enumerate(images) for k, s in enumerate(pair.scores.tolist())))
    free = [np.ones(pair.truth.size, bool) for pair in images]
    right = np.zeros(len(ranked))
    for rank, (_, image, k) in enumerate(ranked):
        iou = np.where(free[image], images[image].iou[k], -1.0)
        if iou.size and iou.max() >= threshold:
            free[image][int(np.argmax(iou))] = False
            right[rank] = 1
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(ranked) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * right).sum() / n_truth)


def _ratio(a: int, b: int) -> float:
    return a / b if b else float("nan")
