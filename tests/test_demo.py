"""The demo: what it asks, what it draws, that it cleans up; and once for real, over ROS topics."""

import json
import os
import re
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
from small_run import small_scene
from typer.testing import CliRunner

from s3d_ros.answer.geometric import GeometricAnswerer
from s3d_ros.cli import app
from s3d_ros.offline.demo_questions import Asker
from s3d_ros.offline.processes import ProcessError, Processes
from s3d_ros.offline.sheet import cut_to_known, draw_sheet
from s3d_ros.types import ErrorCode, Scene

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: object, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# --- what is asked ----------------------------------------------------------------------------------------------


def all_questions(scene: Scene) -> list[str]:
    asker, asked = Asker(), []
    while (question := asker.next(scene)) is not None:
        asked.append(question.text)
    return asked


def test_questions_are_about_what_the_map_holds_and_each_kind_comes_once():
    scene = small_scene()
    asked = all_questions(scene)
    assert len(asked) == len(set(asked)) >= 5
    assert asked[0] == "How many chairs are there?"
    assert any("table" in q for q in asked)


def test_questions_of_a_map_without_labels_name_ids():
    scene = small_scene("")
    scene = replace(scene, objects=tuple(replace(o, label="", label_scores={}) for o in scene.objects))
    asked = all_questions(scene)
    assert asked[0] == "How many things are there?"
    assert any(re.search(r"object \d", q) for q in asked)


def test_all_but_the_unanswerable_one_are_answered():
    scene, answerer, asker = small_scene(), GeometricAnswerer(), Asker()
    refused = []
    while (question := asker.next(scene)) is not None:
        answer = answerer.answer(question, scene)
        if not answer.success:
            refused.append((question.text, answer.error))
    assert refused == [("How many chairs are occupied?", ErrorCode.NOT_SETTLED)]


def test_the_first_count_is_asked_again_at_the_end():
    asker = Asker()
    assert asker.last() is None
    first = asker.next(small_scene())
    assert first is not None and asker.last() == first


# --- what is drawn ----------------------------------------------------------------------------------------------


def test_sheet_shows_map_and_frames_side_by_side():
    scene = small_scene()
    sheet = draw_sheet(scene, height=480)
    assert sheet is not None and sheet.shape[0] == 480 + 24 and sheet.shape[1] > 900
    map_only = draw_sheet(replace(scene, views=()), height=480)
    assert map_only is not None and map_only.shape[1] < sheet.shape[1] - 300
    assert draw_sheet(replace(scene, bev=None, views=())) is None


def test_cut_keeps_places():
    bev = small_scene().bev
    assert bev is not None
    cut = cut_to_known(bev, 0.1)
    corner = np.array([[0.3, -0.5, 0.0], [3.1, 1.9, 0.0]])
    shift = bev.to_pixels(corner) - cut.to_pixels(corner)
    assert shift == pytest.approx(np.array([[40 - 5, 50 - 5]] * 2))
    assert cut.color.shape == (160, 210, 3) and cut.height_m.shape == cut.occupancy.shape == (160, 210)


# --- processes --------------------------------------------------------------------------------------------------


def test_processes_end_with_the_block_even_deaf_ones(tmp_path: Path):
    with Processes(tmp_path, patience_s=0.3) as processes:
        processes.start("sleeper", "-c", SLEEP)
        processes.start("deaf", "-c", DEAF)
        pids = [c.pid for c in processes._children.values()]
        assert wait_for(lambda: processes.log("deaf").read_text() == "up\n")
        processes.check()
        assert all(is_alive(pid) for pid in pids)
    assert not any(is_alive(pid) for pid in pids)


def test_a_child_that_fails_is_named_with_the_end_of_its_log(tmp_path: Path):
    with Processes(tmp_path) as processes:
        processes.start("bad", "-c", "raise SystemExit('no camera')")
        with pytest.raises(ProcessError, match=r"(?s)bad ended with code 1.*no camera"):
            wait_for(lambda: processes.has_ended("bad"))


def test_a_child_that_ends_well_is_no_error(tmp_path: Path):
    with Processes(tmp_path, {"S3D_TEST": "7"}) as processes:
        processes.start("good", "-c", "import os; print(os.environ['S3D_TEST'])")
        assert wait_for(lambda: processes.has_ended("good"))
        assert processes.log("good").read_text() == "7\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked to do it")
