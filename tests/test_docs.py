"""The documents say what is so: commands, links, files, keys, topics, and the program in the README."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from small_run import write_small_run

from s3d_ros.cli import app
from s3d_ros.config import Config
from s3d_ros.drops import DROPS
from s3d_ros.offline.processes import Processes
from s3d_ros.types import ErrorCode

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_to_files(path: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), target


def test_pictures_are_small():
    pictures = list((ROOT / "docs" / "images").glob("*"))
    assert pictures and all(p.stat().st_size < 300_000 for p in pictures)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_and_their_options_exist(path: Path):
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for line in re.split(r"\n|&&", path.read_text()) if "`" in line or line.startswith("    ")]
    used = [m for line in lines for m in re.finditer(r"\bs3d ([a-z]+(?:-[a-z]+)*)\b([^`]*)", line)]
    for match in used:
        name, rest = match.groups()
        assert name in commands, match[0]
        inner = getattr(commands[name], "commands", {}).values()
        known = {option for command in (commands[name], *inner) for p in command.params for option in p.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, match[0]


def test_targets_of_make_exist():
    made = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        assert set(re.findall(r"(?:`|^    )make ([a-z0-9-]+)", path.read_text(), re.MULTILINE)) <= made, path


def test_parameters_named_in_the_readme_exist():
    stages = "|".join({key.split(".")[0] for key, _, _ in Config().flat()})
    named = set(re.findall(rf"`((?:{stages})\.[a-z_]+)", README)) - {"map.py"}
    assert named and named <= {key for key, _, _ in Config().flat()}


def test_topics_named_in_the_readme_are_in_the_code():
    code = "\n".join(p.read_text() for p in (ROOT / "s3d_ros" / "ros").glob("*.py"))
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    topics = {t for row in rows for t in re.findall(r"`([a-z_/]+)`", row)}
    assert len(topics) > 12
    for topic in topics:
        assert f'"{topic}"' in code, topic


def test_error_codes_are_all_described():
    run = (ROOT / "docs" / "run.md").read_text()
    assert all(code in run for code in ErrorCode if code)
    assert set(re.findall(r"`(NOT_[A-Z]+|AMBIGUOUS)`", README)) <= set(ErrorCode)


def test_every_key_of_a_run_is_described(tmp_path: Path):
    write_small_run(tmp_path / "run")
    text = (ROOT / "docs" / "run.md").read_text()
    for path in sorted((tmp_path / "run").rglob("*")):
        if path.is_file():
            assert re.sub(r"view-\d+", "view-NNNN", path.name) in text, path.name
        if path.suffix in (".json", ".jsonl"):
            for key in keys_of(
                json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())
            ):
                free = key in DROPS or key.isdigit() or key in ("table", "chair", "stool", "fusion")
                assert free or re.search(rf'[`"]{key}[`"]', text), f"{path.name}: {key}"


def keys_of(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {k for v in value.values() for k in keys_of(v)}
    return {k for v in value for k in keys_of(v)} if isinstance(value, list) else set()


def test_architecture_names_modules_that_exist_and_leaves_none_out():
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = ROOT / "s3d_ros"
    for name in re.findall(r"\*\*([a-z_/, ]+)\*\*", text):
        for part in re.split(r", ", name):
            folder = part.rstrip("/")
            assert (
                list(source.rglob(f"{folder}.py")) or list(source.rglob(folder)) or (source / f"{folder}.py").exists()
            ), part
    for path in source.glob("*.py"):
        if path.stem != "__init__":
            assert re.search(rf"\b{path.stem}\b", text), f"{path.stem} is not described"


@pytest.mark.slow
def test_the_program_in_the_readme_runs(tmp_path: Path):
    pytest.importorskip("rclpy")
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    domain = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)}
    with Processes(tmp_path, domain) as processes:
        processes.start("answerer", "-m", "s3d_ros.ros.answerer", "--ros-args", "-r", "__ns:=/s3d")
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ | domain
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NOT_READY ") and "mapper" in done.stdout
