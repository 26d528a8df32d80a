"""How many tokens parts take, which only the model's process can tell: each is asked once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from s3d_ros.chat import Part

REMEMBERED = 5000


class _Count:
    def __init__(self) -> None:
        self.there = threading.Event()
        self.tokens = -1


class TokenCounts:
    """What is known, and what is being asked. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, int] = OrderedDict()
        self._asked: dict[int, _Count] = {}

    def __len__(self) -> int:
        """Return how many are being asked."""
        return len(self._asked)

    def known(self, part: Part) -> int | None:
        """Return what is known of a part; pictures of one size take the same."""
        with self._lock:
            tokens = self._known.get(_key(part))
            if tokens is not None:
                self._known.move_to_end(_key(part))
            return tokens

    def begin(self, number: int) -> None:
        """Note that a question of this number goes to the process."""
        with self._lock:
            self._asked[number] = _Count()

    def done(self, number: int, tokens: int) -> None:
        """Take the process's reply; -1: it could not tell."""
        with self._lock:
            count = self._asked.get(number)
        if count is not None:
            count.tokens = tokens
            count.there.set()

    def end_all(self) -> None:
        """Let nobody wait any longer: there will be no reply."""
        with self._lock:
            counts = list(self._asked.values())
        for count in counts:
            count.there.set()

    def wait(self, number: int, part: Part, timeout_s: float) -> int:
        """Return the reply, -1 where there is none."""
        count = self._asked[number]
        count.there.wait(timeout_s)
        with self._lock:
            del self._asked[number]
            if count.tokens >= 0:
                self._known[_key(part)] = count.tokens
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return count.tokens


def _key(part: Part) -> Any:
    return part if isinstance(part, str) else part.pixels.shape[:2]
