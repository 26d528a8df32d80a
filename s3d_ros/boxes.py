"""The oriented box of an object from the points that were seen of it."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from scipy import ndimage

from s3d_ros.geometry import level_rotation
from s3d_ros.types import F64, Bools, OrientedBox

_MOST_POINTS = 2000
_YAW_POINTS = 400
# Range and step of the search for the yaw, in degrees, coarse to fine: 0.1 degrees are 4 mm on a whiteboard.
_YAW_SEARCH = ((45.0, 3.0), (2.5, 0.5), (0.4, 0.1))
# Among the yaws whose footprint is about as small as the smallest, the one whose sides the points hug wins.
_NEARLY_SMALLEST = 1.25
_NEAREST_M = 0.01
# Things stand upright unless a tilted box is smaller by so much: a telephone, a laptop's lid.
_TILT_GAIN = 0.65
_GROWTH_SHARE = 0.1
_BODY_CELL_VOXELS, _BODY_SHARE, _MOST_CELLS = 3, 0.15, 1_000_000
_HALO_SHARE = 0.15
_SMALL_CELLS, _HALO_SHARE_OF_SMALL = 4, 0.0
# The hull of the points that reach furthest in so many directions is as good as that of all, and found in no time.
_HULL_DIRECTIONS = 48


def _half_sphere(n: int) -> F64:
    """Return n unit vectors (n, 3) spread evenly over half a sphere, by the golden angle."""
    z = (np.arange(n) + 0.5) / n
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


_DIRECTIONS = _half_sphere(_HULL_DIRECTIONS)


def fit_box(positions: F64, counts: F64, voxel_m: float, up: F64) -> OrientedBox:
    """Fit a box to voxels' mean points (N, 3), N >= 3, each seen ``counts`` (N,) times; ``up`` (3,) is a unit vector.

    The box stands along ``up``, turned so that the points lie close to its sides (the closeness criterion of Zhang et
    al., "Efficient L-shape fitting for vehicle detection using laser scanners", IV 2017): the smallest footprint alone
    turns a door by its handle. Voxels seen far more rarely than the rest are left out: they come from ragged masks and
    depth noise. The mean point of a border voxel lies inside the thing by about a quarter of the voxel: the box is
    grown by that on each side, less where it is thin.
    """
    points = positions[counts >= 0.05 * np.median(counts)]
    points = points[_main_body(points, _BODY_CELL_VOXELS * voxel_m)]
    if len(points) > _MOST_POINTS:
        points = points[:: len(points) // _MOST_POINTS + 1]
    R = level_rotation(up)
    yaw = _best_yaw((points[:: len(points) // _YAW_POINTS + 1] @ R.T)[:, :2])
    c, s = np.cos(yaw), np.sin(yaw)
    box = _box_along(points, np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ R)
    if box.size.min() > voxel_m:
        tilted = _tilted_box(points)
        if tilted is not None and np.prod(tilted.size + voxel_m) < _TILT_GAIN * np.prod(box.size + voxel_m):
            box = tilted
    return OrientedBox(box.center, box.size + np.minimum(0.5 * voxel_m, _GROWTH_SHARE * box.size), box.axes)


def stands_out(points: F64, sights: F64, voxel_m: float) -> Bools:
    """Return which of a thing's voxels (points (N, 3), seen ``sights`` (N,) times) are no halo of others, (N,).

    Noise in depth, pose and masks puts a point now and then beside a surface that is seen again and again. A voxel
    seen rarely compared with the best within 10 to 20 cm is such; where all is seen rarely, all is kept.
    """
    cells = np.floor(points / (_BODY_CELL_VOXELS * voxel_m)).astype(np.int64)
    cells -= cells.min(axis=0)
    shape = tuple((cells.max(axis=0) + 1).tolist())
    if np.prod(shape) > _MOST_CELLS:
        return np.ones(len(points), bool)
    most = np.zeros(shape)
    np.maximum.at(most, tuple(cells.T), sights)
    # Of a small thing all is near all: its spout is seen rarely beside its belly.
    share = _HALO_SHARE if max(shape) > _SMALL_CELLS else _HALO_SHARE_OF_SMALL
    return np.asarray(sights >= share * ndimage.maximum_filter(most, size=3, mode="constant")[tuple(cells.T)])


def _main_body(points: F64, cell_m: float) -> Bools:
    """Return which points (N, 3) are of the thing's body, (N,): crumbs that lie apart from it are not.

    Bodies are connected cells of ``cell_m``; all count that hold a fair share of the points: a thing seen from two
    sides only has two.
    """
    cells = np.floor(points / cell_m).astype(np.int64)
    cells -= cells.min(axis=0) - 1
    shape = tuple((cells.max(axis=0) + 2).tolist())
    if np.prod(shape) > _MOST_CELLS:  # crumbs at the ends of the world: first what is near the middle
        near = np.linalg.norm(points - np.median(points, axis=0), axis=1) < _MOST_CELLS ** (1 / 3) * cell_m / 2
        out = np.zeros(len(points), bool)
        out[near] = _main_body(points[near], cell_m) if 0 < near.sum() < len(points) else True
        return out
    filled = np.zeros(shape, bool)
    filled[tuple(cells.T)] = True
    labels, count = ndimage.label(filled, structure=np.ones((3, 3, 3), bool))
    if count == 1:
        return np.ones(len(points), bool)
    body = labels[tuple(cells.T)]
    sizes = np.bincount(body, minlength=count + 1)
    return np.asarray((sizes >= _BODY_SHARE * sizes.max())[body])


def _best_yaw(xy: F64) -> float:
    """Return the yaw (radians) of the rectangle that fits points (N, 2) best."""
    best = 45.0
    for reach_deg, step_deg in _YAW_SEARCH:
        yaws = np.deg2rad(np.arange(best - reach_deg, best + reach_deg + step_deg / 2, step_deg))
        directions = np.stack([np.cos(yaws), np.sin(yaws)])
        a = xy @ directions  # (N, yaws)
        b = xy @ np.stack([-directions[1], directions[0]])
        low_a, high_a, low_b, high_b = a.min(axis=0), a.max(axis=0), b.min(axis=0), b.max(axis=0)
        area = (high_a - low_a + _NEAREST_M) * (high_b - low_b + _NEAREST_M)
        to_side = np.minimum(np.minimum(a - low_a, high_a - a), np.minimum(b - low_b, high_b - b))
        closeness = (1 / np.maximum(to_side, _NEAREST_M)).sum(axis=0)
        closeness[area > _NEARLY_SMALLEST * area.min()] = 0
        best = float(np.rad2deg(yaws[int(np.argmax(closeness / area))]))
    return float(np.deg2rad(best))


def _box_along(points: F64, axes: F64) -> OrientedBox:
    """Return the box of points (N, 3) along the rows of ``axes`` (3, 3)."""
    local = points @ axes.T
    low, high = local.min(axis=0), local.max(axis=0)
    return OrientedBox((low + high) / 2 @ axes, high - low, axes)


def _tilted_box(points: F64) -> OrientedBox | None:
    """Return the smallest box of points (N, 3) of any attitude, None where they lie in a plane or a line."""
    if len(points) < 10:
        return None
    along = points @ _DIRECTIONS.T
    corners = points[np.unique(np.concatenate([along.argmin(axis=0), along.argmax(axis=0)]))]
    try:
        with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):  # it warns of rounding
            box = o3d.geometry.OrientedBoundingBox.create_from_points_minimal(o3d.utility.Vector3dVector(corners))
    except RuntimeError:  # no hull
        return None
    return _box_along(points, np.asarray(box.R).T)
