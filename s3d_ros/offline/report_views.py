"""The view frames of a report, and each object cut from the one that shows it best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3d_ros.geometry import invert, project, transform
from s3d_ros.offline.report_files import data_uri, read_json
from s3d_ros.offline.timeline import Box
from s3d_ros.types import F64, U8, Intrinsics, SceneObject

_VIEW_WIDTH = 640
_THUMBNAIL = (88, 64)


def read_views(run: Path) -> list[dict[str, Any]]:
    """Read the marked view frames, by time."""
    views = []
    for view in sorted(read_json(run / "views.json") or [], key=lambda v: v["time_s"]):
        image = cv2.imread(str(run / view["file"]))
        if image is None:
            continue
        scale = min(1.0, _VIEW_WIDTH / image.shape[1])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        ids = sorted(m["id"] for m in view["markers"])
        views.append({**view, "image": image, "uri": data_uri(small, ".jpg", 82), "ids": ids})
    return views


def thumbnail(thing: SceneObject, views: list[dict[str, Any]], boxes: Mapping[int, Mapping[int, Box]]) -> str | None:
    """Cut the object from the view frame that shows most of it, among those that mark it.

    boxes: by a view's stamp and an object's ID, where its mask lies; where they are missing, its box is projected.
    """
    best: tuple[float, Any] = (0.0, None)
    for view in views:
        if thing.id not in view["ids"]:
            continue
        limit = np.array([view["width"], view["height"]], dtype=np.float64)
        seen = boxes.get(view.get("stamp_ns", -1), {}).get(thing.id)
        if seen is not None:
            low, high = np.array(seen[:2], dtype=np.float64), np.array(seen[:2], dtype=np.float64) + seen[2:]
            cut_off = (low <= 1).any() or (high >= limit - 1).any()
            worth = float(np.prod(high - low)) * (0.4 if cut_off else 1.0)
        else:
            low, high, visible = _projected(thing, view, limit)
            worth = float(np.prod(np.clip(high, 0, limit) - np.clip(low, 0, limit))) * visible**2 / 4
        if worth > best[0]:
            best = (worth, (view, low, high))
    return None if best[1] is None else _cut(*best[1])


def _projected(thing: SceneObject, view: Mapping[str, Any], limit: F64) -> tuple[F64, F64, float]:
    """Return the corners of the object's outline in a view, (2,) each, and the share of it that is in the image."""
    k = Intrinsics(view["width"], view["height"], *view["intrinsics"])
    pixels, depth = project(transform(invert(np.array(view["T_map_camera"])), thing.box.corners()), k)
    mark = next((m["u"], m["v"]) for m in view["markers"] if m["id"] == thing.id)
    if (depth <= 0.05).any():  # partly behind the camera
        low, high = np.zeros(2), limit
    else:
        low, high = np.minimum(pixels.min(axis=0), mark), np.maximum(pixels.max(axis=0), mark)
    size = np.clip(high, 0, limit) - np.clip(low, 0, limit)
    return low, high, float(np.prod(size) / max(np.prod(high - low), 1.0))


def _cut(view: Mapping[str, Any], low: F64, high: F64) -> str:
    """Cut a rectangle with some air around it, in the thumbnail's shape, from a view's picture."""
    image: U8 = view["image"]
    rows, columns = image.shape[:2]
    middle, (w, h) = (low + high) / 2, np.maximum((high - low) * 1.2, 60)
    aspect = _THUMBNAIL[0] / _THUMBNAIL[1]
    w, h = min(max(w, h * aspect), columns), min(max(h, w / aspect), rows)
    w, h = min(w, h * aspect), min(h, w / aspect)
    left = int(np.clip(middle[0] - w / 2, 0, columns - w))
    top = int(np.clip(middle[1] - h / 2, 0, rows - h))
    cut = image[top : top + int(h), left : left + int(w)]
    size = (2 * _THUMBNAIL[0], 2 * _THUMBNAIL[1])
    return data_uri(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), ".jpg", 72)
