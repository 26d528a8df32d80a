"""Play a recording on the live topics, at a given rate and with ``/clock``: the ROS half of ``s3d play``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.context import Context
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from s3d_ros.geometry import invert, quaternion
from s3d_ros.msg import Instances as InstancesMsg
from s3d_ros.offline.play import PlayRole, Published, messages
from s3d_ros.offline.recording import Recording, open_recording
from s3d_ros.offline.topics import TopicNames
from s3d_ros.ros import conversions, pictures, qos
from s3d_ros.ros.running import use_large_messages
from s3d_ros.types import F64

Progress = Callable[[int, int | None], None]
NAMESPACE = "/s3d"
OPTICAL_FRAME = "camera_color_optical_frame"
BASE_FRAME = "base_link"
FOUND_S = 10.0  # how long to wait for somebody who listens


class PlayerNode(Node):
    """Publishes the values of a recording as messages."""

    def __init__(
        self, frame_id: str, namespace: str = NAMESPACE, context: Context | None = None, *, instances: bool = True
    ) -> None:
        """instances: announce them. Without, the mapper knows at once that it must find things itself."""
        super().__init__("player", namespace=namespace, context=context)
        self._frame_id = frame_id
        self._T_map_base: tuple[int, F64] | None = None
        create: Callable[[Any, str], Any] = lambda kind, name: self.create_publisher(kind, name, qos.CAMERA)  # noqa: E731
        self._clock_pub = self.create_publisher(Clock, "/clock", qos.STATUS)
        self._pose = create(PoseStamped, "pose")
        self._info = create(CameraInfo, "color/camera_info")
        self._color = create(Image, "color/image_raw")
        self._depth = create(Image, "depth/image_raw")
        self._instances = create(InstancesMsg, "instances") if instances else None
        self._tf: Any = None
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self.get_logger().warning("the package tf2_msgs is missing: nothing is published on /tf")
        else:
            self._tf_message = TFMessage
            self._tf = self.create_publisher(TFMessage, "/tf", qos.TF)

    def listeners(self) -> int:
        """Return how many subscribe to all that a map needs."""
        needed = (self._pose, self._info, self._color, self._depth)
        return min(publisher.get_subscription_count() for publisher in needed)

    def tick(self, stamp_ns: int) -> None:
        """Publish the time."""
        self._clock_pub.publish(Clock(clock=conversions.time_msg(stamp_ns)))

    def publish(self, item: Published) -> None:
        """Publish one value."""
        header = conversions.header_msg(item.stamp_ns, OPTICAL_FRAME)
        value: Any = item.payload
        if item.role is PlayRole.BASE:
            self._T_map_base = (item.stamp_ns, value)
        elif item.role is PlayRole.POSE:
            self._publish_tf(item.stamp_ns, value)
            pose = PoseStamped(header=conversions.header_msg(item.stamp_ns, self._frame_id))
            pose.pose = conversions.pose_msg(value)
            self._pose.publish(pose)
        elif item.role is PlayRole.CAMERA_INFO:
            self._info.publish(pictures.camera_info_msg(value, header))
        elif item.role is PlayRole.COLOR:
            self._color.publish(pictures.image_msg(value, header))
        elif item.role is PlayRole.DEPTH:
            self._depth.publish(pictures.image_msg(value, header, "16UC1"))
        elif self._instances is not None:
            self._instances.publish(pictures.instances_msg(value, header))

    def _publish_tf(self, stamp_ns: int, T_map_camera: F64) -> None:
        """Map to base to camera where the recording knows a base, else map to camera."""
        if self._tf is None:
            return
        edges = [(self._frame_id, OPTICAL_FRAME, T_map_camera)]
        if self._T_map_base is not None and self._T_map_base[0] == stamp_ns:
            T_map_base = self._T_map_base[1]
            edges = [
                (self._frame_id, BASE_FRAME, T_map_base),
                (BASE_FRAME, OPTICAL_FRAME, invert(T_map_base) @ T_map_camera),
            ]
        self._tf.publish(self._tf_message(transforms=[_edge_msg(*edge, stamp_ns) for edge in edges]))


def play(
    path: str | Path | Recording,
    *,
    rate: float = 1.0,
    topics: TopicNames | None = None,
    progress: Progress = lambda done, total: None,
    namespace: str = NAMESPACE,
    frame_id: str = "map",
    limit_s: float = float("inf"),
    wait_s: float = FOUND_S,
) -> int:
    """Publish a recording in its own time divided by ``rate``; return the number of frames.

    It starts when somebody listens, after ``wait_s`` at the latest, and ends after ``limit_s`` of the recording.
    Poses are published in ``frame_id``, whatever the recording calls its map. Raises RecordingError.
    """
    recording = open_recording(path, None, topics) if isinstance(path, str | Path) else path
    use_large_messages()
    context = Context()
    context.init()
    node = PlayerNode(frame_id, namespace, context, instances=recording.has_instances)
    try:
        _wait_for_listeners(node, wait_s)
        done = 0
        for item in _paced(messages(recording), rate, limit_s, node.tick):
            node.publish(item)
            if item.role is PlayRole.DEPTH:
                done += 1
                progress(done, recording.frame_count)
        return done
    finally:
        node.destroy_node()
        context.try_shutdown()


def _paced(items: Iterator[Published], rate: float, limit_s: float, tick: Callable[[int], None]) -> Iterator[Published]:
    """Yield each value when its time has come; tick once for each stamp.

    What is late is yielded at once, and the rest is shifted: a slow disk delays the recording, it never crowds it.
    """
    start = first_ns = last_ns = None
    for item in items:
        if start is None or first_ns is None:
            start, first_ns = time.monotonic(), item.stamp_ns
        if item.stamp_ns - first_ns > limit_s * 1e9:
            return
        if item.stamp_ns != last_ns:
            due = start + (item.stamp_ns - first_ns) * 1e-9 / rate
            late = time.monotonic() - due
            if late < 0:
                time.sleep(-late)
            else:
                start += max(0.0, late - 0.05)
            tick(item.stamp_ns)
            last_ns = item.stamp_ns
        yield item


def _wait_for_listeners(node: PlayerNode, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while node.listeners() == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    if node.listeners() == 0:
        node.get_logger().warning("nobody listens to all of pose, camera_info, colour and depth; playing all the same")


def _edge_msg(parent: str, child: str, T: F64, stamp_ns: int) -> TransformStamped:
    msg = TransformStamped(header=conversions.header_msg(stamp_ns, parent), child_frame_id=child)
    t, q = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = T[:3, 3].tolist()
    q.x, q.y, q.z, q.w = quaternion(T).tolist()
    return msg
