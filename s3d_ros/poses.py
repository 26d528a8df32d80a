"""Where the camera was at a stamp: from a pose topic and a static extrinsic, or from the tree of frames.

A pose is that of ``pose_child_frame`` in the map. If that is not the camera's optical frame, the place of the camera
on it must be known, from /tf_static or the parameter ``frames.extrinsic``; it is never taken to be the identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from s3d_ros.config import FramesConfig
from s3d_ros.drops import Lacking
from s3d_ros.geometry import PoseError, invert, pose_matrix, transform
from s3d_ros.keys import ConfigError
from s3d_ros.transforms import Lack, PoseTrack, TransformBuffer, TransformError, TransformSource
from s3d_ros.types import F64, PoseNews, PosePath, PoseStep

# With pose_source auto, /tf is used only after a pose topic had so long to show itself: it has the first right.
_SETTLE_S = 0.5
_BASES = ("base_link", "base_footprint")
# A correction that moves the camera by this much comes as a step; less is the usual tracking of a localisation.
_STEP_M, _STEP_RAD = 0.05, math.radians(1.0)


@dataclass(frozen=True)
class FoundPose:
    """Camera and, where known, base in the map, (4, 4) each."""

    T_map_camera: F64
    T_map_base: F64 | None


class PoseFinder:
    """Keeps poses and transforms, and says where camera and base were.

    map_frame: wanted; empty: it becomes the frame that poses are given in, or else "map" or the root of the frames
    once something below it moves.
    """

    def __init__(self, config: FramesConfig, map_frame: str = "", transforms: TransformSource | None = None) -> None:
        self.config = config
        self.map_frame = map_frame
        # Corrections such as map to odom may come as seldom as once a second.
        gap_s = config.pose_gap_s + config.wait_s
        self._own = TransformBuffer(max_gap_s=gap_s, max_jump_back_s=config.max_jump_back_s)
        self.transforms: TransformSource = self._own if transforms is None else transforms
        self._track = PoseTrack(max_gap_s=config.pose_gap_s, max_jump_back_s=config.max_jump_back_s)
        self._parent = self._child = ""
        self._extrinsic = _parse_extrinsic(config.extrinsic)
        self._source = config.pose_source
        self._T_posed_camera = np.eye(4)  # the camera on what the poses are of
        self._camera_at = np.zeros(3)  # in the map, at last
        self._news: list[PoseNews] = []
        self._drift: dict[str, tuple[float, float]] = {}  # child of the map -> by how much it moved at last, m and rad

    def add_pose(self, stamp_ns: int, T: F64, parent: str, child: str) -> None:
        """Add T_parent_child (4, 4) of the pose topic; names may be empty."""
        if (parent, child) != (self._parent, self._child):
            self._track.clear()
            self._parent, self._child = parent, child
        self._track.add(stamp_ns, T)
        if self._source == "auto":
            self._source = "topic"

    def add_transform(self, parent: str, child: str, stamp_ns: int, T: F64, static: bool) -> None:
        """Add T_parent_child (4, 4) of /tf or /tf_static."""
        if not static and parent == (self.map_frame or "map") and (child == self._parent or self._own.carries(child)):
            self._note_step(child, stamp_ns, T)
        self._own.add(parent, child, stamp_ns, T, static)

    def add_path(self, stamps_ns: list[int], poses: list[F64], frame: str) -> None:
        """Add corrected poses of what the poses are of. Raises ValueError for what can't be a correction."""
        if not poses:
            raise ValueError("it holds no poses")
        if not any(stamps_ns):
            raise ValueError("its poses have no stamps")
        if frame and self.map_frame and frame != self.map_frame:
            raise ValueError(f"it is in {frame!r}, the map in {self.map_frame!r}")
        stamps, first = np.unique(np.array(stamps_ns, np.int64), return_index=True)
        self._news.append(PosePath(stamps, np.stack([poses[i] for i in first]) @ self._T_posed_camera))

    def take_news(self) -> tuple[PoseNews, ...]:
        """Return the corrections that came since the last call."""
        news, self._news = tuple(self._news), []
        return news

    def _note_step(self, child: str, stamp_ns: int, T: F64) -> None:
        """Notice where map to odom steps, and did not move so before: it is no step where it drifts along.

        Nothing is interpolated across a step: it holds from its stamp on.
        """
        newest = self._own.newest(child)
        if newest is None or not newest[0] < stamp_ns:
            return
        delta = T @ invert(newest[1])
        shift = np.linalg.norm(transform(delta, self._camera_at[None])[0] - self._camera_at)
        turn = math.acos(min(1.0, max(-1.0, (float(np.trace(delta[:3, :3])) - 1) / 2)))
        before, self._drift[child] = self._drift.get(child), (float(shift), turn)
        if before is None or not (shift >= max(_STEP_M, 2 * before[0]) or turn >= max(_STEP_RAD, 2 * before[1])):
            return
        self._own.add(self.map_frame or "map", child, stamp_ns - 1, newest[1])
        if self._source == "tf" or self._parent == child:
            self._news.append(PoseStep(stamp_ns, delta))

    def restart(self, stamp_ns: int) -> None:
        """Forget what is ahead of a stamp that went back; what has gone back by itself already stays."""
        ahead_ns = stamp_ns + int(self.config.max_jump_back_s * 1e9)
        if (self._track.newest_ns or 0) > ahead_ns:
            self._track.clear()
        self._own.forget_ahead(ahead_ns)

    def find(self, stamp_ns: int, camera_frame: str, waited_s: float = math.inf) -> FoundPose:
        """Return the pose at a stamp. camera_frame: of the image; waited_s: how long the image waits already.

        Raises Lacking.
        """
        camera = self.config.camera_frame or camera_frame
        if self._source == "tf":
            return self._from_tree(stamp_ns, camera)
        if self._source == "topic" or waited_s < _SETTLE_S:
            return self._from_topic(stamp_ns, camera)
        try:
            found = self._from_tree(stamp_ns, camera)
        except Lacking as lack:  # a pose may come yet, whatever /tf lacks
            raise Lacking("pose_missing", f"no pose came, and {lack}", may_come=True) from None
        self._source = "tf"
        return found

    def _from_topic(self, stamp_ns: int, camera: str) -> FoundPose:
        try:
            T_parent_child = self._track.at(stamp_ns)
        except TransformError as lack:
            raise Lacking(_TRACK_REASONS.get(lack.lack, "pose_missing"), str(lack), lack.may_come) from None
        T_map_child = self._map_from_parent(stamp_ns) @ T_parent_child
        child = self._child or self.config.pose_child_frame
        self._T_posed_camera = self._camera_on(child, camera, stamp_ns)
        T_map_camera = T_map_child @ self._T_posed_camera
        self._camera_at = T_map_camera[:3, 3]
        base = self.config.base_frame or (child if child != camera else "")
        if base and base == child:
            return FoundPose(T_map_camera, T_map_child)
        T_camera_base = self._try(camera, base, stamp_ns)
        return FoundPose(T_map_camera, None if T_camera_base is None else T_map_camera @ T_camera_base)

    def _map_from_parent(self, stamp_ns: int) -> F64:
        if not self._parent:
            return np.eye(4)
        self.map_frame = self.map_frame or self._parent
        try:
            return self.transforms.lookup(self.map_frame, self._parent, stamp_ns)
        except TransformError as lack:
            raise Lacking(
                "map_frame_missing",
                f"the poses are in {self._parent!r}, the map is to be in {self.map_frame!r} (set map.frame_id to "
                f"{self._parent!r}, or publish the transform): {lack}",
                lack.may_come,
            ) from None

    def _camera_on(self, child: str, camera: str, stamp_ns: int) -> F64:
        """Return T_child_camera."""
        if child and child == camera:
            return np.eye(4)
        if self._extrinsic is not None:
            return self._extrinsic
        if not child:  # a PoseStamped, and nothing else is said: the pose of the camera
            return np.eye(4)
        if not camera:
            raise Lacking(
                "extrinsic_missing",
                f"the poses are of {child!r} and the images name no frame: set frames.camera_frame or frames.extrinsic",
            )
        try:
            return self.transforms.lookup(child, camera, stamp_ns)
        except TransformError as lack:
            raise Lacking(
                "extrinsic_missing",
                f"the poses are of {child!r}, the images of {camera!r}: {lack}",
                lack.may_come,
            ) from None

    def _from_tree(self, stamp_ns: int, camera: str) -> FoundPose:
        if not camera:
            raise Lacking("transform_missing", "the colour images name no frame: set frames.camera_frame")
        target = self.map_frame or ("map" if self.transforms.has("map") else self.transforms.root(camera))
        if not self.map_frame and not self.transforms.moves(camera):  # above it is only the robot itself so far
            raise Lacking("transform_missing", f"/tf does not move the camera's frame {camera!r} yet", may_come=True)
        try:
            T_map_camera = self.transforms.lookup(target, camera, stamp_ns)
        except TransformError as lack:
            raise Lacking(_TRACK_REASONS.get(lack.lack, "transform_missing"), str(lack), lack.may_come) from None
        self.map_frame = target
        T_map_base = self._try(target, self.config.base_frame, stamp_ns)
        self._T_posed_camera = np.eye(4) if T_map_base is None else invert(T_map_base) @ T_map_camera
        self._camera_at = T_map_camera[:3, 3]
        return FoundPose(T_map_camera, T_map_base)

    def _try(self, target: str, base: str, stamp_ns: int) -> F64 | None:
        base = base or next((name for name in _BASES if self.transforms.has(name)), "")
        if not base or not target:
            return None
        try:
            return self.transforms.lookup(target, base, stamp_ns)
        except TransformError:
            return None


_TRACK_REASONS = {Lack.TOO_EARLY: "pose_before_first", Lack.GAP: "pose_gap"}


def _parse_extrinsic(text: str) -> F64 | None:
    """Read "x y z qx qy qz qw" (commas allowed); None for an empty text. Raises ConfigError."""
    if not text.strip():
        return None
    wanted = f'frames.extrinsic must be "x y z qx qy qz qw" in metres and as a unit quaternion, not {text!r}'
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
        if len(values) != 7:
            raise ConfigError(wanted)
        return pose_matrix(values[:3], values[3:])
    except PoseError as error:
        raise ConfigError(f"{wanted}: {error}") from error
    except ValueError as error:
        raise ConfigError(wanted) from error
