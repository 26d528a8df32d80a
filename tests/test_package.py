"""The package as a whole: its messages, its metadata, what may import what, and what colcon installs."""

import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "s3d_ros"
NEEDS_ROS = ("s3d_ros.ros", "s3d_ros.offline.play")
NODES = {"mapper", "answerer", "detections_converter"}
COMMANDS = {"s3d", "replay", "simulate", "play", "evaluate", "ask", "demo", "bench"}


def module_names() -> list[str]:
    """All modules of the source tree, dotted."""
    paths = (p.relative_to(ROOT).with_suffix("") for p in SOURCE.rglob("*.py") if p.name != "__init__.py")
    return sorted(".".join(p.parts) for p in paths)


def core_modules() -> list[str]:
    return [name for name in module_names() if not f"{name}.".startswith(tuple(f"{n}." for n in NEEDS_ROS))]


def fields(message: type) -> dict[str, str]:
    return message.get_fields_and_field_types()


# --- messages ---------------------------------------------------------------------------------------------------


def test_messages_and_modules_share_the_package():
    import s3d_ros.types
    from s3d_ros.msg import SceneObject

    assert SceneObject.CONFIRMED == s3d_ros.types.ObjectState.CONFIRMED
    assert Path(s3d_ros.types.__file__).parent == SOURCE, "edits of the source would not take effect"


def test_scene_object_fields_and_states():
    from s3d_ros.msg import SceneObject
    from s3d_ros.types import ObjectState

    assert fields(SceneObject) == {
        "id": "uint32",
        "aliases": "sequence<uint32>",
        "state": "uint8",
        "label": "string",
        "label_confidence": "float",
        "labels": "sequence<string>",
        "label_scores": "sequence<float>",
        "pose": "geometry_msgs/Pose",
        "size": "geometry_msgs/Vector3",
        "confidence": "float",
        "first_seen": "builtin_interfaces/Time",
        "last_seen": "builtin_interfaces/Time",
        "observations": "uint32",
    }
    assert {s.name: getattr(SceneObject, s.name) for s in ObjectState} == {s.name: s.value for s in ObjectState}


def test_scene_messages_have_what_the_answerer_needs():
    from s3d_ros.msg import BevInfo, Instances, SceneObjectArray, ViewFrame, ViewMarker

    assert {"header", "map_version", "full", "objects", "removed_ids", "up", "view_ids"} <= set(
        fields(SceneObjectArray)
    )
    assert {"header", "image", "numbers", "labels", "scores"} == set(fields(Instances))
    assert {"id", "revision", "map_version", "image", "camera_info", "pose", "markers"} <= set(fields(ViewFrame))
    assert fields(ViewMarker) == {"object_id": "uint32", "u": "float", "v": "float"}
    assert {"pose", "resolution_m", "origin_x_m", "origin_y_m"} <= set(fields(BevInfo))


def test_service_and_action_ask_the_same_and_know_all_errors():
    from s3d_ros import action, srv
    from s3d_ros.types import ErrorCode

    assert fields(srv.AskScene.Request) == fields(action.AskScene.Goal)
    assert fields(srv.AskScene.Response) == fields(action.AskScene.Result)
    assert fields(action.AskScene.Feedback) == {"stage": "string", "partial": "string"}
    for reply in (srv.AskScene.Response, action.AskScene.Result):
        for code in ErrorCode:
            assert code == "" or getattr(reply, code.name) == code.value


def test_messages_survive_the_wire():
    rclpy = pytest.importorskip("rclpy.serialization")
    from s3d_ros.msg import Instances, SceneObject, SceneObjectArray
    from s3d_ros.srv import AskScene

    array = SceneObjectArray(map_version=2**40, objects=[SceneObject(id=7, labels=["mug"], label_scores=[0.5])])
    assert rclpy.deserialize_message(rclpy.serialize_message(array), SceneObjectArray) == array

    instances = Instances(numbers=[1, 65535], labels=["mug", ""], scores=[1.0, 0.5])
    instances.image.data = np.arange(6, dtype=np.uint16).tobytes()
    back = rclpy.deserialize_message(rclpy.serialize_message(instances), Instances)
    assert np.frombuffer(back.image.data, np.uint16).tolist() == [0, 1, 2, 3, 4, 5]

    response = AskScene.Response(value=math.nan)
    assert math.isnan(rclpy.deserialize_message(rclpy.serialize_message(response), AskScene.Response).value)


@pytest.mark.parametrize("path", sorted(p for d in ("msg", "srv", "action") for p in (ROOT / d).iterdir()), ids=str)
def test_message_fields_are_commented(path: Path):
    for line in path.read_text().splitlines():
        is_plain = line in ("bool success", "---", "") or line.startswith("#")
        assert is_plain or "#" in line, f"{path.name}: no comment on {line!r}"
    assert path.relative_to(ROOT).as_posix() in (ROOT / "CMakeLists.txt").read_text()


