"""What others make of the same instances: small sequences whose IDs are known by hand, and a run compared with all."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from synthetic import SMALL, BoxWorld, circle, look_at, room

from s3d_ros.lifting import lift
from s3d_ros.offline.evaluate import evaluate, show_evaluation
from s3d_ros.offline.mot import MeasureError
from s3d_ros.offline.replay import replay
from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.simulate.config import DetectorNoise
from s3d_ros.offline.truth import Truth
from s3d_ros.offline.worst import draw_worst
from s3d_ros.offline.yardsticks.bytetrack import ByteTrack
from s3d_ros.offline.yardsticks.conceptgraphs import ConceptGraphs
from s3d_ros.offline.yardsticks.lifted import LiftedMap, VoteGrid
from s3d_ros.offline.yardsticks.oracle import Oracle
from s3d_ros.types import F64, Bools, Frame, Instances

SECOND_NS = 1_000_000_000
UP = np.array([0.0, 0.0, 1.0])


def all_of(points: F64) -> Bools:
    return np.ones(len(points), bool)


def two_chairs() -> BoxWorld:
    return BoxWorld(room(chair1=((1.2, 1.8, 0), (1.6, 2.2, 0.8)), chair2=((2.4, 1.8, 0), (2.8, 2.2, 0.8))))


def flat(shape: tuple[int, int], *boxes: tuple[int, int, int, int], at: int, scores: tuple[float, ...] = ()):
    """A frame at a time (in 10ths of a second) of a wall, and instances that fill boxes: left, top, width, height."""
    image = np.zeros(shape, np.uint16)
    for n, (left, top, width, height) in enumerate(boxes, 1):
        image[top : top + height, left : left + width] = n
    numbers = tuple(range(1, len(boxes) + 1))
    stamp_ns = at * SECOND_NS // 10
    instances = Instances(stamp_ns, image, numbers, ("box",) * len(boxes), scores or (0.9,) * len(boxes))
    frame = Frame(at, stamp_ns, np.zeros((*shape, 3), np.uint8), np.full(shape, 2, np.float32), SMALL, np.eye(4))
    return lift(frame, image, 4), instances, frame


def ids_of(tracker: ByteTrack, *given) -> list[dict[int, int | None]]:
    return [tracker.observe(*g) for g in given]


SHAPE = (120, 160)


def test_bytetrack_follows_a_box_that_moves():
    frames = [flat(SHAPE, (5 * k, 30, 40, 40), (100, 80, 30, 30), at=k) for k in range(8)]
    assert ids_of(ByteTrack(), *frames) == [{1: 1, 2: 2}] * 8


def test_bytetrack_keeps_what_it_loses_for_less_than_a_second():
    there = [flat(SHAPE, (60, 30, 40, 40), at=k) for k in (0, 1, 2)]
    gone = [flat(SHAPE, at=k) for k in range(3, 30)]
    soon = ids_of(ByteTrack(), *there, *gone[:6], flat(SHAPE, (60, 30, 40, 40), at=9))
    assert soon[-1] == {1: 1}
    late = ids_of(
        ByteTrack(), *there, *gone[:12], flat(SHAPE, (60, 30, 40, 40), at=15), flat(SHAPE, (60, 30, 40, 40), at=16)
    )
    assert late[-2:] == [{1: None}, {1: 2}]  # a new one, and tentative at first


def test_bytetrack_uses_what_is_uncertain_for_what_it_knows_only():
    known = [flat(SHAPE, (60, 30, 40, 40), at=k) for k in range(3)]
    weak = flat(SHAPE, (60, 30, 40, 40), (5, 5, 30, 30), at=3, scores=(0.3, 0.3))
    assert ids_of(ByteTrack(), *known, weak)[-1] == {1: 1}


def test_conceptgraphs_knows_a_thing_from_all_around_by_its_shape():
    world, tracker = two_chairs(), ConceptGraphs()
    seen: dict[int, set[int | None]] = {1: set(), 2: set()}
    for k, T in enumerate(circle(60)):
        frame, instances = world.frame(T, k)
        ids = tracker.observe(lift(frame, instances.image, 1), instances, frame)
        for number in ids:
            seen[number].add(tracker.merged.get(ids[number], ids[number]))
    assert len(seen[1]) == len(seen[2]) == 1 and seen[1] != seen[2]


def test_conceptgraphs_needs_overlap_and_meaning():
    """The same surface under another label is another object only where too little of it overlaps: 1.1 in sum."""
    world = two_chairs()
    frame, instances = world.frame(look_at((2, 0.3, 1.4), (2, 2, 0.4)), 0)
    other = Instances(0, instances.image, instances.numbers, ("lamp", "lamp"), instances.scores)
    points = lift(frame, instances.image, 1)
    tracker = ConceptGraphs()
    first = tracker.observe(points, instances, frame)
    assert tracker.observe(points, other, frame) == first  # 1 + 1/2
    far = lift(
        Frame(1, 1, frame.color, frame.depth_m, frame.intrinsics, frame.T_map_camera @ shifted(0.5)), instances.image, 1
    )
    assert not set(tracker.observe(far, instances, frame).values()) & set(first.values())  # 0 + 1


def shifted(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


def test_the_oracle(tmp_path: Path):
    true = np.zeros(SHAPE, np.uint16)
    true[:, :60], true[:, 60:100] = 5, 7
    (tmp_path / "truth" / "instances").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "truth" / "instances" / "000003.png"), true)
    oracle = Oracle(Truth(tmp_path / "truth.json", 1.0, ()))
    given = flat(SHAPE, (0, 0, 30, 120), (30, 0, 60, 120), (95, 0, 60, 120), at=3)
    assert oracle.observe(*given) == {
        1: 5,
        2: 5,
        3: None,
    }  # half of the second is 5, half 7; of the third most is nothing
    assert oracle.observe(*flat(SHAPE, (0, 0, 30, 120), at=4)) == {}  # of this frame nothing is known


def test_voxels_belong_to_whoever_claims_them_most():
    grid = VoteGrid(0.1)
    here, there = np.array([[0.05, 0.05, 0.05]], np.float32), np.array([[9.0, 9.0, 9.0]], np.float32)
    grid.claim(here, np.array([4], np.int32))
    grid.claim(there, np.array([0], np.int32))
    assert grid.find(here)[0] >= 0 and grid.find(there)[0] == -1
    for ids, owner in (([5], 4), ([5], 5), ([0], 5), ([0], 0), ([5], 0), ([5], 5)):
        grid.claim(here, np.array(ids, np.int32))
        assert grid.owner[grid.find(here)[0]] == owner
    both = np.concatenate([here, here, here])
    grid = VoteGrid(0.1)
    grid.claim(both, np.array([2, 3, 3], np.int32))
    assert grid.owner[grid.find(here)[0]] == 3


def test_a_lifted_map_has_boxes_labels_and_aliases():
    world, lifted = two_chairs(), LiftedMap()
    for k, T in enumerate(circle(24)):
        frame, instances = world.frame(T, k)
        ids = {1: 10, 2: 20 if k < 12 else 21}
        lifted.add(lift(frame, instances.image, 1), instances, {n: ids[n] for n in instances.numbers}, {}, all_of)
    merged = {21: 20}
    first, second = lifted.objects(UP, merged, 3, all_of)
    assert (first.id, second.id, second.aliases, first.label) == (10, 20, (21,), "chair")
    assert first.box.center == pytest.approx([1.4, 2.0, 0.4], abs=0.03)
    assert second.box.size == pytest.approx([0.4, 0.4, 0.8], abs=0.06)
    points, ids_there = lifted.surface({20}, merged)
    assert set(ids_there.tolist()) == {0, 20} and len(points) == len(ids_there)
    assert set(lifted.ids_at(points, merged).tolist()) == {10, 20}


@pytest.fixture(scope="module")
def noisy_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bag = tmp_path_factory.mktemp("noisy") / "bag"
    options = SimulateConfig(width=160, height=120, fps=5, max_duration_s=8, detector=DetectorNoise(ragged_px=1.0))
    simulate([Path("studio")], bag, seed=3, noise="all", options=options)
    return bag


def test_a_run_beside_the_yardsticks(noisy_bag: Path, tmp_path: Path):
    run = tmp_path / "run"
    replay(noisy_bag, run, rendered=True)
    result = evaluate(run, noisy_bag, yardsticks=noisy_bag)
    assert set(result["yardsticks"]) == {"oracle", "conceptgraphs", "bytetrack"}
    oracle = result["yardsticks"]["oracle"]
    for way in ("raw", "resolved"):
        assert oracle["identity"]["given"][way]["idf1"] == 1
        assert oracle["identity"]["given"][way]["switches"] == 0
    asked = {r["identity"]["given"]["raw"]["true"] for r in (result, *result["yardsticks"].values())}
    assert len(asked) == 1  # the same instances for all
    for r in (result, *result["yardsticks"].values()):
        assert 0 <= r["identity"]["rendered"]["raw"]["idf1"] <= 1
        assert 0 <= r["points"]["agnostic"]["ap25"] <= 1 and r["points"]["points"] > 500
        assert r["calibration"]["count"] > 0
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=120, file=(tmp_path / "out.txt").open("w"))
    show_evaluation(result, console)
    text = console.export_text()
    assert "ByteTrack" in text and "map in every frame: IDF1" in text
    pictures = draw_worst(run, noisy_bag, result)
    assert pictures and all(cv2.imread(str(p)) is not None for p in pictures)

    replay(noisy_bag, run)  # what the older run left must not be taken for this one's
    again = evaluate(run, noisy_bag)
    assert again["identity"]["rendered"] is None and again["yardsticks"] is None
    assert again["identity"]["given"]["raw"]["true"] <= asked.pop()


def test_yardsticks_need_instances(noisy_bag: Path, tmp_path: Path):
    run = tmp_path / "run"
    replay(noisy_bag, run)
    bare = tmp_path / "bare"
    (bare / "truth").mkdir(parents=True)
    (bare / "truth.json").write_text((noisy_bag / "truth.json").read_text())
    with pytest.raises(MeasureError, match="no true instance images"):
        evaluate(run, bare, yardsticks=noisy_bag)
