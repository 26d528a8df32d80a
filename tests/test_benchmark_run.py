"""``s3d benchmark run``: asked through the pipeline, kept, gone on with, scored, shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmark_data import write
from openai_servers import Handler, Scripted, says
from small_run import small_scene, write_small_run
from tiny_vlm import make_tiny
from typer.testing import CliRunner, Result

from s3d_ros import cli
from s3d_ros.benchmarks.bootstrap import BootstrapConfig
from s3d_ros.benchmarks.files import BenchmarkError
from s3d_ros.benchmarks.running.generated import GeneratedConfig, GeneratedSet
from s3d_ros.benchmarks.running.journal import Journal
from s3d_ros.benchmarks.running.official import OfficialSet, object_at
from s3d_ros.benchmarks.running.places import find_places, furnished
from s3d_ros.benchmarks.running.plots import plot_frames
from s3d_ros.benchmarks.running.variants import Variant, grid
from s3d_ros.benchmarks.scored import ScoreSettings
from s3d_ros.offline.simulate import SimulateConfig, simulate
from s3d_ros.offline.truth import load_truth
from s3d_ros.prompt.build import Prompter
from s3d_ros.prompt.config import PromptConfig
from s3d_ros.types import Answer, ErrorCode, OrientedBox, Question

QUICK = ScoreSettings(bootstrap=BootstrapConfig(samples=0))
COUNT = {"question_type": "object_counting", "question": "How many chair(s) are in this room?", "ground_truth": "2"}
AREA = {
    "question_type": "room_size_estimation",
    "question": "What is the size of this room (in square meters)?",
    "ground_truth": "12.0",
}
RED = {
    "question_type": "object_rel_direction_easy",
    "question": "Is the table red?",
    "options": ["A. yes", "B. no"],
    "ground_truth": "B",
}


def vsi(path: Path, *rows: dict[str, Any]) -> Path:
    full = [{"id": i, "scene_name": "scene0001", "options": None, **row} for i, row in enumerate(rows)]
    return write(path / "vsi.jsonl", "".join(json.dumps(row) + "\n" for row in full))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with one scene: the small room with a table and two chairs, 12 m2."""
    write_small_run(tmp_path / "scenes" / "scene0001")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["benchmark", "run", *(str(a) for a in arguments)])


def run_vsi(home: Path, annotations: Path, *more: object) -> Result:
    where = ("--scenes", home / "scenes", "--annotations", annotations, "--out", home / "out", "--samples", 0)
    return run("vsi", *where, *more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def good(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *words: str) -> None:
    told = f"{result.exception} {result.output}"
    assert result.exit_code != 0 and all(word in told for word in words), told


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in result["metrics"].items()}


# What is asked


def test_lists_make_a_grid():
    made = grid("8,16", "on,off", "on")
    assert made == [Variant(8), Variant(8, bev=False), Variant(16), Variant(16, bev=False)]
    assert made[1].title == "8 frames, no BEV"
    assert [v.name for v in made[:2]] == ["frames-8", "frames-8-no-bev"]
    assert Variant(8, False, False).name == "frames-8-no-bev-no-markers"
    for words, named in (
        (("8,many", "on", "on"), "'many'"),
        (("8", "maybe", "on"), "'maybe'"),
        (("", "on", "on"), "a variant needs"),
    ):
        with pytest.raises(BenchmarkError, match=named):
            grid(*words)


