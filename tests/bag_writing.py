"""Writes small rosbag2s for tests: messages by hand, with the types of ``rosbags``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from s3d_ros.geometry import quaternion
from s3d_ros.typestore import make_typestore

STORE = make_typestore()
NS = 1_000_000_000
WIDTH, HEIGHT = 32, 24
COLOR, DEPTH, INFO = "/camera/color/image_raw", "/camera/depth/image_raw", "/camera/color/camera_info"
OPTICAL = "camera_color_optical_frame"


def make(name: str, **fields: Any) -> Any:
    """Make a message of a type such as "sensor_msgs/msg/Image"; ``stamp_ns`` and ``frame_id`` make its header."""
    if "stamp_ns" in fields:
        stamp_ns = fields.pop("stamp_ns")
        time = make("builtin_interfaces/msg/Time", sec=stamp_ns // NS, nanosec=stamp_ns % NS)
        fields["header"] = make("std_msgs/msg/Header", stamp=time, frame_id=fields.pop("frame_id", ""))
    message = STORE.types[name](**fields)
    return message


def image(stamp_ns: int, array: np.ndarray, encoding: str, frame_id: str = OPTICAL) -> Any:
    return make(
        "sensor_msgs/msg/Image",
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array.strides[0],
        data=np.frombuffer(array.tobytes(), np.uint8),
    )


def compressed(stamp_ns: int, data: bytes, image_format: str, frame_id: str = OPTICAL) -> Any:
    return make(
        "sensor_msgs/msg/CompressedImage",
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        format=image_format,
        data=np.frombuffer(data, np.uint8),
    )


def color_image(stamp_ns: int, value: int = 0) -> Any:
    """A colour image that can be told from others: red is ``value``."""
    array = np.full((HEIGHT, WIDTH, 3), (value, 100, 50), np.uint8)
    return image(stamp_ns, array, "rgb8")


def depth_image(stamp_ns: int, mm: int = 1000, frame_id: str = OPTICAL) -> Any:
    return image(stamp_ns, np.full((HEIGHT, WIDTH), mm, np.uint16), "16UC1", frame_id)


def camera_info(
    stamp_ns: int,
    k: tuple[float, ...] = (30.0, 31.0, 15.5, 11.5),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    d: Iterable[float] = (),
    p: tuple[float, ...] | None = None,
    model: str = "plumb_bob",
    roi: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Any:
    """k and p: fx, fy, cx, cy. roi: x, y, width, height."""
    fx, fy, cx, cy = k
    px = k if p is None else p
    return make(
        "sensor_msgs/msg/CameraInfo",
        stamp_ns=stamp_ns,
        frame_id=OPTICAL,
        width=size[0],
        height=size[1],
        distortion_model=model,
        d=np.array(list(d), np.float64),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1 if fx else 0], np.float64),
        r=np.eye(3).reshape(-1),
        p=np.array([px[0], 0, px[2], 0, 0, px[1], px[3], 0, 0, 0, 1, 0], np.float64),
        binning_x=0,
        binning_y=0,
        roi=make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=roi[0],
            y_offset=roi[1],
            width=roi[2],
            height=roi[3],
            do_rectify=False,
        ),
    )


def _pose(T: np.ndarray) -> Any:
    q = quaternion(T)
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=T[0, 3], y=T[1, 3], z=T[2, 3]),
        orientation=make("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
    )


def pose(stamp_ns: int, T: np.ndarray, frame_id: str = "map") -> Any:
    return make("geometry_msgs/msg/PoseStamped", stamp_ns=stamp_ns, frame_id=frame_id, pose=_pose(T))


def odometry(stamp_ns: int, T: np.ndarray, frame_id: str = "odom", child: str = "base_link") -> Any:
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    return make(
        "nav_msgs/msg/Odometry",
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        child_frame_id=child,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=_pose(T), covariance=np.zeros(36)),
        twist=make(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=np.zeros(36),
        ),
    )


def pose_with_covariance(stamp_ns: int, T: np.ndarray, frame_id: str = "map") -> Any:
    return make(
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=_pose(T), covariance=np.zeros(36)),
    )


def transform(stamp_ns: int, parent: str, child: str, T: np.ndarray) -> Any:
    q = quaternion(T)
    return make(
        "geometry_msgs/msg/TransformStamped",
        stamp_ns=stamp_ns,
        frame_id=parent,
        child_frame_id=child,
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=T[0, 3], y=T[1, 3], z=T[2, 3]),
            rotation=make("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
        ),
    )


def tf(*transforms: Any) -> Any:
    return make("tf2_msgs/msg/TFMessage", transforms=list(transforms))


def instances(stamp_ns: int, array: np.ndarray, labels: dict[int, str]) -> Any:
    """labels: of each number."""
    return make(
        "s3d_ros/msg/Instances",
        stamp_ns=stamp_ns,
        frame_id=OPTICAL,
        image=image(stamp_ns, array.astype(np.uint16), "mono16"),
        numbers=np.array(list(labels), np.uint16),
        labels=list(labels.values()),
        scores=np.full(len(labels), 0.5, np.float32),
    )


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A pose without rotation."""
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


def write_bag(path: Path, messages: Iterable[tuple[int, str, Any]], storage: str = "mcap") -> Path:
    """Write (time it was recorded at, topic, message); return the path."""
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    connections: dict[str, Any] = {}
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        for time_ns, topic, message in messages:
            name = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=STORE)
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, name))
    return path


def walk(count: int = 10, period_ns: int = NS // 10, start_ns: int = 100 * NS) -> list[tuple[int, str, Any]]:
    """A camera that moves along x at 1 m/s and looks at a wall: colour, depth, camera_info; no pose."""
    rows: list[tuple[int, str, Any]] = []
    for i in range(count):
        t = start_ns + i * period_ns
        rows += [(t, INFO, camera_info(t)), (t, COLOR, color_image(t, i)), (t, DEPTH, depth_image(t, 1000 + i))]
    return rows


def poses_along_x(
    count: int = 10, period_ns: int = NS // 10, start_ns: int = 100 * NS, topic: str = "/camera/pose"
) -> list[tuple[int, str, Any]]:
    """The camera's pose at each image of :func:`walk`."""
    stamps = [start_ns + i * period_ns for i in range(count)]
    return [(t, topic, pose(t, at((t - start_ns) / NS))) for t in stamps]


def merged(*parts: list[tuple[int, str, Any]]) -> list[tuple[int, str, Any]]:
    """All messages by the time they were recorded at."""
    return sorted((row for part in parts for row in part), key=lambda row: row[0])


def plain(**fields: Any) -> SimpleNamespace:
    """A message-like object of any fields."""
    return SimpleNamespace(**fields)
