"""Corrections of poses: between stamps that are not ours, across jumps, about the camera; and what waits for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros.correction import Correction, of_path, of_step
from s3d_ros.corrector import Corrector
from s3d_ros.geometry import invert
from s3d_ros.trail import Trail, distance
from s3d_ros.types import F64, Frame, Intrinsics, PosePath, PoseStep

S = 1_000_000_000
K = Intrinsics(8, 6, 8.0, 8.0, 3.5, 2.5)


def pose(x: float, y: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0) -> F64:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    T[:3, 3] = x, y, z
    return T


def true_pose(t: float) -> F64:
    """A walk along x far from the origin, turning all the while."""
    return pose(50 + 0.4 * t, 20 + 0.3 * np.sin(t), 1.2, 60 * np.sin(0.5 * t))


def about(point: F64, shift: tuple[float, float, float], yaw_deg: float) -> F64:
    """The motion that turns about a point and shifts."""
    to, turn = np.eye(4), pose(0, yaw_deg=yaw_deg)
    to[:3, 3] = point
    move = np.eye(4)
    move[:3, 3] = shift
    return move @ to @ turn @ invert(to)


JUMP = about(true_pose(10.0)[:3, 3], (0.4, 0.3, 0.0), 10.0)


def given_pose(t: float) -> F64:
    """What the robot believes: wrong from 10 s on."""
    return JUMP @ true_pose(t) if t >= 10 else true_pose(t)


def walked(until_s: float, fps: float = 30.0) -> Trail:
    trail = Trail()
    for k in range(int(until_s * fps)):
        trail.add(round(k / fps * S), given_pose(k / fps))
    return trail


def path(stamps_s: np.ndarray) -> PosePath:
    return PosePath((stamps_s * S).astype(np.int64), np.stack([true_pose(t) for t in stamps_s]))


def corrected_error(correction: Correction, trail: Trail, at_s: np.ndarray) -> tuple[float, float]:
    """Largest error, metres and radians, of given poses after the correction."""
    stamps = (at_s * S).astype(np.int64)
    mapped = np.stack([given_pose(t) for t in at_s])
    moved = correction.at(stamps, mapped[:, :3, 3]) @ mapped
    errors = [distance(T, true_pose(t)) for T, t in zip(moved, at_s, strict=True)]
    return max(e[0] for e in errors), max(e[1] for e in errors)


def test_path_with_other_stamps_and_a_jump_between_two_of_them():
    trail = walked(40.0)
    correction = of_path(trail, path(np.arange(0.37, 39.5, 0.73)))  # none is ours; 10 s lies between two
    metres, radians = corrected_error(correction, trail, np.linspace(0.5, 39.9, 400))
    assert metres < 0.01
    assert radians < 0.005
    begins = correction.begins_ns()
    assert begins is not None
    assert 9.2 * S < begins <= 10 * S


def test_slow_drift_is_interpolated_where_it_acts():
    """Odometry that turns too much by half a degree a second: metres off after 40 s."""
    trail, drifted = Trail(), true_pose(0.0)
    mapped = {0: drifted}
    for k in range(1, 1200):
        step = invert(true_pose((k - 1) / 30)) @ true_pose(k / 30)
        drifted = drifted @ pose(0, yaw_deg=0.5 / 30) @ step
        mapped[k] = drifted
    for k, T in mapped.items():
        trail.add(round(k / 30 * S), T)
    assert distance(mapped[1199], true_pose(1199 / 30))[0] > 1.5
    correction = of_path(trail, path(np.arange(0.0, 40.0, 2.0)))
    for k in range(1, 1140, 7):
        moved = correction.at(np.array([round(k / 30 * S)]), mapped[k][None, :3, 3])[0] @ mapped[k]
        assert distance(moved, true_pose(k / 30))[0] < 0.01
        assert distance(moved, true_pose(k / 30))[1] < 0.01


def test_interpolation_far_from_the_origin_turns_about_the_camera():
    where = np.array([1000.0, 0.0, 0.0])
    turn = about(where, (0.0, 0.0, 0.0), 20.0)
    correction = Correction(np.array([0, 2 * S]), np.stack([np.eye(4), turn]), np.stack([where, where]))
    half = correction.at(np.array([S]), where[None])[0]
    assert np.allclose(half[:3, :3] @ where + half[:3, 3], where, atol=1e-6)
    assert np.isclose(distance(np.eye(4), half)[1], np.deg2rad(10))


def test_a_step_after_a_jump_moves_what_came_after_the_jump():
    trail = walked(40.0)
    correction = of_step(trail, PoseStep(40 * S, invert(JUMP)), since_ns=0)
    metres, _ = corrected_error(correction, trail, np.concatenate([np.linspace(0, 9.9, 50), np.linspace(10.1, 39, 50)]))
    assert metres < 1e-3


def test_a_fast_cameras_jump_is_told_by_what_the_step_takes_back():
    """At 3 m/s and ten poses a second a jump of 0.3 m is no larger than the motion."""
    trail, jumped = Trail(), pose(0.0, 0.3)
    for k in range(300):
        T = pose(0.3 * k, 2 * np.sin(0.02 * k))
        trail.add(k * S // 10, jumped @ T if k >= 100 else T)
    correction = of_step(trail, PoseStep(30 * S, invert(jumped)), since_ns=0)
    at = np.array([5, 99, 101, 250]) * (S // 10)
    shift = correction.at(at, trail.at(at)[:, :3, 3])[:, 1, 3]
    assert np.allclose(shift, [0.0, 0.0, -0.3, -0.3], atol=1e-6)


def test_a_step_without_a_jump_is_spread_along_the_way():
    trail = Trail()
    for k in range(300):
        trail.add(round(k / 10 * S), pose(0.1 * min(k, 200)))
    correction = of_step(trail, PoseStep(30 * S, pose(0.2)), since_ns=0)
    at = np.array([0, 10 * S, 20 * S, 29 * S])
    shift = correction.at(at, trail.at(at)[:, :3, 3])[:, 0, 3]
    assert np.allclose(shift, [0.0, 0.1, 0.2, 0.2], atol=1e-6)


def test_path_of_another_time_says_so():
    with pytest.raises(ValueError, match="no pose from the time that was mapped"):
        of_path(walked(5.0), path(np.arange(100.0, 110.0)))


def test_later_correction_after_an_earlier_one_leaves_the_rest():
    trail = walked(40.0)
    first, second = of_path(trail, path(np.arange(0, 30, 1.0))), of_path(trail, path(np.arange(0, 39, 0.7)))
    rest = second.after(first)
    assert rest.begins_ns() is None


def frame(index: int, t: float, T: F64) -> Frame:
    return Frame(index, round(t * S), np.zeros((6, 8, 3), np.uint8), np.ones((6, 8), np.float32), K, T)


def run(corrector: Corrector, start_s: float, end_s: float, poses) -> list[F64]:
    return [
        corrector.place(frame(k, k / 30, poses(k / 30)), True).T_map_camera
        for k in range(round(start_s * 30), round(end_s * 30))
    ]


@pytest.mark.parametrize("delay_s", [0.0, 0.5])
def test_frames_go_on_fitting_the_map_until_it_was_made_anew(delay_s: float):
    """The poses switch over at 40 s; the path comes then, or half a second later."""
    corrector = Corrector()
    run(corrector, 0, 40 + delay_s, lambda t: true_pose(t) if t >= 40 else given_pose(t))
    corrector.hear(path(np.arange(0, 39.9, 0.7)))
    begins = corrector.begins_ns()
    assert begins is not None
    assert begins > 9 * S
    placed = run(corrector, 40 + delay_s, 45, true_pose)
    if not delay_s:  # as the wrong map has it; after half a second they lie right anyway
        assert distance(placed[-1], JUMP @ true_pose(45 - 1 / 30))[0] < 0.02
    correction = corrector.pending
    assert correction is not None
    corrector.done(correction)
    assert corrector.begins_ns() is None
    for T, t in zip(run(corrector, 45, 46, true_pose), np.arange(45, 46, 1 / 30), strict=True):
        assert distance(T, true_pose(t))[0] < 0.02
    after = corrector.trail.at((np.linspace(0.1, 39, 200) * S).astype(np.int64))
    assert max(distance(T, true_pose(t))[0] for T, t in zip(after, np.linspace(0.1, 39, 200), strict=True)) < 0.08


def test_poses_that_are_never_corrected_stay_where_they_fit():
    """A SLAM system whose path is corrected while its stream of poses is not."""
    corrector = Corrector()
    run(corrector, 0, 40, given_pose)
    corrector.hear(path(np.arange(0, 40, 0.7)))
    placed = run(corrector, 40, 45, given_pose)
    assert distance(placed[-1], given_pose(45 - 1 / 30))[0] < 1e-9
    assert corrector.pending is not None
    corrector.done(corrector.pending)
    assert distance(run(corrector, 45, 46, given_pose)[-1], true_pose(46 - 1 / 30))[0] < 0.02


def test_second_jump_corrected_while_the_map_is_made_anew_for_the_first():
    second = about(true_pose(20.0)[:3, 3], (-0.3, 0.4, 0.0), -10.0)

    def stream(t: float) -> F64:
        T = given_pose(t) if t < 40 else true_pose(t)  # the first is corrected at 40 s, the second at 50 s
        return second @ T if 20 <= t < 50 else T

    def believed(t: float) -> F64:  # what the first path says: it does not know of the second jump
        return second @ true_pose(t) if t >= 20 else true_pose(t)

    corrector = Corrector()
    run(corrector, 0, 40, stream)
    stamps = np.arange(0, 39.95, 0.7)
    corrector.hear(PosePath((stamps * S).astype(np.int64), np.stack([believed(t) for t in stamps])))
    first = corrector.pending
    assert first is not None
    run(corrector, 40, 50, stream)
    corrector.hear(path(np.arange(0, 49.95, 0.7)))
    run(corrector, 50, 55, stream)
    corrector.done(first)
    assert corrector.begins_ns() is not None
    run(corrector, 55, 57, stream)
    assert corrector.pending is not None
    corrector.done(corrector.pending)
    assert corrector.begins_ns() is None
    run(corrector, 57, 58, stream)
    times = np.concatenate([np.linspace(0.1, 9.8, 50), np.linspace(10.3, 19.8, 50), np.linspace(20.3, 57.9, 100)])
    after = corrector.trail.at((times * S).astype(np.int64))
    assert max(distance(T, true_pose(t))[0] for T, t in zip(after, times, strict=True)) < 0.05


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-180, 180), st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_a_constant_correction_is_constant_everywhere(x: float, y: float, yaw: float, times: list[float]):
    delta = pose(x, y, 0, yaw)
    positions = np.array([[30.0, 0, 0], [0, 30.0, 0], [5.0, 5, 5]])
    correction = Correction(np.array([0, 30 * S, 100 * S]), np.stack([delta] * 3), positions)
    at = correction.at((np.array(times) * S).astype(np.int64), np.full((len(times), 3), 7.0))
    assert np.allclose(at, delta, atol=1e-6)


def test_a_trail_is_bounded_by_its_rate_and_keeps_both_sides_of_a_jump():
    trail = walked(20.0)
    assert len(trail) <= 204
    assert trail.jumps().tolist() == [10 * S]
    at = trail.at(np.array([10 * S - 1, 10 * S]))
    assert distance(at[0], true_pose(10 - 1 / 30))[0] < 0.03
    assert distance(at[1], given_pose(10.0))[0] < 1e-9