# --- metadata ---------------------------------------------------------------------------------------------------


def test_package_xml_is_valid():
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    package = catkin_pkg.parse_package(ROOT / "package.xml")
    package.validate()
    assert package.name == "s3d_ros"
    assert package.get_build_type() == "ament_cmake"
    assert (ROOT / package.licenses[0].file).is_file()


def test_versions_agree():
    from_xml = ElementTree.parse(ROOT / "package.xml").findtext("version")
    from_pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and from_xml == from_pyproject == newest[1]


def test_the_generator_and_the_modules_do_not_collide():
    assert (SOURCE / "__init__.py").read_bytes() == b"", "the message generator installs an empty one over it"
    assert not (ROOT / "setup.cfg").exists()
    for folder in ("msg", "srv", "action"):
        assert not (SOURCE / folder).exists(), "would hide the generated package of that name"


# --- layering ---------------------------------------------------------------------------------------------------

IMPORT_WITHOUT_ROS = """
import importlib, sys

class NoRos:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {"rclpy", "tf2_ros", "cv_bridge", "launch"} or name.split(".")[0].endswith("_msgs"):
            raise ModuleNotFoundError(f"{name} is ROS", name=name)
        if name in {"s3d_ros.msg", "s3d_ros.srv", "s3d_ros.action"}:
            raise ModuleNotFoundError(f"{name} needs ROS", name=name)

sys.meta_path.insert(0, NoRos)
failed = 0
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"torch", "transformers"}:  # the extra [vlm]
            failed += 1
            print(f"{name}: {error}")
sys.exit(failed > 0)
"""


def test_core_runs_without_ros():
    names = core_modules()
    assert "s3d_ros.types" in names and "s3d_ros.ros.mapper" not in names
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_ROS, *names], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


# --- what colcon installs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package built and installed by colcon; its prefix."""
    colcon = shutil.which("colcon", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if colcon is None:
        pytest.skip("colcon is not installed")
    out = tmp_path_factory.mktemp("colcon")
    env = dict(os.environ)
    if (Path(sys.prefix) / "share" / "ament_cmake").is_dir():  # ROS from wheels; else it was sourced
        env |= {"AMENT_PREFIX_PATH": sys.prefix, "CMAKE_PREFIX_PATH": sys.prefix}
        env["PATH"] = f"{sys.prefix}/bin{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        [colcon, "--log-base", str(out / "log"), "build", "--base-paths", str(ROOT)]
        + ["--build-base", str(out / "build"), "--install-base", str(out / "install")]
        + ["--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF"],
        capture_output=True, text=True, env=env, cwd=out,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return out / "install" / "s3d_ros"


@pytest.mark.slow
def test_colcon_installs_executables_and_folders(installed: Path):
    programs = installed / "lib" / "s3d_ros"
    assert {p.name for p in programs.iterdir()} == NODES | COMMANDS
    assert all(os.access(p, os.X_OK) for p in programs.iterdir())
    for folder in ("launch", "config"):
        assert (installed / "share" / "s3d_ros" / folder).is_dir() == (ROOT / folder).is_dir()


@pytest.mark.slow
def test_colcon_installs_messages_and_modules_into_one_package(installed: Path):
    setup = installed.parent / "setup.sh"
    code = "import s3d_ros.types, s3d_ros.msg; print(s3d_ros.types.__file__); print(s3d_ros.msg.__file__)"
    done = subprocess.run(
        ["bash", "-c", f'. "{setup}" && exec "$0" -c "{code}"', sys.executable],
        capture_output=True, text=True, cwd=installed, env=os.environ | {"COLCON_PYTHON_EXECUTABLE": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(installed) for line in done.stdout.splitlines()), done.stdout
    (folder,) = installed.glob("lib/python3*/site-packages/s3d_ros")
    for name in module_names():
        assert folder.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NODES | COMMANDS))
def test_executables_name_modules_that_exist(name: str, installed: Path):
    text = (installed / "lib" / "s3d_ros" / name).read_text()
    (module,) = re.findall(r"^from (s3d_ros\.[\w.]+) import \w+$", text, re.MULTILINE)
    assert module in module_names()


@pytest.mark.parametrize(
    "script", ["scripts/s3d", "scripts/mapper", "scripts/answerer", "scripts/detections_converter"]
)
def test_a_spawned_process_can_import_the_program_that_spawned_it(script: str):
    """multiprocessing's spawn imports the main program under another name: that must not run it again."""
    runpy.run_path(str(ROOT / script), run_name="__mp_main__")


def test_the_command_in_the_virtual_environment_can_be_imported_too():
    command = Path(sysconfig.get_path("scripts"), "s3d")
    runpy.run_path(str(command), run_name="__mp_main__")
