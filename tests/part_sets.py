"""A training set whose scene has several view frames with depth, for tests of the trainer's parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from small_run import CAMERA, FIRST_NS, STEP_NS, T_MAP_CAMERA, small_scene, write_small_run
from training_sets import write_set

from s3d_ros.offline.view_depth import depth_path, encode_depth
from s3d_ros.types import Marker, Scene, ViewFrame

VIEWS = 5


def scene_of_views(count: int = VIEWS) -> Scene:
    """The small scene, seen from several places along x, each in a colour of its own."""
    views = []
    for k in range(count):
        pixels = np.full((48, 64, 3), (40 * k, 255 - 40 * k, 128), np.uint8)
        cv2.circle(pixels, (10 + 10 * k, 24), 8, (0, 0, 255), -1)
        ok, jpeg = cv2.imencode(".jpg", pixels)
        assert ok
        T = T_MAP_CAMERA.copy()
        T[0, 3] += 0.3 * k - 0.6
        marks = (Marker(1, 30.0, 30.0), Marker(2, 50.0, 30.0))
        views.append(ViewFrame(k + 1, 1, FIRST_NS + k * STEP_NS, jpeg.tobytes(), CAMERA, T, marks))
    return replace(small_scene(), views=tuple(views))


def write_view_run(path: Path, depth: bool = True, count: int = VIEWS) -> Path:
    """Write a run of it; its depth is a wall 1.3 m ahead, unknown in the top ten rows."""
    scene = write_small_run(path, scene_of_views(count))
    depth_m = np.full((48, 64), 1.3, np.float32)
    depth_m[:10] = 0
    for view in scene.views if depth else ():
        depth_path(path, view.id).write_bytes(encode_depth(depth_m))
    return path


def write_view_set(out: Path, run: Path) -> Path:
    return write_set(out, run)
