"""Message types for reading and writing serialized messages without ROS: those of bags, and live images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

INSTANCES = "s3d_ros/msg/Instances"
# The fields of msg/Instances.msg, for bags that hold no definitions (a test keeps the two alike).
_INSTANCES_DEFINITION = """
std_msgs/Header header
sensor_msgs/Image image
uint16[] numbers
string[] labels
float32[] scores
"""


def make_typestore(connections: Iterable[Connection] = ()) -> Typestore:
    """Return ROS 2's usual types and ``s3d_ros/msg/Instances``; as the bag of these connections defines it, if it does.

    Only Instances is taken from a bag: a foreign type that no one reads can then do no harm.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions = [
        c.msgdef.data
        for c in connections
        if c.msgtype == INSTANCES and c.msgdef.format == MessageDefinitionFormat.MSG and c.msgdef.data.strip()
    ]
    types: dict[str, Any] = get_types_from_msg(definitions[0] if definitions else _INSTANCES_DEFINITION, INSTANCES)
    store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    return store
