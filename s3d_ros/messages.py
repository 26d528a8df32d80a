"""Reads ROS messages by their fields' names, whoever made the objects: rclpy live, rosbags from a recording.

This module imports neither. :class:`MessageRouter` feeds a :class:`~s3d_ros.frames.FrameAssembler`; the live node and
the bag reader need nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3d_ros.camera import CameraInfoError, CameraModel
from s3d_ros.frames import FrameAssembler
from s3d_ros.geometry import PoseError, pose_matrix
from s3d_ros.images import ImageError, as_numbers, decode_compressed, decode_image
from s3d_ros.types import F64, NO_INSTANCE, Instances, Intrinsics


class MessageError(ValueError):
    """A message whose fields contradict each other; the message says which."""


class Role(enum.StrEnum):
    """What a topic is for."""

    COLOR = "color"
    DEPTH = "depth"
    CAMERA_INFO = "camera_info"
    POSE = "pose"
    PATH = "path"
    TF = "tf"
    TF_STATIC = "tf_static"
    INSTANCES = "instances"


IMAGES = (Role.COLOR, Role.DEPTH, Role.INSTANCES)  # what is large


@dataclass(frozen=True)
class StampedTransform:
    """T_parent_child (4, 4) at a stamp; ``child`` is empty where the message does not say whose pose it is."""

    parent: str
    child: str
    stamp_ns: int
    T: F64


def stamp_ns_of(msg: Any) -> int:
    """Return the stamp of a message with a header."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def frame_of(name: str) -> str:
    """Return a frame's name without the slash that ROS 1 put before it."""
    return name.removeprefix("/")


def image_of(msg: Any) -> NDArray[Any]:
    """Decode an Image or a CompressedImage, see :func:`s3d_ros.images.decode_image`. Raises ImageError."""
    if hasattr(msg, "format"):
        return decode_compressed(msg.format, msg.data)
    return decode_image(msg.encoding, msg.height, msg.width, msg.step, msg.is_bigendian, msg.data)


def camera_of(msg: Any, rectified: bool = False) -> CameraModel:
    """Read a CameraInfo. Raises CameraInfoError.

    ``rectified``: the images are rectified, so that P tells the intrinsics and there is no distortion left.
    """
    K, P = np.asarray(msg.k, np.float64).reshape(3, 3), np.asarray(msg.p, np.float64).reshape(3, 4)[:, :3]
    distortion = tuple(float(c) for c in msg.d)
    if (rectified and P[0, 0] != 0) or K[0, 0] == 0:  # some senders fill in P alone
        K, distortion = P, ()
    width, height, x, y = int(msg.width), int(msg.height), 0, 0
    if msg.roi.width and msg.roi.height:
        width, height, x, y = int(msg.roi.width), int(msg.roi.height), int(msg.roi.x_offset), int(msg.roi.y_offset)
    k = Intrinsics(width, height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]) - x, float(K[1, 2]) - y)
    return CameraModel(k, () if rectified else distortion, str(msg.distortion_model))


def pose_of(msg: Any) -> StampedTransform:
    """Read a PoseStamped, PoseWithCovarianceStamped, Odometry or TransformStamped. Raises PoseError."""
    parent, child = frame_of(msg.header.frame_id), frame_of(getattr(msg, "child_frame_id", ""))
    if hasattr(msg, "transform"):
        T = _matrix(msg.transform.translation, msg.transform.rotation)
    else:
        pose = msg.pose.pose if hasattr(msg.pose, "pose") else msg.pose
        T = _matrix(pose.position, pose.orientation)
    return StampedTransform(parent, child, stamp_ns_of(msg), T)


