"""Questions about the camera, situated ones, grounding and captions: worked out again, not to be guessed."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.geometry import point_box_distance
from s3d_ros.offline.answers import answer_json, read_questions
from s3d_ros.offline.guessing import at_random, chance, from_words, most_frequent, scored
from s3d_ros.offline.questions import ScoredQuestion, make_questions, write_questions
from s3d_ros.offline.questions_families import FAMILIES, kinds_of
from s3d_ros.offline.questions_record import (
    QuestionsError,
    asked_row,
    key_row,
    load_questions,
    question_of,
)
from s3d_ros.offline.questions_rules import movement_class, side_of
from s3d_ros.offline.questions_wordings_places import SITUATIONS
from s3d_ros.offline.score import BoxOverlap, grounding_f1, read_words, score
from s3d_ros.offline.simulate.trajectory import camera_pose
from s3d_ros.offline.true_scene import true_scene
from s3d_ros.offline.truth import (
    TrueFrame,
    TrueObject,
    Truth,
    TruthError,
    load_truth,
    shown_frames,
    write_frames,
)
from s3d_ros.types import ErrorCode, OrientedBox, Question

LABELS = ("bed", "tv", "sofa", "door", "plant", "stove", "toilet", "heater", "washer", "bookshelf")
MORE = tuple(f for f in FAMILIES if f != "vsi")


def thing(number: int, label: str, at: tuple[float, float], size: float = 0.5, height: float = 0.0) -> TrueObject:
    """A cube, well seen, ``height`` above the floor."""
    box = OrientedBox(np.array([*at, height + size / 2]), np.full(3, size), np.eye(3))
    return TrueObject(number, label, box, 9000, 40, 2.0 * number)


def home(seed: int = 0) -> Truth:
    """A room of 8 x 8 m with ten things that occur once and five that don't, and a camera that walks about in it."""
    rng = np.random.default_rng(seed)
    spots = [(x, y) for x in (-3.0, -1.0, 1.0, 3.0) for y in (-3.0, -1.0, 1.0, 3.0)]
    rng.shuffle(spots)
    labels = [*LABELS, "chair", "chair", "chair", "table", "table"]
    things = [
        thing(k + 1, label, tuple(np.array(spot) + rng.uniform(-0.4, 0.4, 2)), float(rng.uniform(0.2, 0.8)),
              float(rng.choice([0.0, 0.0, 1.4])))
        for k, (label, spot) in enumerate(zip(labels, spots, strict=False))
    ]  # fmt: skip
    frames, at, yaw, way = [], np.array([0.0, 0.0, 1.2]), 0.0, 0.0
    for k in range(96):
        T = camera_pose(at, yaw, -0.2)
        seen = {}
        for o in things:
            x, _, z = T[:3, :3].T @ (o.box.center - at)
            if z > 0.3 and abs(x) < 1.5 * z:
                seen[o.id] = 3000
        frames.append(TrueFrame(10**9 + k * 10**8, T, seen))
        way = float(rng.uniform(-np.pi, np.pi)) if k % 6 == 0 else way
        at = np.clip(at + 0.25 * np.array([np.cos(way), np.sin(way), 0.0]), [-3.8, -3.8, 1.2], [3.8, 3.8, 1.2])
        yaw += float(rng.uniform(-0.3, 0.3)) if k % 3 else 0.0
    return Truth(Path("truth.json"), 64.0, tuple(things), tuple(frames))


HOME = home()
BY_ID = {o.id: o for o in HOME.objects}
SHOWN = shown_frames(HOME)


def ask(kind: str, seed: int = 0, per_kind: int = 6, truth: Truth = HOME) -> list[ScoredQuestion]:
    return make_questions(truth, seed, per_kind, kinds=[kind])


def distance_by_hand(a: TrueObject, b: TrueObject) -> float:
    apart = np.abs(a.box.center - b.box.center) - (a.box.size + b.box.size) / 2
    return float(np.linalg.norm(np.maximum(apart, 0)))


