"""Questions about a run from the command line, to the answerers that the node has."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console

from s3d_ros.answer.base import Progress
from s3d_ros.answer.choose import Chosen, choose
from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.chat import Chat
from s3d_ros.cli_support import progress_bar
from s3d_ros.geometry import level_rotation
from s3d_ros.offline.ask_video import split_settings, video_scene
from s3d_ros.offline.run import load_scene
from s3d_ros.offline.video import is_video
from s3d_ros.types import Answer, Question, Scene, Situation

_PAGE = "index.html"


class AskError(ValueError):
    """What can't be asked, and how it would be right."""


@dataclass
class Asker:
    """Asks about one scene. situation: of all questions. show: folder for what a model saw, one in it for each turn."""

    scene: Scene
    chosen: Chosen
    situation: Situation | None
    show: Path | None
    console: Console
    seen: list[tuple[Chat, str]]

    def one(self, text: str, options: tuple[str, ...] = ()) -> Iterator[Answer]:
        """Ask a question."""
        yield self._ask(Question(text, options, self.situation), self.show)

    def talk(self, lines: TextIO) -> Iterator[Answer]:
        """Ask a question for each line until they end; a later one may refer to those before it."""
        for turn in range(1, sys.maxsize):
            if lines.isatty():
                self.console.print("[dim]> [/]", end="")
            line = lines.readline()
            if not line:
                return
            if line.strip():
                folder = None if self.show is None else self.show / f"{turn:02d}"
                yield self._ask(Question(line.strip(), (), self.situation, conversation_id="talk"), folder)

    def _ask(self, question: Question, folder: Path | None) -> Answer:
        self.seen.clear()
        with self.console.status("") as status:

            def on_stage(stage: str, partial: str) -> None:
                status.update(partial[-200:] or stage)

            self._wait(status)
            answer = self.chosen.answerer.answer(question, self.scene, Progress(on_stage))
        if folder is not None:
            self._write(folder)
        return answer

    def _wait(self, status: Any) -> None:
        """Wait for a model that is loading; not for a server, nor for a model that can't be loaded."""
        while (missing := self.chosen.missing()) and "loaded" in (told := self.chosen.status()):
            if told.get("last_fault"):
                return
            status.update(missing)
            time.sleep(0.1)

    def _write(self, folder: Path) -> None:
        from s3d_ros.prompt.show import show

        if not self.seen:
            (folder / _PAGE).unlink(missing_ok=True)  # of an earlier question
            self.console.print("no model was asked, so there is nothing to show", style="dim")
            return
        page = show(*self.seen[-1][:1], folder, self.seen[-1][1])  # the last holds what was said before it
        self.console.print(f"what the model saw: {page}", style="dim", soft_wrap=True)


@contextmanager
def asker(
    run: Path, settings: Mapping[str, Any], situation: str = "", show: Path | None = None, save: Path | None = None
) -> Iterator[Asker]:
    """Open a run, or a video, and an answerer. settings: of ``AnswererConfig``, by name, and ``video.*`` for a video.

    save: folder for the run that is made of a video. Raises RunError, RecordingError, ConfigError, AskError.
    """
    console = Console(stderr=True, highlight=False)
    with ExitStack() as opened:
        if is_video(run):
            video, settings = split_settings(settings)
            config = AnswererConfig.from_flat(settings)
            config.chosen()
            with progress_bar("looking at the video", "pictures") as progress:
                made = video_scene(run, video, save, config.prompt.frames, console, progress)
                scene = opened.enter_context(made)
        else:
            config = AnswererConfig.from_flat(settings)
            config.chosen()
            if save is not None:
                raise AskError(f"--save is for what is made of a video; {run} is none")
            scene = load_scene(run)
        stand = read_situation(situation, scene) if situation else None
        seen: list[tuple[Chat, str]] = []
        chosen = choose(config, on_prompt=lambda chat, reply: seen.append((chat, reply)))
        opened.callback(chosen.answerer.close)
        yield Asker(scene, chosen, stand, show, console, seen)


def read_situation(text: str, scene: Scene) -> Situation:
    """Read "x y z heading_deg": metres in the map, degrees counterclockwise from the map's x axis laid on the floor."""
    try:
        x, y, z, degrees = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        degrees = np.nan
    if not np.isfinite(degrees) or not np.isfinite([x, y, z]).all():
        raise AskError(f"--situation {text!r}: write 'X Y Z DEG', such as '1.5 2.0 1.2 90': metres, then the heading")
    R = level_rotation(scene.up)
    ahead = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])
    return Situation(np.array([x, y, z]), R.T @ ahead)
