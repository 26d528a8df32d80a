"""Objects with IDs from the 2D instances of single frames.

An instance is matched by how much of what is visible of an object it covers, and the other way round. Both counts
come from one look-up: every pixel's point is asked which object owns the voxel it lies in (``seen``). A frame's
matches are solved jointly (``association``). What no object explains starts a tentative one, public (with an ID) once
it was seen for long and large enough. What one mask covers again and again is one object (``merging``); what shows
several masks is several (``splitting``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s3d_ros.association import assign, fragments
from s3d_ros.bearings import by_bearing, by_place, far_ahead, sightlines
from s3d_ros.config import ObjectsConfig
from s3d_ros.covering import bonus
from s3d_ros.lifting import LiftedPoints
from s3d_ros.looks import BINS, bins_of
from s3d_ros.merging import merge_touching, note_apart, weigh_merges
from s3d_ros.moving import Movements
from s3d_ros.passing import is_passing, labels_of
from s3d_ros.rematch import by_little, by_new_side, by_sight
from s3d_ros.seen import Seen, compact, look_up
from s3d_ros.splitting import split
from s3d_ros.state import State
from s3d_ros.timing import Periodic
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F32, F64, I32, Frame, Instances, ObjectState, SceneObject
from s3d_ros.vacancy import look, unlike
from s3d_ros.visibility import EmptySpace
from s3d_ros.voxels import NOBODY

_DOUBT = 1.0  # votes
_ACCUMULATE_S = 0.09
_BOXES_AT_ONCE = 2
_FLAT_PERIOD_S = 0.15
_SURE_SHARE = 0.6  # of the labels that say so
_FAR_LATER = 5.0
_NAMED_SOONER = 0.3  # of the time before it is public
_KNOWN_WHOLE_S = 0.5  # of one mask on all of an object, from one side: there it has no more parts
_FAR_STALE = 6  # times as long as any tentative object is one known by bearing alone


class ObjectMap:
    """All objects, tentative and confirmed. ``up`` (3,) is the direction that boxes stand in."""

    def __init__(self, config: ObjectsConfig, up: F64) -> None:
        self.config = config
        self.up = up
        self.reset()

    def reset(self) -> None:
        """Forget everything. IDs start anew."""
        self.tracks = Tracks(self.config.voxel_size_m, self.up)
        self._accumulating = Periodic(_ACCUMULATE_S)
        self.movements = Movements(self.config.gone_memory_s)
        self._transient = labels_of(self.config.transient_labels)
        self._looked_ns = 0
        self._gone: list[SceneObject] = []
        self.passing: list[int] = []  # numbers of the instances of the last frame that only pass through

    def state(self) -> State:
        """Return everything but ``up``."""
        return {
            **self.tracks.state(),
            "movements": self.movements.state(),
            "accumulated_ns": self._accumulating.last_ns,
            "looked_ns": self._looked_ns,
        }

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        self.reset()
        self.tracks.restore(state)
        self.movements.restore(state["movements"])
        self._accumulating.last_ns, self._looked_ns = state["accumulated_ns"], state["looked_ns"]

    @property
    def merged(self) -> dict[int, int]:
        """Retired public ID -> the ID that stands for it."""
        return self.tracks.merged

    def set_up(self, up: F64) -> None:
        """Fit all boxes anew along another direction of up (3,)."""
        self.up = up
        self.tracks.set_up(up)

    def observe(self, frame: Frame, points: LiftedPoints, instances: Instances) -> dict[int, int | None]:
        """Match, update and create objects; return instance number -> object ID, None while tentative."""
        seen = look_up(points, instances, self.tracks, self.config.min_instance_pixels)
        matched = self._match(frame, instances, seen)
        steps_s = {track.slot: track.step_s(points.stamp_ns) for track in matched.values()}
        split(self.tracks, seen, matched)
        self._count_sights(seen, matched)
        self._note_looks(frame, seen, matched)
        self._leave_out_passing(seen, matched)
        self._accumulate(seen, matched)
        weigh_merges(self.tracks, seen, matched, steps_s)
        note_apart(self.tracks, seen, matched, steps_s)
        self._look_at_flat(frame, matched)
        for track in matched.values():
            track.last_seen_ns = points.stamp_ns
        ids = {int(seen.numbers[row]): track for row, track in matched.items()}
        missing = [n for n in instances.numbers if n not in ids]
        if missing:
            named = dict(zip(instances.numbers, instances.labels, strict=True))
            names = {n: named[n] for n in missing}
            ids |= by_sight(instances.image, names, self.tracks, list(matched.values()), frame)
            for track in ids.values():
                track.last_seen_ns = points.stamp_ns
            ids |= by_little(seen, [n for n in missing if n not in ids], list(ids.values()))
            ids |= self._follow_far(frame, instances, seen, [n for n in missing if n not in ids], list(ids.values()))
        return {number: self.tracks.resolve(track.id) if track.id else None for number, track in ids.items()}

    def _follow_far(
        self, frame: Frame, instances: Instances, seen: Seen, numbers: list[int], taken: list[Track]
    ) -> dict[int, Track]:
        """Follow by bearing what has no depth; return number -> object."""
        area, now_ns = seen.points.pixel_area, seen.points.stamp_ns
        depth = {int(n): int(s * area) for n, s in zip(seen.numbers, seen.overlaps.sizes, strict=True)}
        lines = sightlines(frame, instances, numbers, depth)
        left_out = {t.slot for t in taken}
        about = [*self.tracks.unsure(), *far_ahead(self.tracks, lines, seen.points.camera)]
        found = by_bearing(lines, [t for t in about if t.slot not in left_out], seen.points.camera, now_ns)
        for line in lines:
            if line.number not in found:
                found[line.number] = self.tracks.new(now_ns)
            track = found[line.number]
            if track.has_voxels:
                continue
            track.see(seen.points, line.pixels, line.label, line.score)
            self.tracks.follow(track, seen.points.camera, line.direction, line.radius)
            track.last_seen_ns, track.came_from_far = now_ns, True
            self._confirm_if_due(track, line.label)
        return found

    def _match(self, frame: Frame, instances: Instances, seen: Seen) -> dict[int, Track]:
        """Return row -> object: by overlap, jointly; then by place; what is left begins a new object."""
        joint = assign(seen.overlaps, bonus(seen, self.tracks), self.config.match_overlap)
        joint |= fragments(seen.overlaps, joint)
        matched = {row: seen.tracks[column] for row, column in joint.items()}
        for row in np.flatnonzero(seen.large).tolist():
            if row in matched:
                continue
            found = by_new_side(frame, instances.image, seen, row, self.tracks, matched.values())
            if found is not None:
                matched[row] = found
        new = {row: seen.points_of(row) for row in np.flatnonzero(seen.large).tolist() if row not in matched}
        matched |= by_place(new, seen.labels, self.tracks.unsure(), seen.points.stamp_ns)
        for row in np.flatnonzero(seen.large).tolist():
            if row not in matched:
                matched[row] = self._sibling(seen, row, matched) or self.tracks.new(seen.points.stamp_ns)
        return matched

    @staticmethod
    def _sibling(seen: Seen, row: int, matched: dict[int, Track]) -> Track | None:
        """Return the object that a new mask is another part of: it goes on where that one's mask ends."""
        camera = seen.points.camera
        parts = [(r, t) for r, t in matched.items() if seen.goes_on(row, r)]
        found = [r for r, t in parts if t.whole.of(t.view_from(camera)) < _KNOWN_WHOLE_S]
        return matched[max(found, key=lambda r: int(seen.overlaps.sizes[r]))] if found else None

    def _count_sights(self, seen: Seen, matched: dict[int, Track]) -> None:
        """One sight of each object, under the label of its largest mask."""
        area = seen.points.pixel_area
        counted: set[int] = set()
        for row in sorted(matched, key=lambda r: -int(seen.overlaps.sizes[r])):
            track = matched[row]
            if track.slot in counted or not seen.large[row]:
                continue
            counted.add(track.slot)
            pixels = sum(int(seen.overlaps.sizes[r]) for r in matched if matched[r] is track) * area
            track.see(seen.points, int(pixels), seen.labels[row], seen.scores[row])
            self._confirm_if_due(track, seen.labels[row])

    def _confirm_if_due(self, track: Track, label: str) -> None:
        """Give an object its ID once it was seen for long and large enough: sooner what a detector has a name for."""
        after_s = self.config.confirm_s * (_FAR_LATER if track.bearing is not None else _NAMED_SOONER if label else 1.0)
        long_enough = track.last_sight_ns - track.first_sight_ns >= after_s * 1e9
        if is_passing(track.label, self._transient):
            return
        if not track.id and long_enough and track.pixels >= self.config.confirm_pixels:
            self.tracks.confirm(track)

    @staticmethod
    def _note_looks(frame: Frame, seen: Seen, matched: dict[int, Track]) -> None:
        """Count the colours under each mask, every sight alike."""
        u, v = seen.points.pixels.T
        bins, under = bins_of(frame.color[v, u]), seen.row_of_point >= 0
        counts = np.bincount(seen.row_of_point[under] * BINS + bins[under], minlength=len(seen.numbers) * BINS)
        counts = counts.reshape(-1, BINS)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for row, track in matched.items():
            if seen.large[row]:
                track.looks = track.looks + shares[row]

    def _look_at_flat(self, frame: Frame, matched: dict[int, Track]) -> None:
        """Let go of flat things whose place looks different now."""
        since_s = (frame.stamp_ns - self._looked_ns) / 1e9
        if 0 <= since_s < _FLAT_PERIOD_S:
            return
        self._looked_ns = frame.stamp_ns
        if since_s < 0:  # the clock went back: a bag that loops
            since_s = _FLAT_PERIOD_S
        for track in unlike(frame, matched.values(), self.tracks, self.up, min(since_s, 2 * _FLAT_PERIOD_S)):
            self.tracks.drop(track)
            self._tell_gone(track, frame.stamp_ns)

    def _leave_out_passing(self, seen: Seen, matched: dict[int, Track]) -> None:
        """Note which instances only pass through; what was public before its label was known is public no longer."""
        self.passing = [
            int(seen.numbers[row]) for row, track in matched.items() if is_passing(track.label, self._transient)
        ]
        for track in matched.values():
            label, share = next(iter(track.label_scores().items()), ("", 0.0))
            if track.id and share >= _SURE_SHARE and is_passing(label, self._transient):
                self.tracks.hide(track)

    def _accumulate(self, seen: Seen, matched: dict[int, Track]) -> None:
        """Let points vote for the owners of their voxels; not at every frame of a fast camera.

        Points under no mask vote against an object that has its mask elsewhere: a ragged outline reaches over what
        is behind, from here; from there it doesn't. What lies under a mask that covers two objects votes for neither.
        """
        points, voxels = seen.points, self.tracks.voxels
        owner_of_row = np.full(len(seen.numbers) + 1, NOBODY, np.int32)  # the last one: no instance
        for row, track in matched.items():
            if seen.large[row]:
                owner_of_row[row] = track.slot
        claims = owner_of_row[seen.row_of_point]
        newborn = any(not t.has_voxels for t in matched.values())
        if not claims.any() or not (self._accumulating.due(points.stamp_ns) or newborn):
            return
        for row in matched:
            if self._covers_another(seen, row, matched):
                claims[seen.row_of_point == row] = NOBODY
        owners = voxels.owners_of(seen.voxel_of_point)
        shown = np.isin(owners, [t.slot for t in matched.values()]) & (owners != NOBODY)
        bare = (seen.row_of_point < 0) & shown
        voxels.doubt(seen.voxel_of_point[bare], _DOUBT)
        mine = claims != NOBODY
        taken, new_owners = voxels.claim(points.xyz[mine], claims[mine], seen.voxel_of_point[mine])
        for slot in np.unique(new_owners).tolist():
            self.tracks[slot].add_voxels(taken[new_owners == slot])

    @staticmethod
    def _covers_another(seen: Seen, row: int, matched: dict[int, Track]) -> bool:
        """Whether a mask also covers an object that is known to be another and has no mask of its own: merged masks."""
        others = [seen.tracks[c] for c in seen.swallowed_by(row, matched[row])]
        return any(o.id and o is not matched[row] and o not in matched.values() for o in others)

    def look(self, empty: EmptySpace) -> F32:
        """Let go of what is seen to be empty; return points (N, 3) of what is gone that nobody saw through.

        An object is gone when its place is seen empty. It is remembered, and told of once.
        """
        unseen = [np.zeros((0, 3), np.float32)]
        for track, points in look(self.tracks, empty):
            unseen.append(points)
            self._tell_gone(track, empty.frame.stamp_ns)
        return np.concatenate(unseen)

    def _tell_gone(self, track: Track, now_ns: int) -> None:
        if track.public:
            self.movements.remember(track, now_ns)
            self._gone.append(replace(track.snapshot(), state=ObjectState.GONE))

    def refresh(self, now_ns: int, everything: bool = False) -> tuple[tuple[SceneObject, ...], tuple[int, ...]]:
        """Fit the boxes of changed objects anew, drop stale tentative ones; return (changed, removed IDs).

        What is gone is among both: once, with its state. What turned out to be elsewhere at once was never gone.
        """
        stale_ns = int(self.config.tentative_s * 1e9)
        for track in self.tracks.unsure():
            stale = abs(now_ns - track.last_seen_ns) > (stale_ns if track.bearing is None else _FAR_STALE * stale_ns)
            if stale:
                self.tracks.drop(track)
        if everything:
            while due := self._due(now_ns, everything):  # again: what was merged on the way is due once more
                for track in due:
                    self._fit(track, now_ns)
        else:
            for track in self._due(now_ns, everything)[:_BOXES_AT_ONCE]:
                self._fit(track, now_ns)
        self.movements.step(self.tracks, now_ns)
        self.tracks.voxels.give_back()
        changed, removed = self.tracks.take_news()
        gone, self._gone = [o for o in self._gone if o.id in removed], []
        return (*(t.snapshot() for t in changed), *gone), tuple(removed)

    def fit_one(self, now_ns: int) -> bool:
        """Fit one box that is old anew, however lately it was fitted; return whether there was any."""
        due = self._due(now_ns, True)
        for track in due[:1]:
            self._fit(track, now_ns)
        return bool(due)

    def _due(self, now_ns: int, everything: bool) -> list[Track]:
        """Return the objects whose boxes are to be fitted, that which waits longest first."""
        period_ns = int(self.config.box_period_s * 1e9)
        due = [
            t
            for t in self.tracks.with_old_box()
            if t.has_voxels and (everything or abs(now_ns - t.box_ns) >= period_ns or t.box is None)
        ]
        return sorted(due, key=lambda t: t.box_ns)

    def _fit(self, track: Track, now_ns: int) -> None:
        if track not in self.tracks:  # merged meanwhile
            return
        if self.tracks.fit_box(track, self.up, now_ns):
            merge_touching(self.tracks, track, now_ns)
            self.tracks.note_change(track)

    def snapshot(self) -> tuple[SceneObject, ...]:
        """Return all public objects by ID."""
        return tuple(sorted((t.snapshot() for t in self.tracks if t.public), key=lambda o: o.id))

    def ids_at(self, points: F32) -> I32:
        """Return the public ID of the object that owns each point (N, 3), (N,), 0 where there is none."""
        slots, index = compact(self.tracks.voxels.owners(points))
        return np.asarray(self.tracks.public_ids(slots)[index])
