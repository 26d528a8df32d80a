"""A copy of a map at one moment, taken in short steps while mapping goes on, for another process to read.

As virtual machines are moved: everything is copied piece by piece, then what changed meanwhile, and in the last step,
between two frames, the little that changed since, with all that is small. The copy lies in memory that is nobody's
file: /dev/shm may be small (64 MiB in Docker), and of a process that is killed nothing is left over.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from s3d_ros.state import State, joined

if TYPE_CHECKING:
    from s3d_ros.pipeline import Pipeline  # the process that reads a copy needs no Open3D

_BLOCKS_AT_ONCE = 128
_ROUNDS = 3


@dataclass(frozen=True)
class _Copy:
    offset: int
    dtype: str
    shape: tuple[int, ...]


class Memory:
    """Arrays in memory that another process can read: it is given the ``handle``."""

    def __init__(self, handle: int | None = None) -> None:
        """handle: of a memory that another process made."""
        self.handle = _new_memory() if handle is None else handle
        self._size = 0

    def add(self, value: Any) -> Any:
        """Copy the arrays of a state; return it with their places instead."""
        if isinstance(value, np.ndarray):
            copy = _Copy(self._size, value.dtype.str, value.shape)
            rest = memoryview(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            while rest:
                written = os.pwrite(self.handle, rest, self._size)
                self._size, rest = self._size + written, rest[written:]
            return copy
        if isinstance(value, Mapping):
            return {k: self.add(v) for k, v in value.items()}
        return [self.add(v) for v in value] if isinstance(value, list) else value

    def take(self, value: Any) -> Any:
        """Return what was given to ``add``, from what it returned."""
        if isinstance(value, _Copy):
            out = np.empty(value.shape, value.dtype)
            done, whole = 0, memoryview(out.reshape(-1).view(np.uint8).data)
            while done < len(whole):
                done += os.preadv(self.handle, [whole[done:]], value.offset + done)
            return out
        if isinstance(value, Mapping):
            return {k: self.take(v) for k, v in value.items()}
        return [self.take(v) for v in value] if isinstance(value, list) else value

    def close(self) -> None:
        """Let go of the memory; it is freed when the last process did."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class Snapshot:
    """Copies the map of a pipeline. To be stepped by the thread that maps, between two frames."""

    def __init__(self, pipeline: Pipeline, memory: Memory) -> None:
        self._pipeline, self._memory = pipeline, memory
        self._parts: list[State] = []
        self._rounds = 0
        pipeline.fusion.watch(True)
        self._waiting = pipeline.fusion.index.all()

    def step(self) -> State | None:
        """Copy some, a few milliseconds' work; with the last step return what ``taken_from`` needs."""
        fusion = self._pipeline.fusion
        if not len(self._waiting) and self._rounds < _ROUNDS:
            self._rounds += 1
            self._waiting = fusion.watch(True)
        if len(self._waiting):
            part, self._waiting = self._waiting[:_BLOCKS_AT_ONCE], self._waiting[_BLOCKS_AT_ONCE:]
            self._parts.append(self._memory.add(fusion.state(part)))
            return None
        self._parts.append(self._memory.add(fusion.state(fusion.watch(False))))
        return {**self._memory.add(self._pipeline.state(surface={})), "fusion": self._parts}


def taken_from(memory: Memory, copied: State) -> State:
    """Return the pipeline's state from what the last step returned."""
    state: State = memory.take(copied)
    return {**state, "fusion": joined(state["fusion"])}


def _new_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("s3d_map")
    with tempfile.TemporaryFile() as file:  # not Linux
        return os.dup(file.fileno())
