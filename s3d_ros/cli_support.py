"""What the commands of ``s3d`` share: reading options, showing progress, telling what came of it.

Everything heavy is imported where it is used, so that ``s3d --help`` is there at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from s3d_ros.config import Config
    from s3d_ros.offline.replay import Progress
    from s3d_ros.offline.topics import TopicNames
    from s3d_ros.types import Answer, Scene

_MOST_ROWS = 12  # of the objects of an answer


def read_config(path: Path | None, settings: Sequence[str] | None) -> Config:
    """Read the config file and lay single settings over it. Raises ConfigError."""
    from s3d_ros.config import Config

    made = Config() if path is None else Config.from_yaml(path)
    return made.with_values(read_settings(settings, "fusion.voxel_size_m=0.05"))


def read_settings(settings: Sequence[str] | None, example: str) -> dict[str, Any]:
    """Read KEY=VALUE pairs; values as YAML reads them. Raises ConfigError."""
    import yaml

    from s3d_ros.keys import ConfigError

    values = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write KEY=VALUE, such as {example}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        values[key.strip()] = "" if value is None else value
    return values


def read_topics(given: Sequence[str] | None) -> TopicNames | None:
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


def read_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT. Raises BadParameter."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and 8 <= int(width) <= 4096 and 8 <= int(height) <= 4096):
        raise typer.BadParameter(f"--size {text!r}: write WIDTHxHEIGHT in pixels, 8 to 4096 each, such as 640x480")
    return int(width), int(height)


@contextmanager
def progress_bar(verb: str, unit: str) -> Iterator[Progress]:
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


def tell_run(out: Path, scene: Scene) -> None:
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
    for line in answer.measured:
        console.print(Text(f"  measured: {line}", style="dim"), soft_wrap=True)
    notes = [answer.viewpoint, f"by {answer.answered_by}"]
    console.print(Text("  " + ", ".join(n for n in notes if n), style="dim"), soft_wrap=True)


def print_json(answer: Answer) -> None:
    """Print a reply for another program."""
    import json

    from s3d_ros.offline.answers import answer_json

    typer.echo(json.dumps(answer_json("", answer), ensure_ascii=False))


def words_of(error: OSError) -> str:
    """Return what the system says, with the file's name."""
    if not error.strerror:
        return str(error)
    reason = error.strerror.lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def complain(text: str) -> None:
    """Say on stderr what is wrong."""
    typer.secho(text, fg=typer.colors.RED, err=True)
