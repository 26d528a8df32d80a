"""The command ``s3d``. Each command imports what it needs when it runs, so that ``s3d --help`` is there at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from s3d_ros.config import Config
    from s3d_ros.offline.replay import Progress
    from s3d_ros.offline.topics import TopicNames
    from s3d_ros.types import Answer, Scene

_MOST_ROWS = 12  # of the objects of an answer
_FAILED_CHECK, _BAD_INPUT, _INTERRUPTED = 1, 2, 130


class _Group(TyperGroup):
    """Tells in one line what is wrong with the input. Anything else is a fault of the program and keeps its trace."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain("stopped")
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:  # of `s3d ... | head`
            sys.stderr.close()
            sys.exit(_FAILED_CHECK)
        except ModuleNotFoundError as error:
            if not _is_of_ros(error.name or ""):
                raise
            _complain(
                f"this needs ROS 2, and Python does not find {error.name}: source /opt/ros/jazzy/setup.bash and "
                "install/setup.bash of your workspace, or run `make setup` and use .venv/bin/s3d"
            )
        except OSError as error:
            _complain(_words_of(error))
        except ValueError as error:
            if not type(error).__module__.startswith("s3d_ros."):
                raise
            _complain(str(error))
        sys.exit(_BAD_INPUT)


def _is_of_ros(module: str) -> bool:
    top = module.split(".")[0]
    messages = ("s3d_ros.msg", "s3d_ros.srv", "s3d_ros.action")
    return top in ("rclpy", "builtin_interfaces", "rcl_interfaces") or top.endswith("_msgs") or module in messages


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A robot's camera and pose become a map of objects that can be asked questions. "
    "See it work: [bold]s3d demo[/bold]",
    rich_markup_mode="rich",
)

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
        typer.Argument(metavar="PATH", help="a rosbag2 (folder, .mcap or .db3), or a 7-Scenes or TUM RGB-D folder"),
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
    made, names = _config(config, set_), _topics(topic)  # before the import, which takes seconds
    from s3d_ros.offline.replay import replay as run

    with _progress("mapping", "frames") as progress:
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
    _tell_run(out, scene)


@app.command(rich_help_panel="Recordings")
def play(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a rosbag2, or a dataset folder")],
    rate: Rate = 1.0,
    limit: Limit = 3600.0,
    topic: Topics = None,
) -> None:
    """Publish a recording on the live topics, with /clock."""
    names = _topics(topic)
    from s3d_ros.ros.player import play as run

    with _progress("playing", "frames") as progress:
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

    width, height = _size(size)
    options = SimulateConfig(
        width=width, height=height, fps=fps, max_duration_s=limit, changed_share=changed, people=people
    )
    paths = [Path(name) for name in layouts]
    with _progress("simulating", "frames") as progress:
        run(paths, out, seed=seed, noise=noise.value, options=options, progress=progress)
    typer.echo(f"{out}: map it with  s3d replay {out} --out RUN")


@app.command(rich_help_panel="Questions")
def ask(
    run: RunFolder,
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help='such as "where is the chair nearest to the table?"')
    ],
    option: Annotated[
        list[str] | None, typer.Option("--option", help="one of the answers to choose from; give it several times")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the reply as one line of JSON")] = False,
) -> None:
    """Ask about a map that was made. Exit code 1 when there is no answer."""
    from s3d_ros.answer.geometric import GeometricAnswerer
    from s3d_ros.offline.run import load_scene
    from s3d_ros.types import Question

    scene = load_scene(run)
    answer = GeometricAnswerer().answer(Question(question, tuple(option or ())), scene)
    if json:
        _print_json(answer)
    else:
        tell_answer(answer, scene)
    if not answer.success:
        raise typer.Exit(_FAILED_CHECK)


@app.command(rich_help_panel="Questions")
def questions(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="truth.json of a simulated home, or its folder")],
    out: Annotated[Path, typer.Option("--out", "-o", help="file for the questions")],
    key: Annotated[Path, typer.Option("--key", "-k", help="file for the right answers")],
    seed: Annotated[int, typer.Option(help="the same seed makes the same questions")] = 0,
    per_kind: Annotated[int, typer.Option(min=1, help="questions of each kind at most")] = 6,
) -> None:
    """Make questions and their right answers from the truth of a simulated home."""
    from s3d_ros.offline.questions import make_questions, write_questions
    from s3d_ros.offline.truth import load_truth

    made = make_questions(load_truth(truth), seed, per_kind)
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

    with _progress("comparing", "frames") as progress:
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

        with _progress("simulating a home", "frames") as progress:
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


