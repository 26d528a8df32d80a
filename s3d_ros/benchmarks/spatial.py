"""VSI-Bench and VSTI-Bench: choices by accuracy, numbers by mean relative accuracy.

- ``official``: the first word of an answer is what it says; an error of exactly a threshold is within it, as in the
  benchmarks' code, down to its floating point.
- ``s3d``: an answer is read as ``s3d evaluate`` reads it (a letter or an option spelled out, the first number), and an
  error has to be less than a threshold, as VSI-Bench's paper writes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from s3d_ros.benchmarks.annotations import SpatialItem
from s3d_ros.benchmarks.bootstrap import Metric, mean_metric, mean_of_metrics
from s3d_ros.benchmarks.cleaning import Normalisation
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.predictions import Prediction
from s3d_ros.benchmarks.scored import Scored, ScoreSettings
from s3d_ros.offline.score import mean_relative_accuracy, read_choice, read_value

# Tasks and the question types they are made of; False: a number
VSI_TASKS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "object_counting": (False, ("object_counting",)),
    "object_abs_distance": (False, ("object_abs_distance",)),
    "object_size_estimation": (False, ("object_size_estimation",)),
    "room_size_estimation": (False, ("room_size_estimation",)),
    "object_rel_distance": (True, ("object_rel_distance",)),
    "object_rel_direction": (True, tuple(f"object_rel_direction_{level}" for level in ("easy", "medium", "hard"))),
    "route_planning": (True, ("route_planning",)),
    "obj_appearance_order": (True, ("obj_appearance_order",)),
}
VSTI_TASKS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "camera_obj_abs_dist": (False, ("camera_obj_abs_dist",)),
    "camera_obj_rel_dist": (True, ("camera_obj_rel_dist", *(f"camera_obj_rel_dist_v{n}" for n in (1, 2, 3)))),
    "obj_obj_relative_pos": (True, tuple(f"obj_obj_relative_pos_{way}" for way in ("nf", "ud", "lr"))),
    "camera_displacement": (False, ("camera_displacement",)),
    "camera_movement_direction": (
        True,
        ("camera_movement_direction", *(f"camera_movement_direction_v{n}" for n in (1, 2, 3))),
    ),
}
_SIXTH = {"camera_obj_dist_change": (False, ("camera_obj_dist_change",))}  # in VSTI-Bench's code, not in its paper
_RULES = {
    Normalisation.official: {
        "answers": "the first word, without full stops, is the letter or the number",
        "numbers": "MRA over 0.50, 0.55 ... 0.95; an error of a threshold is within it, as in the official code",
        "zero": "a truth of 0 is met by 0 alone (the official code divides by it)",
    },
    Normalisation.s3d: {
        "answers": "a letter, an option spelled out, or the first number, wherever it stands",
        "numbers": "MRA over 0.50, 0.55 ... 0.95; the error has to be less than a threshold",
        "zero": "a truth of 0 is met by 0 alone",
    },
}


def official_mra(answer: float | None, truth: float) -> float:
    """Return the share of the ten thresholds that an answer meets, with ``<=`` and rounding as VSI-Bench's code does.

    >>> official_mra(1.0, 2.0), official_mra(0.0, 0.0), official_mra(0.1, 0.0), official_mra(None, 2.0)
    (0.1, 1.0, 0.0, 0.0)
    """
    if answer is None or not math.isfinite(answer):
        return 0.0
    if truth == 0:
        return float(answer == 0)
    return float((abs(answer - truth) / abs(truth) <= 1 - np.linspace(0.5, 0.95, 10)).mean())


def score_vsi(
    items: Sequence[SpatialItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> Scored:
    """Score VSI-Bench: eight tasks and their mean; direction is the mean of its three levels."""
    return _score(items, predictions, settings.normalisation, VSI_TASKS, {}, "mean of the tasks")


def score_vsti(
    items: Sequence[SpatialItem], predictions: Sequence[Prediction | None], settings: ScoreSettings
) -> Scored:
    """Score VSTI-Bench: five tasks and their mean; besides, the mean of all question types, as its code takes it."""
    return _score(items, predictions, settings.normalisation, VSTI_TASKS, _SIXTH, "mean of the tasks")


def _score(
    items: Sequence[SpatialItem],
    predictions: Sequence[Prediction | None],
    preset: Normalisation,
    tasks: Mapping[str, tuple[bool, tuple[str, ...]]],
    others: Mapping[str, tuple[bool, tuple[str, ...]]],
    overall: str,
) -> Scored:
    is_choice = {kind: choice for choice, kinds in {**tasks, **others}.values() for kind in kinds}
    points, said = np.zeros(len(items)), []
    for i, (item, prediction) in enumerate(zip(items, predictions, strict=True)):
        if item.type not in is_choice:
            raise BenchmarkError(
                f"question {item.id!r} is of unknown type {item.type!r}; known are {', '.join(is_choice)}"
            )
        read = _read(item, prediction, preset, is_choice[item.type])
        points[i] = _points(item, read, preset, is_choice[item.type])
        said.append(read)
    of = np.array([item.type for item in items])
    types: dict[str, Metric] = {k: mean_metric(100 * points, of == k) for k in is_choice if (of == k).any()}
    made: dict[str, Metric] = {}
    count: dict[str, int] = {}
    for task, (_, kinds) in tasks.items():
        there = [kind for kind in kinds if kind in types]
        if there:
            made[task] = mean_of_metrics([types[kind] for kind in there])
            count[task] = int(np.isin(of, there).sum())
    metrics = {overall: mean_of_metrics(list(made.values())), **made}
    parts = {kind: metric for kind, metric in types.items() if kind not in metrics}
    if others or len(types) > len(made):
        metrics["mean of the question types"] = mean_of_metrics(list(types.values()))
    return Scored(
        {**metrics, **parts},
        points,
        np.array([p is not None and s is None for p, s in zip(predictions, said, strict=True)]),
        ["" if p is None else p.text for p in predictions],
        [item.truth for item in items],
        _RULES[preset],
        {**count, **{kind: int((of == kind).sum()) for kind in parts}},
        {task: "no question of this task" for task in tasks if task not in made},
    )


def _read(item: SpatialItem, prediction: Prediction | None, preset: Normalisation, choice: bool) -> str | float | None:
    """Return the letter or the number of an answer, None when it has none."""
    if prediction is None:
        return None
    if preset is Normalisation.s3d:
        row = {**prediction.row, "answer": prediction.text}
        return (read_choice(row, item.options) or None) if choice else read_value(row)
    word = prediction.text.split(" ")[0].rstrip(".").strip()
    if choice:
        letters = {option[:1].upper() for option in item.options}
        return word if word and (word.upper() in letters or not letters) else None
    try:
        return None if math.isnan(float(word)) else float(word)
    except ValueError:
        return None


def _points(item: SpatialItem, read: str | float | None, preset: Normalisation, choice: bool) -> float:
    if choice:
        return float(read is not None and str(read).lower() == item.truth.lower())
    try:
        truth = float(item.truth)
    except ValueError:
        raise BenchmarkError(f"question {item.id!r} asks for a number, its truth is {item.truth!r}") from None
    value = None if read is None else float(read)
    return (mean_relative_accuracy if preset is Normalisation.s3d else official_mra)(value, truth)
