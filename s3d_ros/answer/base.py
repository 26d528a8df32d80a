"""What every answerer is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from s3d_ros.types import Answer, Question, Scene


@runtime_checkable
class Answerer(Protocol):
    """Answers a question about a scene.

    ``answer`` never raises: what it can't answer comes back with ``Answer.error`` set and a text
    that says why and how to mend it. It may be called from several threads at once.
    """

    name: str

    def answer(self, question: Question, scene: Scene) -> Answer:
        """Answer from what ``scene`` holds, and from nothing else."""
        ...