# What every question holds


@pytest.mark.parametrize("seed", range(4))
def test_every_question_is_whole_and_the_same_for_the_same_seed(seed: int):
    truth = home(seed)
    made = make_questions(truth, seed, kinds=MORE)
    assert made == make_questions(truth, seed, kinds=MORE)
    assert {q.type for q in made} == {k for f in MORE for k in FAMILIES[f]}
    assert len({q.id for q in made}) == len(made)
    for q in made:
        assert q.question and "{" not in q.question + q.situation_text + q.description
        assert (q.situation is not None) == (q.task == "situated") == bool(q.situation_text)
        assert bool(q.frames) == (q.type in FAMILIES["vsti"])
        assert bool(q.description) == (q.type in FAMILIES["grounding"])
        if q.options:
            assert f"{q.choice}. {q.answer}" in q.options


def test_one_kind_alone_is_asked_as_among_others():
    among = [q for q in make_questions(HOME, 3, kinds=MORE) if q.type == "situated_what"]
    assert among == ask("situated_what", 3)


def test_half_of_the_wordings_are_held_out_and_all_name_the_same_things():
    lists = {"bare", "any", "all"}
    for family in MORE:
        for kind, ways in FAMILIES[family].items():
            assert len(ways) >= 10 and len({w.text for w in ways}) == len(ways), kind
            assert sum(w.split == "held_out" for w in ways) >= 5 and any(w.split == "official" for w in ways)
            named = {
                frozenset("list" if f in lists else "category" if f == "categories" else f for f in fields)
                for fields in ({f for _, f, _, _ in string.Formatter().parse(w.text) if f} for w in ways)
            }
            assert named in ({next(iter(named))}, {frozenset({"it"})}, {frozenset({"them"})}), kind
    assert {f for texts in SITUATIONS.values() for t in texts for _, f, _, _ in string.Formatter().parse(t) if f} == {
        "stand",
        "face",
    }


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"'vsit'.*vsti"):
        kinds_of(["vsit"])


# The camera


def frame_of(q: ScoredQuestion, k: int = 0) -> TrueFrame:
    ref = q.frames[k]
    assert f"frame {ref.index} of {ref.count}" in q.question and ref.count == len(SHOWN)
    frame = SHOWN[ref.index - 1]
    assert frame.stamp_ns == ref.stamp_ns
    return frame


def test_distances_from_the_camera_go_by_t_of_the_pose():
    for q in ask("camera_obj_abs_dist", per_kind=30):
        frame, o = frame_of(q), BY_ID[q.about[0]]
        apart = np.maximum(np.abs(frame.T_map_camera[:3, 3] - o.box.center) - o.box.size / 2, 0)
        assert q.value == round(float(np.linalg.norm(apart)), 1) >= 0.5 and q.unit == "m"
        assert frame.pixels[o.id] >= 1000


def test_the_closest_to_the_camera_is_asked_twice_with_other_answers():
    asked = ask("camera_obj_rel_dist", per_kind=40)
    for q in asked:
        frame = frame_of(q)
        far = {
            o.label: point_box_distance(frame.position, o.box) for o in HOME.objects if f". {o.label}" in str(q.options)
        }
        first, second = sorted(far.values())[:2]
        assert far[q.answer] == first and second - first > max(0.15, 0.1 * first)
    answers: dict[frozenset[str], set[str]] = {}
    for q in asked:
        answers.setdefault(frozenset(o[3:] for o in q.options), set()).add(q.answer)
    assert len(asked) >= 6 and all(len(a) == 2 for a in answers.values())


