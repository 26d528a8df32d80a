"""A client that also counts: frames played and mapped, how long each took to come back, and the cloud at the end."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2

from s3d_ros.msg import SceneObjectArray
from s3d_ros.ros import conversions, qos
from s3d_ros.ros.client import SceneClient
from s3d_ros.types import F32, U8


class Watcher(SceneClient):
    """Knows what a planner can know: it needs nothing but the topics and the service."""

    def __init__(self, namespace: str = "/s3d", *, scenes: bool = True) -> None:
        """scenes: as for SceneClient; receiving pictures costs as much as a third of a core."""
        super().__init__(namespace, scenes=scenes, name="watcher")
        self.is_mapper_there = False
        self.frames = 0  # that the mapper told of
        self.first_ns = self.newest_ns = 0  # stamps of the first and the newest of them, 0 before there is one
        self.played = 0  # frames of which a player told on /clock
        self.delays_s: list[float] = []  # from that moment to the frame's array of objects
        self._played_at: dict[int, float] = {}  # by stamp
        self._told: deque[int] = deque(maxlen=500)
        self._cloud: tuple[F32, U8] | None = None
        self._cloud_subscription: Any = None
        self._node.create_subscription(Clock, "/clock", self._on_clock, QoSProfile(depth=100))
        self._node.create_subscription(SceneObjectArray, "objects", self._on_objects, qos.OBJECTS_READER)

    @property
    def seen_s(self) -> float:
        """Time between the first and the newest frame, by their stamps."""
        return (self.newest_ns - self.first_ns) / 1e9

    def is_ready(self) -> bool:
        """Whether both nodes are there."""
        return bool(self._ask.service_is_ready()) and self.is_mapper_there

    def listen_to_cloud(self) -> None:
        """Begin to receive clouds: the mapper makes them only while somebody listens."""
        if self._cloud_subscription is None:
            self._cloud_subscription = self._node.create_subscription(PointCloud2, "cloud", self._on_cloud, 1)

    def cloud(self) -> tuple[F32, U8] | None:
        """Return the newest cloud, points (N, 3) of the map and colours (N, 3), None until one has come."""
        return self._cloud

    def _on_objects(self, msg: SceneObjectArray) -> None:
        self.is_mapper_there = True
        stamp = conversions.stamp_ns(msg.header.stamp)
        if not msg.full and stamp not in self._told:  # what came later of an earlier frame is no new one
            self.frames += 1
            self._told.append(stamp)
            self.first_ns, self.newest_ns = self.first_ns or stamp, stamp
            if (began := self._played_at.pop(stamp, None)) is not None:
                self.delays_s.append(time.perf_counter() - began)

    def _on_clock(self, msg: Clock) -> None:
        self.played += 1
        self._played_at[conversions.stamp_ns(msg.clock)] = time.perf_counter()

    def _on_cloud(self, msg: PointCloud2) -> None:
        packed = np.frombuffer(msg.data, np.float32).reshape(-1, msg.point_step // 4)
        bgr = np.ascontiguousarray(packed[:, 3]).view(np.uint8).reshape(-1, 4)[:, :3]
        self._cloud = (packed[:, :3].copy(), bgr[:, ::-1].copy())
