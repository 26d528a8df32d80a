"""ScanRefer and Multi3DRefer: which object, or objects, does a description fit? By IoU of boxes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.benchmarks.annotations import GroundingItem
from s3d_ros.benchmarks.annotations_grounding import MULTI3DREFER_TYPES
from s3d_ros.benchmarks.bootstrap import Metric, mean_metric
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.predictions import Prediction
from s3d_ros.benchmarks.scene_boxes import SceneBoxes, iou_matrix, read_boxes
from s3d_ros.benchmarks.scored import Scored, ScoreSettings, by_kind
from s3d_ros.types import F64, OrientedBox

THRESHOLDS = (0.25, 0.5)
_NOTHING = re.compile(r"\W*(?:no|none|nothing|there (?:is|are) no(?:ne|thing)?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Located:
    """Where an answer says that things are. named: IDs it used; unknown: those that no proposal has.

    said_none: that there is no such thing. readable: it says either.
    """

    boxes: tuple[OrientedBox, ...]
    named: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    said_none: bool = False

    @property
    def readable(self) -> bool:
        return bool(self.boxes) or self.said_none


def true_boxes(settings: ScoreSettings, scenes_and_objects: Sequence[tuple[str, int]]) -> SceneBoxes:
    """Read the boxes of the truth. Raises BenchmarkError that names what is not in the file."""
    if settings.boxes is None:
        raise BenchmarkError("the annotations hold no boxes: give those of the true objects with --boxes FILE")
    boxes = read_boxes(settings.boxes)
    lacking = [(scene, one) for scene, one in scenes_and_objects if one not in boxes.get(scene, {})]
    if lacking:
        scene, one = lacking[0]
        what = f"object {one} of scene {scene}" if scene in boxes else f"scene {scene}"
        raise BenchmarkError(f"{settings.boxes} lacks {what} (in all {len(lacking)} boxes that are asked for)")
    return boxes


def locate(prediction: Prediction | None, scene: str, proposals: SceneBoxes | None) -> Located:
    """Read the boxes of an answer: its own, else those of the proposals that it names. Raises BenchmarkError."""
    if prediction is None:
        return Located(())
    if prediction.boxes is not None:
        return Located(prediction.boxes, said_none=not prediction.boxes)
    named = prediction.named()
    if named and proposals is None:
        raise BenchmarkError(f"an answer names object {named[0]} of {scene}: give the objects' boxes with --proposals")
    known = (proposals or {}).get(scene, {})
    found = tuple(known[one] for one in named if one in known)
    none = prediction.objects == () or (not named and _NOTHING.match(prediction.text) is not None)
    return Located(found, named, tuple(one for one in named if one not in known), none)


def score_scanrefer(
    items: Sequence[GroundingItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> Scored:
    """Score ScanRefer: accuracy at IoU 0.25 and 0.5, unique and multiple apart.

    The first box, or the first ID that a proposal has, counts. An answer without one is a miss.
    """
    truth = true_boxes(settings, [(item.scene, item.objects[0]) for item in items])
    proposals = read_boxes(settings.proposals) if settings.proposals else None
    located = [locate(p, item.scene, proposals) for p, item in zip(predictions, items, strict=True)]
    iou = np.array(
        [
            iou_matrix(at.boxes[:1], [truth[item.scene][item.objects[0]]], settings.oriented)[0, 0] if at.boxes else 0.0
            for at, item in zip(located, items, strict=True)
        ]
    )
    metrics: dict[str, Metric] = {}
    count: dict[str, int] = {}
    for threshold in THRESHOLDS:
        right = 100.0 * (iou >= threshold)
        metrics[f"Acc@{threshold}"] = mean_metric(right)
        of_kind, of_count = by_kind(f"Acc@{threshold}", right, [item.kind for item in items], ("unique", "multiple"))
        metrics, count = metrics | of_kind, count | of_count
    why = "give ScanNet's scannetv2-labels.combined.tsv with --labels" if not any(i.kind for i in items) else ""
    return Scored(
        metrics,
        iou,
        np.array([p is not None and not at.boxes for p, at in zip(predictions, located, strict=True)]),
        _said(predictions, located),
        [list(item.objects) for item in items],
        _rules(settings, "the first box or known ID counts; no ID, or only unknown ones, is a miss"),
        count,
        {"unique and multiple": why} if why else {},
        _details(located),
    )


def score_multi3drefer(
    items: Sequence[GroundingItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> Scored:
    """Score Multi3DRefer: F1 at IoU 0.25 and 0.5 after matching boxes by largest total IoU, over all and by type.

    Without targets, F1 is 1 if the answer says that there is nothing, else 0. An ID given twice counts once.
    """
    truth = true_boxes(settings, [(item.scene, one) for item in items for one in item.objects])
    proposals = read_boxes(settings.proposals) if settings.proposals else None
    located = [locate(p, item.scene, proposals) for p, item in zip(predictions, items, strict=True)]
    lenient = settings.normalisation is Normalisation.gpt4scene
    f1 = np.zeros((len(items), len(THRESHOLDS)))
    for i, (at, item) in enumerate(zip(located, items, strict=True)):
        if not item.objects:
            f1[i] = not at.boxes and (at.said_none or (lenient and predictions[i] is not None))
        else:
            true = [truth[item.scene][one] for one in item.objects]
            f1[i] = matched_f1(iou_matrix(at.boxes, true, settings.oriented))
    metrics: dict[str, Metric] = {}
    count: dict[str, int] = {}
    for k, threshold in enumerate(THRESHOLDS):
        metrics[f"F1@{threshold}"] = mean_metric(100 * f1[:, k])
        of_kind, of_count = by_kind(
            f"F1@{threshold}", 100 * f1[:, k], [item.kind for item in items], MULTI3DREFER_TYPES
        )
        metrics, count = metrics | of_kind, count | of_count
    rule = "any answer without a known ID says that there is nothing" if lenient else 'without an ID, only "No" does'
    return Scored(
        metrics,
        f1.mean(axis=1),
        np.array([p is not None and not at.readable for p, at in zip(predictions, located, strict=True)]),
        _said(predictions, located),
        [list(item.objects) for item in items],
        _rules(settings, f"unknown IDs are left out; {rule}; a missing answer is wrong"),
        count,
        details=_details(located),
    )


def matched_f1(iou: F64) -> F64:
    """Return F1 at each threshold of (predicted, true) IoU, paired for the largest total IoU.

    >>> matched_f1(np.array([[0.6, 0.0], [0.0, 0.3]])).tolist()
    [1.0, 0.5]
    """
    pairs = iou[linear_sum_assignment(iou, maximize=True)]
    return np.array([2 * (pairs >= t).sum() / sum(iou.shape) for t in THRESHOLDS])


def _said(predictions: Sequence[Prediction | None], located: Sequence[Located]) -> list[str]:
    return ["" if p is None else p.text or f"{len(at.boxes)} boxes" for p, at in zip(predictions, located, strict=True)]


def _rules(settings: ScoreSettings, answers: str) -> dict[str, str]:
    boxes = "turned boxes as they are" if settings.oriented else "upright boxes around the corners, as officially"
    return {"boxes": boxes, "answers": answers}


def _details(located: Sequence[Located]) -> dict[str, int]:
    return {"unknown_ids": sum(len(at.unknown) for at in located)}
