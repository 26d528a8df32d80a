"""Corrected poses over real ROS: the mapper node makes its map anew beside the mapping, and IDs go on."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import ros_live  # first: it keeps ROS on this machine
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from ros_live import Camera, NodeProcess, edge, wait_for
from tf2_msgs.msg import TFMessage
from wrong_poses import CORRECTED_AT, JUMP_AT, THINGS, check, jump, mapped, path_until, walk, wrong

from s3d_ros.geometry import invert
from s3d_ros.ros import conversions, qos
from s3d_ros.ros.client import SceneClient
from s3d_ros.types import PosePath, Scene

MAPPER = "s3d_ros.ros.mapper"
PARAMETERS = {
    "objects__confirm_pixels": 50,
    "objects__min_instance_pixels": 10,
    "objects__stride": 2,
    "fusion__voxel_size_m": 0.04,
    "bev__resolution_m": 0.04,
    "max_late_frames": 200,
    "map__scene_period_s": 0.3,
    "segment__segmenter": "given",
}
PAUSE_S = 0.03


def path_msg(path: PosePath, first_ns: int) -> Path:
    poses = [
        PoseStamped(header=conversions.header_msg(first_ns + int(s), "map"), pose=conversions.pose_msg(T))
        for s, T in zip(path.stamps_ns, path.T_map_camera, strict=True)
    ]
    return Path(header=conversions.header_msg(first_ns + int(path.stamps_ns[-1]), "map"), poses=poses)


def said_before(scene: Scene) -> dict[int, int]:
    """Return the ID of each thing by its number, in a scene from before the jump."""
    out = {}
    for k, box in enumerate(THINGS.values(), start=1):
        near = min(scene.objects, key=lambda o: float(np.linalg.norm((o.box.center - np.mean(box, axis=0))[:2])))
        out[k] = near.id
    assert len(set(out.values())) == len(THINGS)
    return out


def wait_until_mended(client: SceneClient, should: Scene, early: dict[int, int], count: int) -> None:
    """Wait until so many frames are in the map and it was made anew; then it is to be right, once it is published."""
    wait_for(lambda: client.diagnostics().get("remade") == "1", 60, "a map made anew")
    wait_for(lambda: int(client.diagnostics().get("frames_fused", "0")) >= count, 60, "all frames")
    deadline = time.monotonic() + 10
    while True:
        scene = wait_for(client.scene)
        try:
            return check(scene, should, early, scene.merged)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def test_a_corrected_path_mends_the_map_live() -> None:
    frames = walk()
    should = mapped(frames)
    ns = ros_live.namespace()
    with NodeProcess(MAPPER, ns, **PARAMETERS) as node, Camera(ns) as camera, SceneClient(ns) as client:
        paths = camera.node.create_publisher(Path, "corrected_path", 10)
        camera.wait()
        wait_for(paths.get_subscription_count, what="a mapper that listens to paths")
        early: dict[int, int] = {}
        for k, (frame, instances) in enumerate(wrong(frames)):
            if k == JUMP_AT:
                wait_for(lambda: int(client.diagnostics().get("frames_fused", "0")) >= JUMP_AT - 2)
                full = wait_for(lambda: (s := client.scene()) and len(s.objects) == len(THINGS) and s)
                early = said_before(full)
            if k == CORRECTED_AT:
                wait_for(lambda: int(client.diagnostics().get("frames_fused", "0")) >= CORRECTED_AT - 2)
                paths.publish(path_msg(path_until(frames, k), camera.first_ns))
                wait_for(lambda: client.diagnostics().get("corrections") == "1", what="the correction")
            camera.send(camera.messages(frame, instances), PAUSE_S)
        wait_until_mended(client, should, early, len(frames) - 3)
        assert "Traceback" not in node.said()


def test_a_step_of_map_to_odom_mends_the_map_live() -> None:
    """As AMCL or slam_toolbox do it: odom jumps, and later map to odom takes that back."""
    frames = walk()
    should = mapped(frames)
    ns = ros_live.namespace()
    odom, cam = f"{ns[1:]}_odom", f"{ns[1:]}_camera"  # /tf is shared by all tests
    with (
        NodeProcess(MAPPER, ns, frames__pose_source="tf", frames__camera_frame=cam, map__frame_id="map", **PARAMETERS),
        Camera(ns, None) as camera,
        SceneClient(ns) as client,
    ):
        tf = camera.node.create_publisher(TFMessage, "/tf", qos.TF)
        camera.wait()
        wait_for(tf.get_subscription_count)
        early: dict[int, int] = {}
        for k, (frame, instances) in enumerate(frames):
            if k == JUMP_AT:
                wait_for(lambda: int(client.diagnostics().get("frames_fused", "0")) >= JUMP_AT - 4)
                full = wait_for(lambda: (s := client.scene()) and len(s.objects) == len(THINGS) and s)
                early = said_before(full)
            stamp = camera.first_ns + frame.stamp_ns
            T_odom_camera = jump() @ frame.T_map_camera if k >= JUMP_AT else frame.T_map_camera
            T_map_odom = invert(jump()) if k >= CORRECTED_AT else np.eye(4)
            tf.publish(
                TFMessage(transforms=[edge("map", odom, T_map_odom, stamp), edge(odom, cam, T_odom_camera, stamp)])
            )
            camera.send(camera.messages(replace(frame, T_map_camera=np.eye(4)), instances), PAUSE_S)
        wait_until_mended(client, should, early, len(frames) - 5)
