"""The camera's way: from the views worth taking to a smooth motion within the limits of speed and turning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from s3d_ros.offline.simulate.config import TourConfig
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.viewplan import Stop, plan_views
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F64

_STEP_S = 0.02  # the motion is worked out at this step and sampled at the frame rate
_SMOOTH_S = 0.5
_CRUISE = 0.92  # share of the limits that is used
_GAZE_PITCH = np.deg2rad(-12.0)


@dataclass(frozen=True)
class Trajectory:
    """Poses at a steady rate. T_map_camera: (N, 4, 4) of the optical frame. floor_m: what a base would stand on.

    pause: (index, seconds), before which frame nothing was recorded for how long.
    """

    fps: float
    T_map_camera: F64
    floor_m: float
    pause: tuple[int, float] | None = None

    def __len__(self) -> int:
        return len(self.T_map_camera)

    def at_s(self, index: int) -> float:
        """Return when a frame is taken, in seconds from the first one."""
        pause_s = self.pause[1] if self.pause is not None and index >= self.pause[0] else 0.0
        return index / self.fps + pause_s

    def base(self, index: int) -> F64:
        """Return T_map_base (4, 4) of a robot under the camera: on the floor, x where the camera looks."""
        T = self.T_map_camera[index]
        forward = T[:2, 2] if np.hypot(*T[:2, 2]) > 1e-3 else -T[:2, 1]
        yaw = np.arctan2(forward[1], forward[0])
        out = np.eye(4)
        out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        out[:3, 3] = [T[0, 3], T[1, 3], self.floor_m]
        return out


def camera_pose(position: F64, yaw: float, pitch: float) -> F64:
    """Return T_map_camera (4, 4) of a level camera: yaw about z from +x, pitch up from the horizon."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = position
    return T


def tour(world: World, config: TourConfig, *, fps: float, seed: int, max_s: float = np.inf) -> Trajectory:
    """Return a walk through the world that looks at everything it can. Deterministic. Raises ValueError.

    The most rewarding views are taken first into the plan; those that do not fit into the time are left out.
    """
    space = FreeSpace.of(world, config.radius_m)
    rng = np.random.default_rng([seed, 2])
    stops = plan_views(world, space, config, rng)
    room_s, area_s, thing_s, most_s = config.budget_s
    rooms = len(world.rooms)
    limit = min(max_s, room_s * rooms + area_s * world.floor_area_m2 + thing_s * len(world.things), most_s * rooms)
    low, high = 1, len(stops)
    keys = _motion(stops[:low], space, config, world.floor_m)
    while low < high:  # as many of the best as fit
        middle = (low + high + 1) // 2
        tried = _motion(stops[:middle], space, config, world.floor_m)
        if len(tried) * _STEP_S <= limit:
            low, keys = middle, tried
        else:
            high = middle - 1
    samples = np.arange(0, len(keys) * _STEP_S, 1 / fps)
    samples = samples[samples <= max_s]
    at = np.minimum((samples / _STEP_S).round().astype(int), len(keys) - 1)
    poses = np.stack([camera_pose(k[:3], k[3], k[4]) for k in keys[at]])
    return Trajectory(fps, poses, world.floor_m)


def through(keys: Sequence[Sequence[float]], *, fps: float = 10.0, floor_m: float = 0.0, turn_deg_s: float = 45.0,
            speed_m_s: float = 0.5) -> Trajectory:  # fmt: skip
    """Return the motion through given keys (x, y, z, yaw, pitch), for small worlds whose views are known by hand."""
    config = TourConfig(max_speed_m_s=speed_m_s, max_turn_deg_s=turn_deg_s)
    motion = _timed(np.asarray(keys, dtype=np.float64), config)
    at = (np.arange(0, len(motion) * _STEP_S, 1 / fps) / _STEP_S).round().astype(int)
    poses = np.stack([camera_pose(k[:3], k[3], k[4]) for k in motion[np.minimum(at, len(motion) - 1)]])
    return Trajectory(fps, poses, floor_m)


def _motion(stops: Sequence[Stop], space: FreeSpace, config: TourConfig, floor_m: float) -> F64:
    """Return the motion (N, 5) x, y, z, yaw, pitch at _STEP_S that visits the stops, in a short order."""
    grouped: dict[int, list[Stop]] = {}
    for stop in stops:
        grouped.setdefault(stop.place, []).append(stop)
    places = list(grouped)
    order = _short_order(space.distances(places))
    rest = max(1, round(config.dwell_s / _STEP_S))
    gaze = _GAZE_PITCH if len(config.pitches_deg) > 1 else np.deg2rad(config.pitches_deg[0])
    keys: list[list[float]] = []
    holds: list[int] = []
    yaw = None
    for k, index in enumerate(order):
        views = _in_turn(grouped[places[index]], yaw)
        if k:
            way = space.path(places[order[k - 1]], places[index])
            for key in _along(way, keys[-1], views[0], floor_m, gaze):
                keys.append(key)
                holds.append(0)
        for view in views:
            x, y = space.point(view.place)
            keys.append([x, y, floor_m + view.height_m, view.yaw, view.pitch])
            holds.append(rest)
            yaw = view.yaw
    return _timed(np.array(keys), config, holds)


