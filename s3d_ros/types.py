"""The values that travel through the pipeline. Frozen; arrays in them are never written to after they were handed on.

Conventions: metres, radians, integer nanoseconds. ``T_a_b`` (4, 4) float64 takes points from frame b to frame a.
The camera frame is optical: x right, y down, z forward. Colour is RGB.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The names tell readers the dtype. mypy sees any array: OpenCV's and NumPy's own stubs disagree on dtypes, and casts
# at every call would hide more than they check.
F64 = NDArray[Any]
F32 = NDArray[Any]
U8 = NDArray[Any]
U16 = NDArray[Any]
I32 = NDArray[Any]
I64 = NDArray[Any]
Bools = NDArray[Any]

NO_INSTANCE = 0


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera of a rectified image, in pixels; the centre of the first pixel is (0, 0)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def matrix(self) -> F64:
        """Return K, (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Return the intrinsics of the same image resized to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            width,
            height,
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
        )


@dataclass(frozen=True)
class Frame:
    """One moment: registered colour and depth of one camera, and where it was.

    color: (H, W, 3) uint8 RGB. depth_m: (H, W) float32 metres along the optical axis, 0 where unknown.
    T_map_camera: camera-to-map. T_map_base: robot base-to-map, None when only the camera's pose is known.
    """

    index: int
    stamp_ns: int
    color: U8
    depth_m: F32
    intrinsics: Intrinsics
    T_map_camera: F64
    T_map_base: F64 | None = None


@dataclass(frozen=True)
class Instances:
    """2D instances of one frame. The numbers carry no identity from one frame to the next.

    image: (H, W) uint16, 0 where there is none. ``numbers[k]`` has ``labels[k]`` ("" unknown) with ``scores[k]``.
    """

    stamp_ns: int
    image: U16
    numbers: tuple[int, ...]
    labels: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class OrientedBox:
    """center (3,), size (3,) full extents, axes (3, 3): rows are the unit axes that the sizes belong to."""

    center: F64
    size: F64
    axes: F64

    def corners(self) -> F64:
        """Return the (8, 3) corners."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
        return self.center + (signs * self.size / 2) @ self.axes


class ObjectState(enum.IntEnum):
    """Life of an object; the values are those of ``s3d_ros/msg/SceneObject``."""

    TENTATIVE = 0
    CONFIRMED = 1
    MOVED = 2
    GONE = 3


@dataclass(frozen=True)
class SceneObject:
    """A thing in the map. ``id`` is positive, given once and never reused; ``aliases`` are the IDs merged into it."""

    id: int
    label: str
    box: OrientedBox
    label_scores: Mapping[str, float] = field(default_factory=dict)  # sum to 1
    aliases: tuple[int, ...] = ()
    state: ObjectState = ObjectState.CONFIRMED
    confidence: float = 1.0  # of existence, 0..1
    first_seen_ns: int = 0
    last_seen_ns: int = 0
    observations: int = 0

    @property
    def label_confidence(self) -> float:
        return float(self.label_scores.get(self.label, 0.0))


@dataclass(frozen=True)
class Marker:
    """Where an object's number is drawn: pixel (u right, v down) of the image it belongs to."""

    object_id: int
    u: float
    v: float


@dataclass(frozen=True)
class Bev:
    """The map from above, without the ceiling: a metric picture in the ``bev`` frame.

    The bev frame has z along ``up`` and shares the map's origin; ``T_bev_map`` is a pure rotation. Image row 0 is at
    the largest y (as on a map), column 0 at the smallest x: the pixel (column, row) covers
    x = origin_xy[0] + (column + 0.5) * resolution_m, y = origin_xy[1] + (height - row - 0.5) * resolution_m.

    color: (H, W, 3) uint8 RGB, black where nothing is known. height_m: (H, W) float32, NaN where nothing is known.
    occupancy: (H, W) int8: -1 unknown, 0 free, 100 occupied, for a robot that drives on the floor.
    """

    color: U8
    height_m: F32
    occupancy: NDArray[Any]
    resolution_m: float
    origin_xy: tuple[float, float]
    T_bev_map: F64
    floor_m: float  # height of the floor in the bev frame
    ceiling_cut_m: float  # nothing above this height is drawn; inf when no ceiling was found

    def to_pixels(self, points_map: F64) -> F64:
        """Project points (N, 3) of the map to (N, 2) pixel coordinates (u column, v row), not clipped."""
        xy = np.atleast_2d(points_map) @ self.T_bev_map[:2, :3].T + self.T_bev_map[:2, 3]
        u = (xy[:, 0] - self.origin_xy[0]) / self.resolution_m - 0.5
        v = self.color.shape[0] - (xy[:, 1] - self.origin_xy[1]) / self.resolution_m - 0.5
        return np.stack([u, v], axis=1)


