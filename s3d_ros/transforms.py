"""Poses over time, and the tree of frames that ``/tf`` and ``/tf_static`` speak of. Free of ROS.

``T_a_b`` (4, 4) takes points from frame b to frame a: what ``/tf`` calls parent a, child b.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left, bisect_right
from typing import Protocol

import numpy as np

from s3d_ros.geometry import interpolate, invert
from s3d_ros.types import F64

_NS = 1_000_000_000


class Lack(enum.StrEnum):
    """Why a transform is not to be had."""

    UNKNOWN_FRAME = "unknown_frame"
    NO_CONNECTION = "no_connection"
    TOO_EARLY = "too_early"  # before the first sample that is kept
    TOO_LATE = "too_late"  # after the newest sample: it may still come
    GAP = "gap"  # the samples around it are too far apart
    NO_SAMPLE = "no_sample"  # none of this very stamp, where nothing may be interpolated


class TransformError(LookupError):
    """A transform that is not to be had; ``lack`` says why, ``may_come`` whether waiting can help."""

    def __init__(self, lack: Lack, message: str) -> None:
        super().__init__(message)
        self.lack = lack

    @property
    def may_come(self) -> bool:
        return self.lack not in (Lack.TOO_EARLY, Lack.GAP, Lack.NO_SAMPLE)


class TransformSource(Protocol):
    """Where transforms come from: :class:`TransformBuffer`, or something that wraps another buffer."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> F64:
        """Return T_target_source (4, 4) at the stamp. Raises TransformError."""
        ...

    def has(self, frame: str) -> bool:
        """Return whether the frame was ever heard of."""
        ...

    def root(self, frame: str) -> str:
        """Return the topmost frame above ``frame``: itself, if nothing is known above it."""
        ...

    def moves(self, frame: str) -> bool:
        """Return whether anything between ``frame`` and its root moves."""
        ...


