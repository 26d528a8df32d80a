"""Where the walls are: a room fitted round a layout's things, and several rooms joined through doors into a flat."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from s3d_ros.offline.simulate.floorplan import footprint_mask, obstacles
from s3d_ros.offline.simulate.layout import Layout, LayoutError, LayoutObject
from s3d_ros.offline.simulate.room import DOOR_HEIGHT_M, DOOR_WIDTH_M, WALL_M, Opening, Room, wall_length
from s3d_ros.types import F64, Bools, OrientedBox

_MARGIN_M = 0.08  # between the outermost thing and the wall, so that nothing is buried in it
_HEAD_M = 0.06  # between the highest thing and the ceiling
_AISLE_M = 0.9  # added along a wall where a doorway finds no other place
_LEAST_FREE_M2 = 1.5  # of floor to stand on; a room with less is widened ...
_ROUND_M = 0.2  # ... by so much on every side
_MOST_ROUNDS = 5
_CELL_M = 0.05
_BODY_M = 0.25  # half the width that must be clear on the way to a door
_SIDES = 4
_SPREAD = np.deg2rad(2.0)  # things at a wall are turned alike by about so much
_ALONG = np.deg2rad(0.2)  # a layout is taken to be along its own axes
_KEPT_M = 0.6  # a layout's own wall is kept when its things come so near


@dataclass(frozen=True)
class Placed:
    """A room in the map, and its things there."""

    room: Room
    objects: tuple[LayoutObject, ...]


@dataclass(frozen=True)
class Doorway:
    """A way from one room to another. openings: (index of the room, hole in its wall), twice.

    gap: two opposite corners (3,) of the floor between the rooms.
    """

    openings: tuple[tuple[int, Opening], tuple[int, Opening]]
    gap: tuple[F64, F64]

    def corners(self) -> F64:
        """Return the corners of the gap's floor, (4, 3), in order."""
        (x0, y0, z), (x1, y1, _) = self.gap
        return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def fit_room(layout: Layout) -> Room:
    """Return the room round a layout's things: along the direction that most of them stand in, floor under the lowest.

    The layout's own extent serves only where it is along the things and they come near it: that of a scan often is
    not, and things reach beyond it.
    """
    angle = _main_angle(layout.objects)
    angle = 0.0 if abs(angle) < _ALONG else angle
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    corners = np.concatenate([o.box.corners() for o in layout.objects]) @ R
    low, high = corners.min(axis=0), corners.max(axis=0)
    floor = low[2] if low[2] < layout.room_min[2] + 0.5 else layout.room_min[2]
    ceiling = max(high[2] + _HEAD_M, layout.room_max[2], floor + 2.4)
    near, far = low[:2] - _MARGIN_M, high[:2] + _MARGIN_M
    if angle == 0.0:
        own_near, own_far = layout.room_min[:2], layout.room_max[:2]
        near = np.where((own_near <= low[:2]) & (own_near > low[:2] - _KEPT_M), own_near, near)
        far = np.where((own_far >= high[:2]) & (own_far < high[:2] + _KEPT_M), own_far, far)
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = R @ np.array([*near, floor])
    size = np.array([*(far - near), ceiling - floor])
    room = Room(layout.name, T, size)
    for _ in range(_MOST_ROUNDS):  # a scan's things may fill their box: then the walls move back all round
        if _free_floor_m2(room, layout.objects) >= _LEAST_FREE_M2:
            break
        T = T.copy()
        T[:3, 3] -= R[:, :2] @ np.full(2, _ROUND_M)
        size = size + np.array([2 * _ROUND_M, 2 * _ROUND_M, 0])
        room = Room(layout.name, T, size)
    return room


def _free_floor_m2(room: Room, objects: Sequence[LayoutObject]) -> float:
    """Return the area of the largest piece of floor on which a body's middle can be."""
    local = [LayoutObject(o.id, o.label, _in_room(o.box, room)) for o in objects]
    regions, count = label(_clearance(Placed(room, tuple(local)))[1] > _BODY_M)
    return float(np.bincount(regions.ravel())[1:].max()) * _CELL_M**2 if count else 0.0


def _in_room(box: OrientedBox, room: Room) -> OrientedBox:
    return OrientedBox(room.to_room(box.center[None])[0], box.size, box.axes @ room.T_map_room[:3, :3])