@pytest.mark.parametrize(
    ("axis", "kind", "names"), [(0, "lr", "Left Right"), (1, "ud", "Up Down"), (2, "nf", "Near Far")]
)
def test_positions_in_the_cameras_view(axis: int, kind: str, names: str):
    asked = ask(f"obj_obj_relative_pos_{kind}", per_kind=40)
    for q in asked:
        frame = frame_of(q)
        a, b = ((BY_ID[i].box.corners() - frame.T_map_camera[:3, 3]) @ frame.T_map_camera[:3, axis] for i in q.about)
        low, high = names.split()
        assert q.answer == (low if a.max() < b.min() else high)
        assert max(b.min() - a.max(), a.min() - b.max()) > 0.15
    count = Counter(q.answer for q in asked)
    assert len(asked) > 5 and abs(count[names.split()[0]] - count[names.split()[1]]) <= 1


def test_moves_of_the_camera():
    for q in ask("camera_displacement", per_kind=30):
        moved = frame_of(q, 1).T_map_camera[:3, 3] - frame_of(q, 0).T_map_camera[:3, 3]
        assert q.value == round(float(np.linalg.norm(moved)), 1) >= 0.5
    asked = ask("camera_movement_direction", per_kind=16)
    assert max(Counter(q.answer for q in asked).values()) <= 6
    for q in asked:
        first, last = frame_of(q, 0), frame_of(q, 1)
        x, y, z = np.linalg.inv(first.T_map_camera)[:3, :3] @ (last.position - first.position)
        side = {"Right": x, "Left": -x, "Forward": z, "Backward": -z}
        assert side[q.answer] == max(abs(x), abs(y), abs(z)) and first.stamp_ns < last.stamp_ns


def test_which_way_a_step_goes():
    assert movement_class((0.0, 0.9, 0.1)) is None  # down: nobody is asked about that
    assert movement_class((0.0, 0.0, -0.2)) is None  # too short
    assert movement_class((0.0, 0.0, -0.3)) == "Backward"


def test_frames_are_those_that_are_shown():
    assert len(SHOWN) == 32 and SHOWN[0] is HOME.frames[0] and SHOWN[-1] is HOME.frames[-1]
    stamps = [HOME.frames[7].stamp_ns, HOME.frames[3].stamp_ns]
    assert shown_frames(HOME, stamps_ns=stamps) == (HOME.frames[3], HOME.frames[7])
    with pytest.raises(TruthError, match="another recording"):
        shown_frames(HOME, stamps_ns=[5])
    assert not make_questions(replace(HOME, frames=()), kinds=["vsti"])


def test_frames_are_written_and_read(tmp_path: Path):
    (tmp_path / "truth.json").write_text('{"room": {"floor_area_m2": 1}, "objects": []}')
    write_frames(tmp_path / "truth" / "frames.jsonl", HOME.frames[:3])
    back = load_truth(tmp_path).frames
    assert [f.pixels for f in back] == [f.pixels for f in HOME.frames[:3]]
    assert np.allclose(back[2].T_map_camera, HOME.frames[2].T_map_camera)
    with open(tmp_path / "truth" / "frames.jsonl", "a") as file:
        file.write('{"stamp_ns": 1, "T_map_camera": [[1]], "pixels": {}}\n')
    with pytest.raises(TruthError, match=r"frames\.jsonl, line 4"):
        load_truth(tmp_path)


# Situated


def test_sides():
    ahead = (0.0, 1.0)
    assert [side_of(p, ahead) for p in ((0, 2), (2, 0), (-2, 0.1), (0.1, -2))] == ["front", "right", "left", "behind"]
    assert side_of((1.0, 1.0), ahead) is None


