"""Start the mapper and the answerer, and if wanted a converter of detections.

    ros2 launch s3d_ros s3d.launch.py color:=/camera/color/image_raw depth:=/camera/aligned_depth_to_color/image_raw \\
        camera_info:=/camera/color/camera_info pose:=/odom params_file:=mine.yaml

With a language model: answerer:=transformers model:=Qwen/Qwen2.5-VL-7B-Instruct, or answerer:=openai server:=URL.
`ros2 launch s3d_ros s3d.launch.py --show-args` lists the arguments.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# argument, default, description; the topics' defaults are relative to the namespace
ARGUMENTS = (
    ("namespace", "s3d", "of all nodes and of their topics"),
    ("params_file", "", "YAML file whose keys are those of config/s3d.yaml; empty: the defaults"),
    ("use_sim_time", "false", "take the time from /clock, as for a recording"),
    ("log_level", "info", "debug, info, warn or error"),
    (
        "answerer",
        "",
        "auto, geometric, transformers, openai; none: not here, it may run elsewhere; empty: as params_file says",
    ),
    ("model", "", "the answerer's language model: a directory, or a name on the hub; empty: as params_file says"),
    ("server", "", "URL of an OpenAI-compatible server that has it instead; empty: as params_file says"),
    ("detections", "", "topic of a detector (yolo_msgs or vision_msgs); empty: none"),
    ("masks", "masks", "topic of the masks of vision_msgs detections"),
    ("color", "color/image_raw", "colour images"),
    ("depth", "depth/image_raw", "depth images, registered to colour"),
    ("camera_info", "color/camera_info", "of the colour camera"),
    ("pose", "pose", "PoseStamped, PoseWithCovarianceStamped, Odometry or TransformStamped"),
    ("corrected_path", "corrected_path", "nav_msgs/Path of corrected poses, of a SLAM system"),
    ("instances", "instances", "s3d_ros/Instances"),
)


def make_nodes(context: object) -> list[Node]:
    """Make the nodes from the arguments' values."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters: list[object] = [{"use_sim_time": ParameterValue(value("use_sim_time") == "true", value_type=bool)}]
    if value("params_file"):
        if not Path(value("params_file")).is_file():
            raise FileNotFoundError(f"params_file: there is no file {value('params_file')}")
        parameters.append(value("params_file"))
    common = {
        "package": "s3d_ros",
        "namespace": value("namespace"),
        "output": "screen",
        "parameters": parameters,
        "arguments": ["--ros-args", "--log-level", value("log_level")],
    }
    inputs = [
        ("color/image_raw", value("color")),
        ("color/image_raw/compressed", f"{value('color')}/compressed"),
        ("depth/image_raw", value("depth")),
        ("depth/image_raw/compressedDepth", f"{value('depth')}/compressedDepth"),
        ("color/camera_info", value("camera_info")),
        ("pose", value("pose")),
        ("corrected_path", value("corrected_path")),
        ("instances", value("instances")),
    ]
    nodes = [Node(executable="mapper", remappings=inputs, **common)]
    if value("answerer") not in ("none", "false"):
        given = {"answerer": value("answerer"), "model": value("model"), "server.url": value("server")}
        own = {name: ParameterValue(text, value_type=str) for name, text in given.items() if text}
        nodes.append(Node(executable="answerer", **common | {"parameters": [*parameters, own] if own else parameters}))
    if value("detections"):
        topics = [("detections", value("detections")), ("masks", value("masks")), ("instances", value("instances"))]
        nodes.append(Node(executable="detections_converter", remappings=topics, **common))
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=make_nodes)])
