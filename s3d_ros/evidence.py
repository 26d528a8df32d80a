"""Evidence in seconds, counted by view: a detector's errors come in runs and from certain sides.

However long an error lasts, from one side it counts at most ``MOST_PER_VIEW_S``; what is so counts again from every
other side.
"""

from __future__ import annotations

VIEWS = 12  # directions that a thing is seen from, round about
MOST_PER_VIEW_S = 1.0


class ByView:
    """A sum of seconds, limited for each direction of view."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    @property
    def total(self) -> float:
        return sum(self._seconds.values())

    def add(self, view: int, seconds: float) -> None:
        """Add what was seen from a direction, 0 .. VIEWS - 1."""
        self._seconds[view] = min(self._seconds.get(view, 0.0) + seconds, MOST_PER_VIEW_S)

    def absorb(self, other: ByView) -> None:
        """Take over what another sum holds."""
        for view, seconds in other._seconds.items():
            self.add(view, seconds)

    def values(self) -> dict[int, float]:
        """Return direction -> seconds."""
        return dict(self._seconds)


class Pairs:
    """For pairs of objects (by slot): how long one mask covered both, and how long each had its own."""

    def __init__(self) -> None:
        self._together: dict[tuple[int, int], ByView] = {}
        self._apart: dict[tuple[int, int], ByView] = {}

    def together(self, a: int, b: int) -> ByView:
        return self._together.setdefault(_key(a, b), ByView())

    def apart(self, a: int, b: int) -> ByView:
        return self._apart.setdefault(_key(a, b), ByView())

    def seconds(self, a: int, b: int) -> tuple[float, float]:
        """Return (together, apart)."""
        key = _key(a, b)
        return tuple(d[key].total if key in d else 0.0 for d in (self._together, self._apart))  # type: ignore[return-value]

    def forget(self, slot: int) -> None:
        """An object is no more."""
        for d in (self._together, self._apart):
            for key in [k for k in d if slot in k]:
                del d[key]

    def inherit(self, heir: int, gone: int) -> None:
        """What was seen of one object counts for the one that it turned out to be."""
        for d in (self._together, self._apart):
            for key in [k for k in d if gone in k]:
                other = key[0] if key[1] == gone else key[1]
                found = d.pop(key)
                if other != heir:
                    d.setdefault(_key(heir, other), ByView()).absorb(found)


def _key(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
