"""What ROSS3D's reconstruction losses cost a training step, beside plain fine-tuning, in one run.

The model is a Qwen2.5-VL with random weights on a small simulated home; the denoiser is as wide as the trainer's own
rule makes it. Both variants take the same steps in turns; their memory is that of a process for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s3d_ros.config import Config
from s3d_ros.offline.random_vlm import SEVEN_B, SMALL, VlmShape, random_vlm
from s3d_ros.train.batch import Batch
from s3d_ros.train.build import build
from s3d_ros.train.config import TrainConfig
from s3d_ros.train.data import Samples
from s3d_ros.train.model import Loaded, Trainee, choose_weights
from s3d_ros.train.parts.cost import language_flops, load_of
from s3d_ros.train.parts.make import make_parts
from s3d_ros.train.parts.reconstruct import Reconstruct
from s3d_ros.train.settings import PROMPT, BuildSettings
from s3d_ros.vlm.family import Family

_VIEWS, _FRAME_WH, _BEV_PX = 12, (320, 240), 320
_WARM, _CYCLES = 2, 3  # steps; of four steps each, in the first of which views are taken away
_LIMIT_TIME, _LIMIT_MEMORY, _LIMIT_SHARE = 1.15, 1.05, 0.85
VARIANTS = ("plain", "reconstruct")
# 36 layers of 2048; on a GPU, with the encoder of the 7B one
THREE_B = VlmShape(
    "Qwen2.5-VL of 3B, random weights",
    {
        "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
        "num_key_value_heads": 2, "vocab_size": 151936, "mrope_section": [16, 24, 24],
    },
    SEVEN_B.vision,
)  # fmt: skip


def bench_train(console: Console, out: Path) -> dict[str, Any]:
    """Measure; ``holds`` tells whether every limit does. out: keeps the training set."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        torch.set_num_threads(1)  # several wait for one another: on a machine with other work no ratio would be true
    with console.status("building a training set"):
        _training_set(out / "train-set")
    with console.status("training"):
        runs = {name: _Run(name, out) for name in VARIANTS}
        for step in range(_WARM + 4 * _CYCLES):
            for run in runs.values():  # in turns
                run.step(step)
        figures: dict[str, Any] = {f"{name}_{k}": v for name, run in runs.items() for k, v in run.figures().items()}
        part = runs["reconstruct"].part
        figures |= {"denoiser_width": part.width if part else 0, "prompt_tokens": runs["plain"].tokens,
                    "model": runs["plain"].name, "threads": torch.get_num_threads()}  # fmt: skip
        del runs, part
    with console.status("measuring memory"):
        figures |= {f"{name}_memory_mb": _memory_of(name, out) for name in VARIANTS}
    figures["time_ratio"] = figures["reconstruct_step_s"] / figures["plain_step_s"]
    figures["memory_ratio"] = figures["reconstruct_memory_mb"] / figures["plain_memory_mb"]
    rows = [
        ("time of a step, s", "step_s", "time_ratio", _LIMIT_TIME),
        ("memory of training, MB", "memory_mb", "memory_ratio", _LIMIT_MEMORY),
    ]
    table = Table("", *VARIANTS, "ratio", "limit", title=f"{figures['model']}, {figures['prompt_tokens']:.0f} tokens")
    for what, key, ratio, limit in rows:
        table.add_row(what, *(f"{figures[f'{v}_{key}']:.3g}" for v in VARIANTS), f"{figures[ratio]:.3f}", f"{limit:g}")
    shares = [figures[f"{v}_forward_backward"] for v in VARIANTS]
    table.add_row("share of forward and backward", *(f"{s:.3f}" for s in shares), "", f"{_LIMIT_SHARE:g}")
    console.print(table)
    console.print(f"the denoiser is {figures['denoiser_width']} wide")
    holds = all(figures[ratio] <= limit for _, _, ratio, limit in rows) and min(shares) >= _LIMIT_SHARE
    return {**figures, "holds": holds}


