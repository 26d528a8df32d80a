"""A run against the truth, with figures known by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from rich.console import Console

from s3d_ros.offline.evaluate import evaluate, show_evaluation
from s3d_ros.offline.run import RunError
from s3d_ros.offline.truth import TruthError

SHAPE = (48, 64)


def cube(x: float, size: float = 1.0) -> dict[str, Any]:
    return {"center": [x, 0, size / 2], "size": [size] * 3, "axes": np.eye(3).tolist()}


def true_thing(number: int, label: str, x: float, pixels: int = 5000) -> dict[str, Any]:
    return {"id": number, "label": label, **cube(x), "pixels_seen": pixels, "frames_seen": 9, "first_seen_s": 0.0}


def map_thing(number: int, label: str, x: float, size: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "aliases": [],
        "label": label,
        "label_scores": {label: 1.0},
        **cube(x, size),
        "confidence": 0.9,
        "observations": 5,
        "first_seen_s": 0.0,
        "last_seen_s": 1.0,
        **more,
    }


def region(columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, columns] = 1
    return mask


def instance(number: int | None, mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"id": number, "bbox": coco_mask.toBbox(rle).tolist(), "mask": {**rle, "counts": rle["counts"].decode()}}


def write(
    folder: Path,
    true: list[dict[str, Any]],
    mapped: list[dict[str, Any]],
    frames: list[tuple[np.ndarray, list[dict[str, Any]]]],
    **more: Any,
) -> tuple[Path, Path]:
    """Write a run and a truth; frames are pairs of the true instance image and the run's instances."""
    run, bag = folder / "run", folder / "bag"
    (bag / "truth" / "instances").mkdir(parents=True)
    run.mkdir()
    room = {"min": [0, 0, 0], "max": [1, 1, 1], "floor_area_m2": 20.0}
    (bag / "truth.json").write_text(json.dumps({"room": room, "objects": true}))
    scene = {"frame_id": "map", "up": [0, 0, 1], "map_version": 3, "room": {"floor_area_m2": 18.0}, "objects": mapped}
    (run / "objects.json").write_text(json.dumps(scene | more))
    lines = []
    for k, (image, instances) in enumerate(frames):
        cv2.imwrite(str(bag / "truth" / "instances" / f"{k:06d}.png"), image.astype(np.uint16))
        lines.append(json.dumps({"stamp_ns": k * 100, "frame": k, "instances": instances}))
    (run / "tracks.jsonl").write_text("".join(line + "\n" for line in lines))
    return run, bag / "truth.json"


# Five things in a row, 8 columns each from column 0 on; the fifth was hardly seen.
TRUE = [true_thing(k, n, 3.0 * k) for k, n in enumerate(("bed", "tv", "sofa", "table"), 1)]
TRUE.append(true_thing(5, "cup", 15.0, pixels=1500))
TRUE_IMAGE = sum(k * region(slice(8 * k - 8, 8 * k)).astype(int) for k in range(1, 6))


def columns_of(k: int) -> slice:
    return slice(8 * k - 8, 8 * k)


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Path, Path]:
    """The bed is found, the tv found twice, the sofa missed, the table found with a wrong label and box."""
    mapped = [
        map_thing(11, "bed", 3.0),
        map_thing(12, "tv", 6.0),
        map_thing(13, "monitor", 6.0, 0.5),  # IoU 1/8
        map_thing(14, "bench", 12.5),  # half a metre off: IoU 1/3
        map_thing(15, "cup", 15.0),  # stands for what was hardly seen
        map_thing(16, "ghost", 30.0),
        map_thing(17, "blob", 9.0),  # spread over three things: stands for none
    ]
    first = [
        instance(11, region(columns_of(1))),
        instance(12, region(columns_of(2))),
        instance(None, region(columns_of(3))),
        instance(14, region(columns_of(4))),
        instance(15, region(columns_of(5))),
        instance(16, region(slice(40, 48))),
    ]
    second = [
        instance(13, region(slice(8, 13))),
        instance(17, region(slice(13, 30))),
    ]
    return write(tmp_path, TRUE, mapped, [(TRUE_IMAGE, first), (TRUE_IMAGE, second)])


def test_what_stands_for_what(mixed: tuple[Path, Path]):
    result = evaluate(*mixed)
    assert result["matched_by"] == "masks"
    assert {r["id"]: r["map_ids"] for r in result["per_object"]} == {1: [11], 2: [12, 13], 3: [], 4: [14]}
    assert [g["id"] for g in result["ghost_objects"]] == [16, 17]


def test_figures(mixed: tuple[Path, Path]):
    o = evaluate(*mixed)["objects"]
    assert (o["truth"], o["well_seen"], o["map"]) == (5, 4, 7)
    assert (o["once"], o["duplicated"], o["missed"], o["surplus"], o["ghosts"]) == (2, 1, 1, 1, 2)
    assert o["once_share"] == 0.5
    assert (o["iou25"], o["iou50"]) == (3, 2)
    assert o["mean_iou"] == pytest.approx((1 + 1 + 0 + 1 / 3) / 4, abs=1e-3)
    assert (o["labelled_right"], o["found"], o["label_share"]) == (2, 3, 0.6667)
    assert o["center_error_m"] == 0 and o["size_error_m"] == 0


