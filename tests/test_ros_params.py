"""ROS parameters: every config key, checked by name; nothing unknown passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3d_ros.config import Config, ConfigError
from s3d_ros.ros.node_parameters import ANSWERER, MAPPER
from s3d_ros.ros.params import NodeParameter, resolve

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
    names = [p.name for p in (*MAPPER, *ANSWERER)]
    assert len(set(names)) == len(names)
    assert not set(names) & {key for key, _, _ in Config().flat()}
    assert all(p.doc and p.checked(p.default) == p.default for p in (*MAPPER, *ANSWERER))
