"""Fusion, carving and incremental extraction."""

import dataclasses

import numpy as np
import open3d.core as o3c
from scipy.spatial import cKDTree
from synthetic import BoxWorld, circle, look_at, room

from s3d_ros.anchors import pack
from s3d_ros.blocks import ATTRIBUTES, Blocks
from s3d_ros.config import FusionConfig
from s3d_ros.fusion import Fusion
from s3d_ros.geometry import millimetres
from s3d_ros.state import joined
from s3d_ros.surface import Surface
from s3d_ros.tiles import block_keys
from s3d_ros.visibility import EmptySpace

BOX = {"box1": ((1.5, 1.5, 0.0), (2.5, 2.5, 1.0))}


def empty_of(frame):
    return EmptySpace(frame, 0.03, 0.006)


def test_the_incremental_surface_is_the_one_that_open3d_extracts():
    fusion = Fusion(FusionConfig(initial_blocks=500))  # grows on the way
    surface = Surface(fusion)
    world = BoxWorld(room(**BOX))
    for i, T in enumerate(circle(16)):
        fusion.integrate(world.frame(T, i)[0])
        if i % 3 == 0:
            surface.update()
    surface.update()
    whole, colors = fusion.extract()
    points, own_colors = surface.all()
    forth, nearest = cKDTree(points).query(whole)
    # A block is extracted again when some of its voxels changed sides: its surface is never off by more than a voxel.
    assert np.percentile(forth, 90) < 1e-4
    assert np.percentile(forth, 99) < 0.5 * fusion.config.voxel_size_m
    assert forth.max() < 1.5 * fusion.config.voxel_size_m
    assert len(points) < 1.1 * len(whole)
    assert np.abs(own_colors[nearest].astype(int) - colors).mean() < 6


def test_only_changed_blocks_are_extracted_again():
    fusion = Fusion(FusionConfig())
    surface = Surface(fusion)
    world = BoxWorld(room(**BOX))
    for i, T in enumerate(circle(8)):
        fusion.integrate(world.frame(T, i)[0])
    everything = len(surface.update())
    assert surface.update() == []
    fusion.integrate(world.frame(look_at((2, 0.5, 1.2), (2, 0.0, 1.0)), 9)[0])  # a bit of wall
    assert 0 < len(surface.update()) < everything / 3


def test_a_surface_lies_where_the_world_has_it():
    fusion = Fusion(FusionConfig())
    world = BoxWorld(room(**BOX))
    for i, T in enumerate(circle(24)):
        fusion.integrate(world.frame(T, i)[0])
    points, _ = fusion.extract()
    top = points[(np.abs(points[:, :2] - 2) < 0.4).all(axis=1) & (points[:, 2] > 0.5) & (points[:, 2] < 2)]
    assert len(top) > 500
    assert np.abs(top[:, 2] - 1.0).max() < 0.02


def test_one_look_through_a_surface_does_not_carve_it_three_do():
    fusion = Fusion(FusionConfig())
    full, bare = BoxWorld(room(**BOX)), BoxWorld(room())
    for i, T in enumerate(circle(24)):
        fusion.integrate(full.frame(T, i)[0])

    def top() -> int:
        points, _ = fusion.extract()
        return int(((np.abs(points - [2, 2, 1]) < [0.4, 0.4, 0.05]).all(axis=1)).sum())

    before = top()
    frame, _ = bare.frame(look_at((0.6, 2, 1.5), (2.2, 2, 0.8)))
    assert fusion.carve(empty_of(frame)) > 0
    assert top() > 0.9 * before
    for _ in range(3):
        fusion.carve(empty_of(frame))
    assert top() < 0.05 * before


def test_what_is_hidden_is_not_carved():
    fusion = Fusion(FusionConfig())
    full = BoxWorld(room(**BOX))
    for i, T in enumerate(circle(24)):
        fusion.integrate(full.frame(T, i)[0])
    before = len(fusion.extract()[0])
    wall = BoxWorld(room(screen=((0.5, 0.9, 0.0), (3.5, 1.0, 2.5))))
    frame, _ = wall.frame(look_at((2.0, 0.4, 1.2), (2.0, 2.0, 1.0)))
    for _ in range(5):
        fusion.carve(empty_of(frame))
    assert len(fusion.extract()[0]) > 0.995 * before


