"""What the small model is asked, and how it learns to answer: answers known by hand, tokens as the engine's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import small_scene
from typer.testing import CliRunner

from s3d_ros.chat import Chat, ChatImage, Turn
from s3d_ros.cli import app
from s3d_ros.offline.questions_wordings import WORDINGS
from s3d_ros.offline.truth import TrueObject, Truth
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.small.answering import AnsweringSettings, train_answering
from s3d_ros.train.small.decoding import read_prefix, read_questions
from s3d_ros.train.small.lessons import Teacher
from s3d_ros.train.small.measuring import gaps_m, gauges
from s3d_ros.train.small.model import ModelShape, SmallModelError, make_model, make_tokenizer
from s3d_ros.train.small.paraphrases import MORE
from s3d_ros.train.small.pictures import PictureSettings, picture
from s3d_ros.train.small.prompting import Prompts, padded
from s3d_ros.train.small.pupil import Pupil, score
from s3d_ros.train.small.questions import HELD_OUT, KINDS, TRAINED, AskedThing, Asker, _ways
from s3d_ros.train.small.reading import ReadingSettings, train_reading
from s3d_ros.train.small.scoring import guessed, is_right, mapped, questions
from s3d_ros.train.small.sprites import LABELS
from s3d_ros.train.small.wordings import ASKED
from s3d_ros.types import Answer, ErrorCode, OrientedBox, SceneObject

TINY = ModelShape(
    tower_widths=(32, 32, 64), tower_depths=(1, 1, 1), hidden=64, layers=2, heads=2, mlp=128, vocabulary=4200
)
SMALL = PictureSettings(px=128, side_m=3.2, objects=5)


def thing(number: int, label: str, x: float, y: float, size: float = 0.4) -> SceneObject:
    return SceneObject(number, label, OrientedBox(np.array([x, y, 0.2]), np.full(3, size), np.eye(3)))


# A sofa in the west, a table in the middle, a bed in the east; chairs 4 and 5 north and south of the table
ROOM = (
    thing(1, "sofa", 0.0, 0.0),
    thing(2, "table", 2.0, 0.0),
    thing(3, "bed", 4.0, 0.0),
    thing(4, "chair", 2.0, 1.0),
    thing(5, "chair", 2.0, -2.0),
)


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts(make_tokenizer(TINY.vocabulary), 128)


def drawn(kind: str, count: int = 60, **more: object) -> list[AskedThing]:
    asker = Asker(ROOM, (), np.random.default_rng(0), paraphrased=0.0, **more)  # type: ignore[arg-type]
    return [q for q in (asker.one(kind) for _ in range(count)) if q is not None]


def test_gaps_are_between_closest_points() -> None:
    gaps = gaps_m(ROOM)
    assert gaps[0, 1] == pytest.approx(1.6) and gaps[1, 3] == pytest.approx(0.6)
    turned = [replace(o, box=replace(o.box, axes=np.eye(3)[[1, 0, 2]] * (1 if k else -1))) for k, o in enumerate(ROOM)]
    np.testing.assert_allclose(gaps_m(turned), gaps, atol=1e-6)  # by the general way


def test_what_is_measured_stands_in_its_own_place_and_the_rest_is_not_asked_for() -> None:
    told = gauges(right_m=2.0, count=8)
    assert (told[0], told[5]) == (0.5, 2.0) and all(np.isnan(told[1:5]))


def slots(name: str, text: str) -> dict[str, int]:
    """Return which object stands in which place of a wording that the text is of, by number."""
    for way in _ways(name, TRAINED, False):
        pattern = re.sub(r"(the )?\\{(\w+)\\}", r"object (?P<\2>\\d+)", re.escape(way.text).replace("\\ ", " "))
        pattern = pattern.replace("(?P<face>\\d+)", "(?P=face)").replace("(?P=face)", "(?P<face>\\d+)", 1)
        if found := re.fullmatch(pattern, text, re.IGNORECASE):
            return {k: int(v) for k, v in found.groupdict().items()}
    raise AssertionError(f"no wording of {name}: {text}")


def test_answers_known_by_hand() -> None:
    by_number = {"by_category": 0.0}
    names = {o.id: o.label for o in ROOM}
    for q in drawn("category"):
        assert q.answer == names[int(re.findall(r"object (\d)", q.text)[0])]
    assert {q.objects for q in drawn("id")} == {(1,), (2,), (3,)}  # "the chair" could be two
    assert {(q.text.find("chairs") >= 0, q.answer) for q in drawn("count") if "chair" in q.text} >= {(True, "2")}
    assert {q.answer for q in drawn("count") if "bed" in q.text} == {"1"}
    metres = {frozenset((1, 2)): 1.6, frozenset((1, 3)): 3.6, frozenset((2, 4)): 0.6, frozenset((4, 5)): 2.6}
    checked = 0
    for q in drawn("distance", **by_number):
        pair = frozenset(map(int, re.findall(r"object (\d)", q.text)))
        if pair in metres:
            assert q.answer == f"{metres[pair]:.1f} m" and q.value == pytest.approx(metres[pair])
            checked += 1
    assert checked > 5
    for q in drawn("two_hop", **by_number):
        assert q.objects == ((4,) if q.text.rstrip("?.").endswith("object 2") else q.objects)
    assert any(q.text.rstrip("?.").endswith("object 2") for q in drawn("two_hop", **by_number))
    for q in drawn("nearest"):
        if q.text.rstrip("?.").endswith("object 4"):
            assert q.objects == (2,)


def test_left_and_right_as_one_stands() -> None:
    seen = set()
    for q in drawn("left_right", 300, by_category=1.0):
        text, answer = q.text.lower(), dict(q.options).get(q.answer, q.answer)
        if text.startswith(("standing at the sofa and looking at the table", "from the sofa, facing the table")):
            raise AssertionError("the bed lies straight ahead there: nobody can tell")
        if "standing at the table and looking at the sofa" in text or "from the table, facing the sofa" in text:
            raise AssertionError("the bed lies straight behind there")
    for q in drawn("left_right", 300, by_category=0.0):
        told = slots("object_rel_direction_easy", q.text)
        stand, face, target = told["stand"], told["face"], told["target"]
        answer = dict(q.options).get(q.answer, q.answer)
        if (stand, face) == (1, 2) and target in (4, 5):  # looking east: north is left
            assert answer == ("left" if target == 4 else "right")
            seen.add(target)
    assert seen == {4, 5}


def test_held_out_wordings_are_never_trained_on() -> None:
    for kind in KINDS:
        trained, unseen = (
            {re.sub(r"object \d+", "it", q.text) for q in drawn(kind, 200, splits=splits, by_category=0.0)}
            for splits in (TRAINED, HELD_OUT)
        )
        assert unseen and not trained & unseen, kind


def test_what_is_measured_on_the_way_to_an_answer() -> None:
    by_id = {o.id: o.box.center for o in ROOM}
    for q in drawn("map_side", 60, by_category=0.0):
        a, b = (by_id[slots("map_side", q.text)[k]] for k in "ab")
        assert q.gauge[:2] == pytest.approx((a - b)[:2] / 4) and (q.answer == "left") == (q.gauge[0] < 0)
    for q in drawn("distance", 60):
        assert q.gauge[2] == pytest.approx(q.value / 4) and np.isnan(q.gauge[3:]).all()
    for q in drawn("left_right", 60):
        answer = dict(q.options).get(q.answer, q.answer)
        assert np.hypot(*q.gauge[3:5]) == pytest.approx(1.0) and (answer == "left") == (q.gauge[4] < 0)  # clockwise
    for q in drawn("count", 20):
        assert q.gauge[5] == q.value / 4 and np.isnan(q.gauge[:5]).all()
    for q in [*drawn("two_hop", 20), *drawn("closest", 20), *drawn("nearest", 20)]:
        assert q.anchor in by_id and q.anchor not in q.objects
    assert np.isnan(AskedThing("count", "").gauge).all()


def test_replies_are_what_the_answerer_reads() -> None:
    q = AskedThing("nearest", "", objects=(12,))
    assert q.reply(Task.GROUND_ONE) == "<OBJ012>." and q.reply(Task.QUESTION) == "<OBJ012>"


def test_tokens_are_those_of_the_engine(prompts: Prompts) -> None:
    p, rng = picture(SMALL, 0, 4), np.random.default_rng(1)
    checked = 0
    for question in Asker(p.things, p.others, rng).draw(20):
        asked = prompts.asked(p, question, rng)
        if asked is None:
            continue
        said = prompts.tokenizer.decode(asked.ids[: asked.answer - 1])  # but for the stop token
        caption = f"Bird's-eye view of the whole scene, {p.side_m:g} m wide:"
        image = ChatImage("x", np.zeros((128, 128, 3), np.uint8))
        listed = "Marked:\n" + "".join(f"{o.label.replace(' ', '-')}=<OBJ{o.id:03d}>\n" for o in p.things)
        chat = Chat(prompts._prompter.system, (Turn("user", (caption, image, listed, said)),))
        before = prompts.prefix(p.side_m) + prompts.legend(p)
        assert before + asked.ids[: asked.answer] == prompts.maker.make(chat).ids.tolist()
        for at, k in asked.points:
            if at == asked.answer - 1:  # the end of the question tells where its answer is
                assert p.things[k].id in question.objects
                continue
            token = prompts.tokenizer.decode([asked.ids[at]]).strip()
            assert token in (f"<OBJ{p.things[k].id:03d}>", p.things[k].label.split()[-1])
        checked += 1
    assert checked > 10


def test_many_questions_at_once_are_as_each_alone() -> None:
    tokenizer = make_tokenizer(TINY.vocabulary)
    decoder = make_model(TINY, tokenizer).eval().model.language_model
    prefix = torch.randn(30, TINY.hidden)
    rows = padded([[300, 301, 302], [400, 401, 402, 403, 404]], 0)
    with torch.no_grad():
        both = read_questions(decoder, read_prefix(decoder, prefix)[0], decoder.embed_tokens(rows))
        for k, length in ((0, 3), (1, 5)):
            alone = torch.cat([prefix, decoder.embed_tokens(rows[k, :length])])[None]
            torch.testing.assert_close(
                both[k, :length], decoder(inputs_embeds=alone).last_hidden_state[0, 30:], atol=1e-4, rtol=1e-4
            )


def test_a_run_goes_on_exactly_and_says_what_is_missing(tmp_path: Path) -> None:
    settings = AnsweringSettings(
        batch=1, questions=6, steps=3, pointing_steps=1, every_steps=3, evaluated=2, shape=TINY, pictures=SMALL,
        warmup_steps=2,
    )  # fmt: skip
    whole = train_answering(settings, tmp_path / "whole")
    train_answering(replace(settings, minutes=1e-9), tmp_path / "parts")
    parts = train_answering(settings, tmp_path / "parts")
    a, b = (torch.load(tmp_path / n / "answering.pt", weights_only=True)["pupil"] for n in ("whole", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert whole["scores"] == parts["scores"] and whole["questions"] == parts["questions"] > 0
    with pytest.raises(SmallModelError, match=r"batch is 1, not 2.*another folder"):
        train_answering(replace(settings, batch=2), tmp_path / "parts")
    with pytest.raises(SmallModelError, match="holds no run of stage 1"):
        train_answering(replace(settings, reading=str(tmp_path)), tmp_path / "other")


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    settings = AnsweringSettings(
        batch=2, questions=6, steps=3, pointing_steps=1, every_steps=3, evaluated=1, shape=TINY, pictures=SMALL,
        warmup_steps=2, bf16=False,
    )  # fmt: skip
    one = train_answering(settings, tmp_path / "one")
    two = train_answering(replace(settings, processes=2), tmp_path / "two")
    a, b = (torch.load(tmp_path / n / "answering.pt", weights_only=True)["pupil"] for n in ("one", "two"))
    # Adam takes whole steps after gradients of rounding errors: few numbers have none but these
    apart = torch.cat([(a[k] - b[k]).abs().flatten().float() for k in a])
    assert apart.quantile(0.99) < 1e-5 and apart.max() < 5e-3
    assert two["step"] == one["step"] == 3 and two["questions"] > 0
    with pytest.raises(SmallModelError, match="pictures a step can't be shared by 2 processes"):
        train_answering(replace(settings, batch=1, processes=2), tmp_path / "odd")


def test_other_words_come_into_questions_but_not_into_names_and_answers() -> None:
    prompts = Prompts(make_tokenizer(5120))
    teacher = Teacher(prompts, PictureSettings(), 40, drawn=False)
    plain, blurred = (teacher.lesson(3, 1, blurred=b).asked for b in (False, True))
    changed = 0
    for a, b in zip(plain, blurred, strict=True):
        assert a.question == b.question and a.answer == b.answer and a.ids[a.answer :] == b.ids[b.answer :]
        assert all(a.ids[at] == b.ids[at] for at, _ in a.points if at < a.answer)
        changed += a.ids != b.ids
    assert 3 < changed < 30


def test_paraphrases_are_of_training_alone_and_have_what_their_kind_needs() -> None:
    held_out = {w.text for table in (ASKED, WORDINGS) for ways in table.values() for w in ways if w.split == "held_out"}
    needs = {"category": {"a"}, "id": {"category"}, "map_side": {"a", "b"}, "closest": {"a", "list"}, "nearest": {"a"},
             "two_hop": {"a", "category"}, "object_abs_distance": {"a", "b"}}  # fmt: skip
    for kind, ways in MORE.items():
        assert len(ways) > 50 and not {w.text for w in ways} & held_out
        wanted = needs.get(kind, {"stand", "face", "target"})
        for way in ways:
            slots = set(re.findall(r"{(\w+)}", way.text))
            assert slots == wanted or (kind == "object_counting" and slots <= {"category", "categories"}), way.text


def test_a_lesson_is_learnt_by_heart_and_numbers_keep_their_vectors() -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(TINY.vocabulary)
    prompts = Prompts(tokenizer, 128)
    model = make_model(TINY, tokenizer)
    pupil = Pupil(model, tokenizer, prompts, bf16=False)
    lesson = Teacher(prompts, SMALL, 12).lesson(0, 3)
    before = model.get_input_embeddings().weight.detach().clone()
    optimiser = torch.optim.AdamW(pupil.parameters(), lr=4e-3, weight_decay=0.0)
    for _ in range(300):
        loss, _ = pupil.answers(lesson, pupil.seen([lesson])[0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    scores = score(pupil, [lesson])
    assert np.mean(list(scores.values())) > 0.9, scores
    known = tokenizer.get_vocab()
    after = model.get_input_embeddings().weight
    assert torch.equal(after[known["<OBJ012>"]], before[known["<OBJ012>"]])
    assert not torch.equal(
        after[known["Answer"]] if "Answer" in known else after[prompts.stop_id], before[prompts.stop_id]
    )


def test_scores_by_the_truth_and_not_by_the_map() -> None:
    scene = small_scene()
    boxes = [o.box for o in scene.objects]
    true = (TrueObject(11, "table", boxes[0], 9999, 9, 0.0), TrueObject(12, "stool", boxes[1], 9999, 9, 0.0),
            TrueObject(13, "lamp", OrientedBox(np.full(3, 9.0), np.ones(3), np.eye(3)), 9999, 9, 0.0))  # fmt: skip
    home = mapped("small", scene, Truth(Path(), 12.0, true))
    assert [(o.id, o.label) for o in home.things] == [(1, "table"), (2, "stool")]
    assert home.others == {"lamp", "chair"}  # chair 3 is of nothing that is there
    asked = questions(home, 2)
    assert {q.kind for q in asked} >= {"category", "id"} and len({q.text for q in asked}) == len(asked)


@pytest.mark.parametrize(
    ("asked", "answer", "right"),
    [
        (AskedThing("category", "", "computer mouse"), Answer("computer mouse"), True),
        (AskedThing("category", "", "mouse"), Answer("computer mouse"), True),
        (AskedThing("category", "", "table"), Answer("tablecloth"), False),
        (AskedThing("left_right", "", "left"), Answer("to your left"), True),
        (AskedThing("left_right", "", "left"), Answer("left or right"), False),
        (AskedThing("left_right", "", "B", options=(("A", "left"), ("B", "right"))), Answer("right", choice="B"), True),
        (AskedThing("distance", "", "2.0 m", value=2.0), Answer("2.4 m", value=2.4), True),
        (AskedThing("distance", "", "2.0 m", value=2.0), Answer("2.5 m", value=2.5), False),
        (AskedThing("count", "", "3", value=3), Answer("4", value=4.0), False),
        (AskedThing("two_hop", "", objects=(7,)), Answer("chair 7", objects=(7, 8)), True),
        (AskedThing("two_hop", "", objects=(7,)), Answer("chair 8", objects=(8, 7)), False),
        (AskedThing("category", "", "sofa"), Answer("sofa", error=ErrorCode.NOT_SETTLED), False),
    ],
)
def test_what_counts_as_right(asked: AskedThing, answer: Answer, right: bool) -> None:
    assert is_right(asked, answer) is right


def test_guessing_knows_the_most_frequent_answer() -> None:
    pool = [AskedThing("category", "", x) for x in ("chair", "chair", "sofa")]
    pool += [AskedThing("two_hop", "", objects=(1,), candidates=4)]
    got = guessed(pool, pool)
    assert got["category"] == pytest.approx(2 / 3) and got["two_hop"] == 0.25


def test_labels_have_words() -> None:
    known = make_tokenizer(ModelShape().vocabulary).get_vocab()
    assert all(label.split()[0] in known and f"\u0120{label.split()[-1]}" in known for label in LABELS)


def test_the_encoder_stays_as_it_was_read_with(tmp_path: Path) -> None:
    reading = ReadingSettings(
        batch=2, part=6, steps=1, every_steps=1, evaluated=2, shape=TINY, pictures=SMALL, warmup_steps=1, workers=0
    )
    train_reading(reading, tmp_path / "read")
    settings = AnsweringSettings(
        batch=1, questions=5, steps=2, pointing_steps=1, every_steps=2, evaluated=1, shape=TINY, pictures=SMALL,
        reading=str(tmp_path / "read"), warmup_steps=1,
    )  # fmt: skip
    row = train_answering(settings, tmp_path / "answer")
    assert row["step"] == 2 and np.isfinite(row["loss"])
    before = torch.load(tmp_path / "read" / "reading.pt", weights_only=True)["model"]
    after = torch.load(tmp_path / "answer" / "answering.pt", weights_only=True)["pupil"]
    encoder = [k for k in before if "vision_tower" in k or "projector.linear_1" in k]  # linear_2: see mark_cells
    assert encoder and all(torch.equal(before[k], after[f"model.{k}"]) for k in encoder)


def test_the_twin_gets_words_alone(tmp_path: Path) -> None:
    settings = AnsweringSettings(
        batch=1, questions=5, steps=2, pointing_steps=1, every_steps=2, evaluated=1, shape=TINY, pictures=SMALL,
        blind=True, warmup_steps=1,
    )  # fmt: skip
    row = train_answering(settings, tmp_path / "twin")
    assert row["questions"] > 5  # it has nothing to point at, and is asked from the first step
    tokenizer = make_tokenizer(TINY.vocabulary)
    prompts = Prompts(tokenizer, 128)
    pupil = Pupil(make_model(TINY, tokenizer), tokenizer, prompts, blind=True)
    lesson = Teacher(prompts, SMALL, 3, drawn=False).lesson(0, 1)
    assert pupil.seen([lesson]) is None
    kept, length, _ = pupil.read(lesson.picture, None)
    assert (
        length == len(prompts.prefix(lesson.picture.side_m)) + len(prompts.legend(lesson.picture))
        and kept[0][0].shape[2] == length - 64
    )


def test_a_list_of_homes_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.txt").write_text("runs/one\n")
    done = CliRunner().invoke(app, ["train-small", "score", str(tmp_path / "homes.txt")])
    assert done.exit_code == 2 and "RUN RECORDING" in " ".join(done.output.split())
