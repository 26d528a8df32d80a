"""A scene as the geometric answerer sees it: present objects by label, distances, directions.

Definitions (all lengths in metres, boxes and points in the map frame):

- *present*: CONFIRMED or MOVED. GONE objects count only for the order of first appearance.
- *label*: the one with the highest ``label_scores``, or ``SceneObject.label`` where there are no
  scores; case and underscores play no part.
- *distance*: between the closest points of two oriented boxes, 0 where they meet.
- *direction*: between box centres, laid on the plane perpendicular to ``up``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s3d_ros.geometry import box_distance, level_rotation, point_box_distance
from s3d_ros.types import F64, ObjectState, Scene, SceneObject

UPRIGHT = 1 - 1e-8  # |cosine| between a box's axis and up from which the box counts as upright


def label_of(thing: SceneObject) -> str:
    """Return the label with the highest score, in plain words: "computer mouse"."""
    scores = thing.label_scores
    label = max(scores, key=lambda k: scores[k]) if scores else thing.label
    return " ".join(label.lower().replace("_", " ").split())


def name_of(thing: SceneObject) -> str:
    """Return how replies name an object: "chair 12", or "object 12" without a label."""
    return f"{label_of(thing) or 'object'} {thing.id}"


def names_of(things: Sequence[SceneObject], joint: str = "and") -> str:
    """Return "chair 1, chair 2 and table 3"."""
    names = [name_of(t) for t in things]
    return f"{', '.join(names[:-1])} {joint} {names[-1]}" if len(names) > 1 else "".join(names)


@dataclass(frozen=True)
class Standpoint:
    """A resolved viewpoint: where somebody stands and which way they look.

    position: (3,). heading: (3,) unit vector on the floor plane, None where nothing says which way.
    words: for the reply. place: the object that they stand by, None for a pose.
    """

    position: F64
    heading: F64 | None
    words: str
    place: SceneObject | None = None


class World:
    """Look-ups over one Scene; made once per scene version."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.up: F64 = np.asarray(scene.up, dtype=np.float64) / np.linalg.norm(scene.up)
        alive = (ObjectState.CONFIRMED, ObjectState.MOVED)
        self.objects = tuple(o for o in scene.objects if o.state in alive)
        self.gone = tuple(o for o in scene.objects if o.state == ObjectState.GONE)
        self.by_label: dict[str, list[SceneObject]] = {}
        for thing in self.objects:
            self.by_label.setdefault(label_of(thing), []).append(thing)
        self.index = {o.id: i for i, o in enumerate(self.objects)}

    @cached_property
    def corners(self) -> F64:
        """Corners of all present boxes in a frame whose z is up, (N, 8, 3)."""
        stacked = [o.box.corners() for o in self.objects]
        return np.reshape(stacked, (-1, 8, 3)) @ level_rotation(self.up).T

    @cached_property
    def low(self) -> F64:
        """Heights of the boxes' lowest points along up, (N,)."""
        return np.asarray(self.corners[..., 2].min(axis=1))

    @cached_property
    def high(self) -> F64:
        """Heights of the boxes' highest points along up, (N,)."""
        return np.asarray(self.corners[..., 2].max(axis=1))

    @cached_property
    def centers(self) -> F64:
        """Box centres in the map frame, (N, 3)."""
        return np.reshape([o.box.center for o in self.objects], (-1, 3))

    @cached_property
    def footprints(self) -> tuple[F64, np.ndarray]:
        """Floor-plan rectangles of the boxes, (N, 4, 2) in order, and which boxes are upright, (N,) bool."""
        if not self.objects:
            return np.zeros((0, 4, 2)), np.zeros(0, dtype=bool)
        axes = np.stack([o.box.axes for o in self.objects])
        sizes = np.maximum([o.box.size for o in self.objects], 1e-9)  # a point has no edge normals
        along_up = np.abs(axes @ self.up)
        vertical = along_up.argmax(axis=1)
        upright = along_up.max(axis=1) >= UPRIGHT
        rows = np.arange(len(axes))
        a, b = (vertical + 1) % 3, (vertical + 2) % 3
        R = level_rotation(self.up)
        half_a = (axes[rows, a] * sizes[rows, a, None] / 2) @ R.T
        half_b = (axes[rows, b] * sizes[rows, b, None] / 2) @ R.T
        middle = self.centers @ R.T
        signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
        return np.stack([middle + i * half_a + j * half_b for i, j in signs], axis=1)[..., :2], upright

    def distances(self, thing: SceneObject, others: Sequence[SceneObject] | None = None) -> F64:
        """Return the distances (M,) of one present box from others (all present ones by default).

        Upright boxes are upright prisms: the distance is the hypotenuse of the gap in height and the
        gap of the footprints, for all of them at once. Tilted ones are solved one by one.
        """
        others = self.objects if others is None else others
        rows = np.array([self.index[o.id] for o in others], dtype=int)
        plan, upright = self.footprints
        me = self.index[thing.id]
        gap = np.maximum(0, np.maximum(self.low[rows] - self.high[me], self.low[me] - self.high[rows]))
        out = np.hypot(gap, rectangle_distances(plan[me], plan[rows]))
        for i in np.flatnonzero(~(upright[rows] & upright[me])):
            out[i] = box_distance(thing.box, others[int(i)].box)[0]
        return np.asarray(out)

    def distance(self, a: SceneObject, b: SceneObject) -> float:
        """Return the distance between the closest points of two boxes, in metres."""
        return box_distance(a.box, b.box)[0]

    def distances_from(self, here: Standpoint, others: Sequence[SceneObject]) -> F64:
        """Return how far the closest points of ``others`` are from a standpoint, (M,).

        From the box of the object stood by where there is one, else from the position itself, in 3D.
        """
        if here.place is not None and here.place.id in self.index:
            return self.distances(here.place, others)
        return np.array([point_box_distance(here.position, o.box) for o in others])

    def on_floor(self, vector: F64) -> F64:
        """Lay a vector (3,) on the floor plane."""
        v = np.asarray(vector, dtype=np.float64)
        return np.asarray(v - (v @ self.up) * self.up)

    def bearing_deg(self, position: F64, heading: F64, target: F64) -> float:
        """Return the turn in degrees from ``heading`` to ``target`` (3,): left is positive, -180..180."""
        ahead, way = self.on_floor(heading), self.on_floor(target - position)
        return float(np.degrees(np.arctan2(np.cross(ahead, way) @ self.up, ahead @ way)))


