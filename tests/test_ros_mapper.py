"""The mapper node over real ROS: a camera in this process, the node in its own, bad input in between."""

from __future__ import annotations

import array
import dataclasses
import signal
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
import ros_live  # first: it keeps ROS on this machine
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from ros_live import Camera, NodeProcess, wait_for
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from synthetic import SMALL, BoxWorld, look_at, room
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from s3d_ros.geometry import invert
from s3d_ros.ros import conversions, pictures, qos
from s3d_ros.ros.client import SceneClient
from s3d_ros.types import Frame, Instances, Scene

MAPPER = "s3d_ros.ros.mapper"
CRATE, BIN = ((1.6, 1.6, 0.0), (2.4, 2.4, 0.8)), ((3.0, 0.6, 0.0), (3.6, 1.2, 1.0))
# Small images: fewer pixels make an object
FAST = {
    "objects__confirm_pixels": 50,
    "objects__min_instance_pixels": 10,
    "objects__stride": 2,
    "fusion__voxel_size_m": 0.04,
    "bev__resolution_m": 0.04,
    "max_late_frames": 100,
    "map__scene_period_s": 0.3,
    "bev__period_s": 0.3,
    "segment__segmenter": "given",
}


@pytest.fixture(scope="module")
def frames() -> list[tuple[Frame, Instances]]:
    """A walk round a room with a crate and a bin in it: 40 frames, 10 a second."""
    world = BoxWorld(room(crate1=CRATE, bin2=BIN))
    out = []
    for k in range(40):
        angle = 2 * np.pi * k / 80
        eye = (2 + 1.7 * np.cos(angle), 2 + 1.7 * np.sin(angle), 1.3)
        out.append(world.frame(look_at(eye, (2.2, 1.6, 0.4)), k, SMALL))
    return out


class Rig:
    """A mapper, a camera that feeds it, and a client that sees what comes out."""

    def __init__(self, frames: list[tuple[Frame, Instances]], camera: Camera, client: SceneClient) -> None:
        self.frames, self.camera, self.client = frames, camera, client
        self.next_s = 0.0

    def walk(self, change: Callable[[int, dict], None] = lambda k, messages: None, count: int = 40) -> None:
        """Send frames, changed on their way; the stamps go on from walk to walk."""
        for k in range(count):
            frame, instances = self.frames[k % len(self.frames)]
            shift = int(self.next_s * 1e9) + k * 100_000_000
            messages = self.camera.messages(
                dataclasses.replace(frame, stamp_ns=shift), dataclasses.replace(instances, stamp_ns=shift)
            )
            change(k, messages)
            self.camera.send(messages)
        self.next_s += count * 0.1

    def count(self, key: str) -> int:
        """Return a counter of the mapper's diagnostics."""
        return int(self.client.diagnostics().get(key, "0"))

    def wait_count(self, key: str, least: int) -> int:
        """Wait until a counter has reached a value."""
        return wait_for(lambda: (n := self.count(key)) >= least and n, 10, f"{key} of {least}")

    def scene(self) -> Scene:
        """Return the newest scene."""
        return wait_for(self.client.scene)


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[NodeProcess, str]]:
    ns = ros_live.namespace()
    with NodeProcess(MAPPER, ns, **FAST) as made:
        yield made, ns


@pytest.fixture(scope="module")
def rig(process: tuple[NodeProcess, str], frames: list) -> Iterator[Rig]:
    """One walk is done before anything is tested."""
    with Camera(process[1]) as camera, SceneClient(process[1]) as client:
        camera.wait()
        rig = Rig(frames, camera, client)
        rig.walk()
        rig.wait_count("frames_fused", 40)
        yield rig


def boxes(scene: Scene) -> dict[str, np.ndarray]:
    return {o.label: o.box.corners() for o in scene.objects}


