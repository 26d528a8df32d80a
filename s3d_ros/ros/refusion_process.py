"""The map made anew in a process of its own, while frames go on being mapped. Free of rclpy.

A thread feeds the process with anchors, also with those that come meanwhile, takes what it made, and draws it; the
mapping thread only exchanges the old map for the new one. The thread rests often: Python runs one thread at a time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from s3d_ros.config import Config
from s3d_ros.past import Past, Remaking
from s3d_ros.refusion import Refusion
from s3d_ros.types import F64
from s3d_ros.views import ViewSelector

NICENESS = 10  # frames go first
RETRY_S = 10.0
_AT_ONCE = 16  # anchors
_LAST_FEW = 2  # anchors that are not worth sending
_ROUNDS = 8
_REST_S = 0.004
_PIECE = 1 << 20  # bytes
_READY, _SEEN, _FINISH = "ready", "seen", "finish"


@dataclass
class _Job:
    past: Past
    remaking: Remaking
    up: F64
    made: Refusion | None = None
    process: subprocess.Popen[bytes] | None = None
    views: ViewSelector | None = None
    is_over: bool = False


class RefusionProcess:
    """One map is made anew at a time. on_fault: told in words when that failed; the map stays as it is."""

    def __init__(self, config: Config, on_fault: Callable[[str], None]) -> None:
        self._config = config
        self._on_fault = on_fault
        self._job: _Job | None = None
        self._not_before = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a map is being made anew, or waits to be taken."""
        return self._job is not None

    @property
    def running(self) -> subprocess.Popen[bytes] | None:
        """The process at work, None while there is none."""
        return None if self._job is None else self._job.process

    def begin(self, past: Past, remaking: Remaking, up: F64, views: ViewSelector | None = None) -> None:
        """Start making the map anew; not at once after that failed.

        views: to be moved along, as far as that can be done before the exchange.
        """
        if time.monotonic() < self._not_before:
            return
        self._job = job = _Job(past, remaking, up, views=views)
        threading.Thread(target=self._run, args=(job,), name="refusion", daemon=True).start()

    def take(self) -> tuple[Refusion, Remaking] | None:
        """Return the map once it is there; never waits."""
        job = self._job
        if job is None or not job.is_over:
            return None
        self._job = None
        return None if job.made is None else (job.made, job.remaking)

    def cancel(self) -> None:
        """Forget what is being made."""
        job, self._job = self._job, None
        if job is not None and job.process is not None:
            job.process.kill()

    close = cancel

    def _run(self, job: _Job) -> None:
        try:
            made = self._made(job)
            if self._job is job:
                job.made = made
        except Exception as error:
            if self._job is job:
                self._not_before = time.monotonic() + RETRY_S
                self._on_fault(f"the map could not be made anew ({type(error).__name__}: {error}); it stays as it is")
        finally:
            if job.process is not None:
                job.process.kill()
                job.process.wait()
            job.is_over = True

    def _made(self, job: _Job) -> Refusion:
        pipe, other = multiprocessing.Pipe()
        command = [sys.executable, "-m", __name__, str(other.fileno())]
        few = {**os.environ, "OMP_NUM_THREADS": "1"}
        job.process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, env=few)
        other.close()
        with pipe:
            _expect(pipe, _READY)
            pipe.send((self._config, job.up, job.remaking.memory))
            seen_ns = -1
            for _ in range(_ROUNDS):
                anchors = job.past.anchors_of(job.remaking, seen_ns)
                if seen_ns >= 0 and len(anchors) <= _LAST_FEW:
                    break
                for start in range(0, len(anchors), _AT_ONCE):
                    pipe.send(anchors[start : start + _AT_ONCE])
                    _expect(pipe, _SEEN)
                seen_ns = anchors[-1].stamp_ns if anchors else 0
            pipe.send(_FINISH)
            state = _receive(pipe)
        made = Refusion.resumed(self._config, job.up, state, _rest)
        for _ in range(_ROUNDS):  # what comes while this is done is seen, too: the exchange waits for nothing
            made.prepare(job.views, job.remaking.correction, _rest)
            anchors = job.past.anchors_of(job.remaking, made.last_ns)
            if not anchors:
                break
            for anchor in anchors:
                made.see([anchor])
                _rest()
        return made

    @staticmethod
    def forget(made: Refusion) -> None:
        """Let go of what was exchanged for a map, the old one, in a thread of its own: that takes time."""
        threading.Thread(target=_let_go, args=([made],), name="forgetting", daemon=True).start()


def _let_go(held: list[Refusion]) -> None:
    made = held.pop()
    made.pipeline.fusion.release(_rest)


def _rest() -> None:
    time.sleep(_REST_S)


def _expect(pipe: Connection, word: str) -> None:
    answer = pipe.recv()
    if answer != word:
        raise RuntimeError(str(answer))


def _send(pipe: Connection, value: Any) -> None:
    """Send arrays beside the pickle: their bytes are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    pipe.send([raw.nbytes for raw in raws])
    pipe.send_bytes(head)
    for raw in raws:
        for start in range(0, raw.nbytes, _PIECE):
            pipe.send_bytes(raw[start : start + _PIECE])


def _receive(pipe: Connection) -> Any:
    sizes = pipe.recv()
    if not isinstance(sizes, list):
        raise RuntimeError(str(sizes))
    head = pipe.recv_bytes()
    buffers = [np.empty(n, np.uint8) for n in sizes]
    for buffer in buffers:
        for start in range(0, len(buffer), _PIECE):  # a large one would be copied while Python's lock is held
            pipe.recv_bytes_into(buffer[start : start + _PIECE])
    return pickle.loads(head, buffers=buffers)  # our own process wrote it


def _work(pipe: Connection) -> None:
    """Make one map anew of the anchors that come through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the node ends us
    os.nice(NICENESS)
    import cv2

    cv2.setNumThreads(1)
    pipe.send(_READY)
    try:
        refusion = Refusion(*pipe.recv())
        while True:
            anchors = pipe.recv()
            if isinstance(anchors, str):
                break
            refusion.see(anchors)
            pipe.send(_SEEN)
        _send(pipe, refusion.state())
        with contextlib.suppress(EOFError):
            pipe.recv()  # until it was read
    except (EOFError, OSError):
        raise
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):  # the node closed its end, or is no more
        _work(Connection(int(sys.argv[1])))
