"""Pictures of the worst cases of a run, for people: ``worst/`` in its directory.

``switch-NNNNNN.png``: a frame where a true object's ID is another than before; on the left what is true, on the right
what was given, with the IDs that were published. ``boxes.png``: the objects whose boxes fit worst, from above: the
true box green, those of the map red, over the surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from s3d_ros.geometry import level_rotation
from s3d_ros.offline.evaluate import survivors_of
from s3d_ros.offline.identity import changes, sights
from s3d_ros.offline.overlaps import FrameOverlap, read_lines, read_overlaps, rle
from s3d_ros.offline.run import load_scene, read_ply
from s3d_ros.offline.truth import Truth, load_truth
from s3d_ros.types import F64, U8, OrientedBox, Scene

_FRAMES, _BOXES = 8, 9
_TILE_PX = 360
_MARGIN_M = 0.4
_TRUE, _MINE, _SURFACE = (60, 200, 60), (40, 40, 230), (110, 110, 110)  # BGR


def draw_worst(run: Path, truth_path: Path, result: Mapping[str, Any]) -> list[Path]:
    """Draw them anew from what ``evaluate`` returned; return the files. Raises RunError, TruthError."""
    scene, truth = load_scene(run), load_truth(truth_path)
    out = run / "worst"
    out.mkdir(exist_ok=True)
    for old in out.glob("*.png"):
        old.unlink()
    made = []
    if truth.has_instances and (run / "tracks.jsonl").exists():
        made += _draw_switches(run, out, scene, truth)
    rows = sorted(result["per_object"], key=lambda r: r["iou"])[:_BOXES]
    if rows:
        made.append(out / "boxes.png")
        cv2.imwrite(str(made[-1]), _boxes(run, scene, truth, rows))
    return made


def _draw_switches(run: Path, out: Path, scene: Scene, truth: Truth) -> list[Path]:
    survivors = survivors_of(scene)
    frames = read_overlaps(run / "tracks.jsonl", truth)
    by_frame: dict[int, list[tuple[int, int, int]]] = {}
    for frame, true, before, now in changes(sights(frames), survivors):
        by_frame.setdefault(frame, []).append((true, before, now))
    chosen = sorted(sorted(by_frame, key=lambda f: -len(by_frame[f]))[:_FRAMES])
    labels = {t.id: t.label for t in truth.objects}
    overlaps = {f.frame: f for f in frames if f.frame in by_frame}
    made = []
    for row in read_lines(run / "tracks.jsonl", "frame", "instances") if chosen else ():
        if row["frame"] in chosen:
            made.append(out / f"switch-{row['frame']:06d}.png")
            picture = _switch(row, truth, overlaps[row["frame"]], by_frame[row["frame"]], labels)
            cv2.imwrite(str(made[-1]), picture)
    return made


def _switch(
    row: Mapping[str, Any],
    truth: Truth,
    overlap: FrameOverlap,
    switched: Sequence[tuple[int, int, int]],
    labels: Mapping[int, str],
) -> U8:
    """Draw a frame: (true id, ID before, ID now) of each object that changed its ID are named below."""
    true = truth.instances(row["frame"])
    assert true is not None  # it was counted
    left, right = (np.full((*true.shape, 3), 30, np.uint8) for _ in range(2))
    for t in np.unique(true[true > 0]).tolist():
        _fill(left, true == t, t, f"{t} {labels.get(t, '')}")
    for instance, shared in zip(row["instances"], overlap.shared, strict=True):
        mask = coco_mask.decode(rle(instance["mask"])) > 0
        name = "-" if instance["id"] is None else str(instance["id"])
        _fill(right, mask, int(shared.argmax()), name)
    words = [f"{t} {labels.get(t, '')}: {before} -> {now}" for t, before, now in switched]
    foot = np.zeros((22 * (len(words) + 1), 2 * true.shape[1] + 4, 3), np.uint8)
    for k, text in enumerate([f"frame {row['frame']}: true (left), given with published IDs (right)", *words]):
        cv2.putText(foot, text, (4, 16 + 22 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
    return np.vstack([np.hstack([left, np.zeros((true.shape[0], 4, 3), np.uint8), right]), foot])


def _fill(image: U8, mask: np.ndarray, true_id: int, text: str) -> None:
    """Fill a mask in the colour of the true object and write in its middle."""
    hue = true_id * 47 % 180
    color = cv2.cvtColor(np.array([[[hue, 170, 210 if true_id else 110]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    image[mask] = color
    v, u = np.nonzero(mask)
    if len(v):
        at = (int(np.median(u)) - 4 * len(text), int(np.median(v)))
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)


def _boxes(run: Path, scene: Scene, truth: Truth, rows: Sequence[Mapping[str, Any]]) -> U8:
    """Draw a tile for each object, three in a row."""
    R = level_rotation(scene.up)[:2]
    surface = read_ply(run / "cloud.ply")[0] @ R.T if (run / "cloud.ply").exists() else np.zeros((0, 2))
    true = {t.id: t.box for t in truth.objects}
    mine = {o.id: o.box for o in scene.objects}
    tiles = [
        _tile(surface, R, true[r["id"]], [mine[k] for k in r["map_ids"]], f"{r['id']} {r['label']}  IoU {r['iou']:.2f}")
        for r in rows
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 3)
    return np.vstack([np.hstack(tiles[k : k + 3]) for k in range(0, len(tiles), 3)])


def _tile(surface: F64, R: F64, true: OrientedBox, mine: Sequence[OrientedBox], title: str) -> U8:
    tile = np.zeros((_TILE_PX, _TILE_PX, 3), np.uint8)
    corners = [b.corners() @ R.T for b in (true, *mine)]
    both = np.concatenate(corners)
    low, high = both.min(axis=0) - _MARGIN_M, both.max(axis=0) + _MARGIN_M
    scale = _TILE_PX / float((high - low).max())

    def pixels(points: F64) -> np.ndarray:
        p = (points - low) * scale
        return np.stack([p[:, 0], _TILE_PX - 1 - p[:, 1]], axis=1).astype(np.int32)

    near = pixels(surface[((surface > low) & (surface < high)).all(axis=1)]) if len(surface) else np.zeros((0, 2), int)
    near = near[((near >= 0) & (near < _TILE_PX)).all(axis=1)]
    tile[near[:, 1], near[:, 0]] = _SURFACE
    for k, c in enumerate(corners):
        hull = cv2.convexHull(pixels(c).reshape(-1, 1, 2))
        cv2.polylines(tile, [hull], True, _MINE if k else _TRUE, 2, cv2.LINE_AA)
    cv2.putText(tile, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.rectangle(tile, (0, 0), (_TILE_PX - 1, _TILE_PX - 1), (60, 60, 60), 1)
    return tile