def test_objects_come_out_where_they_are(rig: Rig) -> None:
    scene = wait_for(lambda: (s := rig.client.scene()) and len(s.objects) == 2 and s, what="two objects")
    for label, (low, high) in {"crate": CRATE, "bin": BIN}.items():
        corners = boxes(scene)[label]
        np.testing.assert_allclose(corners.min(axis=0), low, atol=0.12)
        np.testing.assert_allclose(corners.max(axis=0), high, atol=0.12)
    assert scene.frame_id == "map" and scene.T_map_robot is not None and scene.robot_is_camera
    last = rig.frames[-1][0].T_map_camera
    wait_for(lambda: np.allclose(rig.scene().T_map_robot, last, atol=1e-6), what="the last pose")


def test_the_view_from_above_shows_them(rig: Rig) -> None:
    bev = rig.scene().bev
    for point, value in (((2.0, 2.0), 100), ((1.0, 1.0), 0)):  # the crate, open floor
        u, v = np.round(bev.to_pixels(np.array([*point, 0]))[0]).astype(int)
        patch = bev.occupancy[v - 3 : v + 4, u - 3 : u + 4]
        assert np.count_nonzero(patch == value) >= 45, patch
    assert rig.scene().views and rig.scene().views[0].jpeg[:2] == b"\xff\xd8"


def test_every_frame_is_published(rig: Rig) -> None:
    values = rig.client.diagnostics()
    assert float(values["callback_delay_ms/max"]) >= float(values["callback_delay_ms/median"]) >= 0
    assert values["published"] == values["frames_fused"] == "40", values
    assert not [key for key in values if key.startswith("dropped/")], values


def spoil_nan(k: int, messages: dict) -> None:
    depth = np.full((SMALL.height, SMALL.width), 1.5, np.float32)
    depth[: SMALL.height // 2] = (np.nan, np.inf)[k % 2]
    messages["depth"] = pictures.image_msg(depth, messages["depth"].header, "32FC1")


def spoil_encoding(k: int, messages: dict) -> None:
    messages["color"].encoding = "yuv_of_mars"


def spoil_size(k: int, messages: dict) -> None:
    messages["depth"].height -= 7
    messages["depth"].data = array.array(
        "B", messages["depth"].data[: messages["depth"].height * messages["depth"].step]
    )


def spoil_length(k: int, messages: dict) -> None:
    messages["depth"].data = array.array("B", messages["depth"].data[:100])


def spoil_pose(k: int, messages: dict) -> None:
    messages["pose"].pose.orientation.w = messages["pose"].pose.orientation.w + 7.0


def spoil_pose_nan(k: int, messages: dict) -> None:
    messages["pose"].pose.position.x = float("nan")


def spoil_depth(k: int, messages: dict) -> None:
    messages["depth"] = None


def spoil_instances(k: int, messages: dict) -> None:
    messages["instances"].labels = ["one", "too", "many", "labels"]


def spoil_instances_size(k: int, messages: dict) -> None:
    messages["instances"].image = pictures.image_msg(np.ones((99, 11), np.uint16), messages["color"].header, "mono16")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_encoding, "color_unreadable"),
        (spoil_size, "depth_size"),
        (spoil_length, "depth_unreadable"),
        (spoil_pose, "pose_invalid"),
        (spoil_pose_nan, "pose_invalid"),
        (spoil_depth, "depth_missing"),
        (spoil_instances, "instances_unreadable"),
        (spoil_instances_size, "instances_size"),
    ],
)
def test_bad_input_is_counted_and_told_and_the_map_goes_on(
    rig: Rig, process: tuple[NodeProcess, str], spoil: Callable[[int, dict], None], reason: str
) -> None:
    before, fused = rig.count(f"dropped/{reason}"), rig.count("frames_fused")

    def change(k: int, messages: dict) -> None:
        if 4 <= k < 7:
            spoil(k, messages)

    objects = [o.id for o in rig.scene().objects]
    rig.walk(change, 14)
    rig.wait_count(f"dropped/{reason}", before + 3)
    rig.wait_count("frames_fused", fused + 11)
    assert f"x {reason}: " in process[0].said(), "told in the log"
    assert [o.id for o in rig.scene().objects] == objects, "what was mapped stays"


