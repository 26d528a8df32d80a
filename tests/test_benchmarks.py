"""The benchmarks' scores over small files: figures of the official scorers, and known by hand.

The predictions are in tests/data/benchmarks; docs/benchmarks.md has the official figures beside these.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_data import DATA, FILES, LABELS, score_small, values, write
from typer.testing import CliRunner

from s3d_ros.benchmarks import captions
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.java import JavaMissing
from s3d_ros.benchmarks.score import find_benchmark, score_benchmark
from s3d_ros.benchmarks.spatial import official_mra
from s3d_ros.cli import app


@pytest.fixture
def without_meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR alone takes seven seconds to start."""

    def missing(*_: object) -> None:
        raise JavaMissing("not in this test")

    monkeypatch.setattr(captions, "meteor_statistics", missing)


def test_scanqa_as_its_own_scorer(without_meteor):
    found = values(score_small("scanqa"))
    # of 8 answers only "brown" is there word for word
    assert found["EM@1"] == 12.5
    # PTB tokens: 11 of the 19 of all predictions are in a reference, and they are longer than the nearest references
    assert found["BLEU-1"] == pytest.approx(100 * 11 / 19, abs=1e-5)
    official = {"BLEU-2": 39.7360, "BLEU-3": 29.7444, "BLEU-4": 0.0060, "ROUGE-L": 59.1129, "CIDEr": 152.1570}
    assert {name: found[name] for name in official} == pytest.approx(official, abs=1e-4)


def test_scanqa_as_gpt4scene(without_meteor):
    found = values(score_small("scanqa", "gpt4scene"))
    assert (
        found["EM@1"] == 25
    )  # and "Under the desk." is "under desk"; "2" stays apart from "two": answers are not cleaned
    assert found["EM-R@1"] == 75  # printer, wooden, side table with lamp, oval
    official = {"BLEU-1": 68.75, "BLEU-4": 73.1586, "ROUGE-L": 64.1285, "CIDEr": 226.0670}
    assert {name: found[name] for name in official} == pytest.approx(official, abs=1e-4)


def test_scanqa_as_leo(without_meteor):
    found = values(score_small("scanqa", "leo"))
    assert found["EM@1"] == 37.5  # "two" is "2" as well
    assert found["EM@1, as LEO's code"] == 25  # which is content with "dark brown" before it comes to "brown"
    assert found["EM-R@1"] == 87.5  # all but "no"
    assert found["EM@1, number"] == 100 and found["EM@1, place"] == 100


@pytest.mark.slow
def test_meteor_is_that_of_its_own_program():
    assert values(score_small("scanqa"))["METEOR"] == pytest.approx(32.8635, abs=1e-4)


@pytest.mark.parametrize("preset", ["official", "gpt4scene", "leo"])
def test_sqa3d_by_type(preset: str):
    result = score_small("sqa3d", preset)
    found = values(result)
    assert (found["EM"], found["EM-R"]) == (50.0, 62.5)  # "to my right" holds "right"
    assert (found["EM, what"], found["EM, is"], found["EM, how"], found["EM, can"]) == (50, 50, 100, 0)
    assert (found["EM, which"], found["EM-R, which"], found["EM, other"]) == (0, 100, 100)
    assert result["unreadable"]["ids"] == ["220602009007"]  # the empty one


def test_scanrefer_unique_and_multiple():
    found = values(score_small("scanrefer", labels=LABELS))
    # IoU: 1, 1, 2/3, 1/3, 0.8, none, 1, 0, 0.45/1.55, and a half, which the official 1e-8 keeps below 0.5
    assert (found["Acc@0.25"], found["Acc@0.5"]) == (80, 50)
    assert (found["Acc@0.25, multiple"], found["Acc@0.5, multiple"]) == (100, 100)  # the two chairs
    assert found["Acc@0.25, unique"] == pytest.approx(500 / 7, abs=1e-5)
    assert found["Acc@0.5, unique"] == pytest.approx(200 / 7, abs=1e-5)


def test_scanrefer_without_labels_says_so():
    result = score_small("scanrefer")
    assert "Acc@0.25, unique" not in result["metrics"]
    assert "--labels" in result["not_computed"]["unique and multiple"]


@pytest.mark.parametrize("preset", ["official", "gpt4scene"])
def test_multi3drefer_by_type(preset: str):
    found = values(score_small("multi3drefer", preset))
    assert found["F1@0.25"] == pytest.approx(100 * (1 + 2 / 3 + 1 + 1 + 0 + 2 / 3 + 0 + 1) / 8, abs=1e-5)
    assert found["F1@0.5"] == pytest.approx(100 * (1 + 2 / 3 + 0 + 1 + 0 + 2 / 3 + 0 + 1) / 8, abs=1e-5)
    assert (found["F1@0.25, zt_w_d"], found["F1@0.25, zt_wo_d"]) == (100, 50)
    assert (found["F1@0.25, st_wo_d"], found["F1@0.5, st_wo_d"]) == (50, 0)


def test_scan2cap_counts_captions_where_the_box_meets(without_meteor):
    found = values(score_small("scan2cap", "gpt4scene"))
    assert (found["matched@0.25"], found["matched@0.5"]) == (87.5, 62.5)
    assert all(found[f"{name}@0.25"] > found[f"{name}@0.5"] for name in ("CIDEr", "ROUGE-L", "BLEU-4"))


