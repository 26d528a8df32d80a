"""A map from instances that have IDs: voxels that belong to whoever claimed them most often, and boxes around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from s3d_ros.boxes import fit_box
from s3d_ros.lifting import LiftedPoints
from s3d_ros.types import F32, F64, I32, I64, Bools, Instances, SceneObject

_VOXEL_M = 0.03
_EDGE = 4  # voxels along the edge of a block
_FAR = 1 << 20  # blocks from the origin, at most
_MOST_FOR_NOBODY = 3  # a thing that the detector passed over for long must not need as long to be there again
_LEAST_VOXELS = 3
_PIXELS_SURE = 3000  # as confidence grows in ours


class VoteGrid:
    """Voxels with an owner, or none, by majority vote (Boyer and Moore), and the mean of what it claimed there."""

    def __init__(self, voxel_m: float) -> None:
        self.voxel_m = voxel_m
        self._slots: dict[int, int] = {}
        self.owner = np.zeros(0, np.int32)
        self._votes = np.zeros(0, np.int32)
        self._sums = np.zeros((0, 4), np.float32)

    def find(self, points: F32, make: bool = False) -> I64:
        """Return the voxel of each point (N, 3), (N,), -1 where there is none and none is to be made."""
        voxel = np.floor(points * np.float32(1 / self.voxel_m)).astype(np.int64)
        block, inside = voxel // _EDGE + _FAR, voxel % _EDGE
        keys = (block[:, 0] << 42) | (block[:, 1] << 21) | block[:, 2]
        unique, index = np.unique(keys, return_inverse=True)
        if make:
            for key in unique.tolist():
                self._slots.setdefault(key, len(self._slots))
            self._grow(len(self._slots) * _EDGE**3)
        slots = np.array([self._slots.get(key, -1) for key in unique.tolist()], np.int64)[index]
        place = (inside[:, 0] * _EDGE + inside[:, 1]) * _EDGE + inside[:, 2]
        return np.where(slots >= 0, slots * _EDGE**3 + place, -1)

    def claim(self, points: F32, ids: I32) -> None:
        """Take in points (N, 3) with the IDs (N,) that claim them, 0: they are nobody's. One vote a voxel.

        Only in blocks where something was claimed before are votes for nobody counted.
        """
        self.find(points[ids > 0], make=True)
        voxels = self.find(points)
        known = voxels >= 0
        voxels, ids, points = voxels[known], ids[known], points[known]
        if not len(voxels):
            return
        order = np.lexsort((ids, voxels))
        voxels, ids, points = voxels[order], ids[order], points[order]
        first = np.flatnonzero((np.diff(voxels, prepend=-1) != 0) | (np.diff(ids, prepend=-1) != 0))
        count = np.diff(first, append=len(voxels))
        sums = np.add.reduceat(np.column_stack([points, np.ones(len(points), np.float32)]), first, axis=0)
        most = np.lexsort((count, voxels[first]))  # of each voxel, who claims most of it comes last
        last = most[np.diff(voxels[first][most], append=-1) != 0]
        voxel, claimant, sums = voxels[first][last], ids[first][last], sums[last]
        same = self.owner[voxel] == claimant
        self._votes[voxel] += np.where(same, 1, -1)
        taken = ~same & (self._votes[voxel] < 0)
        self.owner[voxel[taken]], self._votes[voxel[taken]], self._sums[voxel[taken]] = claimant[taken], 1, 0
        nobody = voxel[self.owner[voxel] == 0]
        self._votes[nobody] = np.minimum(self._votes[nobody], _MOST_FOR_NOBODY)
        mine = same | taken
        self._sums[voxel[mine]] += sums[mine]

    def owned(self) -> I64:
        """Return all voxels that belong to somebody."""
        return np.flatnonzero(self.owner)

    def means(self, voxels: I64) -> tuple[F64, F64]:
        """Return the mean point of each voxel (N, 3) and how many points there were (N,)."""
        sums = self._sums[voxels].astype(np.float64)
        return sums[:, :3] / np.maximum(sums[:, 3:], 1), sums[:, 3]

    def _grow(self, needed: int) -> None:
        more = max(needed, 2 * len(self.owner)) - len(self.owner)
        if needed > len(self.owner):
            self.owner = np.concatenate([self.owner, np.zeros(more, np.int32)])
            self._votes = np.concatenate([self._votes, np.zeros(more, np.int32)])
            self._sums = np.concatenate([self._sums, np.zeros((more, 4), np.float32)])


class LiftedMap:
    """Collects what was said of each instance; ``merged`` is everywhere {retired ID: the ID that stands for it}."""

    def __init__(self) -> None:
        self._grid = VoteGrid(_VOXEL_M)
        self._labels: dict[int, Counter[str]] = {}
        self._pixels: Counter[int] = Counter()
        self._sights: Counter[int] = Counter()
        self._when: dict[int, tuple[int, int]] = {}

    def add(
        self,
        points: LiftedPoints,
        instances: Instances,
        ids: Mapping[int, int | None],
        merged: Mapping[int, int],
        own: Callable[[F32], Bools],
    ) -> None:
        """Take in one frame: ids are those of the instances' numbers. own: which points (N, 3) of one are its, (N,)."""
        table = np.zeros(max(instances.numbers, default=0) + 1, np.int32)
        for number, label, score in zip(instances.numbers, instances.labels, instances.scores, strict=True):
            i = ids.get(number)
            if i is None:
                continue
            i = merged.get(i, i)
            table[number] = i
            self._labels.setdefault(i, Counter())[label] += score  # type: ignore[assignment]
            self._sights[i] += 1
            self._when[i] = (self._when.get(i, (points.stamp_ns, 0))[0], points.stamp_ns)
        of_point = table[np.minimum(points.instance, len(table) - 1)]
        for n in np.flatnonzero(table).tolist():
            on = np.flatnonzero(points.instance == n)
            of_point[on[~own(points.xyz[on])]] = 0
        mine = of_point > 0
        for i, count in zip(*np.unique(of_point[mine], return_counts=True), strict=True):
            self._pixels[int(i)] += int(count * points.pixel_area)
        told = mine | (points.instance == 0)  # an instance without an ID says nothing
        self._grid.claim(points.xyz[told], of_point[told])

    def ids_at(self, points: F32, merged: Mapping[int, int]) -> I32:
        """Return the ID of the voxel of each point (N, 3), (N,), 0 for none."""
        voxels = self._grid.find(points)
        owner = np.append(self._grid.owner, 0).astype(np.int32)[voxels]  # -1 is the 0 at the end
        return _resolved(owner, merged)

    def objects(
        self, up: F64, merged: Mapping[int, int], least_sights: int, own: Callable[[F32], Bools]
    ) -> tuple[SceneObject, ...]:
        """Return what is in the map at the end: seen ``least_sights`` times or more. up: (3,). own: as above."""
        voxels = self._grid.owned()
        owner = _resolved(self._grid.owner[voxels], merged)
        out = []
        for i in np.unique(owner).tolist():
            mine = voxels[owner == i]
            mine = mine[own(self._grid.means(mine)[0].astype(np.float32))]
            known = [k for k in self._sights if merged.get(k, k) == i]
            sights = sum(self._sights[k] for k in known)
            if len(mine) < _LEAST_VOXELS or sights < least_sights:
                continue
            box = fit_box(*self._grid.means(mine), _VOXEL_M, up)
            scores = sum((self._labels[k] for k in known), Counter())
            total = sum(scores.values()) or 1
            shares = {name: float(v / total) for name, v in scores.most_common()}
            confidence = float(1 - np.exp(-sum(self._pixels[k] for k in known) / _PIXELS_SURE))
            out.append(
                SceneObject(
                    i,
                    next(iter(shares), ""),
                    box,
                    shares,
                    tuple(sorted(k for k, v in merged.items() if v == i)),
                    confidence=confidence,
                    first_seen_ns=min(self._when[k][0] for k in known),
                    last_seen_ns=max(self._when[k][1] for k in known),
                    observations=sights,
                )
            )
        return tuple(out)

    def surface(self, kept: set[int], merged: Mapping[int, int]) -> tuple[F32, I32]:
        """Return the mean points (N, 3) of all voxels, and whose they are (N,), 0 for what is not in ``kept``."""
        voxels = self._grid.owned()
        owner = _resolved(self._grid.owner[voxels], merged)
        owner[~np.isin(owner, list(kept))] = 0
        return self._grid.means(voxels)[0].astype(np.float32), owner


def _resolved(ids: I32, merged: Mapping[int, int]) -> I32:
    if not merged or not len(ids):
        return ids
    table = np.arange(max(int(ids.max()), *merged) + 1, dtype=np.int32)
    for old, new in merged.items():
        table[old] = new
    return np.asarray(table[ids])
