"""Segmentation of depth in a process of its own, at its own rate beside fusion.

Beside, not between: a frame takes longer to segment than to fuse, and Python runs one thread at a time. Free of rclpy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from s3d_ros.config import SegmentConfig
from s3d_ros.timing import Periodic
from s3d_ros.types import F64, Frame, Instances

RESTART_S = 5.0
NICENESS = 5  # fusion goes first
WAITING = 3  # frames
READY = None  # what the process says first
_NO_COLOR = np.zeros((1, 1, 3), np.uint8)


class SegmentProcess:
    """Sends frames to a process of their own, one at a time, and remembers them until their instances are back.

    Which frames are due depends on their stamps alone, so that a recording played live has the same ones segmented
    as offline. While one is in work the next ones wait; when the process can't keep up, the oldest are left out.
    on_fault: told in words when the process died; it is started again, at most every RESTART_S.
    """

    def __init__(self, config: SegmentConfig, on_fault: Callable[[str], None]) -> None:
        self._config = config
        self._on_fault = on_fault
        self._due = Periodic(config.period_s)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._is_ready = False  # before that, sending would wait for its imports
        self._in_work: Frame | None = None
        self._waiting: deque[tuple[Frame, F64]] = deque(maxlen=WAITING)
        self._started_at = -RESTART_S

    def start(self) -> None:
        """Start the process now: it takes a second or two. ``offer`` does so too."""
        if self._process is not None or time.monotonic() - self._started_at < RESTART_S:
            return
        self._started_at = time.monotonic()
        # Not forked: that is unsafe beside DDS's threads. Not by multiprocessing's spawn either, which imports the
        # program's main module anew, whatever it does.
        self._pipe, other = multiprocessing.Pipe()
        command = [sys.executable, "-m", __name__, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()

    def offer(self, frame: Frame, up: F64) -> None:
        """Take a frame if segment.period_s has passed since the last one; else leave it."""
        if self._due.due(frame.stamp_ns):
            self.start()
            self._waiting.append((frame, up))
            self._send()

    def take(self) -> tuple[Frame, Instances] | None:
        """Return the frame that was in work and its instances, once they are there; never waits."""
        try:
            if self._pipe is None or not self._pipe.poll():
                return None
            found = self._pipe.recv()
            if found is READY:
                self._pipe.send(self._config)
                self._is_ready = True
        except (EOFError, OSError) as error:
            self._lost(error)
            return None
        frame, self._in_work = self._in_work, None
        self._send()
        if isinstance(found, str):
            self._on_fault(f"a frame could not be segmented: {found}")
        return None if frame is None or not isinstance(found, Instances) else (frame, found)

    def clear(self) -> None:
        """Leave out what waits."""
        self._waiting.clear()

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()  # its end of file ends the process
        if self._process is not None:
            try:
                self._process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._pipe = self._in_work = None
        self._is_ready = False

    def _send(self) -> None:
        if self._pipe is None or not self._is_ready or self._in_work is not None or not self._waiting:
            return
        frame, up = self._waiting.popleft()
        try:
            self._pipe.send((dataclasses.replace(frame, color=_NO_COLOR), up))
        except OSError as error:
            self._lost(error)
        else:
            self._in_work = frame

    def _lost(self, error: BaseException) -> None:
        self.close()
        self._on_fault(f"the segmenting process ended ({type(error).__name__}); it is started again")


def _work(pipe: Connection) -> None:
    """Segment what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the node ends us
    os.nice(NICENESS)
    import cv2

    from s3d_ros.segment.geometric import GeometricSegmenter

    cv2.setNumThreads(1)
    pipe.send(READY)
    segmenter = GeometricSegmenter(pipe.recv())
    while True:
        frame, up = pipe.recv()
        try:
            found: Instances | str = segmenter.segment(frame, up)
        except Exception as error:  # told, and the next frame is tried
            found = f"{type(error).__name__}: {error}"
        pipe.send(found)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):  # the node closed its end, or is no more
        _work(Connection(int(sys.argv[1])))
