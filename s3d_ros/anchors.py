"""Anchor frames: depth, colour and instances of some hundred frames, so that the map can be made anew.

Kept at half resolution (320 wide): what a voxel of 2 cm needs at 5 m. A frame is taken when the camera has moved or
turned since the last one. Of what was seen from the same place, in the same direction, the newest alone stays once it
is older than ``recent_s``: standing still, or walking the same way again, adds nothing for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3d_ros.config import AnchorsConfig
from s3d_ros.correction import Correction
from s3d_ros.geometry import millimetres
from s3d_ros.state import State
from s3d_ros.trail import distance
from s3d_ros.types import F64, Frame, Instances, Intrinsics

_WIDTH = 320
_MM = 1000.0
_JPEG_QUALITY = 85
_OVERDUE = 1.5  # times the way: then a frame without instances will do
_Cell = tuple[int, ...]


@dataclass(frozen=True)
class Anchor:
    """One frame, packed. ``T_map_camera`` is as it lies in the map now; color and depth are encoded images.

    instances: numbers as in the original, packed with zlib, None if there were none. ids: which object each of
    ``numbers`` was said to be, 0 for none.
    """

    index: int
    stamp_ns: int
    T_map_camera: F64
    T_map_base: F64 | None
    intrinsics: Intrinsics
    color: bytes
    depth: bytes
    instances: bytes | None = None
    numbers: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    ids: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        return len(self.color) + len(self.depth) + len(self.instances or b"") + 500

    def state(self) -> State:
        """Return it as plain values; the images stay encoded."""
        base = None if self.T_map_base is None else self.T_map_base.tolist()
        plain = {"intrinsics": vars(self.intrinsics), "T_map_camera": self.T_map_camera.tolist(), "T_map_base": base}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}, **plain}

    @classmethod
    def restored(cls, state: State) -> Anchor:
        """Make one of what ``state`` returned."""
        base = None if state["T_map_base"] is None else np.array(state["T_map_base"], np.float64)
        values: State = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
        values |= {"T_map_camera": np.array(state["T_map_camera"], np.float64), "T_map_base": base}
        return cls(**{**values, "intrinsics": Intrinsics(**state["intrinsics"])})

    def unpack(self) -> tuple[Frame, Instances | None]:
        """Return the frame, at half resolution, and its instances."""
        depth_mm = np.asarray(cv2.imdecode(np.frombuffer(self.depth, np.uint8), cv2.IMREAD_UNCHANGED))
        color = np.asarray(cv2.imdecode(np.frombuffer(self.color, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
        depth_m = depth_mm.astype(np.float32) / np.float32(_MM)
        frame = Frame(self.index, self.stamp_ns, color, depth_m, self.intrinsics, self.T_map_camera, self.T_map_base)
        if self.instances is None:
            return frame, None
        image = np.frombuffer(zlib.decompress(self.instances), np.uint16).reshape(depth_m.shape)
        return frame, Instances(self.stamp_ns, image, self.numbers, self.labels, self.scores)


def pack(frame: Frame, instances: Instances | None, ids: Mapping[int, int | None]) -> Anchor:
    """Make an anchor of a frame: every n-th pixel, which ``lift`` samples as it does those of the whole frame."""
    step = max(1, round(frame.depth_m.shape[1] / _WIDTH))
    depth = np.ascontiguousarray(frame.depth_m[::step, ::step])
    height, width = depth.shape
    k = frame.intrinsics
    color = cv2.resize(frame.color[..., ::-1], (width, height), interpolation=cv2.INTER_AREA)
    # Whole pixels are left out, not averaged, so the first one stays the first.
    small = Intrinsics(width, height, k.fx / step, k.fy / step, k.cx / step, k.cy / step)
    depth_mm = millimetres(depth)
    anchor = Anchor(
        index=frame.index,
        stamp_ns=frame.stamp_ns,
        T_map_camera=frame.T_map_camera,
        T_map_base=frame.T_map_base,
        intrinsics=small,
        color=cv2.imencode(".jpg", color, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes(),
        depth=cv2.imencode(".png", depth_mm, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(),
    )
    if instances is None:
        return anchor
    image = np.ascontiguousarray(instances.image[::step, ::step], np.uint16)
    return replace(
        anchor,
        instances=zlib.compress(image.tobytes(), 1),
        numbers=instances.numbers,
        labels=instances.labels,
        scores=instances.scores,
        ids=tuple(ids.get(n) or 0 for n in instances.numbers),
    )


def corrected(anchors: Iterable[Anchor], correction: Correction) -> list[Anchor]:
    """Return anchors as a correction moves them."""
    old = list(anchors)
    if not old:
        return []
    positions = np.stack([a.T_map_camera[:3, 3] for a in old])
    deltas = correction.at(np.array([a.stamp_ns for a in old]), positions)
    return [
        replace(a, T_map_camera=d @ a.T_map_camera, T_map_base=None if a.T_map_base is None else d @ a.T_map_base)
        for a, d in zip(old, deltas, strict=True)
    ]


class AnchorStore:
    """Chooses the anchors and keeps them, by stamp."""

    def __init__(self, config: AnchorsConfig) -> None:
        self.config = config
        self._anchors: dict[int, Anchor] = {}  # by stamp, ascending
        self._newest_of: dict[_Cell, int] = {}  # cell -> stamp
        self._checked_ns = 0  # up to here, what shares its cell with a newer one was left out
        self._last: Anchor | None = None
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._anchors)

    def __iter__(self) -> Iterator[Anchor]:
        return iter(list(self._anchors.values()))

    def since(self, stamp_ns: int) -> list[Anchor]:
        """Return the anchors after a stamp. From any thread."""
        return [a for a in list(self._anchors.values()) if a.stamp_ns > stamp_ns]

    def consider(self, frame: Frame, instances: Instances | None, ids: Mapping[int, int | None]) -> bool:
        """Take the frame if the camera has moved enough since the last one taken; return whether it was taken.

        Frames without instances are taken only once it has moved half as far again: one with some may come first.
        """
        if self._last is not None and frame.stamp_ns <= self._last.stamp_ns:
            if frame.stamp_ns == self._last.stamp_ns and instances is not None and self._last.instances is None:
                self._put(pack(frame, instances, ids))
                return True
            return False
        if self._last is not None and not self._has_moved(frame, 1.0 if instances is not None else _OVERDUE):
            return False
        if not (frame.depth_m > 0).any():
            return False
        self._put(pack(frame, instances, ids))
        self._thin(frame.stamp_ns)
        return True

    def move(self, correction: Correction) -> None:
        """Move every anchor as a correction says."""
        self._anchors = {a.stamp_ns: a for a in corrected(self, correction)}
        self._newest_of = {self._cell(a): a.stamp_ns for a in self._anchors.values() if a.stamp_ns <= self._checked_ns}
        self._last = next(reversed(self._anchors.values()), None)

    def restore(self, anchors: Iterable[Anchor]) -> None:
        """Replace all by others, as they were saved."""
        self._anchors = {a.stamp_ns: a for a in sorted(anchors, key=lambda a: a.stamp_ns)}
        self._newest_of, self._checked_ns = {}, 0
        self._last = next(reversed(self._anchors.values()), None)
        self.size_bytes = sum(a.size_bytes for a in self._anchors.values())

    def _has_moved(self, frame: Frame, factor: float) -> bool:
        assert self._last is not None
        moved, turned = distance(self._last.T_map_camera, frame.T_map_camera)
        c = self.config
        return moved >= factor * c.min_distance_m or turned >= factor * np.deg2rad(c.min_angle_deg)

    def _put(self, anchor: Anchor) -> None:
        self._forget(anchor.stamp_ns)
        self._anchors[anchor.stamp_ns] = self._last = anchor
        self.size_bytes += anchor.size_bytes

    def _forget(self, stamp_ns: int) -> None:
        old = self._anchors.pop(stamp_ns, None)
        if old is not None:
            self.size_bytes -= old.size_bytes

    def _thin(self, now_ns: int) -> None:
        """Of what is older than ``recent_s``, keep the newest of each cell; and no more than ``max_count`` at all."""
        horizon = now_ns - int(self.config.recent_s * 1e9)
        for anchor in list(self._anchors.values()):
            if anchor.stamp_ns > horizon:
                break
            if anchor.stamp_ns <= self._checked_ns:
                continue
            cell = self._cell(anchor)
            if cell in self._newest_of:
                self._forget(self._newest_of[cell])
            self._newest_of[cell] = self._checked_ns = anchor.stamp_ns
        if len(self._anchors) > self.config.max_count:
            # Every second one of the oldest half: the far past gets coarser, nothing is cut off.
            oldest = list(self._anchors)[: self.config.max_count // 2 : 2]
            for stamp in oldest:
                self._forget(stamp)
            self._newest_of = {c: s for c, s in self._newest_of.items() if s in self._anchors}

    def _cell(self, anchor: Anchor) -> _Cell:
        """Where a camera stands and looks, in steps of ``min_distance_m`` and ``min_angle_deg``, twice as wide."""
        T, c = anchor.T_map_camera, self.config
        axis = T[:3, 2]
        at = np.floor(T[:3, 3] / (2 * c.min_distance_m))
        angle = np.rad2deg([np.arctan2(axis[1], axis[0]), np.arcsin(np.clip(axis[2], -1, 1))])
        return tuple(np.concatenate([at, np.floor(angle / (2 * c.min_angle_deg))]).astype(int).tolist())
