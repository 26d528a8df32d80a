"""The camera's walk: within its limits, clear of furniture, and it sees what there is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from s3d_ros.geometry import point_box_distance
from s3d_ros.offline.simulate.config import TourConfig
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.render import Renderer
from s3d_ros.offline.simulate.small import make_box_room
from s3d_ros.offline.simulate.trajectory import Trajectory, camera_pose, through, tour
from s3d_ros.offline.simulate.world import World, scene_from_layouts
from s3d_ros.types import Intrinsics

FPS = 10.0


def check_motion(walk: Trajectory, world: World, config: TourConfig) -> None:
    T = walk.T_map_camera
    position, rotation = T[:, :3, 3], T[:, :3, :3]
    speed = np.linalg.norm(np.diff(position, axis=0), axis=1) * walk.fps
    assert speed.max() <= config.max_speed_m_s
    between = np.einsum("nij,nkj->nik", rotation[1:], rotation[:-1])
    turn = np.degrees(np.arccos(np.clip((np.trace(between, axis1=1, axis2=2) - 1) / 2, -1, 1))) * walk.fps
    assert turn.max() <= config.max_turn_deg_s + 1e-6
    height = position[:, 2] - world.floor_m
    assert height.min() >= 0.6 and height.max() <= 1.5
    # Clear of every thing that a body as high as the camera could bump into, and inside the rooms
    low = [t for t in world.things if t.box.corners()[:, 2].min() < world.floor_m + 1.5]
    for thing in low:
        column = position.copy()
        column[:, 2] = np.clip(column[:, 2], *thing.box.corners()[:, 2][[0, 0]])
        outline = cv2.convexHull(thing.box.corners()[:, :2].astype(np.float32))
        gap = -np.array([cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in position[:, :2]])
        assert gap.min() > 0.08, f"{thing.label} {thing.id} is bumped into"
        assert min(point_box_distance(p, thing.box) for p in position[::10]) > 0.0


@pytest.fixture(scope="module", params=["living_room", "office", "studio"])
def room_tour(request):
    world = scene_from_layouts([request.param])
    return world, tour(world, TourConfig(), fps=FPS, seed=3)


def test_a_tour_keeps_its_limits_and_bumps_into_nothing(room_tour):
    world, walk = room_tour
    check_motion(walk, world, TourConfig())
    assert 30 < len(walk) / FPS < 90


def test_a_tour_sees_everything_well(room_tour):
    world, walk = room_tour
    renderer = Renderer(world, Intrinsics(80, 60, 65.6, 65.6, 39.5, 29.5))  # 1/64 of the pixels
    most = dict.fromkeys((t.id for t in world.things), 0)
    frames = dict.fromkeys(most, 0)
    sides: dict[int, set[int]] = {number: set() for number in most}
    for T in walk.T_map_camera:
        numbers, counts = np.unique(renderer.things(T), return_counts=True)
        for number, count in zip(numbers.tolist(), (64 * counts).tolist(), strict=True):
            if number:
                most[number], frames[number] = max(most[number], count), frames[number] + 1
                d = T[:2, 3] - world.thing(number).box.center[:2]
                if count > 500:
                    sides[number].add(int(np.arctan2(d[1], d[0]) // (np.pi / 4)))
    well = [n for n in most if most[n] >= 2000 and frames[n] >= 5]
    assert len(well) >= 0.95 * len(most)
    assert np.mean([len(sides[n]) >= 2 for n in most]) > 0.8


def test_a_tour_is_the_same_every_time():
    world = scene_from_layouts(["office"])
    one, same = (tour(world, TourConfig(), fps=FPS, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.T_map_camera, same.T_map_camera)


def test_a_shorter_tour_is_cut_to_length():
    world = scene_from_layouts(["office"])
    assert len(tour(world, TourConfig(), fps=FPS, seed=1, max_s=6.0)) <= 61


def test_a_flat_is_walked_through_all_its_rooms():
    flat = scene_from_layouts(["living_room", "office", "studio"])
    walk = tour(flat, TourConfig(), fps=FPS, seed=0)
    check_motion(walk, flat, TourConfig())
    for room in flat.rooms:
        local = room.to_room(walk.T_map_camera[:, :3, 3])
        inside = ((local > 0) & (local < room.size)).all(axis=1)
        assert inside.sum() > 5 * FPS


def test_free_space_keeps_off_a_box_known_by_hand():
    world = make_box_room((4, 3, 2.5), [("table", (2.0, 1.5, 0.4), (1.0, 1.0, 0.8))])
    space = FreeSpace.of(world, 0.25)
    points = space.origin + (space.cells + 0.5) * 0.05
    to_box = np.linalg.norm(np.maximum(np.abs(points - [2.0, 1.5]) - 0.5, 0), axis=1)
    to_wall = np.minimum(points, np.array([4, 3]) - points).min(axis=1)
    assert to_box.min() > 0.2 and to_wall.min() > 0.2
    # What is left: the room less a margin, less the box grown by it, its corners round
    expected = 3.5 * 2.5 - (1 + 4 * 0.25 + np.pi * 0.25**2)
    assert len(space.cells) * 0.05**2 == pytest.approx(expected, rel=0.08)


def test_a_way_goes_round_a_box():
    world = make_box_room((4, 3, 2.5), [("table", (2.0, 1.0, 0.4), (1.0, 2.0, 0.8))])
    space = FreeSpace.of(world, 0.25)
    points = space.origin + (space.cells + 0.5) * 0.05
    a, b = (int(np.linalg.norm(points - at, axis=1).argmin()) for at in ([0.75, 0.75], [3.25, 0.75]))
    way = space.path(a, b)
    assert np.linalg.norm(way[0] - [0.75, 0.75]) < 0.05 and np.linalg.norm(way[-1] - [3.25, 0.75]) < 0.05
    length = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
    corner = np.hypot(0.75, 1.5) * 2 + 1  # over (1.5, 2.25) and (2.5, 2.25), the box's corners grown by the radius
    assert corner - 0.15 < length < corner * 1.12
    to_box = np.linalg.norm(np.maximum(np.abs(way - [2.0, 1.0]) - [0.5, 1.0], 0), axis=1)
    assert to_box.min() > 0.19


def test_what_hangs_high_is_no_obstacle():
    free = FreeSpace.of(make_box_room((4, 3, 2.5)), 0.25)
    lit = FreeSpace.of(make_box_room((4, 3, 2.5), [("ceiling light", (2, 1.5, 2.3), (1, 1, 0.2))]), 0.25)
    assert len(lit.cells) == len(free.cells)


def test_a_room_without_any_free_place_is_named():
    full = make_box_room((2, 2, 2.5), [("cabinet", (1, 1, 0.5), (1.98, 1.98, 1.0))])
    with pytest.raises(ValueError, match="so full"):
        FreeSpace.of(full, 0.2)


def test_a_camera_pose_looks_where_it_says():
    T = camera_pose(np.array([1.0, 2.0, 1.2]), np.pi / 2, 0.0)
    np.testing.assert_allclose(T[:3, 2], [0, 1, 0], atol=1e-12)  # optical axis along +y
    np.testing.assert_allclose(T[:3, 1], [0, 0, -1], atol=1e-12)  # image down is down
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    assert camera_pose(np.zeros(3), 0.0, -0.5)[2, 2] == pytest.approx(np.sin(-0.5))


def test_a_motion_through_given_keys():
    walk = through([(0, 0, 1, 0, 0), (2, 0, 1, 0, 0), (2, 0, 1, np.pi / 2, 0)], fps=10, speed_m_s=0.5, turn_deg_s=45)
    np.testing.assert_allclose(walk.T_map_camera[0, :3, 3], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(walk.T_map_camera[-1, :3, 3], [2, 0, 1], atol=1e-2)
    assert len(walk) / 10 == pytest.approx((2 / 0.5 + 90 / 45) / 0.92, abs=0.7)
    np.testing.assert_allclose(walk.base(0), np.eye(4), atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"heights_m": (0.3,)}, {"pitches_deg": (90.0,)}, {"max_speed_m_s": 0.0}, {"max_turn_deg_s": -1.0}]
)
def test_limits_out_of_range_are_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TourConfig(**change)
