"""Spatial relations between two boxes, or between a box and a standpoint.

With b the thing related to (heights along up, footprints on the floor plane):

- near: closest points at most NEAR_M apart;
- on: a's centre is over b's footprint and a's lowest point between 30 % of b's height and b's top + ON_GAP_M;
- under: a's centre is over or below b's footprint and a's middle below b's middle, but a is not on b's
  lower part: its highest point does not rise over b's top;
- above: a's centre over b's footprint (grown by NEAR_M / 2) and a's lowest point over b's top + ON_GAP_M;
- left of, right of, behind, in front of: from the direction in which somebody at the standpoint sees b,
  a's centre lies towards that side of b's centre (within 45 degrees of it) and is at most SIDE_M away;
- towards me: left, right (45 to 135 degrees), in front (within 45 degrees), behind, at most SIDE_M away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3d_ros.answer.world import Standpoint, World
from s3d_ros.geometry import level_rotation
from s3d_ros.types import F64, SceneObject

NEAR_M = 1.0
AROUND_M = 2.0
SIDE_M = 3.0
ON_GAP_M = 0.1
ON_FROM = 0.3  # of the height

DIRECTED = ("left", "right", "behind", "front")
ON_THE_SPOT = ("near", "on", "under", "above")


def related(
    world: World,
    relation: str,
    thing: SceneObject,
    others: Sequence[SceneObject],
    reach_m: float | None = None,
    ahead: F64 | None = None,
) -> list[SceneObject]:
    """Return those of ``others`` that are ``relation`` ``thing``, nearest first.

    relation: one of ON_THE_SPOT or DIRECTED; for the latter ``ahead`` (3,) is the way the viewer looks at
    the thing. reach_m: for "near", in place of NEAR_M.
    """
    others = [o for o in others if o is not thing]
    if not others:
        return []
    distances = world.distances(thing, others)
    if relation == "near":
        holds = distances <= (NEAR_M if reach_m is None else reach_m)
    elif relation in ON_THE_SPOT:
        holds = _stacked(world, relation, thing, others)
    else:
        assert ahead is not None
        offsets = np.stack([o.box.center - thing.box.center for o in others])
        holds = _towards(world, relation, ahead, offsets, closer_is_front=True) & (distances <= SIDE_M)
    return [others[i] for i in np.argsort(distances, kind="stable") if holds[i]]


def around(
    world: World, relation: str, here: Standpoint, others: Sequence[SceneObject], reach_m: float | None = None
) -> list[SceneObject]:
    """Return those of ``others`` that are ``relation`` somebody at ``here``, nearest first.

    relation: "near" (AROUND_M by default) or one of DIRECTED, which needs a heading.
    """
    others = [o for o in others if o is not here.place]
    if not others:
        return []
    distances = world.distances_from(here, others)
    if reach_m is None:
        reach_m = AROUND_M if relation == "near" else SIDE_M
    holds = distances <= reach_m
    if relation != "near":
        assert here.heading is not None
        offsets = np.stack([o.box.center - here.position for o in others])
        holds &= _towards(world, relation, here.heading, offsets, closer_is_front=False)
    return [others[i] for i in np.argsort(distances, kind="stable") if holds[i]]


def _towards(world: World, relation: str, ahead: F64, offsets: F64, closer_is_front: bool) -> np.ndarray:
    """Which offsets (N, 3) lie within 45 degrees of a side. "In front of" a thing is towards the viewer."""
    forward = world.on_floor(ahead)
    forward = forward / np.linalg.norm(forward)
    left = np.cross(world.up, forward)
    along, aside = offsets @ forward, offsets @ left
    if closer_is_front:
        along = -along  # now positive towards the viewer
    toward = {"left": aside, "right": -aside, "front": along, "behind": -along}[relation]
    across = along if relation in ("left", "right") else aside
    return np.asarray((toward > 0) & (toward >= np.abs(across)))


def _stacked(world: World, relation: str, thing: SceneObject, others: Sequence[SceneObject]) -> np.ndarray:
    rows = np.array([world.index[o.id] for o in others])
    me = world.index[thing.id]
    low, high = world.low[rows], world.high[rows]
    bottom, top = world.low[me], world.high[me]
    grown = NEAR_M / 2 if relation == "above" else 0.0
    over = _over(world, thing, world.centers[rows], grown)
    if relation == "on":
        holds = over & (low >= bottom + ON_FROM * (top - bottom)) & (low <= top + ON_GAP_M)
        return np.asarray(holds & (high > top - 0.5 * (top - bottom)))
    if relation == "under":
        return np.asarray(over & (low + high < bottom + top) & (high <= top))
    return np.asarray(over & (low > top + ON_GAP_M))


def _over(world: World, thing: SceneObject, centers: F64, grown_m: float) -> np.ndarray:
    """Which centres (N, 3) lie over or below the footprint of a thing's box, grown on every side, (N,) bool."""
    R = level_rotation(world.up)
    box = thing.box
    vertical = int(np.argmax(np.abs(box.axes @ world.up)))
    sides = [i for i in range(3) if i != vertical]
    axes = (box.axes[sides] @ R.T)[:, :2]
    axes = axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-9)
    offset = ((centers - box.center) @ R.T)[:, :2] @ axes.T
    return np.asarray((np.abs(offset) <= box.size[sides] / 2 + grown_m).all(axis=1))


def supports(world: World, thing: SceneObject) -> list[SceneObject]:
    """Return what a thing is on: the highest of the objects that it is "on", [] for none."""
    plan, _ = world.footprints
    me = world.index[thing.id]
    center = world.centers[me] @ level_rotation(world.up).T
    edges = np.roll(plan, -1, axis=1) - plan
    offset = center[:2] - plan
    turn = edges[..., 0] * offset[..., 1] - edges[..., 1] * offset[..., 0]  # (N, 4)
    over = (turn >= 0).all(axis=1) | (turn <= 0).all(axis=1)
    over[me] = False
    rows = np.flatnonzero(over)
    found = [world.objects[i] for i in rows if _stacked(world, "on", world.objects[i], [thing])[0]]
    return sorted(found, key=lambda o: -world.high[world.index[o.id]])[:1]
