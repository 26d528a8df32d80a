"""Tokens as a perfect encoder would give them: the decoder learns from them while the encoder still learns to read.

What a cell shows is a sum of vectors, one for each digit, label and place; where that sum is later what the real
encoder's projector is taught to give, both parts fit together.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from s3d_ros.train.small.model import codes
from s3d_ros.train.small.pictures import FLOOR, Picture
from s3d_ros.train.small.sprites import LABELS

_WAVES = (1.0, 2.0, 4.0)
_SHARP = 6.0
_MISREAD, _MISPLACED = 0.06, 0.006  # share of labels, and spread of places as a share of the picture


class Ideal(nn.Module):
    """The agreed vectors; always the same, and never trained."""

    digits: torch.Tensor
    labels: torch.Tensor
    ground: torch.Tensor
    plate: torch.Tensor
    spot: torch.Tensor
    where: torch.Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        rng = np.random.default_rng(21)
        waves = 2 * len(_WAVES) + 1
        shared = codes(hidden)
        self.register_buffer("digits", shared.digits.roll(hidden // 2, dims=-1))
        self.register_buffer("labels", shared.labels.roll(hidden // 2, dims=-1))

        def some(name: str, *shape: int, size: float = 1.0) -> None:
            drawn = rng.normal(0, size * hidden**-0.5, (*shape, hidden))
            self.register_buffer(name, torch.from_numpy(drawn).float())

        some("ground", FLOOR + 2, size=0.5)
        some("plate", 1)
        some("spot", 4 * waves, size=0.35)
        some("where", 2 * waves, size=0.35)

    def tokens(self, one: Picture, rng: np.random.Generator | None = None) -> torch.Tensor:
        """Return a picture's tokens (h * w, d). rng: for mistakes such as a real encoder makes."""
        h, w = one.number.shape
        rows, columns = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
        out = _waved(np.stack([columns, rows], axis=-1)) @ self.where
        shown = torch.from_numpy(np.maximum(one.ground, 0)).long()
        out = out + self.ground[shown] * torch.from_numpy(one.ground >= 0)[..., None]
        for k, (n, label) in enumerate(one.marks[:, :2]):
            place = np.concatenate([one.spots[k], one.sizes[k]])
            kind = int(label)
            if rng is not None:
                place = place + rng.normal(0, _MISPLACED, 4)
                kind = int(rng.integers(len(LABELS))) if rng.random() < _MISREAD else kind
            number = int(n)
            told = self.digits[0, number // 100] + self.digits[1, number // 10 % 10] + self.digits[2, number % 10]
            told = told + self.labels[kind] + self.plate[0] + _waved(place[None])[0] @ self.spot
            out[torch.from_numpy(one.number == number)] += told
        return out.flatten(0, 1)

    def classes(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Return how much of each digit's vector, place by place, and of each label's, tokens (..., d) hold."""
        return [tokens @ words.T * _SHARP for words in (*self.digits, self.labels)]


def _waved(values: np.ndarray) -> torch.Tensor:
    """Return values (..., n) of about 0..1 as (..., n * waves)."""
    parts = [values * 4 - 2, *(f(values * np.pi * k) for k in _WAVES for f in (np.sin, np.cos))]
    return torch.from_numpy(np.stack(parts, axis=-1).reshape(*values.shape[:-1], -1)).float()
