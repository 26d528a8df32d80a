"""The few frames that together show everything, chosen while the camera moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3d_ros.config import ViewsConfig
from s3d_ros.correction import Correction
from s3d_ros.lifting import LiftedPoints
from s3d_ros.markers import place_in_view
from s3d_ros.objects import ObjectMap
from s3d_ros.state import State, put, taken
from s3d_ros.tiles import block_keys
from s3d_ros.types import F64, Frame, Intrinsics, Marker, ViewFrame

_FAR_M = 4.0  # what is further away is not shown well
MovedViews = dict[int, tuple[F64, LiftedPoints, frozenset[int]]]  # by ID: pose, points, cells
_REMEMBERED = ("_next_id", "_last_ns", "_turn")


@dataclass
class _View:
    frame: ViewFrame
    points: LiftedPoints
    cells: frozenset[int]


class ViewSelector:
    """Keeps at most ``count`` frames. A new one pushes out the one whose loss uncovers least."""

    def __init__(self, config: ViewsConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        self._views: list[_View] = []
        self._covered: dict[int, int] = {}  # cell -> number of views that show it
        self._next_id = 1
        self._last_ns: int | None = None
        self._turn = 0

    def consider(self, frame: Frame, points: LiftedPoints) -> bool:
        """Take the frame if it shows something new from somewhere new; return whether it was taken."""
        period_ns = self.config.period_s * 1e9
        if self._last_ns is not None and 0 <= frame.stamp_ns - self._last_ns < period_ns:
            return False
        self._last_ns = frame.stamp_ns
        if not self._far_from_all(frame.T_map_camera):
            return False
        seen = self._cells(points)
        gain = sum(1 for c in seen if c not in self._covered)
        full = len(self._views) >= self.config.count
        if full:
            losses = [sum(1 for c in v.cells if self._covered[c] == 1) for v in self._views]
            least = int(np.argmin(losses))
            if gain <= losses[least]:
                return False
            self._forget(least)
        ok, jpeg = cv2.imencode(".jpg", frame.color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.config.jpeg_quality])
        if not ok:  # only for an empty image
            return False
        view = ViewFrame(self._next_id, 0, frame.stamp_ns, jpeg.tobytes(), frame.intrinsics, frame.T_map_camera.copy())
        self._next_id += 1
        self._add(_View(view, points, seen))
        return True

    @property
    def size_bytes(self) -> int:
        """Of the images, and of the points that they show."""
        return sum(len(v.frame.jpeg) + v.points.xyz.nbytes + v.points.pixels.nbytes for v in list(self._views))

    def state(self) -> State:
        """Return the view frames by age, each with the points that it shows."""
        return {**taken(self, _REMEMBERED), "views": [_view_state(view) for view in self._views]}

    def restore(self, state: State) -> None:
        """Forget what there is and take over what ``state`` returned."""
        self.reset()
        put(self, state, _REMEMBERED)
        for view in state["views"]:
            frame, points = _restored(view)
            self._add(_View(frame, points, self._cells(points)))

    def mark(self, objects: ObjectMap, at_most: int | None = None) -> None:
        """Bring the markers of (at most so many) views up to date; a changed view gets a higher revision."""
        n = len(self._views)
        for _ in range(n if at_most is None else min(n, at_most)):
            self._turn = (self._turn + 1) % n
            view = self._views[self._turn]
            ids = objects.ids_at(view.points.xyz)
            markers = place_in_view(ids, view.points.pixels, view.points.shape, view.points.stride)
            if view.frame.revision == 0 or {m.object_id for m in markers} != {m.object_id for m in view.frame.markers}:
                view.frame = replace(view.frame, revision=view.frame.revision + 1, markers=markers)

    def move(self, correction: Correction, moved: MovedViews | None = None) -> None:
        """Move all views as a correction says; each gets a higher revision. moved: those that were moved before."""
        views, self._views, self._covered = self._views, [], {}
        for view in views:
            known = None if moved is None else moved.get(view.frame.id)
            T, points, cells = self._moved(view, correction) if known is None else known
            frame = replace(view.frame, revision=view.frame.revision + 1, T_map_camera=T)
            self._add(_View(frame, points, cells))

    def moved(self, correction: Correction, known: MovedViews, rest: Callable[[], None] = lambda: None) -> MovedViews:
        """Return where a correction moves the views that are not known yet. From any thread, in short steps."""
        out: MovedViews = {}
        for view in [v for v in list(self._views) if v.frame.id not in known]:
            out[view.frame.id] = self._moved(view, correction)
            rest()
        return out

    def _moved(self, view: _View, correction: Correction) -> tuple[F64, LiftedPoints, frozenset[int]]:
        at = view.frame.T_map_camera[None, :3, 3]
        delta = correction.at(np.array([view.frame.stamp_ns]), at)[0]
        T: F64 = delta @ view.frame.T_map_camera
        xyz = (view.points.xyz @ delta[:3, :3].T + delta[:3, 3]).astype(np.float32)
        points = replace(view.points, xyz=xyz, camera=T[:3, 3])
        return T, points, self._cells(points)

    def snapshot(self) -> tuple[ViewFrame, ...]:
        """Return the view frames by time, those that were marked at least once."""
        return tuple(sorted((v.frame for v in self._views if v.frame.revision), key=lambda f: f.stamp_ns))

    def stamps(self) -> frozenset[int]:
        """Return the stamps of the view frames that are kept now, marked or not."""
        return frozenset(v.frame.stamp_ns for v in self._views)

    def _far_from_all(self, T: F64) -> bool:
        if not self._views:
            return True
        poses = np.stack([v.frame.T_map_camera for v in self._views])
        distance = np.linalg.norm(poses[:, :3, 3] - T[:3, 3], axis=1)
        cosine = np.clip((np.einsum("nij,ij->n", poses[:, :3, :3], T[:3, :3]) - 1) / 2, -1, 1)
        turned = np.rad2deg(np.arccos(cosine))
        return bool(((distance >= self.config.min_distance_m) | (turned >= self.config.min_angle_deg)).all())

    def _cells(self, points: LiftedPoints) -> frozenset[int]:
        near = np.linalg.norm(points.xyz - points.camera.astype(np.float32), axis=1) < _FAR_M
        cells = np.floor(points.xyz[near][::4] / np.float32(self.config.cell_m)).astype(np.int32)
        return frozenset(block_keys(cells).tolist())

    def _add(self, view: _View) -> None:
        self._views.append(view)
        for cell in view.cells:
            self._covered[cell] = self._covered.get(cell, 0) + 1

    def _forget(self, index: int) -> None:
        for cell in self._views.pop(index).cells:
            self._covered[cell] -= 1
            if not self._covered[cell]:
                del self._covered[cell]


def _view_state(view: _View) -> State:
    frame, points = view.frame, view.points
    return {
        **{name: getattr(frame, name) for name in ("id", "revision", "stamp_ns", "jpeg")},
        "intrinsics": vars(frame.intrinsics),
        "T_map_camera": frame.T_map_camera.tolist(),
        "markers": [vars(m) for m in frame.markers],
        "shape": list(points.shape),
        "stride": points.stride,
        "xyz": points.xyz,
        "pixels": points.pixels,
    }


def _restored(state: State) -> tuple[ViewFrame, LiftedPoints]:
    T = np.array(state["T_map_camera"], np.float64)
    frame = ViewFrame(
        **{name: state[name] for name in ("id", "revision", "stamp_ns", "jpeg")},
        intrinsics=Intrinsics(**state["intrinsics"]),
        T_map_camera=T,
        markers=tuple(Marker(**m) for m in state["markers"]),
    )
    xyz, height_width = np.array(state["xyz"], np.float32), (state["shape"][0], state["shape"][1])
    pixels, nothing = np.array(state["pixels"], np.int32), np.zeros(len(xyz), np.uint16)
    return frame, LiftedPoints(frame.stamp_ns, xyz, nothing, pixels, T[:3, 3], height_width, state["stride"])