def test_class_agnostic_figures(mixed: tuple[Path, Path]):
    result = evaluate(*mixed)
    boxes = result["boxes"]["iou50"]
    # The cup is left out on both sides. Of six map boxes those of bed, tv and blob (at the sofa's place) fit.
    assert (boxes["truth_count"], boxes["predicted_count"]) == (4, 6)
    assert boxes["precision"] == 0.5 and boxes["recall"] == 0.75 and boxes["f1"] == 0.6
    assert result["boxes"]["iou25"]["recall"] == 1
    # The bed's pixels are right in one of the two frames: 1/2. The tv's: 1/2 as well; the table's: 1/2.
    assert result["tubes"]["iou50"]["recall"] == 0.75
    # Frame 1: five of five, one too many. Frame 2: 5 of 8 columns of the tv, 8 of 17 of the blob on the sofa.
    assert result["frames"]["truth_count"] == 10 and result["frames"]["predicted_count"] == 8
    assert result["frames"]["recall"] == 0.6


def test_the_room(mixed: tuple[Path, Path]):
    assert evaluate(*mixed)["room"] == {"floor_area_m2": 18.0, "truth_m2": 20.0, "error_share": 0.1}


def test_an_object_in_the_wrong_place_stands_for_nothing(tmp_path: Path):
    run, truth = write(
        tmp_path, TRUE[:1], [map_thing(1, "bed", 8.0)], [(TRUE_IMAGE, [instance(1, region(columns_of(1)))])]
    )
    o = evaluate(run, truth)["objects"]
    assert (o["once"], o["missed"], o["ghosts"]) == (0, 1, 1)


def test_masks_tell_apart_what_boxes_confuse(tmp_path: Path):
    """Two boxes that are swapped in the map: by pixels each is known for what it is."""
    near = [true_thing(1, "bed", 0.0), true_thing(2, "tv", 0.4)]
    mapped = [map_thing(1, "tv", 0.0), map_thing(2, "bed", 0.4)]
    tracks = [instance(1, region(columns_of(2))), instance(2, region(columns_of(1)))]
    result = evaluate(*write(tmp_path, near, mapped, [(TRUE_IMAGE, tracks)]))
    assert {r["id"]: r["map_ids"] for r in result["per_object"]} == {1: [2], 2: [1]}
    assert result["objects"]["label_share"] == 1
    assert result["objects"]["mean_iou"] == pytest.approx(0.6 / 1.4, abs=1e-3)


def test_merged_ids_count_for_the_survivor(tmp_path: Path):
    frames = [(TRUE_IMAGE, [instance(1, region(columns_of(1)))]), (TRUE_IMAGE, [instance(2, region(columns_of(1)))])]
    mapped = [map_thing(1, "bed", 3.0, aliases=[2])]
    result = evaluate(*write(tmp_path, TRUE[:1], mapped, frames))
    assert result["objects"]["once"] == 1
    assert result["tubes"]["iou50"]["recall"] == 1  # all the bed's pixels, in both frames


def test_ids_that_are_gone_do_not_count(tmp_path: Path):
    frames = [(TRUE_IMAGE, [instance(7, region(columns_of(1)))])]
    o = evaluate(*write(tmp_path, TRUE[:1], [], frames))["objects"]
    assert (o["once"], o["missed"], o["ghosts"], o["iou50"]) == (0, 1, 0, 0)


def test_boxes_decide_where_there_are_no_instance_images(mixed: tuple[Path, Path]):
    run, truth = mixed
    for image in (truth.parent / "truth" / "instances").iterdir():
        image.unlink()
    result = evaluate(run, truth)
    assert result["matched_by"] == "boxes" and result["tubes"] is None
    assert {r["id"]: r["map_ids"] for r in result["per_object"]} == {1: [11], 2: [12, 13], 3: [17], 4: [14]}
    assert [g["id"] for g in result["ghost_objects"]] == [16]


def test_an_empty_map_and_an_empty_place(tmp_path: Path):
    result = evaluate(*write(tmp_path / "a", TRUE, [], []))
    assert result["objects"]["missed"] == 4 and result["objects"]["mean_iou"] == 0
    result = evaluate(*write(tmp_path / "b", [], [map_thing(1, "bed", 0)], []))
    assert result["objects"]["once_share"] is None and result["objects"]["ghosts"] == 1
    result = evaluate(*write(tmp_path / "c", [], [], [], room={"floor_area_m2": None}))
    assert result["room"]["error_share"] is None
    show_evaluation(result, Console(quiet=True))


def test_answers_are_scored_with_the_key(mixed: tuple[Path, Path], tmp_path: Path):
    run, truth = mixed
    (tmp_path / "key.json").write_text(
        json.dumps([{"id": "1", "type": "object_counting", "answer": "4", "value": 4, "choice": "", "wording": "open"}])
    )
    (run / "answers.json").write_text(json.dumps([{"id": "1", "value": 3, "choice": "", "answer": "3"}]))
    result = evaluate(run, truth, tmp_path / "key.json")
    assert result["questions"]["mean"] == 50
    console = Console(record=True, width=100, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    show_evaluation(result, console)
    text = console.export_text()
    assert "2 of 4  (50.0 %)" in text and "object_counting" in text and "18.0 m2, really 20.0 m2" in text
    assert json.loads(json.dumps(result)) == result  # nothing in it that JSON can't say


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ('{"frame": 0}', "line 1"),
        (json.dumps({"frame": 0, "instances": [instance(1, np.ones((4, 4), np.uint8))]}), "frame 0"),
    ],
)
def test_damaged_tracks(mixed: tuple[Path, Path], line: str, message: str):
    run, truth = mixed
    (run / "tracks.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=message):
        evaluate(run, truth)


def test_what_is_no_run_and_no_truth(mixed: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(TruthError, match="no-truth"):
        evaluate(mixed[0], tmp_path / "no-truth.json")
    with pytest.raises(RunError, match="no run"):
        evaluate(tmp_path, mixed[1])
