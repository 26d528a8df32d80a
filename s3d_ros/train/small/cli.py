"""``s3d train-small``: the small model, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Train the small model from nothing (docs/small_model.md).")


@app.command()
def read(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="folder of the run; one begun is gone on with")
    ],
    steps: Annotated[int, typer.Option(min=1, help="in all")] = 20_000,
    minutes: Annotated[float, typer.Option(min=0, help="stop after so many; 0: after all steps")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="pictures a step")] = 16,
    every: Annotated[int, typer.Option(min=1, help="steps between evaluations, each with a checkpoint")] = 500,
    threads: Annotated[
        int, typer.Option(min=0, help="of the model; 0: as many as there are cores, less the workers")
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="processes that draw pictures")] = 1,
    seed: Annotated[int, typer.Option(help="of weights and pictures")] = 0,
) -> None:
    """Stage 1: learn to read numbers and things in marked pictures, cell by cell."""
    import os

    import torch

    from s3d_ros.train.small.reading import ReadingSettings, guessing, held_out, train_reading

    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) - workers))
    settings = ReadingSettings(seed=seed, batch=batch, steps=steps, minutes=minutes, every_steps=every, workers=workers)
    for name, some in held_out(settings).items():
        print(f"guessing, {name}: {_shares(guessing(some))}")
    train_reading(settings, out, _tell)


@app.command()
def show(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PNG", help="picture to write")],
    count: Annotated[int, typer.Option(min=1, max=400, help="pictures on it")] = 48,
    held_out: Annotated[bool, typer.Option("--held-out", help="looks and styles that are not trained on")] = False,
    seed: Annotated[int, typer.Option(help="of the pictures")] = 0,
) -> None:
    """Draw pictures as stage 1 gets them."""
    import cv2
    import numpy as np

    from s3d_ros.train.small.pictures import PictureSettings, picture

    settings = PictureSettings()
    across = min(count, 8)
    some = [picture(settings, seed, i, held_out, held_out).pixels for i in range(-(-count // across) * across)]
    sheet = np.vstack([np.hstack(some[k : k + across]) for k in range(0, len(some), across)])
    if not cv2.imwrite(str(out), sheet[..., ::-1]):
        raise OSError(f"{out} can't be written: give a .png or .jpg in a folder that is there")


def _tell(row: dict[str, Any]) -> None:
    print(f"step {row['step']}, {row['pictures']} pictures, {row['minutes']} min, loss {row['loss']:.3f}")
    for name, scores in row["scores"].items():
        print(f"  {name}: {_shares(scores)}; place {scores['where_px']:.1f} px, {scores['markers']:.0f} markers")


def _shares(scores: dict[str, float]) -> str:
    return ", ".join(f"{k} {100 * v:.1f} %" for k, v in scores.items() if k not in ("where_px", "markers"))
