"""Depth images of boxes, spheres and cylinders with known instances, by exact ray casting; for the tests of segment."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from s3d_ros.types import F32, F64, I32, Frame, Intrinsics

UP = np.array([0.0, 0.0, 1.0])


def camera(width: int = 640, height: int = 480, f: float = 525.0) -> Intrinsics:
    """A Kinect-like camera, or the same picture in another size."""
    return Intrinsics(640, 480, f, f, 319.5, 239.5).scaled(width, height)


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> F64:
    """Pose (4, 4) of an upright camera at ``eye`` that looks at ``target``; z is up in the map."""
    forward = np.subtract(target, eye).astype(float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = eye
    return T


@dataclass
class Depths:
    """A scene that shapes are put into. ``instance`` 0 is what is no thing (floor, walls)."""

    shapes: list[tuple[int, tuple]] = field(default_factory=list)

    def box(self, instance: int, center: tuple, size: tuple, yaw_deg: float = 0.0, tilt_deg: float = 0.0) -> None:
        """A box: yaw about z, then tilted about its own x axis."""
        a, b = np.radians(yaw_deg), np.radians(tilt_deg)
        yaw = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        self.shapes.append((instance, ("box", np.array(center, float), np.array(size, float) / 2, yaw @ tilt)))

    def stand(self, instance: int, x: float, y: float, size: tuple, z: float = 0.0, yaw_deg: float = 0.0) -> None:
        """A box that stands at (x, y) on height z."""
        self.box(instance, (x, y, z + size[2] / 2), size, yaw_deg)

    def sphere(self, instance: int, center: tuple, radius: float) -> None:
        self.shapes.append((instance, ("sphere", np.array(center, float), radius)))

    def cylinder(self, instance: int, x: float, y: float, z: float, radius: float, height: float) -> None:
        """An upright closed cylinder that stands on height z."""
        self.shapes.append((instance, ("cylinder", np.array([x, y, z], float), radius, height)))

    def bowl(self, instance: int, center: tuple, radius: float) -> None:
        """The lower half of a thin sphere, open at the top."""
        self.shapes.append((instance, ("bowl", np.array(center, float), radius)))

    def cup(self, instance: int, x: float, y: float, z: float, radius: float, height: float) -> None:
        """A thin upright cylinder, open at the top."""
        self.shapes.append((instance, ("cup", np.array([x, y, z], float), radius, height)))

    def room(self, low: tuple, high: tuple) -> None:
        """Floor, ceiling and walls of instance 0 around an interior."""
        low, high, t = np.array(low, float), np.array(high, float), 0.2
        for axis in range(3):
            for side in (low, high):
                center, size = (low + high) / 2, high - low + 2 * t
                center[axis] = side[axis] + (t / 2 if side is high else -t / 2)
                size[axis] = t
                self.box(0, tuple(center), tuple(size))

    def render(self, K: Intrinsics, T_map_camera: F64, max_m: float = 10.0) -> tuple[F32, I32]:
        """Return depth (H, W) in metres, 0 beyond ``max_m``, and instances (H, W), -1 where there is no depth."""
        u, v = np.meshgrid(np.arange(K.width), np.arange(K.height))
        rays = np.stack([(u - K.cx) / K.fx, (v - K.cy) / K.fy, np.ones_like(u, float)], axis=-1).reshape(-1, 3)
        rays = rays @ T_map_camera[:3, :3].T  # of depth 1
        eye = T_map_camera[:3, 3]
        depth, instance = np.full(len(rays), np.inf), np.full(len(rays), -1, np.int32)
        for number, shape in self.shapes:
            hit = _CAST[shape[0]](eye, rays, *shape[1:])
            nearer = hit < depth
            depth[nearer], instance[nearer] = hit[nearer], number
        gone = depth > max_m
        depth[gone], instance[gone] = 0, -1
        shape = (K.height, K.width)
        return depth.reshape(shape).astype(np.float32), instance.reshape(shape)

    def frame(self, K: Intrinsics, T_map_camera: F64, noise_per_m: float = 0.0, seed: int = 0) -> tuple[Frame, I32]:
        """Return the frame that a camera sees, and the true instances; noise is that of inverse depth."""
        depth, instance = self.render(K, T_map_camera)
        if noise_per_m:
            noise = np.random.default_rng(seed).normal(0, noise_per_m, depth.shape)
            depth = np.where(depth > 0, 1 / np.maximum(1 / np.maximum(depth, 0.1) + noise, 0.05), 0)
        color = np.zeros((K.height, K.width, 3), np.uint8)
        return Frame(0, 0, color, depth.astype(np.float32), K, T_map_camera), instance


def _cast_box(eye: F64, rays: F64, center: F64, half: F64, axes: F64) -> F64:
    """Depth of the first hit of each ray (n, 3), inf where there is none, also from inside (walls are thin boxes)."""
    o, d = (eye - center) @ axes, rays @ axes
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half - o) / d, (half - o) / d
    near, far = np.nanmax(np.minimum(a, b), axis=1), np.nanmin(np.maximum(a, b), axis=1)
    return np.where((near <= far) & (near > 0.05), near, np.inf)


def _cast_sphere(eye: F64, rays: F64, center: F64, radius: float) -> F64:
    o = eye - center
    a, b, c = (rays**2).sum(1), rays @ o, o @ o - radius**2
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def _cast_cylinder(eye: F64, rays: F64, foot: F64, radius: float, height: float) -> F64:
    o = eye - foot
    a, b, c = (rays[:, :2] ** 2).sum(1), rays[:, :2] @ o[:2], o[:2] @ o[:2] - radius**2
    root = b * b - a * c
    side = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    z = o[2] + side * rays[:, 2]
    side = np.where((z >= 0) & (z <= height) & (side > 0.05), side, np.inf)
    with np.errstate(divide="ignore"):
        top = (height - o[2]) / rays[:, 2]
    at = o[:2] + top[:, None] * rays[:, :2]
    top = np.where((top > 0.05) & ((at**2).sum(1) <= radius**2), top, np.inf)
    return np.minimum(side, top)


def _cast_bowl(eye: F64, rays: F64, center: F64, radius: float) -> F64:
    o = eye - center
    a, b, c = (rays**2).sum(1), rays @ o, o @ o - radius**2
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    hits = [
        np.where((b * b > a * c) & (o[2] + t * rays[:, 2] <= 0), t, np.inf) for t in ((-b - root) / a, (-b + root) / a)
    ]
    return np.minimum(*hits)


def _cast_cup(eye: F64, rays: F64, foot: F64, radius: float, height: float) -> F64:
    o = eye - foot
    a, b, c = (rays[:, :2] ** 2).sum(1), rays[:, :2] @ o[:2], o[:2] @ o[:2] - radius**2
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    hits = []
    for t in ((-b - root) / a, (-b + root) / a):
        z = o[2] + t * rays[:, 2]
        hits.append(np.where((b * b > a * c) & (z >= 0) & (z <= height), t, np.inf))
    bottom = (0.004 - o[2]) / rays[:, 2]
    at = o[:2] + bottom[:, None] * rays[:, :2]
    hits.append(np.where(((at**2).sum(1) <= radius**2) & (bottom > 0.05), bottom, np.inf))
    return np.min(hits, axis=0)


_CAST = {
    "box": _cast_box,
    "sphere": _cast_sphere,
    "cylinder": _cast_cylinder,
    "bowl": _cast_bowl,
    "cup": _cast_cup,
}
