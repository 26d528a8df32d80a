"""Rosbag2 recordings: sqlite3 and mcap, topics found by themselves, poses from topics and /tf, and damaged bags."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bag_writing as bags
import cv2
import numpy as np
import pytest
import yaml
from bag_writing import COLOR, DEPTH, INFO, NS, OPTICAL, at, merged, poses_along_x, walk, write_bag

from s3d_ros.config import FramesConfig
from s3d_ros.offline.recording import RecordingError, TopicNames, every_nth, open_recording
from s3d_ros.types import Frame
from s3d_ros.typestore import INSTANCES, make_typestore

T0 = 100 * NS
SHARED_BAGS = Path(__file__).resolve().parents[2] / "shared" / "data" / "bags"
ROOT = Path(__file__).parents[1]
T_BASE_CAMERA = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 1.1], [0, 0, 0, 1.0]])
STORAGES = ("mcap", "sqlite3")


def frames_of(recording) -> list[Frame]:
    return [arrival.frame for arrival in recording]


def tree(count: int = 10, top: str = "map", static: bool = True) -> list:
    """/tf of a robot that drives along x at 1 m/s; its camera looks ahead."""
    rows = []
    if static:
        mount = bags.transform(T0, "base_link", OPTICAL, T_BASE_CAMERA)
        rows.append((T0 + NS // 2, "/tf_static", bags.tf(mount)))  # recorded late, as latched topics are
    for i in range(2 * count):
        t = T0 + i * NS // 20
        edges = [bags.transform(t, "odom", "base_link", at(i / 20))]
        if top != "odom":
            edges.append(bags.transform(t, top, "odom", at(0, 5)))
        rows.append((t, "/tf", bags.tf(*edges)))
    return rows


# --- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_with_a_pose_topic(tmp_path: Path, storage: str) -> None:
    recording = open_recording(write_bag(tmp_path / "kitchen", merged(walk(), poses_along_x()), storage))
    assert (recording.name, recording.frame_count, recording.has_instances) == ("kitchen", 10, False)
    frames = frames_of(recording)
    assert [f.index for f in frames] == list(range(10)) and not recording.drops
    for i, frame in enumerate(frames):
        assert frame.stamp_ns == T0 + i * NS // 10 and frame.color[0, 0].tolist() == [i, 100, 50]
        assert np.allclose(frame.depth_m, (1000 + i) / 1000) and np.allclose(frame.T_map_camera, at(i / 10))
    assert recording.frame_id == "map" and frames[0].intrinsics.fx == 30
    assert [f.stamp_ns for f in frames_of(recording)] == [f.stamp_ns for f in frames]  # again, from the start


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_with_instances(tmp_path: Path, storage: str) -> None:
    image = np.zeros((bags.HEIGHT, bags.WIDTH), np.uint16)
    image[3:9, 4:20] = 7
    found = [
        (t + NS // 4, "/s3d/instances", bags.instances(t, image, {7: "cup"}))  # the detector takes 250 ms
        for t in (T0 + i * NS // 10 for i in range(0, 10, 2))
    ]
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(), poses_along_x(), found), storage))
    arrivals = list(recording)
    assert recording.has_instances and [a.frame.index for a in arrivals] == list(range(10))
    assert [a.instances is not None for a in arrivals] == [True, False] * 5 and not recording.drops
    assert arrivals[4].instances is not None
    assert arrivals[4].instances.labels == ("cup",) and np.array_equal(arrivals[4].instances.image, image)


def test_poses_from_tf(tmp_path: Path) -> None:
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(), tree())))
    frames = frames_of(recording)
    assert len(frames) == 10 and not recording.drops and recording.frame_id == "map"
    for i, frame in enumerate(frames):
        assert np.allclose(frame.T_map_camera, at(i / 10, 5) @ T_BASE_CAMERA)
        assert frame.T_map_base is not None and np.allclose(frame.T_map_base, at(i / 10, 5))


def test_poses_from_odometry_with_a_static_camera(tmp_path: Path) -> None:
    mount = (T0, "/tf_static", bags.tf(bags.transform(0, "base_link", OPTICAL, T_BASE_CAMERA)))
    odometry = [(t, "/odom", bags.odometry(t, at((t - T0) / NS))) for t in range(T0, T0 + NS, NS // 20)]
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(), odometry, [mount])))
    frames = frames_of(recording)
    assert recording.topics.pose == "/odom" and recording.frame_id == "odom" and len(frames) == 10
    assert np.allclose(frames[3].T_map_camera, at(0.3) @ T_BASE_CAMERA)
    assert np.allclose(frames[3].T_map_base, at(0.3))


def test_odometry_without_a_place_for_the_camera_gives_no_frames_and_says_why(tmp_path: Path) -> None:
    odometry = [(t, "/odom", bags.odometry(t, at())) for t in range(T0, T0 + NS, NS // 10)]
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(), odometry)))
    assert frames_of(recording) == [] and recording.drops == {"extrinsic_missing": 10}
    assert any("publish it on /tf_static, or set frames.extrinsic" in line for line in recording.sentences())


def test_a_localisation_of_the_base_does_not_pass_for_the_camera(tmp_path: Path) -> None:
    amcl = [(t, "/amcl_pose", bags.pose_with_covariance(t, at(99))) for t in range(T0, T0 + NS, NS // 10)]
    goal = [(T0, "/goal_pose", bags.pose(T0, at(77)))]
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(), tree(), amcl, goal)))
    assert recording.topics.pose == "" and np.allclose(frames_of(recording)[0].T_map_camera, at(0, 5) @ T_BASE_CAMERA)
    config = FramesConfig(pose_source="topic")
    assert open_recording(tmp_path / "bag", config).topics.pose == "/amcl_pose"


def test_pose_source_tf_is_obeyed(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), tree(top="odom"), poses_along_x()))
    assert open_recording(path).topics.pose == "/camera/pose"
    recording = open_recording(path, FramesConfig(pose_source="tf"))
    assert np.allclose(frames_of(recording)[5].T_map_camera, at(0.5) @ T_BASE_CAMERA)
    assert recording.frame_id == "odom"


def robot_topics() -> list:
    """What a robot with more than one camera records beside what is needed."""
    rows = []
    for i in range(10):
        t = T0 + i * NS // 10
        infra = np.full((bags.HEIGHT, bags.WIDTH), 9, np.uint8)
        raw_depth = np.full((bags.HEIGHT, bags.WIDTH), 3000, np.uint16)
        rows += [
            (t, "/camera/infra1/image_rect_raw", bags.image(t, infra, "mono8")),
            (t, "/camera/infra1/camera_info", bags.camera_info(t, k=(9, 9, 9, 9))),
            (t, "/camera/depth/image_rect_raw", bags.image(t, raw_depth, "16UC1")),
            (t, "/camera/depth/camera_info", bags.camera_info(t, k=(8, 8, 8, 8))),
            (t, "/yolo/debug_image", bags.color_image(t, 255)),
            (t, "/yolo/mask", bags.image(t, raw_depth, "mono16")),
        ]
    return rows


def test_the_right_ones_of_many_topics_are_found(tmp_path: Path) -> None:
    aligned = "/camera/aligned_depth_to_color/image_raw"
    mine = [(t, aligned if topic == DEPTH else topic, msg) for t, topic, msg in walk()]
    recording = open_recording(write_bag(tmp_path / "bag", merged(mine, robot_topics(), poses_along_x())))
    assert recording.topics == TopicNames(COLOR, aligned, INFO, "/camera/pose")
    assert len(frames_of(recording)) == 10


def test_topics_can_be_named(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), robot_topics(), poses_along_x(), poses_along_x(topic="/p2")))
    names = TopicNames(
        color="/yolo/debug_image",
        depth="/camera/depth/image_rect_raw",
        camera_info="/camera/depth/camera_info",
        pose="/p2",
    )
    recording = open_recording(path, topics=names)
    frame = frames_of(recording)[0]
    assert recording.topics == names
    assert frame.color[0, 0, 0] == 255 and frame.intrinsics.fx == 8 and np.allclose(frame.depth_m, 3)


def test_compressed_images(tmp_path: Path) -> None:
    rows = []
    for i in range(5):
        t = T0 + i * NS // 10
        jpeg = cv2.imencode(".jpg", np.full((bags.HEIGHT, bags.WIDTH, 3), (50, 100, 200), np.uint8))[1].tobytes()
        png = cv2.imencode(".png", np.full((bags.HEIGHT, bags.WIDTH), 1500, np.uint16))[1].tobytes()
        rows += [
            (t, f"{COLOR}/compressed", bags.compressed(t, jpeg, "rgb8; jpeg compressed bgr8")),
            (t, f"{DEPTH}/compressedDepth", bags.compressed(t, bytes(12) + png, "16UC1; compressedDepth png")),
            (t, INFO, bags.camera_info(t)),
        ]
    recording = open_recording(write_bag(tmp_path / "bag", merged(rows, poses_along_x())))
    frames = frames_of(recording)
    assert len(frames) == 5 and np.allclose(frames[0].depth_m, 1.5)
    assert np.abs(frames[0].color[0, 0].astype(int) - (200, 100, 50)).max() < 8


def test_a_rectified_image_uses_p(tmp_path: Path) -> None:
    rows = []
    for i in range(3):
        t = T0 + i * NS // 10
        info = bags.camera_info(t, d=(-0.3, 0.1, 0, 0, 0), p=(25, 26, 15, 11))
        rows += [(t, "/cam/rgb/image_rect_color", bags.color_image(t)), (t, "/cam/rgb/camera_info", info)]
        rows.append((t, "/cam/depth_registered/image_rect", bags.depth_image(t)))
    recording = open_recording(write_bag(tmp_path / "bag", merged(rows, poses_along_x())))
    frames = frames_of(recording)
    assert len(frames) == 3 and frames[0].intrinsics.fx == 25 and not recording.notes


def test_a_looping_bag_starts_afresh_and_says_so(tmp_path: Path) -> None:
    once = merged(walk(20), poses_along_x(20))
    rows = [(t + loop * 10 * NS, topic, msg) for loop in range(2) for t, topic, msg in once]
    recording = open_recording(write_bag(tmp_path / "bag", rows))
    frames = frames_of(recording)
    assert recording.restarts == 1 and recording.notes["restart"] == 1
    assert len(frames) >= 39 and len({f.index for f in frames}) == len(frames)
    assert all(np.allclose(f.T_map_camera, at((f.stamp_ns - T0) / NS)) for f in frames)


# --- every n-th frame -------------------------------------------------------------------------------------------


def test_frames_can_be_held_out(tmp_path: Path) -> None:
    recording = open_recording(write_bag(tmp_path / "bag", merged(walk(23), poses_along_x(23))))
    tested, fused = every_nth(recording, 10), every_nth(recording, 10, held_out=True)
    assert (tested.frame_count, fused.frame_count) == (3, 20)
    assert [f.index for f in frames_of(tested)] == [0, 10, 20]
    assert [f.index for f in frames_of(fused)] == [i for i in range(23) if i % 10]
    assert [f.index for f in frames_of(every_nth(fused, 3))] == [3, 6, 9, 12, 15, 18, 21]
    assert (tested.name, tested.frame_id, tested.has_instances) == ("bag", "map", False)
    assert not tested.drops and not tested.notes and tested.restarts == 0 and tested.sentences() == []
    with pytest.raises(ValueError, match="n must be 1 or more"):
        every_nth(recording, 0)


# --- bags that can't be used ------------------------------------------------------------------------------------


def without(*topics: str) -> list:
    return [row for row in merged(walk(), poses_along_x()) if row[1] not in topics]


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (COLOR, "it holds no colour images"),
        (DEPTH, "it holds no depth images"),
        (INFO, "it holds no camera_info"),
        ("/camera/pose", "it holds no camera poses"),
    ],
)
def test_what_is_missing_is_named_with_what_is_there(tmp_path: Path, left_out: str, words: str) -> None:
    path = write_bag(tmp_path / "bag", without(left_out))
    with pytest.raises(RecordingError, match=words) as caught:
        open_recording(path)
    text = str(caught.value)
    assert str(path) in text and "record what is missing" in text
    for topic in {COLOR, DEPTH, INFO, "/camera/pose"} - {left_out}:
        assert f"{topic} (" in text


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_without_messages(tmp_path: Path, storage: str) -> None:
    path = write_bag(tmp_path / "bag", [], storage)
    with pytest.raises(RecordingError, match="no topics at all"):
        open_recording(path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (TopicNames(color="/camera/colour/image_raw"), f"no topic /camera/colour/image_raw, did you mean {COLOR}"),
        (TopicNames(depth=INFO), "is a sensor_msgs/msg/CameraInfo, but for depth it must be one of"),
        (TopicNames(pose="/nothing/like/it"), r"no topic /nothing/like/it \(for pose\)"),
    ],
)
def test_named_topics_that_are_not_there(tmp_path: Path, names: TopicNames, words: str) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), poses_along_x()))
    with pytest.raises(RecordingError, match=words):
        open_recording(path, topics=names)


def storage_file(path: Path) -> Path:
    return next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


def cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        file = storage_file(path)
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return damage


def overwrite(data: bytes) -> Callable[[Path], None]:
    return lambda path: storage_file(path).write_bytes(data) and None


def metadata(text: str) -> Callable[[Path], None]:
    return lambda path: (path / "metadata.yaml").write_text(text) and None


def change_metadata(**values) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = yaml.safe_load((path / "metadata.yaml").read_text())
        data["rosbag2_bagfile_information"].update(values)
        (path / "metadata.yaml").write_text(yaml.safe_dump(data))

    return damage


def foreign_format(path: Path) -> None:
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("serialization_format: cdr", "serialization_format: protobuf"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (overwrite(b""), "is empty: nothing was recorded, or it was not copied wholly"),
        (overwrite(b"no bag at all" * 100), "is a damaged"),
        (cut(0.02), "is a damaged"),
        (lambda path: storage_file(path).unlink(), "names files that are not there"),
        (metadata("rosbag2_bagfile_information: {version: 9}"), r"ros2 bag reindex"),
        (metadata("}{"), "ros2 bag reindex"),
        (metadata(""), "ros2 bag reindex"),
        (change_metadata(version=99), "Rosbag2 version 99"),
        (foreign_format, "serialization format other than cdr"),
    ],
)
@pytest.mark.parametrize("storage", STORAGES)
def test_damaged_bags(tmp_path: Path, storage: str, damage: Callable[[Path], None], words: str) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), poses_along_x()), storage)
    damage(path)
    with pytest.raises(RecordingError, match=words) as caught:
        open_recording(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_truncated_bag_is_refused_with_a_mend_or_read_as_far_as_it_goes(
    tmp_path: Path, storage: str, share: float
) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(60), poses_along_x(60)), storage)
    cut(share)(path)
    try:
        recording = open_recording(path)
    except RecordingError as error:
        assert ("mcap recover" if storage == "mcap" else ".recover") in str(error)
        return
    frames = frames_of(recording)
    assert 0 < len(frames) < 60 and recording.drops["recording_damaged"]
    assert all(np.allclose(f.T_map_camera, at(f.index / 10)) for f in frames)


def test_damage_in_the_middle_keeps_what_came_before(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(600), poses_along_x(600)), "mcap")
    file = storage_file(path)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\xff" * 4000
    file.write_bytes(data)
    recording = open_recording(path)
    frames = frames_of(recording)
    assert 50 < len(frames) < 600
    assert recording.drops["recording_damaged"] == 1
    assert "read up to a place" in "".join(recording.sentences())


def test_a_message_that_is_no_message_costs_itself_only(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), poses_along_x()), "sqlite3")
    with sqlite3.connect(storage_file(path)) as db:
        (row,) = db.execute(
            "SELECT messages.id FROM messages JOIN topics ON topics.id = topic_id WHERE name = ? LIMIT 1 OFFSET 4",
            (DEPTH,),
        ).fetchone()
        db.execute("UPDATE messages SET data = ? WHERE id = ?", (b"\x00\x01\x00\x00short", row))
    db.close()
    recording = open_recording(path)
    assert [f.index for f in frames_of(recording)] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert recording.drops == {"message_unreadable": 1, "depth_missing": 1}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recording_that_was_never_finished_and_single_files(tmp_path: Path, storage: str) -> None:
    path = write_bag(tmp_path / "bag", merged(walk(), poses_along_x()), storage)
    single = storage_file(path)
    assert len(frames_of(open_recording(single))) == 10
    assert len(frames_of(open_recording(path / "metadata.yaml"))) == 10
    (path / "metadata.yaml").unlink()
    assert len(frames_of(open_recording(path))) == 10


def test_a_split_bag_without_metadata_is_read_in_order(tmp_path: Path) -> None:
    rows = merged(walk(), poses_along_x())
    half = [row for row in rows if row[0] < T0 + NS // 2]
    both = tmp_path / "both"
    both.mkdir()
    for name, part in (("z_first", half), ("a_second", [row for row in rows if row[0] >= T0 + NS // 2])):
        shutil.move(storage_file(write_bag(tmp_path / name, part)), both / f"{name}.mcap")
    assert [f.index for f in frames_of(open_recording(both))] == list(range(10))


def test_types_without_definitions_are_known(tmp_path: Path) -> None:
    text = (ROOT / "msg" / "Instances.msg").read_text()
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    fields = [name for _, name in (line for line in lines if line)]
    types = [kind for kind, _ in (line for line in lines if line)]
    assert [name for name, _ in make_typestore().fielddefs[INSTANCES][1]] == fields
    own = make_typestore().generate_msgdef(INSTANCES, ros_version=2)[0].split("=" * 80)[0].split()
    assert own[0::2] == types and own[1::2] == fields


@pytest.mark.skipif(not SHARED_BAGS.exists(), reason=f"{SHARED_BAGS} is not there")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rosbag2_test", r"no colour images .* /imu \(sensor_msgs/msg/Imu, 1565\)"),
        ("rosbag2_test/rosbag2_test_0.db3", "no colour images"),
        ("rosbag2_fixtures/empty_dir", "is no recording. It is empty"),
        ("rosbag2_fixtures/mcap/cdr_test", r"no colour images .* /array_topic \(test_msgs/msg/Arrays, 4\)"),
        ("rosbag2_fixtures/sqlite3/cdr_test", "no colour images"),
        ("rosbag2_fixtures/mcap/wrong_rmw_test", "other than cdr"),
        ("rosbag2_fixtures/sqlite3/wrong_rmw_test", "other than cdr"),
        ("rosbag2_fixtures/mcap/bag_with_topics_and_service_events", "no colour images"),
        ("rosbag2_fixtures/sqlite3/bag_with_topics_and_service_events", "no colour images"),
    ],
)
def test_real_foreign_bags(name: str, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        open_recording(SHARED_BAGS / name)


def test_a_wish_for_topics_that_a_folder_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="only a rosbag2 has topics to choose"):
        open_recording(tmp_path, topics=replace(TopicNames(), color="/x"))
