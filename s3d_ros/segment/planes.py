"""Large planes in a surface: the floor, walls and table tops that things stand on or lean at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3d_ros.segment.surface import Surface
from s3d_ros.types import F32, F64, Bools

# Seeds are planes of small cells, and every STEP-th pixel of each row and column counts their following.
CELL = 16
STEP = 4
MAX_PLANES = 8
FLOOR_SHARE = 0.2  # of that area make a floor, when it is level and nothing is seen below it
LEVEL = 0.95  # cosine
PART_SHARE = 0.01  # of the image
BEHIND_M = 0.03  # beyond its own thickness
FACING = 0.85  # cosine between the normals of a plane and of a pixel on it


@dataclass(frozen=True)
class Plane:
    """A large plane. normal (3,) unit, towards the camera, and distance_m: normal . x = -distance_m, camera frame.

    mask: (h, w) its pixels at the working resolution. area_m2: of these pixels on the plane. behind: share of all
    known pixels that lie behind it. room: it bounds what is seen (floor, wall, ceiling, the table of a close-up).
    """

    normal: F64
    distance_m: float
    mask: Bools
    area_m2: float
    behind: float
    room: bool


@dataclass(frozen=True)
class PlaneRule:
    """What makes a plane: see ``SegmentConfig``."""

    min_area_m2: float
    bend_rad: float
    noise_per_m: float
    thickness_m: float
    max_behind: float


def thickness(z: F32, rule: PlaneRule) -> F32:
    """How far from its plane a pixel of a flat surface at depth z (metres) may be, in metres."""
    return np.asarray(rule.thickness_m + 2 * rule.noise_per_m * z * z, dtype=np.float32)


def find_planes(surface: Surface, up: F64, rule: PlaneRule) -> list[Plane]:
    """Return the large planes, most surface first; their masks do not overlap.

    Every flat cell of the image proposes its plane. The one with the largest surface on it is taken, fitted again to
    all of that, its pixels are taken away, and so on: RANSAC with nothing random in it. up: (3,) in the camera frame.
    """
    proposals = _cell_planes(surface, rule)
    if not len(proposals):
        return []
    part = np.s_[STEP // 2 :: STEP, STEP // 2 :: STEP]
    keep = surface.smooth[part]
    points, normals = surface.points[part][keep], surface.normals[part][keep]
    tolerance = thickness(points[:, 2], rule)
    slant = -np.einsum("ij,ij->i", points, normals) / np.maximum(np.linalg.norm(points, axis=1), 1e-6)
    area = STEP**2 * pixel_area(points[:, 2], slant, surface)
    directions = np.ascontiguousarray(proposals[:, :3])
    on = np.abs(_product(directions, points.T) + proposals[:, 3:]) < tolerance
    on &= _product(directions, normals.T) > FACING
    support = _product(on.astype(np.float32), area[:, None])[:, 0]
    level = directions @ up.astype(np.float32) > LEVEL
    enough = rule.min_area_m2 * np.where(level, FLOOR_SHARE, 1)
    support[support < enough] = 0

    tolerance_all = thickness(surface.points[..., 2], rule)
    free = surface.smooth.copy()
    unclaimed = np.ones(len(points), bool)
    known = max(int(np.count_nonzero(surface.smooth)), 1)
    planes: list[Plane] = []
    while len(planes) < MAX_PLANES:
        best = int(np.argmax(support))
        if support[best] <= 0:
            break
        support[best] = 0
        plane = _settle(points, normals, area, on[best] & unclaimed, unclaimed, tolerance)
        if plane is None or plane[2] < enough[best]:
            continue
        normal, distance, size, behind = plane
        if size < rule.min_area_m2 and not (behind <= rule.max_behind and normal @ up > LEVEL):
            continue
        height = surface.height(normal, distance)
        mask = free & (np.abs(height) < tolerance_all) & (surface.facing(normal) > FACING)
        taken = np.flatnonzero(mask[part][keep] & unclaimed)
        if behind > rule.max_behind:
            beyond = surface.smooth & (height < -BEHIND_M - tolerance_all) & ~_openings(mask)
            behind = int(np.count_nonzero(beyond)) / known
        free &= ~mask
        unclaimed[taken] = False
        support -= (on[:, taken] * area[taken]).sum(axis=1)
        support[support < enough] = 0
        planes.append(Plane(normal, distance, mask, size, behind, behind <= rule.max_behind))
    return planes


def _product(a: F32, b: F32) -> F32:
    """Return a @ b on one core: NumPy's own would wake threads that fusion needs."""
    return np.asarray(cv2.gemm(a, np.ascontiguousarray(b), 1.0, np.empty(0, np.float32), 0.0), dtype=np.float32)


