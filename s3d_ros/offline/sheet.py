"""One picture of a scene: the marked bird's-eye view beside marked view frames."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from s3d_ros.markers import draw, draw_bev
from s3d_ros.offline.run import decode_jpeg
from s3d_ros.types import U8, Bev, Scene

_BACK = 24  # grey between the pictures
_GAP = 12


def draw_sheet(scene: Scene, height: int = 960, columns: int = 2, rows: int = 3) -> U8 | None:
    """Return RGB (height, W, 3), or None while there is neither a bird's-eye view nor a view frame."""
    parts = []
    if scene.bev is not None and scene.bev.color.any():
        parts.append(_fit(draw_bev(cut_to_known(scene.bev), scene.objects), height, round(height * 1.4)))
    views = _most_telling(scene, columns * rows)
    if views:
        cell_height = (height - (rows - 1) * _GAP) // rows
        cells = [_fit(view, cell_height, round(cell_height * 4 / 3)) for view in views]
        parts.append(_table(cells, columns, rows, height))
    if not parts:
        return None
    gap = np.full((height, _GAP, 3), _BACK, np.uint8)
    joined = np.hstack([p for part in parts for p in (gap, part)][1:])
    return np.pad(joined, ((_GAP, _GAP), (_GAP, _GAP), (0, 0)), constant_values=_BACK)


def cut_to_known(bev: Bev, margin_m: float = 0.25) -> Bev:
    """Return the part of a bird's-eye view that shows something, and a little around it."""
    margin = math.ceil(margin_m / bev.resolution_m)
    v, u = np.nonzero(bev.color.max(axis=2))
    top, bottom = max(int(v.min()) - margin, 0), min(int(v.max()) + 1 + margin, bev.color.shape[0])
    left, right = max(int(u.min()) - margin, 0), min(int(u.max()) + 1 + margin, bev.color.shape[1])
    x, y = bev.origin_xy
    return dataclasses.replace(
        bev,
        color=np.ascontiguousarray(bev.color[top:bottom, left:right]),
        height_m=bev.height_m[top:bottom, left:right],
        occupancy=bev.occupancy[top:bottom, left:right],
        origin_xy=(x + left * bev.resolution_m, y + (bev.color.shape[0] - bottom) * bev.resolution_m),
    )


def _most_telling(scene: Scene, count: int) -> list[U8]:
    """Draw the view frames that together show most objects, by time."""
    alive = {o.id for o in scene.objects}
    left = {v.id: {m.object_id for m in v.markers} & alive for v in scene.views}
    chosen: list[int] = []
    shown: set[int] = set()
    while len(chosen) < min(count, len(left)):
        best = max((i for i in left if i not in chosen), key=lambda i: (len(left[i] - shown), len(left[i]), -i))
        chosen.append(best)
        shown |= left[best]
    views = sorted((v for v in scene.views if v.id in chosen), key=lambda v: v.stamp_ns)
    return [draw(decode_jpeg(v.jpeg), [m for m in v.markers if m.object_id in alive]) for v in views]


def _fit(image: U8, height: int, most_width: int) -> U8:
    """Scale a picture to a height, or less where it would become too wide, and centre it on grey."""
    scale = min(height / image.shape[0], most_width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    above = (height - size[1]) // 2
    return np.pad(small, ((above, height - size[1] - above), (0, 0), (0, 0)), constant_values=_BACK)


def _table(cells: list[U8], columns: int, rows: int, height: int) -> U8:
    width = max(c.shape[1] for c in cells)
    cell_height = cells[0].shape[0]
    out = np.full((height, columns * width + (columns - 1) * _GAP, 3), _BACK, np.uint8)
    for k, cell in enumerate(cells[: columns * rows]):
        y, x = (k // columns) * (cell_height + _GAP), (k % columns) * (width + _GAP)
        out[y : y + cell_height, x : x + cell.shape[1]] = cell
    return out
