"""Greedy association by 3D overlap and meaning, as in ConceptGraphs.

Gu et al., "ConceptGraphs: Open-vocabulary 3D scene graphs for perception and planning", ICRA 2024, section II-B. An
instance's points, thinned to 2.5 cm and reduced to their largest cluster, are compared with every object whose box
they meet: geometric similarity is the share of them with a neighbour of the object within 2.5 cm; semantic similarity
the cosine between the features, brought to 0..1. Each instance goes, by itself, to the object of the largest sum; below
1.1 it becomes an object. From time to time objects that overlap and mean the same are merged.

What is given here are labels, not CLIP features: the cosine is that between the instance's label and the object's
labels so far, each weighted by its scores. The thresholds are the paper's (1.1; 2.5 cm) and its published code's
(merge above 0.7 overlap and 0.7 similarity, clusters of 10 points within 10 cm, 3 sights at least); none was fitted
here. Merging every 20th frame became every 2 s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import open3d as o3d
from scipy.spatial import cKDTree

from s3d_ros.lifting import LiftedPoints
from s3d_ros.timing import Periodic
from s3d_ros.types import F32, F64, Bools, Frame, Instances

_NEAR_M = 0.025
_LEAST_SIMILARITY = 1.1
_MERGE_OVERLAP, _MERGE_SIMILARITY = 0.7, 0.7
_MERGE_PERIOD_S = 2.0
_CLUSTER_M, _CLUSTER_POINTS = 0.1, 10
_LEAST_POINTS = 16


@dataclass
class _Object:
    id: int
    points: F32  # (N, 3)
    labels: Counter[str]
    low: F32 = field(init=False)  # (3,) corners of the box around the points
    high: F32 = field(init=False)
    _tree: cKDTree | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.low, self.high = _bounds(self.points)

    def tree(self) -> cKDTree:
        if self._tree is None:
            self._tree = cKDTree(self.points)
        return self._tree

    def add(self, points: F32, labels: Counter[str]) -> None:
        self.points = _thinned(np.concatenate([self.points, points]))
        self.labels.update(labels)
        self._tree = None
        self.low, self.high = _bounds(self.points)


class ConceptGraphs:
    """Objects as clouds of points."""

    least_sights = 3

    def __init__(self) -> None:
        self.merged: dict[int, int] = {}
        self._objects: list[_Object] = []
        self._next_id = 1
        self._merging = Periodic(_MERGE_PERIOD_S)
        self._clusters: dict[bytes, F32] = {}

    def observe(self, points: LiftedPoints, instances: Instances, frame: Frame) -> dict[int, int | None]:
        """Return instance number -> ID; what has too few points has none."""
        out: dict[int, int | None] = {}
        self._clusters = {}
        found = []
        for number, label, score in zip(instances.numbers, instances.labels, instances.scores, strict=True):
            mine = self._cluster(points.xyz[points.instance == number])
            if len(mine) >= _LEAST_POINTS:
                found.append((number, mine, Counter({label: score})))
        chosen = [self._best(mine, labels) for _, mine, labels in found]  # all by the map as it was before this frame
        for (number, mine, labels), best in zip(found, chosen, strict=True):
            if best is None:
                best = _Object(self._next_id, mine, labels)
                self._next_id += 1
                self._objects.append(best)
            else:
                best.add(mine, labels)
            out[number] = best.id
        if self._merging.due(points.stamp_ns):
            self._merge()
        return out

    def own(self, points: F64) -> Bools:
        """Return which points (N, 3) lie in the largest cluster, (N,)."""
        thin = self._cluster(points)
        if not len(thin):
            return np.zeros(len(points), bool)
        distance, _ = cKDTree(thin).query(points, distance_upper_bound=2 * _NEAR_M)
        return np.asarray(np.isfinite(distance))

    def _cluster(self, points: F32) -> F32:
        """Return the thinned largest cluster of points (N, 3); of a frame's instances it is asked for twice."""
        key = points.tobytes()
        if key not in self._clusters:
            self._clusters[key] = _largest_cluster(_thinned(points))
        return self._clusters[key]

    def _best(self, points: F32, labels: Counter[str]) -> _Object | None:
        best, most = None, _LEAST_SIMILARITY
        bounds = _bounds(points)
        for o in self._objects:
            if _apart(*bounds, o.low, o.high):
                continue
            similarity = _overlap(points, o) + (_cosine(labels, o.labels) + 1) / 2
            if similarity >= most:
                best, most = o, similarity
        return best

    def _merge(self) -> None:
        for o in sorted(self._objects, key=lambda o: -o.id):  # the older ID survives
            for other in self._objects:
                if other.id >= o.id or _apart(o.low, o.high, other.low, other.high):
                    continue
                overlap = max(_overlap(o.points, other), _overlap(other.points, o))
                if overlap > _MERGE_OVERLAP and (_cosine(o.labels, other.labels) + 1) / 2 > _MERGE_SIMILARITY:
                    other.add(o.points, o.labels)
                    self._objects.remove(o)
                    self.merged = {k: other.id if v == o.id else v for k, v in self.merged.items()}
                    self.merged[o.id] = other.id
                    break


def _overlap(points: F32, o: _Object) -> float:
    """Return the share of points (N, 3) with a neighbour in an object."""
    distance, _ = o.tree().query(points, distance_upper_bound=_NEAR_M)
    return float(np.isfinite(distance).mean())


def _bounds(points: F32) -> tuple[F32, F32]:
    return points.min(axis=0), points.max(axis=0)


def _apart(low: F32, high: F32, other_low: F32, other_high: F32) -> bool:
    return bool(((other_low - high > _NEAR_M) | (low - other_high > _NEAR_M)).any())


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    norm = np.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return float(sum(v * b[k] for k, v in a.items()) / norm) if norm > 0 else 0.0


def _thinned(points: F32) -> F32:
    """Return one of the points (N, 3) for each voxel of 2.5 cm."""
    if not len(points):
        return points
    voxel = np.floor(points / _NEAR_M).astype(np.int64) + (1 << 20)
    keys = (voxel[:, 0] << 42) | (voxel[:, 1] << 21) | voxel[:, 2]
    return points[np.unique(keys, return_index=True)[1]]


def _largest_cluster(points: F32) -> F32:
    if len(points) < _CLUSTER_POINTS:
        return points[:0]
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    cluster = np.asarray(cloud.cluster_dbscan(_CLUSTER_M, _CLUSTER_POINTS))
    if cluster.max() < 0:
        return points[:0]
    return points[cluster == np.bincount(cluster[cluster >= 0]).argmax()]
