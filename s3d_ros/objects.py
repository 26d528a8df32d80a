"""Objects with IDs from the 2D instances of single frames.

An instance is matched by how much of what is visible of an object it covers, and the other way round. Both counts
come from one look-up: every pixel's point is asked which object owns the voxel it lies in (``voxels``). A frame's
matches are solved jointly. What no object explains starts a tentative one, public (with an ID) once it was seen
for long and large enough. What one mask covers again and again is one object: the older ID survives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from s3d_ros.association import Overlaps, assign, fragments, swallowed
from s3d_ros.config import ObjectsConfig
from s3d_ros.evidence import MOST_PER_VIEW_S, ByView, Pairs, outweighs
from s3d_ros.geometry import box_distance, inside_box
from s3d_ros.lifting import LiftedPoints
from s3d_ros.rematch import by_box, by_far_side, by_sight
from s3d_ros.timing import Periodic
from s3d_ros.track import Track
from s3d_ros.types import F32, F64, I32, I64, Bools, Frame, Instances, ObjectState, SceneObject
from s3d_ros.visibility import EmptySpace
from s3d_ros.voxels import NOBODY, OwnedVoxels

# Part of an object that must be covered by another's mask to count as evidence that both are one.
_MERGE_COVER = 0.7
# ... for so long, less twice the time that each had its own mask: nothing is known of what has no name, names that
# differ speak against it. A detector's merged masks last some seconds, but not from all sides.
_MERGE_UNNAMED_S, _MERGE_LIKE_S, _MERGE_UNLIKE_S = 0.3, 1.0, 2.5
_MERGE = {"weight": 2.0, "long_s": 4.0, "times": 5.0}
_SPLIT_LIKE = {"weight": 1.0, "long_s": 3.5, "times": 3.0}
_SPLIT_UNLIKE = {"weight": 1.0, "long_s": 1.5, "times": 2.0}
_SPLIT_AFTER_S, _WHOLE_SHARE = 1.0, 0.7
_SEEN_APART_S, _NEAR_M = 0.05, 0.1
_LONGEST_RUN_S, _INSIDE_SHARE = 4.0, 1.6  # a detector's split mask shows parts apart for some seconds at a time
_PART_SHARE = 0.75
_DOUBT = 1.0  # votes
_ACCUMULATE_S = 0.09
_BOXES_AT_ONCE = 2
_GONE_SHARE = 0.2  # of its voxels left: the rest was seen to be empty
_TOUCHING_M, _TOUCHING_AFTER_S = 0.03, 2.0
_LABEL_BONUS = 0.1  # label evidence helps a match, it never gates one

Names = dict[int, tuple[str, float]]  # instance number -> label and score


@dataclass(frozen=True)
class _Seen:
    """What a frame shows: instances (rows) over the objects that own what they lie on (columns).

    row_of_point: (N,), -1 under no mask. voxel_of_point: (N,), -1 where there is none yet. large: (rows,) enough
    to vote, and to be a new object.
    """

    numbers: I32
    row_of_point: I64
    voxel_of_point: I64
    tracks: list[Track]
    overlaps: Overlaps
    large: Bools

    def swallowed_by(self, row: int, track: Track) -> list[int]:
        """Return the columns of the other objects that lie under a track's mask."""
        column = self.tracks.index(track) if track in self.tracks else None
        found: list[int] = swallowed(self.overlaps, row, column).tolist()
        return found


