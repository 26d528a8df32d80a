"""The model that is tuned: loaded as the answerer loads it, frozen in part or given adapters, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from s3d_ros.train.batch import IGNORED, Batch
from s3d_ros.train.config import ModelPart, TrainError, TuneConfig
from s3d_ros.train.parts.base import RunPart, last_hidden
from s3d_ros.train.together import attention_mask
from s3d_ros.vlm.config import ModelConfig, ModelError
from s3d_ros.vlm.family import Family
from s3d_ros.vlm.loading import load_model, read_config
from s3d_ros.vlm.weights import find_model

_ENCODERS = ("visual", "vision_tower", "vision_model", "vision_encoder")  # families' names of it
_PROJECTORS = ("merger", "projector", "connector")  # some keep it inside their encoder; it moves with the language
_LANGUAGE = ("language_model", "text_model")


@dataclass(frozen=True)
class Loaded:
    """A model on its device. directory: where it came from."""

    model: Any
    processor: Any
    family: Family
    directory: Path


def check_model(part: ModelPart) -> Path:
    """Return the model's directory. Raises TrainError where it is none, or of another architecture than said."""
    try:
        directory = find_model(part.name, part.local_only)
        kind = read_config(directory).model_type
    except ModelError as error:
        raise TrainError(f"model.name: {error}") from error
    if part.architecture and kind != part.architecture:
        raise TrainError(
            f"model.architecture is {part.architecture}, but {directory} is a {kind}; name a {part.architecture}, or "
            f"set model.architecture to {kind}"
        )
    return directory


def load(part: ModelPart, dtype: str, device: str, on_progress: Callable[[str, float], None]) -> Loaded:
    """Load it with the engine's own code. Raises TrainError."""
    directory = check_model(part)
    wanted = ModelConfig(
        model=str(directory), device=device, dtype=dtype, attention=part.attention, local_only=True,
        tile_images=part.tile_images,
    )  # fmt: skip
    try:
        model, processor, _ = load_model(wanted, on_progress)
        return Loaded(model, processor, Family(model, processor, part.tile_images), directory)
    except ModelError as error:
        raise TrainError(str(error)) from error


def choose_weights(model: Any, tune: TuneConfig) -> int:
    """Freeze what does not move, put in adapters where asked for; return how many weights move. Raises TrainError."""
    core = getattr(model, "model", model)
    if tune.method == "lora":
        _add_adapters(model, core, tune)
    elif not tune.vision:
        encoder = next((getattr(core, name) for name in _ENCODERS if hasattr(core, name)), None)
        if encoder is None:
            raise TrainError(
                f"{type(model).__name__} has no image encoder that could be frozen: set tune.vision to true"
            )
        for name, weight in encoder.named_parameters():
            weight.requires_grad_(any(p in name for p in _PROJECTORS))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _add_adapters(model: Any, core: Any, tune: TuneConfig) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise TrainError("tune.method = lora needs peft: pip install 's3d_ros[train]'") from error
    language = next((getattr(core, name) for name in _LANGUAGE if hasattr(core, name)), core)
    inside = set(language.modules())
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m in inside]
    adapters = LoraConfig(
        r=tune.lora_rank, lora_alpha=tune.lora_alpha, lora_dropout=tune.lora_dropout, target_modules=linear
    )
    inject_adapter_in_model(adapters, model)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # small steps would be lost in bfloat16


def merged_state(model: Any, state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return weights as the bare model has them, adapters added in; the model itself stays as it is.

    state: of the model, by its own names, whole.
    """
    out = {}
    for name, weight in state.items():
        if ".lora_" in name:
            continue
        bare = name.replace(".base_layer.", ".")
        if bare != name and name.endswith(".weight"):
            layer = model.get_submodule(name.removesuffix(".base_layer.weight"))
            stem = name.removesuffix("base_layer.weight")
            a, b = (state[f"{stem}lora_{k}.default.weight"].float() for k in "AB")
            weight = weight.float() + layer.scaling["default"] * (b @ a)
        out[bare] = weight.detach().to("cpu", dtype) if weight.is_floating_point() else weight.detach().cpu()
    return out


class Trainee(torch.nn.Module):
    """One forward from a batch to its losses, so that whatever wraps models for several devices wraps all of it."""

    def __init__(self, model: Any, family: Family, parts: Sequence[RunPart] = ()) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.parts = torch.nn.ModuleDict({part.name: part for part in parts})

    def train(self, mode: bool = True) -> Trainee:
        """As PyTorch's; but what keeps running means of its inputs goes on as it is when it is asked.

        A step's few pictures are no sample of them, and a frozen encoder would move by them all the same.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _attention(self, batch: Batch) -> torch.Tensor | None:
        if batch.segments is None:
            return batch.mask
        mask = attention_mask(batch)
        assert mask is not None
        return self.family.allowed(mask)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the sum of the cross-entropies of the answers' tokens, and the parts' losses by name; all scalars."""
        parts: list[Any] = list(self.parts.values())
        with ExitStack() as around:
            for part in parts if batch.pixels else ():
                around.enter_context(part.encoding(batch))
            features = self.family.encoded(batch.pixels) if batch.pixels else ()
        for part in parts:
            batch, features = part.before(batch, features)
        targets = batch.labels[:, 1:]
        learnt = (targets != IGNORED).any(dim=0).nonzero()[:, 0]  # logits are made only where an answer stands
        more = {self.family.needs_types: batch.types} if self.family.needs_types else {}
        with last_hidden(self.model, any(p.wants_output for p in parts)) as held:
            output = self.model(
                input_ids=batch.ids,
                position_ids=batch.positions[0] if len(batch.positions) == 1 else batch.positions,
                attention_mask=self._attention(batch),
                use_cache=False,
                logits_to_keep=learnt,
                **self.family.given(features),
                **more,
            )
        logits = output.logits.float()  # (b, m, vocabulary)
        answers = F.cross_entropy(
            logits.flatten(0, 1), targets[:, learnt].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        told: dict[str, torch.Tensor] = {}
        for part in (p for p in parts if p.wants_output):
            told |= part.losses(batch, features[0], held[0])
        return answers, told
