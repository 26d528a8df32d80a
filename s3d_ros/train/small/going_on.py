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

import numpy as np
import torch

from s3d_ros.train.small.model import SmallModelError


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
