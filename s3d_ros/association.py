"""Which of a frame's instances is which object: one joint decision, from what each covers of what is visible.

An instance is matched by how much of what should be visible of an object it covers, and by how much of the instance is
that object, not by raw overlap: a cup's mask lies wholly on the cup, and the table that it stands on is covered by a
hundredth. Pure functions; they know nothing of objects but columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.types import F64, I64

_LEAST_POINTS = 3
_FRAGMENT_SHARE = 0.5  # of an instance that is one object's: the detector split its mask
_SMALL_SHARE = 0.3  # of an instance that is an object, where more than half of it is another one
_SWALLOWED_SHARE = 0.5  # of what is visible of an object, under another's mask: the detector merged two


@dataclass(frozen=True)
class Overlaps:
    """Points of a frame by instance (rows) and by the object that owns where they lie (columns).

    counts: (I, K). sizes: (I,) points of each instance. visible: (K,) points that each object owns, whoever covers
    them: what can be seen of it in this frame.
    """

    counts: I64
    sizes: I64
    visible: I64

    @cached_property
    def of_object(self) -> F64:
        """Share of what is visible of each object that each instance covers, (I, K)."""
        return np.asarray(self.counts / np.maximum(self.visible, 1)[None, :])

    @cached_property
    def of_instance(self) -> F64:
        """Share of each instance that is each object's, (I, K)."""
        return np.asarray(self.counts / np.maximum(self.sizes, 1)[:, None])

    @cached_property
    def swallowed(self) -> list[list[int]]:
        """For each instance the objects (columns) that lie under its mask: it covers most of what is seen of them."""
        found: list[list[int]] = [[] for _ in self.sizes]
        for row, column in np.argwhere((self.of_object >= _SWALLOWED_SHARE) & (self.counts >= _LEAST_POINTS)).tolist():
            found[row].append(column)
        return found


def assign(overlaps: Overlaps, bonus: F64, least_share: float) -> dict[int, int]:
    """Match instances and objects one to one; return row -> column.

    bonus: (I, K) added to the score of a match that is possible anyway: like labels help, and gate nothing.
    least_share: of the object or of the instance that must overlap.
    """
    if not overlaps.counts.size:
        return {}
    of_object, of_instance = overlaps.of_object, overlaps.of_instance
    possible = (np.maximum(of_object, of_instance) >= least_share) & (overlaps.counts >= _LEAST_POINTS)
    # A part of a table's mask may cover all of a keyboard that has no mask now: it is the table's all the same.
    anothers = of_instance.max(axis=1, keepdims=True) >= _FRAGMENT_SHARE
    possible &= ~(anothers & (of_instance < _SMALL_SHARE))
    score = np.where(possible, (of_object + of_instance) / 2 + bonus, 0.0)
    rows, columns = linear_sum_assignment(-score)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if possible[r, c]}


def fragments(overlaps: Overlaps, matched: dict[int, int]) -> dict[int, int]:
    """Return row -> column for unmatched instances that lie on an object which has its match: parts of a split mask."""
    if not overlaps.counts.size:
        return {}
    best = overlaps.counts.argmax(axis=1)
    share = overlaps.of_instance[np.arange(len(best)), best]
    taken = set(matched.values())
    return {
        int(r): int(best[r])
        for r in np.flatnonzero((share >= _FRAGMENT_SHARE) & (overlaps.counts.max(axis=1) >= _LEAST_POINTS))
        if r not in matched and int(best[r]) in taken
    }
