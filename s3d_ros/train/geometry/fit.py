"""Training the small geometry encoder, top to bottom: ``s3d train-geometry SOURCE... --out DIR``.

Episodes run through the encoder a few frames a step; the state goes on from step to step and starts anew with each
episode. An episode is a function of its number and checkpoints lie between episodes, so a run that was stopped goes on
as if it had not been.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from s3d_ros.geometry_tokens.config import RecurrentConfig
from s3d_ros.geometry_tokens.encoder import GeometryError
from s3d_ros.geometry_tokens.recurrent import Encoded, RecurrentGeometry, State
from s3d_ros.geometry_tokens.small import save_weights
from s3d_ros.train.geometry.clips import Clip
from s3d_ros.train.geometry.episodes import Episode, episode, truth_of
from s3d_ros.train.geometry.losses import losses

_STATE, _LOG = "state.pt", "training.jsonl"
_MAY_CHANGE = ("every", "steps")  # a run may be made longer or shorter; its rate then falls accordingly


@dataclass(frozen=True)
class GeometryTraining:
    """How it is trained. batch: clips at a time. chunk: frames of each in a step. chunks: steps of an episode."""

    steps: int = 3000
    batch: int = 6
    chunk: int = 3
    chunks: int = 4
    lr: float = 1.2e-3
    warmup: int = 60
    weight_decay: float = 0.02
    seed: int = 0
    every: int = 100  # steps, about, between checkpoints
    shape: RecurrentConfig = field(default_factory=RecurrentConfig)


def train_geometry(
    settings: GeometryTraining, clips: Sequence[Clip], out: Path, minutes: float = 0.0,
    tell: Callable[[dict[str, Any]], None] = lambda row: None,
) -> RecurrentGeometry:  # fmt: skip
    """Train, or go on; return the encoder, which ``out/model`` holds. minutes: of the processor, then stop; 0: none.

    Raises GeometryError where ``out`` holds a run of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    model = RecurrentGeometry(settings.shape).train().to(memory_format=torch.channels_last)
    groups = [{"params": [p for p in model.parameters() if (p.ndim > 1) == decays],
               "weight_decay": settings.weight_decay * decays} for decays in (True, False)]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
    step, spent = _restored(out, settings, model, optimizer)
    size = (settings.shape.width, settings.shape.height)
    began = time.process_time()
    sums: dict[str, float] = {}
    counted = 0
    while step < settings.steps:
        made = episode(clips, settings.seed, step // settings.chunks, settings.batch,
                       settings.chunk * settings.chunks, size)  # fmt: skip
        state: State | None = None
        for k in range(settings.chunks):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, settings)
            loss, state, told = chunk_loss(model, made, k * settings.chunk, settings.chunk, state,
                                           min(1.0, max(0.0, 4 * step / settings.steps - 0.4)))  # fmt: skip
            if not math.isfinite(float(loss.detach())):
                raise GeometryError(f"the loss is {float(loss.detach())} at step {step + 1}: make the rate smaller")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step, counted = step + 1, counted + 1
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
        now = spent + time.process_time() - began
        over = bool(minutes) and now >= 60 * minutes
        if step // settings.every > (step - settings.chunks) // settings.every or step >= settings.steps or over:
            row = {
                "step": step,
                "cpu_minutes": round(now / 60, 2),
                **{k: round(v / counted, 4) for k, v in sums.items()},
            }
            _save(out, settings, model, optimizer, step, now, row)
            tell(row)
            sums, counted = {}, 0
        if over:
            break
    return model.eval()


def chunk_loss(
    model: RecurrentGeometry, made: Episode, start: int, count: int, state: State | None, solved: float
) -> tuple[torch.Tensor, State, dict[str, float]]:
    """Return the loss of some frames of an episode, the state after them, and the parts of the loss."""
    part = made.part(start, start + count)
    b = part.pixels.shape[1]
    given = part.intrinsics.flatten(0, 1) if made.given else None
    encoded = model.encode(part.pixels.flatten(0, 1), given)
    state = model.start(b) if state is None else state
    total = torch.zeros(())
    told: dict[str, float] = {}
    for i in range(count):
        rows = slice(i * b, (i + 1) * b)
        a, c, d = (m[rows] for m in encoded.maps)
        one = Encoded((a, c, d), encoded.tokens[rows], encoded.size)
        predicted, state = model.step(state, one, None if given is None else given[rows])
        frame = part.part(i, i + 1)
        truth = truth_of(frame, made.part(start + i - 1, start + i)) if start + i else None
        costs = losses(predicted, frame, truth, solved)
        if given is None:
            costs["view"] = (predicted.log_focal - (frame.intrinsics[0, :, 0] / model.config.focal).log()).abs().mean()
        for name, value in costs.items():
            total = total + value / count
            told[name] = told.get(name, 0.0) + float(value.detach()) / count
    return total, state.detached(), told


def rate(step: int, settings: GeometryTraining) -> float:
    """Return the learning rate of a step: up in a line, down in half a cosine."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.lr * (0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, share))) / 2)


def _told(settings: GeometryTraining) -> dict[str, Any]:
    kept = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in (*_MAY_CHANGE, "shape")}
    told: dict[str, Any] = json.loads(json.dumps({**kept, "shape": asdict(settings.shape)}))
    return told


def _save(
    out: Path, settings: GeometryTraining, model: RecurrentGeometry, optimizer: torch.optim.Optimizer, step: int,
    seconds: float, row: dict[str, Any],
) -> None:  # fmt: skip
    save_weights(model, out / "model")
    with (out / _LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    held = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds,
            "settings": json.dumps(_told(settings))}  # fmt: skip
    torch.save(held, out / f"{_STATE}.part")
    os.replace(out / f"{_STATE}.part", out / _STATE)


def _restored(
    out: Path, settings: GeometryTraining, model: RecurrentGeometry, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Put a run's state back; return its step and the seconds it took so far."""
    if not (out / _STATE).is_file():
        return 0, 0.0
    held = torch.load(out / _STATE, weights_only=True)
    told, now = json.loads(held["settings"]), _told(settings)
    other = [f"{k} is {told.get(k)}, not {now[k]}" for k in now if told.get(k) != now[k]]
    if other:
        raise GeometryError(f"{out} holds a run of other settings: {'; '.join(other)}; take another folder")
    model.load_state_dict(held["model"])
    optimizer.load_state_dict(held["optimizer"])
    return int(held["step"]), float(held["seconds"])
