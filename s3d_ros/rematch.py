"""Recognise an object by where it is when none of its known surface is in view: its other side, or seen from afar."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.geometry import inside_box, invert
from s3d_ros.seen import Seen
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32, F64, I32, I64, U16, Bools, Frame
from s3d_ros.voxels import OwnedVoxels

_INSIDE_SHARE, _INSIDE_MARGIN_M = 0.5, 0.06
_PART_SHARE = 0.75  # of a part of a split mask
# The far side of a thing lies behind the near one: under the same mask, deeper by no more than things are thick.
_BEHIND_SHARE, THICKEST_M, _SLAB_M = 0.7, 0.9, 0.25
_SAMPLES = 64  # of an object's points
_SEEN_SHARE = 0.5  # of these that must lie under a mask
_SHOWN_SHARE, _LEAST_HITS = 0.2, 3
_MASK_SHARE = 0.3  # of a mask's extent that the object's must be
_HIDDEN_M = 0.15
# What a name seen before adds to shares and IoU, and having been seen just before: twins far away lie side by side.
_NAMED, _STAY, _JUST_NS = 0.3, 0.3, 250_000_000
_AROUND_M = 0.15  # a box leaves out some of what an object is known by


def by_new_side(
    frame: Frame, image: U16, seen: Seen, row: int, tracks: Tracks, matched: Collection[Track]
) -> Track | None:
    """Return the object that is there but shows nothing known, for a row of ``seen``: another side.

    image: (H, W) numbers of instances. matched: objects that have a mask; only a part of a split one may be theirs.
    """
    label, mine = seen.labels[row], seen.points_of(row)
    if not label:
        return None
    about = tracks.of(tracks.places.near(np.median(mine, axis=0), THICKEST_M))
    taken = {t.slot for t in matched}
    free = [t for t in about if t.slot not in taken]
    found = by_box(mine, label, free)
    if found is None:  # a part of a split mask where the thing shows nothing known
        found = by_box(mine, label, (t for t in about if t.id), _PART_SHARE)
    if found is None:
        found = by_far_side(image == int(seen.numbers[row]), mine, label, free, tracks.voxels, frame)
    return found


def by_box(mine: F32, label: str, tracks: Iterable[Track], least_share: float = _INSIDE_SHARE) -> Track | None:
    """Return the like-named object whose box holds an instance's points (N, 3): a side that is new."""
    if not label:
        return None
    middle = np.median(mine, axis=0)
    best, best_share = None, least_share
    for track in tracks:
        if track.label != label or not track.may_hold(middle):
            continue
        assert track.box is not None
        share = float(inside_box(mine, track.box, _INSIDE_MARGIN_M).mean())
        if share >= best_share:
            best, best_share = track, share
    return best


def by_far_side(
    mask: Bools, mine: F32, label: str, tracks: Iterable[Track], voxels: OwnedVoxels, frame: Frame
) -> Track | None:
    """Return the like-named object of which only a slab is known, right behind what is seen now: its other side.

    mask: (H, W) the instance. A washing machine seen from the front, and much later from behind, has no point in
    common with itself; but what was known of it lies under the new mask and behind it, by less than things are thick.
    """
    if not label:
        return None
    T = invert(frame.T_map_camera)
    depth = mine @ T[2, :3] + T[2, 3]
    near_m, far_m = float(np.percentile(depth, 10)), float(np.median(depth))
    best, best_share = None, _BEHIND_SHARE
    for track in tracks:
        if track.label != label or track.box is None or not track.may_hold(np.median(mine, axis=0), THICKEST_M):
            continue
        toward = np.abs(track.box.axes @ frame.T_map_camera[:3, 2])
        if track.box.size[int(np.argmax(toward))] > _SLAB_M:
            continue  # its depth is known already: what is seen now is another
        u, v, z = project(sample(track, voxels), frame)
        if not len(u):
            continue  # all that it owned is another's by now
        inside = (u >= 0) & (v >= 0) & (u < mask.shape[1]) & (v < mask.shape[0])
        under = np.zeros(len(u), bool)
        under[inside] = mask[v[inside], u[inside]]
        share = float((under & (z > near_m) & (z < far_m + THICKEST_M)).mean())
        if share >= best_share:
            best, best_share = track, share
    return best