def test_blocks_that_carving_empties_are_given_back_and_come_again_with_what_is_there_then():
    world, bare = BoxWorld(room(**BOX)), BoxWorld(room())
    fusion, other = Fusion(FusionConfig()), Fusion(FusionConfig())
    surface = Surface(fusion)
    for i, T in enumerate(circle(24)):
        fusion.integrate(world.frame(T, i)[0])
        other.integrate(bare.frame(T, i)[0])
    surface.update()

    def box_points() -> np.ndarray:
        points, _ = surface.all()
        return points[(np.abs(points - [2, 2, 0.6]) < [0.6, 0.6, 0.45]).all(axis=1)]

    before, many, ends = len(fusion), len(box_points()), fusion._blocks._numbers.end
    assert many > 1000
    fusion.watch(True)
    for i, T in enumerate(circle(24)):
        frame = bare.frame(T, 24 + i)[0]
        fusion.integrate(frame)
        for _ in range(4):
            fusion.carve(empty_of(frame))
    surface.update()
    assert len(box_points()) == 0
    assert len(fusion) == len(fusion.index) < before - 80
    assert 0 <= len(fusion) - len(other) < 15, "as if the box had never been, but for some blocks of free space"
    assert set(surface._extracted) | set(surface._points) <= set(block_keys(fusion.index.all()).tolist())
    gone = fusion.watch(False)
    gone = gone[fusion.slots(gone) < 0]
    assert len(gone) > 80, "who watches is told"

    for i, T in enumerate(circle(24)):
        fusion.integrate(world.frame(T, 48 + i)[0])
    surface.update()
    again = box_points()
    assert len(again) > 0.9 * many
    inner = np.abs(again[:, :2] - 2) < 0.45
    assert np.abs(again[inner.all(axis=1)][:, 2] - 1.0).max() < 0.02, "its top"
    assert (inner | (np.abs(np.abs(again[:, :2] - 2) - 0.5) < 0.05)).all(), "and its sides"
    assert fusion._blocks._numbers.end < 1.05 * ends, "in the old blocks' room"


def test_a_block_that_noise_opened_goes_and_a_surface_stays():
    config = FusionConfig()
    fusion = Fusion(config)
    world = BoxWorld(room())
    T = look_at((2, 2, 1.2), (3, 2, 1.2))
    frame, _ = world.frame(T)
    depth = frame.depth_m.copy()
    depth[40:80, 60:100] = 1.0  # nothing is there
    fusion.integrate(dataclasses.replace(frame, depth_m=depth))
    for i in range(1, 4):
        fusion.integrate(world.frame(T, i)[0])
    fusion.take_dirty()
    wrong, wall = (fusion.index.coordinates([int(block_keys(np.floor(np.array([p]) / fusion.block_m))[0])])
                   for p in ((3.0, 2.0, 1.2), (3.95, 2.0, 1.2)))  # fmt: skip
    assert (fusion.slots(wrong) >= 0).all() and (fusion.slots(wall) >= 0).all()
    away = look_at((2, 2, 1.2), (1, 2, 1.2))
    fusion.integrate(world.frame(away, 290)[0])
    fusion.take_dirty()
    assert (fusion.slots(wrong) >= 0).all(), "29 s"
    fusion.integrate(world.frame(away, 305)[0])
    fusion.take_dirty()
    assert (fusion.slots(wrong) < 0).all() and (fusion.slots(wall) >= 0).all()
    assert len(fusion) == len(fusion.index)


def test_a_block_that_went_while_it_was_copied_is_not_in_the_copy():
    fusion = Fusion(FusionConfig())
    fusion.integrate(BoxWorld(room()).frame(look_at((2, 2, 1), (3, 2, 1)))[0])
    before = fusion.index.all()
    first = fusion.state(before)
    fusion.erase(
        ((before[:5, None] + np.mgrid[0:1:9j, 0:1:9j, 0:1:9j].reshape(3, -1).T) * fusion.block_m).reshape(-1, 3)
    )
    fusion.watch(True)
    fusion.take_dirty()
    changed = fusion.watch(False)
    assert len(changed) >= 5 and (fusion.slots(before[:5]) < 0).all()
    whole = joined([first, fusion.state(changed)])
    assert set(block_keys(whole["blocks"]).tolist()) == set(block_keys(fusion.index.all()).tolist())
    assert len(whole["blocks"]) == len(before) - len(changed)


def test_blocks_hold_what_was_put_there_whoever_came_and_went():
    rng = np.random.default_rng(0)
    blocks, held = Blocks(0.02, 8, o3c.Device("CPU:0")), {}
    for _ in range(40):
        new = rng.integers(0, 12, (rng.integers(1, 300), 3)).astype(np.int32)
        new = np.unique(new, axis=0)
        fresh = np.array([tuple(c) not in held for c in new.tolist()])
        slots = blocks.activate(new)
        assert (blocks.gather("weight", slots[fresh]) == 0).all(), "a new block has nothing of an old one"
        for name, width in zip(ATTRIBUTES, (1, 1, 3), strict=True):
            values = np.ones((len(new), 8, 8, 8, width), np.float32)
            blocks.scatter(
                name, slots, values * np.arange(1, len(new) + 1, dtype=np.float32)[:, None, None, None, None]
            )
        held |= {tuple(c): k + 1 for k, c in enumerate(new.tolist())}
        gone = [c for c in held if rng.random() < 0.4]
        blocks.remove(blocks.find(np.array(gone, np.int32).reshape(-1, 3)))
        for c in gone:
            del held[c]
        assert len(blocks) == len(held)
        if held:
            slots = blocks.find(np.array(list(held), np.int32))
            for name in ATTRIBUTES:
                found = blocks.gather(name, slots).reshape(len(held), -1)
                assert (found == np.array(list(held.values()))[:, None]).all()
    assert blocks.whole().hashmap().size() == len(held)


