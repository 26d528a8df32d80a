"""Where regions are beside each other in the image: do they touch, hide one another, meet in a ridge or a groove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from s3d_ros.segment.regions import Regions, misfit
from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, I32, I64, Bools

# Depth steps of less than this may lie within one thing where no surface could be made out.
NEAR_M = 0.06
# Holes are bridged from both sides by so many pixels of the working resolution.
SHADOW_PX = 12


@dataclass(frozen=True)
class Borders:
    """Where two labels are beside each other, one entry per ordered pair of labels (arrays (n,)).

    Of region a towards region b: length, pixel pairs along the border; real, those that no hole in the depth lies
    between (an edge throws a shadow without depth); touching, those of them where the surfaces meet in space; front
    and hidden, those where a hides b or is hidden by it; near, real ones closer than NEAR_M. bend: mean turn over the
    touching ones in radians, positive over a ridge, negative in a groove.

    pixel, source: of every pixel pair, sorted by entry, a's pixel and the pixel whose fit speaks for it, as flat
    indices (m,); meets: the surfaces meet there; start: entry i has the pairs start[i] to start[i + 1] (n + 1,).
    """

    a: I32
    b: I32
    length: I64
    real: I64
    touching: I64
    front: I64
    hidden: I64
    near: I64
    bend: F32
    pixel: I64
    source: I64
    meets: Bools
    start: I64

    def of(self, i: int) -> slice:
        """The pixel pairs of entry i."""
        return slice(int(self.start[i]), int(self.start[i + 1]))


def find_borders(regions: Regions, surface: Surface, gate_per_m: float) -> Borders:
    """Measure all borders between labels. gate_per_m: surfaces that miss each other by more do not meet."""
    near_by, known = _nearest_known(regions.labels)
    image = regions.labels.ravel()[near_by]
    w = image.shape[1]
    across = np.flatnonzero(image[:, :-1] != image[:, 1:])
    across += across // (w - 1)  # an index of the narrower image becomes one of the whole
    down = np.flatnonzero(image[:-1] != image[1:])
    p, q = np.concatenate([across, down]), np.concatenate([across + 1, down + w])
    keep = (image.ravel()[p] > 0) & (image.ravel()[q] > 0)
    p, q = p[keep], q[keep]
    labels, known = image.ravel(), known.ravel()
    source, depth = regions.source.ravel()[near_by.ravel()], surface.q.ravel()[near_by.ravel()]
    planes = surface.carried_on()
    of_q = misfit(planes, source[p][:, None], depth[q], q // w, q % w)[:, 0]
    of_p = misfit(planes, source[q][:, None], depth[p], p // w, p % w)[:, 0]
    real = known[p] & known[q]
    meets = real & (np.minimum(of_p, of_q) < gate_per_m) & (np.abs(depth[p] - depth[q]) < 2.5 * gate_per_m)
    near = real & (np.abs(1 / depth[p] - 1 / depth[q]) < NEAR_M)
    points, normals = surface.points.reshape(-1, 3), surface.normals.reshape(-1, 3)
    way = points[source[p]] - points[source[q]]
    turn = np.einsum("ij,ij->i", normals[source[p]] - normals[source[q]], way)
    turn /= np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    turn = 2 * np.arcsin(np.clip(turn / 2, -1, 1))

    p, q = np.concatenate([p, q]), np.concatenate([q, p])
    pair = labels[p].astype(np.int64) * (regions.count + 1) + labels[q]
    order = np.argsort(pair, kind="stable")
    p, q, pair = p[order], q[order], pair[order]
    meets, near, real, turn = (np.tile(x, 2)[order] for x in (meets, near, real, turn))
    pairs, which, length = np.unique(pair, return_inverse=True, return_counts=True)

    def total(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(which, weights=values, minlength=pairs.size)

    def count(flags: Bools) -> I64:
        return total(flags).astype(np.int64)

    nearer = depth[p] > depth[q]
    return Borders(
        (pairs // (regions.count + 1)).astype(np.int32),
        (pairs % (regions.count + 1)).astype(np.int32),
        length.astype(np.int64),
        count(real),
        count(meets),
        count(~meets & nearer),
        count(~meets & ~nearer),
        count(near),
        (total(turn * meets) / np.maximum(total(meets), 1)).astype(np.float32),
        p,
        source[p].astype(np.int64),
        meets,
        np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
    )


def _nearest_known(labels: I32) -> tuple[I64, Bools]:
    """Return for every pixel (h, w) the flat index of the nearest labelled one, up to SHADOW_PX away, else its own.

    Also which pixels have a label themselves.
    """
    known = labels > 0
    own = np.arange(labels.size).reshape(labels.shape)
    if known.all() or not known.any():
        return own, known
    far, index = cv2.distanceTransformWithLabels(
        (~known).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    return np.where(far <= SHADOW_PX, np.flatnonzero(known)[index - 1], own), known
