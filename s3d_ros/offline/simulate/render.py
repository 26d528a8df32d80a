"""What the camera sees: colour, depth and which thing each pixel is, by casting a ray through each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate.mesh import join
from s3d_ros.offline.simulate.textures import NEUTRAL, SIZE, atlas
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F32, F64, I32, U8, U16, Intrinsics

_LIGHT = np.array([0.35, -0.5, 0.79])


@dataclass(frozen=True)
class View:
    """color: (H, W, 3) uint8 RGB. depth_m: (H, W) float32 along the optical axis, 0 where nothing is hit.

    things: (H, W) uint16 id of the thing, 0 for the building. facing: (H, W) float32, cosine between ray and the
    surface's normal; None where it was not asked for.
    """

    color: U8
    depth_m: F32
    things: U16
    facing: F32 | None


class Renderer:
    """Renders a world with one pinhole camera."""

    def __init__(self, world: World, intrinsics: Intrinsics) -> None:
        import open3d as o3d

        self._core = o3d.core
        mesh = join([world.shell, *(t.mesh for t in world.things)])
        counts = [len(world.shell.triangles), *(len(t.mesh.triangles) for t in world.things)]
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.core.Tensor(mesh.vertices.astype(np.float32)), o3d.core.Tensor(mesh.triangles.astype(np.uint32))
        )
        # One row more, for rays that hit nothing: black, and no thing
        ids = np.repeat([0, *(t.id for t in world.things)], counts)
        self._ids = np.append(ids, 0).astype(np.uint16)
        self._normals = np.vstack([mesh.normals(), np.zeros(3)]).astype(np.float32)
        shaded = mesh.color * _shade(mesh.normals())[:, None] * (255.0 / NEUTRAL)
        self._colors = np.vstack([shaded, np.zeros(3)]).astype(np.float32)
        corner, right, up = (mesh.texcoords[:, k] for k in range(3))
        layout = np.concatenate([corner, right - corner, up - corner], axis=1) * SIZE
        self._texcoords = np.vstack([layout, np.zeros(6)]).astype(np.float32)
        self._layers = np.append(mesh.texture, 0).astype(np.int32) * (SIZE * SIZE)
        self._atlas = atlas().reshape(-1, 3)
        self.intrinsics = intrinsics
        i = intrinsics
        # z = 1, so that the ray's parameter is the depth
        self._x = ((np.arange(i.width) - i.cx) / i.fx).astype(np.float32)
        self._y = ((np.arange(i.height) - i.cy) / i.fy).astype(np.float32)[:, None]
        self._shorten = 1 / np.sqrt(self._x**2 + self._y**2 + 1)  # (H, W), what makes them unit vectors
        self._rays = np.empty((i.height, i.width, 6), dtype=np.float32)

    def render(self, T_map_camera: F64, *, facing: bool = True) -> View:
        """Render from a pose, camera-to-map (4, 4). Without ``facing`` it is a little quicker."""
        h, w = self.intrinsics.height, self.intrinsics.width
        hits = self._cast(T_map_camera)
        depth_m = hits["t_hit"].numpy()
        triangle = self._triangles(hits)
        uv = hits["primitive_uvs"].numpy().reshape(-1, 2)
        return View(
            self._shaded_color(triangle, uv).reshape(h, w, 3),
            np.where(np.isfinite(depth_m), depth_m, 0).astype(np.float32).reshape(h, w),
            np.take(self._ids, triangle).reshape(h, w),
            self._facing(triangle).reshape(h, w) * self._shorten if facing else None,
        )

    def _facing(self, triangle: I32) -> F32:
        normals = np.take(self._normals, triangle, axis=0)
        return np.abs(np.einsum("ij,ij->i", normals, self._rays.reshape(-1, 6)[:, 3:]))

    def things(self, T_map_camera: F64) -> U16:
        """Return only which thing each pixel is, (H, W): quicker than a whole view."""
        hits = self._cast(T_map_camera)
        return self._ids[self._triangles(hits)].reshape(self.intrinsics.height, self.intrinsics.width)

    def cast(self, origins: F32, directions: F32) -> tuple[F32, U16]:
        """Cast any rays (N, 3); return how far each goes, inf for ever, in lengths of its direction, and the thing."""
        rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
        hits = self._scene.cast_rays(self._core.Tensor(rays))
        return hits["t_hit"].numpy(), self._ids[self._triangles(hits)]

    def _cast(self, T_map_camera: F64) -> dict:
        R = T_map_camera[:3, :3].astype(np.float32)
        self._rays[:, :, :3] = T_map_camera[:3, 3]
        for k in range(3):
            self._rays[:, :, 3 + k] = self._x * R[k, 0] + self._y * R[k, 1] + R[k, 2]
        return self._scene.cast_rays(self._core.Tensor.from_numpy(self._rays))

    def _triangles(self, hits: dict) -> I32:
        found = hits["primitive_ids"].numpy().ravel()
        return np.minimum(found, np.uint32(len(self._ids) - 1)).astype(np.int32)

    def _shaded_color(self, triangle: I32, uv: F32) -> U8:
        """Return the colours (N, 3). ``take`` is several times as quick here as indexing."""
        u, v = uv[:, 0], uv[:, 1]
        t = np.take(self._texcoords, triangle, axis=0)
        columns = np.floor(t[:, 0] + u * t[:, 2] + v * t[:, 4]).astype(np.int32) & (SIZE - 1)
        rows = np.floor(t[:, 1] + u * t[:, 3] + v * t[:, 5]).astype(np.int32) & (SIZE - 1)
        texel = np.take(self._layers, triangle) + rows * SIZE + columns
        color = np.take(self._colors, triangle, axis=0)
        color *= np.take(self._atlas, texel, axis=0)
        return np.minimum(color, 255.0, out=color).astype(np.uint8)


def _shade(normals: F64) -> F64:
    """Soft light from above and one side, and a little that the floor throws back, (T,)."""
    light = _LIGHT / np.linalg.norm(_LIGHT)
    return np.asarray(0.82 + 0.2 * (normals @ light) + 0.18 * np.maximum(-normals[:, 2], 0))
