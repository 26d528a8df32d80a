"""Parts of a model beside it: what changes its pictures' features before the language model reads them.

The same objects work in training and in answering, so that a model is asked as it was taught. A checkpoint says in its
``parts.json`` which it has; one that can't be applied here is refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from s3d_ros.chat import Chat, ChatImage
from s3d_ros.vlm.beside import PARTS_JSON, PARTS_WEIGHTS, read_parts
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.grid import TokenGrid

KINDS = {  # name: class, made of (width, settings)
    "position": "s3d_ros.vlm.position:PositionCode",
    "geometry": "s3d_ros.vlm.geometry:GeometryPart",
}


class FeaturePart(torch.nn.Module):
    """Changes features of pictures. width: of a feature, d.

    name: in configs and checkpoints. needs: what view frames must have beside them (``vlm.beside``).
    """

    name = ""
    needs: frozenset[str] = frozenset()
    early = False  # works before the projector, by ``tokens_of`` and ``fused``, not after it

    def __init__(self, width: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.width = width
        self.settings = dict(settings)

    def opened(self, directory: Path) -> None:
        """Read what it has in a checkpoint beside its weights. Raises ModelError."""

    def prepared(self, chat: Chat) -> Chat:
        """Return a chat as the model is to read it; pictures that it would see differently get other keys."""
        return chat

    def tokens_of(self, image: ChatImage) -> torch.Tensor | None:
        """Return what an early part fuses into a picture of a prepared chat, None for nothing."""
        return None

    def fused(
        self, vision: torch.Tensor, counts: Sequence[int], geometry: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Return changed tokens (n, d) of an encoder, before its projector. counts: the tokens of each picture."""
        raise NotImplementedError

    def inputs(self, image: ChatImage, grid: TokenGrid) -> dict[str, torch.Tensor]:
        """Return what ``forward`` needs of a picture, on the CPU; made once for a picture, in another thread."""
        raise NotImplementedError

    def forward(
        self, features: torch.Tensor, counts: Sequence[int], inputs: Sequence[Mapping[str, torch.Tensor]]
    ) -> torch.Tensor:
        """Return changed features (n, d) of some pictures one behind the other. counts: the tokens of each."""
        raise NotImplementedError


def make_part(name: str, width: int, settings: Mapping[str, Any]) -> FeaturePart:
    """Return a part with fresh weights."""
    module, _, cls = KINDS[name].partition(":")
    part: FeaturePart = getattr(importlib.import_module(module), cls)(width, settings)
    return part


def load_parts(directory: Path, model: Any, device: str) -> list[FeaturePart]:
    """Return the parts that a model can't be asked without, with their weights. Raises ModelError."""
    told = {name: p for name, p in read_parts(directory).items() if p["answers"]}
    unknown = sorted(set(told) - set(KINDS))
    if unknown:
        raise ModelError(
            f"{directory} was trained with {', '.join(unknown)} ({PARTS_JSON}), which this version does not have: it "
            "would answer as if blindfolded. Take a newer version of s3d_ros"
        )
    parts = [make_part(name, feature_width(model), p["settings"]) for name, p in told.items()]
    weights = part_weights(directory) if any(True for part in parts for _ in part.parameters()) else {}
    for part in parts:
        load_weights(part, weights, directory)
        part.opened(directory)
        part.to(device=device, dtype=model.dtype).eval()
    return parts


def part_weights(directory: Path) -> dict[str, torch.Tensor]:
    """Return the weights of all parts of a checkpoint, as "name.weight"; {} where it has none. Raises ModelError."""
    path = directory / PARTS_WEIGHTS
    if not path.is_file():
        return {}
    try:
        return load_file(path)
    except Exception as error:  # whatever a damaged file makes of it
        raise ModelError(f"{path} is damaged ({error}); copy the checkpoint anew") from error


def load_weights(part: torch.nn.Module, weights: Mapping[str, torch.Tensor], directory: Path) -> None:
    """Put a part's own into it. part: has a ``name``. Raises ModelError where they don't fit."""
    name = str(part.name)
    own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
    try:
        part.load_state_dict(own)
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {name} in {directory / PARTS_WEIGHTS} do not fit: {' '.join(str(error).split())[:300]}"
        ) from error


def feature_width(model: Any) -> int:
    """Return the width of a picture's features, which is that of the language model's words."""
    return int(model.get_input_embeddings().weight.shape[1])
