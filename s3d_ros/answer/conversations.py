"""What was said in conversations: a bounded number of them, each with its latest turns."""

from __future__ import annotations

import threading
from collections import OrderedDict

from s3d_ros.prompt.text import Said

_LONGEST = 600  # characters of a turn that are remembered


class Conversations:
    """Questions and answers by ``conversation_id``; objects in them by ID. Safe to use from several threads."""

    def __init__(self, most: int = 64, turns: int = 8) -> None:
        self._most, self._turns = most, turns
        self._lock = threading.Lock()
        self._talks: OrderedDict[str, tuple[tuple[Said, Said], ...]] = OrderedDict()

    def talk(self, conversation_id: str) -> tuple[tuple[Said, Said], ...]:
        """Return the turns so far, oldest first; none without an ID."""
        with self._lock:
            return self._talks.get(conversation_id, ()) if conversation_id else ()

    def add(self, conversation_id: str, question: Said, answer: Said) -> None:
        """Remember a question and its answer; the conversation not heard of for longest goes."""
        if not conversation_id or self._turns == 0:
            return
        with self._lock:
            talk = (*self._talks.pop(conversation_id, ()), (_cut(question), _cut(answer)))
            self._talks[conversation_id] = talk[-self._turns :]
            while len(self._talks) > self._most:
                self._talks.popitem(last=False)

    def forget(self) -> None:
        """Forget all: another map's objects are others."""
        with self._lock:
            self._talks.clear()


def _cut(words: Said) -> Said:
    out: list[str | int] = []
    room = _LONGEST
    for part in words:
        if room <= 0:
            return (*out, " ...")
        out.append(part[:room] if isinstance(part, str) else part)
        room -= len(part) if isinstance(part, str) else len("<OBJ012>")
    return tuple(out)
