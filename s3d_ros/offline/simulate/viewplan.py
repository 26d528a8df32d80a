"""Which views are worth taking: from places all over the floor, those that together show everything, from two sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from s3d_ros.offline.simulate.config import TourConfig
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.render import Renderer
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F32, F64, Intrinsics

_SPACING_M = 0.55
_MOST_PLACES = 70  # in a room
_YAWS = np.deg2rad(np.arange(0, 360, 30))
_RAY_DEG = 2.5
_ENOUGH_PIXELS = 9000.0  # of a 640x480 image with 525 px: a thing is then seen as well as it needs to be
_ENOUGH_SHELL = 12000.0
_SIDES = 4  # from which a thing is looked at
_SIDE_WORTH = (1.0, 0.7, 0.2, 0.1)  # of the best seen side, the next one, ...
_SHELL_WORTH = 0.12
_SHELL_CELL_M = 1.2
_LEAST_GAIN = 0.05
_MOST_VIEWS = 400


@dataclass(frozen=True)
class Stop:
    """A view: where to stand (a place of the free space), how high, and where to look (radians)."""

    place: int
    height_m: float
    yaw: float
    pitch: float


def plan_views(world: World, space: FreeSpace, config: TourConfig, rng: np.random.Generator) -> list[Stop]:
    """Return views, each adding most to what those before it show."""
    places = space.spread(_SPACING_M, _MOST_PLACES * len(world.rooms), rng)
    shown = _Shown(world, config)
    candidates: list[Stop] = []
    pixels: list[csr_matrix] = []
    sides: list[F64] = []
    for place in places:
        for height_m in config.heights_m:
            eye = np.array([*space.point(place), world.floor_m + height_m])
            pixels.append(shown.pixels(eye))
            sides.append(shown.sides(eye))
            candidates += [Stop(place, height_m, float(yaw), float(pitch)) for pitch in shown.pitches for yaw in _YAWS]
    return _greedy(candidates, pixels, sides, shown)


class _Shown:
    """What is seen from a place in each direction: things, and patches of the building."""

    def __init__(self, world: World, config: TourConfig) -> None:
        self._renderer = Renderer(world, Intrinsics(8, 8, 8, 8, 3.5, 3.5))
        self._config = config
        self._ids = np.array([t.id for t in world.things])
        self._centers = np.array([t.box.center for t in world.things]).reshape(-1, 3)
        self._turns = np.array([np.arctan2(*_flattest(t.box.axes)[1::-1]) for t in world.things])
        low, high = world.bounds
        self._low = low - 0.1
        self._patches = np.ceil((high - low + 0.2) / _SHELL_CELL_M).astype(int)
        self.count = len(self._ids)
        self.total = self.count + int(np.prod(self._patches))
        self.pitches = np.deg2rad(config.pitches_deg)
        self._rays, self._weights = _sphere(self.pitches)

    def pixels(self, eye: F64) -> csr_matrix:
        """Return how many pixels of what is seen in each view, (views, total), as a share of what is enough."""
        rays = self._rays
        reach, ids = self._renderer.cast(np.broadcast_to(eye.astype(np.float32), rays.shape), rays)
        near = np.clip((self._config.max_range_m + 0.7 - reach) / 1.4, 0, 1)
        near[~np.isfinite(reach) | (reach < 0.35)] = 0
        hit = eye + rays * np.where(np.isfinite(reach), reach, 0)[:, None]
        cell = np.clip(((hit - self._low) / _SHELL_CELL_M).astype(int), 0, self._patches - 1)
        patch = self.count + np.ravel_multi_index(tuple(cell.T), tuple(self._patches))
        if self.count:
            order = np.argsort(self._ids)
            column = order[np.minimum(np.searchsorted(self._ids, ids, sorter=order), self.count - 1)]
            what = np.where(ids > 0, column, patch)
        else:
            what = patch
        enough = np.where(ids > 0, _ENOUGH_PIXELS, _ENOUGH_SHELL)
        seen = csr_matrix((near / enough, (np.arange(len(rays)), what)), shape=(len(rays), self.total))
        return (self._weights @ seen).tocsr()

    def sides(self, eye: F64) -> F64:
        """Return from which side each thing is seen, (count,) 0 to _SIDES - 1, counted from its own axis."""
        d = eye - self._centers
        angle = np.arctan2(d[:, 1], d[:, 0]) - self._turns
        return np.asarray(np.floor(np.mod(angle / (2 * np.pi) + 1 / (2 * _SIDES), 1) * _SIDES)).astype(int) % _SIDES


def _flattest(axes: F64) -> F64:
    return np.asarray(axes[int(np.abs(axes[:, 2]).argmin())])


def _sphere(pitches: F64) -> tuple[F32, csr_matrix]:
    """Return rays all round (R, 3), and how many pixels each stands for in each view, (views, R)."""
    rows = np.deg2rad(np.arange(-75, 75 + 1e-9, _RAY_DEG))
    columns = np.deg2rad(np.arange(0, 360, _RAY_DEG))
    el, az = (g.ravel() for g in np.meshgrid(rows, columns, indexing="ij"))
    rays = np.stack([np.cos(az) * np.cos(el), np.sin(az) * np.cos(el), np.sin(el)], axis=1)
    solid = np.deg2rad(_RAY_DEG) ** 2 * np.cos(el)
    views = []
    for pitch in pitches:
        for yaw in _YAWS:
            forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
            right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
            x, y, z = rays @ right, rays @ np.cross(forward, right), rays @ forward
            inside = (z > 0.1) & (np.abs(x) < 0.58 * z) & (np.abs(y) < 0.43 * z)
            views.append(np.where(inside, 525.0**2 * solid / np.maximum(z, 0.1) ** 3, 0))
    return rays.astype(np.float32), csr_matrix(np.array(views))


def _greedy(candidates: list[Stop], pixels: list[csr_matrix], sides: list[F64], shown: _Shown) -> list[Stop]:
    """Take again and again the view that adds most, until none adds much."""
    per_eye = len(_YAWS) * len(shown.pitches)
    n = shown.count
    quality = np.minimum(np.stack([p.toarray() for p in pixels]), 1.0).astype(np.float32)  # (eyes, views, total)
    side = np.stack(sides) if n else np.zeros((len(pixels), 0), dtype=int)
    best = np.zeros((n, _SIDES), dtype=np.float32)
    patches = np.zeros(shown.total - n, dtype=np.float32)
    value = np.zeros_like(quality)  # what each view would add for each thing and patch

    def update(things: NDArray[np.intp], changed: NDArray[np.intp]) -> None:
        value[:, :, things] = _gains(quality[:, :, things], side[:, things], best[things])
        value[:, :, n + changed] = _SHELL_WORTH * np.maximum(quality[:, :, n + changed] - patches[changed], 0)

    update(np.arange(n), np.arange(len(patches)))
    gain = value.sum(axis=2)
    chosen: list[Stop] = []
    while len(chosen) < _MOST_VIEWS:
        pick = int(gain.argmax())
        if gain.ravel()[pick] < _LEAST_GAIN:
            break
        chosen.append(candidates[pick])
        eye, view = divmod(pick, per_eye)
        seen = quality[eye, view]
        better = np.flatnonzero(seen[:n] > best[np.arange(n), side[eye]])
        new = np.flatnonzero(seen[n:] > patches)
        columns = np.concatenate([better, n + new])
        gain -= value[:, :, columns].sum(axis=2)
        best[better, side[eye, better]] = seen[better]
        patches[new] = seen[n + new]
        update(better, new)
        gain += value[:, :, columns].sum(axis=2)
    return chosen or candidates[:1]


def _gains(quality: F32, side: NDArray[np.intp], best: F32) -> F32:
    """Return what seeing things (K,) that well from these sides adds, (eyes, views, K).

    quality: (eyes, views, K). side: (eyes, K). best: (K, _SIDES) how well each side was seen so far. The worth of a
    thing is that of its sides, best seen first.
    """
    worth = np.array(_SIDE_WORTH, dtype=np.float32)
    have = np.sort(best, axis=1)[:, ::-1] @ worth
    out = np.zeros_like(quality)
    for s in range(_SIDES):
        others = np.sort(np.delete(best, s, axis=1), axis=1)[:, ::-1]  # (K, _SIDES - 1)
        q = np.maximum(quality, best[:, s])
        rank = np.zeros(q.shape, dtype=np.int8)
        kept = np.zeros_like(q)
        for k in range(_SIDES - 1):
            rank += others[:, k] > q
        for k in range(_SIDES - 1):  # the other sides move one back where this one passes them
            kept += others[:, k] * np.where(rank > k, worth[k], worth[k + 1])
        out += np.where((side == s)[:, None, :], q * worth[rank] + kept - have, 0)
    return out