def _clearance(p: Placed) -> tuple[Bools, F64]:
    """Return which cells (X, Y) of a room things stand on, and how far in metres each is from them and the walls.

    The things' boxes are given in the room's frame.
    """
    shape = np.ceil(p.room.size[:2] / _CELL_M).astype(int)
    taken = footprint_mask(obstacles(p.objects, 0.0, DOOR_HEIGHT_M), np.zeros(2), (shape[0], shape[1]), _CELL_M)
    return taken, distance_transform_edt(np.pad(~taken, 1))[1:-1, 1:-1] * _CELL_M


def compose(layouts: Sequence[Layout]) -> tuple[list[Placed], list[Doorway]]:
    """Join rooms into a flat: each new one goes where the whole stays most compact.

    The first room's corner is the origin. Raises LayoutError when a room finds no place.
    """
    rooms = [_upright(layout) for layout in layouts]
    rooms = [_with_aisles(p) for p in rooms]
    slots = [[_slots(p, side) for side in range(_SIDES)] for p in rooms]
    corner = [np.zeros(2)]
    doorways: list[Doorway] = []
    for k in range(1, len(rooms)):
        best = _best_place(k, rooms, slots, corner)
        if best is None:
            raise LayoutError(
                f"the room {rooms[k].room.name} can't be joined to the others: no wall has room for a door"
            )
        at, other, side, slot_other, slot_new = best
        corner.append(at)
        doorways.append(_doorway(k, other, side, slot_other, slot_new, rooms, corner))
    next_id = itertools.count(1)
    placed = []
    for p, at in zip(rooms, corner, strict=True):
        shift = np.array([at[0], at[1], 0.0])
        objects = tuple(
            LayoutObject(next(next_id), o.label, OrientedBox(o.box.center + shift, o.box.size, o.box.axes))
            for o in p.objects
        )
        T = np.eye(4)
        T[:3, 3] = shift
        placed.append(Placed(Room(p.room.name, T, p.room.size), objects))
    return placed, doorways


def _main_angle(objects: Sequence[LayoutObject]) -> float:
    """Return the angle about z, within +-45 degrees, that most things are turned by; those like walls count more."""
    angles, weights = [], []
    for o in objects:
        for axis, size in zip(o.box.axes, o.box.size, strict=True):
            if np.hypot(axis[0], axis[1]) > 0.9:
                angles.append(np.angle(np.exp(4j * np.arctan2(axis[1], axis[0]))) / 4)
                weights.append(size * (0.3 + (o.label in _WALL_LIKE)))
    if not angles:
        return 0.0
    angle, weight = np.array(angles), np.array(weights)
    tried = np.deg2rad(np.arange(-45, 45, 0.5))
    off = _turn(angle[:, None] - tried)
    best = tried[int((weight @ np.exp(-((off / _SPREAD) ** 2) / 2)).argmax())]
    # The median of those near it: a few things that stand askew don't turn the walls
    near = np.abs(_turn(angle - best)) < 2 * _SPREAD
    off, weight = _turn(angle[near] - best), weight[near]
    order = np.argsort(off)
    middle = order[np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]
    return float(_turn(best + off[middle]))


def _turn(angle: F64) -> F64:
    """Return angles as turns of a square, within +-45 degrees."""
    quarter = np.pi / 2
    return np.asarray(np.mod(angle + quarter / 2, quarter) - quarter / 2)


_WALL_LIKE = ("door", "whiteboard", "heater", "window", "bookshelf", "fireplace", "refrigerator", "cabinet")


def _upright(layout: Layout) -> Placed:
    """Return a room and its things with the room's frame as the map."""
    room = fit_room(layout)
    objects = tuple(LayoutObject(o.id, o.label, _in_room(o.box, room)) for o in layout.objects)
    return Placed(Room(room.name, np.eye(4), room.size), objects)


def _with_aisles(p: Placed) -> Placed:
    """Widen a room along its longer walls until two of its sides have a place for a doorway."""
    order = sorted(range(_SIDES), key=lambda side: -wall_length(p.room.size, side))
    for side in order:
        if sum(bool(_slots(p, s)) for s in range(_SIDES)) >= 2:
            break
        if not _slots(p, side):
            p = _widened(p, side)
    return p


