"""All objects by slot, tentative and confirmed, and what they own: IDs are given, merged and retired here alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from s3d_ros.evidence import Pairs
from s3d_ros.geometry import level_rotation
from s3d_ros.places import Places
from s3d_ros.sightline_depth import SightlineDepth
from s3d_ros.state import State, put, taken
from s3d_ros.track import Track
from s3d_ros.types import F32, F64, I32, I64, ObjectState
from s3d_ros.voxels import OwnedVoxels

_REMEMBERED = ("_next_slot", "_next_id")


class Tracks:
    """The objects of a map. ``merged``: retired public ID -> the ID that stands for it, for ever."""

    def __init__(self, voxel_m: float, up: ArrayLike = (0, 0, 1)) -> None:
        self.voxels = OwnedVoxels(voxel_m)
        self.pairs = Pairs()
        self.merged: dict[int, int] = {}
        self.places = Places()
        self._by_slot: dict[int, Track] = {}  # the slot is the owner's number in the voxels
        self._unsure: set[int] = set()  # slots of all that have no ID or no depth, and of some that had not
        self._old_boxes: set[int] = set()  # slots of all whose box is old, and of some whose was
        self._next_slot = 1
        self._next_id = 1
        self._changed: set[int] = set()
        self._removed: list[int] = []
        self.set_up(up)

    def __iter__(self) -> Iterator[Track]:
        return iter(list(self._by_slot.values()))

    def __len__(self) -> int:
        return len(self._by_slot)

    def __contains__(self, track: Track) -> bool:
        return track.slot in self._by_slot

    def __getitem__(self, slot: int) -> Track:
        return self._by_slot[slot]

    def new(self, stamp_ns: int) -> Track:
        """Begin a tentative object."""
        track = Track(self._next_slot, stamp_ns)
        self._next_slot += 1
        self._take_in(track)
        return track

    def set_up(self, up: ArrayLike) -> None:
        """Have views told apart round about another direction of up (3,), and all boxes fitted anew."""
        self._level = level_rotation(up)[:2]
        for track in self:
            track.level, track.box_is_old = self._level, True

    def of(self, slots: Iterable[int], without: Collection[Track] = ()) -> list[Track]:
        """Return the objects of these slots, as ``places`` gives them, less some."""
        left_out = {t.slot for t in without}
        return [self._by_slot[s] for s in slots if s not in left_out]

    def unsure(self) -> list[Track]:
        """Return the objects that have no ID, or no depth, as they were begun."""
        found = [t for s in sorted(self._unsure) if (t := self._by_slot.get(s)) is not None and t.is_unsure]
        self._unsure = {t.slot for t in found}
        return found

    def with_old_box(self) -> list[Track]:
        """Return the objects whose box is to be fitted anew, as they were begun."""
        found = [t for s in sorted(self._old_boxes) if (t := self._by_slot.get(s)) is not None and t.box_is_old]
        self._old_boxes.clear()
        self._old_boxes.update(t.slot for t in found)
        return found

    def fit_box(self, track: Track, up: F64, now_ns: int) -> bool:
        """Fit an object's box to what was seen of it; return whether there is one."""
        if not track.fit_box(self.voxels, self.voxels_of(track), up, now_ns):
            return False
        assert track.box is not None
        self.places.put(track.slot, track.box)
        return True

    def _take_in(self, track: Track) -> None:
        self._by_slot[track.slot] = track
        track.level, track.old_boxes = self._level, self._old_boxes
        track.box_is_old = track.box_is_old  # noted
        if track.is_unsure:
            self._unsure.add(track.slot)
        if track.box is not None:
            self.places.put(track.slot, track.box)

    def _let_go(self, track: Track) -> None:
        del self._by_slot[track.slot]
        self.places.forget(track.slot)

    def confirm(self, track: Track) -> None:
        """Give an object its ID."""
        track.id = self.take_id()
        track.box_is_old, track.box_ns = True, 0

    def take_id(self) -> int:
        """Return an ID that was never given."""
        self._next_id += 1
        return self._next_id - 1

    def merge(self, a: Track, b: Track) -> tuple[Track, Track]:
        """Make two objects one; return (the older one, which stays, and the other)."""
        keep, gone = (a, b) if a.seniority <= b.seniority else (b, a)
        voxels = self.voxels_of(gone)
        self.voxels.owner[voxels] = keep.slot
        keep.absorb(gone, voxels)
        if gone.id:
            self.merged = {old: keep.id if new == gone.id else new for old, new in self.merged.items()}
            self.merged[gone.id] = keep.id
            self._removed.append(gone.id)
            self._changed.add(keep.slot)
        self._let_go(gone)
        self.pairs.inherit(keep.slot, gone.slot)
        return keep, gone

    def take_up(self, track: Track, gone: Track, state: ObjectState) -> None:
        """Let an object that was dropped live on in one that turned out to be it: its older ID stands for both."""
        new, old = track.id, gone.id
        gone.id, track.id, track.state = new, old, state
        track.absorb(gone, np.zeros(0, np.int64))
        self.merged = {a: old if b == new else b for a, b in self.merged.items()} | {new: old}
        self._removed = [*(i for i in self._removed if i != old), new]  # it may have been dropped just now
        self._changed.add(track.slot)

    def hide(self, track: Track) -> None:
        """Take its ID from an object that is to be public no longer; the ID is told as removed."""
        self._removed.append(track.id)
        track.id, track.state = 0, ObjectState.TENTATIVE
        self._unsure.add(track.slot)

    def follow(self, track: Track, camera: F64, direction: F64, radius: float) -> None:
        """Note along what sightline an object is seen that has no depth: see SightlineDepth."""
        if track.bearing is None:
            track.bearing = SightlineDepth(camera, direction, radius)
        else:
            track.bearing.see(camera, direction, radius)
        self._unsure.add(track.slot)

    def drop(self, track: Track) -> None:
        """Forget an object: it is gone, or never was."""
        self.voxels.release(self.voxels_of(track))
        self._let_go(track)
        self.pairs.forget(track.slot)
        if track.id:
            self._removed.append(track.id)

    def note_change(self, track: Track) -> None:
        """Remember to tell of it."""
        if track.id:
            self._changed.add(track.slot)

    def take_news(self) -> tuple[list[Track], list[int]]:
        """Return the public objects that changed, and the IDs that went, since the last call."""
        changed = [self._by_slot[s] for s in sorted(self._changed) if s in self._by_slot and self._by_slot[s].public]
        removed = self._removed
        self._changed, self._removed = set(), []
        return changed, removed

    def voxels_of(self, track: Track) -> I64:
        """Return the voxels that an object owns."""
        return track.own_voxels(self.voxels)

    def state(self) -> State:
        """Return all objects, what they own, and which IDs are given away."""
        return {
            **taken(self, _REMEMBERED),
            "merged": [[old, new] for old, new in self.merged.items()],
            "objects": [track.remembered() for track in self],
            "voxels": self.voxels.state(),
            "pairs": self.pairs.state(),
        }

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned. There is no news to tell of: readers need the full set."""
        put(self, state, _REMEMBERED)
        self.merged = {int(old): int(new) for old, new in state["merged"]}
        self.voxels.restore(state["voxels"])
        self.pairs.restore(state["pairs"])
        owner = state["voxels"]["owner"]  # by number
        order = np.argsort(owner, kind="stable")
        slots = [t["slot"] for t in state["objects"]]
        first, last = (np.searchsorted(owner[order], slots, side) for side in ("left", "right"))
        self._by_slot, self.places, self._unsure = {}, Places(), set()
        self._old_boxes.clear()
        for t, a, b in zip(state["objects"], first.tolist(), last.tolist(), strict=True):
            self._take_in(Track.restored(t, order[a:b]))
        self._changed, self._removed = set(), []

    @property
    def next_id(self) -> int:
        """The ID that the next object gets."""
        return self._next_id

    def count_from(self, next_id: int) -> None:
        """Give IDs from this one on."""
        self._next_id = next_id

    def ids(self) -> set[int]:
        """Return the IDs that objects have, those that stand for others left out."""
        return {t.id for t in self if t.id}

    def adopt(self, track: Track, points: F32) -> None:
        """Take over another map's object, with points (N, 3) of this map that are its surface."""
        track.slot, self._next_slot = self._next_slot, self._next_slot + 1
        self._take_in(track)
        taken, owners = self.voxels.claim(points, np.full(len(points), track.slot, np.int32))
        track.replace_voxels(taken[owners == track.slot])

    def announce(self, before: Tracks) -> None:
        """Have all that is here told as news, and what was in another map, and is not here, as removed."""
        self._changed = {t.slot for t in self if t.id}
        here = self.ids()
        self._removed = [t.id for t in before if t.id and t.id not in here]

    def resolve(self, object_id: int) -> int:
        """Return the ID that stands for an ID now."""
        return self.merged.get(object_id, object_id)

    def public_ids(self, slots: I32) -> I32:
        """Return the public ID of each slot (N,), 0 where there is none."""
        ids = [t.id if (t := self._by_slot.get(int(s))) is not None and t.public else 0 for s in slots]
        return np.asarray(ids, np.int32)