def test_vsi_as_its_own_scorer():
    result = score_small("vsi")
    assert values(result) == pytest.approx(
        {
            "mean of the tasks": (80 + 80 + 0 + 100 + 50 + 200 / 3 + 100 + 0) / 8,
            "object_counting": 80,  # 3 for 4 is exactly 25 % off: within 50, 45 ... 25
            "object_abs_distance": 80,  # 15 % off
            "object_size_estimation": 0,  # "about 100" is no number
            "room_size_estimation": 100,  # 5 % off
            "object_rel_distance": 50,  # "B. lamp" is B; "desk" is no letter
            "object_rel_direction": 200 / 3,
            "route_planning": 100,
            "obj_appearance_order": 0,  # "(A)"
            "object_rel_direction_easy": 100,
            "object_rel_direction_medium": 0,
            "object_rel_direction_hard": 100,
            "mean of the question types": (80 + 80 + 0 + 100 + 50 + 100 + 0 + 100 + 100 + 0) / 10,
        },
        abs=1e-5,
    )
    assert result["unreadable"] == {"count": 3, "ids": ["3", "6", "11"]}


def test_vsi_as_s3d_reads_it():
    found = values(score_small("vsi", "s3d"))
    assert found["object_counting"] == 75  # 25 % off is not less than 25 %
    assert (found["object_abs_distance"], found["object_size_estimation"]) == (70, 70)
    assert (found["object_rel_distance"], found["obj_appearance_order"]) == (100, 100)
    assert found["mean of the tasks"] == pytest.approx((75 + 70 + 70 + 90 + 100 + 200 / 3 + 100 + 100) / 8, abs=1e-5)


def test_vsti_tasks_and_types():
    found = values(score_small("vsti"))
    assert found["camera_obj_abs_dist"] == pytest.approx(35)  # 60 and 10
    assert (found["camera_displacement"], found["camera_movement_direction"]) == (100, 100)
    assert (found["obj_obj_relative_pos"], found["obj_obj_relative_pos_lr"]) == (50, 50)
    assert found["camera_obj_rel_dist"] == pytest.approx(200 / 3, abs=1e-5)
    assert found["mean of the tasks"] == pytest.approx((35 + 200 / 3 + 50 + 100 + 100) / 5, abs=1e-5)
    assert found["mean of the question types"] == pytest.approx(65)  # what the official code calls overall


def test_openeqa_exact_part():
    result = score_small("openeqa")
    found = values(result)
    # "No." and "the living room", which is an extra answer; "wood" is in "Wood panel"
    assert (found["EM"], found["EM-R"]) == (pytest.approx(100 / 3, abs=1e-5), 50)
    assert "--judge-url" in result["not_computed"]["LLM-Match"]


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [(3, 4, 0.6), (1, 2, 0.1), (0.0, 0.0, 1.0), (0.1, 0.0, 0.0), (-1.0, 1.0, 0.0), (None, 1.0, 0.0), (1e400, 1.0, 0.0)],
)
def test_mra_with_an_error_of_exactly_a_threshold_and_zero_truth(answer, truth, expected):
    assert official_mra(answer, truth) == pytest.approx(expected)


def test_names_are_found_however_they_are_written():
    assert find_benchmark("VSI-Bench").title == "VSI-Bench" and find_benchmark("Multi3DRefer").title == "Multi3DRefer"
    with pytest.raises(BenchmarkError, match="scanqa, sqa3d"):
        find_benchmark("vqa2")


def test_a_preset_that_a_benchmark_lacks_is_refused():
    with pytest.raises(BenchmarkError, match="has no preset 'leo'; it has official, s3d"):
        score_small("vsi", "leo")


def test_scenes_without_true_boxes_are_named(tmp_path: Path):
    boxes = write(
        tmp_path / "boxes.json", {"scene9001_00": json.loads((DATA / "true_boxes.json").read_text())["scene9001_00"]}
    )
    with pytest.raises(BenchmarkError, match=r"lacks scene scene9002_00 \(in all 4 "):
        score_small("scanrefer", boxes=boxes)


@pytest.mark.parametrize("words", [["benchmark", "score", "vsi"], ["benchmark", "vsi"]])
def test_command_writes_and_shows(words: list[str], tmp_path: Path):
    predictions, annotations = (str(DATA / name) for name in FILES["vsi"])
    out = tmp_path / "result.json"
    ran = CliRunner().invoke(app, [*words, "-p", predictions, "-a", annotations, "--out", str(out), "--samples", "200"])
    assert ran.exit_code == 0, ran.output
    assert "room_size_estimation" in ran.output and "3 predictions of which nothing could be read" in ran.output
    result = json.loads(out.read_text())
    figure = result["metrics"]["object_rel_distance"]
    assert (figure["low"], figure["value"], figure["high"], figure["count"]) == (0, 50, 100, 2)
    assert result["worst"][0]["id"] == "8" and result["worst"][-1]["id"] == "6"  # read and wrong; then unreadable ones


def test_command_names_what_is_wrong(tmp_path: Path):
    ran = CliRunner().invoke(app, ["benchmark", "vqa2", "-p", "x.json", "-a", "y.json"])
    assert ran.exit_code == 2 and "no benchmark 'vqa2'" in ran.output


def test_two_annotation_files_of_sqa3d_in_any_order():
    both = [DATA / "v1_balanced_questions_val_scannetv2.json", DATA / FILES["sqa3d"][1]]
    for paths in (both, both[::-1]):
        result = score_benchmark("sqa3d", DATA / FILES["sqa3d"][0], paths)
        assert values(result)["EM"] == 50
