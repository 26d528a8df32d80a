"""A node between somebody's detector and the mapper: ``detections`` (and ``masks``) in, ``instances`` out."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Image

from s3d_ros.images import ImageError
from s3d_ros.keys import ConfigError
from s3d_ros.messages import MessageError, stamp_ns_of
from s3d_ros.msg import Instances as InstancesMsg
from s3d_ros.ros import params, qos
from s3d_ros.ros.detections import instances_of_boxes, instances_of_outlines
from s3d_ros.ros.node_parameters import ANSWERER, CONVERTER, MAPPER
from s3d_ros.ros.pictures import instances_msg
from s3d_ros.ros.running import run, steady_timer

TYPES = {
    "yolo_msgs": ("DetectionArray", "https://github.com/mgonzs13/yolo_ros"),
    "vision_msgs": ("Detection2DArray", "apt install ros-jazzy-vision-msgs"),
}
LOOK_PERIOD_S = 0.2
KEPT = 30  # detections, or masks, that wait for each other


class DetectionsConverterNode(Node):
    """Finds the type of ``detections`` in the graph, or takes the one that the parameter names."""

    def __init__(self) -> None:
        super().__init__("detections_converter", automatically_declare_parameters_from_overrides=True)
        _, values = params.declare(self, CONVERTER, (*MAPPER, *ANSWERER))
        self._class_names = [name.strip() for name in values["class_names"].split(",") if name.strip()]
        self._size: tuple[int, int] | None = None
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()  # by stamp: detections and masks
        self._instances = self.create_publisher(InstancesMsg, "instances", qos.CAMERA)
        self.published = 0
        if values["detections_type"] == "auto":
            self._search = steady_timer(self, LOOK_PERIOD_S, self._find)
            self.get_logger().info(f"waiting for somebody to publish {self.resolve_topic_name('detections')}")
        else:
            self._subscribe(values["detections_type"])

    def _find(self) -> None:
        name = self.resolve_topic_name("detections")
        kinds = [info.topic_type for info in self.get_publishers_info_by_topic(name)]
        for package in TYPES:
            if f"{package}/msg/{TYPES[package][0]}" in kinds:
                self._search.cancel()
                self._subscribe(package)
                return
        if kinds:
            known = ", ".join(f"{package}/{kind}" for package, (kind, _) in TYPES.items())
            self.get_logger().error(f"{name} is {kinds[0]}; known are {known}", throttle_duration_sec=10.0)

    def _subscribe(self, package: str) -> None:
        """Subscribe to the type of a package. Raises ConfigError if the package is missing."""
        kind, source = TYPES[package]
        try:
            message = getattr(importlib.import_module(f"{package}.msg"), kind)
        except ImportError as error:
            raise ConfigError(f"the package {package} is missing ({error}): install it ({source})") from error
        if package == "yolo_msgs":
            self.create_subscription(message, "detections", self._on_outlines, qos.SENSOR)
        else:
            self.create_subscription(message, "detections", lambda msg: self._on_part("boxes", msg), qos.SENSOR)
            self.create_subscription(Image, "masks", lambda msg: self._on_part("masks", msg), qos.SENSOR)
        self.get_logger().info(f"converting {package}/{kind} from {self.resolve_topic_name('detections')}")

    def _on_outlines(self, msg: Any) -> None:
        try:
            found, without = instances_of_outlines(msg, self._size)
        except MessageError as error:
            self._complain(str(error))
            return
        if without:
            self._complain(f"{without} of {len(msg.detections)} detections have no mask and are left out")
        self._size = (found.image.shape[0], found.image.shape[1])
        self._publish(found, msg.header)

    def _on_part(self, part: str, msg: Any) -> None:
        """Take boxes or masks; whichever comes second of a stamp completes them."""
        parts = self._waiting.setdefault(stamp_ns_of(msg), {})
        parts[part] = msg
        if len(parts) == 2:
            del self._waiting[stamp_ns_of(msg)]
            try:
                found = instances_of_boxes(parts["boxes"], parts["masks"], self._class_names)
            except (MessageError, ImageError) as error:
                self._complain(str(error))
                return
            self._publish(found, parts["boxes"].header)
        elif len(self._waiting) > KEPT:
            _, left = self._waiting.popitem(last=False)
            if "boxes" in left:
                name = self.resolve_topic_name("masks")
                self._complain(f"detections without an image of their masks: {name} must have the same stamp")

    def _publish(self, found: Any, header: Any) -> None:
        self._instances.publish(instances_msg(found, header))
        self.published += 1

    def _complain(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=5.0)


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    run(DetectionsConverterNode, args)


if __name__ == "__main__":
    main()
