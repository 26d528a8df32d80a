"""Layers of the recurrent encoder: residual convolutions, and image tokens and state tokens that look at each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input goes on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(8, channels),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.layers(x))


def halved(inside: int, out: int) -> nn.Sequential:
    """Return a convolution to half the size."""
    return nn.Sequential(nn.Conv2d(inside, out, 3, stride=2, padding=1), nn.GroupNorm(8, out), nn.ReLU())


class Attention(nn.Module):
    """Attention of x (B, N, D) over y (B, M, D), which is x itself where none is given."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        b, n, d = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(x if y is None else y).view(b, -1, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    """Tokens look at themselves and, with ``across``, at others; then each by itself."""

    def __init__(self, dim: int, heads: int, across: bool = False) -> None:
        super().__init__()
        self.norm_own, self.own = nn.LayerNorm(dim), Attention(dim, heads)
        self.across = Attention(dim, heads) if across else None
        self.norm_across, self.norm_others = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.norm_each = nn.LayerNorm(dim)
        self.each = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, x: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
        x = x + self.own(self.norm_own(x))
        if self.across is not None and others is not None:
            x = x + self.across(self.norm_across(x), self.norm_others(others))
        return x + self.each(self.norm_each(x))


def waves(values: torch.Tensor, octaves: int) -> torch.Tensor:
    """Return sines and cosines (..., 2 * K * octaves) of values (..., K) of about -1 to 1."""
    angles = values[..., None] * (torch.pi / 2) * 2.0 ** torch.arange(octaves, device=values.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def upsampled(x: torch.Tensor) -> torch.Tensor:
    """Return x (B, C, h, w) at twice the size."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
