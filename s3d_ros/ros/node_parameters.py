"""The nodes' own parameters; the pipeline's come from ``config.py``. ``config/s3d.yaml`` shows them all."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from s3d_ros.answer.settings import AnswererConfig
from s3d_ros.ros.params import NodeParameter


def _of(name: str, value: Any, metadata: Mapping[str, Any]) -> NodeParameter:
    low, high = metadata.get("range", (-math.inf, math.inf))
    return NodeParameter(name, value, metadata["doc"], low, high, metadata.get("options", ()))


MAPPER = (
    NodeParameter("image_transport", "raw", "of colour and depth", options=("raw", "compressed")),
    NodeParameter(
        "pose_type",
        "auto",
        "type of the topic pose; auto: what is published there",
        options=("auto", "PoseStamped", "PoseWithCovarianceStamped", "Odometry", "TransformStamped"),
    ),
    NodeParameter("max_late_frames", 10, "frames that wait for the pipeline at most; the oldest goes first", 1, 1000),
    NodeParameter("cloud_period_s", 2.0, "the cloud is sent at most this often, while somebody listens", 0.1, 3600),
    NodeParameter("map_directory", "", "folder that the map is kept in; empty: none"),
    NodeParameter("load_at_start", True, "go on with the map in map_directory, if there is one"),
    NodeParameter("autosave_period_s", 0.0, "the map is saved so often, and at the end; 0: only when asked", 0, 86400),
    NodeParameter("instances_timeout_s", 3.0, "segmenter auto: so long without instances, depth is segmented", 0, 3600),
)

ANSWERER = (
    NodeParameter("max_waiting", 32, "questions that wait at most; more get the error BUSY", 1, 1000),
    NodeParameter("deadline_s", 30.0, "for questions that bring none", 0.05, 3600),
    NodeParameter("workers", 8, "questions that are in work at the same time", 1, 256),
    *(_of(*setting) for setting in AnswererConfig().flat()),
)


def answerer_parameters(own: Mapping[str, Any]) -> tuple[NodeParameter, ...]:
    """Return the answerer's, with the defaults that a model was trained with (``answer.settings.taught``).

    Raises ConfigError where one of these is out of range.
    """
    return tuple(replace(p, default=p.checked(own[p.name])) if p.name in own else p for p in ANSWERER)


CONVERTER = (
    NodeParameter(
        "detections_type",
        "auto",
        "package that the type of detections is from; auto: what is published there",
        options=("auto", "yolo_msgs", "vision_msgs"),
    ),
    NodeParameter("class_names", "", "comma-separated, for detectors that give a class as a number"),
)