def test_an_empty_frame_is_nothing():
    fusion = Fusion(FusionConfig())
    frame, _ = BoxWorld(room()).frame(look_at((2, 2, 1), (3, 2, 1)))
    blind = type(frame)(0, 0, frame.color, np.zeros_like(frame.depth_m), frame.intrinsics, frame.T_map_camera)
    fusion.integrate(blind)
    assert fusion.carve(empty_of(blind)) == 0
    assert len(fusion) == 0
    assert Surface(fusion).update() == []
    assert fusion.extract()[0].shape == (0, 3)


def test_frames_of_a_fast_camera_take_turns_and_new_blocks_wait_for_none():
    config = FusionConfig()
    world = BoxWorld(room(**BOX))
    T = look_at((0.8, 0.8, 1.5), (2.2, 2.2, 0.8))

    def weights(period_ms: int, frames: int) -> np.ndarray:
        fusion = Fusion(config)
        for i in range(frames):
            frame, _ = world.frame(T, i)
            fusion.integrate(dataclasses.replace(frame, stamp_ns=(i + 1) * period_ms * 1_000_000))
        coords = fusion.index.in_view(frame.intrinsics, np.linalg.inv(T), 6.0)
        _, weight = fusion.blocks(fusion.slots(coords))
        return weight.reshape(len(coords), -1).max(axis=1)

    assert weights(33, 1).max() == 1  # a new block is fused at once
    assert (weights(33, 1) > 0).sum() == (weights(100, 1) > 0).sum()
    slow, fast = weights(100, 9), weights(33, 9)
    assert slow.max() == 9
    assert fast.max() == 5  # the first time, and then every second
    assert fast[fast > 0].min() >= 5 - 1


def test_a_step_is_short_and_all_steps_together_are_an_update():
    fusion = Fusion(FusionConfig())
    at_once, in_steps = Surface(fusion), Surface(fusion)
    world = BoxWorld(room(**BOX))
    for i, T in enumerate(circle(12)):
        fusion.integrate(world.frame(T, i)[0])
    dirty = fusion.take_dirty()
    fusion.take_dirty = lambda: dirty  # type: ignore[method-assign]  # both look at the same changes
    every = at_once.update()
    in_steps.collect()
    steps = []
    while in_steps.has_work:
        steps.append(in_steps.step())
    assert len(steps) > 1
    assert max(map(len, steps)) < len(every)
    assert sorted(key for step in steps for key in step) == sorted(every)
    np.testing.assert_array_equal(np.sort(in_steps.all()[0], axis=0), np.sort(at_once.all()[0], axis=0))


def test_depth_too_far_for_millimetres_in_16_bit_is_unknown():
    frame, _ = BoxWorld(room()).frame(look_at((2, 2, 1), (3, 2, 1)))
    depth = np.full_like(frame.depth_m, 70.0)  # 4.464 m, were it cut to 16 bit
    fusion = Fusion(FusionConfig())
    fusion.integrate(dataclasses.replace(frame, depth_m=depth))
    assert len(fusion) == 0
    again, _ = pack(dataclasses.replace(frame, depth_m=depth), None, {}).unpack()
    assert not again.depth_m.any()
    np.testing.assert_array_equal(millimetres(np.array([0, 0.0004, 1.2346, 65.535, 65.536], np.float32)),
                                  [0, 0, 1235, 65535, 0])  # fmt: skip


def test_of_a_map_that_was_loaded_no_step_looks_at_every_block(monkeypatch):
    """Of each it must be asked once, half a minute later, whether it was only noise."""
    monkeypatch.setattr("s3d_ros.fusion._DOUBTED_AT_ONCE", 30)
    fusion, loaded = Fusion(FusionConfig()), Fusion(FusionConfig())
    world = BoxWorld(room())
    fusion.integrate(world.frame(look_at((2, 2, 1), (3, 2, 1)))[0])  # seen once: no surface yet
    loaded.restore(fusion.state())
    count = len(loaded)
    assert count > 100
    loaded.integrate(world.frame(look_at((2, 2, 1.2), (1, 2, 1.2)), 310)[0])
    new = len(loaded) - count
    for k in range(1, count // 30 + 1):
        loaded.take_dirty()
        assert len(loaded) == count + new - 30 * k
    loaded.take_dirty()
    assert len(loaded) == len(loaded.index) == new
