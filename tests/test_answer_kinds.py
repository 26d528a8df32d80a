"""Every kind of question against answers known by hand, in many wordings; and questions that are no kind's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_scene import kitchen_like
from scipy.spatial.transform import Rotation

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.types import Answer, ErrorCode, ObjectState, Question, Scene, Situation

HERE = Path(__file__).parent
ANSWERER = GeometricAnswerer()
SCENE = kitchen_like()
TURNED = kitchen_like(Rotation.from_euler("xyz", (-90, 0, 37), degrees=True).as_matrix(), (5, 1, -2))


def wordings() -> Iterator[tuple[dict[str, Any], str]]:
    """Yield (what is right, wording) of answer_wordings.txt and answer_wordings_more.txt."""
    want: dict[str, Any] = {}
    files = [HERE / "answer_wordings.txt", HERE / "answer_wordings_more.txt"]
    for line in (line for file in files for line in file.read_text().splitlines()):
        if line.startswith("== "):
            want = json.loads(line[3:])
        elif line and not line.startswith("#"):
            yield want, line.replace("\\n", "\n")


def ask(text: str, options: tuple[str, ...] = (), scene: Scene = SCENE, situation: Situation | None = None) -> Answer:
    return ANSWERER.answer(Question(text, options, situation), scene)


def wrong(want: dict[str, Any], answer: Answer) -> str:
    """Say what is wrong with an answer, "" for nothing."""
    if not answer.success:
        return f"{answer.error}: {answer.text}"
    given = {
        "value": answer.value is not None and answer.value == pytest.approx(want.get("value"), abs=1e-3),
        "unit": answer.unit == want.get("unit"),
        "choice": answer.choice == want.get("choice"),
        "objects": set(answer.objects[: len(want.get("objects", ()))]) == set(want.get("objects", ())),
        "says": answer.text.startswith(want.get("says", "")),
        "direction": answer.facts.get("direction") == want.get("direction"),
        "order": answer.facts.get("order") == want.get("order"),
        "turns": answer.facts.get("turns") == want.get("turns"),
    }
    off = [key for key in want if not given.get(key, True)]
    return f"{off}: {answer}" if off else ""


@pytest.mark.parametrize("scene", [SCENE, TURNED], ids=["z-up", "turned"])
def test_wordings(scene: Scene) -> None:
    """All wordings get the right answer, whichever way up is in the map frame."""
    off = {}
    count = 0
    for want, text in wordings():
        count += 1
        if reason := wrong(want, ask(text, tuple(want.get("options", ())), scene)):
            off[text] = reason
    assert count > 2000
    assert not off, f"{len(off)} of {count}: {off}"


def test_questions_that_are_not_its_own() -> None:
    answered = {}
    questions = (HERE / "answer_not_settled.txt").read_text().splitlines()
    for text in questions:
        answer = ask(text)
        if answer.success or answer.error == ErrorCode.INTERNAL:
            answered[text] = answer.text
    assert len(questions) > 1000
    assert not answered


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("how many chairs are occupied", "'occupied'"),
        ("where is the red sofa", "'red'"),
        ("is the laptop on", "'on'"),
        ("which chair could I sit on", "'sit'"),
        ("describe the corner", "'describe', 'corner'"),
        ("how many chairs do we need", "'need'"),
    ],
)
def test_it_names_what_it_could_not_read(text: str, names: str) -> None:
    answer = ask(text)
    assert answer.error == ErrorCode.NOT_SETTLED
    assert f"could not read {names}" in answer.text
    assert answer.objects == () and answer.value is None and answer.confidence == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("how many bathtubs are there", "no bathtub"),
        ("how far is the piano from the bed", "no piano"),
        ("where is the zither", "no zither"),
        ("Which is closest to the bed: sofa, sink or printer?", "no sink and no printer"),
        ("where is the stove", "no stove"),
        ("where is chair 99", "no object 99"),
        ("how big is object 19", "stove 19 is no longer there"),
        ("where is chair 5", "Object 5 is no chair: it is table 5"),
        ("what is on the sink", "no sink"),
        ("order of first appearance: bed, sink, door", "no sink"),
    ],
)
def test_things_that_the_map_does_not_hold(text: str, names: str) -> None:
    answer = ask(text)
    assert answer.error == ErrorCode.NOT_IN_MAP
    assert names in answer.text


def test_of_the_things_that_it_holds_it_names_the_closest() -> None:
    answer = ask("Which is closest to the bed: sofa, sink or tv?")
    assert answer.error == ErrorCode.NOT_IN_MAP
    assert "sofa 3 is the closest to bed 1: 2.00 m" in answer.text and answer.objects == (3,)


@pytest.mark.parametrize(
    "text",
    [
        "where is the chair",
        "how far is the chair from the door",
        "how tall is the chair",
        "standing at the chair facing the door, is the bed left or right",
        "is the chair near the table",
        "what is near the chair",
    ],
)
def test_it_asks_back_which_of_several(text: str) -> None:
    answer = ask(text)
    assert answer.error == ErrorCode.AMBIGUOUS
    assert "chair 6, chair 7 or chair 8" in answer.text and answer.objects == (6, 7, 8)


@pytest.mark.parametrize(
    "name", ["chair 7", "object 7", "#7", "chair #7", "<OBJ007>", "chair 30", "the chair with id 7"]
)
def test_ids_settle_which(name: str) -> None:
    """30 was merged into 7. Chair 7 ends at x = 4.05 m, y = 2.25 m; the bed at (2, 1.5)."""
    answer = ask(f"How far is {name} from the bed?")
    assert answer.value == pytest.approx(np.hypot(4.05 - 2, 2.25 - 1.5))
    assert answer.objects == (7, 1) and "chair 7" in answer.text


def test_nearest_settles_which() -> None:
    """The camera is 1.2 m high at (2.5, 0.2); chair 8 begins at (2.75, 1.25) and is 0.9 m high."""
    answer = ask("how far is the nearest chair?")
    assert answer.objects == (8,) and answer.value == pytest.approx(np.linalg.norm((0.25, 1.05, 0.3)))
    assert answer.viewpoint == "from the camera's latest pose"
    assert ask("how far is the nearest chair from the door?").objects == (7, 2)


@pytest.mark.parametrize(("asked", "unit", "factor"), [
    ("in m", "m", 1), ("in cm", "cm", 100), ("in millimetres", "mm", 1000), ("in feet", "ft", 1 / 0.3048),
    ("in inches", "in", 1 / 0.0254),
])  # fmt: skip
def test_units_asked_for(asked: str, unit: str, factor: float) -> None:
    answer = ask(f"how far is the bed from the door {asked}?")
    assert answer.unit == unit and answer.value == pytest.approx(2.9 * factor)


def test_sizes() -> None:
    assert ask("how tall is the table?").value == pytest.approx(75)
    assert ask("how wide is the table?").value == pytest.approx(120)
    assert ask("what is the longest side of the table in m").value == pytest.approx(1.2)
    assert ask("What is the size of this room in square feet?").value == pytest.approx(26.4 * 10.7639, rel=1e-4)


def test_centres_where_the_question_says_so() -> None:
    assert ask("distance between the centers of the bed and the sofa").value == pytest.approx(np.hypot(3, 0.15))


def test_the_two_of_a_plural() -> None:
    answer = ask("how far apart are the two ceiling lights?")
    assert answer.objects == (14, 15) and answer.value == pytest.approx(1.6 * np.sqrt(2))
    assert ask("how far apart are the chairs?").error == ErrorCode.AMBIGUOUS


def test_several_categories_are_counted_together() -> None:
    answer = ask("How many chairs and tables are there?")
    assert answer.value == 4 and "3 chairs and 1 table" in answer.text and answer.objects == (6, 7, 8, 5)


def test_moved_objects_count_and_gone_ones_do_not() -> None:
    states = {6: ObjectState.MOVED, 7: ObjectState.GONE}
    objects = tuple(dataclasses.replace(o, state=states.get(o.id, o.state)) for o in SCENE.objects)
    answer = ask("How many chairs are there?", scene=dataclasses.replace(SCENE, objects=objects))
    assert answer.value == 2 and answer.objects == (6, 8)


def test_a_thing_that_is_gone_did_appear() -> None:
    answer = ask("which was seen first, the stove or the bed?")
    assert answer.objects == (19, 1) and answer.facts["order"] == ["stove", "bed"]


def test_which_appeared_last() -> None:
    assert ask("which did you see last: bed, door or sofa?", ("A. bed", "B. door", "C. sofa")).choice == "B"
    assert ask("did the sofa appear before the bed?").text.startswith("No")
    assert ask("did the bed appear before the sofa?", ("yes", "no")).choice == "A"


def test_the_order_that_fits_best() -> None:
    """No option is bed, table, sofa, tv (1, 2, 4, 6 s): B is off by 1 s, A by 2 + 4 + 5."""
    text = "What is the first-time appearance order of tv, sofa, table, bed?"
    answer = ask(text, ("A. sofa, table, bed, tv", "B. table, bed, sofa, tv", "C. tv, sofa, table, bed"))
    assert answer.choice == "B" and "No option is quite that order" in answer.text
    assert answer.confidence == pytest.approx(0.95 * 0.9 / 2)


def test_no_pose_is_needed_where_none_plays_a_part() -> None:
    blind = dataclasses.replace(SCENE, T_map_robot=None)
    assert ask("where is the sofa?", scene=blind).success
    assert ask("standing at the bed facing the door, is the sofa left or right?", scene=blind).success
    for text in ("which way is the sofa?", "what is near me?", "how far is the sofa?", "what is left of the sofa?"):
        assert ask(text, scene=blind).error == ErrorCode.NOT_READY


def test_the_given_situation_replaces_the_pose() -> None:
    """At (3, 0.5) looking along -x: the bed (1, 1) is a little to the right, the door (5, 1) behind to the right."""
    situation = Situation(np.array([3.0, 0.5, 0.0]), np.array([-1.0, 0.0, 0.2]))
    answer = ask("is the bed to my left or my right?", situation=situation)
    assert answer.facts["direction"] == "right" and answer.viewpoint == "from the given pose"
    assert answer.facts["bearing_deg"] == pytest.approx(-np.degrees(np.arctan2(0.5, 2)))
    assert ask("how far is the bed?", situation=situation).value == pytest.approx(1.0)
    assert ask("what is behind me?", situation=situation).objects[0] == 2
    stated = ask("standing at the sofa facing the tv, which way is the bed?", situation=situation)
    assert stated.viewpoint == "standing by sofa 3, facing tv 4" and stated.facts["direction"] == "right"


@pytest.mark.parametrize(
    ("position", "heading"),
    [((0, 0, 0), (0, 0, 1)), ((0, 0, 0), (0, 0, 0)), ((np.nan, 0, 0), (1, 0, 0)), ((0, 0), (1, 0))],
)
def test_situations_that_give_no_direction(position: Any, heading: Any) -> None:
    situation = Situation(np.array(position, float), np.array(heading, float))
    assert ask("which way is the bed?", situation=situation).error == ErrorCode.BAD_QUESTION


def test_a_robot_with_a_base_looks_along_its_x() -> None:
    base = np.eye(4)
    base[:3, 3] = (2.5, 0.2, 0.0)
    scene = dataclasses.replace(SCENE, T_map_robot=base, robot_is_camera=False)
    answer = ask("which way is the door?", scene=scene)
    assert answer.facts["direction"] == "front" and answer.viewpoint == "from the robot's latest pose"


def test_a_camera_that_looks_straight_down_has_no_heading() -> None:
    down = np.eye(4)
    down[:3, :3] = np.diag([1, -1, -1])
    scene = dataclasses.replace(SCENE, T_map_robot=down)
    assert ask("which way is the door?", scene=scene).error == ErrorCode.BAD_QUESTION
    assert ask("how far is the door?", scene=scene).success


def test_standing_where_one_looks_gives_no_direction() -> None:
    answer = ask("Standing by the bed and facing the bed, is the sofa left or right?")
    assert answer.error == ErrorCode.BAD_QUESTION and "bed 1, facing bed 1" in answer.text
    answer = ask("Standing by the bed and facing the door, is the bed left or right?")
    assert answer.error == ErrorCode.BAD_QUESTION


def test_nothing_is_known_yet() -> None:
    empty = dataclasses.replace(SCENE, objects=(), floor_area_m2=float("nan"))
    for text in ("how many chairs are there?", "is there a chair?", "how big is this room?"):
        assert ask(text, scene=empty).error == ErrorCode.NOT_READY
    assert ask("what colour is the chair?", scene=empty).error == ErrorCode.NOT_SETTLED
    no_floor = dataclasses.replace(SCENE, floor_area_m2=float("nan"))
    assert ask("how big is this room?", scene=no_floor).error == ErrorCode.NOT_READY


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("standing at the bed facing the door, where is the sofa?", ("A. blue", "B. left")),
        ("standing at the bed facing the door, where is the sofa?", ("right", "back")),
        ("standing at the bed facing the door, where is the sofa?", ("front-left", "left")),
        ("which of these is closest to the door?", ("A. sofa", "B. ")),
        ("Which is closest to the door: tv, sofa or bed?", ("A. sofa", "B. bed")),
        ("order of first appearance: bed, sofa, tv?", ("bed, sofa", "sofa, tv, bed")),
        ("how many chairs are there?", ("three", "four")),
        ("is there a chair?", ("perhaps", "surely")),
    ],
)
def test_options_that_do_not_fit(text: str, options: tuple[str, ...]) -> None:
    assert ask(text, options).error == ErrorCode.BAD_QUESTION


def test_options_that_it_can_not_read() -> None:
    answer = ask("which of these is closest to the door?", ("the red sofa", "the tv"))
    assert answer.error == ErrorCode.NOT_SETTLED and "'red'" in answer.text


def test_numbers_among_options() -> None:
    assert ask("how many chairs are there?", ("A. 2", "B. 3", "C. 4")).choice == "B"
    assert ask("how far is the bed from the door?", ("1.5 m", "3 m", "4.5 m")).choice == "B"


def test_objects_among_options() -> None:
    answer = ask("which chair is closest to the table?", ("A. chair 8", "B. chair 6", "C. chair 7"))
    assert answer.choice == "B" and answer.objects == (6, 5)


def test_a_route_must_lead_somewhere_and_match_its_options() -> None:
    route = "You are a robot beginning at the bed and facing the door. 1. Go forward until the door 2. [please fill in]"
    assert ask(route).error == ErrorCode.BAD_QUESTION
    whole = f"{route} 3. Go forward until the sofa. Which turn?"
    assert ask(whole).facts["turns"] == ["turn back"]  # from the door, the sofa is at 143 degrees
    assert ask(whole, ("A. turn left, turn left", "B. turn right, turn left")).error == ErrorCode.BAD_QUESTION
    assert ask(whole, ("A. jump", "B. turn left")).error == ErrorCode.BAD_QUESTION


def test_a_route_that_stops_beside_a_thing() -> None:
    """From the bed (1, 1) along x until level with chair 8, at (3, 1): the table (3, 2.5) is then due left."""
    text = (
        "You are at the bed facing the door and want to reach the table. 1. Go forward until chair 8 is on your left"
        " 2. [please fill in] 3. Go forward until the table. Which turn?"
    )
    assert ask(text).facts["turns"] == ["turn left"]


def test_the_option_that_fits_a_route_best() -> None:
    """At the door, heading +x, the table (3, 2.5) is at 143 degrees to the left: a turn back, left by 8 degrees."""
    text = "I'm at the bed facing the door. 1. Go forward until the door 2. [fill in] 3. Go forward until the table."
    assert ask(text).facts["turns"] == ["turn back"]
    answer = ask(text, ("A. turn right", "B. turn left"))
    assert answer.choice == "B" and "off by 8 degrees" in answer.text


@pytest.mark.parametrize(
    ("text", "says", "objects"),
    [
        ("is the laptop on the table?", "Yes, laptop 9 is on table 5", (9, 5)),
        ("is the laptop on the bed?", "No, laptop 9 is not on bed 1", (9, 1)),
        ("is there a chair near the table?", "Yes, chair 6, chair 8 and chair 7 are near table 5", (6, 8, 7, 5)),
        ("are the chairs near the door?", "No, chair 6 and chair 8 are not near door 2", (6, 8, 2)),
        ("are the chairs near the table?", "Yes", (6, 8, 7, 5)),
        ("is anything under the bed?", "No, nothing is under bed 1", (1,)),
        ("how many chairs are near the door?", "1 near door 2: chair 7", (7, 2)),
        ("what is under the bed?", "Nothing that the map holds so far is under bed 1", (1,)),
        ("what is within 20 cm of the table?", "laptop 9", (9, 10, 13, 16, 6, 5)),
        ("which chair is left of the table?", "chair 6 is to the left of table 5", (6, 5)),
    ],
)
def test_relations_in_words(text: str, says: str, objects: tuple[int, ...]) -> None:
    answer = ask(text)
    assert answer.text.startswith(says)
    assert set(answer.objects) == set(objects) and answer.objects[-1] == objects[-1]


def test_what_is_shown_on_a_screen_is_not_its_to_say() -> None:
    assert ask("what is on the tv?").error == ErrorCode.NOT_SETTLED
    assert ask("is the cup on the tv?").text.startswith("No")


def test_relations_with_a_stated_viewpoint() -> None:
    """From the sofa (1, 4) the table (3, 2.5) is seen along (0.8, -0.6), left of it is towards (0.6, 0.8)."""
    answer = ask("standing at the sofa, what is left of the table?")
    assert answer.viewpoint == "standing by sofa 3" and 4 in answer.objects
    assert not {6, 7, 8} & set(answer.objects)


def test_every_reply_says_who_answered_from_what() -> None:
    for text in ("how many chairs are there?", "where is the chair?", "what is the weather like?"):
        answer = ask(text)
        assert (answer.answered_by, answer.map_version, answer.stamp_ns) == ("geometric", 7, 123)


def test_confidence_is_that_of_the_least_certain_thing() -> None:
    assert ask("how far is the bed from the door?").confidence == pytest.approx(0.95 * 0.9)
    near_the_line = ask("standing at the bed facing the sofa, is the refrigerator left or right?")
    assert near_the_line.facts["bearing_deg"] == pytest.approx(np.degrees(np.arctan2(0.5, 1.5)))
    unsure = tuple(dataclasses.replace(o, confidence=0.5) if o.id == 2 else o for o in SCENE.objects)
    doubted = ask("how far is the bed from the door?", scene=dataclasses.replace(SCENE, objects=unsure))
    assert doubted.confidence == pytest.approx(0.45)


def test_left_on_the_map_is_not_left_of_somebody():
    for where in ("On the map", "In the bird's-eye view", "On the plan"):
        answer = ask(f"{where}, is the bed left or right of the door?")
        assert not answer.success and answer.error == ErrorCode.NOT_SETTLED