def by_sight(
    image: U16, names: Mapping[int, str], tracks: Tracks, taken: Collection[Track], frame: Frame
) -> dict[int, Track]:
    """Return number -> object for instances that are too small or too far to have depth.

    An object is one of them where most of its points project into the mask, nothing nearer hides them, and both are
    about as large; jointly, the likest first. names: number -> label of these. taken: objects that are other instances.
    """
    wanted = sorted(names)
    extents = {n: _extent(image == n) for n in wanted}
    behind = tracks.places.behind(invert(frame.T_map_camera), frame.intrinsics, extents.values(), _AROUND_M)
    known = [t for t in tracks.of(behind, without=taken) if t.public]
    if not known:
        return {}
    points = [sample(t, tracks.voxels) for t in known]
    sizes = np.array([len(p) for p in points])
    u, v, z = project(np.concatenate(points), frame)
    inside = (u >= 0) & (v >= 0) & (u < image.shape[1]) & (v < image.shape[0]) & (z > 0.1)
    at = np.where(inside, v, 0), np.where(inside, u, 0)
    depth = frame.depth_m[at] if frame.depth_m.shape == image.shape else np.zeros(len(u), np.float32)
    hidden = (depth > 0) & (depth < z - _HIDDEN_M)
    number = np.where(inside & ~hidden, image[at], 0)
    owner = np.repeat(np.arange(len(known)), sizes)
    shown = np.bincount(owner[inside & ~hidden], minlength=len(known))  # what of each can be seen at all
    score = np.zeros((len(wanted), len(known)))
    for i, wanted_number in enumerate(wanted):
        mine = number == wanted_number
        hits = np.bincount(owner[mine], minlength=len(known))
        share = np.where(shown >= _SHOWN_SHARE * sizes, hits / np.maximum(shown, 1), 0)
        for k in np.flatnonzero((share >= _SEEN_SHARE) & (hits >= _LEAST_HITS)).tolist():
            of = (owner == k) & inside & ~hidden
            box = np.array([u[of].min(), v[of].min(), u[of].max() + 1, v[of].max() + 1])
            fit = _alike(np.array(extents[wanted_number]), box)
            if fit > 0:
                just = abs(frame.stamp_ns - known[k].last_seen_ns) <= _JUST_NS
                named = known[k].was_called(names.get(wanted_number, ""))
                score[i, k] = share[k] + 2 * fit + _NAMED * named + _STAY * just
    rows, columns = linear_sum_assignment(-score)
    return {wanted[i]: known[k] for i, k in zip(rows.tolist(), columns.tolist(), strict=True) if score[i, k] > 0}


def by_little(seen: Seen, numbers: Collection[int], taken: Collection[Track]) -> dict[int, Track]:
    """Return number -> like-named object for masks of which next to nothing has depth, from what has."""
    found: dict[int, Track] = {}
    for row in np.flatnonzero(seen.barely & np.isin(seen.numbers, list(numbers))).tolist():
        column = int(np.argmax(seen.beside[row])) if seen.tracks else -1
        if column < 0 or not seen.beside[row, column]:
            continue
        track = seen.tracks[column]
        if track.was_called(seen.labels[row]) and track not in taken and track not in found.values():
            found[int(seen.numbers[row])] = track
    return found


def _alike(extent: I32, box: I32) -> float:
    """Return the IoU of a mask's extent (x, y, width, height) and a box (left, top, right, bottom), 0 for unlike."""
    left, top, width, height = extent.tolist()
    low, high = np.maximum(box[:2], [left, top]), np.minimum(box[2:], [left + width, top + height])
    sides, mine = box[2:] - box[:2], np.array([width, height])
    if (np.minimum(sides, mine) / np.maximum(sides, mine)).min() < _MASK_SHARE:
        return 0.0
    both = float(np.prod(np.maximum(high - low, 0)))
    return both / (float(np.prod(sides) + np.prod(mine)) - both)


def _extent(mask: Bools) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return x, y, width, height


def sample(track: Track, voxels: OwnedVoxels) -> F32:
    """Return some of an object's points, (N, 3)."""
    own: I64 = track.own_voxels(voxels)
    return voxels.positions(own[:: max(1, len(own) // _SAMPLES)]).astype(np.float32)


def project(points: F32, frame: Frame) -> tuple[I32, I32, F64]:
    """Return pixels u, v (N,) and depths z (N,) in metres of points (N, 3) of the map; u is -1 behind the camera."""
    T, k = invert(frame.T_map_camera), frame.intrinsics
    camera = points @ T[:3, :3].T + T[:3, 3]
    z = camera[:, 2]
    safe = np.where(z > 1e-3, z, 1.0)
    u = np.where(z > 1e-3, np.clip(np.rint(camera[:, 0] / safe * k.fx + k.cx), -1, 1e6), -1)
    v = np.where(z > 1e-3, np.clip(np.rint(camera[:, 1] / safe * k.fy + k.cy), -1, 1e6), -1)
    return u.astype(np.int32), v.astype(np.int32), z
