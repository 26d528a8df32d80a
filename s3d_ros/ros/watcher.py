"""Follow a map over ROS and ask about it, from a program that is no node itself: what a planner would write."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2

from s3d_ros.msg import BevInfo, SceneObjectArray
from s3d_ros.msg import ViewFrame as ViewFrameMsg
from s3d_ros.ros import conversions, qos
from s3d_ros.ros.asking import answer_of
from s3d_ros.ros.running import use_large_messages
from s3d_ros.ros.scene_receiver import SceneReceiver
from s3d_ros.srv import AskScene
from s3d_ros.types import F32, U8, Answer, ErrorCode, Scene


class Watcher:
    """Listens in a thread of its own; a context manager. Needs nothing but the topics and the service ``ask``."""

    def __init__(self, namespace: str = "/s3d") -> None:
        use_large_messages()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("watcher", namespace=namespace, context=self._context)
        self.is_mapper_there = False
        self.frames = 0  # that the mapper told of
        self.first_ns = self.newest_ns = 0  # stamps of the first and the newest of them, 0 before there is one
        self.played = 0  # frames of which a player told on /clock
        self.delays_s: list[float] = []  # from that moment to the frame's array of objects
        self._played_at: dict[int, float] = {}  # by stamp
        self.status: dict[str, str] = {}  # the mapper's newest diagnostics
        self._scenes = SceneReceiver()
        self._cloud: tuple[F32, U8] | None = None
        self._cloud_subscription: Any = None
        self._subscribe()
        self._client = self.node.create_client(AskScene, "ask", qos_profile=qos.QUESTIONS)
        self._thread = threading.Thread(target=self._spin, name="watcher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._context.try_shutdown()
        self._thread.join(timeout=5.0)

    def scene(self) -> Scene | None:
        """Return the newest complete scene, None before there is one."""
        return self._scenes.scene()

    def listen_to_cloud(self) -> None:
        """Begin to receive clouds: the mapper makes them only while somebody listens."""
        if self._cloud_subscription is None:
            self._cloud_subscription = self.node.create_subscription(PointCloud2, "cloud", self._on_cloud, 1)

    def cloud(self) -> tuple[F32, U8] | None:
        """Return the newest cloud, points (N, 3) of the map and colours (N, 3), None until one has come."""
        return self._cloud

    def is_ready(self) -> bool:
        """Whether both nodes are there."""
        return bool(self._client.service_is_ready()) and self.is_mapper_there

    def ask(self, question: str, options: tuple[str, ...] = (), timeout_s: float = 10.0) -> tuple[Answer, float]:
        """Ask by the service; return the answer and how many seconds it took, there and back."""
        start = time.perf_counter()
        done = threading.Event()
        future = self._client.call_async(AskScene.Request(question=question, options=list(options)))
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            self._client.remove_pending_request(future)
            return Answer(f"no reply within {timeout_s:g} s: does the answerer run?", ErrorCode.DEADLINE), timeout_s
        return answer_of(future.result()), time.perf_counter() - start

    def _subscribe(self) -> None:
        subscribe = self.node.create_subscription
        subscribe(SceneObjectArray, "objects", self._on_objects, qos.OBJECTS_READER)
        subscribe(ViewFrameMsg, "view_frames", self._scenes.add_view, qos.VIEWS_READER)
        for kind, topic in ((BevInfo, "bev/info"), (Image, "bev/image"), (OccupancyGrid, "bev/grid")):
            subscribe(kind, topic, self._scenes.add_bev, qos.latched(4))
        subscribe(Clock, "/clock", self._on_clock, QoSProfile(depth=100))
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.STATUS)

    def _on_objects(self, msg: SceneObjectArray, info: dict[str, Any]) -> None:
        self._scenes.add_objects(msg, int(info["source_timestamp"]))
        self.is_mapper_there = True
        stamp = conversions.stamp_ns(msg.header.stamp)
        if not msg.full and stamp != self.newest_ns:
            self.frames += 1
            self.first_ns, self.newest_ns = self.first_ns or stamp, stamp
            if (began := self._played_at.pop(stamp, None)) is not None:
                self.delays_s.append(time.perf_counter() - began)

    def _on_clock(self, msg: Clock) -> None:
        self.played += 1
        self._played_at[conversions.stamp_ns(msg.clock)] = time.perf_counter()

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.hardware_id == "s3d":
                self.status = {pair.key: pair.value for pair in status.values}

    def _on_cloud(self, msg: PointCloud2) -> None:
        packed = np.frombuffer(msg.data, np.float32).reshape(-1, msg.point_step // 4)
        bgr = np.ascontiguousarray(packed[:, 3]).view(np.uint8).reshape(-1, 4)[:, :3]
        self._cloud = (packed[:, :3].copy(), bgr[:, ::-1].copy())

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self.node)
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        finally:
            executor.shutdown()
            self.node.destroy_node()
