"""How far away is what has no depth: by parallax and by size, with answers known by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3d_ros.bearings import by_place
from s3d_ros.sightline_depth import SightlineDepth
from s3d_ros.track import Track

RADIUS_M = 0.3
AT_ONCE_NS = 0
LATER_NS = 60_000_000_000


def sight(thing: np.ndarray, camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    to = thing - camera
    distance = float(np.linalg.norm(to))
    return camera, to / distance, RADIUS_M / distance


def walked(thing: np.ndarray, cameras: np.ndarray) -> SightlineDepth:
    found = SightlineDepth(*sight(thing, cameras[0]))
    for camera in cameras[1:]:
        found.see(*sight(thing, camera))
    return found


def along(axis: int, length_m: float, steps: int = 20) -> np.ndarray:
    cameras = np.zeros((steps + 1, 3))
    cameras[:, axis] = np.linspace(0, length_m, steps + 1)
    return cameras


def test_from_one_place_any_distance_will_do():
    thing = np.array([0.0, 7.0, 0.0])
    found = walked(thing, along(0, 0.0))
    assert found.cost_at(thing) < 0.1
    assert found.cost_at(np.array([0.0, 5.0, 0.0])) < 0.1 and found.cost_at(np.array([0.0, 15.0, 0.0])) < 0.1
    assert found.cost_at(np.array([2.0, 7.0, 0.0])) > 4.5  # 16 degrees aside


def test_three_metres_to_the_side_tell_seven_metres_from_eleven():
    thing = np.array([0.0, 7.0, 0.0])
    found = walked(thing, along(0, 3.0))
    assert found.cost_at(thing) < 1.0
    beyond = found.camera + (thing - found.camera) * 11 / 7
    assert found.cost_at(beyond) > 4.5
    assert found.off(np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), recent=False) < 0.02


def test_walking_towards_it_its_size_tells_how_far_it_is():
    found = walked(np.array([0.0, 8.0, 0.0]), along(1, 3.5))
    assert found.cost_at(np.array([0.0, 8.0, 0.0])) < 1.5
    assert found.cost_at(np.array([0.0, 18.0, 0.0])) > 2.5


def test_just_seen_it_is_where_it_was_seen_last_even_if_that_mask_was_bad():
    found = walked(np.array([0.0, 7.0, 0.0]), along(0, 1.0))
    camera, direction = np.array([1.0, 0.0, 0.0]), np.array([0.05, 0.99, 0.0]) / np.hypot(0.05, 0.99)
    found.see(camera, direction, 0.04)
    assert found.off(camera, direction, recent=True) == pytest.approx(0.0, abs=1e-6)
    assert found.off(camera, direction, recent=False) > 0.05


@settings(max_examples=30, deadline=None)
@given(st.floats(4.6, 16.0), st.floats(-0.5, 0.5), st.integers(0, 2**32 - 1))
def test_a_walk_round_finds_the_place_though_masks_wobble(distance: float, aside: float, seed: int):
    rng = np.random.default_rng(seed)
    thing = distance * np.array([np.sin(aside), np.cos(aside), 0.0])
    angle = np.linspace(0, 2 * np.pi, 40)
    cameras = 1.5 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    found = SightlineDepth(*sight(thing, cameras[0]))
    for camera in cameras[1:]:
        _, direction, radius = sight(thing, camera)
        direction = direction + rng.normal(0, 0.003, 3)
        found.see(camera, direction / np.linalg.norm(direction), radius * rng.uniform(0.9, 1.1))
    assert found.cost_at(thing) < 4.5
    assert found.cost_at(thing * 2) > 4.5 and found.cost_at(thing / 2) > 4.5


def test_what_was_remembered_goes_on_alike():
    thing = np.array([1.0, 9.0, 0.5])
    one = walked(thing, along(0, 1.0))
    other = SightlineDepth.restored(json.loads(json.dumps(one.state())))
    for found in (one, other):
        found.see(*sight(thing, np.array([2.0, 0.0, 0.0])))
    assert one.state() == other.state()
    old = SightlineDepth.restored([[0, 0, 0], [0, 1, 0], 0.05])
    assert old.cost_at(np.array([0.0, 9.0, 0.0])) < 0.1


def far_track(slot: int, thing: np.ndarray) -> Track:
    track = Track(slot, AT_ONCE_NS)
    track.bearing = walked(thing, along(0, 3.0))
    track._evidence = {"chair": None}  # type: ignore[dict-item]  # what it was called is all that is asked
    return track


def test_what_comes_near_is_known_by_its_place_not_by_its_direction_alone():
    """Two chairs in one direction from where the camera is at the end, 6 m and 10 m away; only one place is free."""
    end = np.array([3.0, 0.0, 0.0])
    near, far = end + np.array([0.0, 6.0, 0.0]), end + np.array([0.0, 10.0, 0.0])
    tracks = [far_track(1, near), far_track(2, far)]
    cloud = np.random.default_rng(0).normal(0, 0.05, (50, 3)).astype(np.float32)
    found = by_place({0: cloud + far.astype(np.float32)}, ["chair"], tracks, LATER_NS)
    assert found == {0: tracks[1]}
    found = by_place({3: cloud + near.astype(np.float32), 5: cloud + far.astype(np.float32)}, [""] * 3 + ["chair"] * 3,
                     tracks, LATER_NS)  # fmt: skip
    assert found == {3: tracks[0], 5: tracks[1]}
    between = (near + far).astype(np.float32) / 2
    assert by_place({0: cloud + between}, ["table"], tracks, LATER_NS) == {}
