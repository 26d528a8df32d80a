"""The network of CUT3R (Wang et al., "Continuous 3D Perception Model with Persistent State", CVPR 2025).

Written anew, under the names that the released weights have. What is not needed for tokens, depth in the camera's own
frame and poses (ray maps, colours, points in the world) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

PATCH_PX = 16
_BASE = 100.0  # of the rotary positions
_HEAD_DIM = 64
_STATE_HEADS = 16


@dataclass(frozen=True)
class Shape:
    """Sizes, as the weights tell them. dims: of encoder and decoder; head_dim: of both; state_heads: of the state's."""

    encoder_dim: int
    encoder_blocks: int
    dim: int
    blocks: int
    state: int
    memory: int
    head_dim: int = _HEAD_DIM
    state_heads: int = _STATE_HEADS

    @classmethod
    def of(
        cls, shapes: Mapping[str, tuple[int, ...]], head_dim: int = _HEAD_DIM, state_heads: int = _STATE_HEADS
    ) -> Shape:
        """Read the sizes off the shapes of weights. Raises KeyError where these are none of CUT3R."""
        count = lambda start: len({k.split(".")[1] for k in shapes if k.startswith(f"{start}.")})  # noqa: E731
        state, encoder_dim = shapes["register_tokens.weight"]
        return cls(
            encoder_dim, count("enc_blocks"), shapes["pose_token"][2], count("dec_blocks"), state,
            shapes["pose_retriever.mem"][1], head_dim, state_heads,
        )  # fmt: skip


def rotary(x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """Turn x (B, heads, N, d) by places (B, N, 2), row and column: each half of d by one of them. None: not at all."""
    if places is None:
        return x
    quarter = x.shape[-1] // 4
    rates = _BASE ** (-torch.arange(quarter, device=x.device) / quarter)
    out = []
    for half, place in zip(x.chunk(2, dim=-1), places.unbind(-1), strict=True):
        angle = (place[..., None].float() * rates)[:, None]  # (B, 1, N, d / 4)
        a, b = half.chunk(2, dim=-1)
        out += [a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()]
    return torch.cat(out, dim=-1).to(x.dtype)


class Mlp(nn.Module):
    def __init__(self, dim: int, out: int = 0) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, out or dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        told: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return told


class Own(nn.Module):
    """Attention of tokens over themselves."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        told = F.scaled_dot_product_attention(rotary(q, places), rotary(k, places), v)
        return self.proj(told.transpose(1, 2).reshape(b, n, d))


class Across(nn.Module):
    """Attention of tokens over others."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq, self.projk, self.projv, self.proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, here: torch.Tensor | None, there: torch.Tensor | None
    ) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = (
            p(z).view(b, z.shape[1], self.heads, -1).transpose(1, 2)
            for p, z in ((self.projq, x), (self.projk, y), (self.projv, y))
        )
        told = F.scaled_dot_product_attention(rotary(q, here), rotary(k, there), v)
        return self.proj(told.transpose(1, 2).reshape(b, n, d))


class EncoderBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = Own(dim, heads), Mlp(dim)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), places)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm_y = (nn.LayerNorm(dim, eps=1e-6) for _ in range(4))
        self.attn, self.cross_attn, self.mlp = Own(dim, heads), Across(dim, heads), Mlp(dim)

    def forward(
        self, x: torch.Tensor, y: torch.Tensor, here: torch.Tensor | None = None, there: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), here)
        x = x + self.cross_attn(self.norm2(x), self.norm_y(y), here, there)
        return x + self.mlp(self.norm3(x))


