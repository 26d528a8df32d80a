"""Scoring, with scores known by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.offline.score import (
    EIGHT,
    ScoreError,
    mean_relative_accuracy,
    read_choice,
    read_rows,
    read_value,
    score,
    summarise,
)

OPTIONS = ["A. left", "B. right", "C. back"]


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        (2.0, 2.0, 1.0),
        (2.08, 2.0, 1.0),  # 4 % off
        (1.05, 1.0, 0.9),  # exactly 5 % off is not less than 5 %
        (1.5, 1.0, 0.0),  # exactly 50 %
        (1.49, 1.0, 0.1),
        (0.72, 1.0, 0.5),  # 28 %: within 50, 45, 40, 35, 30
        (3, 4, 0.5),  # 25 %: within 50, 45, 40, 35, 30
        (-1.0, 1.0, 0.0),
        (None, 1.0, 0.0),
        (math.nan, 1.0, 0.0),
        (math.inf, 1.0, 0.0),
        (0.0, 0.0, 1.0),
        (0.1, 0.0, 0.0),
    ],
)
def test_mean_relative_accuracy(answer: float | None, truth: float, expected: float):
    assert mean_relative_accuracy(answer, truth) == expected


@given(st.floats(0.01, 1e6), st.floats(-2, 2), st.floats(1e-3, 1e3))
def test_mean_relative_accuracy_knows_no_unit_and_no_sign_of_the_error(truth: float, off: float, unit: float):
    points = mean_relative_accuracy(truth * (1 + off), truth)
    assert 0 <= points <= 1
    near_threshold = min(abs(abs(off) - k / 20) for k in range(11)) < 1e-6
    if not near_threshold:
        assert mean_relative_accuracy(truth * (1 - off), truth) == points
        assert mean_relative_accuracy(truth * (1 + off) * unit, truth * unit) == points


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"choice": "B", "answer": "whatever"}, "B"),
        ({"choice": "", "answer": "b. right"}, "B"),
        ({"choice": "", "answer": "(C)"}, "C"),
        ({"choice": "", "answer": "A"}, "A"),
        ({"choice": "", "answer": "Right."}, "B"),
        ({"choice": "", "answer": "a chair, maybe"}, ""),
        ({"choice": "", "answer": "D. front"}, ""),
        ({"choice": "", "answer": "A. left", "success": False}, ""),
        ({}, ""),
    ],
)
def test_the_choice_of_an_answer(row: dict, letter: str):
    assert read_choice(row, OPTIONS) == letter


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ({"value": 3, "answer": "four"}, 3.0),
        ({"value": None, "answer": "about 2.5 m"}, 2.5),
        ({"value": None, "answer": "it is -1"}, -1.0),
        ({"value": None, "answer": "no idea"}, None),
        ({"value": None, "answer": "one of the 3 chairs: which?", "success": False}, None),
        ({"value": True, "answer": ""}, None),
        ({}, None),
    ],
)
def test_the_number_of_an_answer(row: dict, value: float | None):
    assert read_value(row) == value


def choice_item(name: str, kind: str, letter: str = "A", wording: str = "official") -> dict:
    answer = next(o for o in OPTIONS if o[0] == letter)[3:]
    return {"id": name, "type": kind, "answer": answer, "choice": letter, "options": OPTIONS, "wording": wording}


def number_item(name: str, kind: str, value: float, wording: str = "open") -> dict:
    return {"id": name, "type": kind, "answer": str(value), "value": value, "choice": "", "wording": wording}


def test_the_levels_of_direction_are_averaged_first():
    key = [choice_item(f"e{i}", "object_rel_direction_easy") for i in range(8)]
    key += [choice_item("m", "object_rel_direction_medium"), choice_item("h", "object_rel_direction_hard")]
    key.append(number_item("n", "object_counting", 4))
    answers = [{"id": f"e{i}", "choice": "A"} for i in range(8)] + [{"id": "m", "choice": "B"}]
    answers.append({"id": "n", "value": 3})
    result = score(key, answers)
    assert result["levels"]["object_rel_direction_easy"]["score"] == 100
    assert result["kinds"]["object_rel_direction"] == {"score": 33.333, "count": 10, "unanswered": 1}
    assert result["kinds"]["object_counting"]["score"] == 50
    assert result["mean"] == pytest.approx((33.333 + 50) / 2, abs=1e-3)
    assert (result["count"], result["unanswered"]) == (11, 1)
    assert {r["id"] for r in result["wrong"]} == {"m", "h", "n"}
    assert next(r for r in result["wrong"] if r["id"] == "m") | {} == {
        "id": "m",
        "type": "object_rel_direction_medium",
        "wording": "official",
        "points": 0.0,
        "unanswered": False,
        "said": "B",
        "right": "A. left",
        "answer": "",
    }
    assert result["wordings"]["open"]["score"] == 50


def test_every_one_of_the_eight_kinds_counts_the_same():
    key, answers = [], []
    for k, kind in enumerate(EIGHT):
        real = "object_rel_direction_hard" if kind == "object_rel_direction" else kind
        for i in range(k + 1):
            key.append(number_item(f"{kind}{i}", real, 10))
            answers.append({"id": f"{kind}{i}", "value": 10 if k % 2 else None})
    result = score(key, answers)
    assert result["mean"] == 50
    assert result["unanswered"] == 1 + 3 + 5 + 7


def test_nothing_asked_is_no_score_and_not_zero():
    result = score([], [])
    assert result["mean"] is None and result["kinds"]["room_size_estimation"]["score"] is None


def test_scores_of_many_places_are_pooled_by_question():
    one = score([number_item("a", "object_counting", 2)], [{"id": "a", "value": 2}])
    two = score([number_item(str(i), "object_counting", 2) for i in range(3)], [])
    assert summarise(one["rows"] + two["rows"])["mean"] == 25


@pytest.mark.parametrize(
    ("key", "answers", "message"),
    [
        ([number_item("a", "object_counting", 2)], [{"id": "a"}, {"id": "a"}], "two answers"),
        ([number_item("a", "object_counting", 2)] * 2, [], "more than one question"),
        ([number_item("a", "counting", 2)], [], "unknown type 'counting'"),
    ],
)
def test_what_can_not_be_scored(key: list, answers: list, message: str):
    with pytest.raises(ScoreError, match=message):
        score(key, answers)


@pytest.mark.parametrize("text", ["", "{", "{}", '[{"value": 1}]', "[1]"])
def test_a_file_that_holds_no_answers(tmp_path: Path, text: str):
    (tmp_path / "answers.json").write_text(text)
    with pytest.raises(ScoreError, match=r"answers\.json"):
        read_rows(tmp_path / "answers.json")
    with pytest.raises(ScoreError, match=r"none\.json"):
        read_rows(tmp_path / "none.json")


def test_answers_are_read(tmp_path: Path):
    (tmp_path / "answers.json").write_text(json.dumps([{"id": "a", "value": 1}]))
    assert read_rows(tmp_path / "answers.json") == [{"id": "a", "value": 1}]
