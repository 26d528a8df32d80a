"""What a pipeline remembers can be taken out and put into another, and mapping goes on as if nothing had been."""

import os
from enum import Enum

import numpy as np
import pytest
from scipy.spatial import cKDTree
from synthetic import SMALL, BoxWorld, circle, room

from s3d_ros.config import Config
from s3d_ros.fusion import Fusion
from s3d_ros.pipeline import Pipeline
from s3d_ros.snapshot import Memory, Snapshot, taken_from
from s3d_ros.state import joined

THINGS = {
    "chair1": ((1.0, 1.2, 0.0), (1.5, 1.7, 0.9)),
    "chair2": ((2.6, 2.4, 0.0), (3.1, 2.9, 0.9)),
    "table3": ((1.4, 2.2, 0.0), (2.2, 3.0, 0.7)),
    "crate4": ((3.2, 0.6, 0.0), (3.7, 1.2, 0.5)),
}
CONFIG = Config().with_values({"fusion.voxel_size_m": 0.04, "objects.confirm_pixels": 50, "objects.stride": 2})


@pytest.fixture(scope="module")
def frames():
    """Two rounds of a room, 10 frames a second."""
    world = BoxWorld(room(**THINGS))
    return [world.frame(T, k, SMALL) for k, T in enumerate([*circle(40), *circle(40, 1.5, 1.3)])]


@pytest.fixture(scope="module")
def half(frames) -> Pipeline:
    return mapped(Pipeline(CONFIG), frames[:40])[0]


def mapped(pipeline: Pipeline, frames):
    results = [pipeline.process(frame, instances) for frame, instances in frames]
    return pipeline, results


