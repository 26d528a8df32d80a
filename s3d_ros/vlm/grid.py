"""Where on its picture each token lies, for families whose tokens are a grid of equal cells over the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from s3d_ros.vlm.config import ModelError


@dataclass(frozen=True)
class TokenGrid:
    """Token k < rows * columns stands for cell (k // columns, k % columns); further ones for none (a newline)."""

    rows: int
    columns: int
    tokens: int

    @property
    def cells(self) -> int:
        return self.rows * self.columns


def token_grid(inputs: Mapping[str, Any], tokens: int, model_config: Any, image_processor: Any) -> TokenGrid:
    """Return the grid of a picture's tokens. inputs: the encoder's, of one picture. Raises ModelError for others.

    Tokens that the family merges (2x2 in Qwen's) count as one cell of the merged area.
    """
    kind = model_config.model_type
    if "image_grid_thw" in inputs:
        merge = int(getattr(model_config.vision_config, "spatial_merge_size", 2))
        _, h, w = (int(n) for n in inputs["image_grid_thw"].reshape(-1, 3)[0])
        grid = TokenGrid(h // merge, w // merge, tokens)
        if grid.cells == tokens:
            return grid
    elif not _changes_frame(image_processor) and "pixel_attention_mask" not in inputs:
        shape = tuple(inputs["pixel_values"].shape)
        if prod(shape[:-3]) == 1:  # one picture, not tiles
            height, width = shape[-2:]
            fits = [
                (height % s + width % s, TokenGrid(height // s, width // s, tokens))
                for s in range(1, min(height, width) + 1)
                if (height // s) * (width // s) in (tokens, tokens - 1)
            ]
            if fits:
                return min(fits, key=lambda f: (f[1].cells != tokens, f[0]))[1]
    raise ModelError(
        f"where the tokens of a {kind} lie on its pictures is not known here ({tokens} tokens); parts that need it "
        "(position, ground) work with Qwen's, LLaVA-OneVision without tiles, InternVL without tiles, and FastVLM"
    )


def _changes_frame(image_processor: Any) -> bool:
    """Whether it shows a model more or less than the picture: cut, or padded to a square as LLaVA 1.5's.

    OneVision's ``do_pad`` means something else: tiles, of which there is none where a picture is one.
    """
    pads = type(image_processor).__name__.startswith("LlavaImageProcessor") and getattr(
        image_processor, "do_pad", False
    )
    return bool(pads or getattr(image_processor, "do_center_crop", False))
