"""ROSS3D's denoiser: a DiT of three blocks that recovers latents from what the language model made of other pictures.

After Peebles and Xie, "Scalable Diffusion Models with Transformers" (adaLN-Zero). Every token has a condition of its
own: the timestep, and what a learned query for its cell finds among the language model's visual outputs.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 1000
BLOCKS = 3
MLP = 4
_TIME_NUMBERS = 256
_LEAST_SIGNAL = 1e-3
_LARGEST = 3.5  # latents are about standard normal
_RAY_OCTAVES = 4
_RAY_M = 5.0  # places are told in this


@lru_cache(maxsize=1)
def signal_shares() -> torch.Tensor:
    """Return alpha-bar (1000,) of the cosine schedule (Nichol and Dhariwal), whose betas are at most 0.999."""
    at = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
    level = torch.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, dim=0).float()


def noised(tokens: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Return tokens (b, n, c) at timesteps (b,)."""
    share = signal_shares().to(tokens.device)[steps][:, None, None]
    return share.sqrt() * tokens + (1 - share).sqrt() * noise


def head_width(width: int) -> int:
    """Return the width of a head: 64 as in the paper's 1024 / 16, less for narrow ones."""
    return next(w for w in (64, 32, 16) if width % w == 0 and width // w >= 2)


class AttentionPool(nn.Module):
    """Learned queries look at visual outputs. width: of conditions; hidden: of outputs."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.heads = width // head_width(width)
        self.norm = nn.LayerNorm(hidden)
        self.keys_values = nn.Linear(hidden, 2 * width)
        self.query = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: torch.Tensor, outputs: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return conditions (b, n, width). queries: (b, n, width). outputs: (b, v, hidden); known: (b, v), the real."""
        keys, values = (self._heads(x) for x in self.keys_values(self.norm(outputs)).chunk(2, dim=-1))
        mask = None if bool(known.all()) else known[:, None, None, :]
        found = F.scaled_dot_product_attention(self._heads(self.query(queries)), keys, values, attn_mask=mask)
        out: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // head_width(width)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP * width), nn.GELU(approximate="tanh"), nn.Linear(MLP * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return x (p, n, width) changed, at first not at all; condition: (p, n, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition)).chunk(6, dim=-1)
        q, k, v = (
            self.qkv(self.norm1(x) * (1 + scale1) + shift1).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        x = x + gate1 * self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: torch.Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return out


class Denoiser(nn.Module):
    """Predicts the noise in latent tokens. hidden: of the language model. cells: of views and of the view from above.

    poses: what a view is seen from goes into its queries. skip: see ``noise_told``.
    """

    def __init__(
        self, hidden: int, width: int, channels: int, cells: dict[str, int], poses: bool, skip: bool = False
    ) -> None:
        super().__init__()
        self.width, self.skip = width, skip
        self.queries = nn.ParameterDict({kind: torch.randn(n, width) * 0.02 for kind, n in cells.items()})
        self.pool = AttentionPool(hidden, width)
        self.rays = (
            nn.Sequential(nn.Linear(6 + 6 * _RAY_OCTAVES, width), nn.SiLU(), nn.Linear(width, width)) if poses else None
        )
        self.time = nn.Sequential(nn.Linear(_TIME_NUMBERS, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels)
        for layer in (self.modulation, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def condition(
        self, kind: str, outputs: torch.Tensor, known: torch.Tensor, row: torch.Tensor, rays: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what pictures (p,) of a kind are told, (p, n, width). outputs: (b, v, hidden), known: (b, v) bool.

        row: (p,) the sample that each belongs to. rays: (p, n, 6), see ``targets.rays``.
        """
        queries = self.queries[kind]
        if self.rays is None or rays is None:  # all pictures of a sample are told the same
            same: torch.Tensor = self.pool(queries.expand(len(outputs), -1, -1), outputs, known)
            return same[row]
        each = queries + self.rays(_ray_numbers(rays))
        told = torch.empty_like(each)
        for r in row.unique().tolist():  # keys are many, and not copied for each picture
            mine = row == r
            held, real = outputs[r][None], known[r][None]
            told[mine] = self.pool(each[mine].flatten(0, 1)[None], held, real).view_as(each[mine]).to(told.dtype)
        return told

    def forward(self, tokens: torch.Tensor, steps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return what it makes of tokens (p, n, channels), n a square, at timesteps (p,): of the same shape."""
        side = math.isqrt(tokens.shape[1])
        x = self.enter(tokens) + _places(side, self.width).to(tokens)
        condition = condition + self.time(_sines(steps.float(), _TIME_NUMBERS).to(condition))[:, None]
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(F.silu(condition)).chunk(2, dim=-1)
        out: torch.Tensor = self.leave(self.norm(x) * (1 + scale) + shift)
        return out


def noise_told(denoiser: Denoiser, tokens: torch.Tensor, steps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Return the noise that is told of noised tokens.

    Without ``skip`` it is the network's output, as published. There a small error near the end of the schedule is many
    times the picture: what is sampled stays noise until the training is long. With it the output is added to what
    would be told of latents that nothing is known of, sqrt(1 - alpha-bar) x, scaled by sqrt(alpha-bar).
    """
    made = denoiser(tokens, steps, condition).float()
    if not denoiser.skip:
        return made
    share = signal_shares().to(tokens.device)[steps][:, None, None]
    return (1 - share).sqrt() * tokens + share.sqrt() * made


def noise_error(
    denoiser: Denoiser, tokens: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor, condition: torch.Tensor,
    wanted: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the mean squared error of the noise told, over cells that are wanted (p, n), all if None."""
    told = noise_told(denoiser, noised(tokens, noise, steps), steps, condition)
    error = (told - noise).square().mean(dim=2)
    return error.mean() if wanted is None else (error * wanted).sum() / wanted.sum().clamp(min=1)


@torch.no_grad()
def sampled(denoiser: Denoiser, noise: torch.Tensor, condition: torch.Tensor, count: int) -> torch.Tensor:
    """Return tokens (p, n, channels) by DDIM in ``count`` steps from noise, without randomness of its own."""
    shares = signal_shares().to(noise.device)
    first = int((shares >= _LEAST_SIGNAL).nonzero()[-1])  # before, a small error of the noise is all of the picture
    at = torch.linspace(first, 0, count + 1).round().long().tolist()[:-1]
    x = noise
    for k, step in enumerate(at):
        share = shares[step]
        after = shares[at[k + 1]] if k + 1 < len(at) else shares.new_tensor(1.0)
        told = noise_told(denoiser, x, torch.full((len(x),), step, device=x.device), condition)
        clean = ((x - (1 - share).sqrt() * told) / share.sqrt()).clamp(-_LARGEST, _LARGEST)
        told = (x - share.sqrt() * clean) / (1 - share).sqrt()
        x = after.sqrt() * clean + (1 - after).sqrt() * told
    return x


def _sines(values: torch.Tensor, numbers: int, base: float = 10_000.0) -> torch.Tensor:
    """Return (n, numbers) sines and cosines of values (n,)."""
    rates = base ** (-torch.arange(numbers // 2, device=values.device, dtype=torch.float32) / (numbers // 2))
    angles = values[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


@lru_cache(maxsize=8)
def _places(side: int, width: int) -> torch.Tensor:
    """Return codes (side * side, width) of cells, rows in the one half, columns in the other."""
    y, x = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    return torch.cat([_sines(y.flatten(), width // 2), _sines(x.flatten(), width // 2)], dim=1)


def _ray_numbers(rays: torch.Tensor) -> torch.Tensor:
    place, ahead = rays[..., :3] / _RAY_M, rays[..., 3:]
    turns = torch.cat([place * 2**k * math.pi / 2 for k in range(_RAY_OCTAVES)], dim=-1)
    return torch.cat([place, ahead, turns.sin(), turns.cos()], dim=-1)
