"""Coloured, textured triangle meshes, and the few solids that furniture is put together from.

A shape's own frame: x to its right, y to its back, z up; its front looks along -y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s3d_ros.offline.simulate.textures import Texture
from s3d_ros.types import F32, F64, I32, U8

Color = tuple[float, float, float]
# The corners of a box that its six faces go round, clockwise as seen from outside.
_FACES = np.array([[0, 4, 6, 2], [5, 1, 3, 7], [1, 0, 2, 3], [4, 5, 7, 6], [2, 6, 7, 3], [1, 5, 4, 0]])


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3) float64 m, triangles (T, 3) int32; per triangle: color (T, 3) float32 0..1, texture (T,) uint8,
    texcoords (T, 3, 2) float32 in tiles, for each corner.
    """

    vertices: F64
    triangles: I32
    color: F32
    texture: U8
    texcoords: F32

    def moved(self, axes: F64, origin: F64) -> Mesh:
        """Return the mesh with coordinate k laid along row k of ``axes`` (3, 3), from ``origin`` (3,)."""
        return replace(self, vertices=self.vertices @ axes + origin)

    def filling(self, size: F64) -> Mesh:
        """Return the mesh stretched so that it exactly fills the box of ``size`` (3,) about the origin."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        extent = np.where(high - low > 1e-9, high - low, 1.0)
        return replace(self, vertices=(self.vertices - (low + high) / 2) * (size / extent))

    def normals(self) -> F64:
        """Return the triangles' unit normals, (T, 3)."""
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        n = np.cross(b - a, c - a)
        return np.asarray(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12))


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh of them all."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])[:-1]
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.triangles + s for m, s in zip(meshes, starts, strict=True)]).astype(np.int32),
        np.concatenate([m.color for m in meshes]),
        np.concatenate([m.texture for m in meshes]),
        np.concatenate([m.texcoords for m in meshes]),
    )


def surface(
    vertices: F64, triangles: NDArray[np.integer], color: Color, texture: Texture = Texture.PLAIN, tile_m: float = 0.8
) -> Mesh:
    """Make a mesh whose texture is laid on along the axis that each triangle faces most, ``tile_m`` metres a tile."""
    triangles = np.asarray(triangles, dtype=np.int32)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facing = np.abs(np.cross(b - a, c - a)).argmax(axis=1)
    kept = np.array([[1, 2], [0, 2], [0, 1]])[facing]  # (T, 2)
    corners = vertices[triangles]  # (T, 3, 3)
    texcoords = np.take_along_axis(corners, np.repeat(kept[:, None, :], 3, axis=1), axis=2) / tile_m
    return Mesh(
        np.asarray(vertices, dtype=np.float64),
        triangles,
        np.tile(np.asarray(color, dtype=np.float32), (len(triangles), 1)),
        np.full(len(triangles), texture, dtype=np.uint8),
        texcoords.astype(np.float32),
    )


def box(low: ArrayLike, high: ArrayLike, color: Color, texture: Texture = Texture.PLAIN, tile_m: float = 0.8) -> Mesh:
    """Make a box from corner ``low`` (3,) to corner ``high`` (3,)."""
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    bits = (np.arange(8)[:, None] >> np.array([2, 1, 0])) & 1
    return surface(lo + bits * (hi - lo), _FACES[:, [0, 2, 1, 0, 3, 2]].reshape(-1, 3), color, texture, tile_m)


def panel(
    corner: ArrayLike, right: ArrayLike, down: ArrayLike, texture: Texture, color: Color = (1.0, 1.0, 1.0)
) -> Mesh:
    """Make a rectangle that shows a texture once: from its top left ``corner`` along ``right`` and ``down`` (3,)."""
    c, r, d = (np.asarray(v, dtype=np.float64) for v in (corner, right, down))
    mesh = surface(np.array([c, c + r, c + r + d, c + d]), np.array([[0, 3, 2], [0, 2, 1]]), color, texture)
    e = 0.999  # the far edge must not wrap round to the first texel
    texcoords = np.array([[[0, 0], [0, e], [e, e]], [[0, 0], [e, e], [e, 0]]], dtype=np.float32)
    return replace(mesh, texcoords=texcoords)


