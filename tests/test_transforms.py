"""The tree of frames and poses over time, against transforms known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros.geometry import invert, transform
from s3d_ros.transforms import Lack, PoseTrack, TransformBuffer, TransformError

NS = 1_000_000_000


def at(x: float = 0, y: float = 0, z: float = 0, yaw_deg: float = 0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:3, 3] = x, y, z
    return T


def robot() -> TransformBuffer:
    """Map to odom corrected at 0 s and 2 s, the base drives along x at 1 m/s, the camera looks left, 1 m up."""
    buffer = TransformBuffer()
    buffer.add("base", "camera", 0, at(z=1, yaw_deg=90), static=True)
    for second in range(3):
        buffer.add("odom", "base", second * NS, at(x=second))
    for second in (0, 2):
        buffer.add("map", "odom", second * NS, at(y=10 + second))
    return buffer


def test_a_chain_is_interpolated_edge_by_edge() -> None:
    T = robot().lookup("map", "camera", int(1.5 * NS))
    assert np.allclose(T, at(x=1.5, y=11.5, z=1, yaw_deg=90))
    # A point one metre ahead of the camera lies to the left of the robot.
    assert np.allclose(transform(T, [[1, 0, 0]]), [[1.5, 12.5, 1]])


def test_down_and_across_the_tree() -> None:
    buffer = robot()
    buffer.add("base", "lidar", 0, at(x=0.5), static=True)
    assert np.allclose(buffer.lookup("camera", "map", NS), invert(buffer.lookup("map", "camera", NS)))
    # Between two sensors on the robot no moving edge plays a part, so any stamp will do.
    assert np.allclose(buffer.lookup("lidar", "camera", 99 * NS), at(x=-0.5, z=1, yaw_deg=90))
    assert np.allclose(buffer.lookup("anything", "anything", 5), np.eye(4))


def test_rotation_is_interpolated_on_the_shorter_way() -> None:
    buffer = TransformBuffer()
    buffer.add("map", "base", 0, at(yaw_deg=170))
    buffer.add("map", "base", NS, at(yaw_deg=-170))
    assert np.allclose(buffer.lookup("map", "base", NS // 2), at(yaw_deg=180), atol=1e-9)


@pytest.mark.parametrize(
    ("target", "source", "stamp_s", "lack", "words"),
    [
        ("map", "cam", 1.0, Lack.UNKNOWN_FRAME, "'cam' is unknown; known are base, camera"),
        ("other", "camera", 1.0, Lack.NO_CONNECTION, "'other' and 'camera' are not connected"),
        ("map", "camera", -1.0, Lack.TOO_EARLY, "'odom' to 'base' at -1.000: 1.000 s before the first"),
        ("map", "camera", 2.25, Lack.TOO_LATE, "'odom' to 'base' at 2.250: 0.250 s after the newest"),
    ],
)
def test_what_is_missing_is_named(target: str, source: str, stamp_s: float, lack: Lack, words: str) -> None:
    buffer = robot()
    buffer.add("elsewhere", "other", 0, at(), static=True)
    with pytest.raises(TransformError, match=words) as caught:
        buffer.lookup(target, source, int(stamp_s * NS))
    assert caught.value.lack == lack
    assert caught.value.may_come == (lack != Lack.TOO_EARLY)


def test_an_empty_buffer_says_so() -> None:
    with pytest.raises(TransformError, match="known are none"):
        TransformBuffer().lookup("map", "camera", 0)


def test_no_interpolation_over_a_gap() -> None:
    track = PoseTrack(max_gap_s=0.5)
    for stamp_s, x in ((0.0, 0.0), (0.4, 4.0), (1.0, 10.0)):
        track.add(int(stamp_s * NS), at(x))
    assert track.at(int(0.3 * NS))[0, 3] == pytest.approx(3.0)
    with pytest.raises(TransformError, match=r"gap of 0.60 s \(at most 0.5 s\)") as caught:
        track.at(int(0.7 * NS))
    assert caught.value.lack == Lack.GAP and not caught.value.may_come
    assert track.at(NS)[0, 3] == 10.0


def test_a_track_without_interpolation_gives_samples_only() -> None:
    track = PoseTrack(max_gap_s=0)
    track.add(0, at(1))
    track.add(NS, at(2))
    assert track.at(NS)[0, 3] == 2
    with pytest.raises(TransformError, match="none of this very stamp"):
        track.at(1)


def test_samples_out_of_order_and_twice() -> None:
    track = PoseTrack()
    for stamp_s, x in ((0.0, 0.0), (1.0, 1.0), (0.5, 5.0), (0.5, 6.0)):
        assert track.add(int(stamp_s * NS), at(x))
    assert len(track) == 3
    assert track.at(NS // 2)[0, 3] == 6 and track.at(NS // 4)[0, 3] == pytest.approx(3)


def test_history_is_bounded() -> None:
    track = PoseTrack(history_s=2.0)
    for i in range(10_000):
        track.add(i * NS // 100, at(i))
    assert 200 <= len(track) <= 460
    assert track.at(9_900 * NS // 100)[0, 3] == 9900
    with pytest.raises(TransformError, match="before the first"):
        track.at(0)


def test_a_looping_bag_clears_the_moving_edges_alone() -> None:
    buffer = robot()
    buffer.add("odom", "base", 60 * NS, at(x=60))
    buffer.add("odom", "base", 5 * NS, at(x=-5))
    with pytest.raises(TransformError, match="before the first"):
        buffer.lookup("odom", "base", 1 * NS)
    assert np.allclose(buffer.lookup("odom", "camera", 5 * NS), at(x=-5, z=1, yaw_deg=90))
    buffer.forget_ahead(4 * NS)
    with pytest.raises(TransformError, match="none yet"):
        buffer.lookup("odom", "base", 5 * NS)
    assert buffer.has("base") and buffer.root("camera") == "map"


def test_a_child_moves_to_another_parent() -> None:
    buffer = robot()
    buffer.add("hand", "camera", 0, at(x=0.1), static=True)
    assert buffer.root("camera") == "hand"
    with pytest.raises(TransformError, match="not connected"):
        buffer.lookup("map", "camera", NS)
    buffer.add("base", "hand", NS, at(z=2))
    assert np.allclose(buffer.lookup("base", "camera", NS), at(x=0.1, z=2))


def test_a_loop_of_frames_does_not_hang() -> None:
    buffer = TransformBuffer()
    buffer.add("a", "b", 0, at(1), static=True)
    buffer.add("b", "a", 0, at(2), static=True)
    with pytest.raises(TransformError, match="form a loop: a below b"):
        buffer.lookup("a", "b", 0)
    assert buffer.root("a") in ("a", "b")


@pytest.mark.parametrize(("parent", "child"), [("", "a"), ("a", ""), ("a", "a")])
def test_edges_need_two_names(parent: str, child: str) -> None:
    with pytest.raises(ValueError, match="two different frames"):
        TransformBuffer().add(parent, child, 0, np.eye(4))


angles = st.floats(-180, 180)
numbers = st.floats(-10, 10)
poses = st.builds(lambda x, y, z, yaw: at(x, y, z, yaw), numbers, numbers, numbers, angles)


@settings(deadline=None, max_examples=60)
@given(
    edges=st.lists(st.tuples(st.integers(0, 100), poses), min_size=2, max_size=8),
    picks=st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100)),
)
def test_transforms_of_any_tree_compose(edges: list[tuple[int, np.ndarray]], picks: tuple[int, int, int]) -> None:
    buffer = TransformBuffer()
    for i, (parent, T) in enumerate(edges):
        buffer.add(f"f{parent % (i + 1)}", f"f{i + 1}", 0, T, static=True)
    a, b, c = (f"f{pick % (len(edges) + 1)}" for pick in picks)
    T_a_b, T_b_c = buffer.lookup(a, b, 0), buffer.lookup(b, c, 0)
    assert np.allclose(T_a_b @ T_b_c, buffer.lookup(a, c, 0), atol=1e-9)
    assert np.allclose(T_a_b @ buffer.lookup(b, a, 0), np.eye(4), atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(fraction=st.floats(0, 1), velocity=numbers, turn=st.floats(-170, 170))
def test_uniform_motion_is_interpolated_exactly(fraction: float, velocity: float, turn: float) -> None:
    track = PoseTrack()
    track.add(0, at())
    track.add(NS, at(x=velocity, yaw_deg=turn))
    stamp_ns = round(fraction * NS)
    expected = at(x=velocity * stamp_ns / NS, yaw_deg=turn * stamp_ns / NS)
    assert np.allclose(track.at(stamp_ns), expected, atol=1e-9)