# --- helpers ----------------------------------------------------------------------------------------------------


def _config(path: Path | None, settings: Sequence[str] | None) -> Config:
    """Read the config file and lay single settings over it. Raises ConfigError."""
    import yaml

    from s3d_ros.config import Config, ConfigError

    made = Config() if path is None else Config.from_yaml(path)
    values = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write KEY=VALUE, such as fusion.voxel_size_m=0.05")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        values[key.strip()] = "" if value is None else value
    return made.with_values(values)


def _topics(given: Sequence[str] | None) -> TopicNames | None:
    """Read ROLE=TOPIC pairs. Raises TopicError."""
    if not given:
        return None
    import dataclasses

    from s3d_ros.offline.topics import TopicError, TopicNames

    roles = [f.name for f in dataclasses.fields(TopicNames)]
    names = {}
    for pair in given:
        role, _, name = pair.partition("=")
        if role not in roles or not name:
            raise TopicError(f"--topic {pair!r}: write ROLE=TOPIC, where ROLE is one of {', '.join(roles)}")
        names[role] = name
    return TopicNames(**names)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 8 <= int(width) <= 4096 and 8 <= int(height) <= 4096):
        raise typer.BadParameter(f"--size {text!r}: write WIDTHxHEIGHT in pixels, 8 to 4096 each, such as 640x480")
    return int(width), int(height)


@contextmanager
def _progress(verb: str, unit: str) -> Iterator[Progress]:
    """Show a bar on stderr; yields ``progress(done, total or None)``."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}"),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, rate="")

        def show(done: int, total: int | None) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=done, total=total, rate=f"{done / elapsed:.1f}/s" if elapsed > 0.5 else "")

        yield show


def _tell_run(out: Path, scene: Scene) -> None:
    """Say what a run gave, what was dropped and why, and where to look."""
    import json

    from rich.console import Console

    from s3d_ros.drops import DROPS

    console = Console(highlight=False)
    report = json.loads((out / "report.json").read_text())
    console.print(
        f"[bold]{len(scene.objects)} objects[/] from {report['frames']} frames "
        f"in {report['elapsed_s']:.1f} s ({report['frames_per_second']:.1f} frames/s)"
    )
    for reason, count in sorted(report.get("drops", {}).items(), key=lambda item: -item[1]):
        console.print(f"  [yellow]{count} dropped[/], {reason}: {DROPS.get(reason, '')}", soft_wrap=True)
    console.print(f"report page: [bold]{out / 'report.html'}[/]", soft_wrap=True)


def tell_answer(answer: Answer, scene: Scene) -> None:
    """Print a reply and the objects that it is about."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    style = "bold" if answer.success else "yellow"
    letter = f"{answer.choice}. " if answer.choice and not answer.text.startswith(f"{answer.choice}.") else ""
    console.print(Text(letter + answer.text, style=style), soft_wrap=True)
    for number in answer.objects[:_MOST_ROWS]:
        thing = scene.find(number)
        if thing is not None:
            x, y, z = thing.box.center
            size = " x ".join(f"{s:.2f}" for s in thing.box.size)
            console.print(
                Text(f"  {thing.id:>4}  {thing.label or 'unlabelled'}  at ({x:.2f}, {y:.2f}, {z:.2f}) m, {size} m"),
                soft_wrap=True,
            )
    if len(answer.objects) > _MOST_ROWS:
        console.print(Text(f"  and {len(answer.objects) - _MOST_ROWS} more", style="dim"))
    notes = [answer.viewpoint, f"by {answer.answered_by}"]
    console.print(Text("  " + ", ".join(n for n in notes if n), style="dim"), soft_wrap=True)


def _print_json(answer: Answer) -> None:
    import json

    from s3d_ros.offline.answers import answer_json

    typer.echo(json.dumps(answer_json("", answer), ensure_ascii=False))


def _words_of(error: OSError) -> str:
    if not error.strerror:
        return str(error)
    reason = error.strerror.lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _complain(text: str) -> None:
    typer.secho(text, fg=typer.colors.RED, err=True)


if __name__ == "__main__":
    app()
