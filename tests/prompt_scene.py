"""The small room of ``answer_scene`` with pictures: a bird's-eye view and three view frames; and a building."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from answer_scene import kitchen_like

from s3d_ros.types import Bev, Intrinsics, Marker, OrientedBox, Scene, SceneObject, ViewFrame

CAMERA = Intrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)
POSE = np.array([[1, 0, 0, 2.5], [0, 0, 1, 0.2], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])


def jpeg(seed: int) -> bytes:
    """A picture of grey noise."""
    noise = np.random.default_rng(seed).integers(60, 200, (12, 16, 3), dtype=np.uint8)
    ok, data = cv2.imencode(".jpg", cv2.resize(noise, (640, 480), interpolation=cv2.INTER_NEAREST))
    assert ok
    return bytes(data.tobytes())


def view(number: int, ids: tuple[int, ...], revision: int = 1, stamp_s: float | None = None) -> ViewFrame:
    """View ``number`` of second ``number``, with markers of ``ids`` in a row."""
    marks = tuple(Marker(i, 60.0 + 90 * k, 100.0 + 20 * number) for k, i in enumerate(ids))
    at_ns = round((number if stamp_s is None else stamp_s) * 1e9)
    return ViewFrame(number, revision, at_ns, jpeg(number), CAMERA, POSE, marks)


def floor(width_m: float, height_m: float, resolution_m: float = 0.02) -> Bev:
    """A grey floor with its lower left corner at the origin."""
    color = np.full((round(height_m / resolution_m), round(width_m / resolution_m), 3), 120, np.uint8)
    flat = np.zeros(color.shape[:2], np.float32)
    return Bev(color, flat, flat.astype(np.int8), resolution_m, (0.0, 0.0), np.eye(4), 0.0, 2.2)


def room() -> Scene:
    """6 x 5 m; 18 objects that are there, the stove (19) is gone; 30 is now chair 7."""
    views = (view(1, (1, 3, 5)), view(2, (5, 6, 7, 9)), view(3, (2,)))
    return replace(kitchen_like(), bev=floor(6.0, 5.0), views=views)


def building(count: int = 400, side_m: float = 60.0) -> Scene:
    """A hall of ``side_m`` with ``count`` chairs, and one lamp: the last; the robot stands in a corner."""
    rng = np.random.default_rng(1)
    at = np.column_stack([rng.uniform(1, side_m - 1, (count, 2)), np.full(count, 0.4)])
    at[-1] = (side_m / 2, side_m / 2, 0.4)
    objects = tuple(
        SceneObject(i + 1, "lamp" if i == count - 1 else "chair", OrientedBox(at[i], np.full(3, 0.4), np.eye(3)))
        for i in range(count)
    )
    pose = POSE.copy()
    pose[:3, 3] = (3.0, 3.0, 1.2)
    return Scene(
        9, 123, "map", np.array([0.0, 0.0, 1.0]), objects, floor(side_m, side_m, 0.05), (view(1, (1, 2)),),
        T_map_robot=pose,
    )  # fmt: skip