def rectangle_distances(one: F64, others: F64) -> F64:
    """Return the distances (M,) between a rectangle (4, 2), corners in order, and others (M, 4, 2).

    Worked example: unit squares at the origin and at (3, 0) are 2 apart.
    """
    if not len(others):
        return np.zeros(0)
    ones = np.broadcast_to(one, others.shape)
    corner = np.minimum(_corner_gaps(ones, others), _corner_gaps(others, ones))
    return np.where(_overlap(ones, others), 0.0, corner)


def _corner_gaps(points: F64, edges: F64) -> F64:
    """Smallest distance from any corner of ``points`` (M, 4, 2) to any edge of ``edges`` (M, 4, 2), (M,)."""
    start = edges[:, None, :, :]  # (M, 1, 4, 2)
    along = np.roll(edges, -1, axis=1)[:, None] - start
    offset = points[:, :, None, :] - start  # (M, 4, 4, 2)
    length2 = np.maximum((along**2).sum(-1), 1e-18)
    t = np.clip((offset * along).sum(-1) / length2, 0, 1)
    return np.asarray(np.linalg.norm(offset - t[..., None] * along, axis=-1).min(axis=(1, 2)))


def _overlap(a: F64, b: F64) -> np.ndarray:
    """Which of the convex quadrilaterals (M, 4, 2) meet, (M,) bool: no edge normal separates them."""
    meet = np.ones(len(a), dtype=bool)
    for edges in (a, b):
        side = np.roll(edges, -1, axis=1) - edges
        normal = np.stack([-side[..., 1], side[..., 0]], axis=-1)  # (M, 4, 2)
        pa, pb = normal @ a.transpose(0, 2, 1), normal @ b.transpose(0, 2, 1)  # (M, 4 normals, 4 corners)
        apart = (pa.max(-1) < pb.min(-1)) | (pb.max(-1) < pa.min(-1))
        meet &= ~apart.any(axis=1)
    return meet
