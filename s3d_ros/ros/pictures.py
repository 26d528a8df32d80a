"""Message fields of what the map looks like, as ``conversions`` has those of its objects: images, views, cloud."""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from s3d_ros.msg import BevInfo, ViewMarker
from s3d_ros.msg import Instances as InstancesMsg
from s3d_ros.msg import ViewFrame as ViewFrameMsg
from s3d_ros.ros.conversions import buffer_of, header_msg, pose_msg, pose_of, stamp_ns
from s3d_ros.types import F32, U8, Bev, Instances, Intrinsics, Marker, ViewFrame


def image_msg(image: U8, header: Header, encoding: str = "rgb8") -> Image:
    """Convert (H, W, 3) or (H, W) to an image message; 16 bit is written in this machine's byte order."""
    channels = image.shape[2] if image.ndim == 3 else 1
    return Image(
        header=header,
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=image.shape[1] * channels * image.itemsize,
        data=buffer_of(image, "B"),
    )


def instances_msg(instances: Instances, header: Header) -> InstancesMsg:
    """Convert the instances of one image."""
    msg = InstancesMsg(header=header, image=image_msg(instances.image, header, "mono16"))
    msg.numbers, msg.labels = list(instances.numbers), list(instances.labels)
    msg.scores = [float(score) for score in instances.scores]
    return msg


def camera_info_msg(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """Convert the intrinsics of a rectified camera."""
    i = intrinsics
    return CameraInfo(
        header=header,
        height=i.height,
        width=i.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[i.fx, 0.0, i.cx, 0.0, i.fy, i.cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[i.fx, 0.0, i.cx, 0.0, 0.0, i.fy, i.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def marker_msgs(markers: Sequence[Marker]) -> list[ViewMarker]:
    """Convert markers."""
    return [ViewMarker(object_id=m.object_id, u=float(m.u), v=float(m.v)) for m in markers]


def bev_info_msg(bev: Bev, header: Header, map_id: int, map_version: int) -> BevInfo:
    """Say where the picture from above lies in the map. ``header``: that of the image."""
    return BevInfo(
        header=header,
        map_id=map_id,
        map_version=map_version,
        pose=pose_msg(bev.T_bev_map.T),  # a pure rotation: its inverse is its transpose
        resolution_m=bev.resolution_m,
        width=bev.color.shape[1],
        height=bev.color.shape[0],
        origin_x_m=float(bev.origin_xy[0]),
        origin_y_m=float(bev.origin_xy[1]),
        floor_m=float(bev.floor_m),
        ceiling_cut_m=float(bev.ceiling_cut_m),
    )


def grid_msg(bev: Bev, header: Header) -> OccupancyGrid:
    """Make the grid that planners read; its cell (0, 0) is the lower left of the picture, at the floor's height."""
    grid = OccupancyGrid(header=header)
    grid.info.map_load_time = header.stamp
    grid.info.resolution = bev.resolution_m
    grid.info.height, grid.info.width = bev.occupancy.shape
    corner = np.eye(4)
    corner[:3, 3] = *bev.origin_xy, bev.floor_m
    grid.info.origin = pose_msg(bev.T_bev_map.T @ corner)
    grid.data = buffer_of(bev.occupancy[::-1], "b")
    return grid


def bev_of(info: BevInfo, image: Image, grid: OccupancyGrid) -> Bev:
    """Put the picture from above together again. Heights are not sent: they are NaN.

    Raises ValueError when the three don't belong together.
    """
    height, width = int(info.height), int(info.width)
    sizes = {(height, width), (image.height, image.width), (grid.info.height, grid.info.width)}
    stamps = {stamp_ns(m.header.stamp) for m in (info, image, grid)}
    if len(sizes) > 1 or len(stamps) > 1:
        raise ValueError(f"the parts of the bird's-eye view differ: sizes {sizes}, stamps {stamps}")
    return Bev(
        color=np.frombuffer(image.data, np.uint8).reshape(height, width, 3),
        height_m=np.full((height, width), np.nan, np.float32),
        occupancy=np.frombuffer(grid.data, np.int8).reshape(height, width)[::-1],
        resolution_m=float(info.resolution_m),
        origin_xy=(float(info.origin_x_m), float(info.origin_y_m)),
        T_bev_map=pose_of(info.pose).T,
        floor_m=float(info.floor_m),
        ceiling_cut_m=float(info.ceiling_cut_m),
    )


def view_msg(view: ViewFrame, frame_id: str, map_id: int, map_version: int) -> ViewFrameMsg:
    """Convert a view frame."""
    msg = ViewFrameMsg(
        header=header_msg(view.stamp_ns, frame_id),
        id=view.id,
        revision=view.revision,
        map_id=map_id,
        map_version=map_version,
        pose=pose_msg(view.T_map_camera),
        markers=marker_msgs(view.markers),
    )
    msg.camera_info = camera_info_msg(view.intrinsics, msg.header)
    msg.image.header = msg.header
    msg.image.format = "jpeg"
    msg.image.data = array.array("B", view.jpeg)
    return msg


def view_of(msg: ViewFrameMsg) -> ViewFrame:
    """Convert a view frame back."""
    info = msg.camera_info
    return ViewFrame(
        id=int(msg.id),
        revision=int(msg.revision),
        stamp_ns=stamp_ns(msg.header.stamp),
        jpeg=bytes(msg.image.data),
        intrinsics=Intrinsics(info.width, info.height, info.k[0], info.k[4], info.k[2], info.k[5]),
        T_map_camera=pose_of(msg.pose),
        markers=tuple(Marker(int(m.object_id), float(m.u), float(m.v)) for m in msg.markers),
    )


def cloud_msg(points: F32, colors: U8, header: Header) -> PointCloud2:
    """Convert points (N, 3) in metres and colours (N, 3) RGB, as RViz reads them (x, y, z, rgb)."""
    packed = np.empty((len(points), 4), np.float32)
    packed[:, :3] = points
    wide = colors.astype(np.uint32)
    packed.view(np.uint32)[:, 3] = wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    ]
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=sys.byteorder == "big",
        point_step=16,
        row_step=16 * len(points),
        is_dense=True,
        data=buffer_of(packed, "B"),
    )
