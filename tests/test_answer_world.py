"""Distances, directions and relations between boxes, against answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from answer_scene import kitchen_like
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros.answer.relations import around, related, supports
from s3d_ros.answer.sectors import FOUR, HALVES, QUADRANTS, THIRDS, allowed, in_words, sector, sector_of_words
from s3d_ros.answer.world import Standpoint, World, label_of, rectangle_distances
from s3d_ros.geometry import box_distance
from s3d_ros.types import F64, ObjectState, OrientedBox, Scene, SceneObject

UPS = [np.eye(3), Rotation.from_euler("xyz", (-90, 0, 37), degrees=True).as_matrix()]
UPS.append(Rotation.from_euler("xyz", (151, 20, -80), degrees=True).as_matrix())

coordinate = st.floats(-4, 4)
extent = st.floats(0.001, 3)


@st.composite
def boxes(draw: st.DrawFn, upright: bool) -> OrientedBox:
    angles = (draw(st.floats(-180, 180)), 0, 0) if upright else [draw(st.floats(-180, 180)) for _ in range(3)]
    axes = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    center = np.array([draw(coordinate) for _ in range(3)])
    return OrientedBox(center, np.array([draw(extent) for _ in range(3)]), axes)


def scene_of(*held: OrientedBox, R: F64 | None = None) -> Scene:
    R = np.eye(3) if R is None else R
    turned = (OrientedBox(R @ b.center, b.size, b.axes @ R.T) for b in held)
    objects = tuple(SceneObject(i + 1, "thing", b) for i, b in enumerate(turned))
    return Scene(1, 0, "map", up=R[:, 2], objects=objects)


@settings(max_examples=150, deadline=None)
@given(boxes(upright=True), boxes(upright=True), boxes(upright=False), st.sampled_from(UPS))
def test_all_distances_at_once_are_those_of_box_pairs(a: OrientedBox, b: OrientedBox, c: OrientedBox, R: F64) -> None:
    world = World(scene_of(a, b, c, R=R))
    for thing in world.objects:
        wanted = [box_distance(thing.box, o.box)[0] for o in world.objects]
        np.testing.assert_allclose(world.distances(thing), wanted, atol=2e-4)


def test_rectangle_distances_by_hand() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    others = np.stack([square + (3, 0), square + (2, 2), square + (0.5, 0.5), square * 5 - 2, square + (1, 0)])
    np.testing.assert_allclose(rectangle_distances(square, others), [2, np.sqrt(2), 0, 0, 0], atol=1e-12)
    assert rectangle_distances(square, np.zeros((0, 4, 2))).shape == (0,)


def test_points_without_extent_have_a_distance() -> None:
    points = [OrientedBox(np.array(p, float), np.zeros(3), np.eye(3)) for p in ((0, 0, 0), (3, 4, 0), (0, 0, 2))]
    world = World(scene_of(*points))
    np.testing.assert_allclose(world.distances(world.objects[0]), [0, 5, 2], atol=1e-6)


def test_labels_come_from_the_scores_and_gone_objects_are_out() -> None:
    box = OrientedBox(np.zeros(3), np.ones(3), np.eye(3))
    torn = SceneObject(1, "chair", box, {"chair": 0.4, "Computer_Mouse": 0.6})
    gone = SceneObject(2, "bed", box, state=ObjectState.GONE)
    moved = SceneObject(3, "sofa", box, state=ObjectState.MOVED)
    world = World(Scene(1, 0, "map", np.array([0, 0, 1.0]), (torn, gone, moved)))
    assert label_of(torn) == "computer mouse"
    assert set(world.by_label) == {"computer mouse", "sofa"}
    assert [o.id for o in world.gone] == [2]


@pytest.mark.parametrize("R", UPS)
def test_left_is_positive_whatever_up_is(R: F64) -> None:
    world = World(scene_of(OrientedBox(np.zeros(3), np.ones(3), np.eye(3)), R=R))
    here, ahead = R @ (1.0, 1.0, 0.0), R @ (1.0, 0.0, 0.3)
    for target, degrees in (((2, 1, 5), 0), ((1, 2, 0), 90), ((1, 0, 0), -90), ((0, 2, 0), 135), ((0, 1, 0), 180)):
        assert abs(world.bearing_deg(here, ahead, R @ np.array(target, float))) == pytest.approx(abs(degrees))
        if abs(degrees) < 180:
            assert world.bearing_deg(here, ahead, R @ np.array(target, float)) == pytest.approx(degrees)


@pytest.mark.parametrize("R", UPS)
@pytest.mark.parametrize(
    ("relation", "to", "wanted"),
    [
        ("on", 5, {9, 10, 13}),
        ("under", 5, {16}),
        ("near", 5, {1, 3, 4, 6, 7, 8, 9, 10, 13, 16}),  # the bed is 0.4 m aside and 0.6 m in front: 0.72 m
        ("near", 2, {7}),  # 4.55 to 4.9 m aside, 1.5 to 2.25 m behind: 0.83 m
        ("above", 1, {14}),
        ("on", 1, set()),
    ],
)
def test_relations_on_the_spot(R: F64, relation: str, to: int, wanted: set[int]) -> None:
    world = World(kitchen_like(R, (3, -2, 1)))
    thing = world.objects[world.index[to]]
    assert {o.id for o in related(world, relation, thing, world.objects)} == wanted


@pytest.mark.parametrize("R", UPS)
@pytest.mark.parametrize(
    ("relation", "wanted"),
    [("left", {6, 11}), ("right", {7, 12}), ("front", {8}), ("behind", {4, 15, 18})],
)
def test_sides_of_the_table_as_the_camera_sees_it(R: F64, relation: str, wanted: set[int]) -> None:
    """From (2.5, 0.2) the table at (3, 2.5) is seen along (0.21, 0.98): left of it is towards (-0.98, 0.21)."""
    scene = kitchen_like(R)
    world = World(scene)
    table = world.objects[world.index[5]]
    ahead = table.box.center - scene.T_map_robot[:3, 3]
    seen = [o for o in world.objects if o.id in (4, 6, 7, 8, 11, 12, 15, 18)]
    assert {o.id for o in related(world, relation, table, seen, ahead=ahead)} == wanted


@pytest.mark.parametrize("R", UPS)
def test_around_a_standpoint(R: F64) -> None:
    world = World(kitchen_like(R))
    here = Standpoint(R @ (3.0, 2.0, 0.5), R @ (1.0, 0.0, 0.0), "from here")  # between table 5 and chair 8
    assert [o.id for o in around(world, "near", here, world.objects, 0.2)] == [5]
    nearby = [o for o in world.objects if o.id in (2, 6, 7, 8, 11)]
    assert {o.id for o in around(world, "front", here, nearby)} == {2, 7}
    assert {o.id for o in around(world, "behind", here, nearby)} == {6, 11}
    assert {o.id for o in around(world, "right", here, nearby)} == {8}
    assert around(world, "left", here, nearby) == []


@pytest.mark.parametrize("R", UPS)
def test_what_carries_a_thing(R: F64) -> None:
    world = World(kitchen_like(R))
    carried = {o.id: [s.id for s in supports(world, o)] for o in world.objects}
    assert carried[9] == carried[10] == carried[13] == [5]
    assert carried[16] == carried[1] == carried[14] == []


@pytest.mark.parametrize(
    ("degrees", "system", "name", "margin"),
    [
        (20, HALVES, "left", 20),
        (-170, HALVES, "right", 10),
        (135, THIRDS, "back", 0),
        (-134, THIRDS, "right", 1),
        (89, QUADRANTS, "front-left", 1),
        (-100, QUADRANTS, "back-right", 10),
        (30, FOUR, "front", 15),
        (-60, FOUR, "right", 15),
        (180, FOUR, "back", 45),
    ],
)
def test_sectors(degrees: float, system: tuple[str, ...], name: str, margin: float) -> None:
    assert sector(degrees, system) == (name, pytest.approx(margin))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("to my left", "left"),
        ("Right", "right"),
        ("behind me", "back"),
        ("turn around", "back"),
        ("front-left", "front-left"),
        ("behind me to the right", "back-right"),
        ("to the left and ahead", "front-left"),
        ("Straight ahead", "front"),
        ("blue", ""),
        ("left or right", ""),
    ],
)
def test_words_for_directions(said: str, name: str) -> None:
    assert sector_of_words(said) == name


def test_systems_of_directions() -> None:
    assert allowed(["right", "left"]) == HALVES
    assert allowed(["right", "back"]) == THIRDS
    assert allowed(["front", "left"]) == FOUR
    assert allowed(["front-left", "back-right"]) == QUADRANTS
    assert allowed(["front-left", "left"]) == ()
    assert [in_words(a) for a in (0, 44, 90, 180, -180, -45, 23)] == [
        "ahead", "front-left", "left", "behind", "behind", "front-right", "front-left",
    ]  # fmt: skip
