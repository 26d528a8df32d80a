"""What a model says, read as an answer."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3d_ros.prompt.numbers import Numbering, token
from s3d_ros.prompt.replies import partial, read_choice, read_reply, read_value, tidy
from s3d_ros.prompt.tasks import Task

IDS = {n: 1000 + n for n in (1, 2, 3, 7, 12, 99, 998)}  # number -> ID: no number is an ID
NUMBERING = Numbering({i: n for n, i in IDS.items()}, IDS, {})
OPTIONS = (("A", "left"), ("B", "right"), ("C", "front left"), ("D", "behind"))


@given(st.text(max_size=200), st.sampled_from(Task), st.booleans())
@example("<OBJ999999999999999999> OBJ", Task.GROUND_MANY, False)
@example("1e999 ٣ m ٣", Task.QUESTION, False)
def test_whatever_a_model_says_only_objects_of_the_map_come_of_it(text, task, choice):
    reading = read_reply(text, task, NUMBERING, OPTIONS if choice else ())
    assert set(reading.objects) <= set(IDS.values())
    assert reading.choice in ("", "A", "B", "C", "D") and (choice or not reading.choice)
    assert reading.value is None or abs(reading.value) < 1e13


@given(st.lists(st.sampled_from(sorted(IDS)), min_size=1, max_size=7, unique=True), st.booleans())
def test_lists_of_objects_keep_their_order(numbers, joined):
    told = " and ".join(map(token, numbers)) if joined else ", ".join(map(token, numbers))
    reading = read_reply(f"Yes. {told}.", Task.GROUND_MANY, NUMBERING)
    assert reading.objects == tuple(IDS[n] for n in numbers)
    assert read_reply(f"{told}.", Task.GROUND_ONE, NUMBERING).objects == (IDS[numbers[0]],)


@given(st.lists(st.integers(0, 5000).filter(lambda n: n not in IDS), min_size=1, max_size=5))
def test_numbers_that_stand_for_nothing_name_nothing(numbers):
    text = "Yes. " + " and ".join(f"<OBJ{n:03d}>" for n in numbers)
    reading = read_reply(text, Task.GROUND_MANY, NUMBERING)
    assert reading.objects == () and reading.unknown == len({n for n in numbers if 1 <= n <= 999})
    assert "<OBJ" not in "".join(map(str, reading.said))


@pytest.mark.parametrize("text", ["No.", "no", "None", "**No.**", "There is no such object.", "Nothing matches."])
def test_no_is_no_object(text):
    for task in (Task.GROUND_MANY, Task.GROUND_ONE):
        assert read_reply(text, task, NUMBERING).objects == ()


@pytest.mark.parametrize(
    "text",
    ["<OBJ012>", "<OBJ012>.", "<OBJ12>", "OBJ012", "(OBJ 12)", "obj_012", "object 12", "Object #12.", "#12",
     "12", "12.", "The ID is 12.", "The answer is 12", "It is marked with number 12.", "<think>7? no</think> <OBJ012>",
     "No. 12"],
)  # fmt: skip
def test_one_object_however_it_is_written(text):
    assert read_reply(text, Task.GROUND_ONE, NUMBERING).objects == (1012,)


def test_what_a_person_typed_and_the_model_echoes_is_no_object():
    assert read_reply("You asked about < OBJ007 >.", Task.QUESTION, NUMBERING).objects == ()
    assert read_reply("12", Task.QUESTION, NUMBERING).objects == ()  # a count


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("b", "B"), ("B.", "B"), ("(B)", "B"), ("B. right", "B"), ("**B**", "B"), ("(b) right", "B"),
        ("The answer is B.", "B"), ("Answer: C", "C"), ("The correct option is (D).", "D"), ("right", "B"),
        ("Right.", "B"), ("front left", "C"), ("It is to the front left of the bed.", "C"), ("A", "A"),
        ("A chair is to the right.", "B"), ("left or right", ""), ("E", ""), ("", ""), ("I don't know", ""),
        ("To the right: option B", "B"), ("Final answer:\nD", "D"), ("A) left", "A"), ("I think it is behind", "D"),
    ],
)  # fmt: skip
def test_the_option_that_is_chosen(text, letter):
    assert read_choice(text, OPTIONS) == letter


@given(st.sampled_from("ABCD"), st.sampled_from(["{}", "{}.", "({})", "{})", " {}\n", "Answer: {}", "**{}**", "{}:"]))
def test_a_letter_in_every_dress(letter, dress):
    assert read_choice(dress.format(letter), OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5 meters", (2.5, "m")), ("About 2.5 m.", (2.5, "m")), ("It is 80 cm wide", (80.0, "cm")),
        ("three", (3, "")),
        ("3", (3, "")), ("There are 4 chairs.", (4, "")), ("two chairs", (2, "")), ("12 square meters", (12, "m2")),
        ("12 m²", (12, "m2")), ("14.2 sq. ft", (14.2, "ft2")), ("90 degrees", (90, "deg")), ("45°", (45, "deg")),
        ("1,250 mm", (1250, "mm")), ("6 feet", (6, "ft")), ("on the table", (None, "")), ("<OBJ012>", (None, "")),
        ("<OBJ012> is 1.5 m from <OBJ007>", (1.5, "m")), ("between 1 m and 2 m", (None, "")), ("at 3:15", (None, "")),
        ("", (None, "")), ("zero", (0, "")),
        ("five people could sit around the table that stands by the window over there", (None, "")),
        ("3 in the room", (3, "")), ("one of the chairs", (None, "")), ("5 in", (5, "in")),
    ],
)  # fmt: skip
def test_the_number_in_an_answer(text, value):
    assert read_value(text) == value


def test_a_text_under_way_shows_no_half_object():
    assert partial("The chair <OBJ0") == "The chair "
    assert partial("The chair <OBJ012> is") == "The chair <OBJ012> is"
    assert partial("<think>let me see") == ""
    assert partial("5 < 6") == "5 < 6"


def test_characters_that_nobody_sees_are_left_out():
    assert tidy("a\0b\x1b[1m\x7f c\nd\té <OBJ\x0012>") == "ab[1m c\nd\té <OBJ012>"
