"""Which instance is which object: on overlaps, points and short films whose answers are known by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import BoxWorld, circle, look_at, room

from s3d_ros.association import Overlaps, assign, fragments, swallowed
from s3d_ros.config import Config
from s3d_ros.evidence import MOST_PER_VIEW_S, ByView, Pairs, outweighs
from s3d_ros.geometry import box_iou
from s3d_ros.pipeline import Pipeline
from s3d_ros.strays import strays
from s3d_ros.types import Instances, OrientedBox


def overlaps(counts: list, sizes: list, visible: list) -> Overlaps:
    return Overlaps(np.array(counts, np.int64), np.array(sizes, np.int64), np.array(visible, np.int64))


def test_a_small_thing_on_a_large_one_is_itself():
    """A cup of 50 points on a table of 5000: the table's mask covers half of the cup, and still the cup is the cup."""
    seen = overlaps([[4900, 25], [0, 25]], [4950, 25], [4950, 50])
    assert assign(seen, np.zeros((2, 2)), 0.3) == {0: 0, 1: 1}


def test_instances_are_matched_jointly():
    """Greedily the first would take the first object, and leave the second nothing."""
    seen = overlaps([[60, 50], [55, 0]], [110, 55], [115, 50])
    assert assign(seen, np.zeros((2, 2)), 0.3) == {0: 1, 1: 0}


def test_labels_help_and_gate_nothing():
    seen = overlaps([[50, 50]], [100], [100, 100])
    assert assign(seen, np.array([[0.0, 0.1]]), 0.3) == {0: 1}
    assert assign(overlaps([[90, 0]], [100], [100, 100]), np.array([[0.0, 0.1]]), 0.3) == {0: 0}
    assert assign(overlaps([[2, 0]], [100], [100, 100]), np.array([[0.1, 0.1]]), 0.3) == {}


def test_parts_of_a_split_mask_are_one_objects():
    seen = overlaps([[60, 0], [35, 0], [5, 0]], [60, 40, 60], [100, 30])
    matched = assign(seen, np.zeros((3, 2)), 0.3)
    assert matched == {0: 0}
    assert fragments(seen, matched) == {1: 0}  # the third lies elsewhere


def test_what_a_mask_covers_besides_its_own_is_swallowed():
    seen = overlaps([[90, 40, 3]], [133], [100, 50, 90])
    assert swallowed(seen, 0, 0).tolist() == [1]
    assert swallowed(seen, 0, None).tolist() == [0, 1]