def test_situated_answers_by_hand():
    made = [q for seed in range(3) for q in make_questions(HOME, seed, kinds=["situated"])]
    for q in made:
        assert q.situation is not None
        here, ahead = np.array(q.situation.position), np.array(q.situation.heading)
        assert np.linalg.norm(ahead) == pytest.approx(1, abs=1e-5) and ahead[2] == 0
        right = np.array([ahead[1], -ahead[0], 0.0])
        far = {i: point_box_distance(here, o.box) for i, o in BY_ID.items()}
        sides = {}
        for i, o in BY_ID.items():
            along, aside = (o.box.center - here) @ ahead, (o.box.center - here) @ right
            turned = np.degrees(np.arctan2(aside, along))
            sides[i] = next(n for n, m in (("front", 0), ("right", 90), ("left", -90), ("behind", 180))
                            if abs((turned - m + 180) % 360 - 180) <= 45)  # fmt: skip
        if q.type == "situated_direction":
            assert sides[q.about[0]] == q.answer.removeprefix("in ")
        elif q.type == "situated_distance":
            assert q.value == pytest.approx(far[q.about[0]], abs=1e-3)
        elif q.type == "situated_closest":
            named = {o.label: far[i] for i, o in BY_ID.items() if any(x[3:] == o.label for x in q.options)}
            assert q.answer == min(named, key=lambda k: named[k])
        elif q.type != "situated_can":
            side = next(s for s in ("left", "right", "behind", "front") if s in q.question.lower())
            there = [i for i in BY_ID if sides[i] == side and far[i] <= 3]
            if q.type == "situated_count":
                assert set(q.about) <= set(there) and q.value == len(q.about)
            elif q.type == "situated_is":
                assert q.answer == ("yes" if set(there) & set(q.about) else "no")
            else:
                assert q.about[0] == min(there, key=lambda i: far[i]) and q.answer == BY_ID[q.about[0]].label
        else:
            reach = float(re.findall(r"[\d.]+(?= metre)", q.question)[0])
            assert q.answer == ("yes" if min(far[i] for i in q.about) < reach else "no")


@pytest.mark.parametrize("kind", ["situated_is", "situated_can"])
def test_yes_and_no_come_in_pairs(kind: str):
    asked = ask(kind, per_kind=20)
    assert Counter(q.answer for q in asked) == {"yes": 10, "no": 10}
    by_case: dict[object, set[str]] = {}
    for q in asked:
        words = re.findall(r"left|right|behind|front|[\d.]+(?= metre)", q.question)
        by_case.setdefault((q.about, *words), set()).add(q.answer)
    assert all(answers == {"yes", "no"} for answers in by_case.values())


# Grounding, captions


def test_what_is_described_fits_and_nothing_else_does():
    for seed in range(4):
        for q in make_questions(HOME, seed, kinds=["grounding"]):
            text = q.description
            label = next((k for k in ("chair", "table") if k in text.split(" of ")[0] or f"{k}s" in text), None)
            pool = [o for o in HOME.objects if o.label == label]
            anchor = next((BY_ID[i] for i in BY_ID if text.endswith(f"the {BY_ID[i].label}")), None)
            found: list[int] | None = None
            if (reach := re.search(r"(within|more than) ([\d.]+) metres", text)) and anchor:
                word = text.removeprefix("the ").split(f" {reach[1]}")[0]
                pool = [o for o in HOME.objects if word.lower() in (o.label, f"{o.label}s", f"{o.label}es", "shelves")]
                near = [o.id for o in pool if distance_by_hand(o, anchor) < float(reach[2])]
                found = near if reach[1] == "within" else [o.id for o in pool if o.id not in near]
            elif anchor and "nearest" in text:
                found = [min(pool, key=lambda o: distance_by_hand(o, anchor)).id]
            elif anchor and "farthest" in text:
                found = [max(pool, key=lambda o: distance_by_hand(o, anchor)).id]
            elif re.search("bigger|biggest", text):
                found = [max(pool, key=lambda o: float(o.box.size[0])).id]
            elif re.search("small", text):
                found = [min(pool, key=lambda o: float(o.box.size[0])).id]
            elif re.search("high", text):
                found = [max(pool, key=lambda o: float(o.box.center[2])).id]
            elif re.search("low", text):
                found = [min(pool, key=lambda o: float(o.box.center[2])).id]
            assert found is not None and sorted(found) == list(q.objects), q.question
            assert (q.type == "grounding_none") == (not q.objects)
            wanted = "No." if not q.objects else " and ".join(f"<OBJ{i:03d}>" for i in q.objects) + "."
            assert q.answer.removeprefix("Yes. ") == wanted
            assert q.task == ("ground_one" if q.type == "grounding_one" else "ground_many")


