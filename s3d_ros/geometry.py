"""Rigid transforms, projection and oriented boxes. Pure functions over NumPy arrays; no state."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation, Slerp

from s3d_ros.types import F32, F64, U16, Intrinsics, OrientedBox

# A rotation off by more than this is no rotation that was rounded, but something else.
ROTATION_TOLERANCE = 2e-2
_MOST_MM = 1 << 16


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


def millimetres(depth_m: F32) -> U16:
    """Return depth in whole millimetres; what is too far for 16 bit, above 65.5 m, is 0: unknown."""
    known = depth_m * np.float32(1000) + np.float32(0.5)
    return np.where(known < _MOST_MM, known, np.float32(0)).astype(np.uint16)


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
    length = float(np.linalg.norm(u))
    if not length > 0 or not np.isfinite(length):
        raise ValueError(f"up = {u.tolist()} is no direction")
    u = u / length
    axis = np.cross(u, (0, 0, 1))
    s, c = np.linalg.norm(axis), u[2]
    if s < 1e-12:
        return np.eye(3) if c > 0 else np.diag([1.0, -1.0, -1.0])
    return np.asarray(Rotation.from_rotvec(axis / s * np.arctan2(s, c)).as_matrix())


def box_of_points(points: F64, up: ArrayLike = (0, 0, 1)) -> OrientedBox:
    """Fit the box with one axis along ``up`` and the smallest footprint around points (N, 3), N >= 1."""
    import cv2

    if len(points) == 0:
        raise ValueError("there is no box around no points")
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
    """Return the distance between the closest points of two boxes, and these points (3,), (3,). 0 when they meet.

    Exact: two convex solids that don't meet are closest at a corner of one of them, or between two edges.
    """
    corners_a, corners_b = a.corners(), b.corners()
    common = _edge_in_box(corners_a, b)
    if common is None:
        common = _edge_in_box(corners_b, a)
    if common is not None:
        return 0.0, common, common
    p, q = _closest_on_edges(corners_a, corners_b)
    p = np.concatenate([corners_a, _nearest_in_box(corners_b, a), p])
    q = np.concatenate([_nearest_in_box(corners_a, b), corners_b, q])
    squared = ((p - q) ** 2).sum(axis=1)
    best = int(squared.argmin())
    return float(np.sqrt(squared[best])), p[best], q[best]


# Corners as `OrientedBox.corners` numbers them: an edge joins two that differ in one sign.
_EDGES = np.array([[i, i | bit] for bit in (1, 2, 4) for i in range(8) if not i & bit])


def _nearest_in_box(points: F64, box: OrientedBox) -> F64:
    """Return the point of the box nearest to each of the points (N, 3)."""
    local = (points - box.center) @ box.axes.T
    return np.asarray(box.center + np.clip(local, -box.size / 2, box.size / 2) @ box.axes)


def _edge_in_box(corners: F64, box: OrientedBox) -> F64 | None:
    """Return a point (3,) that the box shares with one of the 12 edges between these corners (8, 3), None without."""
    local = (corners - box.center) @ box.axes.T
    start = local[_EDGES[:, 0]]
    along = local[_EDGES[:, 1]] - start
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    near, far = (-box.size / 2 - start) / along, (box.size / 2 - start) / along
    enter = np.maximum(np.minimum(near, far).max(axis=1), 0)
    leave = np.minimum(np.maximum(near, far).min(axis=1), 1)
    best = int((leave - enter).argmax())
    if leave[best] < enter[best]:
        return None
    return np.asarray(box.center + (start[best] + (enter[best] + leave[best]) / 2 * along[best]) @ box.axes)


def _closest_on_edges(corners_a: F64, corners_b: F64) -> tuple[F64, F64]:
    """Return the closest points (144, 3), (144, 3) of every edge of one box with every edge of the other."""
    p = corners_a[_EDGES[:, 0]][:, None]  # (12, 1, 3)
    q = corners_b[_EDGES[:, 0]][None]
    u, v = corners_a[_EDGES[:, 1]][:, None] - p, corners_b[_EDGES[:, 1]][None] - q
    w = p - q
    uu = np.maximum((u * u).sum(-1), 1e-18)
    vv = np.maximum((v * v).sum(-1), 1e-18)
    uv, uw, vw = (u * v).sum(-1), (u * w).sum(-1), (v * w).sum(-1)
    # Of parallel edges a corner is as near as anything between; corners are looked at as well.
    s = np.clip((uv * vw - vv * uw) / np.maximum(uu * vv - uv * uv, 1e-12 * uu * vv), 0, 1)
    t = np.clip((uv * s + vw) / vv, 0, 1)
    s = np.clip((uv * t - uw) / uu, 0, 1)
    return (p + s[..., None] * u).reshape(-1, 3), (q + t[..., None] * v).reshape(-1, 3)


def point_box_distance(point: ArrayLike, box: OrientedBox) -> float:
    """Return the distance of a point (3,) from the nearest point of a box; 0 inside."""
    local = np.abs(box.axes @ (np.asarray(point) - box.center)) - box.size / 2
    return float(np.linalg.norm(np.maximum(local, 0)))


def inside_box(points: ArrayLike, box: OrientedBox, margin_m: float = 0.0) -> np.ndarray:
    """Return which of the points (N, 3) lie in the box grown by ``margin_m`` on every side, (N,) bool."""
    local = (np.asarray(points) - box.center) @ box.axes.T
    return np.asarray((np.abs(local) <= box.size / 2 + margin_m).all(axis=1))


# Faces nearer to each other than this lie in one plane.
_COPLANAR_M = 1e-9
_Point = tuple[float, float, float]


def box_iou(a: OrientedBox, b: OrientedBox) -> float:
    """Return the exact volume IoU of two oriented boxes of any attitude.

    What they share is bounded by the faces of each, as far as they lie in the other. By the divergence theorem its
    volume is a third of the sum over these pieces: area times signed distance of the piece's plane from one point,
    here the centre of b. A box thinner than 2e-6 m counts as that thick.
    """
    size_a, size_b = np.maximum(a.size, 2e-6), np.maximum(b.size, 2e-6)
    if np.linalg.norm(a.center - b.center) >= (np.linalg.norm(size_a) + np.linalg.norm(size_b)) / 2:
        return 0.0
    offset = a.axes @ (a.center - b.center)  # of a's centre, along a's axes
    turn = b.axes @ a.axes.T  # rows: b's axes in a's frame
    # A plane with a face of each is counted for a only.
    a_in_b = _face_areas(size_a / 2, turn @ offset, turn.T, size_b / 2, with_coplanar=True)
    b_in_a = _face_areas(size_b / 2, -offset, turn, size_a / 2, with_coplanar=False)
    from_b = np.stack([size_a / 2 + offset, size_a / 2 - offset], axis=1).ravel()
    both = max(float(a_in_b @ from_b + b_in_a @ np.repeat(size_b / 2, 2)) / 3, 0.0)
    return min(both / (float(np.prod(size_a)) + float(np.prod(size_b)) - both), 1.0)


def _face_areas(half: F64, center: F64, axes: F64, other_half: F64, with_coplanar: bool) -> F64:
    """Return how much of each face of a box, (6,) m2 in the order +x, -x, +y ..., lies in another box.

    ``center`` and ``axes`` are given in the frame of the other box, which reaches +-``other_half`` from its origin.
    """
    areas = np.zeros(6)
    reach = np.abs(axes.T) @ half
    if (np.abs(center) > reach + other_half).any():
        return areas
    bounds = other_half.tolist()
    for k in range(3):
        u, v = axes[k - 1] * half[k - 1], axes[k - 2] * half[k - 2]
        for i, sign in enumerate((1.0, -1.0)):
            normal = sign * axes[k]
            middle = center + normal * half[k]
            face = [tuple(p) for p in (middle + np.array([u + v, u - v, -u - v, v - u])).tolist()]
            for j in range(3):
                for side in (1.0, -1.0):
                    same_way = with_coplanar and side * normal[j] > 0
                    bound = bounds[j] + (_COPLANAR_M if same_way else -_COPLANAR_M)
                    face = _cut(face, j, side, bound)
            areas[2 * k + i] = _area(face)
    return areas


def _cut(polygon: list[_Point], axis: int, side: float, bound: float) -> list[_Point]:
    """Return the part of a convex polygon where ``side`` times the coordinate is at most ``bound``."""
    room = [bound - side * p[axis] for p in polygon]
    if not polygon or min(room) >= 0:
        return polygon
    out: list[_Point] = []
    for k, (p, r) in enumerate(zip(polygon, room, strict=True)):
        q, r_before = polygon[k - 1], room[k - 1]
        if (r >= 0) != (r_before >= 0):
            t = r_before / (r_before - r)
            out.append((q[0] + t * (p[0] - q[0]), q[1] + t * (p[1] - q[1]), q[2] + t * (p[2] - q[2])))
        if r >= 0:
            out.append(p)
    return out


def _area(polygon: list[_Point]) -> float:
    """Return the area of a convex polygon."""
    if len(polygon) < 3:
        return 0.0
    spokes = np.array(polygon[1:]) - polygon[0]
    return float(np.linalg.norm(np.cross(spokes[:-1], spokes[1:]), axis=1).sum() / 2)
