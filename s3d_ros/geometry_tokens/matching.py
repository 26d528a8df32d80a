"""Where the parts of a frame were in the frame before: each against all, then more exactly about the best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Matches:
    """Of the N cells of a frame, row by row. xy: (B, N, 2) cell coordinates in the frame before. weight: (B, N), 0 to
    1. log_share: (B, N, N + 1) logarithms of where each was seen, last: nowhere."""

    xy: torch.Tensor
    weight: torch.Tensor
    log_share: torch.Tensor


def cell_grid(height: int, width: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the (x, y) of all cells, (height * width, 2)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).float()


def match(now: torch.Tensor, before: torch.Tensor, scale: torch.Tensor, nowhere: torch.Tensor) -> Matches:
    """Match features (B, C, h, w). scale: of the cosines. nowhere: what speaks for a cell that was not in view."""
    b, _, h, w = now.shape
    a, c = (F.normalize(f.flatten(2).float(), dim=1) for f in (now, before))
    scores = scale * a.transpose(1, 2) @ c  # (B, N, N)
    log_share = torch.cat([scores, nowhere.expand(b, h * w, 1)], dim=2).log_softmax(dim=2)
    share = log_share[..., :-1].exp()
    grid = cell_grid(h, w, now.device)
    best = grid[share.argmax(dim=2)]  # (B, N, 2)
    near = (grid - best[:, :, None]).abs().amax(dim=-1) <= 1.5  # (B, N, N): the best cell and those around it
    local = share * near
    weight = local.sum(dim=2)
    xy = (local @ grid) / weight.clamp_min(1e-6)[..., None]
    return Matches(xy, weight, log_share)


def matching_loss(matches: Matches, true_xy: torch.Tensor, seen: torch.Tensor, known: torch.Tensor,
                  size: tuple[int, int]) -> torch.Tensor:  # fmt: skip
    """Return the mean over cells of the cross-entropy of where they were seen, and of the error left within it.

    true_xy: (B, N, 2). seen: (B, N) bool, in view of the frame before and not hidden. known: whether that is known.
    size: (h, w) in cells.
    """
    h, w = size
    log_share = matches.log_share
    cell = torch.stack([true_xy[..., 0].clamp(0, w - 1), true_xy[..., 1].clamp(0, h - 1)], dim=-1)
    low = cell.floor()
    part = cell - low
    told = torch.zeros(log_share.shape[:2], device=log_share.device)
    for dx in (0, 1):
        for dy in (0, 1):
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
            x, y = (low[..., 0] + dx).clamp(max=w - 1), (low[..., 1] + dy).clamp(max=h - 1)
            at = (y * w + x).long()[..., None]
            told = told + share * log_share.gather(2, at)[..., 0]
    told = torch.where(seen, told, log_share[..., -1])
    error = (matches.xy - true_xy).abs().sum(dim=-1).clamp(max=4)
    near = seen & (error.detach() < 3)
    lost = -(told * known).sum() / known.sum().clamp_min(1)
    return lost + (error * near).sum() / near.sum().clamp_min(1)