def test_captions_say_label_size_and_neighbours_and_a_colour_only_where_the_truth_has_it():
    red = replace(thing(1, "armchair", (0, 0), 0.6), color="red")
    truth = Truth(
        Path("truth.json"), 9.0, (red, thing(2, "tv", (0, 1.6), 0.4, 1.0), thing(3, "vase", (0, 0), 0.2, 0.6))
    )
    texts = {q.objects[0]: q.answer for q in make_questions(truth, kinds=["caption"])}
    assert texts[1].startswith("This is a red armchair, 60 cm wide, 60 cm deep and 60 cm high. It is under the vase")
    assert texts[3].startswith("This is a vase, 20 cm wide") and "on the armchair" in texts[3]
    assert "red" not in texts[2] and "1.2 m from the armchair" in texts[2]


# Scores


def test_f1_of_what_is_named():
    iou = np.array([[0.6, 0.1], [0.3, 0.0]])
    assert grounding_f1(iou, 0.25) == 0.5 and grounding_f1(iou, 0.5) == 0.5
    assert grounding_f1(np.array([[0.6, 0.3], [0.3, 0.0]]), 0.25) == 1.0  # the first may be either, the second only one
    assert grounding_f1(np.zeros((0, 0)), 0.25) == 1.0
    assert grounding_f1(np.zeros((1, 0)), 0.25) == grounding_f1(np.zeros((0, 2)), 0.25) == 0.0


def test_grounding_is_scored_by_the_boxes_of_the_map():
    key = [{"id": "1", "type": "grounding_one", "answer": "", "objects": [7], "task": "ground_one"}]
    key += [{"id": "2", "type": "grounding_none", "answer": "No.", "objects": [], "task": "ground_many"}]
    key += [{"id": "3", "type": "grounding_many", "answer": "", "objects": [7, 8], "task": "ground_many"}]
    overlap = BoxOverlap((1, 2), (7, 8), np.array([[0.4, 0.0], [0.0, 0.9]]))
    rows = [{"id": "1", "objects": [1, 2]}, {"id": "2", "objects": []}, {"id": "3", "objects": [1, 2, 99]}]
    got = {r["id"]: r for r in score(key, rows, overlap)["rows"]}
    assert [got[k]["f1"] for k in "123"] == [{0.25: 1, 0.5: 0}, {0.25: 1, 0.5: 1}, {0.25: 0.8, 0.5: 0.4}]
    assert score(key, [])["mean"] == 0 and score(key, [])["unanswered"] == 3  # silence finds nothing, not even nothing
    refused = [{"id": "2", "success": False, "objects": []}]
    assert score(key, refused)["kinds"]["grounding_none"]["score"] == 0


@pytest.mark.parametrize(
    ("said", "right", "words"),
    [
        ("Yes, chair 3 is behind you.", "yes", "yes"),
        ("No.", "no", "no"),
        ("The tv.", "tv", "tv"),
        ("tv 12, 1.20 m away, is the closest", "tv", "tv"),
        ("computer mouse <OBJ004>", "computer mouse", "computer mouse"),
        ("", "tv", ""),
    ],
)
def test_words_of_an_answer(said: str, right: str, words: str):
    assert read_words({"answer": said}, right) == words
    assert read_words({"answer": said, "success": False}, right) == ""


def test_captions_are_counted_and_not_scored():
    asked = ask("caption")
    found = score([key_row(q) for q in asked], [{"id": q.id, "answer": "A chair."} for q in asked])
    assert found["kinds"]["caption"] == {"score": None, "count": 6, "unanswered": 0} and found["mean"] is None


