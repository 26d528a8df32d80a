"""What is written into messages is what is read back, and lies where ROS's conventions say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image

from s3d_ros.geometry import PoseError, level_rotation
from s3d_ros.messages import camera_of, image_of, instances_of
from s3d_ros.ros import conversions, pictures
from s3d_ros.types import (
    Bev,
    Instances,
    Intrinsics,
    Marker,
    ObjectState,
    OrientedBox,
    Scene,
    SceneObject,
    ViewFrame,
)

HEADER = conversions.header_msg(5_000_000_007, "map")


def make_object(number: int = 7, axes: np.ndarray | None = None, label: str = "chair") -> SceneObject:
    box = OrientedBox(np.array([1.0, 2.0, 0.4]), np.array([0.5, 0.6, 0.8]), np.eye(3) if axes is None else axes)
    return SceneObject(
        number, label, box, {label: 0.75, "stool": 0.25}, (number + 100,), ObjectState.MOVED, 0.5, 3, 1 << 40, 12
    )


def make_bev(up: tuple[float, float, float] = (0, 0, 1), height: int = 40, width: int = 60) -> Bev:
    rng = np.random.default_rng(3)
    T = np.eye(4)
    T[:3, :3] = level_rotation(up)
    color = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
    occupancy = rng.choice(np.array([-1, 0, 100], np.int8), (height, width))
    return Bev(color, np.zeros((height, width), np.float32), occupancy, 0.05, (-1.5, 0.25), T, -0.75, 2.0)


@given(st.integers(0, (2**31 - 1) * 10**9 + 999_999_999))
def test_stamps_round_trip(stamp: int) -> None:
    assert conversions.stamp_ns(conversions.time_msg(stamp)) == stamp


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_objects_round_trip(quaternion: list[float]) -> None:
    axes = Rotation.from_quat(np.array(quaternion) / np.linalg.norm(quaternion)).as_matrix()
    thing = make_object(axes=axes)
    (back,) = conversions.objects_of(conversions.object_msgs([thing]))
    np.testing.assert_allclose(back.box.corners(), thing.box.corners(), atol=1e-9)
    assert (back.id, back.label, back.aliases, back.state) == (7, "chair", (107,), ObjectState.MOVED)
    assert back.label_scores == pytest.approx(thing.label_scores)
    assert (back.first_seen_ns, back.last_seen_ns, back.observations) == (3, 1 << 40, 12)


def test_a_mirrored_box_is_sent_as_the_same_box() -> None:
    thing = make_object(axes=np.diag([1.0, 1.0, -1.0]))
    (back,) = conversions.objects_of(conversions.object_msgs([thing]))
    assert np.linalg.det(back.box.axes) > 0
    ours, theirs = (sorted(map(tuple, np.round(b.corners(), 6))) for b in (thing.box, back.box))
    assert ours == theirs


def test_a_box_without_a_rotation_is_refused_by_name() -> None:
    (msg,) = conversions.object_msgs([make_object(9)])
    msg.pose.orientation.w = 0.0
    with pytest.raises(PoseError, match="object 9"):
        conversions.objects_of([msg])


def test_a_scene_round_trips() -> None:
    T = np.eye(4)
    T[:3, 3] = 1, 2, 3
    scene = Scene(4, 99, "map", np.array([0, 0, 1.0]), (make_object(),), floor_area_m2=12.5, T_map_robot=T)
    msg = conversions.objects_msg(scene, 11, None, (), 42, {1: 3, 2: 1})
    assert (msg.full, msg.map_id, list(msg.view_ids), list(msg.view_revisions)) == (True, 11, [1, 2], [3, 1])
    back = conversions.scene_of(msg)
    np.testing.assert_array_equal(back.T_map_robot, T)
    assert (back.map_version, back.stamp_ns, back.frame_id, back.floor_area_m2) == (4, 99, "map", 12.5)
    assert back.merged == {107: 7} and back.find(107).id == 7
    change = conversions.objects_msg(scene, 11, [], [3])
    assert (change.full, list(change.objects), list(change.removed_ids)) == (False, [], [3])


def test_no_pose_is_told_as_none() -> None:
    scene = Scene(0, 0, "map", np.array([0, 0, 1.0]))
    assert conversions.scene_of(conversions.objects_msg(scene, 1)).T_map_robot is None


@pytest.mark.parametrize("up", [(0, 0, 1), (-0.01, -0.89, -0.46), (1, 0, 0)])
def test_the_view_from_above_round_trips(up: tuple[float, float, float]) -> None:
    bev = make_bev(tuple(np.array(up) / np.linalg.norm(up)))
    info = pictures.bev_info_msg(bev, HEADER, 1, 2)
    back = pictures.bev_of(info, pictures.image_msg(bev.color, HEADER), pictures.grid_msg(bev, HEADER))
    np.testing.assert_array_equal(back.color, bev.color)
    np.testing.assert_array_equal(back.occupancy, bev.occupancy)
    points = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(back.to_pixels(points), bev.to_pixels(points), atol=1e-6)
    assert (back.floor_m, back.ceiling_cut_m) == (bev.floor_m, bev.ceiling_cut_m)
    assert np.isnan(back.height_m).all()


def test_parts_of_different_views_are_not_put_together() -> None:
    bev = make_bev()
    info, grid = pictures.bev_info_msg(bev, HEADER, 1, 2), pictures.grid_msg(bev, HEADER)
    with pytest.raises(ValueError, match="differ"):
        pictures.bev_of(info, pictures.image_msg(bev.color, conversions.header_msg(1, "map")), grid)
    with pytest.raises(ValueError, match="differ"):
        pictures.bev_of(info, pictures.image_msg(bev.color[1:], HEADER), grid)


@pytest.mark.parametrize("up", [(0, 0, 1), (-0.01, -0.89, -0.46)])
def test_a_grid_cell_lies_in_the_map_where_ros_says(up: tuple[float, float, float]) -> None:
    bev = make_bev(tuple(np.array(up) / np.linalg.norm(up)))
    bev.occupancy[:] = 0
    row, column = 5, 50
    bev.occupancy[row, column] = 100
    grid = pictures.grid_msg(bev, HEADER)
    (cell,) = np.flatnonzero(np.array(grid.data) == 100)
    y, x = divmod(int(cell), grid.info.width)
    local = np.array([(x + 0.5) * grid.info.resolution, (y + 0.5) * grid.info.resolution, 0, 1])
    point = (conversions.pose_of(grid.info.origin) @ local)[:3]  # as nav_msgs/MapMetaData defines it
    np.testing.assert_allclose(bev.to_pixels(point)[0], [column, row], atol=1e-4)
    assert point @ bev.T_bev_map[2, :3] == pytest.approx(bev.floor_m)


@pytest.mark.parametrize(("dtype", "encoding"), [(np.uint16, "16UC1"), (np.float32, "32FC1"), (np.uint16, "mono16")])
def test_images_are_read_back_by_the_reader_of_inputs(dtype: type, encoding: str) -> None:
    image = np.random.default_rng(1).integers(0, 9999, (7, 5)).astype(dtype)
    msg = pictures.image_msg(image, HEADER, encoding)
    assert len(msg.data) == msg.step * msg.height
    np.testing.assert_array_equal(image_of(msg), image)


def test_colour_and_camera_are_read_back_by_the_reader_of_inputs() -> None:
    image = np.random.default_rng(1).integers(0, 255, (7, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(image_of(pictures.image_msg(image[:, ::1], HEADER)), image)
    k = Intrinsics(640, 480, 525.5, 526.5, 319.25, 239.75)
    assert camera_of(pictures.camera_info_msg(k, HEADER)).intrinsics == k


def test_instances_are_read_back_by_the_reader_of_inputs() -> None:
    image = np.zeros((6, 8), np.uint16)
    image[1:3], image[4:] = 300, 65535
    found = Instances(5_000_000_007, image, (300, 65535), ("cup", ""), (0.5, 1.0))
    back = instances_of(pictures.instances_msg(found, HEADER))
    np.testing.assert_array_equal(back.image, image)
    assert (back.stamp_ns, back.numbers, back.labels, back.scores) == (
        5_000_000_007,
        (300, 65535),
        ("cup", ""),
        (0.5, 1),
    )


def test_view_frames_round_trip() -> None:
    T = np.eye(4)
    T[:3, 3] = 1, 2, 3
    view = ViewFrame(3, 2, 77, b"\xff\xd8jpeg", Intrinsics(640, 480, 5, 6, 7, 8), T, (Marker(4, 1.5, 2.5),))
    back = pictures.view_of(pictures.view_msg(view, "map", 1, 2))
    np.testing.assert_array_equal(back.T_map_camera, T)
    assert (back.id, back.revision, back.stamp_ns, back.jpeg) == (3, 2, 77, view.jpeg)
    assert (back.intrinsics, back.markers) == (view.intrinsics, view.markers)


def test_the_cloud_is_packed_as_rviz_reads_it() -> None:
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    msg = pictures.cloud_msg(points, np.array([[255, 128, 1], [0, 0, 9]], np.uint8), HEADER)
    assert [(f.name, f.offset) for f in msg.fields] == [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)]
    assert (msg.width, msg.height, msg.row_step, len(msg.data)) == (2, 1, 32, 32)
    packed = np.frombuffer(msg.data, np.float32).reshape(2, 4)
    np.testing.assert_array_equal(packed[:, :3], points)
    assert packed[:, 3].view(np.uint32).tolist() == [0xFF8001, 0x000009]


def test_big_arrays_travel_as_buffers() -> None:
    """A list would take a hundred times as long to publish."""
    for data in (
        pictures.image_msg(np.zeros((4, 4, 3), np.uint8), HEADER).data,
        pictures.grid_msg(make_bev(), HEADER).data,
        pictures.cloud_msg(np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8), HEADER).data,
        conversions.object_msgs([make_object()])[0].aliases,
    ):
        assert type(data).__name__ == "array"


def test_big_endian_images_are_told_apart() -> None:
    msg = Image(height=1, width=2, encoding="16UC1", step=4, is_bigendian=1, data=[1, 0, 0, 2])
    assert image_of(msg).tolist() == [[256, 2]]


def test_bev_ceiling_may_be_infinite() -> None:
    bev = make_bev()
    info = pictures.bev_info_msg(Bev(**{**bev.__dict__, "ceiling_cut_m": math.inf}), HEADER, 1, 2)
    assert math.isinf(info.ceiling_cut_m)


def test_rviz_gets_boxes_with_their_names_above() -> None:
    gone = SceneObject(8, "cup", make_object().box, state=ObjectState.GONE)
    scene = Scene(1, 5, "map", np.array([0, 0, 1.0]), (make_object(7), gone))
    clear, cube, text = conversions.markers_msg(scene).markers
    assert clear.action == clear.DELETEALL
    assert (cube.type, cube.id, cube.ns, cube.scale.z, cube.pose.position.y) == (cube.CUBE, 7, "boxes", 0.8, 2.0)
    assert (text.text, text.ns, text.pose.position.x) == ("7 chair", "names", 1.0)
    assert text.pose.position.z == pytest.approx(0.4 + 0.4 + 0.1), "above its top"
