"""How wide the denoiser may be: its multiplications against the language model's, for a record of average length.

The rule: the paper's width of 1024 (16 heads), or the largest of ``WIDTHS`` whose forward costs at most
``reconstruct.flops_share`` (a tenth) of that of the language model. Only the denoiser's losses that are switched on
count, the cross-view loss by how often it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.train.config import ReconstructConfig, TrainError
from s3d_ros.train.parts.autoencoder import CELL_PX
from s3d_ros.train.parts.denoiser import BLOCKS, MLP
from s3d_ros.train.parts.targets import is_view

WIDTHS = (1024, 896, 768, 640, 512, 448, 384, 320, 256, 192, 160, 128, 96, 64, 48, 32)


@dataclass(frozen=True)
class Load:
    """What a step's average record brings. tokens: of it; visual: of its view frames. view_cells, bev_cells: latent
    tokens that the denoiser gets, on average over steps; view_side, bev_side: of one picture."""

    tokens: float
    visual: float
    view_cells: float
    bev_cells: float
    view_side: int
    bev_side: int


_LOOKED_AT = 64  # records


def load_of(samples: Any, config: ReconstructConfig) -> Load:
    """Return what the average record of a run brings. samples: ``Samples``, measured."""
    chosen = samples.indices[:: max(1, len(samples.indices) // _LOOKED_AT)]
    tokens, visual, masked = [], [], []
    for sample in (samples.sample(i) for i in chosen):
        of_views = [n for n, image in zip(sample.counts, sample.images, strict=True) if is_view(image.key)]
        tokens.append(len(sample.ids))
        visual.append(sum(of_views))
        masked.append(max(min(max(1, round(config.mask_share * len(of_views))), len(of_views) - 1), 0))
    view_side, bev_side = config.view_px // CELL_PX, config.bev_px // CELL_PX
    return Load(
        tokens=float(np.mean(tokens)),
        visual=float(np.mean(visual)),
        view_cells=config.draws * float(np.mean(masked)) / config.every * view_side**2 if config.cross_view else 0.0,
        bev_cells=config.draws * float(bev_side**2) if config.global_view else 0.0,
        view_side=view_side,
        bev_side=bev_side,
    )


def language_flops(model: Any, load: Load) -> float:
    """Return the multiplications and additions of the language model's forward over a record."""
    core = getattr(model, "model", model)
    language = getattr(core, "language_model", None) or getattr(core, "text_model", core)
    words = model.get_input_embeddings().weight
    weights = sum(w.numel() for w in language.parameters() if w.ndim >= 2 and w is not words)
    text = model.config.get_text_config()
    attention = 2 * text.num_hidden_layers * text.hidden_size * load.tokens**2  # each looks at half of all
    return float(2 * weights * load.tokens + attention)


def denoiser_flops(width: int, hidden: int, load: Load) -> float:
    """Return those of the denoiser's forward over a record, its attention pooling included."""
    cells = load.view_cells + load.bev_cells
    dense = (
        BLOCKS * (4 + 6 + 2 * MLP) + 2 + 2
    )  # of width squared for a cell: blocks, last modulation, pool's in and out
    within = 4 * width * BLOCKS * (load.view_cells * load.view_side**2 + load.bev_cells * load.bev_side**2)
    pooling = 2 * 2 * hidden * width * load.visual + 4 * width * load.visual * cells
    return 2 * dense * width**2 * cells + within + pooling


def choose_width(model: Any, hidden: int, load: Load, share: float) -> int:
    """Return the width that the rule gives. Raises TrainError where even the smallest costs too much."""
    most = share * language_flops(model, load)
    for width in WIDTHS:
        if denoiser_flops(width, hidden, load) <= most:
            return width
    costs = denoiser_flops(WIDTHS[-1], hidden, load)
    raise TrainError(
        f"reconstruct: for a language model of {most / share / 1e6:.0f} MFLOP a record even a denoiser of width "
        f"{WIDTHS[-1]} takes {costs / 1e6:.0f} MFLOP, above reconstruct.flops_share = {share:g}; make "
        "reconstruct.bev_px and view_px smaller, or the share larger"
    )
