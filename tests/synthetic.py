"""Small worlds of boxes, rendered exactly: tests know every answer by hand."""

from __future__ import annotations

import numpy as np
import open3d as o3d

from s3d_ros.geometry import invert
from s3d_ros.types import Frame, Instances, Intrinsics

SMALL = Intrinsics(160, 120, 130.0, 130.0, 79.5, 59.5)
FULL = Intrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)
FRAME_NS = 100_000_000


class BoxWorld:
    """Boxes {name: (min, max)} in a room; the names that end in a number are objects, the others are structure."""

    def __init__(self, boxes: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
        self._scene = o3d.t.geometry.RaycastingScene()
        self._numbers, self._labels, colors = [0], [""], [(0, 0, 0)]
        rng = np.random.default_rng(1)
        for name, (low, high) in boxes.items():
            mesh = o3d.geometry.TriangleMesh.create_box(*(np.array(high) - np.array(low)))
            mesh.translate(np.array(low, dtype=float))
            self._scene.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
            label = name.rstrip("0123456789")
            self._numbers.append(int(name[len(label) :] or 0))
            self._labels.append(label)
            colors.append(tuple(rng.integers(60, 255, 3)))
        self._colors = np.array(colors, np.uint8)

    def frame(self, T_map_camera: np.ndarray, index: int = 0, k: Intrinsics = SMALL) -> tuple[Frame, Instances]:
        """Render one frame and its instances, the objects' numbers being those of their names."""
        rays = self._scene.create_rays_pinhole(
            o3d.core.Tensor(k.matrix()), o3d.core.Tensor(invert(T_map_camera)), k.width, k.height
        )
        hit = self._scene.cast_rays(rays)
        depth = hit["t_hit"].numpy()
        which = np.where(np.isfinite(depth), hit["geometry_ids"].numpy().astype(np.int64) + 1, 0)
        depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
        depth[depth > 5] = 0
        numbers = np.array(self._numbers, np.uint16)[which]
        stamp_ns = index * FRAME_NS
        labels = dict(zip(self._numbers, self._labels, strict=True))
        present = tuple(int(n) for n in np.unique(numbers) if n)
        frame = Frame(index, stamp_ns, self._colors[which], depth, k, T_map_camera)
        return frame, Instances(
            stamp_ns, numbers, present, tuple(labels[n] for n in present), tuple(0.9 for _ in present)
        )


def look_at(eye: tuple[float, ...], target: tuple[float, ...]) -> np.ndarray:
    """Return T_map_camera (4, 4) of an optical frame at ``eye`` that looks at ``target``, upright in a z-up map."""
    z = np.array(target, dtype=float) - np.array(eye, dtype=float)
    z /= np.linalg.norm(z)
    x = np.cross(z, (0, 0, 1))
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    T[:3, 3] = eye
    return T


def room(**objects: tuple[tuple[float, ...], tuple[float, ...]]) -> dict:
    """Return a 4 m x 4 m x 2.5 m room (x, y in 0..4) with a ceiling, and things in it."""
    t = 0.1
    return {
        "floor": ((-t, -t, -t), (4 + t, 4 + t, 0)),
        "ceiling": ((-t, -t, 2.5), (4 + t, 4 + t, 2.5 + t)),
        "west": ((-t, 0, 0), (0, 4, 2.5)),
        "east": ((4, 0, 0), (4 + t, 4, 2.5)),
        "south": ((0, -t, 0), (4, 0, 2.5)),
        "north": ((0, 4, 0), (4, 4 + t, 2.5)),
        **objects,
    }


def circle(count: int, radius_m: float = 1.6, height_m: float = 1.5, center=(2.0, 2.0), look_z: float = 0.4):
    """Yield ``count`` poses around the middle of the room, looking across it."""
    for a in np.linspace(0, 2 * np.pi, count, endpoint=False):
        eye = (center[0] + radius_m * np.cos(a), center[1] + radius_m * np.sin(a), height_m)
        yield look_at(eye, (2.0, 2.0, look_z))
