"""Latents of pictures: FLUX's KL autoencoder by ``diffusers`` where its weights are given, else a small one of our own.

Both make 1/8 of the size and 16 channels; 2x2 of these are one token of 64 numbers, which stands for 16x16 pixels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from s3d_ros.train.config import TrainError
from s3d_ros.types import U8

CELL_PX = 16  # a token's
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_OWN = "s3d_autoencoder"


class SmallAutoencoder(nn.Module):
    """A convolutional KL autoencoder, 1.1 M parameters. Pictures (b, 3, H, W) in -1..1, sides multiples of 8.

    What convolutions make is added to a linear code of 8x8 pixels each, their principal components (``begin_from``):
    so it is of use from the first step, and its channels are about apart and of like size, as noise is.
    """

    def __init__(self, width: int = 64, channels: int = 16) -> None:
        super().__init__()
        self.channels = channels
        wide = width + width // 2
        self.linear = nn.Conv2d(3, channels, 8, 8)
        self.linear_back = nn.ConvTranspose2d(channels, 3, 8, 8)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(48, width, 3, padding=1), _Block(width),
            nn.Conv2d(width, wide, 4, 2, 1), _Block(wide), _norm(wide), nn.SiLU(),
            nn.Conv2d(wide, 2 * channels, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, wide, 3, padding=1), _Block(wide), _Block(wide),
            nn.Conv2d(wide, 4 * width, 3, padding=1), nn.PixelShuffle(2), _Block(width), _norm(width), nn.SiLU(),
            nn.Conv2d(width, 48, 3, padding=1), nn.PixelShuffle(4),
        )  # fmt: skip
        for last in (self.encoder[-1], self.decoder[-2]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.constant_(self.encoder[-1].bias[channels:], -5.0)  # little noise at first

    @torch.no_grad()
    def begin_from(self, pictures: torch.Tensor) -> None:
        """Set the linear code to the principal components of pictures' 8x8 cells, each of unit size."""
        cells = F.unfold(pictures, 8, stride=8).transpose(1, 2).flatten(0, 1)  # (n, 192)
        middle = cells.mean(dim=0)
        sizes, axes = torch.linalg.eigh(torch.cov((cells - middle).T.double()))
        sizes, axes = sizes[-self.channels :].clamp(min=1e-4).sqrt().float(), axes[:, -self.channels :].float()
        signs = axes.sum(dim=0).sign() + (axes.sum(dim=0) == 0)  # what eigenvectors leave open
        axes = axes * signs
        self.linear.weight.copy_((axes / sizes).T.reshape(self.linear.weight.shape))
        self.linear.bias.copy_(-(middle @ axes) / sizes)
        self.linear_back.weight.copy_((axes * sizes).T.reshape(self.linear_back.weight.shape))
        self.linear_back.bias.copy_(middle.reshape(3, -1).mean(dim=1))

    def distribution(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log of the variance of the latents, (b, channels, H / 8, W / 8) each."""
        mean, log_variance = self.encoder(pictures).chunk(2, dim=1)
        return self.linear(pictures) + mean, log_variance.clamp(-20, 10)

    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the pictures of latents."""
        out: torch.Tensor = self.linear_back(latents) + self.decoder(latents)
        return out


class Latents:
    """Turns pictures into tokens and back with a frozen autoencoder. shift, scale: make latents about standard normal.

    where: its folder. own: made by ``s3d train-vae``, or by a run.
    """

    def __init__(self, model: Any, shift: float, scale: float, where: Path, own: bool, device: str) -> None:
        self.model = model.requires_grad_(False).eval().to(device)
        self.shift, self.scale, self.device, self.own = shift, scale, device, own
        self.where = where

    @property
    def channels(self) -> int:
        """Numbers of a token."""
        if isinstance(self.model, SmallAutoencoder):
            return 4 * self.model.channels
        return 4 * int(self.model.config.latent_channels)

    @torch.no_grad()
    def tokens(self, pixels: U8) -> torch.Tensor:
        """Return the tokens (H / 16 * W / 16, channels) of RGB (H, W, 3), on the CPU."""
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        if isinstance(self.model, SmallAutoencoder):
            mean, _ = self.model.distribution(x)
        else:
            mean = self.model.encode(x).latent_dist.mode()
        return to_tokens((mean.float() - self.shift) * self.scale)[0].cpu()

    @torch.no_grad()
    def picture(self, tokens: torch.Tensor, rows: int, columns: int) -> U8:
        """Return the picture, RGB (16 * rows, 16 * columns, 3), of tokens (rows * columns, channels)."""
        z = from_tokens(tokens[None].to(self.device), rows, columns) / self.scale + self.shift
        if isinstance(self.model, SmallAutoencoder):
            x = self.model.pictures(z)
        else:
            x = self.model.decode(z).sample
        return np.asarray(((x[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy())


def to_tokens(latents: torch.Tensor) -> torch.Tensor:
    """Return (b, c, h, w) as tokens (b, h / 2 * w / 2, 4 c), of 2x2 each, row by row."""
    return F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def from_tokens(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The inverse of ``to_tokens``: (b, rows * columns, 4 c) become (b, c, 2 rows, 2 columns)."""
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, columns)), 2)


def load_latents(directory: Path, device: str) -> Latents:
    """Return the autoencoder of a directory: one of ``s3d train-vae``, or FLUX's (or another AutoencoderKL).

    Raises TrainError.
    """
    try:
        told: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(
            f"reconstruct.vae: {directory} holds no {CONFIG} that can be read ({error}); give the folder of an "
            "autoencoder (FLUX's vae/, or what s3d train-vae made), or leave it empty: a small one is trained"
        ) from error
    if told.get("kind") == _OWN:
        return _own(directory, told, device)
    if told.get("_class_name") != "AutoencoderKL":
        raise TrainError(f"reconstruct.vae: {directory} is no AutoencoderKL, but {told.get('_class_name')!r}")
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise TrainError(
            f"reconstruct.vae: {directory} is loaded by diffusers, which is not installed: pip install diffusers; or "
            "leave reconstruct.vae empty: a small autoencoder is trained"
        ) from error
    try:
        model = AutoencoderKL.from_pretrained(directory, local_files_only=True, use_safetensors=True)
    except Exception as error:  # whatever a damaged file makes of it
        raise TrainError(
            f"reconstruct.vae: {directory} can't be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    factor = 2 ** (len(model.config.block_out_channels) - 1)
    if 2 * factor != CELL_PX:
        raise TrainError(f"reconstruct.vae: {directory} makes pictures {factor} times smaller; 8 times are needed here")
    shift = float(getattr(model.config, "shift_factor", None) or 0.0)
    return Latents(model, shift, float(model.config.scaling_factor), directory, False, device)


def save_own(model: SmallAutoencoder, shift: float, scale: float, directory: Path, told: dict[str, Any]) -> None:
    """Write one of our own, whole or not at all. told: how it was trained."""
    half = directory.with_name(f".{directory.name}.half")
    half.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items()}, half / WEIGHTS)
    kept = {"kind": _OWN, "channels": model.channels, "shift": shift, "scale": scale, **told}
    (half / CONFIG).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    half.replace(directory)


def _own(directory: Path, told: dict[str, Any], device: str) -> Latents:
    try:
        model = SmallAutoencoder(channels=int(told["channels"]))
        model.load_state_dict(load_file(directory / WEIGHTS))
        return Latents(model, float(told["shift"]), float(told["scale"]), directory, True, device)
    except Exception as error:  # whatever a damaged file makes of it
        raise TrainError(
            f"reconstruct.vae: {directory} is damaged ({' '.join(str(error).split())[:200]}); remove it, "
            "and it is made anew"
        ) from error


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
            _norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.inner(x)
        return out