def remembered(thing):
    """All attributes of a track, those of what it holds as well, but what is there to be fast alone."""
    if hasattr(thing, "__slots__"):
        return {name: remembered(getattr(thing, name)) for name in thing.__slots__}
    if isinstance(thing, Enum):
        return thing
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, dict):
        return {key: remembered(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [remembered(value) for value in thing]
    if not hasattr(thing, "__dict__"):
        return thing
    return {key: remembered(value) for key, value in vars(thing).items() if key not in ("_said", "old_boxes")}


def test_a_restored_map_remembers_everything_of_its_objects(half):
    other = Pipeline(CONFIG)
    other.restore(half.state())
    mine, theirs = half.objects.tracks, other.objects.tracks
    for track in mine:
        half.objects.tracks.voxels_of(track)  # so that both are cleaned up
        assert remembered(theirs[track.slot]) == remembered(track), track.label
    assert [t.slot for t in mine] == [t.slot for t in theirs]
    assert (mine.merged, mine._next_id, mine._next_slot) == (theirs.merged, theirs._next_id, theirs._next_slot)
    assert remembered(mine.pairs) == remembered(theirs.pairs) and mine.pairs._apart
    n = len(mine.voxels)
    assert n == len(theirs.voxels) > 100
    for name, values in mine.voxels._arrays().items():
        np.testing.assert_array_equal(values[:n], theirs.voxels._arrays()[name][:n], err_msg=name)
    points = mine.voxels.positions(np.arange(n)).astype(np.float32)
    np.testing.assert_array_equal(mine.voxels.owners(points), theirs.voxels.owners(points))


def test_a_restored_map_has_the_same_surface_views_and_picture(half):
    other = Pipeline(CONFIG)
    other.restore(half.state())
    (points, colors), (again, again_colors) = half.fusion.extract(), other.fusion.extract()
    assert len(points) == len(again) > 1000
    distance, nearest = cKDTree(again).query(points)
    assert np.median(distance) < 1e-5 and np.percentile(distance, 99) < 1e-4 and distance.max() < 3e-3
    assert len(set(nearest.tolist())) > 0.999 * len(points)
    assert np.percentile(np.abs(colors.astype(int) - again_colors[nearest]), 99.9) <= 1
    assert len(other.cloud()[0]) == pytest.approx(len(points), rel=0.01)

    views, views_again = ([remembered(v) for v in p.views._views] for p in (half, other))
    for view in views:  # of no use: instances' numbers mean nothing in another frame
        view["points"]["instance"] = [0] * len(view["points"]["instance"])
    assert views == views_again != []
    assert half.views._covered == other.views._covered

    seen, origin = half.bev.seen_mask()
    seen_again, origin_again = other.bev.seen_mask()
    np.testing.assert_allclose(origin, origin_again)
    assert seen.shape == seen_again.shape and np.mean(seen != seen_again) < 0.01
    assert vars(half.bev._heights).keys() == vars(other.bev._heights).keys()
    assert other.bev._heights.floor_m == pytest.approx(half.bev._heights.floor_m, abs=0.01)

    scene = other.scene()
    assert [o.id for o in scene.objects] == [o.id for o in half.objects.snapshot()]
    assert scene.bev is not None and scene.views and scene.T_map_robot is None
    assert scene.stamp_ns == half.scene().stamp_ns or scene.stamp_ns == 39 * 100_000_000
    assert scene.map_version > half.scene().map_version
    assert scene.floor_area_m2 == pytest.approx(half.scene().floor_area_m2, rel=0.05)


def test_mapping_goes_on_as_if_it_had_never_stopped(half, frames):
    other = Pipeline(CONFIG)
    other.restore(half.state())
    _, expected = mapped(mapped(Pipeline(CONFIG), frames[:40])[0], frames[40:])
    _, results = mapped(other, frames[40:])
    assert [r.instance_ids for r in results] == [r.instance_ids for r in expected]
    assert len({i for r in results for i in r.instance_ids.values()}) == 4
    for mine, theirs in zip(results, expected, strict=True):
        for a, b in zip(mine.changed, theirs.changed, strict=True):
            np.testing.assert_array_equal(a.box.center, b.box.center)


def test_ids_stay_when_the_clock_starts_anew(half, frames):
    """After a restart with simulated time, or in another bag: stamps lie before those of the map."""
    other = Pipeline(CONFIG)
    other.restore(half.state())
    before = {o.label: o.id for o in half.objects.snapshot() if o.label != "chair"}
    _, results = mapped(other, frames[:40])
    ids = {i for r in results for i in r.instance_ids.values()}
    assert ids == {o.id for o in half.objects.snapshot()}
    assert {o.label: o.id for o in other.objects.snapshot() if o.label != "chair"} == before


def test_another_pipelines_map_is_taken_over_between_two_frames(half, frames):
    live = mapped(Pipeline(CONFIG), frames[60:])[0]
    version = live.scene().map_version
    other = Pipeline(CONFIG)
    other.restore(half.state())
    live.take_over(other)
    assert live.scene().map_version == version + 1
    assert [o.id for o in live.scene().objects] == [o.id for o in half.objects.snapshot()]
    _, results = mapped(live, frames[40:])
    assert {i for r in results for i in r.instance_ids.values()} == {o.id for o in half.objects.snapshot()}
    assert live.scene().map_version > version + 1, "chores go on"


def test_a_stage_can_be_restored_on_its_own(half):
    """As after a correction of poses: another surface below the same objects."""
    fusion = Fusion(CONFIG.fusion)
    fusion.restore(half.fusion.state())
    blocks = half.fusion.index.all()
    parts = [half.fusion.state(blocks[k::3]) for k in range(3)]
    old = {**parts[0], "weight": np.zeros_like(parts[0]["weight"])}
    whole = joined([old, *parts])
    assert len(whole["blocks"]) == len(blocks) and (whole["weight"] > 0).sum() == (fusion.state()["weight"] > 0).sum()


def test_blocks_that_change_while_they_are_watched_are_known(half, frames):
    pipeline = Pipeline(CONFIG)
    pipeline.restore(half.state())
    assert len(pipeline.fusion.watch(True)) == 0
    pipeline.process(*frames[45])
    changed = pipeline.fusion.watch(False)
    assert 0 < len(changed) < len(pipeline.fusion)
    pipeline.process(*frames[46])
    assert len(pipeline.fusion.watch(True)) == 0


def test_a_map_that_outgrows_its_room_loses_nothing(frames):
    small = Pipeline(CONFIG.with_values({"fusion.initial_blocks": 100}))
    mapped(small, frames[:12])
    large = mapped(Pipeline(CONFIG), frames[:12])[0]
    assert len(small.fusion) == len(large.fusion) > 200
    mine, theirs = (joined([p.fusion.state()]) for p in (small, large))
    for name in ("blocks", "tsdf", "weight", "color"):
        a, b = (s[name][np.lexsort(s["blocks"].T)] for s in (mine, theirs))
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_a_snapshot_is_of_the_moment_of_its_last_step(half, frames):
    """While it is copied mapping goes on, and all that changed is in it."""
    pipeline = Pipeline(CONFIG)
    pipeline.restore(half.state())
    memory, copied, k = Memory(), None, 40
    snapshot = Snapshot(pipeline, memory)
    while copied is None:
        if k < 50:
            pipeline.process(*frames[k])
            k += 1
        copied = snapshot.step()
    expected = pipeline.state()
    state = taken_from(Memory(os.dup(memory.handle)), copied)
    memory.close()
    assert k == 50
    for name in ("blocks", "tsdf", "weight", "color"):
        a, b = (s["fusion"][name][np.lexsort(s["fusion"]["blocks"].T)] for s in (state, expected))
        np.testing.assert_array_equal(a, b, err_msg=name)
    for name, values in expected["objects"]["voxels"].items():
        np.testing.assert_array_equal(state["objects"]["voxels"][name], values, err_msg=name)
    assert state["objects"]["objects"] == expected["objects"]["objects"]
    assert state["past"]["anchors"] == expected["past"]["anchors"] != []
    np.testing.assert_array_equal(
        state["past"]["corrector"]["trail"]["poses"], expected["past"]["corrector"]["trail"]["poses"]
    )
    for mine, theirs in zip(state["views"]["views"], expected["views"]["views"], strict=True):
        np.testing.assert_array_equal(mine["xyz"], theirs["xyz"])
    pipeline.process(*frames[51])
    assert pipeline.fusion.watch(True).size == 0, "nobody watches any longer"
