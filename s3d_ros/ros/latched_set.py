"""What a latched topic of many things still holds for those who come late. Free of rclpy.

DDS keeps the newest ``depth`` messages of a topic, whatever they are about: a thing that was sent long ago falls out
behind others that are sent often. This repeats it before that harms anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

T = TypeVar("T")


class LatchedSet(Generic[T]):
    """Keeps the newest message of each key within the last ``depth`` that were sent.

    >>> sent = []
    >>> latched = LatchedSet(3, sent.append)
    >>> for key, value in [(1, "a"), (2, "b"), (2, "c"), (2, "d")]:
    ...     latched.send(key, value)
    >>> sent  # the fourth pushed out "a", which is still the newest of 1
    ['a', 'b', 'c', 'd', 'a']
    """

    def __init__(self, depth: int, publish: Callable[[T], None]) -> None:
        self._depth = depth
        self._publish = publish
        self._history: deque[int] = deque()
        self._newest: dict[int, T] = {}
        self._times: dict[int, int] = {}  # how often a key is in the history

    def send(self, key: int, message: T) -> None:
        """Send the newest message of a key."""
        self._newest[key] = message
        self._put(key)
        # Each repetition may push out another: at most once round.
        for _ in range(len(self._newest)):
            if len(self._history) <= self._depth:
                return
            out = self._history.popleft()
            self._times[out] -= 1
            if self._times[out] == 0:
                del self._times[out]
                if out in self._newest:
                    self._put(out)

    def keep_only(self, keys: Collection[int]) -> None:
        """Forget what is no longer of use: it may fall out."""
        for key in set(self._newest) - set(keys):
            del self._newest[key]

    def _put(self, key: int) -> None:
        self._history.append(key)
        self._times[key] = self._times.get(key, 0) + 1
        self._publish(self._newest[key])
