"""The floor area of the rooms seen."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from s3d_ros.geometry import transform
from s3d_ros.types import F64, U8, OrientedBox

_CELL_M = 0.05
_CLOSE_M = 0.5  # narrower gaps in what was looked over are furniture, not walls


def floor_area_m2(
    seen: np.ndarray, origin_xy: F64, resolution_m: float, boxes: Iterable[OrientedBox], T_bev_map: F64
) -> float:
    """Return the area of the floor plan that was looked over, furniture that hides it included.

    seen: (rows y, columns x) bool, cell (0, 0) with its corner at ``origin_xy`` of the bev frame.
    """
    if not seen.any():
        return 0.0
    scale = resolution_m / _CELL_M
    size = (max(1, round(seen.shape[1] * scale)), max(1, round(seen.shape[0] * scale)))
    plan: U8 = (cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    pad = round(_CLOSE_M / _CELL_M) + 2
    plan = cv2.copyMakeBorder(plan, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    bare = plan.copy()
    for box in boxes:
        corners = (transform(T_bev_map, box.corners())[:, :2] - origin_xy) / _CELL_M + pad - 0.5
        hull = cv2.convexHull(np.rint(corners).astype(np.int32))
        cv2.fillConvexPoly(plan, hull, 1)
    n = round(_CLOSE_M / _CELL_M) | 1
    plan = cv2.morphologyEx(plan, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_RECT, (n, n)))
    # Boxes and closing may only fill what lies between seen floor, not spill past the walls: a hole is filled
    # where it is enclosed, the rest stays within the hull of what was seen.
    outlines, _ = cv2.findContours(plan, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(plan)
    for outline in outlines:
        if (bare[filled_region(outline, plan.shape) > 0]).any():
            cv2.fillPoly(filled, [outline], 1)
    return float(filled.sum()) * _CELL_M**2


def filled_region(outline: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the (H, W) uint8 mask of a contour's inside."""
    region = np.zeros(shape, np.uint8)
    cv2.fillPoly(region, [outline], 1)
    return region