def test_unknown_depth_is_no_reason_to_drop_a_frame(rig: Rig) -> None:
    fused = rig.count("frames_fused")
    dropped = {k: v for k, v in rig.client.diagnostics().items() if k.startswith("dropped/")}
    rig.walk(spoil_nan, 4)
    rig.wait_count("frames_fused", fused + 4)
    assert {k: v for k, v in rig.client.diagnostics().items() if k.startswith("dropped/")} == dropped


def test_a_looping_bag_is_told_and_mapping_goes_on(rig: Rig, process: tuple[NodeProcess, str]) -> None:
    fused = rig.count("frames_fused")
    objects = [o.id for o in rig.scene().objects]
    rig.next_s = 0.0
    rig.walk(count=20)
    rig.wait_count("frames_fused", fused + 18)
    assert rig.count("noted/restart") == 1 and "stamps went back" in process[0].said()
    assert [o.id for o in rig.scene().objects] == objects


def test_reset_starts_another_map(rig: Rig) -> None:
    old = rig.client._scenes.map_id
    reset = rig.camera.node.create_client(Trigger, "reset")
    assert reset.wait_for_service(10)
    future = reset.call_async(Trigger.Request())
    wait_for(future.done, 10, "the reply")
    assert future.result().success
    wait_for(lambda: rig.client._scenes.map_id > old, 5, "the new map")
    assert rig.scene().objects == () and rig.scene().T_map_robot is None
    rig.walk()
    wait_for(lambda: len(rig.scene().objects) == 2, 10, "the objects again")


def test_ctrl_c_ends_it_cleanly(rig: Rig, process: tuple[NodeProcess, str]) -> None:
    rig.walk(count=3)
    assert process[0].stop(signal.SIGINT) == 0


