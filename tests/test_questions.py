"""Questions made from the truth: definitions by hand, and every key worked out a second time."""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3d_ros.offline.questions import ScoredQuestion, make_questions, write_questions
from s3d_ros.offline.questions_rules import direction_class, heading_angle_deg, route_turns, turn_of
from s3d_ros.offline.questions_wordings import SYNONYMS, WORDINGS, plural
from s3d_ros.offline.score import score
from s3d_ros.offline.truth import TrueObject, Truth, TruthError, load_truth
from s3d_ros.types import OrientedBox

NOT_GEOMETRIC = Path(__file__).parent / "data" / "not_geometric.json"
LABELS = ("bed", "tv", "sofa", "table", "door", "plant", "stove", "toilet", "heater", "washer", "bookshelf", "tv")


def thing(
    number: int,
    label: str,
    at: tuple[float, float],
    size: float = 0.4,
    first_s: float | None = None,
    pixels: int = 9000,
) -> TrueObject:
    """A cube on the floor, well seen."""
    box = OrientedBox(np.array([*at, size / 2]), np.full(3, size), np.eye(3))
    return TrueObject(number, label, box, pixels, 40, float(number) * 2 if first_s is None else first_s)


def place(*things: TrueObject, area: float = 20.0) -> Truth:
    return Truth(Path("truth.json"), area, things)


# A room with everything: the bed in the west, the tv north of it, and so on; two chairs, one of them hardly seen.
ROOM = place(
    thing(1, "bed", (0, 0), 1.0),
    thing(2, "tv", (0, 3)),
    thing(3, "sofa", (3, 1), 0.8),
    thing(4, "door", (-3, 1)),
    thing(5, "stove", (1, -3), 0.6),
    thing(6, "table", (4, 4)),
    thing(7, "table", (4, -3)),
    thing(8, "table", (-4, -3)),
    thing(9, "chair", (2, 3), pixels=1999),
    thing(10, "chair", (-2, 3)),
)


# Definitions


def test_angles_seen_from_above():
    here, north = (1.0, 1.0, 0.3), (1.0, 5.0, 2.0)
    assert heading_angle_deg(here, north, (5, 1, 0)) == pytest.approx(90)  # east is to the right of north
    assert heading_angle_deg(here, north, (-1, 1, 0)) == pytest.approx(-90)
    assert heading_angle_deg(here, north, (2, 2, 9)) == pytest.approx(45)
    assert abs(heading_angle_deg(here, north, (1, -5, 0))) == pytest.approx(180)


@pytest.mark.parametrize(
    ("angle", "easy", "medium", "hard"),
    [
        (30, "right", "right", "front-right"),
        (-30, "left", "left", "front-left"),
        (100, "right", "right", "back-right"),
        (-120, "left", "left", "back-left"),
        (160, "right", "back", "back-right"),
        (-146, "left", "back", "back-left"),
        (5, None, None, None),
        (175, None, "back", None),
        (-130, "left", None, "back-left"),
        (84, "right", "right", None),
    ],
)
def test_directions(angle: float, easy: str | None, medium: str | None, hard: str | None):
    assert [direction_class(angle, level) for level in ("easy", "medium", "hard")] == [easy, medium, hard]


@pytest.mark.parametrize(
    ("angle", "turn"),
    [(90, "turn right"), (-46, "turn left"), (170, "turn back"), (-151, "turn back"), (0, None), (135, None)],
)
def test_turns(angle: float, turn: str | None):
    assert turn_of(angle) == turn


def test_the_turns_of_a_route():
    # From the west wall east to the middle, north (left), and east again (right); then back to where it came from.
    stops = [(0, 0), (3, 0), (3, 3), (6, 3), (3, 3)]
    assert route_turns(stops, turn_first=False) == ["turn left", "turn right", "turn back"]
    # Facing the first place but never going there
    assert route_turns([(0, 0), (3, 0), (0, -3)], turn_first=True) == ["turn right"]
    assert route_turns([(0, 0), (3, 0), (6, 1)], turn_first=False) is None  # nearly straight on
    assert route_turns([(0, 0), (0.5, 0), (0.5, 3)], turn_first=False) is None  # too near to give a direction


# What is asked


def ask(truth: Truth, kind: str, seed: int = 0, **options: object) -> list[ScoredQuestion]:
    return [q for q in make_questions(truth, seed, **options) if q.type == kind]  # type: ignore[arg-type]


