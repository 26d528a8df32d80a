"""Which instance is which object: on overlaps, points and short films whose answers are known by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import BoxWorld, circle, look_at, room

from s3d_ros.association import Overlaps, assign, fragments
from s3d_ros.bearings import Sightline, by_bearing
from s3d_ros.boxes import stands_out
from s3d_ros.config import Config
from s3d_ros.contact import continuous
from s3d_ros.evidence import MOST_PER_VIEW_S, ByView, Pairs, outweighs
from s3d_ros.geometry import box_iou
from s3d_ros.lifting import LiftedPoints
from s3d_ros.pipeline import Pipeline
from s3d_ros.sightline_depth import SightlineDepth
from s3d_ros.strays import strays
from s3d_ros.track import Track
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


def test_a_part_of_a_tables_mask_over_all_of_a_keyboard_is_the_tables():
    """The keyboard (50 points) has no mask now; the second part of the table's covers it, and 450 of the table."""
    seen = overlaps([[500, 0], [450, 50]], [500, 500], [1000, 50])
    matched = assign(seen, np.zeros((2, 2)), 0.3)
    assert matched == {0: 0}
    assert fragments(seen, matched) == {1: 0}


def test_what_a_mask_covers_most_of_is_swallowed():
    seen = overlaps([[90, 40, 3], [0, 0, 80]], [133, 80], [100, 50, 90])
    assert seen.swallowed == [[0, 1], [2]]


def test_nothing_seen_is_nothing_matched():
    empty = Overlaps(np.zeros((0, 0), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert assign(empty, np.zeros((0, 0)), 0.3) == fragments(empty, {}) == {} and empty.swallowed == []


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


def two_halves(step_m: float = 0.0) -> tuple[LiftedPoints, np.ndarray]:
    """Return points of a wall 2 m away, 40 x 20 samples, under two masks; the right one is ``step_m`` further away."""
    v, u = (m.ravel() for m in np.mgrid[0:20, 0:40])
    rows = (u >= 20).astype(np.int64)
    depth = 2.0 + step_m * rows
    xyz = np.stack([(u - 20) * 0.01, (v - 10) * 0.01, depth], axis=1).astype(np.float32)
    pixels = np.stack([u * 4 + 2, v * 4 + 2], axis=1).astype(np.int32)
    return LiftedPoints(0, xyz, (rows + 1).astype(np.uint16), pixels, np.zeros(3), (80, 160), 4), rows


def test_masks_that_touch_on_one_surface_under_one_name_may_be_parts_of_one():
    points, rows = two_halves()
    assert continuous(points, rows, ["table", "table"]) == {(0, 1)}
    assert continuous(points, rows, ["table", "chair"]) == set()
    assert continuous(points, rows, ["", ""]) == set()


def test_masks_with_a_step_or_a_gap_or_a_corner_between_them_are_two_things():
    points, rows = two_halves(step_m=0.1)
    assert continuous(points, rows, ["chair", "chair"]) == set()
    points, rows = two_halves()
    gap = np.where(np.isin(points.pixels[:, 0] // 4, (19, 20)), -1, rows)
    assert continuous(points, gap, ["chair", "chair"]) == set()
    corner = np.where(points.pixels[:, 1] // 4 < 14, rows, -1)
    corner[(rows == 1) & (points.pixels[:, 1] // 4 < 10)] = -1  # they touch along 4 samples only
    assert continuous(points, corner, ["chair", "chair"]) == set()


def far_track(slot: int, direction: tuple[float, float, float], label: str) -> Track:
    track = Track(slot, 0)
    d = np.array(direction) / np.linalg.norm(direction)
    track.bearing = SightlineDepth(np.zeros(3), d, 0.05)
    track.see(two_halves()[0], 2000, label, 0.9)
    return track


def line(number: int, to: tuple[float, float, float], label: str, radius: float = 0.05) -> Sightline:
    return Sightline(number, label, 0.9, np.array(to) / np.linalg.norm(to), radius, 2000)


def test_what_has_no_depth_is_followed_by_bearing_as_the_camera_moves():
    """Two chairs 7 m ahead and 2 m apart; the camera goes 1 m to the side, and both seem to go the other way."""
    left, right = far_track(1, (-1, 0, 7), "chair"), far_track(2, (1, 0, 7), "chair")
    lines = [line(5, (1 - 1, 0, 7), "chair"), line(6, (-1 - 1, 0, 7), "chair")]
    later = 10_000_000_000
    assert by_bearing(lines, [left, right], np.array([1.0, 0, 0]), later) == {5: right, 6: left}
    assert by_bearing([line(7, (3, 0, 7), "chair")], [left, right], np.zeros(3), later) == {}
    assert by_bearing([line(7, (1, 0, 7), "chair", radius=0.3)], [left, right], np.zeros(3), later) == {}


def test_another_name_is_no_reason_to_lose_what_was_just_seen_by_bearing():
    track = far_track(1, (0, 0, 7), "chair")
    track.last_seen_ns = 0
    off = (0.38, 0, 7)
    assert by_bearing([line(3, off, "stool")], [track], np.zeros(3), 1_000_000_000) == {3: track}
    assert by_bearing([line(3, off, "stool")], [track], np.zeros(3), 20_000_000_000) == {}
    assert by_bearing([line(3, off, "stool")], [track], np.zeros(3), -20_000_000_000) == {}  # the clock went back
    assert by_bearing([line(3, off, "chair")], [track], np.zeros(3), 20_000_000_000) == {3: track}


def test_a_halo_is_what_is_seen_rarely_beside_what_is_seen_often():
    plate = np.stack([*(m.ravel() for m in np.mgrid[0:1:0.03, 0:1:0.03]), np.zeros(34 * 34)], axis=1)
    behind = plate + [0, 0, 0.06]
    far_end = plate + [2.0, 0, 0]
    points = np.concatenate([plate, behind, far_end])
    sights = np.repeat([40.0, 4.0, 4.0], len(plate))
    kept = stands_out(points, sights, 0.03)
    np.testing.assert_array_equal(kept, np.repeat([True, False, True], len(plate)))


def named(*sights: tuple[str, float, int]) -> Track:
    track = Track(1, 0)
    track.box = OrientedBox(np.zeros(3), np.ones(3), np.eye(3))
    points = two_halves()[0]
    for k, (label, score, side) in enumerate(sights):
        camera = 3 * np.array([np.cos(np.deg2rad(side)), np.sin(np.deg2rad(side)), 0])
        track.see(dataclasses.replace(points, camera=camera, stamp_ns=k * 100_000_000), 5000, label, score)
    return track


def test_a_sure_name_outweighs_an_unsure_one_of_as_many_sides():
    sure, unsure = ("chair", 0.9), ("stool", 0.6)
    sights = [(*name, side) for side in (10, 50) for name in (unsure, unsure, sure)]
    track = named(*sights)
    assert track.label == "chair"
    assert list(track.label_scores()) == ["chair", "stool"]
    assert sum(track.label_scores().values()) == pytest.approx(1.0)


def test_a_name_changes_only_when_another_is_clearly_ahead():
    both = [("chair", 0.8, 10)] * 20 + [("stool", 0.8, 50)] * 20  # as much as one side can tell, each
    assert named(*both, ("stool", 0.6, 90)).label == "chair"
    assert named(*both, *[("stool", 0.8, 90)] * 3).label == "stool"


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