def _matrix(p: Any, q: Any) -> F64:
    return pose_matrix((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def instances_of(msg: Any) -> Instances:
    """Read ``s3d_ros/Instances``. Raises ImageError, or MessageError for lists of unlike length.

    Without ``numbers`` every number in the image counts; without ``labels`` or ``scores`` they are "" and 1.
    """
    image = as_numbers(image_of(msg.image))
    numbers = [int(n) for n in msg.numbers]
    if not numbers:
        numbers = [int(n) for n in np.flatnonzero(np.bincount(image.reshape(-1), minlength=1))]
        numbers = [n for n in numbers if n != NO_INSTANCE]
    labels = [str(label) for label in msg.labels] or [""] * len(numbers)
    scores = [float(score) for score in msg.scores] or [1.0] * len(numbers)
    if not len(numbers) == len(labels) == len(scores):
        raise MessageError(f"{len(numbers)} numbers, {len(labels)} labels and {len(scores)} scores do not fit")
    if len(set(numbers)) != len(numbers):
        raise MessageError(f"a number is listed twice in {numbers}")
    known = [(n, label, score) for n, label, score in zip(numbers, labels, scores, strict=True) if n != NO_INSTANCE]
    return Instances(
        stamp_ns_of(msg),
        image,
        tuple(n for n, _, _ in known),
        tuple(label for _, label, _ in known),
        tuple(score for _, _, score in known),
    )


class MessageRouter:
    """Hands messages to an assembler by the role of their topic; bad ones are counted, never raised.

    read_image: decodes an Image or CompressedImage message, by default :func:`image_of`.
    """

    def __init__(self, assembler: FrameAssembler, read_image: Callable[[Any], NDArray[Any]] = image_of) -> None:
        self.assembler = assembler
        self._read_image = read_image
        self._readers: dict[Role, Callable[[Any], None]] = {
            Role.COLOR: self._color,
            Role.DEPTH: self._depth,
            Role.CAMERA_INFO: self._camera_info,
            Role.POSE: self._pose,
            Role.PATH: self._path,
            Role.TF: self._tf,
            Role.TF_STATIC: self._tf_static,
            Role.INSTANCES: self._instances,
        }

    def feed(self, role: Role | str, msg: Any) -> None:
        """Take one message of the topic with this role. Images are decoded only once they become frames."""
        read = self._readers[Role(role)]
        try:
            read(msg)
        except PoseError as error:
            self.assembler.tally.drop("pose_invalid", error)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            self.assembler.tally.drop("message_unreadable", f"{role}: {error}")

    def _color(self, msg: Any) -> None:
        read = self._read_image
        self.assembler.add_color(stamp_ns_of(msg), lambda: read(msg), frame_of(msg.header.frame_id))

    def _depth(self, msg: Any) -> None:
        read = self._read_image
        self.assembler.add_depth(stamp_ns_of(msg), lambda: read(msg), frame_of(msg.header.frame_id))

    def _camera_info(self, msg: Any) -> None:
        try:
            model = camera_of(msg, self.assembler.config.rectified)
        except CameraInfoError as error:
            self.assembler.refuse_camera_info(error)
        else:
            self.assembler.add_camera_info(stamp_ns_of(msg), model)

    def _pose(self, msg: Any) -> None:
        pose = pose_of(msg)
        config = self.assembler.config
        if hasattr(msg, "child_frame_id") and not (pose.child or config.pose_child_frame or config.extrinsic):
            # Whose pose it is would be anybody's guess, and the camera's the worst one.
            what = f"{msg.header.frame_id!r} names no child_frame_id: set frames.pose_child_frame"
            self.assembler.tally.drop("extrinsic_missing", f"an odometry in {what}")
            return
        self.assembler.add_pose(pose.stamp_ns, pose.T, pose.parent, pose.child)

    def _path(self, msg: Any) -> None:
        poses = [pose_of(item) for item in msg.poses]
        frame = frame_of(msg.header.frame_id) or next((p.parent for p in poses if p.parent), "")
        self.assembler.add_path([p.stamp_ns for p in poses], [p.T for p in poses], frame)

    def _tf(self, msg: Any, static: bool = False) -> None:
        for item in msg.transforms:
            try:
                edge = pose_of(item)
            except PoseError as error:
                names = f"{item.header.frame_id!r} to {item.child_frame_id!r}"
                self.assembler.tally.drop("transform_invalid", f"{names}: {error}")
            else:
                self.assembler.add_transform(edge.parent, edge.child, edge.stamp_ns, edge.T, static)

    def _tf_static(self, msg: Any) -> None:
        self._tf(msg, static=True)

    def _instances(self, msg: Any) -> None:
        try:
            self.assembler.add_instances(instances_of(msg), frame_of(msg.header.frame_id))
        except (ImageError, MessageError) as error:
            self.assembler.tally.drop("instances_unreadable", error)
