"""Ask the answerer from Python, and see the mapper's scene: a small client for scripts, the demo and tests.

with SceneClient() as client:
    print(client.ask("how many chairs are there?").answer.text)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from s3d_ros.ros import asking, qos
from s3d_ros.ros.conversions import objects_of
from s3d_ros.ros.running import use_large_messages
from s3d_ros.ros.scene_receiver import SceneReceiver
from s3d_ros.ros.scene_topics import listen_for_scene
from s3d_ros.srv import AskScene
from s3d_ros.types import Answer, Scene, SceneObject


@dataclass(frozen=True)
class Reply:
    """What came back: the answer, the objects it is about as they were then, and how long it took."""

    answer: Answer
    objects: tuple[SceneObject, ...]
    seconds: float


class SceneClient:
    """A node of its own in a thread of its own. Close it, or use it with ``with``."""

    def __init__(self, namespace: str = "/s3d", *, scenes: bool = True, name: str = "s3d_client") -> None:
        """scenes: also receive the map, see ``scene()``."""
        use_large_messages()
        self._context = Context()
        self._context.init()
        self._node = Node(name, namespace=namespace, context=self._context)
        self._ask = self._node.create_client(AskScene, "ask", qos_profile=qos.QUESTIONS)
        self._scenes = SceneReceiver()
        self._diagnostics: dict[str, dict[str, str]] = {}
        if scenes:
            listen_for_scene(self._node, self._scenes)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.STATUS)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the ROS graph."""
        self._context.try_shutdown()
        self._executor.wake()
        self._thread.join(timeout=2.0)
        self._node.destroy_node()

    def wait(self, timeout_s: float = 10.0) -> bool:
        """Wait for the answerer; return whether it is there."""
        return bool(self._ask.wait_for_service(timeout_sec=timeout_s))

    def ask(self, question: str, options: Sequence[str] = (), *, timeout_s: float = 30.0, **fields: Any) -> Reply:
        """Ask over the service. ``fields``: others of the request. Raises TimeoutError."""
        request = AskScene.Request(question=question, options=list(options), **fields)
        if not request.deadline.sec and not request.deadline.nanosec:
            request.deadline = Duration(sec=max(1, int(timeout_s)))
        start = time.perf_counter()
        done = threading.Event()
        future = self._ask.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            self._ask.remove_pending_request(future)
            raise TimeoutError(f"no reply from {self._ask.srv_name} within {timeout_s:g} s: is the answerer running?")
        response = future.result()
        elapsed = time.perf_counter() - start
        return Reply(asking.answer_of(response), objects_of(response.objects), elapsed)

    def scene(self) -> Scene | None:
        """Return the newest complete scene, None before there is one."""
        return self._scenes.scene()

    def diagnostics(self, name: str = "mapper") -> dict[str, str]:
        """Return the newest values that a node of this namespace tells of itself, empty before there are any."""
        namespace = self._node.get_namespace().rstrip("/")
        return dict(self._diagnostics.get(f"{namespace}/{name}", {}))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._diagnostics[status.name] = {v.key: v.value for v in status.values} | {"message": status.message}

    def _spin(self) -> None:
        try:
            while self._context.ok():
                self._executor.spin_once()
        except (ExternalShutdownException, RuntimeError):
            pass  # closed
