"""Layouts become homes: shapes fill their boxes, walls hold everything, rooms join through doors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from s3d_ros.geometry import box_iou, box_of_points
from s3d_ros.offline.simulate.compose import fit_room
from s3d_ros.offline.simulate.floorplan import footprint_mask, obstacles
from s3d_ros.offline.simulate.freespace import FreeSpace
from s3d_ros.offline.simulate.layout import Layout, LayoutError, LayoutObject, load_layout, packaged_layouts
from s3d_ros.offline.simulate.mesh import box, cushion, lathe
from s3d_ros.offline.simulate.room import DOOR_HEIGHT_M, DOOR_WIDTH_M
from s3d_ros.offline.simulate.shapes import CATEGORIES, furnish, own_frame
from s3d_ros.offline.simulate.world import World, scene_from_layouts
from s3d_ros.types import OrientedBox

SHARED = Path(__file__).resolve().parents[2] / "shared" / "layouts"
SCANNED = sorted(SHARED.glob("*/*.json"))
ASIDE = np.array([0.0, -1.0, 0.0])


def tight_iou(mesh_vertices: np.ndarray, of: OrientedBox) -> float:
    """IoU of a box with the smallest one round the vertices that shares only its upright axis."""
    upright = of.axes[int(np.abs(of.axes[:, 2]).argmax())]
    return box_iou(box_of_points(mesh_vertices, upright), of)


def extent_iou(world: World) -> float:
    """The worst IoU between a thing's box and the extent of its mesh along the box's axes."""
    worst = 1.0
    for thing in world.things:
        local = (thing.mesh.vertices - thing.box.center) @ thing.box.axes.T
        low, high, half = local.min(axis=0), local.max(axis=0), thing.box.size / 2
        both = np.prod(np.maximum(np.minimum(high, half) - np.maximum(low, -half), 0))
        worst = min(worst, both / (np.prod(high - low) + np.prod(2 * half) - both))
    return worst


@pytest.mark.parametrize("label", [*CATEGORIES, "thing that nobody knows"])
def test_a_shape_fills_its_tilted_box(label):
    rng = np.random.default_rng(3)
    for size in ((0.5, 0.6, 0.9), (1.8, 0.8, 0.7), (0.4, 0.03, 0.3), (0.05, 0.09, 0.02), (0.3, 1.2, 2.0)):
        axes = Rotation.from_euler("zyx", [35, 12, -20], degrees=True).as_matrix()
        of = OrientedBox(np.array([1.0, -2.0, 0.5]), np.array(size), axes)
        mesh = furnish(label, of, ASIDE, rng)
        local = (mesh.vertices - of.center) @ axes.T
        np.testing.assert_allclose(local.max(axis=0), of.size / 2, atol=1e-9)
        np.testing.assert_allclose(local.min(axis=0), -of.size / 2, atol=1e-9)
        assert tight_iou(mesh.vertices, of) > 0.9


@given(st.integers(0, 2**31), st.tuples(*[st.floats(0.02, 3)] * 3))
@settings(max_examples=30, deadline=None)
def test_every_size_and_attitude_gives_a_finite_mesh_in_its_box(seed, size):
    rng = np.random.default_rng(seed)
    of = OrientedBox(rng.normal(size=3), np.array(size), Rotation.random(random_state=seed).as_matrix())
    label = sorted(CATEGORIES)[seed % len(CATEGORIES)]
    mesh = furnish(label, of, ASIDE, rng)
    assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.texcoords).all()
    assert (np.abs((mesh.vertices - of.center) @ of.axes.T) <= of.size / 2 + 1e-9).all()
    assert mesh.triangles.max() < len(mesh.vertices)


def test_a_front_is_turned_to_where_it_should_look():
    of = OrientedBox(np.zeros(3), np.array([2.0, 0.9, 0.8]), np.eye(3))
    axes, size = own_frame(of, np.array([0.3, 1.0, 0.0]), "any")
    np.testing.assert_allclose(axes[1], [0, -1, 0])  # its back is away from +y
    np.testing.assert_allclose(size, [2.0, 0.9, 0.8])
    assert np.linalg.det(axes) == pytest.approx(1)
    axes, size = own_frame(of, np.array([1.0, 0.1, 0.0]), "thin")  # a sofa looks across its short side all the same
    np.testing.assert_allclose(axes[1], [0, -1, 0])


@pytest.mark.parametrize(
    "mesh",
    [box((-1, -2, 0), (1, 2, 3), (1, 1, 1)), lathe([(1, 0), (0.5, 2)], (1, 1), (1, 1, 1)),
     cushion((-1, -1, 0), (1, 1, 0.3), (1, 1, 1))],
    ids=["box", "lathe", "cushion"],
)  # fmt: skip
def test_solids_are_closed_and_look_outwards(mesh):
    center = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] - center for k in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    assert volumes.sum() > 0.2  # positive: the normals look outwards
    edges = np.sort(np.concatenate([mesh.triangles[:, [0, 1]], mesh.triangles[:, [1, 2]], mesh.triangles[:, [2, 0]]]))
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_a_box_has_the_volume_of_a_box():
    mesh = box((-1, -2, 0), (1, 2, 3), (1, 1, 1))
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(2 * 4 * 3)


def check_home(world: World) -> None:
    assert extent_iou(world) > 0.9
    ids = [t.id for t in world.things]
    assert len(set(ids)) == len(ids) and min(ids) > 0
    corners = np.concatenate([t.box.corners() for t in world.things])
    inside = np.zeros(len(corners), dtype=bool)
    for room in world.rooms:
        local = room.to_room(corners)
        inside |= ((local > -1e-6) & (local < room.size + 1e-6)).all(axis=1)
    assert inside.all()  # nothing is buried in a wall, the floor or the ceiling


@pytest.mark.parametrize("name", packaged_layouts())
def test_packaged_layouts(name):
    layout = load_layout(name)
    assert 12 <= len(layout.objects) <= 20
    labels = [o.label for o in layout.objects]
    assert sum(labels.count(label) == 1 for label in labels) >= 3
    assert set(labels) <= set(CATEGORIES)
    world = scene_from_layouts([name])
    check_home(world)
    assert [(t.id, t.label) for t in world.things] == [(o.id, o.label) for o in layout.objects]


@pytest.mark.skipif(not SCANNED, reason="the shared layouts are not here")
def test_scanned_layouts():
    for path in SCANNED:
        world = scene_from_layouts([path])
        check_home(world)
        assert FreeSpace.of(world, 0.2).radius_m == 0.2, path  # there is a place to stand


def test_walls_stand_along_most_things_and_move_back_from_a_full_room():
    turn = Rotation.from_euler("z", 25, degrees=True).as_matrix()

    def entry(number, label, center, size, R=turn):
        return LayoutObject(number, label, OrientedBox(turn @ center, np.array(size), R.T))

    askew = Rotation.from_euler("z", 50, degrees=True).as_matrix()
    things = (
        entry(1, "sofa", [1.0, 0.5, 0.4], (2.0, 1.0, 0.8)),
        entry(2, "bookshelf", [4.0, 3.0, 1.0], (0.4, 1.0, 2.0)),
        entry(3, "chair", [2.5, 1.5, 0.5], (0.5, 0.5, 1.0), askew),
    )
    room = fit_room(Layout("turned", things, np.array([-9.0, -9, 0]), np.array([9.0, 9, 2.5])))
    np.testing.assert_allclose(room.T_map_room[:3, :3], turn, atol=1e-9)
    np.testing.assert_allclose(room.size, [4.2 + 0.16, 3.5 + 0.16, 2.5], atol=1e-9)
    np.testing.assert_allclose(room.corners()[0], turn @ [-0.08, -0.08, 0], atol=1e-9)
    full = Layout("full", (entry(1, "bed", [1.0, 1.0, 0.3], (2.0, 2.0, 0.6)),), np.zeros(3), np.array([2.0, 2, 2.5]))
    assert (fit_room(full).size[:2] > 2.9).all()


def joined() -> World:
    return scene_from_layouts(["living_room", "office", "studio", "office"])


def test_rooms_are_joined_through_doors_that_are_clear():
    flat = joined()
    check_home(flat)
    assert [t.id for t in flat.things] == list(range(1, 81))
    assert len(flat.rooms) == 4 and len(flat.doorways) == 3
    assert flat.floor_area_m2 == pytest.approx(sum(float(np.prod(r.size[:2])) for r in flat.rooms))
    for i, a in enumerate(flat.rooms):
        for b in flat.rooms[:i]:
            low_a, low_b = a.corners()[0, :2], b.corners()[0, :2]
            apart = (low_a + a.size[:2] <= low_b + 1e-9) | (low_b + b.size[:2] <= low_a + 1e-9)
            assert apart.any()
    for door in flat.doorways:
        spans = np.sort(np.ptp(door.corners()[:, :2], axis=0))
        assert spans[1] == pytest.approx(DOOR_WIDTH_M) and 0.05 < spans[0] < 0.2
        middle, out = door.corners()[:, :2].mean(axis=0), np.array([0.0, 1.0])
        if np.ptp(door.corners()[:, 1]) > np.ptp(door.corners()[:, 0]):
            out = out[::-1]
        taken = footprint_mask(obstacles(flat.things, 0.0, DOOR_HEIGHT_M), middle - 2, (80, 80), 0.05)
        for step in np.arange(-0.5, 0.51, 0.05):  # half a metre before and behind
            i, j = ((out * step + 2) / 0.05).astype(int)
            assert not taken[i, j]


def test_one_can_look_through_a_doorway():
    from s3d_ros.offline.simulate.render import Renderer
    from s3d_ros.types import Intrinsics

    flat = scene_from_layouts(["living_room", "studio"])
    middle = flat.doorways[0].corners().mean(axis=0)
    across = int(np.ptp(flat.doorways[0].corners(), axis=0)[:2].argmin())
    direction = np.zeros(3, np.float32)
    direction[across] = 1
    renderer = Renderer(flat, Intrinsics(8, 8, 8, 8, 3.5, 3.5))
    for height, is_open in ((0.3, True), (DOOR_HEIGHT_M - 0.05, True), (DOOR_HEIGHT_M + 0.05, False)):
        eye = middle - 0.3 * direction + [0, 0, height]
        reach, _ = renderer.cast(eye[None].astype(np.float32), direction[None])
        assert (reach[0] > 0.5) == is_open


def test_the_same_seed_makes_the_same_home_and_another_one_not():
    one, same, other = (scene_from_layouts(["office"], seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.things[3].mesh.color, same.things[3].mesh.color)
    assert any(not np.array_equal(a.mesh.color, b.mesh.color) for a, b in zip(one.things, other.things, strict=True))


def test_twins_cannot_be_told_apart_by_their_looks():
    def looks(twins: bool) -> set[bytes]:
        world = scene_from_layouts(["office"], twins=twins)
        return {np.unique(t.mesh.color, axis=0).tobytes() for t in world.things if t.label == "chair"}

    assert len(looks(True)) == 1 and len(looks(False)) > 1


GOOD = {"id": 1, "label": "chair", "center": [1, 1, 0.5], "size": [0.5, 0.5, 1], "axes": np.eye(3).tolist()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": [0.5, 0, 1]}, "size"),
        ({"size": [0.5, float("nan"), 1]}, "size"),
        ({"axes": [[1, 0, 0], [0, 1, 0], [1, 0, 0]]}, "right angles"),
        ({"axes": [[1, 0], [0, 1]]}, "axes"),
        ({"id": 0}, "id 0"),
        ({"id": 70000}, "65535"),
        ({"label": None, "center": "here"}, "layout"),
    ],
)
def test_a_broken_layout_is_named(tmp_path, change, words):
    data = {"room": {"min": [0, 0, 0], "max": [3, 3, 2.5]}, "objects": [{**GOOD, **change}]}
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))
    with pytest.raises(LayoutError, match=words):
        load_layout(path)


def test_other_things_that_are_no_layouts(tmp_path):
    with pytest.raises(LayoutError, match="living_room"):  # says which ones there are
        load_layout("castle")
    for text, words in (("{", "no JSON"), ('{"objects": []}', "'room' is missing"), ("[]", "no layout")):
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(LayoutError, match=words):
            load_layout(path)
    twice = {"room": {"min": [0, 0, 0], "max": [3, 3, 2.5]}, "objects": [GOOD, GOOD]}
    path.write_text(json.dumps(twice))
    with pytest.raises(LayoutError, match="more than one"):
        load_layout(path)
