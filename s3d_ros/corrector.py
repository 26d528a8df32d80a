"""Keeps the way the camera took, and what became known of it later: poses of the map, and their corrections.

Poses come in the coordinates that the SLAM system has now; the map lies where it was put when it was made. Until the
map has been made anew with corrected poses, new frames are placed where they fit the map as it is: so it never holds
the same thing twice. All that is left to correct is one ``Correction`` of the map as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np

from s3d_ros.correction import SMALLEST_M, SMALLEST_RAD, Correction, nearer, of_path, of_step
from s3d_ros.geometry import invert
from s3d_ros.state import State
from s3d_ros.trail import Trail, distance
from s3d_ros.types import F64, Frame, PoseNews, PosePath

_RECENT = 300  # frames whose instances may still come


class Corrector:
    """Where frames belong in the map as it is, and where the map belongs."""

    def __init__(self) -> None:
        self.trail = Trail()
        self.pending: Correction | None = None  # of the map as it is
        self._offset = np.eye(4)  # from the map as it is to the coordinates that poses come in
        self._awaited: F64 | None = None  # the offset once the stream of poses has switched over
        self._placed: OrderedDict[int, F64] = OrderedDict()  # frame -> what its pose was multiplied with
        self._last: F64 | None = None
        self._last_step_ns = 0
        self._begins_ns: int | None = None

    def place(self, frame: Frame, is_new: bool) -> Frame:
        """Return the frame as it lies in the map as it is."""
        if is_new:
            self._choose_offset(frame.T_map_camera)
            self._placed[frame.index] = T = invert(self._offset)
            while len(self._placed) > _RECENT:
                self._placed.popitem(last=False)
        else:
            T = self._placed.get(frame.index, invert(self._offset))
        if not np.array_equal(T, np.eye(4)):
            base = None if frame.T_map_base is None else T @ frame.T_map_base
            frame = replace(frame, T_map_camera=T @ frame.T_map_camera, T_map_base=base)
        if is_new:
            self._last = frame.T_map_camera
            self.trail.add(frame.stamp_ns, frame.T_map_camera)
        return frame

    def hear(self, news: PoseNews) -> None:
        """Take in a correction. Raises ValueError, saying why, if nothing that was mapped can be corrected by it."""
        if isinstance(news, PosePath):
            self._wait_for(of_path(self.trail, news))
            return
        inside = invert(self._offset) @ news.delta @ self._offset  # as the map as it is sees that step
        step = of_step(self.trail, replace(news, delta=inside), self._last_step_ns)
        self._last_step_ns = news.stamp_ns
        self._wait_for(step if self.pending is None else joined(step, self.pending))

    def state(self) -> State:
        """Return the way taken and what is to be corrected; frames whose instances may still come are left out."""
        return {
            "trail": self.trail.state(),
            "pending": None if self.pending is None else dict(vars(self.pending)),
            **{name: _plain(getattr(self, f"_{name}")) for name in ("offset", "awaited", "last")},
            "last_step_ns": self._last_step_ns,
        }

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned."""
        self.trail.restore(state["trail"])
        self.pending = None if state["pending"] is None else Correction(**state["pending"])
        self._offset = np.array(state["offset"], np.float64)
        self._awaited, self._last = (
            None if state[name] is None else np.array(state[name], np.float64) for name in ("awaited", "last")
        )
        self._placed, self._last_step_ns = OrderedDict(), state["last_step_ns"]

    def begins_ns(self) -> int | None:
        """Return the stamp from which on the map is to be made anew; None: it lies well."""
        return self._begins_ns

    def done(self, correction: Correction) -> None:
        """The map was made anew with this correction: it lies there from now on."""
        deltas = correction.at(self.trail.stamps_ns, self.trail.positions)
        if self.pending is not None:
            rest = self.pending.after(correction)
            self._begins_ns = rest.begins_ns()
            self.pending = None if self._begins_ns is None else rest
        self.trail.move(deltas)
        self._last = None if self._last is None else correction.last @ self._last
        undone = invert(correction.last)
        self._offset = self._offset @ undone
        self._awaited = None if self._awaited is None else self._awaited @ undone
        self._placed = OrderedDict((k, correction.last @ T) for k, T in self._placed.items())
        if small(self._offset):
            self._offset = np.eye(4)

    def _wait_for(self, correction: Correction) -> None:
        offset = correction.last
        self.pending, self._begins_ns = correction, correction.begins_ns()
        self._awaited = None if small(invert(self._offset) @ offset) else offset

    def _choose_offset(self, T: F64) -> None:
        """Find out whether poses come corrected by now: which of the two continues the way?"""
        if self._awaited is None or self._last is None:
            return
        if nearer(self._last, invert(self._offset) @ T, invert(self._awaited) @ T):
            self._offset, self._awaited = self._awaited, None


def joined(first: Correction, then: Correction) -> Correction:
    """Return both corrections of the same map as one: ``then`` moves what ``first`` leaves."""
    stamps, index = np.unique(np.concatenate([first.stamps_ns, then.stamps_ns]), return_index=True)
    positions = np.concatenate([first.positions, then.positions])[index]
    return Correction(stamps, then.at(stamps, positions) @ first.at(stamps, positions), positions)


def small(T: F64) -> bool:
    """Whether a motion (4, 4) is too small to matter."""
    moved, turned = distance(np.eye(4), T)
    return moved < SMALLEST_M and turned < SMALLEST_RAD


def _plain(T: F64 | None) -> list[list[float]] | None:
    return None if T is None else T.tolist()
