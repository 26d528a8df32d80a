"""The thread between the mapper's callbacks and the pipeline. Free of rclpy.

Callbacks put messages in and return; the thread decodes, pairs and maps them. While frames wait, two of three are
mapped in haste: their objects are followed, their depth is not fused. When that is not enough it drops frames, the
oldest first, and counts them: a map of the present is worth more than one of a second ago.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from s3d_ros.frames import FrameAssembler
from s3d_ros.messages import IMAGES, MessageRouter, Role
from s3d_ros.pipeline import FrameResult, Pipeline
from s3d_ros.ros.refusion_process import RefusionProcess
from s3d_ros.types import Arrival, Frame, Instances, PoseNews

MAX_IMAGES = 240  # that wait to be paired: two seconds of three streams at 30 Hz, with room
SETTLE_S = 1.0  # without a new frame: the map is brought up to date, as at the end of a recording
MOST_IN_HASTE = 2  # frames, one after the other
IDLE_S = 0.05  # how often the thread looks for instances from elsewhere when nothing arrives

LATE = {
    "late": "the mapper was busy with an earlier frame (see max_late_frames)",
    "overrun": "images came faster than they could be paired",
}


class DepthSegmenter(Protocol):
    """Finds instances in depth, beside the pipeline; see ``segment_process``."""

    def offer(self, frame: Frame, up: Any) -> None:
        """Take a frame if it is time and nothing is under way."""

    def take(self) -> tuple[Frame, Instances] | None:
        """Return what has become ready."""

    def clear(self) -> None:
        """Leave out what waits."""


class MapSaver(Protocol):
    """Saves maps beside the pipeline; see ``save_process``."""

    @property
    def is_copying(self) -> bool:
        """Whether ``step`` has something to do at once."""

    def save(self, directory: Path, on_saved: Callable[[bool, str], None]) -> None:
        """Save the map."""

    def step(self) -> None:
        """Go on with it."""

    def finish_copy(self) -> None:
        """Copy the rest: another map comes."""


class MappingWorker:
    """Owns assembler and pipeline: nobody else touches them.

    on_frame: called in the thread after each frame, or a frame's late instances, with the pipeline's result.
    on_fault: called with an exception that the pipeline raised; the frame is counted, the thread goes on.
    """

    def __init__(
        self,
        assembler: FrameAssembler,
        pipeline: Pipeline,
        on_frame: Callable[[Frame, FrameResult, bool], None],
        *,
        on_fault: Callable[[BaseException], None],
        segmenter: DepthSegmenter | None = None,
        remaker: RefusionProcess | None = None,
        saver: MapSaver | None = None,
        max_late_frames: int = 4,
        instances_timeout_s: float | None = None,
        has_detector: Callable[[], bool] = lambda: True,
    ) -> None:
        """instances_timeout_s: depth is segmented only after so long without given instances; None: always.

        has_detector: whether anybody is there to give some; while not, nobody is waited for.
        """
        self.assembler = assembler
        self.pipeline = pipeline
        # fused, in_haste (of these), segmented, late, overrun, failed, corrections, remade
        self.counts: Counter[str] = Counter()
        self._hasty = 0  # frames since the last whose depth was fused
        self.busy_s = 0.0
        self._router = MessageRouter(assembler)
        self._on_frame, self._on_fault = on_frame, on_fault
        self._segmenter, self._saver, self._remaker = segmenter, saver, remaker
        self._max_late = max_late_frames
        self._timeout_s, self._has_detector = instances_timeout_s, has_detector
        self._given_at = time.monotonic()
        self._inbox: deque[tuple[Role, Any]] = deque()
        self._tasks: deque[Callable[[], None]] = deque()  # to be done between two frames
        self._images = 0
        self._news = threading.Condition()
        self._stopping = False
        self._ready: deque[Arrival] = deque()
        self._left_out: deque[int] = deque(maxlen=1000)  # frames whose late instances are of no use
        self._newest_frame: Frame | None = None
        self._unsettled: Frame | None = None  # the last new frame, until the map was brought up to date after it
        self._mapped_at = 0.0
        self._newest = self._forgotten = -1  # indices of frames: the newest, and that at the last reset
        self._thread = threading.Thread(target=self._run, name="mapping", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the frame it is at; waits at most five seconds."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def feed(self, role: Role, msg: Any) -> None:
        """Take a message; from any thread, at once."""
        with self._news:
            if role in IMAGES:
                if self._images >= MAX_IMAGES:
                    self.counts["overrun"] += 1
                    return
                self._images += 1
            self._inbox.append((role, msg))
            self._news.notify()

    def reset(self, on_done: Callable[[], None]) -> None:
        """Have the map forgotten by the thread, between two frames; ``on_done`` is called there."""
        self._between_frames(lambda: self._change_map(self.pipeline.reset, on_done))

    def replace(self, other: Pipeline, on_done: Callable[[], None]) -> None:
        """Have the map replaced by another pipeline's, between two frames; ``on_done`` is called in the thread."""
        self._between_frames(lambda: self._change_map(lambda: self.pipeline.take_over(other), on_done))

    def save(self, directory: Path, on_saved: Callable[[bool, str], None]) -> None:
        """Have the map saved; ``on_saved`` is told in the thread whether it is on the disk, and what is said of it."""
        assert self._saver is not None
        save = self._saver.save
        self._between_frames(lambda: save(directory, on_saved))

    def _between_frames(self, task: Callable[[], None]) -> None:
        with self._news:
            self._tasks.append(task)
            self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                copying = self._saver is not None and self._saver.is_copying
                if not (self._inbox or self._tasks or self._ready or self._stopping or copying):
                    self._news.wait(IDLE_S)
                if self._stopping:
                    return
                messages, self._inbox = self._inbox, deque()
                tasks, self._tasks = self._tasks, deque()
                self._images = 0
            for task in tasks:
                self._guarded(task)
            if self._saver is not None:
                self._guarded(self._saver.step)
            self._guarded(self._pair, messages)
            if self._ready:
                start = time.perf_counter()
                arrival = self._ready.popleft()
                self._guarded(self._map, arrival.frame, arrival.instances, arrival.is_new)
                self.busy_s += time.perf_counter() - start
            if self._segmenter is not None and (found := self._segmenter.take()) is not None:
                self.counts["segmented"] += 1
                self._guarded(self._map, *found, False)
            self._guarded(self._remake)
            if self._unsettled is not None and time.monotonic() - self._mapped_at > SETTLE_S:
                frame, self._unsettled = self._unsettled, None
                self._guarded(self._settle, frame)

    def _change_map(self, change: Callable[[], None], on_done: Callable[[], None]) -> None:
        if self._saver is not None:
            self._saver.finish_copy()
        self._left_out.extend(a.frame.index for a in self._ready)
        self._ready.clear()
        self._forgotten = self._newest
        self._unsettled = self._newest_frame = None
        if self._remaker is not None:
            self._remaker.cancel()
        if self._segmenter is not None:
            self._segmenter.clear()
        change()
        on_done()

    def _remake(self) -> None:
        """Have the map made anew where poses were corrected, and go on with it once it is there."""
        past = self.pipeline.past
        if self._remaker is None or past is None or (self._saver is not None and self._saver.is_copying):
            return
        if (made := self._remaker.take()) is not None:
            self.pipeline.replace_by(*made)
            self._remaker.forget(made[0])
            self.counts["remade"] += 1
            self._unsettled = self._newest_frame  # told at once where no frames come
        if not self._remaker.is_busy and (remaking := past.wanted()) is not None:
            self._remaker.begin(past, remaking, self.pipeline.up, self.pipeline.views)

    def _correct(self, news: PoseNews) -> None:
        self.counts["corrections"] += 1
        try:
            self.pipeline.correct(news)
        except ValueError as error:
            self.assembler.tally.drop("path_invalid", error)

    def _settle(self, frame: Frame) -> None:
        version = self.pipeline.scene().map_version
        scene = self.pipeline.finish(frame)
        if scene.map_version != version:
            self._on_frame(frame, FrameResult(frame.index, frame.stamp_ns, {}, scene=scene), False)

    def _pair(self, messages: deque[tuple[Role, Any]]) -> None:
        for role, msg in messages:
            if role is Role.INSTANCES:
                self._given_at = time.monotonic()
            self._router.feed(role, msg)
        with self.pipeline.times.measure("pair"):
            self._ready.extend(self.assembler.pop())
        for news in self.assembler.take_pose_news():
            self._guarded(self._correct, news)
        waiting = sum(a.is_new for a in self._ready)
        while waiting > self._max_late:
            oldest = self._ready.popleft()
            if oldest.is_new:
                waiting -= 1
                self.counts["late"] += 1
                self._left_out.append(oldest.frame.index)

    def _map(self, frame: Frame, instances: Instances | None, is_new: bool) -> None:
        if not is_new and (frame.index in self._left_out or frame.index <= self._forgotten):
            return
        self._newest = max(self._newest, frame.index)
        in_haste = is_new and self._hasty < MOST_IN_HASTE and any(a.is_new for a in self._ready)
        result = self.pipeline.process(frame, instances, is_new, in_haste)
        if is_new:
            self._hasty = self._hasty + 1 if in_haste else 0
            self.counts["fused"] += 1
            self.counts["in_haste"] += in_haste
            self._unsettled, self._mapped_at = frame, time.monotonic()
            self._newest_frame = frame
        if is_new and instances is None and self._segmenter is not None and self._nobody_gives():
            self._segmenter.offer(frame, self.pipeline.up)
        with self.pipeline.times.measure("publish"):
            self._on_frame(frame, result, is_new)

    def _nobody_gives(self) -> bool:
        if self._timeout_s is None or time.monotonic() - self._given_at > self._timeout_s:
            return True
        return not self._has_detector()

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except Exception as error:  # one broken frame must not end the map
            self.counts["failed"] += 1
            self._on_fault(error)
