"""ROS parameters: every config key, checked by name; nothing unknown passes."""

from pathlib import Path

import pytest
import ros_live  # noqa: F401 - keeps ROS on this machine
from hypothesis import given
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from s3d_ros.config import Config
from s3d_ros.keys import ConfigError
from s3d_ros.ros.config_file import config_yaml
from s3d_ros.ros.node_parameters import ANSWERER, CONVERTER, MAPPER
from s3d_ros.ros.params import NodeParameter, declare, resolve

ROOT = Path(__file__).resolve().parents[1]

OWN = (
    NodeParameter("count", 4, "how many", 1, 10),
    NodeParameter("share", 0.5, "how much", 0, 1),
    NodeParameter("way", "raw", "how", options=("raw", "compressed")),
)


def test_given_values_reach_config_and_node() -> None:
    config, values = resolve({"fusion.voxel_size_m": 0.05, "map.up": "auto", "count": 7, "use_sim_time": True}, OWN)
    assert config.fusion.voxel_size_m == 0.05
    assert config.map.up == "auto"
    assert values == {"count": 7, "share": 0.5, "way": "raw"}


def test_an_integer_will_do_for_a_float() -> None:
    config, values = resolve({"fusion.truncation_voxels": 4, "share": 1}, OWN)
    assert config.fusion.truncation_voxels == 4.0
    assert values["share"] == 1.0 and isinstance(values["share"], float)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fusion.voxel_size": 0.05}, ["fusion.voxel_size", "did you mean 'fusion.voxel_size_m'"]),
        ({"quite_else": 1}, ["quite_else", "config/s3d.yaml"]),
        ({"fusion.voxel_size_m": 3.0}, ["fusion.voxel_size_m", "3.0", "0.002 to 0.5"]),
        ({"fusion.voxel_size_m": float("nan")}, ["fusion.voxel_size_m", "nan"]),
        ({"fusion.voxel_size_m": "small"}, ["fusion.voxel_size_m", "float"]),
        ({"segment.segmenter": "magic"}, ["segment.segmenter", "magic", "geometric"]),
        ({"count": 0}, ["count", "1 to 10"]),
        ({"count": True}, ["count", "int"]),
        ({"share": float("nan")}, ["share", "nan"]),
        ({"way": "zipped"}, ["way", "zipped", "compressed"]),
    ],
)
def test_a_wrong_parameter_is_named(given: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(given, OWN)
    for word in words:
        assert word in str(error.value)


def test_one_file_serves_both_nodes() -> None:
    given = {"max_late_frames": 9, "max_waiting": 8}
    assert resolve(given, MAPPER, ANSWERER)[1]["max_late_frames"] == 9
    assert resolve(given, ANSWERER, MAPPER)[1]["max_waiting"] == 8
    with pytest.raises(ConfigError, match="max_waiting"):
        resolve({"max_waiting": 0}, MAPPER, ANSWERER)


@given(st.sampled_from([key for key, _, _ in Config().flat()]))
def test_every_default_is_accepted_and_described(key: str) -> None:
    value, field = next((v, f) for k, v, f in Config().flat() if k == key)
    assert resolve({key: value}, ())[0] == Config()
    assert field.metadata.get("doc"), f"{key} has no description"


def test_node_parameters_do_not_shadow_config_keys() -> None:
    names = [p.name for p in (*MAPPER, *ANSWERER, *CONVERTER)]
    assert len(set(names)) == len(names)
    assert not set(names) & {key for key, _, _ in Config().flat()}
    assert all(p.doc and p.checked(p.default) == p.default for p in (*MAPPER, *ANSWERER, *CONVERTER))


def test_the_shipped_file_is_what_the_parameters_are() -> None:
    text = (ROOT / "config" / "s3d.yaml").read_text()
    assert text == config_yaml(), "write it anew: python -m s3d_ros.ros.config_file > config/s3d.yaml"
    assert Config.from_yaml(ROOT / "config" / "s3d.yaml") == Config()


@pytest.mark.parametrize("own", [MAPPER, ANSWERER, CONVERTER])
def test_ros_reads_the_shipped_file(own: tuple[NodeParameter, ...], tmp_path: Path) -> None:
    """By rclpy itself, for the node of that name; with values of one's own beside it."""
    name = {id(MAPPER): "mapper", id(ANSWERER): "answerer", id(CONVERTER): "detections_converter"}[id(own)]
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**:\n  ros__parameters:\n    fusion:\n      voxel_size_m: 0.05\n    map.up: auto\n")
    files = ["--ros-args", "--params-file", str(ROOT / "config" / "s3d.yaml"), "--params-file", str(mine)]
    context = Context()
    context.init(args=files)
    try:
        node = Node(name, namespace="s3d", context=context, automatically_declare_parameters_from_overrides=True)
        config, values = declare(node, own, (*MAPPER, *ANSWERER, *CONVERTER))
        assert (config.fusion.voxel_size_m, config.map.up) == (0.05, "auto")
        assert values == {p.name: p.default for p in own}
        told = node.describe_parameter("fusion.voxel_size_m")
        assert (told.floating_point_range[0].to_value, told.read_only) == (0.5, True) and told.description
        assert node.get_parameter("fusion.voxel_size_m").value == 0.05
        assert not node.set_parameters([Parameter("fusion.voxel_size_m", value=0.04)])[0].successful
        node.destroy_node()
    finally:
        context.try_shutdown()
