"""What a training run depends on: one YAML file, read into frozen dataclasses.

    model: {name: Qwen/Qwen2.5-VL-7B-Instruct}
    data: {set: sets/homes}
    run: {out: runs/tuned}

Unknown keys are refused by name. Which keys there are: docs/training.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3d_ros.keys import choice, from_dict, number, plain, read_keys, with_values


class TrainError(ValueError):
    """Why a run can't begin, or go on; the message names what is wrong and the mend."""


@dataclass(frozen=True)
class ModelPart:
    """What is tuned. It is loaded by the same code as the answerer's model."""

    name: str = plain("", "a directory, a checkpoint of this trainer, or a name on the Hugging Face hub")
    architecture: str = plain("", "its model_type, such as qwen2_5_vl; another one is refused. Empty: any")
    attention: str = choice("auto", ("auto", "flash_attention_2", "sdpa", "eager"), "as in the answerer")
    tile_images: bool = plain(False, "as in the answerer: must be the same there")
    local_only: bool = plain(False, "never ask the hub")


@dataclass(frozen=True)
class TuneConfig:
    """Which weights move."""

    method: str = choice("full", ("full", "lora"), "lora: adapters at the language model's linear layers (peft)")
    vision: bool = plain(False, "full: the image encoder moves, too")
    lora_rank: int = number(64, 1, 1024, "r")
    lora_alpha: int = number(128, 1, 4096, "adapters count alpha / r")
    lora_dropout: float = number(0.0, 0, 0.9, "of what goes into adapters")


@dataclass(frozen=True)
class DataConfig:
    """Records of a training set (`s3d dataset build`) and how they are put into batches."""

    set: str = plain("", "folder of a training set")
    split: str = plain("train", "what is learnt")
    val_split: str = plain("val", "what is evaluated; empty: nothing")
    records: int = number(0, 0, 1_000_000_000, "learn only the first so many; 0: all")
    max_tokens: int = number(32768, 16, 10_000_000, "prompt and answer together at most")
    max_answer_tokens: int = number(512, 1, 100_000, "of an answer, its end included")
    too_long: str = choice("refuse", ("refuse", "leave_out"), "what becomes of longer records")
    marked: bool = plain(True, "pictures with marks; false: their plain twins")
    bev: bool = plain(True, "the bird's-eye view is shown; false: left away, with what lists its marks")
    together: int = number(1, 1, 4096, "questions about the same pictures that are learnt at once, none seeing another")
    shuffle_frames: bool = plain(True, "view frames in another order each time, where no question is about their order")
    cache_gb: float = number(1.0, 0, 1000, "for pictures as the encoder takes them; a scene's questions share them")
    text_share: float = number(1.0, 0, 1, "of the scenes keep their texts; of the others only pictures are learnt from")
    buckets: int = number(32, 1, 10_000, "so many batches are sorted by length together; 1: no sorting")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, a cosine after a linear warm-up."""

    epochs: float = number(1.0, 0, 10_000, "over the data, unless steps says")
    steps: int = number(0, 0, 100_000_000, "optimiser's steps; 0: as epochs says")
    batch_size: int = number(1, 1, 4096, "records on one device at a time")
    accumulate: int = number(1, 1, 4096, "batches of each device before a step")
    lr: float = number(1e-5, 0, 1, "highest learning rate")
    min_lr: float = number(0.0, 0, 1, "the cosine ends there")
    warmup: float = number(0.03, 0, 1, "share of the steps")
    weight_decay: float = number(0.0, 0, 1, "of matrices; norms and biases have none")
    beta1: float = number(0.9, 0, 0.9999, "of AdamW")
    beta2: float = number(0.999, 0, 0.99999, "of AdamW")
    clip: float = number(1.0, 0, 1e6, "of the gradient's norm; 0: none")


@dataclass(frozen=True)
class PositionConfig:
    """ROSS3D: where in the map each visual token lies, added to its features. Needs depth, also when it is asked."""

    codes: bool = plain(False, "add them")


@dataclass(frozen=True)
class GeometryConfig:
    """VLM-3R: tokens of a frozen geometry encoder are fused into the vision tokens of view frames."""

    encoder: str = plain("", "small, or a folder (docs/geometry_tokens.md); empty: none")
    heads: int = number(0, 0, 64, "of the fusion's attention; 0: one for about 64 of the vision tokens' width")


@dataclass(frozen=True)
class ReconstructConfig:
    """ROSS3D: what the language model makes of the view frames must tell how hidden views and the whole look."""

    cross_view: bool = plain(False, "recover view frames that are taken away")
    global_view: bool = plain(False, "recover the view from above")
    every: int = number(4, 1, 10_000, "steps; views are taken away in each so many-th")
    mask_share: float = number(0.25, 0.01, 0.9, "of the view frames is taken away")
    condition: str = choice("frames", ("frames", "pose"), "pose: the denoiser knows where a hidden view was taken from")
    draws: int = number(
        1, 1, 64, "of noise for each picture and step; more teach a small denoiser sooner, and cost more"
    )
    skip: bool = plain(
        True, "the denoiser adds to what is told of latents that nothing is known of; false: as published"
    )
    cross_weight: float = number(1.0, 0, 1000, "of the loss")
    global_weight: float = number(1.0, 0, 1000, "of the loss")
    view_px: int = number(224, 16, 2048, "side of the views that are recovered; a multiple of 16")
    bev_px: int = number(432, 16, 4096, "side of the view from above; a multiple of 16")
    width: int = number(0, 0, 4096, "of the denoiser, a multiple of 32; 0: 1024, less where flops_share says so")
    flops_share: float = number(0.1, 0.001, 10, "the denoiser's cost at most, of the language model's")
    vae: str = plain("", "folder of an autoencoder (FLUX's vae/, or of s3d train-vae); empty: a small one is trained")
    vae_steps: int = number(400, 0, 1_000_000, "of that training, 16 crops of 64 px each")
    cache_gb: float = number(2.0, 0, 1000, "for latents")

    @property
    def on(self) -> bool:
        return self.cross_view or self.global_view


@dataclass(frozen=True)
class GroundConfig:
    """ROSS3D's grounding head: a <ground> token is compared with what is seen of each object. Needs depth to train."""

    head: bool = plain(False, "train it; the answer's own <OBJ...> goes on being learnt, too")
    weight: float = number(1.0, 0, 1000, "of its loss")
    width: int = number(256, 8, 8192, "in which token and objects are compared")


