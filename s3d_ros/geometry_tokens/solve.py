"""The camera's motion from matches and depth: the pose under which the points fall where they were found.

Weighted Gauss-Newton on the reprojection, differentiable, a few steps from standing still; a weak pull towards that
decides what the matches don't.
"""

from __future__ import annotations

import torch

_STEPS = 5
_HUBER = 0.02  # of the picture's plane at unit depth; larger errors count linearly
_PULL = 1e-4  # towards no motion, against the mean over the matches


def hat(v: torch.Tensor) -> torch.Tensor:
    """Return the matrices (..., 3, 3) that take the cross product with v (..., 3)."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*v.shape[:-1], 3, 3)


def rotation(v: torch.Tensor) -> torch.Tensor:
    """Return the rotations (..., 3, 3) about v (..., 3), by its length in radians."""
    angle = (v.square().sum(-1) + 1e-12).sqrt()[..., None, None]
    k = hat(v) / angle
    eye = torch.eye(3, dtype=v.dtype, device=v.device)
    return eye + angle.sin() * k + (1 - angle.cos()) * k @ k


def solve_motion(
    points: torch.Tensor, seen_at: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return R (B, 3, 3) and t (B, 3) that take points of this camera into the one before.

    points: (B, N, 3) metres. seen_at: (B, N, 2), where they were in the frame before, at unit depth. weight: (B, N).
    """
    b = points.shape[0]
    R = torch.eye(3, dtype=points.dtype, device=points.device).expand(b, 3, 3)
    t = torch.zeros(b, 3, dtype=points.dtype, device=points.device)
    eye = torch.eye(6, dtype=points.dtype, device=points.device)
    total = weight.sum(dim=1).clamp_min(1e-6)[:, None, None]
    turned_so_far = torch.zeros(b, 6, dtype=points.dtype, device=points.device)
    for _ in range(_STEPS):
        moved = points @ R.transpose(1, 2) + t[:, None]
        z = moved[..., 2].clamp_min(0.1)
        at = moved[..., :2] / z[..., None]
        error = at - seen_at  # (B, N, 2)
        length = (error.square().sum(-1) + 1e-12).sqrt()
        w = weight * (_HUBER / length.detach()).clamp(max=1.0)
        zero = torch.zeros_like(z)
        by_point = torch.stack([1 / z, zero, -at[..., 0] / z, zero, 1 / z, -at[..., 1] / z], dim=-1).reshape(
            b, -1, 2, 3
        )
        J = torch.cat([-by_point @ hat(moved), by_point], dim=-1)  # (B, N, 2, 6): by turning, by shifting
        Jw = J * w[..., None, None]
        H = torch.einsum("bnij,bnik->bjk", Jw, J) / total + _PULL * eye
        g = torch.einsum("bnij,bni->bj", Jw, error)[..., None] / total + _PULL * turned_so_far[..., None]
        step = -torch.linalg.solve(H, g)[..., 0]
        step = step * (0.7 / step.norm(dim=-1, keepdim=True).clamp_min(0.7))
        turn = rotation(step[:, :3])
        R, t = turn @ R, (turn @ t[..., None])[..., 0] + step[:, 3:]
        turned_so_far = turned_so_far + step
    return R, t
