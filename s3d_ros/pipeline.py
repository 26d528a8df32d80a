"""The whole way from a frame to the scene, in one place. Live, replay, evaluation and training all call this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3d_ros.bev import BevMap
from s3d_ros.config import Config
from s3d_ros.fusion import Fusion
from s3d_ros.lifting import lift
from s3d_ros.objects import ObjectMap
from s3d_ros.room import floor_area_m2
from s3d_ros.scenes import SceneBuilder
from s3d_ros.segment.protocol import Segmenter
from s3d_ros.surface import Surface
from s3d_ros.timing import Periodic, StageTimes
from s3d_ros.types import F32, F64, U8, Frame, Instances, Scene, SceneObject
from s3d_ros.uprightness import UpFinder, parse_up
from s3d_ros.views import ViewSelector
from s3d_ros.visibility import EmptySpace

_UP_SETTLED_S = 10.0  # up: auto is refined for so long
_UP_CHANGE = np.cos(np.deg2rad(0.5))
_VIEWS_MARKED_AT_ONCE = 8


@dataclass(frozen=True)
class FrameResult:
    """What one frame did. instance_ids: instance number -> object ID, None while the object is tentative.

    changed: public objects whose box, label or state is new. removed: IDs that are gone or merged into another.
    instances: those that were given or found. scene: the new version, None while the last one holds.
    """

    frame_index: int
    stamp_ns: int
    instance_ids: dict[int, int | None]
    instances: Instances | None = None
    changed: tuple[SceneObject, ...] = ()
    removed: tuple[int, ...] = ()
    scene: Scene | None = None


class Pipeline:
    """Camera and pose in, scene out. One thread calls it; everything it hands out is immutable."""

    def __init__(self, config: Config, segmenter: Segmenter | None = None) -> None:
        """segmenter: finds instances in frames that come without; None: such frames are only fused."""
        self.config = config
        self.segmenter = segmenter
        self.times = StageTimes()
        self.reset()

    def reset(self) -> None:
        """Forget the map and start anew. Versions go on rising."""
        c = self.config
        known_up = parse_up(c.map.up)
        self.up: F64 = np.array([0.0, 0.0, 1.0]) if known_up is None else known_up
        self._up_finder = UpFinder() if known_up is None else None
        self.fusion = Fusion(c.fusion)
        self.surface = Surface(self.fusion)
        self.objects = ObjectMap(c.objects, self.up)
        self.bev = BevMap(c.bev, self.surface, self.fusion.block_m, self.up)
        self.views = ViewSelector(c.views)
        self._scenes = SceneBuilder(c.map.frame_id, getattr(self, "_scenes", None))
        self._carving = Periodic(c.fusion.carve_period_s)
        self._segmenting = Periodic(c.segment.period_s)
        self._looking = Periodic(c.views.period_s)
        self._drawing = Periodic(c.bev.period_s)
        self._snapping = Periodic(c.map.scene_period_s)
        self._first_ns: int | None = None

    def process(self, frame: Frame, instances: Instances | None = None, is_new: bool = True) -> FrameResult:
        """Take in one frame, and the instances of it that are there.

        is_new: False when the frame was taken in before and only its instances come now.
        """
        now_ns, measure = frame.stamp_ns, self.times.measure
        if is_new:
            self._find_up(frame)
            with measure("fusion"):
                self.fusion.integrate(frame)
            if self._carving.due(now_ns):
                self._carve(frame)
            if self._looking.due(now_ns):
                with measure("views"):
                    self.views.consider(frame, lift(frame, None, self.config.objects.stride))
        if instances is None and self.segmenter is not None and self._segmenting.due(now_ns):
            with measure("segment"):
                instances = self.segmenter.segment(frame, self.up)
        ids: dict[int, int | None] = {}
        if instances is not None:
            with measure("objects"):
                ids = self.objects.observe(lift(frame, instances.image, self.config.objects.stride), instances)
        with measure("boxes"):
            changed, removed = self.objects.refresh(now_ns)
        scene = None
        if is_new:
            drew = self._drawing.due(now_ns)
            if drew:
                self._draw()
            # Not both in one frame, if it can wait: that frame would come late.
            if (not drew or self._snapping.overdue(now_ns)) and self._snapping.due(now_ns):
                scene = self._snap(frame)
        return FrameResult(frame.index, now_ns, ids, instances, changed, removed, scene)

    def finish(self, last_frame: Frame | None = None) -> Scene:
        """Bring everything up to date, as at the end of a recording, and return the last scene."""
        if last_frame is not None:
            self.objects.refresh(last_frame.stamp_ns, everything=True)
            self._draw()
            self._snap(last_frame, every_view=True)
        return self.scene()

    def scene(self) -> Scene:
        """Return the newest version of the scene."""
        return self._scenes.current

    def cloud(self) -> tuple[F32, U8]:
        """Return the surface as it was last drawn: points (N, 3) of the map and colours (N, 3)."""
        return self.surface.all()

    def _carve(self, frame: Frame) -> None:
        c = self.config.fusion
        with self.times.measure("carve"):
            empty = EmptySpace(frame, c.carve_margin_voxels * c.voxel_size_m, c.depth_noise_per_m)
            self.fusion.carve(empty)
            self.objects.look(empty)
            self.bev.see(frame)

    def _draw(self) -> None:
        with self.times.measure("surface"):
            changed = self.surface.update()
        with self.times.measure("bev"):
            self.bev.update(changed)

    def _snap(self, frame: Frame, every_view: bool = False) -> Scene | None:
        """Make a new version of the scene if there is news."""
        with self.times.measure("scene"):
            self.views.mark(self.objects, None if every_view else _VIEWS_MARKED_AT_ONCE)
            things = self.objects.snapshot()
            seen, origin = self.bev.seen_mask()
            area = floor_area_m2(
                seen, origin, self.config.bev.resolution_m, (o.box for o in things), self.bev.T_bev_map
            )
            return self._scenes.update(
                stamp_ns=frame.stamp_ns,
                up=self.up,
                objects=things,
                bev=self.bev.snapshot(),
                views=self.views.snapshot(),
                floor_area_m2=area,
                T_map_robot=frame.T_map_camera if frame.T_map_base is None else frame.T_map_base,
                robot_is_camera=frame.T_map_base is None,
                merged=dict(self.objects.merged),
            )

    def _find_up(self, frame: Frame) -> None:
        """With ``up: auto``: find it, refine it for a while, and turn BEV and boxes when it changes."""
        if self._up_finder is None:
            return
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        if self._looking.soon(frame.stamp_ns):
            self._up_finder.add(frame)
            up = self._up_finder.estimate()
            if up is not None and up @ self.up < _UP_CHANGE:
                self.up = up
                self.objects.set_up(up)
                self.bev.set_up(up)
                self.bev.update(self.surface.keys())
        if frame.stamp_ns - self._first_ns > _UP_SETTLED_S * 1e9:
            self._up_finder = None
