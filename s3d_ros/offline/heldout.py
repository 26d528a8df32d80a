"""How well the surface foretells frames that were not fused."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import open3d as o3d

from s3d_ros.fusion import Fusion
from s3d_ros.geometry import invert, project, transform
from s3d_ros.types import F32, Frame

_AGREE_M = 0.03
_FLOATING_M = 0.05


def held_out_agreement(fusion: Fusion, frames: Iterable[Frame]) -> dict[str, float]:
    """Compare frames with the surface seen from their poses.

    Returns ``median_mm``: median of |rendered - measured depth| over pixels that have both; ``within_3cm``: share of
    the valid measured pixels (surface there or not) within 3 cm; ``rendered``: share that has surface at all;
    ``floating``: share of the surface points in view that hang over 5 cm in front of what is measured there.
    """
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(fusion.mesh())
    points, _ = fusion.extract()
    errors, valid, rendered, in_view, floating = [], 0, 0, 0, 0
    for frame in frames:
        depth = render_depth(scene, frame)
        measured = frame.depth_m > 0
        both = measured & np.isfinite(depth)
        errors.append(np.abs(depth[both] - frame.depth_m[both]))
        valid += int(measured.sum())
        rendered += int(both.sum())
        seen, hanging = _floating(points, frame)
        in_view += seen
        floating += hanging
    error = np.concatenate(errors) if errors else np.zeros(0)
    return {
        "median_mm": float(np.median(error)) * 1e3 if len(error) else float("nan"),
        "within_3cm": float((error < _AGREE_M).sum()) / max(valid, 1),
        "rendered": rendered / max(valid, 1),
        "floating": floating / max(in_view, 1),
    }


def render_depth(scene: o3d.t.geometry.RaycastingScene, frame: Frame) -> F32:
    """Return the depth (H, W) of a scene along the optical axis from the frame's pose, inf where there is nothing."""
    k = frame.intrinsics
    rays = scene.create_rays_pinhole(
        o3d.core.Tensor(k.matrix()), o3d.core.Tensor(invert(frame.T_map_camera)), k.width, k.height
    )
    # The rays are as long as one metre along the axis, so the hit's parameter is the depth.
    return np.asarray(scene.cast_rays(rays)["t_hit"].numpy())


def _floating(points: F32, frame: Frame) -> tuple[int, int]:
    """Return how many points lie in the view with a measured depth, and how many of them hang in front of it."""
    k = frame.intrinsics
    uv, z = project(transform(invert(frame.T_map_camera), points), k)
    uv = np.rint(np.nan_to_num(uv, nan=-1.0)).astype(np.int64)
    inside = (z > 0) & (uv >= 0).all(axis=1) & (uv[:, 0] < k.width) & (uv[:, 1] < k.height)
    measured = frame.depth_m[uv[inside, 1], uv[inside, 0]]
    known = measured > 0
    return int(known.sum()), int((z[inside][known] < measured[known] - _FLOATING_M).sum())
