"""Questions about the camera at single frames: VSTI-Bench's five kinds.

- distance: from the camera to the nearest point of a thing's box, in m with one decimal; and which of up to four is
  nearest.
- relative position of two things in the camera's view: left or right, up or down, near or far, where the extents of
  their boxes along that axis of the camera (x right, y down, z forward) are more than 0.15 m apart.
- displacement: between the camera's positions at two frames, in m with one decimal. Movement: along which axis of the
  camera, as it stood at the first of the two, it went; only where one axis leads clearly and the way was straight.

The camera's position is ``t`` of the camera-to-map pose. "Frame i of N" counts the frames that are shown, from 1, by
time: evenly spaced ones of the recording, or the view frames of a run, where the questions are made for these. A thing
takes part at a frame that shows it well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from s3d_ros.geometry import point_box_distance
from s3d_ros.offline.questions_maker import Maker
from s3d_ros.offline.questions_record import FrameRef, ScoredQuestion
from s3d_ros.offline.questions_rules import (
    CAMERA_DISTANCE_M,
    CLOSER_BY_M,
    CLOSER_BY_SHARE,
    EXTENTS_APART_M,
    MOVED_STRAIGHT,
    VISIBLE_PIXELS,
    movement_class,
)
from s3d_ros.offline.truth import TrueFrame, TrueObject
from s3d_ros.types import F64

SETS_OF_A_FRAME = 60  # of things to compare
_AXES = {"lr": (0, "Left", "Right"), "ud": (1, "Up", "Down"), "nf": (2, "Near", "Far")}
_MOVES = ("Forward", "Backward", "Left", "Right")


def absolute_distance(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    found = [(k, o, point_box_distance(f.position, o.box)) for k, f in _frames(maker) for o in _visible(maker, f)]
    found = [x for x in found if x[2] >= CAMERA_DISTANCE_M]
    asked: set[int] = set()
    for k, o, distance in maker.spread(found, [x[2] for x in found]):
        if o.id not in asked or len(asked) == len({x[1].id for x in found}):
            asked.add(o.id)
            ask = maker.ask(kind)
            refs, named = _named(maker, frame=k)
            yield ask.number(round(distance, 1), (o,), {"a": ask.name(o.label), **named}, "m", frames=refs)


def relative_distance(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    """The same things are asked about at two frames where another one is nearest: their names tell nothing."""
    cases: dict[tuple[str, ...], dict[str, list[tuple[int, TrueObject]]]] = {}
    for k, f in _frames(maker):
        things = _visible(maker, f)
        chosen = [c for size in (4, 3, 2) for c in itertools.combinations(things, size)]
        far = {o.id: point_box_distance(f.position, o.box) for o in things}
        for some in maker.rng.sample(chosen, min(SETS_OF_A_FRAME, len(chosen))):
            best, second = sorted(some, key=lambda o: far[o.id])[:2]
            gap = far[second.id] - far[best.id]
            if gap > max(CLOSER_BY_M, CLOSER_BY_SHARE * far[best.id]) and far[best.id] > 0:
                labels = tuple(sorted(o.label for o in some))
                cases.setdefault(labels, {}).setdefault(best.label, []).append((k, best))
    for labels, winner in maker.two_ways(cases):
        k, best = maker.rng.choice(cases[labels][winner])
        refs, named = _named(maker, frame=k)
        ask = maker.ask(kind)
        yield ask.choice(winner, labels, (best,), {**maker.lists(maker.shuffled(labels)), **named}, frames=refs)


def relative_position(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    axis, low_name, high_name = _AXES[kind.rpartition("_")[2]]
    found: dict[tuple[int, int], list[tuple[int, TrueObject, TrueObject]]] = {}
    for k, f in _frames(maker):
        for a, b in itertools.combinations(_visible(maker, f), 2):
            (low_a, high_a), (low_b, high_b) = (_extents(o, f)[:, axis] for o in (a, b))
            if low_b - high_a > EXTENTS_APART_M:
                found.setdefault((a.id, b.id), []).append((k, a, b))
            elif low_a - high_b > EXTENTS_APART_M:
                found.setdefault((a.id, b.id), []).append((k, b, a))
    # Things that stand this way round in one frame and the other way in another come first.
    pairs = sorted(maker.shuffled(sorted(found)), key=lambda p: len({x[1].id for x in found[p]}) < 2)
    for pair in pairs:  # the lower one along the axis stands first; which of the two is asked about is dealt
        ways = [[x for x in found[pair] if x[1].id == i] for i in pair]
        k, first, second = maker.rng.choice(maker.rng.choice([w for w in ways if w]))
        asks_first = maker.deal((kind, "first"), (True, False))
        a, b = (first, second) if asks_first else (second, first)
        ask = maker.ask(kind)
        refs, named = _named(maker, frame=k)
        named |= {"a": ask.name(a.label), "b": ask.name(b.label)}
        yield ask.choice(low_name if asks_first else high_name, (low_name, high_name), (a, b), named, frames=refs)


def displacement(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    pairs = [(i, j) for (i, _), (j, _) in itertools.combinations(_frames(maker), 2)]
    moved = {p: float(np.linalg.norm(maker.shown[p[1]].position - maker.shown[p[0]].position)) for p in pairs}
    pairs = [p for p in pairs if moved[p] >= CAMERA_DISTANCE_M]
    for i, j in maker.spread(pairs, [moved[p] for p in pairs]):
        refs, named = _named(maker, start=i, end=j)
        yield maker.ask(kind).number(round(moved[i, j], 1), (), named, "m", frames=refs)


def movement(maker: Maker, kind: str) -> Iterator[ScoredQuestion]:
    by_class: dict[str, list[tuple[int, int]]] = {name: [] for name in _MOVES}
    for (i, f), (j, g) in itertools.combinations(_frames(maker), 2):
        name = movement_class(f.T_map_camera[:3, :3].T @ (g.position - f.position))
        if name and _straight(maker, f, g):
            by_class[name].append((i, j))
    for name in maker.even(by_class):
        i, j = by_class[name].pop(maker.rng.randrange(len(by_class[name])))
        refs, named = _named(maker, start=i, end=j)
        yield maker.ask(kind).choice(name, _MOVES, (), named, frames=refs)


def _frames(maker: Maker) -> list[tuple[int, TrueFrame]]:
    return [(k, frame) for k, frame in enumerate(maker.shown) if maker.nameable is None or k in maker.nameable]


def _visible(maker: Maker, frame: TrueFrame) -> list[TrueObject]:
    """Return what a frame shows well of all that can be named alone."""
    return [o for o in maker.unique if frame.pixels.get(o.id, 0) >= VISIBLE_PIXELS]


def _extents(o: TrueObject, frame: TrueFrame) -> F64:
    """Return least and most of a box along the camera's axes, (2, 3)."""
    corners = (o.box.corners() - frame.position) @ frame.T_map_camera[:3, :3]
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _straight(maker: Maker, first: TrueFrame, last: TrueFrame) -> bool:
    """Say whether the camera went from one frame to another without detours, by all frames between them."""
    between = [f.position for f in maker.truth.frames if first.stamp_ns <= f.stamp_ns <= last.stamp_ns]
    way = np.array([first.position, *between, last.position])
    length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
    return bool(np.linalg.norm(last.position - first.position) >= MOVED_STRAIGHT * length)


def _named(maker: Maker, **indices: int) -> tuple[tuple[FrameRef, ...], dict[str, str]]:
    """Return the frames that are named, and what the wording's placeholders stand for."""
    count = len(maker.shown)
    refs = tuple(FrameRef(k + 1, count, maker.shown[k].stamp_ns) for k in indices.values())
    return refs, {name: f"frame {k + 1} of {count}" for name, k in indices.items()}


CAMERA: Mapping[str, Callable[[Maker, str], Iterator[ScoredQuestion]]] = {
    "camera_obj_abs_dist": absolute_distance,
    "camera_obj_rel_dist": relative_distance,
    "obj_obj_relative_pos_lr": relative_position,
    "obj_obj_relative_pos_ud": relative_position,
    "obj_obj_relative_pos_nf": relative_position,
    "camera_displacement": displacement,
    "camera_movement_direction": movement,
}