def _widened(p: Placed, side: int) -> Placed:
    size = p.room.size.copy()
    across = 1 - side % 2
    size[across] += _AISLE_M
    shift = np.zeros(3)
    if side in (0, 3):
        shift[across] = _AISLE_M
    objects = tuple(
        LayoutObject(o.id, o.label, OrientedBox(o.box.center + shift, o.box.size, o.box.axes)) for o in p.objects
    )
    return Placed(Room(p.room.name, p.room.T_map_room, size), objects)


def _slots(p: Placed, side: int) -> list[float]:
    """Return where along a wall a doorway's middle can be: clear before it, and the rest of the room in reach."""
    taken, far = _clearance(p)
    regions, count = label(far > _BODY_M)
    if not count:
        return []
    largest = int(np.bincount(regions.ravel())[1:].argmax()) + 1
    length = wall_length(p.room.size, side)
    good = []
    for middle in np.arange(0.65, length - 0.65 + 1e-9, 0.1):
        a, b = (round((middle + e) / _CELL_M) for e in (-0.5, 0.5))
        deep = round(0.6 / _CELL_M)
        strip = _strip(taken, side, slice(a, b), deep)
        stand = _strip(regions, side, slice((a + b) // 2, (a + b) // 2 + 1), deep)
        if not strip.any() and (stand == largest).any():
            good.append(float(middle))
    return good


def _strip(grid: np.ndarray, side: int, along: slice, deep: int) -> np.ndarray:
    return [grid[along, :deep], grid[-deep:, along], grid[along, -deep:], grid[:deep, along]][side]


def _best_place(
    k: int, rooms: Sequence[Placed], slots: Sequence[Sequence[Sequence[float]]], corner: Sequence[F64]
) -> tuple[F64, int, int, float, float] | None:
    """Return (corner of room k, other room, the other's side, slot there, slot in room k) of the most compact place."""
    size = rooms[k].room.size[:2]
    best: tuple[float, tuple[F64, int, int, float, float]] | None = None
    for other, at in enumerate(corner):
        other_size = rooms[other].room.size[:2]
        for side in range(_SIDES):
            opposite = (side + 2) % _SIDES
            run, across = (0, 1) if side % 2 == 0 else (1, 0)
            for a, b in itertools.product(_few(slots[other][side]), _few(slots[k][opposite])):
                here = np.zeros(2)
                here[run] = at[run] + a - b
                here[across] = at[across] + (
                    other_size[across] + 2 * WALL_M if side in (1, 2) else -size[across] - 2 * WALL_M
                )
                if any(_overlap(here, size, c, rooms[i].room.size[:2]) for i, c in enumerate(corner)):
                    continue
                low = np.min([here, *corner], axis=0)
                high = np.max([here + size, *(c + rooms[i].room.size[:2] for i, c in enumerate(corner))], axis=0)
                cost = float(np.prod(high - low)) + 0.5 * float(np.sum(high - low))
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, (here, other, side, a, b))
    return None if best is None else best[1]


def _few(values: Sequence[float]) -> list[float]:
    """At most seven of them, spread out."""
    picks: Sequence[int] = np.unique(np.linspace(0, len(values) - 1, 7).round().astype(int)).tolist() if values else []
    return [values[i] for i in picks]


def _overlap(a: F64, a_size: F64, b: F64, b_size: F64) -> bool:
    gap = 2 * WALL_M - 1e-6
    return bool((a < b + b_size + gap).all() and (b < a + a_size + gap).all())


def _doorway(
    k: int, other: int, side: int, slot_other: float, slot_new: float, rooms: Sequence[Placed], corner: Sequence[F64]
) -> Doorway:
    half = DOOR_WIDTH_M / 2
    there = Opening(side, slot_other - half, slot_other + half, 0.0, DOOR_HEIGHT_M)
    here = Opening((side + 2) % _SIDES, slot_new - half, slot_new + half, 0.0, DOOR_HEIGHT_M)
    run, across = (0, 1) if side % 2 == 0 else (1, 0)
    edge = corner[other][across] + (rooms[other].room.size[across] if side in (1, 2) else -2 * WALL_M)
    low, high = np.zeros(3), np.zeros(3)
    low[run], high[run] = corner[other][run] + there.low, corner[other][run] + there.high
    low[across], high[across] = edge, edge + 2 * WALL_M
    return Doorway(((other, there), (k, here)), (low, high))
