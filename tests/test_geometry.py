"""Rigid transforms and oriented boxes: answers known by hand, and properties that hold for any box and pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros import geometry
from s3d_ros.geometry import PoseError, box_distance, box_iou, box_of_points, inside_box, level_rotation
from s3d_ros.types import F64, Intrinsics, OrientedBox

finite = st.floats(-3, 3, allow_nan=False)
extent = st.floats(0.05, 3)
points3 = st.tuples(finite, finite, finite).map(np.array)


@st.composite
def rotations(draw: st.DrawFn) -> F64:
    q = np.array([draw(st.floats(-1, 1)) for _ in range(4)])
    assume(np.linalg.norm(q) > 0.1)
    return Rotation.from_quat(q).as_matrix()


@st.composite
def boxes(draw: st.DrawFn) -> OrientedBox:
    size = np.array([draw(extent) for _ in range(3)])
    return OrientedBox(draw(points3), size, draw(rotations()))


@st.composite
def poses(draw: st.DrawFn) -> F64:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = draw(rotations()), draw(points3)
    return T


def straight(center: tuple[float, ...], size: tuple[float, ...]) -> OrientedBox:
    return OrientedBox(np.array(center, float), np.array(size, float), np.eye(3))


def moved(box: OrientedBox, T: F64) -> OrientedBox:
    return OrientedBox(geometry.transform(T, box.center[None])[0], box.size, box.axes @ T[:3, :3].T)


# Volume IoU


def test_iou_of_cubes_that_share_half():
    a, b = straight((0, 0, 0), (1, 1, 1)), straight((0.5, 0, 0), (1, 1, 1))
    assert box_iou(a, b) == pytest.approx(0.5 / 1.5, abs=1e-8)


def test_iou_of_a_square_and_the_same_turned_by_45_degrees():
    # What they share is a regular octagon of in-radius 1/2: area 2 (sqrt 2 - 1).
    a = straight((4, -2, 1), (1, 1, 2))
    b = OrientedBox(a.center, a.size, Rotation.from_euler("z", 45, degrees=True).as_matrix().T)
    shared = 2 * (np.sqrt(2) - 1)
    assert box_iou(a, b) == pytest.approx(shared / (2 - shared), abs=1e-8)


def test_iou_of_a_cube_cut_by_a_tilted_one():
    # The tilted cube's face passes through the centre of the other: exactly half is shared, whatever the tilt.
    axes = Rotation.from_euler("xyz", [20, 35, 50], degrees=True).as_matrix()
    a = straight((0, 0, 0), (1, 1, 1))
    b = OrientedBox(axes[0] * 5, np.array([10.0, 10, 10]), axes)
    assert box_iou(a, b) == pytest.approx(0.5 / (1 + 1000 - 0.5), abs=1e-9)


def test_iou_of_boxes_that_touch_is_nothing():
    a = straight((0, 0, 0), (1, 1, 1))
    assert box_iou(a, straight((1, 0, 0), (1, 1, 1))) == pytest.approx(0, abs=1e-7)
    assert box_iou(a, straight((1, 1, 1), (1, 1, 1))) == pytest.approx(0, abs=1e-7)


def test_iou_of_a_box_inside_another_with_faces_in_common():
    assert box_iou(straight((0, 0, 0), (2, 2, 2)), straight((0.5, 0.5, 0.5), (1, 1, 1))) == pytest.approx(1 / 8)


def test_iou_counts_other_orders_of_the_axes_as_the_same_box():
    a = straight((1, 2, 3), (1, 2, 3))
    axes = np.array([[0, 0, -1.0], [1, 0, 0], [0, 1, 0]])
    assert box_iou(a, OrientedBox(a.center, np.array([3.0, 1, 2]), axes)) == pytest.approx(1, abs=1e-8)


def test_iou_of_flat_boxes_is_finite():
    a = straight((0, 0, 0), (1, 1, 0))
    assert box_iou(a, a) == pytest.approx(1, abs=0.01)
    assert box_iou(a, straight((0, 0, 0.5), (1, 1, 0))) == 0


@given(boxes())
def test_iou_with_itself_is_one(a: OrientedBox):
    assert box_iou(a, a) == pytest.approx(1, abs=1e-6)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_a_share(a: OrientedBox, b: OrientedBox):
    iou = box_iou(a, b)
    assert 0 <= iou <= 1
    assert iou == pytest.approx(box_iou(b, a), abs=1e-7)


@given(boxes(), boxes(), poses())
def test_iou_does_not_change_when_both_move(a: OrientedBox, b: OrientedBox, T: F64):
    assert box_iou(moved(a, T), moved(b, T)) == pytest.approx(box_iou(a, b), abs=1e-6)


@given(points3, points3, points3, points3, poses())
def test_iou_of_parallel_boxes_is_that_of_intervals(low_a: F64, low_b: F64, size_a: F64, size_b: F64, T: F64):
    size_a, size_b = np.abs(size_a) + 0.05, np.abs(size_b) + 0.05
    shared = np.prod(np.clip(np.minimum(low_a + size_a, low_b + size_b) - np.maximum(low_a, low_b), 0, None))
    expected = shared / (np.prod(size_a) + np.prod(size_b) - shared)
    a = straight(tuple(low_a + size_a / 2), tuple(size_a))
    b = straight(tuple(low_b + size_b / 2), tuple(size_b))
    assert box_iou(a, b) == pytest.approx(expected, abs=1e-6)
    assert box_iou(moved(a, T), moved(b, T)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(boxes(), boxes(), st.integers(0, 1000))
def test_iou_agrees_with_sampling(a: OrientedBox, b: OrientedBox, seed: int):
    points = (np.random.default_rng(seed).random((40_000, 3)) - 0.5) * a.size @ a.axes + a.center
    shared = inside_box(points, b).mean() * np.prod(a.size)
    volume = np.prod(a.size) + np.prod(b.size) - shared
    error = 5 * np.prod(a.size) * 0.5 / np.sqrt(len(points)) / volume  # 5 sigma
    assert box_iou(a, b) == pytest.approx(shared / volume, abs=max(2 * error, 1e-3))


# Distance


def test_distance_between_faces_edges_and_corners():
    a = straight((0, 0, 0), (2, 2, 2))
    assert box_distance(a, straight((4, 0, 0), (2, 2, 2)))[0] == pytest.approx(2)
    assert box_distance(a, straight((4, 4, 0), (2, 2, 2)))[0] == pytest.approx(2 * np.sqrt(2))
    assert box_distance(a, straight((4, 4, 4), (2, 2, 2)))[0] == pytest.approx(2 * np.sqrt(3))


def test_distance_between_two_crossing_edges():
    # One cube on an edge along y below, one on an edge along x above: the edges cross, 1 m apart.
    below = OrientedBox(np.zeros(3), np.full(3, 2.0), Rotation.from_euler("y", 45, degrees=True).as_matrix())
    above = OrientedBox(
        np.array([0, 0, 2 * np.sqrt(2) + 1]), np.full(3, 2.0), Rotation.from_euler("x", 45, degrees=True).as_matrix()
    )
    d, p, q = box_distance(below, above)
    assert d == pytest.approx(1)
    np.testing.assert_allclose([p, q], [[0, 0, np.sqrt(2)], [0, 0, np.sqrt(2) + 1]], atol=1e-9)


def test_distance_is_zero_where_bars_cross_with_no_corner_inside():
    d, p, q = box_distance(straight((0, 0, 0), (4, 0.2, 0.2)), straight((0, 0, 0), (0.2, 4, 0.2)))
    assert d == 0 and (p == q).all()
    assert box_distance(straight((0, 0, 0), (4, 4, 4)), straight((0.3, 0, 0), (1, 1, 1)))[0] == 0


@given(boxes(), boxes())
def test_closest_points_lie_in_the_boxes_and_are_that_far_apart(a: OrientedBox, b: OrientedBox):
    d, p, q = box_distance(a, b)
    assert np.linalg.norm(p - q) == pytest.approx(d, abs=1e-9)
    assert inside_box(p[None], a, 1e-7).all() and inside_box(q[None], b, 1e-7).all()
    assert box_distance(b, a)[0] == pytest.approx(d, abs=1e-9)
    if d > 0:  # each is the other's nearest point in its box: no two points of convex solids are closer
        assert geometry.point_box_distance(p, b) == pytest.approx(d, abs=1e-7)
        assert geometry.point_box_distance(q, a) == pytest.approx(d, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(boxes(), boxes())
def test_distance_agrees_with_brute_force(a: OrientedBox, b: OrientedBox):
    """Points all over the surface of one: their distance to the other box is never less, and comes close."""
    d, _, _ = box_distance(a, b)
    steps = np.linspace(-0.5, 0.5, 41)
    u, v = (g.ravel() for g in np.meshgrid(steps, steps))
    sides = [np.insert(np.stack([u, v], 1), k, s, axis=1) for k in range(3) for s in (-0.5, 0.5)]
    points = np.concatenate(sides) * a.size @ a.axes + a.center
    local = np.maximum(np.abs((points - b.center) @ b.axes.T) - b.size / 2, 0)
    sampled = float(np.linalg.norm(local, axis=1).min())
    assert d <= sampled + 1e-9
    if d > 0:
        assert sampled <= d + a.size.max() / 40 * np.sqrt(2)


# Rigid transforms


def test_rigid_mends_a_rotation_that_was_rounded():
    R = Rotation.from_euler("xyz", [0.3, -1.2, 2.0]).as_matrix()
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R + 1e-3, (1, 2, 3)
    fixed = geometry.rigid(T)
    np.testing.assert_allclose(fixed[:3, :3] @ fixed[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(fixed[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(fixed[:3, :3], R, atol=3e-3)
    np.testing.assert_array_equal(fixed[:3, 3], (1, 2, 3))


@pytest.mark.parametrize(
    ("T", "message"),
    [
        (np.eye(3), "4x4"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.diag([1.0, 1, -1, 1]), "det"),
        (np.diag([1.1, 1.1, 1.1, 1]), "not a rotation"),
        (np.zeros((4, 4)), "last row"),
        (np.diag([0.0, 0, 0, 1]), "not a rotation"),
    ],
)
def test_rigid_rejects_what_is_no_pose(T: F64, message: str):
    with pytest.raises(PoseError, match=message):
        geometry.rigid(T)


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (0, 0, 0, 2), (np.nan, 0, 0, 1)])
def test_a_quaternion_that_is_none_is_rejected(q: tuple[float, ...]):
    with pytest.raises(PoseError):
        geometry.pose_matrix((0, 0, 0), q)


@given(poses(), points3)
def test_inverse_undoes(T: F64, point: F64):
    there = geometry.transform(T, point[None])
    np.testing.assert_allclose(geometry.transform(geometry.invert(T), there)[0], point, atol=1e-9)
    np.testing.assert_allclose(geometry.pose_matrix(T[:3, 3], geometry.quaternion(T)), T, atol=1e-9)


def test_interpolation_half_way():
    a, b = np.eye(4), np.eye(4)
    b[:3, :3] = Rotation.from_euler("z", 80, degrees=True).as_matrix()
    b[:3, 3] = (2, 0, 4)
    T = geometry.interpolate(a, b, 0.25)
    np.testing.assert_allclose(T[:3, 3], (0.5, 0, 1))
    np.testing.assert_allclose(T[:3, :3], Rotation.from_euler("z", 20, degrees=True).as_matrix(), atol=1e-12)


@given(poses(), poses(), st.floats(0, 1))
def test_interpolation_stays_rigid_and_turns_evenly(a: F64, b: F64, fraction: float):
    whole = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    assume(whole < 3.1)  # at half a turn the way round is not defined
    T = geometry.interpolate(a, b, fraction)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
    turned = Rotation.from_matrix(a[:3, :3].T @ T[:3, :3]).magnitude()
    assert turned == pytest.approx(fraction * whole, abs=1e-6)
    np.testing.assert_allclose(geometry.interpolate(a, b, 0), a, atol=1e-9)
    np.testing.assert_allclose(geometry.interpolate(a, b, 1), b, atol=1e-9)


@given(points3)
def test_level_rotation_raises_up_by_the_smallest_turn(up: F64):
    assume(np.linalg.norm(up) > 1e-3)
    R = level_rotation(up)
    unit = up / np.linalg.norm(up)
    np.testing.assert_allclose(R @ unit, (0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(R) == pytest.approx(1)
    angle = np.arctan2(np.hypot(unit[0], unit[1]), unit[2])
    assert Rotation.from_matrix(R).magnitude() == pytest.approx(angle, abs=1e-6)


def test_level_rotation_of_plus_and_minus_z():
    np.testing.assert_array_equal(level_rotation((0, 0, 2)), np.eye(3))
    np.testing.assert_allclose(level_rotation((0, 0, -1)) @ (0, 0, -1), (0, 0, 1))


@pytest.mark.parametrize("up", [(0, 0, 0), (np.nan, 0, 1)])
def test_level_rotation_of_no_direction_is_an_error(up: tuple[float, ...]):
    with pytest.raises(ValueError, match="direction"):
        level_rotation(up)


# Projection


def test_projection_of_what_was_back_projected():
    camera = Intrinsics(8, 6, 10.0, 12.0, 3.5, 2.5)
    depth = np.linspace(0.5, 3, 48, dtype=np.float32).reshape(6, 8)
    points = geometry.backproject(depth, camera)
    uv, z = geometry.project(points.reshape(-1, 3).astype(np.float64), camera)
    u, v = np.meshgrid(np.arange(8), np.arange(6))
    np.testing.assert_allclose(uv, np.stack([u.ravel(), v.ravel()], 1), atol=1e-5)
    np.testing.assert_array_equal(z, depth.ravel())
    np.testing.assert_allclose(points[2, 7], [depth[2, 7] * 0.35, -depth[2, 7] / 24, depth[2, 7]], rtol=1e-6)


def test_what_lies_behind_the_camera_has_no_pixel():
    uv, z = geometry.project(np.array([[0, 0, -1.0], [0, 0, 0]]), Intrinsics(8, 6, 10.0, 12.0, 3.5, 2.5))
    assert np.isnan(uv).all() and (z <= 0).all()


# Boxes around points


@given(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.3, 3), st.floats(-np.pi, np.pi), points3, rotations())
def test_the_box_of_a_box_s_corners_is_that_box(w: float, d: float, h: float, yaw: float, center: F64, tilt: F64):
    """Any up, any yaw: found again, with one axis along up."""
    axes = Rotation.from_euler("z", yaw).as_matrix().T @ tilt
    box = OrientedBox(center, np.array([w, d, h]), axes)
    found = box_of_points(box.corners(), up=axes[2])
    # The smallest footprint of a rectangle's corners is that rectangle; OpenCV finds it in float32.
    assert box_iou(found, box) > 0.995
    np.testing.assert_allclose(np.abs(found.axes @ axes[2]), (0, 0, 1), atol=1e-6)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(found.axes) == pytest.approx(1)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(0, 1000), rotations())
def test_the_box_of_points_holds_them(count: int, seed: int, tilt: F64):
    points = np.random.default_rng(seed).normal(size=(count, 3)) + 100
    box = box_of_points(points, up=tilt[2])
    assert inside_box(points, box, 1e-4).all()
    heights = points @ tilt[2]
    assert box.size[2] == pytest.approx(heights.max() - heights.min(), abs=1e-9)


def test_the_box_of_one_point_and_of_a_line():
    one = box_of_points(np.array([[1.0, 2, 3]]))
    np.testing.assert_allclose(one.center, (1, 2, 3))
    np.testing.assert_allclose(one.size, 0, atol=1e-6)
    line = box_of_points(np.array([[0.0, 0, 0], [1, 1, 0], [2, 2, 0]]))
    np.testing.assert_allclose(np.sort(line.size), (0, 0, 2 * np.sqrt(2)), atol=1e-5)


def test_the_box_of_no_points_is_an_error():
    with pytest.raises(ValueError, match="no points"):
        box_of_points(np.zeros((0, 3)))


def test_points_in_and_about_a_box():
    box = OrientedBox(np.array([1.0, 0, 0]), np.array([2.0, 4, 6]), np.eye(3))
    points = np.array([[1, 0, 0], [2, 2, 3], [2.1, 0, 0], [1, 0, -3.05]])
    assert inside_box(points, box).tolist() == [True, True, False, False]
    assert inside_box(points, box, 0.1).tolist() == [True, True, True, True]
    assert geometry.point_box_distance((1, 1, 1), box) == 0
    assert geometry.point_box_distance((5, 6, 3), box) == pytest.approx(5)