def _along(way: F64, last: Sequence[float], view: Stop, floor_m: float, gaze: float) -> list[list[float]]:
    """Return keys on the way (K, 2) between two stops: on a longer way the camera looks where it goes."""
    inner = way[1:-1]
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    total = float(lengths.sum())
    done = np.cumsum(lengths)[:-1] / max(total, 1e-9)
    keys = []
    for point, share, a in zip(inner, done, range(1, len(way) - 1), strict=True):
        height = (1 - share) * last[2] + share * (floor_m + view.height_m)
        ahead = way[min(a + 4, len(way) - 1)] - way[max(a - 4, 0)]
        looks = total > 1.2 and 0.25 < share < 0.75 and np.linalg.norm(ahead) > 1e-6
        yaw = float(np.arctan2(ahead[1], ahead[0])) if looks else np.nan
        keys.append([float(point[0]), float(point[1]), height, yaw, gaze if looks else np.nan])
    return keys


def _timed(keys: F64, config: TourConfig, holds: Sequence[int] | None = None) -> F64:
    """Spend on each piece as long as the limits ask for; smooth. Returns (N, 5) at _STEP_S.

    Gazes of NaN are filled in evenly along the way. A moving average of a motion within the limits stays within them.
    """
    keys = keys.copy()
    xyz = keys[:, :3]
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xyz, axis=0), axis=1) + 1e-6)])
    known = np.isfinite(keys[:, 3])
    keys[known, 3] = np.unwrap(keys[known, 3])
    for column in (3, 4):
        keys[:, column] = np.interp(way, way[known], keys[known, column])
    moved = np.linalg.norm(np.diff(xyz, axis=0), axis=1)
    turned = np.linalg.norm(np.diff(keys[:, 3:], axis=0), axis=1)
    limit_turn = np.deg2rad(config.max_turn_deg_s) * _CRUISE
    seconds = np.maximum(moved / (config.max_speed_m_s * _CRUISE), turned / limit_turn)
    rests = np.zeros(len(keys)) if holds is None else np.array(holds) * _STEP_S
    rests[[0, -1]] = np.maximum(rests[[0, -1]], _SMOOTH_S / 2)  # so that the ends are reached after smoothing
    # Each key is reached and, where there is a rest, left later
    reached = np.concatenate([[0], np.cumsum(np.maximum(seconds, 1e-9) + rests[:-1])])
    times = np.stack([reached, reached + np.maximum(rests, 1e-9)], axis=1).ravel()
    values = np.repeat(keys, 2, axis=0)
    grid = np.arange(0, times[-1] + _STEP_S, _STEP_S)
    motion = np.stack([np.interp(grid, times, values[:, k]) for k in range(5)], axis=1)
    window = max(1, round(_SMOOTH_S / _STEP_S / 2))
    for _ in range(2):
        motion = uniform_filter1d(motion, window, axis=0, mode="nearest")
    return motion


def _in_turn(views: Sequence[Stop], yaw: float | None) -> list[Stop]:
    """Order a place's views so that the camera pans one way round rather than to and fro."""
    if yaw is None or len(views) < 2:
        return sorted(views, key=lambda v: (v.yaw, v.pitch))
    turns = [(float(np.angle(np.exp(1j * (v.yaw - yaw)))), v) for v in views]
    left = sorted((t for t in turns if t[0] >= 0), key=lambda t: t[0])
    right = sorted((t for t in turns if t[0] < 0), key=lambda t: -t[0])
    near, far = sorted((left, right), key=lambda side: abs(side[-1][0]) if side else 0.0)
    return [v for _, v in near + far]


def _short_order(distance: F64) -> list[int]:
    """Return an order of visits that is short, from a distance matrix (K, K): nearest first, then 2-opt."""
    order = [0]
    left = set(range(1, len(distance)))
    while left:
        nearest = min(left, key=lambda j: (distance[order[-1], j], j))
        order.append(nearest)
        left.remove(nearest)
    better = True
    while better:
        better = False
        for i in range(len(order) - 1):
            for j in range(i + 2, len(order) + 1):
                after = distance[order[j - 1], order[j]] if j < len(order) else 0.0
                new_after = distance[order[i + 1], order[j]] if j < len(order) else 0.0
                old = distance[order[i], order[i + 1]] + after
                new = distance[order[i], order[j - 1]] + new_after
                if new < old - 1e-6:
                    order[i + 1 : j] = order[i + 1 : j][::-1]
                    better = True
    return order
