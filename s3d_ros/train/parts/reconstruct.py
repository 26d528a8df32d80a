"""ROSS3D's two losses: views that are taken away, and the view from above, are recovered from what is left.

What the language model makes of the view frames that it sees must tell what those hidden from it show (cross-view), and
how the scene looks from above (global-view). Its words see the same: there is one forward for all losses.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s3d_ros.train.batch import Batch
from s3d_ros.train.config import ReconstructConfig
from s3d_ros.train.parts.autoencoder import CELL_PX, Latents
from s3d_ros.train.parts.base import Example, RunPart, Tensors
from s3d_ros.train.parts.denoiser import STEPS, Denoiser, noise_error
from s3d_ros.train.parts.masking import without_views
from s3d_ros.train.parts.targets import bev_pixels, is_view, rays, scene_bev, view_pixels
from s3d_ros.train.reader import SceneData

VIEW, BEV = "view", "bev"
OWN_VAE = "vae"  # an autoencoder of our own lies there, in a run and in its checkpoints


class Reconstruct(RunPart):
    """Both losses, or one. hidden: width of the language model; width: of the denoiser; channels: of a latent token."""

    name = "reconstruct"
    wants_output = True
    told = ("cross_view", "global_view")

    def __init__(self, config: ReconstructConfig, latents: Latents, hidden: int, width: int, channels: int) -> None:
        super().__init__()
        self.config, self.latents, self.width, self.channels = config, latents, width, channels
        sides = {VIEW: config.view_px // CELL_PX} if config.cross_view else {}
        sides |= {BEV: config.bev_px // CELL_PX} if config.global_view else {}
        self.mask_token = nn.Parameter(torch.randn(hidden) * 0.02) if config.cross_view else None
        cells = {kind: side**2 for kind, side in sides.items()}
        poses = config.cross_view and config.condition == "pose"
        self.denoiser = Denoiser(hidden, width, channels, cells, poses, config.skip)
        self._kept: OrderedDict[str, tuple[torch.Tensor, ...]] = OrderedDict()
        self._kept_bytes = 0

    def settings(self) -> dict[str, Any]:
        kept = {k: v for k, v in vars(self.config).items() if k not in ("vae", "vae_steps", "cache_gb")}
        given = "" if self.latents.own else str(self.latents.where)
        return {**kept, "width": self.width, "channels": self.channels, "vae": given}

    def write(self, path: Path) -> None:
        if self.latents.own:
            shutil.copytree(self.latents.where, path / OWN_VAE)

    # --- data, in its own thread

    def example(self, example: Example) -> Tensors:
        """Return which views are masked, their latents, the view from above, and the noise of both."""
        made: Tensors = {}
        config = self.config
        if example.step < 0:
            return made
        if config.cross_view and example.step % config.every == 0:
            made |= self.masked_views(example, masked_of(example.names, config.mask_share, example.rng))
        bev = scene_bev(example.scene) if config.global_view else None
        if bev is not None:
            made |= self.bev_target(example.scene, bev, example.rng)
        return made

    def masked_views(self, example: Example, masked: list[int]) -> Tensors:
        """Return what is needed of view frames, by number in the example, to recover them."""
        if not masked:
            return {}
        scene, px = example.scene, self.config.view_px
        names = [example.names[i] for i in masked]
        tokens = torch.stack([self._latents(n, lambda n=n: (self._view(scene, n),))[0] for n in names])  # type: ignore[misc]
        made = {"masked": torch.tensor(masked), "view": tokens, **_noise(VIEW, tokens, self.config.draws, example.rng)}
        if self.config.condition == "pose":
            views = {v.marked: v for v in scene.views}
            made["view_rays"] = torch.from_numpy(np.stack([rays(scene, views[n], px) for n in names]))
        return made

    def bev_target(self, scene: SceneData, name: str, rng: np.random.Generator) -> Tensors:
        """Return the latents of a view from above, (1, n, channels), and which of its cells are known."""

        def make() -> tuple[torch.Tensor, torch.Tensor]:
            pixels, known = bev_pixels(scene, name, self.config.bev_px)
            return self.latents.tokens(pixels), torch.from_numpy(known)

        tokens, known = (x[None] for x in self._latents(name, make))
        return {"bev": tokens, "bev_known": known, **_noise(BEV, tokens, self.config.draws, rng)}

    def _view(self, scene: SceneData, name: str) -> torch.Tensor:
        return self.latents.tokens(view_pixels(scene, name, self.config.view_px))

    def _latents(self, name: str, make: Callable[[], tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
        """Return what was made of a picture, made if it is not kept."""
        if name not in self._kept:
            self._kept[name] = made = make()
            self._kept_bytes += sum(t.nbytes for t in made)
            while self._kept_bytes > self.config.cache_gb * 1e9 and len(self._kept) > 1:
                self._kept_bytes -= sum(t.nbytes for t in self._kept.popitem(last=False)[1])
        self._kept.move_to_end(name)
        return self._kept[name]

    # --- the step

    def before(self, batch: Batch, features: tuple[torch.Tensor, ...]) -> tuple[Batch, tuple[torch.Tensor, ...]]:
        masked = masked_pictures(batch)
        if not masked or self.mask_token is None:
            return batch, features
        return without_views(batch, features, masked, self.mask_token)

    def losses(self, batch: Batch, features: torch.Tensor, output: torch.Tensor) -> Tensors:
        if batch.step < 0:
            return {}
        outputs, known = visual_outputs(batch, output)
        told: Tensors = {}
        for kind, weight in ((VIEW, self.config.cross_weight), (BEV, self.config.global_weight)):
            row = [i for i, extra in enumerate(batch.extra) if kind in extra[self.name]]
            if not row:
                continue
            made = {k: torch.cat([batch.extra[i][self.name][k] for i in row]) for k in _values(kind, batch, row[0])}
            of = torch.tensor([i for i in row for _ in batch.extra[i][self.name][kind]], device=output.device)
            condition = self.denoiser.condition(kind, outputs, known, of, made.get(f"{kind}_rays"))
            wanted = made.get(f"{kind}_known")
            tokens, condition = (t.repeat_interleave(self.config.draws, dim=0) for t in (made[kind], condition))
            wanted = None if wanted is None else wanted.repeat_interleave(self.config.draws, dim=0)
            noise, steps = made[f"{kind}_noise"], made[f"{kind}_step"]
            error = noise_error(self.denoiser, tokens, noise, steps, condition, wanted)
            told[{VIEW: "cross_view", BEV: "global_view"}[kind]] = weight * error
        return told


def masked_of(names: tuple[str, ...], share: float, rng: np.random.Generator) -> list[int]:
    """Return which pictures are masked: a share of the view frames, one at least, and one at least is left."""
    views = [i for i, name in enumerate(names) if is_view(name)]
    count = min(max(1, round(share * len(views))), len(views) - 1)
    return sorted(rng.choice(views, count, replace=False).tolist()) if count > 0 else []


def masked_pictures(batch: Batch) -> set[int]:
    """Return the indices in ``batch.pictures`` of those that are masked."""
    first: dict[int, int] = {}
    for index, picture in enumerate(batch.pictures):
        first.setdefault(picture.row, index)
    held = ((row, extra.get(Reconstruct.name, {}).get("masked")) for row, extra in enumerate(batch.extra))
    return {first[row] + i for row, masked in held if masked is not None for i in masked.tolist()}


def visual_outputs(batch: Batch, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the language model made of the view frames that it saw, (b, v, d), and which are real, (b, v) bool.

    Masked ones are left out, and so is the view from above, which is a target.
    """
    masked = masked_pictures(batch)
    flags = [(is_view(p.name) and i not in masked, p.tokens) for i, p in enumerate(batch.pictures)]
    wanted = torch.cat([torch.full((n,), flag) for flag, n in flags]).to(output.device)
    chosen = torch.zeros_like(batch.types, dtype=torch.bool)
    chosen[batch.types.bool()] = wanted
    most = max(int(chosen.sum(dim=1).max()), 1)
    order = torch.argsort((~chosen).int(), dim=1, stable=True)[:, :most]
    return output.gather(1, order[..., None].expand(-1, -1, output.shape[-1])), chosen.gather(1, order)


def _values(kind: str, batch: Batch, row: int) -> list[str]:
    return [k for k in batch.extra[row][Reconstruct.name] if k == kind or k.startswith(f"{kind}_")]


def _noise(kind: str, tokens: torch.Tensor, draws: int, rng: np.random.Generator) -> Tensors:
    """Return noise (p * draws, n, c) for tokens (p, n, c) and its timesteps, the draws of one picture together."""
    count = draws * len(tokens)
    noise = torch.from_numpy(rng.standard_normal((count, *tokens.shape[1:]), dtype=np.float32))
    return {f"{kind}_noise": noise, f"{kind}_step": torch.from_numpy(rng.integers(0, STEPS, count))}
