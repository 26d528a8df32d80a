"""The small model's kinds of question in training sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from training_sets import write_run

from s3d_ros.offline.run import load_scene
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.conversations import conversations
from s3d_ros.train.evaluation import points
from s3d_ros.train.examples import Example
from s3d_ros.train.reader import TrainingRecord
from s3d_ros.train.settings import PROMPT
from s3d_ros.train.small.examples import examples
from s3d_ros.train.small.questions import KINDS
from s3d_ros.types import OrientedBox

BOXES = {
    20 + i: OrientedBox(np.array([x, y, 0.5]), np.array([0.5, 0.5, 1.0]), np.eye(3))
    for i, (x, y) in enumerate([(0, 0), (3, 0.5), (1, 3), (4, 4), (0.5, 5), (6, 2)])
}
LABELS = dict(zip(BOXES, ["sofa", "chair", "chair", "table", "lamp", "bed"], strict=True))
KNOWN = [20, 21, 22, 23, 24]  # the map lacks the bed


def made() -> list[Example]:
    return examples(BOXES, LABELS, KNOWN, 6, 0)


def test_all_kinds_are_asked_and_none_twice() -> None:
    found = made()
    assert {e.kind.removesuffix(" named") for e in found} == set(KINDS)
    assert len({e.id for e in found}) == len(found)
    assert any(e.kind == "left_right" for e in found) and any(e.kind == "left_right named" for e in found)
    assert found == made()


def test_only_what_the_map_holds_is_named_and_answers_are_true() -> None:
    for e in made():
        assert set(e.named) <= set(KNOWN), e
        if e.kind == "category":
            assert e.answer == LABELS[int(re.findall(r"<OBJ(\d+)>", e.text)[0])]
        if e.kind.startswith("count"):
            assert e.answer == ("2" if "chair" in e.text else "1")
        if e.kind == "two_hop":
            assert LABELS[e.objects[0]] == "chair"
            assert e.answer == ("" if e.task == Task.GROUND_ONE else f"<OBJ{e.objects[0]}>")
        if e.kind == "closest":
            assert e.answer == f"<OBJ{e.objects[0]}>" and len(e.named) >= 3


def test_an_answer_in_words_names_objects_by_the_numbers_that_are_seen(tmp_path: Path) -> None:
    scene = load_scene(write_run(tmp_path / "run"))
    asked = Example("x", "small", "closest", Task.QUESTION, "Is it <OBJ11> or <OBJ12>?", "<OBJ12>", (12,))
    found = conversations(scene, Prompter(PROMPT), [asked], {11: 1, 12: 2}, lambda image, prompt: image.key)
    (row,) = found.rows
    assert (
        row["conversations"][-1]["value"] == "<OBJ002>" and "<OBJ001> or <OBJ002>" in row["conversations"][0]["value"]
    )


def test_a_distance_with_its_unit_counts_as_a_number() -> None:
    turns = ({"from": "human", "value": "How far?"}, {"from": "gpt", "value": "2.0 m"})
    record = TrainingRecord.__new__(TrainingRecord)
    for name, value in {"task": Task.QUESTION, "conversations": turns}.items():
        object.__setattr__(record, name, value)
    assert points(record, "2.0 m") == 1.0
    assert 0.5 < points(record, "2.4 m") < 1.0  # off by a fifth
    assert points(record, "left") == 0.0
