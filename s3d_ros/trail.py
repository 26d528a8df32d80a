"""Where the camera was when the map was made: the way it took, as it lies in the map now."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from s3d_ros.state import State
from s3d_ros.types import F64, I64

_NS = 1e9
_STEP_NS = 90_000_000  # poses closer than this are not all remembered
# A pose was set anew where it moved by more than this, and three times as far as the speed before and after explains.
_JUMP_M, _JUMP_RAD, _JUMP_TIMES = 0.1, 0.07, 3.0
_MOST = 1 << 18  # poses: seven hours at 10 Hz; then the older half is thinned


class Trail:
    """Camera poses by stamp, (4, 4) each, at 10 Hz, and where they jumped. Stamps rise; what goes back starts anew."""

    def __init__(self) -> None:
        self._size = 0
        self._stamps = np.zeros(1024, np.int64)
        self._poses = np.zeros((1024, 7))  # position, quaternion xyzw
        self._previous: tuple[int, F64] | None = None  # the frame before, remembered or not
        self._speed = 0.0, 0.0  # of it, in m/s and rad/s

    def __len__(self) -> int:
        return self._size

    @property
    def stamps_ns(self) -> I64:
        """(N,) ascending."""
        return self._stamps[: self._size]

    @property
    def positions(self) -> F64:
        """(N, 3) of the camera."""
        return self._poses[: self._size, :3]

    def add(self, stamp_ns: int, T_map_camera: F64) -> None:
        """Remember a frame's pose."""
        before, self._previous = self._previous, (stamp_ns, T_map_camera)
        jumps = before is not None and before[0] < stamp_ns and self._jumps(*before, stamp_ns, T_map_camera)
        if self._size and stamp_ns <= self._stamps[self._size - 1]:
            if stamp_ns < self._stamps[self._size - 1] - _NS:  # a recording that is played again
                self._size = 0
            else:
                return
        if before is not None and jumps:
            if not self._size or before[0] > self._stamps[self._size - 1]:
                self._append(*before)
            if before[0] < stamp_ns - 1:
                self._append(stamp_ns - 1, before[1])  # nothing is interpolated across a jump
        elif self._size and stamp_ns - self._stamps[self._size - 1] < _STEP_NS:
            return
        self._append(stamp_ns, T_map_camera)

    def at(self, stamps_ns: I64) -> F64:
        """Return the poses (K, 4, 4) at stamps (K,), interpolated, held beyond the ends. Raises ValueError if empty."""
        if not self._size:
            raise ValueError("nothing was mapped yet")
        known, poses = self.stamps_ns, self._poses[: self._size]
        stamps = np.clip(stamps_ns, known[0], known[-1])
        return _matrices(*interpolated(known, poses[:, :3], Rotation.from_quat(poses[:, 3:]), stamps))

    def state(self) -> State:
        """Return stamps (N,) and poses (N, 7): position and quaternion xyzw."""
        return {"stamps_ns": self.stamps_ns, "poses": self._poses[: self._size]}

    def restore(self, state: State) -> None:
        """Take over what ``state`` returned; where the camera was between then and now is not known."""
        self._size, self._previous = len(state["stamps_ns"]), None
        room = np.zeros(max(1024 - self._size, 0), np.int64)
        self._stamps = np.concatenate([state["stamps_ns"], room])
        self._poses = np.concatenate([state["poses"], np.zeros((len(room), 7))])

    def jumps(self) -> I64:
        """Return the stamps (J,) of the first poses after a jump."""
        if self._size < 2:
            return np.zeros(0, np.int64)
        poses = self._poses[: self._size]
        dt = np.diff(self.stamps_ns) / _NS
        moved = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
        turned = 2 * np.arccos(np.clip(np.abs((poses[1:, 3:] * poses[:-1, 3:]).sum(axis=1)), 0, 1))
        wide = (moved > _JUMP_M + _JUMP_TIMES * _around(moved / dt) * dt) | (
            turned > _JUMP_RAD + _JUMP_TIMES * _around(turned / dt) * dt
        )
        return np.asarray(self.stamps_ns[1:][wide])

    def _jumps(self, stamp_a_ns: int, T_a: F64, stamp_b_ns: int, T_b: F64) -> bool:
        """Whether the camera can't have moved so from one pose (4, 4) to the next, as far as is known yet."""
        dt = (stamp_b_ns - stamp_a_ns) / _NS
        moved, turned = distance(T_a, T_b)
        speed, turning = self._speed
        self._speed = moved / dt, turned / dt
        return moved > _JUMP_M + _JUMP_TIMES * speed * dt or turned > _JUMP_RAD + _JUMP_TIMES * turning * dt

    def move(self, deltas: F64) -> None:
        """Move every pose by its delta (N, 4, 4), from the left."""
        T = deltas @ self.at(self.stamps_ns)
        self._poses[: self._size, :3] = T[:, :3, 3]
        self._poses[: self._size, 3:] = Rotation.from_matrix(T[:, :3, :3]).as_quat()
        self._previous = None

    def _append(self, stamp_ns: int, T: F64) -> None:
        if self._size == len(self._stamps):
            if self._size >= _MOST:
                keep = np.concatenate([np.arange(0, _MOST // 2, 2), np.arange(_MOST // 2, _MOST)])
                self._size = len(keep)
                self._stamps[: self._size], self._poses[: self._size] = self._stamps[keep], self._poses[keep]
            else:
                self._stamps = np.concatenate([self._stamps, np.zeros_like(self._stamps)])
                self._poses = np.concatenate([self._poses, np.zeros_like(self._poses)])
        self._stamps[self._size] = stamp_ns
        self._poses[self._size, :3] = T[:3, 3]
        self._poses[self._size, 3:] = Rotation.from_matrix(T[:3, :3]).as_quat()
        self._size += 1


def distance(T_a: F64, T_b: F64) -> tuple[float, float]:
    """Return how far apart two poses (4, 4) are, in metres and radians."""
    cosine = (np.trace(T_a[:3, :3].T @ T_b[:3, :3]) - 1) / 2
    return float(np.linalg.norm(T_a[:3, 3] - T_b[:3, 3])), float(np.arccos(np.clip(cosine, -1, 1)))


def interpolated(known_ns: I64, vectors: F64, rotations: Rotation, stamps_ns: I64) -> tuple[F64, Rotation]:
    """Interpolate vectors (N, 3) and rotations (N) at stamps (K,) within the known ones (N,), ascending."""
    if len(known_ns) == 1:
        return np.repeat(vectors, len(stamps_ns), axis=0), Rotation.concatenate([rotations] * len(stamps_ns))
    since = (known_ns - known_ns[0]).astype(np.float64)
    t = (stamps_ns - known_ns[0]).astype(np.float64)
    return np.stack([np.interp(t, since, v) for v in vectors.T], axis=1), Slerp(since, rotations)(t)


def _matrices(positions: F64, rotations: Rotation) -> F64:
    T = np.tile(np.eye(4), (len(positions), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = rotations.as_matrix(), positions
    return T


def _around(speeds: F64) -> F64:
    """Return the larger one of the speeds before and after each (N,)."""
    padded = np.concatenate([[0.0], speeds, [0.0]])
    return np.maximum(padded[:-2], padded[2:])
