"""What is compared: arms of a grid, each a few keys over one common config, and what is expected of them.

The ablations of GPT4Scene (markers and the bird's-eye view), ROSS3D (its two losses; scenes without text) and VLM-3R
(geometry tokens). All arms have the same steps; arms of one seed begin from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from s3d_ros.keys import with_values
from s3d_ros.train.config import TrainConfig, TrainError

WITH, WITHOUT = "with", "without"  # markers and the bird's-eye view
SIGHTS: Mapping[str, Mapping[str, bool]] = {
    WITH: {"marked": True, "bev": True},
    WITHOUT: {"marked": False, "bev": False},
}
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Arm:
    """sets: dotted keys over the common config. asked: what it is shown when it is asked."""

    name: str
    title: str
    sets: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = (WITH,)

    def config(self, common: TrainConfig, seed: int, out: str) -> TrainConfig:
        """Return the config of one run."""
        return with_values(common, {**self.sets, "run.seed": seed, "run.out": out, "run.eval_every": 0})


@dataclass(frozen=True)
class Comparison:
    """one, other: an arm and what it is shown; said: what the paper found, with its figures."""

    one: tuple[str, str]
    other: tuple[str, str]
    said: str


_CROSS = {"reconstruct.cross_view": True}
_GLOBAL = {"reconstruct.global_view": True}
# The same steps as with unlabelled scenes, of which half have nothing to be learnt from
_HALF = {"data.text_share": 0.5, **_GLOBAL, "reconstruct.global_weight": 0.0}

ARMS: tuple[Arm, ...] = (
    Arm("plain", "plain frames", {f"data.{k}": v for k, v in SIGHTS[WITHOUT].items()}, (WITH, WITHOUT)),
    Arm("marked", "markers + BEV", {}, (WITH, WITHOUT)),
    Arm("cross", "+ cross-view", _CROSS),
    Arm("global", "+ global-view", _GLOBAL),
    Arm("both", "+ cross-view + global-view", {**_CROSS, **_GLOBAL}),
    Arm("geometry", "+ geometry tokens", {"geometry.encoder": "small"}),
    Arm("half", "50 % text", _HALF),
    Arm("unlabelled", "50 % text + 50 % unlabelled", {"data.text_share": 0.5, **_CROSS, **_GLOBAL}),
)
# not in the grid unless they are named
MORE_ARMS: tuple[Arm, ...] = (
    Arm("position", "+ cross-view + positions", {**_CROSS, "position.codes": True}),
    Arm("pose", "+ cross-view + positions, pose told", {
        **_CROSS, "position.codes": True, "reconstruct.condition": "pose"}),
)  # fmt: skip

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(("marked", WITH), ("plain", WITHOUT), "GPT4Scene: better (96.3, 85.9)"),
    Comparison(("marked", WITHOUT), ("plain", WITHOUT), "GPT4Scene: better, though asked without (95.4, 85.9)"),
    Comparison(("marked", WITH), ("marked", WITHOUT), "GPT4Scene: hardly better (96.3, 95.4)"),
    Comparison(("plain", WITH), ("plain", WITHOUT), "GPT4Scene: a little better (88.2, 85.9)"),
    Comparison((UNTRAINED, WITH), (UNTRAINED, WITHOUT), "GPT4Scene: better (68.7, 64.7)"),
    Comparison(("cross", WITH), ("marked", WITH), "ROSS3D: better"),
    Comparison(("global", WITH), ("marked", WITH), "ROSS3D: better"),
    Comparison(("both", WITH), ("marked", WITH), "ROSS3D: better than either"),
    Comparison(("geometry", WITH), ("marked", WITH), "VLM-3R: better"),
    Comparison(("half", WITH), ("marked", WITH), "ROSS3D: worse"),
    Comparison(("unlabelled", WITH), ("half", WITH), "ROSS3D: better"),
    Comparison(("unlabelled", WITH), ("marked", WITH), "ROSS3D: as good (103.2, 102.1)"),
    Comparison(("pose", WITH), ("position", WITH), "ours: the masked view's pose should help"),
)


def chosen(names: Sequence[str], arms: Sequence[Arm] = (*ARMS, *MORE_ARMS)) -> tuple[Arm, ...]:
    """Return arms by name, all of the grid where none is named. Raises TrainError for an unknown one."""
    if not names:
        return ARMS
    known = {arm.name: arm for arm in arms}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TrainError(f"there is no arm {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))
