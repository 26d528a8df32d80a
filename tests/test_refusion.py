"""Poses that were wrong for a while: the map is made anew, IDs that were said go on, nothing is there twice."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from synthetic import FULL, BoxWorld, room
from wrong_poses import (
    CONFIG,
    CORRECTED_AT,
    JUMP_AT,
    THINGS,
    S,
    check,
    jump,
    mapped,
    path_until,
    true_pose,
    walk,
    wrong,
)

from s3d_ros.anchors import pack
from s3d_ros.correction import Correction
from s3d_ros.geometry import invert
from s3d_ros.lifting import lift
from s3d_ros.past import Past
from s3d_ros.pipeline import Pipeline
from s3d_ros.reconciling import FIRST_NEW_ID, reconcile
from s3d_ros.ros.refusion_process import RefusionProcess
from s3d_ros.tracks import Tracks
from s3d_ros.types import Frame, Instances, PoseStep, Scene


@pytest.fixture(scope="module")
def frames() -> list[tuple[Frame, Instances]]:
    return walk()


@pytest.fixture(scope="module")
def should(frames: list[tuple[Frame, Instances]]) -> Scene:
    """What comes of it without a jump."""
    return mapped(frames)


def test_a_jump_that_a_path_corrects(frames: list[tuple[Frame, Instances]], should: Scene):
    pipeline, early, late = Pipeline(CONFIG), {}, Counter()
    for k, (frame, instances) in enumerate(wrong(frames)):
        if k == CORRECTED_AT:
            twice = pipeline.objects.snapshot()
            assert len(twice) > len(THINGS) or any(  # or else the jump did no harm, and the test shows nothing
                min(np.linalg.norm(o.box.center - np.mean(t, axis=0)) for t in THINGS.values()) > 0.2 for o in twice
            )
            pipeline.correct(path_until(frames, k))
            wanted = pipeline.refusion()
            assert wanted is not None
            remaking, refusion, anchors = wanted
            assert remaking.memory is not None  # objects from before the jump are not made anew
            assert remaking.memory.stamp_ns < JUMP_AT / 10 * S
            refusion.see(anchors)
        if k == CORRECTED_AT + 15:  # meanwhile frames went on being mapped
            pipeline.replace_by(refusion, remaking)
        result = pipeline.process(frame, instances)
        if k < JUMP_AT:
            early |= {n: i for n, i in result.instance_ids.items() if i}
        late.update(i for i in result.instance_ids.values() if i)
    scene = pipeline.finish(frames[-1][0])
    check(scene, should, early, pipeline.objects.merged)
    alive = {o.id for o in scene.objects}
    for said in late:  # whatever was said still leads to an object
        assert pipeline.objects.merged.get(said, said) in alive
    assert pipeline.refusion() is None


def test_a_step_of_map_to_odom_undoes_a_jump(frames: list[tuple[Frame, Instances]], should: Scene):
    pipeline, early = Pipeline(CONFIG), {}
    for k, (frame, instances) in enumerate(wrong(frames)):
        if k == CORRECTED_AT:
            pipeline.correct(PoseStep(frame.stamp_ns, invert(jump())))
            pipeline.remake(pipeline.refusion() or pytest.fail("nothing was to be corrected"))
        result = pipeline.process(frame, instances)
        if k < JUMP_AT:
            early |= {n: i for n, i in result.instance_ids.items() if i}
    check(pipeline.finish(frames[-1][0]), should, early, pipeline.objects.merged)


def test_another_process_makes_the_same_map(frames: list[tuple[Frame, Instances]], should: Scene):
    pipeline, faults = Pipeline(CONFIG), []
    process = RefusionProcess(CONFIG, faults.append)
    early: dict[int, int] = {}
    made = 0
    for k, (frame, instances) in enumerate(wrong(frames)):
        if k == CORRECTED_AT:
            pipeline.correct(path_until(frames, k))
            past = pipeline.past
            assert past is not None
            process.begin(past, past.wanted() or pytest.fail("nothing was to be corrected"), pipeline.up)
        if k > CORRECTED_AT:
            time.sleep(0.02)
        result = pipeline.process(frame, instances)
        if k < JUMP_AT:
            early |= {n: i for n, i in result.instance_ids.items() if i}
        if (found := process.take()) is not None:
            pipeline.replace_by(*found)
            made += 1
    deadline = time.monotonic() + 60
    while not made:
        assert time.monotonic() < deadline, faults
        time.sleep(0.05)
        if (found := process.take()) is not None:
            pipeline.replace_by(*found)
            made += 1
    assert not faults
    assert not process.is_busy
    check(pipeline.finish(frames[-1][0]), should, early, pipeline.objects.merged)


def test_a_process_that_dies_leaves_the_map_as_it_is(frames: list[tuple[Frame, Instances]]):
    pipeline, faults = Pipeline(CONFIG), []
    for frame, instances in list(wrong(frames))[:CORRECTED_AT]:
        pipeline.process(frame, instances)
    pipeline.correct(path_until(frames, CORRECTED_AT))
    process, past = RefusionProcess(CONFIG, faults.append), pipeline.past
    assert past is not None
    process.begin(past, past.wanted() or pytest.fail("nothing was to be corrected"), pipeline.up)
    deadline = time.monotonic() + 30
    while process.running is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.running.kill()
    before = pipeline.objects.snapshot()
    while process.is_busy:
        assert time.monotonic() < deadline
        assert process.take() is None
        time.sleep(0.02)
    assert "stays as it is" in faults[0]
    assert pipeline.objects.snapshot() == before
    assert past.wanted() is not None  # it will be tried again


def claimed(tracks: Tracks, object_id: int, points: np.ndarray) -> None:
    """Make an object of points, with an ID."""
    tracks.count_from(object_id)
    track = tracks.new(0)
    tracks.confirm(track)
    voxels, _ = tracks.voxels.claim(points, np.full(len(points), track.slot, np.int32))
    track.add_voxels(voxels)


def patch(x: float, count: int = 60) -> np.ndarray:
    y, z = np.meshgrid(np.arange(count // 6) * 0.03, np.arange(6) * 0.03)
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1).astype(np.float32) + 0.015


STILL = Correction(np.array([0]), np.eye(4)[None], np.zeros((1, 3)))


def test_ids_that_were_said_go_on():
    """1 was known before; 5 was a second ID for it; 6 and 7 were one new thing; 8 is in no anchor; 9 is 1 again."""
    made, said = Tracks(0.03), Tracks(0.03)
    claimed(made, 1, patch(0.0))
    claimed(made, FIRST_NEW_ID, patch(2.0))
    for object_id, x in ((1, -0.6), (5, 0.3), (6, 2.0), (7, 2.3), (8, 4.0), (9, 0.0)):
        claimed(said, object_id, patch(x))
    said.count_from(10)
    sights = Counter({(1, 1): 90, (1, 5): 40, (FIRST_NEW_ID, 6): 30, (FIRST_NEW_ID, 7): 20, (1, 7): 3})
    reconcile(made, said, sights, STILL, first_new_id=5)
    assert {t.id for t in made} == {1, 6, 8}
    assert made.merged == {5: 1, 7: 6, 9: 1}
    assert next(t for t in made if t.id == 6).aliases == [7]
    assert made.next_id == 10
    assert sorted(made.take_news()[1]) == [5, 7, 9]


def test_a_merge_that_wrong_poses_made_is_undone():
    made, said = Tracks(0.03), Tracks(0.03)
    claimed(made, 1, patch(0.0))
    claimed(made, 2, patch(1.0))
    made.count_from(FIRST_NEW_ID)
    claimed(said, 1, patch(0.5))
    said.merged = {2: 1}
    said.count_from(3)
    reconcile(made, said, Counter({(1, 1): 5, (2, 1): 9}), STILL, first_new_id=3)
    assert {t.id for t in made} == {1, 2}
    assert made.merged == {}


def test_standing_still_and_walking_again_add_no_anchors(frames: list[tuple[Frame, Instances]]):
    config = replace(CONFIG.anchors, recent_s=10.0)
    past = Past(config)
    frame, instances = frames[0]
    for k in range(500):
        past.anchors.consider(replace(frame, index=k, stamp_ns=k * S), instances, {})
    assert len(past.anchors) == 1
    past = Past(config)
    counts, sizes = [], []
    for round_ in range(6):
        for k in range(80):
            frame, instances = frames[k]
            stamp = (round_ * 80 + k) * S // 10
            past.anchors.consider(replace(frame, stamp_ns=stamp), instances, {})
        counts.append(len(past.anchors))
        sizes.append(past.anchors.size_bytes)
    assert counts[0] > 20
    assert counts[2] == counts[3] == counts[5]
    assert sizes[5] == sum(a.size_bytes for a in past.anchors)
    assert np.isclose(sizes[3], sizes[5], rtol=0.01)


def test_a_clock_that_went_back_is_told(frames: list[tuple[Frame, Instances]]):
    pipeline = Pipeline(CONFIG)
    for k in (50, 51, 10):
        pipeline.process(*frames[k])
    with pytest.raises(ValueError, match="the clock went back"):
        pipeline.correct(path_until(frames, 40))
    assert pipeline.refusion() is None


def test_an_anchor_is_lifted_as_its_frame_is():
    """Every second pixel is kept, and of these just the ones that are looked at."""
    frame, instances = BoxWorld(room(**THINGS)).frame(true_pose(3), 3, FULL)
    small, small_instances = pack(frame, instances, {1: 7}).unpack()
    assert small_instances is not None
    full, half = lift(frame, instances.image, 4), lift(small, small_instances.image, 4)
    assert half.pixel_area == full.pixel_area
    places = {tuple(p) for p in full.pixels.tolist()}
    same = [tuple(p) in places for p in (half.pixels * 2).tolist()]
    assert np.mean(same) > 0.98  # flying pixels are told by other neighbours
    at = {tuple(p): xyz for p, xyz in zip(full.pixels.tolist(), full.xyz, strict=True)}
    errors = [
        np.abs(at[tuple(p)] - xyz).max()
        for p, xyz in zip((half.pixels * 2).tolist(), half.xyz, strict=True)
        if tuple(p) in at
    ]
    assert max(errors) < 2e-3  # whole millimetres
