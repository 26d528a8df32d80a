"""What all kinds of recordings share: their messages go through the same assembler as a live robot's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.types import Arrival, PoseNews


class RecordingError(ValueError):
    """A recording that can't be used; the message says what it is, what it lacks and what to do."""


class AssembledRecording(ABC):
    """A recording whose messages go through a FrameAssembler; its kinds say how it is fed.

    frame_id: the frame that its poses are in, empty where it has no name.
    """

    z_up = True  # whether the map's z is up, as REP-103 has it

    def __init__(self, name: str, config: FramesConfig, frame_count: int | None, frame_id: str = "") -> None:
        self.name = name
        self.config = config
        self.frame_count = frame_count
        self._frame_id = frame_id
        self._assembler: FrameAssembler | None = None

    @property
    def has_instances(self) -> bool:
        return False

    @property
    def frame_id(self) -> str:
        return self._frame_id or "map"

    @property
    def drops(self) -> Counter[str]:
        return self._assembler.drops if self._assembler else Counter()

    @property
    def notes(self) -> Counter[str]:
        return self._assembler.notes if self._assembler else Counter()

    @property
    def restarts(self) -> int:
        return self._assembler.restarts if self._assembler else 0

    def sentences(self) -> list[str]:
        return self._assembler.tally.sentences() if self._assembler else []

    def arrivals(self, keep: Callable[[int], bool] | None = None) -> Iterator[Arrival]:
        assembler = FrameAssembler(
            self.config,
            map_frame=self._frame_id,
            offline=True,
            expect_instances=self.has_instances,
            keep=keep,
        )
        self._assembler = assembler
        for _ in self._feed(assembler):
            yield from _with_news(assembler, assembler.pop())
        yield from _with_news(assembler, assembler.finish())

    @property
    def late_news(self) -> tuple[PoseNews, ...]:
        """Corrections of poses that came after the last frame."""
        return self._assembler.take_pose_news() if self._assembler else ()

    def __iter__(self) -> Iterator[Arrival]:
        return self.arrivals()

    @abstractmethod
    def _feed(self, assembler: FrameAssembler) -> Iterator[None]:
        """Feed the assembler; yield whenever something may have become complete."""


def _with_news(assembler: FrameAssembler, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    for arrival in arrivals:
        news = assembler.take_pose_news()
        yield replace(arrival, pose_news=news) if news else arrival
