"""What the camera sees: colour, depth and which thing each pixel is, by casting a ray through each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3d_ros.offline.simulate.mesh import join
from s3d_ros.offline.simulate.textures import NEUTRAL, SIZE, atlas
from s3d_ros.offline.simulate.world import World
from s3d_ros.types import F32, F64, U8, U16, Intrinsics

_LIGHT = np.array([0.35, -0.5, 0.79])


@dataclass(frozen=True)
class View:
    """color: (H, W, 3) uint8 RGB. depth_m: (H, W) float32 along the optical axis, 0 where nothing is hit.

    things: (H, W) uint16 id of the thing, 0 for the building. facing: (H, W) float32, cosine between ray and surface.
    """

    color: U8
    depth_m: F32
    things: U16
    facing: F32


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
        u, v = np.meshgrid(np.arange(i.width), np.arange(i.height))
        # z = 1, so that the ray's parameter is the depth
        self._directions = np.stack(
            [(u - i.cx) / i.fx, (v - i.cy) / i.fy, np.ones(u.shape)], axis=-1
        ).astype(np.float32).reshape(-1, 3)  # fmt: skip
        self._rays = np.empty((i.height, i.width, 6), dtype=np.float32)

    def render(self, T_map_camera: F64) -> View:
        """Render from a pose, camera-to-map (4, 4)."""
        h, w = self.intrinsics.height, self.intrinsics.width
        hits = self._cast(T_map_camera)
        depth_m = hits["t_hit"].numpy().ravel()
        triangle = self._triangles(hits)
        uv = hits["primitive_uvs"].numpy().reshape(-1, 2)
        color = self._shaded_color(triangle, uv)
        world_directions = self._rays.reshape(-1, 6)[:, 3:]
        facing = np.abs(np.einsum("ij,ij->i", self._normals[triangle], world_directions))
        facing /= np.sqrt(np.einsum("ij,ij->i", self._directions, self._directions))
        return View(
            color.reshape(h, w, 3),
            np.where(np.isfinite(depth_m), depth_m, 0).astype(np.float32).reshape(h, w),
            self._ids[triangle].reshape(h, w),
            facing.reshape(h, w),
        )

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
        flat = self._rays.reshape(-1, 6)
        flat[:, :3] = T_map_camera[:3, 3]
        np.matmul(self._directions, T_map_camera[:3, :3].T.astype(np.float32), out=flat[:, 3:])
        return self._scene.cast_rays(self._core.Tensor.from_numpy(self._rays))

    def _triangles(self, hits: dict) -> np.ndarray:
        found = hits["primitive_ids"].numpy().ravel()
        return np.minimum(found, np.uint32(len(self._ids) - 1)).astype(np.int32)

    def _shaded_color(self, triangle: np.ndarray, uv: F32) -> U8:
        t = self._texcoords[triangle]
        at = t[:, :2] + uv[:, :1] * t[:, 2:4] + uv[:, 1:] * t[:, 4:]
        texel = at.astype(np.int32) & (SIZE - 1)
        # Truncation rounds towards zero: shift what is negative, or tiles would mirror there
        texel = np.where(at < 0, (texel - 1) & (SIZE - 1), texel)
        index = self._layers[triangle] + texel[:, 1] * SIZE + texel[:, 0]
        color = self._colors[triangle] * self._atlas[index]
        return np.minimum(color, 255.0).astype(np.uint8)


def _shade(normals: F64) -> F64:
    """Soft light from above and one side, and a little that the floor throws back, (T,)."""
    light = _LIGHT / np.linalg.norm(_LIGHT)
    return np.asarray(0.82 + 0.2 * (normals @ light) + 0.18 * np.maximum(-normals[:, 2], 0))