@dataclass(frozen=True)
class ViewFrame:
    """One of the few frames that together show everything. ``jpeg`` is the unmarked colour image.

    ``revision`` rises when the markers change. ``stamp_ns`` and ``T_map_camera`` are those of the frame it was.
    depth_png: its depth as 16-bit PNG of millimetres, of the picture's shape and field of view; only where it was kept
    (runs keep it, messages and saved maps do not).
    """

    id: int
    revision: int
    stamp_ns: int
    jpeg: bytes
    intrinsics: Intrinsics
    T_map_camera: F64
    markers: tuple[Marker, ...] = ()
    depth_png: bytes = b""


@dataclass(frozen=True)
class Scene:
    """What an answerer may know: an immutable, versioned picture of the map.

    up: (3,) unit vector in the map frame. T_map_robot: latest pose of the robot's base, or of the camera where the
    base is unknown (``robot_is_camera``: the heading is then the optical axis laid on the floor, else base +x).
    floor_area_m2: of the rooms seen, NaN when not known yet. merged: retired ID -> surviving ID.
    """

    map_version: int
    stamp_ns: int
    frame_id: str
    up: F64
    objects: tuple[SceneObject, ...] = ()
    bev: Bev | None = None
    views: tuple[ViewFrame, ...] = ()
    floor_area_m2: float = float("nan")
    T_map_robot: F64 | None = None
    robot_is_camera: bool = True
    merged: Mapping[int, int] = field(default_factory=dict)

    def find(self, object_id: int) -> SceneObject | None:
        """Return the object with this ID or alias, or None."""
        object_id = self.merged.get(object_id, object_id)
        return next((o for o in self.objects if o.id == object_id or object_id in o.aliases), None)


@dataclass(frozen=True)
class Situation:
    """Where the asker stands: position (3,) in the map, heading (3,) a unit vector, not along ``up``."""

    position: F64
    heading: F64


@dataclass(frozen=True)
class Question:
    """One question. ``options`` as given ("A. left", or "left"); ``situation`` replaces the robot's own pose."""

    text: str
    options: tuple[str, ...] = ()
    situation: Situation | None = None
    conversation_id: str = ""
    deadline_s: float = 0.0  # 0: none


class ErrorCode(enum.StrEnum):
    """Why a question was not answered."""

    NONE = ""
    NOT_READY = "NOT_READY"  # no map or pose yet
    NOT_SETTLED = "NOT_SETTLED"  # not a question that this answerer can settle
    NOT_IN_MAP = "NOT_IN_MAP"  # it names things that the map does not hold
    AMBIGUOUS = "AMBIGUOUS"  # "the chair" is one of three: the answer asks back
    BAD_QUESTION = "BAD_QUESTION"  # empty, too long, broken options
    DEADLINE = "DEADLINE"  # passed before there was an answer
    BUSY = "BUSY"  # too many questions are waiting
    CANCELLED = "CANCELLED"  # by the asker
    MODEL_FAILED = "MODEL_FAILED"  # the language model, or its server; it is started anew
    INTERNAL = "INTERNAL"


@dataclass(frozen=True)
class Answer:
    """The reply. With ``error`` set, ``text`` says what is missing and how to mend it; it is never a guess.

    value: the number, where the answer is one, in ``unit`` ("", "m", "cm", "m2", "deg"; where a question asks for it
    also "mm", "ft", "in", "ft2"). choice: letter of the option ("A"...), "" when there were none. objects: IDs that
    the answer is about, the asked-for ones first.
    viewpoint: from where left, right, near were judged, in words; "" where that plays no part.
    measured: facts of the map that a language model was given, and what it asked the map, a line each.
    """

    text: str
    error: ErrorCode = ErrorCode.NONE
    value: float | None = None
    unit: str = ""
    choice: str = ""
    objects: tuple[int, ...] = ()
    confidence: float = 0.0
    answered_by: str = ""
    viewpoint: str = ""
    map_version: int = 0
    stamp_ns: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        return self.error == ErrorCode.NONE


@dataclass(frozen=True)
class PosePath:
    """Poses of the camera as a SLAM system knows them afterwards: stamps_ns (N,) ascending, T_map_camera (N, 4, 4)."""

    stamps_ns: I64
    T_map_camera: F64


@dataclass(frozen=True)
class PoseStep:
    """From a stamp on poses come moved by ``delta`` (4, 4), from the left: a step of map to odom on /tf."""

    stamp_ns: int
    delta: F64


PoseNews = PosePath | PoseStep


@dataclass(frozen=True)
class Arrival:
    """What the frame assembler hands out: a frame, its instances if they are there, and whether the frame is new.

    Live, a detector's instances come later than their frame: the frame arrives at once with ``instances`` None and
    once more, ``is_new`` False, with them. pose_news: corrections of earlier poses that came before it.
    """

    frame: Frame
    instances: Instances | None = None
    is_new: bool = True
    pose_news: tuple[PoseNews, ...] = ()
