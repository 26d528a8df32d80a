"""The launch file, where ROS brings `launch`; and what it names, everywhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from s3d_ros.ros.node_parameters import ANSWERER

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch" / "s3d.launch.py"


def test_the_executables_that_it_starts_are_installed() -> None:
    started = set(re.findall(r'executable="(\w+)"', LAUNCH.read_text()))
    assert started == {"mapper", "answerer", "detections_converter"}
    installed = (ROOT / "CMakeLists.txt").read_text()
    for name in started:
        assert (ROOT / "scripts" / name).stat().st_mode & 0o111 and f"scripts/{name}" in installed


def test_every_input_of_the_mapper_can_be_remapped() -> None:
    """What the node subscribes to by a relative name is an argument of the launch file."""
    inputs = (ROOT / "s3d_ros" / "ros" / "inputs.py").read_text()
    strings = {n.value for n in ast.walk(ast.parse(inputs)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    topics = {s for s in strings if re.fullmatch(r"(color|depth)/[\w/]+|pose|instances", s)}
    assert len(topics) == 7
    text = LAUNCH.read_text()
    for topic in topics:
        assert f'("{topic}", ' in text, f"{topic} can't be remapped"


def test_ros_accepts_it() -> None:
    launch = pytest.importorskip("launch", reason="launch is not among the ROS wheels")
    pytest.importorskip("launch_ros", reason="launch_ros is not among the ROS wheels")
    spec = importlib.util.spec_from_file_location("s3d_launch", LAUNCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = launch.LaunchContext()
    for entity in module.generate_launch_description().entities:
        entity.visit(context)
    context.launch_configurations.update(detections="/yolo/detections", color="/camera/color/image_raw")
    assert len(module.make_nodes(context)) == 3
    context.launch_configurations.update(detections="", answerer="none")
    assert len(module.make_nodes(context)) == 1
    context.launch_configurations.update(answerer="transformers", model="/models/a")
    assert len(module.make_nodes(context)) == 2


def test_what_it_tells_the_answerer_are_parameters_of_it() -> None:
    given = re.search(r"given = (\{.*\})", LAUNCH.read_text())
    assert given is not None
    assert set(re.findall(r'"([a-z.]+)": value', given[1])) <= {p.name for p in ANSWERER}
