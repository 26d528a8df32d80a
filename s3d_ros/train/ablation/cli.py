"""``s3d train-ablate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from s3d_ros.cli_support import read_settings
from s3d_ros.keys import with_values


def train_ablate(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="a training set with a split val, marked, with depth")],
    model: Annotated[str, typer.Option("--model", "-m", metavar="DIR", help="what all runs begin from")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="where it goes; the same command goes on")],
    seeds: Annotated[int, typer.Option(min=1, max=100, help="runs of each arm")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="of each run")] = 100,
    arms: Annotated[str, typer.Option(help="some of the grid by name, with commas; empty: its eight")] = "",
    questions: Annotated[int, typer.Option(min=0, help="of the split val that are asked; 0: all")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="for all runs, such as optimizer.lr=1e-4"),
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="train nothing: the table of what is there")] = False,
) -> None:
    """Compare the papers' parts: train each arm with each seed, ask it about held-out scenes, make a table."""
    from transformers.utils.logging import disable_progress_bar

    from s3d_ros.train.ablation.grid import chosen
    from s3d_ros.train.ablation.guessing import guessed
    from s3d_ros.train.ablation.run import run_grid
    from s3d_ros.train.ablation.table import draw, markdown, plain, read_results
    from s3d_ros.train.config import TrainConfig, TrainError, with_floats
    from s3d_ros.train.reader import TrainingSet
    from s3d_ros.train.show_progress import bars
    from s3d_ros.vlm.config import ModelError

    disable_progress_bar()
    common = TrainConfig.from_dict(
        {
            "model": {"name": model, "local_only": True},
            "data": {"set": str(folder), "together": 16, "max_answer_tokens": 32},
            "optimizer": {"steps": steps, "lr": 3e-4, "warmup": 0.1},
            "reconstruct": {"view_px": 160, "bev_px": 224},
            "run": {"device": "cpu", "save_every": max(steps // 3, 1), "keep": 1},
        }
    )
    common = with_values(common, with_floats(read_settings(settings, "optimizer.lr=1e-4")))
    wanted = chosen([name.strip() for name in arms.split(",") if name.strip()])
    if not table:
        try:
            with bars() as progress:
                run_grid(common, wanted, seeds, out, progress, lambda text: typer.echo(text), questions)
        except ModelError as error:
            raise TrainError(str(error)) from error
    results = read_results(out, wanted, seeds)
    if not results:
        raise TrainError(f"{out} holds no finished run of {', '.join(arm.name for arm in wanted)}")
    guess = guessed(TrainingSet(folder, common.data.split), TrainingSet(folder, common.data.val_split))
    text = markdown(results, wanted, guess)
    (out / "table.md").write_text(text, encoding="utf-8")
    (out / "table.json").write_text(json.dumps(plain(results, guess), indent=1) + "\n", encoding="utf-8")
    draw(results, wanted, guess, out / "table.png")
    typer.echo(text)
    typer.echo(f"{out / 'table.md'}, table.json, table.png")
