"""What the map tells a language model, and what it may ask: figures of a room known by hand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from answer_scene import kitchen_like
from small_run import small_scene

from s3d_ros.answer.facts import MOST_LINES, MapReader
from s3d_ros.answer.tools import MOST_CALLS, MapTools
from s3d_ros.types import Intrinsics, Marker, Question, Scene, Situation, ViewFrame

ROOM = kitchen_like()


def facts(text: str, scene: Scene = ROOM, **given: object) -> list[str]:
    return list(MapReader().facts(Question(text, **given), scene))  # type: ignore[arg-type]


def told(text: str, scene: Scene = ROOM) -> list[str]:
    return [r.measured for r in MapTools().run(text, scene)]


# --- facts ------------------------------------------------------------------------------------------------------


def test_facts_of_what_a_question_names():
    """The table is 1.2 x 0.8 x 0.75 m and 1.9 m ahead; the door is at (5, 1), 0.2 x 1 x 2 m."""
    lines = facts("Would the table fit through the door?")
    assert lines[:2] == ["the map holds 1 table: #5", "the map holds 1 door: #2"]
    assert "#5 (table): 1.20 x 0.80 m and 0.75 m high, 1.95 m from the camera, ahead of it" in lines
    assert "#2 (door): 1.00 x 0.20 m and 2.00 m high, 2.42 m from the camera, right of it" in lines
    assert "#5 and #2 are 1.43 m apart" in lines  # hypot(1.3, 0.6)
    assert len(lines) == 5


def test_what_lies_on_something_says_so():
    assert any(
        line.startswith("#10 (cup): 0.08 x 0.08 m and 0.10 m high, on #5, ") for line in facts("Is the cup full?")
    )


def test_several_of_a_kind_are_counted_and_the_nearest_told_of():
    lines = facts("Which chair looks comfortable?")
    assert lines[0] == "the map holds 3 chairs: #6, #7, #8"
    assert [line.split(" ")[0] for line in lines[1:4]] == ["#8", "#6", "#7"]  # by distance from the camera


def test_an_id_counts_and_an_alias_is_the_survivor():
    lines = facts("Is chair 30 broken?")
    assert lines[0].startswith("#7 (chair)") and len(lines) == 1


def test_what_the_map_does_not_name_is_said():
    assert facts("Is the kettle on the table hot?")[0] == "the map names no kettle"


def test_situation_and_stated_viewpoint_replace_the_robot():
    here = Situation(np.array([3.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    assert "1.25 m from where I stand, left of me" in facts("What is chair 8 made of?", situation=here)[0]
    line = facts("Standing by the bed and facing the sofa, is the table dirty?")
    assert any(x.startswith("#5 (table)") and "m from #1, front-right as seen from there" in x for x in line)


def test_facts_are_few_and_none_where_nothing_is_named():
    everything = (
        "bed door sofa tv table chair laptop cup refrigerator trash can computer mouse suitcase plant whiteboard"
    )
    assert len(facts(f"Compare the {' and the '.join(everything.split())}.")) == MOST_LINES
    assert facts("Is it cosy in here?") == []
    assert facts("Is the table by the door ok?", options=("broken", "")) != []


def test_no_pose_and_no_up_axis_of_z():
    assert "from" not in facts("Is the tv on?", replace(ROOM, T_map_robot=None))[1]
    R = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float64)
    assert facts("Is the tv on?", kitchen_like(R, (1, 2, 3))) == facts("Is the tv on?")


# --- calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, result",
    [
        ("distance(#6, #7)", "distance(#6, #7) = 1.80 m"),
        ("distance(#30, #6)", "distance(#30, #6) = 1.80 m"),  # an alias
        ("count(chair)", "count(chair) = 3"),
        ("count(chairs)", "count(chairs) = 3"),
        ("count('fridge')", "count('fridge') = 1"),
        ("count(zebra)", "count(zebra) = 0"),
        ("list(chair)", "list(chair) = #6, #7, #8"),
        ("list(zebra)", "list(zebra) = none"),
        ("closest(chair, #10)", "closest(chair, #10) = #7, 0.61 m"),
        ("closest(chair, #6)", "closest(chair, #6) = #8, 0.71 m"),
        ("closest(chair, me)", "closest(chair, me) = #8, 1.12 m"),
        ("where(#10)", "where(#10) = 0.08 x 0.08 m and 0.10 m high, on #5, 2.63 m from the camera, ahead of it"),
        ("distance(#6)", "distance(#6): there is no such call"),
        ("remove(#6)", "remove(#6): there is no such call"),
        ("distance(#6, #99)", "distance(#6, #99): there is no object #99 now"),
        ("where(#19)", "where(#19): there is no object #19 now"),  # gone
        ("where(an unknown object)", "where(an unknown object): 'an unknown object' is no object"),
        ("count(#6)", "count(#6): '#6' is no label"),
        ("crop(#6)", "crop(#6): no view frame shows it well enough"),
        ("__import__('os')", "a call that can't be read: __import__('os')"),
        ("distance(#6, #7) + 1", "a call that can't be read: distance(#6, #7) + 1"),
    ],
)
def test_calls(call: str, result: str):
    assert len(told(f"CALL {call}")) == 1
    assert told(f"CALL {call}")[0].startswith(result)


def test_numbers_by_hand():
    """Cup #10 begins at (3.36, 2.66), chair #8 ends at (3.25, 1.75), at heights that overlap: hypot(0.11, 0.91)."""
    assert told("CALL distance(#10, #8)") == ["distance(#10, #8) = 0.92 m"]


