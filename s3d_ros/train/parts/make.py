"""The parts that a config switches on, and how they lie in a checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.parts.autoencoder import load_latents
from s3d_ros.train.parts.autoencoder_train import pictures_of, train_autoencoder
from s3d_ros.train.parts.base import Changing, RunPart
from s3d_ros.train.parts.cost import choose_width, load_of
from s3d_ros.train.parts.ground import GroundHead, add_token
from s3d_ros.train.parts.reconstruct import OWN_VAE, Reconstruct
from s3d_ros.train.parts.refusing import check_scenes, check_switches
from s3d_ros.vlm.beside import PARTS_JSON, PARTS_WEIGHTS, read_parts
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.parts import feature_width, load_weights, make_part, part_weights

Progress = Callable[[str, int, int], None]


def switched_on(config: TrainConfig) -> list[str]:
    """Return the names of a run's parts, in the order in which they work."""
    on = []
    if config.geometry.encoder:
        on.append("geometry")
    if config.position.codes:
        on.append("position")
    if config.reconstruct.on:
        on.append("reconstruct")
    if config.ground.head:
        on.append("ground")
    return on


def answer_lead(config: TrainConfig, loaded: Any) -> int:
    """Return the token that answers which name objects begin with, put into the model's words; -1: none."""
    return add_token(loaded.model, loaded.processor.tokenizer) if config.ground.head else -1


def learns_pictures(config: TrainConfig) -> bool:
    """Say whether scenes without text are of use."""
    return config.reconstruct.on


def make_parts(config: TrainConfig, loaded: Any, samples: Any, progress: Progress) -> list[RunPart]:
    """Return a run's parts with fresh weights. loaded: ``model.Loaded``; samples: its ``Samples``, measured.

    Raises TrainError.
    """
    width = feature_width(loaded.model)
    parts: list[RunPart] = []
    for name in switched_on(config):
        if name == "geometry":
            from s3d_ros.train.parts.geometry import Geometry

            parts.append(Geometry.made(config.geometry, loaded.family, config.data.marked))
        if name == "position":
            parts.append(Changing(make_part("position", width, {})))
        elif name == "reconstruct":
            parts.append(_reconstruct(config, loaded, samples, width, progress))
        elif name == "ground":
            parts.append(GroundHead(config.ground, width, samples.lead, loaded.processor.tokenizer))
    return parts


def _reconstruct(config: TrainConfig, loaded: Any, samples: Any, hidden: int, progress: Progress) -> RunPart:
    asked = config.reconstruct
    check_scenes(samples.records, asked)
    width = asked.width or choose_width(loaded.model, hidden, load_of(samples, asked), asked.flops_share)
    vae = Path(asked.vae) if asked.vae else Path(config.run.out) / OWN_VAE
    if not asked.vae and not vae.is_dir() and (loaded.directory / OWN_VAE).is_dir():  # goes on from a checkpoint
        shutil.copytree(loaded.directory / OWN_VAE, vae)
    if not asked.vae and not vae.is_dir():
        pictures = pictures_of(samples.records, asked.view_px, asked.bev_px)
        train_autoencoder(pictures, vae, asked.vae_steps, config.run.seed, progress)
    latents = load_latents(vae, str(loaded.family.device))
    return Reconstruct(asked, latents, hidden, width, latents.channels)


def check_parts(config: TrainConfig, directory: Path) -> None:
    """Refuse switches that can't work, and to go on without what a checkpoint needs. Raises TrainError."""
    check_switches(config)
    try:
        known = read_parts(directory)
    except ModelError as error:
        raise TrainError(f"model.name: {error}") from error
    lost = [name for name, part in known.items() if part["answers"] and name not in switched_on(config)]
    if lost:
        raise TrainError(
            f"model.name: {directory} was trained with {', '.join(lost)}, which this config switches off; switch it on "
            "(docs/training.md), or begin from a model without it"
        )


def begin_from(parts: Sequence[RunPart], directory: Path, strict: bool = False) -> None:
    """Take over the weights of parts that the model to begin from has likewise; parts of other sizes stay fresh.

    strict: all must be there. Raises TrainError.
    """
    try:
        weights = part_weights(directory) if read_parts(directory) else {}
        for part in parts:
            own = (part.feature_part or part).state_dict()
            held = {k: tuple(v.shape) for k, v in weights.items() if k.startswith(f"{part.name}.")}
            if strict or held == {f"{part.name}.{k}": tuple(v.shape) for k, v in own.items()}:
                load_weights(part.feature_part or part, weights, directory)
    except ModelError as error:
        raise TrainError(str(error)) from error


def write_parts(path: Path, parts: Sequence[RunPart], state: Mapping[str, torch.Tensor]) -> None:
    """Write a run's parts into a checkpoint. state: of the ``Trainee``, whole."""
    if not parts:
        return
    told = {p.name: {"answers": p.answers, "needs": sorted(p.needs), "settings": p.settings()} for p in parts}
    (path / PARTS_JSON).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for part in parts:
        part.write(path)
    weights: dict[str, torch.Tensor] = {}
    for part in parts:
        prefix = f"parts.{part.name}." + ("part." if part.feature_part is not None else "")
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        weights |= {f"{part.name}.{k}": v.detach().to("cpu").contiguous() for k, v in own.items()}
    if weights:
        save_file(weights, path / PARTS_WEIGHTS)
