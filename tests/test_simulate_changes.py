"""Two visits with changes between them, and somebody who walks by: what happened is in the truth, seed for seed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from s3d_ros.geometry import box_iou, inside_box
from s3d_ros.offline.simulate import Move, Remove, SimulateConfig, simulate
from s3d_ros.offline.simulate.changes import change_of, draw_changes, is_movable, second_visit
from s3d_ros.offline.simulate.frames import START_NS, iter_frames
from s3d_ros.offline.simulate.people import PERSON, walks
from s3d_ros.offline.simulate.small import make_box_room
from s3d_ros.offline.simulate.trajectory import tour

OPTIONS = SimulateConfig(width=160, height=120, fps=5.0, changed_share=0.5, max_duration_s=15.0)
ROOM = make_box_room(
    (5.0, 4.0, 2.5),
    [
        ("table", (1.0, 1.0, 0.35), (1.2, 0.8, 0.7)),
        ("cup", (1.0, 1.0, 0.75), (0.08, 0.08, 0.1)),
        ("door", (4.98, 2.0, 1.0), (0.04, 0.9, 2.0)),
        ("stool", (3.0, 3.0, 0.25), (0.4, 0.4, 0.5)),
        ("crate", (4.0, 1.0, 0.2), (0.5, 0.4, 0.4)),
    ],
)


def test_what_carries_something_or_is_fixed_stays():
    assert [t.label for t in ROOM.things if is_movable(t, ROOM)] == ["cup", "stool", "crate"]


def test_half_is_moved_to_a_free_place_and_half_removed():
    events = draw_changes(ROOM, 1.0, 100.0, seed=3)
    kinds = [type(e) for e in events]
    assert len(events) == 3 and kinds.count(Move) == 2 and kinds.count(Remove) == 1
    assert events == draw_changes(ROOM, 1.0, 100.0, seed=3) != draw_changes(ROOM, 1.0, 100.0, seed=4)
    after = ROOM
    for event in events:
        after = after.after(event)
        if isinstance(event, Move):
            old, new = ROOM.thing(event.object_id), after.thing(event.object_id)
            assert np.hypot(*(new.box.center - old.box.center)[:2]) >= 0.6
            np.testing.assert_allclose(new.box.size, old.box.size)
            assert inside_box(new.mesh.vertices, new.box, 1e-6).all()  # the box turned with what is in it
            assert all(box_iou(new.box, t.box) == 0 for t in after.things if t.id != new.id)
    assert change_of(1, events) == "untouched"


def test_turning_a_thing_keeps_it_upright_and_in_place():
    crate = ROOM.thing(5)
    turned = crate.moved_by(np.zeros(3), 90.0)
    np.testing.assert_allclose(turned.box.center, crate.box.center)
    np.testing.assert_allclose(np.ptp(turned.box.corners(), axis=0), [0.4, 0.5, 0.4], atol=1e-9)


def test_nothing_is_recorded_between_the_visits():
    first = tour(ROOM, OPTIONS.tour, fps=5.0, seed=0, max_s=15.0)
    both, events = second_visit(ROOM, first, OPTIONS, 0)
    options = replace(OPTIONS, events=events)
    stamps = np.array([s.frame.stamp_ns for s in iter_frames(ROOM, both, options)])
    gaps = np.diff(stamps) / 1e9
    assert gaps[len(first) - 1] == pytest.approx(90.2) and np.delete(gaps, len(first) - 1).max() < 0.21
    assert all(stamps[len(first) - 1] < START_NS + e.at_s * 1e9 < stamps[len(first)] for e in events)


def test_somebody_walks_through_the_view_and_leaves():
    options = replace(OPTIONS, changed_share=0.0, people=1)
    trajectory = tour(ROOM, options.tour, fps=5.0, seed=0)
    (passer,) = walks(ROOM, trajectory, options, 0)
    assert passer.thing.id == 6
    steps = np.linalg.norm(np.diff(passer.xy, axis=0), axis=1) / np.diff(passer.times_s)
    np.testing.assert_allclose(steps, 0.9)
    shown = 0
    for sample in iter_frames(ROOM, trajectory, options):
        at_s = (sample.frame.stamp_ns - START_NS) / 1e9
        here = sample.truth == 6
        assert passer.there(at_s) or not here.any()
        if here.any():
            shown += 1
            v, u = (c.mean() for c in np.nonzero(here))
            z, k = float(np.median(sample.depth_m[here])), sample.frame.intrinsics
            point = sample.T_map_camera @ [(u - k.cx) / k.fx * z, (v - k.cy) / k.fy * z, z, 1]
            assert np.hypot(*(point[:2] - passer.pose(at_s)[:2, 3])) < 0.5
            if here.sum() >= options.min_instance_pixels:
                assert PERSON in sample.instances.labels
    assert shown >= 5


def test_the_truth_tells_what_happened(tmp_path):
    simulate(["studio"], tmp_path / "bag", seed=2, options=replace(OPTIONS, people=1, truth_images=False))
    data = json.loads((tmp_path / "bag" / "truth.json").read_text())
    changes = [o["change"] for o in data["objects"]]
    assert changes.count("removed") >= 1 and changes.count("moved") >= 1 and changes.count("untouched") >= 8
    for o in data["objects"]:
        assert ("was" in o) == (o["change"] == "moved")
        if "was" in o:
            assert np.linalg.norm(np.subtract(o["was"]["center"], o["center"])) > 0.5
    assert all(p["label"] == PERSON and len(p["way"]) > 5 for p in data["passers"])
    assert {p["id"] for p in data["passers"]}.isdisjoint(o["id"] for o in data["objects"])
    assert data["passers"]


def test_without_the_options_nothing_is_told(tmp_path):
    plain = replace(OPTIONS, changed_share=0.0, max_duration_s=1.0, truth_images=False)
    simulate(["studio"], tmp_path / "bag", seed=2, options=plain)
    data = json.loads((tmp_path / "bag" / "truth.json").read_text())
    assert "passers" not in data and not any("change" in o for o in data["objects"])


@pytest.mark.parametrize("name, value", [("changed_share", 1.5), ("changed_after_s", 5.0), ("people", -1)])
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        SimulateConfig(**{name: value})
