"""``s3d train-geometry``: the small geometry encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train and measure the small geometry encoder (docs/geometry_tokens.md).")
Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SOURCE...", help="recordings, runs, training sets, or folders of these: depth and poses"),
]
ClipFolder = Annotated[Path, typer.Option("--clips", metavar="DIR", help="folder for what is kept of them, small")]
Held = Annotated[int, typer.Option(min=0, help="so many sources, the last by name, are never trained on")]


@app.command()
def fit(
    sources: Sources,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="folder of the run; one begun is gone on with")
    ],
    clips: ClipFolder = Path("clips"),
    hold_out: Held = 5,
    steps: Annotated[int, typer.Option(min=1, help="in all")] = 3000,
    minutes: Annotated[
        float, typer.Option(min=0, help="of the processor; then it stops, to be gone on with; 0: none")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="of weights and episodes")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="0: as PyTorch likes")] = 0,
) -> None:
    """Train it; DIR/model holds it."""
    import torch

    from s3d_ros.train.geometry.clips import Clip, make_clips, split
    from s3d_ros.train.geometry.fit import GeometryTraining, train_geometry

    if threads:
        torch.set_num_threads(threads)
    train, _ = split(make_clips(sources, clips), hold_out)
    held = [Clip.read(path) for path in train]
    typer.echo(f"{len(held)} clips, {sum(map(len, held))} frames")
    train_geometry(GeometryTraining(steps=steps, seed=seed), held, out, minutes, lambda row: typer.echo(str(row)))


@app.command()
def measure(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="small, or a folder")],
    sources: Sources,
    clips: ClipFolder = Path("clips"),
    hold_out: Held = 5,
    stride: Annotated[int, typer.Option(min=1, help="frames of a clip (5 a second) from one to the next")] = 1,
    blind: Annotated[bool, typer.Option("--blind", help="don't tell it the camera's intrinsics")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the figures")] = None,
) -> None:
    """Measure an encoder on the sources that are held out."""
    import json

    from s3d_ros.geometry_tokens.choose import load_encoder
    from s3d_ros.train.geometry.clips import Clip, make_clips, split
    from s3d_ros.train.geometry.measure import measure as run
    from s3d_ros.train.geometry.measure import usual_depth

    loaded = load_encoder(encoder)
    train, held = split(make_clips(sources, clips), hold_out)
    rows = run(loaded, [Clip.read(p) for p in held], usual_depth([Clip.read(p) for p in train or held]),
               stride=stride, given=not blind)  # fmt: skip
    for name, row in rows.items():
        typer.echo(f"{name}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
