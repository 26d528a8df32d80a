"""Scenes made by hand, published as the mapper does."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
from ros_live import Spinning  # first: it keeps ROS on this machine

from s3d_ros.pipeline import FrameResult
from s3d_ros.ros.publishing import ScenePublisher
from s3d_ros.types import Bev, Frame, Intrinsics, Marker, OrientedBox, Scene, SceneObject, ViewFrame

K = Intrinsics(8, 6, 5.0, 5.0, 3.5, 2.5)


def chair(number: int, x: float) -> SceneObject:
    box = OrientedBox(np.array([x, 1.0, 0.5]), np.array([0.5, 0.5, 1.0]), np.eye(3))
    return SceneObject(number, "chair", box, {"chair": 1.0}, last_seen_ns=9, observations=5)


def make_scene(version: int, *objects: SceneObject) -> Scene:
    color = np.full((40, 50, 3), 90, np.uint8)
    bev = Bev(color, np.zeros((40, 50), np.float32), np.zeros((40, 50), np.int8), 0.1, (0, 0), np.eye(4), 0.0, 2.0)
    views = tuple(ViewFrame(k, version, k, b"jpeg" * 9000, K, np.eye(4), (Marker(1, 2, 3),)) for k in (1, 2, 3))
    up = np.array([0, 0, 1.0])
    return Scene(version, 5, "map", up, objects, bev, views, floor_area_m2=20.0, T_map_robot=np.eye(4))


def make_seen_scene(version: int, *objects: SceneObject) -> Scene:
    """Return a scene whose view frames are pictures indeed, with an object's number on each."""
    scene = make_scene(version, *objects)
    intrinsics = Intrinsics(128, 96, 100.0, 100.0, 63.5, 47.5)
    views = []
    for k in range(1, 5):
        pixels = np.random.default_rng(k).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        _, jpeg = cv2.imencode(".jpg", cv2.resize(pixels, (128, 96), interpolation=cv2.INTER_CUBIC))
        marks = tuple(Marker(o.id, 30.0 + 40 * n, 50.0) for n, o in enumerate(objects))
        views.append(ViewFrame(k, version, k * 10**9, jpeg.tobytes(), intrinsics, np.eye(4), marks))
    return dataclasses.replace(scene, views=tuple(views))


class FakeMapper(Spinning):
    """The mapper's publishing half, with scenes made by hand."""

    def __init__(self, ns: str) -> None:
        super().__init__(ns, "mapper")
        self._publisher = ScenePublisher(self.node, 32, 1.0)
        self._publisher.start_map(Scene(0, 0, "map", np.array([0, 0, 1.0])))
        self.map_id = self._publisher.map_id

    def publish(self, scene: Scene, *, changed: tuple[SceneObject, ...] = (), as_version: bool = True) -> None:
        frame = Frame(0, scene.stamp_ns, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.float32), K, np.eye(4))
        pipeline = SimpleNamespace(scene=lambda: scene)
        result = FrameResult(0, scene.stamp_ns, {}, None, changed, (), scene if as_version else None)
        self._publisher.publish(frame, result, True, pipeline)
