"""What a language model is shown: numbers, frames, bird's-eye view, words, and that it fits."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_scene import building, room, view

from s3d_ros.chat import ChatError, ChatImage
from s3d_ros.keys import ConfigError
from s3d_ros.markers import place_on_bev, plate_size
from s3d_ros.prompt.asked import description
from s3d_ros.prompt.build import Budget, Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.prompt.frames import least_telling_first, readable
from s3d_ros.prompt.numbers import Numbers, token
from s3d_ros.prompt.overview import around, crop, whole
from s3d_ros.prompt.show import show
from s3d_ros.prompt.situation import stand_of
from s3d_ros.prompt.tasks import Task, kind_of
from s3d_ros.prompt.text import for_model, for_people, heard, objects_of, plain, said
from s3d_ros.types import ErrorCode, Marker, Question, Situation

ROOM = room()
THINGS = {o.id: o for o in ROOM.objects}


def scene_of(ids):
    one = ROOM.objects[0]
    return replace(ROOM, objects=tuple(replace(one, id=i, aliases=()) for i in ids), merged={})


# Numbers


def test_an_id_is_its_own_number_where_it_can_be():
    numbering = Numbers().of(scene_of([3, 12, 4000]))
    assert dict(numbering.number_of) == {3: 3, 12: 12, 4000: 1}
    assert numbering.objects_in("<OBJ012>, <OBJ001>, <OBJ555> and <OBJ012>") == (12, 4000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(1, 60), max_size=30), min_size=1, max_size=8), st.integers(5, 40), st.data())
def test_numbers_are_one_to_one_stay_and_what_a_question_needs_has_one(scenes, largest, data):
    numbers, given_before = Numbers(largest), {}
    for ids in scenes:
        needed = data.draw(st.lists(st.sampled_from(sorted(ids)), max_size=largest)) if ids else []
        found = dict(numbers.of(scene_of(ids), needed).number_of)
        assert len(set(found.values())) == len(found) == min(len(ids), largest)
        assert set(found.values()) <= set(range(1, largest + 1))
        assert set(needed) <= set(found)
        if len(set().union(*scenes)) <= largest:  # there are enough: nobody's number ever changes
            assert all(found[i] == n for i, n in given_before.items() if i in found)
        given_before.update(found)


def test_a_question_in_a_building_gets_numbers_for_what_it_is_about():
    numbers = Numbers()
    scene = scene_of(range(1, 1501))
    assert len(numbers.of(scene).number_of) == 999
    asked = numbers.of(scene, [1400, 1401])
    assert {1400, 1401} <= set(asked.number_of)
    again = numbers.of(scene, [1400])
    assert again.number_of[1400] == asked.number_of[1400]


def test_an_old_number_means_what_its_object_was_merged_into_and_what_is_gone_has_none():
    numbering = Numbers().of(ROOM)
    assert numbering.token_of(30) == token(7)
    assert 19 not in numbering.number_of  # the stove is gone
    numbers = Numbers()
    numbers.of(scene_of([5, 8]))
    later = numbers.of(replace(scene_of([5]), merged={8: 5}))
    assert later.objects_in("<OBJ008>") == (5,)
    numbers = Numbers()
    numbers.of(scene_of([7, 2000]))
    assert numbers.of(replace(scene_of([3000]), merged={2000: 3000})).number_of[3000] == 1  # 2000's number lives on


# Words


@given(st.text(max_size=80))
def test_what_is_typed_is_only_text(text):
    quoted = plain(text + "<|im_start|>system<OBJ007>[INST]<image>")
    assert Numbers().of(ROOM).objects_in(quoted) == ()
    assert not any(t in quoted for t in ("<|", "|>", "<OBJ", "[INST]", "<image>"))
    assert plain(quoted) == quoted
    assert all(isinstance(p, str) for p in said("<OBJ007>" + text.replace("#", "").replace("7", ""), {7: THINGS[7]}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("describe object 12", "describe <OBJ012>"),
        ("Describe Object number #12, please", "Describe <OBJ012>, please"),
        ("is #7 free?", "is <OBJ007> free?"),
        ("is chair 30 free?", "is chair <OBJ007> free?"),  # 30 is now 7
        ("what of chair #7", "what of chair <OBJ007>"),
        ("the mouse 13", "the mouse <OBJ013>"),
        ("is the table 5 m away?", "is the table 5 m away?"),
        ("table 5.5", "table 5.5"),
        ("chair 5", "chair 5"),  # 5 is a table
        ("object 19", "object 19"),  # gone
        ("object 777", "object 777"),
        ("<OBJ012>", "< OBJ012 >"),
    ],
)
def test_objects_that_a_question_names_get_their_numbers(text, told):
    numbering = Numbers().of(ROOM)
    objects = {i: THINGS[i] for i in numbering.number_of}
    assert for_model(said(text, objects, numbering.resolved), numbering) == told


def test_people_read_names_and_models_numbers():
    numbering = Numbers().of(ROOM)
    words = heard("The chair <OBJ007> is by <OBJ005>, not <OBJ900>.", numbering)
    assert objects_of(words) == (7, 5)
    assert for_people(words, THINGS) == "The chair 7 is by table 5, not an unknown object."


@pytest.mark.parametrize(
    ("text", "task", "situated"),
    [
        ("what colour is the sofa?", Task.QUESTION, False),
        ("how many chairs are there?", Task.QUESTION, False),
        ("is the kettle on?", Task.QUESTION, False),
        ("where is the kettle?", Task.QUESTION, False),
        ("which room is the largest?", Task.QUESTION, False),
        ("describe the corner by the window", Task.QUESTION, False),
        ("describe chair 7", Task.CAPTION, False),
        ("please tell me about object 12", Task.CAPTION, False),
        ("what does #5 look like?", Task.CAPTION, False),
        ("which object is the red mug?", Task.GROUND_ONE, False),
        ("which chair could I sit on?", Task.GROUND_ONE, False),
        ("find the mug next to the sink", Task.GROUND_ONE, False),
        ("could you point to the coffee machine", Task.GROUND_ONE, False),
        ("find all chairs", Task.GROUND_MANY, False),
        ("which objects are on the table?", Task.GROUND_MANY, False),
        ("which chairs are free?", Task.GROUND_MANY, False),
        ("list all the cups that are on the table", Task.GROUND_MANY, False),
        ("what is behind me?", Task.SITUATED, True),
        ("which side of you is the door on?", Task.SITUATED, True),
        ("which chair is nearest to me?", Task.GROUND_ONE, True),
        ("find the nearest chair", Task.GROUND_ONE, True),
        ("what is closest to the sofa?", Task.QUESTION, False),
        ("tell me which chair is closest to the door", Task.QUESTION, False),
        ("I need to know which of object 12 or #7 lies closest to #5", Task.QUESTION, False),
        ("could you find out which chair is nearest to me?", Task.SITUATED, True),
        ("do you know what is in front of you?", Task.SITUATED, True),
        ("can you reach the mug?", Task.SITUATED, True),
        ("in the picture, is the mug to the left or to the right of the sofa?", Task.QUESTION, False),
        ("on the map, what is near you?", Task.SITUATED, True),
        ("I am standing by the sofa facing the tv; what is on my left?", Task.QUESTION, False),
    ],
)
def test_a_questions_task_is_told_from_its_words(text, task, situated):
    kind = kind_of(Question(text), said(text, THINGS))
    assert (kind.task, kind.situated) == (task, situated)


def test_options_make_a_question_of_anything_and_a_situation_situates_it():
    here = Situation(np.zeros(3), np.array([1.0, 0, 0]))
    assert kind_of(Question("find all chairs", ("a", "b")), ("find all chairs",)).task == Task.QUESTION
    assert kind_of(Question("what colour is it?", (), here), ("what colour is it?",)).task == Task.SITUATED


def test_what_a_grounding_question_looks_for():
    assert description("Which object is the red mug?") == "the red mug"
    assert description("Please find all chairs by the table.") == "chairs by the table"
    asked = 'Are there any objects that match the description "red mugs. they stand by the sink"? If so, which?'
    assert description(asked) == "red mugs. they stand by the sink"
    assert description("which chair is free?") == "which chair is free"


# The chat


def words_of(prompt):
    return "\n".join(p for t in prompt.chat.turns for p in t.parts if isinstance(p, str))


def test_all_questions_share_frames_and_view_from_above():
    prompter = Prompter()
    one = prompter.build(Question("is the kettle on?"), ROOM).chat
    two = prompter.build(Question("which chair is broken?"), ROOM).chat
    shared = prompter.shared(ROOM)
    assert one.shared_parts == two.shared_parts == shared.shared_parts == 8  # caption and image of 3 frames and the BEV
    parts = [c.turns[0].parts[:8] for c in (one, two, shared)]
    assert parts[0] == parts[1] == parts[2]
    assert one.system == shared.system
    assert [p for p in parts[0] if isinstance(p, str)] == [
        "Frame 1, 0.5 s:", "Frame 2, 1.5 s:", "Frame 3, 2.5 s:", "Bird's-eye view of the whole scene:",
    ]  # fmt: skip
    assert prompter.drawn.drawn == 4  # each once


def test_without_birds_eye_view_and_markers_nothing_speaks_of_them():
    here = Situation(np.array([2.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    asked = Question("Is #7 free, and what is on my left?", (), here)
    both = Prompter(PromptConfig(wording="zero-shot")).build(asked, ROOM)
    assert both.bev is not None and "<OBJ007>" in words_of(both) and "plates" in both.chat.system
    plain_frames = Prompter(PromptConfig(wording="zero-shot", bev=False, markers=False)).build(asked, ROOM)
    told = plain_frames.chat.system + words_of(plain_frames)
    assert plain_frames.bev is None and len(plain_frames.chat.images) == 3
    assert not any(word in told for word in ("<OBJ", "plates", "name a number", "bird's-eye", "arrow"))
    assert "Is chair free" in told and "I am standing in the scene: " in told
    assert plain_frames.views == both.views  # the same frames, chosen by what they would show
    assert plain_frames.numbering.objects_in("<OBJ007>") == ()  # a number that it can't have seen
    for style in ("zero-shot", "fine-tuned"):
        config = PromptConfig(wording=style, markers=False)
        found = Prompter(config).build(Question("which chair could I sit on?"), ROOM)
        assert found.asked.kind.task == Task.QUESTION and "OBJ" not in found.chat.system + words_of(found)


def test_without_any_picture_a_model_is_told_so():
    blind = Prompter(PromptConfig(frames=0, bev=False, markers=False)).build(
        Question("how many chairs are there?"), ROOM
    )
    assert not blind.chat.images and "without any image" in blind.chat.system and "frames" not in blind.chat.system


def test_unmarked_pictures_are_the_marked_ones_without_plates():
    marked, bare = (Prompter(PromptConfig(markers=on)).shared(ROOM).images for on in (True, False))
    assert len(marked) == len(bare) == 4
    for one, other in zip(marked, bare, strict=True):
        assert one.key != other.key and one.pixels.shape == other.pixels.shape
    view = cv2.imdecode(np.frombuffer(ROOM.views[0].jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(bare[0].pixels, cv2.resize(view, (512, 384), interpolation=cv2.INTER_AREA))


def test_what_changed_comes_last_and_nothing_else_changes():
    prompter = Prompter()
    before = prompter.shared(ROOM).turns[0].parts
    changed = replace(ROOM, views=(view(1, (1, 3), 2), *ROOM.views[1:], view(4, (8,))))
    after = prompter.shared(changed).turns[0].parts
    assert [p for p in after if isinstance(p, str)][:4] == [
        "Frame 2, 1.5 s:", "Frame 3, 2.5 s:", "Frame 1, 0.5 s:", "Frame 4, 3.5 s:",
    ]  # fmt: skip
    assert after[:4] == before[2:6]
    assert prompter.drawn.drawn == 6  # two frames anew; neither the other two nor the BEV
    assert prompter.shared(ROOM).turns[0].parts == before  # the older version still reads the same


def test_equal_keys_are_equal_pixels_and_a_new_number_is_a_new_key():
    first, second = Prompter().shared(ROOM), Prompter().shared(ROOM)
    for a, b in zip(first.images, second.images, strict=True):
        assert a.key == b.key
        assert (a.pixels == b.pixels).all()
    keys = {i.key for i in first.images}
    smaller = Prompter(PromptConfig(frame_width=320, bev_px=600)).shared(ROOM)
    assert keys.isdisjoint(i.key for i in smaller.images)
    moved = replace(ROOM, views=(replace(ROOM.views[0], markers=(Marker(4, 60.0, 120.0),)), *ROOM.views[1:]))
    assert len(keys & {i.key for i in Prompter().shared(moved).images}) == 3


def test_noise_in_a_box_is_no_new_picture_and_a_step_is():
    def shifted(by_m):
        boxes = [replace(o.box, center=o.box.center + by_m) for o in ROOM.objects]
        return replace(ROOM, objects=tuple(replace(o, box=b) for o, b in zip(ROOM.objects, boxes, strict=True)))

    pictures = [Prompter().shared(shifted(by_m)).images[-1] for by_m in (0.0, 0.0005, 0.1)]
    assert pictures[0].key == pictures[1].key != pictures[2].key
    assert (pictures[0].pixels == pictures[1].pixels).all()
    assert (pictures[0].pixels != pictures[2].pixels).any()


def test_images_have_the_size_asked_for():
    images = Prompter(PromptConfig(frame_width=320, frame_height=320, bev_px=500)).shared(ROOM).images
    assert [i.pixels.shape for i in images[:-1]] == [(240, 320, 3)] * 3
    assert max(images[-1].pixels.shape) == 500


def test_a_situated_question_brings_its_own_view_with_an_arrow_where_the_robot_is():
    prompter = Prompter()
    prompt = prompter.build(Question("what is in front of you?"), ROOM)
    chat = prompt.chat
    assert chat.shared_parts == 6  # the frames; the view from above is the question's
    assert chat.turns[0].parts[:6] == prompter.shared(ROOM).turns[0].parts[:6]
    picture = chat.turns[0].parts[-2]
    assert isinstance(picture, ChatImage)
    magenta = np.argwhere((picture.pixels == (230, 0, 200)).all(axis=2))
    bev = prompt.bev.bev
    scale = picture.pixels.shape[1] / bev.color.shape[1]
    u, v = (bev.to_pixels(np.array([[2.5, 0.2, 0.0]]))[0] + 0.5) * scale
    assert np.abs(magenta.mean(axis=0) - (v, u)).max() < 6
    assert magenta[:, 0].min() < v - 15  # it points up: the camera looks along +y
    text = words_of(prompt)
    assert "the magenta arrow is where I stand and look" in text
    assert "in front of me are <OBJ008> (chair, 1.1 m)" in text  # at (3, 1.5), a bit to the right
    assert "on my left is <OBJ001> (bed, 0.9 m)" in text.replace("are", "is")


def test_a_given_situation_replaces_the_robots_pose():
    here = Situation(np.array([5.5, 4.5, 0.0]), np.array([-1.0, 0, 0]))
    stand = stand_of(Question("q", (), here), ROOM)
    assert stand.position.tolist() == [5.5, 4.5, 0.0]
    text = words_of(Prompter().build(Question("is there a tv?", (), here), ROOM))
    assert "in front of me are <OBJ017> (plant" in text  # near the corner
    assert stand_of(Question("q"), replace(ROOM, T_map_robot=None)) is None
    up = Situation(np.zeros(3), np.array([0, 0, 1.0]))
    assert stand_of(Question("q", (), up), ROOM).heading is None


@pytest.mark.parametrize("style", ["zero-shot", "fine-tuned"])
def test_each_task_has_its_words(style):
    prompter = Prompter(PromptConfig(wording=style))

    def text(question, options=()):
        lettered = [(chr(65 + i), o) for i, o in enumerate(options)]
        return prompter.build(Question(question, options), ROOM, options=lettered).chat.turns[0].parts[-1]

    assert "<OBJ007>" in text("describe chair 7")
    assert "the red mug" in text("which object is the red mug?")
    assert "A. on\nB. off\nAnswer with the option's letter" in text("is it on?", ("on", "off"))
    assert text("how many {how} are {question}?").startswith("how many {how} are {question}?")
    if style == "fine-tuned":
        assert text("what is it?") == "what is it? Answer the question using a single word or phrase."
        assert text("find all chairs") == (
            'Are there any objects that match the description "chairs"? If so, list their IDs.'
        )


def test_facts_and_the_talk_before_it_go_with_the_question():
    talk = [(("is ", 7, " free?"), ("No, but ", 8, " is."))]
    prompt = Prompter().build(Question("and #6?"), ROOM, measured=["#6 to #5: 0.15 m"], talk=talk)
    turns = prompt.chat.turns
    assert [t.role for t in turns] == ["user", "assistant", "user"]
    assert turns[0].parts[-1] == "is <OBJ007> free?"
    assert turns[1].parts == ("No, but <OBJ008> is.",)
    assert turns[2].parts[0].startswith("Measured in the map:\n- <OBJ006> to <OBJ005>: 0.15 m\nand <OBJ006>?")
    assert not any(isinstance(p, ChatImage) for t in turns[1:] for p in t.parts)


# What fits


def count(part):
    return 100 if isinstance(part, ChatImage) else len(part.split())


def spent(chat):
    return sum(map(count, (chat.system, *(p for t in chat.turns for p in t.parts))))


@pytest.mark.parametrize("tokens", [450, 600, 750, 900, 5000])
def test_frames_that_tell_least_are_left_out_until_it_fits(tokens):
    prompter = Prompter(PromptConfig(question_tokens=64))
    prompt = prompter.build(Question("is it on?"), ROOM, budget=Budget(tokens, count))
    assert spent(prompt.chat) <= tokens
    assert prompt.bev is not None
    assert set(prompt.views) in [set(), {2}, {1, 2}, {1, 2, 3}]  # 3 shows one object, 1 three, 2 four
    if tokens == 5000:
        assert prompt.views == (1, 2, 3)
    more = prompter.build(Question("is it on, is it on, is it on, or is it off?"), ROOM, budget=Budget(tokens, count))
    assert more.views == prompt.views  # no question of ordinary length changes what all share


def test_a_view_that_alone_shows_something_outlives_one_that_shows_more_of_the_same():
    views = (view(1, (1, 2, 3, 4)), view(2, (1, 2, 3, 4)), view(3, (5,)))
    assert least_telling_first(views, Numbers().of(ROOM)) == [0, 2, 1]


def test_the_frame_budget_holds():
    views = tuple(view(k, (k,)) for k in range(1, 9))
    prompt = Prompter(PromptConfig(frames=3)).build(Question("is it on?"), replace(ROOM, views=views))
    assert len(prompt.views) == 3
    none = Prompter(PromptConfig(frames=0)).build(Question("is it on?"), ROOM)
    assert none.views == () and len(none.chat.images) == 1


def test_what_can_not_fit_is_said():
    with pytest.raises(ChatError, match=r"150 fit: make prompt\.bev_px smaller") as error:
        Prompter().build(Question("is it on?"), ROOM, budget=Budget(150, count))
    assert error.value.code == ErrorCode.MODEL_FAILED
    with pytest.raises(ChatError, match="ask shorter") as error:
        Prompter().build(Question("word " * 500), ROOM, budget=Budget(600, count))
    assert error.value.code == ErrorCode.BAD_QUESTION


def test_a_long_talk_loses_its_oldest_turns_first():
    talk = [((f"question {k} " + "so " * 100,), (f"answer {k}",)) for k in range(6)]
    budget = Budget(900, count)
    prompt = Prompter(PromptConfig(question_tokens=400)).build(Question("and now?"), ROOM, talk=talk, budget=budget)
    assert spent(prompt.chat) <= 900
    text = words_of(prompt)
    assert "question 5" in text and "question 0" not in text


# Plates and the view from above


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 511), st.floats(0, 383)), max_size=60), st.integers(9, 30))
def test_plates_on_a_frame_never_overlap_and_stay_near(points, wanted):
    marks = [Marker(k + 1, u, v) for k, (u, v) in enumerate(points)]
    numbers = {k + 1: 900 + k for k in range(len(points))}
    placed, digits = readable(marks, numbers, wanted, (512, 384))
    assert 9 <= digits <= wanted
    boxes = []
    for m in placed:
        w, h = plate_size(numbers[m.object_id], digits)
        was = marks[m.object_id - 1]
        assert (
            np.hypot(m.u - np.clip(was.u, w / 2, 512 - w / 2), m.v - np.clip(was.v, h / 2, 384 - h / 2)) <= digits + 1
        )
        boxes.append((m.u - w / 2, m.v - h / 2, m.u + w / 2, m.v + h / 2))
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= 512 and a[3] <= 384
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    if digits > 9:
        assert len(placed) == len(marks)


def test_a_crop_shows_every_point_where_it_was():
    color = ROOM.bev.color.copy()
    bev = replace(ROOM.bev, color=color)
    point = np.array([[2.01, 3.01, 0.0]])
    u, v = np.round(bev.to_pixels(point)[0]).astype(int)
    color[v, u] = (1, 2, 3)
    part = crop(bev, np.array([1.1, 2.2, 3.0, 4.0]))
    u, v = np.round(part.to_pixels(point)[0]).astype(int)
    assert part.color[v, u].tolist() == [1, 2, 3]
    outside = crop(bev, np.array([-3.0, -3.0, 1.0, 1.0]))
    assert outside.color[0, -1].tolist() == [120] * 3 and not outside.color[-1, 0].any()


def plates(overview, numbering, config):
    scale = config.bev_px / max(overview.bev.color.shape[:2])
    marks = place_on_bev(overview.bev, overview.marked, scale, numbering.number_of, config.marker_px + 1)
    return [(m, plate_size(numbering.number_of[m.object_id], config.marker_px + 1)) for m in marks]


@pytest.mark.parametrize("wanted", [(400,), (1, 2, 3), tuple(range(1, 200)), ()])
def test_a_building_is_shown_around_what_is_asked_for(wanted):
    scene, config = building(), PromptConfig()
    numbering = Numbers().of(scene, wanted)
    assert whole(scene, numbering, config) is None
    shown = around(scene, numbering, config, wanted, stand_of(Question("q"), scene) if not wanted else None)
    ids = {o.id for o in shown.marked}
    assert len(ids) <= 60
    assert set(wanted[:60]) <= ids
    placed = plates(shown, numbering, config)
    assert {m.object_id for m, _ in placed} == ids
    for i, (a, (w, h)) in enumerate(placed):
        for b, (x, y) in placed[:i]:
            assert abs(a.u - b.u) >= (w + x) / 2 or abs(a.v - b.v) >= (h + y) / 2
    side_m = max(shown.bev.color.shape[:2]) * 0.05
    if wanted == (400,):
        assert side_m < 9 and not shown.whole
    if not wanted:  # about the robot, at (3, 3)
        assert side_m < 9
        assert shown.bev.origin_xy[0] < 3 and all(np.hypot(*(o.box.center[:2] - 3)) < 9 for o in shown.marked)


def test_questions_in_a_building_share_the_frames_alone():
    prompter = Prompter()
    lamp, chairs = (prompter.build(Question(q), building()) for q in ("is the lamp on?", "is #3 free?"))
    assert lamp.chat.shared_parts == chairs.chat.shared_parts == prompter.shared(building()).shared_parts == 2
    assert 400 in {o.id for o in lamp.bev.marked} and 3 in {o.id for o in chairs.bev.marked}
    assert "a part of the scene" in words_of(lamp)


def test_the_nearest_of_many_is_on_the_picture():
    """The 60 nearest chairs are marked: not those with the lowest numbers."""
    scene = building()
    prompt = Prompter().build(Question("find the nearest chair"), scene)
    away = {o.id: float(np.linalg.norm(o.box.center - (3.0, 3.0, 1.2))) for o in scene.objects if o.label == "chair"}
    nearest = sorted(away, key=away.__getitem__)
    assert {o.id for o in prompt.bev.marked} == set(nearest[:60])


def test_wrong_values_are_named():
    with pytest.raises(ConfigError, match=r"prompt\.frame_wdth.*did you mean 'frame_width'"):
        PromptConfig.from_dict({"frame_wdth": 3})
    with pytest.raises(ConfigError, match=r"prompt\.wording = 'poetic' is none of"):
        PromptConfig.from_dict({"wording": "poetic"})


def test_what_the_model_saw_can_be_looked_at(tmp_path):
    chat = Prompter().build(Question("is <b>it</b> on?"), ROOM).chat
    page = show(chat, tmp_path / "seen", "Yes.")
    names = sorted(p.name for p in page.parent.iterdir())
    assert names == ["01-view-1.png", "02-view-2.png", "03-view-3.png", "04-bev.png", "index.html", "prompt.txt"]
    import cv2

    assert (cv2.imread(str(page.parent / names[3]))[..., ::-1] == chat.images[3].pixels).all()
    text = (page.parent / "prompt.txt").read_text()
    assert "Frame 2, 1.5 s:\n[02-view-2.png, 512 x 384]" in text and "[reply]\nYes." in text
    assert "<b>" not in page.read_text()
