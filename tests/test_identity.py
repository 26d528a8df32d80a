"""Identity figures: those published for TUD-Campus, and tiny sequences whose figures are known by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from s3d_ros.lifting import lift
from s3d_ros.offline.identity import (
    Sight,
    changes,
    given_moments,
    identity,
    rendered_moments,
    sights,
    with_all_given,
)
from s3d_ros.offline.mot import Moment, combined, figures, track_counts
from s3d_ros.offline.overlaps import read_overlaps
from s3d_ros.offline.rendered import RENDERED, RenderedWriter
from s3d_ros.offline.truth import Truth
from s3d_ros.types import Frame, Intrinsics

CAMPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "mot" / "TUD-Campus"
SECOND_NS = 1_000_000_000


def boxes_of(path: Path) -> dict[int, np.ndarray]:
    """Return {frame: (N, 5) id, left, top, width, height}."""
    rows = np.loadtxt(path, delimiter=",")
    return {int(t): rows[rows[:, 0] == t][:, 1:6] for t in np.unique(rows[:, 0])}


def box_ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    return shared / (a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - shared)


@pytest.mark.skipif(not CAMPUS.is_dir(), reason=f"the tracking data TUD-Campus is not in {CAMPUS}")
def test_the_published_figures_of_tud_campus():
    true, said = boxes_of(CAMPUS / "gt.txt"), boxes_of(CAMPUS / "test.txt")
    none = np.zeros((0, 5))
    moments = [
        Moment(t * SECOND_NS // 25, a[:, 0].astype(int).tolist(), b[:, 0].astype(int).tolist(),
               box_ious(a[:, 1:], b[:, 1:]))
        for t in sorted({*true, *said}) for a, b in [(true.get(t, none), said.get(t, none))]
    ]  # fmt: skip
    counts = track_counts(moments)
    got = figures(counts)
    assert got["mota"] == pytest.approx(0.526462, abs=5e-5)
    assert (got["idf1"], got["idp"], got["idr"]) == pytest.approx((0.557659, 0.72973, 0.451253), abs=5e-5)
    assert got["switches"] == 7
    assert (counts["clear"]["CLR_FP"], counts["clear"]["CLR_FN"]) == (13, 150)
    assert 1 - counts["clear"]["MOTP"] == pytest.approx(0.277201, abs=1e-6)  # published as a distance


def scored(*frames: list[tuple[int, int | None]], survivors: dict[int, int] | None = None) -> dict[str, Any]:
    """Score frames a second apart, each the (true id, ID) of the given instances."""
    said = [Sight(k, k * SECOND_NS, tuple(f)) for k, f in enumerate(frames)]
    return figures(track_counts(given_moments(said, survivors or {})))


def test_two_objects_that_keep_their_ids():
    got = scored(*[[(1, 11), (2, 12)]] * 5)
    assert all(got[key] == 1 for key in ("idf1", "idp", "idr", "hota", "deta", "assa", "mota"))
    assert (got["switches"], got["fragmentations"], got["true"], got["said"], got["objects"]) == (0, 0, 10, 10, 2)


def test_an_id_that_changes():
    """Object 1 is 11 for 6 frames and 13 for 4; object 2 is 12 throughout."""
    got = scored(*[[(1, 11), (2, 12)]] * 6, *[[(1, 13), (2, 12)]] * 4)
    assert got["idf1"] == got["idp"] == got["idr"] == 0.8  # 16 of 20
    assert got["switches"] == 1 and got["mota"] == 0.95
    # All 20 are detected. A match's association: 6/10 for six, 4/10 for four, 1 for ten: (3.6 + 1.6 + 10) / 20
    assert got["deta"] == 1 and got["assa"] == 0.76
    assert got["hota"] == pytest.approx(0.76**0.5, abs=1e-4)
    # One switch, two objects, ten seconds: 10 frames a second apart
    assert got["switches_per_object_minute"] == pytest.approx(1 / (2 * 10 / 60), abs=1e-4)
    assert got["switches_per_object_minute_seen"] == got["switches_per_object_minute"]


def test_an_id_that_changed_is_the_same_where_it_became_an_alias():
    frames = *[[(1, 11)]] * 6, *[[(1, 13)]] * 4
    assert scored(*frames)["idf1"] == 0.6
    resolved = scored(*frames, survivors={13: 11})
    assert resolved["idf1"] == 1 and resolved["switches"] == 0


def test_a_missed_instance_is_no_lost_identity():
    got = scored([(1, 11)], [], [], [(1, 11)])
    assert got["idf1"] == 1 and got["true"] == 2 and got["switches"] == 0


def test_what_is_tentative_is_missed():
    got = scored([(1, None)], [(1, 11)], [(1, 11)], [(1, 11)])
    assert got["idr"] == 0.75 and got["idp"] == 1 and got["idf1"] == pytest.approx(6 / 7, abs=1e-4)


def test_pieces_with_one_id_are_one_and_with_two_ids_are_not():
    assert scored(*[[(1, 11), (1, 11)]] * 4)["idf1"] == 1
    got = scored(*[[(1, 11), (1, 12)]] * 4)
    assert got["idr"] == 1 and got["idp"] == 0.5 and got["said"] == 8


def test_one_id_for_two_objects_counts_once():
    got = scored(*[[(1, 11), (2, 11)]] * 4)
    assert got["idr"] == 0.5 and got["idp"] == 1


def test_sequences_together():
    parts = [
        track_counts(given_moments([Sight(0, 0, ((1, 11),)), Sight(1, SECOND_NS, ((1, i),))], {})) for i in (11, 12)
    ]
    whole = figures(combined(json.loads(json.dumps(parts))))
    assert whole["idf1"] == 0.75 and whole["switches"] == 1 and whole["objects"] == 2
    assert whole["hota"] == pytest.approx(0.75**0.5, abs=1e-4)  # associations: 1, 1, 1/2, 1/2


def test_nothing_at_all():
    assert figures(track_counts([]))["idf1"] is None
    assert scored([(1, None)])["idf1"] == 0


# --- which true object an instance is ---------------------------------------------------------------------------

SHAPE = (48, 64)
TRUE = np.zeros(SHAPE, np.uint16)
TRUE[:, 0:20], TRUE[:, 20:30] = 1, 2  # the rest is nothing


def masked(columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, columns] = 1
    return mask


def code(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def truth_in(folder: Path, images: list[np.ndarray]) -> Truth:
    (folder / "truth" / "instances").mkdir(parents=True)
    for k, image in enumerate(images):
        cv2.imwrite(str(folder / "truth" / "instances" / f"{k:06d}.png"), image)
    return Truth(folder / "truth.json", 1.0, ())


def seen(folder: Path, *frames: list[tuple[int | None, np.ndarray]]) -> list[Sight]:
    truth = truth_in(folder, [TRUE] * len(frames))
    lines = [
        {"stamp_ns": k, "frame": k, "instances": [{"id": i, "bbox": [], "mask": code(m)} for i, m in f]}
        for k, f in enumerate(frames)
    ]
    (folder / "tracks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return sights(read_overlaps(folder / "tracks.jsonl", truth))


def test_a_merged_mask_counts_for_its_largest_object(tmp_path: Path):
    assert seen(tmp_path, [(11, masked(slice(0, 30)))])[0].said == ((1, 11),)


def test_a_mask_on_nothing_and_a_tiny_one_count_nowhere(tmp_path: Path):
    tiny = np.zeros(SHAPE, np.uint8)
    tiny[0, :2] = 1
    assert seen(tmp_path, [(11, masked(slice(25, 60))), (12, tiny), (13, masked(slice(21, 29)))])[0].said == ((2, 13),)


def test_what_a_run_passes_over_was_given_all_the_same(tmp_path: Path):
    given = seen(tmp_path / "all", [(1, masked(slice(0, 20))), (2, masked(slice(20, 30)))], [(1, masked(slice(0, 20)))])
    mine = seen(tmp_path / "mine", [(11, masked(slice(0, 20)))])
    assert [s.said for s in with_all_given(mine, given)] == [((1, 11), (2, None)), ((1, None),)]


def test_where_ids_changed():
    said = [Sight(k, k, s) for k, s in enumerate([((1, 11),), (), ((1, None),), ((1, 12),), ((1, 12), (1, 11))])]
    assert changes(said, {}) == [(3, 1, 11, 12)]
    assert changes(said, {12: 11}) == []


# --- what the map shows in each frame ---------------------------------------------------------------------------

CAMERA = Intrinsics(*SHAPE[::-1], 60.0, 60.0, 31.5, 23.5)


def test_the_map_as_it_is_rendered(tmp_path: Path):
    """A wall 2 m away, of which columns have IDs; half of object 1 is not measured, and that half is not asked for."""
    depth = np.full(SHAPE, 2.0, np.float32)
    depth[:, 8:20] = 0
    frame = Frame(0, 7, np.zeros((*SHAPE, 3), np.uint8), depth, CAMERA, np.eye(4))
    writer = RenderedWriter(tmp_path, stride=4)
    for _ in range(2):
        columns = lift(frame, None, 4).pixels[:, 0]
        writer.frame(frame, lambda points, u=columns: np.where(u < 20, 11, np.where((u >= 40) & (u < 48), 12, 0)))
    writer.close()
    line = json.loads((tmp_path / RENDERED).read_text().splitlines()[0])
    assert [o["id"] for o in line["objects"]] == [11, 12] and line["stamp_ns"] == 7
    stride, start = line["stride"], line["start"]
    assert coco_mask.decode(line["seen"]).shape == TRUE[start::stride, start::stride].shape
    assert line["objects"][0]["bbox"][:2] == [start, start]

    moment = rendered_moments(tmp_path / RENDERED, truth_in(tmp_path, [TRUE]), {12: 13})[0][0]
    assert moment.true == [1, 2] and moment.said == [11, 13]
    assert moment.similarity.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    got = identity([], tmp_path / RENDERED, Truth(tmp_path / "truth.json", 1.0, ()), {})
    assert got["given"] is None and got["rendered"]["raw"]["idf1"] == 0.5  # of two each, one fits


def test_small_things_are_neither_to_be_drawn_nor_wrong(tmp_path: Path):
    """True object 2 has fewer than 300 pixels (of 640x480); so has what is drawn beside it."""
    true = np.zeros((480, 640), np.uint16)
    true[:, :200], true[:16, 300:316] = 1, 2
    drawn = np.where(true == 1, 11, np.where(true == 2, 12, 0))
    drawn[100:108, 400:408], drawn[200:300, 500:600] = 13, 14
    truth = truth_in(tmp_path, [true])
    line = {
        "frame": 0, "stamp_ns": 0, "stride": 1, "start": 0, "seen": code(np.ones((480, 640), np.uint8)),
        "objects": [{"id": i, "mask": code((drawn == i).astype(np.uint8))} for i in (11, 12, 13, 14)],
    }  # fmt: skip
    (tmp_path / RENDERED).write_text(json.dumps(line) + "\n")
    moment = rendered_moments(tmp_path / RENDERED, truth, {})[0][0]
    assert moment.true == [1] and moment.said == [11, 14]  # 14 is large, and on nothing
