"""Children of a program: each with its own log, and none left over when it ends, however it ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 8.0


class ProcessError(ValueError):
    """A child that ended when it should not; the message holds the end of its log."""


class Processes:
    """A context manager: what was started in it is stopped at its end, first kindly, then for certain."""

    def __init__(
        self, logs: Path, environment: Mapping[str, str] | None = None, patience_s: float = _PATIENCE_S
    ) -> None:
        """logs: folder for one log file each. environment: variables laid over this program's own.

        patience_s: how long a child gets to end after each signal.
        """
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._patience_s = logs, patience_s
        self._environment = {**os.environ, **(environment or {})}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Run this Python with arguments, such as "-m", "s3d_ros.ros.mapper"."""
        with open(self.log(name), "wb") as log, _signals_wait():
            self._children[name] = subprocess.Popen(
                [*_ended_with_parent(), sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C goes to this program, which then stops them in order
            )

    def log(self, name: str) -> Path:
        """Return the path of a child's log."""
        return self._logs / f"{name}.log"

    def has_ended(self, name: str) -> bool:
        """Whether a child ended by itself, and well. Raises ProcessError when it failed."""
        code = self._children[name].poll()
        if code not in (None, 0):
            raise ProcessError(f"{name} ended with code {code}. Its log, {self.log(name)}, ends:\n{self._tail(name)}")
        return code is not None

    def check(self) -> None:
        """Raise ProcessError when a child failed."""
        for name in self._children:
            self.has_ended(name)

    def stop(self) -> None:
        """End all children, the last one started first; return when they are gone."""
        running = [c for c in reversed(self._children.values()) if c.poll() is None]
        for order in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for child in running:
                if child.poll() is None:
                    os.killpg(child.pid, order)
            deadline = time.monotonic() + self._patience_s
            while any(c.poll() is None for c in running) and time.monotonic() < deadline:
                time.sleep(0.02)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tail(self, name: str, lines: int = 12) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])


def _ended_with_parent() -> list[str]:
    """Return the command before a child's own that has the kernel end it when this program is killed outright.

    Not ``preexec_fn``: what runs between fork and exec hangs where another thread held a lock at the fork.
    """
    setpriv = shutil.which("setpriv")  # of util-linux
    if setpriv is None:
        return []
    # This program may be killed before the kernel was asked: then the child has another parent by now, and ends.
    alone = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
    return [setpriv, "--pdeathsig", "TERM", "--", "sh", "-c", alone, "sh"]


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Have Ctrl-C and its like come after the block: a child that was started but not yet noted would be left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *arrived: came.append(arrived)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for which, frame in came:
        handler = before[signal.Signals(which)]
        if callable(handler):
            handler(which, frame)
        elif handler == signal.SIG_DFL:
            os.kill(os.getpid(), which)


def end_with_parent() -> None:
    """Have the kernel end this process, a child by multiprocessing, when its parent is killed outright."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid != os.getppid():  # killed before the kernel was asked
            os.kill(os.getpid(), signal.SIGTERM)
