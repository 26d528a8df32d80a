"""Vision tokens ask geometry tokens (Fan et al., "VLM-3R", 2025): cross-attention, once, before the projector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class GeometryFusion(nn.Module):
    """Norm of both; vision tokens look at the geometry tokens of their own frame; linear; norm; added.

    The last norm starts at zero, so an untrained fusion changes nothing (the paper does not say how it starts).
    width: of vision tokens. dim: of geometry tokens. heads: 0: one for about 64 of the width, as the paper's 18.
    """

    def __init__(self, width: int, dim: int, heads: int = 0) -> None:
        super().__init__()
        self.heads = heads or next(h for h in range(max(1, round(width / 64)), 0, -1) if width % h == 0)
        self.norm_vision, self.norm_geometry = nn.LayerNorm(width), nn.LayerNorm(dim)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(dim, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        nn.init.zeros_(self.norm_out.weight)

    def forward(self, vision: torch.Tensor, geometry: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Return vision tokens (B, N, width) that know of space. geometry: (M, dim) of each frame, or None."""
        have = [k for k, g in enumerate(geometry) if g is not None]
        if not have:
            return vision
        held = [g for g in geometry if g is not None]
        shapes = {g.shape for g in held}
        x = vision[have]
        if len(shapes) == 1:
            added = self._attended(x, torch.stack(held))
        else:  # frames of other shapes have other numbers of tokens
            added = torch.cat([self._attended(x[k : k + 1], g[None]) for k, g in enumerate(held)])
        return vision.index_add(0, torch.tensor(have, device=vision.device), added)

    def _attended(self, x: torch.Tensor, geometry: torch.Tensor) -> torch.Tensor:
        b, n, width = x.shape
        dtype = self.query.weight.dtype
        seen = self.norm_geometry(geometry.to(x.device, dtype))
        q = self.query(self.norm_vision(x.to(dtype))).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(seen).view(b, -1, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        told = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
        added: torch.Tensor = self.norm_out(self.out(told))
        return added.to(x.dtype)
