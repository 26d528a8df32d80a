"""Which object owns which small piece of surface: a hash of voxels, looked up by point.

The look-up is at once the visibility test of association: the pixels of a frame whose voxel belongs to object k are
what can be seen of k now, by construction, however large the map is and whatever hides the rest.
"""

from __future__ import annotations

import numpy as np

from s3d_ros.numbering import Numbering
from s3d_ros.state import State
from s3d_ros.tiles import block_keys
from s3d_ros.types import F32, F64, I32, I64

NOBODY = 0
_ARRAYS = ("owner", "votes", "_sums", "_sights")
MOST_VOTES = 8.0  # so that an error that lasted for seconds is outvoted in as many


class OwnedVoxels:
    """Voxels with an owner (object slot, 0 nobody), votes for that owner, and the mean of the points seen in them.

    What nobody owns is as if it had never been seen: ``give_back`` frees its number for another voxel.
    """

    def __init__(self, voxel_m: float, capacity: int = 1 << 16) -> None:
        self.voxel_m = voxel_m
        self._numbers = Numbering(capacity)
        self.owner = np.zeros(capacity, np.int32)
        self.votes = np.zeros(capacity, np.float32)
        self._sums = np.zeros((capacity, 4), np.float64)  # x, y, z, number of points
        self._sights = np.zeros((capacity, 2), np.float32)  # for the owner, against it
        self._released: list[I64] = []  # to be given back, where nobody took them since

    @property
    def size_bytes(self) -> int:
        """Of the voxels in use."""
        return len(self) * (12 + sum(values.nbytes // len(values) for values in self._arrays().values()))

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, points: F32) -> I64:
        """Return the voxel of each point (N, 3), (N,), -1 where there is none yet."""
        return self._numbers.find(self._keys(points))

    def owners(self, points: F32) -> I32:
        """Return the owner of each point (N, 3), (N,), NOBODY where there is none."""
        return self.owners_of(self.find(points))

    def owners_of(self, voxels: I64) -> I32:
        """Return the owner of each voxel (N,), NOBODY for -1."""
        return np.where(voxels >= 0, self.owner[voxels], NOBODY).astype(np.int32)

    def claim(self, points: F32, owners: I32, voxels: I64 | None = None) -> tuple[I64, I32]:
        """Add points (N, 3) with their owners (N,); return voxels that changed hands (V,) and their new owners (V,).

        A voxel keeps its owner until the votes for others outnumber its own (Boyer-Moore majority vote).
        voxels: what ``find`` said of these points, where that is known.
        """
        voxels = self._activate(points, self.find(points) if voxels is None else voxels)
        order = np.argsort(voxels)
        ranked = voxels[order]
        first = np.flatnonzero(np.diff(ranked, prepend=-1))
        unique = ranked[first]
        claimant = owners[order][first]
        homogeneous = np.concatenate([points, np.ones((len(points), 1), points.dtype)], axis=1)
        sums = np.add.reduceat(homogeneous[order].astype(np.float64), first, axis=0)

        same = self.owner[unique] == claimant
        self.votes[unique] = np.minimum(self.votes[unique] + np.where(same, 1.0, -1.0), MOST_VOTES)
        flips = ~same & (self.votes[unique] < 0)
        taken = unique[flips]
        self.owner[taken], self.votes[taken] = claimant[flips], 1.0
        self._sums[taken], self._sights[taken] = 0.0, 0.0
        mine = same | flips
        self._sights[unique, np.where(mine, 0, 1)] += 1
        self._sums[unique[mine]] += sums[mine]
        return taken, claimant[flips]

    def positions(self, voxels: I64) -> F64:
        """Return the mean of the points seen in each voxel, (N, 3)."""
        sums = self._sums[voxels]
        return np.asarray(sums[:, :3] / np.maximum(sums[:, 3:], 1.0))

    def counts(self, voxels: I64) -> F64:
        """Return how many points were seen in each voxel, (N,)."""
        return np.asarray(self._sums[voxels, 3])

    def sights(self, voxels: I64) -> F32:
        """Return how often each voxel was seen to be its owner's, (N,)."""
        return np.asarray(self._sights[voxels, 0])

    def support(self, voxels: I64) -> F32:
        """Return which share of the sights of each voxel was for its owner, (N,)."""
        sights = self._sights[voxels]
        return np.asarray(sights[:, 0] / np.maximum(sights.sum(axis=1), 1))

    def fade(self, voxels: I64) -> I64:
        """Take half the votes of voxels that were seen to be empty; return those that nobody owns any longer."""
        self.votes[voxels] = np.minimum(self.votes[voxels], 8.0) / 2
        lost = voxels[self.votes[voxels] < 1.0]
        self.release(lost)
        return lost

    def doubt(self, voxels: I64, votes: float) -> I64:
        """Vote against the owners of voxels (N,) that were seen to be something else; return those they lost."""
        doubted = np.unique(voxels[voxels >= 0])
        self.votes[doubted] -= np.float32(votes)
        self._sights[doubted, 1] += 1
        lost = doubted[self.votes[doubted] < 0]
        self.release(lost)
        return lost

    def release(self, voxels: I64) -> None:
        """Make voxels belong to nobody. Their numbers hold until ``give_back``."""
        self._released.append(voxels[self.owner[voxels] != NOBODY])
        self.owner[voxels], self.votes[voxels] = NOBODY, 0.0
        self._sums[voxels], self._sights[voxels] = 0.0, 0.0

    def give_back(self) -> int:
        """Free the numbers of voxels that belong to nobody; return how many.

        For when no look-up of a frame's points is in use any longer. Lists of what an object owned may hold numbers
        that went to other voxels: who owns a voxel is asked again in any case.
        """
        if not self._released:
            return 0
        voxels = np.unique(np.concatenate(self._released))
        voxels = voxels[self.owner[voxels] == NOBODY]
        self._released = []
        self._numbers.remove(voxels)
        return len(voxels)

    def state(self) -> State:
        """Return integer coordinates (V, 3), owners, votes, sums and sights of all voxels by their numbers.

        Rows that nobody owns mean nothing: their numbers are free.
        """
        return {"places": self._numbers.keys} | {
            name.lstrip("_"): values[: self._numbers.end] for name, values in self._arrays().items()
        }

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned; the voxels keep their numbers."""
        self.__init__(self.voxel_m, max(len(state["places"]), len(self.owner)))  # type: ignore[misc]
        is_owned = np.asarray(state["owner"]) != NOBODY
        self._numbers.restore(np.asarray(state["places"], np.int32), is_owned)
        for name, values in self._arrays().items():
            values[np.flatnonzero(is_owned)] = state[name.lstrip("_")][is_owned]

    def _keys(self, points: F32) -> I32:
        return np.floor(points * np.float32(1 / self.voxel_m)).astype(np.int32)

    def _activate(self, points: F32, voxels: I64) -> I64:
        """Make the voxels that are -1; return the voxel of each point."""
        absent = np.flatnonzero(voxels < 0)
        if not len(absent):
            return voxels
        # Which of equal keys Open3D takes differs from run to run, and so would the numbers of the voxels.
        keys = self._keys(points[absent])
        keys = np.ascontiguousarray(keys[np.sort(np.unique(block_keys(keys), return_index=True)[1])])
        self._numbers.add(keys)
        self._grow()
        voxels = voxels.copy()
        voxels[absent] = self.find(points[absent])
        return voxels

    def _grow(self) -> None:
        if (end := self._numbers.end) > len(self.owner):
            more = max(end, 2 * len(self.owner)) - len(self.owner)
            for name, values in self._arrays().items():
                setattr(self, name, np.concatenate([values, np.zeros((more, *values.shape[1:]), values.dtype)]))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _ARRAYS}
