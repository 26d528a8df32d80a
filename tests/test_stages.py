"""Small stages: tiles, voxels, grid, heights, markers, config."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3d_ros.config import Config
from s3d_ros.grid import GrowingGrid
from s3d_ros.heights import Heights
from s3d_ros.keys import ConfigError
from s3d_ros.markers import draw, place_in_view, place_on_bev, plate_size, text_height_px
from s3d_ros.numbering import Numbering
from s3d_ros.tiles import TileIndex, block_coordinates, block_keys
from s3d_ros.timing import Lasted
from s3d_ros.track import Track
from s3d_ros.types import Bev, Intrinsics, Marker, OrientedBox, SceneObject
from s3d_ros.uprightness import parse_up
from s3d_ros.voxels import NOBODY, OwnedVoxels

coordinates = st.lists(st.tuples(*[st.integers(-(1 << 19), 1 << 19)] * 3), min_size=1, max_size=50)


@given(coordinates)
def test_block_keys_are_one_to_one(coords):
    c = np.array(coords, np.int32)
    keys = block_keys(c)
    assert (block_coordinates(keys) == c).all()
    assert len(set(keys.tolist())) == len(set(coords))


def test_the_tile_index_finds_what_a_brute_force_look_finds():
    rng = np.random.default_rng(0)
    coords = np.unique(rng.integers(-40, 40, (3000, 3)).astype(np.int32), axis=0)
    index = TileIndex(0.16)
    index.add(coords)
    index.add(coords[:100])
    assert len(index) == len(coords)
    k = Intrinsics(640, 480, 525, 525, 319.5, 239.5)
    T = np.eye(4)
    found = {tuple(c) for c in index.in_view(k, T, 4.0).tolist()}
    centers = (coords + 0.5) * 0.16
    u = centers[:, 0] / centers[:, 2] * k.fx + k.cx
    v = centers[:, 1] / centers[:, 2] * k.fy + k.cy
    seen = (centers[:, 2] > 0) & (centers[:, 2] < 4) & (u > 0) & (u < 639) & (v > 0) & (v < 479)
    assert {tuple(c) for c in coords[seen].tolist()} <= found
    assert len(found) < 4 * seen.sum()


def test_the_tile_index_forgets_what_it_is_told_to():
    coords = np.argwhere(np.ones((10, 3, 3))).astype(np.int32)  # in two tiles
    index = TileIndex(0.16)
    index.add(coords)
    index.remove(coords[coords[:, 0] >= 5])
    assert {tuple(c) for c in index.all().tolist()} == {tuple(c) for c in coords.tolist() if c[0] < 5}
    k, T = Intrinsics(640, 480, 525, 525, 319.5, 239.5), np.eye(4)
    T[:3, 3] = 0, 0, 3
    assert len(index.in_view(k, T, 9.0)) == len(index) == 45
    index.add(coords)
    assert len(index.all()) == len(index) == 90
    index.remove(coords)
    assert len(index) == len(index.all()) == len(index.in_view(k, T, 9.0)) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 40), min_size=1)), max_size=25))
def test_numbers_are_those_of_a_dict_and_the_lowest_free_ones(steps):
    numbering, numbers = Numbering(4), {}  # grows
    keys = np.stack([np.arange(41) - 20, np.arange(41) % 3, -np.arange(41)], axis=1).astype(np.int32)
    for is_added, chosen in steps:
        mine = [k for k in sorted(chosen) if (k in numbers) != is_added]
        if is_added:
            free = [n for n in range(100) if n not in numbers.values()][: len(mine)]
            assert numbering.add(keys[mine]).tolist() == free
            numbers |= dict(zip(mine, free, strict=True))
        else:
            numbering.remove(np.array([numbers.pop(k) for k in mine], np.int64))
        assert numbering.find(keys).tolist() == [numbers.get(k, -1) for k in range(41)]
        assert numbering.used.tolist() == sorted(numbers.values()) and len(numbering) == len(numbers)
        assert {numbers[k]: keys[k].tolist() for k in numbers} == {
            n: numbering.keys[n].tolist() for n in numbering.used
        }
        is_used = np.isin(np.arange(numbering.end), numbering.used)
        again = Numbering(4)
        again.restore(numbering.keys, is_used)
        assert again.find(keys).tolist() == numbering.find(keys).tolist()
        absent = keys[[k for k in range(41) if k not in numbers]]
        assert again.add(absent[:3]).tolist() == [n for n in range(100) if n not in numbers.values()][: len(absent[:3])]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_voxels_belong_to_the_majority(seed, count):
    rng = np.random.default_rng(seed)
    field = OwnedVoxels(0.1, capacity=16)  # grows
    points = rng.uniform(-2, 2, (count, 3)).astype(np.float32)
    for owner in (1, 1, 1, 2):
        field.claim(points, np.full(count, owner, np.int32))
    assert (field.owners(points) == 1).all()
    assert len(field) == len({tuple(k) for k in np.floor(points * np.float32(10)).astype(int).tolist()})
    for _ in range(4):
        field.claim(points, np.full(count, 2, np.int32))
    assert (field.owners(points) == 2).all()
    field.release(np.unique(field.find(points)))
    assert (field.owners(points) == NOBODY).all()


def test_a_voxels_position_is_the_mean_of_its_points():
    field = OwnedVoxels(1.0)
    field.claim(np.array([[0.2, 0.2, 0.2], [0.4, 0.6, 0.2]], np.float32), np.array([5, 5], np.int32))
    assert field.positions(field.find(np.array([[0.9, 0.9, 0.9]], np.float32)))[0] == pytest.approx([0.3, 0.4, 0.2])


def test_votes_fade_and_then_nobody_owns_the_voxel():
    field = OwnedVoxels(1.0)
    point = np.array([[0.5, 0.5, 0.5]], np.float32)
    for _ in range(20):
        field.claim(point, np.array([3], np.int32))
    voxel = field.find(point)
    assert len(field.fade(voxel)) == 0
    assert len(field.fade(voxel)) == 0
    field.fade(voxel)
    assert len(field.fade(voxel)) == 1
    assert field.owners(point)[0] == NOBODY


def test_voxels_that_nobody_owns_are_given_back_and_their_numbers_go_to_others():
    field = OwnedVoxels(1.0, capacity=4)
    places = np.arange(6, dtype=np.float32)[:, None] + np.full((1, 3), 0.5, np.float32)
    first, second = Track(1, 0), Track(2, 0)
    first.add_voxels(field.claim(places[:4], np.full(4, 1, np.int32))[0])
    field.release(field.find(places[1:3]))
    assert len(field) == 4, "a frame may still be looked at by these numbers"
    assert field.give_back() == 2 and field.give_back() == 0
    assert len(field) == 2 and field.find(places[:4]).tolist() == [0, -1, -1, 3]

    taken, _ = field.claim(places[4:] + np.float32(0.25), np.full(2, 2, np.int32))
    second.add_voxels(taken)
    assert sorted(taken.tolist()) == [1, 2] and field.find(places[4:]).tolist() == [1, 2]
    np.testing.assert_allclose(field.positions(taken), places[4:] + 0.25)  # nothing of what was there before
    assert field.sights(taken).tolist() == field.support(taken).tolist() == field.counts(taken).tolist() == [1, 1]
    assert field.owners(places).tolist() == [1, NOBODY, NOBODY, 1, 2, 2]
    assert first.own_voxels(field).tolist() == [0, 3] and second.own_voxels(field).tolist() == [1, 2]

    first.add_voxels(field.claim(places[1:2], np.array([1], np.int32))[0])  # back again, by another number
    assert first.own_voxels(field).tolist() == [0, 3, 4] and len(field) == 5


def test_a_voxel_that_was_taken_again_is_not_given_back():
    field = OwnedVoxels(1.0)
    point = np.full((1, 3), 0.5, np.float32)
    field.claim(point, np.array([1], np.int32))
    field.release(field.find(point))
    field.claim(point, np.array([2], np.int32))
    assert field.give_back() == 0 and field.owners(point).tolist() == [2]
    field.release(field.find(point))
    field.fade(np.array([0]))  # of nobody already
    assert field.give_back() == 1 and field.fade(np.array([0])).tolist() == [0] and field.give_back() == 0


def test_restored_voxels_are_numbered_on_as_if_nothing_had_been():
    mine, theirs = OwnedVoxels(1.0), OwnedVoxels(1.0)
    points = np.random.default_rng(0).uniform(0, 6, (200, 3)).astype(np.float32)
    mine.claim(points[:150], np.repeat([1, 2, 3], 50).astype(np.int32))
    mine.release(np.flatnonzero(mine.owner == 2))
    mine.give_back()
    theirs.restore({name: values.copy() for name, values in mine.state().items()})
    for field in (mine, theirs):
        field.claim(points[150:], np.full(50, 4, np.int32))
    assert mine.find(points).tolist() == theirs.find(points).tolist() and len(mine) == len(theirs)
    for name, values in mine.state().items():
        is_owned = mine.state()["owner"] > 0
        np.testing.assert_array_equal(values[is_owned], theirs.state()[name][is_owned], err_msg=name)


def test_times_are_remembered_up_to_a_limit_the_newest_last():
    lasted = Lasted()
    assert len(lasted) == 0 and lasted.last().tolist() == []
    for k in range(3):
        lasted.append(float(k))
    assert lasted.last().tolist() == [0, 1, 2] and lasted.last(2).tolist() == [1, 2]
    for k in range(3, 20_002):
        lasted.append(float(k))
    assert len(lasted) == 20_000 and lasted.last().tolist() == list(range(2, 20_002))
    assert lasted.last(3).tolist() == [19_999, 20_000, 20_001]


def test_a_grid_keeps_its_cells_where_they_are_when_it_grows():
    grid = GrowingGrid(0.1, {"a": ((), np.int32, -1)})
    grid.cover(np.array([[0.05, 0.05]]))
    c, r = np.rint(grid.cells(np.array([[0.05, 0.05]]))[0]).astype(int)
    grid["a"][r, c] = 7
    grid.cover(np.array([[-30.0, 12.0], [50.0, -9.0]]))
    c, r = np.rint(grid.cells(np.array([[0.05, 0.05]]))[0]).astype(int)
    assert grid["a"][r, c] == 7
    assert (grid["a"] == 7).sum() == 1


def test_floor_and_ceiling_are_found_among_walls():
    rng = np.random.default_rng(0)
    heights = Heights()
    heights.note_camera(1.2)
    floor, ceiling = rng.normal(0.1, 0.005, 40_000), rng.normal(2.6, 0.005, 30_000)
    walls = rng.uniform(0.1, 2.6, 100_000)
    values = np.concatenate([floor, ceiling, walls]).astype(np.float32)
    heights.count((0, 0), values)
    assert heights.settle(0.02)
    assert heights.floor_m == pytest.approx(0.1, abs=0.04)
    assert 2.2 < heights.ceiling_cut_m < 2.55
    bare = np.concatenate([floor, walls]).astype(np.float32)
    heights.count((0, 0), bare)
    assert heights.settle(0.02)
    assert heights.ceiling_cut_m == float("inf")


@pytest.mark.parametrize(("height_m", "is_ceiling"), [(2.6, True), (1.7, False)])
def test_a_corner_of_the_ceiling_is_cut_and_a_low_cupboard_is_not(height_m: float, is_ceiling: bool):
    rng = np.random.default_rng(0)
    heights = Heights()
    heights.note_camera(1.2)
    walls = rng.uniform(0, 2.6, 30_000)
    patch = rng.normal(height_m, 0.005, 2_000)  # 1.8 m2 of 3 cm cells, beside 36 m2 of floor
    heights.count((0, 0), np.concatenate([rng.normal(0, 0.005, 40_000), walls, patch]).astype(np.float32))
    assert heights.settle(0.03)
    assert np.isinf(heights.ceiling_cut_m) != is_ceiling


def test_a_ceiling_of_which_little_was_seen_is_found_and_a_cupboard_is_none():
    rng = np.random.default_rng(1)
    heights = Heights()
    heights.note_camera(1.4)
    floor, walls = rng.normal(0.0, 0.005, 90_000), rng.uniform(0.0, 2.6, 400_000)
    cupboard, ceiling = rng.normal(2.0, 0.005, 3_500), rng.normal(2.6, 0.005, 20_000)
    heights.count((0, 0), np.concatenate([floor, walls, cupboard, ceiling]).astype(np.float32))
    assert heights.settle(0.02)
    assert 2.2 < heights.ceiling_cut_m < 2.45
    bare = np.concatenate([floor, walls, cupboard]).astype(np.float32)
    heights.count((0, 0), bare)
    assert heights.settle(0.02)
    assert heights.ceiling_cut_m == float("inf")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_markers_of_a_view_never_overlap_and_stand_on_their_objects(seed):
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 30, (6, 8)), np.ones((20, 20), int)).astype(np.int32)
    v, u = np.mgrid[2:480:4, 2:640:4]
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    markers = place_in_view(ids.ravel(), pixels, (480, 640), 4)
    assert markers
    assert_apart(markers, 640)
    for m in markers:
        assert ids[int(m.v) // 4, int(m.u) // 4] == m.object_id


def assert_apart(markers, width):
    boxes = []
    for m in markers:
        w, h = plate_size(m.object_id, text_height_px(width))
        boxes.append((m.u - w / 2, m.v - h / 2, m.u + w / 2, m.v + h / 2))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def bev(size: int = 300) -> Bev:
    blank = np.zeros((size, size), np.float32)
    return Bev(np.zeros((size, size, 3), np.uint8), blank, blank.astype(np.int8), 0.02, (0.0, 0.0), np.eye(4), 0.0, 9.0)


def test_markers_on_the_bev_stand_aside_for_each_other():
    things = [
        SceneObject(i, "mug", OrientedBox(np.array([3.0, 3.0, 0.5]), np.array([0.1, 0.1, 0.1]), np.eye(3)))
        for i in range(1, 40)
    ]
    markers = place_on_bev(bev(), things, 3)
    assert len(markers) == 39
    assert_apart(markers, 640)


def test_bev_pixels_are_metric_with_y_upwards():
    assert bev().to_pixels(np.array([[0.01, 0.01, 5.0], [1.01, 2.01, 0.0]])) == pytest.approx(
        np.array([[0, 299], [50, 199]])
    )


def test_a_marker_is_readable_on_any_background():
    for tone in (0, 128, 255):
        image = np.full((100, 100, 3), tone, np.uint8)
        out = draw(image, [Marker(12, 50, 50)])
        assert image.max() == image.min()  # the input is left alone
        plate = out[38:62, 30:70].astype(int)
        assert plate.max() - plate.min() > 200


def test_unknown_and_impossible_config_values_are_named():
    with pytest.raises(ConfigError, match=r"fusion\.voxel_sise_m.*did you mean 'voxel_size_m'"):
        Config.from_dict({"fusion": {"voxel_sise_m": 0.02}})
    with pytest.raises(ConfigError, match=r"fusion\.voxel_size_m = -1.* out of range"):
        Config.from_dict({"fusion": {"voxel_size_m": -1.0}})
    with pytest.raises(ConfigError, match=r"segment\.segmenter.*none of"):
        Config.from_dict({"segment": {"segmenter": "magic"}})
    with pytest.raises(ConfigError, match=r"views\.count must be int"):
        Config.from_dict({"views": {"count": "many"}})
    with pytest.raises(ConfigError, match="up"):
        parse_up("sideways")


def test_config_keys_are_the_parameters_of_a_ros_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("/**:\n  ros__parameters:\n    fusion:\n      voxel_size_m: 0.05\n")
    config = Config.from_yaml(path)
    assert config.fusion.voxel_size_m == 0.05
    assert config.with_values({"fusion.voxel_size_m": 0.1}).fusion.voxel_size_m == 0.1
    assert {key for key, _, _ in config.flat()} >= {"fusion.voxel_size_m", "map.up", "bev.resolution_m"}
