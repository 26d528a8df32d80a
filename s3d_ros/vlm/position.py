"""3D position codes of visual tokens, after ROSS3D (Wang et al., 2025).

A token gets the mean place of the pixels in its cell, of those with depth; as sines and cosines of the voxel that it
lies in, a third of the width for each axis. Tokens that merge patches have the merged cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from s3d_ros.chat import ChatImage
from s3d_ros.vlm.beside import DEPTH
from s3d_ros.vlm.grid import TokenGrid
from s3d_ros.vlm.parts import FeaturePart

REACH_M = (15.0, 15.0, 5.0)  # further off is as far
VOXEL_M = 0.1
BASE = 10_000.0


class PositionCode(FeaturePart):
    """Adds codes to features. Pictures without depth (bird's-eye views, crops) and cells without any get none."""

    name = "position"
    needs = frozenset({DEPTH})

    def inputs(self, image: ChatImage, grid: TokenGrid) -> dict[str, torch.Tensor]:
        """Return the places (tokens, 3) in metres, NaN where unknown."""
        places = np.full((grid.tokens, 3), np.nan, np.float32)
        if "depth_mm" in image.beside:
            points = world_points(**image.beside)
            places[: grid.cells] = cell_means(points, grid.rows, grid.columns).reshape(-1, 3)
        return {"place_m": torch.from_numpy(places)}

    def forward(
        self, features: torch.Tensor, counts: Sequence[int], inputs: Sequence[Mapping[str, torch.Tensor]]
    ) -> torch.Tensor:
        places = torch.cat([i["place_m"] for i in inputs])
        return features + position_code(places, features.shape[1]).to(features.dtype)


def world_points(depth_mm: Any, intrinsics: Any, T_level_camera: Any) -> Any:
    """Return the place (H, W, 3) of each pixel in the level frame, metres, NaN where there is no depth."""
    height, width = depth_mm.shape
    fx, fy, cx, cy = intrinsics
    z = np.where(depth_mm > 0, depth_mm / np.float32(1000), np.float32(np.nan)).astype(np.float32)
    x = (np.arange(width, dtype=np.float32) - np.float32(cx)) / np.float32(fx) * z
    y = (np.arange(height, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(fy) * z
    T = np.asarray(T_level_camera, np.float32)
    return np.stack([x, y, z], axis=-1) @ T[:3, :3].T + T[:3, 3]


def cell_means(points: Any, rows: int, columns: int) -> Any:
    """Return means (rows, columns, 3) of points (H, W, 3) over equal cells, NaN ones left out; NaN where all are.

    A pixel counts to the cell that its middle lies in.
    """
    height, width = points.shape[:2]
    row = (np.arange(height) * 2 + 1) * rows // (2 * height)
    column = (np.arange(width) * 2 + 1) * columns // (2 * width)
    cell = (row[:, None] * columns + column).ravel()
    flat = points.reshape(-1, 3)
    known = np.isfinite(flat).all(axis=1)
    count = np.bincount(cell[known], minlength=rows * columns)
    sums = np.stack([np.bincount(cell[known], flat[known, k], rows * columns) for k in range(3)], axis=-1)
    with np.errstate(invalid="ignore"):
        return (sums / count[:, None]).astype(np.float32).reshape(rows, columns, 3)


def position_code(places_m: torch.Tensor, width: int) -> torch.Tensor:
    """Return codes (n, width) of places (n, 3) in metres; zeros where these are NaN.

    Each axis has ``2 * (width // 6)`` numbers, sines then cosines; what is left of the width is zero.
    """
    half = width // 6
    known = places_m.isfinite().all(dim=1, keepdim=True)
    reach = places_m.new_tensor(REACH_M)
    clamped = torch.where(known, places_m, torch.zeros_like(places_m)).clamp(-reach, reach)
    voxel = torch.floor(clamped / VOXEL_M + 1e-4)  # 0.3 / 0.1 is a little below 3
    rates = BASE ** (-torch.arange(half, device=places_m.device, dtype=torch.float32) / max(half, 1))
    angles = voxel[:, :, None].float() * rates  # (n, 3, half)
    code = torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)
    out = torch.nn.functional.pad(code, (0, width - code.shape[1]))
    return torch.where(known, out, torch.zeros_like(out))
