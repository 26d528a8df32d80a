"""Furniture of the simulated homes seen from straight above, drawn once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from s3d_ros.offline.simulate.mesh import Mesh
from s3d_ros.offline.simulate.shapes import furnish
from s3d_ros.offline.simulate.textures import NEUTRAL, SIZE, atlas
from s3d_ros.types import F32, OrientedBox

CELL_M = 0.02
# Usual width, depth and height in metres of what is told from above. The order gives the categories' numbers.
SIZES_M: dict[str, tuple[float, float, float]] = {
    "chair": (0.5, 0.52, 0.9), "stool": (0.38, 0.38, 0.5), "table": (1.4, 0.8, 0.74), "sofa": (1.8, 0.9, 0.85),
    "bed": (1.3, 2.0, 0.6), "bookshelf": (0.9, 0.34, 1.9), "shelf": (0.8, 0.3, 1.2), "cabinet": (0.9, 0.45, 0.9),
    "wardrobe": (1.4, 0.6, 2.0), "nightstand": (0.45, 0.4, 0.5), "shoe rack": (0.8, 0.3, 0.6),
    "bathtub": (1.7, 0.75, 0.6), "sink": (0.6, 0.45, 0.3), "toilet": (0.4, 0.68, 0.75), "fireplace": (1.3, 0.4, 1.1),
    "heater": (1.0, 0.14, 0.6), "door": (0.9, 0.1, 2.0), "whiteboard": (1.6, 0.08, 1.0),
    "ceiling light": (0.8, 0.3, 0.1), "refrigerator": (0.65, 0.68, 1.7), "washer": (0.6, 0.6, 0.85),
    "dishwasher": (0.6, 0.6, 0.85), "stove": (0.6, 0.6, 0.9), "microwave": (0.5, 0.38, 0.3),
    "exhaust fan": (0.6, 0.5, 0.4), "tv": (1.1, 0.15, 0.65), "monitor": (0.56, 0.2, 0.45), "laptop": (0.34, 0.28, 0.24),
    "computer tower": (0.2, 0.45, 0.42), "printer": (0.45, 0.4, 0.28), "keyboard": (0.44, 0.16, 0.04),
    "computer mouse": (0.08, 0.12, 0.05), "telephone": (0.22, 0.2, 0.1), "power strip": (0.35, 0.07, 0.05),
    "headphones": (0.2, 0.2, 0.09), "table lamp": (0.28, 0.28, 0.5), "clock": (0.32, 0.06, 0.32),
    "plant": (0.42, 0.42, 0.8), "trash can": (0.32, 0.32, 0.42), "bucket": (0.3, 0.3, 0.3), "basket": (0.42, 0.32, 0.3),
    "crate": (0.45, 0.35, 0.3), "suitcase": (0.48, 0.28, 0.65), "paper bag": (0.32, 0.2, 0.4), "cup": (0.1, 0.1, 0.11),
    "bowl": (0.2, 0.2, 0.09), "pan": (0.3, 0.42, 0.1), "kettle": (0.22, 0.18, 0.24), "cutting board": (0.4, 0.28, 0.03),
    "pillow": (0.55, 0.38, 0.15), "cushion": (0.45, 0.42, 0.16), "blanket": (0.9, 0.7, 0.12),
    "shoes": (0.28, 0.3, 0.12), "coat hanger": (0.45, 0.12, 0.4),
}  # fmt: skip
LABELS = tuple(SIZES_M)


@dataclass(frozen=True)
class Sprite:
    """color: (H, W, 4) float32 0..255, RGBA; row 0 is the back. size_m: (3,) width, depth, height."""

    color: F32
    size_m: tuple[float, float, float]


@lru_cache(maxsize=8192)
def sprite_size(label: str, variant: int) -> tuple[float, float, float]:
    """Return width, depth and height in metres of one look of a category."""
    rng = np.random.default_rng([LABELS.index(label), variant])
    w, d, h = np.array(SIZES_M[label]) * rng.uniform(0.8, 1.25, 3)
    return float(w), float(d), float(h)


@lru_cache(maxsize=8192)
def sprite(label: str, variant: int) -> Sprite:
    """Return one look of a category; equal arguments give equal pixels."""
    rng = np.random.default_rng([LABELS.index(label), variant, 1])
    size = np.array(sprite_size(label, variant))
    mesh = furnish(label, OrientedBox(np.zeros(3), size, np.eye(3)), np.array([0.0, -1.0, 0.0]), rng)
    w, d, h = (float(s) for s in size)
    return Sprite(from_above(mesh, w, d), (w, d, h))


def from_above(mesh: Mesh, width_m: float, depth_m: float) -> F32:
    """Draw a mesh about the origin, (H, W, 4) RGBA float32 0..255, cells of CELL_M; higher parts cover lower."""
    rows, columns = max(2, round(depth_m / CELL_M)), max(2, round(width_m / CELL_M))
    scale = np.array([columns / width_m, -rows / depth_m])
    corners = mesh.vertices[mesh.triangles]  # (T, 3, 3)
    flat = corners[..., :2] * scale + np.array([columns, rows]) / 2
    which = np.zeros((rows, columns), np.int32)
    for t in np.argsort(corners[..., 2].mean(axis=1) + 1e-3 * corners[..., 2].max(axis=1)):
        cv2.fillConvexPoly(which, np.round((flat[t] - 0.5) * 16).astype(np.int32), int(t) + 1, cv2.LINE_8, 4)
    out = np.zeros((rows, columns, 4), np.float32)
    v, u = np.nonzero(which)
    t = which[v, u] - 1
    weights = _barycentric(np.stack([u, v], axis=1) + 0.5, flat[t])
    at = np.einsum("nk,nkc->nc", weights, mesh.texcoords[t]) % 1 * (SIZE - 1)
    texel = atlas()[mesh.texture[t], at[:, 1].astype(int), at[:, 0].astype(int)].astype(np.float32)
    light = 0.65 + 0.35 * np.abs(mesh.normals()[t, 2:]).astype(np.float32)
    out[v, u, :3] = np.clip(texel * mesh.color[t] * (255 / NEUTRAL) * light, 0, 255)
    out[v, u, 3] = 255
    return out


def _barycentric(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return the weights (N, 3) of triangles' corners (N, 3, 2) at points (N, 2); slivers get equal ones."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    e, f, g = b - a, c - a, points - a
    area = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
    safe = np.where(np.abs(area) > 1e-6, area, 1.0)
    second = np.clip((g[:, 0] * f[:, 1] - g[:, 1] * f[:, 0]) / safe, 0, 1)
    third = np.clip((e[:, 0] * g[:, 1] - e[:, 1] * g[:, 0]) / safe, 0, 1)
    out = np.stack([1 - second - third, second, third], axis=1)
    out[np.abs(area) <= 1e-6] = 1 / 3
    return out
