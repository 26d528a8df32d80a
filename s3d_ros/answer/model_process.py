"""One process that holds a language model, from its start to its end, as its owner sees it.

Nothing here waits for the process: a thread writes to it, another one reads what it says.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from s3d_ros.answer import model_wire as wire
from s3d_ros.chat import Chat

MAX_PICTURES_MB = 256  # that the process keeps for chats to come; its model keeps its own encodings
STOP_S = 1.0  # for the process to end when its pipe is closed


class ModelProcess:
    """Starts the process at once. on_message: called by the reading thread, with this object and what was said."""

    def __init__(self, start: wire.Start, on_message: Callable[[ModelProcess, wire.FromModel], None]) -> None:
        self._on_message = on_message
        self.started_at = self.heard_at = time.monotonic()
        # Not forked, and not by multiprocessing's spawn: see ros/segment_process
        self._pipe, other = multiprocessing.Pipe()
        command = [sys.executable, "-m", "s3d_ros.answer.model_child", str(other.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()
        self._ended = threading.Event()
        self._outbox: queue.SimpleQueue[wire.ToModel | None] = queue.SimpleQueue()
        self._newest_warm: wire.Warm | None = None
        self._shelf = Shelf(MAX_PICTURES_MB * 2**20)
        self._outbox.put(start)
        for target in (self._write, self._read):
            threading.Thread(target=target, name=f"model {target.__name__}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, message: wire.ToModel) -> None:
        """Send a message some time soon, with the pictures that it names; never waits, and never fails."""
        if isinstance(message, wire.Warm):
            self._newest_warm = message
        self._outbox.put(message)

    def has_ended(self) -> bool:
        """Whether it says nothing any longer, and all was read that it said."""
        return self._ended.is_set()

    def how_it_ended(self) -> str:
        """Say how, in words. Waits for it at most STOP_S."""
        try:
            code = self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "it closed its pipe"
        if code >= 0:
            return f"it ended with exit code {code}"
        hint = ", which the kernel does when memory is short," if -code == signal.SIGKILL else ""
        return f"it was ended by {signal.Signals(-code).name}{hint}".rstrip(",")

    def kill(self) -> None:
        """End it at once; returns when it is no more."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, by force after STOP_S. The pipe is closed by the reading thread then."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _write(self) -> None:
        try:
            while (message := self._outbox.get()) is not None:
                if isinstance(message, wire.Warm):
                    if message is not self._newest_warm:
                        continue  # overtaken
                    message = wire.Warm(self._placed(message.chat))
                elif isinstance(message, wire.Ask):
                    message = replace(message, chat=self._placed(message.chat))
                self._pipe.send(message)
        except OSError:
            pass  # it ended: the reading thread tells

    def _placed(self, chat: Chat) -> Chat:
        """Send what pictures of a chat the process does not have; return the chat with their keys alone."""
        for image in chat.images:
            if self._shelf.add(image.key, image.pixels.nbytes):
                self._pipe.send(wire.Picture(image.key, image.pixels, image.beside))
        out = self._shelf.surplus({image.key for image in chat.images})
        if out:
            self._pipe.send(wire.Forget(out))
        return wire.without_pixels(chat)

    def _read(self) -> None:
        try:
            while True:
                message = self._pipe.recv()
                self.heard_at = time.monotonic()
                self._on_message(self, message)
        except (EOFError, OSError):
            pass
        finally:
            self._ended.set()
            self._outbox.put(None)
            self._pipe.close()


class Shelf:
    """Which pictures the process holds; what was not named for longest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def add(self, key: str, size: int) -> bool:
        """Note that a picture is named; return whether it is new."""
        is_new = key not in self._sizes
        self._sizes[key] = size
        self._sizes.move_to_end(key)
        return is_new

    def surplus(self, needed: set[str]) -> tuple[str, ...]:
        """Return the keys to be forgotten, so that the rest stays within bounds; those ``needed`` stay."""
        out = []
        total = sum(self._sizes.values())
        for key in list(self._sizes):
            if total <= self._max_bytes or key in needed:
                break
            total -= self._sizes.pop(key)
            out.append(key)
        return tuple(out)
