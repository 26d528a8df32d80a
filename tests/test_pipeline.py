"""The core as a whole, on worlds whose answers are known by hand."""

import dataclasses

import numpy as np
import pytest
from synthetic import BoxWorld, circle, look_at, room

from s3d_ros.config import Config
from s3d_ros.geometry import box_iou, inside_box
from s3d_ros.pipeline import Pipeline
from s3d_ros.types import Instances, OrientedBox

THINGS = {
    "chair1": ((1.0, 1.2, 0.0), (1.5, 1.7, 0.9)),
    "chair2": ((2.6, 2.4, 0.0), (3.1, 2.9, 0.9)),
    "table3": ((1.4, 2.2, 0.0), (2.2, 3.0, 0.7)),
}


def truth(name: str) -> OrientedBox:
    low, high = (np.array(v) for v in THINGS[name])
    return OrientedBox((low + high) / 2, high - low, np.eye(3))


def run(world: BoxWorld, poses, pipeline: Pipeline | None = None, start: int = 0, shuffle: bool = True):
    """Feed every pose; the instance numbers are shuffled anew in each frame."""
    pipeline = pipeline or Pipeline(Config())
    rng = np.random.default_rng(0)
    results, frame = [], None
    for i, T in enumerate(poses):
        frame, instances = world.frame(T, start + i)
        if shuffle:
            instances = shuffled(instances, rng)
        results.append((pipeline.process(frame, instances), frame, instances))
    return pipeline, pipeline.finish(frame), results


def shuffled(instances: Instances, rng: np.random.Generator) -> Instances:
    new = rng.permutation(np.arange(1, 1000))[: len(instances.numbers)]
    table = np.zeros(2000, np.uint16)
    table[list(instances.numbers)] = new
    return Instances(
        instances.stamp_ns, table[instances.image], tuple(int(n) for n in new), instances.labels, instances.scores
    )


@pytest.fixture(scope="module")
def toured():
    return run(BoxWorld(room(**THINGS)), circle(60))


def test_every_thing_is_in_the_map_once_with_its_label_and_box(toured):
    _, scene, _ = toured
    assert sorted(o.label for o in scene.objects) == ["chair", "chair", "table"]
    for name in THINGS:
        best = max(scene.objects, key=lambda o: box_iou(o.box, truth(name)))
        assert box_iou(best.box, truth(name)) > 0.75, name
        assert best.label == name.rstrip("0123456789")


