"""From single images, camera_infos and poses to frames: paired by stamp, with the pose at the image's stamp.

The same class serves the live node and recordings. Time is told by the colour images' stamps alone, never by a
clock, so that a recording gives the same frames every time, at any speed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from numpy.typing import ArrayLike

from s3d_ros.camera import CameraInfoError, CameraModel
from s3d_ros.config import FramesConfig
from s3d_ros.drops import Lacking, Tally
from s3d_ros.geometry import PoseError, rigid
from s3d_ros.instances import InstanceMatcher
from s3d_ros.poses import PoseFinder
from s3d_ros.rgbd import ImagePreparer, LazyImage
from s3d_ros.transforms import TransformSource
from s3d_ros.types import F64, Arrival, Frame, Instances, Intrinsics, PoseNews

_NS = 1_000_000_000
_GAP_NS = _NS // 2
_OFFLINE_WAIT_S = 5.0  # a recording may hold its poses late; there nothing is lost by waiting longer
_OFFLINE_PENDING = 10  # times max_pending


@dataclass
class _Pending:
    """A colour image on its way to a frame."""

    index: int
    stamp_ns: int
    color: LazyImage
    frame_id: str
    depth: LazyImage | None = None
    depth_frame_id: str = ""


class FrameAssembler:
    """Pairs colour, depth and camera_info, finds the pose, and hands out frames in the order of their stamps.

    Feed it with the ``add_...`` methods in any order and take what is complete with :meth:`pop`. Images may be given
    as arrays or as functions that decode them; these are called only for images that become frames. Bad input never
    raises: it is counted in ``drops`` under a reason of :data:`s3d_ros.drops.DROPS`. Not for several threads.

    map_frame: the frame that poses are wanted in; empty: the one they are given in, or the root of the frames.
    transforms: T of ``/tf`` and ``/tf_static``; by default a buffer that :meth:`add_transform` fills.
    offline: frames wait for their instances, longer for their poses, and are never dropped for being many.
    expect_instances: offline, frames wait for instances; live, they are kept to be handed out again with them.
    keep: says by a frame's index whether it is wanted; what is not is never decoded, and not counted as dropped.
    """

    def __init__(
        self,
        config: FramesConfig,
        *,
        map_frame: str = "",
        transforms: TransformSource | None = None,
        offline: bool = False,
        expect_instances: bool = False,
        keep: Callable[[int], bool] | None = None,
    ) -> None:
        self.config = config
        self.tally = Tally()
        self.received: Counter[str] = Counter()
        self.restarts = 0
        self.poses = PoseFinder(config, map_frame, transforms)
        self._instances = InstanceMatcher(config, self.tally, offline=offline, expected=expect_instances)
        self._keep = keep
        self._tolerance_ns = int(config.pair_tolerance_s * _NS)
        self._jump_ns = int(config.max_jump_back_s * _NS)
        self._wait_s = max(config.wait_s, _OFFLINE_WAIT_S) if offline else config.wait_s
        self._limit = config.max_pending * (_OFFLINE_PENDING if offline else 1)
        self._pending: deque[_Pending] = deque()
        self._depths: dict[int, tuple[LazyImage, str]] = {}
        self._newest_color: int | None = None
        self._color_frame = ""
        self._newest_depth: int | None = None
        self._depth_period: int | None = None
        self._next_index = 0
        self._cameras: list[tuple[int, CameraModel]] = []  # only changes
        self._camera_fault = ""
        self._images = ImagePreparer(config, self.tally)

    @property
    def drops(self) -> Counter[str]:
        """How many things were given up, by reason."""
        return self.tally.drops

    @property
    def notes(self) -> Counter[str]:
        """How often something odd was met that did no harm."""
        return self.tally.notes

    @property
    def frame_id(self) -> str:
        """Name of the map frame: as configured, or as found, or "map" while nothing was found."""
        return self.poses.map_frame or "map"

    # ------------------------------------------------------------------ what goes in

    def add_color(self, stamp_ns: int, color: LazyImage, frame_id: str = "") -> None:
        """Add a colour image, (H, W, 3) uint8 RGB, of the optical frame ``frame_id``."""
        self.received["color"] += 1
        newest = self._newest_color
        if newest is not None:
            if stamp_ns < newest - self._jump_ns:
                self._restart(stamp_ns)
            elif stamp_ns == newest:
                return self.tally.drop("color_duplicate", f"stamp {stamp_ns / _NS:.3f}")
            elif stamp_ns < newest:
                return self.tally.drop("color_out_of_order", f"{(newest - stamp_ns) / _NS:.3f} s late")
            elif stamp_ns - newest > _GAP_NS:
                self.tally.note("gap", f"{(stamp_ns - newest) / _NS:.2f} s")
        self._newest_color, self._color_frame = stamp_ns, frame_id
        self._pending.append(_Pending(self._next_index, stamp_ns, color, frame_id))
        self._next_index += 1
        if len(self._pending) > self._limit:
            self._pending.popleft()
            self.tally.drop("queue_full")
        return None

    def add_depth(self, stamp_ns: int, depth: LazyImage, frame_id: str = "") -> None:
        """Add a depth image (H, W), uint16 in units of 1 / ``depth_scale`` metres or float32 in metres."""
        self.received["depth"] += 1
        if stamp_ns in self._depths:
            return self.tally.drop("depth_duplicate", f"stamp {stamp_ns / _NS:.3f}")
        newest = self._newest_depth
        if newest is not None and stamp_ns < newest - self._jump_ns:
            self._forget_depths(self._depths)
            self._depth_period = newest = None
        if newest is None or stamp_ns > newest:
            self._depth_period = stamp_ns - newest if newest is not None else None
            self._newest_depth = stamp_ns
        self._depths[stamp_ns] = (depth, frame_id)
        if len(self._depths) > self._limit:
            self._forget_depths([min(self._depths)])
        return None

    def add_camera_info(self, stamp_ns: int, camera: CameraModel | Intrinsics) -> None:
        """Add the colour camera's model. It holds from its stamp on; the first one also before."""
        self.received["camera_info"] += 1
        try:
            model = CameraModel(camera) if isinstance(camera, Intrinsics) else camera
        except CameraInfoError as error:
            return self.refuse_camera_info(error)
        if not self._cameras or self._cameras[-1][1] != model:
            self._cameras = [*self._cameras[-1:], (stamp_ns, model)]
        return None

    def refuse_camera_info(self, why: object) -> None:
        """Count a camera_info that can't be used."""
        self._camera_fault = str(why)
        if self._cameras:
            self.tally.note("camera_info_ignored", why)

    def add_pose(self, stamp_ns: int, T: ArrayLike, parent: str = "", child: str = "") -> None:
        """Add a pose T_parent_child (4, 4), nearly rigid; an empty child is ``pose_child_frame`` or the camera."""
        self.received["pose"] += 1
        try:
            self.poses.add_pose(stamp_ns, rigid(T), parent, child)
        except PoseError as error:
            self.tally.drop("pose_invalid", error)

    def add_path(self, stamps_ns: list[int], poses: list[F64], frame: str = "") -> None:
        """Add corrected poses (4, 4) of what the poses are of, by stamp, in the map's frame."""
        self.received["path"] += 1
        try:
            self.poses.add_path(stamps_ns, [rigid(T) for T in poses], frame)
        except (PoseError, ValueError) as error:
            self.tally.drop("path_invalid", error)

    def take_pose_news(self) -> tuple[PoseNews, ...]:
        """Return the corrections of earlier poses that came since the last call."""
        return self.poses.take_news()

    def add_transform(self, parent: str, child: str, stamp_ns: int, T: ArrayLike, static: bool = False) -> None:
        """Add one transform of /tf or /tf_static, T_parent_child (4, 4), nearly rigid."""
        self.received["transform"] += 1
        try:
            self.poses.add_transform(parent, child, stamp_ns, rigid(T), static)
        except (PoseError, ValueError) as error:
            self.tally.drop("transform_invalid", error)

    def add_instances(self, instances: Instances, frame_id: str = "") -> None:
        """Add the 2D instances of one colour image, with its stamp and, where known, its frame."""
        self.received["instances"] += 1
        if frame_id and self._color_frame and frame_id != self._color_frame:
            return self.tally.drop("instances_frame", f"{frame_id!r}, colour is of {self._color_frame!r}")
        return self._instances.add(instances)

    # ------------------------------------------------------------------ what comes out

    def pop(self, flush: bool = False) -> list[Arrival]:
        """Return what has become complete, in the order of the stamps.

        flush: nothing more will come; what is still incomplete is dropped, with its reason.
        """
        self._pair(flush)
        while self._pending:
            head = self._pending[0]
            waited_s = math.inf if flush else ((self._newest_color or 0) - head.stamp_ns) / _NS
            try:
                frame = self._frame_of(head, waited_s)
            except Lacking as lack:
                if lack.may_come and waited_s <= self._wait_s:
                    break
                self.tally.drop(lack.reason, lack)
            else:
                if frame is None:
                    self._instances.skip(head.stamp_ns)
                else:
                    self._instances.add_frame(frame)
            self._pending.popleft()
        waiting = [p.stamp_ns for p in self._pending]
        return self._instances.pop(self._newest_color, waiting, flush)

    def finish(self) -> list[Arrival]:
        """Return what is left at the end of a recording."""
        return self.pop(flush=True)

    # ------------------------------------------------------------------ pairing

    def _pair(self, flush: bool) -> None:
        """Give every waiting colour image its depth, and forget depth that no colour image can want any more."""
        if not self._depths:
            return
        unpaired = [p for p in self._pending if p.depth is None]
        for pending in unpaired:
            best = min(self._depths, key=lambda stamp: abs(stamp - pending.stamp_ns), default=None)
            if best is None or abs(best - pending.stamp_ns) > self._tolerance_ns:
                continue
            if flush or self._is_final(best, pending.stamp_ns):
                pending.depth, pending.depth_frame_id = self._depths.pop(best)
        wanted = [p.stamp_ns for p in unpaired if p.depth is None]
        horizon = (self._newest_color or 0) - self._tolerance_ns
        self._forget_depths(
            stamp
            for stamp in self._depths
            if flush or (stamp < horizon and not any(abs(stamp - w) <= self._tolerance_ns for w in wanted))
        )

    def _is_final(self, depth_ns: int, color_ns: int) -> bool:
        """Return whether no depth image that is still to come can be nearer to the colour image."""
        if depth_ns >= color_ns or (self._newest_depth or depth_ns) >= color_ns:
            return True
        period = self._depth_period or 2 * self._tolerance_ns
        return color_ns - depth_ns <= period // 2

    def _forget_depths(self, stamps: Iterable[int]) -> None:
        for stamp in list(stamps):
            del self._depths[stamp]
            self.tally.drop("depth_unused")

    # ------------------------------------------------------------------ from a pair to a frame

    def _frame_of(self, head: _Pending, waited_s: float) -> Frame | None:
        """Return the frame, or None if nobody wants it. Raises Lacking."""
        if head.depth is None:
            passed = self._newest_depth is not None and self._newest_depth > head.stamp_ns + self._tolerance_ns
            raise Lacking("depth_missing", may_come=not passed)
        camera = self._camera_at(head.stamp_ns)
        pose = self.poses.find(head.stamp_ns, head.frame_id, waited_s)
        if self._keep is not None and not self._keep(head.index):
            return None
        if head.frame_id and head.depth_frame_id and head.frame_id != head.depth_frame_id:
            self.tally.note("depth_frame_differs", f"depth {head.depth_frame_id!r}, colour {head.frame_id!r}")
        color, depth_m, intrinsics = self._images.prepare(head.color, head.depth, camera)
        self._instances.rectifier = self._images.rectifier
        return Frame(head.index, head.stamp_ns, color, depth_m, intrinsics, pose.T_map_camera, pose.T_map_base)

    def _camera_at(self, stamp_ns: int) -> CameraModel:
        if not self._cameras:
            reason = "camera_info_invalid" if self._camera_fault else "camera_info_missing"
            raise Lacking(reason, self._camera_fault, may_come=True)
        known = [model for since_ns, model in self._cameras if since_ns <= stamp_ns + self._tolerance_ns]
        return known[-1] if known else self._cameras[0][1]

    # ------------------------------------------------------------------ a looping recording

    def _restart(self, stamp_ns: int) -> None:
        """Start afresh where the colour images' stamps went back; streams that went back before stay."""
        self.restarts += 1
        back_s = ((self._newest_color or 0) - stamp_ns) / _NS
        self.tally.note("restart", f"by {back_s:.2f} s")
        for _ in self._pending:
            self.tally.drop("restart")
        self._pending.clear()
        ahead = stamp_ns + self._jump_ns
        self._forget_depths([stamp for stamp in self._depths if stamp > ahead])
        self._newest_depth = max(self._depths, default=None)
        self._depth_period = None
        self._cameras = self._cameras[-1:]
        self.poses.restart(stamp_ns)
        self._instances.restart(stamp_ns)
