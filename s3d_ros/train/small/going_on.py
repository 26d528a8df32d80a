"""What a stopped run of any stage needs to go on: its state, written whole or not at all, and the settings it is of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
