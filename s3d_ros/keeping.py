"""A pipeline's whole map as plain values, and back: what is saved, loaded, and handed to other processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from s3d_ros.config import Config
from s3d_ros.keys import ConfigError
from s3d_ros.state import State
from s3d_ros.types import F64
from s3d_ros.uprightness import is_same_up, parse_up

if TYPE_CHECKING:
    from s3d_ros.pipeline import Pipeline

# A map goes on only with the same values of these
_MUST_AGREE = (
    *("map.frame_id", "fusion.voxel_size_m", "fusion.block_voxels", "fusion.truncation_voxels"),
    *("objects.voxel_size_m", "bev.resolution_m"),
)


def state_of(pipeline: Pipeline, leave_out: Container[str] = ()) -> State:
    """Return all that makes the map, see ``Pipeline.state``."""
    scene, newest, past = pipeline.scene(), pipeline.newest, pipeline.past
    clocks = {f.name: getattr(pipeline.clocks, f.name) for f in dataclasses.fields(pipeline.clocks)}
    return {
        "config": {key: value for key, value, _ in pipeline.config.flat() if key in _MUST_AGREE},
        "up": pipeline.up.tolist(),
        "up_is_settled": pipeline.up_finder is None,
        "first_ns": pipeline.first_ns,
        "stamp_ns": scene.stamp_ns if newest is None else newest.stamp_ns,
        "map_version": scene.map_version,
        "due_ns": {name: clock.last_ns for name, clock in clocks.items()},
        "carved": pipeline.carved_part,
        "fusion": None if "fusion" in leave_out else pipeline.fusion.state(),
        "objects": pipeline.objects.state(),
        "bev": pipeline.bev.state(),
        "views": pipeline.views.state(),
        "past": None if past is None or "past" in leave_out else past.state(),
        "picture": None if scene.bev is None else scene.bev.color,  # for people: it is drawn anew
    }


def restore(pipeline: Pipeline, state: State, rest: Callable[[], None], draw: bool) -> None:
    """Replace the map by what ``state_of`` returned, see ``Pipeline.restore``. Raises ConfigError."""
    up = np.array(state["up"], np.float64)
    _check(pipeline.config, state["config"], up)
    pipeline.reset()
    pipeline.up = up
    if state["up_is_settled"]:
        pipeline.up_finder = None
    pipeline.first_ns, pipeline.carved_part = state["first_ns"], state["carved"]
    for name, last_ns in state["due_ns"].items():
        getattr(pipeline.clocks, name).last_ns = last_ns
    pipeline.fusion.restore(state["fusion"], rest)
    pipeline.objects.up = up
    pipeline.objects.restore(state["objects"])
    pipeline.views.restore(state["views"])
    pipeline.bev.restore(state["bev"], up)
    if draw:
        for _ in pipeline.drawing():
            rest()
    if pipeline.past is not None and state["past"]:
        pipeline.past.restore(state["past"], state["stamp_ns"], pipeline.objects)
    pipeline.go_on_after(state["map_version"], state["stamp_ns"])


def _check(config: Config, made_with: Mapping[str, Any], up: F64) -> None:
    for key, value, _ in config.flat():
        if key in _MUST_AGREE and made_with.get(key) != value:
            raise ConfigError(
                f"the map was made with {key} = {made_with.get(key)!r}, but it is set to {value!r} now: set it as "
                "it was, or make a new map"
            )
    known_up = parse_up(config.map.up)
    if known_up is not None and not is_same_up(known_up, up):
        text = ",".join(f"{v:.4g}" for v in up)
        raise ConfigError(f'in the map up is {text}, but map.up is set to {config.map.up!r}: set it to "{text}"')
