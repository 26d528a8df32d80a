"""Saves the map in a process of its own: compressing and writing take seconds. Free of rclpy."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from s3d_ros.mapfile import MapFileError, check_target, write_map
from s3d_ros.snapshot import Memory, Snapshot, taken_from
from s3d_ros.state import State

if TYPE_CHECKING:
    from s3d_ros.pipeline import Pipeline  # the process itself needs no Open3D

NICENESS = 10  # mapping goes first
OnSaved = Callable[[bool, str], None]


class SaveProcess:
    """Saves one map after the other. All methods are called by the thread that maps, which is never kept long.

    The process starts while the map is copied. It needs nobody any longer once it has the copy: when the mapper is
    killed then, the map is written all the same.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._waiting: deque[tuple[Path, OnSaved]] = deque()
        self._snapshot: Snapshot | None = None
        self._memory: Memory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._directory = Path()
        self._on_saved: OnSaved | None = None

    @property
    def is_copying(self) -> bool:
        """Whether ``step`` has something to do at once."""
        return self._snapshot is not None

    @property
    def is_busy(self) -> bool:
        """Whether a map is being saved."""
        return self._pipe is not None

    def save(self, directory: Path, on_saved: OnSaved) -> None:
        """Save the map as it will be in a moment; ``on_saved`` is told whether it is on the disk, and what is said."""
        try:
            self._waiting.append((check_target(directory), on_saved))
        except MapFileError as error:
            on_saved(False, str(error))

    def step(self) -> None:
        """Go on with the copy, or see whether the process is done; then the next one is begun."""
        if self._pipe is None:
            if self._waiting:
                self._begin(*self._waiting.popleft())
        elif self._snapshot is not None:
            self._copy()
        elif self._pipe.poll():
            try:
                success, text = self._pipe.recv()
            except (EOFError, OSError) as error:
                success, text = False, f"the saving process ended ({type(error).__name__}); the last map stays"
            self._end(success, text)

    def finish_copy(self) -> None:
        """Copy what is left at once: another map comes in its place."""
        while self._snapshot is not None:
            self._copy()

    def close(self, patience_s: float) -> None:
        """Finish what was asked for, as far as patience goes; a process that has its copy goes on alone."""
        deadline = time.monotonic() + patience_s
        while (self._waiting or self.is_busy) and time.monotonic() < deadline:
            self.step()
            if self._pipe is not None and self._snapshot is None:
                self._pipe.poll(0.1)
        if self.is_busy:
            self._end(False, "the mapper ended before it was told that the map is on the disk")

    def _begin(self, directory: Path, on_saved: OnSaved) -> None:
        self._directory, self._on_saved = directory, on_saved
        self._memory = Memory()
        self._pipe, other = multiprocessing.Pipe()
        handles = [other.fileno(), self._memory.handle]
        # Not forked, and not by multiprocessing's spawn: see segment_process. In a session of its own, because Ctrl-C
        # goes to all of this one.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, handles)],
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        other.close()
        self._snapshot = Snapshot(self._pipeline, self._memory)

    def _copy(self) -> None:
        assert self._snapshot is not None and self._pipe is not None
        with self._pipeline.times.measure("save"):
            copied = self._snapshot.step()
            if copied is None:
                return
            self._snapshot = None
            with contextlib.suppress(OSError):  # it ended: told when its answer is read
                self._pipe.send((self._directory, copied))

    def _end(self, success: bool, text: str) -> None:
        on_saved, self._on_saved = self._on_saved, None
        for thing in (self._pipe, self._memory):
            if thing is not None:
                thing.close()
        self._pipe = self._memory = self._snapshot = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0 if success else 0.1)
        if on_saved is not None:
            on_saved(success, text)


def _work(pipe: Connection, memory: Memory) -> tuple[bool, str]:
    directory: Path
    state: State
    directory, copied = pipe.recv()
    state = taken_from(memory, copied)
    memory.close()
    try:
        folder = write_map(directory, state)
    except MapFileError as error:
        return False, str(error)
    size_mb = sum(path.stat().st_size for path in folder.rglob("*")) / 1e6
    things = sum(thing["id"] > 0 for thing in state["objects"]["objects"])
    return True, f"{folder}: {things} objects, {len(state['views']['views'])} view frames, {size_mb:.1f} MB"


if __name__ == "__main__":
    os.nice(NICENESS)
    with contextlib.suppress(EOFError), Connection(int(sys.argv[1])) as pipe:  # the mapper was killed first
        said = _work(pipe, Memory(int(sys.argv[2])))
        with contextlib.suppress(OSError):  # ... or meanwhile
            pipe.send(said)
