"""Point masks by ScanNet's definition, labels' calibration, and the true surface, with figures known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3d_ros.offline.calibration import calibration
from s3d_ros.offline.points import ids_on
from s3d_ros.offline.run import RunError, write_ply
from s3d_ros.offline.scannet_ap import THRESHOLDS, PointMasks, point_ap
from s3d_ros.offline.simulate.truth_surface import TruthSurface
from s3d_ros.types import Intrinsics


def masks(both, predicted, true, scores, counts=None, predicted_labels=None, true_labels=None) -> PointMasks:
    return PointMasks(
        np.array(both).reshape(len(predicted), len(true)), np.array(predicted), np.array(true),
        np.ones(len(true), bool) if counts is None else np.array(counts), np.array(scores, float),
        predicted_labels or [""] * len(predicted), true_labels or [""] * len(true),
    )  # fmt: skip


def test_thresholds_are_those_of_the_benchmark():
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def test_all_found_and_nothing_else():
    got = point_ap(masks(np.diag([100, 50]), [100, 50], [100, 50], [0.9, 0.8]))
    assert (got["ap"], got["ap50"], got["ap25"]) == (1, 1, 1)


def test_an_iou_counts_only_above_the_threshold():
    """IoU 80 / 120 = 2/3: found at 0.5, 0.55, 0.6 and 0.65 of nine."""
    got = point_ap(masks([80], [100], [100], [0.9]))
    assert (got["ap50"], got["ap25"]) == (1, 1) and got["ap"] == pytest.approx(4 / 9, abs=1e-4)
    assert point_ap(masks([50], [50], [100], [0.9]))["ap50"] == 0  # 0.5 is not above 0.5


def test_a_wrong_one_that_is_surer_costs_more():
    """One right, one on nothing, one missed. Precision over recall: (1/2, 1/2), and (1, 1/2) if the right one is surer.

    The curve ends at (1, 0); its steps are half those to both neighbours.
    """
    both, predicted, true = [[100, 0], [0, 0]], [100, 30], [100, 100]
    surer = point_ap(masks(both, predicted, true, [0.9, 0.5]))["ap50"]
    assert surer == pytest.approx(0.5 * 0 + 1 * 0.25 + 1 * 0.25)
    unsure = point_ap(masks(both, predicted, true, [0.5, 0.9]))["ap50"]
    assert unsure == pytest.approx(0.5 * 0.25 + 0 * 0.25 + 1 * 0)


def test_of_two_that_fit_one_object_the_surer_counts():
    """At 0.25 both halves fit: the second one is wrong, but comes last."""
    got = point_ap(masks([50, 50], [50, 50], [100], [0.9, 0.4]))
    assert got["ap25"] == 1 and got["ap50"] == 0


def test_what_lies_on_ignored_objects_is_not_wrong():
    both, predicted, true = [[100, 0], [0, 40]], [100, 40], [100, 60]
    ignored = masks(both, predicted, true, [0.5, 0.9], counts=[True, False])
    assert point_ap(ignored)["ap50"] == 1
    assert point_ap(masks([[100, 0], [0, 10]], predicted, true, [0.5, 0.9], counts=[True, False]))["ap50"] < 1


def test_classes():
    """The chair is called a stool: the class chair has no prediction, the class stool none that is true."""
    both = np.diag([100, 100])
    m = masks(both, [100, 100], [100, 100], [0.9, 0.8], None, ["bed", "stool"], ["bed", "chair"])
    got = point_ap(m)
    assert set(got["classes"]) == {"bed", "chair"}
    assert got["classes"]["bed"]["ap"] == 1 and got["classes"]["chair"]["ap"] == 0 and got["ap"] == 0.5
    assert point_ap(m.agnostic())["ap"] == 1
    assert point_ap(masks([[]], [5], [], [1.0]))["ap"] is None


def test_calibration():
    """Ten at 0.95, nine right: a gap of 0.05. Ten at 0.55, three right: 0.25. Half each: 0.15."""
    said = [(0.95, k < 9) for k in range(10)] + [(0.55, k < 3) for k in range(10)]
    got = calibration(said)
    assert got["ece"] == pytest.approx(0.15)
    assert [(r["from"], r["count"], r["right"]) for r in got["table"]] == [(0.5, 10, 0.3), (0.9, 10, 0.9)]
    assert calibration([(1.0, True)])["table"][0]["to"] == 1.0
    assert calibration([])["ece"] is None


def test_points_belong_to_the_owner_of_the_nearest(tmp_path: Path):
    cloud = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    write_ply(tmp_path / "cloud.ply", cloud, np.zeros((2, 3), np.uint8))
    points = np.array([[0.02, 0, 0], [0.97, 0, 0], [0.5, 0, 0]], np.float32)
    assert ids_on(points, tmp_path) is None
    np.save(tmp_path / "cloud_ids.npy", np.array([7, 0], np.int32))
    assert ids_on(points, tmp_path).tolist() == [7, 0, 0]
    np.save(tmp_path / "cloud_ids.npy", np.array([7], np.int32))
    with pytest.raises(RunError, match="tells of 1 points"):
        ids_on(points, tmp_path)


def test_the_true_surface(tmp_path: Path):
    """A wall 2 m ahead, its right half an object; what is beyond 5 m is not seen; what was taken away is forgotten."""
    k = Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
    depth, things = np.full((48, 64), 2.0, np.float32), np.zeros((48, 64), np.uint16)
    things[:, 32:], depth[:8] = 5, 6.0
    surface = TruthSurface(k)
    T = np.eye(4)
    T[:3, 3] = 10, 0, 0
    surface.add(0, depth, things, T)
    surface.add(100_000_000, depth * 0.5, things, T)  # too early to be looked at
    surface.write(tmp_path / "truth" / "surface.npz")
    with np.load(tmp_path / "truth" / "surface.npz") as data:
        points, ids = data["points"], data["ids"]
    assert len(points) and points[:, 2] == pytest.approx(2.0)
    assert (points[ids == 5, 0] > 10).all() and (points[ids == 0, 0] < 10).all()
    assert points[:, 1].min() == pytest.approx((8 - 23.5) / 30, abs=0.04)
    surface.forget(5)
    surface.write(tmp_path / "surface.npz")
    with np.load(tmp_path / "surface.npz") as data:
        assert set(data["ids"].tolist()) == {0}
