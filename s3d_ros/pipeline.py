"""The whole way from a frame to the scene, in one place. Live, replay, evaluation and training all call this."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

import numpy as np

from s3d_ros import keeping
from s3d_ros.anchors import Anchor
from s3d_ros.bev import BevMap
from s3d_ros.config import Config
from s3d_ros.fusion import Fusion
from s3d_ros.lifting import LiftedPoints, lift
from s3d_ros.objects import ObjectMap
from s3d_ros.passing import labels_of, passing_numbers, without_passing
from s3d_ros.past import Past, Remaking
from s3d_ros.reconciling import reconcile
from s3d_ros.refusion import Refusion
from s3d_ros.room import floor_area_m2
from s3d_ros.scenes import SceneBuilder
from s3d_ros.segment.protocol import Segmenter
from s3d_ros.state import State
from s3d_ros.surface import Surface
from s3d_ros.timing import Clocks, Periodic, StageTimes
from s3d_ros.types import F32, F64, U8, Frame, Instances, PoseNews, Scene, SceneObject
from s3d_ros.uprightness import UpFinder, is_same_up, parse_up
from s3d_ros.views import ViewSelector
from s3d_ros.visibility import EmptySpace

_UP_SETTLED_S = 10.0  # up: auto is refined for so long
_CARVE_PARTS = 2  # so that no frame waits for all of it
_STEP_NS = 33_000_000
_MOST_STEPS = 30
_MARKING_STEPS, _VIEWS_MARKED_AT_ONCE = 4, 2
# What makes a map, and what is due when in it
_STAGES = (
    "past",
    "fusion",
    "surface",
    "objects",
    "bev",
    "views",
    "up",
    "up_finder",
    "first_ns",
    "newest",
    "carved_part",
    "clocks",
)


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

    def __init__(self, config: Config, segmenter: Segmenter | None = None, *, keeps_past: bool = True) -> None:
        """segmenter: finds instances in frames that come without; None: such frames are only fused.

        keeps_past: whether poses can be corrected later.
        """
        self.config = config
        self._keeps_past = keeps_past
        self.segmenter = segmenter
        self.times = StageTimes()
        self._scenes = SceneBuilder(config.map.frame_id)
        self.reset()

    def reset(self) -> None:
        """Forget the map and start anew. Versions go on rising."""
        c = self.config
        known_up = parse_up(c.map.up)
        self.up: F64 = np.array([0.0, 0.0, 1.0]) if known_up is None else known_up
        self.up_finder = UpFinder() if known_up is None else None
        self.fusion = Fusion(c.fusion)
        self.surface = Surface(self.fusion)
        self.objects = ObjectMap(c.objects, self.up)
        self.bev = BevMap(c.bev, self.surface, self.fusion.block_m, self.up)
        self.views = ViewSelector(c.views)
        self.past = Past(c.anchors) if self._keeps_past else None
        self._passing = labels_of(c.objects.transient_labels)
        self._scenes.start_anew()
        self.clocks = Clocks(
            carving=Periodic(c.fusion.carve_period_s / _CARVE_PARTS),
            segmenting=Periodic(c.segment.period_s),
            looking=Periodic(c.views.period_s),
            drawing=Periodic(c.bev.period_s),
            snapping=Periodic(c.map.scene_period_s),
        )
        self.carved_part = 0
        self.first_ns: int | None = None
        self.newest: Frame | None = None
        # Through a proxy: else a pipeline holds itself, and its hundreds of megabytes stay until they are collected.
        self._chores = self._work(weakref.proxy(self))

    def process(
        self, frame: Frame, instances: Instances | None = None, is_new: bool = True, in_haste: bool = False
    ) -> FrameResult:
        """Take in one frame, and the instances of it that are there.

        is_new: False when the frame was taken in before and only its instances come now. in_haste: others wait: its
        objects are followed, but its depth is not fused, and work on the whole map waits; about half the time.
        """
        now_ns, measure = frame.stamp_ns, self.times.measure
        if self.past is not None:
            frame = self.past.corrector.place(frame, is_new)
        if is_new:
            self._find_up(frame)
            if not in_haste:
                with measure("fusion"):
                    clean = frame if instances is None else without_passing(frame, instances, self._passing)
                    self.fusion.integrate(clean)
            if self.clocks.carving.due(now_ns):
                self._carve(frame)
        if instances is None and self.segmenter is not None and self.clocks.segmenting.due(now_ns):
            with measure("segment"):
                instances = self.segmenter.segment(frame, self.up)
        looks = is_new and self.clocks.looking.due(now_ns)
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
        if self.past is not None:
            with measure("past"):
                clean = frame if instances is None else without_passing(frame, instances, self._passing)
                self.past.keep(clean, instances, ids, self.objects)
        with measure("boxes"):
            changed, removed = self.objects.refresh(now_ns)
        scene = self._renew(frame) if is_new and not in_haste else None
        return FrameResult(frame.index, now_ns, ids, instances, changed, removed, scene)

    def correct(self, news: PoseNews) -> None:
        """Learn that earlier poses were wrong: see ``refusion``. Raises ValueError for what corrects nothing here."""
        if self.past is not None:
            self.past.hear(news)

    def refusion(self) -> tuple[Remaking, Refusion, list[Anchor]] | None:
        """Return how the map is to be made anew, if corrections ask for it: a Refusion that is to see the anchors."""
        remaking = None if self.past is None else self.past.wanted()
        if remaking is None or self.past is None:
            return None
        return remaking, Refusion(self.config, self.up, remaking.memory), self.past.anchors_of(remaking)

    def remake(self, wanted: tuple[Remaking, Refusion, list[Anchor]] | None = None) -> None:
        """Make the map anew here and now, as ``refusion`` returned or returns. For offline: it takes its time."""
        wanted = wanted or self.refusion()
        if wanted is not None:
            remaking, refusion, anchors = wanted
            refusion.see(anchors)
            self.replace_by(refusion, remaking)

    def replace_by(self, made: Refusion, remaking: Remaking) -> None:
        """Go on with the map that was made anew; it must have seen all anchors but the last few. Takes little time.

        The old map is left in ``made``, to be forgotten.
        """
        assert self.past is not None
        made.settle()
        made.see(self.past.anchors_of(remaking, made.last_ns))
        other = made.pipeline
        if not made.is_prepared:
            made.prepare(None, remaking.correction)
        other.objects.refresh(max(made.last_ns, 0), everything=True)
        memory = remaking.memory
        first_new_id = 1 if memory is None else int(memory.objects["next_id"])
        reconcile(other.objects.tracks, self.objects.tracks, made.sights, remaking.correction, first_new_id)
        self.views.move(remaking.correction, made.moved)
        for name in ("fusion", "surface", "objects", "bev"):
            mine = getattr(self, name)
            setattr(self, name, getattr(other, name))
            setattr(other, name, mine)
        self.past.remade(remaking)
        self._chores = self._work(weakref.proxy(self))

    def finish(self, last_frame: Frame | None = None) -> Scene:
        """Bring everything up to date, as at the end of a recording, and return the last scene."""
        if last_frame is not None:
            self.objects.refresh(last_frame.stamp_ns, everything=True)
            self.bev.update(self.surface.update())
            self.views.mark(self.objects)
            self._snap(last_frame)
        return self.scene()

    def state(self, leave_out: Container[str] = ()) -> State:
        """Return all that makes the map: a state of each stage, see ``keeping``. Good until the next frame.

        leave_out: stages whose state was taken already: "fusion" takes the longest by far, then "past".
        """
        return keeping.state_of(self, leave_out)

    def restore(self, state: State, rest: Callable[[], None] = lambda: None, *, draw: bool = True) -> None:
        """Replace the map by what ``state`` returned, and draw it. Where the robot is, the next frame tells.

        rest: called between short steps, where another thread wants to run.

        Raises ConfigError where the config's values don't fit the map; the present map then stays.
        """
        keeping.restore(self, state, rest, draw)

    def go_on_after(self, map_version: int, stamp_ns: int) -> None:
        """Number the scene's next versions after this one, and make one of what is there."""
        self._scenes.go_on_after(map_version)
        self._snap(None, stamp_ns)

    def drawing(self) -> Iterator[None]:
        """Bring surface and bird's-eye view up to date, a short step each."""
        self.surface.collect()
        while self.surface.has_work:
            self.bev.note(self.surface.step())
            yield
        while self.bev.has_work:
            self.bev.step()
            yield

    def take_over(self, other: Pipeline) -> None:
        """Replace the map by another pipeline's. Takes no time: the other is left with this one's, to be forgotten."""
        for name in _STAGES:
            mine = getattr(self, name)
            setattr(self, name, getattr(other, name))
            setattr(other, name, mine)
        self._scenes.take_over(other.scene())
        self._chores = self._work(weakref.proxy(self))

    def sizes_bytes(self) -> dict[str, int]:
        """Return how much memory each part of the map takes. From any thread."""
        sizes = {
            "fusion": self.fusion.size_bytes,
            "surface": self.surface.size_bytes,
            "objects": self.objects.tracks.voxels.size_bytes,
            "bev": self.bev.size_bytes,
            "views": self.views.size_bytes,
        }
        return sizes if self.past is None else sizes | self.past.sizes_bytes()

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
            self.fusion.carve(empty, self.carved_part, _CARVE_PARTS)
            if self.carved_part == 0:
                self.fusion.erase(self.objects.look(empty))
                self.bev.see(frame)
        self.carved_part = (self.carved_part + 1) % _CARVE_PARTS

    def _renew(self, frame: Frame) -> Scene | None:
        """Do some of the work on the whole map, a few milliseconds for each 30th of a second that has passed.

        It is never done in one frame: that frame would come late, and those after it.
        """
        passed_ns = frame.stamp_ns - (self.newest or frame).stamp_ns
        self.newest = frame
        scene = None
        for _ in range(int(np.clip(round(passed_ns / _STEP_NS), 1, _MOST_STEPS))):
            try:
                scene = next(self._chores) or scene
            except Exception:  # which ends a generator: the next frame begins a new round
                self._chores = self._work(weakref.proxy(self))
                raise
        return scene

    @staticmethod
    def _work(self: Pipeline) -> Iterator[Scene | None]:
        """Bring surface, bird's-eye view, markers and scene up to date, in turn, for ever; a short step each."""
        measure = self.times.measure
        while True:
            assert self.newest is not None
            if self.clocks.drawing.due(self.newest.stamp_ns):
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
            if self.clocks.snapping.due(self.newest.stamp_ns):
                for _ in range(_MARKING_STEPS):
                    with measure("views"):
                        self.views.mark(self.objects, _VIEWS_MARKED_AT_ONCE)
                    yield None
                yield self._snap(self.newest)
            else:
                yield None

    def _snap(self, frame: Frame | None, stamp_ns: int = 0) -> Scene | None:
        """Make a new version of the scene if there is news. frame: the newest; None: the robot may be anywhere."""
        T_map_robot, robot_is_camera = None, True
        if frame is not None:
            stamp_ns, robot_is_camera = frame.stamp_ns, frame.T_map_base is None
            T_map_robot = frame.T_map_camera if robot_is_camera else frame.T_map_base
        with self.times.measure("scene"):
            things = self.objects.snapshot()
            seen, origin = self.bev.seen_mask()
            area = floor_area_m2(
                seen, origin, self.config.bev.resolution_m, (o.box for o in things), self.bev.T_bev_map
            )
            return self._scenes.update(
                stamp_ns=stamp_ns,
                up=self.up,
                objects=things,
                bev=self.bev.snapshot(stamp_ns),
                views=self.views.snapshot(),
                floor_area_m2=area,
                T_map_robot=T_map_robot,
                robot_is_camera=robot_is_camera,
                merged=dict(self.objects.merged),
            )

    def _find_up(self, frame: Frame) -> None:
        """With ``up: auto``: find it, refine it for a while, and turn BEV and boxes when it changes."""
        if self.up_finder is None:
            return
        if self.first_ns is None:
            self.first_ns = frame.stamp_ns
        if self.clocks.looking.soon(frame.stamp_ns):
            self.up_finder.add(frame)
            up = self.up_finder.estimate()
            if up is not None and not is_same_up(up, self.up):
                self.up = up
                self.objects.set_up(up)
                self.bev.set_up(up)
                self.bev.update(self.surface.keys())
        if frame.stamp_ns - self.first_ns > _UP_SETTLED_S * 1e9:
            self.up_finder = None
