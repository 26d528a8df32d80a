"""An engine for the model's process that does what the question says: waits, loops, dies. No model, no torch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from s3d_ros.chat import Chat, ChatImage, ChatReply, Part


@dataclass(frozen=True)
class Config:
    """model: "", "missing", "dies" or "odd" while it is loaded. log: file that tells what was called.

    joins: questions join those in work.
    """

    model: str = ""
    log: str = ""
    load_s: float = 0.0
    joins: bool = False


@dataclass(frozen=True)
class Asked:
    """As the real engine's."""

    chat: Chat
    max_new_tokens: int
    cancelled: Callable[[], bool]


class ModelError(RuntimeError):
    """As the real engine's."""


class OutOfMemoryError(RuntimeError):
    """As torch's."""


class Engine:
    """Says one word of the question each 20 ms, or does what it says."""

    name = "fake"
    context_tokens = 1000
    device = "cpu"

    def __init__(self, config: Config, on_progress: Callable[[str, float], None]) -> None:
        self._log = config.log
        self._joins = config.joins
        on_progress("weights", 0.4)
        time.sleep(config.load_s)
        if config.model == "missing":
            raise ModelError("there is no model in /nowhere: it holds no config.json")
        if config.model == "dies" or (config.model and not os.path.exists(config.model)):
            os.kill(os.getpid(), signal.SIGKILL)
        self._note(f"loaded {os.getpid()}")

    def count_tokens(self, part: Part) -> int:
        return 7 if isinstance(part, ChatImage) else len(part.split())

    def stats(self) -> dict[str, Any]:
        return {"cached_tokens": 12}

    def warm(self, chat: Chat, cancelled: Callable[[], bool]) -> None:
        text = words_of(chat)
        self._note(f"warm {text}")
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(100 if text == "long" else 2):
            time.sleep(0.02)
            if cancelled():
                self._note("broken off")
                return
        self._note("warmed")

    def ask(self, asked: Sequence[Asked], more: Callable[[], Sequence[Asked]]) -> Iterator[tuple[int, str | ChatReply]]:
        asked = list(asked)
        texts = [words_of(a.chat) for a in asked]
        self._note("ask " + " | ".join(texts))
        if len(asked) > 1 and "together" in texts:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        for text in texts:
            self._obey(text.split(" ")[0])
        said = [""] * len(asked)
        left = dict(enumerate(texts))
        while left:
            if "stuck" in texts:
                time.sleep(1000)
            time.sleep(0.02)
            for one in more() if self._joins else ():
                left[len(asked)] = words_of(one.chat)
                asked.append(one)
                said.append("")
                self._note(f"joined {left[len(asked) - 1]}")
                self._obey(left[len(asked) - 1].split(" ")[0])
            for k, text in list(left.items()):
                words = text.split()
                if asked[k].cancelled() and words[0] != "deaf":
                    yield k, ChatReply(said[k], 1.0, "cancelled")
                    del left[k]
                    continue
                n = len(said[k].split())
                endless = words[0] in ("loop", "deaf")
                said[k] = " ".join(words[: n + 1]) if not endless else f"{said[k]}x"
                yield k, said[k]
                if not endless and len(said[k].split()) == len(words):
                    yield k, ChatReply(f"{said[k]} [{pictures_of(asked[k].chat)}]", 0.5)
                    del left[k]

    def _obey(self, word: str) -> None:
        if word in ("die", "segfault"):
            os.kill(os.getpid(), signal.SIGKILL if word == "die" else signal.SIGSEGV)
        if word == "halt":  # as a library would that never gives Python's lock back
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGSTOP)).start()
        if word == "oom":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if word == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")
        if word == "odd":
            raise ValueError("nobody thought of this")
        if word == "refuse":
            raise ModelError("the prompt has 9000 tokens; 1000 fit")

    def _note(self, text: str) -> None:
        if self._log:
            with open(self._log, "a") as file:
                file.write(text + "\n")


def words_of(chat: Chat) -> str:
    """Return the last text of a chat."""
    return [p for t in chat.turns for p in t.parts if isinstance(p, str)][-1]


def pictures_of(chat: Chat) -> str:
    """Return what proves which pictures came: their keys and sums."""
    return " ".join(f"{i.key}={int(i.pixels.sum())}" for i in chat.images)
