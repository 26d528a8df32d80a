"""The place before a family's projector: where pictures' tokens can be changed while they are still the encoder's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch

from s3d_ros.vlm.config import ModelError

Change = Callable[[torch.Tensor], torch.Tensor]  # tokens (n, d) of one picture after the other, to as many
_INSIDE = ("visual", "vision_tower", "vision_model", "vision_encoder")
_NAMES = ("multi_modal_projector", "connector", "merger")


def projector_of(core: Any) -> torch.nn.Module:
    """Return what takes the encoder's tokens to the language model's. Raises ModelError for families without one."""
    for holder in (core, *(getattr(core, name) for name in _INSIDE if hasattr(core, name))):
        for name in _NAMES:
            found = getattr(holder, name, None)
            if isinstance(found, torch.nn.Module):
                return found
    raise ModelError(
        f"{type(core).__name__} has no projector that is known here: geometry tokens can't be fused into it"
    )


@contextmanager
def before_projector(core: Any, changes: Sequence[Change]) -> Iterator[None]:
    """While it lasts, let tokens be changed on their way into the projector."""
    if not changes:
        yield
        return

    def hook(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        tokens = given[0]
        flat = tokens.reshape(-1, tokens.shape[-1])
        for change in changes:
            flat = change(flat)
        return (flat.reshape(tokens.shape), *given[1:])

    held = projector_of(core).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        held.remove()


def projector_width(core: Any, encode: Callable[[], Any]) -> int:
    """Return the width of what goes into the projector. encode: encodes some picture."""
    seen: list[int] = []

    def look(tokens: torch.Tensor) -> torch.Tensor:
        seen.append(tokens.shape[-1])
        return tokens

    with torch.no_grad(), before_projector(core, [look]):
        encode()
    return seen[0]


def token_counts(group: Mapping[str, torch.Tensor], tokens: int) -> list[int]:
    """Return how many tokens each picture of a group of encoder inputs has before the projector. tokens: of all."""
    if "image_grid_thw" in group:
        return [prod(int(n) for n in row) for row in group["image_grid_thw"].reshape(-1, 3)]
    pictures = len(group["pixel_values"])
    return [tokens // pictures] * pictures
