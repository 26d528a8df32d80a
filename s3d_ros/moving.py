"""Objects that went and came back, here or elsewhere: the ID lives on where shape, looks and label say so.

A wrong "moved" is worse than gone and new: what could be two things is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.looks import likeness
from s3d_ros.state import State
from s3d_ros.timing import Periodic
from s3d_ros.track import Stature, Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F64, Bools, ObjectState, OrientedBox

_PERIOD_S = 0.5
_SETTLED_S = 1.5  # a new object must have been seen for so long before it is compared
_MOST_REMEMBERED = 500
_SLACK_M, _SLACK_SHARE = 0.05, 0.2  # edges of two boxes of one thing differ by no more: not all sides were seen
_LEAST_VOXELS, _LEAST_LOOKS, _LEAST_LABELS = 0.4, 0.75, 0.4
_LOOSE = 2.0  # what agrees with so much more slack may be a rival
_HAS_SHAPE = 40  # voxels; of a smaller thing (a mouse) there is too little to know it by elsewhere
_CLEARER = 0.12  # how much more alike than any other candidate
_SAME_PLACE = 0.3  # of the larger box's diagonal, between the middles of two boxes


@dataclass(frozen=True)
class Figure:
    """What is compared: edges of the box, sorted (3,), number of voxels, histogram of colours, share of each label."""

    box: OrientedBox
    edges: F64
    voxels: int
    looks: F64
    labels: dict[str, float]


@dataclass(frozen=True)
class Departed:
    """An object that is gone, as it was before."""

    track: Track
    figure: Figure
    state: ObjectState
    gone_ns: int


class Movements:
    """Remembers what is gone, for ``memory_s`` and no more than 500 objects, and finds it again among the new ones."""

    def __init__(self, memory_s: float) -> None:
        self._memory_ns = int(memory_s * 1e9)
        self._due = Periodic(_PERIOD_S)
        self._departed: list[Departed] = []
        self._unclear: set[int] = set()  # slots of new objects that could be several that are gone, or the other way

    def remember(self, track: Track, now_ns: int) -> None:
        """Remember an object with an ID that is gone now."""
        if track.id and track.box is not None:
            self._departed.append(Departed(track, figure_of(track), track.state, now_ns))
            self._departed = self._departed[-_MOST_REMEMBERED:]

    def state(self) -> State:
        """Return what is remembered."""
        departed = [
            {"track": d.track.remembered(), "state": d.state.name, "gone_ns": d.gone_ns} for d in self._departed
        ]
        return {"departed": departed, "unclear": sorted(self._unclear), "due_ns": self._due.last_ns}

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        nothing = np.zeros(0, np.int64)
        self._departed = []
        for d in state["departed"]:
            track = Track.restored(d["track"], nothing)
            self._departed.append(Departed(track, figure_of(track), ObjectState[d["state"]], int(d["gone_ns"])))
        self._unclear, self._due.last_ns = set(state["unclear"]), state["due_ns"]

    def step(self, tracks: Tracks, now_ns: int) -> None:
        """Recognise what is gone among the objects that were first seen after it was last seen."""
        if not self._departed or not self._due.due(now_ns):
            return
        self._departed = [d for d in self._departed if now_ns - d.gone_ns <= self._memory_ns]
        if not self._departed:
            return
        self._unclear &= {t.slot for t in tracks}
        oldest_ns = min(d.track.last_sight_ns for d in self._departed)
        names = {"", *(name for d in self._departed for name in d.figure.labels)}
        any_name = any(not d.figure.labels for d in self._departed)
        new = [t for t in tracks if self._is_new(t, oldest_ns) and (any_name or t.label in names)]
        if not new:
            return
        figures, gone = [figure_of(t) for t in new], [d.figure for d in self._departed]
        seen_ns = np.array([d.track.last_sight_ns for d in self._departed])
        known = np.array([t.first_sight_ns for t in new])[None] <= seen_ns[:, None]
        score, rivals = (np.where(known, 0.0, alike(gone, figures, slack)) for slack in (1.0, _LOOSE))
        back = same_place([f.box for f in gone], [f.box for f in figures])
        found = [(d, n, ObjectState.CONFIRMED) for d, n in clear_pairs(score * back)]
        for d, n, _ in found:  # what is back at its own place is neither moved nor in doubt
            for values in (score, rivals):
                values[d], values[:, n] = 0.0, 0.0
        score[back], rivals[back] = 0.0, 0.0
        score[:, np.array([f.voxels for f in figures]) < _HAS_SHAPE] = 0.0
        pairs = clear_pairs(score, rivals)
        for d, n in pairs:
            if not self._may_be_another(tracks, new[n], figures[n]):
                found.append((d, n, ObjectState.MOVED))
        # Doubt stays: when one of two rivals is forgotten, the other is no surer than before.
        sure = {n for _, n in pairs}
        self._unclear |= {new[n].slot for n in np.flatnonzero((score > 0).any(axis=0)).tolist() if n not in sure}
        for d, n, state in found:
            tracks.take_up(new[n], self._departed[d].track, max(state, self._departed[d].state))
        taken = {d for d, _, _ in found}
        self._departed = [d for k, d in enumerate(self._departed) if k not in taken]

    def _is_new(self, track: Track, oldest_ns: int) -> bool:
        settled = (track.last_sight_ns - track.first_sight_ns) / 1e9 >= _SETTLED_S
        return settled and track.first_sight_ns > oldest_ns and track.public and track.slot not in self._unclear

    @staticmethod
    def _may_be_another(tracks: Tracks, new: Track, figure: Figure) -> bool:
        """Whether a like object was not looked for since the new one appeared: it may be the one that moved."""
        first_ns = new.first_sight_ns
        return any(
            t is not new
            and t.label == new.label
            and t.public
            and t.first_sight_ns < first_ns
            and t.last_sight_ns < first_ns
            and alike([figure], [figure_of(t)], _LOOSE)[0, 0] > 0
            for t in tracks
        )


def figure_of(track: Track) -> Figure:
    """Return what of an object is compared: as it was before its place began to be seen empty."""
    assert track.box is not None
    known = track.stature or Stature(track.box, track.most_voxels)
    return Figure(known.box, np.sort(known.box.size), known.voxels, track.looks, track.label_scores())


def alike(these: Sequence[Figure], those: Sequence[Figure], slack: float = 1.0) -> F64:
    """Return how alike things are, (N, M): 0 where shape, colours or labels speak against their being one.

    slack: above 1, less has to agree.
    """
    a, b = (np.array([f.edges for f in side]) for side in (these, those))
    longest = np.maximum(np.maximum(a[:, None], b[None]), 1e-6)
    possible = (np.abs(a[:, None] - b[None]) <= slack * (_SLACK_M + _SLACK_SHARE * longest)).all(axis=2)
    shape = (np.minimum(a[:, None], b[None]) / longest).mean(axis=2)

    n, m = (np.array([max(f.voxels, 1) for f in side]) for side in (these, those))
    possible &= np.minimum(n[:, None], m[None]) >= _LEAST_VOXELS / slack * np.maximum(n[:, None], m[None])

    looks = likeness(np.array([f.looks for f in these]), np.array([f.looks for f in those]))
    possible &= looks >= _LEAST_LOOKS / slack**0.25

    names = sorted({name for f in (*these, *those) for name in f.labels})
    p, q = (np.array([[f.labels.get(k, 0.0) for k in names] for f in side]).reshape(len(side), -1)
            for side in (these, those))  # fmt: skip
    shared = sum((np.minimum(p[:, None, k], q[None, :, k]) for k in range(len(names))), np.zeros(possible.shape))
    unnamed = (p.sum(axis=1) == 0)[:, None] | (q.sum(axis=1) == 0)[None]
    labels = np.where(unnamed, 1.0, shared)
    possible &= labels >= _LEAST_LABELS / slack
    return np.asarray(np.where(possible, (shape + looks + labels) / 3, 0.0))


def same_place(these: Sequence[OrientedBox], those: Sequence[OrientedBox]) -> Bools:
    """Return which boxes stand at the same place as which others, as nearly as boxes tell, (N, M)."""
    a, b = (np.array([box.center for box in side]) for side in (these, those))
    reach = np.maximum(
        np.array([np.linalg.norm(box.size) for box in these])[:, None], [np.linalg.norm(box.size) for box in those]
    )
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2) < _SAME_PLACE * reach)


def clear_pairs(score: F64, rivals: F64 | None = None) -> list[tuple[int, int]]:
    """Match rows and columns one to one, jointly; return the pairs that no other pair in row or column comes near.

    rivals: like ``score``, of what may be a match though less agrees; it can only spoil one.
    """
    if not score.size or not score.any():
        return []
    rivals = score if rivals is None else np.maximum(score, rivals)
    rows, columns = linear_sum_assignment(-score)
    pairs = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if score[r, c] > 0]
    return [(r, c) for r, c in pairs if _is_clear(score[r, c], rivals, r, c)]


def _is_clear(best: float, rivals: F64, row: int, column: int) -> bool:
    others: Bools = np.zeros(rivals.shape, bool)
    others[row], others[:, column] = True, True
    others[row, column] = False
    return bool(rivals[others].max(initial=0.0) <= best - _CLEARER)
