"""Everything that the mapper publishes, from the pipeline's results. Called in the mapping thread."""

from __future__ import annotations

import dataclasses
import time

from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from s3d_ros.markers import draw_bev
from s3d_ros.msg import BevInfo, SceneObjectArray
from s3d_ros.msg import ViewFrame as ViewFrameMsg
from s3d_ros.pipeline import FrameResult, Pipeline
from s3d_ros.ros import conversions, pictures, qos
from s3d_ros.ros.latched_set import LatchedSet
from s3d_ros.types import Bev, Frame, ObjectState, Scene


class ScenePublisher:
    """Publishes changes with every frame, and a new version of the scene, pictures first, when there is one."""

    def __init__(self, node: Node, max_views: int, cloud_period_s: float) -> None:
        # Two publishers of one topic: so that changes don't push the full set out of what latecomers get
        self._full = node.create_publisher(SceneObjectArray, "objects", qos.latched(1))
        self._changes = node.create_publisher(SceneObjectArray, "objects", qos.latched(qos.CHANGES_DEPTH))
        self._bev_info = node.create_publisher(BevInfo, "bev/info", qos.latched(1))
        self._bev_image = node.create_publisher(Image, "bev/image", qos.latched(1))
        self._bev_marked = node.create_publisher(Image, "bev/marked", qos.latched(1))
        self._grid = node.create_publisher(OccupancyGrid, "bev/grid", qos.latched(1))
        depth = max(64, 4 * max_views)
        views = node.create_publisher(ViewFrameMsg, "view_frames", qos.latched(depth))
        self._views: LatchedSet[ViewFrameMsg] = LatchedSet(depth, views.publish)
        self._markers = node.create_publisher(MarkerArray, "markers", qos.latched(1))
        self._markers_version = -1
        self._cloud = node.create_publisher(PointCloud2, "cloud", 1)
        self._cloud_period_s = cloud_period_s
        self._cloud_sent = 0.0
        self.published = 0  # arrays of objects, one for each frame
        self.map_id = 0
        self._revisions: dict[int, int] = {}
        self._bev: Bev | None = None
        self._bev_stamp_ns = 0

    def start_map(self, scene: Scene) -> None:
        """Tell that another map begins: an empty one, or one that was loaded."""
        self.map_id = max(time.time_ns(), self.map_id + 1)
        self._revisions, self._bev, self._bev_stamp_ns = {}, None, 0
        self._views.keep_only(())
        self._markers_version = -1
        if scene.bev is None:
            self._full.publish(conversions.objects_msg(scene, self.map_id))
        else:
            self._publish_version(scene)

    def publish(self, frame: Frame, result: FrameResult, is_new: bool, pipeline: Pipeline) -> None:
        """Publish what a frame, or its late instances, brought."""
        scene = dataclasses.replace(
            pipeline.scene(),
            stamp_ns=frame.stamp_ns,
            T_map_robot=frame.T_map_camera if frame.T_map_base is None else frame.T_map_base,
            robot_is_camera=frame.T_map_base is None,
        )
        if is_new or result.changed or result.removed:
            # Without any change too: the robot has moved, and planners see how old the map is
            public = [o for o in result.changed if o.state is not ObjectState.TENTATIVE]
            self._changes.publish(conversions.objects_msg(scene, self.map_id, public, result.removed))
            self.published += int(is_new)
        if result.scene is not None:
            self._publish_version(scene)
        self._publish_markers(pipeline.scene())
        self._publish_cloud(scene, pipeline)

    def _publish_version(self, scene: Scene) -> None:
        for view in scene.views:
            if view.revision > self._revisions.get(view.id, 0):
                self._views.send(view.id, pictures.view_msg(view, scene.frame_id, self.map_id, scene.map_version))
        self._revisions = {view.id: view.revision for view in scene.views}
        self._views.keep_only(self._revisions)
        if scene.bev is not None:
            self._publish_bev(scene.bev, scene)
        self._full.publish(conversions.objects_msg(scene, self.map_id, None, (), self._bev_stamp_ns, self._revisions))

    def _publish_bev(self, bev: Bev, scene: Scene) -> None:
        if bev is not self._bev:
            self._bev, self._bev_stamp_ns = bev, scene.stamp_ns
            header = conversions.header_msg(scene.stamp_ns, scene.frame_id)
            self._bev_image.publish(pictures.image_msg(bev.color, header))
            self._grid.publish(pictures.grid_msg(bev, header))
            self._bev_info.publish(pictures.bev_info_msg(bev, header, self.map_id, scene.map_version))
        here = [o for o in scene.objects if o.state is not ObjectState.GONE]
        marked = draw_bev(bev, here)
        header = conversions.header_msg(self._bev_stamp_ns, scene.frame_id)
        self._bev_marked.publish(pictures.image_msg(marked, header))

    def _publish_markers(self, scene: Scene) -> None:
        """For RViz, while it listens: each version once."""
        if scene.map_version != self._markers_version and self._markers.get_subscription_count():
            self._markers_version = scene.map_version
            self._markers.publish(conversions.markers_msg(scene))

    def _publish_cloud(self, scene: Scene, pipeline: Pipeline) -> None:
        now = time.monotonic()
        if now - self._cloud_sent < self._cloud_period_s or not self._cloud.get_subscription_count():
            return
        self._cloud_sent = now
        points, colors = pipeline.cloud()
        header = conversions.header_msg(scene.stamp_ns, scene.frame_id)
        self._cloud.publish(pictures.cloud_msg(points, colors, header))
