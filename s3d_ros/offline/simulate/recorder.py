"""Writes frames as a rosbag2, under the names that the nodes listen to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from s3d_ros.geometry import invert, quaternion
from s3d_ros.offline.simulate.config import SimulateConfig
from s3d_ros.types import F64, Frame, Instances
from s3d_ros.typestore import INSTANCES, make_typestore

CAMERA = "camera_color_optical_frame"
BASE = "base_link"
MAP = "map"
_TYPES = {
    "/s3d/color/image_raw": "sensor_msgs/msg/Image",
    "/s3d/depth/image_raw": "sensor_msgs/msg/Image",
    "/s3d/color/camera_info": "sensor_msgs/msg/CameraInfo",
    "/s3d/instances": INSTANCES,
}
_POSE = {"/s3d/pose": "geometry_msgs/msg/PoseStamped"}
_TF = {"/tf": "tf2_msgs/msg/TFMessage"}
_TF_STATIC = {"/tf_static": "tf2_msgs/msg/TFMessage"}
_FOREVER = QosTime(2147483647, 4294967295)
_LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
    _FOREVER, _FOREVER, QosLiveliness.AUTOMATIC, _FOREVER, False,
)  # fmt: skip


class Recorder:
    """A bag being written; a context manager. Raises FileExistsError where there is one already."""

    def __init__(self, path: Path, options: SimulateConfig) -> None:
        if path.exists():
            raise FileExistsError(f"{path} is there already; remove it, or choose another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._store = make_typestore()
        plugin = StoragePlugin.MCAP if options.storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = Writer(path, version=9, storage_plugin=plugin)
        if options.compression == "zstd":
            self._writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, tuple[Any, str]] = {}

    def __enter__(self) -> Recorder:
        self._writer.open()
        wanted = dict(_TYPES)
        if self._options.publish_pose:
            wanted |= _POSE
        if self._options.transforms != "none":
            wanted |= _TF | _TF_STATIC
        for topic, kind in wanted.items():
            qos = (_LATCHED,) if topic == "/tf_static" else ()
            connection = self._writer.add_connection(topic, kind, typestore=self._store, offered_qos_profiles=qos)
            self._connections[topic] = (connection, kind)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, frame: Frame, instances: Instances) -> None:
        """Write all messages of a frame: its pose first, so that a reader need not wait for it."""
        t = frame.stamp_ns
        if self._options.publish_pose:
            self._send("/s3d/pose", t, header=self._header(t, MAP), pose=self._pose(frame.T_map_camera))
        if self._options.transforms != "none":
            self._write_transforms(frame)
        i = frame.intrinsics
        camera = self._header(t, CAMERA)
        self._send(
            "/s3d/color/camera_info", t, header=camera, height=i.height, width=i.width, distortion_model="plumb_bob",
            d=np.zeros(5), k=i.matrix().ravel(), r=np.eye(3).ravel(),
            p=np.hstack([i.matrix(), np.zeros((3, 1))]).ravel(), binning_x=0, binning_y=0,
            roi=self._make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
                           do_rectify=False),
        )  # fmt: skip
        depth_mm = np.clip(np.round(frame.depth_m * 1000), 0, 65535).astype(np.uint16)
        self._send("/s3d/color/image_raw", t, **self._image(camera, frame.color, "rgb8"))
        self._send("/s3d/depth/image_raw", t, **self._image(camera, depth_mm, "16UC1"))
        self._send(
            "/s3d/instances", t, header=camera,
            image=self._make("sensor_msgs/msg/Image", **self._image(camera, instances.image, "mono16")),
            numbers=np.array(instances.numbers, dtype=np.uint16), labels=list(instances.labels),
            scores=np.array(instances.scores, dtype=np.float32),
        )  # fmt: skip

    def _write_transforms(self, frame: Frame) -> None:
        t = frame.stamp_ns
        # What a depth camera's driver adds; here both images are of the same camera
        fixed = [(CAMERA, "camera_depth_optical_frame", np.eye(4))]
        if self._options.transforms == "camera" or frame.T_map_base is None:
            chain = [(MAP, CAMERA, frame.T_map_camera)]
        else:
            mount = (BASE, CAMERA, invert(frame.T_map_base) @ frame.T_map_camera)
            chain = [(MAP, BASE, frame.T_map_base)]
            (fixed if self._options.transforms == "static" else chain).append(mount)
        self._send("/tf", t, transforms=[self._transform(t, *link) for link in chain])
        if frame.index == 0:
            self._send("/tf_static", t, transforms=[self._transform(t, *link) for link in fixed])

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _send(self, topic: str, stamp_ns: int, **fields: Any) -> None:
        connection, kind = self._connections[topic]
        self._writer.write(connection, stamp_ns, self._store.serialize_cdr(self._make(kind, **fields), kind))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        stamp = self._make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _image(self, header: Any, pixels: np.ndarray, encoding: str) -> dict[str, Any]:
        data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
        height, width = pixels.shape[:2]
        step = data.size // height
        return {
            "header": header, "height": height, "width": width, "encoding": encoding, "is_bigendian": 0,
            "step": step, "data": data,
        }  # fmt: skip

    def _pose(self, T: F64) -> Any:
        x, y, z, w = (float(v) for v in quaternion(T))
        return self._make(
            "geometry_msgs/msg/Pose",
            position=self._make("geometry_msgs/msg/Point", **_xyz(T)),
            orientation=self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )

    def _transform(self, stamp_ns: int, parent: str, child: str, T: F64) -> Any:
        x, y, z, w = (float(v) for v in quaternion(T))
        return self._make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp_ns, parent),
            child_frame_id=child,
            transform=self._make(
                "geometry_msgs/msg/Transform",
                translation=self._make("geometry_msgs/msg/Vector3", **_xyz(T)),
                rotation=self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            ),
        )


def _xyz(T: F64) -> dict[str, float]:
    return {name: float(v) for name, v in zip("xyz", T[:3, 3], strict=True)}
