"""All objects by slot, tentative and confirmed, and what they own: IDs are given, merged and retired here alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from s3d_ros.evidence import Pairs
from s3d_ros.track import Track
from s3d_ros.types import I32, I64, ObjectState
from s3d_ros.voxels import OwnedVoxels


class Tracks:
    """The objects of a map. ``merged``: retired public ID -> the ID that stands for it, for ever."""

    def __init__(self, voxel_m: float) -> None:
        self.voxels = OwnedVoxels(voxel_m)
        self.pairs = Pairs()
        self.merged: dict[int, int] = {}
        self._by_slot: dict[int, Track] = {}  # the slot is the owner's number in the voxels
        self._next_slot = 1
        self._next_id = 1
        self._changed: set[int] = set()
        self._removed: list[int] = []

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
        self._by_slot[track.slot] = track
        self._next_slot += 1
        return track

    def confirm(self, track: Track) -> None:
        """Give an object its ID."""
        track.id = self._next_id
        track.box_is_old, track.box_ns = True, 0
        self._next_id += 1

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
        del self._by_slot[gone.slot]
        self.pairs.inherit(keep.slot, gone.slot)
        return keep, gone

    def take_up(self, track: Track, gone: Track, state: ObjectState) -> None:
        """Let an object that was dropped live on in one that turned out to be it: its older ID stands for both."""
        new, old = track.id, gone.id
        gone.id, track.id, track.state = new, old, state
        track.absorb(gone, np.zeros(0, np.int64))
        self.merged = {a: old if b == new else b for a, b in self.merged.items()} | {new: old}
        self._removed.append(new)
        self._changed.add(track.slot)

    def hide(self, track: Track) -> None:
        """Take its ID from an object that is to be public no longer; the ID is told as removed."""
        self._removed.append(track.id)
        track.id, track.state = 0, ObjectState.TENTATIVE

    def drop(self, track: Track) -> None:
        """Forget an object: it is gone, or never was."""
        self.voxels.release(self.voxels_of(track))
        del self._by_slot[track.slot]
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

    def resolve(self, object_id: int) -> int:
        """Return the ID that stands for an ID now."""
        return self.merged.get(object_id, object_id)

    def public_ids(self, slots: I32) -> I32:
        """Return the public ID of each slot (N,), 0 where there is none."""
        ids = [t.id if (t := self._by_slot.get(int(s))) is not None and t.public else 0 for s in slots]
        return np.asarray(ids, np.int32)