class PoseMemory(nn.Module):
    """Remembers which picture was seen from where, to guess a new one's camera token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dim = shape.dim
        self.proj_q = nn.Linear(shape.encoder_dim, shape.dim)
        self.masked_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        self.mem = nn.Parameter(torch.zeros(1, shape.memory, 2 * shape.dim))
        heads = shape.dim // shape.head_dim
        self.write_blocks = nn.ModuleList(DecoderBlock(2 * shape.dim, heads) for _ in range(2))
        self.read_blocks = nn.ModuleList(DecoderBlock(2 * shape.dim, heads) for _ in range(2))

    def written(self, memory: torch.Tensor, picture: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        told = torch.cat([self.proj_q(picture), camera], dim=-1)
        for block in self.write_blocks:
            memory = block(memory, told)
        return memory

    def asked(self, memory: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.proj_q(picture), self.masked_token.expand(len(picture), -1, -1)], dim=-1)
        for block in self.read_blocks:
            x = block(x, memory)
        return x[..., -self.dim :]


@dataclass(frozen=True)
class Cut3rState:
    """tokens: (B, S, D). memory: (B, M, 2 D). frames: so many were taken in."""

    tokens: torch.Tensor
    memory: torch.Tensor
    frames: int = 0


@dataclass(frozen=True)
class Decoded:
    """layers: tokens that the depth head reads, (B, N, d) each. tokens: (B, 1 + N, D), the camera's first. pose: (B, 7)
    shift and quaternion (w first) into the first frame."""

    layers: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
    tokens: torch.Tensor
    pose: torch.Tensor


class Cut3r(nn.Module):
    """Encoder, the two decoders that look at each other, and the pose's memory and head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        e, d = shape.encoder_dim, shape.dim
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, e, PATCH_PX, stride=PATCH_PX)})
        self.enc_blocks = nn.ModuleList(EncoderBlock(e, e // shape.head_dim) for _ in range(shape.encoder_blocks))
        self.enc_norm = nn.LayerNorm(e, eps=1e-6)
        self.register_tokens = nn.Embedding(shape.state, e)
        self.decoder_embed, self.decoder_embed_state = nn.Linear(e, d), nn.Linear(e, d)
        self.dec_blocks = nn.ModuleList(DecoderBlock(d, d // shape.head_dim) for _ in range(shape.blocks))
        self.dec_blocks_state = nn.ModuleList(DecoderBlock(d, shape.state_heads) for _ in range(shape.blocks))
        self.dec_norm, self.dec_norm_state = (nn.LayerNorm(d, eps=1e-6) for _ in range(2))
        self.pose_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pose_retriever = PoseMemory(shape)
        head = nn.ModuleDict({"mlp": Mlp(d, 7)})
        self.downstream_head = nn.ModuleDict({"pose_head": head})

    def start(self) -> Cut3rState:
        return Cut3rState(self.decoder_embed_state(self.register_tokens.weight[None]), self.pose_retriever.mem)

    def step(self, state: Cut3rState, pixels: torch.Tensor) -> tuple[Decoded, Cut3rState]:
        """Take a picture in: (1, 3, H, W) of -1 to 1, sides in whole patches."""
        device = pixels.device
        x = self.patch_embed["proj"](pixels)
        h, w = x.shape[2:]
        places = torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device))[None]
        x = x.flatten(2).transpose(1, 2)
        for block in self.enc_blocks:
            x = block(x, places)
        seen = self.enc_norm(x)
        picture = seen.mean(dim=1, keepdim=True)
        camera = self.pose_retriever.asked(state.memory, picture) if state.frames else self.pose_token
        x, s = torch.cat([camera, self.decoder_embed(seen)], dim=1), state.tokens
        here = torch.cat([torch.full_like(places[:, :1], -1), places], dim=1)
        across = int(self.shape.state**0.5)
        across += across % 2
        index = torch.arange(self.shape.state, device=device)
        there = torch.stack([index // across, index % across], dim=-1)[None]
        after = []
        for looks, changes in zip(self.dec_blocks, self.dec_blocks_state, strict=True):
            x, s = looks(x, s, here, there), changes(s, x, there, here)
            after.append(x)
        x, s = self.dec_norm(x), self.dec_norm_state(s)
        n = self.shape.blocks
        layers = (seen, after[n * 2 // 4 - 1][:, 1:], after[n * 3 // 4 - 1][:, 1:], x[:, 1:])
        memory = self.pose_retriever.written(state.memory, picture, x[:, :1])
        told = self.downstream_head["pose_head"]["mlp"](x[:, 0])
        length = told[:, :3].norm(dim=-1, keepdim=True)
        shift = told[:, :3] * torch.expm1(length) / length.clamp_min(1e-8)
        pose = torch.cat([shift, F.normalize(told[:, 3:], dim=-1)], dim=-1)
        return Decoded(layers, x, pose), Cut3rState(s, memory, state.frames + 1)