def test_counts_are_of_categories_that_were_wholly_well_seen():
    [asked] = ask(ROOM, "object_counting")
    assert (asked.value, asked.answer, asked.about) == (3, "3", (6, 7, 8))
    assert "tables" in asked.question or "table(s)" in asked.question or "every table" in asked.question


def test_a_thing_that_was_hardly_seen_keeps_its_kind_out_of_every_question():
    for seed in range(20):
        for q in make_questions(ROOM, seed):
            assert "chair" not in q.question and not any("chair" in o for o in q.options)
            assert not {9, 10} & set(q.about)


def test_seen_in_too_few_frames_is_hardly_seen():
    box = ROOM.objects[0].box
    assert not TrueObject(1, "bed", box, 2000, 4, 0.0).well_seen
    assert TrueObject(1, "bed", box, 2000, 5, 0.0).well_seen


def test_distances_by_hand():
    two = place(thing(1, "bed", (0, 0), 1.0), thing(2, "tv", (3, 0), 0.4))
    [asked] = ask(two, "object_abs_distance")
    assert asked.value == pytest.approx(3 - 0.5 - 0.2)
    near = place(thing(1, "bed", (0, 0), 1.0), thing(2, "tv", (0.9, 0), 0.4))
    assert not ask(near, "object_abs_distance")  # 0.2 m: too near for a relative error to mean anything


def test_sizes_are_the_longest_extent_in_centimetres():
    sizes = {q.about[0]: q.value for q in ask(ROOM, "object_size_estimation")}
    assert sizes == {1: 100, 2: 40, 3: 80, 4: 40, 5: 60}


def test_the_room():
    assert {q.value for q in ask(ROOM, "room_size_estimation")} == {20.0}


def test_what_is_closest():
    for seed in range(10):
        for q in ask(ROOM, "object_rel_distance", seed):
            anchor = next(o for o in ROOM.objects if o.id == q.about[0])
            named = [o.partition(". ")[2] for o in q.options]
            assert anchor.label not in named
            far = {n: min(gap(anchor, o) for o in ROOM.objects if o.label == n) for n in named}
            best, second = sorted(far.values())[:2]
            assert far[q.answer] == best and second - best > max(0.15, 0.1 * best)
            if "table" in named:  # there are three: "the table" would mean nothing
                assert "the table" not in q.question


def test_nearly_a_tie_is_not_asked():
    around = [(2, 0), (0, 2), (-2, 0), (0, -2)]
    ring = [thing(k, label, at) for k, (label, at) in enumerate(zip(LABELS[1:5], around, strict=True))]
    assert not [q for q in ask(place(thing(9, "bed", (0, 0)), *ring), "object_rel_distance") if q.about[0] == 9]


def gap(a: TrueObject, b: TrueObject) -> float:
    """Distance of two upright boxes along the axes."""
    apart = np.abs(a.box.center - b.box.center) - (a.box.size + b.box.size) / 2
    return float(np.linalg.norm(np.maximum(apart, 0)))


def test_directions_asked_are_right():
    for seed, level in itertools.product(range(5), ("easy", "medium", "hard")):
        asked = ask(ROOM, f"object_rel_direction_{level}", seed)
        assert len(asked) == 6
        for q in asked:
            stand, face, target = (next(o for o in ROOM.objects if o.id == k).box.center for k in q.about)
            right = np.cross(face - stand, target - stand)[2] < 0
            ahead = (face - stand)[:2] @ (target - stand)[:2]
            cosine = ahead / np.linalg.norm((face - stand)[:2]) / np.linalg.norm((target - stand)[:2])
            expected = "right" if right else "left"
            if level == "medium" and cosine < np.cos(np.radians(135)):
                expected = "back"
            if level == "hard":
                expected = ("front-" if ahead > 0 else "back-") + expected
            assert q.answer == expected


def test_routes_asked_are_right():
    for seed in range(5):
        asked = ask(ROOM, "route_planning", seed)
        assert len(asked) == 6
        for q in asked:
            centers = [next(o for o in ROOM.objects if o.id == k).box.center for k in q.about]
            steps = re.findall(r"(\d)\. (.*?)(?= \d\. |\.(?:\s|$))", q.question)
            gaps = [k for k, (_, text) in enumerate(steps) if text[0] in "[_"]
            assert len(gaps) == len(q.answer.split(", "))
            assert [int(n) for n, _ in steps] == list(range(1, len(steps) + 1))
            turns = route_turns(centers, turn_first=gaps[0] == 0)
            assert turns is not None and q.answer == ", ".join(turns).title()


