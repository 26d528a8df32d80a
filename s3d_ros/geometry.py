"""Rigid transforms, projection and oriented boxes. Pure functions over NumPy arrays; no state."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import lsq_linear
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError
from scipy.spatial.transform import Rotation, Slerp

from s3d_ros.types import F32, F64, Intrinsics, OrientedBox

# A rotation off by more than this is no rotation that was rounded, but something else.
ROTATION_TOLERANCE = 2e-2


class PoseError(ValueError):
    """A pose that is no rigid transform; the message says by how much."""


def invert(T: F64) -> F64:
    """Invert a rigid transform (4, 4)."""
    out = np.eye(4)
    out[:3, :3] = T[:3, :3].T
    out[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return out


def transform(T: F64, points: ArrayLike) -> F64:
    """Apply T (4, 4) to points (N, 3)."""
    return np.asarray(points) @ T[:3, :3].T + T[:3, 3]


def rigid(T: ArrayLike) -> F64:
    """Return T with its rotation made exactly orthonormal (polar decomposition: the nearest rotation).

    Raises PoseError for a matrix that is not (4, 4), not finite, mirrored, or off by more than ROTATION_TOLERANCE.
    """
    M = np.array(T, dtype=np.float64)
    if M.shape != (4, 4):
        raise PoseError(f"a pose is a 4x4 matrix, not {M.shape}")
    if not np.isfinite(M).all():
        raise PoseError("the pose holds NaN or infinity")
    if not np.allclose(M[3], (0, 0, 0, 1), atol=1e-6):
        raise PoseError(f"the last row of a pose is 0 0 0 1, not {M[3].tolist()}")
    R = M[:3, :3]
    error = float(np.abs(R @ R.T - np.eye(3)).max())
    if error > ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise PoseError(
            f"not a rotation: R R^T is off by {error:.3g} (at most {ROTATION_TOLERANCE}), "
            f"det(R) = {np.linalg.det(R):.3f}"
        )
    u, _, vt = np.linalg.svd(R)
    M[:3, :3] = u @ vt
    return M


def pose_matrix(position: ArrayLike, quaternion_xyzw: ArrayLike) -> F64:
    """Make T (4, 4) from a position (3,) and a quaternion (4,) x, y, z, w. Raises PoseError for a zero quaternion."""
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if not np.isfinite(norm) or abs(norm - 1) > ROTATION_TOLERANCE:
        raise PoseError(f"the quaternion {q.tolist()} has length {norm:.3g}, not 1")
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(q).as_matrix()
    T[:3, 3] = np.asarray(position, dtype=np.float64)
    if not np.isfinite(T).all():
        raise PoseError("the position holds NaN or infinity")
    return T


def quaternion(T: F64) -> F64:
    """Return the quaternion (4,) x, y, z, w of T's rotation."""
    return np.asarray(Rotation.from_matrix(T[:3, :3]).as_quat())


def interpolate(T_a: F64, T_b: F64, fraction: float) -> F64:
    """Interpolate between two poses: slerp for the rotation, linear for the translation."""
    T = np.eye(4)
    T[:3, :3] = Slerp([0, 1], Rotation.from_matrix([T_a[:3, :3], T_b[:3, :3]]))(fraction).as_matrix()
    T[:3, 3] = (1 - fraction) * T_a[:3, 3] + fraction * T_b[:3, 3]
    return T


def backproject(depth_m: F32, intrinsics: Intrinsics) -> F32:
    """Return camera points (H, W, 3) of a depth image (H, W) in metres; (0, 0, 0) where the depth is 0."""
    h, w = depth_m.shape
    x = (np.arange(w, dtype=np.float32) - intrinsics.cx) / intrinsics.fx
    y = (np.arange(h, dtype=np.float32) - intrinsics.cy) / intrinsics.fy
    return np.stack([depth_m * x[None, :], depth_m * y[:, None], depth_m], axis=-1).astype(np.float32)


def project(points_camera: F64, intrinsics: Intrinsics) -> tuple[F64, F64]:
    """Project points (N, 3) of the camera frame; return pixels (N, 2) u, v and depth (N,). Depth <= 0 gives NaN."""
    z = points_camera[:, 2]
    safe = np.where(z > 0, z, np.nan)
    u = points_camera[:, 0] / safe * intrinsics.fx + intrinsics.cx
    v = points_camera[:, 1] / safe * intrinsics.fy + intrinsics.cy
    return np.stack([u, v], axis=1), z


