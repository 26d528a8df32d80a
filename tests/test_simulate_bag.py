"""The recording of a simulated home, read back, and the truth beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from s3d_ros.config import FramesConfig
from s3d_ros.offline.recording import TopicNames, open_recording
from s3d_ros.offline.simulate import Move, Remove, SimulateConfig, simulate
from s3d_ros.offline.simulate.config import TourConfig
from s3d_ros.offline.simulate.frames import START_NS, iter_frames
from s3d_ros.offline.simulate.trajectory import tour
from s3d_ros.offline.simulate.world import scene_from_layouts
from s3d_ros.offline.truth import load_truth

OPTIONS = SimulateConfig(width=160, height=120, max_duration_s=4.0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "bag"
    calls = []
    simulate(["studio"], out, seed=2, options=OPTIONS, progress=lambda done, total: calls.append((done, total)))
    return out, calls


def test_a_bag_is_what_a_reader_expects(recorded):
    out, calls = recorded
    count = len(calls)
    assert calls[-1] == (count, count) and 10 < count <= 41
    with Reader(out) as reader:
        topics = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
    assert topics == {
        "/s3d/color/image_raw": ("sensor_msgs/msg/Image", count),
        "/s3d/depth/image_raw": ("sensor_msgs/msg/Image", count),
        "/s3d/color/camera_info": ("sensor_msgs/msg/CameraInfo", count),
        "/s3d/pose": ("geometry_msgs/msg/PoseStamped", count),
        "/s3d/instances": ("s3d_ros/msg/Instances", count),
        "/tf": ("tf2_msgs/msg/TFMessage", count),
        "/tf_static": ("tf2_msgs/msg/TFMessage", 1),
    }


def samples_of(options: SimulateConfig = OPTIONS) -> list:
    world = scene_from_layouts(["studio"], seed=2)
    walk = tour(world, options.tour, fps=options.fps, seed=2, max_s=options.max_duration_s)
    return list(iter_frames(world, walk, options, seed=2))


def test_frames_come_back_as_they_were_made(recorded):
    made = samples_of()
    config = FramesConfig(max_depth_m=20.0)
    recording = open_recording(recorded[0], config)
    arrivals = list(recording)
    assert len(arrivals) == len(made) and recording.drops.total() == 0
    for arrival, sample in zip(arrivals, made, strict=True):
        assert arrival.frame.stamp_ns == sample.frame.stamp_ns
        np.testing.assert_array_equal(arrival.frame.color, sample.frame.color)
        np.testing.assert_allclose(arrival.frame.depth_m, sample.frame.depth_m, atol=0.00051)
        np.testing.assert_allclose(arrival.frame.T_map_camera, sample.T_map_camera, atol=1e-6)
        assert arrival.instances is not None
        np.testing.assert_array_equal(arrival.instances.image, sample.instances.image)
        assert arrival.instances.labels == sample.instances.labels
        i = arrival.frame.intrinsics
        assert (i.fx, i.cx, i.cy) == (131.25, 79.5, 59.5)


FIXED = TourConfig(heights_m=(1.1,), pitches_deg=(-12.0,))


@pytest.mark.parametrize("transforms", ["dynamic", "static", "camera"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_transforms_alone_carry_the_pose(tmp_path, storage, transforms):
    options = replace(
        OPTIONS, storage=storage, transforms=transforms, publish_pose=False, max_duration_s=1.0, tour=FIXED
    )
    simulate(["studio"], tmp_path / "bag", seed=2, options=options)
    arrivals = list(open_recording(tmp_path / "bag", FramesConfig()))
    made = samples_of(options)
    assert len(arrivals) >= len(made) - 1
    for arrival, sample in zip(arrivals, made, strict=False):
        np.testing.assert_allclose(arrival.frame.T_map_camera, sample.T_map_camera, atol=1e-6)


def test_a_camera_fixed_to_a_robot_does_not_nod():
    for sample in samples_of(replace(OPTIONS, tour=FIXED, transforms="static")):
        assert sample.T_map_camera[2, 3] == pytest.approx(1.1)
        assert sample.T_map_camera[2, 2] == pytest.approx(np.sin(np.deg2rad(-12)))
    with pytest.raises(ValueError, match="one height"):
        replace(OPTIONS, transforms="static")


def test_messages_can_be_compressed(tmp_path, recorded):
    simulate(["studio"], tmp_path / "bag", seed=2, options=replace(OPTIONS, compression="zstd"))
    (small,), (large,) = ([*folder.glob("*.mcap*")] for folder in (tmp_path / "bag", recorded[0]))
    assert small.stat().st_size < 0.7 * large.stat().st_size
    assert len(list(open_recording(tmp_path / "bag", FramesConfig()))) == len(recorded[1])


def test_truth_says_what_each_frame_shows(recorded):
    out, calls = recorded
    truth = load_truth(out)
    layout = scene_from_layouts(["studio"])
    assert [o.id for o in truth.objects] == [t.id for t in layout.things]  # seen or not
    assert truth.floor_area_m2 == pytest.approx(layout.floor_area_m2, abs=1e-3)
    images = sorted((out / "truth" / "instances").iterdir())
    assert [p.name for p in images] == [f"{i:06d}.png" for i in range(len(calls))]
    stack = np.stack([cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in images])
    assert stack.dtype == np.uint16
    np.testing.assert_array_equal(stack, np.stack([s.truth for s in samples_of()]))
    for o in truth.objects:
        pixels = (stack == o.id).sum(axis=(1, 2))
        assert o.pixels_seen == pixels.max()
        assert o.frames_seen == (pixels > 0).sum()
        first = np.flatnonzero(pixels >= 500)
        assert o.first_seen_s == (pytest.approx(first[0] / 10) if len(first) else None)
        np.testing.assert_allclose(o.box.size, layout.thing(o.id).box.size, atol=1e-4)
    data = json.loads((out / "truth.json").read_text())
    low, high = (np.array(data["room"][k]) for k in ("min", "max"))
    assert ((high - low)[:2]).prod() == pytest.approx(layout.floor_area_m2, rel=1e-3)


def test_masks_in_the_bag_say_nothing_of_the_ids(recorded):
    truth = load_truth(recorded[0])
    agree = whole = 0
    for arrival in open_recording(recorded[0], FramesConfig()):
        true = truth.instances(arrival.frame.index)
        both = (arrival.instances.image > 0) & (true > 0)
        agree += (arrival.instances.image[both] == true[both]).sum()
        whole += both.sum()
    assert agree < 0.3 * whole


def test_truth_lies_beside_and_is_not_needed(recorded, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(recorded[0], copy)
    shutil.rmtree(copy / "truth")
    (copy / "truth.json").unlink()
    assert len(list(open_recording(copy, FramesConfig(), TopicNames()))) == len(recorded[1])


def test_events_are_in_the_truth(tmp_path):
    options = replace(OPTIONS, max_duration_s=2.0, events=(Remove(3, 0.5), Move(1, 1.0, (0.1, 0.0, 0.0))))
    simulate(["studio"], tmp_path / "bag", seed=2, options=options)
    data = {o["id"]: o for o in json.loads((tmp_path / "bag" / "truth.json").read_text())["objects"]}
    still = scene_from_layouts(["studio"])
    assert data[3]["removed_s"] == 0.5 and data[1]["moved_s"] == 1.0
    np.testing.assert_allclose(data[3]["center"], still.thing(3).box.center, atol=1e-4)
    np.testing.assert_allclose(data[1]["center"], still.thing(1).box.center + [0.1, 0, 0], atol=1e-4)


def test_a_bag_is_not_written_over_and_half_a_bag_not_left(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there"):
        simulate(["studio"], tmp_path / "there", options=OPTIONS)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(["studio"], tmp_path / "half", options=OPTIONS, progress=stop)
    assert not (tmp_path / "half").exists()


def test_stamps_start_where_time_is_told_by_a_clock():
    assert samples_of(replace(OPTIONS, max_duration_s=0.5))[0].frame.stamp_ns == START_NS > 0
    assert TourConfig().max_speed_m_s == 0.5
