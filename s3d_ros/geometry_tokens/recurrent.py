"""The small recurrent encoder: CUT3R's scheme in miniature (Wang et al., 2025), with the motion solved, not guessed.

A frame's tokens and the state's tokens look at each other; both come out changed, the state's go on to the next frame.
Depth is predicted; where the cells were in the frame before is found by matching; the camera's motion is what explains
both. Depth is that of a canonical camera, scaled by the focal length (Yin et al., "Metric3D", 2023), so a zoomed
picture is not taken for a near one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from s3d_ros.geometry_tokens.config import CELL_PX, RecurrentConfig
from s3d_ros.geometry_tokens.layers import Block, Residual, halved, upsampled, waves
from s3d_ros.geometry_tokens.matching import Matches, cell_grid, match
from s3d_ros.geometry_tokens.solve import solve_motion

MATCH_PX = 8  # stride of the cells that are matched
DEPTH_PX = 2  # stride of the depth
_OCTAVES = 5
_USUAL_DEPTH_M = 2.0
_LEAST_LOG_B, _MOST_LOG_B = -3.5, 1.0
_POSE_NUMBERS = 9


@dataclass(frozen=True)
class State:
    """What goes on from frame to frame. tokens: (B, S, D). features, log_depth: of the frame before, at the matched
    cells, None before the first. T_first_camera: (B, 4, 4) of it. log_focal: (B,) sum of the guesses, of ``frames``."""

    tokens: torch.Tensor
    T_first_camera: torch.Tensor
    log_focal: torch.Tensor
    features: torch.Tensor | None = None
    log_depth: torch.Tensor | None = None
    frames: int = 0

    def detached(self) -> State:
        """Return it without its history."""
        held = {k: v.detach() for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **held)


@dataclass(frozen=True)
class Encoded:
    """What a frame is by itself: feature maps at strides 2, 4, 8, and tokens (B, N, D). size: (h, w) in tokens."""

    maps: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    tokens: torch.Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Predicted:
    """Of a frame, given those before it. tokens: (B, N, D). camera: (B, D). log_depth, log_b: (B, h, w) at DEPTH_PX;
    the depth's error is Laplacian of scale b. motion: (B, 6) turn and shift as the camera token tells them, focal: (B,)
    log of focal length over the canonical one. R, t: into the frame before, None for the first."""

    tokens: torch.Tensor
    camera: torch.Tensor
    log_depth: torch.Tensor
    log_b: torch.Tensor
    motion: torch.Tensor
    log_focal: torch.Tensor
    matches: Matches | None = None
    R: torch.Tensor | None = None
    t: torch.Tensor | None = None


class RecurrentGeometry(nn.Module):
    """The network. Intrinsics are (B, 4): fx, fy, cx, cy in shares of width, height, width, height."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.stem
        d = config.dim
        self.stem = nn.ModuleList(
            [
                halved(3, a),
                nn.Sequential(halved(a, b), Residual(b)),
                nn.Sequential(halved(b, c), Residual(c), Residual(c)),
            ]
        )
        self.patches = nn.Conv2d(c, d, 2, stride=2)
        self.place = nn.Linear(4 * _OCTAVES, d)
        self.encoder = nn.ModuleList(Block(d, config.heads) for _ in range(config.encoder_blocks))
        self.describe = nn.Conv2d(c, config.match_dim, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.3))  # log of what the cosines are multiplied by
        self.nowhere = nn.Parameter(torch.tensor(2.0))
        self.moved = nn.Conv2d(5, d, 2, stride=2)
        self.first_state = nn.Parameter(torch.randn(config.state_tokens, d) * 0.02)
        self.camera = nn.Parameter(torch.randn(2, d) * 0.02)  # with intrinsics, without
        self.tokens_look = nn.ModuleList(Block(d, config.heads, across=True) for _ in range(config.decoder_blocks))
        self.state_looks = nn.ModuleList(Block(d, config.heads, across=True) for _ in range(config.decoder_blocks))
        self.norm, self.norm_state = nn.LayerNorm(d), nn.LayerNorm(d)
        self.keep = nn.Parameter(torch.zeros(d))
        self.tell = nn.Linear(d, 7)  # turn, shift, focal length
        self.register_buffer("pose_code", _pose_code(d))
        self.coarse = nn.Linear(d, 1)  # depth of a whole token; what follows adds to it what is finer
        self.raise_8 = nn.Sequential(nn.Conv2d(d + c, 64, 3, padding=1), nn.ReLU())
        self.raise_4 = nn.Sequential(nn.Conv2d(64 + b, 40, 3, padding=1), nn.ReLU())
        self.raise_2 = nn.Sequential(nn.Conv2d(40 + a, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 2, 3, padding=1))
        with torch.no_grad():
            self.tell.weight.mul_(0.1)
            self.tell.bias.zero_()
            self.raise_2[-1].weight.mul_(0.1)
            self.raise_2[-1].bias.zero_()

    def start(self, batch: int) -> State:
        """Return the state before the first frame."""
        device = self.first_state.device
        eye = torch.eye(4, device=device).expand(batch, 4, 4)
        return State(self.first_state.expand(batch, -1, -1), eye, torch.zeros(batch, device=device))

    def encode(self, pixels: torch.Tensor, intrinsics: torch.Tensor | None) -> Encoded:
        """Return what frames are by themselves. pixels: (B, 3, H, W) of -1 to 1, sides in whole cells."""
        maps = []
        x = pixels
        for stage in self.stem:
            x = stage(x)
            maps.append(x)
        x = self.patches(x)
        h, w = x.shape[2:]
        rays = self.rays(intrinsics, h, w, CELL_PX, pixels.shape[0])
        x = x.flatten(2).transpose(1, 2) + self.place(waves(rays, _OCTAVES))
        for block in self.encoder:
            x = block(x)
        return Encoded((maps[0], maps[1], maps[2]), x, (h, w))

    def step(self, state: State, encoded: Encoded, intrinsics: torch.Tensor | None) -> tuple[Predicted, State]:
        """Return what is predicted of a frame, and the state after it."""
        h, w = encoded.size
        b = encoded.tokens.shape[0]
        described = self.describe(encoded.maps[2])
        matches, motion_maps = self._found(described, state)
        tokens = encoded.tokens + self.moved(motion_maps).flatten(2).transpose(1, 2)
        camera = self.camera[int(intrinsics is None)].expand(b, 1, -1)
        x, s = torch.cat([camera, tokens], dim=1), state.tokens
        for looks, changes in zip(self.tokens_look, self.state_looks, strict=True):
            x, s = looks(x, s), changes(s, x)
        x, s = self.norm(x), self.norm_state(s)
        told = self.tell(x[:, 0]).float()
        log_focal = told[:, 6] if intrinsics is None else (intrinsics[:, 0] / self.config.focal).log()
        focal_sum = state.log_focal + log_focal
        used = log_focal if intrinsics is not None else focal_sum / (state.frames + 1)
        log_depth, log_b = self._depth(encoded, x[:, 1:], used)

        cell_depth = F.avg_pool2d(log_depth[:, None], MATCH_PX // DEPTH_PX)
        R, t, T = None, None, state.T_first_camera
        if matches is not None:
            known = self._camera(intrinsics, used, (h * CELL_PX, w * CELL_PX))
            certain = F.avg_pool2d((-log_b)[:, None].exp().clamp(max=20.0), MATCH_PX // DEPTH_PX).flatten(1)
            rays = self.rays(known, 2 * h, 2 * w, MATCH_PX, b)
            points = torch.cat([rays, torch.ones_like(rays[..., :1])], dim=-1) * cell_depth.flatten(1).exp()[..., None]
            at = self.rays_at(known, (matches.xy + 0.5) / torch.tensor([2.0 * w, 2.0 * h], device=x.device))
            R, t = solve_motion(points, at, matches.weight * certain / certain.mean(dim=1, keepdim=True))
            moved = torch.eye(4, device=x.device).repeat(b, 1, 1)
            moved[:, :3, :3], moved[:, :3, 3] = R, t
            T = state.T_first_camera @ moved
        pose = torch.cat([T[:, :3, :2].flatten(1), T[:, :3, 3] / 3.0], dim=1).detach()
        camera_token = x[:, 0] + pose @ self.pose_code
        keep = self.keep.sigmoid()
        after = State(
            keep * state.tokens + (1 - keep) * s, T, focal_sum, described, cell_depth.detach(), state.frames + 1
        )
        predicted = Predicted(x[:, 1:], camera_token, log_depth, log_b, told[:, :6], log_focal, matches, R, t)
        return predicted, after

    def rays(self, intrinsics: torch.Tensor | None, h: int, w: int, stride: int, batch: int) -> torch.Tensor:
        """Return x, y at unit depth of the middles of h x w cells, (B, h * w, 2)."""
        device = self.first_state.device
        share = (cell_grid(h, w, device) + 0.5) / torch.tensor([w, h], device=device)
        if intrinsics is None:
            intrinsics = self._camera(None, torch.zeros(batch, device=device), (h * stride, w * stride))
        return self.rays_at(intrinsics, share.expand(batch, -1, -1))

    @staticmethod
    def rays_at(intrinsics: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Return x, y at unit depth of places (B, N, 2) in shares of width and height."""
        return (share - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]

    def _camera(self, intrinsics: torch.Tensor | None, log_focal: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return the intrinsics, where none are known those of a camera with square pixels."""
        if intrinsics is not None:
            return intrinsics
        fx = self.config.focal * log_focal.exp()
        half = torch.full_like(fx, 0.5)
        return torch.stack([fx, fx * size[1] / size[0], half, half], dim=1)

    def _found(self, described: torch.Tensor, state: State) -> tuple[Matches | None, torch.Tensor]:
        """Return the matches with the frame before, and what they tell each cell, (B, 5, h, w)."""
        b, _, h, w = described.shape
        if state.features is None or state.log_depth is None or state.features.shape != described.shape:
            return None, torch.zeros(b, 5, h, w, device=described.device)
        found = match(described, state.features, self.sharpness.exp(), self.nowhere)
        grid = cell_grid(h, w, described.device)
        shift = (found.xy - grid).transpose(1, 2).reshape(b, 2, h, w) / 4.0
        weight = found.weight.reshape(b, 1, h, w)
        span = torch.tensor([w, h], device=described.device)
        at = ((found.xy + 0.5) / span * 2 - 1).reshape(b, h, w, 2)
        depth = F.grid_sample(state.log_depth, at, mode="bilinear", padding_mode="border", align_corners=False)
        known = torch.cat([shift * weight, weight, (depth - 0.7) * weight, torch.ones_like(weight)], dim=1)
        return found, known

    def _depth(
        self, encoded: Encoded, tokens: torch.Tensor, log_focal: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h, w = encoded.size
        x = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, h, w)
        coarse = self.coarse(tokens).transpose(1, 2).reshape(-1, 1, h, w).float()
        coarse = F.interpolate(coarse, scale_factor=CELL_PX / DEPTH_PX, mode="bilinear", align_corners=False)
        maps = encoded.maps
        x = self.raise_8(torch.cat([upsampled(x), maps[2]], dim=1))
        x = self.raise_4(torch.cat([upsampled(x), maps[1]], dim=1))
        out = self.raise_2(torch.cat([upsampled(x), maps[0]], dim=1)).float()
        log_depth = out[:, 0] + coarse[:, 0] + log_focal[:, None, None] + torch.log(torch.tensor(_USUAL_DEPTH_M))
        log_b = out[:, 1].clamp(_LEAST_LOG_B, _MOST_LOG_B)
        return log_depth, log_b


def _pose_code(dim: int) -> torch.Tensor:
    """Return orthogonal rows (9, dim): how a pose stands in a camera token. Always the same."""
    made = torch.randn(dim, _POSE_NUMBERS, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(made)[0].T.contiguous()
