"""A part of a training run: whatever a step has beside the model and the answers' loss.

A part may add data to a picture or an example (in the data's thread), change what goes into the language model, give
losses of what comes out of it, and own weights, which are saved beside the model and gone on with exactly. With no
parts a run is bit for bit what it would be without this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3d_ros.chat import ChatImage
from s3d_ros.train.batch import Batch
from s3d_ros.train.config import TrainError
from s3d_ros.train.reader import SceneData
from s3d_ros.vlm.grid import TokenGrid
from s3d_ros.vlm.parts import FeaturePart

_LANGUAGE = ("language_model", "text_model")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Example:
    """One record of a micro-batch, as parts get it in the data's thread.

    names: of its pictures, members of the scene, in the prompt's order. objects: map IDs that are meant, where it asks
    which are; None where it asks for something else, or nothing. step: the optimiser's, from 0; -1: it is evaluated.
    rng: of the run's seed and the example's number, so that a run can go on anywhere.
    """

    scene: SceneData
    names: tuple[str, ...]
    objects: tuple[int, ...] | None
    step: int
    rng: np.random.Generator


class RunPart(torch.nn.Module):
    """One switch of a run; this one does nothing.

    name: in the config, in checkpoints, and of its data in a batch. needs: what view frames must have beside them
    (``vlm.beside``). answers: the model can't be asked without it. wants_output: it has ``losses``, of which the names
    in training are ``told``.
    """

    name = ""
    needs: frozenset[str] = frozenset()
    answers = False
    wants_output = False
    needs_grid = False
    told: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return what it is made of, for checkpoints."""
        return {}

    def picture(self, scene: SceneData, image: ChatImage, grid: TokenGrid | None) -> Tensors:
        """Return what is made of a picture once; it comes as ``batch.pictures[i].made[name]``.

        grid: where its tokens lie on it, only for who ``needs_grid``. image.key: its member of the scene.
        """
        return {}

    def example(self, example: Example) -> Tensors:
        """Return what is made for each example anew; it comes as ``batch.extra[row][name]``."""
        return {}

    def encoding(self, batch: Batch) -> AbstractContextManager[None]:
        """Surround the encoding of a batch's pictures, to change what the encoder gives."""
        return nullcontext()

    def before(self, batch: Batch, features: tuple[torch.Tensor, ...]) -> tuple[Batch, tuple[torch.Tensor, ...]]:
        """Change what goes into the language model. features[0]: (n, d) of all pictures' tokens, in order."""
        return batch, features

    def losses(self, batch: Batch, features: torch.Tensor, output: torch.Tensor) -> Tensors:
        """Return losses by name, scalars with their weight, each a mean over this micro-batch.

        features: (n, d) as they went in; output: (b, n, d) last hidden states. In evaluation (``batch.step`` is -1)
        these are figures to be noted, and there may be others.
        """
        return {}

    def write(self, path: Path) -> None:
        """Write into a checkpoint what belongs to it beside its weights and settings."""

    @property
    def feature_part(self) -> FeaturePart | None:
        """What the engine applies, too."""
        return None


class Changing(RunPart):
    """A part that changes features, the same in training and answering."""

    answers = True
    needs_grid = True

    def __init__(self, part: FeaturePart) -> None:
        super().__init__()
        self.part = part
        self.name, self.needs = part.name, part.needs

    def settings(self) -> dict[str, Any]:
        return dict(self.part.settings)

    def picture(self, scene: SceneData, image: ChatImage, grid: TokenGrid | None) -> Tensors:
        assert grid is not None
        return self.part.inputs(image, grid)

    def before(self, batch: Batch, features: tuple[torch.Tensor, ...]) -> tuple[Batch, tuple[torch.Tensor, ...]]:
        if not features:
            return batch, features
        counts = [p.tokens for p in batch.pictures]
        made = [p.made[self.name] for p in batch.pictures]
        return batch, (self.part(features[0], counts, made), *features[1:])

    @property
    def feature_part(self) -> FeaturePart:
        return self.part


@contextmanager
def last_hidden(model: Any, wanted: bool) -> Iterator[list[torch.Tensor]]:
    """Give a list that holds, after a forward, the language model's last hidden states (b, n, d); [] if not wanted."""
    held: list[torch.Tensor] = []
    if not wanted:
        yield held
        return
    core = getattr(model, "model", model)
    language = next((getattr(core, name) for name in _LANGUAGE if hasattr(core, name)), None)
    if language is None:
        raise TrainError(f"{type(model).__name__} has no language model of its own, whose outputs could be used")
    hook = language.register_forward_hook(lambda module, given, output: held.append(output.last_hidden_state))
    try:
        yield held
    finally:
        hook.remove()


def feature_parts(parts: Sequence[RunPart]) -> list[FeaturePart]:
    """Return those that the engine applies, too."""
    return [p.feature_part for p in parts if p.feature_part is not None]
