"""Who is near is asked of arrays: it must be who would be found by asking everybody."""

import numpy as np
import pytest
from synthetic import FULL, look_at

from s3d_ros.config import Config
from s3d_ros.evidence import VIEWS
from s3d_ros.geometry import invert, level_rotation
from s3d_ros.objects import ObjectMap
from s3d_ros.places import Places
from s3d_ros.rematch import project
from s3d_ros.tracks import Tracks
from s3d_ros.types import Frame, OrientedBox


@pytest.fixture(scope="module")
def boxes() -> dict[int, OrientedBox]:
    """Five hundred boxes by slot, in a cube of 40 m; every third was put elsewhere before, some are no more."""
    rng = np.random.default_rng(3)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(500)]
    return {
        slot: OrientedBox(rng.uniform(-20, 20, 3), rng.uniform(0.05, 2, 3), turn)
        for slot, turn in enumerate(turns, start=1)
        if slot % 7
    }


@pytest.fixture(scope="module")
def places(boxes) -> Places:
    made = Places()
    for slot in range(1, 501):
        made.put(slot, OrientedBox(np.zeros(3), np.ones(3), np.eye(3)))
    for slot in range(7, 501, 7):
        made.forget(slot)
    made.forget(7)  # nothing is there
    for slot, box in boxes.items():
        made.put(slot, box)
    assert len(made) == len(boxes)
    return made


def test_near_is_whose_ball_is_near(boxes, places):
    point = np.array([3.0, -2.0, 5.0])
    near = [s for s, b in boxes.items() if np.linalg.norm(b.center - point) < 4.1 + np.linalg.norm(b.size) / 2]
    assert places.near(point, 4.0) == near and 3 < len(near) < 60


def test_behind_a_rectangle_is_every_box_that_shows_in_it(boxes, places):
    T = look_at((0.0, 0.0, 0.0), (1.0, 0.3, 0.1))
    frame = Frame(0, 0, np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.float32), FULL, T)
    x, y, width, height = 50, 100, 400, 300
    shows = []
    for slot, box in boxes.items():
        u, v, _ = project(box.corners().astype(np.float32), frame)
        if ((u >= x) & (u < x + width) & (v >= y) & (v < y + height)).any():
            shows.append(slot)
    found = places.behind(invert(T), FULL, [(x, y, width, height)], 0.0)
    assert len(shows) > 3 and set(shows) <= set(found) and len(found) < 3 * len(shows) + 10
    assert places.behind(invert(T), FULL, [], 0.0) == []
    twice = places.behind(invert(T), FULL, [(x, y, 200, height), (x + 200, y, 200, height)], 0.0)
    assert set(shows) <= set(twice)


def test_in_view_is_everything_that_shows_and_is_not_too_far(boxes, places):
    T = look_at((0.0, 0.0, 0.0), (1.0, 0.3, 0.1))
    frame = Frame(0, 0, np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.float32), FULL, T)
    found = places.in_view(invert(T), FULL, 8.0)
    for slot, box in boxes.items():
        u, v, z = project(box.corners().astype(np.float32), frame)
        if ((u >= 0) & (u < 640) & (v >= 0) & (v < 480) & (z < 8.0)).any():
            assert slot in found
        if z.min() > 8.0 + 3.5 or z.max() < -3.5:
            assert slot not in found


def test_along_a_bearing_is_what_is_far_and_as_large_as_the_mask(boxes, places):
    camera, slot = np.array([1.0, 2.0, 3.0]), 100
    to = boxes[slot].center - camera
    long, middle = np.sort(boxes[slot].size)[:0:-1]
    radius = np.sqrt(long * middle / np.pi) / np.linalg.norm(to)
    direction = to / np.linalg.norm(to)

    def found(radius: float, least_m: float = 4.0) -> list[int]:
        return places.along(camera, direction[None], np.array([radius]), least_m, 2.5, 0.75, 0.05)

    assert slot in found(radius) and slot in found(2.4 * radius)
    assert slot not in found(2.6 * radius)
    assert slot not in found(radius, least_m=float(np.linalg.norm(to)) + 0.01)


def test_what_has_no_id_and_whose_box_is_old_is_known_without_asking_all():
    tracks = Tracks(0.03)
    a, b, c = (tracks.new(0) for _ in range(3))
    tracks.confirm(a)
    assert tracks.unsure() == [b, c] and tracks.with_old_box() == [a, b, c]
    for track in (a, b, c):
        track.box_is_old = False
    tracks.hide(a)
    c.box_is_old = True
    assert tracks.unsure() == [a, b, c] and tracks.with_old_box() == [c]
    tracks.drop(c)
    assert tracks.unsure() == [a, b] and tracks.with_old_box() == []


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.6, 0.8, 0.0)])
def test_a_thing_is_seen_from_all_sides_round_about_whatever_is_up(up):
    R = level_rotation(up)
    angles = np.deg2rad(np.arange(15, 360, 360 / VIEWS))
    cameras = np.stack([3 * np.cos(angles), 3 * np.sin(angles), np.full(VIEWS, 0.7)], axis=1) @ R
    objects = ObjectMap(Config().objects, np.array([0.0, 0.0, 1.0]))
    track = objects.tracks.new(0)
    track.box = OrientedBox(np.zeros(3), np.ones(3), np.eye(3))
    objects.set_up(np.array(up))
    again = ObjectMap(Config().objects, np.array(up))
    again.restore(objects.state())
    for one in (*objects.tracks, *again.tracks, Tracks(0.03, up).new(0)):
        one.box = track.box
        assert len({one.view_from(camera) for camera in cameras}) == VIEWS


def test_two_parts_that_become_one_in_the_last_step_have_one_box():
    objects = ObjectMap(Config().objects, np.array([0.0, 0.0, 1.0]))
    v, u = (m.ravel().astype(np.float32) * 0.01 + 0.005 for m in np.mgrid[0:30, 0:100])
    plate = np.stack([u, v, np.zeros_like(u)], axis=1)  # 1 m wide
    parts = [objects.tracks.new(0) for _ in range(2)]
    for track, mine in zip(parts, (u < 0.51, u >= 0.51), strict=True):
        track.label = "table"
        voxels, _ = objects.tracks.voxels.claim(plate[mine], np.full(mine.sum(), track.slot, np.int32))
        track.add_voxels(voxels)
        objects.tracks.confirm(track)
    objects.refresh(5_000_000_000, everything=True)
    (table,) = objects.snapshot()
    assert table.id == 1 and table.aliases == (2,)
    assert table.box.size.max() == pytest.approx(1.0, abs=0.05)
