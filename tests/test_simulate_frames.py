"""What the simulated camera and detector say, against worlds known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from s3d_ros.offline.simulate.config import DetectorNoise, Move, Remove, SensorNoise, SimulateConfig
from s3d_ros.offline.simulate.frames import iter_frames
from s3d_ros.offline.simulate.noise import PoseJitter, Schedule, displaced, noisy_depth
from s3d_ros.offline.simulate.render import Renderer, View
from s3d_ros.offline.simulate.small import make_box_room
from s3d_ros.offline.simulate.trajectory import Trajectory, camera_pose, through

OPTIONS = SimulateConfig(width=160, height=120)
# A box 0.6 m wide, its front 2.7 m from the camera
ROOM = make_box_room((4.0, 3.0, 2.5), [("cabinet", (3.5, 1.5, 1.2), (0.6, 0.6, 0.6))], plain=True)
POSE = camera_pose(np.array([0.5, 1.5, 1.2]), 0.0, 0.0)


def standing(frames: int, fps: float = 10.0, T: np.ndarray = POSE) -> Trajectory:
    return Trajectory(fps, np.repeat(T[None], frames, axis=0), 0.0)


def test_depth_and_masks_of_a_box_before_a_wall():
    view = Renderer(ROOM, OPTIONS.intrinsics()).render(POSE)
    f = OPTIONS.intrinsics().fx
    assert view.depth_m[60, 80] == pytest.approx(2.7, abs=1e-4)
    assert view.depth_m[60, 5] == pytest.approx(view.depth_m[60, 6], abs=0.2)
    # Depth is along the optical axis: the far wall, where it is seen, is 3.5 m away over its whole width
    wall = view.depth_m[60, (view.things[60] == 0) & (np.abs(np.arange(160) - 79.5) < 1.4 / 3.5 * f)]
    np.testing.assert_allclose(wall, 3.5, atol=1e-4)
    width = (view.things[60] == 1).sum()
    assert width == pytest.approx(0.6 / 2.7 * f, abs=1.0)
    assert view.facing[60, 80] == pytest.approx(1.0, abs=1e-3)
    assert view.color[view.things == 1].std() > 1  # textured


def test_a_sample_agrees_with_the_truth():
    (sample,) = iter_frames(ROOM, standing(1), OPTIONS)
    assert sample.frame.color.dtype == np.uint8 and sample.frame.color.shape == (120, 160, 3)
    assert sample.frame.depth_m.dtype == np.float32 and sample.truth.dtype == np.uint16
    assert sample.instances.labels == ("cabinet",) and sample.instances.scores == (1.0,)
    np.testing.assert_array_equal(sample.instances.image > 0, sample.truth == 1)
    np.testing.assert_array_equal(sample.frame.T_map_camera, POSE)
    np.testing.assert_allclose(sample.frame.T_map_base[:3, 3], [0.5, 1.5, 0.0], atol=1e-12)


CROWD = make_box_room(
    (5.0, 4.0, 2.5), [("chair", (4.0, 0.5 + 0.6 * k, 0.5), (0.4, 0.4, 1.0)) for k in range(6)], plain=True
)
LOOK = camera_pose(np.array([0.5, 2.0, 1.2]), 0.0, -0.2)


def true_of(sample) -> dict[int, int]:
    """Which thing each published number mostly covers."""
    i = sample.instances
    return {n: int(np.bincount(sample.truth[i.image == n]).argmax()) for n in i.numbers if (i.image == n).any()}


def test_numbers_are_shuffled_every_frame():
    seen = []
    for sample in iter_frames(CROWD, standing(20, T=LOOK), OPTIONS):
        assert sorted(sample.instances.numbers) == list(range(1, 7))
        assert set(np.unique(sample.instances.image)) == {0, *sample.instances.numbers}
        pairs = true_of(sample)
        assert sorted(pairs.values()) == [1, 2, 3, 4, 5, 6]
        seen.append(tuple(pairs[n] for n in range(1, 7)))
    assert len(set(seen)) > 15
    order = np.array(seen)
    assert (np.abs(order.mean(axis=0) - 3.5) < 1.5).all()  # no number leans to a thing


def test_a_seed_gives_the_same_frames_again():
    for noise in ("none", "all"):
        runs = [list(iter_frames(CROWD, standing(4, T=LOOK), OPTIONS, noise=noise, seed=5)) for _ in range(2)]
        for a, b in zip(*runs, strict=True):
            np.testing.assert_array_equal(a.frame.color, b.frame.color)
            np.testing.assert_array_equal(a.frame.depth_m, b.frame.depth_m)
            np.testing.assert_array_equal(a.instances.image, b.instances.image)
            assert a.instances.labels == b.instances.labels


def test_a_thing_is_removed_and_another_moved():
    options = replace(OPTIONS, events=(Remove(3, 0.5), Move(4, 1.0, (0.0, 0.0, -10.0))))
    samples = list(iter_frames(CROWD, standing(15, T=LOOK), options))
    assert [3 in s.truth for s in samples] == [True] * 5 + [False] * 10
    assert [4 in s.truth for s in samples] == [True] * 10 + [False] * 5
    assert all(5 in s.truth for s in samples)


def test_an_event_with_a_thing_that_is_not_there():
    with pytest.raises(KeyError, match="99"):
        next(iter_frames(CROWD, standing(1), replace(OPTIONS, events=(Remove(99, 0.5),))))
    with pytest.raises(ValueError, match="fog"):
        next(iter_frames(CROWD, standing(1), OPTIONS, noise="fog"))


def plain_view(depth_m: float) -> View:
    shape = (240, 320)
    return View(np.zeros((*shape, 3), np.uint8), np.full(shape, depth_m, np.float32), np.zeros(shape, np.uint16),
                np.ones(shape, np.float32))  # fmt: skip


@pytest.mark.parametrize("depth_m", [1.0, 2.5, 4.0])
def test_depth_noise_is_as_large_as_stated(depth_m):
    noise = SensorNoise()
    measured = noisy_depth(plain_view(depth_m), noise, np.random.default_rng(0))
    valid = measured > 0
    assert 1 - valid.mean() == pytest.approx(noise.speckle_share, rel=0.3)
    step_m = depth_m**2 * noise.disparity_step_px / noise.baseline_focal_m_px
    sigma_m = noise.axial_m[0] + noise.axial_m[1] * (depth_m - 0.4) ** 2
    assert measured[valid].std() == pytest.approx(np.hypot(sigma_m, step_m / np.sqrt(12)), rel=0.25)
    assert np.median(measured[valid]) == pytest.approx(depth_m, abs=step_m)
    levels = np.unique(np.round(noise.baseline_focal_m_px / measured[valid] / noise.disparity_step_px, 3))
    np.testing.assert_allclose(levels, np.round(levels), atol=0.01)  # disparity comes in steps


def test_depth_is_missing_where_a_camera_measures_none():
    noise = SensorNoise()
    rng = np.random.default_rng(0)
    assert (noisy_depth(plain_view(9.0), noise, rng) == 0).all()  # too far
    assert (noisy_depth(plain_view(0.2), noise, rng) == 0).all()  # too near
    assert (noisy_depth(plain_view(0.0), noise, rng) == 0).all()  # nothing hit
    grazed = replace(plain_view(2.0), facing=np.full((240, 320), 0.05, np.float32))
    assert (noisy_depth(grazed, noise, rng) == 0).all()
    step = plain_view(2.0)
    step.depth_m[:, 160:] = 3.0
    missing = noisy_depth(step, noise, rng) == 0
    assert 0.3 < missing[:, 158:162].mean() < 0.9
    assert missing[:, :150].mean() < 0.02 and missing[:, 170:].mean() < 0.02


def test_pose_errors_are_as_large_as_stated_and_wander():
    noise = SensorNoise()
    jitter = PoseJitter(noise, 10.0, np.random.default_rng(0))
    poses = np.stack([jitter.apply(POSE) for _ in range(6000)])
    off = poses[:, :3, 3] - POSE[:3, 3]
    assert np.sqrt((off**2).sum(axis=1).mean()) == pytest.approx(noise.position_m, rel=0.1)
    turned = np.einsum("nij,kj->nik", poses[:, :3, :3], POSE[:3, :3])
    angle = np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert np.sqrt((angle**2).mean()) == pytest.approx(noise.rotation_deg, rel=0.1)
    kept = np.corrcoef(off[1:, 0], off[:-1, 0])[0, 1]
    assert kept == pytest.approx(np.exp(-0.1 / noise.correlation_s), abs=0.05)


def test_errors_last_as_long_as_stated():
    ids = list(range(1, 201))
    schedule = Schedule(ids, 0.2, (1.0, 3.0), 60.0, np.random.default_rng(0))
    times = np.arange(0, 60, 0.05)
    on = np.array([[schedule.on(i, t) is not None for t in times] for i in ids])
    assert on.mean() == pytest.approx(0.2, abs=0.02)
    pieces = [[schedule.on(i, t) for t in times] for i in ids[:50]]
    for row in pieces:
        inner = [p for p in row if p is not None]
        for piece in set(inner) - {row[0], row[-1]}:
            assert 0.9 <= row.count(piece) * 0.05 <= 3.1
    edges = np.diff(on.astype(int), axis=1, prepend=0, append=0)
    lasted_s = [(b - a) * 0.05 for row in edges for a, b in zip(*map(np.flatnonzero, (row > 0, row < 0)), strict=True)]
    assert max(lasted_s) <= 3.1  # no two on end


def test_ragged_outlines_stay_within_three_pixels():
    image = np.zeros((120, 160), np.uint16)
    image[40:80, 50:110] = 7
    ragged = displaced(image, 3.0, np.random.default_rng(0))
    assert set(np.unique(ragged)) == {0, 7}
    assert (ragged[44:76, 54:106] == 7).all()  # inside
    grown = np.zeros_like(image)
    grown[36:84, 46:114] = 1
    assert not ragged[grown == 0].any()
    changed = (ragged != image).sum() / 200  # per pixel of outline
    assert 0.3 < changed < 3


def test_detector_errors_come_as_often_as_stated():
    noise = DetectorNoise(split=0.0, merged=0.0, confused_objects=0.0)
    options = replace(OPTIONS, detector=noise)
    missed = wrong = shown = 0
    for seed in range(4):
        for sample in iter_frames(CROWD, standing(60, fps=2.0, T=LOOK), options, noise="detector", seed=seed):
            pairs = true_of(sample)
            missed += 6 - len(pairs)
            shown += len(pairs)
            wrong += sum(label != "chair" for label in sample.instances.labels)
    assert missed / (missed + shown) == pytest.approx(noise.missed, abs=0.06)
    assert wrong / shown == pytest.approx(noise.wrong_label, abs=0.06)


def test_split_merged_and_systematic_errors():
    def numbers(**shares):
        base = {"missed": 0.0, "split": 0.0, "merged": 0.0, "wrong_label": 0.0, "confused_objects": 0.0}
        options = replace(OPTIONS, detector=DetectorNoise(**(base | {"ragged_px": 1.0} | shares)))
        return list(iter_frames(CROWD, standing(3, T=LOOK), options, noise="detector"))

    assert all(len(s.instances.numbers) == 6 for s in numbers())
    assert all(len(s.instances.numbers) == 12 for s in numbers(split=1.0))
    touching = make_box_room(
        (5.0, 4.0, 2.5), [("chair", (4.0, 1.8, 1.0), (0.4, 0.4, 1.0)), ("sofa", (4.0, 2.2, 1.0), (0.4, 0.4, 1.0))],
        plain=True,
    )  # fmt: skip
    shares = DetectorNoise(missed=0, split=0, merged=1.0, wrong_label=0, confused_objects=0, ragged_px=1.0)
    merged = list(iter_frames(touching, standing(3, T=LOOK), replace(OPTIONS, detector=shares), noise="detector"))
    assert all(len(s.instances.numbers) == 1 for s in merged)
    confused = numbers(confused_objects=1.0, confused_side_deg=360.0)
    assert all(set(s.instances.labels) == {"stool"} for s in confused)


def test_a_confusion_is_seen_from_one_side_only():
    alone = make_box_room((6.0, 6.0, 2.5), [("chair", (3.0, 3.0, 0.5), (0.4, 0.4, 1.0))], plain=True)
    shares = DetectorNoise(missed=0, split=0, merged=0, wrong_label=0, confused_objects=1.0, ragged_px=1.0)
    labels = []
    for a in np.arange(0, 2 * np.pi, np.pi / 12):
        eye = np.array([3 + 2 * np.cos(a), 3 + 2 * np.sin(a), 1.0])
        (sample,) = iter_frames(
            alone, standing(1, T=camera_pose(eye, a + np.pi, -0.2)), replace(OPTIONS, detector=shares),
            noise="detector", seed=2,
        )  # fmt: skip
        labels.append(sample.instances.labels[0])
    assert labels.count("stool") == pytest.approx(24 / 3, abs=1)
    assert sum(a != b for a, b in zip(labels, labels[1:] + labels[:1], strict=True)) == 2  # one side, in one piece


def test_a_small_sample_is_quick_and_moves():
    walk = through([(0.5, 0.5, 1.2, 0.6, -0.2), (1.0, 0.5, 1.2, 0.9, -0.2)], fps=10)
    samples = list(iter_frames(ROOM, walk, OPTIONS))
    stamps = np.array([s.frame.stamp_ns for s in samples])
    assert (np.diff(stamps) == 100_000_000).all()
    assert samples[-1].T_map_camera[0, 3] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 4}, "image size"), ({"fps": 0.0}, "fps"), ({"storage": "zip"}, "zip"),
        ({"transforms": "none", "publish_pose": False}, "pose topic"), ({"compression": "rar"}, "rar"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        SimulateConfig(**change)