def test_the_map_answers_and_what_it_can_not_is_an_error_and_wrong(home: Path):
    told = good(run_vsi(home, vsi(home, COUNT, AREA, RED), "--frames", "8,16")).output
    folder = home / "out" / "geometric" / "map"
    result = json.loads((folder / "result.json").read_text())
    assert values(result) == {
        "mean of the tasks": pytest.approx(200 / 3), "object_counting": 100, "room_size_estimation": 100,
        "object_rel_direction": 0, "object_rel_direction_easy": 0,
    }  # fmt: skip
    assert result["errors"] == {"NOT_SETTLED": 1} and result["unreadable"]["ids"] == ["2"]
    assert result["asked"] == 3 and result["answered_by"] == {"geometric": 3}
    assert "no picture" in told and not (home / "out" / "geometric" / "frames-8").exists()
    rows = lines(folder / "answers.jsonl")
    assert [r["value"] for r in rows] == [2, 12.0, None] and "could not read 'red'" in rows[2]["answer"]
    assert "ground_truth" not in (folder / "answers.jsonl").read_text()
    page = (home / "out" / "report.html").read_text()
    assert "Is the table red?" in page and "66.7" in page and "NOT_SETTLED 1" in page
    assert not (home / "out" / "figures.png").exists()  # of so few questions no figure is drawn
    assert (folder / "worst" / "01" / "map.png").exists()
    table = (home / "out" / "report.md").read_text()
    assert (
        "| object_counting | 1 | 100.0 | 100.0 | 100.0 |" in table
    )  # the only answer of its kind is the most frequent


def test_a_model_is_asked_in_every_variant_and_what_it_saw_is_kept(home: Path):
    make_tiny("qwen2_5_vl", home / "tiny")
    model = ("--answerer", "transformers", "--model", home / "tiny", "--set", "dtype=float32")
    model += ("--set", "max_new_tokens=4", "--frames", "1", "--bev", "on,off")
    good(run_vsi(home, vsi(home, COUNT, RED), *model))
    seen = {}
    for name, images in (("frames-1", 2), ("frames-1-no-bev", 1)):
        folder = home / "out" / "transformers-tiny" / name
        result = json.loads((folder / "result.json").read_text())
        assert result["images"] == images and result["asked"] == 2
        assert result["errors"].keys() <= {"NOT_SETTLED"}  # noise; it may choose none of the options
        told = {row["id"]: row for row in lines(folder / "prompts.jsonl")}
        assert set(told) == {"0", "1"} and "A. yes\nB. no" in json.dumps(told["1"]).replace("\\n", "\n")
        seen[name] = json.dumps(told["0"])
        page = folder / "worst" / "01"
        assert len(list(page.glob("*.png"))) == images
        assert "is not kept" not in (page / "prompt.txt").read_text()
    assert "Bird's-eye" in seen["frames-1"] and "Bird's-eye" not in seen["frames-1-no-bev"]
    report = (home / "out" / "report.html").read_text()
    assert "transformers-tiny, 1 frames, no BEV" in report and "worst/01/01-view-1.png" in report


# Going on


def slow(handler: Handler) -> None:
    time.sleep(0.25)
    says("2")(handler)


