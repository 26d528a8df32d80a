"""What a run's denoiser makes of what the language model saw: views that were hidden from it, and the whole from above.

s3d train-draw runs/ross3d/step-0000500 --out seen.png
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from s3d_ros.train.batch import Batch
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.model import Loaded, load
from s3d_ros.train.parts.autoencoder import CELL_PX
from s3d_ros.train.parts.base import RunPart, last_hidden
from s3d_ros.train.parts.denoiser import sampled
from s3d_ros.train.parts.make import answer_lead, begin_from, make_parts
from s3d_ros.train.parts.reconstruct import BEV, VIEW, Reconstruct, visual_outputs
from s3d_ros.train.parts.targets import bev_pixels, scene_bev, view_pixels
from s3d_ros.types import U8
from s3d_ros.vlm.beside import read_parts

_SIDE_PX, _GAP_PX, _TEXT_PX = 192, 6, 18
_SHOWN = 3  # hidden views of a scene
TITLES = ("hidden view", "as latents are", "recovered", "from above", "as latents are", "recovered")


def draw_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    split: str = "",
    scenes: int = 3,
    steps: int = 20,
    seed: int = 0,
    device: str = "cpu",
) -> list[dict[str, float]]:
    """Write a picture of what is recovered in some scenes; return for each the mean errors, 0..255, of both, beside
    those of a grey picture that is as bright. split: empty: that of evaluation, else of training. Raises TrainError.
    """
    config, loaded, samples, parts = open_run(checkpoint, split, device)
    part = next((p for p in parts if isinstance(p, Reconstruct)), None)
    if part is None:
        raise TrainError(f"{checkpoint} was trained without reconstruct.cross_view and global_view: nothing to draw")
    chosen = list({samples.records.scene_of(i): i for i in reversed(samples.indices)}.values())[::-1][:scenes]
    told, rows = [], []
    with torch.no_grad():
        for index in chosen:
            found, figures = _scene(config, loaded, samples, part, parts, index, steps, seed)
            rows += found
            told.append(figures)
    sheet = np.vstack([_titles(), *rows])
    out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(out), sheet[..., ::-1]):
        raise TrainError(f"{out} can't be written: give a .png or .jpg")
    return told


def open_run(checkpoint: Path, split: str, device: str) -> tuple[TrainConfig, Loaded, Samples, list[RunPart]]:
    """Load a checkpoint with all parts of its run. Raises TrainError."""
    file = checkpoint / "train.yaml"
    if not file.is_file():
        raise TrainError(f"{checkpoint} is no checkpoint of s3d train: it has no train.yaml")
    made = TrainConfig.from_yaml(file)
    width = read_parts(checkpoint).get(Reconstruct.name, {"settings": {"width": 0}})["settings"]["width"]
    config = dataclasses.replace(
        made,
        reconstruct=dataclasses.replace(made.reconstruct, width=width),  # the rule's was of what it learnt from
        model=dataclasses.replace(made.model, name=str(checkpoint), local_only=True),
        run=dataclasses.replace(made.run, out=str(checkpoint)),  # where its autoencoder is
    )
    loaded = load(config.model, "float32", device, lambda what, share: None)
    lead = answer_lead(config, loaded)
    held = split or config.data.val_split or config.data.split
    samples = Samples(config.data, held, loaded.family, config.run.seed, lead=lead)
    parts = make_parts(config, loaded, samples, lambda what, done, total: None)
    begin_from(parts, checkpoint, strict=True)
    samples.use(parts)
    for part in parts:
        part.to(device).eval()
    return config, loaded, samples, parts


def recovered(
    loaded: Loaded, part: Reconstruct, parts: Sequence[RunPart], batch: Batch, steps: int, noise: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return latent tokens (p, n, channels) of the hidden views and of the view from above of one sample."""
    model, family = loaded.model, loaded.family
    features = family.encoded(batch.pixels)
    for each in parts:
        batch, features = each.before(batch, features)
    more = {family.needs_types: batch.types} if family.needs_types else {}
    with last_hidden(model, True) as held:
        model(
            input_ids=batch.ids,
            position_ids=batch.positions[0] if len(batch.positions) == 1 else batch.positions,
            attention_mask=batch.mask, use_cache=False, logits_to_keep=1, **family.given(features), **more,
        )  # fmt: skip
    outputs, known = visual_outputs(batch, held[0])
    made, out = batch.extra[0][part.name], {}
    for kind in (k for k in (VIEW, BEV) if k in made):
        row = torch.zeros(len(made[kind]), dtype=torch.long, device=outputs.device)
        condition = part.denoiser.condition(kind, outputs, known, row, made.get(f"{kind}_rays"))
        start = torch.randn(made[kind].shape, generator=noise).to(outputs.device)
        out[kind] = sampled(part.denoiser, start, condition, steps)
    return out


