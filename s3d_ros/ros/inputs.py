"""The mapper's input topics. Callbacks hand messages on and return; the type of ``pose`` may be found in the graph.

Images are taken as they come over the wire and read by ``rosbags``, like those of a bag: rclpy makes a message of
640x480 pixels in two milliseconds in which no other Python runs, rosbags in a few microseconds, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rosbags.serde import SerdeError
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from s3d_ros.messages import IMAGES, Role
from s3d_ros.msg import Instances
from s3d_ros.ros import qos
from s3d_ros.ros.running import steady_timer
from s3d_ros.typestore import INSTANCES, make_typestore

POSE_TYPES: dict[str, Any] = {
    "PoseStamped": PoseStamped,
    "PoseWithCovarianceStamped": PoseWithCovarianceStamped,
    "Odometry": Odometry,
    "TransformStamped": TransformStamped,
}
LOOK_PERIOD_S = 0.2
RAW = {Role.COLOR: "color/image_raw", Role.DEPTH: "depth/image_raw"}
COMPRESSED = {Role.COLOR: "color/image_raw/compressed", Role.DEPTH: "depth/image_raw/compressedDepth"}


class Inputs:
    """Subscribes to what the parameters ask for. ``feed(role, message)`` is called in the executor's thread."""

    def __init__(
        self,
        node: Node,
        feed: Callable[[Role, Any], None],
        *,
        image_transport: str,
        pose_type: str,
        pose_source: str,
        instances: bool = True,
    ) -> None:
        self._node, self._feed = node, feed
        self._store = make_typestore()
        self.topics: dict[Role, str] = {}
        image, names = (Image, RAW) if image_transport == "raw" else (CompressedImage, COMPRESSED)
        self._listen(Role.COLOR, image, names[Role.COLOR])
        self._listen(Role.DEPTH, image, names[Role.DEPTH])
        self._listen(Role.CAMERA_INFO, CameraInfo, "color/camera_info")
        if instances:
            self._listen(Role.INSTANCES, Instances, "instances")
        self._listen(Role.PATH, Path, "corrected_path")
        self._subscribe_tf(required=pose_source == "tf")
        if pose_source == "tf":
            return
        self.topics[Role.POSE] = node.resolve_topic_name("pose")
        if pose_type == "auto":
            self._search = steady_timer(node, LOOK_PERIOD_S, self._find_pose)
        else:
            self._listen(Role.POSE, POSE_TYPES[pose_type], "pose")

    def has_publisher(self, role: Role) -> bool:
        """Return whether anybody publishes this input."""
        return role in self.topics and self._node.count_publishers(self.topics[role]) > 0

    def _listen(self, role: Role, kind: Any, name: str, profile: Any = qos.SENSOR) -> None:
        raw = role in IMAGES
        take = self._reader(role, kind) if raw else lambda msg: self._feed(role, msg)
        subscription = self._node.create_subscription(kind, name, take, profile, raw=raw)
        self.topics[role] = subscription.topic_name

    def _reader(self, role: Role, kind: Any) -> Callable[[bytes], None]:
        type_name = INSTANCES if kind is Instances else f"sensor_msgs/msg/{kind.__name__}"

        def take(data: bytes) -> None:
            try:
                message = self._store.deserialize_cdr(data, type_name)
            except (SerdeError, AssertionError, ValueError) as error:
                text = f"a message of {self.topics[role]} can't be read: {error}"
                self._node.get_logger().error(text, throttle_duration_sec=5.0)
            else:
                self._feed(role, message)

        return take

    def _subscribe_tf(self, required: bool) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as error:
            text = f"the package tf2_msgs is missing ({error}), so poses can't come from /tf: run `make setup`"
            if required:
                from s3d_ros.keys import ConfigError

                raise ConfigError(f"frames.pose_source is tf, but {text}") from error
            self._node.get_logger().warning(text)
            return
        self._listen(Role.TF, TFMessage, "/tf", qos.TF)
        self._listen(Role.TF_STATIC, TFMessage, "/tf_static", qos.TF_STATIC)

    def _find_pose(self) -> None:
        """Subscribe to the topic pose as soon as somebody publishes a type that is known."""
        name = self.topics[Role.POSE]
        found = {info.topic_type.rpartition("/")[2]: info for info in self._node.get_publishers_info_by_topic(name)}
        known = [kind for kind in POSE_TYPES if kind in found]
        if known:
            self._search.cancel()
            self._listen(Role.POSE, POSE_TYPES[known[0]], "pose")
            self._node.get_logger().info(f"poses are {known[0]} from {name}")
        elif found:
            others = ", ".join(info.topic_type for info in found.values())
            self._node.get_logger().error(
                f"{name} is {others}; a pose must be one of {', '.join(POSE_TYPES)}", throttle_duration_sec=10.0
            )
