"""A tiny recurrent geometry encoder with random weights, for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from s3d_ros.geometry_tokens.config import RecurrentConfig
from s3d_ros.geometry_tokens.recurrent import RecurrentGeometry
from s3d_ros.geometry_tokens.small import save_weights

SHAPE = RecurrentConfig(
    width=64,
    height=48,
    stem=(8, 8, 16),
    dim=32,
    heads=2,
    encoder_blocks=1,
    decoder_blocks=1,
    state_tokens=4,
    match_dim=8,
)


def make_tiny_encoder(directory: Path, seed: int = 0) -> Path:
    """Write one to a folder."""
    torch.manual_seed(seed)
    model = RecurrentGeometry(SHAPE)
    with torch.no_grad():
        model.tell.weight.mul_(5)
    save_weights(model, directory)
    return directory
