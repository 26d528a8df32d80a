"""Where a robot can go: the floor less furniture and walls, and short ways over it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from s3d_ros.offline.simulate.floorplan import footprint_mask, obstacles
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F64, Bools

_CELL_M = 0.05
_HEIGHT_M = 1.65  # things that end above the camera are in the way, those that begin above it are not
_SMALLEST_M2 = 0.6


class FreeSpace:
    """The connected part of the floor on which a robot of a radius can move. Places are numbers of its cells.

    clearance_m: (X, Y) distance from each cell to the nearest thing or wall.
    """

    def __init__(self, clearance_m: F64, origin: F64, radius_m: float) -> None:
        self.clearance_m = clearance_m
        self.origin = origin
        self.radius_m = radius_m
        self.free = _largest(clearance_m > radius_m)
        self._number = np.full(self.free.shape, -1)
        self.cells = np.argwhere(self.free)
        self._number[tuple(self.cells.T)] = np.arange(len(self.cells))
        self._graph: csr_matrix | None = None
        self._trees: dict[int, tuple[F64, np.ndarray]] = {}

    @classmethod
    def of(cls, world: World, radius_m: float) -> FreeSpace:
        """Return the free space of a world; in a very crowded one a smaller radius has to do. Raises ValueError."""
        low, high = world.bounds
        origin = low[:2] - 4 * _CELL_M
        size = np.ceil((high[:2] - origin) / _CELL_M).astype(int) + 4
        shape = (int(size[0]), int(size[1]))
        inside = footprint_mask([room.corners()[:, :2] for room in world.rooms], origin, shape, _CELL_M)
        inside |= footprint_mask([_lengthened(d.corners()[:, :2]) for d in world.doorways], origin, shape, _CELL_M)
        taken = footprint_mask(obstacles(world.things, world.floor_m, _HEIGHT_M), origin, shape, _CELL_M)
        clearance_m = distance_transform_edt(inside & ~taken) * _CELL_M
        for radius in (radius_m, 0.75 * radius_m, 0.5 * radius_m):
            space = cls(clearance_m, origin, radius)
            if len(space.cells) * _CELL_M**2 >= _SMALLEST_M2 * len(world.rooms):
                return space
        if not len(space.cells):
            raise ValueError(f"{world.name} is so full that a camera finds no place in it")
        return space

    def point(self, place: int) -> F64:
        """Return the middle of a cell in the map, (2,)."""
        return np.asarray(self.origin + (self.cells[place] + 0.5) * _CELL_M)

    def spread(self, spacing_m: float, most: int, rng: np.random.Generator) -> list[int]:
        """Return places as far from each other as can be, until nothing is further than ``spacing_m`` from one."""
        points = self.origin + (self.cells + 0.5) * _CELL_M
        clear = self.clearance_m[tuple(self.cells.T)]
        chosen = [int(np.argmax(clear + rng.uniform(0, 1e-6, len(clear))))]
        far = np.linalg.norm(points - points[chosen[0]], axis=1)
        while len(chosen) < most and far.max() > spacing_m:
            chosen.append(int(np.argmax(far)))
            far = np.minimum(far, np.linalg.norm(points - points[chosen[-1]], axis=1))
        return chosen

    def distances(self, places: Sequence[int]) -> F64:
        """Return how far it is on the floor from each place to each, (K, K) metres."""
        self._grow([p for p in places if p not in self._trees])
        return np.stack([self._trees[p][0][list(places)] for p in places])

    def path(self, a: int, b: int) -> F64:
        """Return a way from place a to b, (K, 2) points a few centimetres apart."""
        self._grow([a] if a not in self._trees else [])
        before = self._trees[a][1]
        cells = [b]
        while cells[-1] != a:
            cells.append(int(before[cells[-1]]))
        corners = self._pulled(np.array([self.point(c) for c in cells[::-1]]))
        pieces = [corners[:1]]
        for p, q in itertools.pairwise(corners):
            steps = max(1, int(np.ceil(np.linalg.norm(q - p) / 0.1)))
            pieces.append(p + (q - p) * (np.arange(1, steps + 1) / steps)[:, None])
        return np.concatenate(pieces)

    def _pulled(self, points: F64) -> F64:
        """Leave out corners that can be cut: the way along the grid is jagged."""
        kept, i = [0], 0
        while i < len(points) - 1:
            j = len(points) - 1
            while j > i + 1 and not self._clear(points[i], points[j]):
                j = i + (j - i) // 2 if j - i > 8 else j - 1
            kept.append(j)
            i = j
        return np.asarray(points[kept])

    def _clear(self, p: F64, q: F64) -> bool:
        steps = max(2, int(np.ceil(np.linalg.norm(q - p) / (_CELL_M / 2))))
        line = p + (q - p) * np.linspace(0, 1, steps)[:, None]
        cells = np.floor((line - self.origin) / _CELL_M).astype(int)
        return bool(self.free[tuple(cells.T)].all())

    def _grow(self, sources: Sequence[int]) -> None:
        if not sources:
            return
        if self._graph is None:
            self._graph = self._connect()
        distance, before = dijkstra(self._graph, indices=sources, return_predecessors=True)
        for k, source in enumerate(sources):
            self._trees[source] = (distance[k], before[k])

    def _connect(self) -> csr_matrix:
        """Join neighbouring cells; close to things the way counts as longer."""
        rows, columns, costs = [], [], []
        clear = self.clearance_m[tuple(self.cells.T)]
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            to = self.cells + (dx, dy)
            good = ((to >= 0) & (to < self.free.shape)).all(axis=1)
            a = np.flatnonzero(good)
            b = self._number[tuple(to[good].T)]
            a, b = a[b >= 0], b[b >= 0]
            rows.append(a)
            columns.append(b)
            costs.append(np.hypot(dx, dy) * _CELL_M * (1 + 0.1 / np.minimum(clear[a], clear[b])))
        n = len(self.cells)
        graph = coo_matrix((np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))
        return (graph + graph.T).tocsr()


def _lengthened(corners: F64) -> F64:
    """Let a doorway reach into both rooms, so that no seam is left between them."""
    center = corners.mean(axis=0)
    spans = np.ptp(corners, axis=0)
    grow = np.where(spans == spans.min(), 2.0, 1.0)
    return np.asarray(center + (corners - center) * grow)


def _largest(free: Bools) -> Bools:
    regions, count = label(free, structure=np.ones((3, 3)))
    if not count:
        return free
    return np.asarray(regions == int(np.bincount(regions.ravel())[1:].argmax()) + 1)