def test_the_three_relative_positions_are_one_of_vstis_five_tasks():
    kinds = ("obj_obj_relative_pos_lr", "obj_obj_relative_pos_ud", "obj_obj_relative_pos_nf", "camera_obj_rel_dist")
    key = [
        {"id": k, "type": k, "answer": "x", "value": None, "choice": "A", "options": ["A. x", "B. y"]} for k in kinds
    ]
    rows = [{"id": k, "choice": "B" if k == "camera_obj_rel_dist" else "A"} for k in kinds]
    assert score(key, rows)["families"]["vsti"] == {"score": 50, "count": 4, "unanswered": 0}


# Guessing, and knowing


def test_guessing_stays_at_chance_and_geometry_is_right():
    homes = {f"home {k}": home(k) for k in range(12)}
    places = {name: make_questions(t, 1, 8, kinds=["vsti", "situated", "grounding"]) for name, t in homes.items()}
    levels = {"obj_obj_relative_pos_lr": 50, "obj_obj_relative_pos_nf": 50, "situated_is": 50, "situated_can": 50}
    levels |= {"camera_movement_direction": 25, "situated_direction": 25, "situated_closest": 25, "situated_what": 10}
    for guessed in (at_random(places), most_frequent(places), from_words(places)):
        for kind, level in levels.items():
            assert guessed["kinds"][kind]["score"] <= level + 16, kind  # 96 questions: three standard errors
    even = chance(places)
    assert even["situated_is"] == even["obj_obj_relative_pos_ud"] == 50 and even["situated_closest"] == 25
    answerer = GeometricAnswerer()

    def geometric(name: str, questions: list[ScoredQuestion]) -> list[dict[str, object]]:
        scene = true_scene(homes[name], shown_frames(homes[name]))
        return [answer_json(q.id, answerer.answer(question_of(asked_row(q)), scene)) for q in questions]

    known = scored(places, geometric)  # type: ignore[arg-type]
    read = [r for r in known["rows"] if not r["unanswered"] and r["wording"] != "held_out"]
    assert len(read) > 0.9 * sum(r["wording"] != "held_out" for r in known["rows"])
    for kind, rows in known["kinds"].items():
        answered = [r["points"] for r in read if r["type"] == kind]
        if rows["count"]:
            assert np.mean(answered) > 0.97, kind


def test_a_frame_that_is_not_there_is_refused():
    scene = true_scene(HOME, SHOWN[:20])
    for text in (
        "How far is the camera from the tv in frame 3 of 32?",
        "How far is the camera from the tv in frame 21?",
    ):
        answer = GeometricAnswerer().answer(Question(text), scene)
        assert answer.error == ErrorCode.NOT_IN_MAP and "20 view frames" in answer.text


# Files


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_files_are_read_back(tmp_path: Path, ending: str):
    made = make_questions(HOME, 2, kinds=tuple(FAMILIES))
    asked, key = tmp_path / f"questions.{ending}", tmp_path / f"key.{ending}"
    write_questions(made, asked, key)
    assert load_questions(asked, key) == made
    assert (len(asked.read_text().splitlines()) == len(made)) == (ending == "jsonl")
    assert not re.search(r'"(answer|value|choice|about|objects)":', asked.read_text())
    for (name, question), q in zip(read_questions(asked), made, strict=True):
        assert name == q.id and question.text == q.question and (question.situation is None) == (q.situation is None)
    asked.write_text('{"id": "1", "type": "x", "question": "?"}\n')
    with pytest.raises(QuestionsError, match="no pair"):
        load_questions(asked, key)
    asked.write_text('{"id": "1"}\n{"id": ')
    with pytest.raises(QuestionsError, match="line 2"):
        load_questions(asked, key)
    asked.write_text('[{"id": "7", "question": "?", "situation": {"position": [0, 0], "heading": [1, 0, 0]}}]')
    with pytest.raises(QuestionsError, match=r"question '7'.*3 numbers"):
        read_questions(asked)
