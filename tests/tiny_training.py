"""What tests of training have in common: a tiny Qwen2.5-VL of few tokens a picture, and the config of a short run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from tiny_vlm import make_tiny

from s3d_ros.train.config import TrainConfig

QWEN = "qwen2_5_vl"


def make_qwen(root: Path, tokens: int = 6) -> None:
    """Write it to ``root`` under its family's name. tokens: of a picture, at most."""
    transformers.utils.logging.disable_progress_bar()
    make_tiny(QWEN, root / QWEN)
    settings = root / QWEN / "preprocessor_config.json"
    kept = json.loads(settings.read_text())
    kept["size"] = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * tokens}
    settings.write_text(json.dumps(kept))


def run_config(root: Path, out: Path, *more: dict[str, dict[str, Any]]) -> TrainConfig:
    """Return the config of a run on the set in ``root``, with more keys by part, the last ones first."""
    made: dict[str, dict[str, Any]] = {
        "model": {"name": str(root / QWEN), "local_only": True},
        "tune": {"vision": True},
        "data": {"set": str(root / "set"), "max_answer_tokens": 40},
        "optimizer": {"steps": 2, "batch_size": 2, "lr": 1e-3, "warmup": 0.0},
        "run": {"out": str(out), "device": "cpu", "save_every": 2, "eval_every": 0},
    }
    for parts in more:
        for part, keys in parts.items():
            made[part] = made.get(part, {}) | keys
    return TrainConfig.from_dict(made)
