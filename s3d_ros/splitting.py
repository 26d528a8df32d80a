"""Take apart what a bad mask made one object: weighed by view, because a split mask also shows a thing in parts."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from s3d_ros.evidence import MOST_PER_VIEW_S, ByView, outweighs
from s3d_ros.seen import Seen
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks

_LIKE = {"weight": 1.0, "long_s": 3.5, "times": 3.0}
_UNLIKE = {"weight": 1.0, "long_s": 1.5, "times": 2.0}
_AFTER_S, _WHOLE_SHARE = 1.0, 0.7


def split(tracks: Tracks, seen: Seen, matched: dict[int, Track]) -> None:
    """Weigh whether an object that now shows several masks is several things; if so, take it apart.

    matched: row -> object; the rows of new parts are put there. The largest part keeps the ID; of the rest each voxel
    goes with the part that is nearest to it.
    """
    points = seen.points
    for track in dict.fromkeys(matched.values()):  # in order: a set of objects has none
        rows = [r for r in matched if matched[r] is track and seen.large[r]]
        if track not in seen.tracks or not rows:
            continue
        column = seen.tracks.index(track)
        covered = seen.overlaps.of_object[rows, column]
        view, step_s = track.view_from(points.camera), track.step_s(points.stamp_ns)
        if len(rows) == 1:
            if covered[0] >= _WHOLE_SHARE and _shows_all(tracks, seen, track):
                track.whole.add(view, step_s)
            continue
        if _go_on(seen, rows):
            track.parted.add_weak(step_s)
        else:
            track.parted.add(view, step_s)
        alike = len({seen.labels[r] for r in rows}) == 1
        if not outweighs(track.parted, track.whole, _AFTER_S, **(_LIKE if alike else _UNLIKE)):
            continue
        rows.sort(key=lambda r: -int(seen.overlaps.counts[r, column]))
        own = tracks.voxels_of(track)
        trees = [cKDTree(seen.points_of(r)) for r in rows]
        nearest = np.argmin([tree.query(tracks.voxels.positions(own))[0] for tree in trees], axis=0)
        track.whole, track.parted = ByView(), ByView()
        for k, row in enumerate(rows[1:], start=1):
            new = tracks.new(points.stamp_ns)
            tracks.voxels.owner[own[nearest == k]] = new.slot
            new.add_voxels(own[nearest == k])
            for other in rows[:k]:  # what goes on in one another may still be parts of one
                if not seen.goes_on(row, other):
                    tracks.pairs.apart(matched[other].slot, new.slot).add(view, MOST_PER_VIEW_S)
            matched[row] = new
        track.most_voxels, track.box_is_old = 0, True


def _go_on(seen: Seen, rows: list[int]) -> bool:
    """Whether each of several masks goes on in another: the parts of one."""
    return all(any(seen.goes_on(r, other) for other in rows) for r in rows)


def _shows_all(tracks: Tracks, seen: Seen, track: Track) -> bool:
    """Whether what is visible of an object reaches as far as its box: one of two fused things alone does not."""
    if not track.parted.seconds or track.box is None:
        return True
    mine = seen.points.xyz[tracks.voxels.owners_of(seen.voxel_of_point) == track.slot]
    extent = np.ptp(mine, axis=0).max() if len(mine) else 0.0
    return bool(extent >= _WHOLE_SHARE * np.ptp(track.box.corners(), axis=0).max())