def test_poses_of_a_base_with_the_camera_on_tf_static(frames: list) -> None:
    """Odometry, found by its type; its child is the base; T_base_camera is on /tf_static; SIGTERM at the end."""
    ns = ros_live.namespace()
    T_base_camera = np.eye(4)
    T_base_camera[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    T_base_camera[:3, 3] = 0.1, 0.0, 1.2
    with NodeProcess(MAPPER, ns, **FAST) as process, Camera(ns, Odometry) as camera, SceneClient(ns) as client:
        static = camera.node.create_publisher(TFMessage, "/tf_static", qos.TF_STATIC)
        base = f"{ns[1:]}_base"  # /tf is shared by all tests
        static.publish(TFMessage(transforms=[ros_live.edge(base, ros_live.OPTICAL, T_base_camera, 0)]))
        camera.wait()
        rig = Rig(frames, camera, client)

        def change(k: int, messages: dict) -> None:
            T_map_base = frames[k][0].T_map_camera @ invert(T_base_camera)
            odometry = Odometry(header=messages["pose"].header, child_frame_id=base)
            odometry.pose.pose = conversions.pose_msg(T_map_base)
            messages["pose"] = odometry

        rig.walk(change)
        scene = wait_for(lambda: (s := client.scene()) and len(s.objects) == 2 and s, what="two objects")
        assert "poses are Odometry" in process.said() and not scene.robot_is_camera
        np.testing.assert_allclose(boxes(scene)["crate"].mean(axis=0), np.mean(CRATE, axis=0), atol=0.08)
        assert process.stop(signal.SIGTERM) == 0


def test_poses_from_tf_alone(frames: list) -> None:
    ns = ros_live.namespace()
    with (
        NodeProcess(MAPPER, ns, frames__pose_source="tf", map__frame_id="world", **FAST) as process,
        Camera(ns, None) as camera,
        SceneClient(ns) as client,
    ):
        tf = camera.node.create_publisher(TFMessage, "/tf", qos.TF)
        camera.wait()
        wait_for(tf.get_subscription_count)
        rig = Rig(frames, camera, client)

        def change(k: int, messages: dict) -> None:
            stamp = conversions.stamp_ns(messages["pose"].header.stamp)
            tf.publish(
                TFMessage(transforms=[ros_live.edge("world", ros_live.OPTICAL, frames[k][0].T_map_camera, stamp)])
            )

        rig.walk(change)
        scene = wait_for(lambda: (s := client.scene()) and len(s.objects) == 2 and s, what="two objects")
        assert scene.frame_id == "world"
        assert process.stop() == 0


def test_a_pose_without_its_extrinsic_is_an_error_never_the_identity(frames: list) -> None:
    ns = ros_live.namespace()
    with (
        NodeProcess(MAPPER, ns, frames__wait_s=0.3, **FAST),
        Camera(ns, TransformStamped) as camera,
        SceneClient(ns) as client,
    ):
        camera.wait()
        rig = Rig(frames, camera, client)

        def change(k: int, messages: dict) -> None:
            T, stamp = frames[k][0].T_map_camera, conversions.stamp_ns(messages["pose"].header.stamp)
            messages["pose"] = ros_live.edge("map", "some_arm", T, stamp)

        rig.walk(change, 15)
        rig.wait_count("dropped/extrinsic_missing", 5)
        assert rig.count("frames_fused") == 0
        assert "no pose" in wait_for(lambda: client._scenes.missing(), 5)


def test_frames_without_camera_info_are_counted_until_it_comes(frames: list) -> None:
    """And compressed images on their own topics, and what RViz draws."""
    ns = ros_live.namespace()
    fast = {**FAST, "frames__wait_s": 0.3, "image_transport": "compressed"}
    with NodeProcess(MAPPER, ns, **fast) as process, Camera(ns) as camera, SceneClient(ns) as client:
        create = camera.node.create_publisher
        camera.color = create(CompressedImage, "color/image_raw/compressed", qos.CAMERA)
        camera.depth = create(CompressedImage, "depth/image_raw/compressedDepth", qos.CAMERA)
        drawn: list[MarkerArray] = []
        camera.node.create_subscription(MarkerArray, "markers", drawn.append, qos.latched(1))
        camera.wait()
        rig = Rig(frames, camera, client)

        def compress(k: int, messages: dict) -> None:
            frame = frames[k][0]
            _, color = cv2.imencode(".jpg", frame.color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            _, depth = cv2.imencode(".png", (frame.depth_m * 1000).astype(np.uint16))
            for name, format, data in (
                ("color", "rgb8; jpeg compressed bgr8", color.tobytes()),
                ("depth", "16UC1; compressedDepth png", bytes(12) + depth.tobytes()),
            ):
                header = messages[name].header
                messages[name] = CompressedImage(header=header, format=format, data=array.array("B", data))

        def without_info(k: int, messages: dict) -> None:
            compress(k, messages)
            messages["info"] = None

        rig.walk(without_info, 12)
        rig.wait_count("dropped/camera_info_missing", 3)
        assert rig.count("frames_fused") == 0 and "there was no camera_info" in process.said()
        rig.walk(compress)
        wait_for(lambda: (s := client.scene()) and len(s.objects) == 2, what="two objects")
        wait_for(lambda: drawn and len(drawn[-1].markers) == 5, 5, "boxes and names")
        assert {m.text.split(" ")[-1] for m in drawn[-1].markers} == {"", "crate", "bin"}
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("fusion__voxel_size", 0.05, "did you mean 'fusion.voxel_size_m'"),
        ("frames__extrinsic", "'1 2 3'", "frames.extrinsic"),
    ],
)
def test_a_wrong_parameter_keeps_it_from_starting(name: str, value: object, words: str) -> None:
    with NodeProcess(MAPPER, ros_live.namespace(), **{name: value}) as process:
        assert process.process.wait(timeout=ros_live.START_S) == 2
        assert words in process.said() and "Traceback" not in process.said()