def test_an_answer_is_no_call():
    tools = MapTools()
    for text in ("The chair #6.", "call me later", "I would CALLOUT it", ""):
        assert not tools.asks(text) and list(tools.run(text, ROOM)) == []


def test_calls_among_words_and_more_than_are_answered():
    assert told("Let me see.\n`CALL count(chair)`\n- CALL count(bed).") == ["count(chair) = 3", "count(bed) = 1"]
    lines = told("CALL count(chair)\n" * 9)
    assert len(lines) == MOST_CALLS + 1 and "5 more calls were not answered" in lines[-1]


def test_crop_shows_the_object():
    """A red chair in a grey picture: its crop is mostly red, from the frame that shows it larger."""
    scene = small_scene()
    k = Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
    thing = scene.objects[1]
    views = []
    for number, back in ((1, 1.0), (2, 0.0)):
        T = scene.views[0].T_map_camera.copy()
        T[1, 3] -= back
        T[0, 3], T[2, 3] = 2.8, 0.45
        center = np.linalg.inv(T) @ np.append(thing.box.center, 1)
        u, v = 300 * center[0] / center[2] + 159.5, 300 * center[1] / center[2] + 119.5
        size = 300 * np.array([0.5, 0.9]) / center[2] / 2
        picture = np.full((240, 320, 3), 128, np.uint8)
        cv2.rectangle(
            picture, tuple(int(x) for x in (u, v) - size), tuple(int(x) for x in (u, v) + size), (0, 0, 255), -1
        )
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        views.append(ViewFrame(number, 0, number, jpeg, k, T, (Marker(4, u, v),)))  # marked by its retired ID
    inside = views[1].T_map_camera.copy()
    inside[1, 3] = 1.45  # within the chair's box
    views.append(replace(views[1], id=3, T_map_camera=inside))
    views.append(replace(views[1], id=4, markers=(Marker(2, 105.0, 20.0),)))  # only a corner of it is to be seen
    scene = replace(scene, views=tuple(views[::-1]))
    (result,) = MapTools().run("CALL crop(#2)", scene)
    assert result.measured == "crop(#2) = a picture of the chair, cut from frame 2"
    (image,) = result.images
    red = (image.pixels[..., 0] > 180) & (image.pixels[..., 1] < 80)
    assert 0.25 < red.mean() < 0.7 and red[red.shape[0] // 2, red.shape[1] // 2]
    assert max(image.pixels.shape[:2]) <= 384
    assert MapTools().run("CALL crop(#2)", scene)[0].images[0].key == image.key
