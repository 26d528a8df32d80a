"""A copy of a map at one moment, taken in short steps while mapping goes on, for another process to read.

As virtual machines are moved: everything is copied piece by piece, then what changed meanwhile, and in the last step,
between two frames, the little that changed since, with all that is small. The copy lies in memory that is nobody's
file: /dev/shm may be small (64 MiB in Docker), and of a process that is killed nothing is left over.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from s3d_ros.state import State, joined

if TYPE_CHECKING:
    from s3d_ros.pipeline import Pipeline  # the process that reads a copy needs no Open3D

_BLOCKS_AT_ONCE = 128
_ROUNDS = 3
_ROOM_AT_ONCE = 1 << 22  # bytes
_DONE = object()


@dataclass(frozen=True)
class _Copy:
    offset: int
    dtype: str  # "": bytes
    shape: tuple[int, ...]


class Memory:
    """Arrays in memory that another process can read: it is given the ``handle``."""

    def __init__(self, handle: int | None = None) -> None:
        """handle: of a memory that another process made."""
        self.handle = _new_memory() if handle is None else handle
        self._size = self._reserved = 0
        self._kept: dict[int, tuple[np.ndarray | bytes, _Copy]] = {}

    def keep(self, value: np.ndarray | bytes) -> int:
        """Copy what nobody writes to, so that ``add`` need not; return its size in bytes."""
        self._kept[id(value)] = (value, self.add(value))
        return value.nbytes if isinstance(value, np.ndarray) else len(value)

    def reserve(self, size: int) -> None:
        """Have the system find room for so many bytes more than there is yet: half of a copy's time."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.handle, self._reserved, size)
            self._reserved += size

    def add(self, value: Any) -> Any:
        """Copy the arrays of a state; return it with their places instead."""
        if isinstance(value, np.ndarray | bytes):
            if id(value) in self._kept:
                return self._kept[id(value)][1]
            if isinstance(value, bytes):
                copy, rest = _Copy(self._size, "", (len(value),)), memoryview(value)
            else:
                copy = _Copy(self._size, value.dtype.str, value.shape)
                rest = memoryview(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            while rest:
                written = os.pwrite(self.handle, rest, self._size)
                self._size, rest = self._size + written, rest[written:]
            self._reserved = max(self._reserved, self._size)
            return copy
        if isinstance(value, Mapping):
            return {k: self.add(v) for k, v in value.items()}
        return [self.add(v) for v in value] if isinstance(value, list) else value

    def take(self, value: Any) -> Any:
        """Return what was given to ``add``, from what it returned."""
        if isinstance(value, _Copy):
            out = np.empty(value.shape, value.dtype or np.uint8)
            done, whole = 0, memoryview(out.reshape(-1).view(np.uint8).data)
            while done < len(whole):
                done += os.preadv(self.handle, [whole[done:]], value.offset + done)
            return out if value.dtype else out.tobytes()
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
        self._blocks: list[State] = []
        self._steps = self._copy_ahead()

    def step(self) -> State | None:
        """Copy some, a few milliseconds' work; with the last step return what ``taken_from`` needs."""
        if next(self._steps, _DONE) is not _DONE:
            return None
        fusion = self._pipeline.fusion
        self._blocks.append(self._memory.add(fusion.state(fusion.watch(False))))
        return {**self._memory.add(self._pipeline.state(surface={})), "fusion": self._blocks}

    def _copy_ahead(self) -> Iterator[None]:
        fusion, memory = self._pipeline.fusion, self._memory
        fusion.watch(True)
        waiting = fusion.index.all()
        for _ in range(_ROUNDS):
            for start in range(0, len(waiting), _BLOCKS_AT_ONCE):
                self._blocks.append(memory.add(fusion.state(waiting[start : start + _BLOCKS_AT_ONCE])))
                yield
            waiting = fusion.watch(True)
        copied = 0
        for value in self._unchanging():
            copied += memory.keep(value)
            if copied > _ROOM_AT_ONCE // 4:
                copied = 0
                yield
        size = sum(values.nbytes for values in self._pipeline.objects.state()["voxels"].values())
        for _ in range(size // _ROOM_AT_ONCE + 1):
            memory.reserve(_ROOM_AT_ONCE)
            yield

    def _unchanging(self) -> Iterator[np.ndarray | bytes]:
        for view in self._pipeline.views.state()["views"]:
            yield from (view["jpeg"], view["xyz"], view["pixels"])
        for anchor in () if self._pipeline.past is None else self._pipeline.past.anchors:
            yield from (v for v in (anchor.color, anchor.depth, anchor.instances) if v is not None)


def taken_from(memory: Memory, copied: State) -> State:
    """Return the pipeline's state from what the last step returned."""
    state: State = memory.take(copied)
    return {**state, "fusion": joined(state["fusion"])}


def _new_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("s3d_map")
    with tempfile.TemporaryFile() as file:  # not Linux
        return os.dup(file.fileno())
