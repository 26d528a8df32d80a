"""Trains and asks each arm of a grid with each seed; what was finished is kept, what was begun is gone on with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from s3d_ros.keys import with_values
from s3d_ros.train import checkpoint
from s3d_ros.train.ablation.grid import SIGHTS, UNTRAINED, WITH, WITHOUT, Arm
from s3d_ros.train.config import TrainConfig, TrainError
from s3d_ros.train.data import Samples
from s3d_ros.train.evaluation import ask_records
from s3d_ros.train.loop import Progress, train
from s3d_ros.train.metrics import read_metrics
from s3d_ros.train.parts.autoencoder_train import pictures_of, train_autoencoder
from s3d_ros.train.parts.base import Changing
from s3d_ros.train.reader import TrainingSet
from s3d_ros.train.shards import write_atomically
from s3d_ros.vlm.config import ModelConfig
from s3d_ros.vlm.engine import Engine

RUNS, SCORES, VAE = "runs", "scores.json", "vae"
_AT_ONCE = 16  # questions that are answered together
_FREE = ("out", "save_every", "keep", "eval_every", "eval_records")


def run_grid(
    common: TrainConfig, arms: Sequence[Arm], seeds: int, out: Path, progress: Progress, say: Callable[[str], None],
    limit: int = 0,
) -> None:  # fmt: skip
    """Run what is not finished, seed by seed, so that what is there early can be compared. Raises TrainError.

    common: names set and model; of its validation split ``limit`` records are asked, or all.
    """
    common = _with_autoencoder(common, arms, out, progress)
    told: dict[str, Any] = {"arm": UNTRAINED, "limit": limit}
    _score(out / RUNS / UNTRAINED, common, Path(common.model.name), (WITH, WITHOUT), told, progress, say)
    for seed in range(seeds):
        for arm in arms:
            folder = out / RUNS / f"{arm.name}-{seed}"
            config = arm.config(common, seed, str(folder))
            if _finished(folder, config, limit):
                continue
            began = time.monotonic()
            last = train(config, progress)
            rows = [row for row in read_metrics(folder / "metrics.jsonl") if "step_s" in row]
            told = {"arm": arm.name, "seed": seed, "limit": limit, "steps": len(rows), "losses": _losses(rows),
                    "step_s": sum(r["step_s"] for r in rows), "wall_s": round(time.monotonic() - began, 1)}  # fmt: skip
            _score(folder, config, last, arm.asked, told, progress, say)
            shutil.rmtree(last / "state")  # it is finished: nobody goes on from it
            for _, older in checkpoint.checkpoints(folder)[:-1]:
                shutil.rmtree(older)


def ask(config: TrainConfig, model: Path, sight: str, limit: int, progress: Progress) -> list[dict[str, Any]]:
    """Ask a checkpoint records of the validation split, shown what ``sight`` says; return a row for each.

    limit: so many, spread over the split; 0: all.
    """
    engine = Engine(ModelConfig(model=str(model), device="cpu", dtype="float32", local_only=True))
    marked, bev = (SIGHTS[sight][key] for key in ("marked", "bev"))
    data = dataclasses.replace(config.data, marked=marked, bev=bev, together=1, text_share=1.0)
    samples = Samples(data, config.data.val_split, engine.family, 0)
    samples.use([Changing(part) for part in engine.family.parts])
    rows: list[dict[str, Any]] = []
    count = min(len(samples.records), limit or len(samples.records))
    indices = sorted((k * len(samples.records) // count for k in range(count)), key=lambda i: samples.records[i].images)
    for index, row in zip(indices, ask_records(engine, samples, indices, _AT_ONCE), strict=True):
        rows.append({**row, "kind": samples.records[index].kind})
        progress(f"asking {sight}", len(rows), count)
    samples.records.close()
    return rows


def _score(
    folder: Path, config: TrainConfig, model: Path, sights: Sequence[str], told: dict[str, Any], progress: Progress,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    if _finished(folder, config, told["limit"]):
        return
    began = time.monotonic()
    asked = {sight: ask(config, model, sight, told["limit"], progress) for sight in sights}
    folder.mkdir(parents=True, exist_ok=True)
    made = {**told, "asking_s": round(time.monotonic() - began, 1), "of": fingerprint(config), "asked": asked}
    write_atomically(folder / SCORES, json.dumps(made).encode())
    means = ", ".join(
        f"{sight} {100 * sum(r['points'] for r in rows) / len(rows):.1f}" for sight, rows in asked.items()
    )
    say(f"{folder.name}: {means}")


def _finished(folder: Path, config: TrainConfig, limit: int) -> bool:
    """Say whether a run's scores are there. Raises TrainError where they are of another config."""
    file = folder / SCORES
    if not file.is_file():
        return False
    told = json.loads(file.read_text(encoding="utf-8"))
    if (told["of"], told["limit"]) != (fingerprint(config), limit):
        raise TrainError(
            f"{folder} was made with another config, model or number of questions; take another --out, or remove it"
        )
    return True


def fingerprint(config: TrainConfig) -> str:
    """Return a hash of what a run's scores depend on, the weights that it begins from included."""
    plain = dataclasses.asdict(config)
    for key in _FREE:
        plain["run"].pop(key)
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for file in sorted(Path(config.model.name).glob("*.safetensors")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _with_autoencoder(common: TrainConfig, arms: Sequence[Arm], out: Path, progress: Progress) -> TrainConfig:
    """Train one autoencoder for all runs that need one, unless one is given."""
    asked = common.reconstruct
    if asked.vae or not any(key.startswith("reconstruct.") for arm in arms for key in arm.sets):
        return common
    vae = out / VAE
    if not vae.is_dir():
        half = out / f"{VAE}.half"
        shutil.rmtree(half, ignore_errors=True)
        pictures = pictures_of(TrainingSet(common.data.set, common.data.split), asked.view_px, asked.bev_px)
        train_autoencoder(pictures, half, asked.vae_steps, 0, progress)
        half.rename(vae)
    return with_values(common, {"reconstruct.vae": str(vae)})


def _losses(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the means of the first and of the last quarter of the steps, of each loss that there was."""
    out: dict[str, list[float]] = {}
    for name in ("loss", "cross_view", "global_view"):
        held = [row[name] for row in rows if name in row]
        part = max(1, len(held) // 4)
        if held:
            out[name] = [sum(held[:part]) / part, sum(held[-part:]) / part]
    return out