def test_the_order_of_appearance():
    for q in ask(ROOM, "obj_appearance_order", 3):
        times = {"bed": 2, "tv": 4, "sofa": 6, "door": 8, "stove": 10, "table": 12}
        order = q.answer.split(", ")
        assert order == sorted(order, key=lambda k: times[k])
        assert len({o.partition(". ")[2] for o in q.options}) == 4


def test_what_appeared_together_is_not_put_in_order():
    together = place(*(thing(k, LABELS[k], (k, 0), first_s=0.4 * k) for k in range(4)))
    assert not ask(together, "obj_appearance_order")
    assert ask(place(*(thing(k, LABELS[k], (k, 0), first_s=0.5 * k) for k in range(4))), "obj_appearance_order")


def test_of_a_kind_only_what_was_seen_first_must_have_been_seen_well():
    things = [thing(k, LABELS[k], (k, 0), first_s=float(k)) for k in range(4)]
    late = thing(9, LABELS[0], (9, 0), first_s=50.0, pixels=600)
    never = TrueObject(10, LABELS[1], late.box, 0, 0, None)
    for q in ask(place(*things, late, never), "obj_appearance_order"):
        assert q.answer == ", ".join(LABELS[:4])
    early = thing(9, LABELS[0], (9, 0), first_s=0.0, pixels=600)
    assert not ask(place(early, *things), "obj_appearance_order")


@st.composite
def rooms(draw: st.DrawFn) -> Truth:
    count = draw(st.integers(0, 14))
    spot = st.floats(-5, 5)
    return place(
        *(
            thing(
                k + 1,
                draw(st.sampled_from(LABELS)),
                (draw(spot), draw(spot)),
                draw(st.floats(0.05, 2)),
                draw(st.floats(0, 60)),
                draw(st.sampled_from((0, 2500, 90000))),
            )
            for k in range(count)
        ),
        area=draw(st.floats(1, 200)),
    )


@settings(max_examples=60, deadline=None)
@given(rooms(), st.integers(0, 10_000))
def test_any_room_gives_sound_questions(truth: Truth, seed: int):
    questions = make_questions(truth, seed)
    assert questions == make_questions(truth, seed)
    assert len({q.id for q in questions}) == len(questions)
    assert max(Counter(q.type for q in questions).values()) <= 6
    well_seen = {o.id for o in truth.objects if o.well_seen}
    for q in questions:
        assert q.question[0] == q.question[0].upper() and "{" not in q.question
        assert set(q.about) <= well_seen
        if q.options:
            assert q.value is None and f"{q.choice}. {q.answer}" in q.options
            assert [o[:3] for o in q.options] == [f"{c}. " for c in "ABCD"[: len(q.options)]]
            assert len({o[3:] for o in q.options}) == len(q.options)
        else:
            assert q.choice == "" and q.value is not None and q.value > 0
    for (_, n), letters in letters_of(questions).items():
        assert max(letters.values()) - min(letters.get(c, 0) for c in "ABCD"[:n]) <= 1


def letters_of(questions: list[ScoredQuestion]) -> dict[tuple[str, int], Counter[str]]:
    out: dict[tuple[str, int], Counter[str]] = {}
    for q in questions:
        if q.options:
            out.setdefault((q.type, len(q.options)), Counter())[q.choice] += 1
    return out


def test_other_seeds_ask_other_things():
    assert [q.question for q in make_questions(ROOM, 1)] != [q.question for q in make_questions(ROOM, 2)]


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_another_common_name_is_used_only_where_nothing_else_goes_by_it(seed: int):
    truth = place(
        thing(1, "computer mouse", (0, 0)), thing(2, "mouse", (2, 0)), thing(3, "sofa", (0, 3)), thing(4, "bed", (4, 4))
    )
    for q in make_questions(truth, seed, splits=("held_out",)):
        if not re.search("computer (mouse|mice)", q.question) and {1, 2} <= set(q.about):
            pytest.fail(q.question)
        assert q.synonym == bool(re.search("couch", q.question))


# How it is asked


def test_every_kind_has_at_least_ten_wordings_of_three_sets():
    for kind, ways in WORDINGS.items():
        assert len(ways) >= 10 and len({w.text for w in ways}) >= len(ways) - 1, kind
        assert {w.split for w in ways} == {"official", "open", "held_out"}
        assert sum(w.split == "held_out" for w in ways) >= 5


