"""The whole way from a frame to the scene, in one place. Live, replay, evaluation and training all call this."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from s3d_ros.anchors import Anchor
from s3d_ros.bev import BevMap
from s3d_ros.config import Config, ConfigError
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
from s3d_ros.timing import Periodic, StageTimes
from s3d_ros.types import F32, F64, U8, Frame, Instances, PoseNews, Scene, SceneObject
from s3d_ros.uprightness import UpFinder, parse_up
from s3d_ros.views import ViewSelector
from s3d_ros.visibility import EmptySpace

_UP_SETTLED_S = 10.0  # up: auto is refined for so long
_UP_CHANGE = np.cos(np.deg2rad(0.5))
_CARVE_PARTS = 2  # so that no frame waits for all of it
_STEP_NS = 33_000_000
_MOST_STEPS = 30
_MARKING_STEPS, _VIEWS_MARKED_AT_ONCE = 4, 2
# A map goes on only with the same values of these
_MUST_AGREE = (
    *("map.frame_id", "fusion.voxel_size_m", "fusion.block_voxels", "fusion.truncation_voxels"),
    *("objects.voxel_size_m", "bev.resolution_m"),
)
# What makes a map, and what is due when in it
_STAGES = (
    "past",
    "fusion",
    "surface",
    "objects",
    "bev",
    "views",
    "up",
    "_up_finder",
    "_first_ns",
    "_newest",
    "_carved",
)
_CLOCKS = ("_carving", "_segmenting", "_looking", "_drawing", "_snapping")


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
        self._up_finder = UpFinder() if known_up is None else None
        self.fusion = Fusion(c.fusion)
        self.surface = Surface(self.fusion)
        self.objects = ObjectMap(c.objects, self.up)
        self.bev = BevMap(c.bev, self.surface, self.fusion.block_m, self.up)
        self.views = ViewSelector(c.views)
        self.past = Past(c.anchors) if self._keeps_past else None
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
        # Through a proxy: else a pipeline holds itself, and its hundreds of megabytes stay until they are collected.
        self._chores = self._work(weakref.proxy(self))

    def process(self, frame: Frame, instances: Instances | None = None, is_new: bool = True) -> FrameResult:
        """Take in one frame, and the instances of it that are there.

        is_new: False when the frame was taken in before and only its instances come now.
        """
        now_ns, measure = frame.stamp_ns, self.times.measure
        if self.past is not None:
            frame = self.past.corrector.place(frame, is_new)
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
        if self.past is not None:
            with measure("past"):
                clean = frame if instances is None else without_passing(frame, instances, self._passing)
                self.past.keep(clean, instances, ids, self.objects)
        with measure("boxes"):
            changed, removed = self.objects.refresh(now_ns)
        scene = self._renew(frame) if is_new else None
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
        """Return all that makes the map: a state of each stage, see ``state``. Good until the next frame.

        leave_out: stages whose state was taken already: "fusion" takes the longest by far, then "past".
        """
        past = None if self.past is None or "past" in leave_out else self.past.state()
        return {
            "config": {key: value for key, value, _ in self.config.flat() if key in _MUST_AGREE},
            "up": self.up.tolist(),
            "up_is_settled": self._up_finder is None,
            "first_ns": self._first_ns,
            "stamp_ns": self.scene().stamp_ns if self._newest is None else self._newest.stamp_ns,
            "map_version": self.scene().map_version,
            "due_ns": {name.lstrip("_"): getattr(self, name).last_ns for name in _CLOCKS},
            "carved": self._carved,
            "fusion": None if "fusion" in leave_out else self.fusion.state(),
            "objects": self.objects.state(),
            "bev": self.bev.state(),
            "views": self.views.state(),
            "past": past,
            "picture": None if (bev := self.scene().bev) is None else bev.color,  # for people: it is drawn anew
        }

    def restore(self, state: State, rest: Callable[[], None] = lambda: None, *, draw: bool = True) -> None:
        """Replace the map by what ``state`` returned, and draw it. Where the robot is, the next frame tells.

        rest: called between short steps, where another thread wants to run.

        Raises ConfigError where the config's values don't fit the map; the present map then stays.
        """
        up = np.array(state["up"], np.float64)
        self._check(state["config"], up)
        self.reset()
        self.up = up
        if state["up_is_settled"]:
            self._up_finder = None
        self._first_ns, self._carved = state["first_ns"], state["carved"]
        for name in _CLOCKS:
            getattr(self, name).last_ns = state["due_ns"][name.lstrip("_")]
        self.fusion.restore(state["fusion"], rest)
        self.objects.restore(state["objects"])
        self.objects.up = self.up
        self.views.restore(state["views"])
        self.bev.restore(state["bev"], self.up)
        if draw:
            for _ in self.drawing():
                rest()
        if self.past is not None and state["past"]:
            self.past.restore(state["past"], state["stamp_ns"], self.objects)
        self._scenes.go_on_after(state["map_version"])
        self._snap(None, state["stamp_ns"])

    def drawing(self) -> Iterator[None]:
        """Bring surface and bird's-eye view up to date, a short step each."""
        self.surface.collect()
        while self.surface.has_work:
            self.bev.note(self.surface.step())
            yield
        while self.bev.has_work:
            self.bev.step()
            yield

    def _check(self, made_with: Mapping[str, Any], up: F64) -> None:
        for key, value, _ in self.config.flat():
            if key in _MUST_AGREE and made_with.get(key) != value:
                raise ConfigError(
                    f"the map was made with {key} = {made_with.get(key)!r}, but it is set to {value!r} now: set it as "
                    "it was, or make a new map"
                )
        known_up = parse_up(self.config.map.up)
        if known_up is not None and known_up @ up < _UP_CHANGE:
            text = ",".join(f"{v:.4g}" for v in up)
            raise ConfigError(
                f'in the map up is {text}, but map.up is set to {self.config.map.up!r}: set it to "{text}"'
            )

    def take_over(self, other: Pipeline) -> None:
        """Replace the map by another pipeline's. Takes no time: the other is left with this one's, to be forgotten."""
        for name in (*_STAGES, *_CLOCKS):
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

    @staticmethod
    def _work(self: Pipeline) -> Iterator[Scene | None]:
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