def test_children_end_when_the_program_is_killed_outright(tmp_path: Path):
    program = (
        "import sys, time; from pathlib import Path; from s3d_ros.offline.processes import Processes\n"
        "p = Processes(Path(sys.argv[1])); p.start('child', '-c', sys.argv[2])\n"
        "print(p._children['child'].pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), SLEEP], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not is_alive(child))


def test_ctrl_c_while_a_child_is_started_ends_that_child_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def interrupted(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **more))
        os.kill(os.getpid(), signal.SIGINT)
        return started[0]

    with pytest.raises(KeyboardInterrupt), Processes(tmp_path) as processes:
        monkeypatch.setattr(subprocess, "Popen", interrupted)
        processes.start("child", "-c", SLEEP)
    assert started[0].poll() is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- for real ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf wall seen by a camera that walks along it: 60 frames in the 7-Scenes layout."""
    folder = tmp_path_factory.mktemp("walk")
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    for k in range(60):
        x = 0.02 * k
        pose = np.array([[1, 0, 0, x], [0, 0, 1, 0], [0, -1, 0, 1.2], [0, 0, 0, 1]], dtype=float)
        depth = np.full((120, 160), 2.0)
        ray_x, ray_down = (columns - 79.5) / 140, (rows - 59.5) / 140
        floor = ray_down > 0
        depth[floor] = np.minimum(2.0, 1.2 / ray_down[floor])
        for left, low in ((0.1, 0.3), (0.7, 0.5), (1.3, 0.2)):  # three boxes before the wall
            at_x, at_z = ray_x * 1.6 + x, 1.2 - ray_down * 1.6
            box = (at_x > left - 0.4) & (at_x < left) & (at_z > low) & (at_z < low + 0.5)
            depth[box] = 1.6
        color = np.repeat((255 * (depth / 2.5))[..., None], 3, axis=2).astype(np.uint8)
        cv2.imwrite(str(folder / f"frame-{k:06d}.color.png"), color)
        cv2.imwrite(str(folder / f"frame-{k:06d}.depth.png"), (depth * 1000).astype(np.uint16))
        np.savetxt(folder / f"frame-{k:06d}.pose.txt", pose)
    np.savetxt(folder / "camera-intrinsics.txt", np.array([[140, 0, 79.5], [0, 140, 59.5], [0, 0, 1]]))
    return folder


def demo(recording: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "s3d_ros.cli", "demo", "--bag", str(recording), "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def children(pid: int) -> set[int]:
    """The processes that a process started and that are still running."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(entry.name))
    return found


@pytest.mark.slow
def test_demo_shows_what_came_over_the_topics(recording: Path, tmp_path: Path):
    pytest.importorskip("rclpy")
    running = demo(recording, tmp_path / "run", "--rate", "0.5")
    output, _ = running.communicate(timeout=180)
    assert running.returncode == 0, output
    assert "How many things are there?" in output and "in the map so far" in output
    run = tmp_path / "run"
    objects = json.loads((run / "objects.json").read_text())["objects"]
    assert 2 <= len(objects) <= 12
    answers = json.loads((run / "answers.json").read_text())
    assert answers[-1]["question"] == answers[0]["question"] and answers[-1]["value"] == len(objects)
    assert all(a["took_ms"] < 5000 for a in answers)
    report = json.loads((run / "report.json").read_text())
    assert report["frames"] >= 20 and report["stages"]["fusion"]["median_ms"] > 0
    page = (run / "report.html").read_text()
    assert all(f'id="object-{o["id"]}"' in page for o in objects)
    assert cv2.imread(str(run / "demo.png")).shape[0] > 400


@pytest.mark.slow
@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM])
def test_demo_leaves_no_process_behind(order: signal.Signals, recording: Path, tmp_path: Path):
    pytest.importorskip("rclpy")
    running = demo(recording, tmp_path / "run", "--rate", "0.05")
    assert wait_for(lambda: len(children(running.pid)) == 3, 60), "mapper, answerer and player"
    nodes = children(running.pid)
    os.kill(running.pid, order)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 130 and "Traceback" not in output
    assert not any(is_alive(pid) for pid in nodes)


def test_demo_of_nothing_says_so_before_anything_starts(tmp_path: Path):
    result = CliRunner().invoke(app, ["demo", "--bag", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "does not exist" in result.stderr
    assert not (tmp_path / "run").exists()
