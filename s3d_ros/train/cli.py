"""``s3d dataset``: make training sets, look at them, check them; and ``s3d train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from s3d_ros.cli_support import progress_bar, read_config, read_settings, read_size

app = typer.Typer(no_args_is_help=True, help="Make training sets of runs, recordings, scans and simulated homes.")
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="folder of a training set")]


@app.command()
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="runs, bags, dataset folders (7-Scenes, TUM, ScanNet, ARKitScenes), folders of these, layouts to "
            "simulate (A+B: a flat), or a .txt that lists some",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="folder of the set; one begun is gone on with")
    ],
    seed: Annotated[int, typer.Option(help="of homes, questions, wordings and splits")] = 0,
    homes: Annotated[int, typer.Option(min=1, help="renders of each layout, all in one split")] = 1,
    fps: Annotated[float, typer.Option(min=0.1, max=30, help="frames a second of simulated homes")] = 5.0,
    noise: Annotated[str, typer.Option(help="of simulated homes: none, sensor, detector or all")] = "all",
    size: Annotated[str, typer.Option(metavar="WxH", help="pixels of simulated frames")] = "640x480",
    every: Annotated[int, typer.Option(min=1, help="of recordings, map every so many-th frame")] = 1,
    kinds: Annotated[str, typer.Option(help="generated questions: families or kinds, with commas; 'none'")] = (
        "vsi,vsti,situated,grounding,caption"
    ),
    per_kind: Annotated[int, typer.Option(min=1, help="generated questions of each kind and scene at most")] = 6,
    small: Annotated[int, typer.Option(min=0, help="as many of each kind that the small model learns, too")] = 0,
    annotations: Annotated[
        list[str] | None,
        typer.Option(
            "--annotations",
            "-a",
            metavar="NAME=FILE",
            help="official files: scanqa, sqa3d (its annotations; the questions' file is looked for beside), scan2cap, "
            "scanrefer, multi3drefer, vsi, vsti, openeqa",
        ),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="boxes of the true objects by scene, for annotations that name objects")
    ] = None,
    oriented: Annotated[bool, typer.Option("--oriented", help="compare turned boxes as they are")] = False,
    iou: Annotated[float, typer.Option(min=0.01, max=1, help="a map's object is a true one from this IoU on")] = 0.75,
    val: Annotated[float, typer.Option(min=0, max=1, help="share of places in the split 'val'")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="share of places in the split 'test'")] = 0.0,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="an official list of scenes, such as scannetv2_val.txt"),
    ] = None,
    licence: Annotated[str, typer.Option(help="of recordings and runs whose licence is not known")] = "",
    shard_mb: Annotated[float, typer.Option(min=0.1, help="megabytes of a shard, about")] = 256.0,
    workers: Annotated[
        int | None, typer.Option(min=0, help="processes; else one for each core; 0: all in this one")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file for the mapper")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="one key; prompt.frames=16, too")
    ] = None,
) -> None:
    """Make a training set: map what is given, ask, pack; or go on where a killed build stopped."""
    from s3d_ros.prompt.config import PromptConfig
    from s3d_ros.train.build import build as run
    from s3d_ros.train.settings import PROMPT, BuildSettings

    given = read_settings(set_, "prompt.frames=16")
    prompt = {k.removeprefix("prompt."): v for k, v in given.items() if k.startswith("prompt.")}
    plain = [f"{k}={v}" for k, v in given.items() if not k.startswith("prompt.")]
    settings = BuildSettings(
        seed=seed,
        homes=homes,
        fps=fps,
        noise=noise,
        size=read_size(size),
        every=every,
        kinds=tuple(k.strip() for k in kinds.split(",") if k.strip() not in ("", "none")),
        per_kind=per_kind,
        small=small,
        proposal_iou=iou,
        shares={name: share for name, share in (("val", val), ("test", test)) if share > 0},
        lists={name: Path(file) for name, file in _pairs(split, "--split", "val=scannetv2_val.txt")},
        annotations=tuple(
            (n, (Path(f),)) for n, f in _pairs(annotations, "--annotations", "scanqa=ScanQA_v1.0_val.json")
        ),
        boxes=boxes,
        boxes_oriented=oriented,
        licence=licence,
        shard_mb=shard_mb,
        config=read_config(config, plain),
        prompt=PromptConfig.from_dict({**vars(PROMPT), **prompt}),
    )
    with progress_bar("building", "frames") as progress:
        made = run(sources, out, settings, workers=workers, progress=progress)
    for key, why in made.failed.items():
        typer.secho(f"{key} could not be made: {why}", fg=typer.colors.YELLOW, err=True)
    rate = made.made / made.seconds if made.seconds else 0.0
    typer.echo(
        f"{out}: {made.made} scenes made ({60 * rate:.1f} a minute), {made.resumed} were there, {made.conversations} "
        f"conversations. Its card: {out / 'README.md'}; look at it: s3d dataset show {out} --out page.html"
    )
    if made.failed:
        raise typer.Exit(1)


@app.command()
def show(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE", help="HTML file to write")] = Path("page.html"),
    split: Annotated[str, typer.Option(help="only this one")] = "",
    scenes: Annotated[int, typer.Option(min=1, help="scenes on the page at most")] = 4,
    records: Annotated[int, typer.Option(min=0, help="conversations of each scene at most")] = 24,
) -> None:
    """Make a page of samples: frames with markers and boxes, bird's-eye view, conversations."""
    from s3d_ros.train.show import show_set

    typer.echo(show_set(folder, out, split=split, scenes=scenes, records=records))


