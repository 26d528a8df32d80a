"""Checkpoints: a model that the answerer loads, and beside it what is needed to go on exactly.

    OUT/step-0000500/config.json, model.safetensors, tokenizer and processor: s3d ask RUN --model OUT/step-0000500
    OUT/step-0000500/prompt.json       how the set's prompts were made: the answerer asks likewise
    OUT/step-0000500/parts.json        parts of the run with weights or at work in answering; parts.safetensors
    OUT/step-0000500/train.yaml        the config of the run
    OUT/step-0000500/state/            weights, optimiser and random numbers as accelerate keeps them
    OUT/step-0000500/train_state.json

The last is written last, before the folder gets its name: without it there is no checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.model import Trainee, merged_state
from s3d_ros.train.parts.make import write_parts
from s3d_ros.vlm.beside import PARTS_JSON
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.loading import read_config
from s3d_ros.vlm.weights import check_weights

_STATE = "train_state.json"
_KEPT_FILES = ("*.json", "*.txt", "*.jinja", "*.model")  # of the model that it began from, but its weights' own
_NOT_KEPT = ("config.json", "generation_config.json", "model.safetensors.index.json", _STATE, PARTS_JSON)
_SIZES = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")


def checkpoints(out: Path) -> list[tuple[int, Path]]:
    """Return the whole checkpoints of a run, by step."""
    found = (re.fullmatch(r"step-(\d+)", p.name) for p in out.glob("step-*"))
    return sorted((int(m[1]), out / m[0]) for m in found if m and (out / m[0] / _STATE).is_file())


def check_resume(path: Path, config: TrainConfig, model_config: Any) -> dict[str, Any]:
    """Return what a checkpoint says of itself. Raises TrainError where this run can't go on from it."""
    mend = "take another run.out, or remove the checkpoint"
    try:
        check_weights(path)
        kept = read_config(path)
        said: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
        other = TrainConfig.from_yaml(path / "train.yaml")
    except (ModelError, ValueError, OSError) as error:
        raise TrainError(f"the checkpoint {path} can't be gone on from: {error}; {mend}") from error
    a, b = _sizes(kept), _sizes(model_config)
    if a != b:
        what = ", ".join(f"{k} {a[k]}, not {b[k]}" for k in a if a[k] != b[k])
        raise TrainError(f"the checkpoint {path} is of another architecture than model.name: {what}; {mend}")
    different = config.differences(other)
    if different:
        raise TrainError(f"{path} was made with other values of {', '.join(different)}; {mend}")
    if not (path / "state").is_dir():
        raise TrainError(f"the checkpoint {path} has no state/: it can be asked, not gone on from; {mend}")
    return said


def save(path: Path, accelerator: Any, trainee: Any, source: Path, config: TrainConfig, said: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all. Called in all processes. said: what ``check_resume`` gives back."""
    half = path.with_name(f".{path.name}.half")
    if accelerator.is_main_process:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(half / "state"))
    state = accelerator.get_state_dict(trainee)
    if accelerator.is_main_process:
        bare: Trainee = accelerator.unwrap_model(trainee)
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        whole = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
        export(half, bare.model, whole, source, dtype)
        write_parts(half, list(bare.parts.values()), state)
        (half / "train.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), encoding="utf-8")
        prompt = _prompt_of(Path(config.data.set))
        if prompt:
            prompt["bev"] = prompt.get("bev", True) and config.data.bev
            (half / "prompt.json").write_text(json.dumps(prompt, indent=1) + "\n", encoding="utf-8")
        (half / _STATE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        shutil.rmtree(path, ignore_errors=True)
        half.replace(path)
        for _, old in checkpoints(path.parent)[: -config.run.keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def export(path: Path, model: Any, state: dict[str, torch.Tensor], source: Path, dtype: torch.dtype) -> None:
    """Write a model as the engine loads it: adapters merged, with the files of the model that it began from."""
    path.mkdir(parents=True, exist_ok=True)
    for file in (f for pattern in _KEPT_FILES for f in source.glob(pattern)):
        if file.name not in _NOT_KEPT:
            shutil.copyfile(file, path / file.name)
    model.save_pretrained(path, state_dict=merged_state(model, state, dtype))


def _prompt_of(folder: Path) -> dict[str, Any]:
    """Return the settings of the prompter that a set was made with, {} where its card is lost."""
    try:
        return dict(json.loads((folder / "card.json").read_text(encoding="utf-8"))["settings"]["prompt"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sizes(config: Any) -> dict[str, Any]:
    text = config.get_text_config()
    return {k: getattr(config if k == "model_type" else text, k, None) for k in _SIZES}
