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
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from s3d_ros.config import SegmentConfig
from s3d_ros.types import F64, Frame, Instances

RESTART_S = 5.0
NICENESS = 5  # fusion goes first
_NO_COLOR = np.zeros((1, 1, 3), np.uint8)


class SegmentProcess:
    """Sends one frame at a time to a spawned process and remembers it until its instances are back.

    on_fault: told in words when the process died; it is started again, at most every RESTART_S.
    """

    def __init__(self, config: SegmentConfig, on_fault: Callable[[str], None]) -> None:
        self._config = config
        self._on_fault = on_fault
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._frame: Frame | None = None
        self._last_ns: int | None = None
        self._started_at = -RESTART_S

    def offer(self, frame: Frame, up: F64) -> None:
        """Send a frame if the last one is back and segment.period_s has passed; else leave it."""
        if self._frame is not None or not self._is_due(frame.stamp_ns) or not self._ensure_started():
            return
        try:
            assert self._pipe is not None
            self._pipe.send((dataclasses.replace(frame, color=_NO_COLOR), up))
        except OSError as error:
            self._lost(error)
        else:
            self._frame, self._last_ns = frame, frame.stamp_ns

    def take(self) -> tuple[Frame, Instances] | None:
        """Return the frame that was sent and its instances, once they are there."""
        if self._frame is None or self._pipe is None:
            return None
        try:
            if not self._pipe.poll():
                return None
            found = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._lost(error)
            return None
        frame, self._frame = self._frame, None
        if isinstance(found, str):
            self._on_fault(f"a frame could not be segmented: {found}")
            return None
        return frame, found

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
        self._process = self._pipe = self._frame = None

    def _is_due(self, stamp_ns: int) -> bool:
        if self._last_ns is None or stamp_ns < self._last_ns:
            return True
        return stamp_ns - self._last_ns >= self._config.period_s * 1e9

    def _ensure_started(self) -> bool:
        if self._process is not None:
            return True
        if time.monotonic() - self._started_at < RESTART_S:
            return False
        self._started_at = time.monotonic()
        # Not forked: that is unsafe beside DDS's threads. Not by multiprocessing's spawn either, which imports the
        # program's main module anew, whatever it does.
        self._pipe, other = multiprocessing.Pipe()
        command = [sys.executable, "-m", __name__, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()
        self._pipe.send(self._config)
        return True

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
