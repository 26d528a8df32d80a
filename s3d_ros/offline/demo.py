"""``s3d demo``: a home streamed over ROS topics to the nodes, and questions asked while the camera moves.

Everything that is shown came over the topics and the service, as a planner on a robot would get it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from s3d_ros.offline.answers import answer_json
from s3d_ros.offline.demo_model import beside
from s3d_ros.offline.demo_questions import Asker
from s3d_ros.offline.processes import Processes
from s3d_ros.offline.recording import open_recording
from s3d_ros.offline.report import write_report
from s3d_ros.offline.run import RunWriter
from s3d_ros.offline.sheet import draw_sheet
from s3d_ros.types import F32, U8, Answer, Question, Scene

if TYPE_CHECKING:
    from s3d_ros.ros.watcher import Watcher

_START_S = 60.0  # the nodes have to be there by then
_SILENT_S = 20.0  # without any frame in the map
_SETTLED_S = 2.5  # without news after the recording's end; a second after it the mapper draws what is left
_QUESTIONS = 9  # while the camera moves, at most
_FIRST_QUESTION, _LAST_QUESTION = 0.12, 0.97  # share of the recording
_CLOUD_FROM = 0.7
_LEAST_OBJECTS = 2
_TABLE_ROWS = 12


class DemoError(ValueError):
    """The demo could not go on; the message says why, and where to look."""


def run_demo(path: Path, out: Path, *, rate: float = 1.0, limit_s: float = 3600.0) -> Scene:
    """Play a recording to the nodes in processes of their own, ask, and write what came to ``out``.

    Raises DemoError, ProcessError, RecordingError or RunError.
    """
    console = Console(highlight=False)
    recording = open_recording(path)  # says at once if it can't be played
    writer = RunWriter(out)
    _keep_to_itself()
    from s3d_ros.ros.watcher import Watcher

    quiet = {
        "RCUTILS_COLORIZED_OUTPUT": "0",
        "PYTHONUNBUFFERED": "1",
        "ROS_LOG_DIR": str((out / "logs" / "ros").resolve()),
    }
    with _ended_by_signals(), Processes(out / "logs", quiet) as processes, Watcher() as watcher:
        namespace = ("--ros-args", "-r", "__ns:=/s3d")
        up = "z" if recording.z_up else "auto"
        processes.start("mapper", "-m", "s3d_ros.ros.mapper", *namespace, "-p", f"map.up:={up}")
        processes.start("answerer", "-m", "s3d_ros.ros.answerer", *namespace)
        with console.status("starting the mapper and the answerer"):
            _wait_until_ready(watcher, processes)
        console.print("[dim]mapper and answerer run; the camera starts to move[/]\n")
        play = ("play", str(path), "--rate", str(rate), "--limit", str(limit_s))
        processes.start("player", "-m", "s3d_ros.cli", *play)
        talk = _Conversation(console, watcher)
        _follow(talk, watcher, processes, recording.frame_count)
        _check_map(watcher, processes)
        talk.end()
        scene, cloud = watcher.scene(), watcher.cloud()
        assert scene is not None
        figures = _figures(scene, watcher, talk, recording.name)
    _show_model(console, scene)
    _write(writer, scene, cloud, figures, watcher.first_ns, talk.rows)
    _show(console, scene, out)
    return scene


class _Conversation:
    """Asks now and then, prints question and reply, and remembers both."""

    def __init__(self, console: Console, watcher: Watcher) -> None:
        self.rows: list[dict[str, Any]] = []
        self.took_s: list[float] = []
        self._console, self._watcher = console, watcher
        self._asker = Asker()

    def ask_next(self) -> bool:
        """Ask about what the map holds now; return whether there was something to ask."""
        scene = self._watcher.scene()
        if scene is None or len(scene.objects) < _LEAST_OBJECTS:
            return False
        question = self._asker.next(scene)
        if question is not None:
            self._ask(question)
        return question is not None

    def end(self) -> None:
        """Ask the first count again, now that everything was seen."""
        question = self._asker.last()
        if question is not None:
            self._ask(question)

    def _ask(self, question: Question) -> None:
        after_s = self._watcher.seen_s
        reply = self._watcher.ask(question.text, question.options)
        answer, took_s = reply.answer, reply.seconds
        self.took_s.append(took_s)
        more = {"question": question.text, "options": list(question.options), "type": "demo"}
        timing = {"after_s": round(after_s, 2), "took_ms": round(took_s * 1e3, 1)}
        self.rows.append(answer_json(str(len(self.rows) + 1), answer) | more | timing)
        lines = Table.grid(padding=(0, 2))
        lines.add_column(width=6, justify="right", style="dim")
        lines.add_row(f"{after_s:.0f} s", Text(question.text, style="bold cyan"))
        if question.options:
            lines.add_row("", Text("   ".join(question.options), style="cyan"))
        lines.add_row("", _reply(answer, took_s))
        self._console.print(lines, "")


def _show_model(console: Console, scene: Scene) -> None:
    """Put a question to the map and to the shipped model, where what that needs is installed."""
    with console.status("loading the small model"):
        both = beside(scene)
    if both is None:
        return
    lines = Table.grid(padding=(0, 2))
    lines.add_column(width=6, justify="right", style="dim")
    lines.add_row("", Text(both.question.text, style="bold cyan"))
    lines.add_row("map", _reply(both.map, both.map_s))
    lines.add_row("model", _reply(both.model, both.model_s))
    console.print("[bold]One question to the map, and to a small model that looks at its picture[/]")
    console.print(lines, "")


def _reply(answer: Answer, took_s: float) -> Text:
    text = Text()
    if answer.choice and not answer.text.startswith(f"{answer.choice}."):
        text.append(f"{answer.choice}. ", style="bold")
    text.append(answer.text, style="" if answer.success else "yellow")
    for number in answer.objects[:8]:
        text.append(" ").append(f" {number} ", style="bold reverse")
    if len(answer.objects) > 8:
        text.append(f" +{len(answer.objects) - 8}", style="dim")
    return text.append(f"  {took_s * 1e3:.0f} ms", style="dim")


def _follow(talk: _Conversation, watcher: Watcher, processes: Processes, frame_count: int | None) -> None:
    """Show how far it is, and ask, until the recording has ended and the map has come to rest."""
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[news]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=talk._console, transient=True) as bar:
        task = bar.add_task("", total=frame_count, news="")
        started = heard = time.monotonic()
        news = (0, -1)
        next_question = _FIRST_QUESTION
        while True:
            time.sleep(0.1)
            now = time.monotonic()
            processes.check()
            scene = watcher.scene()
            if (now_known := (watcher.frames, -1 if scene is None else scene.map_version)) != news:
                news, heard = now_known, now
            if processes.has_ended("player") and now - heard > _SETTLED_S:
                return
            if watcher.frames == 0 and now - started > _SILENT_S:
                return
            bar.update(task, completed=watcher.played, news=_news(watcher))
            share = watcher.played / frame_count if frame_count else 0.0
            if next_question <= share < _LAST_QUESTION and talk.ask_next():
                next_question = share + (_LAST_QUESTION - _FIRST_QUESTION) / _QUESTIONS
            if share > _CLOUD_FROM:
                watcher.listen_to_cloud()


def _news(watcher: Watcher) -> str:
    scene = watcher.scene()
    objects = 0 if scene is None else len(scene.objects)
    views = 0 if scene is None else len(scene.views)
    fps = watcher.diagnostics().get("frames_per_second", "")
    return f"{objects} objects, {views} view frames" + (f", {fps} frames/s" if fps else "")


def _wait_until_ready(watcher: Watcher, processes: Processes) -> None:
    deadline = time.monotonic() + _START_S
    while not watcher.is_ready():
        processes.check()
        if time.monotonic() > deadline:
            raise DemoError(f"the nodes did not start within {_START_S:g} s; see {processes.log('mapper')}")
        time.sleep(0.05)


def _check_map(watcher: Watcher, processes: Processes) -> None:
    """Raise DemoError when nothing came of it."""
    deadline = time.monotonic() + 3.0
    while (watcher.frames == 0 or watcher.scene() is None) and time.monotonic() < deadline:
        time.sleep(0.1)
    if watcher.frames and watcher.scene() is not None:
        return
    counts = ", ".join(f"{k} {v}" for k, v in watcher.diagnostics().items() if k.startswith(("received", "dropped")))
    raise DemoError(f"no frame got into the map ({counts or 'the mapper says nothing'}); see {processes.log('mapper')}")


# --- what it leaves behind --------------------------------------------------------------------------------------


def _write(
    writer: RunWriter,
    scene: Scene,
    cloud: tuple[F32, U8] | None,
    figures: dict[str, Any],
    first_ns: int,
    rows: list[dict[str, Any]],
) -> None:
    points, colors = cloud or (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    writer.finish(scene, points, colors, figures, first_ns=first_ns)
    (writer.out / "answers.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sheet = draw_sheet(scene)
    if sheet is not None:
        cv2.imwrite(str(writer.out / "demo.png"), sheet[..., ::-1])
    write_report(writer.out)


def _figures(scene: Scene, watcher: Watcher, talk: _Conversation, name: str) -> dict[str, Any]:
    """Make the report's figures from what the mapper told about itself."""
    status, span_s = watcher.diagnostics(), watcher.seen_s
    stages = {}
    for key, text in status.items():
        match = re.fullmatch(r"([\d.]+) \(p95 ([\d.]+)\)", text) if key.startswith("ms/") else None
        if match:
            stages[key.removeprefix("ms/")] = {"median_ms": float(match[1]), "p95_ms": float(match[2])}
    figures: dict[str, Any] = {
        "recording": f"{name}, live",
        "frames": watcher.frames,
        "seconds": round(span_s, 2),
        "drops": {k.removeprefix("dropped/"): int(v) for k, v in status.items() if k.startswith("dropped/")},
        "objects": len(scene.objects),
        "view_frames": len(scene.views),
        "map_version": scene.map_version,
        "frames_per_second": round(watcher.frames / span_s, 2) if span_s > 0 else None,
        "frames_played": watcher.played,
        "delay_median_ms": _percentile(watcher.delays_s, 50),
        "delay_p95_ms": _percentile(watcher.delays_s, 95),
        "questions": len(talk.rows),
        "answer_median_ms": _percentile(talk.took_s, 50),
        "stages": stages,
    }
    if "memory/peak_mb" in status:
        figures["peak_memory_mb"] = float(status["memory/peak_mb"])
    return figures