def test_wordings_of_one_kind_name_the_same_things():
    for kind, ways in WORDINGS.items():
        fields = [{f for _, f, _, _ in string.Formatter().parse(w.text) if f} for w in ways]
        needed = {
            "object_counting": {frozenset({"category"}), frozenset({"categories"})},
            "object_abs_distance": {frozenset("ab")},
            "object_size_estimation": {frozenset("a")},
            "room_size_estimation": {frozenset()},
            "object_rel_distance": {frozenset({"target", *x}) for x in (["bare"], ["any"], ["all"], [])},
            "route_planning": {frozenset({"start", "face", "goal", "actions"})},
            "obj_appearance_order": {frozenset({x}) for x in ("bare", "any", "all")},
        }.get(kind, {frozenset({"stand", "face", "target"})})
        assert {frozenset(f) for f in fields} <= needed, kind


def test_the_official_words_are_the_benchmark_s():
    [counting] = ask(ROOM, "object_counting", splits=("official",))
    assert counting.question == "How many table(s) are in this room?"
    for q in make_questions(ROOM, 4, splits=("official",)):
        assert q.wording == "official" and not q.synonym


def test_half_of_the_questions_are_asked_in_held_out_words():
    used = Counter(q.wording for seed in range(10) for q in make_questions(ROOM, seed))
    assert 0.4 < used["held_out"] / used.total() < 0.6
    assert used["official"] > 0.15 * used.total()


def test_plurals():
    assert [plural(k) for k in ("chair", "bookshelf", "computer mouse", "couch", "lady", "key", "shoes", "box")] == [
        "chairs",
        "bookshelves",
        "computer mice",
        "couches",
        "ladies",
        "keys",
        "shoes",
        "boxes",
    ]
    for names in SYNONYMS.values():
        assert all(plural(n) != n for n in names)


# Files


def test_what_is_asked_does_not_tell_the_answer(tmp_path: Path):
    questions = make_questions(ROOM, 5)
    write_questions(questions, tmp_path / "questions.json", tmp_path / "key.json")
    asked, key = (json.loads((tmp_path / name).read_text()) for name in ("questions.json", "key.json"))
    assert {k for row in asked for k in row} <= {"id", "type", "question", "options"}
    assert [row["id"] for row in asked] == [row["id"] for row in key]
    assert all("options" not in row for row in asked if row["type"] == "object_counting")
    # Who knows the key has everything right, and who always says A has not.
    best = score(key, [{"id": k["id"], "value": k["value"], "choice": k["choice"]} for k in key])
    assert best["mean"] == 100 and best["unanswered"] == 0 and not best["wrong"]
    assert {name for name, kind in best["kinds"].items() if not kind["count"]} == set()
    assert score(key, [{"id": k["id"], "value": 1, "choice": "A"} for k in key])["mean"] < 40


def test_truth_is_read(tmp_path: Path):
    o = ROOM.objects[0]
    row = {"id": 1, "label": "bed", "center": o.box.center.tolist(), "size": o.box.size.tolist()}
    row |= {"axes": np.eye(3).tolist(), "pixels_seen": 2000, "frames_seen": 5, "first_seen_s": None}
    data = {"room": {"min": [0, 0, 0], "max": [1, 1, 1], "floor_area_m2": 7.5}, "objects": [row]}
    (tmp_path / "truth.json").write_text(json.dumps(data))
    truth = load_truth(tmp_path)
    assert truth.floor_area_m2 == 7.5 and truth.objects[0].first_seen_s is None and truth.objects[0].well_seen
    assert not truth.has_instances and truth.instances(0) is None
    for damage, message in (
        ({**data, "objects": [row, row]}, "more than one"),
        ({**data, "objects": [{**row, "center": [1, 2]}]}, "no box"),
        ({**data, "objects": [{k: v for k, v in row.items() if k != "label"}]}, "label"),
        ([], "no truth file"),
    ):
        (tmp_path / "truth.json").write_text(json.dumps(damage))
        with pytest.raises(TruthError, match=message):
            load_truth(tmp_path)
    with pytest.raises(TruthError, match="beside it"):
        load_truth(tmp_path / "nowhere.json")


def test_questions_that_geometry_does_not_settle():
    rows = json.loads(NOT_GEOMETRIC.read_text())
    assert len(rows) >= 200 and len({r["question"] for r in rows}) == len(rows)
    assert len({r["group"] for r in rows}) >= 10 and any("options" in r for r in rows)
