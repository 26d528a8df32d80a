"""How a run of any stage goes on: step by step, with a look at held-out pictures and a checkpoint now and then.

Its state is written whole or not at all, with the settings that it is of.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from s3d_ros.train.small.model import SmallModelError


def prepare(threads: int) -> None:
    """Set up this process: so many threads of the model, one to draw with; no pause over numbers too small to matter.

    Sharp attention leaves shares below 1e-38, and a product with such takes ten times as long.
    """
    torch.set_flush_denormal(True)  # before there are threads, which inherit it
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)


def has_fast_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 itself; others take three times as long as for float32."""
    can = torch.cpu.get_capabilities()
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def weights_of(folder: Path, model: Any) -> dict[str, torch.Tensor]:
    """Return the float32 weights of a model that was saved or exported, by name.

    Raises SmallModelError where there are none, or not for this model.
    """
    file = folder / "model.safetensors"
    if not file.is_file():
        raise SmallModelError(f"{folder} holds no model: begin from a folder with a model.safetensors")
    held = type(model).from_pretrained(folder, local_files_only=True, dtype=torch.float32).state_dict()
    wanted = model.state_dict()
    for name in wanted.keys() | held.keys():
        a, b = wanted.get(name), held.get(name)
        if a is None or b is None or a.shape != b.shape:
            raise SmallModelError(f"{folder} is of another shape: {name} is there {_shape(b)}, here {_shape(a)}")
    return dict(held)


def _shape(held: torch.Tensor | None) -> str:
    return "not at all" if held is None else "x".join(map(str, held.shape)) or "a number"


def write_state(file: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a state beside the settings of its run: the file is the old one or the new one, never half of it."""
    part = file.with_name(f"{file.name}.part")
    torch.save({**state, "settings": json.dumps(settings)}, part)
    os.replace(part, file)


def check_settings(folder: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise SmallModelError where a state is of a run of other settings."""
    told, now = json.loads(state["settings"]), json.loads(json.dumps(settings))
    other = [f"{k} is {told.get(k)}, not {now[k]}" for k in now if told.get(k) != now[k]]
    if other:
        raise SmallModelError(f"{folder} holds a run of other settings: {'; '.join(other)}; take another folder")


class Settings(Protocol):
    """When a run looks at held-out pictures, and when it ends. minutes: 0: no limit."""

    @property
    def steps(self) -> int: ...
    @property
    def minutes(self) -> float: ...
    @property
    def every_steps(self) -> int: ...


class Run(Protocol):
    """A run, fresh or as it was when it was stopped. seconds: that it took so far, with what was before."""

    step: int
    seconds: float

    def advance(self, batch: Any) -> float:
        """Take one step; return the loss."""
        ...

    def save(self, row: dict[str, Any]) -> None:
        """Write the model, the state and a row of the log."""
        ...


def tell_nobody(row: dict[str, Any]) -> None:
    """Do nothing with a row."""


def go_on(
    run: Run,
    batches: Iterable[Any],
    settings: Settings,
    told: Callable[[], dict[str, Any]],
    on_progress: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Take a step for each batch, and return the last row of the log. told: what a row has beside steps and loss."""
    started, counted, row = time.perf_counter(), 0.0, {}
    losses: list[float] = []
    for batch in batches:
        losses.append(run.advance(batch))
        spent = time.perf_counter() - started
        over = bool(settings.minutes) and spent >= settings.minutes * 60
        if run.step % settings.every_steps == 0 or run.step == settings.steps or over:
            more = told()
            spent = time.perf_counter() - started
            run.seconds, counted = run.seconds + spent - counted, spent
            row = {"step": run.step, "minutes": round(run.seconds / 60, 2), "loss": float(np.mean(losses)), **more}
            losses.clear()
            run.save(row)
            on_progress(row)
        if over:
            break
    return row