def _openings(mask: Bools) -> Bools:
    """The hull of each large part of a mask: what is seen behind a wall within it, is seen through a window."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    hull = np.zeros(mask.shape, np.uint8)
    for part in range(1, count):
        x, y, w, h, size = stats[part].tolist()
        if size < PART_SHARE * mask.size:
            continue
        window = (parts[y : y + h, x : x + w] == part).view(np.uint8)
        outlines, _ = cv2.findContours(window, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.fillConvexPoly(hull[y : y + h, x : x + w], cv2.convexHull(np.concatenate(outlines)), 1)
    return hull.view(bool)


def _cell_planes(surface: Surface, rule: PlaneRule) -> F32:
    """Planes (n, 4) of the flat cells: unit normal towards the camera, and distance."""
    flat = surface.smooth & (np.maximum(surface.concave, surface.convex) < rule.bend_rad + 2 * surface.bend_noise)
    h, w = flat.shape[0] // CELL * CELL, flat.shape[1] // CELL * CELL
    if h == 0 or w == 0:
        return np.zeros((0, 4), np.float32)
    size = (w // CELL, h // CELL)
    weight = flat[:h, :w, None].astype(np.float32)
    vectors = cv2.resize(surface.normals[:h, :w] * weight, size, interpolation=cv2.INTER_AREA)
    points = cv2.resize(surface.points[:h, :w] * weight, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    length = np.linalg.norm(vectors, axis=-1)
    good = (share > 0.5) & (length > 0.98 * share)
    normals = vectors[good] / length[good][:, None]
    centres = points[good] / share[good][:, None]
    return np.hstack([normals, -np.einsum("ij,ij->i", normals, centres)[:, None]]).astype(np.float32)


def _settle(
    points: F32, normals: F32, area: F32, on: Bools, free: Bools, tolerance: F32
) -> tuple[F64, float, float, float] | None:
    """Fit a plane to the points (n, 3) ``on`` it, take all free ones on it that face its way, until it stays.

    Returns its normal and distance, its area in m2, and the share of all points behind it.
    """
    for _ in range(2):
        fitted = fit_plane(points[on])
        if fitted is None:
            return None
        normal, distance = fitted
        n = normal.astype(np.float32)
        height = points @ n + np.float32(distance)
        on = free & (np.abs(height) < tolerance) & (normals @ n > FACING)
    return normal, distance, float(area[on].sum()), float((height < -BEHIND_M - tolerance).mean())


def fit_plane(points: F32) -> tuple[F64, float] | None:
    """Least squares of inverse depth over points (n, 3): 1/z = a x/z + b y/z + c. None where that is no plane.

    Returns the unit normal towards the camera, and the distance d of normal . x = -d.
    """
    if len(points) < 3:
        return None
    p = points.astype(np.float64)
    A = p / p[:, 2:]
    moments = np.einsum("ij,ik->jk", A, A)
    if np.linalg.det(moments) < 1e-12 * np.trace(moments) ** 3:
        return None
    w = np.linalg.solve(moments, np.einsum("ij,i->j", A, 1 / p[:, 2]))
    length = float(np.linalg.norm(w))
    return (-w / length, 1 / length) if length > 1e-6 else None


def pixel_area(z: F32, slant: F32, surface: Surface) -> F32:
    """Area in m2 that pixels at depth z cover; slant is the cosine between their ray and the surface normal."""
    K = surface.intrinsics
    return np.asarray(z * z / (K.fx * K.fy) / np.maximum(slant, 0.1), dtype=np.float32)