def test_nothing_seen_is_nothing_matched():
    empty = Overlaps(np.zeros((0, 0), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert assign(empty, np.zeros((0, 0)), 0.3) == fragments(empty, {}) == {}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_a_match_is_one_to_one_and_overlaps(rows: int, columns: int, seed: int):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, (rows, columns)) * (rng.random((rows, columns)) < 0.4)
    seen = Overlaps(counts, counts.sum(axis=1) + rng.integers(0, 20, rows), counts.sum(axis=0) + 1)
    matched = assign(seen, rng.random((rows, columns)) * 0.1, 0.3)
    assert len(set(matched.values())) == len(matched)
    assert all(counts[r, c] >= 3 for r, c in matched.items())
    assert not set(fragments(seen, matched)) & set(matched)


def test_however_long_an_error_lasts_from_one_side_it_counts_once():
    seen = ByView()
    for _ in range(100):
        seen.add(3, 0.1)
    assert seen.total == MOST_PER_VIEW_S
    assert seen.seconds == pytest.approx(10.0)
    seen.add(4, 0.5)
    assert seen.total == MOST_PER_VIEW_S + 0.5


def test_evidence_outweighs_from_several_sides_or_by_lasting_longer_than_any_error():
    pro, contra = ByView(), ByView()
    rule = {"weight": 2.0, "long_s": 4.0, "times": 5.0}
    pro.add(0, 3.0)
    assert not outweighs(pro, contra, 2.0, **rule)
    pro.add(1, 0.9)
    assert not outweighs(pro, contra, 2.0, **rule)
    pro.add(1, 0.2)
    assert outweighs(pro, contra, 2.0, **rule)
    contra.add(0, 0.9)
    assert not outweighs(pro, contra, 2.0, **rule)
    pro.add(0, 1.0)
    assert outweighs(pro, contra, 2.0, **rule)  # 5.1 s against 0.9 s


def test_a_pair_is_one_whichever_comes_first_and_is_inherited():
    pairs = Pairs()
    pairs.apart(1, 2).add(0, 0.4)
    assert pairs.apart(2, 1).total == 0.4
    pairs.apart(2, 3).add(0, 0.3)
    pairs.inherit(1, 2)
    assert pairs.apart(1, 3).total == 0.3
    pairs.forget(3)
    assert pairs.apart(1, 3).total == 0.0


def test_strays_are_what_lies_apart_under_a_mask():
    rows, columns = (m.ravel() for m in np.mgrid[0:20, 0:20])
    depth = np.where(columns < 15, 2.0, 4.0).astype(np.float32)  # a wall behind the right quarter
    xyz = np.stack([(columns - 10) * depth / 100, (rows - 10) * depth / 100, depth], axis=1).astype(np.float32)
    mask = np.where(columns < 18, 7, 0).astype(np.uint16)  # reaches over the edge
    left_out = strays(mask, depth, xyz, rows, columns, (20, 20))
    np.testing.assert_array_equal(left_out, (columns >= 15) & (columns < 18))
    assert not strays(np.zeros_like(mask), depth, xyz, rows, columns, (20, 20)).any()


def test_what_stands_before_a_thing_parts_it_and_both_parts_stay():
    rows, columns = (m.ravel() for m in np.mgrid[0:20, 0:40])
    depth = np.full(800, 2.0, np.float32)
    xyz = np.stack([(columns - 20) * 0.02, (rows - 10) * 0.02, depth], axis=1).astype(np.float32)
    mask = np.where((columns >= 18) & (columns < 22), 0, 7).astype(np.uint16)  # a pole of 8 cm
    assert not strays(mask, depth, xyz, rows, columns, (20, 40)).any()


# --- short films: a detector's errors over a room with two boxes --------------------------------

THINGS = {"table1": ((1.2, 1.2, 0.0), (2.0, 2.0, 0.7)), "chair2": ((2.4, 1.4, 0.0), (2.9, 1.9, 0.9))}
TABLE, CHAIR = 1, 2


def film(spoil, frames: int = 120, step_ns: int = 100_000_000):
    """Walk round the room; ``spoil(k, image) -> image, numbers, labels`` makes the detector's errors of frame k."""
    world, pipeline = BoxWorld(room(**THINGS)), Pipeline(Config())
    ids, frame = [], None
    for k, T in enumerate(list(circle(frames))):
        frame, instances = world.frame(T, k)
        frame = dataclasses.replace(frame, stamp_ns=(k + 1) * step_ns)
        image, names = spoil(k, instances.image.copy())
        present = [n for n in names if (image == n).any()]
        given_ = Instances(
            frame.stamp_ns, image, tuple(present), tuple(names[n] for n in present), (1.0,) * len(present)
        )
        ids.append(pipeline.process(frame, given_).instance_ids)
    return pipeline, pipeline.finish(frame), ids


def iou_of(scene, name: str) -> float:
    low, high = (np.array(v) for v in THINGS[name])
    truth = OrientedBox((low + high) / 2, high - low, np.eye(3))
    return max((box_iou(o.box, truth) for o in scene.objects), default=0.0)


def names() -> dict[int, str]:
    return {TABLE: "table", CHAIR: "chair"}


def test_a_mask_that_is_split_for_seconds_is_still_one_object():
    def spoil(k, image):
        both = names()
        if k % 40 >= 20:  # two of every four seconds, in the middle of what is seen of it
            columns = np.nonzero(image == TABLE)[1]
            if len(columns):
                right = (image == TABLE) & (np.arange(image.shape[1])[None] > np.median(columns))
                image[right] = 9
                both[9] = "table"
        return image, both

    _, scene, ids = film(spoil)
    assert sorted(o.label for o in scene.objects) == ["chair", "table"]
    last = [i for i in ids[60:] if TABLE in i and 9 in i]
    assert last and all(i[TABLE] == i[9] for i in last)


def test_a_mask_over_two_objects_does_not_make_them_one():
    def spoil(k, image):
        if 50 <= k < 80:  # for three seconds
            image[image == CHAIR] = TABLE
        return image, names()

    _, scene, ids = film(spoil)
    assert sorted(o.label for o in scene.objects) == ["chair", "table"]
    assert min(iou_of(scene, "table1"), iou_of(scene, "chair2")) > 0.6
    before, after = ids[45], ids[100]
    assert {n: before[n] for n in before if n in after} == {n: after[n] for n in after if n in before}


def test_two_things_fused_by_a_bad_mask_come_apart_and_one_keeps_the_id():
    def spoil(k, image):
        if k < 15:
            image[image == CHAIR] = TABLE
        return image, names()

    _, scene, ids = film(spoil)
    assert sorted(o.label for o in scene.objects) == ["chair", "table"]
    born = next(i[TABLE] for i in ids if i.get(TABLE))
    assert born in {o.id for o in scene.objects}
    assert len(set(ids[-1].values())) == len(ids[-1])


def test_a_ragged_outline_leaves_nothing_on_the_wall_behind():
    import cv2

    rng = np.random.default_rng(0)

    def spoil(k, image):
        grown = cv2.dilate(image.astype(np.uint8), np.ones((7, 7), np.uint8))
        return np.where((image == 0) & (rng.random(image.shape) < 0.7), grown, image).astype(np.uint16), names()

    _, scene, _ = film(spoil)
    assert min(iou_of(scene, "table1"), iou_of(scene, "chair2")) > 0.5  # 3 px here are 12 px of a full image


def test_a_wrong_name_for_seconds_changes_neither_id_nor_name():
    def spoil(k, image):
        return image, {TABLE: "bed" if 40 <= k < 70 else "table", CHAIR: "chair"}

    _, scene, ids = film(spoil)
    assert sorted(o.label for o in scene.objects) == ["chair", "table"]
    assert len({i[TABLE] for i in ids if i.get(TABLE)}) == 1


def test_the_other_side_of_a_thing_is_the_same_thing():
    """Seen from the front only, and then, after a way without it, from behind only."""
    world = BoxWorld(room(washer1=((1.8, 1.8, 0.0), (2.4, 2.4, 0.9))))
    pipeline = Pipeline(Config())
    frame, k = None, 0
    middle = (2.1, 2.1, 0.45)
    for camera in ((2.1, 0.4, 0.5), (2.1, 3.8, 0.5)):
        for i in range(15):
            frame, instances = world.frame(look_at((camera[0] + 0.004 * i, *camera[1:]), middle), k)
            frame = dataclasses.replace(frame, stamp_ns=(k + 1) * 100_000_000)
            result = pipeline.process(frame, dataclasses.replace(instances, stamp_ns=frame.stamp_ns))
            k += 1
        k += 200
    scene = pipeline.finish(frame)
    assert len(scene.objects) == 1
    assert list(result.instance_ids.values()) == [1]
    assert scene.objects[0].box.size.min() > 0.5