def test_a_run_that_was_killed_goes_on_where_it_was(home: Path):
    many = [{**COUNT, "question": f"How many chairs of kind {k} are in this room?"} for k in range(8)]
    annotations = vsi(home, *many)
    answers = home / "out" / "openai-tiny" / "frames-32" / "answers.jsonl"
    with Scripted(slow) as server:
        options = ["--answerer", "openai", "--server", server.url, "--model", "tiny"]
        where = ["--scenes", home / "scenes", "--annotations", annotations, "--out", home / "out", "--samples", "0"]
        command = [sys.executable, "-m", "s3d_ros.cli", "benchmark", "run", "vsi", *map(str, where), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
        try:
            until = time.monotonic() + 120
            while not (answers.exists() and answers.read_text().count("\n") >= 2):
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        with answers.open("a") as file:
            file.write('{"id": "7", "success": tr')  # as a kill in the middle of a line leaves it
        kept = answers.read_text().splitlines()[:-1]
        assert 2 <= len(kept) < 8
        before = len(server.requests)
        good(run_vsi(home, annotations, *options))
        assert len(server.requests) - before == 8 - len(kept)
        good(run_vsi(home, annotations, *options))
        assert len(server.requests) - before == 8 - len(kept)  # all is there
    rows = answers.read_text().splitlines()
    assert rows[: len(kept)] == kept and sorted(json.loads(r)["id"] for r in rows) == [str(k) for k in range(8)]
    assert values(json.loads((answers.parent / "result.json").read_text()))["object_counting"] == 100


def test_a_model_that_fails_ends_the_run_and_is_asked_again(home: Path):
    annotations = vsi(home, *[{**COUNT, "question": f"How many chairs of kind {k} are there?"} for k in range(9)])
    folder = home / "out" / "openai-tiny" / "frames-32"
    model = ("--answerer", "openai", "--model", "tiny", "--set", "server.retries=0")
    with Scripted(says("2"), lambda h: h.reply(500, {"error": {"message": "out of memory"}})) as server:
        result = run_vsi(home, annotations, *model, "--server", server.url)
        refused(result, "failed 5 times in a row", "out of memory", "to go on")
        assert [r["error"] for r in lines(folder / "answers.jsonl")] == ["", *["MODEL_FAILED"] * 5]
    with Scripted(says("3")) as server:  # the same model elsewhere
        good(run_vsi(home, annotations, *model, "--server", server.url, "--workers", 3))
        assert len(server.requests) == 8
    result = json.loads((folder / "result.json").read_text())
    # one says 2, eight say 3: off by half, which one threshold of ten allows
    assert result["errors"] == {} and values(result)["object_counting"] == pytest.approx(100 * (1 + 0.8) / 9)


def test_what_answers_depend_on_may_not_change(home: Path):
    annotations = vsi(home, COUNT)
    with Scripted(says("2")) as server:
        model = ("--answerer", "openai", "--model", "tiny", "--server", server.url)
        good(run_vsi(home, annotations, *model))
        refused(run_vsi(home, annotations, *model, "--set", "prompt.bev_px=448"), "prompt.bev_px = 896", "448", "--out")
        refused(run_vsi(home, vsi(home, AREA), *model), "answer to 0", "How many chair", "What is the size")
        vsi(home, COUNT)
        good(run_vsi(home, annotations, *model))
        write_small_run(home / "scenes" / "scene0001", replace(small_scene(), floor_area_m2=13.0))
        refused(run_vsi(home, annotations, *model), "another map of scene0001")
        other = ("--scenes", home / "scenes", "--annotations", annotations, "--out", home / "out")
        refused(run("vsti", *other), "benchmark", "VSI-Bench", "VSTI-Bench")
        assert len(server.requests) == 1


def test_one_run_at_a_time_and_damage_is_named(tmp_path: Path):
    with Journal(tmp_path / "a", {"x": 1}) as journal:
        journal.add({"id": "1", "error": ""})
        with pytest.raises(BenchmarkError, match="another run"):
            Journal(tmp_path / "a", {"x": 1})
    (tmp_path / "a" / "answers.jsonl").write_text('{"id": "1"}\n{"id": \n{"id": "2"}\n')
    with pytest.raises(BenchmarkError, match="line 2"):
        Journal(tmp_path / "a", {"x": 1})
    with pytest.raises(BenchmarkError, match=r"x = 1.*it is 2"):
        Journal(tmp_path / "a", {"x": 2})


# Scenes and boxes


def test_scenes_that_are_not_there_are_named(home: Path):
    annotations = vsi(home, COUNT, {**COUNT, "scene_name": "scene0002"})
    refused(run_vsi(home, annotations), "1 of 2 scenes", "scene0002", "--some")
    good(run_vsi(home, annotations, "--some"))
    result = json.loads((home / "out" / "geometric" / "map" / "result.json").read_text())
    assert (result["asked"], result["answered_only"]) == (1, True) and values(result)["object_counting"] == 100
    (home / "scenes" / "scene0001" / "bev.npz").unlink()
    with Scripted(says("2")) as server:
        told = run_vsi(home, annotations, "--some", "--answerer", "openai", "--server", server.url, "--model", "m")
        refused(told, "no bird's-eye view", "s3d replay")


def box(center: tuple[float, float, float], size: tuple[float, float, float]) -> OrientedBox:
    return OrientedBox(np.array(center), np.array(size), np.eye(3))


def test_an_object_of_the_map_stands_for_the_true_one_it_meets():
    scene = small_scene()  # chair 3 at (1, 1.5), 0.5 x 0.5 x 0.9
    assert object_at(box((1.0, 1.5, 0.45), (0.5, 0.5, 0.9)), scene) == 3
    assert object_at(box((1.0, 1.5, 0.45), (1.0, 0.99, 0.9)), scene) == 3  # IoU 0.2525
    assert object_at(box((1.0, 1.5, 0.45), (1.1, 1.0, 0.9)), scene) is None
    assert object_at(box((1.0, 1.5, 0.45), (0.5, 0.5, 0.9)), replace(scene, objects=())) is None


def test_grounding_is_laid_down_as_boxes_and_an_error_is_no_none(tmp_path: Path):
    row = {"scene_id": "s", "object_name": "chair", "description": "The chairs.", "spatial": False}
    rows = [{**row, "ann_id": 0, "object_ids": [], "eval_type": "zt_wo_d"},
            {**row, "ann_id": 1, "object_ids": [0], "eval_type": "st_w_d"}]  # fmt: skip
    annotations = write(tmp_path / "multi3drefer_val.json", rows)
    true = write(tmp_path / "boxes.json", {"s": {"0": [1.0, 1.5, 0.45, 0.5, 0.5, 0.9]}})
    made = OfficialSet("multi3drefer", [annotations], replace(QUICK, boxes=true))
    scene = small_scene()
    asked = made.question(made.items[0], scene)
    assert asked is not None and asked.text == (
        'Are there any objects that match the description "The chairs"? If so, which?'
    )
    blank = {"success": True, "choice": "", "value": None, "unit": "", "error": ""}

    def score(none: Answer, some: Answer) -> float:
        answers = [{**blank, "id": i.id, "success": a.success, "answer": a.text, **made.more(i, a, scene)}
                   for i, a in zip(made.items, (none, some), strict=True)]  # fmt: skip
        return values(made.score(answers, made.items))["F1@0.25"]

    failed = Answer("no reply", ErrorCode.MODEL_FAILED)
    assert score(Answer("No."), Answer("chair 3.", objects=(3,))) == 100
    assert score(failed, Answer("chairs 2 and 3.", objects=(2, 3))) == pytest.approx(100 / 3)  # 2/3 of the second
    assert score(Answer("table 1.", objects=(1,)), failed) == 0


def test_captions_are_asked_of_the_maps_object(tmp_path: Path):
    row = {"scene_id": "s", "object_name": "chair", "ann_id": "0", "token": ["a", "chair"], "description": "A chair."}
    rows = [{**row, "object_id": "0"}, {**row, "object_id": "1"}]
    annotations = write(tmp_path / "ScanRefer_filtered_val.json", rows)
    true = write(tmp_path / "boxes.json", {"s": {"0": [1.0, 1.5, 0.45, 0.5, 0.5, 0.9], "1": [9, 9, 9, 1, 1, 1]}})
    made = OfficialSet("scan2cap", [annotations], replace(QUICK, boxes=true))
    asked = [made.question(item, small_scene()) for item in made.items]
    assert asked[0] is not None and asked[0].text == "Describe object 3." and asked[1] is None
    assert all(item.by_id for item in made.items)
    rows = []
    for item, question in zip(made.items, asked, strict=True):
        answer = Answer("a chair.") if question else Answer("no object of the map lies there", ErrorCode.NOT_IN_MAP)
        more = made.more(item, answer, small_scene())
        rows.append(
            {"id": item.id, "success": answer.success, "answer": answer.text, "choice": "", "value": None, **more}
        )
    result = made.score(rows, made.items)
    assert values(result)["matched@0.5"] == 50 and result["missing"]["count"] == 0


# Our own questions


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    small = SimulateConfig(width=160, height=120, max_duration_s=6.0)
    simulate(["studio"], folder / "studio", seed=2, options=small)
    return folder


def test_generated_questions_about_a_recording_that_is_mapped_once(recorded: Path, tmp_path: Path):
    out = tmp_path / "out"
    options = ("generated", "--scenes", recorded, "--out", out, "--per-kind", 2, "--samples", 0)
    good(run(*options))
    answers = out / "geometric" / "map" / "answers.jsonl"
    result = json.loads((answers.parent / "result.json").read_text())
    rows = lines(answers)
    assert len(rows) == result["asked"] == result["scored"] > 10 and {r["scene"] for r in rows} == {"studio"}
    assert sum(result["errors"].values()) == sum(not r["success"] for r in rows)
    (mapped,) = (out / "maps").glob("studio-*")
    assert cv2.imread(str(out / "figures.png")) is not None
    before = answers.stat().st_mtime_ns, (mapped / "objects.json").stat().st_mtime_ns
    good(run(*options))
    assert before == (answers.stat().st_mtime_ns, (mapped / "objects.json").stat().st_mtime_ns)
    assert lines(answers) == rows


def test_the_true_answers_get_all_points_and_what_needs_ids_can_be_left_out(recorded: Path, tmp_path: Path):
    places = find_places(recorded, ["studio"], tmp_path / "maps")
    made = GeneratedSet(places, GeneratedConfig(("vsi", "grounding"), per_kind=2), QUICK)
    blank = {"success": True, "answer": "", "value": None, "choice": "", "objects": []}
    right = []
    for item in made.items:
        q = made._questions[item.id][1]
        right.append({**blank, "id": item.id, "answer": q.answer, "value": q.value, "choice": q.choice})
    plain = [item for item in made.items if not item.by_id]
    result = made.score(right, plain)
    assert values(result)["vsi"] == 100 and set(result["not_computed"]) == {"grounding", "mean of the families"}
    assert result["missing"]["count"] == 0 and made.score(right[1:], plain)["missing"]["count"] == 1
    assert 0 <= values(made.baselines()["random"])["vsi"] <= 100
    with pytest.raises(BenchmarkError, match="captions"):
        GeneratedSet(places, GeneratedConfig(("caption",)), QUICK)
    with pytest.raises(BenchmarkError, match="'vsu'"):
        GeneratedSet(places, GeneratedConfig(("vsu",)), QUICK)


def test_homes_are_simulated_and_mapped_once_for_the_same_settings(tmp_path: Path):
    small = SimulateConfig(width=80, height=60, max_duration_s=2.0)
    (place,) = furnished([Path("studio")], tmp_path, seed=2, options=small).values()
    assert place.truth is not None and load_truth(place.truth).frames and place.scene(pictures=True).views
    assert not list(tmp_path.rglob("*.mcap"))  # of a recording the truth alone is kept
    made = (place.run / "objects.json").stat().st_mtime_ns
    again = furnished([Path("studio")], tmp_path, seed=2, options=small)
    assert again == {place.name: place} and (place.run / "objects.json").stat().st_mtime_ns == made
    (other,) = furnished([Path("studio")], tmp_path, seed=3, options=small).values()
    assert other.run != place.run
    with pytest.raises(BenchmarkError, match=r"nowhere\.json"):
        furnished([tmp_path / "nowhere.json"], tmp_path)


def test_questions_name_only_frames_that_every_variant_shows(recorded: Path, tmp_path: Path):
    places = find_places(recorded, ["studio"], tmp_path / "maps")
    scene = places["studio"].scene(pictures=True)
    assert [v.id for v in scene.views] == list(range(1, len(scene.views) + 1)) and len(scene.views) > 3
    shown = set(Prompter(PromptConfig(frames=3)).build(Question("is it tidy?"), scene).views)
    named: dict[int, set[int]] = {}
    for fewest in (0, 3):
        made = GeneratedSet(places, GeneratedConfig(("camera_displacement",), 9, fewest_frames=fewest), QUICK)
        asked = [made._questions[item.id][1] for item in made.items]
        named[fewest] = {f.index for q in asked for f in q.frames}
        assert asked and all(f"of {len(scene.views)}" in q.question for q in asked)
    assert named[3] <= shown and not named[0] <= shown


def test_accuracy_over_frames_needs_two_numbers_of_them(tmp_path: Path):
    def column(frames: int, value: float) -> dict[str, Any]:
        figure = {"value": value, "low": value - 5, "high": value + 5, "count": 10}
        variant = {"frames": frames, "bev": True, "markers": True}
        return {"answerer": "a", "variant": variant, "metrics": {"mean": figure}}

    assert not plot_frames([column(8, 40.0)], tmp_path / "one.png")
    assert plot_frames([column(8, 40.0), column(16, 50.0)], tmp_path / "two.png")
    assert cv2.imread(str(tmp_path / "two.png")) is not None
