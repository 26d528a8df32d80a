"""Which regions are parts of one thing, and which are things at all: a graph of regions that touch in the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3d_ros.segment.borders import Borders
from s3d_ros.segment.planes import Plane, PlaneRule, thickness
from s3d_ros.segment.regions import Regions
from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, F64, I32, I64, Bools

# Of a thing's outline: where it hides something, or meets another thing.
MIN_FREE_SHARE = 0.03
# A vessel's inside bends so much on average, is hidden along so much of its outline; larger is none.
VESSEL_BEND_RAD = 0.1
RIM_SHARE = 0.2
VESSEL_M = 0.6
# Of an outline that is one ridge with a wall.
BUILT_SHARE = 0.25
# A part spans its base: the groove is this much of the longer one, the base level (cosine), the rise so high at most,
# and the whole as large as furniture.
SPAN_SHARE = 0.6
LEVEL = 0.85
MAX_RISE_M = 0.7
FURNITURE_M = 0.6


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

    def join(self, a: int, b: int, even_if_risen: bool = False) -> None:
        """Put a's group into b's, unless one rises from the other."""
        a, b = self.root(a), self.root(b)
        risen = bool(self._on[a] & self._above[b] or self._on[b] & self._above[a])
        if a == b or (risen and not even_if_risen):
            return
        self._parent[a] = b
        self._on[b] |= self._on[a]
        self._above[b] |= self._above[a]

    def roots(self) -> I32:
        return np.array([self.root(label) for label in range(len(self._parent))], dtype=np.int32)


def merge(
    regions: Regions, borders: Borders, surface: Surface, groups: Groups, up: F64, groove_rad: float, small: int
) -> I32:
    """Return for each label (0..count) the label of the thing that it is part of; 0 and the rooms stay themselves.

    small: bits of fewer pixels join the neighbour that they touch most.
    """
    b = borders
    things = (b.a > regions.rooms) & (b.b > regions.rooms)
    smooth = (b.a <= regions.smooth) & (b.b <= regions.smooth)
    # The normals of what has no surface of its own are worth little; there nearly the whole border has to touch.
    share = np.where(smooth, 0.4, 0.7)
    same = things & (b.touching >= 4) & (b.touching > share * b.real) & (b.bend > -groove_rad)
    for i in _longest_first(same & (b.a < b.b), b.touching):
        groups.join(int(b.a[i]), int(b.b[i]))
    # What goes on over a ridge from a wall or floor belongs to it: a pillar, the sides of a window.
    outline = np.bincount(b.a, weights=b.length, minlength=regions.count + 1)
    built = (b.a > regions.rooms) & (b.b <= regions.rooms) & (b.touching >= 4) & (b.touching > 0.4 * b.real)
    built &= (b.bend > groove_rad / 2) & (b.length > BUILT_SHARE * outline[b.a])
    for i in _longest_first(built, b.touching):
        groups.join(int(b.a[i]), int(b.b[i]))
    for one, other in [*_behind_another(b, surface, regions), *_vessels(b, surface, regions)]:
        groups.join(one, other)
    for one, other in _spanning(b, surface, regions, groups.roots(), up, groove_rad):
        groups.join(one, other, even_if_risen=True)

    root = groups.roots()
    alone = np.bincount(root, minlength=regions.count + 1)[root] == 1
    # What is rough may be a part of what it is beside, seen too slantingly. Small bits are noise.
    rough = alone & (np.arange(regions.count + 1) > regions.smooth)
    bit = alone & (np.bincount(regions.labels.ravel(), minlength=regions.count + 1) < small)
    join = (rough | bit)[b.a] & ~(rough | bit)[b.b] & (b.a > regions.rooms)
    join &= (2 * b.touching > b.real) | (things & rough[b.a] & (b.near >= 3))
    for i in _longest_first(join, b.near):
        if groups.root(int(b.a[i])) == b.a[i]:
            groups.join(int(b.a[i]), int(b.b[i]))
    return groups.roots()


def _longest_first(chosen: Bools, length: I64) -> list[int]:
    index = np.flatnonzero(chosen)
    return index[np.argsort(-length[index], kind="stable")].tolist()


def _behind_another(borders: Borders, surface: Surface, regions: Regions) -> list[tuple[int, int]]:
    """Pairs of regions that one nearer thing parts in the image, though the surface goes on behind it."""
    b = borders
    cut = np.flatnonzero((b.a > regions.rooms) & (b.a <= regions.smooth) & (b.b > regions.rooms) & (b.hidden >= 6))
    points, normals = surface.points.reshape(-1, 3), surface.normals.reshape(-1, 3)
    samples = {}
    for i in cut.tolist():
        here = b.source[b.of(i)][~b.meets[b.of(i)]]
        here = here[:: max(1, here.size // 12)]
        samples[i] = points[here], normals[here]
    pairs = []
    for i in cut.tolist():
        for j in cut[(cut > i) & (b.b[cut] == b.b[i])].tolist():
            (p, n), (p2, n2) = samples[i], samples[j]
            way = p2[None] - p[:, None]
            off = np.maximum(np.abs((way * n[:, None]).sum(-1)), np.abs((way * n2[None]).sum(-1)))
            on = (n @ n2.T > 0.97) & (off < 0.01 + 0.004 * p[:, None, 2] ** 2) & ((way**2).sum(-1) < 0.36)
            if on.any(axis=1).mean() > 0.5 and on.any(axis=0).mean() > 0.5:
                pairs.append((int(b.a[i]), int(b.a[j])))
    return pairs


def _vessels(borders: Borders, surface: Surface, regions: Regions) -> list[tuple[int, int]]:
    """Inside and outside of a bowl or cup: hollow, and hidden along its front by what bulges."""
    b = borders
    labels = regions.labels[surface.smooth]
    size = np.maximum(np.bincount(labels, minlength=regions.count + 1), 1)
    bend = (surface.concave - surface.convex)[surface.smooth]
    bend = np.bincount(labels, weights=bend, minlength=regions.count + 1) / size
    outline = np.bincount(b.a, weights=b.length, minlength=regions.count + 1)
    rim = (b.a > regions.rooms) & (b.b > regions.rooms) & (b.hidden > RIM_SHARE * outline[b.a])
    touching = np.bincount(b.a, weights=b.touching, minlength=regions.count + 1)
    rim &= touching[b.a] < 0.1 * outline[b.a]
    rim &= (bend[b.a] > VESSEL_BEND_RAD) & (bend[b.b] < -VESSEL_BEND_RAD)
    points = surface.points.reshape(-1, 3)
    pairs = []
    for i in np.flatnonzero(rim).tolist():
        both = np.flatnonzero(np.isin(regions.labels.ravel(), (b.a[i], b.b[i])))
        if np.linalg.norm([_extent(axis) for axis in points[both].T]) < VESSEL_M:
            pairs.append((int(b.a[i]), int(b.b[i])))
    return pairs


def _spanning(
    borders: Borders, surface: Surface, regions: Regions, root: I32, up: F64, groove_rad: float
) -> list[tuple[int, int]]:
    """Pairs of groups that are parts of one piece of furniture: seat and back, mattress and headboard, shelf and wall.

    A thing stands somewhere on its support. A part rises from all along a level surface, and not far. Only for what
    is large enough for furniture: two boxes of one width may well be stacked.
    """
    b = borders
    groove = (b.touching >= 6) & (b.bend <= -groove_rad / 2) & (root[b.a] != root[b.b])
    groove &= (b.a > regions.rooms) & (b.b > regions.rooms) & (b.a <= regions.smooth) & (b.b <= regions.smooth)
    points, normals = surface.points.reshape(-1, 3), surface.normals.reshape(-1, 3)
    to_up = up.astype(np.float32)
    lines: dict[tuple[int, int], list[I64]] = {}
    for i in np.flatnonzero(groove).tolist():
        here = b.of(i)
        if (normals[b.source[here]] @ to_up).mean() > LEVEL:
            lines.setdefault((int(root[b.a[i]]), int(root[b.b[i]])), []).append(b.pixel[here][b.meets[here]])
    if not lines:
        return []
    sparse = points.reshape(*regions.labels.shape, 3)[::2, ::2].reshape(-1, 3)
    things = root[regions.labels[::2, ::2].ravel()]
    order = np.argsort(things, kind="stable")
    start = np.searchsorted(things[order], np.arange(regions.count + 2))
    pairs = []
    for (base, riser), pieces in lines.items():
        line = points[np.concatenate(pieces)]
        p, q = sparse[order[start[base] : start[base + 1]]], sparse[order[start[riser] : start[riser + 1]]]
        if not (p.size and q.size):
            continue
        middle = line.mean(axis=0)
        along = np.linalg.svd(line - middle, full_matrices=False)[2][0]
        if _extent(line @ along) <= SPAN_SHARE * max(_extent(p @ along), _extent(q @ along)):
            continue
        rise = np.percentile(q @ to_up, 97) - middle @ to_up
        size = np.linalg.norm([_extent(axis) for axis in np.concatenate([p, q]).T])
        if 0 < rise < MAX_RISE_M and size > FURNITURE_M:
            pairs.append((base, riser))
    return pairs


def _extent(values: NDArray[Any]) -> float:
    low, high = np.percentile(values, (3, 97))
    return float(high - low)


def distinctness(regions: Regions, borders: Borders, things: I32) -> F32:
    """Return how much of each thing's borders stands out, as a share, (count + 1,).

    It stands out where it hides what is behind it or meets it in a groove. What stands out nowhere is background, as
    is what reaches into the image hiding nothing and meeting nothing but walls and floors (a strip of ceiling).
    """
    at_edge = np.zeros(regions.count + 1, bool)
    a, b = things[borders.a], things[borders.b]
    outer = a != b
    groove = np.where(borders.bend < 0, borders.touching, 0)

    def total(values: I64) -> NDArray[Any]:
        return np.bincount(a[outer], weights=values[outer], minlength=regions.count + 1)

    length = np.maximum(total(borders.length), 1)
    free = total(borders.front + np.where(b > regions.rooms, borders.touching, 0)) > MIN_FREE_SHARE * length
    image = things[regions.labels]
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        at_edge[edge] = True
    return np.where(free | ~at_edge, total(borders.front + groove) / length, 0).astype(np.float32)


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
