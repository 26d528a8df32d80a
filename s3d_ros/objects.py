"""Objects with IDs from the 2D instances of single frames.

An instance is matched by how much of what is visible of an object it covers, and the other way round. Both counts
come from one look-up: every pixel's point is asked which object owns the voxel it lies in (``voxels``). A frame's
matches are solved jointly. What no object explains starts a tentative one, public (with an ID) once it was seen
for long and large enough. What one mask covers again and again is one object: the older ID survives.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.config import ObjectsConfig
from s3d_ros.geometry import box_distance, inside_box
from s3d_ros.lifting import LiftedPoints
from s3d_ros.timing import Periodic
from s3d_ros.track import Track
from s3d_ros.types import F32, F64, I32, I64, U16, Instances, ObjectState, SceneObject
from s3d_ros.visibility import EmptySpace
from s3d_ros.voxels import NOBODY, OwnedVoxels

# Part of an object that must be covered by another's mask to count as evidence that both are one.
_MERGE_COVER = 0.7
_MERGE_AFTER_S = 0.3
# One sight's evidence lasts at most so long: a gap in time is no proof of what happened in it.
_LONGEST_STEP_S = 0.2
_ACCUMULATE_S = 0.09
_BOXES_AT_ONCE = 2
_GONE_SHARE = 0.2  # of its voxels left: the rest was seen to be empty
_INSIDE_SHARE, _INSIDE_MARGIN_M = 0.5, 0.06
_TOUCHING_M, _TOUCHING_AFTER_S = 0.03, 2.0
_LABEL_BONUS = 0.1  # label evidence helps a match, it never gates one


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
        self._merge_evidence_s: dict[tuple[int, int], float] = {}
        self._changed: set[int] = set()
        self._removed: list[int] = []

    def set_up(self, up: F64) -> None:
        """Fit all boxes anew along another direction of up (3,)."""
        self.up = up
        for track in self._tracks.values():
            track.box_is_old = True

    def observe(self, points: LiftedPoints, instances: Instances) -> dict[int, int | None]:
        """Match, update and create objects; return instance number -> object ID, None while tentative."""
        voxels = self.voxels.find(points.xyz)
        numbers, index = _compact(points.instance)
        slots, owner_index = _compact(self.voxels.owners_of(voxels))
        counts = np.bincount(index * len(slots) + owner_index, minlength=len(numbers) * len(slots)).reshape(
            len(numbers), len(slots)
        )  # pixels of instance i that object k owns
        large = counts.sum(axis=1) * points.pixel_area >= self.config.min_instance_pixels
        rows = np.flatnonzero((numbers != NOBODY) & large)
        columns = np.flatnonzero(slots != NOBODY)
        names = dict(zip(instances.numbers, zip(instances.labels, instances.scores, strict=True), strict=True))

        row_track = self._match(counts, rows, columns, numbers, slots, names)
        self._match_by_box(points, index, rows, numbers, names, row_track)
        lookup = np.full(len(numbers), NOBODY, np.int32)
        for row in rows.tolist():
            track = row_track.get(row)
            if track is None:
                track = row_track[row] = self._new_track(points.stamp_ns)
            lookup[row] = track.slot
            label, score = names.get(int(numbers[row]), ("", 0.0))
            track.see(points, int(counts[row].sum() * points.pixel_area), label, score)
            self._confirm(track)
        self._accumulate(points, lookup[index], voxels)
        self._weigh_merges(counts, rows, columns, slots, row_track, points.stamp_ns)
        self._note_apart(row_track)
        for track in row_track.values():
            track.last_seen_ns = points.stamp_ns
        return {int(numbers[row]): self._resolve(track.id) if track.id else None for row, track in row_track.items()}

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

    def _match(
        self,
        counts: I64,
        rows: I64,
        columns: I64,
        numbers: U16,
        slots: I32,
        names: dict[int, tuple[str, float]],
    ) -> dict[int, Track]:
        """Assign instances (rows) to objects (columns), one to one; return row -> track."""
        if not len(rows) or not len(columns):
            return {}
        overlap = counts[np.ix_(rows, columns)].astype(np.float64)
        of_object = overlap / counts[:, columns].sum(axis=0)[None, :]
        of_instance = overlap / counts[rows].sum(axis=1)[:, None]
        possible = (np.maximum(of_object, of_instance) >= self.config.match_overlap) & (overlap >= 3)
        score = (of_object + of_instance) / 2
        for r, row in enumerate(rows):
            label = names.get(int(numbers[row]), ("", 0.0))[0]
            for c in np.flatnonzero(possible[r]):
                if label and self._tracks[int(slots[columns[c]])].label == label:
                    score[r, c] += _LABEL_BONUS
        score[~possible] = 0
        r, c = linear_sum_assignment(-score)
        return {int(rows[i]): self._tracks[int(slots[columns[j]])] for i, j in zip(r, c, strict=True) if possible[i, j]}

    def _match_by_box(
        self,
        points: LiftedPoints,
        index: I64,
        rows: I64,
        numbers: U16,
        names: dict[int, tuple[str, float]],
        row_track: dict[int, Track],
    ) -> None:
        """Match what no overlap explains to an object whose box holds it: its other side, seen for the first time."""
        free = [r for r in rows.tolist() if r not in row_track]
        if not free:
            return
        taken = {t.slot for t in row_track.values()}
        for row in free:
            label = names.get(int(numbers[row]), ("", 0.0))[0]
            mine = points.xyz[index == row]
            middle = np.median(mine, axis=0)
            best, best_share = None, _INSIDE_SHARE
            for track in self._tracks.values():
                if track.slot in taken or not label or track.label != label or not track.may_hold(middle):
                    continue
                assert track.box is not None
                share = float(inside_box(mine, track.box, _INSIDE_MARGIN_M).mean())
                if share >= best_share:
                    best, best_share = track, share
            if best is not None:
                row_track[row] = best
                taken.add(best.slot)

    def _accumulate(self, points: LiftedPoints, owners: I32, voxels: I64) -> None:
        """Give the points of matched instances to their objects; not at every frame of a fast camera."""
        mine = owners != NOBODY
        newborn = any(not t.has_voxels for t in (self._tracks[s] for s in np.unique(owners[mine]).tolist()))
        if not mine.any() or not (self._accumulating.due(points.stamp_ns) or newborn):
            return
        voxels, new_owners = self.voxels.claim(points.xyz[mine], owners[mine], voxels[mine])
        for slot in np.unique(new_owners).tolist():
            self._tracks[slot].add_voxels(voxels[new_owners == slot])

    def _weigh_merges(
        self,
        counts: I64,
        rows: I64,
        columns: I64,
        slots: I32,
        row_track: dict[int, Track],
        now_ns: int,
    ) -> None:
        """Collect evidence that two objects are one: the mask of one covers what is visible of the other."""
        matched = {t.slot for t in row_track.values()}
        visible = counts[:, columns].sum(axis=0)
        for row in rows.tolist():
            track = row_track[row]
            step_s = float(np.clip((now_ns - track.last_seen_ns) / 1e9, 0, _LONGEST_STEP_S))
            for c in np.flatnonzero(counts[row, columns] >= _MERGE_COVER * visible):
                other = self._tracks.get(int(slots[columns[c]]))
                if other is None or other is track or visible[c] < 3:
                    continue
                pair = (min(track.slot, other.slot), max(track.slot, other.slot))
                sign = -2.0 if other.slot in matched else 1.0  # two masks at once: two things
                total = self._merge_evidence_s.get(pair, 0.0) + sign * step_s
                self._merge_evidence_s[pair] = max(total, -1.0)
                # What is hidden says nothing: most of the smaller one must have been looked at.
                share = visible[c] / max(len(self._voxels_of(other)), 1)
                if total >= _MERGE_AFTER_S and (share > 0.3 or other.pixels < track.pixels):
                    self._merge(track, other, row_track)

    def _note_apart(self, row_track: dict[int, Track]) -> None:
        """Two masks of one frame are two things."""
        by_label: dict[str, list[Track]] = {}
        for track in row_track.values():
            by_label.setdefault(track.label, []).append(track)
        for group in by_label.values():
            if len(group) > 1:
                slots = {t.slot for t in group}
                for track in group:
                    track.apart_from |= slots

    def _merge_touching(self, track: Track, now_ns: int) -> None:
        """Merge with what has the same label and touches, if both were never seen at once: sides of one thing."""
        if not track.label or track.box is None or now_ns - track.first_sight_ns < _TOUCHING_AFTER_S * 1e9:
            return
        for other in list(self._tracks.values()):
            if (
                other.label != track.label
                or other.slot in track.apart_from
                or other is track
                or other.box is None
                or not other.may_hold(track.box.center, float(np.linalg.norm(track.box.size)) / 2)
                or now_ns - other.first_sight_ns < _TOUCHING_AFTER_S * 1e9
            ):
                continue
            if box_distance(track.box, other.box)[0] < _TOUCHING_M:
                self._merge(track, other, {})
                if track.slot not in self._tracks:
                    return

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
        for pair in [p for p in self._merge_evidence_s if gone.slot in p]:
            del self._merge_evidence_s[pair]

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
        track.state = ObjectState.GONE
        if track.id:
            self._removed.append(track.id)

    def _voxels_of(self, track: Track) -> I64:
        return track.own_voxels(self.voxels)

    def _resolve(self, object_id: int) -> int:
        return self.merged.get(object_id, object_id)


def _compact(values: I32) -> tuple[I32, I64]:
    """Return the sorted distinct values and each value's index in them: ``np.unique`` without sorting."""
    present = np.flatnonzero(np.bincount(values))
    table = np.zeros(int(values.max(initial=0)) + 1, np.int64)
    table[present] = np.arange(len(present))
    return present, table[values]