class _Run:
    """One variant: a model, its optimiser, and batches that are made beforehand."""

    def __init__(self, variant: str, out: Path) -> None:
        on_gpu = torch.cuda.is_available()
        device = "cuda:0" if on_gpu else "cpu"
        shape = THREE_B if on_gpu else SMALL
        self.name = shape.name
        model, processor, _ = random_vlm(shape, device)
        model = model.float()  # as the trainer has it: weights of 32 bit
        model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
        family = Family(model, processor, False)
        on = variant == "reconstruct"
        config = TrainConfig.from_dict(
            {
                "data": {"set": str(out / "train-set"), "max_answer_tokens": 512, "too_long": "leave_out"},
                "reconstruct": {"cross_view": on, "global_view": on, "vae_steps": 20},
                "run": {"out": str(out / "train-run")},
            }
        )
        samples = Samples(config.data, "train", family, 0)
        samples.measure(0)
        loaded = Loaded(model, processor, family, out)
        parts = make_parts(config, loaded, samples, lambda what, done, total: None)
        samples.use(parts)
        self.part = next((p for p in parts if isinstance(p, Reconstruct)), None)
        load = load_of(samples, replace(config.reconstruct, cross_view=True, global_view=True))
        self.tokens, self.flops = load.tokens, 3 * language_flops(model, load)
        choose_weights(model, config.tune)
        self.trainee = Trainee(model, family, parts).to(device).train()
        moving = [p for p in self.trainee.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(moving, 1e-5)
        self.device = torch.device(device)
        order = [i for k in range(8) for batch in samples.batches(k, 1) for i in batch]
        self.batches: list[Batch] = [samples.batch([order[s]], 0, s, s) for s in range(_WARM + 4 * _CYCLES)]
        self.whole_s: list[float] = []
        self.model_s: list[float] = []

    def step(self, number: int) -> None:
        began = self._clock()
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            answers, told = self.trainee(self.batches[number].to(self.device))
        loss = answers / max(self.batches[number].answer_tokens, 1) + sum(told.values())
        loss.backward()
        middle = self._clock()
        torch.nn.utils.clip_grad_norm_(self.trainee.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if number >= _WARM:
            self.model_s.append(middle - began)
            self.whole_s.append(self._clock() - began)

    def figures(self) -> dict[str, float]:
        whole = float(np.mean(self.whole_s))
        return {"step_s": whole, "forward_backward": sum(self.model_s) / sum(self.whole_s),
                "gflops_per_s": self.flops / whole / 1e9}  # fmt: skip

    def _clock(self) -> float:
        """Return seconds: this thread's on a CPU, so that other work on the machine does not count."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.thread_time()


def _training_set(folder: Path) -> None:
    config = Config().with_values({"views.count": _VIEWS})
    width, height = _FRAME_WH
    prompt = replace(PROMPT, frames=_VIEWS, frame_width=width, frame_height=height, bev_px=_BEV_PX)
    settings = BuildSettings(fps=1.0, size=_FRAME_WH, per_kind=1, shares={}, config=config, prompt=prompt)
    build(["studio"], folder, settings, workers=0)


def _memory_of(variant: str, out: Path) -> float:
    """Return the memory that training takes, model and optimiser included, in MB, measured in a process of its own."""
    command = [sys.executable, "-m", "s3d_ros.offline.bench_train", variant, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the memory of {variant} could not be measured: {done.stderr[-1000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["memory_mb"])


def _measure_memory(variant: str, out: Path) -> float:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    random_vlm(replace(SMALL, text={**SMALL.text, "num_hidden_layers": 1}), "cpu")  # what libraries take is not counted
    before = _resident_mb("VmRSS")
    run = _Run(variant, out)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    for step in range(_WARM + 5):
        run.step(step)
    if run.device.type == "cuda":
        return float(torch.cuda.max_memory_allocated() / 1e6)
    return _resident_mb("VmHWM") - before


def _resident_mb(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{what}:"))


if __name__ == "__main__":
    print(json.dumps({"memory_mb": _measure_memory(sys.argv[1], Path(sys.argv[2]))}))
