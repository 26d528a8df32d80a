"""Subscribe to all that a scene is made of, for the answerer and for clients that want to see the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from sensor_msgs.msg import Image

from s3d_ros.msg import BevInfo, SceneObjectArray
from s3d_ros.msg import ViewFrame as ViewFrameMsg
from s3d_ros.ros import qos
from s3d_ros.ros.scene_receiver import SceneReceiver


def listen_for_scene(node: Node, scenes: SceneReceiver) -> None:
    """Feed a receiver from the topics in the node's namespace. Broken messages are left out; the last scene stays."""

    def guarded(take: Callable[[Any], None]) -> Callable[[Any], None]:
        def callback(msg: Any) -> None:
            try:
                take(msg)
            except ValueError as error:
                node.get_logger().warning(f"left out a {type(msg).__name__}: {error}", throttle_duration_sec=5.0)

        return callback

    def on_objects(msg: SceneObjectArray, info: dict[str, Any]) -> None:
        guarded(lambda m: scenes.add_objects(m, int(info["source_timestamp"])))(msg)

    few = qos.latched(4)
    node.create_subscription(SceneObjectArray, "objects", on_objects, qos.OBJECTS_READER)
    node.create_subscription(ViewFrameMsg, "view_frames", guarded(scenes.add_view), qos.VIEWS_READER)
    node.create_subscription(BevInfo, "bev/info", guarded(scenes.add_bev), few)
    node.create_subscription(Image, "bev/image", guarded(scenes.add_bev), few)
    node.create_subscription(OccupancyGrid, "bev/grid", guarded(scenes.add_bev), few)
