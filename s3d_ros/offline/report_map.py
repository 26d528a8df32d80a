"""The bird's-eye view of a report, laid out as a drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.markers import place_on_bev, plate_size, text_height_px
from s3d_ros.offline.report_files import data_uri, read_json
from s3d_ros.offline.sheet import cut_to_known
from s3d_ros.types import F64, Bev, Scene

_WIDTH = 1000  # units of the drawing
_LARGEST_SCALE = 12.0


def read_bev(run: Path) -> Bev | None:
    """Read the bird's-eye view, cut to what is known; None when there is none."""
    data = read_json(run / "bev.json")
    image = cv2.imread(str(run / "bev.png")) if data else None
    if data is None or image is None or not image.any():
        return None
    bev = Bev(
        color=image[..., ::-1],
        height_m=np.full(image.shape[:2], np.nan, np.float32),
        occupancy=np.full(image.shape[:2], -1, np.int8),
        resolution_m=float(data["resolution_m"]),
        origin_xy=tuple(data["origin"]),
        T_bev_map=np.array(data.get("T_bev_map", np.eye(4)), dtype=np.float64),
        floor_m=float(data.get("floor_m", math.nan)),
        ceiling_cut_m=math.inf,
    )
    return cut_to_known(bev)


def draw_bev(bev: Bev, scene: Scene, hues: Mapping[int, int]) -> dict[str, Any]:
    """Lay out the bird's-eye view as a drawing: picture, footprints, numbers, grid of metres, robot."""
    height, width = bev.color.shape[:2]
    scale = min(_WIDTH / width, _LARGEST_SCALE)
    known = bev.color.any(axis=2)
    rgba = np.dstack([bev.color[..., ::-1], np.where(known, 255, 0).astype(np.uint8)])

    def drawn(points_map: F64) -> F64:
        return (bev.to_pixels(points_map) + 0.5) * scale

    text_px = text_height_px(640)
    by_id = {o.id: o for o in scene.objects}
    marks = []
    for m in place_on_bev(bev, scene.objects, scale):
        thing = by_id[m.object_id]
        w, h = plate_size(m.object_id, text_px)
        outline = cv2.convexHull(drawn(thing.box.corners()).astype(np.float32))[:, 0]
        anchor = drawn(thing.box.center)[0]
        aside = bool(np.hypot(anchor[0] - m.u, anchor[1] - m.v) > text_px)
        marks.append(
            {
                "id": m.object_id,
                "label": thing.label,
                "hue": hues[thing.id],
                "outline": " ".join(f"{x:.1f},{y:.1f}" for x, y in outline.tolist()),
                "area": float(cv2.contourArea(outline)),
                "x": round(m.u, 1),
                "y": round(m.v, 1),
                "w": w,
                "h": h,
                "anchor": [round(float(v), 1) for v in anchor] if aside else None,
            }
        )
    x0, y0 = bev.origin_xy
    metre = scale / bev.resolution_m
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if metre * s > 50)
    x_lines = range(math.ceil(x0 / step) * step, math.floor(x0 + width * bev.resolution_m) + 1, step)
    y_lines = range(math.ceil(y0 / step) * step, math.floor(y0 + height * bev.resolution_m) + 1, step)
    return {
        "uri": data_uri(rgba, ".png"),
        "width": round(width * scale),
        "height": round(height * scale),
        "marks": sorted(marks, key=lambda m: -m["area"]),
        "x_lines": [(x, round((x - x0) * metre, 1)) for x in x_lines],
        "y_lines": [(y, round((height * bev.resolution_m - (y - y0)) * metre, 1)) for y in y_lines],
        "metre": round(metre, 2),
        "robot": _robot(scene, bev, drawn),
        "size_m": (width * bev.resolution_m, height * bev.resolution_m),
    }


def _robot(scene: Scene, bev: Bev, drawn: Callable[[F64], F64]) -> dict[str, float] | None:
    """Return where the last pose is on the drawing and where it heads, in degrees clockwise from up."""
    if scene.T_map_robot is None:
        return None
    forward = scene.T_map_robot[:3, 2 if scene.robot_is_camera else 0]
    (u, v), (ahead_u, ahead_v) = drawn(np.stack([scene.T_map_robot[:3, 3], scene.T_map_robot[:3, 3] + forward]))
    heading = math.degrees(math.atan2(ahead_u - u, v - ahead_v))
    return {"x": round(float(u), 1), "y": round(float(v), 1), "heading": round(heading, 1)}
