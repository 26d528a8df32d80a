"""Points under a mask that are not of its thing: background that a ragged outline reaches over, or a second thing.

A thing's visible surface is connected, or nearly so: something in front may part it. What lies well apart from the
largest piece of a mask is left out (as ConceptGraphs does by clustering each mask's points, Gu et al., ICRA 2024; here
on the image's grid, which costs a tenth).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from s3d_ros.types import F32, I64, U16, Bools

_STEP_M, _STEP_SHARE = 0.04, 0.03  # neighbouring samples nearer than this in depth, plus a share of it, are connected
_APART_M = 0.8
_CRUMB_SHARE = 0.05  # of a mask: smaller pieces are nothing by themselves


def strays(instance: U16, depth: F32, xyz: F32, rows: I64, columns: I64, shape: tuple[int, int]) -> Bools:
    """Return which points (N,) are to be left out.

    instance, depth: (N,) number (0 none) and depth in metres of each sample. xyz: (N, 3) its point. rows, columns: (N,)
    its place in a grid of ``shape``.
    """
    out = np.zeros(len(instance), bool)
    inside = np.flatnonzero(instance)
    if not len(inside):
        return out
    place = np.full(shape, -1, np.int64)
    place[rows[inside], columns[inside]] = np.arange(len(inside))
    number, z = instance[inside], depth[inside]
    ends = []
    for here, there in ((place[:, :-1], place[:, 1:]), (place[:-1], place[1:])):
        both = (here >= 0) & (there >= 0)
        a, b = here[both], there[both]
        step = np.abs(z[a] - z[b])
        linked = (number[a] == number[b]) & (step < _STEP_M + _STEP_SHARE * np.minimum(z[a], z[b]))
        ends.append((a[linked], b[linked]))
    a, b = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(len(inside), len(inside)))
    count, piece = connected_components(graph, directed=False)
    sizes = np.bincount(piece, minlength=count)
    number_of = np.zeros(count, np.int64)
    number_of[piece] = number
    order = np.lexsort((-sizes, number_of))  # by mask, the largest piece first
    first = np.flatnonzero(np.diff(number_of[order], prepend=-1))
    largest = np.zeros(int(number_of.max()) + 1, np.int64)
    largest[number_of[order[first]]] = order[first]
    points = xyz[inside]
    by_piece = np.argsort(piece, kind="stable")
    starts = np.searchsorted(piece[by_piece], np.arange(count))
    low, high = (f.reduceat(points[by_piece], starts, axis=0) for f in (np.minimum, np.maximum))
    main = largest[number_of]
    gap = np.maximum(np.maximum(low - high[main], low[main] - high), 0)
    apart = np.linalg.norm(gap, axis=1) > _APART_M
    crumb = sizes < _CRUMB_SHARE * np.bincount(number)[number_of]
    leave = (apart | crumb) & (main != np.arange(count))
    out[inside] = leave[piece]
    return out
