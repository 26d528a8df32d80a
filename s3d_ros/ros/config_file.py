"""Writes ``config/s3d.yaml`` from the parameters' own definitions.

python -m s3d_ros.ros.config_file > config/s3d.yaml
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from s3d_ros.config import Config
from s3d_ros.ros.node_parameters import ANSWERER, CONVERTER, MAPPER

HEAD = """\
# All parameters with their defaults. Give the file to the nodes with --ros-args --params-file, to the launch file with
# params_file:=, and to `s3d replay` with --config: live and offline use the same keys. A key that is not known, or a
# value out of its range [in brackets], keeps a node from starting, and it says which. Leave out what you don't change.

/**:
  ros__parameters:
"""


def config_yaml() -> str:
    """Return the text of the parameter file."""
    lines = []
    config = Config()
    for stage in dataclasses.fields(config):
        part = getattr(config, stage.name)
        lines.append(f"    {stage.name}:  # {(type(part).__doc__ or '').splitlines()[0].rstrip('.')}")
        for item in dataclasses.fields(part):
            lines.append("  " + _line(item.name, getattr(part, item.name), item.metadata))
    for node, own in (("mapper", MAPPER), ("answerer", ANSWERER), ("detections_converter", CONVERTER)):
        lines += ["", f"/**/{node}:", "  ros__parameters:"]
        opened = ""
        for p in own:
            group, _, name = p.name.rpartition(".")
            if group != opened:
                lines.append(f"    {group}:")
                opened = group
            line = _line(name, p.default, {"doc": p.doc, "options": p.options, "range": (p.low, p.high)})
            lines.append("  " * bool(group) + line)
    return HEAD + "\n".join(lines) + "\n"


def _line(name: str, value: Any, metadata: Mapping[str, Any]) -> str:
    low, high = metadata.get("range", (-math.inf, math.inf))
    allowed = ""
    if metadata.get("options"):
        allowed = f" [{', '.join(metadata['options'])}]"
    elif math.isfinite(low) and math.isfinite(high):
        allowed = f" [{low:g} to {high:g}]"
    text = json.dumps(value) if isinstance(value, str | bool) else repr(value)
    return f"    {name}: {text}  # {metadata['doc']}{allowed}"


if __name__ == "__main__":
    print(config_yaml(), end="")
