"""ROS parameters of the nodes: every key of ``config.py`` by its dotted name, and a few of the node's own.

Nothing is repeated here: defaults, ranges and descriptions come from the config's fields. A parameter file with a
key that nobody knows, or a value out of range, is an error that names the key; the node does not start with it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3d_ros.config import Config
from s3d_ros.keys import ConfigError

if TYPE_CHECKING:
    from rclpy.node import Node

# Declared by rclpy itself, or read by it from the parameter file
BUILT_IN = ("use_sim_time", "start_type_description_service")
BUILT_IN_PREFIXES = ("qos_overrides.",)


@dataclass(frozen=True)
class NodeParameter:
    """A parameter of a node that is no business of the pipeline. ``default`` also gives its type."""

    name: str
    default: bool | int | float | str
    doc: str
    low: float = -math.inf
    high: float = math.inf
    options: tuple[str, ...] = ()

    def checked(self, value: Any) -> Any:
        """Return the value in the default's type. Raises ConfigError naming the parameter."""
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigError(f"{self.name} must be {kind.__name__}, not {value!r}")
        if isinstance(value, int | float) and not self.low <= value <= self.high:  # NaN is in no range
            raise ConfigError(f"{self.name} = {value!r} is out of range: {self.low:g} to {self.high:g}")
        if self.options and value not in self.options:
            raise ConfigError(f"{self.name} = {value!r} is none of {', '.join(self.options)}")
        return value


def resolve(
    given: Mapping[str, Any],
    own: Sequence[NodeParameter],
    others: Sequence[NodeParameter] = (),
    defaults: Config | None = None,
) -> tuple[Config, dict[str, Any]]:
    """Sort given parameters into the pipeline's config and the node's own values, all checked.

    ``others`` are parameters of the sibling nodes: one file may serve them all, so they are no mistake here.
    Raises ConfigError naming the first key that is unknown or whose value can't be used.
    """
    config = defaults or Config()
    keys = {key for key, _, _ in config.flat()}
    mine = {p.name: p for p in own}
    foreign = {p.name: p for p in others} | mine
    for name in given:
        if name in BUILT_IN or name.startswith(BUILT_IN_PREFIXES):
            continue
        if name not in keys and name not in foreign:
            known = sorted(keys | set(foreign))
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else "config/s3d.yaml lists all there are"
            raise ConfigError(f"unknown parameter {name!r}: {hint}")
        if name in foreign:
            foreign[name].checked(given[name])
    config = config.with_values({k: v for k, v in given.items() if k in keys})
    return config, {p.name: p.checked(given.get(p.name, p.default)) for p in own}


def declare(
    node: Node, own: Sequence[NodeParameter], others: Sequence[NodeParameter] = ()
) -> tuple[Config, dict[str, Any]]:
    """Declare all parameters on a node that was made with ``automatically_declare_parameters_from_overrides``.

    rclpy then holds what was given, from a file or the command line, whether anybody knows it or not. They are
    declared anew, read-only, with types, ranges and descriptions, so that ``ros2 param describe`` tells all.
    """
    given = {name: p.value for name, p in node.get_parameters_by_prefix("").items()}
    config, values = resolve(given, own, others)
    for key, value, field in config.flat():
        _declare(node, key, value, field.metadata, key in given)
    for parameter in own:
        metadata = {"doc": parameter.doc, "options": parameter.options, "range": (parameter.low, parameter.high)}
        _declare(node, parameter.name, values[parameter.name], metadata, parameter.name in given)
    return config, values


def _declare(node: Node, name: str, value: Any, metadata: Mapping[str, Any], is_there: bool) -> None:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(name=name, description=metadata.get("doc", ""), read_only=True)
    if metadata.get("options"):
        descriptor.additional_constraints = "one of " + ", ".join(metadata["options"])
    low, high = metadata.get("range", (-math.inf, math.inf))
    if math.isfinite(low) and math.isfinite(high):
        if isinstance(value, bool):
            pass
        elif isinstance(value, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
        elif isinstance(value, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    if is_there:
        node.undeclare_parameter(name)
    node.declare_parameter(name, value, descriptor, ignore_override=True)
