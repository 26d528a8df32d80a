"""Objects that went and came back, here or elsewhere: the ID lives on where shape, looks and label say so.

A wrong "moved" is worse than gone and new: what could be two things is neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.looks import likeness
from s3d_ros.state import State
from s3d_ros.timing import Periodic
from s3d_ros.track import Track
from s3d_ros.tracks import Tracks
from s3d_ros.types import F64, I64, Bools, ObjectState, OrientedBox

_PERIOD_S = 0.5
_SETTLED_S = 1.5  # a new object must have been seen for so long before it is compared
_MOST_REMEMBERED = 500
_SLACK_M, _SLACK_SHARE = 0.05, 0.2  # edges of two boxes of one thing differ by no more: not all sides were seen
_LEAST_VOXELS, _LEAST_LOOKS, _LEAST_LABELS = 0.4, 0.75, 0.4
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
            # What moved once has moved, wherever it comes back.
            voxels = track.most_voxels if track.stature is None else track.stature.voxels
            self._departed.append(Departed(track, figure_of(track, voxels), track.state, now_ns))
            self._departed = self._departed[-_MOST_REMEMBERED:]

    def state(self) -> State:
        """Return what is remembered."""
        departed = [
            {"track": d.track.remembered(), "voxels": d.figure.voxels, "state": d.state.name, "gone_ns": d.gone_ns}
            for d in self._departed
        ]
        return {"departed": departed, "unclear": sorted(self._unclear), "due_ns": self._due.last_ns}

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        nothing = np.zeros(0, np.int64)
        self._departed = []
        for d in state["departed"]:
            track = Track.restored(d["track"], nothing)
            self._departed.append(
                Departed(track, figure_of(track, int(d["voxels"])), ObjectState[d["state"]], int(d["gone_ns"]))
            )
        self._unclear, self._due.last_ns = set(state["unclear"]), state["due_ns"]

    def step(self, tracks: Tracks, now_ns: int) -> None:
        """Recognise what is gone among the objects that were first seen after it was last seen."""
        if not self._departed or not self._due.due(now_ns):
            return
        self._departed = [d for d in self._departed if now_ns - d.gone_ns <= self._memory_ns]
        if not self._departed:
            return
        self._unclear &= {t.slot for t in tracks}
        new = [t for t in tracks if self._is_new(t)]
        if not new:
            return
        figures = [figure_of(t, len(tracks.voxels_of(t))) for t in new]
        score = np.array([[alike(d.figure, f) for f in figures] for d in self._departed])
        known = np.array([[t.first_sight_ns <= d.track.last_sight_ns for t in new] for d in self._departed])
        score[known] = 0.0
        back = np.array([[same_place(d.figure.box, f.box) for f in figures] for d in self._departed])
        found = [(d, n, ObjectState.CONFIRMED) for d, n in clear_pairs(score * back)]
        for d, n, _ in found:  # what is back at its own place is neither moved nor in doubt
            score[d], score[:, n] = 0.0, 0.0
        score[back] = 0.0
        pairs = clear_pairs(score)
        for d, n in pairs:
            if not self._may_be_another(tracks, self._departed[d], new[n]):
                found.append((d, n, ObjectState.MOVED))
        for n in np.flatnonzero((score > 0).any(axis=0)).tolist():
            if n not in [pair[1] for pair in pairs]:
                self._unclear.add(new[n].slot)
        for d, n, state in found:
            gone = self._departed[d].track
            tracks.take_up(new[n], gone, max(state, self._departed[d].state))
        taken = {d for d, _, _ in found}
        self._departed = [d for k, d in enumerate(self._departed) if k not in taken]

    def _is_new(self, track: Track) -> bool:
        if not track.public or track.slot in self._unclear:
            return False
        oldest = min(d.track.last_sight_ns for d in self._departed)
        seen_s = (track.last_sight_ns - track.first_sight_ns) / 1e9
        return seen_s >= _SETTLED_S and track.first_sight_ns > oldest

    @staticmethod
    def _may_be_another(tracks: Tracks, gone: Departed, new: Track) -> bool:
        """Whether a like object was not looked for since the new one appeared: it may be the one that moved."""
        for other in tracks:
            if other is new or not other.public or other.last_sight_ns >= new.first_sight_ns:
                continue
            if other.first_sight_ns < new.first_sight_ns and alike(
                figure_of(new, len(tracks.voxels_of(new))), figure_of(other, len(tracks.voxels_of(other)))
            ):
                return True
        return False


def figure_of(track: Track, voxels: int) -> Figure:
    """Return what of an object is compared."""
    assert track.box is not None
    return Figure(track.box, np.sort(track.box.size), voxels, track.looks, track.label_scores())


def alike(a: Figure, b: Figure) -> float:
    """Return how alike two things are, 0 where shape, colours or labels speak against their being one."""
    if (np.abs(a.edges - b.edges) > _SLACK_M + _SLACK_SHARE * np.maximum(a.edges, b.edges)).any():
        return 0.0
    voxels = min(a.voxels, b.voxels) / max(a.voxels, b.voxels, 1)
    looks = likeness(a.looks, b.looks)
    if voxels < _LEAST_VOXELS or looks < _LEAST_LOOKS:
        return 0.0
    labels = 1.0
    if a.labels and b.labels:
        labels = sum(min(share, b.labels.get(name, 0.0)) for name, share in a.labels.items())
        if labels < _LEAST_LABELS:
            return 0.0
    shape = float(np.mean(np.minimum(a.edges, b.edges) / np.maximum(np.maximum(a.edges, b.edges), 1e-6)))
    return (shape + looks + labels) / 3


def same_place(a: OrientedBox, b: OrientedBox) -> bool:
    """Whether two boxes stand at the same place, as nearly as boxes tell."""
    reach = max(np.linalg.norm(a.size), np.linalg.norm(b.size))
    return bool(np.linalg.norm(a.center - b.center) < _SAME_PLACE * reach)


def clear_pairs(score: F64) -> list[tuple[int, int]]:
    """Match rows and columns one to one, jointly; return the pairs that no other pair in row or column comes near."""
    if not score.size or not score.any():
        return []
    rows: I64
    rows, columns = linear_sum_assignment(-score)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if score[r, c] > 0 and _is_clear(score, r, c)]


def _is_clear(score: F64, row: int, column: int) -> bool:
    others: Bools = np.zeros(score.shape, bool)
    others[row], others[:, column] = True, True
    others[row, column] = False
    return bool(score[others].max(initial=0.0) <= score[row, column] - _CLEARER)
