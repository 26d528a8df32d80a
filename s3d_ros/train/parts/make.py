"""The parts that a config switches on, and how they lie in a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.parts.base import Changing, RunPart
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
    return on


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
    return parts


def check_parts(config: TrainConfig, directory: Path) -> None:
    """Refuse to go on without what a checkpoint can't be asked without. Raises TrainError."""
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


def begin_from(parts: Sequence[RunPart], directory: Path) -> None:
    """Take over the weights of parts that the model to begin from has likewise. Raises TrainError."""
    try:
        known = read_parts(directory)
        weights = part_weights(directory) if known else {}
        for part in parts:
            if part.name in known and known[part.name]["settings"] == part.settings():
                load_weights(part.feature_part or part, weights, directory)
    except ModelError as error:
        raise TrainError(str(error)) from error


def write_parts(path: Path, parts: Sequence[RunPart], state: Mapping[str, torch.Tensor]) -> None:
    """Write a run's parts into a checkpoint. state: of the ``Trainee``, whole."""
    if not parts:
        return
    told = {p.name: {"answers": p.answers, "needs": sorted(p.needs), "settings": p.settings()} for p in parts}
    (path / PARTS_JSON).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    weights: dict[str, torch.Tensor] = {}
    for part in parts:
        prefix = f"parts.{part.name}." + ("part." if part.feature_part is not None else "")
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        weights |= {f"{part.name}.{k}": v.detach().to("cpu").contiguous() for k, v in own.items()}
        part.write(path)
    if weights:
        save_file(weights, path / PARTS_WEIGHTS)
