"""The command ``s3d``. Each command imports what it needs when it runs, so that ``s3d --help`` is there at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from s3d_ros.benchmarks.cli import app as benchmark_app
from s3d_ros.cli_errors import Commands
from s3d_ros.cli_support import (
    print_json,
    progress_bar,
    read_config,
    read_settings,
    read_size,
    read_topics,
    tell_answer,
    tell_run,
)
from s3d_ros.train.ablation.cli import train_ablate
from s3d_ros.train.cli import app as dataset_app
from s3d_ros.train.cli import train
from s3d_ros.train.geometry.cli import app as geometry_app
from s3d_ros.train.parts.cli import train_draw, train_vae
from s3d_ros.train.small.cli import app as small_app

_FAILED_CHECK = 1

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A robot's camera and pose become a map of objects that can be asked questions. "
    "See it work: [bold]s3d demo[/bold]",
    rich_markup_mode="rich",
)

app.add_typer(benchmark_app, name="benchmark", rich_help_panel="See and measure")
app.add_typer(dataset_app, name="dataset", rich_help_panel="Training")
app.command(rich_help_panel="Training")(train)
app.command(rich_help_panel="Training")(train_vae)
app.command(rich_help_panel="Training")(train_draw)
app.command(rich_help_panel="Training")(train_ablate)
app.add_typer(small_app, name="train-small", rich_help_panel="Training")
app.add_typer(geometry_app, name="train-geometry", rich_help_panel="Training")

# --- arguments that several commands share ----------------------------------------------------------------------

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; its keys are those of config/s3d.yaml")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="one key, such as fusion.voxel_size_m=0.05")
]
Topics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        "-t",
        metavar="ROLE=TOPIC",
        help="name a topic that is not to be guessed. Roles: color, depth, camera_info, pose, path (corrected poses), "
        "tf, tf_static, instances",
    ),
]
Rate = Annotated[float, typer.Option("--rate", "-r", min=0.01, max=100, help="times real time")]
Limit = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="end after so much of the recording")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder that `s3d replay` made")]


class Noise(StrEnum):
    """Which errors the simulator makes."""

    none = "none"
    sensor = "sensor"
    detector = "detector"
    all = "all"


# --- commands ---------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Recordings")
def replay(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="a rosbag2 (folder, .mcap or .db3), or data of 7-Scenes, TUM, ScanNet or ARKitScenes"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="folder for the results")],
    config: ConfigFile = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", "-q", help="JSON file of questions to answer")
    ] = None,
    topic: Topics = None,
    set_: Settings = None,
    rendered: Annotated[
        bool, typer.Option("--rendered", help="note what the map shows in each frame, for `s3d evaluate`")
    ] = False,
    map_from: Annotated[
        Path | None, typer.Option("--map", metavar="DIR", help="go on with a map that was saved")
    ] = None,
    map_to: Annotated[Path | None, typer.Option("--save-map", metavar="DIR", help="folder to save the map in")] = None,
) -> None:
    """Map a recording: objects, cloud, bird's-eye view, answers and a report page in RUN."""
    made, names = read_config(config, set_), read_topics(topic)  # before the import, which takes seconds
    from s3d_ros.offline.replay import replay as run

    with progress_bar("mapping", "frames") as progress:
        scene = run(
            path,
            out,
            made,
            questions=questions,
            topics=names,
            rendered=rendered,
            map_from=map_from,
            map_to=map_to,
            progress=progress,
        )
    tell_run(out, scene)


@app.command(rich_help_panel="Recordings")
def play(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a rosbag2, or a dataset folder")],
    rate: Rate = 1.0,
    limit: Limit = 3600.0,
    topic: Topics = None,
) -> None:
    """Publish a recording on the live topics, with /clock."""
    names = read_topics(topic)
    from s3d_ros.ros.player import play as run

    with progress_bar("playing", "frames") as progress:
        run(path, rate=rate, topics=names, progress=progress, limit_s=limit)


@app.command(rich_help_panel="Recordings")
def simulate(
    layouts: Annotated[
        list[str],
        typer.Argument(metavar="LAYOUT...", help="JSON files, or names of those that are shipped; several make a flat"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="BAG", help="folder for the bag and its truth")],
    seed: Annotated[int, typer.Option(help="the same seed makes the same home and walk")] = 0,
    noise: Annotated[Noise, typer.Option(help="errors of the sensor, of the detector, or both")] = Noise.none,
    size: Annotated[str, typer.Option(metavar="WxH", help="pixels of the images")] = "640x480",
    fps: Annotated[float, typer.Option(min=0.1, max=120, help="images a second")] = 10.0,
    limit: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="longest walk")] = 3600.0,
    changed: Annotated[
        float, typer.Option(min=0, max=1, help="a second visit, before which this share was removed or moved")
    ] = 0.0,
    people: Annotated[int, typer.Option(min=0, max=50, help="how often somebody walks by in each visit")] = 0,
) -> None:
    """Furnish a layout, walk a camera through it, and record a bag with its truth."""
    from s3d_ros.offline.simulate import SimulateConfig
    from s3d_ros.offline.simulate import simulate as run

    width, height = read_size(size)
    options = SimulateConfig(
        width=width, height=height, fps=fps, max_duration_s=limit, changed_share=changed, people=people
    )
    paths = [Path(name) for name in layouts]
    with progress_bar("simulating", "frames") as progress:
        run(paths, out, seed=seed, noise=noise.value, options=options, progress=progress)
    typer.echo(f"{out}: map it with  s3d replay {out} --out RUN")