def _percentile(seconds: list[float], percent: float) -> float | None:
    return round(float(np.percentile(seconds, percent)) * 1e3, 1) if seconds else None


def _show(console: Console, scene: Scene, out: Path) -> None:
    table = Table("ID", "label", "where (x, y, z), m", "size, m", box=None, header_style="dim", pad_edge=False)
    by_size = sorted(scene.objects, key=lambda o: -float(o.box.size.prod()))
    for o in by_size[:_TABLE_ROWS]:
        where, size = (", ".join(f"{v:.2f}" for v in o.box.center), " x ".join(f"{v:.2f}" for v in o.box.size))
        table.add_row(str(o.id), o.label or "unlabelled", where, size)
    console.print("[bold]The map[/]" + (f", its {_TABLE_ROWS} largest things" if len(by_size) > _TABLE_ROWS else ""))
    console.print(table)
    if len(by_size) > _TABLE_ROWS:
        console.print(f"[dim]and {len(by_size) - _TABLE_ROWS} more[/]")
    console.print()
    for words, name in (("report page", "report.html"), ("bird's-eye view and frames", "demo.png")):
        if (out / name).exists():
            console.print(f"{words:<28}[bold]{out / name}[/]", soft_wrap=True)
    question = f'{out} "What is around me?"'
    console.print(f"{'ask it more':<28}[bold]s3d ask {question}[/]", soft_wrap=True)


# --- staying apart ----------------------------------------------------------------------------------------------


def _keep_to_itself() -> None:
    """Stay on this machine and off everybody's domain. 1 to 100: domains above need ports that may be taken."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
    os.environ.pop("ROS_STATIC_PEERS", None)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal unwind as Ctrl-C does, so that no process is left over."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
