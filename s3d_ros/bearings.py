"""Objects too far for depth: known by the direction that they are seen in, until they come near enough.

A depth camera sees some metres, a detector the whole room. What is beyond gets its ID all the same: it is followed by
bearing: as the camera moves, it is looked for where its last bearing leads, at any of the distances that its sights so
far agree with (``sightline_depth``). Once it has depth it is an object like any other, of the same ID.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.lifting import REFERENCE_HEIGHT, REFERENCE_WIDTH
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32, F64, Frame, Instances

_FAR_M = 4.0  # from here on an object may have no depth
_LEAST_PIXELS = 150  # smaller masks are nothing to follow
_NO_DEPTH_SHARE = 0.5  # of a mask that may have depth: otherwise it is something near, seen badly
_WITHIN, _SURE_RAD = 0.75, 0.02  # of a mask's radius, plus what masks wobble
_LOST_RAD = 0.03  # ... plus what the place may be wrong by, once it was out of sight
_RECENT_NS = 4_000_000_000
_SIZES = 2.5  # radii of one thing differ by no more than this
_THERE = 4.5  # cost (SightlineDepth) of a place where an object is that was known by bearing: 3 standard deviations
_UNLIKE = 0.25  # a label that differs allows for a quarter of the distance


@dataclass(frozen=True)
class Sightline:
    """direction: (3,) unit vector in the map. radius: of the mask, in radians. pixels: of a 640x480 image."""

    number: int
    label: str
    score: float
    direction: F64
    radius: float
    pixels: int


def sightlines(
    frame: Frame, instances: Instances, numbers: Iterable[int], with_depth: Mapping[int, int]
) -> list[Sightline]:
    """Return the bearings of instances. with_depth: number -> pixels that have depth, of those that have any."""
    wanted = np.array(sorted(set(numbers)), np.int64)
    if not len(wanted):
        return []
    step = max(1, round(2 * instances.image.shape[1] / REFERENCE_WIDTH))
    small = instances.image[::step, ::step]
    v, u = np.nonzero(small)
    number = small[v, u]
    most = int(max(number.max(initial=0), wanted.max())) + 1
    count = np.bincount(number, minlength=most)[wanted]
    area = step**2 * REFERENCE_WIDTH * REFERENCE_HEIGHT / instances.image.size
    k = frame.intrinsics
    mean_u = np.bincount(number, weights=u, minlength=most)[wanted] * step / np.maximum(count, 1)
    mean_v = np.bincount(number, weights=v, minlength=most)[wanted] * step / np.maximum(count, 1)
    rays = np.stack([(mean_u - k.cx) / k.fx, (mean_v - k.cy) / k.fy, np.ones(len(wanted))], axis=1)
    rays = (rays / np.linalg.norm(rays, axis=1, keepdims=True)) @ frame.T_map_camera[:3, :3].T
    named = dict(zip(instances.numbers, zip(instances.labels, instances.scores, strict=True), strict=True))
    out = []
    for n, c, ray in zip(wanted.tolist(), count.tolist(), rays, strict=True):
        pixels = int(c * area)
        if pixels >= _LEAST_PIXELS and with_depth.get(n, 0) <= _NO_DEPTH_SHARE * pixels:
            radius = float(np.sqrt(c * step**2 / np.pi) / k.fx)
            out.append(Sightline(n, *named.get(n, ("", 0.0)), ray, radius, pixels))
    return out


def by_bearing(lines: list[Sightline], tracks: Iterable[Track], camera: F64, now_ns: int) -> dict[int, Track]:
    """Return number -> object for bearings that objects known by bearing alone are seen in, jointly."""
    if not lines:
        return {}
    known = [t for t in tracks if t.bearing is not None or _is_far(t, camera)]
    if not known:
        return {}
    cost = np.full((len(lines), len(known)), np.inf)
    for j, track in enumerate(known):
        radius = _radius(track, camera)
        recent = abs(now_ns - track.last_seen_ns) <= _RECENT_NS
        for i, line in enumerate(lines):
            larger, smaller = max(line.radius, radius), min(line.radius, radius)
            alike = track.was_called(line.label)
            if larger > _SIZES * smaller:
                continue
            off = _off(track, camera, line.direction, recent)
            within = _WITHIN * larger + (_SURE_RAD if recent else _SURE_RAD + _LOST_RAD)
            if off <= (within if alike or recent else _UNLIKE * within):
                cost[i, j] = off / within + (0.0 if alike else _UNLIKE)
    rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e3))
    return {
        lines[i].number: known[j]
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if np.isfinite(cost[i, j])
    }


def by_place(
    points: Mapping[int, F32], labels: Sequence[str], tracks: Iterable[Track], now_ns: int
) -> dict[int, Track]:
    """Return row -> object for what has depth now, and was known by bearing alone until now, jointly.

    points: row -> points (N, 3) of the map. labels: of each row.
    """
    known = [t for t in tracks if t.bearing is not None and not t.has_voxels]
    if not (points and known):
        return {}
    rows = list(points)
    cost = np.full((len(rows), len(known)), np.inf)
    for i, row in enumerate(rows):
        middle = np.median(points[row], axis=0).astype(np.float64)
        for j, track in enumerate(known):
            assert track.bearing is not None
            recent = abs(now_ns - track.last_seen_ns) <= _RECENT_NS
            alike = track.was_called(labels[row])
            there = track.bearing.cost_at(middle)
            if there <= (_THERE if alike or recent else _UNLIKE * _THERE):
                cost[i, j] = there + (0.0 if alike else _UNLIKE * _THERE)
    picked = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e3))
    return {rows[i]: known[j] for i, j in zip(*(x.tolist() for x in picked), strict=True) if np.isfinite(cost[i, j])}


def far_ahead(tracks: Tracks, lines: list[Sightline], camera: F64) -> list[Track]:
    """Return the known objects out of reach of depth from here that one of the bearings may be of: asks all at once."""
    if not lines:
        return []
    directions, radii = np.array([line.direction for line in lines]), np.array([line.radius for line in lines])
    return tracks.of(tracks.places.along(camera, directions, radii, _FAR_M, _SIZES, _WITHIN, _SURE_RAD + _LOST_RAD))


def _is_far(track: Track, camera: F64) -> bool:
    """Whether an object is known, and out of reach of depth from here."""
    return track.public and track.box is not None and bool(np.linalg.norm(track.box.center - camera) >= _FAR_M)


def _radius(track: Track, camera: F64) -> float:
    """Return how large an object's mask may be expected to be, in radians."""
    if track.bearing is not None:
        return track.bearing.radius
    assert track.box is not None
    long, middle = np.sort(track.box.size)[:0:-1].tolist()
    return float(np.sqrt(long * middle / np.pi) / np.linalg.norm(track.box.center - camera))


def _off(track: Track, camera: F64, direction: F64, recent: bool) -> float:
    """Return the angle in radians between where an object is and a direction."""
    if track.bearing is not None:
        return track.bearing.off(camera, direction, recent)
    assert track.box is not None
    to = track.box.center - camera
    return float(np.arccos(np.clip(to @ direction / np.linalg.norm(to), -1, 1)))
