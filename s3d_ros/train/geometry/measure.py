"""How good a geometry encoder is on clips that it was not trained on, beside what needs no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from s3d_ros.geometry_tokens.encoder import GeometryEncoder
from s3d_ros.geometry_tokens.odometry import Odometry
from s3d_ros.train.geometry.clips import Clip
from s3d_ros.types import F32, F64, Intrinsics

_FARTHEST_M = 10.0
_DRIFT_FRAMES = 50


@dataclass
class Tally:
    """Errors so far, frame by frame. metric, scaled: (AbsRel, share within 1.25), as told and by the frame's median."""

    metric: list[tuple[float, float]] = field(default_factory=list)
    scaled: list[tuple[float, float]] = field(default_factory=list)
    shift_m: list[float] = field(default_factory=list)
    turn_deg: list[float] = field(default_factory=list)
    drift_m: list[float] = field(default_factory=list)
    drift_deg: list[float] = field(default_factory=list)

    def depth(self, told_m: F32, true_m: F32) -> None:
        """Take a frame's depth in: (h, w) of any size against (H, W), 0 unknown."""
        known = (true_m > 0) & (true_m < _FARTHEST_M)
        if not known.any():
            return
        told = cv2.resize(told_m, true_m.shape[::-1], interpolation=cv2.INTER_LINEAR)[known]
        true = true_m[known]
        self.metric.append(depth_errors(told, true))
        self.scaled.append(depth_errors(told * np.median(true) / np.median(told), true))

    def poses(self, told: Sequence[F64], true: Sequence[F64]) -> None:
        """Take a clip's poses in, T_first_camera or T_map_camera each."""
        for k, (shifts, turns) in ((1, (self.shift_m, self.turn_deg)), (_DRIFT_FRAMES, (self.drift_m, self.drift_deg))):
            for i in range(0, len(true) - k, max(1, k // 2)):
                shift, turn = motion_error(np.linalg.inv(told[i]) @ told[i + k], np.linalg.inv(true[i]) @ true[i + k])
                shifts.append(shift)
                turns.append(turn)

    def row(self) -> dict[str, Any]:
        """Return the means."""
        mean = lambda values: round(float(np.mean(values)), 4) if len(values) else None  # noqa: E731
        row: dict[str, Any] = {}
        for name, rows in (("", self.metric), ("_scaled", self.scaled)):
            if rows:
                row[f"abs_rel{name}"], row[f"within_1.25{name}"] = (mean([r[k] for r in rows]) for k in (0, 1))
        if self.shift_m:
            row |= {"shift_error_m": mean(self.shift_m), "turn_error_deg": mean(self.turn_deg)}
            row |= {"shift_error_median_m": round(float(np.median(self.shift_m)), 4),
                    "turn_error_median_deg": round(float(np.median(self.turn_deg)), 4)}  # fmt: skip
        if self.drift_m:
            row |= {"drift_50_m": mean(self.drift_m), "drift_50_deg": mean(self.drift_deg)}
        return row


def depth_errors(told: F32, true: F32) -> tuple[float, float]:
    """Return AbsRel and the share within a factor of 1.25.

    >>> depth_errors(np.array([1.0, 3.0]), np.array([1.0, 2.0]))
    (0.25, 0.5)
    """
    ratio = np.maximum(told / true, true / told)
    return float(np.mean(abs(told - true) / true)), float(np.mean(ratio < 1.25))


def motion_error(told: F64, true: F64) -> tuple[float, float]:
    """Return how far apart two motions (4, 4) are: metres, degrees."""
    cosine = (np.trace(told[:3, :3].T @ true[:3, :3]) - 1) / 2
    return float(np.linalg.norm(told[:3, 3] - true[:3, 3])), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def measure(
    encoder: GeometryEncoder, clips: Sequence[Clip], usual_m: F32, *, stride: int = 1, given: bool = True
) -> dict[str, dict[str, Any]]:
    """Return figures of the encoder and, on the same frames, of what needs none.

    usual_m: (h, w), the mean depth of training at each place, against which depth is held. stride: frames of a clip
    from one to the next. given: whether the encoder is told the intrinsics.
    """
    own, usual, still, features = Tally(), Tally(), Tally(), Tally()
    focal: list[float] = []
    for clip in clips:
        state, odometry = encoder.start(), Odometry()
        told: list[F64] = []
        followed: list[F64] = []
        true: list[F64] = []
        for i in range(0, len(clip), stride):
            pixels = clip.color(i)
            camera = camera_of(clip, i, pixels.shape[1], pixels.shape[0])
            geometry, state = encoder.step(state, pixels, camera if given else None)
            true.append(clip.T_map_camera[i])
            true_m = clip.depth_mm[i].astype(np.float32) / 1000
            usual.depth(usual_m, true_m)
            if geometry.T_first_camera is not None:
                told.append(geometry.T_first_camera)
            if geometry.depth_m is not None and geometry.intrinsics is not None:
                own.depth(geometry.depth_m, true_m)
                followed.append(odometry.step(pixels, geometry.depth_m, geometry.intrinsics))
                k = geometry.intrinsics
                focal.append(abs(k.fx / k.width / (camera.fx / camera.width) - 1))
        still.poses([np.eye(4)] * len(true), true)
        for tally, poses in ((own, told), (features, followed)):
            if len(poses) == len(true):
                tally.poses(poses, true)
    rows = {
        "encoder": own.row(),
        "mean depth": usual.row(),
        "no motion": still.row(),
        "SIFT with its depth": features.row(),
    }
    if focal and not given:
        rows["encoder"]["focal_error"] = round(float(np.mean(focal)), 4)
    return {name: row for name, row in rows.items() if row}


def usual_depth(clips: Sequence[Clip]) -> F32:
    """Return the depth (h, w) that is least wrong where nothing is known but the place: the mean of each pixel."""
    height, width = clips[0].depth_mm.shape[1:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for clip in clips:
        for depth in clip.depth_mm[::5]:
            near = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST) / 1000
            known = (near > 0) & (near < _FARTHEST_M)
            total, count = total + near * known, count + known
    return (total / np.maximum(count, 1)).astype(np.float32)


def camera_of(clip: Clip, index: int, width: int, height: int) -> Intrinsics:
    """Return the intrinsics of a frame of a clip."""
    fx, fy, cx, cy = clip.intrinsics[index]
    return Intrinsics(width, height, fx * width, fy * height, cx * width - 0.5, cy * height - 0.5)
