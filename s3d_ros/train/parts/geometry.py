"""VLM-3R's part of a run: a frozen geometry encoder whose tokens are fused into the vision tokens of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3d_ros.chat import ChatImage
from s3d_ros.geometry_tokens.choose import encoder_folder, load_encoder
from s3d_ros.geometry_tokens.config import CONFIG, WEIGHTS
from s3d_ros.geometry_tokens.encoder import GeometryError
from s3d_ros.geometry_tokens.small import SmallGeometry
from s3d_ros.train.batch import Batch
from s3d_ros.train.config import GeometryConfig, TrainError
from s3d_ros.train.parts.base import Example, RunPart, Tensors
from s3d_ros.train.reader import SceneData
from s3d_ros.train.shards import write_atomically
from s3d_ros.types import U8
from s3d_ros.vlm.config import ModelError
from s3d_ros.vlm.family import Family
from s3d_ros.vlm.geometry import ENCODER_FOLDER, GeometryPart, is_frame
from s3d_ros.vlm.projector import before_projector, projector_width, token_counts


class Geometry(RunPart):
    """Its encoder sees the pictures of an example in their order, as the engine does."""

    name = "geometry"
    answers = True

    def __init__(self, part: GeometryPart, core: Any, marked: bool) -> None:
        super().__init__()
        self.part = part
        self._core = [core]  # in a list: its weights are the model's
        self._marked = marked

    @classmethod
    def made(cls, config: GeometryConfig, family: Family, marked: bool) -> Geometry:
        """Return it with a fresh fusion. marked: whether pictures are learnt with marks. Raises TrainError."""
        if family.tile:
            raise TrainError("geometry.encoder can't be used with pictures in tiles; set model.tile_images to false")
        try:
            encoder = load_encoder(config.encoder)
            blank = ChatImage("blank", np.zeros((112, 112, 3), np.uint8))
            width = projector_width(family.core, lambda: family.encode(blank))
            settings = {
                "encoder": config.encoder
                if config.encoder == "small"
                else str(encoder_folder(config.encoder).resolve()),
                "vision_width": width,
                "dim": encoder.dim,
                "heads": config.heads,
            }
            if config.heads and width % config.heads:
                raise TrainError(
                    f"geometry.heads = {config.heads} does not divide the vision tokens' width, {width}; 0 chooses"
                )
            part = GeometryPart(0, settings)
            part.opened(Path())
        except (GeometryError, ModelError) as error:
            raise TrainError(f"geometry.encoder: {error}") from error
        return cls(part, family.core, marked)

    def settings(self) -> dict[str, Any]:
        return dict(self.part.settings)

    def example(self, example: Example) -> Tensors:
        """Return the geometry tokens of each frame by its place among the example's pictures."""
        frames = [k for k, name in enumerate(example.names) if is_frame(name)]
        read = [partial(self._pixels, example.scene, example.names[k]) for k in frames]
        keys = self.part.tokens.chained(list(zip((example.names[k] for k in frames), read, strict=True)))
        return {str(k): self.part.tokens.of(key).tokens for k, key in zip(frames, keys, strict=True)}

    @contextmanager
    def encoding(self, batch: Batch) -> Iterator[None]:
        """While it lasts, the pictures of a batch are encoded with their geometry; groups come in their order."""
        told: list[torch.Tensor | None] = []
        for picture, first in zip(batch.pictures, _firsts(batch), strict=True):
            told.append(batch.extra[picture.row][self.name].get(str(first)))
        groups = iter(batch.pixels)
        at = 0

        def change(vision: torch.Tensor) -> torch.Tensor:
            nonlocal at
            counts = token_counts(next(groups), len(vision))
            mine = told[at : at + len(counts)]
            at += len(counts)
            return self.part.fused(vision, counts, mine)

        with before_projector(self._core[0], [change]):
            yield

    def write(self, path: Path) -> None:
        """Put the encoder itself into a checkpoint, where it is a small one: it then needs nothing else."""
        source = encoder_folder(self.part.settings["encoder"])
        if isinstance(self.part.tokens.encoder, SmallGeometry):
            (path / ENCODER_FOLDER).mkdir(parents=True, exist_ok=True)
            for name in (CONFIG, WEIGHTS):
                write_atomically(path / ENCODER_FOLDER / name, (source / name).read_bytes())

    @property
    def feature_part(self) -> GeometryPart:
        return self.part

    def _pixels(self, scene: SceneData, name: str) -> U8:
        return scene.image(name if self._marked else name.replace(".marked.", ".plain."))


def _firsts(batch: Batch) -> Sequence[int]:
    """Return the place of each picture among those of its own sample."""
    counted: dict[int, int] = {}
    out = []
    for picture in batch.pictures:
        out.append(counted.get(picture.row, 0))
        counted[picture.row] = out[-1] + 1
    return out
