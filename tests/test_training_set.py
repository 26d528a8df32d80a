"""Scenes packed into shards, read again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_sets import EXAMPLES, TRUE_BOXES, members_of, packed, picture, spoil, write_run, write_set

from s3d_ros.offline.run import load_scene
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.numbers import Numbers, present
from s3d_ros.prompt.replies import grounded, read_reply
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.check import check_record
from s3d_ros.train.export import export_set
from s3d_ros.train.problems import DatasetError, RecordError
from s3d_ros.train.proposals import match_proposals
from s3d_ros.train.reader import TrainingSet
from s3d_ros.train.settings import PROMPT
from s3d_ros.train.show import draw_box, show_set
from s3d_ros.types import Intrinsics, OrientedBox, Question


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def made(tmp_path: Path, run: Path) -> Path:
    return write_set(tmp_path / "set", run)


def test_what_is_asked_and_answered(made: Path) -> None:
    records = {r.id: r for r in TrainingSet(made, "train")}
    last = {
        k: (r.conversations[0]["value"].rpartition("<image>\n")[2], r.conversations[1]["value"])
        for k, r in records.items()
    }
    assert list(records) == ["q1", "q2", "q3", "q4", "q5", "q7", "q8", "q9"]  # q6 wants a chair that the map lacks
    assert last["q1"] == ("What is beside the table? Answer the question using a single word or phrase.", "A chair.")
    assert last["q2"][0].splitlines()[1:3] == ["A. 2", "B. 3"] and last["q2"][1] == "A"
    assert '"the brown table"' in last["q3"][0] and last["q3"][1] == "<OBJ001>."
    assert last["q4"][1] == "Yes. <OBJ001> and <OBJ002>." and last["q5"][1] == "No."
    assert "<OBJ002>" in last["q7"][0] and last["q7"][1] == "This is a chair."
    assert last["q8"][0].startswith("I sit on < OBJ003 >. What is before me?")  # typed, so no token
    assert records["q8"].images == records["q1"].images  # no arrow: nobody knows where that is
    assert records["q9"].images[-1].startswith("one.bev-") and "where the arrow" in last["q9"][0]
    assert "magenta arrow" in records["q9"].conversations[0]["value"]
    assert records["q3"].objects == (1,) and records["q4"].objects == (2, 1)


def test_prompts_are_those_of_inference(made: Path, run: Path) -> None:
    record = TrainingSet(made, "train")[0]
    chat = Prompter(PROMPT).build(Question(EXAMPLES[0].text), load_scene(run), task=Task.QUESTION).chat
    said = [p for t in chat.turns for p in t.parts if isinstance(p, str)]
    assert record.system == chat.system
    assert record.conversations[0]["value"] == "\n".join(["<image>"] * len(chat.images) + said)
    for ours, theirs in zip(record.pictures(), chat.images, strict=True):
        assert np.abs(ours.astype(int) - theirs.pixels).mean() < 3  # JPEG
    bev = next(i.pixels for i in chat.images if i.key.startswith("bev"))
    assert (record.pictures()[-1] == bev).all()  # PNG: what is black is unknown


def test_replies_are_read_as_they_are_taught(run: Path) -> None:
    numbering = Numbers().of(load_scene(run))
    for task, ids in ((Task.GROUND_ONE, (2,)), (Task.GROUND_MANY, (1, 3)), (Task.GROUND_MANY, ())):
        text = grounded(task, [numbering.number_of[i] for i in ids])
        assert read_reply(text, task, numbering).objects == ids


def test_a_scene_is_whole(made: Path) -> None:
    held = members_of(made / "train-00000.tar")
    scene = TrainingSet(made, "train").scene(0)
    assert {n: s for n, (_, s) in scene.members.items()} == {n: len(d) for n, d in held.items()}
    assert all(scene.read(n) == d for n, d in held.items())  # the index's places are tarfile's
    assert set(held) >= {f"one.{n}" for n in ("scene.json", "bev.marked.png", "bev.plain.png", "view0001.marked.jpg",
                                             "view0001.plain.jpg", "view0001.depth.png")}  # fmt: skip
    (view,) = scene.views
    assert view.T_map_camera[:3, 3].tolist() == [2.0, 0.2, 1.2] and view.intrinsics.fx == 60
    depth = scene.depth_m(view)
    assert depth is not None and depth.shape == (48, 64) and depth[9, 5] == 0 and depth[10, 5] == pytest.approx(1.5)
    assert {m["id"] for m in view.markers} == {1, 2}
    truth = {o["id"]: o["truth"] and (o["truth"]["id"], o["truth"]["iou"]) for o in scene.data["objects"]}
    assert truth == {1: (11, 1.0), 2: (12, 1.0), 3: None}
    assert [(m["id"], m["iou"]) for m in scene.data["missed"]] == [(13, 0.6)]
    assert scene.boxes()[1].size.tolist() == [1.2, 0.8, 0.7]


def test_the_unmarked_twin_differs_only_at_the_marks(made: Path) -> None:
    scene = TrainingSet(made, "train").scene(0)
    (view,) = scene.views
    marked, plain = scene.image(view.marked).astype(int), scene.image(view.plain).astype(int)
    assert np.abs(plain - 128).max() <= 2  # the small run's picture is grey
    changed = np.abs(marked - plain).max(axis=2) > 40
    assert changed.any()
    rows, columns = np.nonzero(changed)
    away = [
        min(max(abs(u - m["u"]), abs(v - m["v"])) for m in view.markers) for v, u in zip(rows, columns, strict=True)
    ]
    assert max(away) <= 14


def test_packing_twice_gives_the_same_bytes(run: Path) -> None:
    assert packed("one", run) == packed("one", run)


def test_a_run_without_depth_or_truth(tmp_path: Path) -> None:
    bare = write_run(tmp_path / "run", depth=False)
    members, summary = packed("one", bare, examples=())
    assert summary["depths"] == 0 and summary["conversations"] == 0 and not [n for n, _ in members if "depth" in n]
    (bare / "bev.npz").unlink()
    with pytest.raises(DatasetError, match="make it anew: s3d replay"):
        packed("one", bare)


@pytest.mark.parametrize(("shift", "found"), [(0.0, {11: 1}), (0.1, {11: 1}), (0.2, {})])
def test_proposals_by_iou(run: Path, shift: float, found: dict[int, int]) -> None:
    # the table is 1.2 m long: shifted by s, IoU = (1.2 - s) / (1.2 + s): 1, 0.846, 0.714
    box = TRUE_BOXES[11]
    moved = OrientedBox(box.center + (shift, 0, 0), box.size, box.axes)
    objects = present(load_scene(run))
    assert match_proposals({11: moved}, objects).map_ids == found
    twice = match_proposals({11: box, 99: moved}, objects)
    assert twice.map_ids == {11: 1}  # one object of the map is never two of the truth


# --- what is refused -------------------------------------------------------------------------------------------------


def no_picture(data: dict[str, Any], members: dict[str, bytes]) -> None:
    del members["one.view0001.marked.jpg"]


def no_twin(data: dict[str, Any], members: dict[str, bytes]) -> None:
    del members["one.bev.plain.png"]


def unknown_id(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["conversations"][2]["conversations"][1]["value"] = "<OBJ777>."


def unknown_object(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["conversations"][2]["objects"] = [777]


def too_few_places(data: dict[str, Any], members: dict[str, bytes]) -> None:
    turn = data["conversations"][0]["conversations"][0]
    turn["value"] = turn["value"].replace("<image>\n", "", 1)


def no_answer(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["conversations"][0]["conversations"][1]["value"] = " "


def one_sided(data: dict[str, Any], members: dict[str, bytes]) -> None:
    del data["conversations"][0]["conversations"][1]


def nan_pose(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["views"][0]["T_map_camera"][0][3] = float("nan")


def mirrored_pose(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["views"][0]["T_map_camera"][0][0] *= -1


def no_camera(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["views"][0]["intrinsics"][0] = 0.0


def infinite_box(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["objects"][0]["center"][2] = float("inf")


def marks_nothing(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["views"][0]["markers"][0]["id"] = 55


def too_few_records(data: dict[str, Any], members: dict[str, bytes]) -> None:
    data["conversations"] = data["conversations"][:2]


BAD: list[tuple[Callable[..., None], str]] = [
    (no_picture, r"one/q1: its picture one\.view0001\.marked\.jpg is missing"),
    (no_twin, r"one/q1: the unmarked twin of one\.bev\.marked\.png is missing"),
    (unknown_id, r"one/q3: <OBJ777> stands for no object"),
    (unknown_object, r"one/q3: object 777 is not in the scene"),
    (too_few_places, r"one/q1: its text has 1 <image>, and there are 2 pictures"),
    (no_answer, r"one/q1: its answer is empty"),
    (one_sided, r"one/q1: its turns are human, not human and gpt"),
    (nan_pose, r"one, view 1: its pose is not of finite numbers"),
    (mirrored_pose, r"one, view 1: its pose is no rigid motion"),
    (no_camera, r"one, view 1: its intrinsics \[0\.0, .* are no camera's"),
    (infinite_box, r"one, object 1: its box is not of finite numbers"),
    (marks_nothing, r"one, view 1: it marks object 55"),
    (too_few_records, r"one, conversation 2: the index lists it"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[c.__name__ for c, _ in BAD])
def test_bad_records_are_refused_by_name(made: Path, change: Callable[..., None], said: str) -> None:
    spoil(made, change)
    training = TrainingSet(made, "train")
    with pytest.raises(RecordError, match=said):
        list(training)
    good = list(training.records(skip_bad=True))
    assert training.refused and len(good) + len(training.refused) == 8
    assert all(p.mend for p in training.refused)
    assert training.check() and not TrainingSet(made, "val").check()


def test_a_damaged_picture_is_found(made: Path) -> None:
    spoil(made, lambda data, members: members.update({"one.view0001.plain.jpg": b"no picture"}))
    spoil(made, lambda data, members: members.update({"two.view0001.depth.png": b"no depth"}), "val-00001")
    assert [p.where for p in TrainingSet(made, "train").check()] == ["one.view0001.plain.jpg"]
    assert [p.where for p in TrainingSet(made, "val").check()] == ["two.view0001.depth.png"]


def test_bad_sets_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'test'; it has train, val"):
        TrainingSet(made, "test")
    with pytest.raises(DatasetError, match="holds no shards; make a set"):
        TrainingSet(tmp_path / "nothing")
    tar = made / "train-00000.tar"
    size = tar.stat().st_size
    tar.write_bytes(tar.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match=rf"train-00000\.tar is cut off: {size - 2000} bytes of {size}"):
        TrainingSet(made, "train")
    assert len(TrainingSet(made, "val")) == 8  # the other split is whole
    tar.unlink()
    with pytest.raises(DatasetError, match=r"train-00000\.tar is missing"):
        TrainingSet(made, "train")
    (made / "val-00001.json").write_text("{")
    with pytest.raises(DatasetError, match=r"val-00001\.json is no index"):
        TrainingSet(made, "val")


def test_a_shard_cut_off_while_it_is_read(made: Path) -> None:
    training = TrainingSet(made, "train")
    record = training[0]
    tar = made / "train-00000.tar"
    with tar.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(RecordError, match=r"train-00000\.tar ends before it"):
        record.pictures()


def test_check_record_takes_what_is_good(run: Path) -> None:
    members, _ = packed("one", run)
    data = json.loads(dict(members)["one.scene.json"])
    for row in data["conversations"]:
        check_record("one", row, data, dict(members))


# --- as others take it


@pytest.mark.parametrize("marked", [True, False])
def test_export(made: Path, tmp_path: Path, marked: bool) -> None:
    assert export_set(made, tmp_path / "out", "val", marked=marked) == 8
    rows = json.loads((tmp_path / "out" / "val.json").read_text())
    held = members_of(made / "val-00001.tar")
    assert rows[0]["id"] == "two/q1" and len(rows[0]["images"]) == 2
    for row in rows:
        assert row["conversations"][0]["value"].count("<image>") == len(row["images"])
        for name in row["images"]:
            assert (".marked." in name) == marked
            assert (tmp_path / "out" / name).read_bytes() == held[Path(name).name]
    with pytest.raises(DatasetError, match=r"val\.json is there already"):
        export_set(made, tmp_path / "out", "val")


# --- the page --------------------------------------------------------------------------------------------------------


def test_boxes_are_drawn_where_they_are() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    # a cube of 1 m, 3 m ahead: its front face, at 2.5 m, is 24 pixels wide, about (31.5, 23.5)
    box = OrientedBox(np.array([0.0, 0, 3]), np.ones(3), np.eye(3))
    draw_box(image, box, np.eye(4), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5), (255, 0, 0))
    rows, columns = np.nonzero(image[..., 0] > 100)
    assert abs(rows.min() - 11.5) <= 1 and abs(rows.max() - 35.5) <= 1.5
    assert abs(columns.min() - 19.5) <= 1 and abs(columns.max() - 43.5) <= 1.5
    before = image.copy()
    behind = OrientedBox(np.array([0.0, 0, -3]), np.ones(3), np.eye(3))
    draw_box(image, behind, np.eye(4), Intrinsics(64, 48, 60.0, 60.0, 31.5, 23.5), (255, 0, 0))
    assert (image == before).all()


def test_the_page_shows_a_set(made: Path, tmp_path: Path) -> None:
    page = show_set(made, tmp_path / "deep" / "page.html").read_text()
    assert "2 scenes, 16 conversations" in page and page.count("data:image/jpeg") == 2 * (2 + 1 + 3 + 1)
    assert "the brown table" in page and "&lt;OBJ001&gt;." in page and "<OBJ" not in page
    with pytest.raises(DatasetError, match="is a folder"):
        show_set(made, tmp_path)


def test_pictures_have_the_size_that_the_scene_says(made: Path) -> None:
    held = members_of(made / "train-00000.tar")
    data = json.loads(held["one.scene.json"])
    for name, bev in data["bevs"].items():
        assert picture(held[name]).shape == (bev["height"], bev["width"], 3)
