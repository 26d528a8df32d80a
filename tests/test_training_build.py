"""Sources become scenes, groups and splits; official files become examples; builds go on where they were killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_recording_scans import write_export
from training_sets import members_of, write_run
from typer.testing import CliRunner

from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.cli import app
from s3d_ros.offline.run import load_scene
from s3d_ros.prompt.tasks import Task
from s3d_ros.train.build import build
from s3d_ros.train.importers import import_annotations
from s3d_ros.train.problems import DatasetError
from s3d_ros.train.reader import TrainingSet
from s3d_ros.train.settings import BuildSettings
from s3d_ros.train.sources import HOME, find_sources, groups_of, split_of, splits_of

OFFICIAL = Path(__file__).parent / "data" / "benchmarks"


def runs(folder: Path, count: int, depth: bool = True) -> Path:
    """Write runs of different recordings."""
    for i in range(count):
        run = write_run(folder / f"r{i}", depth)
        report = json.loads((run / "report.json").read_text())
        (run / "report.json").write_text(json.dumps({**report, "recording": f"place{i}"}))
    return folder


def test_a_run_of_a_simulated_home_is_of_its_layouts_place(tmp_path: Path) -> None:
    run = runs(tmp_path, 1) / "r0"
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "place": "studio"}))
    groups = groups_of(find_sources([str(run), "studio", "office"]))
    assert groups["run-r0"] == groups["home-studio-0"] != groups["home-office-0"]


# --- sources, groups, splits -----------------------------------------------------------------------------------------


def test_renders_twins_and_flats_of_a_layout_are_one_place(tmp_path: Path) -> None:
    packaged = next(p for p in find_sources(["studio"])).paths[0]
    from s3d_ros.offline.simulate.layout import PACKAGED

    shutil.copy(PACKAGED / "studio.json", tmp_path / "renamed.json")  # the same boxes under another name
    scenes = find_sources(["studio", "living_room+studio", "office", str(tmp_path / "renamed.json")], homes=2, seed=5)
    assert packaged == "studio" and {s.kind for s in scenes} == {HOME} and len(scenes) == 8
    assert [s.seed for s in scenes if s.key.startswith("home-office")] == [5, 6]
    groups = groups_of(scenes)
    office = {k for k in groups if "office" in k}
    assert len({groups[k] for k in office}) == 1 and len({groups[k] for k in groups if k not in office}) == 1
    assert len(set(groups.values())) == 2
    for seed in range(20):
        placed = splits_of(scenes, {"val": 0.3, "test": 0.3}, {}, seed)
        assert len({split for key, (_, split) in placed.items() if key not in office}) == 1


def test_scans_of_a_room_and_runs_of_a_recording_are_one_place(tmp_path: Path) -> None:
    for name in ("scene0000_00", "scene0000_01", "scene0001_00"):
        write_export(tmp_path / "scans" / name, [np.eye(4)])
    for seq in ("seq-01", "seq-02"):
        folder = tmp_path / "chess" / seq
        folder.mkdir(parents=True)
        (folder / "frame-000000.color.png").write_bytes(b"")
    run = write_run(tmp_path / "mine")
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "recording": "scene0001_00"}))
    scenes = find_sources([str(tmp_path / "scans"), str(tmp_path / "chess"), str(run)])
    groups = groups_of(scenes)
    assert groups == {
        "chess-seq-01": "chess", "chess-seq-02": "chess", "run-mine": "scene0001", "scene0000_00": "scene0000",
        "scene0000_01": "scene0000", "scene0001_00": "scene0001",
    }  # fmt: skip
    assert {s.key: s.dataset for s in scenes}["scene0000_00"] == "scannet"
    placed = splits_of(scenes, {}, {"val": ["scene0000_00"]})
    assert placed["scene0000_01"] == ("scene0000", "val") and placed["run-mine"][1] == "train"
    with pytest.raises(DatasetError, match=r"another scene of the same place in that of 'val'"):
        splits_of(scenes, {}, {"val": ["scene0000_00"], "test": ["scene0000_01"]})


def test_shares_of_splits_and_that_more_sources_move_none() -> None:
    counts = Counter(split_of(f"place {i}", {"val": 0.2, "test": 0.1}) for i in range(2000))
    assert abs(counts["val"] - 400) < 60 and abs(counts["test"] - 200) < 50  # over 3 standard deviations
    assert split_of("a", {"val": 1.0}) == "val" and split_of("a", {}) == "train"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "nowhere is not there"),
        ("empty", "holds no recording, run or scan"),
        ("half", "no report.json that names its recording"),
        ("notes.pdf", "of no kind that is known"),
    ],
)
def test_bad_sources_are_refused(tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "objects.json").write_text("{}")
    (tmp_path / "notes.pdf").write_text("")
    with pytest.raises(DatasetError, match=said):
        find_sources([str(tmp_path / given)])


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_export(tmp_path / name / "scene0000_00", [np.eye(4)])
    with pytest.raises(DatasetError, match="would both be called 'scene0000_00'"):
        find_sources([str(tmp_path / "a"), str(tmp_path / "b")])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kinds": ("riddles",)}, "no kind of question 'riddles'"),
        ({"noise": "much"}, "noise = 'much'"),
        ({"shares": {"val": 0.8, "test": 0.4}}, "1 at most together"),
        ({"proposal_iou": 0.0}, "proposal_iou"),
    ],
)
def test_bad_settings_are_refused(values: dict, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        BuildSettings(**values)


# --- official files --------------------------------------------------------------------------------------------------


def official(name: str) -> tuple:
    files = {
        "scanqa": "ScanQA_v1.0_val.json",
        "sqa3d": "v1_balanced_sqa_annotations_val_scannetv2.json",
        "scan2cap": "ScanRefer_filtered_val.json",
        "scanrefer": "ScanRefer_filtered_val.json",
        "multi3drefer": "multi3drefer_val.json",
        "vsi": "vsibench_test.jsonl",
        "vsti": "vstibench_test.json",
        "openeqa": "open-eqa-v0.json",
    }
    found = import_annotations(name, [OFFICIAL / files[name]])
    return found, [e for examples in found.examples.values() for e in examples]


def test_scanqa_gives_a_record_for_each_answer() -> None:
    found, examples = official("scanqa")
    first = [e for e in examples if e.id.startswith("scanqa-val-scene9001-0-")]
    assert [(e.task, e.text, e.answer) for e in first] == [
        (Task.QUESTION, "What color is the chair?", "Dark brown."),
        (Task.QUESTION, "What color is the chair?", "Brown."),
    ]
    assert found.total == 8 and set(found.examples) == {"scene9001_00", "scene9002_00"}


def test_sqa3d_has_its_situation_in_words() -> None:
    found, examples = official("sqa3d")
    assert found.total == 8
    first = next(e for e in examples if e.id == "sqa3d-220602009000-0")
    assert (first.task, first.situation_text) == (Task.SITUATED, "I am facing the desk, the door is behind me.")
    assert (first.text, first.answer, first.situation) == ("What is on the desk to my right?", "Printer.", None)


def test_grounding_and_captions_name_objects() -> None:
    _, one = official("scanrefer")
    assert one[0].task == Task.GROUND_ONE and one[0].objects == one[0].named == (0,) and len(one) == 10
    assert one[0].text == "This is a brown chair. It is in front of the desk."
    _, many = official("multi3drefer")
    assert [(e.kind, e.objects) for e in many[:4]] == [
        ("mt", (0, 1)), ("st_w_d", (0,)), ("st_wo_d", (2,)), ("zt_w_d", ()),
    ]  # fmt: skip
    _, captions = official("scan2cap")
    assert len(captions) == 10 and captions[0].task == Task.CAPTION and captions[0].named == (0,)
    assert captions[0].text_by_map({0: 7}) == "object 7"


def test_spatial_sets_and_episodes(tmp_path: Path) -> None:
    vsi, examples = official("vsi")
    assert vsi.total == len(examples) == 12
    vsti, examples = official("vsti")
    assert vsti.total == len(examples) == 11 and not vsti.left_out
    rows = json.loads((OFFICIAL / "vstibench_test.json").read_text())
    rows[0]["question"] = "How far is the chair in frame 3 of 32?"
    rows[1]["question"] = ""
    (tmp_path / "vsti.json").write_text(json.dumps(rows))
    changed = import_annotations("vsti", [tmp_path / "vsti.json"])
    assert sum(len(e) for e in changed.examples.values()) == 9 and sum(changed.left_out.values()) == 2
    eqa, examples = official("openeqa")
    assert eqa.total == 6 and examples[0].answer == "Air conditioning unit."


def test_bad_official_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no importer 'scanqs'; there are scanqa"):
        import_annotations("scanqs", [OFFICIAL / "ScanQA_v1.0_val.json"])
    with pytest.raises(BenchmarkError, match="entry 0"):
        import_annotations("scanrefer", [OFFICIAL / "multi3drefer_val.json"])


# --- builds ----------------------------------------------------------------------------------------------------------


def test_a_run_with_official_questions_and_boxes(tmp_path: Path) -> None:
    run = runs(tmp_path / "runs", 1) / "r0"
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "recording": "scene9001_00"}))
    # true object 0 is the map's table 1, object 1 its chair 2 half a metre off
    boxes = {"scene9001_00": {"0": [2.0, 1.5, 0.35, 1.2, 0.8, 0.7], "1": [3.3, 1.5, 0.45, 0.5, 0.4, 0.9]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    named = ("scanqa", "ScanQA_v1.0_val.json"), ("scanrefer", "ScanRefer_filtered_val.json")
    settings = BuildSettings(
        annotations=tuple((name, (OFFICIAL / file,)) for name, file in named), boxes=tmp_path / "boxes.json",
        shares={}, licence="mine",
    )  # fmt: skip
    made = build([str(run)], tmp_path / "set", settings, workers=0)
    records = list(TrainingSet(tmp_path / "set", "train"))
    rows = json.loads((OFFICIAL / "ScanRefer_filtered_val.json").read_text())
    about_0 = sum((r["scene_id"], r["object_id"]) == ("scene9001_00", "0") for r in rows)
    here = sum(r["scene_id"] == "scene9001_00" for r in rows)
    grounded = [r for r in records if r.source == "scanrefer"]
    assert [r.conversations[1]["value"] for r in grounded] == ["<OBJ001>."] * about_0 and about_0 > 0
    card = json.loads((tmp_path / "set" / "card.json").read_text())
    assert card["imported"]["scanrefer"]["rows"] == 10 and card["imported"]["scanrefer"]["examples"] == here
    assert card["imported"]["scanrefer"]["left_out"] == {"its scene is none of the sources": 10 - here}
    assert sum(card["left_out"].values()) == here - about_0
    assert made.conversations == len(records) == card["conversations"] == card["splits"]["train"]["conversations"]
    assert card["licences"] == {"run: mine": 1} and card["splits"]["train"]["depths"] == 1
    text = (tmp_path / "set" / "README.md").read_text()
    assert "run: mine" in text and "of 32" not in text and f"| scanrefer | 10 | {here} |" in text
    with pytest.raises(DatasetError, match=r"begun with other settings \(licence\)"):
        build([str(run)], tmp_path / "set", BuildSettings(**{**vars(settings), "licence": "yours"}))


def test_of_a_recording_without_truth_the_map_tells_what_is_right(tmp_path: Path) -> None:
    run = runs(tmp_path / "runs", 1) / "r0"
    there = {o.id: o for o in load_scene(run).objects}
    build([str(run)], tmp_path / "set", BuildSettings(small=40, kinds=(), shares={}, licence="mine"), workers=0)
    sides = set()
    for record in TrainingSet(tmp_path / "set", "train"):
        asked, told = (c["value"] for c in record.conversations)
        pair = re.search(r"is <OBJ(\d+)> left or right of <OBJ(\d+)>", asked)
        if record.kind == "map_side" and pair:
            first, second = (there[int(n)].box.center[0] for n in pair.groups())
            assert told == ("left" if first < second else "right"), asked
            sides.add(told)
    assert sides == {"left", "right"}


def test_a_bad_scene_costs_no_other(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs", 2)
    (folder / "r0" / "bev.npz").unlink()
    made = build([str(folder)], tmp_path / "set", BuildSettings(shares={}), workers=0)
    assert list(made.failed) == ["run-r0"] and "make it anew" in made.failed["run-r0"] and made.made == 1
    assert "run-r0: " in (tmp_path / "set" / "README.md").read_text()
    shutil.rmtree(folder / "r0")
    runs(tmp_path / "again", 1)
    shutil.copytree(tmp_path / "again" / "r0", folder / "r0")
    mended = build([str(folder)], tmp_path / "set", BuildSettings(shares={}), workers=0)
    assert (mended.made, mended.resumed, mended.failed) == (1, 1, {})
    assert TrainingSet(tmp_path / "set").scene_count == 2 and not (tmp_path / "set" / ".work").exists()


def test_what_is_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.tex").write_text("precious")
    with pytest.raises(DatasetError, match="is no training set"):
        build([str(runs(tmp_path / "runs", 1))], tmp_path / "set")
    assert (tmp_path / "set" / "thesis.tex").read_text() == "precious"


@pytest.mark.slow
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs", 6)
    options = ["--val", "0.4", "--shard-mb", "0.1", "--workers", "2"]
    command = [sys.executable, "-m", "s3d_ros.cli", "dataset", "build", str(folder), *options, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, timeout=300)
    out = tmp_path / "killed"
    child = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(".work/run-*.json")) and not list(out.glob("*-0*.tar")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (out / "train-00009.tar").write_bytes(b"a shard whose index was never written")
    (out / ".train-00001.tar.1.half").write_bytes(b"half")
    done = subprocess.run([*command, str(out)], check=True, capture_output=True, text=True, timeout=300)
    made, resumed = (int(w) for w in (done.stdout.split()[1], done.stdout.split(", ")[1].split()[0]))
    assert made + resumed == 6 and resumed >= 1
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("*-0*")}
    assert len(whole) >= 4  # shards and indices and {p.name: p.read_bytes() for p in out.glob("*-0*")} == whole
    assert not list(out.glob(".*")) and not TrainingSet(out, "").check()


@pytest.mark.slow
def test_a_simulated_home_becomes_a_set(tmp_path: Path) -> None:
    settings = BuildSettings(fps=1.0, noise="none", size=(160, 120), per_kind=1, shares={"val": 1.0})
    build(["studio"], tmp_path / "set", settings, workers=0)
    training = TrainingSet(tmp_path / "set", "val")
    assert not training.check()
    scene = training.scene(0)
    views = len(scene.views)
    assert views > 5 and all(scene.depth_m(v).shape == (120, 160) for v in scene.views)  # type: ignore[union-attr]
    kinds = {r.kind for r in training}
    assert kinds >= {"grounding_none", "caption", "camera_displacement", "situated_is"}
    for record in training:
        if "of " in (said := record.conversations[0]["value"].rpartition("frame ")[2]) and said.split()[0].isdigit():
            assert int(said.split()[2].strip(".,?")) == views
    matched = [o for o in scene.data["objects"] if o["truth"]]
    assert matched and all(o["truth"]["iou"] >= 0.75 and o["label"] == o["truth"]["label"] for o in matched)


def test_the_command(tmp_path: Path) -> None:
    folder, out = runs(tmp_path / "runs", 1), tmp_path / "set"
    runner = CliRunner()
    made = runner.invoke(app, ["dataset", "build", str(folder), "--out", str(out), "--workers", "0", "--val", "0"])
    assert made.exit_code == 0, made.output
    assert runner.invoke(app, ["dataset", "check", str(out)]).output == "1 scenes, 0 conversations, 0 bad\n"
    page = tmp_path / "page.html"
    assert runner.invoke(app, ["dataset", "show", str(out), "--out", str(page)]).exit_code == 0 and page.exists()
    (tar,) = out.glob("*.tar")
    assert "run-r0.scene.json" in members_of(tar)
    os.truncate(tar, 2000)
    bad = runner.invoke(app, ["dataset", "check", str(out)])
    assert bad.exit_code != 0
    assert runner.invoke(app, ["dataset", "build", str(folder), "--out", str(out), "--split", "val"]).exit_code == 2