@app.command()
def check(
    folder: Folder,
    split: Annotated[str, typer.Option(help="only this one")] = "",
) -> None:
    """Read every record and picture of a set, and name the bad ones. Exit code 1 when there are any."""
    from s3d_ros.train.reader import TrainingSet

    training = TrainingSet(folder, split)
    problems = training.check()
    for problem in problems:
        typer.secho(f"{problem.where}: {problem.what}. {problem.mend}", fg=typer.colors.RED, err=True)
    typer.echo(f"{training.scene_count} scenes, {len(training)} conversations, {len(problems)} bad")
    if problems:
        raise typer.Exit(1)


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="where SPLIT.json and images/ go")],
    split: Annotated[str, typer.Option(help="which one")] = "train",
    plain: Annotated[bool, typer.Option("--plain", help="the unmarked twins")] = False,
) -> None:
    """Write a split as ShareGPT JSON with pictures as files, for other trainers."""
    from s3d_ros.train.export import export_set

    with progress_bar("exporting", "records") as progress:
        count = export_set(folder, out, split, marked=not plain, progress=progress)
    typer.echo(f"{count} records in {out / split}.json")


def _pairs(given: list[str] | None, option: str, example: str) -> list[tuple[str, str]]:
    out = []
    for text in given or ():
        name, _, file = text.partition("=")
        if not name or not file:
            raise typer.BadParameter(f"{text!r}: write NAME=FILE, such as {example}", param_hint=option)
        out.append((name, file))
    return out


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, such as config/train/smoke.yaml")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="one key, such as run.out=runs/tuned or optimizer.lr=1e-5"
        ),
    ] = None,
) -> None:
    """Tune a vision-language model on a training set; a run begun in run.out is gone on with."""
    from s3d_ros.train.config import TrainConfig, TrainError

    made = TrainConfig.from_yaml(config, read_settings(settings, "run.out=runs/tuned"))
    try:
        from s3d_ros.train.loop import train as train_it
    except ModuleNotFoundError as error:
        raise TrainError(f"training needs {error.name}: pip install 's3d_ros[train]'") from error
    from transformers.utils.logging import disable_progress_bar

    from s3d_ros.train.show_progress import bars
    from s3d_ros.vlm.config import ModelError

    disable_progress_bar()  # one bar is enough
    try:
        with bars() as progress:
            last = train_it(made, progress)
    except ModelError as error:
        raise TrainError(str(error)) from error
    if os.environ.get("RANK", "0") != "0":  # below a launcher one of the processes speaks
        return
    typer.echo(f"{last} can be asked: s3d ask RUN QUESTION --model {last}; what it learnt: {last.parent / 'loss.png'}")
