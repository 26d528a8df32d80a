"""A tracker that knows only the image: two stages of association by box IoU, as in ByteTrack.

Zhang et al., "ByteTrack: Multi-object tracking by associating every detection box", ECCV 2022. Boxes move with a
constant velocity (Kalman filter of SORT's kind). Certain detections (score 0.5 and more) are matched first, to tracks
that are followed and to those lost for at most a second; then the uncertain ones to followed tracks that are left. What
certain detection remains (0.6 and more) begins a track, which counts once it was matched again. All thresholds are the
published ones; what they count in frames is taken at 30 Hz and kept in seconds, so that it holds at any rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from s3d_ros.lifting import LiftedPoints
from s3d_ros.offline.yardsticks.kalman import BoxFilter
from s3d_ros.types import F64, Bools, Frame, Instances

_CERTAIN, _BEGINS, _LEAST = 0.5, 0.6, 0.1
_FIRST, _SECOND, _YOUNG = 0.8, 0.5, 0.7  # largest cost of a match in each stage; the first and last weigh the score in
_BUFFER_S = 1.0
_DUPLICATE = 0.15  # a lost and a followed track of 1 - IoU below this are one: the longer one stays


class _Track:
    def __init__(self, box: F64, stamp_ns: int, number: int, counts: bool) -> None:
        self.filter = BoxFilter(box)
        self.number = number
        self.counts = counts
        self.followed = True
        self.began_ns = self.seen_ns = stamp_ns

    def see(self, box: F64, stamp_ns: int) -> None:
        self.filter.correct(box)
        self.counts = self.followed = True
        self.seen_ns = stamp_ns


class ByteTrack:
    """Tracks in the image; an ID that was lost for more than a second never comes back."""

    least_sights = 2

    def __init__(self) -> None:
        self.merged: Mapping[int, int] = {}
        self._tracks: list[_Track] = []
        self._next = 1
        self._last_ns: int | None = None

    def observe(self, points: LiftedPoints, instances: Instances, frame: Frame) -> dict[int, int | None]:
        """Return instance number -> ID, None for what is in no track yet."""
        now = points.stamp_ns
        first = self._last_ns is None
        dt_s = 0.0 if self._last_ns is None else (now - self._last_ns) / 1e9
        self._last_ns = now
        boxes, scores = _boxes(instances), np.array(instances.scores, np.float64)
        certain = [k for k in range(len(scores)) if scores[k] > _CERTAIN and boxes[k, 2] > 0]
        uncertain = [k for k in range(len(scores)) if _LEAST < scores[k] <= _CERTAIN and boxes[k, 2] > 0]
        known = [t for t in self._tracks if t.counts]
        young = [t for t in self._tracks if not t.counts]
        for t in known:
            t.filter.predict(dt_s, steady_height=not t.followed)
        given: dict[int, _Track] = {}

        def stage(tracks: list[_Track], which: list[int], most: float, weigh: bool) -> tuple[list[_Track], list[int]]:
            """Match; return what is left of both."""
            cost = 1 - _iou(np.array([t.filter.box() for t in tracks]), boxes[which]) * (scores[which] if weigh else 1)
            left_t, left_d = list(tracks), list(which)
            for r, c in _assigned(cost, most):
                tracks[r].see(boxes[which[c]], now)
                given[which[c]] = tracks[r]
                left_t.remove(tracks[r])
                left_d.remove(which[c])
            return left_t, left_d

        left, rest = stage(known, certain, _FIRST, True)
        left, _ = stage([t for t in left if t.followed], uncertain, _SECOND, False)
        for t in left:
            t.followed = False
        unmatched, rest = stage(young, rest, _YOUNG, True)
        for k in rest:
            if scores[k] >= _BEGINS:
                given[k] = _Track(boxes[k], now, self._next, counts=first)
                self._tracks.append(given[k])
                self._next += 1
        self._forget(unmatched, now)
        return {instances.numbers[k]: t.number if t.counts else None for k, t in given.items()}

    def own(self, points: F64) -> Bools:
        """Return that all points (N, 3) of an instance are its, (N,)."""
        return np.ones(len(points), bool)

    def _forget(self, unmatched: Sequence[_Track], now: int) -> None:
        self._tracks = [t for t in self._tracks if t not in unmatched and now - t.seen_ns <= _BUFFER_S * 1e9]
        followed, lost = ([t for t in self._tracks if t.followed is f] for f in (True, False))
        near = 1 - _iou(np.array([t.filter.box() for t in followed]), np.array([t.filter.box() for t in lost]))
        for a, b in zip(*np.nonzero(near < _DUPLICATE), strict=True):
            longer = (followed[a].seen_ns - followed[a].began_ns) > (lost[b].seen_ns - lost[b].began_ns)
            gone = lost[b] if longer else followed[a]
            self._tracks = [t for t in self._tracks if t is not gone]


def _boxes(instances: Instances) -> F64:
    """Return left, top, width, height of each instance, (N, 4); zeros for one without pixels."""
    out = [cv2.boundingRect((instances.image == n).astype(np.uint8)) for n in instances.numbers]
    return np.array(out, np.float64).reshape(-1, 4)


def _iou(a: F64, b: F64) -> F64:
    """Return the IoU of boxes (N, 4) and (M, 4), each left, top, width, height: (N, M)."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    return np.asarray(shared / (a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - shared))


def _assigned(cost: F64, most: float) -> list[tuple[int, int]]:
    """Return the one-to-one pairs of least total cost, none of which costs more than ``most``."""
    if not cost.size:
        return []
    rows, columns = linear_sum_assignment(np.where(cost > most, 1e3, cost))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= most]
