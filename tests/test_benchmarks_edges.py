"""Answers that are missing, empty, doubled or strange: what each of them does to a score. See docs/benchmarks.md."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_data import DATA, score_small, values, write
from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.benchmarks.annotations import read_openeqa, read_scan2cap, read_scanqa, read_spatial, read_sqa3d
from s3d_ros.benchmarks.annotations_grounding import read_multi3drefer
from s3d_ros.benchmarks.bootstrap import BootstrapConfig, figures, mean_metric, mean_of_metrics
from s3d_ros.benchmarks.cleaning import clean, contained, exact, without_stop
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.grounding import matched_f1
from s3d_ros.benchmarks.predictions import match, read_predictions
from s3d_ros.benchmarks.scene_boxes import iou_matrix, read_box, read_boxes

SQA3D = [f"2206020090{i:02d}" for i in range(8)]


def sqa3d(tmp_path: Path, predictions: Any, **settings: Any) -> dict[str, Any]:
    return score_small("sqa3d", predictions=write(tmp_path / "p.json", predictions), **settings)


def test_missing_question_is_wrong_and_counted(tmp_path: Path):
    result = sqa3d(tmp_path, {SQA3D[0]: "printer", SQA3D[1]: "closed"})
    assert values(result)["EM"] == 25 and result["missing"]["count"] == 6 and result["unreadable"]["count"] == 0


def test_missing_questions_left_out_when_asked_to(tmp_path: Path):
    result = sqa3d(tmp_path, {SQA3D[0]: "printer", SQA3D[1]: "open"}, answered_only=True)
    assert values(result)["EM"] == 50 and (result["scored"], result["questions"]) == (2, 8) and result["answered_only"]


def test_empty_prediction_is_wrong_in_both(tmp_path: Path):
    result = sqa3d(tmp_path, {one: "  " for one in SQA3D})
    assert (values(result)["EM"], values(result)["EM-R"]) == (0, 0) and result["unreadable"]["count"] == 8


def test_of_doubled_ids_the_first_counts(tmp_path: Path):
    rows = [{"id": SQA3D[0], "answer": "printer"}, {"id": SQA3D[0], "answer": "sofa"}]
    rows += [{"id": SQA3D[1], "answer": "closed"}] * 2
    result = sqa3d(tmp_path, rows)
    assert values(result)["EM"] == 25
    assert result["doubled"]["ids"] == SQA3D[:2] and result["conflicting"]["ids"] == SQA3D[:1]


def test_doubled_keys_of_one_object_are_seen(tmp_path: Path):
    text = f'{{"{SQA3D[0]}": "printer", "{SQA3D[0]}": "sofa"}}'  # json alone would keep "sofa" and say nothing
    result = sqa3d(tmp_path, text)
    assert values(result)["EM"] == 12.5 and result["conflicting"]["count"] == 1


def test_unexpected_ids_are_left_out(tmp_path: Path):
    result = sqa3d(tmp_path, {SQA3D[0]: "printer", "scene0000_00|7": "sofa"})
    assert result["unexpected"]["ids"] == ["scene0000_00|7"] and values(result)["EM"] == 12.5


def test_predictions_of_another_benchmark_are_refused(tmp_path: Path):
    with pytest.raises(BenchmarkError, match=r"no prediction belongs to any question.*'x'.*'220602009000'"):
        sqa3d(tmp_path, {"x": "printer"})


def test_doubled_ids_of_annotations_are_refused(tmp_path: Path):
    rows = json.loads((DATA / "ScanQA_v1.0_val.json").read_text())
    with pytest.raises(BenchmarkError, match=r"'val-scene9001-0' is given twice"):
        read_scanqa(write(tmp_path / "a.json", [*rows, rows[0]]))


# --- grounding ----------------------------------------------------------------------------------------------------


def grounded(tmp_path: Path, name: str, answers: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return score_small(name, predictions=write(tmp_path / "p.json", answers), **settings)


CHAIR = "scene9001_00|0|0"  # object 0, whose proposal is 0


@pytest.mark.parametrize("answer", ["I can't find it.", "", "No.", "<OBJ777>.", {"objects": []}, {"boxes": []}])
def test_scanrefer_without_a_known_id_is_a_miss(tmp_path: Path, answer: Any):
    """The released code of GPT4Scene and Chat-Scene predicts object 0 then, which here would be right."""
    result = grounded(tmp_path, "scanrefer", {CHAIR: answer})
    assert values(result)["Acc@0.25"] == 0 and result["unreadable"]["ids"] == [CHAIR]


def test_scanrefer_takes_the_first_known_id_and_boxes_in_any_form(tmp_path: Path):
    result = grounded(tmp_path, "scanrefer", {CHAIR: "<OBJ777> or <OBJ000>, not <OBJ003>"})
    assert values(result)["Acc@0.5"] == 10 and result["unknown_ids"] == 1
    corners = read_box([0, 0, 0.5, 1, 1, 1]).corners().tolist()
    for answer in ({"object": 0}, {"box": [0, 0, 0.5, 1, 1, 1]}, {"bbox": corners}, {"objects": ["0"]}):
        assert values(grounded(tmp_path, "scanrefer", {CHAIR: answer}))["Acc@0.5"] == 10


def test_scene_without_proposals_makes_every_id_unknown(tmp_path: Path):
    proposals = write(tmp_path / "b.json", {"scene0000_00": {"0": [0, 0, 0, 1, 1, 1]}})
    result = grounded(tmp_path, "scanrefer", {CHAIR: "<OBJ000>"}, proposals=proposals)
    assert values(result)["Acc@0.25"] == 0 and result["unknown_ids"] == 1


def test_ids_without_proposals_are_refused(tmp_path: Path):
    with pytest.raises(BenchmarkError, match=r"names object 0 of scene9001_00.*--proposals"):
        grounded(tmp_path, "scanrefer", {CHAIR: "<OBJ000>"}, proposals=None)


TWO, ONE, NONE = "scene9001_00|0", "scene9001_00|2", "scene9001_00|3"


def test_repeated_ids_count_once(tmp_path: Path):
    result = grounded(tmp_path, "multi3drefer", {TWO: "<OBJ000> and <OBJ001> and <OBJ000>."}, answered_only=True)
    assert values(result)["F1@0.5"] == 100


@pytest.mark.parametrize(
    ("answer", "official", "gpt4scene"),
    [
        ("No.", 100, 100),
        ("There is no such chair.", 100, 100),
        ({"objects": []}, 100, 100),
        ({"boxes": []}, 100, 100),
        ("Yes. <OBJ001>.", 0, 0),
        ("I am not sure", 0, 100),  # says neither
        ("", 0, 100),
        ("<OBJ777>", 0, 100),  # names something, but nothing that is there
    ],
)
def test_zero_targets(tmp_path: Path, answer: Any, official: float, gpt4scene: float):
    for preset, expected in (("official", official), ("gpt4scene", gpt4scene)):
        result = grounded(tmp_path, "multi3drefer", {NONE: answer}, answered_only=True, normalisation=preset)
        assert values(result)["F1@0.25"] == expected, preset


def test_zero_targets_unanswered_is_wrong(tmp_path: Path):
    for preset in ("official", "gpt4scene"):
        result = grounded(tmp_path, "multi3drefer", {ONE: "No."}, normalisation=preset)
        assert values(result)["F1@0.25"] == 0


def test_boxes_are_matched_for_the_largest_total():
    # greedily 0.6 would be taken first and 0.3 left; together 0.55 + 0.5 is more
    assert matched_f1(np.array([[0.6, 0.55], [0.5, 0.0]])).tolist() == [1, 1]
    assert matched_f1(np.zeros((0, 2))).tolist() == [0, 0]


def test_turned_boxes_count_as_upright_ones_unless_asked(tmp_path: Path):
    half = math.sqrt(0.5)
    turned = read_box({"center": [0, 0, 0], "size": [1, 1, 1], "axes": [[half, half, 0], [-half, half, 0], [0, 0, 1]]})
    upright = read_box({"min": [-0.5] * 3, "max": [0.5] * 3})
    assert iou_matrix([turned], [upright])[0, 0] == pytest.approx(0.5)  # around its corners: twice the area
    both = 2 * (math.sqrt(2) - 1)  # a regular octagon of width 1
    assert iou_matrix([turned], [upright], oriented=True)[0, 0] == pytest.approx(both / (2 - both))


@pytest.mark.parametrize(
    ("boxes", "why"),
    [
        ({"s": {"4": [0, 0, 0, 1, 1]}}, "object '4'.*shape"),
        ({"s": {"4": [0, 0, 0, 1, 1, -1]}}, "object '4'.*not a box"),
        ({"s": {"4": [0, 0, math.nan, 1, 1, 1]}}, "object '4'.*not a box"),
        ({"s": {"four": [0, 0, 0, 1, 1, 1]}}, "'four'"),
        ([{"scene_id": "s"}], "entry 0"),
        ("[", "no JSON"),
    ],
)
def test_bad_boxes_are_named(tmp_path: Path, boxes: Any, why: str):
    with pytest.raises(BenchmarkError, match=why):
        read_boxes(write(tmp_path / "b.json", boxes))


def test_box_files_of_all_kinds(tmp_path: Path):
    box = [1, 2, 3, 1, 1, 1]
    kinds = [
        {"s": {"0": box}},
        {"s": [box]},
        {"s": {"objects": [{"id": 0, "center": [1, 2, 3], "size": [1, 1, 1]}]}},
        [{"scene_id": "s", "object_id": "0", "bbox": read_box(box).corners().tolist()}],
    ]
    for kind in kinds:
        assert read_boxes(write(tmp_path / "b.json", kind))["s"][0].center.tolist() == [1, 2, 3]
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "s.json", {"0": box})
    assert read_boxes(tmp_path / "folder")["s"][0].center.tolist() == [1, 2, 3]


# --- captions -----------------------------------------------------------------------------------------------------


def test_captions_have_to_say_what_they_are_of(tmp_path: Path):
    with pytest.raises(BenchmarkError, match=r"scene9001_00\|0 does not say what it is of.*--true-boxes"):
        grounded(tmp_path, "scan2cap", {"scene9001_00|0": "A chair beside <OBJ002>."})


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["official", "s3d"])
def test_zero_truth(tmp_path: Path, preset: str):
    row = {"question_type": "object_abs_distance", "ground_truth": "0", "options": None, "scene_name": "s"}
    annotations = write(tmp_path / "a.json", [{"id": i, **row} for i in range(3)])
    predictions = write(tmp_path / "p.json", {"0": "0.0", "1": "0.1", "2": "near"})
    result = score_small("vsi", preset, predictions=predictions, annotations=annotations)
    assert values(result)["object_abs_distance"] == pytest.approx(100 / 3, abs=1e-5)
    assert result["unreadable"]["ids"] == ["2"] and result["not_computed"]["route_planning"]


def test_unknown_question_types_are_named(tmp_path: Path):
    path = write(tmp_path / "a.json", [{"id": 0, "question_type": "object_weight", "ground_truth": "3"}])
    with pytest.raises(BenchmarkError, match="'0' is of unknown type 'object_weight'; known are object_counting"):
        score_small("vsi", annotations=path, predictions=write(tmp_path / "p.json", {"0": "3"}))


def test_the_key_of_s3d_questions_can_be_scored(tmp_path: Path):
    key = [
        {"id": "a", "type": "object_counting", "answer": "4", "value": 4.0, "choice": "", "options": []},
        {
            "id": "b",
            "type": "object_rel_distance",
            "answer": "sofa",
            "value": None,
            "choice": "B",
            "options": ["A. bed", "B. sofa"],
        },
    ]
    answers = [
        {"id": "a", "answer": "There are 4 chairs.", "value": 4.0, "success": True},
        {"id": "b", "answer": "the sofa", "choice": "B", "success": True},
    ]
    paths = {"annotations": write(tmp_path / "k.json", key), "predictions": write(tmp_path / "a.json", answers)}
    assert values(score_small("vsi", "s3d", **paths))["mean of the tasks"] == 100


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "rows", "why"),
    [
        (read_scanqa, [{"question_id": "q", "question": "Is it?", "scene_id": "s"}], "holds no answers"),
        (read_scanqa, [{"question_id": "q", "answers": ["a"], "scene_id": "s"}], 'entry 0: no "question"'),
        (read_scanqa, [{"question_id": "q", "question": "?", "answers": "a", "scene_id": "s"}], "list of texts"),
        (read_scanqa, [], "empty list"),
        (read_scanqa, {"a": 1}, "list of objects"),
        (read_scanqa, "", "is empty"),
        (read_sqa3d, {"annotations": [{"question_id": 1}]}, "questions apart"),
        (read_scan2cap, {"scene": ["sos a eos"]}, 'must read "scene|object"'),
        (read_spatial, [{"id": 0, "ground_truth": "3"}], "question_type"),
        (read_openeqa, [{"question_id": "q", "question": "?"}], 'no "answer"'),
        (read_multi3drefer, [{"scene_id": "s", "eval_type": "zt", "object_ids": [], "ann_id": 0}], "'zt'; known are"),
        (
            read_multi3drefer,
            [{"scene_id": "s", "eval_type": "mt", "object_ids": [], "ann_id": 0, "description": "x"}],
            "'mt' does not go with 0 objects",
        ),
    ],
)
def test_bad_annotations_are_named(tmp_path: Path, reader: Any, rows: Any, why: str):
    with pytest.raises(BenchmarkError, match=why.replace("|", r"\|")):
        reader(write(tmp_path / "a.json", rows))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("p.json", '{"a": ', "no JSON"),
        ("p.jsonl", '{"id": "a", "answer": "x"}\n{"id": "b", "ans', "line 2.*cut off"),
        ("p.json", '[{"answer": "x"}]', 'entry 0: no "id"'),
        ("p.json", '["x"]', "must hold"),
        ("p.json", "{}", "no predictions"),
        ("p.json", '{"a": {"box": [1, 2]}}', "prediction 'a'"),
    ],
)
def test_bad_predictions_are_named(tmp_path: Path, name: str, text: str, why: str):
    with pytest.raises(BenchmarkError, match=why):
        read_predictions(write(tmp_path / name, text))


def test_predictions_of_all_kinds(tmp_path: Path):
    for name, data in {
        "a.json": {"q1": "chair"},
        "b.json": {"q1": {"answer": "chair"}},
        "c.json": [{"question_id": "q1", "answer_top10": ["chair", "table"]}],
        "d.jsonl": '{"id": "q1", "prediction": "chair"}\n\n',
        "e.json": {"q1": ["chair"]},
    }.items():
        [(one, prediction)] = read_predictions(write(tmp_path / name, data))
        assert (one, prediction.text) == ("q1", "chair"), name
    [(_, none)] = read_predictions(write(tmp_path / "n.json", {"q1": None}))
    assert none.text == "" and match(["q1"], [("q1", none)]).missing == ()


# --- words and intervals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("The  Chair.", "chair"),
        ("2 chairs", "two chairs"),
        ("none", "zero"),
        ("o'  clock", "o'clock"),
        ("behine the tv!", "behind TV"),
        ("mat2", "mat"),
        ("an apple, a pear", "apple, pear"),
        ("backwards\n", "backward"),
        ("23", "twenty-three"),
        ("24", "24"),
        ("", ""),
    ],
)
def test_cleaning(text: str, cleaned: str):
    assert clean(text) == cleaned


@given(st.text(max_size=30))
def test_no_text_breaks_cleaning_and_empty_never_matches(text: str):
    cleaned = clean(without_stop(text))
    assert not exact(cleaned, ("",)) and not contained("", (cleaned, ""))
    assert not cleaned.strip() or exact(cleaned, (cleaned,))


def test_bootstrap_interval_of_a_mean_is_that_of_the_binomial():
    config = BootstrapConfig(samples=4000, seed=3)
    hits = np.repeat([100.0, 0.0], [60, 40])
    figure = figures({"m": mean_metric(hits)}, {}, [str(i) for i in range(100)], config)["m"]
    spread = 1.96 * math.sqrt(0.6 * 0.4 / 100) * 100
    assert figure.value == 60 and figure.low == pytest.approx(60 - spread, abs=1) and figure.count == 100
    assert figure.high == pytest.approx(60 + spread, abs=1)
    again = figures({"m": mean_metric(hits)}, {}, [str(i) for i in range(100)], config)["m"]
    assert again == figure


def test_bootstrap_by_scene_draws_whole_scenes():
    hits = np.repeat([100.0, 0.0], 50)
    scenes = ["a"] * 50 + ["b"] * 50
    figure = figures({"m": mean_metric(hits)}, {}, scenes, BootstrapConfig(samples=500, by="scene"))["m"]
    assert (figure.low, figure.value, figure.high) == (0, 50, 100)


def test_means_of_groups_leave_out_the_empty_ones():
    values = np.array([1.0, 0.0, 1.0])
    first, none = mean_metric(values, np.array([True, True, False])), mean_metric(values, np.zeros(3, bool))
    once = np.ones((1, 3))
    assert first(once) == [0.5] and np.isnan(none(once)).all()
    assert mean_of_metrics([first, none])(once) == [0.5]
