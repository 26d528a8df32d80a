"""The depth head of CUT3R: DPT (Ranftl et al., 2021) over four layers' tokens, to points in the camera's own frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from s3d_ros.geometry_tokens.cut3r_network import PATCH_PX, Shape

_WIDTHS = (96, 192, 384, 768)
_WIDTH = 256


class _Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class _Refine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.resConfUnit1, self.resConfUnit2 = _Unit(), _Unit()

    def forward(self, x: torch.Tensor, finer: torch.Tensor | None = None) -> torch.Tensor:
        if finer is not None:
            x = x[:, :, : finer.shape[2], : finer.shape[3]] + self.resConfUnit1(finer)
        x = F.interpolate(self.resConfUnit2(x), scale_factor=2, mode="bilinear", align_corners=True)
        told: torch.Tensor = self.out_conv(x)
        return told


class PointHead(nn.Module):
    """Names as in the released weights, ``downstream_head.dpt_self``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        inside = (shape.encoder_dim, shape.dim, shape.dim, shape.dim)
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(inside[0], a, 1), nn.ConvTranspose2d(a, a, 4, stride=4)),
                nn.Sequential(nn.Conv2d(inside[1], b, 1), nn.ConvTranspose2d(b, b, 2, stride=2)),
                nn.Sequential(nn.Conv2d(inside[2], c, 1)),
                nn.Sequential(nn.Conv2d(inside[3], d, 1), nn.Conv2d(d, d, 3, stride=2, padding=1)),
            ]
        )
        scratch: dict[str, nn.Module] = {
            f"layer{k}_rn": nn.Conv2d(width, _WIDTH, 3, padding=1, bias=False) for k, width in enumerate(_WIDTHS, 1)
        }
        self.scratch = nn.ModuleDict(scratch | {f"refinenet{k}": _Refine() for k in (1, 2, 3, 4)})
        self.head = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(_WIDTH // 2, _WIDTH // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH // 2, 4, 1),
        )

    def forward(self, layers: Sequence[torch.Tensor], size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return points (B, H, W, 3) in metres, x right, y down, z ahead, and confidence (B, H, W) from 1 up.

        layers: (B, N, d) tokens. size: (H, W) of the picture.
        """
        h, w = (side // PATCH_PX for side in size)
        maps = []
        for k, (tokens, adapt) in enumerate(zip(layers, self.act_postprocess, strict=True), 1):
            maps.append(self.scratch[f"layer{k}_rn"](adapt(tokens.transpose(1, 2).reshape(len(tokens), -1, h, w))))
        x = self.scratch["refinenet4"](maps[3])
        for k in (3, 2, 1):
            x = self.scratch[f"refinenet{k}"](x, maps[k - 1])
        told = self.head(x).permute(0, 2, 3, 1)
        length = told[..., :3].norm(dim=-1, keepdim=True)
        return told[..., :3] / length.clamp_min(1e-8) * torch.expm1(length), 1 + told[..., 3].exp()
