"""A run against the truth of its recording.

*Stands for*: a map object stands for the true object on which at least half of its pixels lie, over all frames of
``tracks.jsonl`` (masks of IDs that were merged later count for the survivor), provided that their boxes meet at all.
Without true instance images, or for an object without pixels, the boxes decide instead: the true object of the largest
box IoU, if that is 0.1 or more. What stands for nothing is a *ghost*. Labels play no part in this.

Of the *well-seen* true objects (2,000 pixels in one frame, and 5 frames): in the map *once* means that exactly one map
object stands for it; *duplicated* two or more; *missed* none. Its box IoU is the best of those that stand for it, 0
when missed. Map objects that stand for a true object that was not well seen are neither right nor wrong.

Beside that, class-agnostic figures that know only geometry: ``boxes`` matches map and truth boxes one to one by IoU;
``tubes`` does the same with pixels over the whole recording, ``frames`` with the masks of each frame (`maskscore`).
``identity`` tells whether things kept their IDs (`identity`), ``points`` how well the true surface is divided among the
objects (`points`), ``calibration`` what a label's confidence is worth. ``yardsticks`` are the same figures of what
others would have made of the same instances (`yardsticks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.geometry import box_iou
from s3d_ros.offline.calibration import calibration
from s3d_ros.offline.evaluate_tables import show_evaluation
from s3d_ros.offline.identity import Sight, identity, sights, with_all_given
from s3d_ros.offline.maskscore import MaskPair, MaskScore, score_masks
from s3d_ros.offline.overlaps import NOTHING, Overlaps, count_overlaps, read_overlaps
from s3d_ros.offline.points import point_quality
from s3d_ros.offline.rendered import RENDERED
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.score import BoxOverlap, read_rows, score
from s3d_ros.offline.truth import TrueObject, Truth, load_truth
from s3d_ros.types import F64, OrientedBox, Scene, SceneObject

__all__ = ["box_ious", "evaluate", "show_evaluation"]

MIN_PIXEL_SHARE = 0.5
MIN_BOX_IOU = 0.1


def evaluate(
    run: Path,
    truth_path: Path,
    key_path: Path | None = None,
    yardsticks: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a run directory; also its ``answers.json`` when the questions' key is given.

    yardsticks: the recording that the run was made of: measure beside it what others would have made of the same
    instances; their runs are left in ``RUN/yardsticks``. progress: of running them, (frames done, in all or None).
    Raises RunError, TruthError, ScoreError, RecordingError or MeasureError, naming what can't be used.
    """
    scene, truth = load_scene(run), load_truth(truth_path)
    others: dict[str, Any] | None = None
    all_given: list[Sight] | None = None
    if yardsticks is not None:
        from s3d_ros.offline.recording import open_recording
        from s3d_ros.offline.yardsticks import run_yardsticks

        made = run_yardsticks(open_recording(yardsticks), truth, run / "yardsticks", scene.up, progress)
        all_given = sights(read_overlaps(made["oracle"] / "tracks.jsonl", truth))
        others = {name: _measured(path, load_scene(path), truth, all_given) for name, path in made.items()}
    result = {
        "run": str(run),
        "truth": str(truth.path),
        **_measured(run, scene, truth, all_given),
        "room": _room(scene, truth),
        "yardsticks": others,
        "questions": None,
    }
    if key_path is not None:
        iou = box_ious([o.box for o in scene.objects], [t.box for t in truth.objects])
        overlap = BoxOverlap(tuple(o.id for o in scene.objects), tuple(t.id for t in truth.objects), iou)
        result["questions"] = score(read_rows(key_path), read_rows(run / "answers.json"), overlap)
    return result


def survivors_of(scene: Scene) -> dict[int, int]:
    """Return {ID that was merged: the ID that stands for it at the end}."""
    return {**scene.merged, **{alias: o.id for o in scene.objects for alias in o.aliases}}