def _scene(
    config: TrainConfig, loaded: Loaded, samples: Samples, part: Reconstruct, parts: Sequence[RunPart], index: int,
    steps: int, seed: int,
) -> tuple[list[U8], dict[str, float]]:  # fmt: skip
    # number 0 of a step at which views are taken away
    batch = samples.batch([index], 0, step=0, number=seed).to(loaded.family.device)
    made = batch.extra[0][part.name]
    told = recovered(loaded, part, parts, batch, steps, torch.Generator().manual_seed(seed))
    scene = samples.records.scene(samples.records.scene_of(index))
    first: list[tuple[U8, U8, U8]] = []
    errors: dict[str, float] = {}
    names = [p.name for p in batch.pictures]
    if VIEW in told:
        side = config.reconstruct.view_px // CELL_PX
        for k, at in enumerate(made["masked"].tolist()):
            true = view_pixels(scene, names[at], config.reconstruct.view_px)
            kept, back = (part.latents.picture(t[VIEW][k].cpu(), side, side) for t in (made, told))
            first.append((true, kept, back))
        errors |= _errors("view", [(true, back) for true, _, back in first])
    whole = scene_bev(scene)
    second: list[tuple[U8, U8, U8]] = []
    if BEV in told and whole is not None:
        side = config.reconstruct.bev_px // CELL_PX
        true, _ = bev_pixels(scene, whole, config.reconstruct.bev_px)
        shown = made["bev_known"][0].reshape(side, side).repeat_interleave(CELL_PX, 0).repeat_interleave(CELL_PX, 1)
        seen = shown.cpu().numpy()[..., None]
        kept, back = (np.where(seen, part.latents.picture(t[BEV][0].cpu(), side, side), 0) for t in (made, told))
        second.append((true, kept.astype(np.uint8), back.astype(np.uint8)))
        errors |= _errors("bev", [(true[seen[..., 0]], second[0][2][seen[..., 0]])])
    blank = np.full((16, 16, 3), 255, np.uint8)
    none = (blank, blank, blank)
    rows = [
        _row([*(first[k] if k < len(first) else none), *(second[k] if k < len(second) else none)])
        for k in range(max(min(len(first), _SHOWN), len(second)))
    ]
    return rows, errors


def _errors(name: str, pairs: Sequence[tuple[U8, U8]]) -> dict[str, float]:
    """Return the mean error of what was recovered, and that of one even colour, the true mean."""
    flat = [(true.reshape(-1, 3).astype(float), back.reshape(-1, 3).astype(float)) for true, back in pairs]
    return {
        f"{name}_error": float(np.mean([np.abs(t - b).mean() for t, b in flat])),
        f"{name}_even_colour": float(np.mean([np.abs(t - t.mean(axis=0)).mean() for t, _ in flat])),
    }


def _row(pictures: Sequence[U8]) -> U8:
    side = (_SIDE_PX, _SIDE_PX)
    cells = [
        cv2.resize(p, side, interpolation=cv2.INTER_NEAREST if p.shape[0] < 100 else cv2.INTER_AREA) for p in pictures
    ]
    return _padded(cells)


def _titles() -> U8:
    out = []
    for title in TITLES:
        cell = np.full((_TEXT_PX, _SIDE_PX, 3), 255, np.uint8)
        cv2.putText(cell, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        out.append(cell)
    return _padded(out)


def _padded(cells: Sequence[U8]) -> U8:
    gap = ((0, _GAP_PX), (0, _GAP_PX), (0, 0))
    return np.hstack([np.pad(np.asarray(c), gap, constant_values=255) for c in cells])