@dataclass(frozen=True)
class RunConfig:
    """Where it goes and how it runs."""

    out: str = plain("", "folder; a run begun there is gone on with")
    seed: int = number(0, 0, 2**31 - 1, "of order, frames, adapters and dropout")
    device: str = plain("auto", "auto: what accelerate finds; or cpu")
    precision: str = choice("auto", ("auto", "bf16", "fp32"), "auto: bf16 where the GPU has it, else fp32")
    gradient_checkpointing: bool = plain(False, "less memory, about a third more time")
    save_every: int = number(500, 1, 10_000_000, "steps; also at the end")
    keep: int = number(2, 1, 1000, "checkpoints kept; the oldest goes first")
    eval_every: int = number(500, 0, 10_000_000, "steps; also at the end; 0: never")
    eval_records: int = number(32, 1, 100_000, "of val_split that are answered and scored")


@dataclass(frozen=True)
class TrainConfig:
    """All of it."""

    model: ModelPart = field(default_factory=ModelPart)
    tune: TuneConfig = field(default_factory=TuneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    position: PositionConfig = field(default_factory=PositionConfig)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    ground: GroundConfig = field(default_factory=GroundConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Make it of nested keys. Raises ConfigError naming the key."""
        return from_dict(cls, with_floats(values))

    @classmethod
    def from_yaml(cls, path: str | Path, settings: Mapping[str, Any] | None = None) -> TrainConfig:
        """Read a YAML file and lay dotted keys over it. Raises ConfigError naming the file or the key."""
        return with_values(cls.from_dict(read_keys(path)), with_floats(settings or {}))

    def differences(self, other: TrainConfig) -> list[str]:
        """Return the dotted keys that would make another run of it; where it runs and what it shows does not count."""
        free = {"run.save_every", "run.keep", "run.eval_every", "run.eval_records", "run.out", "model.local_only",
                "reconstruct.cache_gb"}  # fmt: skip
        a, b = dataclasses.asdict(self), dataclasses.asdict(other)
        keys = [f"{part}.{key}" for part in a for key in a[part] if a[part][key] != b[part][key]]
        return [key for key in keys if key not in free]


def with_floats(value: Any) -> Any:
    """Return nested keys with 1e-5 as the number it is: to YAML 1.1 it is a text, where it has no full stop."""
    if isinstance(value, Mapping):
        return {key: with_floats(held) for key, held in value.items()}
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]*[0-9]e[-+]?[0-9]+", value) else value