def _measured(run: Path, scene: Scene, truth: Truth, all_given: list[Sight] | None) -> dict[str, Any]:
    """Return all that is measured of any run, a yardstick's too. all_given: every instance there was, where known."""
    survivors = survivors_of(scene)
    overlaps, seen = None, []
    if truth.has_instances and (run / "tracks.jsonl").exists():
        frames = read_overlaps(run / "tracks.jsonl", truth)
        overlaps = count_overlaps(frames, survivors)
        overlaps = overlaps if overlaps.frames else None
        seen = sights(frames)
    if all_given is not None:
        seen = with_all_given(seen, all_given)
    iou = box_ious([o.box for o in scene.objects], [t.box for t in truth.objects])
    stands = [_stands_for(o, iou[k], truth, overlaps) for k, o in enumerate(scene.objects)]
    return {
        "matched_by": "boxes" if overlaps is None else "masks",
        **_objects(scene, truth, iou, stands),
        "boxes": _agnostic(_box_pair(scene, truth, iou)),
        "tubes": None if overlaps is None else _agnostic(_tube_pair(scene, truth, overlaps)),
        "frames": None if overlaps is None else _plain(score_masks(overlaps.frames)),
        "points": point_quality(scene, run, truth),
        "identity": identity(seen, run / RENDERED, truth, survivors),
        "calibration": _calibration(scene, truth, stands),
    }


def _calibration(scene: Scene, truth: Truth, stands: Sequence[int]) -> dict[str, Any]:
    """Calibration of the labels of all map objects that stand for something well seen."""
    labels = {t.id: t.label for t in truth.objects if t.well_seen}
    known = [(o, labels[s]) for o, s in zip(scene.objects, stands, strict=True) if s in labels]
    return calibration([(o.label_confidence, o.label == label) for o, label in known])


def box_ious(boxes: Sequence[OrientedBox], others: Sequence[OrientedBox]) -> F64:
    """Return the IoU of each box with each other one, (N, M)."""
    iou = np.zeros((len(boxes), len(others)))
    if not len(boxes) or not len(others):
        return iou
    centers, other_centers = np.stack([b.center for b in boxes]), np.stack([b.center for b in others])
    reach = np.array([np.linalg.norm(b.size) for b in boxes]) / 2
    other_reach = np.array([np.linalg.norm(b.size) for b in others]) / 2
    apart = np.linalg.norm(centers[:, None] - other_centers[None], axis=-1)
    for i, j in zip(*np.nonzero(apart < reach[:, None] + other_reach[None]), strict=True):
        iou[i, j] = box_iou(boxes[i], others[j])
    return iou


def _stands_for(o: SceneObject, iou: F64, truth: Truth, overlaps: Overlaps | None) -> int:
    """Return the id of the true object that a map object stands for, NOTHING for none. iou: (T,) with each."""
    pixels = {} if overlaps is None else overlaps.of(o.id)
    if not pixels:
        best = int(iou.argmax()) if iou.size else -1
        return truth.objects[best].id if best >= 0 and iou[best] >= MIN_BOX_IOU else NOTHING
    best_id = max(pixels, key=lambda t: pixels[t])
    if best_id == NOTHING or pixels[best_id] < MIN_PIXEL_SHARE * sum(pixels.values()):
        return NOTHING
    index = next((k for k, t in enumerate(truth.objects) if t.id == best_id), -1)
    return best_id if index >= 0 and iou[index] > 0 else NOTHING


