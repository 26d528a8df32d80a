"""The command line: quick, clear about what is wrong, and wired to the parts that do the work."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import write_small_run
from typer.testing import CliRunner, Result

from s3d_ros import cli

COMMANDS = ("replay", "play", "simulate", "ask", "questions", "evaluate", "demo", "bench")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def complaint(*arguments: object, code: int = 2) -> str:
    """Run a command that must fail in one line; return that line."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    write_small_run(tmp_path / "run")
    return tmp_path / "run"


def test_help_names_all_commands():
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"^. {command} ", result.output, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str):
    result = run(command, "--help")
    assert result.exit_code == 0 and "usage:" in result.output.lower()


def test_help_loads_nothing_heavy():
    code = (
        "import sys, contextlib\nfrom s3d_ros.cli import app\n"
        "with contextlib.suppress(SystemExit): app(['--help'])\n"
        "print(sorted({'numpy', 'cv2', 'open3d', 'scipy', 'rclpy', 'torch', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- mistakes ---------------------------------------------------------------------------------------------------


def test_missing_recording_is_named(tmp_path: Path):
    assert str(tmp_path / "none") in complaint("replay", tmp_path / "none", "--out", tmp_path / "run")


def test_unknown_config_key_is_named_with_the_nearest(tmp_path: Path):
    line = complaint("replay", tmp_path, "--out", tmp_path / "run", "--set", "fusion.voxel_sise_m=0.05")
    assert "fusion.voxel_sise_m" in line and "fusion.voxel_size_m" in line


def test_config_file_and_value_out_of_range(tmp_path: Path):
    config = tmp_path / "c.yaml"
    config.write_text("fusion:\n  voxel_size_m: 7\n")
    assert "fusion.voxel_size_m = 7" in complaint("replay", tmp_path, "--out", tmp_path / "run", "-c", config)
    assert "c2.yaml" in complaint("replay", tmp_path, "--out", tmp_path / "run", "-c", tmp_path / "c2.yaml")


@pytest.mark.parametrize("pair", ["colour=/a", "color", "color="])
def test_wrong_topic_option_says_which_roles_there_are(pair: str, tmp_path: Path):
    line = complaint("replay", tmp_path, "--out", tmp_path / "run", "--topic", pair)
    assert pair in line and "camera_info" in line


def test_settings_are_read_as_yaml():
    config = cli.read_config(None, ["fusion.voxel_size_m=0.05", "map.frame_id=odom", "views.count=8", "map.up=0,0,1"])
    assert (config.fusion.voxel_size_m, config.map.frame_id, config.views.count) == (0.05, "odom", 8)
    assert config.map.up == "0,0,1"


def test_bad_questions_file_stops_before_the_work(tmp_path: Path):
    questions = tmp_path / "q.json"
    questions.write_text('{"no": "list"}')
    line = complaint("replay", tmp_path, "--out", tmp_path / "run", "--questions", questions)
    assert "q.json" in line and "id" in line
    assert not (tmp_path / "run").exists()


def test_ask_a_folder_that_is_no_run(tmp_path: Path):
    assert "is no run" in complaint("ask", tmp_path, "where is the chair?")


def test_ask_a_damaged_run(a_run: Path):
    (a_run / "objects.json").write_text("{}")
    assert "objects.json is damaged" in complaint("ask", a_run, "where is the chair?")


def test_evaluate_without_truth(a_run: Path, tmp_path: Path):
    assert "truth.json" in complaint("evaluate", a_run, "--truth", tmp_path)


def test_questions_without_truth(tmp_path: Path):
    assert "truth" in complaint("questions", tmp_path / "t.json", "--out", tmp_path / "q", "--key", tmp_path / "k")


def test_simulate_names_the_layouts_that_there_are(tmp_path: Path):
    assert "living_room" in complaint("simulate", tmp_path / "none.json", "--out", tmp_path / "bag")


def test_simulate_writes_over_nothing(tmp_path: Path):
    (tmp_path / "bag").mkdir()
    line = complaint("simulate", "studio", "--out", tmp_path / "bag", "--size", "64x48")
    assert str(tmp_path / "bag") in line and "already" in line


@pytest.mark.parametrize("size", ["640", "640x", "0x480", "9999x480", "axb"])
def test_simulate_refuses_sizes_that_are_none(size: str, tmp_path: Path):
    result = run("simulate", "studio", "--out", tmp_path / "bag", "--size", size)
    assert result.exit_code == 2 and size in result.output
    assert not (tmp_path / "bag").exists()


def test_a_file_that_may_not_be_written_is_named(a_run: Path, tmp_path: Path):
    write_truth(tmp_path / "truth.json")
    line = complaint("evaluate", a_run, "--truth", tmp_path / "truth.json", "--out", tmp_path / "no" / "e.json")
    assert "e.json" in line and "no such file" in line


def test_faults_of_the_program_keep_their_trace(a_run: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("s3d_ros.answer.geometric.GeometricAnswerer.answer", broken)
    result = run("ask", a_run, "where?")
    assert isinstance(result.exception, ValueError), "an error of our own making must not pass for bad input"


@pytest.mark.parametrize("module", ["rclpy", "sensor_msgs.msg", "s3d_ros.msg"])
def test_missing_ros_is_told_with_the_way_to_get_it(module: str, a_run: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr("s3d_ros.answer.geometric.GeometricAnswerer.answer", missing)
    line = complaint("ask", a_run, "where?")
    assert module in line and "make setup" in line


def test_ctrl_c_is_no_fault(a_run: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("s3d_ros.answer.geometric.GeometricAnswerer.answer", stopped)
    assert complaint("ask", a_run, "where?", code=130) == "stopped"


# --- work -------------------------------------------------------------------------------------------------------


def test_ask_prints_answer_and_ids(a_run: Path):
    result = run("ask", a_run, "How many chairs are there?")
    assert result.exit_code == 0, result.output
    assert "2" in result.output.splitlines()[0]
    assert re.search(
        r"^ +2  chair  at \(2\.80, 1\.50, 0\.45\) m, 0\.50 x 0\.40 x 0\.90 m$", result.output, re.MULTILINE
    )


def test_ask_as_json(a_run: Path):
    result = run("ask", a_run, "Is the table wider than long?", "--json")
    reply = json.loads(result.stdout)
    assert {"success", "answer", "objects", "value", "choice", "answered_by"} <= set(reply)
    assert result.exit_code == (0 if reply["success"] else 1)


def test_no_answer_is_exit_code_1_and_says_why(a_run: Path):
    result = run("ask", a_run, "Where is the piano?")
    assert result.exit_code == 1
    assert "piano" in result.output


def test_ask_with_options_prints_the_letter(a_run: Path):
    result = run("ask", a_run, "How many chairs are in this room?", "--option", "A. 1", "--option", "B. 2")
    assert result.exit_code == 0, result.output
    assert "B" in result.output.splitlines()[0]


def test_evaluate_prints_tables_and_writes_figures(a_run: Path, tmp_path: Path):
    write_truth(tmp_path / "truth.json")
    result = run("evaluate", a_run, "--truth", tmp_path / "truth.json", "--out", tmp_path / "e.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "e.json").read_text())["objects"]
    assert (figures["truth"], figures["once"], figures["ghosts"]) == (1, 1, 2)
    assert "1 of 1" in result.output


def test_from_a_layout_to_a_scored_run(tmp_path: Path):
    bag, out, asked, key = (tmp_path / name for name in ("bag", "run", "q.json", "k.json"))
    for command in (
        ("simulate", "studio", "--out", bag, "--seed", 2, "--size", "160x120", "--limit", 12),
        ("questions", bag, "--out", asked, "--key", key),
        ("replay", bag, "--out", out, "--questions", asked, "--set", "fusion.voxel_size_m=0.04"),
        ("evaluate", out, "--truth", bag, "--key", key, "--out", tmp_path / "e.json"),
        ("ask", out, "How many things are there?"),
    ):
        result = run(*command)
        assert result.exit_code == 0, f"{command[0]}: {result.output}"
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["objects"]["found"] >= 0.7 * figures["objects"]["well_seen"] > 0
    answers = json.loads((out / "answers.json").read_text())
    assert len(answers) == len(json.loads(asked.read_text())) == figures["questions"]["count"]
    assert (out / "report.html").stat().st_size > 50_000


def test_a_saved_map_goes_on_in_the_next_replay(tmp_path: Path):
    assert run("simulate", "office", "--out", tmp_path / "bag", "--size", "160x120", "--limit", 6).exit_code == 0
    coarse = ("--set", "fusion.voxel_size_m=0.04")
    things = []
    for name, more in (("first", ("--save-map", tmp_path / "map")), ("second", ("--map", tmp_path / "map"))):
        result = run("replay", tmp_path / "bag", "--out", tmp_path / name, *coarse, *more)
        assert result.exit_code == 0, result.output
        things.append(
            {o["id"]: o["label"] for o in json.loads((tmp_path / name / "objects.json").read_text())["objects"]}
        )
    assert things[0] and things[0].items() <= things[1].items(), "seen a second time, they are the same"
    rows = [json.loads(line) for line in (tmp_path / "second" / "tracks.jsonl").read_text().splitlines()]
    known = [i["id"] for i in rows[0]["instances"] if i["id"]]  # in a first replay, none is
    assert len(known) >= 0.5 * len(rows[0]["instances"]) > 0 and set(known) <= things[0].keys()
    out = ("replay", tmp_path / "bag", "--out", tmp_path / "third")
    assert "fusion.voxel_size_m = 0.04, but it is set to 0.02 now" in complaint(*out, "--map", tmp_path / "map")
    assert "holds no map" in complaint(*out, "--map", tmp_path / "nowhere")
    assert "holds other things" in complaint(*out, "--save-map", tmp_path)


def test_questions_are_written_without_their_answers(tmp_path: Path):
    write_truth(tmp_path / "truth.json")
    out, key = tmp_path / "q.json", tmp_path / "k.json"
    result = run("questions", tmp_path / "truth.json", "--out", out, "--key", key, "--seed", 3)
    assert result.exit_code == 0, result.output
    asked, answers = json.loads(out.read_text()), json.loads(key.read_text())
    assert [q["id"] for q in asked] == [a["id"] for a in answers] != []
    assert not {"answer", "value", "choice"} & set().union(*asked)


def write_truth(path: Path) -> None:
    table = {
        "id": 5, "label": "table", "center": [2.0, 1.5, 0.35], "size": [1.2, 0.8, 0.7],
        "axes": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "pixels_seen": 9000, "frames_seen": 50, "first_seen_s": 0.0,
    }  # fmt: skip
    room = {"min": [0, 0, 0], "max": [4, 3, 2.5], "floor_area_m2": 12.0}
    path.write_text(json.dumps({"room": room, "objects": [table]}))


def test_with_geometric_or_none_the_instances_of_a_recording_are_left_out(tmp_path: Path):
    assert run("simulate", "office", "--out", tmp_path / "bag", "--size", "160x120", "--limit", 4).exit_code == 0
    labels = {}
    for name in ("given", "geometric", "none"):
        command = ("replay", tmp_path / "bag", "--out", tmp_path / name, "--set", f"segment.segmenter={name}")
        assert run(*command).exit_code == 0
        rows = [json.loads(line) for line in (tmp_path / name / "tracks.jsonl").read_text().splitlines()]
        objects = json.loads((tmp_path / name / "objects.json").read_text())["objects"]
        labels[name] = (any(row["instances"] for row in rows), {o["label"] for o in objects} - {""})
    assert labels["given"][0] and labels["given"][1]
    assert not labels["geometric"][1]  # depth knows no names
    assert labels["none"] == (False, set())