@app.command(rich_help_panel="Questions")
def ask(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder that `s3d replay` made, or a video file")],
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION]",
            help='such as "where is the chair nearest to the table?"; without one a talk begins, a question a line',
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="one of the answers to choose from; give it several times")
    ] = None,
    answerer: Annotated[
        str,
        typer.Option(
            "--answerer",
            "-a",
            help="geometric, transformers, openai, or auto: the map itself, then a model if one is set",
        ),
    ] = "auto",
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="DIR", help="a language model: directory, or name on its hub or server"),
    ] = "",
    server: Annotated[
        str, typer.Option("--server", metavar="URL", help="of an OpenAI-compatible server: http://127.0.0.1:8000/v1")
    ] = "",
    situation: Annotated[
        str, typer.Option("--situation", metavar="'X Y Z DEG'", help="where you stand and look, instead of the robot")
    ] = "",
    show: Annotated[
        Path | None, typer.Option("--show", metavar="DIR", help="write the pictures and the text that the model saw")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="RUN", help="of a video: keep the map here, and take it again the next time"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="one key, such as prompt.frames=8 or video.rate_hz=2"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the reply as one line of JSON")] = False,
) -> None:
    """Ask about a map that was made, or about a plain video. Exit code 1 when there is no answer."""
    given = {"answerer": answerer, "model": model, "server.url": server}
    settings = {k: v for k, v in given.items() if v} | read_settings(set_, "prompt.frames=8")
    from s3d_ros.offline.ask import asker

    with asker(run, settings, situation, show, save) as ask_it:
        answers = ask_it.one(question, tuple(option or ())) if question else ask_it.talk(sys.stdin)
        for answer in answers:
            if json:
                print_json(answer)
            else:
                tell_answer(answer, ask_it.scene)
    if not (answer.success if question else True):
        raise typer.Exit(_FAILED_CHECK)


@app.command(rich_help_panel="Questions")
def questions(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="truth.json of a simulated home, or its folder")],
    out: Annotated[Path, typer.Option("--out", "-o", help="file for the questions; .jsonl: one a line")],
    key: Annotated[Path, typer.Option("--key", "-k", help="file for the right answers")],
    kinds: Annotated[
        str, typer.Option(help="vsi, vsti, situated, grounding, caption, or single kinds; with commas between them")
    ] = "vsi",
    seed: Annotated[int, typer.Option(help="the same seed makes the same questions")] = 0,
    per_kind: Annotated[int, typer.Option(min=1, help="questions of each kind at most")] = 6,
    frames: Annotated[int, typer.Option(min=2, help="how many frames, evenly spaced, 'frame i of N' counts")] = 32,
    views: Annotated[
        Path | None, typer.Option(metavar="RUN", help="count the view frames of this run of the recording instead")
    ] = None,
) -> None:
    """Make questions and their right answers from the truth of a simulated home."""
    from s3d_ros.offline.questions import make_questions, write_questions
    from s3d_ros.offline.run import view_stamps
    from s3d_ros.offline.truth import load_truth, shown_frames

    known = load_truth(truth)
    shown = shown_frames(known, frames, None if views is None else view_stamps(views))
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    try:
        made = make_questions(known, seed, per_kind, kinds=names, shown=shown)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kinds") from None
    write_questions(made, out, key)
    typer.echo(f"{len(made)} questions in {out}; answer them with  s3d replay BAG --out RUN --questions {out}")


@app.command(rich_help_panel="Questions")
def evaluate(
    run: RunFolder,
    truth: Annotated[Path, typer.Option("--truth", "-t", help="truth.json of the simulated home, or its folder")],
    key: Annotated[
        Path | None, typer.Option("--key", "-k", help="right answers, as `s3d questions` wrote them")
    ] = None,
    yardsticks: Annotated[
        Path | None,
        typer.Option("--yardsticks", "-y", metavar="RECORDING", help="measure others on the recording it was made of"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for all figures")] = None,
) -> None:
    """Score a run against the truth: objects, boxes, identities and answers; pictures of the worst in RUN/worst."""
    import json

    from s3d_ros.offline.evaluate import evaluate as score
    from s3d_ros.offline.evaluate import show_evaluation
    from s3d_ros.offline.worst import draw_worst

    with progress_bar("comparing", "frames") as progress:
        result = score(run, truth, key, yardsticks, progress)
    draw_worst(run, truth, result)
    if out is not None:
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show_evaluation(result)


@app.command(rich_help_panel="See and measure")
def demo(
    bag: Annotated[
        Path | None, typer.Option("--bag", help="a recording of your own: rosbag2, or dataset folder")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="folder for the results")] = Path("runs/demo"),
    rate: Rate = 1.0,
    limit: Limit = 3600.0,
) -> None:
    """Stream a home over ROS topics to the nodes, ask while the camera moves, show what came of it."""
    from s3d_ros.offline.demo import run_demo

    if bag is None:
        from s3d_ros.offline.demo_home import simulated_home

        with progress_bar("simulating a home", "frames") as progress:
            bag = simulated_home(out.parent, progress)
    run_demo(bag, out, rate=rate, limit_s=limit)


@app.command(
    rich_help_panel="See and measure",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def bench(context: typer.Context) -> None:
    """Measure speed and quality on this machine, as ratios inside one run."""  # its options: s3d bench --help
    from s3d_ros.offline.bench import main

    if not main(context.args):
        raise typer.Exit(_FAILED_CHECK)


if __name__ == "__main__":
    app()
