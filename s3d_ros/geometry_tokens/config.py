"""Sizes of the small recurrent encoder, as they stand in its ``config.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3d_ros.geometry_tokens.encoder import GeometryError

KIND = "s3d_recurrent_geometry"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
CELL_PX = 16  # a patch token stands for so many pixels along and down


@dataclass(frozen=True)
class RecurrentConfig:
    """Pictures are scaled to about ``width`` x ``height`` pixels. stem: channels at strides 2, 4 and 8."""

    width: int = 128
    height: int = 96
    stem: tuple[int, int, int] = (24, 48, 96)
    dim: int = 144
    heads: int = 4
    encoder_blocks: int = 3
    decoder_blocks: int = 3
    state_tokens: int = 32
    match_dim: int = 48
    focal: float = 0.82  # of the canonical camera, in picture widths: depth is learnt as that camera would see it

    def __post_init__(self) -> None:
        if self.dim % self.heads or min(self.width, self.height) < 2 * CELL_PX:
            raise GeometryError(
                f"dim = {self.dim} must be a multiple of heads = {self.heads}, and pictures at least "
                f"{2 * CELL_PX} px wide and high, not {self.width}x{self.height}"
            )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return (w, h) that a picture is scaled to: its own shape, in whole cells, about as many pixels as ours.

        >>> RecurrentConfig().size(640, 480), RecurrentConfig().size(1920, 1080)
        ((128, 96), (144, 80))
        """
        scale = (self.width * self.height / (width * height)) ** 0.5
        w, h = (max(2, round(side * scale / CELL_PX)) * CELL_PX for side in (width, height))
        return w, h

    def write(self, directory: Path) -> None:
        """Write ``config.json``."""
        told = {"kind": KIND, **dataclasses.asdict(self)}
        (directory / CONFIG).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], where: str) -> RecurrentConfig:
        """Make it of what a ``config.json`` says. Raises GeometryError naming the key."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(told) - known - {"kind"})
        if unknown:
            raise GeometryError(f"{where} has keys that are not known here: {', '.join(unknown)}; update s3d_ros")
        try:
            values: dict[str, Any] = {k: tuple(v) if k == "stem" else v for k, v in told.items() if k in known}
            return cls(**values)
        except TypeError as error:
            raise GeometryError(f"{where} can't be used: {error}") from error
