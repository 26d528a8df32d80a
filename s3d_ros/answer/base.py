"""What every answerer is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from s3d_ros.types import Answer, Question, Scene


def _unwatched(stage: str, partial: str) -> None:
    pass


@dataclass(frozen=True)
class Progress:
    """How an answer under way tells where it is, and how it is stopped.

    on_stage: gets the stage ("reading", "answering") and the answer's text so far. cancelled: set from any thread;
    the answerer then stops working and returns at once, whatever it returns.
    """

    on_stage: Callable[[str, str], None] = _unwatched
    cancelled: threading.Event = field(default_factory=threading.Event)


UNWATCHED = Progress()  # nobody sets its event


@runtime_checkable
class Answerer(Protocol):
    """Answers a question about a scene.

    ``answer`` never raises: what it can't answer comes back with ``Answer.error`` set and a text
    that says why and how to mend it. It may be called from several threads at once.
    """

    name: str

    def missing(self) -> str:
        """Say what it can't answer without ("loading the model: 40 %"), empty when it can answer."""
        ...

    def update(self, scene: Scene) -> None:
        """Hear of a newer scene, to read ahead what questions about it will need; returns at once."""
        ...

    def answer(self, question: Question, scene: Scene, progress: Progress = UNWATCHED) -> Answer:
        """Answer from what ``scene`` holds, and from nothing else."""
        ...

    def close(self) -> None:
        """Let go of what it holds: models, processes."""
        ...
