"""Evidence in seconds, counted by view: a detector's errors come in runs and from certain sides.

However long an error lasts, from one side it counts at most ``MOST_PER_VIEW_S``; what is so counts again from every
other side.
"""

from __future__ import annotations

import numpy as np

from s3d_ros.state import State

VIEWS = 12  # directions that a thing is seen from, round about
MOST_PER_VIEW_S = 1.0


class ByView:
    """A sum of seconds, limited for each direction of view; ``seconds`` is the sum without limits."""

    __slots__ = ("_seconds", "seconds")

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self.seconds = 0.0

    @property
    def total(self) -> float:
        return sum(self._seconds.values())

    def add(self, view: int, seconds: float) -> None:
        """Add what was seen from a direction, 0 .. VIEWS - 1."""
        self._seconds[view] = min(self._seconds.get(view, 0.0) + seconds, MOST_PER_VIEW_S)
        self.seconds += seconds

    def add_weak(self, seconds: float) -> None:
        """Add what an error would also show, from any side: it counts where it lasts longer than errors do."""
        self.seconds += seconds

    def absorb(self, other: ByView) -> None:
        """Take over what another sum holds."""
        for view, seconds in other._seconds.items():
            self._seconds[view] = min(self._seconds.get(view, 0.0) + seconds, MOST_PER_VIEW_S)
        self.seconds += other.seconds

    def of(self, view: int) -> float:
        """Return the seconds from a direction, within the limit."""
        return self._seconds.get(view, 0.0)

    def values(self) -> dict[int, float]:
        """Return direction -> seconds."""
        return dict(self._seconds)

    def state(self) -> State:
        """Return all of it; by_view: [direction, seconds] in the order of the first sights."""
        return {"seconds": self.seconds, "by_view": [[view, s] for view, s in self._seconds.items()]}

    @classmethod
    def restored(cls, state: State) -> ByView:
        """Make one of what ``state`` returned."""
        made = cls()
        made.seconds = float(state["seconds"])
        made._seconds = {int(view): float(s) for view, s in state["by_view"]}
        return made


def outweighs(pro: ByView, contra: ByView, after_s: float, *, weight: float, long_s: float, times: float) -> bool:
    """Whether evidence suffices: from enough sides, or for so long and so much longer that no run of errors did it.

    From sides: ``pro`` exceeds ``weight * contra`` by ``after_s``, both limited by view. For long: ``long_s`` and
    ``times`` as long as ``contra``, not limited.
    """
    if pro.total - weight * contra.total >= after_s:
        return True
    return pro.seconds >= long_s and pro.seconds >= times * contra.seconds


class Pairs:
    """For pairs of objects (by slot): how long one mask covered both, and how long each had its own."""

    def __init__(self) -> None:
        self._together: dict[tuple[int, int], ByView] = {}
        self._apart: dict[tuple[int, int], ByView] = {}
        self._partners: dict[int, set[int]] = {}  # of each object: so that nobody looks through all pairs

    def together(self, a: int, b: int) -> ByView:
        return self._of(self._together, a, b)

    def apart(self, a: int, b: int) -> ByView:
        return self._of(self._apart, a, b)

    def totals(self, a: int, b: int) -> tuple[float, float]:
        """Return how long two were seen together and apart, in seconds, limited by view."""
        key = _key(a, b)
        together, apart = self._together.get(key), self._apart.get(key)
        return 0.0 if together is None else together.total, 0.0 if apart is None else apart.total

    def forget(self, slot: int) -> None:
        """An object is no more."""
        for other in self._forget_partners(slot):
            for d in (self._together, self._apart):
                d.pop(_key(slot, other), None)

    def inherit(self, heir: int, gone: int) -> None:
        """What was seen of one object counts for the one that it turned out to be."""
        for other in self._forget_partners(gone):
            for d in (self._together, self._apart):
                found = d.pop(_key(gone, other), None)
                if found is not None and other != heir:
                    self._of(d, heir, other).absorb(found)

    def _of(self, d: dict[tuple[int, int], ByView], a: int, b: int) -> ByView:
        key = _key(a, b)
        if (found := d.get(key)) is None:
            found = d[key] = ByView()
            self._partners.setdefault(a, set()).add(b)
            self._partners.setdefault(b, set()).add(a)
        return found

    def _forget_partners(self, slot: int) -> list[int]:
        """Return all that an object has pairs with; none knows of it any longer."""
        others = sorted(self._partners.pop(slot, ()))
        for other in others:
            self._partners.get(other, set()).discard(slot)
        return others

    def state(self) -> State:
        """Return of both kinds: pairs (P, 2) of slots, seconds (P,), and rows (E, 3) of (pair, direction, seconds)."""
        return {"together": _packed(self._together), "apart": _packed(self._apart)}

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        self._together, self._apart = _unpacked(state["together"]), _unpacked(state["apart"])
        self._partners = {}
        for a, b in (*self._together, *self._apart):
            self._partners.setdefault(a, set()).add(b)
            self._partners.setdefault(b, set()).add(a)


def _packed(pairs: dict[tuple[int, int], ByView]) -> State:
    rows = [(i, view, s) for i, seen in enumerate(pairs.values()) for view, s in seen._seconds.items()]
    return {
        "pairs": np.array(list(pairs), np.int64).reshape(-1, 2),
        "seconds": np.array([seen.seconds for seen in pairs.values()], np.float64),
        "by_view": np.array(rows, np.float64).reshape(-1, 3),
    }


def _unpacked(state: State) -> dict[tuple[int, int], ByView]:
    made = [ByView() for _ in state["seconds"]]
    for seen, seconds in zip(made, state["seconds"].tolist(), strict=True):
        seen.seconds = seconds
    for i, view, seconds in state["by_view"].tolist():
        made[int(i)]._seconds[int(view)] = seconds
    return {(a, b): seen for (a, b), seen in zip(state["pairs"].tolist(), made, strict=True)}


def _key(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