def level_rotation(up: ArrayLike) -> F64:
    """Return R (3, 3) that turns the map so that ``up`` becomes +z, by the smallest turn (identity for +z)."""
    u = np.asarray(up, dtype=np.float64)
    u = u / np.linalg.norm(u)
    axis = np.cross(u, (0, 0, 1))
    s, c = np.linalg.norm(axis), u[2]
    if s < 1e-12:
        return np.eye(3) if c > 0 else np.diag([1.0, -1.0, -1.0])
    return np.asarray(Rotation.from_rotvec(axis / s * np.arctan2(s, c)).as_matrix())


def box_of_points(points: F64, up: ArrayLike = (0, 0, 1)) -> OrientedBox:
    """Fit the box with one axis along ``up`` and the smallest footprint around points (N, 3), N >= 1."""
    import cv2

    R = level_rotation(up)
    p = np.asarray(points, dtype=np.float64) @ R.T
    low, high = p[:, 2].min(), p[:, 2].max()
    middle = p[:, :2].mean(axis=0)  # float32 in OpenCV: keep the numbers small
    (cx, cy), (w, h), angle_deg = cv2.minAreaRect((p[:, :2] - middle).astype(np.float32))
    a = np.deg2rad(angle_deg)
    axes = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    center = np.array([cx + middle[0], cy + middle[1], (low + high) / 2])
    return OrientedBox(center @ R, np.array([w, h, high - low], dtype=np.float64), axes @ R)


def box_distance(a: OrientedBox, b: OrientedBox) -> tuple[float, F64, F64]:
    """Return the distance between the closest points of two boxes, and these points (3,), (3,). 0 when they meet."""
    M = np.hstack([a.axes.T, -b.axes.T])
    bound = np.maximum(np.concatenate([a.size, b.size]) / 2, 1e-9)
    x = lsq_linear(M, b.center - a.center, bounds=(-bound, bound), method="bvls").x
    p, q = a.center + a.axes.T @ x[:3], b.center + b.axes.T @ x[3:]
    return float(np.linalg.norm(p - q)), p, q


def point_box_distance(point: ArrayLike, box: OrientedBox) -> float:
    """Return the distance of a point (3,) from the nearest point of a box; 0 inside."""
    local = np.abs(box.axes @ (np.asarray(point) - box.center)) - box.size / 2
    return float(np.linalg.norm(np.maximum(local, 0)))


def inside_box(points: ArrayLike, box: OrientedBox, margin_m: float = 0.0) -> np.ndarray:
    """Return which of the points (N, 3) lie in the box grown by ``margin_m`` on every side, (N,) bool."""
    local = (np.asarray(points) - box.center) @ box.axes.T
    return np.asarray((np.abs(local) <= box.size / 2 + margin_m).all(axis=1))


def _halfspaces(box: OrientedBox) -> F64:
    """Six rows n, d of n.x + d <= 0."""
    half = np.maximum(box.size / 2, 1e-6)
    n = np.concatenate([box.axes, -box.axes])
    d = -np.concatenate([half, half]) - np.concatenate([box.axes @ box.center, -box.axes @ box.center])
    return np.hstack([n, d[:, None]])


def box_iou(a: OrientedBox, b: OrientedBox) -> float:
    """Return the exact volume IoU of two oriented boxes of any attitude (intersection of their half-spaces)."""
    va, vb = float(np.prod(np.maximum(a.size, 2e-6))), float(np.prod(np.maximum(b.size, 2e-6)))
    reach = np.linalg.norm(a.size) / 2 + np.linalg.norm(b.size) / 2
    if np.linalg.norm(a.center - b.center) >= reach or box_distance(a, b)[0] > 1e-9:
        return 0.0
    shift = a.center
    spaces = np.vstack([_halfspaces(a), _halfspaces(b)])
    spaces[:, 3] += spaces[:, :3] @ shift  # near the origin, where Qhull is exact
    inside = _chebyshev_center(spaces)
    if inside is None:
        return 0.0
    try:
        both = float(ConvexHull(HalfspaceIntersection(spaces, inside).intersections).volume)
    except QhullError:  # they only touch
        return 0.0
    return both / (va + vb - both)


def _chebyshev_center(halfspaces: F64) -> F64 | None:
    """Return the centre of the largest ball in an intersection of half-spaces, None where it is empty."""
    from scipy.optimize import linprog

    A = np.hstack([halfspaces[:, :3], np.linalg.norm(halfspaces[:, :3], axis=1, keepdims=True)])
    best = linprog([0, 0, 0, -1], A_ub=A, b_ub=-halfspaces[:, 3], bounds=[(None, None)] * 3 + [(0, None)])
    if not best.success or best.x[3] < 1e-9:
        return None
    return np.asarray(best.x[:3])
