"""What the geometric answerer must leave to others: it knows boxes and labels, no colours, states or wishes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.types import OrientedBox, Question, Scene, SceneObject

ROWS = json.loads((Path(__file__).parent / "data" / "not_geometric.json").read_text())

# Everything that the questions name and a detector might find: most of it once, so that a name is never in doubt.
ONE_EACH = (
    "sofa, tv, bed, door, refrigerator, bookshelf, kettle, microwave, laptop, whiteboard, washer, power strip, bucket, "
    "plant, suitcase, toilet, heater, telephone, printer, dishwasher, basket, clock, paper bag, keyboard, stool, pan, "
    "cutting board, crate, blanket, table lamp, fireplace, stove, person, mattress, cat, book, towel, candle"
).split(", ")
SEVERAL = ("chair", "table", "monitor", "cup", "pillow", "trash can", "ceiling light", "computer tower", "cushion")


def everything(each: int) -> Scene:
    """A hall that holds it all, on a grid of 1.5 m; ``each`` of the common things."""
    labels = [*ONE_EACH, *(label for label in SEVERAL for _ in range(each))]
    objects = []
    for k, label in enumerate(labels):
        at = np.array([1.5 * (k % 8), 1.5 * (k // 8), 0.4])
        size = np.array([0.4 + 0.01 * k, 0.5, 0.8])
        box = OrientedBox(at, size, np.eye(3))
        objects.append(SceneObject(k + 1, label, box, {label: 1.0}, first_seen_ns=k * 10**9, last_seen_ns=10**11))
    return Scene(5, 10**11, "map", np.array([0.0, 0, 1]), tuple(objects), floor_area_m2=150.0, T_map_robot=np.eye(4))


@pytest.mark.parametrize("each", [1, 3])
def test_none_of_them_is_answered(each: int):
    answerer, scene = GeometricAnswerer(), everything(each)
    answered = []
    for row in ROWS:
        answer = answerer.answer(Question(row["question"], tuple(row.get("options", ()))), scene)
        if answer.success:
            answered.append(f"[{row['group']}] {row['question']} -> {answer.text} {answer.choice}")
        else:
            assert answer.choice == "" and answer.value is None, row["question"]
            assert answer.text, row["question"]
    assert not answered, "\n".join(answered)


def test_the_same_hall_is_no_reason_to_refuse():
    """A check of the check: what geometry does settle is answered there."""
    answerer, scene = GeometricAnswerer(), everything(3)
    assert answerer.answer(Question("How many chair(s) are in this room?"), scene).value == 3
    assert answerer.answer(Question("How far is the sofa from the bed?"), scene).success
