"""When an object is gone: its place is seen to be empty. Out of sight is not gone, nor is a mask that is missing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from s3d_ros.evidence import ByView
from s3d_ros.geometry import invert
from s3d_ros.looks import BINS, bins_of, likeness
from s3d_ros.rematch import project, sample
from s3d_ros.track import Stature, Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32, F64, Frame
from s3d_ros.visibility import EmptySpace

_GONE_SHARE = 0.2  # of its voxels left: the rest was seen to be empty
# Or so many of them were, nobody saw it for some time, and of those left next to none is seen to be there: the rest of
# its place can't be seen from here.
_MOST_SHARE, _UNSEEN_S, _THERE_SHARE = 0.5, 1.5, 0.05
# Flatter than this, nothing is ever seen through. Of such a thing so much must be in view at once, and be unlike it
# for so long (at most 1 s of it from one side).
_FLAT_M, _LEAST_SHOWN, _LEAST_POINTS = 0.1, 0.6, 12
_ALIKE, _UNLIKE, _UNLIKE_S = 0.7, 0.5, 1.4


def look(tracks: Tracks, empty: EmptySpace) -> list[tuple[Track, F32]]:
    """Let go of what is seen to be empty; return the objects that are gone by that, and what nobody saw of them.

    They are dropped. What nobody saw (N, 3): points of their surface that are neither seen through nor seen now.
    """
    near = tracks.of(tracks.places.in_view(empty.T_camera_map, empty.frame.intrinsics, empty.far_m))
    parts = [tracks.voxels_of(t) for t in near]
    if not parts:
        return []
    every = np.concatenate(parts)
    positions = tracks.voxels.positions(every).astype(np.float32)
    through = empty.contains(positions)
    there = empty.shows(positions)
    lost = set(tracks.voxels.fade(every[through]).tolist())
    gone: list[tuple[Track, F32]] = []
    ends = np.cumsum([len(p) for p in parts])
    for track, part, end in zip(near, parts, ends, strict=True):
        of = slice(end - len(part), end)
        if not through[of].any() or track.box is None:
            continue
        if track.stature is None:
            track.stature = Stature(track.box, max(len(part), track.most_voxels))
        if not lost.intersection(part[through[of]].tolist()):
            continue
        left = tracks.voxels_of(track)
        if _is_gone(track, len(left), int(there[of].sum()), empty.frame.stamp_ns):
            unseen = positions[of][~through[of] & ~there[of]]
            track.box = track.stature.box
            tracks.drop(track)
            gone.append((track, unseen))
        else:
            track.box_is_old = True
    return gone


def unlike(frame: Frame, matched: Collection[Track], tracks: Tracks, up: F64, step_s: float) -> list[Track]:
    """Return flat objects that lie where other colours are seen now, from several sides: a keyboard that is gone.

    What is flatter than depth can tell is never seen through. matched: objects that have a mask in this frame. step_s:
    for how long it counts. The objects are not dropped.
    """
    far_m = float(frame.depth_m.max(initial=0.0)) + _FLAT_M
    near = tracks.of(tracks.places.in_view(invert(frame.T_map_camera), frame.intrinsics, far_m), without=matched)
    flat = [t for t in near if t.public and _lies_flat(t, up)]
    flat = [t for t in flat if abs(frame.stamp_ns - t.last_sight_ns) / 1e9 > _UNSEEN_S]
    if not flat:
        return []
    points = [sample(t, tracks.voxels) for t in flat]
    u, v, z = project(np.concatenate(points), frame)
    height, width = frame.depth_m.shape
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    at = np.where(inside, v, 0), np.where(inside, u, 0)
    depth = np.where(inside, frame.depth_m[at], 0)
    shown = (depth > 0) & (np.abs(depth - z) < _FLAT_M)
    bins = bins_of(frame.color[at])
    gone = []
    ends = np.cumsum([len(p) for p in points])
    for track, end, count in zip(flat, ends, (len(p) for p in points), strict=True):
        mine = np.flatnonzero(shown[end - count : end]) + end - count
        if len(mine) < max(_LEAST_SHOWN * count, _LEAST_POINTS):
            continue
        now = np.bincount(bins[mine], minlength=BINS).astype(float)
        same = float(likeness(now[None], track.looks[None])[0, 0])
        if same > _ALIKE:
            track.unlike = ByView()
        elif same < _UNLIKE:
            track.unlike.add(track.view_from(frame.T_map_camera[:3, 3]), step_s)
            if track.unlike.total >= _UNLIKE_S:
                gone.append(track)
    return gone


def _lies_flat(track: Track, up: F64) -> bool:
    """What stands or hangs is left out: a screen that was switched off looks different and is there."""
    return track.box is not None and bool(np.abs(track.box.axes @ up) @ track.box.size < _FLAT_M)


def _is_gone(track: Track, left: int, there: int, now_ns: int) -> bool:
    assert track.stature is not None
    was = track.stature.voxels
    if left < max(_GONE_SHARE * was, 1):
        return True
    unseen_s = abs(now_ns - track.last_sight_ns) / 1e9
    return left < (1 - _MOST_SHARE) * was and unseen_s > _UNSEEN_S and there < max(_THERE_SHARE * was, 1)