def test_ids_follow_the_things_though_the_numbers_are_shuffled(toured):
    _, _, results = toured
    seen: dict[str, set[int]] = {}
    for result, frame, instances in results:
        for number, label in zip(instances.numbers, instances.labels, strict=True):
            object_id = result.instance_ids.get(number)
            if object_id is None:
                continue
            mask = instances.image == number
            v, u = (int(np.median(c)) for c in np.nonzero(mask))
            if not mask[v, u] or not frame.depth_m[v, u]:
                continue
            k, z = frame.intrinsics, frame.depth_m[v, u]
            point = frame.T_map_camera @ [(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, 1]
            name = next(n for n in THINGS if inside_box([point[:3]], truth(n), 0.05)[0])
            assert name.startswith(label)
            seen.setdefault(name, set()).add(object_id)
    assert {len(ids) for ids in seen.values()} == {1}
    assert len(set.union(*seen.values())) == 3


def test_the_bev_is_metric_upright_and_without_the_ceiling(toured):
    _, scene, _ = toured
    bev = scene.bev
    assert bev is not None
    assert bev.floor_m == pytest.approx(0.0, abs=0.03)
    (u, v), (u2, v2) = bev.to_pixels(np.array([[1.8, 2.6, 0.7], [3.6, 0.4, 0.0]]))
    assert bev.height_m[round(v), round(u)] == pytest.approx(0.7, abs=0.03)  # the table's top
    assert bev.height_m[round(v2), round(u2)] == pytest.approx(0.0, abs=0.03)  # free floor
    assert bev.occupancy[round(v), round(u)] == 100
    assert bev.occupancy[round(v2), round(u2)] == 0
    assert np.nanmax(bev.height_m) < 2.4
    assert v2 > v  # the smaller y is further down


def test_the_floor_area_is_that_of_the_room(toured):
    assert toured[1].floor_area_m2 == pytest.approx(16.0, rel=0.05)


def test_markers_stand_on_the_things_they_name(toured):
    _, scene, results = toured
    frames = {frame.stamp_ns: frame for _, frame, _ in results}
    assert scene.views
    count = 0
    for view in scene.views:
        frame = frames[view.stamp_ns]
        for m in view.markers:
            u, v = round(m.u), round(m.v)
            k, z = frame.intrinsics, frame.depth_m[v, u]
            point = frame.T_map_camera @ [(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, 1]
            thing = scene.find(m.object_id)
            assert thing is not None and inside_box([point[:3]], thing.box, 0.1)[0]
            count += 1
    assert count >= len(scene.views)


def test_what_is_removed_leaves_surface_bev_grid_and_objects():
    before, after = BoxWorld(room(**THINGS)), BoxWorld(room(**{k: v for k, v in THINGS.items() if k != "chair2"}))
    pipeline, scene, _ = run(before, circle(40))
    chair = max(scene.objects, key=lambda o: box_iou(o.box, truth("chair2")))

    def left(points):
        return int((inside_box(points, truth("chair2"), 0.03) & (points[:, 2] > 0.06)).sum())

    mapped = left(pipeline.fusion.extract()[0])
    assert mapped > 500
    looks = [look_at((1.9 + 0.02 * i, 1.2, 1.3), (2.85, 2.65, 0.3)) for i in range(20)]  # 2 s at 10 Hz
    pipeline, scene, _ = run(after, looks, pipeline, start=40)
    assert left(pipeline.fusion.extract()[0]) <= 0.02 * mapped
    assert left(pipeline.cloud()[0]) <= 0.02 * mapped
    assert scene.find(chair.id) is None
    assert {o.label for o in scene.objects} == {"chair", "table"}
    u, v = np.rint(scene.bev.to_pixels(np.array([2.85, 2.65, 0.5]))[0]).astype(int)
    patch = slice(v - 8, v + 9), slice(u - 8, u + 9)
    assert (scene.bev.occupancy[patch] == 100).mean() <= 0.02
    assert np.nanmax(scene.bev.height_m[patch]) < 0.1


def test_out_of_sight_is_not_gone():
    world = BoxWorld(room(**THINGS))
    pipeline, scene, _ = run(world, circle(40))
    away = [look_at((2.0, 2.0, 1.2), (0.0, 0.2, 1.5)) for _ in range(40)]
    _, later, _ = run(world, away, pipeline, start=40)
    assert [o.id for o in later.objects] == [o.id for o in scene.objects]


def test_the_version_stands_still_when_nothing_is_new():
    world = BoxWorld(room(**THINGS))
    pipeline, scene, _ = run(world, circle(40))
    still = [look_at((0.6, 0.6, 1.2), (2, 2, 0.4))] * 60
    _, settled, _ = run(world, still[:40], pipeline, start=40)
    _, later, _ = run(world, still, pipeline, start=80)
    assert later.map_version == settled.map_version >= scene.map_version


def test_a_frame_without_depth_changes_nothing(toured):
    world = BoxWorld(room(**THINGS))
    pipeline, scene, _ = run(world, circle(10))
    frame, _ = world.frame(look_at((0.6, 0.6, 1.2), (2, 2, 0.4)), 10)
    blind = type(frame)(10, frame.stamp_ns, frame.color, np.zeros_like(frame.depth_m), frame.intrinsics, np.eye(4))
    result = pipeline.process(blind, Instances(blind.stamp_ns, np.zeros((120, 160), np.uint16), (), (), ()))
    assert result.instance_ids == {}
    assert len(pipeline.finish(blind).objects) == len(scene.objects)


def test_up_is_found_in_a_tilted_map():
    tilt = np.eye(4)
    c, s = np.cos(0.6), np.sin(0.6)
    tilt[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]]
    world = BoxWorld(room(**THINGS))
    pipeline = Pipeline(Config.from_dict({"map": {"up": "auto"}}))
    for i, T in enumerate(circle(40)):
        frame, instances = world.frame(T, i)
        moved = type(frame)(i, frame.stamp_ns, frame.color, frame.depth_m, frame.intrinsics, tilt @ T)
        pipeline.process(moved, instances)
    scene = pipeline.finish(moved)
    assert np.rad2deg(np.arccos(np.clip(scene.up @ tilt[:3, 2], -1, 1))) < 1.0
    table = next(o for o in scene.objects if o.label == "table")
    assert table.box.center == pytest.approx(tilt[:3, :3] @ truth("table3").center, abs=0.06)


@pytest.mark.parametrize("period_ms", [33, 200, 1000])
def test_the_scene_keeps_up_at_any_frame_rate_and_its_work_is_spread_over_frames(period_ms: int):
    world, pipeline = BoxWorld(room(**THINGS)), Pipeline(Config())
    seconds, seen = 6.0, []
    poses = list(circle(60))
    for i in range(int(seconds * 1000 / period_ms)):
        now_ns = (i + 1) * period_ms * 1_000_000
        frame, instances = world.frame(poses[int(now_ns / 1e9 / seconds * 40)], i)
        frame, instances = dataclasses.replace(frame, stamp_ns=now_ns), dataclasses.replace(instances, stamp_ns=now_ns)
        before = {k: len(v) for k, v in pipeline.times.seconds.items()}
        result = pipeline.process(frame, instances)
        done = {k for k, v in pipeline.times.seconds.items() if len(v) > before.get(k, 0)}
        if period_ms == 33:
            assert len(done & {"surface", "bev", "scene"}) <= 2  # collecting ends in the first step of the BEV
        if result.scene is not None:
            seen.append((now_ns, result.scene))
    assert len(seen) >= 4 - (period_ms == 1000)
    stamps = [stamp for stamp, _ in seen]
    assert max(np.diff([0, *stamps])) <= 2.5e9
    assert seen[-1][1].bev is not None and seen[-1][1].objects


def test_a_fault_while_the_map_is_drawn_does_not_end_the_drawing(monkeypatch):
    pipeline, world = Pipeline(Config()), BoxWorld(room(**THINGS))
    frames = [world.frame(T, k) for k, T in enumerate(circle(40))]
    with monkeypatch.context() as broken:
        broken.setattr(pipeline.surface, "step", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            for both in frames[:15]:
                pipeline.process(*both)
    results = [pipeline.process(*both) for both in frames[15:]]
    assert any(r.scene is not None and r.scene.bev is not None for r in results)
    assert len(pipeline.cloud()[0]) > 1000


def test_in_haste_objects_are_followed_and_depth_is_not_fused(toured):
    world, hasty = BoxWorld(room(**THINGS)), Pipeline(Config())
    for i, T in enumerate(circle(60)):
        frame, instances = world.frame(T, i)
        blocks = len(hasty.fusion)
        told = hasty.process(frame, instances, in_haste=i % 3 > 0)
        assert set(told.instance_ids) == set(instances.numbers)
        assert i % 3 == 0 or len(hasty.fusion) <= blocks
    _, scene, _ = toured
    assert sorted(o.label for o in hasty.finish(frame).objects) == sorted(o.label for o in scene.objects)
    assert 0.9 * len(toured[0].fusion) < len(hasty.fusion)
