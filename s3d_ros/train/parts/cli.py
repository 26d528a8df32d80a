"""``s3d train-vae`` and ``s3d train-draw``: the autoencoder of the reconstruction losses, and what these recover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train_vae(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="a training set")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="where it goes: reconstruct.vae of a run")],
    split: Annotated[str, typer.Option(help="whose pictures")] = "train",
    steps: Annotated[int, typer.Option(min=1, help="16 crops of 64 px each")] = 400,
    view_px: Annotated[int, typer.Option(min=16, help="side of views, as in the run")] = 224,
    bev_px: Annotated[int, typer.Option(min=16, help="side of the view from above, as in the run")] = 432,
    seed: Annotated[int, typer.Option(help="of weights and crops")] = 0,
) -> None:
    """Train the small autoencoder whose latents the reconstruction losses recover; a run does it itself."""
    from s3d_ros.train.config import TrainError
    from s3d_ros.train.parts.autoencoder_train import pictures_of, train_autoencoder
    from s3d_ros.train.reader import TrainingSet
    from s3d_ros.train.show_progress import bars

    if out.exists():
        raise TrainError(f"{out} is there already: name another folder, or remove it")
    with bars() as progress:
        pictures = pictures_of(TrainingSet(folder, split), view_px, bev_px)
        error = train_autoencoder(pictures, out, steps, seed, progress)
    typer.echo(
        f"{out}: mean error {error:.1f} of 255 at the end, {len(pictures)} pictures; use it: reconstruct.vae={out}"
    )


def train_draw(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="of a run with reconstruction losses")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PNG", help="picture to write")] = Path("recovered.png"),
    split: Annotated[str, typer.Option(help="whose scenes; empty: those of evaluation, which were not learnt")] = "",
    scenes: Annotated[int, typer.Option(min=1, max=100, help="at most")] = 3,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="of DDIM")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="of the noise, and of which views are hidden")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda:0")] = "cpu",
) -> None:
    """Draw what the denoiser recovers of hidden views and of the view from above."""
    from s3d_ros.train.parts.show import draw_checkpoint

    told = draw_checkpoint(checkpoint, out, split=split, scenes=scenes, steps=steps, seed=seed, device=device)
    for k, row in enumerate(told):
        said = [f"{n} {row[f'{n}_error']:.1f} (one even colour: {row[f'{n}_even_colour']:.1f})"
                for n in ("view", "bev") if f"{n}_error" in row]  # fmt: skip
        typer.echo(f"scene {k + 1}: mean error of 255: {', '.join(said)}")
    typer.echo(f"drawn: {out}")
