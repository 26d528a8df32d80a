"""What a question says of several things of one kind: which clauses say it, and what then counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answer_scene import kitchen_like
from test_not_geometric import everything

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.answer.several import without_several
from s3d_ros.types import Answer, ErrorCode, Question, Scene

ANSWERER = GeometricAnswerer()
SCENE = kitchen_like()
MORE = json.loads((Path(__file__).parent / "data" / "not_geometric_more.json").read_text())


def ask(text: str, *options: str, scene: Scene = SCENE) -> Answer:
    return ANSWERER.answer(Question(text, options), scene)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            " ~ which is nearest ~ if there are multiple instances , measure to the closest ~ ",
            " ~ which is nearest , ~ ",
        ),
        (" ~ which is nearest the @0 if there are several take the closest ~ ", " ~ which is nearest the @0 , ~ "),
        (" ~ in case of duplicates use the nearest which is near the @0 ~ ", " , which is near the @0 ~ "),
        (" ~ if there are several @0 , the nearest counts ~ is the @1 near ~ ", " , ~ is the @1 near ~ "),
    ],
)
def test_clauses_that_are_taken_out(text: str, left: str) -> None:
    assert without_several(text, lambda slot: True) == (left, True)


@pytest.mark.parametrize(
    "text",
    [
        " ~ measuring from the closest point of each object , how far is the @0 from the @1 ~ ",
        " ~ which instance is the nearest ~ ",
        " ~ if there are multiple instances , measure to the farthest ~ ",
        " ~ if there are multiple instances , take the average ~ ",
        " ~ how many instances are there ~ ",
        " ~ if several people sit there , which is the closest ~ ",
    ],
)
def test_clauses_that_stay(text: str) -> None:
    assert without_several(text, lambda slot: True) == (text, False)


def test_several_of_a_name_stay_where_nothing_else_names_it() -> None:
    text = " ~ if there are several @0 , the nearest counts ~ "
    assert without_several(text, lambda slot: False) == (text, False)


def test_without_such_a_clause_it_asks_back_which_is_meant() -> None:
    assert ask("How far is the chair from the door?").error == ErrorCode.AMBIGUOUS


def test_distance_to_the_closest_of_several() -> None:
    """Chair 7 ends at x = 4.55 m, y = 2.25 m; the door begins at x = 4.9 m and ends at y = 1.5 m."""
    answer = ask("How far is the chair from the door? If there are multiple instances, measure to the closest.")
    assert answer.value == pytest.approx((0.35**2 + 0.75**2) ** 0.5)
    assert answer.objects == (7, 2)


def test_closest_to_the_closest_of_several() -> None:
    answer = ask("Which of tv, bed and plant is closest to the chair? Where there are several, the nearest counts.")
    assert answer.objects[0] == 4


def test_farthest_goes_by_the_closest_of_each() -> None:
    """From the bed the farthest chair is farther than the sofa; the closest one is not."""
    rule = " If there are multiple instances of a category, measure to the closest."
    assert ask("Which is farthest from the bed: sofa or chair?").objects[0] == 7
    assert ask("Which is farthest from the bed: sofa or chair?" + rule).objects[0] == 3


def test_options_that_name_things_ask_for_no_number() -> None:
    answer = ask("Which option has the smallest distance to the door?", "bed", "tv")
    assert answer.choice == "B"


@pytest.mark.parametrize("scene", [SCENE, everything(1), everything(3)], ids=["kitchen", "one each", "three each"])
def test_more_that_is_not_geometric(scene: Scene) -> None:
    answered = {}
    for row in MORE:
        answer = ask(row["question"], *row.get("options", ()), scene=scene)
        if answer.success or answer.error == ErrorCode.INTERNAL or answer.choice:
            answered[row["question"]] = answer.text
    assert len(MORE) > 150
    assert not answered
