"""The frame assembler: pairing, poses, and every way in which input can be bad."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_writing import NS, at
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros.camera import CameraModel
from s3d_ros.config import FramesConfig
from s3d_ros.drops import DROPS, NOTES, Tally
from s3d_ros.frames import FrameAssembler
from s3d_ros.geometry import invert
from s3d_ros.images import ImageError
from s3d_ros.keys import ConfigError
from s3d_ros.types import Arrival, Instances, Intrinsics

MS = 1_000_000
K = Intrinsics(8, 6, 10.0, 10.0, 3.5, 2.5)
T0 = 100 * NS


def color(value: int = 0, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


def depth(mm: int = 1000, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full(shape, mm, np.uint16)


def instances(stamp_ns: int, shape: tuple[int, int] = (6, 8), number: int = 5) -> Instances:
    image = np.zeros(shape, np.uint16)
    image[: shape[0] // 2] = number
    return Instances(stamp_ns, image, (number,), ("cup",), (0.5,))


def assembler(config: FramesConfig | None = None, camera: bool = True, poses: bool = True, **kwargs) -> FrameAssembler:
    """One with camera_info, and a pose every 100 ms for 20 s (x in metres is the time in seconds since T0)."""
    made = FrameAssembler(config or FramesConfig(), **kwargs)
    if camera:
        made.add_camera_info(T0, K)
    if poses:
        for i in range(201):
            made.add_pose(T0 + i * 100 * MS, at(i / 10), "map")
    return made


def feed(made: FrameAssembler, stamp_ns: int, value: int = 0, **kwargs) -> list[Arrival]:
    """Add one colour and one depth image of the same stamp."""
    made.add_color(stamp_ns, color(value), **kwargs)
    made.add_depth(stamp_ns, depth())
    return made.pop()


def run(made: FrameAssembler, stamps: Iterable[int]) -> list[Arrival]:
    arrivals = [arrival for stamp in stamps for arrival in feed(made, stamp)]
    return arrivals + made.finish()


# --- pairing ----------------------------------------------------------------------------------------------------


def test_a_frame_holds_what_came_in() -> None:
    made = assembler()
    made.add_color(T0 + 50 * MS, color(9))
    assert made.pop() == []
    made.add_depth(T0 + 50 * MS, depth(1234))
    (arrival,) = made.pop()
    frame = arrival.frame
    assert arrival.is_new and arrival.instances is None
    assert (frame.index, frame.stamp_ns, frame.intrinsics) == (0, T0 + 50 * MS, K)
    assert (frame.color == 9).all() and frame.color.dtype == np.uint8
    assert np.allclose(frame.depth_m, 1.234) and frame.depth_m.dtype == np.float32
    assert np.allclose(frame.T_map_camera, at(0.05)) and frame.T_map_base is None
    assert made.frame_id == "map" and not made.drops and made.pop() == []


@pytest.mark.parametrize("offset_ms", [-20, -9, 0, 9, 20])
@pytest.mark.parametrize("depth_first", [True, False])
def test_stamps_within_the_tolerance_are_paired(offset_ms: int, depth_first: bool) -> None:
    made = assembler()
    for i in range(5):
        t = T0 + i * 100 * MS
        if depth_first:
            made.add_depth(t + offset_ms * MS, depth())
        made.add_color(t, color())
        if not depth_first:
            made.add_depth(t + offset_ms * MS, depth())
        assert len(made.pop()) == 1 or offset_ms == -20  # only where a nearer one may still come is it waited for
    made.finish()
    assert not made.drops


def test_stamps_beyond_the_tolerance_are_not() -> None:
    made = assembler()
    for i in range(4):
        made.add_color(T0 + i * 100 * MS, color())
        made.add_depth(T0 + i * 100 * MS + 21 * MS, depth())
    assert made.finish() == []
    assert made.drops == {"depth_missing": 4, "depth_unused": 4}


def test_the_nearest_depth_wins() -> None:
    made = assembler()
    for offset_ms, mm in ((-15, 1000), (-4, 2000), (6, 3000)):
        made.add_depth(T0 + (100 + offset_ms) * MS, depth(mm))
    made.add_color(T0 + 100 * MS, color())
    (arrival,) = made.finish()
    assert np.allclose(arrival.frame.depth_m, 2.0)
    assert made.drops == {"depth_unused": 2}


def test_slower_depth_pairs_with_every_other_colour() -> None:
    made = assembler()
    frames = []
    for i in range(20):
        made.add_color(T0 + i * 33 * MS, color())
        if i % 2 == 0:
            made.add_depth(T0 + i * 33 * MS + 2 * MS, depth())
        frames += made.pop()
    frames += made.finish()
    assert [a.frame.index for a in frames] == list(range(0, 20, 2))
    assert made.drops == {"depth_missing": 10}


@settings(deadline=None, max_examples=60)
@given(
    events=st.lists(
        st.tuples(st.integers(-15, 15), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=25
    )
)
def test_every_image_is_used_once_or_counted(events: list[tuple[int, bool, bool, bool]]) -> None:
    """Whatever is lost and however the stamps wander: all is accounted for, and pairs are right."""
    made = assembler(FramesConfig(pose_gap_s=10), poses=False)
    made.add_pose(T0, at(0), "map")
    made.add_pose(T0 + 10 * NS, at(10), "map")
    colors = depths = 0
    arrivals: list[Arrival] = []
    for i, (jitter_ms, has_color, has_depth, depth_first) in enumerate(events):
        t = T0 + i * 40 * MS
        steps = [
            lambda t=t, i=i: made.add_color(t, color(i)),
            lambda t=t, i=i, j=jitter_ms: made.add_depth(t + j * MS, depth(1000 + i)),
        ]
        wanted = [has_color, has_depth]
        for which in (1, 0) if depth_first else (0, 1):
            if wanted[which]:
                steps[which]()
                arrivals += made.pop()
        colors, depths = colors + has_color, depths + has_depth
    arrivals += made.finish()
    numbers = [int(a.frame.color[0, 0, 0]) for a in arrivals]
    assert numbers == [round(float(a.frame.depth_m[0, 0]) * 1000) - 1000 for a in arrivals]
    assert numbers == sorted(set(numbers))
    for arrival in arrivals:
        assert np.allclose(arrival.frame.T_map_camera, at((arrival.frame.stamp_ns - T0) / NS), atol=1e-6)
    assert sum(e[1] and e[2] for e in events) == len(arrivals)
    lost = {"depth_missing": colors - len(arrivals), "depth_unused": depths - len(arrivals)}
    assert {k: v for k, v in lost.items() if v} == dict(made.drops)


def test_the_order_of_arrival_within_a_moment_does_not_matter() -> None:
    first = run(assembler(), [T0 + i * 33 * MS for i in range(30)])
    other = assembler()
    arrivals = []
    for i in range(30):
        other.add_depth(T0 + i * 33 * MS, depth())
        arrivals += other.pop()
        other.add_color(T0 + i * 33 * MS, color())
    arrivals += other.finish()
    assert [a.frame.stamp_ns for a in first] == [a.frame.stamp_ns for a in arrivals]
    assert all(np.array_equal(a.frame.T_map_camera, b.frame.T_map_camera) for a, b in zip(first, arrivals, strict=True))


def test_only_wanted_frames_are_decoded() -> None:
    made = assembler(keep=lambda index: index % 3 == 0)
    decoded = []

    def read(i: int) -> np.ndarray:
        decoded.append(i)
        return color(i)

    arrivals = []
    for i in range(7):
        made.add_color(T0 + i * 100 * MS, lambda i=i: read(i))
        made.add_depth(T0 + i * 100 * MS, depth())
        made.add_instances(instances(T0 + i * 100 * MS))
        arrivals += made.pop()
    arrivals += made.finish()
    assert [a.frame.index for a in arrivals if a.is_new] == decoded == [0, 3, 6]
    assert not made.drops


# --- stamps -----------------------------------------------------------------------------------------------------


def test_duplicates_and_disorder_and_gaps_are_counted() -> None:
    made = assembler()
    for t in (0, 100, 100, 50, 200, 900):
        made.add_color(T0 + t * MS, color())
    for t in (0, 100, 100, 200, 900):
        made.add_depth(T0 + t * MS, depth())
    assert [a.frame.index for a in made.finish()] == [0, 1, 2, 3]
    assert made.drops == {"color_duplicate": 1, "color_out_of_order": 1, "depth_duplicate": 1}
    assert made.notes == {"gap": 1}


def test_a_camera_that_does_not_stamp_is_said_to_be_one() -> None:
    made = assembler()
    for _ in range(5):
        made.add_color(0, color())
    assert made.drops == {"color_duplicate": 4}
    assert "does not stamp its images" in "".join(made.tally.sentences())


@pytest.mark.parametrize("order", ["poses first", "images first"])
def test_a_looping_bag_starts_afresh(order: str) -> None:
    made = assembler(poses=False)
    arrivals: list[Arrival] = []

    def images(t: int) -> None:
        arrivals.extend(feed(made, t))

    for loop in range(3):
        for i in range(50):
            t = T0 + i * 100 * MS
            steps = [lambda t=t, loop=loop: made.add_pose(t, at(loop), "map"), lambda t=t: images(t)]
            for step in steps if order == "poses first" else steps[::-1]:
                step()
    arrivals += made.finish()
    assert made.restarts == made.notes["restart"] == 2
    assert "by 4.90 s" in made.tally.details["restart"] and "looping bag" in "".join(made.tally.sentences())
    # Nothing of one loop is mixed with another: each frame's pose is its own loop's.
    stamps = [a.frame.stamp_ns for a in arrivals]
    loops = np.cumsum([b < a for a, b in zip([0, *stamps], stamps, strict=False)])
    assert [round(a.frame.T_map_camera[0, 3]) for a in arrivals] == loops.tolist()
    assert len({a.frame.index for a in arrivals}) == len(arrivals) >= 147
    assert sum(made.drops.values()) == 150 - len(arrivals)


def test_a_small_step_back_is_no_loop() -> None:
    made = assembler()
    feed(made, T0 + 900 * MS)
    feed(made, T0)
    assert made.restarts == 0 and made.drops["color_out_of_order"] == 1


def test_a_loop_forgets_the_poses_of_the_other_turn() -> None:
    """Another recording follows on the same topics: its first frames must not be placed by the old poses."""
    made = assembler()
    run(made, [T0 + i * 100 * MS for i in range(50)])
    assert feed(made, T0) == [] and made.restarts == 1
    made.add_pose(T0, at(7), "map")
    (arrival,) = made.pop()
    assert np.allclose(arrival.frame.T_map_camera, at(7))


# --- poses ------------------------------------------------------------------------------------------------------


def test_a_frame_waits_for_its_pose_and_no_longer_than_it_should() -> None:
    made = assembler(FramesConfig(wait_s=0.3), poses=False)
    made.add_pose(T0, at(), "map")
    for i in range(6):
        assert len(feed(made, T0 + i * 100 * MS)) == (i == 0)
    assert made.drops == {"pose_missing": 1}
    made.add_pose(T0 + 250 * MS, at(2.5), "map")
    (arrival,) = made.pop()
    assert arrival.frame.index == 2 and np.allclose(arrival.frame.T_map_camera, at(2.0))
    assert made.finish() == [] and made.drops == {"pose_missing": 4}


def test_offline_late_poses_are_waited_for() -> None:
    made = assembler(FramesConfig(wait_s=0.3), poses=False, offline=True)
    for i in range(31):
        feed(made, T0 + i * 100 * MS)
    for i in range(31):
        made.add_pose(T0 + i * 100 * MS, at(i), "map")
    assert len(made.pop()) == 31 and not made.drops


def test_poses_too_early_too_far_apart_and_wrong() -> None:
    made = assembler(poses=False)
    made.add_pose(T0 + 100 * MS, at(), "map")
    made.add_pose(T0 + 700 * MS, at(), "map")
    mirrored, scaled, nan = np.diag([1.0, 1, -1, 1]), np.diag([1.1, 1.1, 1.1, 1]), at(np.nan)
    for bad in (mirrored, scaled, nan, np.zeros((4, 4)), np.eye(3)):
        made.add_pose(T0 + 300 * MS, bad, "map")
    run(made, [T0, T0 + 200 * MS, T0 + 400 * MS])
    assert made.drops == {"pose_invalid": 5, "pose_before_first": 1, "pose_gap": 2}


def test_a_rotation_off_by_rounding_is_made_exact() -> None:
    made = assembler(poses=False)
    T = at(1)
    T[:3, :3] = Rotation.from_euler("xyz", (0.3, 0.2, 0.1)).as_matrix() + 1e-3 * np.array(
        [[1, -1, 1], [-1, 1, 1], [1, 1, -1]]
    )
    made.add_pose(T0, T, "map")
    (arrival,) = feed(made, T0)
    R = arrival.frame.T_map_camera[:3, :3]
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12) and np.abs(R - T[:3, :3]).max() < 2e-3


T_BASE_CAMERA = np.array([[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 1.1], [0, 0, 0, 1.0]])


def test_odometry_with_the_extrinsic_on_tf_static() -> None:
    made = assembler(poses=False)
    made.add_transform("base_link", "optical", 0, T_BASE_CAMERA, static=True)
    made.add_pose(T0, at(3, 4), "odom", "base_link")
    (arrival,) = feed(made, T0, frame_id="optical")
    assert np.allclose(arrival.frame.T_map_camera, at(3, 4) @ T_BASE_CAMERA)
    assert arrival.frame.T_map_base is not None and np.allclose(arrival.frame.T_map_base, at(3, 4))
    assert made.frame_id == "odom"


def test_a_missing_extrinsic_is_never_the_identity() -> None:
    made = assembler(poses=False)
    made.add_pose(T0, at(3), "odom", "base_link")
    made.add_pose(T0 + 5 * NS, at(3), "odom", "base_link")
    assert run(made, [T0 + i * 500 * MS for i in range(5)]) == []
    assert made.drops == {"extrinsic_missing": 1, "pose_gap": 4}  # the first has a pose of its own
    assert "set frames.camera_frame or frames.extrinsic" in made.tally.details["extrinsic_missing"]

    named = assembler(poses=False)
    named.add_pose(T0, at(3), "odom", "base_link")
    assert feed(named, T0, frame_id="optical") == [] and named.finish() == []
    assert "'base_link', the images of 'optical'" in named.tally.details["extrinsic_missing"]


def test_an_extrinsic_that_comes_late_is_waited_for() -> None:
    made = assembler(poses=False)
    made.add_pose(T0, at(3), "odom", "base_link")
    assert feed(made, T0, frame_id="optical") == []
    made.add_transform("base_link", "optical", 0, T_BASE_CAMERA, static=True)
    (arrival,) = made.pop()
    assert np.allclose(arrival.frame.T_map_camera, at(3) @ T_BASE_CAMERA)


def test_the_extrinsic_as_a_parameter() -> None:
    config = FramesConfig(extrinsic="0.2, 0, 1.1, -0.5, 0.5, -0.5, 0.5", pose_child_frame="base_link")
    made = assembler(config, poses=False)
    made.add_pose(T0, at(3), "map")  # a PoseStamped, said to be the base's
    (arrival,) = feed(made, T0)
    assert np.allclose(arrival.frame.T_map_camera, at(3) @ T_BASE_CAMERA)
    assert arrival.frame.T_map_base is not None and np.allclose(arrival.frame.T_map_base, at(3))


@pytest.mark.parametrize("text", ["1 2 3", "a b c d e f g", "0 0 0 0 0 0 2"])
def test_a_bad_extrinsic_names_the_parameter(text: str) -> None:
    with pytest.raises(ConfigError, match=r"frames\.extrinsic must be"):
        FrameAssembler(FramesConfig(extrinsic=text))


def test_a_pose_of_the_optical_frame_needs_no_extrinsic() -> None:
    made = assembler(FramesConfig(pose_child_frame="optical"), poses=False)
    made.add_pose(T0, at(3), "map")
    (arrival,) = feed(made, T0, frame_id="optical")
    assert np.allclose(arrival.frame.T_map_camera, at(3)) and arrival.frame.T_map_base is None


def test_the_base_is_found_from_the_cameras_pose() -> None:
    made = assembler(poses=False)
    made.add_transform("base_link", "optical", 0, T_BASE_CAMERA, static=True)
    made.add_pose(T0, at(5), "map")
    (arrival,) = feed(made, T0, frame_id="optical")
    assert np.allclose(arrival.frame.T_map_camera, at(5))
    assert arrival.frame.T_map_base is not None
    assert np.allclose(arrival.frame.T_map_base, at(5) @ invert(T_BASE_CAMERA))


def test_poses_in_another_frame_than_the_maps() -> None:
    made = assembler(poses=False, map_frame="map")
    made.add_pose(T0, at(1), "odom")
    assert feed(made, T0) == []
    made.add_transform("map", "odom", T0, at(0, 10))
    (arrival,) = made.pop()
    assert np.allclose(arrival.frame.T_map_camera, at(1, 10)) and made.frame_id == "map"

    alone = assembler(poses=False, map_frame="map")
    alone.add_pose(T0, at(1), "odom")
    assert run(alone, [T0]) == [] and alone.drops == {"map_frame_missing": 1}
    assert "set map.frame_id to 'odom'" in alone.tally.details["map_frame_missing"]


def tree(made: FrameAssembler, seconds: int = 5) -> None:
    """Map to odom every second, odom to base at 20 Hz, the camera fixed on the base."""
    made.add_transform("base_link", "optical", 0, T_BASE_CAMERA, static=True)
    for i in range(20 * seconds + 1):
        t = T0 + i * 50 * MS
        if i % 20 == 0:
            made.add_transform("map", "odom", t, at(0, i / 20))
        made.add_transform("odom", "base_link", t, at(i / 20))


def test_poses_from_tf() -> None:
    made = assembler(FramesConfig(pose_source="tf"), poses=False)
    tree(made)
    (arrival,) = feed(made, T0 + 1525 * MS, frame_id="optical")
    expected = at(1.525, 1.525)
    assert np.allclose(arrival.frame.T_map_camera, expected @ T_BASE_CAMERA)
    assert arrival.frame.T_map_base is not None and np.allclose(arrival.frame.T_map_base, expected)
    assert made.frame_id == "map"


@pytest.mark.parametrize(
    ("frame_id", "words"),
    [("", "images name no frame: set frames.camera_frame"), ("lens", "does not move the camera's frame 'lens' yet")],
)
def test_tf_that_does_not_know_the_camera(frame_id: str, words: str) -> None:
    made = assembler(FramesConfig(pose_source="tf"), poses=False)
    made.add_transform("odom", "base_link", T0, at())
    assert feed(made, T0, frame_id=frame_id) == [] and made.finish() == []
    assert made.drops == {"transform_missing": 1} and words in made.tally.details["transform_missing"]


def test_a_camera_on_a_robot_of_which_nothing_is_known_yet_is_not_taken_as_standing_still() -> None:
    made = assembler(FramesConfig(pose_source="tf"), poses=False)
    made.add_transform("base_link", "optical", 0, T_BASE_CAMERA, static=True)
    assert feed(made, T0, frame_id="optical") == []
    made.add_transform("odom", "base_link", T0, at(3))
    (arrival,) = made.pop()
    assert np.allclose(arrival.frame.T_map_camera, at(3) @ T_BASE_CAMERA) and made.frame_id == "odom"


def test_auto_prefers_the_pose_topic_and_settles_on_tf_without_one() -> None:
    made = assembler(poses=False)
    tree(made)
    frames = [a for i in range(20) for a in feed(made, T0 + i * 100 * MS, frame_id="optical")]
    assert len(frames) == 20 and not made.drops  # the first half second waited, and lost nothing

    both = assembler(poses=False)
    tree(both)
    assert feed(both, T0, frame_id="optical") == []
    both.add_pose(T0, at(9), "map")
    (arrival,) = both.pop()
    assert np.allclose(arrival.frame.T_map_camera, at(9))


# --- camera_info and sizes --------------------------------------------------------------------------------------


def test_missing_and_zero_camera_info() -> None:
    made = assembler(camera=False)
    assert run(made, [T0, T0 + 100 * MS]) == [] and made.drops == {"camera_info_missing": 2}
    zero = assembler(camera=False)
    zero.add_camera_info(T0, Intrinsics(8, 6, 0, 0, 0, 0))
    assert run(zero, [T0]) == [] and zero.drops == {"camera_info_invalid": 1}
    assert "not calibrated: fx = 0" in "".join(zero.tally.sentences())


def test_a_bad_camera_info_after_good_ones_changes_nothing() -> None:
    made = assembler()
    made.add_camera_info(T0, Intrinsics(8, 6, float("nan"), 1, 1, 1))
    (arrival,) = feed(made, T0)
    assert arrival.frame.intrinsics == K and made.notes == {"camera_info_ignored": 1} and not made.drops


def test_camera_info_is_waited_for_and_changes_hold_from_their_stamp() -> None:
    made = assembler(camera=False)
    assert feed(made, T0) == [] and feed(made, T0 + 100 * MS) == []
    made.add_camera_info(T0 + 100 * MS, K)
    assert [a.frame.intrinsics for a in made.pop()] == [K, K]
    zoomed = replace(K, fx=20.0)
    made.add_camera_info(T0 + 300 * MS, zoomed)
    got = run(made, [T0 + 200 * MS, T0 + 300 * MS, T0 + 400 * MS])
    assert [a.frame.intrinsics.fx for a in got] == [10, 20, 20]


def test_camera_info_of_another_size() -> None:
    made = assembler(camera=False)
    made.add_camera_info(T0, Intrinsics(16, 12, 20.0, 20.0, 7.5, 5.5))
    (arrival,) = feed(made, T0)
    assert arrival.frame.intrinsics == K
    wrong = assembler(camera=False)
    wrong.add_camera_info(T0, Intrinsics(16, 9, 20.0, 20.0, 7.5, 5.5))
    assert run(wrong, [T0]) == [] and wrong.drops == {"camera_info_size": 1}


def test_depth_of_another_size() -> None:
    made = assembler()
    small = np.array([[1000, 2000], [3000, 4000]], np.uint16).repeat(3, 0)[:, :2]
    made.add_color(T0, color(shape=(12, 4)))
    made.add_depth(T0, small)
    made.add_camera_info(T0, Intrinsics(4, 12, 10.0, 10.0, 2, 6))
    (arrival,) = made.pop()
    assert np.allclose(arrival.frame.depth_m, (small / 1000).repeat(2, 0).repeat(2, 1))
    assert made.notes == {"depth_resized": 1}
    other = assembler()
    other.add_color(T0, color())
    other.add_depth(T0, depth(shape=(6, 9)))
    assert other.finish() == [] and other.drops == {"depth_size": 1}
    assert other.tally.details["depth_size"] == "depth 9x6, colour 8x6"


def test_unreadable_images_cost_their_frame_only() -> None:
    def broken() -> np.ndarray:
        raise ImageError("the encoding 'rgb16' is not supported")

    made = assembler()
    made.add_color(T0, broken)
    made.add_depth(T0, depth())
    made.add_color(T0 + 100 * MS, color())
    made.add_depth(T0 + 100 * MS, color())
    feed(made, T0 + 200 * MS)
    assert made.drops == {"color_unreadable": 1, "depth_unreadable": 1}
    assert "rgb16" in made.tally.details["color_unreadable"]
    assert len(feed(made, T0 + 300 * MS)) == 1


def test_distorted_images_are_rectified_and_their_instances_too() -> None:
    k = Intrinsics(64, 48, 40.0, 40.0, 31.5, 23.5)
    made = assembler(camera=False)
    made.add_camera_info(T0, CameraModel(k, (0.4, 0.1, 0, 0, 0)))
    image = color(200, (48, 64))
    marks = Instances(T0, np.full((48, 64), 5, np.uint16), (5,), ("cup",), (1.0,))
    made.add_instances(marks)
    made.add_color(T0, image)
    made.add_depth(T0, depth(1000, (48, 64)))
    (arrival,) = made.pop()
    assert arrival.instances is not None
    # Pincushion distortion: the corners of the pinhole image were not seen.
    for corner in (arrival.frame.color[0, 0, 0], arrival.frame.depth_m[0, 0], arrival.instances.image[0, 0]):
        assert corner == 0
    assert arrival.frame.depth_m[24, 32] == 1 and arrival.instances.image[24, 32] == 5
    assert made.notes == {"undistorted": 1} and arrival.frame.intrinsics == k


def test_depth_of_another_frame_is_noted() -> None:
    made = assembler()
    made.add_color(T0, color(), "color_optical")
    made.add_depth(T0, depth(), "depth_optical")
    assert len(made.pop()) == 1 and made.notes == {"depth_frame_differs": 1}


# --- instances --------------------------------------------------------------------------------------------------


def test_live_instances_bring_their_frame_once_more() -> None:
    made = assembler(expect_instances=True)
    frames = [feed(made, T0 + i * 100 * MS)[0].frame for i in range(3)]
    made.add_instances(instances(T0 + 100 * MS))
    (arrival,) = made.pop()
    assert not arrival.is_new and arrival.frame is frames[1]
    assert arrival.instances is not None and arrival.instances.numbers == (5,)
    made.add_instances(instances(T0 + 100 * MS))
    made.add_instances(instances(T0 + 150 * MS))
    assert made.pop() == [] and made.drops == {"instances_duplicate": 1, "instances_without_frame": 1}


def test_live_instances_that_are_first_come_with_their_frame() -> None:
    made = assembler()
    made.add_instances(instances(T0))
    assert made.pop() == []
    (arrival,) = feed(made, T0)
    assert arrival.is_new and arrival.instances is not None and made.pop() == []


def test_instances_too_late_or_for_a_dropped_frame() -> None:
    made = assembler(FramesConfig(instances_wait_s=0.5), expect_instances=True)
    made.add_color(T0, color())
    for i in range(1, 10):
        feed(made, T0 + i * 100 * MS)
    made.add_instances(instances(T0))
    made.add_instances(instances(T0 + 100 * MS))
    assert made.pop() == [] and made.drops == {"depth_missing": 1, "instances_without_frame": 2}


def test_instances_of_another_size() -> None:
    made = assembler()
    made.add_instances(instances(T0, (12, 16)))
    (arrival,) = feed(made, T0)
    assert arrival.instances is not None and np.array_equal(arrival.instances.image, instances(T0).image)
    assert made.notes == {"instances_resized": 1}
    made.add_instances(instances(T0 + 100 * MS, (6, 6)))
    (arrival,) = feed(made, T0 + 100 * MS)
    assert arrival.instances is None and made.drops == {"instances_size": 1}
    assert made.tally.details["instances_size"] == "6x6 for a frame of 8x6"


def test_offline_frames_wait_for_their_instances() -> None:
    made = assembler(offline=True, expect_instances=True)
    arrivals = []
    for i in range(12):  # a detector that takes half a second, and looks at every other frame
        arrivals += feed(made, T0 + i * 100 * MS)
        if i >= 5 and i % 2 == 1:
            made.add_instances(instances(T0 + (i - 5) * 100 * MS))
            arrivals += made.pop()
    arrivals += made.finish()
    assert [a.frame.index for a in arrivals] == list(range(12)) and all(a.is_new for a in arrivals)
    assert [a.instances is not None for a in arrivals] == [i in (0, 2, 4, 6) for i in range(12)]
    assert made.notes["instances_missing"] == 8 and not made.drops


def test_offline_frames_do_not_wait_for_ever() -> None:
    made = assembler(FramesConfig(instances_wait_s=0.5), offline=True, expect_instances=True)
    counts = [len(feed(made, T0 + i * 100 * MS)) for i in range(10)]
    assert counts == [0] * 6 + [1] * 4


def test_a_restart_loses_no_complete_frame() -> None:
    made = assembler(offline=True, expect_instances=True)
    for i in range(15, 20):
        feed(made, T0 + i * 100 * MS)
    out = feed(made, T0) + made.finish()
    assert [a.frame.index for a in out] == [0, 1, 2, 3, 4] and made.restarts == 1


# --- bounds, words and speed ------------------------------------------------------------------------------------


def test_a_queue_that_is_full_gives_up_the_oldest() -> None:
    made = assembler(FramesConfig(max_pending=3, wait_s=30), poses=False)
    for i in range(10):
        feed(made, T0 + i * 10 * MS)
    assert made.drops == {"queue_full": 7}
    for i in range(10):
        made.add_pose(T0 + i * 10 * MS, at(), "map")
    assert [a.frame.index for a in made.pop()] == [7, 8, 9]


def test_depth_without_colour_is_bounded() -> None:
    made = assembler(FramesConfig(max_pending=5))
    for i in range(50):
        made.add_depth(T0 + i * 100 * MS, depth())
        made.pop()
    assert made.drops == {"depth_unused": 45}


def test_reasons_have_words_and_are_all_used() -> None:
    source = Path(__file__).parents[1] / "s3d_ros"
    code = "".join(p.read_text() for p in source.rglob("*.py") if p.name != "drops.py")
    for reason in [*DROPS, *NOTES]:
        assert re.fullmatch("[a-z_]+", reason) and f'"{reason}"' in code, reason
    tally = Tally()
    tally.drop("depth_size", "depth 9x6, colour 8x6")
    assert tally.sentences() == [f"1 x depth_size: {DROPS['depth_size']} (last: depth 9x6, colour 8x6)"]
    for count in (tally.drop, tally.note):
        with pytest.raises(KeyError, match="bad_luck"):
            count("bad_luck")


def test_a_frame_of_640x480_takes_well_under_3_ms() -> None:
    """Colour, depth, camera_info, poses at 100 Hz and instances, with what the rest of the pipeline is not asked."""
    rng = np.random.default_rng(0)
    made = FrameAssembler(FramesConfig(), expect_instances=True)
    rgb = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    mm = rng.integers(0, 8000, (480, 640), dtype=np.uint16)
    numbers = rng.integers(0, 9, (480, 640), dtype=np.uint16)
    k = Intrinsics(640, 480, 525, 525, 319.5, 239.5)
    took, arrivals = [], 0
    for i in range(90):
        t = T0 + i * 33_333_333
        begin = time.thread_time()  # what others do on the machine plays no part
        made.add_camera_info(t, k)
        for j in range(4):
            made.add_pose(t - 5 * MS + j * 10 * MS, at(i / 30), "map")
        made.add_color(t, rgb)
        made.add_depth(t, mm)
        arrivals += len(made.pop())
        made.add_instances(Instances(t, numbers, (1, 2), ("cup", "cup"), (1.0, 1.0)))
        arrivals += len(made.pop())
        took.append(time.thread_time() - begin)
    assert arrivals == 180 and not made.drops
    assert statistics.median(took) < 0.003
