"""Boxes of the objects of many scenes: the truth's, or the proposals' that an answer names by ID.

A file is JSON: {scene: {id: box}}, {scene: [box, ...]} (the place in the list is the ID, as with Mask3D's proposals),
{scene: {"objects": [{"id": ..., box}]}} (as ``layouts``), or a list of {"scene_id", "object_id", "bbox"} (as
ScanRefer's). A folder holds one such file per scene, named after it. A box is [cx, cy, cz, sx, sy, sz], its eight
corners, {"min", "max"}, or {"center", "size"} with "axes" (rows are unit axes) where it is turned. Metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3d_ros.benchmarks.files import BenchmarkError, read_json
from s3d_ros.geometry import box_iou
from s3d_ros.types import F64, OrientedBox

SceneBoxes = dict[str, dict[int, OrientedBox]]
_NO_VOLUME_M3 = 1e-8  # added to the union, as the official scorers do


def read_boxes(path: Path) -> SceneBoxes:
    """Read a file or folder of boxes. Raises BenchmarkError that names the scene and the object."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise BenchmarkError(f"{path} holds no SCENE.json")
        return {file.stem: _scene(read_json(file), f"{file}") for file in files}
    data = read_json(path)
    if isinstance(data, list):
        scenes: dict[str, dict[str, Any]] = {}
        for i, row in enumerate(data):
            if not isinstance(row, Mapping) or not {"scene_id", "object_id", "bbox"} <= set(row):
                raise BenchmarkError(f'{path}, entry {i}: needs "scene_id", "object_id" and "bbox"')
            scenes.setdefault(str(row["scene_id"]), {})[str(row["object_id"])] = row["bbox"]
        data = scenes
    if not isinstance(data, Mapping):
        raise BenchmarkError(f"{path} must hold boxes by scene, or be a folder of SCENE.json")
    return {str(scene): _scene(boxes, f"{path}, scene {scene}") for scene, boxes in data.items()}


def _scene(data: Any, where: str) -> dict[int, OrientedBox]:
    if isinstance(data, Mapping) and isinstance(data.get("objects"), list):
        data = {row.get("id"): row for row in data["objects"]}
    pairs: Iterable[tuple[Any, Any]] = data.items() if isinstance(data, Mapping) else enumerate(data)
    boxes = {}
    for one, box in pairs:
        try:
            boxes[int(one)] = read_box(box)
        except (TypeError, ValueError, KeyError) as error:
            raise BenchmarkError(f"{where}, object {one!r}: {error}") from error
    return boxes


def read_box(value: Any) -> OrientedBox:
    """Read one box in any of the forms. Raises ValueError."""
    if isinstance(value, Mapping):
        if {"min", "max"} <= set(value):
            low, high = np.asarray(value["min"], np.float64), np.asarray(value["max"], np.float64)
            return _checked((low + high) / 2, high - low, np.eye(3))
        if not {"center", "size"} <= set(value):
            raise ValueError('a box needs "center" and "size", or "min" and "max"')
        return _checked(value["center"], value["size"], value.get("axes", np.eye(3)))
    numbers = np.asarray(value, np.float64)
    if numbers.shape == (6,):
        return _checked(numbers[:3], numbers[3:], np.eye(3))
    if numbers.shape == (8, 3):
        low, high = numbers.min(axis=0), numbers.max(axis=0)
        return _checked((low + high) / 2, high - low, np.eye(3))
    raise ValueError(f"a box is 6 numbers, 8 corners or an object, not an array of shape {numbers.shape}")


def _checked(center: Any, size: Any, axes: Any) -> OrientedBox:
    box = OrientedBox(*(np.asarray(v, np.float64) for v in (center, size, axes)))
    if (box.center.shape, box.size.shape, box.axes.shape) != ((3,), (3,), (3, 3)):
        raise ValueError("center and size are 3 numbers each, axes 3x3")
    if not all(np.isfinite(v).all() for v in (box.center, box.size, box.axes)) or (box.size < 0).any():
        raise ValueError(f"not a box: center {box.center.tolist()}, size {box.size.tolist()}")
    return box


def iou_matrix(a: Sequence[OrientedBox], b: Sequence[OrientedBox], oriented: bool = False) -> F64:
    """Return (len(a), len(b)) volume IoU.

    Unless ``oriented``, a turned box counts as the upright box around its corners, as in the official scorers.
    """
    if oriented:
        return np.array([[box_iou(x, y) for y in b] for x in a], dtype=np.float64).reshape(len(a), len(b))
    low_a, high_a = _bounds(a)
    low_b, high_b = _bounds(b)
    shared = np.minimum(high_a[:, None], high_b[None]) - np.maximum(low_a[:, None], low_b[None])
    both = np.prod(np.maximum(shared, 0), axis=2)
    volume_a, volume_b = np.prod(high_a - low_a, axis=1), np.prod(high_b - low_b, axis=1)
    return np.asarray(both / (volume_a[:, None] + volume_b[None] - both + _NO_VOLUME_M3), dtype=np.float64)


def _bounds(boxes: Sequence[OrientedBox]) -> tuple[F64, F64]:
    if not boxes:
        return np.zeros((0, 3)), np.zeros((0, 3))
    corners = np.stack([box.corners() for box in boxes])
    return corners.min(axis=1), corners.max(axis=1)