def _objects(scene: Scene, truth: Truth, iou: F64, stands: Sequence[int]) -> dict[str, Any]:
    rows = []
    for index, t in enumerate(truth.objects):
        if t.well_seen:
            found = sorted((k for k, s in enumerate(stands) if s == t.id), key=lambda k: -iou[k, index])
            rows.append(_row(t, [scene.objects[k] for k in found], float(iou[found[0], index]) if found else 0.0))
    found_rows = [r for r in rows if r["map_ids"]]
    ghosts = [o for o, s in zip(scene.objects, stands, strict=True) if s == NOTHING]
    ious = np.array([r["iou"] for r in rows])
    figures = {
        "truth": len(truth.objects),
        "well_seen": len(rows),
        "map": len(scene.objects),
        "once": sum(len(r["map_ids"]) == 1 for r in rows),
        "missed": sum(not r["map_ids"] for r in rows),
        "duplicated": sum(len(r["map_ids"]) > 1 for r in rows),
        "surplus": sum(max(len(r["map_ids"]) - 1, 0) for r in rows),
        "ghosts": len(ghosts),
        "iou25": int((ious >= 0.25).sum()),
        "iou50": int((ious >= 0.5).sum()),
        "mean_iou": _mean(ious),
        "labelled_right": sum(r["map_label"] == r["label"] for r in found_rows),
        "found": len(found_rows),
        "center_error_m": _median([r["center_error_m"] for r in found_rows]),
        "size_error_m": _median([r["size_error_m"] for r in found_rows]),
    }
    for name in ("once", "iou25", "iou50"):
        figures[f"{name}_share"] = _share(figures[name], len(rows))
    figures["per_true"] = _share(sum(len(r["map_ids"]) for r in rows), len(found_rows))
    figures["ghost_share"] = _share(len(ghosts), len(scene.objects))
    figures["label_share"] = _share(figures["labelled_right"], len(found_rows))
    return {
        "objects": figures,
        "per_object": rows,
        "ghost_objects": [{"id": o.id, "label": o.label, "center": np.round(o.box.center, 3).tolist()} for o in ghosts],
    }


def _row(t: TrueObject, found: Sequence[SceneObject], iou: float) -> dict[str, Any]:
    row: dict[str, Any] = {"id": t.id, "label": t.label, "map_ids": [o.id for o in found], "iou": round(iou, 4)}
    if found:
        box = found[0].box
        row |= {
            "map_label": found[0].label,
            "center_error_m": round(float(np.linalg.norm(box.center - t.box.center)), 4),
            "size_error_m": round(float(np.abs(np.sort(box.size) - np.sort(t.box.size)).max()), 4),
        }
    return row


def _box_pair(scene: Scene, truth: Truth, iou: F64) -> MaskPair:
    return _without_barely_seen(truth, iou, [o.confidence for o in scene.objects])


def _tube_pair(scene: Scene, truth: Truth, overlaps: Overlaps) -> MaskPair:
    iou = np.zeros((len(scene.objects), len(truth.objects)))
    for i, o in enumerate(scene.objects):
        for j, t in enumerate(truth.objects):
            shared = overlaps.shared.get((o.id, t.id), 0)
            iou[i, j] = shared / max(overlaps.area[o.id] + overlaps.true_area[t.id] - shared, 1)
    return _without_barely_seen(truth, iou, [o.confidence for o in scene.objects])


def _without_barely_seen(truth: Truth, iou: F64, scores: Sequence[float]) -> MaskPair:
    """Leave out the true objects that were not well seen, and the map objects that fit one of them best."""
    well_seen = np.array([t.well_seen for t in truth.objects], dtype=bool)
    kept = np.ones(len(iou), dtype=bool)
    if iou.shape[1]:
        fits = iou.argmax(axis=1)
        kept = well_seen[fits] | (iou.max(axis=1) < MIN_BOX_IOU)
    ids = np.array([t.id for t in truth.objects], dtype=np.int64)
    return MaskPair(iou[kept][:, well_seen], np.array(scores, dtype=np.float64)[kept], ids[well_seen])


def _agnostic(pair: MaskPair) -> dict[str, Any]:
    return {"iou25": _plain(score_masks([pair], 0.25)), "iou50": _plain(score_masks([pair], 0.5))}


def _plain(s: MaskScore) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and np.isnan(value) else round(value, 4) for key, value in vars(s).items()
    }


def _room(scene: Scene, truth: Truth) -> dict[str, Any]:
    area = None if np.isnan(scene.floor_area_m2) else round(scene.floor_area_m2, 3)
    return {
        "floor_area_m2": area,
        "truth_m2": truth.floor_area_m2,
        "error_share": None if area is None else round(abs(area - truth.floor_area_m2) / truth.floor_area_m2, 4),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _mean(values: F64) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None
