"""How things stand to each other in a layout: which way each one faces, and what rests on what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.geometry import point_box_distance
from s3d_ros.offline.simulate.layout import LayoutObject
from s3d_ros.offline.simulate.room import Room
from s3d_ros.types import F64

_SEATS = ("chair", "stool")
_DESKTOP = ("monitor", "keyboard", "laptop", "computer mouse", "telephone", "headphones")
_SUPPORTS = ("table", "desk", "bed", "sofa", "bookshelf", "shelf")
_STANDING = (
    "chair",
    "stool",
    "table",
    "desk",
    "sofa",
    "bed",
    "door",
    "heater",
    "ceiling light",
    "trash can",
    "bookshelf",
)


def facing(o: LayoutObject, objects: Sequence[LayoutObject], room: Room) -> F64:
    """Return where the front of a thing looks, (3,) unit and level: a chair to its table, a screen to its chair,

    anything else away from the nearest wall.
    """
    if o.label in _SEATS:
        near = _nearest(o, [p for p in objects if p.label in ("table", "desk")], 0.8)
        if near is not None:
            return _level(_closest_point(o, near) - o.box.center, near.box.center - o.box.center)
    if o.label in _DESKTOP:
        near = _nearest(o, [p for p in objects if p.label in _SEATS], 1.8)
        if near is not None:
            return _level(near.box.center - o.box.center, np.array([1.0, 0, 0]))
    return _from_wall(o, room)


def rests(o: LayoutObject, objects: Sequence[LayoutObject]) -> float:
    """Return the share of a support's height on which other things rest; 1 where nothing reaches into its box."""
    if o.label not in _SUPPORTS:
        return 1.0
    low, high = _span(o)
    bottoms = []
    for p in objects:
        if p.id == o.id or p.label in _STANDING or not _over(p, o):
            continue
        bottom, top = _span(p)
        if low + 0.45 * (high - low) < bottom < high - 0.015 and top > high - 0.25 * (high - low):
            bottoms.append(bottom)
    if not bottoms:
        return 1.0
    return float(np.clip((min(bottoms) - low) / (high - low), 0.3, 1.0))


def _span(o: LayoutObject) -> tuple[float, float]:
    z = o.box.corners()[:, 2]
    return float(z.min()), float(z.max())


def _over(p: LayoutObject, o: LayoutObject) -> bool:
    """Whether p's centre is above or within o's footprint."""
    offset = p.box.center - o.box.center
    offset = offset - np.array([0, 0, offset[2]])
    return bool(point_box_distance(o.box.center + offset, o.box) < 0.02)


def _nearest(o: LayoutObject, others: Sequence[LayoutObject], within_m: float) -> LayoutObject | None:
    near = [(point_box_distance(o.box.center, p.box), p.id, p) for p in others if p.id != o.id]
    near = [item for item in near if item[0] < within_m]
    return min(near, key=lambda item: item[:2])[2] if near else None


def _closest_point(o: LayoutObject, p: LayoutObject) -> F64:
    """Return the point of p's box that is nearest to o's centre, (3,)."""
    local = p.box.axes @ (o.box.center - p.box.center)
    return np.asarray(p.box.center + np.clip(local, -p.box.size / 2, p.box.size / 2) @ p.box.axes)


def _level(direction: F64, instead: F64) -> F64:
    """Return a direction laid on the floor, of unit length; ``instead`` where nothing is left of it."""
    for v in (direction, instead, np.array([1.0, 0.0, 0.0])):
        flat = np.array([v[0], v[1], 0.0])
        norm = np.linalg.norm(flat)
        if norm > 0.03:
            return np.asarray(flat / norm)
    raise AssertionError("unreachable: the last direction is never short")


def _from_wall(o: LayoutObject, room: Room) -> F64:
    """Return the level direction away from the nearest wall."""
    c = room.to_room(o.box.corners())
    w, d = float(room.size[0]), float(room.size[1])
    gaps = [c[:, 1].min(), w - c[:, 0].max(), d - c[:, 1].max(), c[:, 0].min()]
    inwards = np.array([[0, 1, 0], [-1, 0, 0], [0, -1, 0], [1, 0, 0]], dtype=np.float64)
    # A wall that the thing leans flat against counts for more than one that only its end is near
    spans = np.ptp(c, axis=0)
    score = [gap - 0.2 * spans[0 if k % 2 == 0 else 1] for k, gap in enumerate(gaps)]
    return np.asarray(room.T_map_room[:3, :3] @ inwards[int(np.argmin(score))])
