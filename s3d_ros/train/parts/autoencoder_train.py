"""Trains the small autoencoder on a training set's own pictures: view frames and views from above, without marks.

s3d train-vae sets/homes --out vae          about two minutes on a CPU core; ``s3d train`` does it itself
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from s3d_ros.train.config import TrainError
from s3d_ros.train.parts.autoencoder import SmallAutoencoder, save_own
from s3d_ros.train.parts.targets import bev_pixels, scene_bev, view_pixels
from s3d_ros.train.reader import TrainingSet
from s3d_ros.types import U8

_CROP_PX, _BATCH, _PICTURES = 64, 16, 256
_FIRST = 32  # batches whose principal components it begins from
_RATE = 1e-3
_KL = 1e-5  # of a latent, beside the mean error of a pixel's value
Progress = Callable[[str, int, int], None]


def train_autoencoder(
    pictures: list[U8], out: Path, steps: int, seed: int, progress: Progress = lambda what, done, total: None
) -> float:
    """Train on RGB pictures (H, W, 3), sides of 64 px or more; write it to ``out``; return the last mean error, 0..255.

    The global random numbers stay as they are, and the result is a function of what is given.
    """
    if not pictures:
        raise TrainError("there are no pictures to train the autoencoder on")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng = np.random.default_rng((seed, 5))
        model = SmallAutoencoder()
        model.begin_from(torch.cat([_crops(pictures, rng) for _ in range(_FIRST)]))
        optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.0)
        recent: list[float] = []
        for step in range(steps):
            real = _crops(pictures, rng)
            mean, log_variance = model.distribution(real)
            made = model.pictures(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
            kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
            error = (made - real).abs().mean()
            edges = sum((made.diff(dim=d) - real.diff(dim=d)).abs().mean() for d in (2, 3))
            loss = error + 0.5 * edges + _KL * kl
            for group in optimizer.param_groups:  # up in a tenth, down in a cosine
                group["lr"] = _RATE * min(1.0, 10 * (step + 1) / steps) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recent = [*recent[-19:], float(error.detach()) * 127.5]
            progress("training the autoencoder", step + 1, steps)
        with torch.no_grad():
            latents = torch.cat([model.distribution(_crops(pictures, rng))[0].flatten() for _ in range(4)])
    last = float(np.mean(recent)) if recent else float("nan")
    told = {"steps": steps, "pictures": len(pictures), "mean_error": round(last, 3)}
    save_own(model, float(latents.mean()), float(1 / latents.std().clamp(min=1e-3)), out, told)
    return last


def pictures_of(records: TrainingSet, view_px: int, bev_px: int) -> list[U8]:
    """Return at most 256 pictures of a set, spread over its scenes, as the losses see them."""
    scenes = records.scene_count
    each = max(1, _PICTURES // max(scenes, 1))
    out: list[U8] = []
    for k in np.linspace(0, scenes - 1, min(scenes, _PICTURES)).astype(int) if scenes else ():
        scene = records.scene(int(k))
        views = scene.views
        chosen = np.unique(np.linspace(0, len(views) - 1, min(each, len(views))).astype(int)) if views else ()
        out += [view_pixels(scene, views[int(i)].plain, max(view_px, _CROP_PX)) for i in chosen]
        bev = scene_bev(scene)
        if bev is not None:
            out.append(bev_pixels(scene, bev, max(bev_px, _CROP_PX))[0])
    return out


def _crops(pictures: list[U8], rng: np.random.Generator) -> torch.Tensor:
    """Return a batch (b, 3, 64, 64) in -1..1."""
    out = []
    for k in rng.integers(0, len(pictures), _BATCH):
        height, width = pictures[k].shape[:2]
        y, x = rng.integers(0, height - _CROP_PX + 1), rng.integers(0, width - _CROP_PX + 1)
        crop = pictures[k][y : y + _CROP_PX, x : x + _CROP_PX]
        out.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.ascontiguousarray(np.stack(out))).permute(0, 3, 1, 2).float() / 127.5 - 1