class ObjectMap:
    """All objects, tentative and confirmed. ``up`` (3,) is the direction that boxes stand in."""

    def __init__(self, config: ObjectsConfig, up: F64) -> None:
        self.config = config
        self.up = up
        self.reset()

    def reset(self) -> None:
        """Forget everything. IDs start anew."""
        self.voxels = OwnedVoxels(self.config.voxel_size_m)
        self.merged: dict[int, int] = {}  # retired public ID -> survivor
        self._tracks: dict[int, Track] = {}  # by slot: the owner's number in the voxels
        self._accumulating = Periodic(_ACCUMULATE_S)
        self._next_slot = 1
        self._next_id = 1
        self._pairs = Pairs()
        self._changed: set[int] = set()
        self._removed: list[int] = []

    def set_up(self, up: F64) -> None:
        """Fit all boxes anew along another direction of up (3,)."""
        self.up = up
        for track in self._tracks.values():
            track.box_is_old = True

    def observe(self, frame: Frame, points: LiftedPoints, instances: Instances) -> dict[int, int | None]:
        """Match, update and create objects; return instance number -> object ID, None while tentative."""
        seen = self._look_up(points)
        names = dict(zip(instances.numbers, zip(instances.labels, instances.scores, strict=True), strict=True))
        matched = assign(seen.overlaps, self._label_bonus(seen, names), self.config.match_overlap)
        parts = fragments(seen.overlaps, matched)
        tracks = {row: seen.tracks[column] for row, column in (matched | parts).items()}
        self._recognise(frame, points, instances, seen, names, tracks)
        for row in np.flatnonzero(seen.large).tolist():
            if row not in tracks:
                tracks[row] = self._new_track(points.stamp_ns)
        steps_s = {track.slot: track.step_s(points.stamp_ns) for track in tracks.values()}
        self._split(points, seen, names, tracks)
        self._count_sights(points, seen, names, tracks)
        self._accumulate(points, seen, tracks)
        self._weigh_merges(points, seen, tracks, steps_s)
        self._note_apart(points, tracks, steps_s)
        for track in tracks.values():
            track.last_seen_ns = points.stamp_ns
        ids = {int(seen.numbers[row]): track for row, track in tracks.items()}
        missing = [n for n in instances.numbers if n not in ids]
        if missing:
            free = [t for t in self._tracks.values() if t not in tracks.values()]
            ids |= by_sight(instances.image, missing, free, self.voxels, frame)
        return {number: self._resolve(track.id) if track.id else None for number, track in ids.items()}

    def _look_up(self, points: LiftedPoints) -> _Seen:
        """Ask each point which object owns the voxel that it lies in, and count."""
        voxels = self.voxels.find(points.xyz)
        numbers, index = _compact(points.instance)
        slots, owner_index = _compact(self.voxels.owners_of(voxels))
        counts = np.bincount(index * len(slots) + owner_index, minlength=len(numbers) * len(slots))
        counts = counts.reshape(len(numbers), len(slots))  # points of instance i that object k owns
        first_row, first_column = (int(NOBODY in found[:1]) for found in (numbers, slots))
        sizes = counts.sum(axis=1)[first_row:]
        return _Seen(
            numbers=numbers[first_row:],
            row_of_point=index - first_row,
            voxel_of_point=voxels,
            tracks=[self._tracks[s] for s in slots[first_column:].tolist()],
            overlaps=Overlaps(counts[first_row:, first_column:], sizes, counts.sum(axis=0)[first_column:]),
            large=sizes * points.pixel_area >= self.config.min_instance_pixels,
        )

    def _label_bonus(self, seen: _Seen, names: Names) -> F64:
        mine = np.array([names.get(int(n), ("", 0.0))[0] for n in seen.numbers], object)
        theirs = np.array([t.label for t in seen.tracks], object)
        return np.asarray(_LABEL_BONUS * ((mine[:, None] == theirs[None]) & (mine[:, None] != "")), np.float64)

    def _recognise(
        self,
        frame: Frame,
        points: LiftedPoints,
        instances: Instances,
        seen: _Seen,
        names: Names,
        tracks: dict[int, Track],
    ) -> None:
        """Match what no overlap explains to an object that is there but shows nothing known: its other side."""
        for row in np.flatnonzero(seen.large).tolist():
            if row in tracks:
                continue
            number = int(seen.numbers[row])
            label = names.get(number, ("", 0.0))[0]
            mine = points.xyz[seen.row_of_point == row]
            free = [t for t in self._tracks.values() if t not in tracks.values()]
            found = by_box(mine, label, free)
            if found is None:  # a part of a split mask where the thing shows nothing known
                found = by_box(mine, label, (t for t in self._tracks.values() if t.id), _PART_SHARE)
            if found is None:
                found = by_far_side(instances.image == number, mine, label, free, self.voxels, frame)
            if found is not None:
                tracks[row] = found

    def _split(self, points: LiftedPoints, seen: _Seen, names: Names, tracks: dict[int, Track]) -> None:
        """Weigh whether an object that now shows several masks is several things; if so, take it apart.

        The largest part keeps the ID; of the rest each point goes with the part that is nearest to it.
        """
        for track in set(tracks.values()):
            rows = [r for r in tracks if tracks[r] is track and seen.large[r]]
            if track not in seen.tracks or not rows:
                continue
            column = seen.tracks.index(track)
            covered = seen.overlaps.of_object[rows, column]
            view, step_s = track.view_from(points.camera), track.step_s(points.stamp_ns)
            if len(rows) == 1:
                if covered[0] >= _WHOLE_SHARE and self._shows_all(points, seen, track):
                    track.whole.add(view, step_s)
                continue
            track.parted.add(view, step_s)
            labels = {names.get(int(seen.numbers[r]), ("", 0.0))[0] for r in rows}
            if not outweighs(
                track.parted, track.whole, _SPLIT_AFTER_S, **(_SPLIT_UNLIKE if len(labels) > 1 else _SPLIT_LIKE)
            ):
                continue
            rows.sort(key=lambda r: -int(seen.overlaps.counts[r, column]))
            own = self._voxels_of(track)
            trees = [cKDTree(points.xyz[seen.row_of_point == r]) for r in rows]
            nearest = np.argmin([tree.query(self.voxels.positions(own))[0] for tree in trees], axis=0)
            track.whole, track.parted = ByView(), ByView()
            for k, row in enumerate(rows[1:], start=1):
                new = self._new_track(points.stamp_ns)
                self.voxels.owner[own[nearest == k]] = new.slot
                new.add_voxels(own[nearest == k])
                self._pairs.apart(track.slot, new.slot).add(view, MOST_PER_VIEW_S)
                tracks[row] = new
            track.most_voxels, track.box_is_old = 0, True

    def _shows_all(self, points: LiftedPoints, seen: _Seen, track: Track) -> bool:
        """Whether what is visible of an object reaches as far as its box: one of two fused things alone does not."""
        if not track.parted.seconds or track.box is None:
            return True
        mine = points.xyz[self.voxels.owners_of(seen.voxel_of_point) == track.slot]
        extent = np.ptp(mine, axis=0).max() if len(mine) else 0.0
        return bool(extent >= _WHOLE_SHARE * np.ptp(track.box.corners(), axis=0).max())

    def _count_sights(self, points: LiftedPoints, seen: _Seen, names: Names, tracks: dict[int, Track]) -> None:
        """One sight of each object, under the label of its largest mask."""
        largest = sorted(tracks, key=lambda r: -int(seen.overlaps.sizes[r]))
        counted: set[int] = set()
        for row in largest:
            track = tracks[row]
            if track.slot in counted or not seen.large[row]:
                continue
            counted.add(track.slot)
            pixels = sum(int(seen.overlaps.sizes[r]) for r in tracks if tracks[r] is track) * points.pixel_area
            label, score = names.get(int(seen.numbers[row]), ("", 0.0))
            track.see(points, int(pixels), label, score)
            self._confirm(track)

    def look(self, empty: EmptySpace) -> None:
        """Let go of what is seen to be empty; an object that lost nearly all of its surface is gone."""
        tracks = [t for t in self._tracks.values() if t.near_view(empty)]
        parts = [self._voxels_of(t) for t in tracks]
        if not parts:
            return
        all_voxels = np.concatenate(parts)
        through = empty.contains(self.voxels.positions(all_voxels).astype(np.float32))
        lost = self.voxels.fade(all_voxels[through])
        lost_slots = set(np.repeat([t.slot for t in tracks], [len(p) for p in parts])[through].tolist())
        if not len(lost):
            return
        for track in tracks:
            if track.slot not in lost_slots:
                continue
            left = len(self._voxels_of(track))
            if left < max(_GONE_SHARE * track.most_voxels, 1):
                self._drop(track, empty.frame.stamp_ns)
            else:
                track.box_is_old = True

    def refresh(self, now_ns: int, everything: bool = False) -> tuple[tuple[SceneObject, ...], tuple[int, ...]]:
        """Fit the boxes of changed objects anew, drop stale tentative ones; return (changed, removed IDs)."""
        stale_ns = int(self.config.tentative_s * 1e9)
        for track in [t for t in self._tracks.values() if not t.id and now_ns - t.last_seen_ns > stale_ns]:
            self._drop(track, now_ns)
        period_ns = int(self.config.box_period_s * 1e9)
        due = [
            t
            for t in self._tracks.values()
            if t.box_is_old and (everything or now_ns - t.box_ns >= period_ns or t.box is None)
        ]
        due.sort(key=lambda t: t.box_ns)
        for track in due if everything else due[:_BOXES_AT_ONCE]:
            if track.slot in self._tracks and track.fit_box(self.voxels, self._voxels_of(track), self.up, now_ns):
                self._merge_touching(track, now_ns)
                if track.id:
                    self._changed.add(track.slot)
        changed = tuple(
            self._tracks[s].snapshot() for s in sorted(self._changed) if s in self._tracks and self._tracks[s].public
        )
        removed = tuple(self._removed)
        self._changed, self._removed = set(), []
        return changed, removed

    def snapshot(self) -> tuple[SceneObject, ...]:
        """Return all public objects by ID."""
        return tuple(sorted((t.snapshot() for t in self._tracks.values() if t.public), key=lambda o: o.id))

    def ids_at(self, points: F32) -> I32:
        """Return the public ID of the object that owns each point (N, 3), (N,), 0 where there is none."""
        owners = self.voxels.owners(points)
        slots, index = _compact(owners)
        ids = [t.id if (t := self._tracks.get(int(s))) is not None and t.public else 0 for s in slots]
        return np.asarray(ids, np.int32)[index]

    def _accumulate(self, points: LiftedPoints, seen: _Seen, tracks: dict[int, Track]) -> None:
        """Let points vote for the owners of their voxels; not at every frame of a fast camera.

        Points under no mask vote against an object that has its mask elsewhere: a ragged outline reaches over what
        is behind, from here; from there it doesn't. What lies under a mask that covers two objects votes for neither.
        """
        owner_of_row = np.full(len(seen.numbers) + 1, NOBODY, np.int32)  # the last one: no instance
        for row, track in tracks.items():
            if seen.large[row]:
                owner_of_row[row] = track.slot
        claims = owner_of_row[seen.row_of_point]
        newborn = any(not t.has_voxels for t in tracks.values())
        if not claims.any() or not (self._accumulating.due(points.stamp_ns) or newborn):
            return
        for row in tracks:
            if self._covers_another(seen, row, tracks):
                claims[seen.row_of_point == row] = NOBODY
        owners = self.voxels.owners_of(seen.voxel_of_point)
        shown = np.isin(owners, [t.slot for t in tracks.values()]) & (owners != NOBODY)
        bare = (seen.row_of_point < 0) & shown
        self.voxels.doubt(seen.voxel_of_point[bare], _DOUBT)
        mine = claims != NOBODY
        voxels, new_owners = self.voxels.claim(points.xyz[mine], claims[mine], seen.voxel_of_point[mine])
        for slot in np.unique(new_owners).tolist():
            self._tracks[slot].add_voxels(voxels[new_owners == slot])

    def _covers_another(self, seen: _Seen, row: int, tracks: dict[int, Track]) -> bool:
        """Whether a mask also covers an object that is known to be another and has no mask of its own: merged masks."""
        track = tracks[row]
        others = [seen.tracks[c] for c in seen.swallowed_by(row, track)]
        return any(o.id and o is not track and o not in tracks.values() for o in others)

    def _weigh_merges(
        self, points: LiftedPoints, seen: _Seen, tracks: dict[int, Track], steps_s: dict[int, float]
    ) -> None:
        """Collect evidence that two objects are one: the mask of one covers what is visible of the other."""
        present = set(tracks.values())
        for row, track in list(tracks.items()):
            for c in seen.swallowed_by(row, track):
                other = seen.tracks[c]
                if seen.overlaps.of_object[row, c] < _MERGE_COVER or other.slot not in self._tracks or other is track:
                    continue
                if other in present or track.slot not in self._tracks:
                    continue
                together = self._pairs.together(track.slot, other.slot)
                apart = self._pairs.apart(track.slot, other.slot)
                together.add(track.view_from(points.camera), steps_s.get(track.slot, 0.0))
                # What is hidden says nothing: most of the smaller one must have been looked at.
                share = seen.overlaps.visible[c] / max(len(self._voxels_of(other)), 1)
                if outweighs(together, apart, _merge_after_s(track, other), **_MERGE) and (
                    share > 0.3 or other.pixels < track.pixels
                ):
                    self._merge(track, other, tracks)
                    track = tracks[row]

    def _note_apart(self, points: LiftedPoints, tracks: dict[int, Track], steps_s: dict[int, float]) -> None:
        """Two masks of one frame are two things: noted of those that may be taken for one, the like and the near."""
        present = sorted({t.slot: t for t in tracks.values()}.values(), key=lambda t: t.slot)
        if len(present) < 2:
            return
        labels = np.array([t.label for t in present], object)
        close = labels[:, None] == labels[None]
        boxes = [t.box for t in present]
        known = np.array([b is not None for b in boxes])
        centers = np.array([np.zeros(3) if b is None else b.center for b in boxes])
        reach = np.array([0.0 if b is None else np.linalg.norm(b.size) / 2 for b in boxes])
        distance = np.linalg.norm(centers[:, None] - centers[None], axis=2)
        close |= (distance < reach[:, None] + reach[None] + _NEAR_M) & known[:, None] & known[None]
        for i, j in np.argwhere(np.triu(close, 1)).tolist():
            a, b = present[i], present[j]
            self._pairs.apart(a.slot, b.slot).add(a.view_from(points.camera), steps_s.get(a.slot, 0.0))

    def _merge_touching(self, track: Track, now_ns: int) -> None:
        """Merge with what has the same label and touches, if both were never seen at once: sides of one thing."""
        if not track.label or track.box is None or now_ns - track.first_sight_ns < _TOUCHING_AFTER_S * 1e9:
            return
        for other in list(self._tracks.values()):
            if (
                other.label != track.label
                or other is track
                or other.box is None
                or not other.may_hold(track.box.center, float(np.linalg.norm(track.box.size)) / 2)
                or now_ns - other.first_sight_ns < _TOUCHING_AFTER_S * 1e9
            ):
                continue
            together, apart = self._pairs.together(track.slot, other.slot), self._pairs.apart(track.slot, other.slot)
            touching = box_distance(track.box, other.box)[0] < _TOUCHING_M
            never_apart = apart.total <= _SEEN_APART_S + 0.2 * together.total
            if touching and (never_apart or (apart.seconds < _LONGEST_RUN_S and self._is_inside(track, other))):
                self._merge(track, other, {})
                if track.slot not in self._tracks:
                    return

    def _is_inside(self, a: Track, b: Track) -> bool:
        """Whether most of one's surface lies in the other's box: two things can't both be there."""
        small, large = (a, b) if len(self._voxels_of(a)) < len(self._voxels_of(b)) else (b, a)
        assert large.box is not None
        points = self.voxels.positions(self._voxels_of(small))
        return len(points) > 0 and float(inside_box(points, large.box, 0.0).mean()) >= _INSIDE_SHARE

    def _merge(self, a: Track, b: Track, row_track: dict[int, Track]) -> None:
        keep, gone = (a, b) if a.seniority <= b.seniority else (b, a)
        voxels = self._voxels_of(gone)
        self.voxels.owner[voxels] = keep.slot
        keep.absorb(gone, voxels)
        if gone.id:
            self.merged = {old: keep.id if new == gone.id else new for old, new in self.merged.items()}
            self.merged[gone.id] = keep.id
            self._removed.append(gone.id)
            self._changed.add(keep.slot)
        del self._tracks[gone.slot]
        for row, track in row_track.items():
            if track is gone:
                row_track[row] = keep
        self._pairs.inherit(keep.slot, gone.slot)

    def _new_track(self, stamp_ns: int) -> Track:
        track = Track(self._next_slot, stamp_ns)
        self._tracks[track.slot] = track
        self._next_slot += 1
        return track

    def _confirm(self, track: Track) -> None:
        long_enough = track.last_sight_ns - track.first_sight_ns >= self.config.confirm_s * 1e9
        if not track.id and long_enough and track.pixels >= self.config.confirm_pixels:
            track.id = self._next_id
            track.box_is_old, track.box_ns = True, 0
            self._next_id += 1

    def _drop(self, track: Track, now_ns: int) -> None:
        self.voxels.release(self._voxels_of(track))
        del self._tracks[track.slot]
        self._pairs.forget(track.slot)
        track.state = ObjectState.GONE
        if track.id:
            self._removed.append(track.id)

    def _voxels_of(self, track: Track) -> I64:
        return track.own_voxels(self.voxels)

    def _resolve(self, object_id: int) -> int:
        return self.merged.get(object_id, object_id)


def _merge_after_s(a: Track, b: Track) -> float:
    if not (a.id and b.id and a.label and b.label):
        return _MERGE_UNNAMED_S
    return _MERGE_LIKE_S if a.label == b.label else _MERGE_UNLIKE_S


def _compact(values: I32) -> tuple[I32, I64]:
    """Return the sorted distinct values and each value's index in them: ``np.unique`` without sorting."""
    present = np.flatnonzero(np.bincount(values))
    table = np.zeros(int(values.max(initial=0)) + 1, np.int64)
    table[present] = np.arange(len(present))
    return present, table[values]
