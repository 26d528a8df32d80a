"""What a SLAM system says afterwards: where the camera really was. As a rigid motion of the map for every moment.

The stamps of a corrected path are not those of our frames, so the *correction* is interpolated, not the poses: it
changes slowly where they turn fast. It is interpolated about the camera, where it acts: about the map's origin, metres
away, half a rotation would be a large and wrong shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from s3d_ros.trail import Trail, distance, interpolated
from s3d_ros.types import F64, I64, PosePath, PoseStep

# Smaller ones are below what a map of 2 cm voxels, made from noisy depth, can show.
_TAKEN_BACK = 0.3  # of a step, that may be left of it
SMALLEST_M, SMALLEST_RAD = 0.03, np.deg2rad(0.5)


@dataclass(frozen=True)
class Correction:
    """deltas (N, 4, 4) that move what was mapped at stamps (N,), ascending, from the left; held beyond the ends.

    positions: (N, 3) of the camera at these stamps, before the correction.
    """

    stamps_ns: I64
    deltas: F64
    positions: F64

    def at(self, stamps_ns: I64, positions: F64) -> F64:
        """Return the deltas (K, 4, 4) at stamps (K,), of a camera at positions (K, 3)."""
        if not len(self.stamps_ns):
            return np.tile(np.eye(4), (len(stamps_ns), 1, 1))
        stamps = np.clip(stamps_ns, self.stamps_ns[0], self.stamps_ns[-1])
        after = np.clip(np.searchsorted(self.stamps_ns, stamps, side="right"), 1, max(len(self.stamps_ns) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(self.stamps_ns) - 1)
        span = np.maximum(self.stamps_ns[after] - self.stamps_ns[before], 1)
        share = ((stamps - self.stamps_ns[before]) / span)[:, None]
        shift = (1 - share) * _shift(self.deltas[before], positions) + share * _shift(self.deltas[after], positions)
        _, turn = interpolated(
            self.stamps_ns, np.zeros((len(self.stamps_ns), 3)), Rotation.from_matrix(self.deltas[:, :3, :3]), stamps
        )
        out = np.tile(np.eye(4), (len(stamps), 1, 1))
        out[:, :3, :3] = turn.as_matrix()
        out[:, :3, 3] = positions + shift - np.einsum("nij,nj->ni", out[:, :3, :3], positions)
        return out

    @property
    def last(self) -> F64:
        """The delta (4, 4) that holds from its last stamp on."""
        return np.asarray(self.deltas[-1]) if len(self.deltas) else np.eye(4)

    def begins_ns(self) -> int | None:
        """Return the stamp before which nothing moves enough to matter; None: nothing does at all."""
        shift = np.linalg.norm(_shift(self.deltas, self.positions), axis=1) if len(self.deltas) else np.zeros(0)
        turn = Rotation.from_matrix(self.deltas[:, :3, :3]).magnitude() if len(self.deltas) else np.zeros(0)
        large = np.flatnonzero((shift > SMALLEST_M) | (turn > SMALLEST_RAD))
        if not len(large):
            return None
        return int(self.stamps_ns[max(large[0] - 1, 0)]) if large[0] else 0

    def after(self, first: Correction) -> Correction:
        """Return what remains to be done of this correction once ``first`` is done. Both are of the same map."""
        stamps, index = np.unique(np.concatenate([self.stamps_ns, first.stamps_ns]), return_index=True)
        positions = np.concatenate([self.positions, first.positions])[index]
        done = first.at(stamps, positions)
        rest = self.at(stamps, positions) @ np.linalg.inv(done)
        return Correction(stamps, rest, np.einsum("nij,nj->ni", done[:, :3, :3], positions) + done[:, :3, 3])


def of_path(trail: Trail, path: PosePath) -> Correction:
    """Return the correction that a path of corrected poses asks for. Raises ValueError while nothing was mapped."""
    stamps = np.asarray(path.stamps_ns, np.int64)
    known = trail.stamps_ns
    within = (stamps >= known[0] - 10**9) & (stamps <= known[-1] + 10**9) if len(known) else np.zeros(0, bool)
    if not within.any():
        raise ValueError("the corrected path has no pose from the time that was mapped")
    stamps = stamps[within]
    mapped = trail.at(stamps)
    deltas = path.T_map_camera[within] @ np.linalg.inv(mapped)
    positions = mapped[:, :3, 3]
    knots = [(int(s), d, p) for s, d, p in zip(stamps, deltas, positions, strict=True)]
    # Where our own poses jumped between two of the path's, the correction jumped as well: it is not spread there.
    for jump in trail.jumps().tolist():
        after = int(np.searchsorted(stamps, jump))
        if 0 < after < len(stamps):
            before_p, after_p = trail.at(np.array([jump - 1, jump]))[:, :3, 3]
            knots.append((jump - 1, deltas[after - 1], before_p))
            if stamps[after] > jump:
                knots.append((jump, deltas[after], after_p))
    # Frames that came after the path's last pose but before the path may have been placed right already.
    switched = _switched_ns(trail, int(stamps[-1]), deltas[-1])
    if switched is not None:
        at = trail.at(np.array([switched]))[0, :3, 3]
        knots += [(switched - 1, deltas[-1], at), (switched, np.eye(4), at)]
    knots.sort(key=lambda k: k[0])
    return Correction(np.array([k[0] for k in knots]), np.stack([k[1] for k in knots]), np.stack([k[2] for k in knots]))


def of_step(trail: Trail, step: PoseStep, since_ns: int) -> Correction:
    """Return the correction that a step of map to odom asks for. since_ns: stamp of the correction before it, or 0.

    A step does not say since when the poses were wrong. If they jumped since the last correction: since then. Else the
    error grew with the way, as a robot's odometry drifts.
    """
    stamps = trail.stamps_ns
    past = stamps[(stamps >= since_ns) & (stamps < step.stamp_ns)]
    if not len(past):
        raise ValueError("the poses were corrected before anything was mapped with them")
    poses = trail.at(past)
    positions = poses[:, :3, 3]
    jumps = trail.jumps()
    since = jumps[(jumps >= past[0]) & (jumps < step.stamp_ns)].tolist()
    undone = [jump for jump in since if _undoes(trail, jump, step.delta)] or _undone_in(past, positions, step.delta)
    if undone:
        share = (past >= undone[-1]).astype(np.float64)
    else:
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(positions, axis=0), axis=1))])
        share = way / way[-1] if way[-1] > 0 else np.ones(len(past))
    whole = Rotation.from_matrix(step.delta[:3, :3]).as_rotvec()
    turn = Rotation.from_rotvec(share[:, None] * whole[None]).as_matrix()
    shift = share[:, None] * _shift(np.broadcast_to(step.delta, (len(past), 4, 4)), positions)
    deltas = np.tile(np.eye(4), (len(past), 1, 1))
    deltas[:, :3, :3] = turn
    deltas[:, :3, 3] = positions + shift - np.einsum("nij,nj->ni", turn, positions)
    return Correction(past.copy(), deltas, positions)


def _undone_in(stamps_ns: I64, positions: F64, delta: F64) -> list[int]:
    """Return the stamp after the motion that a step takes back, as [stamp] or []: what is beyond the motion around it.

    A fast camera's jump is no larger than its usual motion, and is told by being just what the step takes back.
    """
    if len(stamps_ns) < 4:
        return []
    dt = np.maximum(np.diff(stamps_ns), 1)[:, None] / 1e9
    moved = np.diff(positions, axis=0)
    speed = moved / dt
    beyond = moved[1:-1] - (speed[:-2] + speed[2:]) / 2 * dt[1:-1]
    after = positions[2:-1]
    wanted = -_shift(np.broadcast_to(delta, (len(after), 4, 4)), after)
    size = np.linalg.norm(wanted, axis=1)
    off = np.linalg.norm(beyond - wanted, axis=1) / np.maximum(size, 1e-9)
    best = int(np.argmin(off))
    return [int(stamps_ns[best + 2])] if off[best] < _TAKEN_BACK and size[best] > SMALLEST_M else []


def _undoes(trail: Trail, jump_ns: int, delta: F64) -> bool:
    """Whether a step (4, 4) takes back a jump, about."""
    before, after = trail.at(np.array([jump_ns - 1, jump_ns]))
    left = distance(before, delta @ after)
    was = distance(before, after)
    return sum(left) < 0.5 * sum(was)


def nearer(T: F64, a: F64, b: F64) -> bool:
    """Whether a pose (4, 4) is nearer to b than to a; a radian counts as a metre."""
    return sum(distance(T, b)) < sum(distance(T, a))


def _switched_ns(trail: Trail, after_ns: int, delta: F64) -> int | None:
    """Return the stamp from which on poses came corrected already, if that was before now."""
    far, turned = distance(np.eye(4), delta)
    later = trail.stamps_ns[trail.stamps_ns > after_ns]
    if not len(later) or (far < SMALLEST_M and turned < SMALLEST_RAD):
        return None
    poses = trail.at(np.concatenate([[after_ns], later]))
    for k, stamp in enumerate(later.tolist()):
        if nearer(poses[k + 1], poses[k], delta @ poses[k]):
            return int(stamp)
    return None


def _shift(deltas: F64, positions: F64) -> F64:
    """Return by how much deltas (N, 4, 4) shift positions (N, 3)."""
    return np.einsum("nij,nj->ni", deltas[:, :3, :3], positions) + deltas[:, :3, 3] - positions
