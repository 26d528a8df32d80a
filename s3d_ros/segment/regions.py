"""Connected smooth regions of a surface, cut at depth steps, at grooves and where they meet a large plane."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.segment.planes import Plane
from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, I32, Bools

GROW_STEPS = 8
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))


@dataclass(frozen=True)
class Regions:
    """labels: (h, w) int32, 0 nothing known; 1..rooms the room's own planes; ..smooth regions with a surface of
    their own; ..count bits without one (thin, or all edges).

    source: (h, w) int32, the flat index of the pixel whose fit speaks for this pixel's surface (-1 without label).
    """

    labels: I32
    source: I32
    rooms: int
    smooth: int
    count: int


def find_regions(surface: Surface, planes: list[Plane], groove_rad: float, gate_per_m: float) -> Regions:
    """Label every known pixel; see ``Regions``."""
    cut = ~surface.smooth | (surface.concave > groove_rad + 2 * surface.bend_noise)
    rooms = [p for p in planes if p.room]
    for plane in rooms:
        cut |= plane.mask
    for plane in planes:
        if not plane.room:
            cut |= _rim(plane)
    count, parts = cv2.connectedComponents((~cut).view(np.uint8), connectivity=4)
    labels = np.where(parts > 0, parts + len(rooms), 0).astype(np.int32)
    for number, plane in enumerate(rooms, 1):
        labels[plane.mask] = number
    count += len(rooms) - 1
    labels, source = grow(labels, surface, gate_per_m)
    left = (labels == 0) & (surface.q > 0)
    more, parts = cv2.connectedComponents(left.view(np.uint8), connectivity=8)
    labels = np.where(parts > 0, parts + count, labels).astype(np.int32)
    source = np.where(parts > 0, np.arange(labels.size, dtype=np.int32).reshape(labels.shape), source)
    return Regions(labels, source, len(rooms), count, count + more - 1)


def _rim(plane: Plane) -> Bools:
    """Pixels around a plane: what is beyond joins it later, or not, by how the two meet."""
    return cv2.dilate(plane.mask.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool) & ~plane.mask


def grow(labels: I32, surface: Surface, gate_per_m: float) -> tuple[I32, I32]:
    """Give known pixels without label that of the neighbouring surface which, carried on, meets their depth best."""
    h, w = labels.shape
    pad = np.zeros((h + 2, w + 2), np.int32)
    pad[1:-1, 1:-1] = labels
    source = np.full((h + 2, w + 2), -1, np.int32)
    source[1:-1, 1:-1] = np.where(labels > 0, np.arange(h * w, dtype=np.int32).reshape(h, w), -1)
    flat, origin = pad.ravel(), source.ravel()
    rows, cols = np.nonzero((labels == 0) & (surface.q > 0))
    rows, cols = rows.astype(np.int32), cols.astype(np.int32)
    q = surface.q[rows, cols]
    planes = surface.carried_on()
    shifts = np.array([dy * (w + 2) + dx for dy, dx in NEIGHBOURS], dtype=np.int32)
    for _ in range(GROW_STEPS):
        if not rows.size:
            break
        near = ((rows + 1) * (w + 2) + cols + 1)[:, None] + shifts
        candidates = origin[near]
        touched = np.flatnonzero((candidates >= 0).any(axis=1))
        candidates = candidates[touched]
        r, c = rows[touched].astype(np.float32), cols[touched].astype(np.float32)
        miss = misfit(planes, candidates, q[touched], r, c)
        best = np.argmin(miss, axis=1)
        good = np.flatnonzero(miss[np.arange(best.size), best] < gate_per_m)
        if not good.size:
            break
        taken, best = touched[good], best[good]
        place = (rows[taken] + 1) * (w + 2) + cols[taken] + 1
        flat[place] = flat[near[taken, best]]
        origin[place] = candidates[good, best]
        keep = np.ones(rows.size, bool)
        keep[taken] = False
        rows, cols, q = rows[keep], cols[keep], q[keep]
    return pad[1:-1, 1:-1].copy(), source[1:-1, 1:-1].copy()


def misfit(planes: F32, candidates: I32, q: F32, rows: F32, cols: F32) -> F32:
    """How far inverse depths q (n,) at image places (n,) are from the surfaces of candidate pixels (n, c).

    planes: ``Surface.carried_on``. Infinite for the candidate -1.
    """
    surface = planes[candidates]  # -1 reads the last one, and is taken out below
    there = surface[..., 0] + surface[..., 1] * cols[:, None] + surface[..., 2] * rows[:, None]
    return np.where(candidates >= 0, np.abs(there - q[:, None]), np.float32(np.inf))