def lathe(
    profile: Sequence[tuple[float, float]],
    half: tuple[float, float],
    color: Color,
    texture: Texture = Texture.PLAIN,
    *,
    square: float = 0.5,
    sides: int = 24,
    center: tuple[float, float] = (0.0, 0.0),
    tile_m: float = 0.4,
) -> Mesh:
    """Turn a profile of (share of the radius, z) round the z axis.

    half: the radii along x and y in metres. square: 1 makes it round, towards 0 it fills its box's corners.
    The ends are closed where the profile does not end at radius 0.
    """
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.stack([_power(np.cos(angle), square), _power(np.sin(angle), square)], axis=1)
    ring /= np.abs(ring).max(axis=0)
    shares = np.array([p[0] for p in profile])
    xy = shares[:, None, None] * ring * np.array(half) + np.array(center)
    z = np.broadcast_to(np.array([p[1] for p in profile])[:, None, None], (*xy.shape[:2], 1))
    vertices = np.concatenate([xy, z], axis=2).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(profile) - 1), np.arange(sides), indexing="ij")
    a, b = (i * sides + j).ravel(), (i * sides + (j + 1) % sides).ravel()
    quads = [np.stack([a, b, b + sides], axis=1), np.stack([a, b + sides, a + sides], axis=1)]
    for end in (0, len(profile) - 1):
        if shares[end] > 1e-9:
            hub = len(vertices)
            vertices = np.vstack([vertices, [*center, profile[end][1]]])
            k = end * sides + np.arange(sides)
            nxt = end * sides + (np.arange(sides) + 1) % sides
            quads.append(np.stack([np.full(sides, hub), *((nxt, k) if end == 0 else (k, nxt))], axis=1))
    return surface(vertices, np.concatenate(quads), color, texture, tile_m)


def _power(values: F64, exponent: float) -> F64:
    return np.asarray(np.sign(values) * np.abs(values) ** exponent)


def cylinder(center: ArrayLike, radius: float, low: float, high: float, color: Color, *, axis: int = 2) -> Mesh:
    """Make a round bar along an axis, from ``low`` to ``high`` on it; ``center`` (3,) gives the other two."""
    c = np.asarray(center, dtype=np.float64)
    bar = lathe([(1, low), (1, high)], (radius, radius), color, Texture.METAL, square=1.0, sides=12)
    order = [[2, 0, 1], [1, 2, 0], [0, 1, 2]][axis]
    offset = np.where(np.arange(3) == axis, 0.0, c)
    return replace(bar, vertices=bar.vertices[:, order] + offset)


def cushion(low: ArrayLike, high: ArrayLike, color: Color, texture: Texture = Texture.FABRIC, cells: int = 10) -> Mesh:
    """Make a soft slab: thin along its smallest edge towards the rim, its outline the full rectangle."""
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    half, middle = (hi - lo) / 2, (lo + hi) / 2
    thin = int(half.argmin())
    u, v = (g.ravel() for g in np.meshgrid(*[np.linspace(-1, 1, cells + 1)] * 2, indexing="ij"))
    rise = 0.25 + 0.75 * ((1 - u**4) * (1 - v**4)) ** 0.5
    flat = [k for k in range(3) if k != thin]
    sides = []
    for sign in (1.0, -1.0):
        p = np.zeros((len(u), 3))
        p[:, flat[0]], p[:, flat[1]], p[:, thin] = u, v, sign * rise
        sides.append(p * half + middle)
    n = cells + 1
    i, j = (g.ravel() for g in np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij"))
    a = i * n + j
    top = np.concatenate([np.stack([a, a + n, a + n + 1], 1), np.stack([a, a + n + 1, a + 1], 1)])
    edge = np.arange(n)
    loop = np.concatenate([edge[:-1] * n, cells * n + edge[:-1], edge[:0:-1] * n + cells, edge[:0:-1]])
    after = np.roll(loop, -1)
    other = len(u)
    rim = np.concatenate([np.stack([loop, after, after + other], 1), np.stack([loop, after + other, loop + other], 1)])
    return surface(np.vstack(sides), np.concatenate([top, top[:, ::-1] + other, rim]), color, texture)


def leaf(root: ArrayLike, tip: ArrayLike, width: float, color: Color) -> Mesh:
    """Make a flat leaf from ``root`` (3,) to ``tip`` (3,), widest in the middle and bent upwards."""
    r, t = np.asarray(root, dtype=np.float64), np.asarray(tip, dtype=np.float64)
    side = np.cross(t - r, (0.0, 0.0, 1.0))
    norm = np.linalg.norm(side)
    side = side / norm if norm > 1e-6 else np.array([1.0, 0.0, 0.0])
    middle = (r + t) / 2 + np.array([0, 0, 0.15 * np.linalg.norm(t - r) * (t[2] < r[2] + 1)])
    middle[2] = min(middle[2], max(r[2], t[2]))
    vertices = np.array([r, middle + side * width / 2, t, middle - side * width / 2])
    return surface(vertices, np.array([[0, 1, 2], [0, 2, 3]]), color, Texture.LEAF, 0.25)
