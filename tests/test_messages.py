"""Reading messages by their fields, whoever made them, and what happens to bad ones."""

from __future__ import annotations

import array

import bag_writing as bags
import numpy as np
import pytest
from bag_writing import NS, at, plain

from s3d_ros.config import FramesConfig
from s3d_ros.frames import FrameAssembler
from s3d_ros.geometry import PoseError
from s3d_ros.images import ImageError
from s3d_ros.messages import MessageError, MessageRouter, Role, image_of, instances_of, pose_of, stamp_ns_of


def turned(x: float) -> np.ndarray:
    T = at(x, 2, 3)
    T[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    return T


@pytest.mark.parametrize(
    ("msg", "parent", "child"),
    [
        (bags.pose(5, turned(1)), "map", ""),
        (bags.pose(5, turned(1), "/map"), "map", ""),
        (bags.pose_with_covariance(5, turned(1)), "map", ""),
        (bags.odometry(5, turned(1)), "odom", "base_link"),
        (bags.transform(5, "world", "/camera", turned(1)), "world", "camera"),
    ],
)
def test_every_kind_of_pose(msg: object, parent: str, child: str) -> None:
    pose = pose_of(msg)
    assert (pose.parent, pose.child, pose.stamp_ns) == (parent, child, 5)
    assert np.allclose(pose.T, turned(1))


def test_stamps_are_exact() -> None:
    stamp = 1_700_000_000_123_456_789
    assert stamp_ns_of(bags.pose(stamp, at())) == stamp


def quaternion_pose(*xyzw: float) -> object:
    msg = bags.pose(0, at())
    msg.pose.orientation.x, msg.pose.orientation.y, msg.pose.orientation.z, msg.pose.orientation.w = xyzw
    return msg


@pytest.mark.parametrize("xyzw", [(0, 0, 0, 0), (0, 0, 0, 2), (np.nan, 0, 0, 1)])
def test_a_quaternion_that_is_no_rotation(xyzw: tuple[float, ...]) -> None:
    with pytest.raises(PoseError, match="quaternion"):
        pose_of(quaternion_pose(*xyzw))


def test_a_rounded_quaternion_becomes_a_rotation() -> None:
    T = pose_of(quaternion_pose(0, 0, 0.7078, 0.7071)).T
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


def test_image_messages_of_rclpy_hold_arrays() -> None:
    samples = np.arange(24, dtype=np.uint8)
    msg = plain(encoding="rgb8", height=2, width=4, step=12, is_bigendian=0, data=array.array("B", samples.tobytes()))
    assert np.array_equal(image_of(msg), samples.reshape(2, 4, 3))


def test_instances() -> None:
    image = np.zeros((4, 6))
    image[1, 2], image[2:, 3:] = 7, 300
    got = instances_of(bags.instances(9, image, {300: "chair", 7: ""}))
    assert (got.stamp_ns, got.numbers, got.labels, got.scores) == (9, (300, 7), ("chair", ""), (0.5, 0.5))
    assert got.image.dtype == np.uint16 and np.array_equal(got.image, image)


def test_instances_without_lists() -> None:
    image = np.array([[0, 3], [9, 3]])
    got = instances_of(bags.instances(0, image, {}))
    assert (got.numbers, got.labels, got.scores) == ((3, 9), ("", ""), (1.0, 1.0))


def test_the_number_for_nothing_is_left_out() -> None:
    got = instances_of(bags.instances(0, np.array([[0, 3]]), {0: "background", 3: "cup"}))
    assert (got.numbers, got.labels) == ((3,), ("cup",))


def test_instances_that_contradict_themselves() -> None:
    msg = bags.instances(0, np.array([[0, 3]]), {3: "cup"})
    msg.labels = ["cup", "plate"]
    with pytest.raises(MessageError, match="1 numbers, 2 labels and 1 scores"):
        instances_of(msg)
    msg = bags.instances(0, np.array([[0, 3]]), {3: "cup", 4: "cup"})
    msg.numbers = np.array([3, 3], np.uint16)
    with pytest.raises(MessageError, match=r"listed twice in \[3, 3\]"):
        instances_of(msg)
    msg = bags.instances(0, np.array([[0, 3]]), {3: "cup"})
    msg.image.encoding = "32FC1"
    with pytest.raises(ImageError):
        instances_of(msg)


def test_bad_messages_are_counted_and_good_ones_still_come_through() -> None:
    assembler = FrameAssembler(FramesConfig())
    router = MessageRouter(assembler)
    router.feed("pose", quaternion_pose(0, 0, 0, 0))
    router.feed("color", plain(header=None))
    router.feed("tf", bags.tf(bags.transform(0, "map", "map", at()), bags.transform(0, "map", "base", at())))
    broken = bags.transform(0, "map", "arm", at())
    broken.transform.rotation.w = 0.0
    router.feed("tf_static", bags.tf(broken, bags.transform(0, "map", "leg", at(1))))
    router.feed("camera_info", bags.camera_info(0, k=(0, 0, 0, 0)))
    msg = bags.instances(0, np.array([[0, 3]]), {3: "cup"})
    msg.labels = ["cup", "plate"]
    router.feed("instances", msg)
    assert assembler.drops == {
        "pose_invalid": 1,
        "message_unreadable": 1,
        "transform_invalid": 2,
        "instances_unreadable": 1,
    }
    assert np.allclose(assembler.poses.transforms.lookup("map", "leg", 0), at(1))

    t = 10 * NS
    for role, message in (
        (Role.CAMERA_INFO, bags.camera_info(t)),
        (Role.POSE, bags.pose(t, at(4))),
        (Role.DEPTH, bags.depth_image(t)),
        (Role.COLOR, bags.color_image(t, 77)),
    ):
        router.feed(role, message)
    (arrival,) = assembler.pop()
    assert arrival.frame.color[0, 0].tolist() == [77, 100, 50] and arrival.frame.T_map_camera[0, 3] == 4


def test_an_odometry_that_does_not_say_whose_pose_it_is_is_not_the_cameras() -> None:
    assembler = FrameAssembler(FramesConfig())
    MessageRouter(assembler).feed("pose", bags.odometry(0, at(), child=""))
    assert assembler.drops == {"extrinsic_missing": 1} and assembler.received["pose"] == 0
    assert "set frames.pose_child_frame" in assembler.tally.details["extrinsic_missing"]
    said = FrameAssembler(FramesConfig(pose_child_frame="base_link"))
    MessageRouter(said).feed("pose", bags.odometry(0, at(), child=""))
    assert not said.drops and said.received["pose"] == 1


def test_instances_of_another_camera_are_dropped() -> None:
    assembler = FrameAssembler(FramesConfig())
    router = MessageRouter(assembler)
    router.feed("color", bags.color_image(0))
    msg = bags.instances(0, np.array([[0, 3]]), {3: "cup"})
    router.feed("instances", msg)
    msg.header.frame_id = "rear_camera"
    router.feed("instances", msg)
    assert assembler.drops == {"instances_frame": 1}
    assert assembler.tally.details["instances_frame"] == f"'rear_camera', colour is of '{bags.OPTICAL}'"


def test_another_reader_of_images_can_be_put_in() -> None:
    read = []

    def reader(msg: object) -> np.ndarray:
        read.append(msg)
        return image_of(msg)

    assembler = FrameAssembler(FramesConfig())
    router = MessageRouter(assembler, read_image=reader)
    for role, message in (
        ("camera_info", bags.camera_info(0)),
        ("pose", bags.pose(0, at())),
        ("depth", bags.depth_image(0)),
        ("color", bags.color_image(0)),
    ):
        router.feed(role, message)
    assert len(assembler.pop()) == 1 and len(read) == 2


def test_an_unknown_role_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="colour"):
        MessageRouter(FrameAssembler(FramesConfig())).feed("colour", bags.color_image(0))
