"""Run nodes in processes of their own, and play camera to them: for tests over real ROS that stay on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Before rclpy is initialised: nothing leaves this machine, and runs side by side don't meet.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="s3d_ros_test_logs_"))

from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from s3d_ros.geometry import quaternion
from s3d_ros.msg import Instances as InstancesMsg
from s3d_ros.ros import conversions, pictures
from s3d_ros.ros.qos import CAMERA
from s3d_ros.ros.running import use_large_messages
from s3d_ros.types import Frame, Instances

OPTICAL = "camera_optical"
START_S = 30.0  # a node imports Open3D; on a busy machine that takes long


def namespace() -> str:
    """Return a namespace of this test's own."""
    return f"/test_{uuid.uuid4().hex[:8]}"


def wait_for(condition: Callable[[], Any], seconds: float = START_S, what: str = "what was expected") -> Any:
    """Return the first true value of ``condition()``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)
    return value


class NodeProcess:
    """A node in a process of its own; what it says is kept."""

    def __init__(
        self,
        module: str,
        ns: str,
        *,
        files: tuple[Path, ...] = (),
        environment: dict[str, str] | None = None,
        **parameters: Any,
    ) -> None:
        self.log = Path(tempfile.mkstemp(suffix=".log")[1])
        command = [sys.executable, "-m", module] if "/" not in module else [sys.executable, module]
        command += ["--ros-args", "-r", f"__ns:={ns}"]
        for name, value in parameters.items():
            command += ["-p", f"{name.replace('__', '.')}:={value}"]
        for path in files:
            command += ["--params-file", str(path)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def said(self) -> str:
        """Return all that it said so far."""
        return self.log.read_text()

    def wait_until_says(self, words: str) -> None:
        """Wait for words in the log."""
        wait_for(lambda: words in self.said() or self.process.poll() is not None, what=words)
        assert words in self.said(), self.said()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal; return the exit code. Fails if it ends with a traceback."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=15)
        assert "Traceback" not in self.said(), self.said()
        return code

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.unlink()


class Spinning:
    """A node of the test itself, spun in a thread."""

    def __init__(self, ns: str, name: str = "tester") -> None:
        use_large_messages()
        self.context = Context()
        self.context.init()
        self.node = Node(name, namespace=ns, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            while self.context.ok():
                self.executor.spin_once()
        except (ExternalShutdownException, RuntimeError):
            pass

    def __enter__(self) -> Spinning:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.try_shutdown()
        self.executor.wake()
        self._thread.join(timeout=2)
        self.node.destroy_node()


class Camera(Spinning):
    """Publishes frames as a camera driver and a localiser would. ``pose_type``: None for /tf instead of a topic."""

    def __init__(self, ns: str, pose_type: Any = PoseStamped, *, first_s: float = 100.0) -> None:
        super().__init__(ns, "camera")
        create = self.node.create_publisher
        self.color = create(Image, "color/image_raw", CAMERA)
        self.depth = create(Image, "depth/image_raw", CAMERA)
        self.info = create(CameraInfo, "color/camera_info", CAMERA)
        self.instances = create(InstancesMsg, "instances", CAMERA)
        self.pose = create(pose_type, "pose", CAMERA) if pose_type is not None else None
        self.first_ns = int(first_s * 1e9)

    def wait(self) -> None:
        """Wait until a mapper listens to everything."""
        publishers = [p for p in (self.color, self.depth, self.info, self.pose, self.instances) if p is not None]
        wait_for(lambda: all(p.get_subscription_count() for p in publishers), what="a mapper that listens")

    def messages(self, frame: Frame, instances: Instances | None = None) -> dict[str, Any]:
        """Return the messages of one frame by the name of their publisher, to be changed before they are sent."""
        stamp = self.first_ns + frame.stamp_ns
        header = conversions.header_msg(stamp, OPTICAL)
        pose = PoseStamped(header=conversions.header_msg(stamp, "map"), pose=conversions.pose_msg(frame.T_map_camera))
        out = {
            "pose": pose,
            "info": pictures.camera_info_msg(frame.intrinsics, header),
            "color": pictures.image_msg(frame.color, header),
            "depth": pictures.image_msg((frame.depth_m * 1000).astype(np.uint16), header, "16UC1"),
        }
        if instances is not None:
            out["instances"] = pictures.instances_msg(instances, header)
        return out

    def send(self, messages: dict[str, Any], pause_s: float = 0.05) -> None:
        """Publish messages, then pause."""
        for name, message in messages.items():
            publisher = getattr(self, name)
            if publisher is not None and message is not None:
                publisher.publish(message)
        time.sleep(pause_s)


def edge(parent: str, child: str, T: np.ndarray, stamp_ns: int) -> TransformStamped:
    """Return one transform of /tf."""
    msg = TransformStamped(header=conversions.header_msg(stamp_ns, parent), child_frame_id=child)
    t, q = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = T[:3, 3].tolist()
    q.x, q.y, q.z, q.w = quaternion(T).tolist()
    return msg
