"""When an object is gone: its place is seen to be empty. Out of sight is not gone, nor is a mask that is missing."""

from __future__ import annotations

import numpy as np

from s3d_ros.track import Stature, Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32
from s3d_ros.visibility import EmptySpace

_GONE_SHARE = 0.2  # of its voxels left: the rest was seen to be empty
# Or so many of them were, nobody saw it for some time, and of those left next to none is seen to be there: the rest of
# its place can't be seen from here.
_MOST_SHARE, _UNSEEN_S, _THERE_SHARE = 0.5, 1.5, 0.05


def look(tracks: Tracks, empty: EmptySpace) -> list[tuple[Track, F32]]:
    """Let go of what is seen to be empty; return the objects that are gone by that, and what nobody saw of them.

    They are dropped. What nobody saw (N, 3): points of their surface that are neither seen through nor seen now.
    """
    near = [t for t in tracks if t.near_view(empty)]
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


def _is_gone(track: Track, left: int, there: int, now_ns: int) -> bool:
    assert track.stature is not None
    was = track.stature.voxels
    if left < max(_GONE_SHARE * was, 1):
        return True
    unseen_s = (now_ns - track.last_sight_ns) / 1e9
    return left < (1 - _MOST_SHARE) * was and unseen_s > _UNSEEN_S and there < max(_THERE_SHARE * was, 1)
