"""What the small geometry encoder is taught by: depth with its error, matches, motion, field of view."""

from __future__ import annotations

import torch

from s3d_ros.geometry_tokens.matching import matching_loss
from s3d_ros.geometry_tokens.recurrent import MATCH_PX, Predicted
from s3d_ros.train.geometry.episodes import Episode, Truth

_SLOPES = 0.4  # weight of the depth's slopes
_FARTHEST_M = 10.0
# Weights beside the depth's: with more, matches and motion drown what depth teaches the tokens
_MATCH, _TOLD, _SOLVED = 0.5, 0.25, 0.1
_SMALL_RAD, _SMALL_M = 0.02, 0.05


def depth_loss(log_depth: torch.Tensor, log_b: torch.Tensor, depth_m: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of the logarithm of depth (B, h, w), with that of its slopes."""
    known = (depth_m > 0) & (depth_m < _FARTHEST_M)
    error = torch.where(known, log_depth - depth_m.clamp_min(0.05).log(), torch.zeros_like(depth_m))
    told = (error.abs() * (-log_b).exp() + log_b) * known
    total = told.sum() / known.sum().clamp_min(1)
    for axis in (1, 2):
        both = known.narrow(axis, 2, known.shape[axis] - 2) & known.narrow(axis, 0, known.shape[axis] - 2)
        slope = error.narrow(axis, 2, error.shape[axis] - 2) - error.narrow(axis, 0, error.shape[axis] - 2)
        total = total + _SLOPES * (slope.abs() * both).sum() / both.sum().clamp_min(1)
    return total


def turned(R: torch.Tensor) -> torch.Tensor:
    """Return the rotation vectors (B, 3) of rotations by less than half a turn."""
    axis = torch.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], dim=1) / 2
    sine = axis.norm(dim=1, keepdim=True)
    cosine = ((R.diagonal(dim1=1, dim2=2).sum(dim=1, keepdim=True) - 1) / 2).clamp(-1, 1)
    angle = torch.atan2(sine, cosine)
    return axis * torch.where(sine > 1e-5, angle / sine.clamp_min(1e-5), torch.ones_like(sine))


def losses(predicted: Predicted, frame: Episode, truth: Truth | None, solved: float) -> dict[str, torch.Tensor]:
    """Return what each thing costs at one frame (L = 1). solved: weight of the motion that was solved."""
    told = {"depth": depth_loss(predicted.log_depth, predicted.log_b, frame.depth_m[0])}
    if truth is None or predicted.matches is None or predicted.R is None or predicted.t is None:
        return told
    h, w = (side // MATCH_PX for side in frame.pixels.shape[-2:])
    told["match"] = _MATCH * matching_loss(predicted.matches, truth.xy, truth.seen, truth.known, (h, w))
    off = (predicted.motion[:, :3] - turned(truth.R)).abs().sum(dim=1)
    told["told"] = _TOLD * (2 * off + (predicted.motion[:, 3:] - truth.t).abs().sum(dim=1)).mean()
    # Where little was in view before, nothing can be solved
    together = ((truth.seen.sum(dim=1) / truth.known.sum(dim=1).clamp_min(1)) > 0.3).float()
    off = turned(predicted.R.transpose(1, 2) @ truth.R).norm(dim=1)
    shifted = (predicted.t - truth.t).norm(dim=1)
    cost = torch.log1p(off / _SMALL_RAD) + torch.log1p(shifted / _SMALL_M)  # large errors pull no harder than small
    told["solved"] = _SOLVED * solved * (cost * together).sum() / together.sum().clamp_min(1)
    return told
