"""IDs that were said already go on: objects that were made anew get the IDs that the same things had.

Objects are made anew by letting anchor frames be seen again, at their corrected poses, from a moment before the error
began. Of each instance in them is known which ID was said of it back then, and which object it is now. What was
known before that moment keeps its ID; what was found since gets the oldest ID that was said of it, and the others
resolve to that one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from s3d_ros.correction import Correction
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32
from s3d_ros.voxels import NOBODY

FIRST_NEW_ID = 1 << 30  # IDs of objects that were made anew, until they get their own
_SAME_SHARE = 0.5  # of an object's surface, when moved, that another one has: it is the other one

Sights = Counter[tuple[int, int]]  # (ID now, ID said) -> pixels under masks of both


def reconcile(
    made: Tracks, said: Tracks, sights: Mapping[tuple[int, int], int], correction: Correction, first_new_id: int
) -> None:
    """Give the objects of ``made`` the IDs that were said, and bring over those that no anchor shows.

    made: was seen again; its new objects have IDs from FIRST_NEW_ID on. said: the objects as they were published;
    tracks that are brought over are taken from it. correction: where ``said`` belongs. first_new_id: IDs from here on
    were given after the moment from which ``made`` was seen again.
    """
    known = {t.id: t for t in made if t.id}
    new_of = _new_ids(made, sights, first_new_id)
    final: dict[int, int] = {}
    for now in sorted(known):
        befores = new_of.get(now, [])
        final[now] = now if now < FIRST_NEW_ID else befores[0] if befores else said.take_id()
    merged = {old: final.get(new, new) for old, new in made.merged.items() if old < FIRST_NEW_ID}
    merged |= {b: final[now] for now, befores in new_of.items() for b in befores if b != final[now]}
    for now, track in known.items():
        track.id = final[now]
        aliases = {a for a in track.aliases if a < FIRST_NEW_ID} | set(new_of.get(now, []))
        track.aliases = sorted(aliases - {track.id})
    made.merged = merged
    made.count_from(said.next_id)
    _bring_over(made, said, correction, first_new_id)
    here = made.ids()
    for old in said.merged:  # what was merged since then follows the one it was merged into
        target = made.resolve(said.resolve(old))
        if old not in made.merged and old not in here and target in here:
            made.merged[old] = target
    made.announce(said)


def _new_ids(made: Tracks, sights: Mapping[tuple[int, int], int], first_new_id: int) -> dict[int, list[int]]:
    """Return for IDs now the new IDs, ascending, that were said of the same things."""
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for (now, before), pixels in sights.items():
        if before >= first_new_id:
            votes[before][made.resolve(now)] += pixels
    out: dict[int, list[int]] = defaultdict(list)
    here = made.ids()
    for before in sorted(votes):
        now, _ = votes[before].most_common(1)[0]
        if now in here:
            out[now].append(before)
    return out


def _bring_over(made: Tracks, said: Tracks, correction: Correction, first_new_id: int) -> None:
    """Take over the objects found since then that no anchor shows, where the correction has them."""
    here = made.ids()
    for track in said:
        if track.id < first_new_id or not track.id or track.id in here or track.id in made.merged:
            continue
        points = _moved(said, track, correction)
        if not len(points):
            continue
        owners = made.voxels.owners(points)
        there = Counter(owners[owners != NOBODY].tolist()).most_common(1)
        if there and there[0][1] >= _SAME_SHARE * len(points) and (other := made[there[0][0]]).id:
            made.merged[track.id] = other.id
            other.aliases = sorted({*other.aliases, track.id, *track.aliases})
        else:
            made.adopt(track, points)


def _moved(said: Tracks, track: Track, correction: Correction) -> F32:
    """Return an object's points (N, 3) where the correction has them: as when it was last seen."""
    points = said.voxels.positions(said.voxels_of(track))
    if not len(points):
        return points
    delta = correction.at(np.array([track.last_sight_ns]), points.mean(axis=0, keepdims=True))[0]
    return np.asarray((points @ delta[:3, :3].T + delta[:3, 3]).astype(np.float32))
