"""The whole way from a frame to the scene, in one place. Live, replay, evaluation and training all call this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from s3d_ros.bev import BevMap
from s3d_ros.config import Config
from s3d_ros.fusion import Fusion
from s3d_ros.lifting import LiftedPoints, lift
from s3d_ros.objects import ObjectMap
from s3d_ros.passing import labels_of, passing_numbers, without_passing
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
_CARVE_PARTS = 2  # so that no frame waits for all of it
_STEP_NS = 33_000_000
_MOST_STEPS = 30
_MARKING_STEPS, _VIEWS_MARKED_AT_ONCE = 4, 2


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
        self._scenes = SceneBuilder(config.map.frame_id)
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
        self._passing = labels_of(c.objects.transient_labels)
        self._scenes.start_anew()
        self._carving = Periodic(c.fusion.carve_period_s / _CARVE_PARTS)
        self._carved = 0
        self._segmenting = Periodic(c.segment.period_s)
        self._looking = Periodic(c.views.period_s)
        self._drawing = Periodic(c.bev.period_s)
        self._snapping = Periodic(c.map.scene_period_s)
        self._first_ns: int | None = None
        self._newest: Frame | None = None
        self._chores = self._work()

    def process(self, frame: Frame, instances: Instances | None = None, is_new: bool = True) -> FrameResult:
        """Take in one frame, and the instances of it that are there.

        is_new: False when the frame was taken in before and only its instances come now.
        """
        now_ns, measure = frame.stamp_ns, self.times.measure
        if is_new:
            self._find_up(frame)
            with measure("fusion"):
                self.fusion.integrate(frame if instances is None else without_passing(frame, instances, self._passing))
            if self._carving.due(now_ns):
                self._carve(frame)
        if instances is None and self.segmenter is not None and self._segmenting.due(now_ns):
            with measure("segment"):
                instances = self.segmenter.segment(frame, self.up)
        looks = is_new and self._looking.due(now_ns)
        if looks or instances is not None:
            with measure("lift"):
                points = lift(frame, None if instances is None else instances.image, self.config.objects.stride)
        if looks:
            with measure("views"):
                self.views.consider(frame, points)
        ids: dict[int, int | None] = {}
        if instances is not None:
            with measure("objects"):
                ids = self.objects.observe(frame, points, instances)
                self._note_passing(points, instances, is_new)
        with measure("boxes"):
            changed, removed = self.objects.refresh(now_ns)
        scene = self._renew(frame) if is_new else None
        return FrameResult(frame.index, now_ns, ids, instances, changed, removed, scene)

    def finish(self, last_frame: Frame | None = None) -> Scene:
        """Bring everything up to date, as at the end of a recording, and return the last scene."""
        if last_frame is not None:
            self.objects.refresh(last_frame.stamp_ns, everything=True)
            self.bev.update(self.surface.update())
            self.views.mark(self.objects)
            self._snap(last_frame)
        return self.scene()

    def scene(self) -> Scene:
        """Return the newest version of the scene."""
        return self._scenes.current

    def cloud(self) -> tuple[F32, U8]:
        """Return the surface as it was last drawn: points (N, 3) of the map and colours (N, 3)."""
        return self.surface.all()

    def _note_passing(self, points: LiftedPoints, instances: Instances, is_new: bool) -> None:
        """Who passes through is in the grid while they are seen; what was fused of them is taken out again."""
        here = self.objects.passing
        self.bev.note_passing(points.xyz[np.isin(points.instance, here)], points.stamp_ns)
        left_out = passing_numbers(instances, self._passing) if is_new else []
        self.fusion.erase(points.xyz[np.isin(points.instance, [n for n in here if n not in left_out])])

    def _carve(self, frame: Frame) -> None:
        c = self.config.fusion
        with self.times.measure("carve"):
            empty = EmptySpace(frame, c.carve_margin_voxels * c.voxel_size_m, c.depth_noise_per_m)
            self.fusion.carve(empty, self._carved, _CARVE_PARTS)
            if self._carved == 0:
                self.fusion.erase(self.objects.look(empty))
                self.bev.see(frame)
        self._carved = (self._carved + 1) % _CARVE_PARTS

    def _renew(self, frame: Frame) -> Scene | None:
        """Do some of the work on the whole map, a few milliseconds for each 30th of a second that has passed.

        It is never done in one frame: that frame would come late, and those after it.
        """
        passed_ns = frame.stamp_ns - (self._newest or frame).stamp_ns
        self._newest = frame
        scene = None
        for _ in range(int(np.clip(round(passed_ns / _STEP_NS), 1, _MOST_STEPS))):
            scene = next(self._chores) or scene
        return scene

    def _work(self) -> Iterator[Scene | None]:
        """Bring surface, bird's-eye view, markers and scene up to date, in turn, for ever; a short step each."""
        measure = self.times.measure
        while True:
            assert self._newest is not None
            if self._drawing.due(self._newest.stamp_ns):
                with measure("surface"):
                    self.surface.collect()
                while self.surface.has_work:
                    with measure("surface"):
                        self.bev.note(self.surface.step())
                    yield None
                while self.bev.has_work:
                    with measure("bev"):
                        self.bev.step()
                    yield None
            if self._snapping.due(self._newest.stamp_ns):
                for _ in range(_MARKING_STEPS):
                    with measure("views"):
                        self.views.mark(self.objects, _VIEWS_MARKED_AT_ONCE)
                    yield None
                yield self._snap(self._newest)
            else:
                yield None

    def _snap(self, frame: Frame) -> Scene | None:
        """Make a new version of the scene if there is news."""
        with self.times.measure("scene"):
            things = self.objects.snapshot()
            seen, origin = self.bev.seen_mask()
            area = floor_area_m2(
                seen, origin, self.config.bev.resolution_m, (o.box for o in things), self.bev.T_bev_map
            )
            return self._scenes.update(
                stamp_ns=frame.stamp_ns,
                up=self.up,
                objects=things,
                bev=self.bev.snapshot(frame.stamp_ns),
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
