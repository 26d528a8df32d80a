"""Somebody walks through the camera's view and leaves it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from s3d_ros.geometry import invert
from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.mesh import Color, Mesh, box, join, lathe
from s3d_ros.offline.simulate.render import Renderer, View
from s3d_ros.offline.simulate.textures import Texture
from s3d_ros.offline.simulate.trajectory import Trajectory
from s3d_ros.offline.simulate.world import Thing, World
from s3d_ros.types import F64, Intrinsics, OrientedBox

PERSON = "person"
_HEIGHT_M, _RADIUS_M = 1.72, 0.24
_SPEED_M_S = 0.9
_PLACES, _TIMES = 14, 12
_AWAY_M, _NEAR_M, _FAR_M = 0.7, 1.0, 4.0  # kept from the camera; a pass counts where it is seen between these
_HALF_VIEW = np.deg2rad(40.0)  # further from the axis nobody is in the image
_CLOTHES: tuple[Color, ...] = ((0.7, 0.2, 0.2), (0.2, 0.35, 0.65), (0.25, 0.5, 0.3), (0.85, 0.7, 0.3), (0.5, 0.3, 0.55))
_SKIN: tuple[Color, ...] = ((0.9, 0.72, 0.6), (0.55, 0.38, 0.27), (0.75, 0.55, 0.42))


@dataclass(frozen=True)
class Passer:
    """Somebody who is there from the first to the last of ``times_s`` (K,), on a way ``xy`` (K, 2) over the floor.

    thing: the figure, feet at the origin, walking along +x; its ID is beyond those of all things.
    """

    thing: Thing
    floor_m: float
    times_s: F64
    xy: F64

    def there(self, at_s: float) -> bool:
        """Whether they are there at a time."""
        return bool(self.times_s[0] <= at_s <= self.times_s[-1])

    def pose(self, at_s: float) -> F64:
        """Return T_map_person (4, 4) at a time, x where they walk."""
        x, y = (np.interp(at_s, self.times_s, self.xy[:, k]) for k in range(2))
        k = int(np.clip(np.searchsorted(self.times_s, at_s), 1, len(self.times_s) - 1))
        way = self.xy[k] - self.xy[k - 1]
        yaw = np.arctan2(way[1], way[0])
        T = np.eye(4)
        T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        T[:3, 3] = [x, y, self.floor_m]
        return T

    def before(self, view: View, T_map_camera: F64, at_s: float, intrinsics: Intrinsics) -> View:
        """Return a view with the figure drawn in front of what is behind it."""
        if not self.there(at_s):
            return view
        # The figure stands still and the camera walks: one mesh for all frames.
        mine = self._renderer(intrinsics).render(invert(self.pose(at_s)) @ T_map_camera, facing=view.facing is not None)
        front = (mine.depth_m > 0) & ((view.depth_m <= 0) | (mine.depth_m < view.depth_m))
        return View(
            np.where(front[..., None], mine.color, view.color),
            np.where(front, mine.depth_m, view.depth_m),
            np.where(front, mine.things, view.things),
            None if view.facing is None or mine.facing is None else np.where(front, mine.facing, view.facing),
        )

    def _renderer(self, intrinsics: Intrinsics) -> Renderer:
        key = (self.thing.id, self.thing.mesh.color.tobytes(), intrinsics)
        if key not in _RENDERERS:
            _RENDERERS.clear()
            nothing = replace(self.thing.mesh, **{k: v[:0] for k, v in vars(self.thing.mesh).items()})
            _RENDERERS[key] = Renderer(World(PERSON, (self.thing,), nothing, ()), intrinsics)
        return _RENDERERS[key]

    def to_json(self) -> dict[str, Any]:
        """Return what the truth tells: ID, label, height, and the way as [seconds, x, y]."""
        way = np.column_stack([self.times_s, self.xy]).round(3).tolist()
        return {"id": self.thing.id, "label": self.thing.label, "size": self.thing.box.size.tolist(), "way": way}


_RENDERERS: dict[Any, Renderer] = {}


def walks(world: World, trajectory: Trajectory, options: SimulateConfig, seed: int) -> tuple[Passer, ...]:
    """Return who walks by: ``options.people`` passes in each visit, across what the camera sees, from and to places

    that it doesn't see then. Fewer where the room leaves no such way.
    """
    if not options.people:
        return ()
    later = world
    for event in options.events:
        later = later.after(event)
    # What stands there before and after is in the way.
    space = FreeSpace.of(replace(world, things=(*world.things, *later.things)), _RADIUS_M)
    rng = np.random.default_rng([seed, 9])
    first_id = max((t.id for t in world.things), default=0) + 1
    cuts = [0, *([trajectory.pause[0]] if trajectory.pause else []), len(trajectory)]
    found: list[Passer] = []
    for a, b in itertools.pairwise(cuts):
        for k in range(options.people):
            low, high = (a + (b - a) * (k + share) / options.people for share in (0.0, 0.85))
            way = _crossing(space, trajectory, (int(low), int(high)), (a, b), rng)
            if way is not None:
                figure = person(np.random.default_rng([seed, 10, len(found)]))
                thing = Thing(first_id + len(found), PERSON, _box_of(figure), figure)
                found.append(Passer(thing, world.floor_m, *way))
    return tuple(found)


def _crossing(
    space: FreeSpace, trajectory: Trajectory, starts: tuple[int, int], visit: tuple[int, int], rng: np.random.Generator
) -> tuple[F64, F64] | None:
    """Return (times, way) of the best of some ways: most of the time in view, neither at its start nor at its end."""
    places = space.spread(0.5, _PLACES, rng)
    times = rng.integers(starts[0], max(starts[1], starts[0] + 1), _TIMES)
    best, best_score = None, 1.0  # seconds in view at least
    for a in places:
        for b in places:
            if a == b:
                continue
            xy = space.path(a, b)
            done = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))]) / _SPEED_M_S
            for start in times.tolist():
                frames = start + np.round(done * trajectory.fps).astype(int)
                if frames[-1] >= visit[1]:
                    continue
                inside, near = _seen(trajectory, frames, xy)
                score = float(inside.mean() * done[-1]) - 2.0 * (inside[0] + inside[-1])
                if near > _AWAY_M and score > best_score:
                    best, best_score = (trajectory.at_s(start) + done, xy), score
    return best


def _seen(trajectory: Trajectory, frames: F64, xy: F64) -> tuple[F64, float]:
    """Return whether each place of a way is in the view of its frame, and how near they come to the camera."""
    T = trajectory.T_map_camera[frames]
    d = xy - T[:, :2, 3]
    far = np.linalg.norm(d, axis=1)
    off = np.angle(np.exp(1j * (np.arctan2(d[:, 1], d[:, 0]) - np.arctan2(T[:, 1, 2], T[:, 0, 2]))))
    return (np.abs(off) < _HALF_VIEW) & (far > _NEAR_M) & (far < _FAR_M), float(far.min())


def person(rng: np.random.Generator) -> Mesh:
    """Make a figure that walks along +x: feet at z = 0, about 1.72 m high."""
    shirt, trousers = (_CLOTHES[k] for k in rng.permutation(len(_CLOTHES))[:2])
    skin = _SKIN[rng.integers(len(_SKIN))]
    shoe = (0.15, 0.13, 0.12)
    parts = []
    for side, ahead in ((-1, 0.12), (1, -0.12)):  # one leg before the other
        y = side * 0.1
        parts.append(lathe([(0.6, 0.06), (0.8, 0.45), (1, 0.88)], (0.09, 0.085), trousers, Texture.FABRIC,
                           square=1.0, sides=14, center=(ahead / 2, y)))  # fmt: skip
        parts.append(box((ahead - 0.1, y - 0.05, 0.0), (ahead + 0.16, y + 0.05, 0.09), shoe))
        parts.append(lathe([(0.5, 0.78), (0.8, 1.1), (1, 1.4)], (0.06, 0.055), shirt, Texture.FABRIC,
                           square=1.0, sides=12, center=(-ahead / 2, side * 0.25)))  # fmt: skip
    parts.append(lathe([(0.85, 0.82), (0.8, 1.05), (1, 1.38), (0.4, 1.46)], (0.13, 0.2), shirt, Texture.STRIPES,
                       square=0.8))  # fmt: skip
    parts.append(lathe([(0, 1.44), (0.7, 1.5), (1, 1.6), (0.8, 1.69), (0, _HEIGHT_M)], (0.1, 0.08), skin,
                       square=1.0))  # fmt: skip
    return join(parts)


def _box_of(mesh: Mesh) -> OrientedBox:
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return OrientedBox((low + high) / 2, high - low, np.eye(3))
