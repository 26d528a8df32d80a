"""A second visit to the same place: while nothing was recorded, somebody took things away or put them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from s3d_ros.offline.simulate.config import Event, Move, Remove, SimulateConfig
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.room import Room
from s3d_ros.offline.simulate.trajectory import Trajectory, tour
from s3d_ros.offline.simulate.world import Thing, World
from s3d_ros.types import F64

# Fixed to the building, or to pipes: nobody carries these.
FIXED = frozenset(
    (
        "door", "window", "heater", "ceiling light", "picture", "whiteboard", "fireplace", "bathtub", "toilet", "sink",
        "exhaust fan", "stove", "dishwasher", "washer", "coat hanger",
    )
)  # fmt: skip
_TOUCHES_M, _APART_M, _LEAST_SHIFT_M, _WALL_M = 0.06, 0.05, 0.6, 0.03
_TRIES = 400
_RADIUS_M, _KEPT_FLOOR = 0.22, 0.6  # the camera must still find its way over so much of the floor


def second_visit(
    world: World, first: Trajectory, options: SimulateConfig, seed: int
) -> tuple[Trajectory, tuple[Event, ...]]:
    """Return both walks as one, nothing being recorded in between, and what happened meanwhile."""
    events = draw_changes(world, options.changed_share, first.at_s(len(first)) + options.changed_after_s / 2, seed)
    changed = world
    for event in events:
        changed = changed.after(event)
    again = tour(changed, options.tour, fps=options.fps, seed=seed + 1, max_s=options.max_duration_s)
    poses = np.concatenate([first.T_map_camera, again.T_map_camera])
    return replace(first, T_map_camera=poses, pause=(len(first), options.changed_after_s)), events


def draw_changes(world: World, share: float, at_s: float, seed: int) -> tuple[Event, ...]:
    """Choose ``share`` of the movable things; half of them are removed, half moved, turned about the vertical.

    Movable is what is not fixed and carries nothing. What finds no free place is removed; a thing that lies on another
    finds its place there or on the floor.
    """
    rng = np.random.default_rng([seed, 8])
    movable = [t for t in world.things if is_movable(t, world)]
    count = round(share * len(movable))
    chosen = [movable[k] for k in rng.permutation(len(movable))[:count]]
    now, events = world, []
    for k, thing in enumerate(chosen):
        event: Event | None = _moved(thing, now, at_s, rng) if k % 2 == 0 else None
        event = event or Remove(thing.id, at_s)
        now = now.after(event)
        events.append(event)
    return tuple(events)


def is_movable(thing: Thing, world: World) -> bool:
    """Whether somebody could carry a thing away: it is not fixed, and carries nothing."""
    return thing.label not in FIXED and not any(_carries(thing, t) for t in world.things if t.id != thing.id)


def _span(thing: Thing) -> tuple[float, float]:
    z = thing.box.corners()[:, 2]
    return float(z.min()), float(z.max())


def _footprint(thing: Thing) -> tuple[F64, F64, F64]:
    """Return centre (2,), half sizes (2,) and axes (2, 2), rows, of a thing's footprint."""
    up = int(np.abs(thing.box.axes[:, 2]).argmax())
    flat = [k for k in range(3) if k != up]
    axes = thing.box.axes[flat][:, :2]
    return thing.box.center[:2], thing.box.size[flat] / 2, axes / np.linalg.norm(axes, axis=1, keepdims=True)


def _carries(thing: Thing, other: Thing) -> bool:
    """Whether the other's middle is above or within the thing's footprint, and its bottom in or on the thing."""
    center, half, axes = _footprint(thing)
    if (np.abs(axes @ (other.box.center[:2] - center)) > half + 0.02).any():
        return False
    low, high = _span(thing)
    bottom = _span(other)[0]
    return low + 0.2 * (high - low) < bottom < high + _TOUCHES_M


def _stands_on_floor(thing: Thing, world: World) -> bool:
    return abs(_span(thing)[0] - world.floor_m) < _TOUCHES_M


def _support(thing: Thing, world: World) -> Thing | None:
    found = [t for t in world.things if t.id != thing.id and t.label not in ("door", "window") and _carries(t, thing)]
    return max(found, key=lambda t: _span(t)[0], default=None)


def _moved(thing: Thing, world: World, at_s: float, rng: np.random.Generator) -> Move | None:
    support = None if _stands_on_floor(thing, world) else _support(thing, world)
    low, high = world.bounds
    bottom = _span(thing)[0]
    for attempt in range(_TRIES):
        turn = float(rng.uniform(-180, 180))
        on_floor = support is None or attempt >= _TRIES // 2
        if on_floor:  # of some, a scan shows only what is above the floor: they keep their height
            xy, z = rng.uniform(low[:2], high[:2]), world.floor_m if support is not None else bottom
        else:
            assert support is not None
            center, half, axes = _footprint(support)
            xy, z = center + (rng.uniform(-1, 1, 2) * half) @ axes, bottom
        shift = np.array([*(xy - thing.box.center[:2]), z - bottom])
        shift = np.where(np.abs(shift) < 1e-9, 0.0, np.round(shift, 4))
        if np.hypot(*shift[:2]) < _LEAST_SHIFT_M:
            continue
        move = Move(thing.id, at_s, (float(shift[0]), float(shift[1]), float(shift[2])), round(turn, 3))
        there = thing.moved_by(shift, move.turn_deg)
        if not _fits(there, None if on_floor else support, world):
            continue
        if on_floor and not _still_passable(world, world.after(move)):
            continue
        return move
    return None


def _fits(thing: Thing, support: Thing | None, world: World) -> bool:
    """Whether a thing is inside a room, clear of all others, and wholly on its support."""
    corners = thing.box.corners()
    if not any(_inside_room(corners, room) for room in world.rooms):
        return False
    if support is not None:
        center, half, axes = _footprint(support)
        if (np.abs((corners[:, :2] - center) @ axes.T) > half).any():
            return False
    low, high = _span(thing)
    for other in world.things:
        if other.id in (thing.id, None if support is None else support.id):
            continue
        other_low, other_high = _span(other)
        if other_low < high + 0.02 and other_high > low + 0.005 and _overlap(thing, other, _APART_M):
            return False
    return True


def _inside_room(corners: F64, room: Room) -> bool:
    local = room.to_room(corners)[:, :2]
    return bool((local > _WALL_M).all() and (local < room.size[:2] - _WALL_M).all())


def _overlap(a: Thing, b: Thing, margin_m: float) -> bool:
    """Whether two footprints come nearer than a margin (separating axes)."""
    (ca, ha, axa), (cb, hb, axb) = _footprint(a), _footprint(b)
    for axis in (*axa, *axb):
        reach = np.abs(axa @ axis) @ ha + np.abs(axb @ axis) @ hb + margin_m
        if abs(axis @ (cb - ca)) > reach:
            return False
    return True


def _still_passable(before: World, after: World) -> bool:
    areas = [_area(w) for w in (before, after)]
    return areas[1] >= _KEPT_FLOOR * areas[0] > 0


def _area(world: World) -> int:
    try:
        return len(FreeSpace.of(world, _RADIUS_M).cells)
    except ValueError:
        return 0


def change_of(number: int, events: Sequence[Event]) -> str:
    """Return what happened to a thing: "untouched", "removed" or "moved"."""
    mine = sorted((e for e in events if e.object_id == number), key=lambda e: e.at_s)
    if not mine:
        return "untouched"
    return "removed" if any(isinstance(e, Remove) for e in mine) else "moved"
