"""Which regions are parts of one thing, and which are things at all: a graph of regions that touch in the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3d_ros.segment.planes import Plane, PlaneRule, thickness
from s3d_ros.segment.regions import Regions, misfit
from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, I32, I64, Bools

# Depth steps of less than this may lie within one thing where no surface could be made out.
NEAR_M = 0.06


@dataclass(frozen=True)
class Borders:
    """Where two labels are beside each other, one entry per ordered pair of labels (arrays (n,) or (n, 3)).

    Of region a towards region b: length, pixel pairs along the border; touching, those where the surfaces meet in
    space; front and hidden, those where a hides b or is hidden by it; near, those closer than NEAR_M. bend: mean
    turn over the touching ones in radians, positive over a ridge, negative in a groove. point, normal: mean of a's
    surface along the border.
    """

    a: I32
    b: I32
    length: I64
    touching: I64
    front: I64
    hidden: I64
    near: I64
    bend: F32
    point: F32
    normal: F32


def find_borders(regions: Regions, surface: Surface, gate_per_m: float) -> Borders:
    """Measure all borders between labels. gate_per_m: surfaces that miss each other by more do not meet."""
    image = regions.labels
    w = image.shape[1]
    across = np.flatnonzero((image[:, :-1] != image[:, 1:]) & (image[:, :-1] > 0) & (image[:, 1:] > 0))
    across += across // (w - 1)  # an index of the narrower image becomes one of the whole
    down = np.flatnonzero((image[:-1] != image[1:]) & (image[:-1] > 0) & (image[1:] > 0))
    p, q = np.concatenate([across, down]), np.concatenate([across + 1, down + w])
    labels, source, depth = image.ravel(), regions.source.ravel(), surface.q.ravel()
    planes = surface.carried_on()
    of_q = misfit(planes, source[p][:, None], depth[q], q // w, q % w)[:, 0]
    of_p = misfit(planes, source[q][:, None], depth[p], p // w, p % w)[:, 0]
    touching = (np.minimum(of_p, of_q) < gate_per_m) & (np.abs(depth[p] - depth[q]) < 2.5 * gate_per_m)
    near = np.abs(1 / depth[p] - 1 / depth[q]) < NEAR_M
    points, normals = surface.points.reshape(-1, 3), surface.normals.reshape(-1, 3)
    way = points[source[p]] - points[source[q]]
    turn = np.einsum("ij,ij->i", normals[source[p]] - normals[source[q]], way)
    turn /= np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    turn = 2 * np.arcsin(np.clip(turn / 2, -1, 1))

    p, q = np.concatenate([p, q]), np.concatenate([q, p])
    touching, near, turn = np.tile(touching, 2), np.tile(near, 2), np.tile(turn, 2)
    pairs, which = np.unique(labels[p].astype(np.int64) * (regions.count + 1) + labels[q], return_inverse=True)

    def total(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(which, weights=values, minlength=pairs.size)

    def count(flags: Bools) -> I64:
        return total(flags).astype(np.int64)

    def mean(vectors: F32) -> F32:
        return (np.stack([total(v) for v in vectors.T], axis=1) / length[:, None]).astype(np.float32)

    length = total(np.ones(p.size))
    nearer = depth[p] > depth[q]
    return Borders(
        (pairs // (regions.count + 1)).astype(np.int32),
        (pairs % (regions.count + 1)).astype(np.int32),
        length.astype(np.int64),
        count(touching),
        count(~touching & nearer),
        count(~touching & ~nearer),
        count(near),
        (total(turn * touching) / np.maximum(total(touching), 1)).astype(np.float32),
        mean(points[source[p]]),
        mean(normals[source[p]]),
    )


class Groups:
    """Labels that were joined (union-find). A group never holds both a plane and what rises from that plane."""

    def __init__(self, count: int, on: list[set[int]], above: list[set[int]]) -> None:
        """on, above: for each label 0..count the planes that it lies on, and those that it rises from."""
        self._parent = list(range(count + 1))
        self._on, self._above = on, above

    def root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label

    def join(self, a: int, b: int) -> None:
        """Put a's group into b's, unless one rises from the other."""
        a, b = self.root(a), self.root(b)
        if a == b or self._on[a] & self._above[b] or self._on[b] & self._above[a]:
            return
        self._parent[a] = b
        self._on[b] |= self._on[a]
        self._above[b] |= self._above[a]

    def roots(self) -> I32:
        return np.array([self.root(label) for label in range(len(self._parent))], dtype=np.int32)


def merge(regions: Regions, borders: Borders, groups: Groups, groove_rad: float, small: int) -> I32:
    """Return for each label (0..count) the label of the thing that it is part of; 0 and the rooms stay themselves.

    small: bits of fewer pixels join the neighbour that they touch most.
    """
    b = borders
    size = np.bincount(regions.labels.ravel(), minlength=regions.count + 1)
    thing = (b.a > regions.rooms) & (b.b > regions.rooms)
    same = (b.a < b.b) & thing & (b.touching >= 4) & (b.touching > 0.4 * b.length) & (b.bend > -groove_rad)
    for i in _longest_first(same, b.touching):
        groups.join(int(b.a[i]), int(b.b[i]))
    for one, other in _behind_another(b, thing):
        groups.join(one, other)

    root = groups.roots()
    alone = np.bincount(root, minlength=regions.count + 1)[root] == 1
    # What has no surface of its own is a part of what it is beside, seen too slantingly; small bits are noise.
    rough = alone & (np.arange(regions.count + 1) > regions.smooth)
    bit = alone & (size < small)
    to_plane = (rough | bit)[b.a] & ~(rough | bit)[b.b]
    join = to_plane & ((2 * b.touching > b.length) | (rough[b.a] & (b.b > regions.rooms) & (2 * b.near > b.length)))
    for i in _longest_first(join & (b.a > regions.rooms), b.near):
        if groups.root(int(b.a[i])) == b.a[i]:
            groups.join(int(b.a[i]), int(b.b[i]))
    return groups.roots()


def _longest_first(chosen: Bools, length: I64) -> list[int]:
    index = np.flatnonzero(chosen)
    return index[np.argsort(-length[index], kind="stable")].tolist()


def _behind_another(borders: Borders, thing: Bools) -> list[tuple[int, int]]:
    """Pairs of regions that one nearer thing parts in the image, though the surface goes on behind it."""
    cut = np.flatnonzero(thing & (borders.hidden >= 6) & (np.linalg.norm(borders.normal, axis=1) > 0.9))
    pairs = []
    for i in cut.tolist():
        for j in cut.tolist():
            if i >= j or borders.b[i] != borders.b[j]:
                continue
            n = borders.normal[i] + borders.normal[j]
            n = n / np.linalg.norm(n)
            way = borders.point[j] - borders.point[i]
            step = abs(float(n @ way))
            z = float(max(borders.point[i][2], borders.point[j][2]))
            facing = float(borders.normal[i] @ borders.normal[j])
            length = np.linalg.norm(borders.normal[i]) * np.linalg.norm(borders.normal[j])
            if facing > 0.98 * length and step < 0.008 + 0.003 * z * z and np.linalg.norm(way) < 0.6:
                pairs.append((int(borders.a[i]), int(borders.a[j])))
    return pairs


def distinctness(regions: Regions, borders: Borders, things: I32) -> F32:
    """Return how much of each thing's borders stands out, as a share, (count + 1,).

    It stands out where it hides what is behind it or meets it in a groove. What stands out nowhere is background.
    """
    a, b = things[borders.a], things[borders.b]
    outer = a != b
    groove = np.where(borders.bend < 0, borders.touching, 0)

    def total(values: I64) -> NDArray[Any]:
        return np.bincount(a[outer], weights=values[outer], minlength=regions.count + 1)

    return (total(borders.front + groove) / np.maximum(total(borders.length), 1)).astype(np.float32)


def planes_and_risers(
    regions: Regions, planes: list[Plane], surface: Surface, rule: PlaneRule
) -> tuple[list[set[int]], list[set[int]]]:
    """Return, for each label, which large planes (of those that are things) it lies on, and which it rises from."""
    labels = regions.labels.ravel()
    size = np.maximum(np.bincount(labels, minlength=regions.count + 1), 1)
    on: list[set[int]] = [set() for _ in size]
    above: list[set[int]] = [set() for _ in size]
    tolerance = thickness(surface.points[..., 2], rule)
    for number, plane in enumerate(planes):
        if plane.room:
            continue
        share = np.bincount(labels, weights=plane.mask.ravel(), minlength=size.size) / size
        height = (surface.height(plane.normal, plane.distance_m) / tolerance).ravel()
        mean = np.bincount(labels, weights=height, minlength=size.size) / size
        for label in np.flatnonzero(share > 0.5).tolist():
            on[label].add(number)
        for label in np.flatnonzero((share <= 0.5) & (mean > 1.5)).tolist():
            above[label].add(number)
    return on, above
