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
    steps: Annotated[int, typer.Option(min=1, help="in all")] = 4000,
    minutes: Annotated[float, typer.Option(min=0, help="stop after so many; 0: after all steps")] = 0.0,
    rate: Annotated[float, typer.Option(min=1e-6, max=1.0, help="highest learning rate")] = 2e-3,
    batch: Annotated[int, typer.Option(min=1, help="pictures a step")] = 8,
    every: Annotated[int, typer.Option(min=1, help="steps between evaluations, each with a checkpoint")] = 250,
    threads: Annotated[
        int, typer.Option(min=0, help="of the model; 0: as many as there are cores, less the workers")
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="processes that draw pictures")] = 1,
    begin: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="begin with the weights of a model that was exported")
    ] = "",
    seed: Annotated[int, typer.Option(help="of weights and pictures")] = 0,
) -> None:
    """Stage 1: learn to read numbers and things in marked pictures, cell by cell."""
    import os

    from s3d_ros.train.small.going_on import prepare
    from s3d_ros.train.small.reading import ReadingSettings, guessing, held_out, train_reading

    prepare(threads or max(1, (os.cpu_count() or 1) - workers))
    settings = ReadingSettings(
        seed=seed, batch=batch, steps=steps, minutes=minutes, every_steps=every, workers=workers, begin=begin,
        learning_rate=rate,
    )  # fmt: skip
    for name, some in held_out(settings).items():
        print(f"guessing, {name}: {_shares(guessing(some))}")
    train_reading(settings, out, _tell)


@app.command()
def answer(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="folder of the run; one begun is gone on with")
    ],
    reading: Annotated[str, typer.Option(metavar="DIR", help="folder of stage 1's run")] = "",
    blind: Annotated[bool, typer.Option("--blind", help="the twin that sees no picture")] = False,
    steps: Annotated[int, typer.Option(min=1, help="in all")] = 2500,
    pointing: Annotated[int, typer.Option(min=0, help="of these, those of stage 2")] = 300,
    rate: Annotated[float, typer.Option(min=1e-6, max=1.0, help="highest learning rate")] = 8e-4,
    batch: Annotated[int, typer.Option(min=1, help="pictures a step")] = 4,
    minutes: Annotated[float, typer.Option(min=0, help="stop after so many; 0: after all steps")] = 0.0,
    every: Annotated[int, typer.Option(min=1, help="steps between evaluations, each with a checkpoint")] = 250,
    threads: Annotated[
        int, typer.Option(min=0, help="of the model; 0: all cores, less the workers; several processes share the cores")
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="processes that draw and ask")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, help="that share the pictures of each step; with one for each core, take --workers 0")
    ] = 1,
    begin: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="begin with the weights of a model that was exported")
    ] = "",
    seed: Annotated[int, typer.Option(help="of weights and pictures")] = 0,
) -> None:
    """Stages 2 and 3: learn where named things are, then to answer questions."""
    import os

    from s3d_ros.train.small.answering import AnsweringSettings, train_answering
    from s3d_ros.train.small.going_on import prepare

    prepare(threads or max(1, (os.cpu_count() or 1) - workers))
    settings = AnsweringSettings(
        reading=reading, begin=begin, blind=blind, seed=seed, batch=batch, steps=steps, pointing_steps=pointing,
        learning_rate=rate, minutes=minutes, every_steps=every,
        workers=workers, processes=processes,
    )  # fmt: skip
    train_answering(settings, out, _tell_answers)


@app.command()
def score(
    homes: Annotated[
        Path,
        typer.Argument(metavar="LIST", help="a line for each mapped home: its run, and the recording with its truth"),
    ],
    model: Annotated[str, typer.Option(help='directory of a model; "": the map answers (geometric)')] = "",
    each: Annotated[int, typer.Option(min=1, help="questions of each kind about each home")] = 5,
    trained: Annotated[
        bool, typer.Option("--trained", help="in wordings that were trained on, not in held-out ones")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the questions")] = 0,
) -> None:
    """Ask about mapped homes, and say how much is right beside guessing. Goes the whole way of `s3d ask`."""
    from s3d_ros.train.small.scoring import score_homes

    places = [line.split() for line in homes.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not places or any(len(p) != 2 for p in places):
        raise typer.BadParameter(f"{homes} must have a line RUN RECORDING for each home")
    for line in score_homes([(Path(a), Path(b)) for a, b in places], model, each, seed, trained):
        print(line, flush=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="folder of a run of `answer`")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="folder for the model, in half precision")],
) -> None:
    """Write a trained model in half precision, as it is shipped."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    from s3d_ros.train.small.model import SmallModelError, save_model

    held = run / "model"
    if not (held / "config.json").is_file():
        raise SmallModelError(f"{run} holds no model: make one with s3d train-small answer --out {run}")
    model = AutoModelForImageTextToText.from_pretrained(held, local_files_only=True).half()
    save_model(model, AutoTokenizer.from_pretrained(held, local_files_only=True), out)


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
        print(
            f"  {name}: {_shares(scores)}; thing {scores['spot_px']:.1f} px, {scores['markers']:.0f} markers",
            flush=True,
        )


def _tell_answers(row: dict[str, Any]) -> None:
    print(f"step {row['step']}, {row['questions']} questions, {row['minutes']} min, loss {row['loss']:.3f}", flush=True)
    for name, scores in row["scores"].items():
        print(f"  {name}: {_shares(scores)}", flush=True)


def _shares(scores: dict[str, float]) -> str:
    return ", ".join(f"{k} {100 * v:.1f} %" for k, v in scores.items() if k not in ("spot_px", "markers"))
