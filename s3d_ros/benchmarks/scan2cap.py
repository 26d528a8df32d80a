"""Scan2Cap: captions of objects, which count only where the box that was captioned meets the true one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.benchmarks.annotations import CaptionItem
from s3d_ros.benchmarks.bootstrap import Metric, mean_metric
from s3d_ros.benchmarks.captions import CAPTION_NAMES, caption_metrics, caption_statistics
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.grounding import THRESHOLDS, true_boxes
from s3d_ros.benchmarks.java import JavaMissing, ptb_tokens
from s3d_ros.benchmarks.predictions import Prediction
from s3d_ros.benchmarks.scene_boxes import SceneBoxes, iou_matrix, read_boxes
from s3d_ros.benchmarks.scored import Scored, ScoreSettings
from s3d_ros.types import F64, OrientedBox

_RULES = {
    Normalisation.official: "Scan2Cap's own: captions in lower case, split at white space, against ScanRefer's "
    "first 30 tokens",
    Normalisation.gpt4scene: "GPT4Scene's: captions and whole descriptions through the PTB tokeniser",
    Normalisation.leo: "LEO's: captions as they are, full stops apart, against ScanRefer's first 30 tokens",
}


def score_scan2cap(
    items: Sequence[CaptionItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> Scored:
    """Score Scan2Cap at IoU 0.25 and 0.5. Where no box meets the true one, the caption is "sos eos", as officially."""
    iou, unknown = _ious(items, predictions, settings)
    raw = [" ".join(p.text.split()) if p else "" for p in predictions]
    metrics: dict[str, Metric] = {
        f"matched@{t}": mean_metric(100.0 * ((iou >= t) & [p is not None for p in predictions])) for t in THRESHOLDS
    }
    not_computed: dict[str, str] = {}
    points = np.minimum(iou, 1.0)
    preset = settings.normalisation
    try:
        said, references = _texts(raw, items, preset)
        counted = [[s if at >= t else "sos eos" for s, at in zip(said, iou, strict=True)] for t in THRESHOLDS]
        statistics = caption_statistics(counted, references)
        for t, of_captions in zip(THRESHOLDS, statistics, strict=True):
            metrics |= caption_metrics(of_captions, f"@{t}")
        points = np.where(iou >= THRESHOLDS[0], statistics[0].rouge, 0.0)
        if statistics[0].no_meteor:
            not_computed = {f"METEOR@{t}": statistics[0].no_meteor for t in THRESHOLDS}
    except JavaMissing as error:
        not_computed = {f"{name}@{t}": str(error) for name in CAPTION_NAMES for t in THRESHOLDS}
    return Scored(
        metrics,
        points,
        np.array([p is not None and not text for p, text in zip(predictions, raw, strict=True)]),
        raw,
        [list(item.captions[:2]) for item in items],
        {
            "captions": _RULES[preset],
            "boxes": "captions were made of the true boxes"
            if settings.true_boxes
            else "turned boxes as they are"
            if settings.oriented
            else "upright boxes around the corners, as officially",
        },
        not_computed=not_computed,
        details={"unknown_ids": unknown},
    )


def _texts(
    raw: Sequence[str], items: Sequence[CaptionItem], preset: Normalisation
) -> tuple[list[str], list[list[str]]]:
    """Return captions and references between "sos" and "eos", as tokens joined by spaces."""
    if preset is not Normalisation.gpt4scene:
        references = [[f"sos {text} eos" for text in item.tokens] for item in items]
        if preset is Normalisation.leo:
            return [f"sos {text} eos".replace(". ", " . ") for text in raw], references
        return [f"sos {text.lower()} eos" for text in raw], references
    framed = [f"sos {text} eos" for text in raw]
    tokens = iter(ptb_tokens([*framed, *(f"sos {text} eos" for item in items for text in item.captions)]))
    return [next(tokens) for _ in framed], [[next(tokens) for _ in item.captions] for item in items]


def _ious(
    items: Sequence[CaptionItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> tuple[F64, int]:
    """Return the IoU (N,) of the box each caption is of with the true one, and how many IDs no proposal has."""
    if settings.true_boxes:
        return np.ones(len(items)), 0
    truth = true_boxes(settings, [(item.scene, item.object) for item in items])
    proposals = read_boxes(settings.proposals) if settings.proposals else None
    iou, unknown = np.zeros(len(items)), 0
    for i, (item, prediction) in enumerate(zip(items, predictions, strict=True)):
        if prediction is None:
            continue
        box, is_unknown = _box(prediction, item, proposals)
        unknown += is_unknown
        if box is not None:
            iou[i] = iou_matrix([box], [truth[item.scene][item.object]], settings.oriented)[0, 0]
    return iou, unknown


def _box(prediction: Prediction, item: CaptionItem, proposals: SceneBoxes | None) -> tuple[OrientedBox | None, bool]:
    """Return the box that a caption is of. IDs in its text don't tell: they may be of what stands beside it."""
    if prediction.boxes:
        return prediction.boxes[0], False
    if not prediction.objects:
        raise BenchmarkError(
            f'the caption of {item.id} does not say what it is of: give it an "object" or a "box", or say --true-boxes '
            "if captions were made of the true ones"
        )
    if proposals is None:
        raise BenchmarkError(f"the caption of {item.id} names object {prediction.objects[0]}: give --proposals FILE")
    known = proposals.get(item.scene, {})
    return known.get(prediction.objects[0]), prediction.objects[0] not in known