class PoseTrack:
    """One moving pose: samples by stamp, bounded in time, interpolated between neighbours.

    max_gap_s: between samples further apart nothing is interpolated; 0: nothing ever is.
    """

    def __init__(self, history_s: float = 30.0, max_gap_s: float = math.inf, max_jump_back_s: float = 1.0) -> None:
        self._history_ns = int(history_s * _NS)
        self._max_gap_s = max_gap_s
        self._max_jump_back_ns = int(max_jump_back_s * _NS)
        self._stamps: list[int] = []
        self._poses: list[F64] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample, None while there is none."""
        return self._stamps[-1] if self._stamps else None

    @property
    def newest(self) -> tuple[int, F64] | None:
        """The newest sample, None while there is none."""
        return (self._stamps[-1], self._poses[-1]) if self._stamps else None

    def add(self, stamp_ns: int, T: F64) -> bool:
        """Add a sample; a second one of the same stamp replaces the first.

        Returns False when the stamp went back so far that all older samples were forgotten (a looping bag).
        """
        follows = not self._stamps or stamp_ns >= self._stamps[-1] - self._max_jump_back_ns
        if not follows:
            self.clear()
        at = bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            self._poses[at] = T
        else:
            self._stamps.insert(at, stamp_ns)
            self._poses.insert(at, T)
        old = bisect_left(self._stamps, self._stamps[-1] - self._history_ns)
        if old > 256:  # in batches: taking from the front of a list moves all the rest
            del self._stamps[:old], self._poses[:old]
        return follows

    def clear(self) -> None:
        """Forget all samples."""
        self._stamps.clear()
        self._poses.clear()

    def at(self, stamp_ns: int) -> F64:
        """Return the pose (4, 4) at a stamp, interpolated; never beyond the samples. Raises TransformError."""
        after = bisect_right(self._stamps, stamp_ns)
        if after > 0 and self._stamps[after - 1] == stamp_ns:
            return self._poses[after - 1]
        if after == len(self._stamps):
            raise TransformError(
                Lack.TOO_LATE, f"{(stamp_ns - self._stamps[-1]) / _NS:.3f} s after the newest" if after else "none yet"
            )
        if after == 0:
            raise TransformError(Lack.TOO_EARLY, f"{(self._stamps[0] - stamp_ns) / _NS:.3f} s before the first")
        if self._max_gap_s == 0:
            raise TransformError(Lack.NO_SAMPLE, "there is none of this very stamp")
        a, b = self._stamps[after - 1], self._stamps[after]
        if b - a > self._max_gap_s * _NS:
            raise TransformError(Lack.GAP, f"in a gap of {(b - a) / _NS:.2f} s (at most {self._max_gap_s:g} s)")
        return interpolate(self._poses[after - 1], self._poses[after], (stamp_ns - a) / (b - a))


class TransformBuffer:
    """The tree of frames. Static edges hold at any time, the others where they were heard of.

    max_gap_s: between samples further apart nothing is interpolated. history_s: older samples are forgotten.
    """

    def __init__(self, history_s: float = 30.0, max_gap_s: float = math.inf, max_jump_back_s: float = 1.0) -> None:
        self._make_track = lambda: PoseTrack(history_s, max_gap_s, max_jump_back_s)
        self._parents: dict[str, str] = {}
        self._static: dict[str, F64] = {}
        self._tracks: dict[str, PoseTrack] = {}
        self._frames: set[str] = set()

    def add(self, parent: str, child: str, stamp_ns: int, T: F64, static: bool = False) -> None:
        """Add T_parent_child (4, 4) at a stamp; a child has one parent, the last one heard of.

        Raises ValueError for a frame without a name, or one that is its own parent.
        """
        if not parent or not child or parent == child:
            raise ValueError(f"a transform from {child!r} to {parent!r} needs two different frames")
        if self._parents.get(child) != parent or static != (child in self._static):
            self._tracks.pop(child, None)
            self._static.pop(child, None)
        self._parents[child] = parent
        self._frames.update((parent, child))
        if static:
            self._static[child] = T
        else:
            self._tracks.setdefault(child, self._make_track()).add(stamp_ns, T)

    def forget_ahead(self, stamp_ns: int) -> None:
        """Forget the samples of every moving edge that has got beyond a stamp; static edges stay."""
        for track in self._tracks.values():
            if (track.newest_ns or 0) > stamp_ns:
                track.clear()

    def carries(self, frame: str) -> bool:
        """Return whether something moves right on this frame, as odom's children do."""
        return any(self._parents.get(child) == frame for child in self._tracks)

    def newest(self, child: str) -> tuple[int, F64] | None:
        """Return the newest sample of a moving edge: its stamp and T_parent_child."""
        track = self._tracks.get(child)
        return None if track is None else track.newest

    def has(self, frame: str) -> bool:
        """Return whether the frame was ever heard of."""
        return frame in self._frames

    def frames(self) -> frozenset[str]:
        """Return the names of all frames."""
        return frozenset(self._frames)

    def root(self, frame: str) -> str:
        """Return the topmost frame above ``frame``: itself, if nothing is known above it."""
        return self._chain(frame)[-1]

    def moves(self, frame: str) -> bool:
        """Return whether anything between ``frame`` and its root moves."""
        return any(child in self._tracks for child in self._chain(frame))

    def lookup(self, target: str, source: str, stamp_ns: int) -> F64:
        """Return T_target_source (4, 4) at the stamp. Raises TransformError, whose message names the frames."""
        if target == source:
            return np.eye(4)
        for frame in (target, source):
            if frame not in self._frames:
                known = ", ".join(sorted(self._frames)) or "none"
                raise TransformError(Lack.UNKNOWN_FRAME, f"the frame {frame!r} is unknown; known are {known}")
        up_target, up_source = self._chain(target), self._chain(source)
        for chain in (up_target, up_source):
            if chain[-1] in self._parents:
                raise TransformError(Lack.NO_CONNECTION, f"the frames form a loop: {' below '.join(chain)}")
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise TransformError(
                Lack.NO_CONNECTION,
                f"{target!r} and {source!r} are not connected: one is below {up_target[-1]!r}, "
                f"the other below {up_source[-1]!r}",
            )
        T_common_source = self._climb(up_source, common, stamp_ns)
        if common == target:
            return T_common_source
        return invert(self._climb(up_target, common, stamp_ns)) @ T_common_source

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None:
            if parent in chain:  # a loop: stop where it closes
                break
            chain.append(parent)
        return chain

    def _climb(self, chain: list[str], top: str, stamp_ns: int) -> F64:
        T = np.eye(4)
        for child in chain[: chain.index(top)]:
            T = self._edge(child, stamp_ns) @ T
        return T

    def _edge(self, child: str, stamp_ns: int) -> F64:
        if child in self._static:
            return self._static[child]
        try:
            return self._tracks[child].at(stamp_ns)
        except TransformError as error:
            message = f"{self._parents[child]!r} to {child!r} at {stamp_ns / _NS:.3f}: {error}"
            raise TransformError(error.lack, message) from None
